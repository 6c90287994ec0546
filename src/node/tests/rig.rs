//! One node whose environment is simulated by the test.

use crate::audience::Audiences;
use crate::control::{
    CallError, CallId, HitRow, HitsReply, Notice, PeerSource, RawText, Reply, Request, SearchStarted,
};
use crate::fault::DialFault;
use crate::id::{ClientId, ExchangeId, QueryId, TransferId};
use crate::library::{FileMeta, ScanReport, ScannedFile};
use crate::name::FileName;
use crate::node::Node;
use crate::node::answer::Answer;
use crate::node::contract::{
    Action, BootstrapAddr, Dialled, Event, Expect, NodeConfig, Remembered, RememberedPeers, Response,
};
use crate::node::cx::exchanges::Purpose;
use crate::node::network::Net;
use crate::node::speech::Evidence;
use crate::time::Instant;
use crate::wire::{Attributes, Listed, ListedPeer, Message, Search, SearchResponse};
use std::net::SocketAddr;
use std::time::Duration;

pub(super) const CLIENT: ClientId = ClientId(1);

pub(super) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The n-th peer that is not us.
pub(super) fn peer(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, n], 63_339))
}

pub(super) fn bootstrap() -> SocketAddr {
    addr("10.0.0.1:21168")
}

pub(super) fn us() -> SocketAddr {
    addr("10.0.0.2:63339")
}

pub(super) fn name(text: &str) -> FileName {
    FileName::from_bytes(text.as_bytes()).unwrap()
}

pub(super) fn scanned(text: &str, size: u64) -> ScannedFile {
    let meta = FileMeta { size, mtime_ns: 0, ctime_ns: 0, inode: 1, device: 1 };
    ScannedFile { name: name(text), meta, executable: false }
}

pub(super) fn listed(text: &str, size: Option<u64>) -> Listed {
    Listed { name: name(text), attributes: size.map(|size| Attributes { size: Some(size), b3: None, more: false }) }
}

pub(super) fn config() -> NodeConfig {
    NodeConfig {
        bootstraps: vec![BootstrapAddr { host: "10.0.0.1".into(), port: 21_168 }],
        listen: addr("0.0.0.0:63339"),
        advertise_addr: None,
        local_addrs: vec![addr("127.0.0.1:0").ip(), us().ip()],
        keepalive_refresh: Duration::from_secs(300),
        filemonitor_refresh: Duration::from_secs(60),
        local_directory: "/share".into(),
        shares: Vec::new(),
        audiences: Audiences::default(),
        download_directory: "/downloads".into(),
        max_workers: 256,
        max_downloads: 5,
        upload_limit: 0,
        download_limit: 0,
        max_peers: 8,
        max_ttl: 7,
        peer: true,
    }
}

/// Saved peers, none of which is known to have been a neighbour.
pub(super) fn remembered_peers(others: Vec<SocketAddr>) -> RememberedPeers {
    RememberedPeers { others, ..RememberedPeers::default() }
}

/// A node, the time, and its orders that were not taken yet.
pub(super) struct Rig {
    pub(super) node: Node,
    pub(super) now: Instant,
    pub(super) orders: Vec<Action>,
    /// Whether saved data are on the disk at once.
    pub(super) remembers: bool,
    /// Whether a peer resets a first contact at once, and so gets the request in the base protocol.
    pub(super) resets_first_contacts: bool,
    calls: u64,
    inbound: u64,
}

impl Drop for Rig {
    /// With many rows the node has not checked itself after the last step.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.node.check_invariants();
        }
    }
}

impl Rig {
    pub(super) fn new(config: NodeConfig) -> Self {
        Self::remembering(config, Vec::new())
    }

    pub(super) fn remembering(config: NodeConfig, peers: Vec<SocketAddr>) -> Self {
        Self::recalling(config, remembered_peers(peers))
    }

    pub(super) fn recalling(config: NodeConfig, peers: RememberedPeers) -> Self {
        let now = Instant::from_ms(1_700_000_000_000);
        let node = Node::new(now, config, [3; 32], Remembered { peers, ..Remembered::default() });
        let mut rig =
            Self { node, now, orders: Vec::new(), remembers: true, resets_first_contacts: true, calls: 0, inbound: 0 };
        rig.settle();
        rig
    }

    /// A node without bootstrap nodes that knows these peers and shares these files.
    pub(super) fn among(peers: Vec<SocketAddr>, files: &[(&str, u64)]) -> Self {
        let mut rig = Self::remembering(NodeConfig { bootstraps: Vec::new(), ..config() }, peers);
        rig.scan(files);
        rig
    }

