//! `hits` and `searches`: which hits are shown, in which order, and what is said where there are none.

use super::fake::{Talk, forms, hit, run, with};
use super::status::status;
use serde_json::{Value, json};

pub(crate) fn row(id: u32, text: &str, hits: u64) -> Value {
    json!({"id": id, "text": text, "peer": null, "hits": hits, "age_s": 65, "running": false, "truncated": false,
        "filtered": 0})
}

#[test]
fn the_hits_of_the_last_search_are_shown_or_those_of_one_or_all() {
    let asked = |arguments: &[&str], search: Value| {
        let script = move |talk: &mut Talk| {
            assert_eq!(talk.expect("hits"), json!({"search": search, "after": 0}));
            talk.reply(json!({"hits": [hit(7, "a", None, &[])], "next": null}));
        };
        let shown = run(&[&["hits", "--terse"], arguments].concat(), script);
        assert_eq!((shown.code, shown.out.lines().count()), (0, 2), "{shown:?}");
    };
    asked(&[], json!(0));
    asked(&["--all"], Value::Null);
    asked(&["--search", "3"], json!(3));
    asked(&["7"], Value::Null);
    asked(&["7", "--search=3"], json!(3));
    asked(&["all"], Value::Null);
    for (arguments, why) in [
        (&["hits", "--all", "--search", "3"][..], "--all and --search exclude one another"),
        (&["hits", "--search", "0"], "a whole number from 1 on"),
        (&["hits", "--sort", "age"], "hits are sorted by one of sources, size, name"),
        (&["search", "a", "--sort", "age"], "hits are sorted by one of sources, size, name"),
    ] {
        super::fake::run_alone(arguments).says(28, why);
    }
}

#[test]
fn hits_of_all_searches_tell_the_search_that_each_belongs_to() {
    let [text, terse, json] = forms(&["hits", "--all"], |talk| {
        let hits = [(1, 4), (2, 12)].map(|(id, search)| with(hit(id, "a", None, &[]), json!({"search": search})));
        talk.answer("hits", json!({"hits": hits, "next": null}));
    });
    text.gives(
        0,
        "ID  NAME  SIZE  SOURCES  HASH        SEARCH\n \
          1  a        -        0  unverified       4\n \
          2  a        -        0  unverified      12\n",
    );
    terse.gives(
        0,
        "id\tname\tsize\tb3\tsources\tnames\tfiles\tbytes\tsearch\n\
         1\ta\t-\t-\t-\ta\t-\t-\t4\n2\ta\t-\t-\t-\ta\t-\t-\t12\n",
    );
    assert_eq!(json.json()[1]["search"], 12);
    // One search, or a daemon that does not tell.
    for (arguments, told) in [(&["hits"][..], json!({"search": 4})), (&["hits", "--all"], json!({}))] {
        let shown = run(arguments, move |talk| {
            talk.answer("hits", json!({"hits": [with(hit(1, "a", None, &[]), told.clone())], "next": null}));
        });
        assert!(!shown.out.contains("SEARCH"), "{shown:?}");
    }
}

#[test]
fn the_searches_that_are_remembered_are_listed() {
    let [text, terse, json] = forms(&["searches"], |talk| {
        assert_eq!(talk.expect("searches"), json!({"after": 0}));
        let dropped = with(row(2, "free books", 150), json!({"truncated": true, "filtered": 4, "running": true}));
        talk.reply(json!({"searches": [row(1, "a\tb", 0), dropped], "next": 2}));
        assert_eq!(talk.expect("searches"), json!({"after": 2}));
        let list = with(row(30, "", 7), json!({"text": null, "peer": "192.0.2.1:5"}));
        talk.reply(json!({"searches": [list], "next": null}));
    });
    text.gives(
        0,
        "ID  HITS  DROPPED  AGE            STATE    SEARCH\n \
          1     0        -  1 min 5 s ago  over     a\\tb\n \
          2  150+        4  1 min 5 s ago  running  free books\n\
         30     7        -  1 min 5 s ago  over     list of 192.0.2.1:5\n",
    );
    terse.gives(
        0,
        "id\ttext\tpeer\thits\tage_s\trunning\ttruncated\tfiltered\n1\ta\\tb\t-\t0\t65\tfalse\tfalse\t0\n\
         2\tfree books\t-\t150\t65\ttrue\ttrue\t4\n30\t-\t192.0.2.1:5\t7\t65\tfalse\tfalse\t0\n",
    );
    assert_eq!((json.json().as_array().unwrap().len(), &json.json()[2]["peer"]), (3, &json!("192.0.2.1:5")));
    let none = |talk: &mut Talk| drop(talk.answer("searches", json!({"searches": [], "next": null})));
    run(&["searches"], none).says(0, "no search is remembered; `pyratectl search` begins one\n");
    run(&["searches", "--json"], none).gives(0, "[]\n");
}

