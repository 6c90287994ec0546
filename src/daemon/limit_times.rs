//! `[[limit]]`: rate limits for times of the week.

use super::tables::{Entry, Field};
use super::value::{Kind, Size, quoted, string};
use crate::driver::{RateTimes, TimedRate, WeekTimes};
use jiff::tz::TimeZone;

/// Rate limits for times of the week, which precede [`upload_limit`](crate::Config::upload_limit) and
/// [`download_limit`](crate::Config::download_limit).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TimedLimit {
    /// Days and times, in the time zone of this machine, as in `Mon-Fri 08:00-18:00, Sat`.
    pub when: String,
    /// Bytes a second of all uploads together, 0 for no limit; if absent, other limits hold.
    pub upload_limit: Option<u64>,
    /// The same of all downloads.
    pub download_limit: Option<u64>,
}

impl Entry for TimedLimit {
    const NAME: &'static str = "limit";
    const COUNT_MAX: usize = 32;
    const FIELDS: &'static [Field<Self>] = &[
        Field {
            name: "when",
            set: |entry, value| {
                let when = string(value)?;
                WeekTimes::parse(when)?;
                entry.when = when.to_owned();
                Ok(())
            },
            show: |entry| Some(quoted(&entry.when)),
        },
        Field {
            name: "download_limit",
            set: |entry, value| Size::toml(value).map(|limit| entry.download_limit = Some(limit)),
            show: |entry| entry.download_limit.as_ref().map(Size::show),
        },
        Field {
            name: "upload_limit",
            set: |entry, value| Size::toml(value).map(|limit| entry.upload_limit = Some(limit)),
            show: |entry| entry.upload_limit.as_ref().map(Size::show),
        },
    ];

    fn lacks(&self) -> Option<&'static str> {
        if self.when.is_empty() {
            return Some("when, as in when = \"Mon-Fri 08:00-18:00\"");
        }
        let has_limit = self.upload_limit.is_some() || self.download_limit.is_some();
        (!has_limit).then_some("upload_limit or download_limit")
    }
}

/// The limits for the loop. Reads the time zone of this machine if there are any; without one that can be used, their times are
/// those of UTC, as for the system's own programs.
pub(super) fn rate_times(limits: &[TimedLimit]) -> RateTimes {
    if limits.is_empty() {
        return RateTimes::none();
    }
    let rate = |limit: &TimedLimit| TimedRate {
        when: limit.when.clone(),
        download: limit.download_limit,
        upload: limit.upload_limit,
    };
    RateTimes::new(limits.iter().map(rate).collect(), local_zone().unwrap_or(TimeZone::UTC))
}

/// What a limit may mean that its user does not.
pub(super) fn doubt(limit: &TimedLimit) -> Option<String> {
    let (time, day) = WeekTimes::day_behind_time(&limit.when)?;
    Some(format!(
        "when: {day} is meant from 00:00 to 24:00, since days stand before their times; write \"{day} {time}\" if that is meant, \
         else put a comma before {day}"
    ))
}

/// Why the times of these limits are those of UTC, if the time zone of this machine cannot be used.
pub(super) fn zone_problem(limits: &[TimedLimit]) -> Option<String> {
    if limits.is_empty() { None } else { local_zone().err() }
}

/// The time zone: that of the variable TZ, else that of /etc/localtime.
fn local_zone() -> Result<TimeZone, String> {
    const LOCALTIME: &str = "/etc/localtime";
    if std::env::var_os("TZ").is_some() {
        return TimeZone::try_system().map_err(|error| format!("TZ names no time zone: {error}"));
    }
    // Not by jiff, which remembers for minutes what it has read, while a reload is to find what has changed.
    let read = std::fs::read(LOCALTIME).map_err(|error| error.to_string());
    let zone = read.and_then(|data| TimeZone::tzif("Local", &data).map_err(|error| error.to_string()));
    zone.map_err(|error| format!("{LOCALTIME} cannot be used: {error}"))
}
