//! Call-backs: sending files to requesters that closed after their request and wait for a connection (PROTOCOL, "Old peers
//! answer `4` by calling back").
//!
//! Owns the attempts. Each is an exchange that takes a turn and a worker like other uploads; between two there is only a
//! timer. A refused connection is retried, since the requester may not listen yet; after a connection there is no other
//! attempt. We cannot report to such a requester that we are busy, so its attempts wait longer than requests.

use super::UploadMachine;
use super::accounting::{Wanted, report_if_changed};
use super::requests::find_file;
use crate::fault::DialFault;
use crate::id::ExchangeId;
use crate::name::FileName;
use crate::network::Network;
use crate::node::contract::{Action, DialOutcome, ResponseFault};
use crate::node::cx::exchanges::Purpose;
use crate::node::cx::{Cx, NodeTimer, Subject};
use crate::node::fair_queue::Sender;
use crate::node::ids::CallBackId;
use crate::node::limits::{CALL_BACK_WAIT_MAX, CALL_BACK_WAITS, CALL_BACKS_MAX, CALL_BACKS_PER_NETWORK_MAX};
use crate::node::share::ShareMachine;
use crate::time::Instant;
use crate::timer::TimerId;
use std::collections::BTreeMap;
use std::net::SocketAddr;

#[derive(Debug)]
pub(super) struct CallBack {
    pub(super) to: SocketAddr,
    pub(super) name: FileName,
    pub(super) since: Instant,
    refused: usize,
    stage: Stage,
    /// After this no further attempt begins; `None` when it has fired.
    overdue: Option<TimerId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waiting for its turn, a worker, or the connection.
    Dialling(ExchangeId),
    Sending,
    /// The last connection was refused; a timer runs until the next attempt.
    Waiting,
}

#[derive(Default)]
pub(super) struct CallBacks {
    rows: BTreeMap<CallBackId, CallBack>,
    begun: u64,
}

impl CallBacks {
    /// Those to whom nothing is sent yet.
    pub(super) fn unconnected(&self) -> impl Iterator<Item = &CallBack> {
        self.rows.values().filter(|row| row.stage != Stage::Sending)
    }

    fn of_network(&self, network: Network) -> impl Iterator<Item = (&CallBackId, &CallBack)> {
        self.rows.iter().filter(move |(_, row)| Network::of(row.to.ip()) == network)
    }

    /// The network that has the most, and how many it has.
    fn worst(&self) -> Option<(usize, Network)> {
        let mut held: BTreeMap<Network, usize> = BTreeMap::new();
        self.rows.values().for_each(|row| *held.entry(Network::of(row.to.ip())).or_default() += 1);
        held.into_iter().map(|(network, held)| (held, network)).max()
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.rows.len() <= CALL_BACKS_MAX, "requesters to be called back are bounded");
        let attempts = |row: &CallBack| row.refused <= CALL_BACK_WAITS.len();
        assert!(self.rows.values().all(attempts), "no requester is called back for ever");
    }
}

impl UploadMachine {
    /// A requester closed before its file was sent. `counted`: bytes that were counted as sent.
    pub(in crate::node) fn on_requester_closed(
        &mut self,
        cx: &mut Cx,
        share: &ShareMachine,
        requester: SocketAddr,
        name: FileName,
        counted: u64,
    ) {
        let taken_back = counted.min(cx.counters.bytes_up);
        cx.counters.bytes_up -= taken_back;
        cx.counters.bytes_taken_back += taken_back;
        if !cx.is_running() || find_file(share, requester, &name).is_err() {
            return;
        }
        if !self.make_room_for_call_back(cx, Network::of(requester.ip())) {
            cx.counters.refused += 1;
            cx.counters.limited.call_backs_dropped += 1;
            return;
        }
        self.call_backs.begun += 1;
        let id = CallBackId(self.call_backs.begun);
        let overdue = Some(cx.wheel.insert(cx.now + CALL_BACK_WAIT_MAX, NodeTimer::CallBackOverdue(id)));
        let row = CallBack { to: requester, name, since: cx.now, refused: 0, stage: Stage::Waiting, overdue };
        self.call_backs.rows.insert(id, row);
        self.call_back(cx, id);
    }

    /// Sees to it that there is room for one more of this network: when there is none in all, the newest of the network that
    /// has the most gives way, if it is not being sent.
    fn make_room_for_call_back(&mut self, cx: &mut Cx, network: Network) -> bool {
        let held = self.call_backs.of_network(network).count();
        if held >= CALL_BACKS_PER_NETWORK_MAX {
            return false;
        }
        if self.call_backs.rows.len() < CALL_BACKS_MAX {
            return true;
        }
        let Some((_, worst)) = self.call_backs.worst().filter(|(most, _)| *most > held) else { return false };
        let gives_way = |(_, row): &(&CallBackId, &CallBack)| match row.stage {
            Stage::Dialling(exchange) => !cx.exchanges.workers().is_active(exchange),
            Stage::Waiting => true,
            Stage::Sending => false,
        };
        let newest = self.call_backs.of_network(worst).filter(gives_way).last().map(|(id, _)| *id);
        newest.is_some_and(|id| {
            cx.counters.limited.call_backs_dropped += 1;
            self.give_up_call_back(cx, id);
            true
        })
    }

