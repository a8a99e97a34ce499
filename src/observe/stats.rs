//! Counters: plain numbers inside a worker, published once per turn, summed by the house.
//!
//! Deliberately absent: gauges (a difference of two counters is one), labels and exposition.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::reason::{Party, Reason, Timer};

/// Something that is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(usize)]
pub enum Counter {
    /// Client connections that found a slot.
    Accepted,
    /// Client connections that are closed again.
    Closed,
    /// Request heads that were complete.
    Requests,
    /// Tunnels that began with a 101.
    TunnelsOpened,
    /// Tunnels that ended.
    TunnelsClosed,
    /// Bytes written to upstreams inside tunnels.
    TunnelBytesUp,
    /// Bytes written to clients inside tunnels.
    TunnelBytesDown,
    /// All bytes written to upstreams.
    BytesUp,
    /// All bytes written to clients.
    BytesDown,
    /// Times the connection table had no slot for a client, so that accepting paused.
    WorkerFull,
    /// Accepts that failed for want of descriptors or memory.
    AcceptErrors,
    /// Completions of an earlier tenant of a slot.
    Stale,
    /// Turns of the loop.
    Turns,
    /// Spins before a sleep that found work and saved it.
    SpinsWon,
    /// Spins before a sleep that found nothing.
    SpinsVain,
}

impl Counter {
    /// How many there are.
    pub const COUNT: usize = Self::SpinsVain as usize + 1;
}

/// Answers are counted by the first digit of their status; index 0 is everything else.
const CLASSES: usize = 6;
const PARTIES: usize = 3;
const ANSWERS: usize = Counter::COUNT;
const ENDS_BY_PARTY: usize = ANSWERS + CLASSES;
const ENDS: usize = ENDS_BY_PARTY + PARTIES;
const TOTAL: usize = ENDS + END_COUNT;

/// One worker's counters, or a sum of several.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stats {
    values: [u64; TOTAL],
}

impl Default for Stats {
    fn default() -> Self {
        Self { values: [0; TOTAL] }
    }
}

impl Stats {
    /// Counts one.
    pub const fn count(&mut self, counter: Counter) {
        self.values[counter as usize] += 1;
    }

    /// Counts `n`.
    pub const fn add(&mut self, counter: Counter, n: u64) {
        self.values[counter as usize] += n;
    }

    /// Counts an answer to a client by its status; 499 counts though it is never sent.
    pub fn answered(&mut self, status: u16) {
        let class = usize::from(status / 100);
        self.values[ANSWERS + if class < CLASSES { class } else { 0 }] += 1;
    }

    /// Counts the end of a request or a tunnel.
    pub const fn ended(&mut self, reason: Reason) {
        self.values[ENDS_BY_PARTY + reason.party() as usize] += 1;
        self.values[ENDS + end_index(reason)] += 1;
    }

    /// The value of a counter.
    #[must_use]
    pub const fn get(&self, counter: Counter) -> u64 {
        self.values[counter as usize]
    }

    /// Answers whose status begins with that digit (1 to 5).
    #[must_use]
    pub const fn answers(&self, class: usize) -> u64 {
        if class < CLASSES { self.values[ANSWERS + class] } else { 0 }
    }

    /// Requests and tunnels that ended by that party's doing.
    #[must_use]
    pub const fn ends_by(&self, party: Party) -> u64 {
        self.values[ENDS_BY_PARTY + party as usize]
    }

    /// Requests and tunnels that a timer ended.
    #[must_use]
    pub const fn timeouts(&self, timer: Timer) -> u64 {
        self.values[ENDS + end_index(Reason::TimedOut(timer))]
    }

    /// Tunnels that live.
    #[must_use]
    pub const fn tunnels_live(&self) -> u64 {
        self.get(Counter::TunnelsOpened).saturating_sub(self.get(Counter::TunnelsClosed))
    }

    /// Client connections that live.
    #[must_use]
    pub const fn connections_live(&self) -> u64 {
        self.get(Counter::Accepted).saturating_sub(self.get(Counter::Closed))
    }

    /// Why requests and tunnels ended: the word of `$upsplice_reason` without its detail (a timer's
    /// name is kept), and how many; only words that occurred, the most frequent first.
    #[must_use]
    pub fn ends(&self) -> Vec<(String, u64)> {
        let mut ends: Vec<_> = (0..END_COUNT)
            .filter(|&index| self.values[ENDS + index] > 0)
            .map(|index| (end_word(index), self.values[ENDS + index]))
            .collect();
        ends.sort_by_key(|&(_, count)| core::cmp::Reverse(count));
        ends
    }

    /// Counts everything that is open as closed: its worker is dead.
    pub const fn close_all(&mut self) {
        self.values[Counter::Closed as usize] = self.get(Counter::Accepted);
        self.values[Counter::TunnelsClosed as usize] = self.get(Counter::TunnelsOpened);
    }

