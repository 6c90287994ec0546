//! The exchanges that this node begins: what each is for, and what its end means.

use super::Node;
use super::call_backs::CallBackId;
use super::commands::{Command, Kind, Rank};
use super::contract::{Action, DialOutcome, Dialled, Expect};
use super::fair_queue::Sender;
use super::limits::{CONNECT_MAX, CONNECT_UNPROVEN_MAX, SEARCHES_PER_UNPROVEN_MAX, SEARCHES_PER_UNTRIED_MAX};
use super::membership::LinkId;
use super::open_searches::OpenId;
use super::peers::Keep;
use super::workers::QueueFull;
use crate::fault::DialFault;
use crate::id::{ExchangeId, SearchId, TransferId};
use crate::library::Query;
use crate::time::Instant;
use crate::wire::{Message, Search};
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

/// What became of a search of ours for one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SearchDial {
    /// It is on its way, or waits for a worker.
    Sent,
    /// It is not sent: earlier ones have not reached the peer yet.
    Awaited,
    /// It is not sent: too many commands wait.
    NoRoom,
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

    /// Dials a peer for our user when a worker is free; one that speaks `p1` gets messages without a response as a stream.
    pub(super) fn dial_peer(
        &mut self,
        now: Instant,
        to: SocketAddr,
        messages: Vec<Message>,
        expect: Expect,
        purpose: Purpose,
    ) -> Result<ExchangeId, QueueFull> {
        let command = Command::Dial { to, messages, expect, connect_max: CONNECT_MAX };
        self.submit_dial(now, to, purpose, command, Rank::Own)
    }

    /// Sends a search of ours to a peer. Of those to one that has not answered only a few are under way at once, and connecting
    /// may not take long: there may be nobody, and each holds a worker until that is known.
    /// A peer that is not known to speak `p1` is sent the plain form of the search.
    pub(super) fn dial_search(
        &mut self,
        now: Instant,
        to: SocketAddr,
        search: &Search,
        purpose: Purpose,
    ) -> SearchDial {
        let (under_way_max, connect_max) = match (self.peers.has_answered(to), self.peers.is_proven(to)) {
            (true, _) => (usize::MAX, CONNECT_MAX),
            (false, true) => (SEARCHES_PER_UNTRIED_MAX, CONNECT_UNPROVEN_MAX),
            (false, false) => (SEARCHES_PER_UNPROVEN_MAX, CONNECT_UNPROVEN_MAX),
        };
        let is_search = |dial: &&Dial| dial.to == to && matches!(dial.purpose, Purpose::Ring(..) | Purpose::Seek);
        if under_way_max < usize::MAX && self.dials.values().filter(is_search).count() >= under_way_max {
            return SearchDial::Awaited;
        }
        let plain = if self.takes_operators(to) { None } else { Query::plain_form(&search.text) };
        let text = plain.unwrap_or_else(|| search.text.clone());
        let messages = vec![Message::Search(Search { text, ..search.clone() })];
        let command = Command::Dial { to, messages, expect: Expect::Nothing, connect_max };
        match self.submit_dial(now, to, purpose, command, Rank::Own) {
            Ok(_) => SearchDial::Sent,
            Err(QueueFull) => SearchDial::NoRoom,
        }
    }

    /// Sends a search of others, or hits for one, when a worker is free. What there is no room for is counted.
    pub(super) fn dial_for(
        &mut self,
        now: Instant,
        sender: Sender,
        to: SocketAddr,
        messages: Vec<Message>,
        purpose: Purpose,
    ) -> Result<ExchangeId, QueueFull> {
        let proven = self.peers.is_proven(to);
        let kind = match purpose {
            Purpose::Hits(_) if proven => Kind::Hits,
            Purpose::Hits(_) => Kind::StrangerHits,
            _ => Kind::Forward,
        };
        let connect_max = if proven { CONNECT_MAX } else { CONNECT_UNPROVEN_MAX };
        let command = Command::Dial { to, messages, expect: Expect::Nothing, connect_max };
        let submitted = self.submit_dial(now, to, purpose, command, Rank::For(kind, sender));
        submitted.inspect_err(|_| self.count_dropped(kind))
    }

    /// Asks a peer that has announced itself what it speaks, when a worker for strangers is free.
    pub(super) fn dial_newcomer(
        &mut self,
        now: Instant,
        sender: Sender,
        to: SocketAddr,
        message: Message,
    ) -> Result<ExchangeId, QueueFull> {
        let connect_max = CONNECT_UNPROVEN_MAX;
        let command = Command::Dial { to, messages: vec![message], expect: Expect::FirstContact, connect_max };
        self.submit_dial(now, to, Purpose::Newcomer, command, Rank::For(Kind::StrangerHits, sender))
    }

    fn submit_dial(
        &mut self,
        now: Instant,
        to: SocketAddr,
        purpose: Purpose,
        command: Command,
        rank: Rank,
    ) -> Result<ExchangeId, QueueFull> {
        let exchange = self.next_exchange(to, purpose);
        let submitted = self.submit(now, exchange, command, rank);
        submitted.map(|()| exchange).inspect_err(|_| {
            self.forget_dial(exchange);
        })
    }

    /// Fetches a file when a worker is free, for the command's download. Downloads in progress are few, so there is
    /// always room for them.
    pub(super) fn dial_fetch(
        &mut self,
        now: Instant,
        download: TransferId,
        to: SocketAddr,
        command: Command,
    ) -> ExchangeId {
        let exchange = self.next_exchange(to, Purpose::Fetch(download));
        // Nothing is ever refused at this rank.
        let _ = self.submit(now, exchange, command, Rank::Fetch);
        exchange
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

    pub(super) fn on_dial_ended(&mut self, now: Instant, exchange: ExchangeId, outcome: DialOutcome) {
        let Some(Dial { to, purpose }) = self.forget_dial(exchange) else {
            log::debug!("an exchange that is not open ended: {exchange:?}");
            return;
        };
        match purpose {
            Purpose::Link(link, errand) => {
                self.on_errand_ended(now, link, errand, exchange, outcome);
                self.on_list_errand_ended(now);
            }
            Purpose::Unregister => self.on_unregister_ended(exchange),
            Purpose::CallBack(id) => self.on_call_back_ended(now, id, exchange, outcome),
            Purpose::Announcement => self.on_announcement_ended(now, to, &outcome),
            _ => {
                self.weigh_peer(now, to, &outcome);
                match purpose {
                    Purpose::Ring(search, open) => {
                        self.on_ring_dial_ended(search, to, &outcome);
                        self.on_part_dialled(now, Some(open), to, &outcome);
                    }
                    Purpose::Hits(open) => self.on_answer_ended(now, open),
                    Purpose::FirstContact => self.on_contact_dial_ended(now, to, &outcome),
                    Purpose::Newcomer => self.on_newcomer_dial_ended(now, to, &outcome),
                    Purpose::List(search) => self.on_list_ended(now, search, exchange, to, outcome),
                    Purpose::Fetch(download) => self.on_fetch_ended(now, download, exchange, outcome),
                    Purpose::Forward(open) => self.on_forward_ended(now, to, open, &outcome),
                    _ => {}
                }
            }
        }
        self.free_worker(now, exchange);
    }

    /// What the end of an exchange says about the peer. A reset says that somebody is there, but not that it is well;
    /// our own shortages say nothing.
    pub(super) fn weigh_peer(&mut self, now: Instant, peer: SocketAddr, outcome: &DialOutcome) {
        match outcome {
            Ok(Dialled { .. }) => self.note_peer_answered(now, peer),
            Err(DialFault::Refused | DialFault::Unreachable | DialFault::TimedOut) => {
                self.note_peer_failed(now, peer);
            }
            Err(DialFault::NotAPeer(program)) => self.note_not_a_peer(now, peer, *program),
            Err(DialFault::Reset | DialFault::TooLong | DialFault::Malformed) => self.peers.change(peer, |row| {
                row.is_in_doubt = true;
                Keep::Yes
            }),
            Err(_) => {}
        }
    }
}