    /// Begins an attempt.
    pub(in crate::node) fn call_back(&mut self, cx: &mut Cx, id: CallBackId) {
        let Some(to) = self.call_backs.rows.get(&id).map(|row| row.to) else { return };
        let exchange = cx.next_exchange(to, Purpose::CallBack(id));
        let Some(row) = self.call_backs.rows.get_mut(&id) else { return };
        row.stage = Stage::Dialling(exchange);
        let name = row.name.clone();
        self.submit_upload(cx, exchange, Sender::own(to), Wanted::CallBack { to, name });
    }

    /// The connection is established: the upload begins.
    pub(in crate::node) fn on_call_back_connected(&mut self, cx: &mut Cx, exchange: ExchangeId) {
        let Some(Purpose::CallBack(id)) = cx.exchanges.dial(exchange).map(|dial| dial.purpose) else { return };
        let Some(row) = self.call_backs.rows.get_mut(&id) else { return };
        row.stage = Stage::Sending;
        let (to, name, overdue) = (row.to, row.name.clone(), row.overdue.take());
        cx.cancel_timer(overdue);
        self.note_upload_started(cx, exchange, to, &name);
    }

    /// No further attempt begins; one in progress is the last.
    pub(in crate::node) fn on_call_back_overdue(&mut self, cx: &mut Cx, id: CallBackId) {
        let Some(row) = self.call_backs.rows.get_mut(&id) else { return };
        row.overdue = None;
        self.give_up_call_back(cx, id);
    }

    /// Drops all for whom and whose file this holds, however far they are; one that is being sent is an upload too.
    pub(super) fn give_up_call_backs(&mut self, cx: &mut Cx, fits: impl Fn(SocketAddr, &[u8]) -> bool) {
        let rows = self.call_backs.rows.iter().filter(|(_, row)| fits(row.to, row.name.as_bytes()));
        let ids: Vec<CallBackId> = rows.map(|(id, _)| *id).collect();
        for id in ids {
            self.give_up_call_back(cx, id);
            if let Some(Stage::Dialling(exchange)) = self.call_backs.rows.get(&id).map(|row| row.stage) {
                cx.out.act(Action::Abort { exchange });
            }
        }
    }

    fn give_up_call_back(&mut self, cx: &mut Cx, id: CallBackId) {
        let Some(row) = self.call_backs.rows.get(&id) else { return };
        match row.stage {
            Stage::Dialling(exchange) => {
                if self.withdraw_from_turns(cx, exchange) || cx.withdraw(exchange) {
                    self.drop_call_back(cx, exchange);
                }
            }
            Stage::Waiting => {
                cx.counters.refused += 1;
                self.forget_call_back(cx, id);
            }
            Stage::Sending => {}
        }
    }

    /// Drops a call-back: there is no room, the file has left the library, or the node shuts down.
    pub(super) fn drop_call_back(&mut self, cx: &mut Cx, exchange: ExchangeId) {
        cx.counters.refused += 1;
        self.uploads.wanted.remove(&exchange);
        self.end_turn(exchange);
        if let Some(Purpose::CallBack(id)) = cx.forget_dial(exchange).map(|dial| dial.purpose) {
            self.forget_call_back(cx, id);
        }
    }

    fn forget_call_back(&mut self, cx: &mut Cx, id: CallBackId) -> Option<CallBack> {
        let row = self.call_backs.rows.remove(&id)?;
        cx.cancel_timer(row.overdue);
        Some(row)
    }

    /// An attempt has ended. Its outcome shows nothing of a peer: the port is that of a request.
    pub(in crate::node) fn on_call_back_ended(
        &mut self,
        cx: &mut Cx,
        share: &mut ShareMachine,
        id: CallBackId,
        exchange: ExchangeId,
        outcome: DialOutcome,
    ) {
        let Some(row) = self.call_backs.rows.get_mut(&id) else { return };
        if cx.may_log(Subject::CallBack, row.to.ip(), 0) {
            let error = outcome.as_ref().err().map(ToString::to_string);
            log::debug!(peer:% = row.to, name:% = row.name, error; "an attempt to call a requester back has ended");
        }
        let may_follow = matches!(row.stage, Stage::Dialling(_)) && row.overdue.is_some();
        let wait = CALL_BACK_WAITS.get(row.refused).filter(|_| may_follow);
        if let (Err(DialFault::Refused), Some(wait)) = (&outcome, wait) {
            row.refused += 1;
            row.stage = Stage::Waiting;
            cx.wheel.insert(cx.now + *wait, NodeTimer::CallBack(id));
            return self.end_turn(exchange);
        }
        let fault = outcome.err().map(response_fault);
        if let Some(row) = self.forget_call_back(cx, id) {
            report_if_changed(cx, share, &row.name, fault.as_ref());
        }
        self.end_upload(cx, exchange, fault.as_ref());
    }
}

fn response_fault(fault: DialFault) -> ResponseFault {
    match fault {
        DialFault::Disk(fault) => ResponseFault::Disk(fault),
        DialFault::Aborted => ResponseFault::Aborted,
        _ => ResponseFault::Gone,
    }
}
