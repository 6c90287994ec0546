//! The metrics over HTTP: a listener, and a few connections, each of which asks once.

use crate::control::METRICS_MEDIA_TYPE;
use crate::driver::cx::{Cx, Output};
use crate::driver::interface::Interface;
use crate::driver::net::Listener;
use crate::driver::socket::{ReadStep, Readiness, Socket};
use crate::driver::tokens::{CONNECTIONS, METRICS, SCRAPES};
use crate::time::Instant;
use httparse::Status;
use log::debug;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::SockRef;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Those that are served at once: further ones wait to be accepted. A monitoring system is one or two.
const SCRAPES_MAX: usize = 4;

const _: () = assert!(SCRAPES.0 + SCRAPES_MAX <= CONNECTIONS.0);

/// The time for a request, its answer and the end of the connection.
const SCRAPE_MAX: Duration = Duration::from_secs(10);

/// Bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Lines of the head of a request.
const HEADERS_MAX: usize = 64;

/// How soon accepting is tried again after a failure.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// The path of the metrics.
const PATH: &str = "/metrics";

/// Listens for those that read the metrics.
pub(crate) struct MetricsListener(TcpListener);

impl MetricsListener {
    /// Takes a socket that listens.
    pub(crate) fn adopt(socket: socket2::Socket, registry: &Registry, token: Token) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(socket.into());
        registry.register(&mut listener, token, Interest::READABLE)?;
        Ok(Self(listener))
    }
}

/// How far a connection is.
enum Stage {
    /// The head of its request, as far as it is there.
    Asking(Vec<u8>),
    /// The loop makes the answer to a request, whose body is left out if it is HEAD.
    Asked {
        is_head: bool,
    },
    Answering {
        response: Vec<u8>,
        sent: usize,
    },
    /// All is sent, FIN as well: until the other side has read that and closed.
    Closing,
}

struct Scrape {
    socket: Socket<TcpStream>,
    stage: Stage,
    until: Instant,
}

/// What a connection waits for.
enum Next {
    Wait,
    /// There may be more to read: go on in the next turn.
    Again,
    /// It has asked for the metrics.
    Ask,
    Over,
}

pub(super) struct Scrapes {
    listener: Option<TcpListener>,
    accepting: Readiness,
    accept_again_at: Option<Instant>,
    slots: [Option<Scrape>; SCRAPES_MAX],
    /// Slots that are to be advanced.
    ready: [bool; SCRAPES_MAX],
}

impl Scrapes {
    pub(super) fn new(listener: Option<MetricsListener>) -> Self {
        Self {
            listener: listener.map(|listener| listener.0),
            accepting: Readiness::none(),
            accept_again_at: None,
            slots: Default::default(),
            ready: [false; SCRAPES_MAX],
        }
    }

    pub(super) fn on_listener_ready(&mut self) {
        self.accepting.note(true);
    }

    pub(super) fn on_ready(&mut self, slot: usize, readable: bool, writable: bool) {
        if let Some(Some(scrape)) = self.slots.get_mut(slot) {
            scrape.socket.on_ready(readable, writable);
            self.ready[slot] = true;
        }
    }

    pub(super) fn has_work(&self) -> bool {
        let may_accept = self.listener.is_some() && self.slots.iter().any(Option::is_none);
        self.ready.contains(&true) || self.accepting.is_ready() && may_accept
    }

    /// Whether nobody waits for an answer any more.
    pub(super) fn are_flushed(&self) -> bool {
        self.slots.iter().flatten().all(|scrape| matches!(scrape.stage, Stage::Asking(_) | Stage::Closing))
    }

    /// Listens at the same address again if the interface was made again under its name.
    pub(super) fn listen_again(&mut self, interface: &Interface, registry: &Registry) -> io::Result<()> {
        let Some(listener) = &mut self.listener else { return Ok(()) };
        let addr = listener.local_addr()?;
        let interface = interface.for_metrics(addr);
        if interface.has(&SockRef::from(&*listener)) {
            return Ok(());
        }
        let socket = Listener::listening(addr, &interface)?;
        *listener = MetricsListener::adopt(socket, registry, METRICS)?.0;
        self.accepting = Readiness::none();
        Ok(())
    }

