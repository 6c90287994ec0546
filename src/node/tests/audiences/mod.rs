//! Shares that are for some peers alone: what others get, and what happens when the audience changes.

mod local;
mod property;
mod replaced;

use super::hashing::{b3_of, batches, hash_all};
use super::rig::*;
use super::search_end::said;
use crate::audience::{Audience, Audiences, Requester};
use crate::control::{FileRow, Linkable, RawText, Reply, Request};
use crate::id::{ExchangeId, QueryId};
use crate::library::{RecentFile, ScanReport, ScannedFile};
use crate::node::contract::{Action, Event, NodeConfig, Refusal, ResponseFault};
use crate::node::limits::UPLOAD_RATE_MIN;
use crate::wire::Message;
use std::net::SocketAddr;
use std::time::Duration;

/// Peer 1 is at home, peer 2 is not.
fn home() -> Audience {
    Audience::of([peer(1).ip().to_string()]).unwrap()
}

/// The share `home` is for peers at home.
fn at_home() -> Audiences {
    Audiences::new(Audience::all(), [("home", home())])
}

/// Nothing is for anybody but peer 3.
fn nowhere() -> Audiences {
    let nobody = || Audience::of([peer(3).ip().to_string()]).unwrap();
    Audiences::new(nobody(), [("home", nobody())])
}

fn sharing(audiences: Audiences, files: &[(&str, u64)]) -> Rig {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), audiences, ..config() });
    rig.scan(files);
    rig
}

const FILES: &[(&str, u64)] = &[("home/d/letter", 5), ("home/song.ogg", 3), ("public/song.ogg", 7)];

fn reconfigure(rig: &mut Rig, audiences: Audiences) {
    let config = NodeConfig { audiences, ..rig.node.config().clone() };
    rig.handle(Event::Reconfigure(Box::new(config)));
}

fn source(n: u8) -> SocketAddr {
    SocketAddr::new(peer(n).ip(), 40_000)
}

/// All requests that name a file, or a directory.
fn requests(text: &str) -> Vec<Message> {
    let name = || name(text);
    let mut requests =
        vec![Message::RangeRequest { offset: 0, length: 1, name: name() }, Message::MetadataRequest { name: name() }];
    if !text.ends_with('/') {
        requests.push(Message::DownloadRequest { name: name() });
    }
    requests
}

fn refused(rig: &mut Rig) -> Vec<(ExchangeId, Refusal)> {
    rig.take(|order| match order {
        Action::Refuse { exchange, reason } => Some((*exchange, *reason)),
        _ => None,
    })
}

/// Which requests are answered with something.
fn served(rig: &mut Rig) -> Vec<ExchangeId> {
    rig.take(|order| match order {
        Action::SendFile { exchange, .. }
        | Action::SendRange { exchange, .. }
        | Action::SendMetadata { exchange, .. }
        | Action::SendManifest { exchange, .. }
        | Action::SendList { exchange, .. } => Some(*exchange),
        _ => None,
    })
}

fn aborted(rig: &mut Rig) -> Vec<ExchangeId> {
    rig.take(|order| if let Action::Abort { exchange } = order { Some(*exchange) } else { None })
}

/// The names in the hits that were sent, and to whom.
fn hits(rig: &mut Rig) -> Vec<(SocketAddr, Vec<String>)> {
    let mut sent = Vec::new();
    for (exchange, to, messages) in rig.dials() {
        let names = messages.iter().filter_map(|message| match message {
            Message::SearchResponse(hit) => Some(hit.file.name.to_string()),
            _ => None,
        });
        let names: Vec<String> = names.collect();
        if !names.is_empty() {
            sent.push((to, names));
        }
        rig.deliver(exchange);
    }
    sent
}

fn listed(rig: &mut Rig, to: SocketAddr) -> Vec<String> {
    let exchange = rig.request(to, Message::ListFiles { p1: true });
    let to = rig.take(|order| match order {
        Action::SendList { exchange: of, to, .. } if *of == exchange => Some(*to),
        _ => None,
    });
    let rows = rig.node.library().seen_by(to[0]).list_after(None, 99);
    rows.into_iter().map(|(name, _)| name.to_string()).collect()
}

