//! The results as tables for people and as JSON for programs.

use std::fmt::Write as _;

use crate::goals;
use crate::json::Json;
use crate::machine::Machine;
use crate::options::Options;
use crate::scenario::Metric;
use crate::statistics::{BUSY_MAX, Repetition, Results, Spread};

/// Whom the tables of ratios compare with, as far as they took part.
const BASES: [&str; 3] = ["nginx", "nginx-tuned", "haproxy-tcp"];

/// The whole report.
pub(crate) fn markdown(results: &Results, machine: &Machine, options: &Options) -> String {
    let mut text = String::from("# Results of scripts/bench\n\n");
    for (name, value) in &machine.facts {
        let _ = writeln!(text, "* {name}: {value}");
    }
    let _ = writeln!(
        text,
        "* {} repetitions, {} ms each after {} ms of warm-up; peers took turns\n",
        options.repetitions,
        options.times.window.as_millis(),
        options.times.warm.as_millis()
    );
    text.push_str(
        "Figures are medians, with the smallest and the largest in parentheses. CPU time is that\n\
         of the proxy's whole process tree, on a CPU of its own; load and backend share the other\n\
         one, which bounds the rates. A GB is 10^9 bytes. Slab is the kernel's, with the\n\
         sockets of load and backend.\n",
    );
    goals::tell(&mut text, results);
    text.push_str("\n## Medians\n\n");
    overview(&mut text, results, |peer| results.is_everywhere(peer));
    if (0..results.peers.len()).any(|peer| !results.is_everywhere(peer)) {
        text.push_str("\n## Medians of those that took part in some scenarios\n\n");
        overview(&mut text, results, |peer| !results.is_everywhere(peer));
    }
    for base in BASES {
        ratios(&mut text, results, base);
    }
    for scenario in 0..results.scenarios.len() {
        detail(&mut text, results, scenario);
    }
    remarks(&mut text, results);
    text
}

/// A row of a table.
pub(crate) fn row(text: &mut String, cells: impl IntoIterator<Item = String>) {
    for cell in cells {
        let _ = write!(text, "| {cell} ");
    }
    text.push_str("|\n");
}

/// The head of a table: labels to the left, names of figures to the right.
pub(crate) fn heading(text: &mut String, labels: &[&str], names: &[String]) {
    row(text, labels.iter().map(|&label| label.to_owned()).chain(names.iter().cloned()));
    let dashes = labels.iter().map(|_| "---".to_owned());
    row(text, dashes.chain(names.iter().map(|_| "---:".to_owned())));
}

/// A row for each figure, a column for each peer that is meant.
fn overview(text: &mut String, results: &Results, is_meant: impl Fn(usize) -> bool) {
    let peers: Vec<usize> = (0..results.peers.len()).filter(|&peer| is_meant(peer)).collect();
    let names: Vec<String> = peers.iter().map(|&peer| results.peers[peer].clone()).collect();
    heading(text, &["scenario", "measure"], &names);
    for (number, scenario) in results.scenarios.iter().enumerate() {
        if peers.iter().all(|&peer| results.repetitions(number, peer).is_empty()) {
            continue;
        }
        for metric in scenario.shown {
            let cell = |peer| match results.spread(number, peer, metric.name) {
                _ if !results.has(peer, metric) => "–".to_owned(),
                Some(spread) => format!("{:.*}", metric.decimals, spread.median),
                None => results.refusal(number, peer).map_or("–", |_| "refused").to_owned(),
            };
            let labels = [scenario.name.to_owned(), metric.unit.to_owned()];
            row(text, labels.into_iter().chain(peers.iter().map(|&peer| cell(peer))));
        }
    }
}

fn ratios(text: &mut String, results: &Results, base: &str) {
    let Some(base_number) = results.peer(base) else { return };
    let _ = write!(text, "\n## Relative to {base}: less is better than {base}\n\n");
    let peers = || (0..results.peers.len()).filter(|&peer| results.is_everywhere(peer));
    let names: Vec<String> = peers().map(|peer| results.peers[peer].clone()).collect();
    heading(text, &["scenario", "measure"], &names);
    for (number, scenario) in results.scenarios.iter().enumerate() {
        for metric in scenario.shown.iter().filter(|metric| metric.compared) {
            let cell = |peer| match results.ratio(number, peer, base_number, metric.name) {
                Some(ratio) if results.has(peer, metric) => format!("{:.2}", ratio.median),
                _ => "–".to_owned(),
            };
            let labels = [scenario.name.to_owned(), metric.unit.to_owned()];
            row(text, labels.into_iter().chain(peers().map(cell)));
        }
    }
}

