//! What exchanges, lists and users show of peers, and how long peers are kept.
//!
//! Only an exchange that this node dialled is evidence that a peer is alive.

use super::NetworkMachine;
use super::endpoints::{canonical, is_unicast};
use super::peers::{Keep, Peer, PeerHealth, Proof, RANK_FAILING};
use crate::control::{Notice, PeerSource, Problem};
use crate::fault::{DialFault, OtherProgram};
use crate::node::contract::{Action, DialOutcome, Dialled, RememberedPeers};
use crate::node::cx::{Cx, NodeTimer, Subject};
use crate::node::ids::LinkId;
use crate::node::limits::{
    CLAIM_AGE_MAX, NEWCOMERS_MAX, PEER_FAILURE_SPAN, REMEMBER_DELAY, REMEMBER_INTERVAL, REMEMBERED_PEERS_MAX,
};
use crate::node::speech::Evidence;
use crate::time::Instant;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

impl NetworkMachine {
    /// Adds an endpoint that may be a peer. Ignores ourselves, and endpoints that cannot be a peer.
    pub(in crate::node) fn learn_peer(&mut self, cx: &mut Cx, peer: SocketAddr, source: PeerSource) {
        let peer = canonical(peer);
        if self.peers.rows.contains_key(&peer) {
            // A list or the user replaces a claim as the source.
            if matches!(source, PeerSource::Bootstrap | PeerSource::User) {
                self.peers.change(peer, |row| {
                    if row.source != PeerSource::User {
                        row.source = source;
                    }
                    // A peer that the user has just named must not expire soon.
                    if source == PeerSource::User {
                        row.fresh_at = cx.now;
                    }
                });
            }
        } else if is_unicast(peer) && !self.is_ourselves(cx, peer) {
            self.peers.insert(cx.now, peer, source);
            self.plan_expiry(cx);
        }
        self.plan_to_remember(cx);
    }

    pub(in crate::node) fn recall_peers(&mut self, cx: &mut Cx, remembered: RememberedPeers) {
        let RememberedPeers { proven, others } = remembered;
        let known = proven.into_iter().map(|peer| (peer, true)).chain(others.into_iter().map(|peer| (peer, false)));
        for (peer, is_proven) in known.take(REMEMBERED_PEERS_MAX) {
            self.learn_peer(cx, peer, PeerSource::Memory);
            self.peers.change(canonical(peer), |row| {
                if is_proven {
                    row.proof = Proof::EarlierRun;
                }
            });
        }
    }

    /// Takes the list of a bootstrap node, with whether each peer speaks `p1`; it replaces the earlier list of this link.
    /// `marks_p1`: the bootstrap node marks `p1` peers.
    pub(super) fn take_peer_list(
        &mut self,
        cx: &mut Cx,
        link: LinkId,
        peers: &BTreeMap<SocketAddr, bool>,
        marks_p1: bool,
    ) {
        self.forget_listing(cx, link, peers);
        self.peers.newcomers.clear();
        self.peers.listed_at = Some(cx.now);
        for (&peer, &p1) in peers {
            self.learn_peer(cx, peer, PeerSource::Bootstrap);
            let (mut before, mut is_new) = (None, false);
            self.peers.stale = true;
            self.peers.change(peer, |row| {
                row.named_at = cx.now;
                is_new = row.listed_by.is_empty();
                before = row.listed_by.insert(link, p1);
            });
            if is_new && self.peers.newcomers.len() < NEWCOMERS_MAX {
                self.peers.newcomers.push(peer);
            }
            match (p1, before) {
                (true, before) => self.note_evidence(cx, peer, Evidence::Listed { before }),
                (false, Some(true)) if marks_p1 => self.note_evidence(cx, peer, Evidence::PlainlyListed),
                (false, _) => {}
            }
        }
        self.plan_to_remember(cx);
    }

    /// Peers that are not in `still` are not listed by a link any more. Drops dead ones.
    pub(super) fn forget_listing(&mut self, cx: &mut Cx, link: LinkId, still: &BTreeMap<SocketAddr, bool>) {
        let listed =
            |(addr, peer): &(&SocketAddr, &Peer)| peer.listed_by.contains_key(&link) && !still.contains_key(addr);
        let gone: Vec<_> = self.peers.rows.iter().filter(listed).map(|(addr, _)| *addr).collect();
        for peer in gone {
            self.peers.change_or_remove(peer, |row| {
                row.listed_by.remove(&link);
                if row.is_dead() && row.listed_by.is_empty() { Keep::No } else { Keep::Yes }
            });
        }
        self.plan_to_remember(cx);
    }

