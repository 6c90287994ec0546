//! Rows of a search beyond the share of their senders. They are displaced by rows of others.

use crate::id::HitId;
use crate::node::search::row_shares::Holder;
use std::collections::{BTreeMap, BTreeSet};

/// The surplus rows of one search, by their first senders.
#[derive(Debug, Default)]
pub(super) struct Surplus {
    holders: BTreeMap<HitId, Holder>,
    rows: BTreeMap<Holder, BTreeSet<HitId>>,
}

impl Surplus {
    pub(super) fn len(&self) -> u64 {
        self.holders.len() as u64
    }

    pub(super) fn contains(&self, row: HitId) -> bool {
        self.holders.contains_key(&row)
    }

    pub(super) fn insert(&mut self, row: HitId, holder: Holder) {
        self.holders.insert(row, holder);
        self.rows.entry(holder).or_default().insert(row);
    }

    /// The row is removed, or in a share now. Returns whether it was surplus.
    pub(super) fn remove(&mut self, row: HitId) -> bool {
        let Some(holder) = self.holders.remove(&row) else { return false };
        if let Some(rows) = self.rows.get_mut(&holder) {
            rows.remove(&row);
            if rows.is_empty() {
                self.rows.remove(&holder);
            }
        }
        true
    }

    /// The row displaced by one in a share: the last of the holder that has most.
    pub(super) fn last_of_most(&self) -> Option<HitId> {
        self.largest().and_then(|(_, rows)| rows.last()).copied()
    }

    /// The row displaced by a surplus row of `holder`: that of a holder that still has more afterwards.
    pub(super) fn last_of_one_with_more_than(&self, holder: Holder) -> Option<HitId> {
        let held = self.rows.get(&holder).map_or(0, BTreeSet::len);
        self.largest().filter(|(_, rows)| rows.len() > held + 1).and_then(|(_, rows)| rows.last()).copied()
    }

    fn largest(&self) -> Option<(&Holder, &BTreeSet<HitId>)> {
        self.rows.iter().max_by_key(|(_, rows)| rows.len())
    }
}
