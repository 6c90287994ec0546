//! What `pyratectl` shows of searches: filters, order, and the searches of before, with real daemons.

use crate::harness::{Daemon, Outcome, Setup, old_peer, pyratectl, start_among};
use serde_json::json;

/// A bootstrap node, a source and an asker that know each other.
fn network(source: Setup, asker: Setup) -> (Daemon, Daemon, Daemon) {
    let bootstrap = Setup::bootstrap().start();
    let at = bootstrap.bootstrap_addr();
    let source = source.joins(&[at]).start();
    let asker = asker.joins(&[at]).start();
    asker.await_neighbour(source.listen());
    (bootstrap, source, asker)
}

fn search(asker: &Daemon, arguments: &[&str]) -> Outcome {
    pyratectl(asker, [&["search", "--wait", "10s", "--ttl", "1", "--json"], arguments].concat())
}

fn names(run: &Outcome) -> Vec<String> {
    assert_eq!(run.code, 0, "{run:?}");
    run.json().as_array().expect("rows").iter().map(|row| row["name"].as_str().expect("text").to_owned()).collect()
}

#[test]
fn filters_leave_out_what_does_not_fit() {
    // More files that match the words than a peer sends, and one that fits.
    let many = (0..60).fold(Setup::peer(), |setup, n| setup.shares(format!("films/film {n:02}.mkv"), "x"));
    let source = many.shares("music/film.ogg", "a tune").shares("zz/film.mkv", vec![0; 3_000]);
    let (_bootstrap, _source, asker) = network(source, Setup::peer());
    for (filters, found) in [
        (&["size:>2k"][..], "zz/film.mkv"),
        (&["size:2KiB..", "type:video,iso"], "zz/film.mkv"),
        (&["type:audio"], "music/film.ogg"),
        (&["-type:video"], "music/film.ogg"),
        (&["path:zz"], "zz/film.mkv"),
        (&["size:..5k", "-path:films", "-path:music"], "zz/film.mkv"),
    ] {
        assert_eq!(names(&search(&asker, &[&["film"], filters].concat())), [found], "{filters:?}");
    }
    let none = search(&asker, &["film", "size:>1G"]);
    assert_eq!((none.code, none.json()), (3, json!([])), "{none:?}");
    for (wrong, told) in [
        ("size:banana", "no size in 'size:banana'"),
        ("type:foo", "no type 'foo'; a type is one or more of audio, video, image, text"),
        ("type:vidoe", "did you mean 'video'?"),
        ("path:*", "no word in 'path:*'"),
    ] {
        let run = search(&asker, &["film", wrong]);
        assert!(run.code == 28 && run.stderr.contains(told), "{run:?}");
        let quoted = search(&asker, &["film", &format!("\"{wrong}\"")]);
        assert!(quoted.code == 3, "{quoted:?}");
    }
    let alone = search(&asker, &["type:video"]);
    assert!(alone.code == 28 && alone.stderr.contains("needs a word"), "{alone:?}");
}

#[test]
fn a_peer_that_knows_no_filters_is_asked_for_the_words() {
    let old = old_peer(&[("film.mkv", b"moving pictures")]);
    let (_bootstrap, asker) = start_among(Setup::peer(), &[old.addr]);
    let found = search(&asker, &["film.mkv", "type:video"]);
    assert_eq!(names(&found), ["film.mkv"]);
    let none = search(&asker, &["film.mkv", "type:audio"]);
    assert_eq!((none.code, none.json()), (3, json!([])), "{none:?}");
}

#[test]
fn hits_are_those_of_the_last_search_and_others_are_remembered() {
    let source = Setup::peer().shares("one.txt", "1").shares("two.txt", "22").shares("three.txt", "333");
    let (_bootstrap, source, asker) = network(source, Setup::peer());
    let shown = |arguments: &[&str]| names(&pyratectl(&asker, [&["hits", "--json"], arguments].concat()));
    let one = search(&asker, &["one"]).json()[0]["id"].to_string();
    assert_eq!(names(&search(&asker, &["txt", "--sort", "size"])), ["three.txt", "two.txt", "one.txt"]);
    assert_eq!(shown(&["--sort=name"]), ["one.txt", "three.txt", "two.txt"]);
    assert_eq!(shown(&["--search", "1"]), ["one.txt"]);
    assert_eq!(shown(&[&one]), ["one.txt"]);
    assert_eq!(shown(&["--all"]).len(), 4);
    // A list is one of them.
    let listed = pyratectl(&asker, ["list", &source.listen().to_string()]);
    assert_eq!(listed.code, 0, "{listed:?}");
    assert_eq!(shown(&[]).len(), 3);
    let of_all = pyratectl(&asker, ["hits", "--all", "--json"]).json();
    let searches: Vec<_> = of_all.as_array().expect("rows").iter().map(|row| row["search"].clone()).collect();
    assert_eq!(searches, [1, 2, 2, 2, 3, 3, 3]);
    let rows = pyratectl(&asker, ["searches", "--json"]).json();
    let told: Vec<_> = rows.as_array().expect("rows").iter().map(|row| (&row["text"], &row["hits"])).collect();
    assert_eq!(told, [(&json!("one"), &json!(1)), (&json!("txt"), &json!(3)), (&json!(null), &json!(3))]);
    assert_eq!(rows[2]["peer"], json!(source.listen()));
    let none = search(&asker, &["txt", "size:>1G"]);
    assert!(none.code == 3 && none.stderr.contains("its filters have dropped 1 hit"), "{none:?}");
    let unknown = pyratectl(&asker, ["hits", "--search", "99"]);
    assert!(unknown.code == 3 && unknown.stderr.contains("no search 99 is remembered"), "{unknown:?}");
}
