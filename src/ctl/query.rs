//! Commands that need one call, or all pages of one.

use super::Session;
use super::args::{Limit, Peers, Uploads};
use super::clock::Deadline;
use super::connection::{Connection, Heard};
use super::output::{Page, Reader, remark};
use super::rows::{Row, VerboseStatus, by_reason};
use super::text::name;
use super::watch;
use super::wording::{Failure, Remark};
use crate::control::{
    BootstrapReply, CallError, DownloadRow, DownloadsReply, ExitCode, FileRow, FilesReply, HitRow, HitsReply, IdForm,
    LeftOutCounts, LeftOutReply, LimitReply, MetricsReply, Notice, PeerRow, ReloadReply, Request, StatusReply,
    UploadRow, UploadsReply, parse_ids,
};
use crate::left_out::LeftOutReason;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn status(session: &mut Session, verbose: bool) -> Result<ExitCode, CallError> {
    let status: StatusReply = session.call(&Request::Status)?;
    match verbose {
        true => session.output.show(&VerboseStatus(status))?,
        false => session.output.show(&status)?,
    }
    Ok(ExitCode::Done)
}

pub(super) fn peers(session: &mut Session, asked: &Peers) -> Result<ExitCode, CallError> {
    watch::show(session, asked.watch, Remark::NoPeer, |session| session.call::<Vec<PeerRow>>(&Request::Peers))
}

/// What an answer is.
pub(super) enum Read<R> {
    /// Rows, and the call for the next page.
    Page(Vec<R>, Option<Request>),
    /// The page is not full yet: make this call instead.
    Again(Request),
    /// None: nobody reads the rows any more.
    Gone,
}

/// Shows a result page by page as it comes: the next page is on its way while one is shown. `read` takes an answer apart. Where
/// there is no row, `none` is what people are told.
///
/// Tells whether the reader has gone before all was shown. Where a later page cannot be had, a document of JSON stays without
/// its end, so that nobody takes it for the whole.
pub(super) fn show_pages<P: DeserializeOwned, R: Row + Serialize>(
    session: &mut Session,
    first: Request,
    none: Option<Remark>,
    mut read: impl FnMut(&mut Connection, P) -> Result<Read<R>, CallError>,
) -> Result<Reader, CallError> {
    let (timeout, output) = (session.timeout, session.output);
    let (mut columns, mut is_first) = (None, true);
    let mut call = session.connection.begin(&first, timeout);
    loop {
        let page = call.and_then(|call| session.connection.finish(call));
        let (rows, next) = match page.and_then(|page| read(&mut session.connection, page)) {
            Ok(Read::Page(rows, next)) => (rows, next),
            Ok(Read::Again(request)) => {
                call = session.connection.begin(&request, timeout);
                continue;
            }
            Ok(Read::Gone) => return Ok(Reader::Gone),
            Err(error) => {
                if !is_first {
                    output.break_off();
                }
                return Err(error);
            }
        };
        let next = next.map(|request| session.connection.begin(&request, timeout));
        let is_last = next.is_none();
        let reader = output.show_page(Page { rows: &rows, columns: &mut columns, is_first, is_last })?;
        if let (true, Some(none)) = (is_first && is_last && rows.is_empty() && output.is_text(), &none) {
            remark(none);
        }
        if is_first && output.is_pipe() {
            // A pager has what to show: Ctrl-C is meant for it, and ends this program as well if it ends the pager.
            session.connection.ignore_interrupts();
        }
        is_first = false;
        match next {
            None => return Ok(Reader::There),
            Some(_) if reader == Reader::Gone => return Ok(Reader::Gone),
            Some(next) => call = next,
        }
    }
}

/// Whether the ids are `all` and there is no row: then the empty table is shown.
pub(super) fn is_all_of_nothing<T>(ids: &[String], rows: &[T]) -> bool {
    rows.is_empty() && parse_ids(&ids.join(","), IdForm::Beginnings, []).is_ok()
}

/// The rows with these ids, in the order of the ids.
pub(super) fn picked<T>(rows: Vec<T>, ids: &[u32], id_of: impl Fn(&T) -> u32) -> Vec<T> {
    let mut rows: BTreeMap<u32, T> = rows.into_iter().map(|row| (id_of(&row), row)).collect();
    ids.iter().filter_map(|id| rows.remove(id)).collect()
}

/// The hits of one search, or all, page by page; and whether more were found than are remembered.
pub(super) fn all_hits(session: &mut Session, search: Option<u32>) -> Result<(Vec<HitRow>, bool), CallError> {
    let (mut hits, mut truncated, mut after) = (Vec::new(), false, 0);
    loop {
        let page: HitsReply = session.call(&Request::Hits { search, after })?;
        hits.extend(page.hits);
        truncated |= page.truncated;
        match page.next {
            Some(next) if next > after => after = next,
            _ => return Ok((hits, truncated)),
        }
    }
}

