//! A file is shared when it is whole, as its own content, and never when it is the daemon's (pyrated(8),
//! DESCRIPTION).

use crate::harness::{
    Daemon, Disk, Framing, LIMIT, Setup, ask, await_hashed, fetch, fetch_reset, lines, not_tested, pause, until,
};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

fn row(daemon: &Daemon, name: &str) -> Option<Value> {
    daemon.pages("files", "files").into_iter().find(|row| row["name"] == name)
}

fn listed(daemon: &Daemon) -> Vec<Vec<u8>> {
    lines(&ask(daemon.listen(), b"5:", Framing::Fin).bytes)
}

fn b3(content: &[u8]) -> String {
    blake3::hash(content).to_hex().to_string()
}

#[test]
fn a_file_that_grows_is_not_shared_before_it_is_whole() {
    let peer = Setup::peer().shares("done.txt", "x").start();
    let path = peer.share().join("image.iso");
    let writer = std::thread::spawn(move || {
        let mut growing = File::create(path).expect("a fresh file");
        for _ in 0..40 {
            growing.write_all(&[b'i'; 10_000]).expect("it can be written");
            pause(Duration::from_millis(150));
        }
    });
    until("it has begun", LIMIT, || peer.share().join("image.iso").exists());
    assert_eq!(peer.rescan()["being_written"], 1);
    let shown = row(&peer, "image.iso").expect("it is shown");
    assert_eq!((&shown["being_written"], &shown["b3"]), (&Value::Bool(true), &Value::Null));
    while !writer.is_finished() {
        assert_eq!(listed(&peer), [b"done.txt"], "half a file is not listed");
        assert!(fetch_reset(peer.listen(), b"image.iso"), "nor served");
        pause(Duration::from_millis(100));
    }
    until("it is shared once it is whole", LIMIT, || listed(&peer).len() == 2);
    await_hashed(&peer);
    assert_eq!(row(&peer, "image.iso").expect("shared")["b3"], b3(&[b'i'; 400_000]));
    assert_eq!(fetch(peer.listen(), b"image.iso").len(), 400_000);
}

/// Writes a file, whose modification time is the same each time.
fn write_dated(path: &Path, content: &[u8]) {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path).expect("it opens");
    file.write_all(content).expect("it can be written");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).expect("a time");
}

/// As an unpacked archive or a tagger leaves them: of the same size and time, one with the inode of a removed file.
#[test]
fn a_file_that_only_looks_like_a_known_one_gets_its_own_hash() {
    let disk = Disk::ext4("a new file with the inode of a removed one");
    let mut setup = Setup::peer();
    let share = disk.as_ref().map_or_else(|| setup.share(), |disk| disk.path().to_owned());
    setup = setup.set("local_directory", &format!("'{}'", share.display()));
    write_dated(&share.join("one.rom"), b"the first content");
    write_dated(&share.join("tagged.mp3"), b"the first tags");
    let mut peer = setup.start();
    await_hashed(&peer);
    let inode = |name: &str| std::fs::metadata(share.join(name)).expect("it is there").ino();
    let before = inode("one.rom");
    std::fs::remove_file(share.join("one.rom")).expect("removed");
    write_dated(&share.join("two.rom"), b"another content 2");
    write_dated(&share.join("tagged.mp3"), b"the other tags");
    assert!(disk.is_none() || inode("two.rom") == before, "ext4 uses the inode again");
    for restart in [false, true] {
        if restart {
            peer.end_by(nix::sys::signal::Signal::SIGTERM);
            peer.start_again();
            until("it has scanned", LIMIT, || peer.status()["scanning"] == false);
        } else {
            peer.rescan();
        }
        await_hashed(&peer);
        assert_eq!(row(&peer, "two.rom").expect("shared")["b3"], b3(b"another content 2"));
        assert_eq!(row(&peer, "tagged.mp3").expect("shared")["b3"], b3(b"the other tags"));
    }
    peer.stop();
}

