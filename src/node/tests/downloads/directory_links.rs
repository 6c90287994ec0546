//! Links to directories: what is told of a directory of our own and of a peer, and downloads that such links begin.

use super::*;
use crate::content::{EntryKind, Manifest, ManifestWriter};
use crate::control::{ContentLinkRow, ExitCode, Linkable, Problem};
use crate::fault::RefusalReason;
use crate::node::tests::hashing::hash_all;

fn answers(rig: &mut Rig) -> Vec<Result<ContentLinkRow, (i32, String)>> {
    rig.take(|order| match order {
        Action::Reply { outcome: Ok(Reply::Link(row)), .. } => Some(Ok(row.clone())),
        Action::Reply { outcome: Err(error), .. } => Some(Err((error.code, error.message.clone()))),
        _ => None,
    })
}

/// The answer to a call that may take a while.
fn link(rig: &mut Rig, what: Linkable) -> Vec<Result<ContentLinkRow, (i32, String)>> {
    rig.begin_call(Request::Link { what });
    answers(rig)
}

fn own(name: &str) -> Linkable {
    Linkable::Shared { name: RawText::new(name) }
}

fn of_peer() -> Linkable {
    Linkable::Directory { peer: peer(1), name: RawText::new("x/d/") }
}

fn tree(size: u64) -> (Manifest, u64) {
    let mut writer = ManifestWriter::default();
    let kind = EntryKind::File { size, b3: ContentHash([1; 32]), executable: false };
    writer.push(b"a", kind).unwrap();
    let text = writer.finish().text;
    (Manifest::parse(&text).unwrap(), text.len() as u64)
}

fn count(rig: &mut Rig) -> usize {
    let Ok(Reply::Downloads(reply)) = rig.call(Request::Downloads { after: 0 }) else { panic!("downloads") };
    reply.downloads.len()
}

fn knowing(peers: &[u8]) -> Rig {
    let mut rig = Rig::among(peers.iter().map(|n| peer(*n)).collect(), &[]);
    peers.iter().for_each(|n| hear_of(&mut rig, *n));
    rig.orders.clear();
    rig
}

/// Orders the download of the link to a tree at these peers.
fn download_link(rig: &mut Rig, peers: &[u8]) {
    let link = format!("pyrate:b3={}&name=x%2Fd%2F", tree(5).0.b3);
    let text = peers.iter().fold(link, |text, n| format!("{text}&peer={}", peer(*n)));
    download(rig, vec![Selector::Link(text)]);
}

/// Answers code 9 with a hash, and code 8 with the manifest.
fn describe(rig: &mut Rig, (manifest, size): (Manifest, u64)) -> SocketAddr {
    let (exchange, to, message) = rig.dial();
    assert_eq!(message, Message::MetadataRequest { name: name("x/d/") });
    rig.succeed(exchange, Response::FileInfo { b3: manifest.b3, size, pending: 0 });
    let (exchange, _, message) = rig.dial();
    assert_eq!(message, Message::RangeRequest { offset: 0, length: size, name: name("x/d/") });
    rig.succeed(exchange, Response::Manifest(Box::new(manifest)));
    to
}

#[test]
fn a_directory_of_the_share_has_a_link_when_its_files_are_hashed() {
    let mut rig = Rig::among(Vec::new(), &[("dir/a", 7), ("dir/b/c", 8), ("e", 1)]);
    let told = link(&mut rig, own("dir/"));
    let (code, why) = told[0].clone().unwrap_err();
    assert!(code == ExitCode::Other as i32 && why.contains("\"dir/\" is not computed yet"), "{why}");
    hash_all(&mut rig);
    for text in ["dir/", "dir///"] {
        let row = link(&mut rig, own(text)).remove(0).unwrap();
        let start = format!("pyrate:b3={}&size={}&name=dir%2F&peer=10.0.0.2%3A63339", row.b3, row.size.unwrap());
        assert_eq!((row.link, row.name.as_bytes()), (start, &b"dir/"[..]));
    }
    for unknown in ["d/", "dir/a/", "dir/x/"] {
        let (code, why) = link(&mut rig, own(unknown)).remove(0).unwrap_err();
        assert!(code == ExitCode::NotFound as i32 && why.contains("is shared; `pyratectl files`"), "{why}");
    }
    assert_eq!(link(&mut rig, own("/")).remove(0).unwrap_err().0, ExitCode::Usage as i32);
}

