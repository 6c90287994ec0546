//! What exchanges, lists and users say about peers, and how long each is remembered.
//!
//! Takes as evidence that a peer is alive only exchanges that this node dialled.

use super::NetworkMachine;
use super::endpoints::{canonical, is_unicast};
use super::peers::{Keep, Peer, Proof, RANK_FAILING, Standing};
use crate::control::{Notice, PeerSource, Problem};
use crate::fault::{DialFault, OtherProgram};
use crate::node::contract::{Action, DialOutcome, Dialled, RememberedPeers};
use crate::node::cx::{Cx, NodeTimer};
use crate::node::ids::LinkId;
use crate::node::limits::{
    CLAIM_AGE_MAX, NEWCOMERS_MAX, PEER_FAILURE_SPAN, REMEMBER_DELAY, REMEMBER_INTERVAL, REMEMBERED_PEERS_MAX,
};
use crate::node::speech::Evidence;
use crate::time::Instant;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

impl NetworkMachine {
    /// Takes note that there may be a peer at an endpoint. Ourselves, and endpoints that cannot be a peer, are passed
    /// over.
    pub(in crate::node) fn learn_peer(&mut self, cx: &mut Cx, peer: SocketAddr, source: PeerSource) {
        let peer = canonical(peer);
        if self.peers.rows.contains_key(&peer) {
            // A list, or the user, says more than a claim.
            if matches!(source, PeerSource::Bootstrap | PeerSource::User) {
                self.peers.change(peer, |row| {
                    if row.source != PeerSource::User {
                        row.source = source;
                    }
                    // What the user has just named again is not forgotten at once.
                    if source == PeerSource::User {
                        row.fresh_at = cx.now;
                    }
                    Keep::Yes
                });
            }
        } else if is_unicast(peer) && !self.is_ourselves(cx, peer) {
            self.peers.insert(cx.now, peer, source);
            self.plan_expiry(cx);
        }
        self.plan_to_remember(cx);
    }

    /// Takes the peers of an earlier run.
    pub(in crate::node) fn recall_peers(&mut self, cx: &mut Cx, remembered: RememberedPeers) {
        let RememberedPeers { proven, others } = remembered;
        let known = proven.into_iter().map(|peer| (peer, true)).chain(others.into_iter().map(|peer| (peer, false)));
        for (peer, is_proven) in known.take(REMEMBERED_PEERS_MAX) {
            self.learn_peer(cx, peer, PeerSource::Memory);
            self.peers.change(canonical(peer), |row| {
                if is_proven {
                    row.proof = Proof::EarlierRun;
                }
                Keep::Yes
            });
        }
    }

