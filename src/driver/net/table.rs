//! The connections of the loop: who is ready, whose deadline comes when, and the descriptors that they hold.

use crate::driver::front::control::ControlClient;
use crate::driver::net::budget::{Budget, Exhausted, Use};
use crate::driver::net::eviction::{Evictions, Hold};
use crate::driver::net::exchange::{Inbound, Outbound, PortCheck, StreamLink};
use crate::driver::net::pace::Direction;
use crate::driver::net::timers::Timer;
use crate::id::{ClientId, ExchangeId};
use crate::network::Network;
use crate::node::Event;
use crate::time::Instant;
use crate::timer::{TimerId, TimerWheel};
use mio::Token;
use slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

/// Tokens below belong to listeners, signals and the waker.
const TOKENS_FIXED: usize = 8;

/// Connections that are kept only to watch for the reset of a 2013 client; the oldest gives way.
const WATCHED_MAX: usize = 512;

/// One connection.
pub(in crate::driver) enum Connection {
    /// Accepted.
    Inbound(Inbound),
    /// Dialled.
    Outbound(Box<Outbound>),
    /// A stream to a `p1` peer. The table does not know its exchanges.
    Stream(Box<StreamLink>),
    /// To a registrant of our bootstrap node.
    Check(Box<PortCheck>),
    /// A client of the control socket.
    Client(ControlClient),
}

impl Connection {
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Inbound(inbound) => inbound.deadline(),
            Self::Outbound(outbound) => outbound.deadline(),
            Self::Stream(link) => link.deadline(),
            Self::Check(check) => Some(check.deadline()),
            Self::Client(client) => client.deadline(),
        }
    }

    /// How far what it sends is, if it sends a response.
    pub(in crate::driver) fn progress(&self) -> Option<Event> {
        match self {
            Self::Inbound(inbound) => inbound.progress(),
            Self::Outbound(outbound) => outbound.progress(),
            Self::Stream(_) | Self::Check(_) | Self::Client(_) => None,
        }
    }
}

struct Entry {
    connection: Connection,
    armed: Option<(TimerId, Instant)>,
    is_ready: bool,
    /// It waits for tokens.
    is_paced: bool,
    descriptors: Descriptors,
    /// What the order of the inbound ones says of it.
    hold: Option<Hold>,
}

/// Who asked for a file.
#[derive(Debug, Clone, Copy)]
pub(in crate::driver) struct Requester {
    pub(in crate::driver) addr: SocketAddr,
    /// The connection on which it waits, unless it is called back.
    pub(in crate::driver) key: Option<usize>,
}

/// What an entry holds of the budget.
#[derive(Debug, Clone, Copy)]
struct Descriptors {
    /// The socket; control clients live from the reserve.
    socket: Option<Use>,
    /// Files and further sockets.
    more: usize,
}

/// All connections.
pub(in crate::driver) struct Table {
    entries: Slab<Entry>,
    ready: VecDeque<usize>,
    by_exchange: HashMap<ExchangeId, usize>,
    by_client: HashMap<ClientId, usize>,
    watched: VecDeque<(usize, ExchangeId)>,
    /// Those that wait for tokens, in the order in which they ran out.
    paced_up: Vec<usize>,
    paced_down: Vec<usize>,
    budget: Budget,
    evictions: Evictions,
}

impl Table {
    pub(in crate::driver) fn new() -> Self {
        Self {
            entries: Slab::new(),
            ready: VecDeque::new(),
            by_exchange: HashMap::new(),
            by_client: HashMap::new(),
            watched: VecDeque::new(),
            paced_up: Vec::new(),
            paced_down: Vec::new(),
            budget: Budget::from_system(),
            evictions: Evictions::default(),
        }
    }

    /// The token that the next inserted connection will have.
    pub(in crate::driver) fn next_token(&self) -> Token {
        Token(self.entries.vacant_key() + TOKENS_FIXED)
    }

    /// The key of a connection's token.
    pub(in crate::driver) fn key_of(token: Token) -> Option<usize> {
        token.0.checked_sub(TOKENS_FIXED)
    }

    /// Takes a descriptor for a connection that is about to be inserted, or for a file.
    pub(in crate::driver) fn take(&mut self, by: Use) -> Result<(), Exhausted> {
        self.budget.take(by)
    }

    /// Gives back what [`Table::take`] gave and nothing was inserted for.
    pub(in crate::driver) fn give_back(&mut self, by: Use) {
        self.budget.give_back(by);
    }

    /// Whether a connection from outside would find a descriptor.
    pub(in crate::driver) fn has_room(&self) -> bool {
        self.budget.has_room()
    }

