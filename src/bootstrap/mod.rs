//! The bootstrap node as a state machine: a registry of leases, and peer lists drawn from it (PROTOCOL, codes 0 to 3).
//!
//! Owns the registrations. Refuses, with a named [`BootstrapRefusal`], messages that are for peers, unreachable registrants,
//! and registrants beyond the limits. Uses no socket, clock or file: its snapshot is text that the driver stores.
//!
//! Every request is answered by exactly one [`BootstrapAction`], in O(log n), or O(k log n) for a list of k of n peers. With
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

/// A peer without a keepalive for this long is dropped (PROTOCOL, code 3).
pub(crate) const LEASE: Duration = Duration::from_secs(600);

/// Beyond, new registrations are refused.
pub(crate) const REGISTRY_PEERS_MAX: usize = 100_000;

/// Registrations of one network (an IPv4 address or an IPv6 /64). Beyond, a new one displaces another.
pub(crate) const REGISTRY_PEERS_PER_NETWORK_MAX: usize = 256;

/// So many of them, the oldest, are never displaced by new ones, unless they did not answer their dial.
pub(crate) const REGISTRY_PEERS_SPARED: usize = REGISTRY_PEERS_PER_NETWORK_MAX / 2;

/// Peers in one list.
pub const PEER_LIST_MAX: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub peer: SocketAddr,
    pub since: Instant,
    pub ends: Instant,
    /// Its last registration or keepalive had `p1` (PROTOCOL, Towards bootstrap nodes).
    pub p1: bool,
    /// When it answered its last dial, if it did.
    pub answered: Option<Instant>,
}

/// An order of the bootstrap node to the loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootstrapAction {
    /// Answer with this peer list, then FIN.
    SendPeerList {
        exchange: ExchangeId,
        /// At most [`PEER_LIST_MAX`], without repeats. Only a `p1` request gets `p1` marks.
        peers: Vec<ListedPeer>,
    },
    /// End the request: FIN.
    Close { exchange: ExchangeId },
    /// Dial a registrant, to check whether it listens. Answered by `Bootstrap::on_checked`.
    Check {
        /// The source address of the registration, and the port that it names.
        to: SocketAddr,
        /// It registered with `p1`: then it must answer a first contact; otherwise a connection suffices.
        p1: bool,
    },
    /// Refuse: RST. Logged and counted.
    Refuse { exchange: ExchangeId, reason: BootstrapRefusal },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Error)]
pub enum BootstrapRefusal {
    /// Codes 4 to 7 are for peers.
    #[error("a bootstrap node serves no files and no searches")]
    WrongNode,
    /// No peer can have the source address: it is unspecified, multicast or broadcast.
    #[error("the source address is not one of a peer")]
    BadSource,
    #[error("the registry is full")]
    RegistryFull,
    /// `REGISTRY_PEERS_PER_NETWORK_MAX` are registered from there, and none may be displaced.
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
    /// `None` without `bootstrap_verify`.
    checks: Option<Checks>,
    limited: Limited,
}

/// Counters of the limits of the registry since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limited {
    /// Registrations displaced by new ones of the same network.
    pub displaced: u64,
    /// New registrations without room.
    pub refused: u64,
}

impl Bootstrap {
    /// An empty registry. The seed determines which peers each list has; outside of tests it must be secret, or a peer could
    /// predict the lists of others.
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

    /// Dials registrants, and lists those first that answer.
    #[must_use]
    pub(crate) fn checking(self) -> Self {
        Self { checks: Some(Checks::default()), ..self }
    }

    pub(crate) fn is_checking(&self) -> bool {
        self.checks.is_some()
    }

    /// Whether a registered peer answered its last dial, if there was one.
    pub(crate) fn answered(&self, peer: SocketAddr) -> Option<bool> {
        self.registry.answered(peer)
    }

    /// How many registered peers answered their last dial, and how many did not. O(n).
    pub(crate) fn answered_counts(&self) -> (usize, usize) {
        self.registry.answered_counts()
    }

    /// The result of [`BootstrapAction::Check`]; `None` if the registrant could not be dialled for lack of a descriptor or memory.
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

    pub(crate) fn limited(&self) -> Limited {
        self.limited
    }

    pub fn count(&self) -> usize {
        self.registry.len()
    }

