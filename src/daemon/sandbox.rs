//! The sandbox of `pyrated`: before its first thread is made, the process gives up all files but those that the configuration
//! names and those that the system needs to look up host names (landlock(7)).
//!
//! Rules can be added only before. What a reload names outside of them waits for the next start (see [`Sandbox::covers`]).

use super::config::Config;
use super::fault::{Fault, Origins};
use super::preflight::check_start;
use super::probe::Probed;
use super::value::LogPlace;
use crate::control::{SandboxReply, SandboxState};
use crate::name::Escaped;
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is asked for (Linux 6.12). A kernel that knows less enforces what it knows.
const WANTED: ABI = ABI::V6;

/// What getaddrinfo(3) reads: configuration, and libraries that it loads by its names; and the time zone. The directories, since
/// the files are replaced when the network changes.
const SYSTEM_PLACES: &[&str] = &[
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/nix/store",
    "/gnu/store",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/dev/urandom",
    // The addresses of this machine, and the memory that the process takes.
    "/proc/self",
    // A reload reads it again.
    "/usr/share/zoneinfo",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// What the system needs, if it is there.
    System,
    /// What leads to the configuration, which a reload reads again.
    Configuration,
    Read,
    Write,
    Log,
    Socket,
}

impl Use {
    fn rights(self) -> BitFlags<AccessFs> {
        match self {
            Self::System | Self::Configuration | Self::Read => make_bitflags!(AccessFs::{ReadFile | ReadDir}),
            Self::Write => make_bitflags!(AccessFs::{
                ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | Refer
            }),
            Self::Log => make_bitflags!(AccessFs::{WriteFile | MakeReg}),
            Self::Socket => make_bitflags!(AccessFs::{MakeSock | RemoveFile}),
        }
    }
}

/// A place that stays in reach.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Allowed {
    path: PathBuf,
    used: Use,
    /// What it is to the daemon, for the log.
    what: &'static str,
}

impl Allowed {
    fn new(path: impl Into<PathBuf>, used: Use, what: &'static str) -> Self {
        Self { path: path.into(), used, what }
    }
}

/// What remains allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rules {
    places: Vec<Allowed>,
    /// The ports to listen at; `None` for any.
    bind: Option<Vec<u16>>,
    /// Whether TCP connections may be made.
    connects: bool,
}

impl Rules {
    /// `read_again`: the files of the configuration.
    fn of(config: &Config, read_again: &[PathBuf]) -> Self {
        let system = |path| Allowed::new(path, Use::System, "");
        let mut places: Vec<Allowed> = SYSTEM_PLACES.iter().map(system).collect();
        let of_links = |path: &Path| std::fs::canonicalize(path).ok();
        // Files that editors and the system replace: what leads to them stays readable.
        let replaced = read_again.iter().map(|path| Allowed::new(path, Use::Configuration, "configuration"));
        for Allowed { path, used, what } in replaced.chain([system(&"/etc/resolv.conf")]) {
            let directories = [of_links(&path), Some(path)].into_iter().flatten();
            places.extend(directories.filter_map(|path| Some(Allowed::new(path.parent()?, used, what))));
        }
        if config.peer {
            let (shared, downloads) = (|path| Allowed::new(path, Use::Read, "share"), "downloads");
            places.push(shared(&config.local_directory));
            places.extend(config.share.iter().map(|share| shared(&share.path)));
            places.push(Allowed::new(config.effective_download_directory(), Use::Write, downloads));
            places.extend(config.sandbox_writable.iter().map(|path| Allowed::new(path, Use::Write, downloads)));
            places
                .extend(config.watch_directory.iter().map(|path| Allowed::new(path, Use::Write, "watched directory")));
        }
        if config.peer && (config.follow_symlinks || config.share.iter().any(|share| share.follow_symlinks)) {
            let linked = |path| Allowed::new(path, Use::Read, "what links in the share lead to");
            places.extend(config.sandbox_readable.iter().map(linked));
        }
        places.extend(config.state_directory.iter().map(|path| Allowed::new(path, Use::Write, "state")));
        if let LogPlace::File(path) = &config.log_file {
            let is_device = std::fs::metadata(path).is_ok_and(|found| found.file_type().is_char_device());
            // A log that is rotated is made again.
            let place = if is_device { Some(path.as_path()) } else { path.parent() };
            // A link is followed when the log is opened.
            let linked = of_links(path).filter(|_| !is_device).and_then(|path| Some(path.parent()?.to_owned()));
            let log = |path| Allowed::new(path, Use::Log, "log");
            places.extend(place.map(Path::to_owned).into_iter().chain(linked).map(log));
        }
        let control = config.control_socket.as_deref().and_then(Path::parent);
        places.extend(control.map(|path| Allowed::new(path, Use::Socket, "control socket")));
        // A peer is called back at a port that the system picks for the call (PROTOCOL, "Old peers answer `4` by calling back").
        let listeners = [config.serve(), config.metrics_listen];
        let bind = (!config.peer).then(|| listeners.into_iter().flatten().map(|addr| addr.port()).collect());
        Self { places, bind, connects: config.peer || config.bootstrap_verify }
    }

