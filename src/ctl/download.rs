//! Commands about downloads: `download`, which begins some in the daemon and follows them, as `follow` and `wait` do with
//! those that were begun before, with a bar at a terminal and lines that stay for each change of state and each source lost; and the orders `pause`, `resume`, `retry` and `cancel`.

use super::args::{Download, Move};
use super::clock::Deadline;
use super::compare::comparable;
use super::connection::Heard;
use super::output::{complain, remark};
use super::place::{absolute, cannot_be_a_directory, no_directory};
use super::progress::{Progress, Standing};
use super::query::{chosen_hits, downloads_of};
use super::rows::{self, Order, Ordered, is_stopped_by_disk};
use super::wording::{Failure, Loss, Remark, Then};
use super::{Session, content, exit_code, given, text};
use crate::control::{
    CallError, DownloadRow, DownloadState, DownloadsReply, ExitCode, HitsReply, MoveTo, Notice, PAGE_ROWS_MAX, Request,
    Selector, SourceRow, SourceState,
};
use crate::link::ContentLink;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

/// Downloads that are queued when they are begun, and have a line each.
const QUEUED_LINES_MAX: usize = 3;

/// Sources whose last message is remembered. Beyond that, a message may be repeated.
const SOURCES_TOLD_MAX: usize = 10_000;

pub(super) fn download(session: &mut Session, options: Download) -> Result<ExitCode, CallError> {
    let to_stdout = options.output.as_ref().is_some_and(|path| path.0 == Path::new("-"));
    if to_stdout && (options.detach || !session.output.is_text()) {
        return Err(Failure::OutputTaken.into());
    }
    let needs_directory =
        |session: &mut Session| Ok::<_, CallError>(options.manifest.is_some() || are_several(session, &options.what)?);
    let output = match &options.output {
        Some(_) if to_stdout && needs_directory(session)? => return Err(Failure::SeveralToOutput.into()),
        Some(_) if to_stdout => None,
        Some(path) if cannot_be_a_directory(&path.0) && needs_directory(session)? => {
            return Err(no_directory(&path.0).into());
        }
        Some(path) => Some(absolute(&path.0)?),
        None => None,
    };
    if !options.detach {
        session.connection.watch_interrupts()?;
    }
    let named_place = output.is_some();
    let mut what = options.what;
    if let Some(path) = &options.manifest {
        what.push(given::give(session, &path.0)?);
    }
    if let Some(path) = options.output.as_ref().filter(|_| !to_stdout) {
        what = comparable(session, what, &path.0)?;
    }
    let begun: DownloadsReply = session.call(&Request::Download { what, output })?;
    session.connection.forget_waiting();
    let begun = downloads_of(session, begun)?;
    let mut downloads: BTreeMap<u32, DownloadRow> = begun.into_iter().map(|row| (row.id, row)).collect();
    if options.detach {
        if named_place {
            await_places(session, &mut downloads);
        }
        let rows = rows_of(&downloads);
        let remembered = remark_not_remembered(&rows);
        session.output.show(&rows[..])?;
        let refused = downloads.values().find(|row| row.state == DownloadState::Failed);
        let refused = refused.and_then(|row| row.error.as_ref());
        return Ok(refused.map_or(remembered, |error| exit_code(error.code)));
    }
    let progress = progress_of(downloads.len());
    let end = follow(session, &mut downloads, progress);
    // Whether one ended well does not depend on it.
    let _ = remark_not_remembered(&rows_of(&downloads));
    if !to_stdout {
        session.output.show(&rows_of(&downloads)[..])?;
    }
    let is_settled = matches!(end, End::Settled);
    let code = conclude(end, &downloads, Voice::Loud);
    if to_stdout && is_settled && code == ExitCode::Done {
        downloads.values().try_for_each(|row| content::copy(session.output, row))?;
    }
    Ok(code)
}

