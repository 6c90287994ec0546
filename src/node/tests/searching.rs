//! Our own searches.

use super::membership::peers;
use super::rig::*;
use crate::control::{CallError, ExitCode, HitRow, Notice, RawText, Reply, Request, SearchStarted};
use crate::fault::DialFault;
use crate::id::{ContentHash, ExchangeId, QueryId};
use crate::node::contract::Action;
use crate::wire::{Attributes, Listed, Message, Search};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// Waits for a ring, and takes its dials: the query, and the destinations.
fn ring(rig: &mut Rig) -> (Search, Vec<SocketAddr>) {
    while !rig.orders.iter().any(|order| matches!(order, Action::Dial { .. } | Action::Stream { .. })) {
        rig.jump();
    }
    let dials = rig.dials();
    let mut queries: Vec<Search> = Vec::new();
    for (exchange, _, messages) in &dials {
        let [Message::Search(search)] = &messages[..] else { panic!("{messages:?}") };
        queries.push(search.clone());
        rig.deliver(*exchange);
    }
    queries.dedup();
    assert_eq!(queries.len(), 1, "one ring has one query: {queries:?}");
    (queries.remove(0), dials.into_iter().map(|(_, to, _)| to).collect())
}

/// How a search or listing ended: rows, whether there were more, and what went wrong.
pub(super) fn done(notices: &[Notice]) -> Option<(u64, bool, Option<CallError>)> {
    notices.iter().find_map(|notice| match notice {
        Notice::SearchDone { hits, truncated, error, .. } => Some((*hits, *truncated, error.clone())),
        _ => None,
    })
}

/// Each search that waits for a connection that is not accepted holds a worker.
#[test]
fn at_most_two_of_our_searches_are_being_sent_to_a_claimed_peer() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    for n in 2..=4 {
        rig.request(peer(9), query(format!("q{n}").as_bytes(), "nothing like it", peer(n), 0));
    }
    let mut sent: Vec<(ExchangeId, SocketAddr)> = Vec::new();
    for n in 1..=10 {
        rig.search("song");
        let dials: Vec<_> = rig.dials().into_iter().map(|(exchange, to, _)| (exchange, to)).collect();
        dials.iter().filter(|(_, to)| *to == peer(1)).for_each(|(exchange, _)| rig.deliver(*exchange));
        sent.extend(dials);
        assert_eq!(sent.iter().filter(|(_, to)| *to == peer(1)).count(), n, "whoever answers gets all");
    }
    let under_way: Vec<_> = sent.into_iter().filter(|(_, to)| *to == peer(2)).collect();
    assert_eq!(under_way.len(), 2);
    under_way.iter().for_each(|(exchange, _)| rig.fail(*exchange, DialFault::TimedOut));
    rig.search("song");
    assert!(rig.dials().iter().any(|(_, to, _)| *to == peer(2)), "and it is tried again when that has failed");
}

/// A list may name any address: repeated searches do not make all workers wait for such addresses.
#[test]
fn at_most_eight_of_our_searches_are_being_sent_to_a_peer_not_yet_dialled() {
    let mut rig = Rig::new(config());
    rig.join(vec![peer(1), peer(2)]);
    let mut sent = Vec::new();
    for _ in 0..100 {
        rig.search_within("song", Some(1));
        sent.extend(rig.dials().into_iter().map(|(exchange, to, _)| (exchange, to)));
        rig.pass(Duration::from_millis(20));
    }
    let to = |n: u8| sent.iter().filter(|(_, to)| *to == peer(n)).count();
    assert_eq!((to(1), to(2)), (8, 8));
    // One that answers gets all searches.
    sent.iter().filter(|(_, to)| *to == peer(1)).for_each(|(exchange, _)| rig.deliver(*exchange));
    for _ in 0..20 {
        rig.search_within("song", Some(1));
    }
    assert_eq!(rig.dials().iter().filter(|(_, to, _)| *to == peer(1)).count(), 20);
}

#[test]
fn a_search_that_finds_nothing_nearby_goes_to_all() {
    let mut rig = Rig::among(vec![peer(1), peer(2)], &[]);
    let search = rig.search("song");
    let mut ids = BTreeSet::new();
    for ttl in [1, 7] {
        let (query, to) = ring(&mut rig);
        assert_eq!((query.ttl, query.requester, &*query.text), (ttl, us(), &b"song"[..]));
        assert_eq!(to, [peer(1), peer(2)]);
        assert!(query.id.is_p1());
        ids.insert(query.id);
        let notices = rig.notices();
        assert!(notices.contains(&Notice::Ring { search, ttl, peers: 2 }), "{notices:?}");
    }
    assert_eq!(ids.len(), 2, "each ring has an ID of its own");
    rig.pass(Duration::from_secs(2));
    assert!(rig.dials().is_empty());
    assert_eq!(done(&rig.notices()), Some((0, false, None)));

    // Late hits of every ring are accepted for some minutes.
    let id = ids.pop_first().unwrap();
    rig.hit(&id, peer(3), listed("song.ogg", Some(5)));
    assert!(matches!(&rig.notices()[..], [Notice::Hit { .. }]));
    rig.pass(Duration::from_secs(301));
    rig.hit(&id, peer(4), listed("song.ogg", Some(5)));
    assert_eq!(rig.hits(Some(search))[0].sources, [peer(3)]);
    assert_eq!(rig.node.counters().limited.hits_unasked, 1);
}

