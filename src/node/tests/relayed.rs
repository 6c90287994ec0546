//! Searches of others whose reports are awaited, and further copies of them.

use super::rig::*;
use super::search_end::{among_p1, copies, ms, said, say, say_waits, span_to_end};
use crate::id::{ExchangeId, QueryId};
use crate::node::contract::{Action, Event};
use crate::wire::{Message, SearchDone, SearchReport};
use std::net::SocketAddr;
use std::time::Duration;

/// A copy of a search arrives on a stream.
pub(super) fn copy(rig: &mut Rig, from: SocketAddr, number: u64, ttl: u8) -> ExchangeId {
    copy_of(rig, from, number, ttl, "song")
}

fn copy_of(rig: &mut Rig, from: SocketAddr, number: u64, ttl: u8, text: &str) -> ExchangeId {
    let id = QueryId::p1_ending(number << 4);
    rig.request(SocketAddr::new(from.ip(), 40_000), query(id.as_bytes(), text, peer(200), ttl))
}

#[test]
fn a_node_reports_done_when_its_neighbours_are_and_its_hits_are_sent() {
    let mut rig = among_p1(&[peer(1), peer(2)], &[("song.ogg", 5)]);
    let first = copy(&mut rig, peer(3), 1, 2);
    let mut dials = rig.dials();
    let hits = dials.iter().position(|(_, _, messages)| matches!(messages[0], Message::SearchResponse(_))).unwrap();
    let (hits, ..) = dials.remove(hits);
    dials.iter().for_each(|(exchange, ..)| rig.deliver(*exchange));
    let lower = copy(&mut rig, peer(4), 1, 1);
    assert_eq!(said(&mut rig), [(lower, false)], "a copy that may come from those behind us is done at once");
    let as_high = copy(&mut rig, peer(5), 1, 2);
    let id = QueryId::p1_ending(1 << 4);
    say(&mut rig, peer(1), &id, false);
    say(&mut rig, peer(2), &id, true);
    assert_eq!(said(&mut rig), [], "its hits are on their way");
    rig.deliver(hits);
    assert_eq!(said(&mut rig), [(first, true), (as_high, true)]);
}

#[test]
fn a_copy_with_a_higher_ttl_is_forwarded_to_neighbours_that_lack_it() {
    let mut rig = among_p1(&[peer(1), peer(2), peer(6)], &[]);
    let first = copy(&mut rig, peer(3), 1, 2);
    let (id, ttl, to) = copies(&mut rig);
    assert_eq!((ttl, to.len()), (1, 3));
    for (peer, ttl) in [(peer(1), 4), (peer(2), 3)] {
        let done = SearchDone { id: id.clone(), cut: false, ttl: Some(ttl), reports: true };
        rig.handle(Event::SearchReport { peer, report: SearchReport::Done(done) });
    }
    say_waits(&mut rig, peer(6), &id);
    let wider = copy(&mut rig, peer(4), 1, 4);
    assert_eq!(said(&mut rig), [(first, false)], "the wider one waits in its place");
    assert!(rig.dials().is_empty(), "a still wider one may come");
    let widest = copy(&mut rig, peer(5), 1, 5);
    assert_eq!(said(&mut rig), [(wider, false)]);
    rig.pass(ms(100));
    assert_eq!(copies(&mut rig), (id.clone(), 4, vec![peer(2), peer(6)]), "the first has it already");
    [peer(2), peer(6), peer(6)].into_iter().for_each(|peer| say(&mut rig, peer, &id, false));
    assert_eq!(said(&mut rig), [(widest, false)]);
    let again = copy(&mut rig, peer(3), 1, 2);
    let done = rig.take(|order| match order {
        Action::Report { exchange, report: SearchReport::Done(done) } => Some((*exchange, done.ttl)),
        _ => None,
    });
    assert_eq!(done, [(again, Some(5))]);
}