    /// Restricts this thread and those that it makes. Returns how far the kernel does, and the places that are not there.
    fn enforce(&self) -> Result<(RestrictionStatus, Vec<PathBuf>), RulesetError> {
        let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(WANTED))?.scope(self.scope())?;
        if self.bind.is_some() {
            ruleset = ruleset.handle_access(AccessNet::BindTcp)?;
        }
        if !self.connects {
            ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
        }
        let mut created = ruleset.create()?;
        let mut missing = Vec::new();
        for Allowed { path, used, .. } in &self.places {
            let Ok(handle) = PathFd::new(path) else {
                missing.extend((!matches!(used, Use::System | Use::Configuration)).then(|| path.clone()));
                continue;
            };
            let of_file = if path.is_dir() { BitFlags::all() } else { AccessFs::from_file(WANTED) };
            created = created.add_rule(PathBeneath::new(handle, used.rights() & of_file))?;
        }
        for port in self.bind.iter().flatten() {
            created = created.add_rule(NetPort::new(*port, AccessNet::BindTcp))?;
        }
        Ok((created.restrict_self()?, missing))
    }

    /// No signals to other processes, and no abstract sockets of others, unless the service manager has one.
    fn scope(&self) -> BitFlags<Scope> {
        let notify = std::env::var_os("NOTIFY_SOCKET");
        let is_abstract = notify.is_some_and(|socket| socket.as_bytes().starts_with(b"@"));
        if is_abstract { Scope::Signal.into() } else { Scope::Signal | Scope::AbstractUnixSocket }
    }
}

/// The sandbox that the process is in, if it is in one.
#[derive(Debug, Clone, Default)]
pub(super) struct Sandbox {
    reply: SandboxReply,
    /// Without links.
    places: Vec<Allowed>,
    /// What may be bound and connected to.
    network: &'static str,
    /// Places of the configuration that are not there.
    missing: Vec<PathBuf>,
    /// Those whose disks do not answer.
    hung: Vec<PathBuf>,
    /// Keeps /proc/self in the memory of the kernel, which otherwise makes a new inode, to which no rule belongs.
    _proc: Option<Arc<File>>,
}

impl Sandbox {
    /// Restricts the process for good, if it is to be restricted. Must be called while it has one thread, beside those that hang while
    /// they look at a path and end then. Directories are created first that the start would create.
    ///
    /// # Errors
    /// As [`check_start`], since nothing is created for a bad configuration; [`Fault::Sandbox`] if the kernel has Landlock and
    /// refuses to restrict the process.
    pub(super) fn enter(
        config: &Config,
        origins: &Origins,
        read_again: &[PathBuf],
        probed: &Probed,
    ) -> Result<Self, Fault> {
        if !config.sandbox {
            return Ok(Self::default());
        }
        // The start logs the warnings.
        check_start(config, origins, probed)?;
        create_directories(config);
        let mut rules = Rules::of(config, read_again);
        // A rule is made of an open directory.
        let hung = rules.places.extract_if(.., |place| probed.is_hung(&place.path)).map(|place| place.path).collect();
        let canonical = |place: &Allowed| Some(Allowed { path: std::fs::canonicalize(&place.path).ok()?, ..*place });
        let places = rules.places.iter().filter_map(canonical).collect();
        let proc = File::open("/proc/self").ok().map(Arc::new);
        let (status, missing) = rules.enforce().map_err(|error| Fault::Sandbox(error.to_string()))?;
        let network = match (&rules.bind, rules.connects) {
            (Some(_), false) => "no TCP but at its own ports",
            (Some(_), true) => "TCP from its own ports and to any",
            (None, _) => "TCP from and to any port, since peers have any and call back at any",
        };
        Ok(Self { reply: reply(&status), places, network, missing, hung, _proc: proc })
    }

    pub(super) fn reply(&self) -> SandboxReply {
        self.reply
    }

    pub(super) fn restricts(&self) -> bool {
        matches!(self.reply.state, SandboxState::On | SandboxState::Partial)
    }

    /// Whether downloads can be saved to a directory.
    pub(super) fn covers_downloads(&self, directory: &Path, probed: &Probed) -> bool {
        self.covers(directory, &[Use::Write], probed)
    }

