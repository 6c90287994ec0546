//! `pyrated` as its supervisor meets it: command line, configuration, exit codes, signals, readiness, log.
//!
//! Readiness is heard over `$NOTIFY_SOCKET`, as systemd does, so that nothing here sleeps.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;
use tempfile::TempDir;

#[path = "daemon/activation.rs"]
mod activation;
#[path = "daemon/handed_listeners.rs"]
mod handed_listeners;
#[path = "daemon/handing_over.rs"]
mod handing_over;
#[path = "daemon/in_use.rs"]
mod in_use;
#[path = "common/not_tested.rs"]
mod not_tested;
#[path = "daemon/supervision.rs"]
mod supervision;

use not_tested::not_tested;

/// Far longer than anything here takes, so that a failure is told and not waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A home of its own, in which nothing is configured.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::create_dir(home.path("share")).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn word(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// `pyrated`, seeing nothing of our environment. Root may run it, since root runs the tests in containers.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pyrated"));
        command.env_clear().env("HOME", self.0.path()).env("PYRATE_ALLOW_ROOT", "true").args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts a bootstrap node on a free port, and waits until it says that it is ready.
    fn start(&self, arguments: &[&str]) -> Running {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--peer", "false", "--bootstrap-serve", "127.0.0.1:0"]);
        self.start_any(&arguments)
    }

    fn start_any(&self, arguments: &[&str]) -> Running {
        self.start_watched(arguments, &[])
    }

    /// Starts a daemon with further variables in its environment.
    fn start_watched(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Running {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        self.start_by(command)
    }

    /// Starts a daemon by a command, as a service.
    fn start_by(&self, mut command: Command) -> Running {
        let notify = self.path("notify");
        let _ = fs::remove_file(&notify);
        let ears = UnixDatagram::bind(&notify).unwrap();
        ears.set_read_timeout(Some(PATIENCE)).unwrap();
        let stderr = File::create(self.path("stderr")).unwrap();
        let metadata = stderr.metadata().unwrap();
        command.env("NOTIFY_SOCKET", notify).stderr(stderr);
        command.env("JOURNAL_STREAM", format!("{}:{}", metadata.dev(), metadata.ino()));
        let running = Running { child: command.spawn().unwrap(), ears };
        let ready = running.hear();
        assert!(ready.starts_with("READY=1\nSTATUS="), "{ready}");
        running
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.path("stderr")).unwrap()
    }
}

/// A daemon that has said that it is ready. Ended when dropped.
struct Running {
    child: Child,
    ears: UnixDatagram,
}

