//! The order in which work for many senders is done: by network first, then by address.
//!
//! Owns who waits with which tickets and who has how much in progress; the work itself is kept by the caller, found by its
//! ticket. The network that has the least in progress is next, and of its senders the one that has the least; among equals
//! the one that was served longest ago, then the one that has waited longest. Within one sender the order is that of arrival.
//! So who asks for a thousand things at once waits for itself, and so does a network of a thousand addresses.

use crate::network::Network;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// Whom a piece of work is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Sender {
    address: IpAddr,
    origin: Origin,
}

/// Whose request it is that a sender sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Origin {
    /// Its own.
    Own,
    /// Somebody else's, which it passed on, or says that it did.
    PassedOn,
}

impl Sender {
    /// Who sent a request of its own.
    pub(super) fn own(from: SocketAddr) -> Self {
        Self { address: from.ip().to_canonical(), origin: Origin::Own }
    }

    /// Who sent a search. It is the sender's own if the hits go to the address that it came from.
    pub(super) fn of_search(from: SocketAddr, requester: SocketAddr) -> Self {
        let sender = Self::own(from);
        if sender.address == requester.ip().to_canonical() {
            sender
        } else {
            Self { origin: Origin::PassedOn, ..sender }
        }
    }

    pub(super) fn network(self) -> Network {
        Network::of(self.address)
    }

    pub(super) fn origin(self) -> Origin {
        self.origin
    }
}

/// The work of one network, or of one sender.
#[derive(Debug, Default, PartialEq, Eq)]
struct Load {
    active: usize,
    /// When it was served last, counted in pieces of work.
    served: u64,
    waiting: BTreeSet<u64>,
}

/// Among those that wait: by what they have in progress, then by when they were served last, then by their oldest ticket.
type Turn<K> = (usize, u64, u64, K);

impl Load {
    fn turn<K>(&self, key: K) -> Option<Turn<K>> {
        self.waiting.first().map(|ticket| (self.active, self.served, *ticket, key))
    }

    fn is_idle(&self) -> bool {
        self.active == 0 && self.waiting.is_empty()
    }
}

/// The loads of all networks, or of all senders of one, and whose turn it is.
#[derive(Debug)]
struct Loads<K> {
    rows: BTreeMap<K, Load>,
    turns: BTreeSet<Turn<K>>,
}

impl<K> Default for Loads<K> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), turns: BTreeSet::new() }
    }
}

impl<K: Copy + Ord> Loads<K> {
    fn change(&mut self, key: K, change: impl FnOnce(&mut Load)) {
        let load = self.rows.entry(key).or_default();
        if let Some(turn) = load.turn(key) {
            self.turns.remove(&turn);
        }
        change(load);
        self.turns.extend(load.turn(key));
        if load.is_idle() {
            self.rows.remove(&key);
        }
    }

    /// Who has the most waiting, how much, and its newest ticket.
    fn worst(&self) -> Option<(usize, K, u64)> {
        let load = |(key, load): (&K, &Load)| Some((load.waiting.len(), *key, *load.waiting.last()?));
        self.rows.iter().filter_map(load).max_by_key(|(waiting, ..)| *waiting)
    }

    fn waiting_of(&self, key: K) -> usize {
        self.rows.get(&key).map_or(0, |load| load.waiting.len())
    }
}

/// Whether there is a place for one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Free,
    /// If the work with this ticket is not done.
    InPlaceOf(u64),
    None,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct FairQueue {
    networks: Loads<Network>,
    senders: BTreeMap<Network, Loads<Sender>>,
    waiting: usize,
    active: usize,
    served: u64,
}

impl FairQueue {
    /// How much waits.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How much is in progress.
    pub(super) fn active(&self) -> usize {
        self.active
    }

    /// How much of one network is in progress.
    pub(super) fn active_of(&self, network: Network) -> usize {
        self.networks.rows.get(&network).map_or(0, |load| load.active)
    }

    fn change(&mut self, sender: Sender, change: impl Fn(&mut Load)) {
        let network = sender.network();
        self.networks.change(network, &change);
        let senders = self.senders.entry(network).or_default();
        senders.change(sender, &change);
        if senders.rows.is_empty() {
            self.senders.remove(&network);
        }
    }

