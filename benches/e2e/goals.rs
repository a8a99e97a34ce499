//! The ratios that this project is measured by, as data, and the tables that say which were met.

use std::fmt::Write as _;

use crate::report::{heading, row};
use crate::statistics::{Results, Spread};

/// What a figure is compared with.
#[derive(Clone, Copy)]
enum Against {
    /// The same figure of another peer.
    Peer(&'static str),
    /// Nothing: the goal is the figure's own.
    Nothing,
}

/// A figure of a peer in a scenario that should be at most so much, or so much of another's.
struct Goal {
    scenario: &'static str,
    metric: &'static str,
    peer: &'static str,
    against: Against,
    at_most: f64,
}

const URING: &str = "upsplice-uring";
const EPOLL: &str = "upsplice-epoll";
/// HAProxy with `splice-auto`.
const AUTO: &str = "haproxy-tcp";
/// HAProxy with splicing demanded, the best that it can do for bulk.
const SPLICE: &str = "haproxy-splice";

const GOALS: &[Goal] = &[
    goal("pingpong-128-64", "cpu", "nginx", 0.92),
    goal("pingpong-128-1000", "cpu", "nginx", 0.75),
    goal("pingpong-128-4000", "cpu", "nginx", 0.75),
    goal("pingpong-16k-64", "cpu", "nginx-tuned", 0.50),
    goal("bulk-up-64k", "cpu_gb", "nginx-tuned", 0.32),
    goal("bulk-down-64k", "cpu_gb", "nginx-tuned", 0.32),
    goal("bulk-up-1m", "cpu_gb", "nginx-tuned", 0.32),
    goal("bulk-down-1m", "cpu_gb", "nginx-tuned", 0.32),
    goal("bulk-up-64k", "cpu_gb", AUTO, 0.45),
    goal("bulk-down-64k", "cpu_gb", AUTO, 0.45),
    goal("bulk-up-1m", "cpu_gb", AUTO, 0.45),
    goal("bulk-down-1m", "cpu_gb", AUTO, 0.45),
    goal("bulk-up-1m", "cpu_gb", SPLICE, 1.0),
    goal("bulk-down-64k", "cpu_gb", SPLICE, 1.0),
    goal("visit", "cpu", "nginx", 0.88),
    Goal { against: Against::Nothing, ..goal("idle-5000", "process", "", 600.0) },
    Goal { peer: "upsplice-uring-spin", ..goal("pingpong-128-1", "p50", "direct", 1.7) },
    goal("open-20k-64", "p99", "nginx", 0.9),
    goal("feed-20k-1000", "p99", "nginx", 0.8),
];

/// By how much the engine that is chosen by itself may cost more than the other one.
const CHOICE_MAX: f64 = 1.05;

const fn goal(
    scenario: &'static str,
    metric: &'static str,
    base: &'static str,
    at_most: f64,
) -> Goal {
    Goal { scenario, metric, peer: URING, against: Against::Peer(base), at_most }
}

/// The goals that this run can say something about, and one engine against the other.
pub(crate) fn tell(text: &mut String, results: &Results) {
    text.push_str(
        "\n## Goals\n\nThe ratio of two medians; in parentheses the smallest and the largest ratio \
         within one\nrepetition, in which both were measured within a minute.\n\n",
    );
    let labels = ["scenario", "measure", "of", "to", "goal", "here", ""];
    heading(text, &labels, &[]);
    for goal in GOALS {
        if let Some(cells) = goal.cells(results) {
            row(text, cells);
        }
    }
    choice(text, results);
}

impl Goal {
    fn cells(&self, results: &Results) -> Option<[String; 7]> {
        let scenario = results.scenarios.iter().position(|one| one.name == self.scenario)?;
        let shown = results.scenarios[scenario].shown;
        let metric = shown.iter().find(|metric| metric.name == self.metric)?;
        let peer = results.peer(self.peer)?;
        let (base, found, digits) = match self.against {
            Against::Peer(base) => {
                let number = results.peer(base)?;
                (base, results.ratio(scenario, peer, number, self.metric)?, 2)
            }
            Against::Nothing => ("", results.spread(scenario, peer, self.metric)?, 0),
        };
        let verdict = if found.median <= self.at_most { "met" } else { "missed" };
        Some([
            self.scenario.to_owned(),
            metric.unit.to_owned(),
            self.peer.to_owned(),
            base.to_owned(),
            format!("≤ {:.digits$}", self.at_most),
            with_range(found, digits),
            verdict.to_owned(),
        ])
    }
}

fn with_range(spread: Spread, digits: usize) -> String {
    let Spread { median, min, max } = spread;
    format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
}

/// The engine that is chosen where both work, against the other one.
fn choice(text: &mut String, results: &Results) {
    let (Some(uring), Some(epoll)) = (results.peer(URING), results.peer(EPOLL)) else { return };
    let _ = write!(
        text,
        "\n## io_uring against epoll\n\nWhere both work io_uring is chosen. It should nowhere \
         cost more than {CHOICE_MAX:.2} of the other.\n\n"
    );
    heading(text, &["scenario", "measure"], &["io_uring / epoll".to_owned(), String::new()]);
    for (number, scenario) in results.scenarios.iter().enumerate() {
        for metric in scenario.shown.iter().filter(|metric| metric.compared) {
            let Some(ratio) = results.ratio(number, uring, epoll, metric.name) else { continue };
            let verdict = if ratio.median <= CHOICE_MAX { "" } else { "more" };
            let cells = [scenario.name, metric.unit, &with_range(ratio, 2), verdict];
            row(text, cells.map(str::to_owned));
        }
    }
}
