//! Bytes to a manifest, in pieces of any size. They come from others, and nothing of them is believed before it was checked.

use super::order::PathOrder;
use super::{
    EntryKind, HEAD, LineFault, MANIFEST_BYTES_MAX, MANIFEST_ENTRIES_MAX, Manifest, ManifestEntry, ManifestFault,
    VERSION,
};
use crate::content::ContentHasher;
use crate::id::ContentHash;
use crate::lines::Lines;
use crate::name::{FILE_NAME_BYTES_MAX, FileName};

/// The longest line: a letter, a size of 20 digits, a hash and a path, with spaces between them.
const LINE_BYTES_MAX: usize = 1 + 1 + 20 + 1 + 64 + 1 + FILE_NAME_BYTES_MAX;

/// Reads a manifest. What it costs to take a piece grows with the piece alone.
#[derive(Debug, Default)]
pub struct ManifestReader {
    lines: Lines,
    line: usize,
    hasher: ContentHasher,
    order: PathOrder,
    entries: Vec<ManifestEntry>,
    files: u64,
    bytes: u64,
    is_over: bool,
}

impl ManifestReader {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// If they cannot be those of a manifest, or go beyond a limit. It must not be used after that.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ManifestFault> {
        if self.hasher.size().saturating_add(bytes.len() as u64) > MANIFEST_BYTES_MAX as u64 {
            return Err(ManifestFault::TooLarge);
        }
        self.hasher.update(bytes);
        let mut lines = std::mem::take(&mut self.lines);
        lines.push(bytes);
        while let Some(line) = lines.next(LINE_BYTES_MAX) {
            self.line += 1;
            match line {
                Ok(line) => self.take(line)?,
                Err(_) if self.line == 1 => return Err(ManifestFault::NoManifest),
                Err(_) => return Err(self.fault(LineFault::TooLong)),
            }
        }
        if self.is_over && !lines.rest().is_empty() {
            return Err(self.fault(LineFault::AfterEnd));
        }
        self.lines = lines;
        Ok(())
    }

    /// Bytes taken so far.
    pub fn bytes(&self) -> u64 {
        self.hasher.size()
    }

    /// The manifest, if all of it has come.
    ///
    /// # Errors
    /// If it was cut.
    pub fn finish(self) -> Result<Manifest, ManifestFault> {
        if !self.is_over {
            return Err(if self.line == 0 { ManifestFault::NoManifest } else { ManifestFault::Cut });
        }
        let Self { entries, files, bytes, hasher, .. } = self;
        Ok(Manifest { entries, files, bytes, b3: hasher.finish().0 })
    }

    fn fault(&self, fault: LineFault) -> ManifestFault {
        ManifestFault::Line { line: self.line, fault }
    }

    fn take(&mut self, line: &[u8]) -> Result<(), ManifestFault> {
        if self.line == 1 {
            return read_head(line);
        }
        if self.is_over {
            return Err(self.fault(LineFault::AfterEnd));
        }
        if let Some(count) = line.strip_prefix(b"end ") {
            self.is_over = number(count) == Some(self.entries.len() as u64);
            return if self.is_over { Ok(()) } else { Err(self.fault(LineFault::Count)) };
        }
        let entry = self.read_entry(line).map_err(|fault| self.fault(fault))?;
        if self.entries.len() >= MANIFEST_ENTRIES_MAX {
            return Err(ManifestFault::TooManyEntries);
        }
        if let EntryKind::File { size, .. } = entry.kind {
            self.files += 1;
            self.bytes = self.bytes.checked_add(size).ok_or(ManifestFault::TooManyBytes)?;
        }
        self.entries.push(entry);
        Ok(())
    }

    fn read_entry(&mut self, line: &[u8]) -> Result<ManifestEntry, LineFault> {
        let (kind, path) = match line {
            [b'd', b' ', path @ ..] => (EntryKind::EmptyDirectory, path),
            [letter @ (b'f' | b'x'), b' ', rest @ ..] => {
                let mut fields = rest.splitn(3, |&byte| byte == b' ');
                let size = fields.next().and_then(number).ok_or(LineFault::Size)?;
                let b3 = fields.next().and_then(hash).ok_or(LineFault::Hash)?;
                let path = fields.next().ok_or(LineFault::Path)?;
                (EntryKind::File { size, b3, executable: *letter == b'x' }, path)
            }
            _ => return Err(LineFault::Form),
        };
        Ok(ManifestEntry { path: self.order.take(path)?, kind })
    }
}

fn read_head(line: &[u8]) -> Result<(), ManifestFault> {
    let version = line.strip_prefix(HEAD).ok_or(ManifestFault::NoManifest)?;
    if version == VERSION {
        return Ok(());
    }
    let is_number = version.len() <= 9 && version.iter().all(u8::is_ascii_digit);
    let later = FileName::from_bytes(version).filter(|_| is_number);
    Err(later.map_or(ManifestFault::NoManifest, ManifestFault::Version))
}

/// A number in its only form: digits alone, without leading zeros.
fn number(digits: &[u8]) -> Option<u64> {
    let text = str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    let number: u64 = text.parse().ok()?;
    (text == "0" || !text.starts_with('0')).then_some(number)
}

/// A hash in its only form.
fn hash(hex: &[u8]) -> Option<ContentHash> {
    ContentHash::from_hex(hex).filter(|_| !hex.iter().any(u8::is_ascii_uppercase))
}
