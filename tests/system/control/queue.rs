//! The commands that manage the queue of downloads and show the transfers, with real programs.

use crate::harness::{LIMIT, Setup, pyratectl, wait_for};
use serde_json::json;

#[test]
fn uploads_show_who_fetches_what_and_how_fast() {
    let source = Setup::peer().shares("a.bin", vec![1; 1 << 20]).set("upload_limit", "'40KiB'").start();
    let none = pyratectl(&source, ["uploads"]);
    assert!(none.code == 0 && none.stderr.contains("no peer fetches anything"), "{none:?}");
    let asker = Setup::peer().start();
    asker.begin_download(source.listen(), "a.bin");
    let row = wait_for("an upload with its rate", LIMIT, || {
        let run = pyratectl(&source, ["uploads", "--json"]);
        assert_eq!(run.code, 0, "{run:?}");
        run.json().as_array().expect("rows").iter().find(|row| row["rate"].as_u64() > Some(0)).cloned()
    });
    assert_eq!((&row["name"], &row["size"], &row["state"]), (&json!("a.bin"), &json!(1 << 20), &json!("sending")));
    assert!(row["bytes_sent"].as_u64() > Some(0) && row["rate"].as_u64() <= Some(80 << 10), "{row}");
    assert!(row["to"].as_str().expect("an address").starts_with("127.0.0.1:"), "{row}");
    let text = pyratectl(&source, ["uploads"]);
    assert!(text.stdout.contains("a.bin") && text.stdout.contains("KiB/s"), "{text:?}");
}
