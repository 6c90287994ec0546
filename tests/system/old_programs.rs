//! Together with the programs of 2013 and 2014, in both roles (PROTOCOL, "Old programs").

use crate::harness::{
    Dice, Fake, Framing, GROUP, LIMIT, Manners, OldBootstrap, P1Peer, Reading, Setup, Vice, ask, assert_verified,
    begin_hit, call_back_download, fetch_reset, find_content, holds, old_peer, share_of, start_among, until,
};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

/// The stand-ins understand one another: what fails below is not theirs.
#[test]
fn old_programs_among_themselves() {
    let sharing = old_peer(&[("song.mp3", b"la la"), ("empty", b"")]);
    assert_eq!(call_back_download(sharing.addr, "song.mp3"), b"la la");
    assert_eq!(call_back_download(sharing.addr, "empty"), b"");
    let requester = Fake::ear();
    let search = format!("6:any id:song.mp3:127.0.0.1:{}:3", requester.addr.port());
    ask(sharing.addr, search.as_bytes(), Framing::Silence);
    until("the hit comes", LIMIT, || !requester.heard().is_empty());
    assert_eq!(requester.heard(), [format!("7:any id:{}:song.mp3", sharing.addr).into_bytes()]);
    let bootstrap = OldBootstrap::listing(&[]);
    ask(bootstrap.addr(), b"0:5000:whatever", Framing::Fin);
    let list = ask(bootstrap.addr(), b"1:10", Framing::Silence);
    assert_eq!(list.bytes, b"127.0.0.1,5000\n127.0.0.1,5000\n", "with a repeat");
    ask(bootstrap.addr(), b"2:5000", Framing::Fin);
    ask(bootstrap.addr(), b"3:5000", Framing::Fin);
    until("it is forgotten", LIMIT, || bootstrap.peers().is_empty());
}

#[test]
fn an_old_bootstrap_server_is_all_that_it_takes() {
    let bootstrap = OldBootstrap::listing(&[]);
    let one = Setup::peer().joins(&[bootstrap.addr()]).shares("found.txt", "found").start();
    until("the first is on the list", LIMIT, || bootstrap.peers() == [one.listen()]);
    let two = Setup::peer().joins(&[bootstrap.addr()]).start();
    until("both are on the list", LIMIT, || bootstrap.peers().len() == 2);
    two.await_neighbour(one.listen());
    // The list repeats a peer and includes the asker.
    assert_eq!(two.peers_that(|_| true), [one.listen()]);
    let rows = two.search_until("found", |rows| !rows.is_empty());
    assert_eq!(rows[0]["sources"], json!([one.listen()]));
    for message in bootstrap.fake.heard() {
        let text = String::from_utf8(message).expect("text");
        let (code, number) = text.split_once(':').expect("code and field");
        // The old server ignores what follows the number.
        let number = number.strip_suffix(":p1").expect("it says that it speaks p1");
        assert!(["0", "1", "2", "3"].contains(&code) && number.parse::<u32>().is_ok(), "a bare message: {text:?}");
    }
}

/// The old server forgets a peer that it dropped, keepalive or not: only a new registration lists it again.
#[test]
fn keepalives_go_out_and_carry_the_port() {
    let bootstrap = OldBootstrap::listing(&[]);
    let peer = Setup::peer().joins(&[bootstrap.addr()]).set("keepalive_refresh", "'1s'").start();
    let expected = format!("3:{}:p1", peer.listen().port());
    until("two keepalives", LIMIT, || bootstrap.fake.heard_beginning("3:").len() >= 2);
    assert!(bootstrap.fake.heard_beginning("3:").iter().all(|text| *text == expected));
    assert_eq!(peer.status()["bootstraps"][0]["state"], "registered");
}

#[test]
fn an_old_client_downloads_by_call_back() {
    let mut dice = Dice::new();
    let (small, large) = (b"a small file".to_vec(), dice.bytes(5 << 20));
    let peer = Setup::peer().shares("small.txt", &small).shares("large.bin", &large).start();
    assert_eq!(call_back_download(peer.listen(), "small.txt"), small);
    assert!(call_back_download(peer.listen(), "large.bin") == large);
    until("both uploads are over", LIMIT, || peer.status()["uploads_active"] == 0);
}

