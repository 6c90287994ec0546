//! Searches with quotes, exclusions and patterns: who gets them, and which hits are shown.

use super::rig::*;
use crate::control::{ExitCode, RawText, Reply, Request, SearchRow, SearchStarted, SearchesReply, WholeNames};
use crate::node::limits::SEARCHES_REMEMBERED_MAX;
use crate::wire::{Message, Search};
use std::net::SocketAddr;
use std::time::Duration;

/// Peer 1 has shown that it speaks `p1`, peer 2 has not.
fn rig(files: &[(&str, u64)]) -> Rig {
    let mut rig = Rig::among(vec![peer(1), peer(2)], files);
    rig.search_within("first", Some(0));
    let first = searches(&mut rig).remove(0).1;
    rig.hit(&first.id, peer(1), listed("first", Some(1)));
    rig.hit(&first.id, peer(2), listed("first", None));
    rig.notices();
    rig
}

/// Takes the searches sent, with their destinations. Hits are taken too, and counted by [`answers`].
fn searches(rig: &mut Rig) -> Vec<(SocketAddr, Search)> {
    sent(rig)
        .into_iter()
        .filter_map(|(to, message)| match message {
            Message::Search(search) => Some((to, search)),
            _ => None,
        })
        .collect()
}

/// Takes the names sent as hits.
fn answers(rig: &mut Rig) -> Vec<String> {
    sent(rig)
        .into_iter()
        .filter_map(|(_, message)| match message {
            Message::SearchResponse(hit) => Some(hit.file.name.to_string()),
            _ => None,
        })
        .collect()
}

fn sent(rig: &mut Rig) -> Vec<(SocketAddr, Message)> {
    let mut sent = Vec::new();
    for (exchange, to, messages) in rig.dials() {
        rig.deliver(exchange);
        sent.extend(messages.into_iter().map(|message| (to, message)));
    }
    sent
}

fn texts(sent: Vec<(SocketAddr, Search)>) -> Vec<(SocketAddr, String)> {
    let mut texts: Vec<_> =
        sent.into_iter().map(|(to, search)| (to, String::from_utf8_lossy(&search.text).into_owned())).collect();
    texts.sort();
    texts
}

const QUERY: &str = "\"abbey road\" *.ogg -live";

#[test]
fn a_base_peer_gets_the_plain_words_of_a_query_and_a_p1_peer_all_of_it() {
    let mut rig = rig(&[]);
    rig.search_within(QUERY, Some(0));
    let expected = [(peer(1), QUERY.to_owned()), (peer(2), "abbey road .ogg".to_owned())];
    assert_eq!(texts(searches(&mut rig)), expected);
    rig.search_within("Abbey Road - 01.ogg", Some(0));
    let plain = texts(searches(&mut rig));
    assert!(plain.iter().all(|(_, text)| text == "Abbey Road - 01.ogg"), "{plain:?}");
}

#[test]
fn hits_that_do_not_fulfil_the_query_are_not_shown() {
    let mut rig = rig(&[]);
    let search = rig.search_within(QUERY, Some(0));
    let id = searches(&mut rig).remove(0).1.id;
    for name in ["Abbey Road/1.ogg", "abbey road live.ogg", "Abbey Road/1.mp3", "road abbey.ogg", "Abbey_Roád.OGG"] {
        rig.hit(&id, peer(2), listed(name, None));
    }
    let names: Vec<_> = rig.hits(Some(search)).into_iter().map(|row| row.name).collect();
    assert_eq!(names, [RawText::new("Abbey Road/1.ogg"), RawText::new("Abbey_Roád.OGG")]);
    // For plain words the responder decides: a base program may compare in its own way.
    let search = rig.search_within("abbey", Some(0));
    let id = searches(&mut rig).remove(0).1.id;
    rig.hit(&id, peer(2), listed("A'b'b'ey", None));
    assert_eq!(rig.hits(Some(search)).len(), 1);
}