#[test]
fn a_peer_is_asked_for_the_hash_of_its_directory() {
    let mut rig = knowing(&[1]);
    assert_eq!(link(&mut rig, of_peer()), []);
    let (exchange, to, message) = rig.dial();
    assert_eq!((to, message), (peer(1), Message::MetadataRequest { name: name("x/d/") }));
    rig.succeed(exchange, Response::FileInfo { b3: B3, size: 90, pending: 0 });
    let row = answers(&mut rig).remove(0).unwrap();
    assert_eq!(row.link, format!("pyrate:b3={B3}&size=90&name=x%2Fd%2F&peer=10.0.1.1%3A63339"));
    let mut rig = knowing(&[1]);
    link(&mut rig, of_peer());
    let (exchange, ..) = rig.dial();
    rig.succeed(
        exchange,
        Response::FileInfo { b3: B3, size: crate::content::MANIFEST_BYTES_MAX as u64 + 1, pending: 0 },
    );
    assert!(answers(&mut rig).remove(0).unwrap_err().1.contains("gives no manifest"), "none is as large");
    let lacking = [DialFault::Reset, DialFault::Declined(RefusalReason::NoSuchFile)];
    let later = [DialFault::Declined(RefusalReason::NotHashed), DialFault::Refused];
    for (fault, says) in
        lacking.map(|fault| (fault, "gives no manifest")).into_iter().chain(later.map(|f| (f, "try again later")))
    {
        let mut rig = knowing(&[1]);
        link(&mut rig, of_peer());
        let (exchange, ..) = rig.dial();
        rig.fail(exchange, fault);
        let (_, why) = answers(&mut rig).remove(0).unwrap_err();
        assert!(why.contains(says) && why.contains("\"x/d/\""), "{fault}: {why}");
    }
}

#[test]
fn a_peer_of_unknown_version_is_asked_what_it_speaks_first() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    link(&mut rig, of_peer());
    let (exchange, _, message) = rig.dial();
    assert!(matches!(message, Message::FirstContact { .. }), "{message:?}");
    rig.succeed(exchange, Response::Delivered);
    let (code, why) = answers(&mut rig).remove(0).unwrap_err();
    assert!(code == ExitCode::NotFound as i32 && why.contains("`pyratectl download PEER/DIR/`"), "{why}");
    // It is not asked again at once.
    assert_eq!(link(&mut rig, of_peer()).len(), 1);
    let mut rig = Rig::among(vec![peer(1)], &[]);
    link(&mut rig, of_peer());
    let (exchange, ..) = rig.dial();
    rig.succeed(exchange, Response::SpeaksP1);
    assert!(matches!(rig.dial().2, Message::MetadataRequest { .. }));
    // The node leaves before the answer.
    rig.handle(Event::Leave);
    assert_eq!(answers(&mut rig).remove(0).unwrap_err().1, Problem::Leaving.to_string());
}

#[test]
fn a_link_fetches_the_tree_of_its_hash_alone() {
    let mut rig = knowing(&[1]);
    download_link(&mut rig, &[1]);
    describe(&mut rig, tree(5));
    let begun = row(&mut rig, 1);
    assert_eq!((begun.size, begun.directory.unwrap().files), (Some(5), 1));
    // Again: it is the same download.
    download_link(&mut rig, &[1]);
    assert_eq!(count(&mut rig), 1);
    // The peer has another tree by now.
    let mut rig = knowing(&[1]);
    download_link(&mut rig, &[1]);
    let (exchange, ..) = rig.dial();
    rig.succeed(exchange, Response::FileInfo { b3: tree(6).0.b3, size: tree(6).1, pending: 0 });
    let failed = row(&mut rig, 1);
    let error = failed.error.unwrap();
    assert_eq!((failed.state, error.code), (DownloadState::Failed, ExitCode::Checksum as i32));
    assert!(error.message.contains("it has changed since"), "{}", error.message);
    // What the peer has does not count when the user tries again either.
    order(&mut rig, Request::Retry { ids: "1".into() });
    describe(&mut rig, tree(5));
    assert_eq!(row(&mut rig, 1).directory.unwrap().files, 1);
}

