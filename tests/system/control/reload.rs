//! A reload, for every key: what is said to be in force runs, and what is said to wait does not (pyrated(8), SIGNALS).

mod reach;
mod shares;

use crate::harness::{
    Daemon, Fake, LIMIT, OldBootstrap, Reading, Setup, Stopwatch, clean_command, fetch, free_port, holds, pause,
    pyratectl, until, wait_for,
};
use reach::{links, sandbox};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

/// How long to look for what must not happen.
const UNCHANGED: Duration = Duration::from_millis(400);

/// A key, and a change of its value.
struct Change<'k> {
    key: &'k str,
    /// In TOML.
    before: String,
    after: String,
}

/// Which value runs after a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runs {
    Before,
    After,
}

impl Runs {
    fn after_if(is_after: bool) -> Self {
        if is_after { Self::After } else { Self::Before }
    }
}

impl<'k> Change<'k> {
    fn of(key: &'k str, before: impl Into<String>, after: impl Into<String>) -> Self {
        Self { key, before: before.into(), after: after.into() }
    }

    /// Starts a daemon with the value before.
    fn start(&self, setup: Setup) -> Daemon {
        setup.set(self.key, &self.before).start()
    }

    /// Changes the value, and reloads.
    fn reload(&self, daemon: &mut Daemon) {
        daemon.reconfigure(self.key, &self.after);
        daemon.call("reload", Value::Null);
    }

    /// What is reported must be what runs: of the first reload, of a second one that changes nothing more, and of one that takes
    /// the change back.
    fn assert_reported(&self, daemon: &mut Daemon, runs: Runs) {
        daemon.reconfigure(self.key, &self.before);
        daemon.call("reload", Value::Null);
        daemon.reconfigure(self.key, &self.after);
        for turn in 0..2 {
            let report = daemon.call("reload", Value::Null);
            let [changed, waiting] =
                ["changed", "waiting"].map(|list| keys(&report[list]).contains(&self.key.to_owned()));
            assert_eq!(changed, runs == Runs::After && turn == 0, "{}: {report}", self.key);
            assert_eq!(waiting, runs == Runs::Before, "{}: {report}", self.key);
        }
        daemon.reconfigure(self.key, &self.before);
        let report = daemon.call("reload", Value::Null);
        assert_eq!(
            (&report["waiting"], keys(&report["changed"]).len()),
            (&json!([]), usize::from(runs == Runs::After))
        );
    }
}

fn keys(rows: &Value) -> Vec<String> {
    let rows = rows.as_array().expect("a list of keys").iter();
    rows.map(|row| row["key"].as_str().expect("a key").to_owned()).collect()
}

fn quoted(value: impl std::fmt::Display) -> String {
    format!("'{value}'")
}

/// A peer that takes connections and never answers.
fn mute() -> Fake {
    Fake::serve(Reading::Once, |_visit| pause(LIMIT))
}

/// The directory in which a download is to end that begins now.
fn next_download(daemon: &Daemon, from: &Fake) -> PathBuf {
    let id = daemon.begin_download(from.addr, "a file");
    let path = wait_for("the download has a name", LIMIT, || daemon.download(id)["path"].as_str().map(PathBuf::from));
    path.parent().expect("in a directory").to_owned()
}

/// The keys that say where to register.
fn membership(key: &str) -> Runs {
    let [old, new] = [(); 2].map(|()| OldBootstrap::listing(&[]));
    let port = old.addr().port();
    let (setup, change) = match key {
        "bootstrap_addr" => {
            let setup = Setup::peer().set("bootstrap_port", &port.to_string());
            (setup, Change::of(key, "'127.0.0.1'", "'localhost'"))
        }
        "bootstrap_port" => {
            let setup = Setup::peer().set("bootstrap_addr", "'127.0.0.1'");
            (setup, Change::of(key, port.to_string(), new.addr().port().to_string()))
        }
        _ => (Setup::peer(), Change::of(key, format!("['{}']", old.addr()), format!("['{}']", new.addr()))),
    };
    let mut peer = change.start(setup);
    until("it is registered", LIMIT, || old.peers() == [peer.listen()]);
    change.reload(&mut peer);
    let wanted = if key == "bootstrap_addr" { format!("localhost:{port}") } else { new.addr().to_string() };
    until("it registers again", LIMIT, || {
        let link = peer.status()["bootstraps"][0].clone();
        link["addr"] == wanted && link["state"] == "registered"
    });
    if key != "bootstrap_addr" {
        until("the new one lists it, and the old one does not", LIMIT, || {
            new.peers() == [peer.listen()] && old.peers().is_empty()
        });
    }
    change.assert_reported(&mut peer, Runs::After);
    Runs::After
}

