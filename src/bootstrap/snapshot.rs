//! The registry as text, saved across restarts.

use super::{LEASE, Lease, REGISTRY_PEERS_MAX};
use crate::time::{Instant, WallClock};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// Lines with `#` are comments.
const HEAD: &[u8] =
    b"# Pyrate registry: IP,Port,end of the lease in ms since the epoch[,p1][,since=ms][,answered=ms]\n";

/// Writes a line `IP,Port,End` for each lease, with `,p1` for a `p1` peer, then the time of its registration, then of its answer
/// to a dial, if there was one. Earlier versions wrote neither of these times. They are dates of the wall clock, with which the
/// clock of the next run begins.
pub fn encode_snapshot(leases: &[Lease], wall: WallClock) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD.len() + leases.len() * 40);
    out.extend_from_slice(HEAD);
    for Lease { peer, since, ends, p1, answered } in leases {
        // Writing to a vector cannot fail.
        let p1 = if *p1 { ",p1" } else { "" };
        let _ =
            write!(out, "{},{},{}{p1},since={}", peer.ip(), peer.port(), wall.epoch_ms(*ends), wall.epoch_ms(*since));
        if let Some(at) = answered {
            let _ = write!(out, ",answered={}", wall.epoch_ms(*at));
        }
        out.push(b'\n');
    }
    out
}

/// Reads what [`encode_snapshot`] wrote. Skips damaged lines: these peers register again. Reads at most `REGISTRY_PEERS_MAX`.
pub fn decode_snapshot(text: &[u8]) -> Vec<Lease> {
    text.split(|&b| b == b'\n').filter_map(parse_line).take(REGISTRY_PEERS_MAX).collect()
}

fn parse_line(line: &[u8]) -> Option<Lease> {
    let mut fields = str::from_utf8(line).ok()?.split(',').peekable();
    let ip: IpAddr = fields.next()?.parse().ok()?;
    let port: u16 = fields.next()?.parse().ok().filter(|&port| port != 0)?;
    let ends = Instant::from_ms(fields.next()?.parse().ok()?);
    let p1 = fields.next_if_eq(&"p1").is_some();
    let mut time = |key: &str| match fields.next_if(|field| field.starts_with(key)) {
        None => Some(None),
        Some(field) => field[key.len()..].parse().ok().map(|ms| Some(Instant::from_ms(ms))),
    };
    // Earlier versions did not write it: it is not later than the beginning of the last lease.
    let since = time("since=")?.unwrap_or(Instant::from_ms(ends.as_ms().saturating_sub(LEASE.as_millis() as u64)));
    let answered = time("answered=")?;
    let peer = SocketAddr::new(ip.to_canonical(), port);
    fields.next().is_none().then_some(Lease { peer, since, ends, p1, answered })
}
