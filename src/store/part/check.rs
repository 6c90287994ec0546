//! The check of a whole part file before it gets its name, in slices.

use super::PartFile;
use super::sync::group_digest;
use crate::content::{ChainHasher, ContentHasher, Digest, GROUP_BYTES, Outline};
use crate::fault::DiskFault;
use crate::id::ContentHash;
use crate::part::CheckedPart;
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

const READ_BYTES: usize = 128 * 1024;

/// A check in progress. Nothing may be written to the part file meanwhile.
///
/// Of a file with an outline, groups are not read that were read already after they had been synced.
#[derive(Debug)]
pub(crate) struct PartCheck {
    size: u64,
    work: Work,
}

#[derive(Debug)]
enum Work {
    /// A stream.
    All {
        hasher: Box<ContentHasher>,
        buffer: Vec<u8>,
    },
    Groups {
        outline: Arc<Outline>,
        next: u64,
        bad: BTreeSet<u64>,
        found: Found,
    },
}

/// The hash of the bytes in the file.
#[derive(Debug)]
enum Found {
    /// Of a content of at most one group.
    Whole(ContentHash),
    Chain(Box<ChainHasher>),
}

impl PartCheck {
    pub(super) fn new(size: u64, outline: Option<&Arc<Outline>>) -> Self {
        let work = match outline {
            None => {
                let bytes = usize::try_from(size).unwrap_or(READ_BYTES).min(READ_BYTES);
                Work::All { hasher: Box::default(), buffer: vec![0; bytes] }
            }
            Some(outline) => {
                let found = match outline.group_count() {
                    // An empty content has no group.
                    0 | 1 => Found::Whole(outline.b3()),
                    _ => Found::Chain(Box::default()),
                };
                Work::Groups { outline: Arc::clone(outline), next: 0, bad: BTreeSet::new(), found }
            }
        };
        Self { size, work }
    }

    /// Reads about `bytes_max` further bytes, and a group at least. `None` until all are read.
    /// Errors: as the system reports them; [`DiskFault::Shrank`] if the file was truncated, [`DiskFault::Changed`] if it was
    /// given another outline meanwhile.
    pub(crate) fn step(&mut self, part: &mut PartFile, bytes_max: usize) -> Result<Option<CheckedPart>, DiskFault> {
        if part.len() != self.size {
            return Err(DiskFault::Changed);
        }
        let size = self.size;
        match &mut self.work {
            Work::All { hasher, buffer } => {
                if !read_on(part, hasher, size, buffer, bytes_max)? {
                    return Ok(None);
                }
                let (b3, _) = std::mem::take(&mut **hasher).finish();
                Ok(Some(CheckedPart { b3, size, bad: Vec::new() }))
            }
            Work::Groups { outline, next, bad, found } => {
                let mut left = bytes_max.max(1) as u64;
                while *next < outline.group_count() {
                    if left == 0 {
                        return Ok(None);
                    }
                    let expected = outline.expected(*next);
                    let is_known = part.ledger().is_some_and(|ledger| ledger.is_rechecked(*next));
                    let digest = match expected {
                        Some(digest) if is_known => digest,
                        _ => {
                            left = left.saturating_sub(GROUP_BYTES);
                            group_digest(&part.held, outline, *next).map_err(read_fault)?
                        }
                    };
                    if Some(&digest) != expected.as_ref() {
                        bad.insert(*next);
                    }
                    match (&mut *found, digest) {
                        (Found::Whole(b3), Digest::Content(digest)) => *b3 = digest,
                        (Found::Chain(chain), Digest::Chaining(value)) => chain.push(value),
                        _ => {}
                    }
                    *next += 1;
                }
                let b3 = match found {
                    Found::Whole(b3) => *b3,
                    Found::Chain(chain) => std::mem::take(&mut **chain).finish().unwrap_or(outline.b3()),
                };
                let bad = part.record_check(bad)?;
                Ok(Some(CheckedPart { b3, size, bad }))
            }
        }
    }
}

/// Hashes about `bytes_max` bytes more. Returns whether that was all.
fn read_on(
    part: &PartFile,
    hasher: &mut ContentHasher,
    size: u64,
    buffer: &mut [u8],
    bytes_max: usize,
) -> Result<bool, DiskFault> {
    let mut left = bytes_max.max(1);
    while hasher.size() < size {
        if left == 0 {
            return Ok(false);
        }
        let rest = usize::try_from(size - hasher.size()).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left).min(rest);
        match part.held.read_at(&mut buffer[..wanted], hasher.size()) {
            Ok(0) => return Err(DiskFault::Shrank),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                left -= read;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

fn read_fault(error: io::Error) -> DiskFault {
    if error.kind() == io::ErrorKind::UnexpectedEof { DiskFault::Shrank } else { error.into() }
}
