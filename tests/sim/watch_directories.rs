//! Rules of directories that are downloaded, checked on what nodes order and say: nothing is saved outside of the target, and
//! what is called done is there as the manifest says.

use crate::host::HostId;
use crate::world::World;
use pyrate::content::{EntryKind, ManifestEntry};
use pyrate::control::{DirectoryPart, DownloadRow, DownloadState, EventKind};
use pyrate::id::{ContentHash, TransferId};
use pyrate::name::FileName;
use pyrate::node::contract::{DownloadRecord, PartSpec, RecordKind, RecordState, Target};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Bytes of a component of a path.
const COMPONENT_BYTES_MAX: usize = 255;

impl World {
    /// A record of a download is to be on the disk.
    pub(crate) fn watch_record(&self, host: HostId, record: &DownloadRecord) {
        let disk = &self.hosts[host.0].disk;
        let ends = |kind| record.events.iter().filter(|event| event.event == kind).count();
        if ends(EventKind::Begun) > 1 || ends(EventKind::Done) > 1 {
            self.violation(host, &format!("{:?} has begun twice, or is done twice", record.id));
        }
        let Target::Within { directory, path, .. } = &record.spec.target else { return };
        if !is_plain(path) {
            self.violation(host, &format!("{path} is to be a path beneath {directory:?}"));
        }
        let RecordKind::Member { of } = record.kind else { return };
        let Some(whole) = disk.downloads.get(&of) else {
            // That one is over; its members are forgotten after it.
            return;
        };
        if !is_beneath(&whole.spec, directory, path) {
            self.violation(host, &format!("{path} is not beneath {:?}", whole.spec));
        }
        let path = directory.join(path.to_string());
        if let RecordState::Done { verified } = record.state {
            let found = disk.finished.get(&path).map(|content| content.b3());
            if found.is_none() || (verified && found != record.b3) {
                self.violation(host, &format!("{path:?} is recorded as done, and is {found:?}"));
            }
        }
    }

    /// Directories are to be made.
    pub(crate) fn watch_directories_to_make(
        &self,
        host: HostId,
        download: TransferId,
        spec: &PartSpec,
        paths: &[FileName],
    ) {
        let record = self.hosts[host.0].disk.downloads.get(&download);
        if record.is_none_or(|record| record.spec != *spec) {
            self.violation(host, &format!("a crash would leave directories of {download:?} to nobody"));
        }
        let Target::Within { directory, path: root, .. } = &spec.target else { return };
        let bad = paths.iter().find(|path| !is_plain(path) || !(is_beneath(spec, directory, path) || *path == root));
        if let Some(path) = bad {
            self.violation(host, &format!("{path} is to be made, and is not beneath {root}"));
        }
    }

    /// A user is told of a directory.
    pub(crate) fn watch_directory(&self, host: HostId, row: &DownloadRow, part: &DirectoryPart) {
        match row.state {
            DownloadState::Done => self.watch_done_directory(host, row, part),
            DownloadState::Retrying | DownloadState::Failed => {
                let names_some = part.files_missing == 0 || !part.missing.is_empty();
                if row.error.is_none() || !names_some {
                    self.violation(host, &format!("{row:?} does not say what is missing, and why"));
                }
            }
            _ => {}
        }
        if part.files_done > part.files || part.files_done + part.files_missing > part.files {
            self.violation(host, &format!("{row:?} counts more files than there are"));
        }
    }

    /// What is called done is there, whole, and as its manifest says.
    fn watch_done_directory(&self, host: HostId, row: &DownloadRow, part: &DirectoryPart) {
        let Some(path) = &row.path else { self.violation(host, &format!("{row:?} is done, and nowhere")) };
        let path = Path::new(OsStr::from_bytes(path.as_bytes()));
        let events = self.hosts[host.0].disk.events.get(&TransferId(row.id));
        let done = events.map_or(0, |events| events.iter().filter(|event| event.event == EventKind::Done).count());
        if done != 1 || part.files_missing > 0 || part.files_done != part.files {
            self.violation(host, &format!("{row:?} is done, with {done} events of that"));
        }
        let b3 = part.manifest.as_ref().and_then(|b3| ContentHash::from_hex(b3.as_bytes()));
        let manifest = b3.and_then(|b3| self.watch.manifests.get(&b3));
        if part.manifest.is_some() && manifest.is_none() {
            self.violation(host, &format!("{row:?} has a manifest that it was never sent"));
        }
        if manifest.is_some_and(|manifest| manifest.files != part.files) {
            self.violation(host, &format!("{row:?} is done, and has other files than its manifest"));
        }
        let entries = manifest.map_or(&[][..], |manifest| &manifest.entries);
        // What is saved under another name is for the scenario to look at.
        if let Some(entry) = entries.iter().find(|entry| is_plain(&entry.path) && !self.has_entry(host, path, entry)) {
            self.violation(host, &format!("{row:?} is done, and {entry:?} is not there"));
        }
        if manifest.is_some_and(|manifest| manifest.entries.is_empty()) && !self.is_directory(host, path) {
            self.violation(host, &format!("{row:?} is done, and not there"));
        }
    }

    fn is_directory(&self, host: HostId, path: &Path) -> bool {
        self.hosts[host.0].disk.saved_tree.directories.contains(path)
    }

    /// Whether a directory that was downloaded has what an entry of its manifest says.
    fn has_entry(&self, host: HostId, directory: &Path, entry: &ManifestEntry) -> bool {
        let path: PathBuf = directory.join(entry.path.to_string());
        match entry.kind {
            EntryKind::EmptyDirectory => self.is_directory(host, &path),
            EntryKind::File { b3, .. } => {
                self.hosts[host.0].disk.finished.get(&path).is_some_and(|content| content.b3() == b3)
            }
        }
    }
}

/// Whether a path has plain components alone, none of them hidden.
fn is_plain(path: &FileName) -> bool {
    path.as_bytes()
        .split(|&byte| byte == b'/')
        .all(|part| !part.is_empty() && part[0] != b'.' && part.len() <= COMPONENT_BYTES_MAX)
}

/// Whether a path beneath the directory of downloads is beneath the target of a directory.
fn is_beneath(whole: &PartSpec, base: &Path, path: &FileName) -> bool {
    let Target::Within { directory, path: root, .. } = &whole.target else { return false };
    directory == base && path.as_bytes().strip_prefix(root.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"))
}
