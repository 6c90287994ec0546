//! The watched directory: jobs look at it and rename what is in it; the links of its files are ordered from the node one file after
//! the other, as a control client would, so that a file is renamed when what it began is on the disk.
//!
//! inotify says at once what has come. Where it says nothing, as on network filesystems, a look every ten seconds finds files that
//! are the same as at the look before.

use super::Disk;
use super::job::{Done, Key, Lane};
use crate::control::{CallError, RawText, Reply, Selector, WatchReply};
use crate::driver::cx::{Cx, Output, Phase};
use crate::fault::DiskFault;
use crate::name::Escaped;
use crate::store::{DropContent, Dropped, Look, Looked, Seen, Verdict, is_dropped, rename_dropped};
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

/// Reads of what inotify says in one turn of the loop, of 4 KiB each.
const READS_PER_TURN_MAX: usize = 16;

/// The directory, and how far its files are.
pub(super) struct Watch {
    directory: PathBuf,
    /// Absent where the system has none left.
    notices: Option<Arc<Inotify>>,
    complete: BTreeSet<OsString>,
    /// Those of these names that the look was given that goes on.
    given: BTreeSet<OsString>,
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
        let (complete, given, seen, dealt_with) = Default::default();
        let (step, look_at) = (Step::Idle, Some(now));
        let (added, failed, error, refused) = Default::default();
        Self { directory, notices, complete, given, seen, dealt_with, step, look_at, added, failed, error, refused }
    }

    pub(super) fn reply(&self) -> WatchReply {
        WatchReply {
            directory: RawText::new(self.directory.as_os_str().as_bytes()),
            added: self.added,
            failed: self.failed,
            error: self.error.clone().or_else(|| self.refused.clone()),
        }
    }

    /// Takes what inotify says, and has the directory looked at if that may concern it. What is left for the next turn makes it
    /// ready again.
    fn on_ready(&mut self, registry: &Registry, token: Token, now: Instant) {
        let Some(notices) = &self.notices else { return };
        for _ in 0..READS_PER_TURN_MAX {
            let Ok(events) = notices.read_events() else { return };
            for event in events {
                match event.name {
                    // What was renamed has come under its new name as well.
                    Some(name) if !is_dropped(&name) => continue,
                    Some(name) if self.complete.len() < NAMES_MAX => drop(self.complete.insert(name)),
                    // Others may be lost.
                    Some(_) | None => {}
                }
                self.look_at = Some(now);
            }
        }
        // epoll tells of it once.
        let again = registry.reregister(&mut SourceFd(&notices.as_fd().as_raw_fd()), token, Interest::READABLE);
        if let Err(error) = again {
            warn!(error:%; "no inotify any more: the watched directory is polled");
            self.notices = None;
        }
    }

    /// Whether a look is due now. None is while the daemon leaves.
    fn is_due(&mut self, phase: Phase, now: Instant) -> bool {
        self.look_at.take_if(|at| *at <= now).is_some() && phase == Phase::Running
    }

    fn look(&mut self) -> impl FnOnce() -> io::Result<Looked> + Send + 'static {
        (self.look_at, self.step) = (None, Step::Looking);
        self.given = std::mem::take(&mut self.complete);
        // Copies, since a look that fails brings nothing back.
        let look = Look {
            directory: self.directory.clone(),
            complete: self.given.clone(),
            seen: self.seen.clone(),
            dealt_with: self.dealt_with.clone(),
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

    /// Takes what a look has found. After one that failed all is as it was before.
    fn on_looked(&mut self, outcome: io::Result<Looked>, now: Instant) {
        let given = std::mem::take(&mut self.given);
        match outcome {
            Ok(looked) => {
                self.error = None;
                (self.seen, self.dealt_with) = (looked.seen, looked.dealt_with);
                self.step = Step::Dealing { files: looked.files.into(), then: looked.has_more };
            }
            Err(error) => {
                let error = DiskFault::from(error).to_string();
                if self.error.as_ref() != Some(&error) {
                    let path = Escaped::path(&self.directory);
                    warn!(path:%, error:%; "cannot read the watched directory; it is looked at again");
                }
                self.error = Some(error);
                self.complete.extend(given);
                self.wait(now + LOOK_EVERY);
            }
        }
    }

    /// Nothing is to be done until then, or until the look that is ordered already.
    fn wait(&mut self, until: Instant) {
        self.step = Step::Idle;
        self.look_at = Some(self.look_at.map_or(until, |at| at.min(until)));
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

    pub(crate) fn on_watch_ready(&mut self, registry: &Registry, token: Token, now: Instant) {
        self.watch.iter_mut().for_each(|watch| watch.on_ready(registry, token, now));
    }

    pub(super) fn look_if_due(&mut self, cx: &Cx) {
        let Some(watch) = &mut self.watch else { return };
        if !watch.is_due(cx.phase, cx.now) {
            return;
        }
        if !matches!(watch.step, Step::Idle) {
            // The next look follows this one.
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
        watch.on_looked(outcome, cx.now);
        self.deal_with_next(cx);
    }

    /// Orders what the first file that is left has, or sets it aside; without one, waits for the next look.
    fn deal_with_next(&mut self, cx: &mut Cx) {
        let Some(watch) = &mut self.watch else { return };
        let Step::Dealing { files, then } = &watch.step else { return };
        let Some(file) = files.front() else {
            // Something may have come while this went on.
            let next = if *then || !watch.complete.is_empty() { cx.now } else { cx.now + LOOK_EVERY };
            watch.wait(next);
            return;
        };
        // A download of the content that has begun since the file came is that of an earlier run, which was killed.
        let since = file.identity.came();
        match &file.content {
            Ok(DropContent::Links(links)) => {
                let what = links.iter().map(|link| Selector::NewLink { link: link.clone(), since }).collect();
                cx.out.push(Output::Links(what, None));
            }
            Ok(DropContent::Manifest { name, manifest }) => {
                let what = Selector::NewManifest { b3: manifest.b3.to_string(), name: RawText::new(&name[..]), since };
                cx.out.push(Output::Links(vec![what], Some(manifest.clone())));
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
                let count = match &file.content {
                    Ok(DropContent::Links(links)) => links.len(),
                    Ok(DropContent::Manifest { .. }) => 1,
                    Err(_) => 0,
                };
                info!(path:%, count = count as u64; "a file of the watched directory was processed");
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
        self.end_first(verdict, outcome, cx);
    }

    /// The first file has been dealt with. One that has its name still is passed over from now on, with the error that kept it.
    fn end_first(&mut self, verdict: Verdict, outcome: io::Result<()>, cx: &mut Cx) {
        let Some(watch) = &mut self.watch else { return };
        let Step::Dealing { files, .. } = &mut watch.step else { return };
        let first = files.pop_front();
        match verdict {
            Verdict::Added => watch.added += 1,
            Verdict::Failed => watch.failed += 1,
        }
        if let (Err(error), Some(Dropped { name, identity, .. })) = (outcome, first) {
            let path = watch.directory.join(&name);
            warn!(
                path:% = Escaped::path(&path), error:%;
                "cannot rename a file of the watched directory; it is passed over until it changes"
            );
            watch.dealt_with.insert(name, identity);
        }
        self.deal_with_next(cx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};
    use std::path::Path;

    const TOKEN: Token = Token(7);

    fn at(ms: u64) -> Instant {
        Instant::from_ms(ms)
    }

    fn watching(directory: &Path) -> (Watch, Poll) {
        let poll = Poll::new().unwrap();
        (Watch::new(directory.to_owned(), poll.registry(), TOKEN, at(0)), poll)
    }

    fn look(watch: &mut Watch, now: Instant) {
        let outcome = watch.look()();
        watch.on_looked(outcome, now);
    }

    /// Whether inotify has something to say.
    fn is_ready(poll: &mut Poll) -> bool {
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        !events.is_empty()
    }

    #[test]
    fn a_look_that_is_due_is_not_due_again_while_the_daemon_leaves() {
        let directory = tempfile::tempdir().unwrap();
        let (mut watch, _poll) = watching(directory.path());
        assert!(!watch.is_due(Phase::Leaving(at(9)), at(0)));
        assert_eq!(watch.look_at, None, "the loop would never sleep");
    }

    #[test]
    fn only_files_that_may_be_taken_are_looked_for_and_no_turn_reads_without_end() {
        let directory = tempfile::tempdir().unwrap();
        let (mut watch, mut poll) = watching(directory.path());
        look(&mut watch, at(0));
        watch.wait(at(10_000));
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("a.pyrate.added"), "x").unwrap();
        assert!(is_ready(&mut poll));
        watch.on_ready(poll.registry(), TOKEN, at(1));
        assert_eq!((watch.look_at, watch.complete.len()), (Some(at(10_000)), 0));
        let count = 3_000;
        (0..count).for_each(|number| std::fs::write(path(&format!("{number}.pyrate")), "x").unwrap());
        let mut turns = 0;
        while is_ready(&mut poll) {
            watch.on_ready(poll.registry(), TOKEN, at(2));
            turns += 1;
        }
        assert_eq!((watch.look_at, watch.complete.len()), (Some(at(2)), count));
        assert!(turns > 1, "all in one turn");
    }

    #[test]
    fn after_a_look_that_failed_all_is_known_as_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("watched");
        std::fs::create_dir(&path).unwrap();
        let (mut watch, _poll) = watching(&path);
        std::fs::write(path.join("seen.pyrate"), "x").unwrap();
        look(&mut watch, at(0));
        watch.dealt_with.clone_from(&watch.seen);
        watch.complete.insert("complete.pyrate".into());
        std::fs::rename(&path, directory.path().join("away")).unwrap();
        look(&mut watch, at(1));
        assert_eq!(watch.error.as_deref(), Some("no such file or directory"));
        assert_eq!((watch.seen.len(), watch.dealt_with.len(), watch.complete.len()), (1, 1, 1));
        assert_eq!(watch.look_at, Some(at(10_001)), "a failure is not tried again at once");
    }
}
