//! The base peer that is assigned to this node as a neighbour.
//!
//! A base peer does not announce itself. If all nodes have enough neighbours when it registers, it may be nobody's neighbour,
//! and no search reaches it. So the `p1` peers on a list are assigned to the base peers on it: each to at most one, and equally
//! many to each base peer, up to [`ASSIGNEES_MAX`]. All nodes compute the same assignment from the same list by rendezvous
//! hashing (hashes of pairs of endpoints). If lists are samples, the numbers are about the same.
//!
//! Registering many base peers gains little: one place of each node, and the second base peer of a wide network comes after
//! the first ones of all others.

use crate::network::WideNetwork;
use crate::node::limits::ASSIGNEES_MAX;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Mixes the bits of a number (the finalizer of SplitMix64).
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn digest(endpoint: SocketAddr) -> u64 {
    let ip = match endpoint.ip().to_canonical() {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    let halves = [ip as u64, (ip >> 64) as u64, u64::from(endpoint.port())];
    halves.into_iter().fold(0, |hash: u64, half| mixed(hash.wrapping_add(half).wrapping_add(0x9e37_79b9_7f4a_7c15)))
}

/// Each base peer with its number in its wide network, and its hash.
fn numbered(base: &[SocketAddr]) -> Vec<(usize, u64, SocketAddr)> {
    let mut by_hash: Vec<_> = base.iter().map(|peer| (digest(*peer), *peer)).collect();
    by_hash.sort_unstable();
    let mut of_wide: BTreeMap<WideNetwork, usize> = BTreeMap::new();
    let number = |(hash, peer): (u64, SocketAddr)| {
        let count = of_wide.entry(WideNetwork::of(peer.ip())).or_default();
        *count += 1;
        (*count, hash, peer)
    };
    by_hash.into_iter().map(number).collect()
}

/// The base peer that is assigned to `us`, one of the `p1` peers.
pub(super) fn assigned_to(us: SocketAddr, p1: &[SocketAddr], base: &[SocketAddr]) -> Option<SocketAddr> {
    let base = numbered(base);
    let assignees: Vec<_> = p1.iter().map(|peer| (*peer, digest(*peer))).collect();
    let pairs = base.iter().enumerate().flat_map(|(at, (number, hash, _))| {
        let of = assignees.iter().enumerate();
        of.map(move |(to, (_, other))| (*number, mixed(hash ^ mixed(*other)), at, to))
    });
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_unstable();
    let mut is_free = vec![true; assignees.len()];
    for _ in 0..ASSIGNEES_MAX {
        let mut is_served = vec![false; base.len()];
        for (_, _, at, to) in &pairs {
            if is_free[*to] && !is_served[*at] {
                (is_free[*to], is_served[*at]) = (false, true);
                if assignees[*to].0 == us {
                    return Some(base[*at].2);
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(first: u8, count: usize) -> Vec<SocketAddr> {
        let endpoint = |n: usize| SocketAddr::from(([first, (n / 250) as u8, (n % 250) as u8, 1], 63_339));
        (0..count).map(endpoint).collect()
    }

    /// How many nodes have each base peer.
    fn times(p1: &[SocketAddr], base: &[SocketAddr]) -> Vec<usize> {
        let assigned: Vec<_> = p1.iter().filter_map(|us| assigned_to(*us, p1, base)).collect();
        base.iter().map(|peer| assigned.iter().filter(|one| *one == peer).count()).collect()
    }

    #[test]
    fn each_base_peer_on_a_list_is_assigned_to_as_many_as_any_other() {
        for (p1, base, least, most) in [(35, 15, 2, 3), (140, 60, 2, 3), (40, 1, 4, 4), (5, 5, 1, 1), (3, 9, 0, 1)] {
            let times = times(&endpoints(10, p1), &endpoints(20, base));
            let range = (*times.iter().min().unwrap(), *times.iter().max().unwrap());
            assert_eq!(range, (least, most), "{p1} p1, {base} base: {times:?}");
            assert!(times.iter().sum::<usize>() <= p1);
        }
    }

    #[test]
    fn the_order_of_a_list_does_not_matter() {
        let (p1, base) = (endpoints(10, 35), endpoints(20, 15));
        let reversed = |peers: &[SocketAddr]| peers.iter().rev().copied().collect::<Vec<_>>();
        for us in &p1 {
            assert_eq!(assigned_to(*us, &p1, &base), assigned_to(*us, &reversed(&p1), &reversed(&base)));
        }
    }

    #[test]
    fn many_base_peers_of_one_network_do_not_keep_others_from_being_assigned() {
        let p1 = endpoints(10, 35);
        let ports = (1_024..1_124).map(|port| SocketAddr::from(([66, 6, 6, 6], port)));
        let base: Vec<_> = endpoints(20, 15).into_iter().chain(ports).collect();
        let times = times(&p1, &base);
        assert!(times[..15].iter().all(|times| *times >= 1), "{times:?}");
    }
}
