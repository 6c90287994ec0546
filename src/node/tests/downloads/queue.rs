//! The queue, and the orders of users for downloads.

use super::*;
use crate::control::ExitCode;
use crate::node::contract::RecordState;

#[test]
fn downloads_beyond_the_limit_wait_in_their_order() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), max_downloads: 2, ..config() });
    let wanted = ["a", "b", "c", "d"].map(|name| file(peer(1), name)).to_vec();
    let states: Vec<_> = download(&mut rig, wanted).downloads.iter().map(|row| row.state).collect();
    use DownloadState::{Active, Queued};
    assert_eq!(states, [Active, Active, Queued, Queued]);
    let Ok(Reply::Status(status)) = rig.call(Request::Status) else { panic!("a status") };
    assert_eq!((status.downloads_active, status.downloads_queued), (2, 2));
    open(&mut rig);
    let running = fetches(&mut rig);
    rig.fail(running[0].exchange, DialFault::Refused);
    assert_eq!(state(&mut rig, 1), DownloadState::Retrying, "who waits gives its place away");
    assert_eq!(opened(&mut rig)[0].0, TransferId(3));
    rig.handle(Event::PartOpened { download: TransferId(3), outcome: ready("/downloads/c") });
    rig.pass(Duration::from_secs(8));
    assert_eq!(state(&mut rig, 1), Queued);
    send(&mut rig, &running[1], 5);
    check(&mut rig, 5);
    commit(&mut rig, "/downloads/b");
    assert_eq!(opened(&mut rig)[0].0, TransferId(1), "the oldest is next");
}

#[test]
fn a_cancelled_download_leaves_nothing() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), max_downloads: 3, ..config() });
    download(&mut rig, ["a", "b", "c", "d"].map(|name| file(peer(1), name)).to_vec());
    let parts = opened(&mut rig);
    for (download, _) in &parts[..2] {
        rig.handle(Event::PartOpened { download: *download, outcome: ready("/downloads/x") });
    }
    let running = fetches(&mut rig);
    send(&mut rig, &running[1], 5);
    check(&mut rig, 5);
    rig.orders.clear();
    // Fetching, committing, opening and queued at once.
    let Ok(Reply::Downloads(reply)) = rig.call(Request::Cancel { ids: "all".into() }) else { panic!("cancel") };
    let states: Vec<_> = reply.downloads.iter().map(|row| row.state).collect();
    use DownloadState::{Cancelled, Verifying};
    assert_eq!(states, [Cancelled, Verifying, Cancelled, Cancelled], "what is whole ends well");
    let aborted = rig.take(|order| matches!(order, Action::Abort { .. }).then_some(()));
    assert_eq!((aborted.len(), dropped(&mut rig)), (1, 1), "the one that is being made is removed when it is there");
    assert_eq!(forgotten(&mut rig), [4, 1].map(TransferId), "and is remembered as long as something of it is there");
    // Pending exchanges and jobs still end, without effect.
    rig.fail(running[0].exchange, DialFault::Aborted);
    rig.handle(Event::PartOpened { download: TransferId(3), outcome: ready("/downloads/c") });
    assert!(fetches(&mut rig).is_empty());
    assert_eq!((dropped(&mut rig), forgotten(&mut rig)), (1, vec![TransferId(3)]));
    let committed = CommittedPart { path: "/downloads/b".into(), already: false };
    rig.handle(Event::PartCommitted { download: TransferId(2), outcome: Ok(committed) });
    assert_eq!(state(&mut rig, 2), DownloadState::Done);
    assert!(order(&mut rig, Request::Cancel { ids: "all".into() }).ids.is_empty(), "nothing is left to do");
    rig.call(Request::Cancel { ids: "2".into() }).unwrap();
    assert_eq!(state(&mut rig, 2), DownloadState::Done, "what is over stays as it is");
}

#[test]
fn the_same_file_of_the_same_peer_is_fetched_once() {
    let mut rig = with_relayed_hit(Some(1), 2);
    let first = download(&mut rig, hits("1"));
    let again = download(&mut rig, vec![file(peer(2), "dir/a.txt"), Selector::Hits("1".into())]);
    assert_eq!(again.downloads.len(), 1);
    assert_eq!(again.downloads[0].id, first.downloads[0].id);
    rig.call(Request::Cancel { ids: "1".into() }).unwrap();
    assert_eq!(download(&mut rig, hits("1")).downloads[0].id, 2);
}

