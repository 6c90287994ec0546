//! Records of wishes: what an earlier run left, which are on the disk, and the answers that wait for that.

use super::state::Wish;
use super::{Others, WishMachine};
use crate::control::{CallId, Problem, RawText, Reply, UnwishedReply};
use crate::fault::DiskFault;
use crate::id::{ClientId, TransferId};
use crate::node::contract::{Action, DiskOutcome, FoundFile, FoundState, WishRecord};
use crate::node::cx::{Cx, NodeTimer};
use crate::node::limits::{
    ORDER_DOWNLOADS_PER_SLICE, RECORD_ANSWERS_MAX, RECORD_WAIT_MAX, WISH_ASK_SPACING, WISH_LOOK_AGAIN, WISHES_MAX,
};
use crate::node::network::Net;
use crate::timer::TimerId;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(super) struct Remembering {
    revisions: u64,
    answers_begun: u64,
    answers: BTreeMap<u64, WaitingAnswer>,
    /// Wishes that are to be saved when the timer comes.
    pub(super) unsaved: BTreeSet<TransferId>,
    /// Downloads that were begun for wishes, and have no record yet; with the contents for which they were.
    begun: BTreeMap<TransferId, BTreeSet<Place>>,
    /// All these contents.
    awaited: BTreeSet<Place>,
}

/// A wish, and which of the contents that it has found.
type Place = (TransferId, usize);

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
    /// A download was begun for this content, and its record is not on the disk yet.
    fn await_record(&mut self, download: TransferId, place: Place) {
        self.begun.entry(download).or_default().insert(place);
        self.awaited.insert(place);
    }

    fn take_awaiting(&mut self, download: TransferId) -> BTreeSet<Place> {
        let places = self.begun.remove(&download).unwrap_or_default();
        for place in &places {
            self.awaited.remove(place);
        }
        places
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.answers.len() <= RECORD_ANSWERS_MAX, "the answers that wait are bounded");
        let awaited = self.begun.values().map(BTreeSet::len).sum::<usize>();
        assert_eq!(awaited, self.awaited.len(), "each content awaits one download");
    }
}

impl WishMachine {
    /// Takes up what an earlier run left.
    pub(in crate::node) fn recall(&mut self, others: &mut Others, records: Vec<WishRecord>) {
        for record in records.into_iter().take(WISHES_MAX) {
            let id = record.id;
            others.download.downloads.note_given(id.0);
            others.cx.recall_events(id, record.events.clone());
            match Wish::recalled(record) {
                Some(wish) => drop(self.wishes.insert(id, wish)),
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

    /// Begins the downloads of contents whose record is on the disk, some at a time. If one cannot begin, none can: they are
    /// tried again.
    pub(super) fn begin_wanted(&mut self, others: &mut Others) {
        let wants = |wish: &Wish| wish.download && wish.is_accepted && wish.is_durable() && !wish.is_ending;
        let (mut left, mut refusal) = (ORDER_DOWNLOADS_PER_SLICE, None);
        let mut changed = Vec::new();
        for (&id, wish) in self.wishes.iter_mut().filter(|(_, wish)| wants(wish)) {
            let is_wanted = |(_, file): &(usize, &mut FoundFile)| file.state == FoundState::Wanted;
            for (at, file) in wish.found.iter_mut().enumerate().filter(is_wanted) {
                if self.remembering.awaited.contains(&(id, at)) {
                    continue;
                }
                if refusal.is_none() && left > 0 {
                    left -= 1;
                    let mut net = Net { cx: others.cx, network: others.network };
                    match others.download.begin_wished(&mut net, others.search, file) {
                        Ok(download) if others.download.is_remembered(download) == Some(true) => {
                            file.state = FoundState::Begun(download);
                            changed.push(id);
                        }
                        Ok(download) => self.remembering.await_record(download, (id, at)),
                        Err(problem) => refusal = Some(problem),
                    }
                }
                if refusal.is_some() {
                    wish.problem.clone_from(&refusal);
                    break;
                }
                if left == 0 {
                    break;
                }
            }
        }
        others.download.start_downloads(others.cx);
        changed.into_iter().for_each(|id| self.save_soon(others.cx, id));
        if refusal.is_some() {
            self.plan_at(others.cx, others.cx.now + WISH_LOOK_AGAIN);
        } else if left == 0 {
            self.plan_at(others.cx, others.cx.now + WISH_ASK_SPACING);
        }
    }

    /// The record of a download is on the disk, or could not be written.
    pub(in crate::node) fn on_download_recorded(&mut self, others: &mut Others, download: TransferId) {
        let is_remembered = others.download.is_remembered(download);
        if is_remembered == Some(false) {
            return;
        }
        for (id, at) in self.remembering.take_awaiting(download) {
            let wish = self.wishes.get_mut(&id).filter(|wish| !wish.is_ending);
            let Some(file) = wish.and_then(|wish| wish.found.get_mut(at)) else { continue };
            match is_remembered {
                Some(_) => {
                    file.state = FoundState::Begun(download);
                    self.save_soon(others.cx, id);
                }
                // It was refused, and is begun again.
                None => self.plan_at(others.cx, others.cx.now + WISH_LOOK_AGAIN),
            }
        }
    }
}
