//! Pyrate: peer-to-peer file sharing for people who run Unix machines.
//!
//! Peers register with bootstrap nodes, which tell them of each other; a search runs from neighbour to neighbour, and
//! files come straight from whoever has them. The programs are `pyrated`, the daemon, and `pyratectl`, its control
//! client; this library is what they are made of, and lets other programs run a node of their own.
//!
//! # A node inside another program
//!
//! [`Bootstrap`] and [`Client`] are built from a [`Config`], whose fields are the keys of the daemon's configuration.
//! `start` runs the node on the thread that calls it, until somebody says [`quit`](Handle::quit) on a [`Handle`] that was
//! taken before. Neither touches signals or the log: whoever embeds them sets up the `log` crate as they like.
//!
//! ```
//! use pyrate::{Bootstrap, BootstrapAddr, Client, Config};
//! use std::io::{Read, Write};
//! use std::net::{SocketAddr, TcpStream};
//! use std::thread;
//!
//! /// What anybody may ask a bootstrap node: up to ten peers, a line each.
//! fn listed(bootstrap: SocketAddr) -> std::io::Result<String> {
//!     let mut stream = TcpStream::connect(bootstrap)?;
//!     stream.write_all(b"1:10\n")?;
//!     let mut list = String::new();
//!     stream.read_to_string(&mut list)?;
//!     Ok(list)
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // A bootstrap node on a free port of this machine.
//!     let bootstrap = Bootstrap::new(Config { bootstrap_serve: Some("127.0.0.1:0".parse()?), ..Config::default() })?;
//!     let bootstrap_handle = bootstrap.handle();
//!     let bootstrap_thread = thread::spawn(|| bootstrap.start());
//!     let address = bootstrap_handle.ready().and_then(|facts| facts.bootstrap).ok_or("it has not started")?;
//!
//!     // A peer that shares a directory and registers there.
//!     let share = std::env::temp_dir().join(format!("pyrate-share-{}", std::process::id()));
//!     std::fs::create_dir(&share)?;
//!     std::fs::write(share.join("a song.txt"), "What shall we do with the drunken sailor?")?;
//!     let client = Client::new(Config {
//!         bootstraps: vec![BootstrapAddr { host: address.ip().to_string(), port: address.port() }],
//!         listen_addr: Some("127.0.0.1".parse()?),
//!         listen_port: 0,
//!         local_directory: share.clone(),
//!         ..Config::default()
//!     })?;
//!     let client_handle = client.handle();
//!     let client_thread = thread::spawn(|| client.start());
//!     let peer = client_handle.ready().and_then(|facts| facts.listen).ok_or("it has not started")?;
//!
//!     // It is on the list when its registration has arrived.
//!     while listed(address)? != format!("{},{}\n", peer.ip(), peer.port()) {
//!         thread::yield_now();
//!     }
//!
//!     // Quitting unregisters.
//!     client_handle.quit();
//!     client_thread.join().expect("it does not panic")?;
//!     assert_eq!(listed(address)?, "");
//!     bootstrap_handle.quit();
//!     bootstrap_thread.join().expect("it does not panic")?;
//!     std::fs::remove_dir_all(&share)?;
//!     Ok(())
//! }
//! ```
//!
//! # The map
//!
//! | module | owns | refuses |
//! |---|---|---|
//! | [`daemon`] | configuration, log, systemd, exit codes, embedding | sockets, decisions |
//! | [`driver`] | the one loop: sockets, pumps, control socket, signals, the clock | knowing what a message means |
//! | [`node`] | the peer: membership, searches, answers, downloads, control calls | bytes, sockets, files, a clock |
//! | [`bootstrap`] | the registry of peers: leases, expiry, samples | the same |
//! | [`library`] | what is shared, and searching it | the disk |
//! | [`store`] | files on disk: beneath a root, part files, state | the network |
//! | [`wire`] | bytes to messages and back | deadlines, meaning |
//! | [`timer`] | the wheel of deadlines | a clock |
//! | [`control`] | the language of the control socket | sockets |
//! | [`ctl`] | `pyratectl` | everything of the daemon but its language |
//!
//! [`time`], [`id`], [`name`], [`network`] and [`fault`] are words that all modules use. `contrib/doc/architecture.md` says who may
//! import whom, and why; `contrib/doc/protocol.md` is what goes over the wire.

pub mod bootstrap;
pub mod content;
pub mod control;
pub mod ctl;
pub mod daemon;
pub mod driver;
pub mod fault;
pub mod id;
pub mod library;
pub mod name;
pub mod network;
pub mod node;
pub mod store;
pub mod time;
pub mod timer;
pub mod wire;

pub use daemon::{Bootstrap, Client, Config, ConfigFault, Fault, Handle, LogPlace};
pub use driver::Facts;
pub use node::contract::BootstrapAddr;
