//! What tests of this module share.

pub(crate) mod tape;
