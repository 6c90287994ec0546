//! The hits remembered: what searches and listings found, by id, until newer ones need the room.
//!
//! What the same search found of one content is one row, whatever its sources call it; of an unknown content, one row a
//! name. Refuses to take a name for a content.
//!
//! Each network has a share of the rows of a search ([`RowShares`]). What it sends beyond that fills rows that nobody else
//! needs, and gives them back when others come ([`Surplus`]).
//!
//! The rows of one search or listing are a group. Where the table is full, groups give way that nobody has seen for a
//! while, the oldest first; then the largest one, from its end, until the newcomer is as large. So what was found a moment
//! ago is not displaced by what a peer sends now, and a list that is too long loses its own end.

mod surplus;

use super::hit::{Grouping, Hit, HitKey};
use super::row_shares::{Backing, Holder, RowShares};
use crate::id::{ContentHash, HitId, SearchId};
use crate::node::answer::Answer;
use crate::node::limits::{HITS_BYTES_MAX, HITS_GROUP_BYTES_MAX, HITS_MAX, HITS_SEEN_SPAN};
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use surplus::Surplus;

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// A new row, or one that has a further source, a further name, or its hash now.
    Changed {
        row: HitId,
        new: bool,
        /// The row of a mere name that the source stood in before, and does not any more.
        left: Option<HitId>,
    },
    /// Nothing new.
    Known,
}

impl Taken {
    /// The rows that are others now.
    pub(super) fn rows(self) -> impl Iterator<Item = HitId> {
        let (row, left) = match self {
            Self::Changed { row, left, .. } => (Some(row), left),
            Self::Known => (None, None),
        };
        left.into_iter().chain(row)
    }
}

/// Why an answer was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// The search has as many rows as were asked for.
    Enough,
    /// Whoever sent it has its share of the rows, and others need the rest.
    OverShare,
    /// There is no room in the table.
    NoRoom,
}

/// The rows of one search or listing. There is one while it has rows.
#[derive(Default)]
struct Group {
    rows: u64,
    bytes: usize,
    /// When it last grew or was shown.
    seen_at: Option<Instant>,
    /// Some of its rows gave way, or answers were not taken.
    is_cut: bool,
    /// What each has of the rows, apart from those in surplus.
    shares: RowShares,
    surplus: Surplus,
}

/// How a row stands to the shares of its search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rank {
    /// It counts in the share of whoever stands behind it.
    InShare,
    /// Whoever stands behind it has its share.
    Surplus(Holder),
}

impl Group {
    fn rows_in_shares(&self) -> u64 {
        self.rows.saturating_sub(self.surplus.len())
    }

    /// The row that gives way to a new one where there are as many as were asked for.
    fn victim_for(&self, rank: Rank) -> Result<HitId, NotTaken> {
        match rank {
            Rank::InShare => self.surplus.last_of_most().ok_or(NotTaken::Enough),
            Rank::Surplus(_) if self.surplus.len() == 0 => Err(NotTaken::Enough),
            Rank::Surplus(holder) => self.surplus.last_of_one_with_more_than(holder).ok_or(NotTaken::OverShare),
        }
    }
}

/// All rows. The maps of keys and groups are only ever asked for one.
#[derive(Default)]
pub(in crate::node) struct Hits {
    rows: BTreeMap<HitId, Hit>,
    keys: HashMap<HitKey, HitId>,
    by_search: BTreeSet<(SearchId, HitId)>,
    by_content: BTreeSet<(ContentHash, HitId)>,
    groups: HashMap<SearchId, Group>,
    groups_by_bytes: BTreeSet<(usize, SearchId)>,
    groups_by_seen: BTreeSet<(Option<Instant>, SearchId)>,
    bytes: usize,
    given: u32,
    /// Rows of groups that were seen lately which gave way, since the start.
    pub(super) rows_cut: u64,
    /// Surplus rows that gave way to others of their search, since the start.
    pub(super) surplus_cut: u64,
}

