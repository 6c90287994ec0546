//! A part file that becomes a copy of a shared file. Nothing but a check tells whether it is what is wanted.

use super::{PartFile, State};
use crate::aligned::Aligned;
use crate::fault::DiskFault;
use crate::store::disk;
use crate::store::share::SharedFile;
use rustix::fs::ioctl_ficlone;

const COPY_BYTES: usize = 1 << 20;

/// A copy in progress. Nothing else may write to the part file meanwhile.
#[derive(Debug)]
pub(crate) struct PartCopy {
    original: SharedFile,
    copied: u64,
}

impl PartFile {
    /// Begins a copy of a shared file. Where the filesystem can share the blocks of both files, that is all.
    /// Errors: `EINVAL` with an outline; otherwise as the system reports.
    pub(crate) fn begin_copy(&mut self, original: SharedFile) -> Result<PartCopy, DiskFault> {
        self.restart()?;
        // What a longer stream has left would stay behind the end.
        disk::set_len(&self.held, 0)?;
        let mut copied = 0;
        if ioctl_ficlone(&*self.held, original.file()).is_ok()
            && let State::Stream(stream) = &mut self.state
        {
            copied = self.held.metadata()?.len();
            stream.grow(copied);
        }
        Ok(PartCopy { original, copied })
    }
}

impl PartCopy {
    /// Copies about `bytes_max` further bytes. Says whether all are there.
    /// Errors: [`DiskFault::Full`] if the reserve would be used, [`DiskFault::Changed`] or [`DiskFault::Shrank`] if the shared file
    /// has changed; otherwise as the system reports.
    pub(crate) fn step(&mut self, part: &mut PartFile, bytes_max: usize) -> Result<bool, DiskFault> {
        let size = self.original.meta().size;
        let rest = |copied: u64| usize::try_from(size.saturating_sub(copied)).unwrap_or(usize::MAX);
        let mut buffer = Aligned::zeroed(COPY_BYTES.min(rest(self.copied)));
        let mut left = bytes_max;
        while self.copied < size {
            if left == 0 {
                return Ok(false);
            }
            let count = buffer.len().min(left).min(rest(self.copied));
            self.original.read(&mut buffer[..count], self.copied)?;
            part.append(&buffer[..count])?;
            self.copied += count as u64;
            left -= count;
        }
        Ok(true)
    }
}
