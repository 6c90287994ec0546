//! The two files of the state directory that the loop reads and writes, and their form: the peers to remember, one
//! endpoint a line, and the registry of the bootstrap node.

use log::warn;
use std::fmt::Write;
use std::net::SocketAddr;

use crate::store::StateDirectory;

/// Known peers across restarts.
pub(super) const PEERS_FILE: &str = "peers";

/// Registrations of the bootstrap node across restarts.
pub(super) const REGISTRY_FILE: &str = "registry";

/// Reads a file; damage and absence are both nothing, damage is logged.
pub(super) fn read(state: Option<&StateDirectory>, file: &str) -> Vec<u8> {
    match state.map(|state| state.read(file)) {
        Some(Ok(Some(bytes))) => bytes,
        Some(Err(error)) => {
            warn!("cannot read the state file {file}, going on without it: {error}");
            Vec::new()
        }
        Some(Ok(None)) | None => Vec::new(),
    }
}

/// One endpoint a line.
pub(super) fn encode_peers(peers: &[SocketAddr]) -> Vec<u8> {
    let mut text = String::new();
    for peer in peers {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{peer}");
    }
    text.into_bytes()
}

/// Lines that are no endpoint are left out.
pub(super) fn decode_peers(bytes: &[u8]) -> Vec<SocketAddr> {
    bytes.split(|&b| b == b'\n').filter_map(|line| std::str::from_utf8(line).ok()?.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_costs_only_the_lines_it_hits() {
        let peers: Vec<SocketAddr> = vec!["192.0.2.1:63339".parse().unwrap(), "[2001:db8::1]:9".parse().unwrap()];
        let mut bytes = encode_peers(&peers);
        bytes.splice(0..0, *b"nonsense\n\xff\xff\n\n");
        assert_eq!(decode_peers(&bytes), peers);
    }
}
