//! Streams between `p1` neighbours: many searches and hits on one connection (PROTOCOL, Streams).

use crate::harness::{
    Connection, Daemon, Fake, LIMIT, Manners, P1Peer, Setup, find_content, pyratectl, search_fields, start_among,
    start_hashed, until,
};
use serde_json::json;
use std::io::Write;
use std::net::TcpStream;

/// The searches that came on each connection, told by their file strings; every one of them newline-ended but where
/// the connection ended.
fn searches(connections: &[Connection]) -> Vec<Vec<String>> {
    let texts = connections.iter().map(|connection| {
        let messages = connection.messages();
        messages.iter().filter_map(|message| search_fields(message)).map(|(_, text, _)| text).collect::<Vec<_>>()
    });
    texts.filter(|texts| !texts.is_empty()).collect()
}

/// Begins a search of one ring, and waits until the peer heard it.
fn search(asker: &Daemon, peer: &P1Peer, text: &str) {
    asker.call("search", json!({ "text": text, "ttl": 1 }));
    until(&format!("the search for {text} arrives"), LIMIT, || {
        searches(&peer.connections()).concat().iter().any(|heard| heard == text)
    });
}

/// A daemon, and a neighbour of it that has just shown that it speaks `p1`, by answering a search.
fn neighbours() -> (impl Sized, Daemon, P1Peer) {
    let peer = P1Peer::sharing("known.bin", b"known", Manners::default());
    let (bootstrap, asker) = start_among(Setup::peer(), &[peer.addr]);
    find_content(&asker, "known", b"known", 1);
    until("it is known to speak p1", LIMIT, || asker.peers_that(|row| row["p1"] == true) == [peer.addr]);
    // Its rings have opened a stream, perhaps.
    pyratectl(&asker, ["search", "known"]);
    peer.end_streams(true);
    until("no stream is open", LIMIT, || peer.streams_open() == 0);
    (bootstrap, asker, peer)
}

#[test]
fn many_searches_go_out_on_one_connection() {
    let (_bootstrap, asker, peer) = neighbours();
    let before = peer.connections().len();
    for turn in 0..12 {
        search(&asker, &peer, &format!("search number {turn}"));
    }
    let expected: Vec<String> = (0..12).map(|turn| format!("search number {turn}")).collect();
    let connections = peer.connections().split_off(before);
    assert_eq!(searches(&connections), [expected], "one connection, in order");
    assert!(connections[0].bytes.ends_with(b"\n") && !connections[0].ended, "newline-ended, and open for more");
}

/// A peer may close a stream at any time, in order or not: the next message goes out on a new one, none is lost.
#[test]
fn a_stream_that_the_peer_closed_is_opened_again() {
    let (_bootstrap, asker, peer) = neighbours();
    for turn in 0..4 {
        let before = peer.connections().len();
        search(&asker, &peer, &format!("first {turn}"));
        search(&asker, &peer, &format!("second {turn}"));
        let connections = peer.connections().split_off(before);
        assert_eq!(searches(&connections), [[format!("first {turn}"), format!("second {turn}")]], "a new stream");
        peer.end_streams(turn % 2 == 0);
        until("the stream is over", LIMIT, || peer.streams_open() == 0);
    }
    assert_eq!(asker.peers_that(|row| row["state"] == "alive"), [peer.addr], "and nobody thinks ill of it");
}

/// What a daemon takes from one connection: searches and hits in any pieces, until the sender ends it.
#[test]
fn a_daemon_reads_a_stream_in_any_pieces() {
    let peer = start_hashed(Setup::peer().shares("here.txt", "here"));
    let ear = Fake::ear();
    let line = |turn: usize| format!("6:q{turn}:here.txt:127.0.0.1:{}:0\n", ear.addr.port());
    let mut stream = TcpStream::connect(peer.listen()).expect("it accepts");
    stream.set_nodelay(true).expect("an option");
    let heard = |turn: usize| ear.heard_beginning(&format!("7:q{turn}:")).len() == 1;
    // One at a time, with an answer in between.
    for turn in 0..3 {
        stream.write_all(line(turn).as_bytes()).expect("it reads");
        until("it is answered", LIMIT, || heard(turn));
    }
    // Several at once, and the last of them in two pieces.
    let several = (3..9).map(line).collect::<String>();
    let (most, rest) = several.split_at(several.len() - 10);
    stream.write_all(most.as_bytes()).expect("it reads");
    until("all but the last are answered", LIMIT, || (3..8).all(heard));
    assert!(!heard(8));
    stream.write_all(rest.as_bytes()).expect("it reads");
    until("the last is answered", LIMIT, || heard(8));
    // Hits that nobody asked for in between, and an end by FIN instead of a newline.
    let unasked = format!("7:p1-{:016x}:127.0.0.1:5000:unasked\tsize=1\n", 7);
    stream.write_all(unasked.as_bytes()).expect("it reads");
    stream.write_all(line(9).trim_end().as_bytes()).expect("it reads");
    stream.shutdown(std::net::Shutdown::Write).expect("it is connected");
    until("it is answered too", LIMIT, || heard(9));
    assert_eq!(ear.heard().len(), 10, "each once");
    assert!(peer.pages("hits", "hits").is_empty());
}
