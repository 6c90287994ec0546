//! Rate limits by the time of the week: which hold at a time, and until when.

use super::week::{WEEK, WeekTimes};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::sync::Arc;

/// How far ahead the next change is looked for: every time of the week has come by then, also if a day is left out of the
/// calendar.
const AHEAD_S: i64 = 9 * 86_400;

/// A limit for some times of the week, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimedRate {
    /// As it is written in the configuration.
    pub when: String,
    /// Bytes a second, 0 for no limit; `None` leaves the limit to others.
    pub download: Option<u64>,
    pub upload: Option<u64>,
}

/// All such limits, in the time zone of this machine. Of those that hold at a time the first is in force, for each direction.
#[derive(Debug, Clone)]
pub(crate) struct RateTimes {
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct Plan {
    rates: Vec<TimedRate>,
    zone: TimeZone,
    down: Week,
    up: Week,
}

/// What holds in one direction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Holding {
    /// The limit and its time; `None` if none of them holds.
    pub(super) timed: Option<(u64, String)>,
    /// When another one holds, in seconds since the epoch; `None` if that never changes.
    pub(super) until_s: Option<u64>,
    /// What holds then.
    pub(super) then: Option<u64>,
}

impl RateTimes {
    /// The times must have been found good by [`WeekTimes::parse`]; one that is not never comes.
    pub(crate) fn new(rates: Vec<TimedRate>, zone: TimeZone) -> Self {
        let week =
            |of: fn(&TimedRate) -> Option<u64>| Week::new(rates.iter().map(|rate| of(rate).map(|_| &*rate.when)));
        let (down, up) = (week(|rate| rate.download), week(|rate| rate.upload));
        Self { plan: Arc::new(Plan { down, up, rates, zone }) }
    }

    /// None at all.
    pub(crate) fn none() -> Self {
        Self::new(Vec::new(), TimeZone::UTC)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.plan.rates.is_empty()
    }

    /// What holds for downloads at a time, in seconds since the epoch.
    pub(super) fn down(&self, epoch_s: u64) -> Holding {
        self.plan.holding(&self.plan.down, |rate| rate.download, epoch_s)
    }

    /// The same for uploads.
    pub(super) fn up(&self, epoch_s: u64) -> Holding {
        self.plan.holding(&self.plan.up, |rate| rate.upload, epoch_s)
    }
}

impl Plan {
    fn holding(&self, week: &Week, limit: fn(&TimedRate) -> Option<u64>, epoch_s: u64) -> Holding {
        // A clock beyond the calendar shows its last day.
        let at = i64::try_from(epoch_s).ok().and_then(|s| Timestamp::from_second(s).ok()).unwrap_or(Timestamp::MAX);
        let rule = week.rule(self.minute(at));
        let next = self.next_change(week, at, rule);
        let rate = |rule: u8| self.rates.get(usize::from(rule).checked_sub(1)?);
        Holding {
            timed: rate(rule).and_then(|rate| Some((limit(rate)?, rate.when.clone()))),
            until_s: next.and_then(|(at, _)| u64::try_from(at.as_second()).ok()),
            then: next.and_then(|(_, rule)| limit(rate(rule)?)),
        }
    }

    /// When another rule than this one holds, and which.
    fn next_change(&self, week: &Week, at: Timestamp, rule: u8) -> Option<(Timestamp, u8)> {
        let last = at.as_second().saturating_add(AHEAD_S);
        let mut at = at;
        while week.changes() && at.as_second() < last {
            let local = self.local_s(at);
            // Where the week goes on unchanged, until the clock is put forward or back.
            let boundary = week.next_boundary(self.minute(at));
            let week_began = local - local.rem_euclid(i64::from(WEEK) * 60);
            let mut next =
                Timestamp::from_second(at.as_second() + week_began + i64::from(boundary) * 60 - local).ok()?;
            if let Some(change) = self.zone.following(at).next().filter(|change| change.timestamp() < next) {
                next = change.timestamp();
            }
            let then = week.rule(self.minute(next));
            if then != rule {
                return Some((next, then));
            }
            at = next;
        }
        None
    }

    /// Seconds of local time, from a Monday on.
    fn local_s(&self, at: Timestamp) -> i64 {
        // The epoch was a Thursday.
        const SINCE_MONDAY: i64 = 3 * 86_400;
        at.as_second() + i64::from(self.zone.to_offset(at).seconds()) + SINCE_MONDAY
    }

    /// The minute of the week.
    fn minute(&self, at: Timestamp) -> u16 {
        u16::try_from(self.local_s(at).div_euclid(60).rem_euclid(i64::from(WEEK))).unwrap_or(0)
    }
}

/// Which rule holds in each minute of the week: 0 for none, else its place from 1 on.
#[derive(Debug, PartialEq, Eq)]
struct Week {
    /// Where another rule begins, in minutes since Monday 00:00, and which; the first at 0.
    parts: Vec<(u16, u8)>,
}

impl Week {
    /// The first of those that have a time precede the others.
    fn new<'a>(times: impl Iterator<Item = Option<&'a str>>) -> Self {
        let mut minutes = vec![0; usize::from(WEEK)];
        for (rule, when) in (1..=u8::MAX).zip(times) {
            let Some(Ok(times)) = when.map(WeekTimes::parse) else { continue };
            for minute in times.minutes().map(usize::from) {
                if minutes[minute] == 0 {
                    minutes[minute] = rule;
                }
            }
        }
        let mut parts: Vec<(u16, u8)> = (0..).zip(minutes).collect();
        parts.dedup_by_key(|&mut (_, rule)| rule);
        // There was room for each minute: 40 KiB.
        parts.shrink_to_fit();
        Self { parts }
    }

    fn changes(&self) -> bool {
        self.parts.len() > 1
    }

    fn rule(&self, minute: u16) -> u8 {
        let after = self.parts.partition_point(|&(from, _)| from <= minute);
        after.checked_sub(1).map_or(0, |part| self.parts[part].1)
    }

    /// Where the part of a minute ends: at [`WEEK`] for the last one.
    fn next_boundary(&self, minute: u16) -> u16 {
        self.parts.get(self.parts.partition_point(|&(from, _)| from <= minute)).map_or(WEEK, |&(from, _)| from)
    }
}

#[cfg(test)]
mod tests;
