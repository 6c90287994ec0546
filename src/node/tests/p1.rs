//! Part 2 is spoken only to peers that have shown it.

use super::rig::*;
use crate::content::GROUP_LOG2;
use crate::control::{RawText, Request, Selector};
use crate::fault::DialFault;
use crate::id::{ContentHash, ExchangeId, QueryId, TransferId};
use crate::node::contract::{
    Action, CheckedPart, CommittedPart, Event, NodeConfig, OpenedPart, Portion, Response, ResponseFault,
};
use crate::node::cx::Rng;
use crate::wire::{Attributes, Listed, Message, SearchResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

/// Takes the destinations of streams, and those of connections of their own.
fn streams_and_dials(rig: &mut Rig) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
    let streams = rig.take(|order| match order {
        Action::Stream { exchange, to, .. } => Some((*exchange, *to)),
        _ => None,
    });
    let dials: Vec<_> = rig.dials().into_iter().map(|(exchange, to, _)| (exchange, to)).collect();
    let whereto = |of: &[(ExchangeId, SocketAddr)]| of.iter().map(|(_, to)| *to).collect();
    let both = (whereto(&streams), whereto(&dials));
    streams.into_iter().chain(dials).for_each(|(exchange, _)| rig.deliver(exchange));
    both
}

#[test]
fn rings_forwards_and_hits_go_to_p1_peers_as_streams_and_to_others_as_before() {
    let mut rig = Rig::among(vec![peer(1), peer(2)], &[("song", 5)]);
    let from = SocketAddr::new(peer(9).ip(), 40_000);
    rig.request(from, query(b"p1-0000000000000001", "song", peer(1), 1));
    assert_eq!(streams_and_dials(&mut rig), (vec![], vec![peer(2), peer(1)]), "an ID may be anybody's");

    rig.search_within("x", Some(0));
    let (_, _, messages) = rig.dials().remove(0);
    let Message::Search(ours) = &messages[0] else { panic!("a search") };
    rig.hit(&ours.id, peer(1), listed("x", Some(1)));
    rig.hit(&ours.id, peer(2), listed("x", None));
    rig.request(from, query(b"p1-0000000000000002", "song", peer(1), 1));
    assert_eq!(streams_and_dials(&mut rig), (vec![peer(1)], vec![peer(2)]));
    rig.request(from, query(b"q", "song", peer(2), 1));
    assert_eq!(streams_and_dials(&mut rig), (vec![peer(1)], vec![peer(2)]));
    rig.search_within("y", Some(0));
    assert_eq!(streams_and_dials(&mut rig), (vec![peer(1)], vec![peer(2)]));
    // A message with a response gets a connection of its own.
    rig.call(Request::List { peer: peer(1) }).unwrap();
    assert_eq!(rig.dial().2, Message::ListFiles { p1: true });
}

#[test]
fn a_stream_that_fails_counts_against_the_peer_as_any_dial() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    rig.search_within("x", Some(0));
    let (_, _, Message::Search(ours)) = rig.dial() else { panic!("a search") };
    rig.hit(&ours.id, peer(1), listed("x", Some(1)));
    rig.search_within("y", Some(0));
    let stream = rig.take(|order| match order {
        Action::Stream { exchange, .. } => Some(*exchange),
        _ => None,
    });
    rig.fail(stream[0], DialFault::TimedOut);
    let Ok(crate::control::Reply::Peers(rows)) = rig.call(Request::Peers) else { panic!("peers") };
    assert_eq!(rows[0].state, crate::control::PeerState::Failing);
}

/// The content that every hashed file here has, and its size.
const CONTENT: ContentHash = ContentHash([7; 32]);
const SIZE: u64 = 3 << 20;

/// What an exchange of ours waits for.
enum Awaits {
    Delivery,
    List,
    File,
    Groups(Range<u64>),
    Metadata,
}

