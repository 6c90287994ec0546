//! Links to contents.

use super::{Column, Row, addresses, number};
use crate::control::ContentLinkRow;
use crate::ctl::text::name;

impl Row for ContentLinkRow {
    // People see the link alone.
    const COLUMNS: &'static [Column<Self>] = &[("LINK", |row, _| name(row.link.as_bytes()))];
    const FIELDS: &'static [Column<Self>] = &[
        ("link", |row, _| name(row.link.as_bytes())),
        ("b3", |row, _| name(row.b3.as_bytes())),
        ("size", |row, _| number(row.size)),
        ("name", |row, _| name(row.name.as_bytes())),
        ("peers", |row, _| addresses(&row.peers)),
    ];
}
