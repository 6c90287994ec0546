//! Tests of a share, and random ones against a model that is too simple to be wrong.

mod hashes;
mod several;
mod views;

use super::*;
use crate::audience::Requester;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

type Model = BTreeMap<Vec<u8>, u64>;

impl Library {
    fn all(&self) -> View<'_> {
        self.seen_by(Requester::Owner)
    }
}

fn name(bytes: impl AsRef<[u8]>) -> FileName {
    FileName::from_bytes(bytes.as_ref()).unwrap()
}

fn file(path: impl AsRef<[u8]>, size: u64) -> ScannedFile {
    let meta = FileMeta { size, mtime_ns: -1, ctime_ns: -1, inode: size + 7, device: 1 };
    ScannedFile { name: name(path), meta, executable: false }
}

fn library(names: &[&str]) -> Library {
    let mut library = Library::default();
    names.iter().for_each(|path| library.apply(file(path, 1)));
    library
}

fn scan(library: &mut Library, files: impl IntoIterator<Item = ScannedFile>, slice: usize) {
    library.begin_scan();
    files.into_iter().for_each(|file| library.apply(file));
    library.end_scan(&mut ScanReport::default());
    while library.sweep(slice) {}
}

fn names(rows: Vec<(FileName, Shared)>) -> Vec<Vec<u8>> {
    rows.into_iter().map(|(name, _)| name.as_bytes().to_vec()).collect()
}

fn search(library: &Library, text: impl AsRef<[u8]>, hits_max: usize, slice: usize) -> Vec<Vec<u8>> {
    let mut cursor = SearchCursor::new(Query::parse(text.as_ref()), hits_max);
    while library.all().search_step(&mut cursor, slice) {}
    names(cursor.into_hits())
}

fn found(library: &Library, text: &str) -> Vec<String> {
    search(library, text, 50, 3).into_iter().map(|name| String::from_utf8_lossy(&name).into_owned()).collect()
}

/// The report of a scan that could not read the share.
fn failed() -> ScanReport {
    ScanReport { failed: Some(crate::fault::DiskFault::Denied), ..ScanReport::default() }
}

#[test]
fn files_hidden_from_a_scan_by_an_error_stay() {
    let mut library = Library::default();
    scan(&mut library, ["a", "d/x", "d/e/y", "dd", "f"].map(|path| file(path, 1)), 9);
    library.begin_scan();
    library.apply(file("a", 1));
    let hidden = [name("d"), name("f")].to_vec();
    library.end_scan(&mut ScanReport { unreadable: 2, hidden, ..ScanReport::default() });
    while library.sweep(1) {}
    let listed = |library: &Library| names(library.all().list_after(None, 9));
    assert_eq!(listed(&library), [&b"a"[..], b"d/e/y", b"d/x", b"f"], "a name that only begins alike is gone");
    scan(&mut library, [file("a", 1)], 9);
    assert_eq!(listed(&library), [b"a"], "a scan that could look there decides");
}

#[test]
fn the_best_match_comes_first() {
    let library = library(&["z/Song.mp3", "a/song.mp3", "song.mp3", "b/song.mp3", "a/song.mp3.txt", "c/other"]);
    let best = ["song.mp3", "a/song.mp3", "b/song.mp3", "z/Song.mp3", "a/song.mp3.txt"];
    assert_eq!(found(&library, "song.mp3"), best);
    for most in 0..best.len() {
        assert_eq!(search(&library, "song.mp3", most, 1).len(), most);
        assert_eq!(
            search(&library, "song.mp3", most, 1),
            best[..most].iter().map(|n| n.as_bytes()).collect::<Vec<_>>()
        );
    }
}

