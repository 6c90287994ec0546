//! Scans of test directories.

use super::*;
use crate::library::{FileMeta, LeftOut};
use crate::name::Escaped;
use crate::store::OtherShare;
use crate::store::not_tested::not_tested;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use tempfile::TempDir;

fn tree(files: &[&str]) -> TempDir {
    let scratch = tempfile::tempdir().unwrap();
    for path in files {
        let path = scratch.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"content").unwrap();
    }
    scratch
}

/// Runs a scan to its end in steps of at most `slice` entries. The report is without what was left out.
fn scan(root: &Path, slice: usize) -> (BTreeMap<String, FileMeta>, ScanReport) {
    let (found, report) = run(Scanner::start(root), slice);
    (found, ScanReport { left_out: LeftOut::default(), ..report })
}

fn run(mut scanner: Scanner, slice: usize) -> (BTreeMap<String, FileMeta>, ScanReport) {
    let mut found = BTreeMap::new();
    loop {
        let step = scanner.step(slice, i64::MAX);
        assert!(step.files.len() <= slice);
        for file in step.files {
            assert!(found.insert(file.name.to_string(), file.meta).is_none());
        }
        if let Some(report) = step.ended {
            assert_eq!(scanner.step(slice, i64::MAX).ended.as_ref(), Some(&report));
            return (found, report);
        }
    }
}

/// What a scan leaves out, as `name: reason`.
fn left_out(scanner: Scanner) -> Vec<String> {
    let left_out = run(scanner, 3).1.left_out;
    let row = |(name, reason)| format!("{}: {reason:?}", Escaped(name));
    left_out.names_after(b"").map(row).collect()
}

fn names(root: &Path) -> Vec<String> {
    scan(root, 2).0.into_keys().collect()
}

#[test]
fn empty_directories_and_executable_files_are_told() {
    let scratch = tree(&["a", "d/b", "e/.hidden"]);
    for path in ["d/f/g", "h", "i/.hidden"] {
        fs::create_dir_all(scratch.path().join(path)).unwrap();
    }
    symlink("a", scratch.path().join("h/link")).unwrap();
    fs::set_permissions(scratch.path().join("d/b"), fs::Permissions::from_mode(0o744)).unwrap();
    let mut scanner = Scanner::start(scratch.path());
    let mut executable = BTreeMap::new();
    let report = loop {
        let step = scanner.step(3, i64::MAX);
        executable.extend(step.files.into_iter().map(|file| (file.name.to_string(), file.executable)));
        if let Some(report) = step.ended {
            break report;
        }
    };
    assert_eq!(executable, BTreeMap::from([("a".into(), false), ("d/b".into(), true)]));
    let empty: Vec<String> = report.empty.iter().map(FileName::to_string).collect();
    assert_eq!(empty, ["d/f/g", "e", "h", "i"]);
}

#[test]
fn files_are_found_by_their_path_with_size_and_identity() {
    let scratch = tree(&["a", "d/b", "d/e/c", "é/ü ß"]);
    for slice in [1, 3, 1000] {
        let (found, report) = scan(scratch.path(), slice);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "d/b", "d/e/c", "é/ü ß"]);
        assert_eq!(report, ScanReport::default());
        let real = fs::metadata(scratch.path().join("d/b")).unwrap();
        let mtime_ns = real.mtime() * 1_000_000_000 + real.mtime_nsec();
        let ctime_ns = real.ctime() * 1_000_000_000 + real.ctime_nsec();
        let (inode, device) = (real.ino(), real.dev());
        assert_eq!(found["d/b"], FileMeta { size: 7, mtime_ns, ctime_ns, inode, device });
    }
}

