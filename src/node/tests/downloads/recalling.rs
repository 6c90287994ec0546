//! Downloads over a restart.

use super::*;
use crate::control::{CallError, ExitCode};
use crate::node::Node;
use crate::node::contract::{PartSpec, RecordKind, RecordState, SourceRecord};
use crate::time::Instant;

pub(super) fn record(id: u32, b3: Option<ContentHash>, state: RecordState) -> DownloadRecord {
    let target = Target::Suggested { directory: "/downloads".into(), name: name("a") };
    let source = |n, p1| SourceRecord { addr: peer(n), names: vec![name(&format!("dir {id}/a"))], p1, is_chosen: true };
    DownloadRecord {
        id: TransferId(id),
        spec: PartSpec { target, token: 100 + id, filesystem: None },
        name: name(&format!("dir {id}/a")),
        size: Some(4 * MIB),
        b3,
        learnt_from: None,
        state,
        error: None,
        bytes_done: 0,
        place: i64::from(id),
        sources: vec![source(1, true), source(2, false)],
        events: Vec::new(),
        kind: RecordKind::File,
    }
}

pub(super) fn restarted(config: NodeConfig, downloads: Vec<DownloadRecord>, download_last: u32) -> Rig {
    let mut rig = Rig::new(config.clone());
    rig.node = Node::new(
        Instant::from_ms(1_700_000_000_000),
        config,
        [5; 32],
        Remembered { peers: remembered_peers(Vec::new()), downloads, download_last, ..Remembered::default() },
    );
    rig.orders.clear();
    rig.handle(Event::ClientGone { client: CLIENT });
    rig
}

#[test]
fn a_cancelled_download_stays_cancelled_and_its_part_file_is_removed_after_a_crash() {
    let config = NodeConfig { bootstraps: Vec::new(), ..config() };
    let mut rig = restarted(config.clone(), vec![record(3, Some(B3), RecordState::Paused)], 3);
    rig.call(Request::Cancel { ids: "3".into() }).unwrap();
    let told: Vec<_> = rig.take(|action| match action {
        Action::RememberDownload { record, .. } => Some(format!("{:?}", record.state)),
        Action::DropPart { download, .. } => Some(format!("part of {}", download.0)),
        Action::ForgetDownload { download } => Some(format!("forget {}", download.0)),
        _ => None,
    });
    assert_eq!(told, ["Dropped", "part of 3", "forget 3"], "in this order");

    // What the next run finds if the process died after the first of them.
    let mut rig = restarted(config, vec![record(3, Some(B3), RecordState::Dropped)], 3);
    assert!(rig.call(Request::Follow { ids: "3".into() }).is_err(), "it is no download any more");
    let told: Vec<_> = rig.take(|action| match action {
        Action::DropPart { download, .. } | Action::ForgetDownload { download } => Some(download.0),
        _ => None,
    });
    assert_eq!(told, [3, 3]);
}

