//! How a node announces itself, so that others choose it as a neighbour and forward searches to it (PROTOCOL, part 2, First
//! contact).
//!
//! - After its start it sends a first contact to some peers on its lists.
//! - If no search is forwarded to it for a while, it announces itself to one more peer, with this reason: it may be nobody's
//!   neighbour. A node that receives no searches itself does not ask back then: in a network without searches newcomers keep
//!   their places.

use super::SearchMachine;
use crate::id::QueryId;
use crate::network::Network;
use crate::node::contract::{DialOutcome, Dialled};
use crate::node::cx::exchanges::Purpose;
use crate::node::limits::{ANNOUNCEMENTS_MAX, ANNOUNCEMENTS_WANTED, NO_SEARCHES_MAX, NO_SEARCHES_MIN};
use crate::node::network::Net;
use crate::node::speech::Speech;
use crate::time::Instant;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Default)]
pub(super) struct Announcements {
    sent_to: BTreeSet<SocketAddr>,
    accepted: usize,
    forwarded: Forwarded,
}

#[derive(Default)]
enum Forwarded {
    /// Not checked yet.
    #[default]
    Unknown,
    /// The last search was forwarded then.
    At(Instant),
    /// None since then, nor since the last announcement for this reason; the next one follows after this time.
    NoneSince(Instant, Duration),
}

impl Announcements {
    /// A search was forwarded to us: we are somebody's neighbour.
    pub(super) fn note_search_received(&mut self, now: Instant) {
        self.forwarded = Forwarded::At(now);
    }

    pub(super) fn received_lately(&self, now: Instant) -> bool {
        matches!(self.forwarded, Forwarded::At(at) if at + NO_SEARCHES_MIN > now)
    }

    /// Whether we are to announce ourselves again. The interval grows each time: there may be no searches in the network.
    fn is_due_again(&mut self, now: Instant) -> bool {
        let (since, wait) = match self.forwarded {
            Forwarded::Unknown => {
                self.forwarded = Forwarded::NoneSince(now, NO_SEARCHES_MIN);
                return false;
            }
            Forwarded::At(at) => (at, NO_SEARCHES_MIN),
            Forwarded::NoneSince(since, wait) => (since, wait),
        };
        let is_due = since + wait <= now;
        if is_due {
            self.forwarded = Forwarded::NoneSince(now, (wait * 2).min(NO_SEARCHES_MAX));
        }
        is_due
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.sent_to.len() <= ANNOUNCEMENTS_MAX, "the announcements are bounded");
    }
}

impl SearchMachine {
    /// Announces the node to one more peer if no search was forwarded to it for a while.
    pub(in crate::node) fn announce_if_no_searches_come(&mut self, net: &mut Net) {
        if self.newcomers.announcements.is_due_again(net.cx.now)
            && let Some(requester) = net.advertised()
            && let Some(peer) = next_to_contact(net, &BTreeSet::new())
        {
            let id = QueryId::p1(QueryId::lacking_searches(net.cx.rng.number()));
            // If there is no room, the next time is early enough.
            let _ = net.cx.dial_first_contact(peer, id, requester, Purpose::Announcement);
        }
    }

    /// Announces the node to some peers, preferably not to its neighbours: two peers that search each other reach less than
    /// two that search third ones.
    pub(super) fn announce(&mut self, net: &mut Net) {
        let Some(requester) = net.advertised() else { return };
        let under_way = net.cx.exchanges.dials().filter(|dial| dial.purpose == Purpose::Announcement).count();
        let wanted = ANNOUNCEMENTS_WANTED.saturating_sub(self.newcomers.announcements.accepted + under_way);
        for _ in 0..wanted {
            let sent_to = &self.newcomers.announcements.sent_to;
            let is_full = sent_to.len() >= ANNOUNCEMENTS_MAX;
            let Some(peer) = (if is_full { None } else { next_to_contact(net, sent_to) }) else { return };
            let id = QueryId::p1(net.cx.rng.number());
            if net.cx.dial_first_contact(peer, id, requester, Purpose::Announcement).is_err() {
                return;
            }
            self.newcomers.announcements.sent_to.insert(peer);
        }
    }

    /// An announcement that is accepted does not prove a neighbour: otherwise the author of a list could have all peers on it
    /// proven first.
    pub(in crate::node) fn on_announcement_ended(&mut self, net: &mut Net, peer: SocketAddr, outcome: &DialOutcome) {
        if outcome.as_ref().is_ok_and(Dialled::speaks_p1) {
            self.newcomers.announcements.accepted += 1;
        } else {
            if outcome.is_err() {
                net.network.weigh_peer(net.cx, peer, outcome);
            }
            self.announce(net);
        }
    }
}

/// A peer that is on a list, speaks `p1` and is not in `contacted`; preferably no neighbour, and of another network than these.
fn next_to_contact(net: &mut Net, contacted: &BTreeSet<SocketAddr>) -> Option<SocketAddr> {
    let networks: BTreeSet<_> = contacted.iter().map(|peer| Network::of(peer.ip())).collect();
    let fits = |peer: &SocketAddr| !contacted.contains(peer) && net.peers().speech(*peer) == Speech::P1;
    let listed: Vec<_> = net.peers().listed().filter(fits).collect();
    let neighbours: BTreeSet<_> = net.neighbours().into_iter().collect();
    let mut place = |peer: &SocketAddr| {
        (neighbours.contains(peer), networks.contains(&Network::of(peer.ip())), net.cx.rng.number())
    };
    listed.into_iter().map(|peer| (place(&peer), peer)).min().map(|(_, peer)| peer)
}
