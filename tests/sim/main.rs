//! Whole networks of [`Node`](pyrate::node::Node) and [`Bootstrap`](pyrate::bootstrap::Bootstrap) in virtual time.
//!
//! A [`World`](world::World) is a function of its seed: who runs where, what the network delays, loses and tears, and
//! every random number of every node follow from it. It keeps the contract's promises towards the nodes, and ends
//! the test, naming the seed, when a node breaks one or a rule of the protocol. `PYRATE_SIM_SEED` replaces the seeds of
//! every scenario by one, `PYRATE_SIM_HUNT` by so many others,
//! and `PYRATE_SIM_ALOUD` prints every action of every node.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where its assumptions do")]

mod actions;
mod addresses;
mod callers;
mod conn;
mod content;
mod directory_sources;
mod disk;
mod flows;
mod hashing;
mod host;
mod hostile;
mod links;
mod manifests;
mod parts;
mod random;
mod responses;
mod rogue;
mod scenarios;
mod sources;
mod streams;
mod time;
mod trees;
mod watch;
mod watch_directories;
mod watch_transfers;
mod world;
