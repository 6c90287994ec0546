//! One download: what it is after, what it does, and what is known of its records.
//!
//! | life | its part file is |
//! |---|---|
//! | active | ordered, open, checked or committed: that is how far the download is |
//! | done | gone: it has the final name |
//! | cancelled | gone, or busy, and goes when its order is answered |
//! | any other | gone, kept, or busy, and is closed (or goes, if not worth keeping) when its order is answered |

use super::part::{Content, DiskState, Held, Known, Open, Pace, PartFile};
use super::source::{Fetch, Origin, Source, Standing};
use crate::control::{CallError, DownloadState, Problem};
use crate::fault::DiskFault;
use crate::id::{ContentHash, TransferId};
use crate::name::FileName;
use crate::node::contract::{DownloadRecord, PartSpec, RecordKind, RecordState};
use crate::node::limits::{HIT_SOURCES_MAX, SEEK_MIN, UNSOURCED_SEEK_MIN};
use crate::node::network::canonical;
use crate::part::Target;
use crate::time::Instant;
use crate::timer::TimerId;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub(super) struct Download {
    pub(super) name: FileName,
    pub(super) spec: PartSpec,
    pub(super) want: Want,
    /// Bytes, as somebody has claimed; no outline has proved them.
    pub(super) claimed_size: Option<u64>,
    /// In the order in which they were named or found. A source keeps its index; a newcomer may take the place of another.
    pub(super) sources: Vec<Source>,
    /// Sources that sent wrong bytes, and lost their places to others.
    pub(super) left_out: VecDeque<SocketAddr>,
    /// What is known of the place that the user has named, if one was.
    pub(super) named_place: NamedPlace,
    /// The path that it will have, as far as it is known.
    pub(super) path: Option<PathBuf>,
    life: Life,
    part: PartFile,
    pub(super) recorded: Recorded,
    /// Since its part file was last opened, closed or ordered; `None` as long as it had none.
    pub(super) pace: Option<Pace>,
    /// Bytes that came from all sources.
    pub(super) received: u64,
    /// How often it has given its place to others because it came too slowly.
    pub(super) stood_back: u32,
    /// Its place in the order of turns, among those that have stood back as often.
    pub(super) place: i64,
    /// Full checks that found wrong groups.
    pub(super) checks_failed: u32,
    /// The file of the own share of which its part file is a copy, or is becoming one.
    pub(super) copied_from: Option<FileName>,
    /// A copy could not be made, or has another content: the content comes from its sources.
    pub(super) copy_failed: bool,
    pub(super) disk: DiskState,
    pub(super) seek: Seek,
    /// When those who follow it were last told how it stands.
    pub(super) notified_at: Option<Instant>,
    /// The directory of which it is a member.
    pub(super) directory: Option<TransferId>,
}

/// What a download does, changed by `set_life` alone. How far an active one is shows in its [`PartFile`].
#[derive(Debug)]
pub(super) enum Life {
    /// Waits for its turn. Why it had to wait before, if it did.
    Queued { waited: Option<Problem> },
    /// It has its turn, and counts towards `max_downloads`.
    Active,
    /// No source can be asked now.
    Waiting { until: Instant, timer: TimerId, why: Problem },
    /// By the user.
    Paused,
    /// The disk has stopped it; the timer tries again.
    Blocked { timer: TimerId, fault: DiskFault, why: Problem },
    /// Its file is there. `found`: its hash, if it was read; `verified`: that is the one that was known; `already`: it was
    /// there before.
    Done { path: PathBuf, size: u64, found: Option<ContentHash>, verified: bool, already: bool },
    /// `shown`: how far it had come.
    Failed { why: Problem, shown: Progress },
    /// By the user.
    Cancelled { shown: Progress },
}

/// Bytes that are there, and bytes of the whole, which are never fewer.
pub(super) type Progress = (u64, Option<u64>);

/// Whether the user has named a place to save to, and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NamedPlace {
    /// Nothing speaks against it; or none was named, or an earlier run has begun the download.
    Good,
    /// The disk is being asked.
    Probing,
    /// No file can be made there.
    Bad,
}

