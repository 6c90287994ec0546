//! What a content's hash and metadata are (PROTOCOL, part 2), computed without the library; and what tests of contents have in common.

use super::{Daemon, LIMIT, OldBootstrap, Setup, until};
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// Bytes of a group.
pub(crate) const GROUP: usize = 1 << 20;

/// What `b3sum` prints.
pub(crate) fn content_hash(content: &[u8]) -> String {
    blake3::hash(content).to_hex().to_string()
}

/// The chaining values of a content's groups; none of a content of one group.
pub(crate) fn chaining_values(content: &[u8]) -> Vec<[u8; 32]> {
    if content.len() <= GROUP {
        return Vec::new();
    }
    let value = |(group, bytes): (usize, &[u8])| {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset((group * GROUP) as u64);
        hasher.update(bytes).finalize_non_root()
    };
    content.chunks(GROUP).enumerate().map(value).collect()
}

/// The hash that at least two chaining values give: the left subtree is the largest power of two that leaves something.
pub(crate) fn merged(values: &[[u8; 32]]) -> String {
    fn subtree(values: &[[u8; 32]]) -> [u8; 32] {
        match values {
            [value] => *value,
            _ => {
                let (left, right) = values.split_at(values.len().next_power_of_two() / 2);
                merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
            }
        }
    }
    let (left, right) = values.split_at(values.len().next_power_of_two() / 2);
    merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash).to_hex().to_string()
}

/// The answer to code 9.
pub(crate) fn metadata(content: &[u8]) -> Vec<u8> {
    metadata_of(content.len() as u64, &content_hash(content), &chaining_values(content))
}

/// The answer to code 9, true or not.
pub(crate) fn metadata_of(size: u64, b3: &str, values: &[[u8; 32]]) -> Vec<u8> {
    let mut out = format!("size={size}\tb3={b3}\tgroup=20\n").into_bytes();
    values.iter().for_each(|value| out.extend_from_slice(value));
    out
}

/// Waits until a daemon knows the hashes of all that it shares.
pub(crate) fn await_hashed(daemon: &Daemon) {
    // Right after a start the files are still to be found.
    let is_hashed = |status: &serde_json::Value| status["scanning"] == false && status["unhashed_files"] == 0;
    // Some are of gigabytes.
    until("all files are hashed", LIMIT * 3, || is_hashed(&daemon.status()));
}

/// Starts a daemon that is to be a source, and waits until it knows its hashes.
pub(crate) fn start_hashed(setup: Setup) -> Daemon {
    let daemon = setup.start();
    await_hashed(&daemon);
    daemon
}

/// Starts a daemon that has these peers for neighbours, from a bootstrap server that lists them.
pub(crate) fn start_among(setup: Setup, peers: &[SocketAddr]) -> (OldBootstrap, Daemon) {
    let bootstrap = OldBootstrap::listing(peers);
    let daemon = setup.joins(&[bootstrap.addr()]).start();
    peers.iter().for_each(|peer| daemon.await_neighbour(*peer));
    (bootstrap, daemon)
}

/// Searches until the row of a content has so many sources; gives the row.
pub(crate) fn find_content(asker: &Daemon, text: &str, content: &[u8], sources: usize) -> Value {
    let hash = content_hash(content);
    let row_of = |rows: &[Value]| {
        let row = rows.iter().find(|row| row["b3"] == hash.as_str() && row["size"] == content.len());
        row.filter(|row| row["sources"].as_array().map(Vec::len) == Some(sources)).cloned()
    };
    let rows = asker.search_until(text, |rows| row_of(rows).is_some());
    row_of(&rows).expect("just seen")
}

/// Begins the download of a hit; gives its id.
pub(crate) fn begin_hit(asker: &Daemon, row: &Value) -> u64 {
    let begun = asker.call("download", json!({ "what": [{ "hits": row["id"].to_string() }] }));
    begun["downloads"][0]["id"].as_u64().expect("a download has an id")
}

/// What a finished download left at its path.
pub(crate) fn saved(row: &Value) -> Vec<u8> {
    std::fs::read(row["path"].as_str().expect("a path in UTF-8")).expect("the file is there")
}

/// The share of a source in a download's row.
pub(crate) fn share_of(row: &Value, source: SocketAddr) -> Value {
    let shares = row["shares"].as_array().expect("the sources with what each brought");
    let text = source.to_string();
    shares.iter().find(|share| share["addr"] == text.as_str()).cloned().unwrap_or(Value::Null)
}

/// Fails unless a download ended with this content, checked against its hash.
pub(crate) fn assert_verified(done: &Value, content: &[u8]) {
    assert_eq!((&done["state"], &done["verified"]), (&json!("done"), &json!(true)), "{done}");
    assert_eq!(done["b3"], content_hash(content).as_str(), "{done}");
    assert_eq!((&done["bytes_done"], &done["size"]), (&json!(content.len()), &json!(content.len())), "{done}");
    assert!(saved(done) == content, "the bytes are those of the content");
}
