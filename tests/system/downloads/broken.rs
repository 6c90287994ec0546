//! Transfers that go wrong: nothing false stands under a final name, and a source that sends without end is cut off.

use crate::harness::{
    Daemon, Fake, LIMIT, OldBootstrap, Reading, Setup, Visit, holds, not_tested, relative_files, until,
};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

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
