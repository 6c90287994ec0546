//! For whom what is shared is: everybody, or addresses and ranges of addresses. And who asks.
//!
//! A share has one audience, and the first component of a name tells the share. So neither a file nor a directory has parts for
//! different audiences, and what is kept by name is for all who see that name.

use crate::name::Escaped;
use crate::network::{IPV4_FORM, ends_in_number};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Bound;
use thiserror::Error;

/// Most addresses and ranges of one audience.
pub(crate) const RANGES_MAX: usize = 1024;

/// What one of them takes as text, with quotes and a comma.
pub(crate) const RANGE_BYTES_MAX: usize = 48;

/// For whom something of the share is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requester {
    /// The users of this machine, who see everything that is shared.
    Owner,
    /// A peer with this address.
    Peer(IpAddr),
    /// Any peer, whatever its address: sees what is for all.
    Anybody,
}

impl From<SocketAddr> for Requester {
    fn from(peer: SocketAddr) -> Self {
        Self::Peer(peer.ip())
    }
}

/// For whom a share is: for all peers, unless it names addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audience(
    /// Ascending, none within another. `None` for all.
    Option<Vec<Range>>,
);

/// What is no address or range.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RangeFault {
    #[error("an empty list is for nobody: name an address or a range, or leave it out to share with all")]
    Empty,
    #[error("at most {RANGES_MAX} addresses and ranges, not {0}")]
    TooMany(usize),
    #[error("\"all\" stands alone, and not in a list")]
    AllInList,
    /// With what was written.
    #[error(
        "expected an address or a range, as in \"192.0.2.7\", \"192.168.0.0/16\" or \"fd00::/8\", not \"{0}\"; names are not looked up"
    )]
    NotAnAddress(String),
    #[error("{IPV4_FORM}, and \"{0}\" is none")]
    NotAnIpv4Address(String),
    #[error("what follows / is a number of bits from 0 to {1}, which it is not in \"{0}\"")]
    BadPrefix(String, u8),
    /// With the range that has these bits.
    #[error("\"{0}\" has bits set beyond its prefix; the range is \"{1}\"")]
    HostBits(String, String),
    /// With the same as IPv4.
    #[error(
        "\"{0}\" stands for IPv4: a peer with such an address counts as one with an IPv4 address, so write \"{1}\""
    )]
    Mapped(String, String),
}

/// Addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    first: IpAddr,
    /// How many bits are the same.
    prefix: u8,
}

impl Audience {
    /// All peers.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Peers with one of these addresses, such as `192.0.2.7`, or from one of these ranges, such as `fd00::/8`.
    ///
    /// # Errors
    /// If there are none, or too many, or one cannot be read.
    pub fn of<T: AsRef<str>>(ranges: impl IntoIterator<Item = T>) -> Result<Self, RangeFault> {
        let ranges = ranges.into_iter().map(|text| Range::parse(text.as_ref())).collect::<Result<Vec<_>, _>>()?;
        if ranges.len() > RANGES_MAX {
            return Err(RangeFault::TooMany(ranges.len()));
        }
        let mut ranges: Vec<Range> = ranges;
        ranges.sort_unstable();
        // One that is within another comes after it.
        ranges.dedup_by(|range, before| before.has(range.first));
        if ranges.is_empty() { Err(RangeFault::Empty) } else { Ok(Self(Some(ranges))) }
    }

    /// As it is shown: `all`, or the addresses and ranges.
    pub(crate) fn shown(&self) -> Vec<String> {
        self.ranges().unwrap_or_else(|| vec!["all".to_owned()])
    }

    /// The addresses and ranges, ascending; `None` if it is everybody.
    pub fn ranges(&self) -> Option<Vec<String>> {
        self.0.as_ref().map(|ranges| ranges.iter().map(ToString::to_string).collect())
    }

