//! Downloads that begin for wishes: when, and how many at a time.

use super::rig::*;
use super::wishes::{asked, downloads, file, order, query, recalled, recalled_with, records, replies};
use crate::audience::{Audience, Audiences};
use crate::control::{EventKind, EventRow, RawText, Reply, Request, Selector, WishState};
use crate::fault::DiskFault;
use crate::id::{ContentHash, TransferId};
use crate::node::contract::{Event, FoundFile, FoundState, HashedFile, NodeConfig, OpenedPart, Remembered, WishRecord};
use crate::node::limits::ORDER_DOWNLOADS_PER_SLICE;
use std::rc::Rc;
use std::time::Duration;

fn found(n: u8) -> FoundFile {
    let (name, b3) = (name(&format!("song {n}")), Some(ContentHash([n; 32])));
    FoundFile { name, size: Some(9), b3, peer: peer(1), state: FoundState::Reported }
}

fn wish_for(found: Vec<FoundFile>) -> WishRecord {
    let (id, text) = (TransferId(1), RawText::new("song"));
    WishRecord { id, text, since: 0, download: true, limit: None, found, events: Vec::new() }
}

/// Wish 1 has begun download 2, of which no record is written.
fn begun_without_record() -> Rig {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.call(order("song", true, None)).unwrap();
    let id = query(&mut rig);
    rig.hit(&id, peer(1), file("song", 9, 1));
    rig.pass(Duration::from_millis(50));
    rig.remembers = false;
    records(&mut rig);
    rig.pass(Duration::from_secs(1));
    let (_, revision) = records(&mut rig).pop().expect("saved");
    rig.handle(Event::Recorded { download: TransferId(1), revision, outcome: Ok(()) });
    rig
}

#[test]
fn a_download_that_ends_before_its_record_is_written_is_not_begun_again() {
    let mut rig = begun_without_record();
    rig.begin_call(Request::Cancel { ids: "2".into() });
    rig.handle(Event::Recorded { download: TransferId(2), revision: 100, outcome: Ok(()) });
    assert_eq!(replies(&mut rig).len(), 1);
    rig.pass(Duration::from_secs(60));
    assert_eq!(downloads(&mut rig), 1);
    let (record, _) = records(&mut rig).pop().expect("saved");
    assert_eq!(record.found[0].state, FoundState::Failed(TransferId(2)));
}

#[test]
fn what_is_shared_is_not_downloaded_for_a_wish_unless_its_share_is_not_for_all() {
    for (audience, expected) in [(Audience::all(), 0), (Audience::of(["192.0.2.0/24"]).unwrap(), 1)] {
        let mut rig = Rig::among(vec![peer(1)], &[("home/song 1", 9)]);
        let outcome = Ok(ContentHash([1; 32]));
        rig.handle(Event::Hashed { files: vec![HashedFile { file: scanned("home/song 1", 9), outcome }] });
        let audiences = Audiences::new(Audience::all(), [("home", audience)]);
        let config = NodeConfig { audiences, ..rig.node.config().clone() };
        rig.handle(Event::Reconfigure(Box::new(config)));
        rig.call(order("song", true, None)).unwrap();
        let id = query(&mut rig);
        rig.hit(&id, peer(1), file("song", 9, 1));
        rig.pass(Duration::from_secs(1));
        assert_eq!(downloads(&mut rig), expected);
    }
}

/// Whoever wishes for what could not be had wants it still.
#[test]
fn a_content_whose_download_was_cancelled_may_be_wished_for() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.call(Request::Download { what: vec![Selector::Content(ContentHash([1; 32]).to_string())], output: None })
        .unwrap();
    let find = |rig: &mut Rig| {
        let asks = (0..100).find_map(|_| asked(rig, Duration::from_secs(30)).pop());
        let id = asks.expect("the wish asks again").0.id;
        rig.hit(&id, peer(1), file("song", 9, 1));
        rig.pass(Duration::from_secs(1));
        row(rig).1[0]
    };
    rig.call(order("song", false, None)).unwrap();
    assert_eq!(find(&mut rig), 0, "it is being fetched");
    rig.call(Request::Cancel { ids: "1".into() }).unwrap();
    assert_eq!(find(&mut rig), 1);
}

fn row(rig: &mut Rig) -> (WishState, [u64; 4]) {
    let Ok(Reply::Wishes(reply)) = rig.call(Request::Wishes { after: 0 }) else { panic!("rows") };
    let row = &reply.wishes[0];
    (row.state, [row.found, row.begun, row.done, row.failed])
}

/// The file of a download turns out to be there already.
fn finish(rig: &mut Rig, download: u32) {
    let part = OpenedPart::AlreadyThere { path: "/downloads/a".into() };
    rig.handle(Event::PartOpened { download: TransferId(download), outcome: Ok(part) });
}

