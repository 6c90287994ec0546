//! Scans that follow links, and opening what they find.

use super::*;
use crate::fault::DiskFault;
use crate::name::Escaped;
use crate::store::{OtherShare, OwnFiles, ShareRoot};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

/// A share, and files and directories beside it.
struct Disk {
    scratch: TempDir,
    table: Arc<FollowedLinks>,
}

impl Disk {
    /// With these files, each of which has its path as content, and links with what they lead to.
    fn new(files: &[&str], links: &[(&str, &str)]) -> Self {
        let disk = Self { scratch: tempfile::tempdir().unwrap(), table: Arc::default() };
        fs::create_dir(disk.path("share")).unwrap();
        files.iter().for_each(|file| disk.add(file));
        links.iter().for_each(|(link, target)| disk.link(link, target));
        disk
    }

    fn path(&self, path: &str) -> PathBuf {
        self.scratch.path().join(path)
    }

    fn add(&self, path: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), path).unwrap();
    }

    fn link(&self, link: &str, target: &str) {
        fs::create_dir_all(self.path(link).parent().unwrap()).unwrap();
        symlink(target, self.path(link)).unwrap();
    }

    fn relink(&self, link: &str, target: &str) {
        fs::remove_file(self.path(link)).unwrap();
        self.link(link, target);
    }

    fn scan_without(&self, own: OwnFiles) -> (Vec<String>, Vec<String>) {
        let links = Some(Arc::clone(&self.table));
        let mut scanner = Scanner::start(&self.path("share")).without(own).following(links);
        let mut found = Vec::new();
        loop {
            let step = scanner.step(2, i64::MAX);
            found.extend(step.files.into_iter().map(|file| file.name.to_string()));
            let Some(report) = step.ended else { continue };
            assert_eq!(report.failed, None);
            found.sort();
            let row = |(name, reason)| format!("{}: {reason:?}", Escaped(name));
            return (found, report.left_out.names_after(b"").map(row).collect());
        }
    }

    /// The files found, and what is left out as `name: reason`.
    fn scan(&self) -> (Vec<String>, Vec<String>) {
        self.scan_without(OwnFiles::default())
    }

    /// The content of a shared file.
    fn read(&self, name: &str) -> Result<String, DiskFault> {
        let root = ShareRoot::open(&self.path("share")).unwrap().following(Some(Arc::clone(&self.table)));
        let file = root.open_file(&FileName::from_bytes(name.as_bytes()).unwrap())?;
        let mut content = vec![0; file.meta().size as usize];
        file.read(&mut content, 0)?;
        Ok(String::from_utf8(content).unwrap())
    }
}

#[test]
fn what_links_lead_to_is_shared_under_their_names() {
    let disk = Disk::new(
        &["share/a", "music/b", "music/rock/c", "file", "deep/d", "share/sub/e"],
        &[
            ("share/music", "../music"),
            ("share/sub/link", "../../file"),
            ("music/rock/more", "../../deep"),
            ("share/.hidden", "../music"),
        ],
    );
    assert_eq!(disk.read("music/b"), Err(DiskFault::NotRegular), "no scan has seen it");
    let (found, left_out) = disk.scan();
    assert_eq!(found, ["a", "music/b", "music/rock/c", "music/rock/more/d", "sub/e", "sub/link"]);
    assert_eq!(left_out, [".hidden: Hidden"]);
    for (name, content) in [
        ("a", "share/a"),
        ("music/b", "music/b"),
        ("music/rock/c", "music/rock/c"),
        ("music/rock/more/d", "deep/d"),
        ("sub/link", "file"),
    ] {
        assert_eq!(disk.read(name).as_deref(), Ok(content), "{name}");
    }
    assert_eq!(disk.read("music/rock"), Err(DiskFault::NotRegular));
    assert_eq!(disk.read("music/none"), Err(DiskFault::Missing));
    assert_eq!(disk.read("music/../share/a"), Err(DiskFault::NotRegular));
}

#[test]
fn nothing_is_shared_twice() {
    let disk = Disk::new(
        &["share/in/a", "share/in/.hidden", "out/b", "out/sub/c", "file"],
        &[
            ("share/again", "in"),
            ("share/a-again", "in/a"),
            ("share/seen", "in/.hidden"),
            ("share/out2", "../out"),
            ("share/out1", "../out"),
            ("share/sub", "../out/sub"),
            ("share/b-again", "../out/b"),
            ("share/z1", "../file"),
            ("share/z2", "../file"),
        ],
    );
    let (found, left_out) = disk.scan();
    assert_eq!(found, ["in/a", "out1/b", "out1/sub/c", "seen", "z1"]);
    let expected = [
        "a-again: SharedAlready",
        "again: SharedAlready",
        "b-again: SharedAlready",
        "in/.hidden: Hidden",
        "out2: SharedAlready",
        "sub: SharedAlready",
        "z2: SharedAlready",
    ];
    assert_eq!(left_out, expected);
    assert_eq!(disk.scan(), (found, left_out), "and again by the same names");
}

