//! Talking to systemd: whether it reads our standard error, and what it is told of our state (sd_notify(3)).

use crate::driver::{Report, Supervised};
use bytesize::ByteSize;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use sd_notify::NotifyState;
use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
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

/// How long READY waits for a service manager that does not read: without it a start or a reload fails there.
const READY_WAIT_MAX: Duration = Duration::from_secs(1);

/// How long a start waits for a service manager that has much else to do.
const BARRIER_WAIT_MAX: Duration = Duration::from_secs(5);

/// A start that takes long says every few seconds (`driver/supervision`) that it may take this long from then on.
const START_EXTENDED_BY: u32 = 60_000_000;

/// The service manager, if there is one that asked to be notified.
#[derive(Debug, Default)]
pub(super) struct Supervisor {
    socket: Option<SocketAddr>,
    alive_every: Option<Duration>,
    /// What we are, for the status.
    what: String,
    /// The status that it knows.
    told: String,
    /// It knows that the start is over.
    is_started: bool,
    /// It could not be told the last time: that is logged once.
    is_deaf: bool,
}

impl Supervisor {
    /// The one that `$NOTIFY_SOCKET` and `$WATCHDOG_USEC` speak of.
    pub(super) fn of_environment(notify_socket: Option<&OsStr>) -> Self {
        let socket = notify_socket.and_then(|name| {
            let bytes = name.as_bytes();
            let address = match bytes.strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(name),
            };
            address.inspect_err(|error| log::warn!("NOTIFY_SOCKET: {error}")).ok()
        });
        // Twice in that time, so that one that is late does no harm.
        let alive_every = sd_notify::watchdog_enabled().map(|usec| usec / 2).filter(|every| !every.is_zero());
        Self { socket, alive_every, ..Self::default() }
    }

    /// What the loop is to report.
    pub(super) fn wants(&self) -> Option<Supervised> {
        self.socket.as_ref().map(|_| Supervised { alive_every: self.alive_every })
    }

    /// Everything is bound. `what`: what we are and where.
    pub(super) fn bound(&mut self, what: String) {
        self.what = what;
    }

    /// Tells what the loop does, if that has changed, and that the start is over as soon as it is.
    pub(super) fn report(&mut self, report: &Report) {
        let status = wording(&self.what, report);
        let text = NotifyState::Status(&status);
        let is_told = match (self.is_started, report.is_starting) {
            (false, true) => self.tell(&[NotifyState::ExtendTimeoutUsec(START_EXTENDED_BY), text], None),
            (false, false) => {
                self.is_started = true;
                self.tell(&[NotifyState::Ready, text], Some(READY_WAIT_MAX))
            }
            (true, _) if status != self.told => self.tell(&[text], None),
            (true, _) => return,
        };
        if is_told {
            self.told = status;
        }
    }

    /// Whether it can be given sockets.
    pub(super) fn listens(&self) -> bool {
        self.socket.is_some()
    }

    /// Gives it sockets, which it passes to the next start under this name. `is_watched`: it may close one that is broken.
    pub(super) fn keep(&mut self, name: &str, sockets: &[BorrowedFd<'_>], is_watched: bool) -> bool {
        let states = ["FDSTORE=1", &format!("FDNAME={name}"), "FDPOLL=0"];
        let states: Vec<_> =
            states[..if is_watched { 2 } else { 3 }].iter().map(|state| NotifyState::Custom(state)).collect();
        self.tell_with(&states, sockets, self.patience())
    }

    /// How long it is waited for when much is to be told at once: one that did not read the last message is not waited for again.
    fn patience(&self) -> Option<Duration> {
        (!self.is_deaf).then_some(READY_WAIT_MAX)
    }

    /// What it has kept under these names is ours now: it forgets that. When this returns, an address is free at which only it
    /// still had a listener, so that one can be made there.
    pub(super) fn take_back(&mut self, names: &[String]) {
        for name in names {
            let name = format!("FDNAME={name}");
            self.tell(&[NotifyState::Custom("FDSTOREREMOVE=1"), NotifyState::Custom(&name)], self.patience());
        }
        if names.is_empty() || self.is_deaf {
            return;
        }
        // It closes what comes with BARRIER when it has done what it was told before.
        let outcome = io::pipe().and_then(|(ours, theirs)| {
            self.tell_with(&[NotifyState::Custom("BARRIER=1")], &[theirs.as_fd()], Some(READY_WAIT_MAX));
            drop(theirs);
            let mut fds = [PollFd::new(ours.as_fd(), PollFlags::empty())];
            let wait_max = PollTimeout::try_from(BARRIER_WAIT_MAX).unwrap_or(PollTimeout::ZERO);
            Ok(poll(&mut fds, wait_max)?)
        });
        if !outcome.is_ok_and(|closed| closed == 1) {
            log::warn!("the service manager may still keep listeners of the run before");
        }
    }

    /// The loop turns.
    pub(super) fn alive(&mut self) {
        self.tell(&[NotifyState::Watchdog], None);
    }

    /// The configuration is being reloaded; [`Supervisor::reloaded`] follows.
    pub(super) fn reloading(&mut self) {
        if !self.is_started {
            return;
        }
        // Type=notify-reload wants the time beside it, other types ignore that.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now], None),
            Err(_) => self.tell(&[NotifyState::Reloading], None),
        };
    }

    pub(super) fn reloaded(&mut self) {
        if self.is_started {
            let status = std::mem::take(&mut self.told);
            self.tell(&[NotifyState::Ready, NotifyState::Status(&status)], Some(READY_WAIT_MAX));
            self.told = status;
        }
    }

    pub(super) fn stopping(&mut self) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status("leaving")], None);
    }

    /// Returns whether it could be told. A service manager that does not read is waited for this long, and not without end as
    /// `sd_notify::notify` does.
    fn tell(&mut self, states: &[NotifyState<'_>], wait_max: Option<Duration>) -> bool {
        self.tell_with(states, &[], wait_max)
    }

    fn tell_with(
        &mut self,
        states: &[NotifyState<'_>],
        sockets: &[BorrowedFd<'_>],
        wait_max: Option<Duration>,
    ) -> bool {
        let Some(address) = &self.socket else { return false };
        let text: String = states.iter().map(|state| format!("{state}\n")).collect();
        let told = UnixDatagram::unbound().and_then(|socket| {
            match wait_max {
                Some(_) => socket.set_write_timeout(wait_max)?,
                None => socket.set_nonblocking(true)?,
            }
            if sockets.is_empty() {
                return socket.send_to_addr(text.as_bytes(), address);
            }
            socket.connect_addr(address)?;
            let mut space = vec![MaybeUninit::uninit(); SendAncillaryMessage::ScmRights(sockets).size()];
            let mut with = SendAncillaryBuffer::new(&mut space);
            with.push(SendAncillaryMessage::ScmRights(sockets));
            Ok(sendmsg(&socket, &[IoSlice::new(text.as_bytes())], &mut with, SendFlags::empty())?)
        });
        let was_deaf = std::mem::replace(&mut self.is_deaf, told.is_err());
        if let Err(error) = told
            && !was_deaf
        {
            log::warn!("cannot notify the service manager: {error}");
        }
        !self.is_deaf
    }
}

/// One line for `systemctl status`.
fn wording(what: &str, report: &Report) -> String {
    let Report { status, .. } = report;
    let mut parts = vec![what.to_owned()];
    if report.is_starting {
        parts.push("scanning the share".to_owned());
    }
    if status.listen.is_some() {
        parts.push(counted(status.peers, "peer"));
    }
    parts.extend(report.registered.map(|count| format!("{} registered", counted(count as u64, "peer"))));
    let transfers =
        [("uploading", status.uploads_active, report.up), ("downloading", status.downloads_active, report.down)];
    for (doing, files, rate) in transfers {
        if files > 0 {
            parts.push(format!("{doing} {} at {}/s", counted(files, "file"), ByteSize(rate).display().iec()));
        }
    }
    parts.join("; ")
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
