//! Limits of descriptors for connections, in total and for one network, so that some are left for control, state and the shares.

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

/// Most shares that scans walk through at once, and as many whose files are hashed.
const SHARES_AT_WORK_MAX: usize = 8;

/// For each of them there are so many descriptors.
const DESCRIPTORS_PER_SHARE_AT_WORK: usize = 64;

/// Descriptors kept for each share at work but the first, whose own are in the reserve: three of a walk (the share, and a directory, which is
/// opened twice), three of hashing (a large file that waits, the share, and the next file), and the share in each of two jobs that open files
/// for peers.
const RESERVED_PER_SHARE_AT_WORK: usize = 8;

/// At most this many are used, even if the system allows more.
const DESCRIPTORS_MAX: usize = 100_000;

/// Free descriptors from which on files stay open that nobody reads: more than one turn accepts from a listener.
const AMPLE_DESCRIPTORS: usize = 80;

/// Least number of descriptors kept for what we do ourselves: a part file takes so many.
const OWN_RESERVED_MIN: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Inbound(IpAddr),
    /// A file that a peer requested.
    File,
    /// A connection that we dial, or a part file.
    Own,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exhausted {
    /// No descriptor is left for this use.
    Total,
    /// This network has reached its limit of connections.
    ForNetwork,
}

/// Shares that scans may walk through at once, and whose files may be hashed at once, within the limit of this process on open files.
pub(crate) fn shares_at_work_max() -> usize {
    shares_at_work(descriptors_of_system())
}

fn shares_at_work(descriptors: usize) -> usize {
    (descriptors / DESCRIPTORS_PER_SHARE_AT_WORK).clamp(1, SHARES_AT_WORK_MAX)
}

fn descriptors_of_system() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[derive(Debug)]
pub(super) struct Budget(Rc<RefCell<Counts>>);

impl Budget {
    /// Within the limit of this process on open files.
    pub(super) fn from_system() -> Self {
        Self::new(descriptors_of_system())
    }

    pub(super) fn new(descriptors: usize) -> Self {
        Self(Rc::new(RefCell::new(Counts::new(descriptors))))
    }

    pub(super) fn take(&self, by: Use) -> Result<Permit, Exhausted> {
        self.0.borrow_mut().take(by)?;
        Ok(Permit { counts: Rc::clone(&self.0), by, count: 1 })
    }

    /// Whether there are so many free descriptors that files stay open that nobody reads.
    pub(super) fn is_ample(&self) -> bool {
        let counts = self.0.borrow();
        counts.total + counts.hung + AMPLE_DESCRIPTORS <= counts.total_max && counts.has_room()
    }

    /// Descriptors taken, and how many may be.
    pub(super) fn in_use(&self) -> (usize, usize) {
        let counts = self.0.borrow();
        (counts.total + counts.hung, counts.total_max)
    }

    /// Jobs that hang hold so many descriptors without a permit. Returns whether that are less than before.
    pub(super) fn set_hung(&self, hung: usize) -> bool {
        let before = std::mem::replace(&mut self.0.borrow_mut().hung, hung);
        hung < before
    }

    /// Whether a descriptor is free for an accepted connection.
    pub(super) fn has_room(&self) -> bool {
        self.0.borrow().has_room()
    }

    /// Whether an accepted connection can have the descriptor of the next file that is closed.
    pub(super) fn file_makes_room(&self) -> bool {
        self.0.borrow().file_makes_room()
    }
}

/// Descriptors taken from the budget; dropping this returns them.
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

    #[cfg(test)]
    pub(crate) fn for_file() -> Self {
        Budget::new(0).take(Use::File).unwrap()
    }

    /// Takes over the descriptors of another permit for the same use.
    pub(super) fn join(&mut self, mut other: Self) {
        debug_assert!(self.by == other.by);
        self.count += std::mem::take(&mut other.count);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.counts.borrow_mut();
        (0..self.count).for_each(|_| counts.release(self.by));
    }
}

#[derive(Debug)]
struct Counts {
    total_max: usize,
    inbound_max: usize,
    /// This many requested files do not count towards `inbound_max`.
    files_reserved: usize,
    per_network_max: usize,
    total: usize,
    /// Of `total`, accepted connections.
    inbound: usize,
    /// Of `total`, requested files.
    files: usize,
    /// Beside `total`, what jobs hold that hang.
    hung: usize,
    by_network: HashMap<Network, usize>,
}

impl Counts {
    /// The limits for `descriptors` open files. Accepted connections get seven eighths, one network at most half. Half of
    /// the last eighth, one at least, is for requested files alone, so that a request that waits for its file is served; the other
    /// half, three at least, is for connections that we dial and our own files.
    fn new(descriptors: usize) -> Self {
        let reserved =
            if descriptors >= 4 * DESCRIPTORS_RESERVED { DESCRIPTORS_RESERVED } else { DESCRIPTORS_RESERVED_MIN };
        let for_shares = (shares_at_work(descriptors) - 1) * RESERVED_PER_SHARE_AT_WORK;
        let total_max = descriptors.saturating_sub(reserved + for_shares).clamp(8, DESCRIPTORS_MAX);
        let eighth = total_max.div_ceil(8);
        let files_reserved = (eighth / 2).max(1);
        Self {
            total_max,
            inbound_max: total_max - files_reserved - (eighth - files_reserved.min(eighth)).max(OWN_RESERVED_MIN),
            files_reserved,
            per_network_max: total_max / 2,
            total: 0,
            inbound: 0,
            files: 0,
            hung: 0,
            by_network: HashMap::new(),
        }
    }

