//! A file of more than 4 GiB from two sources: no size or offset is cut to 32 bits.

use crate::harness::{Daemon, OldBootstrap, Setup, await_hashed, is_unfinished, path_of, relative_files, wait_for};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

const GIB: u64 = 1 << 30;

/// Not a multiple of a group, and its last group begins beyond 4 GiB.
const SIZE: u64 = 4 * GIB + (1 << 20) + 4_321;

/// Where the file is not empty.
const MARKS: [u64; 5] = [0, GIB + 17, 4 * GIB - 8, 4 * GIB + 100, SIZE - 16];

/// Such a file takes longer than anything else here.
const LONG: Duration = Duration::from_secs(180);

fn mark(offset: u64) -> [u8; 16] {
    let mut text = [b'.'; 16];
    text[..8].copy_from_slice(&offset.to_be_bytes());
    text
}

fn write_sparse(path: &Path) {
    let file = File::create(path).expect("a fresh file");
    file.set_len(SIZE).expect("it can be sparse");
    for offset in MARKS {
        file.write_all_at(&mark(offset), offset).expect("it can be written");
    }
}

/// A directory in memory, if there is enough of it; else on the disk. It takes its content with it.
fn roomy() -> TempDir {
    let memory = Path::new("/dev/shm");
    let room = nix::sys::statvfs::statvfs(memory).map_or(0, |found| found.blocks_available() * found.fragment_size());
    let available = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = available.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next());
    let kib: u64 = available.and_then(|number| number.parse().ok()).unwrap_or(0);
    let mut builder = tempfile::Builder::new();
    builder.prefix("pyrate-large-");
    let enough = room > 5 * GIB && kib * 1024 > 8 * GIB;
    if enough { builder.tempdir_in(memory) } else { builder.tempdir() }.expect("a scratch directory")
}

/// Two daemons that share the same file. It is hashed once: the other takes over what the first remembers of it.
fn two_sources() -> [Daemon; 2] {
    let setup = Setup::peer();
    let share = setup.share();
    write_sparse(&share.join("sparse.bin"));
    let mut first = setup.start();
    wait_for("it is hashed", LONG, || (first.status()["unhashed_files"] == 0).then_some(()));
    first.stop();
    let second = Setup::peer().set("local_directory", &format!("'{}'", share.display()));
    for entry in std::fs::read_dir(first.home().join("state")).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_owned();
        if path.is_file() && name.as_encoded_bytes().starts_with(b"hashes") {
            std::fs::copy(&path, second.home().join("state").join(name)).expect("it can be copied");
        }
    }
    let second = second.start();
    first.start_again();
    let sources = [first, second];
    sources.iter().for_each(await_hashed);
    sources
}

#[test]
fn more_than_four_gigabytes_come_verified_from_two_sources() {
    let sources = two_sources();
    let bootstrap = OldBootstrap::listing(&sources.each_ref().map(Daemon::listen));
    let directory = roomy();
    let place = format!("'{}'", directory.path().display());
    let asker = Setup::peer().joins(&[bootstrap.addr()]).set("download_directory", &place).start();
    sources.iter().for_each(|source| asker.await_neighbour(source.listen()));
    let id = asker.begin_content("sparse.bin", 2);
    let done = wait_for("the download is done", LONG, || {
        let row = asker.download(id);
        assert!(!["failed", "paused"].iter().any(|state| row["state"] == *state), "{row}");
        (row["state"] == "done").then_some(row)
    });
    assert_eq!((&done["verified"], done["size"].as_u64()), (&true.into(), Some(SIZE)), "{done}");
    let shares: Vec<u64> =
        done["shares"].as_array().expect("rows").iter().map(|share| share["bytes"].as_u64().expect("bytes")).collect();
    assert!(shares.len() == 2 && shares.iter().all(|bytes| *bytes > SIZE / 10), "both helped: {shares:?}");
    assert!(asker.proc_status("VmHWM") < 200 << 10, "it is never held in memory");
    let file = File::open(path_of(&done)).expect("it is there");
    assert_eq!(file.metadata().expect("it is open").len(), SIZE);
    for offset in MARKS {
        let mut found = [0; 16];
        file.read_exact_at(&mut found, offset).expect("it is long enough");
        assert_eq!(found, mark(offset), "at {offset}");
    }
    assert!(!relative_files(directory.path()).iter().any(|name| is_unfinished(name)));
    drop(asker);
    let path = directory.path().to_owned();
    directory.close().expect("it can be removed");
    assert!(!path.exists());
}
