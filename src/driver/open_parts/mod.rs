//! The open part files and the partial groups, to which exchanges write. `disk` opens and closes part files.

mod partial;

pub(super) use partial::{PartialGroup, PartialGroups, Remains};

use crate::id::TransferId;
use crate::store::PartFile;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Part files that are open, by download. Bounded by `max_downloads`.
pub(super) type Parts = BTreeMap<TransferId, PartFile>;

#[derive(Default)]
pub(super) struct OpenParts {
    files: Parts,
    partials: PartialGroups,
}

impl OpenParts {
    pub(super) fn files(&mut self) -> &mut Parts {
        &mut self.files
    }

    /// The size of a download's content by its outline; 0 without one.
    pub(super) fn size(&self, download: TransferId) -> u64 {
        self.files.get(&download).and_then(|part| part.outline()).map_or(0, |outline| outline.size())
    }

    /// Takes a partial group, of which this peer shall send the rest.
    pub(super) fn take_partial(&mut self, download: TransferId, group: u64, by: SocketAddr) -> Option<PartialGroup> {
        let outline = self.files.get(&download)?.outline()?;
        self.partials.take(download, outline, group, by)
    }

    /// Keeps what an exchange left at its end.
    pub(super) fn take_remains(&mut self, remains: Remains) {
        match remains {
            Remains::Nothing => {}
            Remains::Partial(partial) => {
                let is_missing = |part: &PartFile| !part.verified().contains(partial.group);
                let is_wanted = |part: &&PartFile| {
                    is_missing(part) && part.outline().is_some_and(|outline| partial.is_of(partial.download, outline))
                };
                if self.files.get(&partial.download).filter(is_wanted).is_some() {
                    self.partials.keep(partial);
                }
            }
            Remains::Mismatch { download, senders } => self.partials.suspect(download, &senders),
        }
    }

    /// A group was verified.
    pub(super) fn discard_partial(&mut self, download: TransferId, group: u64) {
        self.partials.discard(download, group);
    }

    /// A download has ended or starts again.
    pub(super) fn forget_partials(&mut self, download: TransferId) {
        self.partials.forget(download);
    }
}
