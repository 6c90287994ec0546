use super::*;
use crate::control::{HitRow, RawText};
use crate::name::FileName;
use crate::node::limits::{HIT_NAMES_MAX, HIT_ROW_NAMES_BYTES_MAX, HIT_SOURCES_MAX};
use crate::wire::{Attributes, Listed};

pub(super) const SEARCH: SearchId = SearchId(1);
pub(super) const NOW: Instant = Instant::from_ms(1_000_000);

/// The n-th peer, each in a network of its own.
pub(super) fn source(n: u16) -> SocketAddr {
    let [high, low] = n.to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 9))
}

/// Adds an answer that a peer sent for itself.
fn take(
    hits: &mut Hits,
    search: SearchId,
    grouping: Grouping,
    file: Listed,
    responder: SocketAddr,
    room: bool,
) -> Result<Taken, NotTaken> {
    let rows_max = if room { 100_000 } else { hits.count(search) };
    hits.take(NOW, search, grouping, Answer { file, responder, from: responder }, rows_max)
}

pub(super) fn file(name: &str, size: Option<u64>) -> Listed {
    let name = FileName::from_bytes(name.as_bytes()).unwrap();
    Listed { name, attributes: size.map(|size| Attributes { size: Some(size), b3: None, more: false }) }
}

/// A file of one byte with the content of this number.
pub(super) fn hashed(name: &str, content: u8) -> Listed {
    let attributes = Some(Attributes { size: Some(1), b3: Some(ContentHash([content; 32])), more: false });
    Listed { attributes, ..file(name, None) }
}

fn new(row: u32) -> Result<Taken, NotTaken> {
    Ok(Taken::Changed { row: HitId(row), new: true, moved_from: None })
}

fn grown(row: u32) -> Result<Taken, NotTaken> {
    Ok(Taken::Changed { row: HitId(row), new: false, moved_from: None })
}

fn row(hits: &Hits, id: u32) -> HitRow {
    hits.check_invariants();
    hits.get(HitId(id)).unwrap().row(HitId(id))
}

fn names(row: &HitRow) -> Vec<&[u8]> {
    row.names.iter().map(RawText::as_bytes).collect()
}

#[test]
fn answers_without_a_hash_are_grouped_by_name_and_size() {
    let mut hits = Hits::default();
    assert_eq!(take(&mut hits, SEARCH, Grouping::Content, file("a", Some(1)), source(1), true), new(1));
    assert_eq!(take(&mut hits, SEARCH, Grouping::Content, file("a", Some(1)), source(2), true), grown(1));
    assert_eq!(take(&mut hits, SEARCH, Grouping::Content, file("a", Some(1)), source(2), true), Ok(Taken::Known));
    assert_eq!(take(&mut hits, SEARCH, Grouping::Content, file("a", None), source(3), true), new(2));
    assert_eq!(take(&mut hits, SearchId(2), Grouping::Content, file("a", None), source(3), true), new(3));
    assert_eq!(take(&mut hits, SEARCH, Grouping::Content, file("b", None), source(3), false), Err(NotTaken::Enough));
    assert_eq!(take(&mut hits, SEARCH, Grouping::Content, file("a", None), source(4), false), grown(2));
    let ids = |search, after| hits.after(search, HitId(after)).map(|hit| hit.id().0).collect::<Vec<_>>();
    assert_eq!(ids(None, 0), [1, 2, 3]);
    assert_eq!(ids(None, 2), [3]);
    assert_eq!(ids(Some(SEARCH), 0), [1, 2]);
    assert_eq!(ids(Some(SEARCH), 2), [0; 0]);
    assert_eq!(ids(None, u32::MAX), [0; 0]);
    hits.check_invariants();
}

