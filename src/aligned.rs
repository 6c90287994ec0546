//! Memory for bytes that the system brings: from files and from sockets.
//!
//! Large memory of malloc(3), as a `Vec` has it, begins 16 bytes after the beginning of a page. Linux copies by `rep movsb`, and processors of AMD
//! with FSRM take eight times as long for that if the target begins 1 to 31 bytes further in its page than the source does:
//! 0.6 to 0.7 s for a GiB from the page cache, instead of 0.08 (Zen 3). So what is read in large pieces is read to here.

use std::ops::{Deref, DerefMut};

/// What the memory is aligned to.
const LINE: usize = 64;

/// Bytes that begin at a multiple of 64.
#[derive(Debug, Default)]
pub(crate) struct Aligned {
    memory: Vec<u8>,
    /// Where they begin in it.
    from: usize,
}

impl Aligned {
    pub(crate) fn zeroed(len: usize) -> Self {
        let mut memory = vec![0; len + LINE - 1];
        let from = memory.as_ptr().addr().wrapping_neg() % LINE;
        memory.truncate(from + len);
        Self { memory, from }
    }

    /// As many as these, in whole multiples of 64, may be here without other memory.
    pub(crate) fn capacity(&self) -> usize {
        self.memory.capacity().saturating_sub(self.from) / LINE * LINE
    }

    /// Keeps the first `len` bytes, or adds zeros.
    pub(crate) fn resize(&mut self, len: usize) {
        if self.from + len <= self.memory.capacity() {
            return self.memory.resize(self.from + len, 0);
        }
        let mut more = Self::zeroed(len);
        more[..self.len()].copy_from_slice(self);
        *self = more;
    }
}

impl Deref for Aligned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.from..]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.from..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_length_are_aligned_and_stay_so_while_they_grow() {
        let mut many = Vec::new();
        for len in [0, 1, 63, 64, 4_096, 100_000, 128 << 10, 256 << 10, 1 << 20] {
            let mut bytes = Aligned::default();
            for so_far in [len / 3, len, len / 2, len + 7] {
                let before = bytes.to_vec();
                bytes.resize(so_far);
                assert_eq!(bytes.len(), so_far);
                assert!(so_far == 0 || bytes.as_ptr().addr() % LINE == 0);
                let kept = before.len().min(so_far);
                assert!(bytes[..kept] == before[..kept] && bytes[kept..].iter().all(|byte| *byte == 0));
                bytes.fill(7);
            }
            let fresh = Aligned::zeroed(len);
            assert_eq!((fresh.len(), fresh.as_ptr().addr() % LINE), (len, 0));
            assert!(!len.is_multiple_of(LINE) || fresh.capacity() == len, "{} of {len}", fresh.capacity());
            many.push((bytes, fresh));
        }
    }
}
