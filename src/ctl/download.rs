//! `download`: begins downloads in the daemon and follows them.

use super::Session;
use super::args::Download;
use super::clock::Deadline;
use super::connection::Heard;
use super::output::remark;
use super::progress::Progress;
use super::query::{all_hits, downloads_after};
use super::{exit_code, rows, text};
use crate::control::{
    CallError, DownloadRow, DownloadState, DownloadsReply, ExitCode, Notice, RawText, Request, Selector, parse_ids,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

/// How the following ended.
enum End {
    /// Nothing more will happen by itself.
    Settled,
    /// `--timeout` is over.
    TimedOut,
    /// Ctrl-C.
    Interrupted,
    /// The daemon is gone, or speaks nonsense.
    Lost(CallError),
}

/// `download`.
pub(super) fn download(session: &mut Session, options: Download) -> Result<ExitCode, CallError> {
    let output = match &options.output {
        Some(path) if cannot_be_a_directory(&path.0) && are_several(session, &options.what)? => {
            let path = text::name(path.0.as_os_str().as_encoded_bytes());
            let message = format!("several files go into a directory, and '{path}' is none; '{path}/' would be made");
            return Err(CallError::new(ExitCode::Usage, message));
        }
        Some(path) => Some(absolute(&path.0)?),
        None => None,
    };
    if !options.detach {
        session.connection.watch_interrupts()?;
    }
    let begun: DownloadsReply = session.call(&Request::Download { what: options.what, output })?;
    session.connection.forget_waiting();
    let mut downloads: BTreeMap<u32, DownloadRow> = begun.downloads.into_iter().map(|row| (row.id, row)).collect();
    if let Some(next) = begun.next {
        downloads.extend(downloads_after(session, next)?.into_iter().map(|row| (row.id, row)));
    }
    if options.detach {
        session.output.show(&rows_of(&downloads)[..])?;
        return Ok(ExitCode::Done);
    }
    let end = follow(session, &mut downloads);
    session.output.show(&rows_of(&downloads)[..])?;
    match end {
        End::Settled => Ok(outcome(&downloads)),
        End::TimedOut => {
            remark_going_on(&downloads);
            Ok(ExitCode::TimedOut)
        }
        End::Interrupted => {
            remark_going_on(&downloads);
            Ok(ExitCode::Unfinished)
        }
        End::Lost(error) => {
            // The rows are the document; the failure is only a remark beside it.
            remark(&format!("pyratectl: {}", error.message));
            Ok(exit_code(error.code))
        }
    }
}

/// The path that the daemon is to save to, which knows nothing of our working directory.
fn absolute(path: &Path) -> Result<RawText, CallError> {
    let path = std::path::absolute(path).map_err(|error| {
        CallError::new(ExitCode::FileIo, format!("the current directory is not known: {}", error.kind()))
    })?;
    Ok(RawText::new(path.into_os_string().into_encoded_bytes()))
}

/// Whether a path is that of no directory, nor of one that is to be made. What we may not see is left to the daemon.
fn cannot_be_a_directory(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(found) => !found.is_dir(),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound && !path.as_os_str().as_encoded_bytes().ends_with(b"/"),
    }
}

/// Whether more than one file is named. That there is none, or no such id, is for the daemon to tell.
fn are_several(session: &mut Session, what: &[Selector]) -> Result<bool, CallError> {
    match what {
        [Selector::Hits(ids)] if ids.bytes().all(|b| b.is_ascii_digit()) => Ok(false),
        [Selector::Hits(ids)] => {
            let hits = all_hits(session, None)?;
            Ok(parse_ids(ids, hits.iter().map(|hit| hit.id)).is_ok_and(|ids| ids.len() > 1))
        }
        _ => Ok(what.len() > 1),
    }
}

fn rows_of(downloads: &BTreeMap<u32, DownloadRow>) -> Vec<DownloadRow> {
    downloads.values().cloned().collect()
}

/// Whether a download is over for good.
fn is_final(row: &DownloadRow) -> bool {
    matches!(row.state, DownloadState::Done | DownloadState::Failed | DownloadState::Cancelled)
}

/// Whether a download waits for nobody but the user.
fn is_settled(row: &DownloadRow) -> bool {
    is_final(row) || row.state == DownloadState::Paused
}

/// The code of the first download that did not end well.
fn outcome(downloads: &BTreeMap<u32, DownloadRow>) -> ExitCode {
    let failed = downloads.values().find(|row| row.state != DownloadState::Done);
    failed.map_or(ExitCode::Done, |row| match &row.error {
        Some(error) => exit_code(error.code),
        None if row.state == DownloadState::Paused => ExitCode::Unfinished,
        None => ExitCode::Other,
    })
}

/// Says that the downloads do not end with us.
fn remark_going_on(downloads: &BTreeMap<u32, DownloadRow>) {
    let ids: Vec<String> = downloads.values().filter(|row| !is_final(row)).map(|row| row.id.to_string()).collect();
    let ids = ids.join(",");
    remark(&format!(
        "unfinished downloads go on in the daemon: 'pyratectl downloads' shows them, 'pyratectl cancel {ids}' stops them"
    ));
}

/// Takes in what the daemon reports until nothing more is to come.
fn follow(session: &mut Session, downloads: &mut BTreeMap<u32, DownloadRow>) -> End {
    let until = session.follow_timeout.map_or(Deadline::NEVER, Deadline::after);
    let progress = Progress::new();
    downloads.values().for_each(|row| remark_state(&progress, row));
    while !downloads.values().all(is_settled) {
        draw(&progress, downloads);
        match session.connection.next(until) {
            Ok(Heard::Notice(Notice::Download { download })) => {
                let Some(known) = downloads.get_mut(&download.id) else { continue };
                let changed = known.state != download.state;
                *known = download;
                if changed {
                    remark_state(&progress, known);
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

/// A line for a new state: `7 done: a.txt: /home/…/a.txt`.
fn remark_state(progress: &Progress, row: &DownloadRow) {
    let name = text::name(row.name.as_bytes());
    let state = text::word(&row.state);
    let more = rows::remark(row);
    let more = if more == text::UNKNOWN { String::new() } else { format!(": {more}") };
    progress.remark(&format!("{} {state}: {name}{more}", row.id));
}

/// The bar: all downloads as one.
fn draw(progress: &Progress, downloads: &BTreeMap<u32, DownloadRow>) {
    let several = downloads.len() > 1;
    let rows = || downloads.values();
    let done = rows().fold(0u64, |sum, row| sum.saturating_add(row.bytes_done));
    let total = rows().try_fold(0u64, |sum, row| row.size.map(|size| sum.saturating_add(size)));
    let rate = rows().filter_map(|row| row.rate).fold(0u64, u64::saturating_add);
    let what = match downloads.values().next() {
        Some(only) if !several && only.state == DownloadState::Active => text::name(only.name.as_bytes()),
        Some(only) if !several => format!("{} {}", text::word(&only.state), text::name(only.name.as_bytes())),
        _ => format!("{} of {} finished", rows().filter(|row| is_final(row)).count(), downloads.len()),
    };
    progress.advance(done, total, rate, &what);
}
