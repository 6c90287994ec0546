//! Which of the peers are neighbours: those that searches go to.
//!
//! A neighbour that answers stays. The others give way to better peers. Who chooses the peers that a node hears of must not
//! choose all of its neighbours:
//!
//! - Of one network there are at most [`NEIGHBOURS_PER_NETWORK_MAX`], the loopback network excepted: whoever has one address
//!   may register many ports. Among equals, networks that have fewer come first.
//! - A quarter is kept for peers that have answered as neighbours in an earlier run: they are tried first, whatever the lists
//!   of bootstrap nodes say.
//! - A quarter at most is for peers that have just announced themselves, so that somebody passes searches on to them.
//! - Among equals, peers on lists that have named fewer neighbours come first. Where one list has named more than its share, its
//!   neighbours give way to those of others, one at a time: each has to answer before the next is tried.

use super::limits::NEIGHBOURS_PER_NETWORK_MAX;
use super::membership::LinkId;
use crate::network::Network;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// A peer that may be a neighbour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Lower is better.
    pub(super) rank: u8,
    /// Decides among equals.
    pub(super) chance: u64,
    pub(super) addr: SocketAddr,
    /// It has answered as a neighbour in an earlier run.
    pub(super) proven: bool,
    /// It is one of the newcomers that have places of their own.
    pub(super) guest: bool,
    /// The lists that name it.
    pub(super) lists: Vec<LinkId>,
}

/// What neighbours are chosen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) neighbours_max: usize,
    /// The worst rank of peers that are to be counted on. Those of greater rank are on trial, if they are no claims.
    pub(super) answers: u8,
    /// From this rank on, a neighbour gives its place to a better candidate.
    pub(super) gives_way: u8,
}

impl Rules {
    /// How many neighbours are to be proven ones, if there are so many.
    fn proven_min(self) -> usize {
        self.neighbours_max.div_ceil(4)
    }
}

/// The neighbours chosen so far, each with the list that it counts for.
struct Chosen {
    rules: Rules,
    places: Vec<(Candidate, Option<LinkId>)>,
    per_network: BTreeMap<Network, usize>,
    per_list: BTreeMap<Option<LinkId>, usize>,
}

impl Chosen {
    fn new(rules: Rules) -> Self {
        Self { rules, places: Vec::new(), per_network: BTreeMap::new(), per_list: BTreeMap::new() }
    }

    fn is_full(&self) -> bool {
        self.places.len() >= self.rules.neighbours_max
    }

    /// How many its network has.
    fn of_network(&self, addr: SocketAddr) -> usize {
        match addr.ip().to_canonical().is_loopback() {
            true => 0,
            false => self.per_network.get(&Network::of(addr.ip())).copied().unwrap_or(0),
        }
    }

    fn has_room_for(&self, candidate: &Candidate) -> bool {
        self.of_network(candidate.addr) < NEIGHBOURS_PER_NETWORK_MAX
    }

    fn of_list(&self, list: Option<LinkId>) -> usize {
        self.per_list.get(&list).copied().unwrap_or(0)
    }

    /// The list that a candidate counts for: of those that name it the one that has named fewest, and how many.
    fn list_of(&self, candidate: &Candidate) -> (usize, Option<LinkId>) {
        let lists = candidate.lists.iter().map(|list| (self.of_list(Some(*list)), Some(*list)));
        lists.min().unwrap_or((self.of_list(None), None))
    }

    fn push(&mut self, candidate: Candidate) {
        let (_, list) = self.list_of(&candidate);
        *self.per_network.entry(Network::of(candidate.addr.ip())).or_default() += 1;
        *self.per_list.entry(list).or_default() += 1;
        self.places.push((candidate, list));
    }

    fn remove(&mut self, at: usize) -> Candidate {
        let (candidate, list) = self.places.remove(at);
        self.per_network.entry(Network::of(candidate.addr.ip())).and_modify(|held| *held -= 1);
        self.per_list.entry(list).and_modify(|held| *held -= 1);
        candidate
    }

    /// Whether more proven ones are to be among them.
    fn wants_proven(&self) -> bool {
        let counts = |(place, _): &&(Candidate, _)| place.proven && place.rank < self.rules.gives_way;
        self.places.iter().filter(counts).count() < self.rules.proven_min()
    }

    /// The best of the candidates that fit; lower is better.
    fn best_of(&self, candidates: &[Candidate], fits: impl Fn(&Candidate) -> bool) -> Option<usize> {
        let wants_proven = self.wants_proven();
        let key = |candidate: &Candidate| {
            let is_wanted = wants_proven && candidate.proven && candidate.rank < self.rules.gives_way;
            let (of_list, _) = self.list_of(candidate);
            (!is_wanted, candidate.rank, self.of_network(candidate.addr), of_list, candidate.chance, candidate.addr)
        };
        let fitting = candidates.iter().enumerate();
        let fitting = fitting.filter(|(_, candidate)| self.has_room_for(candidate) && fits(candidate));
        fitting.min_by_key(|(_, candidate)| key(candidate)).map(|(at, _)| at)
    }

