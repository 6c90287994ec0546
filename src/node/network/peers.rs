//! The table of known peers, and the neighbours among them, to which searches are sent.
//!
//! Owns the rules by which a row displaces another. An endpoint that a search or a hit names is only a *claim*: their number
//! is limited, and until it has sent something that only a peer sends, or a bootstrap node lists it, any other peer is the
//! better neighbour. A claim displaces only claims, first those of the network that has most.

use super::endpoints::{canonical, is_unicast};
use super::guests::Guests;
use super::neighbours::{self, Candidate, Rules, UseShown};
use super::shown::Shown;
use crate::control::{PeerRow, PeerSource, PeerState};
use crate::network::{Network, WideNetwork};
use crate::node::contract::RememberedPeers;
use crate::node::cx::Rng;
use crate::node::ids::LinkId;
use crate::node::limits::{
    ASSIGNED_PLACES_OF, CLAIMS_MAX, NEWCOMER_PLACES_OF, PEER_FAILURES_MAX, PEERS_MAX, REMEMBERED_PEERS_MAX,
};
use crate::node::speech::{Evidence, Speech};
use crate::time::{Instant, WallClock};
use crate::timer::TimerId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PeerHealth {
    New,
    /// Answered the last time.
    Alive,
    /// Did not answer this number of times in a row.
    Failing {
        failures: u32,
        counted_at: Instant,
    },
    /// Answered as another kind of program does.
    NotAPeer,
}

/// When a peer has answered as a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Proof {
    Never,
    ThisRun,
    EarlierRun,
}

#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) source: PeerSource,
    pub(super) health: PeerHealth,
    /// When it became known, or answered last.
    pub(super) fresh_at: Instant,
    pub(super) last_seen: Option<Instant>,
    speech: Speech,
    /// It has sent a hit or a list of its own, or answered a first contact.
    spoke: bool,
    /// It has sent a hit, a list or a search.
    pub(super) works: bool,
    pub(super) proof: Proof,
    /// The links whose last list named it, and whether as one that speaks `p1`.
    pub(super) listed_by: BTreeMap<LinkId, bool>,
    /// When it became known, or a list named it last.
    pub(super) named_at: Instant,
    /// An exchange with it ended abnormally: it may be no peer.
    pub(super) is_in_doubt: bool,
}

impl Peer {
    /// Whether it is not a peer, or has failed too often in a row.
    pub(super) fn is_dead(&self) -> bool {
        match self.health {
            PeerHealth::Failing { failures, .. } => failures >= PEER_FAILURES_MAX,
            PeerHealth::NotAPeer => true,
            PeerHealth::New | PeerHealth::Alive => false,
        }
    }

    /// Known only because a search or a hit names it. A successful connection proves nothing: a forged one may name any server.
    pub(super) fn is_claim(&self) -> bool {
        matches!(self.source, PeerSource::Search | PeerSource::Hit) && !self.spoke && self.listed_by.is_empty()
    }

    /// No list names it any more, and the user did not name it.
    pub(super) fn is_forgotten(&self) -> bool {
        self.listed_by.is_empty() && self.source != PeerSource::User
    }

    /// Named by the user, and has never answered: probably a typing error.
    pub(super) fn is_mistyped(&self) -> bool {
        let never_heard = self.last_seen.is_none() && !self.spoke && self.listed_by.is_empty();
        let fails = matches!(self.health, PeerHealth::Failing { .. } | PeerHealth::NotAPeer);
        self.source == PeerSource::User && never_heard && (fails || self.is_in_doubt)
    }

    fn is_good(&self) -> bool {
        !self.is_claim() && matches!(self.health, PeerHealth::New | PeerHealth::Alive)
    }

    /// Lower is a better neighbour.
    pub(super) fn rank(&self) -> u8 {
        match (self.health, self.is_claim()) {
            (PeerHealth::Alive, false) => RANK_ALIVE,
            (PeerHealth::New, false) if self.is_forgotten() => RANK_CLAIM - 1,
            (PeerHealth::New, false) => RANK_ALIVE + 1,
            (PeerHealth::Alive, true) => RANK_CLAIM,
            (PeerHealth::New, true) => RANK_CLAIM + 1,
            (PeerHealth::Failing { .. }, _) => RANK_FAILING,
            (PeerHealth::NotAPeer, _) => RANK_NOT_A_PEER,
        }
    }
}

const RANK_ALIVE: u8 = 0;

/// The best rank of a claim; from here on, a neighbour is replaced by a better peer.
const RANK_CLAIM: u8 = 3;

pub(super) const RANK_FAILING: u8 = 5;

const RANK_NOT_A_PEER: u8 = 6;

