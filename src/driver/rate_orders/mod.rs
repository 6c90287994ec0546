//! The rate limits in force: those that a control client has ordered until the next start, else those that the configuration
//! has for this time of the week, else those that it has for all times.

mod times;
mod week;

pub(crate) use times::{RateTimes, TimedRate};
pub(crate) use week::WeekTimes;

use super::net::RateLimits;
use crate::control::{LimitReply, LimitRow};
use crate::time::{Instant, WallClock};
use std::time::Duration;
use times::Holding;

const MINUTE_MS: u64 = 60_000;

#[derive(Debug)]
pub(super) struct RateOrders {
    configured: RateLimits,
    times: RateTimes,
    /// What the wall clock showed when it was last looked at, in minutes since the epoch.
    minute: u64,
    /// What of `times` holds in that minute.
    down: Holding,
    up: Holding,
    /// As ordered; a reload does not change them.
    ordered_up: Option<u64>,
    ordered_down: Option<u64>,
}

impl RateOrders {
    /// `epoch_ms`: what the wall clock shows, here and below.
    pub(super) fn new(configured: RateLimits, times: RateTimes, epoch_ms: u64) -> Self {
        let (minute, down, up) = (0, Holding::default(), Holding::default());
        let mut orders = Self { configured, times, minute, down, up, ordered_up: None, ordered_down: None };
        orders.look(epoch_ms);
        orders
    }

    pub(super) fn configure(&mut self, configured: RateLimits, times: RateTimes, epoch_ms: u64) {
        (self.configured, self.times) = (configured, times);
        self.look(epoch_ms);
    }

    /// A limit that is not given stays as it is; with `reset`, as configured.
    pub(super) fn order(&mut self, down: Option<u64>, up: Option<u64>, reset: bool) {
        self.ordered_down = down.or(self.ordered_down.filter(|_| !reset));
        self.ordered_up = up.or(self.ordered_up.filter(|_| !reset));
    }

    /// Time has passed, or the wall clock was set. Returns whether other limits are in force.
    pub(super) fn pass_time(&mut self, epoch_ms: u64) -> bool {
        if self.times.is_empty() || epoch_ms / MINUTE_MS == self.minute {
            return false;
        }
        let before = self.in_force();
        self.look(epoch_ms);
        before != self.in_force()
    }

    /// When to look at the wall clock again: in its next minute, since it may be set before what holds now is over.
    pub(super) fn next_deadline(&self, now: Instant, wall: impl FnOnce() -> WallClock) -> Option<Instant> {
        let left = || MINUTE_MS - wall().epoch_ms(now) % MINUTE_MS;
        (!self.times.is_empty()).then(|| now + Duration::from_millis(left()))
    }

    fn look(&mut self, epoch_ms: u64) {
        self.minute = epoch_ms / MINUTE_MS;
        (self.down, self.up) = (self.times.down(epoch_ms / 1_000), self.times.up(epoch_ms / 1_000));
    }

    pub(super) fn in_force(&self) -> RateLimits {
        let reply = self.reply();
        RateLimits { upload: reply.up.in_force, download: reply.down.in_force }
    }

    pub(super) fn reply(&self) -> LimitReply {
        LimitReply {
            down: row(self.ordered_down, self.configured.download, &self.down),
            up: row(self.ordered_up, self.configured.upload, &self.up),
        }
    }
}

