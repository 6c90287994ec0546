//! The directories that are shared.

use crate::fake::{Talk, forms, with};
use serde_json::{Value, json};

pub(crate) fn share(name: &str, state: &str) -> Value {
    let error = json!({"code": 17, "message": "cannot read the share"});
    json!({"name": name, "path": "/data/a b", "audience": ["all"], "state": state, "files": 2, "bytes": 2048,
        "error": if state == "unreadable" { error } else { Value::Null }})
}

#[test]
fn shares_are_listed_with_what_is_found_there_and_why_some_cannot_be_read() {
    fn rows() -> [Value; 4] {
        let new = json!({"path": null, "audience": [], "files": null, "bytes": null});
        let home = json!({"audience": ["10.0.0.0/8", "fd00::/8"], "files": null, "bytes": null});
        let (new, home) = (with(share("new", "waiting"), new), with(share("home", "scanning"), home));
        [share("", "shared"), share("gone", "unreadable"), home, new]
    }
    let [text, terse, json] = forms(&["shares"], |talk: &mut Talk| {
        let [first, second, third, fourth] = rows();
        assert_eq!(talk.expect("shares"), json!({"after": null}));
        talk.reply(json!({"shares": [first, second], "next": "gone"}));
        assert_eq!(talk.expect("shares"), json!({"after": "gone"}));
        talk.reply(json!({"shares": [third, fourth], "next": null}));
    });
    text.gives(
        0,
        "NAME  FILES     SIZE  STATE       PATH       AUDIENCE\n\
         -         2  2.0 KiB  shared      /data/a b  all\n\
         gone      2  2.0 KiB  unreadable  /data/a b  all\n\
         home      -        -  scanning    /data/a b  10.0.0.0/8 fd00::/8\n\
         new       -        -  waiting     -          -\n",
    );
    text.says(0, "cannot read the share\n");
    terse.gives(
        0,
        "name\tpath\taudience\tstate\tfiles\tbytes\terror\n\
         \t/data/a b\tall\tshared\t2\t2048\t-\n\
         gone\t/data/a b\tall\tunreadable\t2\t2048\tcannot read the share\n\
         home\t/data/a b\t10.0.0.0/8 fd00::/8\tscanning\t-\t-\t-\n\
         new\t-\t-\twaiting\t-\t-\t-\n",
    );
    assert_eq!(json.json(), json!(rows()));
    assert_eq!((terse.err.as_str(), json.err.as_str()), ("", ""));
}

#[test]
fn a_bootstrap_node_shares_nothing() {
    let [text, terse, json] =
        forms(&["shares"], |talk| drop(talk.answer("shares", json!({"shares": [], "next": null}))));
    text.gives(0, "");
    assert!(text.err.contains("shares nothing"), "{}", text.err);
    terse.gives(0, "name\tpath\taudience\tstate\tfiles\tbytes\terror\n");
    json.gives(0, "[]\n");
}