#[test]
fn an_old_client_is_called_back_once_and_never_when_it_took_the_file() {
    let peer = Setup::peer().shares("taken.txt", "taken").start();
    assert_eq!(crate::harness::fetch(peer.listen(), b"taken.txt"), b"taken");
    // Nobody listens where this request came from: the one attempt fails, and that is the end of it.
    let mut stream = std::net::TcpStream::connect(peer.listen()).expect("it accepts");
    stream.write_all(b"4:taken.txt").expect("it reads");
    drop(stream);
    until("the upload is over", LIMIT, || peer.status()["uploads_active"] == 0);
    assert_eq!(crate::harness::fetch(peer.listen(), b"taken.txt"), b"taken");
}

#[test]
fn a_file_of_an_old_client_is_found_and_fetched() {
    let mut dice = Dice::new();
    let content = dice.bytes(3 << 20);
    let old = old_peer(&[("old song.mp3", &content), ("other", b"x")]);
    let bootstrap = OldBootstrap::listing(&[old.addr]);
    let asker = Setup::peer().joins(&[bootstrap.addr()]).start();
    asker.await_neighbour(old.addr);
    let rows = asker.search_until("old song.mp3", |rows| !rows.is_empty());
    assert_eq!((&rows[0]["name"], &rows[0]["sources"]), (&json!("old song.mp3"), &json!([old.addr])));
    assert!(rows[0]["size"].is_null());
    let begun = asker.call("download", json!({ "what": [{ "hits": rows[0]["id"].to_string() }] }));
    let done = asker.await_download(begun["downloads"][0]["id"].as_u64().expect("an id"), "done");
    assert!(std::fs::read(done["path"].as_str().expect("a path")).expect("the file") == content);
    assert_eq!(done["verified"], false, "from an old peer, FIN may hide truncation");
}

#[test]
fn an_old_client_named_by_the_user_is_fetched_from_too() {
    let old = old_peer(&[("direct.txt", b"by name alone")]);
    let asker = Setup::peer().start();
    let done = asker.await_download(asker.begin_download(old.addr, "direct.txt"), "done");
    assert_eq!(std::fs::read(done["path"].as_str().expect("a path")).expect("the file"), b"by name alone");
}

/// Old clients die on `5:` and on codes that they do not know.
#[test]
fn nothing_deadly_is_sent_to_an_old_client_unasked() {
    let old = old_peer(&[("song", b"la")]);
    let bootstrap = OldBootstrap::listing(&[old.addr]);
    let asker = Setup::peer().joins(&[bootstrap.addr()]).set("keepalive_refresh", "'1s'").start();
    asker.await_neighbour(old.addr);
    let rows = asker.search_until("song", |rows| !rows.is_empty());
    let begun = asker.call("download", json!({ "what": [{ "hits": rows[0]["id"].to_string() }] }));
    asker.await_download(begun["downloads"][0]["id"].as_u64().expect("an id"), "done");
    let codes: BTreeSet<u8> = old.heard().iter().filter_map(|message| message.first().copied()).collect();
    assert!(codes.is_subset(&[b'4', b'6', b'7'].into()), "{codes:?}");
    assert!(old.heard().iter().all(|message| !message.ends_with(b"\n")), "bare messages only");
}

/// Only the peer that was asked may call back: a stranger on the port is not taken for it.
#[test]
fn a_call_back_from_a_stranger_is_not_taken() {
    let stranger_tried = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let tried = std::sync::Arc::clone(&stranger_tried);
    let old = Fake::serve(Reading::Once, move |visit| {
        let requester = visit.from;
        drop(visit.stream);
        let stranger = std::net::Ipv4Addr::new(127, 0, 3, 3);
        if let Ok(mut back) = crate::harness::connect_from(stranger, requester) {
            let _ = back.write_all(b"poison");
            tried.store(true, std::sync::atomic::Ordering::SeqCst);
        }
        if let Ok(mut back) = std::net::TcpStream::connect(requester) {
            let _ = back.write_all(b"genuine");
        }
    });
    let asker = Setup::peer().start();
    let done = asker.await_download(asker.begin_download(old.addr, "file"), "done");
    let content = std::fs::read(done["path"].as_str().expect("a path")).expect("the file");
    assert_eq!(content, b"genuine");
    assert!(stranger_tried.load(std::sync::atomic::Ordering::SeqCst), "the stranger did call");
}

