//! Payload on its way in: a peer list, a file list, a file.

use super::{Context, PROGRESS_INTERVAL, Parts, STEP_BYTES_MAX};
use crate::fault::DialFault;
use crate::id::{ExchangeId, TransferId};
use crate::node::Event;
use crate::node::contract::Response;
use crate::time::Instant;
use crate::wire::{FileListReader, PeerListReader};

/// Longest file list taken, in bytes; what is beyond is cut off and said to be.
const LISTING_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Rows of one [`Event::ListBatch`].
const BATCH_ROWS_MAX: usize = 1000;

/// Bytes of a list that one step reads: parsing costs more than copying.
const LIST_STEP_BYTES_MAX: usize = 32 * 1024;

/// A payload that is being received.
pub(super) enum Incoming {
    /// A peer list.
    Peers(PeerListReader),
    /// A file list.
    Files { reader: FileListReader, fin: bool },
    /// A file.
    File { part: Part, bytes: u64, reported: u64, reported_at: Instant },
}

/// The part file that a file goes into.
#[derive(Debug, Clone, Copy)]
pub(in crate::driver) struct Part {
    /// Whose it is.
    pub(in crate::driver) download: TransferId,
    /// The most that is taken, if the source promised a size.
    pub(in crate::driver) size_max: Option<u64>,
}

/// What received bytes came to.
pub(super) enum Taken {
    /// Read on.
    More,
    /// Tell the node, then go on.
    Report(Event),
    /// The response is as long as we take it.
    Enough(Response),
}

impl Incoming {
    /// Begins a file: empties the part file.
    pub(super) fn file(part: Part, parts: &mut Parts, now: Instant) -> Result<Self, DialFault> {
        parts.get_mut(&part.download).ok_or(DialFault::Aborted)?.restart()?;
        Ok(Self::File { part, bytes: 0, reported: 0, reported_at: now })
    }

    /// When bytes that came are to be told at the latest, though no more come.
    pub(super) fn report_due(&self) -> Option<Instant> {
        match self {
            Self::File { bytes, reported, reported_at, .. } if bytes != reported => {
                Some(*reported_at + PROGRESS_INTERVAL)
            }
            _ => None,
        }
    }

    /// Bytes to read at most in one step.
    pub(super) fn step_bytes_max(&self) -> usize {
        match self {
            Self::File { .. } => STEP_BYTES_MAX,
            _ => LIST_STEP_BYTES_MAX,
        }
    }

    /// Takes bytes, at least one.
    pub(super) fn take(&mut self, bytes: &[u8], parts: &mut Parts) -> Result<(), DialFault> {
        match self {
            Self::Peers(reader) => reader.push(bytes).map_err(|_| DialFault::TooLong),
            Self::Files { reader, .. } => {
                reader.push(bytes);
                Ok(())
            }
            Self::File { part: Part { download, size_max }, bytes: written, .. } => {
                if size_max.is_some_and(|max| bytes.len() as u64 > max.saturating_sub(*written)) {
                    return Err(DialFault::TooLong);
                }
                parts.get_mut(download).ok_or(DialFault::Aborted)?.append(bytes)?;
                *written += bytes.len() as u64;
                Ok(())
            }
        }
    }

    /// Whether there is something to tell before more is read.
    pub(super) fn poll(&mut self, exchange: ExchangeId, cx: &Context<'_>) -> Taken {
        match self {
            Self::Peers(_) => Taken::More,
            Self::Files { reader, fin } => {
                let files = reader.next_batch(BATCH_ROWS_MAX);
                if !files.is_empty() {
                    return Taken::Report(Event::ListBatch { exchange, files });
                }
                if *fin || reader.bytes() <= LISTING_BYTES_MAX {
                    return Taken::More;
                }
                Taken::Enough(Response::FileList { truncated: true })
            }
            Self::File { bytes, reported, reported_at, .. } => {
                // The first bytes are told at once: a reset after them is not the peer's refusal.
                let lately = *reported > 0 && cx.now.saturating_since(*reported_at) < PROGRESS_INTERVAL;
                if bytes == reported || lately {
                    return Taken::More;
                }
                *reported = *bytes;
                *reported_at = cx.now;
                Taken::Report(Event::FetchProgress { exchange, bytes: *bytes })
            }
        }
    }

    /// FIN came: what is left to tell, or the response.
    pub(super) fn on_fin(&mut self, exchange: ExchangeId, cx: &Context<'_>) -> Result<Taken, DialFault> {
        match self {
            Self::Peers(reader) => {
                let peers = std::mem::take(reader).finish().map_err(|_| DialFault::Malformed)?;
                Ok(Taken::Enough(Response::PeerList(peers)))
            }
            Self::Files { reader, fin } => {
                if !*fin {
                    *fin = true;
                    reader.finish();
                }
                Ok(match self.poll(exchange, cx) {
                    Taken::More => Taken::Enough(Response::FileList { truncated: false }),
                    other => other,
                })
            }
            Self::File { bytes, .. } => Ok(Taken::Enough(Response::File { bytes: *bytes })),
        }
    }
}
