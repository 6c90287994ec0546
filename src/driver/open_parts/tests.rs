//! What workers write to a part file, and what the loop then knows of it.

use super::*;
use crate::content::{ContentHasher, GROUP_BYTES};
use crate::name::FileName;
use crate::part::{PartSpec, Target};
use crate::store::{PartOpened, PartRequest};
use std::net::{IpAddr, Ipv4Addr};
use tempfile::TempDir;

const DOWNLOAD: TransferId = TransferId(1);

const FROM: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// An open part file without an outline.
fn parts() -> (TempDir, OpenParts) {
    let scratch = tempfile::tempdir().unwrap();
    let target = Target::Suggested { directory: scratch.path().into(), name: FileName::from_bytes(b"a").unwrap() };
    let spec = PartSpec { target, token: 1, filesystem: None };
    let request = PartRequest { spec, b3: None, size: None, known: Default::default() };
    let PartOpened::Ready(part) = request.open().unwrap() else { panic!("nothing is there yet") };
    let mut parts = OpenParts::default();
    parts.files().insert(DOWNLOAD, OpenPart::new(part));
    (scratch, parts)
}

fn outline(content: &[u8]) -> Arc<Outline> {
    let mut hasher = ContentHasher::default();
    hasher.update(content);
    let (b3, chain) = hasher.finish();
    Arc::new(Outline::new(b3, content.len() as u64, chain).unwrap())
}

/// Does the work of the worker for one write.
fn run(parts: &mut OpenParts, data: Data) -> Result<(), WriteFault> {
    parts.write(Write { download: DOWNLOAD, exchange: None, data });
    let write = parts.take_writes().pop().unwrap();
    let mut written = write.run(&parts.get(DOWNLOAD).unwrap().file());
    assert!(parts.on_written(&mut written), "it was the only one");
    written.outcome
}

fn brought(outline: &Arc<Outline>, instead_of: Option<&Arc<Outline>>, wanted: &Arc<()>) -> Data {
    Data::Outline {
        outline: Arc::clone(outline),
        instead_of: instead_of.map(Arc::clone),
        wanted: Arc::downgrade(wanted),
    }
}

fn present(parts: &OpenParts) -> Option<Arc<Outline>> {
    parts.get(DOWNLOAD).unwrap().outline().cloned()
}

#[test]
fn an_outline_is_set_only_for_an_exchange_that_is_there_and_over_the_one_it_saw() {
    let (_scratch, mut parts) = parts();
    let (first, second, wanted) = (outline(b"first"), outline(b"second"), Arc::new(()));
    let gone = Data::Outline { outline: Arc::clone(&first), instead_of: None, wanted: Weak::new() };
    assert_eq!(run(&mut parts, gone), Err(WriteFault::Superseded));
    assert_eq!(present(&parts), None);
    assert_eq!(run(&mut parts, brought(&first, None, &wanted)), Ok(()));
    // Another exchange brought its outline while there was none.
    assert_eq!(run(&mut parts, brought(&second, None, &wanted)), Err(WriteFault::Superseded));
    assert_eq!(present(&parts), Some(Arc::clone(&first)));
    assert_eq!(run(&mut parts, brought(&second, Some(&first), &wanted)), Ok(()));
    assert_eq!(present(&parts), Some(second));
}

#[test]
fn a_group_is_written_only_if_it_is_right_and_of_the_present_content() {
    let (_scratch, mut parts) = parts();
    let (ours, other) = (outline(b"content"), outline(b"another"));
    parts.set_outline(DOWNLOAD, Arc::clone(&ours));
    assert_eq!(present(&parts), Some(Arc::clone(&ours)), "known before a worker has set it");
    let write = parts.take_writes().pop().unwrap();
    let mut written = write.run(&parts.get(DOWNLOAD).unwrap().file());
    parts.on_written(&mut written);
    let group = |outline: &Arc<Outline>, bytes: &[u8]| Data::Group {
        outline: Arc::clone(outline),
        group: 0,
        bytes: bytes.into(),
        from: FROM,
    };
    assert_eq!(run(&mut parts, group(&ours, b"c0ntent")), Err(WriteFault::Mismatch));
    assert_eq!(run(&mut parts, group(&other, b"another")), Err(WriteFault::Disk(DiskFault::Changed)));
    assert_eq!(parts.get(DOWNLOAD).unwrap().verified().held(), 0);
    parts.write(Write { download: DOWNLOAD, exchange: None, data: group(&ours, b"content") });
    let written = parts.take_writes().pop().unwrap().run(&parts.get(DOWNLOAD).unwrap().file());
    assert_eq!(written.written_group(), Some((ours.b3(), 0, FROM)));
    assert!(parts.on_written(&mut { written }));
    assert_eq!(parts.get(DOWNLOAD).unwrap().verified().held(), 1);
}

#[test]
fn a_group_that_another_outline_of_the_same_content_verified_blames_no_disk() {
    let (_scratch, mut parts) = parts();
    let truth = outline(&vec![7; 2 * GROUP_BYTES as usize]);
    // The hash of a list of groups does not prove how long the last one is.
    let shorter = Arc::new(Outline::new(truth.b3(), truth.size() - 1, truth.chain().to_vec()).unwrap());
    assert_eq!(run(&mut parts, Data::GivenOutline(shorter)), Ok(()));
    let bytes = || vec![7; GROUP_BYTES as usize];
    let group = |group| Data::Group { outline: Arc::clone(&truth), group, bytes: bytes(), from: FROM };
    assert_eq!(run(&mut parts, group(1)), Err(WriteFault::Superseded));
    assert_eq!(run(&mut parts, group(0)), Ok(()), "both say the same of this one");
    assert_eq!(parts.get(DOWNLOAD).unwrap().verified().held(), 1);
}

#[test]
fn a_view_that_comes_after_a_later_one_is_ignored() {
    let (_scratch, mut parts) = parts();
    let file = parts.get(DOWNLOAD).unwrap().file();
    let early = View::of(&mut file.lock().unwrap(), true);
    let content = outline(&vec![7; 2 * GROUP_BYTES as usize]);
    file.lock().unwrap().set_outline(Arc::clone(&content)).unwrap();
    let late = View::of(&mut file.lock().unwrap(), true);
    let part = parts.files().get_mut(&DOWNLOAD).unwrap();
    part.apply(late);
    part.apply(early);
    assert_eq!(part.outline(), Some(&content));
    assert!(part.wants_sync(false), "the new journal is not synced");
}

#[test]
fn exchanges_wait_while_too_much_is_on_its_way_to_the_disk() {
    let (_scratch, mut parts) = parts();
    let stream = || Data::Stream { begins: false, bytes: vec![0; GROUP_BYTES as usize] };
    while !parts.is_behind(DOWNLOAD) {
        parts.write(Write { download: DOWNLOAD, exchange: None, data: stream() });
    }
    let writes = parts.take_writes();
    assert!(!parts.is_behind(TransferId(2)), "it has no part file on this filesystem");
    assert_eq!(writes.len(), (32 << 20) / GROUP_BYTES as usize + 1);
    let file = parts.get(DOWNLOAD).unwrap().file();
    let lasts: Vec<bool> = writes.into_iter().map(|write| parts.on_written(&mut write.run(&file))).collect();
    assert!(!parts.is_behind(DOWNLOAD) && lasts.iter().filter(|last| **last).count() == 1 && lasts.ends_with(&[true]));
}
