//! Checking a part file from end to end.

use super::*;
use std::os::unix::fs::FileExt;

/// A part file with all groups of this content.
fn whole(directory: &Path, content: &Content) -> PartFile {
    let mut part = suggested(directory).ready();
    part.set_outline(content.outline.clone()).unwrap();
    (0..content.outline.group_count()).for_each(|group| assert!(part.put(content, group)));
    part
}

fn spoil(part: &PartFile, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(part.part_path()).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
}

#[test]
fn damaged_groups_are_found_and_no_longer_count() {
    let (scratch, content) = (scratch(), Content::of(5, 1));
    for resumed in [true, false] {
        let mut part = whole(scratch.path(), &content);
        if resumed {
            part.sync();
            part.close();
            part = suggested(scratch.path()).ready();
        }
        spoil(&part, GROUP_BYTES);
        spoil(&part, content.bytes.len() as u64 - 1);
        let checked = part.check();
        assert_eq!((checked.size, checked.bad), (part.len(), vec![1, 4]));
        assert_ne!(checked.b3, content.outline.b3());
        assert_eq!(part.held(), [0, 2, 3]);
        part.close();
        let mut part = suggested(scratch.path()).ready();
        assert_eq!(part.held(), [0, 2, 3], "the journal says so too");
        assert!(part.put(&content, 4) && part.put(&content, 1));
        assert_eq!(part.check(), CheckedPart { b3: content.outline.b3(), size: part.len(), bad: vec![] });
        part.discard().unwrap();
    }
}

#[test]
fn damage_found_during_a_sync_does_not_affect_its_mark() {
    let (scratch, content) = (scratch(), Content::of(5, 1));
    let mut part = suggested(scratch.path()).ready();
    part.set_outline(content.outline.clone()).unwrap();
    assert!(part.put(&content, 0) && part.put(&content, 1) && part.put(&content, 2));
    let job = part.sync_job(false).unwrap();
    assert!(part.put(&content, 3));
    spoil(&part, 5);
    assert_eq!(part.check().bad, [0, 4]);
    let synced = job.run().unwrap();
    part.synced(synced).unwrap();
    let loaded = super::super::journal::load(&File::open(part.journal_path()).unwrap()).unwrap().unwrap();
    assert_eq!((part.held(), loaded.unsynced), (vec![1, 2, 3], vec![3]));
    assert!(part.sync_job(false).is_some(), "the new journal is not synced");
    assert!(part.sync() && !part.sync());
    let loaded = super::super::journal::load(&File::open(part.journal_path()).unwrap()).unwrap().unwrap();
    assert_eq!((loaded.verified.held(), loaded.unsynced.len()), (3, 0));
}

#[test]
fn groups_that_wait_for_a_sync_move_to_the_new_journal() {
    let (scratch, content) = (scratch(), Content::of(5, 1));
    let mut part = suggested(scratch.path()).ready();
    part.set_outline(content.outline.clone()).unwrap();
    (0..4).for_each(|group| assert!(part.put(&content, group)));
    spoil(&part, 5);
    assert!(part.sync() && part.put(&content, 4));
    assert_eq!(part.check().bad, [0]);
    let unsynced = |part: &PartFile| {
        super::super::journal::load(&File::open(part.journal_path()).unwrap()).unwrap().unwrap().unsynced
    };
    assert_eq!(unsynced(&part), [4]);
    assert!(part.sync() && !part.sync(), "once is enough");
    assert_eq!((part.held(), unsynced(&part)), (vec![1, 2, 3, 4], Vec::new()));
}

#[test]
fn the_bytes_of_a_stream_count_when_an_outline_verifies_them() {
    let (scratch, content) = (scratch(), Content::of(4, 1));
    let mut part = stream(suggested(scratch.path()), &content.bytes[..2 * GROUP_BYTES as usize + 10]);
    let found = part.check();
    assert_eq!((found.size, found.bad), (part.len(), vec![]));
    assert_eq!(found.b3.0, *blake3::hash(&content.bytes[..part.len() as usize]).as_bytes());
    part.set_outline(content.outline.clone()).unwrap();
    assert_eq!(part.held(), [0u64; 0]);
    assert_eq!(part.check().bad, [2, 3]);
    assert_eq!(part.held(), [0, 1]);
    part.close();
    let mut part = suggested(scratch.path()).ready();
    assert_eq!(part.held(), [0, 1]);
    assert!(part.put(&content, 2) && part.put(&content, 3));
    assert_eq!(part.check().bad, [0u64; 0]);
}

