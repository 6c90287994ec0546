//! Sources that rename, move or delete what they offer while it is fetched, and those whose file becomes another.

use super::*;
use crate::control::{ExitCode, SourceState};
use crate::node::contract::{PartSpec, RecordState, SourceRecord};

/// The names under which metadata or bytes are asked for.
fn names_asked(rig: &mut Rig) -> Vec<(ExchangeId, String)> {
    rig.take(|order| match order {
        Action::Fetch { exchange, name, .. } | Action::FetchMetadata { exchange, name, .. } => {
            Some((*exchange, name.to_string()))
        }
        _ => None,
    })
}

fn name_asked(rig: &mut Rig) -> (ExchangeId, String) {
    let mut asked = names_asked(rig);
    assert_eq!(asked.len(), 1, "{asked:?}");
    asked.remove(0)
}

/// Opens the part file if it is to be, and refuses whatever the sources are asked. Says whether something was.
fn refuse_everything(rig: &mut Rig) -> bool {
    let parts = opened(rig);
    for (download, _) in &parts {
        let mut groups = Groups::none(8);
        groups.insert(7);
        let part =
            OpenedPart::Ready { path: "/downloads/a.txt".into(), resumed: Some((8 * MIB, groups)), filesystem: None };
        rig.handle(Event::PartOpened { download: *download, outcome: Ok(part) });
    }
    let asked: Vec<_> = names_asked(rig).into_iter().map(|(exchange, _)| exchange).collect();
    let identifying: Vec<_> = identifying(rig).into_iter().map(|(exchange, _)| exchange).collect();
    let exchanges: Vec<_> = asked.into_iter().chain(identifying).collect();
    exchanges.iter().for_each(|exchange| rig.fail(*exchange, DialFault::Reset));
    !parts.is_empty() || !exchanges.is_empty()
}

/// Requests for metadata or bytes that stand in the orders.
fn names_asked_count(rig: &Rig) -> usize {
    let asks = |order: &&Action| matches!(order, Action::Fetch { .. } | Action::FetchMetadata { .. });
    rig.orders.iter().filter(asks).count()
}

/// The searches for the content that went out.
fn content_searches(rig: &mut Rig) -> usize {
    let text = format!("b3={B3}");
    let fits = |message: &Message| matches!(message, Message::Search(search) if *search.text == *text.as_bytes());
    let dials = rig.dials();
    dials.iter().for_each(|(exchange, ..)| rig.deliver(*exchange));
    dials.iter().filter(|(_, _, messages)| messages.iter().any(fits)).count()
}

#[test]
fn a_name_that_is_refused_gives_way_to_the_others_at_once() {
    let mut rig = begun(8 * MIB, 1);
    found(&mut rig, 1, &of_content("copy of a.txt", 8 * MIB, B3));
    assert_eq!(remembered(&mut rig).last().unwrap().sources[0].names, [name("copy of a.txt"), name("dir/a.txt")]);
    let (running, under) = name_asked(&mut rig);
    assert_eq!(under, "dir/a.txt");
    rig.fail(running, DialFault::Reset);
    let (_, under) = name_asked(&mut rig);
    assert_eq!(under, "copy of a.txt");
    assert_eq!(state(&mut rig, 1), DownloadState::Active);
}

#[test]
fn a_source_that_has_renamed_the_file_is_found_again_by_its_content() {
    let mut rig = begun(8 * MIB, 1);
    content_searches(&mut rig);
    rig.pass(Duration::from_secs(20));
    let (running, _) = name_asked(&mut rig);
    rig.fail(running, DialFault::Reset);
    let [(exchange, _)] = identifying(&mut rig)[..] else { panic!("it is asked what it has") };
    rig.fail(exchange, DialFault::Reset);
    assert_eq!(content_searches(&mut rig), 1, "it is searched for at once");
    assert_eq!(state(&mut rig, 1), DownloadState::Retrying);
    found(&mut rig, 1, &of_content("moved/a.txt", 8 * MIB, B3));
    open_resumed(&mut rig, 8 * MIB, [7]);
    assert_eq!(name_asked(&mut rig).1, "moved/a.txt");
}