#[test]
fn a_content_that_is_fetched_already_takes_further_sources_from_another_hit() {
    let mut rig = with_content(40 * MIB, 1);
    let first = download(&mut rig, hits("1"));
    let query = searching(&mut rig);
    rig.hit(&query, peer(2), of_content("other/name", 40 * MIB, B3));
    let again = download(&mut rig, hits("2"));
    assert_eq!(
        (again.downloads[0].id, &again.downloads[0].sources[..]),
        (first.downloads[0].id, &[peer(1), peer(2)][..])
    );
    assert_eq!(remembered(&mut rig).last().unwrap().sources.len(), 2);
}

#[test]
fn an_output_is_a_file_for_one_and_a_directory_for_several() {
    let mut rig = Rig::among(Vec::new(), &[]);
    let output = || Some(RawText::new("/tmp/out"));
    rig.call(Request::Download { what: vec![file(peer(1), "dir/.a")], output: output() }).unwrap();
    let expected = Target::Exact { path: "/tmp/out".into(), name: name("_.a") };
    assert_eq!(opened(&mut rig), [(TransferId(1), expected)]);
    let what = vec![file(peer(1), "x/b"), file(peer(1), "c")];
    rig.call(Request::Download { what, output: output() }).unwrap();
    let expected = ["b", "c"].map(|n| Target::Suggested { directory: "/tmp/out".into(), name: name(n) });
    assert_eq!(opened(&mut rig).into_iter().map(|(_, target)| target).collect::<Vec<_>>(), expected);
}

#[test]
fn what_cannot_be_downloaded_is_refused_with_a_reason() {
    let mut rig = with_relayed_hit(Some(1), 1);
    for (what, code) in [
        (vec![], ExitCode::Usage),
        (hits("7"), ExitCode::NotFound),
        (hits("x"), ExitCode::Usage),
        (vec![file(us(), "a")], ExitCode::Usage),
        (vec![file(peer(1), "a\nb")], ExitCode::Usage),
        (vec![Selector::Content("zz".into())], ExitCode::Usage),
        (vec![file(peer(1), "a"); 10_001], ExitCode::Other),
    ] {
        let error = rig.call(Request::Download { what, output: None }).unwrap_err();
        assert_eq!(error.code, code as i32, "{error}");
    }
    let relative = Some(RawText::new("here"));
    let error = rig.call(Request::Download { what: hits("1"), output: relative }).unwrap_err();
    assert_eq!(error.code, ExitCode::Usage as i32);
    assert!(opened(&mut rig).is_empty());
}

#[test]
fn finished_downloads_are_forgotten_before_new_ones_are_refused() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), max_downloads: 1, ..config() });
    let many = |round: u32| (0..1_000).map(|n| file(peer(1), &format!("{round}/{n}"))).collect::<Vec<_>>();
    for round in 0..10 {
        download(&mut rig, many(round));
    }
    let error = rig.call(Request::Download { what: hits("1"), output: None }).unwrap_err();
    assert_eq!(error.code, ExitCode::NotFound as i32);
    let error = rig.call(Request::Download { what: vec![file(peer(1), "z")], output: None }).unwrap_err();
    assert_eq!(error.code, ExitCode::Other as i32);
    rig.call(Request::Cancel { ids: "2".into() }).unwrap();
    download(&mut rig, vec![file(peer(1), "z")]);
    assert_eq!(row(&mut rig, 2).id, 3, "the finished one is gone");
}

#[test]
fn a_node_that_leaves_keeps_unfinished_downloads_for_the_next_run() {
    let mut rig = begun(10 * MIB, 2);
    let running = fetches(&mut rig);
    aborted(&mut rig);
    rig.handle(Event::Leave);
    let stopped = aborted(&mut rig);
    assert!(running.iter().all(|fetch| stopped.contains(&fetch.exchange)));
    assert_eq!((closed(&mut rig), dropped(&mut rig), forgotten(&mut rig).len()), (1, 0, 0));
    rig.fail(running[0].exchange, DialFault::Aborted);
    rig.pass(Duration::from_secs(600));
    assert!(fetches(&mut rig).is_empty() && opened(&mut rig).is_empty());
    assert!(!rig.node.has_work());
    let id = QueryId::p1(1);
    rig.hit(&id, peer(1), listed("a", None));
    assert_eq!(rig.node.counters().limited.hits_unasked, 0, "nothing is taken in any more");
}

