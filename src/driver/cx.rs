//! What the loop lends to its parts, and what they report, in order, to be routed to the node, the bootstrap node or another
//! part.

use super::open_parts::Written;
use super::shared_files::{Ordered, ReadOutcome, Reads};
use crate::aligned::Aligned;
use crate::content::ManifestText;
use crate::control::{CallId, LimitedReply, Request, Selector};
use crate::fault::DiskFault;
use crate::id::{ClientId, ContentHash, ExchangeId};
use crate::name::FileName;
use crate::node::Event;
use crate::time::Instant;
use crate::wire::Message;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

/// How far the loop is with leaving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// The node says goodbye; until then at the latest.
    Leaving(Instant),
    /// State files and control clients are served to the end, until then at the latest.
    Flushing(Instant),
    Over,
}

pub(super) struct Cx {
    pub(super) now: Instant,
    pub(super) phase: Phase,
    /// A buffer for one step.
    pub(super) scratch: Aligned,
    /// Reads of shared files that are not submitted yet.
    pub(super) reads: Reads,
    /// What is not routed yet.
    pub(super) out: Outputs,
}

pub(super) enum Output {
    Event(Event),
    /// A message to our bootstrap node.
    Registrar(ExchangeId, SocketAddr, Message),
    /// Whether a registrant of our bootstrap node has answered; `None` if it could not be dialled.
    Checked(SocketAddr, Option<bool>),
    /// A call of a control client.
    Call(ClientId, CallId, Request),
    /// Links of a file of the watched directory; or its manifest, which they name.
    Links(Vec<Selector>, Option<Box<ManifestText>>),
    /// Somebody asked for the metrics over HTTP, in this slot.
    Scrape(usize),
    /// What an exchange had to write is written, or not.
    Written(ExchangeId, Written),
    ConfigurationRead,
    /// A shared file for which orders may wait.
    SharedOpened(FileName, Result<(), DiskFault>),
    /// The metadata of a content for which orders may wait, if the hash cache has them.
    MetadataRead(ContentHash, Option<Rc<Vec<u8>>>),
    /// A read that an exchange waits for.
    SharedRead(ExchangeId, Ordered, ReadOutcome),
    /// Something was refused that is not the protocol.
    Refused,
    /// Something met a limit, which is counted there.
    Limited(fn(&mut LimitedReply) -> &mut u64),
}

/// Reports in the order in which they were made.
#[derive(Default)]
pub(super) struct Outputs(VecDeque<Output>);

impl Outputs {
    pub(super) fn push(&mut self, output: Output) {
        self.0.push_back(output);
    }

    pub(super) fn event(&mut self, event: Event) {
        self.push(Output::Event(event));
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        self.0.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Extend<Event> for Outputs {
    fn extend<T: IntoIterator<Item = Event>>(&mut self, events: T) {
        self.0.extend(events.into_iter().map(Output::Event));
    }
}
