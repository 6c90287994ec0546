//! Peers that mean harm to a whole network. Each keeps itself registered as a peer does, passes no search on, and does harm of
//! one kind; and a bootstrap node that lists nobody else.

use crate::addresses::silent_endpoint;
use crate::random::Random;
use crate::rogue::{Answer, Rogue, Sending};
use crate::sources::Source;
use pyrate::id::{ContentHash, QueryId};
use pyrate::name::FileName;
use pyrate::time::Instant;
use pyrate::wire::{Attributes, Listed, ListedPeer, Message, Search, SearchResponse};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// How often it registers again.
const KEEPALIVE: Duration = Duration::from_secs(240);

/// How often it sends what it has to send.
const TICK: Duration = Duration::from_millis(200);

/// Ticks in a second.
const TICKS_PER_SECOND: u64 = 5;

/// The harm that a peer does.
pub(crate) enum Harm {
    /// No more than to pass no search on, and to answer none.
    Swallows,
    /// Searches that go far and are answered by many.
    Floods(Flood),
    /// Searches that nobody answers, and hits for the searches of others: they are sent for the endpoints that they name, at
    /// which nobody is.
    Claims(Flood),
    /// So many hits for each search, of contents that do not exist.
    ForgesHits { rows: u64 },
    /// Files that others share too, each with a vice.
    Offers(Vec<Source>),
}

/// Searches, each for a requester of its own that never accepts a connection.
#[derive(Clone)]
pub(crate) struct Flood {
    /// Who gets them.
    pub(crate) victims: Rc<[SocketAddr]>,
    pub(crate) text: &'static [u8],
    pub(crate) ttl: u8,
    pub(crate) per_second: u64,
}

/// A peer that does harm.
pub(crate) struct Hostile {
    bootstraps: Rc<[SocketAddr]>,
    harm: Harm,
    keepalive_at: Instant,
    harm_at: Instant,
    /// Searches that were answered.
    answered: BTreeSet<QueryId>,
    /// Counts what was made up.
    made_up: u64,
}

impl Hostile {
    /// It is registered from the beginning, and sends nothing else of its own before `harm_at`.
    pub(crate) fn new(bootstraps: Rc<[SocketAddr]>, harm: Harm, harm_at: Instant) -> Self {
        let keepalive_at = Instant::from_ms(0);
        Self { bootstraps, harm, keepalive_at, harm_at, answered: BTreeSet::new(), made_up: 0 }
    }

    /// A number that no other of these peers makes up.
    fn make_up(&mut self, me: SocketAddr) -> u64 {
        self.made_up += 1;
        let text = me.to_string();
        let host = text.bytes().fold(0, |sum, byte| (sum * 31 + u64::from(byte)) % 1_000_003);
        (host << 32) + self.made_up
    }

    fn answer_search(&mut self, me: SocketAddr, search: &Search) -> Vec<Sending> {
        if let Harm::Offers(sources) = &mut self.harm {
            let message = Message::Search(search.clone());
            return sources.iter_mut().flat_map(|source| source.on_request(me, &message).1).collect();
        }
        let hits = match self.harm {
            Harm::ForgesHits { rows } => rows,
            Harm::Claims(_) => 1,
            Harm::Swallows | Harm::Floods(_) | Harm::Offers(_) => return Vec::new(),
        };
        if !self.answered.insert(search.id.clone()) {
            return Vec::new();
        }
        vec![(search.requester, (0..hits).map(|_| self.forge_hit(me, search)).collect())]
    }

    /// A hit that fits the search. Every second one names somebody else as the one that has the file.
    fn forge_hit(&mut self, me: SocketAddr, search: &Search) -> Message {
        let number = self.make_up(me);
        let mut b3 = [7; 32];
        b3[..8].copy_from_slice(&number.to_le_bytes());
        let attributes = Attributes { size: Some(1 + number % 10_000_000), b3: Some(ContentHash(b3)), more: false };
        let name = FileName::from_bytes(&search.text).unwrap();
        let is_claim = matches!(self.harm, Harm::Claims(_)) || number.is_multiple_of(2);
        let responder = if is_claim { silent_endpoint(me, number) } else { me };
        let file = Listed { name, attributes: Some(attributes) };
        Message::SearchResponse(SearchResponse { id: search.id.clone(), responder, file })
    }

    /// What it sends in one tick.
    fn do_harm(&mut self, me: SocketAddr, random: &mut Random) -> Vec<Sending> {
        let (Harm::Floods(flood) | Harm::Claims(flood)) = &self.harm else { return Vec::new() };
        let flood = flood.clone();
        let send = |_| {
            let number = self.make_up(me);
            let requester = silent_endpoint(me, number);
            let search = Search { id: QueryId::p1(number), text: flood.text.into(), requester, ttl: flood.ttl };
            (*random.pick(&flood.victims), vec![Message::Search(search)])
        };
        (0..flood.per_second / TICKS_PER_SECOND).map(send).collect()
    }
}

/// The file that somebody asks for.
fn file_asked_for(message: &Message) -> Option<&FileName> {
    match message {
        Message::DownloadRequest { name } | Message::RangeRequest { name, .. } | Message::MetadataRequest { name } => {
            Some(name)
        }
        _ => None,
    }
}

impl Rogue for Hostile {
    fn on_request(&mut self, me: SocketAddr, message: &Message) -> (Answer, Vec<Sending>) {
        match message {
            Message::Search(search) => return (Answer::Close, self.answer_search(me, search)),
            Message::SearchResponse(_) => return (Answer::Close, Vec::new()),
            Message::FirstContact { .. } => return (Answer::SpeaksP1, Vec::new()),
            _ => {}
        }
        let (Harm::Offers(sources), Some(name)) = (&mut self.harm, file_asked_for(message)) else {
            return (Answer::Refuse, Vec::new());
        };
        let source = sources.iter_mut().find(|source| source.name == *name);
        source.map_or((Answer::Refuse, Vec::new()), |source| source.on_request(me, message))
    }

    fn next_tick(&self) -> Option<Instant> {
        let sends = matches!(self.harm, Harm::Floods(_) | Harm::Claims(_));
        Some(if sends { self.keepalive_at.min(self.harm_at) } else { self.keepalive_at })
    }

    fn on_tick(&mut self, now: Instant, me: SocketAddr, random: &mut Random) -> Vec<Sending> {
        let mut sendings = Vec::new();
        if self.keepalive_at <= now {
            self.keepalive_at = now + KEEPALIVE;
            let register = Message::Register { port: me.port(), p1: true };
            sendings.extend(self.bootstraps.iter().map(|&to| (to, vec![register.clone()])));
        }
        if self.harm_at <= now {
            self.harm_at = now + TICK;
            sendings.extend(self.do_harm(me, random));
        }
        sendings
    }
}

/// A bootstrap node that takes every registration, and lists its accomplices alone.
pub(crate) struct Accomplices(pub(crate) Rc<RefCell<Vec<SocketAddr>>>);

impl Rogue for Accomplices {
    fn on_request(&mut self, _: SocketAddr, message: &Message) -> (Answer, Vec<Sending>) {
        let Message::RequestPeerList { peers_max, .. } = message else { return (Answer::Close, Vec::new()) };
        let accomplices = self.0.borrow();
        let listed = accomplices.iter().take(*peers_max as usize).map(|&addr| ListedPeer { addr, p1: true });
        (Answer::Peers(listed.collect()), Vec::new())
    }

    fn is_bootstrap(&self) -> bool {
        true
    }
}