#[test]
fn the_peers_of_a_link_are_asked_in_turn() {
    let mut rig = knowing(&[1, 2, 3]);
    download_link(&mut rig, &[1, 2, 3]);
    let (exchange, to, _) = rig.dial();
    assert_eq!(to, peer(1));
    rig.fail(exchange, DialFault::Refused);
    let (exchange, to, _) = rig.dial();
    assert_eq!(to, peer(2));
    rig.succeed(exchange, Response::FileInfo { b3: B3, size: 90, pending: 0 });
    assert_eq!(describe(&mut rig, tree(5)), peer(3));
    assert_eq!(row(&mut rig, 1).directory.unwrap().files, 1);
}

fn fails(rig: &mut Rig, with: &[Result<Response, DialFault>]) -> DownloadState {
    for outcome in with {
        let (exchange, ..) = rig.dial();
        match outcome {
            Ok(response) => rig.succeed(exchange, response.clone()),
            Err(fault) => rig.fail(exchange, *fault),
        }
    }
    assert_eq!(rig.dials(), [], "each peer is asked once");
    state(rig, 1)
}

#[test]
fn a_link_fails_only_if_none_of_its_peers_may_give_the_manifest_later_in_whatever_order_they_are() {
    let (down, changed) = (Err(DialFault::Refused), Ok(Response::FileInfo { b3: B3, size: 90, pending: 0 }));
    let none = Err(DialFault::Declined(RefusalReason::NoSuchFile));
    for (outcomes, expected) in [
        ([down.clone(), changed.clone()], DownloadState::Retrying),
        ([changed.clone(), down.clone()], DownloadState::Retrying),
        ([none.clone(), changed.clone()], DownloadState::Failed),
        ([changed.clone(), none.clone()], DownloadState::Failed),
    ] {
        let mut rig = knowing(&[1, 2]);
        download_link(&mut rig, &[1, 2]);
        assert_eq!(fails(&mut rig, &outcomes), expected, "{outcomes:?}");
    }
    // All are asked again after a pause.
    let mut rig = knowing(&[1, 2]);
    download_link(&mut rig, &[1, 2]);
    let (exchange, ..) = rig.dial();
    rig.fail(exchange, DialFault::Refused);
    rig.dials();
    order(&mut rig, Request::Pause { ids: "1".into() });
    order(&mut rig, Request::Resume { ids: "1".into() });
    let (exchange, to, _) = rig.dial();
    assert_eq!(to, peer(2));
    rig.fail(exchange, DialFault::Refused);
    assert_eq!(describe(&mut rig, tree(5)), peer(1));
}

#[test]
fn a_peer_that_was_silent_is_passed_over_for_the_next_one_of_the_link() {
    let mut rig = Rig::among(vec![peer(1), peer(2)], &[]);
    hear_of(&mut rig, 2);
    rig.orders.clear();
    download_link(&mut rig, &[1]);
    let (exchange, ..) = rig.dial();
    rig.deliver(exchange);
    assert_eq!(state(&mut rig, 1), DownloadState::Failed);
    download_link(&mut rig, &[1, 2]);
    assert_eq!(describe(&mut rig, tree(5)), peer(2));
}

/// The peer changes the file after it has sent the manifest.
#[test]
fn a_file_of_a_link_is_never_another_content() {
    let mut rig = knowing(&[1]);
    download_link(&mut rig, &[1]);
    describe(&mut rig, tree(5));
    open(&mut rig);
    let asked = fetch(&mut rig);
    rig.fail(asked.exchange, DialFault::Corrupt);
    let (exchange, _) = identifying(&mut rig)[0];
    rig.succeed(exchange, Response::FileInfo { b3: B3, size: 5, pending: 0 });
    open(&mut rig);
    assert!(metadata(&mut rig).is_empty() && fetches(&mut rig).is_empty(), "nobody has what the link names");
    let Ok(Reply::Downloads(files)) = rig.call(Request::DirectoryFiles { id: 1, after: 0 }) else { panic!("files") };
    assert_eq!(files.downloads[0].b3, Some(ContentHash([1; 32]).to_string()));
    assert_ne!(state(&mut rig, 1), DownloadState::Done);
}

