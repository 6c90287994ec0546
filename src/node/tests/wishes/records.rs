//! Records of wishes that come late or fail, and what an earlier run has left.

use super::*;
use crate::control::{ExitCode, Notice, Selector};

/// The records of wishes that are to be removed.
fn removals(rig: &mut Rig) -> Vec<u64> {
    rig.take(|order| match order {
        Action::RememberWish { record: None, revision, .. } => Some(*revision),
        _ => None,
    })
}

fn recorded(rig: &mut Rig, wish: u32, revision: u64, outcome: Result<(), DiskFault>) {
    rig.handle(Event::Recorded { download: TransferId(wish), revision, outcome });
}

#[test]
fn a_wish_that_is_ended_before_it_is_on_the_disk_stays_until_its_record_is_gone() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.remembers = false;
    rig.begin_call(order("song", false, None));
    let (_, first) = records(&mut rig).remove(0);
    rig.begin_call(Request::Unwish { which: RawText::new("song") });
    let last = removals(&mut rig).remove(0);
    recorded(&mut rig, 1, first, Ok(()));
    assert!(replies(&mut rig).is_empty(), "its record is not gone yet");
    // Until then, nobody sees it, and another one of its text may be made.
    assert!(rows(&mut rig).is_empty());
    assert_eq!(rig.call(Request::WishHits { id: 1 }).unwrap_err().code, ExitCode::NotFound as i32);
    assert!(unwish(&mut rig, "song").unwrap_err().message.contains("no such wish"));
    rig.begin_call(order("song", false, None));
    assert_eq!((replies(&mut rig).len(), records(&mut rig).len()), (0, 1));
    recorded(&mut rig, 1, last, Ok(()));
    assert_eq!(replies(&mut rig).len(), 2, "both calls about it");
}

#[test]
fn only_a_wish_that_is_on_the_disk_and_not_ended_is_asked_for() {
    let mut rig = Rig::among((1..=30).map(peer).collect(), &[]);
    wish(&mut rig, "first");
    rig.remembers = false;
    rig.begin_call(order("second", false, None));
    let texts = |rig: &mut Rig| {
        let asked = asked(rig, Duration::from_secs(60));
        let mut texts: Vec<_> =
            asked.iter().map(|(search, _)| String::from_utf8_lossy(&search.text).into_owned()).collect();
        texts.dedup();
        texts
    };
    assert_eq!(texts(&mut rig), ["first"]);
    let (_, revision) = records(&mut rig).pop().unwrap();
    recorded(&mut rig, 2, revision, Ok(()));
    rig.begin_call(Request::Unwish { which: RawText::new("first") });
    assert_eq!(texts(&mut rig), ["second"]);
}

#[test]
fn a_record_that_could_not_be_removed_or_written_is_told() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    wish(&mut rig, "song");
    let id = query(&mut rig);
    rig.remembers = false;
    records(&mut rig);
    rig.hit(&id, peer(1), file("song a", 9, 1));
    rig.pass(Duration::from_secs(1));
    let (_, revision) = records(&mut rig).pop().expect("saved");
    recorded(&mut rig, 1, revision, Err(DiskFault::Full));
    assert!(events(&mut rig).is_empty(), "the event is not on the disk either");
    assert_eq!(rows(&mut rig)[0].error.as_ref().map(|error| error.code), Some(ExitCode::DiskFull as i32));
    replies(&mut rig);

    rig.begin_call(Request::Unwish { which: RawText::new("song") });
    let revision = removals(&mut rig).remove(0);
    recorded(&mut rig, 1, revision, Err(DiskFault::Full));
    let error = replies(&mut rig).remove(0).unwrap_err();
    assert!(error.code == ExitCode::DiskFull as i32 && !error.message.contains("nothing was begun"), "{error}");

    // What is left of a wish that was refused is removed.
    rig.begin_call(order("other", false, None));
    let (_, revision) = records(&mut rig).pop().unwrap();
    recorded(&mut rig, 2, revision, Err(DiskFault::Full));
    assert_eq!(removals(&mut rig).len(), 1);
}

#[test]
fn a_wish_that_is_ended_right_after_it_has_found_something_is_removed_once() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    wish(&mut rig, "song");
    let id = query(&mut rig);
    rig.remembers = false;
    rig.hit(&id, peer(1), file("song a", 9, 1));
    rig.begin_call(Request::Unwish { which: RawText::new("song") });
    rig.pass(Duration::from_secs(1));
    assert_eq!(removals(&mut rig).len(), 1);
}

#[test]
fn what_is_found_is_saved_before_the_node_leaves() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    wish(&mut rig, "song");
    let id = query(&mut rig);
    records(&mut rig);
    rig.hit(&id, peer(1), file("song a", 9, 1));
    rig.handle(Event::Leave);
    let (record, _) = records(&mut rig).pop().expect("saved");
    assert_eq!((record.found.len(), record.events.len()), (1, 1));
    assert_eq!(record.events[0].peers, [peer(1)]);
}

