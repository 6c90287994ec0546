//! Received payload: a peer list, a file list, a file or parts of it, metadata.

use super::checked::{Checked, Part};
use super::streamed::Streamed;
use super::{Context, PROGRESS_INTERVAL, STEP_BYTES_MAX};
use crate::content::{ManifestFault, ManifestReader};
use crate::driver::open_parts::{Data, OpenParts, Remains, Write, WriteFault, Written};
use crate::fault::DialFault;
use crate::id::{ContentHash, ExchangeId, TransferId};
use crate::node::Event;
use crate::node::contract::{Portion, Response};
use crate::time::Instant;
use crate::wire::{FileInfo, FileInfoReader, FileListReader, MetadataFault, MetadataReader, PeerListReader};
use std::sync::Arc;

/// A longer file list is truncated.
const LISTING_BYTES_MAX: u64 = 256 * 1024 * 1024;

const BATCH_ROWS_MAX: usize = 1000;

/// Bytes of a list read in one step: parsing costs more than copying.
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
        reported: Reported,
        sink: Sink,
    },
    /// Metadata for the outline of a part file.
    Metadata {
        reader: MetadataReader,
        download: TransferId,
        reported: Reported,
    },
    /// Whole metadata: a worker gives the outline to the part file, as long as this is here.
    Outline {
        b3: ContentHash,
        size: u64,
        outcome: Option<Result<(), WriteFault>>,
        _wanted: Arc<()>,
    },
    /// A manifest of this hash and size.
    Manifest {
        reader: Box<ManifestReader>,
        b3: ContentHash,
        size: u64,
    },
    /// The first line of metadata: what it says once it is whole.
    FileInfo {
        reader: FileInfoReader,
        info: Option<FileInfo>,
    },
}

/// The received bytes that were reported last.
pub(super) struct Reported {
    bytes: u64,
    at: Instant,
}

impl Reported {
    fn none(now: Instant) -> Self {
        Self { bytes: 0, at: now }
    }

    /// When received bytes are reported even if no more come.
    fn due(&self, bytes: u64) -> Option<Instant> {
        (bytes != self.bytes).then(|| self.at + PROGRESS_INTERVAL)
    }

    /// The first bytes are reported at once: a reset after them is not a refusal by the peer.
    fn report(&mut self, exchange: ExchangeId, bytes: u64, now: Instant) -> Option<Event> {
        let lately = self.bytes > 0 && now.saturating_since(self.at) < PROGRESS_INTERVAL;
        if bytes == self.bytes || lately {
            return None;
        }
        *self = Self { bytes, at: now };
        Some(Event::FetchProgress { exchange, bytes })
    }
}

pub(super) enum Sink {
    /// Appended to the part file, unverified.
    Stream(Streamed),
    /// Written to the part file in verified groups.
    Checked(Checked),
}

pub(super) enum Taken {
    More,
    /// Report to the node, then continue.
    Report(Event),
    /// Wait until something is written.
    WaitForDisk,
    /// The response is complete, or as long as we accept it.
    Enough(Response),
}

impl Incoming {
    pub(super) fn file(exchange: ExchangeId, part: &Part, parts: &OpenParts, now: Instant) -> Result<Self, DialFault> {
        let sink = match &part.portion {
            Portion::Stream { size_max } => Sink::Stream(Streamed::new(exchange, part.download, *size_max)),
            Portion::Whole | Portion::Groups(_) => Sink::Checked(Checked::begin(exchange, part, parts)?),
        };
        Ok(Self::File { bytes: 0, reported: Reported::none(now), sink })
    }

    pub(super) fn metadata(download: TransferId, wanted: Option<ContentHash>, now: Instant) -> Self {
        Self::Metadata { reader: MetadataReader::new(wanted), download, reported: Reported::none(now) }
    }

