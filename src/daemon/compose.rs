//! From a configuration to a loop that is ready to run.

use super::config::Config;
use super::fault::{Fault, Origins};
use super::preflight::check_start;
use super::probe::Probed;
use crate::driver::{Driver, Host, Passed, Settings};
use crate::store::StateDirectory;
use std::path::PathBuf;

/// Binds everything that a configuration asks for. Its paths must be settled.
/// `passed`: sockets that the process was started with, if this is the process of the daemon; then its signals are for it.
pub(super) fn compose(
    config: &Config,
    origins: &Origins,
    probed: &Probed,
    host: Box<dyn Host>,
    passed: Option<Passed>,
) -> Result<Box<Driver>, Fault> {
    for remark in check_start(config, origins, probed)? {
        log::warn!("{remark}");
    }
    if config.peer && config.has_default_share() {
        let path = &config.local_directory;
        std::fs::create_dir_all(path).map_err(|error| Fault::Share { path: path.clone(), error })?;
    }
    let open = |path: &PathBuf| StateDirectory::open(path).map_err(|fault| Fault::State { path: path.clone(), fault });
    let settings = Settings {
        node: config.node(),
        listen: config.listen(),
        bootstrap_serve: config.serve(),
        bootstrap_optional: config.on_this_machine_alone(),
        bootstrap_verify: config.bootstrap_verify,
        interface: config.interface(),
        share: config.local_directory.clone(),
        follow_symlinks: config.follow_symlinks,
        watch_directory: config.watch_directory.clone().filter(|_| config.peer),
        state: config.state_directory.as_ref().map(open).transpose()?,
        control_socket: config.control_socket.clone(),
        metrics_listen: config.metrics_listen,
        limits: config.limits(),
        limit_times: config.limit_times(),
        signals: passed.is_some(),
        passed: passed.unwrap_or_default(),
        seed: None,
    };
    Ok(Driver::start(settings, host)?)
}