/// The keys of the listeners, and of what kind of node this is.
fn listeners(key: &str) -> Runs {
    let bootstrap = OldBootstrap::listing(&[]);
    let free = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let change = match key {
        "listen_addr" => Change::of(key, "'127.0.0.1'", "'127.0.0.2'"),
        "listen_port" => Change::of(key, "0", free.port().to_string()),
        "peer" => Change::of(key, "true", "false"),
        "bootstrap_verify" => Change::of(key, "false", "true"),
        _ => Change::of(key, quoted(SocketAddr::from(([127, 0, 0, 1], free_port()))), quoted(free)),
    };
    let serves = key.starts_with("bootstrap_");
    let setup = if serves { Setup::peer() } else { Setup::peer().joins(&[bootstrap.addr()]) };
    let mut peer = change.start(setup);
    let links = |peer: &Daemon| peer.status()["bootstraps"].clone();
    until("it is registered", LIMIT, || links(&peer)[0]["state"] == "registered");
    let (listen, link) = (peer.listen(), links(&peer)[0]["addr"].clone());
    change.reload(&mut peer);
    holds("it stays registered where it was", UNCHANGED, || {
        let now = links(&peer)[0].clone();
        now["addr"] == link && now["state"] == "registered" && (serves || bootstrap.peers() == [listen])
    });
    let answers = |addr: SocketAddr| TcpStream::connect(addr).is_ok();
    assert!(answers(listen), "it listens where it did");
    let registry = peer.call("bootstrap", Value::Null)["registry"].clone();
    let runs = match key {
        "listen_addr" => Runs::after_if(answers(SocketAddr::from(([127, 0, 0, 2], listen.port())))),
        "listen_port" => Runs::after_if(answers(free)),
        "bootstrap_verify" => Runs::after_if(registry["checks"].is_object()),
        "bootstrap_serve" | "metrics_listen" => Runs::after_if(answers(free)),
        _ => Runs::after_if(peer.listen() != listen),
    };
    change.assert_reported(&mut peer, runs);
    runs
}

/// The keys of directories and files.
fn places(key: &str) -> Runs {
    let setup = Setup::peer();
    let path = |name: &str| setup.home().join(name);
    let new = path("other");
    let before = match key {
        "local_directory" => path("share"),
        "download_directory" => path("downloads"),
        "watch_directory" => path("watched"),
        "log_file" => path("log"),
        "control_socket" => path("control.sock"),
        _ => path("state"),
    };
    let change = Change::of(key, quoted(before.display()), quoted(new.display()));
    if matches!(key, "local_directory" | "download_directory" | "watch_directory") {
        std::fs::create_dir_all(&before).expect("a directory");
        std::fs::create_dir(&new).and_then(|()| std::fs::write(new.join("unshared"), "x")).expect("a fresh directory");
    }
    let setup = if key == "local_directory" { setup.set("download_directory", "''") } else { setup };
    let mut peer = change.start(setup);
    change.reload(&mut peer);
    let source = mute();
    let runs = match key {
        "local_directory" => {
            peer.rescan();
            // Downloads are shared as soon as they are whole: they go where the share is.
            assert_eq!(next_download(&peer, &source), before);
            Runs::after_if(peer.status()["shared_files"] != 0)
        }
        "download_directory" => Runs::after_if(next_download(&peer, &source) == new),
        "watch_directory" => Runs::after_if(peer.status()["watch"]["directory"] == json!(new)),
        "log_file" => {
            until("lines go to the new log", LIMIT, || std::fs::metadata(&new).is_ok_and(|log| log.len() > 0));
            Runs::After
        }
        _ => Runs::after_if(new.exists()),
    };
    change.assert_reported(&mut peer, runs);
    runs
}

