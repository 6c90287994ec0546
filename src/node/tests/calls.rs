//! Control calls, among them rescans.

use super::rig::*;
use crate::control::{CallId, ExitCode, FileRows, FilesReply, Notice, RawText, Reply, Request, ScanNotice};
use crate::fault::DiskFault;
use crate::id::ClientId;
use crate::library::ScanReport;
use crate::node::contract::{Action, Event, NodeConfig, Refusal};
use crate::wire::Message;
use std::time::Duration;

fn scans(rig: &mut Rig) -> usize {
    rig.take(|order| matches!(order, Action::StartScan).then_some(())).len()
}

fn files(rig: &mut Rig, after: Option<RawText>) -> FilesReply<FileRows> {
    match rig.call(Request::Files { after }) {
        Ok(Reply::Files(reply)) => reply,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_share_is_scanned_at_the_start_and_then_after_each_pause() {
    let mut rig = Rig::new(config());
    assert_eq!(scans(&mut rig), 1);
    rig.pass(Duration::from_secs(300));
    assert_eq!(scans(&mut rig), 0, "a slow scan is not overtaken by the next");
    rig.scan(&[("a", 1), ("b", 2)]);
    assert_eq!((rig.node.library().len(), rig.node.library().bytes()), (2, 3));
    rig.pass(Duration::from_secs(60));
    assert_eq!(scans(&mut rig), 1);
    rig.scan(&[("b", 5)]);
    assert_eq!((rig.node.library().len(), rig.node.library().bytes()), (1, 5));
}

#[test]
fn a_share_that_cannot_be_read_keeps_what_was_found_before() {
    let mut rig = Rig::among(Vec::new(), &[("a", 1)]);
    rig.pass(Duration::from_secs(60));
    rig.handle(Event::ScanEnded { report: ScanReport { failed: Some(DiskFault::Denied), ..ScanReport::default() } });
    assert_eq!(rig.node.library().len(), 1);
    rig.call(Request::Rescan).unwrap();
    rig.handle(Event::ScanEnded { report: ScanReport { failed: Some(DiskFault::Denied), ..ScanReport::default() } });
    let told = rig.notices().into_iter().find_map(|notice| match notice {
        Notice::Scan(ScanNotice { done: true, error, .. }) => error,
        _ => None,
    });
    let told = told.expect("whoever asked hears that it failed");
    assert!(told.code == ExitCode::FileIo as i32 && told.message.contains("permission denied"), "{told}");
}

#[test]
fn a_request_for_a_rescan_is_answered_by_the_next_scan_that_begins() {
    let mut rig = Rig::new(config());
    scans(&mut rig);
    rig.call(Request::Rescan).unwrap();
    assert_eq!(scans(&mut rig), 0);
    rig.scan(&[("a", 1)]);
    assert!(rig.notices().is_empty(), "this scan may have passed by what changed");
    rig.scan(&[("a", 1), ("b", 1)]);
    let done = |files| Notice::Scan(ScanNotice { files, done: true, ..ScanNotice::default() });
    assert!(rig.notices().contains(&done(2)));

    rig.call(Request::Rescan).unwrap();
    assert_eq!(scans(&mut rig), 1, "between scans it starts at once");
    rig.scan(&[("c", 1)]);
    assert!(rig.notices().contains(&done(1)));
    rig.pass(Duration::from_secs(60));
    rig.scan(&[]);
    assert!(rig.notices().is_empty(), "later scans are no concern of this client");
}

#[test]
fn a_long_scan_enters_the_library_in_slices() {
    let mut rig = Rig::new(config());
    let batch = |n: u64| (0..1_000).map(|at| scanned(&format!("{n:03}/{at:03}"), 1)).collect::<Vec<_>>();
    for n in 0..200 {
        rig.node.handle(rig.now, Event::Scanned { files: batch(n) });
    }
    assert!(rig.node.library().len() >= 136_000, "only some batches are held back");
    rig.node.handle(rig.now, Event::ScanEnded { report: ScanReport::default() });
    let mut slices = 0;
    while rig.node.has_work() {
        let before = rig.node.library().len();
        rig.node.work(rig.now);
        assert!(rig.node.library().len() - before <= 1_000);
        slices += 1;
    }
    assert!(slices > 64);
    assert_eq!(rig.node.library().len(), 200_000);
}

#[test]
fn files_come_in_pages_by_name() {
    let names: Vec<String> = (0..1_200).map(|n| format!("{n:04}")).collect();
    let shared: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let mut rig = Rig::among(Vec::new(), &shared);
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = files(&mut rig, after);
        seen.extend(page.files.iter().map(|row| row.name));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, names.iter().map(|name| RawText::new(name.as_bytes())).collect::<Vec<_>>());
    let bad = Request::Files { after: Some(RawText::new("a\nb")) };
    assert_eq!(rig.call(bad).unwrap_err().code, ExitCode::Usage as i32);
}

#[test]
fn pages_of_files_miss_none_and_repeat_none_while_the_share_changes() {
    let stays: Vec<String> = (0..1_200).map(|n| format!("{n:04}")).collect();
    let with = |others: &[String]| {
        let mut shared: Vec<String> = stays.iter().chain(others).cloned().collect();
        shared.sort();
        shared
    };
    // What comes and goes is before and behind the place where a page ends, and at it.
    let others: Vec<Vec<String>> = ["0000", "0250", "0499", "0500", "0999", "1199"]
        .map(|beside| (0..300).map(|n| format!("{beside}{}{n:03}", if n % 2 == 0 { '-' } else { '~' })).collect())
        .into();
    let mut rig = Rig::new(config());
    let (mut after, mut seen, mut pages) = (None, Vec::new(), 0);
    loop {
        let shared = with(&others[pages % others.len()]);
        let shared: Vec<_> = shared.iter().map(|name| (name.as_str(), 1)).collect();
        rig.call(Request::Rescan).unwrap();
        rig.scan(&shared);
        let page = files(&mut rig, after);
        assert!((1..=500).contains(&page.files.iter().count()));
        seen.extend(page.files.iter().map(|row| String::from_utf8(row.name.as_bytes().to_vec()).unwrap()));
        pages += 1;
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert!(pages > 2 && seen.is_sorted_by(|one, next| one < next), "{pages} pages, each row once");
    assert!(stays.iter().all(|name| seen.binary_search(name).is_ok()), "what is there all the time is listed");
}

#[test]
fn a_client_gets_its_subscriptions_until_it_disconnects() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let other = ClientId(2);
    rig.handle(Event::Call { client: other, call: CallId::Number(1), request: Request::Events });
    rig.orders.clear();
    let search = rig.search_within("a", Some(0));
    let (exchange, ..) = rig.dial();
    rig.deliver(exchange);
    let heard = |rig: &mut Rig| {
        rig.take(|order| match order {
            Action::Notify { client, notice } => Some((*client, Notice::clone(notice))),
            _ => None,
        })
    };
    let ring = Notice::Ring { search, ttl: 0, peers: 1 };
    let up = Notice::PeerUp { addr: peer(1) };
    assert_eq!(heard(&mut rig), [(CLIENT, ring.clone()), (other, ring), (other, up)]);
    rig.handle(Event::ClientGone { client: CLIENT });
    rig.pass(Duration::from_secs(2));
    let done = Notice::SearchDone { search, hits: 0, truncated: false, error: None };
    assert_eq!(heard(&mut rig), [(other, done)]);
}

#[test]
fn a_reply_is_sent_before_the_notices_that_its_call_causes() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let request = Request::Search { text: RawText::new("song"), max: None, ttl: None };
    rig.node.handle(rig.now, Event::Call { client: CLIENT, call: CallId::Number(1), request });
    let actions: Vec<_> = std::iter::from_fn(|| rig.node.poll_action()).collect();
    assert!(matches!(actions[0], Action::Reply { .. }), "{actions:?}");
    assert!(actions.iter().any(|action| matches!(action, Action::Notify { .. })), "{actions:?}");
}

