//! Sources that lie, stall, truncate, refuse or are lost, and those that are found meanwhile.

use super::*;
use crate::control::{ExitCode, Notice, SourceState};

fn shares(rig: &mut Rig) -> Vec<SourceState> {
    row(rig, 1).shares.iter().map(|share| share.state).collect()
}

#[test]
fn a_source_that_sends_wrong_bytes_is_dropped_and_its_groups_are_fetched_elsewhere() {
    let mut rig = begun(10 * MIB, 3);
    let first = fetches(&mut rig);
    let liar = first.iter().find(|fetch| fetch.to == peer(2)).unwrap();
    group(&mut rig, liar, liar.groups().start);
    rig.orders.clear();
    lie(&mut rig, liar.exchange);
    assert_eq!(shares(&mut rig)[1], SourceState::Corrupt);
    let lost: Vec<_> = rig.notices();
    let is_loss =
        |notice: &Notice| matches!(notice, Notice::SourceLost { download: 1, source } if source.addr == peer(2));
    assert_eq!(lost.iter().filter(|notice| is_loss(notice)).count(), 1);
    // Found again, it stays left out.
    found(&mut rig, 2, &of_content("other name", 10 * MIB, B3));
    for fetch in first.iter().filter(|fetch| fetch.to != peer(2)) {
        bring(&mut rig, fetch);
    }
    let asked = bring_everything(&mut rig);
    assert!(!asked.contains(&2), "{asked:?}");
    check(&mut rig, 10 * MIB);
    commit(&mut rig, "/downloads/a.txt");
    assert!(row(&mut rig, 1).verified);
}

#[test]
fn a_source_with_a_false_size_is_detected_before_others_are_blamed() {
    let mut rig = with_content(4 * MIB, 2);
    download(&mut rig, hits("1"));
    open(&mut rig);
    // As many groups as there are, so that the chaining values prove themselves.
    assert_eq!(outline(&mut rig, 4 * MIB - 9), peer(1));
    let proof = fetch(&mut rig);
    assert_eq!((proof.to, proof.groups()), (peer(1), 3..4));
    lie(&mut rig, proof.exchange);
    assert_eq!(dropped(&mut rig), 1, "the part file is started again");
    open(&mut rig);
    assert_eq!(outline(&mut rig, 4 * MIB), peer(2));
    let asked = bring_everything(&mut rig);
    assert_eq!(asked.len(), asked.iter().filter(|n| **n == 2).count());
    check(&mut rig, 4 * MIB);
    commit(&mut rig, "/downloads/a.txt");
    assert_eq!(shares(&mut rig), [SourceState::Corrupt, SourceState::Idle]);
    assert_eq!(row(&mut rig, 1).size, Some(4 * MIB));
}

#[test]
fn a_source_with_a_false_size_of_one_group_is_detected_as_well() {
    let mut rig = with_content(700, 1);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let false_one = fetch(&mut rig);
    hear_of(&mut rig, 2);
    found(&mut rig, 2, &of_content("b", 900, B3));
    lie(&mut rig, false_one.exchange);
    open(&mut rig);
    let outlines = rig.take(|order| match order {
        Action::SetOutline { size, .. } => Some(*size),
        _ => None,
    });
    assert_eq!(outlines, [700, 900], "each source is taken at its own word");
    let true_one = fetch(&mut rig);
    assert_eq!(true_one.to, peer(2));
    bring(&mut rig, &true_one);
    check(&mut rig, 900);
}

#[test]
fn another_source_is_asked_for_an_outline_whose_giver_was_lost_before_the_size_was_proved() {
    let mut rig = with_content(4 * MIB, 2);
    download(&mut rig, hits("1"));
    open(&mut rig);
    outline(&mut rig, 4 * MIB);
    let proof = fetch(&mut rig);
    rig.fail(proof.exchange, DialFault::TimedOut);
    assert_eq!(outline(&mut rig, 4 * MIB), peer(2), "the word of another");
    assert_eq!(fetch(&mut rig).to, peer(2));
}

#[test]
fn a_hash_sent_by_a_liar_is_dropped() {
    let mut rig = with_hit(Some(3 * MIB), 2);
    download(&mut rig, hits("1"));
    open(&mut rig);
    assert_eq!(outline(&mut rig, 3 * MIB), peer(1));
    let proof = fetch(&mut rig);
    lie(&mut rig, proof.exchange);
    open(&mut rig);
    let [(_, to, None)] = metadata(&mut rig)[..] else { panic!("asked without a hash to prove") };
    assert_eq!(to, peer(2));
}

