//! Following downloads: a bar at a terminal, and lines that stay for each change of state and each source lost.

use super::Session;
use super::clock::Deadline;
use super::connection::Heard;
use super::progress::{Progress, Standing};
use super::rows;
use super::text;
use crate::control::{CallError, DownloadRow, DownloadState, Notice, SourceRow, SourceState};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Sources whose last message is remembered. Beyond that, a message may be repeated.
const SOURCES_TOLD_MAX: usize = 10_000;

pub(super) enum End {
    /// Every download has ended, or waits for the user or for a disk.
    Settled,
    TimedOut,
    Interrupted,
    /// The daemon is gone, or sent something unexpected.
    Lost(CallError),
}

/// Whether a download is over for good.
pub(super) fn is_final(row: &DownloadRow) -> bool {
    matches!(row.state, DownloadState::Done | DownloadState::Failed | DownloadState::Cancelled)
}

/// Whether a download has ended, or waits for the user or for a disk.
fn is_settled(row: &DownloadRow) -> bool {
    is_final(row) || row.state == DownloadState::Paused
}

/// Receives what the daemon reports until all downloads are settled.
pub(super) fn follow(session: &mut Session, downloads: &mut BTreeMap<u32, DownloadRow>) -> End {
    let until = session.follow_timeout.map_or(Deadline::NEVER, Deadline::after);
    let progress = Progress::new();
    let mut told = Told::default();
    downloads.values().for_each(|row| remark_state(&progress, row));
    while !downloads.values().all(is_settled) {
        draw(&progress, downloads);
        match session.connection.next(until) {
            Ok(Heard::Notice(Notice::Download { download })) => {
                let Some(known) = downloads.get_mut(&download.id) else { continue };
                let changed = known.state != download.state;
                *known = download;
                if changed {
                    remark_state(&progress, known);
                }
            }
            Ok(Heard::Notice(Notice::SourceLost { download, source })) => {
                let Some(row) = downloads.get(&download) else { continue };
                if told.is_news(download, &source) {
                    progress.remark(&format!("{download}: {}", lost(&source, row)));
                }
            }
            Ok(Heard::Notice(_) | Heard::Unknown(_)) => {}
            Ok(Heard::Deadline) => return End::TimedOut,
            Ok(Heard::Interrupted) => return End::Interrupted,
            Ok(Heard::Ended) => return End::Lost(session.connection.hung_up()),
            Err(error) => return End::Lost(error),
        }
    }
    End::Settled
}

/// Waits until the daemon has looked at the places that the user has named: a download whose path is known has a good one,
/// and one whose place is bad fails.
pub(super) fn await_places(session: &mut Session, downloads: &mut BTreeMap<u32, DownloadRow>) {
    let until = Deadline::after(session.timeout);
    while downloads.values().any(|row| row.path.is_none() && !is_settled(row)) {
        match session.connection.next(until) {
            Ok(Heard::Notice(Notice::Download { download })) => {
                if let Some(known) = downloads.get_mut(&download.id) {
                    *known = download;
                }
            }
            Ok(Heard::Notice(_) | Heard::Unknown(_)) => {}
            // The downloads are accepted, and go on without us.
            Ok(Heard::Deadline | Heard::Interrupted | Heard::Ended) | Err(_) => return,
        }
    }
}

/// A line for a new state: `7 done: a.txt: /home/…/a.txt`.
fn remark_state(progress: &Progress, row: &DownloadRow) {
    let name = text::name(row.name.as_bytes());
    let state = text::word(&row.state);
    let more = rows::remark(row);
    let more = if more == text::UNKNOWN { String::new() } else { format!(": {more}") };
    let unverified = row.state == DownloadState::Done && !row.verified && !row.already;
    let doubt = if unverified { format!(" ({})", rows::unverified(row)) } else { String::new() };
    progress.remark(&format!("{} {state}: {name}{more}{doubt}", row.id));
}

/// The last message about each source of each download: a source that fails in the same way at each attempt, without a byte
/// in between, is reported once.
#[derive(Default)]
struct Told(BTreeMap<(u32, SocketAddr), (u64, String)>);

impl Told {
    fn is_news(&mut self, download: u32, source: &SourceRow) -> bool {
        if self.0.len() == SOURCES_TOLD_MAX {
            self.0.clear();
        }
        let now = (source.bytes, what_happened(source));
        self.0.insert((download, source.addr), now.clone()).is_none_or(|before| before != now)
    }
}

/// `10.0.0.3:63339 sent wrong bytes; continuing with 2 others`.
fn lost(source: &SourceRow, row: &DownloadRow) -> String {
    let others = || row.shares.iter().filter(|other| other.addr != source.addr);
    let ready = others().filter(|other| matches!(other.state, SourceState::Idle | SourceState::Active)).count();
    let waiting = others().any(|other| other.state == SourceState::Waiting);
    let then = match (ready, source.state) {
        (1.., _) => format!("continuing with {}", text::count(ready as u64, "other")),
        (0, SourceState::Corrupt | SourceState::Refused) if !waiting => "no other source is known".into(),
        (0, SourceState::Corrupt | SourceState::Refused) => "the others are asked again later".into(),
        (0, _) => "it is asked again later".into(),
    };
    format!("{} {}; {then}", source.addr, what_happened(source))
}