#[test]
fn enough_hits_end_a_search_early() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let request = Request::Search { text: RawText::new("a"), max: Some(2), ttl: Some(2) };
    let Ok(Reply::SearchStarted(SearchStarted { search, .. })) = rig.call(request) else { panic!("it begins") };
    let (query, _) = ring(&mut rig);
    for n in 1..=3_u8 {
        rig.hit(&query.id, peer(n), listed(&format!("a{n}"), Some(1)));
    }
    rig.hit(&query.id, peer(9), listed("a1", Some(1)));
    rig.pass(Duration::from_secs(1));
    assert_eq!(done(&rig.notices()), Some((2, true, None)));
    assert!(rig.dials().is_empty());
    let rows = rig.hits(None);
    let expected = |id, n: u8, sources: Vec<_>| HitRow {
        id,
        name: RawText::new(format!("a{n}")),
        names: vec![RawText::new(format!("a{n}"))],
        size: Some(1),
        b3: None,
        sources,
        truncated: true,
        directory: None,
        search: Some(search),
    };
    assert_eq!(rows, [expected(1, 1, vec![peer(1), peer(9)]), expected(2, 2, vec![peer(2)])]);
}

/// A hit for a file of a peer, sent from another address.
fn say_of(rig: &mut Rig, id: &QueryId, from: SocketAddr, responder: SocketAddr, file: Listed) {
    rig.request(from, Message::SearchResponse(crate::wire::SearchResponse { id: id.clone(), responder, file }));
}

#[test]
fn a_network_loses_rows_beyond_a_quarter_to_others_and_does_not_end_the_rings() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let search = rig.search("song");
    let (first, _) = ring(&mut rig);
    for n in 0..160 {
        rig.hit(&first.id, peer(66), listed(&format!("forged {n}"), Some(1)));
    }
    let (second, _) = ring(&mut rig);
    for n in 0..160 {
        let made_up = SocketAddr::from(([10, 9, 9, n], 63_339));
        say_of(
            &mut rig,
            &second.id,
            SocketAddr::new(peer(67).ip(), 50_000),
            made_up,
            listed("forged too", Some(n.into())),
        );
    }
    rig.hit(&second.id, peer(2), listed("song", Some(5)));
    let rows = rig.hits(Some(search));
    let count = |text: &[u8]| rows.iter().filter(|row| row.name.as_bytes().starts_with(text)).count();
    assert_eq!((count(b"forged too"), count(b"forged"), count(b"song")), (74, 149, 1), "two divide what is left");
    while rig.now.saturating_since(crate::time::Instant::from_ms(1_700_000_000_000)) < Duration::from_secs(10) {
        rig.dials();
        rig.pass(Duration::from_secs(1));
    }
    assert_eq!(done(&rig.notices()), Some((150, true, None)), "it says that there was more");
    assert_eq!(rig.node.counters().limited.hits_over_share, 320 + 1 - 150);
}

#[test]
fn a_search_states_how_many_hits_it_accepts_and_shows_that_a_peer_has_more() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.call(Request::Search { text: RawText::new("song"), max: Some(1_000), ttl: Some(1) }).unwrap();
    let (query, _) = ring(&mut rig);
    assert_eq!(query.id.hits_max(), Some(1_000));
    let hit = |rig: &mut Rig, n: u32, more| {
        let attributes = Some(Attributes { size: Some(5), more, ..Attributes::default() });
        rig.hit(&query.id, peer(1), Listed { attributes, ..listed(&format!("song {n}"), None) });
    };
    (0..939).for_each(|n| hit(&mut rig, n, false));
    rig.pass(Duration::from_secs(2));
    assert_eq!(done(&rig.notices()), Some((939, false, None)), "one peer fills the rows that nobody else needs");

    rig.search_within("song", Some(1));
    let (query, _) = ring(&mut rig);
    assert_eq!(query.id.hits_max(), Some(150));
    let attributes = Some(Attributes { size: Some(5), more: true, ..Attributes::default() });
    rig.hit(&query.id, peer(1), Listed { attributes, ..listed("song", None) });
    rig.pass(Duration::from_secs(2));
    assert_eq!(done(&rig.notices()), Some((1, true, None)));
    // As long as its rows are there, even when it accepts no more hits.
    rig.pass(Duration::from_secs(400));
    let Ok(Reply::Hits(page)) = rig.call(Request::Hits { search: None, after: 938 }) else { panic!("the hits") };
    let rows: Vec<_> = page.hits.iter().map(|row| (row.id, row.truncated)).collect();
    assert_eq!((page.truncated, rows), (true, vec![(939, false), (940, true)]), "its rows alone say so");
}

