//! How many descriptors connections may take, in all and for one network, so that control and state always find one.

use crate::network::Network;
use nix::sys::resource::{Resource, getrlimit};
use std::collections::HashMap;
use std::net::IpAddr;

/// Descriptors kept for what is not a connection or a file in transfer: listeners, control clients, state, log.
const DESCRIPTORS_RESERVED: usize = 64;

/// The reserve on a system that allows very few descriptors.
const DESCRIPTORS_RESERVED_MIN: usize = 28;

/// The most that is handed out, however many the system allows.
const DESCRIPTORS_MAX: usize = 100_000;

/// Who asks for a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::driver) enum Use {
    /// A connection that another machine made to us.
    Inbound(IpAddr),
    /// A file that another machine asked for.
    File,
    /// A connection that we make, or a file of ours.
    Own,
}

/// Why a descriptor was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::driver) enum Exhausted {
    /// None is left for this use.
    InAll,
    /// This network has as many connections as it may.
    ForNetwork,
}

/// The descriptors in use.
#[derive(Debug)]
pub(in crate::driver) struct Budget {
    total_max: usize,
    inbound_max: usize,
    /// Files that others ask for are beyond it, up to this number of them.
    files_reserved: usize,
    per_network_max: usize,
    total: usize,
    /// Of these, connections that others made.
    inbound: usize,
    /// And files that they asked for.
    files: usize,
    by_network: HashMap<Network, usize>,
}

impl Budget {
    /// What the limit of this process on open files leaves.
    pub(in crate::driver) fn from_system() -> Self {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        Self::new(usize::try_from(limit).unwrap_or(usize::MAX))
    }

    /// What a limit of `descriptors` open files leaves. Connections of others get seven eighths, of which those of one
    /// network get at most half of all. Half of the last eighth is for files that others ask for, so that connections that
    /// wait do not keep all files from being sent; the rest is for our own dialling alone.
    fn new(descriptors: usize) -> Self {
        let reserved =
            if descriptors >= 4 * DESCRIPTORS_RESERVED { DESCRIPTORS_RESERVED } else { DESCRIPTORS_RESERVED_MIN };
        let total_max = descriptors.saturating_sub(reserved).clamp(8, DESCRIPTORS_MAX);
        let eighth = total_max.div_ceil(8);
        Self {
            total_max,
            inbound_max: total_max - eighth,
            files_reserved: eighth / 2,
            per_network_max: total_max / 2,
            total: 0,
            inbound: 0,
            files: 0,
            by_network: HashMap::new(),
        }
    }

    /// Takes one descriptor.
    pub(in crate::driver) fn take(&mut self, by: Use) -> Result<(), Exhausted> {
        if self.total >= self.total_max {
            return Err(Exhausted::InAll);
        }
        let may_take = match by {
            Use::Inbound(_) => self.for_others() < self.inbound_max,
            Use::File => self.files < self.files_reserved || self.for_others() < self.inbound_max,
            Use::Own => true,
        };
        if !may_take {
            return Err(Exhausted::InAll);
        }
        if let Use::Inbound(address) = by {
            let network = Network::of(address);
            let held = self.by_network.entry(network).or_default();
            if *held >= self.per_network_max {
                return Err(Exhausted::ForNetwork);
            }
            *held += 1;
            self.inbound += 1;
        }
        self.files += usize::from(by == Use::File);
        self.total += 1;
        Ok(())
    }

    /// Gives one back.
    pub(in crate::driver) fn give_back(&mut self, by: Use) {
        debug_assert!(self.total > 0, "a descriptor was given back twice");
        self.total = self.total.saturating_sub(1);
        self.files = self.files.saturating_sub(usize::from(by == Use::File));
        if let Use::Inbound(address) = by {
            let network = Network::of(address);
            self.inbound = self.inbound.saturating_sub(1);
            if let Some(held) = self.by_network.get_mut(&network) {
                *held -= 1;
                if *held == 0 {
                    self.by_network.remove(&network);
                }
            }
        }
    }

    /// Whether a connection from outside would find a descriptor.
    pub(in crate::driver) fn has_room(&self) -> bool {
        self.total < self.total_max && self.for_others() < self.inbound_max
    }

    /// What others hold of the descriptors for connections.
    fn for_others(&self) -> usize {
        self.inbound + self.files.saturating_sub(self.files_reserved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn one_network_cannot_take_all() {
        let mut budget = Budget::new(28 + 16);
        let taken = std::iter::repeat_with(|| budget.take(Use::Inbound(A))).take_while(Result::is_ok).count();
        assert_eq!(taken, 8);
        assert_eq!(budget.take(Use::Inbound(A)), Err(Exhausted::ForNetwork));
        assert_eq!(budget.take(Use::Inbound(B)), Ok(()));

        let mut budget = Budget::new(28 + 16);
        let of = |n| Use::Inbound(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]));
        let taken = (1..=16).filter(|n| budget.take(of(*n)).is_ok()).count();
        assert_eq!(taken, 8, "the addresses of one IPv6 network have one share");
    }

    #[test]
    fn half_an_eighth_is_left_for_files_and_half_for_our_own_dialling() {
        let mut budget = Budget::new(28 + 16);
        for n in 0..14 {
            budget.take(Use::Inbound(IpAddr::from([192, 0, 2, n]))).unwrap();
        }
        assert!(!budget.has_room());
        assert_eq!(budget.take(Use::Inbound(A)), Err(Exhausted::InAll));
        assert_eq!(budget.take(Use::File), Ok(()));
        assert_eq!(budget.take(Use::File), Err(Exhausted::InAll));
        assert_eq!(budget.take(Use::Own), Ok(()));
        assert_eq!(budget.take(Use::Own), Err(Exhausted::InAll));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_also_by_a_mapped_address() {
        let mut budget = Budget::new(28 + 16);
        for _ in 0..8 {
            budget.take(Use::Inbound(A)).unwrap();
        }
        let mapped = IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0201]);
        assert_eq!(budget.take(Use::Inbound(mapped)), Err(Exhausted::ForNetwork));
        budget.give_back(Use::Inbound(mapped));
        assert_eq!(budget.take(Use::Inbound(A)), Ok(()));
    }
}
