//! What we say against the direction of a stream that a peer has opened (PROTOCOL, part 2, The end of a search).

use crate::driver::socket::Socket;
use std::io;

/// Bytes that may wait for a peer that does not read. What is said beyond is left out: the peer has its own time for that.
const WAITING_BYTES_MAX: usize = 4_096;

/// Lines that the system has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Said(Vec<u8>);

impl Said {
    /// Adds a line, whole or not at all.
    pub(super) fn push(&mut self, line: &[u8]) {
        if self.0.len() + line.len() <= WAITING_BYTES_MAX {
            self.0.extend_from_slice(line);
        }
    }

    pub(super) fn flush(&mut self, socket: &mut Socket) -> io::Result<()> {
        while !self.0.is_empty()
            && let Ok(sent) = socket.write(&self.0)?
        {
            self.0.drain(..sent);
        }
        Ok(())
    }
}
