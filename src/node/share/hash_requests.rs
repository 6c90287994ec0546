//! Files without a hash that peers have asked for: they are hashed before all others, the networks that asked in turns.

use crate::name::FileName;
use crate::node::fair_queue::{FairQueue, Room, Sender};
use crate::node::limits::HASH_ASKED_FILES_MAX;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

/// The files.
#[derive(Debug, Default)]
pub(super) struct HashRequests {
    /// Who asked first for which, by ticket.
    rows: BTreeMap<u64, (Sender, FileName)>,
    names: BTreeSet<FileName>,
    tickets_given: u64,
    queue: FairQueue,
    /// Files that gave way, or had no room.
    displaced: u64,
}

impl HashRequests {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many files gave way to others, or had no room, since the start.
    pub(super) fn displaced(&self) -> u64 {
        self.displaced
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// A peer has asked for a file. Where there is no room, the newest of the network that has most gives way.
    pub(super) fn add(&mut self, from: SocketAddr, name: FileName) {
        if self.names.contains(&name) {
            return;
        }
        let sender = Sender::own(from);
        match self.queue.room_for(sender, HASH_ASKED_FILES_MAX, HASH_ASKED_FILES_MAX) {
            Room::Free => {}
            Room::InPlaceOf(ticket) => {
                self.displaced += 1;
                self.remove(ticket);
            }
            Room::None => {
                self.displaced += 1;
                return;
            }
        }
        self.tickets_given += 1;
        self.queue.push(sender, self.tickets_given);
        self.names.insert(name.clone());
        self.rows.insert(self.tickets_given, (sender, name));
    }

    /// We want a file to be hashed ourselves.
    pub(super) fn add_own(&mut self, name: FileName) {
        self.add(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), name);
    }

    /// The file whose turn it is.
    pub(super) fn next(&self) -> Option<&FileName> {
        self.rows.get(&self.queue.next(usize::MAX)?).map(|(_, name)| name)
    }

    /// Takes it out.
    pub(super) fn pop(&mut self) -> Option<FileName> {
        let (sender, name) = self.remove(self.queue.next(usize::MAX)?)?;
        self.queue.serve(sender);
        Some(name)
    }

    fn remove(&mut self, ticket: u64) -> Option<(Sender, FileName)> {
        let (sender, name) = self.rows.remove(&ticket)?;
        self.queue.remove(sender, ticket);
        self.names.remove(&name);
        Some((sender, name))
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.rows.len() <= HASH_ASKED_FILES_MAX, "the files asked for are bounded");
        assert_eq!(self.rows.len(), self.names.len(), "each file is asked for once");
        let waiting = self.rows.iter().map(|(ticket, (sender, _))| (*sender, *ticket)).collect();
        self.queue.check_invariants(&waiting, std::iter::empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 40_000)
    }

    fn name(n: usize) -> FileName {
        FileName::from_bytes(format!("file {n}").as_bytes()).unwrap()
    }

    #[test]
    fn a_network_that_asks_for_many_files_does_not_hold_up_another() {
        let mut asked = HashRequests::default();
        (0..1_000).for_each(|n| asked.add(peer(&format!("2001:db8::{n}")), name(n)));
        assert_eq!(asked.len(), HASH_ASKED_FILES_MAX);
        asked.add(peer("192.0.2.1"), name(5_000));
        assert_eq!(asked.len(), HASH_ASKED_FILES_MAX, "it takes a place of theirs");
        assert_eq!(asked.displaced(), 1_001 - HASH_ASKED_FILES_MAX as u64);
        asked.check_invariants();
        let order: Vec<_> = std::iter::from_fn(|| asked.pop()).collect();
        assert!(order[..2].contains(&name(5_000)), "{:?}", &order[..2]);
        assert_eq!(order.len(), HASH_ASKED_FILES_MAX);
        assert!(asked.is_empty());
    }

    #[test]
    fn a_file_is_asked_for_once() {
        let mut asked = HashRequests::default();
        asked.add(peer("192.0.2.1"), name(1));
        asked.add(peer("192.0.2.2"), name(1));
        asked.add_own(name(2));
        assert_eq!(asked.len(), 2);
    }
}
