//! The log of `pyrated`: levels and a format that can change, a file that can be reopened.
//!
//! `log_line` makes the lines, and `log_writer` writes them.

use super::log_line::{Form, LogFormat};
use super::log_output::Output;
use super::log_writer::LogWriter;
use super::value::LogPlace;
use log::{Level, LevelFilter, Metadata};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io;
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

/// Dependencies log at most warnings; the levels above are for our own messages.
const OTHERS_LEVEL_MAX: LevelFilter = LevelFilter::Warn;

/// How long the end of the process, and a reload, may wait for what is logged to be written: TERM is to be over in 5 s.
const SETTLE_MAX: Duration = Duration::from_millis(500);

/// How long a reload may wait for it. It runs beside the loop.
const RELOAD_SETTLE_MAX: Duration = Duration::from_secs(2);

/// The log, as long as the process lives. Clones control the same log.
#[derive(Clone)]
pub(super) struct Logging(Arc<Shared>);

struct Shared {
    level: AtomicU8,
    writer: LogWriter,
    /// Lines from now on go to standard error.
    to_stderr: AtomicBool,
    form: Form,
}

impl Logging {
    /// Makes this the log of the process, and has it tell of panics.
    pub(super) fn start(output: Output, level: LevelFilter, form: Form) -> io::Result<Self> {
        let logging = Self::new(output, level, form)?;
        logging.dispatch().apply().map_err(io::Error::other)?;
        logging.set_level(level);
        let panics = logging.clone();
        std::panic::set_hook(Box::new(move |panic| {
            let text = panics.log_panic(panic);
            // Where the log is a file, users look here as well. Nothing waits for a reader.
            let mut rest = text.as_bytes();
            while !panics.is_to_stderr() && !rest.is_empty() {
                let Ok(written) = Output::Stderr.write(rest, 0) else { return };
                rest = &rest[written..];
            }
        }));
        Ok(logging)
    }

    fn new(output: Output, level: LevelFilter, form: Form) -> io::Result<Self> {
        let to_stderr = AtomicBool::new(output.is_stderr());
        let of_loss = form.clone();
        let loss = move |to_stderr, message: &fmt::Arguments<'_>| {
            of_loss.plain(to_stderr, Level::Warn, module_path!(), message)
        };
        let writer = LogWriter::start(output, Box::new(loss))?;
        Ok(Self(Arc::new(Shared { level: AtomicU8::new(level as u8), writer, to_stderr, form })))
    }

    fn dispatch(&self) -> fern::Dispatch {
        let (filter, format, write) = (self.clone(), self.clone(), self.clone());
        fern::Dispatch::new()
            .level(LevelFilter::Trace)
            .filter(move |metadata| filter.admits(metadata))
            .format(move |out, message, record| {
                out.finish(format_args!("{}", format.0.form.line(format.is_to_stderr(), record, message)));
            })
            .chain(fern::Output::call(move |record| write.0.writer.push(&record.args().to_string())))
    }

    /// Changes the level from the next line on.
    pub(super) fn set_level(&self, level: LevelFilter) {
        self.0.level.store(level as u8, Ordering::Relaxed);
        log::set_max_level(level.max(OTHERS_LEVEL_MAX));
    }

    /// Changes the format from the next line on.
    pub(super) fn set_format(&self, format: LogFormat) {
        self.0.form.set(format);
    }

    fn is_to_stderr(&self) -> bool {
        self.0.to_stderr.load(Ordering::Relaxed)
    }

    /// Lines from now on go there.
    pub(super) fn switch(&self, output: Output) {
        let to_stderr = output.is_stderr();
        // Standard error is never opened again: what waits for it need not be given up.
        if !self.0.to_stderr.swap(to_stderr, Ordering::Relaxed) || !to_stderr {
            self.0.writer.switch(output);
        }
    }

    /// Opens the destination again, which may have been renamed. If that fails, lines go to the one before.
    pub(super) fn reopen(&self, place: &LogPlace) -> io::Result<()> {
        self.switch(Output::open(place)?);
        Ok(())
    }

    /// Waits until what was logged is written, but not for long.
    fn settle(&self) {
        self.0.writer.settle(SETTLE_MAX);
    }

    /// Opens the destination again, and waits until nothing is written to the one before.
    pub(super) fn reopen_settled(&self, place: &LogPlace) {
        // The check of the configuration reports a bad path.
        let _ = self.reopen(place);
        self.0.writer.settle(RELOAD_SETTLE_MAX);
    }

    /// Lines that could not be written since the start.
    pub(super) fn lines_lost(&self) -> u64 {
        self.0.writer.lines_lost()
    }

    /// Writes these lines to standard error, as they are, when the log before them is written; then the process may end. Where
    /// the log there is JSON they are records of it.
    pub(super) fn end(&self, complaints: &[String]) {
        let as_records = self.is_to_stderr() && self.0.form.is_json();
        if !complaints.is_empty() {
            self.switch(Output::Stderr);
        }
        for line in complaints {
            if as_records {
                self.push(Level::Error, &format_args!("{line}"));
            } else {
                self.0.writer.push(line);
            }
        }
        self.settle();
    }

    /// Logs a panic, and waits until that is written: the process may end at once. Returns the message.
    fn log_panic(&self, panic: &PanicHookInfo<'_>) -> String {
        let mut text = format!("thread '{}' {panic}\n", thread::current().name().unwrap_or("?"));
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            text += &backtrace.to_string();
        }
        for line in text.lines() {
            self.push(Level::Error, &format_args!("{line}"));
        }
        self.settle();
        text
    }

    fn push(&self, level: Level, message: &fmt::Arguments<'_>) {
        self.0.writer.push(&self.0.form.plain(self.is_to_stderr(), level, module_path!(), message));
    }

    fn admits(&self, metadata: &Metadata<'_>) -> bool {
        let level = level_from(self.0.level.load(Ordering::Relaxed));
        let ours = metadata.target().split("::").next().is_some_and(|root| root.starts_with("pyrate"));
        metadata.level() <= if ours { level } else { level.min(OTHERS_LEVEL_MAX) }
    }
}

