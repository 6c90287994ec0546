//! A part file that becomes a copy of a shared file.

use super::*;
use crate::name::FileName;
use crate::store::{ShareRoot, SharedFile};

fn shared(directory: &Path, bytes: &[u8]) -> SharedFile {
    fs::write(directory.join("original"), bytes).unwrap();
    ShareRoot::open(directory).unwrap().open_file(&FileName::from_bytes(b"original").unwrap()).unwrap()
}

#[test]
fn a_copy_is_made_in_slices_and_is_checked_and_committed() {
    let (share, target, content) = (scratch(), scratch(), Content::of(3, 1));
    // A longer stream was there before.
    let mut part = stream(suggested(target.path()), &[7; 4 << 20]);
    let mut copy = part.begin_copy(shared(share.path(), &content.bytes)).unwrap();
    let mut slices = 1;
    while !copy.step(&mut part, 1 << 20).unwrap() {
        slices += 1;
    }
    // One where blocks can be shared.
    assert!(slices == 3 || slices == 1, "{slices}");
    let size = content.bytes.len() as u64;
    assert_eq!(part.check(), CheckedPart { b3: content.outline.b3(), size, bad: vec![] });
    assert!(fs::read(part.commit().run().unwrap().path).unwrap() == content.bytes);
    assert!(fs::read(share.path().join("original")).unwrap() == content.bytes);
}

#[test]
fn an_original_that_changes_meanwhile_is_refused_and_the_part_file_takes_groups() {
    let (share, target, content) = (scratch(), scratch(), Content::of(3, 1));
    let mut part = suggested(target.path()).ready();
    let original = shared(share.path(), &content.bytes);
    fs::write(share.path().join("original"), b"shorter").unwrap();
    let mut copy = part.begin_copy(original).unwrap();
    if part.len() == 0 {
        assert_eq!(copy.step(&mut part, 1 << 20), Err(DiskFault::Shrank));
    }
    part.set_outline(content.outline.clone()).unwrap();
    assert!((0..3).all(|group| part.put(&content, group)));
    assert_eq!(part.check().bad, [0u64; 0]);
    let again = shared(share.path(), b"x");
    assert!(part.begin_copy(again).is_err(), "what is verified is not overwritten");
}
