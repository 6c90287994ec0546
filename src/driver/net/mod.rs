//! Connections: sockets and their readiness, descriptors, deadlines, rate limits.

pub(in crate::driver) mod accept;
pub(in crate::driver) mod budget;
pub(in crate::driver) mod eviction;
pub(in crate::driver) mod exchange;
pub(in crate::driver) mod listener;
pub(in crate::driver) mod pace;
pub(in crate::driver) mod port_checks;
pub(in crate::driver) mod socket;
pub(in crate::driver) mod streams;
pub(in crate::driver) mod table;
pub(in crate::driver) mod timers;