/// The inverse of `level as u8`.
fn level_from(number: u8) -> LevelFilter {
    LevelFilter::iter().find(|&level| level as u8 == number).unwrap_or(LevelFilter::Info)
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::{Log, Record};
    use nix::libc;
    use std::fs::OpenOptions;
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;
    use std::time::SystemTime;

    fn clock() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)
    }

    fn say(log: &dyn Log, level: Level, target: &str, text: &str) {
        log.log(&Record::builder().level(level).target(target).args(format_args!("{text}")).build());
    }

    /// A log in a file, or on standard error, and what writes to it.
    fn log_at(place: &LogPlace) -> (Logging, Box<dyn Log>) {
        let form = Form::new(LogFormat::Text, true, clock);
        let logging = Logging::new(Output::open(place).unwrap(), LevelFilter::Info, form).unwrap();
        let (_, log) = logging.dispatch().into_log();
        (logging, log)
    }

    /// What is in a file when all is written that was logged.
    fn written(logging: &Logging, path: &Path) -> String {
        logging.0.writer.settle(Duration::from_secs(20));
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_line_carries_time_level_and_room_and_stays_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (logging, log) = log_at(&LogPlace::File(path.clone()));
        say(&*log, Level::Info, "pyrate::node::links", "registered with b.example:21168");
        say(&*log, Level::Warn, "pyrate::driver", "escaped \\x1b stays, \x1b[31m\nand \u{202e} do not");
        assert_eq!(
            written(&logging, &path),
            "2023-11-14T22:13:20.123Z info  node: registered with b.example:21168\n\
             2023-11-14T22:13:20.123Z warn  driver: escaped \\x1b stays, \\x1b[31m\\nand \\u{202e} do not\n"
        );
    }

    #[test]
    fn levels_change_at_once_and_never_open_the_gates_for_other_crates() {
        let (logging, _) = log_at(&LogPlace::Stderr);
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
        let (logging, log) = log_at(&place);
        say(&*log, Level::Info, "pyrate", "one");
        std::fs::rename(&path, &old).unwrap();
        say(&*log, Level::Info, "pyrate", "two");
        logging.reopen(&place).unwrap();
        say(&*log, Level::Info, "pyrate", "three");
        let lines = |path| written(&logging, path).lines().count();
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
        let (logging, log) = log_at(&LogPlace::File(path.clone()));
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
        say(&*log, Level::Info, "pyrate", "still here");
        assert!(written(&logging, &path).ends_with("still here\n"));
        logging.reopen(&LogPlace::File("/dev/null".into())).unwrap();
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (logging, log) = log_at(&LogPlace::File("/dev/full".into()));
        say(&*log, Level::Info, "pyrate", "lost");
        say(&*log, Level::Info, "pyrate", "lost too");
        logging.settle();
        assert_eq!(logging.lines_lost(), 2);
        logging.reopen(&LogPlace::File(path.clone())).unwrap();
        say(&*log, Level::Info, "pyrate", "kept");
        let told = "warn  daemon: 2 log lines lost: No space left on device (os error 28)\n";
        let time = "2023-11-14T22:13:20.123Z ";
        assert_eq!(written(&logging, &path), format!("{time}{told}{time}info  pyrate: kept\n"));
        assert_eq!(logging.lines_lost(), 2);
    }

    #[test]
    fn each_line_has_the_form_of_the_output_that_gets_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (logging, _) = log_at(&LogPlace::Stderr);
        let line = || logging.0.form.plain(logging.is_to_stderr(), Level::Info, "pyrate::node", &format_args!("x"));
        assert_eq!(line(), "<6>node: x");
        logging.reopen(&LogPlace::File(path)).unwrap();
        assert_eq!(line(), "2023-11-14T22:13:20.123Z info  node: x");
        logging.end(&[]);
        assert_eq!(line(), "2023-11-14T22:13:20.123Z info  node: x");
    }

    #[test]
    fn a_panic_is_in_the_log_before_anything_else_happens() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (logging, log) = log_at(&LogPlace::File(path.clone()));
        say(&*log, Level::Info, "pyrate", "before");
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| match thread::current().name() {
            Some("doomed") => drop(logging.log_panic(panic)),
            _ => others(panic),
        }));
        let doomed = thread::Builder::new().name("doomed".into()).spawn(|| panic!("one\ntwo"));
        assert!(doomed.unwrap().join().is_err());
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("error daemon: thread 'doomed' panicked at src/daemon/logging.rs:"), "{text}");
        assert!(lines[2].ends_with("daemon: one") && lines[3].ends_with("daemon: two"), "{text}");
    }
}
