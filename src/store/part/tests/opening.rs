//! Creating a part file, opening one again, and obstacles.

use super::*;
use crate::store::not_tested::not_tested;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Barrier;

#[test]
fn a_part_file_is_hidden_beside_its_final_path_and_found_by_its_token() {
    let scratch = scratch();
    let directory = scratch.path().join("never made");
    let target = Target::Suggested { directory: directory.clone(), name: name("sub/a.txt") };
    let request = || towards(target.clone()).token(0xa1);
    assert_eq!((request().fault(), directory.exists()), (DiskFault::Missing, false), "it may be on a disk not mounted");
    fs::create_dir(&directory).unwrap();
    let part = request().ready();
    assert_eq!(part.final_path(), directory.join("a.txt"));
    assert_eq!(names(&directory), [".a.txt.000000a1.pyrate-part"]);
    assert!(part.outline().is_none() && part.len() == 0 && part.verified().count() == 0);
}

#[test]
fn a_closed_part_file_is_continued_when_it_is_opened_again() {
    let (scratch, content) = (scratch(), Content::of(4, 7));
    let mut part = suggested(scratch.path()).wanting(&content).ready();
    part.set_outline(content.outline.clone()).unwrap();
    assert!(part.put(&content, 3) && part.put(&content, 1));
    part.close();
    let mut part = suggested(scratch.path()).wanting(&content).ready();
    assert_eq!((part.outline(), part.held()), (Some(&content.outline), vec![1, 3]));
    assert!(!part.put(&content, 3) && part.put(&content, 0));
    drop(part);
    // A request without a hash accepts it as it is.
    let mut part = suggested(scratch.path()).ready();
    assert_eq!((part.len(), part.held()), (content.bytes.len() as u64, vec![0, 1, 3]));
    assert!(part.put(&content, 2));
    assert_eq!(part.check(), CheckedPart { b3: content.outline.b3(), size: part.len(), bad: vec![] });
    let path = part.commit().run().unwrap().path;
    assert!(fs::read(path).unwrap() == content.bytes);
    assert_eq!(names(scratch.path()), ["a.txt"]);
}

#[test]
fn a_part_file_of_another_content_is_started_again() {
    let (scratch, one, two) = (scratch(), Content::of(2, 1), Content::of(2, 2));
    let mut part = suggested(scratch.path()).wanting(&one).ready();
    part.set_outline(one.outline.clone()).unwrap();
    part.put(&one, 0);
    part.close();
    let part = suggested(scratch.path()).wanting(&two).ready();
    assert!(part.outline().is_none());
    assert_eq!(names(scratch.path()).len(), 1, "the journal is gone");
    drop(part);
    assert!(suggested(scratch.path()).wanting(&one).ready().outline().is_none());
}

#[test]
fn a_journal_does_not_apply_to_another_part_file() {
    let (scratch, content) = (scratch(), Content::of(2, 1));
    let begun = || {
        let mut part = suggested(scratch.path()).ready();
        part.set_outline(content.outline.clone()).unwrap();
        assert_eq!(part.held(), [0u64; 0]);
        part.put(&content, 0);
        part.sync();
        let paths = (part.part_path(), part.journal_path());
        part.close();
        paths
    };
    // In another file of the same size the groups with the right bytes count.
    let (part_path, journal_path) = begun();
    let copy = scratch.path().join("copy");
    for (bytes, held) in [(content.bytes.clone(), vec![0]), (vec![0; content.bytes.len()], Vec::new())] {
        fs::write(&copy, bytes).unwrap();
        fs::rename(&copy, &part_path).unwrap();
        assert_eq!(suggested(scratch.path()).ready().held(), held);
    }
    suggested(scratch.path()).remove().unwrap();
    // In one that was truncated or has grown, the groups that are there count.
    let size = content.bytes.len() as u64;
    for (len, held) in [(size + 1, vec![0]), (size - 1, vec![0]), (GROUP_BYTES - 1, Vec::new()), (0, Vec::new())] {
        begun();
        fs::OpenOptions::new().write(true).open(&part_path).unwrap().set_len(len).unwrap();
        let part = suggested(scratch.path()).ready();
        assert_eq!((part.outline(), part.held()), (Some(&content.outline), held), "{len}");
        assert_eq!(fs::metadata(&part_path).unwrap().len(), size);
        part.discard().unwrap();
    }
    // One that was removed.
    begun();
    fs::remove_file(&part_path).unwrap();
    let part = suggested(scratch.path()).ready();
    assert_eq!((part.outline(), part.held()), (Some(&content.outline), Vec::new()));
    part.discard().unwrap();
    // No journal at all, but something else under its name.
    begun();
    fs::remove_file(&journal_path).unwrap();
    symlink("/etc/hostname", &journal_path).unwrap();
    assert!(suggested(scratch.path()).ready().outline().is_none());
    assert!(!journal_path.is_symlink());
    fs::create_dir(&journal_path).unwrap();
    assert_eq!(suggested(scratch.path()).fault(), DiskFault::Exists);
}

