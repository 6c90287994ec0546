//! The peer as a state machine: membership, searching, answering, downloads, the control calls.
//!
//! `handle(now, Event)`, `poll_action()`, `next_deadline()`, `work(now)`: see [`contract`]. No socket, clock, file or
//! randomness of its own stands in this room: a run is a function of its seed and of what it is told.
//!
//! | file | owns |
//! |---|---|
//! | [`contract`] | everything that goes in and comes out |
//! | `limits` | every bound and span of time, by name |
//! | `membership`, `lists` | the links to the bootstrap nodes, and the peer lists that they send |
//! | `peers`, `peer_notes`, `endpoints` | who is known, and what is learnt of each |
//! | `speech`, `fair_set` | what each speaks; a set of endpoints that strangers can fill |
//! | `neighbours`, `assigned`, `newcomers` | which peers are neighbours; finding those that have just come |
//! | `searching`, `no_hits` | our searches and listings; why they found nothing |
//! | `search_end`, `open_searches` | when a search is over: who was asked, and who has said that it is done |
//! | `hits`, `hit`, `row_shares` | what they found, one row of it, and how many rows each network may have |
//! | `seeking` | our searches for further sources of downloads |
//! | `first_contact` | asking a source of unknown protocol version whether it speaks `p1` |
//! | `answering`, `forwarding` | the searches of others: their answers, and sending them on |
//! | `stranger_dials` | how often endpoints are connected to that only others name |
//! | `allowances`, `fair_queue` | how much the network may have of us, and in which order it has it |
//! | `serving`, `uploads` | what peers ask for on one connection, and how it goes |
//! | `call_backs`, `turns` | files for requesters that wait to be called back; how many uploads are sent at once |
//! | `hashing`, `hash_requests` | which files are hashed next; those that peers ask for |
//! | `downloads`, `download` | the queue of downloads, and one of them |
//! | `scheduling`, `proving` | what a download does next; how it gets an outline and has the size proved |
//! | `fetching`, `verdicts`, `claims` | how bytes come; what the end of an exchange means; false sizes |
//! | `refusals` | what a refusal of a source leads to |
//! | `sources`, `names`, `questing` | who offers what it wants, and under which names; when it looks for others |
//! | `finding` | who becomes a source, and what each may be asked for |
//! | `unsourced` | downloads by hash of which no source is known yet |
//! | `parts` | its part file, and a disk that fails |
//! | `places`, `matching` | the places that users name to save to; which download a wish is for |
//! | `remembering` | which changes of downloads are on the disk, and the answers that wait for that |
//! | `ordering`, `steering`, `rows`, `rate` | what users order of downloads, and how they see them |
//! | `orders` | orders that concern many downloads, slice by slice |
//! | `scanning` | rescans of the share |
//! | `settling` | files of the share that may be written to still |
//! | `dials`, `commands`, `workers` | the exchanges that we begin; what takes a worker, and the gate before all of it |
//! | `displacing` | which responses give way to requests that wait |
//! | `calls`, `subscriptions` | the control clients |
//! | `timers`, `leaving`, `invariants`, `dice` | deadlines; the end; what always holds; chance |

mod allowances;
mod answering;
mod assigned;
mod call_backs;
mod calls;
mod claims;
mod commands;
pub mod contract;
mod crawling;
mod dials;
mod dice;
mod displacing;
mod download;
mod downloads;
mod endpoints;
mod fair_queue;
mod fair_set;
mod fetching;
mod finding;
mod first_contact;
mod forwarding;
mod guests;
mod hash_requests;
mod hashing;
mod hit;
mod hits;
mod invariants;
mod leaving;
mod limits;
mod lists;
mod matching;
mod membership;
mod names;
mod neighbours;
mod newcomers;
mod no_hits;
mod open_searches;
mod ordering;
mod orders;
mod parts;
mod peer_notes;
mod peers;
mod places;
mod proving;
mod questing;
mod rate;
mod refusals;
mod remembering;
mod routes;
mod row_shares;
mod rows;
mod scanning;
mod scheduling;
mod search_end;
mod searching;
mod seeking;
mod sending;
mod serving;
mod settling;
mod source_places;
mod sources;
mod speech;
mod steering;
mod steps;
mod stranger_dials;
mod subscriptions;
#[cfg(test)]
mod tests;
mod timers;
mod turns;
mod unsourced;
mod uploads;
mod verdicts;
mod workers;

