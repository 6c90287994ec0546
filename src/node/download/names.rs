//! The names that one source has for what a download wants, and what the source has refused under each.
//!
//! A source may rename a file, or delete one of two copies, while a download runs: each name is tried before the source
//! counts as one that does not give the file.
//!
//! Whoever hears a search can send hits that name any source and any file. So what the source itself has told, or the user
//! has chosen, is asked for first, and others cannot displace it.

use crate::name::FileName;
use crate::node::answer::Teller;
use crate::node::limits::SOURCE_NAMES_MAX;
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

/// New names told by hits since a search was answered last: whoever tells them must not have the source asked without end,
/// and others must not use up what the source itself may tell.
#[derive(Debug, Default)]
pub(super) struct NamesTold {
    by_source: usize,
    by_others: usize,
}

impl NamesTold {
    /// A search was answered.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Whether others have told new names.
    pub(super) fn are_of_others(&self) -> bool {
        self.by_others > 0
    }

    /// Counts a new name. Says whether it may be asked for: as many as may all be remembered.
    pub(super) fn allow(&mut self, teller: Teller) -> bool {
        let told = match teller {
            Teller::Source => &mut self.by_source,
            Teller::Others => &mut self.by_others,
        };
        *told += 1;
        *told <= SOURCE_NAMES_MAX
    }
}

/// The names of one source: first those that it has told itself, then those that others have; each part the newest first.
/// Never empty.
#[derive(Debug)]
pub(super) struct Names(Vec<OfferedName>);

/// One name.
#[derive(Debug)]
struct OfferedName {
    name: Rc<FileName>,
    teller: Teller,
    /// What was refused under this name since the source last rested.
    refused: BTreeSet<Ask>,
    /// The source has another content under this name.
    disproved: bool,
}

impl OfferedName {
    fn new(name: Rc<FileName>, teller: Teller) -> Self {
        Self { name, teller, refused: BTreeSet::new(), disproved: false }
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
    pub(super) fn new(name: Rc<FileName>, teller: Teller) -> Self {
        Self(vec![OfferedName::new(name, teller)])
    }

    /// As an earlier run remembered them. The first is what the source has told itself, if it has told any; who has told the
    /// others is not known. `None` if there is none.
    pub(super) fn recalled(names: Vec<FileName>) -> Option<Self> {
        let names = names.into_iter().take(SOURCE_NAMES_MAX);
        let tellers = std::iter::once(Teller::Source).chain(std::iter::repeat(Teller::Others));
        let names: Vec<_> = names.zip(tellers).map(|(name, teller)| OfferedName::new(Rc::new(name), teller)).collect();
        (!names.is_empty()).then_some(Self(names))
    }

    /// All, in the order in which they are asked for.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<FileName>> {
        self.0.iter().map(|offered| &offered.name)
    }

    /// The name to ask under: the first under which this was not refused.
    pub(super) fn name_for(&self, ask: Ask) -> Option<&Rc<FileName>> {
        self.0.iter().find(|offered| offered.may_give(ask)).map(|offered| &offered.name)
    }

    /// Whether something may be had under this name.
    pub(super) fn is_good(&self, name: &FileName) -> bool {
        self.0.iter().any(|offered| *offered.name == *name && offered.is_good())
    }

    /// Whether the source gives nothing under this name, and has not said either that it has another content under it.
    pub(super) fn is_refused(&self, name: &FileName) -> bool {
        self.0.iter().any(|offered| *offered.name == *name && !offered.disproved && !offered.is_good())
    }

    /// Whether the source has told this name itself, and gave nothing under it or has another content there.
    pub(super) fn was_its_own(&self, name: &FileName) -> bool {
        self.0.iter().any(|offered| *offered.name == *name && offered.teller == Teller::Source && !offered.is_good())
    }

    /// A search found the source under this name. Says whether that is news: a name not known before, or one under which
    /// nothing was given or another content was found, and which may be tried again, or one that only others had told.
    pub(super) fn add(&mut self, name: &Rc<FileName>, teller: Teller) -> bool {
        let told_by_source = self.0.iter().take_while(|offered| offered.teller == Teller::Source).count();
        let offered = match self.0.iter().position(|offered| offered.name == *name) {
            Some(at) => {
                let is_promoted = (self.0[at].teller, teller) == (Teller::Others, Teller::Source);
                let is_good = self.0[at].is_good();
                if is_good && !is_promoted {
                    return false;
                }
                if at < told_by_source && teller == Teller::Others {
                    self.0[at] = OfferedName::new(Rc::clone(name), Teller::Source);
                    return true;
                }
                let known = self.0.remove(at);
                if is_good { OfferedName { teller, ..known } } else { OfferedName::new(Rc::clone(name), teller) }
            }
            None => {
                if !self.make_place(told_by_source, teller) {
                    return false;
                }
                OfferedName::new(Rc::clone(name), teller)
            }
        };
        let told_by_source = self.0.iter().take_while(|offered| offered.teller == Teller::Source).count();
        self.0.insert(if teller == Teller::Source { 0 } else { told_by_source }, offered);
        true
    }