#[test]
fn what_is_for_others_is_refused_as_what_does_not_exist() {
    let mut rig = sharing(at_home(), FILES);
    hash_all(&mut rig);
    for text in ["home/d/letter", "home/song.ogg", "home/d/", "home/"] {
        for message in requests(text) {
            let exchange = rig.request(source(2), message.clone());
            assert_eq!(refused(&mut rig), [(exchange, Refusal::NoSuchFile)], "{message:?}");
            let exchange = rig.request(source(1), message.clone());
            assert_eq!((served(&mut rig), refused(&mut rig)), (vec![exchange], vec![]), "{message:?}");
            // Now the manifest is made.
            let exchange = rig.request(source(2), message.clone());
            assert_eq!(refused(&mut rig), [(exchange, Refusal::NoSuchFile)], "{message:?}");
        }
    }
    for message in requests("public/song.ogg").into_iter().chain(requests("public/")) {
        let exchange = rig.request(source(2), message);
        assert_eq!(served(&mut rig), [exchange]);
    }
    assert!(aborted(&mut rig).is_empty());
}

#[test]
fn a_peer_with_an_ipv4_mapped_address_counts_as_one_with_that_ipv4_address() {
    let mut rig = sharing(at_home(), FILES);
    let mapped = |n: u8| addr(&format!("[::ffff:{}]:40000", peer(n).ip()));
    let message = || Message::DownloadRequest { name: name("home/song.ogg") };
    let exchange = rig.request(mapped(1), message());
    assert_eq!(served(&mut rig), [exchange]);
    let exchange = rig.request(mapped(2), message());
    assert_eq!(refused(&mut rig), [(exchange, Refusal::NoSuchFile)]);
}

#[test]
fn neither_a_file_without_a_hash_nor_one_that_is_written_shows_itself_to_others() {
    let mut rig = sharing(at_home(), FILES);
    let metadata = |text: &str| Message::MetadataRequest { name: name(text) };
    let recent = RecentFile { file: scanned("home/new", 9), quiet: Duration::ZERO };
    rig.call(Request::Rescan).unwrap();
    rig.handle(Event::RecentFiles { files: vec![recent] });
    for (text, why) in
        [("home/song.ogg", Refusal::NotHashed), ("home/d/", Refusal::NotHashed), ("home/new", Refusal::BeingWritten)]
    {
        let exchange = rig.request(source(2), metadata(text));
        assert_eq!(refused(&mut rig), [(exchange, Refusal::NoSuchFile)], "{text}");
        let exchange = rig.request(source(1), metadata(text));
        assert_eq!(refused(&mut rig), [(exchange, why)], "{text}");
    }
}

#[test]
fn a_list_has_what_is_for_its_requester() {
    let mut rig = sharing(at_home(), FILES);
    assert_eq!(listed(&mut rig, source(1)), ["home/d/letter", "home/song.ogg", "public/song.ogg"]);
    assert_eq!(listed(&mut rig, source(2)), ["public/song.ogg"]);
    reconfigure(&mut rig, nowhere());
    assert!(listed(&mut rig, source(1)).is_empty());
}

#[test]
fn hits_are_for_the_requester_that_the_search_names_whoever_passes_it_on() {
    let mut rig = sharing(at_home(), FILES);
    hash_all(&mut rig);
    [1, 2].into_iter().for_each(|n| rig.learn_peer(peer(n), crate::control::PeerSource::User));
    let content = format!("b3={}", b3_of(&scanned("home/song.ogg", 3)));
    let all = vec!["home/song.ogg".to_owned(), "public/song.ogg".to_owned()];
    for (text, at_home, elsewhere) in [
        ("song", &all[..], &all[1..]),
        ("song.ogg", &all, &all[1..]),
        ("SONG.OGG", &all, &all[1..]),
        ("home/song.ogg", &all[..1], &[]),
        ("letter", &["home/d/letter".to_owned()], &[]),
        ("song -pyratefilter:size:0..4", &all[..1], &all[1..]),
        (&content, &all[..1], &[]),
    ] {
        let mut ask = |from, of: u8| {
            let id = format!("p1-{:016x}", rig.now.as_ms() + u64::from(of));
            rig.pass(Duration::from_secs(5));
            rig.request(source(from), query(id.as_bytes(), text, peer(of), 0));
            hits(&mut rig)
        };
        let to = |of: u8, names: &[String]| if names.is_empty() { vec![] } else { vec![(peer(of), names.to_vec())] };
        assert_eq!(ask(2, 1), to(1, at_home), "{text}");
        assert_eq!(ask(1, 2), to(2, elsewhere), "{text}");
    }
    rig.request(source(2), query(b"base", "song.ogg", peer(2), 0));
    assert_eq!(hits(&mut rig), [(peer(2), vec!["public/song.ogg".to_owned()])], "the best match that is for it");
}

