//! What the side that was dialled does with a connection: closes it, refuses, or sends a response piece by piece.

use crate::disk::{Content, Written};
use crate::host::{HostId, Program};
use crate::links::{ConnId, Side, Want};
use crate::rogue::Answer;
use crate::world::{Occurrence, World};
use pyrate::fault::{DialFault, DiskFault};
use pyrate::id::{ExchangeId, TransferId};
use pyrate::library::FileMeta;
use pyrate::name::FileName;
use pyrate::node::contract::{Event, Response, ResponseFault};
use pyrate::wire::{Attributes, Listed};
use std::net::SocketAddr;

/// Lines of a list that travel together.
const LINES_PER_BATCH: usize = 100;

/// A response on its way.
#[derive(Debug)]
pub(crate) enum Responding {
    List { after: Option<FileName>, attributes: bool, bytes: u64 },
    Lines(Vec<Listed>),
    File { content: Content, sent: u64, break_at: u64 },
}

impl World {
    pub(crate) fn answer_of_rogue(&mut self, id: ConnId, side: Side, answer: Answer) {
        match answer {
            Answer::Close => self.close(side.host, side.exchange),
            Answer::Refuse => self.refuse(side.host, side.exchange),
            Answer::Silence => {}
            Answer::List(lines) => self.begin_response(id, Responding::Lines(lines)),
            Answer::File(content) => {
                self.begin_response(id, Responding::File { content, sent: 0, break_at: u64::MAX });
            }
            Answer::Half(content) => {
                self.begin_response(id, Responding::File { content, sent: 0, break_at: content.size / 2 });
            }
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

    pub(crate) fn close(&mut self, host: HostId, exchange: ExchangeId) {
        let id = self.owed(host, exchange);
        let conn = &self.conns[&id];
        if conn.owed > 0 || !conn.messages.is_empty() {
            return;
        }
        let response = match conn.want {
            Want::Nothing => Response::Delivered,
            Want::PeerList => Response::PeerList(Vec::new()),
            Want::FileList => Response::FileList { truncated: false },
            Want::File(..) => Response::File { bytes: 0 },
        };
        if let Want::File(download, ..) = conn.want {
            self.write(id, download, Written::Whole(Content { id: 0, size: 0 }));
        }
        self.server_done(id);
        self.end_in_order(id, response);
    }

    pub(crate) fn refuse(&mut self, host: HostId, exchange: ExchangeId) {
        let id = self.owed(host, exchange);
        self.server_done(id);
        self.break_off(id);
    }

    pub(crate) fn send_peer_list(&mut self, host: HostId, exchange: ExchangeId, peers: Vec<SocketAddr>) {
        let id = self.owed(host, exchange);
        self.server_done(id);
        self.end_in_order(id, Response::PeerList(peers));
    }

    pub(crate) fn send_list(&mut self, host: HostId, exchange: ExchangeId, attributes: bool) {
        let id = self.owed(host, exchange);
        self.count_command(id, host);
        self.begin_response(id, Responding::List { after: None, attributes, bytes: 0 });
    }

    pub(crate) fn send_file(&mut self, host: HostId, exchange: ExchangeId, name: &FileName) {
        let id = self.owed(host, exchange);
        self.count_command(id, host);
        match self.hosts[host.0].disk.share.get(name).copied() {
            Some(content) => self.begin_response(id, Responding::File { content, sent: 0, break_at: u64::MAX }),
            // It went since the last scan: no bytes, and the event must not come before the action is done.
            None => {
                self.begin_response(id, Responding::File { content: Content { id: 0, size: 1 }, sent: 0, break_at: 0 })
            }
        }
    }

    fn count_command(&mut self, id: ConnId, host: HostId) {
        self.hosts[host.0].commands += 1;
        if let Some(side) = self.conns.get_mut(&id).and_then(|conn| conn.server.as_mut()) {
            side.command = true;
        }
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
            Responding::File { content, sent, break_at } => self.respond_file(id, side, content, sent, break_at),
        }
    }

    fn respond_list(&mut self, id: ConnId, side: Side, after: Option<FileName>, attributes: bool, bytes: u64) {
        let rows = self.node(side.host).library().list_after(after.as_ref(), LINES_PER_BATCH);
        let Some((last, _)) = rows.last().cloned() else {
            self.server_ended(id, Ok(bytes));
            return self.end_in_order(id, Response::FileList { truncated: false });
        };
        let line = |(name, meta): (FileName, FileMeta)| {
            let attributes = attributes.then_some(Attributes { size: Some(meta.size), b3: None });
            Listed { name, attributes }
        };
        let lines: Vec<Listed> = rows.into_iter().map(line).collect();
        let bytes = bytes + lines.iter().map(|line| line.name.as_bytes().len() as u64 + 1).sum::<u64>();
        self.begin_response(id, Responding::List { after: Some(last), attributes, bytes });
        self.list_batch(id, lines);
    }

    fn list_batch(&mut self, id: ConnId, files: Vec<Listed>) {
        let Some(conn) = self.conns.get(&id).filter(|conn| !conn.aborted) else { return };
        let Some(dialer) = conn.dialer.filter(|_| conn.want == Want::FileList) else { return };
        if matches!(self.hosts[dialer.host.0].program, Program::Node(_)) {
            self.deliver(dialer.host, Event::ListBatch { exchange: dialer.exchange, files });
        }
    }

    fn respond_file(&mut self, id: ConnId, side: Side, content: Content, sent: u64, break_at: u64) {
        if sent >= break_at {
            self.server_ended(id, Err(ResponseFault::Disk(DiskFault::Missing)));
            return self.break_off(id);
        }
        let is_node = matches!(self.hosts[side.host.0].program, Program::Node(_));
        let piece = (content.size / 4).max(1_000_000).min(content.size - sent);
        let sent = sent + piece;
        let want = self.conns[&id].want;
        if matches!(want, Want::File(_, _, Some(size_max)) if sent > size_max) {
            // The dialer takes the first byte beyond the limit for the end; the server hears of it in time.
            self.begin_response(id, Responding::File { content, sent, break_at });
            self.fetch_progress(id, sent);
            return self.dialer_ends(id, Err(DialFault::TooLong));
        }
        if piece == 0 || sent == content.size {
            self.server_ended(id, Ok(content.size));
            if let Want::File(download, ..) = want {
                self.write(id, download, Written::Whole(content));
                self.end_in_order(id, Response::File { bytes: content.size });
            }
            return;
        }
        self.begin_response(id, Responding::File { content, sent, break_at });
        if is_node {
            self.deliver(side.host, Event::ResponseProgress { exchange: side.exchange, bytes: sent });
        }
        self.fetch_progress(id, sent);
    }

    fn fetch_progress(&mut self, id: ConnId, bytes: u64) {
        let Some(conn) = self.conns.get(&id).filter(|conn| !conn.aborted) else { return };
        if let (Some(dialer), Want::File(..)) = (conn.dialer, conn.want) {
            self.deliver(dialer.host, Event::FetchProgress { exchange: dialer.exchange, bytes });
        }
    }

    fn write(&mut self, id: ConnId, download: TransferId, written: Written) {
        let Some(conn) = self.conns.get(&id).filter(|conn| !conn.aborted) else { return };
        let Some(dialer) = conn.dialer else { return };
        if let Some(part) = self.hosts[dialer.host.0].disk.parts.get_mut(&download) {
            part.written = written;
        }
    }
}
