//! Pyrate: peer-to-peer file sharing for people who run Unix machines.
//!
//! Peers register with bootstrap nodes, which tell them of each other; a search goes from neighbour to neighbour, and
//! files come straight from the peers that have them. The programs are `pyrated`, the daemon, and `pyratectl`, its control
//! client. This library lets another program run a node of its own: a [`Client`], which shares, searches and downloads, or a
//! [`Bootstrap`] node.
//!
//! Both are built from a [`Config`], whose fields are the keys of the daemon's configuration. `spawn` runs the node on a thread
//! of its own, and `start` on the thread that calls it. Its [`Handle`] asks for what `pyratectl` asks for: status, files of the
//! share, links to these, searches, lists of peers, downloads of files and directories. [`Hits`] and [`Download`] are iterators, and `channel` makes a channel of each. What
//! goes wrong is an [`Error`] that programs can tell apart. The node ends when its last handle is dropped.
//!
//! A node inside another program leaves signals alone and logs through the `log` crate. [`Config::control_socket`] lets
//! `pyratectl` in as well.
//!
//! # Two machines of a network
//!
//! Here all in one program: a bootstrap node, a peer that shares a file, and one that searches for it and downloads it.
//!
//! ```
//! use pyrate::{Bootstrap, BootstrapAddr, Client, Config};
//! use std::{env, error, fs, path::Path, process, thread, time::Duration};
//!
//! fn peer(home: &Path, bootstrap: BootstrapAddr) -> Config {
//!     Config {
//!         bootstraps: vec![bootstrap],
//!         listen_addr: Some([127, 0, 0, 1].into()),
//!         listen_port: 0, // Any.
//!         local_directory: home.join("share"),
//!         download_directory: Some(home.join("downloads")),
//!         ..Config::default()
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn error::Error>> {
//!     let scratch = env::temp_dir().join(format!("pyrate-example-{}", process::id()));
//!     let (one, two) = (scratch.join("one"), scratch.join("two"));
//!     for directory in ["one/share", "one/downloads", "two/share", "two/downloads"] {
//!         fs::create_dir_all(scratch.join(directory))?;
//!     }
//!     fs::write(one.join("share/tide tables.txt"), "high water at noon\n")?;
//!
//!     let serve = Some("127.0.0.1:0".parse()?);
//!     let bootstrap = Bootstrap::new(Config { bootstrap_serve: serve, ..Config::default() })?.spawn()?;
//!     let addr = bootstrap.ready().and_then(|facts| facts.bootstrap).ok_or("it has ended")?;
//!     let addr = BootstrapAddr { host: addr.ip().to_string(), port: addr.port() };
//!     let one = Client::new(peer(&one, addr.clone()))?.spawn()?;
//!     let two = Client::new(peer(&two, addr))?.spawn()?;
//!
//!     // A file is shared when nothing has written to it for two seconds.
//!     while two.status()?.peers == 0 || one.rescan()? == 0 {
//!         thread::sleep(Duration::from_millis(200));
//!     }
//!     let hit = two.search("tide", Duration::from_secs(30))?.next().ok_or("no hit")??;
//!     let file = two.download(&hit, None)?.wait(Some(Duration::from_secs(60)))?;
//!     assert_eq!(fs::read_to_string(file.path.ok_or("no path")?)?, "high water at noon\n");
//!
//!     [two, one, bootstrap].into_iter().try_for_each(|node| node.stop())?;
//!     Ok(fs::remove_dir_all(scratch)?)
//! }
//! ```
//!
//! # Progress, channels and errors
//!
//! ```no_run
//! use pyrate::{Error, Handle};
//! use std::time::Duration;
//!
//! fn fetch(node: &Handle, words: &str) -> Result<(), Error> {
//!     // A thread waits for the hits; `recv_timeout` and `try_recv` let this one do other things.
//!     let hits = node.search(words, Duration::from_secs(10))?.channel();
//!     let hit = match hits.recv() {
//!         Ok(Ok(hit)) => hit,
//!         Ok(Err(Error::NoHit | Error::TimedOut(_))) => return Ok(()),
//!         Ok(Err(error)) => return Err(error),
//!         Err(_) => return Err(Error::Stopped),
//!     };
//!     let mut download = node.download(&hit, None)?;
//!     for change in &mut download {
//!         let change = change?;
//!         println!("{}: {} of {:?} bytes", change.state, change.bytes, change.size);
//!     }
//!     match download.wait(None) {
//!         Ok(file) => println!("{:?}, verified: {}", file.path, file.verified),
//!         Err(Error::DiskFull(_)) => println!("make room, and it goes on"),
//!         Err(error) => return Err(error),
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Directories and links
//!
//! ```no_run
//! use pyrate::{Error, Handle, What};
//! use std::net::SocketAddr;
//!
//! fn fetch_album(node: &Handle, peer: SocketAddr) -> Result<(), Error> {
//!     // One download, with all files beneath it.
//!     let album = node.download(What::Directory(peer, "music/abbey road".into()), None)?.wait(None)?;
//!     let files = album.directory.map_or(0, |directory| directory.files);
//!     println!("{files} files in {:?}", album.path);
//!     Ok(())
//! }
//!
//! /// What one node shares another one downloads by a link, which is a text: it says what to fetch, and from whom.
//! fn pass_on(from: &Handle, to: &Handle) -> Result<(), Error> {
//!     let link = from.link("music/abbey road/")?;
//!     match to.download(What::Link(link), None) {
//!         Ok(mut download) => download.wait(None).map(drop),
//!         Err(Error::Invalid(why)) => panic!("no link: {why}"),
//!         Err(error) => Err(error),
//!     }
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

pub(crate) mod aligned;
#[doc(hidden)]
pub mod audience;
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
pub(crate) mod link;
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

pub use audience::{Audience, RangeFault};
pub use control::DownloadState;
pub use daemon::{Bootstrap, Client, Config, ConfigFault, Fault, LogFormat, LogPlace, NamedShare, Place, TimedLimit};
pub use daemon::{
    Channel, DirectoryFiles, Download, Error, Files, Handle, Hit, Hits, Progress, SharedFile, Status, What,
};
pub use driver::{Facts, StartFault};
pub use node::contract::BootstrapAddr;
pub use store::StateFault;
