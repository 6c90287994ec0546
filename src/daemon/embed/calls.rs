//! What a handle asks of its node: status, its files, searches, lists, downloads.

use super::error::Error;
use super::link::{ANSWER_MAX, Deadline, Heard, Link};
use super::rows::{Hit, Progress, SharedFile, Status, What, raw};
use super::{Handle, Shared};
use crate::control::{
    ContentLinkRow, DownloadRow, DownloadsReply, FilesReply, HitRow, HitsReply, Linkable, Notice, RawText, Request,
    ScanNotice, SearchStarted, StatusReply,
};
use serde::de::IgnoredAny;
use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::sync::mpsc::{Iter, Receiver, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

/// What a channel holds that is not read.
const CHANNEL_MAX: usize = 64;

/// Each call waits until the node listens, and at most 30 s for an answer. Of calls, searches and downloads that are waited for, 32
/// may be in progress at a time, clients of the control socket included; another one fails with [`Error::Busy`].
impl Handle {
    /// What the node does.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`], [`Error::Failed`] or [`Error::TimedOut`], as of each call.
    pub fn status(&self) -> Result<Status, Error> {
        self.connect()?.call::<StatusReply>(&Request::Status).map(Status::from)
    }

    /// The files that it shares, by name.
    ///
    /// # Errors
    ///
    /// As of [`Handle::status`]; the iterator ends with [`Error::Disk`] if a share cannot be read.
    pub fn files(&self) -> Result<Files, Error> {
        self.connect()?;
        Ok(Files { shared: Arc::clone(self.shared()), after: Some(None), ready: VecDeque::new(), fault: None })
    }

    /// A link to a file of the share, or to a directory of it by a name that ends in `/`: a text for [`What::Link`] of other nodes and
    /// for `pyratectl download`. It names the address at which others reach this node, if one is known.
    ///
    /// # Errors
    ///
    /// As of [`Handle::status`]; [`Error::NotFound`] if nothing of this name is shared; [`Error::Other`] while the file is
    /// written, or its hash is not known yet.
    pub fn link(&self, name: impl AsRef<OsStr>) -> Result<String, Error> {
        let what = Linkable::Shared { name: raw(name) };
        Ok(self.connect()?.call::<ContentLinkRow>(&Request::Link { what })?.link)
    }

    /// Looks for new and changed files in the share. Returns how many are shared when that is done.
    ///
    /// # Errors
    ///
    /// As of [`Handle::status`]; [`Error::Disk`] if a share cannot be read.
    pub fn rescan(&self) -> Result<u64, Error> {
        let mut link = self.connect()?;
        link.call::<IgnoredAny>(&Request::Rescan)?;
        loop {
            match link.next(Deadline::after(Some(ANSWER_MAX)))? {
                Heard::Notice(Notice::Scan(ScanNotice { done: true, error: Some(error), .. })) => {
                    return Err(error.into());
                }
                Heard::Notice(Notice::Scan(ScanNotice { done: true, files, .. })) => return Ok(files),
                Heard::Notice(_) => {}
                Heard::Late => return Err(Error::TimedOut("the scan has made no progress".to_owned())),
                Heard::Closed => return Err(self.shared().why_closed()),
            }
        }
    }

    /// Searches for files whose names have these words, and gives each hit once, as soon as it comes, at most 150. Ends when
    /// the search is over, at the latest after `wait`. Hits are files: directories that `pyratectl search` shows are not among
    /// them; [`What::Directory`] is one that holds a hit.
    ///
    /// # Errors
    ///
    /// As of [`Handle::status`]; [`Error::Invalid`] for a text that cannot be searched for. Without any hit, the iterator gives
    /// [`Error::NoHit`], [`Error::TimedOut`] if the search was not over, or [`Error::Network`] if no peer could be asked.
    pub fn search(&self, text: impl AsRef<OsStr>, wait: Duration) -> Result<Hits, Error> {
        self.begin_search(Request::Search { text: raw(text), max: None, ttl: None }, Some(wait))
    }

    /// Asks a peer for the list of its files.
    ///
    /// # Errors
    ///
    /// As of [`Handle::status`]; [`Error::Invalid`] for an address that is no peer's. If the list does not come, or not to its
    /// end, the iterator gives why, after the files that came.
    pub fn list(&self, peer: SocketAddr) -> Result<Hits, Error> {
        self.begin_search(Request::List { peer }, None)
    }

    /// Begins to download a file or a directory into the directory of the configuration, or to another path: a file to a file or
    /// into a directory, and a directory into a directory. The download belongs to the node: it goes on if [`Download`] is dropped, and after a restart if the node has a state directory.
    ///
    /// # Errors
    ///
    /// As of [`Handle::status`]; [`Error::NotFound`] if no such hit is remembered; [`Error::Invalid`] for a link that is none;
    /// [`Error::Exists`] if another download saves
    /// there; [`Error::Disk`] if it could not be written down.
    pub fn download(&self, what: impl Into<What>, to: Option<&Path>) -> Result<Download, Error> {
        let absolute = |path: &Path| std::path::absolute(path).map(|path| raw(path.as_os_str()));
        let output = to.map(absolute).transpose().map_err(|error| Error::Invalid(format!("the path: {error}")))?;
        let begun: DownloadsReply =
            self.connect()?.call(&Request::Download { what: vec![what.into().into()], output })?;
        let row = begun.downloads.into_iter().next().ok_or_else(|| Error::Other("no download was begun".to_owned()))?;
        Ok(Download {
            shared: Arc::clone(self.shared()),
            link: None,
            id: row.id,
            ready: Some(row.into()),
            is_over: false,
            taker: None,
        })
    }

    fn begin_search(&self, request: Request, wait: Option<Duration>) -> Result<Hits, Error> {
        let mut link = self.connect()?;
        let SearchStarted { search, .. } = link.call(&request)?;
        let until = Deadline::after(Some(wait.unwrap_or(ANSWER_MAX)));
        let (seen, ready) = Default::default();
        let shared = Arc::clone(self.shared());
        Ok(Hits { shared, link, search, is_list: wait.is_none(), until, seen, ready, next: Next::Notice, fault: None })
    }

    fn connect(&self) -> Result<Link, Error> {
        Link::open(self.shared())
    }
}

/// Where the next hits come from.
#[derive(Debug)]
enum Next {
    Notice,
    /// What the node remembers, after this id.
    Page(u32),
    End,
    Over,
}

/// The hits of a search, or the files of a peer's list.
#[derive(Debug)]
pub struct Hits {
    shared: Arc<Shared>,
    link: Link,
    search: u32,
    is_list: bool,
    until: Deadline,
    /// The ids of the hits that were given, or are to be.
    seen: BTreeSet<u32>,
    ready: VecDeque<Hit>,
    next: Next,
    /// How the search or the list has ended, unless well.
    fault: Option<Error>,
}

impl Hits {
    /// Has a thread wait for the hits, and hand them over. The channel ends with the search.
    pub fn channel(mut self) -> Channel<Result<Hit, Error>> {
        let (open, taker) = taker();
        self.link.wait_only_for(taker);
        channel(self, open)
    }

    fn take(&mut self, row: HitRow) {
        // The files in a directory are hits as well.
        if row.directory.is_none() && self.seen.insert(row.id) {
            self.ready.push_back(row.into());
        }
    }

    /// Hears what is next, or reads the next page of what the node remembers.
    fn advance(&mut self) -> Result<(), Error> {
        let pages = Next::Page(0);
        match self.next {
            Next::Notice => match self.link.next(self.until)? {
                Heard::Notice(Notice::Hit { search, hit }) if search == self.search => self.take(hit),
                Heard::Notice(Notice::Listing { search, .. }) if search == self.search => {
                    self.until = Deadline::after(Some(ANSWER_MAX));
                }
                Heard::Notice(Notice::SearchDone { search, error, .. }) if search == self.search => {
                    (self.fault, self.next) = (error.map(Error::from), pages);
                }
                Heard::Notice(_) => {}
                Heard::Late => {
                    self.fault = Some(Error::TimedOut("nothing has come in time".to_owned()));
                    self.next = pages;
                }
                Heard::Closed => {
                    self.fault = Some(Error::Busy("other calls needed the connection of the search".to_owned()));
                    self.next = pages;
                }
            },
            Next::Page(after) => {
                let request = Request::Hits { search: Some(self.search), after };
                let page: HitsReply = Link::open(&self.shared)?.call(&request)?;
                page.hits.into_iter().for_each(|row| self.take(row));
                self.next = page.next.filter(|next| *next > after).map_or(Next::End, Next::Page);
            }
            Next::End => {
                self.next = Next::Over;
                let fault = self.fault.take();
                match (self.is_list, self.seen.is_empty()) {
                    (true, _) => fault.map_or(Ok(()), Err)?,
                    (false, true) => return Err(fault.unwrap_or(Error::NoHit)),
                    (false, false) => {}
                }
            }
            Next::Over => {}
        }
        Ok(())
    }
}

impl Iterator for Hits {
    type Item = Result<Hit, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(hit) = self.ready.pop_front() {
                return Some(Ok(hit));
            }
            if matches!(self.next, Next::Over) {
                return None;
            }
            if let Err(error) = self.advance() {
                self.next = Next::Over;
                return Some(Err(error));
            }
        }
    }
}

