//! Together with the programs of 2013 and 2014, in both roles (PROTOCOL, "Old programs").

use crate::harness::{
    Daemon, Dice, End, Fake, Framing, GROUP, LIMIT, Manners, OldBootstrap, P1Peer, Reading, Setup, Stopwatch, Vice,
    Visit, ask, ask_from, assert_verified, begin_hit, call_back_download, call_back_download_early,
    connect_to_be_called_back, find_content, not_tested, old_peer, pause, reset, share_of, start_among, take_call_back,
    until,
};
use serde_json::json;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

/// The stand-ins understand one another: what fails below is not theirs.
#[test]
fn old_programs_among_themselves() {
    let sharing = old_peer(&[("song.mp3", b"la la"), ("empty", b"")]);
    assert_eq!(call_back_download_early(sharing.addr, "song.mp3"), b"la la");
    assert_eq!(call_back_download_early(sharing.addr, "empty"), b"");
    assert!(!sharing.has_ended());
    let requester = Fake::ear();
    let search = format!("6:any id:song.mp3:127.0.0.1:{}:3", requester.addr.port());
    ask(sharing.addr, search.as_bytes(), Framing::Fin);
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

/// A bootstrap node that dials those who register (`bootstrap_verify`) sends them a search that they answer with nothing.
#[test]
fn an_old_client_survives_being_dialled_and_is_not_dialled_again_after_a_restart() {
    let mut node = Setup::bootstrap().set("bootstrap_verify", "true").start();
    let (to, old) = (node.bootstrap_addr(), old_peer(&[("tune", b"la")]));
    let registers = |ip: Ipv4Addr, port: u16| {
        let end = ask_from(ip, to, format!("0:{port}").as_bytes()).end;
        assert_eq!(end, End::Fin);
    };
    registers(Ipv4Addr::LOCALHOST, old.addr.port());
    // The client of 2013 names the port of its bootstrap node, where it does not listen.
    registers(Ipv4Addr::new(127, 0, 3, 1), to.port());
    let checks = |node: &Daemon| node.call("bootstrap", serde_json::Value::Null)["registry"]["checks"].clone();
    until("both were dialled", LIMIT, || checks(&node) == json!({ "answered": 1, "silent": 1 }));
    assert_eq!(node.stop().code, Some(0));
    node.start_again();
    assert_eq!(checks(&node), json!({ "answered": 1, "silent": 0 }));
    registers(Ipv4Addr::LOCALHOST, old.addr.port());
    until("the other one was dialled again", LIMIT, || {
        registers(Ipv4Addr::new(127, 0, 3, 1), to.port());
        checks(&node) == json!({ "answered": 1, "silent": 1 })
    });
    let heard = old.heard();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].starts_with(b"6:p1-") && !old.has_ended());
    // It is listed, and works as ever.
    let asker = Setup::peer().joins(&[to]).start();
    asker.search_until("tune", |rows| !rows.is_empty());
    assert!(!old.has_ended());
}

/// The client of 2013 begins to listen only after it has closed, some time later.
#[test]
fn an_old_client_is_called_back_however_late_it_listens() {
    let (small, large) = (b"a small file".to_vec(), Dice::new().bytes(5 << 20));
    let peer = Setup::peer().shares("small.txt", &small).shares("large.bin", &large).start();
    let address = peer.listen();
    std::thread::scope(|scope| {
        for ms in [0, 1, 50, 700] {
            for (name, content) in [("small.txt", &small), ("large.bin", &large)] {
                scope.spawn(move || {
                    let file = call_back_download(address, name, Duration::from_millis(ms));
                    assert!(file == *content, "{name}, {ms} ms after the request");
                });
            }
        }
    });
    // Each file went out once for each request.
    let sent = 4 * (small.len() + large.len());
    until("the uploads are over", LIMIT, || {
        let status = peer.status();
        status["uploads_active"] == 0 && status["bytes_up"] == sent
    });
}

#[test]
fn a_call_back_is_reported_and_limited_as_other_uploads_are() {
    let content = Dice::new().bytes(1 << 20);
    let setup = Setup::peer().shares("file.bin", &content).set("max_workers", "1").set("upload_limit", "'512KiB'");
    let peer = setup.start();
    let mut listener = peer.control();
    listener.call("events", serde_json::Value::Null).expect("it listens");
    let watch = Stopwatch::start();
    assert!(call_back_download(peer.listen(), "file.bin", Duration::from_millis(5)) == content);
    assert!(watch.elapsed() > Duration::from_millis(1_500), "{:?}", watch.elapsed());
    let whole = |notice: &serde_json::Value| {
        (notice["event"] == "upload_ended" && notice["error"].is_null()).then(|| notice.clone())
    };
    let ended = listener.notice("the upload ended", whole);
    assert_eq!((&ended["name"], &ended["bytes"]), (&json!("file.bin"), &json!(content.len())));
    assert_eq!(peer.status()["bytes_up"], content.len());
}

