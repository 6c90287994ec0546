//! Wishes: what they ask, what is new, and what is on the disk.

mod records;

use super::rig::*;
use crate::control::{CallError, EventKind, HitRow, RawText, Reply, Request, WholeNames, WishRow, WishState};
use crate::fault::DiskFault;
use crate::id::{ContentHash, QueryId, TransferId};
use crate::node::Node;
use crate::node::contract::{Action, Event, FoundState, Remembered, WishRecord};
use crate::node::limits::{WISH_FOUND_MAX, WISHES_MAX};
use crate::wire::{Attributes, Listed, Message, Search};
use std::net::SocketAddr;
use std::time::Duration;

pub(super) fn order(text: &str, download: bool, limit: Option<u32>) -> Request {
    Request::Wish { text: RawText::new(text), download, limit }
}

fn wish(rig: &mut Rig, text: &str) -> u32 {
    made(rig.call(order(text, false, None)))
}

fn made(answer: Result<Reply, CallError>) -> u32 {
    match answer {
        Ok(Reply::Wish(row)) => row.id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wish_of_few_letters_finds_whole_names_alone_and_says_so() {
    let mut rig = Rig::new(config());
    for (text, why) in [("ab", Some(WholeNames::TooShort)), ("abc", None)] {
        wish(&mut rig, text);
        assert_eq!(rows(&mut rig).last().unwrap().whole_names, why, "{text}");
    }
}

fn rows(rig: &mut Rig) -> Vec<WishRow> {
    match rig.call(Request::Wishes { after: 0 }) {
        Ok(Reply::Wishes(reply)) => reply.wishes,
        other => panic!("{other:?}"),
    }
}

fn found(rig: &mut Rig) -> Vec<u64> {
    rows(rig).iter().map(|row| row.found).collect()
}

fn unwish(rig: &mut Rig, which: &str) -> Result<Vec<u32>, CallError> {
    match rig.call(Request::Unwish { which: RawText::new(which) })? {
        Reply::Unwished(reply) => Ok(reply.unwished),
        other => panic!("{other:?}"),
    }
}

/// What was asked within this time, and whom.
pub(super) fn asked(rig: &mut Rig, span: Duration) -> Vec<(Search, SocketAddr)> {
    rig.pass(span);
    let mut asked = Vec::new();
    for (exchange, peer, messages) in rig.dials() {
        // Downloads search, too.
        if let [Message::Search(search)] = &messages[..]
            && !search.text.starts_with(b"b3=")
        {
            asked.push((search.clone(), peer));
        }
        rig.deliver(exchange);
    }
    asked
}

/// The first query within half a minute.
pub(super) fn query(rig: &mut Rig) -> QueryId {
    asked(rig, Duration::from_secs(30)).remove(0).0.id
}

pub(super) fn file(name: &str, size: u64, b3: u8) -> Listed {
    let b3 = (b3 > 0).then_some(ContentHash([b3; 32]));
    Listed { attributes: Some(Attributes { size: Some(size), b3, more: false }), ..listed(name, Some(size)) }
}

/// The events of the log: kind, wish and name.
fn events(rig: &mut Rig) -> Vec<(EventKind, Option<u32>, String)> {
    match rig.call(Request::EventLog { since: Some(0) }) {
        Ok(Reply::EventLog(page)) => page
            .events
            .into_iter()
            .map(|event| (event.event, event.wish, String::from_utf8_lossy(event.name.as_bytes()).into_owned()))
            .collect(),
        other => panic!("{other:?}"),
    }
}

/// The last records of wishes that were ordered.
pub(super) fn records(rig: &mut Rig) -> Vec<(WishRecord, u64)> {
    rig.take(|order| match order {
        Action::RememberWish { record: Some(record), revision, .. } => Some((WishRecord::clone(record), *revision)),
        _ => None,
    })
}

#[test]
fn a_wish_asks_one_peer_at_a_time_within_a_budget_and_no_peer_forwards_it() {
    let mut rig = Rig::among((1..=30).map(peer).collect(), &[]);
    let texts: Vec<String> = (0..3).map(|n| format!("wish {n}")).collect();
    for text in &texts {
        wish(&mut rig, text);
    }
    let at_once = asked(&mut rig, Duration::from_secs(3));
    assert_eq!(at_once.len(), 8, "what was saved");
    assert!(at_once.iter().all(|(search, _)| search.ttl == 0 && search.id.is_p1() && search.requester == us()));
    let later = asked(&mut rig, Duration::from_secs(15 * 60 - 3));
    assert!((55..=62).contains(&later.len()), "four a minute: {}", later.len());
    for text in &texts {
        let of_text = at_once.iter().chain(&later).filter(|(search, _)| *search.text == *text.as_bytes());
        let mut peers: Vec<_> = of_text.map(|(_, peer)| *peer).collect();
        let all = peers.len();
        peers.sort();
        peers.dedup();
        assert!(all >= 20 && peers.len() == all, "each peer once before one is asked again: {all} {}", peers.len());
    }
}

#[test]
fn few_peers_are_asked_again_in_rounds() {
    let mut rig = Rig::among((1..=3).map(peer).collect(), &[]);
    wish(&mut rig, "blue train");
    assert_eq!(asked(&mut rig, Duration::from_secs(290)).len(), 3);
    let row = rows(&mut rig).remove(0);
    let (last, next) = (row.last_asked.unwrap(), row.next_ask.unwrap());
    assert!((280..=320).contains(&(next - last)), "{last} {next}");
    assert_eq!(asked(&mut rig, Duration::from_secs(60)).len(), 3);
    assert_eq!(asked(&mut rig, Duration::from_secs(600)).len(), 6);
    unwish(&mut rig, "all").unwrap();
    assert_eq!(asked(&mut rig, Duration::from_secs(600)).len(), 0);
}

#[test]
fn a_content_is_reported_once_whoever_offers_it() {
    let mut rig = Rig::among((1..=2).map(peer).collect(), &[("mine.mp3", 7)]);
    wish(&mut rig, "mp3 type:audio size:>5");
    let id = query(&mut rig);
    rig.hit(&id, peer(1), file("a.mp3", 9, 1));
    rig.hit(&id, peer(2), file("other name.mp3", 9, 1));
    assert_eq!(found(&mut rig), [1]);
    // Without a hash it is told by peer, name and size; the hash may come later.
    rig.hit(&id, peer(1), file("b.mp3", 9, 0));
    rig.hit(&id, peer(1), file("b.mp3", 9, 2));
    rig.hit(&id, peer(2), file("b again.mp3", 9, 2));
    assert_eq!(found(&mut rig), [2]);
    // What does not fit, and what we share, is not found.
    rig.hit(&id, peer(1), file("small.mp3", 3, 3));
    rig.hit(&id, peer(1), file("mp3.txt", 9, 4));
    rig.hit(&id, peer(1), file("forged.ogg", 9, 5));
    rig.hit(&id, peer(1), file("mine.mp3", 7, 6));
    assert_eq!(found(&mut rig), [2]);
    rig.pass(Duration::from_secs(1));
    let wish = |name: &str| (EventKind::Wish, Some(1), name.to_owned());
    assert_eq!(events(&mut rig), [wish("a.mp3"), wish("b.mp3")]);

    let Ok(Reply::SearchStarted(shown)) = rig.call(Request::WishHits { id: 1 }) else { panic!("shown") };
    let hits: Vec<HitRow> = rig.hits(Some(shown.search));
    assert_eq!(hits.iter().map(|hit| hit.name.as_bytes()).collect::<Vec<_>>(), [b"a.mp3", b"b.mp3"]);
    let Ok(Reply::SearchStarted(again)) = rig.call(Request::WishHits { id: 1 }) else { panic!("shown") };
    assert_eq!((again.search, rig.hits(Some(again.search)).len()), (shown.search, 2), "the same rows");
    assert_eq!(rig.call(Request::WishHits { id: 9 }).unwrap_err().code, 3);
}

#[test]
fn what_is_downloaded_already_is_not_new() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let b3 = ContentHash([1; 32]).to_string();
    let what = vec![crate::control::Selector::Content(b3)];
    rig.call(Request::Download { what, output: None }).unwrap();
    wish(&mut rig, "song");
    let id = query(&mut rig);
    rig.hit(&id, peer(1), file("song", 9, 1));
    assert_eq!(found(&mut rig), [0]);
    rig.hit(&id, peer(1), file("song", 9, 2));
    assert_eq!(found(&mut rig), [1]);
}

#[test]
fn what_is_found_is_downloaded_when_it_is_on_the_disk_and_up_to_the_limit() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.call(order("song", true, Some(2))).unwrap();
    let id = query(&mut rig);
    rig.remembers = false;
    records(&mut rig);
    rig.hit(&id, peer(1), file("song a", 9, 1));
    rig.hit(&id, peer(1), file("song b", 9, 2));
    rig.hit(&id, peer(1), file("song c", 9, 3));
    rig.pass(Duration::from_secs(1));
    let (record, revision) = records(&mut rig).pop().expect("saved together");
    assert_eq!((record.found.len(), record.events.len()), (2, 2));
    assert!(record.found.iter().all(|file| file.state == FoundState::Wanted));
    assert!(events(&mut rig).is_empty() && downloads(&mut rig) == 0, "not before it is on the disk");

    rig.handle(Event::Recorded { download: record.id, revision, outcome: Ok(()) });
    assert_eq!((events(&mut rig).len(), downloads(&mut rig)), (2, 2));
    rig.pass(Duration::from_secs(1));
    assert!(records(&mut rig).is_empty(), "not before the downloads have records");
    for download in [2, 3].map(TransferId) {
        rig.handle(Event::Recorded { download, revision: 100, outcome: Ok(()) });
    }
    rig.pass(Duration::from_secs(1));
    let (record, _) = records(&mut rig).pop().expect("saved");
    let begun: Vec<_> = record.found.iter().map(|file| file.state).collect();
    assert_eq!(begun, [2, 3].map(|id| FoundState::Begun(TransferId(id))));
    let row = rows(&mut rig).remove(0);
    assert_eq!((row.state, row.found, row.begun), (WishState::Downloading, 2, 2));
    assert_eq!((row.next_ask, asked(&mut rig, Duration::from_secs(600)).len()), (None, 0));

    // The next run begins what has no record, and nothing twice.
    let mut after = record.clone();
    after.found[1].state = FoundState::Wanted;
    let mut rig = recalled(vec![after]);
    assert_eq!(downloads(&mut rig), 0);
    rig.pass(Duration::from_secs(2));
    assert_eq!(downloads(&mut rig), 1);
}

