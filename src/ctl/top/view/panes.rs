//! The lists, of which only the rows on the screen are worked out.

use super::canvas::Canvas;
use crate::control::{DownloadRow, HitRow, PeerRow, SourceState, UploadState};
use crate::ctl::rows::{Row, done_share, remark, sources};
use crate::ctl::table::{Look, Table, Tone};
use crate::ctl::text::{UNKNOWN, name, or_unknown, size, span, word};
use crate::ctl::top::model::{Model, Pane, PeerSearch, Progress, Stage, Upload};
use ratatui::layout::Rect;
use std::time::Duration;

/// Cells of a bar of progress.
const BAR_CELLS: usize = 10;

/// A column of transfers: the least width of the screen that has it, its title as in [`Table::new`], its least width.
type TransferColumn = (u16, &'static str, usize, fn(&DownloadRow, Look) -> String);

const TRANSFER_COLUMNS: [TransferColumn; 9] = [
    (0, ">ID", 3, |row, _| row.id.to_string()),
    (0, "/NAME", 0, |row, _| name(row.name.as_bytes())),
    (40, "STATE", 9, |row, _| word(&row.state)),
    (100, "DONE", BAR_CELLS + 5, |row, look| bar(row, look)),
    (24, ">DONE", 4, |row, _| done_share(row)),
    (70, ">SIZE", 9, |row, _| or_unknown(row.size, size)),
    (48, ">RATE", 10, |row, _| or_unknown(row.rate, |rate| size(rate) + "/s")),
    (80, ">ETA", 10, |row, _| or_unknown(row.eta_s, span)),
    (110, ">SOURCES", 7, |row, _| row.sources.len().to_string()),
];

/// The same of uploads, with the time.
type UploadColumn = (u16, &'static str, usize, fn(&Upload, Duration) -> String);

const UPLOAD_COLUMNS: [UploadColumn; 6] = [
    (0, "TO", 15, |row, _| row.to.to_string()),
    (0, "/NAME", 0, |row, _| upload_name(row)),
    (50, "STATE", 10, |row, _| upload_state(row)),
    (60, ">SENT", 9, |row, _| or_unknown(row.bytes, size)),
    (40, ">RATE", 10, |row, _| or_unknown(row.rate, |rate| size(rate) + "/s")),
    (70, ">TIME", 9, |row, now| span(row.lasted(now).as_secs())),
];

/// `====>       45%`.
fn bar(row: &DownloadRow, look: Look) -> String {
    let share = row.size.and_then(|size| (u128::from(row.bytes_done) * BAR_CELLS as u128).checked_div(size.into()));
    let full = usize::try_from(share.unwrap_or(0)).unwrap_or(BAR_CELLS).min(BAR_CELLS);
    let (one, none) = if look.ascii { ("=", "-") } else { ("█", "░") };
    format!("{}{} {:>4}", one.repeat(full), none.repeat(BAR_CELLS - full), done_share(row))
}

pub(super) fn draw(canvas: &mut Canvas, area: Rect, model: &Model, pane: Pane, now: Duration) {
    let look = canvas.look(area);
    match pane {
        Pane::Transfers => draw_transfers(canvas, area, model),
        Pane::Uploads => {
            let rows = shown(model, pane, area, model.uploads.rows());
            let columns: Vec<&UploadColumn> =
                UPLOAD_COLUMNS.iter().filter(|(least, ..)| area.width >= *least).collect();
            let widths: Vec<usize> = columns.iter().map(|(_, _, width, _)| *width).collect();
            let none = "no peer fetches anything, and no upload has ended since this screen was opened";
            draw_table(canvas, area, (model, pane), uploads(&rows, &columns, now), &widths, none);
        }
        Pane::Peers => {
            let rows: Vec<&PeerRow> = shown(model, pane, area, model.peers.iter());
            draw_table(canvas, area, (model, pane), of_rows(&rows, look), &[21, 9, 7, 14], "no peer is known");
        }
        Pane::Searches => {
            let rows = shown(model, pane, area, model.searches.rows());
            let none = "no search of a peer has come by since this screen was opened";
            draw_table(canvas, area, (model, pane), searches(&rows, now), &[12, 0, 3, 21], none);
        }
        Pane::Hits => draw_hits(canvas, area, model),
    }
}

/// The rows of a pane that are on the screen below the header: those around the one that is selected.
fn shown<T>(model: &Model, pane: Pane, area: Rect, rows: impl Iterator<Item = T>) -> Vec<T> {
    let room = usize::from(area.height.saturating_sub(1));
    rows.skip(first_shown(model, pane, room)).take(room).collect()
}

/// Which row is the first on the screen.
fn first_shown(model: &Model, pane: Pane, room: usize) -> usize {
    let last_first = model.len(pane).saturating_sub(room);
    model.selected(pane).saturating_sub(room / 2).min(last_first)
}

/// Draws the rows of a pane that are on the screen, or what is said if there are none.
fn draw_table(
    canvas: &mut Canvas,
    area: Rect,
    (model, pane): (&Model, Pane),
    (table, tones): (Table, Vec<Tone>),
    widths_min: &[usize],
    none: &str,
) {
    if tones.is_empty() {
        canvas.faint(area, none);
        return;
    }
    let look = canvas.look(area);
    let columns = table.columns(widths_min, look);
    canvas.header(area, columns.header(look).trim_end_matches('\n'));
    let first = first_shown(model, pane, usize::from(area.height.saturating_sub(1)));
    let selected = (pane == model.pane).then(|| model.selected(pane).saturating_sub(first));
    for (at, (line, tone)) in table.rows_in(&columns, look).lines().zip(tones).enumerate() {
        let below = u16::try_from(at + 1).unwrap_or(u16::MAX);
        canvas.row(area, below, line, tone, selected == Some(at));
    }
}

fn draw_transfers(canvas: &mut Canvas, area: Rect, model: &Model) {
    // What is selected is shown in full below, where there is room.
    let details = if area.height >= 12 { (area.height / 3).min(10) } else { 0 };
    let list = Rect { height: area.height - details, ..area };
    let look = canvas.look(area);
    let columns: Vec<&TransferColumn> = TRANSFER_COLUMNS
        .iter()
        .filter(|(least, title, ..)| area.width >= *least && (*title != ">DONE" || area.width < 100))
        .collect();
    let mut table = Table::new(&columns.iter().map(|(_, title, ..)| *title).collect::<Vec<_>>());
    let ids = shown(model, Pane::Transfers, list, model.transfers.ids().iter());
    let mut tones = Vec::new();
    for row in ids.into_iter().filter_map(|id| model.transfers.get(*id)) {
        table.push(row.tone(), columns.iter().map(|(.., cell)| cell(row, look)).collect());
        tones.push(row.tone());
    }
    let widths: Vec<usize> = columns.iter().map(|(_, _, width, _)| *width).collect();
    let none = "no download is remembered; / searches the network";
    draw_table(canvas, list, (model, Pane::Transfers), (table, tones), &widths, none);
    if let Some(row) = model.transfer() {
        draw_details(canvas, Rect { y: list.y + list.height, height: details, ..area }, row);
    }
}

/// The download that is selected: its remark, and its sources, those first that send.
fn draw_details(canvas: &mut Canvas, area: Rect, row: &DownloadRow) {
    if area.height < 3 {
        return;
    }
    let told = remark(row);
    let told = if told == UNKNOWN { String::new() } else { format!(": {told}") };
    canvas.title(area, &format!("{} {}{told}", row.id, name(row.name.as_bytes())), false);
    let mut row = row.clone();
    row.shares.sort_by_key(|source| (source.state != SourceState::Active, std::cmp::Reverse(source.rate)));
    let text = sources(&row, canvas.look(area));
    let (lines, room) = (text.lines().count(), usize::from(area.height - 1));
    for (below, line) in (1..).zip(text.lines().take(room)) {
        canvas.line(area, below, line);
    }
    if lines > room {
        canvas.line(area, area.height - 1, &format!("    and {} more", lines - room + 1));
    }
}

fn uploads(rows: &[&Upload], columns: &[&UploadColumn], now: Duration) -> (Table, Vec<Tone>) {
    let mut table = Table::new(&columns.iter().map(|(_, title, ..)| *title).collect::<Vec<_>>());
    let tone_of = |upload: &Upload| match &upload.stage {
        Stage::InProgress(UploadState::Sending) => Tone::Plain,
        Stage::InProgress(_) | Stage::Ended { error: None, .. } => Tone::Faint,
        Stage::Ended { error: Some(_), .. } => Tone::Bad,
    };
    for upload in rows {
        table.push(tone_of(upload), columns.iter().map(|(.., cell)| cell(upload, now)).collect());
    }
    (table, rows.iter().map(|upload| tone_of(upload)).collect())
}

/// The name, and why it was not sent to the end.
fn upload_name(upload: &Upload) -> String {
    let error = if let Stage::Ended { error, .. } = &upload.stage { error.as_ref() } else { None };
    let error = error.map_or_else(String::new, |error| format!(": {}", name(error.as_bytes())));
    name(upload.name.as_bytes()) + &error
}

fn upload_state(upload: &Upload) -> String {
    match &upload.stage {
        Stage::InProgress(state) => word(state),
        Stage::Ended { error: None, .. } => "sent".to_owned(),
        Stage::Ended { error: Some(_), .. } => "failed".to_owned(),
    }
}

fn searches(rows: &[&PeerSearch], now: Duration) -> (Table, Vec<Tone>) {
    let mut table = Table::new(&[">SEEN", "~TEXT", ">TTL", "REQUESTER", "FROM"]);
    for search in rows {
        let seen = span(now.saturating_sub(search.at).as_secs()) + " ago";
        // It came from the requester itself, or was passed on.
        let is_direct = search.from.ip().to_canonical() == search.requester.ip().to_canonical();
        let from = if is_direct { UNKNOWN.to_owned() } else { search.from.ip().to_canonical().to_string() };
        let text = name(search.text.as_bytes());
        table.push(Tone::Plain, vec![seen, text, search.ttl.to_string(), search.requester.to_string(), from]);
    }
    (table, vec![Tone::Plain; rows.len()])
}

fn of_rows<R: Row>(rows: &[&R], look: Look) -> (Table, Vec<Tone>) {
    let mut table = Table::new(&R::COLUMNS.iter().map(|(title, _)| *title).collect::<Vec<_>>());
    for row in rows {
        table.push(row.tone(), R::COLUMNS.iter().map(|(_, cell)| cell(row, look)).collect());
    }
    (table, rows.iter().map(|row| row.tone()).collect())
}

fn draw_hits(canvas: &mut Canvas, area: Rect, model: &Model) {
    let Some(ours) = &model.ours else {
        return canvas.faint(area, "/ searches the network");
    };
    let text = name(ours.text.as_bytes());
    let progress = match ours.progress {
        Progress::Begun | Progress::Running(_) => "searching",
        Progress::Over(_) => "searched",
    };
    canvas.line(area, 0, &format!("{progress}: {text}"));
    let list = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let rows: Vec<&HitRow> = shown(model, Pane::Hits, list, ours.rows());
    let table = of_rows(&rows, canvas.look(list));
    draw_table(canvas, list, (model, Pane::Hits), table, &[3, 0, 10, 7, 10], "no hit");
}
