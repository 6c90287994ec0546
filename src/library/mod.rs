//! The index of the shared files: names, sizes and hashes, updated by scans, searched and listed in slices.
//!
//! What is shared is looked up in what a requester sees of it ([`View`]).
//!
//! Does no I/O: the driver passes [`ScannedFile`]s and hashes to it, and `store` opens the files.
//!
//! A share may have a million files, so no call walks the whole index: `Library::sweep`, `View::search_step` and
//! `Library::gather_step` process a number of entries and return, and no table grows by copying itself.

mod directory;
mod filter;
mod fold;
mod gather;
mod index;
mod leaf;
mod left_out;
mod pattern;
mod query;
mod search;
#[cfg(test)]
mod tests;
mod view;

use crate::audience::{Audiences, first_component};
use crate::fault::DiskFault;
use crate::id::ContentHash;
use crate::left_out::LeftOutReason;
use crate::name::FileName;
pub(crate) use filter::{FILTERS_MAX, FilterFault, types};
pub(crate) use gather::Gather;
use index::{Index, Swept};
use leaf::Hash;
pub use left_out::LeftOut;
pub(crate) use query::{Fit, Query, Reach};
pub(crate) use search::SearchCursor;
use std::ops::Bound;
use std::time::Duration;
pub use view::View;

/// Further files that a scan finds are not shared.
pub(crate) const LIBRARY_FILES_MAX: u64 = 16_000_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedFile {
    /// Path relative to the share.
    pub name: FileName,
    pub meta: FileMeta,
    /// Its owner may execute it. chmod changes the ctime, so `meta` changes with this flag.
    pub executable: bool,
}

/// A file that has not been changed for this long is no [`RecentFile`].
pub const RECENT_MAX: Duration = Duration::from_secs(5);

/// A recently changed file, which may not be complete yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentFile {
    pub file: ScannedFile,
    /// The least time since its last change.
    pub quiet: Duration,
}

/// Size, times and identity of a shared file at the last scan: while all stay the same, so does the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileMeta {
    pub size: u64,
    /// Modification time, nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Change time, nanoseconds since the epoch: the system sets it at every change of the content or of the inode, and no
    /// program can restore it. So it detects a new file with the inode of a removed one, and a write whose modification time
    /// was restored. A rename, a link and a change of mode change it as well.
    pub ctime_ns: i64,
    pub inode: u64,
    /// Number of the device that the inode is on.
    pub device: u64,
}

/// A shared file, without its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared {
    /// From the last scan.
    pub meta: FileMeta,
    pub b3: Option<ContentHash>,
    /// From the last scan.
    pub executable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanReport {
    /// Names left out because they have control bytes or are too long for a message.
    pub names_refused: u64,
    /// The first of them, for the log: paths that are no [`FileName`].
    pub refused: Vec<Box<[u8]>>,
    /// Directories or files that could not be read.
    pub unreadable: u64,
    /// The first of them by name, for the log.
    pub unread: Vec<FileName>,
    /// Directories and files that could not be examined because of a system error: files known at or below these names stay.
    /// Counted in `unreadable` as well.
    pub hidden: Vec<FileName>,
    /// Directories left out because another filesystem is mounted there.
    pub other_mounts: u64,
    /// The first of them by name, for the user.
    pub mounts: Vec<FileName>,
    /// Directories in which nothing is shared, not even another directory, ascending; some are missing if there are too many.
    pub empty: Vec<FileName>,
    /// All that was left out, with what is counted above.
    pub left_out: LeftOut,
    /// Why the share itself could not be read: all known files stay.
    pub failed: Option<DiskFault>,
    /// A further share could be read.
    pub others_read: bool,
}

/// Empty directories that a report names.
pub(crate) const EMPTY_DIRECTORIES_MAX: usize = 10_000;

/// Most names of each kind that a report has.
const REPORT_NAMES_MAX: usize = 16;