    /// Work waits. Tickets are given in the order of arrival, each once.
    pub(super) fn push(&mut self, sender: Sender, ticket: u64) {
        self.waiting += 1;
        self.change(sender, |load| {
            load.waiting.insert(ticket);
        });
    }

    /// Work does not wait any more, because it begins, or because it is not done at all.
    pub(super) fn remove(&mut self, sender: Sender, ticket: u64) {
        self.waiting -= 1;
        self.change(sender, |load| {
            load.waiting.remove(&ticket);
        });
    }

    /// Work begins.
    pub(super) fn start(&mut self, sender: Sender) {
        self.active += 1;
        self.served += 1;
        let served = self.served;
        self.change(sender, |load| (load.active, load.served) = (load.active + 1, served));
    }

    /// Work that began is over.
    pub(super) fn end(&mut self, sender: Sender) {
        self.active -= 1;
        self.change(sender, |load| load.active -= 1);
    }

    /// Work is done at once, or a slice of it.
    pub(super) fn serve(&mut self, sender: Sender) {
        self.start(sender);
        self.end(sender);
    }

    /// The ticket whose turn it is; `None` if each network that waits has `active_max` in progress.
    pub(super) fn next(&self, active_max: usize) -> Option<u64> {
        let (active, _, _, network) = self.networks.turns.first()?;
        let (_, _, ticket, _) = self.senders.get(network)?.turns.first()?;
        (*active < active_max).then_some(*ticket)
    }

    /// The networks that wait, each with its oldest ticket, in the order of their turns.
    pub(super) fn waiting_networks(&self) -> impl Iterator<Item = (Network, u64)> {
        self.networks.turns.iter().map(|(_, _, ticket, network)| (*network, *ticket))
    }

    /// Whether one more of this sender may wait, where `waiting_max` may in all and `of_network_max` of one network.
    pub(super) fn room_for(&self, sender: Sender, waiting_max: usize, of_network_max: usize) -> Room {
        let gives_way = if self.networks.waiting_of(sender.network()) >= of_network_max {
            self.gives_way_within(sender)
        } else if self.waiting >= waiting_max {
            self.gives_way_to(sender)
        } else {
            return Room::Free;
        };
        gives_way.map_or(Room::None, Room::InPlaceOf)
    }

    /// When all places are taken: the ticket that gives its place to a newcomer of this sender. It is the newest of the
    /// network that has the most, and there of the sender that has the most; `None` if that is the newcomer.
    fn gives_way_to(&self, sender: Sender) -> Option<u64> {
        let (most, network, _) = self.networks.worst()?;
        let ours = self.networks.waiting_of(sender.network());
        if network == sender.network() || ours >= most {
            return self.gives_way_within(sender);
        }
        let (_, _, ticket) = self.senders.get(&network)?.worst()?;
        Some(ticket)
    }

    /// The same when the places of the sender's network are taken.
    fn gives_way_within(&self, sender: Sender) -> Option<u64> {
        let senders = self.senders.get(&sender.network())?;
        let (most, _, ticket) = senders.worst()?;
        (senders.waiting_of(sender) < most).then_some(ticket)
    }

