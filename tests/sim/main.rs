//! The whole worker on a simulated kernel: seeds, oracles, replay.
//!
//! `cargo test --test sim` plays 2,000 seeds; `SEEDS=n` plays so many, `SEED=n` plays one and shows
//! everything that happens in it (with `-- --nocapture`, also when it succeeds).

mod client;
mod house;
mod line;
mod oracle;
mod plan;
mod planted;
mod rig;
mod timers;
mod upstream;
mod wire;

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};

use planted::Bug;
use rig::{History, Rig};

/// Seeds of an ordinary `cargo test`.
const SEEDS: u64 = 2_000;

/// Within so many seeds a planted bug must be found.
const SEEDS_PER_BUG: u64 = 20;

/// A thread stops after so many failures.
const FAILURES_MAX: usize = 5;

/// How often each kind of log line was written, and each carrier used.
type Seen = BTreeMap<String, usize>;

/// What a simulation which still tests something brings about: ends, as status and reason, and the
/// carriers of tunnels.
const MUST_OCCUR: &[&str] = &[
    "101 client_closed",
    "101 client_failed",
    "101 shutdown",
    "101 timeout:proxy_read_timeout",
    "101 timeout:proxy_send_timeout",
    "101 timeout:send_timeout",
    "101 upstream_closed",
    "101 upstream_failed",
    "200 client_failed",
    "200 done",
    "200 upstream_failed",
    "200 upstream_truncated",
    "400 client_fault",
    "408 timeout:client_body_timeout",
    "408 timeout:client_header_timeout",
    "499 client_failed",
    "502 connect_failed",
    "502 upstream_failed",
    "502 upstream_fault",
    "503 shutdown",
    "503 worker_full",
    "504 timeout:proxy_connect_timeout",
    "504 timeout:proxy_read_timeout",
    "a demotion",
    "a link",
    "a link, in part",
    "a pipe",
    "a promotion",
];

thread_local! {
    /// True exactly while panics of this thread are expected and collected.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

#[test]
fn every_seed_keeps_every_promise() {
    if let Some(seed) = number("SEED") {
        println!("{:?}", Rig::new(seed, None, true).play());
        return;
    }
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let (seen, failures) = std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let players: Vec<_> = (0..threads).map(|_| scope.spawn(|| play(&next, seeds))).collect();
        players.into_iter().fold((Seen::new(), Vec::new()), |(mut all, mut failures), player| {
            let (seen, more) = player.join().expect("panics are caught");
            seen.into_iter().for_each(|(kind, count)| *all.entry(kind).or_default() += count);
            failures.extend(more);
            (all, failures)
        })
    });
    println!("{seen:#?}");
    assert!(failures.is_empty(), "{}\nSEED=n cargo test --test sim replays", failures.join("\n"));
    if seeds >= SEEDS {
        let missing: Vec<_> = MUST_OCCUR.iter().filter(|kind| !seen.contains_key(**kind)).collect();
        assert!(missing.is_empty(), "never seen in {seeds} seeds: {missing:?}");
    }
}

/// Plays seeds until there are no more, or enough has gone wrong.
fn play(next: &AtomicU64, seeds: u64) -> (Seen, Vec<String>) {
    let (mut all, mut failures) = (Seen::new(), Vec::new());
    while failures.len() < FAILURES_MAX {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds {
            break;
        }
        match attempt(seed, None) {
            Ok(History { seen, tally }) => {
                let carried = [
                    ("a pipe", tally.piped),
                    ("a link", tally.relayed),
                    ("a link, in part", tally.relayed_in_part),
                    ("a promotion", tally.promoted),
                    ("a demotion", tally.demoted),
                ];
                let carried = carried.into_iter().filter(|&(_, count)| count > 0);
                let count = |count| usize::try_from(count).expect("a run is short");
                let carried = carried.map(|(what, times)| (what.to_owned(), count(times)));
                seen.into_iter()
                    .chain(carried)
                    .for_each(|(kind, count)| *all.entry(kind).or_default() += count);
            }
            Err(why) => failures.push(format!("SEED={seed}: {why}")),
        }
    }
    (all, failures)
}

#[test]
fn a_seed_is_a_history() {
    for seed in [3, 77, 2_024] {
        assert_eq!(attempt(seed, None), attempt(seed, None), "seed {seed}");
    }
}

#[test]
fn every_planted_bug_is_found() {
    for bug in Bug::ALL {
        let found =
            (0..SEEDS_PER_BUG).find_map(|seed| Some((seed, attempt(seed, Some(bug)).err()?)));
        let (seed, why) = found.unwrap_or_else(|| panic!("{bug:?} lives through all seeds"));
        println!("{bug:?} dies of seed {seed}: {why}");
    }
}

/// Plays a seed; the first line of what went wrong.
fn attempt(seed: u64, bug: Option<Bug>) -> Result<History, String> {
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(|| Rig::new(seed, bug, false).play()));
    QUIET.set(false);
    result.map_err(|panic| message(&*panic))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
