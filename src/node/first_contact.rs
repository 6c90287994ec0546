//! The first contact with a peer of which nobody knows what it speaks: before it is asked for a file, it is sent a search
//! with TTL 0 for that name (PROTOCOL, part 2, First contact).
//!
//! Base programs survive a search, and answer it without attributes or not at all; `5:p1` and code 9 end some of them. Owns
//! which peers were asked, and which downloads wait for the answer. A peer that does not answer in time is asked for the
//! file in the base protocol.

use super::Node;
use super::contract::{DialOutcome, Expect};
use super::dials::Purpose;
use super::limits::{FIRST_CONTACT_AGAIN, FIRST_CONTACT_WAIT, FIRST_CONTACTS_MAX};
use super::speech::Speech;
use crate::fault::DialFault;
use crate::id::{QueryId, TransferId};
use crate::name::FileName;
use crate::time::Instant;
use crate::wire::{Message, Search};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

/// Whether a source whose protocol is unknown was asked what it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contact {
    /// It was not asked yet.
    Due,
    /// It was asked; the answer is waited for until then.
    Awaited { until: Instant },
    /// It has answered, or it cannot be asked.
    Over,
}

impl Contact {
    /// Until when an answer is waited for, if one still is.
    pub(super) fn awaited(self, now: Instant) -> Option<Instant> {
        match self {
            Self::Awaited { until } if now < until => Some(until),
            _ => None,
        }
    }
}

/// A peer that was asked.
struct Asked {
    at: Instant,
    /// The downloads that wait for the answer.
    waiting: BTreeSet<TransferId>,
}

/// The peers that were asked and have not answered.
#[derive(Default)]
pub(super) struct FirstContacts {
    asked: BTreeMap<SocketAddr, Asked>,
    /// Oldest first.
    order: VecDeque<(Instant, SocketAddr)>,
}

impl FirstContacts {
    fn insert(&mut self, now: Instant, peer: SocketAddr, download: TransferId) {
        self.forget(peer);
        if self.order.len() >= FIRST_CONTACTS_MAX
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.asked.remove(&oldest);
        }
        self.order.push_back((now, peer));
        self.asked.insert(peer, Asked { at: now, waiting: BTreeSet::from([download]) });
    }

    /// Forgets that a peer was asked; the downloads that waited for its answer.
    fn forget(&mut self, peer: SocketAddr) -> BTreeSet<TransferId> {
        let Some(asked) = self.asked.remove(&peer) else { return BTreeSet::new() };
        self.order.retain(|(_, other)| *other != peer);
        asked.waiting
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.asked.len(), self.order.len(), "each first contact has its place in the order");
        assert!(self.order.len() <= FIRST_CONTACTS_MAX, "the first contacts are bounded");
    }
}

impl Node {
    /// Asks a source what it speaks, unless that is known, or it did not answer lately.
    pub(super) fn make_contact(&mut self, now: Instant, id: TransferId, at: usize) {
        let Some(source) = self.downloads.get(id).and_then(|row| row.sources.get(at)) else { return };
        let Some(name) = source.names.iter().next().map(|name| FileName::clone(name)) else { return };
        let peer = source.addr;
        let until = self.contact_until(now, id, peer, &name);
        if let Some(source) = self.downloads.get_mut(id).and_then(|row| row.sources.get_mut(at)) {
            source.contact = until.map_or(Contact::Over, |until| Contact::Awaited { until });
        }
    }

    /// Until when an answer of this peer is waited for; `None` if it is not to be asked.
    fn contact_until(&mut self, now: Instant, id: TransferId, peer: SocketAddr, name: &FileName) -> Option<Instant> {
        if self.peers.speech(peer) != Speech::Unheard {
            return None;
        }
        if let Some(asked) = self.first_contacts.asked.get_mut(&peer) {
            let until = asked.at + FIRST_CONTACT_WAIT;
            if now < until {
                asked.waiting.insert(id);
                return Some(until);
            }
            if now < asked.at + FIRST_CONTACT_AGAIN {
                return None;
            }
        }
        let query = QueryId::p1(self.dice.number());
        let search = Search { id: query.clone(), text: name.as_bytes().into(), requester: self.advertised()?, ttl: 0 };
        self.dial_peer(now, peer, vec![Message::Search(search)], Expect::Nothing, Purpose::FirstContact).ok()?;
        // A hit tells size and hash as well.
        self.seeks.insert(now, query, id);
        self.first_contacts.insert(now, peer, id);
        Some(now + FIRST_CONTACT_WAIT)
    }

    /// It is known by now what a peer speaks.
    pub(super) fn on_contact_answered(&mut self, peer: SocketAddr) {
        self.first_contacts.forget(peer).into_iter().for_each(|id| self.downloads.touch(id));
    }

    /// The search that asks a peer what it speaks was delivered, or was not. One that cannot be reached is not asked for
    /// the file either.
    pub(super) fn on_contact_dial_ended(&mut self, now: Instant, peer: SocketAddr, outcome: &DialOutcome) {
        let Err(fault) = outcome else { return };
        for id in self.first_contacts.forget(peer) {
            let Some(download) = self.downloads.get_mut(id) else { continue };
            let awaits = |at: &usize| {
                let source = &download.sources[*at];
                source.addr == peer && source.is_idle() && source.contact.awaited(now).is_some()
            };
            let Some(at) = (0..download.sources.len()).find(awaits) else { continue };
            download.sources[at].contact = Contact::Due;
            match fault {
                DialFault::Refused | DialFault::Unreachable | DialFault::TimedOut => {
                    self.rest_source(now, id, at, fault.to_string());
                }
                DialFault::NotAPeer(_) => self.refuse_source(now, id, at, &fault.to_string(), None),
                _ => download.sources[at].contact = Contact::Over,
            }
            self.downloads.touch(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peers_that_were_asked_are_bounded() {
        let mut contacts = FirstContacts::default();
        let (start, addr) = (Instant::from_ms(0), |n: usize| SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 9)));
        for n in 0..=FIRST_CONTACTS_MAX {
            contacts.insert(start, addr(n), TransferId(1));
            contacts.insert(start, addr(n), TransferId(2));
            contacts.check_invariants();
        }
        assert!(contacts.forget(addr(0)).is_empty(), "the oldest gave way");
        assert_eq!(contacts.forget(addr(1)), BTreeSet::from([TransferId(2)]));
        contacts.check_invariants();
    }
}
