//! `events --since`: the event log, from an id on.

use super::Session;
use super::clock::Deadline;
use super::connection::Heard;
use super::output::Reader;
use crate::control::{CallError, EventLogReply, ExitCode, IdSpan, Notice, Request};
use serde::Serialize;

/// The line that stands for events that are not kept any more.
#[derive(Serialize)]
struct Gone {
    event: &'static str,
    #[serde(flatten)]
    ids: IdSpan,
}

pub(super) fn follow(session: &mut Session, since: u64) -> Result<ExitCode, CallError> {
    session.connection.watch_interrupts()?;
    let mut next = Some(since);
    while next.is_some() {
        let page: EventLogReply = session.call(&Request::EventLog { since: next })?;
        if let Some(ids) = page.gone
            && session.output.json(&Gone { event: "gone", ids })? == Reader::Gone
        {
            return Ok(ExitCode::Done);
        }
        for event in &page.events {
            if session.output.json(event)? == Reader::Gone {
                return Ok(ExitCode::Done);
            }
        }
        next = page.next;
    }
    let mut leaving = false;
    loop {
        let written = match session.connection.next(Deadline::NEVER)? {
            Heard::Notice(Notice::Logged(event)) => session.output.json(&event)?,
            Heard::Notice(notice) => {
                leaving |= notice == Notice::Leaving;
                continue;
            }
            Heard::Unknown(_) => continue,
            Heard::Ended if !leaving => return Err(session.connection.hung_up()),
            Heard::Ended | Heard::Interrupted | Heard::Deadline => return Ok(ExitCode::Done),
        };
        if written == Reader::Gone {
            return Ok(ExitCode::Done);
        }
    }
}
