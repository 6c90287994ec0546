//! What the event log has of downloads: that one has begun, and how it ended.

use super::DownloadMachine;
use super::state::Life;
use crate::control::{EventKind, EventRow};
use crate::id::TransferId;
use crate::node::cx::Cx;
use std::net::SocketAddr;

/// Peers that an event names.
const PEERS_MAX: usize = 8;

/// Those that bytes came from, most first.
fn givers(bytes: impl IntoIterator<Item = (SocketAddr, u64)>) -> Vec<SocketAddr> {
    let mut givers: Vec<_> = bytes.into_iter().filter(|(_, bytes)| *bytes > 0).collect();
    givers.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    givers.into_iter().take(PEERS_MAX).map(|(peer, _)| peer).collect()
}

impl Life {
    /// What the log has of this end.
    pub(super) fn logged_as(&self) -> Option<EventKind> {
        match self {
            Self::Done { .. } => Some(EventKind::Done),
            Self::Failed { .. } => Some(EventKind::Failed),
            Self::Cancelled { .. } => Some(EventKind::Cancelled),
            _ => None,
        }
    }
}

impl DownloadMachine {
    /// Logs what a download has come to. It is to be remembered next.
    pub(super) fn log_event(&self, cx: &mut Cx, id: TransferId, kind: EventKind) {
        if self.downloads.get(id).is_some_and(|row| row.directory.is_some()) {
            // The log has its directory.
            return;
        }
        let Some(row) = self.row(cx, id) else { return };
        cx.log_event(id, kind, |event| EventRow {
            download: Some(row.id),
            name: row.name,
            path: row.path,
            size: row.size,
            b3: row.b3.or_else(|| self.described_directory(id).map(|(_, b3, _)| b3.to_string())),
            verified: row.verified,
            state: Some(row.state),
            error: row.error.map(|error| *error),
            peers: match self.bytes_of_directory(id) {
                Some(bytes) => givers(bytes),
                None => givers(row.shares.iter().map(|share| (share.addr, share.bytes))),
            },
            copied_from: row.copied_from.map(|from| *from),
            ..event
        });
    }
}
