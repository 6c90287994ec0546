//! The exchanges that this node begins.

use super::commands::{Command, QueueFull, Rank};
use crate::id::{ExchangeId, QueryId, SearchId, TransferId};
use crate::node::contract::{Action, Expect};
use crate::node::cx::Cx;
use crate::node::ids::{CallBackId, LinkId, OpenId};
use crate::node::limits::CONNECT_MAX;
use crate::wire::Message;
use std::net::SocketAddr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum Purpose {
    Link(LinkId, LinkTask),
    /// Unregistering, for a dropped link.
    Unregister,
    /// A ring of a search, for one neighbour.
    Ring(SearchId, OpenId),
    /// A search for sources of a download, for one neighbour.
    Seek,
    /// A search for a wish, for one peer.
    Wish,
    FirstContact,
    /// A first contact to a peer on a list, which announces us.
    Announcement,
    Newcomer,
    List(SearchId),
    /// The list of which a directory is a part.
    Directory(TransferId),
    /// The hash of the manifest of a directory, for a link to that.
    DirectoryLink,
    Forward(Option<OpenId>),
    Hits(Option<OpenId>),
    Fetch,
    CallBack(CallBackId),
}

impl Purpose {
    /// Whether the outcome is evidence of a peer. A call-back goes to the port of a request; and an accepted announcement does
    /// not prove a neighbour, or the author of a list could have all peers on it proven first.
    pub(in crate::node) fn is_with_a_peer(self) -> bool {
        !matches!(self, Self::Link(..) | Self::Unregister | Self::CallBack(_) | Self::Announcement)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum LinkTask {
    Register,
    Keepalive,
    /// A keepalive that no request of the list follows.
    Renew,
    PeerList,
}

/// An exchange of ours, also one that waits for a worker.
#[derive(Debug)]
pub(in crate::node) struct Dial {
    pub(in crate::node) to: SocketAddr,
    pub(in crate::node) purpose: Purpose,
}

impl Cx {
    pub(in crate::node) fn next_exchange(&mut self, to: SocketAddr, purpose: Purpose) -> ExchangeId {
        self.exchanges.begun += 1;
        let exchange = ExchangeId::Outbound(self.exchanges.begun);
        self.exchanges.dials.insert(exchange, Dial { to, purpose });
        exchange
    }

    /// An exchange of ours has ended, or is dropped.
    pub(in crate::node) fn forget_dial(&mut self, exchange: ExchangeId) -> Option<Dial> {
        self.exchanges.dials.remove(&exchange)
    }

    /// Dials a bootstrap node, without a worker.
    pub(in crate::node) fn dial_bootstrap(
        &mut self,
        to: SocketAddr,
        message: Message,
        expect: Expect,
        purpose: Purpose,
    ) -> ExchangeId {
        let exchange = self.next_exchange(to, purpose);
        self.out.act(Action::Dial { exchange, to, messages: vec![message], expect, connect_max: CONNECT_MAX });
        exchange
    }

    /// Dials a peer for our user when a worker is free.
    pub(in crate::node) fn dial_peer(
        &mut self,
        to: SocketAddr,
        messages: Vec<Message>,
        expect: Expect,
        purpose: Purpose,
    ) -> Result<ExchangeId, QueueFull> {
        let dial = |exchange| Command::Begin(Action::Dial { exchange, to, messages, expect, connect_max: CONNECT_MAX });
        self.submit_dial(to, purpose, Rank::Own, dial)
    }

    /// Sends a first contact when a worker is free (PROTOCOL, part 2, First contact).
    pub(in crate::node) fn dial_first_contact(
        &mut self,
        to: SocketAddr,
        id: QueryId,
        requester: SocketAddr,
        purpose: Purpose,
    ) -> Result<ExchangeId, QueueFull> {
        self.dial_peer(to, vec![Message::FirstContact { id, requester }], Expect::FirstContact, purpose)
    }

    /// Begins an exchange with a peer when a worker is free.
    pub(in crate::node) fn submit_dial(
        &mut self,
        to: SocketAddr,
        purpose: Purpose,
        rank: Rank,
        command: impl FnOnce(ExchangeId) -> Command,
    ) -> Result<ExchangeId, QueueFull> {
        let exchange = self.next_exchange(to, purpose);
        let submitted = self.submit(exchange, command(exchange), rank);
        submitted.map(|()| exchange).inspect_err(|_| {
            self.forget_dial(exchange);
        })
    }

    /// Aborts an exchange of ours, or drops it without a report if it still waits.
    pub(in crate::node) fn abort_dial(&mut self, exchange: ExchangeId) {
        if self.withdraw(exchange) {
            self.forget_dial(exchange);
        } else if self.exchanges.dials.contains_key(&exchange) {
            self.out.act(Action::Abort { exchange });
        }
    }
}
