//! From a configuration to a running loop, and what can be in the way.

use super::config::Config;
use super::load::ConfigFault;
use crate::driver::{Driver, Host, Settings, StartFault};
use crate::store::{StateDirectory, StateFault};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a node did not start, or stopped otherwise than by being asked to.
#[derive(Debug, Error)]
pub enum Fault {
    /// The configuration is bad; at least one entry.
    #[error("{}", .0.iter().map(ConfigFault::to_string).collect::<Vec<_>>().join("; "))]
    Config(Vec<ConfigFault>),
    /// The log cannot be opened.
    #[error("log_file: cannot open {}: {error}", path.display())]
    Log {
        /// As configured.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The directory to share is not there, or is no directory.
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
            Self::State { .. } | Self::Start(_) | Self::Run(_) => EXIT_OTHER,
        }
    }
}

/// Binds everything that a configuration asks for. Its paths must be settled.
pub(super) fn compose(config: &Config, host: Box<dyn Host>, signals: bool) -> Result<Driver, Fault> {
    if config.peer {
        prepare_share(config)?;
        warn_of_downloads(config);
    }
    let open = |path: &PathBuf| StateDirectory::open(path).map_err(|fault| Fault::State { path: path.clone(), fault });
    let settings = Settings {
        node: config.node(),
        listen: config.listen(),
        bootstrap_serve: config.serve(),
        bootstrap_optional: config.on_this_machine_alone(),
        share: config.local_directory.clone(),
        state: config.state_directory.as_ref().map(open).transpose()?,
        control_socket: config.control_socket.clone(),
        limits: config.limits(),
        signals,
        seed: None,
    };
    Ok(Driver::start(settings, host)?)
}

/// Makes the share if it is the default one. One that the user named must be there: a slip of the pen, or a disk that is
/// not mounted, would otherwise pass for an empty share.
fn prepare_share(config: &Config) -> Result<(), Fault> {
    let path = &config.local_directory;
    let fault = |error| Fault::Share { path: path.clone(), error };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() && holds_state(config, &metadata) => Err(fault(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is the state directory too, which is never shared",
        ))),
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(fault(io::ErrorKind::NotADirectory.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_default_share(path) => {
            std::fs::create_dir_all(path).map_err(fault)
        }
        Err(error) => Err(fault(error)),
    }
}

/// Whether a directory is the state directory, by whatever path.
fn holds_state(config: &Config, directory: &Metadata) -> bool {
    let state = config.state_directory.as_ref().and_then(|path| std::fs::metadata(path).ok());
    state.is_some_and(|state| (state.dev(), state.ino()) == (directory.dev(), directory.ino()))
}

/// A download directory that is missing is not made: it may be on a filesystem that is not mounted.
fn warn_of_downloads(config: &Config) {
    let Some(path) = &config.download_directory else { return };
    let missing = match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => return,
        Ok(_) => "not a directory".to_owned(),
        Err(error) => error.to_string(),
    };
    log::warn!("download_directory: {}: {missing}; downloads to it wait until it is there", path.display());
}

fn is_default_share(path: &Path) -> bool {
    let mut config = Config::default();
    config.settle_paths(std::env::home_dir().as_deref()).is_ok() && config.local_directory == path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_that_the_user_named_must_be_there() {
        let directory = tempfile::tempdir().unwrap();
        let share = |path: PathBuf| prepare_share(&Config { local_directory: path, ..Config::default() });
        share(directory.path().to_owned()).unwrap();
        let missing = share(directory.path().join("typo")).unwrap_err();
        assert_eq!(missing.exit_code(), EXIT_CONFIG);
        assert!(missing.to_string().contains("local_directory") && !directory.path().join("typo").exists());
        std::fs::write(directory.path().join("file"), "").unwrap();
        assert!(share(directory.path().join("file")).is_err());
    }

    #[test]
    fn the_state_directory_is_not_a_share() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(directory.path(), directory.path().join("link")).unwrap();
        let state = |path: &str| {
            prepare_share(&Config {
                local_directory: directory.path().to_owned(),
                state_directory: Some(directory.path().join(path)),
                ..Config::default()
            })
        };
        let fault = state("link").unwrap_err();
        assert_eq!(fault.exit_code(), EXIT_CONFIG);
        assert!(fault.to_string().contains("state directory"), "{fault}");
        state("inside").unwrap();
    }

    #[test]
    fn who_holds_what_we_need_decides_the_exit_code() {
        let addr = "127.0.0.1:1".parse().unwrap();
        let in_use = Fault::Start(StartFault::AddressInUse { what: "the peer's address", addr });
        let live = Fault::Start(StartFault::ControlInUse { path: PathBuf::from("/run/x") });
        let broken = Fault::Run(io::Error::other("x"));
        assert_eq!([in_use.exit_code(), live.exit_code(), broken.exit_code()], [75, 75, 1]);
        let log = Fault::Log { path: PathBuf::from("/x"), error: io::ErrorKind::NotFound.into() };
        assert_eq!(log.exit_code(), 78);
    }
}
