//! How long something took, counted by length: enough for percentiles, whatever the number of values.

use crate::control::{SpansBelow, SpansReply, TimesReply};
use std::time::Duration;

/// Each power of two is divided into so many buckets: a percentile is told at most a sixteenth too high.
const PARTS: u64 = 16;

/// The first power of two that is divided. Below it each microsecond has its bucket.
const FIRST: u32 = PARTS.ilog2();

/// Buckets, up to 2^36 us (19 h), which is counted like all that is longer.
const BUCKETS: usize = (PARTS * (36 - FIRST as u64 + 1)) as usize;

/// The powers of two, in microseconds, below which the values are told: from 64 us to 17 s. A bucket begins at each.
const TOLD: [u32; 10] = [6, 8, 10, 12, 14, 16, 18, 20, 22, 24];

pub(super) struct Histogram {
    buckets: [u64; BUCKETS],
    count: u64,
    sum_us: u64,
    max_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], count: 0, sum_us: 0, max_us: 0 }
    }
}

impl Histogram {
    pub(super) fn record(&mut self, span: Duration) {
        let us = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(us)] += 1;
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(us);
        self.max_us = self.max_us.max(us);
    }

    pub(super) fn reply(&self) -> TimesReply {
        TimesReply {
            count: self.count,
            p50_us: self.percentile(500),
            p99_us: self.percentile(990),
            p999_us: self.percentile(999),
            max_us: self.max_us,
        }
    }

    pub(super) fn spans(&self) -> SpansReply {
        let below = |power: u32| {
            let us = 1 << power;
            SpansBelow { us, count: self.buckets[..bucket_of(us)].iter().sum() }
        };
        SpansReply { count: self.count, sum_us: self.sum_us, less_than: TOLD.map(below).to_vec() }
    }

    /// The length that so many thousandths of the values do not exceed; 0 without a value.
    fn percentile(&self, thousandths: u64) -> u64 {
        let wanted = (u128::from(self.count) * u128::from(thousandths)).div_ceil(1_000);
        let mut seen = 0;
        let found = self.buckets.iter().position(|count| {
            seen += u128::from(*count);
            seen >= wanted
        });
        found.map_or(self.max_us, |bucket| end_of(bucket).min(self.max_us))
    }
}

fn bucket_of(us: u64) -> usize {
    if us < PARTS {
        return us as usize;
    }
    let power = us.ilog2();
    let part = (us >> (power - FIRST)) - PARTS;
    let bucket = u64::from(power - FIRST + 1) * PARTS + part;
    (bucket as usize).min(BUCKETS - 1)
}

/// The longest span in microseconds that is counted in a bucket.
fn end_of(bucket: usize) -> u64 {
    let (power, part) = (bucket as u64 / PARTS, bucket as u64 % PARTS);
    match power.checked_sub(1) {
        None => part,
        Some(shift) => ((PARTS + part + 1) << shift) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_in_a_bucket_that_ends_a_sixteenth_later_at_most() {
        let mut last = 0;
        for us in (0..65_535).chain((16..36).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1])) {
            let (bucket, end) = (bucket_of(us), end_of(bucket_of(us)));
            assert!(us <= end && end - us <= us / PARTS, "{us} us is in a bucket that ends at {end}");
            assert!(bucket >= last, "{us}");
            last = bucket;
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut times = Histogram::default();
        assert_eq!(times.reply(), TimesReply::default());
        (1..=1_000).for_each(|ms| times.record(Duration::from_millis(ms)));
        let reply = times.reply();
        assert_eq!((reply.count, reply.max_us), (1_000, 1_000_000));
        for (told, exact) in [(reply.p50_us, 500_000), (reply.p99_us, 990_000), (reply.p999_us, 999_000)] {
            assert!((exact..=exact + exact / PARTS).contains(&told), "{told} us is told of {exact}");
        }
        let mut one = Histogram::default();
        one.record(Duration::from_micros(300));
        let of_one = one.reply();
        assert_eq!([of_one.p50_us, of_one.p99_us, of_one.p999_us, of_one.max_us], [300; 4], "never above the longest");
        let below: Vec<(u64, u64)> = times.spans().less_than.iter().map(|below| (below.us, below.count)).collect();
        let expected = [(1 << 10, 1), (1 << 12, 4), (1 << 14, 16), (1 << 16, 65), (1 << 18, 262), (1 << 20, 1_000)];
        assert_eq!(below[..2], [(1 << 6, 0), (1 << 8, 0)]);
        assert_eq!((&below[2..8], below.len()), (&expected[..], TOLD.len()));
        assert_eq!((times.spans().count, times.spans().sum_us), (1_000, 500_500_000));
        let mut long = Histogram::default();
        long.record(Duration::from_secs(1 << 40));
        assert_eq!(long.reply().max_us, 1_000_000 << 40);
    }
}
