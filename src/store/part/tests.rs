//! Stories of downloads on a real filesystem.

use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Barrier;
use tempfile::TempDir;

fn scratch() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn name(bytes: impl AsRef<[u8]>) -> FileName {
    FileName::from_bytes(bytes.as_ref()).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn suggested(directory: &TempDir, bytes: &[u8]) -> PartFile {
    let mut part = PartFile::create_suggested(directory.path(), &name("a.txt")).unwrap();
    part.append(bytes).unwrap();
    part
}

#[test]
fn a_download_appears_whole_and_only_at_the_end() {
    let scratch = scratch();
    let directory = scratch.path().join("made/if missing");
    let mut part = PartFile::create_suggested(&directory, &name("sub/a.txt")).unwrap();
    assert_eq!(part.final_path(), directory.join("a.txt"));
    part.append(b"wrong").unwrap();
    part.restart().unwrap();
    part.append(b"hel").unwrap();
    part.append(b"lo").unwrap();
    assert_eq!(part.len(), 5);
    assert_eq!(names(&directory), [".a.txt.pyrate-part"]);
    assert!(is_part_name(b".a.txt.pyrate-part"));

    assert_eq!(part.commit().run(), Ok(directory.join("a.txt")));
    assert_eq!(names(&directory), ["a.txt"]);
    assert_eq!(fs::read(directory.join("a.txt")).unwrap(), b"hello");
    // As the umask leaves it, which a file made in the ordinary way shows.
    fs::write(scratch.path().join("ordinary"), b"").unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(directory.join("a.txt")), mode(scratch.path().join("ordinary")));
}

#[test]
fn a_suggested_name_gives_way() {
    let scratch = scratch();
    fs::write(scratch.path().join("a.txt"), b"old").unwrap();
    symlink("nowhere", scratch.path().join("a (1).txt")).unwrap();
    let part = suggested(&scratch, b"new");
    assert_eq!(part.final_path(), scratch.path().join("a (2).txt"));
    fs::create_dir(scratch.path().join("a (2).txt")).unwrap();
    assert_eq!(part.commit().run(), Ok(scratch.path().join("a (3).txt")));
    assert_eq!(fs::read(scratch.path().join("a.txt")).unwrap(), b"old");
}

#[test]
fn an_exact_name_does_not() {
    let scratch = scratch();
    let path = scratch.path().join("exact");
    let create = |path: &Path| PartFile::create_exact(path, &name("a.txt"));
    let part = create(&path).unwrap();
    fs::write(&path, b"came first").unwrap();
    assert_eq!(part.commit().run(), Err(DiskFault::Exists));
    assert_eq!(names(scratch.path()), ["exact"]);
    assert_eq!(fs::read(&path).unwrap(), b"came first");

    assert_eq!(create(&path).unwrap_err(), DiskFault::Exists);
    symlink("nowhere", scratch.path().join("dangling")).unwrap();
    assert_eq!(create(&scratch.path().join("dangling")).unwrap_err(), DiskFault::Exists);
    for missing in ["no/such", "new/", "no/.."] {
        assert_eq!(create(&scratch.path().join(missing)).unwrap_err(), DiskFault::Missing, "{missing}");
    }
    assert_eq!(create(&path.join("below a file")).unwrap_err(), DiskFault::NotDirectory);
    assert_eq!(create(&scratch.path().join("x".repeat(256))).unwrap_err(), DiskFault::Other(nix::libc::ENAMETOOLONG));
    // A directory takes the file under its own name.
    assert_eq!(create(scratch.path()).unwrap().commit().run(), Ok(scratch.path().join("a.txt")));
    assert_eq!(create(scratch.path()).unwrap_err(), DiskFault::Exists);
}

#[test]
fn two_downloads_of_one_name_do_not_meet() {
    let scratch = scratch();
    let (one, two) = (suggested(&scratch, b"one"), suggested(&scratch, b"two"));
    assert_eq!(names(scratch.path()), [".a.txt.1.pyrate-part", ".a.txt.pyrate-part"]);
    assert_eq!(two.commit().run(), Ok(scratch.path().join("a.txt")));
    assert_eq!(one.commit().run(), Ok(scratch.path().join("a (1).txt")));
    assert_eq!(fs::read(scratch.path().join("a.txt")).unwrap(), b"two");
    assert_eq!(names(scratch.path()), ["a (1).txt", "a.txt"]);
}

