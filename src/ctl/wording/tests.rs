use super::*;
use crate::control::ExitCode;
use crate::control::list;
use std::os::unix::ffi::OsStrExt;

list!(failures: Failure as (ExitCode, &'static str) {
    CommandLine("of\ntwo lines".into()) => (Usage, "of\ntwo lines");
    NoValue { option: "--wait".into() } => (Usage, "--wait needs a value");
    Twice { option: "--wait".into() } => (Usage, "--wait is given twice");
    Missing { command: "list", argument: "PEER".into() } => (Usage, "list needs a PEER");
    Missing { command: "move", argument: "ID".into() } => (Usage, "move needs an ID");
    BadValue { value: "x".into(), of: "--ttl".into(), why: "a number".into() } => (Usage, "\"x\" is no value for --ttl: a number");
    BadArgument { value: "x".into(), of: "PEER".into(), why: "a name".into() } => (Usage, "\"x\" is no PEER: a name");
    NotHops => (Usage, "a number of hops is from 0 to 255");
    NoCommand { word: "dance".into(), nearest: None } => (Usage, "no command \"dance\"");
    NoCommand { word: "paus".into(), nearest: Some("pause") } => (Usage, "no command \"paus\"; did you mean \"pause\"?");
    NoOption { option: "--jsn".into(), command: Some("hits"), nearest: Some("json") } =>
        (Usage, "no option \"--jsn\" of hits; did you mean \"--json\"?");
    NoOption { option: "-x".into(), command: None, nearest: None } => (Usage, "no option \"-x\"");
    OptionBeforeCommand { option: "--ttl".into(), command: "search" } =>
        (Usage, "\"--ttl\" is an option of search, and stands after that word");
    OneTooMany { argument: "x".into(), command: "status" } => (Usage, "\"x\" is one argument too many for status");
    BothForms => (Usage, "--json and --terse exclude one another");
    NoText { command: "wish" } => (Usage, "wish needs a TEXT");
    NoWishNamed => (Usage, "unwish needs an ID, all or the TEXT of a wish");
    NoDownloads => (NotFound, "'all' selects nothing: no download is remembered");
    NothingNamed => (Usage, "download needs an ID, PEER/NAME, PEER/DIR/, b3=HASH, a link or --manifest FILE");
    OneManifest => (Usage, "manifest takes the ID of one hit; a directory of such a name is ./NAME/");
    HitIsFile { id: 7 } => (Usage, "hit 7 is a file, and has no manifest; `pyratectl download 7` fetches it");
    NothingToLink => (Usage, "link needs a NAME, ID, PEER/NAME or b3=HASH");
    NotListed { peer: "192.0.2.7:5".parse().unwrap(), name: "a".into() } => (
        NotFound, "192.0.2.7:5 shares no \"a\"; `pyratectl list 192.0.2.7:5` shows what it shares"
    );
    ListedDirectory { peer: "192.0.2.7:5".parse().unwrap(), name: "a".into() } => (
        NotFound, "\"a\" of 192.0.2.7:5 is a directory; name it 192.0.2.7:5/a/ for a link to all that is in it"
    );
    UnknownContent { hex: "ab".into() } => (
        NotFound, "no file that is shared or downloaded here and no hit has this hash; `pyratectl search b3=ab` looks for one"
    );
    NoId { command: "pause" } => (Usage, "pause needs an ID");
    IdsAndStates => (Usage, "downloads takes IDs, or --active, --failed and --finished, not both");
    ForgetsNothing => (Usage, "forget needs an ID, --finished or a PEER");
    ForgetsOnePeer => (Usage, "forget takes one PEER and nothing else, or IDs of downloads");
    EmptyPath => (Usage, "a path is not empty");
    NotATime => (Usage, "a time is a number with a unit, as 30s, 500ms or 2m");
    NotAnInterval => (Usage, "--watch takes a time of 100ms or more, as 2s");
    NotPositive => (Usage, "a whole number from 1 on");
    NotARate => (Usage, "a rate is a number of bytes a second, as 5MiB or 500KiB, or 0 for no limit");
    NotAMove => (Usage, "a download is moved to the top, up, down or to the bottom");
    NotALevel { known: "error, warn".into() } => (Usage, "a level is one of error, warn");
    NotASortKey { known: "size, name".into() } => (Usage, "hits are sorted by one of size, name");
    AllOrOne => (Usage, "--all and --search exclude one another");
    NoSuchSearch(7) => (NotFound, "no search 7 is remembered; `pyratectl searches` lists those that are");
    NotAShell { known: "bash, zsh, fish".into() } => (Usage, "a shell is one of bash, zsh, fish");
    NotAPeer(WrongPeer::Form) => (
        Usage,
        "a peer is an address or host name, and perhaps a port, as 192.0.2.7:63339, localhost or [2001:db8::7]:63339"
    );
    NotAPeer(WrongPeer::Number { host: "1.2".into() }) => (
        Usage,
        "a peer is an address or host name, and perhaps a port, as 192.0.2.7:63339, localhost or [2001:db8::7]:63339; \
         an IPv4 address is four numbers from 0 to 255 without leading zeros, as in \
         192.0.2.7, and '1.2' is none"
    );
    NoLookup { host: "a.example".into(), why: "no such name".into() } => (
        Network, "cannot look up 'a.example': no such name; check the spelling, or name an IP address"
    );
    NotAHash => (Usage, "b3= is followed by 64 hex digits");
    BadLink(LinkFault::BadSize) => (Usage, "size= is followed by a number of bytes");
    LinkWithoutPeer => (
        Usage, "the link is to a directory and names no peer; add the address of one that shares it, as &peer=192.0.2.7:63339"
    );
    NoNameAfterPeer { peer: "b".into() } => (
        Usage,
        "no name follows the peer b; `pyratectl list b` shows what it shares: name a file or a directory of that, as b/DIR/"
    );
    NothingToDownload => (
        Usage, "name ids of hits (7, 2,4-6, all), a file or directory of a peer (192.0.2.7:63339/NAME, 192.0.2.7:63339/DIR/), a content (b3=HASH), or a link (pyrate:b3=...)"
    );
    OutputTaken => (
        Usage,
        "'-o -' writes the file to the standard output: it cannot be combined with --detach, --json or --terse"
    );
    SeveralToOutput => (Usage, "'-o -' takes one file; a directory or several files go into a directory");
    SeveralToFile { place: path() } => (
        Usage,
        r"a directory or several files go into a directory, and '/a b/\xff' is not one; '/a b/\xff/' would be created"
    );
    SeveralOntoFile { place: path() } => (
        Usage,
        r"a directory or several files go into a directory, and '/a b/\xff' is a file; name another path with `-o`"
    );
    NotSince => (Usage, "--since takes a date, as 2026-11-27 or 2026-11-27T18:00, or how long ago, as 7d or 12h");
    NotAnEventId => (Usage, "an event id is a whole number, as in the lines of 'events --since 0'");
    StateWithoutExec => (Usage, "--state says where --exec remembers how far it came; name a program with --exec");
    NoProgram { path: path() } => (Usage, r"'/a b/\xff' is no name of a program");
    CannotStart { error: "too many files".into() } => (Other, "cannot start a program: too many files");
    NoPlaceForPosition => (Usage, "HOME is not set; name a file with --state");
    Position { path: path(), why: BadPosition::Io("it is full".into()) } => (
        FileIo, r"the state file '/a b/\xff': it is full"
    );
    Position { path: path(), why: BadPosition::NoFile } => (
        FileIo, r"the state file '/a b/\xff': a directory; name a file in it"
    );
    Position { path: path(), why: BadPosition::InUse } => (
        FileIo,
        r"the state file '/a b/\xff': in use by another `pyratectl events --exec`; give each a file of its own with --state"
    );
    Position { path: path(), why: BadPosition::Content } => (
        FileIo,
        r"the state file '/a b/\xff': not one of 'events --exec'; name another, or remove it: without it, the next event is the first"
    );
    NoWorkingDirectory { error: "entity not found".into() } => (
        FileIo, "the current directory is not known: entity not found"
    );

    NotPermitted { path: path(), permitted: Permitted::Root, others: vec![], ignored: vec![] } => (
        NoDaemon, r"not permitted to talk to the daemon at /a b/\xff; run pyratectl as root"
    );
    NotPermitted { path: path(), permitted: Permitted::Unknown, others: tried(), ignored: ignored() } => (
        NoDaemon,
        "not permitted to talk to the daemon at /a b/\\xff; ask its owner; no daemon answers at /a (no such socket), /b \
         (nothing listens); /c is ignored: not a regular file; /d is ignored: longer than 9 bytes"
    );
    AcceptsNone { path: path() } => (TimedOut, r"the daemon at /a b/\xff accepts no connection; it may be busy: try again, or restart it");
    NoneAnswers { tried: tried(), ignored: vec![] } => (
        NoDaemon,
        "no daemon answers at /a (no such socket), /b (nothing listens); start one with `pyrated`, or `systemctl start \
         pyrated`"
    );
    NoneAnswers { tried: tried(), ignored: ignored() } => (
        NoDaemon,
        "no daemon answers at /a (no such socket), /b (nothing listens); start one with `pyrated`, or `systemctl start \
         pyrated`; /c is ignored: not a regular file; /d is ignored: longer than 9 bytes"
    );

    NoScreen(NoScreen::NotATerminal("output")) => (
        Usage,
        "top needs a terminal to draw on: the standard output is none; `pyratectl status` and `pyratectl events` do without"
    );
    NoScreen(NoScreen::Form("--json")) => (
        Usage,
        "top needs a terminal to draw on: --json asks for a form that programs read; `pyratectl status` and `pyratectl events` do without"
    );
    NoScreen(NoScreen::Nameless) => (
        Usage,
        "top needs a terminal to draw on: TERM is not set; `pyratectl status` and `pyratectl events` do without"
    );
    NoScreen(NoScreen::Dumb) => (
        Usage,
        "top needs a terminal to draw on: TERM is 'dumb', a terminal that cannot move its cursor; `pyratectl status` and `pyratectl events` do without"
    );
    CannotRedraw(NoScreen::NotATerminal("output")) => (
        Usage,
        "--watch needs a terminal to draw on: the standard output is none; with --json it prints a document each time"
    );
    CannotDraw { error: "no".into() } => (FileIo, "cannot draw on the terminal: no");
    CannotWatch { error: "no memory".into() } => (Other, "cannot watch for Ctrl-C: no memory");
    CannotWait { error: "no memory".into() } => (Other, "cannot wait: no memory");
    Interrupted => (Other, "interrupted");
    ScanInterrupted => (Other, "interrupted; the scan continues in the daemon");
    HungUp { path: path() } => (NoDaemon, r"the daemon at /a b/\xff hung up; its log may tell why");
    NoAnswer { path: path(), within: SPAN } => (TimedOut, r"the daemon at /a b/\xff did not answer within 1m 30s; --timeout waits longer");
    OtherVersion { path: path(), why: Unexpected::OnlyNotices } => (
        Other, r"what answers at /a b/\xff is no daemon of this version: notices without end, and no answer; restart the daemon after an upgrade"
    );
    NoList { peer: peer(), within: SPAN } => (
        TimedOut, "no list from [2001:db8::1]:9: the daemon reported nothing for 1m 30s"
    );
    NoEndOfScan { within: SPAN } => (TimedOut, "no end of the scan: the daemon reported nothing for 1m 30s");
    NotStopped { within: SPAN } => (TimedOut, "the daemon has not stopped within 1m 30s");

    CannotWrite { error: "no room".into() } => (FileIo, "cannot write the result: no room");
    FileExists { path: "/a".into() } => (
        Exists, "'/a' exists, and is not replaced; remove it, or choose another path with `-o`"
    );
    CannotSave { path: "/a\u{1b}".into(), error: "no room".into() } => (FileIo, r"cannot write '/a\x1b': no room");
    CannotReadManifest { path: "/x".into(), error: "No such file".into() } => (
        FileIo, "cannot read the manifest '/x': No such file"
    );
    NotAManifest { path: "/x".into(), fault: ManifestFault::NoManifest } => (
        Usage,
        "'/x': this is no manifest: its first line is not \"pyrate-manifest 1\"; save it again with `pyratectl manifest DIR/ -o FILE`"
    );
    LinkInPlaceOfManifest { path: "/x".into() } => (
        Usage, "'/x' has a link and no manifest; give `pyratectl download` the link itself, between quotes"
    );
    NoNameForDirectory { path: "/\n".into() } => (
        Usage,
        "the directory is saved under the name of the manifest, and no directory can be called as '/\\n' is; rename the file"
    );
    ManifestDamaged => (Checksum, "what the daemon sent is not the manifest whose hash it named; try again");
    PlaceNotGiven => (FileIo, "the daemon did not say where it saved the file");
    CannotRead { path: "/a".into(), error: "denied".into() } => (
        FileIo, "cannot read '/a', where the daemon has saved it: denied"
    );
    ChangedSince { path: "/a".into(), b3: "ab".into() } => (
        Checksum, "'/a' was changed since it was saved: what was written is not the content of ab"
    );
});

