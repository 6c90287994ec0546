//! Hashing the share.

use super::rig::*;
use crate::control::{FilesReply, Notice, RawText, Reply, Request, StatusReply};
use crate::fault::DiskFault;
use crate::id::ContentHash;
use crate::library::{ScanReport, ScannedFile};
use crate::node::contract::{Action, Event, HashedFile, NodeConfig, Refusal};
use crate::wire::Message;
use std::time::Duration;

/// The hash of a file in these tests.
pub(super) fn b3_of(file: &ScannedFile) -> ContentHash {
    let said = format!("{} of {} bytes at {}", file.name, file.meta.size, file.meta.mtime_ns);
    ContentHash(*blake3::hash(said.as_bytes()).as_bytes())
}

/// Takes the batches ordered.
pub(super) fn batches(rig: &mut Rig) -> Vec<Vec<ScannedFile>> {
    rig.take(|order| match order {
        Action::HashFiles { files } => Some(files.clone()),
        _ => None,
    })
}

/// Takes the one batch ordered.
fn batch(rig: &mut Rig) -> Vec<ScannedFile> {
    let mut batches = batches(rig);
    assert_eq!(batches.len(), 1, "one batch is under way at a time");
    batches.remove(0)
}

/// Reports the hashes of these files.
fn hashed(rig: &mut Rig, files: Vec<ScannedFile>) {
    let files = files.into_iter().map(|file| HashedFile { outcome: Ok(b3_of(&file)), file }).collect();
    rig.handle(Event::Hashed { files });
}

fn failed(rig: &mut Rig, file: ScannedFile, fault: DiskFault) {
    rig.handle(Event::Hashed { files: vec![HashedFile { file, outcome: Err(fault) }] });
}

/// Hashes all batches until no more are ordered.
pub(super) fn hash_all(rig: &mut Rig) {
    loop {
        let ordered = batches(rig);
        if ordered.is_empty() {
            return;
        }
        ordered.into_iter().for_each(|batch| hashed(rig, batch));
    }
}

fn sharing(files: Vec<ScannedFile>) -> Rig {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), ..config() });
    rescan(&mut rig, files);
    rig
}

/// Reports the batches of a running scan.
fn rescan(rig: &mut Rig, files: Vec<ScannedFile>) {
    rig.handle(Event::Scanned { files });
    rig.handle(Event::ScanEnded { report: ScanReport::default() });
}

fn dated(text: &str, size: u64, mtime_ns: i64) -> ScannedFile {
    let mut file = scanned(text, size);
    file.meta.mtime_ns = mtime_ns;
    file
}

fn names(files: &[ScannedFile]) -> Vec<String> {
    files.iter().map(|file| file.name.to_string()).collect()
}

fn status(rig: &mut Rig) -> StatusReply {
    match rig.call(Request::Status) {
        Ok(Reply::Status(status)) => *status,
        other => panic!("{other:?}"),
    }
}

fn shared_b3(rig: &mut Rig) -> Vec<Option<String>> {
    match rig.call(Request::Files { after: None }) {
        Ok(Reply::Files(FilesReply { files, .. })) => files.iter().map(|row| row.b3).collect(),
        other => panic!("{other:?}"),
    }
}

/// Code 9, from a peer.
fn ask_for_metadata(rig: &mut Rig, text: &str) {
    rig.request(addr("10.0.1.1:40000"), Message::MetadataRequest { name: name(text) });
    let refused = rig.take(|order| match order {
        Action::Refuse { reason, .. } => Some(*reason),
        _ => None,
    });
    assert_eq!(refused, [Refusal::NotHashed]);
}

#[test]
fn a_share_is_hashed_small_and_new_files_first_and_clients_are_notified_at_the_end() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), ..config() });
    rig.call(Request::Events).unwrap();
    let file = |n: u64| dated(&format!("{n:03}"), 1 << (n % 3), n as i64);
    rescan(&mut rig, (0..300).map(file).collect());
    assert_eq!(status(&mut rig).unhashed_files, 300);
    let first = batch(&mut rig);
    assert_eq!(first.len(), 256);
    assert_eq!(names(&first[..3]), ["297", "294", "291"], "the newest of the smallest");
    rig.notices();

    // Hashes may be reported in several parts; the next batch follows after all of them.
    hashed(&mut rig, first[..100].to_vec());
    assert!(batches(&mut rig).is_empty());
    hashed(&mut rig, first[100..].to_vec());
    let second = batch(&mut rig);
    assert_eq!((second.len(), status(&mut rig).unhashed_files), (44, 44));
    assert!(rig.notices().is_empty());
    hashed(&mut rig, second);
    assert_eq!(rig.notices(), [Notice::Hashed { files: 300 }]);
    assert_eq!((batches(&mut rig).len(), status(&mut rig).unhashed_files), (0, 0));
    assert_eq!(shared_b3(&mut rig)[299], Some(b3_of(&file(299)).to_string()));

    // One more file: notified again when its hash is known.
    rig.pass(Duration::from_secs(60));
    rescan(&mut rig, (0..301).map(file).collect());
    assert_eq!(names(&batch(&mut rig)), ["300"], "what has not changed is not hashed again");
    hashed(&mut rig, vec![file(300)]);
    assert!(rig.notices().contains(&Notice::Hashed { files: 301 }));
    rig.pass(Duration::from_secs(60));
    rescan(&mut rig, (0..301).map(file).collect());
    assert!(!rig.notices().iter().any(|notice| matches!(notice, Notice::Hashed { .. })), "nothing was hashed");
}

