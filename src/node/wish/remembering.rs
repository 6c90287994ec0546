//! Records of wishes: what an earlier run left, which are on the disk, and the answers that wait for that.

use super::state::Wish;
use super::{Others, WishMachine};
use crate::control::{CallId, Problem, RawText, Reply, UnwishedReply};
use crate::fault::DiskFault;
use crate::id::{ClientId, TransferId};
use crate::node::contract::{Action, DiskOutcome, WishRecord};
use crate::node::cx::{Cx, NodeTimer};
use crate::node::limits::{RECORD_ANSWERS_MAX, RECORD_WAIT_MAX, WISHES_MAX};
use crate::timer::TimerId;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(super) struct Remembering {
    revisions: u64,
    answers_begun: u64,
    answers: BTreeMap<u64, WaitingAnswer>,
    /// Wishes that are to be saved when the timer comes.
    pub(super) unsaved: BTreeSet<TransferId>,
}

/// What a call is answered with, when these wishes are on the disk as they are, or gone from it.
pub(super) enum Answering {
    Row(TransferId),
    Unwished(Vec<TransferId>),
}

struct WaitingAnswer {
    what: Answering,
    client: ClientId,
    call: CallId,
    left: BTreeSet<TransferId>,
    timer: TimerId,
}

impl Remembering {
    pub(super) fn check_invariants(&self) {
        assert!(self.answers.len() <= RECORD_ANSWERS_MAX, "the answers that wait are bounded");
    }
}

impl WishMachine {
    /// Takes up what an earlier run left.
    pub(in crate::node) fn recall(&mut self, others: &mut Others, records: Vec<WishRecord>) {
        let recorded = records.len();
        if recorded > WISHES_MAX {
            log::warn!(
                recorded, max = WISHES_MAX, left_out = recorded - WISHES_MAX;
                "more wishes are recorded than may be; the newest are left out until some are ended with \
                 `pyratectl unwish` and the daemon is started again"
            );
        }
        for record in records.into_iter().take(WISHES_MAX) {
            let id = record.id;
            others.download.downloads.note_given(id.0);
            others.cx.recall_events(id, record.events.clone());
            match Wish::recalled(record) {
                Some(wish) => {
                    self.wishes.insert(id, wish);
                    self.recall_downloads(others, id);
                }
                None => log::warn!(id = id.0; "a wish cannot be searched for by this version; it is left out"),
            }
        }
        if !self.wishes.is_empty() {
            self.plan_asking(others.cx);
        }
    }

    /// Orders the record of a wish as it is now, or that none is left of one that has ended.
    pub(super) fn save(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(wish) = self.wishes.get_mut(&id) else { return };
        self.remembering.revisions += 1;
        let revision = self.remembering.revisions;
        wish.revision = revision;
        let record = || WishRecord {
            id,
            text: wish.text.clone(),
            since: wish.since,
            download: wish.download,
            limit: wish.limit,
            found: wish.found.clone(),
            events: cx.event_log.of(id),
        };
        let record = (!wish.is_ending).then(record).map(Box::new);
        cx.event_log.on_record_ordered(id, revision);
        cx.out.act(Action::RememberWish { wish: id, record, revision });
    }

    /// Saves what wishes have found since.
    pub(in crate::node) fn on_save_timer(&mut self, cx: &mut Cx) {
        for id in std::mem::take(&mut self.remembering.unsaved) {
            self.save(cx, id);
        }
    }

    /// The record of a wish is on the disk or gone from it, or could not be written.
    pub(in crate::node) fn on_recorded(
        &mut self,
        others: &mut Others,
        id: TransferId,
        revision: u64,
        outcome: DiskOutcome<()>,
    ) {
        if outcome.is_ok() {
            others.cx.on_events_recorded(id, revision);
        }
        let Some(wish) = self.wishes.get_mut(&id) else { return };
        match outcome {
            Ok(()) => {
                wish.durable = wish.durable.max(revision);
                if !wish.is_durable() {
                    return;
                }
                let is_new = !std::mem::replace(&mut wish.is_accepted, true);
                wish.problem = None;
                if wish.is_ending {
                    self.wishes.remove(&id);
                    self.downloading.forget(id);
                }
                self.settle(others.cx, id);
                self.begin_wanted(others);
                if is_new {
                    self.plan_asking(others.cx);
                }
            }
            Err(fault) if wish.is_accepted => {
                wish.problem = Some(Problem::ChangeNotRemembered { fault });
                self.settle(others.cx, id);
            }
            Err(fault) => self.withdraw(others.cx, id, fault),
        }
    }

