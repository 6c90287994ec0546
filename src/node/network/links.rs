//! Registration with every configured bootstrap node, and requesting their peer lists.
//!
//! Each [`Link`] resolves its host, registers, requests the peer list, and then sends keepalives; after any failure it enters
//! [`LinkPhase::Waiting`], and then starts again. Links are independent of each other.

use super::NetworkMachine;
use super::endpoints::canonical;
use super::known_lists::Lists;
use crate::control::{LinkRow, LinkState, Notice};
use crate::fault::ResolveFault;
use crate::id::ExchangeId;
use crate::node::contract::{Action, BootstrapAddr, DialOutcome, Dialled, Expect, Response};
use crate::node::cx::exchanges::{LinkTask, Purpose};
use crate::node::cx::{Cx, NodeTimer, Step};
use crate::node::ids::LinkId;
use crate::node::limits::{KEEPALIVE_POSTPONED, LINK_RETRY_MAX, LINK_RETRY_MIN, PEER_LIST_ROWS_ASKED};
use crate::time::{Instant, WallClock};
use crate::timer::TimerId;
use crate::wire::Message;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub(in crate::node) struct Link {
    id: LinkId,
    host: BootstrapAddr,
    pub(in crate::node) phase: LinkPhase,
    /// The next attempt while waiting, the next keepalive while registered.
    timer: Option<TimerId>,
    /// The next request of the list before the next keepalive.
    pub(super) refresh: Option<TimerId>,
    pub(in crate::node) lists: Lists,
    /// Where we have registered, and not unregistered since.
    listed_at: Option<SocketAddr>,
    last_ok: Option<Instant>,
    pub(super) error: Option<String>,
    pub(super) failures: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::node) enum LinkPhase {
    Resolving,
    /// A registration is being sent; `others`: further addresses of the host to try.
    Registering {
        exchange: ExchangeId,
        to: SocketAddr,
        others: VecDeque<SocketAddr>,
    },
    /// We are registered; at most one task is in progress.
    Registered {
        to: SocketAddr,
        task: Option<ExchangeId>,
    },
    Waiting {
        until: Instant,
    },
}

impl LinkPhase {
    /// As `status` names it.
    fn word(&self) -> &'static str {
        match self {
            Self::Resolving => "resolving",
            Self::Registering { .. } => "registering",
            Self::Registered { .. } => "registered",
            Self::Waiting { .. } => "waiting",
        }
    }
}

/// All links, in the order of the configuration.
#[derive(Default)]
pub(super) struct Membership {
    links: Vec<Link>,
    links_made: u32,
    /// Our address on the last successful connection to a bootstrap node.
    pub(super) reached_from: Option<IpAddr>,
}

impl fmt::Display for BootstrapAddr {
    /// `host:port`, an IPv6 literal in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}:{}", self.host, self.port)
    }
}

impl Link {
    fn row(&self, now: Instant, wall: WallClock) -> LinkRow {
        let (state, until) = match self.phase {
            LinkPhase::Resolving => (LinkState::Resolving, None),
            LinkPhase::Registering { .. } => (LinkState::Registering, None),
            LinkPhase::Registered { .. } => (LinkState::Registered, None),
            LinkPhase::Waiting { until } => (LinkState::Waiting, Some(until)),
        };
        LinkRow {
            addr: self.host.to_string(),
            state,
            last_ok: self.last_ok.map(|at| wall.epoch_s(at)),
            retry_in_s: until.map(|at| whole_seconds(at.saturating_since(now))),
            error: self.error.clone().filter(|_| state != LinkState::Registered),
        }
    }
}

pub(in crate::node) fn whole_seconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX)
}

impl NetworkMachine {
    /// The bootstrap links, in the order of the configuration.
    pub(in crate::node) fn links(&self, now: Instant, wall: WallClock) -> Vec<LinkRow> {
        self.membership.links.iter().map(|link| link.row(now, wall)).collect()
    }

    /// Creates links for new bootstrap nodes of the configuration, and unregisters from those no longer configured.
    pub(in crate::node) fn arrange_links(&mut self, cx: &mut Cx) {
        let wanted = if cx.config.peer { cx.config.bootstraps.clone() } else { Vec::new() };
        let mut old = std::mem::take(&mut self.membership.links);
        let mut new = Vec::new();
        for host in wanted {
            match old.iter().position(|link| link.host == host) {
                Some(index) => self.membership.links.push(old.swap_remove(index)),
                None => {
                    let id = LinkId(self.membership.links_made);
                    self.membership.links_made += 1;
                    self.membership.links.push(Link {
                        id,
                        host,
                        phase: LinkPhase::Resolving,
                        timer: None,
                        refresh: None,
                        lists: Lists::default(),
                        listed_at: None,
                        last_ok: None,
                        error: None,
                        failures: 0,
                    });
                    new.push(id);
                }
            }
        }
        for link in old {
            self.forget_listing(cx, link.id, &BTreeMap::new());
            self.send_unregister(cx, link);
        }
        new.into_iter().for_each(|id| self.resolve_link(cx, id));
    }

