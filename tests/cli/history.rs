//! `history`, put together from pages of the event log.

use super::event_log::event;
use super::fake::{Talk, forms, run, run_alone, with};
use serde_json::{Value, json};

const DAY_S: u64 = 86_400;

/// The end of download 7, of which bytes came from two peers.
pub(crate) fn ended() -> Value {
    let peers = json!(["192.0.2.1:63339", "192.0.2.2:63339"]);
    with(
        event(4, "done", "d/a.ogg"),
        json!({"time": 1_700_000_010, "path": "/x/a.ogg", "size": 5000, "b3": "ab".repeat(32),
        "verified": true, "peers": peers}),
    )
}

/// The row that this makes, with its beginning.
pub(crate) fn row() -> Value {
    json!({"download": 7, "name": "d/a.ogg", "path": "/x/a.ogg", "size": 5000, "b3": "ab".repeat(32), "verified": true,
        "result": "done", "begun": 1_700_000_000, "finished": 1_700_000_010, "rate": 500,
        "peers": ["192.0.2.1:63339", "192.0.2.2:63339"], "error": null})
}

/// Two pages. Download 8 has failed and was tried again; the beginning of 6 is not kept any more.
fn two_pages(talk: &mut Talk) {
    let page = |events: &[Value], gone: Value, next: Value| json!({"log": "0123abcd", "events": events, "gone": gone, "next": next, "last": 6});
    let of = |event: Value, more: Value| with(event, more);
    let first =
        [of(event(2, "cancelled", "old"), json!({"download": 6, "time": 1_699_900_000})), event(3, "begun", "d/a.ogg")];
    assert_eq!(talk.answer("event_log", page(&first, json!({"first": 1, "last": 1}), json!(4))), json!({"since": 0}));
    let error = json!({"code": 6, "message": "no\u{7}"});
    let failed = of(event(6, "failed", "b"), json!({"download": 8, "time": 1_700_000_100, "error": error}));
    let begun = of(event(5, "begun", "b"), json!({"download": 8, "time": 1_700_000_050}));
    let again = of(
        event(7, "done", "b"),
        json!({"download": 8, "time": 1_700_000_150, "size": 7, "path": "/x/b", "copied_from": "own/b"}),
    );
    let wish = of(event(8, "wish", "found"), json!({"download": null, "state": null, "wish": 3}));
    let second = [ended(), begun, failed, wish, again];
    assert_eq!(talk.answer("event_log", page(&second, Value::Null, Value::Null)), json!({"since": 4}));
}

#[test]
fn downloads_that_are_over_are_shown_with_when_they_began_also_over_pages() {
    let [text, terse, json] = forms(&["history"], two_pages);
    assert_eq!(text.code, 0, "{text:?}");
    assert_eq!(
        text.out,
        "ID  FINISHED          RESULT        SIZE     RATE  FROM                  HASH        FILE      REMARK\n \
          6  2023-11-13 18:26  cancelled      5 B        -  -                     -           old       -\n \
          7  2023-11-14 22:13  done       4.9 KiB  500 B/s  192.0.2.1:63339 (+1)  ababababa…  /x/a.ogg  -\n \
          8  2023-11-14 22:15  failed         5 B        -  -                     -           b         no\\x07\n \
          8  2023-11-14 22:15  done           7 B    0 B/s  -                     -           /x/b      copied from own/b\n"
    );
    assert!(text.err.contains("older downloads are no longer in the event log"), "{text:?}");
    let row_of_failed = "8\tb\t-\t5\t-\tfalse\tfailed\t1700000050\t1700000100\t-\t-\tno\\\\x07\n";
    let header = "download\tname\tpath\tsize\tb3\tverified\tresult\tbegun\tfinished\trate\tpeers\terror\tcopied_from\n";
    assert!(terse.out.starts_with(header), "{terse:?}");
    let cells = |line: usize| terse.out.lines().nth(line).unwrap().split('\t').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(cells(3)[..11], row_of_failed.split('\t').map(str::to_owned).collect::<Vec<_>>()[..11], "{terse:?}");
    let rows = json.json();
    assert_eq!(rows[1], row());
    let shown =
        |row: &Value| [row["download"].clone(), row["result"].clone(), row["begun"].clone(), row["rate"].clone()];
    assert_eq!(shown(&rows[0]), [json!(6), json!("cancelled"), Value::Null, Value::Null]);
    assert_eq!(shown(&rows[2]), [json!(8), json!("failed"), json!(1_700_000_050), Value::Null]);
    assert_eq!((&rows[3]["copied_from"], rows[1].get("copied_from")), (&json!("own/b"), None));
    assert_eq!(shown(&rows[3]), [json!(8), json!("done"), json!(1_700_000_050), json!(0)]);
    assert_eq!(rows.as_array().unwrap().len(), 4);
}

#[test]
fn a_page_that_does_not_go_on_is_the_last() {
    let rows = run(&["history", "--json"], |talk| {
        let page = json!({"log": "0123abcd", "events": [ended()], "gone": null, "next": 0, "last": 6});
        assert_eq!(talk.answer("event_log", page), json!({"since": 0}));
        talk.until_hangup();
    });
    assert_eq!(rows.json().as_array().unwrap().len(), 1);
}

#[test]
fn the_newest_and_those_of_a_time_are_chosen_and_what_is_no_time_is_refused() {
    let ids = |arguments: &[&str]| {
        let rows = run(&[&["history", "--json"], arguments].concat(), two_pages).json();
        rows.as_array().unwrap().iter().map(|row| row["download"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&["-n", "2"]), [8, 8]);
    assert_eq!(ids(&["--number", "9"]), [6, 7, 8, 8]);
    assert_eq!(ids(&["--since", "2023-11-14T22:13:31"]), [8, 8], "UTC is the time zone of the tests");
    assert_eq!(ids(&["--since", "2023-11-14"]), [7, 8, 8]);
    assert_eq!(ids(&["--since", &format!("{}d", 400 * 365)]), [6, 7, 8, 8]);
    let none = run(&["history", "--since", &(DAY_S / 2).to_string()], two_pages);
    assert!(none.code == 0 && none.out.is_empty() && none.err.contains("no download has ended since then"), "{none:?}");
    let part = run(&["history", "-n", "1"], two_pages);
    assert!(!part.err.contains("no longer"), "{part:?}");
    run_alone(&["history", "--since", "yesterday"]).says(28, "--since takes a date");
    run_alone(&["history", "-n", "0"]).says(28, "a whole number from 1 on");
}
