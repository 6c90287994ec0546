//! Forwarding the searches of others to our neighbours (PROTOCOL, Searching).
//!
//! Owns a link to each neighbour: the waiting searches, and a budget that is smaller than what the neighbour accepts from
//! us, so that enough is left for our own searches, which do not pass here. Waiting searches are sent in fair order
//! ([`FairQueue`]); at the limit, the sender with most of them gives way.

use super::SearchMachine;
use crate::id::ExchangeId;
use crate::node::contract::DialOutcome;
use crate::node::cx::exchanges::{Command, Kind, Purpose, QueueFull, Rank};
use crate::node::cx::{Cx, NodeTimer};
use crate::node::fair_queue::Sender;
use crate::node::fair_rows::FairRows;
use crate::node::ids::OpenId;
use crate::node::limits::{
    CONNECT_MAX, CONNECT_UNPROVEN_MAX, FORWARDS_BURST, FORWARDS_PER_NEIGHBOUR_MAX, FORWARDS_PER_SECOND,
    FORWARDS_PER_UNPROVEN_MAX, FORWARDS_WAITING_TIMES, LINKS_KEPT_MAX,
};
use crate::node::network::Net;
use crate::node::network::{NetworkMachine, canonical};
use crate::node::rate_limit::{Allowance, Tariff};
use crate::time::Instant;
use crate::timer::TimerId;
use crate::wire::{Message, Search};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

/// The rate of forwarded searches to one neighbour.
const BUDGET: Tariff = Tariff::per_second(FORWARDS_PER_SECOND, FORWARDS_BURST);

struct Copy {
    search: Rc<Search>,
    open: Option<OpenId>,
}

struct Link {
    budget: Allowance,
    /// Searches that are being sent, or wait for a worker.
    under_way: usize,
    waiting: FairRows<Copy>,
    /// Until the budget allows the next one.
    timer: Option<TimerId>,
}

impl Link {
    fn new(now: Instant) -> Self {
        let budget = Allowance::new(BUDGET, now);
        Self { budget, under_way: 0, waiting: FairRows::default(), timer: None }
    }

    fn is_idle(&self) -> bool {
        self.under_way == 0 && self.waiting.is_empty()
    }
}

/// The links to neighbours, present or recent.
#[derive(Default)]
pub(super) struct Forwarding {
    links: BTreeMap<SocketAddr, Link>,
}

impl Forwarding {
    pub(super) fn clear(&mut self) {
        self.links.clear();
    }

    /// The link to a neighbour. If there are too many, drops idle ones.
    fn link(&mut self, now: Instant, neighbour: SocketAddr) -> &mut Link {
        if self.links.len() >= LINKS_KEPT_MAX && !self.links.contains_key(&neighbour) {
            self.links.retain(|_, link| !link.is_idle());
        }
        self.links.entry(neighbour).or_insert_with(|| Link::new(now))
    }
}

/// Sends a search of others, or hits for one, when a worker is free. Counts what is dropped.
pub(super) fn dial_for(
    net: &mut Net,
    sender: Sender,
    to: SocketAddr,
    messages: Vec<Message>,
    purpose: Purpose,
) -> Result<ExchangeId, QueueFull> {
    let proven = net.peers().is_proven(to);
    let kind = match purpose {
        Purpose::Hits(_) if proven => Kind::Hits,
        Purpose::Hits(_) => Kind::StrangerHits,
        _ => Kind::Forward,
    };
    let connect_max = if proven { CONNECT_MAX } else { CONNECT_UNPROVEN_MAX };
    let send = |_| Command::Send { to, messages, connect_max };
    let submitted = net.cx.submit_dial(to, purpose, Rank::For(kind, sender), send);
    submitted.inspect_err(|_| net.cx.count_dropped(kind))
}