/// The keys of times and levels.
fn pace(key: &str) -> Runs {
    let ear = Fake::ear();
    let bootstrap = OldBootstrap::listing(&[ear.addr]);
    let change = match key {
        "keepalive_refresh" => Change::of(key, "'10m'", "'100ms'"),
        "filemonitor_refresh" => Change::of(key, "'1h'", "'100ms'"),
        "advertise_addr" => Change::of(key, "'127.0.0.8'", "'127.0.0.9'"),
        "log_format" => Change::of(key, "'text'", "'json'"),
        _ => Change::of(key, "'error'", "'info'"),
    };
    let mut peer = change.start(Setup::peer().joins(&[bootstrap.addr()]));
    until("it is registered", LIMIT, || peer.status()["bootstraps"][0]["state"] == "registered");
    change.reload(&mut peer);
    peer.add_file("new file", "x");
    until("it has a neighbour", LIMIT, || !peer.peers_that(|row| row["neighbour"] == true).is_empty());
    peer.call("search", json!({ "text": "nothing" }));
    until(&format!("the new {key} is seen to run"), LIMIT, || match key {
        "keepalive_refresh" => !bootstrap.fake.heard_beginning("3:").is_empty(),
        "filemonitor_refresh" => peer.status()["shared_files"] == 1,
        "advertise_addr" => ear.heard_beginning("6:").iter().any(|search| search.contains(":nothing:127.0.0.9:")),
        "log_format" => peer.log().lines().any(|line| line.starts_with("{\"time\":")),
        _ => peer.log().contains("configuration reloaded"),
    });
    change.assert_reported(&mut peer, Runs::After);
    Runs::After
}

/// The keys of numbers at once.
fn numbers(key: &str) -> Runs {
    let ears = [(); 3].map(|()| Fake::ear());
    let bootstrap = OldBootstrap::listing(&ears.each_ref().map(|ear| ear.addr));
    let change = match key {
        "max_ttl" => Change::of(key, "1", "2"),
        _ => Change::of(key, "1", "3"),
    };
    let mut peer = change.start(Setup::peer().joins(&[bootstrap.addr()]));
    until("it has a neighbour", LIMIT, || !peer.peers_that(|row| row["neighbour"] == true).is_empty());
    let source = mute();
    if key.ends_with("workers") || key.ends_with("downloads") {
        (0..3).for_each(|turn| _ = peer.begin_download(source.addr, &format!("file {turn}")));
    }
    if key == "max_workers" {
        until("two commands wait", LIMIT, || peer.status()["commands_queued"] == 2);
    }
    change.reload(&mut peer);
    if key == "max_peers" {
        until("it has three", LIMIT, || peer.peers_that(|row| row["neighbour"] == true).len() == 3);
    }
    if matches!(key, "max_ttl" | "max_peers") {
        peer.call("search", json!({ "text": "nothing" }));
    }
    until(&format!("the new {key} is seen to run"), LIMIT, || match key {
        "max_ttl" => ears.iter().any(|ear| ear.heard_beginning("6:").iter().any(|search| search.ends_with(":2"))),
        "max_peers" => {
            ears.iter().all(|ear| ear.heard_beginning("6:").iter().any(|search| search.contains(":nothing:")))
        }
        // Each is asked for its own file, on its own connection.
        _ => {
            (0..3).all(|turn| source.heard().iter().any(|request| request.ends_with(format!("file {turn}").as_bytes())))
        }
    });
    change.assert_reported(&mut peer, Runs::After);
    Runs::After
}

