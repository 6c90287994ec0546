//! Which registrants are dialled, to check whether they listen, and when.
//!
//! Only the source address of a registration is dialled. Each network is dialled once at a time, and once in
//! [`NETWORK_SPACING`], so that a bootstrap node cannot be misused to dial a machine more often than a peer would.

use crate::network::Network;
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Dials at once.
const CHECKS_MAX: usize = 16;

/// Time between two dials: 240 a minute.
const SPACING: Duration = Duration::from_millis(250);

/// Time between two dials to one network.
const NETWORK_SPACING: Duration = Duration::from_secs(6);

/// Registrants that wait to be dialled; further ones wait for their next keepalive.
const WAITING_MAX: usize = 256;

/// Of these, registrants of one network.
const WAITING_PER_NETWORK_MAX: usize = 4;

/// How long a registrant that answered is not dialled again.
pub(super) const ANSWER_LASTS: Duration = Duration::from_secs(30 * 60);

/// The same for one that did not answer once: it may have registered before it listened.
pub(super) const SILENCE_LASTS_MIN: Duration = Duration::from_secs(60);

/// This time doubles with every further dial without an answer, up to this.
pub(super) const SILENCE_LASTS_MAX: Duration = Duration::from_secs(10 * 60);

/// Waiting dials, and those in progress.
#[derive(Debug, Default)]
pub(super) struct Checks {
    waiting: VecDeque<SocketAddr>,
    /// Registrants that did not answer, and when they may be dialled again, after those in `waiting`. At most
    /// [`WAITING_MAX`], and [`WAITING_PER_NETWORK_MAX`] of one network.
    silent: BTreeSet<(Instant, SocketAddr)>,
    in_progress: BTreeSet<SocketAddr>,
    next_at: Instant,
    /// When recently dialled networks may be dialled again. At most one for each [`SPACING`] in [`NETWORK_SPACING`].
    networks: BTreeMap<Network, Instant>,
}

impl Checks {
    pub(super) fn add(&mut self, peer: SocketAddr) {
        let network = Network::of(peer.ip());
        let of_network = self.waiting.iter().filter(|waiting| Network::of(waiting.ip()) == network).count();
        let has_room = self.waiting.len() < WAITING_MAX && of_network < WAITING_PER_NETWORK_MAX;
        if has_room && !self.waiting.contains(&peer) && !self.in_progress.contains(&peer) {
            self.silent.retain(|(_, silent)| *silent != peer);
            self.waiting.push_back(peer);
        }
    }

    /// Adds a registrant that did not answer, to be dialled again at `at`. Beyond the limits, drops those with the latest times,
    /// which have been silent for longest, until their next keepalive.
    pub(super) fn add_silent(&mut self, peer: SocketAddr, at: Instant) {
        if self.waiting.contains(&peer) || self.silent.iter().any(|(_, silent)| *silent == peer) {
            return;
        }
        self.silent.insert((at, peer));
        let network = Network::of(peer.ip());
        let mut of_network = self.silent.iter().filter(|(_, silent)| Network::of(silent.ip()) == network);
        if let Some(last) = of_network.nth(WAITING_PER_NETWORK_MAX).copied() {
            self.silent.remove(&last);
        }
        if self.silent.len() > WAITING_MAX {
            self.silent.pop_last();
        }
    }

    pub(super) fn forget(&mut self, peer: SocketAddr) {
        self.waiting.retain(|waiting| *waiting != peer);
        self.silent.retain(|(_, silent)| *silent != peer);
    }

    pub(super) fn next(&mut self, now: Instant) -> Option<SocketAddr> {
        if self.in_progress.len() >= CHECKS_MAX || now < self.next_at {
            return None;
        }
        self.networks.retain(|_, at| *at > now);
        let is_free = |peer: &SocketAddr| !self.networks.contains_key(&Network::of(peer.ip()));
        let peer = if let Some(at) = self.waiting.iter().position(is_free) {
            self.waiting.remove(at)?
        } else {
            let mut due = self.silent.iter().take_while(|(at, _)| *at <= now);
            let silent = due.find(|(_, peer)| is_free(peer)).copied()?;
            self.silent.remove(&silent);
            silent.1
        };
        self.in_progress.insert(peer);
        self.networks.insert(Network::of(peer.ip()), now + NETWORK_SPACING);
        self.next_at = now + SPACING;
        Some(peer)
    }

    pub(super) fn end(&mut self, peer: SocketAddr) {
        self.in_progress.remove(&peer);
    }

    /// When to call [`Checks::next`] at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.in_progress.len() >= CHECKS_MAX {
            return None;
        }
        let at = |peer: &SocketAddr| {
            self.networks.get(&Network::of(peer.ip())).map_or(self.next_at, |at| self.next_at.max(*at))
        };
        let silent = self.silent.iter().map(|(due, peer)| at(peer).max(*due));
        self.waiting.iter().map(at).chain(silent).min()
    }
}