#[test]
fn the_mark_that_there_are_more_hits_counts_those_alone_that_the_requester_may_see() {
    let names: Vec<String> =
        (0..50).flat_map(|n| [format!("home/{n:02} tune"), format!("public/{n:02} tune")]).collect();
    let files: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let mut rig = sharing(at_home(), &files);
    rig.request(source(2), query(b"p1-0123456789abcdef", "tune", peer(2), 0));
    let (_, _, messages) = rig.dials().remove(0);
    let marks = messages.iter().map(|message| match message {
        Message::SearchResponse(hit) => hit.file.attributes.is_some_and(|attributes| attributes.more),
        other => panic!("{other:?}"),
    });
    assert_eq!(marks.collect::<Vec<bool>>(), [false; 50]);
}

#[test]
fn a_requester_that_a_file_is_not_for_is_not_called_back() {
    let mut rig = sharing(at_home(), FILES);
    let closed = |n| Event::RequesterClosed { requester: source(n), name: name("home/song.ogg"), counted: 0 };
    let calls =
        |rig: &mut Rig| rig.take(|order| if let Action::CallBack { to, .. } = order { Some(*to) } else { None });
    rig.handle(closed(2));
    assert!(calls(&mut rig).is_empty());
    rig.handle(closed(1));
    assert_eq!(calls(&mut rig), [source(1)]);
}

#[test]
fn the_users_of_this_machine_see_everything() {
    let mut rig = sharing(nowhere(), FILES);
    hash_all(&mut rig);
    let Ok(Reply::Files(page)) = rig.call(Request::Files { after: None }) else { panic!("files") };
    let names: Vec<FileRow> = page.files.iter().collect();
    assert_eq!(names.len(), 3);
    for text in ["home/song.ogg", "home/"] {
        let what = Linkable::Shared { name: RawText::new(text.as_bytes()) };
        let Ok(Reply::Link(link)) = rig.call(Request::Link { what }) else { panic!("{text}") };
        assert_eq!(link.name.as_bytes(), text.as_bytes());
        assert!(link.audience.is_some(), "{link:?}");
    }
    let what = Linkable::Shared { name: RawText::new("home") };
    let error = rig.call(Request::Link { what }).unwrap_err();
    assert!(error.message.starts_with("\"home\" is a directory; name it \"home/\""), "{error}");
}

#[test]
fn what_is_being_sent_is_broken_off_when_it_is_not_for_the_requester_any_more() {
    let mut rig = sharing(at_home(), FILES);
    hash_all(&mut rig);
    let mut ask =
        |n: u8, text: &str| requests(text).into_iter().map(|it| rig.request(source(n), it)).collect::<Vec<_>>();
    let (of_file, of_directory) = (ask(1, "home/song.ogg"), ask(1, "home/d/"));
    ask(2, "public/song.ogg");
    let list = rig.request(source(1), Message::ListFiles { p1: false });
    rig.request(source(2), Message::ListFiles { p1: false });
    assert_eq!(served(&mut rig).len(), 10);
    // Peer 2 sees as much as before.
    let home_is_elsewhere =
        Audiences::new(Audience::all(), [("home", Audience::of([peer(3).ip().to_string()]).unwrap())]);
    reconfigure(&mut rig, home_is_elsewhere.clone());
    let mut expected = [of_file, of_directory, vec![list]].concat();
    expected.sort_unstable();
    let mut broken_off = aborted(&mut rig);
    broken_off.sort_unstable();
    assert_eq!(broken_off, expected);
    for exchange in expected {
        rig.handle(Event::ResponseEnded { exchange, outcome: Err(ResponseFault::Aborted) });
    }
    reconfigure(&mut rig, home_is_elsewhere);
    assert!(aborted(&mut rig).is_empty(), "nothing has changed");
    reconfigure(&mut rig, at_home());
    let exchange = rig.request(source(1), Message::DownloadRequest { name: name("home/song.ogg") });
    assert_eq!(served(&mut rig), [exchange], "it is for that peer again");
}

