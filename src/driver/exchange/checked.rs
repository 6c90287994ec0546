//! A fetch whose bytes are checked group by group before they touch the part file.
//!
//! The group that is coming in is held in memory, 1 MiB at most. So nothing unverified is ever written, two fetches of the
//! same group do not disturb each other, and what is lost with the process is what was in flight.

use super::Parts;
use crate::content::{GroupHasher, Outline, group_span};
use crate::fault::DialFault;
use crate::id::{ExchangeId, TransferId};
use crate::node::Event;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// The groups of one fetch.
pub(super) struct Checked {
    download: TransferId,
    outline: Arc<Outline>,
    /// The group that is coming in.
    group: u64,
    /// The first group that is not to come.
    end: u64,
    state: State,
    /// Groups that came in whole and right, to be told.
    verified: VecDeque<u64>,
    /// What ends the fetch once everything before it is told.
    fault: Option<DialFault>,
}

/// What is done with the group that is coming in.
enum State {
    /// Not a byte of it is here.
    Between,
    /// Held and hashed.
    Holding { bytes: Vec<u8>, hasher: Box<GroupHasher> },
    /// The part file has it already: counted.
    Passing { bytes: u64 },
}

impl Checked {
    /// Begins with the first of these groups; all of the outline's if `None`.
    pub(super) fn begin(
        download: TransferId,
        groups: Option<&Range<u64>>,
        parts: &mut Parts,
    ) -> Result<Self, DialFault> {
        let part = parts.get_mut(&download).ok_or(DialFault::Aborted)?;
        let outline = Arc::clone(part.outline().ok_or(DialFault::Aborted)?);
        let count = outline.group_count();
        let groups = groups.cloned().unwrap_or(0..count);
        let end = groups.end.min(count);
        let (state, verified) = (State::Between, VecDeque::new());
        Ok(Self { download, outline, group: groups.start.min(end), end, state, verified, fault: None })
    }

    /// Lets the fetch end before a group, unless that one is coming in already.
    pub(super) fn trim(&mut self, groups_end: u64) {
        let begun = u64::from(!matches!(self.state, State::Between));
        self.end = self.end.min(groups_end.max(self.group + begun));
    }

    /// Whether everything asked for has come.
    pub(super) fn is_complete(&self) -> bool {
        self.group >= self.end
    }

    /// Takes bytes. A fault is told by [`Checked::poll`], behind the groups that came before it.
    pub(super) fn take(&mut self, mut bytes: &[u8], parts: &mut Parts) {
        while !bytes.is_empty() && self.fault.is_none() && !self.is_complete() {
            match self.take_of_group(bytes, parts) {
                Ok(taken) => bytes = &bytes[taken..],
                Err(fault) => self.fault = Some(fault),
            }
        }
    }

    /// The next group to tell of, or the fault behind the last one.
    pub(super) fn poll(&mut self, exchange: ExchangeId) -> Result<Option<Event>, DialFault> {
        match (self.verified.pop_front(), self.fault) {
            (Some(group), _) => Ok(Some(Event::GroupVerified { exchange, group })),
            (None, Some(fault)) => Err(fault),
            (None, None) => Ok(None),
        }
    }

