//! What nodes of ours do among themselves: first contacts, streams, the end of a search, metadata and ranges.

mod first_contact;
mod liars;
mod newcomers;
mod partial_groups;
mod search_end;
mod settling;
mod sources;
mod speed;
mod streams;
mod wire;