#[test]
fn a_content_is_one_row_with_all_its_names_and_each_source_keeps_its_own() {
    let mut hits = Hits::default();
    assert_eq!(take(&mut hits, SEARCH, Grouping::Content, hashed("a", 7), source(1), true), new(1));
    assert_eq!(take(&mut hits, SEARCH, Grouping::Content, hashed("b", 7), source(2), true), grown(1));
    assert_eq!(take(&mut hits, SEARCH, Grouping::Content, hashed("a", 7), source(3), true), grown(1));
    assert_eq!(
        take(&mut hits, SEARCH, Grouping::Content, hashed("a", 8), source(3), true),
        new(2),
        "the name alone says nothing"
    );
    assert_eq!(
        take(&mut hits, SEARCH, Grouping::Content, hashed("copy of a", 7), source(1), true),
        grown(1),
        "it has the content twice"
    );
    assert_eq!(take(&mut hits, SEARCH, Grouping::Content, hashed("b", 7), source(1), true), Ok(Taken::Known));
    assert_eq!(take(&mut hits, SearchId(2), Grouping::Content, hashed("a", 7), source(1), true), new(3));
    let shown = row(&hits, 1);
    assert_eq!(names(&shown), [&b"a"[..], b"b", b"copy of a"]);
    assert_eq!((shown.name, shown.sources), (RawText::new("a"), vec![source(1), source(2), source(3)]));
    assert_eq!(shown.b3, Some("07".repeat(32)));
    let hit = hits.get(HitId(1)).unwrap();
    let offers: Vec<_> = hit.offers().map(|(addr, name, _)| (addr, name.as_bytes())).collect();
    assert_eq!(offers, [(source(1), &b"a"[..]), (source(2), b"b"), (source(3), b"a")]);
    let found: Vec<_> = hits.of_content(ContentHash([7; 32])).map(|hit| hit.search()).collect();
    assert_eq!(found, [SEARCH, SearchId(2)]);
    assert_eq!(hits.of_content(ContentHash([9; 32])).count(), 0);
}

#[test]
fn a_hash_learned_later_moves_the_row_or_the_source() {
    let mut hits = Hits::default();
    let _ = take(&mut hits, SEARCH, Grouping::Content, file("a", Some(1)), source(1), true);
    assert_eq!(
        take(&mut hits, SEARCH, Grouping::Content, hashed("a", 7), source(1), false),
        grown(1),
        "it needs no room"
    );
    assert_eq!(row(&hits, 1).b3, Some("07".repeat(32)));
    assert_eq!(take(&mut hits, SEARCH, Grouping::Content, hashed("a", 7), source(1), true), Ok(Taken::Known));

    // Of several sources of a name, the one whose hash is known moves to the row of its content.
    for n in 2..=4 {
        let _ = take(&mut hits, SEARCH, Grouping::Content, file("a", Some(1)), source(n), true);
    }
    let moved = |row, new| Ok(Taken::Changed { row: HitId(row), new, moved_from: Some(HitId(2)) });
    assert_eq!(take(&mut hits, SEARCH, Grouping::Content, hashed("a", 7), source(2), true), moved(1, false));
    assert_eq!(
        take(&mut hits, SEARCH, Grouping::Content, hashed("a", 8), source(3), false),
        Err(NotTaken::Enough),
        "no room: it stays where it is"
    );
    assert_eq!(row(&hits, 2).sources, [source(3), source(4)]);
    assert_eq!(take(&mut hits, SEARCH, Grouping::Content, hashed("a", 8), source(3), true), moved(3, true));
    // The last source keeps its row, because a user may have seen its id.
    assert_eq!(take(&mut hits, SEARCH, Grouping::Content, hashed("a", 7), source(4), true), grown(1));
    assert_eq!((row(&hits, 2).sources, row(&hits, 2).b3), (vec![source(4)], None));
    assert_eq!(row(&hits, 1).sources, [source(1), source(2), source(4)]);
}

#[test]
fn sources_and_names_of_a_row_are_bounded() {
    let mut hits = Hits::default();
    for n in 1..=200 {
        let _ = take(&mut hits, SEARCH, Grouping::Content, file("a", None), source(n), true);
        let _ = take(&mut hits, SEARCH, Grouping::Content, hashed(&format!("name {n}"), 7), source(n), true);
        let _ = take(&mut hits, SEARCH, Grouping::Content, hashed(&format!("{n}"), 8), source(1), true);
    }
    assert_eq!(row(&hits, 1).sources.len(), HIT_SOURCES_MAX);
    assert_eq!((row(&hits, 2).sources.len(), row(&hits, 2).names.len()), (HIT_SOURCES_MAX, HIT_NAMES_MAX));
    let hit = hits.get(HitId(2)).unwrap();
    let last = hit.offers().last().unwrap();
    assert_eq!((last.0, last.1.as_bytes()), (source(64), &b"name 64"[..]), "each has its own name all the same");
    assert_eq!((row(&hits, 3).sources.len(), row(&hits, 3).names.len()), (1, HIT_NAMES_MAX));

    let long = "n".repeat(3_700);
    for n in 1..=10 {
        let _ = take(&mut hits, SEARCH, Grouping::Content, hashed(&format!("{long}{n}"), 9), source(n), true);
    }
    assert_eq!(row(&hits, 4).names.len(), HIT_ROW_NAMES_BYTES_MAX / 3_701);
}