#[test]
fn what_cannot_be_downloaded_yet_is_tried_again_though_the_wish_asks_nobody_any_more() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.call(order("song", true, None)).unwrap();
    let id = query(&mut rig);
    for round in 0..10 {
        let what = (0..1_000)
            .map(|n| crate::control::Selector::File { peer: peer(2), name: RawText::new(format!("{round}/{n}")) });
        rig.call(Request::Download { what: what.collect(), output: None }).unwrap();
    }
    rig.hit(&id, peer(1), file("song", 9, 1));
    rig.pass(Duration::from_secs(1));
    let row = rows(&mut rig).remove(0);
    assert_eq!((row.state, row.found, row.begun), (WishState::Downloading, 1, 0));
    assert!(row.error.unwrap().message.contains("10000"), "so many downloads are unfinished");
    // One that has not begun to fetch.
    rig.call(Request::Cancel { ids: "9000".into() }).unwrap();
    rig.pass(Duration::from_secs(32));
    let row = rows(&mut rig).remove(0);
    assert_eq!((row.begun, row.error), (1, None));
}

pub(super) fn downloads(rig: &mut Rig) -> usize {
    match rig.call(Request::Downloads { after: 0 }) {
        Ok(Reply::Downloads(reply)) => reply.downloads.len(),
        other => panic!("{other:?}"),
    }
}