    /// A new wish cannot be remembered: it is refused.
    fn withdraw(&mut self, cx: &mut Cx, id: TransferId, fault: DiskFault) {
        if let Some(wish) = self.wishes.get_mut(&id) {
            wish.is_ending = true;
        }
        self.save(cx, id);
        self.wishes.remove(&id);
        self.downloading.forget(id);
        for number in self.waiting_for(id) {
            let Some(answer) = self.take_answer(cx, number) else { continue };
            let (client, call) = (answer.client, answer.call);
            let outcome = Err(Problem::NotRemembered { fault }.into());
            cx.out.act(Action::Reply { client, call, outcome });
        }
    }

    /// Answers a call when these wishes are on the disk as they are now, or gone from it.
    pub(super) fn answer_when_recorded(
        &mut self,
        cx: &mut Cx,
        (client, call): (ClientId, &CallId),
        what: Answering,
        left: BTreeSet<TransferId>,
    ) {
        if self.remembering.answers.len() >= RECORD_ANSWERS_MAX
            && let Some((oldest, _)) = self.remembering.answers.first_key_value()
        {
            self.on_overdue(cx, *oldest);
        }
        self.remembering.answers_begun += 1;
        let number = self.remembering.answers_begun;
        let timer = cx.wheel.insert(cx.now + RECORD_WAIT_MAX, NodeTimer::WishOverdue(number));
        let is_ready = left.is_empty();
        let answer = WaitingAnswer { what, client, call: call.clone(), left, timer };
        self.remembering.answers.insert(number, answer);
        if is_ready {
            self.answer(cx, number);
        }
    }

    fn waiting_for(&self, id: TransferId) -> Vec<u64> {
        let waits = |answer: &WaitingAnswer| answer.left.contains(&id);
        self.remembering.answers.iter().filter(|(_, answer)| waits(answer)).map(|(number, _)| *number).collect()
    }

    fn take_answer(&mut self, cx: &mut Cx, number: u64) -> Option<WaitingAnswer> {
        let answer = self.remembering.answers.remove(&number)?;
        cx.wheel.cancel(answer.timer);
        Some(answer)
    }

    /// Gives the answers that waited for nothing but this wish.
    fn settle(&mut self, cx: &mut Cx, id: TransferId) {
        for number in self.waiting_for(id) {
            let Some(answer) = self.remembering.answers.get_mut(&number) else { continue };
            answer.left.remove(&id);
            if answer.left.is_empty() {
                self.answer(cx, number);
            }
        }
    }

    /// The disk has had its time: the answer says what is not known to be on it.
    pub(in crate::node) fn on_overdue(&mut self, cx: &mut Cx, number: u64) {
        let left = self.remembering.answers.get(&number).map(|answer| answer.left.clone()).unwrap_or_default();
        for id in left {
            if let Some(wish) = self.wishes.get_mut(&id) {
                wish.problem.get_or_insert(Problem::RecordOverdue);
            }
        }
        self.answer(cx, number);
    }

    fn answer(&mut self, cx: &mut Cx, number: u64) {
        let Some(answer) = self.take_answer(cx, number) else { return };
        let outcome = match answer.what {
            Answering::Row(id) => {
                // Another client may have ended it meanwhile.
                let no_such = || Problem::NoSuchWish { which: RawText::new(id.0.to_string()) };
                self.row(cx, id).map(Reply::Wish).ok_or_else(no_such)
            }
            Answering::Unwished(ids) => {
                let problem = ids.iter().find_map(|id| self.wishes.get(id)?.problem.clone());
                let unwished = ids.into_iter().map(|id| id.0).collect();
                problem.map_or(Ok(Reply::Unwished(UnwishedReply { unwished })), Err)
            }
        };
        let outcome = outcome.map_err(Into::into);
        cx.out.act(Action::Reply { client: answer.client, call: answer.call, outcome });
    }
}