#[test]
fn an_old_client_is_called_back_once_and_never_when_it_took_the_file() {
    let peer = Setup::peer().shares("taken.txt", "taken").start();
    assert_eq!(crate::harness::fetch(peer.listen(), b"taken.txt"), b"taken");
    assert_eq!(call_back_download(peer.listen(), "taken.txt", Duration::ZERO), b"taken");
    // Nobody listens where this request came from: the attempts end, and other requests are served meanwhile.
    let mut stream = TcpStream::connect(peer.listen()).expect("it accepts");
    stream.write_all(b"4:taken.txt").expect("it reads");
    drop(stream);
    assert_eq!(crate::harness::fetch(peer.listen(), b"taken.txt"), b"taken");
    // What nobody took does not count.
    until("the uploads are over", LIMIT, || {
        let status = peer.status();
        status["uploads_active"] == 0 && status["bytes_up"] == 15
    });
}

/// Its FIN is late, as when the network loses it: the file is sent before, and the reset comes without FIN.
#[test]
fn an_old_client_whose_fin_is_late_is_called_back() {
    let peer = Setup::peer().shares("late.txt", "late").start();
    let (asking, listening) = connect_to_be_called_back(peer.listen());
    (&asking).write_all(b"4:late.txt").expect("it reads");
    asking.peek(&mut [0]).expect("silence ends the message");
    reset(asking);
    let mut back = take_call_back(listening, peer.listen());
    let mut file = String::new();
    std::io::Read::read_to_string(&mut back, &mut file).expect("the file comes whole");
    assert_eq!(file, "late");
}

/// What the limit allows is used up by another: the first byte is sent late enough to be told as progress, before the reset
/// comes that asks for the call back.
#[test]
fn what_an_old_client_did_not_take_does_not_count_even_if_it_was_told_as_progress() {
    let peer = Setup::peer().shares("taken.txt", "taken").set("upload_limit", "3").start();
    assert_eq!(crate::harness::fetch(peer.listen(), b"taken.txt"), b"taken");
    assert_eq!(call_back_download(peer.listen(), "taken.txt", Duration::ZERO), b"taken");
    until("the upload is over", LIMIT, || peer.status()["uploads_active"] == 0);
    assert_eq!(peer.status()["bytes_up"], 10);
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
    let old = old_peer(&[("direct.txt", b"by name alone"), ("again.txt", b"and again")]);
    let asker = Setup::peer().start();
    for (name, content) in [("direct.txt", "by name alone"), ("again.txt", "and again")] {
        let done = asker.await_download(asker.begin_download(old.addr, name), "done");
        assert_eq!(std::fs::read_to_string(done["path"].as_str().expect("a path")).expect("the file"), content);
        assert_eq!(done["verified"], false);
        assert_eq!(old.heard_beginning(&format!("4:{name}")).len(), 1, "the request is sent once");
    }
    assert!(!old.has_ended(), "its call back was refused");
}

/// How a base peer answers `4:file`, beside the way of the 2013 client.
fn answering(behaviour: impl Fn(Visit) + Send + Sync + 'static) -> Fake {
    Fake::serve(Reading::Whole, move |visit| {
        if visit.message.starts_with(b"4:") {
            behaviour(visit);
        }
    })
}

/// The one file that a download from this peer leaves.
fn content_from(old: &Fake) -> Vec<u8> {
    let asker = Setup::peer().start();
    let done = asker.await_download(asker.begin_download(old.addr, "file"), "done");
    assert_eq!(old.heard_beginning("4:"), ["4:file"], "the request is sent once");
    assert_eq!((&done["verified"], done["bytes_done"] == done["size"]), (&json!(false), true));
    std::fs::read(done["path"].as_str().expect("a path")).expect("the file")
}

#[test]
fn a_base_peer_may_answer_on_the_connection_that_asked() {
    let content = Dice::new().bytes(3 << 20);
    let sent = content.clone();
    let old = answering(move |mut visit| visit.stream.write_all(&sent).expect("it reads"));
    assert!(content_from(&old) == content);
}

