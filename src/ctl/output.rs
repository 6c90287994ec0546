//! Where results and remarks go: results to the standard output in the form that the user chose, remarks to the
//! standard error.

use super::command_line::Form;
use super::rows::{Row, Show, cells_of, first_page_of};
use super::table::{Columns, Look, clip, separated};
use super::wording::{Failure, NoScreen, Remark};
use super::wrap::wrapped;
use crate::control::CallError;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;

#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    form: Form,
    /// For people at a terminal, who see rows as they come.
    live: bool,
    look: Look,
    /// How many lines above the cursor can be rewritten.
    redrawn_lines_max: usize,
}

impl Output {
    /// Writes in this form; at a terminal cut to its width, and in colour unless `NO_COLOR` is set.
    pub(super) fn new(form: Form) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let able = !is_dumb();
        let live = form == Form::Text && io::stdout().is_terminal();
        let width = if live { columns(&console::Term::stdout()) } else { None };
        let look = Look { colour: live && wanted && able, width, ascii: is_ascii_locale() };
        let height = console::Term::stdout().size_checked().map(|(rows, _columns)| usize::from(rows));
        let redrawn_lines_max = height.filter(|_| live && able).map_or(0, |rows| rows.saturating_sub(1));
        Self { form, live, look, redrawn_lines_max }
    }

    /// Whether rows are written one by one, because a user watches.
    pub(super) fn is_live(self) -> bool {
        self.live
    }

    /// Whether the standard output is a pipe, as to a pager.
    pub(super) fn is_pipe(self) -> bool {
        let output = io::stdout().as_fd().try_clone_to_owned();
        let metadata = output.and_then(|output| File::from(output).metadata());
        metadata.is_ok_and(|metadata| metadata.file_type().is_fifo())
    }

    /// Whether the standard output has a reader, as far as that shows without writing. It never does of a file.
    pub(super) fn reader(self) -> Reader {
        let stdout = io::stdout();
        let mut polled = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        let is_gone = |polled: &PollFd<'_>| {
            polled.revents().is_some_and(|events| events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP))
        };
        match poll(&mut polled, PollTimeout::ZERO) {
            Ok(_) if is_gone(&polled[0]) => Reader::Gone,
            _ => Reader::There,
        }
    }

    /// Whether the output is for people.
    pub(super) fn is_text(self) -> bool {
        self.form == Form::Text
    }

    /// How people see what is written.
    pub(super) fn look(self) -> Look {
        self.look
    }

    /// What makes these lines above the cursor disappear, if they can.
    pub(super) fn rewind(self, lines: usize) -> Option<String> {
        (1..=self.redrawn_lines_max).contains(&lines).then(|| format!("\r\x1b[{lines}A\x1b[J"))
    }

    pub(super) fn is_json(self) -> bool {
        self.form == Form::Json
    }

    /// Writes a whole result.
    pub(super) fn show<T: Show + Serialize + ?Sized>(self, result: &T) -> Result<(), CallError> {
        match self.form {
            Form::Text => self.write_lines(&result.people(self.look)),
            Form::Terse => self.write(&result.table().separated()),
            Form::Json => self.json(result),
        }
        .map(drop)
    }

    /// Writes one page of rows, of which further ones may follow: what is written of all pages is one document. Tables for
    /// people have the columns that fit the first page, if it is not the last.
    pub(super) fn show_page<R: Row + Serialize>(self, page: Page<'_, R>) -> Result<Reader, CallError> {
        let Page { rows, columns, is_first, is_last } = page;
        match self.form {
            Form::Text if is_first && is_last => self.write(&rows.people(self.look)),
            // Rows one by one, so that the memory of each is that of the last: a list has a million of them.
            Form::Text => {
                let mut text = String::new();
                let columns = columns.get_or_insert_with(|| {
                    let columns = first_page_of(rows, self.look).columns(R::WIDTHS_MIN, self.look);
                    text = columns.header(self.look);
                    columns
                });
                let shown: Vec<_> = R::COLUMNS.iter().filter(|(title, _)| columns.has(title)).copied().collect();
                for row in rows {
                    text += &columns.row(row.tone(), &cells_of(&shown, row, self.look), self.look);
                }
                self.write(&text)
            }
            Form::Terse if is_first => self.write(&rows.table().separated()),
            Form::Terse => {
                let mut text = String::new();
                for row in rows {
                    text += &separated(&cells_of(R::FIELDS, row, Look::default()));
                }
                self.write(&text)
            }
            Form::Json => {
                let mut text = if is_first { "[".to_owned() } else { String::new() };
                for (at, row) in rows.iter().enumerate() {
                    text += if is_first && at == 0 { "" } else { "," };
                    text += &visible(&json_of(row));
                }
                text += if is_last { "]\n" } else { "" };
                self.write(&text)
            }
        }
    }

    /// Ends the line of a document of JSON of which pages are missing: what follows is no part of it.
    pub(super) fn break_off(self) {
        if self.is_json() {
            // If this cannot be written, the error on the standard error still is.
            let _ = self.write("\n");
        }
    }

    /// Writes a result. If it has no row, people are shown the remark `none`.
    pub(super) fn show_or_remark<T: Show + Serialize + ?Sized>(
        self,
        result: &T,
        none: Remark,
    ) -> Result<(), CallError> {
        self.show(result)?;
        if result.is_empty() && self.form == Form::Text {
            remark(none);
        }
        Ok(())
    }

    /// A result as people see it at a terminal, or the remark `none` if it has no row; no line is wider than that.
    pub(super) fn rendered<T: Show + ?Sized>(self, result: &T, none: &Remark) -> String {
        let text = if result.is_empty() { none.to_string() } else { result.people(self.look) };
        wrapped(&text, self.look.width)
    }

    /// A line as far as it fits on the terminal.
    pub(super) fn clipped(self, line: &str) -> String {
        clip(line, self.look).into()
    }

    /// Rows and columns of the terminal.
    pub(super) fn terminal_size() -> Option<(u16, u16)> {
        console::Term::stdout().size_checked()
    }

    /// Writes an empty result for programs; people see nothing.
    pub(super) fn show_done(self) -> Result<(), CallError> {
        if self.is_json() { self.write("{}\n").map(drop) } else { Ok(()) }
    }

    /// Writes a JSON document on one line.
    pub(super) fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Reader, CallError> {
        self.write(&(visible(&json_of(value)) + "\n"))
    }

    /// Writes why there is no result, as a document if the user wants JSON, and always as a remark.
    pub(super) fn show_error(self, error: &CallError) {
        if self.is_json() {
            // If this cannot be written, the message below still is.
            let _ = self.json(&serde_json::json!({ "error": error }));
        }
        complain(&error.message);
    }

    /// Writes lines, wrapped at the width of a terminal.
    pub(super) fn write_lines(self, text: &str) -> Result<Reader, CallError> {
        self.write(&wrapped(text, self.look.width))
    }

    /// Writes text as it is.
    pub(super) fn write(self, text: &str) -> Result<Reader, CallError> {
        self.write_bytes(text.as_bytes())
    }

    /// Writes bytes as they are.
    pub(super) fn write_bytes(self, bytes: &[u8]) -> Result<Reader, CallError> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(Reader::There),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
            Err(error) => {
                let error = super::text::name(error.to_string().as_bytes());
                Err(Failure::CannotWrite { error }.into())
            }
        }
    }
}