    /// Unregisters from a bootstrap node, if it may have us on its list.
    fn send_unregister(&mut self, cx: &mut Cx, link: Link) -> Option<ExchangeId> {
        cx.cancel_timer(link.timer);
        cx.cancel_timer(link.refresh);
        let to = match link.phase {
            // A link that was lost may still be on the list, until its lease ends.
            LinkPhase::Resolving | LinkPhase::Waiting { .. } => link.listed_at?,
            LinkPhase::Registering { exchange, to, .. } => {
                cx.abort_dial(exchange);
                to
            }
            LinkPhase::Registered { to, task } => {
                task.into_iter().for_each(|exchange| cx.abort_dial(exchange));
                to
            }
        };
        let message = Message::Unregister { port: cx.config.listen.port(), p1: true };
        Some(cx.dial_bootstrap(to, message, Expect::Nothing, Purpose::Unregister))
    }

    /// Unregisters from all bootstrap nodes. Returns the exchanges.
    pub(in crate::node) fn unregister_everywhere(&mut self, cx: &mut Cx) -> BTreeSet<ExchangeId> {
        let links = std::mem::take(&mut self.membership.links);
        links.into_iter().filter_map(|link| self.send_unregister(cx, link)).collect()
    }

    pub(in crate::node) fn link(&self, id: LinkId) -> Option<&Link> {
        self.membership.links.iter().find(|link| link.id == id)
    }

