//! The rows of directories: each for a path beneath which a search has found two files of one peer or more. Its sources are the
//! peers that have it.
//!
//! Such a row takes a place like any other, in the shares of the same networks: who sends hits to make many directories of them
//! gets no more rows. It stays while its files give way to others.

use super::{Hits, Taken};
use crate::control::{HitDirectory, HitRow};
use crate::id::{HitId, SearchId};
use crate::name::FileName;
use crate::node::answer::{Answer, Teller};
use crate::node::search::hit::{Grouping, Hit, HitKey, NotTaken};
use crate::time::Instant;
use crate::wire::Listed;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

/// Files of one peer that make a directory a hit.
const FILES_MIN: u64 = 2;

/// A directory of one source, in one search.
type Place = (SearchId, SocketAddr, Rc<FileName>);

/// The rows of files by the directory that they lie in. The map is never iterated.
#[derive(Default)]
pub(super) struct FilesIn(HashMap<Place, Files>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Files {
    count: u64,
    /// Of these, files whose size is known, and their bytes.
    sized: u64,
    bytes: u64,
}

impl FilesIn {
    pub(super) fn add(&mut self, hit: &Hit) {
        hit.directories().for_each(|(source, path)| self.add_one(hit, source, path));
    }

    pub(super) fn remove(&mut self, hit: &Hit) {
        hit.directories().for_each(|(source, path)| self.remove_one(hit, source, path));
    }

    /// A row has changed: `before` are the directories that it was in.
    pub(super) fn change(&mut self, hit: &Hit, before: &[(SocketAddr, Rc<FileName>)]) {
        let is_same = |(one, path): (SocketAddr, &Rc<FileName>), (other, other_path): &(SocketAddr, Rc<FileName>)| {
            one == *other && Rc::ptr_eq(path, other_path)
        };
        let is_gone = |place: &&(SocketAddr, Rc<FileName>)| !hit.directories().any(|other| is_same(other, place));
        before.iter().filter(is_gone).for_each(|(source, path)| self.remove_one(hit, *source, path));
        let is_new = |place: &(SocketAddr, &Rc<FileName>)| !before.iter().any(|other| is_same(*place, other));
        hit.directories().filter(is_new).for_each(|(source, path)| self.add_one(hit, source, path));
    }

    fn add_one(&mut self, hit: &Hit, source: SocketAddr, path: &Rc<FileName>) {
        let files = self.0.entry((hit.search(), source, Rc::clone(path))).or_default();
        files.count += 1;
        files.sized += u64::from(hit.size().is_some());
        // Sizes are what peers claim.
        files.bytes = files.bytes.wrapping_add(hit.size().unwrap_or(0));
    }

    fn remove_one(&mut self, hit: &Hit, source: SocketAddr, path: &Rc<FileName>) {
        let place = (hit.search(), source, Rc::clone(path));
        let Some(files) = self.0.get_mut(&place) else { return };
        files.count -= 1;
        files.sized -= u64::from(hit.size().is_some());
        files.bytes = files.bytes.wrapping_sub(hit.size().unwrap_or(0));
        if files.count == 0 {
            self.0.remove(&place);
        }
    }

    fn of(&self, search: SearchId, source: SocketAddr, path: &Rc<FileName>) -> Files {
        self.0.get(&(search, source, Rc::clone(path))).copied().unwrap_or_default()
    }
}

impl Hits {
    /// Takes an answer to a search into a row, or creates one, and does the same with the directory that the search has found
    /// with it. Returns what became of the file, and the row of the directory if that has changed.
    pub(in crate::node::search) fn take_found(
        &mut self,
        now: Instant,
        search: SearchId,
        (answer, directory): (Answer, Option<FileName>),
        rows_max: u64,
    ) -> Result<(Taken, Option<HitId>), NotTaken> {
        let (source, from) = (answer.responder, answer.from);
        let hit = Hit::new(search, Grouping::Content, answer).in_directory(directory.clone());
        let taken = self.take_hit(now, hit, rows_max)?;
        let row = directory
            .filter(|_| taken != Taken::Known)
            .and_then(|path| self.take_directory(now, search, (path, source, from), rows_max));
        Ok((taken, row))
    }

    fn take_directory(
        &mut self,
        now: Instant,
        search: SearchId,
        (path, source, from): (FileName, SocketAddr, SocketAddr),
        rows_max: u64,
    ) -> Option<HitId> {
        let file = Listed { name: path, attributes: None };
        let hit = Hit::new(search, Grouping::Directory, Answer { file, responder: source, from });
        let HitKey::Directory { name, .. } = hit.key() else { return None };
        let has_files = self.files_in.of(search, source, &name).count >= FILES_MIN;
        match self.keys.get(&hit.key()).copied() {
            Some(id) => {
                if has_files {
                    self.grow(now, id, &hit, rows_max);
                }
                Some(id)
            }
            // Without a place it is left out, and the search is not cut by that: its files are rows.
            None if has_files => self.insert(now, hit, rows_max).ok()?.rows().last(),
            None => None,
        }
    }

    /// What is shown of a row.
    pub(in crate::node) fn row_of(&self, id: HitId, hit: &Hit) -> HitRow {
        let row = hit.row(id);
        if !hit.is_directory() {
            return row;
        }
        let sources = self.sources_of_directory(hit);
        let files = sources.first().map(|(_, files)| *files).unwrap_or_default();
        let directory = HitDirectory { files: files.count, bytes: Some(files.bytes).filter(|_| files.sized > 0) };
        let sources = sources.into_iter().map(|(addr, _)| addr).collect();
        HitRow { sources, directory: Some(directory), ..row }
    }

    /// The directory that a row is, and the peers that have it: the one first that a download asks.
    pub(in crate::node) fn directory(&self, id: HitId) -> Option<(FileName, Vec<SocketAddr>)> {
        let hit = self.rows.get(&id).filter(|hit| hit.is_directory())?;
        let sources = self.sources_of_directory(hit).into_iter().map(|(addr, _)| addr).collect();
        Some((hit.name().clone(), sources))
    }

    pub(in crate::node) fn is_directory(&self, id: HitId) -> bool {
        self.rows.get(&id).is_some_and(Hit::is_directory)
    }

    /// Those that have told of it themselves before those that others have named, then by files, the most first.
    fn sources_of_directory(&self, hit: &Hit) -> Vec<(SocketAddr, Files)> {
        let mut sources: Vec<_> = hit
            .offers()
            .map(|(addr, path, teller)| (teller == Teller::Others, addr, self.files_in.of(hit.search(), addr, path)))
            .collect();
        sources.sort_by_key(|(is_of_others, _, files)| (*is_of_others, Reverse(files.count)));
        sources.into_iter().map(|(_, addr, files)| (addr, files)).collect()
    }
}

#[cfg(test)]
mod tests;
