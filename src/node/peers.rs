//! The peers that this node knows, what it thinks of each, and the neighbours among them that searches go to.
//!
//! Owns the table. Takes as evidence only exchanges that this node dialled. Whoever names an endpoint in a search or a
//! hit makes a mere claim: few such rows exist at once, none is alive before it was dialled, and until it has spoken as a
//! peer does, or a bootstrap node lists it, any other is the better neighbour.

use super::contract::Action;
use super::dice::Dice;
use super::endpoints::{canonical, is_unicast};
use super::limits::{
    CLAIM_AGE_MAX, CLAIMS_MAX, NEWCOMERS_MAX, PEER_FAILURE_SPAN, PEER_FAILURES_MAX, PEERS_MAX, REMEMBER_DELAY,
    REMEMBER_INTERVAL, REMEMBERED_PEERS_MAX,
};
use super::membership::LinkId;
use super::neighbours::{self, Candidate};
use super::speech::{Evidence, Shown, Speech};
use super::{Node, NodeTimer};
use crate::control::{Notice, PeerRow, PeerSource, PeerState};
use crate::fault::OtherProgram;
use crate::time::Instant;
use crate::timer::TimerId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// What we think of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not tried yet.
    New,
    /// It answered the last time.
    Alive,
    /// It did not answer so many times in a row.
    Failing { failures: u32, counted_at: Instant },
    /// It answered as another kind of program does.
    NotAPeer,
}

/// One known peer.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    source: PeerSource,
    standing: Standing,
    /// When it was learnt of, or answered last.
    fresh_at: Instant,
    last_seen: Option<Instant>,
    speech: Speech,
    /// It has sent a hit or a list of its own, as only a peer does.
    spoke: bool,
    /// The links whose last list named it, and whether as one that speaks `p1`.
    listed_by: BTreeMap<LinkId, bool>,
}

impl Peer {
    /// Whether it has failed so often in a row that it is not one to count on.
    fn is_dead(&self) -> bool {
        match self.standing {
            Standing::Failing { failures, .. } => failures >= PEER_FAILURES_MAX,
            Standing::NotAPeer => true,
            Standing::New | Standing::Alive => false,
        }
    }

    /// Known only because somebody named its endpoint. That a connection to it succeeds proves nothing: whoever forges
    /// searches may name any server.
    fn is_claim(&self) -> bool {
        matches!(self.source, PeerSource::Search | PeerSource::Hit) && !self.spoke && self.listed_by.is_empty()
    }

    /// Known from a list that does not name it any more, or from a search long ago.
    fn is_forgotten(&self) -> bool {
        self.listed_by.is_empty() && self.source != PeerSource::User
    }

    /// Worth remembering across a restart.
    fn is_good(&self) -> bool {
        !self.is_claim() && matches!(self.standing, Standing::New | Standing::Alive)
    }

    /// Lower is a better neighbour.
    fn rank(&self) -> u8 {
        match (self.standing, self.is_claim()) {
            (Standing::Alive, false) => RANK_ALIVE,
            (Standing::New, false) if self.is_forgotten() => RANK_CLAIM - 1,
            (Standing::New, false) => RANK_ALIVE + 1,
            (Standing::Alive, true) => RANK_CLAIM,
            (Standing::New, true) => RANK_CLAIM + 1,
            (Standing::Failing { .. }, _) => RANK_FAILING,
            (Standing::NotAPeer, _) => RANK_NOT_A_PEER,
        }
    }
}

/// The rank of a peer that answered the last time.
const RANK_ALIVE: u8 = 0;

/// The best rank of a claim; from here on, a better peer takes a neighbour's place.
const RANK_CLAIM: u8 = 3;

/// The rank of a neighbour that any other replaces.
const RANK_FAILING: u8 = 5;

/// The rank of what is never a neighbour.
const RANK_NOT_A_PEER: u8 = 6;

