//! The command line of the benchmark.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

use crate::scenario::{self, Scenario, Times};

const USAGE: &str = "\
Usage: scripts/bench [SCENARIO…] [OPTION…]

Measures upsplice end to end beside other proxies. A SCENARIO is the beginning of a name; see
--list for what takes part by default.

  --reps N        repetitions of everything, peers taking turns (default: 5)
  --quick         2 short repetitions: for a look, not for a claim
  --all           scenarios that are otherwise run only when their whole name is given
  --test          tiny loads on upsplice alone: does the benchmark work?
  --peers A,B     these peers, in this order
  --window MS     length of a measurement in milliseconds (default: 1200)
  --out FOLDER    where results go (default: target/e2e)
  --upsplice FILE another binary to test than the one just built
  --list          scenarios and peers, and exit
";

/// What is to be measured, and how.
pub(crate) struct Options {
    pub(crate) scenarios: Vec<Scenario>,
    /// Names of peers, or nothing for those that take part by default.
    pub(crate) peers: Vec<String>,
    pub(crate) repetitions: usize,
    pub(crate) times: Times,
    pub(crate) out: PathBuf,
    pub(crate) upsplice: PathBuf,
    /// Tiny loads that prove nothing about speed.
    pub(crate) is_test: bool,
    /// Repeats a measurement that something else on the machine disturbed.
    pub(crate) is_careful: bool,
    pub(crate) is_list: bool,
}

/// Reads the arguments; `None` after help.
///
/// # Errors
/// A sentence for whoever typed them.
pub(crate) fn parse(arguments: Vec<String>) -> io::Result<Option<Options>> {
    let mut options = Options {
        scenarios: Vec::new(),
        peers: Vec::new(),
        repetitions: 5,
        times: Times { warm: Duration::from_millis(400), window: Duration::from_millis(1200) },
        out: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/e2e"),
        upsplice: PathBuf::from(env!("CARGO_BIN_EXE_upsplice")),
        is_test: false,
        is_careful: true,
        is_list: false,
    };
    let (mut words, mut is_all) = (Vec::new(), false);
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(io::Error::other)? {
        match argument {
            Long("help") | Short('h') => {
                print!("{USAGE}");
                return Ok(None);
            }
            // What `cargo bench` adds.
            Long("bench") => {}
            Long("all") => is_all = true,
            Long("list") => options.is_list = true,
            Long("quick") => {
                let (warm, window) = (Duration::from_millis(200), Duration::from_millis(500));
                options.times = Times { warm, window };
                (options.repetitions, options.is_careful) = (2, false);
            }
            Long("test") => {
                let (warm, window) = (Duration::from_millis(10), Duration::from_millis(50));
                options.times = Times { warm, window };
                (options.repetitions, options.is_careful, options.is_test) = (1, false, true);
            }
            Long("reps") => options.repetitions = number(&mut parser)?.clamp(1, 1000),
            Long("window") => {
                let window = number(&mut parser)?.clamp(20, 60_000);
                options.times.window = Duration::from_millis(window as u64);
            }
            Long("peers") => {
                let names = text(&mut parser)?;
                options.peers = names.split(',').map(str::to_owned).collect();
            }
            Long("out") => options.out = PathBuf::from(text(&mut parser)?),
            Long("upsplice") => options.upsplice = PathBuf::from(text(&mut parser)?),
            Value(word) => words.push(word.to_string_lossy().into_owned()),
            Long(_) | Short(_) => return Err(io::Error::other(argument.unexpected())),
        }
    }
    if words.is_empty() {
        // Every name begins with nothing.
        words.push(String::new());
    }
    for word in &words {
        options.scenarios.extend(matching(word, is_all)?);
    }
    if options.is_test && options.peers.is_empty() {
        options.peers = ["direct", "upsplice-uring", "upsplice-epoll"].map(str::to_owned).to_vec();
    }
    Ok(Some(options))
}

fn matching(word: &str, is_all: bool) -> io::Result<Vec<Scenario>> {
    let is_meant = |scenario: &&Scenario| {
        let is_asked = scenario.by_default || is_all || scenario.name == word;
        is_asked && scenario.name.starts_with(word)
    };
    let found: Vec<Scenario> = scenario::ALL.iter().filter(is_meant).copied().collect();
    match found.is_empty() {
        true => Err(io::Error::other(format!("no scenario begins with {word}"))),
        false => Ok(found),
    }
}

fn text(parser: &mut lexopt::Parser) -> io::Result<String> {
    let value = parser.value().map_err(io::Error::other)?;
    value.string().map_err(io::Error::other)
}

fn number(parser: &mut lexopt::Parser) -> io::Result<usize> {
    text(parser)?.parse().map_err(io::Error::other)
}
