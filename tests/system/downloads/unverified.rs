//! A file without a hash is fetched as one stream and shown as unverified, also if its bytes are those of a content that a
//! peer offers under another name.

use crate::harness::{
    Daemon, Dice, GROUP, LIMIT, Manners, P1Peer, Role, Setup, Vice, assert_verified, begin_hit, content_hash,
    find_content, holds, old_peer, pyratectl, relative_files, saved, share_of, start_among, start_hashed, until,
};
use serde_json::{Value, json};
use std::time::Duration;

/// A base peer that responds on the connection of the request.
fn base() -> Manners {
    Manners { base: true, hashed: false, ..Manners::default() }
}

/// The row of a name without a hash, once it has so many sources.
fn find_name(asker: &Daemon, text: &str, name: &str, sources: usize) -> Value {
    let row_of = |rows: &[Value]| {
        let row = rows.iter().find(|row| row["name"] == name && row["b3"].is_null());
        row.filter(|row| row["sources"].as_array().map(Vec::len) == Some(sources)).cloned()
    };
    let rows = asker.search_until(text, |rows| row_of(rows).is_some());
    row_of(&rows).expect("just seen")
}

fn assert_unverified(done: &Value, content: &[u8]) {
    assert_eq!((&done["state"], &done["verified"]), (&json!("done"), &json!(false)), "{done}");
    assert_eq!(done["bytes_done"], content.len(), "{done}");
    assert!(saved(done) == content, "the bytes are those that were sent");
}

