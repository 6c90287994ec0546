//! What is remembered of downloads: whether the last change of each is on the disk, and the answers that wait for that.
//!
//! A new download is accepted when its record is on the disk; before that no part file is made, so that a crash leaves
//! none that no record names. One that cannot be remembered is refused. Of a download that is accepted, a change that
//! cannot be remembered is carried out all the same, and its row says so until it is written.

use super::DownloadMachine;
use super::part::PartFile;
use super::state::{Download, Life, Recorded, Want};
use crate::control::{CallError, CallId, DownloadRow, DownloadState, EventKind, EventRow, Notice, Problem, Reply};
use crate::fault::DiskFault;
use crate::id::{ClientId, TransferId};
use crate::node::contract::{Action, DiskOutcome, DownloadRecord, RecordKind, RecordState};
use crate::node::cx::{Cx, Needs, NodeTimer, Step, Topic};
use crate::node::limits::{RECORD_ANSWERS_MAX, RECORD_NAMES_BYTES_MAX, RECORD_WAIT_MAX};
use crate::node::network::Net;
use crate::timer::TimerId;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The revisions given, and the answers that wait.
#[derive(Debug, Default)]
pub(super) struct Remembering {
    revisions: u64,
    answers_begun: u64,
    answers: BTreeMap<u64, WaitingAnswer>,
}

/// What a call comes to.
pub(in crate::node) enum Outcome {
    /// This answer, at once.
    Reply(Result<Reply, Problem>),
    /// The rows of these downloads, as soon as what was changed of them is on the disk.
    Rows(Vec<TransferId>),
    /// Which of these downloads are forgotten, as soon as that is on the disk.
    Forgotten(Vec<TransferId>),
}

/// What a call is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answering {
    /// The rows of its downloads.
    Rows,
    /// Which of its downloads are forgotten.
    Forgotten,
}

/// An answer that waits until what the call changed is on the disk.
#[derive(Debug)]
struct WaitingAnswer {
    what: Answering,
    client: ClientId,
    call: CallId,
    ids: Vec<TransferId>,
    /// The revisions that are to be on the disk first.
    needs: Needs,
    timer: TimerId,
}

impl DownloadMachine {
    /// Takes a new download into the queue, and remembers it; forgets a finished one if need be.
    pub(super) fn insert_download(&mut self, net: &mut Net, mut download: Download) -> Option<TransferId> {
        while self.downloads.is_full() && self.forget_finished(net.cx) {}
        let id = self.downloads.next_id()?;
        download.place = self.downloads.queued.place_behind().max(id.0.into());
        self.downloads.insert(id, download);
        self.learn_speech(net.network, id);
        self.log_event(net.cx, id, EventKind::Begun);
        self.remember_download(net.cx, id);
        Some(id)
    }

    /// Takes up what an earlier run left, in the order of the ids.
    pub(in crate::node) fn recall_downloads(&mut self, cx: &mut Cx, records: Vec<DownloadRecord>, last: u32) {
        self.downloads.note_given(last);
        for record in &records {
            cx.recall_events(record.id, record.events.clone());
        }
        let directories = self.recall_directories(&records);
        for mut record in records {
            let id = record.id;
            self.downloads.note_given(id.0);
            if matches!(record.kind, RecordKind::Directory { .. }) {
                continue;
            }
            self.align_member(&mut record);
            if matches!(record.state, RecordState::Dropped | RecordState::Failed { keeps_part: false }) {
                cx.out.act(Action::DropPart { download: id, spec: record.spec.clone() });
            }
            if record.state == RecordState::Dropped {
                cx.out.act(Action::ForgetDownload { download: id });
                continue;
            }
            if self.downloads.get(id).is_none() {
                let kind = record.kind;
                self.downloads.insert(id, Download::recalled(record));
                if let RecordKind::Member { of } = kind {
                    self.recall_member(of, id);
                }
            }
        }
        self.downloads.note_recalled();
        self.resume_directories(cx, directories);
    }

    pub(super) fn next_revision(&mut self) -> u64 {
        self.remembering.revisions += 1;
        self.remembering.revisions
    }

    /// What is known of the records of a download or a directory, and whether it is over.
    fn recorded_mut(&mut self, id: TransferId) -> Option<(&mut Recorded, bool)> {
        if self.directories.contains(id) {
            let is_over = self.directories.is_over(id);
            return Some((self.directories.recorded_mut(id)?, is_over));
        }
        let download = self.downloads.get_mut(id)?;
        let is_over = download.life().is_over();
        Some((&mut download.recorded, is_over))
    }

    pub(super) fn recorded(&self, id: TransferId) -> Option<&Recorded> {
        self.directories.recorded(id).or_else(|| Some(&self.downloads.get(id)?.recorded))
    }

    /// Makes room by the download that was over first and owes nothing. What it has kept is not kept without it.
    fn forget_finished(&mut self, cx: &mut Cx) -> bool {
        let Some((id, download)) = self.downloads.take_finished() else { return false };
        if matches!(download.part(), PartFile::Kept(_)) {
            cx.out.act(Action::DropPart { download: id, spec: download.spec.clone() });
        }
        // The others are forgotten already.
        if matches!(download.life(), Life::Failed { .. }) {
            cx.out.act(Action::ForgetDownload { download: id });
        }
        true
    }