#[test]
fn the_event_of_the_end_names_those_that_the_bytes_of_the_files_came_from() {
    let mut rig = knowing(&[1]);
    download_link(&mut rig, &[1]);
    describe(&mut rig, tree(5));
    open(&mut rig);
    let asked = fetch(&mut rig);
    group(&mut rig, &asked, 0);
    send(&mut rig, &asked, 5);
    check_as(&mut rig, ContentHash([1; 32]), 5, Vec::new());
    commit(&mut rig, "/downloads/d/a");
    let Ok(Reply::EventLog(page)) = rig.call(Request::EventLog { since: Some(1) }) else { panic!("a page") };
    let done = page.events.last().unwrap();
    assert_eq!((done.state, &done.peers[..]), (Some(DownloadState::Done), &[peer(1)][..]));
}

#[test]
fn a_peer_without_manifests_is_not_asked_for_its_list_by_a_link() {
    for fault in [DialFault::Reset, DialFault::Declined(RefusalReason::NoSuchFile)] {
        let mut rig = knowing(&[1]);
        download_link(&mut rig, &[1]);
        let (exchange, ..) = rig.dial();
        rig.fail(exchange, fault);
        let failed = row(&mut rig, 1);
        assert_eq!((failed.state, failed.error.unwrap().code), (DownloadState::Failed, ExitCode::NotFound as i32));
    }
    // One that does not speak part 2 is not asked again at once.
    let mut rig = Rig::among(vec![peer(1)], &[]);
    download_link(&mut rig, &[1]);
    let (exchange, ..) = rig.dial();
    rig.succeed(exchange, Response::Delivered);
    assert_eq!(state(&mut rig, 1), DownloadState::Failed);
    order(&mut rig, Request::Retry { ids: "1".into() });
    assert_eq!((rig.dials().len(), state(&mut rig, 1)), (0, DownloadState::Retrying));
    // One that is to hash its files first is asked again.
    let mut rig = knowing(&[1]);
    download_link(&mut rig, &[1]);
    let (exchange, ..) = rig.dial();
    rig.fail(exchange, DialFault::Declined(RefusalReason::NotHashed));
    assert_eq!(state(&mut rig, 1), DownloadState::Retrying);
    rig.pass(Duration::from_secs(15));
    describe(&mut rig, tree(5));
    // It is down when it is asked what it speaks.
    let mut rig = Rig::among(vec![peer(1)], &[]);
    download_link(&mut rig, &[1]);
    let (exchange, ..) = rig.dial();
    rig.fail(exchange, DialFault::Refused);
    rig.pass(Duration::from_secs(15));
    assert!(matches!(rig.dial().2, Message::FirstContact { .. }));
}

#[test]
fn a_link_to_a_directory_needs_a_peer_and_begins_once_in_the_watched_directory() {
    let mut rig = knowing(&[1]);
    let link = format!("pyrate:b3={B3}&name=x%2Fd%2F");
    let call = |what| Request::Download { what: vec![what], output: None };
    let refused = rig.call(call(Selector::Link(link.clone()))).unwrap_err();
    assert_eq!(refused.message, Problem::LinkWithoutPeer.to_string());
    // In the watched directory, one that cannot begin is in the way of no other.
    let ours = format!("{link}&peer={}", us());
    assert!(rig.call(call(Selector::Link(ours.clone()))).is_err());
    assert_eq!(download(&mut rig, vec![Selector::NewLink { link: ours, since: 0 }]).downloads, []);
    let link = format!("{link}&peer={}", peer(1));
    download(&mut rig, vec![Selector::NewLink { link: link.clone(), since: 0 }]);
    assert_eq!(count(&mut rig), 1);
    let (exchange, ..) = rig.dial();
    rig.fail(exchange, DialFault::Reset);
    assert_eq!(state(&mut rig, 1), DownloadState::Failed);
    download(&mut rig, vec![Selector::NewLink { link, since: u64::MAX }]);
    assert_eq!(count(&mut rig), 1, "one that has failed is in the list");
}
