//! The system's clocks, read by engines only: everybody else is told.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::clock::{Instant, Now};

/// Nanoseconds in a millisecond.
pub(crate) const NS_PER_MS: u64 = 1_000_000;

/// Nanoseconds on the clock that never jumps (`CLOCK_MONOTONIC`).
#[must_use]
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec into `time`, which lives on this stack frame.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    assert_eq!(status, 0, "every Linux has a monotonic clock");
    // A monotonic clock starts at zero, so neither field is ever negative.
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// What time it is, rounded down to milliseconds: a deadline is never seen early.
#[must_use]
pub fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now {
        mono: Instant::from_ms(monotonic_ns() / NS_PER_MS),
        unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Nanoseconds from now until `until`; zero if that is past.
#[must_use]
pub fn ns_until(until: Instant) -> u64 {
    until.ms().saturating_mul(NS_PER_MS).saturating_sub(monotonic_ns())
}
