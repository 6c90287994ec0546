use super::*;
use crate::store::not_tested::not_tested;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use tempfile::TempDir;

fn root() -> (TempDir, ShareRoot) {
    let scratch = tempfile::tempdir().unwrap();
    let share = scratch.path().join("share");
    fs::create_dir_all(share.join("sub")).unwrap();
    fs::write(share.join("sub/file"), b"inside").unwrap();
    fs::write(scratch.path().join("secret"), b"outside").unwrap();
    let root = ShareRoot::open(&share).unwrap();
    (scratch, root)
}

fn outcome(root: &ShareRoot, path: &str) -> Result<u64, DiskFault> {
    root.open_file(&FileName::from_bytes(path.as_bytes()).unwrap()).map(|file| file.meta.size)
}

#[test]
fn names_that_lead_outside_the_share_are_refused() {
    let (scratch, root) = root();
    assert_eq!(outcome(&root, "sub/file"), Ok(6));
    let absolute = scratch.path().join("secret").to_str().unwrap().to_owned();
    for path in ["../secret", "sub/../../secret", "sub/../sub/file", "/sub/file", "./sub/file", "sub//file", "..", "/"]
        .into_iter()
        .chain([&*absolute])
    {
        assert_eq!(outcome(&root, path), Err(DiskFault::NotRegular), "{path}");
    }
    assert_eq!(outcome(&root, "sub"), Err(DiskFault::NotRegular));
    assert_eq!(outcome(&root, "sub/file/x"), Err(DiskFault::Missing));
    assert_eq!(outcome(&root, "nothing"), Err(DiskFault::Missing));
}

#[test]
fn a_link_created_after_the_scan_is_not_followed() {
    let (scratch, root) = root();
    let share = scratch.path().join("share");
    assert_eq!(outcome(&root, "sub/file"), Ok(6));
    fs::remove_file(share.join("sub/file")).unwrap();
    symlink(scratch.path().join("secret"), share.join("sub/file")).unwrap();
    assert_eq!(outcome(&root, "sub/file"), Err(DiskFault::NotRegular));

    fs::remove_dir_all(share.join("sub")).unwrap();
    fs::create_dir(scratch.path().join("elsewhere")).unwrap();
    fs::write(scratch.path().join("elsewhere/file"), b"outside").unwrap();
    symlink("../elsewhere", share.join("sub")).unwrap();
    assert_eq!(outcome(&root, "sub/file"), Err(DiskFault::NotRegular));
}

#[test]
fn a_file_is_opened_only_if_it_is_unchanged_since_the_scan() {
    let (scratch, root) = root();
    let name = FileName::from_bytes(b"sub/file").unwrap();
    let path = scratch.path().join("share/sub/file");
    let found = identity(&File::open(&path).unwrap()).unwrap();
    assert_eq!(root.open_file_as(&name, &found).unwrap().meta.size, 6);
    // Another file of the same size and time takes its place.
    let mtime = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(scratch.path().join("other"), b"INSIDE").unwrap();
    File::options().write(true).open(scratch.path().join("other")).unwrap().set_modified(mtime).unwrap();
    fs::rename(scratch.path().join("other"), &path).unwrap();
    assert_eq!(root.open_file_as(&name, &found).unwrap_err(), DiskFault::Changed);
    let now = identity(&File::open(&path).unwrap()).unwrap();
    assert_eq!((now.size, now.mtime_ns, now.device), (found.size, found.mtime_ns, found.device));
    assert!(root.open_file_as(&name, &now).is_ok());
    fs::remove_file(&path).unwrap();
    assert_eq!(root.open_file_as(&name, &now).unwrap_err(), DiskFault::Missing);
}

