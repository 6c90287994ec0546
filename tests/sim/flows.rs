//! Bytes on their way: a sender's pieces at its rate, and what the fetch on the other side makes of each.

use crate::conn::{Conn, ConnId, Side, Taking, Want};
use crate::content::{Content, Outline, Spoils};
use crate::disk::Stage;
use crate::host::{HostId, Program};
use crate::world::{Occurrence, World};
use pyrate::content::{GROUP_BYTES, group_span};
use pyrate::fault::{DialFault, DiskFault};
use pyrate::node::contract::{Dialled, Event, Portion, Response, ResponseFault};
use pyrate::time::Instant;
use std::time::Duration;

/// The rate of a host that has no other, in bytes a second.
pub(crate) const RATE: u64 = 40_000_000;

/// Least time between two reports of progress.
const REPORT_INTERVAL: Duration = Duration::from_millis(250);

/// What must have moved before it counts as progress, but for the first bytes.
const TRANSFER_BYTES_MIN: u64 = 16 * 1024;

/// How often a response is torn where a small one is torn once.
const TORN_TIMES: u64 = 3;

/// How a flow ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Fin,
    Reset(DiskFault),
    /// Nothing more, for ever.
    Silence,
}

/// What somebody sends as a file, or as a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Whose bytes these are.
    pub(crate) content: Content,
    /// From where in it.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) length: u64,
    pub(crate) spoils: Spoils,
    pub(crate) ending: Ending,
    /// Bytes a second, in place of the host's rate.
    pub(crate) rate: Option<u64>,
}

impl Flow {
    /// All of a content.
    pub(crate) fn whole(content: Content) -> Self {
        Self::range(content, 0, content.size)
    }

    pub(crate) fn range(content: Content, offset: u64, length: u64) -> Self {
        Self { content, offset, length, spoils: Spoils::Nothing, ending: Ending::Fin, rate: None }
    }

    /// No byte, and a reset.
    pub(crate) fn broken(fault: DiskFault) -> Self {
        let nothing = Content { id: 0, size: 0 };
        Self { ending: Ending::Reset(fault), ..Self::whole(nothing) }
    }

    /// The group at a place of the file, as it is sent.
    fn group_sent(&self, group: u64) -> Content {
        if self.spoils.group(group) { self.content.spoilt() } else { self.content }
    }

    /// The first bytes, as one content.
    fn beginning(&self, bytes: u64) -> Content {
        let sent = Content { size: bytes, ..self.content };
        if self.spoils.beginning(bytes) || self.offset > 0 { sent.spoilt() } else { sent }
    }
}

/// How far a flow is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flowing {
    pub(crate) flow: Flow,
    sent: u64,
    /// Bytes of the piece that is on its way.
    piece: u64,
    /// What rounding left over, in microseconds.
    carry_us: u64,
    /// The network tears it here.
    tear_at: Option<u64>,
    told: Instant,
    /// Where the last progress was that counts.
    progress: u64,
}

impl World {
    pub(crate) fn begin_flow(&mut self, id: ConnId, flow: Flow) {
        let torn = self.net.torn_per_mille * TORN_TIMES;
        let tear_at = self.random.chance(torn).then(|| self.random.below(flow.length.max(1)));
        let (now, server) = (self.now, self.conns.get(&id).and_then(|conn| conn.server));
        if let (Some(server), Some(conn)) = (server, self.conns.get_mut(&id)) {
            conn.uploading = true;
            self.hosts[server.host.0].uploads += 1;
        }
        let pause = self.latency();
        let flowing = Flowing { flow, sent: 0, piece: 0, carry_us: pause * 1000, tear_at, told: now, progress: 0 };
        self.next_piece(id, flowing);
    }

