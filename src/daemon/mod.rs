//! The daemon as a program: arguments, configuration, logging, systemd; and the same node inside another program.
//!
//! Owns the keys of the configuration and what follows from them, the log of `pyrated`, its exit codes, and the types
//! that embed a node. Refuses a configuration with any fault before anything is started. Holds no
//! socket and decides nothing about the network.

mod arguments;
mod compose;
mod config;
mod dump;
mod embed;
mod fault;
mod greeting;
mod interface;
mod keys;
mod limit_times;
mod load;
mod log_line;
mod log_output;
mod log_writer;
mod logging;
mod passed;
mod preflight;
mod probe;
mod running;
mod sandbox;
mod service;
mod share_waits;
mod shares;
mod supervisor;
mod tables;
mod value;

pub use config::Config;
pub use embed::{
    Bootstrap, Channel, Client, DirectoryFiles, Download, Error, Files, Handle, Hit, Hits, Progress, SharedFile,
    Status, What,
};
pub use fault::{ConfigFault, Fault, Place};
pub use keys::{InForceFrom, KEYS, Key};
pub use limit_times::TimedLimit;
pub use log_line::LogFormat;
pub use service::main;
pub use shares::NamedShare;
pub use value::LogPlace;