#[test]
fn a_content_is_looked_for_until_the_user_cancels_it_ever_less_often() {
    let mut rig = begun(8 * MIB, 1);
    let mut at = Vec::new();
    for second in 0..600 {
        while refuse_everything(&mut rig) {}
        assert_eq!(state(&mut rig, 1), DownloadState::Retrying, "after {second} s");
        if content_searches(&mut rig) > 0 {
            at.push(second);
        }
        rig.pass(Duration::from_secs(1));
    }
    let waits: Vec<_> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(at.len() >= 6 && waits.iter().all(|wait| *wait <= 100), "{at:?}");
    assert!(at.iter().filter(|second| **second > 300).count() <= 12, "{at:?}");
    let waiting = row(&mut rig, 1);
    assert_eq!((waiting.state, waiting.error.unwrap().code), (DownloadState::Retrying, ExitCode::NoSource as i32));
}

#[test]
fn a_hit_for_a_content_in_progress_is_a_source_whoever_searched() {
    let mut rig = begun(8 * MIB, 1);
    rig.orders.clear();
    let query = searching(&mut rig);
    rig.hit(&query, peer(6), of_content("elsewhere", 8 * MIB, B3));
    rig.hit(&query, peer(1), of_content("second name", 8 * MIB, B3));
    rig.hit(&query, peer(7), of_content("dir/a.txt", 8 * MIB, ContentHash([1; 32])));
    assert_eq!(row(&mut rig, 1).sources, [peer(1), peer(6)]);
    assert_eq!(fetch(&mut rig).to, peer(6));
    let record = remembered(&mut rig).pop().unwrap();
    assert_eq!(record.sources[0].names, [name("second name"), name("dir/a.txt")]);
}

#[test]
fn forged_names_do_not_have_a_source_asked_without_end() {
    let mut rig = begun(8 * MIB, 1);
    let mut asked = 0;
    for n in 0..100 {
        asked += names_asked_count(&rig);
        while refuse_everything(&mut rig) {
            asked += names_asked_count(&rig);
        }
        found(&mut rig, 1, &of_content(&format!("name {n}"), 8 * MIB, B3));
    }
    assert!(asked <= 64, "{asked} requests in no time");
}

/// Somebody else sends hits that say that peer 1 has the content under these names, in answer to a user's search.
fn forge(rig: &mut Rig, query: &QueryId, names: Range<u32>) {
    for n in names {
        let file = of_content(&format!("no such file {n}"), 8 * MIB, B3);
        let response = SearchResponse { id: query.clone(), responder: peer(1), file };
        rig.request(addr("10.0.9.9:50000"), Message::SearchResponse(response));
    }
}

/// What peer 1 sends if its file is called this and nothing else; the names under which it was asked, until it sends.
fn serve_as(rig: &mut Rig, only: &str) -> Vec<String> {
    let mut asked = Vec::new();
    loop {
        open(rig);
        let orders = names_asked(rig);
        if orders.is_empty() {
            return asked;
        }
        for (exchange, under) in orders {
            if under == only {
                rig.succeed(exchange, Response::Metadata { b3: B3, size: 8 * MIB });
                asked.push(under);
                return asked;
            }
            asked.push(under);
            rig.fail(exchange, DialFault::Declined(crate::fault::RefusalReason::NoSuchFile));
        }
    }
}

/// A download of the content, of which only forged names of its one source are known.
fn deceived() -> Rig {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    hear_of(&mut rig, 1);
    let query = searching(&mut rig);
    forge(&mut rig, &query, 0..50);
    download(&mut rig, vec![Selector::Content(B3.to_string())]);
    let asked = serve_as(&mut rig, "dir/a.txt");
    assert!(!asked.is_empty() && !asked.contains(&"dir/a.txt".to_string()), "{asked:?}");
    assert_eq!(state(&mut rig, 1), DownloadState::Retrying);
    rig
}

