//! The registry as text: what survives a restart. Writing it so that it is there whole or not at all is the store's.

use super::{Lease, REGISTRY_PEERS_MAX};
use crate::time::Instant;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// What the text begins with. Lines with `#` are for people.
const HEAD: &[u8] = b"# Pyrate registry: IP,Port,end of the lease in ms since the epoch[,p1]\n";

/// Writes a line `IP,Port,End` per lease, `IP,Port,End,p1` for a peer that said `p1`.
pub fn encode_snapshot(leases: &[Lease]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD.len() + leases.len() * 40);
    out.extend_from_slice(HEAD);
    for Lease { peer, ends, p1 } in leases {
        // Writing to a vector cannot fail.
        let _ = writeln!(out, "{},{},{}{}", peer.ip(), peer.port(), ends.as_ms(), if *p1 { ",p1" } else { "" });
    }
    out
}

/// Reads what [`encode_snapshot`] wrote. Lines that are damaged are left out: whoever stood there registers again. At
/// most [`REGISTRY_PEERS_MAX`] are read.
pub fn decode_snapshot(text: &[u8]) -> Vec<Lease> {
    text.split(|&b| b == b'\n').filter_map(parse_line).take(REGISTRY_PEERS_MAX).collect()
}

fn parse_line(line: &[u8]) -> Option<Lease> {
    let mut fields = str::from_utf8(line).ok()?.split(',');
    let ip: IpAddr = fields.next()?.parse().ok()?;
    let port: u16 = fields.next()?.parse().ok().filter(|&port| port != 0)?;
    let ends = fields.next()?.parse().ok()?;
    let p1 = match fields.next() {
        None => false,
        Some("p1") => true,
        Some(_) => return None,
    };
    let peer = SocketAddr::new(ip.to_canonical(), port);
    fields.next().is_none().then_some(Lease { peer, ends: Instant::from_ms(ends), p1 })
}
