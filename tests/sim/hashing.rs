//! The hasher of a host: reads the files of its share in the time that takes, or knows them from its cache.

use crate::host::HostId;
use crate::world::{Occurrence, World};
use pyrate::fault::DiskFault;
use pyrate::library::ScannedFile;
use pyrate::node::contract::{Event, HashedFile};

/// Files in a batch at most, as the contract says.
const BATCH_FILES_MAX: usize = 256;

/// Bytes hashed in a millisecond.
const HASH_BYTES_PER_MS: u64 = 1_000_000;

impl World {
    pub(crate) fn hash_files(&mut self, host: HostId, files: Vec<ScannedFile>) {
        if files.is_empty() || files.len() > BATCH_FILES_MAX {
            self.violation(host, &format!("a batch of {} files is to be hashed", files.len()));
        }
        if self.hosts[host.0].hashing > 0 {
            self.violation(host, "two batches are hashed at once");
        }
        self.hosts[host.0].hashing = files.len();
        let epoch = self.hosts[host.0].epoch;
        let (mut after, mut told_together) = (0, Vec::new());
        for file in files {
            let cached = self.hosts[host.0].disk.hashed.contains(&file.meta);
            after += if cached { 0 } else { 1 + file.meta.size / HASH_BYTES_PER_MS };
            told_together.push(file);
            if !cached || self.random.chance(100) {
                self.plan(after, Occurrence::Hashed(host, epoch, std::mem::take(&mut told_together)));
            }
        }
        if !told_together.is_empty() {
            self.plan(after, Occurrence::Hashed(host, epoch, told_together));
        }
    }

    pub(crate) fn hashed(&mut self, host: HostId, files: Vec<ScannedFile>) {
        self.hosts[host.0].hashing -= files.len();
        let mut told = Vec::new();
        for file in files {
            let mut outcome = self.hosts[host.0].disk.unchanged(&file);
            let changed = self.changed_per_mille;
            if self.random.chance(changed) {
                outcome = Err(DiskFault::Changed);
            }
            if outcome.is_ok() {
                self.hosts[host.0].disk.hashed.insert(file.meta);
            }
            told.push(HashedFile { file, outcome: outcome.map(|content| content.b3()) });
        }
        self.deliver(host, Event::Hashed { files: told });
    }
}
