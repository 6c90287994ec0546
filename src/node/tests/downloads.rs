//! Downloads, from the order to the file.

use super::rig::*;
use crate::control::{DownloadRow, DownloadState, DownloadsReply, ExitCode, Notice, RawText, Reply, Request, Selector};
use crate::fault::{DialFault, DiskFault};
use crate::id::{ExchangeId, QueryId, TransferId};
use crate::node::contract::{Action, Event, FetchForm, NodeConfig, Response, Target};
use crate::wire::Message;
use std::net::SocketAddr;
use std::time::Duration;

/// A fetch as ordered.
#[derive(Debug)]
struct Fetch {
    exchange: ExchangeId,
    download: TransferId,
    to: SocketAddr,
    form: FetchForm,
}

fn fetches(rig: &mut Rig) -> Vec<Fetch> {
    rig.take(|order| match order {
        Action::Fetch { exchange, download, to, form, .. } => {
            Some(Fetch { exchange: *exchange, download: *download, to: *to, form: *form })
        }
        _ => None,
    })
}

fn fetch(rig: &mut Rig) -> Fetch {
    let mut fetches = fetches(rig);
    assert_eq!(fetches.len(), 1, "{fetches:?}");
    fetches.remove(0)
}

fn opened(rig: &mut Rig) -> Vec<(TransferId, Target)> {
    rig.take(|order| match order {
        Action::OpenPart { download, target } => Some((*download, target.clone())),
        _ => None,
    })
}

/// Opens the part files ordered.
fn open(rig: &mut Rig) {
    for (download, target) in opened(rig) {
        let path = match target {
            Target::Suggested { directory, name } => directory.join(name.to_string()),
            Target::Exact { path, .. } => path,
        };
        rig.handle(Event::PartOpened { download, outcome: Ok(path) });
    }
}

fn dropped(rig: &mut Rig) -> usize {
    rig.take(|order| matches!(order, Action::DropPart { .. }).then_some(())).len()
}

fn row(rig: &mut Rig, id: u32) -> DownloadRow {
    let Ok(Reply::Downloads(reply)) = rig.call(Request::Downloads { after: id - 1 }) else { panic!("downloads") };
    reply.downloads.into_iter().next().unwrap()
}

fn state(rig: &mut Rig, id: u32) -> DownloadState {
    row(rig, id).state
}

fn download(rig: &mut Rig, what: Vec<Selector>) -> DownloadsReply {
    match rig.call(Request::Download { what, output: None }) {
        Ok(Reply::Downloads(reply)) => reply,
        other => panic!("{other:?}"),
    }
}

fn file(peer: SocketAddr, name: &str) -> Selector {
    Selector::File { peer, name: RawText::new(name) }
}

/// Hit 1, offered by so many peers.
fn with_hit(size: Option<u64>, sources: u8) -> Rig {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.search_within("a", Some(0));
    let (_, _, Message::Search(query)) = rig.dial() else { panic!("a search") };
    (1..=sources).for_each(|n| rig.hit(&query.id, peer(n), listed("dir/a.txt", size)));
    rig.orders.clear();
    rig
}

fn hits(ids: &str) -> Vec<Selector> {
    vec![Selector::Hits(ids.into())]
}

/// Ends a fetch in FIN after so many bytes.
fn send(rig: &mut Rig, fetch: &Fetch, bytes: u64) {
    rig.succeed(fetch.exchange, Response::File { bytes });
}

fn commit(rig: &mut Rig, download: u32, path: &str) {
    let ordered = rig.take(|order| matches!(order, Action::CommitPart { .. }).then_some(()));
    assert_eq!(ordered.len(), 1);
    rig.handle(Event::PartCommitted { download: TransferId(download), outcome: Ok(path.into()) });
}

