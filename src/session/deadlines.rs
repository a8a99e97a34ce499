//! A session's deadlines, and the single wheel entry that stands for all of them.
//!
//! Activity stores a deadline; the wheel is touched only when the new one is earlier than the entry
//! already there. An entry that fires early is put back by whoever looks at the deadlines then.

use crate::clock::Instant;
use crate::reason::Timer;
use crate::worker::wheel::Wheel;

const NEVER: u64 = u64::MAX;

/// One optional deadline for each [`Timer`].
#[derive(Debug)]
pub(super) struct Deadlines {
    at_ms: [u64; Timer::COUNT],
    /// When the wheel's entry fires; [`NEVER`] when there is none.
    entry_ms: u64,
    /// True exactly when `entry_ms` is earlier than what the wheel knows.
    moved: bool,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { at_ms: [NEVER; Timer::COUNT], entry_ms: NEVER, moved: false }
    }
}

impl Deadlines {
    /// Stores a deadline over the one before.
    pub(super) const fn set(&mut self, timer: Timer, at: Instant) {
        self.at_ms[timer as usize] = at.ms();
        if at.ms() < self.entry_ms {
            self.entry_ms = at.ms();
            self.moved = true;
        }
    }

    /// Forgets a deadline.
    pub(super) const fn clear(&mut self, timer: Timer) {
        self.at_ms[timer as usize] = NEVER;
    }

    /// Forgets all deadlines.
    pub(super) const fn clear_all(&mut self) {
        self.at_ms = [NEVER; Timer::COUNT];
    }

    /// Whether a deadline is set.
    #[must_use]
    pub(super) const fn is_set(&self, timer: Timer) -> bool {
        self.at_ms[timer as usize] != NEVER
    }

    /// Brings the wheel up to date; called after each event, nearly always for nothing.
    ///
    /// # Panics
    /// In debug builds, if no deadline is set: whatever a session waits for, it must not be for
    /// ever, or a peer that does nothing keeps its slot.
    pub(super) fn settle(&mut self, key: u32, wheel: &mut Wheel) {
        debug_assert!(self.at_ms.iter().any(|&ms| ms != NEVER), "session {key} waits for ever");
        if self.moved {
            self.moved = false;
            wheel.schedule(key, Instant::from_ms(self.entry_ms));
        }
    }

    /// The wheel's entry fired: takes the earliest deadline that has passed, and sees to it that an
    /// entry stands for the others.
    pub(super) fn fired(&mut self, now: Instant) -> Option<Timer> {
        self.entry_ms = NEVER;
        let mut due = None;
        let mut due_ms = now.ms();
        for timer in ALL {
            let at_ms = self.at_ms[timer as usize];
            if at_ms <= due_ms {
                (due, due_ms) = (Some(timer), at_ms);
            }
        }
        if let Some(timer) = due {
            self.clear(timer);
        }
        self.entry_ms = self.at_ms.into_iter().min().unwrap_or(NEVER);
        self.moved = self.entry_ms != NEVER;
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
    fn the_earliest_of_several_is_named() {
        let mut deadlines = Deadlines::default();
        deadlines.set(Timer::ProxyRead, Instant::from_ms(20));
        deadlines.set(Timer::Send, Instant::from_ms(10));
        assert_eq!(deadlines.fired(Instant::from_ms(30)), Some(Timer::Send));
        assert_eq!(deadlines.fired(Instant::from_ms(30)), Some(Timer::ProxyRead));
    }
}
