//! A hierarchical timer wheel with one entry per session.
//!
//! Six levels of 64 slots, a tick of [`WHEEL_TICK_MS`]; scheduling, moving and cancelling are O(1).
//! An entry never fires early, and at most one tick late. What a busy session does *not* do is
//! touch the wheel: it stores a new deadline in itself, and when its old entry fires the worker
//! looks at the deadline and puts the entry back. Deliberately absent: clocks and callbacks.

use crate::clock::{Instant, PackedTime};
use crate::limits::WHEEL_TICK_MS;

const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = 6;
const NONE: u32 = u32::MAX;
/// Where the levels end: 21 years after the start. An entry beyond it fires there, and its owner,
/// who knows the deadline, puts it back.
const LAST_TICK: u64 = (1 << (BITS as u64 * LEVELS as u64)) - 1;

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The tick at which it fires; 0 when it is not scheduled (time starts at tick 1). Packed, an
    /// entry has 16 bytes instead of 24.
    when: PackedTime,
    level: u8,
    previous: u32,
    next: u32,
}

const VACANT: Entry = Entry { when: PackedTime::new(0), level: 0, previous: NONE, next: NONE };

const _: () = assert!(size_of::<Entry>() == 16 && LAST_TICK <= PackedTime::MAX.get());

impl Entry {
    fn is_scheduled(&self) -> bool {
        self.when != VACANT.when
    }
}

#[derive(Debug)]
struct Level {
    /// A bit for each slot that has entries.
    occupied: u64,
    heads: [u32; SLOTS],
}

/// The wheel; entries are named by small dense numbers (a session's slot).
#[derive(Debug)]
pub struct Wheel {
    /// The clock when the wheel was made; ticks count from here.
    origin_ms: u64,
    /// The last tick whose entries have fired.
    elapsed: u64,
    levels: [Level; LEVELS],
    entries: Vec<Entry>,
    live: usize,
}

impl Wheel {
    /// An empty wheel that stands at `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            origin_ms: now.ms(),
            elapsed: 0,
            levels: std::array::from_fn(|_| Level { occupied: 0, heads: [NONE; SLOTS] }),
            entries: Vec::new(),
            live: 0,
        }
    }

    /// How many entries are scheduled.
    #[must_use]
    pub const fn live(&self) -> usize {
        self.live
    }

    /// When the entry of `key` would fire at the latest, if it has one.
    #[must_use]
    pub fn scheduled(&self, key: u32) -> Option<Instant> {
        let entry = self.entries.get(key as usize)?;
        entry.is_scheduled().then(|| self.instant(entry.when.get()))
    }

    /// Schedules the entry of `key`, or moves it.
    pub fn schedule(&mut self, key: u32, at: Instant) {
        self.cancel(key);
        if key as usize >= self.entries.len() {
            self.entries.resize(key as usize + 1, VACANT);
        }
        let ticks = at.ms().saturating_sub(self.origin_ms).div_ceil(WHEEL_TICK_MS);
        let when = ticks.clamp(self.elapsed + 1, LAST_TICK);
        self.entries[key as usize].when = PackedTime::new(when);
        self.live += 1;
        self.link(key);
    }

    /// Takes the entry of `key` away, if it has one.
    pub fn cancel(&mut self, key: u32) {
        if self.entries.get(key as usize).is_some_and(Entry::is_scheduled) {
            self.unlink(key);
            self.entries[key as usize] = VACANT;
            self.live -= 1;
        }
    }

    /// When [`expire`](Self::expire) must be called next: no entry fires before. It may be earlier
    /// than the first entry, when entries far away have to move to a finer level.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.next_slot().map(|(_, _, tick)| self.instant(tick))
    }

    /// Appends the keys of all entries due by `now`; they are no longer scheduled.
    pub fn expire(&mut self, now: Instant, due: &mut Vec<u32>) {
        let now = now.ms().saturating_sub(self.origin_ms) / WHEEL_TICK_MS;
        while let Some((level, slot, tick)) = self.next_slot().filter(|&(_, _, tick)| tick <= now) {
            self.elapsed = tick;
            let mut key = std::mem::replace(&mut self.levels[level].heads[slot], NONE);
            self.levels[level].occupied &= !(1 << slot);
            while key != NONE {
                let next = self.entries[key as usize].next;
                if self.entries[key as usize].when.get() <= tick {
                    self.entries[key as usize] = VACANT;
                    self.live -= 1;
                    due.push(key);
                } else {
                    self.link(key);
                }
                key = next;
            }
        }
        self.elapsed = self.elapsed.max(now);
    }

    const fn instant(&self, tick: u64) -> Instant {
        Instant::from_ms(self.origin_ms + tick * WHEEL_TICK_MS)
    }

    /// The occupied slot that comes first, and the tick at which it begins.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        for (number, level) in self.levels.iter().enumerate() {
            if level.occupied == 0 {
                continue;
            }
            // Entries of a level agree with `elapsed` above it and lie ahead within it, so the
            // lowest bit is the next one, and a finer level always comes before a coarser one.
            let slot = level.occupied.trailing_zeros();
            let shift = BITS * u32::try_from(number).expect("there are six levels");
            let above = self.elapsed >> (shift + BITS);
            let tick = (above << BITS | u64::from(slot)) << shift;
            return Some((number, slot as usize, tick));
        }
        None
    }

    fn link(&mut self, key: u32) {
        let when = self.entries[key as usize].when;
        let (level, slot) = place(self.elapsed, when.get());
        let head = std::mem::replace(&mut self.levels[level].heads[slot], key);
        self.levels[level].occupied |= 1 << slot;
        if head != NONE {
            self.entries[head as usize].previous = key;
        }
        let level = u8::try_from(level).expect("there are six levels");
        self.entries[key as usize] = Entry { when, level, previous: NONE, next: head };
    }

    fn unlink(&mut self, key: u32) {
        let Entry { when, level, previous, next } = self.entries[key as usize];
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        if previous != NONE {
            self.entries[previous as usize].next = next;
            return;
        }
        let level = usize::from(level);
        let slot = slot_in(level, when.get());
        self.levels[level].heads[slot] = next;
        if next == NONE {
            self.levels[level].occupied &= !(1 << slot);
        }
    }
}

