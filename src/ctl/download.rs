//! `download`: begins downloads in the daemon and follows them.

use super::Session;
use super::args::Download;
use super::follow::{End, await_places, follow, is_final};
use super::orders::remark_not_remembered;
use super::output::{complain, remark};
use super::query::{all_hits, downloads_of};
use super::rows::is_stopped_by_disk;
use super::{content, exit_code, text};
use crate::control::{
    CallError, DownloadRow, DownloadState, DownloadsReply, ExitCode, IdForm, LAST_SEARCH, RawText, Request, Selector,
    parse_ids_with_all,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

pub(super) fn download(session: &mut Session, options: Download) -> Result<ExitCode, CallError> {
    let to_stdout = options.output.as_ref().is_some_and(|path| path.0 == Path::new("-"));
    if to_stdout && (options.detach || !session.output.is_text()) {
        let message =
            "'-o -' writes the file to the standard output: it cannot be combined with --detach, --json or --terse";
        return Err(CallError::new(ExitCode::Usage, message));
    }
    let output = match &options.output {
        Some(_) if to_stdout && are_several(session, &options.what)? => {
            return Err(CallError::new(ExitCode::Usage, "'-o -' takes one file; several go into a directory"));
        }
        Some(_) if to_stdout => None,
        Some(path) if cannot_be_a_directory(&path.0) && are_several(session, &options.what)? => {
            let path = text::name(path.0.as_os_str().as_encoded_bytes());
            let message =
                format!("several files go into a directory, and '{path}' is not one; '{path}/' would be created");
            return Err(CallError::new(ExitCode::Usage, message));
        }
        Some(path) => Some(absolute(&path.0)?),
        None => None,
    };
    if !options.detach {
        session.connection.watch_interrupts()?;
    }
    let named_place = output.is_some();
    let begun: DownloadsReply = session.call(&Request::Download { what: options.what, output })?;
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
    let end = follow(session, &mut downloads);
    // Whether one ended well does not depend on it.
    let _ = remark_not_remembered(&rows_of(&downloads));
    if !to_stdout {
        session.output.show(&rows_of(&downloads)[..])?;
    }
    match end {
        End::Settled => {
            let code = outcome(&downloads);
            if to_stdout && code == ExitCode::Done {
                downloads.values().try_for_each(|row| content::copy(session.output, row))?;
            }
            Ok(code)
        }
        End::TimedOut => {
            remark_going_on(&downloads);
            Ok(ExitCode::TimedOut)
        }
        End::Interrupted => {
            remark_going_on(&downloads);
            Ok(ExitCode::Unfinished)
        }
        End::Lost(error) => {
            // The rows are the document; the failure goes to the standard error.
            complain(&error.message);
            Ok(exit_code(error.code))
        }
    }
}

/// The absolute path that the daemon is to save to: it does not know our working directory.
fn absolute(path: &Path) -> Result<RawText, CallError> {
    let path = std::path::absolute(path).map_err(|error| {
        CallError::new(ExitCode::FileIo, format!("the current directory is not known: {}", error.kind()))
    })?;
    Ok(RawText::new(path.into_os_string().into_encoded_bytes()))
}

/// Whether a path is that of no directory, nor of one that is to be made. The daemon checks what we may not see.
fn cannot_be_a_directory(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(found) => !found.is_dir(),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound && !path.as_os_str().as_encoded_bytes().ends_with(b"/"),
    }
}

/// Whether more than one file is named. The daemon reports unknown ids.
fn are_several(session: &mut Session, what: &[Selector]) -> Result<bool, CallError> {
    match what {
        [Selector::Hits(ids)] if ids.bytes().all(|b| b.is_ascii_digit()) => Ok(false),
        [Selector::Hits(ids)] => {
            let mut hits_of = |search| {
                let (hits, _) = all_hits(session, search)?;
                Ok::<Vec<u32>, CallError>(hits.into_iter().map(|hit| hit.id).collect())
            };
            let is_all = |part: &str| part.trim() == "all";
            let last = if ids.split(',').any(is_all) { hits_of(Some(LAST_SEARCH))? } else { Vec::new() };
            // `all` alone needs no other hits than those that it stands for.
            let known = if ids.split(',').all(is_all) { last.clone() } else { hits_of(None)? };
            let ids = parse_ids_with_all(ids, IdForm::Beginnings, known, last);
            Ok(ids.is_ok_and(|ids| ids.len() > 1))
        }
        _ => Ok(what.len() > 1),
    }
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
    let ids = ranges(downloads.values().filter(|row| !is_final(row)).map(|row| row.id));
    remark(&format!(
        "unfinished downloads continue in the daemon: 'pyratectl downloads {ids}' shows them, 'pyratectl pause {ids}' or \
         'pyratectl cancel {ids}' stops them"
    ));
}

/// Ascending ids as users type them: `2,4-6`.
fn ranges(ids: impl Iterator<Item = u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for id in ids {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(id) => *last = id,
            _ => runs.push((id, id)),
        }
    }
    let shown = |(first, last): (u32, u32)| if first == last { format!("{first}") } else { format!("{first}-{last}") };
    runs.into_iter().map(shown).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_as_short_as_they_can_be_typed() {
        for (ids, told) in
            [(&[][..], ""), (&[7], "7"), (&[2, 4, 5, 6, 9, 10], "2,4-6,9-10"), (&[u32::MAX], "4294967295")]
        {
            assert_eq!(ranges(ids.iter().copied()), told);
        }
    }
}
