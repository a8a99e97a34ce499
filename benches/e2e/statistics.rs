//! Medians and spreads of a few repetitions, and the table of results that everything is told from.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::load::Sample;
use crate::scenario::{Metric, Scenario};

/// The share of busy time from which on a load generator measures itself.
pub(crate) const BUSY_MAX: f64 = 0.95;

/// One measurement, or why there is none.
pub(crate) struct Repetition {
    pub(crate) outcome: Result<Sample, String>,
    /// Measurements that were thrown away before this one, because the machine was disturbed.
    pub(crate) discarded: u32,
    /// The load average when it began, this benchmark's own load included.
    pub(crate) load_average: f64,
}

/// A median and how far the repetitions lie apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of some values; `None` of none.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        Some(Self { median, min, max })
    }
}

/// Everything that was measured.
pub(crate) struct Results {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) peers: Vec<String>,
    /// By the numbers of scenario and peer.
    pub(crate) cells: BTreeMap<(usize, usize), Vec<Repetition>>,
}

impl Results {
    pub(crate) fn repetitions(&self, scenario: usize, peer: usize) -> &[Repetition] {
        self.cells.get(&(scenario, peer)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn samples(&self, scenario: usize, peer: usize) -> impl Iterator<Item = &Sample> {
        self.repetitions(scenario, peer).iter().filter_map(|one| one.outcome.as_ref().ok())
    }

    /// Why a cell has no figures, if it has none.
    pub(crate) fn refusal(&self, scenario: usize, peer: usize) -> Option<String> {
        let repetitions = self.repetitions(scenario, peer);
        if let Some(error) = repetitions.iter().find_map(|one| one.outcome.as_ref().err()) {
            return Some(format!("failed: {error}"));
        }
        let busy = self.busy(scenario, peer)?;
        let is_bound = self.scenarios[scenario].load.is_open() && busy >= BUSY_MAX;
        is_bound.then(|| format!("load {:.0} % busy", busy * 100.0))
    }

    /// A metric over the repetitions of a cell; `None` if the cell is refused or lacks it.
    pub(crate) fn spread(&self, scenario: usize, peer: usize, metric: &str) -> Option<Spread> {
        if self.refusal(scenario, peer).is_some() {
            return None;
        }
        let values = self.samples(scenario, peer).map(|sample| sample.metrics.get(metric).copied());
        Spread::of(values.collect::<Option<Vec<f64>>>()?)
    }

    /// The ratio of two peers' medians, and between which values it lies when each repetition is
    /// compared with its own: what both met at about the same time.
    pub(crate) fn ratio(
        &self,
        scenario: usize,
        peer: usize,
        base: usize,
        metric: &str,
    ) -> Option<Spread> {
        let median = |peer| self.spread(scenario, peer, metric).map(|spread| spread.median);
        let (one, other) = (median(peer)?, median(base)?);
        let pairs = self.samples(scenario, peer).zip(self.samples(scenario, base));
        let each = pairs.filter_map(|(one, other)| {
            Some(
                one.metrics.get(metric)?
                    / other.metrics.get(metric).filter(|&&value| value > 0.0)?,
            )
        });
        let each = Spread::of(each.collect())?;
        (other > 0.0).then_some(Spread { median: one / other, ..each })
    }

    /// Whether the peer took part in everything.
    pub(crate) fn is_everywhere(&self, peer: usize) -> bool {
        (0..self.scenarios.len()).all(|scenario| !self.repetitions(scenario, peer).is_empty())
    }

    /// How busy load and backend kept their CPU, at the median.
    pub(crate) fn busy(&self, scenario: usize, peer: usize) -> Option<f64> {
        let busy = self.samples(scenario, peer).map(|sample| sample.spent.load_busy()).collect();
        Spread::of(busy).map(|spread| spread.median)
    }

    /// Whether the peer has a figure of its own: a direct connection has no proxy that costs.
    pub(crate) fn has(&self, peer: usize, metric: &Metric) -> bool {
        let of_proxy = ["cpu", "cpu_gb", "process", "process_all"];
        self.peers[peer] != "direct" || !of_proxy.contains(&metric.name)
    }

    /// The latencies of all repetitions of a cell together.
    pub(crate) fn latency(&self, scenario: usize, peer: usize) -> Option<Histogram<u64>> {
        let mut all: Option<Histogram<u64>> = None;
        for latency in self.samples(scenario, peer).filter_map(|one| one.latency.as_ref()) {
            match &mut all {
                None => all = Some(latency.clone()),
                Some(all) => all.add(latency).ok()?,
            }
        }
        all
    }

    pub(crate) fn peer(&self, name: &str) -> Option<usize> {
        self.peers.iter().position(|peer| peer == name)
    }
}
