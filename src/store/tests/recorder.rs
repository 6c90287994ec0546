//! Records the calls of this thread that change a disk, injects faults, and rebuilds the disk as a crash after any call leaves
//! it.

use crate::store::reserve::Room;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// A disk writes this many bytes atomically.
const SECTOR_BYTES: u64 = 512;

/// A kind of call that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// Changes nothing.
    Stat,
    /// Changes nothing.
    Duplicate,
    /// Changes nothing.
    Read,
    Write,
    SetLen,
    Sync,
    SyncDirectory,
    Rename,
    Allocate,
}

/// A call that changed something. Files have numbers instead of inodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Write {
        file: u64,
        at: u64,
        bytes: Vec<u8>,
    },
    SetLen {
        file: u64,
        len: u64,
    },
    Sync {
        file: u64,
    },
    /// Bytes written before it and not synced may be lost, whatever is synced later: Linux marks pages that it
    /// could not write as clean.
    FailedSync {
        file: u64,
    },
    Name {
        name: Vec<u8>,
        file: u64,
    },
    Rename {
        from: Vec<u8>,
        to: Vec<u8>,
    },
    Unlink {
        name: Vec<u8>,
    },
    SyncDirectory,
}

#[derive(Default)]
struct Recorder {
    ops: Option<Vec<Op>>,
    /// By inode.
    numbers: BTreeMap<u64, u64>,
    /// Kept open, so that no inode is used twice while recording.
    held: Vec<File>,
    /// Calls to fail, with the number of calls of their kind that succeed before.
    faults: Vec<(Call, usize, i32)>,
    room: Option<Room>,
    /// Bytes that are in the page cache only: files by inode.
    cached_only: Vec<(u64, Range<u64>)>,
    /// Neither exclusive renames nor hard links.
    plain_names: bool,
}

thread_local! {
    static RECORDER: RefCell<Recorder> = RefCell::default();
}

/// Starts recording on a disk that was just [laid out](Disk::lay_out), or an empty one.
pub(crate) fn start() {
    RECORDER.with_borrow_mut(|recorder| recorder.ops = Some(Vec::new()));
}

/// The number of recorded calls.
pub(crate) fn position() -> usize {
    RECORDER.with_borrow(|recorder| recorder.ops.as_ref().map_or(0, Vec::len))
}

/// Stops recording.
pub(crate) fn stop() -> Vec<Op> {
    RECORDER.with_borrow_mut(|recorder| recorder.ops.take().unwrap_or_default())
}

/// Forgets the numbers of inodes.
pub(crate) fn reset() {
    RECORDER
        .with_borrow_mut(|recorder| *recorder = Recorder { plain_names: recorder.plain_names, ..Recorder::default() });
}

/// Whether the filesystem of this thread lacks exclusive renames and hard links.
pub(crate) fn lack_exclusive_names(lack: bool) {
    RECORDER.with_borrow_mut(|recorder| recorder.plain_names = lack);
}

pub(crate) fn lacks_exclusive_names() -> bool {
    RECORDER.with_borrow(|recorder| recorder.plain_names)
}

/// Makes the next call of a kind fail.
pub(crate) fn fail_next(call: Call, errno: i32) {
    RECORDER.with_borrow_mut(|recorder| recorder.faults.push((call, 0, errno)));
}

/// Makes the call of a kind after the next one fail.
pub(crate) fn fail_second(call: Call, errno: i32) {
    RECORDER.with_borrow_mut(|recorder| recorder.faults.push((call, 1, errno)));
}

/// Ends all faults.
pub(crate) fn mend() {
    RECORDER.with_borrow_mut(|recorder| recorder.faults.clear());
}

/// Makes this thread see this free space, or the real one.
pub(crate) fn pretend_room(room: Option<Room>) {
    RECORDER.with_borrow_mut(|recorder| recorder.room = room);
}

pub(crate) fn pretended_room() -> Option<Room> {
    RECORDER.with_borrow(|recorder| recorder.room)
}

/// The disk has not written these bytes of a file, though they can be read as long as they are in the page cache.
pub(crate) fn keep_in_cache_only(file: &File, bytes: Range<u64>) {
    let inode = file.metadata().unwrap().ino();
    RECORDER.with_borrow_mut(|recorder| recorder.cached_only.push((inode, bytes)));
}

