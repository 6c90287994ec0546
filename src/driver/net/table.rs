//! The connections of the loop: which are ready, their deadlines, and their descriptors.

use super::budget::{Budget, Permit, Use};
use super::eviction::{Activity, Evictions, Hold};
use super::exchange::{Inbound, Outbound, PortCheck, StreamLink};
use crate::driver::socket::Direction;
use crate::driver::tokens::CONNECTIONS;
use crate::id::ExchangeId;
use crate::network::Network;
use crate::node::Event;
use crate::time::Instant;
use crate::timer::{TimerId, TimerWheel};
use mio::{Registry, Token};
use slab::Slab;
use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;

/// Connections kept only to detect the reset of a 2013 client; beyond, the oldest is closed.
const WATCHED_MAX: usize = 512;

/// When the last connection ends, memory for more than this many is given back: 0.3 KiB for each.
const PLACES_KEPT: usize = 128;

pub(super) enum Connection {
    Inbound(Box<Inbound>),
    Outbound(Box<Outbound>),
    /// A stream to a `p1` peer. Its exchanges are not in `by_exchange`.
    Stream(StreamLink),
    /// To a registrant of our bootstrap node.
    Check(PortCheck),
}

impl Connection {
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Inbound(inbound) => inbound.deadline(),
            Self::Outbound(outbound) => outbound.deadline(),
            Self::Stream(link) => link.deadline(),
            Self::Check(check) => Some(check.deadline()),
        }
    }

    fn exchange(&self) -> Option<ExchangeId> {
        match self {
            Self::Inbound(inbound) => Some(inbound.id),
            Self::Outbound(outbound) => Some(outbound.id),
            Self::Stream(_) | Self::Check(_) => None,
        }
    }

    pub(super) fn progress(&self) -> Option<Event> {
        match self {
            Self::Inbound(inbound) => inbound.progress(),
            Self::Outbound(outbound) => outbound.progress(),
            Self::Stream(_) | Self::Check(_) => None,
        }
    }
}

struct Entry {
    connection: Connection,
    armed: Option<(TimerId, Instant)>,
    is_ready: bool,
    is_paced: bool,
    /// For the socket, and for the listener if the peer may call back.
    permit: Permit,
    /// Its place in `evictions`.
    hold: Option<Hold>,
}

/// Who asked for a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requester {
    pub(crate) addr: SocketAddr,
    /// Its connection, unless we call back.
    pub(crate) key: Option<usize>,
}

pub(super) struct Table {
    entries: Slab<Entry>,
    ready: VecDeque<usize>,
    by_exchange: HashMap<ExchangeId, usize>,
    watched: VecDeque<(usize, ExchangeId)>,
    /// Connections that wait for tokens, longest first.
    paced_up: Vec<usize>,
    paced_down: Vec<usize>,
    pub(super) budget: Budget,
    /// The order in which inbound connections are closed when descriptors run out.
    pub(super) evictions: Evictions,
    deadlines: TimerWheel<usize>,
}