    /// Remembers a download as it is now.
    pub(super) fn remember_download(&mut self, cx: &mut Cx, id: TransferId) {
        let revision = self.next_revision();
        let Some(download) = self.downloads.get_mut(id) else { return };
        download.recorded.revision = revision;
        let record: Box<DownloadRecord> = Box::new(download.record(id, cx.event_log.of(id)));
        cx.event_log.on_record_ordered(id, revision);
        cx.out.act(Action::RememberDownload { record, revision });
    }

    /// Answers a call that concerns these downloads as soon as what is known of them is on the disk.
    pub(super) fn answer_when_recorded(
        &mut self,
        cx: &mut Cx,
        client: ClientId,
        call: CallId,
        (what, ids): (Answering, Vec<TransferId>),
    ) {
        let rows = ids.iter().filter_map(|id| Some((*id, self.recorded(*id)?)));
        let unwritten = rows.filter(|(_, recorded)| recorded.durable < recorded.revision);
        let needs: Needs = unwritten.map(|(id, recorded)| (id, recorded.revision)).collect();
        if needs.is_empty() {
            return self.answer(cx, client, call, (what, &ids), needs);
        }
        if self.remembering.answers.len() >= RECORD_ANSWERS_MAX
            && let Some((oldest, _)) = self.remembering.answers.first_key_value()
        {
            self.on_record_overdue(cx, *oldest);
        }
        self.remembering.answers_begun += 1;
        let number = self.remembering.answers_begun;
        let timer = cx.wheel.insert(cx.now + RECORD_WAIT_MAX, NodeTimer::RecordOverdue(number));
        self.remembering.answers.insert(number, WaitingAnswer { what, client, call, ids, needs, timer });
    }

    fn answer(
        &mut self,
        cx: &mut Cx,
        client: ClientId,
        call: CallId,
        (what, ids): (Answering, &[TransferId]),
        needs: Needs,
    ) {
        let outcome = match what {
            Answering::Rows => Ok(Reply::Downloads(self.downloads_reply(cx, ids))),
            Answering::Forgotten => self.remove_forgotten(ids).map(Reply::Forgotten).map_err(Into::into),
        };
        cx.out.reply(Action::Reply { client, call, outcome }, needs);
    }

    /// What was to be remembered of a download is on the disk, or is not.
    pub(in crate::node) fn on_recorded(
        &mut self,
        cx: &mut Cx,
        id: TransferId,
        revision: u64,
        outcome: DiskOutcome<()>,
    ) {
        if outcome.is_ok() {
            cx.on_events_recorded(id, revision);
        }
        let Some((recorded, is_over)) = self.recorded_mut(id) else { return };
        match outcome {
            Ok(()) => {
                recorded.accepted = true;
                recorded.durable = recorded.durable.max(revision);
                if recorded.durable >= recorded.revision {
                    recorded.problem = None;
                }
                // One that is over is driven by what its files do; that it is forgotten is reported here, too.
                if !is_over && self.directories.contains(id) {
                    self.directories.mark_dirty(id);
                }
                // The answers tell what has its turn now.
                self.start_downloads(cx);
                self.settle_answers(cx, id, revision);
                self.release_cancelled(cx, id);
            }
            Err(fault) if recorded.accepted || is_over => {
                recorded.problem = Some(Problem::ChangeNotRemembered { fault });
                self.settle_answers(cx, id, revision);
            }
            Err(fault) => self.refuse_unrecorded(cx, id, fault),
        }
    }

    /// What is up to this revision is on the disk, or told not to be: gives the answers that wait for nothing else.
    fn settle_answers(&mut self, cx: &mut Cx, id: TransferId, revision: u64) {
        let mut ready = Vec::new();
        for (number, answer) in &mut self.remembering.answers {
            if answer.needs.get(&id).is_some_and(|need| *need <= revision) {
                answer.needs.remove(&id);
                ready.extend(answer.needs.is_empty().then_some(*number));
            }
        }
        for number in ready {
            let Some(answer) = self.take_answer(cx, number) else { continue };
            self.answer(cx, answer.client, answer.call, (answer.what, &answer.ids), answer.needs);
        }
    }

    fn take_answer(&mut self, cx: &mut Cx, number: u64) -> Option<WaitingAnswer> {
        let answer = self.remembering.answers.remove(&number)?;
        cx.wheel.cancel(answer.timer);
        Some(answer)
    }

