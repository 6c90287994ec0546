//! Newcomers: how a search finds peers that registered after the last list (PROTOCOL, part 2, First contact).
//!
//! - A search requests the lists of the bootstrap nodes, as often as an allowance for each link permits.
//! - A node that receives an announcement ([`announcing`](super::announcing)) sends a first contact back. A newcomer that answers
//!   becomes a neighbour, in one of the places reserved for newcomers, an eighth of `max_peers`.
//! - A search in progress is also sent to new neighbours, and to peers that are new on a list.
//!
//! An announcement causes one connection to the address that it came from. Announcements are limited for each network and in
//! total.

use super::SearchMachine;
use super::announcing::Announcements;
use crate::control::PeerSource;
use crate::id::{QueryId, SearchId};
use crate::network::Network;
use crate::node::contract::{Action, DialOutcome, Dialled, Expect};
use crate::node::cx::exchanges::{Command, Kind, LinkTask, Purpose, Rank};
use crate::node::fair_queue::Sender;
use crate::node::ids::{LinkId, OpenId};
use crate::node::limits::{
    ANNOUNCEMENTS_PER_MINUTE, ANNOUNCEMENTS_PER_NETWORK, CONNECT_UNPROVEN_MAX, LIST_AGE_MAX, LIST_AGE_MIN,
    LISTS_FOR_SEARCHES_BURST, LISTS_FOR_SEARCHES_PER_MINUTE, NEWCOMER_AGE_MAX, NEWCOMER_CONTACTS_MAX, NEWCOMERS_MAX,
    REQUESTER_PORT_MIN, SENDERS_MAX,
};
use crate::node::network::Net;
use crate::node::network::{LinkPhase, canonical};
use crate::node::rate_limit::{Allowances, Tariff};
use crate::node::speech::Evidence;
use crate::time::Instant;
use crate::wire::{Message, Search};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// A search in progress: its last ring, and where it was sent.
struct Running {
    ring: Search,
    open: OpenId,
    sent_to: BTreeSet<SocketAddr>,
    /// Peers new on a list, which get only one ring of a search.
    asked_directly: BTreeSet<SocketAddr>,
}

pub(super) struct Newcomers {
    /// Lists that searches may request of each bootstrap node.
    lists: Allowances<LinkId>,
    /// Announcements that we answer, of each network and in total.
    of_network: Allowances<Network>,
    in_total: Allowances<()>,
    pub(super) announcements: Announcements,
    /// Peers that were new on a complete list, oldest first.
    listed: VecDeque<(Instant, SocketAddr)>,
    running: BTreeMap<SearchId, Running>,
}

impl Default for Newcomers {
    fn default() -> Self {
        let lists = Tariff { per_minute: LISTS_FOR_SEARCHES_PER_MINUTE, burst: LISTS_FOR_SEARCHES_BURST };
        let same = |per_minute| Tariff { per_minute, burst: per_minute };
        Self {
            lists: Allowances::new(lists, SENDERS_MAX),
            of_network: Allowances::new(same(ANNOUNCEMENTS_PER_NETWORK), SENDERS_MAX),
            in_total: Allowances::new(same(ANNOUNCEMENTS_PER_MINUTE), 1),
            announcements: Announcements::default(),
            listed: VecDeque::new(),
            running: BTreeMap::new(),
        }
    }
}

impl Newcomers {
    /// A ring of a search was sent to these peers.
    pub(super) fn note_ring(&mut self, id: SearchId, ring: Search, open: OpenId, sent_to: BTreeSet<SocketAddr>) {
        let asked_directly = self.running.remove(&id).map(|running| running.asked_directly).unwrap_or_default();
        self.running.insert(id, Running { ring, open, sent_to, asked_directly });
    }

    /// A search is not sent to further peers any more.
    pub(super) fn end_search(&mut self, id: SearchId) {
        self.running.remove(&id);
    }

    fn note_listed(&mut self, now: Instant, peers: &[SocketAddr]) {
        self.listed.retain(|(at, peer)| *at + NEWCOMER_AGE_MAX > now && !peers.contains(peer));
        self.listed.extend(peers.iter().map(|peer| (now, *peer)));
        let too_many = self.listed.len().saturating_sub(NEWCOMERS_MAX);
        self.listed.drain(..too_many);
    }

    /// Whether to answer an announcement from this address. All nodes of a loopback network have one address.
    fn may_announce(&mut self, now: Instant, from: SocketAddr) -> bool {
        let ip = from.ip().to_canonical();
        (ip.is_loopback() || self.of_network.allow(now, Network::of(ip))) && self.in_total.allow(now, ())
    }

    pub(super) fn check_invariants(&self) {
        self.lists.check_invariants();
        self.of_network.check_invariants();
        self.announcements.check_invariants();
        assert!(self.listed.len() <= NEWCOMERS_MAX, "the newcomers are bounded");
    }
}

impl SearchMachine {
    /// At the beginning of a search: requests the lists of bootstrap nodes, if neighbours are lacking or the last list is old.
    pub(super) fn look_for_newcomers(&mut self, net: &mut Net) {
        let age_min = match net.network.neighbours_alive(net.cx) {
            0 => Duration::ZERO,
            alive if alive < net.cx.config.max_peers => LIST_AGE_MIN,
            _ => LIST_AGE_MAX,
        };
        for id in net.network.registered_links() {
            if Self::is_list_wanted(net, id, age_min) && self.newcomers.lists.allow(net.cx.now, id) {
                net.network.start_link_task(net.cx, id, LinkTask::PeerList);
            }
        }
    }

