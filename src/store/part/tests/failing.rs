//! Disks that are full, broken or both.

use super::*;
use crate::store::mount::may_be_same;
use crate::store::mount::{RAMFS_MAGIC, TMPFS_MAGIC};
use crate::store::reserve::Room;
use crate::store::tests::recorder::{self, Call, fail_next, pretend_room};
use nix::libc::{EACCES, EIO, ENOMEM, ENOSPC};
use std::os::unix::fs::FileExt;

const BROKEN: DiskFault = DiskFault::Other(EIO);

/// Room for this many bytes above the reserve.
fn room(free: u64) -> Option<Room> {
    Some(Room { free: free + 256 * GROUP_BYTES, total: 100_000 * GROUP_BYTES })
}

fn begun(directory: &Path, content: &Content) -> PartFile {
    let mut part = suggested(directory).ready();
    part.set_outline(content.outline.clone()).unwrap();
    part
}

#[test]
fn the_reserve_is_left_free() {
    let (scratch, content) = (scratch(), Content::of(3, 1));
    let size = content.bytes.len() as u64;
    pretend_room(room(size - 1));
    assert_eq!(suggested(scratch.path()).wanting(&content).fault(), DiskFault::Full);
    assert!(names(scratch.path()).is_empty());
    let mut part = suggested(scratch.path()).ready();
    assert_eq!(part.set_outline(content.outline.clone()), Err(DiskFault::Full.into()));
    assert!(part.outline().is_none());
    pretend_room(room(size));
    part.set_outline(content.outline.clone()).unwrap();
    // Another process takes it before the disk has reserved it.
    pretend_room(room(size - 1));
    assert_eq!(part.sync_job(false).unwrap().run().unwrap_err(), DiskFault::Full);
    pretend_room(room(size));
    part.sync();
    part.close();
    // Reserved space needs no more room, where the disk can reserve it.
    pretend_room(room(0));
    let part = suggested(scratch.path()).wanting(&content).ready();
    assert_eq!(part.outline(), Some(&content.outline));
    pretend_room(None);
}

#[test]
fn a_stream_checks_the_free_space_at_intervals() {
    let scratch = scratch();
    let mib = vec![7; GROUP_BYTES as usize];
    let mut part = suggested(scratch.path()).ready();
    pretend_room(room(GROUP_BYTES - 1));
    assert_eq!(part.append(&mib), Err(DiskFault::Full));
    assert_eq!(part.len(), 0);
    pretend_room(room(GROUP_BYTES));
    part.append(&mib).unwrap();
    pretend_room(room(0));
    for _ in 1..16 {
        part.append(&mib).unwrap();
    }
    assert_eq!(part.append(&mib), Err(DiskFault::Full));
    assert_eq!(part.len(), 16 * GROUP_BYTES);
    // Bytes that exist already can be overwritten.
    part.restart().unwrap();
    for _ in 0..16 {
        part.append(&mib).unwrap();
    }
    pretend_room(None);
    part.append(&mib).unwrap();
}

#[test]
fn a_stream_that_could_not_be_written_continues_at_the_same_offset() {
    let scratch = scratch();
    let mut part = stream(suggested(scratch.path()), b"before");
    fail_next(Call::Write, ENOSPC);
    assert_eq!(part.append(b"more"), Err(DiskFault::Full));
    assert_eq!(part.len(), 6);
    // Bytes left by a failed write do not belong to the file.
    fs::write(part.part_path(), b"beforemo").unwrap();
    assert_eq!(fs::read(part.commit().run().unwrap().path).unwrap(), b"before");
}

