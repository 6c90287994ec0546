//! The end of a node: off every list, nothing half done left behind.

use crate::control::Notice;
use crate::id::ExchangeId;
use crate::node::contract::{Action, Refusal};
use crate::node::cx::NodeTimer;
use crate::node::cx::exchanges::Purpose;
use crate::node::limits::LEAVE_MAX;
use crate::node::{Node, Phase};

impl Node {
    /// Stops all work and takes leave of every bootstrap node; [`Action::Left`] follows when they have heard, or after
    /// three seconds.
    pub(super) fn on_leave(&mut self) {
        if !self.cx.is_running() {
            return;
        }
        self.cx.notify_events(|| Notice::Leaving);
        let timer = self.cx.wheel.insert(self.cx.now + LEAVE_MAX, NodeTimer::LeaveDeadline);
        self.cx.phase = Phase::Leaving { waiting: Default::default(), timer };
        self.upload.refuse_turns(&mut self.cx);
        self.upload.refuse_manifests(&mut self.cx);
        self.directory_links.give_up(&mut self.cx);
        self.cx
            .withdraw_all()
            .into_iter()
            .for_each(|exchange| self.upload.refuse(&mut self.cx, exchange, Refusal::Leaving));
        self.download.break_off_orders(&mut self.cx);
        self.wish.on_save_timer(&mut self.cx);
        self.search.stop();
        self.download.stop_downloads(&mut self.cx);
        let for_peers = |purpose| !matches!(purpose, Purpose::Link(..) | Purpose::Unregister | Purpose::Fetch);
        let ours: Vec<_> = self
            .cx
            .exchanges
            .open()
            .filter(|(_, dial)| for_peers(dial.purpose))
            .map(|(exchange, _)| exchange)
            .collect();
        ours.into_iter().for_each(|exchange| self.cx.abort_dial(exchange));
        let unregistering = self.network.unregister_everywhere(&mut self.cx);
        self.network.remember_peers(&mut self.cx);
        if let Phase::Leaving { waiting, .. } = &mut self.cx.phase {
            *waiting = unregistering;
        }
        self.leave_if_done();
    }

    pub(super) fn on_unregister_ended(&mut self, exchange: ExchangeId) {
        if let Phase::Leaving { waiting, .. } = &mut self.cx.phase {
            waiting.remove(&exchange);
            self.leave_if_done();
        }
    }

    fn leave_if_done(&mut self) {
        if matches!(&self.cx.phase, Phase::Leaving { waiting, .. } if waiting.is_empty()) {
            self.leave();
        }
    }

    /// The bootstrap nodes have heard, or were waited for long enough.
    pub(super) fn leave(&mut self) {
        if let Phase::Leaving { timer, .. } = std::mem::replace(&mut self.cx.phase, Phase::Left) {
            self.cx.wheel.cancel(timer);
            self.upload.end_uploads(&mut self.cx);
            self.cx.log_all_left_out();
            self.cx.out.act(Action::Left);
        }
    }
}
