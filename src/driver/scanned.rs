//! Connections that came before the daemon, to a listener that it was given, wait for the first scan: until then nothing is
//! shared, and each would be refused.

use super::Driver;
use std::time::Duration;

/// They wait no longer than this: the disk of the share may hang, and peers ask for more than files.
pub(super) const HELD_MAX: Duration = Duration::from_secs(10);

impl Driver {
    /// Lets them in when the share has been scanned.
    pub(super) fn release_held(&mut self) {
        if self.held_until.is_some_and(|until| until <= self.cx.now || !self.node.is_scanning()) {
            self.held_until = None;
            self.net.release_listeners();
        }
    }
}
