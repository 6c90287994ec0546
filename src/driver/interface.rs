//! The network interface that the configuration may name: all TCP sockets are bound to it by SO_BINDTODEVICE (socket(7)), so that
//! nothing leaves over another one, also while it is not there.

use crate::fault::ResolveFault;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

const HOSTS: &str = "/etc/hosts";

/// As much of that file as is read.
const HOSTS_BYTES_MAX: u64 = 4 << 20;

/// The interface of all connections, by its name; any if it has none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interface(Option<Arc<str>>);

impl Interface {
    pub(crate) fn new(name: Option<&str>) -> Self {
        Self(name.map(Arc::from))
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Binds a socket that was just made. Errors: ENODEV if there is no such interface; EPERM on Linux before 5.7, if the process
    /// has not CAP_NET_RAW.
    pub(super) fn bind(&self, socket: &Socket) -> io::Result<()> {
        self.name().map_or(Ok(()), |name| socket.bind_device(Some(name.as_bytes())))
    }

    /// Begins to connect.
    pub(super) fn connect(&self, to: SocketAddr) -> io::Result<mio::net::TcpStream> {
        if self.0.is_none() {
            return mio::net::TcpStream::connect(to);
        }
        let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        self.bind(&socket)?;
        begin_connecting(&socket, to)?;
        Ok(mio::net::TcpStream::from_std(socket.into()))
    }

    /// What a listener for the metrics is bound to: whoever reads them on this machine does so over no network, and needs no
    /// interface.
    pub(crate) fn for_metrics(&self, addr: SocketAddr) -> Self {
        if addr.ip().is_loopback() { Self::default() } else { self.clone() }
    }

    /// Whether a socket is bound to it. Not so if the interface was removed or renamed since, even if another one has the name now.
    pub(super) fn has(&self, socket: &Socket) -> bool {
        self.name().is_none_or(|name| matches!(socket.device(), Ok(Some(device)) if device == name.as_bytes()))
    }

    /// Its number, if it is there. One that is made again has another.
    pub(super) fn index(&self) -> Option<u32> {
        if_nametoindex(self.name()?).ok()
    }

    /// Whether sockets can be bound to it. Errors: as of [`Self::bind`].
    pub(crate) fn check(&self) -> io::Result<()> {
        self.bind(&Socket::new(Domain::IPV4, Type::STREAM, None)?)
    }

    /// The addresses of a host, if it is an IP address or named in /etc/hosts; `None` if there is no interface: then the system may
    /// be asked. It is not, otherwise, since it asks name servers over whatever interface leads to them.
    pub(crate) fn resolve(&self, host: &str) -> Option<Result<Vec<IpAddr>, ResolveFault>> {
        self.name()?;
        if let Ok(ip) = host.parse() {
            return Some(Ok(vec![ip]));
        }
        let mut bytes = Vec::new();
        let read = File::open(HOSTS).and_then(|file| file.take(HOSTS_BYTES_MAX).read_to_end(&mut bytes));
        if let Err(error) = read {
            return Some(Err(ResolveFault::Lookup(format!("{HOSTS}: {error}"))));
        }
        let found = named_in(&String::from_utf8_lossy(&bytes), host);
        Some(if found.is_empty() { Err(ResolveFault::NotInHosts) } else { Ok(found) })
    }
}

/// Connects a nonblocking socket; the outcome comes later.
pub(super) fn begin_connecting(socket: &Socket, to: SocketAddr) -> io::Result<()> {
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => Ok(()),
        outcome => outcome,
    }
}

/// The addresses that a table like /etc/hosts (hosts(5)) gives to a name.
fn named_in(table: &str, host: &str) -> Vec<IpAddr> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let mut found = Vec::new();
    for line in table.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(ip) = words.next().and_then(|ip| ip.parse().ok()) else { continue };
        if words.any(|name| name.eq_ignore_ascii_case(host)) && !found.contains(&ip) {
            found.push(ip);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_all_addresses_of_its_lines_whatever_its_case() {
        let table = "127.0.0.1\tlocalhost\n# 192.0.2.9 home\n192.0.2.7 home.example Home # of home2\n\
                     2001:db8::7 home\nfe80::1%eth0 home\n192.0.2.7 HOME\n";
        assert_eq!(named_in(table, "home"), ["192.0.2.7", "2001:db8::7"].map(|ip| ip.parse::<IpAddr>().unwrap()));
        assert_eq!(named_in(table, "home.example."), ["192.0.2.7".parse::<IpAddr>().unwrap()]);
        assert!(named_in(table, "home2").is_empty() && named_in(table, "192.0.2.7").is_empty());
    }

    #[test]
    fn with_an_interface_no_name_server_is_asked() {
        assert!(Interface::default().resolve("localhost").is_none(), "the system may be asked");
        let lo = Interface::new(Some("lo"));
        assert_eq!(lo.resolve("192.0.2.7"), Some(Ok(vec!["192.0.2.7".parse().unwrap()])));
        assert_eq!(lo.resolve("no-such-host.invalid"), Some(Err(ResolveFault::NotInHosts)));
    }

    #[test]
    fn an_interface_that_is_missing_connects_to_nothing() {
        let lo = Interface::new(Some("lo"));
        assert!(lo.check().is_ok() && lo.index().is_some());
        let missing = Interface::new(Some("missing-by-far"));
        assert_eq!(missing.check().unwrap_err().raw_os_error(), Some(nix::libc::ENODEV));
        assert!(missing.index().is_none() && missing.connect("127.0.0.1:9".parse().unwrap()).is_err());
    }
}
