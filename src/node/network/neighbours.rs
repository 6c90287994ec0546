//! Which of the peers are neighbours: those that searches go to.
//!
//! A neighbour that answers stays. The others give way to better peers. Who chooses the peers that a node hears of must not
//! choose all of its neighbours:
//!
//! - Of one network there are at most [`NEIGHBOURS_PER_NETWORK_MAX`], the loopback network excepted: whoever has one address
//!   may register many ports. Among equals, wide networks that have fewer come first, except our own, and then networks.
//! - A quarter is kept for peers that have answered as neighbours in an earlier run: they are tried first, whatever the lists
//!   of bootstrap nodes say.
//! - An eighth at most is for peers that have just announced themselves, so that somebody passes searches on to them, and an
//!   eighth for base peers that are assigned to this node ([`assigned`](crate::node::network::assigned)), which never do.
//! - Among equals, peers on lists that have named fewer neighbours come first. Where one list has named more than its share, its
//!   neighbours give way to those of others, one at a time: each has to answer before the next is tried.
//! - A neighbour that takes connections, and has sent no search, hit or list, gives way to a peer on a list, one with each
//!   list that comes, until a quarter of the neighbours has done more; after that, where no list has named it for
//!   [`UNNAMED_AGE_MAX`]. Who shares what nobody asks for is like that and may be of use to others: so the others stay, and so
//!   do all of them while no list names anybody else.

use crate::network::{Network, WideNetwork};
use crate::node::ids::LinkId;
use crate::node::limits::{NEIGHBOURS_PER_NETWORK_MAX, UNNAMED_AGE_MAX};
use crate::time::Instant;
use std::cmp::Reverse;
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
    /// It is one of the newcomers, or of the assigned base peers, that have places of their own.
    pub(super) guest: bool,
    pub(super) use_shown: UseShown,
    /// The lists that name it.
    pub(super) lists: Vec<LinkId>,
}

/// Whether a peer has done, in this run, more than to take connections: has searched, or answered with a hit or a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum UseShown {
    Yes,
    /// `named_at`: when it was learnt of, or a list named it last.
    No {
        named_at: Instant,
    },
}

/// What neighbours are chosen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules<'a> {
    pub(super) neighbours_max: usize,
    /// The worst rank of peers that are to be counted on. Those of greater rank are on trial, if they are no claims.
    pub(super) answers: u8,
    /// From this rank on, a neighbour gives its place to a better candidate.
    pub(super) gives_way: u8,
    /// The wide networks that this node is in: there, each network counts as a wide one.
    pub(super) home: &'a BTreeSet<WideNetwork>,
    /// When a list came, if one has come since neighbours were chosen last.
    pub(super) listed_at: Option<Instant>,
}

impl Rules<'_> {
    /// How many neighbours are to be proven ones, if there are so many.
    fn proven_min(self) -> usize {
        self.neighbours_max.div_ceil(4)
    }

    /// How many neighbours are to have shown that they are of use, if there are so many.
    fn useful_min(self) -> usize {
        self.neighbours_max.div_ceil(4)
    }
}

/// The neighbours, and whether one of them was replaced that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) neighbours: BTreeSet<SocketAddr>,
    pub(super) replaced: bool,
}

/// The neighbours chosen so far, each with the list that it counts for.
struct Chosen<'a> {
    rules: Rules<'a>,
    places: Vec<(Candidate, Option<LinkId>)>,
    per_network: BTreeMap<Network, usize>,
    per_wide: BTreeMap<WideNetwork, usize>,
    per_list: BTreeMap<Option<LinkId>, usize>,
}

