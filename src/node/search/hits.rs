//! The hits of searches and listings, by id, until newer ones need the room.
//!
//! Those of a listing that comes in the order of its names are in [`Listings`]; all else is for the others.
//!
//! In one search, a content is one row, whatever its names; for unknown contents each name is one row. A directory that it has
//! found files of is one too (`directories`).
//!
//! Each network has a share of the rows of a search ([`RowShares`]). Further rows of it are surplus, and are displaced by rows
//! of others ([`Surplus`]).
//!
//! The rows of one search or listing are a group. If the table is full, groups that no user has seen for a while lose rows,
//! the oldest group first; then the largest group, from its end, down to the size of the new one. So recent hits are not
//! displaced by what a peer sends now, and a list that is too long loses its own end.

mod directories;
mod surplus;

use super::hit::{Grouping, Hit, HitKey, NotTaken};
use super::listings::{HitRef, Listings};
use super::row_shares::{Backing, Holder, RowShares};
use crate::id::{ContentHash, HitId, SearchId};
use crate::node::answer::Answer;
use crate::node::limits::{HITS_BYTES_MAX, HITS_GROUP_BYTES_MAX, HITS_MAX, HITS_SEEN_SPAN, UNORDERED_FILES_MAX};
use crate::time::Instant;
use directories::FilesIn;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;
use surplus::Surplus;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// A row is new, or has a new source, name or hash.
    Changed {
        row: HitId,
        new: bool,
        /// The row without hash from which the source was removed.
        moved_from: Option<HitId>,
    },
    Known,
}

impl Taken {
    pub(super) fn rows(self) -> impl Iterator<Item = HitId> {
        let (row, moved_from) = match self {
            Self::Changed { row, moved_from, .. } => (Some(row), moved_from),
            Self::Known => (None, None),
        };
        moved_from.into_iter().chain(row)
    }
}

/// The rows of one search or listing, while there are any.
#[derive(Default)]
struct Group {
    rows: u64,
    bytes: usize,
    /// When it last grew or was shown.
    seen_at: Option<Instant>,
    /// Rows were displaced, or answers not taken.
    is_cut: bool,
    /// The shares of all rows that are not surplus.
    shares: RowShares,
    surplus: Surplus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowKind {
    /// It is in the shares of its holders.
    InShare,
    /// This holder has its share already.
    Surplus(Holder),
}

impl Group {
    fn rows_in_shares(&self) -> u64 {
        self.rows.saturating_sub(self.surplus.len())
    }

    /// The row displaced by a new one if there are as many as wanted.
    fn victim_for(&self, kind: RowKind) -> Result<HitId, NotTaken> {
        match kind {
            RowKind::InShare => self.surplus.last_of_most().ok_or(NotTaken::Enough),
            RowKind::Surplus(_) if self.surplus.len() == 0 => Err(NotTaken::Enough),
            RowKind::Surplus(holder) => self.surplus.last_of_one_with_more_than(holder).ok_or(NotTaken::OverShare),
        }
    }
}

/// All rows. The hash maps are never iterated.
#[derive(Default)]
pub(in crate::node) struct Hits {
    listings: Listings,
    rows: BTreeMap<HitId, Hit>,
    keys: HashMap<HitKey, HitId>,
    by_search: BTreeSet<(SearchId, HitId)>,
    by_content: BTreeSet<(ContentHash, HitId)>,
    files_in: FilesIn,
    groups: HashMap<SearchId, Group>,
    groups_by_bytes: BTreeSet<(usize, SearchId)>,
    groups_by_seen: BTreeSet<(Option<Instant>, SearchId)>,
    bytes: usize,
    given: u32,
    /// Rows of recently seen groups that were displaced, since the start.
    rows_cut: u64,
    /// Surplus rows displaced by others of their search, since the start.
    pub(super) surplus_cut: u64,
}

impl Hits {
    pub(in crate::node) fn get(&self, id: HitId) -> Option<Cow<'_, Hit>> {
        let listed = || self.listings.get(id)?.hit().map(Cow::Owned);
        self.rows.get(&id).map(Cow::Borrowed).or_else(listed)
    }

    pub(in crate::node) fn ids(&self) -> impl Iterator<Item = u32> {
        self.rows.keys().map(|id| id.0).chain(self.listings.ids())
    }

