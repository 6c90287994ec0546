//! Hashing a whole part file, in slices.

use super::PartFile;
use crate::content::ContentHasher;
use crate::fault::DiskFault;
use crate::part::CheckedPart;
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::FileExt;

const READ_BYTES: usize = 128 * 1024;

/// A check in progress. Nothing may be written to the part file meanwhile.
#[derive(Debug)]
pub(crate) struct PartCheck {
    pub(super) hasher: ContentHasher,
    size: u64,
    buffer: Vec<u8>,
}

impl PartCheck {
    pub(super) fn new(size: u64) -> Self {
        let bytes = usize::try_from(size).unwrap_or(READ_BYTES).min(READ_BYTES);
        Self { hasher: ContentHasher::default(), size, buffer: vec![0; bytes] }
    }

    /// Reads about `bytes_max` further bytes. `None` until all are read.
    /// Errors: as the system reports them; [`DiskFault::Shrank`] if the file was truncated, [`DiskFault::Changed`] if it was
    /// given another outline meanwhile.
    pub(crate) fn step(&mut self, part: &mut PartFile, bytes_max: usize) -> Result<Option<CheckedPart>, DiskFault> {
        if part.len() != self.size {
            return Err(DiskFault::Changed);
        }
        let mut left = bytes_max.max(1);
        while self.hasher.size() < self.size {
            if left == 0 {
                return Ok(None);
            }
            let rest = usize::try_from(self.size - self.hasher.size()).unwrap_or(usize::MAX);
            let wanted = self.buffer.len().min(left).min(rest);
            match part.held.read_at(&mut self.buffer[..wanted], self.hasher.size()) {
                Ok(0) => return Err(DiskFault::Shrank),
                Ok(read) => {
                    self.hasher.update(&self.buffer[..read]);
                    left -= read;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.finish(part).map(Some)
    }

    fn finish(&mut self, part: &mut PartFile) -> Result<CheckedPart, DiskFault> {
        let (b3, chain) = std::mem::take(&mut self.hasher).finish();
        let differs: BTreeSet<u64> = match part.outline() {
            None => BTreeSet::new(),
            // At most one group.
            Some(outline) if chain.is_empty() => (0..outline.group_count()).filter(|_| b3 != outline.b3()).collect(),
            Some(outline) => {
                let both = (0..).zip(chain.iter().zip(outline.chain()));
                both.filter(|(_, (found, expected))| found != expected).map(|(group, _)| group).collect()
            }
        };
        let bad = part.record_check(&differs)?;
        Ok(CheckedPart { b3, size: self.size, bad })
    }
}