#[test]
fn one_more_hop_does_not_justify_a_copy_when_some_are_left() {
    let mut rig = among_p1(&[peer(1)], &[]);
    let first = copy(&mut rig, peer(3), 1, 3);
    let (id, ..) = copies(&mut rig);
    say_waits(&mut rig, peer(1), &id);
    let wider = copy(&mut rig, peer(4), 1, 4);
    assert_eq!(said(&mut rig), [(first, false)]);
    rig.pass(ms(200));
    assert!(rig.dials().is_empty());
    let widest = copy(&mut rig, peer(5), 1, 5);
    assert_eq!(said(&mut rig), [(wider, false)]);
    rig.pass(ms(100));
    let (id, ttl, _) = copies(&mut rig);
    assert_eq!(ttl, 4, "two are");
    [0, 1].into_iter().for_each(|_| say(&mut rig, peer(1), &id, false));
    assert_eq!(said(&mut rig), [(widest, false)]);
}

#[test]
fn a_node_stops_waiting_before_those_that_wait_for_it() {
    for ttl in [1, 3, 7] {
        let mut rig = among_p1(&[peer(1)], &[]);
        let first = copy(&mut rig, peer(3), 1, ttl);
        let began = rig.now;
        let (id, ..) = copies(&mut rig);
        say_waits(&mut rig, peer(1), &id);
        let done = loop {
            rig.jump();
            let done = said(&mut rig);
            if !done.is_empty() {
                break done;
            }
        };
        assert_eq!(done, [(first, true)]);
        assert!(rig.now.saturating_since(began) <= ms(200 * (u64::from(ttl) + 1) - 50), "TTL {ttl}");
    }
}

/// The machine of the next neighbour is off: nothing answers the attempt to connect.
#[test]
fn a_forwarded_search_does_not_wait_long_for_unreachable_neighbours() {
    let mut rig = among_p1(&[peer(1)], &[]);
    copy(&mut rig, peer(3), 1, 3);
    let (id, ..) = copies(&mut rig);
    rig.pass(ms(5));
    say(&mut rig, peer(1), &id, false);
    said(&mut rig);
    let waits = copy(&mut rig, peer(3), 2, 3);
    rig.pass(ms(100));
    assert_eq!(said(&mut rig), [(waits, true)]);
}

#[test]
fn a_node_at_the_end_of_the_ttl_sends_no_report_until_a_wider_copy_comes() {
    let mut rig = among_p1(&[peer(1)], &[]);
    let leaf = copy(&mut rig, peer(3), 1, 0);
    assert_eq!(said(&mut rig), []);
    let wider = copy(&mut rig, peer(4), 1, 1);
    assert_eq!(said(&mut rig), [(leaf, false)]);
    let (id, ttl, _) = copies(&mut rig);
    assert_eq!(ttl, 0);
    say(&mut rig, peer(1), &id, false);
    assert_eq!(said(&mut rig), [(wider, false)]);
    copy(&mut rig, peer(3), 2, 0);
    rig.pass(Duration::from_secs(5));
    assert_eq!(said(&mut rig), []);
    let own = copy(&mut rig, peer(200), 3, 0);
    assert_eq!(said(&mut rig), [(own, true)], "a requester is told, since nobody else waits for it");
}

#[test]
fn a_search_that_requests_no_report_gets_none() {
    let mut rig = among_p1(&[peer(1)], &[]);
    rig.request(peer(3), query(b"p1-0000000000000001", "song", peer(200), 3));
    rig.request(peer(3), query(b"p1-0000000000000001", "song", peer(200), 2));
    rig.request(peer(3), query(b"base", "song", peer(200), 3));
    rig.pass(Duration::from_secs(5));
    assert_eq!(said(&mut rig), []);
}

/// A neighbour reports a search that it received with this TTL as done.
fn say_reached(rig: &mut Rig, peer: SocketAddr, id: &QueryId, ttl: u8) {
    let done = SearchDone { id: id.clone(), cut: false, ttl: Some(ttl), reports: true };
    rig.handle(Event::SearchReport { peer, report: SearchReport::Done(done) });
}

