//! Whether the interface that all sockets are bound to is there.
//!
//! A socket stays bound to the interface that had the name when it was made. So listeners are made again when the interface has been
//! made again, which is noticed within [`LOOK_EVERY`]. Its addresses may come later.

use super::Driver;
use super::cx::Phase;
use super::interface::Interface;
use super::local_addrs::local_addrs;
use crate::node::NodeConfig;
use crate::time::Instant;
use log::{info, warn};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// How often the interface is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What the loop knows of the interface.
pub(super) struct Watch {
    /// Its number at the last look; `None` while it is not there.
    index: Option<u32>,
    /// Why listeners could not be made again at the last look.
    failed: Option<io::ErrorKind>,
    look_at: Instant,
}

impl Watch {
    /// `None` if no interface is named.
    pub(super) fn new(interface: &Interface, now: Instant) -> Option<Self> {
        interface.name()?;
        Some(Self { index: interface.index(), failed: None, look_at: now + LOOK_EVERY })
    }

    pub(super) fn next_deadline(&self) -> Instant {
        self.look_at
    }
}

impl Driver {
    /// Looks, when that is due, whether the interface is still the one that the listeners are bound to.
    pub(super) fn look_at_interface(&mut self) {
        let now = self.cx.now;
        let Some(watch) = self.interface.as_mut().filter(|watch| watch.look_at <= now) else { return };
        watch.look_at = now + LOOK_EVERY;
        let interface = self.net.interface().clone();
        let (index, name) = (interface.index(), interface.name().unwrap_or_default());
        if index != watch.index {
            watch.index = index;
            match index {
                None => {
                    warn!(interface:% = name; "the interface is gone: no connection is made or accepted until it is back")
                }
                Some(_) => info!(interface:% = name; "the interface is back"),
            }
        }
        let config = self.node.config();
        let local_addrs = self.local_addrs();
        if local_addrs != config.local_addrs {
            let config = NodeConfig { local_addrs, ..config.clone() };
            self.reconfigure(config);
        }
        if index.is_some() && matches!(self.cx.phase, Phase::Running) {
            self.listen_again(&interface);
        }
    }

    fn listen_again(&mut self, interface: &Interface) {
        let outcome = self.net.listen_again().and(self.front.listen_again(interface, self.net.registry()));
        let Some(watch) = &mut self.interface else { return };
        let failed = outcome.as_ref().err().map(io::Error::kind);
        if let Err(error) = outcome
            && failed != watch.failed
        {
            let name = interface.name().unwrap_or_default();
            warn!(interface:% = name; "cannot listen at the interface yet; this is tried again: {error}");
        }
        watch.failed = failed;
    }

    /// The addresses of this machine that connections use.
    pub(super) fn local_addrs(&self) -> Vec<IpAddr> {
        local_addrs(self.net.interface())
    }
}
