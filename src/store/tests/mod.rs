//! Helpers of the tests of this module.

pub(crate) mod recorder;
