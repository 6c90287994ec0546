//! Replies as tables: which columns people see, and which programs.
//!
//! | file | shows |
//! |---|---|
//! | `node` | the daemon itself: status, peers, bootstrap nodes, scans |
//! | `files` | hits, and the files of peers and of our own |
//! | `downloads` | the queue, and the outcome of orders to it |
//! | `reload` | what a reload did |
//! | `details` | single hits and downloads, in full |

mod details;
mod downloads;
mod files;
mod node;
mod reload;

pub(super) use details::{Details, unverified};
pub(super) use downloads::{Order, Ordered, is_stopped_by_disk, remark};
pub(super) use files::{HIT_COLUMNS, ListedRow, hit_cells};
pub(super) use node::{ScanResult, VerboseStatus};

use super::table::{Look, Table};
use super::text::{name, or_unknown};
use std::net::SocketAddr;

/// A result that can be shown. Its JSON form is its serde form.
pub(super) trait Show {
    /// For people.
    fn people(&self, look: Look) -> String;
    /// For programs that take no JSON: every field, plain numbers. New columns come after the old ones.
    fn table(&self) -> Table;
}

fn number(value: Option<u64>) -> String {
    or_unknown(value, |value| value.to_string())
}

fn hash(b3: &Option<String>) -> String {
    or_unknown(b3.as_ref(), |b3| name(b3.as_bytes()))
}

fn addresses(sources: &[SocketAddr]) -> String {
    let shown = sources.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ");
    or_unknown((!sources.is_empty()).then_some(shown), |shown| shown)
}