    /// Sends the next piece: to the end of a group, of the flow, or of a second.
    fn next_piece(&mut self, id: ConnId, mut flowing: Flowing) {
        let Some(side) = self.conns.get(&id).and_then(|conn| conn.server) else { return };
        let host = &self.hosts[side.host.0];
        let rate = (flowing.flow.rate.unwrap_or(host.rate) / host.uploads.max(1)).max(1);
        let at = flowing.flow.offset + flowing.sent;
        let end = flowing.tear_at.unwrap_or(u64::MAX).min(flowing.flow.length) - flowing.sent;
        flowing.piece = (GROUP_BYTES - at % GROUP_BYTES).min(rate).min(end);
        let us = flowing.carry_us + flowing.piece * 1_000_000 / rate;
        flowing.carry_us = us % 1000;
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.responding = Some(crate::responses::Responding::Flow(flowing));
        }
        self.plan(us / 1000, Occurrence::Respond(id));
    }

    /// A piece arrives.
    pub(crate) fn respond_flow(&mut self, id: ConnId, side: Side, mut flowing: Flowing) {
        flowing.sent += flowing.piece;
        let (flow, sent) = (flowing.flow, flowing.sent);
        if let Some(conn) = self.conns.get_mut(&id) {
            if flowing.progress == 0 || sent - flowing.progress >= TRANSFER_BYTES_MIN {
                conn.progress = self.now;
                flowing.progress = sent;
            }
            conn.responding = Some(crate::responses::Responding::Flow(flowing));
        }
        if flowing.piece > 0 {
            self.take_piece(id, &flow, sent);
        }
        // What the other side did of it may have ended this one.
        let going = self.conns.get(&id).is_some_and(|conn| conn.server.is_some() && !conn.stopped);
        if !going {
            return;
        }
        if flowing.tear_at == Some(sent) {
            self.server_ended(id, Err(ResponseFault::Gone));
            return self.break_off(id);
        }
        if sent == flow.length {
            return self.end_flow(id, flow, sent);
        }
        let now = self.now;
        let is_node = matches!(self.hosts[side.host.0].program, Program::Node(_));
        if is_node && now.saturating_since(flowing.told) >= REPORT_INTERVAL {
            flowing.told = now;
            self.next_piece(id, flowing);
            self.deliver(side.host, Event::ResponseProgress { exchange: side.exchange, bytes: sent, held: false });
        } else {
            self.next_piece(id, flowing);
        }
    }

    fn end_flow(&mut self, id: ConnId, flow: Flow, sent: u64) {
        match flow.ending {
            Ending::Fin => {
                self.server_ended(id, Ok(sent));
                let received = self.conns.get(&id).and_then(Conn::taking).map(|taking| taking.received);
                if let Some(bytes) = received {
                    self.end_in_order(id, Response::File { bytes });
                }
            }
            Ending::Reset(fault) => {
                self.server_ended(id, Err(ResponseFault::Disk(fault)));
                self.break_off(id);
            }
            Ending::Silence => {}
        }
    }

    /// A piece reaches a fetch.
    fn take_piece(&mut self, id: ConnId, flow: &Flow, sent: u64) {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.aborted) else { return };
        let Some(dialer) = conn.dialer else { return };
        let Want::File(taking) = &mut conn.want else { return };
        taking.received = sent;
        let taking = taking.clone();
        if self.hosts[dialer.host.0].disk.parts.get(&taking.download).is_none_or(|part| part.stage != Stage::Open) {
            self.violation(dialer.host, &format!("bytes come for {:?}, which is not open", taking.download));
        }
        match taking.portion {
            Portion::Stream { size_max } => self.take_stream(id, dialer.host, flow, &taking, size_max),
            Portion::Whole | Portion::Groups(_) => while self.take_group(id, dialer, flow) {},
        }
        self.fetch_progress(id, false);
    }

    fn take_stream(&mut self, id: ConnId, host: HostId, flow: &Flow, taking: &Taking, size_max: Option<u64>) {
        if size_max.is_some_and(|size_max| taking.received > size_max) {
            return self.dialer_ends(id, Err(DialFault::TooLong));
        }
        let disk = &mut self.hosts[host.0].disk;
        if let Some(fault) = disk.fault {
            return self.dialer_ends(id, Err(DialFault::Disk(fault)));
        }
        if let Some(file) = disk.file_of(taking.download) {
            file.stream = Some(flow.beginning(taking.received));
        }
    }

    /// Takes the next group that is there whole. False when there is none, or the fetch is over.
    fn take_group(&mut self, id: ConnId, dialer: Side, flow: &Flow) -> bool {
        let Some(conn) = self.conns.get(&id).filter(|conn| !conn.aborted && conn.dialer.is_some()) else {
            return false;
        };
        let Some(taking) = conn.taking().cloned() else { return false };
        let (local, bytes) = (conn.local, taking.received);
        let Some(outline) = self.outline_of(dialer.host, &taking) else { return false };
        let (begin, end) = match &taking.portion {
            Portion::Groups(groups) => (group_span(outline.size, groups.start).start, taking.groups_end),
            _ => (0, outline.groups()),
        };
        if taking.group >= end {
            match taking.portion {
                Portion::Groups(_) => self.dialer_ends(id, Ok(Dialled { local, response: Response::File { bytes } })),
                _ if bytes > outline.size => self.dialer_ends(id, Err(DialFault::TooLong)),
                _ => {}
            }
            return false;
        }
        let (group, span) = (taking.group, group_span(outline.size, taking.group));
        if begin + bytes < span.end {
            return false;
        }
        if let Some(conn) = self.conns.get_mut(&id)
            && let Want::File(taking) = &mut conn.want
        {
            taking.group += 1;
        }
        let misplaced = flow.offset != begin;
        let right = !misplaced && outline.is_right(group, flow.group_sent(group), span.start);
        let disk = &mut self.hosts[dialer.host.0].disk;
        let (fault, file) = (disk.fault, disk.file_of(taking.download));
        let Some(file) = file else { return false };
        let known = file.journal.contains_key(&group);
        if known && taking.portion == Portion::Whole {
            return true;
        }
        if !right {
            self.dialer_ends(id, Err(DialFault::Corrupt));
            return false;
        }
        if let (Some(fault), false) = (fault, known) {
            self.dialer_ends(id, Err(DialFault::Disk(fault)));
            return false;
        }
        if !known {
            file.write_group(group, flow.group_sent(group));
        }
        self.deliver(dialer.host, Event::GroupVerified { exchange: dialer.exchange, group });
        true
    }

    fn outline_of(&mut self, host: HostId, taking: &Taking) -> Option<Outline> {
        self.hosts[host.0].disk.file_of(taking.download)?.outline
    }

    /// Tells a fetch's node of bytes that it was not told of, if it is time or the end.
    pub(crate) fn fetch_progress(&mut self, id: ConnId, ending: bool) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.aborted) else { return };
        let Some(dialer) = conn.dialer else { return };
        let Want::File(taking) = &mut conn.want else { return };
        let due = ending || taking.told_at.is_none_or(|at| now.saturating_since(at) >= REPORT_INTERVAL);
        if taking.received > taking.told && due {
            (taking.told, taking.told_at) = (taking.received, Some(now));
            let bytes = taking.received;
            self.deliver(dialer.host, Event::FetchProgress { exchange: dialer.exchange, bytes });
        }
    }
}
