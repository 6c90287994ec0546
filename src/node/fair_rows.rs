//! Waiting work of many senders, in the order of a [`FairQueue`].

use super::fair_queue::{FairQueue, Room, Sender};
use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct FairRows<T> {
    /// By ticket.
    rows: BTreeMap<u64, (Sender, T)>,
    tickets_given: u64,
    queue: FairQueue,
}

impl<T> Default for FairRows<T> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), tickets_given: 0, queue: FairQueue::default() }
    }
}

impl<T> FairRows<T> {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a row. Returns the one that was dropped for it, which may be itself.
    pub(super) fn push(&mut self, sender: Sender, row: T, rows_max: usize, of_network_max: usize) -> Option<T> {
        let dropped = match self.queue.room_for(sender, rows_max, of_network_max) {
            Room::Free => None,
            Room::InPlaceOf(other) => self.remove(other),
            Room::None => return Some(row),
        };
        self.tickets_given += 1;
        self.queue.push(sender, self.tickets_given);
        self.rows.insert(self.tickets_given, (sender, row));
        dropped.map(|(_, row)| row)
    }

    pub(super) fn remove(&mut self, ticket: u64) -> Option<(Sender, T)> {
        let (sender, row) = self.rows.remove(&ticket)?;
        self.queue.remove(sender, ticket);
        Some((sender, row))
    }

    /// The ticket of the first row that fits.
    pub(super) fn find(&self, fits: impl Fn(&T) -> bool) -> Option<u64> {
        self.rows.iter().find(|(_, (_, row))| fits(row)).map(|(ticket, _)| *ticket)
    }

    pub(super) fn peek(&self) -> Option<&T> {
        self.rows.get(&self.queue.next(usize::MAX)?).map(|(_, row)| row)
    }

    /// The next row with its ticket. It stays, but its sender counts as served.
    pub(super) fn serve(&mut self) -> Option<(u64, &mut T)> {
        let ticket = self.queue.next(usize::MAX)?;
        let (sender, row) = self.rows.get_mut(&ticket)?;
        self.queue.serve(*sender);
        Some((ticket, row))
    }

    /// Removes the next row.
    pub(super) fn pop(&mut self) -> Option<(Sender, T)> {
        let (sender, row) = self.remove(self.queue.next(usize::MAX)?)?;
        self.queue.serve(sender);
        Some((sender, row))
    }

    pub(super) fn check_invariants(&self) {
        let waiting = self.rows.iter().map(|(ticket, (sender, _))| (*sender, *ticket)).collect();
        self.queue.check_invariants(&waiting, std::iter::empty());
    }
}
