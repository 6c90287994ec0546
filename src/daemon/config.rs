//! The configuration as values, and what is derived from them.

use super::fault::Spot;
use super::limit_times::{TimedLimit, rate_times};
use super::log_line::LogFormat;
use super::shares::NamedShare;
use super::value::LogPlace;
use crate::audience::{Audience, Audiences};
use crate::control::ReloadReply;
use crate::driver::{Interface, RateLimits, RateTimes, Reload};
use crate::node::contract::{BootstrapAddr, NodeConfig};
use log::LevelFilter;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// Usual port of a bootstrap node (PROTOCOL, part 1).
const BOOTSTRAP_PORT: u16 = 21168;

/// A bootstrap node drops a peer that was silent for 10 minutes; a longer time between keepalives allows for none that is
/// lost or late.
const KEEPALIVE_ADVISED_MAX: Duration = Duration::from_secs(9 * 60);

/// What [`Client`](crate::Client), [`Bootstrap`](crate::Bootstrap) and `pyrated` are built from: the keys of the
/// configuration table, with its defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The bootstrap node to register with: host name or IP literal (IPv6 without brackets).
    pub bootstrap_addr: Option<String>,
    /// Its port; not 0.
    pub bootstrap_port: u16,
    /// Further bootstrap nodes. The peer registers with all; any one suffices.
    pub bootstraps: Vec<BootstrapAddr>,
    /// The address where other peers reach us; if absent `0.0.0.0`, or `127.0.0.1` while no bootstrap node is
    /// configured or served.
    pub listen_addr: Option<IpAddr>,
    /// The port where other peers reach us; 0 picks a free one.
    pub listen_port: u16,
    /// The address given to other peers; if absent, the one that reaches the bootstrap node.
    pub advertise_addr: Option<IpAddr>,
    /// The network interface that all connections are bound to; if absent, any. While it is not there, there are none.
    pub interface: Option<String>,
    /// Time between keepalives.
    pub keepalive_refresh: Duration,
    /// Time between rescans of the share.
    pub filemonitor_refresh: Duration,
    /// The directory shared, recursively; a leading `~` is expanded.
    pub local_directory: PathBuf,
    /// Whether symbolic links in the share are followed, also to what is outside of it. If not, they are left out.
    pub follow_symlinks: bool,
    /// For whom `local_directory` is.
    pub audience: Audience,
    /// Further shares, whose files have names of their own.
    pub share: Vec<NamedShare>,
    /// Where finished downloads go; if absent, `local_directory`.
    pub download_directory: Option<PathBuf>,
    /// Where users put files with links, each of which is downloaded once.
    pub watch_directory: Option<PathBuf>,
    /// Where `pyrated` logs. [`Client`](crate::Client) and [`Bootstrap`](crate::Bootstrap) leave logging to the
    /// program that embeds them, which sets up the `log` crate as it likes.
    pub log_file: LogPlace,
    /// How the lines of the log are written.
    pub log_format: LogFormat,
    /// How much `pyrated` logs.
    pub log_level: LevelFilter,
    /// Commands in progress at once (uploads, downloads, outgoing requests); at least 1. The rest queue.
    pub max_workers: usize,
    /// Parallel downloads; at least 1.
    pub max_downloads: usize,
    /// Neighbours searched; at least 1.
    pub max_peers: usize,
    /// TTL of the widest ring of a search, and clamp on the searches of others; at least 1.
    pub max_ttl: u8,
    /// Bytes a second of all uploads together; 0 is no limit.
    pub upload_limit: u64,
    /// Bytes a second of all downloads together; 0 is no limit.
    pub download_limit: u64,
    /// Rate limits for times of the week. Of those that hold at a time the first is in force, for each direction.
    pub limit: Vec<TimedLimit>,
    /// The Unix socket for `pyratectl`. If absent, `pyrated` uses the default place, and an embedded node has none.
    pub control_socket: Option<PathBuf>,
    /// Known peers, unfinished downloads, hashes and registrations, kept across restarts. If absent, `pyrated` uses the
    /// default place, and an embedded node keeps nothing.
    pub state_directory: Option<PathBuf>,
    /// Whether `pyrated` restricts itself to its own directories. [`Client`](crate::Client) and
    /// [`Bootstrap`](crate::Bootstrap) leave that to the program that embeds them.
    pub sandbox: bool,
    /// Further directories that downloads may be saved to from inside the sandbox.
    pub sandbox_writable: Vec<PathBuf>,
    /// Further directories that may be read from inside the sandbox, as those that symbolic links in the share lead to.
    pub sandbox_readable: Vec<PathBuf>,
    /// Whether root may run `pyrated`. [`Client`](crate::Client) and [`Bootstrap`](crate::Bootstrap) leave that to the
    /// program that embeds them.
    pub allow_root: bool,
    /// Whether `pyrated` leaves listeners and running uploads to its next start. [`Client`](crate::Client) and
    /// [`Bootstrap`](crate::Bootstrap) end them.
    pub hand_over: bool,
    /// Serve as a bootstrap node here; port 0 picks a free one.
    pub bootstrap_serve: Option<SocketAddr>,
    /// Where the metrics are served over HTTP.
    pub metrics_listen: Option<SocketAddr>,
    /// As a bootstrap node, dial those who register, and list those first that answer.
    pub bootstrap_verify: bool,
    /// If false, the node is a bootstrap node only.
    pub peer: bool,
}

