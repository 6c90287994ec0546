//! The table of keys, from which the options, the environment variables, the file and the dump are made. Tests compare the
//! manual (pyrated.toml(5)), the sample (contrib/pyrated.toml) and the README with it.

use super::config::Config;
use super::fault::{ConfigFault, Place, ValueFault};
use super::interface::InterfaceName;
use super::limit_times::TimedLimit;
use super::shares::NamedShare;
use super::tables::Tables;
use super::value::{
    ForWhom, Host, HostPorts, Ip, Kind, Level, Lines, Log, Maybe, Number, Path, Paths, Period, Port, PortOrAny, Served,
    Size, Truth, Watched,
};
use argh::FromArgs;
use toml::de::DeValue;

/// A key of the configuration.
pub struct Key {
    /// As in the file; the option and the environment variable are made from it.
    pub name: &'static str,
    pub meaning: &'static str,
    /// The value when nothing sets it, as one would write it; empty when it has none.
    pub default: &'static str,
    /// What is used while it has no value.
    pub unset: &'static str,
    /// When a changed value comes into force in a daemon that runs.
    pub in_force_from: InForceFrom,
    pub(super) used_by: UsedBy,
    pub(super) set_word: fn(&mut Config, &str) -> Result<(), String>,
    pub(super) set_toml: fn(&mut Config, &DeValue<'_>) -> Result<(), ValueFault>,
    pub(super) show: fn(&Config) -> String,
    /// Sets the first to the value that the second has.
    pub(super) copy: fn(&mut Config, &Config),
    /// Whether both have the same value, however it was written.
    pub(super) same: fn(&Config, &Config) -> bool,
    pub(super) option: fn(&Options) -> Option<&str>,
}

/// When a changed value of a key comes into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InForceFrom {
    /// At once, when the configuration is reloaded.
    Reload,
    /// When the daemon is started again: until then it uses the value that it was started with.
    NextStart,
}

/// In which nodes a key has an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UsedBy {
    AnyNode,
    /// All but bootstrap nodes alone.
    Peer,
    /// Peers with a `bootstrap_addr`, and those that are alone on their machine.
    BootstrapAddr,
    /// Those that serve as a bootstrap node.
    BootstrapNode,
}

impl Key {
    /// `--listen-port`.
    pub fn option_name(&self) -> String {
        option_name(self.name)
    }

    /// `PYRATE_LISTEN_PORT`.
    pub fn variable_name(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_uppercase())
    }
}

fn option_name(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}

/// What the environment variables of all keys begin with.
pub(super) const VARIABLE_PREFIX: &str = "PYRATE_";

const SECOND_MS: u64 = 1000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

impl Config {
    /// Whether a key has an effect in the node of this configuration.
    pub(super) fn uses(&self, key: &Key) -> bool {
        match key.used_by {
            UsedBy::AnyNode => true,
            UsedBy::Peer => self.peer,
            UsedBy::BootstrapAddr => self.peer && self.bootstrap_addr.is_some() || self.on_this_machine_alone(),
            UsedBy::BootstrapNode => self.serve().is_some(),
        }
    }

