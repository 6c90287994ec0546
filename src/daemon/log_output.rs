//! Where the log goes: how it is opened and checked, and writing that an output without room does not block.

use super::value::LogPlace;
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{AccessFlags, eaccess};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// What an output takes without blocking when poll(2) says that it is ready: a pipe then has room for a page.
const WRITE_BYTES_MAX: usize = 4096;

/// Where lines are written.
pub(super) enum Output {
    Stderr,
    File(File),
}

impl Output {
    pub(super) fn open(place: &LogPlace) -> io::Result<Self> {
        match place {
            LogPlace::Stderr => Ok(Self::Stderr),
            LogPlace::File(path) => append_to(path).map(Self::File),
        }
    }

    pub(super) fn is_stderr(&self) -> bool {
        matches!(self, Self::Stderr)
    }

    /// Writes whole lines, as many as can be written at once, or a piece of one that is longer. `EAGAIN` if the output takes
    /// nothing for so long.
    pub(super) fn write(&self, text: &[u8], wait_ms_max: u16) -> nix::Result<usize> {
        let stderr = io::stderr();
        let fd = match self {
            Self::Stderr => stderr.as_fd(),
            Self::File(file) => file.as_fd(),
        };
        if poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], PollTimeout::from(wait_ms_max))? == 0 {
            return Err(Errno::EAGAIN);
        }
        let piece = &text[..text.len().min(WRITE_BYTES_MAX)];
        let end = piece.iter().rposition(|&byte| byte == b'\n').map_or(piece.len(), |newline| newline + 1);
        // Not by `io::stderr().lock()`: a panic in another thread would wait for that lock.
        nix::unistd::write(fd, &piece[..end])
    }
}

/// Opens a file to append to. Anyone who may write to the directory can put anything under the name: a FIFO without a reader
/// must not block the daemon, and a terminal must not become its controlling terminal.
fn append_to(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().create(true).append(true).custom_flags(flags).open(path).map_err(|error| {
        // A FIFO without a reader, or a socket.
        if error.raw_os_error() == Some(libc::ENXIO) { no_log_file() } else { error }
    })?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_char_device() { Ok(file) } else { Err(no_log_file()) }
}

/// Whether [`Output::open`] could append to a file, or make it.
pub(super) fn check_file(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if !(found.is_file() || found.file_type().is_char_device()) => Err(no_log_file()),
        Ok(_) => Ok(eaccess(path, AccessFlags::W_OK)?),
        // Its directory is not created.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = path.parent().unwrap_or(path);
            eaccess(directory, AccessFlags::W_OK | AccessFlags::X_OK)
                .map_err(io::Error::from)
                .map_err(|error| io::Error::new(error.kind(), format!("its directory: {error}")))
        }
        Err(error) => Err(error),
    }
}

fn no_log_file() -> io::Error {
    io::Error::other("neither a regular file nor a character device")
}
