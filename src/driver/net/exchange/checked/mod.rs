//! A fetch whose bytes are verified group by group before they are written to the part file.
//!
//! The present group is held in memory, 1 MiB at most. A whole group goes to a worker, which hashes it and writes it if it is
//! right, while the next one is received; few are on their way at once. So nothing unverified is written, two fetches of
//! the same group do not interfere, and a crash loses only the groups in memory. A fetch may begin in the middle of a group
//! whose beginning came in an earlier one (see [`open_parts`](crate::driver::open_parts)).

#[cfg(test)]
mod tests;

use crate::content::{Outline, group_span};
use crate::driver::open_parts::{Data, OpenParts, PartialGroup, Piece, Remains, Write, WriteFault};
use crate::fault::DialFault;
use crate::id::{ExchangeId, TransferId};
use crate::node::Event;
use crate::node::contract::Portion;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// Groups of one fetch that may be on their way to the disk while more is received.
const WRITES_MAX: usize = 2;

/// The portion of a file that is fetched, and its part file.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) download: TransferId,
    pub(crate) portion: Portion,
    pub(crate) from: SocketAddr,
    /// The beginning of the first group, from earlier fetches; the request begins behind it.
    pub(crate) begun: Option<Rc<PartialGroup>>,
}

impl Part {
    /// Of a fetch that received nothing.
    pub(super) fn into_remains(self) -> Remains {
        self.begun.map_or(Remains::Nothing, |begun| Remains::Partial(Rc::unwrap_or_clone(begun)))
    }
}

pub(super) struct Checked {
    exchange: ExchangeId,
    pub(super) download: TransferId,
    from: SocketAddr,
    outline: Arc<Outline>,
    group: u64,
    end: u64,
    state: State,
    /// Whole groups that are not reported yet, in order.
    whole: VecDeque<WholeGroup>,
    /// Ends the fetch when the other groups are reported.
    fault: Option<DialFault>,
    /// The senders of a group that does not match its hash, if it came in several exchanges.
    mismatch: Option<BTreeSet<SocketAddr>>,
}

enum State {
    /// Not a byte of it was received.
    Between,
    /// `earlier`: who sent its beginning in other exchanges.
    Holding { piece: Piece, earlier: BTreeSet<SocketAddr> },
    /// It is in the part file already: the bytes are only counted.
    Skipping { bytes: usize },
}

struct WholeGroup {
    group: u64,
    /// It is in the part file.
    is_written: bool,
    earlier: BTreeSet<SocketAddr>,
}

impl Checked {
    pub(super) fn begin(exchange: ExchangeId, part: &Part, parts: &OpenParts) -> Result<Self, DialFault> {
        let (download, from) = (part.download, part.from);
        let file = parts.get(download).ok_or(DialFault::Aborted)?;
        let outline = Arc::clone(file.outline().ok_or(DialFault::Aborted)?);
        let count = outline.group_count();
        let groups = match &part.portion {
            Portion::Groups(groups) => groups.clone(),
            Portion::Whole | Portion::Stream { .. } => 0..count,
        };
        let (end, whole) = (groups.end.min(count), VecDeque::new());
        let group = groups.start.min(end);
        let state = match part.begun.as_deref() {
            None => State::Between,
            Some(begun) if file.verified().contains(group) => State::Skipping { bytes: begun.bytes.len() },
            Some(begun) => State::Holding { piece: begun.bytes.clone().into(), earlier: begun.senders.clone() },
        };
        Ok(Self { exchange, download, from, outline, group, end, state, whole, fault: None, mismatch: None })
    }

    pub(super) fn into_remains(self) -> Remains {
        match (self.mismatch, self.state) {
            (Some(senders), _) => Remains::Mismatch { download: self.download, senders },
            // The source is wrong alone.
            (None, _) if self.fault == Some(DialFault::Corrupt) => Remains::Nothing,
            (None, State::Holding { piece, earlier }) if piece.len() > 0 => {
                let (download, from, bytes) = (self.download, self.from, piece.into_bytes());
                Remains::Partial(PartialGroup::new(download, &self.outline, self.group, bytes, earlier, from))
            }
            _ => Remains::Nothing,
        }
    }

    /// Makes the fetch end before a group, unless a byte of that group was received.
    pub(super) fn trim(&mut self, groups_end: u64) {
        let begun = u64::from(self.has_begun());
        self.end = self.end.min(groups_end.max(self.group + begun));
    }

    pub(super) fn is_complete(&self) -> bool {
        self.group >= self.end && self.whole.is_empty()
    }

    /// Whether groups are on their way to the disk.
    pub(super) fn is_writing(&self) -> bool {
        self.whole.iter().any(|whole| !whole.is_written)
    }

    /// Whether groups are on their way to the disk, or were, and are not reported yet.
    pub(super) fn is_unreported(&self) -> bool {
        !self.whole.is_empty()
    }

