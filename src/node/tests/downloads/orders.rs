//! Orders that concern many downloads, and which downloads an order concerns.

use super::recalling::{record, restarted};
use super::*;
use crate::control::{CallId, ExitCode};
use crate::node::contract::RecordState;

/// As many downloads as may be unfinished.
const MANY: usize = 10_000;

/// More downloads than fit several pages and many slices.
const ORDERED: usize = 2_500;

/// The most records that one slice may write.
const RECORDS_PER_SLICE_MAX: usize = 64;

/// Gives an order slice by slice; returns the records that each slice wrote, and the part files that were opened.
fn slices(rig: &mut Rig, request: Request) -> (Vec<usize>, usize) {
    let (mut records, mut opened, mut answered) = (Vec::new(), 0, false);
    rig.node.handle(rig.now, Event::Call { client: CLIENT, call: CallId::Number(7), request });
    loop {
        let mut written = 0;
        while let Some(action) = rig.node.poll_action() {
            match action {
                Action::RememberDownload { record, revision } => {
                    written += 1;
                    rig.node.handle(rig.now, Event::Recorded { download: record.id, revision, outcome: Ok(()) });
                }
                Action::OpenPart { .. } => opened += 1,
                Action::Reply { outcome, .. } => {
                    assert!(!answered && outcome.is_ok(), "answered once: {outcome:?}");
                    answered = true;
                }
                _ => {}
            }
        }
        records.push(written);
        if !rig.node.has_work() {
            break;
        }
        assert!(!answered, "answered when all of it is done");
        rig.node.work(rig.now);
    }
    assert!(answered);
    (records, opened)
}

#[test]
fn thousands_of_downloads_are_begun_paused_and_cancelled_by_one_call_each_without_a_long_turn() {
    let mut rig = Rig::among(Vec::new(), &[]);
    let what: Vec<_> = (0..ORDERED).map(|n| file(peer(1), &format!("file {n}"))).collect();
    let begin = Request::Download { what, output: None };
    for (request, state) in [
        (begin, DownloadState::Queued),
        (Request::Pause { ids: "all".into() }, DownloadState::Paused),
        (Request::Resume { ids: "all".into() }, DownloadState::Queued),
        (Request::Cancel { ids: "all".into() }, DownloadState::Cancelled),
    ] {
        let (records, opened) = slices(&mut rig, request);
        assert!(records.iter().all(|written| *written <= RECORDS_PER_SLICE_MAX), "{records:?}");
        assert!(records.len() >= ORDERED / RECORDS_PER_SLICE_MAX);
        let active = if state == DownloadState::Queued { 5 } else { 0 };
        assert!(opened <= active, "nothing begins that the order is about to stop: {opened}");
        let Ok(Reply::Downloads(page)) = rig.call(Request::Downloads { after: 2_000 }) else { panic!("rows") };
        assert!(page.downloads.iter().all(|row| row.state == state), "{state:?}");
        // What was under way is over.
        while let Some((download, _)) = opened_late(&mut rig) {
            rig.handle(Event::PartOpened { download, outcome: ready("/downloads/x") });
        }
    }
    assert!(order(&mut rig, Request::Cancel { ids: "all".into() }).ids.is_empty(), "nothing is left to do");
}

fn opened_late(rig: &mut Rig) -> Option<(TransferId, Target)> {
    opened(rig).into_iter().next()
}

#[test]
fn one_download_more_than_may_be_unfinished_is_refused_before_any_begins() {
    let mut rig = Rig::among(Vec::new(), &[]);
    let what: Vec<_> = (0..=MANY).map(|n| file(peer(1), &format!("file {n}"))).collect();
    let error = rig.call(Request::Download { what, output: None }).unwrap_err();
    assert!(error.message.contains("at most 10000"), "{error}");
    assert!(opened(&mut rig).is_empty());
}

#[test]
fn what_is_fetched_already_needs_no_room() {
    let config = NodeConfig { bootstraps: Vec::new(), ..config() };
    let records = (1..=MANY as u32).map(|id| record(id, (id == 9).then_some(B3), RecordState::Paused)).collect();
    let mut rig = restarted(config, records, MANY as u32);
    let content = Selector::Content(B3.to_string());
    for (what, ids) in [
        (vec![content.clone()], vec![9]),
        (vec![file(peer(1), "dir 7/a"), content.clone(), file(peer(2), "dir 8/a")], vec![7, 8, 9]),
    ] {
        assert_eq!(download(&mut rig, what).ids, ids);
    }
    let more = vec![content, file(peer(1), "new"), file(peer(1), "newer")];
    let error = rig.call(Request::Download { what: more, output: None }).unwrap_err();
    assert!(error.message.contains("at most 10000 downloads may be unfinished, 0 more than now"), "{error}");
}