#[test]
fn hidden_things_links_and_special_files_are_left_out() {
    let scratch = tree(&["a", ".hidden", ".dir/b", "d/.x.pyrate-part", "d/y"]);
    symlink("a", scratch.path().join("link")).unwrap();
    symlink("/etc", scratch.path().join("link-to-directory")).unwrap();
    symlink("nowhere", scratch.path().join("dangling")).unwrap();
    nix::unistd::mkfifo(&scratch.path().join("fifo"), Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(scratch.path().join("socket")).unwrap();
    assert_eq!(names(scratch.path()), ["a", "d/y"]);
    assert_eq!(scan(scratch.path(), 9).1, ScanReport::default());
    let expected = [
        ".dir: Hidden",
        ".hidden: Hidden",
        "d/.x.pyrate-part: Hidden",
        "dangling: Symlink",
        "fifo: NotRegular",
        "link: Symlink",
        "link-to-directory: Symlink",
        "socket: NotRegular",
    ];
    assert_eq!(left_out(Scanner::start(scratch.path())), expected);
}

#[test]
fn the_files_of_downloads_are_not_named_as_left_out_and_those_of_the_daemon_are() {
    let scratch = tree(&["a", ".a.00c0ffee.pyrate-part", ".a.00c0ffee.pyrate-journal", "state/x", "log", "log.1"]);
    let mut own = OwnFiles::default();
    own.directory(&scratch.path().join("state"));
    own.log(&scratch.path().join("log"));
    let scanner = Scanner::start(scratch.path()).without(own);
    assert_eq!(left_out(scanner), ["log: Own", "log.1: Own", "state: Own"]);
}

#[test]
fn what_has_the_name_of_another_share_is_left_out_at_the_top_alone() {
    let scratch = tree(&["a", "m/x", "sub/m", "mm"]);
    fs::create_dir(scratch.path().join("f")).unwrap();
    let scanner = || {
        let mut own = OwnFiles::default();
        own.name(&FileName::from_bytes(b"m").unwrap());
        own.name(&FileName::from_bytes(b"f").unwrap());
        // The same directory, as by a bind mount.
        own.share(&OtherShare::at(scratch.path()));
        Scanner::start(scratch.path()).without(own)
    };
    let (found, report) = run(scanner(), 3);
    assert_eq!(found.into_keys().collect::<Vec<_>>(), ["a", "mm", "sub/m"]);
    assert_eq!(report.empty, []);
    assert_eq!(left_out(scanner()), ["f: NameTaken", "m: NameTaken"]);
}

#[test]
fn names_that_cannot_be_sent_are_counted() {
    let scratch = tree(&["good", "new\nline", "es\x1bcape", "bad\ndirectory/inside"]);
    fs::write(scratch.path().join(std::ffi::OsStr::from_bytes(b"latin\xe9")), b"").unwrap();
    let (found, report) = scan(scratch.path(), 2);
    assert_eq!(found.into_keys().collect::<Vec<_>>(), ["good", "latin\\xe9"]);
    let mut refused = report.refused.clone();
    refused.sort();
    assert_eq!(refused, [&b"bad\ndirectory"[..], b"es\x1bcape", b"new\nline"].map(Box::from));
    assert_eq!(report, ScanReport { names_refused: 3, refused: report.refused.clone(), ..ScanReport::default() });
    let expected = ["bad\\ndirectory: ControlByte", "es\\x1bcape: ControlByte", "new\\nline: ControlByte"];
    assert_eq!(left_out(Scanner::start(scratch.path())), expected);
}

#[test]
fn a_deep_tree_ends_where_names_become_too_long_and_takes_no_descriptors() {
    let scratch = tempfile::tempdir().unwrap();
    let deepest = ["d"; 1500].join("/");
    fs::create_dir_all(scratch.path().join(&deepest)).unwrap();
    fs::write(scratch.path().join(&deepest).join("file"), b"").unwrap();
    let mut scanner = Scanner::start(scratch.path());
    assert!(scanner.step(1000, i64::MAX).ended.is_none());
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|link| fs::read_link(link.ok()?.path()).ok());
    assert!(open.filter(|path| path.starts_with(scratch.path())).count() <= 3);
    assert_eq!(names(scratch.path()), [format!("{deepest}/file")]);
    // What removes a scratch directory holds a descriptor for each level, and would take them all from other tests.
    fs::remove_file(scratch.path().join(&deepest).join("file")).unwrap();
    let levels = Path::new(&deepest).ancestors().filter(|level| !level.as_os_str().is_empty());
    levels.for_each(|level| fs::remove_dir(scratch.path().join(level)).unwrap());

    // Fifteen components of 250 bytes fit a message, the sixteenth does not.
    let long = "x".repeat(250);
    fs::create_dir(scratch.path().join("long")).unwrap();
    let mut directory = open_directory(&scratch.path().join("long"));
    for _ in 0..16 {
        nix::sys::stat::mkdirat(&directory, long.as_str(), Mode::S_IRWXU).unwrap();
        directory = nix::fcntl::openat(&directory, long.as_str(), OFlag::O_DIRECTORY, Mode::empty()).unwrap();
    }
    assert_eq!(scan(&scratch.path().join("long"), 5).1.names_refused, 1);
    let left_out = left_out(Scanner::start(&scratch.path().join("long")));
    assert!(left_out.len() == 1 && left_out[0].ends_with("x: TooLong"), "{left_out:?}");
}

fn open_directory(path: &Path) -> OwnedFd {
    open(path, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).unwrap()
}

