//! The uploads in progress as users see them: a row for each file that an address fetches, however many connections it uses.

use super::UploadMachine;
use super::accounting::{Kind, Stage, Wanted};
use crate::audience::Requester;
use crate::control::{PAGE_ROWS_MAX, RangeRow, RawText, UploadKey, UploadRow, UploadState, UploadsReply};
use crate::name::FileName;
use crate::node::cx::Cx;
use crate::node::limits::PAGE_BYTES_MAX;
use crate::node::share::ShareMachine;
use crate::time::Instant;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// How much longer a byte of a name may get in JSON.
const TEXT_BLOAT_MAX: usize = 6;

type Rows<'a> = BTreeMap<(SocketAddr, &'a FileName), Shown>;

/// What is known of a row.
struct Shown {
    state: UploadState,
    connections: u64,
    bytes: u64,
    rate: Option<u64>,
    since: Instant,
    range: Option<(u64, u64)>,
}

impl Shown {
    fn waiting(since: Instant, range: Option<(u64, u64)>) -> Self {
        Self { state: UploadState::Waiting, connections: 0, bytes: 0, rate: None, since, range }
    }
}

impl UploadMachine {
    /// One page of the uploads in progress, by address and name. Metadata and lists are none.
    pub(in crate::node) fn call_uploads(
        &self,
        cx: &Cx,
        share: &ShareMachine,
        after: Option<&UploadKey>,
    ) -> UploadsReply {
        let after = after.map(|key| (key.to, key.name.as_bytes()));
        let is_after = |key: &(SocketAddr, &FileName)| after.is_none_or(|after| (key.0, key.1.as_bytes()) > after);
        let (mut uploads, mut bytes) = (Vec::new(), 0);
        for ((to, name), shown) in self.rows(cx).into_iter().filter(|(key, _)| is_after(key)) {
            bytes += 400 + name.as_bytes().len() * TEXT_BLOAT_MAX;
            if uploads.len() >= PAGE_ROWS_MAX as usize || bytes > PAGE_BYTES_MAX && !uploads.is_empty() {
                let last = uploads.last().map(|row: &UploadRow| UploadKey { to: row.to, name: row.name.clone() });
                return UploadsReply { uploads, next: last };
            }
            uploads.push(UploadRow {
                to,
                peer: None,
                name: RawText::new(name.as_bytes()),
                state: shown.state,
                connections: shown.connections,
                bytes_sent: shown.bytes,
                size: share.library().seen_by(Requester::Owner).get(name.as_bytes()).map(|file| file.meta.size),
                rate: shown.rate,
                since: cx.wall.epoch_s(shown.since),
                range: shown.range.map(|(offset, length)| RangeRow { offset, length }),
            });
        }
        UploadsReply { uploads, next: None }
    }

    fn rows(&self, cx: &Cx) -> Rows<'_> {
        let mut rows = Rows::new();
        // The row of each address and file of which ranges are fetched: their connections have different ports.
        let mut of_ranges: BTreeMap<(IpAddr, &FileName), SocketAddr> = BTreeMap::new();
        for run in self.uploads.runs.values() {
            let (state, connections, rate) = match run.stage {
                Stage::Sending { connections } => {
                    (UploadState::Sending, connections as u64, run.rate.per_second(cx.now, run.bytes))
                }
                Stage::Idle { .. } => (UploadState::Idle, 0, None),
            };
            let (since, range) = (run.span.0, Some(run.range));
            of_ranges.insert((run.to.ip().to_canonical(), &*run.name), run.to);
            rows.insert((run.to, &*run.name), Shown { state, connections, bytes: run.bytes, rate, since, range });
        }
        for upload in self.uploads.rows.values() {
            if let Kind::File { to, name, rate } = &upload.kind {
                let rate = rate.per_second(cx.now, upload.bytes);
                let (state, bytes, since) = (UploadState::Sending, upload.bytes, upload.began);
                rows.insert((*to, name), Shown { state, connections: 1, bytes, rate, since, range: None });
            }
        }
        for row in self.call_backs.unconnected() {
            let shown = Shown { state: UploadState::Connecting, ..Shown::waiting(row.since, None) };
            rows.entry((row.to, &row.name)).or_insert(shown);
        }
        for (since, wanted) in self.uploads.wanted.values() {
            match wanted {
                Wanted::File { to, name } => drop(rows.insert((*to, name), Shown::waiting(*since, None))),
                Wanted::CallBack { to, name } => {
                    if let Some(row) = rows.get_mut(&(*to, name)).filter(|row| row.connections == 0) {
                        row.state = UploadState::Waiting;
                    }
                }
                Wanted::Range { to, name, offset, length } => {
                    let to = *of_ranges.entry((to.ip().to_canonical(), name)).or_insert(*to);
                    let range = Some((*offset, *length));
                    let row = rows.entry((to, name)).or_insert_with(|| Shown::waiting(*since, range));
                    if row.state == UploadState::Idle {
                        (row.state, row.range) = (UploadState::Waiting, range);
                    }
                }
                Wanted::Metadata { .. } | Wanted::Manifest { .. } | Wanted::List { .. } => {}
            }
        }
        rows
    }
}
