//! Completion in shells. The scripts in `contrib/completions` run `pyratectl --complete` with what stands before the cursor, and
//! offer its answer: a line with the kind of the answer, then one for each candidate.
//!
//! | the scripts ask with | and are answered |
//! |---|---|
//! | `bash`, COMP_WORDBREAKS, the line up to the cursor | words as bash puts them into the line, with quotes |
//! | `zsh` or `fish`, the words after the name of the program, the last up to the cursor | word, tab, description |
//!
//! The kinds are `words`, `unfinished` (no blank follows a single candidate), and `files`: the shell completes a path.
//!
//! Without a daemon, or if it takes longer than is waited (35 ms, or what [`WAIT_VARIABLE`] says), what it knows is left out. There
//! are no errors.

mod bash;
mod daemon;

use super::clock::Deadline;
use super::command_line::{Commands, commands, has_value, is_called, takes_positionals};
use super::values::{LEVELS, MOVES, Shell, SortKey, duration, is_ids};
use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind};
use bash::Line;
use daemon::Question;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The first argument of a run that completes.
pub(super) const OPTION: &str = "--complete";

/// How long the daemon, and the disks that are read to find it, may take. The shell waits for that.
const ANSWER_WAIT: Duration = Duration::from_millis(35);

/// Says what they may take instead.
const WAIT_VARIABLE: &str = "PYRATECTL_COMPLETION_WAIT";

/// The script for a shell.
pub(super) fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("../../../contrib/completions/pyratectl.bash"),
        Shell::Zsh => include_str!("../../../contrib/completions/_pyratectl"),
        Shell::Fish => include_str!("../../../contrib/completions/pyratectl.fish"),
    }
}

/// What may stand at the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    word: String,
    about: String,
}

impl Candidate {
    fn new(word: impl Into<String>, about: impl Into<String>) -> Self {
        Self { word: word.into(), about: about.into() }
    }
}

/// What is offered at the cursor.
#[derive(Debug, Default, PartialEq)]
struct Offer {
    /// The shell's own completion of paths.
    files: bool,
    words: Vec<Candidate>,
    /// What the daemon knows as well.
    questions: Vec<Question>,
    /// What was named already, and is not offered again.
    named: Vec<String>,
    /// What all of these follow in the word at the cursor.
    before: String,
}

/// Answers a script; the arguments are those after [`OPTION`].
pub(super) fn complete(arguments: &[OsString]) {
    let texts: Vec<String> = arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let Some((shell, texts)) = texts.split_first() else { return };
    let (words, line) = match (Shell::named(shell), texts) {
        (Some(Shell::Bash), [breaks, text]) => {
            let line = Line::read(text, breaks);
            (line.words.get(1..).unwrap_or_default().to_vec(), Some(line))
        }
        (Some(Shell::Zsh | Shell::Fish), _) => (texts.to_vec(), None),
        _ => return,
    };
    let Some((current, before)) = words.split_last() else { return };
    let commands = commands();
    let place = Place::after(&commands, before);
    let mut offer = place.offer(&commands, current);
    if !offer.questions.is_empty() {
        offer.words.extend(ask(place.socket.map(expanded), std::mem::take(&mut offer.questions)));
    }
    let text = written(offer, current, line.as_ref());
    // A shell that has gone needs no answer.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Asks the daemon in a thread of its own, since nothing else limits the time that files and sockets take, and gives what is known
/// when that time is over.
fn ask(socket: Option<PathBuf>, questions: Vec<Question>) -> Vec<Candidate> {
    let wait = std::env::var(WAIT_VARIABLE).ok().and_then(|text| duration(&text).ok()).unwrap_or(ANSWER_WAIT);
    let until = Deadline::after(wait);
    let (sender, receiver) = mpsc::channel();
    // Whatever goes wrong, what was found before is offered.
    let _ = thread::Builder::new().spawn(move || daemon::ask(socket.as_deref(), &questions, wait, &sender));
    let mut found = Vec::new();
    while let Ok(more) = receiver.recv_timeout(until.left().unwrap_or_default()) {
        found.extend(more);
    }
    found
}

/// The answer as its script reads it.
fn written(offer: Offer, current: &str, line: Option<&Line>) -> String {
    if offer.files {
        return "files\n".into();
    }
    let words = offer.words.into_iter().filter(|found| !offer.named.contains(&found.word));
    let words = words.map(|found| Candidate { word: offer.before.clone() + &found.word, ..found });
    let fitting: Vec<Candidate> = words.filter(|found| found.word.starts_with(current)).collect();
    let is_unfinished = !fitting.is_empty() && fitting.iter().all(|found| found.word.ends_with(['/', '=']));
    let mut shown = BTreeSet::new();
    let mut text = String::from(if is_unfinished { "unfinished\n" } else { "words\n" });
    for Candidate { word, about } in fitting {
        if !shown.insert(word.clone()) {
            continue;
        }
        match line {
            Some(line) => text.extend(line.replacement(&word).map(|put| put + "\n")),
            None if about.is_empty() => text += &format!("{word}\n"),
            None => text += &format!("{word}\t{about}\n"),
        }
    }
    text
}

/// A path that the shell has not expanded yet.
fn expanded(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}

/// What stands before the word at the cursor.
#[derive(Default)]
struct Place<'a> {
    command: Option<&'a CommandInfoWithArgs>,
    /// The words before the cursor ask for help.
    is_help: bool,
    /// The command does not exist: nothing fits.
    is_lost: bool,
    options: Vec<&'a FlagInfo<'a>>,
    arguments: Vec<&'a str>,
    /// The option whose value is to follow.
    open: Option<&'a FlagInfo<'a>>,
    options_ended: bool,
    socket: Option<&'a str>,
}