/// What a download is after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Whatever its sources call by its name.
    Name,
    /// This content.
    Content(ContentHash),
    /// The user asked for a name, and this source says that its content under the name is this, until it says otherwise.
    NamedContent { b3: ContentHash, from: SocketAddr },
}

impl Want {
    pub(super) fn b3(self) -> Option<ContentHash> {
        match self {
            Self::Name => None,
            Self::Content(b3) | Self::NamedContent { b3, .. } => Some(b3),
        }
    }
}

/// What is known of the records of a download.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// Of the last record ordered.
    pub(super) revision: u64,
    /// Of the last one that is on the disk.
    pub(super) durable: u64,
    /// A record of it has been on the disk, in this run or an earlier one.
    pub(super) accepted: bool,
    /// Why the last change is not on the disk, as far as that is known.
    pub(super) problem: Option<Problem>,
    /// What the last record says.
    pub(super) state: Option<(RecordState, Option<CallError>)>,
}

impl Recorded {
    /// As an earlier run remembered it.
    pub(super) fn recalled(state: RecordState, error: Option<CallError>) -> Self {
        Self { accepted: true, state: Some((state, error)), ..Self::default() }
    }
}

/// A search for further sources that is about to be sent, before it is known whether there is anybody to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outgoing {
    None,
    Sought,
    /// If nobody can be asked, the download has failed; until that is known nobody is told how it stands.
    Last,
}

/// The searches for further sources.
#[derive(Debug)]
pub(super) struct Seek {
    /// `None` as long as none is called for.
    pub(super) next: Option<Instant>,
    pub(super) wait: Duration,
    /// The same while no source is known.
    pub(super) unsourced_wait: Duration,
    pub(super) sought_at: Option<Instant>,
    /// When the last search will have been answered; `None` if nobody was asked.
    pub(super) answered_by: Option<Instant>,
    pub(super) outgoing: Outgoing,
    /// Searches since a source could last be asked.
    pub(super) stuck: u32,
    /// The next one after a failure asks for the name, though the content may be known.
    pub(super) by_name: bool,
}

impl Default for Seek {
    fn default() -> Self {
        Self {
            next: None,
            wait: SEEK_MIN,
            unsourced_wait: UNSOURCED_SEEK_MIN,
            sought_at: None,
            answered_by: None,
            outgoing: Outgoing::None,
            stuck: 0,
            by_name: false,
        }
    }
}

impl Life {
    /// Nothing will happen any more, unless the user has a failed one tried again.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Failed { .. } | Self::Cancelled { .. })
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting { .. })
    }

    /// Whether the user may have it tried again.
    pub(super) fn may_be_retried(&self) -> bool {
        matches!(self, Self::Waiting { .. } | Self::Blocked { .. } | Self::Failed { .. })
    }

    pub(super) fn timer(&self) -> Option<TimerId> {
        match self {
            Self::Waiting { timer, .. } | Self::Blocked { timer, .. } => Some(*timer),
            _ => None,
        }
    }

    /// What is still true of its problem when it is in the queue again: a disk that has stopped it can be used by then.
    pub(super) fn awaited(&self) -> Option<&Problem> {
        self.problem().filter(|_| !matches!(self, Self::Blocked { .. }))
    }

    /// Why it waits, was stopped or has failed.
    pub(super) fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Queued { waited } => waited.as_ref(),
            Self::Waiting { why, .. } | Self::Blocked { why, .. } | Self::Failed { why, .. } => Some(why),
            Self::Active | Self::Paused | Self::Done { .. } | Self::Cancelled { .. } => None,
        }
    }
}

impl Download {
    /// A new download, in the queue.
    pub(super) fn new(name: FileName, spec: PartSpec, want: Want, size: Option<u64>, sources: Vec<Source>) -> Self {
        Self {
            name,
            spec,
            want,
            claimed_size: size,
            sources,
            left_out: VecDeque::new(),
            named_place: NamedPlace::Good,
            path: None,
            life: Life::Queued { waited: None },
            part: PartFile::Absent,
            pace: None,
            recorded: Recorded::default(),
            received: 0,
            stood_back: 0,
            place: 0,
            checks_failed: 0,
            copied_from: None,
            copy_failed: false,
            disk: DiskState::default(),
            seek: Seek::default(),
            notified_at: None,
            directory: None,
        }
    }