/// The level is that of the highest group of bits in which the two ticks differ.
fn place(elapsed: u64, when: u64) -> (usize, usize) {
    let highest = 63 - ((elapsed ^ when) | 1).leading_zeros();
    let level = (highest / BITS) as usize;
    (level, slot_in(level, when))
}

#[allow(clippy::cast_possible_truncation, reason = "only the low six bits are kept")]
const fn slot_in(level: usize, when: u64) -> usize {
    (when >> (BITS as usize * level)) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prng::Prng;

    /// Random operations on the wheel and on a sorted list must agree.
    #[test]
    fn the_wheel_agrees_with_a_list() {
        for seed in 0..200 {
            let mut prng = Prng::new(seed);
            let mut now = prng.below(1 << 40);
            let mut wheel = Wheel::new(Instant::from_ms(now));
            let mut list: Vec<Option<u64>> = vec![None; 40];
            for _ in 0..400 {
                let key = u32::try_from(prng.below(40)).unwrap();
                match prng.below(4) {
                    0 => {
                        wheel.cancel(key);
                        list[key as usize] = None;
                    }
                    1 | 2 => {
                        let reach = 1 << prng.below(34);
                        let at = now + prng.below(reach);
                        wheel.schedule(key, Instant::from_ms(at));
                        list[key as usize] = Some(at);
                    }
                    _ => {
                        let reach = 1 << prng.below(34);
                        now += prng.below(reach);
                        let mut due = Vec::new();
                        wheel.expire(Instant::from_ms(now), &mut due);
                        for key in due {
                            let at = list[key as usize].take().expect("fires once");
                            assert!(at <= now, "seed {seed}: early by {}", at - now);
                        }
                    }
                }
                assert_eq!(wheel.live(), list.iter().flatten().count());
                let first = list.iter().flatten().min();
                if let Some(&first) = first {
                    assert!(first + 2 * WHEEL_TICK_MS > now, "seed {seed}: late");
                    let next = wheel.next().unwrap().ms();
                    assert!(next <= first.max(now) + 2 * WHEEL_TICK_MS);
                } else {
                    assert_eq!(wheel.next(), None);
                }
            }
        }
    }

    #[test]
    fn a_timer_of_a_year_wakes_its_worker_a_few_times_only() {
        let mut wheel = Wheel::new(Instant::from_ms(12_345));
        let year = 365 * 24 * 3_600_000;
        wheel.schedule(0, Instant::from_ms(12_345 + year));
        let (mut wakes, mut due) = (0, Vec::new());
        while let Some(at) = wheel.next() {
            wheel.expire(at, &mut due);
            wakes += 1;
        }
        assert!(due == [0] && wakes <= LEVELS, "{wakes} wakes");
    }
}
