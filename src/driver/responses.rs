//! Orders that take a file of the share and a connection. Where the file is open already, the response begins; otherwise a
//! descriptor is first, then a job opens the file. What finds no descriptor waits for one.

use super::Driver;
use super::disk::{Metadata, Unsent};
use super::net::{Outgoing, Requester, Task};
use super::shared_files::Reader;
use crate::fault::{DialFault, DiskFault, RefusalReason};
use crate::id::{ContentHash, ExchangeId};
use crate::library::{FileMeta, ScannedFile};
use crate::name::FileName;
use crate::network::Network;
use crate::node::contract::ResponseFault;
use crate::node::{Action, Event};
use crate::time::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

/// How often responses that wait for a descriptor are looked at, if nothing else happens.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Orders that wait for their file. Bounded: the requester of each holds a connection, and call-backs have a limit of their own.
#[derive(Default)]
pub(super) struct AwaitingFile {
    /// For a descriptor, oldest first.
    orders: VecDeque<Action>,
    /// For the end of the job that opens it.
    opening: BTreeMap<FileName, Vec<Action>>,
    /// For metadata that a job reads.
    metadata: BTreeMap<ContentHash, Vec<ExchangeId>>,
    /// Requesters are gone since the orders were looked at.
    are_some_gone: bool,
    pub(super) look_at: Option<Instant>,
}

impl AwaitingFile {
    /// Takes the orders that wait for a descriptor though their file is open by now.
    fn take_waiting_for(&mut self, name: &FileName) -> Vec<Action> {
        let orders = std::mem::take(&mut self.orders);
        let (taken, others) = orders.into_iter().partition(|order| file_of(order) == Some(name));
        self.orders = others;
        taken.into()
    }

    /// Drops orders. Returns the files that are opened for nobody now.
    fn retain(&mut self, mut keeps: impl FnMut(&Action) -> bool) -> Vec<FileName> {
        self.orders.retain(&mut keeps);
        self.opening.values_mut().for_each(|orders| orders.retain(&mut keeps));
        let unwanted = self.opening.iter().filter(|(_, orders)| orders.is_empty());
        let unwanted: Vec<FileName> = unwanted.map(|(name, _)| name.clone()).collect();
        unwanted.iter().for_each(|name| drop(self.opening.remove(name)));
        unwanted
    }
}

impl Driver {
    /// Begins a response with a file, or has it wait until a descriptor is free, as others wait for a worker.
    pub(super) fn order_response(&mut self, order: Action) {
        // Those that wait come first; a newcomer may still displace a connection of a network that has more than its share.
        self.respond_to_waiting();
        let waits = self.respond_with_file(order);
        self.awaiting_file.orders.extend(waits);
        self.arm_look();
    }

    /// Begins the responses that wait for a descriptor, oldest first, as far as there are descriptors. Ends: files have
    /// descriptors that nothing else takes.
    pub(super) fn respond_to_waiting(&mut self) {
        let are_some_gone = std::mem::take(&mut self.awaiting_file.are_some_gone);
        let is_due = self.awaiting_file.look_at.take_if(|at| *at <= self.cx.now).is_some();
        if is_due || are_some_gone {
            self.look_at_waiting(is_due);
        }
        while let Some(order) = self.awaiting_file.orders.pop_front() {
            if let Some(order) = self.respond_with_file(order) {
                self.awaiting_file.orders.push_front(order);
                break;
            }
        }
        self.arm_look();
    }

    /// A requester is gone. What its order alone has taken is given back in this turn, also while a disk hangs: such orders
    /// would take all descriptors.
    pub(super) fn note_requester_gone(&mut self) {
        let AwaitingFile { orders, opening, metadata, are_some_gone, .. } = &mut self.awaiting_file;
        *are_some_gone = !(orders.is_empty() && opening.is_empty() && metadata.is_empty());
    }

    /// Drops orders whose requester is gone. `tells`: the node hears of the others that we hold them back, and not their readers.
    fn look_at_waiting(&mut self, tells: bool) {
        let Self { net, disk, cx, awaiting_file, .. } = self;
        let mut is_there = |exchange| {
            let is_there = net.requester(exchange).is_some();
            if is_there && tells {
                cx.out.event(Event::ResponseProgress { exchange, bytes: 0, held: true });
            }
            is_there
        };
        awaiting_file.metadata.retain(|b3, exchanges| {
            exchanges.retain(|exchange| is_there(*exchange));
            if exchanges.is_empty() {
                disk.withdraw_metadata(*b3);
            }
            !exchanges.is_empty()
        });
        let unwanted = awaiting_file.retain(|order| match order {
            Action::CallBack { .. } => true,
            order => exchange_of(order).is_some_and(&mut is_there),
        });
        self.withdraw_openings(&unwanted);
    }

