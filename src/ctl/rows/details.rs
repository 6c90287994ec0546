//! Single hits and downloads, with everything that is known of them. Programs get the usual rows.

use super::downloads::{done_share, files, remark};
use super::files::bytes_of;
use super::{Row, Show};
use crate::control::{DownloadRow, DownloadState, HitDirectory, HitRow, MissingRow, SourceRow, SourceState};
use crate::ctl::table::{Look, Table, Tone};
use crate::ctl::text::{UNKNOWN, count, name, or_unknown, size, span, word};
use crate::ctl::wrap::beside;
use serde::Serialize;
use std::net::SocketAddr;

/// Rows that people see in full.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(in crate::ctl) struct Details<T>(pub(in crate::ctl) Vec<T>);

/// A table of all, or some in full.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(in crate::ctl) enum AllOrSome<R> {
    All(Vec<R>),
    Some(Details<R>),
}

impl<R: Row> Show for AllOrSome<R>
where
    Details<R>: Show,
{
    fn people(&self, look: Look) -> String {
        match self {
            Self::All(rows) => rows.people(look),
            Self::Some(rows) => rows.people(look),
        }
    }

    fn table(&self) -> Table {
        match self {
            Self::All(rows) => rows.table(),
            Self::Some(rows) => rows.table(),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::All(rows) if rows.is_empty())
    }
}

impl Show for Details<HitRow> {
    fn people(&self, look: Look) -> String {
        let block = |hit: &HitRow| {
            let mut fields = vec![("Size", or_unknown(bytes_of(hit), size))];
            fields.push(match (&hit.directory, &hit.b3) {
                (Some(HitDirectory { files, .. }), _) => ("Files", format!("{} found in it", count(*files, "file"))),
                (None, Some(b3)) => ("Hash", name(b3.as_bytes())),
                (None, None) => ("Hash", "none given by its sources: a download of it is unverified".into()),
            });
            fields.extend(hit.search.map(|search| ("Search", search.to_string())));
            fields.extend(hit.names.iter().map(|other| ("Name", name(other.as_bytes()))));
            fields.extend(hit.sources.iter().map(|source| ("Source", source.to_string())));
            block(hit.id, hit.name.as_bytes(), fields, look)
        };
        self.0.iter().map(block).collect::<Vec<_>>().join("\n")
    }

    fn table(&self) -> Table {
        self.0[..].table()
    }
}

impl Show for Details<DownloadRow> {
    fn people(&self, look: Look) -> String {
        let block = |row: &DownloadRow| {
            let mut fields = vec![("State", state_line(row)), ("Check", check_line(row))];
            fields.extend(row.b3.as_ref().map(|b3| ("Hash", name(b3.as_bytes()))));
            fields.extend(row.path.as_ref().map(|path| ("Path", name(path.as_bytes()))));
            fields.extend(row.copied_from.as_ref().map(|from| ("Copied", format!("from {}", name(from.as_bytes())))));
            if let Some(part) = &row.directory {
                fields.push(("Files", files(part)));
                // The rest are among the files below.
                fields.extend(part.missing.iter().take(MISSING_SHOWN).map(|file| ("Missing", missing(file))));
            }
            let lacks = row.directory.as_ref().is_some_and(|part| part.files_pending > 0);
            if row.state != DownloadState::Done || row.already || lacks {
                fields.push(("Remark", remark(row)));
            }
            fields.retain(|(_, value)| value != UNKNOWN);
            let heading = block(row.id, row.name.as_bytes(), fields, look);
            // The sources of a directory are those of its files.
            if row.directory.is_some() { heading } else { heading + &sources(row, look) }
        };
        self.0.iter().map(block).collect::<Vec<_>>().join("\n")
    }

    fn table(&self) -> Table {
        self.0[..].table()
    }
}

/// Names of missing files in the block of their directory.
const MISSING_SHOWN: usize = 10;

/// A missing file, and why it is.
fn missing(file: &MissingRow) -> String {
    let error = file.error.as_ref().map_or_else(String::new, |error| format!(": {}", error.message));
    name(file.name.as_bytes()) + &error
}

