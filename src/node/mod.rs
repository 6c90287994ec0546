//! The peer as a state machine: membership, searching, answering, downloads, the control calls.
//!
//! `handle(now, Event)`, `poll_action()`, `next_deadline()`, `work(now)`: see [`contract`]. No socket, clock, file or
//! randomness of its own stands in this room.

pub mod contract;

pub use contract::{Action, DialOutcome, Event, Expect, NodeConfig};
