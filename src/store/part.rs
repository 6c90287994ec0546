//! Part files: what a download grows in, hidden beside the place where it is to end.
//!
//! A part file belongs to whoever holds its lock. One that nobody holds was left by a crash and is removed when its
//! name is wanted again; one that somebody holds is let alone, and the next name is tried.

use super::commit::CommitJob;
use super::{file_type, stat_at};
use crate::fault::DiskFault;
use crate::name::FileName;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Longest name of a file in a directory, in bytes.
pub(super) const COMPONENT_BYTES_MAX: usize = 255;

/// How a part file's name ends.
const PART_SUFFIX: &[u8] = b".pyrate-part";

/// Most downloads that may write beside one another towards the same name.
const PART_NAMES_MAX: u32 = 100;

/// How often a part name is tried while other processes come and go under it.
const CLAIM_TRIES_MAX: u32 = 16;

/// Highest number in ` (1)`, ` (2)` … that a suggested name may get.
pub(super) const SUGGESTED_NUMBER_MAX: u32 = 999;

/// Whether a file of this name is, or was, a part file of ours.
pub fn is_part_name(component: &[u8]) -> bool {
    component.starts_with(b".") && component.ends_with(PART_SUFFIX) && component.len() > 1 + PART_SUFFIX.len()
}

/// A part file, exclusively ours until it is committed or dropped. Dropping removes it.
#[derive(Debug)]
pub struct PartFile {
    part: Part,
    final_path: PathBuf,
    len: u64,
}

impl PartFile {
    /// Claims a part file for a download into `directory`, which is made if missing, under `name` or the next free
    /// numbered form of it.
    ///
    /// # Errors
    /// As the system reports them.
    pub fn create_suggested(directory: &Path, name: &FileName) -> Result<PartFile, DiskFault> {
        fs::create_dir_all(directory)?;
        Self::create(directory, name.safe_component().as_bytes(), SUGGESTED_NUMBER_MAX)
    }

    /// Claims a part file for a download to exactly `path`; or inside it, under `name`, if it is a directory.
    ///
    /// # Errors
    /// [`DiskFault::Exists`] when something stands there, [`DiskFault::Missing`] when the directory does not;
    /// otherwise as the system reports.
    pub fn create_exact(path: &Path, name: &FileName) -> Result<PartFile, DiskFault> {
        if fs::metadata(path).is_ok_and(|found| found.is_dir()) {
            return Self::create(path, name.safe_component().as_bytes(), 0);
        }
        // A path that ends in a slash can only be a directory, and there is none.
        let names_directory = path.as_os_str().as_bytes().ends_with(b"/");
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(last)) if !names_directory => Self::create(parent, last.as_bytes(), 0),
            _ => Err(DiskFault::Missing),
        }
    }

    fn create(directory: &Path, name: &[u8], number_max: u32) -> Result<PartFile, DiskFault> {
        // A relative path of one component has an empty parent.
        let at = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let handle = open(at, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map_err(fault)?;
        if name.len() > COMPONENT_BYTES_MAX {
            return Err(fault(Errno::ENAMETOOLONG));
        }
        let is_free = |name: &Vec<u8>| stat_at(handle.as_fd(), name) == Err(Errno::ENOENT);
        let free = (0..=number_max).map(|number| numbered(name, number)).find(is_free).ok_or(DiskFault::Exists)?;
        let final_path = directory.join(OsStr::from_bytes(&free));
        let (part_name, file) = claim(handle.as_fd(), name)?;
        let directory_path = directory.to_owned();
        let place = Place { directory: handle, directory_path, name: name.to_vec(), number_max };
        Ok(PartFile { part: Part { place, standing: Some(part_name), file }, final_path, len: 0 })
    }

    /// The path it will have when it is committed, unless that is taken meanwhile.
    pub fn final_path(&self) -> &Path {
        &self.final_path
    }

    /// Bytes appended.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is appended.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets everything appended.
    ///
    /// # Errors
    /// As the system reports them.
    pub fn restart(&mut self) -> Result<(), DiskFault> {
        self.part.file.set_len(0)?;
        self.len = 0;
        Ok(())
    }

    /// Appends bytes: all of them, or, on an error, none as far as [`PartFile::len`] and the committed file go.
    ///
    /// # Errors
    /// As the system reports them; [`DiskFault::Full`] when there is no space.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), DiskFault> {
        self.part.file.write_all_at(bytes, self.len)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Makes the job that gives the file its final name.
    pub fn commit(self) -> CommitJob {
        CommitJob::new(self.part, self.len)
    }

    /// Removes the file.
    pub fn discard(self) {}
}

/// Where a part file is to end.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) directory: OwnedFd,
    pub(super) directory_path: PathBuf,
    pub(super) name: Vec<u8>,
    pub(super) number_max: u32,
}

/// A file of ours that is removed unless it is let stand.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) place: Place,
    /// The name in the directory that is removed at the end; `None` once the file is to stay.
    pub(super) standing: Option<Vec<u8>>,
    pub(super) file: Held,
}

