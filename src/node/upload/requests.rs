//! Requests of peers: a file (code 4), the list of files (code 5), a range of a file (code 8), and its metadata (code 9).
//!
//! Serves only names in the library, and ranges inside the file as scanned. The loop sends the bytes and reports the outcome.

use super::UploadMachine;
use super::accounting::Wanted;
use crate::id::{ContentHash, ExchangeId};
use crate::library::ScannedFile;
use crate::name::FileName;
use crate::node::contract::{Action, Refusal, ResponseFault};
use crate::node::cx::Cx;
use crate::node::cx::exchanges::{Command, Rank};
use crate::node::fair_queue::Sender;
use crate::node::share::ShareMachine;
use std::net::SocketAddr;

impl UploadMachine {
    pub(in crate::node) fn refuse(&mut self, cx: &mut Cx, exchange: ExchangeId, reason: Refusal) {
        cx.counters.refused += 1;
        self.uploads.wanted.remove(&exchange);
        self.end_turn(exchange);
        cx.out.act(Action::Refuse { exchange, reason });
    }

    pub(in crate::node) fn on_download_request(
        &mut self,
        cx: &mut Cx,
        share: &ShareMachine,
        exchange: ExchangeId,
        from: SocketAddr,
        name: FileName,
    ) {
        match self.find_file(share, &name) {
            Ok(_) => self.submit_upload(cx, exchange, Sender::own(from), Wanted::File { to: from, name }),
            Err(reason) => self.refuse(cx, exchange, reason),
        }
    }

    pub(in crate::node) fn on_list_files(&mut self, cx: &mut Cx, exchange: ExchangeId, from: SocketAddr, p1: bool) {
        self.submit_request(cx, exchange, from, Wanted::List { attributes: p1 });
    }

    pub(in crate::node) fn on_range_request(
        &mut self,
        cx: &mut Cx,
        share: &ShareMachine,
        exchange: ExchangeId,
        from: SocketAddr,
        (offset, length): (u64, u64),
        name: FileName,
    ) {
        match self.find_range(share, &name, offset, length) {
            Ok(_) => {
                let wanted = Wanted::Range { to: from, name, offset, length };
                self.submit_upload(cx, exchange, Sender::own(from), wanted);
            }
            Err(reason) => self.refuse(cx, exchange, reason),
        }
    }

    /// Code 9. A file that is not hashed yet is hashed next: the requester repeats the request.
    pub(in crate::node) fn on_metadata_request(
        &mut self,
        cx: &mut Cx,
        share: &mut ShareMachine,
        exchange: ExchangeId,
        from: SocketAddr,
        name: FileName,
    ) {
        match self.find_hashed(share, &name) {
            Ok(_) => self.submit_request(cx, exchange, from, Wanted::Metadata { name }),
            Err(reason) => {
                if reason == Refusal::NotHashed {
                    share.hash_soon(from, name);
                }
                self.refuse(cx, exchange, reason);
            }
        }
    }

    /// A file of the library. For one that is being written, the refusal has this reason: it will be shared soon.
    pub(super) fn find_file(&self, share: &ShareMachine, name: &FileName) -> Result<ScannedFile, Refusal> {
        let file = share.library().get(name.as_bytes()).ok_or_else(|| match share.is_being_written(name) {
            true => Refusal::BeingWritten,
            false => Refusal::NoSuchFile,
        })?;
        Ok(ScannedFile { name: name.clone(), meta: file.meta })
    }

    /// A file that contains a range. An empty range up to the end is inside it too.
    pub(super) fn find_range(
        &self,
        share: &ShareMachine,
        name: &FileName,
        offset: u64,
        length: u64,
    ) -> Result<ScannedFile, Refusal> {
        let file = self.find_file(share, name)?;
        let inside = offset.checked_add(length).is_some_and(|end| end <= file.meta.size);
        if inside { Ok(file) } else { Err(Refusal::OutsideFile) }
    }

    pub(super) fn find_hashed(
        &self,
        share: &ShareMachine,
        name: &FileName,
    ) -> Result<(ScannedFile, ContentHash), Refusal> {
        let file = self.find_file(share, name)?;
        let b3 = share.library().get(name.as_bytes()).and_then(|file| file.b3);
        b3.map(|b3| (file, b3)).ok_or(Refusal::NotHashed)
    }

    /// A response has a worker. The file may have changed or left the library since the request.
    pub(in crate::node) fn on_granted(&mut self, cx: &mut Cx, share: &ShareMachine, exchange: ExchangeId) {
        let Some(wanted) = self.uploads.wanted.remove(&exchange) else { return cx.free_worker(exchange) };
        let begun = match wanted {
            Wanted::List { attributes } => Ok(Action::SendList { exchange, attributes }),
            Wanted::File { to, name } => self.find_file(share, &name).map(|_| {
                self.note_upload_started(cx, exchange, to, &name);
                Action::SendFile { exchange, name }
            }),
            Wanted::Range { to, name, offset, length } => self.find_range(share, &name, offset, length).map(|file| {
                self.note_range_started(cx, exchange, to, &file.name);
                Action::SendRange { exchange, file, offset, length }
            }),
            Wanted::Metadata { name } => self.find_hashed(share, &name).map(|(file, b3)| {
                self.note_metadata_started(exchange);
                Action::SendMetadata { exchange, file, b3 }
            }),
            Wanted::CallBack { to, name } => {
                self.find_file(share, &name).map(|_| Action::CallBack { exchange, to, name })
            }
        };
        match begun {
            Ok(action) => cx.out.act(action),
            Err(reason) => {
                self.turn_down(cx, exchange, reason);
                cx.free_worker(exchange);
            }
        }
    }

    pub(in crate::node) fn on_command_waited(&mut self, cx: &mut Cx, exchange: ExchangeId) {
        if cx.withdraw(exchange) {
            self.refuse(cx, exchange, Refusal::Busy);
        }
    }

    fn submit_request(&mut self, cx: &mut Cx, exchange: ExchangeId, from: SocketAddr, wanted: Wanted) {
        self.uploads.wanted.insert(exchange, wanted);
        if cx.submit(exchange, Command::Respond, Rank::asked(from)).is_err() {
            self.drop_request(cx, exchange);
        }
    }

    /// The requester closed the connection before the response began.
    pub(in crate::node) fn on_request_gone(&mut self, cx: &mut Cx, exchange: ExchangeId) {
        self.uploads.wanted.remove(&exchange);
        if self.withdraw_from_turns(cx, exchange) {
            return;
        }
        if !cx.withdraw(exchange) {
            self.end_upload(cx, exchange, Some(&ResponseFault::Gone));
            cx.free_worker(exchange);
        }
        self.end_turn(exchange);
    }
}
