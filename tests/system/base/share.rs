//! What is shared, and what never is (pyrated(8), DESCRIPTION).

use crate::harness::{Daemon, Framing, LIMIT, Setup, Stopwatch, ask, fetch, fetch_reset, lines, pyratectl, until};
use nix::sys::stat::Mode;
use serde_json::Value;
use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::time::Duration;

fn listed(to: std::net::SocketAddr) -> BTreeSet<Vec<u8>> {
    lines(&ask(to, b"5:", Framing::Fin).bytes).into_iter().collect()
}

fn names(expected: &[&str]) -> BTreeSet<Vec<u8>> {
    expected.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// What `only_regular_visible_files_are_shared` has in its share beside two files.
const LEFT_OUT: [(&str, &str); 11] = [
    (".git", "hidden"),
    (".hidden", "hidden"),
    ("control\nname", "control_byte"),
    ("dangling", "symlink"),
    ("dir/.inner", "hidden"),
    ("escape\u{1b}[31m", "control_byte"),
    ("fifo", "not_regular"),
    ("link-inside.txt", "symlink"),
    ("link.txt", "symlink"),
    ("linkdir", "symlink"),
    ("socket", "not_regular"),
];

/// Names with the reasons why they are not shared.
fn left_out(peer: &Daemon) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    peer.pages("left_out", "left_out").iter().map(|row| (text(&row["name"]), text(&row["reason"]))).collect()
}

#[test]
fn a_link_to_a_disk_of_music_gets_an_answer_within_one_rescan() {
    let setup = Setup::peer().set("log_level", "'info'").shares("a", "a").shares(".hidden", "h");
    let music = setup.home().join("music");
    std::fs::create_dir(&music).expect("a directory");
    let peer = setup.start();
    let lines = || {
        let log = peer.log();
        log.lines().filter(|line| line.contains("left out of the share")).map(str::to_owned).collect::<Vec<_>>()
    };
    until("what is hidden is logged", LIMIT, || lines().len() == 1);
    assert!(lines()[0].contains(" info ") && lines()[0].contains(" count=1 names=.hidden"), "{:?}", lines());
    symlink(&music, peer.share().join("music")).expect("a link");
    let rescan = pyratectl(&peer, ["rescan"]);
    let told = "2 entries of the shared directory left out; `pyratectl files --left-out` says why\n";
    assert_eq!((rescan.code, rescan.stderr.as_str()), (0, told));
    let shown = pyratectl(&peer, ["files", "--left-out"]);
    assert_eq!(shown.stdout, "NAME     REASON\n.hidden  hidden\nmusic    symbolic link\n");
    assert_eq!(peer.status()["left_out"], serde_json::json!({"symlink": 1, "hidden": 1}));
    peer.rescan();
    until("the link is logged", LIMIT, || lines().len() == 2);
    assert!(lines()[1].contains(" warn ") && lines()[1].contains(" count=1 names=music"), "{:?}", lines());
}

#[test]
fn links_are_followed_if_that_is_asked_for() {
    let setup = Setup::peer().set("follow_symlinks", "true").shares("a", "a");
    let (share, home) = (setup.share(), setup.home().to_owned());
    std::fs::create_dir(home.join("music")).expect("a directory");
    std::fs::write(home.join("music/song"), "la").expect("it can be written");
    std::fs::write(home.join("music/tune"), "tata").expect("it can be written");
    std::fs::write(home.join("secret"), "secret").expect("it can be written");
    symlink("../music", share.join("music")).expect("a link");
    symlink(".", share.join("loop")).expect("a link");
    let peer = setup.start();
    assert_eq!(listed(peer.listen()), names(&["a", "music/song", "music/tune"]));
    assert_eq!(left_out(&peer), [("loop".to_owned(), "shared_already".to_owned())]);
    assert_eq!(fetch(peer.listen(), b"music/song"), b"la");
    until("it is hashed", LIMIT, || peer.status()["unhashed_files"] == 0);
    // The name leads to another file of the same user, which nobody has chosen to share.
    std::fs::create_dir(home.join("other")).expect("a directory");
    std::fs::rename(home.join("secret"), home.join("other/tune")).expect("a file");
    assert_eq!(fetch(peer.listen(), b"music/song"), b"la");
    std::fs::remove_file(share.join("music")).expect("a link");
    assert!(fetch_reset(peer.listen(), b"music/song"), "the link is gone, though the file may be open still");
    symlink("../other", share.join("music")).expect("a link");
    assert!(fetch_reset(peer.listen(), b"music/tune"), "no scan has seen where the link leads");
    peer.rescan();
    assert_eq!(fetch(peer.listen(), b"music/tune"), b"secret");
}

