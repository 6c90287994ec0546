//! Work at deadlines, and the results of jobs.

use super::Disk;
use super::job::Done;
use super::kept_manifests::KeptManifests;
use super::orphans::Orphans;
use crate::driver::cx::{Cx, Output, Phase};
use crate::driver::net::Net;
use crate::fault::DiskFault;
use crate::name::FileName;
use crate::node::{Event, NodeConfig};
use crate::store::SharedFile;
use crate::time::Instant;
use std::path::PathBuf;

impl Disk {
    /// When [`Disk::advance`] has something to do, or the registry is to be saved.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let retries =
            [self.records.next_deadline(), self.records.retry_at, self.state.retry_at, self.parts.removals.retry_at];
        let closes_at = self.opened.next_deadline();
        let look_at = self.watch.as_ref().and_then(|watch| watch.look_at);
        let others =
            [look_at, self.sync_at, self.hashing.flush_at, self.orphans.again_at, self.registry.save_at, closes_at];
        retries.into_iter().chain(others).chain([self.jobs.next_deadline()]).flatten().min()
    }

    /// Syncs, and tries again what failed, as far as it is due.
    pub(crate) fn advance(&mut self, config: &NodeConfig, cx: &mut Cx) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= cx.now);
        if is_due(self.hashing.flush_at) {
            self.hashing.flush(&mut self.jobs);
        }
        if is_due(self.state.retry_at) {
            self.state.retry(&mut self.jobs);
        }
        if is_due(self.sync_at) {
            self.sync();
        }
        self.jobs.give_up_overdue();
        self.records.retry(&mut self.jobs, cx);
        self.parts.retry_removals(cx.phase == Phase::Running, cx.now, &mut self.jobs);
        self.look_if_due(cx);
        if self.orphans.is_due(cx.now) {
            self.search_orphans(config, cx);
        }
    }

    /// Shutdown: syncs everything.
    pub(crate) fn leave(&mut self) {
        self.state.retry(&mut self.jobs);
        self.end_walk();
        self.records.write_now();
        self.sync();
    }

    /// Shutdown, when nothing else is to be written: closes what takes the disk. Returns whether that is done.
    pub(crate) fn close(&mut self) -> bool {
        let is_hashing_closed = self.hashing.close(&mut self.jobs);
        self.opened.close_unread(&mut self.jobs) && is_hashing_closed
    }

    /// After the last turn. What no job has closed stays open: closing waits for a disk that does not answer.
    pub(crate) fn end(mut self) {
        if self.jobs.is_syncing() {
            return std::mem::forget(self);
        }
        let is_closed = self.parts.open.files().is_empty() && self.hashing.is_closed() && self.opened.are_all_closed();
        // The state directory is given back: another node of this process may use it.
        let Self { parts, hashing, opened, scan, jobs, .. } = self;
        if !is_closed {
            std::mem::forget((parts, hashing, opened));
        }
        std::mem::forget(scan);
        jobs.end();
    }

    fn sync(&mut self) {
        self.sync_at = None;
        self.hashing.flush(&mut self.jobs);
        self.sync_parts(true);
        self.parts.open.release_buffers();
        self.records.maintain(&mut self.jobs);
    }

    /// Records the filesystems of the configured directories, and searches for orphans.
    pub(crate) fn look_at_directories(&mut self, config: &NodeConfig, cx: &Cx) {
        if config.peer {
            let named = self.named.iter().filter_map(|share| share.path.clone());
            let paths = [self.share_path.to_path_buf(), config.download_directory.clone()];
            self.places.look_for_new(paths.into_iter().chain(named), &mut self.jobs);
            self.search_orphans(config, cx);
        }
    }

    fn search_orphans(&mut self, config: &NodeConfig, cx: &Cx) {
        // Without a state directory, the part files of an earlier run would seem to be orphans.
        if self.state.directory().is_none() || cx.phase != Phase::Running {
            return;
        }
        let (tokens, mut directories) = self.records.part_files();
        directories.insert(config.download_directory.clone());
        let known = self.places.known();
        let is_share = |path: &PathBuf| {
            **path == *self.share_path || self.named.iter().any(|share| share.path.as_ref() == Some(path))
        };
        directories.extend(known.keys().filter(|path| !is_share(path)).cloned());
        self.orphans.search(directories, tokens, &mut self.jobs);
    }

    /// Processes the results of jobs. Takes descriptors for waiting orders from the net.
    pub(crate) fn receive(&mut self, net: &mut Net, cx: &mut Cx) {
        while let Some(done) = self.jobs.poll() {
            match done {
                Done::Resolved(host, outcome) => cx.out.event(Event::Resolved { host, outcome }),
                Done::DirectoriesMade(download, outcome) => {
                    self.end_job(download, Some(Event::DirectoriesMade { download, outcome }), net, cx);
                }
                Done::TargetProbed(download, outcome) => {
                    self.end_job(download, Some(Event::TargetProbed { download, outcome }), net, cx);
                }
                Done::PartOpened(download, outcome) => self.on_part_opened(download, outcome, net, cx),
                Done::PartRemoved(download, outcome) => self.on_part_removed(download, outcome, net, cx),
                Done::PartWritten(written) => self.on_part_written(written, net, cx),
                Done::PartChecked(download, step) => self.on_part_checked(download, step, net, cx),
                Done::PartClosed(download) => self.end_job(download, None, net, cx),
                Done::PartSynced(download, outcome) => self.on_part_synced(download, outcome, net, cx),
                Done::Committed(ended) => self.on_committed(ended, net, cx),
                Done::ManifestKept(download, outcome) => cx.out.event(Event::ManifestKept { download, outcome }),
                Done::ManifestRead(download, outcome) => cx.out.event(Event::ManifestRead { download, outcome }),
                Done::ManifestsRemoved(outcome) => KeptManifests::on_removed(outcome),
                Done::OrphansFound(found) => {
                    let (tokens, _) = self.records.part_files();
                    self.orphans.on_found(found, &tokens, &mut self.jobs, cx);
                }
                Done::OrphansRemoved(outcomes) => Orphans::on_removed(outcomes),
                Done::HashesFlushed(outcome) => self.hashing.on_flushed(outcome, cx.now),
                Done::HashesClosed => self.hashing.on_closed(),
                Done::RecordsWritten(written) => self.on_records_written(written, net, cx),
                Done::MountFound(path, mount) => {
                    let mounts = mount.into_iter();
                    mounts.for_each(|mount| self.places.note(&path, mount, &mut self.state, &mut self.jobs));
                }
                Done::HashStepped(share, work) => {
                    self.hashing.on_stepped((&share, work), &self.share, &mut self.jobs, cx)
                }
                Done::MetadataRead(b3, bytes) => {
                    let body = self.metadata.on_read(b3, bytes);
                    cx.out.push(Output::MetadataRead(b3, body));
                }
                Done::SharedOpened(name, outcome) => self.on_shared_opened(name, outcome, net, cx),
                Done::SharedRead(used, read, outcome) => {
                    self.opened.on_read(used, cx.now);
                    cx.out.push(Output::SharedRead(used.exchange, read, outcome));
                }
                Done::SharedLeft(used) => self.opened.on_read(used, cx.now),
                Done::LookedAt(order, found) => {
                    let all = self.looking.on_looked_at(order, found).into_iter();
                    all.for_each(|files| cx.out.event(Event::LookedAt { files }));
                }
                Done::ScanOpened(of, other, opened) => self.on_scan_opened(of, other, opened),
                Done::ScanStepped(of, walk) => self.on_scan_stepped(of, walk),
                Done::SharedClosed(share) => {
                    self.opened.on_closed(&share);
                    net.on_files_closed();
                }
                Done::WatchLooked(outcome) => self.on_watch_looked(outcome, cx),
                Done::WatchRenamed(verdict, outcome) => self.on_watch_renamed(verdict, outcome, cx),
                // These are taken by the jobs themselves.
                Done::Dropped => {}
                Done::ConfigurationRead => cx.out.push(Output::ConfigurationRead),
                Done::Written(file, content, outcome) => self.state.on_written(file, &content, outcome, cx),
            }
        }
    }

    fn on_shared_opened(&mut self, name: FileName, outcome: Result<SharedFile, DiskFault>, net: &mut Net, cx: &mut Cx) {
        let outcome = self.opened.on_opened(&name, outcome, cx.now);
        if outcome.is_err() {
            net.on_files_closed();
        }
        cx.out.push(Output::SharedOpened(name, outcome));
    }
}