#[test]
fn hits_are_sorted_as_asked() {
    fn page() -> Value {
        let hits = [
            hit(1, "b", Some(5), &["192.0.2.1:5"]),
            hit(2, "C", None, &[]),
            hit(3, "a", Some(9), &["192.0.2.1:5", "192.0.2.2:5"]),
        ];
        json!({"hits": hits, "next": null})
    }
    for (arguments, ids) in [
        (&["--sort", "sources"][..], [3, 1, 2]),
        (&["--sort", "size"], [3, 1, 2]),
        (&["--sort=size", "--reverse"], [1, 3, 2]),
        (&["--sort", "name"], [3, 1, 2]),
        (&["--reverse"], [3, 2, 1]),
        (&["1,2,3", "--sort", "name"], [3, 1, 2]),
    ] {
        let shown = run(&[&["hits", "--json"], arguments].concat(), |talk| drop(talk.answer("hits", page())));
        assert_eq!(shown.json().as_array().unwrap().iter().map(|row| row["id"].clone()).collect::<Vec<_>>(), ids);
    }
    let found = run(&["search", "x", "--sort", "size", "--json"], |talk| {
        talk.answer("search", json!({"search": 1}));
        talk.notice(json!({"event": "search_done", "search": 1, "hits": 3, "truncated": false, "error": null}));
        talk.answer("hits", page());
    });
    assert_eq!(found.json()[0]["id"], 3);
}

/// What is said where a search has no hit, as the daemon knows it.
fn said(search: Value, whole_names: Option<&'static str>, state: Value) -> String {
    let whole_names = whole_names.map_or_else(|| json!({}), |why| json!({"whole_names": why}));
    let run = run(&["search", "a b", "--wait", "10ms"], move |talk| {
        talk.answer("search", with(json!({"search": 3}), whole_names));
        talk.answer("hits", json!({"hits": [], "next": null}));
        assert_eq!(talk.expect("searches"), json!({"after": 2}));
        talk.reply(json!({"searches": [with(row(3, "a b", 0), search)], "next": null}));
        talk.answer("status", with(status(), state));
    });
    assert_eq!((run.code, run.out.as_str()), (3, ""), "{run:?}");
    run.err
}

#[test]
fn a_search_without_a_hit_says_why_and_what_to_try() {
    let silent = json!({"addr": "b:1", "state": "waiting", "last_ok": null, "retry_in_s": 9, "error": "timed out"});
    let none = || json!({});
    assert_eq!(
        said(json!({"filtered": 2}), None, none()),
        "no hit for 'a b': its filters have dropped 2 hits; wider filters, or none, show more\n"
    );
    assert_eq!(
        said(none(), None, json!({"peers": 0})),
        "no hit for 'a b': no peer is known; `pyratectl bootstrap` shows the state of each bootstrap node\n"
    );
    let told = said(none(), None, json!({"peers": 0, "bootstraps": [silent]}));
    assert!(told.contains("no peer is known, and no bootstrap node answers (b:1: timed out)"), "{told}");
    let told = said(none(), None, json!({"peers": 2, "bootstraps": [silent]}));
    assert!(told.contains("asking 2 peers known from before: no bootstrap node answers (b:1: timed out)"), "{told}");
    // One hint, which fits what was said at the beginning.
    let told = said(none(), Some("too_short"), none());
    assert!(
        told.contains("is too short") && told.contains("longer or further words") && !told.contains("shorter"),
        "{told}"
    );
    let told = said(none(), Some("too_long"), none());
    assert!(told.contains("fewer words or patterns") && !told.contains("shorter"), "{told}");
    // The words find something, or the daemon does not tell.
    assert!(said(json!({"running": true}), None, none()).contains("fewer or shorter words find more"));
}

#[test]
fn hits_of_a_search_without_any_say_why() {
    let none = json!({"hits": [], "next": null});
    let (empty, search) = (none.clone(), json!({"text": null, "peer": "192.0.2.1:5"}));
    let list = run(&["hits"], move |talk| {
        talk.answer("hits", empty);
        talk.answer("searches", json!({"searches": [row(1, "x", 4), with(row(2, "", 0), search)], "next": null}));
    });
    list.says(3, "the list of 192.0.2.1:5 has no file\n");
    let empty = none.clone();
    let running = run(&["hits", "--search", "2"], move |talk| {
        talk.answer("hits", empty);
        for _ in 0..2 {
            assert_eq!(talk.expect("searches"), json!({"after": 1}));
            talk.reply(json!({"searches": [with(row(2, "x", 0), json!({"running": true}))], "next": null}));
        }
        talk.answer("status", status());
    });
    running.says(3, "no hit for 'x' yet: the search is not over; `pyratectl hits` shows what it finds\n");
    let unknown = run(&["hits", "--search", "2", "--json"], move |talk| {
        talk.answer("hits", none);
        talk.answer("searches", json!({"searches": [row(5, "x", 4)], "next": null}));
    });
    unknown.says(3, "no search 2 is remembered; `pyratectl searches` lists those that are\n");
    assert_eq!(unknown.json()["error"]["code"], 3);
}
