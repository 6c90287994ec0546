//! Orphans: part files that belong to no download. At the start they are searched for in all directories of downloads. Those
//! without data are removed; the others are logged once and counted in the status, and searched for again until they are gone.

use super::job::{Done, Key, Lane};
use super::jobs::Jobs;
use crate::driver::clock::wall_ns;
use crate::driver::cx::{Cx, Phase};
use crate::name::Escaped;
use crate::node::Event;
use crate::store::{Orphan, OrphanKind, OrphanSearch, OrphansFound};
use crate::time::Instant;
use log::{info, warn};
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// How soon another search follows one that found orphans with data, or was incomplete.
const SEARCH_AGAIN: Duration = Duration::from_secs(60);

const DIRECTORIES_MAX: usize = 256;

const LOGGED_MAX: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Orphans {
    /// Paths that the last search found.
    reported: BTreeSet<PathBuf>,
    pub(super) again_at: Option<Instant>,
}

impl Orphans {
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        self.again_at.take_if(|at| *at <= now).is_some()
    }

    /// Begins a search for part files whose tokens are not in `tokens`.
    pub(super) fn search(&self, mut directories: BTreeSet<PathBuf>, tokens: BTreeSet<u32>, jobs: &mut Jobs) {
        while directories.len() > DIRECTORIES_MAX {
            directories.pop_last();
        }
        let search = OrphanSearch { directories, tokens, wall_ns: wall_ns() };
        let lost = OrphansFound { is_partial: true, ..OrphansFound::default() };
        jobs.submit((Lane::Search, Key::Orphans), Done::OrphansFound, lost, || search.run());
    }

    /// `tokens`: of all downloads, also of those that began during the search.
    pub(super) fn on_found(&mut self, found: OrphansFound, tokens: &BTreeSet<u32>, jobs: &mut Jobs, cx: &mut Cx) {
        let orphans = found.orphans.into_iter().filter(|orphan| !tokens.contains(&orphan.token));
        let (empty, rest): (Vec<Orphan>, Vec<Orphan>) = orphans.partition(|orphan| orphan.kind == OrphanKind::Empty);
        let bytes = rest.iter().map(|orphan| orphan.bytes).sum();
        cx.out.event(Event::OrphansFound { files: rest.len() as u64, bytes });
        self.report(&rest);
        if !rest.is_empty() || found.is_partial {
            self.again_at.get_or_insert(cx.now + SEARCH_AGAIN);
        }
        if !empty.is_empty() && cx.phase == Phase::Running {
            let wall_ns = wall_ns();
            let remove = move |orphan: Orphan| {
                let outcome = orphan.remove(wall_ns);
                (orphan, outcome)
            };
            let work = move || empty.into_iter().map(remove).collect();
            jobs.submit((Lane::Search, Key::OrphansRemoved), Done::OrphansRemoved, Vec::new(), work);
        }
    }

    fn report(&mut self, orphans: &[Orphan]) {
        let new = orphans.iter().filter(|orphan| !self.reported.contains(&orphan.path));
        for (index, orphan) in new.enumerate() {
            if index == LOGGED_MAX {
                warn!("there are more part files that belong to no download of this daemon");
                break;
            }
            let path = Escaped::path(&orphan.path);
            let holds = match orphan.kind {
                OrphanKind::Groups { held, count } => format!("{held} of {count} groups of a file"),
                OrphanKind::Unchecked | OrphanKind::Empty => "unchecked data".to_owned(),
            };
            warn!(
                path:%, bytes = orphan.bytes, holds;
                "a part file belongs to no download of this daemon; if no other pyrated saves there, remove it and its journal"
            );
        }
        self.reported = orphans.iter().map(|orphan| orphan.path.clone()).collect();
    }

    pub(super) fn on_removed(outcomes: Vec<(Orphan, io::Result<()>)>) {
        for (orphan, outcome) in outcomes.into_iter().take(LOGGED_MAX) {
            let path = Escaped::path(&orphan.path);
            match outcome {
                Ok(()) => {
                    info!(path:%, bytes = orphan.bytes; "removed a part file: no download names it, and it held no data")
                }
                Err(error) => warn!(path:%, error:%; "cannot remove a part file that no download names"),
            }
        }
    }
}