#[test]
fn a_group_counts_only_with_its_data_and_its_record() {
    let (scratch, content) = (scratch(), Content::of(3, 1));
    let mut part = begun(scratch.path(), &content);
    fail_next(Call::Write, ENOSPC);
    assert_eq!(part.write_group(0, content.group(0)), Err(DiskFault::Full), "the data");
    assert_eq!(part.held(), [0u64; 0]);
    assert!(part.put(&content, 0));
    // The data are written, the record is not.
    part.sync();
    recorder::start();
    part.put(&content, 1);
    let ops = recorder::stop();
    assert_eq!(ops.len(), 2);
    let journal_len = fs::metadata(part.journal_path()).unwrap().len();
    recorder::fail_second(Call::Write, ENOSPC);
    assert_eq!(part.write_group(2, content.group(2)), Err(DiskFault::Full));
    assert_eq!(part.held(), [0, 1]);
    assert_eq!(fs::metadata(part.journal_path()).unwrap().len(), journal_len);
    assert!(part.put(&content, 2));
    part.close();
    recorder::reset();
    assert_eq!(suggested(scratch.path()).ready().held(), [0, 1, 2]);
}

#[test]
fn data_that_could_not_be_synced_are_fetched_again() {
    let (scratch, content) = (scratch(), Content::of(4, 1));
    let mut part = begun(scratch.path(), &content);
    assert!(part.put(&content, 0) && part.sync());
    assert!(part.put(&content, 1) && part.put(&content, 2));
    let job = part.sync_job(true).unwrap();
    assert!(part.put(&content, 3));
    fail_next(Call::Sync, EIO);
    assert_eq!(job.run().unwrap_err(), BROKEN);
    // They are read correctly, but only from memory: also the one that was written while the sync ran.
    assert_eq!(part.check().bad, [1, 2, 3]);
    assert_eq!(part.held(), [0]);
    assert_eq!(part.check().bad, [1, 2, 3], "as long as they are not written again");
    assert!(part.put(&content, 1) && part.put(&content, 2) && part.put(&content, 3));
    assert_eq!(part.check().bad, [0u64; 0]);
    assert!(part.sync());

    // An error reported late keeps the file from getting its name.
    fs::create_dir(scratch.path().join("late")).unwrap();
    let mut part = begun(&scratch.path().join("late"), &content);
    (0..4).for_each(|group| assert!(part.put(&content, group)));
    let job = part.sync_job(true).unwrap();
    fail_next(Call::Sync, EIO);
    let _failed = job.run();
    assert_eq!(part.commit().run(), Err(DiskFault::Changed));
    let part = suggested(&scratch.path().join("late")).ready();
    assert_eq!(part.held(), [0u64; 0]);
}

/// A sync writes all bytes of the file, also those of a stream before it had an outline.
#[test]
fn bytes_of_a_stream_that_could_not_be_synced_are_fetched_again() {
    let (scratch, content) = (scratch(), Content::of(3, 1));
    let mut part = stream(suggested(scratch.path()), &content.bytes);
    part.set_outline(content.outline.clone()).unwrap();
    let job = part.sync_job(false).unwrap();
    fail_next(Call::Sync, EIO);
    assert_eq!(job.run().unwrap_err(), BROKEN);
    assert_eq!(part.check().bad, [0, 1, 2], "they match, but in memory only");
    (0..3).for_each(|group| assert!(part.put(&content, group)));
    assert_eq!(part.check().bad, [0u64; 0]);
}

/// The sync of what the file had before also writes what it has got meanwhile, and its failure is reported once.
#[test]
fn a_sync_that_fails_after_the_content_has_changed_is_not_lost() {
    let (scratch, old, new) = (scratch(), Content::of(3, 1), Content::of(3, 2));
    let mut part = begun(scratch.path(), &old);
    assert!(part.put(&old, 0) && part.put(&old, 1));
    let job = part.sync_job(true).unwrap();
    part.set_outline(new.outline.clone()).unwrap();
    (0..3).for_each(|group| assert!(part.put(&new, group)));
    fail_next(Call::Sync, EIO);
    assert_eq!(job.run().unwrap_err(), BROKEN);
    assert_eq!(part.check().bad, [0, 1, 2], "they match, but in memory only");

    // What was lost before stays so, however often the content changes.
    part.set_outline(old.outline.clone()).unwrap();
    part.set_outline(new.outline.clone()).unwrap();
    assert_eq!(part.check().bad, [0, 1, 2]);
    (0..3).for_each(|group| assert!(part.put(&new, group)));
    assert_eq!(part.check().bad, [0u64; 0]);

    // The new outline cannot be set: a stream follows, and gets no name.
    let job = part.sync_job(true).unwrap();
    fail_next(Call::Rename, EIO);
    assert_eq!(part.set_outline(old.outline.clone()), Err(BROKEN.into()));
    part.append(b"stream").unwrap();
    fail_next(Call::Sync, EIO);
    assert_eq!(job.run().unwrap_err(), BROKEN);
    assert_eq!(part.commit().run(), Err(BROKEN));
}

