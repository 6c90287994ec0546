//! Points in time as plain integers. No clock is read here: the caller of a state machine passes the
//! time.

use std::ops::Add;
use std::time::Duration;

/// A point in time, in milliseconds.
///
/// The scale is monotonic and its zero is the Unix epoch as the wall clock told it when the program started: it never
/// jumps, and still reads as a date in snapshots and towards users. Tests start it wherever they like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The instant `ms` milliseconds after the epoch.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch.
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, as users and scripts read it.
    pub(crate) const fn epoch_s(self) -> u64 {
        self.0 / 1000
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_round_up_and_saturate() {
        assert_eq!(Instant::from_ms(5) + Duration::from_micros(1), Instant::from_ms(6));
        assert_eq!(Instant::from_ms(5) + Duration::MAX, Instant::from_ms(u64::MAX));
        assert_eq!(Instant::from_ms(5).saturating_since(Instant::from_ms(9)), Duration::ZERO);
    }
}
