//! `--watch`: what a command shows, again and again, until Ctrl-C.
//!
//! A terminal is redrawn in place, without its alternate screen: nothing of it has to be restored, however the program ends, and
//! what was shown last stays. Programs get a JSON document a line.
//!
//! A command takes part with a field `watch` in its arguments, a line in [`Command::watch`](super::args::Command::watch),
//! and [`show`] for its result.

use super::Session;
use super::clock::Deadline;
use super::command_line::Form;
use super::connection::Heard;
use super::output::{Output, Reader, no_cursor};
use super::rows::Show;
use super::wording::{Failure, NoScreen, Remark};
use crate::control::{CallError, ExitCode};
use serde::Serialize;
use std::io::{self, IsTerminal};
use std::time::Duration;

/// How often the size of the terminal is looked at.
const SIZE_INTERVAL: Duration = Duration::from_millis(200);

/// Refuses to begin where nothing can be redrawn.
pub(super) fn check(form: Form) -> Result<(), CallError> {
    let why = match form {
        Form::Json => None,
        Form::Terse => Some(NoScreen::Form("--terse")),
        Form::Text if !io::stdout().is_terminal() => Some(NoScreen::NotATerminal("output")),
        Form::Text => no_cursor(),
    };
    why.map_or(Ok(()), |why| Err(Failure::CannotRedraw(why).into()))
}

/// Shows a result, once or at this interval. If it has no row, people are shown the remark `none`.
pub(super) fn show<T: Show + Serialize>(
    session: &mut Session,
    interval: Option<Duration>,
    none: Remark,
    mut read: impl FnMut(&mut Session) -> Result<T, CallError>,
) -> Result<ExitCode, CallError> {
    let Some(interval) = interval else {
        let result = read(session)?;
        session.output.show_or_remark(&result, none)?;
        return Ok(ExitCode::Done);
    };
    session.connection.watch_interrupts()?;
    let mut frame = Frame::default();
    loop {
        let due = Deadline::after(interval);
        let result = match read(session) {
            Err(error) if error == Failure::Interrupted.into() => return Ok(ExitCode::Done),
            result => result?,
        };
        let written = match session.output.is_json() {
            true => session.output.json(&result)?,
            false => frame.draw(&result, &none)?,
        };
        if written == Reader::Gone {
            return Ok(ExitCode::Done);
        }
        while !due.has_passed() {
            match session.connection.next(due.at_most(SIZE_INTERVAL))? {
                Heard::Interrupted => return Ok(ExitCode::Done),
                Heard::Ended => return Err(session.connection.hung_up()),
                Heard::Deadline if session.output.is_text() && frame.is_outgrown() => drop(frame.draw(&result, &none)?),
                Heard::Deadline | Heard::Notice(_) | Heard::Unknown(_) => {}
            }
        }
    }
}

/// What stands on the terminal.
#[derive(Default)]
struct Frame {
    lines: usize,
    /// Rows and columns of the terminal when it was drawn.
    size: Option<(u16, u16)>,
}

impl Frame {
    fn is_outgrown(&self) -> bool {
        self.size != Output::terminal_size()
    }

    /// Draws a result in place of the last one.
    fn draw<T: Show>(&mut self, result: &T, none: &Remark) -> Result<Reader, CallError> {
        // The terminal may have another size than at the last time.
        let output = Output::new(Form::Text);
        let (text, size) = (output.rendered(result, none), Output::terminal_size());
        let lines_max = size.map_or(usize::MAX, |(rows, _)| usize::from(rows).saturating_sub(1)).max(1);
        let all: Vec<&str> = text.lines().collect();
        let shown = if all.len() > lines_max { lines_max - 1 } else { all.len() };
        let mut drawn: String = all[..shown].iter().map(|line| format!("{line}\n")).collect();
        if shown < all.len() {
            drawn += &output.clipped(&Remark::LinesLeft((all.len() - shown) as u64).to_string());
        }
        // A terminal of another width has wrapped the lines anew: how many they are now is not known.
        let before = match self.size == size || self.lines == 0 {
            true => output.rewind(self.lines).unwrap_or_default(),
            false => "\x1b[H\x1b[2J".into(),
        };
        (self.lines, self.size) = (drawn.lines().count(), size);
        output.write(&(before + &drawn))
    }
}