impl Hits {
    pub(in crate::node) fn get(&self, id: HitId) -> Option<&Hit> {
        self.rows.get(&id)
    }

    /// All ids, ascending.
    pub(in crate::node) fn ids(&self) -> impl Iterator<Item = u32> {
        self.rows.keys().map(|id| id.0)
    }

    /// The hits of a content, by id.
    pub(in crate::node) fn of_content(&self, b3: ContentHash) -> impl Iterator<Item = &Hit> {
        let ids = self.by_content.range((b3, HitId(0))..=(b3, HitId(u32::MAX)));
        ids.filter_map(|(_, id)| self.rows.get(id))
    }

    /// The hits after an id: of one search, or all.
    pub(in crate::node) fn after(
        &self,
        search: Option<SearchId>,
        after: HitId,
    ) -> Box<dyn Iterator<Item = (HitId, &Hit)> + '_> {
        let Some(first) = after.0.checked_add(1).map(HitId) else { return Box::new(std::iter::empty()) };
        match search {
            None => Box::new(self.rows.range(first..).map(|(id, hit)| (*id, hit))),
            Some(search) => {
                let ids = self.by_search.range((search, first)..=(search, HitId(u32::MAX)));
                Box::new(ids.filter_map(|(_, id)| Some((*id, self.rows.get(id)?))))
            }
        }
    }

    /// The number of rows of a search or listing.
    pub(super) fn count(&self, search: SearchId) -> u64 {
        self.groups.get(&search).map_or(0, |group| group.rows)
    }

    /// The number of rows of a search that are in the share of whoever sent them.
    pub(super) fn count_in_shares(&self, search: SearchId) -> u64 {
        self.groups.get(&search).map_or(0, Group::rows_in_shares)
    }

    /// Whether a search or listing found more than is remembered of it.
    pub(super) fn is_cut(&self, search: SearchId) -> bool {
        self.groups.get(&search).is_some_and(|group| group.is_cut)
    }

    /// Whether a search has so many rows, if one is counted of each network.
    pub(super) fn are_enough(&self, search: SearchId, rows: u64) -> bool {
        self.groups.get(&search).map_or(rows == 0, |group| group.shares.are_enough(rows))
    }

    /// Rows of a search or listing were shown to a user.
    pub(super) fn note_seen(&mut self, now: Instant, search: SearchId) {
        self.change_group(search, |group| group.seen_at = Some(now));
    }

    /// No more answers are taken for a search or listing; `is_cut`: there were more than are remembered.
    pub(super) fn close(&mut self, search: SearchId, is_cut: bool) {
        self.change_group(search, |group| {
            group.is_cut |= is_cut;
            (group.shares, group.surplus) = Default::default();
        });
    }

    /// Takes an answer, if it belongs to a row or another may be made for it.
    pub(super) fn take(
        &mut self,
        now: Instant,
        search: SearchId,
        grouping: Grouping,
        answer: Answer,
        rows_max: u64,
    ) -> Result<Taken, NotTaken> {
        let taken = self.take_in(now, search, grouping, answer, rows_max);
        if taken.is_err() {
            self.change_group(search, |group| group.is_cut = true);
        }
        taken
    }

    fn take_in(
        &mut self,
        now: Instant,
        search: SearchId,
        grouping: Grouping,
        answer: Answer,
        rows_max: u64,
    ) -> Result<Taken, NotTaken> {
        let source = answer.responder;
        let hit = Hit::new(search, grouping, answer);
        let known = self.keys.get(&hit.key()).copied();
        // The same file may have come before its sender knew the hash.
        let learnt = hit.b3().filter(|_| grouping == Grouping::Content);
        let named = learnt.and_then(|_| self.keys.get(&hit.name_key()).copied());
        let named = named.filter(|id| self.rows.get(id).is_some_and(|row| row.is_offered_by(source)));
        let taken = match (known, named, learnt) {
            (Some(id), ..) => self.grow(now, id, &hit, rows_max),
            (None, Some(id), Some(b3)) if self.rows.get(&id).is_some_and(Hit::is_only_source) => self.set_b3(id, b3),
            _ => self.insert(now, hit, rows_max)?,
        };
        match (taken, named) {
            (Taken::Changed { row, new, .. }, Some(id)) if self.leave(id, row, source) => {
                Ok(Taken::Changed { row, new, left: Some(id) })
            }
            _ => Ok(taken),
        }
    }

    fn insert(&mut self, now: Instant, hit: Hit, rows_max: u64) -> Result<Taken, NotTaken> {
        let search = hit.search();
        let rank = self.rank_of(&hit, rows_max);
        let gives_way = match self.groups.get(&search) {
            Some(group) if group.rows >= rows_max => Some(group.victim_for(rank)?),
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
        self.bytes += hit.bytes();
        self.change_group(search, |group| {
            group.rows += 1;
            group.bytes += hit.bytes();
            group.seen_at = Some(now);
            match rank {
                Rank::InShare => group.shares.add(hit.backings()),
                Rank::Surplus(holder) => group.surplus.insert(id, holder),
            }
        });
        self.rows.insert(id, hit);
        Ok(Taken::Changed { row: id, new: true, left: None })
    }

    /// Whether a row with the offer of this answer is in the share of whoever stands behind it.
    fn rank_of(&self, hit: &Hit, rows_max: u64) -> Rank {
        let Some(group) = self.groups.get(&hit.search()) else { return Rank::InShare };
        let rows_left = rows_max.saturating_sub(group.rows_in_shares());
        let has_share = |backing: &Backing| {
            let has_room = group.shares.has_room_for(*backing, rows_max);
            rows_left > 0 && has_room && group.shares.may_take_one_of(rows_left, *backing, rows_max)
        };
        match hit.backings().find(|backing| !has_share(backing)) {
            None => Rank::InShare,
            Some(backing) => Rank::Surplus(backing.surplus_holder()),
        }
    }

    /// Changes a row through `change`, which says whether it did; keeps the counts true.
    fn change(&mut self, id: HitId, change: impl FnOnce(&mut Hit) -> bool) -> bool {
        let Some(mut hit) = self.rows.remove(&id) else { return false };
        let (before, backings) = (hit.bytes(), hit.backings().collect::<Vec<_>>());
        let changed = change(&mut hit);
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
        let in_share = self.rank_of(other, rows_max) == Rank::InShare;
        let changed = self.change(id, |hit| hit.add(other));
        // What somebody else offers in its own share is no surplus any more.
        if let Some(hit) = self.rows.get(&id).filter(|_| in_share) {
            let (search, backings) = (hit.search(), hit.backings().collect::<Vec<_>>());
            self.change_group(search, |group| {
                if group.surplus.remove(id) {
                    group.shares.add(backings.into_iter());
                }
            });
        }
        match changed {
            true => Taken::Changed { row: id, new: false, left: None },
            false => Taken::Known,
        }
    }

    /// The only source of a name has found out its hash: the row goes on under the content.
    fn set_b3(&mut self, id: HitId, b3: ContentHash) -> Taken {
        let Some(hit) = self.rows.get_mut(&id) else { return Taken::Known };
        self.keys.remove(&hit.key());
        hit.set_b3(b3);
        self.keys.insert(hit.key(), id);
        self.by_content.insert((b3, id));
        Taken::Changed { row: id, new: false, left: None }
    }

    /// Takes a source that stands in `row` now out of the row of its mere name. A row without any source would be of no
    /// use, but users may have seen its id: it keeps its last one. Says whether the source has left.
    fn leave(&mut self, named: HitId, row: HitId, source: SocketAddr) -> bool {
        named != row
            && !self.rows.get(&named).is_some_and(Hit::is_only_source)
            && self.change(named, |hit| {
                hit.remove_source(source);
                true
            })
    }

    /// Makes room for more of a group, at the cost of others: see the head of this module.
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

    /// The one place where a group changes: makes it, removes it when it has no row, and keeps its places in the orders.
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
