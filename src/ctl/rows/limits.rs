//! The rate limits in force.

use super::{Column, Row, Show, table_of};
use crate::control::{LimitReply, LimitRow};
use crate::ctl::table::{Look, Table};
use crate::ctl::text::{name, or_unknown, size, to_come};

impl Show for LimitReply {
    fn people(&self, _look: Look) -> String {
        let line = |title: &str, limit: &LimitRow| format!("{title:<6}{}\n", explained(limit));
        line("Down", &self.down) + &line("Up", &self.up)
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
        ("down_when", |reply, _| or_unknown(reply.down.when.as_ref(), |when| name(when.as_bytes()))),
        ("down_until", |reply, _| or_unknown(reply.down.until, |until| until.to_string())),
        ("down_then", |reply, _| or_unknown(reply.down.then, |then| then.to_string())),
        ("up_when", |reply, _| or_unknown(reply.up.when.as_ref(), |when| name(when.as_bytes()))),
        ("up_until", |reply, _| or_unknown(reply.up.until, |until| until.to_string())),
        ("up_then", |reply, _| or_unknown(reply.up.then, |then| then.to_string())),
    ];
}

/// A limit in words.
pub(super) fn rate(limit: u64) -> String {
    if limit == 0 { "no limit".into() } else { size(limit) + "/s" }
}

/// A limit, why it holds and until when.
fn explained(limit: &LimitRow) -> String {
    let configured = format!("{}{}", rate(limit.configured), timed(limit));
    if limit.until_restart {
        return format!("{} until the daemon is restarted; configured: {configured}", rate(limit.in_force));
    }
    configured
}

/// What is said of a limit that depends on the time.
fn timed(limit: &LimitRow) -> String {
    let until = limit.until.map_or_else(String::new, |until| format!(" until {}", to_come(until)));
    let why = limit.when.as_ref().map_or_else(String::new, |when| format!(" ({})", name(when.as_bytes())));
    let then = limit.then.map_or_else(String::new, |then| format!(", then {}", rate(then)));
    format!("{until}{why}{then}")
}

impl LimitReply {
    /// The lines of a status, if there is more to say than the two limits in force.
    pub(super) fn status_lines(&self) -> Option<[String; 2]> {
        let has_reason = |limit: &LimitRow| limit.until_restart || limit.when.is_some() || limit.until.is_some();
        let lines = || [format!("down {}", explained(&self.down)), format!("up {}", explained(&self.up))];
        [&self.down, &self.up].into_iter().any(has_reason).then(lines)
    }
}
