//! Checks whether a daemon could start: one function for the start, for `--check` and for a reload, so that they agree. It
//! changes nothing. Whether an address, the control socket or the state directory is in use is not checked here, since that
//! would refuse the configuration of a daemon that runs; only the start finds out.

use super::config::Config;
use super::fault::{ConfigFault, Fault, Origins, Spot};
use super::limit_times::{doubt, zone_problem};
use super::log_output;
use super::probe::Probed;
use crate::driver;
use crate::name::Escaped;
use crate::store::{StateDirectory, check_readable_directory, check_writable_directory, is_sandboxed};
use nix::unistd::Uid;
use std::fs::Metadata;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What to do about a directory that is missing.
const MISSING_ADVICE: &str = "create it, mount the filesystem that holds it, or name another directory";

/// Whether a start with this configuration, whose paths are settled, would succeed. Returns warnings for the user.
///
/// A directory that is missing is refused unless it was in use before: then it is on a filesystem that is not mounted, and
/// its downloads wait for that. `probed`: the paths whose disks do not answer, which are not asked again. The start does without
/// those that it need not have.
///
/// # Errors
/// [`Fault::Config`] with all that is wrong; [`Fault::NoAnswer`] when that is only a disk that does not answer, and
/// [`Fault::NoSuchAddress`] when it is only an address that this machine lacks.
pub(super) fn check_start(config: &Config, origins: &Origins, probed: &Probed) -> Result<Vec<String>, Fault> {
    let (remarks, faults, no_answers, no_addresses) = Default::default();
    let mut preflight = Preflight { config, origins, probed, remarks, faults, no_answers, no_addresses };
    if config.peer {
        preflight.check_share();
        preflight.check_named_shares();
        preflight.check_downloads();
        preflight.check_watched();
    }
    preflight.check_limits();
    preflight.check_log();
    preflight.check_state();
    preflight.check_control();
    if preflight.check_interface() {
        preflight.check_addresses();
    }
    preflight.outcome()
}

/// Whether this user may run the daemon. Not part of [`check_start`], which a reload calls as well.
///
/// # Errors
/// [`Fault::Root`].
pub(super) fn check_user(config: &Config) -> Result<(), Fault> {
    if Uid::effective().is_root() && !config.allow_root { Err(Fault::Root) } else { Ok(()) }
}

struct Preflight<'c> {
    config: &'c Config,
    origins: &'c Origins,
    probed: &'c Probed,
    remarks: Vec<String>,
    faults: Vec<ConfigFault>,
    /// Paths whose disks do not answer now.
    no_answers: Vec<ConfigFault>,
    /// Addresses that this machine lacks now; they may appear with their interface.
    no_addresses: Vec<ConfigFault>,
}

/// What exists where a directory should be.
enum Found {
    Directory(Metadata),
    None(Absent),
}

/// Why there is no directory.
enum Absent {
    /// It was in use before.
    Gone,
    /// It never was in use.
    Missing,
    /// It cannot be a directory while the path is the same.
    BadPath(io::Error),
    /// It cannot be examined now.
    Unknown(io::Error),
}

