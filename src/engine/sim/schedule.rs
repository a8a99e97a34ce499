//! What will happen and when: a heap of happenings ordered by virtual time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::clock::Instant;
use crate::conn::{ConnId, Lane};

use super::net::EndId;

/// Something that takes place at a point of virtual time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Happening {
    /// The oldest segment on its way to this end gets there.
    Arrive(EndId),
    /// The peer's program looks at its end of the connection.
    Act(EndId),
    /// An operation is tried; the number tells it from earlier ones of the same lane.
    Complete(ConnId, Lane, u64),
    /// The mailbox wakes the worker.
    Wake,
}

/// The happenings to come.
#[derive(Default)]
pub(super) struct Schedule {
    heap: BinaryHeap<Entry>,
    added: u64,
}

impl Schedule {
    /// Adds a happening. Those of one millisecond take place by ascending `tie`, then in the order
    /// in which they were added.
    pub(super) fn add(&mut self, at: Instant, tie: u64, what: Happening) {
        self.added += 1;
        self.heap.push(Entry { at, tie, serial: self.added, what });
    }

    /// When the next one takes place.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Takes the next one if its time has come.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Happening> {
        if self.next_at()? > now {
            return None;
        }
        self.heap.pop().map(|entry| entry.what)
    }
}

struct Entry {
    at: Instant,
    tie: u64,
    serial: u64,
    what: Happening,
}

impl Entry {
    fn key(&self) -> (Instant, u64, u64) {
        (self.at, self.tie, self.serial)
    }
}

impl Ord for Entry {
    /// Reversed: the standard heap gives the greatest, and the earliest is wanted.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Entry {}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn happenings_come_by_time_then_tie_then_age() {
        let mut schedule = Schedule::default();
        for (at, tie, end) in [(5, 0, 1), (2, 9, 2), (2, 1, 3), (2, 9, 4)] {
            schedule.add(Instant::from_ms(at), tie, Happening::Act(end));
        }
        let mut order = Vec::new();
        while let Some(Happening::Act(end)) = schedule.pop_due(Instant::from_ms(4)) {
            order.push(end);
        }
        assert_eq!(order, [3, 2, 4]);
        assert_eq!(schedule.next_at(), Some(Instant::from_ms(5)));
    }
}