impl Config {
    /// Whether no bootstrap node is named and none is served: the node is then useful on this machine alone.
    pub(super) fn on_this_machine_alone(&self) -> bool {
        self.peer && self.bootstrap_addr.is_none() && self.bootstraps.is_empty() && self.bootstrap_serve.is_none()
    }

    /// The bootstrap nodes to register with, without repeats.
    ///
    /// A node that serves as a bootstrap node and names none registers with itself, provided that its configuration
    /// has an address that others can use: others are given the address from which it registers.
    pub(super) fn links(&self) -> Vec<BootstrapAddr> {
        if !self.peer {
            return Vec::new();
        }
        let named = self.bootstrap_addr.iter().map(|host| (host.clone(), self.bootstrap_port));
        let further = self.bootstraps.iter().map(|node| (node.host.clone(), node.port));
        let mut links: Vec<BootstrapAddr> = Vec::new();
        for (host, port) in named.chain(further).chain(self.own_link()) {
            let link = BootstrapAddr { host, port };
            if !links.contains(&link) {
                links.push(link);
            }
        }
        links
    }

    fn own_link(&self) -> Option<(String, u16)> {
        if self.bootstrap_addr.is_some() || !self.bootstraps.is_empty() {
            return None;
        }
        let serve = self.serve().filter(|serve| serve.port() != 0)?;
        let ip = if serve.ip().is_unspecified() { self.advertise_addr? } else { serve.ip() };
        Some((ip.to_string(), serve.port()))
    }

    /// Where to serve as a bootstrap node, if at all.
    pub(super) fn serve(&self) -> Option<SocketAddr> {
        if self.on_this_machine_alone() {
            return Some(SocketAddr::from((Ipv4Addr::LOCALHOST, self.bootstrap_port)));
        }
        let usual = || SocketAddr::from((Ipv4Addr::UNSPECIFIED, BOOTSTRAP_PORT));
        if self.peer { self.bootstrap_serve } else { Some(self.bootstrap_serve.unwrap_or_else(usual)) }
    }

    /// What all connections are bound to.
    pub(super) fn interface(&self) -> Interface {
        Interface::new(self.interface.as_deref())
    }

    /// Where the peer listens, unless this is a bootstrap node only.
    pub(super) fn listen(&self) -> Option<SocketAddr> {
        self.peer.then(|| SocketAddr::new(self.effective_listen_addr(), self.listen_port))
    }

