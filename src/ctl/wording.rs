//! What can go wrong in the client itself, each with the code to exit with and the sentence that people read; and what the client
//! remarks beside a result. The daemon words what it reports, and `rows` words results.
//!
//! Names, and what else came from the daemon, are escaped by whoever makes one of these; paths are escaped here.

mod hooks;

use super::text::{count, size};
use crate::content::ManifestFault;
use crate::control::CallError;
use crate::control::ExitCode::{Checksum, Exists, FileIo, Network, NoDaemon, NotFound, Other, TimedOut, Usage};
use crate::control::WholeNames;
use crate::control::problems;
use crate::link::LinkFault;
use crate::name::Escaped;
use crate::network::IPV4_FORM;
pub(crate) use hooks::{BadPosition, ProgramFault};
use humantime::format_duration;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// How the sentence of [`Failure::NoLookup`] begins and ends: this failure is no fault of the command line, though its parser has it.
pub(crate) const NO_LOOKUP: &str = "cannot look up '";
pub(crate) const NO_LOOKUP_ADVICE: &str = "; check the spelling, or name an IP address";

/// Why a host name gives no peer, where the system names no error.
pub(crate) const NO_ADDRESS: &str = "it has no address";

problems! {
    /// Why a command ends without its result.
    Failure;

    CommandLine(String): Usage, ("{0}");
    NoValue { option: String }: Usage, ("{option} needs a value");
    Twice { option: String }: Usage, ("{option} is given twice");
    Missing { command: &'static str, argument: String }: Usage, ("{command} needs {} {argument}", article(.argument));
    BadValue { value: String, of: String, why: String }: Usage, ("\"{value}\" is no value for {of}: {why}");
    BadArgument { value: String, of: String, why: String }: Usage, ("\"{value}\" is no {of}: {why}");
    NotHops: Usage, ("a number of hops is from 0 to 255");
    NoCommand { word: String, nearest: Option<&'static str> }: Usage, ("no command \"{word}\"{}", did_you_mean("", .nearest));
    NoOption { option: String, command: Option<&'static str>, nearest: Option<&'static str> }: Usage,
        ("no option \"{option}\"{}{}", .command.map(|name| format!(" of {name}")).unwrap_or_default(),
            did_you_mean("--", .nearest));
    OptionBeforeCommand { option: String, command: &'static str }: Usage, ("\"{option}\" is an option of {command}, and stands after that word");
    OneTooMany { argument: String, command: &'static str }: Usage, ("\"{argument}\" is one argument too many for {command}");
    BothForms: Usage, ("--json and --terse exclude one another");
    NoText { command: &'static str }: Usage, ("{command} needs a TEXT");
    NoWishNamed: Usage, ("unwish needs an ID, all or the TEXT of a wish");
    NothingNamed: Usage, ("download needs an ID, PEER/NAME, PEER/DIR/, b3=HASH, a link or --manifest FILE");
    OneManifest: Usage, ("manifest takes the ID of one hit; a directory of such a name is ./NAME/");
    HitIsFile { id: u32 }: Usage, ("hit {id} is a file, and has no manifest; `pyratectl download {id}` fetches it");
    NothingToLink: Usage, ("link needs a NAME, ID, PEER/NAME or b3=HASH");
    NoDownloads: NotFound, ("'all' selects nothing: no download is remembered");
    NotListed { peer: SocketAddr, name: String }: NotFound, ("{peer} shares no \"{name}\"; `pyratectl list {peer}` shows what it shares");
    ListedDirectory { peer: SocketAddr, name: String }: NotFound, ("\"{name}\" of {peer} is a directory; name it {peer}/{name}/ for a link to all that is in it");
    UnknownContent { hex: String }: NotFound, ("no file that is shared or downloaded here and no hit has this hash; `pyratectl search b3={hex}` looks for one");
    IdsAndStates: Usage, ("downloads takes IDs, or --active, --failed and --finished, not both");
    ForgetsNothing: Usage, ("forget needs an ID, --finished or a PEER");
    ForgetsOnePeer: Usage, ("forget takes one PEER and nothing else, or IDs of downloads");
    NoId { command: &'static str }: Usage, ("{command} needs an ID");
    EmptyPath: Usage, ("a path is not empty");
    NotATime: Usage, ("a time is a number with a unit, as 30s, 500ms or 2m");
    NotAnInterval: Usage, ("--watch takes a time of 100ms or more, as 2s");
    NotPositive: Usage, ("a whole number from 1 on");
    NotARate: Usage, ("a rate is a number of bytes a second, as 5MiB or 500KiB, or 0 for no limit");
    NotAMove: Usage, ("a download is moved to the top, up, down or to the bottom");
    NotALevel { known: String }: Usage, ("a level is one of {known}");
    NotAShell { known: String }: Usage, ("a shell is one of {known}");
    NotASortKey { known: String }: Usage, ("hits are sorted by one of {known}");
    AllOrOne: Usage, ("--all and --search exclude one another");
    NoSuchSearch(u32): NotFound, ("no search {0} is remembered; `pyratectl searches` lists those that are");
    NotAPeer(WrongPeer): Usage, ("a peer is an address or host name, and perhaps a port, as 192.0.2.7:63339, localhost or [2001:db8::7]:63339{0}");
    NoLookup { host: String, why: String }: Network, ("{NO_LOOKUP}{host}': {why}{NO_LOOKUP_ADVICE}");
    NotAHash: Usage, ("b3= is followed by 64 hex digits");
    BadLink(LinkFault): Usage, ("{0}");
    LinkWithoutPeer: Usage, ("the link is to a directory and names no peer; add the address of one that shares it, as &peer=192.0.2.7:63339");
    NoNameAfterPeer { peer: String }: Usage,
        ("no name follows the peer {peer}; `pyratectl list {peer}` shows what it shares: name a file or a directory of that, as \
            {peer}/DIR/");
    NothingToDownload: Usage,
        ("name ids of hits (7, 2,4-6, all), a file or directory of a peer (192.0.2.7:63339/NAME, 192.0.2.7:63339/DIR/), a content (b3=HASH), or a link (pyrate:b3=...)");
    OutputTaken: Usage, ("'-o -' writes the file to the standard output: it cannot be combined with --detach, --json or --terse");
    SeveralToOutput: Usage, ("'-o -' takes one file; a directory or several files go into a directory");
    SeveralToFile { place: PathBuf }: Usage,
        ("a directory or several files go into a directory, and '{0}' is not one; '{0}/' would be created", Escaped::path(.place));
    SeveralOntoFile { place: PathBuf }: Usage,
        ("a directory or several files go into a directory, and '{}' is a file; name another path with `-o`", Escaped::path(.place));
    NotSince: Usage, ("--since takes a date, as 2026-11-27 or 2026-11-27T18:00, or how long ago, as 7d or 12h");
    NotAnEventId: Usage, ("an event id is a whole number, as in the lines of 'events --since 0'");
    StateWithoutExec: Usage, ("--state says where --exec remembers how far it came; name a program with --exec");
    NoProgram { path: PathBuf }: Usage, ("'{}' is no name of a program", Escaped::path(.path));
    CannotStart { error: String }: Other, ("cannot start a program: {error}");
    NoPlaceForPosition: Usage, ("HOME is not set; name a file with --state");
    Position { path: PathBuf, why: BadPosition }: FileIo, ("the state file '{}': {why}", Escaped::path(.path));
    NoWorkingDirectory { error: String }: FileIo, ("the current directory is not known: {error}");

    NotPermitted { path: PathBuf, permitted: Permitted, others: Vec<Tried>, ignored: Vec<Ignored> }: NoDaemon,
        ("not permitted to talk to the daemon at {}; {permitted}{}{}", Escaped::path(.path),
            if .others.is_empty() { String::new() } else { format!("; no daemon answers at {}", listed(.others)) },
            added(.ignored));
    AcceptsNone { path: PathBuf }: TimedOut, ("the daemon at {} accepts no connection; it may be busy: try again, or restart it", Escaped::path(.path));
    NoneAnswers { tried: Vec<Tried>, ignored: Vec<Ignored> }: NoDaemon,
        ("no daemon answers at {}; start one with `pyrated`, or `systemctl start pyrated`{}", listed(.tried), added(.ignored));

    NoScreen(NoScreen): Usage, ("top needs a terminal to draw on: {0}; `pyratectl status` and `pyratectl events` do without");
    CannotRedraw(NoScreen): Usage, ("--watch needs a terminal to draw on: {0}; with --json it prints a document each time");
    CannotDraw { error: String }: FileIo, ("cannot draw on the terminal: {error}");
    CannotWatch { error: String }: Other, ("cannot watch for Ctrl-C: {error}");
    CannotWait { error: String }: Other, ("cannot wait: {error}");
    Interrupted: Other, ("interrupted");
    ScanInterrupted: Other, ("interrupted; the scan continues in the daemon");
    HungUp { path: PathBuf }: NoDaemon, ("the daemon at {} hung up; its log may tell why", Escaped::path(.path));
    NoAnswer { path: PathBuf, within: Duration }: TimedOut,
        ("the daemon at {} did not answer within {}; --timeout waits longer", Escaped::path(.path), format_duration(*.within));
    OtherVersion { path: PathBuf, why: Unexpected }: Other,
        ("what answers at {} is no daemon of this version: {why}; restart the daemon after an upgrade", Escaped::path(.path));
    NoList { peer: SocketAddr, within: Duration }: TimedOut,
        ("no list from {peer}: the daemon reported nothing for {}", format_duration(*.within));
    NoEndOfScan { within: Duration }: TimedOut, ("no end of the scan: the daemon reported nothing for {}", format_duration(*.within));
    NotStopped { within: Duration }: TimedOut, ("the daemon has not stopped within {}", format_duration(*.within));

    CannotWrite { error: String }: FileIo, ("cannot write the result: {error}");
    FileExists { path: PathBuf }: Exists,
        ("'{}' exists, and is not replaced; remove it, or choose another path with `-o`", Escaped::path(.path));
    CannotSave { path: PathBuf, error: String }: FileIo, ("cannot write '{}': {error}", Escaped::path(.path));
    CannotReadManifest { path: PathBuf, error: String }: FileIo, ("cannot read the manifest '{}': {error}", Escaped::path(.path));
    NotAManifest { path: PathBuf, fault: ManifestFault }: Usage,
        ("'{}': {fault}; save it again with `pyratectl manifest DIR/ -o FILE`", Escaped::path(.path));
    LinkInPlaceOfManifest { path: PathBuf }: Usage,
        ("'{}' has a link and no manifest; give `pyratectl download` the link itself, between quotes", Escaped::path(.path));
    NoNameForDirectory { path: PathBuf }: Usage,
        ("the directory is saved under the name of the manifest, and no directory can be called as '{}' is; rename the file",
            Escaped::path(.path));
    ManifestDamaged: Checksum, ("what the daemon sent is not the manifest whose hash it named; try again");
    PlaceNotGiven: FileIo, ("the daemon did not say where it saved the file");
    CannotRead { path: String, error: String }: FileIo, ("cannot read '{path}', where the daemon has saved it: {error}");
    ChangedSince { path: String, b3: String }: Checksum,
        ("'{path}' was changed since it was saved: what was written is not the content of {b3}");
}

/// For the parser of the command line, which takes texts.
impl From<Failure> for String {
    fn from(failure: Failure) -> Self {
        failure.to_string()
    }
}

/// Why a text names no peer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[rustfmt::skip]
pub(crate) enum WrongPeer {
    #[error("")] Form,
    #[error("; {IPV4_FORM}, and '{host}' is none")] Number { host: String },
}

/// Why nothing can be drawn.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[rustfmt::skip]
pub(crate) enum NoScreen {
    #[error("{0} asks for a form that programs read")] Form(&'static str),
    #[error("the standard {0} is none")] NotATerminal(&'static str),
    #[error("TERM is not set")] Nameless,
    #[error("TERM is 'dumb', a terminal that cannot move its cursor")] Dumb,
}

/// A socket, and why no daemon answers there.
pub(crate) type Tried = (PathBuf, NoSocket);

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[rustfmt::skip]
pub(crate) enum NoSocket {
    #[error("no such socket")] Missing,
    #[error("nothing listens")] Refused,
    #[error("{0}")] Other(String),
}

/// A configuration file, and why nothing can be learned from it.
pub(crate) type Ignored = (PathBuf, NoSetting);

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[rustfmt::skip]
pub(crate) enum NoSetting {
    #[error("not a regular file")] NotRegular,
    #[error("longer than {0} bytes")] TooLong(u64),
    #[error("{0}")] Unreadable(String),
    #[error("line {line}: {error}")] Syntax { line: usize, error: String },
    #[error("control_socket is not a string")] NotAString,
    #[error("control_socket begins with ~, and HOME is not set")] NoHome,
    #[error("control_socket is a relative path; --socket must tell where it is")] Relative,
}

/// Who may talk to a daemon.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[rustfmt::skip]
pub(crate) enum Permitted {
    #[error("members of the group '{0}' may: ask to be added, then log in again")] Group(String),
    #[error("members of the group {0} may")] NamelessGroup(u32),
    #[error("run pyratectl as root")] Root,
    #[error("it is the daemon of user '{0}': run pyratectl as '{0}'")] User(String),
    #[error("it is the daemon of user {0}")] NamelessUser(u32),
    #[error("ask its owner")] Unknown,
}

/// What no daemon of this version sends.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[rustfmt::skip]
pub(crate) enum Unexpected {
    #[error("{0}")] Line(String),
    #[error("unexpected answer: {0}")] Answer(String),
    #[error("notices without end, and no answer")] OnlyNotices,
}

/// That of a word in capitals.
fn article(word: &str) -> &'static str {
    if word.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" }
}

/// Asks whether another word was meant, without its dashes here.
fn did_you_mean(dashes: &str, nearest: &Option<&'static str>) -> String {
    nearest.map(|word| format!("; did you mean \"{dashes}{word}\"?")).unwrap_or_default()
}

fn listed(tried: &[Tried]) -> String {
    tried.iter().map(|(path, why)| format!("{} ({why})", Escaped::path(path))).collect::<Vec<_>>().join(", ")
}

fn added(ignored: &[Ignored]) -> String {
    ignored.iter().map(|(file, why)| format!("; {} is ignored: {why}", Escaped::path(file))).collect()
}

/// What is said beside a result, and while it is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Remark {
    #[error("Type `pyratectl {}", command.map_or("--help` for the commands.".into(), |it| format!("help {it}` for its arguments.")))]
    Help { command: Option<&'static str> },
    #[error("pyratectl: {0}")]
    Complaint(String),

    #[error("no peer is known; `pyratectl bootstrap` shows whether a bootstrap node has answered")]
    NoPeer,
    #[error("no hit is remembered; `pyratectl search` looks for some")]
    NoHit,
    #[error("no download is remembered; `pyratectl download` begins one")]
    NoDownload,
    #[error("no download is in such a state; `pyratectl downloads` shows all")]
    NoSuchDownload,
    #[error(
        "nothing to forget: no download is over, or those that are keep their data; `pyratectl cancel` removes that"
    )]
    NothingToForget,
    #[error("no download has ended{}; `pyratectl downloads` shows those in progress", if *.is_since { " since then" } else { "" })]
    NoHistory { is_since: bool },
    #[error("older downloads are no longer in the event log")]
    HistoryCut,
    #[error("no peer fetches anything now; `pyratectl files` shows what is shared")]
    NoUpload,
    #[error("no file is shared; put files into the shared directory, then `pyratectl rescan`")]
    NoFile,
    #[error(
        "this daemon is a bootstrap node alone, and shares nothing; peer = true in its configuration makes it a peer"
    )]
    SharesNothing,
    #[error(
        "no peer is named in a link: no address of this node is known to others yet, or no source is; whoever downloads it \
         searches for its hash (`advertise_addr` in the configuration says where this node is reached)"
    )]
    LinkWithoutPeer,
    #[error(
        "a link to a directory needs a peer: no address of this node is known to others yet; set `advertise_addr` in the \
         configuration"
    )]
    DirectoryLinkWithoutPeer,
    #[error(
        "the link names {peers} alone, which other machines do not reach; set `advertise_addr` in the configuration of {}",
        if peers.contains(' ') { "those nodes" } else { "that node" }
    )]
    LinkWithinMachine { peers: String },
    #[error("{name} is shared with {audience} alone: others who have the link are refused")]
    LinkForSome { name: String, audience: String },
    #[error("nothing in the shared directory is left out")]
    NothingLeftOut,
    #[error("what is left out of a share that cannot be read is what the last scan found that could read it")]
    LeftOutBefore,
    #[error("{} of the shared directory left out; `pyratectl files --left-out` says why", match count {
        1 => "1 entry".to_owned(),
        count => format!("{count} entries"),
    })]
    LeftOut { count: u64 },
    #[error(
        "symbolic links are not followed; 'follow_symlinks = true' in the configuration has the next start follow them"
    )]
    LinksNotFollowed,
    #[error("outside of the sandbox: name the directories in 'sandbox_readable', and restart pyrated")]
    OutsideSandbox,
    #[error("the daemon keeps no names of further ones: {0}")]
    Unnamed(String),
    #[error("unverified: no source gave a hash, so that what is downloaded cannot be checked")]
    Unverified,
    #[error("and {}", count(*.0, "further line"))]
    LinesLeft(u64),
    #[error("no search is remembered; `pyratectl search` begins one")]
    NoSearch,
    #[error("no wish is remembered; `pyratectl wish` makes one")]
    NoWish,
    #[error("wish {0} has found nothing yet; `pyratectl wishes` shows when it asks next")]
    NothingForWish(u32),
    #[error("some searches found more hits than are remembered")]
    HitsForgotten,
    #[error("this search found more hits than are remembered")]
    HitsOfOneForgotten,
    #[error("the peer shares more files than are remembered")]
    FilesForgotten,
    #[error("there were more hits than are remembered; --max takes up to 1000, and further words narrow the search")]
    SearchTooWide,

    #[error("the search continues in the daemon; `pyratectl hits` shows what it finds")]
    SearchGoesOn,
    #[error("no hit for '{words}'{why}")]
    NoHitFor { words: String, why: NoHit },
    #[error("the list of {0} has no file")]
    EmptyList(SocketAddr),
    #[error("'{words}' {}: only files of exactly this name are found", match why {
        WholeNames::TooShort => "is too short to be looked for in names, which takes words of 3 bytes together",
        WholeNames::TooLong => "has too many words or patterns to be looked for in names",
    })]
    WholeNames { words: String, why: WholeNames },
    #[error("{}; `pyratectl hits ID` shows all names and sources of one", count(*.0, "hit"))]
    Hits(u64),
    #[error("asking {peer}{}", files.map_or_else(String::new, |files| format!(": {}", count(files, "file"))))]
    Listing { peer: SocketAddr, files: Option<u64> },
    #[error("the list is incomplete: {}", .0.message)]
    ListIncomplete(CallError),

    #[error(
        "unfinished downloads continue in the daemon: `pyratectl downloads {ids}` shows them, `pyratectl pause {ids}` or \
         `pyratectl cancel {ids}` stops them"
    )]
    DownloadsGoOn { ids: String },
    #[error("{} queued: {ids}", count(*.number, "download"))]
    Queued { number: u64, ids: String },
    #[error("{id}: {} in {name}{}", count(*files, "file"), bytes.map(|bytes| format!(", {}", size(bytes))).unwrap_or_default())]
    Contents { id: u32, name: String, files: u64, bytes: Option<u64> },
    #[error("{id} {state}: {name}{more}")]
    State { id: u32, state: String, name: String, more: String },
    #[error("{download}: {addr} {loss}; {then}")]
    SourceLost { download: u32, addr: SocketAddr, loss: Loss, then: Then },
    #[error("p, r, t and c are for transfers: Tab turns to them")]
    OnlyForTransfers,
    #[error(
        "download {download} is over: nothing of it is removed; `pyratectl forget {download}` takes it off the list"
    )]
    NothingToCancel { download: u32 },
    #[error("the daemon is gone: nothing was done")]
    GoneMeanwhile,
    #[error("nothing to do: no download is in a state that this changes")]
    NothingToDo,
    #[error("nothing to follow: no download is unfinished; `pyratectl downloads` shows all")]
    NothingToFollow,
    #[error("download {id} is not remembered: {}", why.message)]
    NotRemembered { id: u32, why: CallError },

    #[error("event {id}: {program} {why}; {}", match again {
        Some(wait) => format!("it is run again in {}", format_duration(*wait)),
        None => "the next run repeats the event".to_owned(),
    })]
    ProgramFailed { program: String, id: u64, why: ProgramFault, again: Option<Duration> },
    #[error("how far the program came cannot be remembered: {why}; that is tried again in {}", format_duration(*wait))]
    PositionNotSaved { why: String, wait: Duration },
    #[error("event {id}: {program} has run for {}; later events wait for that", format_duration(*span))]
    ProgramRuns { program: String, id: u64, span: Duration },
    #[error(
        "ending when {program} is done with event {id}; another signal ends the program at once, and the next run repeats the event"
    )]
    EndsAfterProgram { program: String, id: u64 },
    #[error("{program} cannot be run: {why}; the first event waits until it can")]
    NoSuchProgram { program: String, why: String },
    #[error("{why}; waiting for it")]
    WaitsForDaemon { why: String },
    #[error("the daemon answers again")]
    FoundDaemon,
    #[error("the events {first} to {last} are not kept any more: the program was not run for them")]
    EventsGone { first: u64, last: u64 },
    #[error("the daemon has lost the event log that it had; the one that it has now is followed from its beginning")]
    OtherLog,

    #[error("reloaded; no value in force has changed")]
    Reloaded,
    #[error("in force only after a restart of the daemon: {}", .0.join(", "))]
    AfterRestart(Vec<String>),
}