#[test]
fn requests_that_wait_get_what_is_for_them_at_their_turn() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), audiences: at_home(), max_workers: 1, ..config() });
    rig.scan(FILES);
    hash_all(&mut rig);
    let first = rig.request(source(2), Message::DownloadRequest { name: name("public/song.ogg") });
    let mut waiting = Vec::new();
    for message in requests("home/song.ogg").into_iter().chain(requests("home/d/")) {
        waiting.push(rig.request(source(1), message));
    }
    let list = rig.request(source(1), Message::ListFiles { p1: false });
    reconfigure(&mut rig, nowhere());
    assert_eq!((served(&mut rig), aborted(&mut rig)), (vec![first], vec![first]));
    rig.handle(Event::ResponseEnded { exchange: first, outcome: Err(ResponseFault::Aborted) });
    assert_eq!(served(&mut rig), [list], "which has nothing");
    waiting.sort_unstable();
    let mut turned_down = refused(&mut rig);
    turned_down.sort_unstable_by_key(|(exchange, _)| *exchange);
    assert_eq!(turned_down, waiting.into_iter().map(|exchange| (exchange, Refusal::NoSuchFile)).collect::<Vec<_>>());
}

#[test]
fn whoever_names_another_requester_does_not_learn_from_the_end_whether_it_has_hits() {
    let mut rig = sharing(at_home(), FILES);
    hash_all(&mut rig);
    rig.learn_peer(peer(1), crate::control::PeerSource::User);
    let content = format!("b3={}", b3_of(&scanned("home/song.ogg", 3)));
    let ask = |rig: &mut Rig, n: u64, text: &str, from, of| {
        rig.pass(Duration::from_secs(30));
        rig.request(source(from), query(QueryId::p1_ending(n << 4).as_bytes(), text, peer(of), 0))
    };
    for (n, text, sent) in [(1, "nothing", 0), (2, "song", 1), (3, "home/d/letter", 1), (4, content.as_str(), 1)] {
        let exchange = ask(&mut rig, n, text, 2, 1);
        assert_eq!((said(&mut rig), hits(&mut rig).len()), (vec![(exchange, false)], sent), "{text}");
    }
    let exchange = ask(&mut rig, 5, "song", 1, 1);
    assert_eq!(said(&mut rig), [], "its own hits are awaited");
    assert_eq!(hits(&mut rig).len(), 1);
    assert_eq!(said(&mut rig), [(exchange, false)]);
}

#[test]
fn a_second_text_under_the_id_of_a_search_for_others_does_not_tell_either() {
    let mut rig = sharing(at_home(), FILES);
    // A neighbour, which the search would need more TTL to reach: the first one reports nothing.
    [1, 4].into_iter().for_each(|n| rig.learn_peer(peer(n), crate::control::PeerSource::User));
    for (n, text) in [(1, "nothing"), (2, "letter")] {
        rig.pass(Duration::from_secs(30));
        let id = QueryId::p1_ending(n << 4);
        let first = rig.request(source(2), query(id.as_bytes(), text, peer(1), 0));
        assert_eq!(said(&mut rig), []);
        let second = rig.request(source(2), query(id.as_bytes(), "other words", peer(2), 0));
        assert_eq!(said(&mut rig), [(first, true), (second, true)], "{text}");
    }
}

#[test]
fn a_request_that_waits_for_the_manifest_of_what_is_not_for_it_any_more_is_not_told_why_there_is_none() {
    let mut rig = sharing(at_home(), FILES);
    let exchange = ExchangeId::Inbound(900);
    let message = Message::MetadataRequest { name: name("home/d/") };
    // The letter has no hash.
    rig.node.handle(rig.now, Event::Request { exchange, from: source(1), message });
    reconfigure(&mut rig, nowhere());
    assert_eq!(refused(&mut rig), [(exchange, Refusal::NoSuchFile)]);
}

#[test]
fn requests_that_wait_for_a_turn_or_a_worker_are_refused_at_once_when_they_ask_for_what_is_for_others() {
    let elsewhere = || Audiences::new(Audience::all(), [("home", Audience::of(["192.0.2.250"]).unwrap())]);
    for (max_workers, upload_limit) in [(1, 0), (9, UPLOAD_RATE_MIN)] {
        let limits = NodeConfig { max_workers, upload_limit, ..config() };
        let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), audiences: at_home(), ..limits });
        rig.scan(FILES);
        hash_all(&mut rig);
        let first = rig.request(source(2), Message::DownloadRequest { name: name("public/song.ogg") });
        let mut waiting = vec![
            rig.request(source(1), Message::DownloadRequest { name: name("home/song.ogg") }),
            rig.request(source(1), Message::RangeRequest { offset: 0, length: 1, name: name("home/song.ogg") }),
        ];
        if max_workers == 1 {
            waiting.push(rig.request(source(1), Message::MetadataRequest { name: name("home/song.ogg") }));
        }
        rig.request(source(1), Message::DownloadRequest { name: name("public/song.ogg") });
        assert_eq!(served(&mut rig), [first]);
        reconfigure(&mut rig, elsewhere());
        let expected: Vec<_> = waiting.into_iter().map(|exchange| (exchange, Refusal::NoSuchFile)).collect();
        assert_eq!(refused(&mut rig), expected);
        assert!(aborted(&mut rig).is_empty());
    }
}

