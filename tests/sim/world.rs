//! The world: hosts, virtual time, and the queue of what happens next. One seed, one history.

use crate::addresses::{host_ip, wide_host_ip};
use crate::callers::Caller;
use crate::conn::{Conn, ConnId};
use crate::content::Content;
use crate::flows::Flow;
use crate::host::{Host, HostId, Program};
use crate::random::Random;
use crate::rogue::Rogue;
use crate::sources::{Source, Vice};
use crate::watch::Watch;
use pyrate::audience::Audiences;
use pyrate::bootstrap::{Bootstrap, decode_snapshot, encode_snapshot};
use pyrate::control::{CallError, CallId, Reply, Request};
use pyrate::fault::DiskFault;
use pyrate::id::{ClientId, ExchangeId, TransferId};
use pyrate::library::ScannedFile;
use pyrate::name::FileName;
use pyrate::node::Node;
use pyrate::node::contract::{BootstrapAddr, DialOutcome, Event, NodeConfig, PartSpec, Remembered};
use pyrate::time::{Instant, WallClock};
use pyrate::wire::{Message, SearchReport};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// When every world begins.
const START: Instant = Instant::from_ms(1_800_000_000_000);

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Occurrence {
    /// A host's deadline may have come.
    Wake(HostId, u32),
    /// A host's next slice of background work.
    Work(HostId, u32),
    /// A dialled connection arrives where it was sent.
    Arrive(ConnId),
    /// The next message of a connection arrives.
    Deliver(ConnId),
    /// The next piece of a response leaves.
    Respond(ConnId),
    /// A base program calls a requester back.
    CallBack(ConnId, HostId, Flow),
    /// A node learns that a requester has closed before its file.
    Deserted(ConnId, FileName),
    /// A word against the direction of a stream arrives.
    Said(ConnId, SearchReport),
    /// The side that dialled learns how it ended.
    DialerEnds(ConnId, DialOutcome),
    /// The side that was dialled learns that the other is gone.
    ServerLoses(ConnId),
    /// Whether a connection still makes progress is looked at.
    Idle(ConnId),
    /// A scan found something; nothing more is the end.
    Scanned(HostId, u32, Vec<ScannedFile>),
    /// Files that changed are looked at again.
    LookedAt(HostId, u32, Vec<FileName>),
    /// Some hashes are known.
    Hashed(HostId, u32, Vec<ScannedFile>),
    /// It is known whether something can be created at the target of a download.
    TargetProbed(HostId, u32, TransferId, Box<PartSpec>),
    /// Directories of a download are made, or cannot be.
    DirectoriesMade(HostId, u32, TransferId),
    /// A part file is created or taken up, or cannot be.
    PartOpened(HostId, u32, TransferId),
    /// A part file cannot take an outline.
    PartFailed(HostId, u32, TransferId, DiskFault),
    /// A part file is read from end to end.
    PartChecked(HostId, u32, TransferId),
    /// A part file is synced and renamed, or cannot be.
    PartCommitted(HostId, u32, TransferId),
    /// Messages on a stream are sent, or cannot be.
    StreamTaken(HostId, u32, ExchangeId, DialOutcome),
    /// A host name was looked up.
    Resolved(HostId, u32, BootstrapAddr),
}

/// What the network does to connections.
pub(crate) struct Net {
    /// From one host to another.
    pub(crate) latency_ms: RangeInclusive<u64>,
    /// Connections of a thousand that break off before anything arrives.
    pub(crate) lost_per_mille: u64,
    /// Pieces of a response, of a thousand, that break it off.
    pub(crate) torn_per_mille: u64,
    /// Hosts have IPv6 addresses, each in 64 bits of its own.
    pub(crate) ipv6: bool,
    /// Each host is in a wide network of its own. Otherwise 256 share one, as in a local network.
    pub(crate) apart: bool,
}

/// One message that a node or rogue sent, for scenarios that look at the traffic.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) from: HostId,
    pub(crate) message: Message,
}

