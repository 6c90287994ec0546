//! The real programs, seen from outside: every row of the protocol in every framing, against small independent peers
//! written here, old-style ones included.
//!
//! Every test starts its own daemons in its own scratch directory, on ports that the system picks or that were free a
//! moment ago, and waits for states instead of sleeping.

// Helpers that fail a test may panic, and a test outside the loop may look at the clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod base_neighbours;
mod bootstrap;
mod control_abuse;
mod control_calls;
mod control_socket;
mod crash;
mod crowded;
mod ctl;
mod disk;
mod downloads;
mod fairness;
mod filesystems;
mod finish;
mod first_contact;
mod flooding;
mod forwarding;
mod harness;
mod hashing;
mod hostile;
mod hup;
mod large;
mod lifecycle;
mod limits;
mod lookups;
mod membership;
mod moves;
mod newcomer;
mod newcomers;
mod old_programs;
mod orphans;
mod p1_liars;
mod p1_sources;
mod p1_speed;
mod p1_wire;
mod partial_groups;
mod queue;
mod rate;
mod refusals;
mod reload;
mod remembering;
mod resume;
mod search_end;
mod search_outcomes;
mod serving;
mod settling;
mod share;
mod slow_readers;
mod state_files;
mod strangers;
mod streams;
mod stubborn;
mod tour;
mod transfers_broken;
mod turns;
mod unverified;
mod wishes;
mod worker_queue;
