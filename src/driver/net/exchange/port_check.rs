//! A connection by which a bootstrap node checks whether a registrant listens where it says.
//!
//! It sends a first contact (PROTOCOL, part 2, First contact), which does no harm to base programs, and reads one line.

use super::first_line::FirstLine;
use super::{NetStep, Over};
use crate::driver::interface::Interface;
use crate::driver::socket::{ReadStep, Socket, Step};
use crate::id::QueryId;
use crate::time::Instant;
use crate::wire::Message;
use mio::{Registry, Token};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// How long connecting and the answer may take.
const CHECK_MAX: Duration = Duration::from_secs(3);

const READS_MAX: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    Connection,
    /// The line of a `p1` peer.
    FirstContact,
}

pub(crate) struct PortCheck {
    pub(crate) to: SocketAddr,
    proof: Proof,
    socket: Socket,
    state: State,
    ends: Instant,
}

enum State {
    /// The number of the query to send, and the port that we name as ours.
    Connecting {
        query: u64,
        port: u16,
    },
    Sending {
        message: Vec<u8>,
        at: usize,
    },
    Reading(FirstLine),
}

impl PortCheck {
    /// Begins to connect; then sends a query of this number that names this port.
    pub(crate) fn dial(
        to: SocketAddr,
        proof: Proof,
        (query, port): (u64, u16),
        interface: &Interface,
        registry: &Registry,
        token: Token,
        now: Instant,
    ) -> io::Result<Self> {
        let socket = Socket::register(interface.connect(to)?, registry, token)?;
        Ok(Self { to, proof, socket, state: State::Connecting { query, port }, ends: now + CHECK_MAX })
    }

    pub(crate) fn on_ready(&mut self, readable: bool, writable: bool) {
        self.socket.on_ready(readable, writable);
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.ends
    }

    /// Whether the registrant has answered, if it sends nothing more.
    pub(crate) fn has_answered(&self) -> bool {
        self.proof == Proof::Connection && !matches!(self.state, State::Connecting { .. })
    }

    pub(crate) fn advance(&mut self, scratch: &mut [u8]) -> NetStep {
        self.try_advance(scratch).unwrap_or_else(|_| Step::End(Over::Checked(self.has_answered())))
    }

    fn try_advance(&mut self, scratch: &mut [u8]) -> io::Result<NetStep> {
        if let State::Connecting { query, port } = self.state {
            if let Err(blocked) = self.socket.connected()? {
                return Ok(Step::Wait(blocked));
            }
            let requester = SocketAddr::new(self.socket.local_addr()?.ip().to_canonical(), port);
            let message = Message::FirstContact { id: QueryId::p1(query), requester }.encode();
            self.state = State::Sending { message, at: 0 };
        }
        if let State::Sending { message, at } = &mut self.state {
            while *at < message.len() {
                match self.socket.write(&message[*at..])? {
                    Ok(n) => *at += n,
                    Err(blocked) => return Ok(Step::Wait(blocked)),
                }
            }
            // Fails if the peer has closed already, which reading shows.
            let _ = self.socket.finish();
            self.state = State::Reading(FirstLine::first_contact());
        }
        let State::Reading(line) = &mut self.state else { return Ok(Step::Idle) };
        for _ in 0..READS_MAX {
            match self.socket.read(scratch)? {
                ReadStep::Blocked(blocked) => return Ok(Step::Wait(blocked)),
                ReadStep::Fin => return Ok(Step::End(Over::Checked(self.has_answered()))),
                ReadStep::Bytes(n) if line.take(&scratch[..n]) => return Ok(Step::End(Over::Checked(true))),
                ReadStep::Bytes(_) if line.is_too_much() => return Ok(Step::End(Over::Checked(self.has_answered()))),
                ReadStep::Bytes(_) => {}
            }
        }
        Ok(Step::Again)
    }
}