#[test]
fn terms_match_anywhere_in_the_path_without_regard_to_case() {
    let library = library(&["Élan/Première.OGG", "elan/première.txt", "ab", "abc", "cab", "Music/Ab Cd"]);
    assert_eq!(found(&library, "ogg ÉLAN"), ["Élan/Première.OGG"]);
    assert_eq!(found(&library, "PREMIÈRE"), ["elan/première.txt", "Élan/Première.OGG"]);
    assert_eq!(found(&library, "cd music"), ["Music/Ab Cd"]);
    assert_eq!(found(&library, "music/ab"), ["Music/Ab Cd"]);
    // Less than three bytes match whole names only, and no term matches across two names.
    assert_eq!(found(&library, "ab"), ["ab"]);
    assert_eq!(found(&library, "AB"), ["ab"]);
    assert_eq!(found(&library, "bc"), Vec::<String>::new());
    assert_eq!(found(&library, "abcab"), Vec::<String>::new());
    assert_eq!(found(&library, ""), Vec::<String>::new());
}

#[test]
fn names_match_despite_case_accent_encoding_and_punctuation() {
    let library = library(&[
        "NFC/Café.ogg",
        "NFD/Cafe\u{301}.ogg",
        "Björk - Jóga.mp3",
        "ΟΔΥΣΣΕΥΣ.txt",
        "Straße.txt",
        "ac-dc/thunder.mp3",
        "Don’t stop.mp3",
        "dont.mp3",
    ]);
    let cafes = ["NFC/Café.ogg", "NFD/Cafe\u{301}.ogg"];
    for text in ["café", "cafe\u{301}", "cafe", "CAFÉ.ogg", "nf caf ogg"] {
        assert_eq!(found(&library, text), cafes, "{text}");
    }
    // Names spelled in the same way come first.
    assert_eq!(found(&library, "Cafe\u{301}.ogg"), [cafes[1], cafes[0]]);
    assert_eq!(found(&library, "bjork joga"), ["Björk - Jóga.mp3"]);
    assert_eq!(found(&library, "Οδυσσεύς"), ["ΟΔΥΣΣΕΥΣ.txt"]);
    assert_eq!(found(&library, "STRASSE"), ["Straße.txt"]);
    assert_eq!(found(&library, "AC/DC"), ["ac-dc/thunder.mp3"]);
    assert_eq!(found(&library, "don't"), ["Don’t stop.mp3"]);
    assert_eq!(found(&library, "3.mp3 thunder"), Vec::<String>::new(), "the words of a word follow one another");
    assert_eq!(found(&library, "\"don't stop\""), ["Don’t stop.mp3"]);
}

#[test]
fn quotes_exclusions_and_patterns_narrow_a_search() {
    let library =
        library(&["a/Jazz live.ogg", "a/Jazz.mp3", "b/jazz.ogg", "b/live jazz.ogg", "c/jazz.ogg.txt", "k/x.ogg"]);
    assert_eq!(found(&library, "jazz -live"), ["a/Jazz.mp3", "b/jazz.ogg", "c/jazz.ogg.txt"]);
    assert_eq!(found(&library, "*.ogg"), ["a/Jazz live.ogg", "b/jazz.ogg", "b/live jazz.ogg", "k/x.ogg"]);
    assert_eq!(found(&library, "?.ogg"), ["k/x.ogg"]);
    assert_eq!(found(&library, "jaz? *.ogg -live"), ["b/jazz.ogg"]);
    assert_eq!(found(&library, "\"jazz live\""), ["a/Jazz live.ogg"]);
    assert_eq!(search(&library, "jazz -live", 1, 1), [b"a/Jazz.mp3"]);
    assert_eq!(found(&library, "-live"), Vec::<String>::new());
}

#[test]
fn an_unknown_hash_finds_only_a_file_with_that_name() {
    let text = format!("b3={}", "0f".repeat(32));
    let longer = format!("{text}.txt");
    let library = library(&["x", &longer, &format!("dir/{text}")]);
    assert_eq!(found(&library, &text), [format!("dir/{text}")]);
}

