//! The links to the bootstrap nodes and their lists, the known peers, and which of them are neighbours.
//!
//! | file | owns |
//! |---|---|
//! | `links`, `lists`, `known_lists` | the links to the bootstrap nodes, their peer lists, the state of the lists |
//! | `peers`, `evidence` | the table of peers, and what changes it |
//! | `shown` | the protocol that each peer has shown to speak |
//! | `neighbours`, `guests`, `assigned` | which peers are neighbours; places for newcomers, and for assigned base peers |
//! | `endpoints` | which endpoints can be a peer, and which are ours |
//!
//! Others use [`neighbours`](NetworkMachine::neighbours) and [`advertised`](NetworkMachine::advertised), and report what an
//! exchange has shown of a peer. Calls no other machine.

mod assigned;
mod endpoints;
mod evidence;
mod guests;
mod known_lists;
mod links;
mod lists;
mod neighbours;
mod peers;
mod shown;

pub(super) use endpoints::canonical;
pub(super) use links::{LinkPhase, whole_seconds};
pub(super) use peers::Peers;

use super::contract::{Action, Expect};
use super::cx::Cx;
use super::speech::Speech;
use crate::control::LimitedReply;
use crate::id::ExchangeId;
use crate::wire::Message;
use links::Membership;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What searches and downloads use of others: what all machines share, and the peers.
pub(super) struct Net<'a> {
    pub(super) cx: &'a mut Cx,
    pub(super) network: &'a mut NetworkMachine,
}

impl Net<'_> {
    pub(super) fn peers(&self) -> &Peers {
        self.network.peers()
    }

    pub(super) fn neighbours(&mut self) -> Vec<SocketAddr> {
        self.network.neighbours(self.cx)
    }

    pub(super) fn advertised(&self) -> Option<SocketAddr> {
        self.network.advertised(self.cx)
    }

    pub(super) fn is_plausible(&self, endpoint: SocketAddr, named_by: IpAddr) -> bool {
        self.network.is_plausible(self.cx, endpoint, named_by)
    }
}

#[derive(Default)]
pub(super) struct NetworkMachine {
    membership: Membership,
    peers: Peers,
}

impl NetworkMachine {
    pub(super) fn peers(&self) -> &Peers {
        &self.peers
    }

    pub(super) fn welcome(&mut self, cx: &Cx, peer: SocketAddr) {
        self.peers.welcome(peer, cx.config.max_peers);
    }

    /// Sends messages without a response, to a `p1` peer on a stream: a base program reads only one message of a connection.
    pub(super) fn send(
        &mut self,
        cx: &mut Cx,
        exchange: ExchangeId,
        to: SocketAddr,
        messages: Vec<Message>,
        connect_max: Duration,
    ) {
        cx.out.act(match self.peers.speech(to) {
            Speech::P1 => Action::Stream { exchange, to, messages, connect_max },
            Speech::Base | Speech::Unheard => {
                Action::Dial { exchange, to, messages, expect: Expect::Nothing, connect_max }
            }
        });
    }

    pub(super) fn count(&self, limited: &mut LimitedReply) {
        limited.peers_displaced = self.peers.displaced;
        limited.neighbours_replaced = self.peers.replaced;
        limited.records_displaced += self.peers.shown.displaced();
    }

    pub(super) fn check_invariants(&self, cx: &Cx) {
        self.peers.check_invariants();
        if cx.is_running() {
            self.check_membership(cx);
        }
    }
}
