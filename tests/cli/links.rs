//! `link`: what it asks the daemon for each kind of argument, and how links and what has none are shown.

use super::fake::{Fake, Talk, download, forms, hit, raw_argument, run, run_alone, with};
use serde_json::{Value, json};

const HASH: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
const PEER: &str = "192.0.2.7:63339";

fn row(name: &str, peers: &[&str]) -> Value {
    json!({"link": format!("pyrate:b3={HASH}&name={name}"), "b3": HASH, "size": 7, "name": name, "peers": peers})
}

/// An address as links have it.
fn escaped(peer: &str) -> String {
    peer.replace(':', "%3A")
}

/// Expects a call for a link.
fn asks(talk: &mut Talk, what: Value) {
    assert_eq!(talk.expect("link"), json!({ "what": what }));
}

fn with_hash(hit: Value) -> Value {
    with(hit, json!({ "b3": HASH }))
}

fn hits(talk: &mut Talk, hits: Value) {
    talk.answer("hits", json!({"hits": hits, "next": null}));
}

#[test]
fn a_file_of_the_share_is_named_as_it_is() {
    let [text, terse, json] = forms(&["link", "a b.txt"], |talk| {
        asks(talk, json!({"shared": {"name": "a b.txt"}}));
        talk.reply(row("a%20b.txt", &[PEER, "[2001:db8::7]:5"]));
    });
    text.gives(0, &format!("pyrate:b3={HASH}&name=a%20b.txt\n"));
    terse.gives(
        0,
        &format!(
            "link\tb3\tsize\tname\tpeers\npyrate:b3={HASH}&name=a%20b.txt\t{HASH}\t7\ta%20b.txt\t{PEER} [2001:db8::7]:5\n"
        ),
    );
    assert_eq!(json.json(), json!([row("a%20b.txt", &[PEER, "[2001:db8::7]:5"])]));
    // What reads as something else is a file of the share behind ./
    for (argument, name) in [("./7", "7"), ("./b3=x", "b3=x"), ("./192.0.2.7/a", "192.0.2.7/a"), ("caf\\xe9", "")] {
        let shown = run(&["link", argument], move |talk| {
            let asked = talk.expect("link");
            match name {
                "" => assert_eq!(asked["what"]["shared"]["name"]["hex"], "636166e9"),
                name => assert_eq!(asked, json!({"what": {"shared": {"name": name}}})),
            }
            talk.reply(row("x", &[PEER]));
        });
        shown.gives(0, &format!("pyrate:b3={HASH}&name=x\n"));
    }
}

#[test]
fn a_link_without_a_peer_is_remarked() {
    let alone = run(&["link", "a"], |talk| {
        talk.expect("link");
        talk.reply(row("a", &[]));
    });
    alone.says(0, "no peer is named in a link");
    let directory = run(&["link", "a/"], |talk| {
        talk.expect("link");
        talk.reply(row("a/", &[]));
    });
    directory.says(0, "a link to a directory needs a peer: ");
    assert!(!directory.err.contains("no peer is named"), "{directory:?}");
}

#[test]
fn ids_are_those_of_hits_or_with_an_option_of_downloads() {
    let of_hits = run(&["link", "1,3"], |talk| {
        hits(talk, json!([hit(1, "a", None, &[PEER]), hit(2, "b", None, &[PEER]), hit(3, "c", None, &[PEER])]));
        for id in [1, 3] {
            asks(talk, json!({"hit": {"id": id, "peer": null}}));
            talk.reply(row(&format!("h{id}"), &[PEER]));
        }
    });
    of_hits.gives(0, &format!("pyrate:b3={HASH}&name=h1\npyrate:b3={HASH}&name=h3\n"));
    let of_downloads = run(&["link", "--downloads", "all"], |talk| {
        talk.answer("downloads", json!({"downloads": [download(4, "a", "done", 0)], "next": null}));
        asks(talk, json!({"download": {"id": 4}}));
        talk.reply(row("d4", &[PEER]));
    });
    of_downloads.gives(0, &format!("pyrate:b3={HASH}&name=d4\n"));
    run(&["link", "9"], |talk| hits(talk, json!([]))).says(3, "no such id: 9; ids of hits end with the daemon");
    let none = run(&["link", "--downloads", "a"], |talk| {
        talk.answer("downloads", json!({"downloads": [], "next": null}));
    });
    none.says(28, "not an id: 'a'");
    let none = |talk: &mut Talk| drop(talk.answer("downloads", json!({"downloads": [], "next": null})));
    run(&["link", "--downloads", "all"], none).says(3, "'all' selects nothing: no download is remembered");
    run(&["link", "all"], |talk| hits(talk, json!([]))).says(3, "'all' selects nothing");
}