/// The table of peers.
#[derive(Default)]
pub(super) struct Peers {
    rows: BTreeMap<SocketAddr, Peer>,
    neighbours: BTreeSet<SocketAddr>,
    /// Those that have shown `p1`, also if they have no row.
    pub(super) shown: Shown,
    /// Those that the last list named which no list had named before.
    newcomers: Vec<SocketAddr>,
    /// Rows changed since the neighbours were chosen.
    stale: bool,
    claims: usize,
    /// Good peers came or went since they were remembered.
    good_changed: bool,
    remembered: Vec<SocketAddr>,
    remembered_at: Option<Instant>,
    remember_timer: Option<TimerId>,
    expiry_timer: Option<TimerId>,
}

impl Peers {
    /// Peers that are not dead.
    pub(super) fn count(&self) -> usize {
        self.rows.len() - self.rows.values().filter(|peer| peer.is_dead()).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Peers known, dead ones too.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn speech(&self, peer: SocketAddr) -> Speech {
        match self.rows.get(&peer).map_or(Speech::Unheard, |row| row.speech) {
            Speech::Unheard if self.shown.contains(peer) => Speech::P1,
            speech => speech,
        }
    }

    /// Changes what is known of a peer's speech. Whoever speaks as a peer is one, whatever was thought of it.
    pub(super) fn set_speech(&mut self, now: Instant, peer: SocketAddr, speech: Speech, evidence: Evidence) {
        self.change(peer, |row| {
            row.speech = speech;
            if evidence.is_of_peer() {
                row.last_seen = Some(now);
                row.spoke = true;
                if row.standing == Standing::NotAPeer {
                    row.standing = Standing::New;
                }
            }
            Keep::Yes
        });
    }

    /// Whether a bootstrap node lists it as one that speaks `p1`, whatever it has shown.
    pub(super) fn is_listed_p1(&self, peer: SocketAddr) -> bool {
        self.rows.get(&peer).is_some_and(|row| row.listed_by.values().any(|p1| *p1))
    }

    /// The peers that have just come onto a list.
    pub(super) fn newcomers(&self) -> &[SocketAddr] {
        &self.newcomers
    }

    /// Whether this is surely a peer, and no mere claim.
    pub(super) fn is_known(&self, peer: SocketAddr) -> bool {
        self.rows.get(&peer).is_some_and(|row| !row.is_claim())
    }

    /// All rows, by address.
    pub(super) fn rows(&self) -> Vec<PeerRow> {
        let row = |(&addr, peer): (&SocketAddr, &Peer)| PeerRow {
            addr,
            source: peer.source,
            state: match peer.standing {
                Standing::New => PeerState::New,
                Standing::Alive => PeerState::Alive,
                Standing::Failing { .. } | Standing::NotAPeer => PeerState::Failing,
            },
            last_seen: peer.last_seen.map(Instant::epoch_s),
            p1: match self.speech(addr) {
                Speech::Unheard => None,
                Speech::Base => Some(false),
                Speech::P1 => Some(true),
            },
            neighbour: self.neighbours.contains(&addr),
        };
        self.rows.iter().map(row).collect()
    }

    /// Changes a row through `change`, or removes it when that says so; keeps the counts true.
    fn change(&mut self, peer: SocketAddr, change: impl FnOnce(&mut Peer) -> Keep) {
        let Some(row) = self.rows.get_mut(&peer) else { return };
        let (claim, good, rank) = (row.is_claim(), row.is_good(), row.rank());
        let keep = change(row);
        let (now_claim, now_good, now_rank) = (row.is_claim(), row.is_good(), row.rank());
        self.claims -= usize::from(claim);
        if keep == Keep::Yes {
            self.claims += usize::from(now_claim);
            self.good_changed |= good != now_good;
            self.stale |= rank != now_rank;
        } else {
            self.good_changed |= good;
            self.stale = true;
            self.rows.remove(&peer);
            self.neighbours.remove(&peer);
        }
    }

    /// Makes a row, if there is room for one from this source.
    fn insert(&mut self, now: Instant, peer: SocketAddr, source: PeerSource) -> bool {
        let row = Peer {
            source,
            standing: Standing::New,
            fresh_at: now,
            last_seen: None,
            speech: Speech::Unheard,
            spoke: false,
            listed_by: BTreeMap::new(),
        };
        let claim = row.is_claim();
        if claim && (self.claims >= CLAIMS_MAX || self.rows.len() >= PEERS_MAX) {
            return false;
        }
        if self.rows.len() >= PEERS_MAX && !self.evict() {
            return false;
        }
        self.claims += usize::from(claim);
        self.good_changed |= row.is_good();
        self.stale = true;
        self.rows.insert(peer, row);
        true
    }

    /// Makes room by the row that is missed least: of those that are no neighbours the worst, then one that no list names
    /// any more, then the oldest. One that answered and is still listed stays.
    fn evict(&mut self) -> bool {
        let may_go = |(addr, peer): &(&SocketAddr, &Peer)| {
            let proven = peer.rank() == RANK_ALIVE && !peer.listed_by.is_empty();
            let is_wanted = peer.source == PeerSource::User && peer.rank() < RANK_FAILING;
            !proven && !is_wanted && !self.neighbours.contains(addr)
        };
        let place = |(addr, peer): (&SocketAddr, &Peer)| {
            (Reverse(peer.rank()), !peer.listed_by.is_empty(), peer.fresh_at, *addr)
        };
        let Some((.., victim)) = self.rows.iter().filter(may_go).map(place).min() else { return false };
        self.change(victim, |_| Keep::No);
        true
    }

    /// Chooses the neighbours anew, if something changed.
    fn choose_neighbours(&mut self, neighbours_max: usize, dice: &mut Dice) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let peers = self.rows.iter().filter(|(_, peer)| peer.rank() < RANK_NOT_A_PEER);
        let candidate = |(&addr, peer): (&SocketAddr, &Peer)| {
            let (rank, chance) = (peer.rank(), dice.number());
            Candidate { rank, chance, addr }
        };
        let candidates = peers.map(candidate).collect();
        self.neighbours = neighbours::choose(candidates, &self.neighbours, neighbours_max, RANK_CLAIM);
    }

