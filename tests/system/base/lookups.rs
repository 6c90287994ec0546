//! What a search finds, and who is told (PROTOCOL, "Searching" and "Matching").

use crate::harness::{Daemon, End, Fake, Framing, LIMIT, Reading, Setup, ask, not_tested, until};
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Sends a search with this ID on behalf of an ear.
fn search(peer: SocketAddr, id: &str, text: &str, requester: SocketAddr, ttl: &str) {
    let message = format!("6:{id}:{text}:{}:{}:{ttl}", requester.ip(), requester.port());
    let answer = ask(peer, message.as_bytes(), Framing::Fin);
    assert_eq!((answer.bytes.len(), answer.end), (0, End::Fin));
}

/// The single base hit for a text; `None` if a second search that must hit is answered first.
fn base_hit(peer: &Daemon, text: &str) -> Option<String> {
    let ear = Fake::ear();
    search(peer.listen(), "first", text, ear.addr, "0");
    search(peer.listen(), "fence", "fence.txt", ear.addr, "0");
    until("the fence is answered", LIMIT, || !ear.heard_beginning("7:fence:").is_empty());
    // The hit may be slower than the fence only by the time that one connection takes.
    crate::harness::pause(std::time::Duration::from_millis(100));
    let hits = ear.heard_beginning("7:first:");
    assert!(hits.len() <= 1, "a base requester gets one hit: {hits:?}");
    let prefix = format!("7:first:127.0.0.1:{}:", peer.listen().port());
    hits.first().map(|hit| hit.strip_prefix(&prefix).expect("the hit names the peer").to_owned())
}

fn library() -> Daemon {
    let names = [
        "fence.txt",
        "Music/Miles Davis/So What.flac",
        "Music/Miles Davis/Blue in Green.flac",
        "docs/report.pdf",
        "docs/report.pdf.bak",
        "archive/report.pdf/readme",
        "Straße/Ärger.txt",
        "a b/c d.txt",
        "colon: the name.txt",
    ];
    names.iter().fold(Setup::peer(), |setup, name| setup.shares(name, name)).start()
}

#[test]
fn an_exact_name_comes_first() {
    let peer = library();
    assert_eq!(base_hit(&peer, "docs/report.pdf").as_deref(), Some("docs/report.pdf"));
}

#[test]
fn the_last_component_is_an_exact_match() {
    let peer = library();
    assert_eq!(base_hit(&peer, "report.pdf").as_deref(), Some("docs/report.pdf"));
    assert_eq!(base_hit(&peer, "So What.flac").as_deref(), Some("Music/Miles Davis/So What.flac"));
}

#[test]
fn terms_match_anywhere_ignoring_case() {
    let peer = library();
    for text in ["what MILES", "so what", "DAVIS so", "flac what"] {
        assert_eq!(base_hit(&peer, text).as_deref(), Some("Music/Miles Davis/So What.flac"), "{text}");
    }
}

#[test]
fn every_term_must_occur() {
    let peer = library();
    assert_eq!(base_hit(&peer, "miles coltrane"), None);
    assert_eq!(base_hit(&peer, "so_why"), None);
}

#[test]
fn less_than_three_bytes_match_nothing_but_a_name() {
    let peer = Setup::peer().shares("fence.txt", "").shares("ab", "").shares("xaby", "").start();
    assert_eq!(base_hit(&peer, "xa"), None);
    assert_eq!(base_hit(&peer, "x y"), None);
    assert_eq!(base_hit(&peer, "ab").as_deref(), Some("ab"), "an exact name has no least length");
}

#[test]
fn a_file_string_may_contain_colons() {
    let peer = library();
    assert_eq!(base_hit(&peer, "colon: the name.txt").as_deref(), Some("colon: the name.txt"));
    assert_eq!(base_hit(&peer, "colon: the").as_deref(), Some("colon: the name.txt"));
}

#[test]
fn a_p1_requester_gets_a_stream_on_one_connection() {
    let names: Vec<String> = (0..12).map(|turn| format!("set/match number {turn}.txt")).collect();
    let peer = names.iter().fold(Setup::peer(), |setup, name| setup.shares(name, name)).shares("other", "").start();
    let ear = Fake::ear();
    search(peer.listen(), "p1-0123456789abcdef", "number match", ear.addr, "0");
    until("the hits come", LIMIT, || !ear.heard().is_empty());
    let heard = ear.heard();
    assert_eq!(heard.len(), 1, "on one connection");
    let text = String::from_utf8(heard[0].clone()).expect("these names are text");
    let mut found = BTreeSet::new();
    for line in text.strip_suffix('\n').expect("every message ends in a newline").split('\n') {
        let prefix = format!("7:p1-0123456789abcdef:127.0.0.1:{}:", peer.listen().port());
        let (name, attributes) = line.strip_prefix(&prefix).expect("a hit").split_once('\t').expect("attributes");
        assert!(attributes.split('\t').any(|pair| pair == format!("size={}", name.len())), "{line}");
        found.insert(name.to_owned());
    }
    assert_eq!(found, names.into_iter().collect());
}

#[test]
fn a_p1_requester_gets_at_most_fifty() {
    let peer = (0..80).fold(Setup::peer(), |setup, turn| setup.shares(format!("many {turn}.txt"), "")).start();
    let ear = Fake::ear();
    search(peer.listen(), "p1-00000000000000ff", "many", ear.addr, "0");
    until("the hits come", LIMIT, || !ear.heard().is_empty());
    let heard = ear.heard();
    assert_eq!((heard.len(), heard[0].iter().filter(|&&byte| byte == b'\n').count()), (1, 50));
}

