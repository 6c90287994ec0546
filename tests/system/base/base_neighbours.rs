//! Base peers hear base messages only, byte for byte as before, whatever else goes on around them (PROTOCOL, part 2).

use crate::harness::{
    Dice, Fake, Framing, GROUP, LIMIT, Manners, OldBootstrap, P1Peer, Reading, Setup, ask, assert_verified,
    await_hashed, begin_hit, deliver, fetch, find_content, pause, start_among, until,
};
use serde_json::json;
use std::io::Read;
use std::time::Duration;

/// Fails unless everything that a peer heard were bare messages, one a connection, each ended by a half-close.
fn assert_bare(peer: &P1Peer) {
    until("all connections are over", LIMIT, || peer.connections().iter().all(|connection| connection.ended));
    for connection in peer.connections() {
        let text = String::from_utf8_lossy(&connection.bytes).into_owned();
        assert!(!text.contains(['\n', '\t', '\0']), "one bare message: {text:?}");
        let (code, rest) = text.split_once(':').expect("a code");
        match code {
            "4" => assert!(rest.ends_with(".bin"), "{text:?}"),
            "5" => assert!(["", "p1"].contains(&rest), "{text:?}"),
            "6" => assert_eq!(rest.split(':').count(), 5, "{text:?}"),
            "7" => assert_eq!(rest.split(':').count(), 4, "{text:?}"),
            _ => panic!("no message for a base peer: {text:?}"),
        }
    }
}

/// A whole session in a mixed neighbourhood: searches, lists, downloads from both kinds, forwarded searches, answers.
#[test]
fn a_base_neighbour_hears_base_messages_only() {
    let mut dice = Dice::new();
    let content = dice.bytes(3 * GROUP + 5);
    let base = P1Peer::sharing("common.bin", &content, Manners { base: true, hashed: false, ..Manners::default() });
    base.add("plain.bin", b"plain");
    let p1 = P1Peer::sharing("common.bin", &content, Manners::default());
    let setup = Setup::peer().set("keepalive_refresh", "'1s'").shares("ours.bin", "ours").shares("ours too.bin", "2");
    let (bootstrap, asker) = start_among(setup, &[base.addr, p1.addr]);
    await_hashed(&asker);
    let row = find_content(&asker, "common.bin", &content, 1);
    until("the base peer's hit is there too", LIMIT, || {
        asker.pages("hits", "hits").iter().any(|hit| hit["sources"] == json!([base.addr]))
    });
    asker.await_download(begin_hit(&asker, &row), "done");
    let rows = asker.search_until("plain.bin", |rows| !rows.is_empty());
    asker.await_download(begin_hit(&asker, &rows[0]), "done");
    let mut control = asker.control();
    for peer in [base.addr, p1.addr, base.addr] {
        control.call("list", json!({ "peer": peer })).expect("it begins");
        control.notice("the listing is over", |notice| (notice["event"] == "search_done").then_some(()));
    }
    // After its list, the base peer's files are asked for by name as before.
    asker.await_download(asker.begin_download(base.addr, "common.bin"), "done");
    // Searches of others come by, with IDs of both kinds; and the base peer itself searches.
    let requester = Fake::ear();
    for (turn, id) in ["p1-00000000000000a1", "base", "p1-00000000000000a2"].iter().enumerate() {
        let text = format!("6:{id}:whatever {turn}:127.0.0.1:{}:4", requester.addr.port());
        deliver(asker.listen(), text.as_bytes(), Framing::Fin);
        until("it is forwarded to both", LIMIT, || {
            let forwarded = format!("6:{id}:whatever {turn}:127.0.0.1:{}:3", requester.addr.port());
            [&base, &p1].iter().all(|peer| peer.asked(&forwarded) == [forwarded.clone()])
        });
    }
    let text = format!("6:own:ours.bin:127.0.0.1:{}:2", base.addr.port());
    ask(asker.listen(), text.as_bytes(), Framing::Fin);
    until("it is answered", LIMIT, || !base.asked("7:").is_empty());
    assert_eq!(base.asked("7:"), [format!("7:own:127.0.0.1:{}:ours.bin", asker.listen().port())]);
    assert!(base.asked("6:own").is_empty(), "nor does it hear its own search");
    assert_eq!(fetch(asker.listen(), b"ours.bin"), b"ours");
    // A few searches more, now that there is a stream to the other neighbour.
    for turn in 0..4 {
        asker.call("search", json!({ "text": format!("nowhere {turn}"), "ttl": 1 }));
        until("both hear it", LIMIT, || {
            [&base, &p1]
                .iter()
                .all(|peer| peer.asked("6:").iter().any(|text| text.contains(&format!("nowhere {turn}"))))
        });
    }
    assert_bare(&base);
    assert!(!p1.asked("8:").is_empty() && !p1.asked("9:").is_empty(), "while the other heard more");
    assert!(p1.connections().iter().any(|connection| connection.messages().len() > 3), "and streams");
    until("keepalives go out", LIMIT, || bootstrap.fake.heard_beginning("3:").len() >= 2);
    for message in bootstrap.fake.heard() {
        let text = String::from_utf8(message).expect("text");
        // What follows the number is ignored by bootstrap nodes of the base protocol.
        let fields: Vec<_> = text.split(':').collect();
        let [code, number, "p1"] = fields[..] else { panic!("code, number and p1: {text:?}") };
        assert!(["0", "1", "2", "3"].contains(&code) && number.parse::<u32>().is_ok(), "one message: {text:?}");
    }
}

