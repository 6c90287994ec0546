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
use socket2::SockRef;
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
            // A reset informs the peer at once and leaves no state in the system.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            cx.out.push(Output::Limited(|limited| &mut limited.connections_refused));
            let detail = &"its network holds its share of the connections, and all of them are at work";
            return self.refuse(cx, "network_share", Some(from), detail);
        };
        match Socket::register(stream, self.poll.registry(), self.table.next_token()) {
            Ok(socket) => {
                self.accepted += 1;
                let (id, service) = (ExchangeId::Inbound(self.accepted), self.listeners[index].service);
                let inbound = Inbound::new(id, from, service, socket, cx.now);
                self.table.insert(Connection::Inbound(Box::new(inbound)), permit);
            }
            Err(error) => self.refuse(cx, "register", Some(from), &error),
        }
    }
}