/// A node with what an earlier run left.
pub(super) fn recalled(wishes: Vec<WishRecord>) -> Rig {
    recalled_with(Remembered { wishes, ..Remembered::default() })
}

pub(super) fn recalled_with(remembered: Remembered) -> Rig {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let peers = remembered_peers(vec![peer(1)]);
    let remembered = Remembered { peers, download_last: 9, ..remembered };
    let config = crate::node::NodeConfig { bootstraps: Vec::new(), ..config() };
    rig.node = Node::new(rig.now, config, [4; 32], remembered);
    rig.orders.clear();
    rig.scan(&[]);
    rig
}

#[test]
fn a_restart_remembers_wishes_and_what_they_have_found() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    wish(&mut rig, "song");
    let id = query(&mut rig);
    rig.hit(&id, peer(1), file("song a", 9, 1));
    rig.pass(Duration::from_secs(1));
    let (record, _) = records(&mut rig).pop().expect("saved");
    let mut rig = recalled(vec![record]);
    assert_eq!((found(&mut rig), events(&mut rig).len()), (vec![1], 1));
    let id = query(&mut rig);
    rig.hit(&id, peer(1), file("song a", 9, 1));
    rig.hit(&id, peer(1), file("song b", 9, 2));
    rig.pass(Duration::from_secs(1));
    assert_eq!((found(&mut rig), events(&mut rig).len()), (vec![2], 2));
    assert_eq!(wish(&mut rig, "further"), 10, "no id is given twice");
}

