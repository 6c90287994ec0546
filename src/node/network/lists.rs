//! The peer lists of the bootstrap nodes: processing each, and requesting the next one.
//!
//! A node requests a list at least every [`REFRESH_MAX`], for two reasons: a new peer may have what a download waits for, and
//! a list without this node shows that the bootstrap node has lost or dropped its registration.

use super::NetworkMachine;
use super::assigned::assigned_to;
use super::endpoints::canonical;
use super::links::LinkPhase;
use crate::node::cx::exchanges::LinkTask;
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
        let marks_p1 = rows.iter().any(|(_, p1)| *p1);
        let keepalive_refresh = cx.config.keepalive_refresh;
        let Some(link) = self.link_mut(id) else { return };
        // Only a list shows that the bootstrap node works.
        link.failures = 0;
        link.error = None;
        let LinkPhase::Registered { to, .. } = link.phase else { return };
        (link.lists.marks_p1, link.lists.is_sampled) = (marks_p1, sampled);
        // On the first list all peers are new to us, but have not just joined.
        let is_first = link.lists.came_at.replace(cx.now).is_none();
        if shows_us {
            link.lists.again = None;
        }
        let dropped = !sampled && !shows_us && link.lists.registers_again(cx.now, keepalive_refresh);
        let peers =
            rows.into_iter().filter(|(peer, _)| self.is_plausible(cx, *peer, to.ip())).collect::<BTreeMap<_, _>>();
        self.take_peer_list(cx, id, &peers, marks_p1);
        self.take_assigned(cx, id, &peers, marks_p1);
        if dropped {
            // An old bootstrap node that dropped a peer ignores its keepalives (PROTOCOL, Old programs).
            self.start_link_task(cx, id, LinkTask::Register);
        }
        self.plan_refresh(cx, id);
        cx.out.then(Step::Listed { is_whole: !sampled && !is_first });
    }

    /// Makes the base peer that a list assigns to us a neighbour. A list that does not mark `p1` peers assigns none.
    fn take_assigned(&mut self, cx: &Cx, id: LinkId, peers: &BTreeMap<SocketAddr, bool>, marks_p1: bool) {
        let assigned = self.advertised(cx).filter(|_| marks_p1).and_then(|us| {
            let of_speech = |speaks: bool| peers.iter().filter(move |(_, p1)| **p1 == speaks).map(|(peer, _)| *peer);
            let p1: Vec<_> = of_speech(true).chain([us]).collect();
            // Peers that do not answer us are left to others.
            let base: Vec<_> = of_speech(false).filter(|peer| self.peers.is_proven(*peer)).collect();
            assigned_to(us, &p1, &base)
        });
        self.link_mut(id).into_iter().for_each(|link| link.lists.assigned = assigned);
        let of_all = self.assigned_peers();
        self.peers.set_assigned(of_all, cx.config.max_peers);
    }

    fn plan_refresh(&mut self, cx: &mut Cx, id: LinkId) {
        let (soon, later) = (cx.rng.spread(FIRST_REFRESH / 2), cx.rng.up_to(REFRESH_MAX / 3));
        let Some(link) = self.link_mut(id).filter(|link| link.refresh.is_none()) else { return };
        let first = !std::mem::replace(&mut link.lists.second_request, true);
        let wait = if first { FIRST_REFRESH + soon } else { REFRESH_MAX - later };
        let timer = cx.wheel.insert(cx.now + wait, NodeTimer::Refresh(id));
        self.link_mut(id).into_iter().for_each(|link| link.refresh = Some(timer));
    }

    /// Requests the list again. With enough neighbours, and a list that is a sample and marks `p1` peers, a keepalive instead
    /// renews a registration that may have been lost.
    pub(in crate::node) fn on_refresh_timer(&mut self, cx: &mut Cx, id: LinkId) {
        let enough = self.neighbours_alive(cx) >= cx.config.max_peers;
        let Some(link) = self.link_mut(id) else { return };
        link.refresh = None;
        let task =
            if link.lists.is_sampled && link.lists.marks_p1 && enough { LinkTask::Renew } else { LinkTask::PeerList };
        self.start_link_task(cx, id, task);
        self.plan_refresh(cx, id);
    }
}
