//! The SQLite file: opening, checking that it is ours, setting it aside, reading.
//!
//! It is in WAL mode: one connection reads while another writes, and neither waits for the other. While a connection is
//! open, only SQLite may open the files, since closing any other descriptor would release all locks of the process (fcntl).

use super::super::hasher::warm;
use super::CacheFault;
use super::record::checksum;
use crate::content::{ChainingValue, group_count};
use crate::id::ContentHash;
use crate::library::FileMeta;
use nix::libc::{ELOOP, O_NOFOLLOW, O_NONBLOCK};
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, OptionalExtension, Row};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// In the header of the file: "PyrH".
const APPLICATION_ID: i64 = 0x5079_7248;

/// The layout below. A file of another one is set aside, except [`VERSION_WITHOUT_CTIME`].
const VERSION: i64 = 2;

/// The layout without `ctime_ns`. Its entries may be outdated: the cache starts empty, and each file is hashed again.
const VERSION_WITHOUT_CTIME: i64 = 1;

/// `device` is the number of the filesystem (`Volume`). Unsigned integers are stored as signed ones of the same bits. `sum` is
/// [`checksum`], for a chain with its values; `run` is the last run of the daemon that looked the entry up.
const SCHEMA: &str = "
    CREATE TABLE file (device INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, b3 BLOB NOT NULL, sum INTEGER NOT NULL,
        run INTEGER NOT NULL,
        PRIMARY KEY (device, inode)) STRICT, WITHOUT ROWID;
    CREATE TABLE chain (device INTEGER NOT NULL, inode INTEGER NOT NULL, sum INTEGER NOT NULL, vals BLOB NOT NULL,
        PRIMARY KEY (device, inode)) STRICT;
    CREATE TABLE run (number INTEGER NOT NULL) STRICT;
    INSERT INTO run VALUES (0);";

const GET: &str = "SELECT size, mtime_ns, ctime_ns, b3, sum, run FROM file WHERE device = ?1 AND inode = ?2";
const GET_CHAIN: &str = "SELECT sum, vals FROM chain WHERE device = ?1 AND inode = ?2";
const HAS_CHAIN: &str = "SELECT 1 FROM chain WHERE device = ?1 AND inode = ?2";
const GET_RUN: &str = "SELECT number FROM run";

/// 512 KiB of cache, each commit is synced, cheap checks for damage, no memory map of the file, and the log is truncated.
const SETTINGS: &str = "
    PRAGMA cache_size = -512; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA synchronous = FULL;
    PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF; PRAGMA journal_size_limit = 8388608;";

/// How long a writer waits for another connection of ours, which reads for microseconds.
const BUSY: Duration = Duration::from_secs(5);

/// How much of the file is read ahead: after a start every entry is looked up in the order of a scan, and a disk would have to
/// seek for each.
const WARM_BYTES_MAX: u64 = 512 * 1024 * 1024;

const DAMAGED: &str = ".damaged";

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The hash, and the last run that looked it up.
    Whole {
        b3: ContentHash,
        run: i64,
    },
    /// The file had another size or time.
    Other,
    Doubtful,
}

#[derive(Debug)]
pub(super) struct Database {
    pub(super) connection: Connection,
}

impl Database {
    /// Opens or creates the database. No other connection to it may be open.
    pub(super) fn open(path: &Path) -> Result<Self, CacheFault> {
        make_file(path)?;
        let database = Self::connect(path)?;
        let connection = &database.connection;
        connection.busy_timeout(BUSY).map_err(fault)?;
        let is_ours = (database.number("PRAGMA application_id")?, database.number("PRAGMA user_version")?);
        match is_ours {
            (APPLICATION_ID, VERSION) => database.check_layout()?,
            (0, 0) if database.number("SELECT count(*) FROM sqlite_schema")? == 0 => database.lay_out()?,
            (APPLICATION_ID, VERSION_WITHOUT_CTIME) => return Err(CacheFault::Outdated),
            (APPLICATION_ID, version) => {
                return Err(CacheFault::Damaged(format!("it has the unknown version {version}")));
            }
            _ => return Err(CacheFault::Damaged("it is another program's".to_owned())),
        }
        // From now on entries are looked up with it, while another connection may write.
        connection.busy_timeout(Duration::ZERO).map_err(fault)?;
        Ok(database)
    }

