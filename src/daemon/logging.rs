//! The log of `pyrated`: levels that can change, a file that can be reopened, the journal's priorities.
//!
//! Callers escape what came from the network; control characters that remain are escaped here, so that a record is always
//! one line.

use super::value::LogPlace;
use crate::name::Escaped;
use log::{Level, LevelFilter, Metadata};
use nix::libc;
use nix::unistd::{AccessFlags, eaccess};
use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Dependencies log at most warnings; the levels above are for our own messages.
const OTHERS_LEVEL_MAX: LevelFilter = LevelFilter::Warn;

/// The log, as long as the process lives. Clones control the same log.
#[derive(Clone)]
pub(super) struct Logging(Arc<Shared>);

struct Shared {
    level: AtomicU8,
    sink: Mutex<Sink>,
    /// Standard error leads to the journal, which adds the time and reads priorities.
    journal: bool,
    clock: fn() -> SystemTime,
}

/// The destination, and how many lines could not be written since the last one that could.
struct Sink {
    output: Output,
    lines_lost: u64,
}

enum Output {
    Stderr,
    File(File),
}

impl Logging {
    /// Opens the place and makes this the log of the process.
    pub(super) fn start(
        place: &LogPlace,
        level: LevelFilter,
        journal: bool,
        clock: fn() -> SystemTime,
    ) -> io::Result<Self> {
        let logging = Self::open(place, level, journal, clock)?;
        logging.dispatch().apply().map_err(io::Error::other)?;
        logging.set_level(level);
        Ok(logging)
    }

    fn open(place: &LogPlace, level: LevelFilter, journal: bool, clock: fn() -> SystemTime) -> io::Result<Self> {
        let sink = Mutex::new(Sink { output: Output::open(place)?, lines_lost: 0 });
        let level = AtomicU8::new(level as u8);
        Ok(Self(Arc::new(Shared { level, sink, journal, clock })))
    }

    fn dispatch(&self) -> fern::Dispatch {
        let (filter, format, write) = (self.clone(), self.clone(), self.clone());
        fern::Dispatch::new()
            .level(LevelFilter::Trace)
            .filter(move |metadata| filter.admits(metadata))
            .format(move |out, message, record| {
                let priority = format.0.journal && matches!(format.sink().output, Output::Stderr);
                let mark = if priority { Mark::Priority } else { Mark::Time((format.0.clock)()) };
                out.finish(format_args!("{}", Line { mark, level: record.level(), target: record.target(), message }));
            })
            .chain(fern::Output::call(move |record| write.sink().write(record.args())))
    }

    /// Changes the level from the next line on.
    pub(super) fn set_level(&self, level: LevelFilter) {
        self.0.level.store(level as u8, Ordering::Relaxed);
        log::set_max_level(level.max(OTHERS_LEVEL_MAX));
    }

    /// Opens the destination again, which may have been renamed or configured again. Until that succeeds, lines go to the one
    /// before.
    pub(super) fn reopen(&self, place: &LogPlace) -> io::Result<()> {
        let output = Output::open(place)?;
        self.sink().output = output;
        Ok(())
    }

    fn admits(&self, metadata: &Metadata<'_>) -> bool {
        let level = level_from(self.0.level.load(Ordering::Relaxed));
        let ours = metadata.target().split("::").next().is_some_and(|root| root.starts_with("pyrate"));
        metadata.level() <= if ours { level } else { level.min(OTHERS_LEVEL_MAX) }
    }

    fn sink(&self) -> MutexGuard<'_, Sink> {
        self.0.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    fn open(place: &LogPlace) -> io::Result<Self> {
        match place {
            LogPlace::Stderr => Ok(Self::Stderr),
            LogPlace::File(path) => append_to(path).map(Self::File),
        }
    }
}

/// Opens a file to append to. Anyone who may write to the directory can put anything under the name: a FIFO without a reader
/// must not block the daemon, and a terminal must not become its controlling terminal.
fn append_to(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().create(true).append(true).custom_flags(flags).open(path).map_err(|error| {
        // A FIFO without a reader, or a socket.
        if error.raw_os_error() == Some(libc::ENXIO) { no_log_file() } else { error }
    })?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_char_device() { Ok(file) } else { Err(no_log_file()) }
}

