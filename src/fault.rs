//! What can go wrong with a disk, a connection or a host name, in the words that users and scripts see.

use nix::errno::Errno;
use std::io;
use thiserror::Error;

/// Why a file could not be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DiskFault {
    /// No space, or no quota, is left.
    #[error("the disk is full")]
    Full,
    /// A file of that name is there already; it is never replaced.
    #[error("a file of that name exists already")]
    Exists,
    #[error("no such file or directory")]
    Missing,
    #[error("a part of the path is not a directory")]
    NotDirectory,
    #[error("permission denied")]
    Denied,
    /// The permissions would allow it, and the sandbox of the process does not.
    #[error("outside of the sandbox of pyrated")]
    Forbidden,
    #[error("the filesystem is read-only")]
    ReadOnly,
    /// It is not a regular file inside the share.
    #[error("not a regular file of the share")]
    NotRegular,
    #[error("the file shrank while it was sent")]
    Shrank,
    /// The file is not the one that was scanned or hashed any more.
    #[error("the file has changed")]
    Changed,
    #[error("the log of downloads is full")]
    LogFull,
    #[error("no file descriptor is left")]
    NoDescriptor,
    /// A limit on the size of files was met: that of the process, or that of the filesystem.
    #[error("the file is larger than `ulimit -f` or the filesystem allows")]
    TooLarge,
    /// The directory is on another filesystem than the part file that lay in it.
    #[error("the filesystem that holds the part file is not mounted")]
    NotMounted,
    /// The directory is empty, and on another filesystem than before.
    #[error("it is empty and on another filesystem than before (is it mounted?)")]
    EmptyMountPoint,
    /// It hangs: what was asked of it is not answered, and will not be waited for.
    #[error("the disk does not answer")]
    NoAnswer,
    /// The job that was to read or write it has panicked.
    #[error("an internal error of pyrated, which its log has")]
    Internal,
    /// Anything else the system reported, as its `errno` (0 if it gave none).
    #[error("{}", describe(*.0))]
    Other(i32),
}

/// What the system calls an error, and its symbol.
fn describe(errno: i32) -> String {
    match Errno::from_raw(errno) {
        Errno::UnknownErrno if errno == 0 => "input/output error".to_owned(),
        Errno::UnknownErrno => format!("input/output error (errno {errno})"),
        known => format!("{} ({known:?})", known.desc()),
    }
}

impl DiskFault {
    /// Whether no file can be created at the path because of the path itself.
    pub(crate) fn rules_out_path(self) -> bool {
        use DiskFault::{Denied, Exists, Forbidden, Missing, NotDirectory, Other, ReadOnly};
        let unusable = [nix::libc::ENAMETOOLONG, nix::libc::ELOOP, nix::libc::EINVAL];
        matches!(self, Denied | Exists | Forbidden | Missing | NotDirectory | ReadOnly)
            || matches!(self, Other(errno) if unusable.contains(&errno))
    }

    /// Whether it tells what exists at a path. After any other error that is unknown.
    pub(crate) fn is_finding(self) -> bool {
        use DiskFault::{Changed, Denied, Exists, Forbidden, Missing, NotDirectory, NotRegular, Shrank};
        matches!(self, Changed | Denied | Exists | Forbidden | Missing | NotDirectory | NotRegular | Shrank)
    }
}

impl From<&io::Error> for DiskFault {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::AlreadyExists => Self::Exists,
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::NotADirectory => Self::NotDirectory,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::FileTooLarge => Self::TooLarge,
            _ => match error.raw_os_error().unwrap_or(0) {
                nix::libc::EMFILE | nix::libc::ENFILE => Self::NoDescriptor,
                errno => Self::Other(errno),
            },
        }
    }
}

impl From<io::Error> for DiskFault {
    fn from(error: io::Error) -> Self {
        Self::from(&error)
    }
}

