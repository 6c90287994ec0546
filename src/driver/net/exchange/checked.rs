//! A fetch whose bytes are verified group by group before they are written to the part file.
//!
//! The present group is held in memory, 1 MiB at most. So nothing unverified is written, two fetches of the same group do
//! not interfere, and a crash loses only the group in memory. A fetch may begin in the middle of a group whose beginning
//! came in an earlier one (see [`open_parts`](crate::driver::open_parts)).

use super::Parts;
use crate::content::{GroupHasher, Outline, group_span};
use crate::driver::open_parts::{PartialGroup, Remains};
use crate::fault::DialFault;
use crate::id::{ExchangeId, TransferId};
use crate::node::Event;
use crate::node::contract::Portion;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

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
    pub(super) download: TransferId,
    from: SocketAddr,
    outline: Arc<Outline>,
    group: u64,
    end: u64,
    state: State,
    verified: VecDeque<u64>,
    /// Ends the fetch once `verified` is reported.
    fault: Option<DialFault>,
    /// The senders of a group that does not match its hash, if it came in several exchanges.
    mismatch: Option<BTreeSet<SocketAddr>>,
}

enum State {
    /// Not a byte of it was received.
    Between,
    /// Held and hashed. `earlier`: who sent its beginning in other exchanges.
    Holding { bytes: Vec<u8>, hasher: Box<GroupHasher>, earlier: BTreeSet<SocketAddr> },
    /// It is in the part file already: the bytes are only counted.
    Skipping { bytes: u64 },
}

impl Checked {
    pub(super) fn begin(part: &Part, parts: &mut Parts) -> Result<Self, DialFault> {
        let (download, from) = (part.download, part.from);
        let file = parts.get_mut(&download).ok_or(DialFault::Aborted)?;
        let outline = Arc::clone(file.outline().ok_or(DialFault::Aborted)?);
        let count = outline.group_count();
        let groups = match &part.portion {
            Portion::Groups(groups) => groups.clone(),
            Portion::Whole | Portion::Stream { .. } => 0..count,
        };
        let (end, verified) = (groups.end.min(count), VecDeque::new());
        let group = groups.start.min(end);
        let state = match part.begun.as_deref() {
            None => State::Between,
            Some(begun) if file.verified().contains(group) => State::Skipping { bytes: begun.len() },
            Some(begun) => {
                let mut hasher = Box::new(GroupHasher::new(outline.size(), group));
                hasher.update(&begun.bytes);
                State::Holding { bytes: begun.bytes.clone(), hasher, earlier: begun.senders.clone() }
            }
        };
        Ok(Self { download, from, outline, group, end, state, verified, fault: None, mismatch: None })
    }

    pub(super) fn into_remains(self) -> Remains {
        match (self.mismatch, self.state) {
            (Some(senders), _) => Remains::Mismatch { download: self.download, senders },
            (None, State::Holding { bytes, earlier, .. }) if !bytes.is_empty() => {
                let (download, from) = (self.download, self.from);
                Remains::Partial(PartialGroup::new(download, &self.outline, self.group, bytes, earlier, from))
            }
            _ => Remains::Nothing,
        }
    }

    /// Makes the fetch end before a group, unless a byte of that group was received.
    pub(super) fn trim(&mut self, groups_end: u64) {
        let begun = u64::from(!matches!(self.state, State::Between));
        self.end = self.end.min(groups_end.max(self.group + begun));
    }

    pub(super) fn is_complete(&self) -> bool {
        self.group >= self.end
    }

    /// A fault is returned by [`Checked::poll`] after the groups before it.
    pub(super) fn take(&mut self, mut bytes: &[u8], parts: &mut Parts) {
        while !bytes.is_empty() && self.fault.is_none() && !self.is_complete() {
            match self.take_of_group(bytes, parts) {
                Ok(taken) => bytes = &bytes[taken..],
                Err(fault) => self.fault = Some(fault),
            }
        }
    }

    /// The next group to report, or the fault after the last one.
    pub(super) fn poll(&mut self, exchange: ExchangeId) -> Result<Option<Event>, DialFault> {
        match (self.verified.pop_front(), self.fault) {
            (Some(group), _) => Ok(Some(Event::GroupVerified { exchange, group })),
            (None, Some(fault)) => Err(fault),
            (None, None) => Ok(None),
        }
    }

