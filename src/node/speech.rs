//! What each peer speaks: the base protocol alone, or part 2 as well (PROTOCOL, part 2).
//!
//! Owns the rules by which evidence changes that. What a peer has shown holds until it behaves otherwise: a refusal, a
//! reset or a timeout is no evidence either way, except that a `p1` node does not refuse code 9 without a reason. A program
//! of the base protocol may get the address of one that spoke part 2; it must not be sent codes 8 and 9, so that any sign
//! of it makes the peer unknown again, and the next [first contact](crate::node::download::first_contact) decides.

/// What a peer has shown that it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    /// Nothing yet, or nothing that is certain.
    Unheard,
    /// It behaved as a program of the base protocol.
    Base,
    /// It sent attributes, or a bootstrap node lists it as one that speaks `p1`.
    P1,
}

/// What a peer did that says something about what it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
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
    /// For the log.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Unheard => "unknown",
            Self::Base => "base",
            Self::P1 => "p1",
        }
    }

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