#[test]
fn forged_names_before_and_after_its_own_do_not_keep_a_source_from_being_asked_for_its_own() {
    let mut rig = deceived();
    rig.pass(Duration::from_secs(61));
    rig.dials().into_iter().for_each(|(exchange, ..)| rig.deliver(exchange));
    let query = searching(&mut rig);
    forge(&mut rig, &query, 100..150);
    // All that may be asked under them is, before it speaks for itself.
    serve_as(&mut rig, "dir/a.txt");
    rig.hit(&query, peer(1), of_content("dir/a.txt", 8 * MIB, B3));
    forge(&mut rig, &query, 200..250);
    assert_eq!(serve_as(&mut rig, "dir/a.txt"), ["dir/a.txt"]);
    bring_everything(&mut rig);
    check(&mut rig, 8 * MIB);
    commit(&mut rig, "/downloads/a.txt");
    assert_eq!(state(&mut rig, 1), DownloadState::Done);
}

#[test]
fn a_forged_name_does_not_use_up_the_chance_of_a_name_that_has_the_content_again() {
    let gone = || DialFault::Declined(crate::fault::RefusalReason::NoSuchFile);
    let mut rig = begun(8 * MIB, 1);
    let (running, _) = name_asked(&mut rig);
    rig.fail(running, DialFault::Corrupt);
    let exchange = inquiry(&mut rig);
    rig.fail(exchange, gone());
    let forged = of_content("no such file", 8 * MIB, B3);
    told_of(&mut rig, peer(2), peer(1), &forged);
    rig.handle(Event::ClientGone { client: crate::id::ClientId(99) });
    open_resumed(&mut rig, 8 * MIB, [7]);
    let (running, under) = name_asked(&mut rig);
    assert_eq!(under, "no such file");
    rig.fail(running, gone());
    assert_eq!(row(&mut rig, 1).shares[0].state, SourceState::Refused);
    found(&mut rig, 1, &of_content("dir/a.txt", 8 * MIB, B3));
    open_resumed(&mut rig, 8 * MIB, [7]);
    assert_eq!(name_asked(&mut rig).1, "dir/a.txt");
}

#[test]
fn the_row_that_the_user_chose_keeps_its_name() {
    for (is_own, is_by_row) in [(true, true), (false, true), (true, false)] {
        let mut rig = Rig::among(vec![peer(1)], &[]);
        hear_of(&mut rig, 1);
        let query = searching(&mut rig);
        let true_name = of_content("dir/a.txt", 8 * MIB, B3);
        if is_own {
            forge(&mut rig, &query, 0..50);
            rig.hit(&query, peer(1), true_name);
        } else {
            let response = SearchResponse { id: query.clone(), responder: peer(1), file: true_name };
            rig.request(addr("10.0.9.9:50000"), Message::SearchResponse(response));
        }
        forge(&mut rig, &query, 50..100);
        let what = if is_by_row { hits("1") } else { vec![Selector::Content(B3.to_string())] };
        download(&mut rig, what);
        forge(&mut rig, &query, 100..150);
        assert_eq!(serve_as(&mut rig, "dir/a.txt"), ["dir/a.txt"], "own {is_own}, row {is_by_row}");
    }
}

/// `PEER/NAME` of a peer that speaks `p1`, with its content taught and its last group there.
fn named(size: u64) -> Rig {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    hear_of(&mut rig, 1);
    download(&mut rig, vec![file(peer(1), "a")]);
    open(&mut rig);
    outline(&mut rig, size);
    let proof = fetch(&mut rig);
    bring(&mut rig, &proof);
    rig
}

const OTHER: ContentHash = ContentHash([8; 32]);