/// The keys of rates: at the first one the file would take half an hour.
fn rates(key: &str) -> Runs {
    let content = vec![7; 2 << 20];
    let change = match key {
        "limit" => Change::of(key, "[{ when = '00:00-24:00', download_limit = '1KiB' }]", "[]"),
        _ => Change::of(key, "'1KiB'", "0"),
    };
    let mut peer = change.start(Setup::peer().shares("file.bin", &content));
    let other = Setup::peer().shares("other.bin", &content).start();
    change.reload(&mut peer);
    match key {
        "upload_limit" => assert!(fetch(peer.listen(), b"file.bin") == content),
        _ => {
            let id = peer.begin_download(other.listen(), "other.bin");
            peer.await_download(id, "done");
        }
    }
    change.assert_reported(&mut peer, Runs::After);
    Runs::After
}

/// The keys of how a daemon starts and ends.
fn ends(key: &str) -> Runs {
    let change = Change::of(key, "true", "false");
    let setup = match key {
        // The environment of the tests would beat the file.
        "allow_root" => Setup::peer().after(&["env", "-u", "PYRATE_ALLOW_ROOT"]),
        _ => Setup::peer(),
    };
    let mut peer = change.start(setup);
    change.reload(&mut peer);
    change.assert_reported(&mut peer, Runs::Before);
    Runs::Before
}

#[test]
fn what_runs_after_a_reload_is_what_is_reported_for_every_key() {
    let config = Setup::peer();
    let dump = clean_command(env!("CARGO_BIN_EXE_pyrated"), config.home())
        .args(["--dump-config", "--config"])
        .arg(config.write_config())
        .output()
        .expect("pyrated can be run");
    let dump = String::from_utf8(dump.stdout).expect("UTF-8");
    let keys: Vec<&str> = dump.lines().filter_map(|line| line.split_once(" = ").map(|(key, _)| key)).collect();
    assert_eq!(keys.len(), 36, "{dump}");
    let run = |key: &str| match key {
        "bootstrap_addr" | "bootstrap_port" | "bootstraps" => (membership(key), Runs::After),
        "listen_addr" | "listen_port" | "bootstrap_serve" | "bootstrap_verify" | "metrics_listen" | "peer" => {
            (listeners(key), Runs::Before)
        }
        "advertise_addr" | "keepalive_refresh" | "filemonitor_refresh" | "log_format" | "log_level" => {
            (pace(key), Runs::After)
        }
        "interface" => (shares::interface(key), Runs::Before),
        "audience" => (shares::audience(key), Runs::After),
        "share" => (shares::shares(key), Runs::After),
        "follow_symlinks" => (links(key), Runs::Before),
        "local_directory" | "watch_directory" | "control_socket" | "state_directory" => (places(key), Runs::Before),
        "download_directory" | "log_file" => (places(key), Runs::After),
        "max_workers" | "max_downloads" | "max_peers" | "max_ttl" => (numbers(key), Runs::After),
        "upload_limit" | "download_limit" | "limit" => (rates(key), Runs::After),
        "allow_root" | "hand_over" => (ends(key), Runs::Before),
        "sandbox" | "sandbox_writable" | "sandbox_readable" => (sandbox(key), Runs::Before),
        other => panic!("nobody looks what a reload does to {other}"),
    };
    std::thread::scope(|scope| {
        let tried: Vec<_> = keys.iter().map(|key| (key, scope.spawn(move || run(key)))).collect();
        for (key, tried) in tried {
            let (runs, expected) = tried.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            assert_eq!(runs, expected, "{key}");
        }
    });
}

#[test]
fn a_bootstrap_node_alone_has_no_links_and_says_so() {
    let mut node = Setup::bootstrap().start();
    node.reconfigure("bootstraps", "['192.0.2.7:21168']");
    for _ in 0..2 {
        let report = node.call("reload", Value::Null);
        assert_eq!((&report["changed"], &report["waiting"]), (&json!([]), &json!([])), "{report}");
        assert!(
            report["remarks"].to_string().contains("without effect on a bootstrap node alone: bootstraps"),
            "{report}"
        );
    }
    let told = pyratectl(&node, ["reload"]);
    assert!(told.stdout.is_empty() && told.stderr.contains("bootstraps"), "{told:?}");
    assert_eq!(node.call("bootstrap", Value::Null)["links"], json!([]));
}

