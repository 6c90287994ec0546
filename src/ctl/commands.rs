//! The commands of `pyratectl`, with their options and arguments, as data: what the parser knows of them.

use super::argv;
use super::wording::Failure;
use crate::name::Escaped;
use crate::suggest::closest;
use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality};

/// The table of the commands.
pub(super) struct Commands(CommandInfoWithArgs);

impl Commands {
    /// From the information about the whole program.
    pub(super) fn new(program: CommandInfoWithArgs) -> Self {
        Self(program)
    }

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

    /// The first command or option that does not exist, or argument that the command does not take, in arguments that [`arrange`](super::arrange::arrange) gave.
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
    flag.long == option || option.strip_prefix('-').is_some_and(|rest| rest.chars().eq(flag.short))
}

/// A word of the user, escaped.
fn shown(word: &str) -> String {
    Escaped(&argv::decode(word)).to_string()
}
