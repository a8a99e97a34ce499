//! How the engine waits: asleep in the kernel, or first spinning beside it.
//!
//! A spin makes no system call. What the kernel would do if it were entered (deferred work, which
//! becomes completions) it announces in the memory of the ring; only then it is entered, and once.
//! Deliberately absent: when to spin, which is the [`Spinner`](crate::engine::spin)'s.

use super::Uring;
use crate::clock::Instant;
use crate::sys::clock;
use crate::sys::ring::Patience;

impl Uring {
    /// Lets waits poll network cards as long as the engine spins, before they sleep.
    ///
    /// # Errors
    /// The kernel's errno; nothing is lost but a chance. EINVAL before Linux 6.9.
    pub fn poll_cards(&self) -> Result<(), i32> {
        self.spinner.time_us().map_or(Ok(()), |us| self.ring.poll_cards(us))
    }

    /// Submits, and waits for a completion, until `until` at the latest.
    pub(super) fn enter_or_spin(&mut self, until: Option<Instant>) {
        if self.spin(until) {
            return;
        }
        self.enter(match until.map(clock::ns_until) {
            None => Patience::Endless,
            Some(0) => Patience::None,
            Some(ns) => Patience::Ns(ns),
        });
    }

    /// Submits, and looks for completions without a sleep, if that is worth it; whether there are
    /// any.
    fn spin(&mut self, until: Option<Instant>) -> bool {
        if !self.spinner.wants() {
            return false;
        }
        self.enter(Patience::None);
        let found = self.spinner.spin(until, || self.ring.has_news());
        if found && self.ring.has_work() {
            self.enter(Patience::None);
        }
        found
    }

    /// Submits, and waits as long as patience lasts.
    pub(super) fn enter(&mut self, patience: Patience) {
        self.ring.enter(patience).expect("a ring that was entered once can be entered again");
    }
}
