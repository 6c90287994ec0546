//! Everything that can fail before the first turn: binding, opening, restoring.

use super::clock::Clock;
use super::cx::{Cx, Outputs, Phase};
use super::disk::{Disk, SharePlace};
use super::front::{BindFault, ControlListener, Front, MetricsListener};
use super::handing_over::take_over;
use super::histogram::Histogram;
use super::interface::Interface;
use super::interface_watch::Watch;
use super::local_addrs::local_addrs;
use super::net::{Listener, Net, STEP_BYTES_MAX, Service, shares_at_work_max};
use super::passed::{BOOTSTRAP, KEPT_BOOTSTRAP, KEPT_METRICS, KEPT_PEER, KeptControl, PEER, Passed};
use super::rate_orders::RateOrders;
use super::scanned::HELD_MAX;
use super::signals::Signals;
use super::tokens::{CONTROL, LISTENERS, METRICS, SIGNALS, WAKER, WATCH};
use super::{Driver, Facts, Handle, Host, Settings, StartFault};
use crate::aligned::Aligned;
use crate::bootstrap::Bootstrap;
use crate::node::Node;
use crate::store::{HashCache, ShareRoot, StateDirectory};
use crate::time::Instant;
use log::{info, warn};
use mio::{Poll, Registry, Token, Waker};
use socket2::Socket;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// The hash cache in the state directory.
const HASHES_FILE: &str = "hashes";

impl Driver {
    /// Binds the listeners and the control socket, opens the share and restores peers and registrations.
    /// Errors: An address or a control socket in use, or what the system says of a path.
    pub(crate) fn start(mut settings: Settings, host: Box<dyn Host>) -> Result<Box<Self>, StartFault> {
        let poll = Poll::new().map_err(io_fault("epoll"))?;
        let registry = poll.registry();
        let waker = Arc::new(Waker::new(registry, WAKER).map_err(io_fault("eventfd"))?);
        let signals = settings.signals.then(|| Signals::register(registry, SIGNALS));
        let signals = signals.transpose().map_err(io_fault("signalfd"))?;
        check_openat2(&settings)?;
        let (listeners, mut facts) = bind_all(&mut settings, registry)?;
        let control = match &settings.control_socket {
            Some(path) => Some(bind_control(path, settings.passed.kept_control(), registry)?),
            None => None,
        };
        let metrics = settings.metrics_listen;
        let metrics = metrics.map(|addr| bind_metrics(addr, &settings.interface, &mut settings.passed, registry));
        let metrics = metrics.transpose()?;
        facts.metrics = settings.metrics_listen;
        let clock = Clock::start();
        let now = clock.now();
        let seed = settings.seed.map_or_else(random_seed, Ok).map_err(io_fault("/dev/urandom"))?;
        let cache = open_cache(settings.state.as_ref().filter(|_| settings.listen.is_some()))?;
        let (path, follow_symlinks) = (settings.share, settings.follow_symlinks);
        let share = SharePlace {
            path,
            follow_symlinks,
            named: settings.node.shares.clone(),
            at_work_max: shares_at_work_max(),
        };
        let (mut disk, mut remembered) = Disk::open(settings.state, share, cache, &waker, clock)?;
        if let Some(directory) = settings.watch_directory {
            disk.watch(directory, registry, WATCH, now);
        }
        let bootstrap = facts.bootstrap.map(|_| new_bootstrap(settings.bootstrap_verify, now, seed, &mut disk));
        let kept = take_over(&mut settings.passed, &settings.interface, &settings.node);
        remembered.files = kept.iter().map(|upload| upload.file.clone()).collect();
        let mut config = settings.node;
        config.listen = facts.listen.unwrap_or(config.listen);
        config.local_addrs = local_addrs(&settings.interface);
        let rate_orders = RateOrders::new(settings.limits, settings.limit_times, clock.wall().epoch_ms(now));
        let limits = rate_orders.in_force();
        (config.upload_limit, config.download_limit) = (limits.upload, limits.download);
        // In a box: by value each function on the way to the loop would have a copy on the stack of the first thread, whose pages stay.
        let mut driver = Box::new(Self {
            clock,
            cx: Cx {
                now,
                phase: Phase::Running,
                scratch: Aligned::zeroed(STEP_BYTES_MAX),
                reads: Default::default(),
                out: Outputs::default(),
            },
            net: Net::new(poll, settings.interface.clone(), listeners, limits, now),
            rate_orders,
            disk,
            front: Front::new(control, metrics, host),
            node: Node::new(now, config, seed, remembered),
            bootstrap,
            interface: Watch::new(&settings.interface, now),
            signals,
            handle: Handle::new(waker),
            facts,
            awaiting_file: Default::default(),
            supervision: None,
            handing_over: None,
            held_until: Some(now + HELD_MAX),
            turns: Histogram::default(),
        });
        driver.resume(kept);
        Ok(driver)
    }
}

