//! A wish, and what it has found.

use crate::control::{Problem, RawText, WishRow, WishState};
use crate::id::{SearchId, TransferId};
use crate::library::Query;
use crate::network::Network;
use crate::node::contract::{FoundFile, FoundState, WishRecord};
use crate::node::cx::Cx;
use crate::node::limits::{WISH_FOUND_BYTES_MAX, WISH_FOUND_MAX, WISH_FOUND_OF_NETWORK_MAX};
use crate::node::search::whole_names_of;
use crate::time::Instant;
use std::net::SocketAddr;

pub(super) struct Wish {
    pub(super) text: RawText,
    pub(super) query: Query,
    /// Epoch seconds.
    pub(super) since: u64,
    pub(super) download: bool,
    pub(super) limit: Option<u32>,
    pub(super) found: Vec<FoundFile>,
    bytes: usize,
    /// The last record that was ordered, and the last one that is on the disk.
    pub(super) revision: u64,
    pub(super) durable: u64,
    /// A record of it has been on the disk: its user was told that it is there.
    pub(super) is_accepted: bool,
    /// The user has ended it; it stays until its record is gone.
    pub(super) is_ending: bool,
    pub(super) problem: Option<Problem>,
    pub(super) asked_at: Option<Instant>,
    /// All peers up to this number were asked, or passed over, once.
    pub(super) asked_up_to: u64,
    /// In a round: so far it has come.
    pub(super) round: Option<u64>,
    /// When the next round may begin.
    pub(super) next_round_at: Instant,
    /// The rows that show what it has found are those of this search.
    pub(super) shown_as: Option<SearchId>,
}

/// What a content takes as an event, roughly, without its name.
const FOUND_BYTES: usize = 400;

/// The bytes of a name that is not UTF-8 may become so many times as long in JSON.
const BLOAT_MAX: usize = 6;

impl Wish {
    pub(super) fn new(text: RawText, query: Query, since: u64, (download, limit): (bool, Option<u32>)) -> Self {
        Self {
            text,
            query,
            since,
            download,
            limit,
            found: Vec::new(),
            bytes: 0,
            revision: 0,
            durable: 0,
            is_accepted: false,
            is_ending: false,
            problem: None,
            asked_at: None,
            asked_up_to: 0,
            round: None,
            next_round_at: Instant::default(),
            shown_as: None,
        }
    }

    /// As the last run left it. `None` if this version cannot search for it.
    pub(super) fn recalled(record: WishRecord) -> Option<Self> {
        let query = Query::of_user(record.text.as_bytes()).ok()?;
        let mut wish = Self::new(record.text, query, record.since, (record.download, record.limit));
        wish.is_accepted = true;
        record.found.into_iter().take(WISH_FOUND_MAX).for_each(|file| wish.push(file));
        Some(wish)
    }

    pub(super) fn push(&mut self, file: FoundFile) {
        self.bytes += bytes_of(&file);
        self.found.push(file);
    }

    /// Whether a further content can be remembered that this peer offers.
    pub(super) fn has_room_for(&self, peer: SocketAddr) -> bool {
        let network = Network::of(peer.ip());
        let of_network = self.found.iter().filter(|file| Network::of(file.peer.ip()) == network).count();
        self.state() == WishState::Looking && (peer.ip().is_loopback() || of_network < WISH_FOUND_OF_NETWORK_MAX)
    }

    pub(super) fn state(&self) -> WishState {
        let limit = self.limit.map_or(usize::MAX, |limit| limit as usize);
        if self.found.len() >= limit && self.counting() >= limit {
            let done = self.found.iter().filter(|file| matches!(file.state, FoundState::Done(_))).count();
            if !self.download || done >= limit { WishState::Fulfilled } else { WishState::Downloading }
        } else if self.found.len() >= WISH_FOUND_MAX || self.bytes >= WISH_FOUND_BYTES_MAX {
            WishState::Full
        } else {
            WishState::Looking
        }
    }

    /// What counts towards the limit: contents found, but for those whose download has failed.
    fn counting(&self) -> usize {
        self.found.iter().filter(|file| !matches!(file.state, FoundState::Failed(_))).count()
    }

    /// Whether peers are to be asked for it.
    pub(super) fn is_looking(&self) -> bool {
        self.is_accepted && !self.is_ending && self.state() == WishState::Looking
    }

    pub(super) fn is_durable(&self) -> bool {
        self.durable >= self.revision
    }

    pub(super) fn row(&self, cx: &Cx, id: TransferId, next_ask: Option<Instant>) -> WishRow {
        let (mut begun, mut done, mut failed) = (0, 0, 0);
        for file in &self.found {
            begun += u64::from(file.state.download().is_some());
            done += u64::from(matches!(file.state, FoundState::Done(_)));
            failed += u64::from(matches!(file.state, FoundState::Failed(_)));
        }
        WishRow {
            id: id.0,
            text: self.text.clone(),
            state: self.state(),
            since: self.since,
            last_asked: self.asked_at.map(|at| cx.wall.epoch_s(at)),
            next_ask: next_ask.map(|at| cx.wall.epoch_s(at)),
            found: self.found.len() as u64,
            begun,
            done,
            failed,
            download: self.download,
            limit: self.limit,
            error: self.problem.clone().map(Into::into),
            whole_names: whole_names_of(&self.query),
        }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.found.len() <= WISH_FOUND_MAX, "what a wish has found is bounded");
        let bytes: usize = self.found.iter().map(bytes_of).sum();
        assert_eq!(bytes, self.bytes, "the bytes of what was found are counted");
    }
}

fn bytes_of(file: &FoundFile) -> usize {
    let name = file.name.as_bytes();
    FOUND_BYTES + if str::from_utf8(name).is_ok() { name.len() } else { name.len() * BLOAT_MAX }
}
