//! The exchanges that this node begins, and what each is for.

use super::commands::{Command, QueueFull, Rank};
use crate::id::{ExchangeId, QueryId, SearchId};
use crate::node::contract::{Action, Expect};
use crate::node::cx::Cx;
use crate::node::ids::{CallBackId, LinkId, OpenId};
use crate::node::limits::CONNECT_MAX;
use crate::wire::Message;
use std::net::SocketAddr;

/// What an exchange of ours is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum Purpose {
    /// An errand of a bootstrap link.
    Link(LinkId, Errand),
    /// Taking our name off a list, of a link that is going or gone.
    Unregister,
    /// One neighbour's copy of a ring.
    Ring(SearchId, OpenId),
    /// One neighbour's copy of a search for sources of a download.
    Seek,
    /// A search that asks a peer what it speaks.
    FirstContact,
    /// The same question, to a peer on a list, which announces us to it.
    Announcement,
    /// The same question, to a peer that has announced itself.
    Newcomer,
    /// A listing for the user.
    List(SearchId),
    /// Somebody else's search, sent on.
    Forward(Option<OpenId>),
    /// Our hits, sent to a requester.
    Hits(Option<OpenId>),
    /// A download.
    Fetch,
    /// A file for a requester that had closed.
    CallBack(CallBackId),
}

impl Purpose {
    /// Whether the end of such an exchange says how a peer is. A call back goes to the port of a request. That somebody takes an
    /// announcement does not prove it as a neighbour: it was told because a list named it, and whoever writes a list would have
    /// all those on it proven before others were tried.
    pub(in crate::node) fn is_with_a_peer(self) -> bool {
        !matches!(self, Self::Link(..) | Self::Unregister | Self::CallBack(_) | Self::Announcement)
    }
}

/// What a bootstrap link dials for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum Errand {
    Register,
    Keepalive,
    /// A keepalive between two looks at the list, which does not ask for it.
    Renew,
    PeerList,
}

/// An exchange that was begun, or waits to be.
#[derive(Debug)]
pub(in crate::node) struct Dial {
    pub(in crate::node) to: SocketAddr,
    pub(in crate::node) purpose: Purpose,
}

impl Cx {
    fn next_exchange(&mut self, to: SocketAddr, purpose: Purpose) -> ExchangeId {
        self.exchanges.begun += 1;
        let exchange = ExchangeId::Outbound(self.exchanges.begun);
        self.exchanges.dials.insert(exchange, Dial { to, purpose });
        exchange
    }

    /// An exchange of ours is over, or is not to be.
    pub(in crate::node) fn forget_dial(&mut self, exchange: ExchangeId) -> Option<Dial> {
        self.exchanges.dials.remove(&exchange)
    }

    /// Dials a bootstrap node, past the gate.
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

    /// Asks a peer what it speaks, in the name of `requester`, when a worker is free (PROTOCOL, part 2, First contact).
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

    /// An exchange that fetches a file, or what is known of it, for a download.
    pub(in crate::node) fn next_fetch(&mut self, to: SocketAddr) -> ExchangeId {
        self.next_exchange(to, Purpose::Fetch)
    }

    /// Begins it when a worker is free. Downloads in progress are few, so there is always room for them.
    pub(in crate::node) fn dial_fetch(&mut self, exchange: ExchangeId, action: Action) {
        // Nothing is ever refused at this rank.
        let _ = self.submit(exchange, Command::Begin(action), Rank::Fetch);
    }

    /// An exchange that brings a file to a requester that had closed.
    pub(in crate::node) fn next_call_back(&mut self, to: SocketAddr, id: CallBackId) -> ExchangeId {
        self.next_exchange(to, Purpose::CallBack(id))
    }

    /// Breaks off an exchange of ours, or takes it back if it still waits. Nothing more is heard of one taken back.
    pub(in crate::node) fn abort_dial(&mut self, exchange: ExchangeId) {
        if self.withdraw(exchange) {
            self.forget_dial(exchange);
        } else if self.exchanges.dials.contains_key(&exchange) {
            self.out.act(Action::Abort { exchange });
        }
    }
}
