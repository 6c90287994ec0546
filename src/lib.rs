//! Pyrate: peer-to-peer file sharing for people who run Unix machines.
//!
//! Peers register with bootstrap nodes, which tell them of each other; a search goes from neighbour to neighbour, and
//! files come straight from the peers that have them. The programs are `pyrated`, the daemon, and `pyratectl`, its control
//! client. This library lets another program run a node of its own: a [`Client`], which shares and downloads, or a
//! [`Bootstrap`] node.
//!
//! Both are built from a [`Config`], whose fields are the keys of the daemon's configuration. `start` runs the node on the
//! thread that calls it, until another thread calls [`Handle::quit`]. A node inside another program leaves signals alone
//! and logs through the `log` crate. Searches and downloads are ordered through the control socket, as `pyratectl` does:
//! set [`Config::control_socket`].
//!
//! # A bootstrap node
//!
//! ```
//! use pyrate::{Bootstrap, Config};
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use std::thread;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // Port 0 picks a free port.
//!     let bootstrap = Bootstrap::new(Config { bootstrap_serve: Some("127.0.0.1:0".parse()?), ..Config::default() })?;
//!     let handle = bootstrap.handle();
//!     let node = thread::spawn(|| bootstrap.start());
//!     let address = handle.ready().and_then(|facts| facts.bootstrap).ok_or("it has not started")?;
//!
//!     // Any program may ask it for up to ten peers, a line each. None has registered yet.
//!     let mut stream = TcpStream::connect(address)?;
//!     stream.write_all(b"1:10\n")?;
//!     let mut list = String::new();
//!     stream.read_to_string(&mut list)?;
//!     assert_eq!(list, "");
//!
//!     handle.quit();
//!     node.join().expect("it does not panic")?;
//!     Ok(())
//! }
//! ```
//!
//! # A client
//!
//! ```
//! use pyrate::{BootstrapAddr, Client, Config};
//! use std::io::{BufRead, BufReader, Write};
//! use std::os::unix::net::UnixStream;
//! use std::thread;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let directory = std::env::temp_dir().join(format!("pyrate-example-{}", std::process::id()));
//!     std::fs::create_dir_all(directory.join("share"))?;
//!     let client = Client::new(Config {
//!         bootstraps: vec![BootstrapAddr { host: "127.0.0.1".to_owned(), port: 21168 }],
//!         listen_addr: Some("127.0.0.1".parse()?),
//!         listen_port: 0,
//!         local_directory: directory.join("share"),
//!         control_socket: Some(directory.join("control.sock")),
//!         ..Config::default()
//!     })?;
//!     let handle = client.handle();
//!     let node = thread::spawn(|| client.start());
//!     let facts = handle.ready().ok_or("it has not started")?;
//!     println!("other peers connect to {:?}", facts.listen);
//!
//!     // The control socket takes calls of JSON-RPC 2.0, one a line: pyratectl(1) names them.
//!     let mut control = UnixStream::connect(facts.control.ok_or("it has no control socket")?)?;
//!     control.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n")?;
//!     let mut status = String::new();
//!     BufReader::new(control).read_line(&mut status)?;
//!     assert!(status.contains("\"shared_files\":"));
//!
//!     // Unregisters, then ends.
//!     handle.quit();
//!     node.join().expect("it does not panic")?;
//!     std::fs::remove_dir_all(&directory)?;
//!     Ok(())
//! }
//! ```
//!
//! # A configuration that cannot be used
//!
//! ```
//! use pyrate::{Client, Config, Fault};
//!
//! let fault = Client::new(Config { bootstrap_port: 0, max_workers: 0, ..Config::default() }).unwrap_err();
//! let Fault::Config(faults) = fault else { panic!("{fault}") };
//! let keys: Vec<String> = faults.iter().map(|fault| fault.place.to_string()).collect();
//! assert_eq!(keys, ["bootstrap_port", "max_workers"]);
//! ```
//!
//! All modules are internal. Those that are public and hidden are so for the programs in `bin/` (`daemon`, `ctl`) and for
//! the tests in `tests/`, which run [`node`] and [`bootstrap`] in a simulated network and speak the protocols themselves.
//! `contrib/doc/architecture.md` describes all of them and says which may import which.

#[doc(hidden)]
pub mod bootstrap;
#[doc(hidden)]
pub mod content;
#[doc(hidden)]
pub mod control;
#[doc(hidden)]
pub mod ctl;
#[doc(hidden)]
pub mod daemon;
pub(crate) mod driver;
#[doc(hidden)]
pub mod fault;
#[doc(hidden)]
pub mod id;
#[doc(hidden)]
pub mod left_out;
#[doc(hidden)]
pub mod library;
pub(crate) mod lines;
#[doc(hidden)]
pub mod name;
pub(crate) mod network;
#[doc(hidden)]
pub mod node;
pub(crate) mod part;
pub(crate) mod store;
pub(crate) mod suggest;
#[doc(hidden)]
pub mod time;
pub(crate) mod timer;
#[doc(hidden)]
pub mod wire;

pub use daemon::{Bootstrap, Client, Config, ConfigFault, Fault, Handle, LogFormat, LogPlace, Place};
pub use driver::{Facts, StartFault};
pub use node::contract::BootstrapAddr;
pub use store::StateFault;
