//! The directory and the names of a part file, of its journal and of the final file; and locking.
//!
//! Never follows a symbolic link at these names, or touches a part file that another process holds.

use super::descent::{self, Missing};
use super::disk::{self, BLOCK_BYTES, fault};
use super::durable::{OPEN_FLAGS, Replacing};
use super::mount::filesystem_of;
use super::{file_type, stat_at};
use crate::fault::DiskFault;
use crate::id::{ContentHash, FilesystemId};
use crate::name::{COMPONENT_BYTES_MAX, FileName, cut, split_extension};
use crate::part::{PartSpec, Target};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(in crate::store) const PART_SUFFIX: &[u8] = b".pyrate-part";

pub(in crate::store) const JOURNAL_SUFFIX: &[u8] = b".pyrate-journal";

/// How a journal's name ends while it is written.
const NEW_JOURNAL_SUFFIX: &[u8] = b".new.pyrate-journal";

const CLAIM_SUFFIX: &[u8] = b".claim.pyrate-part";

/// How often opening a part file is tried while other processes rename or remove it.
const CLAIM_TRIES_MAX: u32 = 16;

/// Highest number in ` (1)`, ` (2)` … that a suggested name may get.
const SUGGESTED_NUMBER_MAX: u32 = 999;

#[derive(Debug)]
pub(in crate::store) struct Place {
    pub(in crate::store) directory: Arc<OwnedFd>,
    directory_path: PathBuf,
    name: Vec<u8>,
    number_max: u32,
    token: u32,
    /// How many directories the directory lies beneath the one that its target names.
    depth: u16,
    /// Of the file.
    pub(in crate::store) executable: bool,
}

pub(super) enum Final {
    Free(PathBuf),
    /// A file of the wanted content.
    Same(PathBuf),
}

impl Place {
    /// Opens the directory.
    /// Errors: [`DiskFault::Missing`] if there is none; otherwise as the system reports.
    pub(super) fn open(&PartSpec { ref target, token, .. }: &PartSpec) -> Result<Self, DiskFault> {
        match target {
            Target::Suggested { directory, name } => {
                Self::at(directory, name.safe_component().as_bytes(), SUGGESTED_NUMBER_MAX, token)
            }
            Target::Exact { path, name } if is_directory(path)? => {
                Self::at(path, name.safe_component().as_bytes(), 0, token)
            }
            Target::Exact { path, .. } => {
                let (parent, last) = split(path).ok_or(DiskFault::Missing)?;
                Self::at(parent, last, 0, token)
            }
            Target::Within { directory, path, executable } => {
                let place = Self::within(directory, path.as_bytes(), Missing::Created, token)?;
                Ok(Self { executable: *executable, ..place })
            }
        }
    }

    /// The directory that [`Place::open`] would open.
    pub(super) fn directory_of(spec: &PartSpec) -> &Path {
        match &spec.target {
            Target::Suggested { directory, .. } | Target::Within { directory, .. } => directory,
            Target::Exact { path, .. } if names_directory(path) || path.is_dir() => path,
            Target::Exact { path, .. } => path.parent().unwrap_or(path),
        }
    }

    /// All places where the part file may be: a path may have become a directory since the part file was created.
    pub(super) fn open_all(&PartSpec { ref target, token, .. }: &PartSpec) -> Vec<Result<Self, DiskFault>> {
        match target {
            Target::Suggested { directory, name } => {
                vec![Self::at(directory, name.safe_component().as_bytes(), SUGGESTED_NUMBER_MAX, token)]
            }
            Target::Exact { path, name } => {
                let beside = split(path).map(|(parent, last)| Self::at(parent, last, 0, token));
                let inside = match is_directory(path) {
                    Ok(true) => Some(Self::at(path, name.safe_component().as_bytes(), 0, token)),
                    Ok(false) => None,
                    Err(fault) => Some(Err(fault)),
                };
                beside.into_iter().chain(inside).collect()
            }
            Target::Within { directory, path, .. } => {
                vec![Self::within(directory, path.as_bytes(), Missing::Refused, token)]
            }
        }
    }