    /// A search came from an address: neighbours there work as peers.
    pub(in crate::node) fn note_search_from(&mut self, ip: IpAddr) {
        let ip = ip.to_canonical();
        let there: Vec<_> = self.peers.neighbours.iter().filter(|addr| addr.ip() == ip).copied().collect();
        for addr in there {
            self.peers.change(addr, |row| row.works = true);
        }
    }

    pub(in crate::node) fn note_peer_answered(&mut self, cx: &mut Cx, peer: SocketAddr) {
        let mut was_alive = true;
        self.peers.change(peer, |row| {
            // A connection proves nothing about a program that is not a peer.
            was_alive = matches!(row.health, PeerHealth::Alive | PeerHealth::NotAPeer);
            if row.health != PeerHealth::NotAPeer {
                row.health = PeerHealth::Alive;
                row.last_seen = Some(cx.now);
                row.fresh_at = cx.now;
            }
        });
        if !was_alive {
            cx.notify_events(|| Notice::PeerUp { addr: peer });
            self.peers.note_proven();
        }
        self.plan_to_remember(cx);
    }

    /// We could not connect to a peer. After some failures in a row it is dropped, unless a bootstrap node still lists it, or we
    /// are registered nowhere: then our own network may be the cause.
    pub(super) fn note_peer_failed(&mut self, cx: &mut Cx, peer: SocketAddr) {
        let online = self.is_registered();
        let mut was_alive = false;
        self.peers.change_or_remove(peer, |row| {
            was_alive = row.health == PeerHealth::Alive;
            let (failures, counted_at) = match row.health {
                PeerHealth::NotAPeer => return Keep::Yes,
                PeerHealth::New | PeerHealth::Alive => (1, cx.now),
                PeerHealth::Failing { failures, counted_at }
                    if cx.now.saturating_since(counted_at) < PEER_FAILURE_SPAN =>
                {
                    (failures, counted_at)
                }
                PeerHealth::Failing { failures, .. } => (failures.saturating_add(1), cx.now),
            };
            row.health = PeerHealth::Failing { failures, counted_at };
            if online && row.is_dead() && row.listed_by.is_empty() { Keep::No } else { Keep::Yes }
        });
        if was_alive {
            cx.notify_events(|| Notice::PeerDown { addr: peer });
        }
        self.plan_expiry(cx);
        self.plan_to_remember(cx);
    }

    /// The program at the endpoint is not a peer. While a bootstrap node lists it, its row stays, so that it is never searched.
    pub(super) fn note_not_a_peer(&mut self, cx: &mut Cx, peer: SocketAddr, program: OtherProgram) {
        let (mut was_alive, mut is_news) = (false, false);
        self.peers.change_or_remove(peer, |row| {
            is_news = row.health != PeerHealth::NotAPeer;
            was_alive = row.health == PeerHealth::Alive;
            row.health = PeerHealth::NotAPeer;
            if row.listed_by.is_empty() { Keep::No } else { Keep::Yes }
        });
        if is_news && cx.may_log(Subject::NotAPeer, peer.ip(), 0) {
            log::info!(peer:%, answers_as:% = program; "an endpoint is not a peer");
        }
        if was_alive {
            cx.notify_events(|| Notice::PeerDown { addr: peer });
        }
        self.plan_to_remember(cx);
    }

    pub(in crate::node) fn neighbours(&mut self, cx: &mut Cx) -> Vec<SocketAddr> {
        if self.peers.stale {
            let home = self.home_networks(cx);
            self.peers.choose_neighbours(cx.config.max_peers, &home, &mut cx.rng);
        }
        self.peers.neighbours.iter().copied().collect()
    }

    /// The number of neighbours that do not fail.
    pub(in crate::node) fn neighbours_alive(&mut self, cx: &mut Cx) -> usize {
        let neighbours = self.neighbours(cx);
        let fails = |addr: &SocketAddr| self.peers.rows.get(addr).is_none_or(|peer| peer.rank() == RANK_FAILING);
        neighbours.iter().filter(|addr| !fails(addr)).count()
    }

