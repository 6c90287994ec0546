//! Names of files and directories in arguments: `NAME` and `./NAME` of the own share, `PEER/NAME` of a peer.

use super::Session;
use super::usage::no_lookup;
use super::values::{as_shown, peer};
use super::wording::Failure;
use crate::control::{CallError, ExitCode};
use crate::name::Escaped;
use std::net::SocketAddr;

/// Has `call` ask for this name in the own share, and if nothing there has it, for what follows the first slash at the peer before
/// it. `of`: what help calls the argument.
pub(super) fn own_or_of_peer<T>(
    session: &mut Session,
    (what, of): (&[u8], &str),
    call: impl Fn(&mut Session, Option<SocketAddr>, Vec<u8>) -> Result<T, CallError>,
) -> Result<T, CallError> {
    let own = what.strip_prefix(b"./");
    let shared = call(session, None, as_shown(own.unwrap_or(what).to_vec()));
    let at = what.iter().position(|&byte| byte == b'/').filter(|_| own.is_none());
    match (&shared, at) {
        (Err(error), Some(at)) if error.code == ExitCode::NotFound as i32 => {
            let (host, name) = (String::from_utf8_lossy(&what[..at]), as_shown(what[at + 1..].to_vec()));
            match peer(&host) {
                Ok(_) if name.is_empty() => Err(Failure::NoNameAfterPeer { peer: host.into() }.into()),
                Ok(peer) => call(session, Some(peer), name),
                // What has a colon or a bracket is meant as an address.
                Err(why) if host.contains([':', '[']) => {
                    let value = Escaped(what).to_string();
                    Err(no_lookup(&why).unwrap_or(Failure::BadArgument { value, of: of.into(), why }).into())
                }
                Err(_) => shared,
            }
        }
        _ => shared,
    }
}
