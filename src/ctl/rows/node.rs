//! The daemon itself: its status, peers, bootstrap nodes, and what a scan found.

use super::limits::rate;
use super::{Column, Row, Show, left_out_line, number, table_of};
use crate::control::{
    BootstrapReply, LimitReply, LinkRow, LinkState, PeerRow, PeerState, RawText, SandboxReply, SandboxState,
    ScanNotice, ServedReply, StatusReply, TimesReply, WatchReply,
};
use crate::ctl::clock::epoch_s;
use crate::ctl::table::{Look, Table, Tone};
use crate::ctl::text::{UNKNOWN, age, count, name, or_unknown, size, span, span_us, word};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(in crate::ctl) struct ScanResult {
    files: u64,
    /// Names left out because they hold control bytes or are too long.
    names_refused: u64,
    /// Entries that could not be read.
    unreadable: u64,
    /// Directories left out because another filesystem is mounted there.
    other_mounts: u64,
    /// The first of these directories.
    mounts: Vec<RawText>,
    /// Files that are not shared yet because they are being written. Left out of the JSON if there are none.
    #[serde(skip_serializing_if = "is_zero")]
    being_written: u64,
    /// All that is left out, but for these. Left out of the JSON if there is nothing.
    #[serde(skip_serializing_if = "is_zero")]
    pub(in crate::ctl) left_out: u64,
}

impl From<ScanNotice> for ScanResult {
    fn from(scan: ScanNotice) -> Self {
        let ScanNotice { files, names_refused, unreadable, other_mounts, mounts, being_written, left_out, .. } = scan;
        Self { files, names_refused, unreadable, other_mounts, mounts, being_written, left_out }
    }
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
        if self.bootstraps.is_empty() && self.registry.is_none() {
            lines.push(("Bootstrap", "none configured".into()));
        }
        lines.extend(self.bootstraps.iter().map(|link| ("Bootstrap", link_line(link, now))));
        lines.extend(self.registry.map(|served| {
            let ServedReply { listen, count: peers } = served;
            ("Serving", format!("bootstrap node on {listen}, {} registered", count(peers, "peer")))
        }));
        lines.push(("Peers", self.peers.to_string()));
        lines.push(("Sharing", self.sharing_line()));
        if !self.left_out.is_empty() {
            let line = left_out_line(&self.left_out);
            lines.push(("Left out", format!("{line}; `pyratectl files --left-out` names them")));
        }
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
        if self.wishes > 0 {
            lines.push(("Wishes", self.wishes.to_string()));
        }
        lines.extend(self.watch.as_ref().map(|watch| ("Watching", watch_line(watch))));
        lines.push(("Uploads", format!("{} active, {} sent", self.uploads_active, size(self.bytes_up))));
        if let Some([down, up]) = self.limits.as_ref().and_then(LimitReply::status_lines) {
            lines.extend([("Limits", down), ("", up)]);
        } else if self.download_limit > 0 || self.upload_limit > 0 {
            lines.push(("Limits", format!("down {}, up {}", rate(self.download_limit), rate(self.upload_limit))));
        }
        if self.commands_queued > 0 {
            lines.push(("Waiting", format!("{} for a free worker", count(self.commands_queued, "command"))));
        }
        lines.extend(sandbox_line(self.sandbox).map(|line| ("Sandbox", line)));
        if self.refused > 0 {
            lines.push(("Refused", count(self.refused, "message")));
        }
        titled(lines)
    }

    fn table(&self) -> Table {
        table_of(Self::FIELDS, std::slice::from_ref(self), Look::default())
    }
}

impl Row for StatusReply {
    // People see it as lines.
    const COLUMNS: &'static [Column<Self>] = &[];
    const FIELDS: &'static [Column<Self>] = &[
        ("version", |status, _| name(status.version.as_bytes())),
        ("uptime_s", |status, _| status.uptime_s.to_string()),
        ("listen", |status, _| or_unknown(status.listen, |addr| addr.to_string())),
        ("advertise", |status, _| or_unknown(status.advertise, |addr| addr.to_string())),
        ("bootstraps", |status, _| links(&status.bootstraps)),
        ("peers", |status, _| status.peers.to_string()),
        ("shared_files", |status, _| status.shared_files.to_string()),
        ("shared_bytes", |status, _| status.shared_bytes.to_string()),
        ("scanning", |status, _| status.scanning.to_string()),
        ("downloads_active", |status, _| status.downloads_active.to_string()),
        ("downloads_queued", |status, _| status.downloads_queued.to_string()),
        ("uploads_active", |status, _| status.uploads_active.to_string()),
        ("commands_queued", |status, _| status.commands_queued.to_string()),
        ("bytes_down", |status, _| status.bytes_down.to_string()),
        ("bytes_up", |status, _| status.bytes_up.to_string()),
        ("refused", |status, _| status.refused.to_string()),
        ("unhashed_files", |status, _| status.unhashed_files.to_string()),
        ("share_error", |status, _| or_unknown(status.share_error.as_ref(), |why| name(why.message.as_bytes()))),
        ("orphaned_parts", |status, _| status.orphaned_parts.to_string()),
        ("orphaned_bytes", |status, _| status.orphaned_bytes.to_string()),
        ("sandbox", |status, _| word(&status.sandbox.state)),
        ("registry", |status, _| or_unknown(status.registry, |served| format!("{}={}", served.listen, served.count))),
        ("left_out", |status, _| status.left_out.values().sum::<u64>().to_string()),
        ("download_limit", |status, _| status.download_limit.to_string()),
        ("upload_limit", |status, _| status.upload_limit.to_string()),
        ("watch", |status, _| or_unknown(status.watch.as_ref(), |watch| name(watch.directory.as_bytes()))),
        ("wishes", |status, _| status.wishes.to_string()),
    ];
}