/// Whether people are told how a download goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    Loud,
    /// Programs that ask for it get the rows.
    Silent,
}

/// `follow` and `wait`: downloads that were begun before, also those that are over.
pub(super) fn follow_again(session: &mut Session, ids: &[String], voice: Voice) -> Result<ExitCode, CallError> {
    session.connection.watch_interrupts()?;
    let mut downloads = followed_rows(session, ids.join(","))?;
    let is_loud = voice == Voice::Loud;
    if downloads.is_empty() && is_loud && session.output.is_text() {
        remark(Remark::NothingToFollow);
    }
    let progress = if is_loud { progress_of(downloads.len()) } else { Progress::silent() };
    let end = follow(session, &mut downloads, progress);
    if is_loud {
        let _ = remark_not_remembered(&rows_of(&downloads));
    }
    if is_loud || !session.output.is_text() {
        session.output.show(&rows_of(&downloads)[..])?;
    }
    Ok(conclude(end, &downloads, voice))
}

/// Follows downloads, and gives a row for each as it stands now.
fn followed_rows(session: &mut Session, ids: String) -> Result<BTreeMap<u32, DownloadRow>, CallError> {
    let mut answer: DownloadsReply = session.call(&Request::Follow { ids })?;
    session.connection.forget_waiting();
    let wanted = std::mem::take(&mut answer.ids);
    let mut rows = BTreeMap::new();
    loop {
        let of_answer = answer.downloads.len();
        rows.extend(answer.downloads.into_iter().map(|row| (row.id, row)));
        let missing: Vec<u32> = wanted.iter().copied().filter(|id| !rows.contains_key(id)).collect();
        if missing.is_empty() || of_answer == 0 {
            return Ok(rows);
        }
        // Only answers to `follow` have those that left the list.
        let ids = text::ranges(missing.into_iter().take(PAGE_ROWS_MAX as usize));
        answer = session.call(&Request::Follow { ids })?;
    }
}

/// The code to exit with. Tells where downloads continue in the daemon.
fn conclude(end: End, downloads: &BTreeMap<u32, DownloadRow>, voice: Voice) -> ExitCode {
    if matches!(end, End::TimedOut | End::Interrupted) && voice == Voice::Loud {
        remark_going_on(downloads);
    }
    match end {
        End::Settled => outcome(downloads),
        End::TimedOut => ExitCode::TimedOut,
        End::Interrupted => ExitCode::Unfinished,
        End::Lost(error) => {
            // The rows are the document; the failure goes to the standard error.
            complain(&error.message);
            exit_code(error.code)
        }
    }
}

/// Whether more than one file is named. The daemon reports unknown ids.
fn are_several(session: &mut Session, what: &[Selector]) -> Result<bool, CallError> {
    match what {
        [Selector::Hits(ids)] => hits_are_several(session, ids),
        // A directory.
        [Selector::File { name, .. }] if name.as_bytes().ends_with(b"/") => Ok(true),
        [Selector::Link(link)] => Ok(ContentLink::parse(link.as_bytes()).is_ok_and(|link| link.is_of_directory())),
        _ => Ok(what.len() > 1),
    }
}

/// The same for ids of hits, of which one may be a directory.
fn hits_are_several(session: &mut Session, ids: &str) -> Result<bool, CallError> {
    if let Ok(id) = ids.parse::<u32>() {
        let page: HitsReply = session.call(&Request::Hits { search: None, after: id.saturating_sub(1) })?;
        if let Some(hit) = page.hits.first().filter(|hit| hit.id == id) {
            return Ok(hit.directory.is_some());
        }
    }
    let chosen = chosen_hits(session, ids)?;
    Ok(chosen.is_ok_and(|chosen| chosen.len() > 1 || chosen.iter().any(|hit| hit.is_directory)))
}

fn rows_of(downloads: &BTreeMap<u32, DownloadRow>) -> Vec<DownloadRow> {
    downloads.values().cloned().collect()
}