#[test]
fn unreadable_places_are_counted_and_a_missing_share_fails_the_scan() {
    let scratch = tree(&["a", "closed/b", "secret"]);
    let missing = scan(&scratch.path().join("missing"), 5);
    assert!(missing.0.is_empty() && missing.1.failed == Some(DiskFault::Missing));
    assert_eq!(scan(&scratch.path().join("a"), 5).1.failed, Some(DiskFault::NotDirectory));
    if nix::unistd::geteuid().is_root() {
        return not_tested("unreadable places in the share", "root may read everything");
    }
    fs::set_permissions(scratch.path().join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(scratch.path().join("secret"), fs::Permissions::from_mode(0o200)).unwrap();
    let (found, report) = scan(scratch.path(), 5);
    assert_eq!(left_out(Scanner::start(scratch.path())), ["closed: Unreadable", "secret: Unreadable"]);
    fs::set_permissions(scratch.path().join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(found.into_keys().collect::<Vec<_>>(), ["a"]);
    let mut unread = report.unread.clone();
    unread.sort();
    assert_eq!(unread, [&b"closed"[..], b"secret"].map(|name| FileName::from_bytes(name).unwrap()));
    assert_eq!(report, ScanReport { unreadable: 2, unread: report.unread.clone(), ..ScanReport::default() });
}

#[test]
fn a_directory_that_becomes_a_link_or_vanishes_during_the_scan_is_passed_over() {
    let scratch = tree(&["share/one/a", "share/two/b", "elsewhere/c"]);
    let share = scratch.path().join("share");
    let mut scanner = Scanner::start(&share);
    // The root is opened, its four entries and its end are read; both directories wait.
    for _ in 0..6 {
        assert!(scanner.step(1, i64::MAX).files.is_empty());
    }
    fs::remove_dir_all(share.join("one")).unwrap();
    symlink("../elsewhere", share.join("one")).unwrap();
    fs::remove_dir_all(share.join("two")).unwrap();
    let step = scanner.step(100, i64::MAX);
    assert!(step.files.is_empty());
    assert_eq!(step.ended, Some(ScanReport::default()));
}

#[test]
fn other_mounts_are_not_entered() {
    // /proc is a mount wherever these tests run.
    let root = open_directory(Path::new("/"));
    assert_eq!(Reading::open(&root, None, b"proc".to_vec()).map(|_| ()).unwrap_err().1, Errno::EXDEV);
    let mut scanner = Scanner::start(Path::new("/"));
    scanner.waiting = vec![b"proc".to_vec()];
    scanner.state = State::Between { root };
    let step = scanner.step(10, i64::MAX);
    assert!(step.files.is_empty());
    let mounts = vec![FileName::from_bytes(b"proc").unwrap()];
    let mut left_out = LeftOut::default();
    left_out.note(LeftOutReason::OtherMount, b"proc");
    assert_eq!(step.ended, Some(ScanReport { other_mounts: 1, mounts, left_out, ..ScanReport::default() }));
}

#[test]
fn an_error_hides_a_place_and_too_many_end_the_scan() {
    let scratch = tree(&["a"]);
    let mut scanner = Scanner::start(scratch.path());
    for at in 0..HIDDEN_PLACES_MAX {
        let root = open_directory(scratch.path());
        let state = scanner.not_read(root, format!("d{at}").as_bytes(), Errno::EIO);
        assert!(matches!(state, State::Between { .. }) && scanner.report.failed.is_none());
    }
    assert_eq!((scanner.report.hidden.len(), scanner.report.unreadable), (HIDDEN_PLACES_MAX, 64));
    let root = open_directory(scratch.path());
    assert!(matches!(scanner.not_read(root, b"more", Errno::EIO), State::Ended));
    assert_eq!(scanner.report.failed, Some(DiskFault::Other(Errno::EIO as i32)));
}

#[test]
fn a_file_whose_stat_fails_is_hidden() {
    use crate::store::tests::recorder::{Call, fail_next};
    let scratch = tree(&["a"]);
    fail_next(Call::Stat, nix::libc::EIO);
    let (found, report) = scan(scratch.path(), 5);
    assert!(found.is_empty());
    let hidden = vec![FileName::from_bytes(b"a").unwrap()];
    assert_eq!(report, ScanReport { unreadable: 1, unread: hidden.clone(), hidden, ..ScanReport::default() });
}

#[test]
fn unreadable_and_removed_files_are_not_hidden() {
    let scratch = tree(&["a"]);
    let mut scanner = Scanner::start(scratch.path());
    for errno in [Errno::EACCES, Errno::EPERM, Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP] {
        let root = open_directory(scratch.path());
        assert!(matches!(scanner.not_read(root, b"d", errno), State::Between { .. }));
    }
    let unread = vec![FileName::from_bytes(b"d").unwrap(); 2];
    let left_out = scanner.report.left_out.clone();
    assert_eq!(scanner.report, ScanReport { unreadable: 2, unread, left_out, ..ScanReport::default() });
}

#[test]
fn a_scan_without_a_free_descriptor_fails() {
    let scratch = tree(&["a"]);
    let root = open_directory(scratch.path());
    let mut scanner = Scanner::start(scratch.path());
    scanner.waiting.push(b"more".to_vec());
    assert!(matches!(scanner.not_read(root, b"some", Errno::EMFILE), State::Ended));
    assert_eq!(scanner.report.failed, Some(DiskFault::NoDescriptor));
    assert!(scanner.waiting.is_empty());
}