/// Which groups it has read again says nothing of those that the file has by now.
#[test]
fn a_sync_that_ends_after_the_content_has_changed_vouches_for_nothing() {
    let (scratch, old, new) = (scratch(), Content::of(3, 1), Content::of(3, 2));
    let mut part = begun(scratch.path(), &old);
    assert!(part.put(&old, 0) && part.put(&old, 1));
    let synced = part.sync_job(true).unwrap().run().unwrap();
    part.set_outline(new.outline.clone()).unwrap();
    (0..3).for_each(|group| assert!(part.put(&new, group)));
    part.synced(synced).unwrap();
    fs::OpenOptions::new().write(true).open(part.part_path()).unwrap().write_all_at(&[0; 9], 0).unwrap();
    assert_eq!(part.check().bad, [0]);
    assert!(part.put(&new, 0) && part.sync());
    assert_eq!(fs::read(part.commit().run().unwrap().path).unwrap(), new.bytes);
}

/// A sync reports a failure once: the next one succeeds, though the bytes are in the page cache only.
#[test]
fn after_a_failed_sync_a_part_file_is_resumed_with_what_the_disk_has() {
    let (scratch, content) = (scratch(), Content::of(3, 1));
    let mut part = begun(scratch.path(), &content);
    assert!(part.put(&content, 0) && part.sync());
    assert!(part.put(&content, 1) && part.put(&content, 2));
    let job = part.sync_job(true).unwrap();
    recorder::keep_in_cache_only(&part.held, 4_096 + GROUP_BYTES..8_192 + GROUP_BYTES);
    // The file is closed before the sync has ended.
    part.close();
    fail_next(Call::Sync, EIO);
    assert_eq!(job.run().unwrap_err(), BROKEN);
    assert_eq!(suggested(scratch.path()).ready().held(), [0, 2]);
    recorder::reset();

    // The sync at the opening fails, and the one of the next opening does not.
    let mut part = suggested(scratch.path()).ready();
    assert!(part.put(&content, 1));
    recorder::keep_in_cache_only(&part.held, GROUP_BYTES..4_096 + GROUP_BYTES);
    part.close();
    fail_next(Call::Sync, EIO);
    assert_eq!(suggested(scratch.path()).fault(), BROKEN);
    assert_eq!(suggested(scratch.path()).ready().held(), [0, 2]);
    recorder::reset();
}

#[test]
fn a_group_on_a_bad_sector_is_fetched_again() {
    let (scratch, content) = (scratch(), Content::of(2, 1));
    let mut part = begun(scratch.path(), &content);
    assert!(part.put(&content, 0) && part.put(&content, 1));
    part.close();
    fail_next(Call::Read, ENOMEM);
    assert_eq!(suggested(scratch.path()).fault(), DiskFault::Other(ENOMEM), "nothing is known of it");
    fail_next(Call::Read, EIO);
    assert_eq!(suggested(scratch.path()).ready().held(), [1]);
}

#[test]
fn a_failed_job_is_repeated() {
    let (scratch, content) = (scratch(), Content::of(2, 1));
    let mut part = begun(scratch.path(), &content);
    for (call, errno, fault) in
        [(Call::Allocate, ENOSPC, DiskFault::Full), (Call::Sync, EIO, BROKEN), (Call::SyncDirectory, EIO, BROKEN)]
    {
        let job = part.sync_job(false).unwrap();
        fail_next(call, errno);
        assert_eq!(job.run().unwrap_err(), fault, "{call:?}");
    }
    // The mark cannot be written.
    part.put(&content, 0);
    let synced = part.sync_job(false).unwrap().run().unwrap();
    fail_next(Call::Write, ENOSPC);
    assert_eq!(part.synced(synced), Err(DiskFault::Full));
    assert_eq!(part.held(), [0]);
    assert!(part.sync() && !part.sync());
}

