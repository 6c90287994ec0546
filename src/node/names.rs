//! The names that one source has for what a download wants, and what the source has refused under each.
//!
//! A source may rename a file, or delete one of two copies, while a download runs: each name is tried before the source
//! counts as one that does not give the file.

use super::limits::SOURCE_NAMES_MAX;
use crate::name::FileName;
use std::collections::BTreeSet;
use std::rc::Rc;

/// A kind of request, as far as a source can refuse it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ask {
    /// Code 9.
    Metadata,
    /// Code 8.
    Ranges,
    /// Code 4. Who refuses it gives nothing under this name.
    All,
}

/// The names of one source, the newest first. Never empty.
#[derive(Debug)]
pub(super) struct Names(Vec<OfferedName>);

/// One name.
#[derive(Debug)]
struct OfferedName {
    name: Rc<FileName>,
    /// What was refused under this name since the source last rested.
    refused: BTreeSet<Ask>,
    /// The source has another content under this name.
    disproved: bool,
}

impl OfferedName {
    fn new(name: Rc<FileName>) -> Self {
        Self { name, refused: BTreeSet::new(), disproved: false }
    }

    fn may_give(&self, ask: Ask) -> bool {
        !self.disproved && !self.refused.contains(&ask) && !self.refused.contains(&Ask::All)
    }

    /// Something may be had under it: who refuses ranges or metadata alone may still send all of it.
    fn is_good(&self) -> bool {
        self.may_give(Ask::All)
    }
}

impl Names {
    pub(super) fn new(name: Rc<FileName>) -> Self {
        Self(vec![OfferedName::new(name)])
    }

    /// As an earlier run remembered them. `None` if there is none.
    pub(super) fn recalled(names: Vec<FileName>) -> Option<Self> {
        let names = names.into_iter().take(SOURCE_NAMES_MAX);
        let names: Vec<_> = names.map(|name| OfferedName::new(Rc::new(name))).collect();
        (!names.is_empty()).then_some(Self(names))
    }

    /// All, the newest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<FileName>> {
        self.0.iter().map(|offered| &offered.name)
    }

    /// The name to ask under: the newest under which this was not refused.
    pub(super) fn name_for(&self, ask: Ask) -> Option<&Rc<FileName>> {
        self.0.iter().find(|offered| offered.may_give(ask)).map(|offered| &offered.name)
    }

    /// A search found the source under this name. Says whether that is news: a name not known before, or one under which
    /// nothing was given or another content was found, and which may be tried again.
    pub(super) fn add(&mut self, name: &Rc<FileName>) -> bool {
        match self.0.iter().position(|offered| offered.name == *name) {
            Some(at) if self.0[at].is_good() => return false,
            Some(at) => drop(self.0.remove(at)),
            None if self.0.len() >= SOURCE_NAMES_MAX => {
                // The oldest goes, and one that is of no use before one that is.
                let useless = self.0.iter().rposition(|offered| !offered.is_good());
                self.0.remove(useless.unwrap_or(self.0.len() - 1));
            }
            None => {}
        }
        self.0.insert(0, OfferedName::new(Rc::clone(name)));
        true
    }

    /// This was refused under this name.
    pub(super) fn refuse(&mut self, name: &FileName, ask: Ask) {
        if let Some(offered) = self.0.iter_mut().find(|offered| *offered.name == *name) {
            offered.refused.insert(ask);
        }
    }

    /// The source has another content under this name: it is not asked under it again until a search finds it there.
    pub(super) fn disprove(&mut self, name: &FileName) {
        if let Some(offered) = self.0.iter_mut().find(|offered| *offered.name == *name) {
            offered.disproved = true;
        }
    }

    /// Whether the source has said that it has another content under one of these names.
    pub(super) fn has_disproved(&self, names: &Names) -> bool {
        let is_named = |name: &Rc<FileName>| names.iter().any(|other| other == name);
        self.0.iter().any(|offered| offered.disproved && is_named(&offered.name))
    }

    /// What was refused may be asked again.
    pub(super) fn forget_refusals(&mut self) {
        self.0.iter_mut().for_each(|offered| offered.refused.clear());
    }

    pub(super) fn check_invariants(&self) {
        assert!(!self.0.is_empty(), "a source has a name");
        assert!(self.0.len() <= SOURCE_NAMES_MAX, "the names of a source are bounded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Rc<FileName> {
        Rc::new(FileName::from_bytes(text.as_bytes()).unwrap())
    }

    fn all(names: &Names) -> Vec<String> {
        names.check_invariants();
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn the_newest_name_that_does_not_refuse_is_asked() {
        let mut names = Names::new(name("a"));
        assert!(names.add(&name("b")) && !names.add(&name("b")) && !names.add(&name("a")));
        assert_eq!(names.name_for(Ask::Ranges), Some(&name("b")));
        names.refuse(&name("b"), Ask::Ranges);
        assert!(!names.add(&name("b")), "a hit does not make it serve ranges");
        assert_eq!(names.name_for(Ask::Ranges), Some(&name("a")));
        assert_eq!(names.name_for(Ask::Metadata), Some(&name("b")), "each kind of request is refused alone");
        names.refuse(&name("a"), Ask::All);
        assert_eq!((names.name_for(Ask::Ranges), names.name_for(Ask::All)), (None, Some(&name("b"))));
        names.forget_refusals();
        assert_eq!(names.name_for(Ask::Ranges), Some(&name("b")));
    }

    #[test]
    fn a_name_of_another_content_is_asked_again_only_when_it_is_found_again() {
        let mut names = Names::new(name("a"));
        names.add(&name("b"));
        names.disprove(&name("b"));
        names.forget_refusals();
        assert_eq!(names.name_for(Ask::Ranges), Some(&name("a")));
        assert!(names.add(&name("b")));
        assert_eq!(names.name_for(Ask::Ranges), Some(&name("b")));
    }

    #[test]
    fn the_names_are_bounded_and_the_oldest_goes_unless_another_is_of_no_use() {
        let mut names = Names::new(name("0"));
        (1..SOURCE_NAMES_MAX).for_each(|n| assert!(names.add(&name(&n.to_string()))));
        names.add(&name("x"));
        assert!(!all(&names).contains(&"0".to_string()));
        names.refuse(&name("3"), Ask::All);
        names.add(&name("y"));
        assert_eq!(all(&names)[..2], ["y", "x"]);
        assert!(!all(&names).contains(&"3".to_string()) && all(&names).contains(&"1".to_string()));
    }
}
