//! The manifests of shared directories.

use super::hashing::{b3_of, hash_all};
use super::rig::*;
use crate::content::{EntryKind, MANIFEST_ENTRIES_MAX, Manifest, WrittenManifest};
use crate::control::{CallId, Linkable, RawText, Reply, Request};
use crate::id::ExchangeId;
use crate::library::{FoundFiles, RecentFile, ScanReport, ScannedFile};
use crate::node::contract::{Action, Event, NodeConfig, Refusal, ShareNamed};
use crate::node::limits::MANIFESTS_ASKED_MAX;
use crate::wire::Message;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

pub(super) fn sharing(files: Vec<ScannedFile>, empty: &[&str]) -> Rig {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), ..config() });
    scan(&mut rig, files, empty);
    rig
}

fn scan(rig: &mut Rig, files: Vec<ScannedFile>, empty: &[&str]) {
    rig.handle(Event::Scanned { files });
    let empty = empty.iter().map(|text| name(text)).collect();
    rig.handle(Event::ScanEnded { report: ScanReport { empty, ..ScanReport::default() } });
}

pub(super) fn tree() -> Vec<ScannedFile> {
    let run = ScannedFile { executable: true, ..scanned("d/run", 7) };
    vec![scanned("a", 1), scanned("d/a-b/c", 2), scanned("d/a/b", 3), run, scanned("dd/x", 9)]
}

fn ask(rig: &mut Rig, directory: &str, range: Option<(u64, u64)>) -> ExchangeId {
    let (name, from) = (name(directory), SocketAddr::new(peer(1).ip(), 40_000));
    let message = match range {
        None => Message::MetadataRequest { name },
        Some((offset, length)) => Message::RangeRequest { offset, length, name },
    };
    rig.request(from, message)
}

fn sent(rig: &mut Rig) -> Vec<(ExchangeId, Rc<WrittenManifest>, Option<Range<usize>>)> {
    rig.take(|order| match order {
        Action::SendManifest { exchange, manifest, range, .. } => Some((*exchange, Rc::clone(manifest), range.clone())),
        _ => None,
    })
}

fn refused(rig: &mut Rig) -> Vec<(ExchangeId, Refusal)> {
    rig.take(|order| match order {
        Action::Refuse { exchange, reason } => Some((*exchange, *reason)),
        _ => None,
    })
}

fn the_manifest(rig: &mut Rig, directory: &str) -> Rc<WrittenManifest> {
    let exchange = ask(rig, directory, None);
    let (to, manifest, range) = sent(rig).remove(0);
    assert_eq!((to, range), (exchange, None));
    rig.handle(Event::ResponseEnded { exchange, outcome: Ok(80) });
    manifest
}

#[test]
fn a_manifest_has_what_is_beneath_a_directory() {
    let mut rig = sharing(tree(), &["d/a/e", "d/z", "dd/e"]);
    hash_all(&mut rig);
    let manifest = the_manifest(&mut rig, "d/");
    let read = Manifest::parse(&manifest.text).unwrap();
    assert_eq!((read.files, read.bytes, read.b3), (3, 12, manifest.b3));
    let file = |text: &str, size, executable| {
        let b3 = b3_of(&ScannedFile { executable, ..scanned(&format!("d/{text}"), size) });
        (text.to_owned(), EntryKind::File { size, b3, executable })
    };
    let empty = |text: &str| (text.to_owned(), EntryKind::EmptyDirectory);
    let expected = [file("a-b/c", 2, false), file("a/b", 3, false), empty("a/e"), file("run", 7, true), empty("z")];
    assert_eq!(
        read.entries.into_iter().map(|entry| (entry.path.to_string(), entry.kind)).collect::<Vec<_>>(),
        expected
    );

    let length = manifest.text.len() as u64;
    let exchange = ask(&mut rig, "d/", Some((0, length)));
    assert_eq!(sent(&mut rig), [(exchange, manifest, Some(0..length as usize))]);
    for (offset, length, reason) in
        [(0, length + 1, Refusal::OutsideFile), (u64::MAX, 2, Refusal::OutsideFile), (length, 1, Refusal::OutsideFile)]
    {
        let exchange = ask(&mut rig, "d/", Some((offset, length)));
        assert_eq!(refused(&mut rig), [(exchange, reason)]);
    }
    assert_eq!(the_manifest(&mut rig, "d/z/").files, 0, "a directory may be empty itself");
    for none in ["d/run/", "e/", "/", "d//", "../d/", "d/a/b/c/"] {
        let exchange = ask(&mut rig, none, None);
        assert_eq!(refused(&mut rig), [(exchange, Refusal::NoSuchFile)], "{none}");
    }
}