    /// Takes what belongs to the present group, and says how much that was.
    fn take_of_group(&mut self, bytes: &[u8], parts: &mut Parts) -> Result<usize, DialFault> {
        let part = parts.get_mut(&self.download).ok_or(DialFault::Aborted)?;
        let span = group_span(self.outline.size(), self.group);
        let len = span.end - span.start;
        if matches!(self.state, State::Between) {
            self.state = if part.verified().contains(self.group) {
                State::Passing { bytes: 0 }
            } else {
                State::Holding {
                    bytes: Vec::new(),
                    hasher: Box::new(GroupHasher::new(self.outline.size(), self.group)),
                }
            };
        }
        let held = match &self.state {
            State::Between => 0,
            State::Holding { bytes, .. } => bytes.len() as u64,
            State::Passing { bytes } => *bytes,
        };
        let taken = bytes.len().min(usize::try_from(len - held).unwrap_or(usize::MAX));
        match &mut self.state {
            State::Between => {}
            State::Holding { bytes: held, hasher } => {
                held.extend_from_slice(&bytes[..taken]);
                hasher.update(&bytes[..taken]);
            }
            State::Passing { bytes } => *bytes += taken as u64,
        }
        if held + (taken as u64) < len {
            return Ok(taken);
        }
        if let State::Holding { bytes, hasher } = std::mem::replace(&mut self.state, State::Between) {
            if self.outline.expected(self.group) != Some(hasher.finish()) {
                return Err(DialFault::Corrupt);
            }
            part.write_group(self.group, &bytes)?;
        }
        // One that was passed over is verified as well, by whoever brought it.
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
    use crate::store::{PartOpened, PartPlace, PartRequest};

    const DOWNLOAD: TransferId = TransferId(1);
    const EXCHANGE: ExchangeId = ExchangeId::Outbound(1);

    /// An open part file of these bytes, nothing of which is there yet.
    fn parts(content: &[u8], directory: &std::path::Path) -> Parts {
        let mut hasher = ContentHasher::default();
        hasher.update(content);
        let (b3, chain) = hasher.finish();
        let place = PartPlace::Suggested { directory: directory.into(), name: FileName::from_bytes(b"a").unwrap() };
        let PartOpened::Ready(mut part) =
            PartRequest { place, token: 1, b3: Some(b3), size: None, filesystem: None }.open().unwrap()
        else {
            panic!("nothing is there yet")
        };
        part.set_outline(Arc::new(Outline::new(b3, content.len() as u64, chain).unwrap())).unwrap();
        Parts::from([(DOWNLOAD, part)])
    }

    /// The groups that are told, and the fault behind them.
    fn told(checked: &mut Checked) -> (Vec<u64>, Option<DialFault>) {
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
    fn groups_are_told_whether_this_fetch_or_another_brought_them() {
        let scratch = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..2 * GROUP_BYTES + 9).map(|at| (at % 253) as u8).collect();
        let mut parts = parts(&content, scratch.path());
        let group = GROUP_BYTES as usize;
        parts.get_mut(&DOWNLOAD).unwrap().write_group(1, &content[group..2 * group]).unwrap();
        let mut checked = Checked::begin(DOWNLOAD, None, &mut parts).unwrap();
        for piece in content.chunks(300_001) {
            checked.take(piece, &mut parts);
        }
        assert!(checked.is_complete() && parts[&DOWNLOAD].verified().is_full());
        assert_eq!(told(&mut checked), (vec![0, 1, 2], None));
    }

    #[test]
    fn a_wrong_byte_ends_the_fetch_behind_what_came_before_it_and_is_not_written() {
        let scratch = tempfile::tempdir().unwrap();
        let content = vec![5; 3 * GROUP_BYTES as usize];
        let mut parts = parts(&content, scratch.path());
        let mut wrong = content.clone();
        wrong[GROUP_BYTES as usize + 77] ^= 1;
        let mut checked = Checked::begin(DOWNLOAD, Some(&(0..3)), &mut parts).unwrap();
        checked.take(&wrong, &mut parts);
        assert_eq!(told(&mut checked), (vec![0], Some(DialFault::Corrupt)));
        assert_eq!(parts[&DOWNLOAD].verified().held(), 1);
    }

    #[test]
    fn a_fetch_that_is_cut_short_ends_behind_the_group_that_had_begun() {
        let scratch = tempfile::tempdir().unwrap();
        let content = vec![6; 3 * GROUP_BYTES as usize];
        let mut parts = parts(&content, scratch.path());
        let mut checked = Checked::begin(DOWNLOAD, Some(&(0..3)), &mut parts).unwrap();
        checked.take(&content[..10], &mut parts);
        checked.trim(0);
        assert!(!checked.is_complete());
        checked.take(&content[10..], &mut parts);
        assert!(checked.is_complete());
        assert_eq!(told(&mut checked), (vec![0], None), "what comes beyond is not taken");
    }
}