#[test]
fn a_base_peer_may_call_back_while_the_connection_that_asked_is_open() {
    let content = Dice::new().bytes(3 << 20);
    let sent = content.clone();
    let old = answering(move |visit| {
        // A connection that brings nothing, as of a program that fails in between, does not count.
        drop(TcpStream::connect(visit.from).expect("it listens"));
        TcpStream::connect(visit.from).expect("it listens").write_all(&sent).expect("it reads");
    });
    assert!(content_from(&old) == content);
}

#[test]
fn a_base_peer_may_call_back_over_ipv6() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        not_tested("a call back over IPv6", "this machine has no IPv6 loopback address");
        return;
    }
    let old = Fake::serve_at("[::1]:0".parse().expect("an endpoint"), Reading::Whole, |visit| {
        let requester = visit.from;
        drop(visit.close());
        TcpStream::connect(requester).expect("it listens").write_all(b"by six").expect("it reads");
    });
    assert_eq!(content_from(&old), b"by six");
}

#[test]
fn a_cancelled_request_leaves_no_open_port() {
    let (heard, requester) = std::sync::mpsc::channel();
    let old = answering(move |visit| {
        heard.send(visit.from).expect("the test waits");
        // The connection stays open, and brings nothing.
        pause(LIMIT);
        drop(visit);
    });
    let asker = Setup::peer().start();
    let id = asker.begin_download(old.addr, "file");
    let requester = requester.recv_timeout(LIMIT).expect("the request comes");
    assert!(TcpStream::connect(requester).is_ok(), "it listens where it asked from");
    asker.call("cancel", json!({ "ids": id.to_string() }));
    until("nobody listens any more", LIMIT, || TcpStream::connect(requester).is_err());
}

#[test]
fn a_call_back_is_waited_for() {
    let old = answering(|visit| {
        let requester = visit.from;
        drop(visit.close());
        pause(Duration::from_secs(3));
        let mut back = TcpStream::connect(requester).expect("it still listens");
        pause(Duration::from_secs(3));
        back.write_all(b"late").expect("it reads");
    });
    assert_eq!(content_from(&old), b"late");
}

/// What a download from this peer fails with.
fn failure_from(old: &Fake) -> String {
    let asker = Setup::peer().start();
    let failed = asker.await_download(asker.begin_download(old.addr, "file"), "failed");
    assert_eq!(old.heard_beginning("4:"), ["4:file"], "the request is sent once");
    assert_eq!(
        (&failed["error"]["code"], &failed["verified"], &failed["bytes_done"]),
        (&json!(3), &json!(false), &json!(0))
    );
    until("nothing is left", LIMIT, || crate::harness::relative_files(&asker.downloads_directory()).is_empty());
    failed["error"]["message"].as_str().expect("a message").to_string()
}

#[test]
fn a_base_peer_that_sends_nothing_has_refused() {
    let old = answering(drop);
    let message = failure_from(&old);
    assert!(message.contains(&format!("{}: sent nothing: refused, or the file is empty", old.addr)), "{message}");
}

/// The 2013 client connects before it opens the file, and dies of it.
#[test]
fn an_old_client_that_lacks_the_file_has_refused() {
    let old = old_peer(&[]);
    let message = failure_from(&old);
    assert!(message.contains("sent nothing: refused, or the file is empty"), "{message}");
    assert!(old.has_ended());
}

#[test]
fn a_base_peer_that_resets_has_refused_at_once() {
    let old = answering(|visit| crate::harness::reset(visit.stream));
    let watch = Stopwatch::start();
    let message = failure_from(&old);
    assert!(message.contains("it refuses"), "{message}");
    // The first contact takes 2 s, and the search for other sources 3 s.
    assert!(watch.ran() < Duration::from_secs(9), "no call back is waited for: {:?}", watch.ran());
}

/// Only the peer that was asked may call back: a stranger on the port is closed, and does not count.
#[test]
fn a_call_back_from_a_stranger_is_not_taken() {
    let old = answering(|visit| {
        let stranger = Ipv4Addr::new(127, 0, 3, 3);
        let mut back = crate::harness::connect_from(stranger, visit.from).expect("it listens");
        let _ = back.write_all(b"poison");
        assert!(crate::harness::read_to_end(&mut back).0.is_empty());
        // Closed or not: the genuine one comes after it.
        TcpStream::connect(visit.from).expect("it listens").write_all(b"genuine").expect("it reads");
    });
    assert_eq!(content_from(&old), b"genuine");
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
