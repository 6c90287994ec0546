use super::*;
use crate::node::search::hits::Hits;

const NOW: Instant = Instant::from_ms(1_000_000);
const LATER: Instant = Instant::from_ms(1_000_000 + HITS_SEEN_SPAN.as_millis() as u64);

fn peer(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 9))
}

/// A file of one byte with the content of this number.
fn answer(from: SocketAddr, name: &str, content: u8) -> Answer {
    let name = FileName::from_bytes(name.as_bytes()).unwrap();
    let attributes = Some(Attributes { size: Some(1), b3: Some(ContentHash([content; 32])), more: false });
    Answer { file: Listed { name, attributes }, responder: from, from }
}

fn take(hits: &mut Hits, search: u32, name: &str, content: u8) -> bool {
    let taken = hits.take_listed(NOW, SearchId(search), &answer(peer(1), name, content), 1_000);
    hits.check_invariants();
    taken.is_ok()
}

/// The ids and names of one list, or of all, after an id.
fn rows(hits: &Hits, search: Option<u32>, after: u32) -> Vec<(u32, String)> {
    let name = |id| hits.get(id).unwrap().name().to_string();
    hits.after(search.map(SearchId), HitId(after)).map(|row| (row.id().0, name(row.id()))).collect()
}

#[test]
fn a_list_is_found_by_id_and_by_content_and_goes_on_after_any_row() {
    let mut hits = Hits::default();
    let names: Vec<String> = (0..50).map(|n| format!("{n:03}")).collect();
    // Two lists that come at once: their rows have ids in turn, and so do the pages.
    for (n, name) in names.iter().enumerate() {
        assert!(take(&mut hits, 1, name, n as u8));
        assert!(n % 20 > 0 || take(&mut hits, 2, name, 200));
    }
    let all = rows(&hits, None, 0);
    assert_eq!(all.iter().map(|(id, _)| *id).collect::<Vec<_>>(), (1..=53).collect::<Vec<_>>());
    let first = rows(&hits, Some(1), 0);
    assert_eq!(first.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>(), names);
    for (search, whole) in [(Some(1), &first), (None, &all)] {
        for after in 0..=54 {
            let rest: Vec<_> = whole.iter().filter(|(id, _)| *id > after).cloned().collect();
            assert_eq!(rows(&hits, search, after), rest, "{search:?} after {after}");
        }
    }
    assert_eq!(rows(&hits, Some(1), u32::MAX), []);
    assert_eq!((hits.count(SearchId(1)), hits.count(SearchId(2)), hits.ids().count()), (50, 3, 53));
    let of_content = |n| hits.of_content(ContentHash([n; 32])).map(|hit| hit.name().to_string()).collect::<Vec<_>>();
    assert_eq!((of_content(17), of_content(200).len(), of_content(100).len()), (vec!["017".to_owned()], 3, 0));
    assert!(hits.get(HitId(0)).is_none() && hits.get(HitId(54)).is_none());
}

#[test]
fn what_comes_out_of_order_is_taken_once_all_the_same() {
    let mut hits = Hits::default();
    for name in ["a", "c", "c", "b", "a", "b", "d", "c", "d"] {
        assert!(take(&mut hits, 1, name, 1));
    }
    let names: Vec<String> = rows(&hits, Some(1), 0).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["a", "c", "b", "d"], "in the order of the list");
    assert_eq!((hits.count(SearchId(1)), hits.of_content(ContentHash([1; 32])).count()), (4, 4));
    let longer =
        Answer { file: Listed { attributes: None, ..answer(peer(1), "c", 1).file }, ..answer(peer(1), "c", 1) };
    assert!(hits.take_listed(NOW, SearchId(1), &longer, 1_000).is_ok());
    assert_eq!(hits.count(SearchId(1)), 5, "another size is another file");
}

/// Adds files with long names to a list until one is not taken; how many were taken.
fn list(listings: &mut Listings, now: Instant, search: u32, of: SocketAddr, files: usize) -> usize {
    let long = "n".repeat(3_700);
    let taken = (0..files).take_while(|n| {
        let id = HitId(search * 1_000_000 + *n as u32);
        let answer = answer(of, &format!("{n:06}{long}"), 1);
        matches!(listings.take(now, SearchId(search), &answer, id, 1_000_000), Some(Ok(())))
    });
    let taken = taken.count();
    listings.check_invariants();
    taken
}

