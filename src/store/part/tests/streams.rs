//! Streams that are synced and hashed while they are received.

use super::*;
use crate::store::tests::recorder::{self, Call};
use std::os::unix::fs::FileExt;

const PIECE_BYTES: usize = 1 << 20;

/// A stream of the content, of which a sync is due.
fn streamed(directory: &Path, content: &Content) -> PartFile {
    let mut part = suggested(directory).ready();
    part.restart().unwrap();
    content.bytes.chunks(PIECE_BYTES).for_each(|piece| part.append(piece).unwrap());
    assert_eq!(part.sync_due(), SyncDue::Now);
    part
}

fn spoil(part: &PartFile) {
    fs::OpenOptions::new().write(true).open(part.part_path()).unwrap().write_all_at(b"spoilt", 0).unwrap();
}

#[test]
fn a_stream_is_synced_and_read_while_more_is_received() {
    let (scratch, content) = (scratch(), Content::of(17, 3));
    let mut part = suggested(scratch.path()).ready();
    let (first, second) = content.bytes.split_at(15 * PIECE_BYTES);
    part.append(first).unwrap();
    assert!(part.sync_due() == SyncDue::Not && part.sync_job(true).is_none());
    part.append(&second[..PIECE_BYTES]).unwrap();
    recorder::start();
    let job = part.sync_job(false).unwrap();
    assert!(part.sync_job(true).is_none(), "one runs");
    part.append(&second[PIECE_BYTES..]).unwrap();
    let synced = job.run().unwrap();
    assert!(recorder::stop().iter().any(|op| matches!(op, recorder::Op::Sync { .. })));
    part.synced(synced).unwrap();
    assert_eq!(part.sync_due(), SyncDue::Not);
    spoil(&part);
    assert_eq!(part.check().b3, content.outline.b3(), "only the rest is read at the end");
    assert_eq!(part.check().b3, ContentHash(*blake3::hash(&fs::read(part.part_path()).unwrap()).as_bytes()));
}

#[test]
fn a_job_for_an_earlier_stream_is_ignored() {
    let (scratch, one, two) = (scratch(), Content::of(17, 1), Content::of(18, 2));
    let mut part = streamed(scratch.path(), &one);
    let late = part.sync_job(false).unwrap().run().unwrap();
    part.restart().unwrap();
    two.bytes.chunks(PIECE_BYTES).for_each(|piece| part.append(piece).unwrap());
    part.synced(late).unwrap();
    assert!(part.sync());
    assert_eq!(part.check().b3, two.outline.b3());
    assert!(fs::read(part.commit().run().unwrap().path).unwrap() == two.bytes);
}

#[test]
fn a_stream_that_could_not_be_synced_gets_no_name_unless_it_is_received_again() {
    let (scratch, content) = (scratch(), Content::of(17, 1));
    let eio = Err(DiskFault::Other(nix::libc::EIO));
    for again in [false, true] {
        let mut part = streamed(scratch.path(), &content);
        recorder::fail_next(Call::Sync, nix::libc::EIO);
        assert_eq!(part.sync_job(false).unwrap().run().map(drop), eio);
        if again {
            part.restart().unwrap();
            part.append(&content.bytes).unwrap();
        }
        assert_eq!(part.check().b3, content.outline.b3());
        assert_eq!(part.commit().run().map(drop), if again { Ok(()) } else { eio });
    }
}

#[test]
fn no_group_of_a_stream_that_could_not_be_synced_counts() {
    for fails in [false, true] {
        let (scratch, content) = (scratch(), Content::of(17, 1));
        let mut part = streamed(scratch.path(), &content);
        let job = part.sync_job(false).unwrap();
        part.set_outline(content.outline.clone()).unwrap();
        if fails {
            recorder::fail_next(Call::Sync, nix::libc::EIO);
            job.run().unwrap_err();
        } else {
            part.synced(job.run().unwrap()).unwrap();
        }
        assert_eq!(part.check().bad.len(), if fails { 17 } else { 0 });
        assert_eq!(part.held().len(), if fails { 0 } else { 17 });
        assert!(part.put(&content, 5) == fails, "received again, it counts");
    }
}

#[test]
fn a_stream_that_was_truncated_by_another_program_is_noticed() {
    let (scratch, content) = (scratch(), Content::of(17, 1));
    let mut part = streamed(scratch.path(), &content);
    assert!(part.sync());
    fs::OpenOptions::new().write(true).open(part.part_path()).unwrap().set_len(100).unwrap();
    let mut check = part.begin_check().unwrap();
    assert_eq!(check.step(&mut part, usize::MAX), Err(DiskFault::Shrank));
}
