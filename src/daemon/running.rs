//! The configuration that a daemon runs with, and how a reload changes it.

use super::config::Config;
use super::keys::{InForceFrom, KEYS, Key, UsedBy};
use super::share_waits::WaitingShare;
use crate::control::{ChangedKey, ReloadReply, WaitingKey};
use crate::driver::{Facts, RateTimes, Reload};
use serde_json::Value;

/// The configuration in force: keys that need a restart have the values of the start, all others those of the last
/// reload.
#[derive(Debug)]
pub(super) struct Running {
    config: Config,
    /// Whether the start found no other bootstrap node named. A daemon that was started with one does not become alone by a
    /// reload.
    started_alone: bool,
    /// The ports of listeners that were configured with port 0.
    bound: Bound,
    later: Later,
}

/// What of a configuration a daemon that runs cannot put in force, beside the keys that need a restart.
#[derive(Debug, Default)]
pub(super) struct Later {
    /// Keys whose value lies outside of the sandbox.
    pub(super) outside: Vec<&'static str>,
    pub(super) shares: Vec<WaitingShare>,
}

/// Ports that the system has picked.
#[derive(Debug, Default)]
struct Bound {
    listen_port: Option<u16>,
    bootstrap_port: Option<u16>,
    /// Our own bootstrap node does not run: another one uses its address.
    gave_way: bool,
}

