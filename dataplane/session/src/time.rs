//! Time as a parameter. Owns: the two units. Not: any clock.

use std::time::Duration;

/// Nanoseconds on the worker's monotonic clock, read once per burst by the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(pub u64);

impl Time {
    /// The clock's nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The clock's nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This time and `span` more; stops at the end of the clock.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// What has passed since `earlier`; zero if that lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Coarse time as a session stores it: 2^26 ns (67 ms) in 32 bits, compared within half of
/// their range: 4 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tick(u32);

const TICK_SHIFT: u32 = 26;

impl Tick {
    pub(crate) fn at(time: Time) -> Self {
        // Truncation is the wrap; `elapsed` subtracts modulo 2^32.
        #[expect(clippy::cast_possible_truncation)]
        Self((time.0 >> TICK_SHIFT) as u32)
    }

    /// True once at least `span` has passed; late by at most two ticks, never early.
    pub(crate) fn has_passed(self, span: Duration, now: Time) -> bool {
        let ticks = u32::try_from(span.as_nanos().div_ceil(1 << TICK_SHIFT)).unwrap_or(u32::MAX);
        self.elapsed(now) > ticks
    }

    /// Whole time since this tick, to one tick.
    pub(crate) fn age(self, now: Time) -> Duration {
        Duration::from_nanos(u64::from(self.elapsed(now)) << TICK_SHIFT)
    }

    /// Ticks since this one; none if it lies ahead, as it may for a reading of an earlier burst.
    fn elapsed(self, now: Time) -> u32 {
        let ticks = Self::at(now).0.wrapping_sub(self.0);
        if ticks.cast_signed() < 0 { 0 } else { ticks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Time(5).after(Duration::MAX), Time(u64::MAX));
        assert_eq!(Time(5).since(Time(9)), Duration::ZERO);
        assert_eq!(Time(9).since(Time(5)), Duration::from_nanos(4));
    }

    #[test]
    fn ticks_are_late_never_early() {
        let span = Duration::from_secs(10);
        for start in [0, 1, (1 << 26) - 1, 1 << 26, (1 << 58) - 5] {
            let tick = Tick::at(Time(start));
            assert!(!tick.has_passed(span, Time(start + 10_000_000_000 - 1)));
            assert!(tick.has_passed(span, Time(start + 10_000_000_000 + (2 << 26))));
        }
    }

    #[test]
    fn a_tick_ahead_has_not_passed() {
        let tick = Tick::at(Time(1 << 40));
        assert!(!tick.has_passed(Duration::ZERO, Time(1 << 39)));
        assert_eq!(tick.age(Time(1 << 39)), Duration::ZERO);
    }

    #[test]
    fn ticks_survive_their_wrap() {
        let wrap = 1u64 << (26 + 32);
        let tick = Tick::at(Time(wrap - 1));
        assert!(!tick.has_passed(Duration::from_secs(1), Time(wrap + 1)));
        assert_eq!(tick.age(Time(wrap + (3 << 26))), Duration::from_nanos(4 << 26));
    }
}