#[test]
fn committers_in_a_race_all_keep_their_file() {
    let scratch = scratch();
    let start = Barrier::new(8);
    let mut paths: Vec<PathBuf> = std::thread::scope(|threads| {
        let race = |n: u8| {
            let (scratch, start) = (&scratch, &start);
            threads.spawn(move || {
                let job = suggested(scratch, &[n]).commit();
                start.wait();
                job.run().unwrap()
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
}

#[test]
fn one_of_two_committers_to_an_exact_name_loses_cleanly() {
    for _ in 0..20 {
        let scratch = scratch();
        let path = scratch.path().join("exact");
        let mut jobs = Vec::new();
        for content in [b"1", b"2"] {
            let mut part = PartFile::create_exact(&path, &name("x")).unwrap();
            part.append(content).unwrap();
            jobs.push(part.commit());
        }
        let outcomes: Vec<_> = std::thread::scope(|threads| {
            let racers: Vec<_> = jobs.into_iter().map(|job| threads.spawn(|| job.run())).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let winner = outcomes.iter().position(Result::is_ok).unwrap();
        assert_eq!(outcomes[1 - winner], Err(DiskFault::Exists));
        assert_eq!(fs::read(&path).unwrap(), [b'1' + winner as u8]);
        assert_eq!(names(scratch.path()), ["exact"]);
    }
}

#[test]
fn claimers_in_a_race_over_a_stale_file_never_share_one() {
    for _ in 0..20 {
        let scratch = scratch();
        fs::write(scratch.path().join(".a.txt.pyrate-part"), b"left by a crash").unwrap();
        let start = Barrier::new(4);
        let parts: Vec<PartFile> = std::thread::scope(|threads| {
            let race = |n: u8| {
                let (scratch, start) = (&scratch, &start);
                threads.spawn(move || {
                    start.wait();
                    suggested(scratch, &[n])
                })
            };
            let racers: Vec<_> = (0..4).map(race).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        assert_eq!(names(scratch.path()).len(), 4);
        for (n, part) in (0..).zip(parts) {
            assert_eq!(fs::read(part.commit().run().unwrap()).unwrap(), [n]);
        }
    }
}

#[test]
fn what_a_crash_left_is_removed_and_what_is_not_ours_stays() {
    let scratch = scratch();
    let stale = scratch.path().join(".a.txt.pyrate-part");
    fs::write(&stale, b"half of it").unwrap();
    let part = suggested(&scratch, b"");
    assert_eq!(names(scratch.path()), [".a.txt.pyrate-part"]);
    assert_eq!(fs::read(&stale).unwrap(), b"");
    drop(part);
    assert!(names(scratch.path()).is_empty());

    for n in ["", ".1", ".2"] {
        let path = scratch.path().join(format!(".a.txt{n}.pyrate-part"));
        match n {
            "" => fs::create_dir(path).unwrap(),
            ".1" => symlink("/etc/hostname", path).unwrap(),
            _ => nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap(),
        }
    }
    let part = suggested(&scratch, b"");
    assert_eq!(names(scratch.path()).len(), 4);
    assert!(scratch.path().join(".a.txt.3.pyrate-part").exists());
    part.discard();
    assert_eq!(names(scratch.path()).len(), 3);
}

#[test]
fn a_part_file_that_was_taken_away_is_missed_and_its_successor_left_alone() {
    let scratch = scratch();
    let part = suggested(&scratch, b"x");
    fs::write(scratch.path().join("other"), b"other").unwrap();
    fs::rename(scratch.path().join("other"), scratch.path().join(".a.txt.pyrate-part")).unwrap();
    assert_eq!(part.commit().run(), Err(DiskFault::Missing));
    assert_eq!(names(scratch.path()), [".a.txt.pyrate-part"]);
}

#[test]
fn a_job_that_is_not_run_leaves_nothing() {
    let scratch = scratch();
    drop(suggested(&scratch, b"x").commit());
    assert!(names(scratch.path()).is_empty());
}

#[test]
fn a_full_disk_is_called_full() {
    let scratch = scratch();
    let mut part = suggested(&scratch, b"before");
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let real = std::mem::replace(&mut part.part.file, Held::Plain(full));
    assert_eq!(part.append(b"more"), Err(DiskFault::Full));
    assert_eq!(part.len(), 6);
    // What a failed append wrote is no part of the file.
    real.write_all_at(b"more", 6).unwrap();
    part.part.file = real;
    assert_eq!(fs::read(part.commit().run().unwrap()).unwrap(), b"before");
}

#[test]
fn a_directory_that_cannot_be_written_is_named_as_the_cause() {
    let scratch = scratch();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o500)).unwrap();
    if !nix::unistd::geteuid().is_root() {
        let outcome = PartFile::create_suggested(scratch.path(), &name("a"));
        assert_eq!(outcome.unwrap_err(), DiskFault::Denied);
    }
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let outcome = PartFile::create_suggested(Path::new("/proc/self/fd"), &name("a"));
    assert!(matches!(outcome, Err(DiskFault::Missing | DiskFault::Denied | DiskFault::ReadOnly | DiskFault::Other(_))));
}

#[test]
fn long_names_are_cut_to_fit_and_kept_apart() {
    let long = ["é".repeat(125), ".tar".to_owned()].concat();
    assert_eq!(part_name(long.as_bytes(), 0).len(), 255);
    assert!(part_name(long.as_bytes(), 12).len() <= 255);
    assert!(std::str::from_utf8(&part_name(long.as_bytes(), 12)).is_ok());
    let last = numbered(long.as_bytes(), SUGGESTED_NUMBER_MAX);
    assert!(last.len() <= 255 && last.ends_with(" (999).tar".as_bytes()));
    assert!(std::str::from_utf8(&last).is_ok());

    let scratch = scratch();
    let part = |end: &str| {
        let path = scratch.path().join("n".repeat(252) + end);
        (PartFile::create_exact(&path, &name("x")).unwrap(), path)
    };
    let ((one, one_path), (two, two_path)) = (part("one"), part("two"));
    assert_eq!((one.commit().run(), two.commit().run()), (Ok(one_path), Ok(two_path)));
}

#[test]
fn numbers_stand_before_the_extension() {
    for (plain, second) in [
        ("a.txt", "a (2).txt"),
        ("a", "a (2)"),
        ("a.tar.gz", "a.tar (2).gz"),
        (".rc", ".rc (2)"),
        ("v1. A long sentence", "v1. A long sentence (2)"),
        ("a.", "a (2)."),
    ] {
        assert_eq!(numbered(plain.as_bytes(), 2), second.as_bytes());
        assert_eq!(numbered(plain.as_bytes(), 0), plain.as_bytes());
    }
    assert!(!is_part_name(b".pyrate-part") && !is_part_name(b"a.pyrate-part") && !is_part_name(b".a"));
}
