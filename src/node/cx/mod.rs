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
use crate::time::Instant;
use crate::timer::{TimerId, TimerWheel};
use exchanges::Exchanges;
use std::collections::VecDeque;
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

/// What is to be done: by the loop, and by other machines.
#[derive(Default)]
pub(super) struct Out {
    /// Answers to calls: they go out before the notices of what the call began.
    replies: VecDeque<Action>,
    actions: VecDeque<Action>,
    steps: VecDeque<Step>,
}

impl Out {
    /// The loop is to do this.
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Reply { .. } => self.replies.push_back(action),
            _ => self.actions.push_back(action),
        }
    }

    /// Another machine is to do this, after what the machines have left to each other before.
    pub(super) fn then(&mut self, step: Step) {
        self.steps.push_back(step);
    }

    /// The next thing for the loop.
    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.replies.pop_front().or_else(|| self.actions.pop_front())
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
