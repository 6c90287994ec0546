//! What always holds of the downloads, and whether what the loop is still to do is in the order that
//! [`contract`](crate::node::contract) promises.

use super::DownloadMachine;
use super::part::PartFile;
use super::source::{Origin, Source, Standing};
use super::state::{Download, Life, Outgoing, Want};
use crate::id::TransferId;
use crate::node::contract::{Action, RecordState};
use crate::node::cx::Cx;
use crate::node::cx::exchanges::Purpose;
use crate::node::limits::{FETCHES_PER_DOWNLOAD_MAX, HIT_SOURCES_MAX};
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
    pub(in crate::node) fn check_invariants(&self, cx: &Cx) {
        self.downloads.check_invariants();
        self.directories.check_invariants(&self.downloads);
        self.check_precedence(cx);
        self.first_contacts.check_invariants();
        if cx.is_running() {
            self.check_fetches(cx);
        }
    }

    /// Every exchange with a source has its dial, and works or waits for a worker.
    fn check_fetches(&self, cx: &Cx) {
        let workers = cx.exchanges.workers();
        for (&exchange, (id, _)) in &self.downloads.fetches {
            let dial = cx.exchanges.dial(exchange);
            assert!(dial.is_some_and(|dial| dial.purpose == Purpose::Fetch), "{id:?} fetches by its own exchange");
            let working = workers.is_active(exchange) || workers.is_queued(exchange);
            assert!(working, "{id:?} fetches with a worker, or waits for one");
        }
    }

    pub(super) fn check_precedence(&self, cx: &Cx) {
        for (id, revision) in cx.out.needs() {
            let recorded = self.recorded(id);
            let is_told = recorded.is_none_or(|recorded| recorded.durable >= revision || recorded.problem.is_some());
            assert!(is_told, "no answer leaves before the record of {id:?} is on the disk");
        }
        let mut before = BTreeMap::new();
        cx.out.actions().for_each(|action| self.check_action(action, &mut before));
    }

    fn check_action(&self, action: &Action, before: &mut BTreeMap<TransferId, Before>) {
        let id = match action {
            Action::OpenPart { download, .. }
            | Action::CheckPart { download, .. }
            | Action::CommitPart { download } => download,
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

impl Download {
    pub(super) fn check_invariants(&self, id: TransferId) {
        let (done, size) = self.progress();
        assert!(size.is_none_or(|size| done <= size), "{id:?} has {done} bytes of {size:?}");
        assert!(self.sources.len() <= HIT_SOURCES_MAX, "the sources of {id:?} are bounded");
        assert_eq!(self.seek.outgoing, Outgoing::None, "{id:?} knows whether there was anybody to ask");
        self.sources.iter().for_each(|source| source.names.check_invariants());
        let in_reserve = |source: &Source| matches!(source.standing, Standing::Reserve);
        let may_reserve = |source: &Source| self.want == Want::Name && source.origin == Origin::Name;
        assert!(
            self.sources.iter().all(|source| !in_reserve(source) || may_reserve(source)),
            "only who was found by a name alone is in reserve"
        );
        let mut asked: Vec<_> = Vec::new();
        for (_, fetch) in self.busy() {
            assert!(self.open().is_some(), "{id:?} asks only while it fetches");
            let left = fetch.task.left().filter(|left| !left.is_empty() && !fetch.twice);
            asked.extend(left.map(|left| (left.start, left.end)));
        }
        assert!(asked.len() <= FETCHES_PER_DOWNLOAD_MAX, "the exchanges of {id:?} are bounded");
        asked.sort_unstable();
        assert!(
            asked.windows(2).all(|pair| pair[0].1 <= pair[1].0),
            "no group of {id:?} is asked for twice: {asked:?}"
        );
        let fits = match self.life() {
            Life::Active => !matches!(self.part(), PartFile::Absent | PartFile::Kept(_)),
            Life::Done { .. } => matches!(self.part(), PartFile::Absent),
            Life::Cancelled { .. } => matches!(self.part(), PartFile::Absent) || self.part().is_busy(),
            _ => !matches!(self.part(), PartFile::Open(_) | PartFile::Checking { .. }),
        };
        assert!(fits, "{id:?} has the part file that its life calls for: {:?} {:?}", self.life(), self.part());
    }
}
