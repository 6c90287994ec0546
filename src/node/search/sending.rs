//! Sending searches and hits to peers.

use crate::id::ExchangeId;
use crate::library::Query;
use crate::node::contract::{Action, Expect};
use crate::node::cx::Cx;
use crate::node::cx::exchanges::{Command, Dial, Kind, Purpose, QueueFull, Rank};
use crate::node::fair_queue::Sender;
use crate::node::limits::{CONNECT_MAX, CONNECT_UNPROVEN_MAX, SEARCHES_PER_UNPROVEN_MAX, SEARCHES_PER_UNTRIED_MAX};
use crate::node::network::NetworkMachine;
use crate::wire::{Message, Search};
use std::net::SocketAddr;

/// The result of sending a search of ours to one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SearchDial {
    /// It is being sent, or waits for a worker.
    Sent,
    /// Not sent: earlier ones have not reached the peer yet.
    Awaited,
    /// Not sent: too many commands wait.
    NoRoom,
}

/// Sends a search of ours to a peer. To one that has not answered yet, few are sent at once, with a short time for connecting,
/// since each occupies a worker. A peer that is not known to speak `p1` gets the plain form.
pub(super) fn dial_search(
    cx: &mut Cx,
    network: &NetworkMachine,
    to: SocketAddr,
    search: &Search,
    purpose: Purpose,
) -> SearchDial {
    let (under_way_max, connect_max) = match (network.peers().has_answered(to), network.peers().is_proven(to)) {
        (true, _) => (usize::MAX, CONNECT_MAX),
        (false, true) => (SEARCHES_PER_UNTRIED_MAX, CONNECT_UNPROVEN_MAX),
        (false, false) => (SEARCHES_PER_UNPROVEN_MAX, CONNECT_UNPROVEN_MAX),
    };
    let is_search = |dial: &&Dial| dial.to == to && matches!(dial.purpose, Purpose::Ring(..) | Purpose::Seek);
    if under_way_max < usize::MAX && cx.exchanges.dials().filter(is_search).count() >= under_way_max {
        return SearchDial::Awaited;
    }
    let plain = if network.peers().takes_operators(to) { None } else { Query::plain_form(&search.text) };
    let text = plain.unwrap_or_else(|| search.text.clone());
    let messages = vec![Message::Search(Search { text, ..search.clone() })];
    match cx.submit_dial(to, purpose, Rank::Own, |_| Command::Send { to, messages, connect_max }) {
        Ok(_) => SearchDial::Sent,
        Err(QueueFull) => SearchDial::NoRoom,
    }
}

/// Sends a search of others, or hits for one, when a worker is free. Counts what is dropped.
pub(super) fn dial_for(
    cx: &mut Cx,
    network: &NetworkMachine,
    sender: Sender,
    to: SocketAddr,
    messages: Vec<Message>,
    purpose: Purpose,
) -> Result<ExchangeId, QueueFull> {
    let proven = network.peers().is_proven(to);
    let kind = match purpose {
        Purpose::Hits(_) if proven => Kind::Hits,
        Purpose::Hits(_) => Kind::StrangerHits,
        _ => Kind::Forward,
    };
    let connect_max = if proven { CONNECT_MAX } else { CONNECT_UNPROVEN_MAX };
    let send = |_| Command::Send { to, messages, connect_max };
    let submitted = cx.submit_dial(to, purpose, Rank::For(kind, sender), send);
    submitted.inspect_err(|_| cx.count_dropped(kind))
}

/// Sends a first contact to a newcomer, when a worker for strangers is free.
pub(super) fn dial_newcomer(
    cx: &mut Cx,
    sender: Sender,
    to: SocketAddr,
    message: Message,
) -> Result<ExchangeId, QueueFull> {
    let (expect, connect_max) = (Expect::FirstContact, CONNECT_UNPROVEN_MAX);
    let rank = Rank::For(Kind::StrangerHits, sender);
    let dial = |exchange| Command::Begin(Action::Dial { exchange, to, messages: vec![message], expect, connect_max });
    cx.submit_dial(to, Purpose::Newcomer, rank, dial)
}