    /// Stops accepting if the service manager takes the listener.
    pub(super) fn hand_over_listener(&mut self, registry: &Registry, give: impl FnOnce(BorrowedFd<'_>) -> bool) {
        self.listener.take_if(|listener| {
            let is_taken = give(listener.as_fd());
            if is_taken {
                // Somebody else holds it too, so that closing it does not end its registration.
                let _ = registry.deregister(listener);
            }
            is_taken
        });
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadlines = self.slots.iter().flatten().map(|scrape| scrape.until);
        deadlines.chain(self.accept_again_at).min()
    }

    /// Accepts as many as there are slots, advances those that are ready, and closes those that take too long.
    pub(super) fn advance(&mut self, registry: &Registry, cx: &mut Cx) {
        self.accept(registry, cx.now);
        for slot in 0..SCRAPES_MAX {
            let is_ready = std::mem::take(&mut self.ready[slot]);
            let Some(scrape) = &mut self.slots[slot] else { continue };
            let next = match is_ready {
                true => scrape.advance(&mut cx.scratch[..HEAD_BYTES_MAX]).unwrap_or(Next::Over),
                false => Next::Wait,
            };
            match next {
                Next::Over => self.slots[slot] = None,
                _ if scrape.until <= cx.now => self.slots[slot] = None,
                Next::Wait => {}
                Next::Again => self.ready[slot] = true,
                Next::Ask => cx.out.push(Output::Scrape(slot)),
            }
        }
    }

    /// Answers a connection that has asked for the metrics.
    pub(super) fn answer(&mut self, slot: usize, text: &str) {
        if let Some(Some(scrape)) = self.slots.get_mut(slot)
            && let Stage::Asked { is_head } = scrape.stage
        {
            scrape.stage = Stage::answering("200 OK", METRICS_MEDIA_TYPE, text, is_head);
            self.ready[slot] = true;
        }
    }

    fn accept(&mut self, registry: &Registry, now: Instant) {
        if self.accept_again_at.take_if(|at| *at <= now).is_some() {
            self.accepting.note(true);
        }
        let Some(listener) = &self.listener else { return };
        while let Some(slot) = self.slots.iter().position(Option::is_none) {
            let accepted = self.accepting.attempt(|| listener.accept());
            let registered = accepted.and_then(|accepted| match accepted {
                Ok((stream, _)) => Socket::register(stream, registry, Token(SCRAPES.0 + slot)).map(Some),
                Err(_) => Ok(None),
            });
            match registered {
                Ok(Some(socket)) => {
                    self.slots[slot] =
                        Some(Scrape { socket, stage: Stage::Asking(Vec::new()), until: now + SCRAPE_MAX });
                    self.ready[slot] = true;
                }
                Ok(None) => return,
                Err(error) => {
                    debug!("cannot accept a connection for the metrics: {error}");
                    self.accepting.give_up();
                    self.accept_again_at = Some(now + ACCEPT_AGAIN);
                    return;
                }
            }
        }
    }
}

impl Scrape {
    fn advance(&mut self, scratch: &mut [u8]) -> io::Result<Next> {
        loop {
            match &mut self.stage {
                Stage::Asked { .. } => return Ok(Next::Wait),
                Stage::Asking(head) => match self.socket.read(scratch)? {
                    ReadStep::Blocked(_) => return Ok(Next::Wait),
                    ReadStep::Fin => return Ok(Next::Over),
                    ReadStep::Bytes(count) => {
                        head.extend_from_slice(&scratch[..count]);
                        let Some(stage) = asked(head) else { continue };
                        self.stage = stage;
                        if matches!(self.stage, Stage::Asked { .. }) {
                            return Ok(Next::Ask);
                        }
                    }
                },
                Stage::Answering { response, sent } if *sent < response.len() => {
                    match self.socket.write(&response[*sent..])? {
                        Ok(count) => *sent += count,
                        Err(_) => return Ok(Next::Wait),
                    }
                }
                Stage::Answering { .. } => {
                    self.socket.finish()?;
                    self.stage = Stage::Closing;
                }
                Stage::Closing => match self.socket.read(scratch)? {
                    ReadStep::Blocked(_) => return Ok(Next::Wait),
                    ReadStep::Fin => return Ok(Next::Over),
                    ReadStep::Bytes(_) => return Ok(Next::Again),
                },
            }
        }
    }
}

impl Stage {
    fn answering(status: &str, media_type: &str, body: &str, is_head: bool) -> Self {
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let body = if is_head { "" } else { body };
        Self::Answering { response: (head + body).into_bytes(), sent: 0 }
    }