    /// Changes whenever the snapshot does.
    pub(crate) fn revision(&self) -> u64 {
        self.registry.revision
    }

    /// All leases, in the order in which they end.
    pub fn snapshot(&self) -> Vec<Lease> {
        self.registry.leases().collect()
    }

    /// The leases by address after `after`. O(log n), and O(1) for each.
    pub(crate) fn leases_after(&self, after: Option<SocketAddr>) -> impl Iterator<Item = Lease> {
        self.registry.after(after)
    }

    /// One page of the registry, by address, of at most `rows_max` rows after `after`: each peer with the remaining time of its
    /// lease. Also returns `after` for the next page; `None` at the end.
    pub(crate) fn page(
        &self,
        now: Instant,
        after: Option<SocketAddr>,
        rows_max: usize,
    ) -> (Vec<(SocketAddr, Duration)>, Option<SocketAddr>) {
        let mut leases = self.registry.after(after).map(|lease| (lease.peer, lease.ends.saturating_since(now)));
        let rows: Vec<_> = leases.by_ref().take(rows_max).collect();
        let next = rows.last().map(|&(peer, _)| peer).filter(|_| leases.next().is_some());
        (rows, next)
    }

    /// Restores the registrations of an earlier run, except ended leases, and those that would be refused; a lease is at most as
    /// long as a new one.
    pub fn restore(&mut self, now: Instant, mut leases: Vec<Lease>) {
        leases.sort_unstable_by_key(|lease| (lease.ends, lease.peer));
        for lease in leases {
            let ends = lease.ends.min(now + LEASE);
            let known_until = self.registry.lease(lease.peer).map_or(now, |known| known.ends);
            if ends > known_until && is_reachable(lease.peer.ip()) {
                // An old answer only counts if it will be checked again.
                let answered = lease.answered.map(|at| at.min(now)).filter(|_| self.checks.is_some());
                // If the registry is full, the peer will register again.
                let _ = self.registry.renew(Lease { ends, since: lease.since.min(now), answered, ..lease });
            }
        }
    }

    /// Handles a message, and queues the one action that ends the exchange.
    pub fn handle(&mut self, now: Instant, exchange: ExchangeId, from: SocketAddr, message: Message) {
        self.advance(now);
        let action = match message {
            // Code 3 renews the lease, and registers a dropped peer again.
            Message::Register { port, p1 } | Message::Keepalive { port, p1 } => {
                self.on_register(now, exchange, endpoint(from, port), p1)
            }
            Message::RequestPeerList { peers_max, p1 } => self.on_request_peer_list(exchange, from, peers_max, p1),
            Message::Unregister { port, .. } => self.on_unregister(exchange, endpoint(from, port)),
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

    /// The next action, until `None`. Poll after each message, so that the queue does not grow.
    pub fn poll_action(&mut self) -> Option<BootstrapAction> {
        self.actions.pop_front()
    }

    /// When the next lease ends, or the next registrant is dialled.
    pub fn next_deadline(&self) -> Option<Instant> {
        let check = self.checks.as_ref().and_then(Checks::deadline);
        self.registry.earliest_end().into_iter().chain(check).min()
    }

    /// Drops peers whose leases have ended, and starts due dials. O(log n) for each.
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

    /// Code 0. Without `p1` it removes the mark of an earlier one of the same endpoint.
    fn on_register(&mut self, now: Instant, exchange: ExchangeId, peer: SocketAddr, p1: bool) -> BootstrapAction {
        if !is_reachable(peer.ip()) {
            return BootstrapAction::Refuse { exchange, reason: BootstrapRefusal::BadSource };
        }
        match self.registry.renew(Lease { peer, since: now, ends: now + LEASE, p1, answered: None }) {
            Ok(displaced) => {
                self.limited.displaced += u64::from(displaced.is_some());
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

    /// Code 1. The list may contain the requester, as that of the old server, since its listening port is not known.
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

    fn on_unregister(&mut self, exchange: ExchangeId, peer: SocketAddr) -> BootstrapAction {
        self.registry.remove(peer);
        BootstrapAction::Close { exchange }
    }
}

/// The listening endpoint of a registrant: its source address with the port that it names.
fn endpoint(from: SocketAddr, port: u16) -> SocketAddr {
    SocketAddr::new(from.ip().to_canonical(), port)
}

fn is_reachable(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.octets()[0] != 0 && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    }
}