#[test]
fn a_link_to_a_part_of_what_a_later_one_leads_to_keeps_its_name() {
    let disk = Disk::new(&["out/b", "out/sub/c"], &[("share/first", "../out/sub"), ("share/second", "../out")]);
    assert_eq!(disk.scan(), (vec!["first/c".into(), "second/b".into()], vec!["second/sub: SharedAlready".into()]));
}

#[test]
fn loops_end() {
    let disk = Disk::new(
        &["share/d/a", "b"],
        &[
            ("share/d/self", "."),
            ("share/d/up", ".."),
            ("share/itself", "itself"),
            ("share/one", "two"),
            ("share/two", "one"),
            ("share/outside", ".."),
            ("round", "share/d"),
        ],
    );
    let (found, left_out) = disk.scan();
    assert_eq!(found, ["d/a", "outside/b"]);
    let expected = [
        "d/self: SharedAlready",
        "d/up: SharedAlready",
        "itself: Loop",
        "one: Loop",
        "outside/round: SharedAlready",
        "outside/share: SharedAlready",
        "two: Loop",
    ];
    assert_eq!(left_out, expected);
}

#[test]
fn a_chain_of_41_links_is_too_long() {
    let disk = Disk::new(&["chain/00"], &[]);
    for n in 1..=40 {
        disk.link(&format!("chain/{n:02}"), &format!("{:02}", n - 1));
    }
    disk.link("share/a", "../chain/39");
    disk.link("share/b", "../chain/40");
    assert_eq!(disk.scan(), (vec!["a".into()], vec!["b: Loop".into()]));
    assert_eq!(disk.read("a").as_deref(), Ok("chain/00"));
}

#[test]
fn a_link_that_has_changed_since_the_scan_serves_nothing_else() {
    let links = [("share/dir", "../one"), ("share/file", "../b")];
    let disk = Disk::new(&["one/deep/a", "one/c", "two/c", "two/deep/a", "b", "secret"], &links);
    assert_eq!(disk.scan().0, ["dir/c", "dir/deep/a", "file"]);
    disk.relink("share/dir", "../two");
    disk.relink("share/file", "../secret");
    for name in ["dir/c", "dir/deep/a", "file"] {
        assert_eq!(disk.read(name), Err(DiskFault::NotRegular), "{name}");
    }
    // Another link on the way, which the scan has not seen.
    disk.relink("share/dir", "../one");
    assert_eq!(disk.read("dir/deep/a").as_deref(), Ok("one/deep/a"));
    fs::remove_dir_all(disk.path("one/deep")).unwrap();
    disk.link("one/deep", "../two/deep");
    assert_eq!(disk.read("dir/deep/a"), Err(DiskFault::NotRegular));
    // A directory or file in the place of a link.
    fs::remove_file(disk.path("share/file")).unwrap();
    disk.add("share/file");
    assert_eq!(disk.read("file"), Err(DiskFault::NotRegular));
    assert_eq!(disk.scan().0, ["dir/c", "dir/deep/a", "file"]);
    assert_eq!(disk.read("file").as_deref(), Ok("share/file"));
    assert_eq!(disk.read("dir/deep/a").as_deref(), Ok("two/deep/a"));
    // Its link is gone: what it led to is not shared any more.
    fs::remove_file(disk.path("share/dir")).unwrap();
    assert_eq!(disk.scan().0, ["file"]);
    disk.link("share/dir", "../one");
    assert_eq!(disk.read("dir/c"), Err(DiskFault::NotRegular));
}

#[test]
fn a_directory_or_file_in_the_place_of_a_link_is_found_by_the_next_scan() {
    let disk =
        Disk::new(&["one/a", "b"], &[("share/dir", "../one"), ("share/file", "../b"), ("share/other", "../one/a")]);
    assert_eq!(disk.scan().0, ["dir/a", "file"]);
    for link in ["share/dir", "share/file"] {
        fs::remove_file(disk.path(link)).unwrap();
    }
    disk.add("share/dir/deep/c");
    disk.add("share/file");
    assert_eq!(disk.scan().0, ["dir/deep/c", "file", "other"]);
    assert_eq!(disk.read("dir/deep/c").as_deref(), Ok("share/dir/deep/c"));
    assert_eq!(disk.read("file").as_deref(), Ok("share/file"));
}

