//! What peers ask of us on one connection: a file (code 4) and the list of files (code 5).
//!
//! Serves only names that the library holds. The bytes never pass through here: the loop sends them and says how it
//! went.

use super::contract::{Action, Refusal, ResponseFault};
use super::subscriptions::Topic;
use super::workers::{Command, Rank};
use super::{Node, Phase};
use crate::control::{Notice, RawText};
use crate::id::ExchangeId;
use crate::name::FileName;
use crate::time::Instant;
use crate::wire::Message;
use std::net::SocketAddr;

/// An upload in progress.
#[derive(Debug)]
pub(super) struct Upload {
    to: SocketAddr,
    name: FileName,
    bytes: u64,
}

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
            Message::Search(search) => {
                self.actions.push_back(Action::Close { exchange });
                self.on_search(now, from, search);
            }
            Message::SearchResponse(response) => {
                self.actions.push_back(Action::Close { exchange });
                self.on_search_response(now, from, response);
            }
            Message::Register { .. }
            | Message::RequestPeerList { .. }
            | Message::Unregister { .. }
            | Message::Keepalive { .. } => self.refuse(exchange, Refusal::WrongNode),
            Message::RangeRequest { .. } | Message::MetadataRequest { .. } => {
                self.refuse(exchange, Refusal::NotHashed);
            }
        }
    }

    /// Says no to a request, and counts it.
    pub(super) fn refuse(&mut self, exchange: ExchangeId, reason: Refusal) {
        self.counters.refused += 1;
        self.actions.push_back(Action::Refuse { exchange, reason });
    }

    /// Code 4.
    fn on_download_request(&mut self, now: Instant, exchange: ExchangeId, from: SocketAddr, name: FileName) {
        if self.library.get(name.as_bytes()).is_none() {
            return self.refuse(exchange, Refusal::NoSuchFile);
        }
        self.submit_request(now, exchange, from, Command::SendFile { from, name });
    }

    /// Code 5.
    fn on_list_files(&mut self, now: Instant, exchange: ExchangeId, from: SocketAddr, p1: bool) {
        self.submit_request(now, exchange, from, Command::SendList { attributes: p1 });
    }

    fn submit_request(&mut self, now: Instant, exchange: ExchangeId, from: SocketAddr, command: Command) {
        let rank = Rank::Asked(from.ip().to_canonical());
        if self.submit(now, exchange, command, rank).is_err() {
            self.refuse(exchange, Refusal::Busy);
        }
    }

    /// A 2013 client closed after its request and waits to be called back (PROTOCOL, "Old peers answer `4` by calling
    /// back"). Once: whoever does not accept gets nothing.
    pub(super) fn on_requester_closed(&mut self, now: Instant, requester: SocketAddr, name: FileName) {
        let wanted = matches!(self.phase, Phase::Running) && self.library.get(name.as_bytes()).is_some();
        if wanted && self.dial_back(now, requester, name).is_err() {
            self.counters.refused += 1;
        }
    }

    /// The requester went away before its turn came.
    pub(super) fn on_request_gone(&mut self, exchange: ExchangeId) {
        self.withdraw(exchange);
    }

    pub(super) fn note_upload_started(&mut self, exchange: ExchangeId, to: SocketAddr, name: &FileName) {
        self.uploads.insert(exchange, Upload { to, name: name.clone(), bytes: 0 });
        let name = RawText::new(name.as_bytes());
        self.notify(Topic::Uploads, || Notice::UploadStarted { to, name });
    }

    pub(super) fn on_response_progress(&mut self, exchange: ExchangeId, bytes: u64) {
        if let Some(upload) = self.uploads.get_mut(&exchange) {
            self.counters.bytes_up += bytes.saturating_sub(upload.bytes);
            upload.bytes = upload.bytes.max(bytes);
        }
    }

    pub(super) fn on_response_ended(&mut self, exchange: ExchangeId, outcome: Result<u64, ResponseFault>) {
        if let Ok(bytes) = outcome {
            self.on_response_progress(exchange, bytes);
        }
        if let Some(Upload { to, name, bytes }) = self.uploads.remove(&exchange) {
            let (name, error) = (RawText::new(name.as_bytes()), outcome.err().map(|fault| fault.to_string()));
            self.notify(Topic::Uploads, || Notice::UploadEnded { to, name, bytes, error });
        }
        self.free_worker(exchange);
    }
}
