//! A small keyed log in the state directory: what is put there outlives the process from that moment on.
//!
//! ```text
//! file     head frame, then a frame for each change
//! frame    check (8), length of the record (4), key (4), kind (1), record
//! ```
//!
//! The head holds the highest key ever put, and a nonce; a frame's check is taken over the nonce, its place in the file
//! and all after it. Reading stops at the first frame that does not fit: a change is there whole or not at all, and
//! none comes back from an earlier file.
//!
//! Syncing is left to a job, and so is writing a shorter file when most of it is out of date.

use super::StateDirectory;
use super::part::disk;
use super::state::{NEW_SUFFIX, STATE_FILE_BYTES_MAX, check_name};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// A shorter file is left as it is, however much of it is out of date.
const COMPACT_BYTES_MIN: u64 = 64 * 1024;

/// Bytes of a frame before its record.
const FRAME_BYTES: usize = CHECK_BYTES + 4 + 4 + 1;

const CHECK_BYTES: usize = 8;

const NONCE_BYTES: usize = 8;

/// How the log's files are opened: never over a link.
const OPEN_FLAGS: OFlag =
    OFlag::O_RDWR.union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);

/// Records by key.
type Records = BTreeMap<u32, Vec<u8>>;

/// A log that was read.
type Found = (Content, Records);

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The first: its key is the highest so far, its record the nonce.
    Head,
    /// The key has this record now.
    Put,
    /// The key has none any more.
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

/// A log of records by key. The state directory stays ours as long as it lives.
#[derive(Debug)]
pub struct RecordLog {
    place: Arc<Place>,
    content: Content,
    /// Length up to which the file is synced, name and all.
    synced_bytes: u64,
    /// A sync has failed, so that what the file seems to hold may be in memory alone: it has to be written anew.
    is_suspect: bool,
    /// Not compacted below this length.
    compact_bytes_min: u64,
    job: Option<Out>,
    set_aside: bool,
}

/// The file's place.
#[derive(Debug)]
struct Place {
    directory: OwnedFd,
    name: &'static str,
    /// Held for its lock.
    _state: StateDirectory,
}

/// An open file, and what is known of it.
#[derive(Debug)]
struct Content {
    file: File,
    nonce: [u8; NONCE_BYTES],
    bytes: u64,
    /// Something stands behind those bytes that must go before more is written.
    is_torn: bool,
    highest: u32,
    /// Bytes of the frame of each key that has a record.
    live: BTreeMap<u32, u64>,
}

/// A job that is out.
#[derive(Debug)]
struct Out {
    job: Job,
    /// What was changed since a compaction began, in order: the new file lacks it.
    since: Vec<(u32, Option<Vec<u8>>)>,
}

impl RecordLog {
    /// Opens a log, or makes it, and tells the records that it holds. Waits for the disk.
    ///
    /// A file that is no log is set aside under its name and `.damaged`, and the log begins empty; see
    /// [`RecordLog::has_set_aside`].
    ///
    /// # Errors
    /// As the system reports them; [`io::ErrorKind::InvalidInput`] for a name that is not one component.
    pub fn open(directory: &StateDirectory, file: &'static str) -> io::Result<(Self, Records)> {
        check_name(file)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let handle = open(directory.path(), flags, Mode::empty())?;
        let place = Place { directory: handle, name: file, _state: directory.share() };
        let (found, set_aside) = place.read()?;
        let (content, records) = match found {
            Some((content, records)) if !content.is_torn => (content, records),
            found => {
                // Whatever stands behind the last whole frame must be gone for good before others take its place.
                let (highest, records) = found.map(|(content, records)| (content.highest, records)).unwrap_or_default();
                let content = place.write_new(highest, &records)?;
                disk::sync(&content.file)?;
                place.install()?;
                (content, records)
            }
        };
        disk::sync(&content.file)?;
        disk::sync_directory(place.directory.as_fd())?;
        let (synced_bytes, compact_bytes_min) = (content.bytes, COMPACT_BYTES_MIN);
        let place = Arc::new(place);
        let log = Self { place, content, synced_bytes, is_suspect: false, compact_bytes_min, job: None, set_aside };
        Ok((log, records))
    }

    /// Whether the file that was found is no log, and was set aside.
    pub fn has_set_aside(&self) -> bool {
        self.set_aside
    }

    /// The highest key ever put; 0 if none was.
    pub fn highest(&self) -> u32 {
        self.content.highest
    }