impl Table {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            entries: Slab::new(),
            ready: VecDeque::new(),
            by_exchange: HashMap::new(),
            watched: VecDeque::new(),
            paced_up: Vec::new(),
            paced_down: Vec::new(),
            budget: Budget::from_system(),
            evictions: Evictions::default(),
            deadlines: TimerWheel::new(now),
        }
    }

    /// The token of the next connection to be inserted.
    pub(super) fn next_token(&self) -> Token {
        Token(self.entries.vacant_key() + CONNECTIONS.0)
    }

    pub(super) fn key_of(token: Token) -> Option<usize> {
        token.0.checked_sub(CONNECTIONS.0)
    }

    /// Adds a connection with its descriptors, arms its timer, and makes it ready.
    pub(super) fn insert(&mut self, connection: Connection, permit: Permit) -> usize {
        let exchange = connection.exchange();
        let entry = Entry { connection, armed: None, is_ready: false, is_paced: false, permit, hold: None };
        let key = self.entries.insert(entry);
        self.by_exchange.extend(exchange.map(|exchange| (exchange, key)));
        self.resume(key);
        key
    }

    /// Removes a connection and its timer, and releases its descriptors.
    pub(super) fn remove(&mut self, key: usize) -> Option<Connection> {
        let entry = self.entries.try_remove(key)?;
        if let Some(network) = network_of(&entry) {
            self.evictions.change(network, key, entry.hold, None);
        }
        if let Some((timer, _)) = entry.armed {
            self.deadlines.cancel(timer);
        }
        if let Some(exchange) = entry.connection.exchange() {
            self.by_exchange.remove(&exchange);
        }
        if self.entries.is_empty() && self.entries.capacity() > PLACES_KEPT {
            self.entries = Slab::new();
            self.by_exchange = HashMap::new();
            self.ready.shrink_to(PLACES_KEPT);
        }
        Some(entry.connection)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// All keys are below this.
    pub(super) fn places(&self) -> usize {
        self.entries.capacity()
    }

    pub(super) fn get(&self, key: usize) -> Option<&Connection> {
        self.entries.get(key).map(|entry| &entry.connection)
    }

    pub(super) fn get_mut(&mut self, key: usize) -> Option<&mut Connection> {
        self.entries.get_mut(key).map(|entry| &mut entry.connection)
    }

    pub(super) fn key(&self, exchange: ExchangeId) -> Option<usize> {
        self.by_exchange.get(&exchange).copied()
    }

    pub(super) fn inbound(&mut self, exchange: ExchangeId) -> Option<(usize, &mut Inbound)> {
        let key = self.key(exchange)?;
        match self.get_mut(key)? {
            Connection::Inbound(inbound) => Some((key, inbound)),
            _ => None,
        }
    }

    pub(super) fn inbound_ref(&self, exchange: ExchangeId) -> Option<&Inbound> {
        match self.get(self.key(exchange)?)? {
            Connection::Inbound(inbound) => Some(inbound),
            _ => None,
        }
    }

    /// Who sent the request of an exchange.
    pub(super) fn requester(&self, exchange: ExchangeId) -> Option<Requester> {
        let key = self.key(exchange)?;
        match self.get(key)? {
            Connection::Inbound(inbound) => Some(Requester { addr: inbound.from, key: Some(key) }),
            _ => None,
        }
    }

    /// The node must not use this id again; the socket stays open to drain.
    pub(super) fn forget_exchange(&mut self, key: usize) {
        if let Some(Connection::Inbound(inbound)) = self.entries.get(key).map(|entry| &entry.connection) {
            self.by_exchange.remove(&inbound.id);
            if inbound.is_watched() {
                self.watched.push_back((key, inbound.id));
            }
        }
    }

    /// The oldest watched connection, if there are too many.
    pub(super) fn surplus_watched(&mut self) -> Option<usize> {
        while self.watched.len() > WATCHED_MAX {
            let (key, exchange) = self.watched.pop_front()?;
            if let Some(Connection::Inbound(inbound)) = self.get(key)
                && inbound.id == exchange
                && inbound.is_watched()
            {
                return Some(key);
            }
        }
        None
    }

    pub(super) fn make_ready(&mut self, key: usize) {
        if let Some(entry) = self.entries.get_mut(key)
            && !entry.is_ready
        {
            entry.is_ready = true;
            self.ready.push_back(key);
            self.rank(key);
        }
    }

    pub(super) fn pop_ready(&mut self) -> Option<usize> {
        while let Some(key) = self.ready.pop_front() {
            if let Some(entry) = self.entries.get_mut(key)
                && std::mem::take(&mut entry.is_ready)
            {
                return Some(key);
            }
        }
        None
    }

    /// Makes a connection wait for tokens. Returns whether it is the first.
    pub(super) fn wait_for_tokens(&mut self, key: usize, direction: Direction) -> bool {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.is_paced = true;
        }
        let waiting = self.paced(direction);
        if waiting.contains(&key) {
            return false;
        }
        waiting.push(key);
        waiting.len() == 1
    }

    /// Whether a connection waits for tokens: readiness of its socket then does not make it ready.
    pub(super) fn is_paced(&self, key: usize) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.is_paced)
    }

    /// Makes all connections ready that wait for tokens. Returns their number.
    pub(super) fn wake_paced(&mut self, direction: Direction) -> usize {
        let mut waiting = std::mem::take(self.paced(direction));
        // Connections closed meanwhile get no share.
        waiting.retain(|key| self.entries.contains(*key));
        for key in &waiting {
            if let Some(entry) = self.entries.get_mut(*key) {
                entry.is_paced = false;
            }
            self.make_ready(*key);
        }
        waiting.len()
    }

    fn paced(&mut self, direction: Direction) -> &mut Vec<usize> {
        match direction {
            Direction::Up => &mut self.paced_up,
            Direction::Down => &mut self.paced_down,
        }
    }

    /// At least the number of connections that are ready: closed ones count too.
    pub(super) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Updates the place of an inbound connection in the order of eviction.
    fn rank(&mut self, key: usize) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let (Some(network), Connection::Inbound(inbound)) = (network_of(entry), &entry.connection) else { return };
        let activity = inbound.activity().map(|activity| match activity {
            // It may have sent its message, which we have not read.
            Activity::NoMessage(since) if entry.is_ready => Activity::Waiting(Reverse(since)),
            activity => activity,
        });
        let new = activity.map(|activity| Hold { activity, file: inbound.file_id() });
        if entry.hold != new {
            let old = std::mem::replace(&mut entry.hold, new);
            self.evictions.change(network, key, old, new);
        }
    }

    /// Has epoll watch a connection that waits, unless it does.
    pub(super) fn ensure_watched(&mut self, key: usize, registry: &Registry) -> io::Result<()> {
        match self.entries.get_mut(key) {
            Some(Entry { connection: Connection::Inbound(inbound), is_ready, .. }) if waits(inbound, *is_ready) => {
                inbound.socket_mut().ensure_registered(registry, Token(key + CONNECTIONS.0))
            }
            // The others are registered as they are made.
            _ => Ok(()),
        }
    }

    /// Whether epoll watches all connections but those that are ready.
    pub(super) fn has_all_watched(&self) -> bool {
        self.entries.iter().all(|(_, entry)| match &entry.connection {
            Connection::Inbound(inbound) => entry.is_ready || inbound.socket().is_registered(),
            _ => true,
        })
    }

    /// After a step of a connection: arms its timer for its present deadline, and updates its place in the order of eviction.
    pub(super) fn arm(&mut self, key: usize) {
        self.rank(key);
        let Some(entry) = self.entries.get_mut(key) else { return };
        let deadline = entry.connection.deadline();
        if entry.armed.map(|(_, at)| at) == deadline {
            return;
        }
        if let Some((timer, _)) = entry.armed.take() {
            self.deadlines.cancel(timer);
        }
        entry.armed = deadline.map(|at| (self.deadlines.insert(at, key), at));
    }

    /// After an order to a connection: arms its timer and makes it ready.
    pub(super) fn resume(&mut self, key: usize) {
        self.make_ready(key);
        self.arm(key);
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next_deadline()
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<usize> {
        let key = self.deadlines.expire(now)?;
        if let Some(entry) = self.entries.get_mut(key) {
            entry.armed = None;
        }
        Some(key)
    }
}

