//! The peer as a state machine, made of smaller ones: the node routes events to them, and each has its state to itself.
//!
//! `handle(now, Event)`, `poll_action()`, `next_deadline()`, `work(now)`: see [`contract`]. There is no socket, clock, file or
//! randomness of its own in this module: a run is a function of its seed and of its events.
//!
//! | machine | owns | calls |
//! |---|---|---|
//! | `network` | bootstrap links, peer lists, peers, neighbours | |
//! | `share` | the library, scans, hashes | |
//! | `search` | searches and listings, our own and those of others | `network`, `share` |
//! | `upload` | what peers get from us | `share` |
//! | `download` | the downloads | `network`, `search` |
//! | `wish` | searches that repeat | `network`, `share`, `search`, `download` |
//! | `control` | the calls of control clients | all |
//!
//! Each gets what it calls as an argument, and a `Cx` with what all of them use: the time, the configuration, chance,
//! timers, the exchanges (which of ours are open, and what has a worker), and the way out. So calls go one way. What
//! goes the other way is a `Step`, which the node routes before the event is over.
//!
//! `contract` has everything that goes in and comes out, `routes` and `timers` which machine it is for, `cx` what all machines
//! use, and `limits` every bound and span of time, by name.

mod answer;
pub mod contract;
mod control;
mod cx;
mod download;
mod fair_queue;
mod fair_rows;
mod fair_set;
mod ids;
mod invariants;
mod leaving;
mod limits;
mod network;
mod rate;
mod rate_limit;
mod routes;
mod search;
mod share;
mod speech;
#[cfg(test)]
mod tests;
mod timers;
mod upload;
mod wish;

pub use contract::{Action, Event, NodeConfig, Remembered, RememberedPeers};

use crate::control::{DownloadState, LimitedReply, LinkRow, StatusReply};
use crate::id::{ExchangeId, TransferId};
use crate::library::Library;
use crate::time::{Instant, WallClock};
use crate::timer::TimerId;
use control::{Calls, DirectoryLinks};
use cx::Cx;
use download::DownloadMachine;
use network::{Net, NetworkMachine};
use search::SearchMachine;
use share::ShareMachine;
use std::collections::{BTreeMap, BTreeSet};
use upload::UploadMachine;
use wish::{Others, WishMachine};

/// A peer.
pub struct Node {
    cx: Cx,
    network: NetworkMachine,
    share: ShareMachine,
    search: SearchMachine,
    upload: UploadMachine,
    download: DownloadMachine,
    wish: WishMachine,
    directory_links: DirectoryLinks,
    turn: Turn,
    unchecked_steps: usize,
}

/// See [`Node::check_in_debug`].
const PEERS_PER_UNCHECKED_STEP: usize = 16;
const DOWNLOADS_PER_UNCHECKED_STEP: usize = 64;

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
    Manifests,
    Orders,
    Directories,
}

impl Turn {
    const ALL: [Self; 6] = [Self::Scan, Self::Answers, Self::Hashing, Self::Manifests, Self::Orders, Self::Directories];

    fn next(self) -> Self {
        match self {
            Self::Scan => Self::Answers,
            Self::Answers => Self::Hashing,
            Self::Hashing => Self::Manifests,
            Self::Manifests => Self::Orders,
            Self::Orders => Self::Directories,
            Self::Directories => Self::Scan,
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
    /// Payload bytes taken from `bytes_up` again, because the requester closed before its file was sent.
    pub bytes_taken_back: u64,
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
            cx: Cx::new(now, config, seed),
            network: NetworkMachine::default(),
            share: ShareMachine::default(),
            search: SearchMachine::default(),
            upload: UploadMachine::default(),
            download: DownloadMachine::default(),
            wish: WishMachine::default(),
            directory_links: DirectoryLinks::default(),
            turn: Turn::Scan,
            unchecked_steps: 0,
        };
        let Self { cx, network, share, search, download, wish, .. } = &mut node;
        if cx.config.peer {
            share.set_audiences(cx.config.audiences.clone());
            network.recall_peers(cx, remembered.peers);
            network.arrange_links(cx);
            share.recall_files(remembered.files);
            share.start_scan(cx);
            cx.recall_events_from(remembered.events_from);
            for (id, events) in remembered.events {
                cx.recall_events(id, events);
            }
            download.recall_downloads(cx, remembered.downloads, remembered.download_last);
            wish.recall(&mut Others { cx, network, share, search, download }, remembered.wishes);
            cx.evict_events(TransferId(0));
            download.start_downloads(cx);
            node.finish_turn();
        }
        node
    }

    /// What this node shares.
    pub fn library(&self) -> &Library {
        self.share.library()
    }

    /// Whether the share is being scanned.
    pub(crate) fn is_scanning(&self) -> bool {
        self.share.is_scanning()
    }

    /// What it works with.
    pub fn config(&self) -> &NodeConfig {
        &self.cx.config
    }

