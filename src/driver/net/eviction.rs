//! Which inbound connection is closed for another when there are no descriptors, or too many streams of one network.
//!
//! The network that holds most descriptors gives way first, and of its connections the least active one. All connections
//! are kept in that order, so that a flood of new ones costs no search.

use crate::driver::shared_files::OpenedId;
use crate::network::Network;
use crate::time::Instant;
use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Idle inbound streams of one network; beyond, the one that has been idle longest is closed.
pub(crate) const IDLE_STREAMS_PER_NETWORK_MAX: usize = 8;

/// How long a new connection has to send its message before it counts as idle.
const FRESH_MAX: Duration = Duration::from_secs(3);

/// What an inbound connection does, in the order in which connections give way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Activity {
    /// A stream that has been idle since then: the peer can open another.
    IdleStream(Instant),
    /// Everything is sent; the other side's FIN is awaited until then.
    Ending(Instant),
    /// A whole message has been awaited since then.
    NoMessage(Instant),
    /// A request that has waited for its response since then, or for us to read it. The newest gives way first: the oldest is served next.
    Waiting(Reverse<Instant>),
    /// A response that last made progress then. One that stalls is ended by its own deadline.
    Sending(Instant),
}

impl Activity {
    fn is_idle(self, now: Instant) -> bool {
        match self {
            Self::IdleStream(_) | Self::Ending(_) => true,
            Self::NoMessage(since) => since + FRESH_MAX <= now,
            Self::Waiting(_) | Self::Sending(_) => false,
        }
    }

    fn is_sending(self) -> bool {
        matches!(self, Self::Sending(_))
    }

    /// Whether a network that holds `held` descriptors exceeds its share, if this connection is its first to give way. A
    /// single response needs two descriptors: socket and file.
    fn exceeds(self, share: usize, held: usize) -> bool {
        held > share.max(if self.is_sending() { 2 } else { 1 })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) activity: Activity,
    /// Beside its socket.
    pub(crate) file: Option<OpenedId>,
}

/// A network in the order of giving way: how many descriptors it holds, and the first of its connections to give way.
type Rank = (Reverse<usize>, Activity, Network);

#[derive(Debug, Default)]
struct Connections {
    in_order: BTreeSet<(Activity, usize)>,
    /// The files that they read, with the number of their readers here: these share one descriptor.
    files: BTreeMap<OpenedId, usize>,
}

/// All inbound connections in the order in which they give way.
#[derive(Debug, Default)]
pub(crate) struct Evictions {
    by_network: BTreeMap<Network, Connections>,
    /// Of all networks. A file that several of them read counts for each.
    descriptors: usize,
    ranking: BTreeSet<Rank>,
    /// Networks with two idle streams or more, by the number of these.
    idle_ranking: BTreeSet<Rank>,
    /// Networks that may have too many idle streams.
    crowded: BTreeSet<Network>,
}

impl Evictions {
    /// Applies a change of the connection with this key. `from` is `None` for a new one, `to` for one that ended.
    pub(crate) fn change(&mut self, network: Network, key: usize, from: Option<Hold>, to: Option<Hold>) {
        let connections = self.by_network.entry(network).or_default();
        let (rank, idle_rank) = (connections.rank(network), connections.idle_rank(network));
        let before = connections.descriptors();
        if let Some(from) = from {
            connections.remove(key, from);
        }
        if let Some(to) = to {
            connections.insert(key, to);
        }
        self.descriptors = self.descriptors - before + connections.descriptors();
        if connections.surplus_stream().is_some() {
            self.crowded.insert(network);
        }
        replace(&mut self.idle_ranking, idle_rank, connections.idle_rank(network));
        replace(&mut self.ranking, rank, connections.rank(network));
        if connections.in_order.is_empty() {
            self.by_network.remove(&network);
        }
    }

