//! What a daemon that leaves in order gives to the service manager, and takes over at its next start: its listeners, those of the
//! control socket and the metrics among them, with those who wait there, and the connections on which it sends files, or was asked for files. A daemon that crashes leaves nothing: its connections end in RST.
//!
//! Of an upload the next run gets the connection, and the request that would bring what is still to be sent. It is served like any
//! other, if the file is still the same, and its share is still there and for the requester. Otherwise it is broken off before
//! anything of it is listed.

use super::Driver;
use super::interface::Interface;
use super::net::{Service, Taken};
use super::passed::{KEPT_BOOTSTRAP, KEPT_PEER, KEPT_RECORDS, KEPT_UPLOAD, Passed};
use crate::audience::first_component;
use crate::control::RawText;
use crate::id::ExchangeId;
use crate::library::{FileMeta, ScannedFile};
use crate::name::FileName;
use crate::node::{Event, NodeConfig};
use crate::wire::{Message, decode};
use log::{debug, info};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

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
    /// Absent in a record of an older version.
    #[serde(default)]
    share: Option<Share>,
}

/// The share that has a name.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Share {
    /// `None`: its files have no name before theirs.
    name: Option<RawText>,
    path: RawText,
}

impl Share {
    /// `None`: the share with this name waits for the next start.
    fn of(name: &FileName, config: &NodeConfig) -> Option<Self> {
        let text = |path: &Path| RawText::new(path.as_os_str().as_bytes());
        let first = first_component(name.as_bytes());
        match config.shares.iter().find(|share| share.name.as_bytes() == first) {
            Some(share) => Some(Self { name: Some(RawText::new(first)), path: text(share.path.as_ref()?) }),
            None => Some(Self { name: None, path: text(&config.local_directory) }),
        }
    }
}

impl Record {
    fn of(upload: &Taken, config: &NodeConfig) -> Option<Self> {
        let FileMeta { size, mtime_ns, ctime_ns, inode, device } = upload.meta;
        let (from, to) = (upload.stream.peer_addr().ok()?, upload.stream.local_addr().ok()?);
        let share = Share::of(file_of(&upload.request)?, config);
        let request = RawText::new(upload.request.encode());
        Some(Self { from, to, request, size, mtime_ns, ctime_ns, inode, device, share })
    }

    /// The request and its file, if it is a request for a file.
    fn request(&self) -> Option<(Message, ScannedFile)> {
        let Self { size, mtime_ns, ctime_ns, inode, device, .. } = *self;
        let meta = FileMeta { size, mtime_ns, ctime_ns, inode, device };
        let request = decode(self.request.as_bytes()).ok()?;
        let file = ScannedFile { name: file_of(&request)?.clone(), meta, executable: false };
        Some((request, file))
    }

    /// Whether the file would be in the same share, and that is for the requester.
    fn is_still_shared(&self, name: &FileName, config: &NodeConfig) -> bool {
        let is_there = self.share.is_none() || self.share == Share::of(name, config);
        is_there && config.audiences.show(self.from.into(), name.as_bytes())
    }
}

