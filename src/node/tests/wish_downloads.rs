//! Downloads that begin for wishes: when, and how many at a time.

use super::rig::*;
use super::wishes::{downloads, file, order, query, recalled, records, replies};
use crate::control::{RawText, Request};
use crate::id::{ContentHash, TransferId};
use crate::node::contract::{Event, FoundFile, FoundState, WishRecord};
use crate::node::limits::ORDER_DOWNLOADS_PER_SLICE;
use std::time::Duration;

#[test]
fn a_download_that_ends_before_its_record_is_written_is_not_begun_again() {
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
    rig.begin_call(Request::Cancel { ids: "2".into() });
    rig.handle(Event::Recorded { download: TransferId(2), revision: 100, outcome: Ok(()) });
    assert_eq!(replies(&mut rig).len(), 1);
    rig.pass(Duration::from_secs(60));
    assert_eq!(downloads(&mut rig), 1);
    let (record, _) = records(&mut rig).pop().expect("saved");
    assert_eq!(record.found[0].state, FoundState::Begun(TransferId(2)));
}

#[test]
fn many_downloads_for_wishes_begin_some_at_a_time() {
    let found = |n: u8| FoundFile {
        name: name(&format!("song {n}")),
        size: Some(9),
        b3: Some(ContentHash([n; 32])),
        peer: peer(1),
        state: FoundState::Wanted,
    };
    let record = WishRecord {
        id: TransferId(1),
        text: RawText::new("song"),
        since: 0,
        download: true,
        limit: Some(500),
        found: (1..=100).map(found).collect(),
        events: Vec::new(),
    };
    let mut rig = recalled(vec![record]);
    while downloads(&mut rig) == 0 {
        rig.jump();
    }
    assert_eq!(downloads(&mut rig), ORDER_DOWNLOADS_PER_SLICE);
    rig.pass(Duration::from_secs(1));
    assert_eq!(downloads(&mut rig), 100);
}