#[test]
fn the_peer_of_a_content_is_the_last_that_has_it_under_its_name() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    wish(&mut rig, "song");
    let id = query(&mut rig);
    for (n, of) in
        [(1, file("song a", 9, 1)), (2, file("song A", 9, 1)), (2, file("song b", 9, 2)), (1, file("song b", 9, 2))]
    {
        rig.hit(&id, peer(n), of);
    }
    rig.pass(Duration::from_secs(1));
    let (record, _) = records(&mut rig).pop().expect("saved");
    assert_eq!(record.found.iter().map(|file| file.peer).collect::<Vec<_>>(), [peer(1), peer(1)]);
    // Without hashes, another size is another file.
    rig.hit(&id, peer(1), file("song c", 9, 0));
    rig.hit(&id, peer(1), file("song c", 8, 0));
    assert_eq!(found(&mut rig), [4]);
}

#[test]
fn a_file_without_a_hash_that_is_a_download_of_its_peer_is_not_new() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let what = vec![Selector::File { peer: peer(1), name: RawText::new("song") }];
    rig.call(Request::Download { what, output: None }).unwrap();
    wish(&mut rig, "song");
    let id = query(&mut rig);
    rig.hit(&id, peer(1), file("song", 9, 0));
    assert_eq!(found(&mut rig), [0]);
    rig.hit(&id, peer(2), file("song", 9, 0));
    assert_eq!(found(&mut rig), [1], "that of another peer is");
}

#[test]
fn long_names_fill_a_wish_sooner_and_most_so_if_they_are_not_utf_8() {
    for (letter, most) in [(b'x', 63), (0xff, 12)] {
        let mut rig = Rig::among(vec![peer(1)], &[]);
        wish(&mut rig, "song");
        let id = query(&mut rig);
        for n in 0..100_u8 {
            let mut bytes = format!("song {n:03}").into_bytes();
            bytes.resize(3_800, letter);
            let name = crate::name::FileName::from_bytes(&bytes).unwrap();
            rig.hit(&id, peer(1), Listed { name, ..file("song", 9, n + 1) });
        }
        let row = rows(&mut rig).remove(0);
        assert_eq!((row.found, row.state), (most, WishState::Full));
    }
}

#[test]
fn rows_say_when_each_wish_has_its_turn_and_come_after_an_id() {
    let mut rig = Rig::among((1..=30).map(peer).collect(), &[]);
    for text in ["a", "b", "c"] {
        wish(&mut rig, text);
    }
    asked(&mut rig, Duration::from_secs(60));
    let mut turns: Vec<_> = rows(&mut rig).iter().map(|row| row.next_ask.unwrap()).collect();
    turns.sort();
    assert_eq!([turns[1] - turns[0], turns[2] - turns[1]], [15, 15]);
    let Ok(Reply::Wishes(page)) = rig.call(Request::Wishes { after: 2 }) else { panic!("wishes") };
    assert_eq!(page.wishes.iter().map(|row| row.id).collect::<Vec<_>>(), [3]);
    // One that has asked every peer rests until its next round.
    let mut rig = Rig::among((1..=3).map(peer).collect(), &[]);
    wish(&mut rig, "a");
    asked(&mut rig, Duration::from_secs(20));
    let row = rows(&mut rig).remove(0);
    assert!(row.next_ask.unwrap() >= row.last_asked.unwrap() + 290, "{row:?}");
}

#[test]
fn a_wish_that_downloads_wants_one_content_unless_it_is_told_otherwise() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    for (text, download, limit) in [("a", true, None), ("b", false, None), ("c", true, Some(3))] {
        rig.call(order(text, download, limit)).unwrap();
    }
    assert_eq!(rows(&mut rig).iter().map(|row| row.limit).collect::<Vec<_>>(), [Some(1), None, Some(3)]);
}

#[test]
fn a_later_run_leaves_out_what_it_cannot_search_for_and_gives_no_id_twice() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    wish(&mut rig, "song");
    let (record, _) = records(&mut rig).pop().expect("saved");
    let of_later_version = WishRecord { id: TransferId(20), text: RawText::new("type:nothing song"), ..record.clone() };
    let mut rig = recalled(vec![of_later_version, WishRecord { id: TransferId(21), ..record }]);
    assert_eq!(rows(&mut rig).iter().map(|row| row.id).collect::<Vec<_>>(), [21]);
    assert_eq!(wish(&mut rig, "further"), 22);
}

#[test]
fn those_who_follow_are_told_of_what_is_found() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    wish(&mut rig, "song");
    let id = query(&mut rig);
    rig.call(Request::Events).unwrap();
    rig.notices();
    rig.hit(&id, peer(1), file("song a", 9, 1));
    let told = rig.notices();
    assert!(matches!(&told[..], [Notice::WishFound { wish: 1, peer: of, .. }] if *of == peer(1)), "{told:?}");
}
