//! Which unfinished download a request is for, and whether it saves what it fetches where the user wants it.
//!
//! A hash is a stronger key than a name of a peer, and a size that is known is stronger than none:
//!
//! | the request has | it is for an unfinished download that |
//! |---|---|
//! | a hash | wants the same hash, whatever its sources call it |
//! | no hash | has one of the same names of the same peers as a source, unless both sizes are known and differ, the peer was found by that name alone, or it has said that it has another content under it |
//!
//! A request with a hash is never for a download that knows none: what that one brings may be anything.

use super::request::DownloadRequest;
use super::source::{Origin, Source};
use super::state::{Download, Want};
use super::table::Downloads;
use crate::control::Problem;
use crate::id::TransferId;
use crate::node::contract::Target;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

impl Downloads {
    /// The unfinished download that a request is for. Of several, one that saves to the target wanted.
    pub(super) fn fulfilling(&self, request: &DownloadRequest, target: &Target) -> Option<TransferId> {
        let found = self.all_fulfilling(request);
        let fits = found.iter().find(|(_, row)| row.saves_to(target));
        fits.or(found.first()).map(|(id, _)| *id)
    }

    /// Those that a request is for, the best first: of a name, those that know no hash either, then the newest, which knows
    /// the latest hash of that name.
    fn all_fulfilling(&self, request: &DownloadRequest) -> Vec<(TransferId, &Download)> {
        if let Some(b3) = request.b3 {
            return self.of_content(b3).collect();
        }
        let mut found: Vec<(TransferId, &Download)> = Vec::new();
        for wanted in &request.sources {
            for name in wanted.names.iter() {
                found.extend(self.of_source(name, wanted.addr).filter(|(_, row)| row.may_be(request, wanted)));
            }
        }
        found.sort_by_key(|(id, row)| (row.want != Want::Name, std::cmp::Reverse(*id)));
        found
    }

    /// Whether a place that the user named can be had.
    ///
    /// # Errors
    /// When an unfinished download fetches the same to another place, or something else to this one.
    pub(super) fn check_place(&self, request: &DownloadRequest, target: &Target) -> Result<(), Problem> {
        let found = self.all_fulfilling(request);
        if found.iter().any(|(_, row)| row.saves_to(target)) {
            return Ok(());
        }
        if let Some((id, row)) = found.first() {
            return Err(Problem::PlaceTaken { same_file: true, id: id.0, place: row.place() });
        }
        match self.unfinished().find(|(_, row)| row.occupies(target)) {
            Some((id, row)) => Err(Problem::PlaceTaken { same_file: false, id: id.0, place: row.place() }),
            None => Ok(()),
        }
    }
}

impl Download {
    /// Whether nothing says that what is wanted of a source, without a hash, is another file than this one.
    fn may_be(&self, request: &DownloadRequest, wanted: &Source) -> bool {
        let same = self.sources.iter().find(|source| source.addr == wanted.addr);
        // Who was found by the name alone may have anything under it.
        let may_be_other = |source: &Source| source.origin == Origin::Name || source.names.has_disproved(&wanted.names);
        if same.is_some_and(may_be_other) {
            return false;
        }
        let size = same.and_then(|source| source.size).or(self.size());
        size.is_none() || request.size.is_none() || size == request.size
    }

    /// Where it saves to, as far as it is known.
    pub(super) fn place(&self) -> PathBuf {
        match (&self.path, &self.spec.target) {
            (Some(path), _) | (None, Target::Exact { path, .. }) => path.clone(),
            (None, Target::Suggested { directory, name }) => directory.join(OsStr::from_bytes(name.as_bytes())),
        }
    }

    /// Whether it saves its file to this target: under this path, or in this directory. Where the final path is not
    /// known yet, the directory decides.
    fn saves_to(&self, target: &Target) -> bool {
        let inside = |directory: &Path, path: &Path| path.parent() == Some(directory);
        match (target, &self.path, &self.spec.target) {
            (_, _, own) if own == target => true,
            (Target::Exact { path, .. }, Some(own), _) => own == path || inside(path, own),
            (Target::Suggested { directory, .. }, Some(own), _) => inside(directory, own),
            (Target::Exact { path, .. }, None, Target::Exact { path: own, .. }) => own == path || inside(path, own),
            (Target::Suggested { directory, .. }, None, Target::Exact { path: own, .. }) => {
                own == directory || inside(directory, own)
            }
            (
                Target::Exact { path: wanted, .. } | Target::Suggested { directory: wanted, .. },
                None,
                Target::Suggested { directory, .. },
            ) => wanted == directory,
        }
    }

    /// Whether a file at this target would be in the way of its own.
    fn occupies(&self, target: &Target) -> bool {
        let Target::Exact { path, name } = target else { return false };
        let is_there = |own: &PathBuf| own == path || *own == path.join(OsStr::from_bytes(name.as_bytes()));
        self.spec.target == *target || self.path.as_ref().is_some_and(is_there)
    }
}