#[test]
fn a_hit_becomes_a_file() {
    let mut rig = with_hit(Some(3_000), 2);
    let reply = download(&mut rig, hits("1"));
    assert_eq!(reply.downloads[0].state, DownloadState::Active);
    assert_eq!(reply.downloads[0].sources, [peer(1), peer(2)]);
    let expected = Target::Suggested { directory: "/downloads".into(), name: name("a.txt") };
    let parts = opened(&mut rig);
    assert_eq!(parts, [(TransferId(1), expected)]);
    rig.handle(Event::PartOpened { download: TransferId(1), outcome: Ok("/downloads/a.txt".into()) });
    let fetch = fetch(&mut rig);
    assert_eq!((fetch.to, fetch.form), (peer(1), FetchForm::Direct));
    rig.orders.clear();
    for tenth in 1..=10 {
        rig.pass(Duration::from_millis(100));
        rig.handle(Event::FetchProgress { exchange: fetch.exchange, bytes: tenth * 300 });
    }
    let told = rig.notices();
    assert_eq!(told.len(), 2, "progress is told twice a second: {told:?}");
    assert_eq!(row(&mut rig, 1).rate, Some(3_000));
    send(&mut rig, &fetch, 3_000);
    assert_eq!(state(&mut rig, 1), DownloadState::Verifying);
    commit(&mut rig, 1, "/downloads/a (1).txt");
    let row = row(&mut rig, 1);
    assert_eq!((row.state, row.bytes_done, row.rate), (DownloadState::Done, 3_000, None));
    assert_eq!(row.path, Some(RawText::new("/downloads/a (1).txt")));
    assert!(!row.verified);
    assert_eq!(rig.node.counters().bytes_down, 3_000);
    let state = |notice| match notice {
        Notice::Download { download } => download.state,
        other => panic!("{other:?}"),
    };
    let states: Vec<_> = rig.notices().into_iter().map(state).collect();
    assert_eq!(states, [DownloadState::Verifying, DownloadState::Done]);
    assert_eq!(dropped(&mut rig), 0);
}

#[test]
fn an_old_peer_that_says_nothing_is_asked_to_call_back() {
    let mut rig = Rig::among(Vec::new(), &[]);
    download(&mut rig, vec![file(peer(1), "a")]);
    open(&mut rig);
    let direct = fetch(&mut rig);
    send(&mut rig, &direct, 0);
    let back = fetch(&mut rig);
    assert_eq!((back.to, back.form), (peer(1), FetchForm::CallBack));
    send(&mut rig, &back, 10);
    commit(&mut rig, 1, "/downloads/a");
    assert_eq!(state(&mut rig, 1), DownloadState::Done);

    // An empty file comes by call-back too; and who does not call back has nothing.
    for (bytes, expected) in [(Some(0), DownloadState::Verifying), (None, DownloadState::Failed)] {
        download(&mut rig, vec![file(peer(1), "b")]);
        open(&mut rig);
        let direct = fetch(&mut rig);
        send(&mut rig, &direct, 0);
        let back = fetch(&mut rig);
        match bytes {
            Some(bytes) => send(&mut rig, &back, bytes),
            None => rig.fail(back.exchange, DialFault::TimedOut),
        }
        assert_eq!(state(&mut rig, back.download.0), expected);
        if bytes.is_some() {
            commit(&mut rig, back.download.0, "/downloads/b");
        }
    }
    let row = row(&mut rig, 3);
    assert_eq!(row.error.unwrap().code, ExitCode::NotFound as i32);
}

#[test]
fn an_empty_file_is_believed_where_it_is_known_to_be_empty() {
    let mut rig = with_hit(Some(0), 1);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let fetch = fetch(&mut rig);
    send(&mut rig, &fetch, 0);
    assert_eq!(state(&mut rig, 1), DownloadState::Verifying);
}

#[test]
fn a_truncated_file_is_fetched_from_the_next_source() {
    let mut rig = with_hit(Some(100), 2);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let first = fetch(&mut rig);
    send(&mut rig, &first, 99);
    let second = fetch(&mut rig);
    assert_eq!(second.to, peer(2));
    assert_eq!(row(&mut rig, 1).bytes_done, 0, "it begins anew");
    send(&mut rig, &second, 100);
    assert_eq!(state(&mut rig, 1), DownloadState::Verifying);
}

#[test]
fn a_refusal_by_every_source_ends_a_download() {
    let mut rig = with_hit(Some(100), 3);
    download(&mut rig, hits("1"));
    open(&mut rig);
    for n in 1..=3 {
        let fetch = fetch(&mut rig);
        assert_eq!(fetch.to, peer(n));
        rig.fail(fetch.exchange, DialFault::Reset);
    }
    assert_eq!(dropped(&mut rig), 1);
    let row = row(&mut rig, 1);
    assert_eq!((row.state, row.error.unwrap().code), (DownloadState::Failed, ExitCode::NotFound as i32));
}