fn detail(text: &mut String, results: &Results, number: usize) {
    let scenario = &results.scenarios[number];
    let _ = write!(text, "\n## {}\n\n{:?}\n\n", scenario.name, scenario.load);
    let mut units: Vec<String> =
        scenario.shown.iter().map(|metric| metric.unit.to_owned()).collect();
    units.push("load busy".to_owned());
    heading(text, &["peer"], &units);
    for (peer, name) in results.peers.iter().enumerate() {
        if results.repetitions(number, peer).is_empty() {
            continue;
        }
        let cell = |metric: &Metric| match results.spread(number, peer, metric.name) {
            _ if !results.has(peer, metric) => "–".to_owned(),
            Some(Spread { median, min, max }) => {
                let digits = metric.decimals;
                format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
            }
            None => results.refusal(number, peer).unwrap_or_else(|| "–".to_owned()),
        };
        let busy = results.busy(number, peer);
        let busy = busy.map_or_else(|| "–".to_owned(), |busy| format!("{:.0} %", busy * 100.0));
        let figures = scenario.shown.iter().map(cell);
        row(text, std::iter::once(name.clone()).chain(figures).chain(std::iter::once(busy)));
    }
}

/// How far the measurements can be trusted.
fn remarks(text: &mut String, results: &Results) {
    let all = || results.cells.values().flatten();
    let samples = || all().filter_map(|one| one.outcome.as_ref().ok());
    let discarded: u32 = all().map(|one| one.discarded).sum();
    let others = Spread::of(samples().map(|sample| sample.spent.disturbed() * 100.0).collect());
    let average = Spread::of(all().map(|one| one.load_average).collect());
    text.push_str("\n## How quiet the machine was\n\n");
    if let (Some(others), Some(average)) = (others, average) {
        let _ = writeln!(
            text,
            "* Others (other programs, interrupts, the hypervisor) took {:.1} % of a CPU in the\n  \
             median measurement and {:.1} % in the worst; {discarded} measurements were thrown\n  \
             away because it was more than 10 % (3 % where a tail is measured), and repeated.\n\
             * The load average was {:.1} to {:.1}, this benchmark's own load included.",
            others.median, others.max, average.min, average.max
        );
    }
    let _ = writeln!(
        text,
        "* Every payload byte was compared with what was sent. Load busy is how much of\n  \
         their CPU load and backend took: in a closed loop it may be all, and then the rate is\n  \
         theirs; a scenario with a fixed rate is refused from {:.0} % on.",
        BUSY_MAX * 100.0
    );
}

/// Every repetition with all its figures.
pub(crate) fn json(results: &Results, machine: &Machine, options: &Options) -> String {
    let facts = machine.facts.iter().map(|(name, value)| (*name, Json::text(value)));
    let mut cells = Vec::new();
    for (&(scenario, peer), repetitions) in &results.cells {
        for (number, one) in repetitions.iter().enumerate() {
            let mut members = vec![
                ("scenario", Json::text(results.scenarios[scenario].name)),
                ("peer", Json::text(results.peers[peer].clone())),
                ("repetition", Json::Number(number as f64)),
            ];
            members.extend(figures(one));
            cells.push(Json::object(members));
        }
    }
    let settings = Json::object([
        ("repetitions", Json::Number(options.repetitions as f64)),
        ("warm_s", Json::Number(options.times.warm.as_secs_f64())),
        ("window_s", Json::Number(options.times.window.as_secs_f64())),
    ]);
    let all = Json::object([
        ("machine", Json::object(facts)),
        ("settings", settings),
        ("measurements", Json::List(cells)),
    ]);
    format!("{all}\n")
}

fn figures(one: &Repetition) -> Vec<(&'static str, Json)> {
    let mut members = vec![
        ("load_average", Json::Number(one.load_average)),
        ("discarded", Json::Number(f64::from(one.discarded))),
    ];
    match &one.outcome {
        Err(error) => members.push(("error", Json::text(error))),
        Ok(sample) => {
            let spent = &sample.spent;
            let times = [
                ("wall_s", spent.wall),
                ("proxy_cpu_s", spent.proxy),
                ("backend_cpu_s", spent.backend),
                ("load_cpu_s", spent.load),
                ("load_waited_s", spent.waited),
                ("others_cpu_s", spent.others),
                ("stolen_s", spent.stolen),
            ];
            members.extend(times.map(|(name, time)| (name, Json::Number(time.as_secs_f64()))));
            members
                .extend(sample.metrics.iter().map(|(name, value)| (*name, Json::Number(*value))));
        }
    }
    members
}
