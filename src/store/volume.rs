//! Numbers of filesystems that stay the same across mounts.
//!
//! The device number of a loop device, of btrfs, NFS, ZFS or overlayfs changes at each mount. The hash cache uses the number
//! given here instead.

use crate::library::FileMeta;
use nix::errno::Errno;
use nix::sys::statfs::{FsType, fstatfs};
use nix::sys::statvfs::fstatvfs;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

/// For more filesystems than this, device numbers are used.
const VOLUMES_MAX: usize = 4096;

/// How far the clock of a server may be from ours.
const SKEW_MAX: Duration = Duration::from_secs(600);

/// The error of change times that are counted in seconds, or in pairs of them (FAT).
const COARSE: Duration = Duration::from_secs(2);

/// Filesystems whose change times come from another clock: network filesystems, and FUSE. Linux's `magic.h`.
const REMOTE: [FsType; 11] = [
    FsType(0x6969),      // NFS
    FsType(0x517B),      // SMB
    FsType(0xFF53_4D42), // CIFS
    FsType(0xFE53_4D42), // SMB2
    FsType(0x6573_5546), // FUSE
    FsType(0x0102_1997), // 9p
    FsType(0x00C3_6400), // Ceph
    FsType(0x5346_414F), // AFS of OpenAFS
    FsType(0x6B41_4653), // AFS of the kernel
    FsType(0x7375_7245), // Coda
    FsType(0x786F_4256), // vboxsf
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Volume {
    /// The number in the cache.
    id: u64,
    /// Its change times may come from another clock.
    remote: bool,
}

impl Volume {
    /// The filesystem of an open directory, which a scan of the share `root` entered first at the path `beneath` it.
    ///
    /// Uses the identifier of the filesystem, if it has one (ext4, btrfs, ZFS and others derive it from their UUID), otherwise
    /// its mount point; on a device also its size, since other media may be mounted there.
    pub(super) fn of(directory: impl AsFd, device: u64, root: &Path, beneath: &[u8]) -> Result<Volume, Errno> {
        let found = fstatvfs(&directory)?;
        let remote = REMOTE.contains(&fstatfs(&directory)?.filesystem_type());
        let own = found.filesystem_id();
        // Filesystems without an identifier return their device number.
        let is_device = own == device || own == device & 0xFFFF_FFFF;
        let mut hasher = blake3::Hasher::new();
        if own != 0 && !is_device {
            hasher.update(b"identifier").update(&own.to_le_bytes());
        } else {
            let blocks = if is_device && !remote { found.blocks() } else { 0 };
            hasher.update(b"place").update(&blocks.to_le_bytes());
            hasher.update(root.as_os_str().as_encoded_bytes()).update(b"\0").update(beneath);
        }
        Ok(Volume { id: first_bytes(&hasher), remote })
    }

    /// The least time since the last change of a file, given the wall clock.
    pub(super) fn quiet(&self, file: &FileMeta, wall_ns: i64) -> Duration {
        let age = Duration::from_nanos(u64::try_from(wall_ns.saturating_sub(file.ctime_ns)).unwrap_or(0));
        let skew = if self.remote { SKEW_MAX } else { Duration::ZERO };
        let coarse = if file.ctime_ns % 1_000_000_000 == 0 { COARSE } else { Duration::ZERO };
        age.saturating_sub(skew + coarse)
    }
}

/// The filesystems that scans have entered, by their present device numbers.
#[derive(Debug, Default, Clone)]
pub(crate) struct Volumes(BTreeMap<u64, Volume>);

impl Volumes {
    /// Adds a filesystem; it replaces one with its device number.
    pub(crate) fn note(&mut self, device: u64, volume: Volume) {
        if self.0.len() < VOLUMES_MAX || self.0.contains_key(&device) {
            self.0.insert(device, volume);
        }
    }

    /// The filesystem of a file. One that no scan has entered is identified by its device number.
    pub(super) fn of(&self, file: &FileMeta) -> Volume {
        self.0.get(&file.device).copied().unwrap_or_else(|| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(b"device").update(&file.device.to_le_bytes());
            Volume { id: first_bytes(&hasher), remote: true }
        })
    }

    pub(super) fn id(&self, file: &FileMeta) -> u64 {
        self.of(file).id
    }
}

fn first_bytes(hasher: &blake3::Hasher) -> u64 {
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;

    fn volume(place: &Path, root: &str, beneath: &[u8]) -> Volume {
        let directory = File::open(place).unwrap();
        let device = directory.metadata().unwrap().dev();
        Volume::of(&directory, device, Path::new(root), beneath).unwrap()
    }

    #[test]
    fn a_filesystem_without_an_identifier_is_identified_by_its_mount_point() {
        // /proc has none.
        let proc = volume(Path::new("/proc"), "/share", b"");
        assert_eq!(proc, volume(Path::new("/proc"), "/share", b""));
        assert_ne!(proc, volume(Path::new("/proc"), "/elsewhere", b""));
        assert_ne!(proc, volume(Path::new("/proc"), "/share", b"sub"));
    }

    #[test]
    fn the_time_since_the_last_change_allows_for_both_clocks() {
        const SECOND: i64 = 1_000_000_000;
        let local = Volume { id: 1, remote: false };
        let remote = Volume { id: 1, remote: true };
        let file = |ctime_ns| FileMeta { ctime_ns, ..FileMeta::default() };
        let seconds = Duration::from_secs;
        assert_eq!(local.quiet(&file(100 * SECOND + 1), 103 * SECOND + 1), seconds(3));
        assert_eq!(local.quiet(&file(100 * SECOND), 103 * SECOND), seconds(1), "a time in whole seconds");
        assert_eq!(local.quiet(&file(200 * SECOND + 1), 103 * SECOND), Duration::ZERO, "a time in the future");
        assert_eq!(remote.quiet(&file(100 * SECOND + 1), 130 * SECOND + 1), Duration::ZERO);
        assert_eq!(remote.quiet(&file(100 * SECOND + 1), 703 * SECOND + 1), seconds(3));
    }
}
