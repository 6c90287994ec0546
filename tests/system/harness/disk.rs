//! Small filesystems that fill up, turn read-only and vanish.

use super::not_tested;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A filesystem of its own, in memory, unmounted when dropped.
pub(crate) struct Disk {
    mount: TempDir,
}

impl Disk {
    /// One of so many KiB. `None` if this machine lets nobody but its administrator mount; that is said aloud, past the
    /// capture of what tests print, since then the test does not run.
    pub(crate) fn of_kib(what: &str, kib: u64) -> Option<Self> {
        let mount = tempfile::Builder::new().prefix("pyrate-disk-").tempdir().expect("a scratch directory");
        let options = format!("size={kib}k,mode=0777");
        if run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(mount.path())) {
            return Some(Self { mount });
        }
        not_tested(what, "mounting a small filesystem takes CAP_SYS_ADMIN");
        None
    }

    /// One in memory that does not tell its size. `None` as of [`Disk::of_kib`].
    pub(crate) fn without_size(what: &str) -> Option<Self> {
        let disk = Self::of_kib(what, 1)?;
        assert!(run(Command::new("mount").args(["-t", "ramfs", "-o", "mode=0777", "none"]).arg(disk.path())));
        Some(disk)
    }

    /// One of ext4, which gives the inode of a removed file to the next new one. `None` also where there is no mkfs.ext4 or
    /// no loop device; that is said aloud.
    pub(crate) fn ext4(what: &str) -> Option<Self> {
        let disk = Self::of_kib(what, 32 << 10)?;
        let image = disk.path().join("image");
        std::fs::File::create(&image).and_then(|file| file.set_len(24 << 20)).expect("a sparse file");
        let is_made = run(Command::new("mkfs.ext4").arg("-qF").arg(&image));
        if is_made && run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(disk.path())) {
            return Some(disk);
        }
        not_tested(what, "it takes mkfs.ext4 and a loop device");
        None
    }

    /// One on which files can share blocks: `btrfs` or `xfs`. `None` also where there is no mkfs for it, no loop device or no
    /// such filesystem in the kernel; that is said aloud.
    pub(crate) fn of_kind(kind: &str, what: &str) -> Option<Self> {
        let disk = Self::of_kib(what, 400 << 10)?;
        let image = disk.path().join("image");
        // The least that mkfs.xfs takes is 300 MiB.
        std::fs::File::create(&image).and_then(|file| file.set_len(320 << 20)).expect("a sparse file");
        let is_made = run(Command::new(format!("mkfs.{kind}")).arg("-qf").arg(&image));
        if is_made && run(Command::new("mount").args(["-t", kind, "-o", "loop"]).arg(&image).arg(disk.path())) {
            return Some(disk);
        }
        not_tested(what, &format!("it takes mkfs.{kind}, a loop device and a kernel with {kind}"));
        None
    }

    /// Unmounts it, which fails while anybody uses it.
    pub(crate) fn unmount(path: &Path) -> bool {
        run(Command::new("umount").arg(path))
    }

    /// Mounts it at another directory as well.
    pub(crate) fn bind(&self, at: &Path) {
        assert!(run(Command::new("mount").arg("--bind").arg(self.path()).arg(at)), "it can be mounted there");
    }

    pub(crate) fn path(&self) -> &Path {
        self.mount.path()
    }

    /// Takes space away from all others; gives what does.
    pub(crate) fn fill(&self, bytes: usize) -> PathBuf {
        let filler = self.path().join("filler");
        std::fs::write(&filler, vec![b'f'; bytes]).expect("there is room for that");
        filler
    }

    /// Makes it another size.
    pub(crate) fn resize_kib(&self, kib: u64) {
        self.remount(&format!("size={kib}k"));
    }

    /// Changes how it is mounted: `ro`, `rw`.
    pub(crate) fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(run(Command::new("mount").args(["-o", &options]).arg(self.path())), "it can be remounted: {options}");
    }

    /// Bytes that may still be written.
    pub(crate) fn free(&self) -> u64 {
        let found = nix::sys::statvfs::statvfs(self.path()).expect("it is mounted");
        found.blocks_available() * found.fragment_size()
    }

    pub(crate) fn total(&self) -> u64 {
        let found = nix::sys::statvfs::statvfs(self.path()).expect("it is mounted");
        found.blocks() * found.fragment_size()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // One of unknown size, or of ext4, lies over another.
        let _ = run(Command::new("umount").arg("-l").arg(self.path()));
        // Lazily: a daemon that the test leaves to its guard may still have a file open.
        let _ = run(Command::new("umount").arg("-l").arg(self.path()));
    }
}

fn run(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
