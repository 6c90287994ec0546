//! The first request to a peer of which nobody has said what it speaks (PROTOCOL, part 2, First contact).

use crate::harness::{
    Dice, Fake, Framing, GROUP, LIMIT, Reading, Setup, Stopwatch, ask, assert_verified, await_hashed, old_peer,
    pyratectl, until,
};
use nix::sys::signal::Signal;
use std::io::Write;
use std::net::Shutdown;

#[test]
fn the_first_download_of_a_node_that_knows_nobody_is_verified() {
    let content = Dice::new().bytes(2 * GROUP + 5);
    let source = Setup::peer().shares("dir/file.bin", &content).start();
    await_hashed(&source);
    let asker = Setup::peer().start();
    let done = asker.await_download(asker.begin_download(source.listen(), "dir/file.bin"), "done");
    assert_verified(&done, &content);
}

#[test]
fn a_typing_error_at_a_peer_of_which_nothing_is_known_ends_at_once() {
    for setup in [Setup::peer().shares("file.bin", "content"), Setup::peer()] {
        let (source, asker) = (setup.start(), Setup::peer().start());
        let watch = Stopwatch::start();
        let outcome = pyratectl(&asker, ["--json", "download", &format!("{}/fiel.bin", source.listen())]);
        assert!(watch.ran() < LIMIT / 2, "{:?}", watch.ran());
        assert_eq!(outcome.code, 3);
        let message = &outcome.stdout;
        assert!(message.contains(&format!("no such file at {}", source.listen())), "{message}");
    }
}

/// What was verified before a `kill -9` is there after it.
#[test]
fn what_a_killed_node_had_of_its_first_download_is_kept() {
    let content = Dice::new().bytes(6 * GROUP);
    let source = Setup::peer().shares("file.bin", &content).start();
    await_hashed(&source);
    let mut asker = Setup::peer().set("download_limit", "'1MiB'").start();
    let id = asker.begin_download(source.listen(), "file.bin");
    until("a part is there", LIMIT, || asker.download(id)["bytes_done"].as_u64() >= Some(2 * GROUP as u64));
    asker.end_by(Signal::SIGKILL);
    asker.start_again();
    let row = asker.await_download(id, "done");
    assert_verified(&row, &content);
    let fetched = asker.status()["bytes_down"].as_u64().expect("a number");
    assert!(fetched < 5 * GROUP as u64, "{fetched} bytes after the restart");
}

#[test]
fn a_server_of_another_kind_is_no_source_and_leaves_no_file() {
    let page = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html>not a file</html>";
    let web = Fake::serve(Reading::Whole, move |mut visit| {
        let _ = visit.stream.write_all(page);
        let _ = visit.stream.shutdown(Shutdown::Write);
    });
    let asker = Setup::peer().start();
    let outcome = pyratectl(&asker, ["--json", "download", &format!("{}/index.html", web.addr)]);
    assert_eq!(outcome.code, 3);
    assert!(outcome.stdout.contains("a web server"), "{}", outcome.stdout);
    until("nothing is left", LIMIT, || crate::harness::relative_files(&asker.downloads_directory()).is_empty());
    assert!(web.heard_beginning("4:").is_empty(), "it is not asked for a file");
}

/// Nobody can connect to where this node says that it is: a client of 2013 that tried to would end.
#[test]
fn an_old_client_that_cannot_reach_the_requester_serves_it_all_the_same() {
    let content = Dice::new().bytes(100_000);
    let old = old_peer(&[("file.bin", &content)]);
    let asker = Setup::peer().set("advertise_addr", "'203.0.113.9'").start();
    let done = asker.await_download(asker.begin_download(old.addr, "file.bin"), "done");
    assert!(std::fs::read(done["path"].as_str().expect("a path")).expect("the file") == content);
    assert!(!old.has_ended());
}

#[test]
fn a_p1_node_that_cannot_reach_the_requester_says_all_the_same_that_it_is_one() {
    let content = Dice::new().bytes(GROUP + 5);
    let source = Setup::peer().shares("file.bin", &content).start();
    await_hashed(&source);
    let asker = Setup::peer().set("advertise_addr", "'203.0.113.9'").start();
    let done = asker.await_download(asker.begin_download(source.listen(), "file.bin"), "done");
    assert_verified(&done, &content);
}

/// A client of 2013 has the address of a node that spoke `p1`, whose registration has not ended yet.
#[test]
fn an_old_client_at_an_address_that_is_listed_with_p1_is_asked_in_its_way() {
    let content = Dice::new().bytes(100_000);
    let old = old_peer(&[("file.bin", &content)]);
    let bootstrap = Setup::bootstrap().start();
    ask(bootstrap.bootstrap_addr(), format!("0:{}:p1", old.addr.port()).as_bytes(), Framing::Fin);
    let asker = Setup::peer().joins(&[bootstrap.bootstrap_addr()]).start();
    asker.await_neighbour(old.addr);
    let done = asker.await_download(asker.begin_download(old.addr, "file.bin"), "done");
    let path = done["path"].as_str().expect("a path");
    assert!(std::fs::read(path).expect("the file") == content);
    assert_eq!(old.heard_beginning("9:").len(), 1, "it is not asked for metadata again");
    assert!(!old.has_ended());
}
