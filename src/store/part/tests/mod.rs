//! Tests of part files on a real filesystem, and after crashes.

mod checking;
mod claims;
mod copying;
mod costs;
mod crashes;
mod failing;
mod final_names;
mod groups;
mod opening;
mod streams;
mod within;

use super::*;
use crate::content::{ContentHasher, GROUP_BYTES, group_span};
use crate::name::FileName;
use crate::part::{CheckedPart, Target};
use crate::store::tests::recorder;
use std::fs::{self, File};
use tempfile::TempDir;

const TOKEN: u32 = 0xa1b2_c3d4;

fn scratch() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn name(bytes: impl AsRef<[u8]>) -> FileName {
    FileName::from_bytes(bytes.as_ref()).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// For `a.txt` in a directory.
fn suggested(directory: &Path) -> PartRequest {
    towards(Target::Suggested { directory: directory.to_owned(), name: name("a.txt") })
}

/// For an exact path.
pub(in crate::store) fn exact(path: &Path) -> PartRequest {
    towards(Target::Exact { path: path.to_owned(), name: name("a.txt") })
}

fn towards(target: Target) -> PartRequest {
    let spec = PartSpec { target, token: TOKEN, filesystem: None };
    PartRequest { spec, b3: None, size: None, known: Arc::default() }
}

impl PartRequest {
    pub(in crate::store) fn token(self, token: u32) -> Self {
        Self { spec: PartSpec { token, ..self.spec }, ..self }
    }

    fn on(self, filesystem: FilesystemId) -> Self {
        Self { spec: PartSpec { filesystem: Some(filesystem), ..self.spec }, ..self }
    }

    pub(in crate::store) fn wanting(self, content: &Content) -> Self {
        Self { b3: Some(content.outline.b3()), size: Some(content.bytes.len() as u64), ..self }
    }

    pub(in crate::store) fn ready(self) -> PartFile {
        match self.open() {
            Ok(PartOpened::Ready(part)) => part,
            other => panic!("{other:?}"),
        }
    }

    fn fault(self) -> DiskFault {
        self.open().unwrap_err()
    }
}

/// A stream that holds these bytes.
fn stream(request: PartRequest, bytes: &[u8]) -> PartFile {
    let mut part = request.ready();
    part.append(bytes).unwrap();
    part
}

/// Some bytes and their outline.
#[derive(Debug, Clone)]
pub(in crate::store) struct Content {
    bytes: Vec<u8>,
    pub(in crate::store) outline: Arc<Outline>,
}

impl Content {
    fn new(bytes: Vec<u8>) -> Self {
        let mut hasher = ContentHasher::default();
        hasher.update(&bytes);
        let (b3, chain) = hasher.finish();
        let outline = Arc::new(Outline::new(b3, bytes.len() as u64, chain).unwrap());
        Self { bytes, outline }
    }

    /// Groups of which the last is short; every byte differs from that of another seed, the length does not.
    pub(in crate::store) fn of(groups: u64, seed: u8) -> Self {
        let size = (groups - 1) * GROUP_BYTES + 1000;
        Self::new((0..size).map(|at| (at % 253) as u8 ^ (at >> 16) as u8 ^ seed).collect())
    }

    /// The same hash and chaining values with a false size.
    fn claimed(&self, size: u64) -> Arc<Outline> {
        Arc::new(Outline::new(self.outline.b3(), size, self.outline.chain().to_vec()).unwrap())
    }

    /// A false size without chaining values.
    fn claimed_small(&self, size: u64) -> Arc<Outline> {
        Arc::new(Outline::new(self.outline.b3(), size, Vec::new()).unwrap())
    }

    fn group(&self, group: u64) -> &[u8] {
        let span = group_span(self.bytes.len() as u64, group);
        &self.bytes[span.start as usize..span.end as usize]
    }
}

impl PartFile {
    pub(in crate::store) fn put(&mut self, content: &Content, group: u64) -> bool {
        self.write_group(group, content.group(group)).unwrap()
    }

    pub(in crate::store) fn held(&self) -> Vec<u64> {
        (0..self.verified().count()).filter(|&group| self.verified().contains(group)).collect()
    }

    fn check(&mut self) -> CheckedPart {
        let mut check = self.begin_check().unwrap();
        loop {
            if let Some(checked) = check.step(self, 300_000).unwrap() {
                return checked;
            }
        }
    }

    pub(in crate::store) fn sync(&mut self) -> bool {
        let Some(job) = self.sync_job(true) else { return false };
        let synced = job.run().unwrap();
        self.synced(synced).unwrap();
        true
    }

    pub(in crate::store) fn part_path(&self) -> PathBuf {
        self.place.path_of(&self.place.part_name())
    }

    fn journal_path(&self) -> PathBuf {
        self.place.path_of(&self.place.journal_name())
    }
}

#[test]
fn parts_and_their_jobs_may_go_to_helper_threads() {
    fn is_send<T: Send>() {}
    is_send::<PartRequest>();
    is_send::<PartFile>();
    is_send::<SyncJob>();
    is_send::<Synced>();
    is_send::<CommitJob>();
}
