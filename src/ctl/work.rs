//! Commands that begin work in the daemon and wait for what it reports: `search`, `rescan`.

use super::Session;
use super::args::Search;
use super::clock::Deadline;
use super::connection::Heard;
use super::found::{HitOrder, nothing_found};
use super::output::{Output, remark};
use super::progress::Progress;
use super::query::all_hits;
use super::rows::{HIT_WIDTHS, Row, ScanResult, is_unverified};
use super::table::{Columns, Tone};
use super::text;
use super::values::as_shown;
use super::wording::{Failure, Remark};
use crate::control::{CallError, ExitCode, HitRow, Notice, RawText, Request, ScanNotice, SearchStarted};
use serde::de::IgnoredAny;
use std::collections::{BTreeMap, BTreeSet};

/// `search`: collects hits until the wait is over, Ctrl-C is pressed, or the daemon reports the end of a search that found
/// something. At a terminal each hit is shown when it comes, elsewhere all of them at the end.
pub(super) fn search(session: &mut Session, search: &Search) -> Result<ExitCode, CallError> {
    session.connection.watch_interrupts()?;
    let words: Vec<&[u8]> = search.text.iter().map(|word| &word.0[..]).collect();
    let words = as_shown(words.join(&b' '));
    let request = Request::Search { text: RawText::new(&words[..]), max: Some(search.max), ttl: search.ttl };
    let started: SearchStarted = session.call(&request)?;
    if let Some(why) = started.whole_names {
        remark(Remark::WholeNames { words: text::name(&words), why });
    }
    if search.wait.is_zero() {
        remark(Remark::SearchGoesOn);
        session.output.show::<[HitRow]>(&[])?;
        return Ok(ExitCode::Done);
    }
    let mut come = Come::new(session.output);
    let end = gather(session, started.search, Deadline::after(search.wait), &mut come)?;
    let (mut hits, truncated) = all_hits(session, Some(started.search))?;
    let order = HitOrder { key: search.sort, reverse: search.reverse };
    order.sort(&mut hits);
    let truncated = truncated || end.truncated;
    if let (true, Some(error)) = (hits.is_empty(), end.error) {
        return Err(error);
    }
    if session.output.is_live() {
        come.correct(&hits, order)?;
    } else {
        session.output.show(&hits[..])?;
    }
    session.remark_unverified(hits.iter().any(is_unverified));
    if truncated {
        remark(Remark::SearchTooWide);
    }
    if hits.is_empty() {
        remark(nothing_found(session, started.search, &words, started.whole_names));
        return Ok(ExitCode::NotFound);
    }
    if session.output.is_live() {
        remark(Remark::Hits(hits.len() as u64));
    }
    Ok(ExitCode::Done)
}

/// The hits that have come, and how they are shown at a terminal.
struct Come {
    output: Output,
    columns: Columns,
    /// The row shown for each, by id; empty unless at a terminal.
    rows: BTreeMap<u32, String>,
}

impl Come {
    fn new(output: Output) -> Self {
        let titles = HitRow::COLUMNS.iter().map(|(title, _)| *title).collect();
        Self { output, columns: Columns::fitted(titles, HIT_WIDTHS.to_vec(), output.look()), rows: BTreeMap::new() }
    }

    /// Adds a hit, and shows it at a terminal if it is new. Later changes of it are shown at the end.
    fn take(&mut self, hit: &HitRow) -> Result<(), CallError> {
        if self.rows.contains_key(&hit.id) {
            return Ok(());
        }
        let row = if self.output.is_live() { self.row(hit) } else { String::new() };
        let header = if self.rows.is_empty() { self.columns.header(self.output.look()) } else { String::new() };
        self.rows.insert(hit.id, row.clone());
        if self.output.is_live() { self.output.write(&(header + &row)).map(drop) } else { Ok(()) }
    }

    fn row(&self, hit: &HitRow) -> String {
        let look = self.output.look();
        let cells: Vec<String> = HitRow::COLUMNS.iter().map(|(_, cell)| cell(hit, look)).collect();
        self.columns.row(Tone::Plain, &cells, look)
    }

    /// Shows the hits as they are at the end, if they are others than those shown: in place of these, or below them where
    /// they have left the screen.
    fn correct(&mut self, hits: &[HitRow], order: HitOrder) -> Result<(), CallError> {
        let shown_well = |hit: &HitRow| self.rows.get(&hit.id).is_none_or(|shown| *shown == self.row(hit));
        let ids: BTreeSet<u32> = hits.iter().map(|hit| hit.id).collect();
        if order.is_of_arrival() && hits.iter().all(shown_well) && self.rows.keys().all(|id| ids.contains(id)) {
            return hits.iter().try_for_each(|hit| self.take(hit));
        }
        let again = self.output.rewind(self.rows.len() + 1).unwrap_or_else(|| "\n".into());
        self.rows.clear();
        self.output.write(&again)?;
        hits.iter().try_for_each(|hit| self.take(hit))
    }
}

/// How a search or a list ended, as far as it is known.
#[derive(Default)]
pub(super) struct SearchEnd {
    pub(super) truncated: bool,
    pub(super) error: Option<CallError>,
}

fn gather(session: &mut Session, search: u32, until: Deadline, come: &mut Come) -> Result<SearchEnd, CallError> {
    let progress = Progress::new();
    progress.say("searching".into());
    loop {
        match session.connection.next(until)? {
            Heard::Notice(Notice::Hit { search: of, hit }) if of == search => {
                progress.aside(|| come.take(&hit))?;
                progress.say(format!("searching: {}", text::count(come.rows.len() as u64, "hit")));
            }
            Heard::Notice(Notice::SearchDone { search: of, truncated, error, .. }) if of == search => {
                return Ok(SearchEnd { truncated, error });
            }
            Heard::Notice(_) | Heard::Unknown(_) => {}
            Heard::Deadline | Heard::Interrupted => return Ok(SearchEnd::default()),
            Heard::Ended => return Err(session.connection.hung_up()),
        }
    }
}

pub(super) fn rescan(session: &mut Session) -> Result<ExitCode, CallError> {
    session.connection.watch_interrupts()?;
    let _: IgnoredAny = session.call(&Request::Rescan)?;
    let result = scan(session)?;
    session.output.show(&result)?;
    if result.left_out > 0 && session.output.is_text() {
        remark(Remark::LeftOut { count: result.left_out });
    }
    Ok(ExitCode::Done)
}

fn scan(session: &mut Session) -> Result<ScanResult, CallError> {
    let progress = Progress::new();
    progress.say("scanning".into());
    let mut until = Deadline::after(session.timeout);
    loop {
        match session.connection.next(until)? {
            Heard::Notice(Notice::Scan(ScanNotice { done: true, error: Some(error), .. })) => return Err(error),
            Heard::Notice(Notice::Scan(scan)) if scan.done => return Ok(scan.into()),
            Heard::Notice(Notice::Scan(ScanNotice { files, .. })) => {
                progress.say(format!("scanning: {}", text::count(files, "file")));
                until = Deadline::after(session.timeout);
            }
            Heard::Notice(_) | Heard::Unknown(_) => {}
            Heard::Deadline => return Err(Failure::NoEndOfScan { within: session.timeout }.into()),
            Heard::Interrupted => return Err(Failure::ScanInterrupted.into()),
            Heard::Ended => return Err(session.connection.hung_up()),
        }
    }
}
