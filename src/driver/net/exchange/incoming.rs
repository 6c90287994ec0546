//! Payload on its way in: a peer list, a file list, a file or parts of it, metadata.

use super::checked::{Checked, Part};
use super::{Context, PROGRESS_INTERVAL, Parts, STEP_BYTES_MAX};
use crate::driver::open_parts::Remains;
use crate::fault::DialFault;
use crate::id::{ContentHash, ExchangeId, TransferId};
use crate::node::Event;
use crate::node::contract::{Portion, Response};
use crate::store::OutlineRefused;
use crate::time::Instant;
use crate::wire::{FileInfoReader, FileListReader, MetadataFault, MetadataReader, PeerListReader};
use std::sync::Arc;

/// Longest file list taken, in bytes; what is beyond is cut off and said to be.
const LISTING_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Rows of one [`Event::ListBatch`].
const BATCH_ROWS_MAX: usize = 1000;

/// Bytes of a list that one step reads: parsing costs more than copying.
const LIST_STEP_BYTES_MAX: usize = 32 * 1024;

pub(super) enum Incoming {
    Peers(PeerListReader),
    Files {
        reader: FileListReader,
        fin: bool,
    },
    /// A file, or groups of it.
    File {
        bytes: u64,
        reported: u64,
        reported_at: Instant,
        sink: Sink,
    },
    /// Metadata for the outline of a part file.
    Metadata {
        reader: MetadataReader,
        download: TransferId,
        reported: u64,
        reported_at: Instant,
    },
    /// The first line of metadata, and what it says once it is whole.
    FileInfo {
        reader: FileInfoReader,
        said: Option<(u64, ContentHash)>,
    },
}

pub(super) enum Sink {
    /// Into the part file as they come, with nothing to check them against.
    Stream { download: TransferId, size_max: Option<u64> },
    /// Into the part file group by group, checked.
    Checked(Checked),
}

pub(super) enum Taken {
    More,
    /// Tell the node, then go on.
    Report(Event),
    /// The response is as long as we take it.
    Enough(Response),
}

impl Incoming {
    pub(super) fn file(part: &Part, parts: &mut Parts, now: Instant) -> Result<Self, DialFault> {
        let download = part.download;
        let sink = match &part.portion {
            Portion::Stream { size_max } => {
                parts.get_mut(&download).ok_or(DialFault::Aborted)?.restart()?;
                Sink::Stream { download, size_max: *size_max }
            }
            Portion::Whole | Portion::Groups(_) => Sink::Checked(Checked::begin(part, parts)?),
        };
        Ok(Self::File { bytes: 0, reported: 0, reported_at: now, sink })
    }

    pub(super) fn metadata(download: TransferId, wanted: Option<ContentHash>, now: Instant) -> Self {
        Self::Metadata { reader: MetadataReader::new(wanted), download, reported: 0, reported_at: now }
    }

