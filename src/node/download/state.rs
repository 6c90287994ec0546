//! One download: what it is after, where it stands, and what is remembered of it.

use super::known::Content;
use super::rate::Rate;
use super::recorded::Recorded;
use super::source::{Fetch, LeftOut, Origin, Source, Standing, Task};
use crate::control::CallError;
use crate::fault::DiskFault;
use crate::id::{ContentHash, TransferId};
use crate::name::{Escaped, FileName};
use crate::node::contract::{DownloadRecord, PartSpec, RecordState, SourceRecord};
use crate::node::limits::{
    FETCHES_PER_DOWNLOAD_MAX, HIT_SOURCES_MAX, RECORD_NAMES_BYTES_MAX, SEEK_MIN, UNSOURCED_SEEK_MIN,
};
use crate::node::network::canonical;
use crate::time::Instant;
use crate::timer::TimerId;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

/// One download.
pub(super) struct Download {
    pub(super) name: FileName,
    pub(super) spec: PartSpec,
    pub(super) aim: Aim,
    /// Bytes, as far as somebody has said.
    pub(super) size: Option<u64>,
    /// In the order in which they were named or found. Places stay: one that said no may give its own to another.
    pub(super) sources: Vec<Source>,
    /// Who sent wrong bytes and has no place among them any more.
    pub(super) left_out: LeftOut,
    /// What is known of the place that the user has named, if one was.
    pub(super) named_place: NamedPlace,
    /// Its final path, as far as it is known.
    pub(super) path: Option<PathBuf>,
    /// Changed by `set_download_state` alone.
    pub(super) state: State,
    pub(super) part: Part,
    /// An earlier run began it, and its part file was not opened since.
    pub(super) recalled: bool,
    /// Bytes that were there when an earlier run remembered it.
    pub(super) recalled_bytes: u64,
    pub(super) recorded: Recorded,
    /// As the last record has it.
    pub(super) recorded_state: Option<(RecordState, Option<CallError>)>,
    /// `None` as long as the part file has no outline.
    pub(super) content: Option<Content>,
    /// Bytes of the longest stream in the part file.
    pub(super) streamed: u64,
    /// Who sent the stream that ended whole.
    pub(super) streamer: Option<SocketAddr>,
    /// The hash of what was found in the part file.
    pub(super) found: Option<ContentHash>,
    /// The content was checked against a hash that was known.
    pub(super) verified: bool,
    /// A file of the content was there already.
    pub(super) already: bool,
    pub(super) error: Option<CallError>,
    /// Bytes that came from all sources.
    pub(super) received: u64,
    pub(super) rate: Rate,
    /// Whether it comes fast enough for others to wait for it.
    pub(super) pace: Pace,
    /// How often it has given its place to others because it did not.
    pub(super) stood_back: u32,
    /// Full checks that found wrong groups.
    pub(super) checks_failed: u32,
    /// Times in a row that the disk stopped it.
    pub(super) disk_failures: u32,
    pub(super) seek: Seek,
    pub(super) look: Option<(Instant, TimerId)>,
    pub(super) told: Option<Instant>,
}

/// Whether the user has named a place to save to, and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NamedPlace {
    /// None was named, or an earlier run has begun the download.
    None,
    /// It is being looked at.
    Probing,
    /// A file can be made there.
    Good,
    /// None can.
    Bad,
}

/// What a download is after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// Whatever its sources call by its name.
    Name,
    /// This content.
    Content(ContentHash),
    /// The content that this source has under the name asked for, as it says. It holds until the source says otherwise.
    Learnt { b3: ContentHash, from: SocketAddr },
}

impl Aim {
    pub(super) fn b3(self) -> Option<ContentHash> {
        match self {
            Self::Name => None,
            Self::Content(b3) | Self::Learnt { b3, .. } => Some(b3),
        }
    }
}

/// What the loop has of the part file. While it opens, checks or commits one, everything else waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// There is none.
    Unmade,
    Closed,
    Opening,
    Open,
    Checking,
    Committing,
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

/// Where a download stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for its turn.
    Queued,
    /// Its part file is being made or taken up.
    Opening,
    /// Its part file is open, and its sources are asked.
    Fetching,
    /// All bytes are there; they are being checked and synced.
    Verifying,
    /// No source can be asked now.
    Retrying {
        until: Instant,
        timer: TimerId,
    },
    Paused(Pause),
    Done,
    Failed,
    Cancelled,
}

/// Why a download rests although it could go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    User,
    /// The disk does not let it; it is tried again by the timer.
    Disk {
        timer: TimerId,
        fault: DiskFault,
    },
}

