//! Rate limits: a token bucket for each direction, which all transfers of that direction share.
//!
//! Tokens are bytes that may be moved now. A bucket holds the tokens of at most a tenth of a second, so that the rate over any
//! ten seconds is within a few percent of the limit. A transfer that finds it empty waits until there are enough tokens for a
//! piece; transfers that wait get equal pieces.
//!
//! On a busy machine the loop may wake them late. The bucket then also holds the tokens of the time that they waited too long:
//! without these each delay of more than a tenth of a second would lower the rate.

use crate::driver::socket::Direction;
use crate::time::Instant;
use std::time::Duration;

/// A bucket holds the tokens of this time.
const BURST: Duration = Duration::from_millis(100);

/// The tokens of longer delays than this are lost, as those of a machine that was suspended.
const LATE_MAX: Duration = Duration::from_millis(500);

/// Transfers are woken for the tokens of this time.
const PIECE: Duration = Duration::from_millis(20);

/// Transfers never wait for more bytes than this.
const PIECE_BYTES_MAX: u64 = 64 * 1024;

/// Bytes a second, 0 for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RateLimits {
    pub upload: u64,
    pub download: u64,
}

#[derive(Debug)]
pub(crate) struct Pace {
    up: Bucket,
    down: Bucket,
}

impl Pace {
    pub(crate) fn new(limits: RateLimits, now: Instant) -> Self {
        Self { up: Bucket::new(limits.upload, now), down: Bucket::new(limits.download, now) }
    }

    pub(crate) fn set(&mut self, limits: RateLimits, now: Instant) {
        self.up.set(limits.upload, now);
        self.down.set(limits.download, now);
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        [self.up.wake_at, self.down.wake_at].into_iter().flatten().min()
    }

    pub(crate) fn bucket(&mut self, direction: Direction) -> &mut Bucket {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Bucket {
    /// Bytes a second; 0 for no limit.
    rate: u64,
    /// In thousandths of a byte: each millisecond then adds a whole number.
    tokens: u128,
    at: Instant,
    /// Transfers of this wake-up still to be served; the tokens are divided by this.
    sharers: u64,
    wake_at: Option<Instant>,
}

impl Bucket {
    fn new(rate: u64, now: Instant) -> Self {
        Self { rate, tokens: 0, at: now, sharers: 1, wake_at: None }
    }

    fn set(&mut self, rate: u64, now: Instant) {
        if rate != self.rate {
            *self = Self { sharers: self.sharers, wake_at: self.wake_at, ..Self::new(rate, now) };
        }
    }

    /// How many of `wanted` bytes may be moved now; 0 means to wait. Each transfer calls this once in its step.
    pub(crate) fn grant(&mut self, now: Instant, wanted: usize) -> usize {
        if self.rate == 0 {
            return wanted;
        }
        self.refill(now);
        let whole = self.tokens / 1_000;
        let share = (whole / u128::from(self.sharers)).max(u128::from(whole > 0));
        self.sharers = self.sharers.saturating_sub(1).max(1);
        wanted.min(usize::try_from(share).unwrap_or(usize::MAX))
    }

    pub(crate) fn spend(&mut self, bytes: usize) {
        if self.rate > 0 {
            self.tokens = self.tokens.saturating_sub(bytes as u128 * 1_000);
        }
    }

    /// Called when the first transfer waits: schedules the next wake-up, when there are tokens for a piece.
    pub(super) fn wait(&mut self, now: Instant) {
        self.wake_at = Some(self.next(now));
    }

    fn next(&mut self, now: Instant) -> Instant {
        if self.rate == 0 {
            return now;
        }
        self.refill(now);
        let piece = self.worth(PIECE).min(u128::from(PIECE_BYTES_MAX) * 1_000).max(1_000);
        let ms = piece.saturating_sub(self.tokens).div_ceil(u128::from(self.rate));
        now + Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX).max(1))
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.wake_at.is_some_and(|at| at <= now)
    }

    /// Called when this number of transfers is woken.
    pub(super) fn share_among(&mut self, now: Instant, waiting: usize) {
        self.refill(now);
        self.wake_at = None;
        self.sharers = waiting.max(1) as u64;
    }

    fn refill(&mut self, now: Instant) {
        let ms = now.saturating_since(self.at).as_millis();
        self.at = now;
        let late = self.wake_at.map_or(Duration::ZERO, |at| now.saturating_since(at).min(LATE_MAX));
        // At least one byte, or a small rate would never move any.
        let full = self.worth(BURST + late).max(1_000);
        // What a late wake-up brought may be more than the bucket holds otherwise.
        self.tokens = (self.tokens + ms * u128::from(self.rate)).min(full).max(self.tokens);
    }

    fn worth(&self, span: Duration) -> u128 {
        span.as_millis() * u128::from(self.rate)
    }
}

/// A limit, or our disk, is reported after it has held a transfer back for this long.
pub(crate) const HELD_MIN: Duration = Duration::from_millis(250);

/// Whether a rate limit, or our disk, holds a transfer back: at each step more bytes have arrived than it may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HeldBack {
    since: Option<Instant>,
    reported_at: Option<Instant>,
}