    /// Puts a record in the place of what the key had. When it returns, the record outlives the process; it outlives
    /// power loss after the next job.
    ///
    /// # Errors
    /// As the system reports them, [`io::ErrorKind::InvalidInput`] for more than [`RECORD_BYTES_MAX`], and
    /// [`io::ErrorKind::FileTooLarge`] when the log is full. Then the key has what it had.
    pub fn put(&mut self, key: u32, record: &[u8]) -> io::Result<()> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the record is too long"));
        }
        self.change(key, Some(record))
    }

    /// Removes a key's record, if it has one.
    ///
    /// # Errors
    /// As [`RecordLog::put`].
    pub fn remove(&mut self, key: u32) -> io::Result<()> {
        if self.content.live.contains_key(&key) { self.change(key, None) } else { Ok(()) }
    }

    fn change(&mut self, key: u32, record: Option<&[u8]>) -> io::Result<()> {
        self.content.append(key, record)?;
        if let Some(out) = self.job.as_mut().filter(|out| out.job.compacts) {
            out.since.push((key, record.map(<[u8]>::to_vec)));
        }
        Ok(())
    }

    /// Makes a job when one is due and none is out: syncing what was changed, or writing the file anew when more than
    /// half of it is out of date.
    pub fn maintain(&mut self) -> Option<LogJob> {
        self.hear_of_job();
        let content = &self.content;
        let is_stale = content.bytes >= self.compact_bytes_min && content.bytes / 2 > content.live_bytes();
        let compacts = self.is_suspect || is_stale;
        if self.job.is_some() || !(compacts || content.bytes != self.synced_bytes) {
            return None;
        }
        let file = content.file.try_clone().ok()?;
        let job = Job { bytes: content.bytes, compacts, failed: Arc::default() };
        self.job = Some(Out { job: job.clone(), since: Vec::new() });
        Some(LogJob { place: Arc::clone(&self.place), file, nonce: content.nonce, job })
    }

    /// Takes what a job brought.
    pub fn done(&mut self, done: LogDone) {
        let Some(out) = self.job.take_if(|out| Arc::ptr_eq(&out.job.failed, &done.job.failed)) else { return };
        let Some(content) = done.content else {
            self.synced_bytes = out.job.bytes;
            return;
        };
        if self.replace(content, out.since).is_err() {
            let _ = disk::unlink(self.place.directory.as_fd(), self.place.new_name().as_bytes());
            self.put_off();
        }
    }

    /// Puts a compacted file in the place of the present one, with all that was changed meanwhile.
    fn replace(&mut self, mut content: Content, since: Vec<(u32, Option<Vec<u8>>)>) -> io::Result<()> {
        for (key, record) in since {
            content.append(key, record.as_deref())?;
        }
        self.place.install()?;
        self.content = content;
        // Its name is not synced.
        self.synced_bytes = 0;
        self.is_suspect = false;
        self.compact_bytes_min = COMPACT_BYTES_MIN;
        Ok(())
    }

    /// Learns that a job ended without success.
    fn hear_of_job(&mut self) {
        let Some(out) = self.job.take_if(|out| Arc::strong_count(&out.job.failed) == 1) else { return };
        if out.job.compacts {
            self.put_off();
        } else if out.job.failed.load(Ordering::Acquire) {
            self.is_suspect = true;
        }
    }

    /// Leaves the file as it is until it has grown to twice its length.
    fn put_off(&mut self) {
        self.compact_bytes_min = self.content.bytes.saturating_mul(2).max(COMPACT_BYTES_MIN);
    }
}

impl Place {
    /// The name under which a file is written before it takes the log's place.
    fn new_name(&self) -> String {
        format!(".{}{NEW_SUFFIX}", self.name)
    }

    /// Reads the log, if there is one. Says whether something else was set aside.
    fn read(&self) -> io::Result<(Option<Found>, bool)> {
        let file = match openat(&self.directory, self.name, OPEN_FLAGS, Mode::empty()) {
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
            // Nothing is lost with an empty file, which power loss may leave.
            if bytes.is_empty() {
                return Ok((None, false));
            }
        }
        let damaged = format!("{}.damaged", self.name);
        disk::rename(self.directory.as_fd(), self.name.as_bytes(), damaged.as_bytes())?;
        Ok((None, true))
    }