    /// Another connection to an open database, for writing in another thread.
    pub(super) fn attach(path: &Path) -> Result<Self, CacheFault> {
        let database = Self::connect(path)?;
        database.connection.busy_timeout(BUSY).map_err(fault)?;
        Ok(database)
    }

    fn connect(path: &Path) -> Result<Self, CacheFault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(fault)?;
        connection.execute_batch(SETTINGS).map_err(fault)?;
        Ok(Self { connection })
    }

    pub(super) fn get(&self, file: &FileMeta) -> Result<Option<Found>, CacheFault> {
        let at = (file.device.cast_signed(), file.inode.cast_signed());
        let mut query = self.connection.prepare_cached(GET).map_err(fault)?;
        let found = query.query_row(at, |row| Ok(check_entry(row, file))).optional().map_err(fault)?;
        if !matches!(found, Some(Found::Whole { .. })) || group_count(file.size) < 2 {
            return Ok(found);
        }
        let mut query = self.connection.prepare_cached(HAS_CHAIN).map_err(fault)?;
        Ok(if query.exists(at).map_err(fault)? { found } else { Some(Found::Doubtful) })
    }

    /// The chaining values of a file, if their checksum matches.
    pub(super) fn chain(
        &self,
        file: &FileMeta,
        b3: &ContentHash,
    ) -> Result<Option<Option<Vec<ChainingValue>>>, CacheFault> {
        if group_count(file.size) < 2 {
            return Ok(Some(Some(Vec::new())));
        }
        let at = (file.device.cast_signed(), file.inode.cast_signed());
        let mut query = self.connection.prepare_cached(GET_CHAIN).map_err(fault)?;
        query.query_row(at, |row| Ok(check_chain(row, file, b3))).optional().map_err(fault)
    }

    /// The last run that wrote; 0 if there was none.
    pub(super) fn run(&self) -> Result<i64, CacheFault> {
        self.number(GET_RUN)
    }

    /// Bytes in use, without the log.
    pub(super) fn bytes(&self) -> Result<u64, CacheFault> {
        let pages = self.number("PRAGMA page_count")? - self.number("PRAGMA freelist_count")?;
        Ok(u64::try_from(pages.saturating_mul(self.number("PRAGMA page_size")?)).unwrap_or(0))
    }

    fn number(&self, query: &str) -> Result<i64, CacheFault> {
        self.connection.query_row(query, (), |row| row.get(0)).map_err(fault)
    }

    fn lay_out(&self) -> Result<(), CacheFault> {
        let mode: String =
            self.connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0)).map_err(fault)?;
        if mode != "wal" {
            return Err(CacheFault::Database("the filesystem does not bear a write-ahead log".to_owned()));
        }
        let sign = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};");
        let make = format!("BEGIN IMMEDIATE; {SCHEMA} {sign} COMMIT;");
        self.connection.execute_batch(&make).map_err(fault)
    }

    fn check_layout(&self) -> Result<(), CacheFault> {
        let usable = || {
            self.connection.prepare(GET)?;
            self.connection.prepare(GET_CHAIN)?;
            self.connection.query_row(GET_RUN, (), |row| row.get::<_, i64>(0))
        };
        match usable().map_err(fault) {
            Ok(_) => Ok(()),
            Err(CacheFault::Database(why)) => Err(CacheFault::Damaged(why)),
            Err(fault) => Err(fault),
        }
    }
}

/// Removes a database and its log. No connection to it may be open. Returns a sentence for the log.
pub(super) fn start_again(path: &Path) -> Result<String, CacheFault> {
    // The log first, as in `set_aside`.
    for old in [with_suffix(path, "-wal"), with_suffix(path, "-shm"), path.to_owned()] {
        missing_is_fine(fs::remove_file(old))?;
    }
    Ok(format!("the cache of hashes {} lacks the times of change: each file is hashed once more", path.display()))
}

