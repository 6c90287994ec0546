//! The protocol that peers have shown to speak ([`speech`](crate::node::speech)).

use super::NetworkMachine;
use crate::id::QueryId;
use crate::network::Network;
use crate::node::cx::{Cx, Step, Subject};
use crate::node::fair_set::FairSet;
use crate::node::speech::{Evidence, Speech};
use std::net::SocketAddr;

/// Beyond, the oldest of the network that has most is displaced.
const P1_SHOWN_MAX: usize = 4_096;

/// Endpoints that have shown `p1`, also if the table of peers has no room for them.
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

    pub(super) fn displaced(&self) -> u64 {
        self.0.displaced()
    }

    pub(super) fn check_invariants(&self) {
        self.0.check_invariants();
    }
}

impl NetworkMachine {
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
            if cx.may_log(Subject::Speech, peer.ip(), 0) {
                log::debug!(peer:%, before = before.word(), now = after.word(); "another protocol is known of a peer");
            }
            cx.out.then(Step::SpeechChanged { peer, before, after });
        }
    }

    /// A search came from `sender`: if this is the requester itself, the ID shows what it speaks. If another program on the same
    /// host forges this, the peer's speech becomes unknown at most.
    pub(in crate::node) fn note_query(&mut self, cx: &mut Cx, sender: SocketAddr, requester: SocketAddr, id: &QueryId) {
        if sender.ip().to_canonical() == requester.ip() {
            let evidence = if id.is_p1() { Evidence::P1Query } else { Evidence::BaseQuery };
            self.note_evidence(cx, requester, evidence);
        }
    }
}
