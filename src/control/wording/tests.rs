use super::*;
use crate::control::DownloadState;
use crate::control::ExitCode::{self, DiskFull, TimedOut};
use crate::fault::OtherProgram;
use std::os::unix::ffi::OsStrExt;

mod faults;
mod values;

use faults::faults;
use values::{file_name, path, peer, text};

/// A list of all variants of a type, each with what users are told. One without a row does not compile.
macro_rules! list {
    ($list:ident: $of:ident as $told:ty { $($variant:ident $(($($fact:tt)*))? $({$($field:tt)*})? => $row:expr;)* }) => {
        fn $list() -> Vec<($of, $told)> {
            #[allow(unreachable_patterns, reason = "some have several rows")]
            let _ = |listed: &$of| match listed {
                $($of::$variant { .. } => {})*
            };
            vec![$(($of::$variant $(($($fact)*))? $({$($field)*})?, $row)),*]
        }
    };
}
pub(crate) use list;

list!(problems: Problem as (ExitCode, &'static str) {
    NotForNode => (Other, "this call is not for the node; no daemon runs around it");
    BootstrapOnly => (
        Other, "this daemon is a bootstrap node only; set `peer = true` in its configuration and restart it"
    );
    Leaving => (Other, "the daemon is leaving; start it again first");
    NoWorker => (NoSource, "too many commands wait for a worker; try again later");
    NoNameToContinueAfter { name: text(b"a\xff\"\n") } => (Usage, r#""a\xff"\n" is not a file name to continue after"#);

    NotAdmitted { user: 7 } => (
        NoDaemon, "user 7 may not use this daemon: only root, its own user and the group of its socket may"
    );
    TooManyClients => (Other, "too many control clients are connected; end some and try again");
    IdleForLongest => (Other, "too many control clients are connected, and this one was idle for longest");
    TooManyReloads(16) => (Other, "16 reloads are waiting; try again");

    EmptyRange { part: "4-2".into() } => (Usage, "the range 4-2 is empty");
    NoIdInRange { part: "4-6".into() } => (NotFound, "no such ids: 4-6");
    NoSuchId { part: "7".into() } => (NotFound, "no such id: 7");
    NoSuchDownload { part: "7".into() } => (
        NotFound,
        "no such id: 7; `pyratectl downloads` shows those that are, `pyratectl history` those that are over and forgotten"
    );
    NoSuchDownload { part: "4-6".into() } => (
        NotFound,
        "no such ids: 4-6; `pyratectl downloads` shows those that are, `pyratectl history` those that are over and forgotten"
    );
    FileOfDirectory { id: 8, directory: 7 } => (
        NotFound,
        "8 is a file of download 7, which is that of a directory, and takes no orders of its own: name 7; \
         `pyratectl downloads 7` shows its files"
    );
    NoSuchWishId { part: "7".into() } => (
        NotFound, "no such id: 7; `pyratectl wishes` shows all wishes, with their ids"
    );
    DirectoriesInRange { id: 4 } => (
        Usage,
        "a range and 'all' stand for files, and there are directories alone: name each by its own id, as 4",
    );
    NoSuchHit { part: "4-6".into() } => (
        NotFound,
        "no such id: 4-6; ids of hits end with the daemon, and with hits that make room for newer ones: search again, or see \
         `pyratectl hits --all`"
    );
    AmbiguousId { part: "1".into(), count: 3, examples: vec![12, 13] } => (
        Usage, "1 is the beginning of 3 ids (12, 13, ...); type one whole"
    );
    NotWhole { part: "1".into(), examples: vec![12] } => (
        NotFound, "no such id: 1; type whole ids, as 12, a range, as 4-6, or all"
    );
    NotWhole { part: "1".into(), examples: vec![12, 13] } => (
        NotFound, "no such id: 1; type whole ids, as 12 or 13, a range, as 4-6, or all"
    );
    NotAnId { part: "x\x1b".into() } => (Usage, r"not an id: 'x\x1b'; ids are numbers, as 7 or 2,4-6, or all");

    NoSuchEvent { since: 99, last: 20 } => (
        NotFound,
        "no event has the id 99 yet: the newest has 20; if the state directory was lost, ids began again: `--since 0` gives all"
    );

    Ourselves(peer()) => (Usage, "[2001:db8::1]:9 is this node itself; `pyratectl files` shows what it shares");
    NoPeerAddress(peer()) => (Usage, "[2001:db8::1]:9 cannot be a peer; `pyratectl peers` shows those known");
    UnknownPeer(peer()) => (NotFound, "[2001:db8::1]:9 is no known peer; `pyratectl peers` shows those that are");

    NotSearchable =>
        (Usage, "a search takes 1 to 3800 bytes of text that is not blank, without control bytes: a name, or words of it");
    SizeWithoutUnit { size: text(b"size:>10"), unit: text(b"MiB") } => (
        Usage,
        "the unit in 'size:>10 MiB' stands apart, so that it would be a word of the name; write size:>10MiB"
    );
    BadSize { filter: text(b"-size:banana") } => (
        Usage,
        "no size in '-size:banana'; a size is size:>10MiB, size:<1G, size:1M..2M, size:1M.. or size:..2M, and the shell takes \
         < and > away that are not quoted; to search for these words, put double quotes around them, as '\"size:banana\"' in a \
         shell"
    );
    BadType { filter: text(b"type:vidoe"), word: text(b"vidoe"), nearest: Some("video"), known: "audio, video".into() } => (
        Usage,
        "no type 'vidoe'; did you mean 'video'?; a type is one or more of audio, video, as type:audio,video; to search for \
         these words, put double quotes around them, as '\"type:vidoe\"' in a shell"
    );
    BadPath { filter: text(b"path:*") } => (
        Usage,
        "no word in 'path:*'; path: is followed by a word or a phrase that the directories have, as path:live or \
         path:\"abbey road\", and no pattern; to search for these words, put double quotes around them, as '\"path:*\"' in a \
         shell"
    );
    TooManyFilters(8) => (Usage, "a search takes 8 filters at most");
    NoWordToSearch => (Usage, "a search needs a word that the names have; exclusions, patterns and filters only narrow it");
    TooShortForType => (
        Usage,
        "the words have less than 3 bytes, which finds only files of exactly that name, and none of these has the type; search for a \
            longer word"
    );
    NotWishable(512) => (Usage, "a wish takes 1 to 512 bytes of text that is not blank, without control bytes");
    BadWishLimit(500) => (Usage, "the limit of a wish is a number of contents from 1 to 500");
    WishedAlready { id: 7, text: RawText::new(&b"blue\x1b train"[..]) } => (
        Exists, "'blue\\x1b train' is wish 7 already; `pyratectl unwish 7` ends that one first"
    );
    TooManyWishes(1000) => (Other, "there are 1000 wishes; `pyratectl unwish` makes room");
    NoSuchWish { which: RawText::new("blue train") } => (
        NotFound, "no such wish: 'blue train'; `pyratectl wishes` shows all, with their ids"
    );
    NoAddress => (
        Network, "this node knows no address of its own yet; set `advertise_addr`, or see `pyratectl bootstrap`"
    );
    TooManySearches(64) => (Other, "64 searches are in progress; try again when one is done");
    CannotList { peer: peer(), fault: DialFault::TimedOut } => (
        TimedOut, "cannot list [2001:db8::1]:9: timed out; `pyratectl peers` shows the peers known"
    );
    CannotList { peer: peer(), fault: DialFault::NotAPeer(OtherProgram::Ssh) } => (
        Network,
        "cannot list [2001:db8::1]:9: it answers as an SSH server does, not as a Pyrate node; `pyratectl peers` shows the \
         peers known"
    );
    NoPeers { registered: true } => (
        Network,
        "no peer is known to ask (peers: 0), and the bootstrap node lists nobody else; check `pyratectl bootstrap`"
    );
    NoPeers { registered: false } => (
        Network, "no peer is known to ask (peers: 0), and no bootstrap node has answered; check `pyratectl bootstrap`"
    );
    AllPeersSilent(3) => (
        Network,
        "no peer could be reached: all 3 that are known have stopped answering; `pyratectl peers` shows them, \
         and `pyratectl bootstrap` whether a bootstrap node can name others"
    );
    NoPeerAnswered(3) => (
        Network,
        "no peer has answered (peers: 3); `pyratectl peers` shows their states, and `pyratectl bootstrap` \
         whether this machine has a network"
    );

    ShareUnreadable { path: path(), fault: DiskFault::Denied, lists_files: false } => (
        FileIo, r"cannot read the share '/a b/\xff': permission denied; nothing is shared until it can be read"
    );
    ShareUnreadable { path: path(), fault: DiskFault::Missing, lists_files: true } => (
        FileIo, r"cannot read the share '/a b/\xff': no such file or directory; files found before stay listed"
    );

    FurtherShareUnreadable { name: RawText::new("m\u{e9}"), path: path(), fault: DiskFault::Missing, lists_files: false } => (
        FileIo, "cannot read the share \"m\u{e9}\", '/a b/\\xff': no such file or directory; nothing of it is shared until it can be read"
    );
    FurtherShareUnreadable { name: RawText::new("m"), path: path(), fault: DiskFault::Denied, lists_files: true } => (
        FileIo, r#"cannot read the share "m", '/a b/\xff': permission denied; its files found before stay listed"#
    );

    NothingNamed => (Usage, "nothing to download was named");
    NoHits => (NotFound, "'all' selects nothing: the last search or list has no hits");
    NoFileName { name: text(b"/\xff") } => (Usage, r#"no file can be called "/\xff""#);
    NotAHash => (Usage, "a content is named by the 64 hex digits that `b3sum` prints");
    BadLink(LinkFault::NoHash) => (Usage, "not a link: it has no b3=HASH");
    BadManifest(ManifestFault::Cut) => (
        Usage,
        "not a manifest that can be taken: the manifest ends before its last line, \"end\" with the number of entries: it was \
         cut; save it again with `pyratectl manifest DIR/ -o FILE`"
    );
    ManifestPartMissing => (
        Other, "this part of the manifest does not follow the one before it; give it again from its beginning"
    );
    ManifestNotGiven => (
        Other, "this client has given no such manifest, or it gave way to those of others; give it again"
    );
    ManifestNotRead { fault: DiskFault::Missing } => (
        FileIo,
        "its manifest cannot be read from the state directory: no such file or directory; give it again with `pyratectl download \
         --manifest FILE`"
    );
    LinkWithoutPeer => (
        Usage,
        "the link is to a directory and names no peer; add the address of one that shares it, as &peer=192.0.2.7:63339"
    );
    NotAbsolute { path: text(b"a\0") } => (Usage, r#""a\x00" is not an absolute path"#);
    TooManyDownloads { files: 9, max: 10, room: 2 } => (
        Other,
        "9 files are too many: at most 10 downloads may be unfinished, 2 more than now; `pyratectl cancel` makes room"
    );
    TooManyDownloads { files: 1, max: 10, room: 0 } => (
        Other,
        "1 file is too many: at most 10 downloads may be unfinished, 0 more than now; `pyratectl cancel` makes room"
    );
    NoIdLeft => (Other, "no id is left for another download");
    PlaceTaken { same_file: true, id: 4, place: path() } => (
        Exists,
        "this file is fetched already: download 4 saves to '/a b/\\xff'; wait until it is done, or `pyratectl cancel 4` \
         it first"
    );
    PlaceTaken { same_file: false, id: 4, place: path() } => (
        Exists,
        "another file is to be saved there: download 4 saves to '/a b/\\xff'; wait until it is done, or `pyratectl cancel \
         4` it first"
    );
    TooManyDirectories(9) => (Other, "9 directories are unfinished; `pyratectl cancel` makes room");
    DirectoryNotListed { peer: peer(), fault: DialFault::TimedOut } => (
        TimedOut, "cannot list [2001:db8::1]:9: timed out; it is asked again until cancelled"
    );
    ListCut { peer: peer() } => (
        Other, "the list of [2001:db8::1]:9 is longer than this node takes; download its files by their names"
    );
    NothingBeneath { name: file_name(b"a/\xff/"), peer: peer() } => (
        NotFound,
        r#"[2001:db8::1]:9 shares nothing beneath "a/\xff/"; `pyratectl list [2001:db8::1]:9` shows what it shares"#
    );
    NoManifest { peer: peer(), name: file_name(b"a/"), fault: Some(DialFault::Declined(RefusalReason::NoSuchFile)) } => (
        NotFound,
        "[2001:db8::1]:9 gives no manifest of \"a/\", which a link to it needs (no such file); `pyratectl download PEER/DIR/` \
         fetches a directory also from an older version, by its list"
    );
    NoManifest { peer: peer(), name: file_name(b"a/"), fault: None } => (
        NotFound,
        "[2001:db8::1]:9 gives no manifest of \"a/\", which a link to it needs; `pyratectl download PEER/DIR/` fetches a \
         directory also from an older version, by its list"
    );
    DirectoryChanged { peer: peer(), name: file_name(b"a/") } => (
        Checksum,
        "\"a/\" of [2001:db8::1]:9 is not what the link is to: it has changed since; ask for a new link, or fetch what is \
         there now by `pyratectl download PEER/DIR/`"
    );
    DirectoryTooLarge { files: 9, max: 10, room: 2 } => (
        Other,
        "the directory has 9 files or more: at most 10 downloads may be unfinished, and 2 more may begin now; name \
         directories beneath it, or `pyratectl cancel` others first"
    );
    DirectoryNamesTooLarge { max_mib: 8 } => (
        Other,
        "the names of its files take more than 8 MiB; name directories beneath it"
    );
    FilesMissing { missing: 2, files: 9, name: Some(text(b"a\n")), error: Some(Box::new(Problem::NotThere { peer: peer(), name: None })) } => (
        NotFound,
        r#"2 of 9 files cannot be had ("a\n": no such file at [2001:db8::1]:9); the peer is asked again until cancelled"#
    );
    FilesMissing { missing: 2, files: 9, name: None, error: None } => (
        NoSource, "2 of 9 files cannot be had; the peer is asked again until cancelled"
    );
    MoreToCome { peer: peer(), files: 0 } => (
        NoSource, "all is there that [2001:db8::1]:9 shares of it now; it has not read all of its files yet; it is asked again"
    );
    MoreToCome { peer: peer(), files: 1 } => (
        NoSource,
        "all is there that [2001:db8::1]:9 shares of it now; it is still writing, or looking for, 1 other file; it is asked again"
    );
    FilesNotSaved { failed: 1, files: 9, name: Some(text(b"a")), error: None } => (
        NoSource, r#"1 of 9 files cannot be saved ("a"); the others are there; `pyratectl retry` tries again"#
    );
    FilesMissing { missing: 1, files: 1, name: None, error: None } => (
        NoSource, "1 of 1 file cannot be had; the peer is asked again until cancelled"
    );
    FilesNotSaved { failed: 1, files: 1, name: None, error: None } => (
        NoSource, "1 of 1 file cannot be saved; `pyratectl retry` tries again"
    );
    NamesLeftOut { files: 1, example: text(b"..") } => (
        FileIo, r#"1 name of the peer cannot be that of a file beneath a directory (".."); all others are there"#
    );
    NamesLeftOut { files: 2, example: text(b"a/../\x1b") } => (
        FileIo,
        r#"2 names of the peer cannot be those of files beneath a directory ("a/../\x1b"); all others are there"#
    );
    NameLeftOut => (FileIo, "this cannot be the name of a file beneath the directory");
    TooManyOrders(8) => (Other, "8 orders are in progress; try again when one is done");
    MoveOne => (Usage, "move takes one id; move one download after the other");
    NotQueued { id: 7, state: DownloadState::Active } => (
        Other, "download 7 is active, and does not wait for its turn; only queued ones can be moved"
    );
    NotOver { id: 7, state: DownloadState::Active } => (
        Unfinished, "download 7 is active; `pyratectl cancel 7` ends it first"
    );
    KeepsData { id: 7 } => (
        Unfinished,
        "download 7 has failed and keeps its data; `pyratectl cancel 7` removes them, `pyratectl retry 7` goes on with them"
    );
    StillEnding { id: 7 } => (Unfinished, "the part file of download 7 is still being closed; try again");
    OrderBrokenOff { downloads: 1 } => (Other, "the daemon is leaving; 1 download was not dealt with");
    OrderBrokenOff { downloads: 5 } => (Other, "the daemon is leaving; 5 downloads were not dealt with");

    NotShared { name: text(b"a\n") } => (NotFound, r#"no file "a\n" is shared; `pyratectl files` shows those that are"#);
    NotShared { name: text(b"a/") } => (NotFound, r#"no directory "a/" is shared; `pyratectl files` shows what is"#);
    IsDirectory { name: file_name(b"a") } => (
        NotFound, r#""a" is a directory; name it "a/" for a link to all that is in it"#
    );
    StillWritten { name: file_name(b"a") } => (
        Other, "\"a\" was changed a moment ago, and is shared when nothing has written to it for a while; try again then"
    );
    NotHashed { name: file_name(b"a") } => (
        Other,
        "the hash of \"a\" is not computed yet; try again later: `pyratectl status` shows how many files are to be hashed"
    );
    HitWithoutHash { id: 7 } => (
        NotFound,
        "no source gave a hash of hit 7, and a link needs it; `pyratectl download 7`, then `pyratectl link --downloads` with the \
         id of that"
    );
    DownloadWithoutHash { id: 7, state: DownloadState::Active } => (
        NotFound, "the hash of download 7 is not known, and a link needs it; it is known at the latest when the download is done"
    );
    DownloadWithoutHash { id: 7, state: DownloadState::Done } => (
        NotFound,
        "the hash of download 7 is not known, and a link needs it; if the file is shared, name it as `pyratectl files` does"
    );
    NoLinkNow { peer: peer(), name: file_name(b"a/"), fault: DialFault::TimedOut } => (
        TimedOut, "no link to \"a/\" of [2001:db8::1]:9: timed out; try again later"
    );
    ManifestTooLarge { name: file_name(b"a/") } => (
        Other, "\"a/\" has too many files for one manifest, and so for one link; name directories beneath it"
    );
    ManifestOfPeerTooLarge { peer: peer(), name: file_name(b"a/"), bytes: 5_000_000 } => (
        Other, "the manifest of \"a/\" of [2001:db8::1]:9 has 5000000 bytes, more than the 4194304 that are taken; name directories \
            beneath it: [2001:db8::1]:9/a/DIR/"
    );
    NoManifestNow { peer: peer(), name: file_name(b"a/"), fault: DialFault::TimedOut } => (
        TimedOut, "no manifest of \"a/\" of [2001:db8::1]:9: timed out; try again later"
    );
    HasNoManifest { peer: peer(), name: file_name(b"a/"), fault: None } => (
        NotFound, "[2001:db8::1]:9 gives no manifest of \"a/\"; `pyratectl list [2001:db8::1]:9` shows what it shares"
    );
    ManifestNotKept => (Other, "this page of the manifest is not kept any more; ask for the manifest again");
    DownloadWithoutManifest { id: 7 } => (
        NotFound,
        "the peer has sent no manifest of download 7, or has changed files since, and a link to a directory needs one; if you share \
         the directory, name it by its path in the share"
    );

    SearchesSoon => (NoSource, "no source is known; searches soon");
    NobodyToAsk => (NoSource, "no source is known, and no neighbour to ask; searches again until cancelled");
    NoSourceYet { asked: 1 } => (
        NoSource, "no source is known; asked 1 neighbour, and searches again until cancelled"
    );
    NoSourceYet { asked: 2 } => (
        NoSource, "no source is known; asked 2 neighbours, and searches again until cancelled"
    );
    NoSourceLeft => (NoSource, "no source is known; the content is looked for until cancelled");
    OutOfReach { blamed: None } => (NoSource, "no source is in reach; it is tried again until cancelled");
    OutOfReach { blamed: Some((peer(), DialFault::Refused.into())) } => (
        NoSource, "no source is in reach ([2001:db8::1]:9: connection refused); it is tried again until cancelled"
    );
    NotThere { peer: peer(), name: None } => (NotFound, "no such file at [2001:db8::1]:9");
    NotThere { peer: peer(), name: Some(file_name(b"a\xff/d")) } => (
        NotFound, "no such file at [2001:db8::1]:9; if it is a directory, name it [2001:db8::1]:9/a\\xff/d/"
    );
    AllCorrupt => (Checksum, "every source sent wrong bytes or refused; others are looked for");
    Refused { blamed: None } => (NoSource, "refused by every source; others are looked for");
    Refused { blamed: Some((peer(), SourceFault::Refuses)) } => (
        NoSource, "refused by every source ([2001:db8::1]:9: it refuses); others are looked for"
    );
    RefusedForGood { blamed: None } => (NotFound, "refused by every source; `pyratectl search` may find others");
    RefusedForGood { blamed: Some((peer(), RefusalReason::Busy.into())) } => (
        NotFound, "refused by every source ([2001:db8::1]:9: busy); `pyratectl search` may find others"
    );
    CannotSave { place: path(), fault: DiskFault::Exists } => (
        Exists,
        "cannot save to '/a b/\\xff': a file of that name exists already; move it away and `pyratectl retry`, or choose \
         another path with `-o`"
    );
    CannotSave { place: "/a/b/c".into(), fault: DiskFault::Missing } => (
        FileIo,
        "cannot save to '/a/b/c': the directory '/a/b' is missing; make it, name it with a slash at its end (`-o '/a/b/'`) to have \
         it made, or choose another path with `-o`"
    );
    CannotSave { place: path(), fault: DiskFault::Denied } => (
        FileIo, r"cannot save to '/a b/\xff': permission denied; choose another path with `-o`"
    );
    CannotSave { place: path(), fault: DiskFault::Forbidden } => (
        FileIo,
        "cannot save to '/a b/\\xff': outside of the sandbox of pyrated; name the \
         directory in `sandbox_writable` and restart pyrated, or choose another path with `-o`"
    );
    NoDescriptor => (NoSource, "no file descriptor is left; it is tried again until cancelled");
    DiskStopped { at: path(), fault: DiskFault::Full } => (
        DiskFull, r"/a b/\xff: the disk is full; resumes automatically when there is room"
    );
    DiskStopped { at: path(), fault: DiskFault::Missing } => (
        FileIo, r"/a b/\xff: no such file or directory; resumes automatically when it is there"
    );
    DiskStopped { at: path(), fault: DiskFault::NotMounted } => (
        FileIo,
        "/a b/\\xff: the filesystem that holds the part file is not mounted; resumes automatically when it is there; \
         `pyratectl resume` starts again without it"
    );
    DiskStopped { at: path(), fault: DiskFault::EmptyMountPoint } => (
        FileIo,
        "/a b/\\xff: it is empty and on another filesystem than before (is it mounted?); resumes automatically when it is \
         there, or a file is put into the directory"
    );
    DiskStopped { at: path(), fault: DiskFault::Forbidden } => (
        FileIo,
        "/a b/\\xff: outside of the sandbox of pyrated; resumes automatically after a \
         restart with its directory in `sandbox_writable`"
    );
    DiskStopped { at: path(), fault: DiskFault::ReadOnly } => (
        FileIo, r"/a b/\xff: the filesystem is read-only; resumes automatically when that is repaired"
    );
    NotRemembered { fault: DiskFault::Full } => (
        DiskFull, "the disk is full (state directory): nothing was begun, since a restart would forget it"
    );
    ChangeNotRemembered { fault: DiskFault::Other(5) } => (
        FileIo, "I/O error (EIO) (state directory); a restart loses this change"
    );
    RecordOverdue => (FileIo, "the disk of the state directory does not answer in time");
    Recalled { error: CallError::new(NotFound, "as it was") } => (NotFound, "as it was");
    Unknown => (Other, "unknown");
});

#[test]
fn each_problem_has_its_code_and_its_sentence() {
    let worded = |(problem, (code, sentence))| (CallError::from(problem), CallError::new(code, sentence));
    let wrong: Vec<_> = problems().into_iter().map(worded).filter(|(told, listed)| told != listed).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let wrong: Vec<_> = faults().into_iter().filter(|(told, listed)| told != listed).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_sentence_is_one_line_and_shows_no_control_byte() {
    let problems = problems().into_iter().map(|(problem, _)| problem.to_string());
    for sentence in problems.chain(faults().into_iter().map(|(told, _)| told)) {
        assert!(!sentence.chars().any(char::is_control) && !sentence.ends_with('.'), "{sentence:?}");
    }
}
