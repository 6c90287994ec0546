//! Replies as tables: which columns people see, and which programs.

use super::clock::epoch_s;
use super::table::{Columns, Table, Tone};
use super::text::{age, count, name, or_unknown, size, span, word};
use crate::control::{
    BootstrapReply, DownloadRow, DownloadState, FileRow, HitRow, LinkRow, LinkState, PeerRow, PeerState, RawText,
    StatusReply,
};
use serde::Serialize;
use std::net::SocketAddr;

/// A result that can be shown. Its JSON form is its serde form.
pub(super) trait Show {
    /// For people.
    fn people(&self, colour: bool) -> String;
    /// For programs that take no JSON: every field, plain numbers.
    fn table(&self) -> Table;
}

/// A file of a peer's list (pyratectl(1), OUTPUT).
#[derive(Debug, Serialize)]
pub(super) struct ListedRow {
    id: u32,
    name: RawText,
    size: Option<u64>,
    b3: Option<String>,
}

impl From<HitRow> for ListedRow {
    fn from(hit: HitRow) -> Self {
        Self { id: hit.id, name: hit.name, size: hit.size, b3: hit.b3 }
    }
}

/// What a rescan found.
#[derive(Debug, Serialize)]
pub(super) struct ScanResult {
    /// Files shared now.
    pub(super) files: u64,
    /// Names left out because they hold control bytes or are too long.
    pub(super) names_refused: u64,
    /// Entries that could not be read.
    pub(super) unreadable: u64,
}

impl Show for StatusReply {
    fn people(&self, _colour: bool) -> String {
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
        let scanning = if self.scanning { ", scanning" } else { "" };
        lines.push(("Sharing", format!("{}, {}{scanning}", count(self.shared_files, "file"), size(self.shared_bytes))));
        let waiting = |number: u64| if number > 0 { format!(", {number} waiting") } else { String::new() };
        let queued = waiting(self.downloads_queued);
        lines.push((
            "Downloads",
            format!("{} active{queued}, {} received", self.downloads_active, size(self.bytes_down)),
        ));
        lines.push(("Uploads", format!("{} active, {} sent", self.uploads_active, size(self.bytes_up))));
        if self.commands_queued > 0 {
            lines.push(("Waiting", format!("{} for a free worker", count(self.commands_queued, "command"))));
        }
        if self.refused > 0 {
            lines.push(("Refused", count(self.refused, "message")));
        }
        lines.into_iter().map(|(title, value)| format!("{title:<11}{value}\n")).collect()
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
            ],
        );
        table
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
    fn people(&self, colour: bool) -> String {
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
                    yes(peer.p1),
                    yes(peer.neighbour),
                ],
            );
        }
        table.aligned(colour)
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
                    peer.p1.to_string(),
                    peer.neighbour.to_string(),
                ],
            );
        }
        table
    }
}

/// The columns of hits. Their widths, which count where hits are shown as they come, fit a terminal of 80 columns.
pub(super) const HIT_COLUMNS: Columns<4> =
    Columns { titles: [">ID", "NAME", ">SIZE", "SOURCES"], widths: [4, 36, 10, 21] };

/// A hit for people.
pub(super) fn hit_cells(hit: &HitRow) -> [String; 4] {
    let more = hit.sources.len().saturating_sub(1);
    let first = or_unknown(hit.sources.first(), SocketAddr::to_string);
    let sources = if more > 0 { format!("{first} +{more}") } else { first };
    [hit.id.to_string(), name(hit.name.as_bytes()), or_unknown(hit.size, size), sources]
}

impl Show for [HitRow] {
    fn people(&self, colour: bool) -> String {
        let mut table = Table::new(&HIT_COLUMNS.titles);
        self.iter().for_each(|hit| table.push(Tone::Plain, hit_cells(hit)));
        table.aligned(colour)
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["id", "name", "size", "b3", "sources"]);
        for hit in self {
            let id = hit.id.to_string();
            let bytes = name(hit.name.as_bytes());
            table.push(Tone::Plain, [id, bytes, number(hit.size), hash(&hit.b3), addresses(&hit.sources)]);
        }
        table
    }
}

impl Show for [ListedRow] {
    fn people(&self, colour: bool) -> String {
        let mut table = Table::new(&[">ID", "NAME", ">SIZE"]);
        for row in self {
            table.push(Tone::Plain, [row.id.to_string(), name(row.name.as_bytes()), or_unknown(row.size, size)]);
        }
        table.aligned(colour)
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["id", "name", "size", "b3"]);
        for row in self {
            table.push(Tone::Plain, [row.id.to_string(), name(row.name.as_bytes()), number(row.size), hash(&row.b3)]);
        }
        table
    }
}

