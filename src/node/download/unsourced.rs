//! Downloads by hash of which no source is known yet: they search before anything else, and are named after what the
//! first source calls the file.
//!
//! Such a download is `retrying` until a search finds a source; it has no part file before, since that lies beside the
//! final name. It never fails: only the user ends it.

use super::DownloadMachine;
use super::life::Life;
use super::state::{Download, Want};
use crate::control::Problem;
use crate::id::{ContentHash, TransferId};
use crate::name::FileName;
use crate::node::contract::Target;
use crate::node::cx::Cx;
use crate::node::limits::{FIRST_SEARCH_SPACING, UNSOURCED_SEEK_MIN};

/// The name of a content before any source has told one: its hash.
pub(in crate::node) fn name_of_hash(b3: ContentHash) -> Option<FileName> {
    FileName::from_bytes(b3.to_string().as_bytes())
}

impl Download {
    /// Takes the name and the size that a source tells, if no source has told a name before.
    pub(super) fn adopt(&mut self, told: &FileName, size: Option<u64>) {
        let Want::Content(b3) = self.want else { return };
        if !self.is_unsourced() || name_of_hash(b3).as_ref() != Some(&self.name) {
            return;
        }
        self.name = told.clone();
        self.claimed_size = self.claimed_size.or(size);
        let (Target::Suggested { name, .. } | Target::Exact { name, .. }) = &mut self.spec.target;
        *name = told.safe_component();
        // In a directory it is another by that.
        self.path = None;
    }
}

impl DownloadMachine {
    /// Searches for the first source of each download that came into the queue without one.
    pub(super) fn search_unsourced(&mut self, cx: &mut Cx) {
        while let Some(id) = self.downloads.next_unsourced() {
            let is_queued = |row: &Download| matches!(row.life(), Life::Queued { .. });
            if self.downloads.get(id).is_some_and(|row| is_queued(row) && row.is_unsourced()) {
                self.search_first(cx, id);
            }
        }
    }

    /// Searches for the first source of a download if it is time for that, and waits.
    pub(super) fn search_first(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get(id) else { return };
        let at = match download.seek.next {
            Some(at) => at,
            None => self.downloads.first_search_at(cx.now, FIRST_SEARCH_SPACING),
        };
        if at <= cx.now {
            return self.seek(cx, id);
        }
        if let Some(download) = self.downloads.get_mut(id) {
            download.seek.next = Some(at);
        }
        self.retry_unsourced(cx, id, Problem::SearchesSoon);
    }

    /// So many neighbours were asked for a first source of a download.
    pub(super) fn await_first_source(&mut self, cx: &mut Cx, id: TransferId, asked: u32) {
        let Some(Download { seek, .. }) = self.downloads.get_mut(id) else { return };
        if asked > 0 {
            // Sooner than for a download that has a source.
            let wait = seek.unsourced_wait;
            seek.next = Some(cx.now + wait);
            seek.unsourced_wait = (wait * 2).min(seek.wait);
        }
        let why = if asked > 0 { Problem::NoSourceYet { asked } } else { Problem::NobodyToAsk };
        self.retry_unsourced(cx, id, why);
    }

    fn retry_unsourced(&mut self, cx: &mut Cx, id: TransferId, why: Problem) {
        let Some(download) = self.downloads.get(id) else { return };
        let until = download.seek.next.unwrap_or(cx.now + UNSOURCED_SEEK_MIN);
        self.set_waiting(cx, id, until, why);
    }
}