#[test]
fn only_regular_visible_files_are_shared() {
    let setup = Setup::peer()
        .shares("visible.txt", "v")
        .shares("dir/inner.txt", "i")
        .shares(".hidden", "secret")
        .shares(".git/config", "secret")
        .shares("dir/.inner", "secret")
        .shares("control\nname", "x")
        .shares("escape\x1b[31m", "x");
    let (share, outside) = (setup.share(), setup.home().join("outside.txt"));
    std::fs::write(&outside, "secret").expect("it can be written");
    std::fs::create_dir(setup.home().join("elsewhere")).expect("a directory");
    std::fs::write(setup.home().join("elsewhere/file.txt"), "secret").expect("it can be written");
    symlink(&outside, share.join("link.txt")).expect("a link");
    symlink("visible.txt", share.join("link-inside.txt")).expect("a link");
    symlink(setup.home().join("elsewhere"), share.join("linkdir")).expect("a link");
    symlink("nowhere", share.join("dangling")).expect("a link");
    nix::unistd::mkfifo(&share.join("fifo"), Mode::S_IRWXU).expect("a FIFO");
    let socket = std::os::unix::net::UnixListener::bind(share.join("socket")).expect("a socket");
    let peer = setup.start();
    assert_eq!(listed(peer.listen()), names(&["visible.txt", "dir/inner.txt"]));
    let refused = [
        ".hidden",
        ".git/config",
        "dir/.inner",
        "link.txt",
        "link-inside.txt",
        "linkdir/file.txt",
        "dangling",
        "fifo",
        "socket",
        "dir",
        "../outside.txt",
        "dir/../../outside.txt",
        "dir/../visible.txt",
        "./visible.txt",
        "/etc/hostname",
        "/etc/passwd",
        "//etc/passwd",
        "..",
        ".",
        "/",
        "/proc/self/environ",
        "visible.txt/",
        "dir/inner.txt/..",
    ];
    for name in refused {
        assert!(fetch_reset(peer.listen(), name.as_bytes()), "{name} is not served");
    }
    let absolute = share.join("visible.txt");
    assert!(fetch_reset(peer.listen(), absolute.to_str().expect("text").as_bytes()));
    assert_eq!(peer.rescan()["names_refused"], 2, "names with control bytes are counted");
    for name in ["control\\nname", "escape\\x1b[31m"] {
        until("the log names them", LIMIT, || peer.log().contains(name));
    }
    assert_eq!(peer.status()["shared_files"], 2);
    assert_eq!(left_out(&peer), LEFT_OUT.map(|(name, reason)| (name.to_owned(), reason.to_owned())));
    drop(socket);
}

#[test]
fn what_was_swapped_after_the_scan_is_not_served() {
    let peer = Setup::peer().shares("file.txt", "ours").shares("dir/inner.txt", "ours").shares("pipe", "ours").start();
    assert_eq!(fetch(peer.listen(), b"file.txt"), b"ours");
    let secret = peer.home().join("inner.txt");
    std::fs::write(&secret, "secret").expect("it can be written");
    let share = peer.share();
    std::fs::remove_file(share.join("file.txt")).expect("removed");
    symlink(&secret, share.join("file.txt")).expect("a link");
    std::fs::remove_dir_all(share.join("dir")).expect("removed");
    symlink(peer.home(), share.join("dir")).expect("a link");
    std::fs::remove_file(share.join("pipe")).expect("removed");
    nix::unistd::mkfifo(&share.join("pipe"), Mode::S_IRWXU).expect("a FIFO");
    let watch = Stopwatch::start();
    for name in [&b"file.txt"[..], b"dir/inner.txt", b"pipe"] {
        assert!(fetch_reset(peer.listen(), name), "{}", String::from_utf8_lossy(name));
    }
    assert!(watch.ran() < Duration::from_secs(5), "a FIFO without writer blocks nobody");
}