    /// A new download cannot be remembered: whoever waits for it is told that it is not accepted, and so are the other
    /// new ones of the same calls.
    pub(super) fn refuse_unrecorded(&mut self, cx: &mut Cx, id: TransferId, fault: DiskFault) {
        let (mut refused, mut calls) = (BTreeSet::from([id]), Vec::new());
        while let Some(number) = self.needing_any(&refused) {
            let Some(answer) = self.take_answer(cx, number) else { break };
            let is_new = |id: &TransferId| self.recorded(*id).is_some_and(|recorded| !recorded.accepted);
            refused.extend(answer.needs.keys().copied().filter(is_new));
            calls.push((answer.client, answer.call));
        }
        let mut withdrawn = Vec::new();
        for id in refused {
            if !calls.is_empty() {
                withdrawn.push((id, self.row(cx, id)));
            }
            if self.directories.contains(id) {
                match calls.is_empty() {
                    true => self.fail_directory(cx, id, Problem::NotRemembered { fault }),
                    false => self.withdraw_directory(cx, id),
                }
            } else if calls.is_empty() {
                // Its call was answered before this was known.
                self.fail_download(cx, id, Problem::NotRemembered { fault });
            } else {
                let timer = self.downloads.get(id).and_then(|row| row.life().timer());
                cx.cancel_timer(timer);
                self.downloads.withdraw(id);
                cx.out.then(Step::DownloadOver { id });
                cx.withdraw_events(id);
                cx.out.act(Action::ForgetDownload { download: id });
            }
        }
        for (client, call) in calls {
            self.reply(cx, client, call, Outcome::Reply(Err(Problem::NotRemembered { fault })));
        }
        for (id, row) in withdrawn {
            // Of a member those hear who follow its directory.
            if let Some(row) = row.filter(|row| row.part_of.is_none()) {
                tell_withdrawn(cx, id, row, fault);
            }
            cx.subscriptions.close(Topic::Download(id));
        }
    }

    fn needing_any(&self, ids: &BTreeSet<TransferId>) -> Option<u64> {
        let needs = |answer: &WaitingAnswer| answer.needs.keys().any(|id| ids.contains(id));
        self.remembering.answers.iter().find(|(_, answer)| needs(answer)).map(|(number, _)| *number)
    }

    /// The disk has had its time: the answer says what is not known to be on it.
    pub(in crate::node) fn on_record_overdue(&mut self, cx: &mut Cx, number: u64) {
        let Some(answer) = self.take_answer(cx, number) else { return };
        for id in answer.needs.keys() {
            if let Some((recorded, _)) = self.recorded_mut(*id) {
                recorded.problem.get_or_insert(Problem::RecordOverdue);
            }
        }
        self.answer(cx, answer.client, answer.call, (answer.what, &answer.ids), answer.needs);
    }

    /// Whether a download may begin: it is remembered, and has a source.
    pub(super) fn may_begin(&self, id: TransferId) -> bool {
        let may =
            |row: &Download| matches!(row.life(), Life::Queued { .. }) && row.recorded.accepted && !row.is_unsourced();
        self.downloads.get(id).is_some_and(may)
    }
}

impl Download {
    /// As the next run needs it.
    pub(super) fn record(&mut self, id: TransferId, events: Vec<Rc<EventRow>>) -> DownloadRecord {
        let (state, error) = self.state_to_record();
        self.recorded.state = Some((state, error.clone()));
        let mut bytes_left = RECORD_NAMES_BYTES_MAX;
        let sources = self.sources.iter().map(|source| source.record(&mut bytes_left)).collect();
        DownloadRecord {
            id,
            spec: self.spec.clone(),
            name: self.name.clone(),
            size: self.progress().1.or(self.size()),
            b3: self.want.b3(),
            learnt_from: match self.want {
                Want::NamedContent { from, .. } => Some(from),
                Want::Name | Want::Content(_) => None,
            },
            state,
            error,
            bytes_done: self.progress().0,
            place: self.place,
            sources,
            events,
            kind: self.record_kind(),
        }
    }

    fn state_to_record(&self) -> (RecordState, Option<CallError>) {
        let state = match self.life() {
            Life::Done { verified, .. } if self.directory.is_some() => RecordState::Done { verified: *verified },
            Life::Done { .. } | Life::Cancelled { .. } => RecordState::Dropped,
            Life::Failed { .. } => RecordState::Failed { keeps_part: self.part().is_worth_keeping() },
            Life::Paused => RecordState::Paused,
            _ => RecordState::Waiting,
        };
        // Why its sources are out of reach changes with every attempt, and the next run finds out by itself.
        let rests = matches!(self.life(), Life::Failed { .. } | Life::Blocked { .. });
        (state, self.life().problem().filter(|_| rests).cloned().map(Into::into))
    }

    /// Whether the next run would not find it where it stands.
    pub(super) fn has_news(&self) -> bool {
        self.recorded.state.as_ref() != Some(&self.state_to_record())
    }
}

/// Those who follow a download that is not accepted after all are told that it has failed, and wait for nothing more.
fn tell_withdrawn(cx: &mut Cx, id: TransferId, row: DownloadRow, fault: DiskFault) {
    let error = Some(Box::new(Problem::NotRemembered { fault }.into()));
    let (state, rate, eta_s, retry_in_s, place) = (DownloadState::Failed, None, None, None, None);
    let download = DownloadRow { state, rate, eta_s, retry_in_s, place, error, ..row };
    cx.notify(Topic::Download(id), || Notice::Download { download });
}
