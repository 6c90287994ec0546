//! The bootstrap node as a state machine: a registry of leases, and peer lists drawn from it (PROTOCOL, codes 0 to 3).
//!
//! Owns who is registered and until when. Refuses, with a named [`BootstrapRefusal`], messages that are for peers,
//! unreachable registrants, and registrants beyond the limits. Knows no socket, clock or file: its snapshot is text that the
//! driver stores.
//!
//! Every request is answered by exactly one [`BootstrapAction`], in O(1), or O(k) for a list of k peers. With
//! `bootstrap_verify`, further actions dial the registrants.

mod checks;
mod pool;
mod registry;
mod sample;
mod snapshot;
#[cfg(test)]
mod tests;

pub use snapshot::{decode_snapshot, encode_snapshot};

use crate::id::ExchangeId;
use crate::time::Instant;
use crate::wire::{ListedPeer, Message};
use checks::Checks;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use registry::Registry;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use thiserror::Error;

/// A peer that sends no keepalive for so long is dropped (PROTOCOL, code 3).
pub(crate) const LEASE: Duration = Duration::from_secs(600);

/// Most registrations; new ones are refused beyond it.
pub(crate) const REGISTRY_PEERS_MAX: usize = 100_000;

/// Most registrations of one IPv4 address, or of one IPv6 network of 64 bits, which one host can fill at will. A new one
/// takes the place of another.
pub(crate) const REGISTRY_PEERS_PER_NETWORK_MAX: usize = 256;

/// So many of these, those registered for longest, are never displaced by new ones, unless they did not answer when they
/// were dialled.
pub(crate) const REGISTRY_PEERS_SPARED: usize = REGISTRY_PEERS_PER_NETWORK_MAX / 2;

/// Most peers in one list, however many are asked for.
pub const PEER_LIST_MAX: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub peer: SocketAddr,
    /// When it registered first.
    pub since: Instant,
    pub ends: Instant,
    /// Its last registration or keepalive said `p1` (PROTOCOL, Towards bootstrap nodes).
    pub p1: bool,
    /// When it was dialled and answered, if it did so the last time that it was dialled.
    pub answered: Option<Instant>,
}

/// What a bootstrap node wants done with an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootstrapAction {
    /// Answer with this peer list, then FIN.
    SendPeerList {
        exchange: ExchangeId,
        /// At most [`PEER_LIST_MAX`], without repeats. None is marked `p1` unless the asker said `p1`.
        peers: Vec<ListedPeer>,
    },
    /// The request is done: FIN.
    Close { exchange: ExchangeId },
    /// Dial a registrant, to see whether somebody listens there. `Bootstrap::on_checked` is told how it went.
    Check {
        /// The source address of the registration, and the port that it names.
        to: SocketAddr,
        /// It said that it speaks `p1`: it has answered when it says so on this connection too. Otherwise it has if the
        /// connection stands.
        p1: bool,
    },
    /// Refuse: RST. Logged and counted.
    Refuse { exchange: ExchangeId, reason: BootstrapRefusal },
}

/// Why a bootstrap node refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Error)]
pub enum BootstrapRefusal {
    /// Codes 4 to 7 are for peers.
    #[error("a bootstrap node serves no files and no searches")]
    WrongNode,
    /// Nobody could reach a peer at the source address: it is unspecified, multicast or broadcast.
    #[error("the source address is not one of a peer")]
    BadSource,
    #[error("the registry is full")]
    RegistryFull,
    /// `REGISTRY_PEERS_PER_NETWORK_MAX` are registered from there, and all have answered a dial.
    #[error("too many peers are registered from this address")]
    AddressFull,
}

impl BootstrapRefusal {
    /// One word for counters and the log.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::WrongNode => "wrong_node",
            Self::BadSource => "bad_source",
            Self::RegistryFull => "registry_full",
            Self::AddressFull => "address_full",
        }
    }
}

#[derive(Debug)]
pub struct Bootstrap {
    registry: Registry,
    random: ChaCha12Rng,
    actions: VecDeque<BootstrapAction>,
    /// The registrants to be dialled, if they are.
    checks: Option<Checks>,
    limited: Limited,
}

/// What was displaced or refused at the limits of the registry since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limited {
    /// Registrations that gave their place to a new one of the same network.
    pub displaced: u64,
    /// New registrations for which there was no room.
    pub refused: u64,
}

