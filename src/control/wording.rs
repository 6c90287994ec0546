//! What can go wrong for a user: each with the code that scripts test and the sentence that people read. Others name a problem
//! and its facts; what disks, connections and host names report is worded in [`fault`](crate::fault).
//!
//! A sentence is one line, escaped, without a full stop; after a semicolon it says what the user can do, or what happens next.

use super::ExitCode::{Checksum, Exists, FileIo, Network, NoDaemon, NoSource, NotFound, Other, Unfinished, Usage};
use super::{CallError, DownloadState, ExitCode, RawText};
use crate::content::{MANIFEST_BYTES_MAX, ManifestFault};
use crate::fault::{DialFault, DiskFault, RefusalReason};
use crate::link::LinkFault;
use crate::name::{Escaped, FILE_NAME_BYTES_MAX, FileName};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Makes an enum of a table, here and in `ctl`. A row: a problem and its facts; its code, in which named facts stand for their
/// values; and its sentence, as thiserror takes it.
macro_rules! problems {
    ($(#[$doc:meta])* $problems:ident; $($name:ident $(($of:ty))? $({$($fact:ident: $type:ty),*})?: $code:expr, $sentence:tt;)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        pub(crate) enum $problems {
            $(#[error $sentence] $name $(($of))? $({$($fact: $type),*})?,)*
        }
        impl From<$problems> for $crate::control::CallError {
            #[allow(unused_variables, reason = "few codes depend on a fact")]
            fn from(problem: $problems) -> Self {
                let message = problem.to_string();
                let code = match problem {
                    $($problems::$name { $($($fact,)*)? .. } => $code,)*
                };
                Self::new(code, message)
            }
        }
    };
}
pub(crate) use problems;

problems! {
    /// Why a call is refused, a search has found nothing, the share cannot be read, or a download waits or has failed.
    Problem;

    NotForNode: Other, ("this call is not for the node; no daemon runs around it");
    BootstrapOnly: Other,
        ("this daemon is a bootstrap node only; set `peer = true` in its configuration and restart it");
    Leaving: Other, ("the daemon is leaving; start it again first");
    NoWorker: NoSource, ("too many commands wait for a worker; try again later");
    NoNameToContinueAfter { name: RawText }: Usage, ("\"{}\" is not a file name to continue after", Escaped(.name.as_bytes()));
    TooManyReloads(usize): Other, ("{0} reloads are waiting; try again");
    TooManyClients: Other, ("too many control clients are connected; end some and try again");
    IdleForLongest: Other, ("too many control clients are connected, and this one was idle for longest");
    // As where the system itself refuses the connection (pyratectl(1), EXIT STATUS).
    NotAdmitted { user: u32 }: NoDaemon,
        ("user {user} may not use this daemon: only root, its own user and the group of its socket may");

    EmptyRange { part: String }: Usage, ("the range {} is empty", Escaped(.part.as_bytes()));
    NoIdInRange { part: String }: NotFound, ("no such ids: {}", Escaped(.part.as_bytes()));
    NoSuchId { part: String }: NotFound, ("no such id: {}", Escaped(.part.as_bytes()));
    NoSuchDownload { part: String }: NotFound,
        ("no such id{}: {}; `pyratectl downloads` shows those that are, `pyratectl history` those that are over and forgotten",
            if .part.contains('-') { "s" } else { "" }, Escaped(.part.as_bytes()));
    FileOfDirectory { id: u32, directory: u32 }: NotFound,
        ("{id} is a file of download {directory}, which is that of a directory, and takes no orders of its own: name {directory}; \
            `pyratectl downloads {directory}` shows its files");
    NoSuchWishId { part: String }: NotFound,
        ("no such id{}: {}; `pyratectl wishes` shows all wishes, with their ids", if .part.contains('-') { "s" } else { "" },
            Escaped(.part.as_bytes()));
    DirectoriesInRange { id: u32 }: Usage,
        ("a range and 'all' stand for files, and there are directories alone: name each by its own id, as {}", .id);
    NoSuchHit { part: String }: NotFound,
        ("no such id: {}; ids of hits end with the daemon, and with hits that make room for newer ones: search again, or see \
            `pyratectl hits --all`", Escaped(.part.as_bytes()));
    AmbiguousId { part: String, count: usize, examples: Vec<u32> }: Usage,
        ("{} is the beginning of {count} ids ({}, ...); type one whole", Escaped(.part.as_bytes()), join(.examples, ", "));
    NotWhole { part: String, examples: Vec<u32> }: NotFound,
        ("no such id: {}; type whole ids, as {}, a range, as 4-6, or all", Escaped(.part.as_bytes()), join(.examples, " or "));
    NotAnId { part: String }: Usage, ("not an id: '{}'; ids are numbers, as 7 or 2,4-6, or all", Escaped(.part.as_bytes()));

    NoSuchEvent { since: u64, last: u64 }: NotFound,
        ("no event has the id {since} yet: the newest has {last}; if the state directory was lost, ids began again: `--since 0` gives all");

    Ourselves(SocketAddr): Usage, ("{0} is this node itself; `pyratectl files` shows what it shares");
    NoPeerAddress(SocketAddr): Usage, ("{0} cannot be a peer; `pyratectl peers` shows those known");
    UnknownPeer(SocketAddr): NotFound, ("{0} is no known peer; `pyratectl peers` shows those that are");

    NotSearchable: Usage,
        ("a search takes 1 to {FILE_NAME_BYTES_MAX} bytes of text that is not blank, without control bytes: a name, or words of it");
    NoWordToSearch: Usage, ("a search needs a word that the names have; exclusions, patterns and filters only narrow it");
    TooShortForType: Usage,
        ("the words have less than 3 bytes, which finds only files of exactly that name, and none of these has the type; search \
            for a longer word");
    BadSize { filter: RawText }: Usage,
        ("no size in '{}'; a size is size:>10MiB, size:<1G, size:1M..2M, size:1M.. or size:..2M, and the shell takes < and > away \
            that are not quoted; {}", Escaped(.filter.as_bytes()), quoted(.filter));
    SizeWithoutUnit { size: RawText, unit: RawText }: Usage,
        ("the unit in '{0} {1}' stands apart, so that it would be a word of the name; write {0}{1}", Escaped(.size.as_bytes()),
            Escaped(.unit.as_bytes()));
    BadType { filter: RawText, word: RawText, nearest: Option<&'static str>, known: String }: Usage,
        ("no type '{}'{}; a type is one or more of {known}, as type:audio,video; {}", Escaped(.word.as_bytes()),
            .nearest.map(|word| format!("; did you mean '{word}'?")).unwrap_or_default(), quoted(.filter));
    BadPath { filter: RawText }: Usage,
        ("no word in '{}'; path: is followed by a word or a phrase that the directories have, as path:live or \
            path:\"abbey road\", and no pattern; {}", Escaped(.filter.as_bytes()), quoted(.filter));
    TooManyFilters(usize): Usage, ("a search takes {0} filters at most");
    NotWishable(usize): Usage, ("a wish takes 1 to {0} bytes of text that is not blank, without control bytes");
    BadWishLimit(usize): Usage, ("the limit of a wish is a number of contents from 1 to {0}");
    WishedAlready { id: u32, text: RawText }: Exists,
        ("'{}' is wish {id} already; `pyratectl unwish {id}` ends that one first", Escaped(.text.as_bytes()));
    TooManyWishes(usize): Other, ("there are {0} wishes; `pyratectl unwish` makes room");
    NoSuchWish { which: RawText }: NotFound,
        ("no such wish: '{}'; `pyratectl wishes` shows all, with their ids", Escaped(.which.as_bytes()));
    NoAddress: Network,
        ("this node knows no address of its own yet; set `advertise_addr`, or see `pyratectl bootstrap`");
    TooManySearches(usize): Other, ("{0} searches are in progress; try again when one is done");
    CannotList { peer: SocketAddr, fault: DialFault }: fault.into(),
        ("cannot list {peer}: {fault}; `pyratectl peers` shows the peers known");
    NoPeers { registered: bool }: Network,
        ("no peer is known to ask (peers: 0), and {}; check `pyratectl bootstrap`",
            if *.registered { "the bootstrap node lists nobody else" } else { "no bootstrap node has answered" });
    AllPeersSilent(usize): Network,
        ("no peer could be reached: all {0} that are known have stopped answering; `pyratectl peers` shows them, \
            and `pyratectl bootstrap` whether a bootstrap node can name others");
    NoPeerAnswered(usize): Network,
        ("no peer has answered (peers: {0}); `pyratectl peers` shows their states, and `pyratectl bootstrap` \
            whether this machine has a network");

    ShareUnreadable { path: PathBuf, fault: DiskFault, lists_files: bool }: fault.into(),
        ("cannot read the share '{}': {fault}; {}", Escaped::path(.path),
            if *.lists_files { "files found before stay listed" } else { "nothing is shared until it can be read" });
    FurtherShareUnreadable { name: RawText, path: PathBuf, fault: DiskFault, lists_files: bool }: fault.into(),
        ("cannot read the share \"{}\", '{}': {fault}; {}", Escaped(.name.as_bytes()), Escaped::path(.path),
            if *.lists_files { "its files found before stay listed" } else { "nothing of it is shared until it can be read" });

    NothingNamed: Usage, ("nothing to download was named");
    NoHits: NotFound, ("'all' selects nothing: the last search or list has no hits");
    NoFileName { name: RawText }: Usage, ("no file can be called \"{}\"", Escaped(.name.as_bytes()));
    NotAHash: Usage, ("a content is named by the 64 hex digits that `b3sum` prints");
    BadLink(LinkFault): Usage, ("not a link: {0}");
    LinkWithoutPeer: Usage,
        ("the link is to a directory and names no peer; add the address of one that shares it, as &peer=192.0.2.7:63339");
    BadManifest(ManifestFault): Usage, ("not a manifest that can be taken: {0}; save it again with `pyratectl manifest DIR/ -o FILE`");
    ManifestPartMissing: Other, ("this part of the manifest does not follow the one before it; give it again from its beginning");
    ManifestNotGiven: Other, ("this client has given no such manifest, or it gave way to those of others; give it again");
    ManifestNotRead { fault: DiskFault }: FileIo,
        ("its manifest cannot be read from the state directory: {fault}; give it again with `pyratectl download --manifest FILE`");
    NotAbsolute { path: RawText }: Usage, ("\"{}\" is not an absolute path", Escaped(.path.as_bytes()));
    TooManyDownloads { files: usize, max: usize, room: usize }: Other,
        ("{} too many: at most {max} downloads may be unfinished, {room} more than now; `pyratectl cancel` makes room",
            if *.files == 1 { "1 file is".to_owned() } else { count(*.files as u64, "file") + " are" });
    NoIdLeft: Other, ("no id is left for another download");
    TooManyDirectories(usize): Other, ("{0} directories are unfinished; `pyratectl cancel` makes room");
    PlaceTaken { same_file: bool, id: u32, place: PathBuf }: Exists,
        ("{}: download {id} saves to '{}'; wait until it is done, or `pyratectl cancel {id}` it first",
            if *.same_file { "this file is fetched already" } else { "another file is to be saved there" }, Escaped::path(.place));
    TooManyOrders(usize): Other, ("{0} orders are in progress; try again when one is done");
    MoveOne: Usage, ("move takes one id; move one download after the other");
    NotQueued { id: u32, state: DownloadState }: Other,
        ("download {id} is {state}, and does not wait for its turn; only queued ones can be moved");
    NotOver { id: u32, state: DownloadState }: Unfinished,
        ("download {id} is {state}; `pyratectl cancel {id}` ends it first");
    KeepsData { id: u32 }: Unfinished,
        ("download {id} has failed and keeps its data; `pyratectl cancel {id}` removes them, `pyratectl retry {id}` goes on \
            with them");
    StillEnding { id: u32 }: Unfinished, ("the part file of download {id} is still being closed; try again");
    OrderBrokenOff { downloads: usize }: Other,
        ("the daemon is leaving; {} not dealt with",
            if *.downloads == 1 { "1 download was".to_owned() } else { format!("{} downloads were", .downloads) });

    DirectoryNotListed { peer: SocketAddr, fault: DialFault }: fault.into(),
        ("cannot list {peer}: {fault}; it is asked again until cancelled");
    ListCut { peer: SocketAddr }: Other, ("the list of {peer} is longer than this node takes; download its files by their names");
    NothingBeneath { name: FileName, peer: SocketAddr }: NotFound,
        ("{peer} shares nothing beneath \"{name}\"; `pyratectl list {peer}` shows what it shares");
    NoManifest { peer: SocketAddr, name: FileName, fault: Option<DialFault> }: NotFound,
        ("{peer} gives no manifest of \"{name}\", which a link to it needs{}; `pyratectl download PEER/DIR/` fetches a directory also \
            from an older version, by its list", of_fault(.fault));
    DirectoryChanged { peer: SocketAddr, name: FileName }: Checksum,
        ("\"{name}\" of {peer} is not what the link is to: it has changed since; ask for a new link, or fetch what is there now by \
            `pyratectl download PEER/DIR/`");
    DirectoryTooLarge { files: usize, max: usize, room: usize }: Other,
        ("the directory has {files} files or more: at most {max} downloads may be unfinished, and {room} more may begin now; name \
            directories beneath it, or `pyratectl cancel` others first");
    DirectoryNamesTooLarge { max_mib: usize }: Other,
        ("the names of its files take more than {max_mib} MiB; name directories beneath it");
    FilesMissing { missing: u64, files: u64, name: Option<RawText>, error: Option<Box<Problem>> }: of_first(&error),
        ("{missing} of {} cannot be had{}; the peer is asked again until cancelled", count(*.files, "file"),
            for_example(.name, .error));
    MoreToCome { peer: SocketAddr, files: u64 }: NoSource,
        ("all is there that {peer} shares of it now; {}; it is asked again", match .files {
            0 => "it has not read all of its files yet".to_owned(),
            files => format!("it is still writing, or looking for, {}", count(*files, "other file")),
        });
    FilesNotSaved { failed: u64, files: u64, name: Option<RawText>, error: Option<Box<Problem>> }: of_first(&error),
        ("{failed} of {} cannot be saved{}{}; `pyratectl retry` tries again", count(*.files, "file"), for_example(.name, .error),
            if .files > .failed { "; the others are there" } else { "" });
    NamesLeftOut { files: u64, example: RawText }: FileIo,
        ("{} of the peer cannot be {} beneath a directory (\"{}\"); all others are there", count(*.files, "name"),
            if *.files == 1 { "that of a file" } else { "those of files" }, Escaped(.example.as_bytes()));
    NameLeftOut: FileIo, ("this cannot be the name of a file beneath the directory");

    NotShared { name: RawText }: NotFound,
        ("no {} \"{}\" is shared; `pyratectl files` shows {}", if is_directory(.name) { "directory" } else { "file" },
            Escaped(.name.as_bytes()), if is_directory(.name) { "what is" } else { "those that are" });
    IsDirectory { name: FileName }: NotFound,
        ("\"{name}\" is a directory; name it \"{name}/\" for a link to all that is in it");
    StillWritten { name: FileName }: Other,
        ("\"{name}\" was changed a moment ago, and is shared when nothing has written to it for a while; try again then");
    NotHashed { name: FileName }: Other,
        ("the hash of \"{name}\" is not computed yet; try again later: `pyratectl status` shows how many files are to be hashed");
    HitWithoutHash { id: u32 }: NotFound,
        ("no source gave a hash of hit {id}, and a link needs it; `pyratectl download {id}`, then `pyratectl link --downloads` with \
            the id of that");
    DownloadWithoutHash { id: u32, state: DownloadState }: NotFound,
        ("the hash of download {id} is not known, and a link needs it; {}", if *.state == DownloadState::Done {
            "if the file is shared, name it as `pyratectl files` does"
        } else { "it is known at the latest when the download is done" });
    NoLinkNow { peer: SocketAddr, name: FileName, fault: DialFault }: fault.into(),
        ("no link to \"{name}\" of {peer}: {fault}; try again later");
    ManifestTooLarge { name: FileName }: Other,
        ("\"{name}\" has too many files for one manifest, and so for one link; name directories beneath it");
    ManifestOfPeerTooLarge { peer: SocketAddr, name: FileName, bytes: u64 }: Other,
        ("the manifest of \"{name}\" of {peer} has {bytes} bytes, more than the {MANIFEST_BYTES_MAX} that are taken; name directories \
            beneath it: {peer}/{name}DIR/");
    NoManifestNow { peer: SocketAddr, name: FileName, fault: DialFault }: fault.into(),
        ("no manifest of \"{name}\" of {peer}: {fault}; try again later");
    HasNoManifest { peer: SocketAddr, name: FileName, fault: Option<DialFault> }: NotFound,
        ("{peer} gives no manifest of \"{name}\"{}; `pyratectl list {peer}` shows what it shares", of_fault(.fault));
    ManifestNotKept: Other, ("this page of the manifest is not kept any more; ask for the manifest again");
    DownloadWithoutManifest { id: u32 }: NotFound,
        ("the peer has sent no manifest of download {id}, or has changed files since, and a link to a directory needs one; if you \
            share the directory, name it by its path in the share");

    SearchesSoon: NoSource, ("no source is known; searches soon");
    NobodyToAsk: NoSource, ("no source is known, and no neighbour to ask; searches again until cancelled");
    NoSourceYet { asked: u32 }: NoSource,
        ("no source is known; asked {asked} neighbour{}, and searches again until cancelled", if *.asked == 1 { "" } else { "s" });
    NoSourceLeft: NoSource, ("no source is known; the content is looked for until cancelled");
    OutOfReach { blamed: Option<Blamed> }: NoSource,
        ("no source is in reach{}; it is tried again until cancelled", of_source(.blamed));
    NotThere { peer: SocketAddr, name: Option<FileName> }: NotFound,
        ("no such file at {peer}{}", .name.as_ref().map_or_else(String::new, |name| {
            format!("; if it is a directory, name it {}/{}/", .peer, Escaped(name.as_bytes()))
        }));
    AllCorrupt: Checksum, ("every source sent wrong bytes or refused; others are looked for");
    Refused { blamed: Option<Blamed> }: NoSource, ("refused by every source{}; others are looked for", of_source(.blamed));
    RefusedForGood { blamed: Option<Blamed> }: NotFound,
        ("refused by every source{}; `pyratectl search` may find others", of_source(.blamed));
    CannotSave { place: PathBuf, fault: DiskFault }: fault.into(),
        ("cannot save to '{}': {}choose another path with `-o`", Escaped::path(.place), instead_of_another_path(.place, *.fault));
    NoDescriptor: NoSource, ("{}; it is tried again until cancelled", DiskFault::NoDescriptor);
    DiskStopped { at: PathBuf, fault: DiskFault }: fault.into(),
        ("{}: {fault}; resumes automatically {}", Escaped::path(.at), until(*.fault));
    NotRemembered { fault: DiskFault }: fault.into(),
        ("{fault} (state directory): nothing was begun, since a restart would forget it");
    ChangeNotRemembered { fault: DiskFault }: fault.into(), ("{fault} (state directory); a restart loses this change");
    RecordOverdue: FileIo, ("the disk of the state directory does not answer in time");
    // What an earlier run has said, if it has.
    Recalled { error: CallError }: return error, ("{error}");
    Unknown: Other, ("unknown");
}

/// A source, and what it is said to have done.
type Blamed = (SocketAddr, SourceFault);

/// What a source of a download is said to have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[rustfmt::skip]
pub(crate) enum SourceFault {
    #[error("{0}")] Dial(#[from] DialFault),
    /// It says why it refuses, and this version knows the reason.
    #[error("{0}")] Declined(#[from] RefusalReason),
    /// It reset the connection, or answered with what is no metadata.
    #[error("it refuses")] Refuses,
    #[error("sent nothing: refused, or the file is empty")] SentNothing,
    #[error("it sent no metadata")] NoMetadata,
    #[error("it stopped {} before the end of what it was asked for", count(*.0, "group"))] StoppedEarly(u64),
    #[error("it sent {sent} of {}", count(*size, "byte"))] OtherSize { sent: u64, size: u64 },
    #[error("it sent another content")] OtherContent,
    #[error("it has another content under this name")] NameOfAnother,
    #[error("it says each time that it has another content, and gives none")] GivesNone,
    #[error("its file changes again and again")] ChangesAgain,
    #[error("its file has changed, and it does not say yet what it is now")] ChangeUnsaid,
    #[error("its metadata are not those of the content")] FalseMetadata,
    #[error("its last bytes do not fit the size that another source has claimed")] SizeOfAnother,
    #[error("there is no room for the size that it claims")] NoRoom,
    #[error("too slow, while others have nothing to do")] TooSlow,
    #[error("it brought nothing while another source did")] BroughtNothing,
}

/// How what begins as a filter is searched for as it is.
fn quoted(filter: &RawText) -> String {
    let words = filter.as_bytes().strip_prefix(b"-").unwrap_or(filter.as_bytes());
    format!("to search for these words, put double quotes around them, as '\"{}\"' in a shell", Escaped(words))
}

fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

fn join(ids: &[u32], between: &str) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(between)
}

fn of_source(blamed: &Option<Blamed>) -> String {
    blamed.map_or_else(String::new, |(addr, fault)| format!(" ({addr}: {fault})"))
}

/// Whether a name that the user gave is that of a directory.
fn is_directory(name: &RawText) -> bool {
    name.as_bytes().ends_with(b"/")
}

/// What a peer said or did, in parentheses.
fn of_fault(fault: &Option<DialFault>) -> String {
    fault.map_or_else(String::new, |fault| format!(" ({fault})"))
}

/// The first of several files, and what is wrong with it.
fn for_example(name: &Option<RawText>, error: &Option<Box<Problem>>) -> String {
    let name = name.as_ref().map(|name| format!("\"{}\"", Escaped(name.as_bytes())));
    let error = error.as_ref().map(ToString::to_string);
    let parts: Vec<String> = name.into_iter().chain(error).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(": ")) }
}