#[test]
fn a_download_that_is_complete_when_the_node_leaves_gets_its_final_name() {
    let mut rig = begun(2 * MIB, 1);
    bring_everything(&mut rig);
    rig.handle(Event::Leave);
    check(&mut rig, 2 * MIB);
    commit(&mut rig, "/downloads/a.txt");
    assert_eq!(state(&mut rig, 1), DownloadState::Done);
    assert_eq!(forgotten(&mut rig), [TransferId(1)]);
}

#[test]
fn a_paused_download_keeps_its_groups_and_gives_its_place_to_another() {
    let mut rig = begun(10 * MIB, 2);
    let running = fetches(&mut rig);
    group(&mut rig, &running[0], 0);
    rig.orders.clear();
    let paused = &order(&mut rig, Request::Pause { ids: "1".into() }).downloads[0];
    assert_eq!((paused.state, paused.bytes_done, paused.rate), (DownloadState::Paused, 2 * MIB, None));
    assert_eq!((aborted(&mut rig).len(), closed(&mut rig), dropped(&mut rig)), (2, 1, 0));
    assert_eq!(remembered(&mut rig)[0].state, RecordState::Paused);
    // Groups that were received before the abort change nothing.
    group(&mut rig, &running[1], 2);
    rig.fail(running[1].exchange, DialFault::Aborted);
    rig.pass(Duration::from_secs(3_600));
    assert!(fetches(&mut rig).is_empty() && opened(&mut rig).is_empty());
    assert_eq!(order(&mut rig, Request::Resume { ids: "all".into() }).downloads[0].state, DownloadState::Active);
    assert_eq!(remembered(&mut rig)[0].state, RecordState::Waiting);
    open_resumed(&mut rig, 10 * MIB, [0, 2, 9]);
    assert_eq!(row(&mut rig, 1).bytes_done, 3 * MIB, "what is there counts at once");
    assert!(metadata(&mut rig).is_empty(), "the outline is there, and its last group has proved it");
    let asked = fetches(&mut rig);
    assert_eq!(asked[0].groups(), 1..2);
    assert!(order(&mut rig, Request::Resume { ids: "all".into() }).downloads.is_empty(), "nothing is paused");
    assert_eq!(rig.call(Request::Resume { ids: "7".into() }).unwrap_err().code, ExitCode::NotFound as i32);
}

#[test]
fn a_download_paused_while_its_part_file_is_made_or_checked_waits_for_that() {
    let mut rig = with_content(2 * MIB, 1);
    download(&mut rig, hits("1"));
    order(&mut rig, Request::Pause { ids: "1".into() });
    order(&mut rig, Request::Resume { ids: "1".into() });
    assert_eq!(opened(&mut rig).len(), 1, "not twice");
    rig.handle(Event::PartOpened { download: TransferId(1), outcome: ready("/downloads/a.txt") });
    outline(&mut rig, 2 * MIB);
    bring_everything(&mut rig);
    assert_eq!(state(&mut rig, 1), DownloadState::Verifying);
    order(&mut rig, Request::Pause { ids: "1".into() });
    assert_eq!((state(&mut rig, 1), closed(&mut rig)), (DownloadState::Paused, 0));
    order(&mut rig, Request::Resume { ids: "1".into() });
    assert!(opened(&mut rig).is_empty());
    check(&mut rig, 2 * MIB);
    assert_eq!(closed(&mut rig), 1);
    open_resumed(&mut rig, 2 * MIB, [0, 1]);
    check(&mut rig, 2 * MIB);
    order(&mut rig, Request::Pause { ids: "1".into() });
    assert_eq!(state(&mut rig, 1), DownloadState::Verifying, "what is about to get its name gets it");
    commit(&mut rig, "/downloads/a.txt");
    // And cancelled meanwhile: removed when the answer is there.
    download(&mut rig, hits("1"));
    dropped(&mut rig);
    order(&mut rig, Request::Cancel { ids: "2".into() });
    assert_eq!(dropped(&mut rig), 0);
    rig.handle(Event::PartOpened { download: TransferId(2), outcome: ready("/downloads/a (1).txt") });
    assert_eq!(dropped(&mut rig), 1);
}