    fn is_list_wanted(net: &Net, id: LinkId, age_min: Duration) -> bool {
        let Some(link) = net.network.link(id) else { return false };
        let is_idle = matches!(link.phase, LinkPhase::Registered { task: None, .. });
        let is_old = link.lists.came_at.is_none_or(|at| net.cx.now.saturating_since(at) >= age_min);
        // A sample rarely names the newest peers; they announce themselves.
        is_idle && is_old && !(age_min == LIST_AGE_MAX && link.lists.is_sampled)
    }

    /// Until when searches wait for requested lists of bootstrap nodes.
    pub(super) fn lists_awaited_until(&self, net: &Net) -> Option<Instant> {
        let links = net.cx.exchanges.dials().filter_map(|dial| match dial.purpose {
            Purpose::Link(id, LinkTask::PeerList) => Some(id),
            _ => None,
        });
        links.filter_map(|id| net.network.link(id)?.lists.awaited_until()).filter(|until| *until > net.cx.now).max()
    }

    pub(in crate::node) fn on_newcomers_listed(&mut self, net: &mut Net, is_whole: bool) {
        if is_whole {
            self.newcomers.note_listed(net.cx.now, net.peers().newcomers());
        }
        self.announce(net);
        self.extend_searches(net);
    }

    /// A first contact came. It is from a newcomer, if the endpoint that it names has the address of its sender.
    pub(in crate::node) fn on_announced(
        &mut self,
        net: &mut Net,
        from: SocketAddr,
        (requester, id): (SocketAddr, &QueryId),
    ) {
        let peer = canonical(requester);
        if id.lacks_searches() && !self.newcomers.announcements.received_lately(net.cx.now) {
            return;
        }
        let is_plausible = from.ip().to_canonical() == peer.ip()
            && peer.port() >= REQUESTER_PORT_MIN
            && net.is_plausible(peer, from.ip());
        if !is_plausible || net.neighbours().contains(&peer) {
            return;
        }
        let contacts = || net.cx.exchanges.dials().filter(|dial| dial.purpose == Purpose::Newcomer);
        if contacts().any(|dial| dial.to == peer) {
            return;
        }
        if contacts().count() >= NEWCOMER_CONTACTS_MAX || !self.newcomers.may_announce(net.cx.now, from) {
            net.cx.counters.limited.announcements_refused += 1;
            return;
        }
        let Some(ours) = net.advertised() else { return };
        let messages = vec![Message::FirstContact { id: QueryId::p1(net.cx.rng.number()), requester: ours }];
        let (expect, connect_max) = (Expect::FirstContact, CONNECT_UNPROVEN_MAX);
        let rank = Rank::For(Kind::StrangerHits, Sender::own(from));
        let dial = |exchange| Command::Begin(Action::Dial { exchange, to: peer, messages, expect, connect_max });
        if net.cx.submit_dial(peer, Purpose::Newcomer, rank, dial).is_err() {
            net.cx.counters.limited.announcements_refused += 1;
        }
    }

    /// Our first contact to a newcomer has ended.
    pub(in crate::node) fn on_newcomer_dial_ended(&mut self, net: &mut Net, peer: SocketAddr, outcome: &DialOutcome) {
        if !outcome.as_ref().is_ok_and(Dialled::speaks_p1) {
            return;
        }
        net.network.learn_peer(net.cx, peer, PeerSource::Search);
        net.network.note_peer_answered(net.cx, peer);
        net.network.note_evidence(net.cx, peer, Evidence::Contact);
        net.network.welcome(net.cx, peer);
        self.extend_searches(net);
    }

    /// Sends the searches in progress to new neighbours, and to peers that are new on a list.
    pub(super) fn extend_searches(&mut self, net: &mut Net) {
        let neighbours = net.neighbours();
        let ids: Vec<_> = self.newcomers.running.keys().copied().collect();
        for id in ids {
            let open = self.newcomers.running.get(&id).map(|running| running.open);
            let Some(open) = open.filter(|open| self.is_ring_wanting(*open) && !self.has_enough(id, 1)) else {
                continue;
            };
            let Some(Running { ring, sent_to, asked_directly, .. }) = self.newcomers.running.get_mut(&id) else {
                continue;
            };
            let mut targets: Vec<_> = neighbours.iter().copied().filter(|peer| sent_to.insert(*peer)).collect();
            let is_new = |(at, peer): &&(Instant, SocketAddr)| {
                let is_asked = sent_to.contains(peer) || asked_directly.contains(peer);
                *at + NEWCOMER_AGE_MAX > net.cx.now && !is_asked && net.peers().is_proven(*peer)
            };
            let listed: Vec<_> = self.newcomers.listed.iter().filter(is_new).map(|(_, peer)| *peer).collect();
            asked_directly.extend(&listed);
            sent_to.extend(&listed);
            targets.extend(listed);
            if targets.is_empty() {
                continue;
            }
            let ring = ring.clone();
            self.dial_ring(net, (id, open), &ring, targets);
            self.review_ring(net, open);
        }
    }
}
