//! The machines of the world and what runs on them.

use crate::disk::Disk;
use crate::flows::RATE;
use crate::rogue::Rogue;
use pyrate::bootstrap::Bootstrap;
use pyrate::control::{CallError, Notice, Reply};
use pyrate::node::Node;
use pyrate::node::contract::NodeConfig;
use pyrate::time::Instant;
use pyrate::wire::Message;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

/// A host, by its place in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HostId(pub(crate) usize);

/// What runs on a host.
pub(crate) enum Program {
    /// A peer; `None` while it is down.
    Node(Option<Box<Node>>),
    /// A bootstrap node; `None` while it is down.
    Bootstrap(Option<Box<Bootstrap>>),
    /// A program of the test's own.
    Rogue(Box<dyn Rogue>),
}

/// A machine with one address and one program.
pub(crate) struct Host {
    /// Where its program listens.
    pub(crate) addr: SocketAddr,
    pub(crate) program: Program,
    pub(crate) config: Option<NodeConfig>,
    pub(crate) disk: Disk,
    pub(crate) up: bool,
    /// Counts starts, so that what was meant for an earlier one is known.
    pub(crate) epoch: u32,
    /// Hosts with different sides do not reach each other.
    pub(crate) side: u8,
    /// What a bootstrap node saved.
    pub(crate) snapshot: Vec<u8>,

    /// When the next wake-up is planned.
    pub(crate) wake: Option<Instant>,
    /// A slice of work is planned.
    pub(crate) working: bool,
    /// A scan is running.
    pub(crate) scanning: bool,
    /// Files whose hash is owed.
    pub(crate) hashing: usize,
    /// A download was forgotten.
    pub(crate) forgot: bool,
    /// Bytes a second that it sends, to all together.
    pub(crate) rate: u64,
    /// Flows of bytes that it sends.
    pub(crate) uploads: u64,
    /// Inbound exchanges numbered so far.
    pub(crate) accepted: u64,
    /// Outbound exchanges of a rogue numbered so far.
    pub(crate) dialled: u64,
    /// Commands in progress: exchanges of a node except those with bootstrap nodes.
    pub(crate) commands: usize,
    /// The most commands that ever were in progress at once.
    pub(crate) commands_peak: usize,

    /// Calls made, with their answers.
    pub(crate) calls: BTreeMap<u64, Option<Result<Reply, CallError>>>,
    pub(crate) notices: Vec<Rc<Notice>>,
    /// What a rogue received.
    pub(crate) received: Vec<(Instant, SocketAddr, Message)>,
    /// The node said that it has left.
    pub(crate) left: bool,
}

impl Host {
    pub(crate) fn new(addr: SocketAddr, program: Program) -> Self {
        Self {
            addr,
            program,
            config: None,
            disk: Disk::default(),
            up: true,
            epoch: 0,
            side: 0,
            snapshot: Vec::new(),
            wake: None,
            working: false,
            scanning: false,
            hashing: 0,
            forgot: false,
            rate: RATE,
            uploads: 0,
            accepted: 0,
            dialled: 0,
            commands: 0,
            commands_peak: 0,
            calls: BTreeMap::new(),
            notices: Vec::new(),
            received: Vec::new(),
            left: false,
        }
    }

    pub(crate) fn ip(&self) -> IpAddr {
        self.addr.ip()
    }

    pub(crate) fn is_bootstrap(&self) -> bool {
        match &self.program {
            Program::Bootstrap(_) => true,
            Program::Rogue(rogue) => rogue.is_bootstrap(),
            Program::Node(_) => false,
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        match &self.program {
            Program::Node(node) => node.as_ref()?.next_deadline(),
            Program::Bootstrap(bootstrap) => bootstrap.as_ref()?.next_deadline(),
            Program::Rogue(rogue) => rogue.next_tick(),
        }
    }
}