#[test]
fn what_has_no_link_is_told_beside_what_has_one() {
    let script = |talk: &mut Talk| {
        hits(talk, json!([hit(1, "a", None, &[PEER]), hit(2, "b", None, &[PEER])]));
        talk.expect("link");
        talk.fail(3, "no source gave a hash");
        talk.expect("link");
        talk.reply(row("b", &[PEER]));
    };
    let some = run(&["link", "1-2"], script);
    some.gives(3, &format!("pyrate:b3={HASH}&name=b\n"));
    some.says(3, "pyratectl: no source gave a hash\n");
    assert_eq!(run(&["link", "1-2", "--json"], script).json(), json!([row("b", &[PEER])]));
    let none = run(&["link", "--json", "a"], |talk| {
        talk.expect("link");
        talk.fail(3, "no file \"a\" is shared");
    });
    assert_eq!((none.code, none.json()), (3, json!({"error": {"code": 3, "message": "no file \"a\" is shared"}})));
}

#[test]
fn of_several_without_a_link_the_first_is_told_first() {
    let refused = |count: usize, form: &[&str]| {
        let arguments = [form, &["link"], &vec!["x"; count]].concat();
        run(&arguments, move |talk| {
            for nth in 1..=count {
                talk.expect("link");
                talk.fail(if nth == 1 { 3 } else { 6 }, &format!("no {nth}"));
            }
        })
    };
    let told = |numbers: std::ops::RangeInclusive<u32>| -> String {
        numbers.map(|nth| format!("pyratectl: no {nth}\n")).collect()
    };
    let two = refused(2, &[]);
    assert_eq!((two.code, two.err), (3, told(1..=2)));
    let many = refused(15, &[]);
    assert_eq!((many.code, many.err), (3, told(1..=10) + "and 5 further lines\n"));
    let json = refused(2, &["--json"]);
    assert_eq!(json.json(), json!({"error": {"code": 3, "message": "no 1"}}));
    assert_eq!((json.code, json.err), (3, told(1..=2)));
}

/// Says that no file of this name is shared here.
fn is_not_shared(talk: &mut Talk, name: &str) {
    asks(talk, json!({ "shared": { "name": name } }));
    talk.fail(3, "no such file is shared");
}

#[test]
fn a_file_of_a_peer_is_looked_for_among_the_hits_and_then_in_its_list() {
    let argument = &format!("{PEER}/dir/a");
    let remembered = run(&["link", argument], |talk| {
        is_not_shared(talk, &format!("{PEER}/dir/a"));
        let other = with(hit(2, "x", None, &["192.0.2.1:5", PEER]), json!({"names": ["x", "dir/a"], "b3": HASH}));
        hits(talk, json!([with_hash(hit(1, "dir/a", None, &[PEER])), other]));
        // The other source has this name.
        asks(talk, json!({"hit": {"id": 2, "peer": PEER}}));
        talk.reply(row("x", &[PEER]));
        asks(talk, json!({"hit": {"id": 1, "peer": PEER}}));
        talk.reply(row("dir/a", &[PEER]));
    });
    remembered.gives(0, &format!("pyrate:b3={HASH}&name=dir/a\n"));
    let listed = |files: fn() -> Value| {
        move |talk: &mut Talk| {
            is_not_shared(talk, &format!("{PEER}/dir/a"));
            hits(talk, json!([hit(1, "dir/b", None, &[PEER])]));
            assert_eq!(talk.expect("list"), json!({ "peer": PEER }));
            talk.reply(json!({"search": 5}));
            talk.notice(json!({"event": "search_done", "search": 5, "hits": 1, "truncated": false, "error": null}));
            assert_eq!(talk.expect("hits")["search"], 5);
            talk.reply(json!({"hits": files(), "next": null}));
        }
    };
    let script = listed(|| json!([with_hash(hit(7, "dir/a", None, &[PEER]))]));
    let found = run(&["link", argument], move |talk| {
        script(talk);
        asks(talk, json!({"hit": {"id": 7, "peer": PEER}}));
        talk.reply(row("dir/a", &[PEER]));
    });
    found.gives(0, &format!("pyrate:b3={HASH}&name=dir/a\n"));
    run(&["link", argument], listed(|| json!([])))
        .says(3, &format!("{PEER} shares no \"dir/a\"; `pyratectl list {PEER}` shows what it shares"));
    // No address: the file of the share is what was meant.
    run(&["link", "no_such_host_/a"], |talk| is_not_shared(talk, "no_such_host_/a")).says(3, "no such file is shared");
    run(&["link", "192.0.2.7:0/a"], |talk| is_not_shared(talk, "192.0.2.7:0/a")).says(28, "a peer is an address");
}

