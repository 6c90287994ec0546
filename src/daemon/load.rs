//! Reading the configuration: options beat the environment, which beats the file.

use super::config::Config;
use super::fault::{ConfigFault, Origins, Place, ValueFault};
use super::keys::{KEYS, Key, Options, VARIABLE_PREFIX};
use crate::control::paths;
use crate::name::Escaped;
use crate::suggest::closest;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use toml::de::{DeString, DeTable, DeValue};

/// Largest configuration file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The places that are read, as the process found them when it started; the file is read again each time.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources {
    pub options: Options,
    pub environment: BTreeMap<OsString, OsString>,
}

#[derive(Debug, Clone)]
pub(super) struct Loaded {
    /// The values in force, paths absolute.
    pub config: Config,
    /// The file they came from, if there was one.
    pub file: Option<PathBuf>,
    /// Where the values come from.
    pub(super) origins: Origins,
    /// What the user ought to be told.
    pub remarks: Vec<String>,
}

impl Sources {
    /// Reads all places. The faults are all that were found, those of the file first.
    pub(super) fn load(&self) -> Result<Loaded, Vec<ConfigFault>> {
        let mut config = Config::default();
        let (mut origins, mut faults) = (Origins::default(), Vec::new());
        let file = self.file().map_err(|fault| vec![fault])?;
        if let Some((path, text)) = &file {
            read_file(&mut config, path, text, &mut origins, &mut faults);
        }
        for key in KEYS {
            for (place, outcome) in
                [self.variable_of(&mut config, key), self.option_of(&mut config, key)].into_iter().flatten()
            {
                if let Err(message) = outcome {
                    faults.push(ConfigFault::new(place.clone(), message));
                }
                origins.set(key.name, place);
            }
        }
        if let Err((spot, message)) = config.settle_paths(self.variable("HOME").map(Path::new)) {
            faults.push(ConfigFault::new(origins.of(spot), message));
        }
        self.fill_in_places(&mut config, &mut origins, &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut remarks = self.unknown_variables();
        remarks.extend(config.remarks());
        Ok(Loaded { config, file: file.map(|(path, _)| path), origins, remarks })
    }

    /// An environment variable; an empty one counts as absent, as is usual.
    pub(super) fn variable(&self, name: &str) -> Option<&std::ffi::OsStr> {
        self.environment.get(std::ffi::OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The usual places of the daemon, where nothing else is said.
    fn fill_in_places(&self, config: &mut Config, origins: &mut Origins, faults: &mut Vec<ConfigFault>) {
        let environment = |name: &str| self.variable(name).map(OsString::from);
        let places = [
            ("control_socket", &mut config.control_socket, paths::default_socket_for_daemon(environment)),
            ("state_directory", &mut config.state_directory, paths::default_state_directory(environment)),
        ];
        for (key, place, usual) in places {
            if place.is_some() {
                continue;
            }
            origins.unset(key);
            *place = usual;
            if place.is_none() {
                let message = "the environment names no place for it (HOME is not set): it must be given";
                faults.push(ConfigFault::new(Place::Key(key), message));
            }
        }
    }

    /// Reads the variable of a key, if it is set.
    fn variable_of(&self, config: &mut Config, key: &Key) -> Option<(Place, Result<(), String>)> {
        let name = key.variable_name();
        let value = self.variable(&name)?;
        let outcome = match value.to_str() {
            Some(text) => (key.set_word)(config, text),
            None => Err(format!("not UTF-8: \"{}\"", Escaped(value.as_bytes()))),
        };
        Some((Place::Variable(name), outcome))
    }

    /// Reads the option of a key, if it is given.
    fn option_of(&self, config: &mut Config, key: &Key) -> Option<(Place, Result<(), String>)> {
        let text = (key.option)(&self.options)?;
        Some((Place::CommandLine(key.option_name()), (key.set_word)(config, text)))
    }

    /// Variables that look like ours and are not: a typing error that nobody would notice. They are no error,
    /// since other programs may use the prefix.
    fn unknown_variables(&self) -> Vec<String> {
        let ours = |name: &&OsString| name.as_bytes().starts_with(VARIABLE_PREFIX.as_bytes());
        let unknown = |name: &&OsString| !KEYS.iter().any(|key| name.as_bytes() == key.variable_name().as_bytes());
        let told = |name: &OsString| {
            let rest = name.to_string_lossy();
            let advice = match closest_key(rest.strip_prefix(VARIABLE_PREFIX).unwrap_or_default()) {
                Some(key) => format!("did you mean {}?", key.variable_name()),
                None => LISTS_ALL.to_owned(),
            };
            format!("environment variable {} is no key; {advice}", Escaped(name.as_bytes()))
        };
        self.environment.keys().filter(ours).filter(unknown).map(told).collect()
    }

    /// The configuration files that may be read, the first that is there.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        match &self.options.config {
            Some(path) => vec![PathBuf::from(path)],
            None => paths::configuration_files(|name| self.variable(name).map(OsString::from)),
        }
    }

    /// The first configuration file found, with its text.
    fn file(&self) -> Result<Option<(PathBuf, String)>, ConfigFault> {
        if let Some(path) = &self.options.config {
            let path = PathBuf::from(path);
            if is_null_device(&path) {
                return Ok(None);
            }
            return match read_text(&path)? {
                Some(text) => Ok(Some((path, text))),
                None => {
                    let message = "no such file; name one that is there, or /dev/null for none";
                    Err(ConfigFault::new(Place::File { path, line: None, key: None }, message))
                }
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

/// Whether a path leads to `/dev/null`, by which one says that there is no configuration file.
fn is_null_device(path: &Path) -> bool {
    let number = |path: &Path| {
        let found = fs::metadata(path).ok().filter(|found| found.file_type().is_char_device());
        found.map(|found| found.rdev())
    };
    number(path).is_some_and(|device| Some(device) == number(Path::new("/dev/null")))
}

/// The text of a file; `None` if there is none.
fn read_text(path: &Path) -> Result<Option<String>, ConfigFault> {
    let fault =
        |message: String| ConfigFault::new(Place::File { path: path.to_owned(), line: None, key: None }, message);
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            return Err(fault("a directory; name the file in it".to_owned()));
        }
        Ok(metadata) if !metadata.is_file() => {
            return Err(fault("not a regular file, which each reload reads again; name one".to_owned()));
        }
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
            return Err(fault(format!("longer than {FILE_BYTES_MAX} bytes")));
        }
        Ok(_) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(fault(unreadable(&error))),
    }
    let bytes = fs::read(path).map_err(|error| fault(unreadable(&error)))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let line = line_at(error.as_bytes(), valid);
            Err(ConfigFault::new(Place::File { path: path.to_owned(), line: Some(line), key: None }, "not UTF-8"))
        }
    }
}

