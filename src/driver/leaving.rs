//! The beginning of the end: everything is brought to the disk while the node says goodbye.

use super::Driver;
use super::cx::Phase;
use crate::node::Event;
use log::info;
use std::time::Duration;

/// How long leaving may take: TERM is to be over in 5 s, with two calls of a slow disk after it.
const LEAVE_MAX: Duration = Duration::from_millis(3_500);

impl Driver {
    /// Begins to leave, once.
    pub(super) fn leave(&mut self, why: &str) {
        if self.cx.phase != Phase::Running {
            return;
        }
        info!("leaving ({why})");
        self.cx.phase = Phase::Leaving(self.cx.now + LEAVE_MAX);
        self.front.host().leaving();
        self.begin_handing_over();
        if let Some(bootstrap) = &self.bootstrap {
            self.disk.save_registry_last(bootstrap);
        }
        self.disk.leave();
        self.node.handle(self.cx.now, Event::Leave);
    }

    /// The node has said goodbye.
    pub(super) fn on_left(&mut self) {
        if let Phase::Leaving(until) = self.cx.phase {
            self.cx.phase = Phase::Flushing(until);
            self.end_handing_over();
        }
    }

    /// After the last turn.
    pub(super) fn end(self: Box<Self>) {
        let Self { disk, .. } = *self;
        disk.end();
    }

    /// Ends the loop when all is on the disk and read, or when it is too late for that.
    pub(super) fn leave_if_done(&mut self) {
        let is_over = match self.cx.phase {
            Phase::Running => false,
            Phase::Leaving(until) => until <= self.cx.now,
            Phase::Flushing(until) => {
                let is_flushed = !self.disk.is_syncing() && self.front.is_flushed();
                until <= self.cx.now || (is_flushed && self.disk.close())
            }
            Phase::Over => true,
        };
        if is_over {
            self.cx.phase = Phase::Over;
        }
    }
}
