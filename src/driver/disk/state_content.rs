//! What a state file that is written whole is to hold.

use crate::bootstrap::{Lease, encode_snapshot};
use crate::time::WallClock;
use std::borrow::Cow;

pub(crate) enum StateContent {
    Text(Vec<u8>),
    /// The registrations of the bootstrap node, which the job encodes: there may be very many.
    Registry(Vec<Lease>, WallClock),
}

impl StateContent {
    pub(super) fn encoded(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Text(text) => text.into(),
            Self::Registry(leases, wall) => encode_snapshot(leases, *wall).into(),
        }
    }
}
