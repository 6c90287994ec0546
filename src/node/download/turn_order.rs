//! The queue: which downloads wait for their turn, and in which order.
//!
//! A new download is behind all others. One that is moved gets another place, which is remembered.

use super::state::Download;
use crate::id::TransferId;
use std::collections::{BTreeMap, BTreeSet};

/// How often a download has stood back for others, the least of these being next; its place, which is that of its beginning
/// unless it was moved; and its id.
pub(super) type QueueKey = (u32, i64, TransferId);

#[derive(Default)]
pub(super) struct TurnOrder {
    /// The next first.
    keys: BTreeSet<QueueKey>,
    /// The highest place that a download has had.
    last_place: i64,
}

impl Download {
    pub(super) fn queue_key(&self, id: TransferId) -> QueueKey {
        (self.stood_back, self.place, id)
    }
}

impl TurnOrder {
    /// A download has this place.
    pub(super) fn note_place(&mut self, place: i64) {
        self.last_place = self.last_place.max(place);
    }

    /// The place behind all others.
    pub(super) fn place_behind(&self) -> i64 {
        self.last_place.saturating_add(1)
    }

    pub(super) fn insert(&mut self, key: QueueKey) {
        self.note_place(key.1);
        self.keys.insert(key);
    }

    pub(super) fn remove(&mut self, key: &QueueKey) -> bool {
        self.keys.remove(key)
    }

    pub(super) fn contains(&self, key: &QueueKey) -> bool {
        self.keys.contains(key)
    }

    /// The next first.
    pub(super) fn keys(&self) -> impl DoubleEndedIterator<Item = QueueKey> {
        self.keys.iter().copied()
    }

    /// The place in the queue of each download there, from 1.
    pub(super) fn places(&self) -> BTreeMap<TransferId, u64> {
        self.keys.iter().map(|(.., id)| *id).zip(1..).collect()
    }
}