#[test]
fn sources_out_of_reach_are_tried_again_until_they_say_no() {
    let mut rig = with_hit(Some(100), 2);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let refusing = fetch(&mut rig);
    rig.fail(refusing.exchange, DialFault::Reset);
    let breaking = fetch(&mut rig);
    rig.handle(Event::FetchProgress { exchange: breaking.exchange, bytes: 50 });
    rig.fail(breaking.exchange, DialFault::Reset);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let waiting = row(&mut rig, 1);
        assert_eq!((waiting.state, waiting.bytes_done), (DownloadState::Retrying, 0));
        let error = waiting.error.unwrap();
        assert_eq!(error.code, ExitCode::NoSource as i32);
        assert!(error.message.contains("10.0.1.2:63339"), "{error}");
        assert_eq!(dropped(&mut rig), 1, "a download that waits holds no file open");
        waits.push(waiting.retry_in_s.unwrap());
        rig.pass(Duration::from_secs(waiting.retry_in_s.unwrap()));
        open(&mut rig);
        let again = fetch(&mut rig);
        assert_eq!(again.to, peer(2), "who said no is not asked again");
        assert_eq!(row(&mut rig, 1).error, None);
        rig.fail(again.exchange, DialFault::TimedOut);
    }
    assert!(waits[0] <= 8 && waits[7] >= 30 && waits[7] <= 90, "{waits:?}");
    rig.pass(Duration::from_secs(90));
    open(&mut rig);
    let last = fetch(&mut rig);
    rig.fail(last.exchange, DialFault::Reset);
    assert_eq!(state(&mut rig, 1), DownloadState::Failed);
}

#[test]
fn a_disk_that_fails_ends_a_download_with_its_cause() {
    for (fault, code) in [
        (DiskFault::Full, ExitCode::DiskFull),
        (DiskFault::Exists, ExitCode::Exists),
        (DiskFault::Denied, ExitCode::FileIo),
    ] {
        let mut rig = with_hit(Some(1), 2);
        download(&mut rig, hits("1"));
        rig.handle(Event::PartOpened { download: TransferId(1), outcome: Err(fault) });
        let failed = row(&mut rig, 1);
        assert_eq!((failed.state, failed.error.unwrap().code), (DownloadState::Failed, code as i32));

        download(&mut rig, hits("1"));
        opened(&mut rig);
        rig.handle(Event::PartOpened { download: TransferId(2), outcome: Ok("/downloads/a.txt".into()) });
        let writing = fetch(&mut rig);
        rig.fail(writing.exchange, DialFault::Disk(fault));
        assert_eq!(state(&mut rig, 2), DownloadState::Failed);

        download(&mut rig, hits("1"));
        open(&mut rig);
        let whole = fetch(&mut rig);
        send(&mut rig, &whole, 1);
        rig.handle(Event::PartCommitted { download: TransferId(3), outcome: Err(fault) });
        assert_eq!(row(&mut rig, 3).error.unwrap().code, code as i32);
        assert!(fetches(&mut rig).is_empty(), "another source would not help");
    }
}

#[test]
fn downloads_beyond_the_limit_wait_in_their_order() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), max_downloads: 2, ..config() });
    let wanted = ["a", "b", "c", "d"].map(|name| file(peer(1), name)).to_vec();
    let states: Vec<_> = download(&mut rig, wanted).downloads.iter().map(|row| row.state).collect();
    use DownloadState::{Active, Queued};
    assert_eq!(states, [Active, Active, Queued, Queued]);
    open(&mut rig);
    let running = fetches(&mut rig);
    rig.fail(running[0].exchange, DialFault::Refused);
    assert_eq!(state(&mut rig, 1), DownloadState::Retrying, "who waits gives its place away");
    assert_eq!(opened(&mut rig)[0].0, TransferId(3));
    rig.handle(Event::PartOpened { download: TransferId(3), outcome: Ok("/downloads/c".into()) });
    rig.pass(Duration::from_secs(8));
    assert_eq!(state(&mut rig, 1), Queued);
    send(&mut rig, &running[1], 5);
    commit(&mut rig, 2, "/downloads/b");
    assert_eq!(opened(&mut rig)[0].0, TransferId(1), "the oldest is next");
}