    fn refusing(status: &str, why: &str, is_head: bool) -> Self {
        Self::answering(status, "text/plain; charset=utf-8", why, is_head)
    }
}

/// What follows from the head of a request; `None` while it is incomplete.
fn asked(head: &[u8]) -> Option<Stage> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(Status::Partial) if head.len() < HEAD_BYTES_MAX => return None,
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) | Err(_) => {
            return Some(Stage::refusing(
                "400 Bad Request",
                "This is no request of HTTP/1 with a short head.\n",
                false,
            ));
        }
    }
    let is_head = request.method == Some("HEAD");
    let path = request.path.unwrap_or_default().split('?').next().unwrap_or_default();
    Some(match request.method {
        Some("GET" | "HEAD") if path == PATH => Stage::Asked { is_head },
        Some("GET" | "HEAD") => Stage::refusing("404 Not Found", "The metrics are at /metrics.\n", is_head),
        _ => Stage::refusing("405 Method Not Allowed", "The metrics are read with GET.\n", is_head),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(head: &str) -> String {
        match asked(head.as_bytes()) {
            None => "more".to_owned(),
            Some(Stage::Asked { is_head: true }) => "head".to_owned(),
            Some(Stage::Asked { is_head: false }) => "metrics".to_owned(),
            Some(Stage::Answering { response, .. }) => String::from_utf8(response).unwrap(),
            Some(Stage::Asking(_) | Stage::Closing) => unreachable!(),
        }
    }

    #[test]
    fn a_request_is_answered_when_its_head_is_whole() {
        let whole = "GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n";
        (0..whole.len()).for_each(|end| assert_eq!(answer(&whole[..end]), "more", "{end}"));
        assert_eq!(answer(whole), "metrics");
        assert_eq!(answer(&format!("{whole}GET")), "metrics");
        assert_eq!(answer("HEAD /metrics HTTP/1.0\r\n\r\n"), "head");
        assert!(answer("HEAD / HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n"), "no body");
        assert_eq!(answer("GET / HTTP/1.1\r\n\r\n").lines().next(), Some("HTTP/1.1 404 Not Found"));
        assert_eq!(answer("POST /metrics HTTP/1.1\r\n\r\n").lines().next(), Some("HTTP/1.1 405 Method Not Allowed"));
        for bad in ["\u{1}\u{2} \r\n\r\n", "4:wanted.bin\n\n", "GET /metrics HTTP/9\r\n\r\n"] {
            assert_eq!(answer(bad).lines().next(), Some("HTTP/1.1 400 Bad Request"), "{bad:?}");
        }
    }

    #[test]
    fn a_head_that_is_too_long_is_refused() {
        let long = format!("GET /metrics HTTP/1.1\r\nA: {}", "a".repeat(HEAD_BYTES_MAX));
        assert_eq!(answer(&long[..HEAD_BYTES_MAX - 1]), "more");
        assert_eq!(answer(&long).lines().next(), Some("HTTP/1.1 400 Bad Request"));
        let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "A: a\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(answer(&many).lines().next(), Some("HTTP/1.1 400 Bad Request"));
    }

    #[test]
    fn an_answer_to_head_has_the_length_and_no_body() {
        let Stage::Answering { response, .. } = Stage::answering("200 OK", "text/plain", "abc", true) else { panic!() };
        let response = String::from_utf8(response).unwrap();
        assert!(response.contains("\r\nContent-Length: 3\r\n") && response.ends_with("\r\n\r\n"), "{response}");
    }
}
