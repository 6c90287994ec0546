//! Who is there: the links to the bootstrap nodes and their lists, the peers that are known, and which of them are
//! neighbours.
//!
//! | file | owns |
//! |---|---|
//! | `links`, `lists`, `known_lists` | the links to the bootstrap nodes, the peer lists that they send, what is known from these |
//! | `peers`, `evidence` | the table of peers, and what changes it |
//! | `shown` | what each peer has shown that it speaks |
//! | `neighbours`, `guests`, `assigned` | which peers are neighbours; places for newcomers, and for base peers that lists assign |
//! | `endpoints` | which endpoints can be a peer, and which are ours |
//!
//! Others ask for [`neighbours`](NetworkMachine::neighbours) and [`advertised`](NetworkMachine::advertised), and tell what an
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
use std::net::SocketAddr;
use std::time::Duration;

/// Who is there.
#[derive(Default)]
pub(super) struct NetworkMachine {
    membership: Membership,
    peers: Peers,
}

impl NetworkMachine {
    /// What is known of the peers.
    pub(super) fn peers(&self) -> &Peers {
        &self.peers
    }

    /// A peer that has just announced itself gets a place among the neighbours.
    pub(super) fn welcome(&mut self, cx: &Cx, peer: SocketAddr) {
        self.peers.welcome(peer, cx.config.max_peers);
    }

    /// Sends messages that nothing answers: as a stream to a peer that speaks `p1`. On a new connection a base program would not
    /// look for a second message.
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

    /// Adds what has met a limit here.
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