/// Replaces bytes that are in the page cache only by those of the disk, if they are among these.
pub(crate) fn lose_forgotten(file: &File, forgotten: &Range<u64>) {
    let inode = file.metadata().unwrap().ino();
    RECORDER.with_borrow_mut(|recorder| {
        let lost = |(of, bytes): &mut (u64, Range<u64>)| {
            *of == inode && forgotten.start <= bytes.start && bytes.end <= forgotten.end
        };
        for (_, bytes) in recorder.cached_only.extract_if(.., lost) {
            file.write_all_at(&vec![0; (bytes.end - bytes.start) as usize], bytes.start).unwrap();
        }
    });
}

/// The number that stands for an inode: itself, unless something was recorded.
pub(crate) fn alias(inode: u64) -> u64 {
    RECORDER.with_borrow_mut(|recorder| {
        if recorder.ops.is_none() && !recorder.numbers.contains_key(&inode) {
            return inode;
        }
        // No inode has a number so high.
        let next = recorder.numbers.values().max().map_or(0, |last| last + 1).max(1 << 60);
        *recorder.numbers.entry(inode).or_insert(next)
    })
}

pub(crate) fn fault(call: Call) -> io::Result<()> {
    RECORDER.with_borrow_mut(|recorder| match recorder.faults.iter_mut().position(|(failing, ..)| *failing == call) {
        Some(at) if recorder.faults[at].1 == 0 => Err(io::Error::from_raw_os_error(recorder.faults.remove(at).2)),
        Some(at) => {
            recorder.faults[at].1 -= 1;
            Ok(())
        }
        None => Ok(()),
    })
}

fn note(op: impl FnOnce() -> Op) {
    RECORDER.with_borrow_mut(|recorder| {
        if let Some(ops) = &mut recorder.ops {
            ops.push(op());
        }
    });
}

fn number(file: &File) -> u64 {
    alias(file.metadata().unwrap().ino())
}

pub(crate) fn note_write(file: &File, bytes: &[u8], at: u64) {
    let file = number(file);
    note(|| Op::Write { file, at, bytes: bytes.to_vec() });
}

pub(crate) fn note_len(file: &File, len: u64) {
    let file = number(file);
    note(|| Op::SetLen { file, len });
}

pub(crate) fn note_failed_sync(file: &File) {
    let file = number(file);
    note(|| Op::FailedSync { file });
}

pub(crate) fn note_sync(file: &File) {
    let file = number(file);
    note(|| Op::Sync { file });
}

pub(crate) fn note_name(name: &[u8], file: &File) {
    let number = number(file);
    note(|| Op::Name { name: name.to_vec(), file: number });
    RECORDER.with_borrow_mut(|recorder| {
        if recorder.ops.is_some() {
            recorder.held.push(file.try_clone().unwrap());
        }
    });
}

pub(crate) fn note_rename(from: &[u8], to: &[u8]) {
    note(|| Op::Rename { from: from.to_vec(), to: to.to_vec() });
}

pub(crate) fn note_unlink(name: &[u8]) {
    note(|| Op::Unlink { name: name.to_vec() });
}

pub(crate) fn note_sync_directory() {
    note(|| Op::SyncDirectory);
}

/// Numbers that a seed gives.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % sides
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }
}

/// One directory, as it is on a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) files: BTreeMap<u64, Vec<u8>>,
    pub(crate) names: BTreeMap<Vec<u8>, u64>,
}

impl Disk {
    /// The disk after a kill: every call before `end`, and perhaps the beginning of the one there.
    pub(crate) fn after_kill(&self, ops: &[Op], end: usize, dice: &mut Dice) -> Disk {
        let mut disk = self.clone();
        ops[..end].iter().for_each(|op| disk.apply(op));
        if let Some(Op::Write { file, at, bytes }) = ops.get(end) {
            let part = dice.roll(bytes.len() as u64 + 1) as usize;
            disk.apply(&Op::Write { file: *file, at: *at, bytes: bytes[..part].to_vec() });
        }
        disk
    }