/// How fast a download comes, as far as others may have to wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// It does not fetch.
    None,
    /// It had so many bytes then.
    Measured { since: Instant, received: u64 },
    /// It was too slow over the last span, and had so many bytes at its end.
    Crawls { since: Instant, received: u64, began: Instant },
}

impl Pace {
    /// Measures from here on.
    pub(super) fn begin(now: Instant, received: u64) -> Self {
        Self::Measured { since: now, received }
    }
}

impl State {
    /// Nothing will happen any more.
    pub(super) fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// It counts towards `max_downloads`.
    pub(super) fn is_active(self) -> bool {
        matches!(self, Self::Opening | Self::Fetching | Self::Verifying)
    }

    pub(super) fn timer(self) -> Option<TimerId> {
        match self {
            Self::Retrying { timer, .. } | Self::Paused(Pause::Disk { timer, .. }) => Some(timer),
            _ => None,
        }
    }
}

impl Download {
    /// A new download, in the queue.
    pub(super) fn new(name: FileName, spec: PartSpec, aim: Aim, size: Option<u64>, sources: Vec<Source>) -> Self {
        Self {
            name,
            spec,
            aim,
            size,
            sources,
            left_out: LeftOut::default(),
            named_place: NamedPlace::None,
            path: None,
            state: State::Queued,
            part: Part::Unmade,
            recalled: false,
            recalled_bytes: 0,
            recorded: Recorded::default(),
            recorded_state: None,
            content: None,
            streamed: 0,
            streamer: None,
            found: None,
            verified: false,
            already: false,
            error: None,
            received: 0,
            rate: Rate::default(),
            pace: Pace::None,
            stood_back: 0,
            checks_failed: 0,
            disk_failures: 0,
            seek: Seek::default(),
            look: None,
            told: None,
        }
    }

    /// As an earlier run remembered it.
    pub(super) fn recalled(record: DownloadRecord) -> Self {
        let size = record.size;
        let aim = match (record.b3, record.learnt_from) {
            (None, _) => Aim::Name,
            (Some(b3), None) => Aim::Content(b3),
            (Some(b3), Some(from)) => Aim::Learnt { b3, from: canonical(from) },
        };
        let sources = record.sources.into_iter().take(HIT_SOURCES_MAX);
        // Of a content each source says for itself how large it is: the size of another must not be held against it.
        let claim = size.filter(|_| record.b3.is_none());
        let sources = sources.filter_map(|source| Source::recalled(source, claim, record.b3.is_some())).collect();
        let (state, part) = match record.state {
            RecordState::Waiting => (State::Queued, Part::Closed),
            RecordState::Paused => (State::Paused(Pause::User), Part::Closed),
            RecordState::Failed { keeps_part } => (State::Failed, if keeps_part { Part::Closed } else { Part::Unmade }),
            RecordState::Dropped => (State::Cancelled, Part::Closed),
        };
        Self {
            part,
            recalled: true,
            recalled_bytes: record.bytes_done,
            recorded: Recorded::recalled(),
            recorded_state: Some((record.state, record.error.clone())),
            state,
            error: record.error,
            ..Self::new(record.name, record.spec, aim, size, sources)
        }
    }

    /// As the next run needs it.
    pub(super) fn record(&mut self, id: TransferId) -> DownloadRecord {
        let (state, error) = self.state_to_record();
        self.recorded_state = Some((state, error.clone()));
        DownloadRecord {
            id,
            spec: self.spec.clone(),
            name: self.name.clone(),
            size: self.size,
            b3: self.aim.b3(),
            learnt_from: match self.aim {
                Aim::Learnt { from, .. } => Some(from),
                Aim::Name | Aim::Content(_) => None,
            },
            state,
            error,
            bytes_done: self.progress().0,
            sources: self.source_records(),
        }
    }

    /// What is remembered of the sources.
    fn source_records(&self) -> Vec<SourceRecord> {
        let mut bytes_left = RECORD_NAMES_BYTES_MAX;
        self.sources.iter().map(|source| source.record(&mut bytes_left)).collect()
    }

    /// Whether the size is a mere claim, and another source claims another.
    pub(super) fn doubts_size(&self) -> bool {
        let proved = self.content.as_ref().is_some_and(Content::is_proved);
        let other = |source: &Source| source.size.is_some() && source.size != self.size;
        self.size.is_some() && !proved && self.sources.iter().any(other)
    }

    /// Whether no source can be asked now.
    pub(super) fn is_stuck(&self) -> bool {
        !self.sources.iter().any(|source| matches!(source.standing, Standing::Idle | Standing::Busy(_)))
    }