    /// The user wants a peer forgotten. One that a list or a search names again comes back.
    pub(in crate::node) fn call_forget(&mut self, cx: &mut Cx, peer: SocketAddr) -> Result<(), Problem> {
        if !self.peers.rows.contains_key(&peer) {
            return Err(Problem::UnknownPeer(peer));
        }
        self.peers.remove(peer);
        self.plan_to_remember(cx);
        Ok(())
    }

    /// The configuration or our address changed: drops ourselves from the peers, and chooses the neighbours again.
    pub(in crate::node) fn reconsider_peers(&mut self, cx: &Cx) {
        let ourselves: Vec<_> = self.peers.rows.keys().copied().filter(|addr| self.is_ourselves(cx, *addr)).collect();
        ourselves.into_iter().for_each(|addr| self.peers.remove(addr));
        self.peers.stale = true;
    }

    fn plan_expiry(&mut self, cx: &mut Cx) {
        if !self.peers.is_empty() && self.peers.expiry_timer.is_none() {
            self.peers.expiry_timer = Some(cx.wheel.insert(cx.now + CLAIM_AGE_MAX, NodeTimer::ExpirePeers));
        }
    }

    /// Drops old claims, typing errors of the user, and, while we are registered, peers that no list names and that did not answer
    /// for long.
    pub(in crate::node) fn on_expire_peers(&mut self, cx: &mut Cx) {
        let online = self.is_registered();
        let old = |(addr, peer): &(&SocketAddr, &Peer)| {
            let is_forgotten = online && peer.is_forgotten() && !self.peers.neighbours.contains(addr);
            (peer.is_claim() || peer.is_mistyped() || is_forgotten) && peer.fresh_at + CLAIM_AGE_MAX <= cx.now
        };
        let old: Vec<_> = self.peers.rows.iter().filter(old).map(|(addr, _)| *addr).collect();
        old.into_iter().for_each(|addr| self.peers.remove(addr));
        let grows_old = |peer: &&Peer| peer.is_claim() || peer.is_mistyped() || peer.is_forgotten();
        let may_grow_old = self.peers.rows.values().filter(grows_old);
        // An old one that stays for now is checked again later.
        let later = |at: Instant| if at <= cx.now { cx.now + CLAIM_AGE_MAX / 2 } else { at };
        let next = may_grow_old.map(|peer| later(peer.fresh_at + CLAIM_AGE_MAX)).min();
        self.peers.expiry_timer = next.map(|at| cx.wheel.insert(at, NodeTimer::ExpirePeers));
    }

    fn plan_to_remember(&mut self, cx: &mut Cx) {
        if std::mem::take(&mut self.peers.good_changed) && self.peers.remember_timer.is_none() {
            let soon = cx.now + REMEMBER_DELAY;
            let at = self.peers.remembered_at.map_or(soon, |last| soon.max(last + REMEMBER_INTERVAL));
            self.peers.remember_timer = Some(cx.wheel.insert(at, NodeTimer::RememberPeers));
        }
    }

    /// Saves the good peers, if they changed.
    pub(in crate::node) fn remember_peers(&mut self, cx: &mut Cx) {
        let timer = self.peers.remember_timer.take();
        cx.cancel_timer(timer);
        let good = self.peers.good(cx.config.max_peers);
        let mut sorted = good.clone();
        sorted.proven.sort_unstable();
        sorted.others.sort_unstable();
        // If all are lost, our own network has probably failed: the saved peers are better than none.
        if !sorted.is_empty() && sorted != self.peers.remembered {
            self.peers.remembered = sorted;
            self.peers.remembered_at = Some(cx.now);
            cx.out.act(Action::RememberPeers(good));
        }
    }

    /// Records what the end of an exchange shows of the peer. A reset shows that it is reachable, but not that it works; our own
    /// shortages show nothing.
    pub(in crate::node) fn weigh_peer(&mut self, cx: &mut Cx, peer: SocketAddr, outcome: &DialOutcome) {
        match outcome {
            Ok(Dialled { .. }) => self.note_peer_answered(cx, peer),
            Err(DialFault::Refused | DialFault::Unreachable | DialFault::TimedOut) => {
                self.note_peer_failed(cx, peer);
            }
            Err(DialFault::NotAPeer(program)) => self.note_not_a_peer(cx, peer, *program),
            Err(DialFault::Reset | DialFault::TooLong | DialFault::Malformed) => {
                self.peers.change(peer, |row| row.is_in_doubt = true)
            }
            Err(_) => {}
        }
    }
}