/// The downloads of the files of a directory, page by page.
pub(super) fn directory_files(session: &mut Session, id: u32) -> Result<Vec<DownloadRow>, CallError> {
    let (mut rows, mut after) = (Vec::new(), 0);
    loop {
        let page: DownloadsReply = session.call(&Request::DirectoryFiles { id, after })?;
        rows.extend(page.downloads);
        match page.next {
            Some(next) if next > after => after = next,
            _ => return Ok(rows),
        }
    }
}

/// The downloads with a greater id than this, page by page.
pub(super) fn downloads_after(session: &mut Session, mut after: u32) -> Result<Vec<DownloadRow>, CallError> {
    let mut rows = Vec::new();
    loop {
        let page: DownloadsReply = session.call(&Request::Downloads { after })?;
        rows.extend(page.downloads);
        match page.next {
            Some(next) if next > after => after = next,
            _ => return Ok(rows),
        }
    }
}

/// The downloads that a call concerned, and no other: those of its answer, and those for which the answer had no place,
/// page by page.
pub(super) fn downloads_of(session: &mut Session, answer: DownloadsReply) -> Result<Vec<DownloadRow>, CallError> {
    let mut rows: BTreeMap<u32, DownloadRow> = answer.downloads.into_iter().map(|row| (row.id, row)).collect();
    let wanted: BTreeSet<u32> = answer.ids.into_iter().collect();
    let mut missing: BTreeSet<u32> = wanted.iter().copied().filter(|id| !rows.contains_key(id)).collect();
    while let Some(first) = missing.pop_first() {
        let page: DownloadsReply = session.call(&Request::Downloads { after: first.saturating_sub(1) })?;
        // Ids before the end of the page that are not on it have been removed meanwhile.
        missing = page.next.map_or_else(BTreeSet::new, |last| missing.split_off(&last.saturating_add(1)));
        let concerned = |row: &DownloadRow| wanted.contains(&row.id);
        rows.extend(page.downloads.into_iter().filter(concerned).map(|row| (row.id, row)));
    }
    Ok(rows.into_values().collect())
}

pub(super) fn uploads(session: &mut Session, asked: &Uploads) -> Result<ExitCode, CallError> {
    watch::show(session, asked.watch, Remark::NoUpload, all_uploads)
}

/// The uploads in progress, page by page.
fn all_uploads(session: &mut Session) -> Result<Vec<UploadRow>, CallError> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page: UploadsReply = session.call(&Request::Uploads { after: after.clone() })?;
        rows.extend(page.uploads);
        match page.next {
            Some(next) if Some(&next) != after.as_ref() => after = Some(next),
            _ => return Ok(rows),
        }
    }
}

pub(super) fn files(session: &mut Session) -> Result<ExitCode, CallError> {
    let (mut share_error, mut last, mut is_empty) = (None, None, true);
    let shown = show_pages(session, Request::Files { after: None }, None, |_, page: FilesReply| {
        share_error = page.share_error;
        is_empty &= page.files.is_empty();
        let next = page.next.filter(|next| Some(next) != last.as_ref());
        last.clone_from(&next);
        Ok(Read::Page(page.files, next.map(|after| Request::Files { after: Some(after) })))
    })?;
    if shown == Reader::Gone {
        return Ok(ExitCode::Done);
    }
    if is_empty && session.output.is_text() {
        let is_no_peer = share_error.is_none() && {
            let status = session.call::<StatusReply>(&Request::Status);
            status.is_ok_and(|status| status.listen.is_none())
        };
        remark(if is_no_peer { Remark::SharesNothing } else { Remark::NoFile });
    }
    if let Some(error) = share_error {
        remark(name(error.message.as_bytes()));
    }
    Ok(ExitCode::Done)
}

/// The first file of the share, by name, for which this holds.
pub(super) fn files_until(
    session: &mut Session,
    is_wanted: impl Fn(&FileRow) -> bool,
) -> Result<Option<FileRow>, CallError> {
    let mut after = None;
    loop {
        let page: FilesReply = session.call(&Request::Files { after: after.clone() })?;
        if let Some(found) = page.files.into_iter().find(&is_wanted) {
            return Ok(Some(found));
        }
        match page.next {
            Some(next) if Some(&next) != after.as_ref() => after = Some(next),
            _ => return Ok(None),
        }
    }
}