#[test]
fn a_scan_removes_what_it_did_not_see_unless_it_failed() {
    let mut library = library(&["a", "b", "c", "d", "e", "f", "g"]);
    library.begin_scan();
    library.apply(file("b", 40));
    library.end_scan(&mut failed());
    assert!(!library.sweep(1));
    assert_eq!((library.len(), library.bytes()), (7, 46));

    scan(&mut library, [file("b", 40), file("h", 2)], 1);
    assert_eq!(names(library.all().list_after(None, 10)), [b"b", b"h"]);
    assert_eq!((library.len(), library.bytes()), (2, 42));
    assert_eq!(library.all().get(b"b").unwrap().meta.inode, 47);
    assert!(library.all().get(b"a").is_none());
}

#[test]
fn a_sweep_runs_in_slices_and_the_next_scan_takes_over_the_rest() {
    let many: Vec<String> = (0..100).map(|n| format!("{n:03}")).collect();
    let mut library = library(&many.iter().map(String::as_str).collect::<Vec<_>>());
    library.begin_scan();
    library.end_scan(&mut ScanReport::default());
    assert!(library.sweep(8));
    let left = library.len();
    assert!((80..100).contains(&left), "{left}");

    scan(&mut library, [file("050", 1)], 8);
    assert_eq!(names(library.all().list_after(None, 10)), [b"050"]);
}

#[test]
fn a_file_added_between_scan_and_sweep_stays() {
    let mut library = library(&["a"]);
    library.begin_scan();
    library.end_scan(&mut ScanReport::default());
    library.apply(file("downloaded", 1));
    while library.sweep(1) {}
    assert_eq!(names(library.all().list_after(None, 10)), [b"downloaded"]);
}

#[test]
fn hits_that_are_removed_are_replaced_by_others() {
    let mut library = library(&["1 hit", "2 hit", "3 hit", "4 hit", "5 hit", "6 hit"]);
    let mut cursor = SearchCursor::new(Query::parse(b"hit"), 5);
    // The name, the last components, the first leaf.
    for _ in 0..3 {
        assert!(library.all().search_step(&mut cursor, 1));
    }
    assert!(library.remove(b"1 hit") && !library.remove(b"1 hit"));
    library.apply(file("2 hit", 99));
    while library.all().search_step(&mut cursor, 1) {}
    let hits = cursor.into_hits();
    assert_eq!(hits[0].1.meta.size, 99);
    assert_eq!(names(hits), [b"2 hit", b"3 hit", b"4 hit", b"5 hit", b"6 hit"]);
}

#[test]
fn long_names_make_small_leaves() {
    let mut library = Library::default();
    let long = |n: usize| format!("{}{n:04}", "x".repeat(crate::name::FILE_NAME_BYTES_MAX - 4));
    (0..40).rev().for_each(|n| library.apply(file(long(n), 1)));
    library.index.check();
    assert_eq!(found(&library, &long(17)), [long(17)]);
    assert_eq!(search(&library, "xxx", 100, 1).len(), 40);
}

#[test]
fn sizes_of_sparse_files_do_not_overflow() {
    let mut library = Library::default();
    (0..3).for_each(|n| library.apply(file(format!("{n}"), u64::MAX - 7)));
    assert_eq!(library.bytes(), u64::MAX);
    library.remove(b"0");
    library.remove(b"1");
    assert_eq!(library.bytes(), u64::MAX - 7);
}

/// Matching as PROTOCOL defines it, implemented directly and slowly.
fn matches(path: &[u8], text: &[u8]) -> bool {
    let (path_folded, text_folded) = (fold::folded(path), fold::folded(text));
    let terms: Vec<&[u8]> = text_folded.split(|b| b" /.".contains(b)).filter(|term| !term.is_empty()).collect();
    let bytes: usize = terms.iter().map(|term| term.len()).sum();
    let has = |term: &[u8]| path_folded.windows(term.len()).any(|window| window == term);
    let spaced = |text: &[u8]| text.iter().map(|b| if b"/.".contains(b) { b' ' } else { *b }).collect::<Vec<_>>();
    let path_words = spaced(&path_folded);
    let joined = |token: &[u8]| {
        let token = spaced(token).trim_ascii().to_vec();
        token.is_empty() || path_words.windows(token.len()).any(|window| window == token)
    };
    let follow = text_folded.split(|b| *b == b' ').all(joined);
    is_alike(path, text) || (bytes >= 3 && terms.into_iter().all(has) && follow)
}

