//! The daemon itself: its status, peers, bootstrap nodes, and what a scan found.

use super::{Show, number};
use crate::control::{BootstrapReply, LinkRow, LinkState, PeerRow, PeerState, RawText, StatusReply, TimesReply};
use crate::ctl::clock::epoch_s;
use crate::ctl::table::{Look, Table, Tone};
use crate::ctl::text::{age, count, name, or_unknown, size, span, span_us, word};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(in crate::ctl) struct ScanResult {
    pub(in crate::ctl) files: u64,
    /// Names left out because they hold control bytes or are too long.
    pub(in crate::ctl) names_refused: u64,
    /// Entries that could not be read.
    pub(in crate::ctl) unreadable: u64,
    /// Directories left out because another filesystem is mounted there.
    pub(in crate::ctl) other_mounts: u64,
    /// The first of these directories.
    pub(in crate::ctl) mounts: Vec<RawText>,
    /// Files that are not shared yet because they are being written. Left out of the JSON if there are none.
    #[serde(skip_serializing_if = "is_zero")]
    pub(in crate::ctl) being_written: u64,
}

/// The status, and for people also what met a limit and how long the loop took.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(in crate::ctl) struct VerboseStatus(pub(in crate::ctl) StatusReply);

impl Show for VerboseStatus {
    fn people(&self, look: Look) -> String {
        let Self(status) = self;
        let times = |times: &TimesReply| {
            let [p50, p99, p999, max] = [times.p50_us, times.p99_us, times.p999_us, times.max_us].map(span_us);
            format!("{}, p50 {p50}, p99 {p99}, p99.9 {p999}, longest {max}", times.count)
        };
        let limited = serde_json::to_value(status.limited).unwrap_or_default();
        let met = limited.as_object().into_iter().flatten().filter(|(_, count)| **count != 0);
        let met = met.map(|(key, count)| ("Limited", format!("{} {count}", key.replace('_', " "))));
        let timed = [("Turns", times(&status.turns)), ("Job waits", times(&status.job_waits))];
        status.people(look) + &titled(met.chain(timed))
    }

    fn table(&self) -> Table {
        self.0.table()
    }
}

fn titled(lines: impl IntoIterator<Item = (&'static str, String)>) -> String {
    lines.into_iter().map(|(title, value)| format!("{title:<11}{value}\n")).collect()
}

impl Show for StatusReply {
    fn people(&self, _look: Look) -> String {
        let now = epoch_s();
        let mut lines = vec![("Pyrate", format!("{}, up {}", name(self.version.as_bytes()), span(self.uptime_s)))];
        lines.push((
            "Listening",
            match (self.listen, self.advertise) {
                (None, _) => "no, this is a bootstrap node only".into(),
                (Some(listen), Some(advertise)) => format!("{listen}, known to others as {advertise}"),
                (Some(listen), None) => format!("{listen}, address for others not known yet"),
            },
        ));
        if self.bootstraps.is_empty() {
            lines.push(("Bootstrap", "none configured".into()));
        }
        lines.extend(self.bootstraps.iter().map(|link| ("Bootstrap", link_line(link, now))));
        lines.push(("Peers", self.peers.to_string()));
        lines.push(("Sharing", self.sharing_line()));
        lines.extend(self.share_error.iter().map(|error| ("", name(error.message.as_bytes()))));
        let waiting = |number: u64| if number > 0 { format!(", {number} waiting") } else { String::new() };
        let queued = waiting(self.downloads_queued);
        lines.push((
            "Downloads",
            format!("{} active{queued}, {} received", self.downloads_active, size(self.bytes_down)),
        ));
        if self.orphaned_parts > 0 {
            let (parts, bytes) = (count(self.orphaned_parts, "part file"), size(self.orphaned_bytes));
            lines.push(("Orphans", format!("{parts} of no download here, {bytes}; the log names them")));
        }
        lines.push(("Uploads", format!("{} active, {} sent", self.uploads_active, size(self.bytes_up))));
        if self.commands_queued > 0 {
            lines.push(("Waiting", format!("{} for a free worker", count(self.commands_queued, "command"))));
        }
        if self.refused > 0 {
            lines.push(("Refused", count(self.refused, "message")));
        }
        titled(lines)
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&[
            "version",
            "uptime_s",
            "listen",
            "advertise",
            "bootstraps",
            "peers",
            "shared_files",
            "shared_bytes",
            "scanning",
            "downloads_active",
            "downloads_queued",
            "uploads_active",
            "commands_queued",
            "bytes_down",
            "bytes_up",
            "refused",
            "unhashed_files",
            "share_error",
            "orphaned_parts",
            "orphaned_bytes",
        ]);
        let links: Vec<String> = self
            .bootstraps
            .iter()
            .map(|link| format!("{}={}", name(link.addr.as_bytes()), word(&link.state)))
            .collect();
        table.push(
            Tone::Plain,
            [
                name(self.version.as_bytes()),
                self.uptime_s.to_string(),
                or_unknown(self.listen, |addr| addr.to_string()),
                or_unknown(self.advertise, |addr| addr.to_string()),
                or_unknown((!links.is_empty()).then_some(links), |links| links.join(" ")),
                self.peers.to_string(),
                self.shared_files.to_string(),
                self.shared_bytes.to_string(),
                self.scanning.to_string(),
                self.downloads_active.to_string(),
                self.downloads_queued.to_string(),
                self.uploads_active.to_string(),
                self.commands_queued.to_string(),
                self.bytes_down.to_string(),
                self.bytes_up.to_string(),
                self.refused.to_string(),
                self.unhashed_files.to_string(),
                or_unknown(self.share_error.as_ref(), |error| name(error.message.as_bytes())),
                self.orphaned_parts.to_string(),
                self.orphaned_bytes.to_string(),
            ],
        );
        table
    }
}