/// More files with long names than there is room for.
const TOO_MANY: usize = LISTINGS_BYTES_MAX / 3_700;

#[test]
fn a_list_that_is_too_large_loses_its_end_and_is_not_gone_on_with() {
    let mut listings = Listings::default();
    let taken = list(&mut listings, NOW, 1, peer(1), TOO_MANY);
    assert!((TOO_MANY * 9 / 10..TOO_MANY).contains(&taken), "{taken} of {TOO_MANY}");
    assert!(listings.is_cut(SearchId(1)));
    // A list that is as large makes room at its cost; then the first one has a gap, and takes no more.
    let other = list(&mut listings, NOW, 2, peer(2), TOO_MANY) as u64;
    let count = listings.count(SearchId(1));
    assert!(count.abs_diff(other) <= 2 * PAGE_FILES_MAX as u64, "{count} and {other}");
    assert_eq!(listings.rows_cut, taken as u64 - count);
    let next = answer(peer(1), "z", 1);
    assert!(matches!(listings.take(NOW, SearchId(1), &next, HitId(5), 1_000_000), Some(Err(_))));
    assert_eq!(listings.from(Some(SearchId(1)), HitId(0)).count() as u64, count, "its first rows stay");
}

#[test]
fn a_list_that_gave_way_whole_is_known_to_be_cut_until_its_search_is_forgotten() {
    let mut listings = Listings::default();
    list(&mut listings, NOW, 1, peer(1), TOO_MANY / 4);
    list(&mut listings, NOW, 2, peer(1), TOO_MANY);
    assert_eq!((listings.count(SearchId(1)), listings.is_cut(SearchId(1))), (0, true));
    assert_eq!(list(&mut listings, NOW, 1, peer(1), 1), 0, "it does not begin again in its middle");
    listings.close(SearchId(1), false);
    assert!(!listings.is_cut(SearchId(1)));
    // One that is forgotten first has no entry without rows.
    listings.close(SearchId(2), false);
    list(&mut listings, NOW, 3, peer(1), TOO_MANY);
    assert_eq!((listings.count(SearchId(2)), listings.is_cut(SearchId(2))), (0, false));
    listings.check_invariants();
}

#[test]
fn a_later_list_of_the_same_peer_does_not_give_way_before_its_time() {
    let mut listings = Listings::default();
    let many = TOO_MANY / 10 * 6;
    assert_eq!(list(&mut listings, NOW, 2, peer(1), many), many);
    list(&mut listings, NOW, 1, peer(1), many);
    let [earlier, later] = [1, 2].map(|search| listings.count(SearchId(search)) as usize);
    assert!(later + 2 * PAGE_FILES_MAX > earlier, "as large as another one: {earlier} and {later}");
}

#[test]
fn an_earlier_list_of_the_same_peer_gives_way_first_and_then_what_was_not_seen_for_long() {
    let mut listings = Listings::default();
    for (search, of, at) in [(1, peer(1), LATER), (2, peer(2), NOW), (3, peer(3), NOW)] {
        assert_eq!(list(&mut listings, at, search, of, TOO_MANY / 4), TOO_MANY / 4);
    }
    listings.note_seen(LATER, SearchId(3));
    let counts = |listings: &Listings| [1, 2, 3].map(|search| listings.count(SearchId(search)) as usize);
    let again = TOO_MANY / 10 * 4;
    assert_eq!(list(&mut listings, LATER, 4, peer(1), again), again);
    let [same_peer, unseen, seen] = counts(&listings);
    assert!(same_peer < TOO_MANY / 4 && (unseen, seen) == (TOO_MANY / 4, TOO_MANY / 4), "{same_peer}");
    list(&mut listings, LATER, 5, peer(1), TOO_MANY / 10 * 4);
    assert_eq!(counts(&listings), [0, TOO_MANY / 4, TOO_MANY / 4]);
    assert_eq!(list(&mut listings, LATER, 6, peer(6), TOO_MANY / 4), TOO_MANY / 4);
    let [_, unseen, seen] = counts(&listings);
    assert!(unseen < TOO_MANY / 4 && seen == TOO_MANY / 4, "{unseen}");
    assert_eq!(listings.rows_cut, 0, "nothing gave way before its time");
}
