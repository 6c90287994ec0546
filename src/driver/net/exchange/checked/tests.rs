//! Groups from fetches that begin, end and lie in different places.

use super::*;
use crate::content::{ContentHasher, GROUP_BYTES};
use crate::driver::open_parts::OpenPart;
use crate::name::FileName;
use crate::part::{PartSpec, Target};
use crate::store::{PartOpened, PartRequest};

const DOWNLOAD: TransferId = TransferId(1);
const EXCHANGE: ExchangeId = ExchangeId::Outbound(1);

/// An empty open part file for this content.
fn parts(content: &[u8], directory: &std::path::Path) -> OpenParts {
    let mut hasher = ContentHasher::default();
    hasher.update(content);
    let (b3, chain) = hasher.finish();
    let target = Target::Suggested { directory: directory.into(), name: FileName::from_bytes(b"a").unwrap() };
    let spec = PartSpec { target, token: 1, filesystem: None };
    let request = PartRequest { spec, b3: Some(b3), size: None, known: Default::default() };
    let PartOpened::Ready(mut part) = request.open().unwrap() else { panic!("nothing is there yet") };
    part.set_outline(Arc::new(Outline::new(b3, content.len() as u64, chain).unwrap())).unwrap();
    let mut parts = OpenParts::default();
    parts.files().insert(DOWNLOAD, OpenPart::new(part));
    parts
}

/// Does the work of the worker.
fn write_all(parts: &mut OpenParts, checked: &mut Checked) {
    for write in parts.take_writes() {
        let file = parts.get(DOWNLOAD).unwrap().file();
        let mut written = write.run(&file);
        parts.on_written(&mut written);
        checked.on_written(written.group().unwrap(), written.outcome);
    }
}

/// Another fetch has brought a group.
fn put(parts: &mut OpenParts, content: &[u8], group: u64) {
    let (outline, span) =
        (Arc::clone(parts.get(DOWNLOAD).unwrap().outline().unwrap()), group_span(content.len() as u64, group));
    let bytes = content[span.start as usize..span.end as usize].to_vec();
    parts.write(Write {
        download: DOWNLOAD,
        exchange: None,
        data: Data::Group { outline, group, bytes, from: peer(9) },
    });
    let file = parts.get(DOWNLOAD).unwrap().file();
    for write in parts.take_writes() {
        parts.on_written(&mut write.run(&file));
    }
}

/// What the step of a connection does with bytes that wait in its socket.
fn receive(checked: &mut Checked, mut bytes: &[u8], parts: &mut OpenParts) {
    let mut scratch = [0; 5000];
    while !bytes.is_empty() {
        let room = checked.room(parts, &mut scratch);
        let count = room.len().min(bytes.len());
        room[..count].copy_from_slice(&bytes[..count]);
        checked.take(count, parts);
        bytes = &bytes[count..];
    }
}

fn held(parts: &OpenParts) -> u64 {
    parts.get(DOWNLOAD).unwrap().verified().held()
}

fn peer(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, n], 1))
}

/// What is requested of the first peer.
fn part(portion: Portion) -> Part {
    Part { download: DOWNLOAD, portion, from: peer(1), begun: None }
}

/// The part of a group that a fetch leaves.
fn partial(checked: Checked) -> PartialGroup {
    match checked.into_remains() {
        Remains::Partial(partial) => partial,
        other => panic!("{other:?}"),
    }
}

/// The reported groups, and the fault after them.
fn reported(checked: &mut Checked, parts: &mut OpenParts) -> (Vec<u64>, Option<DialFault>) {
    write_all(parts, checked);
    let mut groups = Vec::new();
    loop {
        match checked.poll() {
            Ok(Some(Event::GroupVerified { group, .. })) => groups.push(group),
            Ok(Some(other)) => panic!("{other:?}"),
            Ok(None) => return (groups, None),
            Err(fault) => return (groups, Some(fault)),
        }
    }
}

