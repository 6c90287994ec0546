//! The control socket and the program that runs the loop.

pub(in crate::driver) mod calls;
pub(in crate::driver) mod control;
pub(in crate::driver) mod reloads;
