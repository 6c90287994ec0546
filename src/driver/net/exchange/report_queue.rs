//! Reports on searches that we send back on a stream of a peer (PROTOCOL, part 2, The end of a search).

use crate::driver::socket::Socket;
use std::io;

/// Bytes that may wait for a peer that does not read. Further lines are dropped: the peer has a deadline of its own.
const WAITING_BYTES_MAX: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct ReportQueue(Vec<u8>);

impl ReportQueue {
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
