//! A control socket that answers as a script says, and a run of `pyratectl` against it. Nothing waits without bound.

use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// Checks the code and the whole standard output.
    #[track_caller]
    pub(crate) fn gives(&self, code: i32, out: &str) {
        assert_eq!((self.code, self.out.as_str()), (code, out), "standard error: {}", self.err);
    }

    /// Checks the code and that the standard error says this.
    #[track_caller]
    pub(crate) fn says(&self, code: i32, told: &str) {
        assert!(self.code == code && self.err.contains(told), "wanted {code}, {told:?}: {self:?}");
    }

    /// The standard output, which must be one JSON document on one line.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// One side of the conversation with `pyratectl`.
pub(crate) struct Talk {
    lines: BufReader<UnixStream>,
    stream: UnixStream,
    /// Bytes sent at once.
    piece: usize,
    id: Value,
}

impl Talk {
    /// Waits for a call of this method and gives its parameters, null if it has none.
    #[track_caller]
    pub(crate) fn expect(&mut self, method: &str) -> Value {
        self.expect_or_hangup(method).expect("a call")
    }

    /// As [`expect`](Self::expect); `None` if `pyratectl` hangs up, be it with bytes of ours unread.
    pub(crate) fn expect_or_hangup(&mut self, method: &str) -> Option<Value> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => return None,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
            read => drop(read.expect("a call")),
        }
        let mut call: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert_eq!((&call["jsonrpc"], &call["method"]), (&json!("2.0"), &json!(method)), "{line}");
        self.id = call["id"].take();
        assert!(self.id.is_u64() || self.id.is_string());
        Some(call["params"].take())
    }

    /// Answers the last call.
    pub(crate) fn reply(&mut self, result: Value) {
        let id = &self.id;
        self.line(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
    }

    /// Answers the last call with an error.
    pub(crate) fn fail(&mut self, code: i32, message: &str) {
        let id = &self.id;
        self.line(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}));
    }

    /// Sends a notice.
    pub(crate) fn notice(&mut self, params: Value) {
        self.line(&json!({"jsonrpc": "2.0", "method": "event", "params": params}));
    }

    /// Waits for a call and answers it.
    #[track_caller]
    pub(crate) fn answer(&mut self, method: &str, result: Value) -> Value {
        let params = self.expect(method);
        self.reply(result);
        params
    }

    fn line(&mut self, value: &Value) {
        self.raw(format!("{value}\n").as_bytes());
    }

    /// Sends bytes, in pieces. That nobody takes them is for the checks of the run to notice.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.piece) {
            if self.stream.write_all(piece).is_err() {
                return;
            }
        }
    }

    /// Sends a notice again and again until `pyratectl` hangs up.
    pub(crate) fn notices_until_hangup(&mut self, params: &Value) {
        let line = format!("{}\n", json!({"jsonrpc": "2.0", "method": "event", "params": params}));
        while self.stream.write_all(line.as_bytes()).is_ok() {}
    }

    /// Sends a notice; false if `pyratectl` has hung up.
    pub(crate) fn try_notice(&mut self, params: &Value) -> bool {
        writeln!(self.stream, "{}", json!({"jsonrpc": "2.0", "method": "event", "params": params})).is_ok()
    }

    /// Waits until `pyratectl` is gone, be it with bytes of ours unread.
    pub(crate) fn until_gone(&mut self) {
        match self.lines.read_to_end(&mut Vec::new()) {
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("{error}"),
            _ => {}
        }
    }

    /// Waits until `pyratectl` hangs up.
    pub(crate) fn until_hangup(&mut self) {
        let mut rest = Vec::new();
        self.lines.read_to_end(&mut rest).expect("the end");
        assert_eq!(String::from_utf8_lossy(&rest), "", "a call that nobody expected");
    }
}

/// A socket in a directory of its own.
pub(crate) struct Fake {
    directory: TempDir,
    piece: usize,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), piece: usize::MAX }
    }

    /// Everything is sent in pieces of so many bytes.
    pub(crate) fn in_pieces(mut self, bytes: usize) -> Self {
        self.piece = bytes;
        self
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    /// `pyratectl` with these arguments, told of no socket, in an environment of its own.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pyratectl"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.directory())
            .env("LC_ALL", "C.UTF-8")
            .current_dir(self.directory());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `pyratectl` with these arguments, told of this socket.
    pub(crate) fn command_here(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.env("PYRATE_CONTROL_SOCKET", self.socket());
        command
    }

    /// Runs `pyratectl` against a daemon that does as the script says, and closes the connection at its end.
    pub(crate) fn run(self, arguments: &[&str], script: impl FnOnce(&mut Talk) + Send + 'static) -> Run {
        let command = self.command_here(arguments);
        self.run_command(command, script)
    }

    /// The same with a command prepared from [`command`](Self::command).
    pub(crate) fn run_command(self, mut command: Command, script: impl FnOnce(&mut Talk) + Send + 'static) -> Run {
        let daemon = self.serve(script);
        let run = finish(command.spawn().unwrap());
        wait_for(daemon);
        run
    }

    /// Listens, and follows the script with the first client; gives where to hear of the end.
    pub(crate) fn serve(&self, script: impl FnOnce(&mut Talk) + Send + 'static) -> mpsc::Receiver<()> {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let piece = self.piece;
        let (done, ended) = mpsc::channel();
        thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap());
            let mut talk = Talk { lines, stream, piece, id: Value::Null };
            script(&mut talk);
            done.send(()).unwrap();
        });
        ended
    }
}

