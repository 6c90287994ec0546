//! Transfers that go wrong: part files stay hidden, a full disk stops nothing else, and a list without end is cut off.

use crate::harness::{Fake, LIMIT, Reading, Setup, holds, not_tested, relative_files, until};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

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
fn a_list_without_end_is_cut_off_and_takes_little_memory() {
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