fn is_exact(path: &[u8], text: &[u8]) -> bool {
    !text.is_empty() && (path == text || path.rsplit(|b| *b == b'/').next() == Some(text))
}

fn is_alike(path: &[u8], text: &[u8]) -> bool {
    is_exact(&fold::folded(path), &fold::folded(text))
}

fn expected(model: &Model, text: &[u8], hits_max: usize) -> Vec<Vec<u8>> {
    let mut hits: Vec<Vec<u8>> = model.keys().filter(|path| matches(path, text)).cloned().collect();
    hits.sort_by_key(|path| (path != text, !is_exact(path, text), !is_alike(path, text), path.clone()));
    hits.truncate(hits_max);
    hits
}

fn component() -> impl Strategy<Value = Vec<u8>> {
    let words = vec!["a", "b", "A", "ab", "Ab.c", "ÄB", "äb", "song", "SONG", "Song ab", "İ", "c", "A\u{308}b"];
    prop_oneof![8 => prop::sample::select(words).prop_map(|w| w.as_bytes().to_vec()), 1 => Just(b"\xc4B".to_vec())]
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(component(), 1..4).prop_map(|parts| parts.join(&b'/')).prop_filter("one encoding", |path| {
        std::str::from_utf8(path).is_ok() || path.iter().filter(|b| !b.is_ascii()).count() == 1
    })
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![path(), prop::collection::vec(path(), 0..3).prop_map(|terms| terms.join(&b' '))]
        .prop_filter("one encoding", |text| std::str::from_utf8(text).is_ok())
}

#[derive(Debug, Clone)]
enum Change {
    Apply(Vec<u8>, u64),
    Remove(Vec<u8>),
    Scan { seen: BTreeMap<Vec<u8>, u64>, failed: bool, slice: usize },
}

fn change() -> impl Strategy<Value = Change> {
    let seen = prop::collection::btree_map(path(), 0..9u64, 0..60);
    prop_oneof![
        4 => (path(), 0..9u64).prop_map(|(path, size)| Change::Apply(path, size)),
        2 => path().prop_map(Change::Remove),
        1 => (seen, any::<bool>(), 1..9usize).prop_map(|(seen, failed, slice)| Change::Scan { seen, failed, slice }),
    ]
}

fn carry_out(library: &mut Library, model: &mut Model, change: &Change) {
    match change {
        Change::Apply(path, size) => {
            library.apply(file(path, *size));
            model.insert(path.clone(), *size);
        }
        Change::Remove(path) => assert_eq!(library.remove(path), model.remove(path).is_some()),
        Change::Scan { seen, failed, slice } => {
            library.begin_scan();
            seen.iter().for_each(|(path, size)| library.apply(file(path, *size)));
            library.end_scan(&mut if *failed { self::failed() } else { ScanReport::default() });
            while library.sweep(*slice) {}
            if !failed {
                model.clear();
            }
            model.extend(seen.clone());
        }
    }
    library.index.check();
}

