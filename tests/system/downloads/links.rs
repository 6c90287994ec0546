//! Links, from the share of one node to the download of another (pyratectl(1), `link`).

use crate::harness::{Daemon, Dice, LIMIT, Manners, P1Peer, Setup, await_hashed, pyratectl, until};
use serde_json::json;
use std::fs;

fn link(daemon: &Daemon, what: &[&str]) -> String {
    let run = pyratectl(daemon, [&["link"], what].concat());
    assert_eq!(run.code, 0, "{run:?}");
    run.stdout.trim_end().to_owned()
}

#[test]
fn a_link_is_downloaded_from_its_peer() {
    let content = Dice::new().bytes(3 << 20);
    let source = Setup::peer().shares("dir/a & b.bin", &content).start();
    await_hashed(&source);
    // They have no network in common but the link.
    let asker = Setup::peer().start();
    let text = link(&source, &["dir/a & b.bin"]);
    let run = pyratectl(&asker, ["--json", "download", &text]);
    assert_eq!(run.code, 0, "{run:?}");
    let row = &run.json()[0];
    assert_eq!(
        (&row["state"], &row["verified"], &row["name"]),
        (&json!("done"), &json!(true), &json!("dir/a & b.bin"))
    );
    let saved = asker.downloads_directory().join("a & b.bin");
    assert!(std::fs::read(saved).expect("it is there") == content);
    // The same content by other ways.
    let b3 = row["b3"].as_str().expect("a hash");
    assert_eq!(link(&source, &[&format!("b3={b3}")]), text);
    assert_eq!(link(&asker, &[&format!("{}/dir/a & b.bin", source.listen())]), text);
    assert_eq!(link(&asker, &["1"]), text, "the list of the peer became hits");
    let of_download = link(&asker, &["--downloads", "1"]);
    assert!(of_download.contains(b3) && of_download.contains(&source.listen().port().to_string()), "{of_download}");
    // The hash says what the content is, whatever else the link says.
    let false_size = text.replace("size=3145728", "size=7");
    let again = pyratectl(&asker, ["--json", "download", &false_size]);
    assert_eq!((again.code, &again.json()[0]["size"]), (0, &json!(3 << 20)), "{again:?}");
}

#[test]
fn a_link_to_a_directory_fetches_what_it_was_made_of_or_says_that_it_has_changed() {
    let content = Dice::new().bytes(1 << 20);
    let source = Setup::peer().shares("music/live/a.bin", &content).shares("music/live/sub/b.txt", "b").start();
    await_hashed(&source);
    let asker = Setup::peer().start();
    let text = link(&source, &["music/live/"]);
    assert!(text.contains("&name=music%2Flive%2F&peer="), "{text}");
    let run = pyratectl(&asker, ["--json", "download", &text]);
    assert_eq!(run.code, 0, "{run:?}");
    let row = &run.json()[0];
    let manifest = row["directory"]["manifest"].as_str().expect("a manifest");
    assert!(text.starts_with(&format!("pyrate:b3={manifest}&size=")), "{text} {row}");
    assert!(fs::read(asker.downloads_directory().join("live/a.bin")).expect("it is there") == content);
    assert_eq!(fs::read(asker.downloads_directory().join("live/sub/b.txt")).expect("it is there"), b"b");
    assert_eq!(link(&asker, &[&format!("{}/music/live/", source.listen())]), text, "the peer tells the same");
    let of_download = link(&asker, &["--downloads", "1"]);
    assert!(of_download.starts_with(&format!("pyrate:b3={manifest}&name=music%2Flive%2F&peer=")), "{of_download}");
    // The directory changes after the link was made.
    fs::write(source.share().join("music/live/c.txt"), "c").expect("it is ours");
    until("the new file is shared", LIMIT, || {
        source.rescan();
        source.status()["shared_files"] == 3
    });
    await_hashed(&source);
    let mut late = Setup::peer().start();
    for _ in 0..2 {
        let run = pyratectl(&late, ["download", &text]);
        let told = &run.stderr;
        assert!(run.code == 32 && told.contains("it has changed since"), "{run:?}");
        assert!(!late.downloads_directory().join("live").exists());
        // A restart remembers which manifest is wanted.
        late.end_by(nix::sys::signal::Signal::SIGKILL);
        late.start_again();
        let again = pyratectl(&late, ["retry", "1"]);
        assert_eq!(again.code, 0, "{again:?}");
        late.await_download(1, "failed");
    }
    assert_ne!(link(&source, &["music/live/"]), text);
}

#[test]
fn a_peer_without_manifests_has_no_link_to_a_directory() {
    let peer = P1Peer::sharing("tree/a.bin", b"content", Manners::default());
    let asker = Setup::peer().start();
    let run = pyratectl(&asker, ["link", &format!("{}/tree/", peer.addr)]);
    assert!(run.code == 3 && run.stderr.contains("`pyratectl download PEER/DIR/`"), "{run:?}");
    let hash = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    let text = format!("pyrate:b3={hash}&name=tree%2F&peer={}", peer.addr);
    let run = pyratectl(&asker, ["download", &text]);
    assert!(run.code == 3 && run.stderr.contains("`pyratectl download PEER/DIR/`"), "{run:?}");
    assert_eq!(peer.asked("5:p1").len(), 0, "its list may be of another tree");
}