#[test]
fn a_wish_is_answered_when_it_is_on_the_disk_and_refused_when_it_cannot_be() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.remembers = false;
    rig.begin_call(order("song", false, None));
    assert!(replies(&mut rig).is_empty());
    assert!(asked(&mut rig, Duration::from_secs(1)).is_empty());
    let (_, revision) = records(&mut rig).remove(0);
    rig.handle(Event::Recorded { download: TransferId(1), revision, outcome: Err(DiskFault::Full) });
    let refused = replies(&mut rig).remove(0).unwrap_err();
    assert!(refused.message.contains("nothing was begun"), "{refused}");
    assert!(rows(&mut rig).is_empty());

    // A disk that does not answer is waited for five seconds.
    rig.begin_call(order("song", false, None));
    let (_, revision) = records(&mut rig).remove(0);
    rig.pass(Duration::from_secs(6));
    let Some(Ok(Reply::Wish(row))) = replies(&mut rig).pop() else { panic!("answered") };
    assert!(row.error.is_some());
    rig.handle(Event::Recorded { download: TransferId(2), revision, outcome: Ok(()) });
    assert_eq!(rows(&mut rig)[0].error, None);

    // It is ended when that is on the disk.
    rig.orders.clear();
    rig.begin_call(Request::Unwish { which: RawText::new("song") });
    assert!(replies(&mut rig).is_empty());
    let removed = rig.take(|order| match order {
        Action::RememberWish { record: None, revision, .. } => Some(*revision),
        _ => None,
    });
    let [revision] = removed[..] else { panic!("{removed:?}") };
    rig.handle(Event::Recorded { download: TransferId(2), revision, outcome: Ok(()) });
    assert!(matches!(replies(&mut rig).pop(), Some(Ok(Reply::Unwished(reply))) if reply.unwished == [2]));
}

pub(super) fn replies(rig: &mut Rig) -> Vec<Result<Reply, CallError>> {
    rig.take(|order| match order {
        Action::Reply { outcome, .. } => Some(outcome.clone()),
        _ => None,
    })
}

