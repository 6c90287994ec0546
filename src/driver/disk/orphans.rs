//! Part files that no download names: searched for at the start, where downloads go and went. What holds no data is removed;
//! the rest is reported, once in the log and as a number in the status, and searched for again until it is gone.

use crate::driver::clock::wall_ns;
use crate::driver::disk::jobs::Job;
use crate::driver::net::timers::Timer;
use crate::driver::{Driver, Phase};
use crate::name::Escaped;
use crate::node::Event;
use crate::store::{Orphan, OrphanKind, OrphanSearch, OrphansFound};
use log::{info, warn};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

/// How soon another search follows one that left something over, or could not see everything.
const SEARCH_AGAIN: Duration = Duration::from_secs(60);

/// Directories that are searched.
const DIRECTORIES_MAX: usize = 256;

/// Orphans that are logged by their path.
const LOGGED_MAX: usize = 16;

/// The search for orphans.
#[derive(Debug, Default)]
pub(in crate::driver) struct Orphans {
    /// Those that the last search found.
    reported: BTreeSet<PathBuf>,
    /// Another search follows.
    is_armed: bool,
}

impl Driver {
    /// Begins a search. Without a state directory every download of an earlier run is unknown.
    pub(in crate::driver) fn search_orphans(&mut self) {
        if self.state.is_none() || !self.node.config().peer || self.phase != Phase::Running {
            return;
        }
        let (tokens, mut directories) = self.records.part_files();
        directories.insert(self.node.config().download_directory.clone());
        let known = self.places.known();
        directories.extend(known.keys().filter(|path| **path != self.share_path).cloned());
        while directories.len() > DIRECTORIES_MAX {
            directories.pop_last();
        }
        self.helpers.submit(Job::FindOrphans(OrphanSearch { directories, tokens, wall_ns: wall_ns() }));
    }

    /// A search is over.
    pub(in crate::driver) fn on_orphans_found(&mut self, found: OrphansFound) {
        // Downloads that began meanwhile have made part files.
        let (tokens, _) = self.records.part_files();
        let orphans = found.orphans.into_iter().filter(|orphan| !tokens.contains(&orphan.token));
        let (empty, rest): (Vec<Orphan>, Vec<Orphan>) = orphans.partition(|orphan| orphan.kind == OrphanKind::Empty);
        let bytes = rest.iter().map(|orphan| orphan.bytes).sum();
        self.node.handle(self.now, Event::OrphansFound { files: rest.len() as u64, bytes });
        self.report_orphans(&rest);
        let is_due = !rest.is_empty() || found.is_partial;
        if is_due && !std::mem::replace(&mut self.orphans.is_armed, true) {
            self.timers.insert(self.now + SEARCH_AGAIN, Timer::Orphans);
        }
        if !empty.is_empty() && self.phase == Phase::Running {
            self.helpers.submit(Job::RemoveOrphans(empty, wall_ns()));
        }
    }

    fn report_orphans(&mut self, orphans: &[Orphan]) {
        let new = orphans.iter().filter(|orphan| !self.orphans.reported.contains(&orphan.path));
        for (index, orphan) in new.enumerate() {
            if index == LOGGED_MAX {
                warn!("there are more part files that belong to no download of this daemon");
                break;
            }
            let path = Escaped(orphan.path.as_os_str().as_bytes());
            let holds = match orphan.kind {
                OrphanKind::Groups { held, count } => format!("{held} of {count} groups of a file"),
                OrphanKind::Unchecked | OrphanKind::Empty => "unchecked data".to_owned(),
            };
            warn!(
                "the part file '{path}' ({} bytes, {holds}) belongs to no download of this daemon; if no other pyrated \
                 saves there, remove it and its journal",
                orphan.bytes
            );
        }
        self.orphans.reported = orphans.iter().map(|orphan| orphan.path.clone()).collect();
    }

    /// The time for another search has come.
    pub(in crate::driver) fn search_orphans_again(&mut self) {
        self.orphans.is_armed = false;
        self.search_orphans();
    }

    /// Orphans that held no data are removed, or could not be.
    pub(in crate::driver) fn on_orphans_removed(&mut self, outcomes: Vec<(Orphan, io::Result<()>)>) {
        for (orphan, outcome) in outcomes.into_iter().take(LOGGED_MAX) {
            let path = Escaped(orphan.path.as_os_str().as_bytes());
            match outcome {
                Ok(()) => info!("removed '{path}' ({} bytes): no download names it, and it held no data", orphan.bytes),
                Err(error) => warn!("cannot remove '{path}', which no download names: {error}"),
            }
        }
    }
}
