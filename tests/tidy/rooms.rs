//! The walls: what each room may import, and where each dependency lives.

use crate::source::Source;
use crate::{Problem, problem};

/// A room, and the parts of the crate that its files may name.
struct Room {
    /// The folder under `src/`.
    name: &'static str,
    /// Modules of the crate; a submodule narrows it.
    may_use: &'static [&'static str],
    /// True exactly when the room may not touch the outside world.
    pure: bool,
}

/// The pure rooms know values only. The session rooms may ask: a session borrows the worker's
/// pool and wheel to lend from, and writes into the two sinks of `observe` that live in memory
/// until the worker flushes them. Everything else of the house is out of reach.
const ROOMS: &[Room] = &[
    Room { name: "config", may_use: &["config", "http", "conn::Addr", "limits"], pure: true },
    Room {
        name: "http",
        may_use: &["http", "config", "conn", "reason", "limits", "clock", "prng"],
        pure: true,
    },
    Room { name: "route", may_use: &["route", "config", "http", "limits"], pure: true },
    Room {
        name: "upstream",
        may_use: &["upstream", "config", "conn::Addr", "limits", "clock", "prng"],
        pure: true,
    },
    Room { name: "conn", may_use: &["conn", "worker::chunks", "limits"], pure: true },
    Room {
        name: "session",
        may_use: &[
            "session",
            "conn",
            "config",
            "http",
            "route",
            "upstream",
            "reason",
            "limits",
            "clock",
            "prng",
            "worker::chunks",
            "worker::wheel",
            "observe::log",
            "observe::stats",
        ],
        pure: true,
    },
    // The operator's words for which engine and how it waits are all that the engine room knows of
    // configuration.
    Room {
        name: "engine",
        may_use: &[
            "engine",
            "sys",
            "config::model::EngineChoice",
            "config::model::Spin",
            "conn",
            "worker::chunks",
            "reason",
            "limits",
            "clock",
            "prng",
        ],
        pure: false,
    },
    Room {
        name: "sys",
        may_use: &["sys", "conn", "worker::chunks", "engine::probe", "reason", "limits", "clock"],
        pure: false,
    },
    Room {
        name: "worker",
        may_use: &[
            "worker",
            "session",
            "engine",
            "conn",
            "config",
            "http",
            "route",
            "upstream",
            "observe",
            "reason",
            "limits",
            "clock",
            "prng",
            "sys::buffers",
        ],
        pure: false,
    },
];

/// What a room without the outside world may not name of the standard library.
const OUTSIDE: &[&str] = &["net", "time", "fs", "os", "thread", "process", "env", "sync"];

/// The parts of `std::io` that are about bytes in memory.
const IN_MEMORY: &[&str] = &["Write", "Read", "Cursor"];

/// Each dependency and its home. A second home needs a reason here.
const HOMES: &[(&str, &[&str])] = &[
    ("glob", &["src/supervisor/"]),
    // The example's upstream is no part of the proxy and reads its one request by itself.
    ("httparse", &["src/http/", "src/cli/echo.rs"]),
    ("io_uring", &["src/sys/ring.rs", "src/sys/buffer_ring.rs"]),
    // The calendar of `$time_local`, and the system's time zone, which a house has to find.
    ("jiff", &["src/http/time.rs", "src/observe/"]),
    ("lexopt", &["src/cli"]),
    // Errno names are how an engine speaks; calls into the system are made in `sys` and `uring`.
    ("libc", &["src/sys/", "src/engine/", "src/worker/mod.rs", "src/supervisor/", "src/observe/"]),
    // `reason.rs` prints errno names; the mailbox is an eventfd.
    (
        "nix",
        &[
            "src/sys/",
            "src/engine/",
            "src/supervisor/",
            "src/observe/",
            "src/reason.rs",
            "src/worker/mailbox.rs",
            "src/proxy",
            "src/cli",
        ],
    ),
    ("regex", &["src/config/", "src/http/", "src/route/"]),
    ("socket2", &["src/sys/", "src/engine/"]),
    ("tungstenite", &["src/proxy", "src/cli", "src/supervisor/"]),
];