#[test]
fn a_node_that_leaves_answers_with_the_number_of_downloads_not_dealt_with() {
    let mut rig = Rig::among(Vec::new(), &[]);
    let what: Vec<_> = (0..200).map(|n| file(peer(1), &format!("file {n}"))).collect();
    download(&mut rig, what);
    let pause = Request::Pause { ids: "all".into() };
    rig.node.handle(rig.now, Event::Call { client: CLIENT, call: CallId::Number(7), request: pause });
    rig.handle(Event::Leave);
    let outcome = rig.take(|action| match action {
        Action::Reply { outcome, .. } => Some(outcome.clone()),
        _ => None,
    });
    let [Err(error)] = &outcome[..] else { panic!("{outcome:?}") };
    assert!(error.message.contains("136 downloads were not dealt with"), "{error}");
}

#[test]
fn pause_and_cancel_take_whole_ids_and_follow_and_retry_take_beginnings_too() {
    let config = NodeConfig { bootstraps: Vec::new(), ..config() };
    let mut rig = restarted(config, [1, 12, 23].map(|id| record(id, None, RecordState::Paused)).to_vec(), 23);
    for request in [Request::Cancel { ids: "2".into() }, Request::Pause { ids: "2".into() }] {
        let error = rig.call(request).unwrap_err();
        assert_eq!(error.code, ExitCode::NotFound as i32);
        assert!(error.message.contains("type whole ids, as 23"), "{error}");
    }
    assert_eq!(state(&mut rig, 23), DownloadState::Paused);
    assert_eq!(dropped(&mut rig), 0, "its bytes are kept");
    for request in [Request::Follow { ids: "2".into() }, Request::Retry { ids: "2".into() }] {
        let Ok(Reply::Downloads(reply)) = rig.call(request) else { panic!("a beginning of one id") };
        assert_eq!(reply.downloads[0].id, 23);
    }
    rig.call(Request::Cancel { ids: "12-23".into() }).unwrap();
    assert_eq!([1, 12, 23].map(|id| state(&mut rig, id)), {
        use DownloadState::{Cancelled, Paused};
        [Paused, Cancelled, Cancelled]
    });
}

#[test]
fn all_means_the_hits_of_the_last_search_and_not_of_those_before() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let first = searching(&mut rig);
    rig.hit(&first, peer(1), listed("a of the first", None));
    let second = searching(&mut rig);
    let error = rig.call(Request::Download { what: hits("all"), output: None }).unwrap_err();
    assert_eq!(error.code, ExitCode::NotFound as i32, "{error}");
    rig.hit(&second, peer(1), listed("a of the second", None));
    rig.hit(&second, peer(1), listed("another a", None));
    // One more of the search before.
    rig.hit(&first, peer(1), listed("late a", None));
    let names: Vec<String> = download(&mut rig, hits("all"))
        .downloads
        .iter()
        .map(|row| String::from_utf8_lossy(row.name.as_bytes()).into_owned())
        .collect();
    assert_eq!(names, ["a of the second", "another a"]);
    let last: Vec<u32> = rig.hits(Some(crate::control::LAST_SEARCH)).iter().map(|hit| hit.id).collect();
    assert_eq!(last, [2, 3]);
}

#[test]
fn no_rate_above_the_limit_is_shown_of_one_or_of_all_or_of_their_sources() {
    const LIMIT: u64 = 4 * MIB;
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), download_limit: LIMIT, ..config() });
    download(&mut rig, ["a", "b"].map(|name| file(peer(1), name)).to_vec());
    open(&mut rig);
    let running = fetches(&mut rig);
    let began = rig.now;
    for ms in [1u64, 2, 10, 250, 1_000, 1_250, 3_000, 5_000] {
        // Bytes are reported late, and two reports of a quarter of a second may follow one another at once.
        rig.pass((began + Duration::from_millis(ms)).saturating_since(rig.now));
        for fetch in &running {
            progress(&mut rig, fetch, LIMIT * (ms + 500) / 2_000);
        }
        let rows = [row(&mut rig, 1), row(&mut rig, 2)];
        let shown: u64 = rows.iter().filter_map(|row| row.rate).sum();
        assert!(shown <= LIMIT, "{shown} after {ms} ms");
        let of_sources: u64 = rows.iter().flat_map(|row| &row.shares).filter_map(|share| share.rate).sum();
        assert!(of_sources <= LIMIT, "{of_sources} of the sources after {ms} ms");
    }
}
