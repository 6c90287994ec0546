//! What a daemon that leaves in order gives to the service manager, and takes over at its next start: its listeners, those of the
//! control socket and the metrics among them, with those who wait there, and the connections on which it sends files, or was asked for files. A daemon that crashes leaves nothing: its connections end in RST.
//!
//! Of an upload the next run gets the connection, and the request that would bring what is still to be sent. It is served like any
//! other, if the file is still the same.

use super::Driver;
use super::interface::Interface;
use super::net::{Service, Taken};
use super::passed::{KEPT_BOOTSTRAP, KEPT_PEER, KEPT_RECORDS, KEPT_UPLOAD, Passed};
use crate::control::RawText;
use crate::id::ExchangeId;
use crate::library::{FileMeta, ScannedFile};
use crate::node::Event;
use crate::wire::{Message, decode};
use log::{debug, info};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;

/// As many descriptors go with one message (unix(7), SCM_MAX_FD).
const DESCRIPTORS_PER_MESSAGE: usize = 253;

/// Room for the records of the uploads that the units have room for.
const RECORDS_BYTES_WANTED: usize = 1 << 20;

/// What is read of the records; the socket that brings them holds less.
const RECORDS_BYTES_MAX: u64 = 16 << 20;

/// The daemon leaves, and hands over what it can.
#[derive(Default)]
pub(super) struct HandingOver {
    uploads: Vec<Taken>,
    /// Requests that wait for their turn: they come after the uploads.
    requests: Vec<Taken>,
}

/// An upload that an earlier run has begun.
pub(super) struct KeptUpload {
    socket: Socket,
    from: SocketAddr,
    request: Message,
    pub(super) file: ScannedFile,
}

/// A line in JSON.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    from: SocketAddr,
    to: SocketAddr,
    request: RawText,
    size: u64,
    mtime_ns: i64,
    ctime_ns: i64,
    inode: u64,
    device: u64,
}

impl Record {
    fn of(upload: &Taken) -> Option<Self> {
        let FileMeta { size, mtime_ns, ctime_ns, inode, device } = upload.meta;
        let (from, to) = (upload.stream.peer_addr().ok()?, upload.stream.local_addr().ok()?);
        let request = RawText::new(upload.request.encode());
        Some(Self { from, to, request, size, mtime_ns, ctime_ns, inode, device })
    }

    /// The request and its file, if it is a request for a file.
    fn request(&self) -> Option<(Message, ScannedFile)> {
        let Self { size, mtime_ns, ctime_ns, inode, device, .. } = *self;
        let meta = FileMeta { size, mtime_ns, ctime_ns, inode, device };
        let request = decode(self.request.as_bytes()).ok()?;
        let (Message::DownloadRequest { name } | Message::RangeRequest { name, .. }) = &request else { return None };
        let file = ScannedFile { name: name.clone(), meta, executable: false };
        Some((request, file))
    }
}

impl Driver {
    /// Nobody is accepted any more: those who connect wait for the next run. Our own bootstrap node still takes the farewell of
    /// our peer.
    pub(super) fn begin_handing_over(&mut self) {
        if self.front.host().hands_over() {
            self.handing_over = Some(HandingOver::default());
            // Those who wait for the first scan wait for that of the next run.
            self.held_until = None;
            self.hand_over_listener(Service::Peer, KEPT_PEER);
            self.front.hand_over_listeners(self.net.registry());
        }
    }

    fn hand_over_listener(&mut self, service: Service, name: &'static str) {
        let Some(listener) = self.net.listener(service) else { return };
        // Fails where the service manager does not listen: then ours goes on until the end.
        if self.front.host().hand_over(name, &[listener], true) {
            self.net.close_listener(service);
        }
    }

    /// Keeps an upload that is to be broken off because the node leaves. Returns whether it does.
    pub(super) fn keep_upload(&mut self, exchange: ExchangeId) -> bool {
        let Some(handing_over) = &mut self.handing_over else { return false };
        if let Some(taken) = self.net.take_upload(exchange, &mut self.cx) {
            handing_over.uploads.push(taken);
            return true;
        }
        // One that waits for its file is still a request.
        let is_kept = self.keep_request(exchange);
        if is_kept {
            self.cx.out.event(Event::RequestGone { exchange });
        }
        is_kept
    }

    /// Keeps a request for a file that is not to be answered any more because the node leaves. Returns whether it does.
    pub(super) fn keep_request(&mut self, exchange: ExchangeId) -> bool {
        let Some(handing_over) = &mut self.handing_over else { return false };
        let Some(name) = self.net.asked_file(exchange) else { return false };
        let Some(from) = self.net.requester(exchange).map(|requester| requester.addr) else { return false };
        let Some(file) = self.node.library().seen_by(from).get(name.as_bytes()) else { return false };
        let taken = self.net.take_request(exchange, file.meta);
        let is_taken = taken.is_some();
        handing_over.requests.extend(taken);
        is_taken
    }

    /// The node has left, and broken off its uploads.
    pub(super) fn end_handing_over(&mut self) {
        let Some(HandingOver { mut uploads, requests }) = self.handing_over.take() else { return };
        uploads.extend(requests);
        self.hand_over_listener(Service::Bootstrap, KEPT_BOOTSTRAP);
        match self.hand_over_uploads(&uploads) {
            Ok(0) => {}
            Ok(count) => info!(count; "uploads wait for the next start"),
            Err(error) => info!("the uploads are broken off: {error}"),
        }
    }

