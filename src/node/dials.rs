//! The exchanges that this node begins: what each is for, and what its end means.

use super::Node;
use super::call_backs::CallBackId;
use super::commands::{Command, Rank};
use super::contract::{Action, Expect};
use super::limits::CONNECT_MAX;
use super::membership::LinkId;
use super::open_searches::OpenId;
use super::workers::QueueFull;
use crate::id::{ExchangeId, SearchId, TransferId};
use crate::time::Instant;
use crate::wire::Message;
use std::net::SocketAddr;

/// What an exchange of ours is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
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
    Fetch(TransferId),
    /// A file for a requester that had closed.
    CallBack(CallBackId),
}

/// What a bootstrap link dials for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    Register,
    Keepalive,
    /// A keepalive between two looks at the list, which does not ask for it.
    Renew,
    PeerList,
}

/// An exchange that was begun, or waits to be.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) to: SocketAddr,
    pub(super) purpose: Purpose,
}

impl Node {
    fn next_exchange(&mut self, to: SocketAddr, purpose: Purpose) -> ExchangeId {
        self.exchanges_begun += 1;
        let exchange = ExchangeId::Outbound(self.exchanges_begun);
        self.dials.insert(exchange, Dial { to, purpose });
        exchange
    }

    /// An exchange of ours is over, or is not to be.
    pub(super) fn forget_dial(&mut self, exchange: ExchangeId) -> Option<Dial> {
        self.dials.remove(&exchange)
    }

    /// Dials a bootstrap node, past the gate.
    pub(super) fn dial_bootstrap(
        &mut self,
        to: SocketAddr,
        message: Message,
        expect: Expect,
        purpose: Purpose,
    ) -> ExchangeId {
        let exchange = self.next_exchange(to, purpose);
        self.actions.push_back(Action::Dial {
            exchange,
            to,
            messages: vec![message],
            expect,
            connect_max: CONNECT_MAX,
        });
        exchange
    }

    /// Dials a peer for our user when a worker is free.
    pub(super) fn dial_peer(
        &mut self,
        now: Instant,
        to: SocketAddr,
        messages: Vec<Message>,
        expect: Expect,
        purpose: Purpose,
    ) -> Result<ExchangeId, QueueFull> {
        let dial = |exchange| Action::Dial { exchange, to, messages, expect, connect_max: CONNECT_MAX };
        self.submit_dial(now, to, purpose, Rank::Own, dial)
    }

    /// Begins an exchange with a peer when a worker is free.
    pub(super) fn submit_dial(
        &mut self,
        now: Instant,
        to: SocketAddr,
        purpose: Purpose,
        rank: Rank,
        begin: impl FnOnce(ExchangeId) -> Action,
    ) -> Result<ExchangeId, QueueFull> {
        let exchange = self.next_exchange(to, purpose);
        let submitted = self.submit(now, exchange, Command::Begin(begin(exchange)), rank);
        submitted.map(|()| exchange).inspect_err(|_| {
            self.forget_dial(exchange);
        })
    }

    /// An exchange that fetches a file, or what is known of it, for a download.
    pub(super) fn next_fetch(&mut self, to: SocketAddr, download: TransferId) -> ExchangeId {
        self.next_exchange(to, Purpose::Fetch(download))
    }

    /// Begins it when a worker is free. Downloads in progress are few, so there is always room for them.
    pub(super) fn dial_fetch(&mut self, now: Instant, exchange: ExchangeId, action: Action) {
        // Nothing is ever refused at this rank.
        let _ = self.submit(now, exchange, Command::Begin(action), Rank::Fetch);
    }

    /// An exchange that brings a file to a requester that had closed.
    pub(super) fn next_call_back(&mut self, to: SocketAddr, id: CallBackId) -> ExchangeId {
        self.next_exchange(to, Purpose::CallBack(id))
    }

    /// Breaks off an exchange of ours, or takes it back if it still waits. Nothing more is heard of one taken back.
    pub(super) fn abort_dial(&mut self, exchange: ExchangeId) {
        if self.withdraw(exchange) {
            self.forget_dial(exchange);
        } else if self.dials.contains_key(&exchange) {
            self.actions.push_back(Action::Abort { exchange });
        }
    }
}
