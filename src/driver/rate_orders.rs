//! The rate limits in force: those of the configuration, unless a control client has ordered others until the next start.

use super::net::RateLimits;
use crate::control::{LimitReply, LimitRow};

#[derive(Debug, Clone, Copy)]
pub(super) struct RateOrders {
    configured: RateLimits,
    /// As ordered; a reload does not change them.
    up: Option<u64>,
    down: Option<u64>,
}

impl RateOrders {
    pub(super) fn new(configured: RateLimits) -> Self {
        Self { configured, up: None, down: None }
    }

    pub(super) fn configure(&mut self, configured: RateLimits) {
        self.configured = configured;
    }

    /// A limit that is not given stays as it is; with `reset`, as configured.
    pub(super) fn order(&mut self, down: Option<u64>, up: Option<u64>, reset: bool) {
        self.down = down.or(self.down.filter(|_| !reset));
        self.up = up.or(self.up.filter(|_| !reset));
    }

    pub(super) fn in_force(&self) -> RateLimits {
        RateLimits {
            upload: self.up.unwrap_or(self.configured.upload),
            download: self.down.unwrap_or(self.configured.download),
        }
    }

    pub(super) fn reply(&self) -> LimitReply {
        let row = |ordered: Option<u64>, configured: u64| LimitRow {
            in_force: ordered.unwrap_or(configured),
            configured,
            until_restart: ordered.is_some_and(|ordered| ordered != configured),
        };
        LimitReply { down: row(self.down, self.configured.download), up: row(self.up, self.configured.upload) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_ordered_stays_over_a_reload_and_is_reset_alone_or_with_another_order() {
        let shown = |orders: &RateOrders| {
            let RateLimits { upload, download } = orders.in_force();
            let LimitReply { down, up } = orders.reply();
            assert_eq!((down.in_force, up.in_force), (download, upload));
            ((download, down.until_restart), (upload, up.until_restart))
        };
        let mut orders = RateOrders::new(RateLimits { upload: 5, download: 0 });
        assert_eq!(shown(&orders), ((0, false), (5, false)));
        orders.order(Some(7), None, false);
        orders.order(None, Some(0), false);
        assert_eq!(shown(&orders), ((7, true), (0, true)));
        orders.configure(RateLimits { upload: 9, download: 7 });
        assert_eq!(shown(&orders), ((7, false), (0, true)));
        orders.order(None, Some(3), true);
        orders.configure(RateLimits { upload: 9, download: 1 });
        assert_eq!(shown(&orders), ((1, false), (3, true)));
        orders.order(None, None, true);
        assert_eq!(shown(&orders), ((1, false), (9, false)));
    }
}
