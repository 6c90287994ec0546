//! Files without a hash that peers requested: they are hashed before all others, taking the requesting networks in turn.

use crate::name::FileName;
use crate::node::fair_queue::Sender;
use crate::node::fair_rows::FairRows;
use crate::node::limits::HASH_ASKED_FILES_MAX;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

#[derive(Debug, Default)]
pub(super) struct HashRequests {
    /// The files, by their first requesters.
    rows: FairRows<FileName>,
    names: BTreeSet<FileName>,
    /// Files displaced by others, or refused, since the start.
    pub(super) displaced: u64,
}

impl HashRequests {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// A peer requested a file. If there is no room, the newest of the network that has most gives way.
    pub(super) fn add(&mut self, from: SocketAddr, name: FileName) {
        if self.names.contains(&name) {
            return;
        }
        self.names.insert(name.clone());
        let (max, of_network_max) = (HASH_ASKED_FILES_MAX, HASH_ASKED_FILES_MAX);
        if let Some(dropped) = self.rows.push(Sender::own(from), name, max, of_network_max) {
            self.displaced += 1;
            self.names.remove(&dropped);
        }
    }

    pub(super) fn add_own(&mut self, name: FileName) {
        self.add(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), name);
    }

    pub(super) fn next(&self) -> Option<&FileName> {
        self.rows.peek()
    }

    /// Removes and returns the next file.
    pub(super) fn pop(&mut self) -> Option<FileName> {
        let (_, name) = self.rows.pop()?;
        self.names.remove(&name);
        Some(name)
    }

    /// Forgets files.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&[u8]) -> bool) {
        while let Some(ticket) = self.rows.find(|name| is_gone(name.as_bytes())) {
            if let Some((_, name)) = self.rows.remove(ticket) {
                self.names.remove(&name);
            }
        }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.rows.len() <= HASH_ASKED_FILES_MAX, "the files asked for are bounded");
        assert_eq!(self.rows.len(), self.names.len(), "each file is asked for once");
        self.rows.check_invariants();
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
    fn a_network_that_requests_many_files_does_not_delay_another() {
        let mut asked = HashRequests::default();
        (0..1_000).for_each(|n| asked.add(peer(&format!("2001:db8::{n}")), name(n)));
        assert_eq!(asked.len(), HASH_ASKED_FILES_MAX);
        asked.add(peer("192.0.2.1"), name(5_000));
        assert_eq!(asked.len(), HASH_ASKED_FILES_MAX, "it takes a place of theirs");
        assert_eq!(asked.displaced, 1_001 - HASH_ASKED_FILES_MAX as u64);
        asked.check_invariants();
        let order: Vec<_> = std::iter::from_fn(|| asked.pop()).collect();
        assert!(order[..2].contains(&name(5_000)), "{:?}", &order[..2]);
        assert_eq!(order.len(), HASH_ASKED_FILES_MAX);
        assert!(asked.is_empty());
    }

    #[test]
    fn a_file_is_listed_once() {
        let mut asked = HashRequests::default();
        asked.add(peer("192.0.2.1"), name(1));
        asked.add(peer("192.0.2.2"), name(1));
        asked.add_own(name(2));
        assert_eq!(asked.len(), 2);
    }
}
