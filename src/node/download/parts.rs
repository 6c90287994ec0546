//! The part files of downloads: opening and closing them, checking and committing what they hold, and what it means when
//! the disk fails.
//!
//! A disk that fails stops one download and no other: it is paused, with its cause, and goes on by itself when its part
//! file can be opened again.

use super::DownloadMachine;
use super::known::Content;
use super::places::place_error;
use super::state::{Aim, Download, Part, Pause, State};
use crate::control::{CallError, ExitCode};
use crate::fault::DiskFault;
use crate::id::TransferId;
use crate::name::Escaped;
use crate::node::contract::{Action, CheckedPart, CommittedPart, OpenedPart, Target};
use crate::node::cx::{Cx, NodeTimer};
use crate::node::limits::{CHECKS_FAILED_MAX, PROBE_MAX, PROBE_MIN, SOURCE_REST_MAX, SOURCE_REST_MIN};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What a check means for its download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// This is it, as far as can be known.
    Good { verified: bool },
    /// The disk has other groups than were written: they are fetched again, and nobody is blamed.
    Damaged,
    /// The outline is no outline of the content: who gave it lied.
    FalseOutline,
    /// The stream was of another content.
    Other,
}

impl DownloadMachine {
    /// Orders the part file, unless an earlier order is still under way: then its answer brings another.
    pub(super) fn open_part(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        if !matches!(download.part, Part::Unmade | Part::Closed) {
            return;
        }
        download.part = Part::Opening;
        let (spec, b3, size) = (download.spec.clone(), download.aim.b3(), download.size);
        cx.out.act(Action::OpenPart { download: id, spec, b3, size });
    }

    /// Closes or removes the part file of a download that has no use for it as it stands. Says whether the download is
    /// remembered no more.
    pub(super) fn settle_part(&mut self, cx: &mut Cx, id: TransferId) -> bool {
        let Some(download) = self.downloads.get_mut(id) else { return true };
        let keeps = match download.state() {
            State::Done | State::Cancelled => false,
            State::Failed => download.is_worth_keeping(),
            State::Opening | State::Fetching | State::Verifying => return false,
            State::Queued | State::Retrying { .. } | State::Paused(_) => true,
        };
        let failed = download.state() == State::Failed;
        if !keeps && download.state() != State::Done {
            // Before anything of it goes: whatever happens now, it does not come back, and nothing of it stays.
            self.remember_download(cx, id);
        }
        let Some(download) = self.downloads.get_mut(id) else { return true };
        match download.part {
            Part::Open if keeps => {
                download.part = Part::Closed;
                cx.out.act(Action::ClosePart { download: id });
            }
            Part::Open | Part::Closed if !keeps => {
                download.part = Part::Unmade;
                let spec = download.spec.clone();
                cx.out.act(Action::DropPart { download: id, spec });
            }
            // What is under way ends first.
            Part::Opening | Part::Checking | Part::Committing => return !keeps,
            _ => {}
        }
        // That it has failed, and why, is remembered until the user has it removed.
        if !keeps && !failed {
            cx.out.act(Action::ForgetDownload { download: id });
        }
        !keeps
    }

    pub(in crate::node) fn on_part_opened(
        &mut self,
        cx: &mut Cx,
        id: TransferId,
        outcome: Result<OpenedPart, DiskFault>,
    ) {
        let Some(download) = self.downloads.get_mut(id).filter(|row| row.part == Part::Opening) else { return };
        download.part = match &outcome {
            Ok(OpenedPart::Ready { .. }) => Part::Open,
            Ok(OpenedPart::AlreadyThere { .. }) => Part::Unmade,
            Err(_) => Part::Closed,
        };
        if let Ok(OpenedPart::Ready { resumed, .. }) = &outcome {
            // What an earlier run knew is replaced by what is there.
            let content = resumed.clone().map(|(size, verified)| Content::resumed(size, verified));
            download.recalled_bytes = content.map_or(0, |content| content.bytes_verified());
        }
        let probed = matches!(download.state(), State::Paused(Pause::Disk { .. }));
        match (download.state(), outcome) {
            (State::Opening, Ok(part)) => self.take_part(cx, id, part),
            // Nobody has proved the size for which there is no room, and others claim less.
            (_, Err(DiskFault::Full)) if download.doubts_size() => {
                download.size = None;
                self.open_part(cx, id);
            }
            (State::Opening, Err(fault)) => self.on_disk_fault(cx, id, fault),
            (State::Paused(Pause::Disk { .. }), Err(fault)) => self.on_disk_fault(cx, id, fault),
            (State::Paused(Pause::Disk { .. }), Ok(part)) if self.downloads.has_place(cx.config.max_downloads) => {
                self.set_download_state(cx, id, State::Opening);
                self.take_part(cx, id, part);
            }
            // Its turn is over, or has not come.
            _ if probed => self.requeue_download(cx, id),
            _ => drop(self.settle_part(cx, id)),
        }
    }

