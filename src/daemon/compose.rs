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
            Self::State { .. } | Self::Start(_) | Self::Run(_) => EXIT_OTHER,
        }
    }
}

/// Binds everything that a configuration asks for. Its paths must be settled.
pub(super) fn compose(config: &Config, host: Box<dyn Host>, signals: bool) -> Result<Driver, Fault> {
    for remark in look_at_directories(config)? {
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

/// Looks at the directories of a configuration before a start: what a user ought to know of them.
///
/// A directory that is missing, or cannot be looked at, may be on a filesystem that is not mounted: what belongs there
/// waits for it. Only the default share is made, at the start.
///
/// # Errors
/// [`Fault::Share`] for a share that no mount can mend: it is no directory, its path cannot be one, or it is the state
/// directory.
pub(super) fn look_at_directories(config: &Config) -> Result<Vec<String>, Fault> {
    let mut remarks = Vec::new();
    if config.peer {
        remarks.extend(look_at_share(config)?);
        remarks.extend(look_at_downloads(config));
    }
    Ok(remarks)
}

fn look_at_share(config: &Config) -> Result<Option<String>, Fault> {
    let path = &config.local_directory;
    let fault = |error| Fault::Share { path: path.clone(), error };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() && holds_state(config, &metadata) => Err(fault(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is the state directory too, which is never shared",
        ))),
        Ok(metadata) if metadata.is_dir() => Ok(None),
        Ok(_) => Err(fault(io::ErrorKind::NotADirectory.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_default_share(path) => Ok(None),
        Err(error) if is_bad_path(&error) => Err(fault(error)),
        Err(error) => {
            let path = path.display();
            Ok(Some(format!("local_directory: {path}: {error}; nothing is shared until it is there")))
        }
    }
}

/// Whether an error says that no directory can be at a path as long as the path, or what leads there, is the same.
fn is_bad_path(error: &io::Error) -> bool {
    let unusable = [nix::libc::ENAMETOOLONG, nix::libc::ELOOP];
    matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::InvalidInput)
        || error.raw_os_error().is_some_and(|errno| unusable.contains(&errno))
}

/// Whether a directory is the state directory, by whatever path.
fn holds_state(config: &Config, directory: &Metadata) -> bool {
    let state = config.state_directory.as_ref().and_then(|path| std::fs::metadata(path).ok());
    state.is_some_and(|state| (state.dev(), state.ino()) == (directory.dev(), directory.ino()))
}

fn look_at_downloads(config: &Config) -> Option<String> {
    let path = config.download_directory.as_ref()?;
    let missing = match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => return None,
        Ok(_) => "not a directory".to_owned(),
        Err(error) => error.to_string(),
    };
    Some(format!("download_directory: {}: {missing}; downloads to it wait until it is there", path.display()))
}

fn make_default_share(path: &Path) -> Result<(), Fault> {
    match is_default_share(path) {
        true => std::fs::create_dir_all(path).map_err(|error| Fault::Share { path: path.to_owned(), error }),
        false => Ok(()),
    }
}

fn is_default_share(path: &Path) -> bool {
    let mut config = Config::default();
    config.settle_paths(std::env::home_dir().as_deref()).is_ok() && config.local_directory == path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_that_is_missing_is_waited_for_and_one_that_is_no_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        let look = |path: PathBuf| look_at_directories(&Config { local_directory: path, ..Config::default() });
        std::fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink("loop", at("loop")).unwrap();
        assert!(look(directory.path().to_owned()).unwrap().is_empty());
        let remarks = look(at("missing")).unwrap();
        assert!(remarks.len() == 1 && remarks[0].contains("local_directory"), "{remarks:?}");
        assert!(remarks[0].contains("missing: ") && remarks[0].contains("nothing is shared"), "{remarks:?}");
        assert!(!at("missing").exists(), "it may be on a filesystem that is not mounted");
        for bad in ["file", "file/below", "loop", &"n".repeat(256)] {
            let fault = look(at(bad)).unwrap_err();
            assert_eq!(fault.exit_code(), EXIT_CONFIG, "{bad}: {fault}");
        }
    }

    #[test]
    fn the_state_directory_is_not_a_share() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(directory.path(), directory.path().join("link")).unwrap();
        let state = |path: &str| {
            look_at_directories(&Config {
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
        let in_use = Fault::Start(StartFault::AddressInUse { what: "the peer's address", addr, advice: "" });
        let live = Fault::Start(StartFault::ControlInUse { path: PathBuf::from("/run/x") });
        let broken = Fault::Run(io::Error::other("x"));
        assert_eq!([in_use.exit_code(), live.exit_code(), broken.exit_code()], [75, 75, 1]);
        let log = Fault::Log { path: PathBuf::from("/x"), error: io::ErrorKind::NotFound.into() };
        assert_eq!(log.exit_code(), 78);
    }
}