/// The files that a node shares.
#[derive(Debug)]
pub struct Files {
    shared: Arc<Shared>,
    /// Where the next page begins, if there is one.
    after: Option<Option<RawText>>,
    ready: VecDeque<SharedFile>,
    /// Why the share could not be read.
    fault: Option<Error>,
}

impl Iterator for Files {
    type Item = Result<SharedFile, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(file) = self.ready.pop_front() {
                return Some(Ok(file));
            }
            let Some(after) = self.after.take() else { return self.fault.take().map(Err) };
            let page = Link::open(&self.shared).and_then(|mut link| link.call::<FilesReply>(&Request::Files { after }));
            let page = match page {
                Ok(page) => page,
                Err(error) => return Some(Err(error)),
            };
            self.ready.extend(page.files.into_iter().map(SharedFile::from));
            self.after = page.next.map(Some);
            self.fault = page.share_error.map(Error::from);
        }
    }
}

/// A download: each change of it, until it is done, has failed, or waits for the user or the disk.
#[derive(Debug)]
pub struct Download {
    shared: Arc<Shared>,
    /// Open while it is waited for.
    link: Option<Link>,
    id: u32,
    ready: Option<Progress>,
    is_over: bool,
    /// Who takes the changes, if they are handed over.
    taker: Option<Weak<()>>,
}

