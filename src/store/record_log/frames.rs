//! The frames of a log; reading, writing and replacing its file.

use super::super::durable::{OPEN_FLAGS, Replacing};
use super::super::state::{STATE_FILE_BYTES_MAX, new_name};
use super::super::{StateDirectory, disk};
use super::RECORD_BYTES_MAX;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

/// Bytes of a frame before its record.
const FRAME_BYTES: usize = CHECK_BYTES + 4 + 4 + 1;

const CHECK_BYTES: usize = 8;

const NONCE_BYTES: usize = 8;

/// A file that was read, and its records by key.
type Found = (Content, BTreeMap<u32, Vec<u8>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The first frame: its key is the highest so far, its record the nonce.
    Head,
    /// Sets the record of the key.
    Put,
    Remove,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Head => 0,
            Self::Put => 1,
            Self::Remove => 2,
        }
    }
}

#[derive(Debug)]
pub(super) struct Place {
    pub(super) directory: OwnedFd,
    pub(super) name: &'static str,
    /// Held for its lock.
    pub(super) _state: StateDirectory,
}

#[derive(Debug)]
pub(super) struct Content {
    pub(super) file: File,
    pub(super) nonce: [u8; NONCE_BYTES],
    pub(super) bytes: u64,
    /// There are bytes after these, which must be removed before the next write.
    pub(super) is_torn: bool,
    pub(super) highest: u32,
    /// Bytes of the frame of each key that has a record.
    pub(super) live: BTreeMap<u32, u64>,
}

impl Place {
    /// Reads the log, if there is one. Returns whether another file was set aside.
    pub(super) fn read(&self) -> io::Result<(Option<Found>, bool)> {
        let file = match openat(&self.directory, self.name, OFlag::O_RDWR | OPEN_FLAGS, Mode::empty()) {
            Ok(opened) => Some(File::from(opened)),
            Err(Errno::ENOENT) => return Ok((None, false)),
            Err(Errno::ELOOP | Errno::ENXIO | Errno::EISDIR) => None,
            Err(errno) => return Err(errno.into()),
        };
        if let Some(file) = file
            && file.metadata()?.is_file()
        {
            let bytes = read_whole(&file)?;
            if let Some(read) = decode(file, &bytes) {
                return Ok((Some(read), false));
            }
            // Power loss may leave an empty file; nothing is lost with it.
            if bytes.is_empty() {
                return Ok((None, false));
            }
        }
        let damaged = format!("{}.damaged", self.name);
        disk::rename(self.directory.as_fd(), self.name.as_bytes(), damaged.as_bytes())?;
        Ok((None, true))
    }

    /// Writes a file with these records under a temporary name.
    pub(super) fn write_new<'a>(
        &self,
        highest: u32,
        records: impl Iterator<Item = (u32, &'a [u8])>,
    ) -> io::Result<Content> {
        let nonce = RandomState::new().hash_one(highest).to_le_bytes();
        let mut bytes = frame(&[0; NONCE_BYTES], 0, Kind::Head, highest, &nonce);
        let mut live = BTreeMap::new();
        for (key, record) in records {
            let next = frame(&nonce, bytes.len() as u64, Kind::Put, key, record);
            live.insert(key, next.len() as u64);
            bytes.extend(next);
        }
        let file = self.replace(|log| log.write(&bytes))?;
        Ok(Content { file, nonce, bytes: bytes.len() as u64, is_torn: false, highest, live })
    }

    pub(super) fn install(&self) -> io::Result<()> {
        Ok(self.replace(|log| log.install())?)
    }

    pub(super) fn discard(&self) {
        self.replace(|log| log.discard());
    }