#[test]
fn bytes_are_read_only_while_the_file_is_unchanged() {
    let (scratch, root) = root();
    let path = scratch.path().join("share/sub/file");
    let name = FileName::from_bytes(b"sub/file").unwrap();
    let write = |bytes: &[u8]| {
        let file = File::options().write(true).open(&path).unwrap();
        let before = identity(&file).unwrap();
        // Two changes in the same tick of the clock have the same time.
        while identity(&file).unwrap().ctime_ns == before.ctime_ns {
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        }
        file.write_all_at(bytes, 0).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    };
    let mut buffer = [0; 3];
    write(b"inside");
    let opened = root.open_file(&name).unwrap();
    assert_eq!((opened.read(&mut buffer, 3), &buffer), (Ok(()), b"ide"));
    assert_eq!(
        opened.read(&mut buffer, 4).unwrap_err(),
        DiskFault::from(io::Error::from(io::ErrorKind::UnexpectedEof))
    );
    write(b"INSIDE");
    assert_eq!(opened.meta.mtime_ns, identity(&opened.file).unwrap().mtime_ns);
    assert_eq!(opened.read(&mut buffer, 0), Err(DiskFault::Changed), "same size and modification time");
    let opened = root.open_file(&name).unwrap();
    assert_eq!((opened.read(&mut buffer, 0), &buffer), (Ok(()), b"INS"));
    File::options().write(true).open(&path).unwrap().set_len(2).unwrap();
    assert_eq!(opened.read(&mut buffer, 0), Err(DiskFault::Shrank));
}

#[test]
fn an_open_file_is_served_again_only_while_nothing_has_happened_to_it() {
    let (scratch, root) = root();
    let share = scratch.path().join("share");
    let name = FileName::from_bytes(b"sub/file").unwrap();
    let changes: [fn(&Path); 4] = [
        |path| fs::write(path, b"INSIDE").unwrap(),
        |path| fs::rename(path, path.with_file_name("moved")).unwrap(),
        |path| fs::remove_file(path).unwrap(),
        |path| {
            fs::write(path.with_file_name("other"), b"INSIDE").unwrap();
            fs::rename(path.with_file_name("other"), path).unwrap();
        },
    ];
    for (n, change) in changes.into_iter().enumerate() {
        fs::write(share.join("sub/file"), b"inside").unwrap();
        let opened = root.open_file(&name).unwrap();
        let meta = opened.meta;
        if opened.cached == Cached::Untold {
            return not_tested("open files that are used again", "preadv2(2) tells nothing of the page cache here");
        }
        assert!(opened.is_still(&meta));
        assert!(!opened.is_still(&FileMeta { ctime_ns: meta.ctime_ns - 1, ..meta }), "the library knows another");
        // Two changes in the same tick of the clock have the same time.
        let tick = share.join("tick");
        while fs::write(&tick, b"x").is_ok() && identity(&File::open(&tick).unwrap()).unwrap().ctime_ns <= meta.ctime_ns
        {
        }
        change(&share.join("sub/file"));
        assert!(!opened.is_still(&meta), "change {n}");
        assert_eq!(opened.read_cached(&mut [0; 6], 0), Err(DiskFault::Changed), "change {n}");
        assert!(!root.open_file(&name).is_ok_and(|file| file.untold().is_still(&meta)));
    }
    let opened = root.open_file(&name).unwrap();
    fs::rename(share.join("sub"), share.join("renamed")).unwrap();
    assert!(!opened.is_still(&opened.meta) && opened.check().is_ok(), "a directory above it was renamed");
}

#[test]
fn what_is_not_told_to_be_in_the_page_cache_is_left_to_a_read_that_waits() {
    let (_scratch, root) = root();
    let name = FileName::from_bytes(b"sub/file").unwrap();
    let mut buffer = [0; 6];
    let opened = root.open_file(&name).unwrap().untold();
    assert_eq!(opened.read_cached(&mut buffer, 0), Ok(None));
    assert!(!opened.is_still(&opened.meta), "fstat(2) may wait there as well");
    let opened = root.open_file(&name).unwrap();
    assert_eq!(opened.read_cached(&mut buffer, 6), Ok(None), "the end of the file");
    assert!(matches!(opened.read_cached(&mut buffer, 3), Ok(None | Some(3))));
}

