//! The order of turns, as users change it.

use super::recalling::{record, restarted};
use super::*;
use crate::control::{ExitCode, MoveTo};
use crate::node::contract::RecordState;

/// One place, and these files wanted of a peer.
fn wanting(names: &[&str]) -> Rig {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), max_downloads: 1, ..config() });
    download(&mut rig, names.iter().map(|name| file(peer(1), name)).collect());
    rig.orders.clear();
    rig
}

/// The queued downloads as they are numbered.
pub(super) fn queue(rig: &mut Rig) -> Vec<u32> {
    let Ok(Reply::Downloads(reply)) = rig.call(Request::Downloads { after: 0 }) else { panic!("downloads") };
    assert!(reply.downloads.iter().all(|row| row.place.is_some() == (row.state == DownloadState::Queued)));
    let mut places: Vec<_> = reply.downloads.iter().filter_map(|row| Some((row.place?, row.id))).collect();
    places.sort_unstable();
    assert!(places.iter().zip(1..).all(|((place, _), expected)| *place == expected), "{places:?}");
    places.into_iter().map(|(_, id)| id).collect()
}

pub(super) fn shift(rig: &mut Rig, id: u32, to: MoveTo) -> DownloadRow {
    order(rig, Request::Move { id: id.to_string(), to }).downloads.remove(0)
}

#[test]
fn a_queued_download_is_moved_and_has_its_turn_in_its_place() {
    let mut rig = wanting(&["a", "b", "c", "d", "e"]);
    assert_eq!(queue(&mut rig), [2, 3, 4, 5]);
    for (id, to, expected, changed) in [
        (4, MoveTo::Up, [2, 4, 3, 5], 2),
        (2, MoveTo::Down, [4, 2, 3, 5], 2),
        (5, MoveTo::Top, [5, 4, 2, 3], 1),
        (4, MoveTo::Bottom, [5, 2, 3, 4], 1),
        (5, MoveTo::Up, [5, 2, 3, 4], 0),
        (5, MoveTo::Top, [5, 2, 3, 4], 0),
        (4, MoveTo::Down, [5, 2, 3, 4], 0),
        (4, MoveTo::Bottom, [5, 2, 3, 4], 0),
        (3, MoveTo::Top, [3, 5, 2, 4], 1),
    ] {
        let place = shift(&mut rig, id, to).place.unwrap();
        assert_eq!(remembered(&mut rig).len(), changed, "{id} {to:?}");
        assert_eq!(queue(&mut rig), expected, "{id} {to:?}");
        assert_eq!(expected[place as usize - 1], id);
    }
    // A new one is behind those that were moved behind all others.
    download(&mut rig, vec![file(peer(1), "f")]);
    assert_eq!(queue(&mut rig), [3, 5, 2, 4, 6]);
    rig.call(Request::Cancel { ids: "1".into() }).unwrap();
    assert_eq!(state(&mut rig, 3), DownloadState::Active, "the first has its turn");
}

#[test]
fn the_order_is_the_same_after_a_restart() {
    let mut rig = wanting(&["a", "b", "c", "d"]);
    shift(&mut rig, 4, MoveTo::Top);
    shift(&mut rig, 2, MoveTo::Bottom);
    let moved = remembered(&mut rig);
    let places: Vec<_> = moved.iter().map(|record| (record.id.0, record.place)).collect();
    let records = (1..=4).map(|id| {
        let place = places.iter().rev().find(|(of, _)| *of == id).map_or(id.into(), |(_, place)| *place);
        DownloadRecord { place, ..record(id, None, RecordState::Waiting) }
    });
    let config = NodeConfig { bootstraps: Vec::new(), max_downloads: 1, ..config() };
    let mut rig = restarted(config, records.collect(), 4);
    assert_eq!(state(&mut rig, 1), DownloadState::Active);
    assert_eq!(queue(&mut rig), [4, 3, 2]);
}

#[test]
fn only_one_that_is_queued_is_moved() {
    let mut rig = wanting(&["a", "b", "c"]);
    rig.call(Request::Pause { ids: "3".into() }).unwrap();
    for (id, code, told) in [
        ("1", ExitCode::Other, "download 1 is active"),
        ("3", ExitCode::Other, "download 3 is paused"),
        ("7", ExitCode::NotFound, "no such id: 7"),
        ("1-2", ExitCode::Usage, "move takes one id"),
        ("x", ExitCode::Usage, "not an id"),
    ] {
        let error = rig.call(Request::Move { id: id.into(), to: MoveTo::Top }).unwrap_err();
        assert!(error.code == code as i32 && error.message.contains(told), "{error}");
    }
}
