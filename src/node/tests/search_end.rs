//! The end of a search: who is waited for, how long, and what of it others can bring about.

use super::relayed::copy;
use super::rig::*;
use crate::control::{ExitCode, Notice};
use crate::fault::DialFault;
use crate::id::{ContentHash, ExchangeId, QueryId};
use crate::node::contract::{Action, Event};
use crate::node::speech::Evidence;
use crate::wire::{Attributes, Listed, Message, SearchDone};
use std::net::SocketAddr;
use std::time::Duration;

pub(super) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A node that has these neighbours, all of which speak `p1`.
pub(super) fn among_p1(peers: &[SocketAddr], files: &[(&str, u64)]) -> Rig {
    let mut rig = Rig::among(peers.to_vec(), files);
    peers.iter().for_each(|peer| rig.note_evidence(*peer, Evidence::Attributes));
    rig
}

/// Takes the copies that were ordered, and lets them be taken: the query, its TTL, and whom it went to.
pub(super) fn copies(rig: &mut Rig) -> (QueryId, u8, Vec<SocketAddr>) {
    let dials = rig.dials();
    let mut to = Vec::new();
    let mut query = None;
    for (exchange, peer, messages) in dials {
        let [Message::Search(search)] = &messages[..] else { panic!("{messages:?}") };
        query = Some((search.id.clone(), search.ttl));
        to.push(peer);
        rig.deliver(exchange);
    }
    let (id, ttl) = query.expect("a search goes out");
    (id, ttl, to)
}

pub(super) fn say(rig: &mut Rig, peer: SocketAddr, id: &QueryId, cut: bool) {
    rig.handle(Event::SearchDone { peer, done: SearchDone { id: id.clone(), cut, ttl: None } });
}

/// What was said on the streams of others.
pub(super) fn said(rig: &mut Rig) -> Vec<(ExchangeId, bool)> {
    rig.take(|order| match order {
        Action::SayDone { exchange, done } => Some((*exchange, done.cut)),
        _ => None,
    })
}

/// How long it takes from now until the search is over, and its error.
pub(super) fn span_to_end(rig: &mut Rig) -> (Duration, Option<i32>) {
    let began = rig.now;
    loop {
        let done = rig.notices().into_iter().find_map(|notice| match notice {
            Notice::SearchDone { error, .. } => Some(error.map(|error| error.code)),
            _ => None,
        });
        if let Some(error) = done {
            return (rig.now.saturating_since(began), error);
        }
        rig.jump();
    }
}

#[test]
fn a_search_is_over_when_all_neighbours_are_done() {
    for is_found in [false, true] {
        let mut rig = among_p1(&[peer(1), peer(2)], &[]);
        rig.search("song");
        let (id, ttl, to) = copies(&mut rig);
        assert_eq!((ttl, to), (1, vec![peer(1), peer(2)]));
        say(&mut rig, peer(1), &id, false);
        if is_found {
            rig.hit(&id, peer(2), listed("song.ogg", Some(5)));
            assert!(
                matches!(&rig.notices()[..], [Notice::Ring { .. }, Notice::Hit { .. }]),
                "hits are shown as they come"
            );
        }
        say(&mut rig, peer(2), &id, false);
        assert_eq!(span_to_end(&mut rig), (ms(50), None));
        assert!(rig.dials().is_empty(), "all were reached: no further ring");
    }
}

#[test]
fn a_search_that_was_cut_goes_on_at_once() {
    let mut rig = among_p1(&[peer(1), peer(2)], &[]);
    rig.search("song");
    let (id, ..) = copies(&mut rig);
    say(&mut rig, peer(1), &id, false);
    say(&mut rig, peer(2), &id, true);
    rig.pass(ms(50));
    let (second, ttl, _) = copies(&mut rig);
    assert_eq!(ttl, 7);
    say(&mut rig, peer(1), &second, true);
    say(&mut rig, peer(2), &second, true);
    assert_eq!(span_to_end(&mut rig).0, ms(50), "the last ring ends the search");
}

#[test]
fn whoever_says_that_it_is_done_says_so_for_itself_alone() {
    let mut rig = among_p1(&[peer(1), peer(2)], &[]);
    rig.search("song");
    let (id, ..) = copies(&mut rig);
    for liar in [peer(1), peer(1), peer(9)] {
        say(&mut rig, liar, &id, false);
    }
    say(&mut rig, peer(2), &QueryId::p1_ending(99), false);
    rig.pass(ms(350));
    assert!(!rig.notices().iter().any(|notice| matches!(notice, Notice::SearchDone { .. })), "the second is awaited");
    assert!(rig.dials().is_empty());
    say(&mut rig, peer(2), &id, false);
    assert!(span_to_end(&mut rig).0 <= ms(200));
}

#[test]
fn a_neighbour_that_never_says_so_holds_a_search_for_less_and_less_time() {
    let mut rig = among_p1(&[peer(1), peer(2)], &[]);
    let mut spans = Vec::new();
    for _ in 0..5 {
        rig.search_within("song", Some(1));
        let (id, ..) = copies(&mut rig);
        say(&mut rig, peer(1), &id, false);
        spans.push(span_to_end(&mut rig).0);
    }
    assert_eq!(spans[0], ms(500), "400 ms, and a little for hits");
    assert!(spans.is_sorted_by(|one, next| one >= next) && spans[4] <= ms(100), "{spans:?}");
    // And it has its time again when it says so.
    rig.search_within("song", Some(1));
    let (id, ..) = copies(&mut rig);
    say(&mut rig, peer(1), &id, false);
    say(&mut rig, peer(2), &id, false);
    rig.search_within("song", Some(1));
    let (id, ..) = copies(&mut rig);
    say(&mut rig, peer(1), &id, false);
    assert_eq!(span_to_end(&mut rig).0, ms(50));
    assert!(span_to_end(&mut rig).0 >= ms(350));
}