#[test]
fn a_content_is_looked_for_in_the_share_then_in_hits_and_downloads() {
    let argument = &format!("b3={HASH}");
    let no_file = |talk: &mut Talk| drop(talk.answer("files", json!({"files": [], "next": null})));
    let shared = run(&["link", argument], |talk| {
        let file = |name: &str, b3: Value| json!({"name": name, "size": 7, "b3": b3});
        talk.answer("files", json!({"files": [file("a", json!(null))], "next": "a"}));
        talk.answer("files", json!({"files": [file("b", json!(HASH))], "next": null}));
        asks(talk, json!({"shared": {"name": "b"}}));
        talk.reply(row("b", &[PEER]));
    });
    shared.gives(0, &format!("pyrate:b3={HASH}&name=b\n"));
    let found = run(&["link", argument], move |talk| {
        no_file(talk);
        hits(talk, json!([with_hash(hit(3, "a", None, &[PEER]))]));
        asks(talk, json!({"hit": {"id": 3, "peer": null}}));
        talk.reply(row("a", &[PEER]));
    });
    found.gives(0, &format!("pyrate:b3={HASH}&name=a\n"));
    let none = run(&["link", argument], move |talk| {
        no_file(talk);
        hits(talk, json!([]));
        talk.answer("downloads", json!({"downloads": [download(4, "a", "done", 0)], "next": null}));
    });
    none.says(3, &format!("`pyratectl search b3={HASH}` looks for one"));
}

#[test]
fn arguments_that_name_nothing_are_refused() {
    run_alone(&["link"]).says(28, "link needs a NAME, ID, PEER/NAME or b3=HASH");
    run(&["link", "b3=12"], |_| {}).says(28, "b3= is followed by 64 hex digits");
    let no_name = format!("{PEER}/");
    run(&["link", &no_name], |talk| is_not_shared(talk, &format!("{PEER}/"))).says(28, "no name follows the peer");
}

#[test]
fn directories_have_links_as_files_do() {
    let own = run(&["link", "music/live/"], |talk| {
        asks(talk, json!({"shared": {"name": "music/live/"}}));
        talk.reply(row("music%2Flive%2F", &[PEER]));
    });
    own.gives(0, &format!("pyrate:b3={HASH}&name=music%2Flive%2F\n"));
    let of_peer = run(&["link", &format!("{PEER}/live/")], |talk| {
        is_not_shared(talk, &format!("{PEER}/live/"));
        asks(talk, json!({"directory": {"peer": PEER, "name": "live/"}}));
        talk.reply(row("live%2F", &[PEER]));
    });
    of_peer.gives(0, &format!("pyrate:b3={HASH}&name=live%2F\n"));
    run(&["link", "music/"], |talk| is_not_shared(talk, "music/")).says(3, "no such file is shared");
    run(&["link", "192.0.2.7:0/a/"], |talk| is_not_shared(talk, "192.0.2.7:0/a/")).says(28, "a peer is an address");
    let link = &format!("pyrate:b3={HASH}&name=live%2F&peer={PEER}");
    let begun = run(&["download", "--detach", link], |talk| {
        let link = format!("pyrate:b3={HASH}&name=live%2F&peer={}", escaped(PEER));
        assert_eq!(talk.expect("download")["what"], json!([{ "link": link }]));
        talk.reply(json!({"downloads": [download(4, "live/", "queued", 0)], "next": null, "ids": [4]}));
    });
    assert_eq!(begun.code, 0, "{begun:?}");
}

