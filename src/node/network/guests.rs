//! The newcomers that have reserved places among the neighbours.

use crate::network::Network;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Oldest first.
#[derive(Default)]
pub(super) struct Guests(VecDeque<SocketAddr>);

impl Guests {
    pub(super) fn contains(&self, peer: SocketAddr) -> bool {
        self.0.contains(&peer)
    }

    /// Gives a place to a newcomer. Returns the guest that it displaced. Each network has one place, except the loopback network.
    pub(super) fn arrive(&mut self, peer: SocketAddr, places_max: usize) -> Option<SocketAddr> {
        self.0.retain(|guest| *guest != peer);
        let network = Network::of(peer.ip());
        let is_of_network =
            |guest: &SocketAddr| !peer.ip().to_canonical().is_loopback() && Network::of(guest.ip()) == network;
        let at = self.0.iter().position(is_of_network).or((self.0.len() >= places_max).then_some(0));
        let gone = at.and_then(|at| self.0.remove(at));
        self.0.push_back(peer);
        gone
    }
}
