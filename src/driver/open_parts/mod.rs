//! The open part files as the loop knows them, what exchanges have for them, and the partial groups. `disk` opens and closes part
//! files, and has workers write to them: no call here waits for a disk.

mod buffers;
mod on_way;
mod partial;
#[cfg(test)]
mod tests;

pub(super) use buffers::{PIECE_BYTES_MAX, Piece};
pub(super) use partial::{PartialGroup, PartialGroups, Remains};

use crate::content::{GroupHasher, Groups, Outline};
use crate::fault::DiskFault;
use crate::id::{ContentHash, ExchangeId, FilesystemId, TransferId};
use crate::store::{OutlineRefused, PartFile, SyncDue};
use buffers::Buffers;
use on_way::OnWay;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};

/// An open part file.
pub(crate) struct OpenPart {
    /// Workers alone lock it.
    file: Arc<Mutex<PartFile>>,
    filesystem: FilesystemId,
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
        let filesystem = part.filesystem;
        Self { file: Arc::new(Mutex::new(part)), filesystem, outline, verified, due, viewed: 0, writes: 0 }
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
    on_way: OnWay,
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
        self.on_way.add(write.download, self.filesystem_of(write.download), write.kind().bytes());
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

    /// Whether so much is on its way to the disk of a download that its exchanges must wait.
    pub(super) fn is_behind(&self, download: TransferId) -> bool {
        self.on_way.is_behind(self.filesystem_of(download))
    }

    fn filesystem_of(&self, download: TransferId) -> Option<FilesystemId> {
        self.files.get(&download).map(|part| part.filesystem)
    }

    /// Notes the result of a write. Returns whether it was the last one on its way to this part file.
    pub(super) fn on_written(&mut self, written: &mut Written) -> bool {
        self.on_way.remove(written.download, written.kind.bytes());
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

/// Something to be written to an open part file.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) download: TransferId,
    /// Who gets the result.
    pub(crate) exchange: Option<ExchangeId>,
    pub(crate) data: Data,
}

#[derive(Debug)]
pub(crate) enum Data {
    /// A whole group, not verified yet. `from`: who sent the last of it.
    Group { outline: Arc<Outline>, group: u64, bytes: Vec<u8>, from: SocketAddr },
    /// The next bytes of a stream. `begins`: the stream starts with them.
    Stream { begins: bool, bytes: Vec<u8> },
    /// `instead_of`: the part file has this outline, or none. `wanted`: the exchange that brought the outline is not over.
    Outline { outline: Arc<Outline>, instead_of: Option<Arc<Outline>>, wanted: Weak<()> },
    /// The node has given it: whatever was before.
    GivenOutline(Arc<Outline>),
}

/// Why something was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteFault {
    /// The group does not match its hash, or the outline contradicts a verified group.
    Mismatch,
    /// The exchange is over, or another outline was set meanwhile.
    Superseded,
    Disk(DiskFault),
}

impl From<DiskFault> for WriteFault {
    fn from(fault: DiskFault) -> Self {
        Self::Disk(fault)
    }
}

/// What became of a [`Write`].
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) download: TransferId,
    pub(crate) exchange: Option<ExchangeId>,
    kind: Kind,
    pub(crate) outcome: Result<(), WriteFault>,
    /// `None` if the part file was not reached.
    view: Option<View>,
    /// What was written, to be used again.
    buffer: Vec<u8>,
}

impl Written {
    /// Whether the part file has got an outline.
    pub(crate) fn has_set_outline(&self) -> bool {
        matches!((self.kind, self.outcome), (Kind::Outline { .. }, Ok(())))
    }

    /// The group, its content and its sender, if it was one and is in the part file now.
    pub(crate) fn written_group(&self) -> Option<(ContentHash, u64, SocketAddr)> {
        match (self.kind, self.outcome) {
            (Kind::Group { b3, group, from, .. }, Ok(())) => Some((b3, group, from)),
            _ => None,
        }
    }

    /// The group, if it was one.
    pub(crate) fn group(&self) -> Option<u64> {
        if let Kind::Group { group, .. } = self.kind { Some(group) } else { None }
    }
}

/// What was to be written, without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Group { b3: ContentHash, group: u64, bytes: usize, from: SocketAddr },
    Stream { bytes: usize },
    Outline { bytes: usize },
}

impl Kind {
    fn bytes(self) -> usize {
        match self {
            Self::Group { bytes, .. } | Self::Stream { bytes } | Self::Outline { bytes } => bytes,
        }
    }
}

