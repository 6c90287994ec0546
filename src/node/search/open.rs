//! The open searches, ours and those of others, whose senders wait for the end ([`end`](crate::node::search::end)).
//!
//! Owns their table, with the neighbours that have to report, and past response times of the neighbours.

use crate::id::{ExchangeId, QueryId, SearchId};
use crate::node::fair_queue::{FairQueue, Sender};
use crate::node::ids::OpenId;
use crate::node::limits::{
    DONE_STEP, FIRST_REPORT_WAIT_MIN, FIRST_REPORT_WAIT_UNKNOWN, HABITS_KEPT_MAX, LATE_FIRST, LEAF_WAIT_MIN,
    MISSED_KEPT, OPEN_ASKERS_MAX, OPEN_SEARCHES_MAX, PART_WAIT_FLOOR, PART_WAIT_MIN, RING_GRACE_MAX, RING_GRACE_MIN,
    RING_WAIT, WAITS_AFTER,
};
use crate::time::Instant;
use crate::timer::TimerId;
use crate::wire::{Search, SearchDone};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Part {
    /// Copies for it whose end it has not reported.
    pub(super) copies: u32,
    /// Of these, copies that were delivered.
    pub(super) sent: u32,
    pub(super) has_reported: bool,
    /// The highest TTL of a copy.
    pub(super) ttl: u8,
    pub(super) asked_at: Instant,
    /// When it is given up: before its first report earlier than `done_by`.
    pub(super) until: Instant,
    /// When it is given up even if it reports that it waits for others.
    pub(super) done_by: Instant,
}

#[derive(Debug)]
pub(super) enum Role {
    Ring {
        search: SearchId,
        began: Instant,
        stage: RingStage,
    },
    Relayed {
        askers: Askers,
        sender: Sender,
        /// As it came first, with the highest TTL of all copies, within our own limit.
        search: Search,
        /// Its TTL when it was forwarded.
        reached: u8,
        /// A copy with a higher TTL came since: when it is forwarded.
        widen_at: Option<Instant>,
        /// The TTL with which it came to neighbours, as they reported.
        known: BTreeMap<SocketAddr, u8>,
        /// Our answers in progress: one for each text under this ID.
        answers: u32,
        /// No TTL is left, so we report nothing: the sender takes this for the end, and for a cut.
        is_leaf: bool,
    },
}

/// The connections of the senders that wait for one search. After a while we report to them that it is not over.
#[derive(Debug)]
pub(super) struct Askers {
    exchanges: Vec<ExchangeId>,
    /// The number of senders, from the first, that got this report.
    notified: usize,
    /// When the others get it.
    pub(super) notify_at: Option<Instant>,
}

impl Askers {
    pub(super) fn new(exchange: ExchangeId, now: Instant) -> Self {
        Self { exchanges: vec![exchange], notified: 0, notify_at: Some(now + WAITS_AFTER) }
    }

    /// Adds one. Returns whether there was room.
    pub(super) fn push(&mut self, exchange: ExchangeId, now: Instant) -> bool {
        let has_room = self.exchanges.len() < OPEN_ASKERS_MAX;
        if has_room {
            self.exchanges.push(exchange);
            self.notify_at.get_or_insert(now + WAITS_AFTER);
        }
        has_room
    }

    /// The senders to notify now, each once.
    pub(super) fn take_unnotified(&mut self, now: Instant) -> &[ExchangeId] {
        let notified = match self.notify_at {
            Some(at) if at <= now => std::mem::replace(&mut self.notified, self.exchanges.len()),
            _ => return &[],
        };
        self.notify_at = None;
        &self.exchanges[notified..]
    }

    pub(super) fn into_all(self) -> Vec<ExchangeId> {
        self.exchanges
    }

