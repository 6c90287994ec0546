//! The bootstrap node as a state machine: a registry of leases, and peer lists drawn from it.