    pub(in crate::node) fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.membership.links.iter_mut().find(|link| link.id == id)
    }

    /// Changes the phase: cancels the timers of the old one and starts those of the new one.
    fn set_link_phase(&mut self, cx: &mut Cx, id: LinkId, phase: LinkPhase) {
        let keepalive = cx.now + cx.config.keepalive_refresh;
        let Some(link) = self.link_mut(id) else { return };
        let host = link.host.to_string();
        let (before, now) = (link.phase.word(), phase.word());
        if before != now {
            log::debug!(bootstrap = host.as_str(), before, now; "a registration has changed");
        }
        let was_registered = matches!(link.phase, LinkPhase::Registered { .. });
        let (timer, refresh) = (link.timer.take(), link.refresh.take());
        let error = link.error.clone();
        link.phase = phase.clone();
        cx.cancel_timer(timer);
        cx.cancel_timer(refresh);
        let due = match phase {
            LinkPhase::Resolving | LinkPhase::Registering { .. } => None,
            LinkPhase::Registered { .. } => {
                if !was_registered {
                    log::info!(bootstrap = host.as_str(); "registered with the bootstrap node");
                    cx.notify_events(|| Notice::Registered { addr: host });
                }
                Some(keepalive)
            }
            LinkPhase::Waiting { until } => {
                let retry_in_s = whole_seconds(until.saturating_since(cx.now));
                let error = error.unwrap_or_default();
                log::warn!(bootstrap = host.as_str(), error = error.as_str(), retry_in_s; "the bootstrap node is out of reach");
                cx.notify_events(|| Notice::BootstrapLost { addr: host, error, retry_in_s });
                Some(until)
            }
        };
        let timer = due.map(|at| cx.wheel.insert(at, NodeTimer::Link(id)));
        if let Some(link) = self.link_mut(id) {
            link.timer = timer;
        }
    }

    fn resolve_link(&mut self, cx: &mut Cx, id: LinkId) {
        self.set_link_phase(cx, id, LinkPhase::Resolving);
        let Some(host) = self.link_mut(id).map(|link| link.host.clone()) else { return };
        match host.host.parse::<IpAddr>() {
            Ok(ip) => self.register(cx, id, VecDeque::from([canonical(SocketAddr::new(ip, host.port))])),
            Err(_) => cx.out.act(Action::Resolve { host }),
        }
    }

    pub(in crate::node) fn on_resolved(
        &mut self,
        cx: &mut Cx,
        host: &BootstrapAddr,
        outcome: Result<Vec<IpAddr>, ResolveFault>,
    ) {
        let waits = |link: &&Link| link.phase == LinkPhase::Resolving && link.host == *host;
        let Some(id) = self.membership.links.iter().find(waits).map(|link| link.id) else { return };
        match outcome {
            Ok(ips) => {
                let mut addresses: Vec<_> =
                    ips.into_iter().map(|ip| canonical(SocketAddr::new(ip, host.port))).collect();
                // The bootstrap node lists the source address of our connection: our listener must be reachable there.
                let v4_only = cx.config.listen.is_ipv4();
                addresses.sort_by_key(|address| v4_only && address.is_ipv6());
                self.register(cx, id, addresses.into());
            }
            Err(fault) => {
                self.lose_link(cx, id, fault.to_string());
                cx.out.then(Step::LinkTaskEnded);
            }
        }
    }

    /// Registers at the first address; the others are tried if this fails.
    fn register(&mut self, cx: &mut Cx, id: LinkId, mut addresses: VecDeque<SocketAddr>) {
        let Some(to) = addresses.pop_front() else {
            return self.lose_link(cx, id, ResolveFault::NoAddress.to_string());
        };
        let message = Message::Register { port: cx.config.listen.port(), p1: true };
        let exchange = cx.dial_bootstrap(to, message, Expect::Nothing, Purpose::Link(id, LinkTask::Register));
        self.set_link_phase(cx, id, LinkPhase::Registering { exchange, to, others: addresses });
    }

    fn lose_link(&mut self, cx: &mut Cx, id: LinkId, error: String) {
        let Some(link) = self.link_mut(id) else { return };
        link.error = Some(error);
        link.failures = link.failures.saturating_add(1);
        let failures = link.failures;
        let until = cx.now + cx.rng.back_off(failures, LINK_RETRY_MIN, LINK_RETRY_MAX);
        self.set_link_phase(cx, id, LinkPhase::Waiting { until });
    }

    pub(in crate::node) fn on_link_timer(&mut self, cx: &mut Cx, id: LinkId) {
        let keepalive = cx.now + cx.config.keepalive_refresh;
        let Some(link) = self.link_mut(id) else { return };
        link.timer = None;
        match link.phase {
            LinkPhase::Waiting { .. } => self.resolve_link(cx, id),
            LinkPhase::Registered { task, .. } => {
                let due = if task.is_none() { keepalive } else { cx.now + KEEPALIVE_POSTPONED };
                self.start_link_task(cx, id, LinkTask::Keepalive);
                let timer = cx.wheel.insert(due, NodeTimer::Link(id));
                self.link_mut(id).into_iter().for_each(|link| link.timer = Some(timer));
            }
            LinkPhase::Resolving | LinkPhase::Registering { .. } => {}
        }
    }

    /// Starts a task on a registered link, if none is in progress.
    pub(in crate::node) fn start_link_task(&mut self, cx: &mut Cx, id: LinkId, task: LinkTask) {
        let port = cx.config.listen.port();
        let Some(Link { phase: LinkPhase::Registered { to, task: None }, .. }) = self.link_mut(id) else { return };
        let to = *to;
        let (message, expect) = match task {
            LinkTask::Register => (Message::Register { port, p1: true }, Expect::Nothing),
            LinkTask::Keepalive | LinkTask::Renew => (Message::Keepalive { port, p1: true }, Expect::Nothing),
            LinkTask::PeerList => {
                (Message::RequestPeerList { peers_max: PEER_LIST_ROWS_ASKED, p1: true }, Expect::PeerList)
            }
        };
        let exchange = cx.dial_bootstrap(to, message, expect, Purpose::Link(id, task));
        let Some(link) = self.link_mut(id) else { return };
        if task == LinkTask::PeerList {
            link.lists.requested_at = Some(cx.now);
        }
        if let LinkPhase::Registered { task, .. } = &mut link.phase {
            *task = Some(exchange);
        }
    }

    pub(in crate::node) fn on_link_task_ended(
        &mut self,
        cx: &mut Cx,
        id: LinkId,
        task: LinkTask,
        exchange: ExchangeId,
        outcome: DialOutcome,
    ) {
        let Some(link) = self.link_mut(id) else { return };
        match &mut link.phase {
            LinkPhase::Registering { exchange: ours, to, others } if *ours == exchange => {
                let (to, others) = (*to, std::mem::take(others));
                self.on_register_ended(cx, id, to, others, outcome);
            }
            LinkPhase::Registered { task: under_way, .. } if *under_way == Some(exchange) => {
                *under_way = None;
                if task == LinkTask::PeerList {
                    link.lists.note_ended(cx.now, outcome.is_ok());
                }
                match outcome {
                    Ok(dialled) => self.on_link_task_done(cx, id, task, dialled),
                    Err(fault) => self.lose_link(cx, id, fault.to_string()),
                }
            }
            _ => {}
        }
    }

    fn on_register_ended(
        &mut self,
        cx: &mut Cx,
        id: LinkId,
        to: SocketAddr,
        others: VecDeque<SocketAddr>,
        outcome: DialOutcome,
    ) {
        match outcome {
            Ok(dialled) => {
                self.note_reached(cx, id, &dialled);
                if let Some(link) = self.link_mut(id) {
                    link.lists.second_request = false;
                    link.listed_at = Some(to);
                }
                self.set_link_phase(cx, id, LinkPhase::Registered { to, task: None });
                self.start_link_task(cx, id, LinkTask::PeerList);
            }
            Err(_) if !others.is_empty() => self.register(cx, id, others),
            Err(fault) => self.lose_link(cx, id, fault.to_string()),
        }
    }

    fn on_link_task_done(&mut self, cx: &mut Cx, id: LinkId, task: LinkTask, dialled: Dialled) {
        self.note_reached(cx, id, &dialled);
        match (task, dialled.response) {
            (LinkTask::Keepalive, _) => self.start_link_task(cx, id, LinkTask::PeerList),
            (LinkTask::PeerList, Response::PeerList(peers)) => self.on_peer_list(cx, id, peers),
            _ => {}
        }
    }

    fn note_reached(&mut self, cx: &Cx, id: LinkId, dialled: &Dialled) {
        let local = dialled.local.ip().to_canonical();
        // A bootstrap node on this machine must not replace the address that other peers can reach.
        let better = !local.is_loopback() || self.membership.reached_from.is_none_or(|ip| ip.is_loopback());
        if better && self.membership.reached_from.replace(local) != Some(local) {
            self.reconsider_peers(cx);
        }
        if let Some(link) = self.link_mut(id) {
            link.last_ok = Some(cx.now);
        }
    }

    pub(in crate::node) fn is_registered(&self) -> bool {
        self.membership.links.iter().any(|link| matches!(link.phase, LinkPhase::Registered { .. }))
    }

    pub(in crate::node) fn is_registering(&self) -> bool {
        let is_under_way = |link: &Link| matches!(link.phase, LinkPhase::Resolving | LinkPhase::Registering { .. });
        self.membership.links.iter().any(is_under_way)
    }

    pub(in crate::node) fn registered_links(&self) -> Vec<LinkId> {
        let registered = |link: &&Link| matches!(link.phase, LinkPhase::Registered { .. });
        self.membership.links.iter().filter(registered).map(|link| link.id).collect()
    }

    pub(super) fn assigned_peers(&self) -> Vec<SocketAddr> {
        self.membership.links.iter().filter_map(|link| link.lists.assigned).collect()
    }

    /// The addresses of this machine have changed: registers again, from the address that leads to the bootstrap node now.
    pub(in crate::node) fn renew_links(&mut self, cx: &mut Cx) {
        for index in 0..self.membership.links.len() {
            let link = &self.membership.links[index];
            match link.phase {
                LinkPhase::Registered { task, .. } => {
                    let id = link.id;
                    task.into_iter().for_each(|exchange| cx.abort_dial(exchange));
                    self.resolve_link(cx, id);
                }
                LinkPhase::Waiting { .. } => self.resolve_link(cx, link.id),
                LinkPhase::Resolving | LinkPhase::Registering { .. } => {}
            }
        }
    }

    pub(in crate::node) fn rearm_keepalives(&mut self, cx: &mut Cx) {
        for id in self.registered_links() {
            let timer = cx.wheel.insert(cx.now + cx.config.keepalive_refresh, NodeTimer::Link(id));
            let old = self.link_mut(id).and_then(|link| link.timer.replace(timer));
            cx.cancel_timer(old);
        }
    }

    pub(in crate::node) fn check_membership(&self, cx: &Cx) {
        for link in &self.membership.links {
            let moves = match &link.phase {
                LinkPhase::Resolving => link.timer.is_none(),
                LinkPhase::Registering { exchange, .. } => {
                    link.timer.is_none() && cx.exchanges.dial(*exchange).is_some()
                }
                LinkPhase::Registered { task, .. } => {
                    link.timer.is_some() && task.is_none_or(|exchange| cx.exchanges.dial(exchange).is_some())
                }
                LinkPhase::Waiting { .. } => link.timer.is_some(),
            };
            assert!(moves, "the link to {} has a timer or an exchange: {:?}", link.host, link.phase);
        }
    }
}
