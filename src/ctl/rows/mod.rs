//! Replies as tables: which columns people see, and which programs.
//!
//! | file | shows |
//! |---|---|
//! | `node` | the daemon itself: status, peers, bootstrap nodes, scans |
//! | `files` | hits, and the files of peers and of our own |
//! | `shares` | the shares, and what was found in each |
//! | `left_out` | what is not shared, and why |
//! | `downloads` | the queue, and the outcome of orders to it |
//! | `history` | downloads that are over |
//! | `uploads`, `limits` | uploads in progress, rate limits |
//! | `links` | links to contents |
//! | `searches` | searches and lists |
//! | `wishes` | searches that repeat |
//! | `reload` | what a reload did |
//! | `details` | single hits and downloads, in full |

mod details;
mod downloads;
mod files;
mod history;
mod left_out;
mod limits;
mod links;
mod node;
mod reload;
mod searches;
mod shares;
mod uploads;
mod wishes;

pub(super) use details::{AllOrSome, Details, sources, unverified};
pub(super) use downloads::{Order, Ordered, done_share, is_stopped_by_disk, remark};
pub(super) use files::{HIT_WIDTHS, HitsOfAll, ListedPage, ListedRow, bytes_of, is_unverified};
pub(super) use history::HistoryRow;
pub(super) use left_out::{by_reason, left_out_line};
pub(super) use node::{ScanResult, VerboseStatus};
pub(super) use searches::what;

use super::table::{Look, Table, Tone};
use super::text::{UNKNOWN, name, or_unknown};
use std::net::SocketAddr;

/// A result that can be shown. Its JSON form is its serde form.
pub(super) trait Show {
    /// For people.
    fn people(&self, look: Look) -> String;
    /// For programs that take no JSON.
    fn table(&self) -> Table;
    /// Whether there is no row.
    fn is_empty(&self) -> bool {
        false
    }
}

/// A column: its title, as in [`Table::new`], and the cell of a row.
pub(super) type Column<R> = (&'static str, fn(&R, Look) -> String);

/// One of many that are shown below each other.
pub(super) trait Row: Sized + 'static {
    /// For people.
    const COLUMNS: &'static [Column<Self>];
    /// Of these, columns that are left out if no row has a value.
    const SPARSE: &'static [&'static str] = &[];
    /// The same for columns in which each of all rows has a value, or none has.
    const ALL_OR_NONE: &'static [&'static str] = &[];
    /// Columns that a narrow terminal does without, the first of them first, before names and remarks are cut short.
    const LESSER: &'static [&'static str] = &[];
    /// How wide the columns are at least on a terminal where later rows are not known yet.
    const WIDTHS_MIN: &'static [usize] = &[];
    /// For programs: every field, plain numbers. New columns come after the old ones.
    const FIELDS: &'static [Column<Self>];

    fn tone(&self) -> Tone {
        Tone::Plain
    }
}

impl<R: Row> Show for [R] {
    fn people(&self, look: Look) -> String {
        let mut table = table_of(R::COLUMNS, self, look).with_lesser(R::LESSER);
        table.leave_out(R::SPARSE, UNKNOWN);
        table.leave_out(R::ALL_OR_NONE, UNKNOWN);
        table.aligned(look)
    }

    fn table(&self) -> Table {
        table_of(R::FIELDS, self, Look::default())
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl<R: Row> Show for Vec<R> {
    fn people(&self, look: Look) -> String {
        self[..].people(look)
    }

    fn table(&self) -> Table {
        self[..].table()
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

pub(super) fn table_of<R: Row>(columns: &[Column<R>], rows: &[R], look: Look) -> Table {
    let titles: Vec<_> = columns.iter().map(|(title, _)| *title).collect();
    let mut table = Table::new(&titles);
    rows.iter().for_each(|row| table.push(row.tone(), cells_of(columns, row, look)));
    table
}

/// A table for people of the first of many pages of rows.
pub(super) fn first_page_of<R: Row>(rows: &[R], look: Look) -> Table {
    let mut table = table_of(R::COLUMNS, rows, look).with_lesser(R::LESSER);
    table.leave_out(R::ALL_OR_NONE, UNKNOWN);
    table
}

pub(super) fn cells_of<R: Row>(columns: &[Column<R>], row: &R, look: Look) -> Vec<String> {
    columns.iter().map(|(_, cell)| cell(row, look)).collect()
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
