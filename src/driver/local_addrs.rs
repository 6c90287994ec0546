//! The addresses of this machine's interfaces. The system is asked by netlink; where a sandbox allows no such sockets, as the
//! units of systemd do, the tables below /proc/self/net have the same.

use super::interface::Interface;
use nix::ifaddrs::InterfaceAddress;
use nix::sys::socket::SockaddrStorage;
use socket2::{Domain, Socket, Type};
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// As much of a table as is read. The tables of a router with all routes of the Internet are longer; what comes after is not
/// seen.
const TABLE_BYTES_MAX: u64 = 4 << 20;

/// An address in no network (RFC 5737), to which an interface without routes would send from its own address.
const SOMEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// The addresses of an interface, or of all, sorted; none if the system does not say.
pub(super) fn local_addrs(of: &Interface) -> Vec<IpAddr> {
    let mut addresses = by_netlink(of).unwrap_or_else(|_| by_proc(of));
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Whether an interface, or any, may have an address. The loopback interface has all of 127.0.0.0/8.
pub(crate) fn may_have_address(of: &Interface, ip: IpAddr) -> bool {
    ip.is_unspecified() || of.name().is_none() || is_among(by_netlink(of), ip)
}

/// `asked`: what netlink says. The tables have not all addresses of an interface, and rule nothing out.
fn is_among(asked: nix::Result<Vec<IpAddr>>, ip: IpAddr) -> bool {
    let same = |local: &IpAddr| local.to_canonical() == ip || local.is_loopback() && ip.is_loopback() && ip.is_ipv4();
    asked.map_or(true, |own| own.iter().any(same))
}

fn by_netlink(of: &Interface) -> nix::Result<Vec<IpAddr>> {
    let ip_of = |address: SockaddrStorage| match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => Some(IpAddr::V4(v4.ip())),
        (_, Some(v6)) => Some(IpAddr::V6(v6.ip())),
        _ => None,
    };
    let is_wanted = |interface: &InterfaceAddress| of.name().is_none_or(|name| name == interface.interface_name);
    Ok(nix::ifaddrs::getifaddrs()?.filter(is_wanted).filter_map(|interface| ip_of(interface.address?)).collect())
}

fn by_proc(of: &Interface) -> Vec<IpAddr> {
    let table = |path| read(path).unwrap_or_default();
    let v4 = match of.name() {
        None => local_v4(&table("/proc/self/net/fib_trie")).map(IpAddr::V4).collect::<Vec<_>>(),
        Some(_) => used_v4(of).into_iter().collect(),
    };
    let v6 = local_v6(&table("/proc/self/net/if_inet6"), of.name()).map(IpAddr::V6).collect::<Vec<_>>();
    [v4, v6].concat()
}

/// The IPv4 address of an interface that connections from it have: that table names no interfaces. Nothing is sent.
fn used_v4(of: &Interface) -> Option<IpAddr> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).ok()?;
    of.bind(&socket).ok()?;
    socket.connect(&SocketAddr::from(SOMEWHERE).into()).ok()?;
    let used = socket.local_addr().ok()?.as_socket()?.ip();
    // The loopback interface has none for connections to elsewhere, and the system takes that of another.
    Some(if of.name() == Some("lo") { Ipv4Addr::LOCALHOST.into() } else { used }).filter(|ip| !ip.is_unspecified())
}

fn read(path: &str) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(TABLE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// The leaves of `/proc/net/fib_trie` that are our own: an address on a line, and below it its routes, of which one is
/// `/32 host LOCAL`.
fn local_v4(table: &str) -> impl Iterator<Item = Ipv4Addr> {
    let mut leaf = None;
    table.lines().filter_map(move |line| {
        let line = line.trim_start();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse().ok();
            return None;
        }
        if line == "/32 host LOCAL" { leaf } else { None }
    })
}

/// The lines of `/proc/net/if_inet6`, each of which begins with an address in 32 hexadecimal digits, and ends with the interface.
fn local_v6(table: &str, of: Option<&str>) -> impl Iterator<Item = Ipv6Addr> {
    let address = move |line: &str| {
        of.is_none_or(|name| line.split(' ').next_back() == Some(name)).then_some(())?;
        let digits = line.split(' ').next().filter(|digits| digits.len() == 32)?;
        u128::from_str_radix(digits, 16).ok()
    };
    table.lines().filter_map(address).map(Ipv6Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_name_addresses_that_netlink_names_too() {
        let any = Interface::default();
        let (asked, read) = (by_netlink(&any).unwrap(), by_proc(&any));
        // Those of an interface that is down are in no table.
        assert!(read.iter().all(|address| asked.contains(address)), "{read:?} beside {asked:?}");
        for own in ["127.0.0.1", "::1"].map(|own| own.parse::<IpAddr>().unwrap()) {
            assert_eq!(read.contains(&own), asked.contains(&own), "{own} in {read:?}");
        }
    }

    #[test]
    fn an_interface_has_its_own_addresses_alone() {
        let lo = Interface::new(Some("lo"));
        let own = by_netlink(&lo).unwrap();
        assert!(own.contains(&Ipv4Addr::LOCALHOST.into()) && own.iter().all(IpAddr::is_loopback), "{own:?}");
        assert!(by_proc(&lo).iter().all(|address| own.contains(address)));
        let has = |ip: &str| may_have_address(&lo, ip.parse().unwrap());
        assert!(has("127.0.0.1") && has("127.8.9.1") && has("0.0.0.0") && !has("192.0.2.222"));
        let forbidden = Err(nix::errno::Errno::EAFNOSUPPORT);
        assert!(is_among(forbidden, "192.0.2.222".parse().unwrap()), "the system does not say");
        assert_eq!(local_addrs(&Interface::new(Some("missing-by-far"))), [] as [IpAddr; 0]);
        let table = "fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n00000000000000000000000000000001 01 80 10 80       lo\n";
        assert_eq!(local_v6(table, Some("lo")).collect::<Vec<_>>(), [Ipv6Addr::LOCALHOST]);
    }

    #[test]
    fn networks_and_broadcasts_are_no_addresses_of_ours() {
        let table = "Local:\n  +-- 192.0.2.0/24 2 0 2\n     |-- 192.0.2.0\n        /24 link UNICAST\n     |-- 192.0.2.2\n        \
                     /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\n";
        assert_eq!(local_v4(table).collect::<Vec<_>>(), [Ipv4Addr::new(192, 0, 2, 2)]);
        let torn = "fe8000000000000000fc00fffe000001 04 40 20 80     eth0\nfd0000";
        assert_eq!(local_v6(torn, None).collect::<Vec<_>>(), ["fe80::fc:ff:fe00:1".parse::<Ipv6Addr>().unwrap()]);
    }
}