impl Bootstrap {
    /// An empty registry. The seed decides which peers each list holds; outside of tests it must be secret, or a peer
    /// could tell who is listed to whom.
    pub fn new(_now: Instant, seed: [u8; 32]) -> Self {
        let random = ChaCha12Rng::from_seed(seed);
        Self {
            registry: Registry::default(),
            random,
            actions: VecDeque::new(),
            checks: None,
            limited: Limited::default(),
        }
    }

    /// The same, which dials those who register, and lists those first that answer.
    #[must_use]
    pub(crate) fn checking(self) -> Self {
        Self { checks: Some(Checks::default()), ..self }
    }

    /// Whether it dials those who register.
    pub(crate) fn is_checking(&self) -> bool {
        self.checks.is_some()
    }

    /// Whether a registered peer answered when it was dialled last, if it was.
    pub(crate) fn answered(&self, peer: SocketAddr) -> Option<bool> {
        self.registry.answered(peer)
    }

    /// How many registered peers answered when they were dialled last, and how many did not. O(n).
    pub(crate) fn answered_counts(&self) -> (usize, usize) {
        self.registry.answered_counts()
    }

    /// A registrant was dialled for [`BootstrapAction::Check`], and answered or did not; `None` if it could not be dialled
    /// because a descriptor or memory was missing.
    pub(crate) fn on_checked(&mut self, now: Instant, peer: SocketAddr, answered: Option<bool>) {
        if let Some(answered) = answered {
            self.registry.set_answered(peer, now, answered);
        }
        if let Some(checks) = &mut self.checks {
            checks.end(peer);
            let again_at = self.registry.check_at(peer).filter(|_| answered == Some(false));
            again_at.into_iter().for_each(|at| checks.add_silent(peer, at));
        }
        self.advance(now);
    }

    /// What was displaced or refused at the limits.
    pub(crate) fn limited(&self) -> Limited {
        self.limited
    }

    pub fn count(&self) -> usize {
        self.registry.len()
    }

    /// Changes whenever the snapshot does.
    pub(crate) fn revision(&self) -> u64 {
        self.registry.revision()
    }

    /// All registrations and when their leases end, the earliest first.
    pub fn snapshot(&self) -> Vec<Lease> {
        self.registry.leases().collect()
    }

    /// One page of the registry, by address, of at most `rows_max` rows after `after`: each peer with the time left of
    /// its lease. Also what to give as `after` for the next page; `None` at the end. O(n): this is for users, not for
    /// peers.
    pub(crate) fn page(
        &self,
        now: Instant,
        after: Option<SocketAddr>,
        rows_max: usize,
    ) -> (Vec<(SocketAddr, Duration)>, Option<SocketAddr>) {
        let (leases, more) = self.registry.page(after, rows_max);
        let rows: Vec<_> = leases.into_iter().map(|(peer, ends)| (peer, ends.saturating_since(now))).collect();
        let next = rows.last().map(|&(peer, _)| peer).filter(|_| more);
        (rows, next)
    }

    /// Restores the registrations of an earlier run. Leases that have ended are left out, as is whatever a registration
    /// would be refused for; a lease that ends later than a new one would is shortened to that.
    pub fn restore(&mut self, now: Instant, mut leases: Vec<Lease>) {
        leases.sort_unstable_by_key(|lease| (lease.ends, lease.peer));
        for lease in leases {
            let ends = lease.ends.min(now + LEASE);
            let known_until = self.registry.lease_end(lease.peer).unwrap_or(now);
            if ends > known_until && is_reachable(lease.peer.ip()) {
                // What is known of where it listens is of use only if it is looked at again some time.
                let answered = lease.answered.map(|at| at.min(now)).filter(|_| self.checks.is_some());
                // A full registry keeps what it has; the rest will register again.
                let _ = self.registry.renew(Lease { ends, since: lease.since.min(now), answered, ..lease });
            }
        }
    }

