//! The end of a search: which neighbours are awaited, how long, and the influence of others on it.

use super::relayed::copy;
use super::rig::*;
use crate::control::{ExitCode, Notice};
use crate::fault::DialFault;
use crate::id::{ContentHash, ExchangeId, QueryId};
use crate::node::contract::{Action, Event};
use crate::node::speech::Evidence;
use crate::wire::{Attributes, Listed, Message, SearchDone, SearchReport};
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

/// Takes the copies ordered, and delivers them: the query, its TTL, and the destinations.
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
    let done = SearchDone { id: id.clone(), cut, ttl: None, reports: true };
    rig.handle(Event::SearchReport { peer, report: SearchReport::Done(done) });
}

/// A neighbour reports that it waits for others.
pub(super) fn say_waits(rig: &mut Rig, peer: SocketAddr, id: &QueryId) {
    rig.handle(Event::SearchReport { peer, report: SearchReport::Waits(id.clone()) });
}

/// The peers that got a report that their search is done.
pub(super) fn said(rig: &mut Rig) -> Vec<(ExchangeId, bool)> {
    rig.take(|order| match order {
        Action::Report { exchange, report: SearchReport::Done(done) } => Some((*exchange, done.cut)),
        _ => None,
    })
}

/// The time from now until the search is over, and its error.
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
fn a_report_counts_for_its_sender_only() {
    let mut rig = among_p1(&[peer(1), peer(2)], &[]);
    rig.search("song");
    let (id, ..) = copies(&mut rig);
    for liar in [peer(1), peer(1), peer(9)] {
        say(&mut rig, liar, &id, false);
    }
    say(&mut rig, peer(2), &QueryId::p1_ending(99), false);
    say_waits(&mut rig, peer(2), &id);
    rig.pass(ms(350));
    assert!(!rig.notices().iter().any(|notice| matches!(notice, Notice::SearchDone { .. })), "the second is awaited");
    assert!(rig.dials().is_empty());
    say(&mut rig, peer(2), &id, false);
    assert!(span_to_end(&mut rig).0 <= ms(200));
}

/// Searches beside a neighbour that is done at once, and one that waits for others, if `waits`, and is never done: how long it takes.
fn span_beside_silent(rig: &mut Rig, waits: bool) -> Duration {
    rig.search_within("song", Some(1));
    let (id, ..) = copies(rig);
    say(rig, peer(1), &id, false);
    if waits {
        say_waits(rig, peer(2), &id);
    }
    span_to_end(rig).0
}

#[test]
fn a_neighbour_that_never_reports_done_delays_searches_less_and_less() {
    for (waits, first) in [(false, ms(313)), (true, ms(500))] {
        let mut rig = among_p1(&[peer(1), peer(2)], &[]);
        let spans: Vec<_> = (0..5).map(|_| span_beside_silent(&mut rig, waits)).collect();
        assert_eq!(spans[0], first, "and a little for hits: {waits}");
        assert!(spans.is_sorted_by(|one, next| one >= next) && spans[4] <= ms(100), "{spans:?}");
        // Its time is restored when it is done.
        rig.search_within("song", Some(1));
        let (id, ..) = copies(&mut rig);
        say(&mut rig, peer(1), &id, false);
        say(&mut rig, peer(2), &id, false);
        assert_eq!(span_to_end(&mut rig).0, ms(50));
        assert!(span_beside_silent(&mut rig, true) >= ms(400));
    }
}

/// Sends the one neighbour a search, which takes so long to reach it; the ID.
fn reach(rig: &mut Rig, took: Duration) -> QueryId {
    rig.search_within("song", Some(1));
    let (exchange, _, message) = rig.dial();
    let Message::Search(search) = message else { panic!("{message:?}") };
    rig.pass(took);
    rig.deliver(exchange);
    search.id
}

