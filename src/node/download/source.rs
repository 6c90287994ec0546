//! Who offers what a download wants: what each source is asked for now, what it has brought, and what it has deserved.
//!
//! Who becomes a source is decided in [`finding`](crate::node::download::finding).

use super::names::{Ask, Names, NamesTold};
use crate::control::{SourceFault, SourceRow, SourceState};
use crate::id::ExchangeId;
use crate::name::FileName;
use crate::node::answer::Teller;
use crate::node::contract::{Portion, SourceRecord};
use crate::node::limits::HELD_AFTERMATH;
use crate::node::network::canonical;
use crate::node::rate::Rate;
use crate::time::Instant;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

/// A peer that offers the file.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) addr: SocketAddr,
    /// What it calls the file, and what it has refused under each name since it last rested.
    pub(super) names: Names,
    /// It has shown that it speaks `p1`.
    pub(super) p1: bool,
    pub(super) origin: Origin,
    /// Whether it was asked what it speaks, as long as that is not known.
    pub(super) contact: Contact,
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
    /// Times in a row that it was out of reach or broke off, and did not say why.
    pub(super) silences: u32,
    /// Times in a row that it said no although it has brought something, or others bring it.
    pub(super) refusals: u32,
    pub(super) asked_at: Option<Instant>,
    /// Times in a row that it said that it has another content by now, and gave nothing of it.
    pub(super) changes: u32,
    pub(super) excuse: Excuse,
    pub(super) names_told: NamesTold,
    /// It is to say what it has before it is asked for anything else.
    pub(super) doubt: Option<Doubt>,
    /// Its last fault.
    pub(super) fault: Option<SourceFault>,
}

/// What a source does for its download.
#[derive(Debug)]
pub(super) enum Standing {
    /// It may be asked.
    Idle,
    /// It may be asked only where no source can that the user chose.
    Reserve,
    /// It was asked.
    Busy(Fetch),
    /// It failed, and is left alone for a while.
    Resting { until: Instant },
    /// It said no to everything, and is asked again only when a search finds it again.
    Refused,
    /// It sent wrong bytes, and is not asked for this content again; once it is, if nobody else can be asked.
    Corrupt,
}

/// Whether a source that sent wrong bytes, and said that it has the content all the same, may be asked once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excuse {
    /// It has done no such thing.
    NotNeeded,
    /// It may, when nobody else can be asked.
    Due,
    /// It was.
    Used,
}

/// A source that speaks `p1` did not give the content that it offered. Its file may have changed, or have another name by
/// now; it lies only if it still says that it has this content.
#[derive(Debug)]
pub(super) struct Doubt {
    /// What it was asked for.
    pub(super) task: Task,
    /// The name that it was asked under.
    pub(super) name: Rc<FileName>,
    pub(super) charge: Charge,
}

/// What a source did instead of giving the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Charge {
    /// It refused, after this time.
    Refused { took: Duration },
    /// It sent what is not of this content. Why.
    Corrupt(SourceFault),
    /// A hit says that it has another content under this name.
    OtherByHit,
}

/// An exchange with a source.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) exchange: ExchangeId,
    pub(super) task: Task,
    /// Another source brings the same group, and the first to do so wins.
    pub(super) twice: bool,
    /// The name that it was asked under.
    pub(super) name: Rc<FileName>,
    pub(super) began: Instant,
    /// When the last bytes came.
    pub(super) progressed: Instant,
    /// Bytes that came.
    pub(super) received: u64,
    /// Of these, the bytes of groups that came in whole.
    pub(super) counted: u64,
    /// Bytes of the first group that an earlier exchange has brought, until it is whole.
    pub(super) resumed: u64,
    /// When our own limit, or our disk, held it back last.
    pub(super) held_at: Option<Instant>,
    /// When our limit did.
    pub(super) limited_at: Option<Instant>,
}

impl Fetch {
    pub(super) fn new(now: Instant, exchange: ExchangeId, task: Task, twice: bool, name: Rc<FileName>) -> Self {
        let (began, progressed) = (now, now);
        let (received, counted, resumed, held_at, limited_at) = (0, 0, 0, None, None);
        Self { exchange, task, twice, name, began, progressed, received, counted, resumed, held_at, limited_at }
    }

    /// Our limit or our disk holds it back: what it brings says nothing about its source.
    pub(super) fn hold(&mut self, now: Instant, by_disk: bool) {
        self.held_at = Some(now);
        if !by_disk {
            self.limited_at = Some(now);
        }
        self.progressed = now;
    }