#[test]
fn complete_groups_of_a_truncated_response_count_and_its_source_waits() {
    let mut rig = begun(8 * MIB, 1);
    let cut = fetch(&mut rig);
    assert_eq!(cut.groups(), 0..2);
    group(&mut rig, &cut, 0);
    send(&mut rig, &cut, MIB + 7);
    let waiting = row(&mut rig, 1);
    assert_eq!((waiting.state, waiting.bytes_done), (DownloadState::Retrying, 2 * MIB));
    assert_eq!(waiting.shares[0].state, SourceState::Waiting);
    assert!(waiting.retry_in_s.unwrap() <= 8, "the first rest, since it did bring something");
    rig.pass(Duration::from_secs(8));
    open_resumed(&mut rig, 8 * MIB, [0, 7]);
    assert_eq!(fetch(&mut rig).groups().start, 1);
}

#[test]
fn a_source_that_refuses_after_it_has_sent_something_counts_as_busy() {
    let mut rig = begun(8 * MIB, 1);
    for n in 0..7 {
        let refused = fetch(&mut rig);
        rig.fail(refused.exchange, DialFault::Reset);
        identify_as(&mut rig, B3);
        assert_eq!(state(&mut rig, 1), DownloadState::Retrying, "{n}");
        rig.pass(Duration::from_secs(90));
        open_resumed(&mut rig, 8 * MIB, [7]);
    }
    // Eight times in a row is no accident; and it does not send the file as a whole either.
    let refused = fetch(&mut rig);
    rig.fail(refused.exchange, DialFault::Reset);
    identify_as(&mut rig, B3);
    let whole = fetch(&mut rig);
    assert_eq!(whole.portion, Portion::Whole);
    rig.orders.clear();
    rig.fail(whole.exchange, DialFault::Reset);
    identify_as(&mut rig, B3);
    wait_for_the_search(&mut rig);
    let waiting = row(&mut rig, 1);
    assert_eq!((waiting.state, waiting.error.unwrap().code), (DownloadState::Retrying, ExitCode::NoSource as i32));
    assert_eq!((dropped(&mut rig), forgotten(&mut rig).len()), (0, 0), "what is verified is kept");
}

#[test]
fn a_single_source_that_refuses_ranges_is_asked_for_the_whole_file() {
    let mut rig = with_content(4 * MIB, 1);
    download(&mut rig, hits("1"));
    open(&mut rig);
    outline(&mut rig, 4 * MIB);
    let refused = fetch(&mut rig);
    rig.fail(refused.exchange, DialFault::Reset);
    identify_as(&mut rig, B3);
    let whole = fetch(&mut rig);
    assert_eq!((whole.to, &whole.portion), (peer(1), &Portion::Whole));
    (0..4).for_each(|at| group(&mut rig, &whole, at));
    check(&mut rig, 4 * MIB);
}

#[test]
fn a_content_of_which_every_source_lies_waits_until_another_is_found() {
    let mut rig = with_content(4 * MIB, 2);
    download(&mut rig, hits("1"));
    open(&mut rig);
    // Each says twice that it has the content and sends another.
    let mut liars = Vec::new();
    for _ in 0..120 {
        for (exchange, to, _) in metadata(&mut rig) {
            liars.push(to);
            lie(&mut rig, exchange);
        }
        rig.pass(Duration::from_secs(1));
        open(&mut rig);
    }
    liars.sort_unstable();
    assert_eq!(liars, [peer(1), peer(1), peer(2), peer(2)]);
    wait_for_the_search(&mut rig);
    let waiting = row(&mut rig, 1);
    assert_eq!((waiting.state, waiting.error.unwrap().code), (DownloadState::Retrying, ExitCode::Checksum as i32));
    // Another attempt does not ask them again.
    order(&mut rig, Request::Retry { ids: "1".into() });
    open(&mut rig);
    assert!(metadata(&mut rig).is_empty());
    hear_of(&mut rig, 7);
    found(&mut rig, 7, &of_content("c", 4 * MIB, B3));
    open(&mut rig);
    assert_eq!(outline(&mut rig, 4 * MIB), peer(7));
}

