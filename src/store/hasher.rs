//! The content hash of a shared file, read in slices, as long as the file is unchanged since its scan.

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
use std::os::unix::fs::{FileExt, MetadataExt};

/// How far ahead of the slice the system is asked to read: at 500 MB/s the disk has 16 ms for it.
const AHEAD_BYTES: u64 = 8 * 1024 * 1024;

/// Bytes of one such request; smaller ones cost more calls, larger ones block longer.
const ADVICE_BYTES: u64 = 1024 * 1024;

#[derive(Debug)]
pub(crate) struct FileHasher {
    file: File,
    meta: FileMeta,
    hasher: ContentHasher,
    /// Bytes from the start that were requested.
    advised: u64,
}

impl FileHasher {
    /// Opens a file of the share, and starts reading ahead.
    /// Errors: [`DiskFault::Changed`] if it has changed; otherwise as [`ShareRoot::open_file`].
    pub(crate) fn open(root: &ShareRoot, file: &ScannedFile) -> Result<Self, DiskFault> {
        let opened = root.open_file_as(&file.name, &file.meta)?.into_file();
        advise(&opened, 0, 0, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL);
        let mut hasher = Self { file: opened, meta: file.meta, hasher: ContentHasher::default(), advised: 0 };
        hasher.read_ahead();
        Ok(hasher)
    }

    pub(crate) fn position(&self) -> u64 {
        self.hasher.size()
    }

    /// Reads and hashes about `bytes_max` bytes, at most `scratch.len()` at once. At the end of the file returns its hash, and
    /// the chaining values of its groups if there are two or more; must not be called again then.
    /// Errors: [`DiskFault::Changed`] if the file has changed; otherwise as the system reports.
    pub(crate) fn step(
        &mut self,
        bytes_max: usize,
        scratch: &mut [u8],
    ) -> Result<Option<(ContentHash, Vec<ChainingValue>)>, DiskFault> {
        let mut left = bytes_max.max(1);
        while self.position() < self.meta.size {
            if left == 0 {
                // A changed file is not read to its end, which may take hours.
                self.check()?;
                return Ok(None);
            }
            let missing = usize::try_from(self.meta.size - self.position()).unwrap_or(usize::MAX);
            let room = scratch.len().min(left).min(missing);
            let count = read_at(&self.file, &mut scratch[..room], self.position())?;
            if count == 0 {
                // The file ends early, or the caller gave no buffer.
                return Err(if room > 0 { DiskFault::Changed } else { DiskFault::Other(Errno::EINVAL as i32) });
            }
            self.hasher.update(&scratch[..count]);
            left -= count;
            self.read_ahead();
        }
        self.check()?;
        Ok(Some(std::mem::take(&mut self.hasher).finish()))
    }

    /// Checks that the file is unchanged: a write changes the time of modification, and a removed file has no link.
    fn check(&self) -> Result<(), DiskFault> {
        if identity(&self.file)? != self.meta || self.file.metadata()?.nlink() == 0 {
            return Err(DiskFault::Changed);
        }
        Ok(())
    }

