//! What holds between events, whatever the network does. Debug builds look after every event, and so does the
//! simulator.

use super::dials::Purpose;
use super::{Node, Phase};

impl Node {
    /// Looks whether the tables agree with each other and keep to their bounds.
    ///
    /// # Panics
    ///
    /// When they do not: that is an error of this room, never of the network.
    pub fn check_invariants(&self) {
        self.workers.check_invariants();
        self.peers.check_invariants();
        self.answering.check_invariants();
        self.check_forwards();
        self.searches.check_invariants(&self.hits);
        self.open_searches.check_invariants();
        self.downloads.check_invariants();
        self.uploads.check_invariants();
        self.first_contacts.check_invariants();
        self.call_backs.check_invariants();
        self.turns.check_invariants();
        self.hashing.check_invariants();
        self.settling.check_invariants();
        self.seeks.check_invariants();
        self.newcomers.check_invariants();
        for exchange in self.uploads.exchanges() {
            assert!(self.workers.is_active(exchange), "{exchange:?} sends with a worker");
        }
        if matches!(self.phase, Phase::Running) {
            self.check_membership();
            self.check_fetches();
        }
    }

    /// Every exchange with a source has its dial, and works or waits for a worker.
    fn check_fetches(&self) {
        for (exchange, id) in self.downloads.fetches() {
            let dial = self.dials.get(&exchange);
            assert!(dial.is_some_and(|dial| dial.purpose == Purpose::Fetch(id)), "{id:?} fetches by its own exchange");
            let working = self.workers.is_active(exchange) || self.workers.is_queued(exchange);
            assert!(working, "{id:?} fetches with a worker, or waits for one");
        }
    }
}