    /// The good peers: those that answered last first, then those only heard of.
    fn good(&self) -> Vec<SocketAddr> {
        let mut good: Vec<_> = self.rows.iter().filter(|(_, peer)| peer.is_good()).collect();
        good.sort_by_key(|(addr, peer)| (peer.rank(), std::cmp::Reverse(peer.last_seen), **addr));
        good.into_iter().map(|(addr, _)| *addr).take(REMEMBERED_PEERS_MAX).collect()
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.rows.len() <= PEERS_MAX, "the peers are bounded");
        let claims = self.rows.values().filter(|peer| peer.is_claim()).count();
        assert_eq!(claims, self.claims, "the claims are counted");
        assert!(claims <= CLAIMS_MAX, "the claims are bounded");
        assert!(self.neighbours.iter().all(|addr| self.rows.contains_key(addr)), "neighbours are peers");
        self.shown.check_invariants();
        for addr in self.rows.keys() {
            assert!(is_unicast(*addr) && canonical(*addr) == *addr, "{addr} is a peer's endpoint");
        }
    }
}

/// Whether a row stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    Yes,
    No,
}

impl Node {
    /// Takes note that there may be a peer at an endpoint. Ourselves, and endpoints that cannot be a peer, are passed
    /// over.
    pub(super) fn learn_peer(&mut self, now: Instant, peer: SocketAddr, source: PeerSource) {
        let peer = canonical(peer);
        if self.peers.rows.contains_key(&peer) {
            // A list, or the user, says more than a claim.
            if matches!(source, PeerSource::Bootstrap | PeerSource::User) {
                self.peers.change(peer, |row| {
                    if row.source != PeerSource::User {
                        row.source = source;
                    }
                    Keep::Yes
                });
            }
        } else if is_unicast(peer) && !self.is_ourselves(peer) {
            self.peers.insert(now, peer, source);
            self.plan_expiry(now);
        }
        self.plan_to_remember(now);
    }

