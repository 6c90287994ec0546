//! What the side that was dialled does with a connection: closes it, refuses, or sends a response.

use crate::conn::{Conn, ConnId, Side, Taking, Want};
use crate::content::{Content, Outline};
use crate::flows::{Ending, Flow, Flowing};
use crate::host::{HostId, Program};
use crate::rogue::Answer;
use crate::world::{Occurrence, World};
use pyrate::audience::Requester;
use pyrate::fault::{DialFault, DiskFault, RefusalReason};
use pyrate::id::{ContentHash, ExchangeId};
use pyrate::library::{ScannedFile, Shared};
use pyrate::name::FileName;
use pyrate::node::contract::{Dialled, Event, Response, ResponseFault};
use pyrate::wire::{Attributes, Listed, ListedPeer, Message};

/// How long a fetch waits to be called back after an end without a byte.
const CALL_BACK_MS: u64 = 5_000;

/// Lines of a list that travel together.
const LINES_PER_BATCH: usize = 100;

/// Metadata as somebody sends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// Whose chaining values these are.
    pub(crate) chain: Content,
    pub(crate) b3: ContentHash,
    pub(crate) size: u64,
    /// Of a manifest: files that are not in it yet.
    pub(crate) pending: u64,
}

/// A response on its way.
#[derive(Debug)]
pub(crate) enum Responding {
    List {
        after: Option<FileName>,
        attributes: bool,
        bytes: u64,
    },
    Lines(Vec<Listed>),
    /// `None` breaks off.
    Metadata(Option<Metadata>),
    Manifest(Vec<u8>, Ending),
    Flow(Flowing),
}

impl World {
    pub(crate) fn answer_of_rogue(&mut self, id: ConnId, side: Side, answer: Answer) {
        match answer {
            Answer::Close => self.close(side.host, side.exchange),
            Answer::Refuse => self.refuse(side.host, side.exchange),
            Answer::SpeaksP1 => self.answer_first_contact(side.host, side.exchange),
            Answer::Silence => {}
            Answer::Peers(peers) => self.send_peer_list(side.host, side.exchange, peers),
            Answer::List(lines) => self.begin_response(id, Responding::Lines(lines)),
            Answer::CallBack(flow) => self.hang_up_to_call_back(id, side, flow),
            Answer::Metadata(metadata) => self.begin_response(id, Responding::Metadata(Some(metadata))),
            Answer::Manifest(bytes, ending) => self.begin_response(id, Responding::Manifest(bytes, ending)),
            Answer::File(flow) => self.begin_flow(id, flow),
            Answer::Die => {
                let asked = self.conns.get(&id).and_then(|conn| conn.asked.clone());
                self.violation(side.host, &format!("a base peer died of {asked:?}"))
            }
        }
    }

    /// A base program closes the connection of a download request, and calls the requester back at once.
    fn hang_up_to_call_back(&mut self, id: ConnId, side: Side, flow: Flow) {
        if self.owed(side.host, side.exchange) == id {
            self.server_done(id);
            let pause = self.latency();
            self.plan(pause, Occurrence::CallBack(id, side.host, flow));
        }
    }

    /// A base program calls back: once, for it does not survive a refusal.
    pub(crate) fn called_back(&mut self, id: ConnId, host: HostId, flow: Flow) {
        let waits = |conn: &&mut Conn| {
            let listens = conn.taking().is_some_and(|taking| taking.may_call_back);
            listens && conn.dialer.is_some() && !conn.aborted && !conn.frozen
        };
        let accepted = &mut self.hosts[host.0].accepted;
        *accepted += 1;
        let exchange = ExchangeId::Inbound(*accepted);
        match self.conns.get_mut(&id).filter(waits) {
            Some(conn) => {
                conn.server = Some(Side { host, exchange, command: false });
                self.exchanges.insert((host, exchange), id);
                self.begin_flow(id, flow);
            }
            None => self.hosts[host.0].up = false,
        }
    }

    /// The connection that a server's action names: it must exist and be owed an answer.
    fn owed(&mut self, host: HostId, exchange: ExchangeId) -> ConnId {
        let found = self.exchanges.get(&(host, exchange)).copied();
        let Some(id) = found else { self.violation(host, &format!("{exchange:?} does not exist")) };
        let conn = self.conns.get_mut(&id).filter(|conn| conn.server.is_some_and(|side| side.exchange == exchange));
        match conn {
            Some(conn) if conn.owed > 0 && conn.responding.is_none() => {
                conn.owed -= 1;
                id
            }
            _ => self.violation(host, &format!("{exchange:?} was answered twice")),
        }
    }