    /// Files are opened for nobody now: their descriptors are for others.
    fn withdraw_openings(&mut self, names: &[FileName]) {
        for name in names {
            if self.disk.withdraw_opening(name) {
                self.net.on_files_closed();
            }
        }
    }

    /// How many responses wait for a descriptor, whose requesters are still there.
    pub(super) fn waiting_for_descriptors(&self) -> u64 {
        self.awaiting_file.orders.iter().filter(|order| self.requester_of(order).is_some()).count() as u64
    }

    fn arm_look(&mut self) {
        let AwaitingFile { orders, opening, metadata, look_at, .. } = &mut self.awaiting_file;
        let is_empty = orders.is_empty() && opening.is_empty() && metadata.is_empty();
        *look_at = if is_empty { None } else { look_at.or(Some(self.cx.now + LOOK_INTERVAL)) };
    }

    /// Begins a response, refuses it, or has it wait for the opening of its file. Gives the order back if there is no descriptor
    /// for that.
    fn respond_with_file(&mut self, order: Action) -> Option<Action> {
        let (exchange, requester) = (exchange_of(&order)?, self.requester_of(&order)?);
        let (name, expected) = match self.expected(&order) {
            Ok(expected) => expected,
            Err(fault) => {
                self.fail_order(&order, fault);
                return None;
            }
        };
        if let Some(file) = self.disk.opened_file(&name, &expected, exchange) {
            self.begin_response(order, requester, file);
            return None;
        }
        if !self.disk.is_opening(&name) {
            let Some(permit) = self.net.take_for_file(requester, &mut self.cx) else {
                let is_call_back = matches!(order, Action::CallBack { .. });
                if is_call_back {
                    self.fail_order(&order, DiskFault::NoDescriptor);
                }
                return (!is_call_back).then_some(order);
            };
            self.disk.open_shared(&name, permit);
        }
        self.awaiting_file.opening.entry(name).or_default().push(order);
        None
    }

    /// Whose order it is, if that one is still there.
    fn requester_of(&self, order: &Action) -> Option<Requester> {
        match order {
            Action::CallBack { to, .. } => Some(Requester { addr: *to, key: None }),
            order => self.net.requester(exchange_of(order)?),
        }
    }

    /// The file of an order, as the library or the order knows it. A name that is not in the library is not served.
    fn expected(&self, order: &Action) -> Result<(FileName, FileMeta), DiskFault> {
        match order {
            Action::SendRange { exchange, file, .. } | Action::SendMetadata { exchange, file, .. } => {
                let requester = self.requester_of(order).ok_or(DiskFault::Missing)?.addr;
                if !self.node.library().seen_by(requester).admits(file.name.as_bytes()) {
                    return Err(DiskFault::Missing);
                }
                let begun = matches!(order, Action::SendRange { .. }).then(|| self.net.begun_of(*exchange)).flatten();
                Ok((file.name.clone(), begun.unwrap_or(file.meta)))
            }
            Action::SendFile { to, name, .. } | Action::CallBack { to, name, .. } => {
                let known = self.node.library().seen_by(*to).get(name.as_bytes()).ok_or(DiskFault::Missing)?;
                Ok((name.clone(), known.meta))
            }
            _ => Err(DiskFault::Missing),
        }
    }

    /// A job has opened a file, or failed: all that wait for it go on.
    pub(super) fn on_shared_opened(&mut self, name: &FileName, outcome: Result<(), DiskFault>) {
        let mut orders = self.awaiting_file.opening.remove(name).unwrap_or_default();
        if outcome.is_ok() {
            orders.extend(self.awaiting_file.take_waiting_for(name));
        }
        for order in orders {
            let Some((exchange, requester)) = exchange_of(&order).zip(self.requester_of(&order)) else { continue };
            let file = outcome.and_then(|()| {
                let (_, expected) = self.expected(&order)?;
                let may_be_changed = matches!(order, Action::SendFile { .. } | Action::CallBack { .. });
                self.disk.just_opened(name, &expected, may_be_changed, exchange)
            });
            match file {
                Ok(file) => self.begin_response(order, requester, file),
                Err(fault) => self.fail_order(&order, fault),
            }
        }
        self.arm_look();
    }

