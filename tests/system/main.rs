//! The real programs, seen from outside: every row of the protocol in every framing, against small independent peers
//! written here, old-style ones included.
//!
//! Every test starts its own daemons in its own scratch directory, on ports that the system picks or that were free a
//! moment ago, and waits for states instead of sleeping.

// Helpers that fail a test may panic, and a test outside the loop may look at the clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod base;
mod control;
mod downloads;
mod harness;
mod limits;
mod p1;
