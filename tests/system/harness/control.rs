//! A client of the control socket: JSON-RPC 2.0, one object a line.

use super::{LIMIT, Stopwatch};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// An error that the daemon answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: i64,
    pub(crate) message: String,
}

/// One connection to a daemon's control socket.
pub(crate) struct Control {
    stream: UnixStream,
    unread: Vec<u8>,
    calls: u64,
    notices: VecDeque<Value>,
}

impl Control {
    pub(crate) fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(Self { stream, unread: Vec::new(), calls: 0, notices: VecDeque::new() })
    }

    /// Calls and waits for the answer; notices that come before it are kept for [`Self::notice`].
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Result<Value, Failure> {
        self.calls += 1;
        let id = json!(self.calls);
        let mut request = json!({ "jsonrpc": "2.0", "id": id, "method": method });
        if !params.is_null() {
            request["params"] = params;
        }
        self.send_raw(format!("{request}\n").as_bytes());
        loop {
            let line = self.line().expect("the daemon answers");
            assert_eq!(line["jsonrpc"], "2.0", "{line}");
            if line.get("method").is_some() {
                self.keep_notice(&line);
            } else if line["id"] == id {
                return outcome_of(&line);
            } else {
                panic!("an answer to no call of ours: {line}");
            }
        }
    }

    /// Waits for the first notice in which `look` sees something, past those it sees nothing in.
    pub(crate) fn notice<T>(&mut self, what: &str, mut look: impl FnMut(&Value) -> Option<T>) -> T {
        let watch = Stopwatch::start();
        loop {
            while let Some(notice) = self.notices.pop_front() {
                if let Some(seen) = look(&notice) {
                    return seen;
                }
            }
            assert!(watch.ran() < LIMIT, "waited in vain for the notice: {what}");
            let line = self.line().unwrap_or_else(|error| panic!("waiting for the notice: {what}: {error}"));
            self.keep_notice(&line);
        }
    }

    fn keep_notice(&mut self, line: &Value) {
        assert_eq!(line["method"], "event", "{line}");
        assert!(line.get("id").is_none(), "a notification has no id: {line}");
        self.notices.push_back(line["params"].clone());
    }

    /// Sends bytes as they are.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the daemon reads");
    }

    /// Sends bytes as they are, to a daemon that may hang up meanwhile.
    pub(crate) fn try_send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more will be asked.
    pub(crate) fn half_close(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).expect("it is connected");
    }

    /// The next line; an error at the end of the stream or after the limit.
    pub(crate) fn line(&mut self) -> io::Result<Value> {
        let mut part = [0; 1 << 16];
        loop {
            if let Some(end) = self.unread.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Ok(serde_json::from_slice(&line).expect("every line is JSON"));
            }
            match self.read(&mut part)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.unread.extend_from_slice(&part[..count]),
            }
        }
    }

    /// A read with a timeout is not begun again by the system after a signal.
    fn read(&mut self, part: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(part) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    /// Reads until the daemon hangs up; an error if it does not within `limit` of silence.
    pub(crate) fn drain(&mut self, limit: Duration) -> io::Result<u64> {
        self.stream.set_read_timeout(Some(limit))?;
        let mut part = [0; 1 << 16];
        let mut total = self.unread.len() as u64;
        loop {
            match self.read(&mut part) {
                Ok(0) => return Ok(total),
                Ok(count) => total += count as u64,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(total),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Splits a response object into result and error.
fn outcome_of(line: &Value) -> Result<Value, Failure> {
    match (line.get("result"), line.get("error")) {
        (Some(result), None) => Ok(result.clone()),
        (None, Some(error)) => {
            let code = error["code"].as_i64().expect("an error has a code");
            let message = error["message"].as_str().expect("an error has a message").to_owned();
            Err(Failure { code, message })
        }
        _ => panic!("neither result nor error: {line}"),
    }
}