    fn at(directory: &Path, name: &[u8], number_max: u32, token: u32) -> Result<Self, DiskFault> {
        // A relative path of one component has an empty parent.
        let at = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let handle = open(at, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map_err(fault)?;
        if name.len() > COMPONENT_BYTES_MAX {
            return Err(fault(Errno::ENAMETOOLONG));
        }
        let (directory_path, name) = (directory.to_owned(), name.to_vec());
        Ok(Self { directory: Arc::new(handle), directory_path, name, number_max, token, depth: 0, executable: false })
    }

    /// The place of a target beneath a directory, with the directories on the way to it.
    /// Errors: [`DiskFault::NotDirectory`] if one of them is something else, or a symbolic link; otherwise as the system reports.
    pub(super) fn within(base: &Path, path: &[u8], missing: Missing, token: u32) -> Result<Self, DiskFault> {
        let (above, name) = descent::split(path)?;
        let mut place = Self::at(base, name, 0, token)?;
        place.directory = descent::descend(place.directory, above, missing)?;
        let above = Path::new(OsStr::from_bytes(above));
        place.directory_path.extend(above);
        // A path of the longest name has fewer.
        place.depth = u16::try_from(above.components().count()).unwrap_or(u16::MAX);
        Ok(place)
    }

    /// Removes the directories on the way to a target beneath a directory, as far as they are empty.
    pub(super) fn remove_empty(base: &Path, path: &FileName) {
        if let Ok((above, name)) = descent::split(path.as_bytes())
            && let Ok(at_base) = Self::at(base, name, 0, 0)
        {
            descent::remove_empty(&at_base.directory, above);
        }
    }

    pub(in crate::store) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// The best first.
    pub(in crate::store) fn final_names(&self) -> impl Iterator<Item = Vec<u8>> {
        (0..=self.number_max).map(|number| numbered(&self.name, number))
    }

    /// Whether the path of the directory still leads to it: it may have been moved or unmounted.
    /// Errors: as the system reports them: then this is unknown.
    pub(in crate::store) fn is_at_its_path(&self) -> Result<bool, DiskFault> {
        let at = if self.directory_path.as_os_str().is_empty() { Path::new(".") } else { &self.directory_path };
        let here = fstat(&self.directory).map_err(fault)?;
        match fs::metadata(at).map_err(DiskFault::from) {
            Ok(there) => Ok((there.dev(), there.ino()) == (here.st_dev, here.st_ino)),
            Err(DiskFault::Missing | DiskFault::NotDirectory) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    pub(super) fn filesystem(&self) -> Result<FilesystemId, DiskFault> {
        filesystem_of(&self.directory)
    }

    /// The directory whose mount is remembered: the one that the target names.
    pub(super) fn base_path(&self) -> &Path {
        self.directory_path.ancestors().nth(self.depth as usize).unwrap_or(&self.directory_path)
    }

    /// Whether the name of the part file exists.
    pub(in crate::store) fn has_part(&self) -> Result<bool, DiskFault> {
        match stat_at(self.directory(), &self.part_name()) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(fault(errno)),
        }
    }

    pub(in crate::store) fn path_of(&self, name: &[u8]) -> PathBuf {
        self.directory_path.join(OsStr::from_bytes(name))
    }

    /// `.NAME.TOKEN.pyrate-part`; a long name is cut, and the token keeps it unique.
    pub(in crate::store) fn part_name(&self) -> Vec<u8> {
        self.hidden_name(PART_SUFFIX)
    }

    pub(in crate::store) fn journal_name(&self) -> Vec<u8> {
        self.hidden_name(JOURNAL_SUFFIX)
    }

    /// The name of the file that records which final name is being taken.
    pub(in crate::store) fn claim_name(&self) -> Vec<u8> {
        self.hidden_name(CLAIM_SUFFIX)
    }

    pub(super) fn new_journal_name(&self) -> Vec<u8> {
        self.hidden_name(NEW_JOURNAL_SUFFIX)
    }

    fn hidden_name(&self, suffix: &[u8]) -> Vec<u8> {
        let token = format!(".{:08x}", self.token);
        let room = COMPONENT_BYTES_MAX - 1 - token.len() - suffix.len();
        [b".", cut(&self.name, room), token.as_bytes(), suffix].concat()
    }

    /// Finds the first free final name, unless one before it has the wanted content.
    /// Errors: [`DiskFault::Exists`] if all are taken; otherwise as the system reports.
    pub(super) fn find_final(&self, wanted: Option<(ContentHash, u64)>) -> Result<Final, DiskFault> {
        for name in self.final_names() {
            match stat_at(self.directory(), &name) {
                Err(Errno::ENOENT) => return Ok(Final::Free(self.path_of(&name))),
                Err(errno) => return Err(fault(errno)),
                Ok(_) => {}
            }
            if let Some(wanted) = wanted
                && self.has_content(&name, wanted)?
            {
                return Ok(Final::Same(self.path_of(&name)));
            }
        }
        Err(DiskFault::Exists)
    }

    /// Whether a name is a regular file of this content. One that we may not read counts as other content.
    fn has_content(&self, name: &[u8], (b3, size): (ContentHash, u64)) -> Result<bool, DiskFault> {
        let Some(file) = self.open_regular(name, size)? else { return Ok(false) };
        let mut hasher = blake3::Hasher::new();
        Ok(hasher.update_reader(file)?.finalize() == b3.0)
    }

    /// Opens a name for reading, if it is a regular file of this size that we may read.
    /// Errors: as the system reports them: then this is unknown.
    pub(in crate::store) fn open_regular(&self, name: &[u8], size: u64) -> Result<Option<File>, DiskFault> {
        use Errno::{EACCES, EISDIR, ELOOP, ENODEV, ENOENT, ENXIO, EPERM};
        let file = match openat(self.directory(), name, OFlag::O_RDONLY | OPEN_FLAGS, Mode::empty()) {
            Ok(opened) => File::from(opened),
            Err(ENOENT | EACCES | EPERM | ELOOP | EISDIR | ENXIO | ENODEV) => return Ok(None),
            Err(errno) => return Err(fault(errno)),
        };
        let found = file.metadata()?;
        Ok((found.is_file() && found.len() == size).then_some(file))
    }

    /// Bytes of the part file on the disk; 0 if there is none.
    pub(super) fn allocated_bytes(&self) -> Result<u64, DiskFault> {
        match stat_at(self.directory(), &self.part_name()) {
            Ok(found) if file_type(&found) == SFlag::S_IFREG => {
                Ok(u64::try_from(found.st_blocks).unwrap_or(0).saturating_mul(BLOCK_BYTES))
            }
            Ok(_) | Err(Errno::ENOENT) => Ok(0),
            Err(errno) => Err(fault(errno)),
        }
    }

    /// Opens and locks the part file; creates it if it is missing.
    /// Errors: [`DiskFault::Exists`] if its name is no regular file; `EBUSY` if another process or another download of ours
    /// holds it; otherwise as the system reports.
    pub(super) fn claim(&self) -> Result<Held, DiskFault> {
        self.hold(OFlag::O_CREAT)?.ok_or(DiskFault::Missing)
    }

    /// Opens and locks the part file, if there is one.
    /// Errors: as [`Place::claim`].
    pub(super) fn claim_existing(&self) -> Result<Option<Held>, DiskFault> {
        self.hold(OFlag::empty())
    }

    fn hold(&self, how: OFlag) -> Result<Option<Held>, DiskFault> {
        let name = self.part_name();
        // The umask applies, as for every file of the user.
        let mode = Mode::from_bits_truncate(0o666);
        for _ in 0..CLAIM_TRIES_MAX {
            let file = match openat(self.directory(), name.as_slice(), OFlag::O_RDWR | OPEN_FLAGS | how, mode) {
                Ok(opened) => File::from(opened),
                Err(Errno::ENOENT) if how.is_empty() => return Ok(None),
                Err(Errno::ELOOP | Errno::EISDIR | Errno::ENXIO) => return Err(DiskFault::Exists),
                Err(errno) => return Err(fault(errno)),
            };
            if !file.metadata()?.is_file() {
                return Err(DiskFault::Exists);
            }
            let held = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => Held::Locked(file),
                Err((_, Errno::EWOULDBLOCK)) => return Err(fault(Errno::EBUSY)),
                Err((file, _)) => Held::Plain(file),
            };
            // Between opening and locking, its last holder may have renamed or removed it.
            if self.holds_name(&name, &held)? {
                disk::named(&name, &held);
                return Ok(Some(held));
            }
        }
        Err(fault(Errno::EBUSY))
    }

    /// Opens the journal, which may be missing, or unfit: no regular file.
    pub(super) fn open_journal(&self) -> Result<JournalFile, DiskFault> {
        match openat(self.directory(), self.journal_name().as_slice(), OFlag::O_RDWR | OPEN_FLAGS, Mode::empty()) {
            Ok(opened) => {
                let file = File::from(opened);
                if file.metadata()?.is_file() { Ok(JournalFile::Regular(file)) } else { Ok(JournalFile::Unfit) }
            }
            Err(Errno::ENOENT) => Ok(JournalFile::None),
            Err(Errno::ELOOP | Errno::EISDIR | Errno::ENXIO) => Ok(JournalFile::Unfit),
            Err(errno) => Err(fault(errno)),
        }
    }

    pub(super) fn replace_journal<T>(&self, steps: impl FnOnce(Replacing<'_>) -> T) -> T {
        let (new, name) = (self.new_journal_name(), self.journal_name());
        steps(Replacing { directory: self.directory(), new: &new, name: &name })
    }

    /// Removes the journal, also a half-written one, and a [claim](super::super::claim). Returns whether there was any of these.
    /// Errors: [`DiskFault::Exists`] if one of these is a directory; otherwise as the system reports.
    pub(in crate::store) fn remove_journals(&self) -> Result<bool, DiskFault> {
        let mut was_any = false;
        for name in [self.new_journal_name(), self.journal_name(), self.claim_name()] {
            match disk::unlink(self.directory(), &name) {
                Ok(was_there) => was_any |= was_there,
                Err(Errno::EISDIR | Errno::EPERM) => return Err(DiskFault::Exists),
                Err(errno) => return Err(fault(errno)),
            }
        }
        Ok(was_any)
    }

    /// Whether a name in the directory is this open file.
    /// Errors: as the system reports them: then this is unknown.
    pub(in crate::store) fn holds_name(&self, name: &[u8], file: &File) -> Result<bool, DiskFault> {
        let here = fstat(file).map_err(fault)?;
        match stat_at(self.directory(), name) {
            Ok(there) => {
                let same = (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino);
                Ok(same && file_type(&there) == SFlag::S_IFREG)
            }
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(fault(errno)),
        }
    }
}

pub(super) enum JournalFile {
    None,
    Regular(File),
    /// Not a regular file.
    Unfit,
}

#[derive(Debug)]
pub(in crate::store) enum Held {
    /// Locked until this is dropped, even if a job still has the file open.
    Locked(Flock<File>),
    /// This filesystem has no locks; we rely on the random token being unique.
    Plain(File),
}

impl Deref for Held {
    type Target = File;

    fn deref(&self) -> &File {
        match self {
            Held::Locked(file) => file,
            Held::Plain(file) => file,
        }
    }
}

/// Errors: as the system reports them: then this is unknown.
fn is_directory(path: &Path) -> Result<bool, DiskFault> {
    match fs::metadata(path).map_err(DiskFault::from) {
        Ok(found) => Ok(found.is_dir()),
        Err(DiskFault::Missing | DiskFault::NotDirectory) => Ok(false),
        Err(fault) => Err(fault),
    }
}

pub(super) fn names_directory(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(b"/")
}

/// A path as directory and name; one that ends in a slash can only be a directory.
fn split(path: &Path) -> Option<(&Path, &[u8])> {
    path.parent()
        .zip(path.file_name())
        .filter(|_| !names_directory(path))
        .map(|(parent, last)| (parent, last.as_bytes()))
}

/// `name (1).ext` and so on; the plain name for 0. A long name is cut.
pub(super) fn numbered(name: &[u8], number: u32) -> Vec<u8> {
    if number == 0 {
        return name.to_vec();
    }
    let (stem, extension) = split_extension(name);
    let number = format!(" ({number})");
    let room = COMPONENT_BYTES_MAX - number.len() - extension.len();
    [cut(stem, room), number.as_bytes(), extension].concat()
}
