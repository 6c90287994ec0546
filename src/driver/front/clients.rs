//! The connected control clients, each in a slot.

use super::client::ControlClient;
use crate::driver::tokens::{CLIENTS, SCRAPES};
use crate::id::ClientId;
use crate::time::Instant;
use mio::Token;
use mio::net::UnixStream;
use std::collections::VecDeque;
use std::io;

pub(super) const CONTROL_CLIENTS_MAX: usize = 32;

const _: () = assert!(CLIENTS.0 + CONTROL_CLIENTS_MAX <= SCRAPES.0);

#[derive(Default)]
struct Slot {
    client: Option<ControlClient>,
    is_ready: bool,
}

#[derive(Default)]
pub(super) struct Clients {
    slots: [Slot; CONTROL_CLIENTS_MAX],
    ready: VecDeque<usize>,
    accepted: u64,
}

impl Clients {
    pub(super) fn is_full(&self) -> bool {
        self.slots.iter().all(|slot| slot.client.is_some())
    }

    pub(super) fn are_flushed(&self) -> bool {
        self.all().all(|(_, client)| client.is_flushed())
    }

    /// At least the number of clients that are ready: closed ones count too.
    pub(super) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.all().filter_map(|(_, client)| client.deadline()).min()
    }

    pub(super) fn overdue(&self, now: Instant) -> Option<usize> {
        self.all().find(|(_, client)| client.deadline().is_some_and(|at| at <= now)).map(|(slot, _)| slot)
    }

    /// The longest idle client that may be closed for another.
    pub(super) fn idlest(&self, now: Instant) -> Option<usize> {
        let idle = self.all().filter_map(|(slot, client)| Some((client.idle_since(now)?, client.id, slot)));
        idle.min().map(|(_, _, slot)| slot)
    }

    pub(super) fn slot_of(&self, id: ClientId) -> Option<usize> {
        self.all().find(|(_, client)| client.id == id).map(|(slot, _)| slot)
    }

    pub(super) fn admit(&mut self, stream: UnixStream, registry: &mio::Registry, now: Instant) -> io::Result<()> {
        let Some(slot) = self.slots.iter().position(|slot| slot.client.is_none()) else { return Ok(()) };
        self.accepted += 1;
        let (id, token) = (ClientId(self.accepted), Token(CLIENTS.0 + slot));
        self.slots[slot].client = Some(ControlClient::register(id, stream, registry, token, now)?);
        self.make_ready(slot);
        Ok(())
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut ControlClient> {
        self.slots.get_mut(slot)?.client.as_mut()
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<ControlClient> {
        self.slots.get_mut(slot)?.client.take()
    }

    pub(super) fn make_ready(&mut self, slot: usize) {
        if let Some(found) = self.slots.get_mut(slot)
            && !std::mem::replace(&mut found.is_ready, true)
        {
            self.ready.push_back(slot);
        }
    }

    pub(super) fn pop_ready(&mut self) -> Option<usize> {
        let slot = self.ready.pop_front()?;
        self.slots[slot].is_ready = false;
        Some(slot)
    }

    fn all(&self) -> impl Iterator<Item = (usize, &ControlClient)> {
        self.slots.iter().enumerate().filter_map(|(slot, found)| Some((slot, found.client.as_ref()?)))
    }
}
