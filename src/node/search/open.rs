//! The searches that are open: somebody waits to hear that they are over ([`end`](crate::node::search::end)).
//!
//! Owns the table of them, ours and those of others, who is awaited for each, and what each neighbour took before.

use crate::id::{ExchangeId, QueryId, SearchId};
use crate::node::fair_queue::{FairQueue, Sender};
use crate::node::ids::OpenId;
use crate::node::limits::{
    DONE_STEP, HABITS_KEPT_MAX, LATE_FIRST, MISSED_KEPT, OPEN_ASKERS_MAX, OPEN_SEARCHES_MAX, RING_GRACE_MAX,
    RING_GRACE_MIN, WAITS_AFTER,
};
use crate::time::Instant;
use crate::timer::TimerId;
use crate::wire::{Search, SearchDone};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// What is awaited of one neighbour.
#[derive(Debug)]
pub(super) struct Part {
    /// Copies that it was sent, or is to be, and has not said that it is done with.
    pub(super) copies: u32,
    /// Of these, copies that have reached it.
    pub(super) sent: u32,
    /// It has said something of the search.
    pub(super) heard: bool,
    /// The highest TTL of a copy.
    pub(super) ttl: u8,
    pub(super) asked_at: Instant,
    /// When it is given up: earlier than `done_by` as long as it has said nothing.
    pub(super) until: Instant,
    /// When it is given up though it says that it waits for others.
    pub(super) done_by: Instant,
}