/// A heading and fields below it; the title of a field that is the same as the one above is left out.
fn block(id: u32, bytes: &[u8], fields: Vec<(&str, String)>, look: Look) -> String {
    let mut text = beside(&format!("{id}  "), &name(bytes), look.width) + "\n";
    let mut last = "";
    for (title, value) in &fields {
        let shown = if *title == last { "" } else { title };
        let title_column = format!("    {shown:<8}");
        text += &match *title {
            "Name" | "Path" => beside(&title_column, value, look.width),
            _ => title_column + value,
        };
        text.push('\n');
        last = title;
    }
    text
}

/// `active, 45% of 3.7 GiB, 12.0 MiB/s, 2 min 5 s left`.
fn state_line(row: &DownloadRow) -> String {
    let mut line = format!("{}, {}", word(&row.state), done_share(row));
    if let Some(total) = row.size {
        line += &format!(" of {}", size(total));
    }
    if let Some(rate) = row.rate {
        line += &format!(", {}/s", size(rate));
    }
    if let Some(eta) = row.eta_s {
        line += &format!(", {} left", span(eta));
    }
    line
}

fn check_line(row: &DownloadRow) -> String {
    match row.state {
        _ if row.directory.is_some() && row.verified => "verified: each file is what its hash says",
        state if row.directory.is_some() && state != DownloadState::Done => UNKNOWN,
        _ if row.verified => "verified: the content is what its hash says",
        DownloadState::Failed | DownloadState::Cancelled => UNKNOWN,
        DownloadState::Done => return unverified(row),
        _ if row.b3.is_some() => "pending: it is checked against its hash",
        _ => "unverified: no source has given a hash",
    }
    .into()
}

/// Why a finished download is not verified, and whose file it is as far as that is known.
pub(in crate::ctl) fn unverified(row: &DownloadRow) -> String {
    if row.directory.is_some() {
        return "unverified: of some files no hash was known".into();
    }
    let senders: Vec<_> = row.shares.iter().filter(|share| share.bytes > 0).collect();
    match senders[..] {
        [sender] => format!("unverified: no hash was known; all of it is from {}", sender.addr),
        _ => "unverified: no hash was known".into(),
    }
}

/// A table of the sources of a download, and what each does for it.
pub(in crate::ctl) fn sources(row: &DownloadRow, look: Look) -> String {
    let mut table = Table::new(&["  ", "SOURCE", "STATE", ">BYTES", ">SHARE", ">RATE", "~REMARK"]);
    let brought = row.shares.iter().fold(0u64, |sum, source| sum.saturating_add(source.bytes));
    // After a restart, the sources of what was there before are unknown.
    let whole = brought.max(row.bytes_done);
    for source in &row.shares {
        table.push(
            tone(source.state),
            vec![
                String::new(),
                source.addr.to_string(),
                word(&source.state),
                size(source.bytes),
                or_unknown((u128::from(source.bytes) * 100).checked_div(whole.into()), |share| format!("{share}%")),
                or_unknown(source.rate, |rate| size(rate) + "/s"),
                source_remark(source),
            ],
        );
    }
    let known: Vec<SocketAddr> = row.shares.iter().map(|source| source.addr).collect();
    for addr in row.sources.iter().filter(|addr| !known.contains(addr)) {
        let mut cells = vec![String::new(), addr.to_string()];
        cells.resize(7, UNKNOWN.to_owned());
        table.push(Tone::Plain, cells);
    }
    if row.shares.is_empty() && row.sources.is_empty() {
        return "    no source is known\n".into();
    }
    table.leave_out(&[">RATE", "~REMARK"], UNKNOWN);
    table.aligned(look)
}

fn tone(state: SourceState) -> Tone {
    match state {
        SourceState::Active => Tone::Good,
        SourceState::Corrupt | SourceState::Refused => Tone::Bad,
        SourceState::Waiting => Tone::Faint,
        SourceState::Idle => Tone::Plain,
    }
}

fn source_remark(source: &SourceRow) -> String {
    match (source.state, &source.error) {
        (SourceState::Corrupt, _) => "sent wrong bytes; it is not asked for this content any more".into(),
        (_, error) => or_unknown(error.as_ref(), |error| name(error.as_bytes())),
    }
}
