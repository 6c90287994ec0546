//! Whether the interface that all sockets are bound to is there.
//!
//! A socket stays bound to the interface that had the name when it was made. So listeners are made again when the interface has been
//! made again, which is noticed within [`LOOK_EVERY`].

use super::Driver;
use super::cx::Phase;
use super::interface::Interface;
use super::local_addrs::local_addrs;
use crate::node::NodeConfig;
use crate::time::Instant;
use log::{info, warn};
use std::net::IpAddr;
use std::time::Duration;

/// How often the interface is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What the loop knows of the interface.
pub(super) struct Watch {
    interface: Interface,
    /// Its number when the listeners were made, or since; `None` while it is not there.
    index: Option<u32>,
    /// Listeners are to be made again.
    listens_late: bool,
    look_at: Instant,
}

impl Watch {
    /// `None` if no interface is named.
    pub(super) fn new(interface: &Interface, now: Instant) -> Option<Self> {
        interface.name()?;
        let index = interface.index();
        Some(Self { interface: interface.clone(), index, listens_late: false, look_at: now + LOOK_EVERY })
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
        let (index, name) = (watch.interface.index(), watch.interface.name().unwrap_or_default().to_owned());
        if index != watch.index {
            watch.index = index;
            match index {
                None => {
                    warn!(interface:% = name; "the interface is gone: no connection is made or accepted until it is back")
                }
                Some(_) => info!(interface:% = name; "the interface is back"),
            }
            watch.listens_late = true;
            let config = self.node.config().clone();
            self.reconfigure(NodeConfig { local_addrs: self.local_addrs(), ..config });
        }
        let is_running = matches!(self.cx.phase, Phase::Running);
        let late = |watch: &&mut Watch| watch.listens_late && watch.index.is_some() && is_running;
        let Some(watch) = self.interface.as_mut().filter(late) else { return };
        match self.net.listen_again(&watch.interface) {
            Ok(()) => watch.listens_late = false,
            // Its addresses may come later than the interface.
            Err(error) => warn!(interface:% = name; "cannot listen at the interface yet: {error}"),
        }
    }

    /// The addresses of this machine that connections use.
    pub(super) fn local_addrs(&self) -> Vec<IpAddr> {
        let any = Interface::default();
        local_addrs(self.interface.as_ref().map_or(&any, |watch| &watch.interface))
    }
}
