//! Part files: what a download grows in, hidden beside the place where it is to end.

use crate::content::{Groups, Outline};
use crate::fault::DiskFault;
use crate::id::ContentHash;
use crate::name::FileName;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a download is to be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartPlace {
    /// In this directory under this name, or ` (1)` and so on before the extension when that is taken.
    Suggested {
        /// Created if missing.
        directory: PathBuf,
        /// Its safe component is taken.
        name: FileName,
    },
    /// Exactly here; inside it, under the name, when it is a directory.
    Exact {
        /// The path.
        path: PathBuf,
        /// For a directory: its safe component is taken.
        name: FileName,
    },
}

/// Which part file, and what it is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartRequest {
    /// Where the download is to end.
    pub place: PartPlace,
    /// Tells its part file from those of others towards the same name.
    pub token: u32,
    /// The content wanted, if it is known.
    pub b3: Option<ContentHash>,
    /// Bytes, as far as somebody has said.
    pub size: Option<u64>,
}

impl PartRequest {
    /// Creates the part file or takes up the one that is there.
    ///
    /// # Errors
    /// As the system reports.
    pub fn open(self) -> Result<PartOpened, DiskFault> {
        unimplemented!()
    }

    /// Removes part file and journal.
    ///
    /// # Errors
    /// As the system reports.
    pub fn remove(self) -> Result<(), DiskFault> {
        unimplemented!()
    }
}

/// A part file that was asked for.
#[derive(Debug)]
pub enum PartOpened {
    /// It is open.
    Ready(PartFile),
    /// A file of the content wanted stands at the final name already.
    AlreadyThere(PathBuf),
}

/// A part file that is open.
#[derive(Debug)]
pub struct PartFile {
    final_path: PathBuf,
    len: u64,
    outline: Option<Arc<Outline>>,
    verified: Groups,
}

impl PartFile {
    /// The path it will have when it is committed, unless that is taken meanwhile.
    pub fn final_path(&self) -> &Path {
        &self.final_path
    }

    /// The content that it grows to, if that is known.
    pub fn outline(&self) -> Option<&Arc<Outline>> {
        self.outline.as_ref()
    }

    /// The groups that hold the right bytes; of no group without an outline.
    pub fn verified(&self) -> &Groups {
        &self.verified
    }

    /// Sets what the part file is to hold: nothing is verified then.
    ///
    /// # Errors
    /// As the system reports.
    pub fn set_outline(&mut self, _outline: Arc<Outline>) -> Result<(), DiskFault> {
        unimplemented!()
    }

    /// Writes a group whose hash the caller has checked. False: it was verified already, nothing was written.
    ///
    /// # Errors
    /// As the system reports.
    pub fn write_group(&mut self, _group: u64, _bytes: &[u8]) -> Result<bool, DiskFault> {
        unimplemented!()
    }

    /// Begins a stream at the start. What is there stays until it is written over.
    ///
    /// # Errors
    /// With an outline.
    pub fn restart(&mut self) -> Result<(), DiskFault> {
        unimplemented!()
    }

    /// Appends to the stream.
    ///
    /// # Errors
    /// As the system reports.
    pub fn append(&mut self, _bytes: &[u8]) -> Result<(), DiskFault> {
        unimplemented!()
    }

    /// Bytes: of the outline, or of the stream so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A job when one is due and none is out.
    pub fn sync_job(&mut self) -> Option<SyncJob> {
        unimplemented!()
    }

    /// A job for whatever is not synced, however little, when none is out.
    pub fn sync_rest_job(&mut self) -> Option<SyncJob> {
        unimplemented!()
    }

    /// Takes what a job brought.
    ///
    /// # Errors
    /// As the system reports.
    pub fn synced(&mut self, _synced: Synced) -> Result<(), DiskFault> {
        unimplemented!()
    }

    /// Begins to read it from end to end.
    ///
    /// # Errors
    /// As the system reports.
    pub fn begin_check(&mut self) -> Result<PartCheck, DiskFault> {
        unimplemented!()
    }

    /// Makes the job that gives the file its final name.
    pub fn commit(self) -> CommitJob {
        unimplemented!()
    }

    /// Closes it; file and journal stay.
    pub fn close(self) {}

    /// Removes file and journal.
    pub fn discard(self) {}
}

/// A job for a helper thread: waits for the disk.
#[derive(Debug)]
pub struct SyncJob {}

impl SyncJob {
    /// Runs it.
    ///
    /// # Errors
    /// As the system reports.
    pub fn run(self) -> Result<Synced, DiskFault> {
        unimplemented!()
    }
}

/// What a [`SyncJob`] brought.
#[derive(Debug)]
pub struct Synced {}

/// A reading of a part file from end to end.
#[derive(Debug)]
pub struct PartCheck {}

impl PartCheck {
    /// Reads on, at most so many bytes.
    ///
    /// # Errors
    /// As the system reports.
    pub fn step(&mut self, _part: &mut PartFile, _bytes_max: usize) -> Result<Option<Checked>, DiskFault> {
        unimplemented!()
    }
}

/// What a part file was found to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The hash of all its bytes.
    pub b3: ContentHash,
    /// Bytes.
    pub size: u64,
    /// Groups that are not what the outline says, ascending.
    pub bad: Vec<u64>,
}

/// The rest of a download: for a helper thread.
#[derive(Debug)]
pub struct CommitJob {}

impl CommitJob {
    /// Runs it.
    ///
    /// # Errors
    /// As the system reports.
    pub fn run(self) -> Result<Committed, DiskFault> {
        unimplemented!()
    }
}

/// Where a finished download stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The final path.
    pub path: PathBuf,
    /// A file of the same content stood there already.
    pub already: bool,
}

/// Whether a file of this name is, or was, a part file of ours or its journal.
pub fn is_part_name(_component: &[u8]) -> bool {
    unimplemented!()
}
