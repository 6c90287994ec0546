//! Pyrate: peer-to-peer file sharing for people who run Unix machines.

pub mod bootstrap;
pub mod control;
pub mod ctl;
pub mod daemon;
pub mod driver;
pub mod fault;
pub mod id;
pub mod library;
pub mod name;
pub mod node;
pub mod store;
pub mod time;
pub mod timer;
pub mod wire;

pub use daemon::{Bootstrap, Client, Config, Fault, Handle, LogPlace};
pub use driver::Facts;
pub use node::contract::BootstrapAddr;
