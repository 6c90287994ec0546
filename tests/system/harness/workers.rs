//! Requests that hold the workers of a peer: of whoever asks for much, and does not read.

use super::{Daemon, End, LIMIT, Setup, connect_from, read_to_end, until};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpStream};

/// Bytes of `large.bin`: more than all socket buffers between the two.
pub(crate) const LARGE: u64 = 24 << 20;

impl Setup {
    /// Shares `large.bin`, which holds a worker as long as nobody reads it, and `small.txt`, which is "small".
    pub(crate) fn shares_large(self) -> Self {
        let setup = self.shares("small.txt", "small");
        let file = File::create(setup.share().join("large.bin")).expect("a fresh file");
        file.set_len(LARGE).expect("a sparse file");
        setup
    }
}

/// Sends a request, and reads nothing yet.
pub(crate) fn request(from: Ipv4Addr, peer: &Daemon, message: &str) -> TcpStream {
    let mut stream = connect_from(from, peer.listen()).expect("it accepts");
    stream.write_all(format!("{message}\n").as_bytes()).expect("it reads");
    stream
}

/// Whether the first byte of a response has come.
pub(crate) fn has_begun(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("it can be polled");
    let begun = match stream.peek(&mut [0]) {
        Ok(count) => count == 1,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    };
    stream.set_nonblocking(false).expect("it can block");
    begun
}

/// Reads `large.bin` to its end.
pub(crate) fn finish(mut stream: TcpStream) {
    let (bytes, end) = read_to_end(&mut stream);
    assert!(bytes.len() as u64 == LARGE && end == End::Fin);
}

/// Waits until so many requests wait for a worker.
pub(crate) fn await_queued(peer: &Daemon, count: usize) {
    until(&format!("{count} wait"), LIMIT, || peer.status()["commands_queued"] == count);
}
