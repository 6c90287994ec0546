//! Values as people read them.

use crate::name::Escaped;
use bytesize::ByteSize;
use serde::Serialize;

/// What stands for an unknown value, never 0 (pyratectl(1), OUTPUT).
pub(super) const UNKNOWN: &str = "-";

/// A name or path from anywhere, harmless.
pub(super) fn name(bytes: &[u8]) -> String {
    Escaped(bytes).to_string()
}

/// Bytes as `1.2 MiB`.
pub(super) fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// An optional value, shown by a function.
pub(super) fn or_unknown<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.into(), show)
}

/// A span in seconds, in its two largest units: `45s`, `3m 5s`, `2h 0m`, `9d 3h`.
pub(super) fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {}s", seconds % 60),
        3600..86400 => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// How long ago a point in epoch seconds was. A clock that is behind the daemon's shows no negative age.
pub(super) fn age(then_s: u64, now_s: u64) -> String {
    format!("{} ago", span(now_s.saturating_sub(then_s)))
}

/// The word that stands for a state or kind in JSON.
pub(super) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => UNKNOWN.into(),
    }
}

/// `1 file`, `2 files`.
pub(super) fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::DownloadState;

    #[test]
    fn values_read_well() {
        assert_eq!([0, 1023, 1024, 5_000_000_000].map(size), ["0 B", "1023 B", "1.0 KiB", "4.7 GiB"]);
        assert_eq!(
            [0, 59, 60, 3599, 3600, 86_399, 86_400].map(span),
            ["0s", "59s", "1m 0s", "59m 59s", "1h 0m", "23h 59m", "1d 0h"]
        );
        assert_eq!((age(5, 9), age(9, 5)), ("4s ago".into(), "0s ago".into()));
        assert_eq!(word(&DownloadState::Retrying), "retrying");
        assert_eq!((count(1, "file"), count(0, "file")), ("1 file".into(), "0 files".into()));
    }
}