fn unreadable(error: &io::Error) -> String {
    format!("cannot be read: {error}; let this user read it, or name another file")
}

/// Reads a file's text over the configuration.
fn read_file(config: &mut Config, path: &Path, text: &str, origins: &mut Origins, faults: &mut Vec<ConfigFault>) {
    let place = |offset: Option<usize>, key: Option<&str>| Place::File {
        path: path.to_owned(),
        line: offset.map(|offset| line_at(text.as_bytes(), offset)),
        key: key.map(str::to_owned),
    };
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            let message = set_twice(text, &error).unwrap_or_else(|| error.message().trim_end().replace('\n', "; "));
            faults.push(ConfigFault::new(place(error.span().map(|span| span.start), None), message));
            return;
        }
    };
    let mut found: Vec<(usize, ConfigFault)> = Vec::new();
    for (name, value) in table.get_ref() {
        let at = name.span().start;
        let fault = match KEYS.iter().find(|key| key.name == name.get_ref().as_ref()) {
            Some(key) => {
                let usual = place(Some(at), Some(key.name));
                origins.set(key.name, usual.clone());
                for (table, field) in fields(value.get_ref()) {
                    let here = place(Some(field.span().start), Some(key.name));
                    origins.set_field(key.name, table, field.get_ref(), here);
                }
                (key.set_toml)(config, value.get_ref()).err().map(|bad| {
                    let place = bad.at.map_or(usual, |at| place(Some(at), Some(key.name)));
                    ConfigFault::new(place, explained(bad, key))
                })
            }
            None => Some(ConfigFault::new(place(Some(at), None), unknown_key(name.get_ref(), value.get_ref()))),
        };
        found.extend(fault.map(|fault| (at, fault)));
    }
    // The table is sorted by name; a reader goes through a file from its top.
    found.sort_by_key(|&(at, _)| at);
    faults.extend(found.into_iter().map(|(_, fault)| fault));
}