impl Fake {
    /// Listens, and answers the calls of any number of clients: each with the result that stands under its method.
    pub(crate) fn serve_all(&self, results: Value) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, results) = (stream.unwrap(), results.clone());
                thread::spawn(move || {
                    for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok) {
                        let call: Value = serde_json::from_str(&line).unwrap();
                        let result = &results[call["method"].as_str().unwrap()];
                        let answer = json!({"jsonrpc": "2.0", "id": call["id"], "result": result});
                        // A client that has gone needs none.
                        let _ = writeln!(stream, "{answer}");
                    }
                });
            }
        });
    }
}

/// Waits for the script's end; fails if it failed.
#[track_caller]
pub(crate) fn wait_for(daemon: mpsc::Receiver<()>) {
    daemon.recv_timeout(PATIENCE).expect("the script did not come to its end");
}

/// Runs against a script in the usual way.
pub(crate) fn run(arguments: &[&str], script: impl FnOnce(&mut Talk) + Send + 'static) -> Run {
    Fake::new().run(arguments, script)
}

/// Runs with the answer in one piece and byte by byte, as text, terse and JSON.
pub(crate) fn forms(command: &[&str], script: fn(&mut Talk)) -> [Run; 3] {
    [&[][..], &["--terse"], &["--json"]].map(|form| {
        let arguments = [form, command].concat();
        let whole = run(&arguments, script);
        let pieces = Fake::new().in_pieces(1).run(&arguments, script);
        assert_eq!((whole.code, &whole.out, &whole.err), (pieces.code, &pieces.out, &pieces.err));
        whole
    })
}

/// Runs without any daemon.
pub(crate) fn run_alone(arguments: &[&str]) -> Run {
    finish(Fake::new().command(arguments).spawn().unwrap())
}

/// Collects what a program writes until it ends, which it must.
pub(crate) fn finish(mut child: Child) -> Run {
    let out = collect(child.stdout.take());
    let err = collect(child.stderr.take());
    let take = |from: mpsc::Receiver<String>| from.recv_timeout(PATIENCE);
    let (out, err) = (take(out), take(err));
    if out.is_err() || err.is_err() {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    Run {
        code: status.code().unwrap_or_else(|| panic!("ended by a signal: {status}")),
        out: out.expect("the program did not end"),
        err: err.expect("the program did not end"),
    }
}

/// Everything that comes out of a pipe, as soon as it is closed.
fn collect(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_string(&mut text).expect("UTF-8");
        }
        // The receiver may have given up.
        let _ = done.send(text);
    });
    ended
}

/// A row of a hit.
pub(crate) fn hit(id: u32, name: &str, size: Option<u64>, sources: &[&str]) -> Value {
    json!({"id": id, "name": name, "names": [name], "size": size, "b3": null, "sources": sources})
}

/// A row of a download.
pub(crate) fn download(id: u32, name: &str, state: &str, bytes_done: u64) -> Value {
    json!({
        "id": id, "name": name, "path": null, "state": state, "bytes_done": bytes_done, "size": 2048, "rate": null,
        "b3": null, "verified": false, "sources": ["192.0.2.1:63339"], "error": null, "retry_in_s": null,
        "shares": [source("192.0.2.1:63339", "active", bytes_done)], "eta_s": null, "already": false, "not_remembered": null, "place": null,
    })
}

/// A source of a download.
pub(crate) fn source(addr: &str, state: &str, bytes: u64) -> Value {
    json!({"addr": addr, "state": state, "bytes": bytes, "rate": null, "error": null})
}

/// A row with some fields changed.
pub(crate) fn with(mut row: Value, changes: Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        row[key] = value.clone();
    }
    row
}

/// An argument of any bytes.
pub(crate) fn raw_argument(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStrExt;
    OsStr::from_bytes(bytes).to_owned()
}
