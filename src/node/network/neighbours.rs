//! Choosing the neighbours: the peers to which searches are sent.
//!
//! A neighbour that answers stays. The others are replaced by better peers. An attacker that controls the lists must not
//! control all neighbours:
//!
//! - Each network has at most [`NEIGHBOURS_PER_NETWORK_MAX`], except the loopback network, since one address can register many
//!   ports. Among equals, wide networks with fewer neighbours come first, except our own, and then networks.
//! - A quarter is reserved for peers that have answered as neighbours in an earlier run: they are tried first, independent of
//!   lists.
//! - Up to an eighth is for newcomers, which have announced themselves, and an eighth for base peers that are assigned to this
//!   node ([`assigned`](crate::node::network::assigned)), which cannot.
//! - Among equals, peers on lists that have contributed fewer neighbours come first. If one list has contributed more than its
//!   share, its neighbours are replaced by those of others, one at a time: each has to answer before the next is tried.
//! - With each new list, one neighbour that accepts connections, but has sent no search, hit or list, is replaced by a peer on
//!   a list, until a quarter of the neighbours has sent something; after that, only those that no list has named for
//!   [`UNNAMED_AGE_MAX`]. The others stay: they may share files that nobody has searched for yet.

use crate::network::{Network, WideNetwork};
use crate::node::ids::LinkId;
use crate::node::limits::{NEIGHBOURS_PER_NETWORK_MAX, UNNAMED_AGE_MAX};
use crate::time::Instant;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Lower is better.
    pub(super) rank: u8,
    /// Decides among equals.
    pub(super) chance: u64,
    pub(super) addr: SocketAddr,
    /// Has answered as a neighbour in an earlier run.
    pub(super) proven: bool,
    /// One of the newcomers or assigned base peers, which have reserved places.
    pub(super) guest: bool,
    pub(super) use_shown: UseShown,
    pub(super) lists: Vec<LinkId>,
}

/// Whether a peer has sent a search, a hit or a list in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum UseShown {
    Yes,
    /// `named_at`: when it became known, or a list named it last.
    No {
        named_at: Instant,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules<'a> {
    pub(super) neighbours_max: usize,
    /// The worst rank of peers that answer. Those of greater rank are on trial, if they are no claims.
    pub(super) answers: u8,
    /// From this rank on, a neighbour is replaced by a better candidate.
    pub(super) gives_way: u8,
    /// The wide networks of this node: in these, each network counts as a wide one.
    pub(super) home: &'a BTreeSet<WideNetwork>,
    /// When a list came, if one has come since the last choice.
    pub(super) listed_at: Option<Instant>,
}

impl Rules<'_> {
    /// The wanted number of proven neighbours, and of those that have sent something.
    fn quarter(self) -> usize {
        self.neighbours_max.div_ceil(4)
    }
}

/// The neighbours, and whether one that answers was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) neighbours: BTreeSet<SocketAddr>,
    pub(super) replaced: bool,
}