/// Whether [`Logging`] could append to a file, or make it.
pub(super) fn check_file(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if !(found.is_file() || found.file_type().is_char_device()) => Err(no_log_file()),
        Ok(_) => Ok(eaccess(path, AccessFlags::W_OK)?),
        // Its directory is not created.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = path.parent().unwrap_or(path);
            eaccess(directory, AccessFlags::W_OK | AccessFlags::X_OK)
                .map_err(io::Error::from)
                .map_err(|error| io::Error::new(error.kind(), format!("its directory: {error}")))
        }
        Err(error) => Err(error),
    }
}

fn no_log_file() -> io::Error {
    io::Error::other("neither a regular file nor a character device")
}

impl Sink {
    /// Writes a line immediately. Lines that cannot be written are counted, and the count is logged as soon as writing works
    /// again.
    fn write(&mut self, line: &fmt::Arguments<'_>) {
        let mut text = String::new();
        if self.lines_lost > 0 {
            text = format!("({} lines of the log were lost)\n", self.lines_lost);
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}");
        let written = match &mut self.output {
            Output::Stderr => io::stderr().lock().write_all(text.as_bytes()),
            Output::File(file) => file.write_all(text.as_bytes()),
        };
        self.lines_lost = if written.is_ok() { 0 } else { self.lines_lost.saturating_add(1) };
    }
}

/// The inverse of `level as u8`.
fn level_from(number: u8) -> LevelFilter {
    LevelFilter::iter().find(|&level| level as u8 == number).unwrap_or(LevelFilter::Info)
}

/// The beginning of a line.
enum Mark {
    /// The priority of syslog in angle brackets, for the journal.
    Priority,
    /// The time, for everyone else.
    Time(SystemTime),
}

struct Line<'a> {
    mark: Mark,
    level: Level,
    target: &'a str,
    message: &'a fmt::Arguments<'a>,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mark {
            Mark::Priority => write!(f, "<{}>", priority(self.level))?,
            Mark::Time(time) => {
                let level = self.level.as_str().to_ascii_lowercase();
                write!(f, "{} {level:<5} ", humantime::format_rfc3339_millis(time))?;
            }
        }
        // The top-level module, without the crate and the rest of the path.
        let target = self.target.strip_prefix("pyrate::").unwrap_or(self.target);
        write!(OneLine(f), "{}: {}", target.split("::").next().unwrap_or(target), self.message)
    }
}

/// The priorities of syslog(3).
const fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Escapes control characters. Backslashes stay, since they come from escaping already done.
struct OneLine<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive('\\') {
            let (plain, backslash) = part.strip_suffix('\\').map_or((part, ""), |plain| (plain, "\\"));
            write!(self.0, "{}{backslash}", Escaped(plain.as_bytes()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::{Log, Record};
    use std::time::Duration;

    fn clock() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)
    }

    fn say(log: &dyn Log, level: Level, target: &str, text: &str) {
        log.log(&Record::builder().level(level).target(target).args(format_args!("{text}")).build());
    }

