//! A fetch whose bytes are appended to the part file, unverified. They are collected, and go to a worker while more is received.

use crate::driver::open_parts::{Data, OpenParts, PIECE_BYTES_MAX, Piece, Write, WriteFault};
use crate::fault::DialFault;
use crate::id::{ExchangeId, TransferId};

/// Writes of one fetch that may be on their way while more is received.
const WRITES_MAX: usize = 2;

pub(super) struct Streamed {
    exchange: ExchangeId,
    download: TransferId,
    /// The most bytes that the stream may have.
    size_max: Option<u64>,
    received: u64,
    piece: Piece,
    /// The part file has the beginning of the stream, or will have it.
    has_begun: bool,
    /// Writes on their way.
    writes: usize,
    fault: Option<DialFault>,
}

impl Streamed {
    pub(super) fn new(exchange: ExchangeId, download: TransferId, size_max: Option<u64>) -> Self {
        let (received, piece) = (0, Piece::default());
        Self { exchange, download, size_max, received, piece, has_begun: false, writes: 0, fault: None }
    }

    pub(super) fn is_writing(&self) -> bool {
        self.writes > 0
    }

    /// Whether nothing is to be received until something is written, of this fetch or of others to the same disk.
    /// Errors: What could not be written.
    pub(super) fn waits_for_disk(&self, parts: &OpenParts) -> Result<bool, DialFault> {
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(self.writes >= WRITES_MAX || parts.is_behind(self.download)),
        }
    }

    pub(super) fn on_written(&mut self, outcome: Result<(), WriteFault>) {
        self.writes = self.writes.saturating_sub(1);
        if let Err(WriteFault::Disk(fault)) = outcome {
            self.fault.get_or_insert(DialFault::Disk(fault));
        }
    }

    /// Where the next bytes are to be read to.
    pub(super) fn room(&mut self, parts: &mut OpenParts) -> &mut [u8] {
        self.piece.room(PIECE_BYTES_MAX, || parts.used_buffer())
    }

    /// So many bytes were read to there.
    pub(super) fn take(&mut self, count: usize, parts: &mut OpenParts) -> Result<(), DialFault> {
        self.received += count as u64;
        if self.size_max.is_some_and(|max| self.received > max) {
            return Err(DialFault::TooLong);
        }
        self.piece.fill(count);
        if self.piece.len() >= PIECE_BYTES_MAX {
            self.flush(parts);
        }
        Ok(())
    }

    /// Writes what is collected. An empty stream is begun by that, too.
    pub(super) fn flush(&mut self, parts: &mut OpenParts) {
        if self.has_begun && self.piece.len() == 0 {
            return;
        }
        let (begins, bytes) =
            (!std::mem::replace(&mut self.has_begun, true), std::mem::take(&mut self.piece).into_bytes());
        let data = Data::Stream { begins, bytes };
        parts.write(Write { download: self.download, exchange: Some(self.exchange), data });
        self.writes += 1;
    }
}
