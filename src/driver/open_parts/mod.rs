//! The open part files as the loop knows them, what exchanges have for them, and the partial groups. `disk` opens and closes part
//! files, and has workers write to them: no call here waits for a disk.

mod buffers;
mod partial;
#[cfg(test)]
mod tests;
mod write;

pub(super) use buffers::{PIECE_BYTES_MAX, Piece};
pub(super) use partial::{PartialGroup, PartialGroups, Remains};
pub(super) use write::{Data, View, Write, WriteFault, Written};

use crate::content::{Groups, Outline};
use crate::id::TransferId;
use crate::store::{PartFile, SyncDue};
use buffers::Buffers;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use write::Kind;

/// Above this no exchange begins with another group. More may be on its way: each has the rest of its group, and one more.
const WRITING_BYTES_MAX: usize = 32 << 20;

/// An open part file.
pub(crate) struct OpenPart {
    /// Workers alone lock it.
    file: Arc<Mutex<PartFile>>,
    outline: Option<Arc<Outline>>,
    verified: Groups,
    due: SyncDue,
    /// Of the last view.
    viewed: u64,
    /// Writes that are on their way.
    writes: usize,
}

impl OpenPart {
    pub(super) fn new(part: PartFile) -> Self {
        let (outline, verified, due) = (part.outline().cloned(), part.verified().clone(), part.sync_due());
        Self { file: Arc::new(Mutex::new(part)), outline, verified, due, viewed: 0, writes: 0 }
    }

    /// For workers.
    pub(super) fn file(&self) -> Arc<Mutex<PartFile>> {
        Arc::clone(&self.file)
    }

    /// For the job that closes or commits it; `None` after a job on it has panicked.
    pub(super) fn into_file(self) -> Option<PartFile> {
        Arc::into_inner(self.file)?.into_inner().ok()
    }

    pub(super) fn outline(&self) -> Option<&Arc<Outline>> {
        self.outline.as_ref()
    }

    /// The verified groups that are written; none without an outline.
    pub(super) fn verified(&self) -> &Groups {
        &self.verified
    }

    /// Whether a sync is due; with `rest` also of a single group.
    pub(super) fn wants_sync(&self, rest: bool) -> bool {
        match self.due {
            SyncDue::Not => false,
            SyncDue::WithRest => rest,
            SyncDue::Now => true,
        }
    }

    /// A sync has begun: it is due again when a job says so.
    pub(super) fn on_sync_begun(&mut self) {
        self.due = SyncDue::Not;
    }

    pub(super) fn on_sync_failed(&mut self) {
        self.due = SyncDue::WithRest;
    }

    pub(super) fn is_written(&self) -> bool {
        self.writes > 0
    }

    /// Takes the view of a job, unless a later view was taken.
    pub(super) fn apply(&mut self, view: View) {
        if view.number < self.viewed {
            return;
        }
        self.viewed = view.number;
        self.due = view.due;
        if let Some((outline, verified)) = view.content {
            (self.outline, self.verified) = (outline, verified);
        }
    }
}

#[derive(Default)]
pub(super) struct OpenParts {
    /// Bounded by `max_downloads`.
    files: BTreeMap<TransferId, OpenPart>,
    partials: PartialGroups,
    buffers: Buffers,
    /// What is to be written, and was not given to a worker yet.
    writes: Vec<Write>,
    /// Bytes that are on their way to the disk.
    writing_bytes: usize,
}

impl OpenParts {
    pub(super) fn files(&mut self) -> &mut BTreeMap<TransferId, OpenPart> {
        &mut self.files
    }

    pub(super) fn get(&self, download: TransferId) -> Option<&OpenPart> {
        self.files.get(&download)
    }

    /// The size of a download's content by its outline; 0 without one.
    pub(super) fn size(&self, download: TransferId) -> u64 {
        self.files.get(&download).and_then(|part| part.outline()).map_or(0, |outline| outline.size())
    }

    /// Has something written after all that was to be written before. The exchange gets the result.
    pub(super) fn write(&mut self, write: Write) {
        self.writing_bytes += write.kind().bytes();
        if let Some(part) = self.files.get_mut(&write.download) {
            part.writes += 1;
        }
        self.writes.push(write);
    }

    /// Sets the outline of a content of one group. Later fetches need it at once: the result only says if that has failed.
    pub(super) fn set_outline(&mut self, download: TransferId, outline: Arc<Outline>) {
        let Some(part) = self.files.get_mut(&download) else { return };
        let is_same = part.outline.as_ref().is_some_and(|before| before.b3() == outline.b3());
        let count = outline.group_count();
        part.verified = if is_same { part.verified.resized(count) } else { Groups::none(count) };
        part.outline = Some(Arc::clone(&outline));
        self.write(Write { download, exchange: None, data: Data::GivenOutline(outline) });
    }

    /// A buffer for a piece, if one was used before.
    pub(super) fn used_buffer(&mut self) -> Option<Vec<u8>> {
        self.buffers.take()
    }

    /// Gives the memory of used buffers back.
    pub(super) fn release_buffers(&mut self) {
        self.buffers.release();
    }

    pub(super) fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    pub(super) fn take_writes(&mut self) -> Vec<Write> {
        std::mem::take(&mut self.writes)
    }

    /// Whether so much is on its way to the disk that exchanges must wait.
    pub(super) fn is_behind(&self) -> bool {
        self.writing_bytes > WRITING_BYTES_MAX
    }

    /// Notes the result of a write. Returns whether it was the last one on its way to this part file.
    pub(super) fn on_written(&mut self, written: &mut Written) -> bool {
        self.writing_bytes = self.writing_bytes.saturating_sub(written.kind.bytes());
        self.buffers.give_back(std::mem::take(&mut written.buffer));
        let Some(part) = self.files.get_mut(&written.download) else { return false };
        part.writes = part.writes.saturating_sub(1);
        if let Some(view) = written.view.take() {
            part.apply(view);
        }
        if let (Kind::Group { group, .. }, Ok(())) = (written.kind, written.outcome) {
            part.verified.insert(group);
        }
        !part.is_written()
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
                let is_missing = |part: &OpenPart| !part.verified().contains(partial.group);
                let is_wanted = |part: &&OpenPart| {
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
