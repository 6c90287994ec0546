//! The table of directories.

use super::given::GivenManifests;
use super::searching::MemberSearches;
use super::state::{Directory, Stage};
use super::tally::Tally;
use crate::control::DownloadState;
use crate::id::{ContentHash, TransferId};
use crate::name::FileName;
use crate::node::download::state::{Life, Recorded};
use crate::node::download::table::Downloads;
use crate::node::limits::DIRECTORIES_MAX;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Bound;
use std::path::Path;

#[derive(Default)]
pub(in crate::node::download) struct Directories {
    rows: BTreeMap<TransferId, Directory>,
    /// Those to be looked at before the event is over.
    dirty: BTreeSet<TransferId>,
    /// Those whose members are being made or released, in slices.
    pub(super) at_work: BTreeSet<TransferId>,
    pub(super) searches: MemberSearches,
    pub(super) given: GivenManifests,
}

impl Directories {
    pub(super) fn get(&self, id: TransferId) -> Option<&Directory> {
        self.rows.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: TransferId) -> Option<&mut Directory> {
        self.rows.get_mut(&id)
    }

    pub(in crate::node::download) fn contains(&self, id: TransferId) -> bool {
        self.rows.contains_key(&id)
    }

    pub(in crate::node::download) fn iter(&self) -> impl Iterator<Item = (TransferId, &Directory)> {
        self.rows.iter().map(|(id, row)| (*id, row))
    }

    /// All, those after an id first.
    pub(super) fn iter_from(&self, after: TransferId) -> impl Iterator<Item = (TransferId, &Directory)> {
        let behind = self.rows.range((Bound::Excluded(after), Bound::Unbounded));
        behind.chain(self.rows.range(..=after)).map(|(id, row)| (*id, row))
    }

    /// The manifests that links name or that users have given, but for directories that were cancelled.
    pub(in crate::node::download) fn wanted(&self) -> impl Iterator<Item = ContentHash> {
        let rows = self.rows.values().filter(|row| !matches!(row.stage(), Stage::Cancelled(_)));
        rows.filter_map(|row| row.wanted)
    }

    pub(in crate::node::download) fn recorded(&self, id: TransferId) -> Option<&Recorded> {
        Some(&self.rows.get(&id)?.recorded)
    }

    pub(in crate::node::download) fn recorded_mut(&mut self, id: TransferId) -> Option<&mut Recorded> {
        Some(&mut self.rows.get_mut(&id)?.recorded)
    }

    pub(in crate::node::download) fn state(&self, id: TransferId) -> Option<DownloadState> {
        Some(self.rows.get(&id)?.state())
    }

    pub(in crate::node::download) fn is_over(&self, id: TransferId) -> bool {
        self.rows.get(&id).is_none_or(Directory::is_over)
    }

    pub(super) fn insert(&mut self, id: TransferId, directory: Directory) {
        self.rows.insert(id, directory);
        self.mark_dirty(id);
    }

    pub(super) fn remove(&mut self, id: TransferId) -> Option<Directory> {
        self.dirty.remove(&id);
        self.at_work.remove(&id);
        self.rows.remove(&id)
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= DIRECTORIES_MAX
    }

    /// The unfinished one that is the same.
    ///
    /// `wanted`: its name, its peer, and the hash of the manifest that a link names or that the user has given: with that it is the
    /// same whoever has it. `others`: the further peers that have what a search has found, of which another may have been the first.
    pub(super) fn same(
        &self,
        wanted: (&FileName, Option<SocketAddr>, Option<ContentHash>),
        others: &[SocketAddr],
        base: &Path,
    ) -> Option<TransferId> {
        let (name, peer, manifest) = wanted;
        let is_same = |row: &Directory| {
            let are_same =
                |ours: SocketAddr, theirs: SocketAddr| row.others.contains(&theirs) && others.contains(&ours);
            let is_of_peers = row.peer.zip(peer).is_some_and(|(ours, theirs)| are_same(ours, theirs));
            let is_of_peer = row.peer == peer || is_of_peers || manifest.is_some();
            row.name == *name && is_of_peer && row.wanted == manifest && row.base == base && !row.is_over()
        };
        self.rows.iter().find(|(_, row)| is_same(row)).map(|(id, _)| *id)
    }

    pub(in crate::node::download) fn mark_dirty(&mut self, id: TransferId) {
        self.dirty.insert(id);
    }

    pub(in crate::node::download) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(super) fn next_dirty(&mut self) -> Option<TransferId> {
        self.dirty.pop_first()
    }

    pub(in crate::node::download) fn has_work(&self) -> bool {
        !self.at_work.is_empty()
    }

    /// Has trees offered to members, if there is any to be offered.
    pub(super) fn resume_offers(&mut self, id: TransferId) {
        if self.get(id).is_some_and(|row| row.has_members_fetched() && row.trees.may_offer()) {
            self.at_work.insert(id);
        }
    }

    /// A member does something else than before.
    pub(super) fn on_member_life(&mut self, id: TransferId, member: TransferId, (old, new): (&Life, &Life)) {
        let Some(directory) = self.rows.get_mut(&id) else { return };
        match new.is_waiting() {
            true => directory.awaiting.insert(member),
            false => directory.awaiting.remove(&member),
        };
        directory.tally.remove(&Tally::of(old));
        directory.tally.add(&Tally::of(new));
        self.mark_dirty(id);
    }

    pub(in crate::node::download) fn check_invariants(&self, downloads: &Downloads) {
        assert!(self.rows.len() <= DIRECTORIES_MAX, "the directories are bounded");
        let mut members = 0;
        for (id, directory) in &self.rows {
            let (mut tally, mut awaiting) = (Tally::default(), BTreeSet::new());
            for member in directory.members.values() {
                let row = downloads.get(*member).filter(|row| row.directory == Some(*id));
                assert!(row.is_some(), "{member:?} is a file of {id:?}");
                row.into_iter().for_each(|row| tally.add(&Tally::of(row.life())));
                awaiting.extend(row.filter(|row| row.life().is_waiting()).map(|_| *member));
            }
            assert_eq!(tally, directory.tally, "{id:?} counts what its files do");
            assert_eq!(awaiting, directory.awaiting, "{id:?} knows which of its files wait");
            members += directory.members.len();
        }
        let marked = downloads.iter().filter(|(_, row)| row.directory.is_some()).count();
        assert_eq!(members, marked, "each file of a directory is known to it");
        assert!(self.dirty.is_empty(), "what is to be done for directories is done before the event is over");
        assert!(self.at_work.iter().all(|id| self.rows.contains_key(id)), "what is at work is there");
    }
}
