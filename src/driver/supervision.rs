//! What the program that runs the loop hears at intervals, for a service manager: that the loop turns, and what it does. A
//! program that nobody supervises hears nothing.

use super::Driver;
use super::cx::Phase;
use super::host::{Report, Supervised};
use crate::time::Instant;
use std::time::Duration;

/// How often the program hears what the loop does, at most.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// The start is over when the share has been scanned, or after this long: peers and users are served meanwhile, and the disk
/// of the share may hang.
const START_MAX: Duration = Duration::from_secs(10 * 60);

pub(super) struct Supervision {
    alive_every: Option<Duration>,
    alive_at: Option<Instant>,
    /// Until when the start may take; `None` once it is over.
    start_until: Option<Instant>,
    report_at: Instant,
    last: Last,
}

/// The report before.
#[derive(Default)]
struct Last {
    at: Instant,
    bytes_up: u64,
    bytes_down: u64,
    /// Something was transferred: the next report is due even if nothing happens.
    is_moving: bool,
}

impl Supervision {
    pub(super) fn new(supervised: Supervised, now: Instant) -> Self {
        Self {
            alive_every: supervised.alive_every,
            alive_at: supervised.alive_every.map(|every| now + every),
            start_until: Some(now + START_MAX),
            report_at: now + REPORT_INTERVAL,
            last: Last { at: now, ..Last::default() },
        }
    }

    /// When the loop is to turn for this alone. A report of what has changed otherwise comes with what changes it, or with one
    /// of the next turns.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let report = self.start_until.is_some() || self.last.is_moving;
        [self.alive_at, report.then_some(self.report_at)].into_iter().flatten().min()
    }

    /// Whether it is time to say that the loop turns.
    fn is_alive_due(&mut self, now: Instant) -> bool {
        let is_due = self.alive_at.is_some_and(|at| at <= now);
        if is_due {
            self.alive_at = self.alive_every.map(|every| now + every);
        }
        is_due
    }

    /// Whether a report is due, and if it is, whether the daemon is still starting.
    fn is_report_due(&mut self, now: Instant, is_scanning: impl FnOnce() -> bool) -> Option<bool> {
        let was_starting = self.start_until.is_some();
        self.start_until = self.start_until.filter(|until| now < *until && is_scanning());
        let is_starting = self.start_until.is_some();
        let is_due = self.report_at <= now || was_starting != is_starting;
        if is_due {
            self.report_at = now + REPORT_INTERVAL;
        }
        is_due.then_some(is_starting)
    }

    /// Bytes a second since the report before, up and down.
    fn rates(&mut self, now: Instant, bytes_up: u64, bytes_down: u64) -> (u64, u64) {
        let ms = u64::try_from(now.saturating_since(self.last.at).as_millis()).unwrap_or(u64::MAX);
        let rate = |bytes: u64, before| {
            let moved = u128::from(bytes.saturating_sub(before)) * 1000;
            u64::try_from(moved / u128::from(ms.max(1))).unwrap_or(u64::MAX)
        };
        let rates = (rate(bytes_up, self.last.bytes_up), rate(bytes_down, self.last.bytes_down));
        self.last = Last { at: now, bytes_up, bytes_down, is_moving: rates != (0, 0) };
        rates
    }
}

impl Driver {
    /// Tells the host what is due.
    pub(super) fn report_to_host(&mut self) {
        let now = self.cx.now;
        let Some(supervision) = &mut self.supervision else { return };
        if supervision.is_alive_due(now) {
            self.front.host().alive();
        }
        if self.cx.phase != Phase::Running {
            return;
        }
        let Some(is_starting) = supervision.is_report_due(now, || self.node.is_scanning()) else { return };
        let status = self.node.status(now);
        let (up, down) = supervision.rates(now, status.bytes_up, status.bytes_down);
        let registered = self.bootstrap.as_ref().map(|bootstrap| bootstrap.count());
        self.front.host().report(&Report { is_starting, status, registered, up, down });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_ms(1_000);

    fn supervision() -> Supervision {
        Supervision::new(Supervised { alive_every: Some(Duration::from_secs(30)) }, START)
    }

    #[test]
    fn the_loop_says_that_it_turns_as_often_as_asked() {
        let mut supervision = supervision();
        assert!(!supervision.is_alive_due(START));
        let due = START + Duration::from_secs(30);
        assert!(supervision.is_alive_due(due) && !supervision.is_alive_due(due));
        supervision.start_until = None;
        assert_eq!(supervision.next_deadline(), Some(due + Duration::from_secs(30)));
    }

    #[test]
    fn the_start_is_over_with_the_first_scan_and_after_ten_minutes_at_the_latest() {
        let mut supervision = supervision();
        assert_eq!(supervision.is_report_due(START, || true), None);
        assert_eq!(supervision.is_report_due(START + REPORT_INTERVAL, || true), Some(true));
        let scanned = START + Duration::from_secs(6);
        assert_eq!(supervision.is_report_due(scanned, || false), Some(false));
        // Later scans are not part of the start.
        assert_eq!(supervision.is_report_due(scanned + REPORT_INTERVAL, || true), Some(false));
        let mut hanging = Supervision::new(Supervised { alive_every: None }, START);
        assert_eq!(hanging.is_report_due(START + START_MAX, || true), Some(false));
    }

    #[test]
    fn rates_are_those_since_the_report_before_and_a_transfer_has_another_report_follow() {
        let mut supervision = supervision();
        supervision.start_until = None;
        assert_eq!(supervision.rates(START + Duration::from_secs(5), 5_000, 0), (1_000, 0));
        assert_eq!(supervision.next_deadline(), Some(START + REPORT_INTERVAL));
        // Some of what was sent is taken back.
        assert_eq!(supervision.rates(START + Duration::from_secs(10), 4_000, 0), (0, 0));
        assert_eq!(supervision.next_deadline(), Some(START + Duration::from_secs(30)));
        assert_eq!(supervision.rates(START + Duration::from_secs(10), 4_000, 1), (0, 1_000));
    }
}
