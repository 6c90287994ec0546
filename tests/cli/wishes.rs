//! `wish`, `wishes` and `unwish`.

use super::fake::{Talk, forms, hit, run, run_alone, with};
use serde_json::{Value, json};

pub(crate) fn wish(id: u32, text: &str) -> Value {
    json!({"id": id, "text": text, "state": "looking", "since": 1_700_000_000, "last_asked": null, "next_ask": null,
        "found": 0, "begun": 0, "done": 0, "failed": 0, "download": true, "limit": 1, "error": null})
}

#[test]
fn a_wish_is_made() {
    let [text, terse, json] = forms(&["wish", "blue", "train", "--download", "--limit=2"], |talk| {
        assert_eq!(talk.expect("wish"), json!({"text": "blue train", "download": true, "limit": 2}));
        talk.reply(with(wish(7, "blue train"), json!({"limit": 2})));
    });
    text.gives(0, "wish 7: blue train\n");
    terse.gives(
        0,
        "id\ttext\tstate\tsince\tlast_asked\tnext_ask\tfound\tbegun\tdownload\tlimit\terror\tdone\tfailed\n\
         7\tblue train\tlooking\t1700000000\t-\t-\t0\t0\ttrue\t2\t-\t0\t0\n",
    );
    assert_eq!(json.json()["id"], 7);
    run(&["wish", "a b"], |talk| {
        assert_eq!(talk.expect("wish"), json!({"text": "a b", "download": false, "limit": null}));
        talk.fail(13, "'a b' is wish 7 already");
    })
    .says(13, "pyratectl: 'a b' is wish 7 already\n");
    let short = run(&["wish", "ab"], |talk| {
        talk.answer("wish", with(wish(8, "ab"), json!({"whole_names": "too_short"})));
    });
    short.gives(0, "wish 8: ab\n");
    short.says(0, "'ab' is too short to be looked for in names, which takes words of 3 bytes together: only files");
    run_alone(&["wish", "--download"]).says(28, "wish needs a TEXT");
    run_alone(&["wish", "a", "--limit", "0"]).says(28, "a whole number from 1 on");
}

#[test]
fn the_wishes_are_listed() {
    let [text, terse, json] = forms(&["wishes"], |talk| {
        assert_eq!(talk.expect("wishes"), json!({"after": 0}));
        talk.reply(json!({"wishes": [wish(1, "a\tb")], "next": 1}));
        assert_eq!(talk.expect("wishes"), json!({"after": 1}));
        let error = json!({"code": 9, "message": "disk full"});
        let full = json!({"state": "full", "found": 500, "begun": 3, "done": 2, "error": error});
        talk.reply(json!({"wishes": [with(wish(12, "c"), full)], "next": null}));
    });
    text.gives(
        0,
        "ID  STATE    FOUND  BEGUN  DONE  ASKED  NEXT  WISH\n \
          1  looking      0      0     0  -      -     a\\tb\n\
         12  full       500      3     2  -      -     c (disk full)\n",
    );
    assert_eq!((terse.out.lines().count(), json.json()[1]["found"].as_u64()), (3, Some(500)));
    let none = |talk: &mut Talk| drop(talk.answer("wishes", json!({"wishes": [], "next": null})));
    run(&["wishes"], none).says(0, "no wish is remembered; `pyratectl wish` makes one\n");
    run(&["wishes", "--json"], none).gives(0, "[]\n");
}

#[test]
fn what_a_wish_has_found_is_shown_as_hits() {
    let [text, _, json] = forms(&["wishes", "7"], |talk| {
        assert_eq!(talk.expect("wish_hits"), json!({"id": 7}));
        talk.reply(json!({"search": 3}));
        assert_eq!(talk.expect("hits"), json!({"search": 3, "after": 0}));
        talk.reply(json!({"hits": [hit(9, "a", Some(5), &["192.0.2.1:5"])], "next": null}));
    });
    assert!(text.code == 0 && text.out.starts_with("ID  NAME"), "{text:?}");
    assert_eq!(json.json()[0]["id"], 9);
    run(&["wishes", "7"], |talk| {
        talk.answer("wish_hits", json!({"search": 3}));
        talk.answer("hits", json!({"hits": [], "next": null}));
    })
    .says(3, "wish 7 has found nothing yet; `pyratectl wishes` shows when it asks next\n");
    run_alone(&["wishes", "x"]).says(28, "a whole number from 1 on");
}

#[test]
fn wishes_are_ended_by_ids_or_by_a_text() {
    for (arguments, which) in [
        (&["unwish", "2,4-6", "9"][..], "2,4-6,9"),
        (&["unwish", "all"], "all"),
        (&["unwish", "blue", "train"], "blue train"),
        (&["unwish", "1984 2001"], "1984 2001"),
    ] {
        run(arguments, move |talk| {
            assert_eq!(talk.expect("unwish"), json!({"which": which}));
            talk.reply(json!({"unwished": [2, 4, 5]}));
        })
        .gives(0, "unwished: 2,4-5\n");
    }
    run_alone(&["unwish"]).says(28, "unwish needs an ID, all or the TEXT of a wish");
    let none = |talk: &mut Talk| drop(talk.answer("unwish", json!({"unwished": []})));
    run(&["unwish", "all"], none).says(0, "no wish is remembered; `pyratectl wish` makes one\n");
    run(&["unwish", "all", "--json"], none).gives(0, "{\"unwished\":[]}\n");
}