#[test]
fn a_batch_is_of_a_gibibyte_at_most_unless_its_first_file_is_larger() {
    const MIB: u64 = 1 << 20;
    let sizes = [600 * MIB, 424 * MIB, 1, 5_000 * MIB, 3 * MIB];
    let files = sizes.iter().enumerate().map(|(n, size)| scanned(&format!("{n}"), *size)).collect();
    let mut rig = sharing(files);
    let mut seen = Vec::new();
    loop {
        let ordered = batches(&mut rig);
        let Some(files) = ordered.into_iter().next() else { break };
        seen.push(names(&files));
        hashed(&mut rig, files);
    }
    assert_eq!(seen, [&["2", "4", "1"][..], &["0"], &["3"]]);
}

#[test]
fn a_file_that_cannot_be_read_is_tried_again_only_after_the_next_scan() {
    let files = || vec![scanned("broken", 1), scanned("odd", 1_000)];
    let mut rig = sharing(files());
    assert_eq!(batch(&mut rig).len(), 2);
    failed(&mut rig, scanned("broken", 1), DiskFault::Denied);
    failed(&mut rig, scanned("odd", 1_000), DiskFault::Changed);
    ask_for_metadata(&mut rig, "broken");
    assert!(batches(&mut rig).is_empty());
    assert_eq!((status(&mut rig).unhashed_files, shared_b3(&mut rig)), (2, vec![None, None]));
    rig.pass(Duration::from_secs(60));
    rescan(&mut rig, files());
    assert_eq!(names(&batch(&mut rig)), ["broken", "odd"]);
}

#[test]
fn a_file_that_is_being_written_is_not_hashed_until_it_is_unchanged() {
    let mut rig = sharing(vec![dated("log", 1, 1)]);
    batch(&mut rig);
    failed(&mut rig, dated("log", 1, 1), DiskFault::Changed);
    for (mtime, ordered) in [(2, 0), (3, 0), (3, 1)] {
        rig.pass(Duration::from_secs(60));
        rescan(&mut rig, vec![dated("log", 1, mtime)]);
        ask_for_metadata(&mut rig, "log");
        assert_eq!(batches(&mut rig).len(), ordered, "at {mtime}");
    }
    hashed(&mut rig, vec![dated("log", 1, 3)]);
    assert_eq!(status(&mut rig).unhashed_files, 0);
}

#[test]
fn a_file_that_failed_during_a_scan_is_not_hashed_again_by_that_scan() {
    let files = || (0..300).map(|n| scanned(&format!("{n:03}"), 1)).collect::<Vec<_>>();
    let mut rig = sharing(files());
    let first = batch(&mut rig);
    rig.pass(Duration::from_secs(60));
    failed(&mut rig, first[0].clone(), DiskFault::Denied);
    rig.handle(Event::Scanned { files: files() });
    // It could be hashed again as far as the library knows, and nothing else is left.
    hashed(&mut rig, first[1..].to_vec());
    hash_all(&mut rig);
    assert_eq!((status(&mut rig).unhashed_files, rig.node.has_work()), (1, false));
    rig.handle(Event::ScanEnded { report: ScanReport::default() });
    assert_eq!(names(&batch(&mut rig)), ["000"]);
}

#[test]
fn a_file_requested_by_a_peer_is_hashed_next() {
    let mut rig =
        sharing((0..600).map(|n| scanned(&format!("{n:03}"), 1)).chain([scanned("large", 1 << 40)]).collect());
    let first = batch(&mut rig);
    // Being hashed already, twice the same, and the largest of all.
    for text in ["000", "large", "large", "599"] {
        ask_for_metadata(&mut rig, text);
    }
    assert!(batches(&mut rig).is_empty(), "one batch is under way");
    hashed(&mut rig, first);
    let both = batches(&mut rig);
    let [large, second] = both.as_slice() else { panic!("{} batches", both.len()) };
    assert_eq!(names(large), ["large"], "alone, since it may take hours; but the others do not wait for it");
    assert_eq!((&names(second)[..2], second.len()), (&["599".to_string(), "256".to_string()][..], 256));
    hashed(&mut rig, large.clone());
    hashed(&mut rig, second.clone());
    hash_all(&mut rig);
    assert_eq!(status(&mut rig).unhashed_files, 0);
    assert!(shared_b3(&mut rig).iter().all(Option::is_some));
}

#[test]
fn requested_files_without_room_are_counted() {
    let files: Vec<_> = (0..2_000).map(|n| scanned(&format!("file {n}"), 5)).collect();
    let mut rig = sharing(files);
    let in_hand = batch(&mut rig).len();
    (0..2_000).for_each(|n| ask_for_metadata(&mut rig, &format!("file {n}")));
    let displaced = status(&mut rig).limited.records_displaced;
    assert_eq!(displaced, 2_000 - in_hand as u64 - 256);
}

