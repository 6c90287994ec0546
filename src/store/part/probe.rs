//! Checking whether a file can be created at a target, before the download begins.

use super::PartRequest;
use crate::fault::DiskFault;
use crate::name::FileName;
use crate::part::Target;
use crate::store::descent::Missing;
use crate::store::disk::fault;
use crate::store::place::{Place, names_directory};
use crate::store::usable::{make_directory, tell_sandbox};
use crate::store::{file_type, stat_at};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag};
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat, unlinkat};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

impl PartRequest {
    /// The final path of a download to this target. Creates the directory for several files, and one that is named with
    /// a slash at its end. Waits for the disk.
    ///
    /// A file that may have the wanted content is no error: [`PartRequest::open`] compares it.
    /// Errors: [`DiskFault::Exists`] if the final name is taken; [`DiskFault::Missing`] and [`DiskFault::NotDirectory`] if there
    /// is no such directory; [`DiskFault::Denied`], [`DiskFault::Forbidden`] and [`DiskFault::ReadOnly`] if nothing can be
    /// created in it; otherwise as the system reports.
    pub(crate) fn probe(self) -> Result<PathBuf, DiskFault> {
        self.try_target().map_err(|fault| tell_sandbox(fault, Place::directory_of(&self.spec)))
    }

    fn try_target(&self) -> Result<PathBuf, DiskFault> {
        match &self.spec.target {
            Target::Suggested { directory, .. } => make_directory(directory)?,
            Target::Within { directory, path, .. } => return self.try_within(directory, path),
            Target::Exact { path, .. } if names_directory(path) => make_directory(path)?,
            Target::Exact { .. } => {}
        }
        let place = Place::open(&self.spec)?;
        self.try_to_write(&place)?;
        let taken = |name: &Vec<u8>| match stat_at(place.directory(), name) {
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(fault(errno)),
            Ok(found) => {
                let size = u64::try_from(found.st_size).ok();
                let may_be_wanted = self.b3.is_some() && self.size.is_some() && size == self.size;
                Ok(!may_be_wanted || file_type(&found) != SFlag::S_IFREG)
            }
        };
        for name in place.final_names() {
            if !taken(&name)? {
                return Ok(place.path_of(&name));
            }
        }
        Err(DiskFault::Exists)
    }

    /// Whether directories can be created at the target of a directory, which may be there already.
    fn try_within(&self, directory: &Path, path: &FileName) -> Result<PathBuf, DiskFault> {
        make_directory(directory)?;
        let place = Place::within(directory, path.as_bytes(), Missing::Refused, self.spec.token)?;
        self.try_to_write(&place)?;
        match stat_at(place.directory(), path.last_component()) {
            Ok(found) if file_type(&found) != SFlag::S_IFDIR => Err(DiskFault::Exists),
            Ok(_) | Err(Errno::ENOENT) => Ok(place.path_of(path.last_component())),
            Err(errno) => Err(fault(errno)),
        }
    }

    fn try_to_write(&self, place: &Place) -> Result<(), DiskFault> {
        let access = AccessFlags::W_OK | AccessFlags::X_OK;
        faccessat(place.directory(), OsStr::new("."), access, AtFlags::AT_EACCESS).map_err(fault)?;
        self.try_to_create(place)
    }

    /// Creates a hidden file and removes it, since the mode of a directory is not enough for `/proc` and similar filesystems. A
    /// full disk is no error.
    fn try_to_create(&self, place: &Place) -> Result<(), DiskFault> {
        let name = format!(".{:x}.pyrate-probe", self.spec.token);
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        match openat(place.directory(), name.as_str(), flags, Mode::from_bits_truncate(0o600)) {
            Ok(_) => unlinkat(place.directory(), name.as_str(), UnlinkatFlags::NoRemoveDir).map_err(fault),
            Err(Errno::EEXIST | Errno::ENOSPC | Errno::EDQUOT) => Ok(()),
            Err(errno) => Err(fault(errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::PartSpec;
    use crate::store::not_tested::not_tested;
    use std::fs;

    fn name() -> FileName {
        FileName::from_bytes(b"a").unwrap()
    }

    fn request(target: Target) -> PartRequest {
        let spec = PartSpec { target, token: 1, filesystem: None };
        PartRequest { spec, b3: None, size: None, known: Default::default() }
    }

    fn exact(path: impl AsRef<Path>) -> PartRequest {
        request(Target::Exact { path: path.as_ref().to_owned(), name: name() })
    }

    fn into(directory: impl AsRef<Path>) -> PartRequest {
        request(Target::Suggested { directory: directory.as_ref().to_owned(), name: name() })
    }

    #[test]
    fn a_target_is_good_if_a_file_can_be_created() {
        let scratch = tempfile::tempdir().unwrap();
        let at = scratch.path();
        fs::create_dir(at.join("dir")).unwrap();
        fs::write(at.join("file"), "12345").unwrap();
        assert_eq!(exact(at.join("new")).probe(), Ok(at.join("new")));
        assert_eq!(exact(at.join("dir")).probe(), Ok(at.join("dir/a")));
        assert_eq!(into(at.join("made/deep")).probe(), Ok(at.join("made/deep/a")));
        assert!(at.join("made/deep").is_dir(), "as for every download of several files");
        assert_eq!(exact(at.join("made/for one/")).probe(), Ok(at.join("made/for one/a")));
        fs::write(at.join("made/deep/a"), "").unwrap();
        assert_eq!(into(at.join("made/deep")).probe(), Ok(at.join("made/deep/a (1)")));
        // The file may have the wanted content.
        let wanted = |size| PartRequest { b3: Some(crate::id::ContentHash([1; 32])), size, ..exact(at.join("file")) };
        assert_eq!(wanted(Some(5)).probe(), Ok(at.join("file")));
        assert_eq!(wanted(Some(6)).probe(), Err(DiskFault::Exists));
    }

    #[test]
    fn a_directory_that_takes_no_file_is_a_bad_target_even_for_root() {
        for place in ["/proc/a", "/sys/a", "/proc/self/fd/a"] {
            assert!(exact(place).probe().is_err(), "{place}");
        }
        let scratch = tempfile::tempdir().unwrap();
        assert!(exact(scratch.path().join("new")).probe().is_ok());
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "the probe leaves nothing");
    }

    #[test]
    fn a_bad_target_has_a_reason() {
        let scratch = tempfile::tempdir().unwrap();
        let at = scratch.path();
        fs::create_dir_all(at.join("dir/a")).unwrap();
        fs::write(at.join("file"), "12345").unwrap();
        for (request, fault) in [
            (exact(at.join("file")), DiskFault::Exists),
            (exact(at.join("dir")), DiskFault::Exists),
            (exact(at.join("missing/new")), DiskFault::Missing),
            (exact(at.join("file/")), DiskFault::NotDirectory),
            (into(at.join("file")), DiskFault::NotDirectory),
            (exact(at.join("file/new")), DiskFault::NotDirectory),
            (exact(at.join("n".repeat(256))), DiskFault::Other(nix::libc::ENAMETOOLONG)),
            (into(at.join("file/made")), DiskFault::NotDirectory),
            (into("/proc/none"), DiskFault::Missing),
        ] {
            assert_eq!(request.clone().probe(), Err(fault), "{request:?}");
        }
        if nix::unistd::geteuid().is_root() {
            return not_tested("a directory that may not be written to", "root may write to every one");
        }
        fs::set_permissions(at.join("dir"), std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
        assert_eq!(exact(at.join("dir/new")).probe(), Err(DiskFault::Denied));
    }
}