#[test]
fn a_manifest_is_made_again_when_the_share_has_changed() {
    let mut rig = sharing(tree(), &[]);
    hash_all(&mut rig);
    let first = the_manifest(&mut rig, "d/");
    assert!(Rc::ptr_eq(&first, &the_manifest(&mut rig, "d/")), "it is made once");
    let mut files = tree();
    files.pop();
    rig.call(crate::control::Request::Rescan).unwrap();
    scan(&mut rig, files.clone(), &[]);
    let same = the_manifest(&mut rig, "d/");
    assert!(!Rc::ptr_eq(&first, &same));
    assert_eq!(first, same, "the same tree has the same manifest");
    files.push(scanned("d/new", 4));
    rig.call(crate::control::Request::Rescan).unwrap();
    scan(&mut rig, files, &[]);
    let length = same.text.len() as u64;
    ask(&mut rig, "d/", Some((0, length)));
    assert_eq!(sent(&mut rig)[0].1, same, "who was told its hash gets what has that hash");
    let exchange = ask(&mut rig, "d/", None);
    assert_eq!(refused(&mut rig), [(exchange, Refusal::NotHashed)]);
    hash_all(&mut rig);
    assert_eq!(the_manifest(&mut rig, "d/").files, 4);
}

#[test]
fn what_cannot_be_described_is_refused() {
    let count = MANIFEST_ENTRIES_MAX + 1;
    let files = (0..count).map(|n| scanned(&format!("d/{n:05}"), 1)).chain([scanned("e/a", 1)]).collect();
    let mut rig = sharing(files, &[]);
    let exchange = ask(&mut rig, "e/", None);
    assert_eq!(refused(&mut rig), [(exchange, Refusal::NotHashed)]);
    hash_all(&mut rig);
    let exchange = ask(&mut rig, "d/", None);
    assert_eq!(refused(&mut rig), [(exchange, Refusal::TooLarge)]);
    assert_eq!(the_manifest(&mut rig, "e/").files, 1);
}

#[test]
fn the_requesters_that_wait_are_answered_together_or_refused_when_the_node_leaves() {
    let mut rig = sharing(tree(), &[]);
    hash_all(&mut rig);
    let from = SocketAddr::new(peer(1).ip(), 40_000);
    let exchanges = [900, 901, 902].map(ExchangeId::Inbound);
    let request = |exchange| Event::Request { exchange, from, message: Message::MetadataRequest { name: name("d/") } };
    for exchange in exchanges {
        rig.node.handle(rig.now, request(exchange));
    }
    rig.node.handle(rig.now, Event::RequestGone { exchange: exchanges[1] });
    rig.settle();
    assert_eq!(
        sent(&mut rig).into_iter().map(|(exchange, ..)| exchange).collect::<Vec<_>>(),
        [exchanges[0], exchanges[2]]
    );
    let late = ExchangeId::Inbound(903);
    let other = Message::MetadataRequest { name: name("dd/") };
    rig.node.handle(rig.now, Event::Request { exchange: late, from, message: other });
    rig.handle(Event::Leave);
    assert_eq!(refused(&mut rig), [(late, Refusal::Leaving)]);
}

/// So many directories with one file each, hashed.
fn directories(count: usize) -> Rig {
    let mut rig = sharing((0..count).map(|n| scanned(&format!("{n:04}/a"), 1)).collect(), &[]);
    hash_all(&mut rig);
    rig
}

#[test]
fn the_manifests_that_were_not_looked_up_for_longest_give_way() {
    let mut rig = directories(40);
    let first = the_manifest(&mut rig, "0000/");
    let second = the_manifest(&mut rig, "0001/");
    for n in 2..40 {
        the_manifest(&mut rig, &format!("{n:04}/"));
        assert!(Rc::ptr_eq(&first, &the_manifest(&mut rig, "0000/")), "it is used");
    }
    assert!(!Rc::ptr_eq(&second, &the_manifest(&mut rig, "0001/")), "it is made again");
}

/// Asks for the manifest of a directory, and has nothing done for it yet.
fn ask_only(rig: &mut Rig, number: u64, from: &str, directory: usize) -> ExchangeId {
    let exchange = ExchangeId::Inbound(number);
    let message = Message::MetadataRequest { name: name(&format!("{directory:04}/")) };
    rig.node.handle(rig.now, Event::Request { exchange, from: addr(from), message });
    exchange
}