impl HeldBack {
    /// Everything that arrived is read: the peer sets the pace.
    pub(crate) fn on_drained(&mut self) {
        self.since = None;
    }

    /// All granted bytes are read, and there may be more. Returns whether to report now that the limit holds the transfer
    /// back.
    pub(crate) fn on_spent(&mut self, now: Instant, granted: usize) -> bool {
        if granted == 0 {
            // Other transfers used the tokens: it is unknown whether there was more to read.
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let is_due = now >= since + HELD_MIN && self.reported_at.is_none_or(|at| now >= at + HELD_MIN);
        if is_due {
            self.reported_at = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moves as much as `transfers` are let in `span` when each wake-up comes so late; returns what each moved.
    fn run(rate: u64, transfers: usize, span: Duration, late: Duration) -> Vec<u64> {
        let mut bucket = Bucket::new(rate, Instant::from_ms(0));
        let (mut now, end) = (Instant::from_ms(0), Instant::from_ms(0) + span);
        let mut moved = vec![0; transfers];
        while now < end {
            bucket.share_among(now, transfers);
            let mut at_full_speed = true;
            while at_full_speed {
                at_full_speed = false;
                for bytes in &mut moved {
                    let granted = bucket.grant(now, 256 * 1024);
                    bucket.spend(granted);
                    *bytes += granted as u64;
                    at_full_speed |= granted == 256 * 1024;
                }
            }
            bucket.wait(now);
            let next = bucket.wake_at.unwrap();
            assert!(next > now, "the loop must not spin");
            now = next + late;
        }
        moved
    }

    #[test]
    fn ten_seconds_are_exact_at_any_rate_and_equal_among_transfers() {
        for rate in [100, 1_000, 64 * 1024, 1_000_000, 10 << 20, 1 << 30] {
            for transfers in [1, 3, 16] {
                let moved = run(rate, transfers, Duration::from_secs(10), Duration::ZERO);
                let (sum, expected) = (moved.iter().sum::<u64>() as f64, (rate * 10) as f64);
                assert!((sum / expected - 1.0).abs() < 0.02, "{sum} of {expected} by {transfers} at {rate}");
                // With a full step each, the first would have more.
                if (64 * 1024..=10 << 20).contains(&rate) {
                    let (least, most) = (moved.iter().min().unwrap(), moved.iter().max().unwrap());
                    assert!(*most as f64 <= *least as f64 * 1.1, "{moved:?}");
                }
            }
        }
    }

    #[test]
    fn late_wake_ups_lower_no_rate_unless_they_are_later_than_half_a_second() {
        let rates = [200, 400, 900].map(|late| {
            let moved = run(1_000_000, 3, Duration::from_secs(10), Duration::from_millis(late));
            moved.iter().sum::<u64>() / 10
        });
        assert!(rates[..2].iter().all(|rate| (960_000..=1_040_000).contains(rate)), "{rates:?}");
        assert!((500_000..=700_000).contains(&rates[2]), "the bucket has an end: {rates:?}");
    }

    #[test]
    fn an_idle_bucket_saves_up_no_more_than_its_burst() {
        let mut bucket = Bucket::new(1_000_000, Instant::from_ms(0));
        assert_eq!(bucket.grant(Instant::from_ms(60_000), usize::MAX), 100_000);
        bucket.spend(100_000);
        assert_eq!(bucket.grant(Instant::from_ms(60_000), usize::MAX), 0);
        assert_eq!(bucket.grant(Instant::from_ms(60_001), usize::MAX), 1_000);
    }

    #[test]
    fn without_a_limit_everything_passes_and_a_new_limit_takes_effect_at_once() {
        let start = Instant::from_ms(5);
        let mut pace = Pace::new(RateLimits::default(), start);
        assert_eq!(pace.bucket(Direction::Up).grant(start, 1 << 20), 1 << 20);
        pace.set(RateLimits { upload: 0, download: 10_000 }, start);
        assert_eq!(pace.bucket(Direction::Up).grant(start, 1 << 20), 1 << 20);
        assert_eq!(pace.bucket(Direction::Down).grant(start, 1 << 20), 0);
        assert_eq!(pace.bucket(Direction::Down).grant(start + Duration::from_millis(50), 1 << 20), 500);
    }

    #[test]
    fn a_transfer_is_paced_only_while_more_is_available_than_it_may_read() {
        let (mut held, start) = (HeldBack::default(), Instant::from_ms(1_000));
        let told = |held: &mut HeldBack, ms| held.on_spent(start + Duration::from_millis(ms), 22);
        assert_eq!([0, 100, 200, 300, 400, 500, 600].map(|ms| told(&mut held, ms)), {
            [false, false, false, true, false, false, true]
        });
        held.on_drained();
        assert_eq!([900, 1_100].map(|ms| told(&mut held, ms)), [false, false], "all that came was read meanwhile");
        assert!(!held.on_spent(start + Duration::from_secs(9), 0), "nothing was granted");
        assert!(told(&mut held, 9_000));
    }
}
