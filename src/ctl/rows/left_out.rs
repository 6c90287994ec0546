//! What is in the shared directory and not shared, and why.

use super::{Column, Row};
use crate::control::{LeftOutCounts, LeftOutRow};
use crate::ctl::text::{count, name, word};
use crate::left_out::LeftOutReason;

/// The longest reason.
const REASON_WIDTH_MIN: usize = "another filesystem is mounted there".len();

impl Row for LeftOutRow {
    const COLUMNS: &'static [Column<Self>] =
        &[("/NAME", |row, _| name(row.name.as_bytes())), ("REASON", |row, _| reason(row.reason).into())];
    const WIDTHS_MIN: &'static [usize] = &[0, REASON_WIDTH_MIN];
    const FIELDS: &'static [Column<Self>] =
        &[("name", |row, _| name(row.name.as_bytes())), ("reason", |row, _| word(&row.reason))];
}

fn reason(reason: LeftOutReason) -> &'static str {
    match reason {
        LeftOutReason::Symlink => "symbolic link",
        LeftOutReason::Hidden => "hidden",
        LeftOutReason::ControlByte => "control character in the name",
        LeftOutReason::TooLong => "path too long",
        LeftOutReason::Unreadable => "cannot be read",
        LeftOutReason::NotRegular => "neither file nor directory",
        LeftOutReason::OtherMount => "another filesystem is mounted there",
        LeftOutReason::Own => "the daemon's own",
        LeftOutReason::BeingWritten => "being written",
        LeftOutReason::Dangling => "link that leads nowhere",
        LeftOutReason::Loop => "link that leads in a circle",
        LeftOutReason::SharedAlready => "shared under another name",
        LeftOutReason::NameTaken => "a further share has this name",
        LeftOutReason::OutsideSandbox => "outside of the sandbox",
        LeftOutReason::TooMany => "too many links or directories",
    }
}

/// `4 entries: 1 symbolic link, 3 hidden`.
pub(in crate::ctl) fn left_out_line(counts: &LeftOutCounts) -> String {
    let total: u64 = counts.values().sum();
    let entries = if total == 1 { "entry" } else { "entries" };
    format!("{total} {entries}: {}", by_reason(counts))
}

/// `1 symbolic link, 3 hidden`.
pub(in crate::ctl) fn by_reason(counts: &LeftOutCounts) -> String {
    counts.iter().map(|(reason, number)| of_reason(*reason, *number)).collect::<Vec<_>>().join(", ")
}

fn of_reason(reason: LeftOutReason, number: u64) -> String {
    match reason {
        LeftOutReason::Symlink => count(number, "symbolic link"),
        LeftOutReason::Hidden => format!("{number} hidden"),
        LeftOutReason::ControlByte => format!("{number} with a control character in the name"),
        LeftOutReason::TooLong => format!("{number} with too long a path"),
        LeftOutReason::Unreadable => format!("{number} unreadable"),
        LeftOutReason::NotRegular => format!("{number} neither file nor directory"),
        LeftOutReason::OtherMount => format!("{number} with another filesystem mounted"),
        LeftOutReason::Own => format!("{number} of the daemon itself"),
        LeftOutReason::BeingWritten => format!("{number} being written"),
        LeftOutReason::Dangling => format!("{number} leading nowhere"),
        LeftOutReason::Loop => format!("{number} leading in a circle"),
        LeftOutReason::SharedAlready => format!("{number} shared under another name"),
        LeftOutReason::NameTaken => format!("{number} with the name of a further share"),
        LeftOutReason::OutsideSandbox => format!("{number} outside of the sandbox"),
        LeftOutReason::TooMany => format!("{number} beyond what is followed"),
    }
}