#[test]
fn enough_rows_of_several_networks_end_a_search_early() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.search("song");
    let (query, _) = ring(&mut rig);
    // Of each three rows.
    for n in 0..72_u8 {
        rig.hit(&query.id, peer(2 + n % 24), listed(&format!("song {n}"), Some(1)));
    }
    let (query, _) = ring(&mut rig);
    assert_eq!(query.ttl, 2);
    assert_eq!(done(&rig.notices()), None, "24 networks are not enough");
    rig.hit(&query.id, peer(26), listed("the last song", Some(1)));
    rig.pass(Duration::from_secs(1));
    assert_eq!(done(&rig.notices()), Some((73, false, None)));
}

#[test]
fn colluding_networks_leave_a_row_for_each_other_network() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let search = rig.search("song");
    let (query, _) = ring(&mut rig);
    for (of, n) in (0..20_u8).flat_map(|of| (0..160).map(move |n| (of, n))) {
        rig.hit(&query.id, peer(100 + of), listed(&format!("forged {of} {n}"), Some(1)));
    }
    for n in 0..30_u8 {
        for copy in 0..2 {
            rig.hit(&query.id, peer(2 + n), listed(&format!("song {n} {copy}"), Some(5)));
        }
    }
    let rows = rig.hits(Some(search));
    let count = |text: &[u8]| rows.iter().filter(|row| row.name.as_bytes().starts_with(text)).count();
    assert_eq!((count(b"forged"), count(b"song")), (117, 33));
}

#[test]
fn a_content_is_one_row_under_all_its_names_and_a_hash_learned_later_joins_it() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let search = rig.search("song");
    let (first, _) = ring(&mut rig);
    let hashed = |text: &str, content: u8| {
        let attributes = Some(Attributes { size: Some(5), b3: Some(ContentHash([content; 32])), more: false });
        Listed { attributes, ..listed(text, None) }
    };
    rig.hit(&first.id, peer(1), listed("song.ogg", Some(5)));
    rig.hit(&first.id, peer(2), listed("song.ogg", Some(5)));
    rig.hit(&first.id, peer(3), hashed("old/song.ogg", 7));
    rig.hit(&first.id, peer(4), hashed("old/song.ogg", 8));
    let (second, _) = ring(&mut rig);
    rig.notices();
    // Meanwhile the first peer has hashed its file.
    rig.hit(&second.id, peer(1), hashed("song.ogg", 7));
    let told: Vec<_> = rig.notices();
    let rows = rig.hits(Some(search));
    let summary: Vec<_> =
        rows.iter().map(|row| (row.id, row.b3.is_some(), row.names.len(), &row.sources[..])).collect();
    let expected = [(1, false, 1, &[peer(2)][..]), (2, true, 2, &[peer(3), peer(1)]), (3, true, 1, &[peer(4)])];
    assert_eq!(summary, expected);
    assert_eq!(rows[1].names, [RawText::new("old/song.ogg"), RawText::new("song.ogg")]);
    let notice = |row: &HitRow| Notice::Hit { search, hit: HitRow { search: None, ..row.clone() } };
    assert_eq!(told, [notice(&rows[0]), notice(&rows[1])], "both rows are others now");
    rig.hit(&second.id, peer(1), hashed("song.ogg", 7));
    assert!(rig.notices().is_empty());
}

#[test]
fn the_ttl_of_a_call_is_clamped_and_ends_the_rings() {
    for (asked, rings) in [(0, vec![0]), (1, vec![1]), (3, vec![1, 3]), (255, vec![1, 7])] {
        let mut rig = Rig::among(vec![peer(1)], &[]);
        rig.search_within("a", Some(asked));
        let mut seen = Vec::new();
        while done(&rig.notices()).is_none() {
            seen.extend(rig.dials().iter().map(|(_, _, messages)| match &messages[0] {
                Message::Search(search) => search.ttl,
                other => panic!("{other:?}"),
            }));
            rig.jump();
        }
        assert_eq!(seen, rings);
    }
}