#[test]
fn groups_are_reported_whether_this_fetch_or_another_verified_them() {
    let scratch = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..2 * GROUP_BYTES + 9).map(|at| (at % 253) as u8).collect();
    let mut parts = parts(&content, scratch.path());
    put(&mut parts, &content, 1);
    let mut checked = Checked::begin(EXCHANGE, &part(Portion::Whole), &parts).unwrap();
    for piece in content.chunks(300_001) {
        receive(&mut checked, piece, &mut parts);
    }
    assert_eq!(reported(&mut checked, &mut parts), (vec![0, 1, 2], None));
    assert!(checked.is_complete() && held(&parts) == 3);
}

#[test]
fn a_wrong_byte_ends_the_fetch_and_only_the_other_groups_are_written() {
    let scratch = tempfile::tempdir().unwrap();
    let content = vec![5; 3 * GROUP_BYTES as usize];
    let mut parts = parts(&content, scratch.path());
    let mut wrong = content.clone();
    wrong[GROUP_BYTES as usize + 77] ^= 1;
    let mut checked = Checked::begin(EXCHANGE, &part(Portion::Groups(0..3)), &parts).unwrap();
    receive(&mut checked, &wrong, &mut parts);
    assert_eq!(reported(&mut checked, &mut parts), (vec![0, 2], Some(DialFault::Corrupt)));
    assert_eq!(held(&parts), 2);
}

#[test]
fn a_trimmed_fetch_ends_after_the_group_that_had_begun() {
    let scratch = tempfile::tempdir().unwrap();
    let content = vec![6; 3 * GROUP_BYTES as usize];
    let mut parts = parts(&content, scratch.path());
    let mut checked = Checked::begin(EXCHANGE, &part(Portion::Groups(0..3)), &parts).unwrap();
    receive(&mut checked, &content[..10], &mut parts);
    checked.trim(0);
    assert!(!checked.is_complete());
    receive(&mut checked, &content[10..], &mut parts);
    assert!(checked.waits_for_disk(&parts) && !checked.is_complete(), "nothing more is received");
    assert_eq!(reported(&mut checked, &mut parts), (vec![0], None), "bytes after it are ignored");
    assert!(checked.is_complete());
}

#[test]
fn a_group_begins_with_its_first_byte_and_not_with_an_attempt_to_read() {
    let scratch = tempfile::tempdir().unwrap();
    let content = vec![6; 3 * GROUP_BYTES as usize];
    let mut parts = parts(&content, scratch.path());
    let mut checked = Checked::begin(EXCHANGE, &part(Portion::Groups(0..3)), &parts).unwrap();
    assert!(!checked.room(&mut parts, &mut []).is_empty());
    put(&mut parts, &content, 0);
    receive(&mut checked, &content[..GROUP_BYTES as usize], &mut parts);
    assert!(!checked.is_writing(), "another fetch has brought it before the first byte");
    assert!(!checked.room(&mut parts, &mut []).is_empty());
    checked.trim(0);
    assert_eq!(reported(&mut checked, &mut parts), (vec![0], None));
    assert!(checked.is_complete());
}

#[test]
fn a_partial_group_is_continued_by_other_fetches() {
    let scratch = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..2 * GROUP_BYTES + 9).map(|at| (at % 253) as u8).collect();
    let mut parts = parts(&content, scratch.path());
    let (group, mut at) = (GROUP_BYTES as usize, GROUP_BYTES as usize);
    let mut begun: Option<PartialGroup> = None;
    for (turn, bytes) in [100_000, 400_000, 1].into_iter().enumerate() {
        let asked = Part { begun: begun.take().map(Rc::new), ..part(Portion::Groups(1..3)) };
        let mut checked = Checked::begin(EXCHANGE, &Part { from: peer(turn as u8), ..asked }, &parts).unwrap();
        receive(&mut checked, &content[at..at + bytes], &mut parts);
        assert_eq!(reported(&mut checked, &mut parts), (vec![], None));
        at += bytes;
        let left = partial(checked);
        assert_eq!((left.group, left.len()), (1, (at - group) as u64));
        begun = Some(left);
    }
    let asked = Part { begun: begun.map(Rc::new), ..part(Portion::Groups(1..3)) };
    let mut checked = Checked::begin(EXCHANGE, &asked, &parts).unwrap();
    checked.trim(1);
    receive(&mut checked, &content[at..], &mut parts);
    assert_eq!(reported(&mut checked, &mut parts), (vec![1], None));
    assert!(checked.is_complete(), "the group that was begun is completed, and no other");
    assert!(matches!(checked.into_remains(), Remains::Nothing));
}

