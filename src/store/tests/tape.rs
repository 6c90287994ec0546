//! What this thread has done to a disk, call by call; calls that are to fail; and a disk that can be cut off at any of
//! them.

use crate::store::reserve::Room;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// What reaches a disk alone.
const SECTOR_BYTES: u64 = 512;

/// A kind of call that can be told to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// Asking what stands at a name, which changes nothing.
    Stat,
    /// Another descriptor of a file, which changes nothing.
    Duplicate,
    Write,
    SetLen,
    Sync,
    SyncDirectory,
    Rename,
    Allocate,
}

/// A call that changed something. Files go by the number that stands for their inode.
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
    /// What was written before it and was not synced may be lost, whatever is synced later: Linux marks pages that it
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
struct Tape {
    ops: Option<Vec<Op>>,
    /// By inode.
    numbers: BTreeMap<u64, u64>,
    /// Kept open, so that no inode is used twice while the tape runs.
    held: Vec<File>,
    /// Calls that fail, after so many of their kind that do not.
    faults: Vec<(Call, usize, i32)>,
    room: Option<Room>,
    /// Neither exclusive renames nor hard links.
    plain_names: bool,
}

thread_local! {
    static TAPE: RefCell<Tape> = RefCell::default();
}

/// Begins a tape over a disk that was just [laid out](Disk::lay_out), or an empty one.
pub(crate) fn start() {
    TAPE.with_borrow_mut(|tape| tape.ops = Some(Vec::new()));
}

/// Calls on the tape.
pub(crate) fn position() -> usize {
    TAPE.with_borrow(|tape| tape.ops.as_ref().map_or(0, Vec::len))
}

/// Ends the tape.
pub(crate) fn stop() -> Vec<Op> {
    TAPE.with_borrow_mut(|tape| tape.ops.take().unwrap_or_default())
}

/// Forgets which inode stands for what.
pub(crate) fn reset() {
    TAPE.with_borrow_mut(|tape| *tape = Tape { plain_names: tape.plain_names, ..Tape::default() });
}

/// Lets the filesystem of this thread have neither exclusive renames nor hard links, or both again.
pub(crate) fn lack_exclusive_names(lack: bool) {
    TAPE.with_borrow_mut(|tape| tape.plain_names = lack);
}

pub(crate) fn lacks_exclusive_names() -> bool {
    TAPE.with_borrow(|tape| tape.plain_names)
}

/// Lets the next call of a kind that has not failed yet fail.
pub(crate) fn fail_next(call: Call, errno: i32) {
    TAPE.with_borrow_mut(|tape| tape.faults.push((call, 0, errno)));
}

/// Lets the call of a kind after the next one fail.
pub(crate) fn fail_second(call: Call, errno: i32) {
    TAPE.with_borrow_mut(|tape| tape.faults.push((call, 1, errno)));
}

/// Lets no call fail any more.
pub(crate) fn mend() {
    TAPE.with_borrow_mut(|tape| tape.faults.clear());
}

/// Lets this thread find so much room, or again as much as there is.
pub(crate) fn pretend_room(room: Option<Room>) {
    TAPE.with_borrow_mut(|tape| tape.room = room);
}

pub(crate) fn pretended_room() -> Option<Room> {
    TAPE.with_borrow(|tape| tape.room)
}

/// The number that stands for an inode: itself, unless a tape has run.
pub(crate) fn alias(inode: u64) -> u64 {
    TAPE.with_borrow_mut(|tape| {
        if tape.ops.is_none() && !tape.numbers.contains_key(&inode) {
            return inode;
        }
        // No inode has a number so high.
        let next = tape.numbers.values().max().map_or(0, |last| last + 1).max(1 << 60);
        *tape.numbers.entry(inode).or_insert(next)
    })
}

pub(crate) fn fault(call: Call) -> io::Result<()> {
    TAPE.with_borrow_mut(|tape| match tape.faults.iter_mut().position(|(failing, ..)| *failing == call) {
        Some(at) if tape.faults[at].1 == 0 => Err(io::Error::from_raw_os_error(tape.faults.remove(at).2)),
        Some(at) => {
            tape.faults[at].1 -= 1;
            Ok(())
        }
        None => Ok(()),
    })
}

fn note(op: impl FnOnce() -> Op) {
    TAPE.with_borrow_mut(|tape| {
        if let Some(ops) = &mut tape.ops {
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
    TAPE.with_borrow_mut(|tape| {
        if tape.ops.is_some() {
            tape.held.push(file.try_clone().unwrap());
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

/// One directory, as it stands on a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) files: BTreeMap<u64, Vec<u8>>,
    pub(crate) names: BTreeMap<Vec<u8>, u64>,
}

impl Disk {
    /// What a process that is killed leaves: every call before `end`, and of the one there perhaps a beginning.
    pub(crate) fn after_kill(&self, ops: &[Op], end: usize, dice: &mut Dice) -> Disk {
        let mut disk = self.clone();
        ops[..end].iter().for_each(|op| disk.apply(op));
        if let Some(Op::Write { file, at, bytes }) = ops.get(end) {
            let part = dice.roll(bytes.len() as u64 + 1) as usize;
            disk.apply(&Op::Write { file: *file, at: *at, bytes: bytes[..part].to_vec() });
        }
        disk
    }

    /// What power loss leaves after `end` calls: what was synced, and of all else whatever the dice say. Names change
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

    /// Each name has for itself what it had at some time since the directory was synced.
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
                // The size came, the data did not, and what the disk had there shows.
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

    /// Makes a directory what this disk says, for the calls that follow.
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
        TAPE.with_borrow_mut(|tape| tape.numbers = numbers);
    }
}