    pub(super) fn is_paced(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    pub(super) fn trim(&mut self, groups_end: u64) {
        if let Self::File { sink: Sink::Checked(checked), .. } = self {
            checked.trim(groups_end);
        }
    }

    pub(super) fn checked_download(&self) -> Option<TransferId> {
        match self {
            Self::File { sink: Sink::Checked(checked), .. } => Some(checked.download),
            _ => None,
        }
    }

    pub(super) fn into_remains(self) -> Remains {
        match self {
            Self::File { sink: Sink::Checked(checked), .. } => checked.into_remains(),
            _ => Remains::Nothing,
        }
    }

    /// When received bytes are reported even if no more come.
    pub(super) fn report_due(&self) -> Option<Instant> {
        match self {
            Self::File { bytes, reported, .. } => reported.due(*bytes),
            Self::Metadata { reader, reported, .. } => reported.due(reader.bytes()),
            _ => None,
        }
    }

    pub(super) fn step_bytes_max(&self) -> usize {
        match self {
            Self::File { .. } => STEP_BYTES_MAX,
            _ => LIST_STEP_BYTES_MAX,
        }
    }

    /// Whether something is on its way to the disk.
    pub(super) fn is_writing(&self) -> bool {
        match self {
            Self::File { sink: Sink::Checked(checked), .. } => checked.is_writing(),
            Self::File { sink: Sink::Stream(streamed), .. } => streamed.is_writing(),
            Self::Outline { outcome, .. } => outcome.is_none(),
            _ => false,
        }
    }

    /// Has all written that was received of a stream.
    pub(super) fn flush(&mut self, parts: &mut OpenParts) {
        if let Self::File { sink: Sink::Stream(streamed), .. } = self {
            streamed.flush(parts);
        }
    }

    /// Whether something is on its way to the disk, or was, and is not reported yet.
    pub(super) fn is_unreported(&self) -> bool {
        match self {
            Self::File { sink: Sink::Checked(checked), .. } => checked.is_unreported(),
            Self::Outline { .. } => true,
            _ => self.is_writing(),
        }
    }

    /// The result of something that it had to write.
    pub(super) fn on_written(&mut self, written: &Written) {
        match self {
            Self::File { sink: Sink::Checked(checked), .. } => {
                written.group().into_iter().for_each(|group| checked.on_written(group, written.outcome));
            }
            Self::File { sink: Sink::Stream(streamed), .. } => streamed.on_written(written.outcome),
            Self::Outline { outcome, .. } => *outcome = Some(written.outcome),
            _ => {}
        }
    }

    /// Where the next bytes are to be read to: never empty.
    pub(super) fn room<'a>(&'a mut self, parts: &mut OpenParts, scratch: &'a mut [u8]) -> &'a mut [u8] {
        match self {
            Self::File { sink: Sink::Stream(streamed), .. } => streamed.room(parts),
            Self::File { sink: Sink::Checked(checked), .. } => checked.room(parts, scratch),
            _ => scratch,
        }
    }

    /// So many bytes were read to there. `scratch`: as it was then.
    pub(super) fn take(&mut self, count: usize, scratch: &[u8], parts: &mut OpenParts) -> Result<(), DialFault> {
        let received = &scratch[..count.min(scratch.len())];
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
            Self::Outline { .. } => Ok(()),
            Self::Manifest { reader, size, .. } => {
                let is_too_long = reader.bytes().saturating_add(received.len() as u64) > *size;
                if is_too_long { Err(DialFault::TooLong) } else { reader.push(received).map_err(manifest_fault) }
            }
            Self::FileInfo { reader, info } => {
                if info.is_none() {
                    *info = reader.push(received).map_err(metadata_fault)?;
                }
                Ok(())
            }
            Self::File { bytes, sink, .. } => {
                match sink {
                    Sink::Stream(streamed) => streamed.take(count, parts)?,
                    Sink::Checked(checked) => checked.take(count, parts),
                }
                *bytes += count as u64;
                Ok(())
            }
        }
    }