    /// Takes what a bootstrap node listed, and whether each is said to speak `p1`: the peers that it named are listed by
    /// this link, and no others. `tells`: the bootstrap node is one that says of its peers what they speak.
    pub(super) fn take_peer_list(
        &mut self,
        now: Instant,
        link: LinkId,
        peers: &BTreeMap<SocketAddr, bool>,
        tells: bool,
    ) {
        self.forget_listing(now, link, peers);
        self.peers.newcomers.clear();
        for (&peer, &p1) in peers {
            self.learn_peer(now, peer, PeerSource::Bootstrap);
            let (mut before, mut is_new) = (None, false);
            self.peers.change(peer, |row| {
                is_new = row.listed_by.is_empty();
                before = row.listed_by.insert(link, p1);
                Keep::Yes
            });
            if is_new && self.peers.newcomers.len() < NEWCOMERS_MAX {
                self.peers.newcomers.push(peer);
            }
            match (p1, before) {
                (true, before) => self.note_evidence(now, peer, Evidence::Listed { before }),
                (false, Some(true)) if tells => self.note_evidence(now, peer, Evidence::PlainlyListed),
                (false, _) => {}
            }
        }
        self.plan_to_remember(now);
    }

    /// A link no longer lists the peers other than `still`. Those that failed for long are given up now.
    pub(super) fn forget_listing(&mut self, now: Instant, link: LinkId, still: &BTreeMap<SocketAddr, bool>) {
        let listed =
            |(addr, peer): &(&SocketAddr, &Peer)| peer.listed_by.contains_key(&link) && !still.contains_key(addr);
        let gone: Vec<_> = self.peers.rows.iter().filter(listed).map(|(addr, _)| *addr).collect();
        for peer in gone {
            self.peers.change(peer, |row| {
                row.listed_by.remove(&link);
                if row.is_dead() && row.listed_by.is_empty() { Keep::No } else { Keep::Yes }
            });
        }
        self.plan_to_remember(now);
    }

    /// An exchange that we dialled succeeded.
    pub(super) fn note_peer_answered(&mut self, now: Instant, peer: SocketAddr) {
        let mut was_alive = true;
        self.peers.change(peer, |row| {
            // A connection proves nothing about a program that is known not to be a peer.
            was_alive = matches!(row.standing, Standing::Alive | Standing::NotAPeer);
            if row.standing != Standing::NotAPeer {
                row.standing = Standing::Alive;
                row.last_seen = Some(now);
                row.fresh_at = now;
            }
            Keep::Yes
        });
        if !was_alive {
            self.notify_events(|| Notice::PeerUp { addr: peer });
        }
        self.plan_to_remember(now);
    }

    /// An exchange that we dialled found nobody. After some failures in a row the peer is given up, unless a bootstrap
    /// node still lists it. While no bootstrap node has us on its list nobody is given up: it may be our own network
    /// that fails, and who else would there be to ask.
    pub(super) fn note_peer_failed(&mut self, now: Instant, peer: SocketAddr) {
        let online = self.is_registered();
        let mut was_alive = false;
        self.peers.change(peer, |row| {
            was_alive = row.standing == Standing::Alive;
            let (failures, counted_at) = match row.standing {
                Standing::NotAPeer => return Keep::Yes,
                Standing::New | Standing::Alive => (1, now),
                Standing::Failing { failures, counted_at } if now.saturating_since(counted_at) < PEER_FAILURE_SPAN => {
                    (failures, counted_at)
                }
                Standing::Failing { failures, .. } => (failures.saturating_add(1), now),
            };
            row.standing = Standing::Failing { failures, counted_at };
            if online && row.is_dead() && row.listed_by.is_empty() { Keep::No } else { Keep::Yes }
        });
        if was_alive {
            self.notify_events(|| Notice::PeerDown { addr: peer });
        }
        self.plan_expiry(now);
        self.plan_to_remember(now);
    }