/// What a base peer says about part 2 is only words: attributes and `p1-` IDs show p1, a list with odd names does not.
#[test]
fn a_base_peer_is_not_taken_for_p1_by_its_names() {
    let odd = "size=5 b3=af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262.bin";
    let base = P1Peer::sharing(odd, b"odd", Manners { base: true, hashed: false, ..Manners::default() });
    let (_bootstrap, asker) = start_among(Setup::peer(), &[base.addr]);
    let rows = asker.search_until("size=5", |rows| !rows.is_empty());
    assert!(rows[0]["b3"].is_null() && rows[0]["size"].is_null() && rows[0]["name"] == odd, "{rows:?}");
    asker.await_download(begin_hit(&asker, &rows[0]), "done");
    assert!(asker.peers_that(|row| row["p1"] == true).is_empty());
    asker.call("search", json!({ "text": "one more", "ttl": 1 }));
    until("it hears it", LIMIT, || base.asked("6:").iter().any(|text| text.contains("one more")));
    assert_bare(&base);
}

/// A peer that nobody has heard of may be anything: it is asked what it speaks in a form that any peer takes.
#[test]
fn a_stranger_is_asked_in_the_form_of_a_search_what_it_speaks_before_anything_else() {
    let content = Dice::new().bytes(GROUP + 1);
    let stranger = P1Peer::sharing("file.bin", &content, Manners::default());
    let asker = Setup::peer().start();
    let done = asker.await_download(asker.begin_download(stranger.addr, "file.bin"), "done");
    assert_verified(&done, &content);
    let first = String::from_utf8(stranger.connections()[0].bytes.clone()).expect("text");
    let (id, rest) = first.strip_prefix("6:p1-").and_then(|rest| rest.split_once(':')).expect("a search");
    assert_eq!((id.len(), rest), (16, format!("b3={}:{}:0", "0".repeat(64), asker.listen()).as_str()), "{first}");
    assert!(stranger.connections()[0].ended, "bare, and ended by a half-close: {first:?}");
    assert_eq!((stranger.asked("4:").len(), stranger.asked("9:").len()), (0, 1));
}

/// It takes the message, says nothing, and keeps the connection open.
#[test]
fn a_base_neighbour_that_never_closes_does_not_delay_searches() {
    let mute = Fake::serve(Reading::Once, |mut visit| {
        let _ = visit.stream.set_read_timeout(Some(Duration::from_secs(60)));
        let _ = visit.stream.read_to_end(&mut Vec::new());
        pause(Duration::from_secs(60));
    });
    let ear = Fake::ear();
    let bootstrap = OldBootstrap::listing(&[mute.addr, ear.addr]);
    let peer = Setup::peer().joins(&[bootstrap.addr()]).shares("here.txt", "").start();
    peer.await_neighbour(mute.addr);
    peer.await_neighbour(ear.addr);
    let requester = Fake::ear();
    for turn in 0..5 {
        let search = |ttl| format!("6:q{turn}:here.txt:127.0.0.1:{}:{ttl}", requester.addr.port());
        ask(peer.listen(), search(3).as_bytes(), Framing::Fin);
        until("the other hears it", LIMIT, || ear.heard_beginning(&format!("6:q{turn}:")) == [search(2)]);
        until("it is answered", LIMIT, || requester.heard_beginning(&format!("7:q{turn}:")).len() == 1);
    }
}
