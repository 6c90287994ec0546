//! The final names of finished downloads.

use super::*;
use crate::part::CommittedPart;
use crate::store::place::{JOURNAL_SUFFIX, PART_SUFFIX, numbered};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Barrier;

fn committed(path: PathBuf) -> Result<CommittedPart, DiskFault> {
    Ok(CommittedPart { path, already: false })
}

#[test]
fn a_stream_gets_its_final_name_when_it_is_complete() {
    let scratch = scratch();
    let mut part = stream(suggested(scratch.path()), b"a longer one before");
    part.restart().unwrap();
    part.append(b"hel").unwrap();
    assert_eq!(fs::read(part.part_path()).unwrap(), b"helonger one before", "kept until it is passed");
    part.append(b"lo").unwrap();
    assert_eq!(part.len(), 5);
    assert_eq!(names(scratch.path()).len(), 1);
    let path = scratch.path().join("a.txt");
    assert_eq!(part.commit().run(), committed(path.clone()));
    assert_eq!(names(scratch.path()), ["a.txt"]);
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    // As the umask sets it, like that of an ordinary file.
    fs::write(scratch.path().join("ordinary"), b"").unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(path), mode(scratch.path().join("ordinary")));
}

#[test]
fn a_stream_begins_at_the_start_when_it_is_opened_again() {
    let scratch = scratch();
    stream(suggested(scratch.path()), b"first try").close();
    let mut part = suggested(scratch.path()).ready();
    assert_eq!(part.len(), 0);
    assert_eq!(fs::read(part.part_path()).unwrap(), b"first try");
    part.append(b"2nd").unwrap();
    let path = part.commit().run().unwrap().path;
    assert_eq!(fs::read(path).unwrap(), b"2nd");
}

#[test]
fn a_suggested_name_that_is_taken_is_changed() {
    let scratch = scratch();
    fs::write(scratch.path().join("a.txt"), b"old").unwrap();
    symlink("nowhere", scratch.path().join("a (1).txt")).unwrap();
    let part = stream(suggested(scratch.path()), b"new");
    assert_eq!(part.final_path(), scratch.path().join("a (2).txt"));
    fs::create_dir(scratch.path().join("a (2).txt")).unwrap();
    assert_eq!(part.commit().run(), committed(scratch.path().join("a (3).txt")));
    assert_eq!(fs::read(scratch.path().join("a.txt")).unwrap(), b"old");
}

#[test]
fn equal_content_is_not_stored_twice() {
    let (scratch, content) = (scratch(), Content::of(2, 4));
    let mut other = content.bytes.clone();
    *other.last_mut().unwrap() ^= 1;
    fs::write(scratch.path().join("a.txt"), &other).unwrap();
    fs::write(scratch.path().join("a (1).txt"), &content.bytes).unwrap();
    let mut part = suggested(scratch.path()).ready();
    part.set_outline(content.outline.clone()).unwrap();
    assert!(part.put(&content, 0) && part.put(&content, 1));
    let already = CommittedPart { path: scratch.path().join("a (1).txt"), already: true };
    assert_eq!(part.commit().run(), Ok(already));
    assert_eq!(names(scratch.path()), ["a (1).txt", "a.txt"]);
    // The same with an exact target that was created meanwhile, and with an empty file.
    let path = scratch.path().join("exact");
    let part = exact(&path).ready();
    fs::write(&path, b"").unwrap();
    assert_eq!(part.commit().run(), Ok(CommittedPart { path, already: true }));
}

#[test]
fn an_exact_name_is_never_replaced_and_the_part_file_stays() {
    let scratch = scratch();
    let path = scratch.path().join("exact");
    let part = stream(exact(&path), b"came late!");
    fs::write(&path, b"came first").unwrap();
    assert_eq!(part.commit().run(), Err(DiskFault::Exists));
    assert_eq!(fs::read(&path).unwrap(), b"came first");
    assert_eq!(names(scratch.path()), [".exact.a1b2c3d4.pyrate-part", "exact"]);
    // It was closed: it can be opened when the path is free.
    fs::remove_file(&path).unwrap();
    let part = exact(&path).ready();
    fs::write(&path, b"longer than nothing").unwrap();
    assert_eq!(part.commit().run(), Err(DiskFault::Exists));
    fs::remove_file(&path).unwrap();
    let part = stream(exact(&path), b"x");
    symlink("nowhere", &path).unwrap();
    assert_eq!(part.commit().run(), Err(DiskFault::Exists));
}