    /// Adds a connection whose descriptor was taken by `socket` (and `more` by [`Use::Own`]), and makes it ready.
    pub(in crate::driver) fn insert(&mut self, connection: Connection, socket: Option<Use>, more: usize) -> usize {
        let exchange = match &connection {
            Connection::Inbound(inbound) => Some(inbound.id()),
            Connection::Outbound(outbound) => Some(outbound.id()),
            Connection::Stream(_) | Connection::Check(_) | Connection::Client(_) => None,
        };
        let client = match &connection {
            Connection::Client(client) => Some(client.id()),
            _ => None,
        };
        let descriptors = Descriptors { socket, more };
        let entry = Entry { connection, armed: None, is_ready: false, is_paced: false, descriptors, hold: None };
        let key = self.entries.insert(entry);
        self.rank(key);
        if let Some(exchange) = exchange {
            self.by_exchange.insert(exchange, key);
        }
        if let Some(client) = client {
            self.by_client.insert(client, key);
        }
        self.make_ready(key);
        key
    }

    /// Takes a connection out, with its deadline, its names and its descriptors.
    pub(in crate::driver) fn remove(&mut self, key: usize, timers: &mut TimerWheel<Timer>) -> Option<Connection> {
        let entry = self.entries.try_remove(key)?;
        if let Some(network) = network_of(&entry) {
            self.evictions.change(network, key, entry.hold, None);
        }
        if let Some((timer, _)) = entry.armed {
            timers.cancel(timer);
        }
        if let Some(by) = entry.descriptors.socket {
            self.budget.give_back(by);
        }
        let more = if let Connection::Inbound(_) = entry.connection { Use::File } else { Use::Own };
        for _ in 0..entry.descriptors.more {
            self.budget.give_back(more);
        }
        match &entry.connection {
            Connection::Inbound(inbound) => self.by_exchange.remove(&inbound.id()),
            Connection::Outbound(outbound) => self.by_exchange.remove(&outbound.id()),
            Connection::Stream(_) | Connection::Check(_) => None,
            Connection::Client(client) => self.by_client.remove(&client.id()),
        };
        Some(entry.connection)
    }

    /// Remembers that an inbound connection holds a file, for which [`Use::File`] was taken.
    pub(in crate::driver) fn holds_file(&mut self, key: usize) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.descriptors.more += 1;
        }
        self.rank(key);
    }

    pub(in crate::driver) fn get_mut(&mut self, key: usize) -> Option<&mut Connection> {
        self.entries.get_mut(key).map(|entry| &mut entry.connection)
    }

    /// The key of an exchange that the node may name.
    pub(in crate::driver) fn key(&self, exchange: ExchangeId) -> Option<usize> {
        self.by_exchange.get(&exchange).copied()
    }

    /// The key of an exchange that the node may name and that a peer began, and this peer.
    pub(in crate::driver) fn requester(&self, exchange: ExchangeId) -> Option<(usize, Requester)> {
        let key = self.key(exchange)?;
        match &self.entries.get(key)?.connection {
            Connection::Inbound(inbound) => Some((key, Requester { addr: inbound.from(), key: Some(key) })),
            _ => None,
        }
    }

    /// The key of a control client.
    pub(in crate::driver) fn client_key(&self, client: ClientId) -> Option<usize> {
        self.by_client.get(&client).copied()
    }

    /// Control clients connected.
    pub(in crate::driver) fn clients(&self) -> usize {
        self.by_client.len()
    }

    /// The control client that has been idle for longest, of those that may give way.
    pub(in crate::driver) fn idlest_client(&self, now: Instant) -> Option<usize> {
        let idle_since = |key: &usize| match self.entries.get(*key).map(|entry| &entry.connection) {
            Some(Connection::Client(client)) => client.idle_since(now).map(|since| (since, client.id(), *key)),
            _ => None,
        };
        self.by_client.values().filter_map(idle_since).min().map(|(_, _, key)| key)
    }

    /// Whether every control client has read what was for it.
    pub(in crate::driver) fn clients_are_flushed(&self) -> bool {
        self.by_client.values().all(|key| match self.entries.get(*key).map(|entry| &entry.connection) {
            Some(Connection::Client(client)) => client.is_flushed(),
            _ => true,
        })
    }

    /// The node may not name this exchange any more, though its connection lingers.
    pub(in crate::driver) fn forget_exchange(&mut self, key: usize) {
        if let Some(Connection::Inbound(inbound)) = self.entries.get(key).map(|entry| &entry.connection) {
            self.by_exchange.remove(&inbound.id());
            if inbound.is_watched() {
                self.watched.push_back((key, inbound.id()));
            }
        }
    }

    /// The oldest watched connection, when there are too many.
    pub(in crate::driver) fn surplus_watched(&mut self) -> Option<usize> {
        while self.watched.len() > WATCHED_MAX {
            let (key, exchange) = self.watched.pop_front()?;
            if let Some(Connection::Inbound(inbound)) = self.entries.get(key).map(|entry| &entry.connection)
                && inbound.id() == exchange
                && inbound.is_watched()
            {
                return Some(key);
            }
        }
        None
    }

    /// Gives a connection its turn.
    pub(in crate::driver) fn make_ready(&mut self, key: usize) {
        if let Some(entry) = self.entries.get_mut(key)
            && !entry.is_ready
        {
            entry.is_ready = true;
            self.ready.push_back(key);
        }
    }

    /// The connection whose turn it is.
    pub(in crate::driver) fn pop_ready(&mut self) -> Option<usize> {
        while let Some(key) = self.ready.pop_front() {
            if let Some(entry) = self.entries.get_mut(key)
                && std::mem::take(&mut entry.is_ready)
            {
                return Some(key);
            }
        }
        None
    }

    /// Lets a connection wait for tokens. Says whether it is the first to do so.
    pub(in crate::driver) fn wait_for_tokens(&mut self, key: usize, direction: Direction) -> bool {
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

    /// Whether a connection waits for tokens: that it could move bytes is then no reason to give it its turn.
    pub(in crate::driver) fn is_paced(&self, key: usize) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.is_paced)
    }

    /// Gives all that wait for tokens their turn. Says how many there were.
    pub(in crate::driver) fn wake_paced(&mut self, direction: Direction) -> usize {
        let mut waiting = std::mem::take(self.paced(direction));
        // Those that are over by now make no claim.
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

    /// How many connections wait for their turn, at most.
    pub(in crate::driver) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// The order in which inbound connections give way.
    pub(in crate::driver) fn evictions(&self) -> &Evictions {
        &self.evictions
    }

    /// An idle stream of a network that has too many.
    pub(in crate::driver) fn next_surplus_stream(&mut self) -> Option<usize> {
        self.evictions.next_surplus_stream()
    }

    /// Takes note of what an inbound connection does by now.
    fn rank(&mut self, key: usize) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let (Some(network), Connection::Inbound(inbound)) = (network_of(entry), &entry.connection) else { return };
        let descriptors = 1 + entry.descriptors.more;
        let new = inbound.standing().map(|standing| Hold { standing, descriptors });
        if entry.hold != new {
            let old = std::mem::replace(&mut entry.hold, new);
            self.evictions.change(network, key, old, new);
        }
    }

    /// After a connection did something: arms its timer for its present deadline, and takes note of what it does.
    pub(in crate::driver) fn arm(&mut self, key: usize, timers: &mut TimerWheel<Timer>) {
        self.rank(key);
        let Some(entry) = self.entries.get_mut(key) else { return };
        let deadline = entry.connection.deadline();
        if entry.armed.map(|(_, at)| at) == deadline {
            return;
        }
        if let Some((timer, _)) = entry.armed.take() {
            timers.cancel(timer);
        }
        entry.armed = deadline.map(|at| (timers.insert(at, Timer::Connection(key)), at));
    }

    /// The timer of a connection has fired.
    pub(in crate::driver) fn disarm(&mut self, key: usize) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.armed = None;
        }
    }
}

