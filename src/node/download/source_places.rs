//! Who gives way when all places for the sources of a download are taken and another is found.
//!
//! | in this order | gives way to |
//! |---|---|
//! | who sent wrong bytes, or said no to everything | anybody |
//! | who failed and has brought nothing, most failures first | one whose network has no more places than its own |
//! | who was not asked yet, of the network that has most places | one whose network has fewer, or whom the user named |
//! | who was not asked yet and has not shown what it speaks | one that has, and whose network has fewer places |
//!
//! Who has brought anything that counts, or is asked now, stays. Who sent wrong bytes is remembered when its place goes, so
//! that it does not come back as if it were new. On the loopback network, where many peers share one address, each port
//! counts as a network.

use super::source::{Origin, Source, Standing};
use super::state::{Download, Want};
use crate::network::Network;
use crate::node::limits::HIT_SOURCES_MAX;
use crate::node::network::Peers;
use crate::node::speech::Speech;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// What became of a source that wants a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// There is none for it.
    Refused,
    /// One was free.
    Added,
    /// Another source has given way.
    Displaced,
}

/// How little a source is worth its place; the greatest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// `unheard`: neither it nor a list has shown what it speaks.
    Untried { share: usize, unheard: bool },
    /// It was asked, and has brought nothing.
    Failing { failures: u32, share: usize },
    /// It sent wrong bytes, or said no to everything.
    Useless,
}

/// What shares the places.
fn sharer(addr: SocketAddr) -> (Network, u16) {
    let port = if addr.ip().to_canonical().is_loopback() { addr.port() } else { 0 };
    (Network::of(addr.ip()), port)
}

impl Download {
    /// Whether a source that sent wrong bytes has lost its place.
    pub(super) fn has_left_out(&self) -> bool {
        !self.left_out.is_empty()
    }

    /// Takes a source at an address that has none, in a free place or in that of one that gives way.
    pub(super) fn place_source(&mut self, source: Source, by_user: bool, peers: &Peers) -> Placed {
        let is_known = self.sources.iter().any(|known| known.addr == source.addr);
        if is_known || self.left_out.contains(source.addr) && !by_user {
            return Placed::Refused;
        }
        if self.sources.len() < HIT_SOURCES_MAX {
            self.sources.push(source);
            return Placed::Added;
        }
        let Some(place) = self.place_for(source.addr, by_user, peers) else { return Placed::Refused };
        let gone = std::mem::replace(&mut self.sources[place], source);
        if matches!(gone.standing, Standing::Corrupt) {
            self.left_out.insert(gone.addr);
        }
        Placed::Displaced
    }

    /// The place that a newcomer takes.
    fn place_for(&self, newcomer: SocketAddr, by_user: bool, peers: &Peers) -> Option<usize> {
        let mut shares: BTreeMap<_, usize> = BTreeMap::new();
        self.sources.iter().for_each(|source| *shares.entry(sharer(source.addr)).or_default() += 1);
        let share_of = |addr| shares.get(&sharer(addr)).copied().unwrap_or(0);
        let own = share_of(newcomer);
        let is_heard = |addr| peers.speech(addr) != Speech::Unheard;
        let heard = is_heard(newcomer);
        let gives_way = |worth: Worth| match worth {
            Worth::Useless => true,
            Worth::Failing { share, .. } => own <= share || by_user,
            Worth::Untried { share, unheard } => own + 1 < share || heard && unheard && own < share || by_user,
        };
        let worths = self.sources.iter().enumerate().filter_map(|(at, source)| {
            let unheard = !source.p1 && !is_heard(source.addr);
            let worth = self.worth(source, share_of(source.addr), unheard)?;
            gives_way(worth).then_some((worth, Reverse(at)))
        });
        worths.max().map(|(_, Reverse(at))| at)
    }

    /// `None` if it stays.
    fn worth(&self, source: &Source, share: usize, unheard: bool) -> Option<Worth> {
        let is_chosen = source.origin == Origin::Chosen && !matches!(self.want, Want::Content(_));
        let is_teacher = matches!(self.want, Want::Learnt { from, .. } if from == source.addr);
        match source.standing {
            _ if is_teacher || source.fetch().is_some() => None,
            Standing::Refused | Standing::Corrupt => Some(Worth::Useless),
            _ if is_chosen || source.has_delivered() => None,
            _ if source.failures > 0 => Some(Worth::Failing { failures: source.failures, share }),
            _ => Some(Worth::Untried { share, unheard }),
        }
    }
}
