//! The searches of others on their way to our neighbours (PROTOCOL, Searching).
//!
//! Owns a link to each neighbour: what waits to be sent on, and a budget that is smaller than what the neighbour takes
//! from us. Our own searches do not pass here, so that they find their allowance there untouched. What waits is sent in fair
//! order ([`FairQueue`]); beyond what may wait, the sender that has most gives way.

use super::SearchMachine;
use super::sending::dial_for;
use crate::node::contract::DialOutcome;
use crate::node::cx::exchanges::Purpose;
use crate::node::cx::{Cx, NodeTimer};
use crate::node::fair_queue::{FairQueue, Room, Sender};
use crate::node::ids::OpenId;
use crate::node::limits::{
    FORWARDS_BURST, FORWARDS_PER_NEIGHBOUR_MAX, FORWARDS_PER_SECOND, FORWARDS_PER_UNPROVEN_MAX, FORWARDS_WAITING_TIMES,
    LINKS_KEPT_MAX,
};
use crate::node::network::{NetworkMachine, canonical};
use crate::node::rate_limit::{Allowance, Tariff};
use crate::time::Instant;
use crate::timer::TimerId;
use crate::wire::{Message, Search};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

/// What a neighbour is sent of others' searches.
const BUDGET: Tariff = Tariff::per_second(FORWARDS_PER_SECOND, FORWARDS_BURST);

/// A search that waits to be sent on.
struct Copy {
    sender: Sender,
    search: Rc<Search>,
    /// The open search that it belongs to.
    open: Option<OpenId>,
}

/// What goes to one neighbour.
struct Link {
    budget: Allowance,
    /// Searches that are on their way, or wait for a worker.
    under_way: usize,
    /// By ticket.
    waiting: BTreeMap<u64, Copy>,
    queue: FairQueue,
    /// When the budget allows for the next, if that is waited for.
    timer: Option<TimerId>,
}

impl Link {
    fn new(now: Instant) -> Self {
        let budget = Allowance::new(BUDGET, now);
        Self { budget, under_way: 0, waiting: BTreeMap::new(), queue: FairQueue::default(), timer: None }
    }

    /// Takes a search that is to be sent. What was dropped for that, if something was: another one, or the search itself.
    fn push(&mut self, ticket: u64, copy: Copy, waiting_max: usize) -> Option<Copy> {
        let dropped = match self.queue.room_for(copy.sender, waiting_max, waiting_max) {
            Room::Free => None,
            Room::InPlaceOf(other) => self.remove(other),
            Room::None => return Some(copy),
        };
        self.queue.push(copy.sender, ticket);
        self.waiting.insert(ticket, copy);
        dropped
    }

    fn remove(&mut self, ticket: u64) -> Option<Copy> {
        let copy = self.waiting.remove(&ticket)?;
        self.queue.remove(copy.sender, ticket);
        Some(copy)
    }

    /// Takes the search whose turn it is.
    fn next(&mut self) -> Option<Copy> {
        let copy = self.remove(self.queue.next(usize::MAX)?)?;
        self.queue.serve(copy.sender);
        Some(copy)
    }

    fn is_idle(&self) -> bool {
        self.under_way == 0 && self.waiting.is_empty()
    }
}

/// The links to all neighbours that were sent something lately.
#[derive(Default)]
pub(super) struct Forwarding {
    links: BTreeMap<SocketAddr, Link>,
    tickets_given: u64,
}

impl Forwarding {
    /// Sends nothing on that waits.
    pub(super) fn clear(&mut self) {
        self.links.clear();
    }

    /// The link to a neighbour. Others that are idle are forgotten if there are too many.
    fn link(&mut self, now: Instant, neighbour: SocketAddr) -> &mut Link {
        if self.links.len() >= LINKS_KEPT_MAX && !self.links.contains_key(&neighbour) {
            self.links.retain(|_, link| !link.is_idle());
        }
        self.links.entry(neighbour).or_insert_with(|| Link::new(now))
    }
}