/// The file that a request is for.
fn file_of(request: &Message) -> Option<&FileName> {
    match request {
        Message::DownloadRequest { name } | Message::RangeRequest { name, .. } => Some(name),
        _ => None,
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
            let record = Record::of(upload, self.node.config());
            let Some(line) = record.and_then(|record| serde_json::to_vec(&record).ok()) else { continue };
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
/// dropped; so is one that is not bound to the interface, or whose file is not for its requester any more.
pub(super) fn take_over(passed: &mut Passed, interface: &Interface, config: &NodeConfig) -> Vec<KeptUpload> {
    let mut text = Vec::new();
    for records in passed.take(KEPT_RECORDS) {
        // Ends with the bytes that are there.
        let _ = records.set_nonblocking(true).and_then(|()| records.take(RECORDS_BYTES_MAX).read_to_end(&mut text));
    }
    let addresses =
        |socket: &Socket| Some((socket.peer_addr().ok()?.as_socket()?, socket.local_addr().ok()?.as_socket()?));
    let (sockets, others): (Vec<_>, Vec<_>) =
        passed.take(KEPT_UPLOAD).into_iter().partition(|socket| interface.has(socket));
    others.iter().for_each(end_in_reset);
    let mut sockets: Vec<_> = sockets.into_iter().filter_map(|socket| Some((addresses(&socket)?, socket))).collect();
    let mut unshared = 0u64;
    // In the order of the records, and not in that in which the service manager passes them.
    let records = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Record>(line).ok());
    let uploads = records.filter_map(|record| {
        let at = sockets.iter().position(|(addresses, _)| *addresses == (record.from, record.to))?;
        let (request, file) = record.request()?;
        if !record.is_still_shared(&file.name, config) {
            debug!(name:% = file.name, peer:% = record.from; "an upload of the run before is broken off");
            unshared += 1;
            return None;
        }
        let (_, socket) = sockets.swap_remove(at);
        Some(KeptUpload { socket, from: record.from, request, file })
    });
    let uploads = uploads.collect();
    if unshared > 0 {
        info!(count = unshared; "uploads of the run before are broken off: what they send is not for their requesters any more");
    }
    sockets.iter().for_each(|(_, socket)| end_in_reset(socket));
    uploads
}

/// FIN would say that the file is complete. These sockets may have no SO_LINGER of 0 s: an older version sets it with the first byte
/// of a request.
fn end_in_reset(socket: &Socket) {
    let _ = socket.set_linger(Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audience::{Audience, Audiences};
    use crate::node::contract::ShareNamed;
    use std::net::{TcpListener, TcpStream};

    fn record(request: &Message) -> Record {
        let (from, to) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap());
        let request = RawText::new(request.encode());
        let share = Some(Share { name: None, path: RawText::new("/share") });
        Record { from, to, request, size: 9, mtime_ns: -1, ctime_ns: 2, inode: u64::MAX, device: 4, share }
    }

    /// A configuration with a further share, if its directory is given.
    fn config(main: &str, music: Option<&str>, audience: Audience) -> NodeConfig {
        let name = || FileName::from_bytes(b"music").unwrap();
        let place = |path: &str| ShareNamed { name: name(), path: Some(path.into()), follow_symlinks: false };
        NodeConfig {
            bootstraps: Vec::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 1)),
            advertise_addr: None,
            local_addrs: Vec::new(),
            keepalive_refresh: Duration::from_secs(300),
            filemonitor_refresh: Duration::from_secs(60),
            local_directory: main.into(),
            shares: music.into_iter().map(place).collect(),
            audiences: Audiences::new(Audience::all(), music.map(|_| ("music", audience))),
            download_directory: main.into(),
            max_workers: 1,
            max_downloads: 1,
            upload_limit: 0,
            download_limit: 0,
            max_peers: 1,
            max_ttl: 1,
            peer: true,
        }
    }

    /// How many uploads of a run with the first configuration one with the second takes over, of one. `edit`: the record.
    fn taken_over(name: &str, before: &NodeConfig, now: &NodeConfig, edit: impl Fn(Vec<u8>) -> Vec<u8>) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut requester = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let socket = Socket::from(stream.try_clone().unwrap());
        let request = Message::DownloadRequest { name: FileName::from_bytes(name.as_bytes()).unwrap() };
        stream.set_nonblocking(true).unwrap();
        let taken = Taken {
            stream: mio::net::TcpStream::from_std(stream),
            request,
            meta: FileMeta { size: 9, ..FileMeta::default() },
        };
        let line = serde_json::to_vec(&Record::of(&taken, before).unwrap()).unwrap();
        drop(taken);
        let (mut ours, theirs) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        ours.write_all(&edit(line)).unwrap();
        let mut passed = Passed::default();
        passed.add_kept(KEPT_RECORDS, Some(theirs));
        passed.add_kept(KEPT_UPLOAD, Some(socket));
        let kept = take_over(&mut passed, &Interface::default(), now);
        if kept.is_empty() {
            let ended = requester.read(&mut [0]).map_err(|error| error.kind());
            assert_eq!(ended, Err(std::io::ErrorKind::ConnectionReset), "FIN would tell that it is complete");
        }
        kept.len()
    }

    #[test]
    fn an_upload_goes_on_only_while_its_share_is_there_and_for_its_requester() {
        let [all, home, elsewhere] =
            [Audience::all(), Audience::of(["127.0.0.1"]).unwrap(), Audience::of(["127.0.0.2"]).unwrap()];
        let with = |main, music, audience: &Audience| config(main, music, audience.clone());
        let before = with("/share", Some("/music"), &all);
        let same = |line: Vec<u8>| line;
        for (name, now, expected) in [
            ("music/a", before.clone(), 1),
            ("music/a", with("/other", Some("/music"), &home), 1),
            ("music/a", with("/share", Some("/music"), &elsewhere), 0),
            ("music/a", with("/share", Some("/elsewhere"), &all), 0),
            ("music/a", with("/share", None, &all), 0),
            ("a", with("/share", None, &all), 1),
            ("a", with("/other", Some("/music"), &all), 0),
        ] {
            assert_eq!(taken_over(name, &before, &now, same), expected, "{name} {now:?}");
        }
        // What had the name of the share in the main one before.
        assert_eq!(taken_over("music/a", &with("/share", None, &all), &before, same), 0);
        // A record of an older version does not tell the share.
        let older = |line: Vec<u8>| {
            let mut record: serde_json::Value = serde_json::from_slice(&line).unwrap();
            assert!(record.as_object_mut().unwrap().remove("share").is_some());
            serde_json::to_vec(&record).unwrap()
        };
        assert_eq!(taken_over("music/a", &before, &before, older), 1);
        assert_eq!(taken_over("music/a", &before, &with("/share", Some("/music"), &elsewhere), older), 0);
        assert_eq!(taken_over("a", &before, &before, |_| b"{\"a later version\": true}".to_vec()), 0);
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
        assert!(take_over(&mut passed, &Interface::default(), &config("/share", None, Audience::all())).is_empty());
        assert!(passed.take(KEPT_RECORDS).is_empty() && passed.take(KEPT_UPLOAD).is_empty());
    }
}
