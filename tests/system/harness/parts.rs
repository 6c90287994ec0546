//! Downloads on their way: beginning them, watching their bytes come in, and their part files.

use super::{Daemon, LIMIT, wait_for};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

impl Daemon {
    /// Has a peer listed, and gives the hits: with their hashes, if the peer knows them.
    pub(crate) fn list(&self, peer: SocketAddr) -> Vec<Value> {
        let mut control = self.control();
        let begun = control.call("list", json!({ "peer": peer })).expect("a listing begins");
        control.notice("the listing is through", |notice| {
            let over = notice["event"] == "search_done" && notice["search"] == begun["search"];
            over.then(|| assert!(notice["error"].is_null(), "{notice}"))
        });
        let page = control.call("hits", json!({ "search": begun["search"] })).expect("hits can be read");
        page["hits"].as_array().expect("rows").clone()
    }

    /// Begins downloads of these hits; gives their ids.
    pub(crate) fn begin_hits(&self, hits: &[Value]) -> Vec<u64> {
        let ids: Vec<String> = hits.iter().map(|hit| hit["id"].to_string()).collect();
        let begun = self.call("download", json!({ "what": [{ "hits": ids.join(",") }] }));
        let rows = begun["downloads"].as_array().expect("rows");
        rows.iter().map(|row| row["id"].as_u64().expect("a download has an id")).collect()
    }

    /// Searches until this name is known as a content with so many sources, and begins its download.
    pub(crate) fn begin_content(&self, name: &str, sources: usize) -> u64 {
        let fits = |row: &&Value| {
            row["name"] == name && row["b3"].is_string() && row["sources"].as_array().map(Vec::len) == Some(sources)
        };
        let rows = self.search_until(name, |rows| rows.iter().any(|row| fits(&row)));
        let hit = rows.iter().find(fits).expect("just seen").clone();
        self.begin_hits(&[hit])[0]
    }

    /// All downloads that it knows.
    pub(crate) fn rows(&self) -> Vec<Value> {
        self.pages("downloads", "downloads")
    }

    /// Waits until so many bytes of a download are there.
    pub(crate) fn await_bytes(&self, id: u64, bytes: u64) -> Value {
        wait_for(&format!("{bytes} bytes of download {id}"), LIMIT, || {
            let row = self.download(id);
            (row["bytes_done"].as_u64() >= Some(bytes)).then_some(row)
        })
    }
}

/// Where a row says that the file is.
pub(crate) fn path_of(row: &Value) -> PathBuf {
    row["path"].as_str().unwrap_or_else(|| panic!("a path in UTF-8: {row}")).into()
}

/// Whether a file of a download directory is one that only a download in progress needs.
pub(crate) fn is_unfinished(name: &[u8]) -> bool {
    name.starts_with(b".")
}

/// Fails the test unless a file holds exactly this.
pub(crate) fn assert_holds(path: &Path, content: &[u8]) {
    let found = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let differs = found.iter().zip(content).position(|(one, other)| one != other);
    let (length, wanted) = (found.len(), content.len());
    assert!(found == content, "{}: {length} bytes for {wanted}, first difference {differs:?}", path.display());
}
