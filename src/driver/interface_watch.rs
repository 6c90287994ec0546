//! Whether the interface that all sockets are bound to is there.
//!
//! A socket stays bound to the interface that had the name when it was made. So listeners are made again when the interface has been
//! made again, which is noticed within [`LOOK_EVERY`]. Its addresses may come later. Connections cannot move: they are broken off, and
//! the node makes others.

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
    /// The place in the table of connections from which on they are still to be broken off.
    break_off_from: Option<usize>,
}

impl Watch {
    /// `None` if no interface is named.
    pub(super) fn new(interface: &Interface, now: Instant) -> Option<Self> {
        interface.name()?;
        Some(Self { index: interface.index(), failed: None, look_at: now + LOOK_EVERY, break_off_from: None })
    }

    pub(super) fn next_deadline(&self) -> Instant {
        self.look_at
    }

    /// Whether connections are still to be broken off.
    pub(super) fn has_work(&self) -> bool {
        self.break_off_from.is_some()
    }
}

impl Driver {
    /// Looks, when that is due, whether the interface is still the one that the listeners are bound to.
    pub(super) fn look_at_interface(&mut self) {
        self.break_off_connections();
        let now = self.cx.now;
        let Some(watch) = self.interface.as_mut().filter(|watch| watch.look_at <= now) else { return };
        watch.look_at = now + LOOK_EVERY;
        let interface = self.net.interface().clone();
        let (index, name) = (interface.index(), interface.name().unwrap_or_default());
        if index != watch.index {
            if watch.index.is_some() {
                watch.break_off_from = Some(0);
            }
            watch.index = index;
            match index {
                None => {
                    warn!(interface:% = name; "the interface is gone: no connection is made or accepted until it is back")
                }
                Some(_) => info!(interface:% = name; "the interface is back"),
            }
            // Before the node makes others.
            self.break_off_connections();
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

    /// Some of those that are bound to an interface that is gone; no packet comes or leaves by them any more.
    fn break_off_connections(&mut self) {
        let Some(from) = self.interface.as_ref().and_then(|watch| watch.break_off_from) else { return };
        let next = self.net.lose_interface(from, self.disk.open_parts(), &mut self.cx);
        self.interface.iter_mut().for_each(|watch| watch.break_off_from = next);
        self.carry_out();
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
