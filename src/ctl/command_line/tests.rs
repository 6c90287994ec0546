use super::*;
use crate::control::{RawText, Selector};
use crate::ctl::args::selector;
use crate::ctl::args::{Cancel, Downloads, Hits, Pause, Peers, Resume, Retry};
use crate::ctl::values::{BytesArg, peer};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt;

fn parsed(line: &str) -> Result<Options, Early> {
    let arguments: Vec<OsString> = line.split(' ').filter(|a| !a.is_empty()).map(OsString::from).collect();
    parse(&arguments)
}

fn usage(line: &str) -> String {
    match parsed(line) {
        Err(Early::Usage { message, .. }) => message,
        other => panic!("{line}: {other:?}"),
    }
}

fn shown(ids: &[&str]) -> Downloads {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    Downloads { ids, active: false, failed: false, finished: false, watch: None }
}

#[test]
fn no_command_is_status_and_no_option_has_defaults() {
    let options = parsed("").unwrap();
    assert_eq!(options.command, Command::Status(Status { verbose: false }));
    assert_eq!((options.form, options.timeout, options.follow_timeout), (Form::Text, TIMEOUT, None));
    let options = parsed("peers --terse --timeout 5 --socket a/b").unwrap();
    assert_eq!(options.command, Command::Peers(Peers { watch: None }));
    assert_eq!((options.form, options.timeout), (Form::Terse, Duration::from_secs(5)));
    assert_eq!(options.socket.unwrap(), PathBuf::from("a/b"));
}

#[test]
fn a_search_takes_words_and_bounds() {
    let Command::Search(search) = parsed("search --wait 0 free books --max=3 --ttl 2").unwrap().command else {
        panic!()
    };
    assert_eq!(search.text, [BytesArg(b"free".into()), BytesArg(b"books".into())]);
    assert_eq!((search.wait, search.max, search.ttl), (Duration::ZERO, 3, Some(2)));
    let Command::Search(search) = parsed("search help -- --json").unwrap().command else { panic!() };
    assert_eq!(search.text.len(), 2);
    assert_eq!((search.wait, search.max, search.ttl), (Duration::from_secs(5), 150, None));
}

#[test]
fn downloads_and_hits_are_named_or_not() {
    for (line, expected) in [
        ("downloads", Command::Downloads(shown(&[]))),
        ("downloads 2 4-6", Command::Downloads(shown(&["2", "4-6"]))),
        (
            "hits all",
            Command::Hits(Hits { ids: vec!["all".into()], all: false, search: None, sort: None, reverse: false }),
        ),
        ("pause 7", Command::Pause(Pause { ids: vec!["7".into()] })),
        ("resume all", Command::Resume(Resume { ids: vec!["all".into()] })),
        ("retry 7,9", Command::Retry(Retry { ids: vec!["7,9".into()] })),
        ("cancel 7 9", Command::Cancel(Cancel { ids: vec!["7".into(), "9".into()] })),
    ] {
        assert_eq!(parsed(line).unwrap().command, expected);
    }
}

#[test]
fn selectors_are_told_apart() {
    let peer: SocketAddr = "[2001:db8::1]:5".parse().unwrap();
    assert_eq!(selector("2,4-6"), Ok(Selector::Hits("2,4-6".into())));
    assert_eq!(selector("all"), Ok(Selector::Hits("all".into())));
    assert_eq!(selector("[2001:db8::1]:5/a/b:c"), Ok(Selector::File { peer, name: RawText::new(&b"a/b:c"[..]) }));
    assert_eq!(selector(&format!("b3={}", "AB".repeat(32))), Ok(Selector::Content("ab".repeat(32))));
    for bad in ["", "x", "b3=12", "1.2.3.4:0/x", "1.2.3.4:5/", "ho st:5/x", "2x"] {
        assert!(selector(bad).is_err(), "{bad}");
    }
}