/// How long a neighbour that says nothing is awaited since the search has reached it, which took so long: the search ends after
/// that and a quarter of both.
fn given_up_after(rig: &mut Rig, took: Duration) -> Duration {
    let span = span_to_end(rig).0;
    // Deadlines are rounded up to milliseconds.
    let expected = |wait: u64| ms(wait) + ((ms(wait) + took) / 4).clamp(ms(50), ms(200));
    let fits = |wait: &u64| (expected(*wait)..expected(*wait) + ms(1)).contains(&span);
    ms((1..2_000).find(fits).expect("a span with its grace"))
}

#[test]
fn a_distant_or_busy_neighbour_has_time_for_its_first_report() {
    // Until its first report, the time of the delivery counts.
    for (took, wait) in [(ms(0), ms(250)), (ms(40), ms(370)), (ms(300), ms(400))] {
        let mut rig = among_p1(&[peer(1)], &[]);
        reach(&mut rig, took);
        assert_eq!(given_up_after(&mut rig, took), wait, "{took:?}");
    }
    for (word, wait) in [(ms(5), ms(100)), (ms(60), ms(240))] {
        let mut rig = among_p1(&[peer(1)], &[]);
        let id = reach(&mut rig, ms(0));
        rig.pass(word);
        say(&mut rig, peer(1), &id, false);
        span_to_end(&mut rig);
        reach(&mut rig, ms(0));
        assert_eq!(given_up_after(&mut rig, ms(0)), wait, "{word:?}");
    }
    // Its first report counts, not its last.
    let mut rig = among_p1(&[peer(1)], &[]);
    let id = reach(&mut rig, ms(0));
    rig.pass(ms(5));
    say_waits(&mut rig, peer(1), &id);
    rig.pass(ms(90));
    say(&mut rig, peer(1), &id, false);
    span_to_end(&mut rig);
    reach(&mut rig, ms(0));
    assert_eq!(given_up_after(&mut rig, ms(0)), ms(100));
}

/// Its machine is off: nothing comes back, and connecting fails after seconds.
#[test]
fn a_neighbour_that_cannot_be_reached_is_not_waited_for_longer() {
    let mut rig = among_p1(&[peer(1), peer(2)], &[]);
    for n in 0..2 {
        rig.search_within("song", Some(1));
        let (id, ..) = copies(&mut rig);
        rig.pass(ms(5));
        [peer(1), peer(2)].into_iter().for_each(|peer| say(&mut rig, peer, &id, false));
        assert_eq!(span_to_end(&mut rig).0, ms(50), "{n}");
    }
    rig.search("song");
    let began = rig.now;
    for ring in [1, 7] {
        for (exchange, to, messages) in rig.dials() {
            let [Message::Search(search)] = &messages[..] else { panic!("{messages:?}") };
            assert_eq!(search.ttl, ring);
            if to == peer(1) {
                rig.deliver(exchange);
                say(&mut rig, to, &search.id, true);
            }
        }
        rig.pass(ms(100));
    }
    span_to_end(&mut rig);
    assert_eq!(rig.now.saturating_since(began), ms(250));
}

#[test]
fn a_neighbour_of_an_earlier_version_has_as_much_time_as_one_that_waits() {
    let mut rig = among_p1(&[peer(1)], &[]);
    let id = reach(&mut rig, ms(0));
    let done = SearchDone { id, cut: false, ttl: None, reports: false };
    rig.handle(Event::SearchReport { peer: peer(1), report: SearchReport::Done(done) });
    span_to_end(&mut rig);
    reach(&mut rig, ms(0));
    assert_eq!(given_up_after(&mut rig, ms(0)), ms(400));
}