/// The code of the first download that did not end well.
fn outcome(downloads: &BTreeMap<u32, DownloadRow>) -> ExitCode {
    let failed = downloads.values().find(|row| row.state != DownloadState::Done);
    failed.map_or(ExitCode::Done, |row| match &row.error {
        // An error from before the user paused it is not why it stopped.
        _ if row.state == DownloadState::Paused && !is_stopped_by_disk(row) => ExitCode::Unfinished,
        Some(error) => exit_code(error.code),
        None => ExitCode::Other,
    })
}

/// Tells that the downloads continue in the daemon.
fn remark_going_on(downloads: &BTreeMap<u32, DownloadRow>) {
    let ids = text::ranges(downloads.values().filter(|row| !is_final(row)).map(|row| row.id));
    remark(Remark::DownloadsGoOn { ids });
}

enum End {
    /// Every download has ended, or waits for the user or for a disk.
    Settled,
    TimedOut,
    Interrupted,
    /// The daemon is gone, or sent something unexpected.
    Lost(CallError),
}

/// Whether a download is over for good.
fn is_final(row: &DownloadRow) -> bool {
    matches!(row.state, DownloadState::Done | DownloadState::Failed | DownloadState::Cancelled)
}

/// Whether a download has ended, or waits for the user or for a disk.
fn is_settled(row: &DownloadRow) -> bool {
    is_final(row) || row.state == DownloadState::Paused
}

/// Receives what the daemon reports until all downloads are settled.
fn follow(session: &mut Session, downloads: &mut BTreeMap<u32, DownloadRow>, mut progress: Progress) -> End {
    let until = session.follow_timeout.map_or(Deadline::NEVER, Deadline::after);
    let mut told = Told::default();
    remark_beginning(&progress, downloads);
    while !downloads.values().all(is_settled) {
        let active = downloads.values().filter(|row| has_bar(row));
        progress.advance_each(active.map(|row| (row.id, sum([row].into_iter(), String::new(), name_of(row)))));
        progress.advance(standing(downloads));
        match session.connection.next(until) {
            Ok(Heard::Notice(Notice::Download { download })) => {
                let Some(known) = downloads.get_mut(&download.id) else { continue };
                told_contents(known, &download).iter().for_each(|text| progress.remark(text));
                let changed = known.state != download.state;
                *known = download;
                if changed && !(progress.shows_each() && (has_bar(known) || known.state == DownloadState::Queued)) {
                    remark_state(&progress, known);
                }
            }
            Ok(Heard::Notice(Notice::SourceLost { download, source })) => {
                let Some(row) = downloads.get(&download) else { continue };
                if told.is_news(download, &source) {
                    progress.remark(&lost(&source, row));
                }
            }
            Ok(Heard::Notice(_) | Heard::Unknown(_)) => {}
            Ok(Heard::Deadline) => return End::TimedOut,
            Ok(Heard::Interrupted) => return End::Interrupted,
            Ok(Heard::Ended) => return End::Lost(session.connection.hung_up()),
            Err(error) => return End::Lost(error),
        }
    }
    End::Settled
}

fn progress_of(downloads: usize) -> Progress {
    if downloads > 1 { Progress::of_several() } else { Progress::new() }
}

/// Whether a download has a line of its own where several are drawn.
fn has_bar(row: &DownloadRow) -> bool {
    matches!(row.state, DownloadState::Active | DownloadState::Verifying)
}

/// A line for each download, but one for all that are queued if they are many; those that have a bar need none.
fn remark_beginning(progress: &Progress, downloads: &BTreeMap<u32, DownloadRow>) {
    let is_queued = |row: &&DownloadRow| row.state == DownloadState::Queued && row.error.is_none();
    let queued: Vec<u32> = downloads.values().filter(is_queued).map(|row| row.id).collect();
    let are_many = queued.len() > QUEUED_LINES_MAX;
    let told = downloads.values().filter(|row| !(are_many && is_queued(row) || progress.shows_each() && has_bar(row)));
    told.for_each(|row| remark_state(progress, row));
    if are_many {
        progress.remark(&Remark::Queued { number: queued.len() as u64, ids: text::ranges(queued.into_iter()) });
    }
}