#[test]
fn downloads_continue_after_a_restart_in_their_order_and_paused_ones_stay_paused() {
    let config = NodeConfig { bootstraps: Vec::new(), max_downloads: 2, ..config() };
    use RecordState::Waiting;
    let records = [(3, Some(B3), Waiting), (5, None, RecordState::Paused), (8, None, Waiting), (9, None, Waiting)];
    let records = records.into_iter().map(|(id, b3, state)| record(id, b3, state)).collect();
    let mut rig = restarted(config, records, 12);
    let Ok(Reply::Downloads(reply)) = rig.call(Request::Downloads { after: 0 }) else { panic!("rows") };
    let states: Vec<_> = reply.downloads.iter().map(|row| (row.id, row.state)).collect();
    use DownloadState::{Active, Paused, Queued};
    assert_eq!(states, [(3, Active), (5, Paused), (8, Active), (9, Queued)]);
    let specs = rig.take(|order| match order {
        Action::OpenPart { download, spec, b3, .. } => Some((download.0, spec.token, *b3)),
        _ => None,
    });
    assert_eq!(specs, [(3, 103, Some(B3)), (8, 108, None)], "each takes up its own part file");

    let mut groups = Groups::none(4);
    groups.insert(3);
    let part = OpenedPart::Ready { path: "/downloads/a".into(), resumed: Some((4 * MIB, groups)), filesystem: None };
    rig.handle(Event::PartOpened { download: TransferId(3), outcome: Ok(part) });
    let first = fetch(&mut rig);
    assert_eq!((first.to, first.groups()), (peer(1), 0..2), "it is known to speak p1");
    assert_eq!(row(&mut rig, 3).bytes_done, MIB);

    rig.handle(Event::PartOpened { download: TransferId(8), outcome: ready("/downloads/a") });
    let asked = metadata(&mut rig);
    assert_eq!((asked[0].1, asked[0].2), (peer(1), None));
    rig.fail(asked[0].0, DialFault::TimedOut);
    assert_eq!(fetch(&mut rig).to, peer(2));

    assert_eq!(download(&mut rig, vec![file(peer(9), "z")]).downloads[0].id, 13, "no id is given twice");
    assert_eq!(download(&mut rig, vec![file(peer(1), "dir 9/a")]).downloads[0].id, 9, "it is there already");
    order(&mut rig, Request::Cancel { ids: "5".into() });
    assert_eq!(dropped(&mut rig), 1, "its part file lies there from the earlier run");
}

#[test]
fn a_size_that_was_not_proved_before_the_restart_is_asked_for_again() {
    let config = NodeConfig { bootstraps: Vec::new(), ..config() };
    let mut rig = restarted(config, vec![record(1, Some(B3), RecordState::Waiting)], 1);
    open_resumed(&mut rig, 4 * MIB, [0, 1]);
    assert!(fetches(&mut rig).is_empty(), "who gave the outline is not known any more");
    outline(&mut rig, 4 * MIB);
    assert_eq!(row(&mut rig, 1).bytes_done, 2 * MIB, "the same again changes nothing");
    let proof = fetch(&mut rig);
    assert_eq!(proof.groups(), 3..4);
    bring(&mut rig, &proof);
    assert_eq!(fetch(&mut rig).groups(), 2..3);
}

/// What the node of a record shows after a restart.
fn row_after(state: RecordState, error: Option<(ExitCode, &str)>, bytes_done: u64) -> (Rig, DownloadRow) {
    let config = NodeConfig { bootstraps: Vec::new(), ..config() };
    let error = error.map(|(code, message)| CallError::new(code, message));
    let mut rig = restarted(config, vec![DownloadRecord { error, bytes_done, ..record(1, Some(B3), state) }], 1);
    let row = row(&mut rig, 1);
    (rig, row)
}

#[test]
fn states_causes_and_progress_survive_a_restart() {
    let failed = RecordState::Failed { keeps_part: true };
    let cause = (ExitCode::Checksum, "every source sent wrong bytes");
    let (mut rig, shown) = row_after(failed, Some(cause), 3 * MIB);
    assert_eq!((shown.state, shown.bytes_done, shown.size), (DownloadState::Failed, 3 * MIB, Some(4 * MIB)));
    assert_eq!(shown.error, Some(Box::new(CallError::new(cause.0, cause.1))));
    assert!(opened(&mut rig).is_empty() && dropped(&mut rig) == 0);
    // The same may be requested again, and a retry continues with the groups that are there.
    order(&mut rig, Request::Retry { ids: "1".into() });
    open_resumed(&mut rig, 4 * MIB, [0, 1, 3]);
    assert_eq!((state(&mut rig, 1), row(&mut rig, 1).bytes_done), (DownloadState::Active, 3 * MIB));

    let (mut rig, shown) = row_after(RecordState::Failed { keeps_part: false }, Some(cause), MIB);
    assert_eq!((shown.state, shown.bytes_done, dropped(&mut rig)), (DownloadState::Failed, MIB, 1));
    order(&mut rig, Request::Cancel { ids: "1".into() });
    assert_eq!((state(&mut rig, 1), forgotten(&mut rig).len()), (DownloadState::Cancelled, 1));

    let (mut rig, shown) = row_after(RecordState::Paused, None, 2 * MIB);
    assert_eq!((shown.state, shown.bytes_done, shown.error), (DownloadState::Paused, 2 * MIB, None));
    assert!(opened(&mut rig).is_empty());

    // A download that the disk had paused is tried at once.
    let cause = (ExitCode::DiskFull, "the disk is full");
    let (mut rig, shown) = row_after(RecordState::Waiting, Some(cause), 2 * MIB);
    assert_eq!((shown.state, shown.bytes_done, opened(&mut rig).len()), (DownloadState::Active, 2 * MIB, 1));
    rig.handle(Event::PartOpened { download: TransferId(1), outcome: Err(DiskFault::Full) });
    assert_eq!((state(&mut rig, 1), row(&mut rig, 1).error.unwrap().code), (DownloadState::Paused, 9));
}