#[derive(Default)]
pub(in crate::node) struct Peers {
    pub(super) rows: BTreeMap<SocketAddr, Peer>,
    pub(super) neighbours: BTreeSet<SocketAddr>,
    guests: Guests,
    /// Base peers assigned to us, which have reserved places among the neighbours.
    assigned: BTreeSet<SocketAddr>,
    /// Peers that have shown `p1`, also without a row.
    pub(super) shown: Shown,
    /// Peers that the last list was the first to name.
    pub(super) newcomers: Vec<SocketAddr>,
    /// The neighbours are to be chosen again.
    pub(super) stale: bool,
    /// When a list came since they were chosen: one of them may be replaced.
    pub(super) listed_at: Option<Instant>,
    networks: BTreeMap<Network, usize>,
    claims: usize,
    /// Rows displaced by others, since the start.
    pub(super) displaced: u64,
    /// Neighbours replaced by peers on a list because they had sent nothing, since the start.
    pub(super) replaced: u64,
    /// The good peers have changed since they were saved.
    pub(super) good_changed: bool,
    pub(super) remembered: RememberedPeers,
    pub(super) remembered_at: Option<Instant>,
    pub(super) remember_timer: Option<TimerId>,
    pub(super) expiry_timer: Option<TimerId>,
}

impl Peers {
    pub(in crate::node) fn count(&self) -> usize {
        self.rows.len() - self.rows.values().filter(|peer| peer.is_dead()).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Peers known, dead ones too.
    pub(in crate::node) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(in crate::node) fn speech(&self, peer: SocketAddr) -> Speech {
        match self.rows.get(&peer).map_or(Speech::Unheard, |row| row.speech) {
            Speech::Unheard if self.shown.contains(peer) => Speech::P1,
            speech => speech,
        }
    }

    /// Whether a peer understands searches with quotes, exclusions and patterns: a base program takes these for a part of the
    /// name.
    pub(in crate::node) fn takes_operators(&self, peer: SocketAddr) -> bool {
        self.speech(peer) == Speech::P1 || self.is_listed_p1(peer)
    }

    /// Records what a peer speaks. Evidence of a peer makes one out of `NotAPeer`.
    pub(super) fn set_speech(&mut self, now: Instant, peer: SocketAddr, speech: Speech, evidence: Evidence) {
        self.change(peer, |row| {
            row.speech = speech;
            row.works |= evidence.is_work();
            if evidence.is_of_peer() {
                row.last_seen = Some(now);
                row.spoke = true;
                if row.health == PeerHealth::NotAPeer {
                    row.health = PeerHealth::New;
                }
            }
        });
    }

    /// Whether a bootstrap node lists it as a `p1` peer.
    pub(in crate::node) fn is_listed_p1(&self, peer: SocketAddr) -> bool {
        self.rows.get(&peer).is_some_and(|row| row.listed_by.values().any(|p1| *p1))
    }

    /// The peers on lists, without dead ones.
    pub(in crate::node) fn listed(&self) -> impl Iterator<Item = SocketAddr> {
        let is_listed = |(_, row): &(&SocketAddr, &Peer)| !row.listed_by.is_empty() && !row.is_dead();
        self.rows.iter().filter(is_listed).map(|(addr, _)| *addr)
    }

    pub(in crate::node) fn newcomers(&self) -> &[SocketAddr] {
        &self.newcomers
    }

    /// Whether it has a row that is no claim.
    pub(in crate::node) fn is_known(&self, peer: SocketAddr) -> bool {
        self.rows.get(&peer).is_some_and(|row| !row.is_claim())
    }

    /// Whether it answered the last time, and is no claim.
    pub(in crate::node) fn has_answered(&self, peer: SocketAddr) -> bool {
        self.rows.get(&peer).is_some_and(|row| row.rank() == RANK_ALIVE)
    }

    /// Whether a connection to it is likely to succeed: it answered the last time, or is no claim and was not dialled yet.
    pub(in crate::node) fn is_proven(&self, peer: SocketAddr) -> bool {
        self.rows.get(&peer).is_some_and(|row| row.rank() <= RANK_CLAIM)
    }

    /// The peers for which [`is_proven`](Self::is_proven) holds.
    pub(in crate::node) fn proven(&self) -> impl Iterator<Item = SocketAddr> {
        self.rows.iter().filter(|(_, row)| row.rank() <= RANK_CLAIM).map(|(addr, _)| *addr)
    }

    /// The peer that connects from this endpoint: the one that listens there, else the only one known at that IP address.
    pub(in crate::node) fn listens_at(&self, from: SocketAddr) -> Option<SocketAddr> {
        let ip = from.ip().to_canonical();
        if self.rows.contains_key(&SocketAddr::new(ip, from.port())) {
            return Some(SocketAddr::new(ip, from.port()));
        }
        let mut there = self.rows.range(SocketAddr::new(ip, 0)..=SocketAddr::new(ip, u16::MAX)).map(|(peer, _)| *peer);
        there.next().filter(|_| there.next().is_none())
    }

    pub(in crate::node) fn rows(&self, wall: WallClock) -> Vec<PeerRow> {
        let row = |(&addr, peer): (&SocketAddr, &Peer)| PeerRow {
            addr,
            source: peer.source,
            state: match peer.health {
                PeerHealth::New => PeerState::New,
                PeerHealth::Alive => PeerState::Alive,
                PeerHealth::Failing { .. } | PeerHealth::NotAPeer => PeerState::Failing,
            },
            last_seen: peer.last_seen.map(|at| wall.epoch_s(at)),
            p1: match self.speech(addr) {
                Speech::Unheard => None,
                Speech::Base => Some(false),
                Speech::P1 => Some(true),
            },
            neighbour: self.neighbours.contains(&addr),
        };
        self.rows.iter().map(row).collect()
    }

    /// Changes a row, and updates the counts.
    pub(super) fn change(&mut self, peer: SocketAddr, change: impl FnOnce(&mut Peer)) {
        self.change_or_remove(peer, |row| {
            change(row);
            Keep::Yes
        });
    }

    pub(super) fn remove(&mut self, peer: SocketAddr) {
        self.change_or_remove(peer, |_| Keep::No);
    }

    /// Changes or removes a row, as `change` returns, and updates the counts.
    pub(super) fn change_or_remove(&mut self, peer: SocketAddr, change: impl FnOnce(&mut Peer) -> Keep) {
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
            let network = Network::of(peer.ip());
            if self.networks.get(&network).is_some_and(|rows| *rows > 1) {
                self.networks.entry(network).and_modify(|rows| *rows -= 1);
            } else {
                self.networks.remove(&network);
            }
        }
    }