pub use contract::{Action, DialOutcome, Event, Expect, NodeConfig, Remembered, RememberedPeers};

use crate::control::LimitedReply;
use crate::id::ExchangeId;
use crate::library::Library;
use crate::time::Instant;
use crate::timer::{TimerId, TimerWheel};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use timers::NodeTimer;

/// A peer.
pub struct Node {
    config: NodeConfig,
    started: Instant,
    phase: Phase,
    dice: dice::Dice,
    wheel: TimerWheel<NodeTimer>,
    actions: VecDeque<Action>,
    steps: VecDeque<steps::Step>,
    exchanges_begun: u64,
    dials: BTreeMap<ExchangeId, dials::Dial>,
    workers: workers::Workers,
    displacing: displacing::Displacing,
    membership: membership::Membership,
    peers: peers::Peers,
    newcomers: newcomers::Newcomers,
    searches: searching::Searches,
    open_searches: open_searches::OpenSearches,
    hits: hits::Hits,
    seeks: seeking::Seeks,
    first_contacts: first_contact::FirstContacts,
    answering: answering::Answering,
    forwarding: forwarding::Forwarding,
    uploads: uploads::Uploads,
    call_backs: call_backs::CallBacks,
    turns: turns::UploadTurns,
    downloads: downloads::Downloads,
    remembering: remembering::Remembering,
    /// Part files that no download names, and their bytes.
    orphans: (u64, u64),
    library: Library,
    scan: scanning::ScanStage,
    settling: settling::Settling,
    hashing: hashing::Hashing,
    /// What the log last said of the share.
    scan_logged: Option<(u64, crate::library::ScanReport)>,
    turn: Turn,
    subscriptions: subscriptions::Subscriptions,
    orders: orders::Orders,
    counters: Counters,
    unchecked_steps: usize,
}

/// See [`Node::check_in_debug`].
const PEERS_PER_UNCHECKED_STEP: usize = 16;

/// Whether the node is there for others.
enum Phase {
    Running,
    /// It waits for these bootstrap nodes to hear that it goes.
    Leaving {
        waiting: BTreeSet<ExchangeId>,
        timer: TimerId,
    },
    Left,
}

/// Whose slice of work is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Scan,
    Answers,
    Hashing,
    Orders,
}

impl Turn {
    fn next(self) -> Self {
        match self {
            Self::Scan => Self::Answers,
            Self::Answers => Self::Hashing,
            Self::Hashing => Self::Orders,
            Self::Orders => Self::Scan,
        }
    }
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Payload bytes of downloads.
    pub bytes_down: u64,
    /// Payload bytes of uploads.
    pub bytes_up: u64,
    /// Messages that were malformed, oversize or unsuitable, and requests turned down.
    pub refused: u64,
    /// What met a limit.
    pub limited: LimitedReply,
}

