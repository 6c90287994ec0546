//! The peer lists of the bootstrap nodes: what is taken from each, and when the next is asked for.
//!
//! A node looks at a list every [`REFRESH_MAX`] or sooner, for two reasons: a peer that is new on it may have what a
//! download waits for, and a list that does not show this node comes from a bootstrap node that has lost its memory, or
//! has dropped it.

use super::NetworkMachine;
use super::assigned::assigned_to;
use super::endpoints::canonical;
use super::links::{LinkId, LinkPhase};
use crate::node::NodeTimer;
use crate::node::cx::Cx;
use crate::node::exchanges::Errand;
use crate::node::limits::{FIRST_REFRESH, LIST_WAIT_MAX, PEER_LIST_ROWS_ASKED, REFRESH_MAX};
use crate::node::steps::Step;
use crate::time::Instant;
use crate::wire::ListedPeer;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// What a link knows from the lists of its bootstrap node.
#[derive(Debug, Default)]
pub(in crate::node) struct Lists {
    /// The look soon after the registration was planned: peers that start together find each other with it.
    second_look: bool,
    /// The last list says of its peers what they speak.
    tells: bool,
    /// The last list had as many rows as were asked for: it may be a part, and need not show us.
    sampled: bool,
    /// When we registered again because a list did not show us, and how many times in a row that was of no use.
    again: Option<(Instant, u32)>,
    /// When the last list came.
    came_at: Option<Instant>,
    /// When the last was asked for.
    asked_at: Option<Instant>,
    /// The last that was asked for did not come within [`LIST_WAIT_MAX`].
    was_late: bool,
    /// The base peer on the last list that is assigned to us.
    assigned: Option<SocketAddr>,
}

impl Lists {
    /// When the last list came.
    pub(in crate::node) fn came_at(&self) -> Option<Instant> {
        self.came_at
    }

    /// Whether the last list may be a part.
    pub(in crate::node) fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The base peer on it that is assigned to us.
    pub(super) fn assigned(&self) -> Option<SocketAddr> {
        self.assigned
    }

    /// A list is asked for.
    pub(super) fn note_asked(&mut self, now: Instant) {
        self.asked_at = Some(now);
    }

    /// The list that was asked for has come, or will not.
    pub(super) fn note_ended(&mut self, now: Instant, has_come: bool) {
        let in_time = self.asked_at.is_some_and(|at| now.saturating_since(at) <= LIST_WAIT_MAX);
        self.was_late = !(has_come && in_time);
    }

    /// Until when a search waits for the list that is on its way. A bootstrap node that is silent delays one search.
    pub(in crate::node) fn awaited_until(&self) -> Option<Instant> {
        self.asked_at.filter(|_| !self.was_late).map(|at| at + LIST_WAIT_MAX)
    }

    /// Of a link that has just registered.
    pub(super) fn begin(&mut self) {
        self.second_look = false;
    }

    /// Whether to register again, after a list that does not show us: at once twice, since the memory may be lost twice,
    /// then ever less often, for there may be a bootstrap node that lists us under an address which we do not know as ours.
    fn registers_again(&mut self, now: Instant, wait_max: Duration) -> bool {
        let (at, in_vain) = match self.again {
            None => (None, 0),
            Some((at, times)) => (Some(at), times),
        };
        let wait = REFRESH_MAX.saturating_mul(1 << in_vain.saturating_sub(2).min(16)).min(wait_max);
        let due = in_vain < 2 || at.is_none_or(|at| now.saturating_since(at) >= wait);
        if due {
            self.again = Some((now, in_vain.saturating_add(1)));
        }
        due
    }
}