    fn effective_listen_addr(&self) -> IpAddr {
        let alone = self.on_this_machine_alone();
        let usual = if alone { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        self.listen_addr.unwrap_or(IpAddr::V4(usual))
    }

    /// What the node is built from. The driver adds the address at which it listens and those of the machine.
    pub(super) fn node(&self) -> NodeConfig {
        NodeConfig {
            bootstraps: self.links(),
            listen: SocketAddr::new(self.effective_listen_addr(), self.listen_port),
            advertise_addr: self.advertise_addr,
            local_addrs: Vec::new(),
            keepalive_refresh: self.keepalive_refresh,
            filemonitor_refresh: self.filemonitor_refresh,
            local_directory: self.local_directory.clone(),
            shares: self.share.iter().filter_map(NamedShare::place).collect(),
            audiences: self.audiences(),
            download_directory: self.effective_download_directory().to_owned(),
            max_workers: self.max_workers,
            max_downloads: self.max_downloads,
            upload_limit: self.upload_limit,
            download_limit: self.download_limit,
            max_peers: self.max_peers,
            max_ttl: self.max_ttl,
            peer: self.peer,
        }
    }

    fn audiences(&self) -> Audiences {
        let named = self.share.iter().map(|share| (&share.name, share.audience.clone()));
        Audiences::new(self.audience.clone(), named)
    }

    /// The rate limits, for the loop.
    pub(super) fn limits(&self) -> RateLimits {
        RateLimits { upload: self.upload_limit, download: self.download_limit }
    }

    /// Those for times of the week. Reads the time zone of this machine if there are any.
    pub(super) fn limit_times(&self) -> RateTimes {
        rate_times(&self.limit)
    }

    /// The part that a running loop can change to.
    pub(super) fn reload(&self, limit_times: RateTimes, report: ReloadReply) -> Reload {
        Reload { node: self.node(), limits: self.limits(), limit_times, report }
    }

    pub(super) fn effective_download_directory(&self) -> &Path {
        self.download_directory.as_deref().unwrap_or(&self.local_directory)
    }

    /// Whether it shares the default directory, which is made if it is missing.
    pub(super) fn has_default_share(&self) -> bool {
        let mut default = Self::default();
        default.settle_paths(std::env::home_dir().as_deref()).is_ok() && default.local_directory == self.local_directory
    }

    /// Makes all paths absolute: a leading `~` becomes the home directory, a relative path starts where the program
    /// was started. The error says which path.
    pub(super) fn settle_paths(&mut self, home: Option<&Path>) -> Result<(), (Spot, String)> {
        let mut paths: Vec<(Spot, &mut PathBuf)> = vec![("local_directory".into(), &mut self.local_directory)];
        let shares = self.share.iter_mut().enumerate();
        paths.extend(shares.map(|(at, share)| (Spot::field("share", at, "path"), &mut share.path)));
        paths.extend(self.download_directory.as_mut().map(|path| ("download_directory".into(), path)));
        paths.extend(self.watch_directory.as_mut().map(|path| ("watch_directory".into(), path)));
        paths.extend(self.control_socket.as_mut().map(|path| ("control_socket".into(), path)));
        paths.extend(self.state_directory.as_mut().map(|path| ("state_directory".into(), path)));
        paths.extend(self.sandbox_writable.iter_mut().map(|path| ("sandbox_writable".into(), path)));
        paths.extend(self.sandbox_readable.iter_mut().map(|path| ("sandbox_readable".into(), path)));
        if let LogPlace::File(path) = &mut self.log_file {
            paths.push(("log_file".into(), path));
        }
        for (spot, path) in paths {
            if let Ok(rest) = path.strip_prefix("~") {
                let Some(home) = home else {
                    // A bootstrap node uses no directories, and its user may have no home.
                    let is_peers =
                        matches!(spot.key, "local_directory" | "share" | "download_directory" | "watch_directory");
                    if !self.peer && is_peers {
                        continue;
                    }
                    return Err((spot, "~ cannot be expanded, since HOME is not set".to_owned()));
                };
                *path = if rest.as_os_str().is_empty() { home.to_owned() } else { home.join(rest) };
            }
            *path = absolute(path).map_err(|error| (spot, error.to_string()))?;
        }
        Ok(())
    }

    /// Warnings about values that are valid but have a surprising effect.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.peer && self.keepalive_refresh > KEEPALIVE_ADVISED_MAX {
            remarks.push(format!(
                "keepalive_refresh is {}: bootstrap nodes drop a peer that was silent for 10m, so that we may be off \
                 their lists for moments",
                humantime::format_duration(self.keepalive_refresh)
            ));
        }
        if self.peer && self.links().is_empty() {
            remarks.push(
                "this daemon serves as a bootstrap node, but its own peer is registered nowhere: set bootstrap_addr to \
                 the address by which others reach this machine"
                    .to_owned(),
            );
        }
        let follows_none = !self.follow_symlinks && self.share.iter().all(|share| !share.follow_symlinks);
        if self.peer && follows_none && !self.sandbox_readable.is_empty() {
            remarks.push("sandbox_readable is without effect, since follow_symlinks is false".to_owned());
        }
        if self.advertise_addr.is_none()
            && let Some(listen) = self.listen().filter(|listen| listen.ip().is_loopback())
            && let Some(link) = self.links().iter().find(|link| !link.is_on_this_machine())
        {
            remarks.push(format!(
                "listen_addr is {}, which other machines cannot reach, and the bootstrap node {} is on another one: \
                 remove listen_addr, or set it to 0.0.0.0",
                listen.ip(),
                link.host
            ));
        }
        remarks
    }

    /// The same configuration, with the defaults written out that depend on other keys.
    pub(super) fn resolved(&self) -> Self {
        let mut resolved = self.clone();
        resolved.listen_addr = Some(self.effective_listen_addr());
        resolved.download_directory = Some(self.effective_download_directory().to_owned());
        resolved.bootstrap_serve = self.serve();
        resolved
    }
}

