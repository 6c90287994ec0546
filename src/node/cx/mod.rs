//! What each machine of the node may use: time, configuration, random numbers, timers, outputs, and exchanges.

mod deadlines;
mod event_log;
pub(super) mod exchanges;
mod line_limits;
mod rng;
mod steps;
mod subjects;
mod subscriptions;

pub(super) use deadlines::NodeTimer;
pub(super) use rng::Rng;
pub(super) use steps::Step;
pub(super) use subjects::Subject;
pub(super) use subscriptions::Topic;

use super::contract::{Action, NodeConfig};
use super::{Counters, Phase};
use crate::id::TransferId;
use crate::time::{Instant, WallClock};
use crate::timer::{TimerId, TimerWheel};
use event_log::EventLog;
use exchanges::Exchanges;
use line_limits::LineLimits;
use std::collections::{BTreeMap, VecDeque};
use subscriptions::Subscriptions;

/// What each machine may use. `exchanges` adds functions that begin and end exchanges, `subscriptions` those that notify
/// control clients, `event_log` those that log events, `line_limits` those that limit what others have us log.
pub(super) struct Cx {
    /// The time of the event or timer that is being handled.
    pub(super) now: Instant,
    pub(super) started: Instant,
    /// For the dates in replies.
    pub(super) wall: WallClock,
    pub(super) config: NodeConfig,
    pub(super) phase: Phase,
    pub(super) rng: Rng,
    pub(super) wheel: TimerWheel<NodeTimer>,
    pub(super) counters: Counters,
    pub(super) subscriptions: Subscriptions,
    pub(super) event_log: EventLog,
    pub(super) exchanges: Exchanges,
    pub(super) line_limits: LineLimits,
    pub(super) out: Out,
}

/// The revisions of records that must be on the disk, by download.
pub(super) type Needs = BTreeMap<TransferId, u64>;

/// Outputs to the loop and to other machines.
#[derive(Default)]
pub(super) struct Out {
    /// Replies to calls, which precede the notices that the call causes. Each with the records that were not written in time.
    replies: VecDeque<(Action, Needs)>,
    actions: VecDeque<Action>,
    steps: VecDeque<Step>,
}

impl Out {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Reply { .. } => self.reply(action, Needs::new()),
            _ => self.actions.push_back(action),
        }
    }

    /// Replies to a call whose changes are on the disk, except `needs`.
    pub(super) fn reply(&mut self, reply: Action, needs: Needs) {
        self.replies.push_back((reply, needs));
    }

    /// The records of replies that were not written in time.
    pub(super) fn needs(&self) -> impl Iterator<Item = (TransferId, u64)> {
        self.replies.iter().flat_map(|(_, needs)| needs.iter().map(|(id, revision)| (*id, *revision)))
    }

    pub(super) fn actions(&self) -> impl Iterator<Item = &Action> {
        self.actions.iter()
    }

    /// A step for another machine, after earlier steps.
    pub(super) fn then(&mut self, step: Step) {
        self.steps.push_back(step);
    }

    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.replies.pop_front().map(|(reply, _)| reply).or_else(|| self.actions.pop_front())
    }

    pub(super) fn next_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    pub(super) fn has_steps(&self) -> bool {
        !self.steps.is_empty()
    }
}

impl Cx {
    pub(super) fn new(now: Instant, config: NodeConfig, seed: [u8; 32]) -> Self {
        Self {
            now,
            started: now,
            wall: WallClock::default(),
            config,
            phase: Phase::Running,
            rng: Rng::new(seed),
            wheel: TimerWheel::new(now),
            counters: Counters::default(),
            subscriptions: Subscriptions::default(),
            event_log: EventLog::new(seed),
            exchanges: Exchanges::default(),
            line_limits: LineLimits::default(),
            out: Out::default(),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    pub(super) fn cancel_timer(&mut self, timer: Option<TimerId>) {
        if let Some(timer) = timer {
            self.wheel.cancel(timer);
        }
    }
}
