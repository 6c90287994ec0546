//! The tokens under which readiness is reported. Those from [`CONNECTIONS`] on belong to connections.

use mio::Token;

pub(super) const WAKER: Token = Token(0);
pub(super) const SIGNALS: Token = Token(1);
pub(super) const CONTROL: Token = Token(2);
/// Of inotify, for the watched directory.
pub(super) const WATCH: Token = Token(CONNECTIONS.0 - 1);
/// Of the first TCP listener; the others follow.
pub(super) const LISTENERS: Token = Token(3);
/// Of the listener for those that read the metrics.
pub(super) const METRICS: Token = Token(7);
/// Of the first control client; the others follow.
pub(super) const CLIENTS: Token = Token(8);
/// Of the first connection that reads the metrics; the others follow.
pub(super) const SCRAPES: Token = Token(48);
/// Of the first connection; the others follow.
pub(super) const CONNECTIONS: Token = Token(64);
