//! What peers have shown that they speak, and who is told when that changes ([`speech`](crate::node::speech)).

use super::NetworkMachine;
use crate::id::QueryId;
use crate::network::Network;
use crate::node::cx::{Cx, Step};
use crate::node::fair_set::FairSet;
use crate::node::speech::{Evidence, Speech};
use std::net::SocketAddr;

/// Peers remembered as speaking part 2 beside the table of peers; the oldest of the network that has most gives way.
const P1_SHOWN_MAX: usize = 4_096;

/// Endpoints that have shown attributes, whether or not the table of peers has room for them.
pub(super) struct Shown(FairSet<SocketAddr>);

impl Default for Shown {
    fn default() -> Self {
        Self(FairSet::new(P1_SHOWN_MAX))
    }
}

impl Shown {
    pub(in crate::node) fn contains(&self, peer: SocketAddr) -> bool {
        self.0.contains(&peer)
    }

    /// Records that gave way to others since the start.
    pub(super) fn displaced(&self) -> u64 {
        self.0.displaced()
    }

    pub(super) fn check_invariants(&self) {
        self.0.check_invariants();
    }
}

impl NetworkMachine {
    /// A peer did something that says what it speaks.
    pub(in crate::node) fn note_evidence(&mut self, cx: &mut Cx, peer: SocketAddr, evidence: Evidence) {
        let before = self.peers.speech(peer);
        let after = before.after(evidence);
        self.peers.set_speech(cx.now, peer, after, evidence);
        if matches!(evidence, Evidence::Attributes | Evidence::Contact) {
            self.peers.shown.0.insert(Network::of(peer.ip()), peer);
        } else if after != Speech::P1 {
            self.peers.shown.0.remove(&peer);
        }
        if before != after {
            log::debug!("{peer} speaks {after:?}, after {evidence:?}; it was {before:?}");
            cx.out.then(Step::SpeechChanged { peer, before, after });
        }
    }

    /// A search came from `sender`: what its ID says about the requester, if it is the requester itself that sent it. A
    /// peer searches under its own address; that another program on the same host may forge this decides little, since
    /// the peer becomes unknown at most.
    pub(in crate::node) fn note_query(&mut self, cx: &mut Cx, sender: SocketAddr, requester: SocketAddr, id: &QueryId) {
        if sender.ip().to_canonical() == requester.ip() {
            let evidence = if id.is_p1() { Evidence::P1Query } else { Evidence::BaseQuery };
            self.note_evidence(cx, requester, evidence);
        }
    }
}
