//! Broken files: reading them never panics and always ends, whatever is in them.
//!
//! `SEED=n` replays one seed, `SEEDS=n` runs that many.

use upsplice::config::{Request, load, load_text};
use upsplice::prng::Prng;

use crate::world::{Table, corpus};

/// How many seeds run by themselves: about two seconds.
const SEEDS: u64 = 10_000;

const CORPUS: [&str; 11] = [
    "classic-mistakes.conf",
    "origins-site.conf",
    "origins.conf",
    "several-backends.conf",
    "single-core-in-location.conf",
    "single-core.conf",
    "tls.conf",
    "upgrade-map-keepalive.conf",
    "upgrade-map.conf",
    "upgrade-none.conf",
    "upgrade-plain.conf",
];

/// Pieces that mean something to one of the layers.
const PIECES: [&str; 40] = [
    "{",
    "}",
    ";",
    "\"",
    "'",
    "\\",
    "#",
    "\n",
    "$",
    "${",
    "}",
    " ",
    "\t",
    "\r",
    "\0",
    "é",
    "\u{feff}",
    "include",
    "include t.conf;",
    "include *;",
    "map",
    "server",
    "location",
    "~",
    "~*",
    "(?<a>",
    "*.",
    ".*",
    "unix:",
    "[::1]",
    ":",
    "-",
    "=",
    "999999999999999999999",
    "on",
    "off",
    "default",
    "http {",
    "x_by_lua_block {",
    "upstream",
];

fn random_bytes(prng: &mut Prng) -> Vec<u8> {
    let length = prng.below(400);
    (0..length).map(|_| prng.next_u64().to_le_bytes()[0]).collect()
}

fn soup(prng: &mut Prng) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..prng.below(200) {
        text.extend_from_slice(pick(prng, &PIECES).as_bytes());
        if prng.chance(1, 2) {
            text.push(b' ');
        }
    }
    text
}

fn pick<'a>(prng: &mut Prng, from: &[&'a str]) -> &'a str {
    from[at(prng, from.len())]
}

fn at(prng: &mut Prng, bound: usize) -> usize {
    usize::try_from(prng.below(bound as u64)).unwrap()
}

/// A file of the corpus with some bytes lost, doubled, moved or replaced.
fn mutated(prng: &mut Prng) -> Vec<u8> {
    let mut text = corpus(pick(prng, &CORPUS)).into_bytes();
    for _ in 0..=prng.below(8) {
        let from = at(prng, text.len() + 1);
        let to = (from + at(prng, 40)).min(text.len());
        match prng.below(5) {
            0 => drop(text.drain(from..to)),
            1 => text.truncate(from),
            2 => {
                let copy = text[from..to].to_vec();
                let place = at(prng, text.len() + 1);
                text.splice(place..place, copy);
            }
            3 => {
                let piece = pick(prng, &PIECES).bytes();
                text.splice(from..from, piece);
            }
            _ => {
                let noise = prng.next_u64().to_le_bytes()[0];
                text[from..to].fill(noise);
            }
        }
    }
    text
}

fn read(text: Vec<u8>) {
    let mut table = Table::default().with("/etc/sites/b.conf", &corpus("origins-site.conf"));
    let lossy = String::from_utf8_lossy(&text).into_owned();
    table.files.insert("/etc/t.conf".into(), lossy);
    let request = Request { path: "/etc/t.conf", prefix: "p", directives: Some("daemon off;") };
    let loaded = load_text(request, text, &table);
    // Printing is a part of it: places must lie in their files.
    match loaded {
        Ok(loaded) => {
            for warning in loaded.warnings {
                assert!(!warning.to_string().is_empty());
            }
        }
        Err(diagnostics) => {
            assert!(!diagnostics.is_empty());
            for diagnostic in diagnostics {
                assert!(!diagnostic.to_string().is_empty());
            }
        }
    }
}

#[test]
fn no_text_makes_reading_panic_or_hang() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let mut prng = Prng::new(seed);
        let text = match seed % 8 {
            0 => random_bytes(&mut prng),
            1 => soup(&mut prng),
            _ => mutated(&mut prng),
        };
        let shown = String::from_utf8_lossy(&text).into_owned();
        let outcome = std::panic::catch_unwind(|| read(text));
        assert!(outcome.is_ok(), "SEED={seed}\n{shown}");
    }
}

#[test]
fn what_grows_without_end_is_bounded() {
    // Deep blocks, many mistakes, a long argument, and files that include each other twice.
    for text in ["a {".repeat(100_000), "}".repeat(100_000), ";".repeat(100_000)] {
        assert!(Table::default().load(&text).unwrap_err().len() < 300);
    }
    assert!(Table::default().load(&format!("user {};", "x".repeat(10_000))).is_err());
    let mut table = Table::default();
    for file in 0..14 {
        let next = file + 1;
        let text = format!("include {next}.conf;\ninclude {next}.conf;\n");
        table.files.insert(format!("/etc/{file}.conf"), text);
    }
    table.files.insert("/etc/14.conf".into(), "# the end".into());
    let request = Request { path: "/etc/0.conf", prefix: "", directives: None };
    assert!(load(request, &table).is_err());
}