/// Whose an inbound connection is.
fn network_of(entry: &Entry) -> Option<Network> {
    match entry.descriptors.socket {
        Some(Use::Inbound(address)) => Some(Network::of(address)),
        Some(Use::File | Use::Own) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Message;
    use std::net::TcpListener;

    #[test]
    fn those_that_wait_for_tokens_wait_once_and_are_woken_together() {
        let poll = mio::Poll::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut table = Table::new();
        let mut timers = TimerWheel::new(Instant::from_ms(0));
        let insert = |table: &mut Table, n| {
            let task = crate::driver::net::exchange::Task::Messages {
                messages: vec![Message::Keepalive { port: 1, p1: true }],
                expect: crate::node::Expect::Nothing,
                connect_max: std::time::Duration::MAX,
            };
            let (id, to, now) = (ExchangeId::Outbound(n), listener.local_addr().unwrap(), Instant::from_ms(0));
            let outbound = Outbound::dial(id, to, task, poll.registry(), table.next_token(), now).unwrap();
            table.take(Use::Own).unwrap();
            table.insert(Connection::Outbound(Box::new(outbound)), Some(Use::Own), 0)
        };
        let (one, two) = (insert(&mut table, 1), insert(&mut table, 2));
        while table.pop_ready().is_some() {}
        assert!(table.wait_for_tokens(one, Direction::Down), "the first sets the timer");
        assert!(!table.wait_for_tokens(one, Direction::Down), "and only once, however often it is looked at");
        assert!(!table.wait_for_tokens(two, Direction::Down));
        assert!(table.is_paced(one) && table.is_paced(two));
        assert_eq!((table.wake_paced(Direction::Up), table.wake_paced(Direction::Down)), (0, 2));
        assert!(!table.is_paced(one));
        assert_eq!((table.pop_ready(), table.pop_ready(), table.pop_ready()), (Some(one), Some(two), None));
        assert!(table.wait_for_tokens(two, Direction::Down), "a new round");
        table.remove(two, &mut timers);
        assert_eq!(table.wake_paced(Direction::Down), 0, "who is over makes no claim");
    }
}
