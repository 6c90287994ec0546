//! Open files of the share: one descriptor for each file, shared by all its readers, and kept for a while after the last one.

use super::job::{Done, Key, Lane};
use super::jobs::Jobs;
use crate::driver::net::Permit;
use crate::driver::shared_files::{Left, LeftFiles, OpenedId, Reader};
use crate::fault::DiskFault;
use crate::id::ExchangeId;
use crate::library::FileMeta;
use crate::name::FileName;
use crate::store::{ShareRoot, SharedFile};
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a file that nobody reads stays open.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// Where files have been about to close for so long, their descriptors do not come back soon enough to wait for.
const CLOSING_MAX: Duration = Duration::from_secs(1);

/// Files without a reader that stay open.
const IDLE_FILES_MAX: usize = 16;

/// Each descriptor, from its opening to its closing, has its permit here. Jobs open and close: both may wait for the disk, closing
/// also where a removed file is freed.
#[derive(Default)]
pub(super) struct OpenedFiles {
    opening: BTreeMap<FileName, (Arc<Path>, Permit)>,
    /// Those of them whose share was replaced meanwhile: they are closed when they are open.
    forgotten: BTreeSet<FileName>,
    files: BTreeMap<OpenedId, Opened>,
    /// What was opened last under a name.
    by_name: BTreeMap<FileName, OpenedId>,
    /// Files without a reader, and until when they stay open.
    idle: BTreeSet<(Instant, OpenedId)>,
    to_close: BTreeMap<Arc<Path>, Vec<(Arc<SharedFile>, Permit)>>,
    /// Of the files that jobs close, by their share, as in the others.
    closing: BTreeMap<Arc<Path>, Vec<Permit>>,
    /// Whether files without a reader stay open.
    keeps_idle: bool,
    /// Since when there have been files to close without a break, by their share: one that hangs says nothing about the others.
    gives_since: BTreeMap<Arc<Path>, Instant>,
    left: LeftFiles,
    last: u64,
}

struct Opened {
    name: FileName,
    share: Arc<Path>,
    file: Arc<SharedFile>,
    permit: Permit,
    idle_until: Option<Instant>,
}

impl OpenedFiles {
    /// An open file of this name and identity that has not changed, for an exchange.
    pub(super) fn get(&mut self, name: &FileName, expected: &FileMeta, exchange: ExchangeId) -> Option<Reader> {
        let id = *self.by_name.get(name)?;
        let is_still = self.files.get(&id)?.file.is_still(expected);
        if !is_still {
            return None;
        }
        self.reader(name, exchange)
    }

    /// What was opened last under a name, for an exchange.
    pub(super) fn reader(&mut self, name: &FileName, exchange: ExchangeId) -> Option<Reader> {
        let id = *self.by_name.get(name)?;
        let opened = self.files.get_mut(&id)?;
        if let Some(until) = opened.idle_until.take() {
            self.idle.remove(&(until, id));
        }
        Some(Reader::new(&opened.file, Left { file: id, exchange }, &self.left))
    }

    pub(super) fn file(&self, name: &FileName) -> Option<&SharedFile> {
        self.files.get(self.by_name.get(name)?).map(|opened| &*opened.file)
    }

    pub(super) fn is_opening(&self, name: &FileName) -> bool {
        self.opening.contains_key(name)
    }

    /// Opens a file, which ends in [`Done::SharedOpened`].
    pub(super) fn open(&mut self, name: FileName, root: Arc<ShareRoot>, permit: Permit, jobs: &mut Jobs) {
        let share = Arc::clone(root.directory_of(&name));
        self.opening.insert(name.clone(), (Arc::clone(&share), permit));
        let (opened, key) = (name.clone(), Key::OpenShared(name.clone()));
        let done = move |outcome| Done::SharedOpened(opened.clone(), outcome);
        let lost = Err(DiskFault::Internal);
        jobs.submit_on(Some(&share), (Lane::Share, key), done, lost, move || root.open_file(&name));
    }

    /// Cancels the opening of a file, unless its job has begun. Returns whether it did; then the descriptor is free.
    pub(super) fn withdraw(&mut self, name: &FileName, jobs: &mut Jobs) -> bool {
        let is_withdrawn = jobs.withdraw(&Key::OpenShared(name.clone()));
        if is_withdrawn {
            self.opening.remove(name);
            self.forgotten.remove(name);
        }
        is_withdrawn
    }