impl SearchMachine {
    /// Sends a search on to every neighbour but the requester. `plain`: its plain form, if it is not plain itself.
    pub(super) fn forward_search(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        sender: Sender,
        search: Search,
        plain: Option<Box<[u8]>>,
        open: Option<OpenId>,
    ) {
        let requester = canonical(search.requester);
        let plain = plain.map(|text| Rc::new(Search { text, ..search.clone() }));
        let search = Rc::new(search);
        for neighbour in network.neighbours(cx) {
            if neighbour == requester {
                continue;
            }
            let search = plain.as_ref().filter(|_| !network.peers().takes_operators(neighbour)).unwrap_or(&search);
            // Nothing is left of it that a base program could look for, or it came there before.
            if search.text.is_empty() || open.is_some_and(|open| self.has_reached(open, neighbour, search.ttl)) {
                continue;
            }
            open.inspect(|open| self.await_part(cx, network, *open, neighbour, search.ttl));
            if !self.may_forward_to(cx, network, neighbour) {
                self.drop_forward(cx, network, neighbour, open);
                continue;
            }
            self.forwarding.tickets_given += 1;
            let ticket = self.forwarding.tickets_given;
            let waiting_max = self.forwards_max(network, neighbour) * FORWARDS_WAITING_TIMES;
            let copy = Copy { sender, search: Rc::clone(search), open };
            if let Some(dropped) = self.forwarding.link(cx.now, neighbour).push(ticket, copy, waiting_max) {
                self.drop_forward(cx, network, neighbour, dropped.open);
            }
            self.send_forwards(cx, network, neighbour);
        }
    }

    /// Counts a copy that a neighbour is not sent.
    fn drop_forward(&mut self, cx: &mut Cx, network: &mut NetworkMachine, neighbour: SocketAddr, open: Option<OpenId>) {
        cx.counters.limited.forwards_dropped += 1;
        open.inspect(|open| self.drop_part(cx, network, *open, neighbour));
    }

    /// How many may be on their way to a neighbour at once.
    fn forwards_max(&self, network: &NetworkMachine, neighbour: SocketAddr) -> usize {
        if network.peers().is_proven(neighbour) { FORWARDS_PER_NEIGHBOUR_MAX } else { FORWARDS_PER_UNPROVEN_MAX }
    }

    /// Sends a neighbour what waits for it, as far as its budget goes.
    fn send_forwards(&mut self, cx: &mut Cx, network: &mut NetworkMachine, neighbour: SocketAddr) {
        let under_way_max = self.forwards_max(network, neighbour);
        loop {
            let Some(link) = self.forwarding.links.get_mut(&neighbour) else { return };
            if link.waiting.is_empty() || link.under_way >= under_way_max {
                return;
            }
            if !link.budget.take(BUDGET, cx.now) {
                let at = link.budget.next_at(BUDGET, cx.now);
                link.timer.get_or_insert_with(|| cx.wheel.insert(at, NodeTimer::Forward(neighbour)));
                return;
            }
            let Some(Copy { sender, search, open }) = link.next() else { return };
            let messages = vec![Message::Search(Search::clone(&search))];
            let is_sent = dial_for(cx, network, sender, neighbour, messages, Purpose::Forward(open)).is_ok();
            match self.forwarding.links.get_mut(&neighbour).filter(|_| is_sent) {
                Some(link) => {
                    link.under_way += 1;
                    open.inspect(|open| self.on_part_ordered(cx, network, *open, neighbour));
                }
                None => drop(open.inspect(|open| self.drop_part(cx, network, *open, neighbour))),
            }
        }
    }

    pub(in crate::node) fn on_forward_timer(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        neighbour: SocketAddr,
    ) {
        if let Some(link) = self.forwarding.links.get_mut(&neighbour) {
            link.timer = None;
        }
        self.send_forwards(cx, network, neighbour);
    }

    /// A search that was sent on has arrived, or has not.
    pub(in crate::node) fn on_forward_ended(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        neighbour: SocketAddr,
        open: Option<OpenId>,
        outcome: &DialOutcome,
    ) {
        self.on_part_dialled(cx, network, open, neighbour, outcome);
        if let Some(link) = self.forwarding.links.get_mut(&neighbour) {
            link.under_way -= 1;
        }
        self.send_forwards(cx, network, neighbour);
    }

    pub(in crate::node) fn check_forwards(&self, cx: &Cx) {
        let mut under_way: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        let forwards = cx.exchanges.dials().filter(|dial| matches!(dial.purpose, Purpose::Forward(_)));
        forwards.for_each(|dial| *under_way.entry(dial.to).or_default() += 1);
        for (neighbour, link) in &self.forwarding.links {
            let known = under_way.get(neighbour).copied().unwrap_or(0);
            assert_eq!(link.under_way, known, "what is on its way to {neighbour} is counted");
            let waiting_max = FORWARDS_PER_NEIGHBOUR_MAX * FORWARDS_WAITING_TIMES;
            assert!(link.waiting.len() <= waiting_max, "what waits for {neighbour} is bounded");
            let waiting = link.waiting.iter().map(|(ticket, copy)| (copy.sender, *ticket)).collect();
            link.queue.check_invariants(&waiting, std::iter::empty());
        }
    }
}