    /// Adds a row, if there is room for one from this source.
    pub(super) fn insert(&mut self, now: Instant, peer: SocketAddr, source: PeerSource) {
        let row = Peer {
            source,
            health: PeerHealth::New,
            fresh_at: now,
            last_seen: None,
            speech: Speech::Unheard,
            spoke: false,
            works: false,
            proof: Proof::Never,
            listed_by: BTreeMap::new(),
            named_at: now,
            is_in_doubt: false,
        };
        let claim = row.is_claim();
        let is_full = self.rows.len() >= PEERS_MAX || claim && self.claims >= CLAIMS_MAX;
        if is_full {
            let victim = if claim { self.least_claim() } else { self.least_row() };
            let Some(victim) = victim else { return };
            self.remove(victim);
            self.displaced += 1;
        }
        self.claims += usize::from(claim);
        self.good_changed |= row.is_good();
        self.stale = true;
        self.rows.insert(peer, row);
        *self.networks.entry(Network::of(peer.ip())).or_default() += 1;
    }

    /// The least valuable row: no neighbour, of the worst rank, then one that no list names any more, then one of the network
    /// that has most, then the oldest. One that answered and is still listed stays.
    fn least_row(&self) -> Option<SocketAddr> {
        let may_go = |(addr, peer): &(&SocketAddr, &Peer)| {
            let proven = peer.rank() == RANK_ALIVE && !peer.listed_by.is_empty();
            let is_of_use = peer.source == PeerSource::User || peer.proof == Proof::EarlierRun;
            let is_wanted = is_of_use && peer.rank() < RANK_FAILING;
            !proven && !is_wanted && !self.neighbours.contains(addr)
        };
        let class = |peer: &Peer| (Reverse(peer.rank()), !peer.listed_by.is_empty());
        let worst = self.rows.iter().filter(may_go).map(|(_, peer)| class(peer)).min()?;
        let of_worst = self.rows.iter().filter(may_go).filter(|(_, peer)| class(peer) == worst);
        let place = |(addr, peer): (&SocketAddr, &Peer)| {
            let of_network = self.networks.get(&Network::of(addr.ip())).copied();
            (Reverse(of_network), peer.fresh_at, *addr)
        };
        of_worst.map(place).min().map(|(.., addr)| addr)
    }

    /// The least valuable claim: no neighbour, the oldest of the network that has most claims.
    fn least_claim(&self) -> Option<SocketAddr> {
        let claims = || self.rows.iter().filter(|(addr, peer)| peer.is_claim() && !self.neighbours.contains(addr));
        let mut networks: BTreeMap<Network, usize> = BTreeMap::new();
        claims().for_each(|(addr, _)| *networks.entry(Network::of(addr.ip())).or_default() += 1);
        let place = |(addr, peer): (&SocketAddr, &Peer)| {
            let of_network = networks.get(&Network::of(addr.ip())).copied();
            (Reverse(of_network), peer.fresh_at, *addr)
        };
        claims().map(place).min().map(|(.., addr)| addr)
    }

