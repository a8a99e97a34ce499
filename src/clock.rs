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

/// Milliseconds or ticks of a timer in five bytes instead of eight: for what is kept many times
/// over for each client.
///
/// 40 bits of milliseconds are 34 years. Nothing is rounded and nothing wraps: a larger number
/// becomes [`Self::MAX`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PackedTime([u8; 5]);

impl PackedTime {
    /// The largest number.
    pub const MAX: Self = Self([u8::MAX; 5]);

    /// Packs a number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        if number > Self::MAX.get() {
            return Self::MAX;
        }
        let [a, b, c, d, e, ..] = number.to_le_bytes();
        Self([a, b, c, d, e])
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        let [a, b, c, d, e] = self.0;
        u64::from_le_bytes([a, b, c, d, e, 0, 0, 0])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_time_is_the_number_or_the_largest() {
        for number in [0, 1, 255, 256, u64::from(u32::MAX), 1 << 32, (1 << 40) - 2, (1 << 40) - 1] {
            assert_eq!(PackedTime::new(number).get(), number);
        }
        for number in [1 << 40, (1 << 40) + 7, u64::MAX] {
            assert_eq!(PackedTime::new(number), PackedTime::MAX);
        }
    }
}