    pub(super) fn on_opened(
        &mut self,
        name: &FileName,
        outcome: Result<SharedFile, DiskFault>,
        now: Instant,
    ) -> Result<(), DiskFault> {
        let opening = self.opening.remove(name);
        let is_forgotten = self.forgotten.remove(name);
        let file = Arc::new(outcome?);
        let (share, permit) = opening.ok_or(DiskFault::NoDescriptor)?;
        if is_forgotten {
            self.to_close.entry(share).or_default().push((file, permit));
            return Err(DiskFault::Missing);
        }
        // All readers of a file behind a link have one descriptor as well, though each has it opened again.
        if self.file(name).is_some_and(|known| known.is_same(&file)) {
            self.to_close.entry(share).or_default().push((file, permit));
            return Ok(());
        }
        self.last += 1;
        let id = OpenedId(self.last);
        let until = now + IDLE_MAX;
        self.idle.insert((until, id));
        self.files.insert(id, Opened { name: name.clone(), share, file, permit, idle_until: Some(until) });
        if let Some(old) = self.by_name.insert(name.clone(), id) {
            self.leave(old, now);
        }
        Ok(())
    }

    /// Other files than before may have these names: those that are open, or about to be, are for no further exchange.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&FileName) -> bool, now: Instant) {
        self.forgotten.extend(self.opening.keys().filter(|name| is_gone(name)).cloned());
        let gone: Vec<FileName> = self.by_name.keys().filter(|name| is_gone(name)).cloned().collect();
        for name in gone {
            if let Some(id) = self.by_name.remove(&name) {
                self.leave(id, now);
            }
        }
    }

    /// After a use of a file, or of one whose name another file has.
    fn leave(&mut self, id: OpenedId, now: Instant) {
        let Some(opened) = self.files.get_mut(&id) else { return };
        if Arc::strong_count(&opened.file) > 1 {
            return;
        }
        if self.by_name.get(&opened.name) != Some(&id) {
            self.give_up(id);
        } else if opened.idle_until.is_none() {
            let until = now + IDLE_MAX;
            opened.idle_until = Some(until);
            self.idle.insert((until, id));
        }
    }

    fn give_up(&mut self, id: OpenedId) {
        let Some(Opened { name, share, file, permit, idle_until }) = self.files.remove(&id) else { return };
        if let Some(until) = idle_until {
            self.idle.remove(&(until, id));
        }
        if self.by_name.get(&name) == Some(&id) {
            self.by_name.remove(&name);
        }
        self.to_close.entry(share).or_default().push((file, permit));
    }

    /// When files are to be closed.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.idle.first().map(|(until, _)| *until)
    }

    /// Closes the files that nobody needs any more. `keeps_idle`: whether there are descriptors enough for others.
    pub(super) fn tend(&mut self, keeps_idle: bool, now: Instant, jobs: &mut Jobs) {
        for Left { file, exchange } in self.left.take() {
            jobs.withdraw(&Key::ReadShared(exchange));
            self.leave(file, now);
        }
        self.keeps_idle = keeps_idle;
        let idle_max = if keeps_idle { IDLE_FILES_MAX } else { 0 };
        while let Some((until, id)) = self.idle.first().copied()
            && (until <= now || self.idle.len() > idle_max)
        {
            self.give_up(id);
        }
        self.close(jobs);
    }

    /// Whether files are about to give their descriptors back, unless these are plenty: those without a reader, and those that a
    /// job closes.
    pub(super) fn gives_back(&mut self, now: Instant) -> bool {
        let idle = self.idle.iter().filter(|_| !self.keeps_idle);
        let idle = idle.filter_map(|(_, id)| self.files.get(id)).map(|opened| &opened.share);
        let giving = idle.chain(self.to_close.keys()).chain(self.closing.keys());
        let since = |share: &Arc<Path>| self.gives_since.get(share).copied().unwrap_or(now);
        self.gives_since = giving.map(|share| (Arc::clone(share), since(share))).collect();
        self.gives_since.values().any(|since| now < *since + CLOSING_MAX)
    }

    /// When the daemon leaves: has the files closed that nobody reads any more. Returns whether that is done.
    pub(super) fn close_unread(&mut self, jobs: &mut Jobs) -> bool {
        let is_unread = |opened: &Opened| Arc::strong_count(&opened.file) == 1;
        let unread: Vec<_> = self.files.iter().filter(|(_, opened)| is_unread(opened)).map(|(id, _)| *id).collect();
        unread.into_iter().for_each(|id| self.give_up(id));
        self.close(jobs);
        self.to_close.is_empty() && self.closing.is_empty()
    }

    /// Whether no file is open, nor being opened or closed.
    pub(super) fn are_all_closed(&self) -> bool {
        self.files.is_empty() && self.opening.is_empty() && self.to_close.is_empty() && self.closing.is_empty()
    }

    fn close(&mut self, jobs: &mut Jobs) {
        for (share, files) in std::mem::take(&mut self.to_close) {
            if self.closing.contains_key(&share) {
                self.to_close.insert(share, files);
                continue;
            }
            let (files, permits): (Vec<Arc<SharedFile>>, _) = files.into_iter().unzip();
            self.closing.insert(Arc::clone(&share), permits);
            let (key, closed) = (Key::CloseShared(Arc::clone(&share)), Arc::clone(&share));
            let done = move |()| Done::SharedClosed(Arc::clone(&closed));
            jobs.submit_on(Some(&share), (Lane::Share, key), done, (), move || drop(files));
        }
    }

    pub(super) fn on_closed(&mut self, share: &Path) {
        self.closing.remove(share);
    }

    /// The share that an open file is in.
    pub(super) fn share_of(&self, id: OpenedId) -> Option<&Arc<Path>> {
        self.files.get(&id).map(|opened| &opened.share)
    }

    /// A read has ended: it was a use of the file. Its exchange may order the next one now.
    pub(super) fn on_read(&mut self, used: Left, now: Instant) {
        self.leave(used.file, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::clock::Clock;
    use crate::store::Scanner;
    use mio::{Poll, Token, Waker};
    use tempfile::TempDir;

    fn at(ms: u64) -> Instant {
        Instant::from_ms(ms)
    }

    #[test]
    fn all_readers_of_a_file_behind_a_link_have_one_descriptor_though_each_has_it_opened_again() {
        let scratch = tempfile::tempdir().unwrap();
        let (share, target) = (scratch.path().join("share"), scratch.path().join("target"));
        std::fs::create_dir(&share).unwrap();
        std::fs::write(&target, b"a").unwrap();
        std::os::unix::fs::symlink(&target, share.join("a")).unwrap();
        let links = Arc::default();
        let mut scanner = Scanner::start(&share).following(Some(Arc::clone(&links)));
        while scanner.step(10, i64::MAX).ended.is_none() {}
        let root = ShareRoot::open(&share).unwrap().following(Some(links));
        let name = FileName::from_bytes(b"a").unwrap();
        let (mut files, mut readers) = (OpenedFiles::default(), Vec::new());
        for reader in 0..3 {
            files.opening.insert(name.clone(), (Path::new("/").into(), Permit::for_file()));
            files.on_opened(&name, root.open_file(&name), at(0)).unwrap();
            let meta = *files.file(&name).unwrap().meta();
            readers.push(files.reader(&name, ExchangeId::Inbound(reader)).unwrap());
            assert!(files.get(&name, &meta, ExchangeId::Inbound(9)).is_none(), "the link may be gone by now");
        }
        assert_eq!((files.files.len(), files.to_close.values().flatten().count()), (1, 2));
        std::fs::remove_file(share.join("a")).unwrap();
        assert!(root.open_file(&name).is_err());
    }

    /// A share with one file, and what opens and closes it.
    struct One {
        _share: TempDir,
        _poll: Poll,
        root: ShareRoot,
        name: FileName,
        files: OpenedFiles,
        jobs: Jobs,
    }

    impl One {
        fn new() -> Self {
            let share = tempfile::tempdir().unwrap();
            std::fs::write(share.path().join("a"), b"a").unwrap();
            let (root, name) = (ShareRoot::open(share.path()).unwrap(), FileName::from_bytes(b"a").unwrap());
            let poll = Poll::new().unwrap();
            let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
            let jobs = Jobs::start(&waker, Clock::start(), (1, 8)).unwrap();
            Self { _share: share, _poll: poll, root, name, files: OpenedFiles::default(), jobs }
        }

        fn open(&mut self, ms: u64) {
            self.files.opening.insert(self.name.clone(), (Path::new("/").into(), Permit::for_file()));
            self.files.on_opened(&self.name, self.root.open_file(&self.name), at(ms)).unwrap();
        }

        fn tend(&mut self, keep: bool, ms: u64) {
            self.files.tend(keep, at(ms), &mut self.jobs);
        }
    }

    #[test]
    fn what_is_open_or_being_opened_under_a_name_is_for_nobody_once_another_directory_has_the_name() {
        let scratch = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|directory| {
            std::fs::create_dir(scratch.path().join(directory)).unwrap();
            std::fs::write(scratch.path().join(directory).join("a"), directory).unwrap();
            ShareRoot::open(&scratch.path().join(directory)).unwrap()
        });
        let (mut files, name) = (OpenedFiles::default(), FileName::from_bytes(b"a").unwrap());
        let open = |files: &mut OpenedFiles, root: &ShareRoot, is_replaced| {
            files.opening.insert(name.clone(), (Path::new("/").into(), Permit::for_file()));
            if is_replaced {
                files.forget(|other| *other == name, at(1));
            }
            files.on_opened(&name, root.open_file(&name), at(1))
        };
        open(&mut files, &old, false).unwrap();
        let reader = files.reader(&name, ExchangeId::Inbound(1)).unwrap();
        files.forget(|other| *other == name, at(1));
        assert!(files.file(&name).is_none() && files.reader(&name, ExchangeId::Inbound(2)).is_none());
        assert_eq!(open(&mut files, &old, true), Err(DiskFault::Missing), "by a job that knows the old directory");
        assert!(files.file(&name).is_none());
        open(&mut files, &new, false).unwrap();
        assert_eq!(files.file(&name).unwrap().meta(), new.open_file(&name).unwrap().meta());
        drop(reader);
        let left = files.left.take();
        left.into_iter().for_each(|left| files.leave(left.file, at(1)));
        assert_eq!(
            (files.files.len(), files.to_close.values().flatten().count()),
            (1, 2),
            "the old one is closed when its reader is gone"
        );
    }

    #[test]
    fn descriptors_are_expected_for_a_second_at_most() {
        let mut one = One::new();
        one.tend(true, 0);
        one.open(0);
        assert!(!one.files.gives_back(at(0)), "it stays open");
        one.tend(false, 2_000);
        assert!(one.files.gives_back(at(2_000)), "a job closes it");
        one.open(2_500);
        one.tend(false, 2_500);
        assert!(one.files.gives_back(at(2_500)), "and the next one is to be closed");
        one.files.on_closed(Path::new("/"));
        one.tend(false, 2_900);
        assert!(one.files.gives_back(at(2_999)));
        assert!(!one.files.gives_back(at(3_000)), "that was long enough");
        one.files.on_closed(Path::new("/"));
        assert!(!one.files.gives_back(at(3_001)), "all are closed");
        one.open(3_002);
        one.tend(false, 3_002);
        assert!(one.files.gives_back(at(3_002)), "a new second");
    }

    #[test]
    fn descriptors_of_other_shares_are_expected_while_those_of_one_do_not_come() {
        let mut one = One::new();
        one.open(0);
        one.tend(false, 0);
        assert!(one.files.gives_back(at(0)) && !one.files.gives_back(at(1_000)), "the first share hangs");
        let other: Arc<Path> = Path::new("/other").into();
        one.files.closing.insert(Arc::clone(&other), vec![Permit::for_file()]);
        assert!(one.files.gives_back(at(1_500)), "another one closes files");
        one.files.on_closed(&other);
        assert!(!one.files.gives_back(at(1_600)), "the first one still hangs");
        one.files.on_closed(Path::new("/"));
        assert!(!one.files.gives_back(at(1_700)) && one.files.gives_since.is_empty());
    }

    #[test]
    fn a_file_that_nobody_reads_stays_open_for_five_seconds() {
        let mut one = One::new();
        one.open(0);
        one.tend(true, 4_999);
        assert!(one.files.file(&one.name).is_some());
        assert_eq!(one.files.next_deadline(), Some(at(5_000)));
        one.tend(true, 5_000);
        assert!(one.files.are_all_closed() || one.files.gives_back(at(5_000)), "a job closes it");
        assert!(one.files.file(&one.name).is_none());
    }
}