#[test]
fn concurrent_commits_all_keep_their_file() {
    let scratch = scratch();
    let start = Barrier::new(8);
    let mut paths: Vec<PathBuf> = std::thread::scope(|threads| {
        let race = |n: u8| {
            let (scratch, start) = (&scratch, &start);
            threads.spawn(move || {
                let job = stream(suggested(scratch.path()).token(n.into()), &[n]).commit();
                start.wait();
                job.run().unwrap().path
            })
        };
        let racers: Vec<_> = (0..8).map(race).collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), 8);
    let mut contents: Vec<u8> = paths.iter().flat_map(|path| fs::read(path).unwrap()).collect();
    contents.sort_unstable();
    assert_eq!(contents, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(names(scratch.path()).len(), 8);
}

#[test]
fn of_two_concurrent_commits_to_an_exact_name_one_fails_without_effect() {
    for _ in 0..20 {
        let scratch = scratch();
        let path = scratch.path().join("exact");
        let jobs = [1, 2].map(|n| stream(exact(&path).token(n), &[b'0' + n as u8]).commit());
        let outcomes: Vec<_> = std::thread::scope(|threads| {
            let racers: Vec<_> = jobs.into_iter().map(|job| threads.spawn(|| job.run())).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let winner = outcomes.iter().position(Result::is_ok).unwrap();
        assert_eq!(outcomes[1 - winner], Err(DiskFault::Exists));
        assert_eq!(fs::read(&path).unwrap(), [b'1' + winner as u8]);
        assert_eq!(names(scratch.path()), [format!(".exact.{:08x}.pyrate-part", 2 - winner), "exact".into()]);
    }
}

#[test]
fn a_removed_part_file_is_detected_and_its_successor_is_not_touched() {
    let scratch = scratch();
    let part = stream(suggested(scratch.path()), b"x");
    fs::write(scratch.path().join("other"), b"other").unwrap();
    fs::rename(scratch.path().join("other"), part.part_path()).unwrap();
    assert_eq!(part.commit().run(), Err(DiskFault::Missing));
    assert_eq!(names(scratch.path()), [".a.txt.a1b2c3d4.pyrate-part"]);
}

#[test]
fn a_part_file_that_lacks_groups_gets_no_final_name() {
    let (scratch, content) = (scratch(), Content::of(2, 1));
    let mut part = suggested(scratch.path()).ready();
    part.set_outline(content.outline.clone()).unwrap();
    part.put(&content, 0);
    assert_eq!(part.commit().run(), Err(DiskFault::Changed));
    // A job that is not run changes nothing either.
    let mut part = suggested(scratch.path()).ready();
    part.put(&content, 1);
    drop(part.commit());
    let part = suggested(scratch.path()).ready();
    assert_eq!(part.held(), [0, 1]);
    assert_eq!(part.commit().run(), committed(scratch.path().join("a.txt")));
}

#[test]
fn a_final_name_that_cannot_be_synced_is_released() {
    let (scratch, content) = (scratch(), Content::of(2, 1));
    let mut part = suggested(scratch.path()).ready();
    part.set_outline(content.outline.clone()).unwrap();
    assert!(part.put(&content, 0) && part.put(&content, 1));
    recorder::fail_next(recorder::Call::SyncDirectory, nix::libc::EIO);
    assert_eq!(part.commit().run(), Err(DiskFault::Other(nix::libc::EIO)));
    let part = suggested(scratch.path()).ready();
    assert_eq!(part.held(), [0, 1]);
    recorder::fail_next(recorder::Call::Sync, nix::libc::EIO);
    assert_eq!(part.commit().run(), Err(DiskFault::Other(nix::libc::EIO)));
    assert_eq!(names(scratch.path()).len(), 2);
}

#[test]
fn long_names_are_shortened_and_stay_distinct() {
    let long = ["é".repeat(125), ".tar".to_owned()].concat();
    let last = numbered(long.as_bytes(), 999);
    assert!(last.len() <= 255 && last.ends_with(" (999).tar".as_bytes()));
    assert!(std::str::from_utf8(&last).is_ok());

    let (scratch, content) = (scratch(), Content::of(2, 1));
    let part = |end: &str, token: u32| {
        let path = scratch.path().join("é".repeat(125) + end);
        let mut part = exact(&path).token(token).ready();
        part.set_outline(content.outline.clone()).unwrap();
        assert!(part.put(&content, 0) && part.put(&content, 1));
        (part, path)
    };
    let ((one, one_path), (two, two_path)) = (part("1.tar", 1), part("2.tar", 2));
    let is_hidden =
        |name: &[u8]| name.starts_with(b".") && (name.ends_with(PART_SUFFIX) || name.ends_with(JOURNAL_SUFFIX));
    assert!(names(scratch.path()).iter().all(|name| name.len() <= 255 && is_hidden(name.as_bytes())));
    assert_eq!((one.commit().run(), two.commit().run()), (committed(one_path), committed(two_path)));
}

#[test]
fn numbers_stand_before_the_extension() {
    for (plain, second) in [
        ("a.txt", "a (2).txt"),
        ("a", "a (2)"),
        ("a.tar.gz", "a (2).tar.gz"),
        (".rc", ".rc (2)"),
        ("v1. A long sentence", "v1. A long sentence (2)"),
        ("a.", "a (2)."),
    ] {
        assert_eq!(numbered(plain.as_bytes(), 2), second.as_bytes());
        assert_eq!(numbered(plain.as_bytes(), 0), plain.as_bytes());
    }
}
