//! Downloads: the queue, and the outcome of an order to some of them.

use super::{Show, addresses, hash, number};
use crate::control::{DownloadRow, DownloadState, ExitCode};
use crate::ctl::table::{Look, Table, Tone};
use crate::ctl::text::{UNKNOWN, name, or_unknown, size, span, word};
use serde::Serialize;

impl Show for [DownloadRow] {
    fn people(&self, look: Look) -> String {
        let header = [">ID", "~NAME", "STATE", ">DONE", ">SIZE", ">RATE", ">ETA", "CHECK", "~REMARK"];
        let mut table = Table::new(&header);
        for row in self {
            table.push(
                tone(row.state),
                [
                    row.id.to_string(),
                    name(row.name.as_bytes()),
                    word(&row.state),
                    done_share(row),
                    or_unknown(row.size, size),
                    or_unknown(row.rate, |rate| size(rate) + "/s"),
                    or_unknown(row.eta_s, span),
                    check(row).into(),
                    remark(row),
                ],
            );
        }
        // Nothing is received, so there is no rate.
        table.leave_out(&[">RATE", ">ETA"], UNKNOWN);
        table.aligned(look)
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
            "eta_s",
            "already",
            "shares",
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
                    number(row.eta_s),
                    row.already.to_string(),
                    shares(row),
                ],
            );
        }
        table
    }
}

/// `192.0.2.1:63339=active:1048576` for each source.
fn shares(row: &DownloadRow) -> String {
    let shown: Vec<String> =
        row.shares.iter().map(|source| format!("{}={}:{}", source.addr, word(&source.state), source.bytes)).collect();
    or_unknown((!shown.is_empty()).then_some(shown), |shown| shown.join(" "))
}

fn tone(state: DownloadState) -> Tone {
    match state {
        DownloadState::Done => Tone::Good,
        DownloadState::Failed => Tone::Bad,
        DownloadState::Retrying | DownloadState::Paused | DownloadState::Cancelled => Tone::Faint,
        DownloadState::Queued | DownloadState::Active | DownloadState::Verifying => Tone::Plain,
    }
}

/// How much of a download is there: a share of its size, else bytes.
pub(super) fn done_share(row: &DownloadRow) -> String {
    match row.size {
        Some(0) if row.state != DownloadState::Done => "0%".into(),
        Some(size) => {
            format!("{}%", (u128::from(row.bytes_done) * 100).checked_div(size.into()).unwrap_or(100).min(100))
        }
        None => size(row.bytes_done),
    }
}

/// Whether the content was, will be or cannot be checked against its hash.
fn check(row: &DownloadRow) -> &'static str {
    match row.state {
        _ if row.verified => "verified",
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
            if row.already { format!("already have it: {path}") } else { path }
        }
        DownloadState::Retrying => match (row.retry_in_s, error) {
            (Some(retry), Some(error)) => format!("retry in {}: {error}", span(retry)),
            (Some(retry), None) => format!("retry in {}", span(retry)),
            (None, error) => or_unknown(error, |error| error),
        },
        DownloadState::Paused => match error {
            Some(error) if is_stopped_by_disk(row) => error,
            _ => format!("by the user; 'pyratectl resume {}' resumes it", row.id),
        },
        _ => or_unknown(error, |error| error),
    }
}

/// What a user orders some downloads to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ctl) enum Order {
    Pause,
    Resume,
    Retry,
    Cancel,
}

impl Order {
    /// `7 paused: a.iso, 45% is kept`.
    fn told(self, row: &DownloadRow) -> String {
        use DownloadState::{Active, Cancelled, Done, Failed, Paused, Queued, Retrying, Verifying};
        let (id, name, remark) = (row.id, name(row.name.as_bytes()), remark(row));
        match (self, row.state) {
            (_, Done) => format!("{id} is done already: {name}: {remark}"),
            (Self::Cancel, Cancelled) => format!("{id} cancelled: {name}; its data is removed"),
            (_, Cancelled) => format!("{id} was cancelled: {name}; 'pyratectl download' starts it again"),
            (Self::Resume | Self::Pause, Failed) => {
                format!("{id} has failed: {name}: {remark}; 'pyratectl retry {id}' tries it again")
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
