//! Values that stand in sentences.

use super::*;

pub(super) fn peer() -> SocketAddr {
    "[2001:db8::1]:9".parse().unwrap()
}

pub(super) fn path() -> PathBuf {
    std::ffi::OsStr::from_bytes(b"/a b/\xff").into()
}

pub(super) fn file_name(bytes: &[u8]) -> FileName {
    FileName::from_bytes(bytes).unwrap()
}

pub(super) fn text(bytes: &[u8]) -> RawText {
    RawText::new(bytes)
}