impl NetworkMachine {
    pub(super) fn on_peer_list(&mut self, cx: &mut Cx, id: LinkId, peers: Vec<ListedPeer>) {
        let asked = usize::try_from(PEER_LIST_ROWS_ASKED).unwrap_or(usize::MAX);
        let sampled = peers.len() >= asked;
        let rows: Vec<_> = peers.into_iter().take(asked).map(|row| (canonical(row.addr), row.p1)).collect();
        let shows_us = rows.iter().any(|(peer, _)| self.is_ourselves(cx, *peer));
        let tells = rows.iter().any(|(_, p1)| *p1);
        let keepalive_refresh = cx.config.keepalive_refresh;
        let Some(link) = self.link_mut(id) else { return };
        // Only a list proves that the bootstrap node works.
        link.failures = 0;
        link.error = None;
        let LinkPhase::Registered { to, .. } = link.phase else { return };
        (link.lists.tells, link.lists.sampled) = (tells, sampled);
        // On its first list everybody is new to us, and nobody has just come.
        let is_first = link.lists.came_at.replace(cx.now).is_none();
        if shows_us {
            link.lists.again = None;
        }
        let dropped = !sampled && !shows_us && link.lists.registers_again(cx.now, keepalive_refresh);
        let peers =
            rows.into_iter().filter(|(peer, _)| self.is_plausible(cx, *peer, to.ip())).collect::<BTreeMap<_, _>>();
        self.take_peer_list(cx, id, &peers, tells);
        self.take_assigned(cx, id, &peers, tells);
        if dropped {
            // An old bootstrap node forgets a peer for good, whatever its keepalives say (PROTOCOL, Old programs).
            self.start_errand(cx, id, Errand::Register);
        }
        self.plan_refresh(cx, id);
        cx.out.then(Step::Listed { is_whole: !sampled && !is_first });
    }

    /// Has the base peer as a neighbour that a list assigns to us. One that does not say who speaks `p1` assigns nobody.
    fn take_assigned(&mut self, cx: &Cx, id: LinkId, peers: &BTreeMap<SocketAddr, bool>, tells: bool) {
        let assigned = self.advertised(cx).filter(|_| tells).and_then(|us| {
            let of_speech = |speaks: bool| peers.iter().filter(move |(_, p1)| **p1 == speaks).map(|(peer, _)| *peer);
            let p1: Vec<_> = of_speech(true).chain([us]).collect();
            // What does not answer us is left to others.
            let base: Vec<_> = of_speech(false).filter(|peer| self.peers.is_proven(*peer)).collect();
            assigned_to(us, &p1, &base)
        });
        self.link_mut(id).into_iter().for_each(|link| link.lists.assigned = assigned);
        let of_all = self.assigned_peers();
        self.peers.set_assigned(of_all, cx.config.max_peers);
    }

    /// Plans the next look at the list, if none is planned.
    fn plan_refresh(&mut self, cx: &mut Cx, id: LinkId) {
        let (soon, later) = (cx.rng.spread(FIRST_REFRESH / 2), cx.rng.up_to(REFRESH_MAX / 3));
        let Some(link) = self.link_mut(id).filter(|link| link.refresh.is_none()) else { return };
        let first = !std::mem::replace(&mut link.lists.second_look, true);
        let wait = if first { FIRST_REFRESH + soon } else { REFRESH_MAX - later };
        let timer = cx.wheel.insert(cx.now + wait, NodeTimer::Refresh(id));
        self.link_mut(id).into_iter().for_each(|link| link.refresh = Some(timer));
    }

    /// Looks at the list again. One of ours that has more peers than rows fit into a list cannot show whether it knows
    /// us, but a keepalive lists us again there.
    pub(in crate::node) fn on_refresh_timer(&mut self, cx: &mut Cx, id: LinkId) {
        let enough = self.neighbours_alive(cx) >= cx.config.max_peers;
        let Some(link) = self.link_mut(id) else { return };
        link.refresh = None;
        let errand = if link.lists.sampled && link.lists.tells && enough { Errand::Renew } else { Errand::PeerList };
        self.start_errand(cx, id, errand);
        self.plan_refresh(cx, id);
    }
}
