//! The addresses of this world: each host has one in a network of its own, and there are networks in which nobody is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const HOSTS_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);
const SILENT_V4: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 0);
const SILENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0);

/// The address of the host with this number.
pub(crate) fn host_ip(number: u16, ipv6: bool) -> IpAddr {
    match ipv6 {
        false => Ipv4Addr::from_bits(HOSTS_V4.to_bits() + u32::from(number)).into(),
        true => Ipv6Addr::new(0x2001, 0xdb8, 0, number, 0, 0, 0, 1).into(),
    }
}

/// The same of a host that also has a wide network of its own.
pub(crate) fn wide_host_ip(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, high, low, 1).into()
}

/// An endpoint at which nothing answers, of the same family as another: who connects waits as long as he likes. There are
/// many networks of them.
pub(crate) fn silent_endpoint(like: SocketAddr, number: u64) -> SocketAddr {
    let (place, port) = (number % 65_536, 1_024 + (number / 65_536 % 60_000) as u16);
    let ip: IpAddr = match like.ip() {
        IpAddr::V4(_) => Ipv4Addr::from_bits(SILENT_V4.to_bits() + place as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(SILENT_V6.to_bits() + (u128::from(place) << 64)).into(),
    };
    SocketAddr::new(ip, port)
}

/// Whether nothing answers at an address.
pub(crate) fn is_silent(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[..2] == SILENT_V4.octets()[..2],
        IpAddr::V6(ip) => ip.octets()[..6] == SILENT_V6.octets()[..6],
    }
}
