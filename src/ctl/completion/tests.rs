use super::*;

/// What is offered after some words of a command line, and the questions for the daemon.
fn offered(line: &str) -> (Vec<String>, Vec<Question>) {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let (current, before) = words.split_last().unwrap();
    let commands = commands();
    let offer = Place::after(&commands, before).offer(&commands, current);
    let questions = offer.questions.clone();
    let text = written(offer, current, None);
    (text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect(), questions)
}

#[test]
fn what_the_parser_takes_is_offered() {
    for (line, expected) in [
        ("pau", &["words", "pause"][..]),
        ("help pau", &["words", "pause"]),
        ("help pause ", &["words"]),
        ("he", &["words", "help"]),
        ("--js", &["words", "--json"]),
        ("--json --js", &["words"]),
        ("download --d", &["words", "--detach"]),
        ("download --detach 3 --de", &["words"]),
        ("download -- --d", &["words"]),
        ("status ", &["words", "--help", "--verbose", "--socket", "--json", "--terse", "--timeout", "--version"]),
        ("move ", &["words"]),
        ("move 7,", &["words"]),
        ("pause ", &["words", "all"]),
        ("move 7 ", &["words", "top", "up", "down", "bottom"]),
        ("log-level ", &["words", "error", "warn", "info", "debug", "trace"]),
        ("log-level debug --v", &["words", "--version"]),
        ("completions z", &["words", "zsh"]),
        ("--socket ", &["files"]),
        ("--socket=", &["files"]),
        ("download 3 -o ", &["files"]),
        ("download --output=/t", &["files"]),
        ("--timeout ", &["words"]),
        ("--timeout 3s hit", &["words", "hits"]),
        ("dance ", &["words"]),
        ("search ", &["words"]),
        ("search a --sort s", &["words", "sources", "size"]),
        ("hits --sort=n", &["words"]),
        ("list 192.0.2.1 --h", &["words", "--help"]),
    ] {
        assert_eq!(offered(line).0, expected, "{line}");
    }
}

#[test]
fn the_daemon_is_asked_for_what_a_command_takes() {
    let downloads = |command| vec![Question::Downloads { command }];
    let peers = |suffix| Question::Peers { suffix };
    let shared = |beginning: &str| Question::Shared { beginning: beginning.into() };
    let directories = |beginning: &str| Question::SharedDirectories { beginning: beginning.into() };
    for (line, expected) in [
        ("hits ", vec![Question::Hits]),
        ("hits 7 8", vec![Question::Hits]),
        ("hits --search ", vec![Question::Searches]),
        ("wishes ", vec![Question::Wishes]),
        ("unwish 1,", vec![Question::Wishes]),
        ("download 1,2,", vec![Question::Hits]),
        ("download --detach ", vec![Question::Hits]),
        ("download 192.0", vec![peers("/"), Question::Hits]),
        ("download 192.0.2.1:5/a", vec![Question::Names { peer: "192.0.2.1:5".into() }]),
        ("download b3=", vec![Question::Contents]),
        ("pause ", downloads("pause")),
        ("wait 7 ", downloads("wait")),
        ("move ", downloads("move")),
        ("cancel 7 ", downloads("cancel")),
        ("list ", vec![peers("")]),
        ("list 192.0.2.1 ", vec![]),
        ("forget 1", vec![Question::Downloads { command: "forget" }, peers("")]),
        ("link --downloads ", downloads("link")),
        ("link --downloads 7,", downloads("link")),
        ("link ", vec![shared(""), directories(""), Question::Hits]),
        ("link 7,", vec![Question::Hits]),
        ("link a,", vec![shared("a,")]),
        ("link a/b", vec![shared("a/b"), directories("a/b"), Question::Names { peer: "a".into() }]),
        ("link b3", vec![shared("b3"), directories("b3"), Question::Contents]),
        ("link ./7,", vec![shared("./7,")]),
        (
            "manifest ",
            vec![Question::SharedDirectories { beginning: String::new() }, peers("/"), Question::FoundDirectories],
        ),
        (
            "manifest a/b",
            vec![Question::SharedDirectories { beginning: "a/b".into() }, Question::DirectoriesOf { peer: "a".into() }],
        ),
        ("search a", vec![]),
        ("peers ", vec![]),
    ] {
        assert_eq!(offered(line).1, expected, "{line}");
    }
}

#[test]
fn ids_in_a_list_are_offered_behind_the_others_and_once() {
    let words = ["1".to_owned(), "2,4".to_owned(), "4,".to_owned()];
    let commands = commands();
    let place = Place { command: commands.named("pause"), arguments: vec![&words[0], &words[1]], ..Place::default() };
    let offer = place.offer(&commands, "7,");
    assert_eq!((offer.before.as_str(), offer.words.len()), ("7,", 0));
    let named = offer.named;
    assert!(["1", "2", "4", "7"].iter().all(|id| named.contains(&(*id).to_owned())), "{named:?}");
}

#[test]
fn a_name_with_a_comma_is_no_list_of_ids() {
    let before = |line: &str| {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let commands = commands();
        Place::after(&commands, &words[..words.len() - 1]).offer(&commands, words.last().unwrap()).before
    };
    assert_eq!(["link 7,", "link --downloads 7,", "link a,", "link ./7,"].map(before), ["7,", "7,", "", ""]);
}

#[test]
fn a_socket_that_the_line_names_is_asked() {
    let commands = commands();
    for line in ["--socket /a/b pause", "pause --socket=/a/b --json"] {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        assert_eq!(Place::after(&commands, &words).socket, Some("/a/b"), "{line}");
    }
}
