//! Kill -9 after a file has got its final name and before that is recorded: the download is done once, under that name
//! (pyrated(8), DOWNLOADS).

use crate::harness::{Daemon, Dice, Fake, LIMIT, Reading, Setup, assert_holds, await_hashed, relative_files, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A daemon that stops at the end of the call that gives a file its name. `None` where there is no strace.
fn stops_after_naming(path: impl FnOnce(&Path) -> PathBuf) -> Option<Daemon> {
    let setup = Setup::peer();
    let file = path(&setup.home().join("downloads"));
    let faults = ["renameat2:delay_exit=600s", "linkat:delay_exit=600s"];
    setup.injecting("a kill after a file has got its name", Some(&file), &faults).map(Setup::start)
}

/// Kills a daemon whose file has its name and whose record says nothing of it, and starts it again.
fn kill_when_named(asker: &mut Daemon, id: u64, file: &Path) {
    until("the file has its name", LIMIT, || file.exists());
    assert_ne!(asker.download(id)["state"], "done", "that is not recorded");
    asker.kill_in_call();
    asker.start_again();
}

/// The download ends once, well, and nothing but these files is in the directory.
fn assert_done_once(asker: &Daemon, id: u64, files: &[(&str, &[u8])]) {
    let ends = || -> Vec<(Value, Value)> {
        let log = asker.call("event_log", json!({ "since": 0 }));
        let events = log["events"].as_array().expect("events").iter().filter(|event| event["event"] != "begun");
        events.map(|event| (event["event"].clone(), event["download"].clone())).collect()
    };
    until("it is over", LIMIT, || !ends().is_empty());
    assert_eq!(ends(), [(json!("done"), json!(id))], "{:?}", asker.rows());
    let root = asker.downloads_directory();
    let expected: BTreeSet<Vec<u8>> = files.iter().map(|(name, _)| name.as_bytes().to_vec()).collect();
    until("nothing else is left", LIMIT, || relative_files(&root) == expected);
    files.iter().for_each(|(name, content)| assert_holds(&root.join(name), content));
}

/// A peer of the base protocol that shares these files.
fn base_peer(files: &'static [(&str, &[u8])]) -> Fake {
    Fake::serve(Reading::Whole, move |mut visit| {
        let wanted = visit.message.strip_prefix(b"4:").unwrap_or_default();
        if let Some((_, bytes)) = files.iter().find(|(name, _)| name.as_bytes() == wanted) {
            let _ = visit.stream.write_all(bytes);
        } else if visit.message.starts_with(b"5:") {
            files.iter().for_each(|(name, _)| drop(visit.stream.write_all(format!("{name}\n").as_bytes())));
        }
    })
}

#[test]
fn a_file_that_has_its_name_is_done_after_a_kill() {
    for size in [0, 5, (3 << 20) + 1] {
        let content = Dice::new().bytes(size);
        let source = Setup::peer().shares("report.tar", &content).start();
        await_hashed(&source);
        let Some(mut asker) = stops_after_naming(|downloads| downloads.join("report.tar")) else { return };
        let id = asker.begin_hits(&asker.list(source.listen()))[0];
        let file = asker.downloads_directory().join("report.tar");
        kill_when_named(&mut asker, id, &file);
        assert_done_once(&asker, id, &[("report.tar", &content)]);
    }
}

#[test]
fn a_file_of_a_directory_that_has_its_name_is_done_after_a_kill() {
    let contents = [Dice::new().bytes(100), Dice::new().bytes((2 << 20) + 1)];
    let setup = Setup::peer().shares("music/live/a.bin", &contents[0]);
    let source = setup.shares("music/live/deep/b.bin", &contents[1]).start();
    await_hashed(&source);
    let Some(mut asker) = stops_after_naming(|downloads| downloads.join("live/deep/b.bin")) else { return };
    let id = asker.begin_download(source.listen(), "music/live/");
    let file = asker.downloads_directory().join("live/deep/b.bin");
    kill_when_named(&mut asker, id, &file);
    assert_done_once(&asker, id, &[("live/a.bin", &contents[0]), ("live/deep/b.bin", &contents[1])]);
}

#[test]
fn a_file_of_a_base_peer_that_has_its_name_is_done_after_a_kill() {
    let source = base_peer(&[("report.tar", b"content")]);
    let Some(mut asker) = stops_after_naming(|downloads| downloads.join("report.tar")) else { return };
    let id = asker.begin_download(source.addr, "report.tar");
    let file = asker.downloads_directory().join("report.tar");
    kill_when_named(&mut asker, id, &file);
    assert_done_once(&asker, id, &[("report.tar", b"content")]);
}

#[test]
fn a_file_of_a_directory_of_a_base_peer_that_has_its_name_is_done_after_a_kill() {
    let source = base_peer(&[("live/a.bin", b"first"), ("live/b.bin", b"second")]);
    let Some(mut asker) = stops_after_naming(|downloads| downloads.join("live/b.bin")) else { return };
    let id = asker.begin_download(source.addr, "live/");
    let file = asker.downloads_directory().join("live/b.bin");
    kill_when_named(&mut asker, id, &file);
    assert_done_once(&asker, id, &[("live/a.bin", b"first"), ("live/b.bin", b"second")]);
}