#[test]
fn anything_but_a_regular_file_neither_blocks_nor_opens() {
    let (scratch, root) = root();
    let share = scratch.path().join("share");
    nix::unistd::mkfifo(&share.join("fifo"), Mode::S_IRWXU).unwrap();
    assert_eq!(outcome(&root, "fifo"), Err(DiskFault::NotRegular));
    let _listener = std::os::unix::net::UnixListener::bind(share.join("socket")).unwrap();
    assert_eq!(outcome(&root, "socket"), Err(DiskFault::NotRegular));
    // A device node takes privilege to make, and a filesystem that honours it to open.
    use nix::sys::stat::{SFlag, makedev, mknod};
    if mknod(&share.join("zero"), SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 5)).is_ok() {
        assert!(matches!(outcome(&root, "zero"), Err(DiskFault::NotRegular | DiskFault::Denied)));
    }
}

#[test]
fn another_mount_is_not_entered() {
    // /proc is a mount wherever these tests run, and its links to descriptors and to the root are magic ones.
    let root = ShareRoot::open(Path::new("/proc/self")).unwrap();
    assert_eq!(outcome(&root, "fd/0"), Err(DiskFault::NotRegular));
    assert_eq!(outcome(&root, "root/etc/passwd"), Err(DiskFault::NotRegular));
    let root = ShareRoot::open(Path::new("/")).unwrap();
    assert_eq!(outcome(&root, "proc/self/status"), Err(DiskFault::NotRegular));
}

#[test]
fn the_directory_at_the_path_is_served_and_nothing_is_held_open() {
    let (scratch, root) = root();
    let share = scratch.path().join("share");
    assert_eq!(outcome(&root, "sub/file"), Ok(6));
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|link| fs::read_link(link.ok()?.path()).ok());
    assert_eq!(open.filter(|path| path.starts_with(&share)).count(), 0);
    fs::rename(&share, scratch.path().join("moved")).unwrap();
    assert_eq!(outcome(&root, "sub/file"), Err(DiskFault::Missing));
    fs::create_dir(&share).unwrap();
    assert_eq!(outcome(&root, "sub/file"), Err(DiskFault::Missing));
    fs::rename(scratch.path().join("moved"), &share).unwrap();
    assert_eq!(outcome(&root, "sub/file"), Ok(6));
}

#[test]
fn a_kernel_without_openat2_is_named_as_the_cause() {
    for errno in [Errno::ENOSYS, Errno::EPERM] {
        assert_eq!(unsupported(errno).kind(), io::ErrorKind::Unsupported);
    }
    assert_eq!(unsupported(Errno::ENOENT).kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_name_that_begins_with_that_of_a_further_share_is_looked_for_there_alone() {
    let (scratch, root) = root();
    let music = scratch.path().join("data/music");
    fs::create_dir_all(&music).unwrap();
    fs::write(music.join("song"), b"la").unwrap();
    fs::write(music.join("sub"), b"a file").unwrap();
    fs::set_permissions(music.join("song"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(scratch.path().join("share/music")).unwrap();
    fs::write(scratch.path().join("share/music/here"), b"").unwrap();
    fs::write(scratch.path().join("share/music too"), b"x").unwrap();
    let root = root.with(vec![(FileName::from_bytes(b"music").unwrap(), Arc::new(ShareRoot::at(&music)))]);
    assert_eq!((outcome(&root, "music/song"), outcome(&root, "sub/file")), (Ok(2), Ok(6)));
    assert_eq!((outcome(&root, "music/sub"), outcome(&root, "music too")), (Ok(6), Ok(1)));
    assert!(root.open_file(&FileName::from_bytes(b"music/song").unwrap()).unwrap().executable);
    assert_eq!(outcome(&root, "music/here"), Err(DiskFault::Missing));
    for path in ["music/../../share/sub/file", "music//song", "music/./song", "music/", "music"] {
        assert_eq!(outcome(&root, path), Err(DiskFault::NotRegular), "{path}");
    }
    fs::rename(&music, scratch.path().join("data/unmounted")).unwrap();
    assert_eq!((outcome(&root, "music/song"), outcome(&root, "sub/file")), (Err(DiskFault::Missing), Ok(6)));
}
