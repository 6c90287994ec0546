//! Transfers that go wrong: nothing false stands under a final name, and another source takes over.

use crate::harness::{
    Daemon, Fake, LIMIT, OldBootstrap, Reading, Setup, Visit, holds, not_tested, read_to_end, relative_files, reset,
    until,
};
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Everything below the download directory.
fn left_behind(daemon: &Daemon) -> usize {
    relative_files(&daemon.downloads_directory()).len()
}

/// A search message's ID and requester.
fn search_fields(message: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(message).ok()?.strip_prefix("6:")?.trim_end();
    let (rest, _ttl) = text.rsplit_once(':')?;
    let (rest, port) = rest.rsplit_once(':')?;
    let (rest, ip) = rest.rsplit_once(':')?;
    Some((rest.split_once(':')?.0.to_owned(), format!("{ip}:{port}")))
}

/// Answers a search as a `p1` peer that has one file.
fn answer_p1(visit: &Visit, name: &str, size: usize) {
    if let Some((id, requester)) = search_fields(&visit.message) {
        let local = visit.local;
        let mut stream = std::net::TcpStream::connect(requester).expect("the requester listens");
        let hit = format!("7:{id}:{}:{}:{name}\tsize={size}\n", local.ip(), local.port());
        let _ = stream.write_all(hit.as_bytes());
    }
}

/// Finds a name by a search, and begins its download.
fn find_and_begin(asker: &Daemon, text: &str, sources: usize) -> u64 {
    let rows = asker.search_until(text, |rows| {
        rows.first().is_some_and(|row| row["sources"].as_array().map(Vec::len) == Some(sources))
    });
    let begun = asker.call("download", json!({ "what": [{ "hits": rows[0]["id"].to_string() }] }));
    begun["downloads"][0]["id"].as_u64().expect("an id")
}

#[test]
fn a_refusal_by_the_only_source_is_the_end() {
    let source = Setup::peer().start();
    let asker = Setup::peer().start();
    let failed = asker.await_download(asker.begin_download(source.listen(), "missing"), "failed");
    assert_eq!(failed["error"]["code"], 3, "{failed}");
    assert_eq!(left_behind(&asker), 0);
}

#[test]
fn a_source_out_of_reach_is_tried_again() {
    let asker = Setup::peer().start();
    let gone = SocketAddr::from(([127, 0, 0, 1], crate::harness::free_port()));
    let id = asker.begin_download(gone, "later.txt");
    let waiting = asker.await_download(id, "retrying");
    assert!(waiting["retry_in_s"].is_u64() && !waiting["error"].is_null(), "{waiting}");
    let source = Fake::serve_at(gone, Reading::Whole, |mut visit| {
        let _ = visit.stream.write_all(b"at last");
    });
    let done = asker.await_download(id, "done");
    assert_eq!(std::fs::read(done["path"].as_str().expect("a path")).expect("the file"), b"at last");
    assert_eq!(source.heard_beginning("4:"), ["4:later.txt"]);
}

#[test]
fn a_transfer_that_breaks_off_leaves_nothing_under_the_final_name() {
    let source = Fake::serve(Reading::Whole, |mut visit| {
        let _ = visit.stream.write_all(&[b'x'; 50_000]);
        reset(visit.stream);
    });
    let asker = Setup::peer().start();
    let id = asker.begin_download(source.addr, "broken.bin");
    until("it was tried", LIMIT, || !source.heard().is_empty());
    until("the attempt is over", LIMIT, || asker.download(id)["state"] != "active");
    assert_ne!(asker.download(id)["state"], "done");
    assert!(!asker.downloads_directory().join("broken.bin").exists());
    asker.control().call("cancel", json!({ "ids": id.to_string() })).ok();
    until("the part file is gone", LIMIT, || left_behind(&asker) == 0);
}

#[test]
fn a_truncated_file_of_known_size_is_not_taken_for_whole() {
    let source = Fake::serve(Reading::Once, |mut visit| {
        answer_p1(&visit, "short.bin", 100_000);
        if visit.message.starts_with(b"4:") {
            // FIN, as if that were all.
            let _ = visit.stream.write_all(&[b'x'; 60_000]);
        }
    });
    let bootstrap = OldBootstrap::listing(&[source.addr]);
    let asker = Setup::peer().joins(&[bootstrap.addr()]).start();
    asker.await_neighbour(source.addr);
    let id = find_and_begin(&asker, "short.bin", 1);
    until("it was tried", LIMIT, || !source.heard_beginning("4:").is_empty());
    until("the attempt is over", LIMIT, || asker.download(id)["state"] != "active");
    assert_ne!(asker.download(id)["state"], "done");
    assert!(!asker.downloads_directory().join("short.bin").exists());
}