#[test]
fn a_truncated_part_file_lacks_the_groups_that_were_cut_off() {
    let (scratch, content) = (scratch(), Content::of(4, 1));
    let mut part = whole(scratch.path(), &content);
    fs::OpenOptions::new().write(true).open(part.part_path()).unwrap().set_len(GROUP_BYTES + 1).unwrap();
    assert_eq!(part.check().bad, [1, 2, 3]);
    (1..4).for_each(|group| assert!(part.put(&content, group)));
    // Bytes added at the end do not belong to it.
    fs::OpenOptions::new().write(true).open(part.part_path()).unwrap().set_len(part.len() + 9).unwrap();
    assert_eq!(part.check().bad, [0u64; 0]);
    assert!(fs::read(part.commit().run().unwrap().path).unwrap() == content.bytes);

    let mut part = stream(suggested(scratch.path()), b"a stream");
    fs::write(part.part_path(), b"a str").unwrap();
    let mut check = part.begin_check().unwrap();
    assert_eq!(check.step(&mut part, 100), Err(DiskFault::Shrank));
}

#[test]
fn a_small_content_is_checked_as_a_whole() {
    let (scratch, content) = (scratch(), Content::new(b"a few bytes".to_vec()));
    let mut part = whole(scratch.path(), &content);
    spoil(&part, 3);
    assert_eq!(part.check().bad, [0]);
    assert!(part.put(&content, 0));
    assert_eq!(part.check(), CheckedPart { b3: content.outline.b3(), size: 11, bad: vec![] });
    let empty = Content::new(Vec::new());
    let mut part = suggested(scratch.path()).token(1).ready();
    assert_eq!(part.check(), CheckedPart { b3: empty.outline.b3(), size: 0, bad: vec![] });
    part.set_outline(empty.outline.clone()).unwrap();
    assert_eq!(part.check(), CheckedPart { b3: empty.outline.b3(), size: 0, bad: vec![] });
}

#[test]
fn a_check_runs_in_slices_and_detects_that_it_is_out_of_date() {
    let (scratch, content) = (scratch(), Content::of(2, 1));
    let mut part = whole(scratch.path(), &content);
    let mut check = part.begin_check().unwrap();
    assert_eq!(check.step(&mut part, 0), Ok(None), "a group at least");
    assert!(check.step(&mut part, 2).unwrap().is_some(), "that was the last one");
    let mut check = part.begin_check().unwrap();
    assert_eq!(check.step(&mut part, 1000), Ok(None));
    part.set_outline(Content::of(3, 2).outline.clone()).unwrap();
    assert_eq!(check.step(&mut part, 1000), Err(DiskFault::Changed));
    let mut part = stream(suggested(scratch.path()).token(2), &content.bytes);
    let mut check = part.begin_check().unwrap();
    for _ in 0..3 {
        assert_eq!(check.step(&mut part, 300_000), Ok(None));
    }
    assert_eq!(check.step(&mut part, 300_000).unwrap().unwrap().b3, content.outline.b3());
}

#[test]
fn groups_that_were_read_after_their_sync_are_not_read_again() {
    let (scratch, content) = (scratch(), Content::of(3, 1));
    let mut part = suggested(scratch.path()).ready();
    part.set_outline(content.outline.clone()).unwrap();
    assert!(part.put(&content, 0) && part.put(&content, 1));
    // Damage before the reading is found later, and damage after it is not.
    spoil(&part, 7);
    part.sync();
    spoil(&part, GROUP_BYTES);
    assert!(part.put(&content, 2));
    spoil(&part, 2 * GROUP_BYTES);
    assert_eq!(part.check().bad, [0, 2]);
    // What is fetched again is read again.
    assert!(part.put(&content, 0) && part.put(&content, 2));
    part.sync();
    assert_eq!(part.check(), CheckedPart { b3: content.outline.b3(), size: part.len(), bad: vec![] });
}
