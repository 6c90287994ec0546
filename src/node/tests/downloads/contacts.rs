//! What a source speaks is asked before it is asked for a file, in a form that base programs survive.

use super::*;
use crate::control::SourceState;
use crate::fault::{OtherProgram, RefusalReason};
use crate::wire::Search;

/// A download of a file of peer 1, of which nothing is known, in an open part file.
fn of_unknown_peer() -> Rig {
    let mut rig = Rig::among(Vec::new(), &[]);
    rig.resets_first_contacts = false;
    download(&mut rig, vec![file(peer(1), "dir/a.txt")]);
    open(&mut rig);
    rig
}

/// The searches that ask a peer what it speaks.
fn contacts(rig: &mut Rig) -> Vec<(ExchangeId, SocketAddr, Search)> {
    let asks = |(exchange, to, messages): (ExchangeId, SocketAddr, Vec<Message>)| match &messages[..] {
        [Message::Search(search)] if search.ttl == 0 => Some((exchange, to, search.clone())),
        _ => None,
    };
    rig.dials().into_iter().filter_map(asks).collect()
}

/// The one search that asks a peer what it speaks.
fn contact(rig: &mut Rig) -> (ExchangeId, Search) {
    let [(exchange, to, search)] = &contacts(rig)[..] else { panic!("one search") };
    assert_eq!((*to, search.requester), (peer(1), us()));
    assert!(search.id.is_p1());
    (*exchange, search.clone())
}

/// Peer 1 answers a query from its own address, without a file.
fn find_nothing(rig: &mut Rig, id: &QueryId) {
    let message = Message::NothingFound { id: id.clone(), responder: peer(1) };
    rig.request(SocketAddr::new(peer(1).ip(), 50_000), message);
}

#[test]
fn a_hit_shows_p1_and_the_download_is_verified() {
    let mut rig = of_unknown_peer();
    let (exchange, search) = contact(&mut rig);
    assert_eq!(&*search.text, b"dir/a.txt");
    assert!(fetches(&mut rig).is_empty() && metadata(&mut rig).is_empty(), "nothing is asked for before the answer");
    rig.deliver(exchange);
    rig.hit(&search.id, peer(1), of_content("dir/a.txt", 3 * MIB, B3));
    assert_eq!(metadata(&mut rig)[0].1, peer(1));
    assert!(fetches(&mut rig).is_empty());
}

#[test]
fn an_answer_without_a_file_shows_p1_and_the_reason_ends_the_download() {
    let mut rig = of_unknown_peer();
    let (exchange, search) = contact(&mut rig);
    rig.deliver(exchange);
    find_nothing(&mut rig, &search.id);
    let asked = metadata(&mut rig);
    rig.fail(asked[0].0, DialFault::Declined(RefusalReason::NoSuchFile));
    let failed = row(&mut rig, 1);
    assert_eq!(failed.state, DownloadState::Failed);
    assert_eq!(failed.error.unwrap().message, "no such file at 10.0.1.1:63339");
}

#[test]
fn an_answer_from_elsewhere_or_to_no_query_of_ours_shows_nothing() {
    let mut rig = of_unknown_peer();
    let (exchange, search) = contact(&mut rig);
    rig.deliver(exchange);
    find_nothing(&mut rig, &QueryId::p1(5));
    let message = Message::NothingFound { id: search.id, responder: peer(1) };
    rig.request(addr("10.0.9.9:50000"), message);
    assert!(metadata(&mut rig).is_empty());
}

#[test]
fn a_plain_hit_shows_a_base_peer_and_it_is_asked_for_the_file_at_once() {
    let mut rig = of_unknown_peer();
    let (exchange, search) = contact(&mut rig);
    rig.deliver(exchange);
    rig.hit(&search.id, peer(1), listed("dir/a.txt", None));
    assert!(fetch(&mut rig).may_call_back);
}