    /// Begins, or goes on, with what is there.
    fn take_part(&mut self, cx: &mut Cx, id: TransferId, part: OpenedPart) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        match part {
            OpenedPart::AlreadyThere { path } => {
                (download.verified, download.already) = (true, true);
                self.finish_download(cx, id, path);
            }
            OpenedPart::Ready { path, resumed, filesystem } => {
                download.path = Some(path);
                let moved = filesystem.is_some() && download.spec.filesystem != filesystem;
                if moved {
                    download.spec.filesystem = filesystem;
                }
                download.recalled = false;
                let resumed = resumed.filter(|_| download.aim != Aim::Name);
                if let Some((size, _)) = resumed {
                    download.size = Some(size);
                }
                download.content = resumed.map(|(size, verified)| Content::resumed(size, verified));
                download.rate.start(cx.now, download.received);
                if let Some(content) = &download.content {
                    log::info!("download {}: {} bytes are there already", id.0, content.bytes_verified());
                }
                self.set_download_state(cx, id, State::Fetching);
                self.downloads.touch(id);
                if moved {
                    self.remember_download(cx, id);
                }
            }
        }
    }

    fn finish_download(&mut self, cx: &mut Cx, id: TransferId, path: PathBuf) {
        if let Some(download) = self.downloads.get_mut(id) {
            download.path = Some(path);
            download.part = Part::Unmade;
            download.error = None;
        }
        self.set_download_state(cx, id, State::Done);
        self.start_downloads(cx);
    }

    /// The outline of the part file was a lie from the beginning: another file is begun.
    pub(super) fn begin_part_anew(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        download.content = None;
        download.streamed = 0;
        self.set_download_state(cx, id, State::Opening);
        let Some(download) = self.downloads.get_mut(id) else { return };
        if download.part == Part::Open {
            download.part = Part::Unmade;
            let spec = download.spec.clone();
            cx.out.act(Action::DropPart { download: id, spec });
        }
        self.open_part(cx, id);
    }

    pub(in crate::node) fn on_part_failed(&mut self, cx: &mut Cx, id: TransferId, fault: DiskFault) {
        if let Some(download) = self.downloads.get_mut(id).filter(|row| row.state() == State::Fetching) {
            download.content = None;
            self.on_disk_fault(cx, id, fault);
        }
    }

    /// Everything is there: it is read once more from the disk before it counts.
    pub(super) fn check_part(&mut self, cx: &mut Cx, id: TransferId) {
        self.set_download_state(cx, id, State::Verifying);
        if let Some(download) = self.downloads.get_mut(id) {
            download.part = Part::Checking;
            cx.out.act(Action::CheckPart { download: id });
        }
    }

    pub(in crate::node) fn on_part_checked(
        &mut self,
        cx: &mut Cx,
        id: TransferId,
        outcome: Result<CheckedPart, DiskFault>,
    ) {
        let Some(download) = self.downloads.get_mut(id).filter(|row| row.part == Part::Checking) else { return };
        download.part = Part::Open;
        if download.state() == State::Opening {
            // It was stopped, and has its turn again: the part file is taken up as it is now.
            download.part = Part::Closed;
            cx.out.act(Action::ClosePart { download: id });
            return self.open_part(cx, id);
        }
        if download.state() != State::Verifying {
            self.settle_part(cx, id);
            return;
        }
        match outcome {
            Ok(checked) => self.weigh_check(cx, id, &checked),
            Err(fault) => self.on_disk_fault(cx, id, fault),
        }
    }

    fn weigh_check(&mut self, cx: &mut Cx, id: TransferId, checked: &CheckedPart) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        download.found = Some(checked.b3);
        match judge_check(download, checked) {
            Finding::Good { verified } => {
                download.verified = verified;
                download.size = Some(checked.size);
                download.part = Part::Committing;
                cx.out.act(Action::CommitPart { download: id });
                self.tell_download(cx, id);
            }
            Finding::Damaged => {
                log::warn!("download {}: {} groups on the disk are not what was written", id.0, checked.bad.len());
                download.checks_failed += 1;
                if let Some(content) = &mut download.content {
                    for group in &checked.bad {
                        content.verified.remove(*group);
                    }
                }
                if download.checks_failed > CHECKS_FAILED_MAX {
                    return self.on_disk_fault(cx, id, DiskFault::Other(0));
                }
                self.fetch_again(cx, id);
            }
            Finding::FalseOutline => {
                let giver = download.content.take().and_then(|content| content.giver);
                self.blame(cx, id, giver, "its metadata are not those of the content");
                self.begin_part_anew(cx, id);
            }
            Finding::Other => {
                // Of the content wanted nothing is there.
                download.streamed = 0;
                let streamer = download.streamer;
                let sent = download.sources.iter_mut().filter(|source| Some(source.addr) == streamer);
                sent.for_each(|source| source.bytes = 0);
                self.on_other_stream(cx, id, streamer);
                self.fetch_again(cx, id);
            }
        }
    }

    fn fetch_again(&mut self, cx: &mut Cx, id: TransferId) {
        if let Some(download) = self.downloads.get_mut(id) {
            download.rate.start(cx.now, download.received);
        }
        self.set_download_state(cx, id, State::Fetching);
        self.downloads.touch(id);
    }

    pub(in crate::node) fn on_part_committed(
        &mut self,
        cx: &mut Cx,
        id: TransferId,
        outcome: Result<CommittedPart, DiskFault>,
    ) {
        let Some(download) = self.downloads.get_mut(id).filter(|row| row.part == Part::Committing) else { return };
        download.part = Part::Closed;
        match outcome {
            Ok(CommittedPart { path, already }) => {
                download.already = already;
                self.finish_download(cx, id, path);
            }
            Err(fault) => self.on_disk_fault(cx, id, fault),
        }
    }

    /// The disk does not do what this download needs.
    pub(super) fn on_disk_fault(&mut self, cx: &mut Cx, id: TransferId, fault: DiskFault) {
        match fault {
            DiskFault::Exists => {
                if let Some(download) = self.downloads.get(id) {
                    let error = place_error(download, fault);
                    self.fail_download(cx, id, error);
                }
            }
            DiskFault::NoDescriptor => {
                let Some(download) = self.downloads.get_mut(id) else { return };
                download.disk_failures = download.disk_failures.saturating_add(1);
                let message = format!("{fault}; it is tried again until cancelled");
                download.error = Some(CallError::new(ExitCode::NoSource, message));
                let wait = cx.rng.back_off(download.disk_failures, SOURCE_REST_MIN, SOURCE_REST_MAX);
                self.set_retrying(cx, id, cx.now + wait);
                self.start_downloads(cx);
            }
            _ => self.pause_for_disk(cx, id, fault),
        }
    }

    fn pause_for_disk(&mut self, cx: &mut Cx, id: TransferId, fault: DiskFault) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let until = match fault {
            DiskFault::Full => "when there is room",
            DiskFault::Missing => "when it is there",
            DiskFault::NotMounted => "when it is there; `pyratectl resume` begins anew without it",
            DiskFault::EmptyMountPoint => "when it is there, or a file is put into the directory",
            _ => "when that is repaired",
        };
        let (Target::Suggested { directory: at, .. } | Target::Exact { path: at, .. }) = &download.spec.target;
        let message = format!("{}: {fault}; resumes automatically {until}", Escaped(at.as_os_str().as_bytes()));
        download.error = Some(CallError::new(fault.into(), message));
        let wait = PROBE_MIN.saturating_mul(1 << download.disk_failures.min(8)).min(PROBE_MAX);
        download.disk_failures = download.disk_failures.saturating_add(1);
        let timer = cx.wheel.insert(cx.now + wait, NodeTimer::Probe(id));
        self.set_download_state(cx, id, State::Paused(Pause::Disk { timer, fault }));
        self.start_downloads(cx);
    }

    /// Looks whether the disk lets a download go on. It stays paused until that is known.
    pub(in crate::node) fn probe_disk(&mut self, cx: &mut Cx, id: TransferId) {
        if !self.downloads.get(id).is_some_and(|row| matches!(row.state(), State::Paused(Pause::Disk { .. }))) {
            return;
        }
        // If one is under way already, its answer tells as much.
        self.open_part(cx, id);
    }

    pub(super) fn fail_download(&mut self, cx: &mut Cx, id: TransferId, error: CallError) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        download.error = Some(error);
        self.set_download_state(cx, id, State::Failed);
        self.start_downloads(cx);
    }

    /// Ends what is active because the node leaves: what is there is kept for the next run.
    pub(in crate::node) fn stop_downloads(&mut self, cx: &mut Cx) {
        debug_assert!(!cx.is_running(), "nothing begins again meanwhile");
        for id in self.downloads.active_ids() {
            // What is being checked and synced is whole, and ends well by itself.
            if self.downloads.get(id).is_some_and(|row| row.state() != State::Verifying) {
                self.set_download_state(cx, id, State::Queued);
                // With what it has by now.
                self.remember_download(cx, id);
            }
        }
    }
}

/// Only a hash that was given for this download before its bytes came makes it verified: by the user, by its hit, or by
/// a source in the metadata of the name. That a stream is the content of some other file proves nothing of this one.
fn judge_check(download: &Download, checked: &CheckedPart) -> Finding {
    match (download.aim.b3(), &download.content) {
        (_, Some(_)) if !checked.bad.is_empty() => Finding::Damaged,
        (Some(wanted), _) if wanted == checked.b3 => Finding::Good { verified: true },
        (Some(_), Some(_)) => Finding::FalseOutline,
        (Some(_), None) => Finding::Other,
        (None, _) => Finding::Good { verified: false },
    }
}
