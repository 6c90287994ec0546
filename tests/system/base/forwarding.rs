//! Searches travel (PROTOCOL, "Searching"): TTL, repeats, and who is left out.

use crate::harness::{Fake, Framing, LIMIT, OldBootstrap, Reading, Setup, ask, holds, old_peer, until};
use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

fn search(peer: SocketAddr, id: &str, text: &str, requester: SocketAddr, ttl: u32) {
    let message = format!("6:{id}:{text}:{}:{}:{ttl}", requester.ip(), requester.port());
    ask(peer, message.as_bytes(), Framing::Fin);
}

/// The TTLs with which an ear heard a search of this ID.
fn ttls_heard(ear: &Fake, id: &str) -> Vec<u32> {
    let searches = ear.heard_beginning(&format!("6:{id}:"));
    searches.iter().map(|text| text.rsplit(':').next().expect("a TTL").parse().expect("a number")).collect()
}

#[test]
fn a_search_is_forwarded_to_every_neighbour_with_one_less() {
    let ears = [Fake::ear(), Fake::ear(), Fake::ear()];
    let bootstrap = OldBootstrap::listing(&ears.each_ref().map(|ear| ear.addr));
    let peer = Setup::peer().joins(&[bootstrap.addr()]).start();
    ears.iter().for_each(|ear| peer.await_neighbour(ear.addr));
    let requester = Fake::ear();
    search(peer.listen(), "any", "some: text", requester.addr, 3);
    let expected = format!("6:any:some: text:127.0.0.1:{}:2", requester.addr.port());
    for ear in &ears {
        until("the neighbour hears it", LIMIT, || !ear.heard().is_empty());
        assert_eq!(ear.heard(), [expected.clone().into_bytes()], "one bare message, unchanged but for the TTL");
    }
}

#[test]
fn ttl_zero_is_answered_and_not_forwarded() {
    let ear = Fake::ear();
    let bootstrap = OldBootstrap::listing(&[ear.addr]);
    let peer = Setup::peer().joins(&[bootstrap.addr()]).shares("here.txt", "").start();
    peer.await_neighbour(ear.addr);
    let requester = Fake::ear();
    search(peer.listen(), "zero", "here.txt", requester.addr, 0);
    until("the hit comes", LIMIT, || requester.heard().len() == 1);
    search(peer.listen(), "one", "here.txt", requester.addr, 1);
    until("the next is forwarded", LIMIT, || ttls_heard(&ear, "one") == [0]);
    assert!(ttls_heard(&ear, "zero").is_empty());
}

#[test]
fn a_repeat_is_forwarded_only_with_a_higher_ttl() {
    let ear = Fake::ear();
    let bootstrap = OldBootstrap::listing(&[ear.addr]);
    let peer = Setup::peer().joins(&[bootstrap.addr()]).shares("here.txt", "").start();
    peer.await_neighbour(ear.addr);
    let requester = Fake::ear();
    for (ttl, heard) in [(2, &[1][..]), (2, &[1]), (1, &[1]), (4, &[1, 3]), (3, &[1, 3])] {
        search(peer.listen(), "again", "here.txt", requester.addr, ttl);
        until("it is forwarded, if at all", LIMIT, || ttls_heard(&ear, "again") == heard);
    }
    search(peer.listen(), "fence", "here.txt", requester.addr, 1);
    until("the fence is through", LIMIT, || ttls_heard(&ear, "fence") == [0]);
    until("the fence is answered", LIMIT, || requester.heard_beginning("7:fence:").len() == 1);
    assert_eq!(ttls_heard(&ear, "again"), [1, 3]);
    assert_eq!(requester.heard_beginning("7:again:").len(), 1, "answered once");
}

#[test]
fn an_immense_ttl_is_clamped() {
    let ear = Fake::ear();
    let bootstrap = OldBootstrap::listing(&[ear.addr]);
    let peer = Setup::peer().joins(&[bootstrap.addr()]).set("max_ttl", "5").start();
    peer.await_neighbour(ear.addr);
    let requester = Fake::ear();
    for (id, ttl) in [("a", 200), ("b", 255), ("c", 100_000)] {
        search(peer.listen(), id, "whatever", requester.addr, ttl);
        until("it is forwarded", LIMIT, || ttls_heard(&ear, id).len() == 1);
        assert!(ttls_heard(&ear, id)[0] <= 5, "{:?}", ttls_heard(&ear, id));
    }
}

#[test]
fn the_requester_does_not_hear_its_own_search() {
    let (requester, other) = (Fake::ear(), Fake::ear());
    let bootstrap = OldBootstrap::listing(&[requester.addr, other.addr]);
    let peer = Setup::peer().joins(&[bootstrap.addr()]).shares("here.txt", "").start();
    peer.await_neighbour(requester.addr);
    peer.await_neighbour(other.addr);
    for turn in 0..3 {
        search(peer.listen(), &format!("mine{turn}"), "here.txt", requester.addr, 3);
        until("the other hears it", LIMIT, || ttls_heard(&other, &format!("mine{turn}")) == [2]);
    }
    until("the hits come", LIMIT, || requester.heard_beginning("7:").len() == 3);
    assert!(requester.heard_beginning("6:").is_empty());
}

