//! What each machine of the node may use: the time, the configuration, chance, timers, the way out, and the exchanges.

mod deadlines;
pub(super) mod exchanges;
mod rng;
mod steps;
mod subscriptions;

pub(super) use deadlines::NodeTimer;
pub(super) use rng::Rng;
pub(super) use steps::Step;
pub(super) use subscriptions::Topic;

use super::contract::{Action, NodeConfig};
use super::{Counters, Phase};
use crate::id::TransferId;
use crate::time::Instant;
use crate::timer::{TimerId, TimerWheel};
use exchanges::Exchanges;
use std::collections::{BTreeMap, VecDeque};
use subscriptions::Subscriptions;

/// What each machine may use. `exchanges` adds the functions that begin and end exchanges, `subscriptions` those that tell
/// control clients something.
pub(super) struct Cx {
    /// When the event or the timer came that is handled now.
    pub(super) now: Instant,
    pub(super) started: Instant,
    pub(super) config: NodeConfig,
    pub(super) phase: Phase,
    pub(super) rng: Rng,
    pub(super) wheel: TimerWheel<NodeTimer>,
    pub(super) counters: Counters,
    pub(super) subscriptions: Subscriptions,
    pub(super) exchanges: Exchanges,
    pub(super) out: Out,
}

/// Revisions of records that are to be on the disk, by download.
pub(super) type Needs = BTreeMap<TransferId, u64>;

/// What is to be done: by the loop, and by other machines.
#[derive(Default)]
pub(super) struct Out {
    /// Answers to calls: they go out before the notices of what the call began. With each, the records that it has waited
    /// for in vain.
    replies: VecDeque<(Action, Needs)>,
    actions: VecDeque<Action>,
    steps: VecDeque<Step>,
}

impl Out {
    /// The loop is to do this.
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Reply { .. } => self.reply(action, Needs::new()),
            _ => self.actions.push_back(action),
        }
    }

    /// Answers a call whose changes are on the disk, but for these.
    pub(super) fn reply(&mut self, reply: Action, needs: Needs) {
        self.replies.push_back((reply, needs));
    }

    /// What the answers have waited for in vain.
    pub(super) fn needs(&self) -> impl Iterator<Item = (TransferId, u64)> {
        self.replies.iter().flat_map(|(_, needs)| needs.iter().map(|(id, revision)| (*id, *revision)))
    }

    /// What the loop is still to do, the next first.
    pub(super) fn actions(&self) -> impl Iterator<Item = &Action> {
        self.actions.iter()
    }

    /// Another machine is to do this, after what the machines have left to each other before.
    pub(super) fn then(&mut self, step: Step) {
        self.steps.push_back(step);
    }

    /// The next thing for the loop.
    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.replies.pop_front().map(|(reply, _)| reply).or_else(|| self.actions.pop_front())
    }

    /// The next thing for a machine.
    pub(super) fn next_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Whether something is left for a machine.
    pub(super) fn has_steps(&self) -> bool {
        !self.steps.is_empty()
    }
}

impl Cx {
    pub(super) fn new(now: Instant, config: NodeConfig, seed: [u8; 32]) -> Self {
        Self {
            now,
            started: now,
            config,
            phase: Phase::Running,
            rng: Rng::new(seed),
            wheel: TimerWheel::new(now),
            counters: Counters::default(),
            subscriptions: Subscriptions::default(),
            exchanges: Exchanges::default(),
            out: Out::default(),
        }
    }

    /// Whether the node is there for others, and not about to end.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Cancels a timer, if there is one.
    pub(super) fn cancel_timer(&mut self, timer: Option<TimerId>) {
        if let Some(timer) = timer {
            self.wheel.cancel(timer);
        }
    }
}
