//! How a node makes itself known, so that somebody has it as a neighbour and passes searches on to it (PROTOCOL, part 2, First
//! contact).
//!
//! - A node that has started announces itself by a first contact to some peers on its lists.
//! - One to which nobody has passed a search on for a while announces itself to one peer, and says why: its neighbours are its own
//!   choice, but it may be the choice of nobody, and no search reaches it then. A node that was passed no search lately itself
//!   does not ask back: where nobody searches, newcomers keep their places.

use super::SearchMachine;
use crate::id::QueryId;
use crate::network::Network;
use crate::node::contract::{DialOutcome, Dialled};
use crate::node::cx::Cx;
use crate::node::cx::exchanges::Purpose;
use crate::node::limits::{ANNOUNCEMENTS_MAX, ANNOUNCEMENTS_WANTED, UNHEARD_MAX, UNHEARD_MIN};
use crate::node::network::NetworkMachine;
use crate::node::speech::Speech;
use crate::time::Instant;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// Whom we have told that we are there.
#[derive(Default)]
pub(super) struct Announcements {
    told: BTreeSet<SocketAddr>,
    /// How many of them took it.
    taken: usize,
    passed_on: PassedOn,
}

/// Whether anybody passes searches on to us.
#[derive(Default)]
enum PassedOn {
    /// Nobody has looked yet.
    #[default]
    Unknown,
    /// A search was passed on last then.
    At(Instant),
    /// None was since then, or since we have announced ourselves again because of that; we do so after this time.
    NoneSince(Instant, Duration),
}

impl Announcements {
    /// A search was passed on to us: somebody has us as a neighbour.
    pub(super) fn note_heard(&mut self, now: Instant) {
        self.passed_on = PassedOn::At(now);
    }

    /// Whether a search was passed on to us lately.
    pub(super) fn heard_lately(&self, now: Instant) -> bool {
        matches!(self.passed_on, PassedOn::At(at) if at + UNHEARD_MIN > now)
    }

    /// Whether we are to announce ourselves again. Where nobody searches nobody is heard: so it becomes rarer each time.
    fn is_due_again(&mut self, now: Instant) -> bool {
        let (since, wait) = match self.passed_on {
            PassedOn::Unknown => {
                self.passed_on = PassedOn::NoneSince(now, UNHEARD_MIN);
                return false;
            }
            PassedOn::At(at) => (at, UNHEARD_MIN),
            PassedOn::NoneSince(since, wait) => (since, wait),
        };
        let is_due = since + wait <= now;
        if is_due {
            self.passed_on = PassedOn::NoneSince(now, (wait * 2).min(UNHEARD_MAX));
        }
        is_due
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.told.len() <= ANNOUNCEMENTS_MAX, "the announcements are bounded");
    }
}

impl SearchMachine {
    /// Announces the node to one more peer if no search has come to it for a while.
    pub(in crate::node) fn announce_if_unheard(&mut self, cx: &mut Cx, network: &mut NetworkMachine) {
        if self.newcomers.announcements.is_due_again(cx.now)
            && let Some(requester) = network.advertised(cx)
            && let Some(peer) = next_to_be_told(cx, network, &BTreeSet::new())
        {
            let id = QueryId::p1(QueryId::unheard(cx.rng.number()));
            // Without room for it, the next time does.
            let _ = cx.dial_first_contact(peer, id, requester, Purpose::Announcement);
        }
    }

    /// Tells some peers that we are there. They are no neighbours if there are others: two that search each other are of less
    /// use to others than two that search third ones.
    pub(super) fn announce(&mut self, cx: &mut Cx, network: &mut NetworkMachine) {
        let Some(requester) = network.advertised(cx) else { return };
        let under_way = cx.exchanges.dials().filter(|dial| dial.purpose == Purpose::Announcement).count();
        let wanted = ANNOUNCEMENTS_WANTED.saturating_sub(self.newcomers.announcements.taken + under_way);
        for _ in 0..wanted {
            let told = &self.newcomers.announcements.told;
            let peer = if told.len() < ANNOUNCEMENTS_MAX { next_to_be_told(cx, network, told) } else { None };
            let Some(peer) = peer else { return };
            let id = QueryId::p1(cx.rng.number());
            if cx.dial_first_contact(peer, id, requester, Purpose::Announcement).is_err() {
                return;
            }
            self.newcomers.announcements.told.insert(peer);
        }
    }

    /// A peer was told that we are there. That it took this does not prove it as a neighbour: it was told because a list named
    /// it, and whoever writes a list would have all those on it proven before others were tried.
    pub(in crate::node) fn on_announcement_ended(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        peer: SocketAddr,
        outcome: &DialOutcome,
    ) {
        if outcome.as_ref().is_ok_and(Dialled::speaks_p1) {
            self.newcomers.announcements.taken += 1;
        } else {
            if outcome.is_err() {
                network.weigh_peer(cx, peer, outcome);
            }
            self.announce(cx, network);
        }
    }
}

/// A peer that is on a list, speaks `p1` and was not told yet that we are there; of a network of which none was told, and no
/// neighbour, if there is one.
fn next_to_be_told(cx: &mut Cx, network: &mut NetworkMachine, told: &BTreeSet<SocketAddr>) -> Option<SocketAddr> {
    let networks: BTreeSet<_> = told.iter().map(|peer| Network::of(peer.ip())).collect();
    let fits = |peer: &SocketAddr| !told.contains(peer) && network.peers().speech(*peer) == Speech::P1;
    let listed: Vec<_> = network.peers().listed().filter(fits).collect();
    let neighbours: BTreeSet<_> = network.neighbours(cx).into_iter().collect();
    let mut place =
        |peer: &SocketAddr| (neighbours.contains(peer), networks.contains(&Network::of(peer.ip())), cx.rng.number());
    listed.into_iter().map(|peer| (place(&peer), peer)).min().map(|(_, peer)| peer)
}