    /// The connection that gives way to a new one from this network (`None`: a network without connections), or to the file
    /// for the request on the connection `except`. `None` if the new one has to wait or is refused.
    ///
    /// A network gives way only to one that holds fewer descriptors, or to itself. The first to give way is the network that
    /// holds most of those with an idle connection, or with a waiting request beyond their share. If there are none, the
    /// network that holds most gives way, if it exceeds its share; but a response is not ended for another connection of its
    /// network.
    ///
    /// Before a connection that is not idle gives way, or the new one, the longest idle stream of the network with the most
    /// idle streams does, if it has two or more, whatever that network holds: many users behind one address hold more than
    /// each network that only keeps streams open.
    pub(crate) fn victim(&self, newcomer: Option<Network>, except: Option<usize>, now: Instant) -> Option<usize> {
        let own = newcomer.and_then(|network| self.by_network.get(&network));
        let held = own.map_or(0, Connections::descriptors);
        let share = self.descriptors / (self.by_network.len() + usize::from(own.is_none())).max(1);
        let own = own.and_then(|own| own.in_order.iter().find(|(_, key)| Some(*key) != except));
        let own = own.filter(|(own, _)| own.is_idle(now) || !own.is_sending() && own.exceeds(share, held + 1));
        let other = self.first_above(held, share, now);
        let first = match (own, other) {
            (Some(own), Some((count, other, _)))
                if other.is_sending() || (Reverse(held + 1), own.0) < (count, other) =>
            {
                Some(*own)
            }
            (_, Some((_, other, network))) => self.first_of(network).map(|key| (other, key)),
            (own, None) => own.copied(),
        };
        match first {
            Some((activity, key)) if activity.is_idle(now) => Some(key),
            _ => self.spare_stream().or(first.map(|(_, key)| key)),
        }
    }

    /// The longest idle stream of the network with the most idle streams, if it has two or more.
    fn spare_stream(&self) -> Option<usize> {
        let (.., network) = self.idle_ranking.first()?;
        self.first_of(*network)
    }

    /// The first network to give way of those that hold more than `held`.
    fn first_above(&self, held: usize, share: usize, now: Instant) -> Option<Rank> {
        let above = || self.ranking.iter().take_while(|(Reverse(count), ..)| *count > held).copied();
        let exceeds = |(Reverse(count), first, _): &Rank| first.exceeds(share, *count);
        let spared =
            above().find(|rank| rank.1.is_idle(now) || matches!(rank.1, Activity::Waiting(_)) && exceeds(rank));
        spared.or_else(|| above().next().filter(exceeds))
    }

    /// The connection that gives way to a new one of the same network, which has reached its limit.
    pub(crate) fn victim_of(&self, network: Network) -> Option<usize> {
        let (activity, key) = self.by_network.get(&network)?.in_order.first()?;
        if activity.is_sending() { None } else { Some(*key) }
    }

    /// The idle connection that gives way to one that we dial.
    pub(crate) fn idle_victim(&self, now: Instant) -> Option<usize> {
        let (.., network) = self.ranking.iter().find(|(_, activity, _)| activity.is_idle(now))?;
        self.first_of(*network)
    }

    /// The longest idle stream of a network that has too many.
    pub(crate) fn next_surplus_stream(&mut self) -> Option<usize> {
        while let Some(network) = self.crowded.first() {
            match self.by_network.get(network).and_then(Connections::surplus_stream) {
                Some(key) => return Some(key),
                None => drop(self.crowded.pop_first()),
            }
        }
        None
    }

    fn first_of(&self, network: Network) -> Option<usize> {
        self.by_network.get(&network)?.in_order.first().map(|(_, key)| *key)
    }
}

/// Gives a network another place. Most changes leave it where it is.
fn replace(ranking: &mut BTreeSet<Rank>, old: Option<Rank>, new: Option<Rank>) {
    if old != new {
        if let Some(old) = old {
            ranking.remove(&old);
        }
        ranking.extend(new);
    }
}

impl Connections {
    fn descriptors(&self) -> usize {
        self.in_order.len() + self.files.len()
    }

