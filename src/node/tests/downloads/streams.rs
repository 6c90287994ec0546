//! Downloads of files whose content is unknown, or that only old peers have: one stream after the other.

use super::*;
use crate::control::{ExitCode, Notice, SourceState};

#[test]
fn a_hit_becomes_a_file() {
    let mut rig = with_relayed_hit(Some(3_000), 2);
    let reply = download(&mut rig, hits("1"));
    assert_eq!(reply.downloads[0].state, DownloadState::Active);
    assert_eq!(reply.downloads[0].sources, [peer(1), peer(2)]);
    let expected = Target::Suggested { directory: "/downloads".into(), name: name("a.txt") };
    let parts = opened(&mut rig);
    assert_eq!(parts, [(TransferId(1), expected)]);
    rig.handle(Event::PartOpened { download: TransferId(1), outcome: ready("/downloads/a.txt") });
    let fetch = fetch(&mut rig);
    assert_eq!((fetch.to, fetch.may_call_back), (peer(1), true));
    rig.orders.clear();
    for tenth in 1..=10 {
        rig.pass(Duration::from_millis(100));
        rig.handle(Event::FetchProgress { exchange: fetch.exchange, bytes: tenth * 300 });
    }
    let mut told = rig.notices();
    // The search is over meanwhile.
    told.retain(|notice| matches!(notice, Notice::Download { .. }));
    assert_eq!(told.len(), 2, "progress is told twice a second: {told:?}");
    assert_eq!(row(&mut rig, 1).rate, Some(3_000));
    send(&mut rig, &fetch, 3_000);
    assert_eq!(state(&mut rig, 1), DownloadState::Verifying);
    check(&mut rig, 3_000);
    commit(&mut rig, "/downloads/a (1).txt");
    let row = row(&mut rig, 1);
    assert_eq!((row.state, row.bytes_done, row.rate), (DownloadState::Done, 3_000, None));
    assert_eq!(row.path, Some(RawText::new("/downloads/a (1).txt")));
    assert!(!row.verified);
    assert_eq!(rig.node.counters().bytes_down, 3_000);
    let state = |notice| match notice {
        Notice::Download { download } => Some(download.state),
        _ => None,
    };
    let states: Vec<_> = rig.notices().into_iter().filter_map(state).collect();
    assert_eq!(states, [DownloadState::Verifying, DownloadState::Verifying, DownloadState::Done]);
    assert_eq!(dropped(&mut rig), 0);
}

/// The error of a source that sent FIN without a byte.
const SENT_NOTHING: &str = "sent nothing: refused, or the file is empty";

/// A base program refuses by an end without a byte: it is asked once, and then the next source.
#[test]
fn an_end_without_a_byte_is_a_refusal_and_the_next_source_is_asked() {
    for size in [None, Some(0), Some(100)] {
        let mut rig = with_relayed_hit(size, 2);
        download(&mut rig, hits("1"));
        open(&mut rig);
        for n in 1..=2 {
            let fetch = fetch(&mut rig);
            assert_eq!((fetch.to, fetch.may_call_back), (peer(n), true));
            send(&mut rig, &fetch, 0);
            let told = row(&mut rig, 1).shares[usize::from(n) - 1].clone();
            assert_eq!((told.state, told.error.as_deref()), (SourceState::Refused, Some(SENT_NOTHING)));
        }
        wait_for_the_search(&mut rig);
        assert!(fetches(&mut rig).is_empty(), "each is asked once");
        let failed = row(&mut rig, 1);
        let error = failed.error.unwrap();
        assert_eq!((failed.state, error.code), (DownloadState::Failed, ExitCode::NotFound as i32));
        assert!(error.message.contains(&format!("10.0.1.1:63339: {SENT_NOTHING}")), "{}", error.message);
        assert!(!failed.verified && failed.bytes_done == 0);
    }
}

/// Of a peer that is named by the user, nothing is known at all.
#[test]
fn an_end_without_a_byte_from_a_named_peer_is_a_refusal_too() {
    let mut rig = Rig::among(Vec::new(), &[]);
    download(&mut rig, vec![file(peer(1), "a")]);
    open(&mut rig);
    let only = fetch(&mut rig);
    send(&mut rig, &only, 0);
    wait_for_the_search(&mut rig);
    let failed = row(&mut rig, 1);
    assert_eq!(failed.state, DownloadState::Failed);
    assert!(failed.error.unwrap().message.contains(SENT_NOTHING));
}