#[test]
fn wrong_wishes_are_refused() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    for (text, limit, code, part) in [
        ("", None, 28, "1 to 512 bytes"),
        ("  ", None, 28, "1 to 512 bytes"),
        ("a\nb", None, 28, "control bytes"),
        (&"x".repeat(513), None, 28, "1 to 512 bytes"),
        ("type:nothing song", None, 28, "no type"),
        ("size:>10 MiB song", None, 28, "write size:>10MiB"),
        ("-a", None, 28, "needs a word"),
        ("song", Some(0), 28, "from 1 to 500"),
        ("song", Some(501), 28, "from 1 to 500"),
    ] {
        let error = rig.call(order(text, true, limit)).unwrap_err();
        assert!(error.code == code && error.message.contains(part), "{text}: {error}");
    }
    assert_eq!(wish(&mut rig, "song"), 1);
    for same in [" song ", "SONG"] {
        let error = rig.call(order(same, true, None)).unwrap_err();
        assert!(error.code == 13 && error.message.contains("'song' is wish 1"), "{error}");
    }
    for (which, part) in [
        ("7", "no such id: 7; `pyratectl wishes`"),
        ("2-4", "no such ids"),
        ("songs", "no such wish"),
        ("4-2", "empty"),
    ] {
        let error = unwish(&mut rig, which).unwrap_err();
        assert!(error.message.contains(part), "{which}: {error}");
    }
    assert_eq!(unwish(&mut rig, "song"), Ok(vec![1]));
    assert_eq!(unwish(&mut rig, "all"), Ok(vec![]));
    for n in 0..WISHES_MAX {
        wish(&mut rig, &format!("song {n}"));
    }
    let error = rig.call(order("one more", false, None)).unwrap_err();
    assert!(error.message.contains("1000 wishes"), "{error}");
    assert_eq!(unwish(&mut rig, "all").map(|ids| ids.len()), Ok(WISHES_MAX));
}

#[test]
fn recorded_wishes_beyond_the_limit_are_left_out() {
    let text = |n: u32| RawText::new(format!("song {n}").into_bytes());
    let wish = |n: u32| WishRecord {
        id: TransferId(n),
        text: text(n),
        since: 0,
        download: false,
        limit: None,
        found: Vec::new(),
        events: Vec::new(),
    };
    let mut rig = recalled((1..=WISHES_MAX as u32 + 3).map(wish).collect());
    assert_eq!(unwish(&mut rig, "all").map(|ids| ids.len()), Ok(WISHES_MAX));
}

#[test]
fn a_wish_is_full_when_it_has_found_too_much_and_one_network_cannot_fill_it() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    wish(&mut rig, "song");
    let id = query(&mut rig);
    let offer = |rig: &mut Rig, network: u8, from: usize, many: usize| {
        for n in from..from + many {
            rig.hit(&id, SocketAddr::from(([10, network, 1, 1], 63_339)), file(&format!("song {network} {n}"), 9, 0));
        }
    };
    offer(&mut rig, 1, 0, 300);
    assert_eq!(found(&mut rig), [200]);
    offer(&mut rig, 2, 0, 200);
    offer(&mut rig, 3, 0, 200);
    let row = rows(&mut rig).remove(0);
    assert_eq!((row.found, row.state), (WISH_FOUND_MAX as u64, WishState::Full));
    rig.pass(Duration::from_secs(1));
    assert_eq!(events(&mut rig).len(), WISH_FOUND_MAX, "none is forgotten, though downloads have fewer");
    assert_eq!(asked(&mut rig, Duration::from_secs(900)).len(), 0);
}

#[test]
fn a_wish_that_is_ended_before_it_is_remembered_is_no_such_wish() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.remembers = false;
    rig.begin_call(order("song", false, None));
    rig.begin_call(Request::Unwish { which: RawText::new("all") });
    for revision in [1, 2] {
        rig.handle(Event::Recorded { download: TransferId(1), revision, outcome: Ok(()) });
    }
    let [Err(problem), Ok(Reply::Unwished(_))] = &replies(&mut rig)[..] else { panic!("two answers") };
    assert!(problem.message.contains("no such wish: '1'"), "{problem}");
}

#[test]
fn a_peer_that_takes_no_further_message_now_is_asked_later_in_the_same_round() {
    // It has not answered in this run: few searches are sent to it at once.
    let mut rig = recalled(Vec::new());
    let texts: Vec<String> = (10..22).map(|n| format!("wish {n}")).collect();
    for text in &texts {
        wish(&mut rig, text);
    }
    rig.pass(Duration::from_secs(90));
    let mut asked_for = Vec::new();
    for _ in 0..30 {
        for (exchange, _, messages) in rig.dials() {
            if let [Message::Search(search)] = &messages[..] {
                asked_for.push(search.text.clone());
            }
            rig.deliver(exchange);
        }
        rig.pass(Duration::from_secs(5));
    }
    let mut all: Vec<_> = asked_for.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect();
    all.sort();
    assert_eq!(all, texts, "within four minutes");
}
