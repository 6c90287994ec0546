//! The content hash of a shared file, read in slices, as long as the file stays the one that a scan found.

use super::share::{ShareRoot, identity};
use crate::content::{ChainingValue, ContentHasher};
use crate::fault::DiskFault;
use crate::id::ContentHash;
use crate::library::{FileMeta, ScannedFile};
use nix::errno::Errno;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::libc::off_t;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// How far ahead of the slice the system is asked to read, in bytes: at 500 MB/s the disk has 16 ms to bring them.
const AHEAD_BYTES: u64 = 8 * 1024 * 1024;

/// How many bytes are asked for at once; smaller requests cost more calls, larger ones keep a call longer.
const ADVICE_BYTES: u64 = 1024 * 1024;

/// A shared file that is being hashed.
#[derive(Debug)]
pub struct FileHasher {
    file: File,
    meta: FileMeta,
    hasher: ContentHasher,
    /// Bytes from the start that the system was asked to read.
    advised: u64,
}

impl FileHasher {
    /// Opens a file of the share, and asks the system to begin reading it.
    ///
    /// # Errors
    /// [`DiskFault::Changed`] if it is another by now; otherwise as [`ShareRoot::open_file`].
    pub fn open(root: &ShareRoot, file: &ScannedFile) -> Result<Self, DiskFault> {
        let opened = root.open_file_as(&file.name, &file.meta)?;
        advise(&opened, 0, 0, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL);
        let mut hasher = Self { file: opened, meta: file.meta, hasher: ContentHasher::default(), advised: 0 };
        hasher.read_ahead();
        Ok(hasher)
    }

    /// Bytes hashed so far.
    pub fn position(&self) -> u64 {
        self.hasher.size()
    }

    /// Reads and hashes about `bytes_max` bytes, at most `scratch.len()` at once. Once the file is read to its end it
    /// tells its hash, and the chaining values of its groups if it has two or more; not to be called again after that.
    ///
    /// # Errors
    /// [`DiskFault::Changed`] if the file is not the one that was opened any more; otherwise as the system reports.
    pub fn step(
        &mut self,
        bytes_max: usize,
        scratch: &mut [u8],
    ) -> Result<Option<(ContentHash, Vec<ChainingValue>)>, DiskFault> {
        let mut left = bytes_max.max(1);
        while self.position() < self.meta.size {
            if left == 0 {
                return Ok(None);
            }
            let missing = usize::try_from(self.meta.size - self.position()).unwrap_or(usize::MAX);
            let room = scratch.len().min(left).min(missing);
            let count = read_at(&self.file, &mut scratch[..room], self.position())?;
            if count == 0 {
                // The file ends early; without room nothing could ever be read.
                return Err(if room > 0 { DiskFault::Changed } else { DiskFault::Other(Errno::EINVAL as i32) });
            }
            self.hasher.update(&scratch[..count]);
            left -= count;
            self.read_ahead();
        }
        // A file that is written to has another time of modification, and one that grew another size.
        if identity(&self.file)? != self.meta {
            return Err(DiskFault::Changed);
        }
        Ok(Some(std::mem::take(&mut self.hasher).finish()))
    }

    /// Asks for what comes next, so that the slices that need it seldom wait for the disk.
    fn read_ahead(&mut self) {
        let wanted = self.meta.size.min(self.position().saturating_add(AHEAD_BYTES));
        while self.advised < wanted && (wanted - self.advised >= ADVICE_BYTES || wanted == self.meta.size) {
            let count = ADVICE_BYTES.min(wanted - self.advised);
            advise(&self.file, self.advised, count, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
            self.advised += count;
        }
    }
}

/// Reads at a position, over interruptions.
fn read_at(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(into, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Tells the system what will be read. It need not listen.
fn advise(file: &File, from: u64, count: u64, advice: PosixFadviseAdvice) {
    if let (Ok(from), Ok(count)) = (off_t::try_from(from), off_t::try_from(count)) {
        let _ = posix_fadvise(file, from, count, advice);
    }
}
