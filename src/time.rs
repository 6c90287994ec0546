//! Points in time as plain integers. No clock is read here: the caller of a state machine passes the
//! time.

use std::ops::Add;
use std::time::Duration;

/// A point in time, in milliseconds.
///
/// The scale never jumps, and goes on while the machine is suspended. It begins at the date that the wall clock shows when the
/// program starts; where the wall clock was set since, [`WallClock`] tells the date. Tests begin it where they like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The instant with this number on the scale.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this instant; zero if `earlier` is later.
    pub const fn saturating_since(self, earlier: Instant) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// Saturates at the end of the scale. Fractions of a millisecond round up, so that a deadline is never early.
    fn add(self, span: Duration) -> Instant {
        let ms = span.as_nanos().div_ceil(1_000_000);
        Instant(self.0.saturating_add(u64::try_from(ms).unwrap_or(u64::MAX)))
    }
}

/// What the wall clock shows of points in time. It may be set while the program runs: so dates are told when they are shown or
/// written, and nothing is decided by them but which limit for a time of the week is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WallClock {
    /// How far it is ahead of the scale of [`Instant`], in milliseconds.
    ahead_ms: i64,
}

impl WallClock {
    /// It shows this number of milliseconds since the epoch at `now`.
    pub const fn showing(epoch_ms: u64, now: Instant) -> Self {
        Self { ahead_ms: epoch_ms.wrapping_sub(now.0).cast_signed() }
    }

    /// Milliseconds since the epoch.
    pub(crate) const fn epoch_ms(self, at: Instant) -> u64 {
        at.0.saturating_add_signed(self.ahead_ms)
    }

    /// Whole seconds since the epoch, as users and scripts read it.
    pub(crate) const fn epoch_s(self, at: Instant) -> u64 {
        self.epoch_ms(at) / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_a_wall_clock_that_is_set_forward_or_back() {
        let (seen, now) = (Instant::from_ms(5_000), Instant::from_ms(7_500));
        for (shown_ms, expected_s) in [(7_500, 5), (1_700_000_002_500, 1_700_000_000), (3_000, 0), (0, 0)] {
            assert_eq!(WallClock::showing(shown_ms, now).epoch_s(seen), expected_s, "{shown_ms}");
        }
        let before = Instant::from_ms(1_700_000_000_000);
        assert_eq!(WallClock::showing(60_000, before).epoch_s(before), 60, "set to 1970");
    }

    #[test]
    fn spans_round_up_and_saturate() {
        assert_eq!(Instant::from_ms(5) + Duration::from_micros(1), Instant::from_ms(6));
        assert_eq!(Instant::from_ms(5) + Duration::MAX, Instant::from_ms(u64::MAX));
        assert_eq!(Instant::from_ms(5).saturating_since(Instant::from_ms(9)), Duration::ZERO);
    }
}