#[test]
fn what_cannot_be_followed_is_named_with_the_reason() {
    let disk = Disk::new(
        &["state/deep/secret", "log"],
        &[
            ("share/dangling", "nowhere"),
            ("share/device", "/dev/null"),
            ("share/magic", "/proc/self/fd/0"),
            ("share/through-a-file", "../log/x"),
            ("share/state", "../state"),
            ("share/state-part", "../state/deep"),
            ("share/state-file", "../state/deep/secret"),
            ("share/log", "../log"),
        ],
    );
    let mut own = OwnFiles::default();
    own.directory(&disk.path("state"));
    own.log(&disk.path("log"));
    let (found, left_out) = disk.scan_without(own);
    assert_eq!(found, [""; 0]);
    let expected = [
        "dangling: Dangling",
        "device: NotRegular",
        "log: Own",
        "magic: Loop",
        "state: Own",
        "state-file: Own",
        "state-part: Own",
        "through-a-file: Dangling",
    ];
    assert_eq!(left_out, expected);
}

#[test]
fn what_another_share_has_is_left_out_though_that_share_could_not_be_examined() {
    let disk =
        Disk::new(&[], &[("share/all", "../later"), ("share/deep", "../later/a"), ("share/file", "../later/a/x")]);
    let mut own = OwnFiles::default();
    own.share(&OtherShare::at(&disk.path("later")));
    disk.add("later/a/x");
    let expected = ["all: SharedAlready", "deep: SharedAlready", "file: SharedAlready"];
    assert_eq!(disk.scan_without(own), (vec![], expected.map(str::to_owned).to_vec()));
}

#[test]
fn links_and_directories_are_followed_up_to_a_number() {
    let disk = Disk::new(&[], &[]);
    for n in 0..17 {
        disk.add(&format!("file{n}"));
        disk.link(&format!("share/link{n}"), &format!("../file{n}"));
    }
    let (found, left_out) = disk.scan();
    assert_eq!((found.len(), left_out.len()), (16, 1));
    assert!(left_out[0].ends_with(": TooMany"));

    let disk = Disk::new(&[], &[("share/out", "../out")]);
    (0..20).for_each(|n| disk.add(&format!("out/{n:02}/file")));
    let (found, left_out) = disk.scan();
    // The share itself and the directory that the link leads to are among them.
    assert_eq!((found.len(), left_out.len()), (14, 6));
    assert!(left_out.iter().all(|row| row.ends_with(": TooMany")), "{left_out:?}");

    let disk = Disk::new(&["out/file"], &[("share/out", "../out")]);
    (0..20).for_each(|n| disk.add(&format!("share/{n:02}/file")));
    let (found, left_out) = disk.scan();
    assert_eq!((found.len(), left_out), (20, vec!["out: TooMany".into()]));
}

#[test]
fn what_an_error_hides_stays_shared() {
    use crate::store::tests::recorder::{Call, fail_next};
    let disk = Disk::new(&["out/a"], &[("share/out", "../out")]);
    assert_eq!(disk.scan().0, ["out/a"]);
    fail_next(Call::Stat, nix::libc::EIO);
    let (found, left_out) = disk.scan();
    assert_eq!((found, left_out), (vec![], vec!["out/a: Unreadable".into()]));
    assert_eq!(disk.read("out/a").as_deref(), Ok("out/a"));
    let kept = |place: &[u8]| is_at_or_beneath(b"music/rock", place);
    assert!(kept(b"music") && kept(b"music/rock") && !kept(b"mus") && !kept(b"music/rock/a"));
    disk.table.replace(Targets::new(), |path| path == b"out");
    assert_eq!(disk.read("out/a").as_deref(), Ok("out/a"));
    disk.table.replace(Targets::new(), |_| false);
    assert_eq!(disk.read("out/a"), Err(DiskFault::NotRegular));
}

#[test]
fn names_that_cannot_be_sent_are_refused_and_what_is_unreadable_is_named() {
    let disk = Disk::new(&["file"], &[("share/new\nline", "../file")]);
    assert_eq!(disk.scan(), (vec![], vec!["new\\nline: ControlByte".into()]));
    if nix::unistd::geteuid().is_root() {
        return crate::store::not_tested::not_tested("unreadable places behind links", "root may read everything");
    }
    let close = |path: &Path| fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    let disk = Disk::new(&["file", "dir/a"], &[("share/file", "../file"), ("share/dir", "../dir")]);
    close(&disk.path("file"));
    close(&disk.path("dir"));
    assert_eq!(disk.scan(), (vec![], vec!["dir: Unreadable".into(), "file: Unreadable".into()]));
}