    /// Takes a message that came in on an exchange from `from`, and queues the one action that ends the exchange.
    pub fn handle(&mut self, now: Instant, exchange: ExchangeId, from: SocketAddr, message: Message) {
        self.advance(now);
        let action = match message {
            Message::Register { port, p1 } => self.on_register(now, exchange, endpoint(from, port), p1),
            Message::RequestPeerList { peers_max, p1 } => self.on_request_peer_list(exchange, from, peers_max, p1),
            Message::Unregister { port, .. } => self.on_unregister(exchange, endpoint(from, port)),
            Message::Keepalive { port, p1 } => self.on_keepalive(now, exchange, endpoint(from, port), p1),
            Message::DownloadRequest { .. }
            | Message::ListFiles { .. }
            | Message::Search(_)
            | Message::SearchResponse(_)
            | Message::FirstContact { .. }
            | Message::RangeRequest { .. }
            | Message::MetadataRequest { .. } => {
                BootstrapAction::Refuse { exchange, reason: BootstrapRefusal::WrongNode }
            }
        };
        self.actions.push_back(action);
        self.start_checks(now);
    }

    /// The next thing to do, until `None`. Poll after each message, so that the queue does not grow.
    pub fn poll_action(&mut self) -> Option<BootstrapAction> {
        self.actions.pop_front()
    }

    /// When the next lease ends, or the next registrant is dialled.
    pub fn next_deadline(&self) -> Option<Instant> {
        let check = self.checks.as_ref().and_then(Checks::deadline);
        self.registry.earliest_end().into_iter().chain(check).min()
    }

    /// Drops the peers whose leases have ended, and dials those whose turn it is. O(1) for each.
    pub fn advance(&mut self, now: Instant) {
        while self.registry.earliest_end().is_some_and(|end| end <= now) {
            self.registry.remove_earliest();
        }
        self.start_checks(now);
    }

    fn start_checks(&mut self, now: Instant) {
        let Some(checks) = &mut self.checks else { return };
        while let Some(to) = checks.next(now) {
            match self.registry.lease(to) {
                Some(Lease { p1, .. }) => self.actions.push_back(BootstrapAction::Check { to, p1 }),
                None => checks.end(to),
            }
        }
    }

    /// Code 0. Without `p1` it takes back what an earlier one of the same endpoint said.
    fn on_register(&mut self, now: Instant, exchange: ExchangeId, peer: SocketAddr, p1: bool) -> BootstrapAction {
        if !is_reachable(peer.ip()) {
            return BootstrapAction::Refuse { exchange, reason: BootstrapRefusal::BadSource };
        }
        match self.registry.renew(Lease { peer, since: now, ends: now + LEASE, p1, answered: None }) {
            Ok(displaced) => {
                self.limited.displaced += u64::from(displaced.is_some());
                // Its turn to be dialled is free for others.
                let gone = displaced.and_then(|gone| Some((self.checks.as_mut()?, gone)));
                gone.into_iter().for_each(|(checks, gone)| checks.forget(gone));
                let is_unchecked = self.registry.check_at(peer).is_some_and(|at| at <= now);
                let unchecked = self.checks.as_mut().filter(|_| is_unchecked);
                unchecked.into_iter().for_each(|checks| checks.add(peer));
                BootstrapAction::Close { exchange }
            }
            Err(reason) => {
                self.limited.refused += 1;
                BootstrapAction::Refuse { exchange, reason }
            }
        }
    }

    /// Code 1. The list may hold the asker, as the old server's does: its listening port is not known.
    fn on_request_peer_list(
        &mut self,
        exchange: ExchangeId,
        from: SocketAddr,
        peers_max: u32,
        p1: bool,
    ) -> BootstrapAction {
        let wanted = usize::try_from(peers_max).unwrap_or(usize::MAX).min(PEER_LIST_MAX);
        let chosen = self.registry.draw(&mut self.random, wanted, from.ip());
        let listed = |lease: Lease| ListedPeer { addr: lease.peer, p1: lease.p1 && p1 };
        let peers = chosen.into_iter().map(listed).collect();
        BootstrapAction::SendPeerList { exchange, peers }
    }

    /// Code 2.
    fn on_unregister(&mut self, exchange: ExchangeId, peer: SocketAddr) -> BootstrapAction {
        self.registry.remove(peer);
        BootstrapAction::Close { exchange }
    }

    /// Code 3: prolongs the lease, and lists a peer again that was dropped.
    fn on_keepalive(&mut self, now: Instant, exchange: ExchangeId, peer: SocketAddr, p1: bool) -> BootstrapAction {
        self.on_register(now, exchange, peer, p1)
    }
}

/// Where a registrant listens: its source address with the port that it names.
fn endpoint(from: SocketAddr, port: u16) -> SocketAddr {
    SocketAddr::new(from.ip().to_canonical(), port)
}

/// Whether a connection to the address could lead to one peer.
fn is_reachable(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.octets()[0] != 0 && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    }
}