#[test]
fn a_download_that_fails_or_is_cancelled_makes_room_for_another_content() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.call(order("song", true, Some(2))).unwrap();
    let id = query(&mut rig);
    for (name, b3) in [("song a", 1), ("song b", 2), ("song c", 3)] {
        rig.hit(&id, peer(1), file(name, 9, b3));
    }
    rig.pass(Duration::from_secs(1));
    assert_eq!(row(&mut rig), (WishState::Downloading, [2, 2, 0, 0]));
    assert!(asked(&mut rig, Duration::from_secs(600)).is_empty(), "as many as are wished for are in progress");
    rig.call(Request::Cancel { ids: "2".into() }).unwrap();
    assert_eq!(row(&mut rig), (WishState::Looking, [2, 2, 0, 1]));
    let id = query(&mut rig);
    for (name, b3) in [("song a", 1), ("song c", 3), ("song d", 4)] {
        rig.hit(&id, peer(1), file(name, 9, b3));
    }
    rig.pass(Duration::from_secs(1));
    assert_eq!(row(&mut rig), (WishState::Downloading, [3, 3, 0, 1]), "what was cancelled is not begun again");
    finish(&mut rig, 3);
    assert_eq!(row(&mut rig), (WishState::Downloading, [3, 3, 1, 1]));
    finish(&mut rig, 4);
    assert_eq!(row(&mut rig), (WishState::Fulfilled, [3, 3, 2, 1]));
    assert!(asked(&mut rig, Duration::from_secs(600)).is_empty());
    let (record, _) = records(&mut rig).pop().expect("saved");
    let states: Vec<_> = record.found.iter().map(|file| file.state).collect();
    let [a, b, c] = [2, 3, 4].map(TransferId);
    assert_eq!(states, [FoundState::Failed(a), FoundState::Done(b), FoundState::Done(c)]);
}

/// What an earlier run knew of the end of a download.
fn ended(download: u32, kind: EventKind) -> (TransferId, Vec<Rc<EventRow>>) {
    let event = EventRow { download: Some(download), ..EventRow::blank(kind, download.into(), "log".into(), 0) };
    (TransferId(download), vec![Rc::new(event)])
}

/// The process was killed before the wish was saved with how its downloads have ended.
#[test]
fn the_next_run_learns_how_downloads_have_ended_from_the_event_log() {
    let recalled = |states: &[FoundState]| {
        let found = (1..).zip(states).map(|(n, state)| FoundFile { state: *state, ..found(n) }).collect();
        let events = vec![ended(5, EventKind::Done), ended(6, EventKind::Failed), ended(7, EventKind::Cancelled)];
        let wishes = vec![WishRecord { limit: Some(2), ..wish_for(found) }];
        recalled_with(Remembered { wishes, events, ..Remembered::default() })
    };
    let begun = |id: u32| FoundState::Begun(TransferId(id));
    // Of 8 nothing is known any more: it was over long ago.
    let mut rig = recalled(&[begun(5), begun(8)]);
    assert_eq!(row(&mut rig), (WishState::Fulfilled, [2, 2, 2, 0]));
    let mut rig = recalled(&[begun(5), begun(6), begun(7)]);
    assert_eq!(row(&mut rig), (WishState::Looking, [3, 3, 1, 2]));
    rig.pass(Duration::from_secs(1));
    let (record, _) = records(&mut rig).pop().expect("saved");
    assert_eq!(record.found[2].state, FoundState::Failed(TransferId(7)));
    let id = query(&mut rig);
    rig.hit(&id, peer(1), file("song 2", 9, 2));
    rig.hit(&id, peer(1), file("song 9", 9, 9));
    rig.pass(Duration::from_secs(1));
    assert_eq!(row(&mut rig), (WishState::Downloading, [4, 4, 1, 2]));
}

#[test]
fn a_download_that_failed_and_is_tried_again_counts_when_it_is_done() {
    let mut rig = begun_without_record();
    rig.remembers = true;
    // Its record cannot be written, and then that it has failed can.
    rig.handle(Event::Recorded { download: TransferId(2), revision: 1, outcome: Err(DiskFault::Full) });
    rig.pass(Duration::from_secs(1));
    assert_eq!(row(&mut rig), (WishState::Looking, [1, 1, 0, 1]));
    rig.call(Request::Retry { ids: "2".into() }).unwrap();
    finish(&mut rig, 2);
    assert_eq!(row(&mut rig), (WishState::Fulfilled, [1, 1, 1, 0]));
}

#[test]
fn many_downloads_for_wishes_begin_some_at_a_time() {
    let found = (1..=100).map(|n| FoundFile { state: FoundState::Wanted, ..found(n) }).collect();
    let mut rig = recalled(vec![WishRecord { limit: Some(500), ..wish_for(found) }]);
    while downloads(&mut rig) == 0 {
        rig.jump();
    }
    assert_eq!(downloads(&mut rig), ORDER_DOWNLOADS_PER_SLICE);
    rig.pass(Duration::from_secs(1));
    assert_eq!(downloads(&mut rig), 100);
}