#[test]
fn a_neighbour_that_never_closes_holds_nothing_up() {
    // A base peer that takes the message, says nothing, and keeps the connection open.
    let mute = Fake::serve(Reading::Once, |mut visit| {
        let _ = visit.stream.set_read_timeout(Some(Duration::from_secs(60)));
        let _ = visit.stream.read_to_end(&mut Vec::new());
        crate::harness::pause(Duration::from_secs(60));
    });
    let ear = Fake::ear();
    let bootstrap = OldBootstrap::listing(&[mute.addr, ear.addr]);
    let peer = Setup::peer().joins(&[bootstrap.addr()]).shares("here.txt", "").start();
    peer.await_neighbour(mute.addr);
    peer.await_neighbour(ear.addr);
    let requester = Fake::ear();
    for turn in 0..5 {
        search(peer.listen(), &format!("q{turn}"), "here.txt", requester.addr, 3);
        until("the other hears it", LIMIT, || ttls_heard(&ear, &format!("q{turn}")) == [2]);
        until("it is answered", LIMIT, || requester.heard_beginning(&format!("7:q{turn}:")).len() == 1);
    }
}

/// A – B – C, where A does not know C: the search goes through B, the hit and the file come straight from C.
#[test]
fn a_search_finds_what_lies_two_steps_away() {
    let end = OldBootstrap::listing(&[]);
    let far = Setup::peer().joins(&[end.addr()]).shares("far/away.txt", "far away").start();
    let beyond = OldBootstrap::listing(&[far.listen()]);
    let middle = Setup::peer().joins(&[beyond.addr()]).start();
    middle.await_neighbour(far.listen());
    let near = OldBootstrap::listing(&[middle.listen()]);
    let asker = Setup::peer().joins(&[near.addr()]).start();
    asker.await_neighbour(middle.listen());
    assert!(!asker.peers_that(|_| true).contains(&far.listen()));
    let rows = asker.search_until("away", |rows| !rows.is_empty());
    assert_eq!(rows[0]["name"], "far/away.txt");
    assert_eq!(rows[0]["sources"], serde_json::json!([far.listen()]));
    let begun = asker.call("download", serde_json::json!({ "what": [{ "hits": rows[0]["id"].to_string() }] }));
    let done = asker.await_download(begun["downloads"][0]["id"].as_u64().expect("an id"), "done");
    let path = done["path"].as_str().expect("a path");
    assert_eq!(std::fs::read(path).expect("the file"), b"far away");
}

/// A ring of TTL 1, and as it finds nothing one of `max_ttl`, each with a fresh ID.
#[test]
fn an_own_search_goes_out_in_rings() {
    let ear = Fake::ear();
    let bootstrap = OldBootstrap::listing(&[ear.addr]);
    let asker = Setup::peer().joins(&[bootstrap.addr()]).start();
    asker.await_neighbour(ear.addr);
    let mut control = asker.control();
    let begun = control.call("search", serde_json::json!({ "text": "nowhere to be found" })).expect("it begins");
    let search = begun["search"].clone();
    let mut rings = Vec::new();
    control.notice("the search is over", |notice| {
        assert!(notice["search"] == search || notice.get("search").is_none());
        match notice["event"].as_str() {
            Some("ring") => rings.push(notice["ttl"].as_u64().expect("a number")),
            Some("search_done") => return Some(()),
            _ => {}
        }
        None
    });
    assert_eq!(rings, [1, 7]);
    let searches = || {
        let heard = ear.heard_beginning("6:").into_iter();
        // Not what asks it what it speaks.
        heard.filter(|text| text.contains("nowhere")).collect::<Vec<_>>()
    };
    until("the neighbour heard every ring", LIMIT, || searches().len() == 2);
    let searches = searches();
    let ids: std::collections::BTreeSet<&str> = searches.iter().filter_map(|text| text.split(':').nth(1)).collect();
    assert_eq!(ids.len(), 2, "each ring has a fresh ID");
    for text in &searches {
        let fields: Vec<&str> = text.split(':').collect();
        let (id, port) = (fields[1], fields[4].parse().ok());
        let digits = id.strip_prefix("p1-").expect("a query ID of p1");
        assert!(digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert_eq!((fields[2], fields[3], port), ("nowhere to be found", "127.0.0.1", Some(asker.listen().port())));
    }
}

#[test]
fn a_ttl_that_the_user_names_ends_the_rings() {
    let ear = Fake::ear();
    let bootstrap = OldBootstrap::listing(&[ear.addr]);
    let asker = Setup::peer().joins(&[bootstrap.addr()]).start();
    asker.await_neighbour(ear.addr);
    let mut control = asker.control();
    control.call("search", serde_json::json!({ "text": "nowhere", "ttl": 2 })).expect("it begins");
    control.notice("the search is over", |notice| (notice["event"] == "search_done").then_some(()));
    let ttls: Vec<String> =
        ear.heard_beginning("6:").iter().map(|text| text.rsplit(':').next().expect("a TTL").to_owned()).collect();
    assert!(!ttls.is_empty() && ttls.iter().all(|ttl| ttl == "1" || ttl == "2"), "{ttls:?}");
}

#[test]
fn a_dead_neighbour_is_replaced() {
    let (dead, alive) = (Fake::ear(), old_peer(&[("tune", b"la")]));
    let gone = dead.addr;
    drop(dead);
    let bootstrap = OldBootstrap::listing(&[gone, alive.addr]);
    let asker = Setup::peer().joins(&[bootstrap.addr()]).start();
    asker.await_neighbour(alive.addr);
    let rows = asker.search_until("tune", |rows| !rows.is_empty());
    assert_eq!(rows[0]["sources"], serde_json::json!([alive.addr]));
    until("the dead one is known to be dead", LIMIT, || {
        !asker.peers_that(|row| row["state"] == "alive").contains(&gone)
            && asker.peers_that(|row| row["state"] == "alive").contains(&alive.addr)
    });
    holds("the daemon goes on", Duration::from_millis(100), || asker.status()["version"].is_string());
}