/// The journal names groups that the disk has lost until it is replaced: until then no mark says that they are synced.
#[test]
fn lost_groups_do_not_count_though_the_journal_cannot_be_replaced() {
    let (scratch, content) = (scratch(), Content::of(4, 1));
    let mut part = begun(scratch.path(), &content);
    assert!(part.sync() && part.put(&content, 0));
    let job = part.sync_job(true).unwrap();
    fail_next(Call::Sync, EIO);
    assert_eq!(job.run().unwrap_err(), BROKEN);
    let file = fs::OpenOptions::new().write(true).open(part.part_path()).unwrap();
    file.write_all_at(&[0; 4_096], 0).unwrap();
    fail_next(Call::Rename, EIO);
    assert!(part.put(&content, 1));
    fail_next(Call::Rename, EIO);
    let synced = part.sync_job(true).unwrap().run().unwrap();
    part.synced(synced).unwrap();
    part.close();
    recorder::reset();
    let mut part = suggested(scratch.path()).ready();
    assert_eq!(part.held(), [1]);
    assert!(part.put(&content, 0) && part.sync());
    part.close();
    assert_eq!(suggested(scratch.path()).ready().held(), [0, 1]);
}

#[test]
fn an_outline_that_cannot_be_set_changes_nothing() {
    let (scratch, content) = (scratch(), Content::of(3, 1));
    let other = content.claimed(2 * GROUP_BYTES + 1);
    let size = content.bytes.len() as u64;
    for call in [Call::Write, Call::SetLen, Call::Rename] {
        let mut part = stream(suggested(scratch.path()), b"streamed");
        fail_next(call, EIO);
        assert_eq!(part.set_outline(content.outline.clone()), Err(BROKEN.into()), "{call:?}");
        assert_eq!((part.outline(), part.len()), (None, 0));
        assert_eq!(names(scratch.path()).len(), 1, "{call:?}");

        part.set_outline(content.outline.clone()).unwrap();
        part.put(&content, 1);
        fail_next(call, EIO);
        assert_eq!(part.set_outline(other.clone()), Err(BROKEN.into()), "{call:?}");
        assert_eq!((part.outline(), part.held()), (Some(&content.outline), vec![1]));
        assert_eq!(fs::metadata(part.part_path()).unwrap().len(), size);
        assert_eq!(names(scratch.path()).len(), 2, "{call:?}");
        assert!(part.put(&content, 2));
        part.close();
        let mut part = suggested(scratch.path()).ready();
        assert_eq!((part.outline(), part.held()), (Some(&content.outline), vec![1, 2]));

        // For another content the old journal must be durably removed first.
        fail_next(Call::SyncDirectory, EIO);
        assert_eq!(part.set_outline(Content::of(2, 9).outline), Err(BROKEN.into()));
        part.discard().unwrap();
    }
}

#[test]
fn a_part_file_that_cannot_be_opened_is_not_changed() {
    let (scratch, content) = (scratch(), Content::of(3, 1));
    let mut part = begun(scratch.path(), &content);
    assert!(part.put(&content, 1));
    part.close();
    for (call, errno) in [(Call::Sync, EIO), (Call::Write, ENOSPC), (Call::Rename, EIO), (Call::SyncDirectory, EIO)] {
        fail_next(call, errno);
        assert!(suggested(scratch.path()).open().is_err(), "{call:?}");
    }
    assert_eq!(suggested(scratch.path()).ready().held(), [1]);
    assert_eq!(names(scratch.path()).len(), 2);
}

