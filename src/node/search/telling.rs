//! What clients of `events` are told of the searches of peers.
//!
//! Limits how many: a flood of searches neither fills the sockets of these clients nor hides the searches of other networks.

use crate::control::{Notice, RawText};
use crate::name::cut;
use crate::network::Network;
use crate::node::limits::{
    SEARCHES_TOLD_BURST, SEARCHES_TOLD_OF_NETWORK_BURST, SEARCHES_TOLD_OF_NETWORK_PER_SECOND, SEARCHES_TOLD_PER_SECOND,
    SENDERS_MAX, TOLD_TEXT_BYTES_MAX,
};
use crate::node::network::Net;
use crate::node::rate_limit::{Allowances, Tariff};
use crate::wire::Search;
use std::net::SocketAddr;

pub(super) struct Telling {
    /// By the network that sent the search to us.
    networks: Allowances<Network>,
    all: Allowances<()>,
}

impl Default for Telling {
    fn default() -> Self {
        let of_network = Tariff::per_second(SEARCHES_TOLD_OF_NETWORK_PER_SECOND, SEARCHES_TOLD_OF_NETWORK_BURST);
        let of_all = Tariff::per_second(SEARCHES_TOLD_PER_SECOND, SEARCHES_TOLD_BURST);
        Self { networks: Allowances::new(of_network, SENDERS_MAX), all: Allowances::new(of_all, 1) }
    }
}

impl Telling {
    /// Notifies the clients of `events`, if there are any, of a search that was not seen before.
    pub(super) fn tell(&mut self, net: &mut Net, from: SocketAddr, requester: SocketAddr, search: &Search) {
        let (now, network) = (net.cx.now, Network::of(from.ip()));
        // Where nobody listens, no allowance is used: the first search that a client could be told of is told.
        if net.cx.has_event_clients() && self.networks.allow(now, network) && self.all.allow(now, ()) {
            net.cx.notify_events(|| Notice::PeerSearch {
                from,
                requester,
                text: RawText::new(cut(&search.text, TOLD_TEXT_BYTES_MAX)),
                ttl: search.ttl,
            });
        }
    }

    pub(super) fn check_invariants(&self) {
        self.networks.check_invariants();
        self.all.check_invariants();
    }
}
