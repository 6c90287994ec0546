//! What peers ask of us on one connection: a file (code 4), the list of files (code 5), a range of a file (code 8), and
//! its metadata (code 9).
//!
//! Serves only names that the library holds, and ranges that are wholly inside the file as the last scan saw it. The
//! bytes never pass through here: the loop sends them and says how it went.

use super::Node;
use super::commands::{Command, Rank};
use super::contract::{Action, Refusal, ResponseFault};
use super::fair_queue::Sender;
use super::uploads::Wanted;
use crate::id::{ContentHash, ExchangeId};
use crate::library::ScannedFile;
use crate::name::FileName;
use crate::time::Instant;
use std::net::SocketAddr;

impl Node {
    /// Says no to a request, and counts it.
    pub(super) fn refuse(&mut self, exchange: ExchangeId, reason: Refusal) {
        self.counters.refused += 1;
        self.uploads.forget_request(exchange);
        self.end_turn(exchange);
        self.actions.push_back(Action::Refuse { exchange, reason });
    }

    /// Code 4.
    pub(super) fn on_download_request(&mut self, now: Instant, exchange: ExchangeId, from: SocketAddr, name: FileName) {
        match self.find_file(&name) {
            Ok(_) => self.submit_upload(now, exchange, Sender::own(from), Wanted::File { to: from, name }),
            Err(reason) => self.refuse(exchange, reason),
        }
    }

    /// Code 5.
    pub(super) fn on_list_files(&mut self, now: Instant, exchange: ExchangeId, from: SocketAddr, p1: bool) {
        self.submit_request(now, exchange, from, Wanted::List { attributes: p1 });
    }

    /// Code 8.
    pub(super) fn on_range_request(
        &mut self,
        now: Instant,
        exchange: ExchangeId,
        from: SocketAddr,
        (offset, length): (u64, u64),
        name: FileName,
    ) {
        match self.find_range(&name, offset, length) {
            Ok(_) => {
                let wanted = Wanted::Range { to: from, name, offset, length };
                self.submit_upload(now, exchange, Sender::own(from), wanted);
            }
            Err(reason) => self.refuse(exchange, reason),
        }
    }

    /// Code 9. A file that is not hashed yet is hashed next: the requester asks again.
    pub(super) fn on_metadata_request(&mut self, now: Instant, exchange: ExchangeId, from: SocketAddr, name: FileName) {
        match self.find_hashed(&name) {
            Ok(_) => self.submit_request(now, exchange, from, Wanted::Metadata { name }),
            Err(reason) => {
                if reason == Refusal::NotHashed {
                    self.hash_soon(from, name);
                }
                self.refuse(exchange, reason);
            }
        }
    }

    /// A file as the library knows it. One that is being written is refused as such: it will be there soon.
    pub(super) fn find_file(&self, name: &FileName) -> Result<ScannedFile, Refusal> {
        let file = self.library.get(name.as_bytes()).ok_or_else(|| match self.settling.holds(name) {
            true => Refusal::BeingWritten,
            false => Refusal::NoSuchFile,
        })?;
        Ok(ScannedFile { name: name.clone(), meta: file.meta })
    }

    /// A file that has these bytes. None at all, at its end or before, are inside it too.
    pub(super) fn find_range(&self, name: &FileName, offset: u64, length: u64) -> Result<ScannedFile, Refusal> {
        let file = self.find_file(name)?;
        let inside = offset.checked_add(length).is_some_and(|end| end <= file.meta.size);
        if inside { Ok(file) } else { Err(Refusal::OutsideFile) }
    }

    /// A file whose hash is known.
    pub(super) fn find_hashed(&self, name: &FileName) -> Result<(ScannedFile, ContentHash), Refusal> {
        let file = self.find_file(name)?;
        let b3 = self.library.get(name.as_bytes()).and_then(|file| file.b3);
        b3.map(|b3| (file, b3)).ok_or(Refusal::NotHashed)
    }

    /// A response has a worker. What is sent may have left the library, or be another file, since it was asked for.
    pub(super) fn on_granted(&mut self, now: Instant, exchange: ExchangeId) {
        let Some(wanted) = self.uploads.take_wanted(exchange) else { return self.free_worker(now, exchange) };
        let begun = match wanted {
            Wanted::List { attributes } => Ok(Action::SendList { exchange, attributes }),
            Wanted::File { to, name } => self.find_file(&name).map(|_| {
                self.note_upload_started(exchange, to, &name);
                Action::SendFile { exchange, name }
            }),
            Wanted::Range { to, name, offset, length } => self.find_range(&name, offset, length).map(|file| {
                self.note_range_started(exchange, to, &file.name);
                Action::SendRange { exchange, file, offset, length }
            }),
            Wanted::Metadata { name } => self.find_hashed(&name).map(|(file, b3)| {
                self.note_metadata_started(exchange);
                Action::SendMetadata { exchange, file, b3 }
            }),
            Wanted::CallBack { to, name } => self.find_file(&name).map(|_| Action::CallBack { exchange, to, name }),
        };
        match begun {
            Ok(action) => self.actions.push_back(action),
            Err(reason) => {
                self.turn_down(exchange, reason);
                self.free_worker(now, exchange);
            }
        }
    }

    /// A request from the network has waited long enough for a worker.
    pub(super) fn on_command_waited(&mut self, exchange: ExchangeId) {
        if self.withdraw(exchange) {
            self.refuse(exchange, Refusal::Busy);
        }
    }

    fn submit_request(&mut self, now: Instant, exchange: ExchangeId, from: SocketAddr, wanted: Wanted) {
        self.uploads.note_wanted(exchange, wanted);
        if self.submit(now, exchange, Command::Respond, Rank::asked(from)).is_err() {
            self.drop_request(exchange);
        }
    }

    /// The requester went away before its turn came, or when the order to answer it was not carried out yet.
    pub(super) fn on_request_gone(&mut self, now: Instant, exchange: ExchangeId) {
        self.uploads.forget_request(exchange);
        if self.withdraw_from_turns(exchange) {
            return;
        }
        if !self.withdraw(exchange) {
            self.end_upload(now, exchange, Some(&ResponseFault::Gone));
            self.free_worker(now, exchange);
        }
        self.end_turn(exchange);
    }
}