    /// For how long it has had the chance to bring what its source can send. Measured rates cover [`RATE_SPAN`], so
    /// that they mean something only when it was not held back for as long.
    pub(super) fn tried_for(&self, now: Instant) -> Duration {
        now.saturating_since(self.held_at.map_or(self.began, |at| at + HELD_AFTERMATH))
    }

    /// Whether our limit or our disk holds it back, or did so a moment ago.
    pub(super) fn is_held(&self, now: Instant) -> bool {
        self.held_at.is_some_and(|at| now < at + HELD_AFTERMATH)
    }

    /// The same of our limit alone.
    pub(super) fn is_limited(&self, now: Instant) -> bool {
        self.limited_at.is_some_and(|at| now < at + HELD_AFTERMATH)
    }

    /// Bytes of groups that are not whole yet.
    pub(super) fn in_flight(&self) -> u64 {
        self.resumed + self.received.saturating_sub(self.counted)
    }
}

/// What a source is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Task {
    /// Code 9.
    Metadata,
    /// Code 9, of which the first line tells which content the source has.
    Identify,
    /// Codes 4 and 8. Of groups, those that are still to come.
    File(Portion),
}

impl Task {
    /// For the log.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Identify => "identity",
            Self::File(Portion::Groups(_)) => "groups",
            Self::File(Portion::Whole) => "file",
            Self::File(Portion::Stream { .. }) => "stream",
        }
    }

    pub(super) fn groups(groups: Range<u64>) -> Self {
        Self::File(Portion::Groups(groups))
    }

    /// The groups that are still to come.
    pub(super) fn left(&self) -> Option<&Range<u64>> {
        if let Self::File(Portion::Groups(left)) = self { Some(left) } else { None }
    }

    pub(super) fn left_mut(&mut self) -> Option<&mut Range<u64>> {
        if let Self::File(Portion::Groups(left)) = self { Some(left) } else { None }
    }

    /// Whether nothing checks what comes.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::File(Portion::Stream { .. }))
    }

    /// The kind of request.
    pub(super) fn asks(&self) -> Ask {
        match self {
            Self::Metadata | Self::Identify => Ask::Metadata,
            Self::File(Portion::Groups(_)) => Ask::Ranges,
            Self::File(Portion::Whole | Portion::Stream { .. }) => Ask::All,
        }
    }
}

/// Why a peer is a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The user named it, or a hit that it offers.
    Chosen,
    /// It offers the hash that is wanted.
    Content,
    /// A search found it that offers a file of the wanted name, and no hash that is wanted.
    Name,
}

/// Whether a source whose protocol is unknown was asked what it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contact {
    /// It was not asked yet.
    Due,
    /// It was asked; the answer is waited for until then.
    Awaited { until: Instant },
    /// It has answered, or has not in time, or cannot be asked.
    Over,
}

impl Source {
    /// One that the user chose.
    pub(super) fn new(addr: SocketAddr, name: Rc<FileName>, size: Option<u64>) -> Self {
        Self {
            addr,
            names: Names::new(name, Teller::Source),
            p1: false,
            origin: Origin::Chosen,
            contact: Contact::Due,
            size,
            standing: Standing::Idle,
            bytes: 0,
            received: 0,
            rate: Rate::default(),
            speed: None,
            failures: 0,
            silences: 0,
            refusals: 0,
            asked_at: None,
            changes: 0,
            excuse: Excuse::NotNeeded,
            names_told: NamesTold::default(),
            doubt: None,
            fault: None,
        }
    }

    /// As an earlier run remembered it, of a download whose hash is known or not. `None` without a name.
    pub(super) fn recalled(record: SourceRecord, size: Option<u64>, is_known: bool) -> Option<Self> {
        let addr = canonical(record.addr);
        let name = Rc::new(record.names.first()?.clone());
        let (origin, standing) = match (record.is_chosen, is_known) {
            (true, _) => (Origin::Chosen, Standing::Idle),
            (false, true) => (Origin::Content, Standing::Idle),
            (false, false) => (Origin::Name, Standing::Reserve),
        };
        let names = Names::recalled(record.names)?;
        Some(Self { p1: record.p1, names, origin, standing, ..Self::new(addr, name, size) })
    }