fn watch_line(watch: &WatchReply) -> String {
    let error = watch.error.as_ref().map(|error| format!(": {}", name(error.as_bytes()))).unwrap_or_default();
    let directory = name(watch.directory.as_bytes());
    format!("{directory}, {} added, {} set aside{error}", count(watch.added, "file"), watch.failed)
}

/// Nothing while it is off.
fn sandbox_line(sandbox: SandboxReply) -> Option<String> {
    let landlock = sandbox.abi.map_or_else(String::new, |abi| format!(", Landlock ABI {abi}"));
    match sandbox.state {
        SandboxState::Off => None,
        SandboxState::On => Some(format!("on{landlock}")),
        SandboxState::Partial => Some(format!("partial{landlock}: the log says what this kernel cannot restrict")),
        SandboxState::Unavailable => Some("unavailable: this kernel has no Landlock, or it is not enabled".to_owned()),
    }
}

/// `192.0.2.1:21168=registered` for each bootstrap node.
fn links(links: &[LinkRow]) -> String {
    let shown: Vec<String> =
        links.iter().map(|link| format!("{}={}", name(link.addr.as_bytes()), word(&link.state))).collect();
    or_unknown((!shown.is_empty()).then_some(shown), |shown| shown.join(" "))
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

impl Row for PeerRow {
    const COLUMNS: &'static [Column<Self>] = &[
        ("ADDRESS", |peer, _| peer.addr.to_string()),
        ("SOURCE", |peer, _| word(&peer.source)),
        ("STATE", |peer, _| word(&peer.state)),
        ("LAST SEEN", |peer, _| or_unknown(peer.last_seen, |seen| age(seen, epoch_s()))),
        ("P1", |peer, _| or_unknown(peer.p1, yes)),
        ("SEARCHED", |peer, _| yes(peer.neighbour)),
    ];
    const FIELDS: &'static [Column<Self>] = &[
        ("addr", |peer, _| peer.addr.to_string()),
        ("source", |peer, _| word(&peer.source)),
        ("state", |peer, _| word(&peer.state)),
        ("last_seen", |peer, _| number(peer.last_seen)),
        ("p1", |peer, _| or_unknown(peer.p1, |p1| p1.to_string())),
        ("neighbour", |peer, _| peer.neighbour.to_string()),
    ];

    fn tone(&self) -> Tone {
        match self.state {
            PeerState::New => Tone::Plain,
            PeerState::Alive => Tone::Good,
            PeerState::Failing => Tone::Faint,
        }
    }
}

impl Row for LinkRow {
    const COLUMNS: &'static [Column<Self>] = &[
        ("BOOTSTRAP", |link, _| name(link.addr.as_bytes())),
        ("STATE", |link, _| word(&link.state)),
        ("LAST ANSWER", |link, _| or_unknown(link.last_ok, |last| age(last, epoch_s()))),
        ("NEXT ATTEMPT", |link, _| or_unknown(link.retry_in_s, |retry| format!("in {}", span(retry)))),
        ("~REMARK", |link, _| or_unknown(link.error.as_ref(), |error| name(error.as_bytes()))),
    ];
    const FIELDS: &'static [Column<Self>] = &[
        ("kind", |_, _| "link".into()),
        ("addr", |link, _| name(link.addr.as_bytes())),
        ("state", |link, _| word(&link.state)),
        ("last_ok", |link, _| number(link.last_ok)),
        ("retry_in_s", |link, _| number(link.retry_in_s)),
        ("error", |link, _| or_unknown(link.error.as_ref(), |error| name(error.as_bytes()))),
        ("expires_in_s", |_, _| UNKNOWN.into()),
    ];

    fn tone(&self) -> Tone {
        match self.state {
            LinkState::Registered => Tone::Good,
            LinkState::Waiting => Tone::Bad,
            _ => Tone::Plain,
        }
    }
}

impl Show for BootstrapReply {
    fn people(&self, look: Look) -> String {
        let links = match self.links[..] {
            [] => "No bootstrap node is configured.\n".into(),
            _ => self.links.people(look),
        };
        let Some(registry) = &self.registry else { return links };
        let mut table = Table::new(&["PEER", "EXPIRES"]);
        for row in &registry.peers {
            table.push(Tone::Plain, vec![row.addr.to_string(), format!("in {}", span(row.expires_in_s))]);
        }
        let checks = registry
            .checks
            .map_or_else(String::new, |checks| format!(", {} answered, {} did not", checks.answered, checks.silent));
        format!("{links}\nRegistry of this node: {}{checks}\n{}", count(registry.count, "peer"), table.aligned(look))
    }

    fn table(&self) -> Table {
        let mut table = self.links.table();
        for row in self.registry.iter().flat_map(|registry| &registry.peers) {
            let [peer, expires] = [row.addr.to_string(), row.expires_in_s.to_string()];
            let [state, last_ok, retry_in_s, error] = [(); 4].map(|()| UNKNOWN.into());
            table.push(Tone::Plain, vec!["peer".into(), peer, state, last_ok, retry_in_s, error, expires]);
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
        table.push(Tone::Plain, row.iter().map(u64::to_string).collect());
        table
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn yes(flag: bool) -> String {
    if flag { "yes" } else { "no" }.into()
}