#[test]
fn files_locked_by_another_process_are_not_touched() {
    let scratch = scratch();
    let part = stream(suggested(scratch.path()), b"x");
    let busy = DiskFault::Other(nix::libc::EBUSY);
    assert_eq!(suggested(scratch.path()).fault(), busy);
    assert_eq!(suggested(scratch.path()).remove(), Err(busy));
    let other = suggested(scratch.path()).token(1).ready();
    assert_eq!(names(scratch.path()), [".a.txt.00000001.pyrate-part", ".a.txt.a1b2c3d4.pyrate-part"]);
    other.discard().unwrap();
    part.close();
    suggested(scratch.path()).ready().close();
    assert_eq!(suggested(scratch.path()).remove(), Ok(()));
    assert!(names(scratch.path()).is_empty());
}

#[test]
fn a_running_job_does_not_block_the_part_file() {
    let (scratch, content) = (scratch(), Content::of(2, 1));
    let mut part = suggested(scratch.path()).ready();
    part.set_outline(content.outline.clone()).unwrap();
    part.put(&content, 1);
    let job = part.sync_job(false).unwrap();
    part.close();
    let mut part = suggested(scratch.path()).ready();
    let late = job.run().unwrap();
    part.synced(late).unwrap();
    assert_eq!(part.held(), [1]);
}

#[test]
fn concurrent_openers_never_share_a_part_file() {
    for _ in 0..20 {
        let scratch = scratch();
        let start = Barrier::new(4);
        let ready = std::thread::scope(|threads| {
            let race = || {
                start.wait();
                suggested(scratch.path()).open()
            };
            let racers: Vec<_> = (0..4).map(|_| threads.spawn(race)).collect();
            let outcomes: Vec<_> = racers.into_iter().map(|racer| racer.join().unwrap()).collect();
            outcomes.into_iter().filter_map(Result::ok).count()
        });
        // They used it one after the other, or concurrently.
        assert!(ready >= 1);
        assert_eq!(names(scratch.path()), [".a.txt.a1b2c3d4.pyrate-part"]);
    }
}

#[test]
fn files_that_are_no_part_file_are_not_removed() {
    let scratch = scratch();
    let path = scratch.path().join(".a.txt.a1b2c3d4.pyrate-part");
    let plant: [&dyn Fn(); 3] =
        [&|| fs::create_dir(&path).unwrap(), &|| symlink("/etc/hostname", &path).unwrap(), &|| {
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap()
        }];
    for plant in plant {
        plant();
        assert_eq!(suggested(scratch.path()).fault(), DiskFault::Exists);
        assert_eq!(suggested(scratch.path()).remove(), Ok(()));
        assert_eq!(names(scratch.path()).len(), 1);
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir(&path).unwrap()
        } else {
            fs::remove_file(&path).unwrap()
        }
    }
}

