//! Checks that what the loop is still to do is in the order that [`contract`](crate::node::contract) promises.

use super::DownloadMachine;
use super::life::PartFile;
use crate::id::TransferId;
use crate::node::contract::{Action, RecordState};
use crate::node::cx::Cx;
use std::collections::BTreeMap;

/// What of a download comes before in the queue.
#[derive(Default)]
struct Before {
    /// An order for its part file.
    part: bool,
    check: bool,
    /// A record that it is over.
    end: bool,
    /// Its part file is to be removed, and no record before that says so.
    drop: bool,
}

impl DownloadMachine {
    pub(super) fn check_precedence(&self, cx: &Cx) {
        for (id, revision) in cx.out.needs() {
            let recorded = self.downloads.get(id).map(|row| &row.recorded);
            let is_told = recorded.is_none_or(|recorded| recorded.durable >= revision || recorded.problem.is_some());
            assert!(is_told, "no answer leaves before the record of {id:?} is on the disk");
        }
        let mut before = BTreeMap::new();
        cx.out.actions().for_each(|action| self.check_action(action, &mut before));
    }

    fn check_action(&self, action: &Action, before: &mut BTreeMap<TransferId, Before>) {
        let id = match action {
            Action::OpenPart { download, .. } | Action::CheckPart { download } | Action::CommitPart { download } => {
                download
            }
            Action::ClosePart { download } | Action::DropPart { download, .. } => download,
            Action::Fetch { download, .. } | Action::FetchMetadata { download, .. } => download,
            Action::RememberDownload { record, .. } => &record.id,
            _ => return,
        };
        let (before, row) = (before.entry(*id).or_default(), self.downloads.get(*id));
        match action {
            Action::OpenPart { .. } => {
                let is_accepted = row.is_some_and(|row| row.recorded.accepted);
                assert!(is_accepted, "no part file of {id:?} is made before its record is on the disk");
                *before = Before { part: true, ..Before::default() };
            }
            Action::CheckPart { .. } => (before.part, before.check) = (true, true),
            Action::CommitPart { .. } => {
                let is_checked = row.is_some_and(|row| matches!(row.part(), PartFile::Committing { .. }));
                assert!(is_checked && !before.check, "the part file of {id:?} is checked before it is committed");
                before.part = true;
            }
            Action::DropPart { .. } => (before.part, before.drop) = (true, !before.end),
            Action::Fetch { .. } | Action::FetchMetadata { .. } => {
                assert!(!before.part, "no fetch writes to the part file of {id:?} once something else is done with it");
            }
            Action::RememberDownload { record, .. }
                if matches!(record.state, RecordState::Dropped | RecordState::Failed { keeps_part: false }) =>
            {
                assert!(!before.drop, "the end of {id:?} is remembered before its part file goes");
                before.end = true;
            }
            _ => before.part |= matches!(action, Action::ClosePart { .. }),
        }
    }
}
