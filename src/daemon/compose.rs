//! From a configuration to a running loop, and what can be in the way.

use super::config::Config;
use super::load::{ConfigFault, Origins};
use super::preflight::check_start;
use crate::driver::{Driver, Host, Settings, StartFault};
use crate::store::{StateDirectory, StateFault};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a node did not start, or stopped otherwise than by being asked to.
#[derive(Debug, Error)]
pub enum Fault {
    /// The configuration is bad; at least one entry.
    #[error("{}", .0.iter().map(ConfigFault::to_string).collect::<Vec<_>>().join("; "))]
    Config(Vec<ConfigFault>),
    /// An address to listen at is none of this machine. Nothing else is wrong, and it may come with its interface.
    #[error("{}", .0.iter().map(ConfigFault::to_string).collect::<Vec<_>>().join("; "))]
    NoSuchAddress(Vec<ConfigFault>),
    /// The log cannot be opened.
    #[error("log_file: cannot open {}: {error}", path.display())]
    Log {
        /// As configured.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The directory to share cannot be one.
    #[error("local_directory: {}: {error}", path.display())]
    Share {
        /// As configured.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The state directory cannot be used.
    #[error("state_directory: {}: {fault}", path.display())]
    State {
        /// As configured, or the default.
        path: PathBuf,
        /// Why; another instance holds it, for example.
        fault: StateFault,
    },
    /// An address or the control socket cannot be had.
    #[error(transparent)]
    Start(#[from] StartFault),
    /// The loop broke.
    #[error("the event loop failed: {0}")]
    Run(io::Error),
}

/// Exit code for a bad configuration (sysexits: `EX_CONFIG`).
pub(super) const EXIT_CONFIG: u8 = 78;

/// Exit code when somebody else holds what we need (sysexits: `EX_TEMPFAIL`).
pub(super) const EXIT_IN_USE: u8 = 75;

/// Exit code for everything else.
pub(super) const EXIT_OTHER: u8 = 1;

impl Fault {
    /// What `pyrated` exits with (pyrated(1), EXIT STATUS).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Log { .. } | Self::Share { .. } => EXIT_CONFIG,
            Self::State { fault: StateFault::InUse { .. }, .. } => EXIT_IN_USE,
            Self::Start(StartFault::AddressInUse { .. } | StartFault::ControlInUse { .. }) => EXIT_IN_USE,
            Self::NoSuchAddress(_) | Self::State { .. } | Self::Start(_) | Self::Run(_) => EXIT_OTHER,
        }
    }
}

/// Binds everything that a configuration asks for. Its paths must be settled.
pub(super) fn compose(config: &Config, origins: &Origins, host: Box<dyn Host>, signals: bool) -> Result<Driver, Fault> {
    for remark in check_start(config, origins)? {
        log::warn!("{remark}");
    }
    if config.peer {
        make_default_share(&config.local_directory)?;
    }
    let open = |path: &PathBuf| StateDirectory::open(path).map_err(|fault| Fault::State { path: path.clone(), fault });
    let settings = Settings {
        node: config.node(),
        listen: config.listen(),
        bootstrap_serve: config.serve(),
        bootstrap_optional: config.on_this_machine_alone(),
        bootstrap_verify: config.bootstrap_verify,
        share: config.local_directory.clone(),
        state: config.state_directory.as_ref().map(open).transpose()?,
        control_socket: config.control_socket.clone(),
        limits: config.limits(),
        signals,
        seed: None,
    };
    Ok(Driver::start(settings, host)?)
}

fn make_default_share(path: &Path) -> Result<(), Fault> {
    match is_default_share(path) {
        true => std::fs::create_dir_all(path).map_err(|error| Fault::Share { path: path.to_owned(), error }),
        false => Ok(()),
    }
}

/// Whether a directory is the one that is shared by default, and made if it is missing.
pub(super) fn is_default_share(path: &Path) -> bool {
    let mut config = Config::default();
    config.settle_paths(std::env::home_dir().as_deref()).is_ok() && config.local_directory == path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_what_we_need_decides_the_exit_code() {
        let addr = "127.0.0.1:1".parse().unwrap();
        let in_use = Fault::Start(StartFault::AddressInUse { what: "the peer's address", addr, advice: "" });
        let live = Fault::Start(StartFault::ControlInUse { path: PathBuf::from("/run/x") });
        let broken = Fault::Run(io::Error::other("x"));
        assert_eq!([in_use.exit_code(), live.exit_code(), broken.exit_code()], [75, 75, 1]);
        let log = Fault::Log { path: PathBuf::from("/x"), error: io::ErrorKind::NotFound.into() };
        assert_eq!(log.exit_code(), 78);
    }
}
