//! Hits that are directories: rows, JSON, orders, links and completion.

use super::completion::offered_in_zsh;
use super::fake::{Fake, Talk, download, finish, forms, hit, run, wait_for, with};
use super::terminal::Screen;
use serde_json::{Value, json};

const PEER: &str = "192.0.2.1:5";

fn directory(id: u32, name: &str, files: u64, bytes: Option<u64>) -> Value {
    with(hit(id, name, None, &[PEER, "192.0.2.2:5"]), json!({"directory": {"files": files, "bytes": bytes}}))
}

fn hashed(id: u32, name: &str, size: u64) -> Value {
    with(hit(id, name, Some(size), &[PEER]), json!({"b3": "0123456789abcdef".repeat(4)}))
}

/// Two files, their directory, and one whose files have no size.
fn hits() -> Value {
    json!([
        hashed(1, "music/live/a.flac", 2048),
        hashed(2, "music/live/b.flac", 4096),
        directory(3, "music/live/", 2, Some(6144)),
        directory(4, "old/live/", 1, None),
    ])
}

fn page(talk: &mut Talk) {
    talk.answer("hits", json!({"hits": hits(), "next": null}));
}

/// The answer to the call for the hits from an id on.
fn page_from(talk: &mut Talk, id: usize) {
    assert_eq!(talk.expect("hits")["after"], id - 1);
    talk.reply(json!({"hits": hits().as_array().unwrap()[id - 1..], "next": null}));
}

#[test]
fn a_directory_is_a_row_with_what_was_found_in_it() {
    let [text, terse, json] = forms(&["hits"], page);
    text.gives(
        0,
        "ID  NAME                  SIZE  SOURCES  HASH\n \
          1  music/live/a.flac  2.0 KiB        1  012345678…\n \
          2  music/live/b.flac  4.0 KiB        1  012345678…\n \
          3  music/live/        6.0 KiB        2  2 files\n \
          4  old/live/                -        2  1 file\n",
    );
    assert_eq!(text.err, "", "no hash is missing");
    let last: Vec<&str> = terse.out.lines().skip(3).collect();
    assert_eq!(
        last,
        [
            "3\tmusic/live/\t-\t-\t192.0.2.1:5 192.0.2.2:5\tmusic/live/\t2\t6144",
            "4\told/live/\t-\t-\t192.0.2.1:5 192.0.2.2:5\told/live/\t1\t-",
        ]
    );
    let rows = json.json();
    assert_eq!((&rows[0]["directory"], &rows[2]["size"]), (&Value::Null, &Value::Null));
    assert!(rows[0].get("directory").is_none(), "{json:?}");
    assert_eq!(rows[2]["directory"], json!({"files": 2, "bytes": 6144}));
    let sorted = run(&["hits", "--json", "--sort", "size"], page).json();
    let ids: Vec<&Value> = sorted.as_array().unwrap().iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, [3, 2, 1, 4]);
}

#[test]
fn one_that_is_named_is_shown_with_its_peers() {
    run(&["hits", "3"], page).gives(
        0,
        "3  music/live/\n    Size    6.0 KiB\n    Files   2 files found in it\n    Name    music/live/\n    \
         Source  192.0.2.1:5\n            192.0.2.2:5\n",
    );
}

/// The table of a long path at a terminal of so many columns.
fn at(columns: u16) -> String {
    let fake = Fake::new();
    let (screen, terminal) = Screen::of_columns(columns);
    let mut command = fake.command_here(&["hits"]);
    command.env("TERM", "xterm").env("NO_COLOR", "1").stdout(terminal);
    let daemon = fake.serve(|talk| {
        let path = "music/by artist/somebody with a long name/a record with a long title/live/";
        talk.answer("hits", json!({"hits": [directory(3, path, 2, Some(6144))], "next": null}));
        talk.until_hangup();
    });
    let child = command.spawn().unwrap();
    drop(command);
    finish(child);
    wait_for(daemon);
    screen.all()
}