/// Adds files of a list with long names until one is not taken; how many were taken.
fn list_long_names(hits: &mut Hits, now: Instant, listing: SearchId, files: usize) -> usize {
    let long = "n".repeat(3_700);
    let taken = (0..files).take_while(|n| {
        let answer = Answer { file: file(&format!("{long}{n:06}"), None), responder: source(1), from: source(1) };
        hits.take(now, listing, Grouping::Name, answer, 100_000).is_ok()
    });
    let taken = taken.count();
    hits.check_invariants();
    taken
}

pub(super) fn ids(hits: &Hits, search: SearchId) -> Vec<u32> {
    hits.after(Some(search), HitId(0)).map(|hit| hit.id().0).collect()
}

/// More files with long names than fit into the table.
const TOO_MANY: usize = HITS_BYTES_MAX / 3_700;

#[test]
fn a_listing_that_is_too_large_loses_its_end_and_displaces_no_seen_rows() {
    let mut hits = Hits::default();
    take(&mut hits, SEARCH, Grouping::Content, hashed("song", 7), source(1), true).unwrap();
    let taken = list_long_names(&mut hits, NOW + HITS_SEEN_SPAN / 2, SearchId(2), TOO_MANY);
    assert!((TOO_MANY / 2..TOO_MANY).contains(&taken), "{taken} of {TOO_MANY}");
    assert_eq!(ids(&hits, SEARCH), [1]);
    assert_eq!(ids(&hits, SearchId(2)), (2..taken as u32 + 2).collect::<Vec<_>>(), "the first ones are kept");
    assert!(hits.is_cut(SearchId(2)) && !hits.is_cut(SEARCH));
}

#[test]
fn rows_not_seen_for_a_while_are_displaced_first() {
    let mut hits = Hits::default();
    let later = NOW + HITS_SEEN_SPAN;
    let first = list_long_names(&mut hits, NOW, SearchId(1), TOO_MANY / 2);
    take(&mut hits, SearchId(2), Grouping::Content, hashed("song", 7), source(1), true).unwrap();
    hits.note_seen(later, SearchId(2));
    let second = list_long_names(&mut hits, later, SearchId(3), TOO_MANY / 3 * 2);
    assert_eq!((first, second), (TOO_MANY / 2, TOO_MANY / 3 * 2), "both are complete at first");
    assert!(hits.count(SearchId(1)) < first as u64 && hits.is_cut(SearchId(1)));
    assert_eq!((hits.count(SearchId(2)), hits.count(SearchId(3))), (1, second as u64));
    assert_eq!(hits.rows_cut, 0, "nothing gave way before its time");
}

#[test]
fn the_largest_seen_result_is_displaced_until_the_new_one_is_as_large() {
    let mut hits = Hits::default();
    list_long_names(&mut hits, NOW, SearchId(1), TOO_MANY / 10);
    let largest = list_long_names(&mut hits, NOW, SearchId(2), TOO_MANY);
    // A search finds room at once.
    take(&mut hits, SearchId(3), Grouping::Content, hashed("song", 7), source(1), true).unwrap();
    assert_eq!(hits.count(SearchId(2)), largest as u64);
    let newcomer = list_long_names(&mut hits, NOW, SearchId(4), TOO_MANY) as u64;
    let counts = [1, 2, 3].map(|search| hits.count(SearchId(search)));
    assert_eq!((counts[0], counts[2]), (TOO_MANY as u64 / 10, 1), "small ones stay");
    assert!(counts[1].abs_diff(newcomer) <= 1, "{} and {newcomer}", counts[1]);
    assert_eq!(ids(&hits, SearchId(2))[0], TOO_MANY as u32 / 10 + 1, "its first rows stay");
    assert_eq!(hits.rows_cut, largest as u64 - counts[1]);
    assert!(hits.is_cut(SearchId(2)) && hits.is_cut(SearchId(4)));
}

#[test]
fn surplus_sources_of_one_network_in_a_row_are_displaced_by_others() {
    let mut hits = Hits::default();
    let port = |n: u16| SocketAddr::from(([192, 0, 2, 66], n));
    for n in 1..=200 {
        let _ = take(&mut hits, SEARCH, Grouping::Content, hashed(&format!("forged {n}"), 7), port(n), true);
    }
    assert_eq!(row(&hits, 1).sources, (1..=HIT_SOURCES_MAX as u16).map(port).collect::<Vec<_>>());
    for n in 1..=100 {
        let _ = take(&mut hits, SEARCH, Grouping::Content, hashed("song", 7), source(n), true);
    }
    let hit = hits.get(HitId(1)).unwrap();
    let forged = hit.sources().filter(|addr| addr.ip() == port(1).ip()).count();
    assert_eq!((hit.sources().count(), forged), (HIT_SOURCES_MAX, 1), "the others are of one network each");
    assert_eq!(names(&row(&hits, 1)), [&b"forged 1"[..], b"song"], "a name leaves with its last source");
}