/// Opens a database again that seems damaged: SQLite reports a failed read as damage. No connection to it may be open.
/// Errors: [`CacheFault::Damaged`] if the file can be read and is damaged; otherwise as the system reports.
pub(super) fn open_again(path: &Path) -> Result<Database, CacheFault> {
    for file in [path.to_owned(), with_suffix(path, "-wal")] {
        missing_is_fine(read_through(&file))?;
    }
    let database = Database::open(path)?;
    let sound: String = database.connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0)).map_err(fault)?;
    if sound == "ok" { Ok(database) } else { Err(CacheFault::Damaged(sound)) }
}

/// Reads a whole file, to get its errors.
fn read_through(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(());
    }
    let mut file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)?;
    io::copy(&mut file, &mut io::sink()).map(drop)
}

/// Renames a damaged database and its log, replacing earlier ones. No connection to it may be open. Returns a sentence for the
/// log.
pub(super) fn set_aside(path: &Path, why: &str) -> Result<String, CacheFault> {
    let aside = with_suffix(path, DAMAGED);
    for old in [&aside, &with_suffix(&aside, "-wal"), &with_suffix(path, "-shm")] {
        missing_is_fine(fs::remove_file(old))?;
    }
    // The log first: beside a new database it could be taken for the log of that.
    missing_is_fine(fs::rename(with_suffix(path, "-wal"), with_suffix(&aside, "-wal")))?;
    missing_is_fine(fs::rename(path, &aside))?;
    Ok(format!(
        "the cache of hashes cannot be used ({why}): it was renamed to {}, and files are hashed again",
        aside.display()
    ))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn missing_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Creates an empty file for its owner only, unless there is a regular file.
fn make_file(path: &Path) -> Result<(), CacheFault> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    match options.custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path) {
        Ok(file) if file.metadata()?.is_file() => {
            warm(&file, WARM_BYTES_MAX);
            Ok(())
        }
        Err(error) if error.raw_os_error() != Some(ELOOP) && error.kind() != io::ErrorKind::IsADirectory => {
            Err(error.into())
        }
        _ => Err(CacheFault::Damaged("it is not a regular file".to_owned())),
    }
}

/// Compares an entry with a file and with its own checksum.
fn check_entry(row: &Row<'_>, file: &FileMeta) -> Found {
    let read = || -> Result<Found, Error> {
        let (size, mtime_ns, ctime_ns): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let b3 = ContentHash(row.get(3)?);
        let meta = FileMeta { size: size.cast_unsigned(), mtime_ns, ctime_ns, ..*file };
        Ok(match () {
            () if row.get::<_, i64>(4)? != checksum(&meta, &b3, &[]) => Found::Doubtful,
            () if meta != *file => Found::Other,
            () => Found::Whole { b3, run: row.get(5)? },
        })
    };
    read().unwrap_or(Found::Doubtful)
}

/// The values of a chain, if its checksum and length match.
fn check_chain(row: &Row<'_>, file: &FileMeta, b3: &ContentHash) -> Option<Vec<ChainingValue>> {
    let sum: i64 = row.get(0).ok()?;
    let bytes = row.get_ref(1).ok()?.as_blob().ok()?;
    let (values, rest) = bytes.as_chunks::<32>();
    let fits = rest.is_empty() && values.len() as u64 == group_count(file.size);
    (fits && sum == checksum(file, b3, bytes)).then(|| values.iter().map(|value| ChainingValue(*value)).collect())
}

pub(super) fn fault(error: Error) -> CacheFault {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => return CacheFault::Damaged(error.to_string()),
        Some(ErrorCode::DiskFull) => io::ErrorKind::StorageFull,
        Some(ErrorCode::ReadOnly) => io::ErrorKind::ReadOnlyFilesystem,
        Some(ErrorCode::PermissionDenied) => io::ErrorKind::PermissionDenied,
        // These do not mean that the file is damaged.
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::OutOfMemory
            | ErrorCode::CannotOpen
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked,
        ) => io::ErrorKind::Other,
        _ => return CacheFault::Database(error.to_string()),
    };
    CacheFault::Io(io::Error::new(kind, error.to_string()))
}
