//! The addresses of this machine's interfaces. The system is asked by netlink; where a sandbox allows no such sockets, as the
//! units of systemd do, the tables below /proc/self/net have the same.

use nix::sys::socket::SockaddrStorage;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// As much of a table as is read. The tables of a router with all routes of the Internet are longer; what comes after is not
/// seen.
const TABLE_BYTES_MAX: u64 = 4 << 20;

/// All addresses, sorted; none if the system does not say.
pub(super) fn local_addrs() -> Vec<IpAddr> {
    let mut addresses = by_netlink().unwrap_or_else(|_| by_proc());
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn by_netlink() -> nix::Result<Vec<IpAddr>> {
    let ip_of = |address: SockaddrStorage| match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => Some(IpAddr::V4(v4.ip())),
        (_, Some(v6)) => Some(IpAddr::V6(v6.ip())),
        _ => None,
    };
    Ok(nix::ifaddrs::getifaddrs()?.filter_map(|interface| ip_of(interface.address?)).collect())
}

fn by_proc() -> Vec<IpAddr> {
    let table = |path| read(path).unwrap_or_default();
    let v4 = local_v4(&table("/proc/self/net/fib_trie")).map(IpAddr::V4).collect::<Vec<_>>();
    let v6 = local_v6(&table("/proc/self/net/if_inet6")).map(IpAddr::V6).collect::<Vec<_>>();
    [v4, v6].concat()
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

/// The lines of `/proc/net/if_inet6`, each of which begins with an address in 32 hexadecimal digits.
fn local_v6(table: &str) -> impl Iterator<Item = Ipv6Addr> {
    let address = |line: &str| {
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
        let (asked, read) = (by_netlink().unwrap(), by_proc());
        // Those of an interface that is down are in no table.
        assert!(read.iter().all(|address| asked.contains(address)), "{read:?} beside {asked:?}");
        for own in ["127.0.0.1", "::1"].map(|own| own.parse::<IpAddr>().unwrap()) {
            assert_eq!(read.contains(&own), asked.contains(&own), "{own} in {read:?}");
        }
    }

    #[test]
    fn networks_and_broadcasts_are_no_addresses_of_ours() {
        let table = "Local:\n  +-- 192.0.2.0/24 2 0 2\n     |-- 192.0.2.0\n        /24 link UNICAST\n     |-- 192.0.2.2\n        \
                     /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\n";
        assert_eq!(local_v4(table).collect::<Vec<_>>(), [Ipv4Addr::new(192, 0, 2, 2)]);
        let torn = "fe8000000000000000fc00fffe000001 04 40 20 80     eth0\nfd0000";
        assert_eq!(local_v6(torn).collect::<Vec<_>>(), ["fe80::fc:ff:fe00:1".parse::<Ipv6Addr>().unwrap()]);
    }
}
