//! Reading the configuration: options beat the environment, which beats the file.

use super::config::Config;
use super::keys::{KEYS, Key, Options, VARIABLE_PREFIX};
use crate::control::paths;
use crate::name::Escaped;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use thiserror::Error;
use toml::de::DeTable;

/// Largest configuration file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The configuration file; line and key are absent when the whole file is at fault.
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
    /// A key that may have its default value.
    Key(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, key } => {
                write!(f, "{}", Escaped(path.as_os_str().as_bytes()))?;
                line.iter().try_for_each(|line| write!(f, ":{line}"))?;
                key.iter().try_for_each(|key| write!(f, ": {}", Escaped(key.as_bytes())))
            }
            Self::Variable(name) => write!(f, "environment variable {}", Escaped(name.as_bytes())),
            Self::CommandLine(name) => write!(f, "option {name}"),
            Self::Key(name) => f.write_str(name),
        }
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

impl ConfigFault {
    fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

/// The places that are read, as the process found them when it started; the file is read again each time.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The command line.
    pub options: Options,
    /// The environment.
    pub environment: BTreeMap<OsString, OsString>,
}

/// A configuration that was read.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values in force, paths absolute.
    pub config: Config,
    /// The file they came from, if there was one.
    pub file: Option<PathBuf>,
    /// What the user ought to be told.
    pub remarks: Vec<String>,
}

impl Sources {
    /// Reads all places. The faults are all that were found, those of the file first.
    pub fn load(&self) -> Result<Loaded, Vec<ConfigFault>> {
        let mut config = Config::default();
        let mut faults = Vec::new();
        let file = self.file().map_err(|fault| vec![fault])?;
        if let Some((path, text)) = &file {
            read_file(&mut config, path, text, &mut faults);
        }
        for key in KEYS {
            self.read_variable(&mut config, key, &mut faults);
            if let Some(text) = (key.option)(&self.options)
                && let Err(message) = (key.set_word)(&mut config, text)
            {
                faults.push(ConfigFault::new(Place::CommandLine(key.option_name()), message));
            }
        }
        if let Err((key, message)) = config.settle_paths(self.variable("HOME").map(Path::new)) {
            faults.push(ConfigFault::new(Place::Key(key), message));
        }
        self.fill_in_places(&mut config, &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut remarks = self.unknown_variables();
        remarks.extend(config.remarks());
        Ok(Loaded { config, file: file.map(|(path, _)| path), remarks })
    }

    /// An environment variable; an empty one counts as absent, as is usual.
    pub(super) fn variable(&self, name: &str) -> Option<&std::ffi::OsStr> {
        self.environment.get(std::ffi::OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The usual places of the daemon, where nothing else is said.
    fn fill_in_places(&self, config: &mut Config, faults: &mut Vec<ConfigFault>) {
        let environment = |name: &str| self.variable(name).map(OsString::from);
        let places = [
            ("control_socket", &mut config.control_socket, paths::default_socket_for_daemon(environment)),
            ("state_directory", &mut config.state_directory, paths::default_state_directory(environment)),
        ];
        for (key, place, usual) in places {
            *place = place.take().or(usual);
            if place.is_none() {
                let message = "the environment names no place for it (HOME is not set): it must be given";
                faults.push(ConfigFault::new(Place::Key(key), message));
            }
        }
    }

    fn read_variable(&self, config: &mut Config, key: &Key, faults: &mut Vec<ConfigFault>) {
        let name = key.variable_name();
        let Some(value) = self.variable(&name) else { return };
        let outcome = match value.to_str() {
            Some(text) => (key.set_word)(config, text),
            None => Err(format!("not UTF-8: \"{}\"", Escaped(value.as_bytes()))),
        };
        faults.extend(outcome.err().map(|message| ConfigFault::new(Place::Variable(name), message)));
    }

    /// Variables that look like ours and are not: a slip of the pen that would otherwise go unseen. They are no error,
    /// since other programs may use the prefix.
    fn unknown_variables(&self) -> Vec<String> {
        let ours = |name: &&OsString| name.as_bytes().starts_with(VARIABLE_PREFIX.as_bytes());
        let unknown = |name: &&OsString| !KEYS.iter().any(|key| name.as_bytes() == key.variable_name().as_bytes());
        let told = |name: &OsString| format!("environment variable {} is no key", Escaped(name.as_bytes()));
        self.environment.keys().filter(ours).filter(unknown).map(told).collect()
    }

    /// The first configuration file found, with its text.
    fn file(&self) -> Result<Option<(PathBuf, String)>, ConfigFault> {
        if let Some(path) = &self.options.config {
            let path = PathBuf::from(path);
            return match read_text(&path)? {
                Some(text) => Ok(Some((path, text))),
                None => Err(ConfigFault::new(Place::File { path, line: None, key: None }, "no such file")),
            };
        }
        for path in paths::configuration_files(|name| self.variable(name).map(OsString::from)) {
            if let Some(text) = read_text(&path)? {
                return Ok(Some((path, text)));
            }
        }
        Ok(None)
    }
}

/// The text of a file; `None` if there is none.
fn read_text(path: &Path) -> Result<Option<String>, ConfigFault> {
    let fault =
        |message: String| ConfigFault::new(Place::File { path: path.to_owned(), line: None, key: None }, message);
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => return Err(fault("not a regular file".to_owned())),
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
            return Err(fault(format!("longer than {FILE_BYTES_MAX} bytes")));
        }
        Ok(_) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(fault(error.to_string())),
    }
    let bytes = fs::read(path).map_err(|error| fault(error.to_string()))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let line = line_at(error.as_bytes(), valid);
            Err(ConfigFault::new(Place::File { path: path.to_owned(), line: Some(line), key: None }, "not UTF-8"))
        }
    }
}

/// Reads a file's text over the configuration.
fn read_file(config: &mut Config, path: &Path, text: &str, faults: &mut Vec<ConfigFault>) {
    let place = |offset: Option<usize>, key: Option<&str>| Place::File {
        path: path.to_owned(),
        line: offset.map(|offset| line_at(text.as_bytes(), offset)),
        key: key.map(str::to_owned),
    };
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            let message = error.message().trim_end().replace('\n', "; ");
            faults.push(ConfigFault::new(place(error.span().map(|span| span.start), None), message));
            return;
        }
    };
    let mut found: Vec<(usize, ConfigFault)> = Vec::new();
    for (name, value) in table.get_ref() {
        let at = name.span().start;
        let outcome = match KEYS.iter().find(|key| key.name == name.get_ref().as_ref()) {
            Some(key) => (key.set_toml)(config, value.get_ref()),
            None => Err("unknown key".to_owned()),
        };
        found.extend(
            outcome.err().map(|message| (at, ConfigFault::new(place(Some(at), Some(name.get_ref())), message))),
        );
    }
    // The table is sorted by name; a reader goes through a file from its top.
    found.sort_by_key(|&(at, _)| at);
    faults.extend(found.into_iter().map(|(_, fault)| fault));
}

/// The line of a byte, counted from 1.
fn line_at(text: &[u8], offset: usize) -> usize {
    1 + text.iter().take(offset).filter(|&&b| b == b'\n').count()
}

#[cfg(test)]
mod tests;