#[test]
fn removing_takes_part_and_journal_wherever_they_are() {
    let (scratch, content) = (scratch(), Content::of(2, 1));
    assert_eq!(suggested(&scratch.path().join("nowhere")).remove(), Ok(()));
    assert_eq!(exact(&scratch.path().join("no/where")).remove(), Ok(()));
    assert_eq!(suggested(scratch.path()).remove(), Ok(()));
    let path = scratch.path().join("exact");
    let mut part = exact(&path).ready();
    part.set_outline(content.outline.clone()).unwrap();
    fs::write(part.place.path_of(&part.place.new_journal_name()), b"half a jour").unwrap();
    part.close();
    assert_eq!(names(scratch.path()).len(), 3);
    // Meanwhile the path has become a directory.
    fs::create_dir(&path).unwrap();
    assert_eq!(exact(&path).remove(), Ok(()));
    assert_eq!(names(scratch.path()), ["exact"]);
    // A journal without its part file.
    let part = suggested(scratch.path()).ready();
    fs::write(part.journal_path(), b"").unwrap();
    fs::remove_file(part.part_path()).unwrap();
    drop(part);
    assert_eq!(suggested(scratch.path()).remove(), Ok(()));
    assert_eq!(names(scratch.path()), ["exact"]);
}

#[test]
fn discarding_a_part_file_removes_it_and_nothing_else() {
    let (scratch, content) = (scratch(), Content::of(2, 1));
    let mut part = suggested(scratch.path()).ready();
    part.set_outline(content.outline.clone()).unwrap();
    part.discard().unwrap();
    assert!(names(scratch.path()).is_empty());
    let part = suggested(scratch.path()).ready();
    fs::write(scratch.path().join("other"), b"other").unwrap();
    fs::rename(scratch.path().join("other"), part.part_path()).unwrap();
    part.discard().unwrap();
    assert_eq!(names(scratch.path()), [".a.txt.a1b2c3d4.pyrate-part"]);
}

#[test]
fn a_content_that_is_there_already_needs_no_part_file() {
    let (scratch, content) = (scratch(), Content::of(2, 9));
    let mut part = suggested(scratch.path()).ready();
    part.set_outline(content.outline.clone()).unwrap();
    part.close();
    fs::write(scratch.path().join("a.txt"), b"another").unwrap();
    let mut damaged = content.bytes.clone();
    damaged[5] ^= 1;
    fs::write(scratch.path().join("a (1).txt"), &damaged).unwrap();
    fs::write(scratch.path().join("a (2).txt"), &content.bytes).unwrap();
    let there = |request: PartRequest| match request.open().unwrap() {
        PartOpened::AlreadyThere(path) => path,
        PartOpened::Ready(part) => panic!("{part:?}"),
    };
    let path = there(suggested(scratch.path()).wanting(&content));
    assert_eq!(path, scratch.path().join("a (2).txt"));
    assert_eq!(names(scratch.path()), ["a (1).txt", "a (2).txt", "a.txt"], "what a crash has left is gone");
    assert_eq!(there(exact(&path).wanting(&content)), path);
    // Without hash or size it is unknown, and a link is no file of ours.
    let unsure = PartRequest { size: None, ..suggested(scratch.path()).wanting(&content) };
    assert_eq!(unsure.ready().final_path(), scratch.path().join("a (3).txt"));
    assert_eq!(exact(&scratch.path().join("a.txt")).wanting(&content).fault(), DiskFault::Exists);
    symlink(&path, scratch.path().join("link")).unwrap();
    assert_eq!(exact(&scratch.path().join("link")).wanting(&content).fault(), DiskFault::Exists);
}

