//! Sockets that the program was started with: the listeners of socket units, under the names of their `FileDescriptorName=`.

use socket2::Socket;
use std::net::SocketAddr;

/// The name of the peer's listener in a socket unit.
pub(crate) const PEER: &str = "peer";
/// The name of the bootstrap node's listener in a socket unit.
pub(crate) const BOOTSTRAP: &str = "bootstrap";

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

    /// Takes the listener of a socket unit, if there is one, which must be what the configuration says: `addr`, whose port 0
    /// stands for any. `keys`: those that say so.
    /// Errors: What does not fit, in a sentence.
    pub(super) fn listener(&mut self, name: &str, addr: SocketAddr, keys: &str) -> Result<Option<Socket>, String> {
        let Some(at) = self.sockets.iter().position(|(other, _)| *other == name) else { return Ok(None) };
        let (name, socket) = self.sockets.swap_remove(at);
        if !socket.is_listener().is_ok_and(|listens| listens) {
            return Err(format!("the socket `{name}` does not listen: Accept=yes is not for this daemon"));
        }
        let bound = socket.local_addr().ok().and_then(|bound| bound.as_socket());
        if !bound.is_some_and(|bound| bound.ip() == addr.ip() && (bound.port() == addr.port() || addr.port() == 0)) {
            let bound = bound.map_or_else(|| "no address".to_owned(), |bound| bound.to_string());
            return Err(format!("the socket `{name}` is at {bound}, and {keys} {addr}: give both the same address"));
        }
        Ok(Some(socket))
    }

    /// Errors: The first that the configuration has no use for, in a sentence.
    pub(super) fn must_be_used_up(&self) -> Result<(), String> {
        match self.sockets.first() {
            Some((name, _)) => Err(format!(
                "the socket `{name}` is passed, and this configuration has no {name}: disable the socket unit, or set {}",
                if *name == BOOTSTRAP { "bootstrap_serve" } else { "peer = true" }
            )),
            None => Ok(()),
        }
    }
}
