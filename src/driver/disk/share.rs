//! The share, its scans, and state files.

use crate::bootstrap::{Bootstrap, encode_snapshot};
use crate::driver::Driver;
use crate::driver::clock::wall_ns;
use crate::driver::disk::jobs::Done;
use crate::driver::disk::state;
use crate::driver::net::timers::Timer;
use crate::fault::DiskFault;
use crate::library::{RecentFile, ScanReport, ScannedFile};
use crate::name::FileName;
use crate::node::contract::LookedAt;
use crate::node::{Event, RememberedPeers};
use crate::store::{DirectoryMount, OwnFiles, Scanner, ShareRoot};
use log::warn;
use std::io;
use std::time::Duration;

/// Directory entries of one slice of a scan: some hundred microseconds with warm caches.
const SCAN_ENTRIES_PER_SLICE: usize = 128;

/// How soon after a change part files and the hash cache are synced.
pub(in crate::driver) const SYNC_DELAY: Duration = Duration::from_secs(2);

/// How soon after a change the registry is saved.
const REGISTRY_SAVE_DELAY: Duration = Duration::from_secs(5);

impl Driver {
    /// Begins a scan of the share, which is opened anew: the directory may have been replaced.
    pub(in crate::driver) fn start_scan(&mut self) {
        match self.open_share() {
            Ok(root) => {
                self.share = Some(root);
                self.scan_found_files = false;
                self.scanner = Some(Scanner::start(&self.share_path).without(self.own_files()));
            }
            Err(fault) => {
                self.share = None;
                self.scanner = None;
                let report = ScanReport { failed: Some(fault), ..ScanReport::default() };
                self.inbox.push_back(Event::ScanEnded { report });
            }
        }
    }

    /// Opens the share, unless only its mount point is there.
    fn open_share(&mut self) -> Result<ShareRoot, DiskFault> {
        let root = ShareRoot::open(&self.share_path).inspect_err(|error| {
            if error.kind() == io::ErrorKind::Unsupported {
                warn!("cannot open the share {}: {error}", self.share_path.display());
            }
        })?;
        if let Some(known) = self.places.known().get(&self.share_path)
            && known.is_missing_at(&self.share_path)?
        {
            return Err(DiskFault::EmptyMountPoint);
        }
        Ok(root)
    }

    /// The scan has found files in the share: it is remembered where that is.
    fn note_share(&mut self) {
        let path = self.share_path.clone();
        // Where this cannot be told, nothing is concluded at the next start.
        if let Ok(mount) = DirectoryMount::of(&path) {
            self.note_place(&path, mount);
        }
    }

    /// One slice of the running scan.
    pub(in crate::driver) fn scan_slice(&mut self) {
        let Some(scanner) = &mut self.scanner else { return };
        let step = scanner.step(SCAN_ENTRIES_PER_SLICE, wall_ns());
        for (device, volume) in step.volumes {
            self.hashing.volumes_mut().note(device, volume);
        }
        self.scan_found_files |= !(step.recent.is_empty() && step.files.is_empty());
        if !step.recent.is_empty() {
            self.node.handle(self.now, Event::RecentFiles { files: step.recent });
        }
        if !step.files.is_empty() {
            self.node.handle(self.now, Event::Scanned { files: step.files });
        }
        if let Some(report) = step.ended {
            self.scanner = None;
            if report.failed.is_none() && std::mem::take(&mut self.scan_found_files) {
                self.note_share();
            }
            self.node.handle(self.now, Event::ScanEnded { report });
        }
    }

    /// What of our own is never shared, as it lies now.
    fn own_files(&self) -> OwnFiles {
        let mut own = OwnFiles::default();
        if let Some(state) = &self.state {
            own.directory(state.path());
        }
        own.standard_streams();
        self.host.log_files().iter().for_each(|log| own.log(log));
        own
    }

    /// Looks at files of the share again.
    pub(in crate::driver) fn look_at(&mut self, names: Vec<FileName>) {
        let wall_ns = wall_ns();
        let look = |name: FileName| {
            // Without a share nothing can be seen, which says nothing of the file.
            let share = self.share.as_ref().ok_or(DiskFault::Other(0));
            let found = share.and_then(|share| share.look(&name, self.hashing.volumes(), wall_ns));
            let found = found.map(|(meta, quiet)| RecentFile { file: ScannedFile { name: name.clone(), meta }, quiet });
            LookedAt { name, found }
        };
        let files = names.into_iter().map(look).collect();
        self.inbox.push_back(Event::LookedAt { files });
    }

    /// Writes the peers to remember.
    pub(in crate::driver) fn remember_peers(&mut self, peers: &RememberedPeers) {
        self.save_state_file(state::PEERS_FILE, state::encode_peers(peers));
    }

    /// Arms the timer that syncs what is new in the part files and the hash cache.
    pub(in crate::driver) fn arm_sync(&mut self) {
        self.arm_sync_in(SYNC_DELAY);
    }

    /// The same, after some other time.
    pub(in crate::driver) fn arm_sync_in(&mut self, delay: Duration) {
        if !self.sync_timer_armed {
            self.sync_timer_armed = true;
            self.timers.insert(self.now + delay, Timer::Sync);
        }
    }

    /// Syncs what is new.
    pub(in crate::driver) fn sync_state(&mut self) {
        self.sync_timer_armed = false;
        self.flush_hashes();
        self.sync_rest_of_parts();
        self.maintain_records();
    }

    /// Arms the timer that saves the registry, if it has changed. An idle registry wakes nobody.
    pub(in crate::driver) fn watch_registry(&mut self) {
        let revision = self.bootstrap.as_ref().map_or(0, Bootstrap::revision);
        if revision != self.registry_saved && !self.registry_timer_armed && self.state.is_some() {
            self.registry_timer_armed = true;
            self.timers.insert(self.now + REGISTRY_SAVE_DELAY, Timer::SaveRegistry);
        }
    }

    /// Writes the registry, if it has changed.
    pub(in crate::driver) fn save_registry(&mut self) {
        self.registry_timer_armed = false;
        let Some(bootstrap) = self.bootstrap.as_ref().filter(|_| self.state.is_some()) else { return };
        if bootstrap.revision() != self.registry_saved {
            self.registry_saved = bootstrap.revision();
            let snapshot = encode_snapshot(&bootstrap.snapshot());
            self.save_state_file(state::REGISTRY_FILE, snapshot);
        }
    }

    /// Takes what the helper threads have brought.
    pub(in crate::driver) fn hear_helpers(&mut self) {
        while let Some(done) = self.helpers.poll() {
            match done {
                Done::Resolved(host, outcome) => self.node.handle(self.now, Event::Resolved { host, outcome }),
                Done::TargetProbed(download, outcome) => self.on_target_probed(download, outcome),
                Done::PartOpened(download, outcome) => self.on_part_opened(download, outcome),
                Done::PartRemoved(download, outcome) => self.on_part_removed(download, outcome),
                Done::PartSynced(download, outcome) => self.on_part_synced(download, outcome),
                Done::Committed(download, outcome) => self.on_part_committed(download, outcome),
                Done::OrphansFound(found) => self.on_orphans_found(found),
                Done::OrphansRemoved(outcomes) => self.on_orphans_removed(outcomes),
                Done::HashesFlushed(outcome) => self.on_hashes_flushed(outcome),
                Done::LogMaintained(outcome) => self.on_records_maintained(outcome),
                Done::ConfigurationRead => self.on_configuration_read(),
                Done::Written(file, bytes, outcome) => self.on_state_file_written(file, &bytes, outcome),
            }
        }
    }
}