/// What the loop is to know of a part file after a job.
#[derive(Debug)]
pub(crate) struct View {
    /// Two workers may deliver theirs in another order.
    number: u64,
    due: SyncDue,
    /// The outline and the verified groups, if they have changed otherwise than by a group that was written.
    content: Option<(Option<Arc<Outline>>, Groups)>,
}

impl View {
    /// `is_new`: the outline or the verified groups have changed.
    pub(crate) fn of(part: &mut PartFile, is_new: bool) -> Self {
        let is_new = part.take_shrunk() || is_new;
        let content = is_new.then(|| (part.outline().cloned(), part.verified().clone()));
        Self { number: part.count_look(), due: part.sync_due(), content }
    }

    /// A sync that is due waits for the timer.
    pub(crate) fn not_now(self) -> Self {
        let due = if self.due == SyncDue::Now { SyncDue::WithRest } else { self.due };
        Self { due, ..self }
    }
}

impl Write {
    fn kind(&self) -> Kind {
        match &self.data {
            Data::Group { outline, group, bytes, from } => {
                Kind::Group { b3: outline.b3(), group: *group, bytes: bytes.len(), from: *from }
            }
            Data::Stream { bytes, .. } => Kind::Stream { bytes: bytes.len() },
            Data::Outline { outline, .. } | Data::GivenOutline(outline) => {
                Kind::Outline { bytes: size_of_val(outline.chain()) }
            }
        }
    }

    /// The result if it cannot be executed.
    pub(crate) fn failed(&self, fault: DiskFault) -> Written {
        let Self { download, exchange, .. } = *self;
        Written { download, exchange, kind: self.kind(), outcome: Err(fault.into()), view: None, buffer: Vec::new() }
    }

    /// Verifies and writes. Waits for the disk.
    pub(crate) fn run(self, file: &Mutex<PartFile>) -> Written {
        let failed = self.failed(DiskFault::Other(0));
        // Hashing takes most of the time, and the file is not needed for it.
        if !self.is_right() {
            return Written { outcome: Err(WriteFault::Mismatch), buffer: self.into_buffer(), ..failed };
        }
        let Ok(mut part) = file.lock() else { return failed };
        let (outcome, sets_outline) = match &self.data {
            Data::Group { outline, group, bytes, .. } => (write_group(&mut part, outline, *group, bytes), false),
            Data::Stream { begins, bytes } => (write_stream(&mut part, *begins, bytes), false),
            Data::Outline { outline, instead_of, wanted } => {
                let is_superseded = wanted.strong_count() == 0 || part.outline() != instead_of.as_ref();
                match is_superseded {
                    true => (Err(WriteFault::Superseded), false),
                    false => (set_outline(&mut part, Arc::clone(outline)), true),
                }
            }
            Data::GivenOutline(outline) => (set_outline(&mut part, Arc::clone(outline)), true),
        };
        Written { outcome, view: Some(View::of(&mut part, sets_outline)), buffer: self.into_buffer(), ..failed }
    }

    fn into_buffer(self) -> Vec<u8> {
        match self.data {
            Data::Group { bytes, .. } | Data::Stream { bytes, .. } => bytes,
            Data::Outline { .. } | Data::GivenOutline(_) => Vec::new(),
        }
    }

    fn is_right(&self) -> bool {
        let Data::Group { outline, group, bytes, .. } = &self.data else { return true };
        let mut hasher = GroupHasher::new(outline.size(), *group);
        hasher.update(bytes);
        outline.expected(*group) == Some(hasher.finish())
    }
}

fn write_group(part: &mut PartFile, outline: &Outline, group: u64, bytes: &[u8]) -> Result<(), WriteFault> {
    match part.outline() {
        Some(present) if present.agrees_on(outline, group) => {
            part.write_group(group, bytes)?;
            Ok(())
        }
        // Verified by what another outline of this content says otherwise.
        Some(present) if present.b3() == outline.b3() => Err(WriteFault::Superseded),
        // The download has another content by now: the node has ended this fetch.
        _ => Err(DiskFault::Changed.into()),
    }
}

fn write_stream(part: &mut PartFile, begins: bool, bytes: &[u8]) -> Result<(), WriteFault> {
    if begins {
        part.restart()?;
    }
    Ok(part.append(bytes)?)
}

fn set_outline(part: &mut PartFile, outline: Arc<Outline>) -> Result<(), WriteFault> {
    part.set_outline(outline).map_err(|refused| match refused {
        OutlineRefused::Contradicted => WriteFault::Mismatch,
        OutlineRefused::Disk(fault) => WriteFault::Disk(fault),
    })
}