    /// Plays a scan that is running.
    pub(super) fn scan(&mut self, files: &[(&str, u64)]) {
        let files = files.iter().map(|(name, size)| scanned(name, *size)).collect();
        self.handle(Event::Scanned { files });
        self.handle(Event::ScanEnded { report: ScanReport::default() });
        self.orders.retain(|order| !matches!(order, Action::StartScan));
    }

    pub(super) fn handle(&mut self, event: Event) {
        self.node.handle(self.now, event);
        self.settle();
    }

    pub(super) fn settle(&mut self) {
        while self.node.has_work() {
            self.node.work(self.now);
        }
        while let Some(order) = self.node.poll_action() {
            if let Action::RememberDownload { record, revision } = &order
                && self.remembers
            {
                let (download, revision) = (record.id, *revision);
                self.node.handle(self.now, Event::Recorded { download, revision, outcome: Ok(()) });
            }
            if let Action::RememberWish { wish, revision, .. } = &order
                && self.remembers
            {
                let (download, revision) = (*wish, *revision);
                self.node.handle(self.now, Event::Recorded { download, revision, outcome: Ok(()) });
            }
            match &order {
                Action::Dial { exchange, .. } if self.resets_first_contacts && self.is_first_contact(*exchange) => {
                    let (exchange, outcome) = (*exchange, Err(DialFault::Reset));
                    self.node.handle(self.now, Event::DialEnded { exchange, outcome });
                }
                _ => self.orders.push(order),
            }
        }
    }

    /// Something has shown that there may be a peer.
    pub(super) fn learn_peer(&mut self, peer: SocketAddr, source: PeerSource) {
        self.node.network.learn_peer(&mut self.node.cx, peer, source);
    }

    /// A peer has shown what it speaks.
    pub(super) fn note_evidence(&mut self, peer: SocketAddr, evidence: Evidence) {
        self.node.network.note_evidence(&mut self.node.cx, peer, evidence);
        self.node.finish_turn();
    }

    /// Searches for sources of a download; how many neighbours were asked.
    pub(super) fn seek_sources(&mut self, download: TransferId, text: Box<[u8]>) -> u32 {
        let Node { cx, network, search, .. } = &mut self.node;
        let asked = search.seek_sources(&mut Net { cx, network }, download, text);
        self.node.finish_turn();
        asked
    }

    /// A search for sources of a download has found one.
    pub(super) fn on_source_found(&mut self, download: TransferId, found: &Answer) {
        let Node { cx, network, download: downloads, .. } = &mut self.node;
        downloads.on_source_found(&mut Net { cx, network }, download, found);
    }

    fn is_first_contact(&self, exchange: ExchangeId) -> bool {
        let dial = self.node.cx.exchanges.dial(exchange);
        dial.is_some_and(|dial| matches!(dial.purpose, Purpose::FirstContact | Purpose::Announcement))
    }

