//! Talking to systemd: whether it reads our standard error, and what it is told of our state.

use nix::sys::stat::fstat;
use sd_notify::NotifyState;
use std::ffi::OsStr;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// Whether standard error is the journal's stream, which `$JOURNAL_STREAM` names by device and inode (systemd.exec(5)).
/// The variable alone proves nothing: a redirected daemon inherits it too.
pub(super) fn stderr_is_journal(variable: Option<&OsStr>) -> bool {
    let named = variable.and_then(OsStr::to_str).and_then(|text| {
        let (device, inode) = text.split_once(':')?;
        Some((device.parse().ok()?, inode.parse().ok()?))
    });
    named.is_some() && fstat(io::stderr()).ok().map(|stat| (stat.st_dev, stat.st_ino)) == named
}

/// The daemon answers requests from now on.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)], Some(READY_WAIT_MAX));
}

/// The configuration is being reloaded; [`ready`] follows.
pub(super) fn reloading() {
    // Type=notify-reload wants the time beside it, other types ignore that.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now], None),
        Err(_) => tell(&[NotifyState::Reloading], None),
    }
}

pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("leaving")], None);
}

/// How long READY waits for a service manager that does not read: without it a start or a reload fails there.
const READY_WAIT_MAX: Duration = Duration::from_secs(1);

/// Does nothing unless systemd asked for notifications. The service manager may not read: waits this long at most, and not
/// without end as `sd_notify::notify` does.
fn tell(states: &[NotifyState<'_>], wait_max: Option<Duration>) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let text: String = states.iter().map(|state| format!("{state}\n")).collect();
    let told = UnixDatagram::unbound().and_then(|socket| {
        match wait_max {
            Some(_) => socket.set_write_timeout(wait_max)?,
            None => socket.set_nonblocking(true)?,
        }
        socket.send_to(text.as_bytes(), path)
    });
    if let Err(error) = told {
        log::warn!("cannot notify the service manager: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stream_that_is_named_is_the_journal() {
        assert!(!stderr_is_journal(None));
        assert!(!stderr_is_journal(Some(OsStr::new("nonsense"))));
        assert!(!stderr_is_journal(Some(OsStr::new("1:1"))));
        let stat = fstat(io::stderr()).unwrap();
        assert!(stderr_is_journal(Some(OsStr::new(&format!("{}:{}", stat.st_dev, stat.st_ino)))));
    }
}
