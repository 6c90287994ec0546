//! The downloads.
//!
//! | file | owns |
//! |---|---|
//! | `lifecycle`, `table` | how a download moves, and who is next; the table of all |
//! | `state`, `life` | one of them; what it does, and how far its part file is |
//! | `picker` (pure), `proving` | what a download does next; how it gets an outline and has the size proved |
//! | `fetch`, `outcome`, `claims` | how bytes come; what the end of an exchange means; false sizes |
//! | `refusals` | what a refusal of a source leads to |
//! | `known`, `source`, `names` | what is known of its content; one who offers it, and under which names |
//! | `source_places` | how many may, and who gives way |
//! | `finding`, `discovery` | who becomes a source; when further ones are looked for |
//! | `first_contact` | asking a source of unknown protocol version whether it speaks `p1` |
//! | `unsourced` | downloads by hash of which no source is known yet |
//! | `part_file` | its part file, and a disk that fails |
//! | `places`, `request`, `matching` | the places that users name to save to; what they want, and which download it is for |
//! | `recorded`, `remembering` | which changes of a download are on the disk, and the answers that wait for that |
//! | `commands`, `orders` | what users order of downloads, slice by slice where it concerns many |
//! | `precedence` | a check that what is ordered comes in the order promised |
//! | `rows`, `rate`, `crawling` | how users see them; their rates; downloads that keep others waiting |
//!
//! A fetch has three forms: the order, a `Task`, which the picker gives and the loop carries out; the exchange, a `Fetch`; and
//! the outcome, a `FetchOutcome` on how the exchange has ended.
//!
//! Calls `network`, and reads the hits of `search`. Bulk bytes never pass through here: the loop is told what to fetch, and tells the outcome.

mod claims;
mod commands;
mod crawling;
mod discovery;
mod fetch;
mod finding;
mod first_contact;
mod known;
mod life;
mod lifecycle;
mod matching;
mod names;
mod orders;
mod outcome;
mod part_file;
mod picker;
mod places;
mod precedence;
mod proving;
mod rate;
mod recorded;
mod refusals;
mod remembering;
mod request;
mod rows;
mod source;
mod source_places;
mod state;
mod table;
mod unsourced;

pub(super) use commands::{TEXT_BLOAT_MAX, page};
pub(super) use orders::{Command, Order, Outcome};
#[cfg(test)]
pub(super) use unsourced::name_of_hash;

use super::cx::Cx;
use super::cx::exchanges::Purpose;
use super::limits::{SEEKS_STUCK_BURST, SEEKS_STUCK_PER_MINUTE};
use super::rate_limit::{Allowances, Tariff};
use crate::id::TransferId;
use first_contact::FirstContacts;
use orders::Orders;
use remembering::Remembering;
use table::Downloads;

/// The downloads.
pub(super) struct DownloadMachine {
    downloads: Downloads,
    first_contacts: FirstContacts,
    remembering: Remembering,
    orders: Orders,
    /// Searches of downloads that cannot ask a source: all of them have one allowance.
    stuck_seeks: Allowances<()>,
    /// Part files that no download names, and their bytes.
    orphans: (u64, u64),
}

impl Default for DownloadMachine {
    fn default() -> Self {
        let stuck = Tariff { per_minute: SEEKS_STUCK_PER_MINUTE, burst: SEEKS_STUCK_BURST };
        let (downloads, first_contacts, remembering, orders) = Default::default();
        Self { downloads, first_contacts, remembering, orders, stuck_seeks: Allowances::new(stuck, 1), orphans: (0, 0) }
    }
}

impl DownloadMachine {
    /// The table of downloads.
    pub(super) fn table(&self) -> &Downloads {
        &self.downloads
    }

    /// A download is to be looked at again.
    pub(super) fn on_look_timer(&mut self, id: TransferId) {
        self.downloads.mark_dirty(id);
    }

    /// Bytes a second of all downloads together, 0 for no limit.
    pub(super) fn set_rate_limit(&mut self, limit: u64) {
        self.downloads.set_rate_limit(limit);
    }

    /// Part files that no download names, and their bytes.
    pub(super) fn orphans(&self) -> (u64, u64) {
        self.orphans
    }

    /// Part files were found that no download names.
    pub(super) fn on_orphans_found(&mut self, files: u64, bytes: u64) {
        self.orphans = (files, bytes);
    }

    /// Whether a slice of an order waits.
    pub(super) fn has_order_work(&self) -> bool {
        self.orders.has_work()
    }

    /// Records that gave way to others since the start.
    pub(super) fn displaced(&self) -> u64 {
        self.first_contacts.displaced()
    }

    pub(super) fn check_invariants(&self, cx: &Cx) {
        self.downloads.check_invariants();
        self.check_precedence(cx);
        self.first_contacts.check_invariants();
        if cx.is_running() {
            self.check_fetches(cx);
        }
    }

    /// Every exchange with a source has its dial, and works or waits for a worker.
    fn check_fetches(&self, cx: &Cx) {
        let workers = cx.exchanges.workers();
        for (exchange, id) in self.downloads.fetches() {
            let dial = cx.exchanges.dial(exchange);
            assert!(dial.is_some_and(|dial| dial.purpose == Purpose::Fetch), "{id:?} fetches by its own exchange");
            let working = workers.is_active(exchange) || workers.is_queued(exchange);
            assert!(working, "{id:?} fetches with a worker, or waits for one");
        }
    }
}