#[test]
fn a_bootstrap_node_alone_answers_calls_and_does_nothing_else() {
    let mut rig = Rig::remembering(NodeConfig { peer: false, ..config() }, vec![peer(1)]);
    assert!(rig.orders.is_empty() && rig.node.next_deadline().is_none() && !rig.node.has_work());
    let Ok(Reply::Status(status)) = rig.call(Request::Status) else { panic!("status") };
    assert_eq!((status.listen, status.advertise, status.peers), (None, None, 0));
    let Ok(Reply::Peers(rows)) = rig.call(Request::Peers) else { panic!("peers") };
    assert!(rows.is_empty() && files(&mut rig, None).files.iter().next().is_none());
    for request in [
        Request::Search { text: RawText::new("a"), max: None, ttl: None },
        Request::List { peer: peer(1) },
        Request::Download { what: vec![], output: None },
        Request::Rescan,
    ] {
        let error = rig.call(request).unwrap_err();
        assert!(error.message.contains("bootstrap node only"), "{error}");
    }
    let exchange = rig.request(peer(1), Message::ListFiles { p1: false });
    let refused = rig.take(|order| match order {
        Action::Refuse { exchange, reason } => Some((*exchange, *reason)),
        _ => None,
    });
    assert_eq!(refused, [(exchange, Refusal::WrongNode)]);
    rig.handle(Event::Leave);
    assert!(matches!(rig.orders[..], [Action::Left]), "{:?}", rig.orders);
}

#[test]
fn calls_that_belong_to_the_daemon_are_answered_too() {
    let mut rig = Rig::new(config());
    for request in [Request::Reload, Request::Stop, Request::LogLevel { level: "info".into() }] {
        assert_eq!(rig.call(request).unwrap_err().code, ExitCode::Other as i32);
    }
    let Ok(Reply::Bootstrap(reply)) = rig.call(Request::Bootstrap { after: None }) else { panic!("bootstrap") };
    assert_eq!((reply.links.len(), reply.registry), (1, None));
    rig.handle(Event::Leave);
    assert!(rig.call(Request::Status).is_ok());
    assert!(rig.call(Request::Rescan).unwrap_err().message.contains("leaving"));
}
