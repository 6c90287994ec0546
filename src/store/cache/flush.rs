//! Writing a batch, in a worker thread.

use super::database::{Database, fault, open_again, set_aside};
use super::record::{Batch, Key, PendingFix, Record, checksum, key};
use super::{CacheFault, Limits, RUNS_KEPT};
use rusqlite::Transaction;
use std::path::PathBuf;
use std::sync::Arc;

/// Old entries that are removed in one commit.
const PRUNE_ENTRIES_MAX: usize = 4096;

/// Such commits in one job; the next job continues.
const PRUNE_COMMITS_MAX: usize = 16;

const PUT: &str = "INSERT OR REPLACE INTO file (device, inode, size, mtime_ns, ctime_ns, b3, sum, run)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const PUT_CHAIN: &str = "INSERT OR REPLACE INTO chain (device, inode, sum, vals) VALUES (?1, ?2, ?3, ?4)";
const SEEN: &str = "UPDATE file SET run = ?3 WHERE device = ?1 AND inode = ?2";
const REMOVE: &str = "DELETE FROM file WHERE device = ?1 AND inode = ?2";
const REMOVE_CHAIN: &str = "DELETE FROM chain WHERE device = ?1 AND inode = ?2";
const STALE: &str = "SELECT device, inode FROM file WHERE (device, inode) > (?1, ?2) AND run <= ?3
    ORDER BY device, inode LIMIT ?4";
const SET_RUN: &str = "UPDATE run SET number = ?1";

/// A batch to be written. Waits for the disk.
#[derive(Debug)]
pub(crate) struct FlushJob {
    pub(super) path: PathBuf,
    /// The database is closed: check it first, and set it aside if it is damaged.
    pub(super) start_again: bool,
    pub(super) run: i64,
    pub(super) limits: Limits,
    pub(super) batch: Arc<Batch>,
}

#[derive(Debug)]
pub(crate) struct Flushed {
    /// The new database, and a sentence for the log.
    pub(super) opened: Option<(Database, String)>,
}

impl FlushJob {
    /// Writes the batch in one commit, and syncs it.
    /// Errors: as the system and SQLite report; for [`HashCache::flush_failed`](super::HashCache::flush_failed).
    pub(crate) fn run(self) -> Result<Flushed, CacheFault> {
        if self.start_again {
            let (mut database, note) = match open_again(&self.path) {
                Err(CacheFault::Damaged(why)) => {
                    let note = set_aside(&self.path, &why)?;
                    (Database::open(&self.path)?, note)
                }
                opened => (opened?, "the cache of hashes could not be read for a moment, and is whole".to_owned()),
            };
            self.write(&mut database)?;
            return Ok(Flushed { opened: Some((database, note)) });
        }
        let mut database = Database::attach(&self.path)?;
        self.write(&mut database)?;
        Ok(Flushed { opened: None })
    }

    fn write(&self, database: &mut Database) -> Result<(), CacheFault> {
        // The first batches of a run remove stale entries. The run counts as begun when none is left.
        let begins =
            database.run()? < self.run && (database.bytes()? <= self.limits.kept_bytes || self.prune(database)?);
        let has_room = database.bytes()? < self.limits.bytes_max;
        let commit = database.connection.transaction().map_err(fault)?;
        let write = || -> Result<(), rusqlite::Error> {
            if begins {
                commit.execute(SET_RUN, (self.run,))?;
            }
            apply_fixes(&commit, &self.batch.fixes, self.run)?;
            if has_room { enter(&commit, &self.batch.records, self.run) } else { Ok(()) }
        };
        write().map_err(fault)?;
        commit.commit().map_err(fault)
    }

    /// Removes a limited number of stale entries. Returns whether none is left.
    fn prune(&self, database: &mut Database) -> Result<bool, CacheFault> {
        let mut after = (i64::MIN, i64::MIN);
        for _ in 0..PRUNE_COMMITS_MAX {
            let commit = database.connection.transaction().map_err(fault)?;
            let removed = remove_stale(&commit, after, self.run.saturating_sub(RUNS_KEPT)).map_err(fault)?;
            commit.commit().map_err(fault)?;
            match removed {
                Some(last) => after = last,
                None => return Ok(true),
            }
        }
        Ok(false)
    }
}

/// Writes entries, replacing those of the same inodes.
fn enter(commit: &Transaction<'_>, records: &[Record], run: i64) -> Result<(), rusqlite::Error> {
    let mut put = commit.prepare(PUT)?;
    let mut put_chain = commit.prepare(PUT_CHAIN)?;
    let mut remove_chain = commit.prepare(REMOVE_CHAIN)?;
    for Record { meta, b3, chain } in records {
        let (device, inode) = signed(&key(meta));
        let sum = checksum(meta, b3, &[]);
        let size = meta.size.cast_signed();
        put.execute((device, inode, size, meta.mtime_ns, meta.ctime_ns, &b3.0[..], sum, run))?;
        if chain.is_empty() {
            remove_chain.execute((device, inode))?;
        } else {
            let values: Vec<u8> = chain.iter().flat_map(|value| value.0).collect();
            put_chain.execute((device, inode, checksum(meta, b3, &values), &values[..]))?;
        }
    }
    Ok(())
}

fn apply_fixes(commit: &Transaction<'_>, fixes: &[(Key, PendingFix)], run: i64) -> Result<(), rusqlite::Error> {
    let mut seen = commit.prepare(SEEN)?;
    for (key, what) in fixes {
        let (device, inode) = signed(key);
        match what {
            PendingFix::Seen => seen.execute((device, inode, run)).map(drop)?,
            PendingFix::Remove => remove(commit, device, inode)?,
        }
    }
    Ok(())
}

/// Removes entries after this key that were last looked up in `run_max` or before. Returns the last of them, or `None` if there
/// are no more.
fn remove_stale(
    commit: &Transaction<'_>,
    after: (i64, i64),
    run_max: i64,
) -> Result<Option<(i64, i64)>, rusqlite::Error> {
    let mut query = commit.prepare(STALE)?;
    let asked = (after.0, after.1, run_max, PRUNE_ENTRIES_MAX as i64);
    let rows = query.query_map(asked, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let stale: Vec<(i64, i64)> = rows.collect::<Result<_, _>>()?;
    for &(device, inode) in &stale {
        remove(commit, device, inode)?;
    }
    Ok(stale.last().copied().filter(|_| stale.len() == PRUNE_ENTRIES_MAX))
}

fn remove(commit: &Transaction<'_>, device: i64, inode: i64) -> Result<(), rusqlite::Error> {
    commit.prepare_cached(REMOVE)?.execute((device, inode))?;
    commit.prepare_cached(REMOVE_CHAIN)?.execute((device, inode)).map(drop)
}

fn signed(&(device, inode): &Key) -> (i64, i64) {
    (device.cast_signed(), inode.cast_signed())
}
