//! A node inside another program: no signals, no log of its own, errors as values.

use super::compose::compose;
use super::config::Config;
use super::fault::{Fault, Origins};
use crate::control::ReloadReply;
use crate::driver::{self, Facts, Host, Reload, ReloadJob};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A peer: shares a directory, searches and downloads, as it is told through its control socket, if it has one.
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

    /// A handle with which any thread can end the node.
    pub fn handle(&self) -> Handle {
        self.0.handle.clone()
    }

    /// Runs the node on this thread until [`Handle::quit`]; it unregisters before it returns.
    ///
    /// # Errors
    ///
    /// Any [`Fault`]: an address in use, for example.
    pub fn start(self) -> Result<(), Fault> {
        self.0.start()
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

    /// A handle with which any thread can end the node.
    pub fn handle(&self) -> Handle {
        self.0.handle.clone()
    }

    /// Runs the node on this thread until [`Handle::quit`].
    ///
    /// # Errors
    ///
    /// Any [`Fault`]: an address in use, for example.
    pub fn start(self) -> Result<(), Fault> {
        self.0.start()
    }
}

/// Controls a [`Client`] or [`Bootstrap`] from other threads; also before the node is started.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

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
    Running { driver: driver::Handle, facts: Facts },
    Ended,
}

impl Handle {
    /// Asks the node to unregister and end: [`Client::start`] returns within 5 s. A second call does nothing.
    pub fn quit(&self) {
        let mut stage = self.stage();
        match &*stage {
            Stage::New => *stage = Stage::QuitBeforeStart,
            Stage::Running { driver, .. } => driver.quit(),
            Stage::QuitBeforeStart | Stage::Ended => {}
        }
    }

    /// Waits until the node listens, and returns its addresses; `None` if it has ended, or ends before it listens.
    pub fn ready(&self) -> Option<Facts> {
        let mut stage = self.stage();
        loop {
            match &*stage {
                Stage::Running { facts, .. } => return Some(facts.clone()),
                Stage::Ended => return None,
                Stage::New | Stage::QuitBeforeStart => {
                    stage = self.0.changed.wait(stage).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.0.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node listens. A call of `quit` before this moment is passed on; the lock is held so that none is lost.
    fn set_running(&self, driver: driver::Handle, facts: Facts) {
        let mut stage = self.stage();
        if matches!(*stage, Stage::QuitBeforeStart) {
            driver.quit();
        }
        *stage = Stage::Running { driver, facts };
        self.0.changed.notify_all();
    }

    fn set_ended(&self) {
        *self.stage() = Stage::Ended;
        self.0.changed.notify_all();
    }
}

/// The common part of a client and a bootstrap node.
#[derive(Debug)]
struct Embedded {
    config: Config,
    handle: Handle,
}

impl Embedded {
    fn new(mut config: Config) -> Result<Self, Fault> {
        config.check(std::env::home_dir().as_deref()).map_err(Fault::Config)?;
        let handle = Handle(Arc::new(Shared { stage: Mutex::new(Stage::New), changed: Condvar::new() }));
        Ok(Self { config, handle })
    }

    fn start(self) -> Result<(), Fault> {
        let guest = Guest { reload: self.config.reload(ReloadReply::default()) };
        let driver = compose(&self.config, &Origins::default(), Box::new(guest), None)?;
        self.handle.set_running(driver.handle(), driver.facts().clone());
        driver.run().map_err(Fault::Run)
    }
}

impl Drop for Embedded {
    /// Ends the wait in [`Handle::ready`] for a node that will not start.
    fn drop(&mut self) {
        self.handle.set_ended();
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