/// Why a search has no hit, and what to try.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[rustfmt::skip]
pub(crate) enum NoHit {
    #[error("; fewer or shorter words find more, `pyratectl peers` shows who is asked")] Unknown,
    #[error(" yet: the search is not over; `pyratectl hits` shows what it finds")] Running,
    #[error(": its filters have dropped {}; wider filters, or none, show more", count(*.0, "hit"))] Filtered(u64),
    #[error("; longer or further words also find parts of names")] TooShort,
    #[error("; fewer words or patterns also find parts of names")] TooLong,
    #[error(": no peer is known{}; `pyratectl bootstrap` shows the state of each bootstrap node", silent(.0))] NoPeer(Vec<Link>),
    #[error(", asking {} known from before: no bootstrap node answers ({}); `pyratectl bootstrap` shows their state",
        count(*.peers, "peer"), listed_links(.links))] Down { peers: u64, links: Vec<Link> },
}

/// A bootstrap node that does not answer, and why.
pub(crate) type Link = (String, Option<String>);

fn silent(links: &[Link]) -> String {
    if links.is_empty() { String::new() } else { format!(", and no bootstrap node answers ({})", listed_links(links)) }
}

fn listed_links(links: &[Link]) -> String {
    let why = |why: &Option<String>| why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    links.iter().map(|(addr, error)| format!("{addr}{}", why(error))).collect::<Vec<_>>().join(", ")
}

/// Why a download does without a source.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[rustfmt::skip]
pub(crate) enum Loss {
    #[error("sent wrong bytes")] Corrupt,
    #[error("refuses to send it")] Refused,
    #[error("failed: {0}")] Failed(String),
    #[error("failed")] FailedSomehow,
}

/// How a download goes on that has lost a source.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[rustfmt::skip]
pub(crate) enum Then {
    #[error("continuing with {}", count(*.0, "other"))] Others(u64),
    #[error("no other source is known")] Alone,
    #[error("the others are asked again later")] OthersLater,
    #[error("it is asked again later")] Later,
}

#[cfg(test)]
mod tests;
