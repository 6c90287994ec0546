//! Downloads that are not in the list any more, and how they ended.

use super::recalling::{record, restarted};
use super::*;
use crate::control::{CallError, EventKind, EventRow, ExitCode};
use crate::node::Node;
use crate::node::contract::RecordState;
use std::rc::Rc;

/// The end of a download, or what has happened last to a wish.
fn event(id: u64, download: u32, kind: EventKind) -> (TransferId, Vec<Rc<EventRow>>) {
    let error = (kind == EventKind::Failed).then(|| CallError { code: 9, message: "full".into() });
    let blank = EventRow::blank(kind, id, "0123abcd".into(), 1_700_000_000);
    let path = Some(RawText::new(format!("/d/{download}")));
    let row = EventRow { download: Some(download), size: Some(5), verified: true, path, error, ..blank };
    (TransferId(download), vec![Rc::new(row)])
}

/// A node in a later run, which has one download in its list, the paused 42, and events of others.
fn later(events: Vec<(TransferId, Vec<Rc<EventRow>>)>) -> Rig {
    let config = NodeConfig { bootstraps: Vec::new(), ..config() };
    let mut rig = restarted(config.clone(), Vec::new(), 0);
    let downloads = vec![record(42, Some(B3), RecordState::Paused)];
    let remembered = Remembered { downloads, events, download_last: 42, ..Remembered::default() };
    rig.node = Node::new(rig.now, config, [6; 32], remembered);
    rig
}

/// The ids, the states, and the codes of the errors.
fn followed(rig: &mut Rig, ids: &str) -> Result<Vec<(u32, DownloadState, Option<i32>)>, CallError> {
    match rig.call(Request::Follow { ids: ids.into() })? {
        Reply::Downloads(reply) => {
            let rows = reply.downloads.iter();
            Ok(rows.map(|row| (row.id, row.state, row.error.as_ref().map(|error| error.code))).collect())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_that_has_left_the_list_has_the_end_that_the_event_log_tells() {
    use DownloadState::{Cancelled, Done, Failed, Paused};
    let mut rig = later(vec![
        event(1, 3, EventKind::Done),
        event(2, 4, EventKind::Failed),
        event(3, 5, EventKind::Cancelled),
        event(4, 6, EventKind::Begun),
        event(5, 7, EventKind::Wish),
    ]);
    assert_eq!(followed(&mut rig, "3"), Ok(vec![(3, Done, None)]));
    assert_eq!(
        followed(&mut rig, "4,5"),
        Ok(vec![(4, Failed, Some(9)), (5, Cancelled, None)]),
        "4 is not taken for 42"
    );
    let all_known = [(3, Done, None), (4, Failed, Some(9)), (5, Cancelled, None), (42, Paused, None)];
    assert_eq!(followed(&mut rig, "1-99"), Ok(all_known.to_vec()));
    assert_eq!(followed(&mut rig, "all"), Ok(vec![(42, Paused, None)]), "those that are unfinished");
    for unknown in ["6", "7", "8"] {
        assert_eq!(followed(&mut rig, unknown).unwrap_err().code, ExitCode::NotFound as i32, "{unknown}");
    }
    let Ok(Reply::Downloads(reply)) = rig.call(Request::Follow { ids: "3".into() }) else { panic!("rows") };
    let row = &reply.downloads[0];
    assert_eq!((row.path.as_ref().unwrap().as_bytes(), row.bytes_done, row.verified), (&b"/d/3"[..], 5, true));
    for other in [Request::Retry { ids: "3".into() }, Request::Cancel { ids: "3".into() }] {
        assert!(rig.call(other).is_err(), "nothing can be done about it");
    }
}

#[test]
fn one_that_was_forgotten_is_told_of_and_many_are_told_of_by_pages() {
    let mut rig = later((1..=1200).map(|id| event(id, id as u32 + 100, EventKind::Done)).collect());
    let Ok(Reply::Downloads(page)) = rig.call(Request::Follow { ids: "101-1300".into() }) else { panic!("rows") };
    assert!(
        (1..=500).contains(&page.downloads.len()) && page.ids.len() == 1200,
        "{} of {}",
        page.downloads.len(),
        page.ids.len()
    );
    order(&mut rig, Request::Cancel { ids: "42".into() });
    rig.call(Request::ForgetDownloads { ids: "42".into() }).unwrap();
    assert_eq!(followed(&mut rig, "42"), Ok(vec![(42, DownloadState::Cancelled, None)]));
}