#[test]
fn a_mismatch_of_a_group_from_several_exchanges_names_all_senders() {
    let scratch = tempfile::tempdir().unwrap();
    let content = vec![5; 2 * GROUP_BYTES as usize];
    let mut parts = parts(&content, scratch.path());
    let mut liar = Checked::begin(EXCHANGE, &Part { from: peer(6), ..part(Portion::Groups(0..2)) }, &parts).unwrap();
    receive(&mut liar, &[4; 1000], &mut parts);
    let asked = Part { begun: Some(Rc::new(partial(liar))), ..part(Portion::Groups(0..2)) };
    let mut honest = Checked::begin(EXCHANGE, &asked, &parts).unwrap();
    receive(&mut honest, &content[1000..], &mut parts);
    assert_eq!(reported(&mut honest, &mut parts), (vec![1], Some(DialFault::CorruptParts)));
    match honest.into_remains() {
        Remains::Mismatch { download: DOWNLOAD, senders } => assert_eq!(senders, [peer(1), peer(6)].into()),
        other => panic!("{other:?}"),
    }
    assert_eq!(held(&parts), 1);
}

#[test]
fn the_rest_of_a_group_that_was_verified_meanwhile_is_skipped() {
    let scratch = tempfile::tempdir().unwrap();
    let content = vec![8; 2 * GROUP_BYTES as usize];
    let mut parts = parts(&content, scratch.path());
    let mut first = Checked::begin(EXCHANGE, &part(Portion::Groups(0..1)), &parts).unwrap();
    receive(&mut first, &content[..77], &mut parts);
    put(&mut parts, &content, 0);
    let asked = Part { begun: Some(Rc::new(partial(first))), ..part(Portion::Groups(0..2)) };
    let mut second = Checked::begin(EXCHANGE, &asked, &parts).unwrap();
    receive(&mut second, &content[77..], &mut parts);
    assert_eq!(reported(&mut second, &mut parts), (vec![0, 1], None));
}

#[test]
fn groups_are_reported_in_order_and_a_slow_disk_stops_the_receiving() {
    let scratch = tempfile::tempdir().unwrap();
    let content = vec![3; 4 * GROUP_BYTES as usize];
    let mut parts = parts(&content, scratch.path());
    put(&mut parts, &content, 1);
    let mut checked = Checked::begin(EXCHANGE, &part(Portion::Whole), &parts).unwrap();
    let group = GROUP_BYTES as usize;
    receive(&mut checked, &content[..2 * group], &mut parts);
    assert!(checked.is_writing() && !checked.waits_for_disk(&parts), "one is on its way, and one was there");
    assert!(matches!(checked.poll(), Ok(None)), "the second one is reported after the first");
    receive(&mut checked, &content[2 * group..3 * group], &mut parts);
    assert!(checked.waits_for_disk(&parts));
    assert_eq!(reported(&mut checked, &mut parts), (vec![0, 1, 2], None));
    assert!(!checked.waits_for_disk(&parts) && !checked.is_complete());
}

#[test]
fn what_a_liar_sent_after_a_wrong_group_is_not_kept() {
    let scratch = tempfile::tempdir().unwrap();
    let content = vec![5; 3 * GROUP_BYTES as usize];
    let mut parts = parts(&content, scratch.path());
    let mut checked = Checked::begin(EXCHANGE, &part(Portion::Groups(0..3)), &parts).unwrap();
    let mut wrong = content.clone();
    wrong[9] ^= 1;
    receive(&mut checked, &wrong[..2 * GROUP_BYTES as usize + 100], &mut parts);
    assert_eq!(reported(&mut checked, &mut parts), (vec![1], Some(DialFault::Corrupt)));
    assert!(matches!(checked.into_remains(), Remains::Nothing));
}
