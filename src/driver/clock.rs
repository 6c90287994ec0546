//! The only place that asks the operating system for the time.

use crate::time::Instant;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The wall clock, for the lines of a log, and for the times of files. Nothing else is decided by it.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// The wall clock in nanoseconds since the epoch, to be compared with the times of files.
pub(super) fn wall_ns() -> i64 {
    let since_epoch = wall_clock().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

/// A monotonic clock that begins at the date which the wall clock showed when it was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    start: std::time::Instant,
    start_ms: u64,
}

impl Clock {
    /// Starts at the wall clock's date; at the epoch itself if that is set before 1970.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub(super) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let start_ms = u64::try_from(since_epoch.as_millis()).unwrap_or(0);
        Self { start: std::time::Instant::now(), start_ms }
    }

    /// Now, rounded down to the millisecond.
    pub(super) fn now(&self) -> Instant {
        let passed_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Instant::from_ms(self.start_ms.saturating_add(passed_ms))
    }

    /// Whether less than `span` has passed since `since`, a reading of [`Clock::fine`].
    pub(super) fn within(&self, since: Duration, span: Duration) -> bool {
        self.fine().saturating_sub(since) < span
    }

    /// Time since the start, to the nanosecond, for budgets shorter than a few milliseconds.
    pub(super) fn fine(&self) -> Duration {
        self.start.elapsed()
    }
}