    /// As an earlier run remembered it.
    pub(super) fn recalled(record: DownloadRecord) -> Self {
        let size = record.size;
        let want = match (record.b3, record.learnt_from) {
            (None, _) => Want::Name,
            (Some(b3), None) => Want::Content(b3),
            (Some(b3), Some(from)) => Want::NamedContent { b3, from: canonical(from) },
        };
        let sources = record.sources.into_iter().take(HIT_SOURCES_MAX);
        // Of a content each source says for itself how large it is: the size of another must not be held against it.
        let claim = size.filter(|_| record.b3.is_none());
        let sources = sources.filter_map(|source| Source::recalled(source, claim, record.b3.is_some())).collect();
        let shown = (record.bytes_done, size.filter(|size| *size >= record.bytes_done));
        let part = match record.state {
            RecordState::Failed { keeps_part: false } | RecordState::Done { .. } => PartFile::Absent,
            _ => PartFile::Kept(Held::Recalled(record.bytes_done)),
        };
        let recorded = Recorded::recalled(record.state, record.error.clone());
        let problem = record.error.map(|error| Problem::Recalled { error });
        let life = match record.state {
            RecordState::Waiting => Life::Queued { waited: problem },
            RecordState::Paused => Life::Paused,
            RecordState::Failed { .. } => Life::Failed { why: problem.unwrap_or(Problem::Unknown), shown },
            RecordState::Done { verified } => {
                let (path, size) = (record.spec.target.path(), size.unwrap_or_default());
                Life::Done { path, size, found: record.b3, verified, already: false }
            }
            RecordState::Dropped => Life::Cancelled { shown },
        };
        let directory = if let RecordKind::Member { of } = record.kind { Some(of) } else { None };
        let new = Self::new(record.name, record.spec, want, size, sources);
        Self { life, part, recorded, place: record.place, directory, ..new }
    }

    pub(super) fn life(&self) -> &Life {
        &self.life
    }

    /// Returns the life that it had. Called by the table alone.
    pub(super) fn replace_life(&mut self, id: TransferId, life: Life) -> Life {
        let before = self.state();
        let old = std::mem::replace(&mut self.life, life);
        self.log_state(id, before);
        self.log_milestone(id, &old);
        old
    }

    pub(super) fn part(&self) -> &PartFile {
        &self.part
    }

    /// Nothing else changes the part file.
    pub(super) fn change_part(&mut self, now: Instant, id: TransferId, change: impl FnOnce(PartFile) -> PartFile) {
        let before = self.state();
        self.part = change(std::mem::replace(&mut self.part, PartFile::Absent));
        if self.part.is_to_be_answered() {
            self.disk.forget_order();
        }
        self.pace = Some(Pace::begin(now, self.received));
        self.log_state(id, before);
    }

    /// Whether it is about to get its final name.
    pub(super) fn is_committing(&self) -> bool {
        matches!(self.part, PartFile::Committing { .. })
    }

    /// Whether all of it is there, and is being checked or synced.
    pub(super) fn is_verifying(&self) -> bool {
        matches!(self.life, Life::Active) && self.part.is_being_verified()
    }

    /// The part file while sources are asked for it.
    pub(super) fn open(&self) -> Option<&Open> {
        if let PartFile::Open(open) = &self.part { Some(open) } else { None }
    }

    pub(super) fn open_mut(&mut self) -> Option<&mut Open> {
        if let PartFile::Open(open) = &mut self.part { Some(open) } else { None }
    }

    /// The outline of its part file, if it has one.
    pub(super) fn content(&self) -> Option<&Content> {
        self.part.known()?.content()
    }

    /// Bytes, as far as it is known.
    pub(super) fn size(&self) -> Option<u64> {
        let proved = self.content().filter(|_| self.has_proved_size());
        proved.map(Content::size).or(self.claimed_size)
    }

    /// Whether the size is certain.
    pub(super) fn has_proved_size(&self) -> bool {
        matches!(self.part.known(), Some(Known::Proved(_)))
    }

    /// Whether the size is a mere claim, and another source claims another.
    pub(super) fn doubts_size(&self) -> bool {
        let other = |source: &Source| source.size.is_some() && source.size != self.claimed_size;
        self.claimed_size.is_some() && !self.has_proved_size() && self.sources.iter().any(other)
    }