#[test]
fn answers_in_the_name_of_a_peer_do_not_use_its_share() {
    let mut hits = Hits::default();
    let (liar, honest) = (SocketAddr::from(([192, 0, 2, 66], 9)), source(1));
    let mut take = |text: String, from| {
        let answer = Answer { file: file(&text, None), responder: honest, from };
        hits.take(NOW, SEARCH, Grouping::Content, answer, 100)
    };
    let forged = (0..100).filter(|n| take(format!("forged {n}"), liar).is_ok()).count();
    assert_eq!((forged, take("more".into(), liar)), (100, Err(NotTaken::OverShare)));
    let own = (0..25).filter(|n| take(format!("song {n}"), honest).is_ok()).count();
    assert_eq!((own, hits.surplus_cut), (25, 25));
    hits.check_invariants();
}

fn answer_of(from: SocketAddr, name: String) -> Answer {
    Answer { file: file(&name, Some(1)), responder: from, from }
}

fn rows_of(hits: &Hits, source: SocketAddr) -> usize {
    ids(hits, SEARCH).into_iter().filter(|id| hits.get(HitId(*id)).unwrap().is_offered_by(source)).count()
}

#[test]
fn surplus_rows_are_displaced_when_other_networks_answer() {
    let mut hits = Hits::default();
    let mut send = |from: u16, rows: usize| {
        (0..rows).for_each(|n| {
            let answer = answer_of(source(from), format!("{from}/{n}"));
            let _ = hits.take(NOW, SEARCH, Grouping::Content, answer, 100);
            hits.check_invariants();
        });
        (hits.count(SEARCH), hits.is_cut(SEARCH), [1, 2, 3, 4, 5].map(|n| rows_of(&hits, source(n))))
    };
    assert_eq!(send(1, 100), (100, false, [100, 0, 0, 0, 0]), "it has all that nobody else needs");
    assert_eq!(send(2, 30), (100, true, [70, 30, 0, 0, 0]));
    assert_eq!(send(3, 100), (100, true, [39, 30, 31, 0, 0]), "each has a quarter before somebody has more");
    send(4, 100);
    send(5, 100);
    let (rows, ..) = send(6, 1);
    assert_eq!((rows, rows_of(&hits, source(6))), (100, 1), "the last third is for those that have none");
}

#[test]
fn on_the_loopback_network_the_surplus_of_a_connection_counts_whatever_endpoints_it_names() {
    let mut hits = Hits::default();
    let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let (honest, forger) = ((local(5_000), local(40_000)), local(40_001));
    let mut take = |responder, from, name: String| {
        let answer = Answer { file: file(&name, Some(1)), responder, from };
        let _ = hits.take(NOW, SEARCH, Grouping::Content, answer, 100);
    };
    (0..100).for_each(|n| take(honest.0, honest.1, format!("song {n}")));
    (0..100).for_each(|n| take(local(6_000 + n), forger, format!("forged {n}")));
    assert_eq!((hits.count(SEARCH), rows_of(&hits, honest.0)), (100, 50), "both have as many");
    hits.check_invariants();
}

#[test]
fn a_surplus_row_that_another_network_offers_too_is_not_displaced() {
    let mut hits = Hits::default();
    let mut take =
        |from: u16, name: String| hits.take(NOW, SEARCH, Grouping::Content, answer_of(source(from), name), 40).is_ok();
    (0..40).for_each(|n| assert!(take(1, format!("common {n}"))));
    assert!(take(2, "common 39".into()), "the last one, which would give way first");
    (0..30).for_each(|n| assert!(take(3 + n / 8, format!("other {n}")) || n >= 13));
    assert_eq!(rows_of(&hits, source(2)), 1);
    hits.check_invariants();
}

#[test]
fn a_listing_shows_every_name_though_the_contents_are_the_same() {
    let mut hits = Hits::default();
    for n in 0..3 {
        let _ = take(&mut hits, SEARCH, Grouping::Name, hashed(&format!("copy {n}"), 7), source(1), true);
    }
    assert_eq!(hits.after(Some(SEARCH), HitId(0)).count(), 3);
    assert_eq!(hits.of_content(ContentHash([7; 32])).count(), 3, "each is found by its content");
    hits.check_invariants();
}