#[test]
fn of_files_too_large_for_a_batch_one_is_read_at_a_time_while_small_ones_pass() {
    let mut rig = sharing(vec![scanned("huge", 1 << 42), scanned("large", 1 << 40)]);
    let first = batch(&mut rig);
    assert_eq!(names(&first), ["large"]);
    rig.pass(Duration::from_secs(60));
    rescan(&mut rig, vec![scanned("huge", 1 << 42), scanned("large", 1 << 40), scanned("new", 1)]);
    let small = batch(&mut rig);
    assert_eq!(names(&small), ["new"], "it came while a large one was under way");
    hashed(&mut rig, small);
    assert!(batches(&mut rig).is_empty());
    // A peer that requests the other one is told to retry, and there is no busy loop.
    ask_for_metadata(&mut rig, "huge");
    assert!(batches(&mut rig).is_empty());
    hashed(&mut rig, first);
    rig.pass(Duration::from_secs(60));
    rescan(&mut rig, vec![scanned("huge", 1 << 42), scanned("large", 1 << 40), scanned("new", 1)]);
    assert_eq!(names(&batch(&mut rig)), ["huge"]);
}

#[test]
fn a_file_requested_while_nothing_else_is_to_be_hashed_is_hashed_at_once() {
    // The scan is still running: nothing was gathered yet.
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), ..config() });
    rig.handle(Event::Scanned { files: vec![scanned("a", 1), scanned("b", 1)] });
    assert!(batches(&mut rig).is_empty());
    ask_for_metadata(&mut rig, "b");
    assert_eq!(names(&batch(&mut rig)), ["b"]);
}

#[test]
fn a_hash_of_an_earlier_version_of_a_file_is_not_used() {
    let mut rig = sharing(vec![dated("a", 1, 1), dated("gone", 1, 1)]);
    let old = batch(&mut rig);
    rig.pass(Duration::from_secs(60));
    rescan(&mut rig, vec![dated("a", 1, 2)]);
    hashed(&mut rig, old);
    assert_eq!(shared_b3(&mut rig), [None]);
    let new = batch(&mut rig);
    assert_eq!(new, [dated("a", 1, 2)]);
    hashed(&mut rig, new);
    assert_eq!(shared_b3(&mut rig), [Some(b3_of(&dated("a", 1, 2)).to_string())]);
}

#[test]
fn a_large_share_is_searched_for_files_to_hash_in_slices() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), ..config() });
    for n in 0..40 {
        let files = (0..1_000).map(|at| scanned(&format!("{n:03}/{at:03}"), at)).collect();
        rig.handle(Event::Scanned { files });
    }
    rig.node.handle(rig.now, Event::ScanEnded { report: ScanReport::default() });
    let search = query(b"p1-0123456789abcdef", "\"039/99\"", addr("10.0.1.1:5000"), 0);
    let mut slices = 0;
    let mut answered_after = None;
    while rig.node.has_work() {
        if slices == 25 {
            // By now the sweep is over, and the share is gathered.
            rig.node.handle(
                rig.now,
                Event::Request {
                    exchange: crate::id::ExchangeId::Inbound(1),
                    from: addr("10.0.1.1:40000"),
                    message: search.clone(),
                },
            );
        }
        rig.node.work(rig.now);
        slices += 1;
        rig.orders.extend(std::iter::from_fn(|| rig.node.poll_action()));
        let hits = |order: &Action| matches!(order, Action::Dial { messages, .. } if messages.len() == 10);
        if answered_after.is_none() && rig.orders.iter().any(hits) {
            answered_after = Some(slices);
        }
        assert!(slices < 1_000, "an end is in sight");
    }
    assert!(slices > 40, "{slices} slices");
    assert!(answered_after.is_some_and(|after| after <= 25 + 2 * 21), "{answered_after:?}: they take turns");
    assert_eq!(batch(&mut rig).len(), 256);
    let text = RawText::new("000/000");
    assert!(matches!(rig.call(Request::Files { after: Some(text) }), Ok(Reply::Files(_))));
}

#[test]
fn hashing_is_retried_before_the_next_scan_only_after_a_transient_error() {
    let mut rig = sharing(vec![scanned("a", 1), scanned("b", 2)]);
    for file in batch(&mut rig) {
        let fault = if file.name.as_bytes() == b"a" { DiskFault::Other(5) } else { DiskFault::Denied };
        failed(&mut rig, file, fault);
    }
    assert!(batches(&mut rig).is_empty());
    for _ in 0..3 {
        rig.pass(Duration::from_secs(10));
        let again = batch(&mut rig);
        assert_eq!(names(&again), ["a"]);
        failed(&mut rig, scanned("a", 1), DiskFault::Other(5));
    }
    rig.pass(Duration::from_secs(10));
    let again = batch(&mut rig);
    hashed(&mut rig, again);
    assert_eq!(rig.node.library().unhashed(), 1);
    rig.pass(Duration::from_secs(15));
    assert!(batches(&mut rig).is_empty());
}
