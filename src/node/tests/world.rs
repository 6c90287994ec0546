//! Several nodes and a bootstrap node with immediate connections, in virtual time.

use super::rig::{CLIENT, bootstrap, config, plain_list, scanned};
use crate::control::{CallError, CallId, Notice, Reply, Request};
use crate::fault::DialFault;
use crate::id::{ContentHash, ExchangeId};
use crate::library::ScanReport;
use crate::node::Node;
use crate::node::contract::{
    Action, CheckedPart, CommittedPart, Dialled, Event, NodeConfig, OpenedPart, Remembered, Response,
};
use crate::time::Instant;
use crate::wire::{Attributes, Listed, Message, SearchReport};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One node and its disk.
pub(super) struct Place {
    pub(super) node: Node,
    endpoint: SocketAddr,
    files: Vec<(String, u64)>,
    /// Bytes of the last file fetched.
    written: u64,
    /// The final paths of finished downloads.
    pub(super) saved: Vec<PathBuf>,
    pub(super) notices: Vec<Notice>,
    replies: VecDeque<Result<Reply, CallError>>,
}

/// The other end of an inbound exchange.
struct Caller {
    place: usize,
    exchange: ExchangeId,
    /// Messages of the stream that are not answered yet.
    open: usize,
}

/// The network.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) places: Vec<Place>,
    /// The registered peers; `None` when the bootstrap node is down.
    pub(super) registry: Option<BTreeSet<SocketAddr>>,
    /// Nodes whose machine is off.
    pub(super) dark: BTreeSet<usize>,
    callers: BTreeMap<(usize, ExchangeId), Caller>,
    /// The node that opened each stream.
    streams: BTreeMap<(usize, ExchangeId), usize>,
    exchanges: u64,
    events: VecDeque<(usize, Event)>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            now: Instant::from_ms(1_700_000_000_000),
            places: Vec::new(),
            registry: Some(BTreeSet::new()),
            dark: BTreeSet::new(),
            callers: BTreeMap::new(),
            streams: BTreeMap::new(),
            exchanges: 0,
            events: VecDeque::new(),
        }
    }

    /// Starts a node at 10.0.1.(1 + its place) that shares these files and remembers these peers.
    pub(super) fn start(&mut self, files: &[(&str, u64)], remembered: Vec<SocketAddr>, max_peers: usize) -> usize {
        let place = self.places.len();
        let endpoint = super::rig::peer(u8::try_from(place + 1).unwrap());
        let config = NodeConfig { listen: endpoint, local_addrs: vec![endpoint.ip()], max_peers, ..config() };
        self.places.push(Place {
            node: Node::new(
                self.now,
                config,
                [u8::try_from(place).unwrap(); 32],
                Remembered { peers: super::rig::remembered_peers(remembered), ..Remembered::default() },
            ),
            endpoint,
            files: files.iter().map(|(name, size)| (name.to_string(), *size)).collect(),
            written: 0,
            saved: Vec::new(),
            notices: Vec::new(),
            replies: VecDeque::new(),
        });
        self.settle();
        place
    }

    pub(super) fn call(&mut self, place: usize, request: Request) -> Result<Reply, CallError> {
        let call = CallId::Number(1);
        self.events.push_back((place, Event::Call { client: CLIENT, call, request }));
        self.settle();
        self.places[place].replies.pop_front().expect("a call is answered at once")
    }

    pub(super) fn tell(&mut self, place: usize, event: Event) {
        self.events.push_back((place, event));
        self.settle();
    }

    /// Lets time pass, from deadline to deadline.
    pub(super) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let due = self.places.iter().filter_map(|place| place.node.next_deadline()).min();
            let Some(at) = due.filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            for place in &mut self.places {
                place.node.advance(self.now);
            }
            self.settle();
        }
        self.now = end;
    }

    /// Carries out orders until there are none.
    fn settle(&mut self) {
        loop {
            for place in 0..self.places.len() {
                while self.places[place].node.has_work() {
                    self.places[place].node.work(self.now);
                }
                while let Some(action) = self.places[place].node.poll_action() {
                    self.carry_out(place, action);
                }
            }
            let Some((place, event)) = self.events.pop_front() else { break };
            if !self.dark.contains(&place) {
                self.places[place].node.handle(self.now, event);
            }
        }
    }

    fn carry_out(&mut self, place: usize, action: Action) {
        let here = &mut self.places[place];
        match action {
            Action::Dial { exchange, to, messages, .. } if to == bootstrap() => {
                self.serve_bootstrap(place, exchange, &messages[0]);
            }
            Action::Dial { exchange, to, messages, .. } => self.connect(place, exchange, to, messages),
            Action::Stream { exchange, to, messages, .. } => {
                self.connect(place, exchange, to, messages);
                let inbound = ExchangeId::Inbound(self.exchanges);
                let server = self.places.iter().position(|place| place.endpoint == to);
                self.streams.extend(server.map(|server| ((server, inbound), place)));
            }
            Action::Fetch { exchange, to, name, .. } => {
                self.connect(place, exchange, to, vec![Message::DownloadRequest { name }]);
            }
            Action::FetchMetadata { exchange, to, name, .. } => {
                self.connect(place, exchange, to, vec![Message::MetadataRequest { name }]);
            }
            Action::AnswerFirstContact { exchange } => self.answer(place, exchange, Ok(Response::SpeaksP1)),
            Action::Close { exchange } => self.answer(place, exchange, Ok(Response::Delivered)),
            Action::Report { exchange, report } => self.report(place, exchange, report),
            Action::Refuse { exchange, .. } => self.answer(place, exchange, Err(DialFault::Reset)),
            Action::SendFile { exchange, to, name } => {
                let bytes = here.node.library().seen_by(to).get(name.as_bytes()).expect("a shared file").meta.size;
                self.events.push_back((place, Event::ResponseEnded { exchange, outcome: Ok(bytes) }));
                self.answer(place, exchange, Ok(Response::File { bytes }));
            }
            Action::SendList { exchange, to, attributes } => self.send_list(place, exchange, to, attributes),
            Action::StartScan => {
                let files = here.files.iter().map(|(name, size)| scanned(name, *size)).collect();
                self.events.push_back((place, Event::Scanned { files }));
                self.events.push_back((place, Event::ScanEnded { report: ScanReport::default() }));
            }
            Action::OpenPart { download, .. } => {
                self.events.push_back((
                    place,
                    Event::PartOpened {
                        download,
                        outcome: Ok(OpenedPart::Ready { path: "/part".into(), resumed: None, filesystem: None }),
                    },
                ));
            }
            Action::CheckPart { download, .. } => {
                let checked = CheckedPart { b3: ContentHash([0; 32]), size: here.written, bad: Vec::new() };
                self.events.push_back((place, Event::PartChecked { download, outcome: Ok(checked) }));
            }
            Action::CommitPart { download } => {
                let path = PathBuf::from(format!("/saved/{}", download.0));
                here.saved.push(path.clone());
                let outcome = Ok(CommittedPart { path, already: false });
                self.events.push_back((place, Event::PartCommitted { download, outcome }));
            }
            Action::Reply { outcome, .. } => here.replies.push_back(outcome),
            Action::Notify { notice, .. } => here.notices.push(Notice::clone(&notice)),
            Action::Abort { .. } | Action::DropPart { .. } | Action::RememberPeers(_) | Action::Left => {}
            Action::HashFiles { .. } | Action::ClosePart { .. } => {}
            Action::RememberDownload { record, revision } => {
                let recorded = Event::Recorded { download: record.id, revision, outcome: Ok(()) };
                self.events.push_back((place, recorded));
            }
            Action::RememberWish { wish, revision, .. } => {
                let recorded = Event::Recorded { download: wish, revision, outcome: Ok(()) };
                self.events.push_back((place, recorded));
            }
            Action::ForgetDownload { .. } | Action::ForgetEvents { .. } | Action::KeepEventsFrom { .. } => {}
            other => panic!("{other:?} is not expected"),
        }
    }

    fn serve_bootstrap(&mut self, place: usize, exchange: ExchangeId, message: &Message) {
        let local = self.places[place].endpoint;
        let outcome = match &mut self.registry {
            None => Err(DialFault::Refused),
            Some(registry) => Ok(match message {
                Message::RequestPeerList { .. } => plain_list(registry.iter().copied().collect()),
                Message::Unregister { .. } => {
                    registry.remove(&local);
                    Response::Delivered
                }
                _ => {
                    registry.insert(local);
                    Response::Delivered
                }
            }),
        };
        let outcome = outcome.map(|response| Dialled { local, response });
        self.events.push_back((place, Event::DialEnded { exchange, outcome }));
    }

    fn connect(&mut self, place: usize, exchange: ExchangeId, to: SocketAddr, messages: Vec<Message>) {
        let listening = |(at, place): &(usize, &Place)| place.endpoint == to && !self.dark.contains(at);
        let Some((server, _)) = self.places.iter().enumerate().find(listening) else {
            self.events.push_back((place, Event::DialEnded { exchange, outcome: Err(DialFault::Unreachable) }));
            return;
        };
        self.exchanges += 1;
        let inbound = ExchangeId::Inbound(self.exchanges);
        self.callers.insert((server, inbound), Caller { place, exchange, open: messages.len() });
        let from = SocketAddr::new(self.places[place].endpoint.ip(), 40_000);
        for message in messages {
            self.events.push_back((server, Event::Request { exchange: inbound, from, message }));
        }
    }

    fn answer(&mut self, server: usize, exchange: ExchangeId, response: Result<Response, DialFault>) {
        let key = (server, exchange);
        let caller = self.callers.get_mut(&key).expect("each request is answered once");
        caller.open -= 1;
        if caller.open > 0 {
            return;
        }
        if let Some(Caller { place, exchange, .. }) = self.callers.remove(&key) {
            let local = self.places[place].endpoint;
            if let Ok(Response::File { bytes }) = response {
                self.places[place].written = bytes;
            }
            let outcome = response.map(|response| Dialled { local, response });
            self.events.push_back((place, Event::DialEnded { exchange, outcome }));
        }
    }

    fn report(&mut self, server: usize, exchange: ExchangeId, report: SearchReport) {
        if let Some(place) = self.streams.get(&(server, exchange)) {
            let peer = self.places[server].endpoint;
            self.events.push_back((*place, Event::SearchReport { peer, report }));
        }
    }

    fn send_list(&mut self, server: usize, exchange: ExchangeId, to: SocketAddr, attributes: bool) {
        let Some(caller) = self.callers.get(&(server, exchange)) else { panic!("each request is answered once") };
        let files: Vec<Listed> = self.places[server]
            .node
            .library()
            .seen_by(to)
            .list_after(None, 1_000)
            .into_iter()
            .map(|(name, file)| {
                let attributes =
                    attributes.then_some(Attributes { size: Some(file.meta.size), b3: file.b3, more: false });
                Listed { name, attributes }
            })
            .collect();
        self.events.push_back((caller.place, Event::ListBatch { exchange: caller.exchange, files }));
        self.events.push_back((server, Event::ResponseEnded { exchange, outcome: Ok(1) }));
        self.answer(server, exchange, Ok(Response::FileList { truncated: false }));
    }
}