    /// When the first source that rests can be asked again.
    pub(super) fn first_rest(&self) -> Option<Instant> {
        let rests = self.sources.iter().filter_map(|source| match source.standing {
            Standing::Resting { until } => Some(until),
            _ => None,
        });
        rests.min()
    }

    /// The sources that were asked for something, with their places.
    pub(super) fn busy(&self) -> impl Iterator<Item = (usize, &Fetch)> {
        self.sources.iter().enumerate().filter_map(|(at, source)| Some((at, source.fetch()?)))
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    fn state_to_record(&self) -> (RecordState, Option<CallError>) {
        let state = match self.state {
            State::Done | State::Cancelled => RecordState::Dropped,
            State::Failed => RecordState::Failed { keeps_part: self.is_worth_keeping() },
            State::Paused(Pause::User) => RecordState::Paused,
            _ => RecordState::Waiting,
        };
        // Why its sources are out of reach changes with every attempt, and the next run finds out by itself.
        let rests = matches!(self.state, State::Failed | State::Paused(_));
        (state, self.error.clone().filter(|_| rests))
    }

    /// Whether the next run would not find it where it stands.
    pub(super) fn has_news(&self) -> bool {
        self.recorded_state.as_ref() != Some(&self.state_to_record())
    }

    /// Whether what it has is worth keeping though it has failed: verified groups do not come again by themselves.
    pub(super) fn is_worth_keeping(&self) -> bool {
        let verified = self.content.as_ref().is_some_and(|content| content.verified.held() > 0);
        self.part != Part::Unmade && (verified || self.recalled)
    }

    /// Logs the states in which a download rests.
    pub(super) fn log_milestone(&self, id: TransferId, old: State) {
        let (id, name) = (id.0, &self.name);
        let why = || self.error.as_ref().map_or("unknown", |error| error.message.as_str());
        match self.state {
            State::Done => {
                let check = if self.verified { "verified" } else { "not verified" };
                match &self.path {
                    Some(path) => {
                        log::info!("download {id} is done, {check}: {}", Escaped(path.as_os_str().as_bytes()))
                    }
                    None => log::info!("download {id} is done, {check}: {name}"),
                }
            }
            State::Failed => log::warn!("download {id} of {name} has failed: {}", why()),
            // It fails at once if there is nobody to ask.
            State::Retrying { .. } if self.seek.outgoing == Outgoing::Last => {}
            State::Retrying { .. } if !matches!(old, State::Retrying { .. }) => {
                log::warn!("download {id} of {name} waits: {}", why())
            }
            State::Paused(Pause::Disk { .. }) if !matches!(old, State::Paused(_)) => {
                log::warn!("download {id} of {name} is paused: {}", why());
            }
            _ => {}
        }
    }

    pub(super) fn check_invariants(&self, id: TransferId) {
        let (done, size) = self.progress();
        assert!(size.is_none_or(|size| done <= size), "{id:?} has {done} bytes of {size:?}");
        assert!(self.sources.len() <= HIT_SOURCES_MAX, "the sources of {id:?} are bounded");
        assert_eq!(self.seek.outgoing, Outgoing::None, "{id:?} knows whether there was anybody to ask");
        self.sources.iter().for_each(|source| source.names.check_invariants());
        let in_reserve = |source: &Source| matches!(source.standing, Standing::Reserve);
        let may_reserve = |source: &Source| self.aim == Aim::Name && source.origin == Origin::Name;
        assert!(
            self.sources.iter().all(|source| !in_reserve(source) || may_reserve(source)),
            "only who was found by a name alone is in reserve"
        );
        let mut asked: Vec<_> = Vec::new();
        for (_, fetch) in self.busy() {
            assert_eq!(self.state, State::Fetching, "{id:?} asks only while it fetches");
            match &fetch.task {
                Task::Groups { left, twice: false } if !left.is_empty() => asked.push((left.start, left.end)),
                Task::Groups { .. } => {}
                Task::Metadata | Task::Identify | Task::Stream | Task::Whole => {}
            }
        }
        assert!(asked.len() <= FETCHES_PER_DOWNLOAD_MAX, "the exchanges of {id:?} are bounded");
        asked.sort_unstable();
        assert!(
            asked.windows(2).all(|pair| pair[0].1 <= pair[1].0),
            "no group of {id:?} is asked for twice: {asked:?}"
        );
        if matches!(self.state, State::Fetching) {
            assert_eq!(self.part, Part::Open, "{id:?} fetches into an open part file");
        }
    }
}