    fn replace<T>(&self, steps: impl FnOnce(Replacing<'_>) -> T) -> T {
        let new = new_name(self.name);
        steps(Replacing { directory: self.directory.as_fd(), new: new.as_bytes(), name: self.name.as_bytes() })
    }
}

impl Content {
    pub(super) fn append(&mut self, key: u32, record: Option<&[u8]>) -> io::Result<()> {
        if self.is_torn {
            disk::set_len(&self.file, self.bytes)?;
            self.is_torn = false;
        }
        let kind = if record.is_some() { Kind::Put } else { Kind::Remove };
        let frame = frame(&self.nonce, self.bytes, kind, key, record.unwrap_or_default());
        let bytes = frame.len() as u64;
        if self.bytes + bytes > STATE_FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the log is full"));
        }
        if let Err(error) = disk::write_at(&self.file, &frame, self.bytes) {
            // Removes a part that may have been written: the caller gets an error, so the frame must not be read.
            self.is_torn = disk::set_len(&self.file, self.bytes).is_err();
            return Err(error);
        }
        self.bytes += bytes;
        match record {
            Some(_) => self.live.insert(key, bytes),
            None => self.live.remove(&key),
        };
        self.highest = self.highest.max(if record.is_some() { key } else { 0 });
        Ok(())
    }
}

/// Bytes of a file with only these records.
pub(super) fn file_bytes<'a>(records: impl Iterator<Item = &'a [u8]>) -> u64 {
    let frames: usize = records.map(|record| FRAME_BYTES + record.len()).sum();
    (FRAME_BYTES + NONCE_BYTES + frames) as u64
}

fn read_whole(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(STATE_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads frames up to the first that does not match. `None` without a head, or if the file is too large.
pub(super) fn decode(file: File, bytes: &[u8]) -> Option<Found> {
    if bytes.len() as u64 > STATE_FILE_BYTES_MAX {
        return None;
    }
    let (kind, highest, nonce, mut at) = next_frame(bytes, 0, &[0; NONCE_BYTES])?;
    let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok().filter(|_| kind == Kind::Head)?;
    let (mut highest, mut live, mut records) = (highest, BTreeMap::new(), BTreeMap::new());
    while let Some((kind, key, record, end)) = next_frame(bytes, at, &nonce) {
        match kind {
            Kind::Head => break,
            Kind::Put => {
                highest = highest.max(key);
                live.insert(key, (end - at) as u64);
                records.insert(key, record.to_vec());
            }
            Kind::Remove => {
                live.remove(&key);
                records.remove(&key);
            }
        }
        at = end;
    }
    let content = Content { file, nonce, bytes: at as u64, is_torn: at < bytes.len(), highest, live };
    Some((content, records))
}

/// The frame at an offset, if it is valid: kind, key, record, and end.
fn next_frame<'a>(bytes: &'a [u8], at: usize, nonce: &[u8; NONCE_BYTES]) -> Option<(Kind, u32, &'a [u8], usize)> {
    let rest = bytes.get(at..)?;
    let (head, rest) = rest.split_at_checked(FRAME_BYTES)?;
    let length = u32::from_le_bytes(*head[CHECK_BYTES..].first_chunk()?);
    let key = u32::from_le_bytes(*head[CHECK_BYTES + 4..].first_chunk()?);
    let kind = [Kind::Head, Kind::Put, Kind::Remove].into_iter().find(|kind| kind.byte() == head[FRAME_BYTES - 1])?;
    let length = usize::try_from(length).ok().filter(|&length| length <= RECORD_BYTES_MAX)?;
    let record = rest.get(..length)?;
    let end = at + FRAME_BYTES + length;
    let fits = check(nonce, at as u64, &bytes[at + CHECK_BYTES..end]) == head[..CHECK_BYTES];
    fits.then_some((kind, key, record, end))
}

pub(super) fn frame(nonce: &[u8; NONCE_BYTES], at: u64, kind: Kind, key: u32, record: &[u8]) -> Vec<u8> {
    // No longer than RECORD_BYTES_MAX.
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    let mut body = Vec::with_capacity(FRAME_BYTES - CHECK_BYTES + record.len());
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(&key.to_le_bytes());
    body.push(kind.byte());
    body.extend_from_slice(record);
    [&check(nonce, at, &body)[..], &body].concat()
}

fn check(nonce: &[u8; NONCE_BYTES], at: u64, body: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(nonce).update(&at.to_le_bytes()).update(body);
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK_BYTES]);
    check
}
