//! Random numbers, as a function of the seed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};
use std::time::Duration;

pub(in crate::node) struct Rng(ChaCha8Rng);

impl Rng {
    pub(in crate::node) fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha8Rng::from_seed(seed))
    }

    pub(in crate::node) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Evenly from half to one and a half of a span.
    pub(in crate::node) fn spread(&mut self, span: Duration) -> Duration {
        let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX / 2);
        Duration::from_millis(ms / 2 + self.number() % (ms + 1))
    }

    /// Evenly from zero to a span.
    pub(in crate::node) fn up_to(&mut self, span: Duration) -> Duration {
        let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX - 1);
        Duration::from_millis(self.number() % (ms + 1))
    }

    /// The wait after this number of failures: doubles from `min` to `max`, and is spread evenly from half to one and a half of
    /// that, within these bounds.
    pub(in crate::node) fn back_off(&mut self, failures: u32, min: Duration, max: Duration) -> Duration {
        let doubled = min.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(max);
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX / 2);
        let (least, most) = (ms(min.max(doubled / 2)), ms(max.min(doubled.saturating_mul(3) / 2)));
        Duration::from_millis(least + self.number() % (most.saturating_sub(least) + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_stay_within_their_bounds_with_jitter() {
        let mut rng = Rng::new([7; 32]);
        let (min, max) = (Duration::from_secs(5), Duration::from_secs(60));
        for (failures, middle) in [(0, 5), (1, 5), (2, 10), (4, 40), (5, 60), (9, 60), (u32::MAX, 60)] {
            let waits: Vec<Duration> = (0..200).map(|_| rng.back_off(failures, min, max)).collect();
            for wait in &waits {
                assert!((min..=max).contains(wait), "{wait:?} after {failures}");
                assert!(*wait * 2 >= Duration::from_secs(middle), "{wait:?} after {failures}");
                assert!(*wait * 2 <= Duration::from_secs(middle * 3), "{wait:?} after {failures}");
            }
            let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            assert!(*most - *least > Duration::from_secs(middle) / 3, "spread after {failures}: {least:?} to {most:?}");
        }
    }

    #[test]
    fn a_seed_replays_its_numbers() {
        let draw = |seed| {
            let mut rng = Rng::new([seed; 32]);
            [rng.number(), rng.number()]
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