#[test]
fn retry_asks_every_source_again_at_once() {
    let mut rig = with_relayed_hit(Some(100), 2);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let first = fetch(&mut rig);
    rig.fail(first.exchange, DialFault::Reset);
    let second = fetch(&mut rig);
    rig.fail(second.exchange, DialFault::TimedOut);
    assert_eq!(state(&mut rig, 1), DownloadState::Retrying);
    let row = &order(&mut rig, Request::Retry { ids: "1".into() }).downloads[0];
    assert_eq!((row.state, &row.error, row.retry_in_s), (DownloadState::Active, &None, None));
    open(&mut rig);
    // Also the one that has refused.
    for _ in 0..2 {
        let again = fetch(&mut rig);
        rig.fail(again.exchange, DialFault::Reset);
    }
    wait_for_the_search(&mut rig);
    assert_eq!(state(&mut rig, 1), DownloadState::Failed);
    rig.orders.clear();
    let row = &order(&mut rig, Request::Retry { ids: "all".into() }).downloads[0];
    assert_eq!((row.id, row.state, &row.error), (1, DownloadState::Active, &None));
    assert_eq!(remembered(&mut rig).len(), 1, "it is one to be remembered again");
    open(&mut rig);
    let again = fetch(&mut rig);
    send(&mut rig, &again, 100);
    check(&mut rig, 100);
    commit(&mut rig, "/downloads/a.txt");
    assert_eq!(state(&mut rig, 1), DownloadState::Done);
    assert!(order(&mut rig, Request::Retry { ids: "all".into() }).ids.is_empty(), "nothing is left to do");
    assert_eq!(order(&mut rig, Request::Retry { ids: "1".into() }).downloads[0].state, DownloadState::Done);
}

#[test]
fn orders_for_unknown_downloads_fail() {
    let mut rig = begun(3 * MIB, 1);
    type Order = fn(String) -> Request;
    let orders: [Order; 4] = [
        |ids| Request::Pause { ids },
        |ids| Request::Resume { ids },
        |ids| Request::Retry { ids },
        |ids| Request::Cancel { ids },
    ];
    for order in orders {
        for (ids, code) in [("7", ExitCode::NotFound), ("x", ExitCode::Usage), ("", ExitCode::Usage)] {
            assert_eq!(rig.call(order(ids.into())).unwrap_err().code, code as i32, "{ids}");
        }
    }
    assert_eq!(state(&mut rig, 1), DownloadState::Active);
}

#[test]
fn downloads_share_the_exchanges_and_each_has_at_least_one() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), max_downloads: 4, ..config() });
    let query = searching_alone(&mut rig);
    for content in 1..=4 {
        for n in 1..=20 {
            rig.hit(&query, peer(n), of_content(&format!("file {content}"), 900 * MIB, ContentHash([content; 32])));
        }
    }
    rig.orders.clear();
    let mut busiest = Vec::new();
    for content in 1..=4 {
        download(&mut rig, hits(&content.to_string()));
        for (download, _) in opened(&mut rig) {
            rig.handle(Event::PartOpened { download, outcome: ready("/downloads/x") });
        }
        let [(exchange, _, b3)] = metadata(&mut rig)[..] else { panic!("one request for metadata") };
        rig.succeed(exchange, Response::Metadata { b3: b3.unwrap(), size: 900 * MIB });
        let proof = fetch(&mut rig);
        bring(&mut rig, &proof);
        busiest.push(fetches(&mut rig).len());
    }
    assert_eq!(busiest, [16, 16, 1, 1], "32 at once, and one for each that came later");
}

/// As `searching`, of a node that knows nobody before.
fn searching_alone(rig: &mut Rig) -> QueryId {
    rig.learn_peer(peer(1), crate::control::PeerSource::User);
    searching(rig)
}