    /// Requests the next bytes, so that slices seldom wait for the disk.
    fn read_ahead(&mut self) {
        let wanted = self.meta.size.min(self.position().saturating_add(AHEAD_BYTES));
        while self.advised < wanted && (wanted - self.advised >= ADVICE_BYTES || wanted == self.meta.size) {
            let count = ADVICE_BYTES.min(wanted - self.advised);
            advise(&self.file, self.advised, count, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
            self.advised += count;
        }
    }
}

fn read_at(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(into, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Asks the system to read a file ahead, up to this number of bytes.
pub(super) fn warm(file: &File, bytes_max: u64) {
    let size = file.metadata().map_or(0, |found| found.len()).min(bytes_max);
    // The system executes only the beginning of one large request.
    for from in (0..size).step_by(ADVICE_BYTES as usize) {
        advise(file, from, ADVICE_BYTES, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
    }
}

/// Errors do not matter: this is only advice.
fn advise(file: &File, from: u64, count: u64, advice: PosixFadviseAdvice) {
    if let (Ok(from), Ok(count)) = (off_t::try_from(from), off_t::try_from(count)) {
        let _ = posix_fadvise(file, from, count, advice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{GROUP_BYTES, group_count};
    use crate::name::FileName;
    use crate::store::Scanner;
    use std::fs::{self, FileTimes, OpenOptions};
    use std::io::Write;
    use std::path::PathBuf;
    use std::time::{Duration, SystemTime};
    use tempfile::TempDir;

    /// A share of one file, and the result of its scan.
    struct Share {
        scratch: TempDir,
        root: ShareRoot,
        file: ScannedFile,
    }

    impl Share {
        fn of(bytes: &[u8]) -> Self {
            let scratch = tempfile::tempdir().unwrap();
            fs::write(scratch.path().join("file"), bytes).unwrap();
            let file = Scanner::start(scratch.path()).step(100, i64::MAX).files.remove(0);
            Self { root: ShareRoot::open(scratch.path()).unwrap(), scratch, file }
        }

        fn path(&self) -> PathBuf {
            self.scratch.path().join("file")
        }

        fn open(&self) -> Result<FileHasher, DiskFault> {
            FileHasher::open(&self.root, &self.file)
        }

        /// Hashes the file; interrupts after the first slice.
        fn hash_with(&self, interruption: impl FnOnce(&Share)) -> Result<ContentHash, DiskFault> {
            let mut scratch = vec![0; 64 * 1024];
            let mut hasher = self.open()?;
            assert_eq!(hasher.step(100_000, &mut scratch)?, None);
            interruption(self);
            loop {
                if let Some((hash, _)) = hasher.step(1 << 20, &mut scratch)? {
                    return Ok(hash);
                }
            }
        }

        fn write(&self, bytes: &[u8]) {
            OpenOptions::new().append(true).open(self.path()).unwrap().write_all(bytes).unwrap();
        }

        /// As after a much later write: two writes within a tick of the clock have the same time.
        fn touch(&self) {
            let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1));
            OpenOptions::new().append(true).open(self.path()).unwrap().set_times(times).unwrap();
        }
    }

    fn content(size: u64) -> Vec<u8> {
        (0..size).map(|at| (at % 251) as u8 ^ (at >> 13) as u8).collect()
    }

    #[test]
    fn slices_of_any_size_give_the_hash_of_the_whole() {
        for size in [0, 1, 65_536, GROUP_BYTES, GROUP_BYTES + 1, 3 * GROUP_BYTES + 17] {
            let bytes = content(size);
            let share = Share::of(&bytes);
            for (slice, scratch) in [(0, 4096), (100_000, 65_536), (1 << 20, 1 << 20), (usize::MAX, 1000)] {
                let mut scratch = vec![0; scratch];
                let mut hasher = share.open().unwrap();
                let (mut before, mut steps) = (0, 0);
                let (hash, chain) = loop {
                    match hasher.step(slice.max(50_000), &mut scratch).unwrap() {
                        Some(found) => break found,
                        None => assert_eq!(hasher.position() - before, slice.max(50_000) as u64),
                    }
                    (before, steps) = (hasher.position(), steps + 1);
                };
                assert_eq!(hash.0, *blake3::hash(&bytes).as_bytes(), "{size} by {slice}");
                assert_eq!(chain.len() as u64, if group_count(size) > 1 { group_count(size) } else { 0 });
                assert_eq!(steps, size.saturating_sub(1) / slice.max(50_000) as u64);
            }
        }
    }

    #[test]
    fn a_file_that_changed_since_its_scan_is_not_hashed() {
        let share = Share::of(b"content");
        assert!(share.open().is_ok());
        let meta = share.file.meta;
        let others = [
            FileMeta { size: 6, ..meta },
            FileMeta { mtime_ns: meta.mtime_ns + 1, ..meta },
            FileMeta { ctime_ns: meta.ctime_ns - 1, ..meta },
            FileMeta { inode: meta.inode + 1, ..meta },
            FileMeta { device: meta.device + 1, ..meta },
        ];
        for meta in others {
            let file = ScannedFile { meta, name: share.file.name.clone(), executable: false };
            assert_eq!(FileHasher::open(&share.root, &file).unwrap_err(), DiskFault::Changed);
        }
        fs::remove_file(share.path()).unwrap();
        assert_eq!(share.open().unwrap_err(), DiskFault::Missing);
        fs::create_dir(share.path()).unwrap();
        assert_eq!(share.open().unwrap_err(), DiskFault::NotRegular);
        let outside = ScannedFile { meta, name: FileName::from_bytes(b"../file").unwrap(), executable: false };
        assert_eq!(FileHasher::open(&share.root, &outside).unwrap_err(), DiskFault::NotRegular);
    }

    #[test]
    fn a_file_that_changes_meanwhile_has_no_hash() {
        let bytes = content(400_000);
        let grows = Share::of(&bytes).hash_with(|share| share.write(b"more"));
        assert_eq!(grows, Err(DiskFault::Changed));
        let shrinks = Share::of(&bytes).hash_with(|share| {
            fs::OpenOptions::new().write(true).open(share.path()).unwrap().set_len(200_000).unwrap()
        });
        assert_eq!(shrinks, Err(DiskFault::Changed));
        let is_written = Share::of(&bytes).hash_with(Share::touch);
        assert_eq!(is_written, Err(DiskFault::Changed));
        let grows_in_its_last_step = Share::of(&bytes[..100_001]).hash_with(|share| share.write(b"more"));
        assert_eq!(grows_in_its_last_step, Err(DiskFault::Changed));
    }

    #[test]
    fn a_file_that_is_removed_meanwhile_has_no_hash() {
        let bytes = content(400_000);
        let found = Share::of(&bytes).hash_with(|share| {
            fs::write(share.scratch.path().join("new"), b"x")
                .and_then(|()| fs::rename(share.scratch.path().join("new"), share.path()))
                .unwrap()
        });
        assert_eq!(found.unwrap_err(), DiskFault::Changed);
    }
}