impl StatusReply {
    /// The share, and how far scanning and hashing are.
    fn sharing_line(&self) -> String {
        let mut line = format!("{}, {}", count(self.shared_files, "file"), size(self.shared_bytes));
        if self.scanning {
            line += ", scanning";
        }
        if self.unhashed_files > 0 {
            line += &format!(", {} still to be hashed", self.unhashed_files);
        }
        line
    }
}

/// A bootstrap link in one line.
fn link_line(link: &LinkRow, now_s: u64) -> String {
    let mut line = format!("{} {}", name(link.addr.as_bytes()), word(&link.state));
    if let Some(last) = link.last_ok {
        line += &format!(", last answer {}", age(last, now_s));
    }
    if let Some(error) = &link.error {
        line += &format!(": {}", name(error.as_bytes()));
    }
    if let Some(retry) = link.retry_in_s {
        line += &format!(", next attempt in {}", span(retry));
    }
    line
}

impl Show for [PeerRow] {
    fn people(&self, look: Look) -> String {
        let now = epoch_s();
        let mut table = Table::new(&["ADDRESS", "SOURCE", "STATE", "LAST SEEN", "P1", "SEARCHED"]);
        for peer in self {
            let tone = match peer.state {
                PeerState::New => Tone::Plain,
                PeerState::Alive => Tone::Good,
                PeerState::Failing => Tone::Faint,
            };
            table.push(
                tone,
                [
                    peer.addr.to_string(),
                    word(&peer.source),
                    word(&peer.state),
                    or_unknown(peer.last_seen, |seen| age(seen, now)),
                    or_unknown(peer.p1, yes),
                    yes(peer.neighbour),
                ],
            );
        }
        table.aligned(look)
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["addr", "source", "state", "last_seen", "p1", "neighbour"]);
        for peer in self {
            table.push(
                Tone::Plain,
                [
                    peer.addr.to_string(),
                    word(&peer.source),
                    word(&peer.state),
                    number(peer.last_seen),
                    or_unknown(peer.p1, |p1| p1.to_string()),
                    peer.neighbour.to_string(),
                ],
            );
        }
        table
    }
}

impl Show for BootstrapReply {
    fn people(&self, look: Look) -> String {
        let now = epoch_s();
        let mut table = Table::new(&["BOOTSTRAP", "STATE", "LAST ANSWER", "NEXT ATTEMPT", "~REMARK"]);
        for link in &self.links {
            let tone = match link.state {
                LinkState::Registered => Tone::Good,
                LinkState::Waiting => Tone::Bad,
                _ => Tone::Plain,
            };
            table.push(
                tone,
                [
                    name(link.addr.as_bytes()),
                    word(&link.state),
                    or_unknown(link.last_ok, |last| age(last, now)),
                    or_unknown(link.retry_in_s, |retry| format!("in {}", span(retry))),
                    or_unknown(link.error.as_ref(), |error| name(error.as_bytes())),
                ],
            );
        }
        let links =
            if self.links.is_empty() { "No bootstrap node is configured.\n".into() } else { table.aligned(look) };
        let Some(registry) = &self.registry else { return links };
        let mut table = Table::new(&["PEER", "EXPIRES"]);
        for row in &registry.peers {
            table.push(Tone::Plain, [row.addr.to_string(), format!("in {}", span(row.expires_in_s))]);
        }
        let checks = registry
            .checks
            .map_or_else(String::new, |checks| format!(", {} answered, {} did not", checks.answered, checks.silent));
        format!("{links}\nRegistry of this node: {}{checks}\n{}", count(registry.count, "peer"), table.aligned(look))
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["kind", "addr", "state", "last_ok", "retry_in_s", "error", "expires_in_s"]);
        let unknown = || or_unknown(None::<String>, |none| none);
        for link in &self.links {
            table.push(
                Tone::Plain,
                [
                    "link".into(),
                    name(link.addr.as_bytes()),
                    word(&link.state),
                    number(link.last_ok),
                    number(link.retry_in_s),
                    or_unknown(link.error.as_ref(), |error| name(error.as_bytes())),
                    unknown(),
                ],
            );
        }
        for row in self.registry.iter().flat_map(|registry| &registry.peers) {
            let expires = row.expires_in_s.to_string();
            let peer = row.addr.to_string();
            table.push(Tone::Plain, ["peer".into(), peer, unknown(), unknown(), unknown(), unknown(), expires]);
        }
        table
    }
}

impl Show for ScanResult {
    fn people(&self, _look: Look) -> String {
        let mut line = format!("{} shared", count(self.files, "file"));
        if self.names_refused > 0 {
            line += &format!("; {} left out: control bytes, or too long", count(self.names_refused, "name"));
        }
        if self.unreadable > 0 {
            line += &format!("; {} unreadable", self.unreadable);
        }
        if self.other_mounts > 0 {
            let mut names: Vec<String> = self.mounts.iter().map(|mount| name(mount.as_bytes())).collect();
            if self.other_mounts > names.len() as u64 {
                names.push("...".into());
            }
            let left_out = count(self.other_mounts, "other filesystem");
            line += &format!("; {left_out} mounted in the share left out: {}", names.join(", "));
        }
        if self.being_written > 0 {
            let are = if self.being_written == 1 { "is" } else { "are" };
            line += &format!("; {} {are} being written", count(self.being_written, "file"));
        }
        line + "\n"
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["files", "names_refused", "unreadable", "other_mounts"]);
        let row = [self.files, self.names_refused, self.unreadable, self.other_mounts];
        table.push(Tone::Plain, row.map(|number| number.to_string()));
        table
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn yes(flag: bool) -> String {
    if flag { "yes" } else { "no" }.into()
}