#[test]
fn a_search_without_a_neighbour_first_requests_a_peer_list() {
    let mut rig = Rig::new(config());
    rig.join(Vec::new());
    rig.search("song");
    rig.pass(Duration::from_millis(100));
    rig.answer_peer_list(vec![peer(1)]);
    let (query, to) = ring(&mut rig);
    assert_eq!((query.ttl, to), (1, vec![peer(1)]));
}

#[test]
fn a_search_reports_that_there_are_no_peers_or_none_reachable() {
    let mut rig = Rig::among(Vec::new(), &[]);
    rig.search("a");
    rig.jump();
    let (hits, _, error) = done(&rig.notices()).expect("there is nothing to wait for");
    let error = error.unwrap();
    assert_eq!((hits, error.code), (0, ExitCode::Network as i32));
    assert!(error.message.contains("peers: 0") && error.message.contains("pyratectl bootstrap"), "{error}");

    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.search_within("a", Some(1));
    let (exchange, ..) = rig.dial();
    rig.fail(exchange, DialFault::Unreachable);
    rig.pass(Duration::from_secs(2));
    let error = done(&rig.notices()).unwrap().2.unwrap();
    assert_eq!(error.code, ExitCode::Network as i32);
    assert!(error.message.contains("(peers: 1)"), "{error}");
    // Repeatedly: it counts as dead.
    let mut rig = Rig::new(config());
    rig.join(vec![peer(1)]);
    let error = loop {
        rig.search_within("a", Some(0));
        for (exchange, to, _) in rig.dials() {
            match to == bootstrap() {
                true => rig.succeed(exchange, plain_list(vec![us(), peer(1)])),
                false => rig.fail(exchange, DialFault::Refused),
            }
        }
        rig.pass(Duration::from_secs(31));
        let ended = done(&rig.notices()).unwrap().2.unwrap();
        if ended.message.contains("all 1") {
            break ended;
        }
    };
    assert_eq!(error.code, ExitCode::Network as i32);
}

#[test]
fn texts_that_fit_no_message_are_refused() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    for bad in [String::new(), "a\nb".into(), "\u{7f}".into(), "x".repeat(4_000)] {
        let request = Request::Search { text: RawText::new(bad), max: None, ttl: None };
        assert_eq!(rig.call(request).unwrap_err().code, ExitCode::Usage as i32);
    }
    rig.search("12:30");
    assert_eq!(&*ring(&mut rig).0.text, b"12:30");
}

#[test]
fn unsolicited_hits_and_hits_without_a_usable_peer_are_dropped() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let search = rig.search("a");
    let (query, _) = ring(&mut rig);
    rig.hit(&QueryId::p1(1), peer(5), listed("a", None));
    for odd in ["127.0.0.1:5000", "0.0.0.0:5000", "224.1.1.1:5000", "10.0.0.2:63339"] {
        let message = Message::SearchResponse(crate::wire::SearchResponse {
            id: query.id.clone(),
            responder: addr(odd),
            file: listed("a", None),
        });
        rig.request(addr("10.0.1.5:40000"), message);
    }
    assert_eq!(rig.hits(Some(search)), []);
    assert_eq!(
        peers(&mut rig).iter().map(|row| row.addr).collect::<Vec<_>>(),
        [peer(1)],
        "no sender is taken for a peer"
    );
    let counters = rig.node.counters();
    assert_eq!((counters.limited.hits_unasked, counters.refused), (1, 4));
    let closed = rig.take(|order| matches!(order, Action::Close { .. }).then_some(()));
    assert_eq!(closed.len(), 5, "each message is answered by a close");
}

#[test]
fn a_hit_shows_that_its_sender_speaks_p1_only_from_its_own_address() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.search("a");
    let (query, _) = ring(&mut rig);
    rig.hit(&query.id, peer(1), listed("a", Some(1)));
    let message = Message::SearchResponse(crate::wire::SearchResponse {
        id: query.id.clone(),
        responder: peer(2),
        file: listed("a", Some(1)),
    });
    rig.request(SocketAddr::new(peer(3).ip(), 40_000), message);
    let Ok(Reply::Peers(rows)) = rig.call(Request::Peers) else { panic!("peers") };
    let p1: Vec<_> = rows.iter().map(|row| (row.addr, row.p1)).collect();
    assert_eq!(p1, [(peer(1), Some(true)), (peer(2), None)]);
}

#[test]
fn old_searches_are_dropped_for_new_ones() {
    let mut rig = Rig::among(Vec::new(), &[]);
    for _ in 0..300 {
        rig.search("a");
        rig.jump();
    }
    let mut rig = Rig::among(vec![peer(1)], &[]);
    for _ in 0..256 {
        rig.search("a");
    }
    let request = Request::Search { text: RawText::new("a"), max: None, ttl: None };
    assert_eq!(rig.call(request).unwrap_err().code, ExitCode::Other as i32, "none is over yet");
}
