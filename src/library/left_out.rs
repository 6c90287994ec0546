//! What a scan left out: all of it counted, and the names of some.

use crate::left_out::LeftOutReason;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Names kept for each reason, the first by name.
const NAMES_MAX: usize = if cfg!(test) { 8 } else { 1000 };

/// Bytes of names kept for each reason.
const NAMES_BYTES_MAX: usize = if cfg!(test) { 8 * 1024 } else { 256 * 1024 };

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeftOut {
    reasons: BTreeMap<LeftOutReason, Names>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Names {
    count: u64,
    kept: BTreeSet<Box<[u8]>>,
    bytes: usize,
    /// The least name that had no place. No later one is kept, so that it does not matter in which order they come.
    beyond: Option<Box<[u8]>>,
}

impl LeftOut {
    /// `path`: relative to the share, any bytes.
    pub(crate) fn note(&mut self, reason: LeftOutReason, path: &[u8]) {
        self.reasons.entry(reason).or_default().note(path);
    }

    /// Adds what was left out of a further share, under its name.
    pub(crate) fn add(&mut self, name: &[u8], other: LeftOut) {
        let beneath = |path: &[u8]| [name, b"/", path].concat();
        for (reason, names) in other.reasons {
            let known = self.reasons.entry(reason).or_default();
            known.count += names.count - names.kept.len() as u64;
            names.kept.iter().for_each(|path| known.note(&beneath(path)));
            if let Some(beyond) = names.beyond.map(|beyond| beneath(&beyond).into_boxed_slice()) {
                known.stop_before(beyond);
            }
        }
    }

    /// Forgets those of these names that are kept, until the next scan.
    pub(crate) fn forget(&mut self, is_gone: impl Fn(&[u8]) -> bool) {
        for names in self.reasons.values_mut() {
            let before = names.kept.len();
            names.kept.retain(|name| !is_gone(name));
            names.count -= (before - names.kept.len()) as u64;
            names.bytes = names.kept.iter().map(|name| name.len()).sum();
        }
    }

    /// How many there are for each reason.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (LeftOutReason, u64)> {
        self.reasons.iter().map(|(reason, names)| (*reason, names.count))
    }

    pub(crate) fn total(&self) -> u64 {
        self.reasons.values().map(|names| names.count).sum()
    }

    /// How many there are for each reason whose names are not kept, where there are some.
    pub(crate) fn unnamed(&self) -> impl Iterator<Item = (LeftOutReason, u64)> {
        let unnamed = self.reasons.iter().map(|(reason, names)| (*reason, names.count - names.kept.len() as u64));
        unnamed.filter(|(_, count)| *count > 0)
    }

    /// By name, from the first one after `after`. The empty name is before all others.
    pub(crate) fn names_after(&self, after: &[u8]) -> impl Iterator<Item = (&[u8], LeftOutReason)> {
        let from = (Bound::Excluded(after), Bound::Unbounded);
        let mut reasons: Vec<_> = self
            .reasons
            .iter()
            .map(|(reason, names)| (names.kept.range::<[u8], _>(from).peekable(), *reason))
            .collect();
        std::iter::from_fn(move || {
            let heads = reasons.iter_mut().filter(|(names, _)| names.clone().next().is_some());
            let (names, reason) = heads.min_by_key(|(names, _)| names.clone().next())?;
            names.next().map(|name| (&**name, *reason))
        })
    }

    /// The names of this kind that an earlier scan did not leave out for the same reason, and how many there are: those beyond the
    /// names kept are new where there are more than before.
    pub(crate) fn new_since<'a>(
        &'a self,
        before: &'a LeftOut,
        reason: LeftOutReason,
    ) -> (impl Iterator<Item = &'a [u8]>, u64) {
        let none = &NONE;
        let now = self.reasons.get(&reason).unwrap_or(none);
        let before = before.reasons.get(&reason).unwrap_or(none);
        let new = now.kept.iter().filter(|name| !before.knows(name));
        let grown = now.count.saturating_sub(before.count);
        let count = (new.clone().count() as u64).max(grown);
        (new.map(|name| &**name), count)
    }
}

static NONE: Names = Names { count: 0, kept: BTreeSet::new(), bytes: 0, beyond: None };

impl Names {
    fn note(&mut self, path: &[u8]) {
        self.count += 1;
        if self.beyond.as_deref().is_some_and(|beyond| path >= beyond) {
            return;
        }
        if self.kept.insert(path.into()) {
            self.bytes += path.len();
        }
        while self.kept.len() > NAMES_MAX || self.bytes > NAMES_BYTES_MAX {
            let Some(last) = self.kept.pop_last() else { break };
            self.bytes -= last.len();
            self.beyond = Some(last);
        }
    }