#[test]
fn a_link_to_a_directory_takes_a_place_of_several_files() {
    let link = &format!("pyrate:b3={HASH}&name=songs%2F&peer={PEER}");
    run(&["download", "-o", "-", link], Talk::until_hangup)
        .says(28, "'-o -' takes one file; a directory or several files go");
    for (path, why) in [("new", "'new' is not one; 'new/'"), ("file", "'file' is a file; name another path")] {
        let fake = Fake::new();
        std::fs::write(fake.directory().join("file"), "").unwrap();
        let refused = fake.run(&["download", "-o", path, link], Talk::until_hangup);
        refused.says(28, &format!("several files go into a directory, and {why}"));
    }
}

#[test]
fn links_are_downloaded_beside_what_else_is_named() {
    let link = &format!("pyrate:b3={HASH}&size=7&name=a%20b&peer={PEER}");
    let begun = run(&["download", "--detach", "7", link, link], move |talk| {
        let link = format!("pyrate:b3={HASH}&size=7&name=a%20b&peer={}", escaped(PEER));
        assert_eq!(talk.expect("download")["what"], json!([{"hits": "7"}, {"link": link}, {"link": link}]));
        talk.reply(json!({"downloads": [download(4, "a b", "queued", 0)], "next": null, "ids": [4]}));
    });
    assert_eq!(begun.code, 0, "{begun:?}");
    for (bad, why) in [
        ("pyrate:b3=12", "b3= is followed by 64 hex digits"),
        ("pyrate:size=1", "it has no b3=HASH"),
        (&format!("{link}&size=8"), "size= is in it twice"),
        (&format!("{link} "), "a blank or a control character"),
        (&format!("pyrate:b3={HASH}&name=a%2F"), "the link is to a directory and names no peer"),
    ] {
        run_alone(&["download", bad]).says(28, why);
    }
}

#[test]
fn a_link_keeps_the_bytes_of_its_name() {
    let name = [b"caf\xe9 ".as_slice(), "ü".as_bytes()].concat();
    let link = [format!("PYRATE:b3={HASH}&name=").as_bytes(), &name[..4], b"%20", &name[5..], b"&later=1"].concat();
    let fake = Fake::new();
    let mut command = fake.command_here(&["download", "--detach"]);
    command.arg(raw_argument(&link));
    let begun = fake.run_command(command, |talk| {
        let link = format!("pyrate:b3={HASH}&name=caf%E9%20%C3%BC");
        assert_eq!(talk.expect("download")["what"], json!([{ "link": link }]));
        talk.reply(json!({"downloads": [download(4, "a", "queued", 0)], "next": null, "ids": [4]}));
    });
    assert_eq!(begun.code, 0, "{begun:?}");
}

#[test]
fn links_that_others_cannot_use_are_remarked() {
    let of = |row: Value| {
        run(&["link", "a"], move |talk| {
            asks(talk, json!({"shared": {"name": "a"}}));
            talk.reply(row);
        })
    };
    for (peers, named, nodes) in [
        (&["127.0.0.1:41001"][..], "127.0.0.1:41001", "that node"),
        (&["[::1]:5", "0.0.0.0:5"], "[::1]:5 and 0.0.0.0:5", "those nodes"),
        (&["[::ffff:127.0.0.1]:5"], "[::ffff:127.0.0.1]:5", "that node"),
    ] {
        let told = of(row("a", peers));
        told.says(
            0,
            &format!("the link names {named} alone, which other machines do not reach; set `advertise_addr` in the configuration of {nodes}"),
        );
    }
    assert_eq!(of(row("a", &["127.0.0.1:41001", PEER])).err, "");
    let some = with(row("a", &[PEER]), json!({"audience": ["10.0.0.0/8", "fd00::/8"]}));
    of(some).says(0, "a is shared with 10.0.0.0/8 fd00::/8 alone: others who have the link are refused\n");
}

#[test]
fn a_directory_of_a_peer_that_is_named_as_a_file_is_told() {
    let told = run(&["link", &format!("{PEER}/music")], |talk| {
        talk.expect("link");
        talk.fail(3, "no file");
        hits(talk, json!([]));
        talk.answer("list", json!({"search": 7}));
        talk.notice(json!({"event": "search_done", "search": 7, "hits": 1, "truncated": false, "error": null}));
        hits(talk, json!([with_hash(hit(3, "music/a.ogg", Some(5), &[PEER]))]));
    });
    told.says(3, &format!("\"music\" of {PEER} is a directory; name it {PEER}/music/"));
}
