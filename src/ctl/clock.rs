//! The two clocks of the client: one for deadlines, one to show when something was or will be. Nothing here decides
//! anything that a simulation would want to replay.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A time to stop waiting, if there is one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    pub(super) const NEVER: Self = Self(None);

    /// This long from now; never if the clock cannot represent that.
    #[expect(clippy::disallowed_methods, reason = "a client waits for its own user; it is not simulated")]
    pub(super) fn after(span: Duration) -> Self {
        Self(Instant::now().checked_add(span))
    }

    /// The remaining time: zero once it has passed, `None` if there is no deadline.
    #[expect(clippy::disallowed_methods, reason = "a client waits for its own user; it is not simulated")]
    pub(super) fn left(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// This, or so long from now if that is earlier.
    pub(super) fn at_most(self, span: Duration) -> Self {
        Self::after(self.left().map_or(span, |left| left.min(span)))
    }

    pub(super) fn has_passed(self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }
}

/// Counts the time from when it was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "a screen is redrawn for its own user; it is not simulated")]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Seconds since the epoch, to be compared with those that the daemon tells.
#[expect(clippy::disallowed_methods, reason = "only shown to the user, as an age")]
pub(super) fn epoch_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A date of the user's clocks, with a time or without, in seconds since the epoch.
pub(super) fn date_s(text: &str) -> Option<u64> {
    let at = text.parse::<DateTime>().ok().and_then(|date| zone().to_ambiguous_timestamp(date).compatible().ok())?;
    u64::try_from(at.as_second()).ok()
}

/// The time zone of the user.
pub(super) fn zone() -> TimeZone {
    TimeZone::system()
}

/// Seconds since the epoch on the clocks of a time zone; those beyond the calendar on its last day.
pub(super) fn local(zone: &TimeZone, epoch_s: u64) -> DateTime {
    let at = i64::try_from(epoch_s).ok().and_then(|s| Timestamp::from_second(s).ok());
    zone.to_datetime(at.unwrap_or(Timestamp::MAX))
}