#[test]
fn what_was_removed_or_grew_after_the_scan() {
    let peer = Setup::peer().shares("gone.txt", "x").shares("grown.txt", "short").start();
    std::fs::remove_file(peer.share().join("gone.txt")).expect("removed");
    std::fs::write(peer.share().join("grown.txt"), "longer than before").expect("it can be written");
    assert!(fetch_reset(peer.listen(), b"gone.txt"));
    assert!(fetch_reset(peer.listen(), b"grown.txt"), "it may be written to still");
    until("it is served as it is once it is at rest", LIMIT, || {
        ask(peer.listen(), b"4:grown.txt", Framing::Fin).bytes == b"longer than before"
    });
}

#[test]
fn a_rescan_finds_what_came_and_what_went() {
    let peer = Setup::peer().shares("old.txt", "x").shares("dir/stays.txt", "x").start();
    assert_eq!(listed(peer.listen()), names(&["old.txt", "dir/stays.txt"]));
    peer.add_file("new.txt", "fresh");
    peer.add_file("dir/deep/new.txt", "fresh");
    std::fs::remove_file(peer.share().join("old.txt")).expect("removed");
    peer.rescan();
    until("the sweep is through", LIMIT, || peer.status()["shared_files"] == 3);
    assert_eq!(listed(peer.listen()), names(&["new.txt", "dir/deep/new.txt", "dir/stays.txt"]));
    assert_eq!(fetch(peer.listen(), b"new.txt"), b"fresh");
    assert_eq!(peer.status()["shared_bytes"], 11);
    std::fs::write(peer.share().join("new.txt"), "").expect("it can be written");
    peer.rescan();
    until("sizes follow", LIMIT, || peer.status()["shared_bytes"] == 6);
}

#[test]
fn the_share_is_rescanned_on_its_own() {
    let peer = Setup::peer().set("filemonitor_refresh", "'1s'").start();
    peer.add_file("appears.txt", "x");
    until("it is found", LIMIT, || peer.status()["shared_files"] == 1);
    std::fs::remove_file(peer.share().join("appears.txt")).expect("removed");
    until("it is forgotten", LIMIT, || peer.status()["shared_files"] == 0);
}

#[test]
fn a_share_that_vanishes_and_returns() {
    let peer = Setup::peer().shares("file.txt", "x").start();
    let away = peer.home().join("moved away");
    std::fs::rename(peer.share(), &away).expect("moved");
    let report = peer.rescan();
    assert_eq!(report["done"], true);
    assert_eq!(peer.status()["version"].as_str().map(str::is_empty), Some(false), "it lives");
    std::fs::rename(&away, peer.share()).expect("moved back");
    peer.rescan();
    until("the file is shared again", LIMIT, || peer.status()["shared_files"] == 1);
}

#[test]
fn the_files_call_tells_what_is_shared() {
    let setup = (0..1203).fold(Setup::peer(), |setup, turn| setup.shares(format!("{turn:05}"), vec![b'x'; turn % 10]));
    let peer = setup.start();
    let rows = peer.pages("files", "files");
    assert_eq!(rows.len(), 1203);
    for (turn, row) in rows.iter().enumerate() {
        assert_eq!((&row["name"], &row["size"]), (&Value::from(format!("{turn:05}")), &Value::from(turn % 10)));
    }
}

/// A large share is scanned in slices: whoever asks meanwhile is answered.
#[test]
fn a_large_share_does_not_delay_answers() {
    const FILES: usize = 20_000;
    let setup = Setup::peer();
    for directory in 0..FILES / 500 {
        let path = setup.share().join(format!("directory {directory}"));
        std::fs::create_dir(&path).expect("a directory");
        for file in 0..500 {
            std::fs::File::create(path.join(format!("file number {file}.txt"))).expect("a file");
        }
    }
    let peer = setup.start_scanning();
    let mut control = peer.control();
    let mut answers = Vec::new();
    loop {
        let watch = Stopwatch::start();
        let status = control.call("status", Value::Null).expect("an answer");
        answers.push(watch.ran());
        if status["scanning"] == false && status["shared_files"] == FILES {
            break;
        }
        assert!(answers.len() < 1_000_000, "the scan comes to an end");
    }
    answers.sort_unstable();
    let (middle, late) = (answers[answers.len() / 2], answers[answers.len() * 98 / 100]);
    println!("{} answers during the scan: median {middle:?}, 98 of 100 within {late:?}", answers.len());
    assert!(middle < Duration::from_millis(30), "{middle:?}");
    assert!(late < Duration::from_millis(100), "{late:?}");
    let watch = Stopwatch::start();
    assert_eq!(fetch(peer.listen(), b"directory 7/file number 77.txt"), b"");
    assert!(watch.ran() < Duration::from_secs(2));
}
