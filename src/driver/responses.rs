//! Orders that take a file of the share and a connection: a descriptor first, then the file, then the response. What finds
//! no descriptor waits for one.

use super::Driver;
use super::disk::Unsent;
use super::net::{Outgoing, Permit, Requester, Task};
use crate::fault::{DialFault, DiskFault, RefusalReason};
use crate::id::{ContentHash, ExchangeId};
use crate::library::ScannedFile;
use crate::name::FileName;
use crate::network::Network;
use crate::node::contract::ResponseFault;
use crate::node::{Action, Event};
use crate::time::Instant;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// How often responses that wait for a descriptor are looked at, if nothing else happens.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Orders of responses that wait for the descriptor of their file, oldest first. Bounded: the requester of each holds a
/// connection.
#[derive(Default)]
pub(super) struct AwaitingFile {
    orders: VecDeque<Action>,
    pub(super) look_at: Option<Instant>,
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
        if self.awaiting_file.look_at.take_if(|at| *at <= self.cx.now).is_some() {
            self.look_at_waiting();
        }
        while let Some(order) = self.awaiting_file.orders.pop_front() {
            if let Some(order) = self.respond_with_file(order) {
                self.awaiting_file.orders.push_front(order);
                break;
            }
        }
        self.arm_look();
    }

    /// Drops orders whose requester is gone. The node hears of the others that we hold them back, and not their readers.
    fn look_at_waiting(&mut self) {
        let Self { net, cx, awaiting_file, .. } = self;
        awaiting_file.orders.retain(|order| match exchange_of(order) {
            Some(exchange) if net.requester(exchange).is_some() => {
                cx.out.event(Event::ResponseProgress { exchange, bytes: 0, held: true });
                true
            }
            _ => false,
        });
    }

    fn arm_look(&mut self) {
        let AwaitingFile { orders, look_at } = &mut self.awaiting_file;
        *look_at = if orders.is_empty() { None } else { look_at.or(Some(self.cx.now + LOOK_INTERVAL)) };
    }

    /// Begins a response, or refuses it. Gives the order back if there is no descriptor for its file.
    fn respond_with_file(&mut self, order: Action) -> Option<Action> {
        let exchange = exchange_of(&order)?;
        let requester = self.net.requester(exchange)?;
        let Some(permit) = self.net.take_for_file(requester, &mut self.cx) else { return Some(order) };
        match order {
            Action::SendFile { name, .. } => self.send_file(exchange, name, permit),
            Action::SendRange { file, offset, length, .. } => {
                self.send_range(exchange, &file, (offset, length), permit)
            }
            Action::SendMetadata { file, b3, .. } => self.send_metadata(exchange, requester, &file, b3),
            _ => {}
        }
        None
    }

    fn send_file(&mut self, exchange: ExchangeId, name: FileName, permit: Permit) {
        match self.disk.open_shared(&name, self.node.library()) {
            Ok(file) => {
                let outgoing = Outgoing::file(file, self.cx.now);
                self.net.respond(exchange, outgoing, Some((permit, Some(name))), &self.cx);
            }
            Err(fault) => self.fail_response(exchange, None, fault),
        }
    }

    /// Sends a range of a file, provided that it still is the file that the library knows.
    fn send_range(&mut self, exchange: ExchangeId, file: &ScannedFile, (offset, length): (u64, u64), permit: Permit) {
        match self.disk.open_shared_as(file) {
            Ok(opened) => {
                let outgoing = Outgoing::range(opened, offset, length, self.cx.now);
                self.net.respond(exchange, outgoing, Some((permit, None)), &self.cx);
            }
            Err(fault) => self.fail_response(exchange, Some(fault.into()), fault),
        }
    }

    fn send_metadata(&mut self, exchange: ExchangeId, requester: Requester, file: &ScannedFile, b3: ContentHash) {
        // A file that cannot be sent is not promised.
        if let Err(fault) = self.disk.open_shared_as(file) {
            return self.fail_response(exchange, Some(fault.into()), fault);
        }
        let network = Network::of(requester.addr.ip());
        let body = self.disk.metadata_body(file, b3, network, self.node.limited_mut());
        let (told, detail, fault) = match body {
            Ok(body) => return self.net.respond(exchange, Outgoing::bytes(body, self.cx.now), None, &self.cx),
            Err(Unsent::NoRoom) => (RefusalReason::Busy, "too many metadata are on their way", ResponseFault::NoMemory),
            Err(Unsent::NotHashed) => {
                let fault = ResponseFault::Disk(DiskFault::Missing);
                (RefusalReason::NotHashed, "its metadata are not in the hash cache", fault)
            }
        };
        self.net.refuse_request(exchange, Some(told), "file", &detail, &self.cx);
        self.cx.out.event(Event::ResponseEnded { exchange, outcome: Err(fault) });
    }

    /// Brings a file to a requester that had closed.
    pub(super) fn call_back(&mut self, exchange: ExchangeId, to: SocketAddr, name: &FileName) {
        // Dialling takes a descriptor for the file that stays.
        let permit = self.net.take_for_file(Requester { addr: to, key: None }, &mut self.cx);
        let opened = permit.ok_or(DiskFault::NoDescriptor);
        match opened.and_then(|_permit| self.disk.open_shared(name, self.node.library())) {
            Ok(file) => {
                let file = Outgoing::file(file, self.cx.now);
                self.net.dial(exchange, to, Task::CallBack(file), &mut self.cx);
            }
            Err(fault) => {
                let outcome = Err(DialFault::Disk(fault));
                self.cx.out.event(Event::DialEnded { exchange, outcome });
            }
        }
    }

    /// Breaks a response off before its first byte.
    fn fail_response(&mut self, exchange: ExchangeId, told: Option<RefusalReason>, fault: DiskFault) {
        self.net.refuse_request(exchange, told, "file", &fault, &self.cx);
        self.cx.out.event(Event::ResponseEnded { exchange, outcome: Err(ResponseFault::Disk(fault)) });
    }
}

/// The exchange of an order for a response with a file.
fn exchange_of(order: &Action) -> Option<ExchangeId> {
    match order {
        Action::SendFile { exchange, .. }
        | Action::SendRange { exchange, .. }
        | Action::SendMetadata { exchange, .. } => Some(*exchange),
        _ => None,
    }
}