    /// Advances time, from deadline to deadline.
    pub(super) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.node.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.node.advance(self.now);
            self.settle();
        }
        self.now = end;
    }

    /// Jumps to the next deadline; how long that took.
    pub(super) fn jump(&mut self) -> Duration {
        let at = self.node.next_deadline().expect("a deadline");
        let span = at.saturating_since(self.now);
        self.now = self.now.max(at);
        self.node.advance(self.now);
        self.settle();
        span
    }

    /// Takes the orders that `fit` selects, in order.
    pub(super) fn take<T>(&mut self, mut fits: impl FnMut(&Action) -> Option<T>) -> Vec<T> {
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        for order in self.orders.drain(..) {
            match fits(&order) {
                Some(value) => taken.push(value),
                None => left.push(order),
            }
        }
        self.orders = left;
        taken
    }

    /// Takes the dials ordered, with streams: exchange, destination, messages.
    pub(super) fn dials(&mut self) -> Vec<(ExchangeId, SocketAddr, Vec<Message>)> {
        self.take(|order| match order {
            Action::Dial { exchange, to, messages, expect, .. } => {
                let asks = matches!(
                    messages[0],
                    Message::RequestPeerList { .. }
                        | Message::ListFiles { .. }
                        | Message::MetadataRequest { .. }
                        | Message::RangeRequest { .. }
                        | Message::FirstContact { .. }
                );
                assert_eq!(asks, *expect != Expect::Nothing);
                Some((*exchange, *to, messages.clone()))
            }
            Action::Stream { exchange, to, messages, .. } => Some((*exchange, *to, messages.clone())),
            _ => None,
        })
    }

    /// Takes the one dial ordered.
    pub(super) fn dial(&mut self) -> (ExchangeId, SocketAddr, Message) {
        let mut dials = self.dials();
        assert_eq!(dials.len(), 1, "{dials:?}");
        let (exchange, to, mut messages) = dials.remove(0);
        assert_eq!(messages.len(), 1);
        (exchange, to, messages.remove(0))
    }

    pub(super) fn notices(&mut self) -> Vec<Notice> {
        self.take(|order| match order {
            Action::Notify { notice, .. } => Some(Notice::clone(notice)),
            _ => None,
        })
    }

    pub(super) fn succeed(&mut self, exchange: ExchangeId, response: Response) {
        let outcome = Ok(Dialled { local: SocketAddr::new(us().ip(), 40_000), response });
        self.handle(Event::DialEnded { exchange, outcome });
    }

    pub(super) fn deliver(&mut self, exchange: ExchangeId) {
        self.succeed(exchange, Response::Delivered);
    }

    pub(super) fn fail(&mut self, exchange: ExchangeId, fault: DialFault) {
        self.handle(Event::DialEnded { exchange, outcome: Err(fault) });
    }

    /// Lets the bootstrap node accept the registration, and answer with this list.
    pub(super) fn join(&mut self, peers: Vec<SocketAddr>) {
        let (exchange, to, message) = self.dial();
        assert_eq!((to, message), (bootstrap(), Message::Register { port: 63_339, p1: true }));
        self.deliver(exchange);
        self.answer_peer_list(peers);
    }

    pub(super) fn answer_peer_list(&mut self, mut peers: Vec<SocketAddr>) {
        let (exchange, _, message) = self.dial();
        assert!(matches!(message, Message::RequestPeerList { .. }), "{message:?}");
        peers.push(us());
        self.succeed(exchange, plain_list(peers));
    }

    /// A message arrives; its exchange.
    pub(super) fn request(&mut self, from: SocketAddr, message: Message) -> ExchangeId {
        self.inbound += 1;
        let exchange = ExchangeId::Inbound(self.inbound);
        self.handle(Event::Request { exchange, from, message });
        exchange
    }

    /// A peer at this IP address requests the file `a` by code 4.
    pub(super) fn ask_for_a(&mut self, address: &str) -> ExchangeId {
        self.request(addr(&format!("{address}:40000")), Message::DownloadRequest { name: name("a") })
    }

    /// Takes the orders to send files.
    pub(super) fn files_sent(&mut self) -> Vec<ExchangeId> {
        self.take(|order| match order {
            Action::SendFile { exchange, .. } => Some(*exchange),
            _ => None,
        })
    }

    pub(super) fn call(&mut self, request: Request) -> Result<Reply, CallError> {
        self.calls += 1;
        let id = CallId::Number(self.calls);
        self.handle(Event::Call { client: CLIENT, call: id.clone(), request });
        let mut replies = self.take(|order| match order {
            Action::Reply { client: CLIENT, call, outcome } if *call == id => Some(outcome.clone()),
            Action::Reply { .. } => panic!("an answer to another call"),
            _ => None,
        });
        assert_eq!(replies.len(), 1, "a call has one answer");
        replies.remove(0)
    }

    /// Makes a call that may be answered later.
    pub(super) fn begin_call(&mut self, request: Request) {
        self.calls += 1;
        self.handle(Event::Call { client: CLIENT, call: CallId::Number(self.calls), request });
    }

    pub(super) fn search(&mut self, text: &str) -> u32 {
        self.search_within(text, None)
    }

    pub(super) fn search_within(&mut self, text: &str, ttl: Option<u8>) -> u32 {
        let request = Request::Search { text: RawText::new(text), max: None, ttl };
        match self.call(request) {
            Ok(Reply::SearchStarted(SearchStarted { search, .. })) => search,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn hits(&mut self, search: Option<u32>) -> Vec<HitRow> {
        match self.call(Request::Hits { search, after: 0 }) {
            Ok(Reply::Hits(HitsReply { hits, .. })) => hits.iter().collect(),
            other => panic!("{other:?}"),
        }
    }

    /// A hit arrives from the peer that offers the file.
    pub(super) fn hit(&mut self, id: &QueryId, responder: SocketAddr, file: Listed) {
        let from = SocketAddr::new(responder.ip(), 50_000);
        self.request(from, Message::SearchResponse(SearchResponse { id: id.clone(), responder, file }));
    }
}

/// A peer list without `p1` marks.
pub(super) fn plain_list(peers: Vec<SocketAddr>) -> Response {
    Response::PeerList(peers.into_iter().map(|addr| ListedPeer { addr, p1: false }).collect())
}

/// A search as a peer sends it.
pub(super) fn query(id: &[u8], text: &str, requester: SocketAddr, ttl: u8) -> Message {
    let id = QueryId::from_bytes(id).unwrap();
    Message::Search(Search { id, text: text.as_bytes().into(), requester, ttl })
}
