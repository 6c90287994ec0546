//! The searches that are open: somebody waits to hear that they are over ([`end`](crate::node::search::end)).
//!
//! Owns the table of them, ours and those of others, who is awaited for each, and what each neighbour took before.

use crate::id::{ExchangeId, QueryId, SearchId};
use crate::node::fair_queue::{FairQueue, Sender};
use crate::node::ids::OpenId;
use crate::node::limits::{
    DONE_STEP, HABITS_KEPT_MAX, LATE_FIRST, OPEN_ASKERS_MAX, OPEN_SEARCHES_MAX, RING_GRACE_MAX, RING_GRACE_MIN,
};
use crate::time::Instant;
use crate::timer::TimerId;
use crate::wire::Search;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

/// What is awaited of one neighbour.
#[derive(Debug)]
pub(super) struct Part {
    /// Copies that it was sent, or is to be, and has not said that it is done with.
    pub(super) copies: u32,
    /// Of these, copies that have reached it.
    pub(super) sent: u32,
    /// The highest TTL of a copy.
    pub(super) ttl: u8,
    pub(super) asked_at: Instant,
    /// When it is given up.
    pub(super) until: Instant,
}

/// Whose search it is.
#[derive(Debug)]
pub(super) enum Role {
    /// A ring of ours.
    Ring { search: SearchId, began: Instant, stage: RingStage },
    /// Somebody else's.
    Relayed {
        /// The connections on which copies came whose senders wait.
        askers: Vec<ExchangeId>,
        /// Who sent the first.
        sender: Sender,
        /// As it came first, with the highest TTL that it came with, within our own limit.
        search: Search,
        /// The TTL that it had when it was sent on.
        reached: u8,
        /// It came with a higher one since: when it is sent on with that.
        widen_at: Option<Instant>,
        /// With which TTL it has come to neighbours, as far as they have said.
        known: BTreeMap<SocketAddr, u8>,
        /// Our own answers that are looked for or on their way: one for each text under this ID.
        answers: u32,
        /// The TTL is used up here, so that nothing is said: the sender takes that for the end, and for a cut.
        is_leaf: bool,
    },
}

/// What a ring has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Too little.
    Little,
    /// Enough rows: no further ring goes out, and no peers are looked for to send it to.
    Enough,
    /// Enough sources of the very file: nobody needs to be awaited any more.
    Exactly,
}

/// What a ring waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RingStage {
    /// Neighbours are awaited.
    Asking,
    /// All have said that they are done; hits may be a little later.
    Grace { since: Instant, until: Instant },
}

/// An open search.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) query: QueryId,
    pub(super) role: Role,
    pub(super) parts: BTreeMap<SocketAddr, Part>,
    /// There may be peers that were not reached.
    pub(super) cut: bool,
    /// Some neighbour has taken a copy.
    pub(super) was_taken: bool,
    /// Not all neighbours that are to be asked have been.
    pub(super) is_asking: bool,
    /// Of a ring: it has found what was searched for.
    pub(super) is_found: bool,
    /// Of a ring: a peer list is awaited, which may name peers to send it to; at most until then.
    pub(super) lists_until: Option<Instant>,
    /// When it is given up whatever is awaited.
    pub(super) deadline: Instant,
    pub(super) timer: Option<TimerId>,
}

/// What a neighbour did before.
#[derive(Debug, Default, Clone)]
pub(super) struct Habit {
    /// Times in a row that it was given up.
    pub(super) misses: u32,
    /// The search for which that was so last, and when it was asked.
    missed: Option<(QueryId, Instant)>,
    /// How long it took lately, at most and at least.
    pub(super) longest: Option<Duration>,
    pub(super) quickest: Option<Duration>,
}

/// All searches that are open. The map of queries is only ever asked for one.
#[derive(Default)]
pub(super) struct OpenSearches {
    pub(super) rows: BTreeMap<OpenId, Open>,
    pub(super) by_query: HashMap<QueryId, OpenId>,
    /// Those of others, by sender.
    pub(super) queue: FairQueue,
    pub(super) begun: u64,
    pub(super) habits: BTreeMap<SocketAddr, Habit>,
}

impl Open {
    /// A neighbour does not have so many copies any more.
    pub(super) fn end_copies(&mut self, neighbour: SocketAddr, copies: u32) {
        if let Some(part) = self.parts.get_mut(&neighbour) {
            part.copies = part.copies.saturating_sub(copies);
            part.sent = part.sent.min(part.copies);
            if part.copies == 0 {
                self.parts.remove(&neighbour);
            }
        }
    }