/// A node among peers that act at random, and what they have shown.
struct Chaos {
    rig: Rig,
    rng: Rng,
    shown: BTreeSet<SocketAddr>,
    queries: Vec<QueryId>,
    /// Requests of others that named an ID like ours.
    asked_as_p1: BTreeSet<SocketAddr>,
    open: BTreeMap<ExchangeId, (SocketAddr, Awaits)>,
    uploads: BTreeMap<ExchangeId, bool>,
    streams: u64,
    plain: u64,
    metadata: u64,
    ranges: u64,
}

impl Chaos {
    fn new(seed: u8) -> Self {
        let config = NodeConfig { bootstraps: Vec::new(), max_workers: 16, max_peers: 4, ..config() };
        let mut rig = Rig::remembering(config, vec![peer(1), peer(2), peer(3)]);
        rig.scan(&[("song", SIZE), ("other", 5), ("empty", 0)]);
        let (rng, shown, asked_as_p1) = (Rng::new([seed; 32]), BTreeSet::new(), BTreeSet::new());
        let (open, uploads) = (BTreeMap::new(), BTreeMap::new());
        Self {
            rig,
            rng,
            shown,
            queries: Vec::new(),
            asked_as_p1,
            open,
            uploads,
            streams: 0,
            plain: 0,
            metadata: 0,
            ranges: 0,
        }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.rng.number() % sides
    }

    fn chance(&mut self) -> bool {
        self.roll(2) == 0
    }

    fn any_peer(&mut self) -> SocketAddr {
        peer(self.roll(6) as u8 + 1)
    }

    fn any<T: Clone>(&mut self, of: Vec<T>) -> Option<T> {
        let at = self.roll(of.len().max(1) as u64) as usize;
        of.get(at).cloned()
    }

    fn any_file(&mut self) -> Listed {
        let text = ["song", "other", "dir/song"][self.roll(3) as usize];
        let attributes =
            Attributes { size: Some(SIZE), b3: if self.chance() { Some(CONTENT) } else { None }, more: false };
        Listed { name: name(text), attributes: if self.chance() { Some(attributes) } else { None } }
    }

    fn step(&mut self) {
        match self.roll(12) {
            0 => drop(self.rig.call(Request::Search { text: RawText::new("song"), max: None, ttl: None })),
            1 | 2 => self.hit(),
            3 => self.search(),
            4 => {
                let peer = self.any_peer();
                drop(self.rig.call(Request::List { peer }));
            }
            5 => self.order(),
            6..=8 => (0..6).for_each(|_| self.end_exchange()),
            9 => self.ask_us(),
            10 => self.end_upload(),
            _ => {
                let ms = [0, 10, 900, 900, 5_000, 5_000, 61_000, 1_900_000][self.roll(8) as usize];
                self.rig.pass(Duration::from_millis(ms));
            }
        }
        self.look_at_orders();
    }

    /// A peer answers a search of ours, for itself or in the name of another.
    fn hit(&mut self) {
        let known = self.queries.clone();
        let Some(id) = self.any(known) else { return };
        let (responder, file, honest) = (self.any_peer(), self.any_file(), self.chance());
        let from = if honest { responder.ip() } else { addr("10.0.9.9:1").ip() };
        if honest && file.attributes.is_some() {
            self.shown.insert(responder);
        }
        let message = Message::SearchResponse(SearchResponse { id, responder, file });
        self.rig.request(SocketAddr::new(from, 40_000), message);
    }

    /// A peer searches, with an ID of either form, or with one of ours and another requester.
    fn search(&mut self) {
        let (requester, from, number) = (self.any_peer(), self.any_peer(), self.roll(1_000));
        let (id, ttl) = match self.roll(3) {
            0 => (format!("base{number}"), self.roll(4)),
            1 => (format!("p1-{number:016x}"), self.roll(4)),
            _ => {
                let known = self.queries.clone();
                let ours = self.any(known).map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
                (ours.unwrap_or("x".into()), 1)
            }
        };
        if id.starts_with("p1-") {
            self.asked_as_p1.insert(requester);
        }
        self.rig.request(SocketAddr::new(from.ip(), 40_000), query(id.as_bytes(), "song", requester, ttl as u8));
    }