/// The names in each table of a value that is a list of tables.
fn fields<'v>(value: &'v DeValue<'v>) -> impl Iterator<Item = (usize, &'v toml::Spanned<DeString<'v>>)> {
    let items = value.as_array().into_iter().flatten().enumerate();
    let tables = items.filter_map(|(at, item)| Some((at, item.get_ref().as_table()?)));
    tables.flat_map(|(at, table)| table.keys().map(move |name| (at, name)))
}

/// What to say about a key that stands a second time; `None` if that is not the fault.
fn set_twice(text: &str, error: &toml::de::Error) -> Option<String> {
    let (name, before) = (text.get(error.span()?)?, text.get(..error.span()?.start)?);
    if !error.message().starts_with("duplicate key") {
        return None;
    }
    let first = first_place(before, name).map(|at| format!(" in line {}", line_at(text.as_bytes(), at)));
    let (key, first) = (Escaped(name.as_bytes()), first.unwrap_or_default());
    Some(format!("duplicate key \"{key}\": it is set{first} already; remove one of the two"))
}

/// Where a key of the table in which a text ends is set in that text, which must be whole lines.
fn first_place(text: &str, name: &str) -> Option<usize> {
    let file = DeTable::parse(text).ok()?;
    let tables = file.get_ref().values().filter_map(|value| value.get_ref().as_array()?.last());
    let last = tables.filter(|_| text.lines().any(|line| line.trim_start().starts_with('[')));
    let last = last.max_by_key(|table| table.span().start).and_then(|table| table.get_ref().as_table());
    last.unwrap_or(file.get_ref()).keys().find(|key| key.get_ref() == name).map(|key| key.span().start)
}

/// Where to look when no key is like the one that was given.
const LISTS_ALL: &str = "pyrated.toml(5) lists all keys";

/// What to say about a key of a file that is none.
fn unknown_key(name: &str, value: &DeValue<'_>) -> String {
    let advice = match closest_key(name) {
        Some(key) => format!("did you mean \"{}\"?", key.name),
        None if value.is_table() => "keys stand in no [section] or table".to_owned(),
        None => LISTS_ALL.to_owned(),
    };
    format!("unknown key \"{}\"; {advice}", Escaped(name.as_bytes()))
}

/// What to say about a bad value. TOML takes all keys below a table for its own.
fn explained(bad: ValueFault, key: &Key) -> String {
    let of_file = bad.unknown.filter(|name| KEYS.iter().any(|key| key.name == name));
    let advice = of_file.map(|_| format!("; as a key of the whole file it stands above the first [[{}]]", key.name));
    bad.message + &advice.unwrap_or_default()
}

/// The key that a name was likely meant to be, in whatever case and with whichever dashes.
fn closest_key(name: &str) -> Option<&'static Key> {
    let found = closest(&name.to_lowercase().replace('-', "_"), KEYS.iter().map(|key| key.name))?;
    KEYS.iter().find(|key| key.name == found)
}

/// The line of a byte, counted from 1.
fn line_at(text: &[u8], offset: usize) -> usize {
    1 + text.iter().take(offset).filter(|&&b| b == b'\n').count()
}

#[cfg(test)]
pub(super) mod tests;