#[test]
fn a_late_report_in_one_ring_gives_the_neighbour_time_in_the_next() {
    let mut rig = among_p1(&[peer(1)], &[]);
    let id = reach(&mut rig, ms(0));
    rig.pass(ms(5));
    say(&mut rig, peer(1), &id, false);
    span_to_end(&mut rig);
    rig.search("song");
    let (first, ..) = copies(&mut rig);
    rig.pass(ms(101));
    let (second, ..) = copies(&mut rig);
    rig.pass(ms(80));
    say_waits(&mut rig, peer(1), &first);
    rig.pass(ms(80));
    let is_over = rig.notices().iter().any(|notice| matches!(notice, Notice::SearchDone { .. }));
    assert!(!is_over, "its word of the first ring came after 180 ms: it has time for that of the second");
    say(&mut rig, peer(1), &second, false);
    assert_eq!(span_to_end(&mut rig).1, None);
}

#[test]
fn a_neighbour_that_is_late_with_many_searches_is_remembered_as_late() {
    let mut rig = among_p1(&[peer(1)], &[]);
    let mut asked = Vec::new();
    for n in 0..60 {
        copy(&mut rig, peer(3), n, 3);
        let dials = rig.dials();
        dials.iter().for_each(|(exchange, ..)| rig.deliver(*exchange));
        asked.push(QueryId::p1_ending(n << 4));
        // Its reports come 300 ms after the searches, which come every 50 ms.
        rig.pass(ms(50));
        if let Some(late) = asked.len().checked_sub(6) {
            say(&mut rig, peer(1), &asked[late], false);
        }
    }
    let done = said(&mut rig);
    assert!(done.iter().rev().take(20).all(|(_, cut)| !cut), "the last ones have waited for it: {done:?}");
}

#[test]
fn waiting_peers_are_told_once_that_a_search_continues() {
    let mut rig = among_p1(&[peer(1)], &[]);
    let waits = |rig: &mut Rig| {
        rig.take(|order| match order {
            Action::Report { exchange, report: SearchReport::Waits(_) } => Some(*exchange),
            _ => None,
        })
    };
    let quick = copy(&mut rig, peer(3), 1, 3);
    let (id, ..) = copies(&mut rig);
    rig.pass(ms(19));
    say(&mut rig, peer(1), &id, false);
    rig.pass(ms(100));
    assert_eq!((waits(&mut rig), said(&mut rig)), (vec![], vec![(quick, false)]), "it is done before");

    let first = copy(&mut rig, peer(3), 2, 3);
    let (id, ..) = copies(&mut rig);
    say_waits(&mut rig, peer(1), &id);
    let second = copy(&mut rig, peer(4), 2, 3);
    rig.pass(ms(20));
    assert_eq!(waits(&mut rig), [first, second]);
    let late = copy(&mut rig, peer(5), 2, 3);
    rig.pass(ms(20));
    assert_eq!(waits(&mut rig), [late], "the others know");
    let wider = copy(&mut rig, peer(6), 2, 4);
    rig.pass(ms(20));
    assert_eq!((waits(&mut rig), said(&mut rig).len()), (vec![wider], 3));
    // Where the TTL ends nothing is reported, nor for a search that requests no report.
    copy(&mut rig, peer(3), 3, 0);
    rig.request(peer(3), query(b"p1-0000000000000001", "song", peer(200), 3));
    rig.pass(ms(50));
    assert_eq!(waits(&mut rig), []);
}

#[test]
fn a_neighbour_that_is_unreachable_or_disconnects_is_not_waited_for() {
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
fn a_search_without_any_report_says_that_nobody_has_answered() {
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
fn several_sources_of_the_requested_content_end_a_search() {
    let of = |text: &str| Listed {
        attributes: Some(Attributes { size: Some(5), b3: Some(ContentHash([7; 32])), more: false }),
        ..listed(text, None)
    };
    let by_hash = format!("b3={}", ContentHash([7; 32]));
    for (text, name) in [("song.ogg", "music/song.ogg"), (&by_hash, "other.ogg")] {
        let mut rig = among_p1(&[peer(1), peer(90)], &[]);
        rig.search(text);
        let (id, ..) = copies(&mut rig);
        say(&mut rig, peer(90), &id, true);
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