    /// Whether a directory can be read, to share it.
    pub(super) fn covers_share(&self, directory: &Path, probed: &Probed) -> bool {
        self.covers(directory, &[Use::System, Use::Configuration, Use::Read, Use::Write], probed)
    }

    /// Whether the log can be written to a file.
    pub(super) fn covers_log(&self, place: &LogPlace, probed: &Probed) -> bool {
        match place {
            LogPlace::Stderr => true,
            LogPlace::File(path) => self.covers(path, &[Use::Write, Use::Log], probed),
        }
    }

    /// Whether a path, or where it would be made, is inside. One whose disk does not answer is where its directory is.
    fn covers(&self, path: &Path, uses: &[Use], probed: &Probed) -> bool {
        if !self.restricts() {
            return true;
        }
        let nearest = match probed.is_hung(path) {
            true => Some(probed.real(path)),
            false => path.ancestors().find_map(|path| std::fs::canonicalize(path).ok()),
        };
        let is_beneath = |place: &Allowed| {
            uses.contains(&place.used) && nearest.as_ref().is_some_and(|nearest| nearest.starts_with(&place.path))
        };
        self.places.iter().any(is_beneath)
    }

    /// What remains allowed, in words: each place with what it is for.
    fn allowed(&self) -> String {
        let listed = |uses: &[Use]| {
            let mut listed: Vec<String> = Vec::new();
            for Allowed { path, what, .. } in self.places.iter().filter(|place| uses.contains(&place.used)) {
                let place = format!("{what} {}", Escaped::path(path));
                if !listed.contains(&place) {
                    listed.push(place);
                }
            }
            listed.join(", ")
        };
        let (read, written) = (listed(&[Use::Read, Use::Configuration]), listed(&[Use::Write, Use::Log, Use::Socket]));
        let read = if read.is_empty() { String::new() } else { format!("{read}, and ") };
        format!("reads {read}what host names need; writes {written}; {}", self.network)
    }

    /// Says in the log what remains allowed.
    pub(super) fn log(&self) {
        let abi = self.reply.abi.unwrap_or(0);
        let allowed = || self.allowed();
        match self.reply.state {
            SandboxState::Off => {}
            SandboxState::On => log::info!("sandbox on (Landlock ABI {abi}): {}", allowed()),
            SandboxState::Partial => log::warn!(
                "sandbox partial (Landlock ABI {abi}, and {WANTED} restricts all): {}; not restricted: {}",
                allowed(),
                unknown_to(abi).join(", ")
            ),
            SandboxState::Unavailable => log::warn!(
                "sandbox unavailable: this kernel has no Landlock (Linux 5.13), or it is not enabled (lsm= of its command \
                 line): the daemon is not restricted"
            ),
        }
        let of_missing = "is not there, and stays out of reach until the next start";
        let of_hung = "is on a disk that does not answer, and stays out of reach; restart the daemon when it answers";
        for (paths, what) in [(&self.missing, of_missing), (&self.hung, of_hung)] {
            for path in paths.iter().filter(|_| self.restricts()) {
                log::warn!("sandbox: {} {what}", Escaped::path(path));
            }
        }
    }
}

/// Creates what the start would create, and what it creates it in. A failure is reported by the start.
fn create_directories(config: &Config) {
    let create = |path: &Path, mode| DirBuilder::new().recursive(true).mode(mode).create(path);
    let share = Some(config.local_directory.as_path()).filter(|_| config.peer && config.has_default_share());
    let private = [config.state_directory.as_deref(), config.control_socket.as_deref().and_then(Path::parent)];
    let created: [Option<io::Result<()>>; 3] = [
        share.map(|path| create(path, 0o777)),
        private[0].map(|path| create(path, 0o700)),
        private[1].map(|path| create(path, 0o700)),
    ];
    drop(created);
}

fn reply(status: &RestrictionStatus) -> SandboxReply {
    let abi = match status.landlock {
        LandlockStatus::Available { effective_abi, kernel_abi } => Some(kernel_abi.unwrap_or(effective_abi as i32)),
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => None,
    };
    let state = match status.ruleset {
        RulesetStatus::FullyEnforced => SandboxState::On,
        RulesetStatus::PartiallyEnforced => SandboxState::Partial,
        RulesetStatus::NotEnforced => SandboxState::Unavailable,
    };
    SandboxReply { state, abi: abi.and_then(|abi| u32::try_from(abi).ok()) }
}

/// What a kernel with this version of Landlock does not restrict.
fn unknown_to(abi: u32) -> Vec<&'static str> {
    let since = [(3, "truncating files"), (4, "TCP"), (5, "ioctl on devices"), (6, "signals and abstract sockets")];
    since.into_iter().filter(|(first, _)| abi < *first).map(|(_, what)| what).collect()
}

#[cfg(test)]
mod tests;
