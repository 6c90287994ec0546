//! `pause`, `resume`, `retry` and `cancel`: orders to existing downloads, and the outcome for each.

use super::output::{complain, remark};
use super::query::downloads_of;
use super::rows::{Order, Ordered};
use super::{Session, exit_code};
use crate::control::{CallError, DownloadRow, DownloadsReply, ExitCode, Request};

/// Gives the order, and shows the downloads that it concerned as they stand now.
pub(super) fn give(session: &mut Session, order: Order, ids: &[String]) -> Result<ExitCode, CallError> {
    let ids = ids.join(",");
    let answer: DownloadsReply = session.call(&request(order, ids))?;
    let rows = downloads_of(session, answer)?;
    let code = remark_not_remembered(&rows);
    if rows.is_empty() && session.output.is_text() {
        remark("nothing to do: no download is in a state that this changes");
    }
    session.output.show(&Ordered { rows, order })?;
    Ok(code)
}

/// Reports the downloads whose order could not be saved, which a restart will not know; the code of the first of them.
pub(super) fn remark_not_remembered(rows: &[DownloadRow]) -> ExitCode {
    let mut code = ExitCode::Done;
    for (id, why) in rows.iter().filter_map(|row| Some((row.id, row.not_remembered.as_ref()?))) {
        complain(&format!("download {id} is not remembered: {}", why.message));
        if code == ExitCode::Done {
            code = exit_code(why.code);
        }
    }
    code
}

fn request(order: Order, ids: String) -> Request {
    match order {
        Order::Pause => Request::Pause { ids },
        Order::Resume => Request::Resume { ids },
        Order::Retry => Request::Retry { ids },
        Order::Cancel => Request::Cancel { ids },
    }
}
