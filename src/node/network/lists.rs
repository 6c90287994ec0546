//! The peer lists of the bootstrap nodes: what is taken from each, and when the next is asked for.
//!
//! A node looks at a list every [`REFRESH_MAX`] or sooner, for two reasons: a peer that is new on it may have what a
//! download waits for, and a list that does not show this node comes from a bootstrap node that has lost its memory, or
//! has dropped it.

use super::NetworkMachine;
use super::assigned::assigned_to;
use super::endpoints::canonical;
use super::links::LinkPhase;
use crate::node::cx::exchanges::Errand;
use crate::node::cx::{Cx, NodeTimer, Step};
use crate::node::ids::LinkId;
use crate::node::limits::{FIRST_REFRESH, PEER_LIST_ROWS_ASKED, REFRESH_MAX};
use crate::wire::ListedPeer;
use std::collections::BTreeMap;
use std::net::SocketAddr;

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