    fn check_invariants(&self) {
        assert!(self.exchanges.len() <= OPEN_ASKERS_MAX, "the askers of one search are bounded");
        assert!(self.notified < self.exchanges.len() || self.notify_at.is_none(), "each asker is notified once");
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Little,
    /// Enough rows: no further ring is sent, and no further peers are searched for.
    Enough,
    /// Enough sources of exactly the file: the ring ends.
    Exactly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RingStage {
    Asking,
    /// All have reported the end or were given up; hits may come a little later.
    Grace {
        since: Instant,
        until: Instant,
    },
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) query: QueryId,
    pub(super) role: Role,
    pub(super) parts: BTreeMap<SocketAddr, Part>,
    /// Some peers may not have been reached.
    pub(super) cut: bool,
    /// A copy was delivered.
    pub(super) was_taken: bool,
    pub(super) is_asking: bool,
    /// Of a ring: it has found what was searched for.
    pub(super) is_found: bool,
    /// Of a ring: until when we wait for a peer list, which may name further peers.
    pub(super) lists_until: Option<Instant>,
    pub(super) deadline: Instant,
    pub(super) timer: Option<TimerId>,
}

#[derive(Debug, Default)]
pub(super) struct Habit {
    /// Times in a row that it was given up.
    misses: u32,
    /// The last such searches, [`MISSED_KEPT`] at most.
    missed: VecDeque<Missed>,
    /// It reports that it waits for others.
    reports: bool,
    /// The recent maximum of the time until its first report.
    first_report: Option<Duration>,
    /// The recent maximum and minimum of the time until it reported the end.
    longest: Option<Duration>,
    quickest: Option<Duration>,
}

#[derive(Debug)]
struct Missed {
    query: QueryId,
    asked_at: Instant,
    has_reported: bool,
}

impl Habit {
    /// How long the neighbour took for a search until now; `None` if it was not asked. `asked_at`: if it was not given up.
    fn took(
        &self,
        now: Instant,
        query: &QueryId,
        asked_at: Option<Instant>,
        before: Option<Duration>,
    ) -> Option<Duration> {
        let missed = self.missed.iter().find(|missed| missed.query == *query);
        let took = now.saturating_since(asked_at.or(missed.map(|missed| missed.asked_at))?);
        // It may have been unreachable for a while: its time at most doubles with each late search.
        let late_max = (!self.missed.is_empty()).then(|| before.map_or(LATE_FIRST, |before| before * 2));
        Some(late_max.map_or(took, |late_max| took.min(late_max)))
    }
}

/// All open searches. `by_query` is never iterated.
#[derive(Default)]
pub(super) struct OpenSearches {
    pub(super) rows: BTreeMap<OpenId, Open>,
    pub(super) by_query: HashMap<QueryId, OpenId>,
    /// The searches of others, by sender.
    pub(super) queue: FairQueue,
    pub(super) begun: u64,
    pub(super) habits: BTreeMap<SocketAddr, Habit>,
}

impl Open {
    /// This number of copies has ended at a neighbour.
    pub(super) fn end_copies(&mut self, neighbour: SocketAddr, copies: u32) {
        if let Some(part) = self.parts.get_mut(&neighbour) {
            part.copies = part.copies.saturating_sub(copies);
            part.sent = part.sent.min(part.copies);
            if part.copies == 0 {
                self.parts.remove(&neighbour);
            }
        }
    }

    pub(super) fn note_waits(&mut self, neighbour: SocketAddr) {
        self.parts.entry(neighbour).and_modify(|part| part.has_reported = true);
        self.give_time(neighbour);
    }

    /// A neighbour does not hang: it gets as much time as one that waits for others.
    pub(super) fn give_time(&mut self, neighbour: SocketAddr) {
        self.parts.entry(neighbour).and_modify(|part| part.until = part.done_by);
    }

    /// A neighbour reports the end. `sent_ttl`: the highest TTL sent to it.
    pub(super) fn note_done(&mut self, neighbour: SocketAddr, done: &SearchDone, sent_ttl: u8) {
        // A copy of our own ring with a higher TTL is forged, and causes an early report of the end.
        let is_overtaken = matches!(self.role, Role::Ring { .. }) && done.ttl.is_some_and(|ttl| ttl > sent_ttl);
        self.cut |= done.cut || is_overtaken;
        self.note_waits(neighbour);
        self.end_copies(neighbour, 1);
        if let (Role::Relayed { known, .. }, Some(ttl)) = (&mut self.role, done.ttl) {
            known.insert(neighbour, ttl);
        }
    }

    /// The search of a ring at which all neighbours have just ended.
    pub(super) fn ended_ring_of(&self) -> Option<SearchId> {
        match self.role {
            Role::Ring { search, stage: RingStage::Asking, .. } => {
                (self.parts.is_empty() && self.lists_until.is_none()).then_some(search)
            }
            _ => None,
        }
    }

    /// Waits for hits in flight; not if the next ring follows in any case.
    pub(super) fn enter_grace(&mut self, now: Instant, is_followed: bool) {
        if let Role::Ring { began, stage, .. } = &mut self.role {
            let took = now.saturating_since(*began);
            let waits = self.was_taken && !is_followed;
            let grace = if waits { (took / 4).clamp(RING_GRACE_MIN, RING_GRACE_MAX) } else { Duration::ZERO };
            *stage = RingStage::Grace { since: now, until: now + grace };
        }
    }

    /// When it is due next; `None` if it is over.
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

/// How long to wait for a peer that got a copy with this TTL.
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

