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
    LAST_SEARCH, LeftOutCounts, LeftOutReply, LimitReply, MetricsReply, Notice, PeerRow, Problem, ReloadReply, Request,
    SharesReply, StatusReply, UploadRow, UploadsReply, parse_ids, parse_ids_of_files, parse_ids_with_all,
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

/// Shows a result page by page as it comes: the next page is on its way while one is shown. `read` takes an answer apart.
///
/// Tells whether the reader has gone before all was shown. Where a later page cannot be had, a document of JSON stays without
/// its end, so that nobody takes it for the whole.
pub(super) fn show_pages<P: DeserializeOwned, R: Row + Serialize>(
    session: &mut Session,
    first: Request,
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

/// All rows of a result, page by page. `request` makes the call for what follows a row, and `read` takes its answer apart, into rows
/// and where to go on. An answer that says to go on at the same place again is the last.
pub(super) fn pages<P: DeserializeOwned, R, K: Clone + PartialEq>(
    session: &mut Session,
    first: K,
    request: impl Fn(K) -> Request,
    mut read: impl FnMut(P) -> (Vec<R>, Option<K>),
) -> Result<Vec<R>, CallError> {
    let (mut rows, mut after) = (Vec::new(), first);
    loop {
        let (page, next) = read(session.call(&request(after.clone()))?);
        rows.extend(page);
        match next {
            Some(next) if next != after => after = next,
            _ => return Ok(rows),
        }
    }
}

/// The hits of one search, or all; and whether more were found than are remembered.
pub(super) fn all_hits(session: &mut Session, search: Option<u32>) -> Result<(Vec<HitRow>, bool), CallError> {
    let mut truncated = false;
    let request = |after| Request::Hits { search, after };
    let hits = pages(session, 0, request, |page: HitsReply| {
        truncated |= page.truncated;
        (page.hits, page.next)
    })?;
    Ok((hits, truncated))
}

/// A hit that a text names.
pub(super) struct Chosen {
    pub(super) id: u32,
    pub(super) is_directory: bool,
}

/// The hits that a text names, in which `all` stands for those of the last search or list.
pub(super) fn chosen_hits(session: &mut Session, text: &str) -> Result<Result<Vec<Chosen>, Problem>, CallError> {
    let is_all = |part: &str| part.trim() == "all";
    let last = if text.split(',').any(is_all) { all_hits(session, Some(LAST_SEARCH))?.0 } else { Vec::new() };
    // `all` alone needs no other hits than those that it stands for.
    let others = if text.split(',').all(is_all) { Vec::new() } else { all_hits(session, None)?.0 };
    let known = || last.iter().chain(&others);
    let directories: BTreeSet<u32> = known().filter(|hit| hit.directory.is_some()).map(|hit| hit.id).collect();
    let is_directory = |id| directories.contains(&id);
    let all = last.iter().map(|hit| hit.id);
    let ids = parse_ids_of_files(text, &known().map(|hit| hit.id).collect(), all, is_directory);
    Ok(ids.map(|ids| ids.into_iter().map(|id| Chosen { id, is_directory: is_directory(id) }).collect()))
}

/// The downloads of the files of a directory.
pub(super) fn directory_files(session: &mut Session, id: u32) -> Result<Vec<DownloadRow>, CallError> {
    let request = |after| Request::DirectoryFiles { id, after };
    pages(session, 0, request, |page: DownloadsReply| (page.downloads, page.next))
}

/// All downloads, and the ids of those that a text names.
pub(super) type Named = (Vec<DownloadRow>, Result<Vec<u32>, Problem>);

/// Files of directories, which are no downloads of their own, are among the downloads if the text names one.
pub(super) fn named_downloads(session: &mut Session, text: &str) -> Result<Named, CallError> {
    let mut rows = downloads_after(session, 0)?;
    let ids = |rows: &[DownloadRow]| rows.iter().map(|row| row.id).collect::<Vec<u32>>();
    let all = ids(&rows);
    let mut chosen = parse_ids(text, IdForm::Beginnings, all.iter().copied());
    if matches!(chosen, Err(Problem::NoSuchId { .. } | Problem::NoIdInRange { .. })) {
        let directories: Vec<u32> = rows.iter().filter(|row| row.directory.is_some()).map(|row| row.id).collect();
        for id in directories {
            rows.append(&mut directory_files(session, id)?);
        }
        chosen = parse_ids_with_all(text, IdForm::Beginnings, &ids(&rows).into_iter().collect(), all);
    }
    Ok((rows, chosen.map_err(Problem::of_downloads)))
}

/// The downloads with a greater id than this.
pub(super) fn downloads_after(session: &mut Session, after: u32) -> Result<Vec<DownloadRow>, CallError> {
    pages(session, after, |after| Request::Downloads { after }, |page: DownloadsReply| (page.downloads, page.next))
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

/// The uploads in progress.
fn all_uploads(session: &mut Session) -> Result<Vec<UploadRow>, CallError> {
    pages(session, None, |after| Request::Uploads { after }, |page: UploadsReply| (page.uploads, page.next.map(Some)))
}

pub(super) fn files(session: &mut Session) -> Result<ExitCode, CallError> {
    let (mut share_error, mut last, mut is_empty) = (None, None, true);
    let shown = show_pages(session, Request::Files { after: None }, |_, page: FilesReply| {
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
    let mut found = pages(
        session,
        None,
        |after| Request::Files { after },
        |page: FilesReply| {
            let found: Vec<FileRow> = page.files.into_iter().find(&is_wanted).into_iter().collect();
            let next = page.next.filter(|_| found.is_empty());
            (found, next.map(Some))
        },
    )?;
    Ok(found.pop())
}

pub(super) fn shares(session: &mut Session) -> Result<ExitCode, CallError> {
    let request = |after| Request::Shares { after };
    let rows = pages(session, None, request, |page: SharesReply| (page.shares, page.next.map(Some)))?;
    session.output.show(&rows)?;
    if session.output.is_text() {
        if rows.is_empty() {
            remark(Remark::SharesNothing);
        }
        rows.iter().filter_map(|row| row.error.as_ref()).for_each(|error| remark(name(error.message.as_bytes())));
    }
    Ok(ExitCode::Done)
}

/// `files --left-out`.
pub(super) fn left_out(session: &mut Session) -> Result<ExitCode, CallError> {
    let (mut share_error, mut unnamed, mut last) = (None, LeftOutCounts::new(), None);
    let (mut any_link, mut any_outside, mut is_empty) = (false, false, true);
    let shown = show_pages(session, Request::LeftOut { after: None }, |_, page: LeftOutReply| {
        share_error = page.share_error;
        unnamed = page.unnamed;
        is_empty &= page.left_out.is_empty();
        any_link |= page.left_out.iter().any(|row| row.reason == LeftOutReason::Symlink);
        any_outside |= page.left_out.iter().any(|row| row.reason == LeftOutReason::OutsideSandbox);
        let next = page.next.filter(|next| Some(next) != last.as_ref());
        last.clone_from(&next);
        Ok(Read::Page(page.left_out, next.map(|after| Request::LeftOut { after: Some(after) })))
    })?;
    if shown == Reader::Gone {
        return Ok(ExitCode::Done);
    }
    let advice = [
        (is_empty && share_error.is_none(), Remark::NothingLeftOut),
        (any_link, Remark::LinksNotFollowed),
        (any_outside, Remark::OutsideSandbox),
    ];
    advice.into_iter().filter(|(is_due, _)| *is_due && session.output.is_text()).for_each(|(_, advice)| remark(advice));
    if !unnamed.is_empty() {
        remark(Remark::Unnamed(by_reason(&unnamed)));
    }
    if let Some(error) = share_error {
        remark(name(error.message.as_bytes()));
        if !is_empty {
            remark(Remark::LeftOutBefore);
        }
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
