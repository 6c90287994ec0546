//! Rates that are shown stay within the limit.

/// What may be shown of measured rates: bytes are counted when they are reported, so that what is measured may exceed
/// the limit for a moment, though what comes does not.
#[derive(Debug, Clone, Copy)]
pub(super) struct RateCap {
    /// Bytes a second; 0 for no limit.
    pub(super) limit: u64,
    /// What was measured of all together.
    pub(super) measured: u64,
}

impl RateCap {
    /// So that all that are shown together stay within the limit.
    pub(super) fn of(self, rate: u64) -> u64 {
        if self.limit == 0 || self.measured <= self.limit {
            return rate;
        }
        let share = u128::from(rate) * u128::from(self.limit) / u128::from(self.measured);
        u64::try_from(share).unwrap_or(rate)
    }
}
