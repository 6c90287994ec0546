//! `pyrated`: the process around the loop.

use super::arguments::{self, NoOptions};
use super::compose::compose;
use super::config::{Config, leave_start_directory};
use super::fault::{EXIT_CONFIG, EXIT_OTHER, Fault};
use super::greeting::{announcement, client_command, status};
use super::keys::Options;
use super::load::{Loaded, Sources};
use super::log_line::Form;
use super::log_output::Output;
use super::logging::Logging;
use super::passed::take_passed;
use super::preflight::{check_start, check_user};
use super::probe::{Probed, RELOAD_WAIT_MAX, START_WAIT_MAX, log_answers, look_at};
use super::running::{Later, Running};
use super::sandbox::Sandbox;
use super::share_waits::waiting_shares;
use super::supervisor::{Supervisor, stderr_is_journal};
use super::value::{Kind, Level, LogPlace};
use crate::control::{RawText, ReloadReply, SandboxReply};
use crate::driver::{self, Facts, Host, Passed, RateTimes, Reload, ReloadJob, Report, Supervised};
use crate::name::Escaped;
use crate::store::note_sandbox;
use log::{error, info, warn};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fmt::Display;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, TryRecvError};

/// The program `pyrated`; the exit codes are those of pyrated(8).
pub fn main() -> ExitCode {
    let options = match arguments::read(std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(NoOptions::Help(text)) => return print(&text),
        Err(NoOptions::Misuse(lines)) => {
            lines.iter().for_each(complain);
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if options.version {
        return print(&format!("pyrated {}\n", env!("CARGO_PKG_VERSION")));
    }
    let sources = Sources { options, environment: std::env::vars_os().collect() };
    let loaded = match sources.load() {
        Ok(loaded) => loaded,
        Err(faults) => {
            faults.iter().for_each(complain);
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if sources.options.check || sources.options.dump_config {
        return show(&sources.options, &loaded);
    }
    // Before other descriptors are opened, and while there is one thread.
    let passed = check_user(&loaded.config).and_then(|()| take_passed(sources.variable("LISTEN_FDNAMES")));
    let looked = passed.and_then(|passed| Ok((passed, look_at([&loaded.config], START_WAIT_MAX)?)));
    let (mut passed, probed) = match looked {
        Ok(looked) => looked,
        Err(fault) => return refuse(&fault),
    };
    let control = loaded.config.control_socket.as_deref();
    if control.is_none_or(|path| !probed.is_hung(path)) {
        passed.settle_control(control);
    }
    // Before there is another thread: it restricts this one, and those made by it.
    let sandbox = Sandbox::enter(&loaded.config, &loaded.origins, &sources.files(), &probed);
    let logging = match start_log(&sources, &loaded, &probed) {
        Ok(logging) => logging,
        Err(fault) => return refuse(&fault),
    };
    let surroundings = |sandbox| Surroundings { sandbox, passed, probed };
    let outcome = sandbox.and_then(|sandbox| serve(sources, loaded, surroundings(sandbox), &logging));
    // The log may be a file: a user who starts the daemon by hand looks at standard error.
    let complaints = outcome.as_ref().err().map(complaints).unwrap_or_default();
    logging.end(&complaints.iter().map(complaint).collect::<Vec<_>>());
    outcome.map_or_else(|fault| ExitCode::from(fault.exit_code()), |()| ExitCode::SUCCESS)
}

/// What the process is given by its start.
struct Surroundings {
    sandbox: Sandbox,
    passed: Passed,
    probed: Probed,
}

/// Ends before there is a log.
fn refuse(fault: &Fault) -> ExitCode {
    complaints(fault).iter().for_each(complain);
    ExitCode::from(fault.exit_code())
}

/// `--check` and `--dump-config`.
fn show(options: &Options, loaded: &Loaded) -> ExitCode {
    loaded.remarks.iter().for_each(complain);
    if options.dump_config {
        return print(&loaded.dump());
    }
    let checked = look_at([&loaded.config], START_WAIT_MAX);
    let checked = checked.and_then(|probed| check_start(&loaded.config, &loaded.origins, &probed));
    let checked = checked.map(|remarks| remarks.iter().for_each(complain));
    let faults: Vec<Fault> = [checked, check_user(&loaded.config)].into_iter().filter_map(Result::err).collect();
    if !faults.is_empty() {
        faults.iter().flat_map(complaints).for_each(|complaint| complain(&complaint));
        return ExitCode::from(EXIT_CONFIG);
    }
    match &loaded.file {
        Some(path) => print(&format!("{}: good\n", Escaped::path(path))),
        None => print("no configuration file; options and environment are good\n"),
    }
}

fn start_log(sources: &Sources, loaded: &Loaded, probed: &Probed) -> Result<Logging, Fault> {
    let config = &loaded.config;
    // Before the log is opened, whose file may meet the limit.
    driver::survive_file_size_limit().map_err(Fault::Run)?;
    // Failure is harmless: a directory that was removed keeps no filesystem busy.
    let _ = leave_start_directory();
    let output = open_log(config, probed)
        // Reports all faults at once; those of the log are among them, unless it failed just now.
        .map_err(|fault| check_start(config, &loaded.origins, probed).err().unwrap_or(fault))?;
    let journal = stderr_is_journal(sources.variable("JOURNAL_STREAM"));
    let form = Form::new(config.log_format, journal, driver::wall_clock);
    Logging::start(output, config.log_level, form).map_err(Fault::LogWriter)
}

/// Runs until asked to leave.
fn serve(sources: Sources, loaded: Loaded, around: Surroundings, logging: &Logging) -> Result<(), Fault> {
    let Surroundings { sandbox, passed, probed } = around;
    let Loaded { config, file, origins, remarks } = loaded;
    if !config.on_this_machine_alone() {
        let by = file.as_ref().map_or_else(|| "without a file".to_owned(), |path| format!("by {}", path.display()));
        info!("pyrated {}, configured {by}", env!("CARGO_PKG_VERSION"));
    }
    remarks.iter().for_each(|remark| warn!("{remark}"));
    sandbox.log();
    if sandbox.restricts() {
        note_sandbox();
    }
    raise_descriptor_limit();
    let to_file = matches!(config.log_file, LogPlace::File(_));
    let running = Running::new(config.clone());
    let logging = logging.clone();
    let mut supervisor = Supervisor::of_environment(sources.variable("NOTIFY_SOCKET"));
    supervisor.take_back(passed.kept());
    let log_files = Vec::new();
    let mut host = Box::new(Service { sources, running, sandbox, logging, log_files, supervisor, checked: None });
    host.note_log_file();
    let driver = compose(&config, &origins, &probed, host, Some(passed));
    let outcome = driver.and_then(|driver| driver.run().map_err(Fault::Run));
    match &outcome {
        Ok(()) => info!("left"),
        Err(fault) if to_file => error!("{fault}"),
        Err(_) => {}
    }
    outcome
}

fn open_log(config: &Config, probed: &Probed) -> Result<Output, Fault> {
    let path = match &config.log_file {
        LogPlace::File(path) => path,
        LogPlace::Stderr => Path::new("stderr"),
    };
    let opened = probed.check(path).and_then(|()| Output::open(&config.log_file));
    opened.map_err(|error| Fault::Log { path: path.to_owned(), error })
}

/// Soft limits are low for select(2), which nothing here uses; the loop keeps its own budget below the
/// limit.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(soft, hard)| if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) });
    if let Err(errno) = raised {
        warn!("cannot raise the limit of open files: {errno}");
    }
}

/// Log files that one process remembers.
const LOG_FILES_MAX: usize = 64;

/// What the loop asks of the process around it.
struct Service {
    sources: Sources,
    running: Running,
    sandbox: Sandbox,
    logging: Logging,
    /// Those that this process has written to, the newest last.
    log_files: Vec<PathBuf>,
    supervisor: Supervisor,
    /// Brings what the last reload has read.
    checked: Option<Receiver<Result<Checked, Fault>>>,
}

impl Host for Service {
    fn ready(&mut self, facts: &Facts) {
        self.running.on_bound(facts);
        let config = self.running.config();
        self.supervisor.bound(status(config, facts));
        for line in announcement(config, facts, &client_command(&self.sources, facts)) {
            info!("{line}");
        }
        facts.metrics.iter().for_each(|addr| info!("metrics at http://{addr}/metrics"));
    }

    fn supervised(&self) -> Option<Supervised> {
        self.supervisor.wants()
    }

    fn hands_over(&self) -> bool {
        self.running.config().hand_over && self.supervisor.listens()
    }

    fn hand_over(&mut self, name: &str, sockets: &[BorrowedFd<'_>], is_watched: bool) -> bool {
        self.supervisor.keep(name, sockets, is_watched)
    }

    fn alive(&mut self) {
        self.supervisor.alive();
    }

    fn report(&mut self, report: &Report) {
        self.supervisor.report(report);
    }

    /// The log is reopened first, even when the configuration is bad: log rotation relies on it.
    fn reload(&mut self) -> ReloadJob {
        self.supervisor.reloading();
        let (sender, receiver) = mpsc::channel();
        self.checked = Some(receiver);
        let (sources, logging, sandbox) = (self.sources.clone(), self.logging.clone(), self.sandbox.clone());
        let in_force = self.running.config().clone();
        Box::new(move || {
            // After the reload nothing is written to a file that was renamed: it may be compressed.
            if log_answers(&in_force.log_file) {
                logging.reopen_settled(&in_force.log_file);
            }
            // Fails only when the daemon ends meanwhile.
            let _ = sender.send(load_checked(&sources, &sandbox, &in_force));
        })
    }

    fn reloaded(&mut self) -> Result<Reload, String> {
        let outcome = self.put_in_force();
        match &outcome {
            Ok(reload) => log_reload(&reload.report),
            Err(reason) => error!("the configuration stays as it was: {reason}"),
        }
        self.supervisor.reloaded();
        outcome
    }

    fn set_log_level(&mut self, level: &str) -> Result<(), String> {
        let level = Level::word(level)?;
        self.logging.set_level(level);
        self.running.set_log_level(level);
        info!("log level is {} until the next start or reload", level.as_str().to_lowercase());
        Ok(())
    }

    fn log_files(&self) -> &[PathBuf] {
        &self.log_files
    }

    fn log_lines_lost(&self) -> u64 {
        self.logging.lines_lost()
    }

    fn sandbox(&self) -> SandboxReply {
        self.sandbox.reply()
    }

    fn leaving(&mut self) {
        self.supervisor.stopping();
    }
}

impl Service {
    fn put_in_force(&mut self) -> Result<Reload, String> {
        // What comes later is dropped.
        let receiver = self.checked.take();
        let checked = receiver.map_or(Err(TryRecvError::Disconnected), |receiver| receiver.try_recv());
        let checked = checked.map_err(|error| match error {
            TryRecvError::Empty => {
                "a disk does not answer: that of its file, or of a directory that it names; reload again when all do"
            }
            TryRecvError::Disconnected => "an internal error, which is in the log above",
        })?;
        let checked = checked.map_err(|fault| fault.to_string())?;
        let Checked { loaded, limit_times, log, later } = checked;
        let next = loaded.config;
        self.logging.switch(log);
        self.logging.set_level(next.log_level);
        self.logging.set_format(next.log_format);
        let file = loaded.file.map(|path| RawText::new(path.as_os_str().as_bytes()));
        let mut report = ReloadReply { file, ..self.running.apply_within(&next, later) };
        report.remarks.splice(..0, loaded.remarks);
        self.note_log_file();
        Ok(self.running.reload(limit_times, report))
    }

    /// Remembers where the log goes.
    fn note_log_file(&mut self) {
        if let LogPlace::File(path) = &self.running.config().log_file
            && !self.log_files.contains(path)
        {
            if self.log_files.len() >= LOG_FILES_MAX {
                self.log_files.remove(0);
            }
            self.log_files.push(path.clone());
        }
    }
}

/// A configuration that could be put in force.
struct Checked {
    loaded: Loaded,
    limit_times: RateTimes,
    log: Output,
    later: Later,
}

/// Reads a configuration that could start, and opens its log, or that in force if the new one lies outside of the sandbox. The
/// remarks are those on both.
fn load_checked(sources: &Sources, sandbox: &Sandbox, in_force: &Config) -> Result<Checked, Fault> {
    let mut loaded = sources.load().map_err(Fault::Config)?;
    let probed = look_at([&loaded.config, in_force], RELOAD_WAIT_MAX)?;
    loaded.remarks.extend(check_start(&loaded.config, &loaded.origins, &probed)?);
    let next = &loaded.config;
    let downloads = next.download_directory.as_ref().unwrap_or(&in_force.local_directory);
    let moves = downloads != in_force.effective_download_directory();
    let is_outside = [
        ("download_directory", moves && next.peer && in_force.peer && !sandbox.covers_downloads(downloads, &probed)),
        ("log_file", next.log_file != in_force.log_file && !sandbox.covers_log(&next.log_file, &probed)),
    ];
    let outside: Vec<_> = is_outside.into_iter().filter(|(_, is_outside)| *is_outside).map(|(key, _)| key).collect();
    let log = open_log(if outside.contains(&"log_file") { in_force } else { next }, &probed)?;
    let later = Later { shares: waiting_shares(next, in_force, sandbox, &probed), outside };
    Ok(Checked { limit_times: loaded.config.limit_times(), loaded, log, later })
}

/// Says what a reload did, a line for each key.
fn log_reload(report: &ReloadReply) {
    report.remarks.iter().for_each(|remark| warn!("{remark}"));
    info!("configuration reloaded{}", if report.changed.is_empty() { ", no value in force has changed" } else { "" });
    for changed in &report.changed {
        info!("{} is {} now, and was {}", changed.key, or_unset(&changed.in_force), or_unset(&changed.was));
    }
    for waiting in &report.waiting {
        let (is, will_be) = (or_unset(&waiting.in_force), or_unset(&waiting.next_start));
        warn!("{} stays {is} until the next start, and will be {will_be} then", waiting.key);
    }
}

/// A value as in the configuration file.
fn or_unset(value: &serde_json::Value) -> String {
    if value.is_null() { "unset".to_owned() } else { value.to_string() }
}

/// Writes to standard output. A closed pipe is no error.
fn print(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(EXIT_OTHER),
        _ => ExitCode::SUCCESS,
    }
}

/// All that is wrong, one a line.
fn complaints(fault: &Fault) -> Vec<String> {
    match fault {
        Fault::Config(faults) | Fault::NoAnswer(faults) | Fault::NoSuchAddress(faults) => {
            faults.iter().map(ToString::to_string).collect()
        }
        other => vec![other.to_string()],
    }
}

/// Writes to standard error, while there is no log; failure is ignored.
fn complain(what: &(impl Display + ?Sized)) {
    let _ = writeln!(io::stderr().lock(), "{}", complaint(what));
}

fn complaint(what: &(impl Display + ?Sized)) -> String {
    format!("pyrated: {what}")
}
