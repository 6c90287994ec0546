//! Which of the peers are neighbours: those that searches go to.
//!
//! A neighbour that answers stays. The others give way to better peers, chosen by chance among equals. Of one network there
//! are at most [`NEIGHBOURS_PER_NETWORK_MAX`], the loopback network excepted: whoever has one address may register many
//! ports.

use super::limits::NEIGHBOURS_PER_NETWORK_MAX;
use crate::network::Network;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// A peer that may be a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    /// Lower is better.
    pub(super) rank: u8,
    /// Decides among equals.
    pub(super) chance: u64,
    pub(super) addr: SocketAddr,
}

/// The neighbours chosen so far.
#[derive(Default)]
struct Chosen {
    places: Vec<Candidate>,
    per_network: BTreeMap<Network, usize>,
}

impl Chosen {
    fn has_room_for(&self, addr: SocketAddr) -> bool {
        addr.ip().to_canonical().is_loopback()
            || self.per_network.get(&Network::of(addr.ip())).is_none_or(|held| *held < NEIGHBOURS_PER_NETWORK_MAX)
    }

    /// Takes a candidate, if its network has room.
    fn take(&mut self, candidate: Candidate) -> bool {
        let fits = self.has_room_for(candidate.addr);
        if fits {
            self.places.push(candidate);
            *self.per_network.entry(Network::of(candidate.addr.ip())).or_default() += 1;
        }
        fits
    }

    fn count_out(&mut self, addr: SocketAddr) {
        if let Some(held) = self.per_network.get_mut(&Network::of(addr.ip())) {
            *held -= 1;
        }
    }
}

/// Chooses up to `neighbours_max` of the candidates. The present neighbours among them stay, except that one of rank
/// `gives_way` or worse gives its place to a better candidate.
pub(super) fn choose(
    candidates: Vec<Candidate>,
    present: &BTreeSet<SocketAddr>,
    neighbours_max: usize,
    gives_way: u8,
) -> BTreeSet<SocketAddr> {
    let (mut stay, mut others): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| present.contains(&candidate.addr));
    stay.sort_unstable();
    others.sort_unstable();
    let mut chosen = Chosen::default();
    for candidate in stay {
        let _ = chosen.places.len() < neighbours_max && chosen.take(candidate);
    }
    others.retain(|candidate| chosen.places.len() >= neighbours_max || !chosen.take(*candidate));
    // Those in the worst places first.
    for at in (0..chosen.places.len()).rev() {
        let place = chosen.places[at];
        if place.rank < gives_way {
            continue;
        }
        chosen.count_out(place.addr);
        let better = |candidate: &Candidate| candidate.rank < place.rank && chosen.has_room_for(candidate.addr);
        let found = others.iter().position(better);
        let now = found.map_or(place, |found| others.remove(found));
        chosen.places[at] = now;
        *chosen.per_network.entry(Network::of(now.addr.ip())).or_default() += 1;
    }
    chosen.places.into_iter().map(|place| place.addr).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(rank: u8, addr: &str) -> Candidate {
        Candidate { rank, chance: 0, addr: addr.parse().unwrap() }
    }

    fn names(chosen: &BTreeSet<SocketAddr>) -> Vec<String> {
        chosen.iter().map(SocketAddr::to_string).collect()
    }

    #[test]
    fn of_one_network_there_are_two_at_most() {
        let mut candidates: Vec<_> = (1..=50).map(|port| candidate(0, &format!("192.0.2.66:{port}"))).collect();
        candidates.extend((1..=50).map(|n| candidate(0, &format!("[2001:db8::{n}]:9"))));
        candidates.push(candidate(1, "10.0.0.1:9"));
        let chosen = choose(candidates, &BTreeSet::new(), 8, 2);
        let count = |v6: bool| chosen.iter().filter(|addr| addr.is_ipv6() == v6).count();
        assert_eq!((chosen.len(), count(false), count(true)), (5, 3, 2), "{chosen:?}");
    }

    #[test]
    fn on_the_loopback_network_there_are_as_many_as_wanted() {
        let candidates = (1..=50).map(|port| candidate(0, &format!("127.0.0.1:{port}"))).collect();
        assert_eq!(choose(candidates, &BTreeSet::new(), 8, 2).len(), 8);
    }

    #[test]
    fn those_that_answer_stay_and_the_worst_give_way_to_the_best() {
        let present: BTreeSet<_> = ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"].map(|addr| addr.parse().unwrap()).into();
        let candidates = vec![
            candidate(1, "10.0.0.1:1"),
            candidate(2, "10.0.0.2:1"),
            candidate(4, "10.0.0.3:1"),
            candidate(0, "10.0.0.4:1"),
            candidate(3, "10.0.0.5:1"),
        ];
        let chosen = choose(candidates, &present, 3, 2);
        assert_eq!(names(&chosen), ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.4:1"]);
    }

    #[test]
    fn a_better_one_takes_the_place_of_a_worse_one_of_its_own_full_network() {
        let present: BTreeSet<_> = ["10.0.0.1:1", "10.0.0.1:2"].map(|addr| addr.parse().unwrap()).into();
        let candidates = vec![candidate(0, "10.0.0.1:1"), candidate(4, "10.0.0.1:2"), candidate(0, "10.0.0.1:3")];
        assert_eq!(names(&choose(candidates, &present, 8, 2)), ["10.0.0.1:1", "10.0.0.1:3"]);
    }
}
