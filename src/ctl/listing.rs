//! `list`: shows what a peer shares while it arrives, page by page.
//!
//! A page is shown when it is full, or when the list is over: what is shown does not depend on how fast it came.

use super::Session;
use super::clock::Deadline;
use super::connection::{Connection, Heard};
use super::output::{Output, Reader, complain, remark};
use super::progress::Progress;
use super::query::{Read, show_pages};
use super::rows::{ListedPage, ListedRow};
use super::wording::{Failure, Remark};
use super::work::SearchEnd;
use crate::control::{CallError, ExitCode, Notice, PAGE_ROWS_MAX, Request, SearchStarted};
use std::net::SocketAddr;
use std::time::Duration;

/// How often at least it is checked, while rows are waited for, whether anybody still reads them.
const READER_INTERVAL: Duration = Duration::from_millis(250);

pub(super) fn list(session: &mut Session, peer: SocketAddr) -> Result<ExitCode, CallError> {
    session.connection.watch_interrupts()?;
    let SearchStarted { search, .. } = session.call(&Request::List { peer })?;
    let mut listing = Listing::new(search, peer, session.timeout);
    listing.await_page(&mut session.connection, session.output, 0)?;
    // A terminal has one place for rows and progress.
    let shares_terminal = session.output.is_live() || session.output.is_pipe();
    let output = session.output;
    let page_after = |after| Request::Hits { search: Some(search), after };
    let (mut truncated, mut any_unverified, mut shown, mut last) = (false, false, 0, 0);
    let read = |connection: &mut Connection, page: ListedPage| {
        // Notices read before the answer describe the list as it was when the page was made.
        while let Some(heard) = connection.next_heard() {
            listing.take(heard, connection)?;
        }
        if page.next.is_none() && listing.end.is_none() {
            return Ok(match listing.await_page(connection, output, shown)? {
                Reader::There => Read::Again(page_after(last)),
                Reader::Gone => Read::Gone,
            });
        }
        if let (0, true, Some(SearchEnd { error: Some(error), .. })) = (shown, page.hits.is_empty(), &listing.end) {
            return Err(error.clone());
        }
        if shares_terminal {
            listing.progress = None;
        }
        truncated |= page.truncated;
        any_unverified |= page.hits.iter().any(ListedRow::is_unverified);
        shown += page.hits.len() as u64;
        let next = page.next.filter(|next| *next > last);
        last = next.unwrap_or(last);
        Ok(Read::Page(page.hits, next.map(page_after)))
    };
    let reader = show_pages(session, page_after(0), read)?;
    let end = listing.end.take().unwrap_or_default();
    drop(listing);
    if let Some(error) = end.error {
        let code = super::exit_code(error.code);
        complain(Remark::ListIncomplete(error));
        return Ok(code);
    }
    if reader == Reader::Gone {
        return Ok(ExitCode::Done);
    }
    session.remark_unverified(any_unverified);
    if truncated || end.truncated {
        remark(Remark::FilesForgotten);
    }
    Ok(ExitCode::Done)
}

/// Has the daemon ask a peer for its list, whose files become hits, and gives the number of that list.
pub(super) fn fetch_list(session: &mut Session, peer: SocketAddr) -> Result<u32, CallError> {
    let SearchStarted { search, .. } = session.call(&Request::List { peer })?;
    let mut listing = Listing::new(search, peer, session.timeout);
    listing.wait(&mut session.connection, || Reader::There, |_| false)?;
    listing.end.and_then(|end| end.error).map_or(Ok(search), Err)
}

/// A list that is arriving.
struct Listing {
    search: u32,
    peer: SocketAddr,
    /// How long nothing may be heard of it.
    timeout: Duration,
    until: Deadline,
    /// Its length, as it was last reported.
    files: u64,
    end: Option<SearchEnd>,
    progress: Option<Progress>,
}

impl Listing {
    fn new(search: u32, peer: SocketAddr, timeout: Duration) -> Self {
        let progress = Progress::new();
        progress.say(Remark::Listing { peer, files: None }.to_string());
        Self { search, peer, timeout, until: Deadline::NEVER, files: 0, end: None, progress: Some(progress) }
    }

    /// Waits until a page after so many rows may be full, or the list is over, or nobody reads the rows any more. Before the
    /// first rows, why there are none is told also without a reader, and Ctrl-C ends the wait.
    fn await_page(&mut self, connection: &mut Connection, output: Output, shown: u64) -> Result<Reader, CallError> {
        let reader = || if shown > 0 { output.reader() } else { Reader::There };
        self.wait(connection, reader, |files| files > shown + u64::from(PAGE_ROWS_MAX))
    }

    /// Waits until the list is over or, by a report, as long as is wanted, or the reader has gone. Fails when nothing is reported
    /// for the time-out.
    fn wait(
        &mut self,
        connection: &mut Connection,
        reader: impl Fn() -> Reader,
        is_wanted: impl Fn(u64) -> bool,
    ) -> Result<Reader, CallError> {
        self.until = Deadline::after(self.timeout);
        while reader() == Reader::There {
            let heard = connection.next(self.until.at_most(READER_INTERVAL))?;
            let is_pause = matches!(heard, Heard::Deadline) && !self.until.has_passed();
            if !is_pause && self.take(heard, connection)? && (self.end.is_some() || is_wanted(self.files)) {
                return Ok(Reader::There);
            }
        }
        Ok(Reader::Gone)
    }

    /// Returns whether it was a report about this list.
    fn take(&mut self, heard: Heard, connection: &Connection) -> Result<bool, CallError> {
        match heard {
            Heard::Notice(Notice::Listing { search, files }) if search == self.search => {
                self.files = files;
                self.until = Deadline::after(self.timeout);
                if let Some(progress) = &self.progress {
                    progress.say(Remark::Listing { peer: self.peer, files: Some(files) }.to_string());
                }
                Ok(true)
            }
            Heard::Notice(Notice::SearchDone { search, truncated, error, .. }) if search == self.search => {
                self.end = Some(SearchEnd { truncated, error });
                Ok(true)
            }
            Heard::Notice(_) | Heard::Unknown(_) => Ok(false),
            Heard::Deadline => Err(Failure::NoList { peer: self.peer, within: self.timeout }.into()),
            Heard::Interrupted => Err(Failure::Interrupted.into()),
            Heard::Ended => Err(connection.hung_up()),
        }
    }
}
