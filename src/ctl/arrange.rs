//! Prepares the arguments for the parser: options of the program may stand anywhere, while it takes them at the beginning.

use super::commands::Commands;

/// Moves the options of the program to the front and cuts `--option=value` in two. What follows `--` stays as it is.
pub(super) fn arrange(commands: &Commands, arguments: Vec<String>) -> Vec<String> {
    let (mut front, mut rest, mut excluded, mut help) = (Vec::new(), Vec::new(), Vec::new(), false);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) if commands.takes_value(name) && name.starts_with("--") => {
                (name, Some(value.to_owned()))
            }
            _ => (argument.as_str(), None),
        };
        if argument == "--" {
            rest.push(argument);
            rest.extend(arguments);
            break;
        } else if argument == "--help" || argument == "-h" {
            help = true;
        } else if is_excluded_word(commands, &rest, &argument) {
            excluded.push(argument);
        } else if let Some((short, value)) = split_short(commands, &argument) {
            rest.extend([short.to_owned(), value.to_owned()]);
        } else if commands.is_of_program(name) || commands.takes_value(name) {
            let side = if commands.is_of_program(name) { &mut front } else { &mut rest };
            side.push(name.to_owned());
            if commands.takes_value(name) {
                side.extend(value.or_else(|| arguments.next()));
            }
        } else {
            rest.push(argument);
        }
    }
    while rest.first().is_some_and(|command| command == "help") {
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

/// An option of one letter, and the value that follows it in the same argument.
fn split_short<'a>(commands: &Commands, argument: &'a str) -> Option<(&'a str, &'a str)> {
    let (short, value) = argument.split_at_checked(2).filter(|(_, value)| !value.is_empty())?;
    (!argument.starts_with("--") && commands.takes_value(short)).then_some((short, value))
}

/// Whether an argument of `search` is a word that is to be excluded, which looks like an option.
fn is_excluded_word(commands: &Commands, before: &[String], argument: &str) -> bool {
    let word = argument.strip_prefix('-').filter(|word| !word.is_empty() && !word.starts_with('-'));
    let is_option = commands.takes_value(argument) || commands.is_of_program(argument);
    word.is_some() && !is_option && before.first().is_some_and(|command| command == "search")
}
