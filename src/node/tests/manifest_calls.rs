//! `manifest`: the text of the manifest of a directory of our own, or of a peer.

use super::hashing::hash_all;
use super::manifests::{sharing, tree};
use super::rig::*;
use crate::content::{EntryKind, Manifest, ManifestWriter};
use crate::control::{CallError, CallId, ExitCode, ManifestReply, RawText, Reply, Request};
use crate::fault::{DialFault, RefusalReason};
use crate::id::{ClientId, ContentHash};
use crate::node::contract::{Action, Event, Expect, Response};
use crate::node::speech::Evidence;
use crate::wire::Message;
use std::net::SocketAddr;

fn asks(peer: Option<SocketAddr>, name: &str, b3: Option<&str>, after: u64) -> Request {
    Request::Manifest { peer, name: RawText::new(name), b3: b3.map(str::to_owned), after }
}

fn page(outcome: Result<Reply, CallError>) -> ManifestReply {
    match outcome {
        Ok(Reply::Manifest(page)) => page,
        other => panic!("{other:?}"),
    }
}

/// The answer to the one call that waits.
fn answered(rig: &mut Rig) -> Result<Reply, CallError> {
    let mut replies = rig.take(|order| match order {
        Action::Reply { outcome, .. } => Some(outcome.clone()),
        _ => None,
    });
    assert_eq!(replies.len(), 1, "{replies:?}");
    replies.remove(0)
}

/// With so many files, which have long names.
fn large(files: u64) -> Manifest {
    let mut writer = ManifestWriter::default();
    for number in 0..files {
        let path = format!("{}/{number:04}", "n".repeat(200));
        let kind = EntryKind::File { size: number, b3: ContentHash([7; 32]), executable: false };
        writer.push(path.as_bytes(), kind).unwrap();
    }
    Manifest::parse(&writer.finish().text).unwrap()
}

fn knowing_a_peer() -> Rig {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.learn_peer(peer(1), crate::control::PeerSource::Hit);
    rig.note_evidence(peer(1), Evidence::Attributes);
    rig.orders.clear();
    rig
}

#[test]
fn that_of_an_own_directory_is_made_and_told() {
    let mut rig = sharing(tree(), &["d/z"]);
    let not_hashed = rig.call(asks(None, "d/", None, 0)).unwrap_err();
    assert_eq!(not_hashed.code, ExitCode::Other as i32);
    hash_all(&mut rig);
    for name in ["d/", "d/", "d//"] {
        let told = page(rig.call(asks(None, name, None, 0)));
        let read = Manifest::parse(told.text.as_bytes()).unwrap();
        assert_eq!((read.files, read.entries.len(), read.b3.to_string(), told.next), (3, 4, told.b3, None));
    }
    for name in ["none/", "a/", "/"] {
        assert!(rig.call(asks(None, name, None, 0)).is_err(), "{name}");
    }
}

#[test]
fn that_of_a_peer_is_fetched_and_told_in_pages() {
    let mut rig = knowing_a_peer();
    rig.begin_call(asks(Some(peer(1)), "x/d/", None, 0));
    let (exchange, to, message) = rig.dial();
    assert_eq!((to, message), (peer(1), Message::MetadataRequest { name: name("x/d/") }));
    let manifest = large(1_000);
    let (text, b3) = (manifest.text(), manifest.b3);
    let size = text.len() as u64;
    rig.succeed(exchange, Response::FileInfo { b3, size, pending: 0 });
    let expected = Expect::Manifest { b3, size };
    let asked = rig.orders.iter().any(|order| matches!(order, Action::Dial { expect, .. } if *expect == expected));
    assert!(asked, "{:?}", rig.orders);
    let (exchange, _, message) = rig.dial();
    assert_eq!(message, Message::RangeRequest { offset: 0, length: size, name: name("x/d/") });
    rig.succeed(exchange, Response::Manifest(Box::new(manifest)));
    let first = page(answered(&mut rig));
    assert_eq!((first.b3.clone(), first.size), (b3.to_string(), size));
    let (mut read, mut next) = (first.text.as_bytes().to_vec(), first.next);
    while let Some(after) = next {
        let further = page(rig.call(asks(Some(peer(1)), "x/d/", Some(&first.b3), after)));
        read.extend_from_slice(further.text.as_bytes());
        next = further.next;
    }
    assert_eq!(read, text);
    assert_eq!(rig.dials(), [], "nothing is asked of the peer again");
    let over = rig.call(asks(Some(peer(1)), "x/d/", Some(&first.b3), 7)).unwrap_err();
    assert!(over.message.contains("not kept any more"), "{over:?}");
}

