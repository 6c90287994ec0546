//! The rate limits in force.

use super::{Column, Row, Show, table_of};
use crate::control::{LimitReply, LimitRow};
use crate::ctl::table::{Look, Table};
use crate::ctl::text::size;

impl Show for LimitReply {
    fn people(&self, _look: Look) -> String {
        let line = |title: &str, limit: LimitRow| {
            let configured = format!(" until the daemon is restarted; configured: {}", rate(limit.configured));
            let after = if limit.until_restart { configured } else { String::new() };
            format!("{title:<6}{}{after}\n", rate(limit.in_force))
        };
        line("Down", self.down) + &line("Up", self.up)
    }

    fn table(&self) -> Table {
        table_of(Self::FIELDS, std::slice::from_ref(self), Look::default())
    }
}

impl Row for LimitReply {
    // People see it as lines.
    const COLUMNS: &'static [Column<Self>] = &[];
    const FIELDS: &'static [Column<Self>] = &[
        ("down", |reply, _| reply.down.in_force.to_string()),
        ("down_configured", |reply, _| reply.down.configured.to_string()),
        ("up", |reply, _| reply.up.in_force.to_string()),
        ("up_configured", |reply, _| reply.up.configured.to_string()),
    ];
}

/// A limit in words.
pub(super) fn rate(limit: u64) -> String {
    if limit == 0 { "no limit".into() } else { size(limit) + "/s" }
}