impl Running {
    /// The next thing that it tells its supervisor.
    fn hear(&self) -> String {
        let mut bytes = [0; 4096];
        // A wait with a time limit is not resumed after the process was stopped for a moment (signal(7)).
        let length = loop {
            match self.ears.recv(&mut bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                received => break received.expect("the daemon says nothing"),
            }
        };
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    fn hears_within(&self, wait: Duration) -> bool {
        self.ears.set_read_timeout(Some(wait)).unwrap();
        let is_heard = self.ears.recv(&mut [0; 4096]).is_ok();
        self.ears.set_read_timeout(Some(PATIENCE)).unwrap();
        is_heard
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Asks it to leave, and returns its exit code.
    fn leave(mut self) -> Option<i32> {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        assert!(self.hear().starts_with("STOPPING=1\n"));
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_samples_that_we_ship_are_good() {
    let home = Home::new();
    for sample in ["pyrated.toml", "pyrate-bootstrap.toml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(sample);
        // This machine may lack the directories of the sample.
        let share = home.word("share");
        let check = |config: &str| {
            let directories = ["--local-directory", &share, "--download-directory", &share];
            let checked = home.command(&["--check", "--config", config]).args(directories).output().unwrap();
            assert_eq!((checked.status.code(), stderr(&checked)), (Some(0), String::new()), "{sample}");
        };
        check(path.to_str().unwrap());
        // What stands behind a # must be good as well, for whoever takes the # away.
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("# "));
        let all: Vec<&str> = lines.map(|line| line.strip_prefix('#').unwrap_or(line)).collect();
        fs::write(home.path("all.toml"), all.join("\n")).unwrap();
        check(&home.word("all.toml"));
    }
}

#[test]
fn what_is_installed_is_where_systemd_looks_for_it() {
    let home = Home::new();
    fs::create_dir_all(home.path("built/release")).unwrap();
    for program in ["pyrated", "pyratectl"] {
        fs::write(home.path("built/release").join(program), program).unwrap();
    }
    for (prefix, units) in [("/usr", "/usr/lib"), ("/usr/local//", "/usr/local/lib"), ("/opt/pyrate", "/etc")] {
        let root = home.path(&format!("root{}", prefix.replace('/', "-")));
        let mut install = Command::new("bash");
        install.args([concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/install"), "copy"]).env("PREFIX", prefix);
        let install = install.env("DESTDIR", &root).env("CARGO_TARGET_DIR", home.path("built")).output().unwrap();
        assert!(install.status.success(), "{}", stderr(&install));
        let read = |path: &str| fs::read_to_string(root.join(path.trim_start_matches('/'))).expect(path);
        let bin = format!("{}/bin", prefix.trim_end_matches('/'));
        assert_eq!(read(&format!("{bin}/pyratectl")), "pyratectl");
        for (unit, program) in [("pyrated", "pyrated"), ("pyrate-bootstrap", "pyrated"), ("pyrate-hooks", "pyratectl")]
        {
            let text = read(&format!("{units}/systemd/system/{unit}.service"));
            assert!(text.contains(&format!("\nExecStart={bin}/{program} ")), "{text}");
        }
        read(&format!("{units}/systemd/system/pyrated.socket"));
        read(&format!("{units}/sysusers.d/pyrate.conf"));
        read(&format!("{units}/tmpfiles.d/pyrate.conf"));
        read("/etc/pyrate/pyrated.toml");
        let pages = format!("{}/share/man", prefix.trim_end_matches('/'));
        for page in ["man1/pyratectl.1", "man5/pyrated.toml.5", "man7/pyrate.7", "man8/pyrated.8"] {
            read(&format!("{pages}/{page}"));
        }
    }
    // Units could not name the programs there: nothing is copied.
    for prefix in ["opt/pyrate", "/opt/my pyrate", "/opt/a&b#c", "/opt/100%"] {
        let root = home.path("refused");
        let mut install = Command::new("bash");
        install.args([concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/install"), "copy"]).env("PREFIX", prefix);
        let install = install.env("DESTDIR", &root).env("CARGO_TARGET_DIR", home.path("built")).output().unwrap();
        assert!(install.status.code() == Some(2) && stderr(&install).contains("PREFIX"), "{}", stderr(&install));
        assert!(!root.exists());
    }
}

#[test]
fn a_bad_configuration_is_named_by_file_line_and_key_and_starts_nothing() {
    let home = Home::new();
    fs::write(home.path("bad.toml"), "# ports\nlisten_port = 65536\n").unwrap();
    for arguments in [&["--config", &home.word("bad.toml")][..], &["--check", "--config", &home.word("bad.toml")]] {
        let output = home.run(arguments);
        assert_eq!(output.status.code(), Some(78));
        assert!(
            stderr(&output).contains(&format!("{}:2: listen_port: ", home.word("bad.toml"))),
            "{}",
            stderr(&output)
        );
    }
    assert!(!home.path(".local").exists() && !home.path("pyrate-files").exists());
}

#[test]
fn usage_errors_exit_like_a_bad_configuration_and_help_does_not() {
    let home = Home::new();
    let wrong = home.run(&["--listen-prt", "1"]);
    assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(78), 0));
    assert_eq!(stderr(&wrong), "pyrated: unknown option --listen-prt; did you mean --listen-port?\n");
    let variable = home.command(&["--check"]).env("PYRATE_PEER", "maybe").output().unwrap();
    assert_eq!(variable.status.code(), Some(78));
    assert!(stderr(&variable).contains("PYRATE_PEER"));
    let help = home.run(&["--help"]);
    assert_eq!((help.status.code(), help.stderr.len()), (Some(0), 0));
    assert!(stdout(&help).starts_with("Usage: pyrated [--config <file>] [--<key> <value>]...\n"), "{}", stdout(&help));
    assert!(stdout(&help).contains("--listen-port"));
    assert_eq!(stdout(&home.run(&["--version"])), format!("pyrated {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_is_dumped_is_in_force_and_reads_back_to_the_same() {
    let home = Home::new();
    let dumped = home.run(&["--dump-config", "--bootstraps", "b.example:7", "--local-directory", &home.word("share")]);
    assert_eq!(dumped.status.code(), Some(0));
    assert!(stdout(&dumped).contains("bootstraps = [\"b.example:7\"] # option --bootstraps\n"));
    fs::write(home.path("dump.toml"), &dumped.stdout).unwrap();
    let again = home.run(&["--dump-config", "--config", &home.word("dump.toml")]);
    let table = |output: &Output| stdout(output).parse::<toml::Table>().unwrap();
    assert_eq!(table(&again), table(&dumped));
    let at = format!("bootstraps = [\"b.example:7\"] # {}:", home.word("dump.toml"));
    assert!(stdout(&again).contains(&at), "{}", stdout(&again));
}

#[test]
fn a_directory_that_cannot_be_one_is_a_bad_configuration() {
    let home = Home::new();
    fs::write(home.path("file"), "").unwrap();
    let output = home.run(&["--local-directory", &home.word("file"), "--bootstrap-port", "1", "--listen-port", "0"]);
    assert_eq!(output.status.code(), Some(78));
    let expected =
        format!("pyrated: option --local-directory: {}: not a directory; name a directory\n", home.word("file"));
    assert_eq!(stderr(&output), expected);
    let mut command = home.command(&["--peer", "false"]);
    let output = command.env("PYRATE_LOG_FILE", home.word("no/log")).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let place = format!("environment variable PYRATE_LOG_FILE: {}: its directory: ", home.word("no/log"));
    assert!(stderr(&output).contains(&place), "{}", stderr(&output));
}

/// What a user other than root may not read or write is refused, by a check as by a start.
#[test]
fn what_the_user_may_not_use_is_a_bad_configuration() {
    if !nix::unistd::geteuid().is_root() {
        not_tested("what a user may not use", "only root can become another user");
        return;
    }
    let home = Home::new();
    let mode = |name: &str, mode| fs::set_permissions(home.path(name), fs::Permissions::from_mode(mode)).unwrap();
    // By another process: this one may be forking, and a program that is open for writing cannot be run.
    let program = home.path("pyrated");
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_pyrated")).arg(&program).status().unwrap().success());
    fs::write(home.path("secret.toml"), "peer = false\n").unwrap();
    mode("secret.toml", 0o600);
    fs::create_dir(home.path("state")).unwrap();
    fs::write(home.path("state/lock"), "").unwrap();
    mode("state/lock", 0o600);
    std::os::unix::fs::chown(home.path("state"), Some(65534), None).unwrap();
    mode("", 0o755);
    fs::create_dir(home.path("free")).unwrap();
    mode("free", 0o777);
    let mut cases = vec![
        ("--config", home.word("secret.toml"), "cannot be read: Permission denied"),
        ("--state-directory", home.word("state"), "the file `lock` in it: Permission denied"),
        ("--state-directory", home.word("share/state"), "Permission denied"),
        ("--control-socket", home.word("new/socket"), "its directory: Permission denied"),
        ("--log-file", home.word("log"), "its directory: Permission denied"),
    ];
    match fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start") {
        Ok(first) if first.trim() == "0" => not_tested("a port for root alone", "here all users may have all ports"),
        _ => cases.push(("--bootstrap-serve", "127.0.0.1:1".to_owned(), "port 1: Permission denied")),
    }
    for (option, value, problem) in cases {
        for check in [&["--check"][..], &[]] {
            let mut command = Command::new(&program);
            command.env_clear().env("HOME", home.path("free")).current_dir("/").uid(65534).gid(65534);
            command.env("PYRATE_PEER", "false").env("PYRATE_BOOTSTRAP_SERVE", "127.0.0.1:0");
            let output = command.args([option, &value]).args(check).output().unwrap();
            assert_eq!(output.status.code(), Some(78), "{option} {value}: {}", stderr(&output));
            assert!(stderr(&output).contains(problem), "{option} {value}: {}", stderr(&output));
        }
    }
}

#[test]
fn root_is_refused_until_allowed_by_a_start_and_a_check() {
    if !nix::unistd::geteuid().is_root() {
        not_tested("that root is refused", "root alone can start as root");
        return;
    }
    let home = Home::new();
    let as_root = |arguments: &[&str]| home.command(arguments).env_remove("PYRATE_ALLOW_ROOT").output().unwrap();
    // Were root not refused, the address would be in use.
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    let refused = as_root(&["--peer", "false", "--bootstrap-serve", &taken]);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(78), 0));
    let said = stderr(&refused);
    assert!(said.starts_with("pyrated: pyrated does not run as root, ") && said.contains("another user"), "{said}");
    assert!(said.contains("systemctl start pyrated") && said.contains("--allow-root true"), "{said}");
    assert!(!home.path(".local").exists(), "nothing is made");
    let checked = as_root(&["--check", "--peer", "false"]);
    assert_eq!((checked.status.code(), stderr(&checked), checked.stdout.len()), (Some(78), said, 0));
    let allowed = as_root(&["--check", "--peer", "false", "--allow-root", "true"]);
    assert_eq!(allowed.status.code(), Some(0), "{}", stderr(&allowed));
    for harmless in [&["--dump-config"][..], &["--help"], &["--version"]] {
        assert_eq!(as_root(harmless).status.code(), Some(0), "{harmless:?}");
    }
    // Allowed: something else is wrong.
    fs::write(home.path("c.toml"), format!("allow_root = true\npeer = false\nlog_file = '{}'\n", home.word("no/log")))
        .unwrap();
    let said = stderr(&as_root(&["--config", &home.word("c.toml")]));
    assert!(said.contains("log_file: ") && !said.contains("root,"), "{said}");
}

#[test]
fn the_null_device_says_that_there_is_no_configuration_file() {
    let home = Home::new();
    fs::create_dir_all(home.path(".config/pyrate")).unwrap();
    fs::write(home.path(".config/pyrate/pyrated.toml"), "no_such_key = 1\n").unwrap();
    assert_eq!(home.run(&["--check"]).status.code(), Some(78));
    let checked = home.run(&["--check", "--config", "/dev/null"]);
    assert_eq!((checked.status.code(), stderr(&checked)), (Some(0), String::new()));
    assert_eq!(stdout(&checked), "no configuration file; options and environment are good\n");
    let daemon = home.start(&["--config", "/dev/null"]);
    assert_eq!(daemon.leave(), Some(0));
}

#[test]
fn a_log_that_was_moved_away_goes_on_in_a_new_file() {
    let home = Home::new();
    let daemon = home.start(&["--log-file", &home.word("log")]);
    fs::rename(home.path("log"), home.path("log.1")).unwrap();
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    assert!(daemon.hear().starts_with("RELOADING=1\n"));
    assert!(daemon.hear().starts_with("READY=1\n"));
    assert_eq!(daemon.leave(), Some(0));
    let (old, new) = (fs::read_to_string(home.path("log.1")).unwrap(), fs::read_to_string(home.path("log")).unwrap());
    assert!(old.contains("bootstrap node on") && new.contains("left"), "{old}{new}");
    assert!(new.lines().all(|line| line.contains("Z info  ")), "{new}");
}

#[test]
fn a_log_that_a_fifo_stands_for_holds_nothing_up() {
    let home = Home::new();
    let daemon = home.start(&["--log-file", &home.word("log")]);
    fs::rename(home.path("log"), home.path("log.1")).unwrap();
    nix::unistd::mkfifo(&home.path("log"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    assert!(daemon.hear().starts_with("RELOADING=1\n"));
    assert!(daemon.hear().starts_with("READY=1\n"));
    assert_eq!(daemon.leave(), Some(0));
    let old = fs::read_to_string(home.path("log.1")).unwrap();
    assert!(old.contains("neither a regular file nor a character device") && old.contains("left"), "{old}");
}

#[test]
fn without_configuration_three_lines_say_what_to_type_next() {
    let home = Home::new();
    // The bootstrap node that is already there: whoever holds its address.
    let there = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = there.local_addr().unwrap().port().to_string();
    let daemon = home.start_any(&["--bootstrap-port", &port, "--listen-port", "0"]);
    // Its farewell goes to a bootstrap node that never answers, and does not keep it.
    assert_eq!(daemon.leave(), Some(0));
    let log = home.stderr();
    let said: Vec<&str> = log.lines().filter(|line| line.contains("daemon: ")).collect();
    assert!(said.len() == 4 && said[3].ends_with("daemon: left"), "{log}");
    assert!(said[0].contains(&format!("127.0.0.1:{port}")) && said[0].contains("peer on 127.0.0.1:"), "{log}");
    assert!(said[1].contains(&home.word("pyrate-files")) && said[2].contains("`pyratectl status`"), "{log}");
    assert!(home.path("pyrate-files").is_dir());
}