list!(reasons: NoSocket as &'static str {
    Missing => "no such socket";
    Refused => "nothing listens";
    Other("broken".into()) => "broken";
});

list!(settings: NoSetting as &'static str {
    NotRegular => "not a regular file";
    TooLong(9) => "longer than 9 bytes";
    Unreadable("denied".into()) => "denied";
    Syntax { line: 3, error: "no value".into() } => "line 3: no value";
    NotAString => "control_socket is not a string";
    NoHome => "control_socket begins with ~, and HOME is not set";
    Relative => "control_socket is a relative path; --socket must tell where it is";
});

list!(permissions: Permitted as &'static str {
    Group("pyrate".into()) => "members of the group 'pyrate' may: ask to be added, then log in again";
    NamelessGroup(7) => "members of the group 7 may";
    Root => "run pyratectl as root";
    User("ann".into()) => "it is the daemon of user 'ann': run pyratectl as 'ann'";
    NamelessUser(7) => "it is the daemon of user 7";
    Unknown => "ask its owner";
});

list!(answers: Unexpected as &'static str {
    Line("no JSON".into()) => "no JSON";
    Answer("no number".into()) => "unexpected answer: no number";
    OnlyNotices => "notices without end, and no answer";
});

list!(remarks: Remark as &'static str {
    Help { command: None } => "Type `pyratectl --help` for the commands.";
    Help { command: Some("search") } => "Type `pyratectl help search` for its arguments.";
    Complaint("no".into()) => "pyratectl: no";
    NoPeer => "no peer is known; `pyratectl bootstrap` shows whether a bootstrap node has answered";
    NoHit => "no hit is remembered; `pyratectl search` looks for some";
    NoDownload => "no download is remembered; `pyratectl download` begins one";
    NoSuchDownload => "no download is in such a state; `pyratectl downloads` shows all";
    NothingToForget => "nothing to forget: no download is over, or those that are keep their data; `pyratectl cancel` removes \
        that";
    NothingToFollow => "nothing to follow: no download is unfinished; `pyratectl downloads` shows all";
    Queued { number: 30, ids: "4-33".into() } => "30 downloads queued: 4-33";
    NoHistory { is_since: true } => "no download has ended since then; `pyratectl downloads` shows those in progress";
    NoHistory { is_since: false } => "no download has ended; `pyratectl downloads` shows those in progress";
    HistoryCut => "older downloads are no longer in the event log";
    NoUpload => "no peer fetches anything now; `pyratectl files` shows what is shared";
    NoFile => "no file is shared; put files into the shared directory, then `pyratectl rescan`";
    SharesNothing =>
        "this daemon is a bootstrap node alone, and shares nothing; peer = true in its configuration makes it a peer";
    LinkWithoutPeer =>
        "no peer is named in a link: no address of this node is known to others yet, or no source is; whoever downloads it \
         searches for its hash (`advertise_addr` in the configuration says where this node is reached)";
    DirectoryLinkWithoutPeer =>
        "a link to a directory needs a peer: no address of this node is known to others yet; set `advertise_addr` in the \
         configuration";
    LinkWithinMachine { peers: "127.0.0.1:5".into() } =>
        "the link names 127.0.0.1:5 alone, which other machines do not reach; set `advertise_addr` in the configuration of \
         that node";
    LinkWithinMachine { peers: "127.0.0.1:5 and 127.0.0.1:6".into() } =>
        "the link names 127.0.0.1:5 and 127.0.0.1:6 alone, which other machines do not reach; set `advertise_addr` in the \
         configuration of those nodes";
    LinkForSome { name: "a".into(), audience: "10.0.0.0/8".into() } =>
        "a is shared with 10.0.0.0/8 alone: others who have the link are refused";
    LeftOutBefore => "what is left out of a share that cannot be read is what the last scan found that could read it";
    NothingLeftOut => "nothing in the shared directory is left out";
    LeftOut { count: 1 } => "1 entry of the shared directory left out; `pyratectl files --left-out` says why";
    LeftOut { count: 2 } => "2 entries of the shared directory left out; `pyratectl files --left-out` says why";
    LinksNotFollowed =>
        "symbolic links are not followed; 'follow_symlinks = true' in the configuration has the next start follow them";
    OutsideSandbox => "outside of the sandbox: name the directories in 'sandbox_readable', and restart pyrated";
    Unnamed("1 hidden".into()) => "the daemon keeps no names of further ones: 1 hidden";
    Unverified => "unverified: no source gave a hash, so that what is downloaded cannot be checked";
    LinesLeft(1) => "and 1 further line";
    NoSearch => "no search is remembered; `pyratectl search` begins one";
    HitsOfOneForgotten => "this search found more hits than are remembered";
    NoWish => "no wish is remembered; `pyratectl wish` makes one";
    NothingForWish(7) => "wish 7 has found nothing yet; `pyratectl wishes` shows when it asks next";
    HitsForgotten => "some searches found more hits than are remembered";
    FilesForgotten => "the peer shares more files than are remembered";
    SearchTooWide =>
        "there were more hits than are remembered; --max takes up to 1000, and further words narrow the search";
    SearchGoesOn => "the search continues in the daemon; `pyratectl hits` shows what it finds";
    NoHitFor { words: "a b".into(), why: NoHit::Unknown } =>
        "no hit for 'a b'; fewer or shorter words find more, `pyratectl peers` shows who is asked";
    NoHitFor { words: "a".into(), why: NoHit::Running } =>
        "no hit for 'a' yet: the search is not over; `pyratectl hits` shows what it finds";
    NoHitFor { words: "a".into(), why: NoHit::Filtered(2) } =>
        "no hit for 'a': its filters have dropped 2 hits; wider filters, or none, show more";
    NoHitFor { words: "*.md".into(), why: NoHit::TooShort } =>
        "no hit for '*.md'; longer or further words also find parts of names";
    NoHitFor { words: "a".into(), why: NoHit::TooLong } =>
        "no hit for 'a'; fewer words or patterns also find parts of names";
    NoHitFor { words: "a".into(), why: NoHit::NoPeer(vec![]) } =>
        "no hit for 'a': no peer is known; `pyratectl bootstrap` shows the state of each bootstrap node";
    NoHitFor { words: "a".into(), why: NoHit::NoPeer(vec![("b:1".into(), Some("timed out".into()))]) } =>
        "no hit for 'a': no peer is known, and no bootstrap node answers (b:1: timed out); `pyratectl bootstrap` shows the \
         state of each bootstrap node";
    NoHitFor { words: "a".into(), why: NoHit::Down { peers: 1, links: vec![("b:1".into(), Some("timed out".into()))] } } =>
        "no hit for 'a', asking 1 peer known from before: no bootstrap node answers (b:1: timed out); `pyratectl bootstrap` \
         shows their state";
    EmptyList("192.0.2.7:63339".parse().unwrap()) => "the list of 192.0.2.7:63339 has no file";
    WholeNames { words: "a".into(), why: crate::control::WholeNames::TooShort } =>
        "'a' is too short to be looked for in names, which takes words of 3 bytes together: only files of exactly this name \
         are found";
    WholeNames { words: "a".into(), why: crate::control::WholeNames::TooLong } =>
        "'a' has too many words or patterns to be looked for in names: only files of exactly this name are found";
    Hits(1) => "1 hit; `pyratectl hits ID` shows all names and sources of one";
    Listing { peer: peer(), files: None } => "asking [2001:db8::1]:9";
    Listing { peer: peer(), files: Some(2) } => "asking [2001:db8::1]:9: 2 files";
    ListIncomplete(CallError::new(TimedOut, "timed out")) => "the list is incomplete: timed out";
    DownloadsGoOn { ids: "2,4-6".into() } =>
        "unfinished downloads continue in the daemon: `pyratectl downloads 2,4-6` shows them, `pyratectl pause 2,4-6` or \
         `pyratectl cancel 2,4-6` stops them";
    Contents { id: 7, name: "d/".into(), files: 3, bytes: Some(2048) } => "7: 3 files in d/, 2.0 KiB";
    Contents { id: 7, name: "d/".into(), files: 1, bytes: None } => "7: 1 file in d/";
    State { id: 7, state: "done".into(), name: "a".into(), more: ": /a".into() } => "7 done: a: /a";
    SourceLost { download: 7, addr: peer(), loss: Loss::Corrupt, then: Then::Others(1) } =>
        "7: [2001:db8::1]:9 sent wrong bytes; continuing with 1 other";
    OnlyForTransfers => "p, r, t and c are for transfers: Tab turns to them";
    NothingToCancel { download: 7 } =>
        "download 7 is over: nothing of it is removed; `pyratectl forget 7` takes it off the list";
    GoneMeanwhile => "the daemon is gone: nothing was done";
    NothingToDo => "nothing to do: no download is in a state that this changes";
    NotRemembered { id: 7, why: CallError::new(FileIo, "the disk is full") } =>
        "download 7 is not remembered: the disk is full";
    ProgramFailed {
        program: "hook".into(), id: 7, why: ProgramFault::Exited(3), again: Some(Duration::from_secs(60)),
    } => "event 7: hook exited with 3; it is run again in 1m";
    ProgramFailed {
        program: "hook".into(), id: 7, why: ProgramFault::Killed("SIGKILL"), again: Some(Duration::from_secs(1)),
    } => "event 7: hook was ended by SIGKILL; it is run again in 1s";
    ProgramFailed {
        program: "hook".into(), id: 7, why: ProgramFault::NotStarted("No such file"), again: Some(Duration::from_secs(1)),
    } => "event 7: hook cannot be started: No such file; it is run again in 1s";
    ProgramFailed { program: "hook".into(), id: 7, why: ProgramFault::Exited(3), again: None } =>
        "event 7: hook exited with 3; the next run repeats the event";
    PositionNotSaved { why: "the disk is full".into(), wait: Duration::from_secs(1) } =>
        "how far the program came cannot be remembered: the disk is full; that is tried again in 1s";
    ProgramRuns { program: "/a b".into(), id: 7, span: Duration::from_secs(60) } =>
        "event 7: /a b has run for 1m; later events wait for that";
    EndsAfterProgram { program: "/a b".into(), id: 7 } =>
        "ending when /a b is done with event 7; another signal ends the program at once, and the next run repeats the event";
    NoSuchProgram { program: "/a b".into(), why: "no such file".into() } =>
        "/a b cannot be run: no such file; the first event waits until it can";
    WaitsForDaemon { why: "no daemon".into() } => "no daemon; waiting for it";
    FoundDaemon => "the daemon answers again";
    EventsGone { first: 1, last: 41 } => "the events 1 to 41 are not kept any more: the program was not run for them";
    OtherLog =>
        "the daemon has lost the event log that it had; the one that it has now is followed from its beginning";
    Reloaded => "reloaded; no value in force has changed";
    AfterRestart(vec!["listen".into(), "peer".into()]) => "in force only after a restart of the daemon: listen, peer";
});