impl SearchMachine {
    /// Forwards a search to every neighbour but the requester. `plain`: its plain form, if it is not plain itself.
    pub(super) fn forward_search(
        &mut self,
        net: &mut Net,
        sender: Sender,
        search: Search,
        plain: Option<Box<[u8]>>,
        open: Option<OpenId>,
    ) {
        let requester = canonical(search.requester);
        let plain = plain.map(|text| Rc::new(Search { text, ..search.clone() }));
        let search = Rc::new(search);
        for neighbour in net.neighbours() {
            if neighbour == requester {
                continue;
            }
            let search = plain.as_ref().filter(|_| !net.peers().takes_operators(neighbour)).unwrap_or(&search);
            // The plain form is empty, or the search came there before.
            if search.text.is_empty() || open.is_some_and(|open| self.has_reached(open, neighbour, search.ttl)) {
                continue;
            }
            open.inspect(|open| self.await_part(net, *open, neighbour, search.ttl));
            if !self.may_forward_to(net, neighbour) {
                self.drop_forward(net, neighbour, open);
                continue;
            }
            let waiting_max = self.forwards_max(net.network, neighbour) * FORWARDS_WAITING_TIMES;
            let copy = Copy { search: Rc::clone(search), open };
            let waiting = &mut self.forwarding.link(net.cx.now, neighbour).waiting;
            if let Some(dropped) = waiting.push(sender, copy, waiting_max, waiting_max) {
                self.drop_forward(net, neighbour, dropped.open);
            }
            self.send_forwards(net, neighbour);
        }
    }

    fn drop_forward(&mut self, net: &mut Net, neighbour: SocketAddr, open: Option<OpenId>) {
        net.cx.counters.limited.forwards_dropped += 1;
        open.inspect(|open| self.drop_part(net, *open, neighbour));
    }

    /// How many searches may be being sent to a neighbour at once.
    fn forwards_max(&self, network: &NetworkMachine, neighbour: SocketAddr) -> usize {
        if network.peers().is_proven(neighbour) { FORWARDS_PER_NEIGHBOUR_MAX } else { FORWARDS_PER_UNPROVEN_MAX }
    }

    fn send_forwards(&mut self, net: &mut Net, neighbour: SocketAddr) {
        let under_way_max = self.forwards_max(net.network, neighbour);
        loop {
            let Some(link) = self.forwarding.links.get_mut(&neighbour) else { return };
            if link.waiting.is_empty() || link.under_way >= under_way_max {
                return;
            }
            if !link.budget.take(BUDGET, net.cx.now) {
                let at = link.budget.next_at(BUDGET, net.cx.now);
                link.timer.get_or_insert_with(|| net.cx.wheel.insert(at, NodeTimer::Forward(neighbour)));
                return;
            }
            let Some((sender, Copy { search, open })) = link.waiting.pop() else { return };
            let messages = vec![Message::Search(Search::clone(&search))];
            let is_sent = dial_for(net, sender, neighbour, messages, Purpose::Forward(open)).is_ok();
            match self.forwarding.links.get_mut(&neighbour).filter(|_| is_sent) {
                Some(link) => {
                    link.under_way += 1;
                    open.inspect(|open| self.on_part_ordered(net, *open, neighbour));
                }
                None => drop(open.inspect(|open| self.drop_part(net, *open, neighbour))),
            }
        }
    }

    pub(in crate::node) fn on_forward_timer(&mut self, net: &mut Net, neighbour: SocketAddr) {
        if let Some(link) = self.forwarding.links.get_mut(&neighbour) {
            link.timer = None;
        }
        self.send_forwards(net, neighbour);
    }

    pub(in crate::node) fn on_forward_ended(
        &mut self,
        net: &mut Net,
        neighbour: SocketAddr,
        open: Option<OpenId>,
        outcome: &DialOutcome,
    ) {
        self.on_part_dialled(net, open, neighbour, outcome);
        if let Some(link) = self.forwarding.links.get_mut(&neighbour) {
            link.under_way -= 1;
        }
        self.send_forwards(net, neighbour);
    }

    pub(in crate::node) fn check_forwards(&self, cx: &Cx) {
        let mut under_way: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        let forwards = cx.exchanges.dials().filter(|dial| matches!(dial.purpose, Purpose::Forward(_)));
        forwards.for_each(|dial| *under_way.entry(dial.to).or_default() += 1);
        for (neighbour, link) in &self.forwarding.links {
            let known = under_way.get(neighbour).copied().unwrap_or(0);
            assert_eq!(link.under_way, known, "searches being sent to {neighbour} are counted");
            let waiting_max = FORWARDS_PER_NEIGHBOUR_MAX * FORWARDS_WAITING_TIMES;
            assert!(link.waiting.len() <= waiting_max, "searches waiting for {neighbour} are bounded");
            link.waiting.check_invariants();
        }
    }
}