#[test]
fn a_search_with_operators_is_answered_and_forwarded_in_the_form_each_neighbour_supports() {
    let mut rig = rig(&[("jazz live.ogg", 1), ("jazz.ogg", 1), ("jazz.mp3", 1)]);
    let from = SocketAddr::new(peer(9).ip(), 40_000);
    rig.request(from, query(b"p1-0000000000000001", "jazz -live *.ogg", peer(9), 1));
    let mut out = sent(&mut rig);
    out.retain(|(to, _)| *to != peer(9));
    let forwards = out.into_iter().filter_map(|(to, message)| match message {
        Message::Search(search) => Some((to, search)),
        _ => None,
    });
    let expected = [(peer(1), "jazz -live *.ogg".to_owned()), (peer(2), "jazz .ogg".to_owned())];
    assert_eq!(texts(forwards.collect()), expected);

    rig.request(from, query(b"p1-0000000000000002", "jazz -live *.ogg", peer(9), 0));
    assert_eq!(answers(&mut rig), ["jazz.ogg"]);
    // A copy with exclusions that arrives earlier does not suppress a search; a wider one answers for a narrower one.
    rig.request(from, query(b"p1-0000000000000002", "jazz .ogg", peer(9), 0));
    assert_eq!(answers(&mut rig), ["jazz live.ogg", "jazz.ogg"]);
    rig.request(from, query(b"p1-0000000000000003", "jazz", peer(9), 0));
    assert_eq!(answers(&mut rig).len(), 3);
    rig.request(from, query(b"p1-0000000000000003", "jazz -live", peer(9), 0));
    assert_eq!(answers(&mut rig), Vec::<String>::new());
}

#[test]
fn a_query_that_is_too_short_is_reported() {
    let mut rig = rig(&[]);
    let begin =
        |rig: &mut Rig, text: &str| rig.call(Request::Search { text: RawText::new(text), max: None, ttl: None });
    for text in ["-live", "*", "??? -a", "-\"a b\""] {
        assert_eq!(begin(&mut rig, text).unwrap_err().code, ExitCode::Usage as i32, "{text}");
    }
    for text in ["", "  ", "\t"] {
        let refused = begin(&mut rig, text).unwrap_err();
        assert!(refused.message.contains("text that is not blank"), "{text:?}: {refused}");
    }
    let whole_names = |rig: &mut Rig, text: &str| match begin(rig, text) {
        Ok(Reply::SearchStarted(SearchStarted { whole_names, .. })) => whole_names,
        other => panic!("{other:?}"),
    };
    assert_eq!(whole_names(&mut rig, "ab"), Some(WholeNames::TooShort));
    assert_eq!(whole_names(&mut rig, "é"), Some(WholeNames::TooShort));
    assert_eq!(whole_names(&mut rig, "abc"), None);
    assert_eq!(whole_names(&mut rig, "日本"), None);
    assert_eq!(whole_names(&mut rig, &"a* ".repeat(99)), Some(WholeNames::TooLong));
    // No file of exactly that name has the type.
    for text in ["a type:audio", "type:audio,video a", "a.z -type:archive", "a* size:>1 type:iso"] {
        let wish = Request::Wish { text: RawText::new(text), download: false, limit: None };
        for error in [begin(&mut rig, text).unwrap_err(), rig.call(wish).unwrap_err()] {
            assert!(error.message.contains("search for a longer word"), "{text}: {error}");
        }
    }
    for text in ["a size:>1", "A.Z type:archive", "a -type:audio"] {
        assert_eq!(whole_names(&mut rig, text), Some(WholeNames::TooShort), "{text}");
    }
    assert!(begin(&mut rig, "type:audio").unwrap_err().message.contains("needs a word"));
}