    /// How many addresses and ranges it has.
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, Vec::len)
    }

    /// Whether a peer with this address belongs to it.
    pub fn has(&self, peer: IpAddr) -> bool {
        let Some(ranges) = &self.0 else { return true };
        range_with(ranges, peer.to_canonical()).is_some()
    }

    pub(crate) fn is_for(&self, requester: Requester) -> bool {
        match requester {
            Requester::Owner => true,
            Requester::Peer(peer) => self.has(peer),
            Requester::Anybody => self.0.is_none(),
        }
    }

    /// The peers that belong to both; nobody, if no peer does.
    pub(crate) fn common(&self, other: &Self) -> Self {
        let (ranges, others) = match (&self.0, &other.0) {
            (None, _) => return other.clone(),
            (_, None) => return self.clone(),
            (Some(ranges), Some(others)) => (ranges, others),
        };
        // Of two ranges that have an address in common, one lies within the other.
        let within = |inner: &[Range], outer: &[Range]| -> Vec<Range> {
            let lies_within =
                |range: &&Range| range_with(outer, range.first).is_some_and(|other| other.prefix <= range.prefix);
            inner.iter().filter(lies_within).copied().collect()
        };
        let mut common = [within(ranges, others), within(others, ranges)].concat();
        common.sort_unstable();
        common.dedup();
        Self(Some(common))
    }
}

/// The range that has this address.
fn range_with(ranges: &[Range], address: IpAddr) -> Option<&Range> {
    let at = ranges.partition_point(|range| range.first <= address);
    ranges[..at].last().filter(|range| range.has(address))
}

impl Range {
    fn parse(text: &str) -> Result<Self, RangeFault> {
        let written = || Escaped(text.as_bytes()).to_string();
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let first: IpAddr = address.parse().map_err(|_| match text {
            "all" => RangeFault::AllInList,
            _ if ends_in_number(address) && !address.contains(':') => RangeFault::NotAnIpv4Address(written()),
            _ => RangeFault::NotAnAddress(written()),
        })?;
        let bits = if first.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(digits) => {
                let number = digits.parse().ok().filter(|_| digits.bytes().all(|digit| digit.is_ascii_digit()));
                number.filter(|prefix| *prefix <= bits).ok_or_else(|| RangeFault::BadPrefix(written(), bits))?
            }
        };
        let range = Self { first: masked(first, prefix), prefix };
        if let IpAddr::V4(first) = range.first.to_canonical()
            && range.first.is_ipv6()
            && prefix >= 96
        {
            let same = Self { first: first.into(), prefix: prefix - 96 };
            return Err(RangeFault::Mapped(written(), same.to_string()));
        }
        if range.first != first {
            return Err(RangeFault::HostBits(written(), range.to_string()));
        }
        Ok(range)
    }

    fn has(&self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && masked(address, self.prefix) == self.first
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = if self.first.is_ipv4() { 32 } else { 128 };
        if self.prefix == bits { self.first.fmt(f) } else { write!(f, "{}/{}", self.first, self.prefix) }
    }
}

/// The address without the bits after the first `prefix`.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    }
}

/// The audiences of all shares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audiences {
    /// Of the share whose files have no name before theirs.
    main: Audience,
    /// Of the others, by what the names of their files begin with.
    named: BTreeMap<Box<[u8]>, Audience>,
    /// Shares that are not there any more, by what the names of their files begin with: nobody sees these, not even the owner.
    withdrawn: BTreeSet<Box<[u8]>>,
    is_restricted: bool,
}

/// What of the names in order a peer sees next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    Seen,
    /// Nothing that comes before this bound; nothing at all if there is none.
    HiddenUpTo(Option<Bound<Vec<u8>>>),
}

impl Audiences {
    /// `named`: all shares that have a name, also those that are for all.
    pub fn new<N: AsRef<[u8]>>(main: Audience, named: impl IntoIterator<Item = (N, Audience)>) -> Self {
        let named: BTreeMap<Box<[u8]>, _> =
            named.into_iter().map(|(name, audience)| (name.as_ref().into(), audience)).collect();
        let is_restricted = [&main].into_iter().chain(named.values()).any(|audience| *audience != Audience::all());
        Self { main, named, withdrawn: BTreeSet::new(), is_restricted }
    }

