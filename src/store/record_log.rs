//! A small keyed log in the state directory: what is put there outlives a kill at once.

use super::StateDirectory;
use std::collections::BTreeMap;
use std::io;

/// A log of records by key.
#[derive(Debug)]
pub struct RecordLog {}

impl RecordLog {
    /// Opens it, and tells what it holds.
    ///
    /// # Errors
    /// As the system reports.
    pub fn open(_directory: &StateDirectory, _file: &'static str) -> io::Result<(Self, BTreeMap<u32, Vec<u8>>)> {
        unimplemented!()
    }

    /// The highest key ever put; 0 if none was.
    pub fn highest(&self) -> u32 {
        unimplemented!()
    }

    /// Puts a record in the place of what the key had.
    ///
    /// # Errors
    /// As the system reports.
    pub fn put(&mut self, _key: u32, _record: &[u8]) -> io::Result<()> {
        unimplemented!()
    }

    /// Removes a record.
    ///
    /// # Errors
    /// As the system reports.
    pub fn remove(&mut self, _key: u32) -> io::Result<()> {
        unimplemented!()
    }

    /// A job when one is due and none is out.
    pub fn maintain(&mut self) -> Option<LogJob> {
        unimplemented!()
    }

    /// Takes what a job brought.
    pub fn done(&mut self, _done: LogDone) {
        unimplemented!()
    }
}

/// A job for a helper thread.
#[derive(Debug)]
pub struct LogJob {}

impl LogJob {
    /// Runs it.
    ///
    /// # Errors
    /// As the system reports.
    pub fn run(self) -> io::Result<LogDone> {
        unimplemented!()
    }
}

/// What a [`LogJob`] brought.
#[derive(Debug)]
pub struct LogDone {}
