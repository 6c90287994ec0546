//! Downloads: the queue, and the outcome of an order to some of them.

use super::{Column, Row, Show, addresses, hash, number};
use crate::control::{DirectoryPart, DownloadRow, DownloadState, ExitCode, ForgottenReply};
use crate::ctl::table::{Look, Table, Tone};
use crate::ctl::text::{UNKNOWN, count, name, or_unknown, ranges, size, span, word};
use serde::Serialize;

impl Row for DownloadRow {
    const COLUMNS: &'static [Column<Self>] = &[
        (">ID", |row, _| row.id.to_string()),
        ("/NAME", |row, _| name(row.name.as_bytes())),
        ("STATE", |row, _| word(&row.state)),
        (">DONE", |row, _| done_share(row)),
        (">SIZE", |row, _| or_unknown(row.size, size)),
        (">RATE", |row, _| or_unknown(row.rate, |rate| size(rate) + "/s")),
        (">ETA", |row, _| or_unknown(row.eta_s, span)),
        ("CHECK", |row, _| check(row).into()),
        ("~REMARK", |row, _| remark(row)),
    ];
    // Where nothing is received, there is no rate.
    const SPARSE: &'static [&'static str] = &[">RATE", ">ETA"];
    const LESSER: &'static [&'static str] = &["CHECK", ">SIZE", ">ETA", ">RATE"];
    const FIELDS: &'static [Column<Self>] = &[
        ("id", |row, _| row.id.to_string()),
        ("name", |row, _| name(row.name.as_bytes())),
        ("path", |row, _| or_unknown(row.path.as_ref(), |path| name(path.as_bytes()))),
        ("state", |row, _| word(&row.state)),
        ("bytes_done", |row, _| row.bytes_done.to_string()),
        ("size", |row, _| number(row.size)),
        ("rate", |row, _| number(row.rate)),
        ("b3", |row, _| hash(&row.b3)),
        ("verified", |row, _| row.verified.to_string()),
        ("sources", |row, _| addresses(&row.sources)),
        ("error", |row, _| or_unknown(row.error.as_ref(), |error| error.message.clone())),
        ("retry_in_s", |row, _| number(row.retry_in_s)),
        ("eta_s", |row, _| number(row.eta_s)),
        ("already", |row, _| row.already.to_string()),
        ("shares", |row, _| shares(row)),
        ("place", |row, _| number(row.place)),
        ("copied_from", |row, _| or_unknown(row.copied_from.as_ref(), |from| name(from.as_bytes()))),
    ];

    fn tone(&self) -> Tone {
        match self.state {
            DownloadState::Done => Tone::Good,
            DownloadState::Failed => Tone::Bad,
            DownloadState::Retrying | DownloadState::Paused | DownloadState::Cancelled => Tone::Faint,
            DownloadState::Queued | DownloadState::Active | DownloadState::Verifying => Tone::Plain,
        }
    }
}

/// `192.0.2.1:63339=active:1048576` for each source.
fn shares(row: &DownloadRow) -> String {
    let shown: Vec<String> =
        row.shares.iter().map(|source| format!("{}={}:{}", source.addr, word(&source.state), source.bytes)).collect();
    or_unknown((!shown.is_empty()).then_some(shown), |shown| shown.join(" "))
}

/// How much of a download is there: a share of its size, else bytes.
pub(in crate::ctl) fn done_share(row: &DownloadRow) -> String {
    match row.size {
        Some(0) if row.state != DownloadState::Done => "0%".into(),
        Some(size) => {
            // Of a directory whose files are not all there, the size is that of the files whose size is known.
            let max = if row.directory.is_none() || row.state == DownloadState::Done { 100 } else { 99 };
            format!("{}%", (u128::from(row.bytes_done) * 100).checked_div(size.into()).unwrap_or(100).min(max))
        }
        None => size(row.bytes_done),
    }
}

/// Whether the content was, will be or cannot be checked against its hash.
fn check(row: &DownloadRow) -> &'static str {
    match row.state {
        _ if row.verified => "verified",
        // Each of its files is checked alone.
        state if row.directory.is_some() && state != DownloadState::Done => UNKNOWN,
        DownloadState::Failed | DownloadState::Cancelled => UNKNOWN,
        DownloadState::Done => "unverified",
        _ if row.b3.is_some() => "pending",
        _ => "unverified",
    }
}

/// Whether it waits for space on a disk, or for a disk, and resumes automatically.
pub(in crate::ctl) fn is_stopped_by_disk(row: &DownloadRow) -> bool {
    let disk = [ExitCode::DiskFull, ExitCode::FileIo].map(|code| i32::from(code as u8));
    row.state == DownloadState::Paused && row.error.as_ref().is_some_and(|error| disk.contains(&error.code))
}

/// The remark on a download: its path, or what is wrong with it, and what helps.
pub(in crate::ctl) fn remark(row: &DownloadRow) -> String {
    let remark = remark_of_state(row);
    match &row.not_remembered {
        None => remark,
        Some(why) if remark == UNKNOWN => format!("not remembered: {}", why.message),
        Some(why) => format!("{remark}; not remembered: {}", why.message),
    }
}