/// The neighbours chosen so far, each with the list to which it counts.
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

    /// The number of neighbours in its network.
    fn of_network(&self, addr: SocketAddr) -> usize {
        match addr.ip().to_canonical().is_loopback() {
            true => 0,
            false => self.per_network.get(&Network::of(addr.ip())).copied().unwrap_or(0),
        }
    }

    /// The number in its wide network; in our own wide network, in its network.
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

    /// The list to which a candidate counts: of those that name it, the one with fewest neighbours, and their number.
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

    /// How many fit, without claims and failing ones.
    fn count(&self, which: impl Fn(&Candidate) -> bool) -> usize {
        self.places.iter().filter(|(place, _)| which(place) && place.rank < self.rules.gives_way).count()
    }

    fn wants_proven(&self) -> bool {
        self.count(|place| place.proven) < self.rules.quarter()
    }

    /// Whether one is on trial: it is no claim, and has not answered yet.
    fn has_trial(&self) -> bool {
        self.count(|place| place.rank > self.rules.answers) > 0
    }

    /// The order among equals; lower is better.
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

    /// Replaces neighbours from rank `gives_way` on, the worst first, by better ones.
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

    /// The number of lists that name a neighbour or another candidate.
    fn lists(&self, others: &[Candidate]) -> usize {
        let all = self.places.iter().map(|(place, _)| place).chain(others);
        all.flat_map(|of| &of.lists).collect::<BTreeSet<_>>().len()
    }

    /// Replaces a neighbour of the list with most neighbours by a peer of a list with less than its share, unless one is on trial
    /// already.
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

    /// After a new list, replaces a neighbour that has sent nothing by a peer on a list, unless one is on trial already. Returns
    /// whether it did.
    fn replace_a_silent_one(&mut self, others: &[Candidate]) -> bool {
        let Some(listed_at) = self.rules.listed_at.filter(|_| self.is_full() && !self.has_trial()) else {
            return false;
        };
        let is_useful = |place: &Candidate| place.use_shown == UseShown::Yes;
        let wants_useful = self.count(is_useful) < self.rules.quarter();
        let keeps_proven = self.count(|place| place.proven) <= self.rules.quarter();
        let may_go = |place: &Candidate| match place.use_shown {
            UseShown::No { named_at } if !place.guest => {
                let is_unnamed = place.lists.is_empty() && named_at + UNNAMED_AGE_MAX <= listed_at;
                (is_unnamed || wants_useful) && !(place.proven && keeps_proven)
            }
            _ => false,
        };
        // Those that lists named longest ago come first.
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
    fn one_network_has_two_neighbours_at_most() {
        let mut candidates: Vec<_> = (1..=50).map(|port| candidate(0, &format!("192.0.2.66:{port}"))).collect();
        candidates.extend((1..=50).map(|n| candidate(0, &format!("[2001:db8::{n}]:9"))));
        candidates.push(candidate(1, "10.0.0.1:9"));
        let chosen = choose(candidates, &BTreeSet::new(), rules(8));
        let count = |v6: bool| chosen.iter().filter(|addr| addr.is_ipv6() == v6).count();
        assert_eq!((chosen.len(), count(false), count(true)), (5, 3, 2), "{chosen:?}");
    }

    #[test]
    fn the_loopback_network_has_no_such_limit() {
        let candidates = (1..=50).map(|port| candidate(0, &format!("127.0.0.1:{port}"))).collect();
        assert_eq!(choose(candidates, &BTreeSet::new(), rules(8)).len(), 8);
    }

    #[test]
    fn neighbours_that_answer_stay_and_the_worst_are_replaced_by_the_best() {
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
    fn a_better_peer_replaces_a_worse_one_of_its_own_full_network() {
        let present: BTreeSet<_> = ["10.0.0.1:1", "10.0.0.1:2"].map(|addr| addr.parse().unwrap()).into();
        let candidates = vec![candidate(0, "10.0.0.1:1"), candidate(4, "10.0.0.1:2"), candidate(0, "10.0.0.1:3")];
        assert_eq!(names(&choose(candidates, &present, rules(8))), ["10.0.0.1:1", "10.0.0.1:3"]);
    }

    /// The number in a wide network.
    fn of_wide(chosen: &BTreeSet<SocketAddr>, ip: &str) -> usize {
        let wide = WideNetwork::of(ip.parse().unwrap());
        chosen.iter().filter(|addr| WideNetwork::of(addr.ip()) == wide).count()
    }

    #[test]
    fn among_equals_wide_networks_take_turns_except_our_own() {
        let mut candidates: Vec<_> = (1..=200).map(|n| candidate(1, &format!("192.0.2.{n}:9"))).collect();
        candidates.extend((1..=200).map(|n| candidate(1, &format!("[2001:db8:7:{n:x}::1]:9"))));
        candidates.extend((1..=4).map(|n| candidate(1, &format!("10.{n}.0.1:9"))));
        let chosen = choose(candidates.clone(), &BTreeSet::new(), rules(8));
        assert_eq!(
            (chosen.len(), of_wide(&chosen, "192.0.2.1"), of_wide(&chosen, "2001:db8:7::")),
            (8, 2, 2),
            "{chosen:?}"
        );
        // If there are only peers of one local network, all places are for these.
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
