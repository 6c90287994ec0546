//! A node inside another program: no signals, no log of its own, errors as values.
//!
//! | file | holds |
//! |---|---|
//! | here | starting and ending a node |
//! | `calls` | what a handle asks of its node |
//! | `rows`, `error` | what is answered |
//! | `link` | the connection to the loop, on which calls and notices are those of the control socket |

mod calls;
mod error;
mod link;
mod rows;

pub use calls::{Channel, Download, Files, Hits};
pub use error::Error;
pub use rows::{DirectoryFiles, Hit, Progress, SharedFile, Status, What};

use super::compose::compose;
use super::config::Config;
use super::fault::{Fault, Origins};
use super::probe::{START_WAIT_MAX, look_at};
use crate::control::ReloadReply;
use crate::driver::{self, Facts, Host, Reload, ReloadJob};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

/// How long a node may take to end.
const END_MAX: Duration = Duration::from_secs(5);

/// A peer: shares a directory, searches and downloads, as its [`Handle`] asks, or its control socket, if it has one.
///
/// Like `pyrated`, a client for which no bootstrap node is configured serves one on `127.0.0.1`, or uses the one that
/// another program serves there.
#[derive(Debug)]
pub struct Client(Embedded);

impl Client {
    /// Checks the configuration; nothing is bound yet. `peer` counts as true.
    ///
    /// # Errors
    ///
    /// [`Fault::Config`], with all that is wrong.
    pub fn new(config: Config) -> Result<Self, Fault> {
        Embedded::new(Config { peer: true, ..config }).map(Self)
    }

    /// A handle for any thread.
    pub fn handle(&self) -> Handle {
        self.0.handle()
    }

    /// Runs the node on this thread until [`Handle::quit`]; it unregisters before it returns.
    ///
    /// # Errors
    ///
    /// Any [`Fault`]: an address in use, for example.
    pub fn start(self) -> Result<(), Fault> {
        self.0.start()
    }

    /// Runs the node on a thread of its own. Returns when it listens.
    ///
    /// # Errors
    ///
    /// As of [`Client::start`].
    pub fn spawn(self) -> Result<Handle, Fault> {
        self.0.spawn()
    }
}

/// A bootstrap node: tells peers of each other.
#[derive(Debug)]
pub struct Bootstrap(Embedded);

impl Bootstrap {
    /// Checks the configuration; nothing is bound yet. `peer` counts as false, and `bootstrap_serve` as
    /// `0.0.0.0:21168` if it is absent.
    ///
    /// # Errors
    ///
    /// [`Fault::Config`], with all that is wrong.
    pub fn new(config: Config) -> Result<Self, Fault> {
        Embedded::new(Config { peer: false, ..config }).map(Self)
    }

    /// A handle for any thread.
    pub fn handle(&self) -> Handle {
        self.0.handle()
    }

    /// Runs the node on this thread until [`Handle::quit`].
    ///
    /// # Errors
    ///
    /// Any [`Fault`]: an address in use, for example.
    pub fn start(self) -> Result<(), Fault> {
        self.0.start()
    }

    /// Runs the node on a thread of its own. Returns when it listens.
    ///
    /// # Errors
    ///
    /// As of [`Bootstrap::start`].
    pub fn spawn(self) -> Result<Handle, Fault> {
        self.0.spawn()
    }
}

/// Reaches a [`Client`] or [`Bootstrap`] from any thread; also before the node is started. When the last handle of a node is
/// dropped, the node ends, as by [`Handle::quit`].
#[derive(Debug, Clone)]
pub struct Handle(Arc<Owner>);

/// All handles of a node.
#[derive(Debug)]
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.quit();
    }
}

#[derive(Debug)]
struct Shared {
    stage: Mutex<Stage>,
    changed: Condvar,
}

/// How far a node has come.
#[derive(Debug)]
enum Stage {
    New,
    QuitBeforeStart,
    Running {
        driver: driver::Handle,
        facts: Facts,
    },
    /// With the reason, if it failed.
    Ended(Option<String>),
}

impl Handle {
    /// Asks the node to unregister and end: [`Client::start`] returns within 5 s. A second call does nothing.
    pub fn quit(&self) {
        self.0.0.quit();
    }

    /// Asks the node to end, and waits until it has. Does not wait for a node that was not started.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if the node has failed, now or before.
    pub fn stop(self) -> Result<(), Error> {
        self.quit();
        let stage = self.0.0.wait_while(|stage| matches!(stage, Stage::Running { .. }));
        match &*stage {
            Stage::Ended(Some(why)) => Err(Error::Failed(why.clone())),
            _ => Ok(()),
        }
    }