#[test]
fn a_base_source_is_asked_for_one_stream_and_the_user_sees_unverified() {
    let content = Dice::new().bytes(2 * GROUP);
    let source = P1Peer::sharing("file.bin", &content, base());
    let (_bootstrap, asker) = start_among(Setup::peer(), &[source.addr]);
    let row = find_name(&asker, "file", "file.bin", 1);
    assert!(row["size"].is_null());
    let run = pyratectl(&asker, ["download", &row["id"].to_string()]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!((run.stdout.clone() + &run.stderr).contains("unverified"), "{run:?}");
    assert_unverified(&asker.download(1), &content);
    let run = pyratectl(&asker, ["downloads"]);
    assert!(run.stdout.contains("unverified"), "{run:?}");
    assert_eq!(source.asked("4:"), ["4:file.bin"]);
    assert!(source.asked("8:").is_empty() && source.asked("9:").is_empty());
}

#[test]
fn a_verified_download_is_not_called_unverified() {
    let source = start_hashed(Setup::peer().shares("file.txt", "content"));
    let (_bootstrap, asker) = start_among(Setup::peer(), &[source.listen()]);
    let row = find_content(&asker, "file", b"content", 1);
    let run = pyratectl(&asker, ["download", &row["id"].to_string()]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(!(run.stdout.clone() + &run.stderr).contains("unverified"), "{run:?}");
    assert_verified(&asker.download(1), b"content");
}

#[test]
fn bytes_of_an_earlier_stream_stay_until_a_new_one_has_passed_them() {
    let content = Dice::new().bytes(GROUP);
    // Slowly, since a reset discards what was sent and not read yet.
    let manners = Manners { files: Vice::Dies(700_000), rate: Some(2 << 20), ..base() };
    let source = P1Peer::sharing("file.bin", &content, manners);
    let asker = Setup::peer().start();
    let id = asker.begin_download(source.addr, "file.bin");
    asker.await_download(id, "retrying");
    let there = part_bytes(&asker);
    assert!(there > 100_000, "{there} bytes were kept");
    source.change(|manners| manners.files = Vice::Stalls(50_000));
    asker.call("retry", json!({ "ids": id.to_string() }));
    until("it is asked again", LIMIT, || source.asked("4:").len() == 2);
    holds("all that came is still there", Duration::from_millis(300), || {
        let (now, told) = (part_bytes(&asker), asker.download(id)["bytes_done"].clone());
        assert!(now == there && told.as_u64() > Some(50_000), "{now} of {there} bytes, and {told} are told");
        true
    });
    source.change(|manners| *manners = base());
    asker.call("cancel", json!({ "ids": id.to_string() }));
    until("nothing is left", LIMIT, || relative_files(&asker.downloads_directory()).is_empty());
}

#[test]
fn a_stream_that_is_longer_than_the_size_of_its_hit_is_cut_off() {
    let manners = Manners { hashed: false, files: Vice::Adds(64 << 20), ..Manners::default() };
    let source = P1Peer::sharing("long.bin", &[b'x'; 1_000], manners);
    let (_bootstrap, asker) = start_among(Setup::peer(), &[source.addr]);
    let id = begin_hit(&asker, &find_name(&asker, "long", "long.bin", 1));
    until("the source has failed", LIMIT, || share_of(&asker.download(id), source.addr)["error"].is_string());
    assert_ne!(asker.download(id)["state"], "done");
    assert!(!asker.downloads_directory().join("long.bin").exists());
    assert!(asker.status()["bytes_down"].as_u64() < Some(1 << 20), "{}", asker.status());
}

/// The size of the largest file in the download directory.
fn part_bytes(asker: &Daemon) -> u64 {
    let entries = std::fs::read_dir(asker.downloads_directory()).expect("it is there");
    let sizes = entries.map(|entry| entry.and_then(|entry| entry.metadata()).map_or(0, |file| file.len()));
    sizes.max().unwrap_or(0)
}

/// A base peer's file has the content of which another peer has sent the hash, under another name.
#[test]
fn a_hash_of_another_name_does_not_verify_a_stream() {
    let content = Dice::new().bytes(2 * GROUP + 1);
    let told = P1Peer::sharing("another name.bin", &content, Manners::default());
    let plain = P1Peer::sharing("plain name.bin", &content, base());
    let other = P1Peer::sharing("other name.bin", b"something else", base());
    let (_bootstrap, asker) = start_among(Setup::peer(), &[told.addr, plain.addr, other.addr]);
    find_content(&asker, "name.bin", &content, 1);
    let row = find_name(&asker, "name.bin", "plain name.bin", 1);
    let done = asker.await_download(begin_hit(&asker, &row), "done");
    assert_unverified(&done, &content);
    assert_eq!((&done["name"], &done["b3"]), (&json!("plain name.bin"), &json!(content_hash(&content))));
    assert!(told.asked("4:").is_empty() && told.asked("8:").is_empty(), "it came from the base peer alone");
    let row = find_name(&asker, "name.bin", "other name.bin", 1);
    assert_unverified(&asker.await_download(begin_hit(&asker, &row), "done"), b"something else");
}

/// The hash is known, but nobody serves ranges: the stream is checked as a whole, and the liar named.
#[test]
fn a_stream_is_checked_against_the_hash_of_its_hit() {
    let content = Dice::new().bytes(2 * GROUP + 99);
    for vice in [Vice::Corrupts(1_500_000), Vice::Truncates(GROUP), Vice::Dies(1_000_000)] {
        let role = Role::first_asked('4');
        let manners = Manners { wholes_only: true, role: role.clone(), files: vice.clone(), ..Manners::default() };
        let twins = [(); 2].map(|()| P1Peer::sharing("twin.bin", &content, manners.clone()));
        let (_bootstrap, asker) = start_among(Setup::peer(), &twins.each_ref().map(|twin| twin.addr));
        let done = asker.await_download(begin_hit(&asker, &find_content(&asker, "twin", &content, 2)), "done");
        assert_verified(&done, &content);
        let first = share_of(&done, role.first().expect("one was asked"));
        assert!(first["error"].is_string(), "{vice:?}: {done}");
        // It did not claim this content when it was asked, so it is no liar: its file may have changed.
        assert!(!matches!(vice, Vice::Corrupts(_)) || first["state"] == "waiting", "{done}");
    }
}

/// The hash that the liar has sent is not taken for that of the old client's file.
#[test]
fn a_file_of_an_old_client_is_fetched_though_a_liar_has_sent_a_hash_for_its_name() {
    let old = old_peer(&[("song.mp3", b"the true song")]);
    let liar = P1Peer::sharing("song.mp3", b"another song.", Manners::default());
    let (_bootstrap, asker) = start_among(Setup::peer(), &[old.addr, liar.addr]);
    let row = find_name(&asker, "song.mp3", "song.mp3", 1);
    assert_eq!(row["sources"], json!([old.addr]));
    let done = asker.await_download(begin_hit(&asker, &row), "done");
    assert_eq!((saved(&done), &done["verified"]), (b"the true song".to_vec(), &json!(false)));
    assert_ne!(done["b3"], content_hash(b"another song.").as_str());
}
