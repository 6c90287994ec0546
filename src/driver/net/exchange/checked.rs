//! A fetch whose bytes are verified group by group before they are written to the part file.
//!
//! The present group is held in memory, 1 MiB at most. A whole group goes to a worker, which hashes it and writes it if it is
//! right, while the next one is received; few are on their way at once. So nothing unverified is written, two fetches of
//! the same group do not interfere, and a crash loses only the groups in memory. A fetch may begin in the middle of a group
//! whose beginning came in an earlier one (see [`open_parts`](crate::driver::open_parts)).

use crate::content::{Outline, group_span};
use crate::driver::open_parts::{Data, OpenParts, PartialGroup, Remains, Write, WriteFault};
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
    Holding { bytes: Vec<u8>, earlier: BTreeSet<SocketAddr> },
    /// It is in the part file already: the bytes are only counted.
    Skipping { bytes: u64 },
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
            Some(begun) if file.verified().contains(group) => State::Skipping { bytes: begun.len() },
            Some(begun) => State::Holding { bytes: begun.bytes.clone(), earlier: begun.senders.clone() },
        };
        Ok(Self { exchange, download, from, outline, group, end, state, whole, fault: None, mismatch: None })
    }

    pub(super) fn into_remains(self) -> Remains {
        match (self.mismatch, self.state) {
            (Some(senders), _) => Remains::Mismatch { download: self.download, senders },
            // The source is wrong alone.
            (None, _) if self.fault == Some(DialFault::Corrupt) => Remains::Nothing,
            (None, State::Holding { bytes, earlier }) if !bytes.is_empty() => {
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

    /// Whether nothing is to be received until something is written: of this fetch or, while no group has begun, of others.
    pub(super) fn waits_for_disk(&self, parts: &OpenParts) -> bool {
        let writing = self.whole.iter().filter(|whole| !whole.is_written).count();
        let needs_no_more = self.group >= self.end || self.fault.is_some();
        writing > 0 && (needs_no_more || writing >= WRITES_MAX)
            || parts.is_behind() && matches!(self.state, State::Between)
    }

    /// A fault is returned by [`Checked::poll`] after the groups that were received.
    pub(super) fn take(&mut self, mut bytes: &[u8], parts: &mut OpenParts) {
        while !bytes.is_empty() && self.fault.is_none() && self.group < self.end {
            match self.take_of_group(bytes, parts) {
                Ok(taken) => bytes = &bytes[taken..],
                Err(fault) => self.fault = Some(fault),
            }
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

    /// Takes the bytes that belong to the present group. Returns their number.
    fn take_of_group(&mut self, bytes: &[u8], parts: &mut OpenParts) -> Result<usize, DialFault> {
        let part = parts.get(self.download).ok_or(DialFault::Aborted)?;
        let span = group_span(self.outline.size(), self.group);
        let len = span.end - span.start;
        if matches!(self.state, State::Between) {
            self.state = match part.verified().contains(self.group) {
                true => State::Skipping { bytes: 0 },
                false => State::Holding { bytes: Vec::new(), earlier: BTreeSet::new() },
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
            State::Holding { bytes: held, .. } => held.extend_from_slice(&bytes[..taken]),
            State::Skipping { bytes } => *bytes += taken as u64,
        }
        if held + (taken as u64) < len {
            return Ok(taken);
        }
        let (exchange, group) = (self.exchange, self.group);
        let mut whole = WholeGroup { group, is_written: true, earlier: BTreeSet::new() };
        if let State::Holding { bytes, earlier } = std::mem::replace(&mut self.state, State::Between) {
            (whole.is_written, whole.earlier) = (false, earlier);
            let data = Data::Group { outline: Arc::clone(&self.outline), group, bytes };
            parts.write(Write { download: self.download, exchange: Some(exchange), data });
        }
        // A skipped group is verified too, by another fetch.
        self.whole.push_back(whole);
        self.group += 1;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{ContentHasher, GROUP_BYTES};
    use crate::driver::open_parts::OpenPart;
    use crate::name::FileName;
    use crate::part::{PartSpec, Target};
    use crate::store::{PartOpened, PartRequest};

    const DOWNLOAD: TransferId = TransferId(1);
    const EXCHANGE: ExchangeId = ExchangeId::Outbound(1);

    /// An empty open part file for this content.
    fn parts(content: &[u8], directory: &std::path::Path) -> OpenParts {
        let mut hasher = ContentHasher::default();
        hasher.update(content);
        let (b3, chain) = hasher.finish();
        let target = Target::Suggested { directory: directory.into(), name: FileName::from_bytes(b"a").unwrap() };
        let spec = PartSpec { target, token: 1, filesystem: None };
        let request = PartRequest { spec, b3: Some(b3), size: None, known: Default::default() };
        let PartOpened::Ready(mut part) = request.open().unwrap() else { panic!("nothing is there yet") };
        part.set_outline(Arc::new(Outline::new(b3, content.len() as u64, chain).unwrap())).unwrap();
        let mut parts = OpenParts::default();
        parts.files().insert(DOWNLOAD, OpenPart::new(part));
        parts
    }

    /// Does the work of the worker.
    fn write_all(parts: &mut OpenParts, checked: &mut Checked) {
        for write in parts.take_writes() {
            let file = parts.get(DOWNLOAD).unwrap().file();
            let mut written = write.run(&file);
            parts.on_written(&mut written);
            checked.on_written(written.group().unwrap(), written.outcome);
        }
    }

    /// Another fetch has brought a group.
    fn put(parts: &mut OpenParts, content: &[u8], group: u64) {
        let (outline, span) =
            (Arc::clone(parts.get(DOWNLOAD).unwrap().outline().unwrap()), group_span(content.len() as u64, group));
        let bytes = content[span.start as usize..span.end as usize].to_vec();
        parts.write(Write { download: DOWNLOAD, exchange: None, data: Data::Group { outline, group, bytes } });
        let file = parts.get(DOWNLOAD).unwrap().file();
        for write in parts.take_writes() {
            parts.on_written(&mut write.run(&file));
        }
    }

    fn held(parts: &OpenParts) -> u64 {
        parts.get(DOWNLOAD).unwrap().verified().held()
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
    fn reported(checked: &mut Checked, parts: &mut OpenParts) -> (Vec<u64>, Option<DialFault>) {
        write_all(parts, checked);
        let mut groups = Vec::new();
        loop {
            match checked.poll() {
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
        put(&mut parts, &content, 1);
        let mut checked = Checked::begin(EXCHANGE, &part(Portion::Whole), &parts).unwrap();
        for piece in content.chunks(300_001) {
            checked.take(piece, &mut parts);
        }
        assert_eq!(reported(&mut checked, &mut parts), (vec![0, 1, 2], None));
        assert!(checked.is_complete() && held(&parts) == 3);
    }

    #[test]
    fn a_wrong_byte_ends_the_fetch_and_only_the_other_groups_are_written() {
        let scratch = tempfile::tempdir().unwrap();
        let content = vec![5; 3 * GROUP_BYTES as usize];
        let mut parts = parts(&content, scratch.path());
        let mut wrong = content.clone();
        wrong[GROUP_BYTES as usize + 77] ^= 1;
        let mut checked = Checked::begin(EXCHANGE, &part(Portion::Groups(0..3)), &parts).unwrap();
        checked.take(&wrong, &mut parts);
        assert_eq!(reported(&mut checked, &mut parts), (vec![0, 2], Some(DialFault::Corrupt)));
        assert_eq!(held(&parts), 2);
    }

    #[test]
    fn a_trimmed_fetch_ends_after_the_group_that_had_begun() {
        let scratch = tempfile::tempdir().unwrap();
        let content = vec![6; 3 * GROUP_BYTES as usize];
        let mut parts = parts(&content, scratch.path());
        let mut checked = Checked::begin(EXCHANGE, &part(Portion::Groups(0..3)), &parts).unwrap();
        checked.take(&content[..10], &mut parts);
        checked.trim(0);
        assert!(!checked.is_complete());
        checked.take(&content[10..], &mut parts);
        assert!(checked.waits_for_disk(&parts) && !checked.is_complete(), "nothing more is received");
        assert_eq!(reported(&mut checked, &mut parts), (vec![0], None), "bytes after it are ignored");
        assert!(checked.is_complete());
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
            let mut checked = Checked::begin(EXCHANGE, &Part { from: peer(turn as u8), ..asked }, &parts).unwrap();
            checked.take(&content[at..at + bytes], &mut parts);
            assert_eq!(reported(&mut checked, &mut parts), (vec![], None));
            at += bytes;
            let left = partial(checked);
            assert_eq!((left.group, left.len()), (1, (at - group) as u64));
            begun = Some(left);
        }
        let asked = Part { begun: begun.map(Rc::new), ..part(Portion::Groups(1..3)) };
        let mut checked = Checked::begin(EXCHANGE, &asked, &parts).unwrap();
        checked.trim(1);
        checked.take(&content[at..], &mut parts);
        assert_eq!(reported(&mut checked, &mut parts), (vec![1], None));
        assert!(checked.is_complete(), "the group that was begun is completed, and no other");
        assert!(matches!(checked.into_remains(), Remains::Nothing));
    }

    #[test]
    fn a_mismatch_of_a_group_from_several_exchanges_names_all_senders() {
        let scratch = tempfile::tempdir().unwrap();
        let content = vec![5; 2 * GROUP_BYTES as usize];
        let mut parts = parts(&content, scratch.path());
        let mut liar =
            Checked::begin(EXCHANGE, &Part { from: peer(6), ..part(Portion::Groups(0..2)) }, &parts).unwrap();
        liar.take(&[4; 1000], &mut parts);
        let asked = Part { begun: Some(Rc::new(partial(liar))), ..part(Portion::Groups(0..2)) };
        let mut honest = Checked::begin(EXCHANGE, &asked, &parts).unwrap();
        honest.take(&content[1000..], &mut parts);
        assert_eq!(reported(&mut honest, &mut parts), (vec![1], Some(DialFault::CorruptParts)));
        match honest.into_remains() {
            Remains::Mismatch { download: DOWNLOAD, senders } => assert_eq!(senders, [peer(1), peer(6)].into()),
            other => panic!("{other:?}"),
        }
        assert_eq!(held(&parts), 1);
    }

    #[test]
    fn the_rest_of_a_group_that_was_verified_meanwhile_is_skipped() {
        let scratch = tempfile::tempdir().unwrap();
        let content = vec![8; 2 * GROUP_BYTES as usize];
        let mut parts = parts(&content, scratch.path());
        let mut first = Checked::begin(EXCHANGE, &part(Portion::Groups(0..1)), &parts).unwrap();
        first.take(&content[..77], &mut parts);
        put(&mut parts, &content, 0);
        let asked = Part { begun: Some(Rc::new(partial(first))), ..part(Portion::Groups(0..2)) };
        let mut second = Checked::begin(EXCHANGE, &asked, &parts).unwrap();
        second.take(&content[77..], &mut parts);
        assert_eq!(reported(&mut second, &mut parts), (vec![0, 1], None));
    }

    #[test]
    fn groups_are_reported_in_order_and_a_slow_disk_stops_the_receiving() {
        let scratch = tempfile::tempdir().unwrap();
        let content = vec![3; 4 * GROUP_BYTES as usize];
        let mut parts = parts(&content, scratch.path());
        put(&mut parts, &content, 1);
        let mut checked = Checked::begin(EXCHANGE, &part(Portion::Whole), &parts).unwrap();
        let group = GROUP_BYTES as usize;
        checked.take(&content[..2 * group], &mut parts);
        assert!(checked.is_writing() && !checked.waits_for_disk(&parts), "one is on its way, and one was there");
        assert!(matches!(checked.poll(), Ok(None)), "the second one is reported after the first");
        checked.take(&content[2 * group..3 * group], &mut parts);
        assert!(checked.waits_for_disk(&parts));
        assert_eq!(reported(&mut checked, &mut parts), (vec![0, 1, 2], None));
        assert!(!checked.waits_for_disk(&parts) && !checked.is_complete());
    }

    #[test]
    fn what_a_liar_sent_after_a_wrong_group_is_not_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let content = vec![5; 3 * GROUP_BYTES as usize];
        let mut parts = parts(&content, scratch.path());
        let mut checked = Checked::begin(EXCHANGE, &part(Portion::Groups(0..3)), &parts).unwrap();
        let mut wrong = content.clone();
        wrong[9] ^= 1;
        checked.take(&wrong[..2 * GROUP_BYTES as usize + 100], &mut parts);
        assert_eq!(reported(&mut checked, &mut parts), (vec![1], Some(DialFault::Corrupt)));
        assert!(matches!(checked.into_remains(), Remains::Nothing));
    }
}
