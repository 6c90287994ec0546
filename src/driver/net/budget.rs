//! How many descriptors connections may take, in all and for one network, so that control and state always find one.

use crate::network::Network;
use nix::sys::resource::{Resource, getrlimit};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

/// Descriptors kept for what is not a connection or a file in transfer: listeners, control clients, state, log.
const DESCRIPTORS_RESERVED: usize = 64;

/// The reserve on a system that allows very few descriptors.
const DESCRIPTORS_RESERVED_MIN: usize = 28;

/// The most that is handed out, however many the system allows.
const DESCRIPTORS_MAX: usize = 100_000;

/// Who asks for a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// A connection that another machine made to us.
    Inbound(IpAddr),
    /// A file that another machine asked for.
    File,
    /// A connection that we make, or a file of ours.
    Own,
}

/// Why a descriptor was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exhausted {
    /// None is left for this use.
    InAll,
    /// This network has as many connections as it may.
    ForNetwork,
}

/// The descriptors that are handed out.
#[derive(Debug)]
pub(super) struct Budget(Rc<RefCell<Counts>>);

impl Budget {
    /// What the limit of this process on open files leaves.
    pub(super) fn from_system() -> Self {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        Self::new(usize::try_from(limit).unwrap_or(usize::MAX))
    }

    fn new(descriptors: usize) -> Self {
        Self(Rc::new(RefCell::new(Counts::new(descriptors))))
    }

    pub(super) fn take(&self, by: Use) -> Result<Permit, Exhausted> {
        self.0.borrow_mut().take(by)?;
        Ok(Permit { counts: Rc::clone(&self.0), by, count: 1 })
    }

    /// Whether a connection from outside would find a descriptor.
    pub(super) fn has_room(&self) -> bool {
        self.0.borrow().has_room()
    }
}

/// Descriptors of the budget, which go back to it when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    counts: Rc<RefCell<Counts>>,
    by: Use,
    count: usize,
}

impl Permit {
    pub(super) fn by(&self) -> Use {
        self.by
    }

    /// Holds those of another permit for the same use as well.
    pub(super) fn join(&mut self, mut other: Self) {
        debug_assert!(self.by == other.by);
        self.count += std::mem::take(&mut other.count);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.counts.borrow_mut();
        (0..self.count).for_each(|_| counts.give_back(self.by));
    }
}

#[derive(Debug)]
struct Counts {
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

impl Counts {
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

    fn take(&mut self, by: Use) -> Result<(), Exhausted> {
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

    fn give_back(&mut self, by: Use) {
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

    fn has_room(&self) -> bool {
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
        let mut budget = Counts::new(28 + 16);
        let taken = std::iter::repeat_with(|| budget.take(Use::Inbound(A))).take_while(Result::is_ok).count();
        assert_eq!(taken, 8);
        assert_eq!(budget.take(Use::Inbound(A)), Err(Exhausted::ForNetwork));
        assert_eq!(budget.take(Use::Inbound(B)), Ok(()));

        let mut budget = Counts::new(28 + 16);
        let of = |n| Use::Inbound(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]));
        let taken = (1..=16).filter(|n| budget.take(of(*n)).is_ok()).count();
        assert_eq!(taken, 8, "the addresses of one IPv6 network have one share");
    }

    #[test]
    fn half_an_eighth_is_left_for_files_and_half_for_our_own_dialling() {
        let mut budget = Counts::new(28 + 16);
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
        let mut budget = Counts::new(28 + 16);
        for _ in 0..8 {
            budget.take(Use::Inbound(A)).unwrap();
        }
        let mapped = IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0201]);
        assert_eq!(budget.take(Use::Inbound(mapped)), Err(Exhausted::ForNetwork));
        budget.give_back(Use::Inbound(mapped));
        assert_eq!(budget.take(Use::Inbound(A)), Ok(()));
    }

    #[test]
    fn a_permit_gives_back_what_it_holds_when_it_is_dropped() {
        let budget = Budget::new(28 + 8);
        let mut held = budget.take(Use::Own).unwrap();
        held.join(budget.take(Use::Own).unwrap());
        let others: Vec<_> = std::iter::from_fn(|| budget.take(Use::Own).ok()).collect();
        assert_eq!((others.len(), budget.take(Use::Own).unwrap_err()), (6, Exhausted::InAll));
        drop(held);
        let again: Vec<_> = std::iter::from_fn(|| budget.take(Use::Own).ok()).collect();
        assert_eq!(again.len(), 2);
        drop((others, again));
        assert_eq!(budget.0.borrow().total, 0);
    }
}
