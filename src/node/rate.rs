//! Bytes over the last seconds.

use crate::node::limits::{RATE_SAMPLES_MAX, RATE_SPAN, RATE_SPAN_MIN};
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// Least time between measurements that are kept.
const SPACING: Duration = Duration::from_millis(RATE_SPAN.as_millis() as u64 / RATE_SAMPLES_MAX as u64 + 10);

/// What a count of bytes was at some moments of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    /// Something begins to come, at this count.
    pub(super) fn start(&mut self, now: Instant, bytes: u64) {
        self.0.clear();
        self.0.push_back((now, bytes));
    }

    pub(super) fn note(&mut self, now: Instant, bytes: u64) {
        let crowded = self.0.len() > 1 && self.0.get(self.0.len() - 2).is_some_and(|(at, _)| *at + SPACING > now);
        if crowded {
            // However often bytes come, the measurements kept cover the span.
            self.0.pop_back();
        }
        self.0.push_back((now, bytes));
        // The newest measurement from before the span is the one to measure against.
        while self.0.len() > RATE_SAMPLES_MAX || self.0.get(1).is_some_and(|(at, _)| *at + RATE_SPAN <= now) {
            self.0.pop_front();
        }
    }

    /// Bytes per second, now that the count is this. In the first moments, of the whole of [`RATE_SPAN_MIN`].
    pub(super) fn per_second(&self, now: Instant, bytes: u64) -> Option<u64> {
        let (at, before) = self.0.front()?;
        let span = now.saturating_since(*at);
        let ms = if span.is_zero() { 0 } else { span.max(RATE_SPAN_MIN).as_millis() };
        let rate = (u128::from(bytes.saturating_sub(*before)) * 1_000).checked_div(ms)?;
        Some(u64::try_from(rate).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_in_the_first_moment_is_no_rate_of_many_times_as_much() {
        let (mut rate, start) = (Rate::default(), Instant::from_ms(10_000));
        rate.start(start, 0);
        for ms in [1, 2, 10, 100] {
            let now = start + Duration::from_millis(ms);
            rate.note(now, 65_536);
            assert_eq!(rate.per_second(now, 65_536), Some(65_536), "after {ms} ms");
        }
    }

    #[test]
    fn a_rate_follows_the_last_seconds() {
        let (mut rate, start) = (Rate::default(), Instant::from_ms(10_000));
        assert_eq!(rate.per_second(start, 0), None);
        rate.start(start, 500);
        assert_eq!(rate.per_second(start, 500), None, "no time has passed");
        for second in 1..=10 {
            rate.note(start + Duration::from_secs(second), 500 + second * 1_000);
        }
        let then = start + Duration::from_secs(10);
        assert_eq!(rate.per_second(then, 10_500), Some(1_000));
        assert_eq!(rate.per_second(then + Duration::from_secs(3), 10_500), Some(500), "a stall lowers it");
        for ms in 0..10_000 {
            rate.note(then + Duration::from_millis(ms), 10_500 + ms * 2);
        }
        assert!(rate.0.len() <= RATE_SAMPLES_MAX);
        assert_eq!(rate.per_second(then + Duration::from_secs(10), 30_500), Some(2_000));
        assert!(rate.0[0].0 <= then + Duration::from_secs(7), "over the whole span");
    }
}