impl ScanReport {
    /// Adds the report of a further share, whose files have names that begin with `name`. If it could not be read, its files stay.
    pub(crate) fn add(&mut self, name: &FileName, other: ScanReport) {
        let ScanReport {
            names_refused,
            refused,
            unreadable,
            unread,
            hidden,
            other_mounts,
            mounts,
            empty,
            left_out,
            failed,
            others_read: _,
        } = other;
        let beneath = |path: &[u8]| [name.as_bytes(), b"/", path].concat();
        // A path that is too long with the name of the share is that of no file in the library.
        let named = |paths: Vec<FileName>| {
            paths.into_iter().filter_map(move |path| FileName::from_bytes(&beneath(path.as_bytes())))
        };
        self.hidden.extend(named(hidden));
        let room = EMPTY_DIRECTORIES_MAX.saturating_sub(self.empty.len());
        let empty: Vec<FileName> = empty.iter().filter_map(|path| self.beneath(name, path)).take(room).collect();
        self.empty.extend(empty);
        self.empty.sort();
        self.names_refused += names_refused;
        self.refused.extend(refused.iter().map(|path| beneath(path).into()));
        self.refused.truncate(REPORT_NAMES_MAX);
        self.unreadable += unreadable;
        self.unread.extend(named(unread));
        self.other_mounts += other_mounts;
        self.mounts.extend(named(mounts));
        self.mounts.truncate(REPORT_NAMES_MAX);
        self.left_out.add(name.as_bytes(), left_out);
        self.others_read |= failed.is_none();
        if failed.is_some() {
            self.hidden.push(name.clone());
            self.unreadable += 1;
            self.unread.push(name.clone());
            self.left_out.note(LeftOutReason::Unreadable, name.as_bytes());
        }
        self.unread.sort();
        self.unread.truncate(REPORT_NAMES_MAX);
    }

    /// What is found in a further share, with the name of the share before it. `None`, and reported, if that is too long for a
    /// message.
    pub(crate) fn beneath(&mut self, share: &FileName, path: &FileName) -> Option<FileName> {
        let bytes = [share.as_bytes(), b"/", path.as_bytes()].concat();
        let named = FileName::from_bytes(&bytes);
        if named.is_none() {
            self.names_refused += 1;
            self.left_out.note(LeftOutReason::TooLong, &bytes);
            if self.refused.len() < REPORT_NAMES_MAX {
                self.refused.push(bytes.into());
            }
        }
        named
    }
}

/// The removal of files that the last scan did not find.
#[derive(Debug, Default)]
enum Sweep {
    #[default]
    Idle,
    /// Leaves from this bound on have not been examined.
    From(Bound<Box<[u8]>>),
}

#[derive(Debug, Default)]
pub struct Library {
    index: Index,
    files: u64,
    hashed: u64,
    /// 128 bits, since sparse files can have any size.
    bytes: u128,
    generation: u32,
    sweep: Sweep,
    /// From the last scan: the sweep keeps files at or below these names.
    hidden: Vec<FileName>,
    /// From the last scan that could read the share: see [`ScanReport::empty`].
    empty: Vec<FileName>,
    /// Changes so far of what is shared.
    changes: u64,
    audiences: Audiences,
}

impl Library {
    /// For whom the shares are.
    pub(crate) fn audiences(&self) -> &Audiences {
        &self.audiences
    }

    /// For whom the shares are from now on.
    pub(crate) fn set_audiences(&mut self, audiences: Audiences) {
        self.audiences.replace(audiences);
    }

    /// Whether there are files of a share, or in what has its name.
    pub(crate) fn has_share(&self, share: &[u8]) -> bool {
        self.index.first_of(share).is_some()
    }

    /// Another directory, or none, has the name of a share from now on: what is known beneath it is seen by nobody any more, and
    /// [`Library::drop_withdrawn`] removes it.
    pub(crate) fn withdraw(&mut self, share: &[u8]) {
        let is_of_share = |name: &FileName| first_component(name.as_bytes()) == share;
        let before = self.empty.len();
        self.empty.retain(|name| !is_of_share(name));
        self.hidden.retain(|name| !is_of_share(name));
        self.changes += u64::from(self.empty.len() != before);
        if self.has_share(share) {
            self.audiences.withdraw(share);
            self.changes += 1;
        }
    }