/// Imports that a room's wall forbids.
pub(crate) fn walls(source: &Source) -> Vec<Problem> {
    let room = ROOMS.iter().find(|room| in_room(&source.path, room.name));
    let Some(room) = room else { return Vec::new() };
    let mut problems = Vec::new();
    let product = |line: &usize| !source.is_test_line(*line);
    for (line, path) in source.paths("crate::").into_iter().filter(|(line, _)| product(line)) {
        let path = path.join("::");
        let allowed = |may: &str| path == may || path.starts_with(&format!("{may}::"));
        if !room.may_use.iter().any(|&may| allowed(may)) {
            problems.push(problem(
                source,
                line,
                format!("{} may not use crate::{path}", room.name),
            ));
        }
    }
    for root in ["std::", "core::"] {
        for (line, path) in source.paths(root).into_iter().filter(|(line, _)| product(line)) {
            if room.pure && reaches_outside(root, &path) {
                let path = path.join("::");
                let text = format!("{} may not touch {root}{path}", room.name);
                problems.push(problem(source, line, text));
            }
        }
    }
    problems.extend(climbs(source));
    problems
}

fn in_room(path: &str, room: &str) -> bool {
    path.strip_prefix("src/")
        .and_then(|path| path.strip_prefix(room))
        .is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

/// `core::net` is addresses, `core::time` is a length of time: values, both.
fn reaches_outside(root: &str, path: &[String]) -> bool {
    let first = path.first().map_or("", String::as_str);
    let io = first == "io" && path.get(1).is_none_or(|item| !IN_MEMORY.contains(&item.as_str()));
    root == "std::" && (io || OUTSIDE.contains(&first))
}

/// A room is left by its full name, so that a reader and this check see it: `super` may not climb
/// out of it.
fn climbs(source: &Source) -> Vec<Problem> {
    let path = source.path.trim_start_matches("src/").trim_end_matches(".rs");
    let depth = path.trim_end_matches("/mod").split('/').count();
    let climb = "super::".repeat(depth);
    let lines = source.product_code_lines().filter(|(_, code)| code.contains(&climb));
    lines.map(|(line, _)| problem(source, line, "`super` leaves the room: write crate::")).collect()
}

/// Dependencies outside their homes.
pub(crate) fn homes(source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !source.path.starts_with("src/") {
        return problems;
    }
    for (dependency, homes) in HOMES {
        if homes.iter().any(|home| source.path.starts_with(home)) {
            continue;
        }
        for (line, path) in source.paths(&format!("{dependency}::")) {
            if !source.is_test_line(line) && !path.is_empty() {
                problems.push(problem(source, line, format!("{dependency} is not at home here")));
            }
        }
    }
    problems
}

/// Dependencies of the manifest without a home.
pub(crate) fn homeless(manifest: &str) -> Vec<String> {
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
    let dependencies = dependencies.split("\n[").next().unwrap_or_default();
    let names = dependencies.lines().filter_map(|line| line.split_once(" = "));
    let names = names.map(|(name, _)| name.replace('-', "_"));
    names.filter(|name| HOMES.iter().all(|(known, _)| known != name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        walls(&Source::new(path, text)).len()
    }

    #[test]
    fn a_wall_is_seen() {
        assert_eq!(count("src/session/a.rs", "use crate::engine::Engine;"), 1);
        assert_eq!(count("src/http/a.rs", "use crate::{clock::Now, observe::log::Logs};"), 1);
        assert_eq!(count("src/http/a.rs", "fn f() { std::net::TcpStream::connect(x) }"), 1);
        assert_eq!(count("src/session/a.rs", "use std::{mem, time::Instant};"), 1);
        assert_eq!(count("src/config/mod.rs", "use super::engine;"), 1);
        assert_eq!(count("src/engine/epoll.rs", "use crate::http::head::RequestHead;"), 1);
        assert_eq!(count("src/upstream/a.rs", "use crate::conn::Op;"), 1);
        assert_eq!(count("src/route.rs", "use std::io::stdin;"), 1);
    }

    #[test]
    fn what_is_allowed_passes() {
        assert_eq!(count("src/session/a.rs", "use crate::worker::{chunks::Chunks, wheel::W};"), 0);
        assert_eq!(count("src/http/a.rs", "use core::net::IpAddr;\nuse std::io::Write as _;"), 0);
        assert_eq!(count("src/http/a.rs", "use super::head; // crate::engine\n"), 0);
        assert_eq!(count("src/http/a.rs", "#[cfg(test)]\nmod t {\n use std::net::X;\n}\n"), 0);
        assert_eq!(count("src/supervisor/a.rs", "use crate::engine::Engine;"), 0);
    }

    #[test]
    fn a_dependency_outside_its_home_is_seen() {
        let found = |path, text| homes(&Source::new(path, text)).len();
        assert_eq!(found("src/session/a.rs", "use libc::c_int;"), 1);
        assert_eq!(found("src/sys/a.rs", "use libc::c_int;"), 0);
        assert_eq!(homeless("[dependencies]\nglob = \"1\"\nnew-one = \"2\"\n[x]\n"), ["new_one"]);
    }
}