#[test]
fn a_network_that_asks_for_many_manifests_neither_delays_another_nor_keeps_it_out() {
    let mut rig = directories(MANIFESTS_ASKED_MAX + 2);
    for n in 0..=MANIFESTS_ASKED_MAX {
        ask_only(&mut rig, 1_000 + n as u64, &format!("192.0.2.1:{}", 40_000 + n), n);
    }
    let other = ask_only(&mut rig, 5_000, "198.51.100.1:40000", MANIFESTS_ASKED_MAX + 1);
    rig.settle();
    let refused: Vec<_> = refused(&mut rig);
    let busy = [MANIFESTS_ASKED_MAX, MANIFESTS_ASKED_MAX - 1];
    let busy = busy.map(|n| (ExchangeId::Inbound(1_000 + n as u64), Refusal::Busy));
    assert_eq!(refused, busy, "the newest give way");
    let sent: Vec<_> = sent(&mut rig).into_iter().map(|(exchange, ..)| exchange).collect();
    assert!(sent[..2].contains(&other), "{:?}", &sent[..2]);
}

#[test]
fn a_manifest_that_nobody_awaits_any_more_is_not_made() {
    let mut rig = directories(3);
    let gone = ask_only(&mut rig, 900, "192.0.2.1:40000", 0);
    assert!(rig.node.has_work());
    rig.node.handle(rig.now, Event::RequestGone { exchange: gone });
    assert!(!rig.node.has_work(), "it is not made");
    let gone = ask_only(&mut rig, 900, "192.0.2.1:40000", 0);
    let one_of_two = ask_only(&mut rig, 901, "192.0.2.1:40000", 1);
    let other = ask_only(&mut rig, 902, "192.0.2.2:40000", 1);
    ask_only(&mut rig, 903, "192.0.2.1:40000", 2);
    let request = Request::Link { what: Linkable::Shared { name: RawText::new("0002/") } };
    rig.node.handle(rig.now, Event::Call { client: CLIENT, call: CallId::Number(77), request });
    for exchange in [gone, one_of_two, ExchangeId::Inbound(903)] {
        rig.node.handle(rig.now, Event::RequestGone { exchange });
    }
    rig.settle();
    assert_eq!(sent(&mut rig).into_iter().map(|(exchange, ..)| exchange).collect::<Vec<_>>(), [other]);
    assert!(rig.orders.iter().any(|order| matches!(order, Action::Reply { outcome: Ok(Reply::Link(_)), .. })));
    let exchange = ask(&mut rig, "0000/", Some((0, 1)));
    assert_eq!(sent(&mut rig)[0].0, exchange);
}

/// A manifest whose metadata are asked for: how many files it lacks.
fn pending(rig: &mut Rig, directory: &str) -> u64 {
    let exchange = ask(rig, directory, None);
    let pending = rig.take(|order| match order {
        Action::SendManifest { pending, range: None, .. } => Some(*pending),
        _ => None,
    });
    rig.handle(Event::ResponseEnded { exchange, outcome: Ok(80) });
    pending[0]
}

#[test]
fn the_metadata_tell_which_files_are_not_in_it_yet() {
    let mut rig = sharing(tree(), &["e"]);
    hash_all(&mut rig);
    rig.call(Request::Rescan).unwrap();
    let recent = |text: &str| RecentFile { file: scanned(text, 1), quiet: Duration::from_millis(100) };
    rig.handle(Event::RecentFiles { files: ["d/b", "d/c/d", "d0", "new/a"].map(recent).into() });
    scan(&mut rig, tree(), &["e"]);
    let told = ["d/", "d/a/", "dd/", "e/"].map(|directory| pending(&mut rig, directory));
    assert_eq!(told, [2, 0, 0, 0]);
    ask(&mut rig, "new/", None);
    assert_eq!(refused(&mut rig)[0].1, Refusal::BeingWritten, "nothing of it is shared yet");
    let length = the_manifest(&mut rig, "d/").text.len() as u64;
    ask(&mut rig, "d/", Some((0, length)));
    assert_eq!(sent(&mut rig).len(), 1);
}

#[test]
fn until_a_scan_has_looked_at_a_share_a_directory_of_it_may_have_more_files() {
    let share = ShareNamed { name: name("x"), path: Some("/x".into()), follow_symlinks: false };
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), shares: vec![share], ..config() });
    scan(&mut rig, vec![scanned("d/a", 1), scanned("x/d/a", 2)], &[]);
    hash_all(&mut rig);
    let told = |rig: &mut Rig| ["d/", "x/d/", "x/"].map(|directory| pending(rig, directory));
    assert_eq!(told(&mut rig), [0, 1, 1]);
    rig.call(Request::Rescan).unwrap();
    rig.handle(Event::Scanned { files: vec![scanned("d/a", 1), scanned("x/d/a", 2)] });
    let shares = vec![(Some(name("x")), Ok(FoundFiles::default()))];
    rig.handle(Event::ScanEnded { report: ScanReport { shares, ..ScanReport::default() } });
    assert_eq!(told(&mut rig), [0, 0, 0]);
}
