//! What was refused: counted by reason, and logged so seldom that a flood cannot fill a disk.

use crate::name::Escaped;
use crate::time::Instant;
use log::warn;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

/// Lines of one reason in each period.
const LINES_MAX: u32 = 10;

const PERIOD: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Entry {
    since: Instant,
    /// Since start.
    count: u64,
    lines: u32,
    /// Without a line, in this period.
    left_out: u64,
}

/// Refusals by reason. Bounded by the number of reasons, which are names in the code.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    entries: BTreeMap<&'static str, Entry>,
    /// When the first period ends in which something was left out.
    due: Option<Instant>,
}

impl Refusals {
    /// Counts a refusal, and logs it unless there were too many of its kind just now.
    pub(super) fn refused(
        &mut self,
        now: Instant,
        reason: &'static str,
        from: Option<SocketAddr>,
        detail: &dyn Display,
    ) {
        self.refused_file(now, reason, from, None, detail);
    }

    /// The same of a message, which may name a file.
    pub(super) fn refused_file(
        &mut self,
        now: Instant,
        reason: &'static str,
        from: Option<SocketAddr>,
        file: Option<&[u8]>,
        detail: &dyn Display,
    ) {
        let entry = self.entries.entry(reason).or_default();
        if entry.left_out == 0 && now.saturating_since(entry.since) >= PERIOD {
            (entry.since, entry.lines) = (now, 0);
        }
        entry.count += 1;
        if entry.lines < LINES_MAX {
            entry.lines += 1;
            let (peer, name) = (from.map(|from| from.to_string()), file.map(|file| Escaped(file).to_string()));
            warn!(reason, peer, name; "refused: {detail}");
        } else {
            entry.left_out += 1;
            let at = entry.since + PERIOD;
            self.due = Some(self.due.map_or(at, |due| due.min(at)));
        }
    }

    /// When [`report`](Self::report) is to be called.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Tells how many refusals had no line, where that time has come.
    pub(super) fn report(&mut self, now: Instant) {
        if self.due.take_if(|due| *due <= now).is_none() {
            return;
        }
        for (&reason, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.left_out > 0) {
            if entry.since + PERIOD <= now {
                warn!(reason, count = entry.left_out; "more refusals without a line of their own");
                *entry = Entry { since: now, count: entry.count, ..Entry::default() };
            } else {
                let at = entry.since + PERIOD;
                self.due = Some(self.due.map_or(at, |due| due.min(at)));
            }
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
        let at = |ms: u64| Instant::from_ms(1_000_000 + ms);
        for ms in 0..1000 {
            refusals.refused(at(ms), "flood", None, &"x");
        }
        assert_eq!((refusals.entries["flood"].lines, refusals.entries["flood"].left_out), (LINES_MAX, 990));
        refusals.refused(at(1000), "other", None, &"x");
        assert_eq!(refusals.entries["other"].lines, 1, "each reason has lines of its own");
        let end = refusals.next_deadline().unwrap();
        assert_eq!(end, at(0) + PERIOD);
        refusals.report(at(1000));
        assert_eq!(refusals.next_deadline(), Some(end), "it is not over yet");
        refusals.report(end);
        assert_eq!((refusals.next_deadline(), refusals.entries["flood"].left_out), (None, 0));
        refusals.refused(end, "flood", None, &"x");
        assert_eq!(refusals.entries["flood"].lines, 1);
        assert_eq!(refusals.counts().collect::<Vec<_>>(), [("flood", 1_001), ("other", 1)]);
    }

    #[test]
    fn a_quiet_period_ends_by_itself() {
        let mut refusals = Refusals::default();
        for turn in 0..3 {
            let now = Instant::from_ms(1_000_000) + PERIOD * turn;
            (0..LINES_MAX).for_each(|_| refusals.refused(now, "seldom", None, &"x"));
            assert_eq!((refusals.entries["seldom"].left_out, refusals.next_deadline()), (0, None));
        }
    }
}
