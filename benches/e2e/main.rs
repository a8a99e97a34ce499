//! The end-to-end benchmark: load generator, backend and conductor in one binary.
//!
//! `scripts/bench` builds and starts it. The conductor starts a backend and a proxy, one after the
//! other, runs a load against them and ends them; peers take turns within each repetition, so that
//! whatever else the machine does meets all of them. The proxy has one CPU to itself, load and
//! backend share the other. See docs/PERFORMANCE.md for what came out and how to read it.

mod backend;
mod conductor;
mod frame;
mod goals;
mod json;
mod load;
mod machine;
mod meter;
mod options;
mod peer;
mod plot;
mod poller;
mod report;
mod scenario;
mod statistics;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("backend") => backend::serve(),
        _ => options::parse(arguments).and_then(|options| match options {
            Some(options) => conductor::run(&options),
            None => Ok(()),
        }),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("e2e: {error}");
            ExitCode::FAILURE
        }
    }
}