    /// Checks values that a program has set as if they were read, and makes the paths absolute.
    pub(super) fn check(&mut self, home: Option<&std::path::Path>) -> Result<(), Vec<ConfigFault>> {
        let fault = |key: &Key, message| ConfigFault { place: Place::Key(key.name), message };
        let mut scratch = Config::default();
        let mut faults = Vec::new();
        for key in KEYS {
            let shown = (key.show)(self);
            let outcome = match DeValue::parse(&shown) {
                Ok(value) => (key.set_toml)(&mut scratch, value.get_ref()),
                Err(error) => Err(error.message().to_owned().into()),
            };
            faults.extend(outcome.err().map(|bad| fault(key, bad.message)));
        }
        if let Err((spot, message)) = self.settle_paths(home) {
            faults.push(ConfigFault { place: Place::Key(spot.key), message });
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

macro_rules! keys {
    ($($name:ident: $kind:ty, $default:tt, $unset:tt, $used_by:ident, $from:ident, $meaning:tt;)*) => {
        /// All keys, in the order of the documentation.
        pub const KEYS: &[Key] = &[$(Key {
            name: stringify!($name),
            meaning: $meaning,
            default: $default,
            unset: $unset,
            in_force_from: InForceFrom::$from,
            used_by: UsedBy::$used_by,
            set_word: |config, text| <$kind as Kind>::word(text).map(|value| config.$name = value),
            set_toml: |config, value| <$kind as Kind>::located(value).map(|value| config.$name = value),
            show: |config| <$kind as Kind>::show(&config.$name),
            copy: |to, from| to.$name = from.$name.clone(),
            same: |one, other| one.$name == other.$name,
            option: |options| options.$name.as_deref(),
        }),*];

        // The words are constants, and each test that makes a configuration reads all of them.
        impl Default for Config {
            fn default() -> Self {
                Self { $($name: <$kind as Kind>::word($default).expect(stringify!($name)),)* }
            }
        }

        #[derive(FromArgs, Debug, Clone, Default)]
        #[argh(description = "The Pyrate daemon: shares a directory with a network of peers, or serves as its bootstrap node.\n\
            Every key of the configuration file is also an option, as below, and an environment variable\n\
            (PYRATE_LISTEN_PORT); an option beats the environment, which beats the file.")]
        #[argh(help_triggers("-h", "--help"))]
        #[argh(usage = "[--config <file>] [--<key> <value>]...\n       \
            {command_name} --check | --dump-config | --help | --version")]
        #[argh(note = "The file is the first found of --config, $XDG_CONFIG_HOME/pyrate/pyrated.toml and\n\
            /etc/pyrate/pyrated.toml. See pyrated(8), and pyrated.toml(5) for the keys.")]
        #[argh(error_code(0, "stopped as asked, by SIGTERM, SIGINT or `pyratectl stop`"))]
        #[argh(error_code(78, "the configuration is bad, or root runs the daemon without allow_root"))]
        #[argh(error_code(75, "an address, the control socket or the state directory is in use"))]
        #[argh(error_code(1, "anything else"))]
        pub(super) struct Options {
            /// the configuration file
            #[argh(option, arg_name = "file")]
            pub(super) config: Option<String>,
            /// check the configuration and exit
            #[argh(switch)]
            pub(super) check: bool,
            /// print the configuration in force, as a file, with the origin of each value, and exit
            #[argh(switch)]
            pub(super) dump_config: bool,
            /// print the version and exit
            #[argh(switch, short = 'V')]
            pub(super) version: bool,
            $(
                #[argh(option, arg_name = "value", description = $meaning)]
                pub(super) $name: Option<String>,
            )*
        }

        impl Options {
            /// All long options, as they are given.
            pub(super) fn names() -> Vec<String> {
                let others = [stringify!(config), stringify!(check), stringify!(dump_config), stringify!(version)];
                let named = others.into_iter().chain([$(stringify!($name)),*]).chain(["help"]);
                named.map(option_name).collect()
            }
        }
    };
}

keys! {
    bootstrap_addr: Maybe<Host>, "", "none", Peer, Reload,
        "the bootstrap node to register with: host name or IP address";
    bootstrap_port: Port, "21168", "", BootstrapAddr, Reload,
        "the port of bootstrap_addr";
    bootstraps: HostPorts, "", "none", Peer, Reload,
        "further bootstrap nodes, each as host:port; registered with all, any one suffices";
    listen_addr: Maybe<Ip>, "", "0.0.0.0; 127.0.0.1 while no bootstrap node is configured or served", Peer, NextStart,
        "the address where other peers reach us, or localhost for 127.0.0.1";
    listen_port: PortOrAny, "63339", "", Peer, NextStart,
        "the port where other peers reach us; 0 picks a free one";
    advertise_addr: Maybe<Ip>, "", "the one that reaches the bootstrap node", Peer, Reload,
        "the address given to other peers";
    interface: Maybe<InterfaceName>, "", "any", AnyNode, NextStart,
        "the network interface that all connections use, as wg0; while it is not there, there are none";
    keepalive_refresh: Period<100, { 10 * MINUTE_MS }>, "5m", "", Peer, Reload,
        "time between keepalives, as in 5m, or in seconds";
    filemonitor_refresh: Period<100, { 7 * DAY_MS }>, "60s", "", Peer, Reload,
        "time between rescans of the share, as in 60s, or in seconds";
    local_directory: Path, "~/pyrate-files", "", Peer, NextStart,
        "the directory shared, recursively; ~ is expanded";
    follow_symlinks: Truth, "false", "", Peer, NextStart,
        "whether symbolic links in the share are followed, also to what is outside of it";
    audience: ForWhom, "all", "", Peer, Reload,
        "for whom local_directory is: all, or peers with these addresses or from these ranges";
    share: Tables<NamedShare>, "", "none", Peer, Reload,
        "further directories shared, whose files have names of their own: a list of tables, each with path and name";
    download_directory: Maybe<Path>, "", "as local_directory", Peer, Reload,
        "where finished downloads go";
    watch_directory: Maybe<Path>, "", "none", Peer, NextStart,
        "where files *.pyrate with links, and manifests of directories (*.manifest), are looked for; each is downloaded once";
    log_file: Log, "stderr", "", AnyNode, Reload,
        "where the log goes: a path, or stderr (with the journal's priorities under systemd)";
    log_format: Lines, "text", "", AnyNode, Reload,
        "how a line of the log is written: text, or json for a JSON object";
    log_level: Level, "info", "", AnyNode, Reload,
        "how much is logged: error, warn, info, debug or trace";
    max_workers: Number<usize, 1, 65536>, "256", "", Peer, Reload,
        "commands in progress at once (uploads, downloads, outgoing requests); the rest queue";
    max_downloads: Number<usize, 1, 1000>, "5", "", Peer, Reload,
        "parallel downloads";
    max_peers: Number<usize, 1, 1000>, "8", "", Peer, Reload,
        "how many neighbours a search is sent to";
    max_ttl: Number<u8, 1, 255>, "7", "", Peer, Reload,
        "TTL of a search, and clamp on the searches of others";
    upload_limit: Size, "0", "", Peer, Reload,
        "bytes a second of all uploads together, as in 10MiB; 0 is no limit";
    download_limit: Size, "0", "", Peer, Reload,
        "bytes a second of all downloads together, as in 10MiB; 0 is no limit";
    limit: Tables<TimedLimit>, "", "none", Peer, Reload,
        "rate limits for times of the week, which override the others: a list of tables, each with when and a limit";
    control_socket: Maybe<Path>, "", "in $RUNTIME_DIRECTORY or $XDG_RUNTIME_DIR", AnyNode, NextStart,
        "the Unix socket for pyratectl";
    state_directory: Maybe<Path>, "", "$STATE_DIRECTORY or one below $XDG_STATE_HOME", AnyNode, NextStart,
        "where known peers, unfinished downloads, hashes and registrations are kept across restarts";
    sandbox: Truth, "false", "", AnyNode, NextStart,
        "whether to restrict the daemon to its own directories, where the kernel has Landlock";
    sandbox_writable: Paths, "", "none", Peer, NextStart,
        "further directories that downloads may be saved to from inside the sandbox";
    sandbox_readable: Paths, "", "none", Peer, NextStart,
        "further directories that links in the share may lead to from inside the sandbox";
    allow_root: Truth, "false", "", AnyNode, NextStart,
        "whether root may run the daemon, which is refused otherwise";
    hand_over: Truth, "false", "", AnyNode, NextStart,
        "whether a stop leaves listeners and running uploads to the next start, with a service manager that keeps them";
    bootstrap_serve: Served, "off", "", AnyNode, NextStart,
        "where to serve as a bootstrap node: addr:port, or off";
    bootstrap_verify: Truth, "false", "", BootstrapNode, NextStart,
        "whether a bootstrap node dials those who register, and lists those first that answer";
    metrics_listen: Watched, "off", "", AnyNode, NextStart,
        "where to serve metrics for Prometheus: addr:port, a port of 127.0.0.1, or off";
    peer: Truth, "true", "", AnyNode, NextStart,
        "whether to be a peer; false: bootstrap node only, at 0.0.0.0:21168 unless bootstrap_serve says otherwise";
}

#[cfg(test)]
mod tests;