#[test]
fn what_only_looks_like_a_p1_id_is_a_base_id() {
    let peer = Setup::peer().shares("one thing", "").shares("two thing", "").start();
    for id in ["p1-0123456789abcde", "p1-0123456789abcdef0", "p1-0123456789abcdeg", "p1_0123456789abcdef", "p1-"] {
        let ear = Fake::ear();
        search(peer.listen(), id, "thing", ear.addr, "0");
        until("a hit comes", LIMIT, || !ear.heard().is_empty());
        let heard = ear.heard();
        assert_eq!(heard.len(), 1, "{id}");
        assert!(!heard[0].contains(&b'\t') && !heard[0].contains(&b'\n'), "a bare hit for {id}");
    }
}

#[test]
fn a_repeated_id_is_dropped_whoever_brings_it() {
    let peer = library();
    let (one, two) = (Fake::ear(), Fake::ear());
    for _ in 0..3 {
        search(peer.listen(), "same", "docs/report.pdf", one.addr, "0");
    }
    // The same ID from another requester is another search.
    search(peer.listen(), "same", "docs/report.pdf", two.addr, "0");
    until("both are answered", LIMIT, || !one.heard().is_empty() && !two.heard().is_empty());
    search(peer.listen(), "same", "docs/report.pdf", one.addr, "3");
    search(peer.listen(), "last", "docs/report.pdf", one.addr, "0");
    until("the last is answered", LIMIT, || !one.heard_beginning("7:last:").is_empty());
    assert_eq!(one.heard_beginning("7:same:").len(), 1, "a higher TTL is not answered again");
    assert_eq!(two.heard_beginning("7:").len(), 1);
}

#[test]
fn an_id_of_128_bytes_is_given_back_unchanged() {
    let peer = library();
    let ear = Fake::ear();
    let id = "~!@ \"x\\".repeat(20)[..128].to_owned();
    search(peer.listen(), &id, "docs/report.pdf", ear.addr, "0");
    until("the hit comes", LIMIT, || !ear.heard().is_empty());
    assert!(ear.heard_beginning(&format!("7:{id}:127.0.0.1:")).len() == 1);
}

#[test]
fn no_hit_goes_to_a_privileged_port() {
    let peer = library();
    let Ok(listener) = TcpListener::bind("127.0.0.1:1023") else {
        not_tested("no hit goes to a privileged port", "no right to listen below port 1024, or the port is taken");
        return;
    };
    listener.set_nonblocking(true).expect("it can be polled");
    search(peer.listen(), "low", "docs/report.pdf", SocketAddr::from(([127, 0, 0, 1], 1023)), "0");
    assert_eq!(base_hit(&peer, "docs/report.pdf").as_deref(), Some("docs/report.pdf"), "others are still answered");
    assert!(listener.accept().is_err(), "nobody connects to port 1023");
}

#[test]
fn no_hit_goes_to_an_implausible_endpoint() {
    let peer = library();
    for (turn, ip) in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1"].into_iter().enumerate() {
        // The last one is the peer itself.
        let to = SocketAddr::new(ip.parse().expect("an address"), peer.listen().port());
        search(peer.listen(), &format!("odd {turn}"), "docs/report.pdf", to, "0");
    }
    assert_eq!(base_hit(&peer, "docs/report.pdf").as_deref(), Some("docs/report.pdf"));
    let own_port = peer.listen().port();
    assert!(peer.peers_that(|_| true).iter().all(|known| known.port() != own_port), "none of them is taken for a peer");
}

/// A search must not make us a weapon: an endpoint that is no peer of ours gets at most ten connections a minute.
#[test]
fn an_unknown_endpoint_is_not_flooded_with_hits() {
    let peer = library();
    let visits = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&visits);
    // At another address than that of whoever sends the searches.
    let victim = Fake::serve_at(SocketAddr::from(([127, 0, 0, 2], 0)), Reading::Whole, move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    for turn in 0..60 {
        search(peer.listen(), &format!("flood {turn}"), "docs/report.pdf", victim.addr, "0");
    }
    until("the first hits come", LIMIT, || visits.load(Ordering::SeqCst) >= 10);
    crate::harness::holds("no more follow", std::time::Duration::from_millis(500), || {
        visits.load(Ordering::SeqCst) <= 12
    });
}

#[test]
fn hits_come_from_several_peers_and_are_gathered() {
    let bootstrap = Setup::bootstrap().start();
    let at = bootstrap.bootstrap_addr();
    let one = Setup::peer().joins(&[at]).shares("common.txt", "same").shares("only one.txt", "1").start();
    let two = Setup::peer().joins(&[at]).shares("common.txt", "same").shares("only two.txt", "22").start();
    let asker = Setup::peer().joins(&[at]).start();
    asker.await_neighbour(one.listen());
    asker.await_neighbour(two.listen());
    let rows = asker.search_until("txt", |rows| {
        let sources = |name: &str| -> usize {
            let of_name = rows.iter().filter(|row| row["name"] == name);
            of_name.map(|row| row["sources"].as_array().expect("sources").len()).sum()
        };
        sources("common.txt") == 2 && sources("only one.txt") == 1 && sources("only two.txt") == 1
    });
    for row in &rows {
        let size = match row["name"].as_str() {
            Some("common.txt") => 4,
            Some("only one.txt") => 1,
            _ => 2,
        };
        assert_eq!(row["size"], size, "{row}");
    }
    let ids: BTreeSet<u64> = rows.iter().map(|row| row["id"].as_u64().expect("a number")).collect();
    assert_eq!(ids.len(), rows.len(), "ids are unique");
    until("both are known to speak p1", LIMIT, || asker.peers_that(|row| row["p1"] == true).len() == 2);
}
