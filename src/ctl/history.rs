//! `history`: the downloads that are over, put together from the events of the log.

use super::Session;
use super::args::History;
use super::output::remark;
use super::query::pages;
use super::rows::HistoryRow;
use super::wording::Remark;
use crate::control::{CallError, EventKind, EventLogReply, EventRow, ExitCode, Request};
use std::collections::HashMap;

pub(super) fn history(session: &mut Session, wanted: &History) -> Result<ExitCode, CallError> {
    let mut past = Past::default();
    let mut is_cut = false;
    let since = |since| Request::EventLog { since: Some(since) };
    pages(session, 0, since, |page: EventLogReply| {
        is_cut |= page.gone.is_some();
        (page.events, page.next)
    })?
    .into_iter()
    .for_each(|event| past.take(event));
    let mut rows = past.rows;
    let oldest = rows.first().map(|row| row.finished);
    let since = wanted.since.map(|since| since.epoch_s());
    rows.retain(|row| since.is_none_or(|since| row.finished >= since));
    let surplus = wanted.number.map_or(0, |number| rows.len().saturating_sub(number as usize));
    rows.drain(..surplus);
    session.output.show(&rows)?;
    if session.output.is_text() {
        let reaches_end = surplus == 0 && since.is_none_or(|since| oldest.is_none_or(|oldest| since < oldest));
        match rows.is_empty() {
            true => remark(Remark::NoHistory { is_since: since.is_some() }),
            false if is_cut && reaches_end => remark(Remark::HistoryCut),
            false => {}
        }
    }
    Ok(ExitCode::Done)
}

/// What the events of the log tell, in their order.
#[derive(Default)]
struct Past {
    /// When the downloads began, by their ids.
    begun: HashMap<u32, u64>,
    rows: Vec<HistoryRow>,
}

impl Past {
    fn take(&mut self, event: EventRow) {
        if event.event == EventKind::Begun {
            self.begun.extend(event.download.map(|id| (id, event.time)));
            return;
        }
        if event.event == EventKind::Wish {
            return;
        }
        // Kept: a failed download may be retried.
        let begun = event.download.and_then(|id| self.begun.get(&id).copied());
        let is_done = event.event == EventKind::Done;
        let took = begun.map(|begun| event.time.saturating_sub(begun).max(1)).filter(|_| is_done);
        self.rows.push(HistoryRow {
            download: event.download,
            name: event.name,
            path: event.path,
            size: event.size,
            b3: event.b3,
            verified: event.verified,
            result: event.event,
            begun,
            finished: event.time,
            rate: event.size.zip(took).map(|(size, took)| size / took),
            peers: event.peers,
            error: event.error,
            copied_from: event.copied_from,
        });
    }
}