/// One of the pages of a result.
pub(super) struct Page<'a, R> {
    pub(super) rows: &'a [R],
    /// Those of the first page, for the others.
    pub(super) columns: &'a mut Option<Columns>,
    pub(super) is_first: bool,
    pub(super) is_last: bool,
}

/// Our own types cannot fail to become JSON.
fn json_of<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".into())
}

/// Why the cursor of the terminal cannot be moved, if that is so.
pub(super) fn no_cursor() -> Option<NoScreen> {
    match std::env::var_os("TERM").filter(|term| !term.is_empty()) {
        None => Some(NoScreen::Nameless),
        Some(_) if is_dumb() => Some(NoScreen::Dumb),
        Some(_) => None,
    }
}

/// Whether the terminal cannot move its cursor.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Whether the user's locale has characters of ASCII alone, as far as its name tells: C and POSIX, and none at all.
pub(super) fn is_ascii_locale() -> bool {
    let set = |name: &&str| std::env::var_os(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set);
    let locale = locale.map(|locale| locale.to_string_lossy().to_ascii_lowercase().replace('-', ""));
    !locale.is_some_and(|locale| locale.contains("utf8"))
}

/// Whether the standard output still has a reader. A closed pipe is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// As far as we know.
    There,
    Gone,
}

/// Writes a line to the standard error, wrapped at the width of a terminal. Failure is ignored.
pub(super) fn remark(line: impl Display) {
    let _ = writeln!(io::stderr(), "{}", wrapped(&line.to_string(), error_columns()));
}

/// Writes an error to the standard error.
pub(super) fn complain(message: impl Display) {
    remark(Remark::Complaint(message.to_string()));
}

/// How wide the terminal is that shows the standard error, if it is one.
pub(super) fn error_columns() -> Option<usize> {
    columns(&console::Term::stderr())
}

/// How many rows the terminal has that shows the standard error, if it is one.
pub(super) fn error_rows() -> Option<usize> {
    console::Term::stderr().size_checked().map(|(rows, _columns)| usize::from(rows))
}

/// How wide a terminal is; `None` of what is none, or does not know.
fn columns(term: &console::Term) -> Option<usize> {
    let size = term.size_checked();
    size.map(|(_rows, columns)| usize::from(columns)).filter(|&columns| columns > 0)
}

/// JSON in which DEL, C1 controls and marks that reorder or hide text stand as `\u` escapes, as the C0 controls do
/// already. They can only be inside strings, so the document stays the same.
fn visible(json: &str) -> Cow<'_, str> {
    if json.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return json.into();
    }
    let mut text = String::with_capacity(json.len());
    let mut bytes = [0; 4];
    for c in json.chars() {
        let harmless = c == '\\' || super::text::name(c.encode_utf8(&mut bytes).as_bytes()).chars().eq([c]);
        if harmless {
            text.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_for_a_terminal_is_the_same_document() {
        let nasty = "a\u{7f}\u{9b}31m\u{202e}\x1b\\\"é🦀\n";
        let json = serde_json::to_string(nasty).unwrap();
        let shown = visible(&json);
        assert!(shown.contains("\\u007f\\u009b31m\\u202e\\u001b") && shown.contains("é🦀"), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), nasty);
    }
}