    /// The same, of a node that answers this request and no other.
    pub(crate) fn owed_for(&mut self, host: HostId, exchange: ExchangeId, fits: impl Fn(&Message) -> bool) -> ConnId {
        let id = self.owed(host, exchange);
        let asked = self.conns[&id].asked.as_ref();
        if !asked.is_some_and(fits) {
            self.violation(host, &format!("an answer to another question than {asked:?}"));
        }
        self.hosts[host.0].commands += 1;
        if let Some(side) = self.conns.get_mut(&id).and_then(|conn| conn.server.as_mut()) {
            side.command = true;
        }
        id
    }

    pub(crate) fn close(&mut self, host: HostId, exchange: ExchangeId) {
        let id = self.owed(host, exchange);
        let conn = &self.conns[&id];
        if conn.owed > 0 || !conn.messages.is_empty() || conn.want == Want::Stream {
            return;
        }
        let response = match &conn.want {
            Want::Nothing | Want::Stream | Want::FirstContact => Response::Delivered,
            Want::PeerList => Response::PeerList(Vec::new()),
            Want::FileList => Response::FileList { truncated: false },
            // The dialer waits to be called back.
            Want::File(Taking { may_call_back: true, .. }) => {
                let dialled = Dialled { local: conn.local, response: Response::File { bytes: 0 } };
                self.server_done(id);
                let after = self.latency() + CALL_BACK_MS;
                return self.plan(after, Occurrence::DialerEnds(id, Ok(dialled)));
            }
            Want::File(_) => return self.begin_flow(id, Flow::whole(Content { id: 0, size: 0 })),
            // Not even a line.
            Want::Metadata { .. } | Want::FileInfo | Want::Manifest { .. } => {
                self.server_done(id);
                return self.break_off(id);
            }
        };
        self.server_done(id);
        self.end_in_order(id, response);
    }

    pub(crate) fn answer_first_contact(&mut self, host: HostId, exchange: ExchangeId) {
        let id = self.owed(host, exchange);
        self.server_done(id);
        self.end_in_order(id, Response::SpeaksP1);
    }

    pub(crate) fn refuse(&mut self, host: HostId, exchange: ExchangeId) {
        let id = self.owed(host, exchange);
        self.server_done(id);
        self.break_off(id);
    }

    /// Says why, where that can be said.
    pub(crate) fn refuse_with(&mut self, host: HostId, exchange: ExchangeId, told: Option<RefusalReason>) {
        let id = self.owed(host, exchange);
        let says_why = matches!(self.conns[&id].asked, Some(Message::MetadataRequest { .. }));
        let fault = told.filter(|_| says_why).map_or(DialFault::Reset, DialFault::Declined);
        self.server_done(id);
        let latency = self.latency();
        self.plan(latency, Occurrence::DialerEnds(id, Err(fault)));
    }

    pub(crate) fn send_peer_list(&mut self, host: HostId, exchange: ExchangeId, peers: Vec<ListedPeer>) {
        let id = self.owed(host, exchange);
        self.watch_peer_list(id, &peers);
        self.server_done(id);
        self.end_in_order(id, Response::PeerList(peers));
    }

    pub(crate) fn send_list(&mut self, host: HostId, exchange: ExchangeId, attributes: bool) {
        let id = self.owed_for(host, exchange, |asked| *asked == Message::ListFiles { p1: attributes });
        self.begin_response(id, Responding::List { after: None, attributes, bytes: 0 });
    }

    pub(crate) fn send_file(&mut self, host: HostId, exchange: ExchangeId, name: FileName) {
        let found = self.hosts[host.0].disk.share.get(&name).copied();
        let id = self.owed_for(host, exchange, |asked| *asked == Message::DownloadRequest { name: name.clone() });
        if self.conns[&id].closed {
            let latency = self.latency();
            return self.plan(latency, Occurrence::Deserted(id, name));
        }
        // It may have gone since the last scan.
        self.begin_flow(id, found.map_or(Flow::broken(DiskFault::Missing), Flow::whole));
    }

    pub(crate) fn send_range(
        &mut self,
        host: HostId,
        exchange: ExchangeId,
        file: ScannedFile,
        offset: u64,
        length: u64,
    ) {
        if offset.checked_add(length).is_none_or(|end| end > file.meta.size) {
            self.violation(host, "it sends a range that is not inside the file");
        }
        let found = self.hosts[host.0].disk.unchanged(&file);
        let asked = Message::RangeRequest { offset, length, name: file.name };
        let id = self.owed_for(host, exchange, |message| *message == asked);
        let flow = found.map(|content| Flow::range(content, offset, length)).unwrap_or_else(Flow::broken);
        self.begin_flow(id, flow);
    }

