//! The exchanges: which of ours are open and what each is for, and which commands have a worker or wait for one.
//!
//! | file | owns |
//! |---|---|
//! | `outbound` | the exchanges that this node begins |
//! | `admission`, `commands` | what takes a worker, and the gate before all of it |
//! | `displacing` | which responses give way to requests that wait |
//!
//! Its functions are those of [`Cx`](super::Cx), since each machine begins exchanges. What is sent stays with the machine
//! that has submitted it, which is told by a [`Step`](super::Step) that there is a worker.

mod admission;
mod commands;
mod displacing;
mod outbound;

pub(in crate::node) use commands::QueueFull;
pub(in crate::node) use commands::{Command, Kind, Rank};
pub(in crate::node) use displacing::{Flow, Shares};
pub(in crate::node) use outbound::{Dial, Errand, Purpose};

use super::Cx;
use crate::id::ExchangeId;
use admission::Workers;
use displacing::Displacing;
use std::collections::BTreeMap;

/// The exchanges.
#[derive(Default)]
pub(in crate::node) struct Exchanges {
    begun: u64,
    dials: BTreeMap<ExchangeId, Dial>,
    workers: Workers,
    displacing: Displacing,
}

impl Exchanges {
    /// The exchanges that this node has begun.
    pub(in crate::node) fn dials(&self) -> impl Iterator<Item = &Dial> {
        self.dials.values()
    }

    /// The same with their IDs, ascending.
    pub(in crate::node) fn open(&self) -> impl Iterator<Item = (ExchangeId, &Dial)> {
        self.dials.iter().map(|(exchange, dial)| (*exchange, dial))
    }

    /// One that this node has begun.
    pub(in crate::node) fn dial(&self, exchange: ExchangeId) -> Option<&Dial> {
        self.dials.get(&exchange)
    }

    /// What has a worker, and what waits for one.
    pub(in crate::node) fn workers(&self) -> &Workers {
        &self.workers
    }
}

impl Cx {
    /// So much of a response has gone out.
    pub(in crate::node) fn note_progress(&mut self, exchange: ExchangeId, bytes: u64, held: bool) {
        self.exchanges.workers.note_progress(self.now, exchange, bytes, held);
    }
}