    /// Makes a place for a further name: one that others have told gives way, and to what the source tells its own too. The
    /// oldest goes, and one that is of no use before one that is. Says whether there is a place.
    fn make_place(&mut self, told_by_source: usize, teller: Teller) -> bool {
        if self.0.len() < SOURCE_NAMES_MAX {
            return true;
        }
        let first = match teller {
            _ if told_by_source < self.0.len() => told_by_source,
            Teller::Source => 0,
            Teller::Others => return false,
        };
        let useless = self.0[first..].iter().rposition(|offered| !offered.is_good());
        self.0.remove(useless.map_or(self.0.len() - 1, |at| first + at));
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
        assert!(self.0.is_sorted_by_key(|offered| offered.teller == Teller::Others), "its own names come first");
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
        let mut names = Names::new(name("a"), Teller::Source);
        assert!(
            names.add(&name("b"), Teller::Source)
                && !names.add(&name("b"), Teller::Source)
                && !names.add(&name("a"), Teller::Source)
        );
        assert_eq!(names.name_for(Ask::Ranges), Some(&name("b")));
        names.refuse(&name("b"), Ask::Ranges);
        assert!(!names.add(&name("b"), Teller::Source), "a hit does not make it serve ranges");
        assert_eq!(names.name_for(Ask::Ranges), Some(&name("a")));
        assert_eq!(names.name_for(Ask::Metadata), Some(&name("b")), "each kind of request is refused alone");
        names.refuse(&name("a"), Ask::All);
        assert_eq!((names.name_for(Ask::Ranges), names.name_for(Ask::All)), (None, Some(&name("b"))));
        names.forget_refusals();
        assert_eq!(names.name_for(Ask::Ranges), Some(&name("b")));
    }

    #[test]
    fn a_name_of_another_content_is_asked_again_only_when_it_is_found_again() {
        let mut names = Names::new(name("a"), Teller::Source);
        names.add(&name("b"), Teller::Source);
        names.disprove(&name("b"));
        names.forget_refusals();
        assert_eq!(names.name_for(Ask::Ranges), Some(&name("a")));
        assert!(names.add(&name("b"), Teller::Source));
        assert_eq!(names.name_for(Ask::Ranges), Some(&name("b")));
    }

    #[test]
    fn the_names_are_bounded_and_the_oldest_goes_unless_another_is_of_no_use() {
        let mut names = Names::new(name("0"), Teller::Source);
        (1..SOURCE_NAMES_MAX).for_each(|n| assert!(names.add(&name(&n.to_string()), Teller::Source)));
        names.add(&name("x"), Teller::Source);
        assert!(!all(&names).contains(&"0".to_string()));
        names.refuse(&name("3"), Ask::All);
        names.add(&name("y"), Teller::Source);
        assert_eq!(all(&names)[..2], ["y", "x"]);
        assert!(!all(&names).contains(&"3".to_string()) && all(&names).contains(&"1".to_string()));
    }

    #[test]
    fn what_others_tell_comes_after_what_the_source_tells_and_never_displaces_it() {
        let mut names = Names::new(name("forged"), Teller::Others);
        for n in 0..50 {
            let _ = names.add(&name(&format!("a{n}")), Teller::Others);
        }
        assert!(names.add(&name("true"), Teller::Source), "it has a place all the same");
        names.refuse(&name("true"), Ask::All);
        for n in 0..50 {
            let _ = names.add(&name(&format!("b{n}")), Teller::Others);
        }
        assert_eq!((all(&names).len(), &all(&names)[..2]), (SOURCE_NAMES_MAX, &["true".into(), "b49".into()][..]));
        assert!(names.add(&name("b49"), Teller::Source), "it is the source's own from now on");
        assert!(names.add(&name("true"), Teller::Others) && !names.add(&name("b49"), Teller::Others));
        assert_eq!(all(&names)[..3], ["b49", "true", "b48"]);
        assert_eq!(names.name_for(Ask::All), Some(&name("b49")));
        (0..8).for_each(|n| assert!(names.add(&name(&n.to_string()), Teller::Source)));
        assert!(!names.add(&name("c"), Teller::Others), "the source has told as many as there is place for");
        assert_eq!((all(&names)[0].as_str(), all(&names)[7].as_str()), ("7", "0"));
    }
}
