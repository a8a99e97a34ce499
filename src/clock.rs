//! Time as a value: engines read the clocks, everybody else is told.

/// Milliseconds on a clock that never jumps, from an arbitrary start.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Instant(u64);

impl Instant {
    /// A point in time, in milliseconds since the clock's start.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the clock's start.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// The point `ms` milliseconds later (saturating).
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to here; zero if `earlier` is later.
    #[must_use]
    pub const fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What time it is, read once per turn of a worker.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Now {
    /// For timers and durations.
    pub mono: Instant,
    /// For logs and headers: milliseconds since 1970-01-01 UTC.
    pub unix_ms: u64,
}
