//! A session's deadlines, and the single wheel entry that stands for all of them.
//!
//! Activity stores a deadline; the wheel is touched only when the new one is earlier than the entry
//! already there. An entry that fires early is put back by whoever looks at the deadlines then.

use crate::clock::{Instant, PackedTime};
use crate::limits::DEADLINE_MS_MAX;
use crate::reason::Timer;
use crate::worker::wheel::Wheel;

/// One optional deadline for each [`Timer`].
#[derive(Debug)]
pub(super) struct Deadlines {
    at: [PackedTime; Timer::COUNT],
    /// When the wheel's entry fires; [`NEVER`] when there is none.
    entry: PackedTime,
    /// True exactly when `entry` is earlier than what the wheel knows.
    moved: bool,
}

/// The deadline that is not set: later than any other.
const NEVER: PackedTime = PackedTime::MAX;

const _: () = assert!(DEADLINE_MS_MAX < NEVER.get());

impl Default for Deadlines {
    fn default() -> Self {
        Self { at: [NEVER; Timer::COUNT], entry: NEVER, moved: false }
    }
}

impl Deadlines {
    /// Stores a deadline over the one before.
    pub(super) const fn set(&mut self, timer: Timer, at: Instant) {
        // A packed time saves three bytes in each of eleven.
        let at = PackedTime::new(if at.ms() < DEADLINE_MS_MAX { at.ms() } else { DEADLINE_MS_MAX });
        self.at[timer as usize] = at;
        if at.get() < self.entry.get() {
            self.entry = at;
            self.moved = true;
        }
    }

    /// Forgets a deadline.
    pub(super) const fn clear(&mut self, timer: Timer) {
        self.at[timer as usize] = NEVER;
    }

    /// Forgets all deadlines.
    pub(super) const fn clear_all(&mut self) {
        self.at = [NEVER; Timer::COUNT];
    }

    /// Whether a deadline is set.
    #[must_use]
    pub(super) const fn is_set(&self, timer: Timer) -> bool {
        self.at[timer as usize].get() != NEVER.get()
    }

    /// Brings the wheel up to date; called after each event, nearly always for nothing.
    ///
    /// # Panics
    /// In debug builds, if no deadline is set: whatever a session waits for, it must not be for
    /// ever, or a peer that does nothing keeps its slot.
    pub(super) fn settle(&mut self, key: u32, wheel: &mut Wheel) {
        debug_assert!(self.at.iter().any(|&at| at != NEVER), "session {key} waits for ever");
        if self.moved {
            self.moved = false;
            wheel.schedule(key, Instant::from_ms(self.entry.get()));
        }
    }

    /// The wheel's entry fired: takes the earliest deadline that has passed, and sees to it that an
    /// entry stands for the others.
    pub(super) fn fired(&mut self, now: Instant) -> Option<Timer> {
        let mut due = None;
        let mut due_ms = now.ms().min(DEADLINE_MS_MAX);
        for timer in ALL {
            let at_ms = self.at[timer as usize].get();
            if at_ms <= due_ms {
                (due, due_ms) = (Some(timer), at_ms);
            }
        }
        if let Some(timer) = due {
            self.clear(timer);
        }
        self.entry = self.at.into_iter().min_by_key(|at| at.get()).unwrap_or(NEVER);
        self.moved = self.entry != NEVER;
        due
    }
}

const ALL: [Timer; Timer::COUNT] = [
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

    #[test]
    fn traffic_does_not_touch_the_wheel() {
        let mut wheel = Wheel::new(Instant::from_ms(0));
        let mut deadlines = Deadlines::default();
        deadlines.set(Timer::ProxyRead, Instant::from_ms(60_000));
        deadlines.settle(3, &mut wheel);
        for ms in 1..50 {
            deadlines.set(Timer::ProxyRead, Instant::from_ms(ms * 1000 + 60_000));
            assert!(!deadlines.moved);
        }
        assert_eq!(wheel.scheduled(3), Some(Instant::from_ms(60_000)));
        assert_eq!(deadlines.fired(Instant::from_ms(60_000)), None, "it was put off");
        deadlines.settle(3, &mut wheel);
        assert_eq!(wheel.scheduled(3), Some(Instant::from_ms(109_000)));
        assert_eq!(deadlines.fired(Instant::from_ms(109_000)), Some(Timer::ProxyRead));
        assert_eq!(deadlines.fired(Instant::from_ms(999_000)), None, "once");
    }

    #[test]
    fn a_deadline_is_kept_to_the_millisecond_for_decades() {
        // 2^32 milliseconds are 49 days, 2^32 ticks of the wheel 497.
        let days = 24 * 3_600_000;
        for ms in [0, 1, (1 << 32) - 1, 1 << 32, (1 << 32) * 10 + 7, 12_000 * days + 1] {
            let mut deadlines = Deadlines::default();
            deadlines.set(Timer::ProxyRead, Instant::from_ms(ms));
            if ms > 0 {
                assert_eq!(deadlines.fired(Instant::from_ms(ms - 1)), None, "never early");
            }
            assert_eq!(deadlines.fired(Instant::from_ms(ms)), Some(Timer::ProxyRead));
        }
    }

    #[test]
    fn a_deadline_beyond_all_time_is_not_one_in_the_past() {
        for ms in [DEADLINE_MS_MAX, DEADLINE_MS_MAX + 1, 1 << 40, i64::MAX as u64, u64::MAX] {
            let mut deadlines = Deadlines::default();
            deadlines.set(Timer::TunnelLifetime, Instant::from_ms(ms));
            assert!(deadlines.is_set(Timer::TunnelLifetime));
            assert_eq!(deadlines.fired(Instant::from_ms(DEADLINE_MS_MAX - 1)), None);
            assert!(deadlines.moved, "the wheel still knows of it");
        }
    }

    #[test]
    fn the_earliest_of_several_is_named() {
        let mut deadlines = Deadlines::default();
        deadlines.set(Timer::ProxyRead, Instant::from_ms(20));
        deadlines.set(Timer::Send, Instant::from_ms(10));
        assert_eq!(deadlines.fired(Instant::from_ms(30)), Some(Timer::Send));
        assert_eq!(deadlines.fired(Instant::from_ms(30)), Some(Timer::ProxyRead));
    }
}
