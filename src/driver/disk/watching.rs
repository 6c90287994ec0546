//! The watched directory: jobs look at it and rename what is in it; the links of its files are ordered from the node one file after
//! the other, as a control client would, so that a file is renamed when what it began is on the disk.
//!
//! inotify says at once what has come. Where it says nothing, as on network filesystems, a look every ten seconds finds files that
//! are the same as at the look before.

use super::Disk;
use super::job::{Done, Key, Lane};
use crate::control::{CallError, RawText, Reply, Selector, WatchReply};
use crate::driver::cx::{Cx, Output, Phase};
use crate::name::Escaped;
use crate::store::{DropFault, Dropped, Look, Looked, Seen, Verdict, rename_dropped};
use crate::time::Instant;
use log::{info, warn};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Time between looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Names that are kept of those that inotify says; a look finds the others.
const NAMES_MAX: usize = 4096;

/// The directory, and how far its files are.
pub(super) struct Watch {
    directory: PathBuf,
    /// Absent where the system has none left.
    notices: Option<Arc<Inotify>>,
    complete: BTreeSet<OsString>,
    seen: Seen,
    dealt_with: Seen,
    step: Step,
    pub(super) look_at: Option<Instant>,
    /// Files whose downloads were recorded, and files that were set aside, since the start.
    added: u64,
    failed: u64,
    /// Why the last look failed.
    error: Option<String>,
    /// Why the last order was refused.
    refused: Option<String>,
}

/// What is waited for.
enum Step {
    Idle,
    Looking,
    /// The first file is being dealt with. `then`: whether the next look follows at once.
    Dealing {
        files: VecDeque<Dropped>,
        then: bool,
    },
}

impl Watch {
    pub(super) fn new(directory: PathBuf, registry: &Registry, token: Token, now: Instant) -> Self {
        let flags = InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC;
        let notices = Inotify::init(flags).map_err(io::Error::from).and_then(|notices| {
            registry.register(&mut SourceFd(&notices.as_fd().as_raw_fd()), token, Interest::READABLE)?;
            Ok(Arc::new(notices))
        });
        let notices = notices.map_err(|error| warn!(error:%; "no inotify: the watched directory is polled")).ok();
        let (complete, seen, dealt_with) = Default::default();
        let (step, look_at) = (Step::Idle, Some(now));
        let (added, failed, error, refused) = Default::default();
        Self { directory, notices, complete, seen, dealt_with, step, look_at, added, failed, error, refused }
    }

    pub(super) fn reply(&self) -> WatchReply {
        WatchReply {
            directory: RawText::new(self.directory.as_os_str().as_bytes()),
            added: self.added,
            failed: self.failed,
            error: self.error.clone().or_else(|| self.refused.clone()),
        }
    }

    /// Takes what inotify says, and has the directory looked at.
    fn on_ready(&mut self, now: Instant) {
        let Some(notices) = &self.notices else { return };
        while let Ok(events) = notices.read_events() {
            let names = events.into_iter().filter_map(|event| event.name);
            let room = NAMES_MAX.saturating_sub(self.complete.len());
            self.complete.extend(names.take(room));
            self.look_at = Some(now);
        }
    }

    fn look(&mut self) -> impl FnOnce() -> io::Result<Looked> + Send + 'static {
        (self.look_at, self.step) = (None, Step::Looking);
        let look = Look {
            directory: self.directory.clone(),
            complete: std::mem::take(&mut self.complete),
            seen: std::mem::take(&mut self.seen),
            dealt_with: std::mem::take(&mut self.dealt_with),
        };
        let notices = self.notices.clone();
        move || {
            // Each time, since the directory may be another one by now.
            let wanted = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR;
            let watched = notices.map(|notices| notices.add_watch(&look.directory, wanted));
            if let Some(Err(error)) = watched {
                log::debug!(error:%; "the watched directory is polled");
            }
            look.run()
        }
    }
}

impl Disk {
    /// Begins to watch a directory.
    pub(crate) fn watch(&mut self, directory: PathBuf, registry: &Registry, token: Token, now: Instant) {
        self.watch = Some(Watch::new(directory, registry, token, now));
    }

    pub(crate) fn watched(&self) -> Option<WatchReply> {
        self.watch.as_ref().map(Watch::reply)
    }

    pub(crate) fn on_watch_ready(&mut self, now: Instant) {
        self.watch.iter_mut().for_each(|watch| watch.on_ready(now));
    }

    pub(super) fn look_if_due(&mut self, cx: &Cx) {
        let is_due = |watch: &&mut Watch| watch.look_at.is_some_and(|at| at <= cx.now) && cx.phase == Phase::Running;
        let Some(watch) = self.watch.as_mut().filter(is_due) else { return };
        if !matches!(watch.step, Step::Idle) {
            // The next look follows this one.
            watch.look_at = None;
            if let Step::Dealing { then, .. } = &mut watch.step {
                *then = true;
            }
            return;
        }
        let look = watch.look();
        self.jobs.submit((Lane::Search, Key::Watch), Done::WatchLooked, Err(io::ErrorKind::Other.into()), look);
    }

