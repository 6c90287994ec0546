//! The first contact with a source whose protocol version is unknown: before it is asked for a file, it is asked whether it
//! speaks `p1` (PROTOCOL, part 2, First contact).
//!
//! A base program closes the connection without an answer; `5:p1` and code 9 would end some base programs. Owns which peers
//! were asked and did not answer, and which downloads wait for an answer.

use super::DownloadMachine;
use super::source::{Contact, Source};
use super::state::Download;
use crate::fault::DialFault;
use crate::id::{ExchangeId, QueryId, TransferId};
use crate::network::Network;
use crate::node::contract::{DialOutcome, Dialled};
use crate::node::cx::Cx;
use crate::node::cx::exchanges::Purpose;
use crate::node::fair_set::FairSet;
use crate::node::limits::{FIRST_CONTACT_AGAIN, FIRST_CONTACT_WAIT, FIRST_CONTACTS_AT_ONCE, FIRST_CONTACTS_MAX};
use crate::node::network::{Net, NetworkMachine};
use crate::node::speech::{Evidence, Speech};
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

/// A peer that was asked.
struct Asked {
    at: Instant,
    /// The downloads that wait for the answer.
    waiting: BTreeSet<TransferId>,
    /// It has ended a connection without an answer.
    is_silent: bool,
}

/// The peers that were asked and have not answered that they speak `p1`.
pub(in crate::node) struct FirstContacts {
    asked: BTreeMap<SocketAddr, Asked>,
    order: FairSet<SocketAddr>,
}

impl Default for FirstContacts {
    fn default() -> Self {
        Self { asked: BTreeMap::new(), order: FairSet::new(FIRST_CONTACTS_MAX) }
    }
}

impl FirstContacts {
    fn insert(&mut self, now: Instant, peer: SocketAddr, download: TransferId) {
        if let Some(other) = self.order.insert(Network::of(peer.ip()), peer) {
            self.asked.remove(&other);
        }
        self.asked.insert(peer, Asked { at: now, waiting: BTreeSet::from([download]), is_silent: false });
    }

    /// Whether to ask this peer now. Not for 10 minutes after it was silent. While an earlier question may still be answered, a
    /// directory asks on a connection of its own: without an answer it would fetch the list.
    pub(super) fn may_ask(&self, now: Instant, peer: SocketAddr) -> bool {
        let may_answer = |asked: &Asked| !asked.is_silent && now < asked.at + FIRST_CONTACT_WAIT;
        self.asked.get(&peer).is_none_or(|asked| may_answer(asked) || now >= asked.at + FIRST_CONTACT_AGAIN)
    }

    /// A peer is asked for a directory. Downloads of files may wait for the same answer.
    pub(super) fn note_asked(&mut self, now: Instant, peer: SocketAddr) {
        if let Some(other) = self.order.insert(Network::of(peer.ip()), peer) {
            self.asked.remove(&other);
        }
        let new = Asked { at: now, waiting: BTreeSet::new(), is_silent: false };
        let asked = self.asked.entry(peer).or_insert(new);
        // An answer that is waited for is not waited for longer.
        if now >= asked.at + FIRST_CONTACT_WAIT {
            (asked.at, asked.is_silent) = (now, false);
        }
    }

    /// Forgets that a peer was asked; the downloads that waited for its answer.
    fn forget(&mut self, peer: SocketAddr) -> BTreeSet<TransferId> {
        let Some(asked) = self.asked.remove(&peer) else { return BTreeSet::new() };
        self.order.remove(&peer);
        asked.waiting
    }

    /// A peer has not answered, and is not asked again soon; the downloads that waited for its answer.
    fn give_up(&mut self, peer: SocketAddr) -> BTreeSet<TransferId> {
        self.note_silent(peer);
        self.asked.get_mut(&peer).map(|asked| std::mem::take(&mut asked.waiting)).unwrap_or_default()
    }

    fn note_silent(&mut self, peer: SocketAddr) {
        self.asked.get_mut(&peer).into_iter().for_each(|asked| asked.is_silent = true);
    }

    /// Records that gave way to others since the start.
    pub(in crate::node) fn displaced(&self) -> u64 {
        self.order.displaced()
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.asked.len(), self.order.len(), "each first contact has its place in the order");
        self.order.check_invariants();
    }
}

impl Download {
    /// Until when the first answer to a first contact is waited for.
    pub(super) fn contact_awaited(&self, now: Instant) -> Option<Instant> {
        self.sources.iter().filter_map(|source| source.contact_awaited(now)).min()
    }

    /// A source that is to be asked what it speaks.
    pub(super) fn contact_due(&self, now: Instant) -> Option<usize> {
        let awaited = self.sources.iter().filter(|source| source.contact_awaited(now).is_some()).count();
        let is_due = |source: &Source| source.is_idle() && !source.p1 && source.contact == Contact::Due;
        self.sources.iter().position(is_due).filter(|_| awaited < FIRST_CONTACTS_AT_ONCE)
    }
}

impl DownloadMachine {
    /// What the sources speak may be known by now. Says whether more of them speak `p1` than before.
    pub(super) fn learn_speech(&mut self, network: &NetworkMachine, id: TransferId) -> bool {
        let Some(download) = self.downloads.get_mut(id) else { return false };
        let mut learnt = false;
        for source in download.sources.iter_mut().filter(|source| !source.p1) {
            match network.peers().speech(source.addr) {
                Speech::P1 => (source.p1, learnt) = (true, true),
                Speech::Base => source.contact = Contact::Over,
                Speech::Unheard => {}
            }
        }
        learnt
    }

