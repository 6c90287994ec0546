//! What disks, connections, peers and host names report, in words.

use super::*;
use crate::fault::{ResolveFault, ResponseFault};

list!(source_faults: SourceFault as &'static str {
    Dial(DialFault::Unreachable) => "unreachable";
    Declined(RefusalReason::NotHashed) => "the file is not hashed yet";
    Refuses => "it refuses";
    SentNothing => "sent nothing: refused, or the file is empty";
    NoMetadata => "it sent no metadata";
    StoppedEarly(1) => "it stopped 1 group before the end of what it was asked for";
    StoppedEarly(3) => "it stopped 3 groups before the end of what it was asked for";
    OtherSize { sent: 0, size: 1 } => "it sent 0 of 1 byte";
    OtherSize { sent: 4, size: 5 } => "it sent 4 of 5 bytes";
    OtherContent => "it sent another content";
    NameOfAnother => "it has another content under this name";
    GivesNone => "it says each time that it has another content, and gives none";
    ChangesAgain => "its file changes again and again";
    ChangeUnsaid => "its file has changed, and it does not say yet what it is now";
    FalseMetadata => "its metadata are not those of the content";
    SizeOfAnother => "its last bytes do not fit the size that another source has claimed";
    NoRoom => "there is no room for the size that it claims";
    TooSlow => "too slow, while others have nothing to do";
    BroughtNothing => "it brought nothing while another source did";
});

list!(disk_faults: DiskFault as &'static str {
    Full => "the disk is full";
    Exists => "a file of that name exists already";
    Missing => "no such file or directory";
    NotDirectory => "a part of the path is not a directory";
    Denied => "permission denied";
    Forbidden => "outside of the sandbox of pyrated";
    ReadOnly => "the filesystem is read-only";
    NotRegular => "not a regular file of the share";
    Shrank => "the file shrank while it was sent";
    Changed => "the file has changed";
    LogFull => "the log of downloads is full";
    NoDescriptor => "no file descriptor is left";
    TooLarge => "the file is larger than `ulimit -f` or the filesystem allows";
    NotMounted => "the filesystem that holds the part file is not mounted";
    EmptyMountPoint => "it is empty and on another filesystem than before (is it mounted?)";
    NoAnswer => "the disk does not answer";
    Internal => "an internal error of pyrated, which its log has";
    Other(0) => "input/output error";
    Other(5) => "I/O error (EIO)";
    Other(9_999) => "input/output error (errno 9999)";
});

list!(dial_faults: DialFault as &'static str {
    Refused => "connection refused";
    Unreachable => "unreachable";
    TimedOut => "timed out";
    Reset => "refused by the peer, or broken off";
    Declined(RefusalReason::Unknown) => "for an unknown reason";
    TooLong => "the response is too long";
    Malformed => "the response is malformed";
    Corrupt => "wrong bytes: they do not match their hash";
    CorruptParts => "the parts of a group that came one after the other do not match its hash";
    NotAPeer(OtherProgram::Web) => "it answers as a web server does, not as a Pyrate node";
    NoDescriptor => "no connection is free";
    NoInterface => "the interface of the configuration is gone";
    Aborted => "stopped";
    Disk(DiskFault::Full) => "the disk is full";
});

list!(refusals: RefusalReason as &'static str {
    Busy => "busy";
    NoSuchFile => "no such file";
    Changed => "the file has changed";
    NotReadable => "the file cannot be read";
    NotHashed => "the file is not hashed yet";
    Leaving => "shutting down";
    TooLarge => "the directory has too many files for a manifest";
    Unknown => "for an unknown reason";
});

list!(response_faults: ResponseFault as &'static str {
    Gone => "the reader went away";
    Closed => "the requester closed the connection, and is called back";
    Disk(DiskFault::Shrank) => "the file shrank while it was sent";
    Aborted => "stopped";
    Leaving => "this daemon stops";
    NoMemory => "too much is on its way";
    Displaced => "its connection was given to another peer";
    NoInterface => "the interface of the configuration is gone";
});

list!(other_programs: OtherProgram as &'static str {
    Web => "a web server";
    Ssh => "an SSH server";
    MailOrFtp => "a mail or FTP server";
    Database => "a database server";
    RemoteDesktop => "a remote desktop server";
    Unknown => "another kind of program";
});

list!(resolve_faults: ResolveFault as &'static str {
    Lookup("Name or service not known".into()) => "cannot look up the host: Name or service not known";
    NotInHosts => "cannot look up the host: with `interface`, a name must be in /etc/hosts, since the system would ask name \
        servers over any interface";
    NoAddress => "cannot look up the host: no address";
    Lost => "cannot look up the host: the lookup was lost";
});

/// Each fault as it is worded, and as the lists have it.
pub(super) fn faults() -> Vec<(String, &'static str)> {
    fn worded<T: ToString>(list: Vec<(T, &'static str)>) -> Vec<(String, &'static str)> {
        list.into_iter().map(|(fault, sentence)| (fault.to_string(), sentence)).collect()
    }
    let of_disks_and_dials = [worded(disk_faults()), worded(dial_faults()), worded(resolve_faults())];
    let of_peers = [worded(refusals()), worded(response_faults()), worded(other_programs()), worded(source_faults())];
    of_disks_and_dials.into_iter().chain(of_peers).flatten().collect()
}