/// Waits until the daemon has looked at the places that the user has named: a download whose path is known has a good one,
/// and one whose place is bad fails.
fn await_places(session: &mut Session, downloads: &mut BTreeMap<u32, DownloadRow>) {
    let until = Deadline::after(session.timeout);
    while downloads.values().any(|row| row.path.is_none() && !is_settled(row)) {
        match session.connection.next(until) {
            Ok(Heard::Notice(Notice::Download { download })) => {
                if let Some(known) = downloads.get_mut(&download.id) {
                    *known = download;
                }
            }
            Ok(Heard::Notice(_) | Heard::Unknown(_)) => {}
            // The downloads are accepted, and go on without us.
            Ok(Heard::Deadline | Heard::Interrupted | Heard::Ended) | Err(_) => return,
        }
    }
}

/// What is in a directory, when the peer has told.
fn told_contents(before: &DownloadRow, now: &DownloadRow) -> Option<Remark> {
    let files = |row: &DownloadRow| row.directory.as_ref().map_or(0, |part| part.files);
    (files(before) == 0 && files(now) > 0).then(|| Remark::Contents {
        id: now.id,
        name: name_of(now),
        files: files(now),
        bytes: now.size,
    })
}

/// A line for a new state: `7 done: a.txt: /home/…/a.txt`.
fn remark_state(progress: &Progress, row: &DownloadRow) {
    progress.remark(&state_of(row));
}

/// What is remarked on a download that has come into its state.
pub(super) fn state_of(row: &DownloadRow) -> Remark {
    let name = text::name(row.name.as_bytes());
    let state = text::word(&row.state);
    let more = rows::remark(row);
    let more = if more == text::UNKNOWN { String::new() } else { format!(": {more}") };
    let unverified = row.state == DownloadState::Done && !row.verified && !row.already;
    let doubt = if unverified { format!(" ({})", rows::unverified(row)) } else { String::new() };
    Remark::State { id: row.id, state, name, more: more + &doubt }
}

/// The last message about each source of each download: a source that fails in the same way at each attempt, without a byte
/// in between, is reported once.
#[derive(Default)]
struct Told(BTreeMap<(u32, SocketAddr), (u64, Loss)>);

impl Told {
    fn is_news(&mut self, download: u32, source: &SourceRow) -> bool {
        if self.0.len() == SOURCES_TOLD_MAX {
            self.0.clear();
        }
        let now = (source.bytes, what_happened(source));
        self.0.insert((download, source.addr), now.clone()).is_none_or(|before| before != now)
    }
}

/// What a source did, and how the download goes on without it.
fn lost(source: &SourceRow, row: &DownloadRow) -> Remark {
    let others = || row.shares.iter().filter(|other| other.addr != source.addr);
    let ready = others().filter(|other| matches!(other.state, SourceState::Idle | SourceState::Active)).count();
    let waiting = others().any(|other| other.state == SourceState::Waiting);
    let then = match (ready, source.state) {
        (1.., _) => Then::Others(ready as u64),
        (0, SourceState::Corrupt | SourceState::Refused) if !waiting => Then::Alone,
        (0, SourceState::Corrupt | SourceState::Refused) => Then::OthersLater,
        (0, _) => Then::Later,
    };
    Remark::SourceLost { download: row.id, addr: source.addr, loss: what_happened(source), then }
}

fn what_happened(source: &SourceRow) -> Loss {
    let error = source.error.as_ref().map(|error| text::name(error.as_bytes()));
    match (source.state, error) {
        (SourceState::Corrupt, _) => Loss::Corrupt,
        (SourceState::Refused, _) => Loss::Refused,
        (_, Some(error)) => Loss::Failed(error),
        (_, None) => Loss::FailedSomehow,
    }
}