    /// What to report before more is read.
    pub(super) fn poll(&mut self, exchange: ExchangeId, cx: &Context<'_>) -> Result<Taken, DialFault> {
        match self {
            Self::Peers(_) | Self::Manifest { .. } => Ok(Taken::More),
            Self::Outline { b3, size, outcome, .. } => match outcome {
                None => Ok(Taken::WaitForDisk),
                Some(Ok(())) => Ok(Taken::Enough(Response::Metadata { b3: *b3, size: *size })),
                Some(Err(fault)) => Err(outline_fault(*fault)),
            },
            Self::FileInfo { info, .. } => {
                let told = |FileInfo { size, b3, pending }| Response::FileInfo { b3, size, pending };
                Ok(info.map_or(Taken::More, |info| Taken::Enough(told(info))))
            }
            Self::Metadata { reader, reported, .. } => {
                Ok(reported.report(exchange, reader.bytes(), cx.now).map_or(Taken::More, Taken::Report))
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
            Self::File { bytes, reported, sink } => {
                if let Some(event) = reported.report(exchange, *bytes, cx.now) {
                    return Ok(Taken::Report(event));
                }
                match sink {
                    Sink::Stream(streamed) => {
                        let waits = streamed.waits_for_disk(cx.parts)?;
                        Ok(if waits { Taken::WaitForDisk } else { Taken::More })
                    }
                    Sink::Checked(checked) => Ok(match checked.poll()? {
                        Some(event) => Taken::Report(event),
                        None if checked.is_complete() => Taken::Enough(Response::File { bytes: *bytes }),
                        None if checked.waits_for_disk(cx.parts) => Taken::WaitForDisk,
                        None => Taken::More,
                    }),
                }
            }
        }
    }

    /// After FIN: what is left to report, or the response.
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
            Self::Outline { .. } => self.poll(exchange, cx),
            // A refusal, of which nothing else shows.
            Self::Manifest { reader, .. } if reader.bytes() == 0 => Err(DialFault::Reset),
            Self::Manifest { reader, b3, size } => {
                let reader = std::mem::take(&mut **reader);
                let is_whole = reader.bytes() == *size;
                let manifest = reader.finish().map_err(manifest_fault)?;
                if !is_whole || manifest.b3 != *b3 {
                    return Err(DialFault::Corrupt);
                }
                Ok(Taken::Enough(Response::Manifest(Box::new(manifest))))
            }
            // A complete line would have ended the exchange already.
            Self::FileInfo { reader, .. } if reader.bytes() == 0 => Err(DialFault::Reset),
            Self::FileInfo { .. } => Err(DialFault::Malformed),
            Self::Metadata { reader, download, .. } => {
                let reader = std::mem::replace(reader, MetadataReader::new(None));
                // An old peer closes without a byte, which counts as a reset.
                if reader.bytes() == 0 {
                    return Err(DialFault::Reset);
                }
                let outline = Arc::new(reader.finish().map_err(metadata_fault)?);
                let (b3, size) = (outline.b3(), outline.size());
                let instead_of = cx.parts.get(*download).ok_or(DialFault::Aborted)?.outline().cloned();
                let wanted = Arc::new(());
                let data = Data::Outline { outline, instead_of, wanted: Arc::downgrade(&wanted) };
                cx.parts.write(Write { download: *download, exchange: Some(exchange), data });
                *self = Self::Outline { b3, size, outcome: None, _wanted: wanted };
                Ok(Taken::WaitForDisk)
            }
        }
    }
}

/// An outline that contradicts verified groups is as false as one that does not prove its hash.
fn outline_fault(fault: WriteFault) -> DialFault {
    match fault {
        WriteFault::Mismatch => DialFault::Corrupt,
        WriteFault::Superseded => DialFault::Aborted,
        WriteFault::Disk(fault) => DialFault::Disk(fault),
    }
}

fn manifest_fault(fault: ManifestFault) -> DialFault {
    match fault {
        ManifestFault::TooLarge | ManifestFault::TooManyEntries => DialFault::TooLong,
        _ => DialFault::Malformed,
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
