//! The downloads.
//!
//! A call names files (`begin`, `orders`); each becomes a row of the table (`table`, `state`) and is remembered (`remembering`).
//! When its turn comes its part file is opened (`lifecycle`, `part`). Then `picker` decides, again and again, which source is
//! asked for what, `fetch` asks and takes what comes, and `source_faults` says what follows when nothing good does. Meanwhile
//! `discovery` decides when to search for further sources, and `finding` which of those found are taken.
//!
//! A fetch has three forms: the order, a `Task`, which the picker gives and the loop carries out; the exchange, a `Fetch`; and
//! the outcome, a `FetchOutcome` on how the exchange has ended.
//!
//! A directory is one download for its user, and a machine of its own over those of its files (`directories`).
//!
//! Calls `network`, and reads the hits of `search`. Bulk bytes never pass through here: the loop is told what to fetch, and
//! tells the outcome.

mod begin;
mod claims;
mod copying;
mod crawling;
mod directories;
mod directory_request;
mod discovery;
mod disk_faults;
mod endgame;
mod fetch;
mod finding;
mod first_contact;
mod forgetting;
mod invariants;
mod lifecycle;
mod links;
mod logging;
mod milestones;
mod moving;
mod names;
mod orders;
mod part;
mod past;
mod picker;
mod rate_cap;
mod remembering;
mod rows;
mod source;
mod source_faults;
mod state;
mod table;
mod turn_order;
mod wished;

#[cfg(test)]
pub(super) use discovery::name_of_hash;
pub(super) use orders::{Command, Order, TEXT_BLOAT_MAX, page};

use super::limits::{
    MEMBER_SEARCHES_BURST, MEMBER_SEARCHES_PER_MINUTE, MEMBER_SEEKS_BURST, MEMBER_SEEKS_PER_MINUTE, SEEKS_STUCK_BURST,
    SEEKS_STUCK_PER_MINUTE,
};
use super::rate_limit::{Allowances, Tariff};
use directories::Directories;
use first_contact::FirstContacts;
use orders::Running;
pub(super) use remembering::Outcome;
use remembering::Remembering;
use std::collections::VecDeque;
use table::Downloads;

pub(super) struct DownloadMachine {
    pub(super) downloads: Downloads,
    directories: Directories,
    pub(super) first_contacts: FirstContacts,
    remembering: Remembering,
    /// The orders in progress; the first is carried out.
    pub(super) orders: VecDeque<Running>,
    /// Searches of downloads that cannot ask a source: all of them have one allowance.
    stuck_seeks: Allowances<()>,
    /// Searches for files of directories that have a source, and for those that have none.
    member_seeks: Allowances<()>,
    member_searches: Allowances<()>,
    /// Part files that no download names, and their bytes.
    pub(super) orphans: (u64, u64),
}

impl Default for DownloadMachine {
    fn default() -> Self {
        let stuck = Tariff { per_minute: SEEKS_STUCK_PER_MINUTE, burst: SEEKS_STUCK_BURST };
        let of_members = Tariff { per_minute: MEMBER_SEEKS_PER_MINUTE, burst: MEMBER_SEEKS_BURST };
        let of_unsourced = Tariff { per_minute: MEMBER_SEARCHES_PER_MINUTE, burst: MEMBER_SEARCHES_BURST };
        let (downloads, directories, first_contacts, remembering, orders) = Default::default();
        Self {
            downloads,
            directories,
            first_contacts,
            remembering,
            orders,
            stuck_seeks: Allowances::new(stuck, 1),
            member_seeks: Allowances::new(of_members, 1),
            member_searches: Allowances::new(of_unsourced, 1),
            orphans: (0, 0),
        }
    }
}