impl Node {
    /// A node that begins at once: with the bootstrap nodes of its configuration, and with the peers remembered from
    /// an earlier run.
    pub fn new(now: Instant, config: NodeConfig, seed: [u8; 32], remembered: Remembered) -> Self {
        let mut node = Self {
            config,
            started: now,
            phase: Phase::Running,
            dice: dice::Dice::new(seed),
            wheel: TimerWheel::new(now),
            actions: VecDeque::new(),
            steps: VecDeque::new(),
            exchanges_begun: 0,
            dials: BTreeMap::new(),
            workers: Default::default(),
            displacing: Default::default(),
            membership: Default::default(),
            peers: Default::default(),
            newcomers: Default::default(),
            searches: Default::default(),
            open_searches: Default::default(),
            hits: Default::default(),
            seeks: Default::default(),
            first_contacts: Default::default(),
            answering: Default::default(),
            forwarding: Default::default(),
            uploads: Default::default(),
            call_backs: Default::default(),
            turns: Default::default(),
            downloads: Default::default(),
            orphans: (0, 0),
            remembering: Default::default(),
            library: Library::new(),
            scan: scanning::ScanStage::Off,
            settling: Default::default(),
            hashing: Default::default(),
            scan_logged: None,
            turn: Turn::Scan,
            subscriptions: Default::default(),
            orders: Default::default(),
            counters: Counters::default(),
            unchecked_steps: 0,
        };
        node.downloads.set_rate_limit(node.config.download_limit);
        if node.config.peer {
            node.recall_peers(now, remembered.peers);
            node.arrange_links(now);
            node.start_scan();
            node.recall_downloads(remembered.downloads, remembered.download_last);
            node.start_downloads(now);
            node.finish_turn(now);
        }
        node
    }

    /// What this node shares.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// What it works with.
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// What was counted since the start.
    pub fn counters(&self) -> Counters {
        let mut counters = self.counters;
        counters.limited.peers_displaced = self.peers.displaced;
        counters.limited.neighbours_replaced = self.peers.replaced;
        counters.limited.hits_displaced = self.hits.rows_cut;
        counters.limited.hits_over_share += self.hits.surplus_cut;
        counters.limited.records_displaced = self.answering.displaced()
            + self.hashing.displaced()
            + self.first_contacts.displaced()
            + self.uploads.displaced()
            + self.peers.shown.displaced();
        counters
    }

