//! A connection of this process to its node: the calls and notices of the control socket, without a socket in the filesystem.

use super::Shared;
use super::error::Error;
use crate::control::{CallId, Incoming, LINE_BYTES_MAX, Notice, Request, decode_incoming, encode_request};
use crate::driver::Clock;
use crate::lines::Lines;
use crate::time::Instant;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long an answer is waited for.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(30);

const READ_BYTES: usize = 64 << 10;

/// How often a wait looks whether somebody still takes what comes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The shortest time that a socket can be told to wait.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// A time to stop waiting, if there is one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Option<(Clock, Instant)>);

impl Deadline {
    pub(super) fn after(span: Option<Duration>) -> Self {
        Self(span.map(|span| {
            let clock = Clock::start();
            (clock, clock.now() + span)
        }))
    }

    /// What is left, if there is an end; never nothing.
    fn left(self) -> Option<Duration> {
        self.0.map(|(clock, at)| at.saturating_since(clock.now()).max(WAIT_MIN))
    }

    fn has_passed(self) -> bool {
        self.0.is_some_and(|(clock, at)| at <= clock.now())
    }
}

/// What came of a wait for a notice.
#[expect(clippy::large_enum_variant, reason = "nearly all are notices")]
pub(super) enum Heard {
    Notice(Notice),
    Late,
    /// The node has closed the connection: it ends, or too much waited to be read, or others needed the place.
    Closed,
}

#[derive(Debug)]
pub(super) struct Link {
    shared: Arc<Shared>,
    stream: UnixStream,
    lines: Lines,
    /// Notices that came before an answer.
    waiting: VecDeque<Notice>,
    calls: u64,
    /// Whoever takes what comes, if that may end while it waits.
    taker: Option<Weak<()>>,
}

impl Link {
    /// Waits until the node listens.
    pub(super) fn open(shared: &Arc<Shared>) -> Result<Self, Error> {
        let stream = shared.connect()?;
        stream.set_write_timeout(Some(ANSWER_MAX)).map_err(broken)?;
        let (lines, waiting) = Default::default();
        Ok(Self { shared: Arc::clone(shared), stream, lines, waiting, calls: 0, taker: None })
    }

    /// Ends each wait with an error soon after the last strong reference is gone.
    pub(super) fn wait_only_for(&mut self, taker: Weak<()>) {
        self.taker = Some(taker);
    }

    /// Calls, and waits for the answer.
    pub(super) fn call<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, Error> {
        self.calls += 1;
        let call = CallId::Number(self.calls);
        // If it fails, the node has closed the connection, and may have said why.
        let _ = self.stream.write_all(&encode_request(&call, request));
        let until = Deadline::after(Some(ANSWER_MAX));
        loop {
            match self.receive(until)? {
                Received::Incoming(Incoming::Reply { call: of, outcome }) if of == call => {
                    let json = outcome.map_err(Error::from)?;
                    return serde_json::from_str(&json).map_err(|error| Error::Other(error.to_string()));
                }
                Received::Incoming(Incoming::Notice(notice)) => self.waiting.push_back(notice),
                Received::Incoming(Incoming::Refused(error)) => return Err(error.into()),
                Received::Incoming(Incoming::Reply { .. } | Incoming::Unknown(_)) => {}
                Received::Late => {
                    return Err(Error::TimedOut(format!("the node has not answered within {ANSWER_MAX:?}")));
                }
                Received::Closed => return Err(self.shared.why_closed()),
            }
        }
    }

    pub(super) fn next(&mut self, until: Deadline) -> Result<Heard, Error> {
        if let Some(notice) = self.waiting.pop_front() {
            return Ok(Heard::Notice(notice));
        }
        loop {
            match self.receive(until)? {
                Received::Incoming(Incoming::Notice(notice)) => return Ok(Heard::Notice(notice)),
                Received::Incoming(Incoming::Refused(_)) | Received::Closed => return Ok(Heard::Closed),
                Received::Incoming(Incoming::Reply { .. } | Incoming::Unknown(_)) => {}
                Received::Late => return Ok(Heard::Late),
            }
        }
    }

    /// Drops the notices that came before the last answer, which is newer than they are.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting.clear();
    }

    fn receive(&mut self, until: Deadline) -> Result<Received, Error> {
        let mut bytes = [0; READ_BYTES];
        loop {
            if let Some(line) = self.lines.next_filled(LINE_BYTES_MAX) {
                let incoming = line.map_err(|error| error.to_string()).and_then(decode_incoming);
                return incoming.map(Received::Incoming).map_err(Error::Other);
            }
            if until.has_passed() {
                return Ok(Received::Late);
            }
            let mut wait = until.left();
            if let Some(taker) = &self.taker {
                if taker.strong_count() == 0 {
                    return Err(Error::Other("nobody takes what comes any more".to_owned()));
                }
                wait = Some(wait.map_or(LOOK_EVERY, |wait| wait.min(LOOK_EVERY)));
            }
            self.stream.set_read_timeout(wait).map_err(broken)?;
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(Received::Closed),
                Ok(count) => self.lines.push(&bytes[..count]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => return Ok(Received::Closed),
            }
        }
    }
}

#[expect(clippy::large_enum_variant, reason = "nearly all are lines")]
enum Received {
    Incoming(Incoming),
    Late,
    Closed,
}

fn broken(error: io::Error) -> Error {
    Error::Other(format!("no connection to the node: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::Stage;
    use super::*;
    use std::sync::{Condvar, Mutex};
    use std::thread;

    #[test]
    fn a_wait_ends_when_nobody_takes_what_comes_any_more() {
        let (stream, _node) = UnixStream::pair().unwrap();
        let shared = Arc::new(Shared { stage: Mutex::new(Stage::New), changed: Condvar::new() });
        let (lines, waiting) = Default::default();
        let mut link = Link { shared, stream, lines, waiting, calls: 0, taker: None };
        let open = Arc::new(());
        link.wait_only_for(Arc::downgrade(&open));
        let waits = thread::spawn(move || link.next(Deadline::after(Some(Duration::from_secs(20)))));
        drop(open);
        assert!(matches!(waits.join().unwrap(), Err(Error::Other(_))), "it waited to the end");
    }
}
