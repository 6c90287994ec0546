//! Payload to send: a peer list, the file list, a file.

use super::{Context, PROGRESS_INTERVAL, STEP_BYTES_MAX};
use crate::aligned::Aligned;
use crate::driver::shared_files::{AwaitsRead, OpenedId, Ordered, ReadOutcome, Reader};
use crate::driver::socket::{Blocked, Direction, Socket};
use crate::fault::DiskFault;
use crate::library::{FileMeta, Shared};
use crate::name::FileName;
use crate::node::contract::{STEADY_BYTES, UNSENT_BYTES, UNSENT_FIRST_BYTES};
use crate::time::Instant;
use crate::wire::{Attributes, Listed, encode_list_line};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

/// Bytes of a file that are read at once: those from the page cache that the socket does not take are read again.
const PIECE_BYTES_MAX: usize = 128 * 1024;

/// Bytes of a file that a job reads at once, however few of them the rate limit or the socket takes now: more for a reader that
/// takes them fast.
const READ_BYTES_MIN: usize = 32 * 1024;

const READ_BYTES_MAX: usize = 256 * 1024;

/// Who takes what a job has read in less than this is fast.
const READ_TAKEN_FAST: Duration = Duration::from_millis(100);

/// After this long the memory of what a reader has not taken is given back, unless it is little.
const READ_TAKEN_MAX: Duration = Duration::from_secs(1);

/// As [`PIECE_BYTES_MAX`] at the beginning, while the socket takes little.
const FIRST_PIECE_BYTES_MAX: usize = 2 * UNSENT_FIRST_BYTES as usize;

/// Rows of the list that are encoded at once.
const LIST_ROWS_PER_FILL: usize = 256;

#[derive(Debug)]
pub(crate) struct Outgoing {
    source: Source,
    pub(super) sent: u64,
    /// Of `sent`, bytes that were reported as progress.
    pub(super) reported: u64,
    reported_at: Instant,
}

#[derive(Debug)]
enum Source {
    Bytes {
        body: Rc<Vec<u8>>,
        at: usize,
        end: usize,
    },
    /// The library's list, by name, as far as it is for this requester.
    List {
        to: SocketAddr,
        after: Option<FileName>,
        attributes: bool,
        buffer: Vec<u8>,
        at: usize,
        more: bool,
    },
    /// A file, sent from a position on.
    File {
        file: Reader,
        at: u64,
        left: u64,
        piece: Piece,
        /// How much a job reads at once.
        read_max: usize,
    },
}

/// Where the next bytes of a file are.
#[derive(Debug)]
enum Piece {
    /// In the file: perhaps in the page cache.
    Unread,
    /// In the file, where an earlier read had to wait: jobs read the rest, into this buffer. An attempt to read from the page cache that misses makes
    /// Linux begin to read ahead, and a disk with a full queue holds the caller.
    OnDisk(Aligned),
    /// A read that waits for the disk brings them. There is one at a time.
    Ordered(Ordered),
    /// That read brought them then; the rest from a position on is not written yet.
    Read {
        bytes: Aligned,
        from: usize,
        since: Instant,
    },
    Failed(DiskFault),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pump {
    Blocked(Blocked),
    Again,
    /// A read waits for the disk.
    Reading(AwaitsRead),
    /// There are no tokens.
    Paced,
    /// A report is due. `held`: the rate limit, or our disk, holds the rest back.
    Progress {
        bytes: u64,
        held: bool,
    },
    /// Everything is written: this number of bytes.
    Sent(u64),
    /// The connection is broken. `after_fin`: the peer had sent FIN before.
    Gone {
        after_fin: bool,
    },
    Failed(DiskFault),
}

impl Outgoing {
    /// Sends bytes in memory, which several responses may share.
    pub(crate) fn bytes(body: impl Into<Rc<Vec<u8>>>, now: Instant) -> Self {
        let body: Rc<Vec<u8>> = body.into();
        let all = 0..body.len();
        Self::bytes_range(body, all, now)
    }

    /// Sends a range of bytes in memory, which lies inside.
    pub(crate) fn bytes_range(body: Rc<Vec<u8>>, range: Range<usize>, now: Instant) -> Self {
        Self::new(Source::Bytes { body, at: range.start, end: range.end }, now)
    }

    pub(crate) fn list(to: SocketAddr, attributes: bool, now: Instant) -> Self {
        let source = Source::List { to, after: None, attributes, buffer: Vec::new(), at: 0, more: true };
        Self::new(source, now)
    }

    pub(crate) fn file(file: Reader, now: Instant) -> Self {
        let size = file.file().meta().size;
        Self::range(file, 0, size, now)
    }

