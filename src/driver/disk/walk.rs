//! The walk of a scan through one share, as jobs carry it out.

use super::named::Named;
use crate::driver::clock::{Clock, wall_ns};
use crate::fault::DiskFault;
use crate::library::{FoundFiles, ScanReport, ScannedFile};
use crate::name::{Escaped, FileName};
use crate::store::{DirectoryMount, FollowedLinks, KnownMounts, OtherShare, OwnFiles, ScanStep, Scanner, ShareRoot};
use log::warn;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Directory entries of one step, whose files the loop reports at once.
const ENTRIES_PER_STEP: usize = 128;

/// Steps of one job.
const STEPS_PER_JOB: usize = 8;

/// After this long a job gives way to one that hashes.
const JOB_MAX: Duration = Duration::from_millis(20);

/// Opens a share: its directory may have been replaced. Waits for the disk. Returns how the scans of the others recognise it, too.
/// Errors: as the system reports; [`DiskFault::EmptyMountPoint`].
pub(super) fn open(path: &Path, known: &KnownMounts) -> (OtherShare, Result<(), DiskFault>) {
    (OtherShare::at(path), check(path, known))
}

fn check(path: &Path, known: &KnownMounts) -> Result<(), DiskFault> {
    ShareRoot::open(path).inspect_err(|error| {
        if error.kind() == io::ErrorKind::Unsupported {
            warn!(path:% = Escaped::path(path), error:%; "cannot open the share");
        }
    })?;
    if let Some(mount) = known.get(path)
        && mount.is_missing_at(path)?
    {
        return Err(DiskFault::EmptyMountPoint);
    }
    Ok(())
}

/// Which share of which scan a job is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OfScan {
    pub(super) number: u64,
    pub(super) share: usize,
}

/// What goes from job to job.
pub(crate) struct Walk {
    place: WalkPlace,
    scanner: Scanner,
    steps: VecDeque<ScanStep>,
    found: FoundFiles,
    /// The filesystem of a share in which files were found, once all of it was read.
    mount: Option<DirectoryMount>,
}

/// The share that is walked through.
#[derive(Clone)]
pub(super) struct WalkPlace {
    /// `None`: its files have no name before theirs.
    pub(super) name: Option<FileName>,
    pub(super) path: Arc<Path>,
    /// If they are followed.
    pub(super) links: Option<Arc<FollowedLinks>>,
}

impl Walk {
    /// Begins at the top, without what a scan leaves out. Waits for the disk.
    pub(super) fn begin(place: WalkPlace, own: OwnFiles) -> Box<Self> {
        let scanner = Scanner::start(&place.path).without(own).following(place.links.clone());
        Box::new(Self { place, scanner, steps: VecDeque::new(), found: FoundFiles::default(), mount: None })
    }

    /// Walks on. Waits for the disk: a job is over soon, however many calls wait long, unless one of them hangs.
    pub(super) fn go_on(mut self: Box<Self>, clock: Clock) -> Box<Self> {
        let began = clock.fine();
        while self.steps.len() < STEPS_PER_JOB && clock.within(began, JOB_MAX) {
            let mut step = self.scanner.step_while(ENTRIES_PER_STEP, wall_ns(), || clock.within(began, JOB_MAX));
            self.rename(&mut step);
            step.files
                .iter()
                .chain(step.recent.iter().map(|recent| &recent.file))
                .for_each(|file| self.found.add(file));
            let has_ended = step.ended.take().is_some();
            let ended = has_ended.then(|| self.end());
            self.steps.push_back(ScanStep { ended, ..step });
            if has_ended {
                break;
            }
        }
        self
    }

    fn end(&mut self) -> ScanReport {
        let mut report = self.scanner.report();
        if report.failed.is_none() && self.found.files > 0 {
            // If the mount is unknown, the next start cannot detect an empty mount point.
            self.mount = DirectoryMount::of(&self.place.path).ok();
        }
        report.shares = vec![(self.place.name.clone(), report.failed.map_or(Ok(self.found), Err))];
        report
    }

    /// Gives the files of a further share their names. Those that are too long for a message then are left out.
    fn rename(&mut self, step: &mut ScanStep) {
        let Some(name) = &self.place.name else { return };
        let scanner = &mut self.scanner;
        let mut rename = |file: &mut ScannedFile| {
            let bytes = [name.as_bytes(), b"/", file.name.as_bytes()].concat();
            let Some(renamed) = FileName::from_bytes(&bytes) else {
                scanner.refuse(&file.name);
                return false;
            };
            file.name = renamed;
            true
        };
        step.files.retain_mut(&mut rename);
        step.recent.retain_mut(|recent| rename(&mut recent.file));
    }

    /// Of the share.
    pub(super) fn path(&self) -> &Arc<Path> {
        &self.place.path
    }

    /// What was found since it was last asked.
    pub(super) fn take_steps(&mut self) -> VecDeque<ScanStep> {
        std::mem::take(&mut self.steps)
    }

    pub(super) fn take_mount(&mut self) -> Option<DirectoryMount> {
        self.mount.take()
    }
}

/// What no scan reports.
pub(super) struct OwnPaths {
    pub(super) state: Option<PathBuf>,
    pub(super) logs: Vec<PathBuf>,
}

impl OwnPaths {
    /// What the scan of a share leaves out. `others`: the other shares. `names`: of those that are named, where it has none itself.
    pub(super) fn find<'o>(&self, others: impl Iterator<Item = &'o OtherShare>, names: &[Named]) -> OwnFiles {
        let mut own = OwnFiles::default();
        self.state.iter().for_each(|state| own.directory(state));
        others.for_each(|other| own.share(other));
        names.iter().for_each(|share| own.name(&share.name));
        own.standard_streams();
        self.logs.iter().for_each(|log| own.log(log));
        own
    }
}