#[test]
fn a_cancelled_download_leaves_nothing() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), max_downloads: 3, ..config() });
    download(&mut rig, ["a", "b", "c", "d"].map(|name| file(peer(1), name)).to_vec());
    let parts = opened(&mut rig);
    for (download, _) in &parts[..2] {
        rig.handle(Event::PartOpened { download: *download, outcome: Ok("/downloads/x".into()) });
    }
    let running = fetches(&mut rig);
    send(&mut rig, &running[1], 5);
    rig.orders.clear();
    // Fetching, verifying, opening and queued at once.
    let Ok(Reply::Downloads(reply)) = rig.call(Request::Cancel { ids: "all".into() }) else { panic!("cancel") };
    let states: Vec<_> = reply.downloads.iter().map(|row| row.state).collect();
    use DownloadState::{Cancelled, Verifying};
    assert_eq!(states, [Cancelled, Verifying, Cancelled, Cancelled], "what is whole ends well");
    let aborted = rig.take(|order| matches!(order, Action::Abort { .. }).then_some(()));
    assert_eq!((aborted.len(), dropped(&mut rig)), (1, 2));
    // What was under way still ends, without effect.
    rig.fail(running[0].exchange, DialFault::Aborted);
    rig.handle(Event::PartOpened { download: TransferId(3), outcome: Ok("/downloads/c".into()) });
    assert!(fetches(&mut rig).is_empty());
    rig.handle(Event::PartCommitted { download: TransferId(2), outcome: Ok("/downloads/b".into()) });
    assert_eq!(state(&mut rig, 2), DownloadState::Done);
    let error = rig.call(Request::Cancel { ids: "all".into() }).unwrap_err();
    assert_eq!(error.code, ExitCode::NotFound as i32);
    rig.call(Request::Cancel { ids: "2".into() }).unwrap();
    assert_eq!(state(&mut rig, 2), DownloadState::Done, "what is over stays as it is");
}

#[test]
fn the_same_file_of_the_same_peer_is_fetched_once() {
    let mut rig = with_hit(Some(1), 2);
    let first = download(&mut rig, hits("1"));
    let again = download(&mut rig, vec![file(peer(2), "dir/a.txt"), Selector::Hits("1".into())]);
    assert_eq!(again.downloads.len(), 1);
    assert_eq!(again.downloads[0].id, first.downloads[0].id);
    rig.call(Request::Cancel { ids: "1".into() }).unwrap();
    assert_eq!(download(&mut rig, hits("1")).downloads[0].id, 2);
}

#[test]
fn a_content_is_fetched_under_all_its_names() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.search_within("a", Some(0));
    let (_, _, Message::Search(query)) = rig.dial() else { panic!("a search") };
    let b3 = crate::id::ContentHash([7; 32]);
    for (n, text) in [(1, "x"), (2, "y")] {
        let attributes = Some(crate::wire::Attributes { size: Some(4), b3: Some(b3) });
        rig.hit(&query.id, peer(n), crate::wire::Listed { name: name(text), attributes });
    }
    rig.orders.clear();
    let reply = download(&mut rig, vec![Selector::Content(b3.to_string())]);
    assert_eq!(reply.downloads[0].sources, [peer(1), peer(2)]);
    open(&mut rig);
    let first = fetch(&mut rig);
    rig.fail(first.exchange, DialFault::Reset);
    let asked = rig.take(|order| match order {
        Action::Fetch { name, .. } => Some(name.to_string()),
        _ => None,
    });
    assert_eq!(asked, ["y"], "each source knows it by its own name");
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
    let mut rig = with_hit(Some(1), 1);
    let unknown = Selector::Content("00".repeat(32));
    for (what, code) in [
        (vec![], ExitCode::Usage),
        (hits("7"), ExitCode::NotFound),
        (hits("x"), ExitCode::Usage),
        (vec![file(us(), "a")], ExitCode::Usage),
        (vec![file(peer(1), "a\nb")], ExitCode::Usage),
        (vec![Selector::Content("zz".into())], ExitCode::Usage),
        (vec![unknown], ExitCode::NotFound),
        (vec![file(peer(1), "a"); 1_001], ExitCode::Usage),
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
fn leaving_removes_what_is_half_done() {
    let mut rig = with_hit(Some(10), 2);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let running = fetch(&mut rig);
    rig.handle(Event::Leave);
    let aborted = rig.take(|order| matches!(order, Action::Abort { .. }).then_some(()));
    assert_eq!((aborted.len(), dropped(&mut rig)), (2, 1), "the fetch, and the search that was on its way");
    rig.fail(running.exchange, DialFault::Aborted);
    rig.pass(Duration::from_secs(600));
    assert!(fetches(&mut rig).is_empty() && opened(&mut rig).is_empty());
    assert!(!rig.node.has_work());
    let id = QueryId::p1(1);
    rig.hit(&id, peer(1), listed("a", None));
    assert_eq!(rig.node.counters().hits_unasked, 0, "nothing is taken in any more");
}