impl Running {
    /// A daemon that is started with this configuration.
    pub(super) fn new(config: Config) -> Self {
        Self { started_alone: config.on_this_machine_alone(), config, bound: Bound::default(), later: Later::default() }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// The values that a reload passes to the loop.
    pub(super) fn reload(&self, limit_times: RateTimes, report: ReloadReply) -> Reload {
        let mut reload = self.config.reload(limit_times, report);
        if self.lacks_bootstrap() {
            // The bootstrap node of a node that is alone would be at our own port, where nobody serves.
            reload.node.bootstraps.clear();
        }
        reload.node.shares.extend(self.later.shares.iter().filter_map(WaitingShare::place));
        reload
    }

    /// Whether no bootstrap node is named any more, and none is served.
    fn lacks_bootstrap(&self) -> bool {
        self.config.on_this_machine_alone() && !self.started_alone
    }

    /// The configuration in force, with the defaults written out that depend on other keys.
    fn resolved(&self) -> Config {
        let resolved = self.config.resolved();
        if self.lacks_bootstrap() { Config { bootstrap_serve: None, ..resolved } } else { resolved }
    }

    pub(super) fn on_bound(&mut self, facts: &Facts) {
        self.bound.listen_port = facts.listen.filter(|_| self.config.listen_port == 0).map(|addr| addr.port());
        self.bound.gave_way = self.started_alone && facts.bootstrap.is_none();
        let any_port = self.config.serve().is_some_and(|serve| serve.port() == 0);
        self.bound.bootstrap_port = facts.bootstrap.filter(|_| any_port).map(|addr| addr.port());
    }

    /// The log level was changed without a reload.
    pub(super) fn set_log_level(&mut self, level: log::LevelFilter) {
        self.config.log_level = level;
    }

    /// As [`Running::apply`], with what cannot be put in force.
    pub(super) fn apply_within(&mut self, next: &Config, later: Later) -> ReloadReply {
        self.later = later;
        let mut report = self.apply(next);
        let remark =
            |key: &&str| format!("{key}: the new value lies outside of the sandbox, which the next start extends");
        report.remarks.extend(self.later.outside.iter().map(remark));
        report.remarks.extend(self.later.shares.iter().map(WaitingShare::remark));
        report
    }

    /// Puts a configuration in force, except for keys that need a restart, and reports what changed.
    pub(super) fn apply(&mut self, next: &Config) -> ReloadReply {
        let before = self.as_bound();
        self.config = self.merged(next);
        let after = self.as_bound();
        let changed = KEYS.iter().filter_map(|key| changed(key, &before, &after)).collect();
        let waiting = KEYS.iter().filter_map(|key| self.waiting(key, next)).collect();
        ReloadReply { changed, waiting, remarks: self.remarks_on_unused(next), ..ReloadReply::default() }
    }

    /// What runs after a reload of `next`. Keys without effect in this node keep their values.
    fn merged(&self, next: &Config) -> Config {
        let running = self.resolved();
        let mut merged = next.clone();
        let waits = |key: &&Key| key.in_force_from == InForceFrom::NextStart || self.later.outside.contains(&key.name);
        for key in KEYS.iter().filter(waits) {
            (key.copy)(&mut merged, &running);
        }
        merged.share.retain(|share| self.later.shares.iter().all(|waiting| waiting.share != *share));
        if (&merged.local_directory, merged.follow_symlinks) != (&next.local_directory, next.follow_symlinks) {
            // The next audience is meant for what is shared then.
            merged.audience = running.audience.common(&next.audience);
        }
        let uses: Vec<bool> = KEYS.iter().map(|key| merged.uses(key)).collect();
        for (key, _) in KEYS.iter().zip(uses).filter(|(_, uses)| !uses) {
            (key.copy)(&mut merged, &running);
        }
        merged
    }

    /// Whether a key has an effect in the node that runs.
    fn uses(&self, key: &Key) -> bool {
        self.config.uses(key) || self.started_alone && key.used_by == UsedBy::BootstrapAddr
    }

    /// A warning for each group of changed keys that have no effect, neither now nor after the next start.
    fn remarks_on_unused(&self, next: &Config) -> Vec<String> {
        let differs =
            |key: &&Key| !self.uses(key) && !next.uses(key) && !(key.same)(&next.resolved(), &self.resolved());
        let unused: Vec<&Key> = KEYS.iter().filter(differs).collect();
        let reasons = [
            (UsedBy::Peer, "on a bootstrap node alone"),
            (UsedBy::BootstrapAddr, "without bootstrap_addr"),
            (UsedBy::BootstrapNode, "on a node that does not serve as a bootstrap node"),
        ];
        let remark = |(used_by, why): (UsedBy, &str)| {
            let keys: Vec<&str> = unused.iter().filter(|key| key.used_by == used_by).map(|key| key.name).collect();
            (!keys.is_empty()).then(|| format!("without effect {why}: {}", keys.join(", ")))
        };
        reasons.into_iter().filter_map(remark).collect()
    }

    /// The configuration in force with all values written out, ports included that were picked.
    fn as_bound(&self) -> Config {
        let mut bound = self.resolved();
        if self.bound.gave_way {
            bound.bootstrap_serve = None;
        }
        bound.listen_port = self.bound.listen_port.unwrap_or(bound.listen_port);
        if let (Some(serve), Some(port)) = (&mut bound.bootstrap_serve, self.bound.bootstrap_port) {
            serve.set_port(port);
        }
        bound
    }

    fn waiting(&self, key: &Key, next: &Config) -> Option<WaitingKey> {
        let [configured, running, bound] = [next.resolved(), self.resolved(), self.as_bound()];
        let waits = next.uses(key) && ![running, bound.clone()].iter().any(|config| (key.same)(&configured, config));
        let in_force = if self.uses(key) { value(&(key.show)(&bound)) } else { Value::Null };
        waits.then(|| WaitingKey { key: key.name.to_owned(), in_force, next_start: value(&(key.show)(&configured)) })
    }
}

fn changed(key: &Key, before: &Config, after: &Config) -> Option<ChangedKey> {
    let [was, in_force] = [before, after].map(|config| value(&(key.show)(config)));
    (!(key.same)(before, after)).then(|| ChangedKey { key: key.name.to_owned(), was, in_force })
}

/// A value that is written as TOML. The empty string is how a key without a value is written.
fn value(shown: &str) -> Value {
    let parsed = shown.parse::<toml::Value>().ok();
    let value = parsed.and_then(|value| serde_json::to_value(value).ok());
    value.filter(|value| value != "").unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests;
