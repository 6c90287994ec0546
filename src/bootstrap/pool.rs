//! Registrations by network, and drawing from them: first the wide network, then the network, then the registration, so that
//! many ports, or many addresses of one wide network, do not raise the chance to be drawn.

use super::sample::Shuffle;
use crate::network::{Network, WideNetwork};
use indexmap::{IndexMap, IndexSet};
use rand_chacha::rand_core::Rng;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// The networks of one wide network, each with its registrations; none is empty. The order is a function of all insertions and
/// removals.
type Networks = IndexMap<Network, IndexSet<SocketAddr>>;

/// Registrations by wide network and network.
#[derive(Debug, Default)]
pub(super) struct Pool(IndexMap<WideNetwork, Networks>);

impl Pool {
    pub(super) fn insert(&mut self, peer: SocketAddr) {
        let networks = self.0.entry(WideNetwork::of(peer.ip())).or_default();
        networks.entry(Network::of(peer.ip())).or_default().insert(peer);
    }

    pub(super) fn remove(&mut self, peer: SocketAddr) {
        let (wide, network) = (WideNetwork::of(peer.ip()), Network::of(peer.ip()));
        let Some(networks) = self.0.get_mut(&wide) else { return };
        let Some(peers) = networks.get_mut(&network) else { return };
        peers.swap_remove(&peer);
        if peers.is_empty() {
            networks.swap_remove(&network);
        }
        if networks.is_empty() {
            self.0.swap_remove(&wide);
        }
    }

    pub(super) fn of_network(&self, network: Network) -> impl Iterator<Item = SocketAddr> {
        let networks = self.0.get(&network.wide());
        networks.and_then(|networks| networks.get(&network)).into_iter().flatten().copied()
    }
}

/// How many rows are drawn, for which requester, and the shares of one network and one unit. A *unit* is a wide network, or a
/// network of the requester's own wide network. So the peers of a local network, a university or a hosting provider are
/// listed to each other as if there were no wide networks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) rows: usize,
    pub(super) home: WideNetwork,
    pub(super) of_network: usize,
    pub(super) of_unit: usize,
}

/// Draws from the pools, the first before the second; each network at most its share. Each unit gets at most its share, then
/// the remaining rows go to units that have more. O(rows log rows).
pub(super) fn draw(pools: [&Pool; 2], random: &mut impl Rng, wanted: Wanted) -> Vec<SocketAddr> {
    let mut turns = pools.map(|pool| Turns::new(pool, wanted.home));
    let mut drawn = Drawn::default();
    for of_unit in [wanted.of_unit, usize::MAX] {
        for turns in &mut turns {
            turns.draw(random, Wanted { of_unit, ..wanted }, &mut drawn);
        }
    }
    drawn.rows
}

/// The rows drawn so far, of both pools.
#[derive(Debug, Default)]
struct Drawn {
    rows: Vec<SocketAddr>,
    of_network: RowsOfNetworks,
    of_unit: BTreeMap<UnitKey, usize>,
}

type RowsOfNetworks = BTreeMap<Network, usize>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum UnitKey {
    Wide(WideNetwork),
    AtHome(Network),
}

/// The units of one pool, which take turns: none gets another row before all have got one.
struct Turns<'a> {
    pool: &'a Pool,
    /// The index of the requester's own wide network, if it is in the pool, and its networks.
    home: Option<(usize, &'a Networks)>,
    order: Shuffle,
    begun: VecDeque<(UnitKey, Unit<'a>)>,
}

impl<'a> Turns<'a> {
    fn new(pool: &'a Pool, home: WideNetwork) -> Self {
        let home = pool.0.get_full(&home).map(|(at, _, networks)| (at, networks));
        let at_home = home.map_or(0, |(_, networks)| networks.len());
        let order = Shuffle::new(pool.0.len() - usize::from(home.is_some()) + at_home);
        Self { pool, home, order, begun: VecDeque::new() }
    }

    /// Draws until there are enough rows, or no unit may get more.
    fn draw(&mut self, random: &mut impl Rng, wanted: Wanted, drawn: &mut Drawn) {
        let mut have_their_share = VecDeque::new();
        while drawn.rows.len() < wanted.rows {
            let fresh = self.order.draw(random).and_then(|place| self.unit(place));
            let Some((key, mut unit)) = fresh.or_else(|| self.begun.pop_front()) else { break };
            let of_unit = drawn.of_unit.entry(key).or_default();
            if *of_unit >= wanted.of_unit {
                have_their_share.push_back((key, unit));
            } else if let Some(peer) = unit.draw(random, wanted.of_network, &mut drawn.of_network) {
                *of_unit += 1;
                drawn.rows.push(peer);
                self.begun.push_back((key, unit));
            }
        }
        self.begun.extend(have_their_share);
    }

    /// The unit of a drawn index: first the wide networks except the requester's own, whose index the last one gets, then the
    /// networks of the requester's own.
    fn unit(&self, place: usize) -> Option<(UnitKey, Unit<'a>)> {
        let others = self.pool.0.len() - usize::from(self.home.is_some());
        if let Some((_, networks)) = self.home.filter(|_| place >= others) {
            let (network, peers) = networks.get_index(place - others)?;
            return Some((UnitKey::AtHome(*network), Unit::One(OneNetwork::new(*network, peers))));
        }
        let at = if self.home.is_some_and(|(home, _)| home == place) { others } else { place };
        let (wide, networks) = self.pool.0.get_index(at)?;
        let order = Shuffle::new(networks.len());
        Some((UnitKey::Wide(*wide), Unit::Wide { networks, order, begun: VecDeque::new() }))
    }
}

enum Unit<'a> {
    /// Its networks take turns.
    Wide {
        networks: &'a Networks,
        order: Shuffle,
        begun: VecDeque<OneNetwork<'a>>,
    },
    One(OneNetwork<'a>),
}

impl Unit<'_> {
    fn draw(&mut self, random: &mut impl Rng, share: usize, rows: &mut RowsOfNetworks) -> Option<SocketAddr> {
        let (networks, order, begun) = match self {
            Self::One(network) => return network.draw(random, share, rows),
            Self::Wide { networks, order, begun } => (networks, order, begun),
        };
        loop {
            let fresh = order.draw(random).and_then(|place| networks.get_index(place));
            let fresh = fresh.map(|(network, peers)| OneNetwork::new(*network, peers));
            let mut network = fresh.or_else(|| begun.pop_front())?;
            if let Some(peer) = network.draw(random, share, rows) {
                begun.push_back(network);
                return Some(peer);
            }
        }
    }
}

struct OneNetwork<'a> {
    network: Network,
    peers: &'a IndexSet<SocketAddr>,
    order: Shuffle,
}

impl<'a> OneNetwork<'a> {
    fn new(network: Network, peers: &'a IndexSet<SocketAddr>) -> Self {
        Self { network, peers, order: Shuffle::new(peers.len()) }
    }

    fn draw(&mut self, random: &mut impl Rng, share: usize, rows: &mut RowsOfNetworks) -> Option<SocketAddr> {
        let drawn = rows.entry(self.network).or_default();
        if *drawn >= share {
            return None;
        }
        let peer = self.peers.get_index(self.order.draw(random)?).copied()?;
        *drawn += 1;
        Some(peer)
    }
}
