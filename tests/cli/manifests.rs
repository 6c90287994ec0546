//! `manifest`: what it asks the daemon for, and that the manifest is written as it is, or not at all.

use super::fake::{run, with};
use serde_json::{Value, json};

const PEER: &str = "192.0.2.7:63339";
const TEXT: &str =
    "pyrate-manifest 1\nd empty\nf 3 6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85 \u{e9}\nend 2\n";

/// The only page, or a part of it.
fn page(text: &str, next: Value) -> Value {
    let b3 = blake3::hash(TEXT.as_bytes()).to_string();
    json!({"b3": b3, "size": TEXT.len(), "text": text, "next": next})
}

fn asked(peer: Value, name: &str) -> Value {
    json!({"peer": peer, "name": name, "b3": null, "after": 0})
}

#[test]
fn a_manifest_is_printed_as_it_is_in_each_form() {
    for form in [&[][..], &["--json"], &["--terse"]] {
        for directory in ["d/", "d", "./d/"] {
            let arguments = [form, &["manifest", directory]].concat();
            let shown = run(&arguments, |talk| {
                assert_eq!(talk.expect("manifest"), asked(Value::Null, "d/"));
                talk.reply(page(TEXT, Value::Null));
            });
            shown.gives(0, TEXT);
        }
    }
}

#[test]
fn pages_follow_each_other() {
    let at = TEXT.find("f 3").unwrap();
    let shown = run(&["manifest", "d/"], move |talk| {
        talk.expect("manifest");
        talk.reply(page(&TEXT[..at], json!(at)));
        let b3 = page("", Value::Null)["b3"].clone();
        assert_eq!(talk.expect("manifest"), with(asked(Value::Null, "d/"), json!({"b3": b3, "after": at})));
        talk.reply(page(&TEXT[at..], Value::Null));
    });
    shown.gives(0, TEXT);
    // Whatever is no manifest, or another one, is not written.
    for (text, next) in
        [(&TEXT[..at], Value::Null), (&TEXT[at..], json!(7)), ("pyrate-manifest 1\nend 0\n", Value::Null)]
    {
        let shown = run(&["manifest", "d/"], move |talk| {
            talk.expect("manifest");
            talk.reply(page(text, next));
        });
        shown.says(32, "is not the manifest whose hash it named");
        assert_eq!(shown.out, "");
    }
}

#[test]
fn what_is_not_shared_is_asked_of_a_peer() {
    let shown = run(&["manifest", &format!("{PEER}/d/")], |talk| {
        assert_eq!(talk.expect("manifest"), asked(Value::Null, &format!("{PEER}/d/")));
        talk.fail(3, "not shared");
        assert_eq!(talk.expect("manifest"), asked(json!(PEER), "d/"));
        talk.reply(page(TEXT, Value::Null));
    });
    shown.gives(0, TEXT);
    let not_shared = |talk: &mut super::fake::Talk| {
        talk.expect("manifest");
        talk.fail(3, "not shared");
    };
    run(&["manifest", "./a.example/d/"], not_shared).says(3, "not shared");
    run(&["manifest", &format!("{PEER}/")], not_shared).says(28, "no name follows the peer");
    run(&["manifest", "1.2.3.4:x/d/"], not_shared).says(28, "is no DIR");
}

#[test]
fn a_file_is_written_and_none_is_replaced() {
    let scratch = tempfile::tempdir().unwrap();
    let place = scratch.path().join("d.pyrate");
    let shown = place.to_str().unwrap();
    let saved = || {
        run(&["manifest", "d/", "-o", shown], |talk| {
            talk.expect("manifest");
            talk.reply(page(TEXT, Value::Null));
        })
    };
    saved().gives(0, "");
    assert_eq!(std::fs::read_to_string(&place).unwrap(), TEXT);
    std::fs::write(&place, "mine").unwrap();
    saved().says(13, "exists, and is not replaced");
    assert_eq!(std::fs::read_to_string(&place).unwrap(), "mine");
    let missing = scratch.path().join("none/d.pyrate");
    let failed = run(&["manifest", "d/", "-o", missing.to_str().unwrap()], |talk| {
        talk.expect("manifest");
        talk.reply(page(TEXT, Value::Null));
    });
    failed.says(17, "cannot write");
}
