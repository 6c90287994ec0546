//! What each peer speaks: the base protocol alone, or part 2 as well (PROTOCOL, part 2).
//!
//! Owns the rules by which evidence changes that. What a peer has shown holds until it behaves otherwise: a refusal, a
//! reset or a timeout is no evidence either way, except that a `p1` node does not refuse code 9 without a reason. A program
//! of the base protocol may get the address of one that spoke part 2; it must not be sent codes 8 and 9, so that any sign
//! of it makes the peer unknown again, and the next [first contact](crate::node::download::first_contact) decides.

use super::NetworkMachine;
use crate::id::QueryId;
use crate::network::Network;
use crate::node::cx::Cx;
use crate::node::fair_set::FairSet;
use crate::node::steps::Step;
use std::net::SocketAddr;

/// Peers remembered as speaking part 2 beside the table of peers; the oldest of the network that has most gives way.
const P1_SHOWN_MAX: usize = 4_096;

/// What a peer has shown that it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum Speech {
    /// Nothing yet, or nothing that is certain.
    Unheard,
    /// It behaved as a program of the base protocol.
    Base,
    /// It sent attributes, or a bootstrap node lists it as one that speaks `p1`.
    P1,
}

/// What a peer did that says something about what it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum Evidence {
    /// It sent a hit or a list line with attributes, from its own address.
    Attributes,
    /// It answered a first contact.
    Contact,
    /// It answered `5:p1` with names alone.
    PlainList,
    /// It answered a `p1` query with a name alone, from its own address. A `p1` node does so too, if it takes us for a
    /// base peer.
    PlainHit,
    /// It refused code 9 without a reason.
    Unexplained,
    /// It sent a search of its own under a `p1` ID.
    P1Query,
    /// It sent a search of its own under another ID.
    BaseQuery,
    /// A bootstrap node lists it as one that speaks `p1`. `before`: what the list of that node said of it last.
    Listed { before: Option<bool> },
    /// A bootstrap node that listed it as one that speaks `p1` does not any more, though it lists others so: its last
    /// registration was plain.
    PlainlyListed,
}

impl Evidence {
    /// Whether only a peer could have done this, whatever it speaks.
    pub(super) fn is_of_peer(self) -> bool {
        matches!(self, Self::Attributes | Self::Contact | Self::PlainList | Self::PlainHit)
    }

    /// Whether this is of use to anybody. That a first contact is answered shows what listens there, and no more.
    pub(super) fn is_work(self) -> bool {
        matches!(self, Self::Attributes | Self::PlainList | Self::PlainHit | Self::P1Query | Self::BaseQuery)
    }
}

impl Speech {
    /// What is known of a peer after this.
    pub(super) fn after(self, evidence: Evidence) -> Self {
        match (evidence, self) {
            (Evidence::Attributes | Evidence::Contact, _) => Self::P1,
            (Evidence::PlainList, _) => Self::Base,
            (Evidence::PlainHit, Self::P1) => Self::Unheard,
            (Evidence::PlainHit, _) => Self::Base,
            (Evidence::P1Query, Self::Base) => Self::Unheard,
            (Evidence::BaseQuery | Evidence::PlainlyListed | Evidence::Unexplained, Self::P1) => Self::Unheard,
            // What took it back since the last list says more than the same registration, whose lease goes on.
            (Evidence::Listed { before: None | Some(false) }, Self::Unheard) => Self::P1,
            // A list that said the same before may know no better than that registration, whose lease outlives it.
            (Evidence::Listed { before: Some(false) }, Self::Base) => Self::P1,
            (_, unchanged) => unchanged,
        }
    }
}

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
        }
        if before != after {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_shows_and_takes_back_what_a_peer_speaks() {
        use Evidence::*;
        use Speech::*;
        let listed = |before| Listed { before };
        for (before, evidence, after) in [
            (Unheard, Attributes, P1),
            (Base, Attributes, P1),
            (Unheard, listed(None), P1),
            (Unheard, listed(Some(false)), P1),
            (Unheard, listed(Some(true)), Unheard),
            (P1, Unexplained, Unheard),
            (Base, Unexplained, Base),
            (Base, listed(None), Base),
            (Base, listed(Some(true)), Base),
            (Base, listed(Some(false)), P1),
            (P1, PlainList, Base),
            (Unheard, PlainHit, Base),
            (P1, PlainHit, Unheard),
            (P1, BaseQuery, Unheard),
            (P1, P1Query, P1),
            (Base, P1Query, Unheard),
            (Unheard, P1Query, Unheard),
            (Base, BaseQuery, Base),
            (P1, PlainlyListed, Unheard),
            (Base, PlainlyListed, Base),
        ] {
            assert_eq!(before.after(evidence), after, "{before:?}, {evidence:?}");
        }
    }
}
