//! What a search tells its user: how much was cut, and why nothing was found.

use crate::harness::{Daemon, LIMIT, OldBootstrap, Setup, free_port, pyratectl, until};
use serde_json::{Value, json};
use std::net::SocketAddr;

fn dead_end() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// A peer that shares so many files, and one that knows it.
fn sharing(files: usize) -> [Daemon; 3] {
    let bootstrap = Setup::bootstrap().start();
    let at = [bootstrap.bootstrap_addr()];
    let share = |setup: Setup, n| setup.shares(format!("{n:04}.ogg"), format!("{n}"));
    let source = (0..files).fold(Setup::peer().joins(&at), share).start();
    until("all are shared", LIMIT, || source.status()["shared_files"] == files);
    let asker = Setup::peer().joins(&at).start();
    asker.await_neighbour(source.listen());
    // The first search shows that the source speaks p1.
    asker.search_until("0001.ogg", |rows| rows.len() == 1);
    [bootstrap, source, asker]
}

#[test]
fn all_of_939_names_are_found_and_what_is_cut_is_said() {
    let [_bootstrap, _source, asker] = sharing(939);
    let search = |words: &[&str]| pyratectl(&asker, words);
    let all = search(&["--json", "search", "ogg", "--max", "1000"]);
    let rows = all.json();
    assert_eq!(rows.as_array().map(Vec::len), Some(939), "{}", all.stderr);
    assert!(rows[0]["truncated"].is_null() && !all.stderr.contains("more hits"), "{}", all.stderr);

    let some = search(&["--json", "search", "ogg"]);
    let rows = some.json();
    assert_eq!(rows.as_array().map(Vec::len), Some(150), "one peer fills the rows that nobody else needs");
    assert_eq!(rows[149]["truncated"], json!(true), "{rows}");
    assert!(some.stderr.contains("more hits than are remembered"), "{}", some.stderr);
    let mut control = asker.control();
    control.call("search", json!({ "text": "ogg", "max": 20 })).expect("it begins");
    let truncated = |notice: &Value| (notice["event"] == "search_done").then(|| notice["truncated"].clone());
    assert_eq!(control.notice("the search is over", truncated), json!(true));
}

#[test]
fn a_search_that_finds_nothing_says_why_and_what_to_do() {
    let says = |daemon: &Daemon, code, words: &[&str]| {
        let text = pyratectl(daemon, ["search", "nothing like it", "--wait", "6s"]);
        assert!(text.code == code && words.iter().all(|word| text.stderr.contains(word)), "{text:?}");
        let data = pyratectl(daemon, ["--json", "search", "nothing like it", "--wait", "6s"]);
        assert_eq!(data.code, code, "{data:?}");
        match code {
            3 => assert_eq!(data.json(), json!([])),
            _ => assert_eq!(data.json()["error"]["code"], json!(code)),
        }
    };
    let alone = Setup::peer().joins(&[dead_end()]).start();
    says(&alone, 6, &["peers: 0", "no bootstrap node has answered", "pyratectl bootstrap"]);

    let bootstrap = Setup::bootstrap().start();
    let at = [bootstrap.bootstrap_addr()];
    let first = Setup::peer().joins(&at).start();
    until("it is registered", LIMIT, || first.status()["bootstraps"][0]["state"] == "registered");
    says(&first, 6, &["peers: 0", "lists nobody else", "pyratectl bootstrap"]);

    let second = Setup::peer().joins(&at).start();
    first.await_neighbour(second.listen());
    says(&first, 3, &["no hit for 'nothing like it'", "pyratectl peers"]);

    let listing = OldBootstrap::listing(&[dead_end()]);
    let asker = Setup::peer().joins(&[listing.addr()]).start();
    until("it knows one that is dead", LIMIT, || asker.peers_that(|_| true).len() == 1);
    says(&asker, 6, &["no peer has answered", "pyratectl peers"]);
}
