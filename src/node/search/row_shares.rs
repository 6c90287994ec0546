//! The shares of networks in the rows of a search: each may have a quarter, and the last third is for networks that have none
//! yet, so that few colluding networks cannot exclude others.
//!
//! A row counts for the network that sent it. If it names a responder in another network, it also counts for that one,
//! separately from what the responder itself sent: so nobody can use up the share of another. A row that several networks
//! offer counts for each of them in equal parts.
//!
//! All nodes on the loopback network have one address. There each endpoint and each connection has a share.

use crate::network::Network;
use crate::node::limits::{ROWS_FOR_NEWCOMERS_OF, ROWS_PER_NETWORK_MIN};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    /// Rows sent from this network.
    Network(Network),
    /// Rows of the node at this endpoint of the loopback network.
    Endpoint(SocketAddr),
    /// Rows that others sent in the name of this network.
    Named(Network),
    /// Rows sent on one connection of the loopback network.
    Connection(SocketAddr),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backing {
    pub(super) sender: Holder,
    also: Option<Holder>,
}

impl Backing {
    /// Of an offer of `responder` that came on a connection from `from`.
    pub(super) fn of(from: SocketAddr, responder: SocketAddr) -> Self {
        let is_loopback = |addr: SocketAddr| addr.ip().to_canonical().is_loopback();
        let (sender, named) = (Network::of(from.ip()), Network::of(responder.ip()));
        if is_loopback(from) && is_loopback(responder) {
            Self { sender: Holder::Endpoint(responder), also: Some(Holder::Connection(from)) }
        } else {
            let also = (sender != named).then_some(Holder::Named(named));
            Self { sender: Holder::Network(sender), also }
        }
    }

    /// Whether the responder itself has sent it, by its address.
    pub(super) fn is_own(self) -> bool {
        !matches!(self.also, Some(Holder::Named(_)))
    }

    /// The holder of surplus rows. On the loopback network this is the connection, which can name many endpoints.
    pub(super) fn surplus_holder(self) -> Holder {
        self.also.filter(|also| matches!(also, Holder::Connection(_))).unwrap_or(self.sender)
    }

    fn holders(self) -> impl Iterator<Item = Holder> {
        std::iter::once(self.sender).chain(self.also)
    }
}

/// The parts of a row: divisible by up to sixteen holders.
const WHOLE: u64 = 720_720;

/// How many of `rows_max` rows each holder may have.
fn rows_per_holder_max(rows_max: u64) -> u64 {
    rows_max.div_ceil(4).max(ROWS_PER_NETWORK_MIN)
}

/// How many of `rows_max` rows are for holders that have none.
fn rows_for_newcomers(rows_max: u64) -> u64 {
    if rows_per_holder_max(rows_max) == ROWS_PER_NETWORK_MIN { 0 } else { rows_max / ROWS_FOR_NEWCOMERS_OF }
}

/// The rows of each holder in one search, in parts of rows.
#[derive(Debug, Default)]
pub(super) struct RowShares(BTreeMap<Holder, u64>);

impl RowShares {
    /// Whether the holders may have one more of `rows_max` rows.
    pub(super) fn has_room_for(&self, backing: Backing, rows_max: u64) -> bool {
        let most = rows_per_holder_max(rows_max) * WHOLE;
        backing.holders().all(|holder| self.0.get(&holder).copied().unwrap_or(0) + WHOLE <= most)
    }

    /// Whether the holders may have one of the `rows_left`: the last ones are for holders that have none.
    pub(super) fn may_take_one_of(&self, rows_left: u64, backing: Backing, rows_max: u64) -> bool {
        rows_left > rows_for_newcomers(rows_max) || backing.holders().all(|holder| !self.0.contains_key(&holder))
    }

    /// Whether there are this many rows, counting one for each sender, and for each connection of the loopback network.
    pub(super) fn are_enough(&self, rows: u64) -> bool {
        let counted = |counts: fn(&Holder) -> bool| {
            let held = self.0.iter().filter(|(holder, _)| counts(holder));
            held.map(|(_, parts)| (*parts).min(WHOLE)).sum::<u64>()
        };
        let of_senders = counted(|holder| matches!(holder, Holder::Network(_) | Holder::Endpoint(_)));
        let of_connections = counted(|holder| matches!(holder, Holder::Network(_) | Holder::Connection(_)));
        of_senders.min(of_connections) >= rows * WHOLE
    }

    pub(super) fn add(&mut self, row: impl Iterator<Item = Backing>) {
        for (holder, parts) in parts_of(row) {
            *self.0.entry(holder).or_default() += parts;
        }
    }

    /// Reverts [`add`](Self::add).
    pub(super) fn remove(&mut self, row: impl Iterator<Item = Backing>) {
        for (holder, parts) in parts_of(row) {
            let Some(held) = self.0.get_mut(&holder) else { continue };
            *held = held.saturating_sub(parts);
            if *held == 0 {
                self.0.remove(&holder);
            }
        }
    }
}

/// The number of distinct senders of a row; on the loopback network, also of distinct connections.
pub(super) fn senders(row: impl Iterator<Item = Backing>) -> usize {
    let (mut senders, mut connections) = (BTreeSet::new(), BTreeSet::new());
    for backing in row {
        senders.insert(backing.sender);
        connections.insert(backing.surplus_holder());
    }
    senders.len().min(connections.len())
}