    #[test]
    fn a_line_carries_time_level_and_room_and_stays_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let logging = Logging::open(&LogPlace::File(path.clone()), LevelFilter::Info, true, clock).unwrap();
        let (_, log) = logging.dispatch().into_log();
        say(&*log, Level::Info, "pyrate::node::links", "registered with b.example:21168");
        say(&*log, Level::Warn, "pyrate::driver", "escaped \\x1b stays, \x1b[31m\nand \u{202e} do not");
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "2023-11-14T22:13:20.123Z info  node: registered with b.example:21168\n\
             2023-11-14T22:13:20.123Z warn  driver: escaped \\x1b stays, \\x1b[31m\\nand \\u{202e} do not\n"
        );
    }

    #[test]
    fn levels_change_at_once_and_never_open_the_gates_for_other_crates() {
        let logging = Logging::open(&LogPlace::Stderr, LevelFilter::Info, false, clock).unwrap();
        let admits = |level, target: &str| logging.admits(&Metadata::builder().level(level).target(target).build());
        assert!(admits(Level::Info, "pyrate::node") && !admits(Level::Debug, "pyrate::node"));
        logging.set_level(LevelFilter::Trace);
        assert!(admits(Level::Trace, "pyrated") && !admits(Level::Info, "mio::poll") && admits(Level::Warn, "mio"));
        logging.set_level(LevelFilter::Error);
        assert!(!admits(Level::Warn, "mio") && !admits(Level::Warn, "pyrate::node"));
    }

    #[test]
    fn a_log_that_was_rotated_goes_on_in_a_new_file_and_loses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (path, old) = (directory.path().join("log"), directory.path().join("log.1"));
        let place = LogPlace::File(path.clone());
        let logging = Logging::open(&place, LevelFilter::Info, false, clock).unwrap();
        let (_, log) = logging.dispatch().into_log();
        say(&*log, Level::Info, "pyrate", "one");
        std::fs::rename(&path, &old).unwrap();
        say(&*log, Level::Info, "pyrate", "two");
        logging.reopen(&place).unwrap();
        say(&*log, Level::Info, "pyrate", "three");
        let lines = |path| std::fs::read_to_string(path).unwrap().lines().count();
        assert_eq!((lines(&old), lines(&path)), (2, 1));
        // A place that cannot be opened changes nothing.
        assert!(logging.reopen(&LogPlace::File(directory.path().join("no/log"))).is_err());
        say(&*log, Level::Info, "pyrate", "four");
        assert_eq!(lines(&path), 2);
    }

    #[test]
    fn only_files_and_character_devices_are_logs_and_nothing_holds_the_opening_up() {
        let directory = tempfile::tempdir().unwrap();
        let (path, pipe) = (directory.path().join("log"), directory.path().join("pipe"));
        let socket = directory.path().join("socket");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let logging = Logging::open(&LogPlace::File(path.clone()), LevelFilter::Info, false, clock).unwrap();
        let refused = |path: &Path| {
            let (logging, place) = (logging.clone(), LogPlace::File(path.to_owned()));
            let (done, ended) = std::sync::mpsc::channel();
            std::thread::spawn(move || done.send(logging.reopen(&place).unwrap_err().to_string()));
            ended.recv_timeout(Duration::from_secs(20)).expect("the opening is held up")
        };
        let why = "neither a regular file nor a character device";
        assert_eq!((refused(&pipe), refused(&socket)), (why.to_owned(), why.to_owned()));
        let _reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&pipe).unwrap();
        assert_eq!(refused(&pipe), why);
        assert!(refused(directory.path()).contains("directory"));
        // All the while, and after, lines go to where they went before.
        let (_, log) = logging.dispatch().into_log();
        say(&*log, Level::Info, "pyrate", "still here");
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("still here\n"));
        logging.reopen(&LogPlace::File("/dev/null".into())).unwrap();
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let place = LogPlace::File(directory.path().join("log"));
        let full = LogPlace::File("/dev/full".into());
        let logging = Logging::open(&full, LevelFilter::Info, false, clock).unwrap();
        let (_, log) = logging.dispatch().into_log();
        say(&*log, Level::Info, "pyrate", "lost");
        say(&*log, Level::Info, "pyrate", "lost too");
        logging.reopen(&place).unwrap();
        say(&*log, Level::Info, "pyrate", "kept");
        let text = std::fs::read_to_string(directory.path().join("log")).unwrap();
        assert!(text.starts_with("(2 lines of the log were lost)\n") && text.ends_with("kept\n"), "{text}");
    }

    #[test]
    fn the_journal_is_told_priorities_instead_of_time_and_level() {
        let line = |level| {
            let (mark, target) = (Mark::Priority, "pyrate::node::search");
            Line { mark, level, target, message: &format_args!("x") }.to_string()
        };
        assert_eq!(line(Level::Error), "<3>node: x");
        assert_eq!(line(Level::Info), "<6>node: x");
        assert_eq!(line(Level::Trace), "<7>node: x");
    }
}