    /// Those from `gives_way` on, the worst first, give way to better ones.
    fn replace_the_worst(&mut self, others: &mut Vec<Candidate>) {
        let mut bad: Vec<_> = self.places.iter().map(|(place, _)| (place.rank, place.chance, place.addr)).collect();
        bad.retain(|(rank, ..)| *rank >= self.rules.gives_way);
        bad.sort_unstable();
        for (rank, _, addr) in bad.into_iter().rev() {
            let Some(at) = self.places.iter().position(|(place, _)| place.addr == addr) else { continue };
            let place = self.remove(at);
            let found = self.best_of(others, |candidate| candidate.rank < rank);
            let now = found.map_or(place, |found| others.remove(found));
            self.push(now);
        }
    }

    /// One of the list that has named most gives way to one of a list that has named less than its share, unless one is on
    /// trial already.
    fn balance_lists(&mut self, others: &[Candidate]) {
        let lists: BTreeSet<_> =
            self.places.iter().map(|(place, _)| place).chain(others).flat_map(|of| &of.lists).collect();
        let share = self.rules.neighbours_max / lists.len().max(1);
        let on_trial =
            |(place, _): &(Candidate, _)| place.rank > self.rules.answers && place.rank < self.rules.gives_way;
        let Some((most, Some(list))) = self.per_list.iter().map(|(list, held)| (*held, *list)).max() else { return };
        if !self.is_full() || most <= share || self.places.iter().any(on_trial) {
            return;
        }
        let of_list = |(_, (place, of)): &(usize, &(Candidate, _))| *of == Some(list) && !place.guest;
        let places = self.places.iter().enumerate().filter(of_list);
        let Some((at, _)) = places.max_by_key(|(_, (place, _))| (!place.proven, place.rank, place.chance)) else {
            return;
        };
        let place = self.remove(at);
        let is_of_another = |candidate: &Candidate| {
            candidate.rank <= self.rules.answers + 1
                && !candidate.lists.contains(&list)
                && !candidate.lists.is_empty()
                && self.list_of(candidate).0 < share
        };
        let found = self.best_of(others, is_of_another);
        self.push(found.map_or(place, |found| others[found].clone()));
    }
}

/// Chooses neighbours from the candidates. The present ones among them stay, as far as the rules let them.
pub(super) fn choose(candidates: Vec<Candidate>, present: &BTreeSet<SocketAddr>, rules: Rules) -> BTreeSet<SocketAddr> {
    let is_guest = |candidate: &Candidate| candidate.guest && candidate.rank <= rules.answers;
    let (guests, candidates): (Vec<_>, Vec<_>) = candidates.into_iter().partition(is_guest);
    let (mut stay, mut others): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| present.contains(&candidate.addr));
    stay.sort_unstable_by_key(|candidate| (candidate.rank, !candidate.proven, candidate.chance, candidate.addr));
    let mut chosen = Chosen::new(rules);
    for candidate in guests.into_iter().chain(stay) {
        if !chosen.is_full() && chosen.has_room_for(&candidate) {
            chosen.push(candidate);
        }
    }
    while !chosen.is_full()
        && let Some(best) = chosen.best_of(&others, |_| true)
    {
        chosen.push(others.remove(best));
    }
    chosen.replace_the_worst(&mut others);
    chosen.balance_lists(&others);
    chosen.places.into_iter().map(|(place, _)| place.addr).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(rank: u8, addr: &str) -> Candidate {
        Candidate { rank, chance: 0, addr: addr.parse().unwrap(), proven: false, guest: false, lists: Vec::new() }
    }

    fn rules(neighbours_max: usize) -> Rules {
        Rules { neighbours_max, answers: 0, gives_way: 2 }
    }

    fn names(chosen: &BTreeSet<SocketAddr>) -> Vec<String> {
        chosen.iter().map(SocketAddr::to_string).collect()
    }

    #[test]
    fn of_one_network_there_are_two_at_most() {
        let mut candidates: Vec<_> = (1..=50).map(|port| candidate(0, &format!("192.0.2.66:{port}"))).collect();
        candidates.extend((1..=50).map(|n| candidate(0, &format!("[2001:db8::{n}]:9"))));
        candidates.push(candidate(1, "10.0.0.1:9"));
        let chosen = choose(candidates, &BTreeSet::new(), rules(8));
        let count = |v6: bool| chosen.iter().filter(|addr| addr.is_ipv6() == v6).count();
        assert_eq!((chosen.len(), count(false), count(true)), (5, 3, 2), "{chosen:?}");
    }

    #[test]
    fn on_the_loopback_network_there_are_as_many_as_wanted() {
        let candidates = (1..=50).map(|port| candidate(0, &format!("127.0.0.1:{port}"))).collect();
        assert_eq!(choose(candidates, &BTreeSet::new(), rules(8)).len(), 8);
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
        let chosen = choose(candidates, &present, rules(3));
        assert_eq!(names(&chosen), ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.4:1"]);
    }

    #[test]
    fn a_better_one_takes_the_place_of_a_worse_one_of_its_own_full_network() {
        let present: BTreeSet<_> = ["10.0.0.1:1", "10.0.0.1:2"].map(|addr| addr.parse().unwrap()).into();
        let candidates = vec![candidate(0, "10.0.0.1:1"), candidate(4, "10.0.0.1:2"), candidate(0, "10.0.0.1:3")];
        assert_eq!(names(&choose(candidates, &present, rules(8))), ["10.0.0.1:1", "10.0.0.1:3"]);
    }
}