#[test]
fn a_name_that_becomes_another_content_is_fetched_as_that_one() {
    let mut rig = named(8 * MIB);
    assert_eq!(remembered(&mut rig).last().unwrap().learnt_from, Some(peer(1)));
    let running = fetch(&mut rig);
    rig.fail(running.exchange, DialFault::Corrupt);
    assert_eq!(identify_as(&mut rig, OTHER), peer(1));
    assert_eq!(dropped(&mut rig), 1, "nothing of the old content is kept");
    open(&mut rig);
    let [(exchange, _, None)] = metadata(&mut rig)[..] else { panic!("it is asked anew, with nothing to prove") };
    rig.succeed(exchange, Response::Metadata { b3: OTHER, size: 100 });
    let only = fetch(&mut rig);
    group(&mut rig, &only, 0);
    send(&mut rig, &only, 100);
    check_as(&mut rig, OTHER, 100, Vec::new());
    commit(&mut rig, "/downloads/a");
    let done = row(&mut rig, 1);
    assert_eq!((done.state, done.size, done.b3), (DownloadState::Done, Some(100), Some(OTHER.to_string())));
}

/// The content was moved away and later overwritten where it then was: what the user asked for is the name.
#[test]
fn the_other_names_of_a_content_are_not_asked_for_once_the_name_has_another() {
    let mut rig = named(8 * MIB);
    found(&mut rig, 1, &of_content("moved", 8 * MIB, B3));
    let (running, under) = name_asked(&mut rig);
    assert_eq!(under, "a");
    rig.fail(running, DialFault::Corrupt);
    identify_as(&mut rig, OTHER);
    open(&mut rig);
    let (exchange, under) = name_asked(&mut rig);
    assert_eq!(under, "a");
    assert_eq!(remembered(&mut rig).last().unwrap().sources[0].names, [name("a")]);
    rig.fail(exchange, DialFault::Declined(crate::fault::RefusalReason::NoSuchFile));
    assert!(names_asked(&mut rig).is_empty(), "nor when the name is gone");
}

/// Who said which content the name has lied: who has that content under another name has nothing to do with the name.
#[test]
fn sources_of_a_content_that_a_liar_told_are_not_asked_for_the_name() {
    let mut rig = Rig::among(vec![peer(1), peer(2)], &[]);
    hear_of(&mut rig, 1);
    hear_of(&mut rig, 2);
    download(&mut rig, vec![file(peer(1), "a")]);
    open(&mut rig);
    outline(&mut rig, 8 * MIB);
    found(&mut rig, 2, &of_content("b", 8 * MIB, B3));
    let asked = names_asked(&mut rig);
    assert_eq!(asked[0].1, "a");
    lie(&mut rig, asked[0].0);
    open(&mut rig);
    assert!(names_asked(&mut rig).is_empty());
    assert_eq!(row(&mut rig, 1).sources, [peer(1)]);
}

/// The file may be shorter than the range that is asked for: then the peer refuses instead of sending other bytes.
#[test]
fn a_refusal_of_who_has_another_content_by_now_unlearns_it_too() {
    let mut rig = named(8 * MIB);
    let running = fetch(&mut rig);
    rig.fail(running.exchange, DialFault::Reset);
    identify_as(&mut rig, OTHER);
    open(&mut rig);
    assert!(matches!(metadata(&mut rig)[..], [(_, _, None)]));
}

#[test]
fn who_does_not_say_yet_what_it_has_is_asked_again_and_is_no_liar() {
    let mut rig = named(8 * MIB);
    let running = fetch(&mut rig);
    rig.fail(running.exchange, DialFault::Corrupt);
    for _ in 0..3 {
        let [(exchange, _)] = identifying(&mut rig)[..] else { panic!("it is asked what it has") };
        rig.fail(exchange, DialFault::Declined(crate::fault::RefusalReason::NotHashed));
        let waiting = row(&mut rig, 1);
        assert_eq!((waiting.state, waiting.shares[0].state), (DownloadState::Retrying, SourceState::Waiting));
        rig.pass(Duration::from_secs(91));
        open_resumed(&mut rig, 8 * MIB, [7]);
        assert!(names_asked(&mut rig).is_empty());
    }
    identify_as(&mut rig, OTHER);
    open(&mut rig);
    assert!(matches!(metadata(&mut rig)[..], [(_, _, None)]));
}