/// Opens the hash cache of the state directory, or one in memory. A bootstrap node shares nothing: without the file it does not
/// use SQLite, which saves 0.6 MiB of resident memory.
fn open_cache(state: Option<&StateDirectory>) -> Result<HashCache, StartFault> {
    let path = state.map(|state| state.path().join(HASHES_FILE));
    match HashCache::open(path.as_deref()) {
        Ok((cache, None)) => Ok(cache),
        Ok((cache, Some(note))) => {
            warn!("{note}");
            Ok(cache)
        }
        Err(fault) => {
            warn!("cannot open the hash cache, files will be hashed again after a restart: {fault}");
            let in_memory = HashCache::open(None).map_err(io::Error::other);
            Ok(in_memory.map_err(io_fault("the hash cache"))?.0)
        }
    }
}

fn io_fault(what: impl Into<String>) -> impl FnOnce(io::Error) -> StartFault {
    move |error| StartFault::Io { what: what.into(), error }
}

/// Whether shares can be opened. No share is looked at here, where a signal would not be heard while one hangs: the first scan opens
/// them, and reports that it cannot.
fn check_openat2(settings: &Settings) -> Result<(), StartFault> {
    match ShareRoot::open(Path::new("/")) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported && settings.node.peer => {
            Err(StartFault::Io { what: format!("cannot open the share {}", settings.share.display()), error })
        }
        _ => Ok(()),
    }
}

fn bind_all(settings: &mut Settings, registry: &Registry) -> Result<(Vec<Listener>, Facts), StartFault> {
    let mut listeners: Vec<Listener> = Vec::new();
    let interface = settings.interface.clone();
    let for_metrics = settings.metrics_listen.map_or_else(Interface::default, |addr| interface.for_metrics(addr));
    settings.passed.close_unwanted(&[
        (KEPT_BOOTSTRAP, settings.bootstrap_serve, &interface),
        (KEPT_PEER, settings.listen, &interface),
        (KEPT_METRICS, settings.metrics_listen, &for_metrics),
    ]);
    let mut facts = Facts { control: settings.control_socket.clone(), ..Facts::default() };
    if let Some(addr) = settings.bootstrap_serve {
        let passed = settings
            .passed
            .listener(BOOTSTRAP, addr, "bootstrap_serve says", &interface)
            .map_err(StartFault::Passed)?;
        let socket = passed.or_else(|| settings.passed.kept_listener(KEPT_BOOTSTRAP));
        let place = (Service::Bootstrap, listeners.len());
        match bind((addr, &interface), place, socket, &settings.passed, registry) {
            Ok((listener, bound)) => {
                listeners.push(listener);
                facts.bootstrap = Some(bound);
            }
            Err(StartFault::AddressInUse { .. }) if settings.bootstrap_optional => {
                info!("something listens at {addr} already: using it as the bootstrap node");
            }
            Err(fault) => return Err(fault),
        }
    }
    if let Some(addr) = settings.listen {
        let keys = "listen_addr and listen_port say";
        let passed = settings.passed.listener(PEER, addr, keys, &interface).map_err(StartFault::Passed)?;
        let socket = passed.or_else(|| settings.passed.kept_listener(KEPT_PEER));
        let is_passed = socket.is_some();
        let place = (Service::Peer, listeners.len());
        let (mut listener, bound) = bind((addr, &interface), place, socket, &settings.passed, registry)?;
        listener.hold(is_passed);
        listeners.push(listener);
        facts.listen = Some(bound);
    }
    settings.passed.must_be_used_up().map_err(StartFault::Passed)?;
    Ok((listeners, facts))
}