#[test]
fn only_a_peer_of_the_base_protocol_may_call_back() {
    let mut rig = with_hit(None, 1);
    download(&mut rig, hits("1"));
    open(&mut rig);
    assert!(fetch(&mut rig).may_call_back);

    let mut rig = Rig::among(Vec::new(), &[]);
    hear_of(&mut rig, 1);
    download(&mut rig, vec![file(peer(1), "a")]);
    open(&mut rig);
    let asked = metadata(&mut rig);
    rig.resets_first_contacts = false;
    rig.fail(asked[0].0, DialFault::Reset);
    let asked = contact(&mut rig);
    rig.succeed(asked, Response::SpeaksP1);
    let stream = fetch(&mut rig);
    assert_eq!((&stream.portion, stream.may_call_back), (&Portion::Stream { size_max: None }, false));
    // It would have reset to refuse; but an end without a byte proves no file whose size nobody told.
    send(&mut rig, &stream, 0);
    let asked_why = inquiry(&mut rig);
    rig.fail(asked_why, DialFault::Reset);
    wait_for_the_search(&mut rig);
    assert_eq!(state(&mut rig, 1), DownloadState::Failed);
}

#[test]
fn the_next_source_is_asked_after_one_that_sends_too_much() {
    let mut rig = with_relayed_hit(Some(100), 2);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let first = fetch(&mut rig);
    assert_eq!(first.portion, Portion::Stream { size_max: Some(100) });
    rig.handle(Event::FetchProgress { exchange: first.exchange, bytes: 100 });
    rig.fail(first.exchange, DialFault::TooLong);
    assert_eq!(fetch(&mut rig).to, peer(2));
}

#[test]
fn an_end_without_a_byte_is_an_empty_file_if_a_p1_peer_has_said_so() {
    let mut rig = with_hit(Some(0), 1);
    download(&mut rig, hits("1"));
    open(&mut rig);
    if let [asked] = &metadata(&mut rig)[..] {
        rig.resets_first_contacts = false;
        rig.fail(asked.0, DialFault::Reset);
        let asked = contact(&mut rig);
        rig.succeed(asked, Response::SpeaksP1);
    }
    let fetch = fetch(&mut rig);
    assert!(!fetch.may_call_back);
    send(&mut rig, &fetch, 0);
    assert_eq!(state(&mut rig, 1), DownloadState::Verifying);
}

#[test]
fn a_truncated_file_is_fetched_from_the_next_source() {
    let mut rig = with_relayed_hit(Some(100), 2);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let first = fetch(&mut rig);
    send(&mut rig, &first, 99);
    let second = fetch(&mut rig);
    assert_eq!(second.to, peer(2));
    assert_eq!(row(&mut rig, 1).bytes_done, 99, "what is there is kept until this one has passed it");
    progress(&mut rig, &second, 50);
    assert_eq!(row(&mut rig, 1).bytes_done, 99);
    send(&mut rig, &second, 100);
    assert_eq!(state(&mut rig, 1), DownloadState::Verifying);
}

#[test]
fn a_refusal_by_every_source_ends_a_download() {
    let mut rig = with_relayed_hit(Some(100), 3);
    download(&mut rig, hits("1"));
    open(&mut rig);
    for n in 1..=3 {
        let fetch = fetch(&mut rig);
        assert_eq!(fetch.to, peer(n));
        rig.fail(fetch.exchange, DialFault::Reset);
    }
    wait_for_the_search(&mut rig);
    assert!(dropped(&mut rig) > 0);
    assert!(forgotten(&mut rig).is_empty(), "that it has failed, and why, is remembered");
    let record = remembered(&mut rig).pop().unwrap();
    let row = row(&mut rig, 1);
    assert_eq!((row.state, row.error.clone().unwrap().code), (DownloadState::Failed, ExitCode::NotFound as i32));
    assert_eq!(
        (record.state, record.error),
        (crate::node::contract::RecordState::Failed { keeps_part: false }, row.error.map(|error| *error))
    );
}

