//! What peers ask of us on one connection: a file (code 4), the list of files (code 5), a range of a file (code 8), and
//! its metadata (code 9).
//!
//! Serves only names that the library holds, and ranges that are wholly inside the file as the last scan saw it. The
//! bytes never pass through here: the loop sends them and says how it went.

use super::commands::{Command, Rank};
use super::contract::{Action, Refusal, ResponseFault};
use super::fair_queue::Sender;
use super::{Node, Phase};
use crate::id::{ContentHash, ExchangeId};
use crate::library::ScannedFile;
use crate::name::FileName;
use crate::time::Instant;
use crate::wire::Message;
use std::net::SocketAddr;

impl Node {
    /// A message came in. Exactly one action answers it, at once or when a worker is free.
    pub(super) fn on_request(&mut self, now: Instant, exchange: ExchangeId, from: SocketAddr, message: Message) {
        if !self.config.peer {
            return self.refuse(exchange, Refusal::WrongNode);
        }
        if !matches!(self.phase, Phase::Running) {
            return self.refuse(exchange, Refusal::Leaving);
        }
        match message {
            Message::DownloadRequest { name } => self.on_download_request(now, exchange, from, name),
            Message::ListFiles { p1 } => self.on_list_files(now, exchange, from, p1),
            Message::RangeRequest { offset, length, name } => {
                self.on_range_request(now, exchange, from, (offset, length), name);
            }
            Message::MetadataRequest { name } => self.on_metadata_request(now, exchange, from, name),
            Message::Search(search) => {
                self.actions.push_back(Action::Close { exchange });
                self.on_search(now, exchange, from, search);
            }
            Message::SearchResponse(response) => {
                self.actions.push_back(Action::Close { exchange });
                self.on_search_response(now, from, response);
            }
            Message::FirstContact { requester, .. } => {
                self.actions.push_back(Action::AnswerFirstContact { exchange });
                self.on_announced(now, from, requester);
            }
            Message::Register { .. }
            | Message::RequestPeerList { .. }
            | Message::Unregister { .. }
            | Message::Keepalive { .. } => self.refuse(exchange, Refusal::WrongNode),
        }
    }

    /// Says no to a request, and counts it.
    pub(super) fn refuse(&mut self, exchange: ExchangeId, reason: Refusal) {
        self.counters.refused += 1;
        self.end_turn(exchange);
        self.actions.push_back(Action::Refuse { exchange, reason });
    }

    /// Code 4.
    fn on_download_request(&mut self, now: Instant, exchange: ExchangeId, from: SocketAddr, name: FileName) {
        match self.find_file(&name) {
            Ok(_) => self.submit_upload(now, exchange, Sender::own(from), Command::SendFile { from, name }),
            Err(reason) => self.refuse(exchange, reason),
        }
    }

    /// Code 5.
    fn on_list_files(&mut self, now: Instant, exchange: ExchangeId, from: SocketAddr, p1: bool) {
        self.submit_request(now, exchange, from, Command::SendList { attributes: p1 });
    }

    /// Code 8.
    fn on_range_request(
        &mut self,
        now: Instant,
        exchange: ExchangeId,
        from: SocketAddr,
        (offset, length): (u64, u64),
        name: FileName,
    ) {
        match self.find_range(&name, offset, length) {
            Ok(_) => {
                let command = Command::SendRange { from, name, offset, length };
                self.submit_upload(now, exchange, Sender::own(from), command);
            }
            Err(reason) => self.refuse(exchange, reason),
        }
    }

    /// Code 9. A file that is not hashed yet is hashed next: the requester asks again.
    fn on_metadata_request(&mut self, now: Instant, exchange: ExchangeId, from: SocketAddr, name: FileName) {
        match self.find_hashed(&name) {
            Ok(_) => self.submit_request(now, exchange, from, Command::SendMetadata { name }),
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

    fn submit_request(&mut self, now: Instant, exchange: ExchangeId, from: SocketAddr, command: Command) {
        if self.submit(now, exchange, command, Rank::asked(from)).is_err() {
            self.drop_request(exchange);
        }
    }

    /// The requester went away before its turn came, or when the order to answer it was not carried out yet.
    pub(super) fn on_request_gone(&mut self, now: Instant, exchange: ExchangeId) {
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