    /// The user begins a download, or changes one.
    fn order(&mut self) {
        let what = match self.roll(3) {
            0 => Selector::Hits("all".into()),
            1 => Selector::Content(CONTENT.to_string()),
            _ => Selector::File { peer: self.any_peer(), name: RawText::new("song") },
        };
        let ids = "all".to_string();
        let request = match self.roll(20) {
            0 => Request::Cancel { ids },
            1 => Request::Pause { ids },
            2 => Request::Resume { ids },
            3 => Request::Retry { ids },
            _ => Request::Download { what: vec![what], output: None },
        };
        // Whether there is anything to order is no matter here.
        drop(self.rig.call(request));
    }

    fn ask_us(&mut self) {
        let (from, name, number) = (self.any_peer(), name("song"), self.roll(6));
        let p1 = number == 1;
        let message = match number {
            0 => Message::DownloadRequest { name },
            1 | 2 => Message::ListFiles { p1 },
            3 => Message::MetadataRequest { name },
            _ => Message::RangeRequest { offset: self.roll(SIZE), length: 7, name },
        };
        let exchange = self.rig.request(SocketAddr::new(from.ip(), 40_000), message);
        self.uploads.insert(exchange, p1);
    }

    fn end_upload(&mut self) {
        let waiting =
            self.uploads.keys().copied().filter(|id| self.rig.node.cx.exchanges.workers().is_active(*id)).collect();
        if let Some(exchange) = self.any(waiting) {
            let outcome = if self.chance() { Ok(7) } else { Err(ResponseFault::Gone) };
            self.rig.handle(Event::ResponseEnded { exchange, outcome });
        }
    }

    /// One of our exchanges ends, one way or another.
    fn end_exchange(&mut self) {
        let fetches = self.chance();
        let fits = |awaits: &Awaits| !fetches || !matches!(awaits, Awaits::Delivery | Awaits::List);
        let open = self.open.iter().filter(|(_, (_, awaits))| fits(awaits)).map(|(exchange, _)| *exchange).collect();
        let Some(exchange) = self.any(open) else { return };
        let Some((to, awaits)) = self.open.remove(&exchange) else { return };
        let faults =
            [DialFault::Refused, DialFault::Reset, DialFault::TimedOut, DialFault::Corrupt, DialFault::Malformed];
        if self.roll(5) == 0 {
            let fault = faults[self.roll(5) as usize];
            return self.rig.fail(exchange, fault);
        }
        match awaits {
            Awaits::Delivery => self.rig.deliver(exchange),
            Awaits::List => {
                let file = self.any_file();
                if file.attributes.is_some() {
                    self.shown.insert(to);
                }
                self.rig.handle(Event::ListBatch { exchange, files: vec![file] });
                self.rig.succeed(exchange, Response::FileList { truncated: false });
            }
            Awaits::File => {
                self.rig.handle(Event::FetchProgress { exchange, bytes: SIZE });
                self.rig.succeed(exchange, Response::File { bytes: SIZE });
            }
            Awaits::Groups(groups) => {
                let bytes = (groups.end - groups.start) << GROUP_LOG2;
                groups.for_each(|group| self.rig.handle(Event::GroupVerified { exchange, group }));
                self.rig.succeed(exchange, Response::File { bytes });
            }
            Awaits::Metadata => self.rig.succeed(exchange, Response::Metadata { b3: CONTENT, size: SIZE }),
        }
    }

    /// Checks that part 2 is sent only to peers that have shown it, and answers the disk orders.
    fn look_at_orders(&mut self) {
        while !self.rig.orders.is_empty() {
            for order in std::mem::take(&mut self.rig.orders) {
                self.look_at(order);
            }
        }
    }