#[test]
fn more_than_was_promised_is_not_taken_either() {
    let source = Fake::serve(Reading::Once, |mut visit| {
        answer_p1(&visit, "long.bin", 1000);
        if visit.message.starts_with(b"4:") {
            // Endless.
            while visit.stream.write_all(&[b'x'; 65_536]).is_ok() {}
        }
    });
    let bootstrap = OldBootstrap::listing(&[source.addr]);
    let asker = Setup::peer().joins(&[bootstrap.addr()]).start();
    asker.await_neighbour(source.addr);
    let id = find_and_begin(&asker, "long.bin", 1);
    until("it was tried", LIMIT, || !source.heard_beginning("4:").is_empty());
    until("the attempt is over", LIMIT, || asker.download(id)["state"] != "active");
    assert_ne!(asker.download(id)["state"], "done");
    assert!(!asker.downloads_directory().join("long.bin").exists());
}

#[test]
fn another_source_takes_over() {
    let content: Vec<u8> = (0..200_000u32).map(|number| number as u8).collect();
    let first_died = Arc::new(AtomicBool::new(false));
    // Whichever of the two is asked first dies half-way; the other serves the whole file.
    let twin = || {
        let (died, content, mine) = (Arc::clone(&first_died), content.clone(), AtomicBool::new(false));
        Fake::serve(Reading::Once, move |mut visit| {
            answer_p1(&visit, "twin.bin", content.len());
            if visit.message.starts_with(b"4:") {
                if !died.swap(true, Ordering::SeqCst) {
                    mine.store(true, Ordering::SeqCst);
                    let _ = visit.stream.write_all(&content[..content.len() / 2]);
                }
                if mine.load(Ordering::SeqCst) {
                    reset(visit.stream);
                } else {
                    let _ = visit.stream.write_all(&content);
                }
            }
        })
    };
    let (one, two) = (twin(), twin());
    let bootstrap = OldBootstrap::listing(&[one.addr, two.addr]);
    let asker = Setup::peer().joins(&[bootstrap.addr()]).start();
    asker.await_neighbour(one.addr);
    asker.await_neighbour(two.addr);
    let id = find_and_begin(&asker, "twin.bin", 2);
    let done = asker.await_download(id, "done");
    assert!(std::fs::read(done["path"].as_str().expect("a path")).expect("the file") == content);
    assert_eq!(left_behind(&asker), 1);
    assert!(first_died.load(Ordering::SeqCst));
}

#[test]
fn the_death_of_a_real_source_leaves_no_half_file() {
    let source = Setup::peer().shares("big.bin", vec![b'x'; 48 << 20]).set("upload_limit", "0");
    let mut source = source.start();
    let asker = Setup::peer().start();
    let id = asker.begin_download(source.listen(), "big.bin");
    // Killed at once: whether or not the first bytes came, the rest cannot.
    let ended = source.end_by(nix::sys::signal::Signal::SIGKILL);
    assert_eq!(ended.code, None);
    until("the attempt is over", LIMIT, || {
        let state = asker.download(id)["state"].clone();
        state != "active" && state != "queued"
    });
    let path = asker.downloads_directory().join("big.bin");
    let whole = asker.download(id)["state"] == "done";
    assert_eq!(path.exists(), whole);
    assert!(!whole || std::fs::metadata(&path).expect("the file").len() == 48 << 20);
}

#[test]
fn a_cancelled_download_leaves_no_trace() {
    let source = Fake::serve(Reading::Whole, |mut visit| {
        let _ = visit.stream.write_all(&[b'x'; 10_000]);
        read_to_end(&mut visit.stream);
        crate::harness::pause(LIMIT * 3);
    });
    let asker = Setup::peer().start();
    let id = asker.begin_download(source.addr, "never.bin");
    until("it is under way", LIMIT, || asker.download(id)["bytes_done"].as_u64() >= Some(1));
    assert!(!asker.downloads_directory().join("never.bin").exists(), "not under its final name");
    let reply = asker.call("cancel", json!({ "ids": id.to_string() }));
    assert_eq!(reply["downloads"][0]["id"], id);
    asker.await_download(id, "cancelled");
    until("the part file is gone", LIMIT, || left_behind(&asker) == 0);
}

