//! Downloads by hash of which no source is known yet: they search before anything else, and are named after what the
//! first source calls the file.
//!
//! Such a download is `retrying` until a search finds a source; it has no part file before, since that lies beside the
//! final name. It never fails: only the user ends it.

use super::Node;
use super::contract::Target;
use super::download::{Aim, Download, State};
use super::limits::{FIRST_SEARCH_SPACING, UNSOURCED_SEEK_MIN};
use crate::control::{CallError, ExitCode};
use crate::id::{ContentHash, TransferId};
use crate::name::FileName;
use crate::time::Instant;

/// The name of a content before any source has told one: its hash.
pub(super) fn name_of_hash(b3: ContentHash) -> Option<FileName> {
    FileName::from_bytes(b3.to_string().as_bytes())
}

impl Download {
    /// Whether nobody is known who could be asked.
    pub(super) fn is_unsourced(&self) -> bool {
        self.sources.is_empty()
    }

    /// Takes the name and the size that a source tells, if no source has told a name before.
    pub(super) fn adopt(&mut self, told: &FileName, size: Option<u64>) {
        let Aim::Content(b3) = self.aim else { return };
        if !self.is_unsourced() || name_of_hash(b3).as_ref() != Some(&self.name) {
            return;
        }
        self.name = told.clone();
        self.size = self.size.or(size);
        let (Target::Suggested { name, .. } | Target::Exact { name, .. }) = &mut self.spec.target;
        *name = told.safe_component();
        // In a directory it is another by that.
        self.path = None;
    }
}

impl Node {
    /// Searches for the first source of each download that came into the queue without one.
    pub(super) fn search_unsourced(&mut self, now: Instant) {
        while let Some(id) = self.downloads.next_unsourced() {
            if self.downloads.get(id).is_some_and(|row| row.state() == State::Queued && row.is_unsourced()) {
                self.search_first(now, id);
            }
        }
    }

    /// Searches for the first source of a download if it is time for that, and waits.
    pub(super) fn search_first(&mut self, now: Instant, id: TransferId) {
        let Some(download) = self.downloads.get(id) else { return };
        let at = match download.seek.next {
            Some(at) => at,
            None => self.downloads.first_search_at(now, FIRST_SEARCH_SPACING),
        };
        let searched = at <= now;
        let asked = if searched { self.seek(now, id) } else { 0 };
        let Some(download) = self.downloads.get_mut(id) else { return };
        if !searched {
            download.seek.next = Some(at);
        } else if asked > 0 {
            // Sooner than for a download that has a source.
            let wait = download.seek.unsourced_wait;
            download.seek.next = Some(now + wait);
            download.seek.unsourced_wait = (wait * 2).min(download.seek.wait);
        }
        let message = match (searched, asked) {
            (true, 0) => "no source is known, and no neighbour to ask; searches again until cancelled".to_string(),
            (true, 1) => "no source is known; asked 1 neighbour, and searches again until cancelled".to_string(),
            (true, _) => format!("no source is known; asked {asked} neighbours, and searches again until cancelled"),
            (false, _) => "no source is known; searches soon".to_string(),
        };
        download.error = Some(CallError::new(ExitCode::NoSource, message));
        let until = download.seek.next.unwrap_or(now + UNSOURCED_SEEK_MIN);
        self.set_retrying(now, id, until);
    }
}