impl<'a> Place<'a> {
    fn after(commands: &'a Commands, words: &'a [String]) -> Self {
        let mut place = Self::default();
        for word in words {
            place.pass(commands, word);
        }
        place
    }

    fn pass(&mut self, commands: &'a Commands, word: &'a str) {
        if let Some(option) = self.open.take() {
            self.take_value(option, word);
        } else if word == "--" {
            self.options_ended = true;
        } else if word.starts_with('-') && !self.options_ended {
            let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            let Some(option) = self.flags(commands).find(|flag| is_called(flag, name)) else { return };
            self.options.push(option);
            match value {
                Some(value) => self.take_value(option, value),
                None => self.open = has_value(option).then_some(option),
            }
        } else if self.command.is_some() {
            self.arguments.push(word);
        } else if word == "help" {
            self.is_help = true;
        } else {
            self.command = commands.named(word);
            self.is_lost = self.command.is_none();
        }
    }

    fn take_value(&mut self, option: &FlagInfo<'_>, value: &'a str) {
        if option.long == "--socket" {
            self.socket = Some(value);
        }
    }

    /// The options that may stand here: those of the command, then those of the program.
    fn flags(&self, commands: &'a Commands) -> impl Iterator<Item = &'a FlagInfo<'a>> + use<'a> {
        let own = self.command.map_or(&[][..], |command| command.flags);
        own.iter().chain(commands.program_flags())
    }

    fn offer(&self, commands: &'a Commands, current: &str) -> Offer {
        if self.is_lost {
            return Offer::default();
        }
        if let Some(option) = self.open {
            return value_of(option);
        }
        if current.starts_with('-') && !self.options_ended {
            return match current.split_once('=') {
                Some((name, _)) => {
                    let option = self.flags(commands).find(|flag| is_called(flag, name) && has_value(flag));
                    option.map(value_of).unwrap_or_default()
                }
                None => self.offer_options(commands),
            };
        }
        let Some(command) = self.command else {
            let all = commands.all().map(|command| Candidate::new(command.name, command.description));
            let help = (!self.is_help).then(|| Candidate::new("help", "explain a command"));
            return Offer { words: all.chain(help).collect(), ..Offer::default() };
        };
        if self.is_help {
            return Offer::default();
        }
        if !takes_positionals(command, self.arguments.len() + 1) {
            return if self.options_ended { Offer::default() } else { self.offer_options(commands) };
        }
        let next = command.positionals.get(self.arguments.len()).or(command.positionals.last());
        next.map(|next| self.offer_argument(command.name, next.name, current)).unwrap_or_default()
    }

    fn offer_options(&self, commands: &'a Commands) -> Offer {
        let unused = self.flags(commands).filter(|flag| !self.options.iter().any(|given| given.long == flag.long));
        let words = unused.map(|flag| Candidate::new(flag.long, flag.description));
        Offer { words: words.collect(), ..Offer::default() }
    }

    /// What fits as an argument with this name of a command.
    fn offer_argument(&self, command: &'static str, argument: &str, current: &str) -> Offer {
        let list = current.rfind(',').map_or("", |comma| &current[..=comma]);
        let named = || self.arguments.iter().flat_map(|word| word.split(',')).chain(list.split(',')).map(str::to_owned);
        let ids = |questions| Offer {
            words: if list.is_empty() { vec![Candidate::new("all", "")] } else { Vec::new() },
            questions,
            named: named().collect(),
            before: list.into(),
            ..Offer::default()
        };
        let asked = |question| Offer { questions: vec![question], ..Offer::default() };
        match argument {
            "ID" if command == "hits" => ids(vec![Question::Hits]),
            // `move` takes one ID.
            "ID" if command == "move" => asked(Question::Downloads { command }),
            "ID" if command == "wishes" => asked(Question::Wishes),
            "WISH" => ids(vec![Question::Wishes]),
            "ID" => ids(vec![Question::Downloads { command }]),
            "PEER" => asked(Question::Peers { suffix: "" }),
            "TO" => Offer { words: MOVES.map(|(word, _)| Candidate::new(word, "")).into(), ..Offer::default() },
            "LEVEL" => Offer { words: LEVELS.map(|level| Candidate::new(level, "")).into(), ..Offer::default() },
            "SHELL" => Offer { words: Shell::NAMES.map(|shell| Candidate::new(shell, "")).into(), ..Offer::default() },
            "WHAT" if command == "forget" => ids(vec![Question::Downloads { command }, Question::Peers { suffix: "" }]),
            "DIR" => self.offer_directories(current),
            "WHAT" if command == "link" => self.offer_linkable(command, current, ids(Vec::new())),
            "WHAT" => match current.split_once('/') {
                _ if current.starts_with('b') => asked(Question::Contents),
                Some((peer, _)) => asked(Question::Names { peer: peer.into() }),
                None if current.is_empty() || !list.is_empty() => ids(vec![Question::Hits]),
                None => ids(vec![Question::Peers { suffix: "/" }, Question::Hits]),
            },
            _ => Offer::default(),
        }
    }
}

impl Place<'_> {
    fn offer_directories(&self, current: &str) -> Offer {
        let others = match current.split_once('/') {
            Some((peer, _)) => vec![Question::DirectoriesOf { peer: peer.into() }],
            None => vec![Question::Peers { suffix: "/" }, Question::FoundDirectories],
        };
        let shared = Question::SharedDirectories { beginning: current.into() };
        Offer { questions: [vec![shared], others].concat(), ..Offer::default() }
    }