    /// Takes what a bootstrap node listed, and whether each is said to speak `p1`: the peers that it named are listed by
    /// this link, and no others. `tells`: the bootstrap node is one that says of its peers what they speak.
    pub(super) fn take_peer_list(
        &mut self,
        cx: &mut Cx,
        link: LinkId,
        peers: &BTreeMap<SocketAddr, bool>,
        tells: bool,
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
                Keep::Yes
            });
            if is_new && self.peers.newcomers.len() < NEWCOMERS_MAX {
                self.peers.newcomers.push(peer);
            }
            match (p1, before) {
                (true, before) => self.note_evidence(cx, peer, Evidence::Listed { before }),
                (false, Some(true)) if tells => self.note_evidence(cx, peer, Evidence::PlainlyListed),
                (false, _) => {}
            }
        }
        self.plan_to_remember(cx);
    }

    /// A link no longer lists the peers other than `still`. Those that failed for long are given up now.
    pub(super) fn forget_listing(&mut self, cx: &mut Cx, link: LinkId, still: &BTreeMap<SocketAddr, bool>) {
        let listed =
            |(addr, peer): &(&SocketAddr, &Peer)| peer.listed_by.contains_key(&link) && !still.contains_key(addr);
        let gone: Vec<_> = self.peers.rows.iter().filter(listed).map(|(addr, _)| *addr).collect();
        for peer in gone {
            self.peers.change(peer, |row| {
                row.listed_by.remove(&link);
                if row.is_dead() && row.listed_by.is_empty() { Keep::No } else { Keep::Yes }
            });
        }
        self.plan_to_remember(cx);
    }

    /// A search came from an address: if neighbours are there, they do the work of peers.
    pub(in crate::node) fn note_search_from(&mut self, ip: IpAddr) {
        let ip = ip.to_canonical();
        let there: Vec<_> = self.peers.neighbours.iter().filter(|addr| addr.ip() == ip).copied().collect();
        for addr in there {
            self.peers.change(addr, |row| {
                row.works = true;
                Keep::Yes
            });
        }
    }

    /// An exchange that we dialled succeeded.
    pub(in crate::node) fn note_peer_answered(&mut self, cx: &mut Cx, peer: SocketAddr) {
        let mut was_alive = true;
        self.peers.change(peer, |row| {
            // A connection proves nothing about a program that is known not to be a peer.
            was_alive = matches!(row.standing, Standing::Alive | Standing::NotAPeer);
            if row.standing != Standing::NotAPeer {
                row.standing = Standing::Alive;
                row.last_seen = Some(cx.now);
                row.fresh_at = cx.now;
            }
            Keep::Yes
        });
        if !was_alive {
            cx.notify_events(|| Notice::PeerUp { addr: peer });
            self.peers.note_proven();
        }
        self.plan_to_remember(cx);
    }

    /// An exchange that we dialled found nobody. After some failures in a row the peer is given up, unless a bootstrap
    /// node still lists it. While no bootstrap node has us on its list nobody is given up: it may be our own network
    /// that fails, and who else would there be to ask.
    pub(super) fn note_peer_failed(&mut self, cx: &mut Cx, peer: SocketAddr) {
        let online = self.is_registered();
        let mut was_alive = false;
        self.peers.change(peer, |row| {
            was_alive = row.standing == Standing::Alive;
            let (failures, counted_at) = match row.standing {
                Standing::NotAPeer => return Keep::Yes,
                Standing::New | Standing::Alive => (1, cx.now),
                Standing::Failing { failures, counted_at }
                    if cx.now.saturating_since(counted_at) < PEER_FAILURE_SPAN =>
                {
                    (failures, counted_at)
                }
                Standing::Failing { failures, .. } => (failures.saturating_add(1), cx.now),
            };
            row.standing = Standing::Failing { failures, counted_at };
            if online && row.is_dead() && row.listed_by.is_empty() { Keep::No } else { Keep::Yes }
        });
        if was_alive {
            cx.notify_events(|| Notice::PeerDown { addr: peer });
        }
        self.plan_expiry(cx);
        self.plan_to_remember(cx);
    }

    /// What listens there answered as another kind of program does. It is never searched while its row stays, which it
    /// does as long as a bootstrap node lists it.
    pub(super) fn note_not_a_peer(&mut self, cx: &mut Cx, peer: SocketAddr, program: OtherProgram) {
        let mut was_alive = false;
        self.peers.change(peer, |row| {
            if row.standing != Standing::NotAPeer {
                log::info!("{peer} is not a peer: it answers as {program} does");
            }
            was_alive = row.standing == Standing::Alive;
            row.standing = Standing::NotAPeer;
            if row.listed_by.is_empty() { Keep::No } else { Keep::Yes }
        });
        if was_alive {
            cx.notify_events(|| Notice::PeerDown { addr: peer });
        }
        self.plan_to_remember(cx);
    }

    /// The neighbours, by address.
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
        self.peers.change(peer, |_| Keep::No);
        self.plan_to_remember(cx);
        Ok(())
    }

    /// The configuration changed: there may be more or fewer neighbours, and an address of ours among the peers.
    pub(in crate::node) fn reconsider_peers(&mut self, cx: &Cx) {
        let ourselves: Vec<_> = self.peers.rows.keys().copied().filter(|addr| self.is_ourselves(cx, *addr)).collect();
        ourselves.into_iter().for_each(|addr| self.peers.change(addr, |_| Keep::No));
        self.peers.stale = true;
    }

    /// Sees to it that claims do not stay for ever.
    fn plan_expiry(&mut self, cx: &mut Cx) {
        if !self.peers.is_empty() && self.peers.expiry_timer.is_none() {
            self.peers.expiry_timer = Some(cx.wheel.insert(cx.now + CLAIM_AGE_MAX, NodeTimer::ExpirePeers));
        }
    }

    /// Forgets claims that nothing proved for long, what the user mistyped, and peers that no list names any more and that did
    /// not answer for long. The latter only while a bootstrap node has us on its list: without one nobody else would be there to ask.
    pub(in crate::node) fn on_expire_peers(&mut self, cx: &mut Cx) {
        let online = self.is_registered();
        let old = |(addr, peer): &(&SocketAddr, &Peer)| {
            let is_forgotten = online && peer.is_forgotten() && !self.peers.neighbours.contains(addr);
            (peer.is_claim() || peer.is_mistyped() || is_forgotten) && peer.fresh_at + CLAIM_AGE_MAX <= cx.now
        };
        let old: Vec<_> = self.peers.rows.iter().filter(old).map(|(addr, _)| *addr).collect();
        old.into_iter().for_each(|addr| self.peers.change(addr, |_| Keep::No));
        let grows_old = |peer: &&Peer| peer.is_claim() || peer.is_mistyped() || peer.is_forgotten();
        let may_grow_old = self.peers.rows.values().filter(grows_old);
        // One that is old and stays for now is looked at again later.
        let later = |at: Instant| if at <= cx.now { cx.now + CLAIM_AGE_MAX / 2 } else { at };
        let next = may_grow_old.map(|peer| later(peer.fresh_at + CLAIM_AGE_MAX)).min();
        self.peers.expiry_timer = next.map(|at| cx.wheel.insert(at, NodeTimer::ExpirePeers));
    }

    /// Sees to it that a change of the good peers is remembered soon.
    fn plan_to_remember(&mut self, cx: &mut Cx) {
        if std::mem::take(&mut self.peers.good_changed) && self.peers.remember_timer.is_none() {
            let soon = cx.now + REMEMBER_DELAY;
            let at = self.peers.remembered_at.map_or(soon, |last| soon.max(last + REMEMBER_INTERVAL));
            self.peers.remember_timer = Some(cx.wheel.insert(at, NodeTimer::RememberPeers));
        }
    }

    /// Orders the good peers to be remembered, if they are others than last time.
    pub(in crate::node) fn remember_peers(&mut self, cx: &mut Cx) {
        let timer = self.peers.remember_timer.take();
        cx.cancel_timer(timer);
        let good = self.peers.good(cx.config.max_peers);
        let mut sorted = good.clone();
        sorted.proven.sort_unstable();
        sorted.others.sort_unstable();
        // When all are lost, rather our own network is: what was remembered is then better than nothing.
        if !sorted.is_empty() && sorted != self.peers.remembered {
            self.peers.remembered = sorted;
            self.peers.remembered_at = Some(cx.now);
            cx.out.act(Action::RememberPeers(good));
        }
    }

    /// What the end of an exchange says about the peer. A reset says that somebody is there, but not that it is well;
    /// our own shortages say nothing.
    pub(in crate::node) fn weigh_peer(&mut self, cx: &mut Cx, peer: SocketAddr, outcome: &DialOutcome) {
        match outcome {
            Ok(Dialled { .. }) => self.note_peer_answered(cx, peer),
            Err(DialFault::Refused | DialFault::Unreachable | DialFault::TimedOut) => {
                self.note_peer_failed(cx, peer);
            }
            Err(DialFault::NotAPeer(program)) => self.note_not_a_peer(cx, peer, *program),
            Err(DialFault::Reset | DialFault::TooLong | DialFault::Malformed) => self.peers.change(peer, |row| {
                row.is_in_doubt = true;
                Keep::Yes
            }),
            Err(_) => {}
        }
    }
}
