//! Content to share, and what lies in a directory.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Random numbers from a seed that a failing test shows; `PYRATE_TEST_SEED` replays it.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Self {
        Self::replayed_by("PYRATE_TEST_SEED")
    }

    /// As [`Self::new`], with a variable of its own.
    pub(crate) fn replayed_by(variable: &str) -> Self {
        let seed = match std::env::var(variable) {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is a number")),
            Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64,
        };
        println!("{variable}={seed}");
        Self(seed | 1)
    }

    /// The next number (xorshift64*).
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    /// So many random bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.roll().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// Every file and link below a directory, hidden ones too, by path relative to it.
pub(crate) fn relative_files(root: &Path) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("the directory can be read") {
            let entry = entry.expect("the directory can be read");
            if entry.file_type().expect("the entry has a type").is_dir() {
                open.push(entry.path());
            } else {
                let path = entry.path();
                found.insert(path.strip_prefix(root).expect("below the root").as_os_str().as_bytes().to_vec());
            }
        }
    }
    found
}