    /// What a link can be made for. `ids`: an offer of ids, without questions.
    fn offer_linkable(&self, command: &'static str, current: &str, ids: Offer) -> Offer {
        if self.options.iter().any(|option| option.long == "--downloads") {
            return Offer { questions: vec![Question::Downloads { command }], ..ids };
        }
        let shared = Question::Shared { beginning: current.into() };
        let directories = Question::SharedDirectories { beginning: current.into() };
        if !ids.before.is_empty() {
            // A name may have a comma too.
            let questions = if is_ids(current.trim_end_matches(',')) { vec![Question::Hits] } else { vec![shared] };
            let before = if questions.contains(&Question::Hits) { ids.before } else { String::new() };
            return Offer { questions, before, ..ids };
        }
        let more = match current.split_once('/') {
            Some((peer, _)) => vec![Question::Names { peer: peer.into() }],
            None if current.is_empty() => vec![Question::Hits],
            None if current.starts_with('b') => vec![Question::Contents],
            None => vec![Question::Peers { suffix: "/" }, Question::Hits],
        };
        Offer { questions: [vec![shared, directories], more].concat(), ..ids }
    }
}

/// What fits as the value of an option.
fn value_of(option: &FlagInfo<'_>) -> Offer {
    let FlagInfoKind::Option { arg_name } = option.kind else { return Offer::default() };
    let keys = || SortKey::NAMES.map(|key| Candidate::new(key, "")).into();
    match arg_name {
        "path" => Offer { files: true, ..Offer::default() },
        "key" => Offer { words: keys(), ..Offer::default() },
        "number" => Offer { questions: vec![Question::Searches], ..Offer::default() },
        _ => Offer::default(),
    }
}

#[cfg(test)]
mod tests;