#[test]
fn every_state_in_which_a_download_waits_is_remembered() {
    let last = |rig: &mut Rig| remembered(rig).pop().unwrap();
    let mut rig = begun(4 * MIB, 1);
    order(&mut rig, Request::Pause { ids: "1".into() });
    let record = last(&mut rig);
    assert_eq!((record.state, record.bytes_done, record.error), (RecordState::Paused, MIB, None));

    let mut rig = begun(4 * MIB, 1);
    let asked = fetch(&mut rig);
    rig.fail(asked.exchange, DialFault::Disk(DiskFault::Full));
    let record = last(&mut rig);
    assert_eq!((record.state, record.bytes_done), (RecordState::Waiting, MIB));
    assert_eq!(record.error.unwrap().code, 9);

    // It has failed for good: a file of the user's has its name.
    let mut rig = begun(4 * MIB, 1);
    bring_everything(&mut rig);
    check(&mut rig, 4 * MIB);
    let download = committing(&mut rig);
    rig.handle(Event::PartCommitted { download, outcome: Err(DiskFault::Exists) });
    let record = last(&mut rig);
    assert_eq!((record.state, record.bytes_done), (RecordState::Failed { keeps_part: true }, 4 * MIB));
    assert_eq!(record.error.unwrap().code, 13);

    // The node leaves in the middle of it.
    let mut rig = begun(4 * MIB, 1);
    remembered(&mut rig);
    rig.handle(Event::Leave);
    assert_eq!((last(&mut rig).state, forgotten(&mut rig).len()), (RecordState::Waiting, 0));
}

#[test]
fn a_bootstrap_node_alone_does_not_continue_downloads() {
    let config = NodeConfig { peer: false, ..config() };
    let mut rig = restarted(config, vec![record(1, Some(B3), RecordState::Waiting)], 1);
    assert!(opened(&mut rig).is_empty() && forgotten(&mut rig).is_empty());
}

#[test]
fn more_downloads_than_may_be_unfinished_are_all_taken_up_and_a_new_one_begins_when_there_is_room() {
    let all = 10_002;
    let records = (1..=all).map(|id| record(id, None, RecordState::Waiting)).collect();
    let mut rig = restarted(NodeConfig { bootstraps: Vec::new(), ..config() }, records, all);
    assert_eq!(rig.node.status(rig.now).downloads_queued + opened(&mut rig).len() as u64, u64::from(all));
    let more = || Request::Download { what: vec![file(peer(3), "new")], output: None };
    let error = rig.call(more()).unwrap_err();
    assert!(error.message.contains("at most 10000 downloads may be unfinished, 0 more than now"), "{error}");
    // Two more of them than may be, and one that makes room. Their part files are still being opened.
    rig.call(Request::Cancel { ids: "1-3".into() }).unwrap();
    assert!(rig.call(more()).is_err());
    for id in 1..=3 {
        rig.handle(Event::PartOpened { download: TransferId(id), outcome: ready("/downloads/x") });
    }
    assert_eq!(download(&mut rig, vec![file(peer(3), "new")]).downloads[0].id, all + 1);
}