    /// Adds another worker's counters.
    pub fn sum(&mut self, other: &Self) {
        for (value, more) in self.values.iter_mut().zip(&other.values) {
            *value = value.saturating_add(*more);
        }
    }

    /// Makes the current values visible to other threads; once per turn.
    pub fn publish(&self, shared: &Shared) {
        for (value, cell) in self.values.iter().zip(&shared.values) {
            cell.store(*value, Ordering::Relaxed);
        }
    }
}

/// A worker's counters as they were at the end of its last turn, for any thread to read.
///
/// Each value is exact; values of one turn may be seen beside values of the next.
#[derive(Debug)]
pub struct Shared {
    values: [AtomicU64; TOTAL],
}

impl Default for Shared {
    fn default() -> Self {
        Self { values: [const { AtomicU64::new(0) }; TOTAL] }
    }
}

impl Shared {
    /// Reads all of them.
    #[must_use]
    pub fn snapshot(&self) -> Stats {
        Stats { values: core::array::from_fn(|n| self.values[n].load(Ordering::Relaxed)) }
    }
}

/// Reasons without their details: four kinds that name a party, six that stand alone, the timers.
const BY_PARTY: usize = 4 * PARTIES;
const ALONE: usize = 6;
const END_COUNT: usize = BY_PARTY + ALONE + Timer::COUNT;

const fn end_index(reason: Reason) -> usize {
    match reason {
        Reason::Closed(party) => party as usize,
        Reason::Failed(party, _) => PARTIES + party as usize,
        Reason::Truncated(party) => 2 * PARTIES + party as usize,
        Reason::Fault(party, _) => 3 * PARTIES + party as usize,
        Reason::Done => BY_PARTY,
        Reason::ConnectFailed(_) => BY_PARTY + 1,
        Reason::NoUpstream => BY_PARTY + 2,
        Reason::Full => BY_PARTY + 3,
        Reason::NotFound => BY_PARTY + 4,
        Reason::Shutdown => BY_PARTY + 5,
        Reason::TimedOut(timer) => BY_PARTY + ALONE + timer as usize,
    }
}

fn end_word(index: usize) -> String {
    const PARTY: [&str; PARTIES] = ["client", "upstream", "proxy"];
    const KIND: [&str; 4] = ["closed", "failed", "truncated", "fault"];
    const WORD: [&str; ALONE] =
        ["done", "connect_failed", "no_upstream", "worker_full", "not_found", "shutdown"];
    if index < BY_PARTY {
        format!("{}_{}", PARTY[index % PARTIES], KIND[index / PARTIES])
    } else if index < BY_PARTY + ALONE {
        WORD[index - BY_PARTY].to_owned()
    } else {
        format!("timeout:{}", TIMERS[index - BY_PARTY - ALONE].name())
    }
}

const TIMERS: [Timer; Timer::COUNT] = [
    Timer::ClientHeader,
    Timer::Keepalive,
    Timer::ClientBody,
    Timer::ProxyConnect,
    Timer::ProxyRead,
    Timer::ProxySend,
    Timer::Send,
    Timer::TunnelIdle,
    Timer::TunnelLifetime,
    Timer::Linger,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Fault;

    fn reasons() -> Vec<Reason> {
        let mut reasons = vec![
            Reason::Done,
            Reason::ConnectFailed(111),
            Reason::NoUpstream,
            Reason::Full,
            Reason::NotFound,
            Reason::Shutdown,
        ];
        for party in [Party::Client, Party::Upstream, Party::Proxy] {
            reasons.extend([
                Reason::Closed(party),
                Reason::Failed(party, 104),
                Reason::Truncated(party),
                Reason::Fault(party, Fault::BadHost),
            ]);
        }
        reasons.extend(TIMERS.map(Reason::TimedOut));
        reasons
    }

    #[test]
    fn each_reason_is_counted_under_the_word_of_the_log() {
        assert_eq!(reasons().len(), END_COUNT);
        for reason in reasons() {
            let mut stats = Stats::default();
            stats.ended(reason);
            let logged = reason.to_string();
            let word = match reason {
                Reason::TimedOut(_) => logged.as_str(),
                _ => logged.split(':').next().unwrap(),
            };
            assert_eq!(stats.ends(), [(word.to_owned(), 1)]);
            assert_eq!(stats.ends_by(reason.party()), 1);
        }
    }

    #[test]
    fn published_counters_add_up() {
        let mut stats = Stats::default();
        stats.add(Counter::BytesUp, 5);
        stats.count(Counter::Accepted);
        stats.answered(101);
        stats.answered(499);
        stats.answered(700);
        let shared = Shared::default();
        stats.publish(&shared);
        let mut sum = shared.snapshot();
        assert_eq!(sum, stats);
        sum.sum(&stats);
        assert_eq!(sum.get(Counter::BytesUp), 10);
        assert_eq!((sum.answers(1), sum.answers(4), sum.answers(0)), (2, 2, 2));
        assert_eq!((sum.connections_live(), sum.tunnels_live()), (2, 0));
    }
}
