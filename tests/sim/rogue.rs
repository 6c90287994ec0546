//! Programs of the test's own: old peers, silent ones, and those that mean harm.

use crate::content::Content;
use crate::flows::{Ending, Flow};
use crate::random::Random;
use crate::responses::Metadata;
use pyrate::fault::DiskFault;
use pyrate::id::QueryId;
use pyrate::name::FileName;
use pyrate::time::Instant;
use pyrate::wire::{Listed, ListedPeer, Message, Search, SearchResponse};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// What a rogue does with a request.
pub(crate) enum Answer {
    /// FIN.
    Close,
    /// RST.
    Refuse,
    /// The answer of a `p1` node to a first contact.
    SpeaksP1,
    /// Nothing, for ever.
    Silence,
    /// A list, then FIN.
    List(Vec<Listed>),
    /// The list of a bootstrap node, then FIN.
    Peers(Vec<ListedPeer>),
    /// Bytes of a file.
    File(Flow),
    /// FIN; then the bytes of a file, on a connection to the port that the request came from. If that connection is
    /// refused, the program ends.
    CallBack(Flow),
    /// Metadata, then FIN.
    Metadata(Metadata),
    /// Bytes in place of a manifest.
    Manifest(Vec<u8>, Ending),
    /// The program ends.
    Die,
}

/// A stream of messages to somebody.
pub(crate) type Sending = (SocketAddr, Vec<Message>);

/// A program of the test's own.
pub(crate) trait Rogue {
    /// Answers a request; may send something too.
    fn on_request(&mut self, me: SocketAddr, message: &Message) -> (Answer, Vec<Sending>);

    /// Nodes are configured with it as a bootstrap node.
    fn is_bootstrap(&self) -> bool {
        false
    }

    /// When [`on_tick`](Self::on_tick) is to be called.
    fn next_tick(&self) -> Option<Instant> {
        None
    }

    /// Time has come.
    fn on_tick(&mut self, _now: Instant, _me: SocketAddr, _random: &mut Random) -> Vec<Sending> {
        Vec::new()
    }
}

/// Registers with a bootstrap node again and again, as peers do.
pub(crate) struct Registering {
    bootstrap: SocketAddr,
    p1: bool,
    next: Instant,
}

impl Registering {
    const KEEPALIVE: Duration = Duration::from_secs(240);

    pub(crate) fn new(bootstrap: SocketAddr, p1: bool) -> Self {
        Self { bootstrap, p1, next: Instant::from_ms(0) }
    }

    pub(crate) fn next_tick(&self) -> Option<Instant> {
        Some(self.next)
    }

    pub(crate) fn on_tick(&mut self, now: Instant, me: SocketAddr) -> Vec<Sending> {
        self.next = now + Self::KEEPALIVE;
        vec![(self.bootstrap, vec![Message::Register { port: me.port(), p1: self.p1 }])]
    }
}

/// Takes everything and answers nothing; the test reads what came.
pub(crate) struct Ear;

impl Rogue for Ear {
    fn on_request(&mut self, _: SocketAddr, _: &Message) -> (Answer, Vec<Sending>) {
        (Answer::Close, Vec::new())
    }
}

/// Accepts connections and never says a word.
pub(crate) struct Tarpit;

impl Rogue for Tarpit {
    fn on_request(&mut self, _: SocketAddr, _: &Message) -> (Answer, Vec<Sending>) {
        (Answer::Silence, Vec::new())
    }
}

/// Breaks every connection off.
pub(crate) struct Refuser;

impl Rogue for Refuser {
    fn on_request(&mut self, _: SocketAddr, _: &Message) -> (Answer, Vec<Sending>) {
        (Answer::Refuse, Vec::new())
    }
}

/// Offers a file under its exact name and breaks off in the middle of it.
pub(crate) struct Breaker {
    pub(crate) name: FileName,
    pub(crate) content: Content,
}

impl Rogue for Breaker {
    fn on_request(&mut self, me: SocketAddr, message: &Message) -> (Answer, Vec<Sending>) {
        match message {
            Message::Search(search) => (Answer::Close, hit(me, search, &self.name)),
            Message::DownloadRequest { name } if *name == self.name => {
                let half = self.content.size / 2;
                let flow = Flow { ending: Ending::Reset(DiskFault::Shrank), ..Flow::range(self.content, 0, half) };
                (Answer::File(flow), Vec::new())
            }
            _ => (Answer::Refuse, Vec::new()),
        }
    }
}

/// The client of 2013: lists plainly, answers exact names, and sends a file only by calling back. It registers, and
/// keeps alive.
pub(crate) struct OldPeer {
    pub(crate) bootstrap: SocketAddr,
    pub(crate) name: FileName,
    pub(crate) content: Content,
    pub(crate) next: Instant,
}

