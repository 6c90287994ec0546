//! Files: the share, part files, hashes, what is remembered, and the threads that wait for a disk.

pub(in crate::driver) mod hashing;
pub(in crate::driver) mod jobs;
pub(in crate::driver) mod metadata;
pub(in crate::driver) mod orphans;
pub(in crate::driver) mod parts;
pub(in crate::driver) mod places;
pub(in crate::driver) mod records;
pub(in crate::driver) mod removals;
pub(in crate::driver) mod share;
pub(in crate::driver) mod state;
