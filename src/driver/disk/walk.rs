//! The walk of a scan through the share, as jobs carry it out.

use super::named::Named;
use crate::driver::clock::{Clock, wall_ns};
use crate::fault::DiskFault;
use crate::library::{FoundFiles, ScanReport, ScannedFile};
use crate::name::{Escaped, FileName};
use crate::store::{DirectoryMount, FollowedLinks, KnownMounts, OwnFiles, ScanStep, Scanner, ShareRoot};
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

/// What goes from job to job.
pub(super) struct Walk {
    part: Part,
    /// Not begun yet.
    waiting: VecDeque<Part>,
    /// Of the parts that have ended.
    report: ScanReport,
    steps: VecDeque<ScanStep>,
    /// The filesystems of the shares in which files were found.
    mounts: Vec<(PathBuf, DirectoryMount)>,
}

/// The walk through one share.
struct Part {
    /// `None`: of the share whose files have no name before theirs.
    name: Option<FileName>,
    path: PathBuf,
    /// Or why it cannot be read.
    scanner: Result<Scanner, DiskFault>,
    found: FoundFiles,
}

impl Part {
    fn new(name: Option<FileName>, path: &Path, opened: Result<Scanner, DiskFault>) -> Self {
        Self { name, path: path.to_owned(), scanner: opened, found: FoundFiles::default() }
    }

    fn step(&mut self) -> ScanStep {
        match &mut self.scanner {
            Ok(scanner) => scanner.step(ENTRIES_PER_STEP, wall_ns()),
            Err(fault) => {
                let failed = ScanReport { failed: Some(*fault), ..ScanReport::default() };
                ScanStep { ended: Some(failed), ..ScanStep::default() }
            }
        }
    }

    fn count(&mut self, step: &ScanStep) {
        step.files.iter().chain(step.recent.iter().map(|recent| &recent.file)).for_each(|file| self.found.add(file));
    }

    /// What was found, or why nothing was.
    fn outcome(&self, failed: Option<DiskFault>) -> (Option<FileName>, Result<FoundFiles, DiskFault>) {
        (self.name.clone(), failed.map_or(Ok(self.found), Err))
    }
}

impl Walk {
    /// Opens the shares again: their directories may have been replaced. One that is not there does not stop the walk through
    /// the others.
    /// `links`: if they are followed. Waits for the disk. Errors: the report, if no share can be opened.
    pub(super) fn begin(
        (path, links): (PathBuf, Option<Arc<FollowedLinks>>),
        named: &[Named],
        own: OwnPaths,
        known: &KnownMounts,
    ) -> Result<(ShareRoot, Box<Self>), Box<ScanReport>> {
        let paths: Vec<&Path> =
            std::iter::once(&*path).chain(named.iter().filter_map(|share| share.path.as_deref())).collect();
        let open = |path: &Path, links: &Option<Arc<FollowedLinks>>, names: &[Named]| {
            let mut own = own.find(paths.iter().copied().filter(|other| *other != path));
            names.iter().for_each(|share| own.name(&share.name));
            open_share(path, known).map(|_| Scanner::start(path).without(own).following(links.clone()))
        };
        let part = Part::new(None, &path, open(&path, &links, named));
        let waiting: VecDeque<Part> = named
            .iter()
            .filter_map(|share| {
                // One without a path waits for the next start.
                let path = share.path.as_deref()?;
                Some(Part::new(Some(share.name.clone()), path, open(path, &share.links, &[])))
            })
            .collect();
        if let Some(failed) = part.scanner.as_ref().err()
            && waiting.iter().all(|part| part.scanner.is_err())
        {
            let failures = [&part].into_iter().chain(&waiting);
            let shares = failures.map(|part| part.outcome(part.scanner.as_ref().err().copied())).collect();
            return Err(Box::new(ScanReport { failed: Some(*failed), shares, ..ScanReport::default() }));
        }
        let root = ShareRoot::at(&path).following(links).with(Named::roots(named));
        let (report, steps, mounts) = Default::default();
        Ok((root, Box::new(Self { part, waiting, report, steps, mounts })))
    }

    /// Walks on. Waits for the disk.
    pub(super) fn go_on(mut self: Box<Self>, clock: Clock) -> Box<Self> {
        let began = clock.fine();
        while self.steps.len() < STEPS_PER_JOB && clock.within(began, JOB_MAX) {
            let mut step = self.part.step();
            self.rename(&mut step);
            self.part.count(&step);
            let ended = step.ended.take();
            self.steps.push_back(step);
            if let Some(report) = ended
                && self.end_part(report)
            {
                break;
            }
        }
        self
    }

    /// Gives the files of a further share their names. Those that are too long for a message then are left out.
    fn rename(&mut self, step: &mut ScanStep) {
        let Some(name) = &self.part.name else { return };
        let report = &mut self.report;
        let mut rename = |file: &mut ScannedFile| {
            let renamed = report.beneath(name, &file.name);
            renamed.map(|renamed| file.name = renamed).is_some()
        };
        step.files.retain_mut(&mut rename);
        step.recent.retain_mut(|recent| rename(&mut recent.file));
    }

    /// The walk through a share has ended. Returns whether all have.
    fn end_part(&mut self, report: ScanReport) -> bool {
        let outcome = self.part.outcome(report.failed);
        if report.failed.is_none() && self.part.found.files > 0 {
            // If the mount is unknown, the next start cannot detect an empty mount point.
            self.mounts.extend(DirectoryMount::of(&self.part.path).ok().map(|mount| (self.part.path.clone(), mount)));
        }
        match &self.part.name {
            None => self.report = report,
            Some(name) => self.report.add(name, report),
        }
        self.report.shares.push(outcome);
        match self.waiting.pop_front() {
            Some(next) => {
                self.part = next;
                false
            }
            None => {
                if let Some(last) = self.steps.back_mut() {
                    last.ended = Some(self.report.clone());
                }
                true
            }
        }
    }

    /// What was found since it was last asked.
    pub(super) fn take_steps(&mut self) -> VecDeque<ScanStep> {
        std::mem::take(&mut self.steps)
    }

    pub(super) fn take_mounts(&mut self) -> Vec<(PathBuf, DirectoryMount)> {
        std::mem::take(&mut self.mounts)
    }
}

/// What a scan leaves out.
pub(super) struct OwnPaths {
    pub(super) state: Option<PathBuf>,
    pub(super) logs: Vec<PathBuf>,
}

impl OwnPaths {
    /// `others`: further shares.
    fn find<'p>(&self, others: impl Iterator<Item = &'p Path>) -> OwnFiles {
        let mut own = OwnFiles::default();
        self.state.iter().for_each(|state| own.directory(state));
        others.for_each(|other| own.share(other));
        own.standard_streams();
        self.logs.iter().for_each(|log| own.log(log));
        own
    }
}

/// Opens the share, unless it is an empty mount point.
fn open_share(path: &Path, known: &KnownMounts) -> Result<ShareRoot, DiskFault> {
    let root = ShareRoot::open(path).inspect_err(|error| {
        if error.kind() == io::ErrorKind::Unsupported {
            warn!(path:% = Escaped::path(path), error:%; "cannot open the share");
        }
    })?;
    if let Some(mount) = known.get(path)
        && mount.is_missing_at(path)?
    {
        return Err(DiskFault::EmptyMountPoint);
    }
    Ok(root)
}
