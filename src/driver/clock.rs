//! The only place that asks the operating system for the time.

use crate::time::{Instant, WallClock};
use nix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The wall clock, for the lines of a log, for dates that are shown or written, for the times of files, and for limits by the time of
/// the week. Nothing else is decided by it.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// The wall clock in nanoseconds since the epoch, to be compared with the times of files.
pub(super) fn wall_ns() -> i64 {
    let since_epoch = wall_clock().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

fn wall_ms() -> u64 {
    let since_epoch = wall_clock().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since_epoch.as_millis()).unwrap_or(0)
}

/// The time since the machine was booted, suspended or not; other monotonic clocks stand still in a suspended machine, and so
/// would the leases and keepalives that others count.
fn since_boot() -> Duration {
    // Linux has this clock since 2.6.39, and needs no right for it: there is no error.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// A clock that never jumps. It begins at the date which the wall clock showed when it was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// For [`Clock::fine`].
    start: std::time::Instant,
    start_since_boot: Duration,
    start_ms: u64,
}

impl Clock {
    /// Starts at the wall clock's date; at the epoch itself if that is set before 1970.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub(crate) fn start() -> Self {
        Self { start: std::time::Instant::now(), start_since_boot: since_boot(), start_ms: wall_ms() }
    }

    /// What the wall clock showed at the start, in seconds since the epoch.
    pub(super) fn started(&self) -> u64 {
        self.start_ms / 1_000
    }

    /// Now, rounded down to the millisecond.
    pub(crate) fn now(&self) -> Instant {
        self.at(since_boot())
    }

    fn at(&self, since_boot: Duration) -> Instant {
        let passed = since_boot.saturating_sub(self.start_since_boot);
        Instant::from_ms(self.start_ms.saturating_add(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)))
    }

    /// What the wall clock shows now.
    pub(super) fn wall(&self) -> WallClock {
        WallClock::showing(wall_ms(), self.now())
    }

    /// Whether less than `span` has passed since `since`, a reading of [`Clock::fine`].
    pub(super) fn within(&self, since: Duration, span: Duration) -> bool {
        self.fine().saturating_sub(since) < span
    }

    /// Time since the start without that of a suspended machine, to the nanosecond: for budgets shorter than a few milliseconds,
    /// and for what took how long.
    pub(super) fn fine(&self) -> Duration {
        self.start.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_suspended_machine_passes_and_a_wall_clock_that_is_set_changes_only_dates() {
        let start = Clock::start().start;
        let clock = Clock { start, start_since_boot: Duration::from_secs(100), start_ms: 1_700_000_000_000 };
        let seen = clock.at(Duration::from_secs(110));
        // Eight hours pass, in which the machine is suspended. Then the wall clock is found to be an hour late, and set.
        let now = clock.at(Duration::from_secs(110 + 8 * 3_600));
        assert_eq!(now.saturating_since(seen), Duration::from_secs(8 * 3_600));
        let wall = WallClock::showing(now.as_ms() + 3_600_000, now);
        assert_eq!(wall.epoch_s(seen), 1_700_000_010 + 3_600);
    }

    #[test]
    fn the_clock_agrees_with_the_wall_clock_while_nobody_sets_it() {
        let clock = Clock::start();
        let (shown_ms, ms) = (clock.wall().epoch_ms(clock.now()), wall_ms());
        assert!(ms.abs_diff(shown_ms) < 1_000, "{shown_ms} is about {ms}");
    }
}