#[test]
fn sources_found_during_a_download_are_asked_at_once() {
    let mut rig = begun(40 * MIB, 1);
    let first = fetch(&mut rig);
    rig.orders.clear();
    // Of another content, of itself twice, and of the same content but not known to speak p1.
    found(&mut rig, 4, &of_content("dir/a.txt", 40 * MIB, ContentHash([1; 32])));
    found(&mut rig, 1, &of_content("dir/a.txt", 40 * MIB, B3));
    assert_eq!(row(&mut rig, 1).sources, [peer(1)]);
    found(&mut rig, 5, &of_content("x/y", 40 * MIB, B3));
    assert_eq!(remembered(&mut rig)[0].sources.len(), 2);
    assert_eq!(row(&mut rig, 1).sources, [peer(1), peer(5)]);
    assert!(fetches(&mut rig).is_empty(), "codes of part 2 are for peers that have shown it");
    hear_of(&mut rig, 5);
    group(&mut rig, &first, 0);
    let second = fetch(&mut rig);
    assert_eq!((second.to, second.groups()), (peer(5), 2..4));
    for n in 10..=200 {
        found(&mut rig, n, &of_content("x/y", 40 * MIB, B3));
    }
    assert_eq!(row(&mut rig, 1).sources.len(), 64);
}

#[test]
fn a_waiting_download_continues_when_a_source_is_found() {
    let mut rig = with_relayed_hit(Some(100), 1);
    download(&mut rig, hits("1"));
    open(&mut rig);
    // Who was found by the name alone is asked when the chosen one was out of reach five times.
    for silences in 1..=5 {
        let lost = fetch(&mut rig);
        rig.fail(lost.exchange, DialFault::TimedOut);
        assert_eq!(state(&mut rig, 1), DownloadState::Retrying);
        if silences < 5 {
            rig.pass(Duration::from_secs(60));
            open(&mut rig);
        }
    }
    // Neither another name nor another size.
    found(&mut rig, 3, &listed("a.txt", Some(100)));
    found(&mut rig, 3, &listed("dir/a.txt", Some(101)));
    assert_eq!(state(&mut rig, 1), DownloadState::Retrying);
    found(&mut rig, 3, &listed("dir/a.txt", None));
    assert_eq!(state(&mut rig, 1), DownloadState::Active);
    open(&mut rig);
    assert_eq!(fetch(&mut rig).to, peer(3));
}

#[test]
fn a_source_that_refused_is_asked_again_once_when_a_later_search_finds_it() {
    let mut rig = with_relayed_hit(Some(100), 2);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let refused = fetch(&mut rig);
    rig.fail(refused.exchange, DialFault::Reset);
    let running = fetch(&mut rig);
    assert_eq!(shares(&mut rig), [SourceState::Refused, SourceState::Active]);
    let again = listed("dir/a.txt", Some(100));
    found(&mut rig, 1, &again);
    assert_eq!(shares(&mut rig)[0], SourceState::Refused, "no search has gone out since");
    rig.pass(Duration::from_millis(1));
    rig.fail(running.exchange, DialFault::TimedOut);
    found(&mut rig, 1, &again);
    assert_eq!(shares(&mut rig)[0], SourceState::Idle, "the search after the failure has found it");
}

#[test]
fn searches_for_further_sources_become_less_and_less_frequent() {
    let mut rig = with_content(900 * MIB, 1);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let sought = |rig: &mut Rig| {
        let seek = format!("b3={B3}");
        let fits = |message: &Message| matches!(message, Message::Search(search) if *search.text == *seek.as_bytes());
        let dials = rig.dials();
        let exchanges: Vec<_> = dials.iter().map(|(exchange, ..)| *exchange).collect();
        exchanges.into_iter().for_each(|exchange| rig.deliver(exchange));
        dials.iter().filter(|(_, _, messages)| messages.iter().any(fits)).count()
    };
    assert_eq!(sought(&mut rig), 1, "it has one source alone");
    outline(&mut rig, 900 * MIB);
    let proof = fetch(&mut rig);
    bring(&mut rig, &proof);
    let slow = fetch(&mut rig);
    let mut at = Vec::new();
    for second in 1..=1_300 {
        rig.pass(Duration::from_secs(1));
        progress(&mut rig, &slow, second * 1_000);
        if sought(&mut rig) > 0 {
            at.push(second);
        }
    }
    assert_eq!(at, [60, 180, 420, 720, 1_020], "every minute at first, every five minutes in the end");
}

/// A peer may share what has more groups than we take metadata for: that is no lie, and its bytes are welcome.
#[test]
fn a_source_with_more_metadata_than_we_accept_is_asked_for_the_whole_file() {
    let mut rig = with_content(4 * MIB, 1);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let asked = metadata(&mut rig);
    rig.fail(asked[0].0, DialFault::TooLong);
    assert!(matches!(fetch(&mut rig).portion, Portion::Stream { .. }));
    assert_eq!(row(&mut rig, 1).shares[0].state, SourceState::Active);
}
