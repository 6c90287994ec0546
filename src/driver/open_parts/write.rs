//! What exchanges have for a part file, on its way to a worker, and the result on its way back.

use crate::content::{GroupHasher, Groups, Outline};
use crate::fault::DiskFault;
use crate::id::{ContentHash, ExchangeId, TransferId};
use crate::store::{OutlineRefused, PartFile, SyncDue};
use std::sync::{Arc, Mutex, Weak};

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
    /// A whole group, not verified yet.
    Group { outline: Arc<Outline>, group: u64, bytes: Vec<u8> },
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
    pub(super) kind: Kind,
    pub(crate) outcome: Result<(), WriteFault>,
    /// `None` if the part file was not reached.
    pub(super) view: Option<View>,
    /// What was written, to be used again.
    pub(super) buffer: Vec<u8>,
}

impl Written {
    /// Whether the part file has got an outline.
    pub(crate) fn has_set_outline(&self) -> bool {
        matches!((self.kind, self.outcome), (Kind::Outline { .. }, Ok(())))
    }

    /// The group and its content, if it was one and is in the part file now.
    pub(crate) fn written_group(&self) -> Option<(ContentHash, u64)> {
        match (self.kind, self.outcome) {
            (Kind::Group { b3, group, .. }, Ok(())) => Some((b3, group)),
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
pub(crate) enum Kind {
    Group { b3: ContentHash, group: u64, bytes: usize },
    Stream { bytes: usize },
    Outline { bytes: usize },
}

impl Kind {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Group { bytes, .. } | Self::Stream { bytes } | Self::Outline { bytes } => bytes,
        }
    }
}

/// What the loop is to know of a part file after a job.
#[derive(Debug)]
pub(crate) struct View {
    /// Two workers may deliver theirs in another order.
    pub(super) number: u64,
    pub(super) due: SyncDue,
    /// The outline and the verified groups, if they have changed otherwise than by a group that was written.
    pub(super) content: Option<(Option<Arc<Outline>>, Groups)>,
}

impl View {
    /// `is_new`: the outline or the verified groups have changed.
    pub(crate) fn of(part: &mut PartFile, is_new: bool) -> Self {
        let is_new = part.take_shrunk() || is_new;
        let content = is_new.then(|| (part.outline().cloned(), part.verified().clone()));
        Self { number: part.count_look(), due: part.sync_due(), content }
    }
}

impl View {
    /// A sync that is due waits for the timer.
    pub(crate) fn not_now(self) -> Self {
        let due = if self.due == SyncDue::Now { SyncDue::WithRest } else { self.due };
        Self { due, ..self }
    }
}

impl Write {
    pub(super) fn kind(&self) -> Kind {
        match &self.data {
            Data::Group { outline, group, bytes } => {
                Kind::Group { b3: outline.b3(), group: *group, bytes: bytes.len() }
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
            Data::Group { outline, group, bytes } => (write_group(&mut part, outline, *group, bytes), false),
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
        let Data::Group { outline, group, bytes } = &self.data else { return true };
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