    /// The disk after power loss after `end` calls: all that was synced, and random parts of the rest. Names change
    /// one by one, and writes sector by sector.
    pub(crate) fn after_power_loss(&self, ops: &[Op], end: usize, dice: &mut Dice) -> Disk {
        let ops = &ops[..end];
        let luck = [0, 30, 70, 95, 100][dice.roll(5) as usize];
        let mut disk = self.clone();
        let is_synced = |file: u64, at: usize| {
            let syncs = ops[at..]
                .iter()
                .filter(|op| matches!(op, Op::Sync { file: f } | Op::FailedSync { file: f } if *f == file));
            syncs.take(1).any(|op| matches!(op, Op::Sync { .. }))
        };
        for (at, op) in ops.iter().enumerate() {
            match op {
                Op::Write { file, .. } | Op::SetLen { file, .. } if is_synced(*file, at) => disk.apply(op),
                Op::Write { file, at, bytes } => disk.write_some(*file, *at, bytes, luck, dice),
                Op::SetLen { .. } if dice.chance(luck) => disk.apply(op),
                _ => {}
            }
        }
        disk.names = self.names_after_power_loss(ops, luck, dice);
        for number in disk.names.values() {
            disk.files.entry(*number).or_default();
        }
        disk
    }

    /// Each name independently has one of its states since the directory was synced.
    fn names_after_power_loss(&self, ops: &[Op], luck: u64, dice: &mut Dice) -> BTreeMap<Vec<u8>, u64> {
        let synced = ops.iter().rposition(|op| *op == Op::SyncDirectory).unwrap_or(0);
        let mut states = Vec::new();
        let mut disk = Disk { files: BTreeMap::new(), names: self.names.clone() };
        for (at, op) in ops.iter().enumerate() {
            if at >= synced {
                states.push(disk.names.clone());
            }
            disk.apply(op);
        }
        states.push(disk.names);
        let all: std::collections::BTreeSet<&Vec<u8>> = states.iter().flat_map(BTreeMap::keys).collect();
        let mut names = BTreeMap::new();
        for name in all {
            let last = states.len() - 1;
            let state = if dice.chance(luck) { last } else { dice.roll(states.len() as u64) as usize };
            if let Some(number) = states[state].get(name) {
                names.insert(name.clone(), *number);
            }
        }
        names
    }

    fn write_some(&mut self, file: u64, at: u64, bytes: &[u8], luck: u64, dice: &mut Dice) {
        let end = at + bytes.len() as u64;
        let mut start = at;
        while start < end {
            let stop = ((start / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
            let piece = &bytes[(start - at) as usize..(stop - at) as usize];
            if dice.chance(luck) {
                self.apply(&Op::Write { file, at: start, bytes: piece.to_vec() });
            } else if dice.chance(10) && self.files.get(&file).is_none_or(|old| old.len() as u64 <= start) {
                // The size was written, the data were not: the old bytes of the disk are there.
                let rubbish = piece.iter().map(|_| dice.roll(256) as u8).collect();
                self.apply(&Op::Write { file, at: start, bytes: rubbish });
            }
            start = stop;
        }
    }

    pub(crate) fn apply(&mut self, op: &Op) {
        match op {
            Op::Write { file, at, bytes } => {
                let content = self.files.entry(*file).or_default();
                let end = *at as usize + bytes.len();
                if content.len() < end && !bytes.is_empty() {
                    content.resize(end, 0);
                }
                content[*at as usize..end].copy_from_slice(bytes);
            }
            Op::SetLen { file, len } => self.files.entry(*file).or_default().resize(*len as usize, 0),
            Op::Name { name, file } => {
                self.files.entry(*file).or_default();
                self.names.insert(name.clone(), *file);
            }
            Op::Rename { from, to } => {
                if let Some(number) = self.names.remove(from) {
                    self.names.insert(to.clone(), number);
                }
            }
            Op::Unlink { name } => drop(self.names.remove(name)),
            Op::Sync { .. } | Op::FailedSync { .. } | Op::SyncDirectory => {}
        }
    }

    /// Creates this directory, for the calls that follow.
    pub(crate) fn lay_out(&self, directory: &Path) {
        reset();
        for entry in fs::read_dir(directory).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        let mut numbers = BTreeMap::new();
        for (name, number) in &self.names {
            let path = directory.join(std::str::from_utf8(name).unwrap());
            let file = File::create_new(path).unwrap();
            file.write_all_at(&self.files[number], 0).unwrap();
            numbers.insert(file.metadata().unwrap().ino(), *number);
        }
        RECORDER.with_borrow_mut(|recorder| recorder.numbers = numbers);
    }
}
