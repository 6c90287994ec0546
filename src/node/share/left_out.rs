//! What is in the shared directory and not shared: named for users, and told in the log when it is new.

use super::ShareMachine;
use super::scanning::first_of;
use crate::control::LeftOutCounts;
use crate::left_out::LeftOutReason;
use crate::library::LeftOut;
use crate::name::{Escaped, FileName};

/// Names in a line of the log.
const NAMES_LOGGED_MAX: usize = 16;

impl ShareMachine {
    /// Takes what a scan left out, and logs what is new of it.
    pub(super) fn keep_left_out(&mut self, left_out: LeftOut) {
        log_new(&left_out, &self.left_out);
        self.left_out = left_out;
    }

    /// All that is left out, but for files that are being written.
    pub(super) fn left_out_by_scan(&self) -> u64 {
        self.left_out.total()
    }

    pub(in crate::node) fn left_out_counts(&self) -> LeftOutCounts {
        counted(self.left_out.counts(), self.settling.count())
    }

    /// What is left out beyond the names that are kept.
    pub(in crate::node) fn left_out_unnamed(&self) -> LeftOutCounts {
        counted(self.left_out.unnamed(), self.settling.beyond())
    }

    /// By name, from the first one after `after`. The empty name is before all others.
    pub(in crate::node) fn left_out_after(&self, after: &[u8]) -> impl Iterator<Item = (&[u8], LeftOutReason)> {
        let mut left_out = self.left_out.names_after(after).peekable();
        let unsettled = self.settling.names_after(after).map(FileName::as_bytes);
        let mut unsettled = unsettled.map(|name| (name, LeftOutReason::BeingWritten)).peekable();
        std::iter::from_fn(move || match (left_out.peek(), unsettled.peek()) {
            (Some((name, _)), Some((other, _))) if name <= other => left_out.next(),
            (_, Some(_)) => unsettled.next(),
            (_, None) => left_out.next(),
        })
    }
}

fn counted(counts: impl Iterator<Item = (LeftOutReason, u64)>, being_written: u64) -> LeftOutCounts {
    counts.chain([(LeftOutReason::BeingWritten, being_written)]).filter(|(_, count)| *count > 0).collect()
}

/// Logs what is left out since this scan, but for what has lines of its own. Hidden files are left out on purpose, mostly.
fn log_new(left_out: &LeftOut, before: &LeftOut) {
    let (mut names, mut count, mut level) = (Vec::new(), 0, log::Level::Info);
    for (reason, _) in left_out.counts().filter(|(reason, _)| !reason.is_logged_alone()) {
        let (new, new_count) = left_out.new_since(before, reason);
        let room = NAMES_LOGGED_MAX - names.len();
        names.extend(new.take(room).map(|name| Escaped(name).to_string()));
        count += new_count;
        if new_count > 0 && reason != LeftOutReason::Hidden {
            level = log::Level::Warn;
        }
    }
    if count > 0 {
        let names = first_of(names, count);
        log::log!(level, count, names; "left out of the share: `pyratectl files --left-out` says why");
    }
}