fn row(ordered: Option<u64>, always: u64, holding: &Holding) -> LimitRow {
    let configured = holding.timed.as_ref().map_or(always, |(limit, _)| *limit);
    let is_timed = holding.timed.is_some() || holding.until_s.is_some();
    LimitRow {
        in_force: ordered.unwrap_or(configured),
        configured,
        until_restart: ordered.is_some_and(|ordered| is_timed || ordered != configured),
        when: holding.timed.as_ref().map(|(_, when)| when.clone()),
        until: holding.until_s,
        then: holding.until_s.map(|_| holding.then.unwrap_or(always)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    const EPOCH_MS: u64 = 0;

    fn shown(orders: &RateOrders) -> ((u64, bool), (u64, bool)) {
        let RateLimits { upload, download } = orders.in_force();
        let LimitReply { down, up } = orders.reply();
        assert_eq!((down.in_force, up.in_force), (download, upload));
        ((download, down.until_restart), (upload, up.until_restart))
    }

    #[test]
    fn what_was_ordered_stays_over_a_reload_and_is_reset_alone_or_with_another_order() {
        let mut orders = RateOrders::new(RateLimits { upload: 5, download: 0 }, RateTimes::none(), EPOCH_MS);
        assert_eq!(shown(&orders), ((0, false), (5, false)));
        orders.order(Some(7), None, false);
        orders.order(None, Some(0), false);
        assert_eq!(shown(&orders), ((7, true), (0, true)));
        orders.configure(RateLimits { upload: 9, download: 7 }, RateTimes::none(), EPOCH_MS);
        assert_eq!(shown(&orders), ((7, false), (0, true)));
        orders.order(None, Some(3), true);
        orders.configure(RateLimits { upload: 9, download: 1 }, RateTimes::none(), EPOCH_MS);
        assert_eq!(shown(&orders), ((1, false), (3, true)));
        orders.order(None, None, true);
        assert_eq!(shown(&orders), ((1, false), (9, false)));
    }

    /// Thursday, 1 January 1970, in UTC.
    const fn thursday(hour: u64, minute: u64) -> u64 {
        (hour * 60 + minute) * MINUTE_MS
    }

    fn office_hours() -> RateOrders {
        let rate = TimedRate { when: "Mon-Fri 08:00-18:00".to_owned(), download: None, upload: Some(1) };
        let times = RateTimes::new(vec![rate], TimeZone::UTC);
        RateOrders::new(RateLimits { upload: 5, download: 0 }, times, thursday(7, 59))
    }

    #[test]
    fn limits_follow_the_wall_clock_at_each_minute_also_where_it_is_set() {
        let mut orders = office_hours();
        let mut at = |ms| (orders.pass_time(ms), orders.in_force().upload);
        assert_eq!(at(thursday(7, 59) + 59_999), (false, 5));
        assert_eq!(at(thursday(8, 0)), (true, 1));
        assert_eq!(at(thursday(17, 59)), (false, 1), "after hours in which the machine was suspended");
        assert_eq!(at(thursday(7, 30)), (true, 5), "set back");
        assert_eq!(at(thursday(12, 0)), (true, 1), "set forward");
        assert_eq!(at(thursday(24 * 2, 0)), (true, 5), "Saturday");
    }

    #[test]
    fn new_times_hold_at_once() {
        let mut orders = RateOrders::new(RateLimits { upload: 5, download: 0 }, RateTimes::none(), thursday(12, 0));
        orders.configure(RateLimits { upload: 5, download: 0 }, office_hours().times, thursday(12, 0));
        assert_eq!(orders.in_force().upload, 1);
        orders.configure(RateLimits { upload: 6, download: 0 }, RateTimes::none(), thursday(12, 0));
        assert_eq!(orders.in_force().upload, 6);
    }

    #[test]
    fn the_clock_is_looked_at_when_its_next_minute_begins() {
        let orders = office_hours();
        let now = Instant::from_ms(5_000_000);
        let next = |shown_ms| orders.next_deadline(now, || WallClock::showing(shown_ms, now));
        assert_eq!(next(thursday(7, 59) + 12_345), Some(Instant::from_ms(5_000_000 + 47_655)));
        assert_eq!(next(thursday(8, 0)), Some(Instant::from_ms(5_060_000)));
        let plain = RateOrders::new(RateLimits::default(), RateTimes::none(), EPOCH_MS);
        assert_eq!(plain.next_deadline(now, WallClock::default), None, "nobody wakes the loop for nothing");
    }

    #[test]
    fn an_order_outlives_the_time_of_the_week_and_the_reply_tells_what_would_hold() {
        let mut orders = office_hours();
        orders.order(None, Some(5), false);
        let up = |orders: &RateOrders| orders.reply().up;
        let expected = LimitRow {
            in_force: 5,
            configured: 5,
            until_restart: true,
            when: None,
            until: Some(8 * 3_600),
            then: Some(1),
        };
        assert_eq!(up(&orders), expected);
        assert!(!orders.pass_time(thursday(9, 0)), "the same is in force");
        let when = Some("Mon-Fri 08:00-18:00".to_owned());
        let expected = LimitRow { configured: 1, when, until: Some(18 * 3_600), then: Some(5), ..expected };
        assert_eq!(up(&orders), expected);
        orders.order(None, None, true);
        assert_eq!(shown(&orders), ((0, false), (1, false)));
        assert_eq!(orders.reply().down, LimitRow { in_force: 0, ..LimitRow::default() });
    }
}