/// Where the program was started, once it has left that directory.
static START: OnceLock<PathBuf> = OnceLock::new();

/// Leaves the directory in which the program was started, so that it can be unmounted. Relative paths of the configuration
/// still start there.
///
/// # Errors
/// As the system reports them.
pub(super) fn leave_start_directory() -> io::Result<()> {
    let start = std::env::current_dir()?;
    std::env::set_current_dir("/")?;
    // It is left once.
    let _ = START.set(start);
    Ok(())
}

fn absolute(path: &Path) -> io::Result<PathBuf> {
    std::path::absolute(START.get().map_or_else(|| path.to_owned(), |start| start.join(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_configured_gives_a_node_on_this_machine_alone() {
        let config = Config::default();
        assert!(config.on_this_machine_alone());
        assert_eq!(config.serve(), Some("127.0.0.1:21168".parse().unwrap()));
        assert_eq!(config.listen(), Some("127.0.0.1:63339".parse().unwrap()));
        assert_eq!(config.links(), [BootstrapAddr { host: "127.0.0.1".to_owned(), port: 21168 }]);
        assert_eq!(config.remarks(), Vec::<String>::new());
    }

    #[test]
    fn a_bootstrap_node_alone_serves_every_address_and_registers_nowhere() {
        let config = Config { peer: false, bootstrap_addr: Some("b.example".to_owned()), ..Config::default() };
        assert_eq!((config.serve(), config.listen()), (Some("0.0.0.0:21168".parse().unwrap()), None));
        assert!(config.links().is_empty() && config.remarks().is_empty());
    }

    #[test]
    fn what_the_sandbox_would_allow_links_to_is_remarked_where_none_is_followed() {
        let config = Config { sandbox_readable: vec!["/data".into()], ..Config::default() };
        assert_eq!(config.remarks(), ["sandbox_readable is without effect, since follow_symlinks is false"]);
        assert_eq!(Config { follow_symlinks: true, ..config }.remarks(), [""; 0]);
    }

    #[test]
    fn the_same_bootstrap_node_named_twice_is_one_link() {
        let twice = BootstrapAddr { host: "b.example".to_owned(), port: 21168 };
        let config = Config {
            bootstrap_addr: Some("b.example".to_owned()),
            bootstraps: vec![twice.clone(), BootstrapAddr { host: "c.example".to_owned(), port: 1 }, twice.clone()],
            ..Config::default()
        };
        assert_eq!(config.links(), [twice, BootstrapAddr { host: "c.example".to_owned(), port: 1 }]);
        assert_eq!((config.serve(), config.listen()), (None, Some("0.0.0.0:63339".parse().unwrap())));
    }

    #[test]
    fn a_daemon_that_serves_registers_with_itself_where_others_can_reach_it() {
        let serving = |serve: &str, advertise: Option<&str>| Config {
            bootstrap_serve: Some(serve.parse().unwrap()),
            advertise_addr: advertise.map(|ip| ip.parse().unwrap()),
            ..Config::default()
        };
        let own = |host: &str| vec![BootstrapAddr { host: host.to_owned(), port: 7000 }];
        assert_eq!(serving("192.0.2.1:7000", None).links(), own("192.0.2.1"));
        assert_eq!(serving("0.0.0.0:7000", Some("192.0.2.9")).links(), own("192.0.2.9"));
        let nowhere = serving("0.0.0.0:7000", None);
        assert!(nowhere.links().is_empty());
        assert!(nowhere.remarks()[0].contains("registered nowhere"));
    }

    #[test]
    fn paths_become_absolute_or_name_their_key() {
        let mut config = Config { download_directory: Some(PathBuf::from("relative")), ..Config::default() };
        config.settle_paths(Some(Path::new("/home/ann"))).unwrap();
        assert_eq!(config.local_directory, Path::new("/home/ann/pyrate-files"));
        assert!(config.download_directory.unwrap().is_absolute());
        assert_eq!(Config::default().settle_paths(None).unwrap_err().0.key, "local_directory");
        Config { peer: false, ..Config::default() }.settle_paths(None).unwrap();
    }

    #[test]
    fn values_that_do_not_do_what_they_seem_to_are_said_aloud() {
        let config = Config { upload_limit: 1, keepalive_refresh: Duration::from_secs(600), ..Config::default() };
        let remarks = config.remarks();
        assert!(remarks.len() == 1 && remarks[0].contains("keepalive_refresh"), "{remarks:?}");
    }

    #[test]
    fn a_peer_that_other_machines_cannot_reach_is_told_so() {
        let remarks = |listen: &str, bootstrap: &str, advertise: Option<&str>| {
            let config = Config {
                listen_addr: Some(listen.parse().unwrap()),
                bootstrap_addr: Some(bootstrap.to_owned()),
                advertise_addr: advertise.map(|addr| addr.parse().unwrap()),
                ..Config::default()
            };
            config.remarks()
        };
        for elsewhere in ["b.example", "192.0.2.1"] {
            let told = remarks("127.0.0.1", elsewhere, None);
            assert!(told.len() == 1 && told[0].contains("remove listen_addr"), "{told:?}");
        }
        for (listen, bootstrap, advertise) in [
            ("0.0.0.0", "b.example", None),
            ("127.0.0.1", "127.0.0.2", None),
            ("::1", "localhost", None),
            ("127.0.0.1", "b.example", Some("192.0.2.9")),
        ] {
            assert_eq!(remarks(listen, bootstrap, advertise), Vec::<String>::new());
        }
    }
}
