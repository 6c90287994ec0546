//! The sockets that the service manager passes (sd_listen_fds(3)).

use super::fault::Fault;
use crate::driver::{BOOTSTRAP, KEPT_PREFIX, PEER, Passed};
use crate::name::Escaped;
use listenfd::ListenFd;
use nix::libc;
use socket2::Socket;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Takes them. Must be called once, while the process has one thread: what the environment says of them is removed from it.
/// `names`: `$LISTEN_FDNAMES`.
///
/// # Errors
/// [`Fault::Passed`].
pub(super) fn take_passed(names: Option<&OsStr>) -> Result<Passed, Fault> {
    let mut taken = ListenFd::from_env();
    let names: Vec<&[u8]> =
        names.map(|names| names.as_bytes().split(|byte| *byte == b':').collect()).unwrap_or_default();
    let mut passed = Passed::default();
    for at in 0..taken.len() {
        let given = names.get(at).copied().unwrap_or_default();
        if let Ok(kept) = std::str::from_utf8(given)
            && kept.starts_with(KEPT_PREFIX)
        {
            // The control socket is a Unix socket, and the records come by one. What cannot be taken is lost, as it is without
            // being kept.
            let socket = taken.take_custom::<Socket>(at, libc::AF_INET, libc::SOCK_STREAM, "TCP socket");
            let socket = socket.or_else(|_| taken.take_custom(at, libc::AF_UNIX, libc::SOCK_STREAM, "Unix socket"));
            passed.add_kept(kept, socket.ok().flatten());
            continue;
        }
        let Some(name) = [PEER, BOOTSTRAP].into_iter().find(|name| name.as_bytes() == given) else {
            return Err(Fault::Passed(format!(
                "a socket is passed under the name `{}`: FileDescriptorName= of its unit must be {PEER} or {BOOTSTRAP}",
                Escaped(given)
            )));
        };
        // An IPv6 socket passes for one of IPv4 there.
        match taken.take_custom::<Socket>(at, libc::AF_INET, libc::SOCK_STREAM, "TCP socket") {
            Ok(Some(socket)) => {
                if !passed.add(name, socket) {
                    let problem = format!("there is more than one socket `{name}`: ListenStream= takes one address");
                    return Err(Fault::Passed(problem));
                }
            }
            // Each is taken once.
            Ok(None) => {}
            Err(_) => {
                return Err(Fault::Passed(format!(
                    "the socket `{name}` is none of TCP: ListenStream= takes addr:port"
                )));
            }
        }
    }
    Ok(passed)
}
