//! What stands for a connection between two hosts.

use crate::content::Content;
use crate::host::HostId;
use crate::responses::Responding;
use pyrate::id::{ContentHash, ExchangeId, TransferId};
use pyrate::node::contract::{Expect, Portion};
use pyrate::time::Instant;
use pyrate::wire::Message;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// A connection, in the order in which they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnId(pub(crate) u64);

/// After so much time without progress the side that dialled gives up.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// After so much time a connection that waits for nothing but the end counts as delivered.
const SILENT_MAX: Duration = Duration::from_secs(10);

/// A stream on which nothing moved for so long is closed (PROTOCOL, Streams).
const STREAM_IDLE_MAX: Duration = Duration::from_secs(60);

/// What the side that dialled waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Want {
    Nothing,
    PeerList,
    FileList,
    File(Taking),
    Metadata {
        download: TransferId,
        b3: Option<ContentHash>,
    },
    /// The first line of metadata.
    FileInfo,
    /// All of a manifest.
    Manifest {
        b3: ContentHash,
        size: u64,
    },
    /// A line that says that the peer speaks `p1`, or nothing.
    FirstContact,
    /// That there is more to send.
    Stream,
}

impl Want {
    /// How long there may be no progress.
    pub(crate) fn idle_max(&self) -> Duration {
        match self {
            Self::Nothing | Self::FirstContact => SILENT_MAX,
            Self::Stream => STREAM_IDLE_MAX,
            _ => IDLE_MAX,
        }
    }

    /// The part file that it writes to.
    pub(crate) fn download(&self) -> Option<TransferId> {
        match self {
            Self::File(Taking { download, .. }) | Self::Metadata { download, .. } => Some(*download),
            _ => None,
        }
    }
}

/// How far a fetch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taking {
    pub(crate) download: TransferId,
    /// The server may answer on a connection of its own.
    pub(crate) may_call_back: bool,
    pub(crate) portion: Portion,
    /// Of [`Portion::Groups`]: the first group that is not to come.
    pub(crate) groups_end: u64,
    /// The group that comes next, or is coming.
    pub(crate) group: u64,
    /// Bytes.
    pub(crate) received: u64,
    /// Of these, what the node was told.
    pub(crate) told: u64,
    pub(crate) told_at: Option<Instant>,
}

impl From<Expect> for Want {
    fn from(expect: Expect) -> Self {
        match expect {
            Expect::Nothing => Self::Nothing,
            Expect::PeerList => Self::PeerList,
            Expect::FileList => Self::FileList,
            Expect::FileInfo => Self::FileInfo,
            Expect::Manifest { b3, size } => Self::Manifest { b3, size },
            Expect::FirstContact => Self::FirstContact,
        }
    }
}

/// One side of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side {
    pub(crate) host: HostId,
    pub(crate) exchange: ExchangeId,
    /// The node counts it among its commands.
    pub(crate) command: bool,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) dialer: Option<Side>,
    pub(crate) server: Option<Side>,
    pub(crate) local: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) want: Want,
    pub(crate) messages: VecDeque<Message>,
    /// The message that the server was given last.
    pub(crate) asked: Option<Message>,
    /// Messages that the server has not answered.
    pub(crate) owed: usize,
    pub(crate) responding: Option<Responding>,
    /// A flow of bytes began, and takes its part of the server's rate.
    pub(crate) uploading: bool,
    /// Of a stream: exchanges whose messages the system has not taken.
    pub(crate) waiting: Vec<ExchangeId>,
    /// A delivery is planned.
    pub(crate) delivering: bool,
    /// When what the server says against the direction of a stream has arrived.
    pub(crate) said_until: Instant,
    /// The dialer gave the order to stop.
    pub(crate) aborted: bool,
    /// The dialer has closed for good after its message.
    pub(crate) closed: bool,
    /// What a call back brings.
    pub(crate) brings: Option<Content>,
    /// The server gave the order to stop.
    pub(crate) stopped: bool,
    /// The network lets nothing through any more.
    pub(crate) frozen: bool,
    pub(crate) progress: Instant,
}

impl Conn {
    pub(crate) fn taking(&self) -> Option<&Taking> {
        if let Want::File(taking) = &self.want { Some(taking) } else { None }
    }
}