/// `files --left-out`.
pub(super) fn left_out(session: &mut Session) -> Result<ExitCode, CallError> {
    let (mut share_error, mut unnamed, mut last) = (None, LeftOutCounts::new(), None);
    let (mut any_link, mut any_outside) = (false, false);
    let first = Request::LeftOut { after: None };
    let shown = show_pages(session, first, Some(Remark::NothingLeftOut), |_, page: LeftOutReply| {
        share_error = page.share_error;
        unnamed = page.unnamed;
        any_link |= page.left_out.iter().any(|row| row.reason == LeftOutReason::Symlink);
        any_outside |= page.left_out.iter().any(|row| row.reason == LeftOutReason::OutsideSandbox);
        let next = page.next.filter(|next| Some(next) != last.as_ref());
        last.clone_from(&next);
        Ok(Read::Page(page.left_out, next.map(|after| Request::LeftOut { after: Some(after) })))
    })?;
    if shown == Reader::Gone {
        return Ok(ExitCode::Done);
    }
    let advice = [(any_link, Remark::LinksNotFollowed), (any_outside, Remark::OutsideSandbox)];
    advice.into_iter().filter(|(is_due, _)| *is_due && session.output.is_text()).for_each(|(_, advice)| remark(advice));
    if !unnamed.is_empty() {
        remark(Remark::Unnamed(by_reason(&unnamed)));
    }
    if let Some(error) = share_error {
        remark(name(error.message.as_bytes()));
    }
    Ok(ExitCode::Done)
}

pub(super) fn bootstrap(session: &mut Session) -> Result<ExitCode, CallError> {
    let mut reply: BootstrapReply = session.call(&Request::Bootstrap { after: None })?;
    if let Some(registry) = &mut reply.registry {
        let mut after = registry.next.take();
        while after.is_some() {
            let page: BootstrapReply = session.call(&Request::Bootstrap { after })?;
            let Some(page) = page.registry.filter(|page| page.next != after) else { break };
            registry.peers.extend(page.peers);
            registry.count = page.count;
            after = page.next;
        }
    }
    session.output.show(&reply)?;
    Ok(ExitCode::Done)
}

/// `metrics`: text that is a format of its own, so that `--terse` changes nothing.
pub(super) fn metrics(session: &mut Session) -> Result<ExitCode, CallError> {
    let metrics: MetricsReply = session.call(&Request::Metrics)?;
    if session.output.is_json() {
        session.output.json(&metrics)?;
    } else {
        session.output.write(&metrics.text())?;
    }
    Ok(ExitCode::Done)
}

pub(super) fn events(session: &mut Session) -> Result<ExitCode, CallError> {
    session.connection.watch_interrupts()?;
    let _: IgnoredAny = session.call(&Request::Events)?;
    let mut leaving = false;
    loop {
        let written = match session.connection.next(Deadline::NEVER)? {
            Heard::Notice(notice) => {
                leaving |= notice == Notice::Leaving;
                session.output.json(&notice)
            }
            Heard::Unknown(params) => session.output.json(&params),
            Heard::Ended if !leaving => return Err(session.connection.hung_up()),
            Heard::Ended | Heard::Interrupted | Heard::Deadline => return Ok(ExitCode::Done),
        };
        if written? == Reader::Gone {
            return Ok(ExitCode::Done);
        }
    }
}

/// `reload`: the keys that changed, and those that wait for a restart.
pub(super) fn reload(session: &mut Session) -> Result<ExitCode, CallError> {
    let done: ReloadReply = session.call(&Request::Reload)?;
    done.remarks.iter().for_each(|line| remark(name(line.as_bytes())));
    session.output.show(&done)?;
    if session.output.is_text() && done.changed.is_empty() && done.waiting.is_empty() {
        remark(Remark::Reloaded);
    }
    if !done.waiting.is_empty() {
        remark(Remark::AfterRestart(done.waiting.iter().map(|waiting| name(waiting.key.as_bytes())).collect()));
    }
    Ok(ExitCode::Done)
}

/// `limit`: the rate limits as they are, after a change if one is given.
pub(super) fn limit(session: &mut Session, wanted: &Limit) -> Result<ExitCode, CallError> {
    let Limit { down, up, reset } = *wanted;
    let limits: LimitReply = session.call(&Request::Limit { down, up, reset })?;
    session.output.show(&limits)?;
    Ok(ExitCode::Done)
}

/// A call whose answer is empty, as for `log-level`.
pub(super) fn order(session: &mut Session, request: &Request) -> Result<ExitCode, CallError> {
    let _: IgnoredAny = session.call(request)?;
    session.output.show_done()?;
    Ok(ExitCode::Done)
}

/// `stop`: done when the daemon has closed the connection and its process has ended.
pub(super) fn stop(session: &mut Session) -> Result<ExitCode, CallError> {
    let until = Deadline::after(session.timeout);
    let _: IgnoredAny = session.call(&Request::Stop)?;
    let late = || Failure::NotStopped { within: session.timeout };
    loop {
        match session.connection.next(until)? {
            Heard::Notice(_) | Heard::Unknown(_) => {}
            Heard::Deadline => return Err(late().into()),
            Heard::Ended if session.connection.await_exit(until) => break,
            Heard::Ended => return Err(late().into()),
            Heard::Interrupted => break,
        }
    }
    session.output.show_done()?;
    Ok(ExitCode::Done)
}
