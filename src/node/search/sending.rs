//! Sending a search of ours to a peer.

use crate::library::Query;
use crate::node::cx::exchanges::{Command, Dial, Purpose, QueueFull, Rank};
use crate::node::limits::{CONNECT_MAX, CONNECT_UNPROVEN_MAX, SEARCHES_PER_UNPROVEN_MAX, SEARCHES_PER_UNTRIED_MAX};
use crate::node::network::Net;
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
pub(super) fn dial_search(net: &mut Net, to: SocketAddr, search: &Search, purpose: Purpose) -> SearchDial {
    let (under_way_max, connect_max) = match (net.peers().has_answered(to), net.peers().is_proven(to)) {
        (true, _) => (usize::MAX, CONNECT_MAX),
        (false, true) => (SEARCHES_PER_UNTRIED_MAX, CONNECT_UNPROVEN_MAX),
        (false, false) => (SEARCHES_PER_UNPROVEN_MAX, CONNECT_UNPROVEN_MAX),
    };
    let is_search =
        |dial: &&Dial| dial.to == to && matches!(dial.purpose, Purpose::Ring(..) | Purpose::Seek | Purpose::Wish);
    if under_way_max < usize::MAX && net.cx.exchanges.dials().filter(is_search).count() >= under_way_max {
        return SearchDial::Awaited;
    }
    let plain = if net.peers().takes_operators(to) { None } else { Query::plain_form(&search.text) };
    let text = plain.unwrap_or_else(|| search.text.clone());
    let messages = vec![Message::Search(Search { text, ..search.clone() })];
    match net.cx.submit_dial(to, purpose, Rank::Own, |_| Command::Send { to, messages, connect_max }) {
        Ok(_) => SearchDial::Sent,
        Err(QueueFull) => SearchDial::NoRoom,
    }
}