    /// Writes a file with these records under the name of a new one.
    fn write_new(&self, highest: u32, records: &Records) -> io::Result<Content> {
        let name = self.new_name();
        disk::unlink(self.directory.as_fd(), name.as_bytes())?;
        let flags = OPEN_FLAGS | OFlag::O_CREAT | OFlag::O_EXCL;
        let file = File::from(openat(&self.directory, name.as_str(), flags, Mode::from_bits_truncate(0o600))?);
        disk::named(name.as_bytes(), &file);
        let nonce = RandomState::new().hash_one(highest).to_le_bytes();
        let mut bytes = frame(&[0; NONCE_BYTES], 0, Kind::Head, highest, &nonce);
        let mut live = BTreeMap::new();
        for (&key, record) in records {
            let next = frame(&nonce, bytes.len() as u64, Kind::Put, key, record);
            live.insert(key, next.len() as u64);
            bytes.extend(next);
        }
        if let Err(error) = disk::write_at(&file, &bytes, 0) {
            let _ = disk::unlink(self.directory.as_fd(), name.as_bytes());
            return Err(error);
        }
        Ok(Content { file, nonce, bytes: bytes.len() as u64, is_torn: false, highest, live })
    }

    /// Gives a new file the log's name.
    fn install(&self) -> io::Result<()> {
        let new = self.new_name();
        Ok(disk::rename(self.directory.as_fd(), new.as_bytes(), self.name.as_bytes())?)
    }
}

impl Content {
    /// Writes a change at the end.
    fn append(&mut self, key: u32, record: Option<&[u8]>) -> io::Result<()> {
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
            // A beginning may stand there; the whole may not, since the caller is told that it does not.
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

    /// Bytes that a file with these records alone would have.
    fn live_bytes(&self) -> u64 {
        (FRAME_BYTES + NONCE_BYTES) as u64 + self.live.values().sum::<u64>()
    }
}

/// Maintenance of a log: it waits for the disk, so it may run in a helper thread. Dropped instead of run, it is made
/// again.
#[derive(Debug)]
pub struct LogJob {
    place: Arc<Place>,
    file: File,
    nonce: [u8; NONCE_BYTES],
    job: Job,
}

/// One job, as the log, the job and its outcome know it.
#[derive(Debug, Clone)]
struct Job {
    /// Of the file when the job was made.
    bytes: u64,
    compacts: bool,
    failed: Arc<AtomicBool>,
}

impl LogJob {
    /// Syncs the file and its name, or writes and syncs a new file.
    ///
    /// # Errors
    /// As the system reports them; the log is as it was, and [`RecordLog::maintain`] makes another job.
    pub fn run(self) -> io::Result<LogDone> {
        let outcome = if self.job.compacts { self.compact().map(Some) } else { self.sync().map(|()| None) };
        match outcome {
            Ok(content) => Ok(LogDone { content, job: self.job }),
            Err(error) => {
                self.job.failed.store(true, Ordering::Release);
                Err(error)
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        disk::sync(&self.file)?;
        Ok(disk::sync_directory(self.place.directory.as_fd())?)
    }

    fn compact(&self) -> io::Result<Content> {
        let mut bytes = vec![0; usize::try_from(self.job.bytes).unwrap_or(usize::MAX)];
        std::os::unix::fs::FileExt::read_exact_at(&self.file, &mut bytes, 0)?;
        let read = decode(self.file.try_clone()?, &bytes);
        // Whoever changed the file behind our back is not to shorten it this way.
        let whole = read.filter(|(content, _)| content.nonce == self.nonce && !content.is_torn);
        let (content, records) = whole.ok_or(io::ErrorKind::InvalidData)?;
        let new = self.place.write_new(content.highest, &records)?;
        disk::sync(&new.file)?;
        Ok(new)
    }
}

/// What a [`LogJob`] brought; to be given to the log that made it.
#[derive(Debug)]
pub struct LogDone {
    /// A new file.
    content: Option<Content>,
    job: Job,
}

fn read_whole(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(STATE_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads frames up to the first that does not fit. `None` without a head, or beyond the largest file.
fn decode(file: File, bytes: &[u8]) -> Option<Found> {
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

/// The frame at an offset, if it is whole: kind, key, record, and where it ends.
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

fn frame(nonce: &[u8; NONCE_BYTES], at: u64, kind: Kind, key: u32, record: &[u8]) -> Vec<u8> {
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

#[cfg(test)]
mod tests;
