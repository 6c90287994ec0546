//! Groups, their journal, and syncing.

use super::super::journal::{self, Loaded};
use super::super::sync::SyncContent;
use super::*;
use crate::content::{ChainHasher, ChainingValue};
use crate::store::reserve::Room;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

/// A part file with this outline and nothing else.
fn begun(directory: &Path, content: &Content) -> PartFile {
    let mut part = suggested(directory).ready();
    part.set_outline(content.outline.clone()).unwrap();
    part
}

fn load(path: &Path) -> Option<Loaded> {
    journal::load(&File::open(path).unwrap()).unwrap()
}

/// Groups that count, and those of them that must be hashed first.
fn held(loaded: &Loaded) -> (Vec<u64>, Vec<u64>) {
    let all = (0..loaded.verified.count()).filter(|&group| loaded.verified.contains(group)).collect();
    (all, loaded.unsynced.clone())
}

#[test]
fn only_whole_groups_of_an_outline_are_accepted() {
    let (scratch, content) = (scratch(), Content::of(2, 3));
    let refused = Err(DiskFault::Other(nix::libc::EINVAL));
    let mut part = suggested(scratch.path()).ready();
    assert_eq!(part.write_group(0, content.group(0)), refused);
    part.set_outline(content.outline.clone()).unwrap();
    for (group, bytes) in [(0, &content.bytes[..100]), (1, content.group(0)), (2, &[]), (u64::MAX, &[1])] {
        assert_eq!(part.write_group(group, bytes), refused, "{group}");
    }
    assert_eq!(part.append(b"unchecked"), Err(DiskFault::Other(nix::libc::EINVAL)));
    assert_eq!(part.restart(), Err(DiskFault::Other(nix::libc::EINVAL)));
    assert_eq!(part.write_group(1, content.group(1)), Ok(true));
    assert_eq!(part.write_group(1, content.group(1)), Ok(false));
    assert_eq!(part.held(), [1]);
}

#[test]
fn an_empty_and_a_small_content_need_no_chaining_values() {
    for size in [0, 1, GROUP_BYTES as usize] {
        let (scratch, content) = (scratch(), Content::new(vec![9; size]));
        let mut part = begun(scratch.path(), &content);
        assert!(size == 0 || part.put(&content, 0));
        assert!(part.verified().is_full() && !part.sync(), "its hash says what a journal would");
        part.close();
        let mut part = suggested(scratch.path()).wanting(&content).ready();
        assert!(part.verified().is_full() && part.outline() == Some(&content.outline));
        assert_eq!(part.check().bad, [0u64; 0]);
        assert_eq!(fs::read(part.commit().run().unwrap().path).unwrap().len(), size);
    }
}

#[test]
fn a_small_content_that_is_not_whole_on_the_disk_begins_again() {
    let (scratch, content) = (scratch(), Content::new(vec![9; 70_000]));
    let mut part = begun(scratch.path(), &content);
    assert!(part.put(&content, 0));
    let path = part.part_path();
    part.close();
    let wanted = suggested(scratch.path()).wanting(&content);
    let opened = wanted.clone().ready();
    assert_eq!(opened.held(), [0]);
    // An earlier sync may have failed.
    recorder::keep_in_cache_only(&File::open(&path).unwrap(), 0..70_000);
    drop(opened);
    assert!(wanted.clone().ready().outline().is_none(), "it was in the page cache only");
    fs::write(&path, &content.bytes[..69_999]).unwrap();
    assert!(wanted.clone().ready().outline().is_none());
    fs::write(&path, &content.bytes).unwrap();
    assert_eq!(wanted.clone().ready().held(), [0]);
    fs::write(&path, vec![8; 70_000]).unwrap();
    assert!(wanted.clone().ready().outline().is_none());
}