    pub(crate) fn send_metadata(&mut self, host: HostId, exchange: ExchangeId, file: ScannedFile, b3: ContentHash) {
        let found = self.hosts[host.0].disk.unchanged(&file).ok();
        let asked = Message::MetadataRequest { name: file.name.clone() };
        let id = self.owed_for(host, exchange, |message| *message == asked);
        let scanned = Content { id: file.meta.inode, size: file.meta.size };
        if !self.hosts[host.0].disk.hashed.contains(&file.meta) || b3 != scanned.b3() {
            self.violation(host, "it tells a hash that the file does not have");
        }
        let metadata = found.map(|chain| Metadata { chain, b3, size: chain.size, pending: 0 });
        self.begin_response(id, Responding::Metadata(metadata));
    }

    pub(crate) fn begin_response(&mut self, id: ConnId, responding: Responding) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.responding = Some(responding);
        }
        let pause = self.latency() + self.random.below(200);
        self.plan(pause, Occurrence::Respond(id));
    }

    /// The next piece of a response.
    pub(crate) fn respond(&mut self, id: ConnId) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.frozen && !conn.stopped) else { return };
        let Some(side) = conn.server else { return };
        let Some(responding) = conn.responding.take() else { return };
        if let Responding::Flow(flowing) = responding {
            return self.respond_flow(id, side, flowing);
        }
        conn.progress = now;
        let torn = self.net.torn_per_mille;
        if self.random.chance(torn) {
            self.server_ended(id, Err(ResponseFault::Gone));
            return self.break_off(id);
        }
        match responding {
            Responding::List { after, attributes, bytes } => self.respond_list(id, side, after, attributes, bytes),
            Responding::Lines(lines) => {
                self.server_done(id);
                self.list_batch(id, lines);
                self.end_in_order(id, Response::FileList { truncated: false });
            }
            Responding::Metadata(Some(metadata)) => {
                self.server_ended(id, Ok(64));
                self.take_metadata(id, metadata);
            }
            Responding::Metadata(None) => {
                self.server_ended(id, Err(ResponseFault::Disk(DiskFault::Changed)));
                let (latency, fault) = (self.latency(), DialFault::Declined(RefusalReason::Changed));
                self.plan(latency, Occurrence::DialerEnds(id, Err(fault)));
            }
            Responding::Manifest(bytes, ending) => self.respond_manifest(id, bytes, ending),
            Responding::Flow(_) => {}
        }
    }

    fn respond_list(&mut self, id: ConnId, side: Side, after: Option<FileName>, attributes: bool, bytes: u64) {
        let rows = self.node(side.host).library().seen_by(Requester::Owner).list_after(after.as_ref(), LINES_PER_BATCH);
        let Some((last, _)) = rows.last().cloned() else {
            self.server_ended(id, Ok(bytes));
            return self.end_in_order(id, Response::FileList { truncated: false });
        };
        let line = |(name, Shared { meta, b3, .. }): (FileName, Shared)| {
            let attributes = attributes.then_some(Attributes { size: Some(meta.size), b3, more: false });
            Listed { name, attributes }
        };
        let lines: Vec<Listed> = rows.into_iter().map(line).collect();
        lines.iter().for_each(|line| self.watch_told_file(side.host, line));
        let bytes = bytes + lines.iter().map(|line| line.name.as_bytes().len() as u64 + 1).sum::<u64>();
        self.begin_response(id, Responding::List { after: Some(last), attributes, bytes });
        self.list_batch(id, lines);
    }

    fn list_batch(&mut self, id: ConnId, files: Vec<Listed>) {
        let Some(conn) = self.conns.get(&id).filter(|conn| !conn.aborted) else { return };
        let Some(dialer) = conn.dialer.filter(|_| conn.want == Want::FileList) else { return };
        let to = conn.to;
        if matches!(self.hosts[dialer.host.0].program, Program::Node(_)) {
            self.watch_list(dialer.host, to, &files);
            self.deliver(dialer.host, Event::ListBatch { exchange: dialer.exchange, files });
        }
    }

    /// Metadata reach the side that asked.
    fn take_metadata(&mut self, id: ConnId, metadata: Metadata) {
        let Some(conn) = self.conns.get(&id).filter(|conn| !conn.aborted) else { return };
        let (Some(dialer), local) = (conn.dialer, conn.local) else { return };
        let Metadata { chain, b3: said, size, pending } = metadata;
        if conn.want == Want::FileInfo {
            let response = Response::FileInfo { b3: said, size, pending };
            return self.dialer_ends(id, Ok(Dialled { local, response }));
        }
        let &Want::Metadata { download, b3 } = &conn.want else { return };
        let proved = b3.is_none_or(|wanted| wanted == said) && Outline::proves(said, chain, size);
        let outcome = match proved {
            true => self.outline_came(dialer.host, download, Outline { b3: said, size }),
            false => Err(DialFault::Corrupt),
        };
        let response = Response::Metadata { b3: said, size };
        self.dialer_ends(id, outcome.map(|()| Dialled { local, response }));
    }
}
