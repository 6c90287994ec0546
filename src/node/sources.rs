//! Who offers what a download wants: what each source is asked for now, what it has brought, and what it has deserved.
//!
//! Refuses sources of another content or another name, and more of them than a download needs.

use super::Node;
use super::contract::SourceRecord;
use super::download::{Aim, Download, State};
use super::endpoints::canonical;
use super::limits::{HIT_SOURCES_MAX, RECORD_NAMES_BYTES_MAX};
use super::names::{Ask, Names};
use super::rate::Rate;
use super::speech::Speech;
use crate::control::{SourceRow, SourceState};
use crate::id::{ExchangeId, TransferId};
use crate::name::FileName;
use crate::time::Instant;
use crate::wire::Listed;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;

/// Somebody who offers the file.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) addr: SocketAddr,
    /// What it calls the file, and what it has refused under each name since it last rested.
    pub(super) names: Names,
    /// It has shown that it speaks `p1`.
    pub(super) p1: bool,
    /// Bytes, as it claims.
    pub(super) size: Option<u64>,
    pub(super) standing: Standing,
    /// Bytes of the content that came from it and count.
    pub(super) bytes: u64,
    /// All bytes that came from it.
    pub(super) received: u64,
    pub(super) rate: Rate,
    /// Bytes per second, as earlier fetches went.
    pub(super) speed: Option<u64>,
    /// Fetches in a row that failed.
    pub(super) failures: u32,
    /// Times in a row that it said no although it has brought something, or others bring it.
    pub(super) refusals: u32,
    pub(super) asked_at: Option<Instant>,
    pub(super) error: Option<String>,
}

/// What a source does for its download.
#[derive(Debug)]
pub(super) enum Standing {
    /// It may be asked.
    Idle,
    /// It was asked.
    Busy(Fetch),
    /// It failed, and is left alone for a while.
    Resting { until: Instant },
    /// It said no to everything, and is asked again only when a search finds it again.
    Refused,
    /// It sent wrong bytes, and is never asked for this content again.
    Corrupt,
}

/// An exchange with a source.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) exchange: ExchangeId,
    pub(super) task: Task,
    /// The name that it was asked under.
    pub(super) name: Rc<FileName>,
    pub(super) began: Instant,
    /// When the last bytes came.
    pub(super) progressed: Instant,
    /// Bytes that came.
    pub(super) received: u64,
    /// Of these, the bytes of groups that came in whole.
    pub(super) counted: u64,
}

/// What a source was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Task {
    /// Code 9.
    Metadata,
    /// Code 8: these groups are still to come. `twice`: another source fetches the same, and the first to bring it wins.
    Groups { left: Range<u64>, twice: bool },
    /// Code 4, each group checked.
    Whole,
    /// Code 4, with nothing to check it against.
    Stream,
}

impl Task {
    /// The kind of request.
    pub(super) fn asks(&self) -> Ask {
        match self {
            Self::Metadata => Ask::Metadata,
            Self::Groups { .. } => Ask::Ranges,
            Self::Whole | Self::Stream => Ask::All,
        }
    }
}

impl Source {
    pub(super) fn new(addr: SocketAddr, name: Rc<FileName>, size: Option<u64>) -> Self {
        Self {
            addr,
            names: Names::new(name),
            p1: false,
            size,
            standing: Standing::Idle,
            bytes: 0,
            received: 0,
            rate: Rate::default(),
            speed: None,
            failures: 0,
            refusals: 0,
            asked_at: None,
            error: None,
        }
    }

    /// As an earlier run remembered it. `None` without a name.
    pub(super) fn recalled(record: SourceRecord, size: Option<u64>) -> Option<Self> {
        let addr = canonical(record.addr);
        let name = Rc::new(record.names.first()?.clone());
        Some(Self { p1: record.p1, names: Names::recalled(record.names)?, ..Self::new(addr, name, size) })
    }

    /// What is remembered of it, with as many of its older names as fit into this many bytes.
    fn record(&self, bytes_left: &mut usize) -> SourceRecord {
        let mut names = self.names.iter();
        let mut kept: Vec<FileName> = names.next().map(|name| FileName::clone(name)).into_iter().collect();
        for name in names {
            let Some(left) = bytes_left.checked_sub(name.as_bytes().len()) else { break };
            *bytes_left = left;
            kept.push(FileName::clone(name));
        }
        SourceRecord { addr: self.addr, names: kept, p1: self.p1 }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.standing, Standing::Idle)
    }

    /// Whether it may be asked this, now.
    pub(super) fn is_ready_for(&self, ask: Ask) -> bool {
        self.is_idle() && self.p1 && self.names.name_for(ask).is_some()
    }

    /// It will not be asked any more, as things stand.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.standing, Standing::Refused | Standing::Corrupt)
    }

    pub(super) fn fetch(&self) -> Option<&Fetch> {
        match &self.standing {
            Standing::Busy(fetch) => Some(fetch),
            _ => None,
        }
    }

    pub(super) fn fetch_mut(&mut self) -> Option<&mut Fetch> {
        match &mut self.standing {
            Standing::Busy(fetch) => Some(fetch),
            _ => None,
        }
    }

    /// The groups that it is still to bring.
    pub(super) fn groups_left(&self) -> Option<&Range<u64>> {
        match self.fetch() {
            Some(Fetch { task: Task::Groups { left, .. }, .. }) => Some(left),
            _ => None,
        }
    }

    /// Bytes per second, as well as it can be said.
    pub(super) fn speed_now(&self, now: Instant) -> Option<u64> {
        let fetch = self.fetch()?;
        let fresh = now.saturating_since(fetch.began) < super::limits::SPEED_AFTER;
        let measured = if fresh { None } else { self.rate.per_second(now, self.received) };
        measured.or(self.speed)
    }

    /// Takes a measure of the fetch that ends.
    pub(super) fn learn_speed(&mut self, now: Instant, fetch: &Fetch) {
        let ms = u64::try_from(now.saturating_since(fetch.began).as_millis()).unwrap_or(u64::MAX);
        if let Some(measured) = fetch.received.saturating_mul(1_000).checked_div(ms).filter(|_| fetch.received > 0) {
            self.speed = Some(self.speed.map_or(measured, |before| before / 2 + measured / 2));
        }
    }

    /// It has brought something that counts.
    pub(super) fn forgive(&mut self) {
        self.failures = 0;
        self.refusals = 0;
        self.error = None;
    }

    /// It may be asked for everything again, unless it sent wrong bytes.
    pub(super) fn give_another_chance(&mut self) {
        if matches!(self.standing, Standing::Resting { .. } | Standing::Refused) {
            self.standing = Standing::Idle;
            self.names.forget_refusals();
            self.refusals = 0;
        }
    }

    pub(super) fn row(&self, now: Instant) -> SourceRow {
        let state = match self.standing {
            Standing::Idle => SourceState::Idle,
            Standing::Busy(_) => SourceState::Active,
            Standing::Resting { .. } => SourceState::Waiting,
            Standing::Refused => SourceState::Refused,
            Standing::Corrupt => SourceState::Corrupt,
        };
        let rate = self.fetch().and_then(|_| self.rate.per_second(now, self.received));
        SourceRow { addr: self.addr, state, bytes: self.bytes, rate, error: self.error.clone() }
    }
}