/// `socket`: the listener, if it is there already.
fn bind(
    (addr, interface): (SocketAddr, &Interface),
    (service, index): (Service, usize),
    socket: Option<Socket>,
    passed: &Passed,
    registry: &Registry,
) -> Result<(Listener, SocketAddr), StartFault> {
    let what = match service {
        Service::Peer => "peer",
        Service::Bootstrap => "bootstrap node",
    };
    let token = Token(LISTENERS.0 + index);
    let bound = match socket {
        Some(socket) => Listener::adopt(socket, service, registry, token),
        None => passed.bind_after(|| Listener::bind(addr, interface, service, registry, token)),
    };
    let bound = bound.and_then(|listener| listener.local_addr().map(|addr| (listener, addr)));
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => StartFault::AddressInUse { what, addr, advice: in_use_advice(service) },
        _ => StartFault::Io { what: format!("{what}: cannot listen at {addr}"), error: with_advice(error, addr) },
    })
}

/// A port that is not for everybody: the error says for whom it is.
fn with_advice(error: io::Error, addr: SocketAddr) -> io::Error {
    if error.kind() == io::ErrorKind::PermissionDenied && addr.port() < 1024 {
        let kind = error.kind();
        return io::Error::new(kind, format!("{error}; ports below 1024 need CAP_NET_BIND_SERVICE: name another one"));
    }
    error
}

/// Who may hold the address of such a listener, and what to do.
fn in_use_advice(service: Service) -> &'static str {
    match service {
        Service::Peer => "another pyrated may be running; --listen-port 0 picks a free port",
        Service::Bootstrap => {
            "another bootstrap node may be running, or a pyrated without configuration, which runs a bootstrap node of its own \
             at 127.0.0.1; `pyratectl stop` ends it"
        }
    }
}

/// `kept`: the socket, if an earlier run has left it.
fn bind_control(path: &Path, kept: Option<KeptControl>, registry: &Registry) -> Result<ControlListener, StartFault> {
    let bound = match kept {
        Some(kept) => ControlListener::adopt(kept, registry, CONTROL).map_err(BindFault::from),
        None => ControlListener::bind(path, registry, CONTROL),
    };
    bound.map_err(|fault| match fault {
        BindFault::InUse => StartFault::ControlInUse { path: path.to_owned() },
        BindFault::Io(error) => StartFault::Io { what: format!("control socket {}", path.display()), error },
    })
}

fn bind_metrics(
    addr: SocketAddr,
    interface: &Interface,
    passed: &mut Passed,
    registry: &Registry,
) -> Result<MetricsListener, StartFault> {
    let interface = interface.for_metrics(addr);
    let listening = match passed.kept_listener(KEPT_METRICS) {
        Some(kept) => Ok(kept),
        None => passed.bind_after(|| Listener::listening(addr, &interface)),
    };
    listening.and_then(|socket| MetricsListener::adopt(socket, registry, METRICS)).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => StartFault::AddressInUse {
            what: "metrics",
            addr,
            advice: "another program listens there; metrics_listen takes another port, or off",
        },
        _ => StartFault::Io { what: format!("metrics: cannot listen at {addr}"), error },
    })
}

/// A bootstrap node with the registrations of an earlier run.
fn new_bootstrap(verifies: bool, now: Instant, seed: [u8; 32], disk: &mut Disk) -> Bootstrap {
    // Its own stream of numbers: what the registry draws must tell nothing of the node's query IDs.
    let mut bootstrap = Bootstrap::new(now, seed.map(|byte| !byte));
    if verifies {
        bootstrap = bootstrap.checking();
    }
    disk.restore(&mut bootstrap, now);
    bootstrap
}

fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}