impl<'a> Chosen<'a> {
    fn new(rules: Rules<'a>) -> Self {
        let (per_network, per_wide, per_list) = Default::default();
        Self { rules, places: Vec::new(), per_network, per_wide, per_list }
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

    /// How many its wide network has; in a wide network of our own, how many its network has.
    fn of_wide_network(&self, addr: SocketAddr) -> usize {
        let wide = WideNetwork::of(addr.ip());
        match addr.ip().to_canonical().is_loopback() || self.rules.home.contains(&wide) {
            true => self.of_network(addr),
            false => self.per_wide.get(&wide).copied().unwrap_or(0),
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
        *self.per_wide.entry(WideNetwork::of(candidate.addr.ip())).or_default() += 1;
        *self.per_list.entry(list).or_default() += 1;
        self.places.push((candidate, list));
    }

    fn remove(&mut self, at: usize) -> Candidate {
        let (candidate, list) = self.places.remove(at);
        self.per_network.entry(Network::of(candidate.addr.ip())).and_modify(|held| *held -= 1);
        self.per_wide.entry(WideNetwork::of(candidate.addr.ip())).and_modify(|held| *held -= 1);
        self.per_list.entry(list).and_modify(|held| *held -= 1);
        candidate
    }

    /// How many of them are such, and no claims and not failing.
    fn count(&self, which: impl Fn(&Candidate) -> bool) -> usize {
        self.places.iter().filter(|(place, _)| which(place) && place.rank < self.rules.gives_way).count()
    }

    /// Whether more proven ones are to be among them.
    fn wants_proven(&self) -> bool {
        self.count(|place| place.proven) < self.rules.proven_min()
    }

    /// Whether one is on trial: it did not answer yet, and nothing speaks against it.
    fn has_trial(&self) -> bool {
        self.count(|place| place.rank > self.rules.answers) > 0
    }

    /// Decides among equals; lower is better.
    fn place_among_equals(&self, candidate: &Candidate) -> impl Ord + use<> {
        let Candidate { chance, addr, .. } = *candidate;
        (self.of_wide_network(addr), self.of_network(addr), self.list_of(candidate).0, chance, addr)
    }

    /// The best of the candidates that fit; lower is better.
    fn best_of(&self, candidates: &[Candidate], fits: impl Fn(&Candidate) -> bool) -> Option<usize> {
        let wants_proven = self.wants_proven();
        let key = |candidate: &Candidate| {
            let is_wanted = wants_proven && candidate.proven && candidate.rank < self.rules.gives_way;
            (!is_wanted, candidate.rank, self.place_among_equals(candidate))
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

    /// How many lists name one of them, or another candidate.
    fn lists(&self, others: &[Candidate]) -> usize {
        let all = self.places.iter().map(|(place, _)| place).chain(others);
        all.flat_map(|of| &of.lists).collect::<BTreeSet<_>>().len()
    }

    /// One of the list that has named most gives way to one of a list that has named less than its share, unless one is on
    /// trial already.
    fn balance_lists(&mut self, others: &[Candidate]) {
        let share = self.rules.neighbours_max / self.lists(others).max(1);
        let Some((most, Some(list))) = self.per_list.iter().map(|(list, held)| (*held, *list)).max() else { return };
        if !self.is_full() || most <= share || self.has_trial() {
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

    /// With a list that has come, a neighbour that only takes connections gives way to a peer that is on a list, unless one is on
    /// trial already. Says whether that was so.
    fn replace_a_silent_one(&mut self, others: &[Candidate]) -> bool {
        let Some(listed_at) = self.rules.listed_at.filter(|_| self.is_full() && !self.has_trial()) else {
            return false;
        };
        let is_useful = |place: &Candidate| place.use_shown == UseShown::Yes;
        let wants_useful = self.count(is_useful) < self.rules.useful_min();
        let keeps_proven = self.count(|place| place.proven) <= self.rules.proven_min();
        let may_go = |place: &Candidate| match place.use_shown {
            UseShown::No { named_at } if !place.guest => {
                let is_unnamed = place.lists.is_empty() && named_at + UNNAMED_AGE_MAX <= listed_at;
                (is_unnamed || wants_useful) && !(place.proven && keeps_proven)
            }
            _ => false,
        };
        // Those that lists named longest ago first.
        let places = self.places.iter().enumerate().filter(|(_, (place, _))| may_go(place));
        let Some((at, _)) = places.min_by_key(|(_, (place, _))| {
            (place.use_shown, Reverse(self.of_wide_network(place.addr)), place.chance, place.addr)
        }) else {
            return false;
        };
        let place = self.remove(at);
        // No list gets more than its share in this way: one that always names the same peers would have them all in the end.
        let share = self.rules.neighbours_max.div_ceil(self.lists(others).max(1));
        let fits = |candidate: &&Candidate| {
            let is_named = !candidate.lists.is_empty() && self.list_of(candidate).0 < share;
            is_named && candidate.rank <= self.rules.answers + 1 && self.has_room_for(candidate)
        };
        // One that did more than to answer, then one that was not tried yet.
        let found = others.iter().filter(fits).min_by_key(|candidate| {
            let is_tried = candidate.rank == self.rules.answers;
            (!is_useful(candidate), is_tried, self.place_among_equals(candidate))
        });
        let found = found.cloned();
        let is_replaced = found.is_some();
        self.push(found.unwrap_or(place));
        is_replaced
    }
}

/// Chooses neighbours from the candidates. The present ones among them stay, as far as the rules let them.
pub(super) fn choose(candidates: Vec<Candidate>, present: &BTreeSet<SocketAddr>, rules: Rules) -> Choice {
    let (guests, candidates): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|candidate| candidate.guest);
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
    let replaced = chosen.replace_a_silent_one(&others);
    Choice { neighbours: chosen.places.into_iter().map(|(place, _)| place.addr).collect(), replaced }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(rank: u8, addr: &str) -> Candidate {
        let (addr, use_shown) = (addr.parse().unwrap(), UseShown::Yes);
        Candidate { rank, chance: 0, addr, proven: false, guest: false, use_shown, lists: Vec::new() }
    }

    static ABROAD: BTreeSet<WideNetwork> = BTreeSet::new();

    fn rules(neighbours_max: usize) -> Rules<'static> {
        Rules { neighbours_max, answers: 0, gives_way: 2, home: &ABROAD, listed_at: None }
    }

    fn choose(candidates: Vec<Candidate>, present: &BTreeSet<SocketAddr>, rules: Rules) -> BTreeSet<SocketAddr> {
        super::choose(candidates, present, rules).neighbours
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

    /// How many of them are of a wide network.
    fn of_wide(chosen: &BTreeSet<SocketAddr>, ip: &str) -> usize {
        let wide = WideNetwork::of(ip.parse().unwrap());
        chosen.iter().filter(|addr| WideNetwork::of(addr.ip()) == wide).count()
    }

    #[test]
    fn among_equals_wide_networks_take_turns_but_for_our_own() {
        let mut candidates: Vec<_> = (1..=200).map(|n| candidate(1, &format!("192.0.2.{n}:9"))).collect();
        candidates.extend((1..=200).map(|n| candidate(1, &format!("[2001:db8:7:{n:x}::1]:9"))));
        candidates.extend((1..=4).map(|n| candidate(1, &format!("10.{n}.0.1:9"))));
        let chosen = choose(candidates.clone(), &BTreeSet::new(), rules(8));
        assert_eq!(
            (chosen.len(), of_wide(&chosen, "192.0.2.1"), of_wide(&chosen, "2001:db8:7::")),
            (8, 2, 2),
            "{chosen:?}"
        );
        // Of a local network that is all there is, as many as wanted.
        let of_one = choose(candidates[..200].to_vec(), &BTreeSet::new(), rules(8));
        assert_eq!(of_one.len(), 8);
        // In our own, each network counts for itself: by chance alone, most are of it.
        let home = [WideNetwork::of("192.0.2.0".parse().unwrap())].into();
        for (place, candidate) in candidates.iter_mut().enumerate() {
            candidate.chance = (place as u64 * 7_919) % 404;
        }
        let chosen = choose(candidates, &BTreeSet::new(), Rules { home: &home, ..rules(8) });
        assert!(of_wide(&chosen, "192.0.2.1") > 4 && of_wide(&chosen, "2001:db8:7::") <= 1, "{chosen:?}");
    }
}
