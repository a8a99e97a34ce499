//! Who plays when: scenarios, repetitions, and peers that take turns.

use std::fs::{File, OpenOptions};
use std::io;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::load::{Sample, Site};
use crate::machine::Machine;
use crate::meter;
use crate::options::Options;
use crate::peer::{self, LOAD_CPU, Peer, Stage};
use crate::plot;
use crate::report;
use crate::scenario::{self, Scenario};
use crate::statistics::{Repetition, Results};

/// Memory that must be left: a benchmark must not bring a machine down.
const AVAILABLE_MIN: u64 = 1024 * 1024 * 1024;
/// How often a disturbed measurement is thrown away before it is taken as it is.
const DISCARDS_MAX: u32 = 3;
/// How long to wait for a quiet machine, before one measurement and in a whole run.
const PATIENCE_ONCE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(1800);

/// What a measurement takes besides its load: starting, connecting, a look at the machine.
const OVERHEAD: Duration = Duration::from_millis(700);

/// Measures what the options ask for and writes the results.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/e2e/peers");
    let known = Peer::list(&folder)?;
    if options.is_list {
        list(&known);
        return Ok(());
    }
    let peers = chosen(&known, options)?;
    // As many as the system allows: a scenario has thousands of clients.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    if let Err(error) = peer::pin(LOAD_CPU) {
        let error = io::Error::other(format!("two CPUs are needed: {error}"));
        eprintln!("{error}");
        return if options.is_test { Ok(()) } else { Err(error) };
    }
    let machine = Machine::describe(options);
    let mut patience = if options.is_careful { PATIENCE } else { Duration::ZERO };
    let mut results = Results {
        scenarios: options.scenarios.clone(),
        peers: peers.iter().map(|peer| peer.name.clone()).collect(),
        cells: std::collections::BTreeMap::new(),
    };
    let is_playing =
        |peer: &Peer, scenario: &Scenario| !options.peers.is_empty() || peer.plays(scenario.name);
    tell_length(options, &peers, is_playing);
    for (number, scenario) in options.scenarios.iter().enumerate() {
        let playing: Vec<usize> =
            (0..peers.len()).filter(|&which| is_playing(peers[which], scenario)).collect();
        for repetition in 0..options.repetitions {
            for turn in 0..playing.len() {
                let which = playing[(turn + repetition) % playing.len()];
                let one = repeat(options, scenario, peers[which], &mut patience)?;
                tell(scenario, peers[which], &one);
                results.cells.entry((number, which)).or_default().push(one);
            }
        }
    }
    if options.is_test {
        return verdict(&results);
    }
    std::fs::create_dir_all(&options.out)?;
    std::fs::write(options.out.join("results.json"), report::json(&results, &machine, options))?;
    std::fs::write(options.out.join("results.md"), report::markdown(&results, &machine, options))?;
    plot::all(&results, &options.out)?;
    eprintln!("results are in {}", options.out.display());
    Ok(())
}

fn list(known: &[Peer]) {
    let mark = |by_default| if by_default { "" } else { " (when asked for)" };
    println!("scenarios:");
    for scenario in scenario::ALL {
        println!("  {}{}", scenario.name, mark(scenario.by_default));
    }
    println!("peers:");
    for peer in known {
        println!("  {}{}{}", peer.name, mark(peer.by_default), peer.part());
    }
}

/// Says about how long a quiet machine will take.
fn tell_length(options: &Options, peers: &[&Peer], is_playing: impl Fn(&Peer, &Scenario) -> bool) {
    let playing =
        |scenario: &Scenario| peers.iter().filter(|peer| is_playing(peer, scenario)).count();
    let each: usize = options.scenarios.iter().map(playing).sum();
    let count = each * options.repetitions;
    let one = options.times.warm + options.times.window + OVERHEAD;
    let minutes = (one.as_secs_f64() * count as f64 / 60.0).ceil();
    eprintln!("{count} measurements: about {minutes} minutes, more if the machine is not quiet");
}

fn chosen<'a>(known: &'a [Peer], options: &Options) -> io::Result<Vec<&'a Peer>> {
    if options.peers.is_empty() {
        let mut peers: Vec<&Peer> = known.iter().filter(|peer| peer.by_default).collect();
        peers.retain(|peer| {
            let is_there = peer.binary(&options.upsplice).is_some();
            if !is_there {
                eprintln!("{} is not installed and does not take part", peer.name);
            }
            is_there
        });
        return Ok(peers);
    }
    let find = |name: &String| known.iter().find(|peer| peer.name == *name);
    let unknown = |name: &String| io::Error::other(format!("no peer is called {name}"));
    options.peers.iter().map(|name| find(name).ok_or_else(|| unknown(name))).collect()
}

/// Measures once, and again while something else disturbs the machine.
fn repeat(
    options: &Options,
    scenario: &Scenario,
    peer: &Peer,
    patience: &mut Duration,
) -> io::Result<Repetition> {
    if meter::available()? < AVAILABLE_MIN {
        return Err(io::Error::other("the machine has too little memory left"));
    }
    let mut discarded = 0;
    loop {
        let lock = turn()?;
        *patience = patience.saturating_sub(meter::quiet((*patience).min(PATIENCE_ONCE))?);
        let load_average = meter::load_average();
        let outcome = measure(options, scenario, peer).map_err(|error| error.to_string());
        drop(lock);
        let is_disturbed = outcome
            .as_ref()
            .is_ok_and(|sample| sample.spent.disturbed() > scenario.load.disturbed_max());
        if !options.is_careful || !is_disturbed || discarded == DISCARDS_MAX {
            return Ok(Repetition { outcome, discarded, load_average });
        }
        discarded += 1;
    }
}

fn measure(options: &Options, scenario: &Scenario, peer: &Peer) -> io::Result<Sample> {
    let stage = Stage::set(peer, &options.upsplice)?;
    let site = Site { target: stage.target, meter: &stage.meter, times: options.times };
    let load = if options.is_test { scenario.load.tiny() } else { scenario.load };
    site.run(load)
}

/// Two runs on one machine would measure each other: they take turns by a lock, measurement for
/// measurement.
fn turn() -> io::Result<Flock<File>> {
    let path = std::env::temp_dir().join("upsplice-e2e.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error.into())
}

/// A line of progress.
fn tell(scenario: &Scenario, peer: &Peer, one: &Repetition) {
    let text = match &one.outcome {
        Err(error) => format!("FAILED: {error}"),
        Ok(sample) => {
            let figures = scenario.shown.iter().filter_map(|metric| {
                let value = sample.metrics.get(metric.name)?;
                Some(format!("{value:.*} {}", metric.decimals, metric.unit))
            });
            let figures: Vec<String> = figures.collect();
            format!(
                "{} | load {:.0} % busy, others {:.0} %, discarded {}",
                figures.join(", "),
                sample.spent.load_busy() * 100.0,
                sample.spent.disturbed() * 100.0,
                one.discarded
            )
        }
    };
    eprintln!("{:<18} {:<15} {text}", scenario.name, peer.name);
}

/// Whether all of a test's loads ran.
fn verdict(results: &Results) -> io::Result<()> {
    let failed = results.cells.values().flatten().filter(|one| one.outcome.is_err()).count();
    match failed {
        0 => Ok(()),
        _ => Err(io::Error::other(format!("{failed} loads failed"))),
    }
}