    /// Whether any share is not for all.
    pub(crate) fn is_restricted(&self) -> bool {
        self.is_restricted
    }

    /// The audience of a file or directory of this name.
    pub(crate) fn of(&self, name: &[u8]) -> &Audience {
        self.named.get(first_component(name)).unwrap_or(&self.main)
    }

    /// The next ones: what is withdrawn stays so.
    pub(crate) fn replace(&mut self, next: Self) {
        let withdrawn = std::mem::take(&mut self.withdrawn);
        *self = Self { withdrawn, ..next };
    }

    /// Nobody sees anything of a share until its files are removed.
    pub(crate) fn withdraw(&mut self, share: &[u8]) {
        self.withdrawn.insert(share.into());
    }

    /// A share whose files are to be removed.
    pub(crate) fn withdrawn(&self) -> Option<&[u8]> {
        self.withdrawn.first().map(|share| &**share)
    }

    /// All files of this share are removed.
    pub(crate) fn forget_withdrawn(&mut self, share: &[u8]) {
        self.withdrawn.remove(share);
    }

    /// Whether these limit what a requester sees.
    pub(crate) fn limit(&self, requester: Requester) -> bool {
        !self.withdrawn.is_empty() || self.is_restricted && requester != Requester::Owner
    }

    /// Whether a requester sees a file or directory of this name, if there is one.
    pub(crate) fn show(&self, requester: Requester, name: &[u8]) -> bool {
        self.of(name).is_for(requester) && !self.withdrawn.contains(first_component(name))
    }

    /// Whether a peer sees something of these that it does not see of the next ones. `is_there`: whether a share, known by what its
    /// names begin with, has files.
    pub(crate) fn lose(&self, next: &Self, peer: IpAddr, is_there: impl Fn(&[u8]) -> bool) -> bool {
        let peer = Requester::Peer(peer);
        let is_lost = |name: &[u8]| self.show(peer, name) && !next.show(peer, name) && is_there(name);
        let names = self.named.keys().chain(next.named.keys()).chain(&next.withdrawn);
        self.main.is_for(peer) && !next.main.is_for(peer) || names.map(|name| &**name).any(is_lost)
    }

    /// Whether a peer sees something that another does not.
    pub(crate) fn shows_more(&self, peer: IpAddr, other: IpAddr) -> bool {
        [&self.main].into_iter().chain(self.named.values()).any(|audience| audience.has(peer) && !audience.has(other))
    }

    /// Whether a requester sees the file of this name, or from where on it may see one.
    pub(crate) fn sight(&self, requester: Requester, name: &[u8]) -> Sight {
        if self.show(requester, name) {
            return Sight::Seen;
        }
        let first = first_component(name);
        if !self.named.contains_key(first) && !self.withdrawn.contains(first) {
            // The whole name of a share, and what is beneath it, are not side by side: `a!` is between `a` and `a/`.
            let starts =
                |share: &[u8]| [share.to_vec(), [share, b"/"].concat()].into_iter().find(|start| **start > *name);
            let seen = self.named.iter().filter(|(share, _)| self.show(requester, share));
            return Sight::HiddenUpTo(seen.filter_map(|(share, _)| starts(share)).min().map(Bound::Included));
        }
        Sight::HiddenUpTo(Some(match first.len() < name.len() {
            // The byte after `/`.
            true => Bound::Included([first, b"0"].concat()),
            false => Bound::Excluded(name.to_vec()),
        }))
    }
}

/// What tells the share of a name, if a share has it.
pub(crate) fn first_component(name: &[u8]) -> &[u8] {
    name.split(|&byte| byte == b'/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests;