list!(losses: Loss as &'static str {
    Corrupt => "sent wrong bytes";
    Refused => "refuses to send it";
    Failed("timed out".into()) => "failed: timed out";
    FailedSomehow => "failed";
});

list!(continuations: Then as &'static str {
    Others(2) => "continuing with 2 others";
    Alone => "no other source is known";
    OthersLater => "the others are asked again later";
    Later => "it is asked again later";
});

const SPAN: Duration = Duration::from_secs(90);

fn peer() -> SocketAddr {
    "[2001:db8::1]:9".parse().unwrap()
}

fn path() -> PathBuf {
    std::ffi::OsStr::from_bytes(b"/a b/\xff").into()
}

fn tried() -> Vec<Tried> {
    vec![("/a".into(), NoSocket::Missing), ("/b".into(), NoSocket::Refused)]
}

fn ignored() -> Vec<Ignored> {
    vec![("/c".into(), NoSetting::NotRegular), ("/d".into(), NoSetting::TooLong(9))]
}

#[test]
fn each_failure_has_its_code_and_its_sentence() {
    for (failure, (code, sentence)) in failures() {
        assert_eq!(CallError::from(failure), CallError::new(code, sentence));
    }
}

#[test]
fn each_remark_has_its_sentence() {
    fn check<T: ToString>(list: Vec<(T, &'static str)>) {
        list.into_iter().for_each(|(fact, sentence)| assert_eq!(fact.to_string(), sentence));
    }
    check(remarks());
    check(reasons());
    check(settings());
    check(permissions());
    check(answers());
    check(losses());
    check(continuations());
}