    /// Whether nothing is to be received until something is written: of this fetch or, while no group has begun, of others to the
    /// same disk.
    pub(super) fn waits_for_disk(&self, parts: &OpenParts) -> bool {
        let writing = self.whole.iter().filter(|whole| !whole.is_written).count();
        let needs_no_more = self.group >= self.end || self.fault.is_some();
        writing > 0 && (needs_no_more || writing >= WRITES_MAX) || parts.is_behind(self.download) && !self.has_begun()
    }

    /// Where the next bytes are to be read to: of the present group alone, unless nothing more is wanted. `scratch`: for those that
    /// are not kept.
    pub(super) fn room<'a>(&'a mut self, parts: &mut OpenParts, scratch: &'a mut [u8]) -> &'a mut [u8] {
        if self.fault.is_some() || self.group >= self.end {
            return scratch;
        }
        let whole = self.group_bytes();
        if !self.has_begun() {
            match (&self.state, parts.get(self.download).map(|part| part.verified().contains(self.group))) {
                (State::Holding { .. }, Some(false)) => {}
                (_, Some(false)) => self.state = State::Holding { piece: Piece::default(), earlier: BTreeSet::new() },
                (_, Some(true)) => self.state = State::Skipping { bytes: 0 },
                (_, None) => {
                    self.state = State::Between;
                    self.fault = Some(DialFault::Aborted);
                    return scratch;
                }
            }
        }
        match &mut self.state {
            State::Between => scratch,
            State::Holding { piece, .. } => piece.room(whole, || parts.used_buffer()),
            State::Skipping { bytes } => {
                let room = scratch.len().min(whole - *bytes);
                &mut scratch[..room]
            }
        }
    }

    /// So many bytes were read to there.
    pub(super) fn take(&mut self, count: usize, parts: &mut OpenParts) {
        let whole = self.group_bytes();
        let received = match &mut self.state {
            State::Between => return,
            State::Holding { piece, .. } => {
                piece.fill(count);
                piece.len()
            }
            State::Skipping { bytes } => {
                *bytes += count;
                *bytes
            }
        };
        if received >= whole {
            self.end_group(parts);
        }
    }

    /// A worker has verified and written a group, or not.
    pub(super) fn on_written(&mut self, group: u64, outcome: Result<(), WriteFault>) {
        let Some(at) = self.whole.iter().position(|whole| whole.group == group && !whole.is_written) else { return };
        let Err(fault) = outcome else {
            self.whole[at].is_written = true;
            return;
        };
        let earlier = self.whole.remove(at).map(|whole| whole.earlier).unwrap_or_default();
        self.fault.get_or_insert(match fault {
            WriteFault::Disk(fault) => DialFault::Disk(fault),
            WriteFault::Superseded => DialFault::Aborted,
            WriteFault::Mismatch if earlier.is_empty() => DialFault::Corrupt,
            WriteFault::Mismatch => {
                self.mismatch = Some(earlier.into_iter().chain([self.from]).collect());
                DialFault::CorruptParts
            }
        });
    }

    /// The next group to report, or the fault after the last one.
    pub(super) fn poll(&mut self) -> Result<Option<Event>, DialFault> {
        let is_written = self.whole.front().is_some_and(|whole| whole.is_written);
        let written = if is_written { self.whole.pop_front() } else { None };
        match (written, self.fault) {
            (Some(WholeGroup { group, .. }), _) => Ok(Some(Event::GroupVerified { exchange: self.exchange, group })),
            (None, Some(fault)) if self.whole.is_empty() => Err(fault),
            (None, _) => Ok(None),
        }
    }

    /// Whether a byte of the present group was received.
    fn has_begun(&self) -> bool {
        match &self.state {
            State::Between => false,
            State::Holding { piece, .. } => piece.len() > 0,
            State::Skipping { bytes } => *bytes > 0,
        }
    }

    /// The length of the present group.
    fn group_bytes(&self) -> usize {
        let span = group_span(self.outline.size(), self.group);
        usize::try_from(span.end - span.start).unwrap_or(usize::MAX)
    }

    /// The present group is received, or skipped: it is verified then, by another fetch.
    fn end_group(&mut self, parts: &mut OpenParts) {
        let (exchange, group) = (self.exchange, self.group);
        let mut whole = WholeGroup { group, is_written: true, earlier: BTreeSet::new() };
        if let State::Holding { piece, earlier } = std::mem::replace(&mut self.state, State::Between) {
            (whole.is_written, whole.earlier) = (false, earlier);
            let (outline, bytes) = (Arc::clone(&self.outline), piece.into_bytes());
            let data = Data::Group { outline, group, bytes, from: self.from };
            parts.write(Write { download: self.download, exchange: Some(exchange), data });
        }
        self.whole.push_back(whole);
        self.group += 1;
    }
}
