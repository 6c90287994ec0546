//! Subscriptions of control clients.

use crate::control::Notice;
use crate::id::{ClientId, SearchId, TransferId};
use crate::node::contract::Action;
use crate::node::cx::Cx;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A topic of notices. Clients of `events` get those of all topics but the event log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::node) enum Topic {
    /// Notices for clients of `events` only.
    Events,
    /// The events of the log. Clients of `events` do not get them: what they tell came by as another notice.
    EventLog,
    Uploads,
    Search(SearchId),
    Download(TransferId),
    Scan,
    NextScan,
}

#[derive(Default)]
pub(in crate::node) struct Subscriptions(BTreeMap<Topic, BTreeSet<ClientId>>);

impl Subscriptions {
    pub(in crate::node) fn subscribe(&mut self, topic: Topic, client: ClientId) {
        self.0.entry(topic).or_default().insert(client);
    }

    pub(in crate::node) fn close(&mut self, topic: Topic) {
        self.0.remove(&topic);
    }

    pub(in crate::node) fn move_to(&mut self, from: Topic, to: Topic) {
        if let Some(mut clients) = self.0.remove(&from) {
            self.0.entry(to).or_default().append(&mut clients);
        }
    }

    pub(in crate::node) fn forget(&mut self, client: ClientId) {
        self.0.retain(|_, clients| {
            clients.remove(&client);
            !clients.is_empty()
        });
    }

    fn listeners(&self, topic: Topic) -> Vec<ClientId> {
        let of = |topic| self.0.get(&topic).into_iter().flatten().copied();
        let others = (topic != Topic::EventLog).then_some(Topic::Events);
        let listeners: BTreeSet<_> = of(topic).chain(others.into_iter().flat_map(of)).collect();
        listeners.into_iter().collect()
    }
}

impl Cx {
    /// Notifies the subscribers of a topic. The notice is only created if there are any.
    pub(in crate::node) fn notify(&mut self, topic: Topic, notice: impl FnOnce() -> Notice) {
        let listeners = self.subscriptions.listeners(topic);
        if listeners.is_empty() {
            return;
        }
        let notice = Rc::new(notice());
        for client in listeners {
            self.out.act(Action::Notify { client, notice: Rc::clone(&notice) });
        }
    }

    /// Whether there are clients of `events`.
    pub(in crate::node) fn has_event_clients(&self) -> bool {
        self.subscriptions.0.contains_key(&Topic::Events)
    }

    pub(in crate::node) fn notify_events(&mut self, notice: impl FnOnce() -> Notice) {
        self.notify(Topic::Events, notice);
    }
}
