//! The event log: what downloads came to, with ids, in the records of the downloads.

use super::recalling::{record, restarted};
use super::*;
use crate::control::{CallError, EventKind, EventLogReply, EventRow, IdSpan, Notice};
use crate::node::Node;
use crate::node::contract::RecordState;
use crate::time::WallClock;

fn page(rig: &mut Rig, since: Option<u64>) -> EventLogReply {
    match rig.call(Request::EventLog { since }) {
        Ok(Reply::EventLog(page)) => page,
        other => panic!("{other:?}"),
    }
}

fn refused(rig: &mut Rig, since: u64) -> CallError {
    rig.call(Request::EventLog { since: Some(since) }).unwrap_err()
}

/// The events of the log that a client is notified of: id and kind.
fn sent(rig: &mut Rig) -> Vec<(u64, EventKind)> {
    rig.take(|order| match order {
        Action::Notify { notice, .. } => match &**notice {
            Notice::Logged(event) => Some((event.id, event.event)),
            _ => None,
        },
        _ => None,
    })
}

/// The last record ordered of a download, which then is on the disk.
fn write_last(rig: &mut Rig, id: u32) -> DownloadRecord {
    let ordered = rig.take(|order| match order {
        Action::RememberDownload { record, revision } => Some((DownloadRecord::clone(record), *revision)),
        _ => None,
    });
    let (record, revision) = ordered.into_iter().rfind(|(record, _)| record.id.0 == id).expect("a record");
    rig.handle(Event::Recorded { download: record.id, revision, outcome: Ok(()) });
    record
}

fn ids(events: &[std::rc::Rc<EventRow>]) -> Vec<(u64, EventKind)> {
    events.iter().map(|event| (event.id, event.event)).collect()
}

#[test]
fn a_download_is_done_and_the_event_is_sent_when_one_record_has_both() {
    let mut rig = begun(2 * MIB, 1);
    rig.node.set_wall_clock(WallClock::showing(1_800_000_000_000, rig.now));
    assert_eq!(page(&mut rig, None).last, 1);
    rig.remembers = false;
    bring_everything(&mut rig);
    check(&mut rig, 2 * MIB);
    let download = committing(&mut rig);
    rig.orders.clear();
    let outcome = Ok(CommittedPart { path: PathBuf::from("/downloads/a.txt"), already: false });
    rig.handle(Event::PartCommitted { download, outcome });
    assert_eq!(state(&mut rig, 1), DownloadState::Done);
    assert!(sent(&mut rig).is_empty(), "not before it is on the disk");
    assert_eq!(page(&mut rig, Some(1)).events.len(), 1);
    let order: Vec<_> = rig
        .orders
        .iter()
        .filter_map(|order| match order {
            Action::RememberDownload { .. } => Some("record"),
            Action::ForgetDownload { .. } => Some("forget"),
            _ => None,
        })
        .collect();
    assert_eq!(order, ["record", "forget"]);

    let record = write_last(&mut rig, 1);
    assert_eq!(record.state, RecordState::Dropped, "the next run does not fetch it again");
    assert_eq!(ids(&record.events), [(1, EventKind::Begun), (2, EventKind::Done)]);
    assert_eq!(sent(&mut rig), [(2, EventKind::Done)]);
    let page = page(&mut rig, Some(2));
    let [event] = &page.events[..] else { panic!("{page:?}") };
    assert_eq!((page.last, page.next, page.gone, &page.log), (2, None, None, &event.log));
    assert_eq!((event.time, event.download, event.size, event.verified), (1_800_000_000, Some(1), Some(2 * MIB), true));
    assert_eq!((event.state, &event.b3), (Some(DownloadState::Done), &Some(B3.to_string())));
    assert_eq!(event.path.as_ref().unwrap().as_bytes(), b"/downloads/a.txt");
    assert_eq!(event.name.as_bytes(), b"dir/a.txt");
}

