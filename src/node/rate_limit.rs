//! How much the network may have of us: an allowance for each of its members, full at first, refilled evenly.

use crate::time::Instant;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// What everybody gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tariff {
    /// Refilled in a minute.
    pub(super) per_minute: u32,
    /// Of a full allowance; as much may be owed.
    pub(super) burst: u32,
}

impl Tariff {
    /// Refilled in a second, and at once.
    pub(super) const fn per_second(per_second: u32, burst: u32) -> Self {
        Self { per_minute: per_second * 60, burst }
    }

    /// A full allowance, in thousandths.
    fn full(self) -> i64 {
        i64::from(self.burst) * 1_000
    }
}

/// What is left of one allowance.
#[derive(Debug)]
pub(super) struct Allowance {
    /// In thousandths; less than nothing if more was used than there was.
    left: i64,
    at: Instant,
}

impl Allowance {
    /// A full one.
    pub(super) fn new(tariff: Tariff, now: Instant) -> Self {
        Self { left: tariff.full(), at: now }
    }

    /// What there is by now, in thousandths.
    fn left(&self, tariff: Tariff, now: Instant) -> i64 {
        let ms = i64::try_from(now.saturating_since(self.at).as_millis()).unwrap_or(i64::MAX);
        let refilled = ms.saturating_mul(i64::from(tariff.per_minute)) / 60;
        self.left.saturating_add(refilled).min(tariff.full())
    }

    /// Takes one, if there is one left.
    pub(super) fn take(&mut self, tariff: Tariff, now: Instant) -> bool {
        self.take_keeping(tariff, now, 0)
    }

    /// Takes one, if so many are left then.
    fn take_keeping(&mut self, tariff: Tariff, now: Instant, kept: u32) -> bool {
        let left = self.left(tariff, now);
        let allowed = left >= (i64::from(kept) + 1) * 1_000;
        *self = Self { left: if allowed { left - 1_000 } else { left }, at: now };
        allowed
    }

    /// Takes what was used, whether it is there or not.
    fn charge(&mut self, tariff: Tariff, now: Instant, used: u32) {
        let left = self.left(tariff, now).saturating_sub(i64::from(used) * 1_000).max(-tariff.full());
        *self = Self { left, at: now };
    }

    /// When there is one to take.
    pub(super) fn next_at(&self, tariff: Tariff, now: Instant) -> Instant {
        let lacking = (1_000 - self.left(tariff, now)).max(0);
        let ms = (lacking * 60).div_euclid(i64::from(tariff.per_minute.max(1))) + 1;
        now + Duration::from_millis(ms.unsigned_abs())
    }
}

/// The allowances of all who have used some. The map is only asked for one key, or gone through in order.
pub(super) struct Allowances<K> {
    tariff: Tariff,
    /// Allowances kept account of; beyond, the one of which least was used is forgotten.
    rows_max: usize,
    rows: HashMap<K, Allowance>,
}

impl<K: Copy + Ord + Hash> Allowances<K> {
    /// All are full.
    pub(super) fn new(tariff: Tariff, rows_max: usize) -> Self {
        Self { tariff, rows_max, rows: HashMap::new() }
    }

    /// Takes one from an allowance, if there is one left.
    pub(super) fn allow(&mut self, now: Instant, key: K) -> bool {
        self.allow_keeping(now, key, 0)
    }

    /// Takes one from an allowance, if so many are left in it then.
    pub(super) fn allow_keeping(&mut self, now: Instant, key: K, kept: u32) -> bool {
        if self.rows.len() >= self.rows_max && !self.rows.contains_key(&key) {
            self.make_room(now);
        }
        let tariff = self.tariff;
        self.rows.entry(key).or_insert_with(|| Allowance::new(tariff, now)).take_keeping(tariff, now, kept)
    }

    /// Takes what somebody has used who was allowed some.
    pub(super) fn charge(&mut self, now: Instant, key: K, used: u32) {
        let tariff = self.tariff;
        if used > 0
            && let Some(row) = self.rows.get_mut(&key)
        {
            row.charge(tariff, now, used);
        }
    }

    /// Forgets the allowances of which least was used, so that whoever fills the table with others does not get his own
    /// back. One in sixteen at once: a flood of new ones does not look through all of them each time.
    fn make_room(&mut self, now: Instant) {
        let tariff = self.tariff;
        let mut by_left: Vec<_> = self.rows.iter().map(|(key, row)| (Reverse(row.left(tariff, now)), *key)).collect();
        by_left.sort_unstable();
        for (_, key) in by_left.into_iter().take((self.rows_max / 16).max(1)) {
            self.rows.remove(&key);
        }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.rows.len() <= self.rows_max, "the allowances are bounded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Tariff = Tariff { per_minute: 10, burst: 10 };

    #[test]
    fn an_allowance_is_ten_and_then_one_every_six_seconds() {
        let mut strangers = Allowances::new(TEN, 100);
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
        let mut senders = Allowances::new(Tariff::per_second(50, 500), 100);
        let start = Instant::from_ms(1_000);
        let taken = |senders: &mut Allowances<u8>, at| (0..1_000).filter(|_| senders.allow(at, 1)).count();
        assert_eq!(taken(&mut senders, start), 500);
        assert_eq!(taken(&mut senders, start + Duration::from_secs(1)), 50);
        assert_eq!(taken(&mut senders, start + Duration::from_secs(1_000)), 500);
    }

    #[test]
    fn the_table_never_grows_beyond_its_bound() {
        let mut strangers = Allowances::new(TEN, 100);
        let start = Instant::from_ms(0);
        for n in 0..100 {
            assert!(strangers.allow(start, n));
        }
        for _ in 0..9 {
            assert!(strangers.allow(start, 7));
        }
        for n in 1_000..100_000 {
            assert!(strangers.allow(start, n), "a newcomer finds room");
        }
        assert!(!strangers.allow(start, 7), "and whoever has used the most does not get it back so");
        strangers.check_invariants();
    }

    #[test]
    fn what_is_used_beyond_an_allowance_is_owed_up_to_a_bound() {
        let mut senders = Allowances::new(Tariff::per_second(50, 500), 100);
        let start = Instant::from_ms(1_000);
        assert!(senders.allow(start, 1));
        senders.charge(start, 1, 519);
        assert!(!senders.allow(start + Duration::from_millis(419), 1), "20 are owed");
        assert!(senders.allow(start + Duration::from_millis(420), 1));
        senders.charge(start + Duration::from_millis(420), 1, u32::MAX);
        assert!(!senders.allow(start + Duration::from_millis(10_439), 1));
        assert!(senders.allow(start + Duration::from_millis(10_440), 1), "no more than a full allowance is owed");
    }

    #[test]
    fn an_empty_allowance_tells_when_there_is_one_again() {
        let start = Instant::from_ms(1_000);
        let mut link = Allowance::new(Tariff::per_second(40, 1), start);
        assert!(link.take(Tariff::per_second(40, 1), start));
        let next = link.next_at(Tariff::per_second(40, 1), start);
        assert!(next <= start + Duration::from_millis(26), "{next:?}");
        assert!(link.take(Tariff::per_second(40, 1), next));
    }
}
