//! What is in the shared directory and not shared.

use crate::fake::{Talk, forms, run, with};
use crate::status::status;
use serde_json::{Value, json};

/// Each reason with the words for it.
const REASONS: [(&str, &str); 15] = [
    ("symlink", "symbolic link"),
    ("hidden", "hidden"),
    ("control_byte", "control character in the name"),
    ("too_long", "path too long"),
    ("unreadable", "cannot be read"),
    ("not_regular", "neither file nor directory"),
    ("other_mount", "another filesystem is mounted there"),
    ("own", "the daemon's own"),
    ("being_written", "being written"),
    ("dangling", "link that leads nowhere"),
    ("loop", "link that leads in a circle"),
    ("shared_already", "shared under another name"),
    ("name_taken", "a further share has this name"),
    ("outside_sandbox", "outside of the sandbox"),
    ("too_many", "too many links or directories"),
];

#[test]
fn each_reason_has_its_words() {
    fn rows() -> Vec<Value> {
        REASONS.iter().map(|(reason, _)| json!({"name": "a", "reason": reason})).collect()
    }
    let [text, terse, json] = forms(&["files", "--left-out"], |talk| {
        talk.answer("left_out", json!({"left_out": rows(), "next": null, "unnamed": {}}));
    });
    text.gives(0, &format!("NAME  REASON\n{}", REASONS.map(|(_, words)| format!("a     {words}\n")).concat()));
    terse.gives(0, &format!("name\treason\n{}", REASONS.map(|(reason, _)| format!("a\t{reason}\n")).concat()));
    assert_eq!(json.json(), json!(rows()));
    text.says(
        0,
        "symbolic links are not followed; 'follow_symlinks = true' in the configuration has the next start follow them\n\
         outside of the sandbox: name the directories in 'sandbox_readable', and restart pyrated\n",
    );
    assert_eq!((terse.err.as_str(), json.err.as_str()), ("", ""));
}

#[test]
fn what_is_left_out_comes_in_pages_and_what_has_no_name_is_counted() {
    fn script(talk: &mut Talk) {
        let raw = json!({"text": "\u{fffd}\n", "hex": "ff0a"});
        assert_eq!(talk.expect("left_out"), json!({"after": null}));
        let unnamed = json!({"hidden": 999_000, "symlink": 1});
        talk.reply(json!({"left_out": [{"name": raw, "reason": "control_byte"}], "next": raw, "unnamed": unnamed}));
        assert_eq!(talk.expect("left_out"), json!({"after": raw}));
        let error = json!({"code": 17, "message": "cannot read the share"});
        talk.reply(json!({"left_out": [], "next": null, "unnamed": unnamed, "share_error": error}));
    }
    let run = run(&["files", "--left-out"], script);
    assert_eq!(run.out, "NAME    REASON\n\\xff\\n  control character in the name\n");
    let told = "the daemon keeps no names of further ones: 1 symbolic link, 999000 hidden\n\
                cannot read the share\n\
                what is left out of a share that cannot be read is what the last scan found that could read it\n";
    run.says(0, told);
}

#[test]
fn nothing_left_out_is_said() {
    let nothing = |talk: &mut Talk| drop(talk.answer("left_out", json!({"left_out": [], "next": null})));
    let [text, terse, json] = forms(&["files", "--left-out"], nothing);
    text.gives(0, "");
    text.says(0, "nothing in the shared directory is left out\n");
    terse.gives(0, "name\treason\n");
    json.gives(0, "[]\n");
    // Of a share that no scan could read, nothing is known.
    let unread = run(&["files", "--left-out"], |talk| {
        let error = json!({"code": 17, "message": "cannot read the share"});
        talk.answer("left_out", json!({"left_out": [], "next": null, "share_error": error}));
    });
    assert_eq!((unread.code, unread.err.as_str()), (0, "cannot read the share\n"));
}

#[test]
fn status_counts_what_is_left_out() {
    fn counts() -> Value {
        json!({"left_out": {"symlink": 1, "hidden": 3, "other_mount": 1, "being_written": 2}})
    }
    let [text, terse, json] = forms(&["status"], |talk| {
        talk.answer("status", with(status(), counts()));
    });
    let line = "Left out   7 entries: 1 symbolic link, 3 hidden, 1 with another filesystem mounted, 2 being written; \
                `pyratectl files --left-out` names them\n";
    assert!(text.out.contains(line), "{text:?}");
    assert!(
        terse.out.contains("\tleft_out\tdownload_limit\t") && terse.out.ends_with("\t7\t0\t0\t-\t3\n"),
        "{terse:?}"
    );
    assert_eq!(json.json()["left_out"], counts()["left_out"]);
}

#[test]
fn a_rescan_says_how_to_see_what_is_left_out() {
    let script = |talk: &mut Talk| {
        talk.answer("rescan", json!({}));
        let scan = json!({"event": "scan", "files": 3, "done": true, "names_refused": 0, "unreadable": 0});
        talk.notice(with(scan, json!({"left_out": 2})));
    };
    let [text, terse, json] = forms(&["rescan"], script);
    text.gives(0, "3 files shared\n");
    text.says(0, "2 entries of the shared directory left out; `pyratectl files --left-out` says why\n");
    assert_eq!(terse.err, "");
    assert_eq!(json.json()["left_out"], 2);
}