#[test]
fn a_failure_a_retry_and_a_cancellation_are_logged_each_once() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    assert_eq!(page(&mut rig, Some(0)).events, []);
    download(&mut rig, vec![file(peer(1), "a")]);
    open(&mut rig);
    let exchange = fetch(&mut rig).exchange;
    rig.fail(exchange, DialFault::Reset);
    wait_for_the_search(&mut rig);
    assert_eq!(state(&mut rig, 1), DownloadState::Failed);
    let error = page(&mut rig, Some(2)).events[0].error.clone().expect("why");
    assert!(error.message.starts_with("refused by every source"), "{error}");
    order(&mut rig, Request::Retry { ids: "1".into() });
    order(&mut rig, Request::Cancel { ids: "1".into() });
    order(&mut rig, Request::Cancel { ids: "1".into() });
    let kinds = [(1, EventKind::Begun), (2, EventKind::Failed), (3, EventKind::Cancelled)];
    assert_eq!(sent(&mut rig), kinds);
}

#[test]
fn the_next_run_counts_on_and_a_client_of_events_hears_no_event_twice() {
    let run = |id, event| {
        let row = EventRow::blank(event, id, "0123abcd".into(), 1_700_000_000);
        vec![std::rc::Rc::new(row)]
    };
    let mut alone = restarted(config(), Vec::new(), 0);
    let download = DownloadRecord { events: run(8, EventKind::Begun), ..record(4, Some(B3), RecordState::Paused) };
    alone.node = Node::new(
        alone.now,
        config(),
        [6; 32],
        Remembered {
            downloads: vec![download],
            events: vec![(TransferId(3), run(7, EventKind::Done))],
            download_last: 4,
            ..Remembered::default()
        },
    );
    alone.orders.clear();
    let first = page(&mut alone, Some(1));
    assert_eq!((first.log.as_str(), first.last, first.gone), ("0123abcd", 8, Some(IdSpan { first: 1, last: 6 })));
    assert_eq!(first.events.iter().map(|event| event.id).collect::<Vec<_>>(), [7, 8]);
    let error = refused(&mut alone, 10);
    assert!(error.message.starts_with("no event has the id 10 yet: the newest has 8"), "{error}");
    alone.call(Request::Events).unwrap();
    order(&mut alone, Request::Cancel { ids: "4".into() });
    let record = remembered(&mut alone).pop().expect("a record");
    assert_eq!(ids(&record.events), [(8, EventKind::Begun), (9, EventKind::Cancelled)]);
    assert_eq!(sent(&mut alone), [(9, EventKind::Cancelled)], "to the client that follows the log");
    alone.handle(Event::ClientGone { client: CLIENT });
    alone.call(Request::Events).unwrap();
    super::download(&mut alone, vec![file(peer(1), "b")]);
    assert_eq!(sent(&mut alone), [], "`events` is as it was");
}

#[test]
fn nobody_hears_of_a_download_that_was_not_accepted() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    page(&mut rig, None);
    rig.remembers = false;
    let begin = |name| Request::Download { what: vec![file(peer(1), name)], output: None };
    for (call, name) in [(70, "a"), (71, "b")] {
        let call = crate::control::CallId::Number(call);
        rig.handle(Event::Call { client: CLIENT, call, request: begin(name) });
    }
    let revisions = rig.take(|order| match order {
        Action::RememberDownload { record, revision } => Some((record.id, *revision)),
        _ => None,
    });
    let [(first, _), (second, revision)] = revisions[..] else { panic!("{revisions:?}") };
    rig.handle(Event::Recorded { download: second, revision, outcome: Ok(()) });
    assert_eq!(sent(&mut rig), [], "an earlier one may still come");
    rig.handle(Event::Recorded { download: first, revision, outcome: Err(DiskFault::Full) });
    let ordered: Vec<_> = rig
        .orders
        .iter()
        .filter_map(|order| match order {
            Action::ForgetEvents { download, up_to } => Some((*download, *up_to)),
            Action::ForgetDownload { download } => Some((*download, 0)),
            _ => None,
        })
        .collect();
    assert_eq!(ordered, [(first, u64::MAX), (first, 0)], "else its record would stay for its event");
    assert_eq!(sent(&mut rig), [(2, EventKind::Begun)]);
}