#[test]
fn what_a_client_that_is_gone_has_read_is_not_kept() {
    let mut rig = knowing_a_peer();
    rig.begin_call(asks(Some(peer(1)), "x/d/", None, 0));
    let (exchange, ..) = rig.dial();
    let manifest = large(1_000);
    let size = manifest.text().len() as u64;
    rig.succeed(exchange, Response::FileInfo { b3: manifest.b3, size, pending: 0 });
    let (exchange, ..) = rig.dial();
    rig.succeed(exchange, Response::Manifest(Box::new(manifest)));
    let first = page(answered(&mut rig));
    rig.handle(Event::ClientGone { client: CLIENT });
    assert!(rig.call(asks(Some(peer(1)), "x/d/", Some(&first.b3), first.next.unwrap())).is_err());
    // Nor is it for another client.
    let request = asks(Some(peer(1)), "x/d/", Some("of no hash"), 0);
    rig.handle(Event::Call { client: ClientId(7), call: CallId::Number(1), request });
    assert!(answered(&mut rig).is_err());
}

#[test]
fn a_peer_that_gives_none_is_told_with_the_reason() {
    let refused = DialFault::Declined(RefusalReason::NoSuchFile);
    let hashing = DialFault::Declined(RefusalReason::NotHashed);
    for (fault, code, told) in [
        (refused, ExitCode::NotFound as i32, "gives no manifest of \"x/d/\" (no such file)"),
        (hashing, ExitCode::Other as i32, "no manifest of \"x/d/\" of 10.0.1.1:63339: the file is not hashed yet"),
        (DialFault::Refused, ExitCode::Network as i32, "connection refused; try again later"),
    ] {
        let mut rig = knowing_a_peer();
        rig.begin_call(asks(Some(peer(1)), "x/d/", None, 0));
        let (exchange, ..) = rig.dial();
        rig.fail(exchange, fault);
        let error = answered(&mut rig).unwrap_err();
        assert!(error.message.contains(told), "{}", error.message);
        assert!(error.code == code || fault == hashing, "{error:?}");
    }
    // One that breaks off may come later.
    let mut rig = knowing_a_peer();
    rig.begin_call(asks(Some(peer(1)), "x/d/", None, 0));
    let (exchange, ..) = rig.dial();
    rig.succeed(exchange, Response::FileInfo { b3: ContentHash([7; 32]), size: 100, pending: 0 });
    let (exchange, ..) = rig.dial();
    rig.fail(exchange, DialFault::Reset);
    let error = answered(&mut rig).unwrap_err();
    assert!(error.message.contains("try again later"), "{}", error.message);
}

#[test]
fn one_that_is_too_large_is_not_asked_for() {
    let mut rig = knowing_a_peer();
    rig.begin_call(asks(Some(peer(1)), "x/d/", None, 0));
    let (exchange, ..) = rig.dial();
    let size = crate::content::MANIFEST_BYTES_MAX as u64 + 1;
    rig.succeed(exchange, Response::FileInfo { b3: ContentHash([7; 32]), size, pending: 0 });
    let error = answered(&mut rig).unwrap_err();
    assert!(error.message.contains(&format!("has {size} bytes, more than")), "{}", error.message);
    assert_eq!((error.code, rig.dials().len()), (ExitCode::Other as i32, 0));
}

#[test]
fn what_is_no_directory_is_called_none() {
    let mut rig = sharing(tree(), &["d/z"]);
    hash_all(&mut rig);
    let error = rig.call(asks(None, "a/", None, 0)).unwrap_err();
    assert!(error.message.starts_with("no directory \"a/\" is shared"), "{}", error.message);
}