    /// Whether the name that it would have is taken, so that the file gets a number.
    pub(super) fn is_beside_its_name(&self) -> bool {
        let is_suggested = matches!(self.spec.target, Target::Suggested { .. });
        is_suggested && self.path.as_ref().is_some_and(|path| *path != self.spec.target.path())
    }

    pub(super) fn is_unsourced(&self) -> bool {
        self.sources.is_empty()
    }

    /// Whether it has no source, or each has said no to everything.
    pub(super) fn has_nobody_to_ask(&self) -> bool {
        self.sources.iter().all(|source| matches!(source.standing, Standing::Refused))
    }

    /// Drops the sources that were only found.
    pub(super) fn keep_chosen(&mut self) {
        debug_assert!(self.busy().next().is_none(), "places change");
        self.sources.retain(|source| source.origin == Origin::Chosen);
    }

    /// Bytes that are there, and bytes of the whole. Bytes are verified ones where they can be verified, else what the
    /// longest stream has brought.
    ///
    /// A stream may bring more than somebody has claimed of the file: then the size is unknown. The claim of the source
    /// that sends is the one that counts, and what an earlier stream has brought beyond it was of another file.
    pub(super) fn progress(&self) -> Progress {
        let bytes = match (&self.life, &self.part) {
            (Life::Failed { shown, .. } | Life::Cancelled { shown }, _) => return *shown,
            (Life::Done { size, .. }, _) => return (*size, Some(*size)),
            (_, PartFile::Absent) => 0,
            (_, PartFile::Kept(Held::Recalled(bytes)) | PartFile::Opening(Held::Recalled(bytes))) => *bytes,
            (_, part) => match (part.known().and_then(Known::content), part) {
                (Some(content), _) => return (content.bytes_verified(), Some(content.size())),
                // While it is copied.
                (None, PartFile::Checking { .. }) if self.copied_from.is_some() => return (0, self.size()),
                (None, PartFile::Checking { known, .. } | PartFile::Committing { known, .. }) => {
                    return (known.streamed(), Some(known.streamed()));
                }
                (None, _) => part.known().map_or(0, Known::streamed),
            },
        };
        let (done, size) = match self.stream() {
            Some((received, Some(size))) if bytes > size => (received, Some(size)),
            Some((_, size)) => (bytes, size),
            None => (bytes, self.size()),
        };
        (done, size.filter(|size| *size >= done))
    }

    /// The stream that is coming in: its bytes so far, and how many it will have as far as somebody has said.
    pub(super) fn stream(&self) -> Option<(u64, Option<u64>)> {
        let (at, fetch) = self.busy().find(|(_, fetch)| fetch.task.is_stream())?;
        Some((fetch.received, self.sources[at].size.or(self.size())))
    }

    /// Whether no source can be asked now.
    pub(super) fn is_stuck(&self) -> bool {
        !self.sources.iter().any(|source| matches!(source.standing, Standing::Idle | Standing::Busy(_)))
    }

    /// When the first source that rests can be asked again.
    pub(super) fn first_rest(&self) -> Option<Instant> {
        let until =
            |source: &Source| if let Standing::Resting { until } = source.standing { Some(until) } else { None };
        self.sources.iter().filter_map(until).min()
    }

    /// The sources that were asked for something, with their places.
    pub(super) fn busy(&self) -> impl Iterator<Item = (usize, &Fetch)> {
        self.sources.iter().enumerate().filter_map(|(at, source)| Some((at, source.fetch()?)))
    }

    /// How it stands, as users see it.
    pub(super) fn state(&self) -> DownloadState {
        match &self.life {
            Life::Queued { .. } => DownloadState::Queued,
            Life::Active if self.is_verifying() => DownloadState::Verifying,
            Life::Active => DownloadState::Active,
            Life::Waiting { .. } => DownloadState::Retrying,
            Life::Paused | Life::Blocked { .. } => DownloadState::Paused,
            Life::Done { .. } => DownloadState::Done,
            Life::Failed { .. } => DownloadState::Failed,
            Life::Cancelled { .. } => DownloadState::Cancelled,
        }
    }
}
