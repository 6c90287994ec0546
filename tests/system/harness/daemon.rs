//! Real daemons, each with a home of its own: share, downloads, state, control socket, log.

use super::setup::{Setup, strace, write_file};
use super::{Control, LIMIT, Stopwatch, until, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

/// The threads of a daemon, always the same: the loop, the writer of the log, and the workers (`driver/disk/jobs`).
pub(crate) const THREADS: u64 = 15;

/// How a daemon ended, and how long it took.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) took: Duration,
}

/// A running daemon; stopped when dropped. A failing test prints its log.
pub(crate) struct Daemon {
    setup: Setup,
    child: Option<Child>,
}

impl Setup {
    /// Starts the daemon, and waits until it answers and its first scan is through.
    pub(crate) fn start(self) -> Daemon {
        let daemon = self.start_scanning();
        until("the first scan is through", LIMIT, || daemon.status()["scanning"] == false);
        daemon
    }

    /// Starts the daemon, and waits until it answers.
    pub(crate) fn start_scanning(self) -> Daemon {
        let mut daemon = Daemon { setup: self, child: None };
        daemon.launch();
        daemon
    }
}

impl Daemon {
    fn launch(&mut self) {
        let stderr = match &self.setup.stderr {
            Some(stderr) => stderr.try_clone().expect("a descriptor"),
            None => File::create(self.home().join("stderr")).expect("a fresh file").into(),
        };
        let mut command = self.setup.command();
        command.stderr(stderr);
        self.child = Some(command.spawn().expect("pyrated can be run"));
        let watch = Stopwatch::start();
        wait_for("the daemon answers on its control socket", LIMIT * 2, || {
            let child = self.child.as_mut().expect("just started");
            if let Some(status) = child.try_wait().expect("our own child") {
                panic!("pyrated ended at once with {status}");
            }
            Control::connect(&self.socket()).ok()?.call("status", Value::Null).ok()
        });
        assert!(watch.ran() < LIMIT, "the daemon starts quickly");
    }

    /// Starts it again with the same home, after it ended.
    pub(crate) fn start_again(&mut self) {
        assert!(self.child.is_none(), "it has ended");
        self.launch();
    }

    /// Lets system calls fail from the next start on, as [`Setup::injecting`]. False where there is no strace.
    pub(crate) fn inject(&mut self, what: &str, path: Option<&Path>, faults: &[&str]) -> bool {
        let words = strace(what, self.home(), path, faults);
        let works = words.is_some();
        self.setup.prelude = words.unwrap_or_default();
        works
    }

    /// Calls of the system that were made to fail.
    pub(crate) fn injected(&self) -> usize {
        let told = fs::read_to_string(self.home().join("strace")).unwrap_or_default();
        told.lines().filter(|line| line.contains("(INJECTED)")).count()
    }

    /// Lets no system call of the running daemon fail any more.
    pub(crate) fn end_injection(&self) {
        let tracer = self.proc_status("TracerPid");
        if tracer != 0 {
            // It blocks all other signals. The daemon runs on.
            kill(Pid::from_raw(tracer as i32), Signal::SIGKILL).expect("it was started with the daemon");
            until("it is gone", LIMIT, || self.proc_status("TracerPid") == 0);
        }
    }

    /// Starts it without faults from the next start on.
    pub(crate) fn inject_nothing(&mut self) {
        self.setup.prelude.clear();
    }

    /// Changes a key of the configuration file; in force after a reload or the next start.
    pub(crate) fn reconfigure(&mut self, key: &str, value: &str) {
        self.setup.keys.insert(key.into(), value.into());
        self.setup.write_config();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).expect("our own child can be signalled");
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn stop(&mut self) -> Ended {
        self.end_by(Signal::SIGTERM)
    }

    /// Sends SIGTERM, and waits until it has left, for less than five seconds whatever it waits for; then for the end, once `release`
    /// has let go of what a tracer holds.
    pub(crate) fn stop_in_time(&mut self, release: impl FnOnce(&Self)) {
        let watch = Stopwatch::start();
        self.signal(Signal::SIGTERM);
        self.await_log("daemon: left");
        let took = watch.ran();
        println!("the stop took {took:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
        release(self);
        assert_eq!(self.wait_end(watch).code, Some(0));
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn end_by(&mut self, signal: Signal) -> Ended {
        let watch = Stopwatch::start();
        self.signal(signal);
        self.wait_end(watch)
    }

    /// Kills it while a call of the system is held up by [`Setup::injecting`], and starts it without faults from then on.
    pub(crate) fn kill_in_call(&mut self) {
        let tracer = self.proc_status("TracerPid");
        let watch = Stopwatch::start();
        self.signal(Signal::SIGKILL);
        // The system waits for the tracer, which waits for the end of the delay.
        kill(Pid::from_raw(tracer as i32), Signal::SIGKILL).expect("it was started with the daemon");
        self.wait_end(watch);
        self.inject_nothing();
    }

    /// Waits for an end that something else brings about.
    pub(crate) fn wait_end(&mut self, since: Stopwatch) -> Ended {
        let child = self.child.as_mut().expect("it runs");
        let status = wait_for("the daemon ends", LIMIT, || child.try_wait().expect("our own child"));
        self.child = None;
        Ended { code: status.code(), took: since.ran() }
    }

    pub(crate) fn home(&self) -> &Path {
        self.setup.home()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home().join("control.sock")
    }

    pub(crate) fn share(&self) -> PathBuf {
        self.setup.share()
    }

    pub(crate) fn downloads_directory(&self) -> PathBuf {
        self.home().join("downloads")
    }

    /// Puts a file into the share; it is found by the next scan.
    pub(crate) fn add_file(&self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        write_file(&self.share(), name.as_ref(), content.as_ref());
    }

    /// Waits until the log says so.
    pub(crate) fn await_log(&self, text: &str) {
        until(&format!("the log says {text:?}"), LIMIT, || self.log().contains(text));
    }

    /// The log so far; its last lines may be on their way.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.home().join("log")).unwrap_or_default()).into_owned()
    }

    pub(crate) fn control(&self) -> Control {
        Control::connect(&self.socket()).expect("the control socket accepts")
    }

    /// One call on a connection of its own, which must succeed.
    pub(crate) fn call(&self, method: &str, params: Value) -> Value {
        self.control().call(method, params).unwrap_or_else(|failure| panic!("{method}: {failure:?}"))
    }

    pub(crate) fn status(&self) -> Value {
        self.call("status", Value::Null)
    }

    /// Where its peer listener is bound.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.status()["listen"].as_str().expect("it listens").parse().expect("an endpoint")
    }