    /// Takes the bytes that belong to the present group. Returns their number.
    fn take_of_group(&mut self, bytes: &[u8], parts: &mut Parts) -> Result<usize, DialFault> {
        let part = parts.get_mut(&self.download).ok_or(DialFault::Aborted)?;
        let span = group_span(self.outline.size(), self.group);
        let len = span.end - span.start;
        if matches!(self.state, State::Between) {
            self.state = if part.verified().contains(self.group) {
                State::Skipping { bytes: 0 }
            } else {
                State::Holding {
                    bytes: Vec::new(),
                    hasher: Box::new(GroupHasher::new(self.outline.size(), self.group)),
                    earlier: BTreeSet::new(),
                }
            };
        }
        let held = match &self.state {
            State::Between => 0,
            State::Holding { bytes, .. } => bytes.len() as u64,
            State::Skipping { bytes } => *bytes,
        };
        let taken = bytes.len().min(usize::try_from(len - held).unwrap_or(usize::MAX));
        match &mut self.state {
            State::Between => {}
            State::Holding { bytes: held, hasher, .. } => {
                held.extend_from_slice(&bytes[..taken]);
                hasher.update(&bytes[..taken]);
            }
            State::Skipping { bytes } => *bytes += taken as u64,
        }
        if held + (taken as u64) < len {
            return Ok(taken);
        }
        if let State::Holding { bytes, hasher, mut earlier } = std::mem::replace(&mut self.state, State::Between) {
            if self.outline.expected(self.group) != Some(hasher.finish()) {
                if earlier.is_empty() {
                    return Err(DialFault::Corrupt);
                }
                earlier.insert(self.from);
                self.mismatch = Some(earlier);
                return Err(DialFault::CorruptParts);
            }
            part.write_group(self.group, &bytes)?;
        }
        // A skipped group is verified too, by another fetch.
        self.verified.push_back(self.group);
        self.group += 1;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{ContentHasher, GROUP_BYTES};
    use crate::name::FileName;
    use crate::part::{PartSpec, Target};
    use crate::store::{PartOpened, PartRequest};

    const DOWNLOAD: TransferId = TransferId(1);
    const EXCHANGE: ExchangeId = ExchangeId::Outbound(1);

    /// An empty open part file for this content.
    fn parts(content: &[u8], directory: &std::path::Path) -> Parts {
        let mut hasher = ContentHasher::default();
        hasher.update(content);
        let (b3, chain) = hasher.finish();
        let target = Target::Suggested { directory: directory.into(), name: FileName::from_bytes(b"a").unwrap() };
        let spec = PartSpec { target, token: 1, filesystem: None };
        let request = PartRequest { spec, b3: Some(b3), size: None, known: Default::default() };
        let PartOpened::Ready(mut part) = request.open().unwrap() else { panic!("nothing is there yet") };
        part.set_outline(Arc::new(Outline::new(b3, content.len() as u64, chain).unwrap())).unwrap();
        Parts::from([(DOWNLOAD, part)])
    }

    fn peer(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 1, n], 1))
    }

    /// What is requested of the first peer.
    fn part(portion: Portion) -> Part {
        Part { download: DOWNLOAD, portion, from: peer(1), begun: None }
    }

    /// The part of a group that a fetch leaves.
    fn partial(checked: Checked) -> PartialGroup {
        match checked.into_remains() {
            Remains::Partial(partial) => partial,
            other => panic!("{other:?}"),
        }
    }

    /// The reported groups, and the fault after them.
    fn reported(checked: &mut Checked) -> (Vec<u64>, Option<DialFault>) {
        let mut groups = Vec::new();
        loop {
            match checked.poll(EXCHANGE) {
                Ok(Some(Event::GroupVerified { group, .. })) => groups.push(group),
                Ok(Some(other)) => panic!("{other:?}"),
                Ok(None) => return (groups, None),
                Err(fault) => return (groups, Some(fault)),
            }
        }
    }

    #[test]
    fn groups_are_reported_whether_this_fetch_or_another_verified_them() {
        let scratch = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..2 * GROUP_BYTES + 9).map(|at| (at % 253) as u8).collect();
        let mut parts = parts(&content, scratch.path());
        let group = GROUP_BYTES as usize;
        parts.get_mut(&DOWNLOAD).unwrap().write_group(1, &content[group..2 * group]).unwrap();
        let mut checked = Checked::begin(&part(Portion::Whole), &mut parts).unwrap();
        for piece in content.chunks(300_001) {
            checked.take(piece, &mut parts);
        }
        assert!(checked.is_complete() && parts[&DOWNLOAD].verified().is_full());
        assert_eq!(reported(&mut checked), (vec![0, 1, 2], None));
    }

    #[test]
    fn a_wrong_byte_ends_the_fetch_after_the_groups_before_it_and_is_not_written() {
        let scratch = tempfile::tempdir().unwrap();
        let content = vec![5; 3 * GROUP_BYTES as usize];
        let mut parts = parts(&content, scratch.path());
        let mut wrong = content.clone();
        wrong[GROUP_BYTES as usize + 77] ^= 1;
        let mut checked = Checked::begin(&part(Portion::Groups(0..3)), &mut parts).unwrap();
        checked.take(&wrong, &mut parts);
        assert_eq!(reported(&mut checked), (vec![0], Some(DialFault::Corrupt)));
        assert_eq!(parts[&DOWNLOAD].verified().held(), 1);
    }

    #[test]
    fn a_trimmed_fetch_ends_after_the_group_that_had_begun() {
        let scratch = tempfile::tempdir().unwrap();
        let content = vec![6; 3 * GROUP_BYTES as usize];
        let mut parts = parts(&content, scratch.path());
        let mut checked = Checked::begin(&part(Portion::Groups(0..3)), &mut parts).unwrap();
        checked.take(&content[..10], &mut parts);
        checked.trim(0);
        assert!(!checked.is_complete());
        checked.take(&content[10..], &mut parts);
        assert!(checked.is_complete());
        assert_eq!(reported(&mut checked), (vec![0], None), "bytes after it are ignored");
    }

    #[test]
    fn a_partial_group_is_continued_by_other_fetches() {
        let scratch = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..2 * GROUP_BYTES + 9).map(|at| (at % 253) as u8).collect();
        let mut parts = parts(&content, scratch.path());
        let (group, mut at) = (GROUP_BYTES as usize, GROUP_BYTES as usize);
        let mut begun: Option<PartialGroup> = None;
        for (turn, bytes) in [100_000, 400_000, 1].into_iter().enumerate() {
            let asked = Part { begun: begun.take().map(Rc::new), ..part(Portion::Groups(1..3)) };
            let mut checked = Checked::begin(&Part { from: peer(turn as u8), ..asked }, &mut parts).unwrap();
            checked.take(&content[at..at + bytes], &mut parts);
            assert_eq!(reported(&mut checked), (vec![], None));
            at += bytes;
            let left = partial(checked);
            assert_eq!((left.group, left.len()), (1, (at - group) as u64));
            begun = Some(left);
        }
        let asked = Part { begun: begun.map(Rc::new), ..part(Portion::Groups(1..3)) };
        let mut checked = Checked::begin(&asked, &mut parts).unwrap();
        checked.trim(1);
        checked.take(&content[at..], &mut parts);
        assert!(checked.is_complete(), "the group that was begun is completed, and no other");
        assert_eq!(reported(&mut checked), (vec![1], None));
        assert!(matches!(checked.into_remains(), Remains::Nothing));
    }

    #[test]
    fn a_mismatch_of_a_group_from_several_exchanges_names_all_senders() {
        let scratch = tempfile::tempdir().unwrap();
        let content = vec![5; 2 * GROUP_BYTES as usize];
        let mut parts = parts(&content, scratch.path());
        let mut liar = Checked::begin(&Part { from: peer(6), ..part(Portion::Groups(0..2)) }, &mut parts).unwrap();
        liar.take(&[4; 1000], &mut parts);
        let asked = Part { begun: Some(Rc::new(partial(liar))), ..part(Portion::Groups(0..2)) };
        let mut honest = Checked::begin(&asked, &mut parts).unwrap();
        honest.take(&content[1000..], &mut parts);
        assert_eq!(reported(&mut honest), (vec![], Some(DialFault::CorruptParts)));
        match honest.into_remains() {
            Remains::Mismatch { download: DOWNLOAD, senders } => assert_eq!(senders, [peer(1), peer(6)].into()),
            other => panic!("{other:?}"),
        }
        assert_eq!(parts[&DOWNLOAD].verified().held(), 0);
    }

    #[test]
    fn the_rest_of_a_group_that_was_verified_meanwhile_is_skipped() {
        let scratch = tempfile::tempdir().unwrap();
        let content = vec![8; 2 * GROUP_BYTES as usize];
        let mut parts = parts(&content, scratch.path());
        let mut first = Checked::begin(&part(Portion::Groups(0..1)), &mut parts).unwrap();
        first.take(&content[..77], &mut parts);
        parts.get_mut(&DOWNLOAD).unwrap().write_group(0, &content[..GROUP_BYTES as usize]).unwrap();
        let asked = Part { begun: Some(Rc::new(partial(first))), ..part(Portion::Groups(0..2)) };
        let mut second = Checked::begin(&asked, &mut parts).unwrap();
        second.take(&content[77..], &mut parts);
        assert_eq!(reported(&mut second), (vec![0, 1], None));
    }
}
