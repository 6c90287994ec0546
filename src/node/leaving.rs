//! The end of a node: off every list, nothing half done left behind.

use super::contract::{Action, Refusal};
use super::dials::Purpose;
use super::limits::LEAVE_MAX;
use super::{Node, NodeTimer, Phase};
use crate::control::Notice;
use crate::id::ExchangeId;
use crate::time::Instant;

impl Node {
    /// Stops all work and takes leave of every bootstrap node; [`Action::Left`] follows when they have heard, or after
    /// three seconds.
    pub(super) fn on_leave(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Running) {
            return;
        }
        self.notify_events(|| Notice::Leaving);
        let timer = self.wheel.insert(now + LEAVE_MAX, NodeTimer::LeaveDeadline);
        self.phase = Phase::Leaving { waiting: Default::default(), timer };
        self.refuse_turns();
        self.withdraw_all().into_iter().for_each(|exchange| self.refuse(exchange, Refusal::Leaving));
        self.break_off_orders();
        self.answering.clear();
        self.forwarding.clear();
        self.open_searches = Default::default();
        self.stop_downloads(now);
        let for_peers = |purpose| !matches!(purpose, Purpose::Link(..) | Purpose::Unregister | Purpose::Fetch(_));
        let ours: Vec<_> =
            self.dials.iter().filter(|(_, dial)| for_peers(dial.purpose)).map(|(exchange, _)| *exchange).collect();
        ours.into_iter().for_each(|exchange| self.abort_dial(exchange));
        let unregistering = self.unregister_everywhere();
        self.remember_peers(now);
        if let Phase::Leaving { waiting, .. } = &mut self.phase {
            *waiting = unregistering;
        }
        self.leave_if_done();
    }

    pub(super) fn on_unregister_ended(&mut self, exchange: ExchangeId) {
        if let Phase::Leaving { waiting, .. } = &mut self.phase {
            waiting.remove(&exchange);
            self.leave_if_done();
        }
    }

    fn leave_if_done(&mut self) {
        if matches!(&self.phase, Phase::Leaving { waiting, .. } if waiting.is_empty()) {
            self.leave();
        }
    }

    /// The bootstrap nodes have heard, or were waited for long enough.
    pub(super) fn leave(&mut self) {
        if let Phase::Leaving { timer, .. } = std::mem::replace(&mut self.phase, Phase::Left) {
            self.wheel.cancel(timer);
            let uploads: Vec<_> = self.uploads.exchanges().collect();
            self.actions.extend(uploads.into_iter().map(|exchange| Action::Abort { exchange }));
            self.actions.push_back(Action::Left);
        }
    }
}
