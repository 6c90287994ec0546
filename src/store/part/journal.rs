//! The journal of a part file: which groups of which content are verified.
//!
//! ```text
//! header   magic, part file's inode, nonce, size, b3, chaining values, the groups verified when it was begun, seal
//! record   word (kind, number), check; 16 bytes, as many as follow
//! ```
//!
//! The seal is the BLAKE3 hash of the header before it: a torn header is no journal. A record's check covers the seal, the
//! record's index and its word: after a crash, an old record of another journal or position does not match. Reading stops
//! at the first record that does not match.
//!
//! A `Group` record is written after the group's data, but not synced: without a mark, the data are hashed again. A `Mark`
//! states that the data of all groups in the records before a number are synced: it is written after these data and records
//! were synced. No record removes a group: if one is found to be bad, a new journal is begun. So a journal that loses
//! its end never states more than before.

use crate::content::{ChainingValue, Groups, Outline, group_count};
use crate::fault::DiskFault;
use crate::id::ContentHash;
use crate::store::disk::{self, fault};
use crate::store::place::Place;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::sync::Arc;

/// The journal of 2 TiB, with every group recorded three times.
const JOURNAL_BYTES_MAX: u64 = 256 * 1024 * 1024;

const MAGIC: &[u8; 16] = b"pyrate-journal 1";

/// Bytes of the header before the chaining values.
const FIXED_BYTES: usize = MAGIC.len() + 8 + 8 + 8 + 32 + 8 + 8;

const SEAL_BYTES: usize = 32;

const RECORD_BYTES: usize = 16;

const KIND_SHIFT: u32 = 56;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    Group(u64),
    /// The data of the groups in the first records, up to this number, are synced.
    Mark(u64),
}

impl Record {
    fn word(self) -> u64 {
        let (kind, number) = match self {
            Self::Group(group) => (1, group),
            Self::Mark(records) => (2, records),
        };
        kind << KIND_SHIFT | number
    }