fn remark_of_state(row: &DownloadRow) -> String {
    let error = row.error.as_ref().map(|error| error.message.clone());
    match row.state {
        DownloadState::Done => {
            let path = or_unknown(row.path.as_ref(), |path| name(path.as_bytes()));
            let there = match &row.copied_from {
                _ if row.already => format!("already have it: {path}"),
                Some(from) => format!("{path}, copied from {}", name(from.as_bytes())),
                None => path,
            };
            match row.directory.as_deref().map_or(0, |part| part.files_pending) {
                0 => there,
                1 => format!("{there}; without 1 file that the peer did not share yet"),
                pending => format!("{there}; without {pending} files that the peer did not share yet"),
            }
        }
        DownloadState::Retrying => match (row.retry_in_s, error) {
            (Some(retry), Some(error)) => format!("retry in {}: {error}", span(retry)),
            (Some(retry), None) => format!("retry in {}", span(retry)),
            (None, error) => or_unknown(error, |error| error),
        },
        DownloadState::Paused => match error {
            Some(error) if is_stopped_by_disk(row) => error,
            _ => format!("by the user; `pyratectl resume {}` resumes it", row.id),
        },
        DownloadState::Queued if error.is_none() && row.directory.is_none() => {
            or_unknown(row.place, |place| format!("number {place} in the queue"))
        }
        _ => or_unknown(error.or_else(|| row.directory.as_deref().map(files)), |error| error),
    }
}

/// How many files of a directory are there.
pub(in crate::ctl) fn files(part: &DirectoryPart) -> String {
    if part.files == 0 {
        return "its files are not known yet".to_owned();
    }
    let missing = match part.files_missing {
        0 => String::new(),
        missing => format!(", {missing} missing"),
    };
    let pending = match part.files_pending {
        0 => String::new(),
        pending => format!(", {pending} not shared yet"),
    };
    format!("{} of {}{missing}{pending}", part.files_done, count(part.files, "file"))
}

/// What a user orders some downloads to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ctl) enum Order {
    Pause,
    Resume,
    Retry,
    Cancel,
    Move,
}

impl Order {
    /// `7 paused: a.iso, 45% is kept`.
    pub(in crate::ctl) fn told(self, row: &DownloadRow) -> String {
        use DownloadState::{Active, Cancelled, Done, Failed, Paused, Queued, Retrying, Verifying};
        let (id, name, remark) = (row.id, name(row.name.as_bytes()), remark(row));
        match (self, row.state) {
            (Self::Move, Queued) => format!("{id} is number {} in the queue: {name}", number(row.place)),
            (Self::Move, state) => format!("{id} is {}: {name}", word(&state)),
            (_, Done) => format!("{id} is done already: {name}: {remark}"),
            (Self::Cancel, Cancelled) => match row.directory.as_deref().map_or(0, |part| part.files_done) {
                0 => format!("{id} cancelled: {name}; its data is removed"),
                1 => format!("{id} cancelled: {name}; the file that was done stays, and all else is removed"),
                done => {
                    format!("{id} cancelled: {name}; the {done} files that were done stay, and all else is removed")
                }
            },
            (_, Cancelled) => format!("{id} was cancelled: {name}; `pyratectl download` starts it again"),
            (Self::Resume | Self::Pause, Failed) => {
                format!("{id} has failed: {name}: {remark}; `pyratectl retry {id}` tries it again")
            }
            (Self::Retry | Self::Cancel, Failed) => format!("{id} has failed: {name}: {remark}"),
            (Self::Pause, Paused) => format!("{id} paused: {name}, {} is kept", done_share(row)),
            (Self::Resume | Self::Retry, Paused) => format!("{id} is still paused: {name}: {remark}"),
            (Self::Resume | Self::Retry, Queued) => format!("{id} queued: {name}; waits for its turn"),
            (Self::Resume | Self::Retry, Retrying) => format!("{id} waits for its sources: {name}: {remark}"),
            (Self::Resume | Self::Retry, Active | Verifying) => format!("{id} continues: {name}"),
            (Self::Pause | Self::Cancel, Verifying) => {
                format!("{id} is unchanged: {name}; all bytes are there, and are being checked")
            }
            (Self::Pause | Self::Cancel, state) => format!("{id} is still {}: {name}", word(&state)),
        }
    }
}

/// Downloads that an order was given to, as they are after it.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(in crate::ctl) struct Ordered {
    pub(in crate::ctl) rows: Vec<DownloadRow>,
    #[serde(skip)]
    pub(in crate::ctl) order: Order,
}

impl Show for Ordered {
    fn people(&self, _look: Look) -> String {
        self.rows.iter().map(|row| self.order.told(row) + "\n").collect()
    }

    fn table(&self) -> Table {
        self.rows[..].table()
    }
}

impl Show for ForgottenReply {
    fn people(&self, _look: Look) -> String {
        match self.forgotten[..] {
            [] => String::new(),
            _ => format!("forgotten: {}\n", ranges(self.forgotten.iter().copied())),
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["forgotten"]);
        self.forgotten.iter().for_each(|id| table.push(Tone::Plain, vec![id.to_string()]));
        table
    }
}
