//! The network of 2013, and what any peer does: the registry, membership, searches, the share, the interface.

mod audiences;
mod base_neighbours;
mod bootstrap;
mod clocks;
mod hashing;
mod hung_shares;
mod hung_starts;
mod interface;
mod membership;
mod old_programs;
mod reshared;
mod search_outcomes;
mod serving;
mod share;
mod shares;
mod slow_disks;
