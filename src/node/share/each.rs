//! What is known of each share: what the last scan has found there, and whether it could be read.

use super::ShareMachine;
use crate::control::{CallError, Problem, RawText, ShareRow, ShareState};
use crate::fault::DiskFault;
use crate::library::FoundFiles;
use crate::name::FileName;
use crate::node::contract::ShareNamed;
use crate::node::cx::Cx;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The shares that a scan has looked at; `None` names the one whose files have no name before theirs.
#[derive(Default)]
pub(super) struct EachShare(BTreeMap<Option<FileName>, Known>);

#[derive(Default)]
struct Known {
    /// Of the last scan that could read it.
    found: Option<FoundFiles>,
    /// Why the last one could not.
    fault: Option<DiskFault>,
}

impl EachShare {
    /// Takes what a scan has found, and returns the shares that can be read no longer, or not for the same reason as before.
    pub(super) fn take(&mut self, shares: Vec<(Option<FileName>, Result<FoundFiles, DiskFault>)>) -> Vec<FileName> {
        let mut newly_unread = Vec::new();
        for (name, outcome) in shares {
            let known = self.0.entry(name.clone()).or_default();
            let fault = outcome.err();
            if fault.is_some() && fault != known.fault {
                newly_unread.extend(name);
            }
            *known = Known { found: outcome.ok().or(known.found), fault };
        }
        newly_unread
    }

    /// Other directories than before may have these names.
    pub(super) fn forget(&mut self, is_replaced: impl Fn(&[u8]) -> bool) {
        self.0.retain(|name, _| !name.as_ref().is_some_and(|name| is_replaced(name.as_bytes())));
    }
}

impl ShareMachine {
    /// Why the last scan could not read a share: `local_directory` before the others.
    pub(in crate::node) fn share_error(&self, cx: &Cx) -> Option<CallError> {
        let failed = self.scan_logged.as_ref().and_then(|(_, report)| report.failed);
        let of_main = failed.map(|fault| self.main_unreadable(cx, fault));
        of_main.or_else(|| self.further_unreadable(cx)).map(CallError::from)
    }

    /// A scan could not read `local_directory`.
    pub(super) fn main_unreadable(&self, cx: &Cx, fault: DiskFault) -> Problem {
        let lists_files = !self.library.is_empty();
        Problem::ShareUnreadable { path: cx.config.local_directory.clone(), fault, lists_files }
    }

    /// The first further share that a scan could not read.
    pub(super) fn further_unreadable(&self, cx: &Cx) -> Option<Problem> {
        cx.config.shares.iter().find_map(|share| self.unreadable(&share.name, share.path.as_deref()?))
    }

    /// A scan could not read this further share.
    fn unreadable(&self, name: &FileName, path: &Path) -> Option<Problem> {
        let fault = self.each.0.get(&Some(name.clone()))?.fault?;
        let lists_files = self.library.has_share(name.as_bytes());
        let name = RawText::new(name.as_bytes());
        Some(Problem::FurtherShareUnreadable { name, path: path.to_owned(), fault, lists_files })
    }

    /// Logs why shares can be read no longer.
    pub(super) fn log_unread(&self, cx: &Cx, names: &[FileName]) {
        for share in cx.config.shares.iter().filter(|share| names.contains(&share.name)) {
            if let Some(told) = share.path.as_deref().and_then(|path| self.unreadable(&share.name, path)) {
                log::warn!("{told}");
            }
        }
    }

    /// The shares by name, `local_directory` first; none of a bootstrap node alone.
    pub(in crate::node) fn share_rows(&self, cx: &Cx) -> Vec<ShareRow> {
        if !cx.config.peer {
            return Vec::new();
        }
        let main = self.share_row(cx, None, Some(&cx.config.local_directory));
        let further = |share: &ShareNamed| self.share_row(cx, Some(&share.name), share.path.as_deref());
        let mut rows: Vec<ShareRow> = cx.config.shares.iter().map(further).collect();
        rows.sort_by(|row, other| row.name.as_bytes().cmp(other.name.as_bytes()));
        rows.insert(0, main);
        rows
    }

    fn share_row(&self, cx: &Cx, name: Option<&FileName>, path: Option<&Path>) -> ShareRow {
        let known = self.each.0.get(&name.cloned());
        let found = known.and_then(|known| known.found);
        let error = path.and_then(|path| match name {
            Some(name) => self.unreadable(name, path),
            None => known.and_then(|known| known.fault).map(|fault| self.main_unreadable(cx, fault)),
        });
        let text = name.map_or(&b""[..], FileName::as_bytes);
        ShareRow {
            name: RawText::new(text),
            path: path.map(|path| RawText::new(path.as_os_str().as_bytes())),
            audience: if path.is_some() { cx.config.audiences.of(text).shown() } else { Vec::new() },
            state: match (path, &error, found) {
                (None, ..) => ShareState::Waiting,
                (_, Some(_), _) => ShareState::Unreadable,
                (.., None) => ShareState::Scanning,
                (.., Some(_)) => ShareState::Shared,
            },
            files: found.map(|found| found.files),
            bytes: found.map(|found| u64::try_from(found.bytes).unwrap_or(u64::MAX)),
            error: error.map(CallError::from),
        }
    }
}