/// The file was overwritten, sent, and deleted before the source could say what it was.
#[test]
fn who_has_no_such_file_any_more_is_asked_under_the_other_names() {
    let mut rig = begun(8 * MIB, 1);
    found(&mut rig, 1, &of_content("copy", 8 * MIB, B3));
    let (running, under) = name_asked(&mut rig);
    assert_eq!(under, "dir/a.txt");
    rig.fail(running, DialFault::Corrupt);
    let gone = DialFault::Declined(crate::fault::RefusalReason::NoSuchFile);
    let [(exchange, _)] = identifying(&mut rig)[..] else { panic!("it is asked what it has") };
    rig.fail(exchange, gone);
    let (running, under) = name_asked(&mut rig);
    assert_eq!(under, "copy");
    // The other copy is overwritten and deleted too: it is refused until a search finds it elsewhere.
    rig.fail(running, DialFault::Corrupt);
    let [(exchange, _)] = identifying(&mut rig)[..] else { panic!("it is asked what it has") };
    rig.fail(exchange, gone);
    assert_eq!(row(&mut rig, 1).shares[0].state, SourceState::Refused, "it is no liar");
    found(&mut rig, 1, &of_content("where it is now", 8 * MIB, B3));
    open_resumed(&mut rig, 8 * MIB, [7]);
    assert_eq!(name_asked(&mut rig).1, "where it is now");
}

#[test]
fn a_content_that_the_user_asked_for_stays_wanted_when_a_source_has_another_by_now() {
    let mut rig = begun(8 * MIB, 1);
    let running = fetch(&mut rig);
    rig.fail(running.exchange, DialFault::Corrupt);
    identify_as(&mut rig, OTHER);
    let waiting = row(&mut rig, 1);
    assert_eq!((waiting.state, waiting.b3), (DownloadState::Retrying, Some(B3.to_string())));
    assert_eq!(waiting.shares[0].state, SourceState::Refused, "it is no liar");
    found(&mut rig, 1, &of_content("where it is now", 8 * MIB, B3));
    open_resumed(&mut rig, 8 * MIB, [7]);
    assert_eq!(name_asked(&mut rig).1, "where it is now");
}

#[test]
fn a_peer_that_says_each_time_that_it_has_another_content_is_left_out_in_the_end() {
    let mut rig = named(8 * MIB);
    let running = fetch(&mut rig);
    rig.fail(running.exchange, DialFault::Corrupt);
    for n in 10..30 {
        for (exchange, _) in identifying(&mut rig) {
            rig.succeed(exchange, Response::FileInfo { b3: ContentHash([n; 32]), size: 1 });
        }
        rig.pass(Duration::from_secs(91));
        open(&mut rig);
        for (exchange, ..) in metadata(&mut rig) {
            rig.succeed(exchange, Response::Metadata { b3: ContentHash([n + 100; 32]), size: 8 * MIB });
        }
        for fetch in fetches(&mut rig) {
            rig.fail(fetch.exchange, DialFault::Corrupt);
        }
    }
    assert_eq!(row(&mut rig, 1).shares[0].state, SourceState::Corrupt);
}

fn recalled(learnt_from: Option<SocketAddr>) -> Rig {
    let target = Target::Suggested { directory: "/downloads".into(), name: name("a") };
    let sources = vec![SourceRecord { addr: peer(1), names: vec![name("b"), name("a")], p1: true, is_chosen: true }];
    let record = DownloadRecord {
        id: TransferId(1),
        spec: PartSpec { target, token: 7, filesystem: None },
        name: name("a"),
        size: Some(8 * MIB),
        b3: Some(B3),
        learnt_from,
        state: RecordState::Waiting,
        error: None,
        bytes_done: 7 * MIB,
        sources,
    };
    let config = NodeConfig { bootstraps: Vec::new(), ..config() };
    let remembered = Remembered { peers: remembered_peers(vec![peer(1)]), downloads: vec![record], download_last: 1 };
    let mut rig = Rig::new(config.clone());
    rig.node = crate::node::Node::new(rig.now, config, [5; 32], remembered);
    rig.orders.clear();
    rig.handle(Event::ClientGone { client: crate::id::ClientId(99) });
    open_resumed(&mut rig, 8 * MIB, [7]);
    rig
}