    /// Where it serves as a bootstrap node.
    pub(crate) fn bootstrap_addr(&self) -> SocketAddr {
        self.setup.keys["bootstrap_serve"].trim_matches('\'').parse().expect("an endpoint")
    }

    /// The rows of a call that answers in pages, all of them.
    pub(crate) fn pages(&self, method: &str, rows: &str) -> Vec<Value> {
        let mut control = self.control();
        let mut all = Vec::new();
        let mut params = json!({});
        loop {
            let page = control.call(method, params).unwrap_or_else(|failure| panic!("{method}: {failure:?}"));
            let part = page[rows].as_array().expect("rows");
            assert!(part.len() <= 500, "a page is bounded");
            all.extend(part.iter().cloned());
            if page["next"].is_null() {
                return all;
            }
            assert!(!part.is_empty(), "a page that is followed by another is not empty");
            params = json!({ "after": page["next"] });
        }
    }

    /// The endpoints of the peers that it knows and for which `which` holds.
    pub(crate) fn peers_that(&self, which: impl Fn(&Value) -> bool) -> Vec<SocketAddr> {
        let peers = self.call("peers", Value::Null);
        let rows = peers.as_array().expect("rows").iter().filter(|row| which(row));
        rows.map(|row| row["addr"].as_str().expect("an endpoint").parse().expect("an endpoint")).collect()
    }

    /// Waits until this peer is among its neighbours.
    pub(crate) fn await_neighbour(&self, peer: SocketAddr) {
        until(&format!("{peer} is a neighbour"), LIMIT, || {
            self.peers_that(|row| row["neighbour"] == true).contains(&peer)
        });
    }

    /// Has the share scanned now, and waits until that is through.
    pub(crate) fn rescan(&self) -> Value {
        let mut control = self.control();
        control.call("rescan", Value::Null).expect("a rescan can be asked for");
        control.notice("the scan is through", |notice| {
            (notice["event"] == "scan" && notice["done"] == true).then(|| notice.clone())
        })
    }

    /// Starts the download of a peer's file by name; gives its id.
    pub(crate) fn begin_download(&self, peer: SocketAddr, name: &str) -> u64 {
        let what = json!([{ "file": { "peer": peer, "name": name } }]);
        let reply = self.call("download", json!({ "what": what }));
        reply["downloads"][0]["id"].as_u64().expect("a download has an id")
    }

    /// The row of a download.
    pub(crate) fn download(&self, id: u64) -> Value {
        let rows = self.pages("downloads", "downloads");
        rows.into_iter().find(|row| row["id"] == id).expect("the download is remembered")
    }

    /// Waits until a download is in this state; gives its row.
    pub(crate) fn await_download(&self, id: u64, state: &str) -> Value {
        wait_for(&format!("download {id} is {state}"), LIMIT * 2, || {
            let row = self.download(id);
            let over = ["done", "failed", "cancelled"].iter().any(|end| row["state"] == *end);
            assert!(row["state"] == state || !over, "download {id} ended otherwise than {state}: {row}");
            (row["state"] == state).then_some(row)
        })
    }

    /// Searches, and gives the rows once `enough` says so.
    pub(crate) fn search_until(&self, text: &str, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut control = self.control();
        let begun = control.call("search", json!({ "text": text })).expect("a search begins");
        wait_for(&format!("hits for {text}"), LIMIT, || {
            let page = control.call("hits", json!({ "search": begun["search"] })).expect("hits can be read");
            let rows = page["hits"].as_array().expect("rows").clone();
            enough(&rows).then_some(rows)
        })
    }

    /// A number of a line of `/proc/PID/status`, such as `VmRSS` in KiB.
    pub(crate) fn proc_status(&self, key: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).expect("a known key");
        line.split_whitespace().next().expect("a value").parse().expect("a number")
    }

    /// Descriptors that are open for others: sockets, and files of the share. Those of the state directory come and go.
    pub(crate) fn descriptors_for_others(&self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it runs");
        let targets = open.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        targets
            .filter(|target| target.starts_with(self.share()) || target.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// The time of processors that it has used so far, user and system, to the nanosecond: a tick of /proc/PID/stat is charged whole to
    /// whoever runs when it ends.
    pub(crate) fn cpu_time(&self) -> Duration {
        let clock = clock_getcpuclockid(Pid::from_raw(self.pid() as i32)).expect("it runs");
        clock.now().expect("it runs").into()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(80).collect();
            eprintln!("--- log of the daemon at {} (its end)", self.home().display());
            tail.into_iter().rev().for_each(|line| eprintln!("{line}"));
            eprintln!("--- its stderr\n{}", fs::read_to_string(self.home().join("stderr")).unwrap_or_default());
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
