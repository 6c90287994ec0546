//! The exchanges: the open ones of this node and their purposes, and the commands that have a worker or wait for one.
//!
//! Its functions are those of [`Cx`](super::Cx), since each machine begins exchanges. The machine that submits a command keeps
//! what is to be sent, and gets a [`Step`](super::Step) when there is a worker.

mod admission;
mod commands;
mod displacing;
mod outbound;

pub(in crate::node) use commands::QueueFull;
pub(in crate::node) use commands::{Command, Kind, Rank};
pub(in crate::node) use displacing::{Flow, Shares};
pub(in crate::node) use outbound::{Dial, LinkTask, Purpose};

use super::Cx;
use crate::id::ExchangeId;
use admission::Workers;
use displacing::Displacing;
use std::collections::BTreeMap;

#[derive(Default)]
pub(in crate::node) struct Exchanges {
    begun: u64,
    dials: BTreeMap<ExchangeId, Dial>,
    workers: Workers,
    displacing: Displacing,
}

impl Exchanges {
    /// The open exchanges that this node has begun.
    pub(in crate::node) fn dials(&self) -> impl Iterator<Item = &Dial> {
        self.dials.values()
    }

    /// The same with their IDs, ascending.
    pub(in crate::node) fn open(&self) -> impl Iterator<Item = (ExchangeId, &Dial)> {
        self.dials.iter().map(|(exchange, dial)| (*exchange, dial))
    }

    pub(in crate::node) fn dial(&self, exchange: ExchangeId) -> Option<&Dial> {
        self.dials.get(&exchange)
    }

    pub(in crate::node) fn workers(&self) -> &Workers {
        &self.workers
    }
}

impl Cx {
    /// `bytes` of a response are sent. `held`: our rate limit holds it back.
    pub(in crate::node) fn note_progress(&mut self, exchange: ExchangeId, bytes: u64, held: bool) {
        self.exchanges.workers.note_progress(self.now, exchange, bytes, held);
    }
}