    fn insert(&mut self, key: usize, hold: Hold) {
        self.in_order.insert((hold.activity, key));
        if let Some(file) = hold.file {
            *self.files.entry(file).or_default() += 1;
        }
    }

    fn remove(&mut self, key: usize, hold: Hold) {
        self.in_order.remove(&(hold.activity, key));
        if let Some(file) = hold.file
            && let Entry::Occupied(mut readers) = self.files.entry(file)
        {
            *readers.get_mut() -= 1;
            if *readers.get() == 0 {
                readers.remove();
            }
        }
    }

    fn rank(&self, network: Network) -> Option<Rank> {
        self.in_order.first().map(|(activity, _)| (Reverse(self.descriptors()), *activity, network))
    }

    /// The position in `idle_ranking`, if there are two idle streams or more.
    fn idle_rank(&self, network: Network) -> Option<Rank> {
        let is_idle = |activity: &Activity| matches!(activity, Activity::IdleStream(_));
        let in_order = self.in_order.iter().take(IDLE_STREAMS_PER_NETWORK_MAX);
        let count = in_order.take_while(|(activity, _)| is_idle(activity)).count();
        let (first, _) = self.in_order.first().filter(|_| count > 1)?;
        Some((Reverse(count), *first, network))
    }

    /// The longest idle stream, if there are too many.
    fn surplus_stream(&self) -> Option<usize> {
        let (last, _) = self.in_order.iter().nth(IDLE_STREAMS_PER_NETWORK_MAX)?;
        let (_, first) = self.in_order.first()?;
        matches!(last, Activity::IdleStream(_)).then_some(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn network(n: u32) -> Network {
        Network::of(IpAddr::from((10 << 24 | n).to_be_bytes()))
    }

    const NOW: Instant = Instant::from_ms(10_000);

    fn at(ms: u64) -> Instant {
        Instant::from_ms(ms)
    }

    fn waiting(ms: u64) -> Activity {
        Activity::Waiting(Reverse(at(ms)))
    }

    fn hold(activity: Activity) -> Option<Hold> {
        Some(Hold { activity, file: None })
    }

    /// Connections of networks, with the number of each as its key.
    fn holding(connections: &[(u32, Activity)]) -> Evictions {
        let mut evictions = Evictions::default();
        for (key, (of, activity)) in connections.iter().enumerate() {
            evictions.change(network(*of), key, None, hold(*activity));
        }
        evictions
    }

    #[test]
    fn the_least_busy_connection_of_the_network_with_most_is_evicted() {
        use Activity::{Ending, IdleStream, NoMessage, Sending};
        let kinds = [
            Sending(at(1)),
            waiting(2),
            waiting(3),
            Ending(at(4)),
            NoMessage(at(5)),
            IdleStream(at(7)),
            IdleStream(at(6)),
        ];
        let mut held: Vec<_> = kinds.map(|activity| (1, activity)).into();
        held.extend([(2, IdleStream(at(0))), (3, NoMessage(at(0))), (3, NoMessage(at(1)))]);
        let mut evictions = holding(&held);
        let mut order = Vec::new();
        while let Some(key) = evictions.victim(None, None, NOW).filter(|key| *key < kinds.len()) {
            order.push(kinds[key]);
            evictions.change(network(1), key, hold(kinds[key]), None);
        }
        assert_eq!(order, [IdleStream(at(6)), IdleStream(at(7)), Ending(at(4)), NoMessage(at(5)), waiting(3)]);
    }

    #[test]
    fn a_newcomer_never_evicts_a_connection_of_a_network_with_fewer() {
        let idle = Activity::NoMessage;
        let evictions =
            holding(&[(1, idle(at(5))), (1, idle(at(6))), (1, idle(at(7))), (2, idle(at(0))), (2, idle(at(1)))]);
        assert_eq!(evictions.victim(None, None, NOW), Some(0));
        assert_eq!(evictions.victim(Some(network(1)), None, NOW), Some(0), "of its own");
        assert_eq!(
            evictions.victim(Some(network(2)), None, NOW),
            Some(3),
            "of those that will hold as many, the longest idle one"
        );
        assert_eq!(evictions.victim_of(network(2)), Some(3));
    }

    #[test]
    fn a_response_is_evicted_only_if_its_network_exceeds_its_share() {
        let (sending, idle) = (Activity::Sending(at(0)), Activity::NoMessage(at(9)));
        let evictions = holding(&[(1, sending), (1, sending), (1, sending), (2, idle), (3, sending)]);
        assert_eq!(evictions.victim(None, None, NOW), Some(3), "the share is one, but an idle one gives way first");
        assert_eq!(
            evictions.victim(Some(network(1)), None, NOW),
            None,
            "an upload is not broken off for another of its network"
        );
        assert_eq!(evictions.victim_of(network(1)), None);
        assert_eq!(evictions.idle_victim(NOW), Some(3));
        let evictions = holding(&[(1, sending), (1, sending), (1, sending), (3, sending)]);
        assert_eq!(evictions.victim(None, None, NOW), Some(0));
        assert_eq!(evictions.victim(Some(network(3)), None, NOW), Some(0));
        assert_eq!(evictions.victim(Some(network(1)), None, NOW), None);
        let evictions = holding(&[(1, sending), (2, waiting(1)), (3, waiting(2))]);
        assert_eq!(evictions.victim(None, None, NOW), None, "each has its share: the newcomer waits");
        assert_eq!(evictions.idle_victim(NOW), None, "and so does a connection that we dial");
    }

    #[test]
    fn new_connections_have_some_seconds_for_their_message() {
        let (sending, fresh) = (Activity::Sending(at(0)), Activity::NoMessage(at(7_001)));
        let evictions = holding(&[(1, sending), (1, sending), (1, sending), (1, sending), (2, fresh), (2, fresh)]);
        assert_eq!(evictions.victim(None, None, NOW), Some(0), "the network that holds most gives way");
        assert_eq!(evictions.idle_victim(NOW), None);
        assert_eq!(evictions.victim(None, None, at(10_001)), Some(4), "then they are idle");
        assert_eq!(evictions.idle_victim(at(10_001)), Some(4));
    }

    #[test]
    fn a_file_counts_and_never_displaces_the_connection_that_it_is_for() {
        let mut evictions = holding(&[(1, waiting(0)), (2, waiting(1)), (2, waiting(2))]);
        assert_eq!(evictions.victim(Some(network(1)), Some(0), NOW), Some(2), "the other network holds more");
        for (key, file) in [(0, Some(OpenedId(7))), (3, None)] {
            let sending = Hold { activity: Activity::Sending(at(3)), file };
            evictions.change(network(1), key, hold(waiting(0)).filter(|_| key == 0), Some(sending));
        }
        assert_eq!(evictions.victim(Some(network(2)), Some(2), NOW), Some(1), "of its own, one that waits");
        evictions.change(network(2), 1, hold(waiting(1)), None);
        assert_eq!(
            evictions.victim(Some(network(2)), Some(2), NOW),
            Some(0),
            "else that of the network that holds most"
        );
    }

    #[test]
    fn readers_of_one_file_share_its_descriptor() {
        let mut evictions = Evictions::default();
        let sending = |file| Some(Hold { activity: Activity::Sending(at(0)), file: Some(OpenedId(file)) });
        let readers = [(1, 0, 7), (1, 1, 7), (1, 2, 7), (2, 3, 7), (2, 4, 8), (2, 5, 9)];
        for (of, key, file) in readers {
            evictions.change(network(of), key, None, sending(file));
        }
        assert_eq!(evictions.victim(None, None, NOW), Some(3), "three sockets and three files, not one file");
        evictions.change(network(2), 4, sending(8), None);
        evictions.change(network(2), 5, sending(9), None);
        assert_eq!(evictions.victim(None, None, NOW), Some(0));
        for (key, left) in [(0, 3), (1, 2), (2, 0)] {
            evictions.change(network(1), key, sending(7), None);
            assert_eq!(evictions.by_network.get(&network(1)).map_or(0, Connections::descriptors), left);
        }
    }

    /// Many users behind one address, and many addresses that only keep streams open.
    #[test]
    fn second_idle_streams_are_evicted_before_requests() {
        let (idle, sending) = (|ms| Activity::IdleStream(at(ms)), Activity::Sending(at(0)));
        let users = [(1, waiting(1)), (1, waiting(2)), (1, sending), (1, sending), (1, sending)];
        let streams = [(2, idle(5)), (2, idle(4)), (3, idle(3)), (3, idle(7)), (3, idle(6)), (4, idle(0))];
        for (held, last) in [(&users[..], Some(7)), (&users[2..], None)] {
            let mut evictions = holding(&[&streams[..], held].concat());
            for expected in [2, 1, 4] {
                assert_eq!(evictions.victim(Some(network(1)), None, NOW), Some(expected), "{held:?}");
                evictions.change(network(streams[expected].0), expected, hold(streams[expected].1), None);
            }
            assert_eq!(evictions.victim(Some(network(1)), None, NOW), last, "each network keeps one: {held:?}");
        }
    }

    #[test]
    fn the_ninth_idle_stream_of_a_network_is_surplus() {
        let streams: Vec<_> = (0..8).map(|n| (1, Activity::IdleStream(at(100 - n)))).collect();
        let mut evictions = holding(&streams);
        evictions.change(network(1), 20, None, hold(Activity::NoMessage(at(0))));
        evictions.change(network(2), 21, None, hold(Activity::IdleStream(at(0))));
        assert_eq!(evictions.next_surplus_stream(), None);
        evictions.change(network(1), 22, None, hold(Activity::IdleStream(at(200))));
        assert_eq!(evictions.next_surplus_stream(), Some(7), "the longest idle one");
        evictions.change(network(1), 7, hold(Activity::IdleStream(at(93))), hold(Activity::Ending(at(300))));
        assert_eq!(evictions.next_surplus_stream(), None);
    }

    /// After any changes, the order equals one that is built from the present connections.
    #[test]
    fn the_order_holds_over_any_changes() {
        let mut state = 7_u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        let mut known: BTreeMap<usize, (u32, Hold)> = BTreeMap::new();
        let mut evictions = Evictions::default();
        for step in 0..20_000 {
            let key = random(64) as usize;
            let old = known.remove(&key);
            let of = old.map_or_else(|| random(6) as u32, |(of, _)| of);
            let since = at(step);
            let kinds = [
                Activity::IdleStream(since),
                Activity::NoMessage(since),
                Activity::Ending(since),
                waiting(step),
                Activity::Sending(since),
            ];
            let file = (random(2) > 0).then(|| OpenedId(random(4)));
            let hold = Hold { activity: kinds[random(5) as usize], file };
            let new = (random(4) > 0).then_some(hold);
            evictions.change(network(of), key, old.map(|(_, hold)| hold), new);
            known.extend(new.map(|hold| (key, (of, hold))));
            let mut networks: BTreeMap<u32, Connections> = BTreeMap::new();
            for (key, (of, hold)) in &known {
                let connections = networks.entry(*of).or_default();
                connections.insert(*key, *hold);
            }
            let ranks: BTreeSet<Rank> = networks.iter().filter_map(|(of, held)| held.rank(network(*of))).collect();
            assert_eq!(evictions.ranking, ranks);
            let of_idle = networks.iter().filter_map(|(of, held)| held.idle_rank(network(*of)));
            assert_eq!(evictions.idle_ranking, of_idle.collect());
            assert_eq!(evictions.descriptors, networks.values().map(Connections::descriptors).sum::<usize>());
            for (of, held) in &networks {
                assert_eq!(evictions.first_of(network(*of)), held.in_order.first().map(|(_, key)| *key));
            }
        }
    }
}