    pub(super) fn on_watch_looked(&mut self, outcome: io::Result<Looked>, cx: &mut Cx) {
        let Some(watch) = &mut self.watch else { return };
        let mut files = VecDeque::new();
        let mut then = false;
        match outcome {
            Ok(looked) => {
                watch.error = None;
                (watch.seen, watch.dealt_with) = (looked.seen, looked.dealt_with);
                (files, then) = (looked.files.into(), looked.has_more);
            }
            Err(error) => {
                let error = error.to_string();
                if watch.error.as_ref() != Some(&error) {
                    let path = Escaped::path(&watch.directory);
                    warn!(path:%, error:%; "cannot read the watched directory; it is looked at again");
                }
                watch.error = Some(error);
            }
        }
        watch.step = Step::Dealing { files, then };
        self.deal_with_next(cx);
    }

    /// Orders the links of the first file that is left, or sets it aside; without one, waits for the next look.
    fn deal_with_next(&mut self, cx: &mut Cx) {
        let Some(watch) = &mut self.watch else { return };
        let Step::Dealing { files, then } = &watch.step else { return };
        let Some(file) = files.front() else {
            // Something may have come while this went on.
            let next = if *then || !watch.complete.is_empty() { cx.now } else { cx.now + LOOK_EVERY };
            watch.look_at = Some(next);
            watch.step = Step::Idle;
            return;
        };
        match &file.links {
            Ok(links) => {
                // A download of the content that has begun since the file came is that of an earlier run, which was killed.
                let since = file.identity.came();
                let what = links.iter().map(|link| Selector::NewLink { link: link.clone(), since }).collect();
                cx.out.push(Output::Links(what));
            }
            Err(DropFault::NotRegular) => {
                let path = watch.directory.join(&file.name);
                warn!(path:% = Escaped::path(&path); "what is no regular file stays in the watched directory as it is");
                self.end_first(Verdict::Failed, Err(None), cx);
            }
            Err(why) => {
                let path = watch.directory.join(&file.name);
                warn!(path:% = Escaped::path(&path), why:%; "a file of the watched directory is set aside: nothing of it is downloaded");
                self.rename_first(Verdict::Failed);
            }
        }
    }

    fn rename_first(&mut self, verdict: Verdict) {
        let Some(watch) = &mut self.watch else { return };
        let Step::Dealing { files, .. } = &mut watch.step else { return };
        let Some(Dropped { name, identity, .. }) = files.front() else { return };
        let (directory, name, identity) = (watch.directory.clone(), name.clone(), *identity);
        let lost = Err(io::ErrorKind::Other.into());
        let done = move |outcome| Done::WatchRenamed(verdict, outcome);
        let work = move || rename_dropped(&directory, &name, identity, verdict);
        self.jobs.submit((Lane::Search, Key::Watch), done, lost, work);
    }

    /// What the node answers to the links of the first file.
    pub(crate) fn on_links_answered(&mut self, outcome: Result<Reply, CallError>, cx: &mut Cx) {
        let Some(watch) = &mut self.watch else { return };
        let Step::Dealing { files, .. } = &mut watch.step else { return };
        let Some(file) = files.front() else { return };
        let outcome = outcome.and_then(|reply| match reply {
            // Of what is not on the disk nothing would be left after a crash.
            Reply::Downloads(reply) => {
                let rows = reply.downloads.into_iter();
                rows.filter_map(|row| row.not_remembered).next().map_or(Ok(()), |error| Err(*error))
            }
            _ => Ok(()),
        });
        let path = watch.directory.join(&file.name);
        let path = Escaped::path(&path);
        match outcome {
            Ok(()) => {
                watch.refused = None;
                let links = file.links.as_ref().map_or(0, Vec::len);
                info!(path:%, links = links as u64; "the links of a file of the watched directory are downloads now");
                self.rename_first(Verdict::Added);
            }
            Err(error) => {
                let error = error.message;
                if watch.refused.as_ref() != Some(&error) {
                    warn!(path:%, error; "the links of a file of the watched directory are tried again later");
                }
                watch.refused = Some(error);
                // The others would be refused alike. They stay complete.
                let seen = files.drain(..).map(|file| (file.name, file.identity));
                watch.seen.extend(seen);
                if let Step::Dealing { then, .. } = &mut watch.step {
                    *then = false;
                }
                self.deal_with_next(cx);
            }
        }
    }

    pub(super) fn on_watch_renamed(&mut self, verdict: Verdict, outcome: io::Result<()>, cx: &mut Cx) {
        self.end_first(verdict, outcome.map_err(Some), cx);
    }

    /// The first file has been dealt with. One that has its name still is passed over from now on, with the error that kept it.
    fn end_first(&mut self, verdict: Verdict, outcome: Result<(), Option<io::Error>>, cx: &mut Cx) {
        let Some(watch) = &mut self.watch else { return };
        let Step::Dealing { files, .. } = &mut watch.step else { return };
        let first = files.pop_front();
        match verdict {
            Verdict::Added => watch.added += 1,
            Verdict::Failed => watch.failed += 1,
        }
        if let (Err(error), Some(Dropped { name, identity, .. })) = (outcome, first) {
            if let Some(error) = error {
                let path = watch.directory.join(&name);
                warn!(
                    path:% = Escaped::path(&path), error:%;
                    "cannot rename a file of the watched directory; it is passed over until it changes"
                );
            }
            watch.dealt_with.insert(name, identity);
        }
        self.deal_with_next(cx);
    }
}