#[test]
fn peers_are_named_by_addresses_and_host_names_with_a_port_or_without() {
    for (text, addr) in [
        ("192.0.2.7", "192.0.2.7:63339"),
        ("192.0.2.7:5", "192.0.2.7:5"),
        ("localhost:63340", "127.0.0.1:63340"),
        ("localhost", "127.0.0.1:63339"),
        ("[2001:db8::7]", "[2001:db8::7]:63339"),
        ("2001:db8::7", "[2001:db8::7]:63339"),
    ] {
        assert_eq!(peer(text), Ok(addr.parse().unwrap()), "{text}");
    }
    let file = Selector::File { peer: "127.0.0.1:5".parse().unwrap(), name: RawText::new("a") };
    assert_eq!(selector("localhost:5/a"), Ok(file));
}

#[test]
fn a_name_that_is_shown_escaped_can_be_pasted() {
    let named = |text: &str| match selector(&format!("127.0.0.1:5/{text}")) {
        Ok(Selector::File { name, .. }) => name.as_bytes().to_vec(),
        other => panic!("{other:?}"),
    };
    assert_eq!(named("caf\\xe9 \\u{202e}"), [b"caf\xe9 ", "\u{202e}".as_bytes()].concat());
    assert_eq!((named("a\\\\b"), named("a\\b")), (b"a\\b".to_vec(), b"a\\b".to_vec()));
}

#[test]
fn a_name_of_any_bytes_can_be_asked_for() {
    let arguments = [OsString::from("download"), OsString::from_vec(b"127.0.0.1:5/caf\xe9".to_vec())];
    let Command::Download(download) = parse(&arguments).unwrap().command else { panic!() };
    let peer = "127.0.0.1:5".parse().unwrap();
    assert_eq!(download.what, [Selector::File { peer, name: RawText::new(&b"caf\xe9"[..]) }]);
}

#[test]
fn usage_errors_say_what_is_wrong() {
    for (line, told) in [
        ("dance", "dance"),
        ("--frobnicate", "--frobnicate"),
        ("status x", "x"),
        ("--json --terse", "exclude"),
        ("--timeout x", "30s"),
        ("--timeout", "--timeout"),
        ("search", "TEXT"),
        ("search x --max 0", "from 1"),
        ("search x --ttl 300", "300"),
        ("list", "PEER"),
        ("list local/host", "192.0.2.7:63339"),
        ("list localhost:0", "192.0.2.7:63339"),
        ("list localhost:x", "192.0.2.7:63339"),
        ("list 127.0.0.1:0", "192.0.2.7:63339"),
        ("list 1.2.3", "four numbers"),
        ("list 127.1:5", "four numbers"),
        ("forget 010.0.0.1", "four numbers"),
        ("list 0x7f000001:5", "four numbers"),
        ("list 2130706433", "four numbers"),
        ("list 10.0.0.256", "four numbers"),
        ("download 1.2.3/a", "four numbers"),
        ("download", "ID"),
        ("download nonsense", "b3=HASH"),
        ("cancel", "ID"),
        ("pause", "ID"),
        ("resume", "ID"),
        ("retry", "ID"),
        ("downloads --sources", "--sources"),
        ("log-level loud", "trace"),
        ("suspend 1", "suspend"),
    ] {
        let message = usage(line);
        assert!(message.contains(told), "{line}: {message}");
    }
    let raw = [OsString::from_vec(b"a\xff\x1b".to_vec())];
    let Err(Early::Usage { message, json: false, .. }) = parse(&raw) else { panic!() };
    assert!(message.contains("a\\xff\\x1b"), "{message}");
    assert!(matches!(parsed("dance --json"), Err(Early::Usage { json: true, .. })));
}

