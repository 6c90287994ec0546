//! Why a node does not start or run, and where in the configuration the reason stands.

use crate::driver::StartFault;
use crate::name::Escaped;
use crate::store::StateFault;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a node did not start, or stopped without being asked to.
#[derive(Debug, Error)]
pub enum Fault {
    /// The configuration is bad; at least one entry.
    #[error("{}", .0.iter().map(ConfigFault::to_string).collect::<Vec<_>>().join("; "))]
    Config(Vec<ConfigFault>),
    /// This machine lacks an address to listen at. Nothing else is wrong; the address may appear with its interface.
    #[error("{}", .0.iter().map(ConfigFault::to_string).collect::<Vec<_>>().join("; "))]
    NoSuchAddress(Vec<ConfigFault>),
    /// The disk of a directory that the start needs does not answer. Nothing but addresses is wrong beside that.
    #[error("{}", .0.iter().map(ConfigFault::to_string).collect::<Vec<_>>().join("; "))]
    NoAnswer(Vec<ConfigFault>),
    /// There is no thread to look at directories.
    #[error("cannot create the thread pyrate-probe: {0}")]
    Probe(io::Error),
    /// The log cannot be opened.
    #[error("log_file: cannot open {}: {error}; name a file that can be written, or stderr", path.display())]
    Log {
        /// As configured.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The process cannot be restricted.
    #[error("sandbox: {0}; `sandbox = false` does without")]
    Sandbox(String),
    /// Root runs the daemon, which was not allowed.
    #[error(
        "pyrated does not run as root, since nothing that it does needs that: start it as another user, or as a service, which \
         has a user of its own (systemctl start pyrated); `allow_root = true`, or --allow-root true, runs it as root"
    )]
    Root,
    /// The service manager passes a socket that is not what is needed.
    #[error("socket activation: {0}")]
    Passed(String),
    /// There is no thread to write the log.
    #[error("the log: {0}")]
    LogWriter(io::Error),
    /// The default share cannot be created.
    #[error("local_directory: {}: {error}; create it, or name another directory", path.display())]
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
    /// An address or the control socket cannot be used.
    #[error(transparent)]
    Start(#[from] StartFault),
    /// The loop failed.
    #[error("the event loop failed: {0}")]
    Run(io::Error),
}

/// Exit code for a bad configuration (sysexits: `EX_CONFIG`).
pub(super) const EXIT_CONFIG: u8 = 78;

/// Exit code when another process uses what we need (sysexits: `EX_TEMPFAIL`).
pub(super) const EXIT_IN_USE: u8 = 75;

/// Exit code for everything else.
pub(super) const EXIT_OTHER: u8 = 1;

impl Fault {
    /// What `pyrated` exits with (pyrated(8), EXIT STATUS).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Start(StartFault::Passed(_)) => EXIT_CONFIG,
            Self::Config(_) | Self::Root | Self::Passed(_) | Self::Log { .. } | Self::Share { .. } => EXIT_CONFIG,
            Self::State { fault: StateFault::InUse { .. }, .. } => EXIT_IN_USE,
            Self::Start(StartFault::AddressInUse { .. } | StartFault::ControlInUse { .. }) => EXIT_IN_USE,
            Self::NoSuchAddress(_)
            | Self::NoAnswer(_)
            | Self::Probe(_)
            | Self::Sandbox(_)
            | Self::LogWriter(_)
            | Self::State { .. }
            | Self::Start(_)
            | Self::Run(_) => EXIT_OTHER,
        }
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The configuration file; line and key are absent when the whole file is at fault, and the key when it is unknown.
    File {
        /// Its path.
        path: PathBuf,
        /// Counts from 1.
        line: Option<usize>,
        /// As written there.
        key: Option<String>,
    },
    /// An environment variable.
    Variable(String),
    /// An option of the command line.
    CommandLine(String),
    /// A key, by whatever means it was set.
    Key(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, key } => {
                write!(f, "{}", Escaped::path(path))?;
                line.iter().try_for_each(|line| write!(f, ":{line}"))?;
                key.iter().try_for_each(|key| write!(f, ": {}", Escaped(key.as_bytes())))
            }
            Self::Variable(name) => write!(f, "environment variable {}", Escaped(name.as_bytes())),
            Self::CommandLine(name) => write!(f, "option {name}"),
            Self::Key(name) => f.write_str(name),
        }
    }
}

/// A value of the configuration: that of a key, or of a field of one of the tables that the key is a list of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) key: &'static str,
    /// Which table, and the name of the field.
    field: Option<(usize, &'static str)>,
}

impl Spot {
    pub(super) fn field(key: &'static str, table: usize, field: &'static str) -> Self {
        Self { key, field: Some((table, field)) }
    }
}

impl From<&'static str> for Spot {
    fn from(key: &'static str) -> Self {
        Self { key, field: None }
    }
}

/// Where each value that is not a default comes from.
#[derive(Debug, Clone, Default)]
pub(super) struct Origins {
    keys: BTreeMap<&'static str, Place>,
    /// Of fields of tables in a file: by key, table and name.
    fields: BTreeMap<(&'static str, usize, String), Place>,
}

impl Origins {
    /// Records where the value of a key comes from, in place of what was recorded before.
    pub(super) fn set(&mut self, key: &'static str, place: Place) {
        self.unset(key);
        self.keys.insert(key, place);
    }

    /// Records where the value of a field comes from.
    pub(super) fn set_field(&mut self, key: &'static str, table: usize, field: &str, place: Place) {
        self.fields.insert((key, table, field.to_owned()), place);
    }

    /// Records that the value of a key is the default, whatever was given.
    pub(super) fn unset(&mut self, key: &str) {
        self.keys.remove(key);
        self.fields.retain(|(other, ..), _| *other != key);
    }

    /// Where the value of a key was given, unless it is the default.
    pub(super) fn given(&self, key: &str) -> Option<&Place> {
        self.keys.get(key)
    }

    /// Where to say that a value is bad.
    pub(super) fn of(&self, spot: impl Into<Spot>) -> Place {
        let Spot { key, field } = spot.into();
        let of_field = field.and_then(|(table, name)| self.fields.get(&(key, table, name.to_owned())));
        of_field.or(self.keys.get(key)).cloned().unwrap_or(Place::Key(key))
    }
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place}: {message}")]
pub struct ConfigFault {
    /// Where.
    pub place: Place,
    /// What is wrong there.
    pub message: String,
}

/// A value that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ValueFault {
    /// Byte offset in the file; `None`: where the key stands.
    pub(super) at: Option<usize>,
    pub(super) message: String,
    /// The unknown key, if that is the fault.
    pub(super) unknown: Option<String>,
}

impl From<String> for ValueFault {
    fn from(message: String) -> Self {
        Self { at: None, message, unknown: None }
    }
}

impl ConfigFault {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
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
