//! The command line of `pyratectl` (pyratectl(1)), read with the table of its commands.

use super::args::{Command, Line, Status};
use super::usage::{failure, with_help};
use super::values::{decode, encode};
use super::wording::Failure;
use crate::name::Escaped;
use crate::suggest::closest;
use argh::{ArgsInfo, CommandInfoWithArgs, FlagInfo, FlagInfoKind, FromArgs, Optionality};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// How long a daemon may take for an answer unless the user says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How the results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Tables for people.
    Text,
    /// Tab-separated values with a header.
    Terse,
    /// One JSON document, or one a line.
    Json,
}

#[derive(Debug, PartialEq)]
pub(super) struct Options {
    /// Given with `--socket`.
    pub(super) socket: Option<PathBuf>,
    pub(super) form: Form,
    /// The wait for one answer.
    pub(super) timeout: Duration,
    /// The wait for downloads to end; `None` unless the user gave one.
    pub(super) follow_timeout: Option<Duration>,
    pub(super) command: Command,
}

/// Why no command is run.
#[derive(Debug, PartialEq)]
pub(super) enum Early {
    /// Help or version: for the standard output, and the program succeeds.
    Told(String),
    /// A usage error, in one or more lines.
    Usage {
        message: String,
        /// `--json` was asked for.
        json: bool,
        /// Whose arguments are wrong, if that is known.
        command: Option<&'static str>,
    },
    /// A host name in the arguments has no address.
    Failed { failure: Failure, json: bool },
}

/// Reads the arguments after the program's name.
pub(super) fn parse(arguments: &[OsString]) -> Result<Options, Early> {
    let commands = commands();
    let arguments = arrange(&commands, arguments.iter().map(encode).collect());
    let json = arguments.iter().take_while(|a| *a != "--").any(|a| a == "--json");
    let command = commands.first_of(&arguments);
    let usage = |message: &str| Early::Usage { message: shown(message), json, command };
    if let Some(unknown) = commands.unknown(&arguments) {
        return Err(Early::Usage { message: unknown.into(), json, command });
    }
    let borrowed: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let line = Line::from_args(&["pyratectl"], &borrowed).map_err(|early| match early.status {
        Ok(()) => Early::Told(with_help(&early.output)),
        Err(()) => match failure(early.output.trim(), command) {
            Some(failure @ Failure::NoLookup { .. }) => Early::Failed { failure, json },
            failure => usage(&failure.map_or(early.output, String::from)),
        },
    })?;
    if line.version {
        return Err(Early::Told(format!("pyratectl {}\n", env!("CARGO_PKG_VERSION"))));
    }
    let form = match (line.json, line.terse) {
        (true, true) => return Err(Early::Usage { message: Failure::BothForms.into(), json, command: None }),
        (true, false) => Form::Json,
        (false, true) => Form::Terse,
        (false, false) => Form::Text,
    };
    let command = line.command.unwrap_or(Command::Status(Status { verbose: false }));
    let no_id = |ids: &[String], command| ids.is_empty().then_some(Failure::NoId { command });
    let missing = match &command {
        Command::Search(search) => search.text.is_empty().then_some(Failure::NoText { command: "search" }),
        Command::Wish(wish) => wish.text.is_empty().then_some(Failure::NoText { command: "wish" }),
        Command::Unwish(unwish) => unwish.which.is_empty().then_some(Failure::NoWishNamed),
        Command::Download(download) => {
            (download.what.is_empty() && download.manifest.is_none()).then_some(Failure::NothingNamed)
        }
        Command::Downloads(shown) => (!shown.ids.is_empty() && shown.has_filter()).then_some(Failure::IdsAndStates),
        Command::Forget(forget) => (forget.what.is_empty() && !forget.finished).then_some(Failure::ForgetsNothing),
        Command::Link(link) => link.what.is_empty().then_some(Failure::NothingToLink),
        Command::Follow(follow) => no_id(&follow.ids, "follow"),
        Command::Wait(wait) => no_id(&wait.ids, "wait"),
        Command::Hits(hits) => (hits.all && hits.search.is_some()).then_some(Failure::AllOrOne),
        Command::Pause(order) => no_id(&order.ids, "pause"),
        Command::Resume(order) => no_id(&order.ids, "resume"),
        Command::Retry(order) => no_id(&order.ids, "retry"),
        Command::Cancel(order) => no_id(&order.ids, "cancel"),
        Command::Events(events) => {
            (events.state.is_some() && events.exec.is_none()).then_some(Failure::StateWithoutExec)
        }
        _ => None,
    };
    if let Some(missing) = missing {
        return Err(usage(&String::from(missing)));
    }
    Ok(Options {
        socket: line.socket.map(|path| path.0),
        form,
        timeout: line.timeout.unwrap_or(TIMEOUT),
        follow_timeout: line.timeout,
        command,
    })
}

