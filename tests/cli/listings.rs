//! Listings of many pages are written as the pages come.

use crate::fake::{Fake, Talk, finish, forms, run, wait_for};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::thread;
use std::time::Duration;

fn file(name: &str) -> serde_json::Value {
    json!({"name": name, "size": 3, "b3": null})
}

#[test]
fn the_columns_of_the_first_page_are_those_of_all() {
    let [text, terse, json] = forms(&["files"], |talk| {
        talk.answer("files", json!({"files": [file("ab"), file("c")], "next": "c"}));
        talk.answer("files", json!({"files": [file("longer"), file("x")], "next": "x"}));
        talk.answer("files", json!({"files": [file("z")], "next": null}));
    });
    text.gives(0, "NAME  SIZE  HASH\nab     3 B  -\nc      3 B  -\nlonger   3 B  -\nx      3 B  -\nz      3 B  -\n");
    let rows = ["ab", "c", "longer", "x", "z"];
    terse.gives(0, &format!("name\tsize\tb3\n{}", rows.map(|name| format!("{name}\t3\t-\n")).concat()));
    let rows = rows.map(|name| format!(r#"{{"name":"{name}","size":3,"b3":null}}"#));
    json.gives(0, &format!("[{}]\n", rows.join(",")));
}

#[test]
fn a_reader_that_has_enough_ends_a_list_without_end() {
    for form in ["files", "--json", "--terse"] {
        let fake = Fake::new();
        let daemon = fake.serve(|talk: &mut Talk| {
            let rows: Vec<_> = (0..500).map(|number| file(&format!("{number:030}"))).collect();
            let mut next = 0;
            while talk.expect_or_hangup("files").is_some() {
                next += 1;
                talk.reply(json!({"files": rows, "next": next.to_string()}));
            }
        });
        let mut child = fake.command_here(&[form, "files"][usize::from(form == "files")..]).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        // One document of JSON is one line, which has no end here.
        let begun =
            if form == "--json" { out.fill_buf().unwrap().len() } else { out.read_line(&mut String::new()).unwrap() };
        assert!(begun > 0);
        drop(out);
        let run = finish(child);
        assert_eq!((run.code, run.err.as_str()), (0, ""));
        wait_for(daemon);
    }
}

#[test]
fn the_time_that_a_reader_takes_is_not_the_daemons() {
    let fake = Fake::new();
    // Each page is more than a pipe holds.
    let rows: Vec<_> = (0..500).map(|number| file(&format!("{number:0>200}"))).collect();
    let daemon = fake.serve(move |talk| {
        for next in [json!("a"), json!("b"), json!("c"), json!(null)] {
            talk.answer("files", json!({"files": rows, "next": next}));
        }
    });
    let mut child = fake.command_here(&["--timeout", "1s", "--terse", "files"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    thread::sleep(Duration::from_millis(1200));
    assert_eq!(out.lines().count(), 4 * 500);
    let run = finish(child);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    wait_for(daemon);
}

#[test]
fn a_document_that_cannot_be_finished_is_closed() {
    let script = |talk: &mut Talk| {
        talk.answer("files", json!({"files": [file("a")], "next": "a"}));
        talk.expect("files");
    };
    let json = run(&["--json", "files"], script);
    json.gives(69, "[{\"name\":\"a\",\"size\":3,\"b3\":null}]\n");
    json.says(69, "hung up");
    run(&["files"], script).gives(69, "NAME  SIZE  HASH\na      3 B  -\n");
}