    /// Sends `length` bytes of a file from `at` on.
    pub(crate) fn range(file: Reader, at: u64, length: u64, now: Instant) -> Self {
        Self::new(Source::File { file, at, left: length, piece: Piece::Unread, read_max: READ_BYTES_MIN }, now)
    }

    fn new(source: Source, now: Instant) -> Self {
        Self { source, sent: 0, reported: 0, reported_at: now }
    }

    /// Whether it waits for a read.
    pub(super) fn is_reading(&self) -> bool {
        matches!(self.source, Source::File { piece: Piece::Ordered(_), .. })
    }

    /// How many bytes it sends at most.
    pub(super) fn bytes_max(&self) -> u64 {
        match &self.source {
            Source::Bytes { at, end, .. } => end.saturating_sub(*at) as u64,
            Source::List { .. } => u64::MAX,
            Source::File { left, .. } => *left,
        }
    }

    /// The file that it sends.
    pub(super) fn file_id(&self) -> Option<OpenedId> {
        if let Source::File { file, .. } = &self.source { Some(file.id()) } else { None }
    }

    /// What is not written yet of a file: from where, and how much; and the file.
    pub(super) fn rest(&self) -> Option<(u64, u64, FileMeta)> {
        match &self.source {
            Source::File { file, at, left: left @ 1.., .. } => Some((*at, *left, *file.file().meta())),
            _ => None,
        }
    }

    /// Takes the result of a read. Returns whether it is the one that this waits for.
    pub(super) fn take_read(&mut self, read: Ordered, outcome: ReadOutcome, now: Instant) -> bool {
        let Source::File { piece, .. } = &mut self.source else { return false };
        let is_awaited = matches!(piece, Piece::Ordered(awaited) if *awaited == read);
        if is_awaited {
            *piece = outcome.map_or_else(Piece::Failed, |bytes| Piece::Read { bytes, from: 0, since: now });
        }
        is_awaited
    }

    /// When the memory of a read is to be given back.
    pub(super) fn gives_back_at(&self) -> Option<Instant> {
        match &self.source {
            Source::File { piece: Piece::Read { bytes, since, .. }, .. } if bytes.capacity() > READ_BYTES_MIN => {
                Some(*since + READ_TAKEN_MAX)
            }
            _ => None,
        }
    }

    /// Gives the memory of a read back, if that is due: what was not written is read again, less of it at once. Returns whether
    /// it has.
    pub(super) fn give_back(&mut self, now: Instant) -> bool {
        let is_due = self.gives_back_at().is_some_and(|at| at <= now);
        if is_due && let Source::File { piece, read_max, .. } = &mut self.source {
            *read_max = (*read_max / 2).max(READ_BYTES_MIN);
            *piece = Piece::OnDisk(Aligned::default());
        }
        is_due
    }

    /// Moves up to [`STEP_BYTES_MAX`] bytes.
    pub(super) fn pump(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Pump {
        let is_paced = self.source.is_paced();
        let granted = match is_paced {
            true => cx.pace.bucket(Direction::Up).grant(cx.now, STEP_BYTES_MAX),
            false => STEP_BYTES_MAX,
        };
        let mut budget = granted;
        loop {
            if budget == 0 {
                let held = granted < STEP_BYTES_MAX;
                let next = if held { Pump::Paced } else { Pump::Again };
                return self.progress(cx.now, held).unwrap_or(next);
            }
            let is_steady = self.sent >= STEADY_BYTES;
            let piece = if is_steady { budget } else { budget.min(FIRST_PIECE_BYTES_MAX) };
            let wrote = match self.source.write(socket, piece, cx) {
                Ok(Wrote::Bytes(n)) => n,
                Ok(Wrote::Blocked(blocked)) => return self.progress(cx.now, false).unwrap_or(Pump::Blocked(blocked)),
                Ok(Wrote::Reading(read)) => return self.progress(cx.now, true).unwrap_or(Pump::Reading(read)),
                Ok(Wrote::Everything) => return Pump::Sent(self.sent),
                Ok(Wrote::Failed(fault)) => return Pump::Failed(fault),
                Err(error) => return write_failed(&error),
            };
            if is_paced {
                cx.pace.bucket(Direction::Up).spend(wrote);
            }
            self.sent += wrote as u64;
            budget -= wrote.min(budget);
            if !is_steady && self.sent >= STEADY_BYTES {
                socket.keep_unsent(UNSENT_BYTES);
            }
        }
    }

    fn progress(&mut self, now: Instant, held: bool) -> Option<Pump> {
        if now.saturating_since(self.reported_at) < PROGRESS_INTERVAL {
            return None;
        }
        (self.reported, self.reported_at) = (self.sent, now);
        Some(Pump::Progress { bytes: self.sent, held })
    }
}

enum Wrote {
    Bytes(usize),
    Blocked(Blocked),
    Reading(AwaitsRead),
    Everything,
    /// The file cannot be read, or has changed.
    Failed(DiskFault),
}

impl Source {
    /// Whether the rate limit of uploads applies: to a file with bytes left to send.
    fn is_paced(&self) -> bool {
        matches!(self, Self::File { left: 1.., .. })
    }

