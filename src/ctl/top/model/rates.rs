//! Rates, from counters of bytes that are read every now and then.

use std::collections::VecDeque;
use std::time::Duration;

/// Span of a column of the graphs.
const COLUMN: Duration = Duration::from_secs(4);

/// Columns kept.
const COLUMNS_MAX: usize = 150;

/// Readings whose mean is the rate that is shown.
const READINGS: usize = 3;

/// Bytes received and bytes sent.
pub(in crate::ctl::top) type Both = [u64; 2];

#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Duration,
    bytes: Both,
}

#[derive(Debug, Default)]
pub(in crate::ctl::top) struct Rates {
    readings: VecDeque<Reading>,
    /// Bytes in each span, the newest last, which is not over yet.
    columns: VecDeque<Both>,
    /// When the newest column began.
    began: Duration,
}

impl Rates {
    pub(in crate::ctl::top) fn read(&mut self, at: Duration, bytes: Both) {
        let is_counting_on = |last: &Reading| (0..2).all(|way| bytes[way] >= last.bytes[way]);
        match self.readings.back().copied().filter(is_counting_on) {
            // The first, or the counters of another daemon.
            None => self.readings.clear(),
            Some(last) => self.add(at, [0, 1].map(|way| bytes[way] - last.bytes[way])),
        }
        self.readings.push_back(Reading { at, bytes });
        if self.readings.len() > READINGS + 1 {
            self.readings.pop_front();
        }
    }

    /// Bytes a second over the last readings; `None` until there are two.
    pub(in crate::ctl::top) fn now(&self) -> Option<Both> {
        let (first, last) = (self.readings.front()?, self.readings.back()?);
        let ms = u64::try_from(last.at.saturating_sub(first.at).as_millis()).ok().filter(|ms| *ms > 0)?;
        Some([0, 1].map(|way| (last.bytes[way] - first.bytes[way]).saturating_mul(1_000) / ms))
    }

    /// The last columns, as many as there are places for, with zeros before the first.
    pub(in crate::ctl::top) fn graph(&self, way: usize, places: usize) -> Vec<u64> {
        let lacking = places.saturating_sub(self.columns.len());
        let known = self.columns.iter().skip(self.columns.len().saturating_sub(places));
        std::iter::repeat_n(0, lacking).chain(known.map(|column| column[way])).collect()
    }

    fn add(&mut self, at: Duration, bytes: Both) {
        let over = at.saturating_sub(self.began).as_secs() / COLUMN.as_secs();
        let new = if self.columns.is_empty() { 1 } else { usize::try_from(over).unwrap_or(COLUMNS_MAX) };
        for _ in 0..new.min(COLUMNS_MAX) {
            self.columns.push_back([0, 0]);
        }
        if new > 0 {
            self.began = COLUMN * u32::try_from(at.as_secs() / COLUMN.as_secs()).unwrap_or(u32::MAX);
        }
        while self.columns.len() > COLUMNS_MAX {
            self.columns.pop_front();
        }
        if let Some(newest) = self.columns.back_mut() {
            (0..2).for_each(|way| newest[way] = newest[way].saturating_add(bytes[way]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_rate_is_the_mean_of_the_last_seconds() {
        let mut rates = Rates::default();
        assert_eq!(rates.now(), None);
        for (second, bytes) in [(1, 0), (2, 100), (3, 200), (4, 300), (5, 700)] {
            rates.read(at(second), [bytes, 2 * bytes]);
        }
        assert_eq!(rates.now(), Some([200, 400]));
        // Another daemon begins at 0.
        rates.read(at(6), [10, 10]);
        assert_eq!(rates.now(), None);
        rates.read(at(7), [20, 10]);
        assert_eq!(rates.now(), Some([10, 0]));
    }

    #[test]
    fn the_graph_has_a_column_for_each_four_seconds_and_remembers_ten_minutes() {
        let mut rates = Rates::default();
        (0..=12).for_each(|second| rates.read(at(second), [second * 10, 0]));
        assert_eq!(rates.graph(0, 5), [0, 30, 40, 40, 10]);
        assert_eq!(rates.graph(0, 2), [40, 10]);
        assert_eq!(rates.graph(1, 2), [0, 0]);
        // A pause leaves empty columns.
        rates.read(at(21), [130, 0]);
        assert_eq!(rates.graph(0, 3), [10, 0, 10]);
        rates.read(at(100_000), [130, 0]);
        (100_001..102_000).for_each(|second| rates.read(at(second), [second, 1]));
        assert_eq!(rates.graph(0, 1_000).iter().filter(|bytes| **bytes > 0).count(), COLUMNS_MAX);
    }
}