/// A message of the parser, with the user's bytes escaped.
fn shown(message: &str) -> String {
    message.trim().lines().map(|line| Escaped(&decode(line)).to_string()).collect::<Vec<_>>().join("\n")
}

/// Moves the options of the program to the front and cuts `--option=value` in two. What follows `--` stays as it is.
fn arrange(commands: &Commands, arguments: Vec<String>) -> Vec<String> {
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

/// What the parser knows of the commands, as data.
pub(super) fn commands() -> Commands {
    Commands(Line::get_args_info())
}

/// The commands with their options and arguments.
pub(super) struct Commands(CommandInfoWithArgs);

impl Commands {
    /// All commands.
    pub(super) fn all(&self) -> impl Iterator<Item = &CommandInfoWithArgs> {
        self.0.commands.iter().map(|listed| &listed.command)
    }

    /// The options of the program itself.
    pub(super) fn program_flags(&self) -> &[FlagInfo<'static>] {
        self.0.flags
    }

    /// The command of this name.
    pub(super) fn named(&self, name: &str) -> Option<&CommandInfoWithArgs> {
        self.all().find(|command| command.name == name)
    }

    /// Whether an option, of the program or of any command, takes a value.
    pub(super) fn takes_value(&self, option: &str) -> bool {
        let all = std::iter::once(&self.0).chain(self.all());
        all.flat_map(|command| command.flags).any(|flag| is_called(flag, option) && has_value(flag))
    }

    /// Whether an option is one of the program itself, which may stand anywhere.
    pub(super) fn is_of_program(&self, option: &str) -> bool {
        self.0.flags.iter().any(|flag| is_called(flag, option))
    }

    /// The command that arguments which [`arrange`] gave name.
    fn first_of(&self, arguments: &[String]) -> Option<&'static str> {
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if self.takes_value(argument) {
                arguments.next();
            } else if !argument.starts_with('-') {
                return self.named(argument).map(|command| command.name);
            }
        }
        None
    }

    /// The first command or option that does not exist, or argument that the command does not take, in arguments that [`arrange`] gave.
    pub(super) fn unknown(&self, arguments: &[String]) -> Option<Failure> {
        let mut arguments = arguments.iter();
        let mut command: Option<&CommandInfoWithArgs> = None;
        let mut options_ended = false;
        let mut positionals = 0;
        while let Some(argument) = arguments.next() {
            if argument == "--" && !options_ended {
                options_ended = true;
            } else if argument.starts_with('-') && !options_ended {
                let flags = command.map_or(self.0.flags, |command| command.flags);
                match flags.iter().find(|flag| is_called(flag, argument)) {
                    Some(flag) if has_value(flag) => drop(arguments.next()),
                    Some(_) => {}
                    None => return Some(self.no_option(argument, command)),
                }
            } else if let Some(command) = command {
                positionals += 1;
                if !takes_positionals(command, positionals) {
                    return Some(Failure::OneTooMany { argument: shown(argument), command: command.name });
                }
            } else {
                let Some(named) = self.named(argument) else { return Some(self.no_command(argument)) };
                command = Some(named);
            }
        }
        None
    }

    fn no_command(&self, word: &str) -> Failure {
        let nearest = closest(word, self.all().map(|command| command.name).chain(["help"]));
        Failure::NoCommand { word: shown(word), nearest }
    }

    fn no_option(&self, argument: &str, command: Option<&CommandInfoWithArgs>) -> Failure {
        let option = shown(argument);
        let of = self.all().find(|of| of.flags.iter().any(|flag| is_called(flag, argument)));
        if let (None, Some(of)) = (command, of) {
            return Failure::OptionBeforeCommand { option, command: of.name };
        }
        let flags = command.map_or(&[][..], |command| command.flags);
        let known = flags.iter().chain(self.0.flags).map(|flag| flag.long.trim_start_matches('-'));
        let name = argument.split('=').next().unwrap_or(argument);
        let nearest = closest(name.trim_start_matches('-'), known);
        Failure::NoOption { option, command: command.map(|command| command.name), nearest }
    }
}

/// Whether a command takes so many arguments beside its options.
pub(super) fn takes_positionals(command: &CommandInfoWithArgs, count: usize) -> bool {
    let repeats = command.positionals.last().is_some_and(|last| last.optionality == Optionality::Repeating);
    repeats || count <= command.positionals.len()
}

/// Whether a value follows an option.
pub(super) fn has_value(flag: &FlagInfo<'_>) -> bool {
    matches!(flag.kind, FlagInfoKind::Option { .. })
}

/// Whether this is the name of an option, with its dashes, long or short.
pub(super) fn is_called(flag: &FlagInfo<'_>, option: &str) -> bool {
    // `-` alone names no option: its rest, which is empty, would equal the short form that an option does not have.
    flag.long == option || option.strip_prefix('-').is_some_and(|rest| !rest.is_empty() && rest.chars().eq(flag.short))
}

#[cfg(test)]
mod tests;