    /// A ring whose neighbours have all ended waits a little longer, for hits that they have sent before.
    pub(super) fn enter_grace(&mut self, now: Instant) {
        if let Role::Ring { began, stage: stage @ RingStage::Asking, .. } = &mut self.role
            && self.parts.is_empty()
            && self.lists_until.is_none()
        {
            let took = now.saturating_since(*began);
            let grace = if self.was_taken { (took / 4).clamp(RING_GRACE_MIN, RING_GRACE_MAX) } else { Duration::ZERO };
            *stage = RingStage::Grace { since: now, until: now + grace };
        }
    }

    /// When it is to be looked at next; `None` if it is over.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let at = match self.role {
            Role::Ring { stage: RingStage::Grace { until, .. }, .. } => until,
            Role::Relayed { widen_at: Some(at), .. } => at.min(self.deadline),
            Role::Relayed { is_leaf, answers, .. } if is_leaf || answers > 0 => self.deadline,
            _ => {
                let parts = self.parts.values().map(|part| part.until);
                parts.chain(self.lists_until).max()?.min(self.deadline)
            }
        };
        Some(at).filter(|at| *at > now)
    }
}

/// How long somebody who got a copy with this TTL may be awaited.
pub(super) fn wait_for_ttl(ttl: u8) -> Duration {
    DONE_STEP * (u32::from(ttl) + 1)
}

impl OpenSearches {
    pub(super) fn insert(&mut self, query: QueryId, role: Role, deadline: Instant) -> OpenId {
        self.begun += 1;
        let id = OpenId(self.begun);
        if let Role::Relayed { sender, .. } = &role {
            self.queue.push(*sender, id.0);
        }
        self.by_query.insert(query.clone(), id);
        let parts = BTreeMap::new();
        let (cut, was_taken, is_asking, is_found, lists_until, timer) = (false, false, true, false, None, None);
        let open = Open { query, role, parts, cut, was_taken, is_asking, is_found, lists_until, deadline, timer };
        self.rows.insert(id, open);
        id
    }

    pub(super) fn remove(&mut self, id: OpenId) -> Option<Open> {
        let open = self.rows.remove(&id)?;
        self.by_query.remove(&open.query);
        if let Role::Relayed { sender, .. } = &open.role {
            self.queue.remove(*sender, id.0);
        }
        Some(open)
    }

    /// A neighbour says that it is done with a search; when it was asked, if it is still awaited. One that says so later than we
    /// waited is awaited for longer from now on. What was never asked of it says nothing about its time.
    pub(super) fn note_done(&mut self, now: Instant, peer: SocketAddr, query: &QueryId, asked_at: Option<Instant>) {
        let missed = self.habits.get(&peer).and_then(|habit| habit.missed.as_ref());
        let missed_at = missed.filter(|(missed, _)| missed == query).map(|(_, at)| *at);
        let Some(asked_at) = asked_at.or(missed_at) else { return };
        let mut took = now.saturating_since(asked_at);
        let habit = self.habits.entry(peer).or_default();
        if habit.missed.is_some() {
            // It may have been away for a while: its time doubles with each search that it is late with.
            took = took.min(habit.longest.map_or(LATE_FIRST, |longest| longest * 2));
        }
        (habit.misses, habit.missed) = (0, None);
        habit.longest = Some(habit.longest.map_or(took, |longest| took.max(longest * 7 / 8)));
        habit.quickest = Some(habit.quickest.map_or(took, |quickest| took.min(quickest * 9 / 8)));
    }

    /// A neighbour that was asked has not said in time that it is done.
    pub(super) fn note_missed(&mut self, peer: SocketAddr, query: &QueryId, asked_at: Instant) {
        let habit = self.habits.entry(peer).or_default();
        habit.misses += 1;
        habit.missed = Some((query.clone(), asked_at));
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.rows.len(), self.by_query.len(), "each open search has its query");
        let relayed = |(id, open): (&OpenId, &Open)| match &open.role {
            Role::Relayed { sender, askers, .. } => {
                assert!(askers.len() <= OPEN_ASKERS_MAX, "those that wait for one search are bounded");
                Some((*sender, id.0))
            }
            Role::Ring { .. } => None,
        };
        let relayed: BTreeSet<_> = self.rows.iter().filter_map(relayed).collect();
        assert!(relayed.len() <= OPEN_SEARCHES_MAX, "the open searches of others are bounded");
        self.queue.check_invariants(&relayed, std::iter::empty());
        assert!(self.habits.len() <= HABITS_KEPT_MAX, "the habits are bounded");
    }
}
