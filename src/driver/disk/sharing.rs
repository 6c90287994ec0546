//! Scans of the share, and reading shared files for peers.

use super::Disk;
use super::job::{Done, Key, Lane};
use super::metadata::Unsent;
use crate::control::LimitedReply;
use crate::driver::clock::wall_ns;
use crate::driver::cx::Cx;
use crate::driver::net::Permit;
use crate::driver::shared_files::{ReadOrder, Reader};
use crate::fault::DiskFault;
use crate::id::{ContentHash, ExchangeId};
use crate::library::{FileMeta, RECENT_MAX, RecentFile, ScanReport, ScannedFile};
use crate::name::FileName;
use crate::network::Network;
use crate::node::Event;
use crate::node::contract::LookedAt;
use crate::store::{DirectoryMount, OwnFiles, Scanner, ShareRoot};
use crate::time::Instant;
use log::warn;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

/// Directory entries of one slice of a scan: some hundred microseconds with warm caches.
const SCAN_ENTRIES_PER_SLICE: usize = 128;

impl Disk {
    /// Begins a scan. Opens the share again: the directory may have been replaced.
    pub(crate) fn start_scan(&mut self, log_files: &[PathBuf], cx: &mut Cx) {
        match self.open_share() {
            Ok(root) => {
                self.share = Some(root);
                self.scan_found_files = false;
                self.scanner = Some(Scanner::start(&self.share_path).without(self.own_files(log_files)));
            }
            Err(fault) => {
                self.share = None;
                self.scanner = None;
                let report = ScanReport { failed: Some(fault), ..ScanReport::default() };
                cx.out.event(Event::ScanEnded { report });
            }
        }
    }

    /// Opens the share, unless it is an empty mount point.
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

    pub(crate) fn scan_slice(&mut self, cx: &mut Cx) {
        let Some(scanner) = &mut self.scanner else { return };
        let step = scanner.step(SCAN_ENTRIES_PER_SLICE, wall_ns());
        for (device, volume) in step.volumes {
            self.hashing.cache.volumes.note(device, volume);
        }
        self.scan_found_files |= !(step.recent.is_empty() && step.files.is_empty());
        if !step.recent.is_empty() {
            cx.out.event(Event::RecentFiles { files: step.recent });
        }
        if !step.files.is_empty() {
            cx.out.event(Event::Scanned { files: step.files });
        }
        if let Some(report) = step.ended {
            self.scanner = None;
            // If the mount is unknown, the next start cannot detect an empty mount point.
            if report.failed.is_none()
                && std::mem::take(&mut self.scan_found_files)
                && let Ok(mount) = DirectoryMount::of(&self.share_path)
            {
                self.places.note(&self.share_path, mount, &mut self.state, &mut self.jobs);
            }
            cx.out.event(Event::ScanEnded { report });
        }
    }

    fn own_files(&self, log_files: &[PathBuf]) -> OwnFiles {
        let mut own = OwnFiles::default();
        if let Some(state) = self.state.directory() {
            own.directory(state.path());
        }
        own.standard_streams();
        log_files.iter().for_each(|log| own.log(log));
        own
    }

    pub(crate) fn look_at(&mut self, names: Vec<FileName>, cx: &mut Cx) {
        let wall_ns = wall_ns();
        let look = |name: FileName| {
            // Without a share nothing is known of the file.
            let share = self.share.as_ref().ok_or(DiskFault::Other(0));
            let found = share.and_then(|share| share.look(&name, &self.hashing.cache.volumes, wall_ns));
            let found = found.map(|(meta, quiet)| RecentFile { file: ScannedFile { name: name.clone(), meta }, quiet });
            LookedAt { name, found }
        };
        cx.out.event(Event::LookedAt { files: names.into_iter().map(look).collect() });
    }

    /// An open file of this name and identity that has not changed, for an exchange.
    pub(crate) fn opened_file(&mut self, name: &FileName, expected: &FileMeta, exchange: ExchangeId) -> Option<Reader> {
        self.opened.get(name, expected, exchange)
    }

    pub(crate) fn is_opening(&self, name: &FileName) -> bool {
        self.opened.is_opening(name)
    }

    /// Opens a file, which [`Output::SharedOpened`] reports.
    pub(crate) fn open_shared(&mut self, name: &FileName, permit: Permit) -> Result<(), DiskFault> {
        let share = self.share.clone().ok_or(DiskFault::Missing)?;
        self.opened.open(name.clone(), share, permit, &mut self.jobs);
        Ok(())
    }

    /// The file that was just opened, for an exchange: as it was scanned or, if it may be changed, one that was not modified for
    /// [`RECENT_MAX`].
    pub(crate) fn just_opened(
        &mut self,
        name: &FileName,
        expected: &FileMeta,
        may_be_changed: bool,
        exchange: ExchangeId,
    ) -> Result<Reader, DiskFault> {
        let file = self.opened.file(name).ok_or(DiskFault::Missing)?;
        let quiet = || file.quiet(&self.hashing.cache.volumes, wall_ns());
        if file.meta() != expected && !(may_be_changed && quiet() >= RECENT_MAX) {
            return Err(DiskFault::Changed);
        }
        self.opened.reader(name, exchange).ok_or(DiskFault::Missing)
    }

    /// Submits a read that an exchange waits for, which [`Output::SharedRead`] reports.
    pub(crate) fn read_shared(&mut self, order: ReadOrder) {
        let ReadOrder { ordered, used, file, at, count } = order;
        let done = move |outcome| Done::SharedRead(used, ordered, outcome);
        let key = Key::ReadShared(used.exchange);
        self.jobs.submit((Lane::Share, key), done, Err(DiskFault::Other(0)), move || {
            let mut bytes = vec![0; count];
            file.read(&mut bytes, at).map(|()| bytes)
        });
    }

    /// Closes files that nobody reads any more. `keeps_idle`: whether some stay open for the next readers.
    pub(crate) fn tend_shared(&mut self, keeps_idle: bool, now: Instant) {
        self.opened.tend(keeps_idle, now, &mut self.jobs);
    }

    /// The metadata of a file, requested by a network.
    pub(crate) fn metadata_body(
        &mut self,
        file: &ScannedFile,
        b3: ContentHash,
        network: Network,
        limited: &mut LimitedReply,
    ) -> Result<Rc<Vec<u8>>, Unsent> {
        self.metadata.body(file, b3, network, &self.hashing, limited)
    }
}