    /// Whether it counts towards the limit of downloads.
    pub(super) fn is_paced(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// Lets a fetch of groups end earlier.
    pub(super) fn trim(&mut self, groups_end: u64) {
        if let Self::File { sink: Sink::Checked(checked), .. } = self {
            checked.trim(groups_end);
        }
    }

    pub(super) fn checked_download(&self) -> Option<TransferId> {
        match self {
            Self::File { sink: Sink::Checked(checked), .. } => Some(checked.download()),
            _ => None,
        }
    }

    pub(super) fn into_remains(self) -> Remains {
        match self {
            Self::File { sink: Sink::Checked(checked), .. } => checked.into_remains(),
            _ => Remains::Nothing,
        }
    }

    /// When received bytes are reported at the latest, though no more come.
    pub(super) fn report_due(&self) -> Option<Instant> {
        match self {
            Self::File { bytes, reported, reported_at, .. } if bytes != reported => {
                Some(*reported_at + PROGRESS_INTERVAL)
            }
            Self::Metadata { reader, reported, reported_at, .. } if reader.bytes() != *reported => {
                Some(*reported_at + PROGRESS_INTERVAL)
            }
            _ => None,
        }
    }

    pub(super) fn step_bytes_max(&self) -> usize {
        match self {
            Self::File { .. } => STEP_BYTES_MAX,
            _ => LIST_STEP_BYTES_MAX,
        }
    }

    pub(super) fn take(&mut self, received: &[u8], parts: &mut Parts) -> Result<(), DialFault> {
        match self {
            Self::Peers(reader) => {
                reader.push(received).map_err(|_| DialFault::TooLong)?;
                reader.other_program().map_or(Ok(()), |program| Err(DialFault::NotAPeer(program)))
            }
            Self::Files { reader, .. } => {
                reader.push(received);
                Ok(())
            }
            Self::Metadata { reader, .. } => reader.push(received).map_err(metadata_fault),
            Self::FileInfo { reader, said } => {
                if said.is_none() {
                    *said = reader.push(received).map_err(metadata_fault)?;
                }
                Ok(())
            }
            Self::File { bytes, sink, .. } => {
                match sink {
                    Sink::Stream { download, size_max } => {
                        if size_max.is_some_and(|max| received.len() as u64 > max.saturating_sub(*bytes)) {
                            return Err(DialFault::TooLong);
                        }
                        parts.get_mut(download).ok_or(DialFault::Aborted)?.append(received)?;
                    }
                    Sink::Checked(checked) => checked.take(received, parts),
                }
                *bytes += received.len() as u64;
                Ok(())
            }
        }
    }

    /// Whether there is something to tell before more is read.
    pub(super) fn poll(&mut self, exchange: ExchangeId, cx: &Context<'_>) -> Result<Taken, DialFault> {
        match self {
            Self::Peers(_) => Ok(Taken::More),
            Self::FileInfo { said, .. } => {
                Ok(said.map_or(Taken::More, |(size, b3)| Taken::Enough(Response::FileInfo { b3, size })))
            }
            Self::Metadata { reader, reported, reported_at, .. } => {
                Ok(progress(exchange, reader.bytes(), reported, reported_at, cx.now).map_or(Taken::More, Taken::Report))
            }
            Self::Files { reader, fin } => {
                let files = reader.next_batch(BATCH_ROWS_MAX);
                if !files.is_empty() {
                    return Ok(Taken::Report(Event::ListBatch { exchange, files }));
                }
                if let Some(program) = reader.other_program(*fin) {
                    return Err(DialFault::NotAPeer(program));
                }
                if *fin || reader.bytes() <= LISTING_BYTES_MAX {
                    return Ok(Taken::More);
                }
                Ok(Taken::Enough(Response::FileList { truncated: true }))
            }
            Self::File { bytes, reported, reported_at, sink } => {
                if let Some(event) = progress(exchange, *bytes, reported, reported_at, cx.now) {
                    return Ok(Taken::Report(event));
                }
                let Sink::Checked(checked) = sink else { return Ok(Taken::More) };
                Ok(match checked.poll(exchange)? {
                    Some(event) => Taken::Report(event),
                    None if checked.is_complete() => Taken::Enough(Response::File { bytes: *bytes }),
                    None => Taken::More,
                })
            }
        }
    }

    /// FIN came: what is left to tell, or the response.
    pub(super) fn on_fin(&mut self, exchange: ExchangeId, cx: &mut Context<'_>) -> Result<Taken, DialFault> {
        match self {
            Self::Peers(reader) => {
                let mut reader = std::mem::take(reader);
                let _ = reader.end_line();
                if let Some(program) = reader.other_program() {
                    return Err(DialFault::NotAPeer(program));
                }
                let peers = reader.finish().map_err(|_| DialFault::Malformed)?;
                Ok(Taken::Enough(Response::PeerList(peers)))
            }
            Self::Files { reader, fin } => {
                if !*fin {
                    *fin = true;
                    reader.finish();
                }
                Ok(match self.poll(exchange, cx)? {
                    Taken::More => Taken::Enough(Response::FileList { truncated: false }),
                    other => other,
                })
            }
            Self::File { bytes, .. } => Ok(Taken::Enough(Response::File { bytes: *bytes })),
            // A line that is whole has ended the exchange already.
            Self::FileInfo { reader, .. } if reader.bytes() == 0 => Err(DialFault::Reset),
            Self::FileInfo { .. } => Err(DialFault::Malformed),
            Self::Metadata { reader, download, .. } => {
                let reader = std::mem::replace(reader, MetadataReader::new(None));
                // A peer that has nothing to say resets; an end without a byte is an old peer's way.
                if reader.bytes() == 0 {
                    return Err(DialFault::Reset);
                }
                let outline = Arc::new(reader.finish().map_err(metadata_fault)?);
                let (b3, size) = (outline.b3(), outline.size());
                let part = cx.parts.get_mut(download).ok_or(DialFault::Aborted)?;
                part.set_outline(outline).map_err(outline_fault)?;
                Ok(Taken::Enough(Response::Metadata { b3, size }))
            }
        }
    }
}

/// What is reported of received bytes. The first are reported at once: a reset after them is not the peer's refusal.
fn progress(
    exchange: ExchangeId,
    bytes: u64,
    reported: &mut u64,
    reported_at: &mut Instant,
    now: Instant,
) -> Option<Event> {
    let lately = *reported > 0 && now.saturating_since(*reported_at) < PROGRESS_INTERVAL;
    if bytes == *reported || lately {
        return None;
    }
    (*reported, *reported_at) = (bytes, now);
    Some(Event::FetchProgress { exchange, bytes })
}

/// An outline that contradicts what was verified is as false as one that does not prove its hash.
fn outline_fault(refused: OutlineRefused) -> DialFault {
    match refused {
        OutlineRefused::Contradicted => DialFault::Corrupt,
        OutlineRefused::Disk(fault) => DialFault::Disk(fault),
    }
}

fn metadata_fault(fault: MetadataFault) -> DialFault {
    match fault {
        MetadataFault::Malformed => DialFault::Malformed,
        MetadataFault::TooLong => DialFault::TooLong,
        MetadataFault::Corrupt => DialFault::Corrupt,
        MetadataFault::Refused(reason) => DialFault::Declined(reason),
    }
}