fn of_first(error: &Option<Box<Problem>>) -> ExitCode {
    let code = error.as_ref().map(|error| CallError::from(Problem::clone(error)).code);
    ExitCode::ALL.into_iter().find(|known| Some(i32::from(*known as u8)) == code).unwrap_or(NoSource)
}

/// Why nothing can be saved at a path, and what else helps.
fn instead_of_another_path(place: &Path, fault: DiskFault) -> String {
    let help = match (fault, place.parent()) {
        (DiskFault::Missing, Some(parent)) => {
            let parent = Escaped::path(parent);
            return format!(
                "the directory '{parent}' is missing; make it, name it with a slash at its end (`-o '{parent}/'`) to have it made, or "
            );
        }
        (DiskFault::Exists, _) => "move it away and `pyratectl retry`, or ",
        (DiskFault::Forbidden, _) => "name the directory in `sandbox_writable` and restart pyrated, or ",
        _ => "",
    };
    format!("{fault}; {help}")
}

/// When a download goes on that the disk has stopped.
fn until(fault: DiskFault) -> &'static str {
    match fault {
        DiskFault::Full => "when there is room",
        DiskFault::Missing => "when it is there",
        DiskFault::NotMounted => "when it is there; `pyratectl resume` starts again without it",
        DiskFault::EmptyMountPoint => "when it is there, or a file is put into the directory",
        DiskFault::Forbidden => "after a restart with its directory in `sandbox_writable`",
        _ => "when that is repaired",
    }
}

#[cfg(test)]
pub(crate) mod tests;
