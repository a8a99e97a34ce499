//! What the program says about itself: at its start and at its end.

use core::fmt::Write as _;

use crate::conn::Addr;
use crate::engine::probe::Chosen;
use crate::observe::stats::{Counter, Stats};
use crate::supervisor::Summary;

/// What is being served.
#[derive(Debug)]
pub(super) struct Serving<'a> {
    pub(super) engine: Chosen,
    /// The CPUs of each worker.
    pub(super) cpus: &'a [Vec<usize>],
    pub(super) addresses: Vec<Addr>,
}

/// The line in the error log: engine and why, workers and their CPUs, addresses.
pub(super) fn started(serving: &Serving<'_>) -> String {
    format!(
        "upsplice {} started: engine {}; {}; listening on {}",
        env!("CARGO_PKG_VERSION"),
        engine(serving.engine),
        workers(serving),
        list(serving.addresses.iter())
    )
}

/// The engine, and why it is that one.
pub(super) fn engine(chosen: Chosen) -> String {
    match chosen {
        Chosen::Uring => "io_uring (tried at the start, and it works here)".to_owned(),
        Chosen::Epoll { .. } => chosen.to_string(),
    }
}

/// `2 workers, on CPU 0 and CPU 1`.
pub(super) fn workers(serving: &Serving<'_>) -> String {
    let cpus = serving.cpus.iter().map(|cpus| match cpus.as_slice() {
        [] => "any CPU".to_owned(),
        [cpu] => format!("CPU {cpu}"),
        several => {
            let numbers: Vec<_> = several.iter().map(usize::to_string).collect();
            format!("CPUs {}", numbers.join(","))
        }
    });
    let plural = if serving.cpus.len() == 1 { "" } else { "s" };
    format!("{} worker{plural} on {}", serving.cpus.len(), list(cpus))
}

/// The summary at the end of the embedded example, several lines.
pub(super) fn summary(summary: &Summary) -> String {
    let stats = &summary.stats;
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "ran {:.1} s: {} connections, {} requests, {} tunnels",
        summary.uptime.as_secs_f64(),
        stats.get(Counter::Accepted),
        stats.get(Counter::Requests),
        stats.get(Counter::TunnelsOpened),
    );
    let _ = writeln!(
        text,
        "  bytes: {} to upstreams, {} to clients ({} and {} of them in tunnels)",
        stats.get(Counter::BytesUp),
        stats.get(Counter::BytesDown),
        stats.get(Counter::TunnelBytesUp),
        stats.get(Counter::TunnelBytesDown),
    );
    let _ = writeln!(text, "  ended by: {}", ends(stats));
    for (count, what) in [
        (summary.panics, "workers panicked"),
        (summary.log_writes_lost, "log writes failed"),
        (summary.left_behind as u64, "workers did not stop in time"),
    ] {
        if count > 0 {
            let _ = writeln!(text, "  {count} {what}");
        }
    }
    text
}

fn ends(stats: &Stats) -> String {
    let ends = stats.ends();
    if ends.is_empty() {
        return "nothing ended".to_owned();
    }
    let words: Vec<_> = ends.iter().map(|(word, count)| format!("{word} {count}")).collect();
    words.join(", ")
}

fn list(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