    /// The open searches with copies delivered to a neighbour, if its part is as given.
    pub(super) fn sent_to(&self, peer: SocketAddr, is: impl Fn(&Part) -> bool) -> Vec<OpenId> {
        let has = |open: &Open| open.parts.get(&peer).is_some_and(|part| part.sent > 0 && is(part));
        self.rows.iter().filter(|(_, open)| has(open)).map(|(id, _)| *id).collect()
    }

    /// The first report of a neighbour on a search; `asked_at`: if it was not given up. If it is later than we waited, we wait longer
    /// from now on. Returns whether the neighbour was asked.
    pub(super) fn note_first_report(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        query: &QueryId,
        asked_at: Option<Instant>,
    ) -> bool {
        let Some(habit) = self.habit_of_asked(peer, asked_at) else { return false };
        let Some(took) = habit.took(now, query, asked_at, habit.first_report) else { return false };
        if asked_at.is_none()
            && let Some(missed) = habit.missed.iter_mut().find(|missed| missed.query == *query)
            && std::mem::replace(&mut missed.has_reported, true)
        {
            return false;
        }
        habit.first_report = Some(habit.first_report.map_or(took, |first_report| took.max(first_report * 7 / 8)));
        true
    }

    pub(super) fn note_reports(&mut self, peer: SocketAddr, reports: bool) {
        if let Some(habit) = self.habits.get_mut(&peer) {
            habit.reports = reports;
        }
    }

    /// A neighbour reports the end of a search. `asked_at`: if it was not given up.
    pub(super) fn note_done(&mut self, now: Instant, peer: SocketAddr, query: &QueryId, asked_at: Option<Instant>) {
        let Some(habit) = self.habit_of_asked(peer, asked_at) else { return };
        let Some(took) = habit.took(now, query, asked_at, habit.longest) else { return };
        habit.misses = 0;
        habit.missed.clear();
        habit.longest = Some(habit.longest.map_or(took, |longest| took.max(longest * 7 / 8)));
        habit.quickest = Some(habit.quickest.map_or(took, |quickest| took.min(quickest * 9 / 8)));
    }

    /// How long we wait for the first report of a neighbour; `None`: as long as for one that waits for others. `took`: how long
    /// delivering the copy took, which estimates the distance of a neighbour that has never reported.
    pub(super) fn first_report_wait(&self, neighbour: SocketAddr, took: Option<Duration>) -> Option<Duration> {
        let habit = self.habits.get(&neighbour);
        let misses = habit.map_or(0, |habit| habit.misses);
        let (wait, halvings) = match habit.and_then(|habit| Some((habit.first_report?, habit.reports))) {
            None => (FIRST_REPORT_WAIT_UNKNOWN + took? * 3, misses),
            // A single miss does not count.
            Some((first, true)) => ((first * 4).max(FIRST_REPORT_WAIT_MIN), misses.saturating_sub(1)),
            Some((_, false)) => return None,
        };
        Some((wait / 2_u32.saturating_pow(halvings)).max(PART_WAIT_MIN))
    }

    /// How long we wait for the end at a proven neighbour that is sent a copy with this TTL.
    pub(super) fn part_wait(&self, neighbour: SocketAddr, speaks_p1: bool, ttl: u8) -> Duration {
        let (full, none) = (wait_for_ttl(ttl), Habit::default());
        let habit = self.habits.get(&neighbour).unwrap_or(&none);
        let wait = match (habit.quickest, habit.longest) {
            (Some(quickest), _) if speaks_p1 && ttl == 0 => (quickest * 4).clamp(LEAF_WAIT_MIN, full),
            (_, Some(longest)) if speaks_p1 => (longest * 4).max(PART_WAIT_FLOOR).min(full),
            _ => full.min(RING_WAIT),
        };
        (wait / 2_u32.saturating_pow(habit.misses)).max(PART_WAIT_MIN)
    }

    /// The record of a neighbour that was asked now or before.
    fn habit_of_asked(&mut self, peer: SocketAddr, asked_at: Option<Instant>) -> Option<&mut Habit> {
        match asked_at {
            Some(_) => Some(self.habits.entry(peer).or_default()),
            None => self.habits.get_mut(&peer),
        }
    }

    pub(super) fn note_missed(&mut self, peer: SocketAddr, query: &QueryId, part: &Part) {
        let habit = self.habits.entry(peer).or_default();
        habit.misses += 1;
        if habit.missed.len() >= MISSED_KEPT {
            habit.missed.pop_front();
        }
        habit.missed.push_back(Missed {
            query: query.clone(),
            asked_at: part.asked_at,
            has_reported: part.has_reported,
        });
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