#[test]
fn filters_are_read_by_p1_peers_and_applied_to_what_others_send() {
    let mut rig = rig(&[]);
    let search = rig.search_within("song size:>5 path:live", Some(0));
    let all = searches(&mut rig);
    let id = all[0].1.id.clone();
    let sent = "song live -pyratefilter:size:6.. -pyratefilter:path:live";
    assert_eq!(texts(all), [(peer(1), sent.to_owned()), (peer(2), "song live".to_owned())]);
    for (name, size) in
        [("live/song", Some(6)), ("live/song 2", Some(5)), ("live/song 3", None), ("song live", Some(9))]
    {
        rig.hit(&id, peer(2), listed(name, size));
        rig.hit(&id, peer(2), listed(name, size));
    }
    let names: Vec<_> = rig.hits(Some(search)).into_iter().map(|row| row.name).collect();
    assert_eq!(names, [RawText::new("live/song")]);
    let row = remembered(&mut rig).pop().unwrap();
    assert_eq!((row.hits, row.filtered, row.text), (1, 3, Some(RawText::new("song size:>5 path:live"))));

    let begin =
        |rig: &mut Rig, text: &str| rig.call(Request::Search { text: RawText::new(text), max: None, ttl: None });
    for text in ["size:>5", "type:audio -x", "song size:big", "song type:sound", "song path:*", &"é".repeat(2_000)] {
        assert_eq!(begin(&mut rig, text).unwrap_err().code, ExitCode::Usage as i32, "{text}");
    }
    let long = format!("{} path:{}", "a".repeat(2_000), "b".repeat(2_000));
    assert_eq!(begin(&mut rig, &long).unwrap_err().code, ExitCode::Usage as i32, "longer than a peer takes");
}

#[test]
fn an_answer_is_spent_on_what_the_filters_let_pass() {
    let mut rig = rig(&[("song a.ogg", 1), ("song b.ogg", 9), ("song c.mkv", 9)]);
    let from = SocketAddr::new(peer(9).ip(), 40_000);
    let text = "song -pyratefilter:size:9.. -pyratefilter:type:audio";
    rig.request(from, query(b"p1-0000000000000001", text, peer(9), 1));
    let out = sent(&mut rig);
    let hits: Vec<_> = out.iter().filter(|(to, _)| *to == peer(9)).collect();
    assert!(matches!(&hits[..], [(_, Message::SearchResponse(hit))] if hit.file.name.as_bytes() == b"song b.ogg"));
    let forwards = out.into_iter().filter_map(|(to, message)| match message {
        Message::Search(search) => Some((to, search)),
        _ => None,
    });
    assert_eq!(texts(forwards.collect()), [(peer(1), text.to_owned()), (peer(2), "song".to_owned())]);
}

/// The searches that are remembered.
fn remembered(rig: &mut Rig) -> Vec<SearchRow> {
    match rig.call(Request::Searches { after: 0 }) {
        Ok(Reply::Searches(SearchesReply { searches, next: None })) => searches,
        other => panic!("{other:?}"),
    }
}

#[test]
fn searches_are_remembered_when_they_are_over_until_there_are_too_many() {
    let mut rig = rig(&[]);
    rig.call(Request::List { peer: peer(1) }).unwrap();
    rig.pass(Duration::from_secs(900));
    let rows = remembered(&mut rig);
    let shown: Vec<_> = rows.iter().map(|row| (row.id, row.text.clone(), row.peer, row.running)).collect();
    assert_eq!(shown, [(1, Some(RawText::new("first")), None, false), (2, None, Some(peer(1)), true)]);
    assert!(rows[0].age_s >= 900 && rows[0].hits == 2, "{rows:?}");
    for n in 0..SEARCHES_REMEMBERED_MAX {
        rig.search_within(&format!("song {n}"), Some(0));
        rig.pass(Duration::from_secs(20));
        sent(&mut rig);
    }
    let Ok(Reply::Searches(page)) = rig.call(Request::Searches { after: 0 }) else { panic!("searches") };
    assert_eq!((page.searches[0].id, page.searches.len(), page.next), (3, 500, Some(502)));
}