    /// Keeps no name from this one on.
    fn stop_before(&mut self, beyond: Box<[u8]>) {
        if self.beyond.as_ref().is_some_and(|known| *known <= beyond) {
            return;
        }
        for last in self.kept.split_off(&beyond) {
            self.bytes -= last.len();
        }
        self.beyond = Some(beyond);
    }

    /// Whether this was left out, as far as its name was kept or would not have been.
    fn knows(&self, name: &[u8]) -> bool {
        self.kept.contains(name) || self.beyond.as_deref().is_some_and(|beyond| name >= beyond)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LeftOutReason::{Hidden, Symlink};

    fn noted(names: impl IntoIterator<Item = (LeftOutReason, String)>) -> LeftOut {
        let mut left_out = LeftOut::default();
        names.into_iter().for_each(|(reason, name)| left_out.note(reason, name.as_bytes()));
        left_out
    }

    fn names(left_out: &LeftOut, after: &[u8]) -> Vec<String> {
        left_out.names_after(after).map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect()
    }

    #[test]
    fn all_are_counted_and_the_first_by_name_of_each_reason_are_named() {
        let hidden = (0..20).map(|n| (Hidden, format!(".{n:02}")));
        let there = noted(hidden.clone().chain([(Symlink, "z".to_owned())]));
        let back = noted([(Symlink, "z".to_owned())].into_iter().chain(hidden.rev()));
        assert_eq!(there, back, "in any order");
        assert_eq!(there.counts().collect::<Vec<_>>(), [(Symlink, 1), (Hidden, 20)]);
        assert_eq!((there.total(), there.unnamed().collect::<Vec<_>>()), (21, vec![(Hidden, 12)]));
        let named: Vec<String> = (0..8).map(|n| format!(".{n:02}")).chain(["z".to_owned()]).collect();
        assert_eq!(names(&there, b""), named);
        assert_eq!(names(&there, b".06"), [".07", "z"]);
        assert_eq!(names(&there, b"z"), [""; 0]);
    }

    #[test]
    fn what_was_left_out_of_a_further_share_counts_under_its_name() {
        let names_of =
            |count: usize, prefix: &str| (0..count).map(|n| (Hidden, format!("{prefix}{n:02}"))).collect::<Vec<_>>();
        for (here, there) in [(0, 20), (3, 4), (20, 20), (5, 20), (20, 0)] {
            let mut added = noted(names_of(here, "a"));
            added.add(b"m", noted(names_of(there, "")));
            let whole = noted(names_of(here, "a").into_iter().chain(names_of(there, "m/")));
            assert_eq!((added.total(), names(&added, b"")), (whole.total(), names(&whole, b"")), "{here} {there}");
            assert_eq!(added.unnamed().collect::<Vec<_>>(), whole.unnamed().collect::<Vec<_>>());
        }
    }

    #[test]
    fn names_are_bounded_in_bytes() {
        let long = noted((0..4).map(|n| (Hidden, format!("{n}{}", "x".repeat(2999)))));
        assert_eq!((names(&long, b"").len(), long.unnamed().collect::<Vec<_>>()), (2, vec![(Hidden, 2)]));
        let longest = noted([(Hidden, "x".repeat(9000))]);
        assert_eq!((longest.total(), names(&longest, b"").len()), (1, 0));
    }

    #[test]
    fn what_was_left_out_before_is_not_new() {
        let new = |now: &LeftOut, before: &LeftOut| {
            let (names, count) = now.new_since(before, Hidden);
            (names.map(|name| String::from_utf8_lossy(name).into_owned()).collect::<Vec<_>>(), count)
        };
        let of = |names: &[&str]| noted(names.iter().map(|name| (Hidden, (*name).to_owned())));
        let two = of(&[".a", ".b"]);
        assert_eq!(new(&two, &LeftOut::default()), (vec![".a".to_owned(), ".b".to_owned()], 2));
        assert_eq!(new(&two, &two), (vec![], 0));
        assert_eq!(new(&of(&[".b", ".c"]), &two), (vec![".c".to_owned()], 1));
        assert_eq!(new(&LeftOut::default(), &two), (vec![], 0));
        // A name gets its place because another one is gone.
        let many = noted((0..9).map(|n| (Hidden, format!(".{n}"))));
        assert_eq!(new(&noted((1..9).map(|n| (Hidden, format!(".{n}")))), &many), (vec![], 0));
        assert_eq!(new(&noted((0..11).map(|n| (Hidden, format!(".{n:x}")))), &many).1, 2);
    }
}