/// The 2013 client registers the bootstrap's port as its own: a peer that is no peer. It must do no harm.
#[test]
fn a_peer_that_registered_a_wrong_port_is_no_trouble() {
    let bootstrap = OldBootstrap::listing(&[]);
    let wrong = SocketAddr::from(([127, 0, 0, 1], bootstrap.addr().port()));
    let old = old_peer(&[("tune", b"la")]);
    let listing = OldBootstrap::listing(&[wrong, old.addr]);
    let asker = Setup::peer().joins(&[listing.addr()]).start();
    asker.await_neighbour(old.addr);
    let rows = asker.search_until("tune", |rows| !rows.is_empty());
    assert_eq!(rows[0]["sources"], json!([old.addr]));
}

#[test]
fn an_old_client_that_lacks_the_file_gets_no_second_wind() {
    // It says nothing, closes, and calls nobody back.
    let old = old_peer(&[]);
    let asker = Setup::peer().start();
    let id = asker.begin_download(old.addr, "missing");
    until("both forms were tried", LIMIT, || old.heard_beginning("4:missing").len() >= 2);
    holds("no file appears", Duration::from_millis(300), || {
        crate::harness::relative_files(&asker.downloads_directory()).iter().all(|name| name != b"missing")
    });
    assert_ne!(asker.download(id)["state"], "done");
    assert!(fetch_reset(asker.listen(), b"missing"));
}

/// A content that a `p1` peer proved and then broke off: the old client that has the same name sends the rest of it by
/// call-back, and each group is checked as it passes.
#[test]
fn an_old_client_completes_what_a_p1_peer_began() {
    let content = Dice::new().bytes(4 * GROUP + 321);
    let old = old_peer(&[("shared by both.bin", &content)]);
    let ranges = Vice::Exhausts(Arc::new(AtomicUsize::new(2 * GROUP)));
    let p1 =
        P1Peer::sharing("shared by both.bin", &content, Manners { ranges, files: Vice::Refuses, ..Manners::default() });
    let (_bootstrap, asker) = start_among(Setup::peer(), &[old.addr, p1.addr]);
    let id = begin_hit(&asker, &find_content(&asker, "shared by both.bin", &content, 1));
    // It is looked for under its name, too: the old client does not know what a hash is.
    let done = asker.await_download(id, "done");
    assert_verified(&done, &content);
    assert!(share_of(&done, old.addr)["bytes"].as_u64() > Some(0), "{done}");
    assert!(old.heard().iter().all(|message| [b'4', b'6'].contains(&message[0])), "base messages only");
}

/// The same, but what the old client has under that name is something else: nothing of it counts.
#[test]
fn an_old_client_with_another_file_of_that_name_is_found_out() {
    let mut dice = Dice::new();
    let (content, other) = (dice.bytes(3 * GROUP), dice.bytes(3 * GROUP));
    let old = old_peer(&[("one name.bin", &other)]);
    let ranges = Vice::Exhausts(Arc::new(AtomicUsize::new(2 * GROUP)));
    let p1 = P1Peer::sharing("one name.bin", &content, Manners { ranges, files: Vice::Refuses, ..Manners::default() });
    let (_bootstrap, asker) = start_among(Setup::peer(), &[old.addr, p1.addr]);
    let id = begin_hit(&asker, &find_content(&asker, "one name.bin", &content, 1));
    asker.await_download(id, "retrying");
    asker.call("retry", json!({ "ids": id.to_string() }));
    until("the old client is found out", LIMIT, || share_of(&asker.download(id), old.addr)["state"] == "corrupt");
    p1.change(|manners| *manners = Manners::default());
    until("the other one is asked again", LIMIT, || {
        let _ = asker.control().call("retry", json!({ "ids": id.to_string() }));
        asker.download(id)["state"] == "done"
    });
    let done = asker.download(id);
    assert_verified(&done, &content);
    assert_eq!(share_of(&done, old.addr)["bytes"], 0, "{done}");
}