    /// What is remembered of it, with as many of its older names as fit into this many bytes.
    pub(super) fn record(&self, bytes_left: &mut usize) -> SourceRecord {
        let mut names = self.names.iter();
        let mut kept: Vec<FileName> = names.next().map(|name| FileName::clone(name)).into_iter().collect();
        for name in names {
            let Some(left) = bytes_left.checked_sub(name.as_bytes().len()) else { break };
            *bytes_left = left;
            kept.push(FileName::clone(name));
        }
        SourceRecord { addr: self.addr, names: kept, p1: self.p1, is_chosen: self.origin == Origin::Chosen }
    }

    /// Whether it has brought something that counts.
    pub(super) fn has_delivered(&self) -> bool {
        self.bytes > 0
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.standing, Standing::Idle) && self.doubt.is_none()
    }

    /// Whether it may be asked this, now.
    pub(super) fn is_ready_for(&self, ask: Ask) -> bool {
        let may_give = self.origin != Origin::Name || ask == Ask::All;
        may_give && self.is_idle() && self.p1 && self.names.name_for(ask).is_some()
    }

    pub(super) fn fetch(&self) -> Option<&Fetch> {
        if let Standing::Busy(fetch) = &self.standing { Some(fetch) } else { None }
    }

    pub(super) fn fetch_mut(&mut self) -> Option<&mut Fetch> {
        if let Standing::Busy(fetch) = &mut self.standing { Some(fetch) } else { None }
    }

    /// The groups that it is still to bring.
    pub(super) fn groups_left(&self) -> Option<&Range<u64>> {
        self.fetch()?.task.left()
    }

    /// Until when the first answer to a first contact is or was waited for, if there was none and it was asked for nothing
    /// else since.
    pub(super) fn contact_until(&self) -> Option<Instant> {
        match self.contact {
            Contact::Awaited { until } if self.is_idle() && !self.p1 => Some(until),
            _ => None,
        }
    }

    /// Until when the answer to a first contact is waited for.
    pub(super) fn contact_awaited(&self, now: Instant) -> Option<Instant> {
        self.contact_until().filter(|until| now < *until)
    }

    /// Bytes per second, as well as it can be said.
    pub(super) fn speed_now(&self, now: Instant) -> Option<u64> {
        let fetch = self.fetch()?;
        let fresh = now.saturating_since(fetch.began) < crate::node::limits::SPEED_AFTER;
        let measured = if fresh { None } else { self.rate.per_second(now, self.received) };
        measured.or(self.speed)
    }

    /// Takes a measure of the fetch that ends.
    pub(super) fn learn_speed(&mut self, now: Instant, fetch: &Fetch) {
        let ms = u64::try_from(now.saturating_since(fetch.began).as_millis()).unwrap_or(u64::MAX);
        if let Some(measured) = fetch.received.saturating_mul(1_000).checked_div(ms).filter(|_| fetch.received > 0) {
            self.speed = Some(match self.speed {
                // It can send this much at least.
                Some(before) if fetch.is_held(now) => before.max(measured),
                Some(before) => before / 2 + measured / 2,
                None => measured,
            });
        }
    }

    /// It has brought something that counts.
    pub(super) fn forgive(&mut self) {
        self.failures = 0;
        self.silences = 0;
        self.refusals = 0;
        self.changes = 0;
        self.fault = None;
    }

    /// It may be asked for everything again, unless it sent wrong bytes.
    pub(super) fn give_another_chance(&mut self) {
        if matches!(self.standing, Standing::Resting { .. } | Standing::Refused) {
            self.standing = Standing::Idle;
            self.names.forget_refusals();
            self.refusals = 0;
        }
    }

    /// The address and fault to show, where a download cannot go on.
    pub(super) fn blamed(&self) -> Option<(SocketAddr, SourceFault)> {
        Some((self.addr, self.fault?))
    }

    pub(super) fn row(&self, now: Instant) -> SourceRow {
        let state = match self.standing {
            Standing::Idle => SourceState::Idle,
            Standing::Busy(_) => SourceState::Active,
            Standing::Reserve | Standing::Resting { .. } => SourceState::Waiting,
            Standing::Refused => SourceState::Refused,
            Standing::Corrupt => SourceState::Corrupt,
        };
        let rate = self.fetch().and_then(|_| self.rate.per_second(now, self.received));
        SourceRow { addr: self.addr, state, bytes: self.bytes, rate, error: self.fault.map(|fault| fault.to_string()) }
    }
}