    /// Asks a source what it speaks, unless that is known, or it did not answer lately.
    pub(super) fn make_contact(&mut self, net: &mut Net, id: TransferId, at: usize) {
        let Some(source) = self.downloads.source(id, at) else { return };
        let until = self.contact_until(net, id, source.addr);
        if let Some(source) = self.downloads.source_mut(id, at) {
            source.contact = until.map_or(Contact::Over, |until| Contact::Awaited { until });
        }
    }

    /// Until when an answer of this peer is waited for; `None` if it is not to be asked.
    fn contact_until(&mut self, net: &mut Net, id: TransferId, peer: SocketAddr) -> Option<Instant> {
        if net.network.peers().speech(peer) != Speech::Unheard {
            return None;
        }
        if let Some(asked) = self.first_contacts.asked.get_mut(&peer) {
            let until = asked.at + FIRST_CONTACT_WAIT;
            if !asked.is_silent && net.cx.now < until {
                asked.waiting.insert(id);
                return Some(until);
            }
            if net.cx.now < asked.at + FIRST_CONTACT_AGAIN {
                return None;
            }
        }
        dial(net, peer, Purpose::FirstContact)?;
        self.first_contacts.insert(net.cx.now, peer, id);
        Some(net.cx.now + FIRST_CONTACT_WAIT)
    }

    /// Whether a peer was not asked lately what it speaks.
    pub(in crate::node) fn may_ask_what_peer_speaks(&self, net: &Net, peer: SocketAddr) -> bool {
        self.first_contacts.may_ask(net.cx.now, peer)
    }

    /// Asks a peer what it speaks, for a directory; `None` if too many commands wait. The answer comes on the connection that
    /// asks, as for a file.
    pub(in crate::node) fn ask_peer_what_it_speaks(
        &mut self,
        net: &mut Net,
        peer: SocketAddr,
        purpose: Purpose,
    ) -> Option<ExchangeId> {
        let exchange = dial(net, peer, purpose)?;
        self.first_contacts.note_asked(net.cx.now, peer);
        Some(exchange)
    }

    /// A peer has ended a connection of a directory without an answer. The downloads of files that waited for one go on.
    pub(in crate::node) fn note_no_first_contact(&mut self, peer: SocketAddr) {
        for id in self.first_contacts.give_up(peer) {
            self.end_contact(id, peer);
        }
    }

    /// The answer of a peer is not waited for any more; as which source of the download.
    fn end_contact(&mut self, id: TransferId, peer: SocketAddr) -> Option<usize> {
        let download = self.downloads.get_mut(id)?;
        let awaits = |source: &Source| source.addr == peer && source.contact_until().is_some();
        let at = download.sources.iter().position(awaits)?;
        download.sources[at].contact = Contact::Over;
        self.downloads.mark_dirty(id);
        Some(at)
    }

    /// Something else is known by now of what a peer speaks.
    pub(in crate::node) fn on_speech_changed(&mut self, cx: &mut Cx, peer: SocketAddr, before: Speech, after: Speech) {
        if after != Speech::Unheard {
            self.first_contacts.forget(peer).into_iter().for_each(|id| self.downloads.mark_dirty(id));
        }
        if before == Speech::P1 {
            self.downloads.forget_p1(peer).into_iter().for_each(|id| self.remember_download(cx, id));
        }
    }

    /// A peer has answered the question what it speaks, or has not. One that cannot be reached, or is no peer, is not asked
    /// for the file either, however late that shows: a connection takes longer to time out than the answer is waited for.
    pub(in crate::node) fn on_contact_dial_ended(&mut self, net: &mut Net, peer: SocketAddr, outcome: &DialOutcome) {
        if outcome.as_ref().is_ok_and(Dialled::speaks_p1) {
            return net.network.note_evidence(net.cx, peer, Evidence::Contact);
        }
        let waiting = match outcome {
            Ok(_) => self.first_contacts.give_up(peer),
            // It may be another program when it is there again.
            Err(_) => self.first_contacts.forget(peer),
        };
        for id in waiting {
            let Some(at) = self.end_contact(id, peer) else { continue };
            match outcome {
                Err(fault @ (DialFault::Refused | DialFault::Unreachable | DialFault::TimedOut)) => {
                    if let Some(source) = self.downloads.source_mut(id, at) {
                        source.contact = Contact::Due;
                    }
                    self.rest_source(net.cx, id, at, (*fault).into());
                }
                Err(fault @ DialFault::NotAPeer(_)) => self.refuse_source(net.cx, id, at, (*fault).into()),
                _ => {}
            }
        }
    }
}

fn dial(net: &mut Net, peer: SocketAddr, purpose: Purpose) -> Option<ExchangeId> {
    // The answer comes on the connection that asks, and nobody connects to the endpoint that is named.
    let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), net.cx.config.listen.port().max(1));
    let requester = net.network.advertised(net.cx).unwrap_or(nowhere);
    let query = QueryId::p1(net.cx.rng.number());
    net.cx.dial_first_contact(peer, query, requester, purpose).ok()
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
        assert_eq!(contacts.give_up(addr(1)), BTreeSet::from([TransferId(2)]));
        assert!(contacts.forget(addr(1)).is_empty(), "nobody waits any more");
        contacts.check_invariants();
    }

    #[test]
    fn ports_of_one_address_that_do_not_answer_do_not_have_others_asked_again() {
        let mut contacts = FirstContacts::default();
        let (start, other) = (Instant::from_ms(0), SocketAddr::from(([192, 0, 2, 1], 9)));
        contacts.insert(start, other, TransferId(1));
        (1..=5_000).for_each(|port| contacts.insert(start, SocketAddr::from(([10, 0, 0, 1], port)), TransferId(2)));
        contacts.check_invariants();
        assert_eq!(contacts.give_up(other), BTreeSet::from([TransferId(1)]));
    }
}
