//! Displacing responses to very slow readers, of networks that exceed their share, for waiting requests.
//!
//! Requests of peers share the workers, and under `upload_limit` the turns. A requester that does not read would keep both.
//! So if a request of a network with fewer has waited for [`DISPLACE_AFTER`], the network that has most loses the
//! response that has been too slow for longest. Responses at a useful rate, or held back by our own limit, are never ended, and none is while no request waits.

use crate::id::ExchangeId;
use crate::network::Network;
use crate::node::contract::{Action, ResponseFault, STEADY_BYTES};
use crate::node::cx::{Cx, NodeTimer};
use crate::node::fair_queue::FairQueue;
use crate::node::limits::{DISPLACE_AFTER, DISPLACE_CHECK, FLOW_SPAN, FLOW_SPAN_STEADY, USEFUL_RATE};
use crate::time::Instant;
use crate::timer::TimerId;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

/// Runs while requests wait.
#[derive(Default)]
pub(super) struct Displacing {
    timer: Option<TimerId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum Flow {
    /// Bytes sent, which at [`USEFUL_RATE`] last until then: later it is too slow.
    Moving {
        bytes: u64,
        until: Instant,
    },
    Displaced,
}

impl Flow {
    pub(super) fn begin(now: Instant) -> Self {
        Self::Moving { bytes: 0, until: now + FLOW_SPAN }
    }

    /// `sent`: bytes in total. `held`: our rate limit holds it back.
    pub(super) fn advance(&mut self, now: Instant, sent: u64, held: bool) {
        let Self::Moving { bytes, until } = self else { return };
        let more = sent.saturating_sub(*bytes);
        let most = now + if sent < STEADY_BYTES { FLOW_SPAN } else { FLOW_SPAN_STEADY };
        let lasts = Duration::from_millis(more.saturating_mul(1_000) / USEFUL_RATE);
        *until = if held { most } else { ((*until).max(now) + lasts).min(most) };
        *bytes = sent;
    }

    /// Since when it has been too slow.
    fn slow_since(self, now: Instant) -> Option<Instant> {
        match self {
            Self::Moving { until, .. } if until <= now => Some(until),
            Self::Moving { .. } | Self::Displaced => None,
        }
    }
}

/// The shares of networks in workers or turns, for which requests wait.
pub(in crate::node) struct Shares {
    active: BTreeMap<Network, usize>,
    /// Responses that are too slow; of each network, the one that has been so for longest is last.
    slow: BTreeMap<Network, Vec<(Instant, ExchangeId)>>,
    /// Networks that have waited too long, in order.
    overdue: Vec<Network>,
    share: usize,
}

impl Shares {
    /// `since`: when a ticket was given. `responses`: the present holders, and how fast each moves.
    pub(in crate::node) fn new(
        now: Instant,
        queue: &FairQueue,
        since: impl Fn(u64) -> Option<Instant>,
        responses: impl Iterator<Item = (Network, ExchangeId, Option<Flow>)>,
    ) -> Self {
        let (mut active, mut slow): (BTreeMap<_, usize>, BTreeMap<_, Vec<_>>) = Default::default();
        let mut ending = 0;
        for (network, exchange, flow) in responses {
            *active.entry(network).or_default() += 1;
            ending += usize::from(flow == Some(Flow::Displaced));
            let slow_since = flow.and_then(|flow| flow.slow_since(now));
            slow.entry(network).or_default().extend(slow_since.map(|since| (since, exchange)));
        }
        slow.values_mut().for_each(|responses| responses.sort_unstable_by(|one, other| other.cmp(one)));
        let is_overdue = |ticket| since(ticket).is_some_and(|since| since + DISPLACE_AFTER <= now);
        let overdue = queue.waiting_networks().filter(|(_, ticket)| is_overdue(*ticket));
        // The first ones get what is being freed.
        let overdue = overdue.skip(ending).map(|(network, _)| network).collect();
        let only_wait = queue.waiting_networks().filter(|(network, _)| !active.contains_key(network)).count();
        let share = active.values().sum::<usize>() / (active.len() + only_wait).max(1);
        Self { active, slow, overdue, share }
    }

    /// The responses to end, at most one for each network that has waited too long.
    pub(super) fn give_way(mut self) -> Vec<ExchangeId> {
        let overdue = std::mem::take(&mut self.overdue);
        overdue.into_iter().filter_map(|network| self.give_way_to(network)).collect()
    }

    fn give_way_to(&mut self, network: Network) -> Option<ExchangeId> {
        let ours = self.active.get(&network).copied().unwrap_or(0);
        let held = |network: &Network| self.active.get(network).copied().unwrap_or(0);
        let may_give = |(other, responses): &(&Network, &Vec<_>)| {
            // Networks that differ by one do not displace each other in turn.
            let has_fewer = ours == 0 || held(other) > ours + 1;
            !responses.is_empty() && held(other) > self.share && has_fewer
        };
        let oldest = |responses: &[(Instant, ExchangeId)]| responses.last().map(|(since, _)| Reverse(*since));
        let worst = self.slow.iter().filter(may_give).max_by_key(|(other, slow)| (held(other), oldest(slow)));
        let worst = worst.map(|(other, _)| *other)?;
        let (_, exchange) = self.slow.get_mut(&worst)?.pop()?;
        *self.active.entry(worst).or_default() -= 1;
        *self.active.entry(network).or_default() += 1;
        Some(exchange)
    }
}

impl Cx {
    pub(in crate::node) fn await_displacing(&mut self) {
        if self.exchanges.displacing.timer.is_none() {
            self.exchanges.displacing.timer = Some(self.wheel.insert(self.now + DISPLACE_AFTER, NodeTimer::Displace));
        }
    }

    /// `waiting_for_turns`: requests that wait for a turn under `upload_limit`.
    pub(in crate::node) fn on_displace_timer(&mut self, of_turns: Shares, waiting_for_turns: usize) {
        self.exchanges.displacing.timer = None;
        self.displace_responses(of_turns);
        let of_workers = self.exchanges.workers.shares(self.now);
        self.displace_responses(of_workers);
        if self.exchanges.workers.requests_waiting() + waiting_for_turns > 0 {
            self.exchanges.displacing.timer = Some(self.wheel.insert(self.now + DISPLACE_CHECK, NodeTimer::Displace));
        }
    }

    fn displace_responses(&mut self, shares: Shares) {
        for exchange in shares.give_way() {
            self.exchanges.workers.displace(exchange);
            self.counters.limited.responses_displaced += 1;
            self.out.act(Action::Abort { exchange });
        }
    }

    /// The fault of an upload, which says why the node has aborted it.
    pub(in crate::node) fn fault_of_aborted(&self, exchange: ExchangeId, fault: &ResponseFault) -> ResponseFault {
        match (*fault, self.exchanges.workers.flow(exchange)) {
            (ResponseFault::Aborted, Some(Flow::Displaced)) => ResponseFault::Displaced,
            (ResponseFault::Aborted, _) if !self.is_running() => ResponseFault::Leaving,
            (fault, _) => fault,
        }
    }
}
