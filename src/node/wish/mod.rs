//! Wishes: searches that repeat until they have found what the user wants, at a small price.
//!
//! | file | owns |
//! |---|---|
//! | `state` | a wish, and what it has found |
//! | `orders` | the calls: making a wish, ending some, their rows and hits |
//! | `asking` | which peer is asked for which wish, and when |
//! | `finding` | which answers are new contents |
//! | `downloading` | the downloads of what was found |
//! | `remembering` | records, and the answers that wait for them |
//!
//! A wish is no search of the network: it asks one peer at a time, with TTL 0. All wishes share one budget
//! ([`limits`](super::limits)). Each peer that becomes known is asked once for each wish; then those known are asked again, in
//! rounds. So a thousand wishes cost as little as one, and with more wishes each takes longer.
//!
//! A content is new if its wish has not found it before, and we neither share nor download it. It is in the record of its wish
//! together with its event of the log, so that after a crash there are both or neither: it is reported once. What is to be
//! downloaded is begun when that record is on the disk, and the record says so when the download has one of its own.
//!
//! Ids are those of downloads: a record, and the events in it, have one owner. Calls `network`, `search` and `download`, and
//! reads `share`.

mod asking;
mod downloading;
mod finding;
mod orders;
mod remembering;
mod state;

use super::cx::Cx;
use super::download::DownloadMachine;
use super::limits::WISHES_MAX;
use super::network::{Net, NetworkMachine};
use super::search::SearchMachine;
use super::share::ShareMachine;
use crate::id::TransferId;
use asking::Asking;
use downloading::Downloading;
use remembering::Remembering;
use state::Wish;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct WishMachine {
    wishes: BTreeMap<TransferId, Wish>,
    asking: Asking,
    downloading: Downloading,
    remembering: Remembering,
}

/// What wishes use of other machines.
pub(super) struct Others<'a> {
    pub(super) cx: &'a mut Cx,
    pub(super) network: &'a mut NetworkMachine,
    pub(super) share: &'a ShareMachine,
    pub(super) search: &'a mut SearchMachine,
    pub(super) download: &'a mut DownloadMachine,
}

impl Others<'_> {
    fn net(&mut self) -> Net<'_> {
        Net { cx: self.cx, network: self.network }
    }
}

impl WishMachine {
    pub(super) fn count(&self) -> usize {
        self.wishes.values().filter(|wish| !wish.is_ending).count()
    }

    /// Whether an id is that of a wish.
    pub(super) fn has(&self, id: TransferId) -> bool {
        self.wishes.contains_key(&id)
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.wishes.len() <= WISHES_MAX, "the wishes are bounded");
        self.wishes.values().for_each(Wish::check_invariants);
        self.asking.check_invariants();
        self.downloading.check_invariants();
        self.remembering.check_invariants();
    }
}