#[test]
fn an_outline_of_the_same_content_keeps_the_groups_and_that_of_another_starts_again() {
    let (scratch, one, two) = (scratch(), Content::of(3, 1), Content::of(2, 2));
    let mut part = begun(scratch.path(), &one);
    part.put(&one, 1);
    part.set_outline(Arc::new(Outline::clone(&one.outline))).unwrap();
    assert_eq!(part.held(), [1]);
    let refused = Err(OutlineRefused::Contradicted);
    assert_eq!(part.set_outline(one.claimed_small(5)), refused, "what is verified is no content of one group");
    // A false size with the same chaining values.
    part.set_outline(one.claimed(2 * GROUP_BYTES + 9)).unwrap();
    assert_eq!((part.held(), part.len()), (vec![1], 2 * GROUP_BYTES + 9));
    assert_eq!(fs::metadata(part.part_path()).unwrap().len(), 2 * GROUP_BYTES + 9);
    part.close();
    let mut part = suggested(scratch.path()).ready();
    assert_eq!((part.held(), part.len()), (vec![1], 2 * GROUP_BYTES + 9));
    part.set_outline(one.outline.clone()).unwrap();
    assert!(part.put(&one, 2) && part.put(&one, 0) && !part.put(&one, 1));
    part.sync();
    for claimed in [one.claimed(2 * GROUP_BYTES + 9), one.claimed(3 * GROUP_BYTES), one.claimed_small(5)] {
        assert_eq!(part.set_outline(claimed), refused, "the last group has proved the size");
    }
    assert_eq!((part.held(), part.outline()), (vec![0, 1, 2], Some(&one.outline)));
    // The journal of the earlier bytes is durably removed before others are written.
    recorder::start();
    part.set_outline(two.outline.clone()).unwrap();
    let ops = recorder::stop();
    let at = |wanted: &dyn Fn(&recorder::Op) -> bool| ops.iter().position(wanted).unwrap();
    let journal = part.place.journal_name();
    let gone = at(&|op| matches!(op, recorder::Op::Unlink { name } if *name == journal));
    let lasting = at(&|op| *op == recorder::Op::SyncDirectory);
    assert!(gone < lasting && lasting < at(&|op| matches!(op, recorder::Op::SetLen { .. })), "{ops:?}");
    part.close();
    let part = suggested(scratch.path()).ready();
    assert_eq!((part.outline(), part.held()), (Some(&two.outline), vec![]));
    recorder::reset();
}

/// Beside those of the part file, which have a permit.
#[test]
fn a_sync_takes_one_descriptor() {
    let (scratch, content) = (scratch(), Content::of(18, 1));
    let mut part = begun(scratch.path(), &content);
    let job = part.sync_job(false).unwrap();
    let SyncContent::Groups(sync) = &job.content else { panic!("{job:?}") };
    let directory = sync.directory.as_ref().expect("the new journal has no durable name");
    assert_eq!(directory.as_raw_fd(), part.place.directory().as_raw_fd());
    let names = |fd: i32| fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let of_journal = open.filter(|entry| fs::read_link(entry.path()).is_ok_and(|path| path == part.journal_path()));
    assert_eq!((of_journal.count(), names(sync.journal.as_raw_fd())), (1, part.journal_path()));
    assert_ne!(job.part.as_raw_fd(), part.held.as_raw_fd(), "the lock ends when the part file is closed");
}

#[test]
fn a_sync_is_due_at_first_and_whenever_many_groups_wait() {
    let (scratch, content) = (scratch(), Content::of(18, 1));
    let mut part = begun(scratch.path(), &content);
    let job = part.sync_job(false).unwrap();
    assert!(part.sync_job(false).is_none() && part.sync_job(true).is_none(), "one is out");
    drop(job);
    let job = part.sync_job(false).unwrap();
    let synced = job.run().unwrap();
    assert!(part.sync_job(false).is_none(), "its outcome is out");
    part.synced(synced).unwrap();
    let taken = fs::metadata(part.part_path()).unwrap().blocks() * 512;
    assert!(taken >= part.len() || !part.ledger().unwrap().is_allocated());
    for group in 0..15 {
        part.put(&content, group);
    }
    assert!(part.sync_job(false).is_none());
    part.put(&content, 15);
    let job = part.sync_job(false).unwrap();
    // Groups written while it runs are not covered.
    part.put(&content, 17);
    let synced = job.run().unwrap();
    part.synced(synced).unwrap();
    assert_eq!(held(&load(&part.journal_path()).unwrap()), ((0..16).chain([17]).collect(), vec![17]));
    assert!(part.sync_job(false).is_none());
    assert!(part.sync() && !part.sync());
    assert_eq!(held(&load(&part.journal_path()).unwrap()).1, [0u64; 0]);
    // The end of a stream is synced with its name.
    let mut other = stream(suggested(scratch.path()).token(1), b"x");
    assert!(other.sync_job(false).is_none() && other.sync_job(true).is_none());
}