proptest! {
    #[test]
    fn the_library_is_a_sorted_map(changes in prop::collection::vec(change(), 1..40), page in 1..7usize) {
        let (mut library, mut model) = (Library::default(), Model::new());
        for change in &changes {
            carry_out(&mut library, &mut model, change);
            prop_assert_eq!(library.len(), model.len() as u64);
            prop_assert_eq!(library.bytes(), model.values().sum::<u64>());
        }
        let mut listed: Vec<(FileName, Shared)> = Vec::new();
        loop {
            let rows = library.all().list_after(listed.last().map(|(name, _)| name), page);
            if rows.is_empty() {
                break;
            }
            prop_assert!(rows.len() <= page);
            listed.extend(rows);
        }
        prop_assert!(listed.iter().all(|(name, file)| library.all().get(name.as_bytes()) == Some(*file)));
        prop_assert!(listed.iter().map(|(name, file)| (name.as_bytes(), file.meta.size)).eq(
            model.iter().map(|(name, size)| (name.as_slice(), *size))
        ));
    }

    #[test]
    fn a_search_finds_what_the_protocol_says(
        paths in prop::collection::btree_set(path(), 0..80),
        text in text(),
        hits_max in 0..12usize,
        slice in 1..20usize,
    ) {
        let (mut library, mut model) = (Library::default(), Model::new());
        for path in paths {
            carry_out(&mut library, &mut model, &Change::Apply(path, 1));
        }
        prop_assert_eq!(search(&library, &text, hits_max, slice), expected(&model, &text, hits_max));
    }

    #[test]
    fn a_search_survives_changes(
        paths in prop::collection::btree_set(path(), 0..60),
        text in text(),
        changes in prop::collection::vec(change(), 0..30),
    ) {
        let (mut library, mut model) = (Library::default(), Model::new());
        for path in paths {
            carry_out(&mut library, &mut model, &Change::Apply(path, 1));
        }
        let mut cursor = SearchCursor::new(Query::parse(&text), usize::MAX);
        let mut throughout: BTreeSet<Vec<u8>> = expected(&model, &text, usize::MAX).into_iter().collect();
        for change in &changes {
            library.all().search_step(&mut cursor, 1);
            carry_out(&mut library, &mut model, change);
            throughout.retain(|path| model.contains_key(path));
        }
        while library.all().search_step(&mut cursor, 1) {}
        let hits = names(cursor.into_hits());
        prop_assert!(hits.iter().all(|path| model.contains_key(path) && matches(path, &text)));
        let distinct: BTreeSet<Vec<u8>> = hits.iter().cloned().collect();
        prop_assert_eq!(distinct.len(), hits.len());
        prop_assert!(throughout.is_subset(&distinct));
    }
}

#[test]
fn filters_decide_which_files_an_answer_is_spent_on() {
    let mut library = Library::default();
    for (path, size) in [("film/small.mkv", 5), ("film/big.mkv", 50), ("film/big.ogg", 60), ("other/film.mkv", 70)] {
        library.apply(file(path, size));
    }
    for (text, hits) in [
        ("film -pyratefilter:size:50..", &["film/big.mkv", "film/big.ogg", "other/film.mkv"][..]),
        ("film -pyratefilter:type:video -pyratefilter:size:50..", &["film/big.mkv", "other/film.mkv"]),
        ("film -pyratefilter:path:film -pyratefilter:!size:..9", &["film/big.mkv", "film/big.ogg"]),
        ("film -pyratefilter:colour:red -pyratefilter:type:audio", &["film/big.ogg"]),
        // Exact names are filtered as well.
        ("film/small.mkv -pyratefilter:size:5..5", &["film/small.mkv"]),
        ("film.mkv -pyratefilter:size:70..", &["other/film.mkv"]),
        ("FILM.mkv -pyratefilter:path:other", &["other/film.mkv"]),
        // A file that only the filters leave out shows that there is one.
        ("big -pyratefilter:size:61..", &["film/big.mkv"]),
        ("film/small.mkv -pyratefilter:size:6..", &["film/small.mkv"]),
        ("small.mkv -pyratefilter:type:audio", &["film/small.mkv"]),
        ("absent -pyratefilter:size:61..", &[]),
    ] {
        for slice in [1, 2, 99] {
            let names: Vec<_> = search(&library, text, 50, slice);
            assert_eq!(names, hits.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>(), "{text}");
        }
    }
}