#[test]
fn unreachable_sources_are_tried_again_until_they_refuse() {
    let mut rig = with_relayed_hit(Some(100), 2);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let refusing = fetch(&mut rig);
    rig.fail(refusing.exchange, DialFault::Reset);
    let breaking = fetch(&mut rig);
    progress(&mut rig, &breaking, 50);
    rig.fail(breaking.exchange, DialFault::Reset);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let waiting = row(&mut rig, 1);
        assert_eq!((waiting.state, waiting.bytes_done), (DownloadState::Retrying, 50));
        let error = waiting.error.unwrap();
        assert_eq!(error.code, ExitCode::NoSource as i32);
        assert!(error.message.contains("10.0.1.2:63339"), "{error}");
        assert_eq!((closed(&mut rig), dropped(&mut rig)), (1, 0), "a download that waits holds no file open");
        waits.push(waiting.retry_in_s.unwrap());
        rig.pass(Duration::from_secs(waiting.retry_in_s.unwrap()));
        open(&mut rig);
        let again = fetch(&mut rig);
        assert_eq!(again.to, peer(2), "who said no is not asked again");
        assert_eq!(row(&mut rig, 1).error, None);
        rig.fail(again.exchange, DialFault::TimedOut);
    }
    assert!(waits[0] <= 8 && waits[7] >= 30 && waits[7] <= 90, "{waits:?}");
    assert!(waits.windows(2).any(|pair| pair[0] != pair[1]), "spread by chance");
    rig.pass(Duration::from_secs(90));
    open(&mut rig);
    let last = fetch(&mut rig);
    rig.fail(last.exchange, DialFault::Reset);
    wait_for_the_search(&mut rig);
    assert_eq!(state(&mut rig, 1), DownloadState::Failed);
}

#[test]
fn a_stream_of_another_content_is_discarded() {
    // The hits were relayed, so that the peers may be of the base protocol.
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let query = searching(&mut rig);
    for n in 1..=2 {
        let file = of_content("a", 3 * MIB, B3);
        let response = SearchResponse { id: query.clone(), responder: peer(n), file };
        rig.request(addr("10.0.9.9:50000"), Message::SearchResponse(response));
    }
    rig.orders.clear();
    download(&mut rig, hits("1"));
    open(&mut rig);
    assert!(metadata(&mut rig).is_empty(), "never towards a peer that has not shown part 2");
    let false_one = fetch(&mut rig);
    send(&mut rig, &false_one, 3 * MIB);
    check_as(&mut rig, ContentHash([1; 32]), 3 * MIB, Vec::new());
    let second = fetch(&mut rig);
    assert_eq!(second.to, peer(2));
    send(&mut rig, &second, 3 * MIB);
    check(&mut rig, 3 * MIB);
    commit(&mut rig, "/downloads/a");
    let done = row(&mut rig, 1);
    assert!(done.verified);
    assert_eq!(done.shares[0].state, crate::control::SourceState::Corrupt);
}

#[test]
fn missing_groups_come_from_a_base_source_only_when_no_other_source_can_send_them() {
    let mut rig = begun(4 * MIB, 1);
    let ranges = fetch(&mut rig);
    found(&mut rig, 5, &listed("dir/a.txt", None));
    assert!(fetches(&mut rig).is_empty(), "as long as a peer that speaks p1 is at work");
    group(&mut rig, &ranges, 0);
    rig.fail(ranges.exchange, DialFault::TimedOut);
    let whole = fetch(&mut rig);
    assert_eq!((whole.to, &whole.portion), (peer(5), &Portion::Whole));
    group(&mut rig, &whole, 1);
    // The other is back: both bring what they can.
    rig.pass(Duration::from_secs(8));
    let beside = fetch(&mut rig);
    assert_eq!((beside.to, beside.groups()), (peer(1), 2..3));
    group(&mut rig, &whole, 2);
    assert_eq!(aborted(&mut rig), [beside.exchange, whole.exchange], "there is nothing left for them");
    check(&mut rig, 4 * MIB);
}

#[test]
fn a_very_slow_stream_is_aborted_for_a_source_that_was_not_tried() {
    let mut rig = with_relayed_hit(Some(100 * MIB), 2);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let slow = fetch(&mut rig);
    for second in 1..=29 {
        rig.pass(Duration::from_secs(1));
        progress(&mut rig, &slow, second);
        assert!(fetches(&mut rig).is_empty());
    }
    rig.pass(Duration::from_secs(2));
    let fast = fetch(&mut rig);
    assert_eq!(fast.to, peer(2));
    assert_eq!(aborted(&mut rig), [slow.exchange]);
    // This one is no better; but to start again over and over would be worse.
    for second in 1..=300 {
        rig.pass(Duration::from_secs(1));
        progress(&mut rig, &fast, second);
    }
    assert!(fetches(&mut rig).is_empty());
}