/// Why an exchange that we dialled failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DialFault {
    #[error("connection refused")]
    Refused,
    #[error("unreachable")]
    Unreachable,
    /// No progress within the limit.
    #[error("timed out")]
    TimedOut,
    /// The other side reset the connection: a peer refused, or a transfer broke off.
    #[error("refused by the peer, or broken off")]
    Reset,
    /// The peer refuses, and says why.
    #[error("{0}")]
    Declined(#[from] RefusalReason),
    #[error("the response is too long")]
    TooLong,
    #[error("the response is malformed")]
    Malformed,
    #[error("wrong bytes: they do not match their hash")]
    Corrupt,
    /// A group that several exchanges delivered does not match its hash: which of them sent wrong bytes is unknown.
    #[error("the parts of a group that came one after the other do not match its hash")]
    CorruptParts,
    /// What listens there is not a Pyrate program.
    #[error("it answers as {0} does, not as a Pyrate node")]
    NotAPeer(OtherProgram),
    #[error("no connection is free")]
    NoDescriptor,
    /// The interface that all connections are bound to.
    #[error("the interface of the configuration is gone")]
    NoInterface,
    /// The node gave the order to stop.
    #[error("stopped")]
    Aborted,
    #[error("{0}")]
    Disk(#[from] DiskFault),
}

impl DialFault {
    /// Of a request for the manifest of a directory: the peer has none that can be used, and will not have one soon.
    pub(crate) fn is_lack_of_manifest(self) -> bool {
        use RefusalReason::{NoSuchFile, TooLarge, Unknown};
        match self {
            Self::Reset | Self::TooLong | Self::Malformed | Self::Corrupt => true,
            Self::Declined(reason) => matches!(reason, NoSuchFile | TooLarge | Unknown),
            _ => false,
        }
    }
}

/// Why a `p1` peer refuses a request, as it says (PROTOCOL, Refusals).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
pub enum RefusalReason {
    #[error("busy")]
    Busy,
    #[error("no such file")]
    NoSuchFile,
    /// The file is not the one that it has scanned; it looks at it again.
    #[error("the file has changed")]
    Changed,
    #[error("the file cannot be read")]
    NotReadable,
    #[error("the file is not hashed yet")]
    NotHashed,
    #[error("shutting down")]
    Leaving,
    #[error("the directory has too many files for a manifest")]
    TooLarge,
    /// A reason that this version does not know.
    #[error("for an unknown reason")]
    Unknown,
}

impl RefusalReason {
    /// All that have a word of their own.
    const KNOWN: [Self; 7] = [
        Self::Busy,
        Self::NoSuchFile,
        Self::Changed,
        Self::NotReadable,
        Self::NotHashed,
        Self::Leaving,
        Self::TooLarge,
    ];

    /// The word for it on the wire.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::NoSuchFile => "no_such_file",
            Self::Changed => "changed",
            Self::NotReadable => "not_readable",
            Self::NotHashed => "not_hashed",
            Self::Leaving => "leaving",
            Self::TooLarge => "too_large",
            Self::Unknown => "unknown",
        }
    }

    /// Reads a word from the wire; one of a later version is [`RefusalReason::Unknown`].
    pub(crate) fn from_word(word: &[u8]) -> Self {
        Self::KNOWN.into_iter().find(|reason| reason.word().as_bytes() == word).unwrap_or(Self::Unknown)
    }
}

impl From<DiskFault> for RefusalReason {
    /// Why a file that cannot be sent is refused.
    fn from(fault: DiskFault) -> Self {
        match fault {
            DiskFault::Missing | DiskFault::NotDirectory | DiskFault::NotRegular => Self::NoSuchFile,
            DiskFault::Changed | DiskFault::Shrank => Self::Changed,
            DiskFault::NoDescriptor | DiskFault::NoAnswer => Self::Busy,
            _ => Self::NotReadable,
        }
    }
}

/// Why a response broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ResponseFault {
    /// The reader went away, or did not read for too long.
    #[error("the reader went away")]
    Gone,
    /// The requester had closed before its file. `RequesterClosed` follows.
    #[error("the requester closed the connection, and is called back")]
    Closed,
    #[error("{0}")]
    Disk(#[from] DiskFault),
    /// The node gave the order to stop.
    #[error("stopped")]
    Aborted,
    /// The same because it leaves.
    #[error("this daemon stops")]
    Leaving,
    #[error("too much is on its way")]
    NoMemory,
    /// The network of the reader had more connections than its share, and others needed one.
    #[error("its connection was given to another peer")]
    Displaced,
    /// The interface that all connections are bound to.
    #[error("the interface of the configuration is gone")]
    NoInterface,
}

