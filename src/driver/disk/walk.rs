//! The walk of a scan through the share, as jobs carry it out.

use crate::driver::clock::{Clock, wall_ns};
use crate::fault::DiskFault;
use crate::name::Escaped;
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
    scanner: Scanner,
    path: PathBuf,
    found_files: bool,
    steps: VecDeque<ScanStep>,
    /// The filesystem of the share, at the end of a scan that has found files.
    mount: Option<DirectoryMount>,
}

impl Walk {
    /// Opens the share again: the directory may have been replaced. `links`: if they are followed. Waits for the disk.
    pub(super) fn begin(
        path: PathBuf,
        own: OwnPaths,
        known: &KnownMounts,
        links: Option<Arc<FollowedLinks>>,
    ) -> Result<(ShareRoot, Box<Self>), DiskFault> {
        let root = open_share(&path, known)?.following(links.clone());
        let scanner = Scanner::start(&path).without(own.find()).following(links);
        Ok((root, Box::new(Self { scanner, path, found_files: false, steps: VecDeque::new(), mount: None })))
    }

    /// Walks on. Waits for the disk.
    pub(super) fn go_on(mut self: Box<Self>, clock: Clock) -> Box<Self> {
        let began = clock.fine();
        while self.steps.len() < STEPS_PER_JOB && clock.within(began, JOB_MAX) {
            let step = self.scanner.step(ENTRIES_PER_STEP, wall_ns());
            self.found_files |= !(step.recent.is_empty() && step.files.is_empty());
            let ended = step.ended.as_ref().map(|report| report.failed);
            self.steps.push_back(step);
            if let Some(failed) = ended {
                if failed.is_none() && self.found_files {
                    // If the mount is unknown, the next start cannot detect an empty mount point.
                    self.mount = DirectoryMount::of(&self.path).ok();
                }
                break;
            }
        }
        self
    }

    /// What was found since it was last asked.
    pub(super) fn take_steps(&mut self) -> VecDeque<ScanStep> {
        std::mem::take(&mut self.steps)
    }

    pub(super) fn take_mount(&mut self) -> Option<DirectoryMount> {
        self.mount.take()
    }
}

/// What a scan leaves out.
pub(super) struct OwnPaths {
    pub(super) state: Option<PathBuf>,
    pub(super) logs: Vec<PathBuf>,
}

impl OwnPaths {
    fn find(&self) -> OwnFiles {
        let mut own = OwnFiles::default();
        self.state.iter().for_each(|state| own.directory(state));
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
