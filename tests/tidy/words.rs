//! Words that do not belong: unfinished work, waiting by guess, names of one machine.

use crate::source::{Source, words};
use crate::{Problem, problem};

/// Macros that mark unfinished or forgotten work.
const MACROS: &[&str] = &["todo", "unimplemented", "dbg"];

/// Unfinished code, forgotten traces and tests that do not run.
pub(crate) fn unfinished(source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (line, code) in source.code_lines() {
        for name in MACROS {
            if words(code, name).any(|at| code[at + name.len()..].starts_with('!')) {
                problems.push(problem(source, line, format!("{name}! is not finished work")));
            }
        }
        let attribute = code.trim_start().trim_start_matches("#[").trim_start_matches("#![");
        if attribute.len() < code.trim_start().len() && attribute.starts_with("ignore") {
            problems.push(problem(source, line, "a test that does not run proves nothing"));
        }
    }
    problems
}

/// Files that may sleep, with the reason; elsewhere sleeping is a guess about another's progress.
const SLEEPERS: &[(&str, &str)] = &[
    (
        "src/supervisor/listeners.rs",
        "a bounded repetition of bind(2): nothing tells when a dead program's ring lets go",
    ),
    ("src/cli/echo.rs", "a pause of the example's accept loop after EMFILE, as nginx has one"),
    ("tests/real/support/peer.rs", "a bounded look at what another thread counts"),
    ("tests/house.rs", "a bounded look at a file that another process writes: nobody can be woken"),
];

/// Sleeping as a way to wait for something.
pub(crate) fn sleeps(source: &Source) -> Vec<Problem> {
    if SLEEPERS.iter().any(|(path, _why)| source.path.starts_with(path)) {
        return Vec::new();
    }
    let calls = |code: &str| {
        ["sleep", "sleep_ms", "sleep_until"]
            .iter()
            .any(|name| words(code, name).any(|at| code[at + name.len()..].starts_with('(')))
    };
    let lines = source.code_lines().filter(|(_, code)| calls(code));
    lines.map(|(line, _)| problem(source, line, "sleeping is not synchronisation")).collect()
}

/// Printing from code that a worker runs: its lines go through `observe`.
pub(crate) fn prints(source: &Source) -> Vec<Problem> {
    let silent = [
        "config", "http", "route", "upstream", "conn", "session", "engine", "sys", "worker",
        "observe",
    ];
    let in_silence = silent.iter().any(|room| source.path.starts_with(&format!("src/{room}/")));
    let prints = |code: &str| {
        let names = ["println", "eprintln", "print", "eprint"];
        names
            .iter()
            .any(|name| words(code, name).any(|at| code[at + name.len()..].starts_with('!')))
    };
    let lines = source.product_code_lines().filter(|(_, code)| in_silence && prints(code));
    lines.map(|(line, _)| problem(source, line, "prints past the logs")).collect()
}

/// The exit that takes the process along, outside the tests of the pure and session rooms.
pub(crate) fn unwraps(source: &Source) -> Vec<Problem> {
    let rooms = ["config", "http", "route", "upstream", "conn", "session"];
    let is_room = rooms.iter().any(|room| source.path.starts_with(&format!("src/{room}/")));
    let lines = source.product_code_lines();
    let lines = lines.filter(|(_, code)| is_room && code.contains(".unwrap()"));
    lines.map(|(line, _)| problem(source, line, "unwrap on outside bytes")).collect()
}

/// Words in any text of the repository that are notes to oneself. Written in pieces, or this file
/// would be the first to be found.
fn notes() -> [String; 5] {
    [["TO", "DO"], ["FIX", "ME"], ["XX", "X:"], ["HA", "CK:"], ["NO", "COMMIT"]].map(|p| p.concat())
}

/// Folders that exist on one machine only, or on a person's.
fn machine_paths() -> [String; 6] {
    [
        ["/wo", "rk/"],
        ["/ho", "me/"],
        ["/ro", "ot/"],
        ["/Us", "ers/"],
        ["/tmp/", "bash"],
        ["target", "-"],
    ]
    .map(|pieces| pieces.concat())
}

/// Notes to oneself and paths of a machine, in a text of any kind.
pub(crate) fn strays(path: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut report = |line: usize, what: String| {
        problems.push(Problem { path: path.to_owned(), line: line + 1, what });
    };
    for (number, line) in text.lines().enumerate() {
        for note in notes() {
            if line.contains(&note) {
                report(number, format!("{note} is a note to oneself"));
            }
        }
        for place in machine_paths() {
            if line.contains(&place) {
                report(number, format!("{place} is a path of one machine"));
            }
        }
        if line.trim_end().len() != line.len() && !path.ends_with(".md") {
            report(number, "white space at the end".to_owned());
        }
        if numbered_place(line) {
            report(number, "a line number rots: name the file and the type".to_owned());
        }
    }
    problems
}

/// Whether a text cites a place as a source file with a number; `file.conf:12:3` is how
/// diagnostics speak.
fn numbered_place(line: &str) -> bool {
    [".rs:", ".md:", ".toml:", ".zig:"].iter().any(|mark| {
        line.match_indices(mark)
            .any(|(at, _)| line[at + mark.len()..].starts_with(|c: char| c.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_work_is_seen() {
        let found = |text: &str| unfinished(&Source::new("src/a.rs", text)).len();
        assert_eq!(found(&["fn a() { to", "do!() }"].concat()), 1);
        assert_eq!(found("let x = dbg!(y);"), 1);
        assert_eq!(found("#[ignore = \"slow\"]\nfn a() {}"), 1);
        assert_eq!(found("// todo! in a comment\nlet ignore = \"dbg!\";"), 0);
    }

    #[test]
    fn a_sleep_is_seen() {
        let found = |text| sleeps(&Source::new("tests/a.rs", text)).len();
        assert_eq!(found("std::thread::sleep(second);"), 1);
        assert_eq!(found("fn sleepy() { asleep(1) } // sleep()"), 0);
    }

    #[test]
    fn printing_and_unwrapping_are_seen_in_the_silent_rooms() {
        let found = |path, text| {
            let source = Source::new(path, text);
            prints(&source).len() + unwraps(&source).len()
        };
        assert_eq!(found("src/http/a.rs", "println!(); x.unwrap();"), 2);
        assert_eq!(found("src/http/a.rs", "x.unwrap_or(1); writeln!(f)"), 0);
        assert_eq!(found("src/cli/a.rs", "println!()"), 0);
        assert_eq!(found("src/http/a.rs", "#[cfg(test)]\nmod tests {\n x.unwrap();\n}"), 0);
    }

    #[test]
    fn strays_are_seen() {
        let found = |text: &str| strays("docs/A.md", text).len();
        assert_eq!(found(&["// FIX", "ME later"].concat()), 1);
        assert_eq!(found(&["in /wo", "rk/main"].concat()), 1);
        assert_eq!(found(&["see pump.rs:", "42"].concat()), 1);
        assert_eq!(found("error: nginx.conf:12:3 in /usr/share and src/session/pump.rs: fine"), 0);
        assert_eq!(strays("src/a.rs", "x \n").len(), 1);
    }
}