impl Preflight<'_> {
    fn outcome(mut self) -> Result<Vec<String>, Fault> {
        let fault = match () {
            () if !self.faults.is_empty() => Fault::Config,
            () if !self.no_answers.is_empty() => Fault::NoAnswer,
            () if !self.no_addresses.is_empty() => Fault::NoSuchAddress,
            () => return Ok(self.remarks),
        };
        self.faults.extend(self.no_answers.into_iter().chain(self.no_addresses));
        Err(fault(self.faults))
    }

    fn fault(&self, spot: impl Into<Spot>, message: String) -> ConfigFault {
        ConfigFault { place: self.origins.of(spot), message }
    }

    fn refuse(&mut self, spot: impl Into<Spot>, path: &Path, problem: impl std::fmt::Display, advice: &str) {
        let message = format!("{}: {problem}; {advice}", Escaped::path(path));
        self.faults.push(self.fault(spot, message));
    }

    fn remark(&mut self, spot: impl Into<Spot>, path: &Path, problem: impl std::fmt::Display, consequence: &str) {
        self.remarks.push(format!("{}: {}: {problem}; {consequence}", self.origins.of(spot), Escaped::path(path)));
    }

    /// Whether something that the start cannot do without answers.
    fn must_answer(&mut self, key: &'static str, path: &Path) -> bool {
        let Err(error) = self.probed.check(path) else { return true };
        let message = format!("{}: {error}; wait until it does, or name another path", Escaped::path(path));
        self.no_answers.push(self.fault(key, message));
        false
    }

    fn check_share(&mut self) {
        let (key, path) = ("local_directory", self.config.local_directory.as_path());
        if !self.must_answer(key, path) {
            return;
        }
        match self.find(path) {
            Found::None(Absent::Gone | Absent::Missing) if self.config.has_default_share() => {
                if let Err(error) = check_writable_directory(path) {
                    self.refuse(key, path, format_args!("it cannot be created: {error}"), "name another directory");
                }
            }
            found => {
                let consequences = ["nothing is shared until we may read it", "nothing is shared until it is there"];
                self.check_shared(key, path, found, consequences);
            }
        }
    }

    /// `consequences`: of a directory that cannot be read, and of one that is not there.
    fn check_shared(&mut self, spot: impl Into<Spot>, path: &Path, found: Found, consequences: [&str; 2]) {
        let [unreadable, missing] = consequences;
        match found {
            Found::Directory(metadata) if self.holds_state(&metadata) => {
                let problem = "it is the state directory too, which is never shared";
                self.refuse(spot, path, problem, "name another directory");
            }
            Found::Directory(_) => {
                if let Err(error) = check_readable_directory(path) {
                    self.remark(spot, path, error, unreadable);
                }
            }
            Found::None(why) => self.note_none(spot, path, why, missing),
        }
    }

    fn check_named_shares(&mut self) {
        let mut others = vec![self.probed.real(&self.config.local_directory)];
        for (at, share) in self.config.share.iter().enumerate() {
            let [name_spot, path_spot] = ["name", "path"].map(|field| Spot::field("share", at, field));
            if self.config.share[..at].iter().any(|other| other.name == share.name) {
                let name = Escaped(share.name.as_bytes());
                self.faults.push(
                    self.fault(name_spot, format!("two shares have the name {name}; give each a name of its own")),
                );
            }
            let path = share.path.as_path();
            let here = self.probed.real(path);
            if let Some(other) = others.iter().find(|other| self.probed.overlap(&here, other)) {
                let problem =
                    format!("it and the share {} are the same, or one is inside of the other", Escaped::path(other));
                self.refuse(path_spot, path, problem, "nothing is shared twice: name another directory");
                continue;
            }
            others.push(here);
            let consequences =
                ["nothing of it is shared until we may read it", "nothing new of it is shared until it is there"];
            self.check_shared(path_spot, path, self.find(path), consequences);
            let taken = self.config.local_directory.join(&share.name);
            if self.probed.check(&taken).and_then(|()| taken.symlink_metadata()).is_ok() {
                let consequence =
                    format!("it is not shared, since the share {} has this name", Escaped(share.name.as_bytes()));
                self.remark(name_spot, &taken, "it is in local_directory", &consequence);
            }
        }
    }

    fn check_downloads(&mut self) {
        let Some(path) = self.config.download_directory.as_deref() else { return };
        let key = "download_directory";
        match self.find(path) {
            Found::Directory(_) => {
                if let Err(error) = check_writable_directory(path) {
                    self.remark(key, path, error, "downloads to it wait until we may write to it");
                }
            }
            Found::None(why) => self.note_none(key, path, why, "downloads to it wait until it is there"),
        }
    }

    fn check_watched(&mut self) {
        let Some(path) = self.config.watch_directory.as_deref() else { return };
        let key = "watch_directory";
        match self.find(path) {
            Found::Directory(metadata) if self.holds_state(&metadata) => {
                let problem = "it is the state directory too, where the daemon keeps its own files";
                self.refuse(key, path, problem, "name another directory");
            }
            _ if self.is_within(path, self.config.effective_download_directory()) => {
                let problem = "downloads are saved there, so that a peer could name what is downloaded next";
                self.refuse(key, path, problem, "name a directory outside of download_directory");
            }
            Found::Directory(_) => {
                if let Err(error) = check_readable_directory(path).and_then(|()| check_writable_directory(path)) {
                    self.refuse(
                        key,
                        path,
                        error,
                        "let this user read and write there, since files are renamed; or name another directory",
                    );
                }
            }
            Found::None(why) => self.note_none(key, path, why, "links are looked for when it is there"),
        }
    }

    /// Refuses a directory that is not there, unless it may appear.
    fn note_none(&mut self, spot: impl Into<Spot>, path: &Path, why: Absent, consequence: &str) {
        match why {
            Absent::Gone => self.remark(spot, path, "no such directory any more", consequence),
            Absent::Missing => self.refuse(spot, path, "no such directory", MISSING_ADVICE),
            Absent::BadPath(error) => self.refuse(spot, path, error, "name a directory"),
            Absent::Unknown(error) => self.remark(spot, path, error, consequence),
        }
    }

    fn find(&self, path: &Path) -> Found {
        Found::None(match self.probed.check(path).and_then(|()| std::fs::metadata(path)) {
            Ok(metadata) if metadata.is_dir() => return Found::Directory(metadata),
            Ok(_) => Absent::BadPath(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let state = self.config.state_directory.as_deref().filter(|state| !self.probed.is_hung(state));
                let was_in_use = state.is_some_and(|state| driver::was_in_use(state, path));
                if was_in_use { Absent::Gone } else { Absent::Missing }
            }
            Err(error) if is_bad_path(&error) => Absent::BadPath(error),
            Err(error) => Absent::Unknown(error),
        })
    }

    /// Whether a directory is another one, or beneath it.
    fn is_within(&self, path: &Path, other: &Path) -> bool {
        self.probed.real(path).starts_with(self.probed.real(other))
    }

    /// Whether a directory is the state directory, by whatever path.
    fn holds_state(&self, directory: &Metadata) -> bool {
        let state = self.config.state_directory.as_ref().filter(|state| !self.probed.is_hung(state));
        let state = state.and_then(|path| std::fs::metadata(path).ok());
        state.is_some_and(|state| (state.dev(), state.ino()) == (directory.dev(), directory.ino()))
    }

    fn check_limits(&mut self) {
        if let Some(problem) = zone_problem(&self.config.limit) {
            let place = self.origins.of("limit");
            self.remarks.push(format!("{place}: {problem}; the times of [[limit]] are those of UTC"));
        }
        for (at, limit) in self.config.limit.iter().enumerate() {
            let place = self.origins.of(Spot::field("limit", at, "when"));
            self.remarks.extend(doubt(limit).map(|doubt| format!("{place}: {doubt}")));
        }
    }

    fn check_log(&mut self) {
        if let super::value::LogPlace::File(path) = &self.config.log_file
            && self.must_answer("log_file", path)
            && let Err(error) = log_output::check_file(path)
        {
            self.refuse("log_file", path, error, "name a file that can be written, or stderr");
        }
    }

    fn check_state(&mut self) {
        if let Some(path) = self.config.state_directory.as_deref()
            && self.must_answer("state_directory", path)
            && let Err(error) = StateDirectory::check(path)
        {
            self.refuse("state_directory", path, error, "let this user write there, or name another directory");
        }
    }

    fn check_control(&mut self) {
        if let Some(path) = self.config.control_socket.as_deref()
            && self.must_answer("control_socket", path)
            && let Err(error) = driver::check_control_socket(path)
        {
            self.refuse("control_socket", path, error, "name another path");
        }
    }

    /// Whether the interface that is configured can be used. Host names are checked too, which are looked up in /etc/hosts alone.
    fn check_interface(&mut self) -> bool {
        let (key, interface) = ("interface", self.config.interface());
        let Some(name) = self.config.interface.clone() else { return true };
        if let Err(error) = interface.check() {
            let message = match error.raw_os_error() {
                Some(nix::libc::ENODEV) => format!(
                    "this machine has no network interface {name}; make it before this daemon starts, or name one that \
                     `ip link` lists"
                ),
                _ => {
                    format!("cannot use the network interface {name}: {error}; before Linux 5.7 this needs CAP_NET_RAW")
                }
            };
            self.faults.push(self.fault(key, message));
            return false;
        }
        for link in self.config.links() {
            if let Some(Err(fault)) = interface.resolve(&link.host) {
                let is_first = Some(&link.host) == self.config.bootstrap_addr.as_ref();
                let key = if is_first { "bootstrap_addr" } else { "bootstraps" };
                let message = format!("{}: {fault}; write its IP address, or add a line to that file", link.host);
                self.faults.push(self.fault(key, message));
            }
        }
        true
    }

    fn check_addresses(&mut self) {
        let interface = self.config.interface();
        let serves = if self.config.on_this_machine_alone() { "bootstrap_port" } else { "bootstrap_serve" };
        let (listen, serve, metrics) = (self.config.listen(), self.config.serve(), self.config.metrics_listen);
        let watched = "metrics_listen";
        let listeners = [(listen, "listen_addr", "listen_port"), (serve, serves, serves), (metrics, watched, watched)];
        for (addr, addr_key, port_key) in listeners {
            let Some(addr) = addr else { continue };
            let interface = if addr_key == watched { interface.for_metrics(addr) } else { interface.clone() };
            if let Err(error) = driver::check_listen(addr, &interface) {
                self.note_bad_address(addr, error, addr_key, port_key);
            } else if !driver::may_have_address(&interface, addr.ip()) {
                self.note_no_address_of_interface(addr.ip(), addr_key);
            }
        }
        if let (Some(listen), Some(serve)) = (listen, serve)
            && exclude_each_other(listen, serve)
        {
            let message = format!("{listen} is taken by our own bootstrap node at {serve}; name another port, or 0");
            self.faults.push(self.fault("listen_port", message));
        }
        for (other, what) in [(listen, "peer"), (serve, "bootstrap node")] {
            if let (Some(metrics), Some(other)) = (metrics, other)
                && exclude_each_other(metrics, other)
            {
                let message = format!("{metrics} is taken by our own {what} at {other}; name another port");
                self.faults.push(self.fault("metrics_listen", message));
            }
        }
    }

    fn note_no_address_of_interface(&mut self, ip: IpAddr, key: &'static str) {
        let name = self.config.interface.as_deref().unwrap_or_default();
        let message = if self.config.on_this_machine_alone() && ip.is_loopback() {
            format!(
                "without a bootstrap node this daemon is for this machine alone, at {ip}, which is no address of the interface \
                 {name}; name a bootstrap node, or no interface"
            )
        } else {
            format!("{ip} is no address of the interface {name}; name one of its own, or 0.0.0.0 for all of them")
        };
        self.no_addresses.push(self.fault(key, message));
    }

    fn note_bad_address(&mut self, addr: SocketAddr, error: io::Error, addr_key: &'static str, port_key: &'static str) {
        match error.kind() {
            io::ErrorKind::AddrNotAvailable => {
                let ip = addr.ip();
                let message =
                    format!("{ip} is no address of this machine; name one of its own, or 0.0.0.0 for all of them");
                self.no_addresses.push(self.fault(addr_key, message));
            }
            // The sandbox of a daemon that runs has the ports of its start: the next one has others.
            io::ErrorKind::PermissionDenied if is_sandboxed() => {}
            io::ErrorKind::PermissionDenied => {
                let message = format!("port {}: {error}; name a port from 1024 on", addr.port());
                self.faults.push(self.fault(port_key, message));
            }
            _ => {
                let message = format!("cannot listen at {addr}: {error}; name another address");
                self.faults.push(self.fault(addr_key, message));
            }
        }
    }
}

/// Whether an error says that no directory can be at a path as long as the path, or what leads there, is the same.
fn is_bad_path(error: &io::Error) -> bool {
    let unusable = [nix::libc::ENAMETOOLONG, nix::libc::ELOOP];
    matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::InvalidInput)
        || error.raw_os_error().is_some_and(|errno| unusable.contains(&errno))
}

/// Whether only one of two listeners can be bound.
fn exclude_each_other(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap = one.ip() == other.ip()
        || one.is_ipv4() == other.is_ipv4() && (one.ip().is_unspecified() || other.ip().is_unspecified());
    one.port() != 0 && one.port() == other.port() && overlap
}

#[cfg(test)]
mod tests;