#[test]
fn a_narrow_terminal_keeps_the_end_of_its_path() {
    assert!(at(80).contains("…/a record with a long title/live/"), "{}", at(80));
    assert!(at(45).contains(" …/live/ "), "{}", at(45));
}

#[test]
fn a_search_shows_it_when_it_comes_and_as_it_is_at_the_end() {
    let found = run(&["search", "live"], |talk| {
        talk.answer("search", json!({"search": 1}));
        talk.notice(json!({"event": "hit", "search": 1, "hit": directory(3, "music/live/", 2, Some(9))}));
        talk.notice(json!({"event": "search_done", "search": 1, "hits": 4, "truncated": false, "error": null}));
        page(talk);
    });
    assert_eq!(
        (found.code, found.out.contains("music/live/        6.0 KiB        2  2 files")),
        (0, true),
        "{found:?}"
    );
    assert!(!found.err.contains("unverified"), "{found:?}");
}

#[test]
fn it_takes_a_place_of_several_files() {
    for id in [3, 4] {
        let refused = run(&["download", &id.to_string(), "-o", "new"], move |talk| {
            page_from(talk, id);
            talk.until_hangup();
        });
        refused.says(28, "several files go into a directory, and 'new' is not one");
    }
    run(&["download", "3,3", "-o", "new"], |talk| {
        page(talk);
        talk.until_hangup();
    })
    .says(28, "several files go into a directory, and 'new' is not one");
    run(&["download", "3", "-o", "-"], |talk| {
        page_from(talk, 3);
        talk.until_hangup();
    })
    .says(28, "'-o -' takes one file");
    let begun = run(&["download", "3", "-o", "new/", "--detach", "--json"], |talk| {
        let wanted = talk.expect("download");
        assert_eq!(wanted["what"], json!([{"hits": "3"}]));
        talk.reply(json!({"downloads": [download(1, "music/live/", "queued", 0)], "next": null}));
        talk.notice(json!({"event": "download", "download": with(download(1, "music/live/", "queued", 0), json!({"path": "/x"}))}));
    });
    assert_eq!((begun.code, begun.json().as_array().map(Vec::len)), (0, Some(1)));
}

#[test]
fn links_to_all_and_ranges_are_those_to_files() {
    for (what, ids, pages) in [("3", &[3][..], 1), ("1-4", &[1, 2], 1), ("all", &[1, 2], 1), ("1-3,4", &[1, 2, 4], 1)] {
        let links = run(&["link", what], move |talk| {
            (0..pages).for_each(|_| page(talk));
            for id in ids {
                assert_eq!(talk.expect("link")["what"], json!({"hit": {"id": id, "peer": null}}));
                let name = format!("h{id}");
                talk.reply(
                    json!({"link": format!("pyrate:{id}"), "b3": "", "size": null, "name": name, "peers": [PEER]}),
                );
            }
        });
        assert_eq!((links.code, links.out.lines().count()), (0, ids.len()), "{what}: {links:?}");
    }
    run(&["link", "3-4"], page).says(28, "name each by its own id, as 3");
}

#[test]
fn its_id_is_offered_and_its_name_once() {
    let fake = Fake::new();
    fake.serve_all(
        json!({"hits": {"hits": hits(), "next": null}, "downloads": {"downloads": [], "next": null}, "peers": []}),
    );
    let offered = |word: &str| offered_in_zsh(&fake, &["download", word]);
    let ids = offered("3");
    assert!(ids.iter().any(|line| line.contains("music/live/, 2 files, 6.0 KiB")), "{ids:?}");
    let names = offered(&format!("{PEER}/"));
    let directories = names.iter().filter(|line| line.contains("/live/\t") || line.contains("/live/:")).count();
    assert_eq!(directories, 1, "{names:?}");
}

