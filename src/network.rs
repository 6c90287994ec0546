//! The units by which limits on shared resources count addresses: one host may have all addresses of its network, and one
//! owner often has all networks of a wide one. Also: which host names are mistyped addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 address, or the upper 64 bits of an IPv6 address. An IPv6 address that stands for an IPv4 address counts as that
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Network(IpAddr);

impl Network {
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
            v4 @ IpAddr::V4(_) => v4,
        })
    }

    /// The wide network that it belongs to.
    pub(crate) fn wide(self) -> WideNetwork {
        WideNetwork::of(self.0)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(ip) => ip.fmt(f),
            IpAddr::V6(ip) => write!(f, "{ip}/64"),
        }
    }
}

/// What one owner often has as a whole: the upper 24 bits of an IPv4 address, or the upper 48 bits of an IPv6 address. The
/// loopback network is one as well.
///
/// A university, a hosting provider or a local network may be one too, with many honest users. So no limit refuses
/// anything to a wide network; it only comes after others that want the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WideNetwork(IpAddr);

impl WideNetwork {
    /// The wide network of an address.
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & (u32::MAX << 8)).into(),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 80)).into(),
        })
    }
}

/// Whether a host that is no IP address must not be looked up either: its last label is a number (URL Standard, "ends in a
/// number checker"). The system takes `1.2.3`, `0x7f.1` and `010.0.0.1` for addresses that nobody means.
pub(crate) fn ends_in_number(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or(host);
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()),
    }
}

/// The form of an IPv4 address, for error messages.
pub(crate) const IPV4_FORM: &str =
    "an IPv4 address is four numbers from 0 to 255 without leading zeros, as in 192.0.2.7";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Network {
        Network::of(text.parse().unwrap())
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one_and_ipv4_addresses_each_for_itself() {
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }

    #[test]
    fn wide_networks_have_24_or_48_bits_and_the_loopback_network_is_one() {
        let of = |text: &str| WideNetwork::of(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.255"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:2:2::1"));
        assert_eq!(of("127.0.0.1"), of("127.9.8.7"));
    }

    #[test]
    fn what_the_system_would_take_for_an_address_is_no_host_name() {
        for number in ["1.2.3", "1.2.3.4.5", "7", "010.0.0.1", "0x7f000001", "0X7F.1", "10.0.0.256", "1.2.3.", "a.1"] {
            assert!(ends_in_number(number), "{number}");
        }
        for name in ["localhost", "1.example", "192-0-2-7", "0xyz", "a1", "1a", "3.com.", "", "."] {
            assert!(!ends_in_number(name), "{name}");
        }
    }
}
