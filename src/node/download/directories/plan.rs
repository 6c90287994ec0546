//! Which files of a list are fetched for a directory, and under which paths each is saved.
//!
//! The names come from the network. A path is made of safe components alone, lies beneath the directory, and is neither that of
//! another file nor that of a directory on the way to one. A name for which there is no such path is left out, and counted.

use crate::control::RawText;
use crate::id::ContentHash;
use crate::name::FileName;
use crate::node::limits::{DIRECTORY_DEPTH_MAX, DIRECTORY_NAMES_SHOWN};
use crate::wire::Listed;
use std::collections::BTreeMap;
use std::ops::Bound;

/// A file that is to become a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planned {
    /// In the share of the peer.
    pub(super) name: FileName,
    /// Beneath the directory of downloads.
    pub(super) path: FileName,
    pub(super) size: Option<u64>,
    pub(super) b3: Option<ContentHash>,
    pub(super) executable: bool,
}

/// Names that cannot be saved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct LeftOut {
    pub(super) count: u64,
    /// The first of them.
    pub(super) first: Vec<FileName>,
}

impl LeftOut {
    pub(super) fn add(&mut self, name: FileName) {
        self.count += 1;
        if self.first.len() < DIRECTORY_NAMES_SHOWN {
            self.first.push(name);
        }
    }

    /// The first, for a message.
    pub(super) fn example(&self) -> RawText {
        RawText::new(self.first.first().map_or(&b""[..], FileName::as_bytes))
    }
}

#[derive(Debug)]
pub(super) struct Plan {
    /// Ends in `/`.
    prefix: FileName,
    root: FileName,
    /// By path; `None` for members that are there already.
    files: BTreeMap<FileName, (FileName, Option<Planned>)>,
    pub(super) left_out: LeftOut,
    /// Members that were there already, and of which a line was taken.
    met: usize,
    added: usize,
    names_bytes: usize,
}