#[test]
fn the_mark_of_an_earlier_outline_is_ignored() {
    let (scratch, one, two) = (scratch(), Content::of(2, 1), Content::of(2, 2));
    let mut part = begun(scratch.path(), &one);
    assert!(part.put(&one, 0) && part.put(&one, 1));
    let late = part.sync_job(false).unwrap().run().unwrap();
    part.set_outline(two.outline.clone()).unwrap();
    assert!(part.put(&two, 1));
    part.synced(late).unwrap();
    assert_eq!(held(&load(&part.journal_path()).unwrap()), (vec![1], vec![1]));
    assert!(part.sync());
    assert_eq!(held(&load(&part.journal_path()).unwrap()), (vec![1], vec![]));
}

#[test]
fn groups_after_the_mark_count_only_if_their_bytes_are_there() {
    let (scratch, content) = (scratch(), Content::of(5, 1));
    let mut part = begun(scratch.path(), &content);
    assert!(part.put(&content, 0) && part.put(&content, 1) && part.sync());
    assert!(part.put(&content, 2) && part.put(&content, 3) && part.put(&content, 4));
    let file = fs::OpenOptions::new().write(true).open(part.part_path()).unwrap();
    file.write_all_at(b"lost", 3 * GROUP_BYTES + 7).unwrap();
    part.close();
    let part = suggested(scratch.path()).ready();
    assert_eq!(part.held(), [0, 1, 2, 4]);
    assert_eq!(held(&load(&part.journal_path()).unwrap()), (vec![0, 1, 2, 4], vec![]), "the journal is short again");
}

/// A journal with marked groups and others.
fn journal_bytes(directory: &Path) -> (Vec<u8>, PathBuf) {
    let content = Content::of(4, 5);
    let mut part = begun(directory, &content);
    assert!(part.put(&content, 3) && part.sync());
    part.close();
    // Now it has verified groups in its header, too.
    let mut part = suggested(directory).ready();
    assert!(part.put(&content, 0) && part.sync() && part.put(&content, 1));
    let path = part.journal_path();
    part.close();
    (fs::read(&path).unwrap(), path)
}

#[test]
fn no_flipped_bit_adds_groups_to_a_journal() {
    let scratch = scratch();
    let (bytes, _) = journal_bytes(scratch.path());
    let path = scratch.path().join("copy");
    let truth = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        load(&path)
    };
    let whole = truth(&bytes).unwrap();
    assert_eq!(held(&whole), (vec![0, 1, 3], vec![1]));
    let assert_no_more = |found: Option<Loaded>, what: &str| {
        let Some(found) = found else { return };
        assert_eq!((found.inode, &found.outline), (whole.inode, &whole.outline), "{what}");
        let (all, unsynced) = held(&found);
        assert!(all.iter().all(|group| [0, 1, 3].contains(group)), "{what}: {all:?}");
        assert!(unsynced.contains(&1) || !all.contains(&1), "{what}: 1 was not synced");
    };
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_no_more(truth(&flipped), &format!("bit {bit}"));
    }
    for len in 0..bytes.len() {
        assert_no_more(truth(&bytes[..len]), &format!("cut at {len}"));
    }
    for tail in [&[0; 16][..], &[0xff; 160], &bytes[bytes.len() - 48..], &bytes[..]] {
        assert_eq!(held(&truth(&[&bytes, tail].concat()).unwrap()), held(&whole));
    }
    // Records in another order, or twice, are no records.
    let mut swapped = bytes.clone();
    let records = swapped.len() - 48;
    swapped.copy_within(records + 32.., records);
    assert_eq!(held(&truth(&swapped).unwrap()), (vec![3], vec![]));
}