    pub(in crate::node) fn of_content(&self, b3: ContentHash) -> impl Iterator<Item = Cow<'_, Hit>> {
        let ids = self.by_content.range((b3, HitId(0))..=(b3, HitId(u32::MAX)));
        let hits = ids.filter_map(|(_, id)| self.rows.get(id)).map(Cow::Borrowed);
        hits.chain(self.listings.of_content(b3).filter_map(|listed| listed.hit().map(Cow::Owned)))
    }

    /// The hits after an id, of one search or of all.
    pub(in crate::node) fn after(&self, search: Option<SearchId>, after: HitId) -> impl Iterator<Item = HitRef<'_>> {
        let first = after.0.checked_add(1).map(HitId);
        let of_one = first.zip(search).map(|(first, search)| {
            let ids = self.by_search.range((search, first)..=(search, HitId(u32::MAX)));
            ids.filter_map(|(_, id)| self.rows.get_key_value(id))
        });
        let of_all = first.filter(|_| search.is_none()).map(|first| self.rows.range(first..));
        let mut hits = of_one.into_iter().flatten().chain(of_all.into_iter().flatten()).peekable();
        let mut listed = first.map(|first| self.listings.from(search, first)).into_iter().flatten().peekable();
        std::iter::from_fn(move || {
            let hit_is_next = match (hits.peek(), listed.peek()) {
                (Some((id, _)), Some(listed)) => **id < listed.id,
                (hit, _) => hit.is_some(),
            };
            match hit_is_next {
                true => hits.next().map(|(id, hit)| HitRef::Hit(*id, hit)),
                false => listed.next().map(HitRef::Listed),
            }
        })
    }

    pub(super) fn count(&self, search: SearchId) -> u64 {
        self.groups.get(&search).map_or(0, |group| group.rows) + self.listings.count(search)
    }

    /// The number of rows of a search that are not surplus.
    pub(super) fn count_in_shares(&self, search: SearchId) -> u64 {
        self.groups.get(&search).map_or(0, Group::rows_in_shares)
    }

    /// Whether a search or listing found more than its rows.
    pub(super) fn is_cut(&self, search: SearchId) -> bool {
        self.groups.get(&search).is_some_and(|group| group.is_cut) || self.listings.is_cut(search)
    }

    /// Whether a search has this many rows, counting one for each network.
    pub(super) fn are_enough(&self, search: SearchId, rows: u64) -> bool {
        self.groups.get(&search).map_or(rows == 0, |group| group.shares.are_enough(rows))
    }

    pub(super) fn note_seen(&mut self, now: Instant, search: SearchId) {
        self.change_group(search, |group| group.seen_at = Some(now));
        self.listings.note_seen(now, search);
    }

    /// Ends a search or listing. `is_cut`: it found more than its rows.
    pub(super) fn close(&mut self, search: SearchId, is_cut: bool) {
        self.listings.close(search, is_cut);
        self.change_group(search, |group| {
            group.is_cut |= is_cut;
            (group.shares, group.surplus) = Default::default();
        });
    }

    /// Rows of recently seen searches and listings that were displaced, since the start.
    pub(super) fn rows_cut(&self) -> u64 {
        self.rows_cut + self.listings.rows_cut
    }

    /// Takes a file of a list into a row.
    pub(super) fn take_listed(
        &mut self,
        now: Instant,
        search: SearchId,
        answer: &Answer,
        rows_max: u64,
    ) -> Result<(), NotTaken> {
        let id = self.given.checked_add(1).map(HitId).ok_or(NotTaken::NoRoom)?;
        match self.listings.take(now, search, answer, id, rows_max) {
            Some(Ok(())) => {
                self.given = id.0;
                return Ok(());
            }
            Some(Err(not_taken)) => return Err(not_taken),
            None => {}
        }
        let size = answer.file.attributes.and_then(|attributes| attributes.size);
        if self.listings.has(search, answer.file.name.as_bytes(), size) {
            return Ok(());
        }
        let rows_max = rows_max.min(UNORDERED_FILES_MAX as u64);
        self.take(now, search, Grouping::Name, answer.clone(), rows_max).map(drop)
    }

    /// Takes an answer into a row, or creates one.
    pub(super) fn take(
        &mut self,
        now: Instant,
        search: SearchId,
        grouping: Grouping,
        answer: Answer,
        rows_max: u64,
    ) -> Result<Taken, NotTaken> {
        self.take_hit(now, Hit::new(search, grouping, answer), rows_max)
    }

    /// The same with a hit that has one source.
    fn take_hit(&mut self, now: Instant, hit: Hit, rows_max: u64) -> Result<Taken, NotTaken> {
        let search = hit.search();
        let Some(source) = hit.sources().next() else { return Ok(Taken::Known) };
        let known = self.keys.get(&hit.key()).copied();
        // The source may have reported the same file before it knew the hash.
        let learnt = hit.b3().filter(|_| matches!(hit.key(), HitKey::Content { .. }));
        let named = learnt.and_then(|_| self.keys.get(&hit.name_key()).copied());
        let named = named.filter(|id| self.rows.get(id).is_some_and(|row| row.is_offered_by(source)));
        let taken = match (known, named, learnt) {
            (Some(id), ..) => self.grow(now, id, &hit, rows_max),
            (None, Some(id), Some(b3)) if self.rows.get(&id).is_some_and(Hit::is_only_source) => self.set_b3(id, b3),
            _ => self
                .insert(now, hit, rows_max)
                .inspect_err(|_| self.change_group(search, |group| group.is_cut = true))?,
        };
        match (taken, named) {
            (Taken::Changed { row, new, .. }, Some(id)) if self.leave(id, row, source) => {
                Ok(Taken::Changed { row, new, moved_from: Some(id) })
            }
            _ => Ok(taken),
        }
    }

    fn insert(&mut self, now: Instant, hit: Hit, rows_max: u64) -> Result<Taken, NotTaken> {
        let search = hit.search();
        let kind = self.kind_of(&hit, rows_max);
        let gives_way = match self.groups.get(&search) {
            Some(group) if group.rows >= rows_max => Some(group.victim_for(kind)?),
            _ => None,
        };
        let id = self.given.checked_add(1).map(HitId).ok_or(NotTaken::NoRoom)?;
        if !self.make_room(now, search, 1, hit.bytes()) {
            return Err(NotTaken::NoRoom);
        }
        if let Some(victim) = gives_way {
            self.surplus_cut += 1;
            self.forget_row(search, victim);
        }
        self.given = id.0;
        self.keys.insert(hit.key(), id);
        self.by_search.insert((search, id));
        self.by_content.extend(hit.b3().map(|b3| (b3, id)));
        self.files_in.add(&hit);
        self.bytes += hit.bytes();
        self.change_group(search, |group| {
            group.rows += 1;
            group.bytes += hit.bytes();
            group.seen_at = Some(now);
            match kind {
                RowKind::InShare => group.shares.add(hit.backings()),
                RowKind::Surplus(holder) => group.surplus.insert(id, holder),
            }
        });
        self.rows.insert(id, hit);
        Ok(Taken::Changed { row: id, new: true, moved_from: None })
    }

    /// Whether the offer of this answer is in the shares of its holders.
    fn kind_of(&self, hit: &Hit, rows_max: u64) -> RowKind {
        let Some(group) = self.groups.get(&hit.search()) else { return RowKind::InShare };
        let rows_left = rows_max.saturating_sub(group.rows_in_shares());
        let has_share = |backing: &Backing| {
            let has_room = group.shares.has_room_for(*backing, rows_max);
            rows_left > 0 && has_room && group.shares.may_take_one_of(rows_left, *backing, rows_max)
        };
        match hit.backings().find(|backing| !has_share(backing)) {
            None => RowKind::InShare,
            Some(backing) => RowKind::Surplus(backing.surplus_holder()),
        }
    }

    /// Changes a row, if `change` returns true, and updates the counts.
    fn change(&mut self, id: HitId, change: impl FnOnce(&mut Hit) -> bool) -> bool {
        let Some(mut hit) = self.rows.remove(&id) else { return false };
        let (before, backings) = (hit.bytes(), hit.backings().collect::<Vec<_>>());
        let directories: Vec<_> = hit.directories().map(|(source, path)| (source, Rc::clone(path))).collect();
        let changed = change(&mut hit);
        self.files_in.change(&hit, &directories);
        self.bytes = self.bytes - before + hit.bytes();
        self.change_group(hit.search(), |group| {
            group.bytes = group.bytes - before + hit.bytes();
            if !group.surplus.contains(id) {
                group.shares.remove(backings.into_iter());
                group.shares.add(hit.backings());
            }
        });
        self.rows.insert(id, hit);
        changed
    }

    fn grow(&mut self, now: Instant, id: HitId, other: &Hit, rows_max: u64) -> Taken {
        if !self.make_room(now, other.search(), 0, other.bytes()) {
            return Taken::Known;
        }
        let in_share = self.kind_of(other, rows_max) == RowKind::InShare;
        let changed = self.change(id, |hit| hit.add(other));
        // A row that another holder offers in its share is not surplus any more.
        if let Some(hit) = self.rows.get(&id).filter(|_| in_share) {
            let (search, backings) = (hit.search(), hit.backings().collect::<Vec<_>>());
            self.change_group(search, |group| {
                if group.surplus.remove(id) {
                    group.shares.add(backings.into_iter());
                }
            });
        }
        match changed {
            true => Taken::Changed { row: id, new: false, moved_from: None },
            false => Taken::Known,
        }
    }

    /// The only source of a name reports its hash: the row becomes one of the content.
    fn set_b3(&mut self, id: HitId, b3: ContentHash) -> Taken {
        let Some(hit) = self.rows.get_mut(&id) else { return Taken::Known };
        self.keys.remove(&hit.key());
        hit.set_b3(b3);
        self.keys.insert(hit.key(), id);
        self.by_content.insert((b3, id));
        Taken::Changed { row: id, new: false, moved_from: None }
    }

    /// Removes a source that is in `row` now from the row without hash, but not the last one, since users may have seen that row.
    /// Returns whether it was removed.
    fn leave(&mut self, named: HitId, row: HitId, source: SocketAddr) -> bool {
        named != row
            && !self.rows.get(&named).is_some_and(Hit::is_only_source)
            && self.change(named, |hit| {
                hit.remove_source(source);
                true
            })
    }

    /// Makes room for a group, at the cost of others: see the head of this module.
    fn make_room(&mut self, now: Instant, search: SearchId, rows: usize, bytes: usize) -> bool {
        let size = self.groups.get(&search).map_or(0, |group| group.bytes) + bytes;
        if size > HITS_GROUP_BYTES_MAX {
            return false;
        }
        while self.rows.len() + rows > HITS_MAX || self.bytes + bytes > HITS_BYTES_MAX {
            let of_others = |(_, other): &&(Option<Instant>, SearchId)| *other != search;
            let oldest = self.groups_by_seen.iter().find(of_others).copied();
            let unseen = oldest.filter(|(seen, _)| seen.is_none_or(|at| at + HITS_SEEN_SPAN <= now));
            let largest = self.groups_by_bytes.last().copied();
            let larger = largest.filter(|(other, id)| *id != search && *other > size);
            let Some(victim) = unseen.map(|(_, id)| id).or(larger.map(|(_, id)| id)) else { return false };
            if unseen.is_none() {
                self.rows_cut += 1;
            }
            self.forget_last_row(victim);
        }
        true
    }

    fn forget_last_row(&mut self, search: SearchId) {
        let last = self.by_search.range((search, HitId(0))..=(search, HitId(u32::MAX))).next_back();
        if let Some((_, id)) = last.copied() {
            self.forget_row(search, id);
        }
    }

    fn forget_row(&mut self, search: SearchId, id: HitId) {
        let Some(hit) = self.rows.remove(&id) else { return };
        self.bytes -= hit.bytes();
        self.files_in.remove(&hit);
        self.keys.remove(&hit.key());
        self.by_search.remove(&(search, id));
        if let Some(b3) = hit.b3() {
            self.by_content.remove(&(b3, id));
        }
        self.change_group(search, |group| {
            group.rows -= 1;
            group.bytes -= hit.bytes();
            group.is_cut = true;
            if !group.surplus.remove(id) {
                group.shares.remove(hit.backings());
            }
        });
    }

    /// Changes a group, and updates its places in the orders. Creates it if needed, and removes it without rows.
    fn change_group(&mut self, search: SearchId, change: impl FnOnce(&mut Group)) {
        let mut group = self.groups.remove(&search).unwrap_or_default();
        self.groups_by_bytes.remove(&(group.bytes, search));
        self.groups_by_seen.remove(&(group.seen_at, search));
        change(&mut group);
        if group.rows > 0 {
            self.groups_by_bytes.insert((group.bytes, search));
            self.groups_by_seen.insert((group.seen_at, search));
            self.groups.insert(search, group);
        }
    }

    pub(super) fn check_invariants(&self) {
        self.listings.check_invariants();
        assert!(self.rows.len() <= HITS_MAX && self.bytes <= HITS_BYTES_MAX, "the hits are bounded");
        assert_eq!(self.rows.len(), self.keys.len(), "each hit has one key");
        assert_eq!(self.rows.len(), self.by_search.len(), "each hit belongs to one search");
        assert!(self.by_content.len() <= self.rows.len(), "a hit has one content at most");
        let places = (self.groups_by_bytes.len(), self.groups_by_seen.len());
        assert_eq!(places, (self.groups.len(), self.groups.len()), "each group has its place in the orders");
        let bytes: usize = self.groups_by_bytes.iter().map(|(bytes, _)| bytes).sum();
        assert_eq!(bytes, self.bytes, "each row counts in its group");
    }
}

#[cfg(test)]
mod tests;
