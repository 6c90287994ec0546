//! The list of downloads: shown, and shortened by what is over.

use super::Session;
use super::args::{Downloads, Forget};
use super::output::remark;
use super::query::{directory_files, downloads_after, is_all_of_nothing, named_downloads, order, picked};
use super::rows::{AllOrSome, Details};
use super::values::Forgettable;
use super::watch;
use super::wording::{Failure, Remark};
use crate::control::{CallError, DownloadRow, DownloadState, ExitCode, ForgottenReply, Request};

/// `downloads`: a table of all, or of those in some states, or everything that is known of some.
pub(super) fn downloads(session: &mut Session, wanted: &Downloads) -> Result<ExitCode, CallError> {
    let none = if wanted.has_filter() { Remark::NoSuchDownload } else { Remark::NoDownload };
    watch::show(session, wanted.watch, none, |session| {
        if !wanted.ids.is_empty() && !wanted.has_filter() {
            let (rows, chosen) = named_downloads(session, &wanted.ids.join(","))?;
            if is_all_of_nothing(&wanted.ids, &rows) {
                return Ok(AllOrSome::All(rows));
            }
            let mut shown = Vec::new();
            for row in picked(rows, &chosen?, |row| row.id) {
                let directory = row.directory.is_some().then_some(row.id);
                shown.push(row);
                if let Some(id) = directory {
                    shown.append(&mut directory_files(session, id)?);
                }
            }
            return Ok(AllOrSome::Some(Details(shown)));
        }
        let mut rows = downloads_after(session, 0)?;
        rows.retain(|row| !wanted.has_filter() || wanted.includes(row));
        Ok(AllOrSome::All(rows))
    })
}

impl Downloads {
    pub(super) fn has_filter(&self) -> bool {
        self.active || self.failed || self.finished
    }

    fn includes(&self, row: &DownloadRow) -> bool {
        use DownloadState::{Active, Cancelled, Done, Failed, Verifying};
        match row.state {
            Active | Verifying => self.active,
            Failed => self.failed || self.finished,
            Done | Cancelled => self.finished,
            _ => false,
        }
    }
}

/// `forget`: a peer, or downloads.
pub(super) fn forget(session: &mut Session, forget: &Forget) -> Result<ExitCode, CallError> {
    let mut ids: Vec<&str> = Vec::new();
    for what in &forget.what {
        match what {
            Forgettable::Peer(peer) if forget.what.len() == 1 && !forget.finished => {
                return order(session, &Request::Forget { peer: *peer });
            }
            Forgettable::Peer(_) => return Err(Failure::ForgetsOnePeer.into()),
            Forgettable::Downloads(part) => ids.push(part),
        }
    }
    // Those that are over are all of which a row may go.
    ids.extend(forget.finished.then_some("all"));
    let done: ForgottenReply = session.call(&Request::ForgetDownloads { ids: ids.join(",") })?;
    if done.forgotten.is_empty() && session.output.is_text() {
        remark(Remark::NothingToForget);
    }
    session.output.show(&done)?;
    Ok(ExitCode::Done)
}