#[test]
fn records_of_an_earlier_journal_of_the_same_content_do_not_count() {
    let scratch = scratch();
    let (old, path) = journal_bytes(scratch.path());
    let mut part = suggested(scratch.path()).ready();
    let content = Content::of(4, 5);
    part.set_outline(Content::of(2, 9).outline).unwrap();
    part.set_outline(content.outline.clone()).unwrap();
    let new = fs::read(&path).unwrap();
    assert_eq!(held(&load(&path).unwrap()), (vec![], vec![]));
    fs::write(&path, [&new, &old[old.len() - 48..]].concat()).unwrap();
    assert_eq!(held(&load(&path).unwrap()), (vec![], vec![]));
}

#[test]
fn a_file_that_is_no_journal_is_not_read_as_one() {
    let scratch = scratch();
    let path = scratch.path().join("journal");
    let header = |size: u64, chain: u64, base: u64| {
        let mut bytes = b"pyrate-journal 1".to_vec();
        [7, 7, size].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        bytes.extend([3; 32]);
        [chain, base].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        let seal = *blake3::hash(&bytes).as_bytes();
        [&bytes[..], &seal].concat()
    };
    let huge = u64::MAX.div_ceil(GROUP_BYTES);
    for bytes in [
        vec![],
        b"pyrate-journal 2".to_vec(),
        vec![0; 4096],
        header(u64::MAX, huge, 0),
        header(u64::MAX, u64::MAX, u64::MAX),
        header(2 * GROUP_BYTES, 2, 0),
        header(2 * GROUP_BYTES, 0, 0),
        header(9, 0, 1),
        header(9, 0, u64::MAX),
    ] {
        fs::write(&path, bytes).unwrap();
        assert!(load(&path).is_none());
    }
    fs::write(&path, header(9, 0, 0)).unwrap();
    assert!(load(&path).is_some());
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert!(load(&path).is_none(), "longer than any journal");
}

#[test]
fn a_part_file_beyond_4_gib_is_sparse() {
    // Invented chaining values: they prove their hash as well as real ones.
    let size = 5 * 1024 * GROUP_BYTES + 5;
    let chain: Vec<_> = (0..=5 * 1024_u64).map(|n| ChainingValue(*blake3::hash(&n.to_le_bytes()).as_bytes())).collect();
    let mut hasher = ChainHasher::default();
    chain.iter().for_each(|value| hasher.push(*value));
    let outline = Arc::new(Outline::new(hasher.finish().unwrap(), size, chain).unwrap());

    let scratch = scratch();
    recorder::pretend_room(Some(Room { free: u64::MAX, total: u64::MAX }));
    let request = || PartRequest { size: Some(size), ..suggested(scratch.path()) };
    let mut part = request().ready();
    part.set_outline(outline.clone()).unwrap();
    let bytes = vec![7; GROUP_BYTES as usize];
    assert!(part.write_group(5000, &bytes).unwrap());
    assert!(part.write_group(5120, b"12345").unwrap());
    let found = fs::metadata(part.part_path()).unwrap();
    assert_eq!(found.len(), size);
    assert!(found.blocks() * 512 < 16 * GROUP_BYTES, "{} blocks", found.blocks());
    let (mut start, mut end) = ([0; 3], [0; 5]);
    part.held.read_exact_at(&mut start, 5000 * GROUP_BYTES - 1).unwrap();
    part.held.read_exact_at(&mut end, size - 5).unwrap();
    assert_eq!((start, &end), ([0, 7, 7], b"12345"));
    part.close();
    let part = request().ready();
    assert_eq!((part.outline(), part.len()), (Some(&outline), size));
    assert_eq!(part.held(), [0u64; 0], "they were hashed again, and are not what was claimed");
    recorder::pretend_room(None);
}
