//! What the loop knows for control calls: the configuration that is reloaded, rate limits, the registry, its part of a status.

use super::front::Caller;
use super::net::RateLimits;
use super::{Driver, Reload};
use crate::control::{
    BootstrapReply, CallError, ExitCode, PAGE_ROWS_MAX, Problem, RegistryPage, RegistryRow, ReloadReply, Reply,
    ServedReply, StatusReply,
};
use crate::node::contract::ShareChanges;
use crate::node::{Event, NodeConfig};
use crate::time::WallClock;
use std::net::SocketAddr;
use std::time::Duration;

impl Driver {
    /// Begins a reload, or has one follow that which runs. The host logs how it went.
    pub(super) fn begin_reload(&mut self, caller: Option<Caller>) {
        match self.front.begin_reload(caller) {
            Ok(job) => job.into_iter().for_each(|job| self.disk.read_configuration(job)),
            Err(((client, call), error)) => self.reply(client, &call, &Err(error)),
        }
    }

    pub(super) fn on_configuration_read(&mut self) {
        let outcome = match self.front.host().reloaded() {
            Ok(reload) => Ok(Reply::Reload(self.put_in_force(reload))),
            Err(error) => Err(CallError::new(ExitCode::Other, error)),
        };
        if let Some(next) = self.front.end_reload(&outcome, &mut self.cx) {
            self.disk.read_configuration(next);
        }
    }

    /// Listeners stay where they are.
    fn put_in_force(&mut self, reload: Reload) -> ReloadReply {
        let Reload { node: mut config, limits, limit_times, report } = reload;
        self.rate_orders.configure(limits, limit_times, self.clock.wall().epoch_ms(self.cx.now));
        config.listen = self.facts.listen.unwrap_or(config.listen);
        config.local_addrs = self.local_addrs();
        // Nothing that the disk reports from now on is of what is not shared any more.
        let changes = ShareChanges::between(&self.node.config().shares, &config.shares);
        if !changes.is_empty() {
            self.disk.share_others(&config.shares, &changes, &mut self.cx);
        }
        self.reconfigure(config);
        // Downloads may go elsewhere from now on.
        self.disk.look_at_directories(self.node.config(), &self.cx);
        report
    }

    /// Changes rate limits, or only tells which are in force.
    pub(super) fn limit_rates(&mut self, down: Option<u64>, up: Option<u64>, reset: bool) -> Result<Reply, CallError> {
        if !self.node.config().peer {
            return Err(Problem::BootstrapOnly.into());
        }
        let before = self.rate_orders.in_force();
        self.rate_orders.order(down, up, reset);
        let RateLimits { upload, download } = self.rate_orders.in_force();
        if before != self.rate_orders.in_force() {
            log::info!(upload_limit = upload, download_limit = download; "rate limits changed by a control client");
            self.reconfigure(self.node.config().clone());
        }
        Ok(Reply::Limit(self.rate_orders.reply()))
    }

    /// Puts the limits in force that the configuration has for this time of the week.
    pub(super) fn follow_limit_times(&mut self, wall: WallClock) {
        if self.rate_orders.pass_time(wall.epoch_ms(self.cx.now)) {
            let RateLimits { upload, download } = self.rate_orders.in_force();
            log::info!(upload_limit = upload, download_limit = download; "rate limits changed by the time of the week");
            self.reconfigure(self.node.config().clone());
        }
    }

    /// Gives the node a configuration, with the rate limits in force.
    pub(super) fn reconfigure(&mut self, config: NodeConfig) {
        let limits = self.rate_orders.in_force();
        self.net.set_limits(limits, self.cx.now);
        let config = NodeConfig { upload_limit: limits.upload, download_limit: limits.download, ..config };
        self.node.handle(self.cx.now, Event::Reconfigure(Box::new(config)));
    }

    /// Adds to a status what the loop and the program around it know.
    pub(super) fn complete(&mut self, status: &mut StatusReply) {
        (status.turns, status.job_waits) = (self.turns.reply(), self.disk.job_waits().reply());
        status.sandbox = self.front.host().sandbox();
        status.limits = self.node.config().peer.then(|| self.rate_orders.reply());
        status.watch = self.disk.watched();
        // For the node these uploads have begun.
        let waiting = self.waiting_for_descriptors();
        status.uploads_active = status.uploads_active.saturating_sub(waiting);
        status.commands_queued += waiting;
        let served = self.facts.bootstrap.zip(self.bootstrap.as_ref());
        status.registry = served.map(|(listen, bootstrap)| ServedReply { listen, count: bootstrap.count() as u64 });
    }

    pub(super) fn bootstrap_reply(&self, after: Option<SocketAddr>) -> Reply {
        let registry = self.bootstrap.as_ref().map(|bootstrap| {
            let (rows, next) = bootstrap.page(self.cx.now, after, PAGE_ROWS_MAX as usize);
            let row = |(addr, left): (SocketAddr, Duration)| RegistryRow {
                addr,
                expires_in_s: left.as_secs(),
                answered: bootstrap.answered(addr),
            };
            RegistryPage {
                peers: rows.into_iter().map(row).collect(),
                count: bootstrap.count() as u64,
                checks: self.registry_checks(),
                next,
            }
        });
        Reply::Bootstrap(BootstrapReply { links: self.node.links(self.cx.now), registry })
    }
}
