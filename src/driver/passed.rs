//! Sockets that the program was started with: the listeners of socket units, under the names of their `FileDescriptorName=`, and
//! what an earlier run has left with the service manager.

use super::interface::Interface;
use socket2::Socket;
use std::net::SocketAddr;

/// The name of the peer's listener in a socket unit.
pub(crate) const PEER: &str = "peer";
/// The name of the bootstrap node's listener in a socket unit.
pub(crate) const BOOTSTRAP: &str = "bootstrap";

/// The name of the peer's listener, as an earlier run has left it.
pub(super) const KEPT_PEER: &str = "kept-peer";
/// The name of the bootstrap node's listener, as an earlier run has left it.
pub(super) const KEPT_BOOTSTRAP: &str = "kept-bootstrap";
/// The name of a connection on which an earlier run was sending a file.
pub(super) const KEPT_UPLOAD: &str = "kept-upload";
/// The name of the socket that brings what was being sent.
pub(super) const KEPT_RECORDS: &str = "kept-records";

/// All that an earlier run may have left.
pub(crate) const KEPT: [&str; 4] = [KEPT_PEER, KEPT_BOOTSTRAP, KEPT_UPLOAD, KEPT_RECORDS];

/// Sockets that nobody has taken yet.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    sockets: Vec<(&'static str, Socket)>,
}

impl Passed {
    /// Returns whether there was no socket of this name before.
    pub(crate) fn add(&mut self, name: &'static str, socket: Socket) -> bool {
        let is_first = self.sockets.iter().all(|(other, _)| *other != name);
        self.sockets.push((name, socket));
        is_first
    }

    /// The names of what an earlier run has left.
    pub(crate) fn kept(&self) -> Vec<&'static str> {
        KEPT.into_iter().filter(|kept| self.sockets.iter().any(|(name, _)| name == kept)).collect()
    }

    /// Takes all sockets of a name.
    pub(super) fn take(&mut self, wanted: &str) -> Vec<Socket> {
        self.sockets.extract_if(.., |(name, _)| *name == wanted).map(|(_, socket)| socket).collect()
    }

    /// The listener that an earlier run has left, if the configuration still says the same.
    pub(super) fn kept_listener(&mut self, name: &str, addr: SocketAddr, interface: &Interface) -> Option<Socket> {
        self.take(name).into_iter().find(|socket| {
            let bound = socket.local_addr().ok().and_then(|bound| bound.as_socket());
            let is_right = bound.is_some_and(|bound| is_at(bound, addr)) && interface.has(socket);
            is_right && socket.is_listener().is_ok_and(|listens| listens)
        })
    }

    /// Takes the listener of a socket unit, if there is one, which must be what the configuration says: `addr`, whose port 0
    /// stands for any. `keys`: those that say so.
    /// Errors: What does not fit, in a sentence.
    pub(super) fn listener(
        &mut self,
        name: &str,
        addr: SocketAddr,
        keys: &str,
        interface: &Interface,
    ) -> Result<Option<Socket>, String> {
        let Some(at) = self.sockets.iter().position(|(other, _)| *other == name) else { return Ok(None) };
        let (name, socket) = self.sockets.swap_remove(at);
        if !socket.is_listener().is_ok_and(|listens| listens) {
            return Err(format!("the socket `{name}` does not listen: Accept=yes is not for this daemon"));
        }
        let bound = socket.local_addr().ok().and_then(|bound| bound.as_socket());
        if !bound.is_some_and(|bound| is_at(bound, addr)) {
            let bound = bound.map_or_else(|| "no address".to_owned(), |bound| bound.to_string());
            return Err(format!("the socket `{name}` is at {bound}, and {keys} {addr}: give both the same address"));
        }
        if !interface.has(&socket) {
            let device = interface.name().unwrap_or_default();
            return Err(format!(
                "the socket `{name}` takes connections over any interface, and interface is {device}: set \
                 BindToDevice={device} in the socket unit"
            ));
        }
        Ok(Some(socket))
    }

    /// Errors: The first that the configuration has no use for, in a sentence.
    pub(super) fn must_be_used_up(&self) -> Result<(), String> {
        match self.sockets.iter().find(|(name, _)| !KEPT.contains(name)) {
            Some((name, _)) => Err(format!(
                "the socket `{name}` is passed, and this configuration has no {name}: disable the socket unit, or set {}",
                if *name == BOOTSTRAP { "bootstrap_serve" } else { "peer = true" }
            )),
            None => Ok(()),
        }
    }
}

/// Whether a socket is where the configuration says, whose port 0 stands for any.
fn is_at(bound: SocketAddr, addr: SocketAddr) -> bool {
    bound.ip() == addr.ip() && (bound.port() == addr.port() || addr.port() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A socket that listens, and where.
    fn listening() -> (Socket, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        (listener.into(), addr)
    }

    #[test]
    fn a_listener_that_was_kept_is_taken_only_where_the_configuration_still_wants_it() {
        let any = Interface::default();
        let other = "127.0.0.2:1".parse().unwrap();
        let (socket, addr) = listening();
        let mut passed = Passed::default();
        passed.add(KEPT_PEER, socket.try_clone().unwrap());
        assert_eq!(passed.kept(), [KEPT_PEER]);
        assert!(passed.kept_listener(KEPT_PEER, other, &any).is_none() && passed.kept().is_empty());
        for wanted in [addr, "127.0.0.1:0".parse().unwrap()] {
            passed.add(KEPT_PEER, socket.try_clone().unwrap());
            assert!(passed.kept_listener(KEPT_BOOTSTRAP, wanted, &any).is_none());
            assert!(passed.kept_listener(KEPT_PEER, wanted, &any).is_some());
        }
        assert!(passed.kept_listener(KEPT_PEER, addr, &any).is_none(), "it is taken once");
    }

    #[test]
    fn only_what_a_socket_unit_passes_must_be_of_use() {
        let any = Interface::default();
        let mut passed = Passed::default();
        passed.add(KEPT_UPLOAD, listening().0);
        assert_eq!(passed.must_be_used_up(), Ok(()));
        let (socket, addr) = listening();
        assert!(passed.add(PEER, socket.try_clone().unwrap()) && !passed.add(PEER, socket));
        assert!(passed.must_be_used_up().unwrap_err().contains("set peer = true"));
        assert!(passed.listener(PEER, addr, "", &any).unwrap().is_some());
        assert!(passed.listener(BOOTSTRAP, addr, "", &any).unwrap().is_none());
    }

    #[test]
    fn a_listener_that_is_bound_to_no_interface_is_not_taken_where_one_is_configured() {
        let (socket, addr) = listening();
        let lo = Interface::new(Some("lo"));
        let mut passed = Passed::default();
        passed.add(PEER, socket.try_clone().unwrap());
        passed.add(KEPT_PEER, socket);
        assert!(passed.listener(PEER, addr, "", &lo).unwrap_err().contains("BindToDevice=lo"));
        assert!(passed.kept_listener(KEPT_PEER, addr, &lo).is_none());
        let bound = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        bound.bind_device(Some(b"lo")).unwrap();
        bound.bind(&addr.into()).or_else(|_| bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())).unwrap();
        bound.listen(1).unwrap();
        let addr = bound.local_addr().unwrap().as_socket().unwrap();
        passed.add(PEER, bound);
        assert!(passed.listener(PEER, addr, "", &lo).unwrap().is_some());
    }
}
