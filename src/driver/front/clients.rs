//! The control clients that are connected, each in a place of its own.

use super::client::ControlClient;
use crate::driver::tokens::{CLIENTS, CONNECTIONS};
use crate::id::ClientId;
use crate::time::Instant;
use mio::Token;
use mio::net::UnixStream;
use std::collections::VecDeque;
use std::io;

pub(super) const CONTROL_CLIENTS_MAX: usize = 32;

const _: () = assert!(CLIENTS.0 + CONTROL_CLIENTS_MAX <= CONNECTIONS.0);

#[derive(Default)]
struct Place {
    client: Option<ControlClient>,
    is_ready: bool,
}

/// The clients, by place.
#[derive(Default)]
pub(super) struct Clients {
    places: [Place; CONTROL_CLIENTS_MAX],
    /// Those whose turn it is, in order.
    ready: VecDeque<usize>,
    accepted: u64,
}

impl Clients {
    pub(super) fn is_full(&self) -> bool {
        self.places.iter().all(|place| place.client.is_some())
    }

    /// Whether every client has read what was for it.
    pub(super) fn are_flushed(&self) -> bool {
        self.all().all(|(_, client)| client.is_flushed())
    }

    /// How many wait for their turn, at most.
    pub(super) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// When a client that sends no whole call is hung up on.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.all().filter_map(|(_, client)| client.deadline()).min()
    }

    /// A client whose time for a whole call is over.
    pub(super) fn overdue(&self, now: Instant) -> Option<usize> {
        self.all().find(|(_, client)| client.deadline().is_some_and(|at| at <= now)).map(|(place, _)| place)
    }

    /// The client that has been idle for longest, of those that may give way.
    pub(super) fn idlest(&self, now: Instant) -> Option<usize> {
        let idle = self.all().filter_map(|(place, client)| Some((client.idle_since(now)?, client.id(), place)));
        idle.min().map(|(_, _, place)| place)
    }

    pub(super) fn place_of(&self, id: ClientId) -> Option<usize> {
        self.all().find(|(_, client)| client.id() == id).map(|(place, _)| place)
    }

    /// Takes a client in where a place is free.
    pub(super) fn admit(&mut self, stream: UnixStream, registry: &mio::Registry, now: Instant) -> io::Result<()> {
        let Some(place) = self.places.iter().position(|place| place.client.is_none()) else { return Ok(()) };
        self.accepted += 1;
        let (id, token) = (ClientId(self.accepted), Token(CLIENTS.0 + place));
        self.places[place].client = Some(ControlClient::register(id, stream, registry, token, now)?);
        self.make_ready(place);
        Ok(())
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut ControlClient> {
        self.places.get_mut(place)?.client.as_mut()
    }

    pub(super) fn remove(&mut self, place: usize) -> Option<ControlClient> {
        self.places.get_mut(place)?.client.take()
    }

    pub(super) fn make_ready(&mut self, place: usize) {
        if let Some(found) = self.places.get_mut(place)
            && !std::mem::replace(&mut found.is_ready, true)
        {
            self.ready.push_back(place);
        }
    }

    pub(super) fn pop_ready(&mut self) -> Option<usize> {
        let place = self.ready.pop_front()?;
        self.places[place].is_ready = false;
        Some(place)
    }

    fn all(&self) -> impl Iterator<Item = (usize, &ControlClient)> {
        self.places.iter().enumerate().filter_map(|(place, found)| Some((place, found.client.as_ref()?)))
    }
}
