//! Part files in the words of all that deal with them: node, driver and store.

use crate::id::{ContentHash, FilesystemId};
use crate::name::FileName;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Where a download is to be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// In this directory under this name, or ` (1)` and so on before the extension when that is taken.
    Suggested {
        /// Must exist: one that is missing may be on a filesystem that is not mounted.
        directory: PathBuf,
        /// A safe component (`FileName::safe_component`).
        name: FileName,
    },
    /// Exactly here: `DiskFault::Exists` when a file is there; inside it, under the name, when it is a directory.
    Exact {
        /// Absolute; its directory must exist.
        path: PathBuf,
        /// A safe component (`FileName::safe_component`), for a directory.
        name: FileName,
    },
    /// Exactly here beneath a directory: `DiskFault::Exists` when something else is there. Directories on the way are created; none
    /// of them may be a symbolic link.
    Within {
        /// Must exist: one that is missing may be on a filesystem that is not mounted.
        directory: PathBuf,
        /// Safe components (`FileName::safe_component`) with `/` between them.
        path: FileName,
        /// Whoever may read the file may execute it, too, as far as the umask allows.
        executable: bool,
    },
}

impl Target {
    /// The path that is known without looking at the disk: of the file, or of what it may turn out to lie in or beside.
    pub(crate) fn path(&self) -> PathBuf {
        let beneath = |directory: &PathBuf, name: &FileName| directory.join(OsStr::from_bytes(name.as_bytes()));
        match self {
            Self::Exact { path, .. } => path.clone(),
            Self::Suggested { directory, name } | Self::Within { directory, path: name, .. } => {
                beneath(directory, name)
            }
        }
    }
}

/// Which part file: the same for a download as long as it lives, across restarts, but for its filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartSpec {
    /// Where the download is to end; its part file lies in the same directory.
    pub target: Target,
    /// Chosen at random when the download began: tells its part file from those of others towards the same name.
    pub token: u32,
    /// The filesystem on which it was last open. On another one the download does not begin again: it waits for this one.
    pub filesystem: Option<FilesystemId>,
}

/// What a part file was found to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedPart {
    /// The hash of all its bytes.
    pub b3: ContentHash,
    /// Bytes: of the outline, or of the last stream.
    pub size: u64,
    /// Groups that are not what the outline says, ascending; they are not in the journal any more. Empty without an
    /// outline.
    pub bad: Vec<u64>,
}

/// Where a finished download stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedPart {
    /// The final path.
    pub path: PathBuf,
    /// A file of the same content stood there already: it was left as it is, and the part file removed.
    pub already: bool,
}
