//! Requesters as the client of 2013 is: they ask, close, and listen on the same port some time later, for one connection.

use crate::conn::{ConnId, Side, Want};
use crate::content::Content;
use crate::host::HostId;
use crate::world::{Occurrence, World};
use pyrate::fault::{DialFault, DiskFault};
use pyrate::id::ExchangeId;
use pyrate::name::FileName;
use pyrate::node::contract::{Dialled, Event, Response, ResponseFault};
use pyrate::time::Instant;
use pyrate::wire::Message;
use std::net::SocketAddr;
use std::time::Duration;

/// A requester that has closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    listens_at: Instant,
    /// Connections that it refused.
    pub(crate) refused: u32,
    /// What it was sent.
    pub(crate) got: Option<Content>,
}

impl World {
    /// A rogue asks a node for a file, closes, and listens so long after that, where it asked from.
    pub(crate) fn ask_and_close(&mut self, rogue: HostId, node: HostId, name: &str, after: Duration) -> SocketAddr {
        self.hosts[rogue.0].dialled += 1;
        let exchange = ExchangeId::Outbound(self.hosts[rogue.0].dialled);
        let name = FileName::from_bytes(name.as_bytes()).unwrap();
        let to = self.addr(node);
        let id = self.dial(rogue, exchange, to, vec![Message::DownloadRequest { name }], Want::Nothing);
        let listens_at = self.now + after;
        let conn = self.conns.get_mut(&id).unwrap();
        conn.closed = true;
        let local = conn.local;
        self.callers.insert(local, Caller { listens_at, refused: 0, got: None });
        local
    }

    /// What a node sends to a requester that has closed is reset.
    pub(crate) fn deserted(&mut self, id: ConnId, name: FileName) {
        let Some((side, requester)) = self.conns.get(&id).and_then(|conn| Some((conn.server?, conn.local))) else {
            return;
        };
        self.server_ended(id, Err(ResponseFault::Gone));
        self.deliver(side.host, Event::RequesterClosed { requester, name, counted: 0 });
    }

    /// A node calls a requester back.
    pub(crate) fn call_back(&mut self, host: HostId, exchange: ExchangeId, to: SocketAddr, name: &FileName) {
        let Some(caller) = self.callers.get(&to) else {
            self.violation(host, &format!("{to} is called back, and has asked for nothing"))
        };
        if caller.got.is_some() {
            self.violation(host, &format!("{to} is called back again after it got its file"));
        }
        let content = self.hosts[host.0].disk.share.get(name).copied();
        let id = self.connect(host, exchange, to, Vec::new(), Want::Nothing);
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.brings = content;
            conn.dialer = Some(Side { host, exchange, command: true });
        }
        self.hosts[host.0].commands += 1;
        self.exchanges.insert((host, exchange), id);
    }

    /// The connection of a call back arrives.
    pub(crate) fn arrive_at_caller(&mut self, id: ConnId, dialer: Side, to: SocketAddr) {
        let (now, latency) = (self.now, self.latency());
        let (Some(caller), Some(conn)) = (self.callers.get_mut(&to), self.conns.get(&id)) else { return };
        if caller.got.is_some() || caller.listens_at > now {
            caller.refused += 1;
            return self.plan(latency, Occurrence::DialerEnds(id, Err(DialFault::Refused)));
        }
        let Some(content) = conn.brings else {
            return self.plan(latency, Occurrence::DialerEnds(id, Err(DialFault::Disk(DiskFault::Missing))));
        };
        caller.got = Some(content);
        let dialled = Dialled { local: conn.local, response: Response::Delivered };
        let exchange = dialer.exchange;
        self.plan(latency, Occurrence::DialerEnds(id, Ok(dialled)));
        self.deliver(dialer.host, Event::CallBackConnected { exchange });
        self.deliver(dialer.host, Event::ResponseProgress { exchange, bytes: content.size, held: false });
    }
}