#[test]
fn files_of_the_daemon_inside_the_share_are_not_shared() {
    let mut setup = Setup::peer().shares("shared.txt", "x").shares("logs/other.log", "x").shares("state/lock", "");
    let (home, share) = (setup.home().to_owned(), setup.share());
    // The configuration reaches them over symbolic links.
    symlink(share.join("state"), home.join("state link")).expect("a link");
    symlink(share.join("logs"), home.join("logs link")).expect("a link");
    for (key, path) in [
        ("state_directory", home.join("state link")),
        ("log_file", home.join("logs link/pyrated.log")),
        ("control_socket", home.join("control.sock")),
        ("download_directory", share.clone()),
    ] {
        setup = setup.set(key, &format!("'{}'", path.display()));
    }
    std::fs::write(share.join("logs/pyrated.log.1"), "an earlier log").expect("it can be written");
    // Standard error is redirected to a file that stands in the share as well.
    std::fs::write(home.join("stderr"), "").expect("it can be written");
    std::fs::hard_link(home.join("stderr"), share.join("messages.txt")).expect("one filesystem");
    let peer = setup.start();
    peer.rescan();
    let mut names = listed(&peer);
    names.sort();
    assert_eq!(names, [&b"logs/other.log"[..], b"shared.txt"]);
    for name in ["state/lock", "state/hashes", "logs/pyrated.log", "logs/pyrated.log.1", "messages.txt"] {
        assert!(share.join(name).exists() && fetch_reset(peer.listen(), name.as_bytes()), "{name}");
    }
}

/// An image of a filesystem, made and mounted where the machine lets us.
fn mounted(image: &Path, at: &Path) -> bool {
    run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at))
}

fn run(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[test]
fn an_image_that_is_mounted_on_another_loop_device_is_not_hashed_again() {
    let setup = Setup::peer();
    let (share, image) = (setup.share(), setup.home().join("image"));
    let other = setup.home().join("other image");
    for path in [&image, &other] {
        File::create(path).and_then(|file| file.set_len(24 << 20)).expect("a sparse file");
    }
    let made = |path: &Path| run(Command::new("mkfs.ext4").arg("-qF").arg(path));
    if !made(&image) || !made(&other) || !mounted(&image, &share) {
        not_tested("a share that is mounted again", "it takes CAP_SYS_ADMIN, a loop device and mkfs.ext4");
        return;
    }
    let content = vec![7; 12 << 20];
    std::fs::write(share.join("large"), &content).expect("it can be written");
    let mut peer = setup.start();
    await_hashed(&peer);
    let device = std::fs::metadata(share.join("large")).expect("it is there").dev();
    peer.end_by(nix::sys::signal::Signal::SIGTERM);
    assert!(run(Command::new("umount").arg(&share)));
    // The other image takes the loop device, so that the first gets another one.
    let elsewhere = peer.home().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a directory");
    let blocked = mounted(&other, &elsewhere);
    let again = mounted(&image, &share);
    let moved = again && std::fs::metadata(share.join("large")).is_ok_and(|found| found.dev() != device);
    if moved {
        peer.start_again();
        until("it has scanned", LIMIT, || peer.status()["shared_files"] == 1);
        await_hashed(&peer);
        assert_eq!(row(&peer, "large").expect("shared")["b3"], b3(&content));
        let text = std::fs::read_to_string(format!("/proc/{}/io", peer.pid())).expect("it runs");
        let read = text.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("a known key");
        let read: u64 = read.parse().expect("a number");
        peer.end_by(nix::sys::signal::Signal::SIGTERM);
        assert!(read < 6 << 20, "{read} bytes were read of 12 MiB that are known");
    } else {
        not_tested("a filesystem with another device number", "the image got the same one again");
    }
    let umount = |at: &Path| run(Command::new("umount").arg(at));
    assert!((!again || umount(&share)) && (!blocked || umount(&elsewhere)));
}
