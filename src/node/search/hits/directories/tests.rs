use super::super::tests::{NOW, SEARCH, file, hashed, ids, source};
use super::*;
use crate::id::ContentHash;
use crate::node::limits::HIT_SOURCES_MAX;

/// Takes an answer whose directory ends at the last slash of its name. Returns the row of the directory, if that has changed.
fn take_from(hits: &mut Hits, file: Listed, (responder, from): (SocketAddr, SocketAddr), max: u64) -> Option<u32> {
    let name = file.name.as_bytes();
    let end = name.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let directory = FileName::from_bytes(&name[..end]);
    let answer = Answer { file, responder, from };
    let taken = hits.take_found(NOW, SEARCH, (answer, directory), max);
    check(hits);
    taken.ok()?.1.map(|id| id.0)
}

fn take(hits: &mut Hits, file: Listed, from: u16) -> Option<u32> {
    take_from(hits, file, (source(from), source(from)), 100)
}

/// The counts are those of the rows.
fn check(hits: &Hits) {
    hits.check_invariants();
    let places = hits.rows.values().flat_map(|hit| hit.directories().map(|(addr, path)| (hit.search(), addr, path)));
    let places: Vec<Place> = places.map(|(search, addr, path)| (search, addr, Rc::clone(path))).collect();
    let files = hits.files_in.0.values().map(|files| files.count).sum::<u64>();
    assert_eq!(files, places.len() as u64, "each row counts once");
    assert!(places.iter().all(|place| hits.files_in.0.contains_key(place)));
}

fn row(hits: &Hits, id: u32) -> (HitRow, HitDirectory) {
    let row = hits.row_of(HitId(id), &hits.get(HitId(id)).unwrap());
    let directory = row.directory.unwrap();
    (row, directory)
}

#[test]
fn two_files_of_one_peer_make_their_directory_a_hit() {
    let mut hits = Hits::default();
    assert_eq!(take(&mut hits, file("live/a", Some(5)), 1), None);
    assert_eq!(take(&mut hits, file("live/b", None), 2), None, "another peer has the other one");
    assert_eq!(take(&mut hits, file("live/c", None), 1), Some(3 + 1));
    let (shown, directory) = row(&hits, 4);
    assert_eq!(
        (shown.name.as_bytes(), shown.sources, shown.size, shown.b3),
        (&b"live/"[..], vec![source(1)], None, None)
    );
    assert_eq!(directory, HitDirectory { files: 2, bytes: Some(5) });
    // What is known already changes nothing, and a hash that is learnt later is no further file.
    assert_eq!(take(&mut hits, file("live/c", None), 1), None);
    assert_eq!(take(&mut hits, hashed("live/d", 7), 1), Some(4));
    assert_eq!(take(&mut hits, hashed("live/copy of d", 7), 1), Some(4));
    assert_eq!(row(&hits, 4).1, HitDirectory { files: 3, bytes: Some(6) });
    // The second peer has two as well, and then most of all.
    assert_eq!(take(&mut hits, hashed("live/d", 7), 2), Some(4));
    assert_eq!(row(&hits, 4).0.sources, [source(1), source(2)]);
    for n in [b'e', b'f'] {
        assert_eq!(take(&mut hits, hashed(&format!("live/{}", char::from(n)), n), 2), Some(4));
    }
    assert_eq!((row(&hits, 4).0.sources, row(&hits, 4).1.files), (vec![source(2), source(1)], 4));
    assert_eq!(
        hits.directory(HitId(4)).map(|(name, peers)| (name.as_bytes().to_vec(), peers.len())),
        Some((b"live/".to_vec(), 2))
    );
    assert_eq!((hits.directory(HitId(1)), hits.is_directory(HitId(1))), (None, false));
    assert_eq!(hits.of_content(ContentHash([7; 32])).count(), 1);
    assert_eq!(hits.count(SEARCH), 7, "it is a row like the others");
}

#[test]
fn a_peer_that_only_others_name_is_asked_last() {
    let mut hits = Hits::default();
    (0..9).for_each(|n| {
        assert!(
            take_from(&mut hits, file(&format!("live/{n}"), None), (source(1), source(66)), 100).is_some() == (n > 0)
        )
    });
    (0..2).for_each(|n| assert!(take(&mut hits, file(&format!("live/{n}"), None), 2).is_some()));
    let (shown, directory) = row(&hits, 3);
    assert_eq!((shown.sources, directory.files), (vec![source(2), source(1)], 2));
}

#[test]
fn a_hash_learnt_later_moves_the_file_of_a_directory() {
    let mut hits = Hits::default();
    for n in 1..=2 {
        take(&mut hits, file("live/a", Some(1)), n);
        take(&mut hits, file("live/b", Some(1)), n);
    }
    assert_eq!(take(&mut hits, hashed("live/a", 7), 1), Some(3));
    assert_eq!(row(&hits, 3).1, HitDirectory { files: 2, bytes: Some(2) });
}

/// The rows that each peer has when the first has sent 100 files, two in each directory, and four others 20 files and one further
/// row, which is a directory or a file.
fn rows_of_each(has_directories: bool) -> Vec<usize> {
    let mut hits = Hits::default();
    let mut send = |n: u16, directory: u16, name: u16| {
        let slash = if has_directories { "/" } else { " " };
        let _ = take(&mut hits, file(&format!("{n}-{directory}{slash}{name}"), None), n);
    };
    for n in 0..100 {
        send(1, n / 2, n);
    }
    let others = if has_directories { 20 } else { 21 };
    (2..=5).for_each(|n| (0..others).for_each(|name| send(n, 0, name)));
    let rows = ids(&hits, SEARCH).into_iter().map(|id| hits.get(HitId(id)).unwrap());
    let rows: Vec<_> = rows.map(|hit| (hit.sources().next(), hit.is_directory())).collect();
    assert_eq!(rows.iter().any(|(_, is_directory)| *is_directory), has_directories);
    (1..=5).map(|n| rows.iter().filter(|(addr, _)| *addr == Some(source(n))).count()).collect()
}

#[test]
fn a_directory_takes_a_place_in_the_share_of_its_network_as_a_file_does() {
    let (with, without) = (rows_of_each(true), rows_of_each(false));
    assert_eq!(with, without);
    assert_eq!(with.iter().sum::<usize>(), 100, "no more rows than wanted");
}

#[test]
fn the_sources_of_a_directory_are_bounded_and_displaced_files_are_not_counted() {
    let mut hits = Hits::default();
    for n in 1..=200 {
        for name in ["live/a", "live/b"] {
            take(&mut hits, file(name, None), n);
        }
    }
    assert_eq!(row(&hits, 3).0.sources.len(), HIT_SOURCES_MAX);
    assert_eq!(hits.files_in.0.len(), HIT_SOURCES_MAX, "nothing is kept of sources that have no place");
    // A search that is forgotten takes its counts with it.
    while hits.count(SEARCH) > 0 {
        hits.forget_last_row(SEARCH);
        check(&hits);
    }
    assert!(hits.files_in.0.is_empty() && hits.bytes == 0);
}

#[test]
fn long_paths_count_among_the_bytes() {
    let mut hits = Hits::default();
    let long = "n".repeat(3_700);
    for n in 0..10 {
        take(&mut hits, file(&format!("{long}/{n}"), None), 1);
    }
    assert!(hits.bytes >= 21 * 3_700, "ten names, each with its directory, and the row of that: {}", hits.bytes);
}
