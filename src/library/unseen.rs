//! What the last scan could not see: what is known of that stays.

use super::ScanReport;
use crate::audience::first_component;
use crate::name::FileName;
use std::collections::BTreeSet;

#[derive(Debug, Default)]
pub(super) struct Unseen {
    /// Names of what could not be examined, with all beneath them.
    hidden: Vec<FileName>,
    /// The further shares that could be read, if the one whose files have no name before theirs could not.
    read_alone: Option<BTreeSet<FileName>>,
}

impl Unseen {
    /// `None` if nothing could be seen.
    pub(super) fn of(report: &ScanReport) -> Option<Self> {
        if report.failed.is_some() && !report.others_read {
            return None;
        }
        let read =
            || report.shares.iter().filter(|(_, found)| found.is_ok()).filter_map(|(name, _)| name.clone()).collect();
        Some(Self { hidden: report.hidden.clone(), read_alone: report.failed.map(|_| read()) })
    }

    pub(super) fn has(&self, name: &[u8]) -> bool {
        let share = first_component(name);
        self.read_alone.as_ref().is_some_and(|read| !read.iter().any(|name| name.as_bytes() == share))
            || self.hidden.iter().any(|at| is_at_or_beneath(name, at.as_bytes()))
    }

    /// Nothing of a share is known any more.
    pub(super) fn forget(&mut self, share: &[u8]) {
        self.hidden.retain(|name| first_component(name.as_bytes()) != share);
    }
}

fn is_at_or_beneath(name: &[u8], at: &[u8]) -> bool {
    name.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}
