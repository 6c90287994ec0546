//! What was refused: counted by reason, and logged so seldom that a flood cannot fill a disk.

use crate::name::Escaped;
use crate::time::Instant;
use log::warn;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

/// Lines of one reason in each period.
const LINES_MAX: u32 = 5;

const PERIOD: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Entry {
    since: Instant,
    /// Since start.
    count: u64,
    lines: u32,
    suppressed: u64,
}

/// Refusals by reason. Bounded by the number of reasons, which are names in the code.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    entries: BTreeMap<&'static str, Entry>,
}

impl Refusals {
    /// Counts a refusal, and logs it unless there were too many of its kind just now. `detail` must be escaped.
    pub(super) fn refused(
        &mut self,
        now: Instant,
        reason: &'static str,
        from: Option<SocketAddr>,
        detail: &dyn Display,
    ) {
        let entry = self.entries.entry(reason).or_default();
        if now.saturating_since(entry.since) >= PERIOD {
            if entry.suppressed > 0 {
                warn!("refused ({reason}): {} more like it", entry.suppressed);
            }
            *entry = Entry { since: now, count: entry.count, ..Entry::default() };
        }
        entry.count += 1;
        if entry.lines >= LINES_MAX {
            entry.suppressed += 1;
            return;
        }
        entry.lines += 1;
        match from {
            Some(from) => warn!("refused ({reason}) from {from}: {detail}"),
            None => warn!("refused ({reason}): {detail}"),
        }
    }

    /// The same of a message, which may name a file.
    pub(super) fn refused_file(
        &mut self,
        now: Instant,
        reason: &'static str,
        from: SocketAddr,
        file: Option<&[u8]>,
        detail: &dyn Display,
    ) {
        match file {
            Some(file) => self.refused(now, reason, Some(from), &format_args!("{}: {detail}", Escaped(file))),
            None => self.refused(now, reason, Some(from), detail),
        }
    }

    /// How many there were since start, by reason.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.entries.iter().map(|(reason, entry)| (*reason, entry.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_not_printed() {
        let mut refusals = Refusals::default();
        for ms in 0..1000 {
            refusals.refused(Instant::from_ms(1_000_000 + ms), "flood", None, &"x");
        }
        assert_eq!(refusals.entries["flood"].lines, LINES_MAX);
        assert_eq!(refusals.entries["flood"].suppressed, 995);
        refusals.refused(Instant::from_ms(2_000_000), "flood", None, &"x");
        assert_eq!((refusals.entries["flood"].lines, refusals.entries["flood"].suppressed), (1, 0));
        assert_eq!(refusals.counts().collect::<Vec<_>>(), [("flood", 1_001)]);
    }
}
