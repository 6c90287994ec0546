//! The part of a filesystem that downloads leave free.

use crate::fault::DiskFault;
use nix::errno::Errno;
use nix::sys::statvfs::fstatvfs;
use std::io;
use std::os::fd::AsFd;

/// What is left free on a filesystem that is not small.
const RESERVE_BYTES: u64 = 256 * 1024 * 1024;

/// Of a smaller filesystem, one part in this number is left free.
const RESERVE_PARTS: u64 = 100;

/// Room is checked each time that this number of bytes is written.
const LOOK_BYTES: u64 = 16 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Bytes that anybody may still take; what the system keeps for root is not among them.
    pub(super) free: u64,
    pub(super) total: u64,
}

impl Room {
    /// Asks about the filesystem of a file or directory.
    pub(super) fn of(file: impl AsFd) -> Result<Self, DiskFault> {
        #[cfg(test)]
        if let Some(room) = super::tests::tape::pretended_room() {
            return Ok(room);
        }
        let found = loop {
            match fstatvfs(&file) {
                Err(Errno::EINTR) => {}
                outcome => break outcome.map_err(io::Error::from)?,
            }
        };
        // Their types differ between systems.
        #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "not so everywhere")]
        let (unit, free, total) =
            (found.fragment_size() as u64, found.blocks_available() as u64, found.blocks() as u64);
        Ok(Self { free: free.saturating_mul(unit), total: total.saturating_mul(unit) })
    }

    /// Bytes that are left free: 256 MiB, or 1 % of what is smaller than 25.6 GiB.
    pub(super) fn reserve(self) -> u64 {
        RESERVE_BYTES.min(self.total / RESERVE_PARTS)
    }

    /// Whether this number of further bytes leaves the reserve free. 0 always does, and any number on a filesystem that
    /// does not tell its size (ramfs, some of FUSE): there a write shows it.
    /// Errors: [`DiskFault::Full`] if not.
    pub(super) fn take(self, bytes: u64) -> Result<(), DiskFault> {
        let fits =
            bytes == 0 || self.total == 0 || self.free.checked_sub(self.reserve()).is_some_and(|free| bytes <= free);
        if fits { Ok(()) } else { Err(DiskFault::Full) }
    }
}

/// When room is to be looked at again, for a file that grows.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Bytes that may be written before; none at first.
    left: u64,
}

impl Watch {
    /// Looks at the room if it is time. `bytes` are about to be written, of which `new` need space.
    /// Errors: [`DiskFault::Full`] when the reserve would be touched; otherwise as the system reports.
    pub(super) fn before(&mut self, file: impl AsFd, bytes: u64, new: u64) -> Result<(), DiskFault> {
        if bytes > self.left {
            Room::of(file)?.take(new)?;
            self.left = LOOK_BYTES;
        }
        self.left = self.left.saturating_sub(bytes);
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
    fn room_is_what_is_left_above_the_reserve_to_the_byte() {
        let room = |free| Room { free, total: 100 * GIB };
        assert_eq!(room(256 * MIB + 10).take(10), Ok(()));
        assert_eq!(room(256 * MIB + 10).take(11), Err(DiskFault::Full));
        assert_eq!(room(256 * MIB).take(1), Err(DiskFault::Full));
        assert_eq!(room(0).take(1), Err(DiskFault::Full));
        assert_eq!(room(0).take(0), Ok(()), "what is there already needs no room");
        assert_eq!(room(u64::MAX).take(u64::MAX), Err(DiskFault::Full));
        assert_eq!(Room { free: 5, total: 10 }.take(5), Ok(()));
        assert_eq!(Room { free: 0, total: 0 }.take(u64::MAX), Ok(()), "of unknown size");
    }

    #[test]
    fn a_filesystem_tells_its_room() {
        let room = Room::of(tempfile::tempfile().unwrap()).unwrap();
        assert!(room.total > 0 && room.free <= room.total, "{room:?}");
    }
}
