//! Downloads over a restart.

use super::*;
use crate::node::Node;
use crate::node::contract::{PartSpec, SourceRecord};
use crate::time::Instant;

fn record(id: u32, b3: Option<ContentHash>, paused: bool) -> DownloadRecord {
    let target = Target::Suggested { directory: "/downloads".into(), name: name("a") };
    let source = |n, p1| SourceRecord { addr: peer(n), names: vec![name(&format!("dir {id}/a"))], p1 };
    DownloadRecord {
        id: TransferId(id),
        spec: PartSpec { target, token: 100 + id, filesystem: None },
        name: name(&format!("dir {id}/a")),
        size: Some(4 * MIB),
        b3,
        learnt_from: None,
        paused,
        dropped: false,
        sources: vec![source(1, true), source(2, false)],
    }
}

pub(super) fn restarted(config: NodeConfig, downloads: Vec<DownloadRecord>, download_last: u32) -> Rig {
    let mut rig = Rig::new(config.clone());
    rig.node = Node::new(
        Instant::from_ms(1_700_000_000_000),
        config,
        [5; 32],
        Remembered { peers: Vec::new(), downloads, download_last },
    );
    rig.orders.clear();
    rig.handle(Event::ClientGone { client: CLIENT });
    rig
}

#[test]
fn a_cancelled_download_does_not_come_back_and_its_part_file_goes_though_the_process_died_over_it() {
    let config = NodeConfig { bootstraps: Vec::new(), ..config() };
    let mut rig = restarted(config.clone(), vec![record(3, Some(B3), true)], 3);
    rig.call(Request::Cancel { ids: "3".into() }).unwrap();
    let told: Vec<_> = rig.take(|action| match action {
        Action::RememberDownload(record) => Some(format!("dropped: {}", record.dropped)),
        Action::DropPart { download, .. } => Some(format!("part of {}", download.0)),
        Action::ForgetDownload { download } => Some(format!("forget {}", download.0)),
        _ => None,
    });
    assert_eq!(told, ["dropped: true", "part of 3", "forget 3"], "in this order");

    // As the next run finds it, if the process died behind the first of them.
    let mut rig = restarted(config, vec![DownloadRecord { dropped: true, ..record(3, Some(B3), true) }], 3);
    assert!(rig.call(Request::Follow { ids: "3".into() }).is_err(), "it is no download any more");
    let told: Vec<_> = rig.take(|action| match action {
        Action::DropPart { download, .. } | Action::ForgetDownload { download } => Some(download.0),
        _ => None,
    });
    assert_eq!(told, [3, 3]);
}

#[test]
fn downloads_go_on_after_a_restart_in_their_order_and_paused_ones_stay_paused() {
    let config = NodeConfig { bootstraps: Vec::new(), max_downloads: 2, ..config() };
    let records =
        vec![record(3, Some(B3), false), record(5, None, true), record(8, None, false), record(9, None, false)];
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
    let mut rig = restarted(config, vec![record(1, Some(B3), false)], 1);
    open_resumed(&mut rig, 4 * MIB, [0, 1]);
    assert!(fetches(&mut rig).is_empty(), "who gave the outline is not known any more");
    outline(&mut rig, 4 * MIB);
    assert_eq!(row(&mut rig, 1).bytes_done, 2 * MIB, "the same again changes nothing");
    let proof = fetch(&mut rig);
    assert_eq!(proof.groups(), 3..4);
    bring(&mut rig, &proof);
    assert_eq!(fetch(&mut rig).groups(), 2..3);
}

#[test]
fn what_was_accepted_is_remembered_before_the_answer() {
    let mut rig = with_content(4 * MIB, 2);
    rig.node.handle(
        rig.now,
        Event::Call {
            client: CLIENT,
            call: crate::control::CallId::Number(77),
            request: Request::Download { what: hits("1"), output: None },
        },
    );
    let actions: Vec<_> = std::iter::from_fn(|| rig.node.poll_action()).collect();
    let at = |fits: fn(&Action) -> bool| actions.iter().position(fits).unwrap();
    let kept = at(|action| matches!(action, Action::RememberDownload(_)));
    let answered = at(|action| matches!(action, Action::Reply { .. }));
    let told = at(|action| matches!(action, Action::Notify { .. }));
    assert!(kept < answered && answered < told);
    let Action::RememberDownload(record) = &actions[kept] else { panic!("a record") };
    assert_eq!((record.b3, record.size, record.paused), (Some(B3), Some(4 * MIB), false));
    let expected = [1, 2].map(|n| SourceRecord { addr: peer(n), names: vec![name("dir/a.txt")], p1: true });
    assert_eq!(record.sources, expected);
}

#[test]
fn a_bootstrap_node_alone_takes_up_nothing() {
    let config = NodeConfig { peer: false, ..config() };
    let mut rig = restarted(config, vec![record(1, Some(B3), false)], 1);
    assert!(opened(&mut rig).is_empty() && forgotten(&mut rig).is_empty());
}
