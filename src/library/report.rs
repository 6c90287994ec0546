//! What a scan reports at its end, also of several shares together.

use super::{LeftOut, ScannedFile};
use crate::fault::DiskFault;
use crate::left_out::LeftOutReason;
use crate::name::FileName;

/// What a scan has to tell beside the files.
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
    /// Why the share whose files have no name before theirs could not be read: all its files stay.
    pub failed: Option<DiskFault>,
    /// A further share could be read.
    pub others_read: bool,
    /// What was found in each share, or why it could not be read; `None` names the share whose files have no name before theirs. Those
    /// that wait for the next start are not among them.
    pub shares: Vec<(Option<FileName>, Result<FoundFiles, DiskFault>)>,
}

/// What a scan has found in one share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FoundFiles {
    pub files: u64,
    /// 128 bits, since sparse files can have any size.
    pub bytes: u128,
}

impl FoundFiles {
    pub(crate) fn add(&mut self, file: &ScannedFile) {
        self.files += 1;
        self.bytes += u128::from(file.meta.size);
    }
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
            shares,
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
        self.shares.extend(shares);
        self.others_read |= failed.is_none();
        if failed.is_some() {
            self.hidden.push(name.clone());
            self.unreadable += 1;
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