impl Rogue for OldPeer {
    fn on_request(&mut self, me: SocketAddr, message: &Message) -> (Answer, Vec<Sending>) {
        match message {
            Message::Search(search) if *search.text == *self.name.as_bytes() => {
                (Answer::Close, hit(me, search, &self.name))
            }
            Message::ListFiles { .. } => {
                (Answer::List(vec![Listed { name: self.name.clone(), attributes: None }]), Vec::new())
            }
            Message::DownloadRequest { name } if *name == self.name => {
                (Answer::CallBack(Flow::whole(self.content)), Vec::new())
            }
            _ => (Answer::Close, Vec::new()),
        }
    }

    fn next_tick(&self) -> Option<Instant> {
        Some(self.next)
    }

    fn on_tick(&mut self, now: Instant, me: SocketAddr, _: &mut Random) -> Vec<Sending> {
        self.next = now + Duration::from_secs(300);
        vec![(self.bootstrap, vec![Message::Register { port: me.port(), p1: false }])]
    }
}

/// A base peer that also passes searches on, to neighbours of its own.
pub(crate) struct OldRelay {
    pub(crate) peer: OldPeer,
    pub(crate) neighbours: Vec<SocketAddr>,
    /// The highest TTL of each search that it has seen.
    pub(crate) seen: HashMap<(QueryId, SocketAddr), u8>,
}

impl Rogue for OldRelay {
    fn on_request(&mut self, me: SocketAddr, message: &Message) -> (Answer, Vec<Sending>) {
        let Message::Search(search) = message else { return self.peer.on_request(me, message) };
        let highest = self.seen.insert((search.id.clone(), search.requester), search.ttl);
        let mut sendings = match highest {
            None => self.peer.on_request(me, message).1,
            Some(highest) if highest >= search.ttl => {
                self.seen.insert((search.id.clone(), search.requester), highest);
                return (Answer::Close, Vec::new());
            }
            Some(_) => Vec::new(),
        };
        if search.ttl > 0 {
            let onward = Search { ttl: search.ttl - 1, ..search.clone() };
            let others = self.neighbours.iter().filter(|neighbour| **neighbour != search.requester);
            sendings.extend(others.map(|to| (*to, vec![Message::Search(onward.clone())])));
        }
        (Answer::Close, sendings)
    }

    fn next_tick(&self) -> Option<Instant> {
        self.peer.next_tick()
    }

    fn on_tick(&mut self, now: Instant, me: SocketAddr, random: &mut Random) -> Vec<Sending> {
        self.peer.on_tick(now, me, random)
    }
}

/// Registers like a peer, answers every search with hits for queries that nobody made, and floods its victims with
/// searches that claim to come from others.
pub(crate) struct Vandal {
    pub(crate) bootstrap: SocketAddr,
    pub(crate) victims: Vec<SocketAddr>,
    pub(crate) interval: Duration,
    pub(crate) next: Instant,
    pub(crate) sent: u64,
}

impl Rogue for Vandal {
    fn on_request(&mut self, me: SocketAddr, message: &Message) -> (Answer, Vec<Sending>) {
        let Message::Search(search) = message else { return (Answer::Refuse, Vec::new()) };
        self.sent += 1;
        let name = FileName::from_bytes(b"../../etc/passwd").unwrap();
        let response = |id, responder| {
            let file = Listed { name: name.clone(), attributes: None };
            Message::SearchResponse(SearchResponse { id, responder, file })
        };
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 1));
        let hits = vec![
            response(QueryId::p1(self.sent), me),
            response(search.id.clone(), nowhere),
            response(search.id.clone(), search.requester),
            response(search.id.clone(), me),
        ];
        (Answer::Close, vec![(search.requester, hits)])
    }

    fn next_tick(&self) -> Option<Instant> {
        Some(self.next)
    }

    fn on_tick(&mut self, now: Instant, me: SocketAddr, random: &mut Random) -> Vec<Sending> {
        self.next = now + self.interval;
        let mut sendings = vec![(self.bootstrap, vec![Message::Keepalive { port: me.port(), p1: false }])];
        for _ in 0..5 {
            let requester = *random.pick(&self.victims);
            let claimed = match random.below(4) {
                0 => SocketAddr::new(requester.ip(), 22),
                1 => SocketAddr::from(([255, 255, 255, 255], 63339)),
                2 => SocketAddr::from(([10, 99, random.below(256) as u8, 1], 63339)),
                _ => requester,
            };
            let id = QueryId::p1(random.below(50));
            let ttl = random.below(256) as u8;
            let search = Search { id, text: b"common".as_slice().into(), requester: claimed, ttl };
            sendings.push((*random.pick(&self.victims), vec![Message::Search(search)]));
        }
        sendings
    }
}

/// One hit for a search, sent where it asks for it.
fn hit(me: SocketAddr, search: &Search, name: &FileName) -> Vec<Sending> {
    let file = Listed { name: name.clone(), attributes: None };
    let response = SearchResponse { id: search.id.clone(), responder: me, file };
    vec![(search.requester, vec![Message::SearchResponse(response)])]
}