/// The parts of each holder in a row: it is divided among the senders, and again among the other holders.
fn parts_of(row: impl Iterator<Item = Backing>) -> Vec<(Holder, u64)> {
    let (mut senders, mut others) = (BTreeSet::new(), BTreeSet::new());
    for backing in row {
        senders.insert(backing.sender);
        others.insert(backing.also);
    }
    let part = |of: usize| WHOLE.div_ceil((of as u64).max(1));
    let (of_senders, of_others) = (part(senders.len()), part(others.len()));
    let senders = senders.into_iter().map(|holder| (holder, of_senders));
    senders.chain(others.into_iter().flatten().map(|holder| (holder, of_others))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backing(from: &str, responder: &str) -> Backing {
        Backing::of(from.parse().unwrap(), responder.parse().unwrap())
    }

    /// How many of a hundred rows are admitted; the n-th has the backing `of(n)`.
    fn rows_taken(shares: &mut RowShares, of: impl Fn(u64) -> Backing) -> usize {
        let mut taken = 0;
        for backing in (0..100).map(of) {
            if !shares.has_room_for(backing, 100) {
                break;
            }
            shares.add(std::iter::once(backing));
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_network_gets_a_quarter_of_the_rows_whatever_ports_and_responders_it_names() {
        let mut shares = RowShares::default();
        let port = |n: u64| backing("192.0.2.1:9", &format!("192.0.2.1:{}", n + 1));
        assert_eq!(rows_taken(&mut shares, port), 25);
        let forged = |n: u64| backing("192.0.2.66:9", &format!("10.0.0.{}:9", n + 1));
        assert_eq!(rows_taken(&mut shares, forged), 25, "the sender counts");
        let forged = |n: u64| backing(&format!("198.51.100.{}:9", n + 1), "10.9.9.9:9");
        assert_eq!(rows_taken(&mut shares, forged), 25, "whoever is named counts");
        let own = |_| backing("10.9.9.9:1", "10.9.9.9:9");
        assert_eq!(rows_taken(&mut shares, own), 25, "and has its own share all the same");
        let v6 = |n: u64| backing(&format!("[2001:db8::{n}]:1"), &format!("[2001:db8::{n}]:9"));
        assert_eq!(rows_taken(&mut shares, v6), 25);
    }

    #[test]
    fn on_the_loopback_network_endpoints_and_connections_have_shares() {
        let mut shares = RowShares::default();
        let one = |n: u64| backing(&format!("127.0.0.1:{}", 1_000 + n), "127.0.0.1:9");
        assert_eq!(rows_taken(&mut shares, one), 25, "one node, whose hits come on a connection each");
        let forged = |n: u64| backing("127.0.0.1:5000", &format!("127.0.0.1:{}", 20 + n));
        assert_eq!(rows_taken(&mut shares, forged), 25, "one connection, on which many nodes are named");
        let other = |n: u64| backing(&format!("127.0.0.1:{}", 6_000 + n), "127.0.0.1:7");
        assert_eq!(rows_taken(&mut shares, other), 25, "another node");
    }

    #[test]
    fn few_rows_need_not_be_shared() {
        let shares = RowShares::default();
        assert!(shares.has_room_for(backing("192.0.2.1:9", "192.0.2.1:9"), 1));
        assert_eq!((rows_per_holder_max(3), rows_per_holder_max(150)), (ROWS_PER_NETWORK_MIN, 38));
    }

    #[test]
    fn a_row_that_several_offer_counts_in_equal_parts() {
        let mut shares = RowShares::default();
        let (one, other) = (backing("192.0.2.1:9", "192.0.2.1:9"), backing("192.0.2.2:9", "192.0.2.2:9"));
        let both = || [one, other, one].into_iter();
        (0..50).for_each(|_| shares.add(both()));
        assert!(!shares.has_room_for(one, 100) && !shares.has_room_for(other, 100));
        assert!(shares.are_enough(2) && !shares.are_enough(3));
        (0..2).for_each(|_| shares.remove(both()));
        assert!(shares.has_room_for(one, 100) && shares.has_room_for(other, 100));
        (0..48).for_each(|_| shares.remove(both()));
        assert!(shares.0.is_empty());
    }

    #[test]
    fn enough_rows_are_those_of_several_senders() {
        let mut shares = RowShares::default();
        let of = |n: u8| backing(&format!("192.0.2.{n}:9"), &format!("192.0.2.{n}:9"));
        (0..100).for_each(|_| shares.add(std::iter::once(of(1))));
        assert!(!shares.are_enough(25), "one has sent them all");
        (2..=24).for_each(|n| (0..6).for_each(|_| shares.add(std::iter::once(of(n)))));
        assert!(!shares.are_enough(25), "each counts as one");
        shares.add(std::iter::once(of(25)));
        assert!(shares.are_enough(25));

        let mut shares = RowShares::default();
        (0..100).for_each(|n| shares.add(std::iter::once(backing("127.0.0.1:5000", &format!("127.0.0.1:{}", 20 + n)))));
        assert!(!shares.are_enough(25), "all came on one connection");
    }
}