/// An attacker who has seen the ID of a ring can send a copy of it, with a higher TTL, to the neighbours of the searcher:
/// they then wait for nobody in its place.
#[test]
fn a_forged_copy_with_a_higher_ttl_does_not_end_a_search() {
    let mut rig = among_p1(&[peer(1), peer(2)], &[]);
    rig.search("song");
    let (id, ttl, _) = copies(&mut rig);
    say_reached(&mut rig, peer(1), &id, ttl);
    say_reached(&mut rig, peer(2), &id, 7);
    rig.pass(ms(50));
    assert_eq!(copies(&mut rig).1, 7, "the next ring goes out");
}

#[test]
fn a_repeated_search_does_not_make_reports_complete() {
    let mut rig = among_p1(&[peer(1)], &[]);
    let liar = copy(&mut rig, peer(9), 1, 3);
    copies(&mut rig);
    for _ in 1..32 {
        rig.handle(Event::Request {
            exchange: liar,
            from: peer(9),
            message: query(QueryId::p1_ending(1 << 4).as_bytes(), "song", peer(200), 3),
        });
    }
    assert_eq!(said(&mut rig), []);
    let honest = copy(&mut rig, peer(3), 1, 3);
    assert_eq!(said(&mut rig), [(honest, true)], "there may be more");
    // With another text, too.
    let other = copy_of(&mut rig, peer(4), 1, 3, "other");
    assert_eq!(said(&mut rig), [(other, true)]);
    assert_eq!(rig.node.counters().limited.searches_ended_early, 2);
}

#[test]
fn the_sender_of_a_refused_search_is_told_that_it_was_cut() {
    let mut rig = among_p1(&[peer(1)], &[]);
    for n in 0..600 {
        let message = query(format!("q{n}").as_bytes(), "song", peer(200), 0);
        rig.request(SocketAddr::new(peer(3).ip(), 40_000), message);
    }
    assert!(rig.node.counters().limited.searches_refused > 0);
    let refused = copy(&mut rig, peer(3), 1, 3);
    assert_eq!(said(&mut rig), [(refused, true)]);
}

/// An attacker knows the ID, and sends earlier another text with a TTL that ends here.
#[test]
fn a_search_is_awaited_by_its_own_ttl_whatever_used_its_id_before() {
    let mut rig = among_p1(&[peer(1)], &[]);
    copy_of(&mut rig, peer(9), 1, 0, "other");
    let honest = copy(&mut rig, peer(3), 1, 3);
    let (id, ttl, _) = copies(&mut rig);
    assert_eq!(ttl, 2);
    say_waits(&mut rig, peer(1), &id);
    rig.pass(ms(390));
    assert_eq!(said(&mut rig), [], "those behind us may take so long");
    say(&mut rig, peer(1), &id, false);
    assert!(said(&mut rig).contains(&(honest, true)));
}

#[test]
fn an_event_at_the_moment_when_a_neighbour_times_out_does_not_complete_the_search() {
    let mut rig = among_p1(&[peer(1), peer(2)], &[]);
    rig.search("song");
    let (id, ..) = copies(&mut rig);
    say(&mut rig, peer(1), &id, false);
    // The loop handles connections first, and then timers.
    rig.now = rig.now + ms(400);
    rig.hit(&id, peer(3), listed("other.ogg", Some(5)));
    rig.pass(ms(200));
    assert_eq!(copies(&mut rig).1, 7, "the second may have more behind it");
}

#[test]
fn a_late_report_restores_the_time_of_a_neighbour_for_that_search_only() {
    let mut rig = among_p1(&[peer(1)], &[]);
    let span = |rig: &mut Rig, late: Option<bool>| {
        rig.search_within("song", Some(1));
        let (id, ..) = copies(rig);
        let span = span_to_end(rig).0;
        match late {
            Some(true) => say(rig, peer(1), &id, false),
            Some(false) => say(rig, peer(1), &QueryId::p1_ending(99 << 4), false),
            None => {}
        }
        span
    };
    let whole = span(&mut rig, Some(false));
    let half = span(&mut rig, Some(true));
    assert!(half < whole, "{half:?} of {whole:?}: what it was never asked does not count");
    assert!(span(&mut rig, None) >= whole, "it was late, and is known to be slower now");
}