/// Whose search it is.
#[derive(Debug)]
pub(super) enum Role {
    /// A ring of ours.
    Ring { search: SearchId, began: Instant, stage: RingStage },
    /// Somebody else's.
    Relayed {
        askers: Askers,
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

/// The connections on which copies of one search came whose senders wait. Those that wait for a while are told that the search goes on.
#[derive(Debug)]
pub(super) struct Askers {
    exchanges: Vec<ExchangeId>,
    /// How many of them, from the first, were told.
    told: usize,
    /// When the others are.
    tell_at: Option<Instant>,
}

impl Askers {
    pub(super) fn new(exchange: ExchangeId, now: Instant) -> Self {
        Self { exchanges: vec![exchange], told: 0, tell_at: Some(now + WAITS_AFTER) }
    }

    /// Adds one; says whether there was room.
    pub(super) fn push(&mut self, exchange: ExchangeId, now: Instant) -> bool {
        let has_room = self.exchanges.len() < OPEN_ASKERS_MAX;
        if has_room {
            self.exchanges.push(exchange);
            self.tell_at.get_or_insert(now + WAITS_AFTER);
        }
        has_room
    }

    /// Takes those that are to be told now.
    pub(super) fn take_untold(&mut self, now: Instant) -> &[ExchangeId] {
        let told = match self.tell_at {
            Some(at) if at <= now => std::mem::replace(&mut self.told, self.exchanges.len()),
            _ => return &[],
        };
        self.tell_at = None;
        &self.exchanges[told..]
    }

    pub(super) fn tell_at(&self) -> Option<Instant> {
        self.tell_at
    }

    /// All of them, now that the search is over for them.
    pub(super) fn into_all(self) -> Vec<ExchangeId> {
        self.exchanges
    }

    fn check_invariants(&self) {
        assert!(self.exchanges.len() <= OPEN_ASKERS_MAX, "those that wait for one search are bounded");
        assert!(self.told < self.exchanges.len() || self.tell_at.is_none(), "nobody is told twice");
    }
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
#[derive(Debug, Default)]
pub(super) struct Habit {
    /// Times in a row that it was given up.
    pub(super) misses: u32,
    /// The searches for which that was so last, [`MISSED_KEPT`] at most.
    missed: VecDeque<Missed>,
    /// It says when it waits for others.
    pub(super) reports: bool,
    /// How long it lately took to say anything, at most.
    pub(super) word: Option<Duration>,
    /// How long it took lately until it was done, at most and at least.
    pub(super) longest: Option<Duration>,
    pub(super) quickest: Option<Duration>,
}

/// A search of which a neighbour has not said in time that it is done.
#[derive(Debug)]
struct Missed {
    query: QueryId,
    asked_at: Instant,
    /// It has said something.
    heard: bool,
}

impl Habit {
    /// How long the neighbour took for a search until now; `None` if it was not asked. `asked_at`: if it is still awaited.
    fn took(
        &self,
        now: Instant,
        query: &QueryId,
        asked_at: Option<Instant>,
        before: Option<Duration>,
    ) -> Option<Duration> {
        let missed = self.missed.iter().find(|missed| missed.query == *query);
        let took = now.saturating_since(asked_at.or(missed.map(|missed| missed.asked_at))?);
        // It may have been away for a while: its time doubles with each search that it is late with.
        let late_max = (!self.missed.is_empty()).then(|| before.map_or(LATE_FIRST, |before| before * 2));
        Some(late_max.map_or(took, |late_max| took.min(late_max)))
    }
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

    /// A neighbour says that it waits for others.
    pub(super) fn note_waits(&mut self, neighbour: SocketAddr) {
        self.parts.entry(neighbour).and_modify(|part| part.heard = true);
        self.give_time(neighbour);
    }

    /// A neighbour does not hang: it has as much time as one that waits for others.
    pub(super) fn give_time(&mut self, neighbour: SocketAddr) {
        self.parts.entry(neighbour).and_modify(|part| part.until = part.done_by);
    }

    /// A neighbour says that it is done; it was sent this TTL at most.
    pub(super) fn note_done(&mut self, neighbour: SocketAddr, done: &SearchDone, sent_ttl: u8) {
        // No copy of our own ring has a higher TTL than those that we sent. Whoever forges one has the neighbour say that it is
        // done before it is.
        let is_overtaken = matches!(self.role, Role::Ring { .. }) && done.ttl.is_some_and(|ttl| ttl > sent_ttl);
        self.cut |= done.cut || is_overtaken;
        self.note_waits(neighbour);
        self.end_copies(neighbour, 1);
        if let (Role::Relayed { known, .. }, Some(ttl)) = (&mut self.role, done.ttl) {
            known.insert(neighbour, ttl);
        }
    }

    /// Whose ring it is, if it is one of which all neighbours have ended just now.
    pub(super) fn ended_ring_of(&self) -> Option<SearchId> {
        match self.role {
            Role::Ring { search, stage: RingStage::Asking, .. } => {
                (self.parts.is_empty() && self.lists_until.is_none()).then_some(search)
            }
            _ => None,
        }
    }

    /// Waits for hits that neighbours have sent before they ended; not if the next ring follows in any case.
    pub(super) fn enter_grace(&mut self, now: Instant, is_followed: bool) {
        if let Role::Ring { began, stage, .. } = &mut self.role {
            let took = now.saturating_since(*began);
            let waits = self.was_taken && !is_followed;
            let grace = if waits { (took / 4).clamp(RING_GRACE_MIN, RING_GRACE_MAX) } else { Duration::ZERO };
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

    /// A neighbour says something of a search for the first time; when it was asked, if it is still awaited. One that does so later
    /// than we waited is awaited for longer from now on. What was never asked of it says nothing about its time: says whether it
    /// was asked.
    pub(super) fn note_word(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        query: &QueryId,
        asked_at: Option<Instant>,
    ) -> bool {
        let Some(habit) = self.habit_of_asked(peer, asked_at) else { return false };
        let Some(took) = habit.took(now, query, asked_at, habit.word) else { return false };
        if asked_at.is_none()
            && let Some(missed) = habit.missed.iter_mut().find(|missed| missed.query == *query)
            && std::mem::replace(&mut missed.heard, true)
        {
            return false;
        }
        habit.word = Some(habit.word.map_or(took, |word| took.max(word * 7 / 8)));
        true
    }

    /// Whether a neighbour says when it waits for others, as far as is known.
    pub(super) fn note_reports(&mut self, peer: SocketAddr, reports: bool) {
        if let Some(habit) = self.habits.get_mut(&peer) {
            habit.reports = reports;
        }
    }

    /// A neighbour says that it is done with a search, as above.
    pub(super) fn note_done(&mut self, now: Instant, peer: SocketAddr, query: &QueryId, asked_at: Option<Instant>) {
        let Some(habit) = self.habit_of_asked(peer, asked_at) else { return };
        let Some(took) = habit.took(now, query, asked_at, habit.longest) else { return };
        habit.misses = 0;
        habit.missed.clear();
        habit.longest = Some(habit.longest.map_or(took, |longest| took.max(longest * 7 / 8)));
        habit.quickest = Some(habit.quickest.map_or(took, |quickest| took.min(quickest * 9 / 8)));
    }

    /// What is remembered of a neighbour that may have been asked.
    fn habit_of_asked(&mut self, peer: SocketAddr, asked_at: Option<Instant>) -> Option<&mut Habit> {
        match asked_at {
            Some(_) => Some(self.habits.entry(peer).or_default()),
            None => self.habits.get_mut(&peer),
        }
    }

    /// A neighbour that was asked has not said in time that it is done.
    pub(super) fn note_missed(&mut self, peer: SocketAddr, query: &QueryId, part: &Part) {
        let habit = self.habits.entry(peer).or_default();
        habit.misses += 1;
        if habit.missed.len() >= MISSED_KEPT {
            habit.missed.pop_front();
        }
        habit.missed.push_back(Missed { query: query.clone(), asked_at: part.asked_at, heard: part.heard });
    }

    pub(super) fn check_invariants(&self) {
        assert_eq!(self.rows.len(), self.by_query.len(), "each open search has its query");
        let relayed = |(id, open): (&OpenId, &Open)| match &open.role {
            Role::Relayed { sender, askers, .. } => {
                askers.check_invariants();
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