impl Part {
    /// Whether the name still is this file's.
    pub(super) fn stands_at(&self, name: &[u8]) -> bool {
        is_at(self.place.directory.as_fd(), name, &self.file)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(name) = self.standing.take()
            && self.stands_at(&name)
        {
            // If even this fails, the next download towards the name removes it.
            let _ = unlinkat(&self.place.directory, name.as_slice(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// A part file as it is held.
#[derive(Debug)]
pub(super) enum Held {
    /// With its lock.
    Locked(Flock<File>),
    /// The filesystem has no locks; that we created it exclusively must do.
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

/// What became of one attempt at a part name.
enum Claim {
    Ours(Held),
    /// Something changed under us, or a stale file was removed: try the same name again.
    Again,
    /// Somebody else's.
    Taken,
}

/// Creates a part file for a final name, under the first part name that nobody holds.
fn claim(directory: BorrowedFd<'_>, name: &[u8]) -> Result<(Vec<u8>, Held), DiskFault> {
    for number in 0..PART_NAMES_MAX {
        let part = part_name(name, number);
        for _ in 0..CLAIM_TRIES_MAX {
            match try_claim(directory, &part).map_err(fault)? {
                Claim::Ours(file) => return Ok((part, file)),
                Claim::Again => {}
                Claim::Taken => break,
            }
        }
    }
    Err(fault(Errno::EBUSY))
}

fn try_claim(directory: BorrowedFd<'_>, part: &[u8]) -> Result<Claim, Errno> {
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    // The umask decides, as for every file that people make.
    let mode = Mode::from_bits_truncate(0o666);
    match openat(directory, part, flags | OFlag::O_CREAT | OFlag::O_EXCL, mode) {
        Ok(created) => match Flock::lock(File::from(created), FlockArg::LockExclusiveNonblock) {
            // Between creation and lock somebody may have taken it for stale, and removed it.
            Ok(file) if is_at(directory, part, &file) => Ok(Claim::Ours(Held::Locked(file))),
            Ok(_) | Err((_, Errno::EWOULDBLOCK)) => Ok(Claim::Again),
            Err((file, _)) => Ok(Claim::Ours(Held::Plain(file))),
        },
        Err(Errno::EEXIST) => match openat(directory, part, flags, Mode::empty()) {
            Ok(found) => Ok(remove_stale(directory, part, File::from(found))),
            Err(Errno::ENOENT) => Ok(Claim::Again),
            Err(_) => Ok(Claim::Taken),
        },
        Err(errno) => Err(errno),
    }
}

/// Removes a part file whose lock nobody holds.
fn remove_stale(directory: BorrowedFd<'_>, part: &[u8], found: File) -> Claim {
    if !found.metadata().is_ok_and(|found| found.is_file()) {
        return Claim::Taken;
    }
    match Flock::lock(found, FlockArg::LockExclusiveNonblock) {
        // Held until the name is gone, so that nobody else can take it for stale or for theirs meanwhile.
        Ok(file) if is_at(directory, part, &file) => match unlinkat(directory, part, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Claim::Again,
            Err(_) => Claim::Taken,
        },
        Ok(_) => Claim::Again,
        Err(_) => Claim::Taken,
    }
}

/// Whether the name in the directory is this open file's.
fn is_at(directory: BorrowedFd<'_>, name: &[u8], file: &File) -> bool {
    let (Ok(there), Ok(here)) = (stat_at(directory, name), fstat(file)) else { return false };
    file_type(&there) == SFlag::S_IFREG && (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
}

/// `.NAME.pyrate-part`, or `.NAME.1.pyrate-part` and so on; a long name is cut to fit.
fn part_name(name: &[u8], number: u32) -> Vec<u8> {
    let number = if number == 0 { String::new() } else { format!(".{number}") };
    let room = COMPONENT_BYTES_MAX - 1 - number.len() - PART_SUFFIX.len();
    [b".", cut(name, room), number.as_bytes(), PART_SUFFIX].concat()
}

/// `name (1).ext` and so on; the plain name for 0. A long name is cut to fit.
pub(super) fn numbered(name: &[u8], number: u32) -> Vec<u8> {
    if number == 0 {
        return name.to_vec();
    }
    let dot = name.iter().rposition(|&byte| byte == b'.').filter(|&at| at > 0 && name.len() - at <= 16);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let number = format!(" ({number})");
    let room = COMPONENT_BYTES_MAX - number.len() - extension.len();
    [cut(stem, room), number.as_bytes(), extension].concat()
}

/// At most `room` bytes from the front, and no UTF-8 sequence cut in half.
fn cut(name: &[u8], room: usize) -> &[u8] {
    let mut end = name.len().min(room);
    while end > 0 && end < name.len() && name[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    &name[..end]
}

pub(super) fn fault(errno: Errno) -> DiskFault {
    io::Error::from(errno).into()
}

#[cfg(test)]
mod tests;
