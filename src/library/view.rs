//! A library as somebody sees it. Whatever is looked up, listed or searched goes through this, so that nothing is found for a
//! peer without its address.

use super::gather::Gather;
use super::index::Index;
use super::leaf::Leaf;
use super::{Library, ScannedFile, SearchCursor, Shared};
use crate::audience::{Audiences, Requester, Sight};
use crate::id::ContentHash;
use crate::name::FileName;
use std::borrow::Cow;
use std::ops::Bound;

#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    index: &'a Index,
    empty: &'a [FileName],
    /// `None` if everything is seen.
    limits: Option<(&'a Audiences, Requester)>,
}

impl Library {
    /// What is shared, as far as it is for this requester. For others no more exists.
    pub fn seen_by(&self, requester: impl Into<Requester>) -> View<'_> {
        let requester = requester.into();
        let limits = self.audiences.limit(requester).then_some((&self.audiences, requester));
        View { index: &self.index, empty: &self.empty, limits }
    }

    /// Examines about `entries_max` files. True while more is left.
    pub(crate) fn gather_step(&self, gather: &mut Gather, entries_max: usize) -> bool {
        gather.step(&self.index, entries_max)
    }
}

impl<'a> View<'a> {
    /// Whether a file or directory of this name, if there is one, is seen.
    pub(crate) fn admits(&self, name: &[u8]) -> bool {
        self.limits.is_none_or(|(audiences, requester)| audiences.show(requester, name))
    }

    pub fn get(&self, name: &[u8]) -> Option<Shared> {
        self.index.get(name).filter(|_| self.admits(name))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first(Bound::Unbounded).is_none()
    }

    /// The files by name, from the first one after `after`. The empty name is before all others.
    pub(crate) fn files_after(self, after: &[u8]) -> impl Iterator<Item = (&'a [u8], Shared)> {
        let mut next = self.first(Bound::Excluded(after));
        std::iter::from_fn(move || {
            let (leaf, at) = next?;
            let name = leaf.name(at);
            let has_next = at + 1 < leaf.len() && self.admits(leaf.name(at + 1));
            next = if has_next { Some((leaf, at + 1)) } else { self.first(Bound::Excluded(name)) };
            Some((name, leaf.shared(at)))
        })
    }

    /// Up to `rows_max` files by name, from the first one after `after`.
    pub fn list_after(&self, after: Option<&FileName>, rows_max: usize) -> Vec<(FileName, Shared)> {
        let files = self.files_after(after.map_or(b"", FileName::as_bytes)).take(rows_max);
        files.filter_map(|(name, shared)| Some((FileName::from_bytes(name)?, shared))).collect()
    }

    /// The directories by name beneath a directory, which ends in `/`, in which nothing is shared: from the first one after
    /// `after`. What is beneath a directory has one audience, so that none of others are passed over one by one.
    pub(crate) fn empty_beneath(self, prefix: &'a [u8], after: &[u8]) -> impl Iterator<Item = &'a [u8]> {
        let from = self.empty.partition_point(|name| name.as_bytes() <= after);
        let after = if self.admits(prefix) { &self.empty[from..] } else { &[] };
        after.iter().map(FileName::as_bytes).take_while(move |name| name.starts_with(prefix))
    }

    /// Whether nothing is shared in this directory, which is shared itself.
    pub(crate) fn is_empty_directory(&self, path: &[u8]) -> bool {
        self.admits(path) && self.empty.binary_search_by(|name| name.as_bytes().cmp(path)).is_ok()
    }

    /// A file of this content.
    pub(crate) fn file_of_content(&self, b3: ContentHash) -> Option<ScannedFile> {
        let (leaf, at) = self.index.find_content(b3, |name| self.admits(name))?;
        let (name, Shared { meta, executable, .. }) = leaf.row(at)?;
        Some(ScannedFile { name, meta, executable })
    }

    /// Whether a file has this content; or, as far as hashes are unknown, this name and size.
    pub(crate) fn has_like(&self, name: &FileName, size: Option<u64>, b3: Option<ContentHash>) -> bool {
        if b3.is_some_and(|b3| self.file_of_content(b3).is_some()) {
            return true;
        }
        let is_like = |shared: Shared| {
            let is_same_size = size.is_none_or(|size| size == shared.meta.size);
            is_same_size && (b3.is_none() || shared.b3.is_none())
        };
        let names = [name.as_bytes(), name.last_component()];
        names.into_iter().any(|name| self.get(name).is_some_and(is_like))
    }

    /// Examines about `entries_max` files. True while more is left; the library may change between two steps.
    pub(crate) fn search_step(&self, cursor: &mut SearchCursor, entries_max: usize) -> bool {
        cursor.step(*self, entries_max)
    }

    /// The leaf of the first file from a name on, and its index there. Passes over a share that is not seen without a walk.
    pub(super) fn first(&self, from: Bound<&[u8]>) -> Option<(&'a Leaf, usize)> {
        let mut from = from.map(Cow::Borrowed);
        loop {
            let (leaf, at) = self.index.leaf_from(from.as_ref().map(|name| &**name))?;
            let Some((audiences, requester)) = self.limits else { return Some((leaf, at)) };
            match audiences.sight(requester, leaf.name(at)) {
                Sight::Seen => return Some((leaf, at)),
                Sight::HiddenUpTo(next) => from = next?.map(Cow::Owned),
            }
        }
    }

    /// The next leaf, by number after `after`, that may have files with this last component.
    pub(super) fn leaf_of_component(&self, component: &[u8], after: Option<u32>) -> Option<(u32, &'a Leaf)> {
        self.index.leaf_of_component(component, after)
    }

    /// The next leaf, by number after `after`, that may have files of this content.
    pub(super) fn leaf_of_content(&self, b3: ContentHash, after: Option<u32>) -> Option<(u32, &'a Leaf)> {
        self.index.leaf_of_content(b3, after)
    }
}