    fn take(&mut self, by: Use) -> Result<(), Exhausted> {
        let has_room = match by {
            Use::Inbound(_) => self.has_room(),
            Use::File => self.files < self.files_reserved || self.has_room(),
            Use::Own => self.is_any_free(),
        };
        if !has_room {
            return Err(Exhausted::Total);
        }
        if let Use::Inbound(address) = by {
            let held = self.by_network.entry(Network::of(address)).or_default();
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

    fn release(&mut self, by: Use) {
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
        self.is_any_free() && self.for_others() < self.inbound_max
    }

    /// Whether the next file that is closed leaves its descriptor to others than files.
    fn file_makes_room(&self) -> bool {
        self.files > self.files_reserved
    }

    /// Whether a descriptor is free beside those that are kept for files.
    fn is_any_free(&self) -> bool {
        self.total + self.hung + self.files_reserved.saturating_sub(self.files) < self.total_max
    }

    /// Descriptors that count towards `inbound_max`.
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
    fn a_sixteenth_is_reserved_for_files_and_one_for_dialling() {
        let mut budget = Counts::new(28 + 64);
        for n in 0..56 {
            budget.take(Use::Inbound(IpAddr::from([192, 0, 2, n]))).unwrap();
        }
        assert!(!budget.has_room());
        assert_eq!(budget.take(Use::Inbound(A)), Err(Exhausted::Total));
        for by in [Use::File, Use::Own] {
            (0..4).for_each(|n| assert_eq!(budget.take(by), Ok(()), "{by:?} {n}"));
            assert_eq!(budget.take(by), Err(Exhausted::Total), "{by:?}");
        }
    }

    #[test]
    fn whoever_takes_descriptors_first_leaves_one_for_a_file_and_some_for_ourselves() {
        for descriptors in [0, 28, 36, 44, 48, 64, 256, 1_024, 65_536] {
            for order in [[0, 1], [1, 0]] {
                let mut budget = Counts::new(descriptors);
                let mut taken = [0, 0];
                for by in order {
                    let inbound = |n: usize| Use::Inbound(IpAddr::from((n as u32).to_be_bytes()));
                    taken[by] = (0..).take_while(|n| budget.take([inbound(*n), Use::Own][by]).is_ok()).count();
                }
                assert_eq!(budget.take(Use::File), Ok(()), "{descriptors} descriptors, order {order:?}");
                assert!(taken[1] >= OWN_RESERVED_MIN, "{descriptors} descriptors: {taken:?}");
            }
        }
    }

    /// A daemon that does nothing has 17 open, and takes some more for its state.
    #[test]
    fn what_the_shares_take_is_beside_what_is_for_connections_and_files() {
        for (descriptors, shares) in [(0, 1), (48, 1), (127, 1), (128, 2), (256, 4), (512, 8), (1_024, 8), (65_536, 8)]
        {
            assert_eq!(shares_at_work(descriptors), shares, "{descriptors} descriptors");
            let others = Counts::new(descriptors).total_max + shares * RESERVED_PER_SHARE_AT_WORK;
            assert!(descriptors == 0 || others + 20 <= descriptors, "{descriptors} descriptors, {others} for others");
        }
    }

    #[test]
    fn what_jobs_hold_that_hang_is_for_nobody_else() {
        let budget = Budget::new(28 + 64);
        let take_all = || std::iter::from_fn(|| budget.take(Use::Own).ok()).collect::<Vec<_>>().len();
        let all = take_all();
        assert!(!budget.set_hung(10));
        assert_eq!((take_all(), budget.in_use()), (all - 10, (10, 64)));
        assert!(budget.set_hung(9), "one is free again");
        assert_eq!(take_all(), all - 9);
    }

    #[test]
    fn a_released_descriptor_can_be_taken_again_and_mapped_addresses_count_as_ipv4() {
        let mut budget = Counts::new(28 + 16);
        for _ in 0..8 {
            budget.take(Use::Inbound(A)).unwrap();
        }
        let mapped = IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0201]);
        assert_eq!(budget.take(Use::Inbound(mapped)), Err(Exhausted::ForNetwork));
        budget.release(Use::Inbound(mapped));
        assert_eq!(budget.take(Use::Inbound(A)), Ok(()));
    }

    #[test]
    fn a_file_makes_room_for_a_connection_only_beyond_those_that_are_reserved() {
        for (files, makes_room) in [(4, false), (5, true)] {
            let mut budget = Counts::new(28 + 64);
            (0..files).for_each(|_| budget.take(Use::File).unwrap());
            let connection = |n: u32| Use::Inbound(IpAddr::from(n.to_be_bytes()));
            while budget.has_room() {
                budget.take(connection(budget.inbound as u32)).unwrap();
            }
            assert_eq!(budget.file_makes_room(), makes_room);
            budget.release(Use::File);
            assert_eq!(budget.has_room(), makes_room, "{files} files");
        }
    }

    #[test]
    fn a_dropped_permit_releases_its_descriptors() {
        let budget = Budget::new(28 + 8);
        let mut held = budget.take(Use::Own).unwrap();
        held.join(budget.take(Use::Own).unwrap());
        let others: Vec<_> = std::iter::from_fn(|| budget.take(Use::Own).ok()).collect();
        assert_eq!((others.len(), budget.take(Use::Own).unwrap_err()), (5, Exhausted::Total));
        drop(held);
        let again: Vec<_> = std::iter::from_fn(|| budget.take(Use::Own).ok()).collect();
        assert_eq!(again.len(), 2);
        drop((others, again));
        assert_eq!(budget.0.borrow().total, 0);
    }
}
