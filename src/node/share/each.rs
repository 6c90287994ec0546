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
    /// Takes what a scan has found, and returns the shares that cannot be read any more, or not for the same reason as before.
    ///
    /// `failed`: why the one whose files have no name before theirs could not be read, also if the scan tells no more.
    pub(super) fn take(
        &mut self,
        shares: Vec<(Option<FileName>, Result<FoundFiles, DiskFault>)>,
        failed: Option<DiskFault>,
    ) -> Vec<Option<FileName>> {
        let mut newly_unread = Vec::new();
        let mut note = |name: Option<FileName>, known: &mut Known, fault: Option<DiskFault>| {
            let before = std::mem::replace(&mut known.fault, fault);
            if fault.is_some() && fault != before {
                newly_unread.push(name);
            }
        };
        note(None, self.0.entry(None).or_default(), failed);
        for (name, outcome) in shares {
            let known = self.0.entry(name.clone()).or_default();
            known.found = outcome.ok().or(known.found);
            if name.is_some() {
                note(name, known, outcome.err());
            }
        }
        newly_unread
    }

    /// Whether the files of a share may not have been found yet: no scan that has ended has looked at it.
    fn awaits_scan(&self, share: Option<&FileName>) -> bool {
        !self.0.contains_key(&share.cloned())
    }

    /// Other directories than before may have these names.
    pub(super) fn forget(&mut self, is_replaced: impl Fn(&[u8]) -> bool) {
        self.0.retain(|name, _| !name.as_ref().is_some_and(|name| is_replaced(name.as_bytes())));
    }
}

impl ShareMachine {
    /// Why the last scan could not read a share: `local_directory` before the others.
    pub(in crate::node) fn share_error(&self, cx: &Cx) -> Option<CallError> {
        let further = cx.config.shares.iter().map(|share| Some(&share.name));
        [None].into_iter().chain(further).find_map(|name| self.unreadable(cx, name)).map(CallError::from)
    }

    /// Why the last scan could not read a share; `None` names `local_directory`.
    fn unreadable(&self, cx: &Cx, name: Option<&FileName>) -> Option<Problem> {
        let known = self.each.0.get(&name.cloned())?;
        let fault = known.fault?;
        let Some(name) = name else {
            let path = cx.config.local_directory.clone();
            // Of several shares, the number of files found tells what is of this one.
            let of_others = !cx.config.shares.is_empty() && known.found.is_none_or(|found| found.files == 0);
            return Some(Problem::ShareUnreadable { path, fault, lists_files: !self.library.is_empty() && !of_others });
        };
        let path = cx.config.shares.iter().find(|share| share.name == *name)?.path.clone()?;
        let lists_files = self.library.has_share(name.as_bytes());
        Some(Problem::FurtherShareUnreadable { name: RawText::new(name.as_bytes()), path, fault, lists_files })
    }

    /// How many files are beneath a directory, whose name ends in `/`, that are not shared yet: they are being written, or, which
    /// counts as one, were not looked for yet.
    pub(in crate::node) fn pending_beneath(&self, cx: &Cx, directory: &FileName) -> u64 {
        let first = directory.as_bytes().split(|&byte| byte == b'/').next();
        let share = cx.config.shares.iter().map(|share| &share.name).find(|name| Some(name.as_bytes()) == first);
        u64::from(self.each.awaits_scan(share)) + self.settling.count_beneath(directory.as_bytes())
    }

    /// Logs why shares cannot be read any more.
    pub(super) fn log_unread(&self, cx: &Cx, names: &[Option<FileName>]) {
        for told in names.iter().filter_map(|name| self.unreadable(cx, name.as_ref())) {
            log::warn!("{told}");
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
        let error = self.unreadable(cx, name);
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