impl Download {
    /// What is remembered of the sources.
    pub(super) fn source_records(&self) -> Vec<SourceRecord> {
        let mut bytes_left = RECORD_NAMES_BYTES_MAX;
        self.sources.iter().map(|source| source.record(&mut bytes_left)).collect()
    }

    /// Whether a file that a search found is what this download wants: its content; or its exact name, as long as
    /// nobody says that the content or the size is another.
    fn wants(&self, file: &Listed) -> bool {
        let told = file.attributes.unwrap_or_default();
        let same_size = || told.size.is_none() || self.size.is_none() || told.size == self.size;
        match (self.aim, told.b3) {
            (Aim::Content(wanted) | Aim::Learnt { b3: wanted, .. }, Some(b3)) => wanted == b3,
            _ => file.name == self.name && same_size(),
        }
    }

    /// Takes a source that a search found. Says whether there is one more to ask now.
    fn add_found(&mut self, addr: SocketAddr, file: &Listed) -> bool {
        let size = file.attributes.and_then(|told| told.size);
        if let Some(known) = self.sources.iter_mut().find(|source| source.addr == addr) {
            // Once after each search: whoever forges hits must not have us ask the same peer over and over.
            let asked_since = known.asked_at >= self.seek.sought_at;
            let again = matches!(known.standing, Standing::Refused) && !asked_since;
            if again {
                known.names.add(&Rc::new(file.name.clone()));
                known.size = size.or(known.size);
                known.give_another_chance();
            }
            return again;
        }
        self.add_source(Source::new(addr, Rc::new(file.name.clone()), size))
    }

    /// Takes a source at an address that has none, if there is room for it.
    fn add_source(&mut self, source: Source) -> bool {
        if self.sources.iter().any(|known| known.addr == source.addr) {
            return false;
        }
        if self.sources.len() < HIT_SOURCES_MAX {
            self.sources.push(source);
            return true;
        }
        let place = self.sources.iter_mut().find(|known| matches!(known.standing, Standing::Refused));
        place.map(|place| *place = source).is_some()
    }
}

impl Node {
    /// A search for further sources of a download found a file.
    pub(super) fn on_source_found(&mut self, now: Instant, id: TransferId, peer: SocketAddr, file: &Listed) {
        let peer = canonical(peer);
        let Some(download) = self.downloads.get(id).filter(|row| !row.state().is_final()) else { return };
        if !download.wants(file) {
            return;
        }
        self.downloads.unindex_sources(id);
        let size = file.attributes.and_then(|told| told.size);
        let added = self.downloads.get_mut(id).is_some_and(|row| {
            row.adopt(&file.name, size);
            row.add_found(peer, file)
        });
        self.downloads.index_sources(id);
        if added {
            log::debug!("download {}: {peer} has it as well", id.0);
            self.on_sources_added(now, id);
        }
    }

    /// A user names sources of a download that is there already.
    pub(super) fn add_sources(&mut self, now: Instant, id: TransferId, sources: Vec<Source>) {
        let Some(download) = self.downloads.get_mut(id) else { return };
        let added = sources.into_iter().map(|source| download.add_source(source)).filter(|added| *added).count();
        if added > 0 {
            self.downloads.index_sources(id);
            self.on_sources_added(now, id);
        }
    }

    fn on_sources_added(&mut self, now: Instant, id: TransferId) {
        self.learn_speech(id);
        self.remember_download(id);
        if matches!(self.downloads.get(id).map(Download::state), Some(State::Retrying { .. })) {
            self.requeue_download(now, id);
        }
        self.downloads.touch(id);
    }

    /// What the sources speak may be known by now. Says whether more of them speak `p1` than before.
    pub(super) fn learn_speech(&mut self, id: TransferId) -> bool {
        let Some(download) = self.downloads.get_mut(id) else { return false };
        let mut learnt = false;
        for source in download.sources.iter_mut().filter(|source| !source.p1) {
            source.p1 = self.peers.speech(source.addr) == Speech::P1;
            learnt |= source.p1;
        }
        learnt
    }
}
