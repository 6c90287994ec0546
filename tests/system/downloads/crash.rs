//! Kill -9 at any moment, again and again: no download is forgotten, what is verified stays verified, and
//! each file under a final name has the right content (pyrated(8), DOWNLOADS).
//!
//! Each test kills its daemons at moments that a seed decides. It is printed; `PYRATE_CRASH_SEED` replays it, as far as
//! the machine is as fast as it was.

use crate::harness::{
    Daemon, Dice, Fake, LIMIT, OldBootstrap, Reading, Setup, Stopwatch, assert_holds, await_hashed, free_port,
    is_unfinished, path_of, pause, relative_files, until,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// Sources that lose contact are asked again after seconds; a test has less time.
const FINISH: Duration = LIMIT.saturating_mul(3);

/// What is in the download directory from the beginning, and belongs to the user.
const MINE: &[u8] = b"the user's own";

/// A download that was accepted, and what has been seen of it.
struct Wanted {
    name: String,
    /// The most bytes that were ever shown as verified.
    most: u64,
}

/// A daemon that downloads and is killed again and again, and its sources.
struct KilledDaemon {
    asker: Daemon,
    sources: Vec<Daemon>,
    base: Option<Fake>,
    contents: Arc<BTreeMap<String, Vec<u8>>>,
    wanted: BTreeMap<u64, Wanted>,
    finished: BTreeMap<String, u32>,
    kills: u32,
    dice: Dice,
    _bootstrap: OldBootstrap,
}

impl KilledDaemon {
    /// Two sources share these files, each with so many bytes a second, and a base peer offers them, too.
    fn new(files: &[(&str, usize)], upload_limit: usize) -> Self {
        let mut dice = Dice::replayed_by("PYRATE_CRASH_SEED");
        let contents = files.iter().map(|(name, size)| ((*name).to_owned(), dice.bytes(*size)));
        let contents: Arc<BTreeMap<String, Vec<u8>>> = Arc::new(contents.collect());
        let source = || {
            let setup = contents.iter().fold(Setup::peer(), |setup, (name, bytes)| setup.shares(name, bytes));
            let port = free_port().to_string();
            setup.set("upload_limit", &upload_limit.to_string()).set("listen_port", &port).start()
        };
        let sources = [source(), source()];
        sources.iter().for_each(await_hashed);
        let bootstrap = OldBootstrap::listing(&sources.each_ref().map(Daemon::listen));
        let port = free_port().to_string();
        let asker =
            Setup::peer().joins(&[bootstrap.addr()]).set("listen_port", &port).set("max_downloads", "3").start();
        for name in contents.keys() {
            std::fs::write(asker.downloads_directory().join(name), MINE).expect("a file of the user's");
        }
        let (wanted, finished) = (BTreeMap::new(), BTreeMap::new());
        let sources = sources.into();
        Self { asker, sources, base: None, contents, wanted, finished, kills: 0, dice, _bootstrap: bootstrap }
    }

    /// A peer of the base protocol offers the files instead of the two.
    fn with_a_base_peer(mut self) -> Self {
        self.sources.clear();
        let contents = Arc::clone(&self.contents);
        self.base = Some(Fake::serve(Reading::Whole, move |mut visit| {
            let wanted = visit.message.strip_prefix(b"4:").and_then(|name| std::str::from_utf8(name).ok());
            let Some(bytes) = wanted.and_then(|name| contents.get(name)) else { return };
            for part in bytes.chunks(64 << 10) {
                if visit.stream.write_all(part).is_err() {
                    return;
                }
                pause(Duration::from_millis(2));
            }
        }));
        self
    }

    /// Begins the download of every file that is not being downloaded.
    fn fill(&mut self) {
        let missing = |name: &str| !self.wanted.values().any(|wanted| wanted.name == name);
        let names: Vec<String> = self.contents.keys().filter(|name| missing(name)).cloned().collect();
        if names.is_empty() {
            return;
        }
        if let Some(base) = &self.base {
            for name in names {
                let id = self.asker.begin_download(base.addr, &name);
                self.wanted.insert(id, Wanted { name, most: 0 });
            }
            return;
        }
        let from = self.dice.below(self.sources.len() as u64) as usize;
        await_hashed(&self.sources[from]);
        let hits = self.asker.list(self.sources[from].listen());
        for name in names {
            let hit = hits.iter().find(|hit| hit["name"] == *name).expect("it is shared");
            assert!(hit["b3"].is_string(), "the source has hashed it: {hit}");
            let id = self.asker.begin_hits(std::slice::from_ref(hit))[0];
            self.wanted.insert(id, Wanted { name, most: 0 });
        }
    }

    /// Checks all downloads once, and removes the files of those that are done.
    fn look(&mut self) {
        let rows: BTreeMap<u64, Value> =
            self.asker.rows().into_iter().map(|row| (row["id"].as_u64().expect("an id"), row)).collect();
        let ids: Vec<u64> = self.wanted.keys().copied().collect();
        for id in ids {
            match rows.get(&id) {
                Some(row) => self.look_at(id, row),
                // A download that finished before the kill is not remembered.
                None => self.take_finished(id, None),
            }
        }
    }

    fn look_at(&mut self, id: u64, row: &Value) {
        let wanted = self.wanted.get_mut(&id).expect("one of ours");
        assert_eq!(row["name"], wanted.name, "an id stays with its download");
        let state = row["state"].as_str().expect("a state");
        assert!(!["failed", "cancelled", "paused"].contains(&state), "nobody ordered that: {row}");
        if state == "done" {
            assert!(row["verified"] == true || self.base.is_some(), "{row}");
            let path = path_of(row);
            return self.take_finished(id, Some(path));
        }
        // Its part file has been taken up when its path is known.
        if self.base.is_none() && !row["path"].is_null() {
            let bytes = row["bytes_done"].as_u64().expect("a number");
            assert!(bytes >= wanted.most, "verified bytes were lost, of {}: {row}", wanted.most);
            wanted.most = bytes;
        }
    }

    /// A download is done: its file is checked and removed, so that its name is free again.
    fn take_finished(&mut self, id: u64, path: Option<std::path::PathBuf>) {
        let wanted = self.wanted.remove(&id).expect("one of ours");
        let directory = self.asker.downloads_directory();
        let (stem, extension) = wanted.name.split_once('.').expect("our names have one");
        let path = path.unwrap_or_else(|| directory.join(format!("{stem} (1).{extension}")));
        assert!(path != directory.join(&wanted.name), "the user's file stands there");
        assert_holds(&path, &self.contents[&wanted.name]);
        std::fs::remove_file(&path).expect("it is there");
        *self.finished.entry(wanted.name).or_default() += 1;
    }

    /// Checks the downloads for so long, then kills the daemon that downloads and starts it again.
    fn kill_after(&mut self, time: Duration) {
        let watch = Stopwatch::start();
        while watch.elapsed() < time {
            self.look();
            pause(Duration::from_millis(3).min(time));
        }
        self.kill();
    }

    fn kill(&mut self) {
        self.asker.end_by(Signal::SIGKILL);
        self.kills += 1;
        self.asker.start_again();
        self.look();
    }

    /// Kills the downloading daemon so many times, each time a while after all downloads were begun again.
    fn kill_times(&mut self, times: u32, part: u32) {
        while self.kills < times {
            self.fill();
            let moment = self.moment() / part;
            self.kill_after(moment);
        }
    }

    /// How long a daemon runs before it is killed.
    fn moment(&mut self) -> Duration {
        Duration::from_millis(self.dice.below(150))
    }

    /// After the last kill: all downloads finish, and nothing else is left in the directory.
    fn finish(mut self) -> BTreeMap<String, u32> {
        let began = self.kills;
        for source in &mut self.sources {
            source.reconfigure("upload_limit", "0");
            source.call("reload", Value::Null);
        }
        self.fill();
        let watch = Stopwatch::start();
        while !self.wanted.is_empty() {
            self.look();
            if self.wanted.values().count() > 0 && self.waits() {
                let _ = self.asker.control().call("retry", json!({ "ids": "all" }));
            }
            assert!(watch.ran() < FINISH, "unfinished after {began} kills: {:?}", self.asker.rows());
            pause(Duration::from_millis(10));
        }
        let mine: Vec<Vec<u8>> = self.contents.keys().map(|name| name.clone().into_bytes()).collect();
        until("nothing else is left", LIMIT, || {
            relative_files(&self.asker.downloads_directory()).into_iter().collect::<Vec<_>>() == mine
        });
        for name in self.contents.keys() {
            assert_holds(&self.asker.downloads_directory().join(name), MINE);
        }
        println!("{} kills; finished: {:?}", self.kills, self.finished);
        self.finished
    }

    /// Whether a download waits for its sources.
    fn waits(&self) -> bool {
        self.asker.rows().iter().any(|row| row["state"] == "retrying")
    }
}

#[test]
fn large_files_survive_kills() {
    let files = [("large.bin", 24 * MIB + 12_345), ("larger.bin", 32 * MIB), ("group.bin", MIB), ("small.txt", 5_000)];
    let mut killed = KilledDaemon::new(&files, 48 * MIB);
    killed.kill_times(80, 1);
    killed.finish();
}

#[test]
fn small_files_that_finish_between_kills_survive_kills() {
    let files = [
        ("one.bin", 3 * MIB),
        ("two.bin", MIB + 1),
        ("three.bin", MIB),
        ("four.bin", MIB - 1),
        ("five.txt", 300),
        ("six.txt", 1),
        ("seven.txt", 0),
    ];
    let mut killed = KilledDaemon::new(&files, 0);
    // So soon that most kills find downloads that are about to finish.
    killed.kill_times(100, 3);
    let finished = killed.finish();
    assert!(finished.values().all(|times| *times > 1), "most of them end many times: {finished:?}");
}

#[test]
fn streams_of_a_base_peer_survive_kills() {
    let files = [("stream.bin", 2 * MIB), ("short.bin", 100_000), ("long.bin", 8 * MIB)];
    let mut killed = KilledDaemon::new(&files, 0).with_a_base_peer();
    killed.kill_times(80, 1);
    killed.finish();
}

#[test]
fn verified_groups_survive_kills_of_the_sources() {
    let files = [("large.bin", 16 * MIB + 77), ("group.bin", MIB), ("medium.bin", 4 * MIB)];
    let mut killed = KilledDaemon::new(&files, 48 * MIB);
    for turn in 0..60 {
        killed.fill();
        let moment = killed.moment();
        let watch = Stopwatch::start();
        while watch.elapsed() < moment {
            killed.look();
            pause(Duration::from_millis(3));
        }
        let which = killed.dice.below(2) as usize;
        killed.sources[which].end_by(Signal::SIGKILL);
        // While it is away the other goes on, and one time in four the downloading daemon dies as well.
        if turn % 4 == 0 {
            killed.kill();
        }
        killed.sources[which].start_again();
        killed.kills += 1;
        if killed.waits() {
            let _ = killed.asker.control().call("retry", json!({ "ids": "all" }));
        }
    }
    killed.finish();
}

#[test]
fn a_download_that_was_accepted_is_never_forgotten() {
    let mut dice = Dice::replayed_by("PYRATE_CRASH_SEED");
    let nowhere = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut asker = Setup::peer().start();
    let mut begun: BTreeMap<u64, String> = BTreeMap::new();
    for turn in 0..60 {
        for count in 0..=dice.below(3) {
            let name = format!("file {turn}.{count}");
            let id = asker.begin_download(nowhere, &name);
            assert!(begun.insert(id, name).is_none(), "an id is given once: {id}");
        }
        asker.end_by(Signal::SIGKILL);
        asker.start_again();
        let found = asker.rows().into_iter();
        let found =
            found.map(|row| (row["id"].as_u64().expect("an id"), row["name"].as_str().expect("text").to_owned()));
        assert_eq!(found.collect::<BTreeMap<_, _>>(), begun, "after {turn} kills");
        // A cancelled one does not come back, however soon the kill.
        if dice.below(3) == 0 {
            let id = *begun.keys().nth(dice.below(begun.len() as u64) as usize).expect("one of them");
            asker.call("cancel", json!({ "ids": id.to_string() }));
            begun.remove(&id);
            asker.end_by(Signal::SIGKILL);
            asker.start_again();
        }
    }
    asker.call("cancel", json!({ "ids": "all" }));
    let left = || relative_files(&asker.downloads_directory()).into_iter().filter(|name| is_unfinished(name));
    let watch = Stopwatch::start();
    while left().count() > 0 {
        let names: Vec<String> = left().map(|name| String::from_utf8_lossy(&name).into_owned()).collect();
        assert!(watch.ran() < LIMIT / 4, "left over: {names:?}");
        pause(Duration::from_millis(10));
    }
}
