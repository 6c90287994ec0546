//! How much the network may have of us: an allowance for each address, full at first, refilled evenly.

use crate::time::Instant;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// What everybody gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tariff {
    /// Refilled in a minute.
    pub(super) per_minute: u32,
    /// Of a full allowance.
    pub(super) burst: u32,
    /// Allowances kept account of; beyond, nobody new gets any.
    pub(super) rows_max: usize,
}

/// What is left of one allowance.
struct Allowance {
    /// In thousandths.
    left: u64,
    at: Instant,
}

/// The allowances of all who have used some. The map is only asked for one key, or purged by a rule.
pub(super) struct Allowances<K> {
    tariff: Tariff,
    rows: HashMap<K, Allowance>,
    purged_at: Option<Instant>,
}

impl<K: Eq + Hash> Allowances<K> {
    /// All are full.
    pub(super) fn new(tariff: Tariff) -> Self {
        Self { tariff, rows: HashMap::new(), purged_at: None }
    }

    /// Takes one from an allowance, if there is one left.
    pub(super) fn allow(&mut self, now: Instant, key: K) -> bool {
        let known = self.rows.get(&key).map(|row| self.tariff.left(row, now));
        if known.is_none() && !self.has_room(now) {
            return false;
        }
        let left = known.unwrap_or(self.tariff.full());
        let allowed = left >= 1_000;
        let left = if allowed { left - 1_000 } else { left };
        self.rows.insert(key, Allowance { left, at: now });
        allowed
    }

    /// Makes room by forgetting the allowances that are full again; not more often than once a second.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.rows.len() < self.tariff.rows_max {
            return true;
        }
        if self.purged_at.is_none_or(|at| now.saturating_since(at) >= Duration::from_secs(1)) {
            self.purged_at = Some(now);
            let tariff = self.tariff;
            self.rows.retain(|_, row| tariff.left(row, now) < tariff.full());
        }
        self.rows.len() < self.tariff.rows_max
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.rows.len() <= self.tariff.rows_max, "the allowances are bounded");
    }
}

impl Tariff {
    /// A full allowance, in thousandths.
    fn full(self) -> u64 {
        u64::from(self.burst) * 1_000
    }

    /// What there is in an allowance by now, in thousandths.
    fn left(self, row: &Allowance, now: Instant) -> u64 {
        let ms = u64::try_from(now.saturating_since(row.at).as_millis()).unwrap_or(u64::MAX);
        let refilled = ms.saturating_mul(u64::from(self.per_minute)) / 60;
        row.left.saturating_add(refilled).min(self.full())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Tariff = Tariff { per_minute: 10, burst: 10, rows_max: 100 };

    #[test]
    fn an_allowance_is_ten_and_then_one_every_six_seconds() {
        let mut strangers = Allowances::new(TEN);
        let start = Instant::from_ms(1_000);
        for _ in 0..10 {
            assert!(strangers.allow(start, 1));
        }
        assert!(!strangers.allow(start, 1));
        assert!(strangers.allow(start, 2), "another has its own");
        assert!(!strangers.allow(start + Duration::from_millis(5_999), 1));
        assert!(strangers.allow(start + Duration::from_millis(12_000), 1));
    }

    #[test]
    fn a_burst_may_be_more_than_a_minute_refills_or_less() {
        let mut senders = Allowances::new(Tariff { per_minute: 3_000, burst: 500, rows_max: 100 });
        let start = Instant::from_ms(1_000);
        let taken = |senders: &mut Allowances<u8>, at| (0..1_000).filter(|_| senders.allow(at, 1)).count();
        assert_eq!(taken(&mut senders, start), 500);
        assert_eq!(taken(&mut senders, start + Duration::from_secs(1)), 50);
        assert_eq!(taken(&mut senders, start + Duration::from_secs(1_000)), 500);
    }

    #[test]
    fn the_table_never_grows_beyond_its_bound() {
        let mut strangers = Allowances::new(TEN);
        let start = Instant::from_ms(0);
        for n in 0..100 {
            assert!(strangers.allow(start, n));
        }
        assert!(!strangers.allow(start, 1_000_000));
        // One is refilled after six seconds, and a full allowance need not be remembered.
        assert!(strangers.allow(start + Duration::from_secs(6), 1_000_000));
        assert_eq!(strangers.rows.len(), 1);
        strangers.check_invariants();
    }
}