#[test]
fn a_silent_peer_is_asked_for_the_file_after_a_moment_and_not_asked_again_for_the_next() {
    let mut rig = of_unknown_peer();
    let (exchange, _) = contact(&mut rig);
    rig.deliver(exchange);
    rig.pass(Duration::from_millis(1_900));
    assert!(fetches(&mut rig).is_empty());
    assert_eq!(state(&mut rig, 1), DownloadState::Active);
    rig.pass(Duration::from_millis(200));
    assert!(fetch(&mut rig).may_call_back);

    download(&mut rig, vec![file(peer(1), "b.txt")]);
    open(&mut rig);
    assert!(contacts(&mut rig).is_empty());
    assert!(fetch(&mut rig).may_call_back);

    // Another program may be there by then.
    rig.pass(Duration::from_secs(10 * 60));
    rig.orders.clear();
    download(&mut rig, vec![file(peer(1), "c.txt")]);
    open(&mut rig);
    assert_eq!(&*contact(&mut rig).1.text, b"c.txt");
}

#[test]
fn two_downloads_wait_for_one_answer() {
    let mut rig = of_unknown_peer();
    download(&mut rig, vec![file(peer(1), "b.txt")]);
    open(&mut rig);
    let (exchange, search) = contact(&mut rig);
    rig.deliver(exchange);
    find_nothing(&mut rig, &search.id);
    assert_eq!(metadata(&mut rig).len(), 2);
}

#[test]
fn a_peer_out_of_reach_is_not_asked_for_the_file_and_is_asked_anew_later() {
    let mut rig = of_unknown_peer();
    let (exchange, _) = contact(&mut rig);
    rig.fail(exchange, DialFault::Refused);
    assert!(fetches(&mut rig).is_empty());
    let waits = row(&mut rig, 1);
    assert_eq!(waits.state, DownloadState::Retrying);
    assert!(waits.error.unwrap().message.contains("10.0.1.1:63339: connection refused"));
    rig.pass(Duration::from_secs(61));
    open(&mut rig);
    contact(&mut rig);
}

#[test]
fn a_server_of_another_kind_is_no_source() {
    let mut rig = of_unknown_peer();
    let (exchange, _) = contact(&mut rig);
    rig.fail(exchange, DialFault::NotAPeer(OtherProgram::Ssh));
    wait_for_the_search(&mut rig);
    let failed = row(&mut rig, 1);
    assert_eq!((failed.state, failed.shares[0].state), (DownloadState::Failed, SourceState::Refused));
    assert!(failed.error.unwrap().message.contains("an SSH server"));
}

/// A base program may have the address of a `p1` node by now. It is asked for nothing of part 2 any more, unless it answers
/// as a `p1` node does.
#[test]
fn a_refusal_of_code_9_without_a_reason_takes_p1_back() {
    for answers in [false, true] {
        let mut rig = with_content(3 * MIB, 1);
        rig.resets_first_contacts = false;
        download(&mut rig, hits("1"));
        open(&mut rig);
        let asked = metadata(&mut rig);
        rig.fail(asked[0].0, DialFault::Reset);
        let (exchange, search) = contact(&mut rig);
        rig.deliver(exchange);
        if answers {
            rig.hit(&search.id, peer(1), of_content("dir/a.txt", 3 * MIB, B3));
        } else {
            rig.pass(Duration::from_secs(2));
        }
        assert_eq!(fetch(&mut rig).may_call_back, !answers);
    }
}

#[test]
fn a_range_refused_without_a_reason_twice_takes_p1_back() {
    let mut rig = begun(3 * MIB, 1);
    rig.resets_first_contacts = false;
    let ranges = fetch(&mut rig);
    rig.fail(ranges.exchange, DialFault::Reset);
    let asked_why = inquiry(&mut rig);
    rig.fail(asked_why, DialFault::Reset);
    rig.orders.clear();
    rig.pass(Duration::from_secs(61));
    open(&mut rig);
    contact(&mut rig);
    assert!(fetches(&mut rig).is_empty() && metadata(&mut rig).is_empty());
}
