//! How often small files are synced, and that this is enough.

use super::*;
use crate::part::CommittedPart;
use crate::store::part::commit_all;
use crate::store::tests::recorder::{Call, Dice, Disk, Op};
use std::ops::Range;

const FILES: Range<u32> = 0..5;

fn content(number: u32) -> Content {
    Content::of(1, number as u8)
}

fn at(directory: &Path, number: u32) -> PathBuf {
    directory.join(number.to_string())
}

/// A file of one group, received and verified.
fn received(directory: &Path, number: u32) -> PartFile {
    let content = content(number);
    let mut part = exact(&at(directory, number)).token(number).wanting(&content).ready();
    part.set_outline(content.outline.clone()).unwrap();
    part.put(&content, 0);
    assert!(part.held() == [0] && !part.sync(), "it is synced when it gets its name");
    assert_eq!(part.check().bad, [0_u64; 0]);
    part
}

fn commit(directory: &Path) -> Vec<Result<CommittedPart, DiskFault>> {
    commit_all(FILES.map(|number| received(directory, number).commit()).collect())
}

fn count(ops: &[Op], is_it: impl Fn(&Op) -> bool) -> usize {
    ops.iter().filter(|op| is_it(op)).count()
}

#[test]
fn small_files_are_synced_once_and_their_directory_once_for_all() {
    let scratch = scratch();
    recorder::start();
    let committed = commit(scratch.path());
    let ops = recorder::stop();
    let paths = FILES.map(|number| Ok(CommittedPart { path: at(scratch.path(), number), already: false }));
    assert_eq!(committed, paths.collect::<Vec<_>>());
    assert_eq!(count(&ops, |op| matches!(op, Op::Sync { .. })), FILES.len());
    assert_eq!(count(&ops, |op| *op == Op::SyncDirectory), 1);
    let new = count(&ops, |op| matches!(op, Op::Name { .. }));
    assert_eq!(new, FILES.len(), "there are no journals");
}

#[test]
fn a_part_file_that_was_there_before_is_opened_with_a_sync() {
    let scratch = scratch();
    let syncs = |request: PartRequest| {
        recorder::start();
        drop(request.ready());
        count(&recorder::stop(), |op| *op == Op::SyncDirectory)
    };
    let request = suggested(scratch.path());
    assert_eq!((syncs(request.clone()), syncs(request.clone())), (0, 1));
    let known = request.clone().ready().filesystem;
    request.clone().remove().unwrap();
    assert_eq!(syncs(request.clone().on(known)), 1, "it had one, whatever became of that");
    // A journal that is left must not come back.
    request.clone().remove().unwrap();
    fs::write(request.clone().ready().journal_path(), b"left").unwrap();
    fs::remove_file(request.clone().ready().part_path()).unwrap();
    fs::write(scratch.path().join(format!(".a.txt.{TOKEN:08x}.pyrate-journal")), b"left").unwrap();
    assert_eq!(syncs(request), 1);
}

#[test]
fn a_part_file_is_discarded_for_good_before_the_next_is_created() {
    let (scratch, content) = (scratch(), Content::of(2, 1));
    let mut part = suggested(scratch.path()).ready();
    part.set_outline(content.outline.clone()).unwrap();
    recorder::start();
    part.discard().unwrap();
    assert_eq!(recorder::stop().last(), Some(&Op::SyncDirectory));
}

#[test]
fn no_crash_leaves_a_final_name_without_the_whole_content() {
    let scratch = scratch();
    let mut dice = Dice::new(1);
    Disk::default().lay_out(scratch.path());
    recorder::start();
    assert!(commit(scratch.path()).iter().all(Result::is_ok));
    let ops = recorder::stop();
    for end in 0..=ops.len() {
        let killed = Disk::default().after_kill(&ops, end, &mut dice);
        let unpowered = (0..20).map(|_| Disk::default().after_power_loss(&ops, end, &mut dice));
        for disk in unpowered.collect::<Vec<_>>().into_iter().chain([killed]) {
            for number in FILES {
                let found = disk.names.get(number.to_string().as_bytes()).map(|file| &disk.files[file]);
                let is_whole = found.is_none_or(|bytes| *bytes == content(number).bytes);
                assert!(is_whole, "{number} is wrong after {end} of {} calls", ops.len());
                assert!(found.is_some() || end < ops.len(), "{number} is lost");
            }
        }
    }
    recorder::reset();
}

#[test]
fn all_names_are_released_if_their_directory_cannot_be_synced() {
    let scratch = scratch();
    let jobs = FILES.map(|number| received(scratch.path(), number).commit()).collect();
    recorder::fail_next(Call::SyncDirectory, nix::libc::EIO);
    let fault = Err(DiskFault::Other(nix::libc::EIO));
    assert_eq!(commit_all(jobs), vec![fault; FILES.len()]);
    assert!(names(scratch.path()).iter().all(|name| name.starts_with('.')), "{:?}", names(scratch.path()));
    assert!(commit(scratch.path()).iter().all(Result::is_ok));
}

#[test]
fn one_that_fails_holds_up_no_other() {
    let scratch = scratch();
    let parts: Vec<PartFile> = FILES.map(|number| received(scratch.path(), number)).collect();
    fs::write(at(scratch.path(), 1), b"another program was faster").unwrap();
    fs::remove_file(parts[3].part_path()).unwrap();
    let committed = commit_all(parts.into_iter().map(PartFile::commit).collect());
    let faults: Vec<_> = committed.into_iter().map(Result::err).collect();
    assert_eq!(faults, [None, Some(DiskFault::Exists), None, Some(DiskFault::Missing), None]);
}