#[test]
fn at_a_terminal_what_is_in_a_directory_is_told_when_the_peer_has_told() {
    let part =
        |files: u64| json!({"manifest": null, "files": files, "files_done": 0, "files_missing": 0, "missing": []});
    let row = move |state: &str, files: u64, size: Value| {
        with(download(1, "live/", state, 0), json!({"directory": part(files), "size": size}))
    };
    let fake = Fake::new();
    let (screen, terminal) = Screen::of_columns(80);
    let mut command = fake.command_here(&["download", &format!("{PEER}/live/"), "--json"]);
    command.env("TERM", "xterm").stderr(terminal);
    let run = fake.run_command(command, move |talk| {
        talk.answer("download", json!({"downloads": [row("active", 0, Value::Null)], "next": null}));
        for row in [row("active", 3, json!(2048)), row("active", 3, json!(2048)), row("done", 3, json!(2048))] {
            talk.notice(json!({"event": "download", "download": row}));
        }
        talk.until_hangup();
    });
    let shown = screen.all();
    assert!(run.code == 0 && shown.matches("1: 3 files in live/, 2.0 KiB").count() == 1, "{shown:?}");
}

const MANIFEST: &str = "pyrate-manifest 1\nd empty\nend 1\n";

fn gives_manifest(talk: &mut Talk, peer: &str) {
    let asked = talk.expect("manifest");
    assert_eq!(asked, json!({"peer": peer, "name": "music/live/", "b3": null, "after": 0}));
    let b3 = blake3::hash(MANIFEST.as_bytes()).to_string();
    talk.reply(json!({"b3": b3, "size": MANIFEST.len(), "text": MANIFEST, "next": null}));
}

#[test]
fn the_manifest_of_one_is_that_of_its_first_peer_that_gives_it() {
    let scratch = tempfile::tempdir().unwrap();
    let place = scratch.path().join("live.manifest");
    for form in [&[][..], &["--json"]] {
        run(&[form, &["manifest", "3"]].concat(), |talk| {
            page(talk);
            gives_manifest(talk, PEER);
        })
        .gives(0, MANIFEST);
    }
    let second = |talk: &mut Talk| {
        page(talk);
        talk.expect("manifest");
        talk.fail(6, "timed out");
        gives_manifest(talk, "192.0.2.2:5");
    };
    run(&["manifest", "3", "-o", place.to_str().unwrap()], second).gives(0, "");
    assert_eq!(std::fs::read_to_string(&place).unwrap(), MANIFEST);
    let neither = |talk: &mut Talk| {
        page(talk);
        for (code, why) in [(6, "the first"), (3, "the second")] {
            talk.expect("manifest");
            talk.fail(code, why);
        }
    };
    run(&["manifest", "3"], neither).says(6, "the first");
    // What is wrong here is so for each peer.
    for code in [1, 9, 13, 17, 28, 29] {
        let stopped = move |talk: &mut Talk| {
            page(talk);
            talk.expect("manifest");
            talk.fail(code, "a fault of this machine");
        };
        run(&["manifest", "3"], stopped).says(code, "a fault of this machine");
    }
}

#[test]
fn only_one_hit_that_is_a_directory_has_a_manifest() {
    run(&["manifest", "2"], page).says(28, "hit 2 is a file, and has no manifest; `pyratectl download 2` fetches it");
    run(&["manifest", "9"], page).says(3, "no such id: 9;");
    run(&["manifest", "99999999999"], |_| {}).says(3, "no such id: 99999999999;");
    for ids in ["3,4", "3-4", "all"] {
        run(&["manifest", ids], |_| {}).says(28, "manifest takes the ID of one hit");
    }
    // A directory of the own share.
    run(&["manifest", "./3"], |talk| {
        assert_eq!(talk.expect("manifest")["name"], "3/");
        talk.fail(3, "not shared");
    })
    .says(3, "not shared");
}

#[test]
fn the_ids_of_directories_are_completed_for_their_manifests() {
    let fake = Fake::new();
    fake.serve_all(json!({"hits": {"hits": hits(), "next": null}, "files": {"files": [], "next": null}, "peers": []}));
    let offered = offered_in_zsh(&fake, &["manifest", ""]);
    let mut ids: Vec<&str> = offered.iter().map(|line| line.split(['\t', ':']).next().unwrap()).collect();
    ids.dedup();
    assert_eq!(ids, ["3", "4"], "{offered:?}");
}
