//! The command line of `pyrated`.

use super::keys::{KEYS, Options};
use crate::name::Escaped;
use crate::suggest::closest;
use argh::FromArgs;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// Why the command line gives no options to start with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoOptions {
    /// Help was asked for.
    Help(String),
    /// What is wrong, one a line.
    Misuse(Vec<String>),
}

/// Reads the arguments that follow the name of the program. The path of the configuration file becomes absolute, since files
/// are read again after the working directory was left.
pub(super) fn read(arguments: impl Iterator<Item = OsString>) -> Result<Options, NoOptions> {
    let mut words = Vec::new();
    for argument in arguments {
        let not_text =
            |argument: OsString| format!("an argument is not UTF-8: {}", Escaped(argument.as_os_str().as_bytes()));
        words.push(argument.into_string().map_err(|argument| NoOptions::Misuse(vec![not_text(argument)]))?);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut options = Options::from_args(&["pyrated"], &words).map_err(|early| match early.status {
        Ok(()) => NoOptions::Help(format!("{}\n", early.output.trim_end())),
        Err(()) => NoOptions::Misuse(misuse(&early.output)),
    })?;
    if let Some(path) = &mut options.config
        && let Ok(absolute) = std::path::absolute(&*path)
        && let Some(text) = absolute.to_str()
    {
        *path = text.to_owned();
    }
    Ok(options)
}

/// What is wrong with a command line, from what argh says.
fn misuse(output: &str) -> Vec<String> {
    if let Some(rest) = output.strip_prefix("No value provided for option '")
        && let Some((option, _)) = rest.split_once('\'')
    {
        return vec![no_value(option)];
    }
    match output.strip_prefix("Unrecognized argument: ") {
        Some(rest) => vec![unknown(rest.strip_suffix('\n').unwrap_or(rest))],
        None => output.trim_end().lines().map(|line| Escaped(line.as_bytes()).to_string()).collect(),
    }
}

/// What to say about an option that is the last word.
fn no_value(option: &str) -> String {
    let key = KEYS.iter().find(|key| key.option_name() == option);
    match key.map(|key| key.default) {
        Some("true" | "false") => {
            format!("option {option} needs a value, which is true or false, as in: {option} true")
        }
        _ => format!("option {option} needs a value, as a word of its own; `pyrated --help` lists what each takes"),
    }
}

/// What to say about a word that is no option.
fn unknown(word: &str) -> String {
    let shown = Escaped(word.as_bytes());
    if !word.starts_with('-') {
        return format!(
            "unexpected argument \"{shown}\"; `pyrated --help` lists the options, and commands are given to pyratectl"
        );
    }
    let options = Options::names();
    if let Some((option, value)) = word.split_once('=')
        && options.iter().any(|known| known == option)
    {
        let value = if value.is_empty() { "''".to_owned() } else { Escaped(value.as_bytes()).to_string() };
        return format!("unknown option {shown}; the value is a word of its own: {option} {value}");
    }
    match closest(&word.to_lowercase().replace('_', "-"), options.iter().map(String::as_str)) {
        Some(option) => format!("unknown option {shown}; did you mean {option}?"),
        None => format!("unknown option {shown}; `pyrated --help` lists all"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_words(words: &[&str]) -> Result<Options, NoOptions> {
        read(words.iter().map(OsString::from))
    }

    #[test]
    fn usage_errors_and_help_are_told_apart() {
        assert!(read_words(&["-V"]).unwrap().version);
        let help = read_words(&["--help"]).unwrap_err();
        assert!(matches!(&help, NoOptions::Help(text) if text.contains("--listen-port")), "{help:?}");
        for (option, expected) in [
            ("--sandbox", "option --sandbox needs a value, which is true or false, as in: --sandbox true"),
            (
                "--listen-port",
                "option --listen-port needs a value, as a word of its own; `pyrated --help` lists what each takes",
            ),
        ] {
            assert_eq!(read_words(&[option]).unwrap_err(), NoOptions::Misuse(vec![expected.to_owned()]));
        }
    }

    #[test]
    fn an_unknown_word_is_answered_with_what_was_likely_meant() {
        for (word, expected) in [
            ("--listen-prt", "unknown option --listen-prt; did you mean --listen-port?"),
            ("--listen_port", "unknown option --listen_port; did you mean --listen-port?"),
            ("--dump-confg", "unknown option --dump-confg; did you mean --dump-config?"),
            ("--chek", "unknown option --chek; did you mean --check?"),
            ("--max-ttl=3", "unknown option --max-ttl=3; the value is a word of its own: --max-ttl 3"),
            ("--log-file=", "unknown option --log-file=; the value is a word of its own: --log-file ''"),
            ("--frobnicate", "unknown option --frobnicate; `pyrated --help` lists all"),
            ("--\u{1b}[2J", "unknown option --\\x1b[2J; `pyrated --help` lists all"),
            (
                "status",
                "unexpected argument \"status\"; `pyrated --help` lists the options, and commands are given to pyratectl",
            ),
        ] {
            assert_eq!(read_words(&[word, "1"]).unwrap_err(), NoOptions::Misuse(vec![expected.to_owned()]));
        }
    }
}