#[test]
fn names_and_who_taught_a_content_survive_a_restart() {
    for (learnt_from, begins_anew) in [(Some(peer(1)), true), (None, false)] {
        let mut rig = recalled(learnt_from);
        let (first, under) = name_asked(&mut rig);
        assert_eq!(under, "b");
        rig.fail(first, DialFault::Reset);
        let (second, under) = name_asked(&mut rig);
        assert_eq!(under, "a");
        rig.fail(second, DialFault::Corrupt);
        identify_as(&mut rig, OTHER);
        assert_eq!(dropped(&mut rig) == 1, begins_anew);
    }
}

/// The name held another content for a while, in which a range was sent, and holds the old one again.
#[test]
fn who_has_sent_another_content_once_is_asked_again_and_the_second_time_it_is_left_out() {
    let mut rig = named(8 * MIB);
    let running = fetch(&mut rig);
    lie(&mut rig, running.exchange);
    let waiting = row(&mut rig, 1);
    assert_eq!((waiting.state, waiting.shares[0].state), (DownloadState::Retrying, SourceState::Waiting));
    assert!((5..=60).contains(&waiting.retry_in_s.unwrap()), "{waiting:?}");
    rig.pass(Duration::from_secs(60));
    open_resumed(&mut rig, 8 * MIB, [7]);
    let running = fetch(&mut rig);
    group(&mut rig, &running, 0);
    lie(&mut rig, running.exchange);
    assert_eq!(row(&mut rig, 1).shares[0].state, SourceState::Corrupt);
    rig.pass(Duration::from_secs(600));
    assert_eq!((names_asked(&mut rig).len(), identifying(&mut rig).len()), (0, 0), "it has lied");
}

/// A learnt content whose name is gone from its peer, which a search finds there again.
fn gone() -> Rig {
    let mut rig = named(8 * MIB);
    let running = fetch(&mut rig);
    rig.fail(running.exchange, DialFault::Declined(crate::fault::RefusalReason::NoSuchFile));
    assert_eq!(row(&mut rig, 1).shares[0].state, SourceState::Refused);
    rig.pass(Duration::from_secs(61));
    rig
}

#[test]
fn a_name_that_comes_back_as_another_content_is_fetched_as_that_one() {
    let mut rig = gone();
    // What another peer has under that name says nothing.
    found(&mut rig, 2, &of_content("a", 100, OTHER));
    found(&mut rig, 1, &of_content("b", 100, OTHER));
    assert!(opened(&mut rig).is_empty());
    found(&mut rig, 1, &of_content("a", 100, OTHER));
    open_resumed(&mut rig, 8 * MIB, [7]);
    assert_eq!(identify_as(&mut rig, OTHER), peer(1));
    assert_eq!(dropped(&mut rig), 1);
    open(&mut rig);
    assert!(matches!(metadata(&mut rig)[..], [(_, _, None)]));
}

#[test]
fn a_forged_hit_for_another_content_costs_no_more_than_a_question() {
    let mut rig = gone();
    let forged = of_content("a", 100, OTHER);
    found(&mut rig, 1, &forged);
    open_resumed(&mut rig, 8 * MIB, [7]);
    let [(exchange, _)] = identifying(&mut rig)[..] else { panic!("it is asked what it has") };
    rig.fail(exchange, DialFault::Declined(crate::fault::RefusalReason::NoSuchFile));
    found(&mut rig, 1, &forged);
    assert!(opened(&mut rig).is_empty(), "once after each search");
    assert_eq!((dropped(&mut rig), row(&mut rig, 1).b3), (0, Some(B3.to_string())));
    let mut rig = gone();
    found(&mut rig, 1, &forged);
    open_resumed(&mut rig, 8 * MIB, [7]);
    identify_as(&mut rig, B3);
    assert_eq!(name_asked(&mut rig).1, "a", "it has the content after all");
    assert_eq!(dropped(&mut rig), 0);
}
