//! A manifest to bytes, an entry at a time.

use super::order::PathOrder;
use super::{EntryKind, HEAD, LineFault, MANIFEST_BYTES_MAX, MANIFEST_ENTRIES_MAX, Manifest, ManifestFault, VERSION};
use crate::content::{ChainingValue, ContentHasher};
use crate::id::ContentHash;
use std::io::Write;
use std::rc::Rc;

/// Room for the last line.
const END_BYTES: usize = "end 10000\n".len();

#[derive(Debug)]
pub struct ManifestWriter {
    text: Vec<u8>,
    hasher: ContentHasher,
    order: PathOrder,
    entries: usize,
    files: u64,
    bytes: u64,
}

/// A manifest, and what it is as a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenManifest {
    /// The bytes, which all who are sent them share.
    pub text: Rc<Vec<u8>>,
    pub b3: ContentHash,
    /// Of its groups, if it has at least two.
    pub(crate) chain: Vec<ChainingValue>,
    pub files: u64,
    /// Of all files together.
    pub bytes: u64,
}

impl Default for ManifestWriter {
    fn default() -> Self {
        let mut writer = Self {
            text: Vec::new(),
            hasher: ContentHasher::default(),
            order: PathOrder::default(),
            entries: 0,
            files: 0,
            bytes: 0,
        };
        writer.line(write_head);
        writer
    }
}

impl ManifestWriter {
    /// Adds an entry. The paths must ascend, byte by byte.
    ///
    /// # Errors
    /// If a reader would refuse the manifest. It must not be used after that.
    pub fn push(&mut self, path: &[u8], kind: EntryKind) -> Result<(), ManifestFault> {
        let line = self.entries + 2;
        self.order.take(path).map_err(|fault: LineFault| ManifestFault::Line { line, fault })?;
        if self.entries >= MANIFEST_ENTRIES_MAX {
            return Err(ManifestFault::TooManyEntries);
        }
        self.entries += 1;
        if let EntryKind::File { size, .. } = kind {
            self.files += 1;
            self.bytes = self.bytes.checked_add(size).ok_or(ManifestFault::TooManyBytes)?;
        }
        self.line(|text| write_entry(text, path, kind));
        if self.text.len() + END_BYTES > MANIFEST_BYTES_MAX { Err(ManifestFault::TooLarge) } else { Ok(()) }
    }

    pub fn finish(mut self) -> WrittenManifest {
        let count = self.entries;
        self.line(|text| write_end(text, count));
        let (b3, chain) = self.hasher.finish();
        WrittenManifest { text: Rc::new(self.text), b3, chain, files: self.files, bytes: self.bytes }
    }

    fn line(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.text.len();
        write(&mut self.text);
        self.text.push(b'\n');
        self.hasher.update(&self.text[start..]);
    }
}

impl Manifest {
    /// The bytes that it was read from: there is one form of each. Takes about 3 ms for the largest.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut line = |write: &dyn Fn(&mut Vec<u8>)| {
            write(&mut text);
            text.push(b'\n');
        };
        line(&write_head);
        self.entries.iter().for_each(|entry| line(&|text| write_entry(text, entry.path.as_bytes(), entry.kind)));
        line(&|text| write_end(text, self.entries.len()));
        text
    }
}

fn write_head(text: &mut Vec<u8>) {
    text.extend_from_slice(HEAD);
    text.extend_from_slice(VERSION);
}

fn write_entry(text: &mut Vec<u8>, path: &[u8], kind: EntryKind) {
    // Writing to a vector cannot fail.
    let _ = match kind {
        EntryKind::File { size, b3, executable } => {
            write!(text, "{} {size} {b3} ", if executable { 'x' } else { 'f' })
        }
        EntryKind::EmptyDirectory => write!(text, "d "),
    };
    text.extend_from_slice(path);
}

fn write_end(text: &mut Vec<u8>, entries: usize) {
    drop(write!(text, "end {entries}"));
}
