//! What is remembered of our searches and listings beside their hits, until newer ones need the room: what was asked for, and
//! what filters have dropped.

use super::SearchMachine;
use crate::control::{Problem, RawText, SearchRow, WholeNames};
use crate::id::SearchId;
use crate::library::{FILTERS_MAX, FilterFault, Query, Reach, size_without_unit, types};
use crate::node::answer::Answer;
use crate::node::cx::Cx;
use crate::node::limits::{FILTERED_COUNTED_MAX, SEARCHES_REMEMBERED_MAX};
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// What was asked for.
pub(super) enum Wanted {
    Text(RawText),
    ListOf(SocketAddr),
}

struct Record {
    wanted: Wanted,
    begun_at: Instant,
    /// Hashes of peer and name: each ring finds the same again, and names may be long. [`FILTERED_COUNTED_MAX`] at most.
    filtered: BTreeSet<u64>,
}

#[derive(Default)]
pub(super) struct Remembered {
    rows: BTreeMap<SearchId, Record>,
}

impl Remembered {
    pub(super) fn insert(&mut self, now: Instant, id: SearchId, wanted: Wanted) {
        if self.rows.len() >= SEARCHES_REMEMBERED_MAX {
            self.rows.pop_first();
        }
        self.rows.insert(id, Record { wanted, begun_at: now, filtered: BTreeSet::new() });
    }

    pub(super) fn has(&self, id: SearchId) -> bool {
        self.rows.contains_key(&id)
    }

    /// The filters of a search have dropped a hit.
    pub(super) fn note_filtered(&mut self, id: SearchId, hit: Answer) {
        let Some(record) = self.rows.get_mut(&id) else { return };
        if record.filtered.len() < FILTERED_COUNTED_MAX {
            let mut hasher = blake3::Hasher::new();
            hasher.update(hit.responder.to_string().as_bytes()).update(b"\n").update(hit.file.name.as_bytes());
            let hash = hasher.finalize();
            record.filtered.extend(hash.as_bytes().first_chunk().copied().map(u64::from_le_bytes));
        }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.rows.len() <= SEARCHES_REMEMBERED_MAX, "the searches remembered are bounded");
        assert!(self.rows.values().all(|record| record.filtered.len() <= FILTERED_COUNTED_MAX));
    }
}

impl SearchMachine {
    /// The searches and listings remembered, after an id.
    pub(in crate::node) fn remembered_after(&self, cx: &Cx, after: SearchId) -> impl Iterator<Item = SearchRow> {
        let first = after.0.checked_add(1).map(SearchId);
        let rows = first.map(|first| self.remembered.rows.range(first..)).into_iter().flatten();
        rows.map(|(id, record)| {
            let (text, peer) = match &record.wanted {
                Wanted::Text(text) => (Some(text.clone()), None),
                Wanted::ListOf(peer) => (None, Some(*peer)),
            };
            SearchRow {
                id: id.0,
                text,
                peer,
                hits: self.hits.count(*id),
                age_s: cx.now.saturating_since(record.begun_at).as_secs(),
                running: self.searches.is_running(*id),
                truncated: self.is_truncated(*id),
                filtered: record.filtered.len() as u64,
            }
        })
    }
}

/// Why a search finds files of exactly its name alone, if it does.
pub(in crate::node) fn whole_names_of(query: &Query) -> Option<WholeNames> {
    match query.reach {
        Reach::Parts => None,
        Reach::TooShort => Some(WholeNames::TooShort),
        Reach::TooLong => Some(WholeNames::TooLong),
    }
}

/// Reads what a user searches for.
pub(in crate::node) fn query_of_user(text: &[u8]) -> Result<Query, Problem> {
    // Not among the faults of a query: wishes of earlier versions may have this.
    if let Some((size, unit)) = size_without_unit(text) {
        return Err(Problem::SizeWithoutUnit { size: RawText::new(size), unit: RawText::new(unit) });
    }
    Query::of_user(text).map_err(|(filter, fault)| {
        let filter = RawText::new(filter);
        match fault {
            FilterFault::Size => Problem::BadSize { filter },
            FilterFault::Type(word, nearest) => {
                let known = types().collect::<Vec<_>>().join(", ");
                Problem::BadType { filter, word: RawText::new(word), nearest, known }
            }
            FilterFault::Path => Problem::BadPath { filter },
            FilterFault::TooMany => Problem::TooManyFilters(FILTERS_MAX),
        }
    })
}