fn what_happened(source: &SourceRow) -> String {
    let error = source.error.as_ref().map(|error| text::name(error.as_bytes()));
    match (source.state, error) {
        (SourceState::Corrupt, _) => "sent wrong bytes".into(),
        (SourceState::Refused, _) => "refuses to send it".into(),
        (_, Some(error)) => format!("failed: {error}"),
        (_, None) => "failed".into(),
    }
}

/// The bar: all downloads as one.
fn draw(progress: &Progress, downloads: &BTreeMap<u32, DownloadRow>) {
    progress.advance(standing(downloads));
}

fn standing(downloads: &BTreeMap<u32, DownloadRow>) -> Standing {
    // Without downloads that the user has cancelled.
    let rows = || downloads.values().filter(|row| row.state != DownloadState::Cancelled);
    let several = downloads.len() > 1;
    let what = match rows().next() {
        Some(only) if !several && only.state == DownloadState::Active => text::name(only.name.as_bytes()),
        Some(only) if !several => format!("{} {}", text::word(&only.state), text::name(only.name.as_bytes())),
        _ => format!("{} of {} finished", rows().filter(|row| is_final(row)).count(), rows().count()),
    };
    let sending = rows().flat_map(|row| &row.shares).filter(|source| source.state == SourceState::Active);
    let sources: BTreeSet<SocketAddr> = sending.map(|source| source.addr).collect();
    Standing {
        done: rows().fold(0u64, |sum, row| sum.saturating_add(row.bytes_done)),
        total: rows().try_fold(0u64, |sum, row| row.size.map(|size| sum.saturating_add(size))),
        rate: rows().filter_map(|row| row.rate).fold(0u64, u64::saturating_add),
        verified: rows().all(|row| row.verified || row.b3.is_some()),
        sources: sources.len() as u64,
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::RawText;

    fn source(last: u8, state: SourceState) -> SourceRow {
        SourceRow { addr: SocketAddr::from(([10, 0, 0, last], 63339)), state, bytes: 0, rate: None, error: None }
    }

    fn row(shares: &[SourceRow]) -> DownloadRow {
        DownloadRow {
            id: 7,
            name: RawText::new(&b"a"[..]),
            path: None,
            state: DownloadState::Active,
            bytes_done: 0,
            size: None,
            rate: None,
            b3: None,
            verified: false,
            sources: shares.iter().map(|source| source.addr).collect(),
            shares: shares.to_vec(),
            eta_s: None,
            already: false,
            error: None,
            retry_in_s: None,
            not_remembered: None,
        }
    }

    #[test]
    fn the_bar_forgets_what_is_cancelled_and_counts_each_source_once() {
        use SourceState::{Active, Idle};
        let active = |id, shares: &[SourceRow]| (id, DownloadRow { id, bytes_done: 5, size: Some(10), ..row(shares) });
        let mut downloads = BTreeMap::from([
            active(1, &[source(1, Active), source(2, Active)]),
            active(2, &[source(1, Active), source(3, Idle)]),
            (3, DownloadRow { id: 3, state: DownloadState::Cancelled, bytes_done: 7, ..row(&[source(9, Active)]) }),
        ]);
        let shown = standing(&downloads);
        assert_eq!((shown.done, shown.total, shown.sources), (10, Some(20), 2));
        assert_eq!(shown.what, "0 of 2 finished");
        downloads.remove(&2);
        assert_eq!(standing(&downloads).total, Some(10));
    }

    #[test]
    fn a_lost_source_is_told_with_what_remains() {
        use SourceState::{Active, Corrupt, Idle, Refused, Waiting};
        for (state, others, told) in [
            (Corrupt, &[Active, Idle, Waiting][..], "sent wrong bytes; continuing with 2 others"),
            (Refused, &[Active], "refuses to send it; continuing with 1 other"),
            (Corrupt, &[Waiting, Refused], "sent wrong bytes; the others are asked again later"),
            (Refused, &[Corrupt], "refuses to send it; no other source is known"),
            (Waiting, &[], "failed; it is asked again later"),
            (Waiting, &[Active], "failed; continuing with 1 other"),
        ] {
            let mut shares = vec![source(3, Active)];
            shares.extend(others.iter().zip(4..).map(|(state, last)| source(last, *state)));
            assert_eq!(lost(&source(3, state), &row(&shares)), format!("10.0.0.3:63339 {told}"));
        }
        let rude = SourceRow { error: Some("no\u{1b}".into()), ..source(3, Waiting) };
        assert_eq!(what_happened(&rude), "failed: no\\x1b");
    }

    #[test]
    fn the_same_failure_at_each_attempt_is_told_once() {
        let mut told = Told::default();
        let failed = SourceRow { error: Some("timed out".into()), ..source(3, SourceState::Waiting) };
        assert!(told.is_news(7, &failed) && !told.is_news(7, &failed));
        assert!(told.is_news(8, &failed) && told.is_news(7, &source(4, SourceState::Waiting)));
        let further = SourceRow { bytes: 1, ..failed.clone() };
        assert!(told.is_news(7, &further), "it had brought something meanwhile");
        let otherwise = SourceRow { error: Some("connection refused".into()), ..further };
        assert!(told.is_news(7, &otherwise) && told.is_news(7, &failed));
    }
}
