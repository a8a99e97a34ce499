//! Looking for work before a sleep: whether it is worth it, for how long, and what came of it.
//!
//! A wakeup costs tens of microseconds, and a spin of that length often saves it. Both real engines
//! ask a [`Spinner`] before they block, and give it a way to look that does not block. It spins
//! while traffic is recent: only behind a turn that had events, so that a worker without traffic
//! spins once and then sleeps until something comes; and, after [`SPINS_VAIN_MAX`] spins in vain,
//! only every [`SPIN_RETRY_EVERY`]th time until one of them finds something. A feed whose messages
//! are further apart than the spin lasts therefore costs what it costs without.
//!
//! Deliberately absent: descriptors. How to look is the engine's business.

use crate::clock::Instant;
use crate::config::model::Spin;
use crate::limits::{SPIN_RETRY_EVERY, SPINS_VAIN_MAX};
use crate::sys::clock::{self, NS_PER_MS};

/// How many spins there were.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Spins {
    /// That found work and saved a sleep.
    pub won: u64,
    /// That were followed by a sleep all the same.
    pub vain: u64,
}

/// Decides about spinning and does it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spinner {
    spin: Spin,
    /// True exactly when there was an event since the last spin in vain.
    fresh: bool,
    /// Spins in vain since the last that was not, up to the bound.
    vain_in_a_row: u32,
    /// Sleeps without a spin since spinning stopped to pay.
    passed: u32,
    spins: Spins,
}

impl Spinner {
    pub(super) const fn new(spin: Spin) -> Self {
        let spins = Spins { won: 0, vain: 0 };
        Self { spin, fresh: false, vain_in_a_row: 0, passed: 0, spins }
    }

    /// How long a spin lasts that is followed by a sleep, in microseconds.
    pub(super) const fn time_us(&self) -> Option<u32> {
        match self.spin {
            Spin::For { us } => Some(us),
            Spin::Off | Spin::Always => None,
        }
    }

    /// Whether to spin before this sleep.
    pub(super) fn wants(&mut self) -> bool {
        match self.spin {
            Spin::Off => false,
            Spin::Always => true,
            Spin::For { .. } if !self.fresh => false,
            Spin::For { .. } if self.vain_in_a_row < SPINS_VAIN_MAX => true,
            Spin::For { .. } => {
                self.passed += 1;
                self.passed.is_multiple_of(SPIN_RETRY_EVERY)
            }
        }
    }

    /// Looks until there is something or the spin is over, at `until` at the latest; whether there
    /// was something. What the first look finds needed no spin and does not count.
    pub(super) fn spin(&mut self, until: Option<Instant>, mut look: impl FnMut() -> bool) -> bool {
        if look() {
            return true;
        }
        let until = until.map_or(u64::MAX, |until| until.ms().saturating_mul(NS_PER_MS));
        let end = match self.spin {
            Spin::Off => 0,
            Spin::Always => until,
            Spin::For { us } => until.min(clock::monotonic_ns() + u64::from(us) * 1000),
        };
        while clock::monotonic_ns() < end {
            core::hint::spin_loop();
            if look() {
                self.spins.won += 1;
                self.vain_in_a_row = 0;
                return true;
            }
        }
        self.spins.vain += 1;
        self.vain_in_a_row = (self.vain_in_a_row + 1).min(SPINS_VAIN_MAX);
        self.fresh = false;
        false
    }

    /// Takes note of a turn's end: whether it had events.
    pub(super) const fn turned(&mut self, events: bool) {
        self.fresh |= events;
    }

    /// The spins since this was last asked.
    pub(super) fn take(&mut self) -> Spins {
        core::mem::take(&mut self.spins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPIN: Spin = Spin::For { us: 1 };

    /// Spins if the spinner wants to; whether it did.
    fn chance(spinner: &mut Spinner, found: bool) -> bool {
        let wanted = spinner.wants();
        if wanted {
            let mut looks = 0;
            spinner.spin(None, || {
                looks += 1;
                found && looks > 1
            });
        }
        wanted
    }

    #[test]
    fn without_traffic_nobody_spins() {
        let mut spinner = Spinner::new(SPIN);
        assert!(!chance(&mut spinner, false));
        spinner.turned(true);
        assert!(chance(&mut spinner, false));
        for _ in 0..100 {
            spinner.turned(false);
            assert!(!chance(&mut spinner, false));
        }
        assert_eq!(spinner.take(), Spins { won: 0, vain: 1 });
        assert_eq!(spinner.take(), Spins::default());
    }

    #[test]
    fn traffic_that_comes_too_late_ends_most_of_the_spinning() {
        let mut spinner = Spinner::new(SPIN);
        let mut spins = 0;
        for _ in 0..10_000 {
            spinner.turned(true);
            spins += u32::from(chance(&mut spinner, false));
        }
        assert_eq!(spins, SPINS_VAIN_MAX + (10_000 - SPINS_VAIN_MAX) / SPIN_RETRY_EVERY);
    }

    #[test]
    fn one_success_in_two_keeps_it_spinning_and_one_brings_it_back() {
        let mut spinner = Spinner::new(Spin::For { us: 1000 });
        for turn in 0..100 {
            spinner.turned(true);
            assert!(chance(&mut spinner, turn % 2 == 1), "{turn}");
        }
        spinner.vain_in_a_row = SPINS_VAIN_MAX;
        let passed = (0..).take_while(|_| !chance_of_success(&mut spinner)).count();
        assert_eq!(passed, SPIN_RETRY_EVERY as usize - 1);
        assert!(chance_of_success(&mut spinner));
    }

    fn chance_of_success(spinner: &mut Spinner) -> bool {
        spinner.turned(true);
        chance(spinner, true)
    }

    #[test]
    fn a_deadline_ends_every_spin() {
        for spin in [Spin::For { us: 1_000_000_000 }, Spin::Always] {
            let mut spinner = Spinner::new(spin);
            spinner.turned(true);
            assert!(spinner.wants());
            let until = clock::now().mono.plus_ms(3);
            assert!(!spinner.spin(Some(until), || false));
            assert_eq!(clock::ns_until(until), 0);
            assert!(clock::ns_until(until.plus_ms(1_000)) > 0);
        }
        assert!(!Spinner::new(Spin::Off).wants());
    }
}
