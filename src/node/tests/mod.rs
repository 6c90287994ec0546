//! Stories of one node, told by hand, and of several that talk to each other.

mod answering;
mod calls;
mod downloads;
mod membership;
mod networks;
mod rig;
mod searching;
mod serving;
mod world;

use crate::node::contract::Action;
