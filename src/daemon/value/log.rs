//! The kinds of values that keys of the log take.

use super::{Kind, Path, named, quoted};
use crate::daemon::log_line::LogFormat;
use log::LevelFilter;
use std::path::PathBuf;

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LogPlace {
    /// Standard error: the terminal, or the journal under systemd.
    #[default]
    Stderr,
    /// Appended to this file.
    File(PathBuf),
}

/// A path, or `stderr`.
pub(in crate::daemon) struct Log;

impl Kind for Log {
    type Value = LogPlace;

    fn word(text: &str) -> Result<LogPlace, String> {
        if text == "stderr" { Ok(LogPlace::Stderr) } else { Path::word(text).map(LogPlace::File) }
    }

    fn show(value: &LogPlace) -> String {
        match value {
            LogPlace::Stderr => quoted("stderr"),
            LogPlace::File(path) => Path::show(path),
        }
    }
}

/// The format of the lines of the log.
pub(in crate::daemon) struct Lines;

impl Kind for Lines {
    type Value = LogFormat;

    fn word(text: &str) -> Result<LogFormat, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("expected text or json, not {}", named(text))),
        }
    }

    fn show(value: &LogFormat) -> String {
        quoted(match value {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        })
    }
}

pub(in crate::daemon) struct Level;

impl Kind for Level {
    type Value = LevelFilter;

    fn word(text: &str) -> Result<LevelFilter, String> {
        text.parse()
            .ok()
            .filter(|&level| level != LevelFilter::Off)
            .ok_or_else(|| format!("expected error, warn, info, debug or trace, not {}", named(text)))
    }

    fn show(value: &LevelFilter) -> String {
        quoted(&value.to_string().to_lowercase())
    }
}
