//! The memory that groups and pieces of streams are received in. What a worker has written is used again: fresh memory costs a page fault
//! and zeroing for every 4 KiB.

use crate::content::GROUP_BYTES;

/// The longest piece that is received in one buffer.
pub(crate) const PIECE_BYTES_MAX: usize = GROUP_BYTES as usize;

/// The first memory of a piece, unless there is a used buffer: a source that sends little is not given a mebibyte.
const FIRST_BYTES: usize = 64 << 10;

/// By how much a piece that needs more memory grows.
const GROWTH: usize = 4;

/// Used buffers that are kept: as many as two fetches fill, or have on their way to the disk.
const USED_MAX: usize = 6;

/// Buffers of [`PIECE_BYTES_MAX`] that are not in use.
#[derive(Debug, Default)]
pub(super) struct Buffers(Vec<Vec<u8>>);

impl Buffers {
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        self.0.pop()
    }

    /// Keeps a buffer, if it is as long as any piece and there are not enough.
    pub(super) fn give_back(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() >= PIECE_BYTES_MAX && self.0.len() < USED_MAX {
            buffer.resize(PIECE_BYTES_MAX, 0);
            self.0.push(buffer);
        }
    }

    pub(super) fn release(&mut self) {
        self.0 = Vec::new();
    }
}

/// A piece of at most [`PIECE_BYTES_MAX`] that is being received.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    buffer: Vec<u8>,
    /// How much of the buffer was received.
    len: usize,
}

impl From<Vec<u8>> for Piece {
    fn from(received: Vec<u8>) -> Self {
        Self { len: received.len(), buffer: received }
    }
}

impl Piece {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where the next bytes of a piece of `whole` bytes go, which is not complete. The piece begins with `used`, if that gives something.
    pub(crate) fn room(&mut self, whole: usize, used: impl FnOnce() -> Option<Vec<u8>>) -> &mut [u8] {
        if self.buffer.is_empty() && whole > FIRST_BYTES {
            self.buffer = used().unwrap_or_default();
        }
        if self.buffer.len() == self.len {
            let wanted = (self.len * GROWTH).max(FIRST_BYTES).min(whole);
            self.buffer.reserve_exact(wanted - self.len);
            self.buffer.resize(wanted, 0);
        }
        let end = self.buffer.len().min(whole);
        &mut self.buffer[self.len..end]
    }

    /// So many bytes were put there.
    pub(crate) fn fill(&mut self, count: usize) {
        self.len = self.buffer.len().min(self.len + count);
    }

    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.buffer.truncate(self.len);
        self.buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Receives a piece. Returns it, and how long its buffer was before each addition.
    fn receive(whole: usize, used: &mut Buffers) -> (Vec<u8>, Vec<usize>) {
        let (mut piece, mut lengths) = (Piece::default(), Vec::new());
        while piece.len() < whole {
            let room = piece.room(whole, || used.take());
            room.fill(7);
            let count = room.len();
            piece.fill(count);
            lengths.push(piece.buffer.len());
        }
        (piece.into_bytes(), lengths)
    }

    #[test]
    fn a_piece_takes_memory_as_it_grows_and_a_used_buffer_at_once() {
        let mut buffers = Buffers::default();
        let (piece, lengths) = receive(PIECE_BYTES_MAX, &mut buffers);
        assert_eq!(lengths, [64 << 10, 256 << 10, 1 << 20]);
        assert_eq!(piece, vec![7; PIECE_BYTES_MAX]);
        buffers.give_back(piece);
        let (piece, lengths) = receive(PIECE_BYTES_MAX - 1, &mut buffers);
        assert_eq!((piece.len(), lengths), (PIECE_BYTES_MAX - 1, vec![PIECE_BYTES_MAX]));
        buffers.give_back(piece);
        assert_eq!(receive(1000, &mut buffers).1, [1000], "a small piece leaves it to others");
        assert!(buffers.take().is_some_and(|buffer| buffer.len() == PIECE_BYTES_MAX) && buffers.take().is_none());
    }

    #[test]
    fn few_buffers_are_kept_and_none_after_a_release() {
        let mut buffers = Buffers::default();
        (0..100).for_each(|_| buffers.give_back(vec![0; PIECE_BYTES_MAX]));
        buffers.give_back(vec![0; 100]);
        assert_eq!(buffers.0.len(), USED_MAX);
        buffers.release();
        assert!(buffers.take().is_none());
    }

    #[test]
    fn a_piece_goes_on_after_bytes_from_elsewhere() {
        let mut piece = Piece::from(vec![1; 10]);
        piece.room(12, || None).copy_from_slice(&[2, 2]);
        piece.fill(2);
        assert_eq!(piece.into_bytes(), [[1; 10].as_slice(), &[2, 2]].concat());
    }
}