    /// What listens there answered as another kind of program does. It is never searched while its row stays, which it
    /// does as long as a bootstrap node lists it.
    pub(super) fn note_not_a_peer(&mut self, now: Instant, peer: SocketAddr, program: OtherProgram) {
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
            self.notify_events(|| Notice::PeerDown { addr: peer });
        }
        self.plan_to_remember(now);
    }

    /// The neighbours, by address.
    pub(super) fn neighbours(&mut self) -> Vec<SocketAddr> {
        self.peers.choose_neighbours(self.config.max_peers, &mut self.dice);
        self.peers.neighbours.iter().copied().collect()
    }

    /// The number of neighbours that do not fail.
    pub(super) fn neighbours_alive(&mut self) -> usize {
        let neighbours = self.neighbours();
        let fails = |addr: &SocketAddr| self.peers.rows.get(addr).is_none_or(|peer| peer.rank() == RANK_FAILING);
        neighbours.iter().filter(|addr| !fails(addr)).count()
    }

    /// The configuration changed: there may be more or fewer neighbours, and an address of ours among the peers.
    pub(super) fn reconsider_peers(&mut self) {
        let ourselves: Vec<_> = self.peers.rows.keys().copied().filter(|addr| self.is_ourselves(*addr)).collect();
        ourselves.into_iter().for_each(|addr| self.peers.change(addr, |_| Keep::No));
        self.peers.stale = true;
    }

    /// Sees to it that claims do not stay for ever.
    fn plan_expiry(&mut self, now: Instant) {
        if !self.peers.is_empty() && self.peers.expiry_timer.is_none() {
            self.peers.expiry_timer = Some(self.wheel.insert(now + CLAIM_AGE_MAX, NodeTimer::ExpirePeers));
        }
    }

    /// Forgets claims that nothing proved for long, and peers that no list names any more and that did not answer for long.
    /// The latter only while a bootstrap node has us on its list: without one nobody else would be there to ask.
    pub(super) fn on_expire_peers(&mut self, now: Instant) {
        let online = self.is_registered();
        let old = |(addr, peer): &(&SocketAddr, &Peer)| {
            let is_forgotten = online && peer.is_forgotten() && !self.peers.neighbours.contains(addr);
            (peer.is_claim() || is_forgotten) && peer.fresh_at + CLAIM_AGE_MAX <= now
        };
        let old: Vec<_> = self.peers.rows.iter().filter(old).map(|(addr, _)| *addr).collect();
        old.into_iter().for_each(|addr| self.peers.change(addr, |_| Keep::No));
        let may_grow_old = self.peers.rows.values().filter(|peer| peer.is_claim() || peer.is_forgotten());
        // One that is old and stays for now is looked at again later.
        let later = |at: Instant| if at <= now { now + CLAIM_AGE_MAX / 2 } else { at };
        let next = may_grow_old.map(|peer| later(peer.fresh_at + CLAIM_AGE_MAX)).min();
        self.peers.expiry_timer = next.map(|at| self.wheel.insert(at, NodeTimer::ExpirePeers));
    }

    /// Sees to it that a change of the good peers is remembered soon.
    fn plan_to_remember(&mut self, now: Instant) {
        if std::mem::take(&mut self.peers.good_changed) && self.peers.remember_timer.is_none() {
            let soon = now + REMEMBER_DELAY;
            let at = self.peers.remembered_at.map_or(soon, |last| soon.max(last + REMEMBER_INTERVAL));
            self.peers.remember_timer = Some(self.wheel.insert(at, NodeTimer::RememberPeers));
        }
    }

    /// Orders the good peers to be remembered, if they are others than last time.
    pub(super) fn remember_peers(&mut self, now: Instant) {
        let timer = self.peers.remember_timer.take();
        self.cancel_timer(timer);
        let good = self.peers.good();
        let mut sorted = good.clone();
        sorted.sort_unstable();
        // When all are lost, rather our own network is: what was remembered is then better than nothing.
        if !sorted.is_empty() && sorted != self.peers.remembered {
            self.peers.remembered = sorted;
            self.peers.remembered_at = Some(now);
            self.actions.push_back(Action::RememberPeers(good));
        }
    }
}