#[test]
fn a_name_whose_stat_fails_is_not_used() {
    let (scratch, content) = (scratch(), Content::of(2, 1));
    let path = scratch.path().join("exact");
    for errno in [EIO, ENOMEM] {
        for request in [suggested(scratch.path()), exact(&path), exact(&path).wanting(&content)] {
            fail_next(Call::Stat, errno);
            assert_eq!(request.fault(), DiskFault::Other(errno));
        }
    }
    fail_next(Call::Stat, EACCES);
    assert_eq!(suggested(scratch.path()).fault(), DiskFault::Denied);
    assert!(names(scratch.path()).is_empty());
    // At the end, and when the part file is opened.
    let part = stream(suggested(scratch.path()), b"bytes");
    fail_next(Call::Stat, EIO);
    assert_eq!(part.commit().run(), Err(BROKEN));
    let before = suggested(scratch.path());
    recorder::fail_second(Call::Stat, EIO);
    assert_eq!(before.fault(), BROKEN);
    assert_eq!(stream(suggested(scratch.path()), b"bytes").commit().run().unwrap().path, scratch.path().join("a.txt"));
}

#[test]
fn a_part_file_that_is_gone_is_started_again_only_on_its_own_filesystem() {
    let scratch = scratch();
    let here = suggested(scratch.path()).ready().filesystem;
    suggested(scratch.path()).remove().unwrap();
    let on = |filesystem| suggested(scratch.path()).on(filesystem);
    for elsewhere in [FilesystemId { number: !here.number, ..here }, FilesystemId { kind: 0x4d44, ..here }] {
        if ![TMPFS_MAGIC, RAMFS_MAGIC].contains(&here.kind) || elsewhere.kind != here.kind {
            assert_eq!(on(elsewhere).fault(), DiskFault::NotMounted);
            assert!(names(scratch.path()).is_empty());
        }
        // A filesystem may have another number at every mount.
        suggested(scratch.path()).ready().close();
        on(elsewhere).ready().discard().unwrap();
    }
    on(here).ready().discard().unwrap();
    let memory = FilesystemId { kind: TMPFS_MAGIC, number: 1 };
    assert!(may_be_same(memory, FilesystemId { number: 2, ..memory }), "what was there is gone for good");
    assert!(!may_be_same(memory, FilesystemId { kind: 0xef53, number: 1 }));
}

#[test]
fn a_missing_part_file_counts_as_removed_only_on_its_own_filesystem() {
    let scratch = scratch();
    let here = suggested(scratch.path()).ready().filesystem;
    let elsewhere = FilesystemId { kind: 0x4d44, ..here };
    let on = |filesystem, directory: &Path| suggested(directory).on(filesystem);
    let missing = scratch.path().join("missing");
    // It is there, whatever the number of its filesystem.
    assert_eq!(on(elsewhere, scratch.path()).remove(), Ok(()));
    assert!(names(scratch.path()).is_empty());
    for directory in [scratch.path(), &missing] {
        assert_eq!(on(here, directory).remove(), Ok(()), "it is gone");
        assert_eq!(suggested(directory).remove(), Ok(()), "there never was one");
        assert_eq!(on(elsewhere, directory).remove(), Err(DiskFault::NotMounted), "it may be there still");
    }
    for path in [scratch.path().join("exact"), missing.join("exact"), missing.join("")] {
        let request = exact(&path).on(elsewhere);
        assert_eq!(request.clone().remove(), Err(DiskFault::NotMounted), "{path:?}");
        assert_eq!(request.on(here).remove(), Ok(()), "{path:?}");
    }
}

#[test]
fn nothing_is_created_in_an_empty_mount_point() {
    let scratch = scratch();
    let mount =
        DirectoryMount { filesystem: FilesystemId { kind: 0x4d44, number: 1 }, mount_point: scratch.path().to_owned() };
    let known = Arc::new(KnownMounts::from([(scratch.path().to_owned(), mount)]));
    for request in [suggested(scratch.path()), exact(&scratch.path().join("b"))] {
        assert_eq!(PartRequest { known: known.clone(), ..request }.fault(), DiskFault::EmptyMountPoint);
        assert!(names(scratch.path()).is_empty());
    }
    fs::write(scratch.path().join("file"), "").unwrap();
    let part = PartRequest { known, ..suggested(scratch.path()) }.ready();
    let (directory, mount) = part.directory().unwrap();
    assert_eq!((directory, mount.filesystem), (scratch.path(), part.filesystem), "and is told for the next time");
}