impl Download {
    /// The number of the download, as `pyratectl` shows it.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Waits until the file is there under its final name, or no longer than `timeout`, after which the download goes on.
    ///
    /// # Errors
    ///
    /// Why there is no file: [`Error::Refused`], [`Error::Busy`], [`Error::DiskFull`], [`Error::Exists`], [`Error::Disk`],
    /// [`Error::Corrupt`], [`Error::Cancelled`], [`Error::Paused`] or [`Error::TimedOut`]; or as of [`Handle::status`].
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Progress, Error> {
        let until = Deadline::after(timeout);
        while !self.is_over {
            if let Some(progress) = self.progress(until)?.filter(Progress::is_settled) {
                return progress.into_outcome();
            }
        }
        self.follow()?;
        let settled = self.ready.take().ok_or_else(|| Error::NotFound(format!("no such download: {}", self.id)))?;
        settled.into_outcome()
    }

    /// Ends the download and removes what there is of it. One that is over stays as it is.
    ///
    /// # Errors
    ///
    /// As of [`Handle::status`].
    pub fn cancel(self) -> Result<(), Error> {
        Link::open(&self.shared)?.call::<IgnoredAny>(&Request::Cancel { ids: self.id.to_string() }).map(drop)
    }

    /// Has a thread wait for the changes, and hand them over. The channel ends with the download.
    pub fn channel(mut self) -> Channel<Result<Progress, Error>> {
        let (open, taker) = taker();
        self.link.iter_mut().for_each(|link| link.wait_only_for(taker.clone()));
        self.taker = Some(taker);
        channel(self, open)
    }

