//! Values as people read them.

use super::clock::{epoch_s, local, zone};
use super::table::Look;
use crate::name::Escaped;
use bytesize::ByteSize;
use jiff::tz::TimeZone;
use serde::Serialize;

/// Shown for an unknown value, never 0 (pyratectl(1), OUTPUT).
pub(super) const UNKNOWN: &str = "-";

/// How much of a hash is shown where many stand below each other, in characters, with the ellipsis.
const HASH_CHARS: usize = 10;

/// A name or path from the network, escaped.
pub(super) fn name(bytes: &[u8]) -> String {
    Escaped(bytes).to_text()
}

/// Bytes as `1.2 MiB`.
pub(super) fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// An optional value, shown by a function.
pub(super) fn or_unknown<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.into(), show)
}

/// A span in seconds, in its two largest units: `45 s`, `3 min 5 s`, `2 h 0 min`, `9 d 3 h`.
pub(super) fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {} s", seconds % 60),
        3600..86400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// A span in microseconds: `80 us`, `1.2 ms`, `3.4 s`.
pub(super) fn span_us(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

/// How long ago a point in epoch seconds was. A clock that is behind the daemon's shows no negative age.
pub(super) fn age(then_s: u64, now_s: u64) -> String {
    format!("{} ago", span(now_s.saturating_sub(then_s)))
}

/// A time that has passed, as the clocks of the user showed it.
pub(super) fn date(epoch_s: u64) -> String {
    local(&zone(), epoch_s).strftime("%Y-%m-%d %H:%M").to_string()
}

/// A time to come, as the clocks of the user show it: `18:00` of today, `Fri 18:00` of the next six days, else with its date.
pub(super) fn to_come(then_s: u64) -> String {
    to_come_in(&zone(), then_s, epoch_s())
}

fn to_come_in(zone: &TimeZone, then_s: u64, now_s: u64) -> String {
    let [then, now] = [then_s, now_s].map(|s| local(zone, s));
    let days = (then_s.saturating_sub(now_s)) / 86_400;
    let form = match days {
        _ if then.date() == now.date() => "%H:%M",
        0..6 => "%a %H:%M",
        _ => "%Y-%m-%d %H:%M",
    };
    then.strftime(form).to_string()
}

/// The word that stands for a state or kind in JSON.
pub(super) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => UNKNOWN.into(),
    }
}

/// The beginning of a hash, enough for the eye.
pub(super) fn short_hash(b3: &str, look: Look) -> String {
    // What is escaped is not shorter than it was.
    let head = b3.char_indices().nth(HASH_CHARS).map_or(b3, |(end, _)| &b3[..end]);
    let shown = name(head.as_bytes());
    let ellipsis = look.ellipsis();
    match shown.char_indices().nth(HASH_CHARS - ellipsis.chars().count()) {
        Some((end, _)) => format!("{}{ellipsis}", &shown[..end]),
        None => shown,
    }
}

/// `1 file`, `2 files`.
pub(super) fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// Ascending ids as users type them: `2,4-6`.
pub(super) fn ranges(ids: impl Iterator<Item = u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for id in ids {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(id) => *last = id,
            _ => runs.push((id, id)),
        }
    }
    let shown = |(first, last): (u32, u32)| if first == last { format!("{first}") } else { format!("{first}-{last}") };
    runs.into_iter().map(shown).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::DownloadState;

    #[test]
    fn values_read_well() {
        let look = Look { colour: false, width: None, ascii: false };
        assert_eq!([0, 1023, 1024, 5_000_000_000].map(size), ["0 B", "1023 B", "1.0 KiB", "4.7 GiB"]);
        assert_eq!(
            [0, 59, 60, 3599, 3600, 86_399, 86_400].map(span),
            ["0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "23 h 59 min", "1 d 0 h"]
        );
        assert_eq!((age(5, 9), age(9, 5)), ("4 s ago".into(), "0 s ago".into()));
        assert_eq!(["0123456789ab".repeat(5), "ab".into()].map(|hash| short_hash(&hash, look)), ["012345678…", "ab"]);
        assert_eq!(short_hash(&"0123456789ab".repeat(5), Look { ascii: true, ..look }), "0123456...");
        assert_eq!(word(&DownloadState::Retrying), "retrying");
        assert_eq!((count(1, "file"), count(0, "file")), ("1 file".into(), "0 files".into()));
    }

    #[test]
    fn what_is_to_come_is_shown_by_the_clocks_of_the_user() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        // Friday, 27 November 2026, 14:00 UTC.
        let now = 1_795_788_000;
        let shown = |after| to_come_in(&berlin, now + after, now);
        assert_eq!(shown(3 * 3_600), "18:00");
        assert_eq!(shown(9 * 3_600), "Sat 00:00");
        assert_eq!(shown(5 * 86_400), "Wed 15:00");
        assert_eq!(shown(6 * 86_400), "2026-12-03 15:00");
        assert_eq!(to_come_in(&berlin, u64::MAX, now), "9999-12-30 23:00");
    }
}