    /// What was counted since the start.
    pub fn counters(&self) -> Counters {
        let mut counters = self.cx.counters;
        self.network.count(&mut counters.limited);
        self.search.count(&mut counters.limited);
        counters.limited.records_displaced +=
            self.share.displaced() + self.upload.displaced() + self.download.first_contacts.displaced();
        counters
    }

    /// The links to the bootstrap nodes, in the order of the configuration.
    pub fn links(&self, now: Instant) -> Vec<LinkRow> {
        self.network.links(now, self.cx.wall)
    }

    /// What `status` shows, as far as the node knows it.
    pub fn status(&mut self, now: Instant) -> StatusReply {
        self.cx.now = now;
        self.calls().status()
    }

    /// How many downloads are remembered, by state.
    pub fn downloads_by_state(&self) -> BTreeMap<DownloadState, u64> {
        self.download.count_by_state()
    }

    fn calls(&mut self) -> Calls<'_> {
        let counters = self.counters();
        let Self { cx, network, share, search, upload, download, wish, directory_links, .. } = self;
        Calls { cx, network, share, search, upload, download, wish, directory_links, counters }
    }

    /// What the wall clock shows, for the dates in the replies to calls: to be told before each call.
    pub fn set_wall_clock(&mut self, wall: WallClock) {
        self.cx.wall = wall;
    }

    /// When [`advance`](Self::advance) is to be called at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.cx.wheel.next_deadline()
    }

    /// Whether [`work`](Self::work) has something to do.
    pub fn has_work(&self) -> bool {
        self.cx.is_running() && Turn::ALL.into_iter().any(|turn| self.has_work_for(turn))
    }

    fn has_work_for(&self, turn: Turn) -> bool {
        match turn {
            Turn::Scan => self.share.has_scan_work(),
            Turn::Answers => self.search.has_work(),
            Turn::Hashing => self.share.has_hash_work(),
            Turn::Manifests => self.share.has_manifest_work(),
            Turn::Orders => !self.download.orders.is_empty(),
            Turn::Directories => self.download.has_directory_work(),
        }
    }

    /// Counts a message that was refused before it reached the node, for `status`.
    pub fn note_refused(&mut self) {
        self.cx.counters.refused += 1;
    }

    /// What met a limit of the loop is counted here, for `status`.
    pub fn limited_mut(&mut self) -> &mut LimitedReply {
        &mut self.cx.counters.limited
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Instant, event: Event) {
        self.cx.now = now;
        self.on_event(event);
        self.finish_turn();
    }

    /// Does what is due by now.
    pub fn advance(&mut self, now: Instant) {
        self.cx.now = now;
        while let Some(timer) = self.cx.wheel.expire(now) {
            self.on_timer(timer);
            self.run_steps();
        }
        self.finish_turn();
    }

    /// One bounded slice of background work, at most about two milliseconds.
    pub fn work(&mut self, now: Instant) {
        self.cx.now = now;
        if !self.has_work() {
            return;
        }
        while !self.has_work_for(self.turn) {
            self.turn = self.turn.next();
        }
        let Self { cx, network, share, search, download, .. } = self;
        match self.turn {
            Turn::Scan => share.work_on_scan(cx),
            Turn::Answers => search.work_on_answers(&mut Net { cx, network }, share),
            Turn::Hashing => share.work_on_hashing(cx),
            Turn::Manifests => share.work_on_manifests(cx),
            Turn::Orders => {
                let answer = download.work_on_orders(&mut Net { cx, network }, search);
                self.run_steps();
                if let Some((client, call, outcome)) = answer {
                    self.download.reply(&mut self.cx, client, call, outcome);
                }
            }
            Turn::Directories => download.work_on_directories(&mut Net { cx, network }),
        }
        self.turn = self.turn.next();
        self.finish_turn();
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.cx.out.next_action()
    }

    /// What follows from what happened: what the machines have left to each other, uploads whose turn it is, and what is next
    /// for the downloads. Each may lead to another.
    fn finish_turn(&mut self) {
        loop {
            self.run_steps();
            let Self { cx, network, upload, download, .. } = self;
            upload.give_turns(cx);
            download.drive_all(&mut Net { cx, network });
            if !cx.out.has_steps() {
                break;
            }
        }
        self.check_in_debug();
    }

    /// Checks the invariants in debug builds. That takes time for every peer and download, so with many of them not after every
    /// step.
    fn check_in_debug(&mut self) {
        self.unchecked_steps += 1;
        let is_due = self.unchecked_steps * PEERS_PER_UNCHECKED_STEP >= self.network.peers().len()
            && self.unchecked_steps * DOWNLOADS_PER_UNCHECKED_STEP >= self.download.downloads.count();
        if cfg!(debug_assertions) && is_due {
            self.unchecked_steps = 0;
            self.check_invariants();
        }
    }
}
