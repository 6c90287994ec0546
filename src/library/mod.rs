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
mod report;
mod search;
#[cfg(test)]
mod tests;
mod unseen;
mod view;

use crate::audience::{Audiences, first_component};
use crate::id::ContentHash;
use crate::name::FileName;
pub(crate) use filter::{FILTERS_MAX, FilterFault, size_without_unit, types};
pub(crate) use gather::Gather;
use index::{Index, Swept};
use leaf::Hash;
pub use left_out::LeftOut;
pub(crate) use query::{Fit, Query, Reach};
pub(crate) use report::EMPTY_DIRECTORIES_MAX;
pub use report::{FoundFiles, ScanReport};
pub(crate) use search::SearchCursor;
use std::ops::Bound;
use std::time::Duration;
use unseen::Unseen;
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
    /// Of the last scan: the sweep keeps what it could not see.
    unseen: Unseen,
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
        self.unseen.forget(share);
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

    /// Ends a scan. Unless no share could be read, calls of [`Library::sweep`] remove the files that it did not find. What it could not
    /// see stays.
    pub(crate) fn end_scan(&mut self, report: &mut ScanReport) {
        let mut empty = std::mem::take(&mut report.empty);
        let Some(unseen) = Unseen::of(report) else { return };
        self.sweep = Sweep::From(Bound::Unbounded);
        empty.extend(self.empty.iter().filter(|name| unseen.has(name.as_bytes())).cloned());
        empty.sort();
        empty.dedup();
        empty.truncate(EMPTY_DIRECTORIES_MAX);
        self.changes += u64::from(self.empty != empty);
        (self.empty, self.unseen) = (empty, unseen);
    }

    /// Examines about `entries_max` files and removes those that the last scan did not find. True while more are left.
    pub(crate) fn sweep(&mut self, entries_max: usize) -> bool {
        let mut entries_left = entries_max.max(1);
        while let Sweep::From(from) = &mut self.sweep {
            let bound = std::mem::replace(from, Bound::Unbounded);
            let Some(swept) = self.index.sweep_leaf(bound, self.generation, &self.unseen) else {
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
