//! The connection to the daemon: calls and notices, each wait limited by a deadline and interrupted by Ctrl-C.

use super::clock::Deadline;
use super::text::name;
use super::wording::{Failure, Unexpected};
use crate::control::{CallError, CallId, Incoming, LINE_BYTES_MAX, Notice, Request, decode_incoming, encode_request};
use crate::lines::Lines;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use polling::{Event, Poller};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Notices held back while an answer is waited for.
const NOTICES_WAITING_MAX: usize = 100_000;

/// Interval of checks whether the daemon's process has ended: one that is not our child sends no SIGCHLD.
const EXIT_INTERVAL: Duration = Duration::from_millis(10);

/// Bytes asked for in one read.
const READ_BYTES_MAX: usize = 64 << 10;

const SOCKET: usize = 0;
const INTERRUPT: usize = 1;

/// What came while a command waits for notices.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are notices")]
pub(super) enum Heard {
    Notice(Notice),
    /// A notice of a newer daemon, of a kind that we do not know.
    Unknown(Value),
    Deadline,
    /// The user pressed Ctrl-C. Only after [`Connection::watch_interrupts`].
    Interrupted,
    Ended,
}

/// A call that is not answered yet.
pub(super) struct Call {
    id: CallId,
    timeout: Duration,
}

impl Call {
    pub(super) fn is(&self, id: &CallId) -> bool {
        self.id == *id
    }
}

/// What ends a wait.
pub(super) enum Received {
    /// To a call, with the JSON of its result.
    Answer(CallId, Result<String, CallError>),
    Heard(Heard),
}

pub(super) struct Connection {
    path: PathBuf,
    daemon: Option<Daemon>,
    stream: UnixStream,
    poller: Poller,
    interrupts: Option<SignalFd>,
    lines: Lines,
    waiting: VecDeque<Heard>,
    calls: u64,
    ended: bool,
}

/// The process behind the connection, if it is a `pyrated` and can be seen from here.
struct Daemon {
    pid: i32,
    /// When it was started, as the kernel writes it: another process may get its number.
    started: String,
}

impl Daemon {
    fn behind(stream: &UnixStream) -> Option<Self> {
        let pid = getsockopt(stream, PeerCredentials).ok()?.pid();
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let started = start_of(pid)?;
        (name.trim_end() == "pyrated").then_some(Self { pid, started })
    }

    fn is_there(&self) -> bool {
        start_of(self.pid).is_some_and(|started| started == self.started)
    }
}

/// When a process was started; `None` of one that has ended, though its parent may not have noticed yet (proc_pid_stat(5)).
fn start_of(pid: i32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let started = fields.nth(STAT_FIELDS_TO_START)?;
    (!matches!(state, "Z" | "X")).then(|| started.to_owned())
}

/// Fields of `/proc/PID/stat` between the state, which is the third, and the time of start, which is the 22nd.
const STAT_FIELDS_TO_START: usize = 18;