/// All downloads as one, for the bar.
fn standing(downloads: &BTreeMap<u32, DownloadRow>) -> Standing {
    // Without downloads that the user has cancelled.
    let rows = || downloads.values().filter(|row| row.state != DownloadState::Cancelled);
    let several = downloads.len() > 1;
    let (what, name) = match rows().next() {
        Some(only @ DownloadRow { directory: Some(part), state: DownloadState::Active, .. }) if !several => {
            (format!("{} of {}  ", part.files_done, text::count(part.files, "file")), name_of(only))
        }
        Some(only) if !several && only.state == DownloadState::Active => (String::new(), name_of(only)),
        Some(only) if !several => (format!("{} ", text::word(&only.state)), name_of(only)),
        _ => (format!("{} of {} finished", rows().filter(|row| is_final(row)).count(), rows().count()), String::new()),
    };
    sum(rows(), what, name)
}

fn name_of(row: &DownloadRow) -> String {
    text::name(row.name.as_bytes())
}

/// Downloads together.
fn sum<'a>(rows: impl Iterator<Item = &'a DownloadRow> + Clone, what: String, name: String) -> Standing {
    let sending = rows.clone().flat_map(|row| &row.shares).filter(|source| source.state == SourceState::Active);
    let sources: BTreeSet<SocketAddr> = sending.map(|source| source.addr).collect();
    Standing {
        done: rows.clone().fold(0u64, |sum, row| sum.saturating_add(row.bytes_done)),
        total: rows.clone().try_fold(0u64, |sum, row| row.size.map(|size| sum.saturating_add(size))),
        rate: rows.clone().filter_map(|row| row.rate).fold(0u64, u64::saturating_add),
        verified: rows.clone().all(|row| row.verified || row.b3.is_some()),
        sources: sources.len() as u64,
        what,
        name,
    }
}

/// `move`: shows the place that the download has now.
pub(super) fn move_queued(session: &mut Session, wanted: Move) -> Result<ExitCode, CallError> {
    give(session, Order::Move, &Request::Move { id: wanted.id, to: wanted.to })
}

/// Gives an order to some downloads.
pub(super) fn order(session: &mut Session, order: Order, ids: &[String]) -> Result<ExitCode, CallError> {
    give(session, order, &request(order, ids.join(",")))
}

/// Makes the call, and shows the downloads that it concerned as they stand now.
fn give(session: &mut Session, order: Order, call: &Request) -> Result<ExitCode, CallError> {
    let answer: DownloadsReply = session.call(call)?;
    let rows = downloads_of(session, answer)?;
    let code = remark_not_remembered(&rows);
    if rows.is_empty() && session.output.is_text() {
        remark(Remark::NothingToDo);
    }
    session.output.show(&Ordered { rows, order })?;
    Ok(code)
}

/// Reports the downloads whose order could not be saved, which a restart will not know; the code of the first of them.
fn remark_not_remembered(rows: &[DownloadRow]) -> ExitCode {
    let mut code = ExitCode::Done;
    for (id, why) in rows.iter().filter_map(|row| Some((row.id, row.not_remembered.as_ref()?))) {
        complain(Remark::NotRemembered { id, why: (**why).clone() });
        if code == ExitCode::Done {
            code = exit_code(why.code);
        }
    }
    code
}

/// The call that gives an order.
pub(super) fn request(order: Order, ids: String) -> Request {
    match order {
        Order::Pause => Request::Pause { ids },
        Order::Resume => Request::Resume { ids },
        Order::Retry => Request::Retry { ids },
        Order::Cancel => Request::Cancel { ids },
        Order::Move => Request::Move { id: ids, to: MoveTo::Top },
    }
}

#[cfg(test)]
mod tests;