    /// That this work waits, and this is in progress, and nothing else.
    pub(super) fn check_invariants(&self, waiting: &BTreeSet<(Sender, u64)>, active: impl Iterator<Item = Sender>) {
        let mut senders: BTreeMap<Sender, (usize, BTreeSet<u64>)> = BTreeMap::new();
        for (sender, ticket) in waiting {
            senders.entry(*sender).or_default().1.insert(*ticket);
        }
        active.for_each(|sender| senders.entry(sender).or_default().0 += 1);
        let rows = || self.senders.values().flat_map(|loads| &loads.rows);
        let known = rows().map(|(sender, load)| (*sender, (load.active, load.waiting.clone()))).collect();
        assert_eq!(senders, known, "what waits and what is in progress is counted by sender");
        let mut networks: BTreeMap<_, (usize, usize)> = BTreeMap::new();
        for (sender, load) in rows() {
            let (active, waiting) = networks.entry(sender.network()).or_default();
            (*active, *waiting) = (*active + load.active, *waiting + load.waiting.len());
        }
        let loads = self.networks.rows.iter();
        let known = loads.map(|(network, load)| (*network, (load.active, load.waiting.len()))).collect();
        assert_eq!(networks, known, "a network has what its senders have");
        assert_eq!(self.waiting, waiting.len());
        assert_eq!(self.active, rows().map(|(_, load)| load.active).sum::<usize>());
        let turns: BTreeSet<_> = self.networks.rows.iter().filter_map(|(key, load)| load.turn(*key)).collect();
        assert_eq!(self.networks.turns, turns, "every network that waits has its turn");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(address: &str) -> Sender {
        Sender::own(SocketAddr::new(address.parse().unwrap(), 5_000))
    }

    /// A queue in which these wait, one ticket each.
    fn queue(senders: &[&str]) -> FairQueue {
        let mut queue = FairQueue::default();
        (1..).zip(senders).for_each(|(ticket, address)| queue.push(sender(address), ticket));
        queue
    }

    /// Serves all that wait, each to its end before the next if `at_once` is 1; the senders in order.
    fn serve(queue: &mut FairQueue, senders: &[&str], at_once: usize) -> Vec<String> {
        let (mut order, mut active) = (Vec::new(), std::collections::VecDeque::new());
        while let Some(ticket) = queue.next(usize::MAX) {
            let address = senders[usize::try_from(ticket).unwrap() - 1];
            queue.remove(sender(address), ticket);
            queue.start(sender(address));
            order.push(address.to_owned());
            active.push_back(sender(address));
            if active.len() == at_once {
                queue.end(active.pop_front().unwrap());
            }
        }
        order
    }

    #[test]
    fn networks_take_turns_and_then_the_addresses_of_each() {
        let senders = ["2001:db8::1", "2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.1"];
        for at_once in [1, 2] {
            let order = serve(&mut queue(&senders), &senders, at_once);
            let expected = ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.1", "2001:db8::3", "2001:db8::1"];
            assert_eq!(order, expected, "{at_once} at once");
        }
    }

    #[test]
    fn a_network_that_has_its_share_in_progress_waits() {
        let senders = ["192.0.2.1", "192.0.2.1", "192.0.2.2"];
        let mut queue = queue(&senders);
        for ticket in [1, 3] {
            assert_eq!(queue.next(1), Some(ticket));
            queue.remove(sender(senders[ticket as usize - 1]), ticket);
            queue.start(sender(senders[ticket as usize - 1]));
        }
        assert_eq!((queue.next(1), queue.next(2)), (None, Some(2)));
        queue.end(sender("192.0.2.1"));
        assert_eq!(queue.next(1), Some(2));
    }

    #[test]
    fn the_newest_of_who_has_most_gives_way_and_the_newcomer_only_if_that_is_itself() {
        let queue = queue(&["2001:db8::1", "2001:db8::2", "2001:db8::2", "192.0.2.1", "192.0.2.1"]);
        let room = |address: &str, of_network_max| queue.room_for(sender(address), 5, of_network_max);
        assert_eq!(room("192.0.2.9", 4), Room::InPlaceOf(3));
        assert_eq!(room("192.0.2.1", 4), Room::InPlaceOf(3));
        assert_eq!(room("192.0.2.1", 2), Room::None);
        assert_eq!(room("2001:db8::9", 4), Room::InPlaceOf(3), "within its network");
        assert_eq!(room("2001:db8::9", 3), Room::InPlaceOf(3));
        assert_eq!(room("2001:db8::2", 4), Room::None);
        assert_eq!(queue.room_for(sender("2001:db8::2"), 6, 4), Room::Free);
    }

    #[test]
    fn searches_that_a_sender_passes_on_are_told_from_its_own() {
        let from = "192.0.2.1:40000".parse().unwrap();
        let origin = |requester: &str| Sender::of_search(from, requester.parse().unwrap()).origin();
        assert_eq!((origin("192.0.2.1:63339"), origin("192.0.2.2:63339")), (Origin::Own, Origin::PassedOn));
        assert_eq!(origin("[::ffff:192.0.2.1]:63339"), Origin::Own);
    }
}