    /// Waits until the node listens, and returns its addresses; `None` if it has ended, or ends before it listens.
    pub fn ready(&self) -> Option<Facts> {
        match &*self.0.0.started() {
            Stage::Running { facts, .. } => Some(facts.clone()),
            _ => None,
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }
}

impl Shared {
    fn quit(&self) {
        let mut stage = self.stage();
        match &*stage {
            Stage::New => *stage = Stage::QuitBeforeStart,
            Stage::Running { driver, .. } => driver.quit(),
            Stage::QuitBeforeStart | Stage::Ended(_) => {}
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, mut waits: impl FnMut(&Stage) -> bool) -> MutexGuard<'_, Stage> {
        self.changed.wait_while(self.stage(), |stage| waits(stage)).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the node listens or has ended.
    fn started(&self) -> MutexGuard<'_, Stage> {
        self.wait_while(|stage| matches!(stage, Stage::New | Stage::QuitBeforeStart))
    }

    /// A connection to the loop, when the node listens.
    fn connect(&self) -> Result<UnixStream, Error> {
        match &*self.started() {
            Stage::Running { driver, .. } => {
                driver.connect().map_err(|error| Error::Other(format!("no connection to the node: {error}")))
            }
            Stage::Ended(Some(why)) => Err(Error::Failed(why.clone())),
            _ => Err(Error::Stopped),
        }
    }

    /// Why the node has closed a connection. One that ends closes its connections a little earlier.
    fn why_closed(&self) -> Error {
        let runs = |stage: &mut Stage| matches!(stage, Stage::Running { .. });
        let waited = self.changed.wait_timeout_while(self.stage(), END_MAX, runs);
        match &*waited.unwrap_or_else(PoisonError::into_inner).0 {
            Stage::Ended(Some(why)) => Error::Failed(why.clone()),
            Stage::Running { .. } => Error::Other("the node has closed the connection".to_owned()),
            _ => Error::Stopped,
        }
    }

    /// The node listens. A call of `quit` before this moment is passed on; the lock is held so that none is lost.
    fn set_running(&self, driver: driver::Handle, facts: Facts) {
        let mut stage = self.stage();
        if matches!(*stage, Stage::QuitBeforeStart) {
            driver.quit();
        }
        *stage = Stage::Running { driver, facts };
        self.changed.notify_all();
    }

    /// What is first said of an end stays.
    fn set_ended(&self, why: Option<String>) {
        let mut stage = self.stage();
        if !matches!(*stage, Stage::Ended(_)) {
            *stage = Stage::Ended(why);
        }
        self.changed.notify_all();
    }
}

/// The common part of a client and a bootstrap node.
#[derive(Debug)]
struct Embedded {
    config: Config,
    shared: Arc<Shared>,
    /// Of the handles, as long as there are any.
    owner: Mutex<Weak<Owner>>,
}

impl Embedded {
    fn new(mut config: Config) -> Result<Self, Fault> {
        config.check(std::env::home_dir().as_deref()).map_err(Fault::Config)?;
        let shared = Arc::new(Shared { stage: Mutex::new(Stage::New), changed: Condvar::new() });
        Ok(Self { config, shared, owner: Mutex::default() })
    }

    fn handle(&self) -> Handle {
        let mut owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = owner.upgrade().unwrap_or_else(|| Arc::new(Owner(Arc::clone(&self.shared))));
        *owner = Arc::downgrade(&shared);
        Handle(shared)
    }

    fn start(self) -> Result<(), Fault> {
        self.run().inspect_err(|fault| self.shared.set_ended(Some(fault.to_string())))
    }

    fn run(&self) -> Result<(), Fault> {
        let guest = Guest { reload: self.config.reload(self.config.limit_times(), ReloadReply::default()) };
        let probed = look_at([&self.config], START_WAIT_MAX)?;
        let driver = compose(&self.config, &Origins::default(), &probed, Box::new(guest), None)?;
        self.shared.set_running(driver.handle(), driver.facts().clone());
        driver.run().map_err(Fault::Run)
    }

