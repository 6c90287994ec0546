//! Sources that rename, move or delete a file while it is fetched, and sources whose file becomes another one.

use super::*;
use crate::control::{ExitCode, SourceState};

/// The names under which metadata or bytes are asked for.
pub(super) fn names_asked(rig: &mut Rig) -> Vec<(ExchangeId, String)> {
    rig.take(|order| match order {
        Action::Fetch { exchange, name, .. } | Action::FetchMetadata { exchange, name, .. } => {
            Some((*exchange, name.to_string()))
        }
        _ => None,
    })
}

pub(super) fn name_asked(rig: &mut Rig) -> (ExchangeId, String) {
    let mut asked = names_asked(rig);
    assert_eq!(asked.len(), 1, "{asked:?}");
    asked.remove(0)
}

/// Opens the part file if that is ordered, and refuses all requests to sources. Returns whether there were any.
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
fn a_content_is_searched_for_less_and_less_often_until_the_user_cancels() {
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
fn a_hit_of_any_search_for_a_content_in_progress_adds_a_source() {
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
fn forged_names_cause_a_bounded_number_of_requests() {
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
fn with_forged_names() -> Rig {
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
fn a_source_is_asked_for_its_own_name_beside_any_number_of_forged_ones() {
    let mut rig = with_forged_names();
    rig.pass(Duration::from_secs(61));
    rig.dials().into_iter().for_each(|(exchange, ..)| rig.deliver(exchange));
    let query = searching(&mut rig);
    forge(&mut rig, &query, 100..150);
    // As many requests as forged names may cause are sent before its own hit comes.
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
fn a_forged_name_does_not_keep_a_name_that_has_the_content_again_from_being_asked() {
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