impl Plan {
    /// `members`: the names of those that are there.
    pub(super) fn new<'a>(prefix: FileName, root: FileName, members: impl Iterator<Item = &'a FileName>) -> Self {
        let mut plan = Self {
            prefix,
            root,
            files: BTreeMap::new(),
            left_out: LeftOut::default(),
            met: 0,
            added: 0,
            names_bytes: 0,
        };
        for name in members {
            if let Some(path) = plan.path_of(name) {
                plan.files.insert(path, (name.clone(), None));
            }
        }
        plan
    }

    /// Takes a line of the list. Says whether it is beneath the directory.
    pub(super) fn take(&mut self, file: Listed, executable: bool) -> bool {
        if !file.name.as_bytes().starts_with(self.prefix.as_bytes()) {
            return false;
        }
        let Some(path) = self.path_of(&file.name) else {
            self.left_out.add(file.name);
            return true;
        };
        match self.files.get(&path) {
            Some((name, None)) if *name == file.name => self.met += 1,
            // The same line again.
            Some((name, _)) if *name == file.name => {}
            None if self.is_free(path.as_bytes()) => {
                let (size, b3) = file.attributes.map_or((None, None), |told| (told.size, told.b3));
                let path_bytes = path.as_bytes().len();
                let planned = Planned { name: file.name.clone(), path: path.clone(), size, b3, executable };
                self.files.insert(path, (file.name, Some(planned)));
                self.added += 1;
                self.names_bytes += path_bytes;
            }
            _ => self.left_out.add(file.name),
        }
        true
    }

    /// Whether there were members of which no line was taken. The lines are those of a manifest, which are distinct.
    pub(super) fn lacks_members(&self) -> bool {
        self.met < self.files.len() - self.added
    }

    /// Files that are to become members.
    pub(super) fn added(&self) -> usize {
        self.added
    }

    /// What their names take.
    pub(super) fn names_bytes(&self) -> usize {
        self.names_bytes
    }

    /// Nothing of the list is beneath the directory, nor was before.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.left_out.count == 0
    }

    /// The files that are to become members, the last first.
    pub(super) fn into_added(self) -> (Vec<Planned>, LeftOut) {
        (self.files.into_values().rev().filter_map(|(_, planned)| planned).collect(), self.left_out)
    }

    /// The name in the share of the peer of a path beneath the directory; `None` if that is too long.
    pub(super) fn name_of(&self, path: &FileName) -> Option<FileName> {
        FileName::from_bytes(&[self.prefix.as_bytes(), path.as_bytes()].concat())
    }

    /// The path of a name that is beneath the directory; `None` if it has none that is safe.
    pub(super) fn path_of(&self, name: &FileName) -> Option<FileName> {
        let rest = name.as_bytes().strip_prefix(self.prefix.as_bytes())?;
        let mut path = self.root.as_bytes().to_vec();
        for (depth, part) in rest.split(|&byte| byte == b'/').enumerate() {
            if depth >= DIRECTORY_DEPTH_MAX || matches!(part, b"" | b"." | b"..") {
                return None;
            }
            path.push(b'/');
            path.extend_from_slice(FileName::from_bytes(part)?.safe_component().as_bytes());
        }
        FileName::from_bytes(&path)
    }

    /// Whether a path is not that of a directory on the way to another file, and no file is on the way to it.
    fn is_free(&self, path: &[u8]) -> bool {
        let above = |at: usize| path.get(..at).is_some_and(|above| self.files.contains_key(above));
        if path.iter().enumerate().any(|(at, &byte)| byte == b'/' && above(at)) {
            return false;
        }
        let beneath = [path, b"/"].concat();
        let next = self.files.range::<[u8], _>((Bound::Included(&beneath[..]), Bound::Unbounded)).next();
        next.is_none_or(|(other, _)| !other.as_bytes().starts_with(&beneath))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(bytes: &[u8]) -> FileName {
        FileName::from_bytes(bytes).unwrap()
    }

    fn planned(names: &[&[u8]]) -> (Vec<String>, Vec<String>) {
        let mut plan = Plan::new(name(b"x/d/"), name(b"d"), std::iter::empty());
        for bytes in names {
            plan.take(Listed { name: name(bytes), attributes: None }, false);
        }
        let (added, left_out) = plan.into_added();
        assert_eq!(left_out.count, left_out.first.len() as u64);
        let shown = |names: Vec<FileName>| names.iter().map(FileName::to_string).collect();
        (added.into_iter().rev().map(|file| file.path.to_string()).collect(), shown(left_out.first))
    }

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_is_beneath_the_directory_keeps_its_path() {
        let (files, left_out) = planned(&[b"x/d/a", b"x/d/b/c/e.txt", b"x/d", b"x/dd/a", b"x/e", b"x/d/a"]);
        assert_eq!((files, left_out), (strings(&["d/a", "d/b/c/e.txt"]), vec![]));
    }

    #[test]
    fn no_path_leads_out_of_the_directory() {
        let hostile: [&[u8]; 6] = [b"x/d/../a", b"x/d/..", b"x/d//etc/passwd", b"x/d/b/./a", b"x/d/", b"x/d/b/"];
        let (files, left_out) = planned(&hostile);
        assert_eq!(files, strings(&[]));
        assert_eq!(left_out.len(), hostile.len());
        let deep = [b"x/d/".to_vec(), b"a/".repeat(DIRECTORY_DEPTH_MAX), b"b".to_vec()].concat();
        assert_eq!(planned(&[&deep]).0, strings(&[]));
    }

    #[test]
    fn components_are_made_safe() {
        let long = [b"x/d/".to_vec(), b"n".repeat(300)].concat();
        let (files, left_out) = planned(&["x/d/\u{202e}a".as_bytes(), b"x/d/.hidden/b", &long]);
        assert_eq!(files[..2], strings(&["d/_.hidden/b", "d/_a"]));
        assert_eq!((files[2].len(), left_out), (255 + 2, vec![]));
    }

    #[test]
    fn a_file_is_in_the_way_of_no_other() {
        let (files, left_out) =
            planned(&[b"x/d/a", b"x/d/a/b", b"x/d/c/e", b"x/d/c", "x/d/\u{202e}".as_bytes(), b"x/d/_"]);
        assert_eq!(files, strings(&["d/_", "d/a", "d/c/e"]));
        assert_eq!(left_out, strings(&["x/d/a/b", "x/d/c", "x/d/_"]));
    }

    #[test]
    fn members_keep_their_paths() {
        let members = [name(b"x/d/a")];
        let mut plan = Plan::new(name(b"x/d/"), name(b"d"), members.iter());
        for listed in [&b"x/d/a"[..], b"x/d/a/b", b"x/d/c"] {
            assert!(plan.take(Listed { name: name(listed), attributes: None }, false));
        }
        assert_eq!((plan.added(), plan.left_out.count), (1, 1));
    }
}
