//! How a download gets its bytes: one source after the other, in the form that the source understands, until one has
//! sent the whole file (PROTOCOL, "How a response ends", "Old peers answer `4` by calling back").

use super::contract::{Action, DialOutcome, Dialled, FetchForm, Response};
use super::dials::{Dial, Purpose};
use super::downloads::{Download, State, Verdict};
use super::limits::{DOWNLOAD_RETRY_MAX, DOWNLOAD_RETRY_MIN, PROGRESS_INTERVAL};
use super::peers::Speech;
use super::workers::Command;
use super::{Node, Phase};
use crate::control::{CallError, ExitCode};
use crate::fault::{DialFault, DiskFault};
use crate::id::{ExchangeId, TransferId};
use crate::name::FileName;
use crate::time::Instant;

/// What an ended fetch means for its download.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdicts {
    /// All bytes are there.
    Whole,
    /// Perhaps an old peer that calls back: ask it again in that form.
    AskToCallBack,
    /// Nothing from this source.
    Source(Verdict),
    /// Our own disk failed.
    Disk(DiskFault),
}

impl Node {
    pub(super) fn on_part_opened(
        &mut self,
        now: Instant,
        id: TransferId,
        outcome: Result<super::contract::OpenedPart, DiskFault>,
    ) {
        let Some(download) = self.downloads.get_mut(id).filter(|row| row.state() == State::Opening) else { return };
        match outcome {
            Ok(
                super::contract::OpenedPart::AlreadyThere { path } | super::contract::OpenedPart::Ready { path, .. },
            ) => {
                download.path = Some(path);
                self.fetch_from_next(now, id);
            }
            Err(fault) => self.on_disk_fault(now, id, fault),
        }
    }

    /// Asks the next source that was not asked in this round.
    fn fetch_from_next(&mut self, now: Instant, id: TransferId) {
        if !matches!(self.phase, Phase::Running) {
            return;
        }
        let Some(download) = self.downloads.get(id) else { return };
        match download.sources.iter().position(|source| source.verdict == Verdict::Untried) {
            Some(source) => self.fetch(now, id, source, FetchForm::Direct),
            None => self.end_round(now, id),
        }
    }

