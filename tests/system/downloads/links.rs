//! Links, from the share of one node to the download of another (pyratectl(1), `link`).

use crate::harness::{Daemon, Dice, Setup, await_hashed, pyratectl};
use serde_json::json;

fn link(daemon: &Daemon, what: &[&str]) -> String {
    let run = pyratectl(daemon, [&["link"], what].concat());
    assert_eq!(run.code, 0, "{run:?}");
    run.stdout.trim_end().to_owned()
}

#[test]
fn a_link_is_downloaded_from_its_peer() {
    let content = Dice::new().bytes(3 << 20);
    let source = Setup::peer().shares("dir/a & b.bin", &content).start();
    await_hashed(&source);
    // They have no network in common but the link.
    let asker = Setup::peer().start();
    let text = link(&source, &["dir/a & b.bin"]);
    let run = pyratectl(&asker, ["--json", "download", &text]);
    assert_eq!(run.code, 0, "{run:?}");
    let row = &run.json()[0];
    assert_eq!(
        (&row["state"], &row["verified"], &row["name"]),
        (&json!("done"), &json!(true), &json!("dir/a & b.bin"))
    );
    let saved = asker.downloads_directory().join("a & b.bin");
    assert!(std::fs::read(saved).expect("it is there") == content);
    // The same content by other ways.
    let b3 = row["b3"].as_str().expect("a hash");
    assert_eq!(link(&source, &[&format!("b3={b3}")]), text);
    assert_eq!(link(&asker, &[&format!("{}/dir/a & b.bin", source.listen())]), text);
    assert_eq!(link(&asker, &["1"]), text, "the list of the peer became hits");
    let of_download = link(&asker, &["--downloads", "1"]);
    assert!(of_download.contains(b3) && of_download.contains(&source.listen().port().to_string()), "{of_download}");
    // The hash says what the content is, whatever else the link says.
    let false_size = text.replace("size=3145728", "size=7");
    let again = pyratectl(&asker, ["--json", "download", &false_size]);
    assert_eq!((again.code, &again.json()[0]["size"]), (0, &json!(3 << 20)), "{again:?}");
}
