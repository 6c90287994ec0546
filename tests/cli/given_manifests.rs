//! `download --manifest`: a saved manifest is checked, given in parts, and ordered; what is none is never given.

use super::fake::{Run, run, run_alone};
use serde_json::json;
use std::fs;
use std::path::Path;

const HASH: &str = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";

fn manifest(files: usize) -> String {
    let lines: String = (0..files).map(|number| format!("f 3 {HASH} {number:06}\u{e9}\n")).collect();
    format!("pyrate-manifest 1\n{lines}end {files}\n")
}

/// A run that must not order anything.
fn refused(path: &Path) -> Run {
    run(&["download", "--manifest", path.to_str().unwrap()], |_| {})
}

#[test]
fn a_manifest_is_given_in_parts_and_named_by_its_hash() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("Live 99.manifest");
    let text = manifest(400);
    fs::write(&path, &text).unwrap();
    let shown = run(&["--json", "download", "--detach", "7", "--manifest", path.to_str().unwrap()], move |talk| {
        let mut given = Vec::new();
        while given.len() < text.len() {
            let part = talk.expect("give_manifest");
            assert_eq!(part["after"], given.len());
            let bytes = match part["text"]["hex"].as_str() {
                Some(hex) => {
                    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
                }
                None => part["text"].as_str().unwrap().as_bytes().to_vec(),
            };
            given.extend_from_slice(&bytes);
            talk.reply(json!({}));
        }
        assert_eq!(given, text.as_bytes());
        let b3 = blake3::hash(text.as_bytes()).to_string();
        let what = json!([{"hits": "7"}, {"manifest": {"b3": b3, "name": "Live 99"}}]);
        assert_eq!(talk.expect("download"), json!({"what": what, "output": null}));
        talk.fail(28, "that is enough");
    });
    assert_eq!(shown.code, 28, "{shown:?}");
}

#[test]
fn what_is_no_manifest_is_not_given_and_the_error_says_what_to_do() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &[u8]| {
        let path = scratch.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let again = "; save it again with `pyratectl manifest DIR/ -o FILE`";
    for (text, says) in [
        (&b"a text\n"[..], "this is no manifest: its first line is not \"pyrate-manifest 1\""),
        (b"pyrate-manifest 2\nend 0\n", "has version 2"),
        (b"pyrate-manifest 1\nd a\n", "it was cut"),
        (b"pyrate-manifest 1\nd ../a\nend 1\n", "line 2: the path is not plain and relative"),
        (b"pyrate-manifest 1\nd a\x1b[2J\nend 1\n", "line 2: the path is empty, has more than"),
    ] {
        let run = refused(&at("d.manifest", text));
        run.says(28, says);
        run.says(28, again);
    }
    let large = at("large.manifest", &[b"pyrate-manifest 1\n", &b"d a\n".repeat(1 << 20)[..]].concat());
    refused(&large).says(28, "more than 4 MiB");
    refused(&at("many.manifest", manifest(10_001).as_bytes())).says(28, "more than 10000 files and empty directories");
    let link = at("link.manifest", format!("pyrate:b3={HASH}&name=d%2F&peer=192.0.2.7:63339\n").as_bytes());
    refused(&link).says(28, "has a link and no manifest; give `pyratectl download` the link itself");
    refused(&at("\u{7}.manifest", manifest(1).as_bytes())).says(28, "rename the file");
    refused(&scratch.path().join("none.manifest")).says(17, "cannot read the manifest");
    refused(scratch.path()).says(17, "cannot read the manifest");
}

#[test]
fn a_directory_does_not_go_into_a_file_or_to_the_standard_output() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("d.manifest");
    fs::write(&path, manifest(1)).unwrap();
    let shown = path.to_str().unwrap();
    run(&["download", "--manifest", shown, "-o", "-"], |_| {}).says(28, "takes one file");
    run(&["download", "--manifest", shown, "-o", shown], |_| {}).says(28, "several files go into a directory");
    run_alone(&["download"]).says(28, "or --manifest FILE");
}