    fn write(&mut self, socket: &mut Socket, budget: usize, cx: &mut Context<'_>) -> io::Result<Wrote> {
        match self {
            Self::Bytes { body, at, end } => write_from(socket, &body[..*end], at, budget),
            Self::List { to, after, attributes, buffer, at, more } => {
                if *at == buffer.len() && *more {
                    buffer.clear();
                    *at = 0;
                    let rows = cx.library.seen_by(*to).list_after(after.as_ref(), LIST_ROWS_PER_FILL);
                    *more = rows.len() == LIST_ROWS_PER_FILL;
                    for (name, shared) in rows {
                        encode_list_line(buffer, &listed(name.clone(), &shared, *attributes));
                        *after = Some(name);
                    }
                }
                write_from(socket, buffer, at, budget)
            }
            Self::File { left: 0, .. } => Ok(Wrote::Everything),
            Self::File { file, at, left, piece, read_max } => {
                let wrote = write_piece(socket, (file, *at, *left), (piece, read_max), budget, cx)?;
                if let Wrote::Bytes(n) = wrote {
                    *at += n as u64;
                    *left -= n as u64;
                }
                Ok(wrote)
            }
        }
    }
}

/// Writes from the piece of a file that is next. The bytes were checked after they were read, so that FIN follows only the content
/// that was opened.
fn write_piece(
    socket: &mut Socket,
    (file, at, left): (&Reader, u64, u64),
    (piece, read_max): (&mut Piece, &mut usize),
    budget: usize,
    cx: &mut Context<'_>,
) -> io::Result<Wrote> {
    match piece {
        Piece::Ordered(read) => return Ok(Wrote::Reading(read.awaits())),
        Piece::Failed(fault) => return Ok(Wrote::Failed(*fault)),
        Piece::Unread | Piece::OnDisk(_) | Piece::Read { .. } => {}
    }
    if let Some(blocked) = socket.blocks_writing() {
        if let Piece::OnDisk(buffer) = piece {
            // A connection that waits holds no buffer.
            *buffer = Aligned::default();
        }
        return Ok(Wrote::Blocked(blocked));
    }
    if let Piece::Read { bytes, from, since } = piece {
        let wrote = write_from(socket, bytes, from, budget)?;
        if *from == bytes.len() {
            if cx.now.saturating_since(*since) < READ_TAKEN_FAST {
                *read_max = (*read_max * 2).min(READ_BYTES_MAX);
            }
            *piece = Piece::OnDisk(std::mem::take(bytes));
        }
        return Ok(wrote);
    }
    let left = usize::try_from(left).unwrap_or(usize::MAX);
    if let Piece::Unread = piece {
        let count = left.min(budget).min(PIECE_BYTES_MAX);
        match file.file().read_cached(&mut cx.scratch[..count], at) {
            Ok(Some(count)) => {
                return Ok(socket.write(&cx.scratch[..count])?.map_or_else(Wrote::Blocked, Wrote::Bytes));
            }
            Ok(None) => {}
            Err(fault) => return Ok(Wrote::Failed(fault)),
        }
    }
    let buffer = if let Piece::OnDisk(buffer) = piece { std::mem::take(buffer) } else { Aligned::default() };
    let read = cx.reads.order(file, at, left.min(*read_max), buffer);
    *piece = Piece::Ordered(read);
    Ok(Wrote::Reading(read.awaits()))
}

fn write_from(socket: &mut Socket, bytes: &[u8], at: &mut usize, budget: usize) -> io::Result<Wrote> {
    let rest = &bytes[*at..];
    if rest.is_empty() {
        return Ok(Wrote::Everything);
    }
    Ok(match socket.write(&rest[..rest.len().min(budget)])? {
        Err(blocked) => Wrote::Blocked(blocked),
        Ok(n) => {
            *at += n;
            Wrote::Bytes(n)
        }
    })
}

fn listed(name: FileName, shared: &Shared, attributes: bool) -> Listed {
    let known = Attributes { size: Some(shared.meta.size), b3: shared.b3, more: false };
    Listed { name, attributes: attributes.then_some(known) }
}

/// Whether the peer sent FIN before its reset. Until we have sent FIN, Linux reports the two cases as different errors.
pub(super) fn is_reset_after_fin(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

fn write_failed(error: &io::Error) -> Pump {
    match error.kind() {
        io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::NotConnected
        | io::ErrorKind::TimedOut
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable => Pump::Gone { after_fin: is_reset_after_fin(error) },
        _ => Pump::Failed(DiskFault::from(error)),
    }
}
