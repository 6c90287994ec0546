//! Manifests of directories that users have given: files of the state directory, each named after its hash.
//!
//! Without a state directory they stay in memory.

use super::Disk;
use super::job::{Done, Key, Lane};
use crate::content::Manifest;
use crate::fault::DiskFault;
use crate::id::{ContentHash, TransferId};
use crate::node::contract::{DownloadRecord, ManifestOrder, RecordKind};
use crate::store::StateDirectory;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// How the names of the files begin.
const BEGINNING: &str = "manifest-";

#[derive(Default)]
pub(super) struct KeptManifests {
    /// Without a state directory.
    in_memory: BTreeMap<ContentHash, Vec<u8>>,
}

impl KeptManifests {
    pub(super) fn on_removed(outcome: io::Result<()>) {
        if let Err(error) = outcome {
            log::warn!(error:%; "cannot remove manifests that no download needs; the next start tries it again");
        }
    }
}

fn file_of(b3: ContentHash) -> String {
    format!("{BEGINNING}{b3}")
}

/// What is not the manifest of its name is damaged.
fn check(text: Option<Vec<u8>>, b3: ContentHash) -> Result<Box<Manifest>, DiskFault> {
    let manifest = Manifest::parse(&text.ok_or(DiskFault::Missing)?).map_err(|_| DiskFault::Changed)?;
    if manifest.b3 == b3 { Ok(Box::new(manifest)) } else { Err(DiskFault::Changed) }
}

impl Disk {
    pub(crate) fn order_manifest(&mut self, b3: ContentHash, order: ManifestOrder) {
        match order {
            ManifestOrder::Keep { download, text } => self.keep_manifest(download, b3, text),
            ManifestOrder::Read { download } => self.read_manifest(download, b3),
            ManifestOrder::Drop => self.drop_manifest(b3),
        }
    }

    fn keep_manifest(&mut self, download: TransferId, b3: ContentHash, text: Vec<u8>) {
        let state = self.state.directory().map(StateDirectory::share);
        if state.is_none() {
            self.manifests.in_memory.insert(b3, text.clone());
        }
        let work = move || state.map_or(Ok(()), |state| state.write(&file_of(b3), &text).map_err(DiskFault::from));
        let done = move |outcome| Done::ManifestKept(download, outcome);
        self.jobs.submit((Lane::State, Key::KeepManifest(download)), done, Err(DiskFault::Internal), work);
    }

    fn read_manifest(&mut self, download: TransferId, b3: ContentHash) {
        let state = self.state.directory().map(StateDirectory::share);
        let kept = self.manifests.in_memory.get(&b3).cloned();
        let work = move || check(state.map_or(Ok(kept), |state| state.read(&file_of(b3)))?, b3);
        let done = move |outcome| Done::ManifestRead(download, outcome);
        self.jobs.submit((Lane::State, Key::ReadManifest(download)), done, Err(DiskFault::Internal), work);
    }

    fn drop_manifest(&mut self, b3: ContentHash) {
        self.manifests.in_memory.remove(&b3);
        if let Some(state) = self.state.directory().map(StateDirectory::share) {
            let lost = Err(io::ErrorKind::Other.into());
            let work = move || state.remove(&file_of(b3));
            self.jobs.submit((Lane::State, Key::DropManifest(b3)), Done::ManifestsRemoved, lost, work);
        }
    }

    /// Removes those that a crash has left without a record that names them. A record that cannot be read may name any.
    pub(super) fn remove_unneeded_manifests(&mut self, records: &[DownloadRecord]) {
        if self.records.has_unread() {
            return;
        }
        let Some(state) = self.state.directory().map(StateDirectory::share) else { return };
        let is_directory = |record: &&DownloadRecord| matches!(record.kind, RecordKind::Directory { .. });
        let needed: BTreeSet<String> =
            records.iter().filter(is_directory).filter_map(|record| record.b3.map(file_of)).collect();
        let lost = Err(io::ErrorKind::Other.into());
        let work = move || state.retain(BEGINNING, |name| needed.contains(name));
        self.jobs.submit((Lane::State, Key::Manifests), Done::ManifestsRemoved, lost, work);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_the_manifest_of_its_name_is_damaged() {
        let text = b"pyrate-manifest 1\nend 0\n".to_vec();
        let b3 = Manifest::parse(&text).unwrap().b3;
        assert_eq!(check(Some(text.clone()), b3).unwrap().b3, b3);
        assert_eq!(check(Some(text.clone()), ContentHash([7; 32])), Err(DiskFault::Changed));
        assert_eq!(check(Some(text[..9].to_vec()), b3), Err(DiskFault::Changed));
        assert_eq!(check(None, b3), Err(DiskFault::Missing));
    }
}
