//! The space of a filesystem that downloads leave free.

use crate::fault::DiskFault;
use nix::errno::Errno;
use nix::sys::statvfs::fstatvfs;
use std::io;
use std::os::fd::AsFd;

/// On a large filesystem.
const RESERVE_BYTES: u64 = 256 * 1024 * 1024;

/// On a smaller one: the total divided by this.
const RESERVE_PARTS: u64 = 100;

/// Free space is checked after each of this number of bytes.
const LOOK_BYTES: u64 = 16 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Bytes available to all users, without those reserved for root.
    pub(super) free: u64,
    pub(super) total: u64,
}

impl Room {
    /// Of the filesystem of a file or directory.
    pub(super) fn of(file: impl AsFd) -> Result<Self, DiskFault> {
        #[cfg(test)]
        if let Some(room) = super::tests::recorder::pretended_room() {
            return Ok(room);
        }
        let found = loop {
            match fstatvfs(&file) {
                Err(Errno::EINTR) => {}
                outcome => break outcome.map_err(io::Error::from)?,
            }
        };
        // The types differ between platforms.
        #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "needed on other platforms")]
        let (unit, free, total) =
            (found.fragment_size() as u64, found.blocks_available() as u64, found.blocks() as u64);
        Ok(Self { free: free.saturating_mul(unit), total: total.saturating_mul(unit) })
    }

    /// Bytes left free: 256 MiB, or 1 % of a filesystem smaller than 25.6 GiB.
    pub(super) fn reserve(self) -> u64 {
        RESERVE_BYTES.min(self.total / RESERVE_PARTS)
    }

    /// Checks that this number of further bytes leaves the reserve free. 0 always does, and any number on a filesystem that
    /// does not report its size (ramfs, some of FUSE).
    /// Errors: [`DiskFault::Full`] if not.
    pub(super) fn take(self, bytes: u64) -> Result<(), DiskFault> {
        let fits =
            bytes == 0 || self.total == 0 || self.free.checked_sub(self.reserve()).is_some_and(|free| bytes <= free);
        if fits { Ok(()) } else { Err(DiskFault::Full) }
    }
}

/// When free space is to be checked again, for a growing file.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Bytes that may be written before the next check.
    remaining: u64,
}

impl Watch {
    /// Checks free space if it is time. `bytes` are about to be written, of which `new` need space.
    /// Errors: [`DiskFault::Full`] if the reserve would be used; otherwise as the system reports.
    pub(super) fn before(&mut self, file: impl AsFd, bytes: u64, new: u64) -> Result<(), DiskFault> {
        if bytes > self.remaining {
            Room::of(file)?.take(new)?;
            self.remaining = LOOK_BYTES;
        }
        self.remaining = self.remaining.saturating_sub(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;
    const GIB: u64 = 1024 * MIB;

    #[test]
    fn the_reserve_is_256_mib_or_one_part_in_a_hundred() {
        for (total, reserve) in [
            (0, 0),
            (99, 0),
            (100, 1),
            (10 * GIB, 10 * GIB / 100),
            (25_600 * MIB - 100, 256 * MIB - 1),
            (25_600 * MIB, 256 * MIB),
            (u64::MAX, 256 * MIB),
        ] {
            assert_eq!(Room { free: 0, total }.reserve(), reserve, "{total}");
        }
    }

    #[test]
    fn room_is_the_free_space_above_the_reserve_to_the_byte() {
        let room = |free| Room { free, total: 100 * GIB };
        assert_eq!(room(256 * MIB + 10).take(10), Ok(()));
        assert_eq!(room(256 * MIB + 10).take(11), Err(DiskFault::Full));
        assert_eq!(room(256 * MIB).take(1), Err(DiskFault::Full));
        assert_eq!(room(0).take(1), Err(DiskFault::Full));
        assert_eq!(room(0).take(0), Ok(()), "bytes that exist already need no room");
        assert_eq!(room(u64::MAX).take(u64::MAX), Err(DiskFault::Full));
        assert_eq!(Room { free: 5, total: 10 }.take(5), Ok(()));
        assert_eq!(Room { free: 0, total: 0 }.take(u64::MAX), Ok(()), "of unknown size");
    }

    #[test]
    fn the_free_space_of_a_filesystem_is_read() {
        let room = Room::of(tempfile::tempfile().unwrap()).unwrap();
        assert!(room.total > 0 && room.free <= room.total, "{room:?}");
    }
}