#[test]
fn an_exact_target_is_its_path() {
    let scratch = scratch();
    let path = scratch.path().join("exact");
    fs::write(&path, b"came first").unwrap();
    assert_eq!(exact(&path).fault(), DiskFault::Exists);
    symlink("nowhere", scratch.path().join("dangling")).unwrap();
    assert_eq!(exact(&scratch.path().join("dangling")).fault(), DiskFault::Exists);
    for missing in ["no/such", "new/", "no/.."] {
        assert_eq!(exact(&scratch.path().join(missing)).fault(), DiskFault::Missing, "{missing}");
    }
    assert_eq!(exact(&path.join("below a file")).fault(), DiskFault::NotDirectory);
    assert_eq!(exact(&scratch.path().join("x".repeat(256))).fault(), DiskFault::Other(nix::libc::ENAMETOOLONG));
    // In a directory the file gets its own name, also through a link.
    let (inside, link) = (scratch.path().join("inside"), scratch.path().join("link"));
    fs::create_dir(&inside).unwrap();
    symlink(&inside, &link).unwrap();
    let part = exact(&link).ready();
    assert_eq!(part.final_path(), link.join("a.txt"));
    assert_eq!(part.commit().run().unwrap().path, link.join("a.txt"));
    assert_eq!(names(&inside), ["a.txt"]);
    assert_eq!(exact(&inside).fault(), DiskFault::Exists);
}

/// A crash after the file has got its name, and before that is known to the next run.
#[test]
fn a_taken_name_may_be_that_of_the_download_itself_if_its_content_is_unknown() {
    let (scratch, content) = (scratch(), Content::of(1, 3));
    let path = scratch.path().join("exact");
    let filesystem = stream(exact(&path), b"x").filesystem;
    names(scratch.path()).iter().for_each(|name| fs::remove_file(scratch.path().join(name)).unwrap());
    fs::write(&path, b"x").unwrap();
    let mut opened = exact(&path);
    assert_eq!(exact(&path).fault(), DiskFault::Exists, "it was never begun");
    opened.spec.filesystem = Some(filesystem);
    let again = |bytes: &[u8]| stream(opened.clone(), bytes).commit().run();
    assert_eq!(again(b"x").map(|part| (part.path, part.already)), Ok((path.clone(), true)));
    assert_eq!(again(b"y"), Err(DiskFault::Exists));
    assert_eq!(fs::read(&path).unwrap(), b"x");
    assert_eq!(opened.wanting(&content).fault(), DiskFault::Exists, "its content is known not to be this");
}

#[test]
fn a_directory_that_cannot_be_written_is_named_as_the_cause() {
    let scratch = scratch();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o500)).unwrap();
    if nix::unistd::geteuid().is_root() {
        not_tested("a part file in a directory that may not be written to", "root may write to every one");
    } else {
        assert_eq!(suggested(scratch.path()).fault(), DiskFault::Denied);
    }
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let fault = suggested(Path::new("/proc/self/fd")).fault();
    assert!(matches!(fault, DiskFault::Missing | DiskFault::Denied | DiskFault::ReadOnly | DiskFault::Other(_)));
    fs::write(scratch.path().join("file"), b"").unwrap();
    let fault = suggested(&scratch.path().join("file")).fault();
    assert!(matches!(fault, DiskFault::Exists | DiskFault::NotDirectory), "{fault}");
}

#[test]
fn a_directory_that_was_removed_is_detected() {
    let (scratch, content) = (scratch(), Content::of(2, 1));
    let directory = scratch.path().join("gone");
    fs::create_dir(&directory).unwrap();
    let place = |exactly: bool| if exactly { exact(&directory.join("x")) } else { suggested(&directory) };
    let (mut grouped, streamed) = (place(false).ready(), stream(place(true).token(2), b"x"));
    grouped.set_outline(content.outline.clone()).unwrap();
    fs::remove_dir_all(&directory).unwrap();
    // The open file can still be written, but has no path.
    assert!(grouped.put(&content, 0));
    assert_eq!(grouped.set_outline(content.claimed(GROUP_BYTES + 1)), Err(DiskFault::Missing.into()));
    assert_eq!(grouped.held(), [0]);
    assert!(grouped.put(&content, 1));
    assert_eq!(grouped.commit().run(), Err(DiskFault::Missing));
    assert_eq!(streamed.commit().run(), Err(DiskFault::Missing));
    assert_eq!(place(true).fault(), DiskFault::Missing);
    assert_eq!((place(false).fault(), directory.exists()), (DiskFault::Missing, false));
}
