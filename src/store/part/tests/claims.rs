//! A filesystem without exclusive renames and hard links, and its state after a kill or a power failure.

use super::*;
use crate::part::CommittedPart;
use crate::store::tests::recorder::{self, Call, Dice, Disk, Op, fail_next, lack_exclusive_names};

/// Makes the filesystem offer only the plain rename until this is dropped.
struct Plain;

impl Plain {
    fn begin() -> Self {
        lack_exclusive_names(true);
        Self
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        lack_exclusive_names(false);
    }
}

#[test]
fn a_finished_download_gets_its_name_and_replaces_nothing() {
    let (_plain, scratch) = (Plain::begin(), scratch());
    let path = |name: &str| scratch.path().join(name);
    fs::write(path("a.txt"), b"taken").unwrap();
    fs::write(path("a (1).txt"), b"").unwrap();
    let part = stream(suggested(scratch.path()), b"bytes");
    assert_eq!(part.commit().run(), Ok(CommittedPart { path: path("a (2).txt"), already: false }));
    assert_eq!(names(scratch.path()), ["a (1).txt", "a (2).txt", "a.txt"]);
    assert_eq!(fs::read(path("a.txt")).unwrap(), b"taken");
    assert_eq!(fs::read(path("a (1).txt")).unwrap(), b"", "an empty file of somebody else is a file");
    assert_eq!(fs::read(path("a (2).txt")).unwrap(), b"bytes");
    let part = stream(exact(&path("exact")), b"bytes");
    fs::write(path("exact"), b"").unwrap();
    assert_eq!(part.commit().run(), Err(DiskFault::Exists));
    assert_eq!(fs::read(path("exact")).unwrap(), b"");
}

#[test]
fn a_rename_that_fails_leaves_nothing_under_the_final_name() {
    let (_plain, scratch) = (Plain::begin(), scratch());
    let part = stream(suggested(scratch.path()), b"bytes");
    fail_next(Call::Rename, nix::libc::EIO);
    assert_eq!(part.commit().run(), Err(DiskFault::Other(nix::libc::EIO)));
    assert_eq!(names(scratch.path()), [".a.txt.a1b2c3d4.pyrate-part"]);
    let part = stream(suggested(scratch.path()), b"bytes");
    fail_next(Call::SyncDirectory, nix::libc::EIO);
    part.commit().run().unwrap_err();
    assert!(!scratch.path().join("a.txt").exists());
    suggested(scratch.path()).remove().unwrap();
    assert_eq!(names(scratch.path()), [""; 0]);
}

/// The calls of a commit of a complete part file, and the disk before them.
fn committed(scratch: &TempDir, content: &Content) -> (Disk, Vec<Op>) {
    let empty = Disk::default();
    empty.lay_out(scratch.path());
    recorder::start();
    let mut part = suggested(scratch.path()).wanting(content).ready();
    part.set_outline(content.outline.clone()).unwrap();
    (0..content.outline.group_count()).for_each(|group| assert!(part.put(content, group)));
    part.sync();
    part.commit().run().unwrap();
    (empty, recorder::stop())
}

#[test]
fn the_next_start_recovers_from_a_kill_or_power_failure_at_any_call() {
    let (_plain, scratch, content) = (Plain::begin(), scratch(), Content::of(2, 3));
    let (empty, ops) = committed(&scratch, &content);
    let mut dice = Dice::new(7);
    let mut left_empty = 0;
    for end in 0..=ops.len() {
        for disk in [empty.after_kill(&ops, end, &mut dice), empty.after_power_loss(&ops, end, &mut dice)] {
            disk.lay_out(scratch.path());
            let path = scratch.path().join("a.txt");
            left_empty += usize::from(fs::metadata(&path).is_ok_and(|found| found.len() == 0));
            match suggested(scratch.path()).wanting(&content).open().unwrap() {
                PartOpened::AlreadyThere(there) => assert_eq!(there, path),
                PartOpened::Ready(mut part) => {
                    part.set_outline(content.outline.clone()).unwrap();
                    for group in 0..content.outline.group_count() {
                        part.put(&content, group);
                    }
                    assert_eq!(part.commit().run().unwrap().path, path, "after {end} of {} calls", ops.len());
                }
            }
            assert!(fs::read(&path).unwrap() == content.bytes, "after {end} calls");
            assert_eq!(names(scratch.path()), ["a.txt"], "after {end} calls");
        }
    }
    assert!(left_empty > 0, "some of them leave the empty file");
    recorder::reset();
}

#[test]
fn a_claim_removes_only_an_empty_file_with_the_wanted_name() {
    let scratch = scratch();
    let claim = || scratch.path().join(".a.txt.a1b2c3d4.claim.pyrate-part");
    for (claimed, at, bytes) in [("a.txt", "a.txt", &b"x"[..]), ("other", "other", b""), ("../a.txt", "a.txt", b"")] {
        stream(suggested(scratch.path()), b"part").close();
        fs::write(claim(), claimed).unwrap();
        fs::write(scratch.path().join(at), bytes).unwrap();
        suggested(scratch.path()).remove().unwrap();
        assert_eq!(names(scratch.path()), [at], "{claimed}");
        fs::remove_file(scratch.path().join(at)).unwrap();
    }
}