    fn from_word(word: u64) -> Option<Self> {
        let number = word & ((1 << KIND_SHIFT) - 1);
        match word >> KIND_SHIFT {
            1 => Some(Self::Group(number)),
            2 => Some(Self::Mark(number)),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Journal {
    /// A sync job uses it, too.
    file: Arc<File>,
    seal: [u8; SEAL_BYTES],
    header_bytes: u64,
    pub(super) records: u64,
}

impl Journal {
    /// Writes a journal under a temporary name. `base`: groups whose data are synced.
    /// Errors: as the system reports them; then it is removed.
    pub(super) fn create(place: &Place, inode: u64, outline: &Outline, base: &Groups) -> Result<Self, DiskFault> {
        // Random, as the standard library draws it for hash tables.
        let nonce = RandomState::new().hash_one(inode);
        let (bytes, seal) = encode_header(inode, nonce, outline, base);
        let file = place.replace_journal(|journal| journal.write(&bytes))?;
        Ok(Self { file: Arc::new(file), seal, header_bytes: bytes.len() as u64, records: 0 })
    }

    /// Replaces the old journal by this one.
    /// Errors: as the system reports them; then the old one stays, and the new one is removed.
    pub(super) fn install(&self, place: &Place) -> Result<(), DiskFault> {
        place.replace_journal(|journal| journal.install()).map_err(fault)
    }

    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Writes records. After an error the next call overwrites them.
    pub(super) fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(records.len() * RECORD_BYTES);
        for (index, record) in (self.records..).zip(records) {
            let word = record.word();
            bytes.extend_from_slice(&word.to_le_bytes());
            bytes.extend_from_slice(&check(&self.seal, index, word));
        }
        let at = self.header_bytes + self.records * RECORD_BYTES as u64;
        if let Err(error) = disk::write_at(&self.file, &bytes, at) {
            // Removes a part that may have been written. This may fail: the next record overwrites it, and no group counts
            // without its data.
            let _ = disk::set_len(&self.file, at);
            return Err(error);
        }
        self.records += records.len() as u64;
        Ok(())
    }
}

#[derive(Debug)]
pub(in crate::store) struct Loaded {
    /// Of the part file.
    pub(super) inode: u64,
    pub(in crate::store) outline: Arc<Outline>,
    /// Includes `unsynced`.
    pub(in crate::store) verified: Groups,
    /// Groups whose data may have been lost with the power, in the order of their records.
    pub(super) unsynced: Vec<u64>,
}

/// Reads a journal. `None` if it is invalid.
pub(in crate::store) fn load(file: &File) -> io::Result<Option<Loaded>> {
    let mut bytes = Vec::new();
    file.take(JOURNAL_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > JOURNAL_BYTES_MAX {
        return Ok(None);
    }
    Ok(decode(&bytes))
}

fn encode_header(inode: u64, nonce: u64, outline: &Outline, base: &Groups) -> (Vec<u8>, [u8; SEAL_BYTES]) {
    let chain = outline.chain();
    let base_bytes = if base.held() == 0 { 0 } else { base.count().div_ceil(8) };
    let mut bytes = Vec::with_capacity(FIXED_BYTES + chain.len() * 32 + base_bytes as usize + SEAL_BYTES);
    bytes.extend_from_slice(MAGIC);
    for number in [inode, nonce, outline.size()] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&outline.b3().0);
    for number in [chain.len() as u64, base_bytes] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    chain.iter().for_each(|value| bytes.extend_from_slice(&value.0));
    let eight = |at: u64| (0..8).fold(0, |byte, bit| byte | u8::from(base.contains(at * 8 + bit)) << bit);
    bytes.extend((0..base_bytes).map(eight));
    let seal = *blake3::hash(&bytes).as_bytes();
    bytes.extend_from_slice(&seal);
    (bytes, seal)
}

fn decode(bytes: &[u8]) -> Option<Loaded> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let (inode, _nonce, size) = (number(&mut rest)?, number(&mut rest)?, number(&mut rest)?);
    let b3 = ContentHash(array(&mut rest)?);
    let (chain_len, base_bytes) = (number(&mut rest)?, number(&mut rest)?);
    let count = group_count(size);
    if chain_len != (if count > 1 { count } else { 0 }) || (base_bytes != 0 && base_bytes != count.div_ceil(8)) {
        return None;
    }
    let chain_bytes = rest.split_off(..usize::try_from(chain_len.checked_mul(32)?).ok()?)?;
    let base = rest.split_off(..usize::try_from(base_bytes).ok()?)?;
    let seal: [u8; SEAL_BYTES] = array(&mut rest)?;
    let header = &bytes[..bytes.len() - rest.len() - SEAL_BYTES];
    if *blake3::hash(header).as_bytes() != seal {
        return None;
    }
    let chain = chain_bytes.as_chunks::<32>().0.iter().map(|value| ChainingValue(*value)).collect();
    let outline = Arc::new(Outline::new(b3, size, chain).ok()?);
    let mut verified = Groups::none(count);
    for (at, byte) in (0..).zip(base) {
        for bit in (0..8).filter(|bit| byte >> bit & 1 == 1) {
            verified.insert(at * 8 + bit);
        }
    }
    // With the index of the record.
    let mut unsynced: Vec<(u64, u64)> = Vec::new();
    for (index, bytes) in (0..).zip(rest.as_chunks::<RECORD_BYTES>().0) {
        match read_record(&seal, index, bytes) {
            Some(Record::Group(group)) if group < count => {
                if verified.insert(group) {
                    unsynced.push((index, group));
                }
            }
            Some(Record::Mark(records)) if records <= index => unsynced.retain(|(index, _)| *index >= records),
            _ => break,
        }
    }
    let unsynced = unsynced.into_iter().map(|(_, group)| group).collect();
    Some(Loaded { inode, outline, verified, unsynced })
}

fn read_record(seal: &[u8; SEAL_BYTES], index: u64, mut bytes: &[u8]) -> Option<Record> {
    let word = number(&mut bytes)?;
    if check(seal, index, word) == bytes { Record::from_word(word) } else { None }
}

fn check(seal: &[u8; SEAL_BYTES], index: u64, word: u64) -> [u8; 8] {
    let mut bytes = [0; SEAL_BYTES + 16];
    bytes[..SEAL_BYTES].copy_from_slice(seal);
    bytes[SEAL_BYTES..SEAL_BYTES + 8].copy_from_slice(&index.to_le_bytes());
    bytes[SEAL_BYTES + 8..].copy_from_slice(&word.to_le_bytes());
    let mut check = [0; 8];
    check.copy_from_slice(&blake3::hash(&bytes).as_bytes()[..8]);
    check
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    array(rest).map(u64::from_le_bytes)
}

fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}
