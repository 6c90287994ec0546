//! Files for requesters that closed after their request and wait to be called back (PROTOCOL, "Old peers answer `4` by
//! calling back").
//!
//! Owns the attempts. Each is an exchange that takes a turn and a worker, as other uploads do; between two there is only a
//! timer. A requester may not listen yet when it is called: a refused connection is tried again. After a connection that
//! stands there is no other. Nobody can tell such a requester that we are busy, so its attempts wait longer than requests.

use super::contract::{DialOutcome, ResponseFault};
use super::dials::Purpose;
use super::fair_queue::Sender;
use super::limits::{CALL_BACK_WAIT_MAX, CALL_BACK_WAITS, CALL_BACKS_MAX, CALL_BACKS_PER_NETWORK_MAX};
use super::uploads::Wanted;
use super::{Node, NodeTimer, Phase};
use crate::fault::DialFault;
use crate::id::ExchangeId;
use crate::name::FileName;
use crate::network::Network;
use crate::time::Instant;
use crate::timer::TimerId;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A requester to be called back. Counts up and is not reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CallBackId(u64);

/// A requester to be called back.
#[derive(Debug)]
struct CallBack {
    to: SocketAddr,
    name: FileName,
    /// Connections that were refused.
    refused: usize,
    stage: Stage,
    /// When no further attempt begins; `None` when that time has come.
    overdue: Option<TimerId>,
}

/// Where a call back stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// This exchange waits for its turn, for a worker, or for its connection.
    Dialling(ExchangeId),
    /// The connection stands.
    Sending,
    /// The last connection was refused, and a timer runs until the next.
    Waiting,
}

/// All requesters to be called back.
#[derive(Default)]
pub(super) struct CallBacks {
    rows: BTreeMap<CallBackId, CallBack>,
    begun: u64,
}

impl CallBacks {
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

impl Node {
    /// A requester closed before its file, of which `counted` bytes were counted as sent.
    pub(super) fn on_requester_closed(&mut self, now: Instant, requester: SocketAddr, name: FileName, counted: u64) {
        self.counters.bytes_up = self.counters.bytes_up.saturating_sub(counted);
        if !matches!(self.phase, Phase::Running) || self.find_file(&name).is_err() {
            return;
        }
        if !self.make_room_for_call_back(Network::of(requester.ip())) {
            self.counters.refused += 1;
            self.counters.limited.call_backs_dropped += 1;
            return;
        }
        self.call_backs.begun += 1;
        let id = CallBackId(self.call_backs.begun);
        let overdue = Some(self.wheel.insert(now + CALL_BACK_WAIT_MAX, NodeTimer::CallBackOverdue(id)));
        let row = CallBack { to: requester, name, refused: 0, stage: Stage::Waiting, overdue };
        self.call_backs.rows.insert(id, row);
        self.call_back(now, id);
    }

    /// Sees to it that there is room for one more of this network: when there is none in all, the newest of the network that
    /// has the most gives way, if it is not being sent.
    fn make_room_for_call_back(&mut self, network: Network) -> bool {
        let held = self.call_backs.of_network(network).count();
        if held >= CALL_BACKS_PER_NETWORK_MAX {
            return false;
        }
        if self.call_backs.rows.len() < CALL_BACKS_MAX {
            return true;
        }
        let Some((_, worst)) = self.call_backs.worst().filter(|(most, _)| *most > held) else { return false };
        let gives_way = |(_, row): &(&CallBackId, &CallBack)| match row.stage {
            Stage::Dialling(exchange) => !self.workers.is_active(exchange),
            Stage::Waiting => true,
            Stage::Sending => false,
        };
        let newest = self.call_backs.of_network(worst).filter(gives_way).last().map(|(id, _)| *id);
        newest.is_some_and(|id| {
            self.counters.limited.call_backs_dropped += 1;
            self.give_up_call_back(id);
            true
        })
    }