    /// Code 4.
    fn fetch(&mut self, now: Instant, id: TransferId, source: usize, form: FetchForm) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let Some((to, name)) = download.sources.get(source).map(|source| (source.addr, FileName::clone(&source.name)))
        else {
            return;
        };
        download.bytes = 0;
        download.rate.start(now);
        let command = Command::Fetch { download: id, to, name, form, size_max: download.size };
        let exchange = self.dial_fetch(now, id, to, command);
        self.set_download_state(now, id, State::Fetching { exchange, source, form });
    }

    /// Every source was asked: the end, if all said no; otherwise a pause and another round.
    fn end_round(&mut self, now: Instant, id: TransferId) {
        self.actions.push_back(Action::ClosePart { download: id });
        let Some(download) = self.downloads.get_mut(id) else { return };
        let mut lost = None;
        for source in &mut download.sources {
            if let Verdict::Lost(why) = std::mem::replace(&mut source.verdict, Verdict::Refused) {
                source.verdict = Verdict::Untried;
                lost = Some(format!("{}: {why}", source.addr));
            }
        }
        let Some(lost) = lost else {
            let message = "refused by every source; `pyratectl search` may find others";
            return self.fail_download(now, id, CallError::new(ExitCode::NotFound, message));
        };
        self.pause_download(now, id, format!("no source is in reach ({lost})"));
    }

    /// Waits for better times, with the part file gone.
    fn pause_download(&mut self, now: Instant, id: TransferId, why: String) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        download.rounds_failed = download.rounds_failed.saturating_add(1);
        download.bytes = 0;
        download.error = Some(CallError::new(ExitCode::NoSource, format!("{why}; it is tried again until cancelled")));
        let wait = self.dice.back_off(download.rounds_failed, DOWNLOAD_RETRY_MIN, DOWNLOAD_RETRY_MAX);
        self.set_retrying(now, id, now + wait);
        self.start_downloads(now);
    }

    fn fail_download(&mut self, now: Instant, id: TransferId, error: CallError) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        download.error = Some(error);
        self.set_download_state(now, id, State::Failed);
        self.start_downloads(now);
    }

    fn on_disk_fault(&mut self, now: Instant, id: TransferId, fault: DiskFault) {
        self.actions.push_back(Action::ClosePart { download: id });
        if fault == DiskFault::NoDescriptor {
            return self.pause_download(now, id, fault.to_string());
        }
        let hint = match fault {
            DiskFault::Full => "make room and begin it again",
            DiskFault::Exists => "choose another path with `-o`",
            _ => "choose another place with `-o`, or see `download_directory`",
        };
        self.fail_download(now, id, CallError::new(fault.into(), format!("{fault}; {hint}")));
    }

    /// Bytes came: counted, and told at most a few times a second.
    pub(super) fn on_fetch_progress(&mut self, now: Instant, exchange: ExchangeId, bytes: u64) {
        let Some(Dial { purpose: Purpose::Fetch(id), .. }) = self.dials.get(&exchange) else {
            return;
        };
        let id = *id;
        if !self.note_bytes(now, id, exchange, bytes) {
            return;
        }
        let due = |row: &Download| row.told.is_none_or(|at| now.saturating_since(at) >= PROGRESS_INTERVAL);
        if self.downloads.get(id).is_some_and(due) {
            self.tell_download(now, id);
        }
    }

    /// Counts bytes of the running fetch; says whether this exchange is it.
    fn note_bytes(&mut self, now: Instant, id: TransferId, exchange: ExchangeId, bytes: u64) -> bool {
        let Some(download) = self.downloads.get_mut(id) else { return false };
        let running = matches!(download.state(), State::Fetching { exchange: ours, .. } if ours == exchange);
        if running {
            self.counters.bytes_down += bytes.saturating_sub(download.bytes);
            download.bytes = bytes;
            download.rate.note(now, bytes);
        }
        running
    }

    pub(super) fn on_fetch_ended(&mut self, now: Instant, id: TransferId, exchange: ExchangeId, outcome: DialOutcome) {
        if let Ok(Dialled { response: Response::File { bytes }, .. }) = &outcome {
            self.note_bytes(now, id, exchange, *bytes);
        }
        let Some(download) = self.downloads.get(id) else { return };
        let State::Fetching { exchange: ours, source, form } = download.state() else { return };
        if ours != exchange {
            return;
        }
        let Some(speech) = download.sources.get(source).map(|source| self.peers.speech(source.addr)) else { return };
        let verdict = match outcome {
            Ok(_) => judge_end(download, form, speech),
            Err(fault) => judge_fault(download, fault, form, speech),
        };
        match verdict {
            Verdicts::Whole => {
                self.set_download_state(now, id, State::Verifying);
                self.actions.push_back(Action::CommitPart { download: id });
            }
            Verdicts::AskToCallBack => self.fetch(now, id, source, FetchForm::CallBack),
            Verdicts::Source(verdict) => {
                if let Some(source) = self.downloads.get_mut(id).and_then(|row| row.sources.get_mut(source)) {
                    source.verdict = verdict;
                }
                self.fetch_from_next(now, id);
            }
            Verdicts::Disk(fault) => self.on_disk_fault(now, id, fault),
        }
    }

    pub(super) fn on_part_committed(
        &mut self,
        now: Instant,
        id: TransferId,
        outcome: Result<super::contract::CommittedPart, DiskFault>,
    ) {
        let Some(download) = self.downloads.get_mut(id).filter(|row| row.state() == State::Verifying) else { return };
        match outcome {
            Ok(super::contract::CommittedPart { path, .. }) => {
                download.path = Some(path);
                download.size = Some(download.bytes);
                self.set_download_state(now, id, State::Done);
                self.start_downloads(now);
            }
            Err(fault) => self.on_disk_fault(now, id, fault),
        }
    }

    /// Ends what is active because the node leaves: nothing stays under any name.
    pub(super) fn stop_downloads(&mut self, now: Instant) {
        for id in self.downloads.active_ids() {
            let Some(state) = self.downloads.get(id).map(Download::state) else { continue };
            // What is being synced is whole, and ends well by itself.
            if state != State::Verifying {
                self.drop_part_of(id, state);
                self.set_download_state(now, id, State::Queued);
            }
        }
    }

    /// Breaks off what a download is doing, and removes its part file.
    pub(super) fn drop_part_of(&mut self, id: TransferId, state: State) {
        match state {
            State::Fetching { exchange, .. } => self.abort_dial(exchange),
            State::Opening => {}
            _ => return,
        }
        self.actions.push_back(Action::ClosePart { download: id });
    }
}

/// A fetch ended in order. Unless the peer speaks `p1`, an end without a byte may mean that it is about to call back.
fn judge_end(download: &Download, form: FetchForm, speech: Speech) -> Verdicts {
    let nothing = download.bytes == 0 && download.size != Some(0);
    if nothing && form == FetchForm::Direct && speech != Speech::P1 {
        return Verdicts::AskToCallBack;
    }
    judge_size(download)
}

/// Whether what came is the whole file, as far as its size is known.
fn judge_size(download: &Download) -> Verdicts {
    let bytes = download.bytes;
    match download.size {
        Some(size) if size != bytes => Verdicts::Source(Verdict::Lost(format!("it sent {bytes} bytes of {size}"))),
        _ => Verdicts::Whole,
    }
}

/// A fetch broke off. A reset without a byte is how a peer says no.
fn judge_fault(download: &Download, fault: DialFault, form: FetchForm, speech: Speech) -> Verdicts {
    let lost = || Verdicts::Source(Verdict::Lost(fault.to_string()));
    match (fault, form) {
        (DialFault::Disk(fault), _) => Verdicts::Disk(fault),
        _ if download.bytes > 0 => lost(),
        (DialFault::NoDescriptor | DialFault::Aborted, _) => lost(),
        (DialFault::Reset, _) => Verdicts::Source(Verdict::Refused),
        // A peer of the base protocol was there a moment ago, and does not call back: it has nothing to send.
        (_, FetchForm::CallBack) if speech == Speech::Base => Verdicts::Source(Verdict::Refused),
        // Of any other, the orderly end of the direct form was the answer: an empty file.
        (DialFault::TimedOut, FetchForm::CallBack) => judge_size(download),
        _ => lost(),
    }
}
