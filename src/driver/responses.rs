//! Orders that take a file of the share and a connection: a descriptor first, then the file, then the response.

use super::Driver;
use super::disk::Unsent;
use super::net::{Outgoing, Permit, Requester, Task};
use crate::fault::{DialFault, DiskFault, RefusalReason};
use crate::id::{ContentHash, ExchangeId};
use crate::library::ScannedFile;
use crate::name::FileName;
use crate::network::Network;
use crate::node::Event;
use crate::node::contract::ResponseFault;
use crate::store::SharedFile;
use std::net::SocketAddr;

impl Driver {
    pub(super) fn send_file(&mut self, exchange: ExchangeId, name: FileName) {
        let Some(requester) = self.net.requester(exchange) else { return };
        match self.open_shared(&name, requester) {
            Ok((file, permit)) => {
                let outgoing = Outgoing::file(file, self.cx.now);
                self.net.respond(exchange, outgoing, Some((permit, Some(name))), &self.cx);
            }
            Err(fault) => self.fail_response(exchange, None, fault),
        }
    }

    /// Sends a range of a file, provided that it still is the file that the library knows.
    pub(super) fn send_range(&mut self, exchange: ExchangeId, file: &ScannedFile, offset: u64, length: u64) {
        let Some(requester) = self.net.requester(exchange) else { return };
        match self.open_shared_as(file, requester) {
            Ok((opened, permit)) => {
                let outgoing = Outgoing::range(opened, offset, length, self.cx.now);
                self.net.respond(exchange, outgoing, Some((permit, None)), &self.cx);
            }
            Err(fault) => self.fail_response(exchange, Some(fault.into()), fault),
        }
    }

    pub(super) fn send_metadata(&mut self, exchange: ExchangeId, file: &ScannedFile, b3: ContentHash) {
        let Some(requester) = self.net.requester(exchange) else { return };
        // A file that cannot be sent is not promised.
        if let Err(fault) = self.open_shared_as(file, requester) {
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
        match self.open_shared(name, Requester { addr: to, key: None }) {
            Ok((file, permit)) => {
                // Dialling takes a new descriptor for the file.
                drop(permit);
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

    fn open_shared(&mut self, name: &FileName, requester: Requester) -> Result<(SharedFile, Permit), DiskFault> {
        let permit = self.net.take_for_file(requester, &mut self.cx).ok_or(DiskFault::NoDescriptor)?;
        Ok((self.disk.open_shared(name, self.node.library())?, permit))
    }

    fn open_shared_as(&mut self, file: &ScannedFile, requester: Requester) -> Result<(SharedFile, Permit), DiskFault> {
        let permit = self.net.take_for_file(requester, &mut self.cx).ok_or(DiskFault::NoDescriptor)?;
        Ok((self.disk.open_shared_as(file)?, permit))
    }
}