/// Why a request of the network was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Error)]
pub enum Refusal {
    #[error("no such file")]
    NoSuchFile,
    /// Too many requests wait already, or this one waited too long.
    #[error("busy")]
    Busy,
    /// A message for a bootstrap node came to a peer, or the other way round.
    #[error("wrong kind of node")]
    WrongNode,
    /// The node is leaving.
    #[error("leaving")]
    Leaving,
    #[error("the range is not inside the file")]
    OutsideFile,
    #[error("not hashed yet")]
    NotHashed,
    /// The file was changed a short time ago, and is not shared before it is at rest.
    #[error("the file is being written")]
    BeingWritten,
    /// The manifest of a directory would go beyond a limit.
    #[error("the directory has too many files for a manifest")]
    TooLarge,
}

impl Refusal {
    /// What the peer that asks is told, as far as it can be told (PROTOCOL, Refusals).
    pub const fn peer_reason(self) -> Option<RefusalReason> {
        match self {
            Self::NoSuchFile => Some(RefusalReason::NoSuchFile),
            Self::Busy => Some(RefusalReason::Busy),
            Self::Leaving => Some(RefusalReason::Leaving),
            Self::NotHashed => Some(RefusalReason::NotHashed),
            Self::BeingWritten => Some(RefusalReason::Changed),
            Self::TooLarge => Some(RefusalReason::TooLarge),
            Self::WrongNode | Self::OutsideFile => None,
        }
    }

    /// One word for counters and the log.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoSuchFile => "no_such_file",
            Self::Busy => "busy",
            Self::WrongNode => "wrong_node",
            Self::Leaving => "leaving",
            Self::OutsideFile => "outside_file",
            Self::NotHashed => "not_hashed",
            Self::BeingWritten => "being_written",
            Self::TooLarge => "too_large",
        }
    }
}

/// What a host that is no Pyrate node runs, judged by its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum OtherProgram {
    /// It answers with HTTP or a page.
    #[error("a web server")]
    Web,
    /// It answers with the version of its SSH protocol.
    #[error("an SSH server")]
    Ssh,
    /// It answers with a greeting or a reply code.
    #[error("a mail or FTP server")]
    MailOrFtp,
    /// It answers with the handshake or an error of a database.
    #[error("a database server")]
    Database,
    /// It answers with the version of its remote desktop protocol.
    #[error("a remote desktop server")]
    RemoteDesktop,
    /// It answers with what cannot be a list of files.
    #[error("another kind of program")]
    Unknown,
}

/// Why a host name gave no address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResolveFault {
    /// In the words of the system.
    #[error("cannot look up the host: {0}")]
    Lookup(String),
    /// An interface is configured.
    #[error(
        "cannot look up the host: with `interface`, a name must be in /etc/hosts, since the system would ask name servers over any \
         interface"
    )]
    NotInHosts,
    #[error("cannot look up the host: no address")]
    NoAddress,
    /// The thread that asked has ended without an answer.
    #[error("cannot look up the host: the lookup was lost")]
    Lost,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_word_and_a_word_of_a_later_version_is_unknown() {
        for reason in RefusalReason::KNOWN {
            assert_eq!(RefusalReason::from_word(reason.word().as_bytes()), reason);
        }
        for word in [&b""[..], b"BUSY", b"busy ", b"quota", &[b'x'; 300]] {
            assert_eq!(RefusalReason::from_word(word), RefusalReason::Unknown);
        }
    }

    #[test]
    fn errno_becomes_a_cause() {
        for (errno, fault) in [
            (nix::libc::ENOSPC, DiskFault::Full),
            (nix::libc::EDQUOT, DiskFault::Full),
            (nix::libc::EROFS, DiskFault::ReadOnly),
            (nix::libc::ENOTDIR, DiskFault::NotDirectory),
            (nix::libc::EMFILE, DiskFault::NoDescriptor),
            (nix::libc::EFBIG, DiskFault::TooLarge),
            (nix::libc::EIO, DiskFault::Other(nix::libc::EIO)),
        ] {
            assert_eq!(DiskFault::from(io::Error::from_raw_os_error(errno)), fault);
        }
        assert_eq!(DiskFault::Other(nix::libc::EIO).to_string(), "I/O error (EIO)");
    }
}
