//! Accepting connections, as far as there are descriptors.

use super::Net;
use super::budget::Use;
use super::exchange::Inbound;
use super::listener::{Accepted, Listener};
use super::table::Connection;
use crate::driver::cx::{Cx, Output};
use crate::driver::socket::Socket;
use crate::id::ExchangeId;
use mio::net::TcpStream;
use std::net::SocketAddr;
use std::time::Duration;

const ACCEPTS_PER_TURN_MAX: usize = 64;

/// How soon a starved listener tries again if no connection of ours closes.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

impl Net {
    /// Accepts the connections that wait, as far as there are descriptors for them.
    pub(crate) fn accept(&mut self, cx: &mut Cx) {
        for index in 0..self.listeners.len() {
            for _ in 0..ACCEPTS_PER_TURN_MAX {
                if !self.listeners.get(index).is_some_and(Listener::may_accept) {
                    break;
                }
                if !self.may_admit(cx) {
                    self.starve(index, None, cx);
                    break;
                }
                match self.listeners[index].accept() {
                    Accepted::Connection(stream, from) => self.admit(stream, from, index, cx),
                    Accepted::Lost => {}
                    Accepted::None => break,
                    Accepted::Starved => self.starve(index, None, cx),
                    Accepted::Refused(error) => self.starve(index, Some(&error), cx),
                }
            }
        }
    }

    /// This listener waits until a descriptor is free, or until the system may have ceased to refuse.
    fn starve(&mut self, index: usize, refused: Option<&std::io::Error>, cx: &Cx) {
        self.listeners[index].set_starved(true);
        match refused {
            None => self.refuse(cx, "no_descriptor", None, &"connections wait until another one closes"),
            Some(error) => self.refuse(cx, "accept", None, error),
        }
        self.accept_again_at.get_or_insert(cx.now + ACCEPT_AGAIN);
    }

    fn admit(&mut self, stream: TcpStream, from: SocketAddr, index: usize, cx: &mut Cx) {
        let Ok(permit) = self.take_displacing(Use::Inbound(from.ip()), cx) else {
            // Closing resets it, which informs the peer at once and leaves no state in the system.
            cx.out.push(Output::Limited(|limited| &mut limited.connections_refused));
            let detail = &"its network holds its share of the connections, and all of them are at work";
            return self.refuse(cx, "network_share", Some(from), detail);
        };
        self.accepted += 1;
        let (id, service) = (ExchangeId::Inbound(self.accepted), self.listeners[index].service);
        // Mostly the request is there, and the response has room: epoll need not watch it. Otherwise `Net::settle` has it watched.
        let inbound = Inbound::new(id, from, service, Socket::unregistered(stream), cx.now);
        self.table.insert(Connection::Inbound(Box::new(inbound)), permit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aligned::Aligned;
    use crate::driver::RateLimits;
    use crate::driver::cx::Phase;
    use crate::driver::interface::Interface;
    use crate::driver::net::exchange::{STEP_BYTES_MAX, Service};
    use crate::driver::net::table::Table;
    use crate::driver::net::{Lent, Stepped};
    use crate::driver::open_parts::OpenParts;
    use crate::library::Library;
    use crate::time::Instant;
    use mio::{Events, Poll, Token};
    use std::io::Write;
    use std::net::{Shutdown, TcpStream as StdStream};

    const PATIENCE: Duration = Duration::from_secs(20);

    struct Rig {
        net: Net,
        cx: Cx,
        to: SocketAddr,
    }

    impl Rig {
        fn new() -> Self {
            let (poll, now) = (Poll::new().unwrap(), Instant::from_ms(0));
            let (any, interface) = (SocketAddr::from(([127, 0, 0, 1], 0)), Interface::default());
            let listener = Listener::bind(any, &interface, Service::Bootstrap, poll.registry(), Token(0)).unwrap();
            let to = listener.local_addr().unwrap();
            let net = Net::new(poll, interface, vec![listener], RateLimits::default(), now);
            let (phase, scratch) = (Phase::Running, Aligned::zeroed(STEP_BYTES_MAX));
            Self { net, cx: Cx { now, phase, scratch, reads: Default::default(), out: Default::default() }, to }
        }

        /// A connection that is accepted, and ready for its first step.
        fn accept(&mut self) -> (StdStream, usize) {
            let peer = StdStream::connect(self.to).unwrap();
            self.net.listeners[0].on_ready();
            self.net.accept(&mut self.cx);
            (peer, self.net.table.key(ExchangeId::Inbound(self.net.accepted)).unwrap())
        }

        fn step(&mut self) -> Stepped {
            let key = self.net.pop_ready().unwrap();
            let (library, mut parts) = (Library::default(), OpenParts::default());
            self.net.step(key, Lent { library: &library, parts: &mut parts }, &mut self.cx)
        }

        /// Which connections epoll calls readable.
        fn told(&mut self, timeout: Duration) -> Vec<usize> {
            let mut events = Events::with_capacity(8);
            let mut told = Vec::new();
            while told.is_empty() {
                self.net.poll(&mut events, Some(timeout)).unwrap();
                if events.is_empty() {
                    break;
                }
                let readable = events.iter().filter(|event| event.is_readable());
                told.extend(readable.filter_map(|event| Table::key_of(event.token())));
            }
            told
        }
    }

    #[test]
    fn epoll_watches_a_connection_that_waits() {
        let mut rig = Rig::new();
        let (mut peer, key) = rig.accept();
        let stepped = rig.step();
        rig.net.settle(stepped, &mut rig.cx);
        peer.write_all(b"1:3").unwrap();
        assert_eq!(rig.told(PATIENCE), [key]);
    }

    /// It may have been made ready again for what has nothing to do with its socket, turn after turn.
    #[test]
    fn epoll_watches_a_connection_that_is_ready_but_has_seen_a_call_block() {
        let mut rig = Rig::new();
        let (mut peer, key) = rig.accept();
        let stepped = rig.step();
        rig.net.table.make_ready(key);
        rig.net.settle(stepped, &mut rig.cx);
        peer.write_all(b"1:3").unwrap();
        assert_eq!(rig.told(PATIENCE), [key]);
    }

    #[test]
    fn epoll_watches_a_connection_whose_request_is_not_answered_yet() {
        let mut rig = Rig::new();
        let (mut peer, key) = rig.accept();
        peer.write_all(b"1:3").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let mut stepped = rig.step();
        while rig.cx.out.is_empty() {
            rig.net.table.make_ready(key);
            let Some(Connection::Inbound(inbound)) = rig.net.table.get_mut(key) else { unreachable!() };
            inbound.socket_mut().on_ready(true, true);
            stepped = rig.step();
        }
        rig.net.settle(stepped, &mut rig.cx);
        assert_eq!(rig.told(PATIENCE), [key]);
    }

    #[test]
    fn epoll_watches_no_connection_that_waits_for_nothing() {
        let mut rig = Rig::new();
        let (mut peer, key) = rig.accept();
        peer.write_all(b"1:3").unwrap();
        rig.net.settle(Stepped(key), &mut rig.cx);
        assert!(rig.told(Duration::ZERO).is_empty());
    }
}