    /// The next change. `None` if it is over.
    fn progress(&mut self, until: Deadline) -> Result<Option<Progress>, Error> {
        loop {
            if let Some(progress) = self.ready.take() {
                self.is_over = progress.is_settled();
                return Ok(Some(progress));
            }
            if self.is_over {
                return Ok(None);
            }
            let Some(link) = &mut self.link else {
                self.follow()?;
                continue;
            };
            match link.next(until)? {
                Heard::Notice(Notice::Download { download }) if download.id == self.id => {
                    self.ready = Some(download.into());
                }
                Heard::Notice(_) => {}
                Heard::Late => return Err(Error::TimedOut(format!("download {} is not done yet", self.id))),
                Heard::Closed => self.link = None,
            }
        }
    }

    /// Hears of it by a new connection, and how it stands now.
    fn follow(&mut self) -> Result<(), Error> {
        let mut link = Link::open(&self.shared)?;
        self.taker.iter().for_each(|taker| link.wait_only_for(taker.clone()));
        let reply: DownloadsReply = link.call(&Request::Follow { ids: self.id.to_string() })?;
        link.forget_waiting();
        self.link = Some(link);
        self.ready = reply.downloads.into_iter().next().map(|row: DownloadRow| row.into());
        Ok(())
    }
}

impl Iterator for Download {
    type Item = Result<Progress, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.progress(Deadline::after(None)).inspect_err(|_| self.is_over = true).transpose()
    }
}

/// What a thread hands over: the receiver of a channel of the standard library. The thread ends when this is dropped.
#[derive(Debug)]
pub struct Channel<T> {
    receiver: Receiver<T>,
    _open: Arc<()>,
}

impl<T> Deref for Channel<T> {
    type Target = Receiver<T>;

    fn deref(&self) -> &Receiver<T> {
        &self.receiver
    }
}

/// Waits for each item.
impl<T> Iterator for Channel<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<'c, T> IntoIterator for &'c Channel<T> {
    type Item = T;
    type IntoIter = Iter<'c, T>;

    fn into_iter(self) -> Iter<'c, T> {
        self.receiver.iter()
    }
}

/// A reference to hold as long as somebody takes what comes, and one by which a thread sees that.
fn taker() -> (Arc<()>, Weak<()>) {
    let open = Arc::new(());
    let taker = Arc::downgrade(&open);
    (open, taker)
}

/// Has a thread hand over what an iterator gives. The thread ends with the iterator, or when nobody receives any more.
fn channel<T: Send + 'static>(
    items: impl Iterator<Item = Result<T, Error>> + Send + 'static,
    open: Arc<()>,
) -> Channel<Result<T, Error>> {
    let (sender, receiver) = sync_channel(CHANNEL_MAX);
    let hands_over = sender.clone();
    let hand_over = move || items.map(|item| hands_over.send(item)).take_while(Result::is_ok).for_each(drop);
    if let Err(error) = thread::Builder::new().name("pyrate-channel".into()).spawn(hand_over) {
        let _ = sender.send(Err(Error::Other(format!("no thread for the channel: {error}"))));
    }
    Channel { receiver, _open: open }
}
