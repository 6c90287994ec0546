//! Searches and listings: our own, and those of others.
//!
//! | file | owns |
//! |---|---|
//! | `own`, `sending` | our searches and listings; sending a search of ours to a peer |
//! | `end`, `open` | when a search is over: who was asked, and who has said that it is done; the table of these searches |
//! | `hits`, `hit`, `row_shares` | what they found, one row of it, and how many rows each network may have |
//! | `listings` | the lists of peers, of up to a million files |
//! | `remembered` | what was asked for, and what filters have dropped |
//! | `newcomers`, `announcing` | finding peers that have just come; making ourselves known |
//! | `seeks`, `wished` | searches for further sources of downloads; those for wishes |
//! | `answering`, `forwarding` | the searches of others: which are new, answering and forwarding them |
//! | `telling` | what clients of `events` are told of the searches of others |
//! | `stranger_dials` | how often we connect to endpoints that only others name |
//!
//! Calls `network`, and reads `share`. Results go to the downloads as a [`Step`](super::cx::Step).

mod announcing;
mod answering;
mod audience;
mod end;
mod forwarding;
mod hit;
mod hits;
mod listings;
mod newcomers;
mod open;
mod own;
mod remembered;
mod row_shares;
mod seeks;
mod sending;
mod stranger_dials;
mod telling;
mod wished;

pub(super) use hit::Hit;
pub(super) use listings::{HitRef, ListedFile};
pub(super) use remembered::{query_of_user, whole_names_of};

use super::cx::Cx;
use crate::control::LimitedReply;
use crate::id::SearchId;
use answering::Answering;
use forwarding::Forwarding;
use hits::Hits;
use newcomers::Newcomers;
use open::OpenSearches;
use own::Searches;
use remembered::Remembered;
use seeks::Seeks;
use telling::Telling;

#[derive(Default)]
pub(super) struct SearchMachine {
    newcomers: Newcomers,
    searches: Searches,
    open_searches: OpenSearches,
    hits: Hits,
    remembered: Remembered,
    seeks: Seeks,
    /// The same for wishes.
    wished: Seeks,
    answering: Answering,
    forwarding: Forwarding,
    telling: Telling,
}

impl SearchMachine {
    pub(super) fn hits(&self) -> &Hits {
        &self.hits
    }

    /// The rows of a search were shown.
    pub(super) fn note_hits_seen(&mut self, cx: &Cx, search: SearchId) {
        self.hits.note_seen(cx.now, search);
    }

    pub(super) fn has_work(&self) -> bool {
        self.answering.has_work()
    }

    pub(super) fn count(&self, limited: &mut LimitedReply) {
        limited.hits_displaced = self.hits.rows_cut();
        limited.hits_over_share += self.hits.surplus_cut;
        limited.records_displaced += self.answering.displaced();
    }

    /// The node shuts down: nothing is answered or forwarded any more.
    pub(super) fn stop(&mut self) {
        self.answering.clear();
        self.forwarding.clear();
        self.open_searches = OpenSearches::default();
    }

    pub(super) fn check_invariants(&self, cx: &Cx) {
        self.answering.check_invariants();
        self.check_forwards(cx);
        self.searches.check_invariants(&self.hits);
        self.remembered.check_invariants();
        self.open_searches.check_invariants();
        self.seeks.check_invariants();
        self.wished.check_invariants();
        self.newcomers.check_invariants();
        self.telling.check_invariants();
    }
}
