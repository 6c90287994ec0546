//! Orders of users that may concern thousands of downloads: carried out in slices, so that they do not hold the loop, and
//! answered when the last slice is done and what it changed is on the disk.
//!
//! Owns the orders in progress, which are carried out one after the other. What an order does to one download is decided
//! in [`commands`](crate::node::download::commands).

use super::DownloadMachine;
use super::request::Wanted;
use crate::control::{CallId, Problem, Reply};
use crate::id::{ClientId, TransferId};
use crate::node::contract::Action;
use crate::node::cx::Cx;
use crate::node::limits::{ORDER_DOWNLOADS_PER_SLICE, ORDERS_MAX};
use crate::node::network::NetworkMachine;
use crate::node::search::SearchMachine;
use std::collections::VecDeque;
use std::path::PathBuf;

/// What is to be done with downloads that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum Command {
    Pause,
    Resume,
    Retry,
    Cancel,
}

/// What a user has ordered.
#[derive(Debug)]
pub(in crate::node) struct Order {
    left: Left,
    /// The downloads that the answer shows.
    concerned: Vec<TransferId>,
}

/// What of an order is still to be done.
#[derive(Debug)]
enum Left {
    /// The last is next: what waits in the queue is stopped before what is active, and does not take its place.
    Apply { command: Command, ids: Vec<TransferId> },
    /// The first is next.
    Begin { client: ClientId, wanted: VecDeque<Wanted>, output: Option<PathBuf>, single: bool },
}

impl Order {
    pub(super) fn apply(command: Command, ids: Vec<TransferId>) -> Self {
        Self { concerned: ids.clone(), left: Left::Apply { command, ids } }
    }

    pub(super) fn begin(client: ClientId, wanted: Vec<Wanted>, output: Option<PathBuf>) -> Self {
        let single = wanted.len() == 1;
        Self { concerned: Vec::new(), left: Left::Begin { client, wanted: wanted.into(), output, single } }
    }

    /// Downloads that it is still to deal with.
    fn remaining(&self) -> usize {
        match &self.left {
            Left::Apply { ids, .. } => ids.len(),
            Left::Begin { wanted, .. } => wanted.len(),
        }
    }
}

/// An order that takes more than one slice, and who is to be answered.
struct Running {
    client: ClientId,
    call: CallId,
    order: Order,
}

/// What a call comes to.
pub(in crate::node) enum Outcome {
    /// This answer, at once.
    Reply(Result<Reply, Problem>),
    /// The rows of these downloads, as soon as what was changed of them is on the disk.
    Rows(Vec<TransferId>),
}

/// The orders in progress; the first is carried out.
#[derive(Default)]
pub(super) struct Orders(VecDeque<Running>);

impl Orders {
    pub(super) fn has_work(&self) -> bool {
        !self.0.is_empty()
    }
}

impl DownloadMachine {
    /// Carries an order out, as far as one slice goes. Returns the answer if that was all.
    pub(in crate::node) fn take_order(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        search: &SearchMachine,
        client: ClientId,
        call: &CallId,
        mut order: Order,
    ) -> Option<Outcome> {
        if self.orders.0.len() >= ORDERS_MAX {
            return Some(Outcome::Reply(Err(Problem::TooManyOrders(ORDERS_MAX))));
        }
        while self.orders.0.is_empty() {
            if let Some(outcome) = self.advance_order(cx, network, search, &mut order) {
                return Some(outcome);
            }
            // While the node leaves there are no further slices: all of it is done at once.
            if cx.is_running() {
                break;
            }
        }
        self.orders.0.push_back(Running { client, call: call.clone(), order });
        None
    }

    /// The next slice of the order that is carried out; whom to answer what, if that was the last.
    pub(in crate::node) fn work_on_orders(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        search: &SearchMachine,
    ) -> Option<(ClientId, CallId, Outcome)> {
        let mut running = self.orders.0.pop_front()?;
        let outcome = self.advance_order(cx, network, search, &mut running.order);
        self.drive_downloads(cx, network);
        match outcome {
            None => {
                self.orders.0.push_front(running);
                None
            }
            Some(outcome) => Some((running.client, running.call, outcome)),
        }
    }

    /// Answers a call.
    pub(in crate::node) fn reply(&mut self, cx: &mut Cx, client: ClientId, call: CallId, outcome: Outcome) {
        match outcome {
            Outcome::Reply(outcome) => {
                cx.out.act(Action::Reply { client, call, outcome: outcome.map_err(Into::into) });
            }
            Outcome::Rows(ids) => self.answer_when_recorded(cx, client, call, ids),
        }
    }

    /// The node leaves: says of each order how far it came.
    pub(in crate::node) fn break_off_orders(&mut self, cx: &mut Cx) {
        for Running { client, call, order } in std::mem::take(&mut self.orders.0) {
            let problem = Problem::OrderBrokenOff(order.remaining());
            self.reply(cx, client, call, Outcome::Reply(Err(problem)));
        }
    }

    /// One slice. Returns the answer when the order is carried out, or cannot be any further.
    fn advance_order(
        &mut self,
        cx: &mut Cx,
        network: &mut NetworkMachine,
        search: &SearchMachine,
        order: &mut Order,
    ) -> Option<Outcome> {
        for _ in 0..ORDER_DOWNLOADS_PER_SLICE {
            match &mut order.left {
                Left::Apply { command, ids } => {
                    let Some(id) = ids.pop() else { break };
                    match command {
                        Command::Pause => self.pause_download(cx, id),
                        Command::Resume => self.resume_download(cx, id),
                        Command::Retry => self.retry_download(cx, id),
                        Command::Cancel => self.cancel_download(cx, id),
                    }
                }
                Left::Begin { wanted, output, single, .. } => {
                    let Some(next) = wanted.pop_front() else { break };
                    match self.begin_download(cx, network, search, next, output.as_deref(), *single) {
                        Ok(begun) => order.concerned.extend(begun),
                        Err(problem) => return Some(Outcome::Reply(Err(problem))),
                    }
                }
            }
        }
        if order.remaining() > 0 {
            return None;
        }
        order.concerned.sort_unstable();
        order.concerned.dedup();
        if let Left::Begin { client, .. } = order.left {
            self.follow_downloads(cx, client, &order.concerned);
        }
        self.start_downloads(cx);
        Some(Outcome::Rows(std::mem::take(&mut order.concerned)))
    }
}