impl Connection {
    /// Connects to the socket at this path, waiting at most so long for a daemon that is slow to accept.
    pub(super) fn open(path: &Path, timeout: Duration) -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        // Of a Unix socket, the send timeout also bounds connect(2). Zero would mean no bound.
        socket.set_write_timeout(Some(timeout.max(Duration::from_millis(1))))?;
        socket.connect(&socket2::SockAddr::unix(path)?)?;
        socket.set_nonblocking(true)?;
        let stream = UnixStream::from(std::os::fd::OwnedFd::from(socket));
        let poller = Poller::new()?;
        poller.add(&stream, Event::none(SOCKET))?;
        Ok(Self {
            path: path.into(),
            daemon: Daemon::behind(&stream),
            stream,
            poller,
            interrupts: None,
            lines: Lines::default(),
            waiting: VecDeque::new(),
            calls: 0,
            ended: false,
        })
    }

    /// From now on Ctrl-C does not end the program but the current wait.
    pub(super) fn watch_interrupts(&mut self) -> Result<(), CallError> {
        self.watch(SigSet::from(Signal::SIGINT))
    }

    /// The same for Ctrl-C and SIGTERM.
    pub(super) fn watch_ends(&mut self) -> Result<(), CallError> {
        self.watch(SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]))
    }

    fn watch(&mut self, signals: SigSet) -> Result<(), CallError> {
        let watch = || -> io::Result<SignalFd> {
            signals.thread_block()?;
            let interrupts = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
            self.poller.add(&interrupts, Event::none(INTERRUPT))?;
            Ok(interrupts)
        };
        self.interrupts = Some(watch().map_err(|error| Failure::CannotWatch { error: error.to_string() })?);
        Ok(())
    }

    /// From now on Ctrl-C ends no wait, and does not end the program if it was watched before.
    pub(super) fn ignore_interrupts(&mut self) {
        if let Some(interrupts) = self.interrupts.take() {
            // What is closed is not polled either.
            let _ = self.poller.delete(&interrupts);
        }
    }

    /// Makes a call and waits for its answer; notices that come first are kept for [`next`](Self::next).
    pub(super) fn call<T: DeserializeOwned>(&mut self, request: &Request, timeout: Duration) -> Result<T, CallError> {
        let call = self.begin(request, timeout)?;
        self.finish(call)
    }

    /// Makes a call, whose answer may then come while something else is done. The time-out is for the call to be sent, and in
    /// [`finish`](Self::finish) for its answer: what is done between them does not count.
    pub(super) fn begin(&mut self, request: &Request, timeout: Duration) -> Result<Call, CallError> {
        self.calls += 1;
        let call = Call { id: CallId::Number(self.calls), timeout };
        self.send(&encode_request(&call.id, request), &call)?;
        Ok(call)
    }

    /// Waits for the answer of a call.
    pub(super) fn finish<T: DeserializeOwned>(&mut self, call: Call) -> Result<T, CallError> {
        let until = Deadline::after(call.timeout);
        loop {
            match self.receive(until)? {
                Received::Answer(id, outcome) if id == call.id => {
                    return self.answer_in(&outcome?);
                }
                // Of a call that was given up.
                Received::Answer(..) => {}
                Received::Heard(Heard::Deadline) => return Err(self.late(&call)),
                Received::Heard(Heard::Interrupted) => return Err(Failure::Interrupted.into()),
                Received::Heard(Heard::Ended) => return Err(self.hung_up()),
                Received::Heard(_) if self.waiting.len() == NOTICES_WAITING_MAX => {
                    return Err(self.unexpected(Unexpected::OnlyNotices));
                }
                Received::Heard(heard) => self.waiting.push_back(heard),
            }
        }
    }

    /// What came before the last answer, if it was not taken yet.
    pub(super) fn next_heard(&mut self) -> Option<Heard> {
        self.waiting.pop_front()
    }

    pub(super) fn next(&mut self, until: Deadline) -> Result<Heard, CallError> {
        if let Some(heard) = self.next_heard() {
            return Ok(heard);
        }
        loop {
            if let Received::Heard(heard) = self.receive(until)? {
                return Ok(heard);
            }
        }
    }

    /// What has come already. `None` if nothing has, so that the socket is to be waited for.
    pub(super) fn receive_now(&mut self) -> Result<Option<Received>, CallError> {
        loop {
            if let Some(received) = self.take_received()? {
                return Ok(Some(received));
            }
            if !self.read() {
                return Ok(None);
            }
        }
    }

    /// The answer of a call, from its JSON.
    pub(super) fn answer_in<T: DeserializeOwned>(&self, json: &str) -> Result<T, CallError> {
        let unexpected = |error: serde_json::Error| Unexpected::Answer(name(error.to_string().as_bytes()));
        serde_json::from_str(json).map_err(|error| self.unexpected(unexpected(error)))
    }

    /// To be waited for by who waits for other things as well.
    pub(super) fn socket(&self) -> &UnixStream {
        &self.stream
    }

    /// A new connection to where this one led.
    pub(super) fn reopened(&self, timeout: Duration) -> io::Result<Self> {
        Self::open(&self.path, timeout)
    }

    /// What was read and not taken yet.
    fn take_received(&mut self) -> Result<Option<Received>, CallError> {
        if let Some(line) = self.lines.next_filled(LINE_BYTES_MAX) {
            let incoming = line.map_err(|error| error.to_string()).and_then(decode_incoming);
            let incoming = incoming.map_err(|error| self.unexpected(Unexpected::Line(name(error.as_bytes()))))?;
            return Ok(Some(match incoming {
                Incoming::Reply { call, outcome } => Received::Answer(call, outcome),
                Incoming::Refused(error) => return Err(error),
                Incoming::Notice(notice) => Received::Heard(Heard::Notice(notice)),
                Incoming::Unknown(params) => Received::Heard(Heard::Unknown(params)),
            }));
        }
        Ok(self.ended.then_some(Received::Heard(Heard::Ended)))
    }

    fn receive(&mut self, until: Deadline) -> Result<Received, CallError> {
        loop {
            if let Some(received) = self.take_received()? {
                return Ok(received);
            }
            if let Some(heard) = self.end_of_wait(until) {
                return Ok(Received::Heard(heard));
            }
            // Of pages that follow one another, the next is here before it is waited for.
            if self.read() {
                continue;
            }
            if let Some(heard) = self.wait(Event::readable(SOCKET), until)? {
                return Ok(Received::Heard(heard));
            }
        }
    }

    /// Drops the notices that came before the last answer, which is newer than they are.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting.clear();
    }

    /// Waits until the process of the daemon has ended. False if it still runs at the deadline. Of a program that embeds a
    /// daemon, the end of the connection is all that can be awaited.
    pub(super) fn await_exit(&self, until: Deadline) -> bool {
        let is_there = || self.daemon.as_ref().is_some_and(Daemon::is_there);
        while is_there() && !until.has_passed() {
            std::thread::sleep(EXIT_INTERVAL);
        }
        !is_there()
    }

    /// The failure when the daemon closes the connection while something is still expected of it.
    pub(super) fn hung_up(&self) -> CallError {
        Failure::HungUp { path: self.path.clone() }.into()
    }

    fn late(&self, call: &Call) -> CallError {
        Failure::NoAnswer { path: self.path.clone(), within: call.timeout }.into()
    }

    fn send(&mut self, mut line: &[u8], call: &Call) -> Result<(), CallError> {
        let until = Deadline::after(call.timeout);
        while !line.is_empty() {
            match self.stream.write(line) {
                Ok(sent) => line = &line[sent..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.wait(Event::writable(SOCKET), until)? {
                        None => {}
                        Some(Heard::Deadline) => return Err(self.late(call)),
                        Some(_) => return Err(Failure::Interrupted.into()),
                    }
                }
                // The daemon may have sent the reason before it closed the connection: that is read next.
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Waits until the socket is ready; gives what comes before that, which is the deadline or Ctrl-C.
    fn wait(&mut self, socket: Event, until: Deadline) -> Result<Option<Heard>, CallError> {
        let mut events = Vec::new();
        loop {
            if until.has_passed() {
                return Ok(Some(Heard::Deadline));
            }
            let mut waited = || -> io::Result<()> {
                self.poller.modify(&self.stream, socket)?;
                if let Some(interrupts) = &self.interrupts {
                    self.poller.modify(interrupts, Event::readable(INTERRUPT))?;
                }
                self.poller.wait(&mut events, until.left()).map(drop)
            };
            match waited() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                waited => waited.map_err(|error| Failure::CannotWait { error: error.to_string() })?,
            }
            if events.iter().any(|event| event.key == INTERRUPT) && self.is_interrupted() {
                return Ok(Some(Heard::Interrupted));
            }
            if events.iter().any(|event| event.key == SOCKET) {
                return Ok(None);
            }
            events.clear();
        }
    }

    /// What ends a wait although there may be something to read: the deadline, or Ctrl-C.
    fn end_of_wait(&self, until: Deadline) -> Option<Heard> {
        match until.has_passed() {
            true => Some(Heard::Deadline),
            false => self.is_interrupted().then_some(Heard::Interrupted),
        }
    }

    /// Takes a Ctrl-C that was pressed.
    fn is_interrupted(&self) -> bool {
        self.interrupts.as_ref().is_some_and(|interrupts| matches!(interrupts.read_signal(), Ok(Some(_))))
    }

    /// Reads what is there. False if that is nothing.
    fn read(&mut self) -> bool {
        let mut bytes = [0; READ_BYTES_MAX];
        match self.stream.read(&mut bytes) {
            Ok(count @ 1..) => self.lines.push(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => self.ended = true,
        }
        true
    }

    fn unexpected(&self, why: Unexpected) -> CallError {
        Failure::OtherVersion { path: self.path.clone(), why }.into()
    }
}