    fn spawn(self) -> Result<Handle, Fault> {
        let handle = self.handle();
        let thread = thread::Builder::new().name("pyrate".into()).spawn(move || self.start()).map_err(Fault::Run)?;
        if handle.ready().is_some() {
            return Ok(handle);
        }
        thread.join().unwrap_or_else(|_| Err(Fault::Run(io::Error::other("its thread has panicked")))).map(|()| handle)
    }
}

impl Drop for Embedded {
    /// Ends the waits for a node that has ended, or will not start.
    fn drop(&mut self) {
        self.shared.set_ended(thread::panicking().then(|| "its thread has panicked".to_owned()));
    }
}

/// The host of a loop that is embedded: signals and log belong to the program.
struct Guest {
    reload: Reload,
}

impl Host for Guest {
    fn ready(&mut self, _: &Facts) {}

    fn reload(&mut self) -> ReloadJob {
        Box::new(|| ())
    }

    fn reloaded(&mut self) -> Result<Reload, String> {
        Ok(self.reload.clone())
    }

    fn set_log_level(&mut self, _: &str) -> Result<(), String> {
        Err("the log belongs to the program in which this node is embedded".to_owned())
    }

    fn leaving(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::contract::BootstrapAddr;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::thread;

    fn bootstrap() -> Bootstrap {
        let any = "127.0.0.1:0".parse().unwrap();
        Bootstrap::new(Config { bootstrap_serve: Some(any), ..Config::default() }).unwrap()
    }

    #[test]
    fn a_bootstrap_node_on_a_free_port_runs_until_it_is_asked_to_quit() {
        let bootstrap = bootstrap();
        let handle = bootstrap.handle();
        let thread = thread::spawn(move || bootstrap.start());
        let facts = handle.ready().unwrap();
        assert_ne!(facts.bootstrap.unwrap().port(), 0);
        assert_eq!(facts.listen, None);
        handle.quit();
        thread.join().unwrap().unwrap();
        assert_eq!(handle.ready(), None);
        handle.quit();
    }

    /// The response of a bootstrap node to code 1.
    fn listed(bootstrap: SocketAddr) -> String {
        let mut stream = TcpStream::connect(bootstrap).unwrap();
        stream.write_all(b"1:10\n").unwrap();
        let mut list = String::new();
        stream.read_to_string(&mut list).unwrap();
        list
    }

    #[test]
    fn a_client_registers_and_quitting_unregisters() {
        let bootstrap = bootstrap();
        let bootstrap_handle = bootstrap.handle();
        let bootstrap_thread = thread::spawn(move || bootstrap.start());
        let address = bootstrap_handle.ready().unwrap().bootstrap.unwrap();
        let share = tempfile::tempdir().unwrap();
        let client = Client::new(Config {
            bootstraps: vec![BootstrapAddr { host: address.ip().to_string(), port: address.port() }],
            listen_addr: Some(address.ip()),
            listen_port: 0,
            local_directory: share.path().to_owned(),
            ..Config::default()
        })
        .unwrap();
        let client_handle = client.handle();
        let client_thread = thread::spawn(move || client.start());
        let peer = client_handle.ready().unwrap().listen.unwrap();
        while listed(address) != format!("{},{}\n", peer.ip(), peer.port()) {
            thread::yield_now();
        }
        client_handle.quit();
        client_thread.join().unwrap().unwrap();
        assert_eq!(listed(address), "");
        bootstrap_handle.quit();
        bootstrap_thread.join().unwrap().unwrap();
    }

    #[test]
    fn quitting_before_the_start_is_not_forgotten() {
        let bootstrap = bootstrap();
        bootstrap.handle().quit();
        bootstrap.start().unwrap();
    }

    #[test]
    fn nobody_waits_for_a_node_that_was_dropped() {
        let bootstrap = bootstrap();
        let handle = bootstrap.handle();
        let waiting = thread::spawn(move || handle.ready());
        drop(bootstrap);
        assert_eq!(waiting.join().unwrap(), None);
    }

    #[test]
    fn values_out_of_range_are_refused_before_anything_is_bound() {
        let fault = Client::new(Config { bootstrap_port: 0, max_workers: 0, ..Config::default() }).unwrap_err();
        let Fault::Config(faults) = fault else { panic!("{fault}") };
        let named: Vec<String> = faults.iter().map(|fault| fault.place.to_string()).collect();
        assert_eq!(named, ["bootstrap_port", "max_workers"]);
    }

    #[test]
    fn an_address_in_use_is_an_error_and_not_a_wait() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let config = Config { bootstrap_serve: taken.local_addr().ok(), ..Config::default() };
        let fault = Bootstrap::new(config).unwrap().start().unwrap_err();
        assert_eq!(fault.exit_code(), 75);
    }
}