    /// When [`advance`](Self::advance) is to be called at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.wheel.next_deadline()
    }

    /// Whether [`work`](Self::work) has something to do.
    pub fn has_work(&self) -> bool {
        let turns = [Turn::Scan, Turn::Answers, Turn::Hashing, Turn::Orders];
        matches!(self.phase, Phase::Running) && turns.into_iter().any(|turn| self.has_work_for(turn))
    }

    fn has_work_for(&self, turn: Turn) -> bool {
        match turn {
            Turn::Scan => self.scan.has_work(),
            Turn::Answers => self.answering.has_work(),
            Turn::Hashing => self.hashing.has_work(),
            Turn::Orders => self.orders.has_work(),
        }
    }

    /// Counts a message that was refused before it reached the node, for `status`.
    pub fn note_refused(&mut self) {
        self.counters.refused += 1;
    }

    /// What met a limit of the loop is counted here, for `status`.
    pub fn limited_mut(&mut self) -> &mut LimitedReply {
        &mut self.counters.limited
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Request { exchange, from, message } => self.on_request(now, exchange, from, message),
            Event::RequestGone { exchange } => self.on_request_gone(now, exchange),
            Event::RequesterClosed { requester, name, counted } => {
                self.on_requester_closed(now, requester, name, counted);
            }
            Event::CallBackStands { exchange } => self.on_call_back_stands(exchange),
            Event::ResponseEnded { exchange, outcome } => self.on_response_ended(now, exchange, outcome),
            Event::ResponseProgress { exchange, bytes, held } => {
                self.on_response_progress(now, exchange, bytes, held);
            }
            Event::DialEnded { exchange, outcome } => self.on_dial_ended(now, exchange, outcome),
            Event::SearchDone { peer, done } => self.on_search_done(now, peer, &done),
            Event::StreamEnded { peer } => self.on_stream_ended(now, peer),
            Event::ListBatch { exchange, files } => self.on_list_batch(now, exchange, files),
            Event::FetchResumed { exchange, bytes } => self.on_fetch_resumed(exchange, bytes),
            Event::FetchHeld { exchange } => self.on_fetch_held(now, exchange),
            Event::FetchProgress { exchange, bytes } => self.on_fetch_progress(now, exchange, bytes),
            Event::TargetProbed { download, outcome } => self.on_target_probed(now, download, outcome),
            Event::PartOpened { download, outcome } => self.on_part_opened(now, download, outcome),
            Event::PartCommitted { download, outcome } => self.on_part_committed(now, download, outcome),
            Event::GroupVerified { exchange, group } => self.on_group_verified(now, exchange, group),
            Event::PartFailed { download, fault } => self.on_part_failed(now, download, fault),
            Event::PartChecked { download, outcome } => self.on_part_checked(now, download, outcome),
            Event::OrphansFound { files, bytes } => self.orphans = (files, bytes),
            Event::Recorded { download, revision, outcome } => self.on_recorded(now, download, revision, outcome),
            Event::Hashed { files } => self.on_hashed(now, files),
            Event::Resolved { host, outcome } => self.on_resolved(now, &host, outcome),
            Event::Scanned { files } => self.on_scanned(now, files),
            Event::RecentFiles { files } => self.on_recent_files(now, files),
            Event::LookedAt { files } => self.on_looked_at(now, files),
            Event::ScanEnded { report } => self.on_scan_ended(now, report),
            Event::Call { client, call, request } => self.on_call(now, client, call, request),
            Event::ClientGone { client } => self.subscriptions.forget(client),
            Event::Reconfigure(config) => self.on_reconfigure(now, *config),
            Event::Leave => self.on_leave(now),
        }
        self.finish_turn(now);
    }

    /// What follows from what happened: what the parts of the node have left to each other, whoever has its turn, and what is
    /// next for the downloads. All three may lead to each other.
    fn finish_turn(&mut self, now: Instant) {
        loop {
            self.run_steps(now);
            self.give_turns(now);
            self.tend_downloads(now);
            if self.steps.is_empty() {
                break;
            }
        }
        self.check_in_debug();
    }

    /// Does what is due by now.
    pub fn advance(&mut self, now: Instant) {
        while let Some(timer) = self.wheel.expire(now) {
            self.on_timer(now, timer);
            self.run_steps(now);
        }
        self.finish_turn(now);
    }

    /// One bounded slice of background work, at most about two milliseconds.
    pub fn work(&mut self, now: Instant) {
        if !self.has_work() {
            return;
        }
        while !self.has_work_for(self.turn) {
            self.turn = self.turn.next();
        }
        match self.turn {
            Turn::Scan => self.work_on_scan(now),
            Turn::Answers => self.work_on_answers(now),
            Turn::Hashing => self.work_on_hashing(),
            Turn::Orders => self.work_on_orders(now),
        }
        self.turn = self.turn.next();
        self.finish_turn(now);
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Takes a new configuration, but for what takes a restart: the listener, and whether this is a peer at all.
    fn on_reconfigure(&mut self, now: Instant, config: NodeConfig) {
        if !matches!(self.phase, Phase::Running) {
            return;
        }
        let old = std::mem::replace(&mut self.config, config);
        self.config.listen = old.listen;
        self.config.peer = old.peer;
        self.downloads.set_rate_limit(self.config.download_limit);
        self.reconsider_peers();
        self.arrange_links(now);
        if self.config.keepalive_refresh != old.keepalive_refresh {
            self.rearm_keepalives(now);
        }
        if self.config.filemonitor_refresh != old.filemonitor_refresh {
            self.rearm_rescan(now);
        }
        self.give_turns(now);
        self.start_queued(now);
        self.start_downloads(now);
    }

    fn cancel_timer(&mut self, timer: Option<TimerId>) {
        if let Some(timer) = timer {
            self.wheel.cancel(timer);
        }
    }

    /// Checks the invariants in debug builds. That takes time for every peer, so with many peers not after every step.
    fn check_in_debug(&mut self) {
        self.unchecked_steps += 1;
        if cfg!(debug_assertions) && self.unchecked_steps * PEERS_PER_UNCHECKED_STEP >= self.peers.len() {
            self.unchecked_steps = 0;
            self.check_invariants();
        }
    }
}