#[test]
fn leaving_in_the_middle_of_a_download_leaves_nothing_false() {
    let source = Fake::serve(Reading::Whole, |mut visit| {
        let _ = visit.stream.write_all(&[b'x'; 10_000]);
        crate::harness::pause(LIMIT * 3);
    });
    let mut asker = Setup::peer().start();
    let id = asker.begin_download(source.addr, "half.bin");
    until("it is under way", LIMIT, || asker.download(id)["bytes_done"].as_u64() >= Some(1));
    let ended = asker.stop();
    assert_eq!(ended.code, Some(0));
    assert!(ended.took < Duration::from_secs(5));
    assert!(!asker.downloads_directory().join("half.bin").exists());
}

#[test]
fn part_files_are_neither_listed_nor_served() {
    let source = Fake::serve(Reading::Whole, |mut visit| {
        let _ = visit.stream.write_all(&[b'x'; 10_000]);
        crate::harness::pause(LIMIT * 3);
    });
    let setup = Setup::peer();
    let share = format!("'{}'", setup.share().display());
    let asker = setup.set("download_directory", &share).start();
    let id = asker.begin_download(source.addr, "coming.bin");
    until("it is under way", LIMIT, || asker.download(id)["bytes_done"].as_u64() >= Some(1));
    asker.rescan();
    let parts = relative_files(&asker.share());
    assert_eq!(parts.len(), 1, "the part file lies beside the target");
    assert_eq!(asker.pages("files", "files"), Vec::<Value>::new());
    for part in parts {
        assert!(crate::harness::fetch_reset(asker.listen(), &part));
    }
}

#[test]
fn a_download_directory_that_cannot_be_written_is_told() {
    let source = Setup::peer().shares("file.txt", "x").start();
    let setup = Setup::peer();
    let blocked = setup.home().join("blocked");
    std::fs::write(&blocked, "a file where the directory should be").expect("it can be written");
    let asker = setup.start();
    let what = json!([{ "file": { "peer": source.listen(), "name": "file.txt" } }]);
    let output = blocked.join("deeper").to_str().map(str::to_owned);
    let code = match asker.control().call("download", json!({ "what": what, "output": output })) {
        Err(failure) => failure.code,
        Ok(begun) => {
            let id = begun["downloads"][0]["id"].as_u64().expect("an id");
            asker.await_download(id, "failed")["error"]["code"].as_i64().expect("a code")
        }
    };
    assert_eq!(code, 17);
}

#[test]
fn a_full_disk_stops_a_download_and_nothing_else() {
    let source = Setup::peer().shares("large.bin", vec![b'x'; 3 << 20]).shares("small.txt", "fits").start();
    let Some(setup) = Setup::peer().small_disk() else {
        not_tested("a full disk stops a download and nothing else", "no mount namespaces are made for us");
        return;
    };
    let asker = setup.start();
    let id = asker.begin_download(source.listen(), "large.bin");
    let stopped = asker.await_download(id, "paused");
    assert_eq!(stopped["error"]["code"], 9, "{stopped}");
    asker.call("cancel", json!({ "ids": id.to_string() }));
    // What the daemon sees at its download directory, as it sees it.
    let seen = std::path::PathBuf::from(format!("/proc/{}/root{}", asker.pid(), asker.downloads_directory().display()));
    until("the room is given back", LIMIT, || relative_files(&seen).is_empty());
    let done = asker.await_download(asker.begin_download(source.listen(), "small.txt"), "done");
    assert_eq!(done["bytes_done"], 4);
    assert_eq!(relative_files(&seen).len(), 1);
    let run = crate::harness::pyratectl(&asker, ["download", &format!("{}/large.bin", source.listen())]);
    assert_eq!(run.code, 9, "{run:?}");
}

#[test]
fn a_source_that_floods_the_list_is_cut_off() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let source = Fake::serve(Reading::Whole, move |mut visit| {
        // One line without end.
        while visit.stream.write_all(&[b'a'; 65_536]).is_ok() && count.load(Ordering::SeqCst) < 1 << 30 {
            count.fetch_add(65_536, Ordering::SeqCst);
        }
    });
    let asker = Setup::peer().start();
    let mut control = asker.control();
    control.call("list", json!({ "peer": source.addr })).expect("it begins");
    let done =
        control.notice("the listing is over", |notice| (notice["event"] == "search_done").then(|| notice.clone()));
    assert!(!done["error"].is_null() || done["hits"] == 0, "{done}");
    holds("memory stays small", Duration::from_millis(200), || asker.proc_status("VmRSS") < 64 << 10);
    assert!(sent.load(Ordering::SeqCst) < 1 << 30, "it was cut off");
}