#[test]
fn arguments_that_are_wrong_are_named_in_a_sentence() {
    for (line, told) in [
        ("list", "list needs a PEER"),
        ("list 1.2.3.4:0", "\"1.2.3.4:0\" is no PEER: a peer is an address or host name"),
        ("log-level loud", "\"loud\" is no LEVEL: a level is one of"),
        ("search x --ttl 300", "\"300\" is no value for --ttl: a number of hops is from 0 to 255"),
        ("search x --wait", "--wait needs a value"),
        ("search x --max 1 --max 2", "--max is given twice"),
        ("list -- -x:y:", "\"-x:y:\" is no PEER"),
    ] {
        let message = usage(line);
        assert!(message.starts_with(told), "{line}: {message}");
        let command = line.split(' ').next();
        assert!(matches!(parsed(line), Err(Early::Usage { command: of, .. }) if of == command), "{line}");
    }
    assert!(matches!(parsed("--timeout x"), Err(Early::Usage { command: None, .. })));
}

#[test]
fn help_and_version_are_no_errors() {
    assert!(matches!(parsed("--help"), Err(Early::Told(text)) if text.contains("log-level")));
    assert!(matches!(parsed("-h search"), Err(Early::Told(text)) if text.contains("--ttl")));
    assert!(matches!(parsed("search --json --help"), Err(Early::Told(text)) if text.contains("--ttl")));
    assert!(matches!(parsed("help"), Err(Early::Told(text)) if text.contains("log-level")));
    assert!(matches!(parsed("help search"), Err(Early::Told(text)) if text.contains("--ttl")));
    assert_eq!(parsed("-V"), parsed("--version"));
    assert_eq!(parsed("--version"), Err(Early::Told(format!("pyratectl {}\n", env!("CARGO_PKG_VERSION")))));
}

fn arranged(line: &str) -> String {
    arrange(&commands(), line.split(' ').map(str::to_owned).collect()).join(" ")
}

#[test]
fn options_of_the_program_may_stand_anywhere_before_two_dashes() {
    assert_eq!(arranged("search x --json --wait 3s"), "--json search x --wait 3s");
    assert_eq!(arranged("hits --socket=/a=b --terse"), "--socket /a=b --terse hits");
    assert_eq!(arranged("search --wait=3s x"), "search --wait 3s x");
    assert_eq!(arranged("search -- --json --wait=3"), "search -- --json --wait=3");
    assert_eq!(arranged("download 1 -o --json"), "download 1 -o --json");
    assert_eq!(arranged("download 1 -o/a=b -o-"), "download 1 -o /a=b -o -");
    assert_eq!(arranged("status -V"), "-V status");
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
    assert_eq!(arranged("help help"), "--help");
    assert_eq!(arranged("search help"), "search help");
}

#[test]
fn a_misspelt_command_or_option_is_named_with_what_was_likely_meant() {
    for (line, told) in [
        ("dowload 3", "no command \"dowload\"; did you mean \"download\"?"),
        ("help dowload", "no command \"dowload\"; did you mean \"download\"?"),
        ("hlep", "no command \"hlep\"; did you mean \"help\"?"),
        ("log", "no command \"log\"; did you mean \"log-level\"?"),
        ("dance", "no command \"dance\""),
        ("-- lisst x", "no command \"lisst\"; did you mean \"list\"?"),
        ("download 3 --detahc", "no option \"--detahc\" of download; did you mean \"--detach\"?"),
        ("hits --tersee", "no option \"--tersee\" of hits; did you mean \"--terse\"?"),
        ("hits --jsn=1", "no option \"--jsn=1\" of hits; did you mean \"--json\"?"),
        ("--sokcet /x hits", "no option \"--sokcet\"; did you mean \"--socket\"?"),
        ("hits -x", "no option \"-x\" of hits"),
        ("status x", "\"x\" is one argument too many for status"),
        ("list 127.0.0.1 -- -b", "\"-b\" is one argument too many for list"),
        ("search a -- --wiat -b", ""),
        ("download 3 --output --detahc", ""),
        ("--wait 3s search x", "\"--wait\" is an option of search, and stands after that word"),
    ] {
        match told {
            "" => assert!(parsed(line).is_ok(), "{line}"),
            told => assert_eq!(usage(line), told, "{line}"),
        }
    }
}