impl Show for [FileRow] {
    fn people(&self, colour: bool) -> String {
        let mut table = Table::new(&["NAME", ">SIZE"]);
        for file in self {
            table.push(Tone::Plain, [name(file.name.as_bytes()), or_unknown(file.size, size)]);
        }
        table.aligned(colour)
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["name", "size", "b3"]);
        for file in self {
            table.push(Tone::Plain, [name(file.name.as_bytes()), number(file.size), hash(&file.b3)]);
        }
        table
    }
}

impl Show for [DownloadRow] {
    fn people(&self, colour: bool) -> String {
        let mut table = Table::new(&[">ID", "NAME", "STATE", ">DONE", ">SIZE", ">RATE", "REMARK"]);
        for row in self {
            let tone = match row.state {
                DownloadState::Done => Tone::Good,
                DownloadState::Failed => Tone::Bad,
                DownloadState::Retrying | DownloadState::Paused => Tone::Faint,
                _ => Tone::Plain,
            };
            table.push(
                tone,
                [
                    row.id.to_string(),
                    name(row.name.as_bytes()),
                    word(&row.state),
                    done_share(row),
                    or_unknown(row.size, size),
                    or_unknown(row.rate, |rate| size(rate) + "/s"),
                    remark(row),
                ],
            );
        }
        table.aligned(colour)
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&[
            "id",
            "name",
            "path",
            "state",
            "bytes_done",
            "size",
            "rate",
            "b3",
            "verified",
            "sources",
            "error",
            "retry_in_s",
        ]);
        for row in self {
            table.push(
                Tone::Plain,
                [
                    row.id.to_string(),
                    name(row.name.as_bytes()),
                    or_unknown(row.path.as_ref(), |path| name(path.as_bytes())),
                    word(&row.state),
                    row.bytes_done.to_string(),
                    number(row.size),
                    number(row.rate),
                    hash(&row.b3),
                    row.verified.to_string(),
                    addresses(&row.sources),
                    or_unknown(row.error.as_ref(), |error| error.message.clone()),
                    number(row.retry_in_s),
                ],
            );
        }
        table
    }
}

/// How much of a download is there: a share of its size, else bytes.
fn done_share(row: &DownloadRow) -> String {
    match row.size {
        Some(0) if row.state != DownloadState::Done => "0%".into(),
        Some(size) => {
            format!("{}%", (u128::from(row.bytes_done) * 100).checked_div(size.into()).unwrap_or(100).min(100))
        }
        None => size(row.bytes_done),
    }
}

/// What is to be said of a download: where it is, or what is wrong with it.
pub(super) fn remark(row: &DownloadRow) -> String {
    let error = row.error.as_ref().map(|error| error.message.clone());
    match row.state {
        DownloadState::Done => {
            let path = or_unknown(row.path.as_ref(), |path| name(path.as_bytes()));
            if row.verified { path } else { format!("{path} (unverified)") }
        }
        DownloadState::Retrying => match (row.retry_in_s, error) {
            (Some(retry), Some(error)) => format!("again in {}: {error}", span(retry)),
            (Some(retry), None) => format!("again in {}", span(retry)),
            (None, error) => or_unknown(error, |error| error),
        },
        _ => or_unknown(error, |error| error),
    }
}

impl Show for BootstrapReply {
    fn people(&self, colour: bool) -> String {
        let now = epoch_s();
        let mut table = Table::new(&["BOOTSTRAP", "STATE", "LAST ANSWER", "NEXT ATTEMPT", "REMARK"]);
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
            if self.links.is_empty() { "No bootstrap node is configured.\n".into() } else { table.aligned(colour) };
        let Some(registry) = &self.registry else { return links };
        let mut table = Table::new(&["PEER", "EXPIRES"]);
        for row in &registry.peers {
            table.push(Tone::Plain, [row.addr.to_string(), format!("in {}", span(row.expires_in_s))]);
        }
        format!("{links}\nRegistry of this node: {}\n{}", count(registry.count, "peer"), table.aligned(colour))
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
    fn people(&self, _colour: bool) -> String {
        let mut line = format!("{} shared", count(self.files, "file"));
        if self.names_refused > 0 {
            line += &format!("; {} left out: control bytes, or too long", count(self.names_refused, "name"));
        }
        if self.unreadable > 0 {
            line += &format!("; {} unreadable", self.unreadable);
        }
        line + "\n"
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["files", "names_refused", "unreadable"]);
        table.push(Tone::Plain, [self.files, self.names_refused, self.unreadable].map(|number| number.to_string()));
        table
    }
}

fn yes(flag: bool) -> String {
    if flag { "yes" } else { "no" }.into()
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