#[test]
fn a_neighbour_that_is_not_there_or_hangs_up_is_not_waited_for() {
    let mut rig = among_p1(&[peer(1), peer(2), peer(3)], &[]);
    rig.search("song");
    let dials = rig.dials();
    let Message::Search(search) = &dials[0].2[0] else { panic!("{dials:?}") };
    rig.deliver(dials[0].0);
    rig.fail(dials[1].0, DialFault::Refused);
    rig.deliver(dials[2].0);
    say(&mut rig, peer(1), &search.id, false);
    rig.handle(Event::StreamEnded { peer: peer(3) });
    rig.pass(ms(50));
    assert_eq!(copies(&mut rig).1, 7, "what the one that hung up has reached is unknown");
}

#[test]
fn a_base_peer_is_waited_for_as_long_as_it_took_before() {
    for (took, span) in [(ms(5), ms(105)), (ms(60), ms(240))] {
        let mut rig = Rig::among(vec![peer(1)], &[]);
        rig.search_within("song", Some(1));
        let (exchange, ..) = rig.dial();
        rig.pass(took);
        rig.deliver(exchange);
        let grace = ms(50).max(span / 4);
        assert_eq!(span_to_end(&mut rig).0 + took, span + grace);
    }
}

#[test]
fn a_network_that_opens_many_searches_leaves_room_for_others() {
    let mut rig = among_p1(&[peer(1)], &[]);
    for n in 0..200 {
        copy(&mut rig, peer(3), n, 3);
        rig.dials().into_iter().for_each(|(exchange, ..)| rig.deliver(exchange));
    }
    assert_eq!(rig.node.counters().limited.searches_ended_early, 200 - 128);
    let early = said(&mut rig);
    assert!(early.len() == 200 - 128 && early.iter().all(|(_, cut)| *cut));
    let other = copy(&mut rig, peer(4), 1_000, 3);
    assert_eq!(said(&mut rig), [], "it waits as it should");
    let (id, ..) = copies(&mut rig);
    say(&mut rig, peer(1), &id, false);
    assert_eq!(said(&mut rig), [(other, false)]);
}

#[test]
fn finished_searches_leave_no_timer() {
    let mut rig = among_p1(&[peer(1)], &[]);
    rig.pass(Duration::from_secs(1));
    let before = rig.node.cx.wheel.len();
    for _ in 0..600 {
        rig.search("song");
        let (id, ..) = copies(&mut rig);
        say(&mut rig, peer(1), &id, false);
        rig.pass(ms(100));
    }
    assert!(rig.node.cx.wheel.len() <= before + 1, "one for all that are remembered: {}", rig.node.cx.wheel.len());
    rig.pass(Duration::from_secs(361));
    assert!(rig.node.cx.wheel.len() <= before, "{} timers, {before} before", rig.node.cx.wheel.len());
}

#[test]
fn where_nobody_says_that_it_is_done_a_search_says_that_nobody_has_answered() {
    for answers in [false, true] {
        let mut rig = among_p1(&[peer(1), peer(2)], &[]);
        rig.search_within("song", Some(1));
        let (id, ..) = copies(&mut rig);
        if answers {
            say(&mut rig, peer(2), &id, false);
        }
        let error = span_to_end(&mut rig).1;
        assert_eq!(error, (!answers).then_some(ExitCode::Network as i32));
    }
}

#[test]
fn without_neighbours_no_ring_is_sent() {
    let mut rig = Rig::among(Vec::new(), &[]);
    rig.search("song");
    let (span, error) = span_to_end(&mut rig);
    assert_eq!((span, error), (Duration::ZERO, Some(ExitCode::Network as i32)));
    rig.search("song");
    rig.pass(Duration::from_secs(1));
    assert!(!rig.notices().iter().any(|notice| matches!(notice, Notice::Ring { .. })));
}

#[test]
fn several_who_have_the_very_file_end_a_search() {
    let of = |text: &str| Listed {
        attributes: Some(Attributes { size: Some(5), b3: Some(ContentHash([7; 32])), more: false }),
        ..listed(text, None)
    };
    let by_hash = format!("b3={}", ContentHash([7; 32]));
    for (text, name) in [("song.ogg", "music/song.ogg"), (&by_hash, "other.ogg")] {
        let mut rig = among_p1(&[peer(1)], &[]);
        rig.search(text);
        let (id, ..) = copies(&mut rig);
        for n in 1..25 {
            rig.hit(&id, peer(n), of(name));
            rig.hit(&id, peer(n), of("again.ogg"));
        }
        assert!(!rig.notices().iter().any(|notice| matches!(notice, Notice::SearchDone { .. })), "24 are not enough");
        rig.hit(&id, peer(25), of(name));
        rig.hit(&id, peer(26), of(name));
        assert_eq!(span_to_end(&mut rig).0, ms(50), "those that answer as well are shown");
        assert!(rig.dials().is_empty());
    }
    let mut rig = among_p1(&[peer(1)], &[]);
    rig.search("song");
    let (id, ..) = copies(&mut rig);
    (1..30).for_each(|n| rig.hit(&id, peer(n), of("song.ogg")));
    assert!(!rig.notices().iter().any(|notice| matches!(notice, Notice::SearchDone { .. })), "that is not its name");
}
