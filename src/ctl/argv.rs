//! Prepares the arguments for the parser: they are bytes and it takes Unicode, and options of the program may stand anywhere
//! while it takes them at the beginning.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Options of the program itself that take a value.
const PROGRAM_VALUES: [&str; 2] = ["--socket", "--timeout"];
/// Options of the program itself that take none.
const PROGRAM_SWITCHES: [&str; 4] = ["--json", "--terse", "--version", "-V"];
/// Options of commands that take a value.
const COMMAND_VALUES: [&str; 5] = ["--wait", "--max", "--ttl", "--output", "-o"];

/// The characters that stand for a byte each: the last 256 of Unicode's private use.
const BYTE_CHARS: std::ops::RangeInclusive<u32> = 0x10_ff00..=0x10_ffff;

/// Arguments as Unicode, reversibly: bytes that are not UTF-8 become private characters, and so does each byte of
/// those characters themselves.
pub(super) fn encode(argument: &OsString) -> String {
    let mut text = String::new();
    for chunk in argument.as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if BYTE_CHARS.contains(&u32::from(c)) {
                text.extend(c.encode_utf8(&mut [0; 4]).bytes().map(byte_char));
            } else {
                text.push(c);
            }
        }
        text.extend(chunk.invalid().iter().copied().map(byte_char));
    }
    text
}

/// The bytes that [`encode`] was given.
pub(super) fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u32::from(c).checked_sub(*BYTE_CHARS.start()).and_then(|byte| u8::try_from(byte).ok()) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    bytes
}

/// What [`decode`] gives, for the system.
pub(super) fn decode_os(text: &str) -> OsString {
    OsString::from_vec(decode(text))
}

fn byte_char(byte: u8) -> char {
    char::from_u32(BYTE_CHARS.start() + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Moves the options of the program to the front and cuts `--option=value` in two. What follows `--` stays as it is.
pub(super) fn arrange(arguments: Vec<String>) -> Vec<String> {
    let (mut front, mut rest, mut excluded, mut help) = (Vec::new(), Vec::new(), Vec::new(), false);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) if takes_value(name) && name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        if argument == "--" {
            rest.push(argument);
            rest.extend(arguments);
            break;
        } else if argument == "--help" || argument == "-h" {
            help = true;
        } else if is_excluded_word(&rest, &argument) {
            excluded.push(argument);
        } else if PROGRAM_SWITCHES.contains(&name) {
            front.push(if name == "-V" { "--version".into() } else { argument });
        } else if let Some(value) = argument.strip_prefix("-o").filter(|value| !value.is_empty()) {
            rest.extend(["-o".to_owned(), value.to_owned()]);
        } else if takes_value(name) {
            let side = if PROGRAM_VALUES.contains(&name) { &mut front } else { &mut rest };
            side.push(name.to_owned());
            side.extend(value.or_else(|| arguments.next()));
        } else {
            rest.push(argument);
        }
    }
    if rest.first().is_some_and(|command| command == "help") {
        rest.remove(0);
        help = true;
    }
    // Wherever help is asked for, it is that of the command, and all other arguments are ignored.
    if help {
        let command = rest.into_iter().find(|argument| !argument.starts_with('-'));
        return command.into_iter().chain(["--help".to_owned()]).collect();
    }
    front.extend(rest);
    if !excluded.is_empty() {
        // Of what follows `--`, the first is for the parser.
        if !front.iter().any(|argument| argument == "--") {
            front.push("--".into());
        }
        front.extend(excluded);
    }
    front
}

/// Whether an argument of `search` is a word that is to be excluded, which looks like an option.
fn is_excluded_word(before: &[String], argument: &str) -> bool {
    let word = argument.strip_prefix('-').filter(|word| !word.is_empty() && !word.starts_with('-'));
    word.is_some() && !takes_value(argument) && before.first().is_some_and(|command| command == "search")
}

fn takes_value(name: &str) -> bool {
    PROGRAM_VALUES.contains(&name) || COMMAND_VALUES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arranged(line: &str) -> String {
        arrange(line.split(' ').map(str::to_owned).collect()).join(" ")
    }

    #[test]
    fn any_bytes_survive() {
        for bytes in [&b"plain"[..], b"caf\xe9/\xff", "é\u{10ffe9}\u{10ff00}é".as_bytes(), b"\xf4\x8f\xbe", b""] {
            let argument = OsString::from_vec(bytes.to_vec());
            assert_eq!(decode(&encode(&argument)), bytes);
            assert_eq!(decode_os(&encode(&argument)), argument);
        }
        assert_eq!(encode(&OsString::from("naïve ✓")), "naïve ✓");
    }

    #[test]
    fn options_of_the_program_may_stand_anywhere_before_two_dashes() {
        assert_eq!(arranged("search x --json --wait 3s"), "--json search x --wait 3s");
        assert_eq!(arranged("hits --socket=/a=b --terse"), "--socket /a=b --terse hits");
        assert_eq!(arranged("search --wait=3s x"), "search --wait 3s x");
        assert_eq!(arranged("search -- --json --wait=3"), "search -- --json --wait=3");
        assert_eq!(arranged("download 1 -o --json"), "download 1 -o --json");
        assert_eq!(arranged("download 1 -o/a=b -o-"), "download 1 -o /a=b -o -");
        assert_eq!(arranged("status -V"), "--version status");
        assert_eq!(arranged("search a=b --x=y"), "search a=b --x=y");
        assert_eq!(arranged("status --timeout"), "--timeout status");
    }

    #[test]
    fn words_that_a_search_excludes_are_no_options() {
        assert_eq!(arranged("search jazz -live --max 3 --json"), "--json search jazz --max 3 -- -live");
        assert_eq!(arranged("search -live jazz -- --x"), "search jazz -- --x -live");
        assert_eq!(arranged("search jazz --live"), "search jazz --live");
        assert_eq!(arranged("hits -live"), "hits -live");
    }

    #[test]
    fn help_is_about_the_command_named() {
        assert_eq!(arranged("--help"), "--help");
        assert_eq!(arranged("-h status"), "status --help");
        assert_eq!(arranged("--json search --max 3 x -h"), "search --help");
        assert_eq!(arranged("search -- -h"), "search -- -h");
        assert_eq!(arranged("help"), "--help");
        assert_eq!(arranged("--json help search"), "search --help");
        assert_eq!(arranged("search help"), "search help");
    }
}
