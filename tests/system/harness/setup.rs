//! What a daemon is started with: a home of its own, its configuration, and limits and faults of the system.

use super::{clean_command, free_port, not_tested};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// What a daemon is to be started with.
pub(crate) struct Setup {
    home: TempDir,
    pub(super) keys: BTreeMap<String, String>,
    /// A program and arguments that end by running what follows them, in the same process.
    pub(super) prelude: Vec<String>,
    /// Standard error, if it is no file.
    pub(super) stderr: Option<OwnedFd>,
    spare_port: u16,
}

impl Setup {
    /// A peer on 127.0.0.1, on a port that the system picks, in a network of its own.
    pub(crate) fn peer() -> Self {
        let home = tempfile::Builder::new().prefix("pyrate-").tempdir().expect("a scratch directory");
        let (keys, prelude, stderr) = Default::default();
        let mut setup = Self { home, keys, prelude, stderr, spare_port: free_port() };
        for directory in ["share", "downloads", "state"] {
            fs::create_dir(setup.home.path().join(directory)).expect("a fresh directory");
        }
        setup = setup.set("listen_addr", "'127.0.0.1'").set("listen_port", "0").set("bootstraps", "[]");
        for (key, file) in [
            ("local_directory", "share"),
            ("download_directory", "downloads"),
            ("state_directory", "state"),
            ("control_socket", "control.sock"),
            ("log_file", "log"),
        ] {
            let path = setup.home.path().join(file);
            setup = setup.set(key, &format!("'{}'", path.display()));
        }
        setup.set("log_level", "'debug'")
    }

    /// A bootstrap node alone, on a free port.
    pub(crate) fn bootstrap() -> Self {
        Self::peer().set("peer", "false").serves(SocketAddr::from(([127, 0, 0, 1], free_port())))
    }

    /// Sets a key of the configuration to a value in TOML.
    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        self.keys.insert(key.into(), value.into());
        self
    }

    /// Serves as a bootstrap node.
    pub(crate) fn serves(self, addr: SocketAddr) -> Self {
        self.set("bootstrap_serve", &format!("'{addr}'"))
    }

    /// Registers with these bootstrap nodes.
    pub(crate) fn joins(self, bootstraps: &[SocketAddr]) -> Self {
        let list: Vec<String> = bootstraps.iter().map(|addr| format!("'{addr}'")).collect();
        self.set("bootstraps", &format!("[{}]", list.join(", ")))
    }

    /// Limits the file descriptors, soft and hard.
    pub(crate) fn descriptors_max(self, count: u32) -> Self {
        self.after(&["sh", "-c", &format!("ulimit -n {count} && exec \"$@\""), "sh"])
    }

    /// Puts the downloads on a disk of their own that holds 1 MiB, as only the daemon sees it. `None` if this machine
    /// does not let us.
    pub(crate) fn small_disk(self) -> Option<Self> {
        let mount = "mount -t tmpfs -o size=1m none \"$HOME/downloads\"";
        let mut probe = clean_command("unshare", self.home());
        probe.args(["-rm", "sh", "-c", mount]).stderr(Stdio::null());
        let possible = probe.status().is_ok_and(|status| status.success());
        possible.then(|| self.after(&["unshare", "-rm", "sh", "-c", &format!("{mount} && exec \"$@\""), "sh"]))
    }

    /// Limits the size of every file that the daemon writes.
    pub(crate) fn file_bytes_max(self, bytes: u64) -> Self {
        // The shell counts in blocks of 512 bytes.
        self.after(&["sh", "-c", &format!("ulimit -f {} && exec \"$@\"", bytes / 512), "sh"])
    }

    pub(crate) fn after(mut self, prelude: &[&str]) -> Self {
        self.prelude = prelude.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Logs to a standard error that leads there.
    pub(crate) fn logs_to(mut self, stderr: impl Into<OwnedFd>) -> Self {
        self.stderr = Some(stderr.into());
        self.set("log_file", "'stderr'")
    }

    /// Lets system calls fail as strace(1) is told, of one path if that is given. `None` where there is no strace; that
    /// is said aloud.
    pub(crate) fn injecting(self, what: &str, path: Option<&Path>, faults: &[&str]) -> Option<Self> {
        let words = strace(what, self.home(), path, faults)?;
        Some(self.after(&words.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    /// Puts a file into the share.
    pub(crate) fn shares(self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        write_file(&self.share(), name.as_ref(), content.as_ref());
        self
    }

    /// Shares further directories with these names, in `data` of its home.
    pub(crate) fn further_shares<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        let table = |name: &str| {
            let path = self.home().join("data").join(name);
            fs::create_dir_all(&path).expect("it can be made");
            format!("{{ path = '{}', name = '{name}' }}", path.display())
        };
        let tables: Vec<String> = names.into_iter().map(table).collect();
        self.set("share", &format!("[{}]", tables.join(", ")))
    }

    pub(crate) fn share(&self) -> PathBuf {
        self.home.path().join("share")
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes the configuration file and gives its path.
    ///
    /// A peer that knows no bootstrap node would use the one at the usual port of this machine: it serves its own.
    pub(crate) fn write_config(&self) -> PathBuf {
        let path = self.home.path().join("pyrated.toml");
        let mut text: String = self.keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        let joins = self.keys["bootstraps"] != "[]" || self.keys.contains_key("bootstrap_addr");
        if !joins && !self.keys.contains_key("bootstrap_serve") {
            text += &format!("bootstrap_serve = '127.0.0.1:{}'\n", self.spare_port);
        }
        fs::write(&path, text).expect("the configuration can be written");
        path
    }

    /// The command that starts the daemon.
    pub(crate) fn command(&self) -> Command {
        let config = self.write_config();
        let pyrated = env!("CARGO_BIN_EXE_pyrated");
        let mut command = match self.prelude.as_slice() {
            [] => clean_command(pyrated, self.home()),
            [program, arguments @ ..] => {
                let mut command = clean_command(program, self.home());
                command.args(arguments).arg(pyrated);
                command
            }
        };
        command.arg("--config").arg(config).stdout(Stdio::null());
        command
    }
}

/// The command that runs a program in the same process, while another has its system calls fail.
pub(super) fn strace(what: &str, home: &Path, path: Option<&Path>, faults: &[&str]) -> Option<Vec<String>> {
    let works = clean_command("strace", home).args(["-f", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    if !works.is_ok_and(|status| status.success()) {
        not_tested(what, "strace(1) does not run here");
        return None;
    }
    let mut words: Vec<String> = ["strace", "-D", "-f", "-qq", "-o"].map(str::to_owned).into();
    words.push(home.join("strace").display().to_string());
    // A call that names a file in an open directory shows its name alone.
    let name = path.and_then(Path::file_name).map(Path::new);
    words.extend(path.into_iter().chain(name).flat_map(|path| ["-P".to_owned(), path.display().to_string()]));
    let calls: Vec<&str> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
    words.extend(["-e".to_owned(), format!("trace={}", calls.join(","))]);
    words.extend(faults.iter().flat_map(|fault| ["-e".to_owned(), format!("inject={fault}")]));
    Some(words)
}

/// Writes a file, making the directories above it.
pub(super) fn write_file(root: &Path, name: &[u8], content: &[u8]) {
    let path = root.join(OsStr::from_bytes(name));
    fs::create_dir_all(path.parent().expect("below the root")).expect("directories can be made");
    fs::write(path, content).expect("the file can be written");
}