    /// Returns how many the service manager has been given. The connections of others end in RST with us.
    fn hand_over_uploads(&mut self, uploads: &[Taken]) -> std::io::Result<usize> {
        let (mut ours, theirs) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
        ours.set_nonblocking(true)?;
        // The kernel gives less where its limit is lower.
        ours.set_send_buffer_size(RECORDS_BYTES_WANTED)?;
        let (mut lines, mut ends, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for upload in uploads {
            let Some(line) = Record::of(upload).and_then(|record| serde_json::to_vec(&record).ok()) else { continue };
            lines.extend(line);
            lines.push(b'\n');
            ends.push(lines.len());
            kept.push(upload.stream.as_fd());
        }
        // In one call: the buffer has room for fewer small writes. What has no room is not kept.
        let written = ours.write(&lines)?;
        kept.truncate(ends.iter().filter(|end| **end <= written).count());
        let host = self.front.host();
        // Our end of it closes.
        if kept.is_empty() || !host.hand_over(KEPT_RECORDS, &[theirs.as_fd()], false) {
            return Ok(0);
        }
        let mut count = 0;
        for sockets in kept.chunks(DESCRIPTORS_PER_MESSAGE) {
            count += if host.hand_over(KEPT_UPLOAD, sockets, true) { sockets.len() } else { 0 };
        }
        Ok(count)
    }

    /// Has the node serve what an earlier run had not sent yet.
    pub(super) fn resume(&mut self, uploads: Vec<KeptUpload>) {
        let count = uploads.len();
        for KeptUpload { socket, from, request, file } in uploads {
            debug!(name:% = file.name, peer:% = from; "an upload of the run before goes on");
            self.net.resume(socket, from, (&request, file.meta), &mut self.cx);
        }
        if count > 0 {
            info!(count; "uploads of the run before go on");
        }
    }
}

/// Uploads that an earlier run has left. One whose connection has broken meanwhile, or that this version does not understand, is
/// dropped; so is one that is not bound to the interface.
pub(super) fn take_over(passed: &mut Passed, interface: &Interface) -> Vec<KeptUpload> {
    let mut text = Vec::new();
    for records in passed.take(KEPT_RECORDS) {
        // Ends with the bytes that are there.
        let _ = records.set_nonblocking(true).and_then(|()| records.take(RECORDS_BYTES_MAX).read_to_end(&mut text));
    }
    let addresses =
        |socket: &Socket| Some((socket.peer_addr().ok()?.as_socket()?, socket.local_addr().ok()?.as_socket()?));
    let sockets = passed.take(KEPT_UPLOAD).into_iter().filter(|socket| interface.has(socket));
    let mut sockets: Vec<_> = sockets.filter_map(|socket| Some((addresses(&socket)?, socket))).collect();
    // In the order of the records, and not in that in which the service manager passes them.
    let records = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Record>(line).ok());
    let uploads = records.filter_map(|record| {
        let at = sockets.iter().position(|(addresses, _)| *addresses == (record.from, record.to))?;
        let (_, socket) = sockets.swap_remove(at);
        let (request, file) = record.request()?;
        Some(KeptUpload { socket, from: record.from, request, file })
    });
    uploads.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::FileName;

    fn record(request: &Message) -> Record {
        let (from, to) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap());
        let request = RawText::new(request.encode());
        Record { from, to, request, size: 9, mtime_ns: -1, ctime_ns: 2, inode: u64::MAX, device: 4 }
    }

    #[test]
    fn a_record_reads_back_to_the_same_whatever_the_name_is() {
        let name = FileName::from_bytes(b"a: \xff\"").unwrap();
        let written = record(&Message::RangeRequest { offset: 3, length: 6, name: name.clone() });
        let read: Record = serde_json::from_slice(&serde_json::to_vec(&written).unwrap()).unwrap();
        assert_eq!(read, written);
        let meta = FileMeta { size: 9, mtime_ns: -1, ctime_ns: 2, inode: u64::MAX, device: 4 };
        assert_eq!(read.request().map(|(_, file)| file), Some(ScannedFile { name, meta, executable: false }));
    }

    #[test]
    fn only_requests_for_a_file_are_taken_over() {
        assert_eq!(record(&Message::ListFiles { p1: false }).request(), None);
        let nonsense = Record { request: RawText::new("nonsense"), ..record(&Message::ListFiles { p1: false }) };
        assert_eq!(nonsense.request(), None);
    }

    #[test]
    fn what_is_not_understood_is_dropped() {
        let (mut ours, theirs) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        ours.write_all(b"{\"a later version\": true}\n{").unwrap();
        let mut passed = Passed::default();
        passed.add_kept(KEPT_RECORDS, Some(theirs));
        passed.add_kept(KEPT_UPLOAD, Some(Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()));
        assert!(take_over(&mut passed, &Interface::default()).is_empty());
        assert!(passed.take(KEPT_RECORDS).is_empty() && passed.take(KEPT_UPLOAD).is_empty());
    }
}