#[test]
fn call_backs_end_at_whatever_stage_they_are() {
    let mut rig = sharing(at_home(), FILES);
    let port = |n: u16| SocketAddr::new(peer(1).ip(), n);
    let begin = |rig: &mut Rig, n: u16| {
        rig.handle(Event::RequesterClosed { requester: port(n), name: name("home/song.ogg"), counted: 0 });
        rig.take(|order| if let Action::CallBack { exchange, .. } = order { Some(*exchange) } else { None })[0]
    };
    let (connecting, sending, refused) = (begin(&mut rig, 40_001), begin(&mut rig, 40_002), begin(&mut rig, 40_003));
    rig.handle(Event::CallBackConnected { exchange: sending });
    rig.fail(refused, crate::fault::DialFault::Refused);
    reconfigure(&mut rig, nowhere());
    assert_eq!(aborted(&mut rig), [sending, connecting]);
    for exchange in [sending, connecting] {
        rig.fail(exchange, crate::fault::DialFault::Aborted);
    }
    rig.pass(Duration::from_secs(20));
    assert!(rig.take(|order| matches!(order, Action::CallBack { .. }).then_some(())).is_empty(), "no other attempt");
}

#[test]
fn hits_that_are_not_sent_yet_are_taken_back() {
    let mut rig = sharing(at_home(), FILES);
    [1, 2].into_iter().for_each(|n| rig.learn_peer(peer(n), crate::control::PeerSource::User));
    for n in [1, 2] {
        rig.request(source(n), query(format!("p1-{n:016x}").as_bytes(), "song", peer(n), 0));
    }
    let under_way: Vec<_> = rig.dials().into_iter().map(|(exchange, to, _)| (to, exchange)).collect();
    let [(_, first), _] = under_way[..] else { panic!("{under_way:?}") };
    assert_eq!(under_way[0].0, peer(1));
    reconfigure(&mut rig, Audiences::new(Audience::all(), [("home", Audience::of(["192.0.2.250"]).unwrap())]));
    assert_eq!(aborted(&mut rig), [first], "peer 2 sees as much as before");
}

#[test]
fn a_search_that_is_being_answered_finds_what_its_requester_sees_at_its_end() {
    let mut rig = sharing(at_home(), FILES);
    rig.learn_peer(peer(1), crate::control::PeerSource::User);
    let message = query(b"p1-0000000000000001", "song", peer(1), 0);
    let exchange = ExchangeId::Inbound(900);
    rig.node.handle(rig.now, Event::Request { exchange, from: source(1), message });
    let config = NodeConfig { audiences: nowhere(), ..rig.node.config().clone() };
    rig.node.handle(rig.now, Event::Reconfigure(Box::new(config)));
    rig.settle();
    assert!(hits(&mut rig).is_empty());
}

/// Plays a scan with empty directories.
fn scan(rig: &mut Rig, files: Vec<ScannedFile>, empty: &[&str]) {
    rig.handle(Event::Scanned { files });
    let empty = empty.iter().map(|text| name(text)).collect();
    rig.handle(Event::ScanEnded { report: ScanReport { empty, ..ScanReport::default() } });
}

#[test]
fn an_empty_directory_is_for_those_for_whom_its_share_is() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), audiences: at_home(), ..config() });
    scan(&mut rig, vec![scanned("a", 1)], &["home", "home/e", "public/e"]);
    for (text, is_hidden) in [("home/", true), ("home/e/", true), ("public/e/", false)] {
        let exchange = rig.request(source(2), Message::MetadataRequest { name: name(text) });
        let expected = if is_hidden { vec![(exchange, Refusal::NoSuchFile)] } else { vec![] };
        assert_eq!(refused(&mut rig), expected, "{text}");
        rig.request(source(1), Message::MetadataRequest { name: name(text) });
        assert!(refused(&mut rig).is_empty(), "{text}");
    }
}
