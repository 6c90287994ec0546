//! `pause`, `resume`, `retry` and `cancel`: orders to downloads that are there, and what became of each.

use super::Session;
use super::query::downloads_after;
use super::rows::{Order, Ordered};
use crate::control::{CallError, DownloadRow, DownloadsReply, ExitCode, Request, parse_ids};
use std::collections::BTreeSet;

/// Gives the order, and shows the downloads that it concerned as they stand now.
pub(super) fn give(session: &mut Session, order: Order, ids: &[String]) -> Result<ExitCode, CallError> {
    let ids = ids.join(",");
    let page: DownloadsReply = session.call(&request(order, ids.clone()))?;
    let mut rows = page.downloads;
    if page.next.is_some() {
        rest(session, order, &ids, &mut rows)?;
    }
    session.output.show(&Ordered { rows, order })?;
    Ok(ExitCode::Done)
}

fn request(order: Order, ids: String) -> Request {
    match order {
        Order::Pause => Request::Pause { ids },
        Order::Resume => Request::Resume { ids },
        Order::Retry => Request::Retry { ids },
        Order::Cancel => Request::Cancel { ids },
    }
}

/// Adds the rows that the answer had no room for.
fn rest(session: &mut Session, order: Order, ids: &str, rows: &mut Vec<DownloadRow>) -> Result<(), CallError> {
    let all = downloads_after(session, 0)?;
    // What `all` stood for cannot be told any more: some that it did may be over now.
    let mut chosen: BTreeSet<u32> = match ids.split(',').any(|part| part.trim() == "all") {
        true => all.iter().filter(|row| order.leads_to(row.state)).map(|row| row.id).collect(),
        false => parse_ids(ids, all.iter().map(|row| row.id))?.into_iter().collect(),
    };
    for row in rows.iter() {
        chosen.remove(&row.id);
    }
    rows.extend(all.into_iter().filter(|row| chosen.contains(&row.id)));
    Ok(())
}