/// Whether a connection waits for its socket. One that has seen a call block does, though it is ready: it may be made ready for
/// other reasons, turn after turn, and epoll alone tells when the call is worth another attempt.
fn waits(inbound: &Inbound, is_ready: bool) -> bool {
    !is_ready || inbound.socket().has_blocked()
}

fn network_of(entry: &Entry) -> Option<Network> {
    match entry.permit.by() {
        Use::Inbound(address) => Some(Network::of(address)),
        Use::File | Use::Own => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::interface::Interface;
    use crate::wire::Message;
    use std::net::TcpListener;

    /// A connection of ours to a listener.
    fn dial(table: &mut Table, n: u64, to: &TcpListener, poll: &mio::Poll) -> usize {
        let task = crate::driver::net::exchange::Task::Messages {
            messages: vec![Message::Keepalive { port: 1, p1: true }],
            expect: crate::node::contract::Expect::Nothing,
            connect_max: std::time::Duration::MAX,
        };
        let (id, to, now) = (ExchangeId::Outbound(n), to.local_addr().unwrap(), Instant::from_ms(0));
        let token = table.next_token();
        let outbound = Outbound::dial(id, to, task, &Interface::default(), poll.registry(), token, now).unwrap();
        let permit = table.budget.take(Use::Own).unwrap();
        table.insert(Connection::Outbound(Box::new(outbound)), permit)
    }

    #[test]
    fn a_connection_that_we_have_not_read_is_not_idle() {
        use crate::driver::net::exchange::Service;
        use crate::driver::socket::Socket;
        let poll = mio::Poll::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, from) = listener.accept().unwrap();
        let stream = mio::net::TcpStream::from_std(stream);
        let (now, later) = (Instant::from_ms(0), Instant::from_ms(60_000));
        let mut table = Table::new(now);
        let socket = Socket::register(stream, poll.registry(), table.next_token()).unwrap();
        let inbound = Inbound::new(ExchangeId::Inbound(1), from, Service::Peer, socket, now);
        let permit = table.budget.take(Use::Inbound(from.ip())).unwrap();
        let key = table.insert(Connection::Inbound(Box::new(inbound)), permit);
        assert_eq!(table.evictions.idle_victim(later), None, "its message may be there");
        // After a step that read nothing.
        assert_eq!(table.pop_ready(), Some(key));
        table.arm(key);
        assert_eq!(table.evictions.idle_victim(later), Some(key));
        table.make_ready(key);
        assert_eq!(table.evictions.idle_victim(later), None, "something has come");
    }

    #[test]
    fn connections_wait_once_for_tokens_and_are_woken_together() {
        let (poll, listener) = (mio::Poll::new().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let mut table = Table::new(Instant::from_ms(0));
        let insert = |table: &mut Table, n| dial(table, n, &listener, &poll);
        let (one, two) = (insert(&mut table, 1), insert(&mut table, 2));
        while table.pop_ready().is_some() {}
        assert!(table.wait_for_tokens(one, Direction::Down), "the first sets the timer");
        assert!(!table.wait_for_tokens(one, Direction::Down), "and it is queued once");
        assert!(!table.wait_for_tokens(two, Direction::Down));
        assert!(table.is_paced(one) && table.is_paced(two));
        assert_eq!((table.wake_paced(Direction::Up), table.wake_paced(Direction::Down)), (0, 2));
        assert!(!table.is_paced(one));
        assert_eq!((table.pop_ready(), table.pop_ready(), table.pop_ready()), (Some(one), Some(two), None));
        assert!(table.wait_for_tokens(two, Direction::Down), "a new round");
        table.remove(two);
        assert_eq!(table.wake_paced(Direction::Down), 0, "a closed connection gets no share");
    }

    #[test]
    fn after_many_connections_their_memory_is_given_back() {
        let (poll, listener) = (mio::Poll::new().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let mut table = Table::new(Instant::from_ms(0));
        for _ in 0..2 {
            let keys: Vec<usize> = (0..=PLACES_KEPT as u64).map(|n| dial(&mut table, n, &listener, &poll)).collect();
            assert!(table.entries.capacity() > PLACES_KEPT);
            for key in keys {
                assert!(table.remove(key).is_some());
            }
            assert_eq!((table.len(), table.by_exchange.len(), table.entries.capacity()), (0, 0, 0));
        }
    }
}
