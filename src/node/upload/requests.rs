//! Requests of peers: a file (code 4), the list of files (code 5), a range of a file (code 8), and its metadata (code 9).
//!
//! Serves only names in the library, and ranges inside the file as scanned. The loop sends the bytes and reports the outcome.

use super::UploadMachine;
use super::accounting::Wanted;
use super::manifests::send_manifest;
use crate::id::{ContentHash, ExchangeId};
use crate::library::{ScannedFile, Shared};
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

    /// A peer requests something: it is answered when there is a worker, and uploads have a turn. A file whose metadata are
    /// requested, and that is not hashed yet, is hashed next: the requester repeats the request.
    pub(in crate::node) fn on_request(
        &mut self,
        cx: &mut Cx,
        share: &mut ShareMachine,
        exchange: ExchangeId,
        from: SocketAddr,
        wanted: Wanted,
    ) {
        if let Err(reason) = response(cx, share, exchange, &wanted) {
            if let (Refusal::NotHashed, Wanted::Metadata { name, .. }) = (reason, wanted) {
                share.hash_soon(from, name);
            }
            return self.refuse(cx, exchange, reason);
        }
        if matches!(wanted, Wanted::File { .. } | Wanted::Range { .. }) {
            return self.submit_upload(cx, exchange, Sender::own(from), wanted);
        }
        self.uploads.wanted.insert(exchange, (cx.now, wanted));
        if cx.submit(exchange, Command::Respond, Rank::asked(from)).is_err() {
            self.drop_request(cx, exchange);
        }
    }

    /// A response has a worker. The file may have changed or left the library since the request.
    pub(in crate::node) fn on_granted(&mut self, cx: &mut Cx, share: &mut ShareMachine, exchange: ExchangeId) {
        let Some((_, wanted)) = self.uploads.wanted.remove(&exchange) else { return cx.free_worker(exchange) };
        match response(cx, share, exchange, &wanted) {
            Ok(action) => {
                match (&wanted, &action) {
                    (Wanted::File { to, name }, _) => self.note_upload_started(cx, exchange, *to, name),
                    (Wanted::Range { to, name, .. }, Action::SendRange { file, offset, length, .. }) => {
                        self.note_range_started(cx, exchange, *to, name, (*offset, *length), file.meta.size);
                    }
                    (Wanted::Metadata { to, name } | Wanted::Manifest { to, name, .. }, _) => {
                        self.note_metadata_started(cx, exchange, *to, name);
                    }
                    (Wanted::List { to, .. }, _) => drop(self.uploads.lists.insert(exchange, *to)),
                    (Wanted::CallBack { .. } | Wanted::Range { .. }, _) => {}
                }
                cx.out.act(action);
            }
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

    /// The requester closed the connection before the response began. The directory of which it awaited the manifest.
    pub(in crate::node) fn on_request_gone(&mut self, cx: &mut Cx, exchange: ExchangeId) -> Option<FileName> {
        self.uploads.wanted.remove(&exchange);
        let directory = self.manifests.withdraw(exchange);
        if directory.is_some() || self.withdraw_from_turns(cx, exchange) {
            return directory;
        }
        if !cx.withdraw(exchange) {
            self.end_upload(cx, exchange, Some(&ResponseFault::Gone));
            cx.free_worker(exchange);
        }
        self.end_turn(exchange);
        None
    }
}

/// The action that gives a requester what it wants, as the library is now.
fn response(cx: &Cx, share: &mut ShareMachine, exchange: ExchangeId, wanted: &Wanted) -> Result<Action, Refusal> {
    match wanted {
        Wanted::List { to, attributes } => Ok(Action::SendList { exchange, to: *to, attributes: *attributes }),
        Wanted::File { to, name } => {
            find_file(share, *to, name)?;
            Ok(Action::SendFile { exchange, to: *to, name: name.clone() })
        }
        Wanted::Range { to, name, offset, length } => {
            let (file, _) = find_file(share, *to, name)?;
            // An empty range up to the end is inside the file too.
            let is_inside = offset.checked_add(*length).is_some_and(|end| end <= file.meta.size);
            let action = Action::SendRange { exchange, file, offset: *offset, length: *length };
            if is_inside { Ok(action) } else { Err(Refusal::OutsideFile) }
        }
        Wanted::Metadata { to, name } => {
            let (file, b3) = find_file(share, *to, name)?;
            Ok(Action::SendMetadata { exchange, file, b3: b3.ok_or(Refusal::NotHashed)? })
        }
        Wanted::Manifest { to, name, range } => send_manifest(cx, share, exchange, (*to, name), *range),
        Wanted::CallBack { to, name } => {
            find_file(share, *to, name)?;
            Ok(Action::CallBack { exchange, to: *to, name: name.clone() })
        }
    }
}

/// A file of the library that is for a requester, and its hash if it is known. For a file that is being written, the refusal has
/// this reason: it will be shared soon. What is for others is refused as what does not exist.
pub(super) fn find_file(
    share: &ShareMachine,
    to: SocketAddr,
    name: &FileName,
) -> Result<(ScannedFile, Option<ContentHash>), Refusal> {
    match share.library().seen_by(to).get(name.as_bytes()) {
        Some(Shared { meta, b3, executable }) => Ok((ScannedFile { name: name.clone(), meta, executable }, b3)),
        None if share.is_being_written(to, name) => Err(Refusal::BeingWritten),
        None => Err(Refusal::NoSuchFile),
    }
}