#[test]
fn a_directory_in_another_spelling_is_no_change() {
    let mut peer = Setup::peer().start();
    let share = peer.share().display().to_string();
    for spelling in [format!("{share}/"), format!("{share}/."), format!("/{share}"), share.replace("/share", "//share")]
    {
        peer.reconfigure("local_directory", &quoted(&spelling));
        let report = peer.call("reload", Value::Null);
        assert_eq!((&report["changed"], &report["waiting"]), (&json!([]), &json!([])), "{spelling}: {report}");
    }
}

/// Other clients get their answers for a while, as if nothing went on.
fn assert_answers_at_once(peer: &Daemon, since: Stopwatch) {
    let mut other = peer.control();
    while since.elapsed() < Duration::from_millis(1500) {
        let asked = Stopwatch::start();
        other.call("status", Value::Null).expect("an answer");
        assert!(asked.ran() < Duration::from_millis(700), "an answer took {:?}", asked.ran());
    }
}

/// Its files may be on a disk that does not answer.
#[test]
fn nobody_waits_while_the_configuration_is_read() {
    let setup = Setup::peer();
    let file = setup.home().join("pyrated.toml");
    let slow = setup.injecting("a slow disk below the configuration", Some(&file), &["openat:delay_enter=2s"]);
    let Some(setup) = slow else { return };
    let peer = setup.start();
    let mut waiting = peer.control();
    let watch = Stopwatch::start();
    // Each asks for what the file says from then on: all but the first are one more reading. At most 256 may wait for that.
    for id in 1..=300 {
        waiting.send_raw(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"reload\"}}\n").as_bytes());
    }
    assert_answers_at_once(&peer, watch);
    let answers: Vec<Value> = (1..=300).map(|_| waiting.line().expect("an answer")).collect();
    assert_eq!(answers.iter().filter(|answer| answer["result"]["changed"] == json!([])).count(), 257);
    let refused = answers.iter().filter(|answer| answer["error"]["message"].to_string().contains("try again"));
    assert_eq!(refused.count(), 43);
    let took = watch.ran();
    let readings = || peer.log().matches("configuration reloaded").count();
    until("both readings are told", LIMIT, || readings() >= 2);
    assert!(readings() == 2 && took < Duration::from_millis(5900), "{} in {took:?}", readings());
}

/// The same of the log, which is opened again.
#[test]
fn nobody_waits_while_the_log_is_opened() {
    let setup = Setup::peer();
    let log = setup.home().join("log");
    let slow = setup.injecting("a slow disk of the log that is opened", Some(&log), &["openat:delay_enter=1s"]);
    let Some(setup) = slow else { return };
    let peer = setup.start();
    let mut waiting = peer.control();
    let watch = Stopwatch::start();
    waiting.send_raw(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"reload\"}\n");
    assert_answers_at_once(&peer, watch);
    assert_eq!(waiting.line().expect("an answer")["result"]["changed"], json!([]));
}

#[test]
fn the_client_says_what_changed_and_what_waits() {
    let mut peer = Setup::peer().set("max_peers", "8").start();
    let nothing = pyratectl(&peer, ["reload"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (0, ""));
    assert!(nothing.stderr.contains("no value in force has changed"), "{nothing:?}");
    let other = peer.home().join("other");
    std::fs::create_dir(&other).expect("a fresh directory");
    peer.reconfigure("max_peers", "20");
    peer.reconfigure("local_directory", &quoted(other.display()));
    let told = pyratectl(&peer, ["--terse", "reload"]);
    let row = format!("local_directory\t{share}\t{share}\t{}\n", other.display(), share = peer.share().display());
    assert_eq!(told.stdout, format!("key\twas\tin_force\tnext_start\nmax_peers\t8\t20\t20\n{row}"));
    assert!(told.stderr.contains("only after a restart of the daemon: local_directory"), "{told:?}");
    let again = pyratectl(&peer, ["--json", "reload"]);
    let again: Value = serde_json::from_str(&again.stdout).expect("a document");
    assert_eq!((&again["changed"], keys(&again["waiting"])), (&json!([]), vec!["local_directory".to_owned()]));
    assert_eq!(again["file"], peer.home().join("pyrated.toml").display().to_string());
}