    /// Removes about `entries_max` files that are withdrawn. True while more are left.
    pub(crate) fn drop_withdrawn(&mut self, entries_max: usize) -> bool {
        let mut entries_left = entries_max.max(1);
        while let Some(share) = self.audiences.withdrawn().map(<[u8]>::to_vec) {
            let Some(name) = self.index.first_of(&share).map(<[u8]>::to_vec) else {
                self.audiences.forget_withdrawn(&share);
                continue;
            };
            if let Some(swept) = self.index.remove_from_leaf(&name, |name| first_component(name) == share) {
                self.note_swept(&swept);
                entries_left = entries_left.saturating_sub(swept.visited);
            }
            if entries_left == 0 {
                return true;
            }
        }
        false
    }

    fn note_swept(&mut self, swept: &Swept) {
        self.changes += swept.files;
        self.files -= swept.files;
        self.hashed -= swept.hashed;
        self.bytes -= swept.bytes;
    }

    pub fn len(&self) -> u64 {
        self.files
    }

    pub fn is_empty(&self) -> bool {
        self.files == 0
    }

    pub(crate) fn bytes(&self) -> u64 {
        u64::try_from(self.bytes).unwrap_or(u64::MAX)
    }

    /// Files whose hash is unknown, including those that cannot be hashed.
    pub fn unhashed(&self) -> u64 {
        self.files - self.hashed
    }

    /// A number that differs after each change of what is shared, or of what is known of it.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Begins a scan, whose files are then passed to [`Library::apply`]. Ends the sweep after an earlier scan.
    pub(crate) fn begin_scan(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.sweep = Sweep::Idle;
    }

    /// Adds or updates a file, and marks it as found by the running scan. Keeps its hash if the metadata are the same.
    pub(crate) fn apply(&mut self, file: ScannedFile) {
        let name = file.name.as_bytes();
        if self.files >= LIBRARY_FILES_MAX && self.index.get(name).is_none() {
            return;
        }
        match self.index.upsert(&file, self.generation) {
            Some(before) => {
                self.changes += u64::from((before.meta, before.executable) != (file.meta, file.executable));
                self.bytes -= u128::from(before.meta.size);
                self.hashed -= u64::from(before.b3.is_some() && before.meta != file.meta);
            }
            None => {
                self.files += 1;
                self.changes += 1;
            }
        }
        self.bytes += u128::from(file.meta.size);
    }

    /// Sets the hash of a file, unless the file has changed or was removed. Returns whether it did.
    pub(crate) fn set_b3(&mut self, file: &ScannedFile, b3: ContentHash) -> bool {
        let before = self.index.set_hash(file, Hash::Known(b3));
        self.hashed += u64::from(before.is_some_and(|before| before.b3.is_none()));
        self.changes += 1;
        before.is_some()
    }

    /// Marks a file that cannot be hashed: no [`Gather`] chooses it before the next scan. No effect if its hash is known, or
    /// if the file has changed.
    pub(crate) fn set_unhashable(&mut self, file: &ScannedFile) {
        self.index.set_hash(file, Hash::Unhashable);
    }

    pub(crate) fn remove(&mut self, name: &[u8]) -> bool {
        let removed = self.index.remove(name);
        if let Some(file) = removed {
            self.changes += 1;
            self.files -= 1;
            self.hashed -= u64::from(file.b3.is_some());
            self.bytes -= u128::from(file.meta.size);
        }
        removed.is_some()
    }

    /// Ends a scan. Unless it failed, calls of [`Library::sweep`] remove the files that it did not find.
    pub(crate) fn end_scan(&mut self, report: &mut ScanReport) {
        let empty = std::mem::take(&mut report.empty);
        if report.failed.is_none() {
            self.sweep = Sweep::From(Bound::Unbounded);
            self.hidden.clone_from(&report.hidden);
            self.changes += u64::from(self.empty != empty);
            self.empty = empty;
        }
    }

    /// Examines about `entries_max` files and removes those that the last scan did not find. True while more are left.
    pub(crate) fn sweep(&mut self, entries_max: usize) -> bool {
        let mut entries_left = entries_max.max(1);
        while let Sweep::From(from) = &mut self.sweep {
            let bound = std::mem::replace(from, Bound::Unbounded);
            let Some(swept) = self.index.sweep_leaf(bound, self.generation, &self.hidden) else {
                self.sweep = Sweep::Idle;
                break;
            };
            self.note_swept(&swept);
            self.sweep = Sweep::From(Bound::Excluded(swept.key));
            entries_left = entries_left.saturating_sub(swept.visited);
            if entries_left == 0 {
                return true;
            }
        }
        false
    }
}
