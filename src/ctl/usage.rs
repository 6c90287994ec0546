//! What the parser of the command line finds wrong, told from its sentences and put into our words; and the line for `help`
//! that it does not list.

use super::wording::{Failure, NO_LOOKUP, NO_LOOKUP_ADVICE};

/// A message of the parser about the arguments of a command, as far as it is known.
pub(super) fn failure(message: &str, command: Option<&'static str>) -> Option<Failure> {
    let quoted = |begin: &str| message.strip_prefix(begin);
    if let Some(rest) = quoted("No value provided for option '") {
        return Some(Failure::NoValue { option: rest.trim_end_matches(['.', '\'']).into() });
    }
    if let Some(rest) = quoted("Required positional arguments not provided:") {
        let argument = rest.split_whitespace().next()?.into();
        return command.map(|command| Failure::Missing { command, argument });
    }
    let parts = |rest: &str| {
        let (of, rest) = rest.split_once("' with value '")?;
        let (value, why) = rest.split_once("': ")?;
        Some((of.to_owned(), value.to_owned(), why.to_owned()))
    };
    if let Some((of, value, why)) = quoted("Error parsing positional argument '").and_then(parts) {
        return no_lookup(&why).or(Some(Failure::BadArgument { value, of: of.to_uppercase(), why }));
    }
    let (of, value, why) = quoted("Error parsing option '").and_then(parts)?;
    Some(match why.as_str() {
        "duplicate values provided" => Failure::Twice { option: of },
        _ => Failure::BadValue { value, of, why },
    })
}

/// The failure that has this sentence, if it is that of a host name.
pub(super) fn no_lookup(sentence: &str) -> Option<Failure> {
    let (host, why) = sentence.strip_prefix(NO_LOOKUP)?.split_once("': ")?;
    Some(Failure::NoLookup { host: host.into(), why: why.strip_suffix(NO_LOOKUP_ADVICE)?.into() })
}

/// The help of the program, with `help` among the commands: the parser knows it not as one.
pub(super) fn with_help(text: &str) -> String {
    match text.split_once("\nCommands:\n") {
        Some((before, after)) => format!("{before}\nCommands:\n  {:<18}explain a command\n{after}", "help"),
        None => text.to_owned(),
    }
}