    fn begin_response(&mut self, order: Action, requester: Requester, file: Reader) {
        let Self { net, cx, .. } = self;
        match order {
            Action::SendFile { exchange, name, .. } => {
                net.respond(exchange, Outgoing::file(file, cx.now), Some(name), cx)
            }
            Action::SendRange { exchange, offset, length, .. } => {
                net.respond(exchange, Outgoing::range(file, offset, length, cx.now), None, cx);
            }
            // A file that cannot be sent is not promised.
            Action::SendMetadata { exchange, file, b3 } => self.send_metadata(exchange, requester, &file, b3),
            // Brings a file to a requester that had closed.
            Action::CallBack { exchange, to, .. } => {
                net.dial(exchange, to, Task::CallBack(Outgoing::file(file, cx.now)), cx);
            }
            _ => {}
        }
    }

    /// Ends an order before its first byte.
    fn fail_order(&mut self, order: &Action, fault: DiskFault) {
        match order {
            Action::CallBack { exchange, .. } => {
                self.cx.out.event(Event::DialEnded { exchange: *exchange, outcome: Err(DialFault::Disk(fault)) });
            }
            Action::SendFile { exchange, .. } => self.fail_response(*exchange, None, fault),
            Action::SendRange { exchange, .. } | Action::SendMetadata { exchange, .. } => {
                self.fail_response(*exchange, Some(fault.into()), fault);
            }
            _ => {}
        }
    }

    /// Ends an attempt to call back that waits for its file. Returns false if it does not.
    pub(super) fn withdraw_call_back(&mut self, wanted: ExchangeId) -> bool {
        let mut is_found = false;
        let unwanted = self.awaiting_file.retain(|order| match order {
            Action::CallBack { exchange, .. } if *exchange == wanted => {
                is_found = true;
                false
            }
            _ => true,
        });
        self.withdraw_openings(&unwanted);
        if is_found {
            self.cx.out.event(Event::DialEnded { exchange: wanted, outcome: Err(DialFault::Aborted) });
        }
        is_found
    }

    fn send_metadata(&mut self, exchange: ExchangeId, requester: Requester, file: &ScannedFile, b3: ContentHash) {
        let network = Network::of(requester.addr.ip());
        match self.disk.metadata_body(file, b3, network, self.node.limited_mut()) {
            Ok(Metadata::Here(body)) => self.net.respond(exchange, Outgoing::bytes(body, self.cx.now), None, &self.cx),
            Ok(Metadata::Coming | Metadata::ToRead) => {
                self.awaiting_file.metadata.entry(b3).or_default().push(exchange);
                self.arm_look();
            }
            Err(unsent) => self.refuse_metadata(exchange, &unsent),
        }
    }

    /// A job has read metadata, or not found them: all that wait for them go on.
    pub(super) fn on_metadata_read(&mut self, b3: ContentHash, body: Option<&Rc<Vec<u8>>>) {
        for exchange in self.awaiting_file.metadata.remove(&b3).unwrap_or_default() {
            if self.net.requester(exchange).is_none() {
                continue;
            }
            match body {
                Some(body) => {
                    self.net.respond(exchange, Outgoing::bytes(Rc::clone(body), self.cx.now), None, &self.cx);
                }
                None => self.refuse_metadata(exchange, &Unsent::NotHashed),
            }
        }
        self.arm_look();
    }

    fn refuse_metadata(&mut self, exchange: ExchangeId, unsent: &Unsent) {
        let (told, detail, fault) = match unsent {
            Unsent::NoRoom => (RefusalReason::Busy, "too many metadata are on their way", ResponseFault::NoMemory),
            Unsent::NotHashed => {
                let fault = ResponseFault::Disk(DiskFault::Missing);
                (RefusalReason::NotHashed, "its metadata are not in the hash cache", fault)
            }
        };
        self.net.refuse_request(exchange, Some(told), "file", &detail, &self.cx);
        self.cx.out.event(Event::ResponseEnded { exchange, outcome: Err(fault) });
    }

    /// Breaks a response off before its first byte.
    fn fail_response(&mut self, exchange: ExchangeId, told: Option<RefusalReason>, fault: DiskFault) {
        self.net.refuse_request(exchange, told, "file", &fault, &self.cx);
        self.cx.out.event(Event::ResponseEnded { exchange, outcome: Err(ResponseFault::Disk(fault)) });
    }
}

/// The file that an order takes.
fn file_of(order: &Action) -> Option<&FileName> {
    match order {
        Action::SendRange { file, .. } | Action::SendMetadata { file, .. } => Some(&file.name),
        Action::SendFile { name, .. } | Action::CallBack { name, .. } => Some(name),
        _ => None,
    }
}

/// The exchange of an order that takes a file.
fn exchange_of(order: &Action) -> Option<ExchangeId> {
    match order {
        Action::SendFile { exchange, .. }
        | Action::SendRange { exchange, .. }
        | Action::SendMetadata { exchange, .. }
        | Action::CallBack { exchange, .. } => Some(*exchange),
        _ => None,
    }
}