    /// Chooses the neighbours again. `home`: the wide networks of this node.
    pub(super) fn choose_neighbours(&mut self, neighbours_max: usize, home: &BTreeSet<WideNetwork>, rng: &mut Rng) {
        self.stale = false;
        let listed_at = self.listed_at.take();
        let peers = self.rows.iter().filter(|(_, peer)| peer.rank() < RANK_NOT_A_PEER);
        let candidate = |(&addr, peer): (&SocketAddr, &Peer)| {
            let (rank, chance) = (peer.rank(), rng.number());
            let proven = peer.proof == Proof::EarlierRun;
            // A newcomer must have answered.
            let is_assigned = self.assigned.contains(&addr) && rank <= RANK_ALIVE + 1;
            let guest = is_assigned || self.guests.contains(addr) && rank == RANK_ALIVE;
            let use_shown = match peer.works || peer.source == PeerSource::User {
                true => UseShown::Yes,
                false => UseShown::No { named_at: peer.named_at },
            };
            let lists = peer.listed_by.keys().copied().collect();
            Candidate { rank, chance, addr, proven, guest, use_shown, lists }
        };
        let candidates = peers.map(candidate).collect();
        let rules = Rules { neighbours_max, answers: RANK_ALIVE, gives_way: RANK_CLAIM, home, listed_at };
        let chosen = neighbours::choose(candidates, &self.neighbours, rules);
        // Each choice replaces at most one neighbour for another list: there may be more to do.
        self.stale = chosen.neighbours != self.neighbours;
        self.neighbours = chosen.neighbours;
        self.replaced += u64::from(chosen.replaced);
        self.note_proven();
    }

    /// Makes a neighbour of a newcomer that has answered, if need be in the place of an earlier one.
    pub(super) fn welcome(&mut self, peer: SocketAddr, neighbours_max: usize) {
        let gone = self.guests.arrive(peer, (neighbours_max / NEWCOMER_PLACES_OF).max(1));
        if let Some(gone) = gone {
            self.neighbours.remove(&gone);
        }
        self.stale = true;
    }

    /// Makes neighbours of the base peers that are assigned to us, in the places of those assigned before.
    pub(super) fn set_assigned(&mut self, peers: Vec<SocketAddr>, neighbours_max: usize) {
        let places_max = (neighbours_max / ASSIGNED_PLACES_OF).max(1);
        let assigned = peers.into_iter().take(places_max).collect();
        let before = std::mem::replace(&mut self.assigned, assigned);
        for gone in before.difference(&self.assigned) {
            self.neighbours.remove(gone);
        }
        self.stale = true;
    }

    pub(super) fn note_proven(&mut self) {
        let is_news = |addr: &&SocketAddr| {
            self.rows.get(addr).is_some_and(|peer| peer.proof == Proof::Never && peer.rank() == RANK_ALIVE)
        };
        let proven: Vec<_> = self.neighbours.iter().filter(is_news).copied().collect();
        for addr in proven {
            self.good_changed = true;
            self.change(addr, |peer| peer.proof = Proof::ThisRun);
        }
    }

    /// The good peers: first those that have answered as neighbours, up to `proven_max`, beginning with those that have sent
    /// something; then those that answered last, then those never dialled.
    pub(super) fn good(&self, proven_max: usize) -> RememberedPeers {
        let mut good: Vec<_> = self.rows.iter().filter(|(_, peer)| peer.is_good()).collect();
        good.sort_by_key(|(addr, peer)| {
            let is_unproven = peer.proof == Proof::Never;
            let is_other = !self.neighbours.contains(addr);
            (is_unproven, !peer.works, is_other, peer.rank(), Reverse(peer.last_seen), **addr)
        });
        good.truncate(REMEMBERED_PEERS_MAX);
        let proven = good.iter().filter(|(_, peer)| peer.proof != Proof::Never).count().min(proven_max);
        let addrs = |peers: &[(&SocketAddr, &Peer)]| peers.iter().map(|(addr, _)| **addr).collect();
        RememberedPeers { proven: addrs(&good[..proven]), others: addrs(&good[proven..]) }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.rows.len() <= PEERS_MAX, "the peers are bounded");
        let claims = self.rows.values().filter(|peer| peer.is_claim()).count();
        assert_eq!(claims, self.claims, "the claims are counted");
        assert!(claims <= CLAIMS_MAX, "the claims are bounded");
        assert_eq!(self.networks.values().sum::<usize>(), self.rows.len(), "each peer counts in its network");
        assert!(self.neighbours.iter().all(|addr| self.rows.contains_key(addr)), "neighbours are peers");
        self.shown.check_invariants();
        for addr in self.rows.keys() {
            assert!(is_unicast(*addr) && canonical(*addr) == *addr, "{addr} is a peer's endpoint");
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Yes,
    No,
}