    fn call_back(&mut self, now: Instant, id: CallBackId) {
        let Some(to) = self.call_backs.rows.get(&id).map(|row| row.to) else { return };
        let exchange = self.next_call_back(to, id);
        let Some(row) = self.call_backs.rows.get_mut(&id) else { return };
        row.stage = Stage::Dialling(exchange);
        let name = row.name.clone();
        self.submit_upload(now, exchange, Sender::own(to), Wanted::CallBack { to, name });
    }

    /// The wait before the next attempt is over.
    pub(super) fn on_call_back_timer(&mut self, now: Instant, id: CallBackId) {
        self.call_back(now, id);
    }

    /// The requester took the connection: the upload begins.
    pub(super) fn on_call_back_stands(&mut self, exchange: ExchangeId) {
        let Some(Purpose::CallBack(id)) = self.dials.get(&exchange).map(|dial| dial.purpose) else { return };
        let Some(row) = self.call_backs.rows.get_mut(&id) else { return };
        row.stage = Stage::Sending;
        let (to, name, overdue) = (row.to, row.name.clone(), row.overdue.take());
        self.cancel_timer(overdue);
        self.note_upload_started(exchange, to, &name);
    }

    /// The requester has waited long enough. A connection that is being made is its last.
    pub(super) fn on_call_back_overdue(&mut self, id: CallBackId) {
        let Some(row) = self.call_backs.rows.get_mut(&id) else { return };
        row.overdue = None;
        self.give_up_call_back(id);
    }

    /// No further attempt begins.
    fn give_up_call_back(&mut self, id: CallBackId) {
        let Some(row) = self.call_backs.rows.get(&id) else { return };
        match row.stage {
            Stage::Dialling(exchange) => {
                if self.withdraw_from_turns(exchange) || self.withdraw(exchange) {
                    self.drop_call_back(exchange);
                }
            }
            Stage::Waiting => {
                self.counters.refused += 1;
                self.forget_call_back(id);
            }
            Stage::Sending => {}
        }
    }

    /// An attempt is not made, and no other: there is no room, the file has left the library, or the node leaves.
    pub(super) fn drop_call_back(&mut self, exchange: ExchangeId) {
        self.counters.refused += 1;
        self.uploads.forget_request(exchange);
        self.end_turn(exchange);
        if let Some(Purpose::CallBack(id)) = self.forget_dial(exchange).map(|dial| dial.purpose) {
            self.forget_call_back(id);
        }
    }

    fn forget_call_back(&mut self, id: CallBackId) -> Option<CallBack> {
        let row = self.call_backs.rows.remove(&id)?;
        self.cancel_timer(row.overdue);
        Some(row)
    }

    /// An attempt is over. The port is one of a request: it says nothing about a peer.
    pub(super) fn on_call_back_ended(
        &mut self,
        now: Instant,
        id: CallBackId,
        exchange: ExchangeId,
        outcome: DialOutcome,
    ) {
        let Some(row) = self.call_backs.rows.get_mut(&id) else { return };
        log::debug!("call back of {}: {:?}, {outcome:?}", row.to, row.stage);
        let may_follow = matches!(row.stage, Stage::Dialling(_)) && row.overdue.is_some();
        let wait = CALL_BACK_WAITS.get(row.refused).filter(|_| may_follow);
        if let (Err(DialFault::Refused), Some(wait)) = (&outcome, wait) {
            row.refused += 1;
            row.stage = Stage::Waiting;
            self.wheel.insert(now + *wait, NodeTimer::CallBack(id));
            return self.end_turn(exchange);
        }
        let fault = outcome.err().map(response_fault);
        if let Some(row) = self.forget_call_back(id) {
            self.note_file_fault(now, &row.name, fault.as_ref());
        }
        self.end_upload(now, exchange, fault.as_ref());
    }
}

/// What ended a call back, in the words of other uploads.
fn response_fault(fault: DialFault) -> ResponseFault {
    match fault {
        DialFault::Disk(fault) => ResponseFault::Disk(fault),
        DialFault::Aborted => ResponseFault::Aborted,
        _ => ResponseFault::Gone,
    }
}