/// Everything there is.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: Instant,
    pub(crate) random: Random,
    pub(crate) net: Net,
    pub(crate) hosts: Vec<Host>,
    pub(crate) by_addr: BTreeMap<SocketAddr, HostId>,
    pub(crate) dns: BTreeMap<String, Vec<IpAddr>>,
    pub(crate) conns: BTreeMap<ConnId, Conn>,
    pub(crate) exchanges: BTreeMap<(HostId, ExchangeId), ConnId>,
    /// The stream from a host to a peer.
    pub(crate) streams: BTreeMap<(HostId, SocketAddr), ConnId>,
    pub(crate) conns_made: u64,
    /// Requesters that have closed, by where they listen.
    pub(crate) callers: BTreeMap<SocketAddr, Caller>,
    /// Files of a thousand that change just while they are hashed.
    pub(crate) changed_per_mille: u64,
    /// Streams opened so far.
    pub(crate) streams_opened: u64,
    pub(crate) watch: Watch,
    /// All messages sent while [`record`](Self::record) is set.
    pub(crate) traffic: Vec<Sent>,
    pub(crate) record: bool,
    /// How often a node has told another that it is done with a search.
    pub(crate) dones: u64,
    /// How often one has told another that it is not.
    pub(crate) waits: u64,
    pub(crate) queue: BTreeMap<(Instant, u64), Occurrence>,
    pub(crate) planned: u64,
    calls_made: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        println!("PYRATE_SIM_SEED={seed}");
        Self {
            seed,
            now: START,
            random: Random::new(seed),
            net: Net { latency_ms: 1..=60, lost_per_mille: 0, torn_per_mille: 0, ipv6: false, apart: false },
            hosts: Vec::new(),
            by_addr: BTreeMap::new(),
            dns: BTreeMap::new(),
            conns: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            streams: BTreeMap::new(),
            conns_made: 0,
            callers: BTreeMap::new(),
            changed_per_mille: 5,
            streams_opened: 0,
            watch: Watch::new(),
            traffic: Vec::new(),
            record: false,
            dones: 0,
            waits: 0,
            queue: BTreeMap::new(),
            planned: 0,
            calls_made: 0,
        }
    }

    /// Ends the test: a rule was broken.
    #[track_caller]
    pub(crate) fn violation(&self, host: HostId, what: &str) -> ! {
        let at = self.now.saturating_since(START);
        panic!("PYRATE_SIM_SEED={}: {host:?} ({}) at {at:?}: {what}", self.seed, self.hosts[host.0].addr);
    }

    /// A number that differs as soon as one action of one host does.
    pub(crate) fn trace(&self) -> u64 {
        self.watch.trace()
    }

    // Hosts.

    /// A host in a network of its own.
    fn add_host(&mut self, port: u16, program: Program) -> HostId {
        let place = u16::try_from(self.hosts.len()).unwrap() + 1;
        let ip = if self.net.apart { wide_host_ip(place) } else { host_ip(place, self.net.ipv6) };
        self.add_host_at(SocketAddr::from((ip, port)), program)
    }

    fn add_host_at(&mut self, addr: SocketAddr, program: Program) -> HostId {
        let id = HostId(self.hosts.len());
        self.hosts.push(Host::new(addr, program));
        assert!(self.by_addr.insert(addr, id).is_none(), "two programs at {addr}");
        id
    }

    pub(crate) fn add_bootstrap(&mut self) -> HostId {
        let id = self.add_host(21168, Program::Bootstrap(None));
        self.hosts[id.0].up = false;
        self.start(id);
        id
    }

    pub(crate) fn add_rogue(&mut self, rogue: impl Rogue + 'static) -> HostId {
        let id = self.add_host(63339, Program::Rogue(Box::new(rogue)));
        self.settle(id);
        id
    }

    /// A further program at the address, or in the network, of another host.
    pub(crate) fn add_rogue_at(&mut self, addr: SocketAddr, rogue: impl Rogue + 'static) -> HostId {
        let id = self.add_host_at(addr, Program::Rogue(Box::new(rogue)));
        self.settle(id);
        id
    }

    /// Somebody who offers a file under this name, and registers.
    pub(crate) fn add_source(
        &mut self,
        bootstrap: HostId,
        name: &str,
        content: Content,
        p1: bool,
        vice: Vice,
    ) -> HostId {
        let name = FileName::from_bytes(name.as_bytes()).unwrap();
        let bootstrap = self.addr(bootstrap);
        self.add_rogue(Source::new(bootstrap, &name, content, p1, vice))
    }

    /// A node that is configured with these bootstrap nodes, and not yet started.
    pub(crate) fn add_node(&mut self, bootstraps: &[HostId]) -> HostId {
        let id = self.add_host(63339, Program::Node(None));
        let bootstrap = |id: &HostId| {
            let addr = self.hosts[id.0].addr;
            BootstrapAddr { host: addr.ip().to_string(), port: addr.port() }
        };
        let bootstraps = bootstraps.iter().map(bootstrap).collect();
        let host = &mut self.hosts[id.0];
        host.up = false;
        host.config = Some(NodeConfig {
            bootstraps,
            listen: host.addr,
            advertise_addr: None,
            local_addrs: vec![host.ip(), Ipv4Addr::LOCALHOST.into()],
            keepalive_refresh: Duration::from_secs(300),
            filemonitor_refresh: Duration::from_secs(60),
            local_directory: PathBuf::from("/share"),
            shares: Vec::new(),
            audiences: Audiences::default(),
            download_directory: PathBuf::from("/downloads"),
            max_workers: 256,
            max_downloads: 5,
            upload_limit: 0,
            download_limit: 0,
            max_peers: 8,
            max_ttl: 7,
            peer: true,
        });
        id
    }

    pub(crate) fn config(&mut self, id: HostId) -> &mut NodeConfig {
        self.hosts[id.0].config.as_mut().unwrap()
    }

    pub(crate) fn addr(&self, id: HostId) -> SocketAddr {
        self.hosts[id.0].addr
    }

    pub(crate) fn node(&self, id: HostId) -> &Node {
        match &self.hosts[id.0].program {
            Program::Node(Some(node)) => node,
            _ => self.violation(id, "no node runs here"),
        }
    }

    pub(crate) fn bootstrap(&self, id: HostId) -> &Bootstrap {
        match &self.hosts[id.0].program {
            Program::Bootstrap(Some(bootstrap)) => bootstrap,
            _ => self.violation(id, "no bootstrap node runs here"),
        }
    }

    /// Starts what is down: a node with the peers it remembers, a bootstrap node with the registry it saved.
    pub(crate) fn start(&mut self, id: HostId) {
        let (now, seed) = (self.now, self.random.seed());
        let host = &mut self.hosts[id.0];
        assert!(!host.up, "started twice");
        (host.up, host.left) = (true, false);
        match &mut host.program {
            Program::Node(node) => {
                let config = host.config.clone().unwrap();
                let disk = &host.disk;
                let (peers, downloads) = (disk.peers.clone(), disk.downloads.values().cloned().collect());
                let (events, download_last) = (disk.events_alone(), disk.download_last);
                let wishes = disk.wishes.values().cloned().collect();
                let events_from = disk.events_from;
                let remembered =
                    Remembered { peers, downloads, wishes, events, events_from, download_last, files: Vec::new() };
                *node = Some(Box::new(Node::new(now, config, seed, remembered)));
            }
            Program::Bootstrap(bootstrap) => {
                let mut fresh = Bootstrap::new(now, seed);
                fresh.restore(now, decode_snapshot(&host.snapshot));
                *bootstrap = Some(Box::new(fresh));
            }
            Program::Rogue(_) => {}
        }
        self.settle(id);
    }

    /// Ends a program without a word, as a power cut does. A bootstrap node keeps what it saved.
    pub(crate) fn crash(&mut self, id: HostId) {
        let host = &mut self.hosts[id.0];
        host.up = false;
        host.epoch += 1;
        (host.wake, host.working, host.scanning, host.forgot) = (None, false, false, false);
        (host.commands, host.hashing, host.uploads) = (0, 0, 0);
        host.disk.crash(&mut self.random);
        host.calls.clear();
        match &mut host.program {
            Program::Node(node) => *node = None,
            Program::Bootstrap(bootstrap) => {
                if let Some(bootstrap) = bootstrap.take() {
                    host.snapshot = encode_snapshot(&bootstrap.snapshot(), WallClock::default());
                }
            }
            Program::Rogue(_) => {}
        }
        self.watch.forget(id);
        self.drop_conns_of(id);
    }

    /// Ends a program together with its machine: what was not synced may be lost.
    pub(crate) fn cut_power(&mut self, id: HostId) {
        self.crash(id);
        self.hosts[id.0].disk.lose_power(&mut self.random);
    }

    /// A bootstrap node forgets what it saved.
    pub(crate) fn wipe(&mut self, id: HostId) {
        self.hosts[id.0].snapshot.clear();
    }

    /// Puts hosts on a side of their own; connections that cross are frozen.
    pub(crate) fn partition(&mut self, ids: &[HostId], side: u8) {
        ids.iter().for_each(|id| self.hosts[id.0].side = side);
        self.freeze_crossing();
    }

    // Calls of users.

    /// Makes a control call; the answer is in [`answer`](Self::answer).
    pub(crate) fn call(&mut self, id: HostId, request: Request) -> u64 {
        self.calls_made += 1;
        let call = self.calls_made;
        self.hosts[id.0].calls.insert(call, None);
        self.deliver(id, Event::Call { client: ClientId(1), call: CallId::Number(call), request });
        call
    }

    pub(crate) fn answer(&self, id: HostId, call: u64) -> Option<&Result<Reply, CallError>> {
        self.hosts[id.0].calls.get(&call)?.as_ref()
    }

    /// Makes a call that is answered from memory, or starts work: its answer comes at once.
    pub(crate) fn ask(&mut self, id: HostId, request: Request) -> Result<Reply, CallError> {
        let call = self.call(id, request);
        match self.answer(id, call) {
            Some(answer) => answer.clone(),
            None => self.violation(id, "a call was not answered at once"),
        }
    }
}
