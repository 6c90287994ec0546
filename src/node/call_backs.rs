//! Files for requesters that closed after their request and wait to be called back (PROTOCOL, "Old peers answer `4` by
//! calling back").
//!
//! Owns the attempts. Each is an exchange that takes a worker; between two there is only a timer. A requester may not
//! listen yet when it is called: a refused connection is tried again. After a connection that stands there is no other.

use super::contract::DialOutcome;
use super::dials::Purpose;
use super::limits::{CALL_BACK_WAITS, CALL_BACKS_MAX, CALL_BACKS_PER_ADDRESS_MAX};
use super::{Node, NodeTimer, Phase};
use crate::fault::DialFault;
use crate::id::ExchangeId;
use crate::name::FileName;
use crate::time::Instant;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

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
}

/// Where a call back stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// An exchange waits for a worker, or for its connection.
    Dialling,
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
    fn has_room_for(&self, address: IpAddr) -> bool {
        let here = self.rows.values().filter(|row| row.to.ip().to_canonical() == address.to_canonical()).count();
        self.rows.len() < CALL_BACKS_MAX && here < CALL_BACKS_PER_ADDRESS_MAX
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
        if !self.call_backs.has_room_for(requester.ip()) {
            self.counters.refused += 1;
            return;
        }
        self.call_backs.begun += 1;
        let id = CallBackId(self.call_backs.begun);
        let row = CallBack { to: requester, name, refused: 0, stage: Stage::Dialling };
        self.call_backs.rows.insert(id, row);
        self.call_back(now, id);
    }

    fn call_back(&mut self, now: Instant, id: CallBackId) {
        let Some(row) = self.call_backs.rows.get_mut(&id) else { return };
        row.stage = Stage::Dialling;
        let (to, name) = (row.to, row.name.clone());
        if self.dial_back(now, to, name, id).is_err() {
            self.counters.refused += 1;
            self.call_backs.rows.remove(&id);
        }
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
        let (to, name) = (row.to, row.name.clone());
        self.note_upload_started(exchange, to, &name);
    }

    /// The file left the library before a worker was free.
    pub(super) fn drop_call_back(&mut self, exchange: ExchangeId) {
        if let Some(Purpose::CallBack(id)) = self.forget_dial(exchange).map(|dial| dial.purpose) {
            self.call_backs.rows.remove(&id);
        }
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
        let wait = CALL_BACK_WAITS.get(row.refused).filter(|_| row.stage == Stage::Dialling);
        if let (Err(DialFault::Refused), Some(wait)) = (&outcome, wait) {
            row.refused += 1;
            row.stage = Stage::Waiting;
            self.wheel.insert(now + *wait, NodeTimer::CallBack(id));
            return;
        }
        self.call_backs.rows.remove(&id);
        self.end_upload(now, exchange, outcome.err().map(|fault| fault.to_string()));
    }
}