    fn look_at(&mut self, order: Action) {
        let opened = |exchange, to, awaits| Some((exchange, (to, awaits)));
        let begun = match order {
            Action::Stream { exchange, to, messages, .. } => {
                assert!(self.shown.contains(&to), "{to} has not shown that it takes streams");
                self.streams += 1;
                self.look_at_messages(to, &messages);
                opened(exchange, to, Awaits::Delivery)
            }
            Action::Dial { exchange, to, messages, .. } => {
                self.plain += 1;
                self.look_at_messages(to, &messages);
                let asks_code_9 = matches!(messages[0], Message::MetadataRequest { .. });
                assert!(!asks_code_9 || self.shown.contains(&to), "{to} has not shown that it knows code 9");
                let lists = matches!(messages[0], Message::ListFiles { .. });
                opened(exchange, to, if lists { Awaits::List } else { Awaits::Delivery })
            }
            Action::FetchMetadata { exchange, to, .. } => {
                self.metadata += 1;
                assert!(self.shown.contains(&to), "{to} has not shown that it knows code 9");
                opened(exchange, to, Awaits::Metadata)
            }
            Action::Fetch { exchange, to, portion: Portion::Groups(groups), .. } => {
                assert!(self.shown.contains(&to), "{to} has not shown that it knows code 8");
                assert!(!groups.is_empty());
                self.ranges += 1;
                opened(exchange, to, Awaits::Groups(groups))
            }
            Action::Fetch { exchange, to, .. } => opened(exchange, to, Awaits::File),
            Action::SendList { exchange, attributes, .. } => {
                assert_eq!(Some(&attributes), self.uploads.get(&exchange), "attributes are for who asked for them");
                None
            }
            Action::Abort { exchange } => {
                if self.open.remove(&exchange).is_some() {
                    self.rig.fail(exchange, DialFault::Aborted);
                }
                None
            }
            other => {
                self.play_disk(other);
                None
            }
        };
        self.open.extend(begun);
    }

    fn look_at_messages(&mut self, to: SocketAddr, messages: &[Message]) {
        for message in messages {
            match message {
                Message::Search(search) if search.requester == us() => self.queries.push(search.id.clone()),
                Message::Search(_) | Message::ListFiles { .. } => {}
                Message::SearchResponse(hit) => {
                    let p1 = hit.file.attributes.is_some() || messages.len() > 1;
                    let may = hit.id.is_p1() && self.asked_as_p1.contains(&to);
                    assert!(may || !p1, "{to} asked as a base peer does");
                }
                Message::MetadataRequest { .. } => {
                    assert!(self.shown.contains(&to), "{to} has not shown that it knows code 9");
                }
                other => panic!("{other:?} is not for a peer"),
            }
        }
    }

    fn play_disk(&mut self, order: Action) {
        let event = match order {
            Action::OpenPart { download, .. } => {
                let outcome = Ok(OpenedPart::Ready { path: "/part".into(), resumed: None, filesystem: None });
                Event::PartOpened { download, outcome }
            }
            Action::CheckPart { download, .. } => Event::PartChecked { download, outcome: Ok(self.checked(download)) },
            Action::CommitPart { download } => {
                let outcome = Ok(CommittedPart { path: "/whole".into(), already: false });
                Event::PartCommitted { download, outcome }
            }
            _ => return,
        };
        self.rig.handle(event);
    }

    fn checked(&mut self, _: TransferId) -> CheckedPart {
        let b3 = if self.chance() { CONTENT } else { ContentHash([8; 32]) };
        CheckedPart { b3, size: SIZE, bad: Vec::new() }
    }
}

#[test]
fn nothing_of_part_2_is_sent_to_a_peer_that_has_not_shown_p1() {
    let (mut streams, mut plain, mut metadata, mut ranges) = (0, 0, 0, 0);
    for seed in 0..40 {
        let mut chaos = Chaos::new(seed);
        (0..300).for_each(|_| chaos.step());
        streams += chaos.streams;
        plain += chaos.plain;
        metadata += chaos.metadata;
        ranges += chaos.ranges;
    }
    let seen = format!("{streams} streams, {plain} dials, {metadata} metadata, {ranges} ranges");
    assert!(streams > 100 && plain > 100 && metadata > 20 && ranges > 10, "all forms were seen: {seen}");
}
