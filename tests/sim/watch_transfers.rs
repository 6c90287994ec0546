//! Rules of part 2 and of downloads, checked on what nodes say: who may be spoken `p1` to, that hashes told are true, and
//! that what users are told of a download is so.

use crate::conn::{ConnId, Want};
use crate::content::Content;
use crate::disk::Stage;
use crate::host::HostId;
use crate::world::World;
use pyrate::control::{DownloadRow, DownloadState, ExitCode, Notice};
use pyrate::fault::DialFault;
use pyrate::id::TransferId;
use pyrate::node::contract::{DialOutcome, Dialled, Response};
use pyrate::wire::{Listed, ListedPeer, Message};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

impl World {
    /// A message shows a node what its sender speaks; nobody can show it for others.
    pub(crate) fn watch_speech(&mut self, host: HostId, from: SocketAddr, message: &Message) {
        let shown = match message {
            Message::Search(search) if search.id.is_p1() => search.requester,
            Message::SearchResponse(hit) if hit.file.attributes.is_some() => hit.responder,
            _ => return,
        };
        if shown.ip() == from.ip() {
            self.watch.shown.insert((host, shown));
        }
    }

    /// A peer answers a first contact.
    pub(crate) fn watch_first_contact(&mut self, id: ConnId, outcome: &Result<Dialled, DialFault>) {
        let Some(conn) = self.conns.get(&id).filter(|conn| !conn.aborted) else { return };
        let speaks_p1 = matches!(outcome, Ok(Dialled { response: Response::SpeaksP1, .. }));
        if let Some(dialer) = conn.dialer.filter(|_| speaks_p1) {
            self.watch.shown.insert((dialer.host, conn.to));
        }
    }

    /// Some lines of a list reach a node.
    pub(crate) fn watch_list(&mut self, host: HostId, peer: SocketAddr, files: &[Listed]) {
        if files.iter().any(|file| file.attributes.is_some()) {
            self.watch.shown.insert((host, peer));
        }
    }

    /// A bootstrap node tells a node which of its peers speak `p1`.
    pub(crate) fn watch_peer_list(&mut self, id: ConnId, peers: &[ListedPeer]) {
        let Some(asker) = self.conns.get(&id).and_then(|conn| conn.dialer) else { return };
        let shown = peers.iter().filter(|peer| peer.p1).map(|peer| (asker.host, peer.addr));
        self.watch.shown.extend(shown);
    }

    /// Codes 8 and 9 go only to those that have shown that they know them.
    pub(crate) fn watch_part_2(&mut self, host: HostId, to: SocketAddr, message: &Message) {
        if !self.watch.shown.contains(&(host, to)) {
            self.violation(host, &format!("{to} has not shown p1, and is sent {message:?}"));
        }
    }

    /// A peer that has not shown `p1` may call back: it must not be asked without a port for it to call.
    pub(crate) fn watch_answers_directly(&self, host: HostId, to: SocketAddr) {
        if !self.watch.shown.contains(&(host, to)) {
            self.violation(host, &format!("{to} has not shown p1, and is asked where it cannot call back"));
        }
    }

    /// So do streams; hits also where a `p1` query asks for them.
    pub(crate) fn watch_stream(&mut self, host: HostId, to: SocketAddr, messages: &[Message]) {
        let asked = |message: &Message| matches!(message, Message::SearchResponse(hit) if hit.id.is_p1());
        if !messages.iter().all(Message::may_stream) {
            self.violation(host, "a message with a response goes into a stream");
        }
        if !messages.iter().all(asked) && !self.watch.shown.contains(&(host, to)) {
            self.violation(host, &format!("{to} has not shown p1, and is sent a stream"));
        }
    }

    /// A file that a node names to others was in its share, and is what its attributes say.
    pub(crate) fn watch_told_file(&self, host: HostId, file: &Listed) {
        let attributes = file.attributes.unwrap_or_default();
        let fits = |content: Content| {
            attributes.size.is_none_or(|size| size == content.size) && attributes.b3.is_none_or(|b3| b3 == content.b3())
        };
        if !self.hosts[host.0].disk.shared_as(&file.name).any(fits) {
            self.violation(host, &format!("it tells of {file:?}, which it never shared"));
        }
    }

    /// A connection ends without a byte of a file that it was for: so peers say no.
    pub(crate) fn watch_refusal(&mut self, id: ConnId, outcome: &DialOutcome) {
        let Some((conn, dialer)) = self.conns.get(&id).and_then(|conn| Some((conn, conn.dialer?))) else { return };
        let nothing = match &conn.want {
            Want::File(taking) => taking.received == 0,
            Want::Metadata { .. } => true,
            _ => false,
        };
        let refused = matches!(
            outcome,
            Ok(_) | Err(DialFault::Reset | DialFault::Declined(_) | DialFault::Malformed | DialFault::TimedOut)
        );
        if nothing && refused {
            self.watch.refused.insert((dialer.host, conn.to));
        }
    }

    /// A user is told something.
    pub(crate) fn watch_notice(&self, host: HostId, notice: &Notice) {
        if let Notice::Download { download } = notice {
            self.watch_row(host, download);
        }
    }

    fn watch_row(&self, host: HostId, row: &DownloadRow) {
        if let Some(part) = &row.directory {
            return self.watch_directory(host, row, part);
        }
        if row.verified && row.b3.is_none() {
            self.violation(host, "a download is verified against nothing");
        }
        if row.state == DownloadState::Done {
            self.watch_done(host, row);
        }
        let no = ExitCode::NotFound as i32;
        if row.state == DownloadState::Failed
            && row.error.as_ref().is_some_and(|error| error.code == no)
            && !row.sources.iter().all(|source| self.watch.refused.contains(&(host, *source)))
        {
            self.violation(host, &format!("{row:?} has failed, and not every source has refused"));
        }
        let disk = &self.hosts[host.0].disk;
        // Before it is open, the row shows what an earlier run last knew.
        let part = disk.parts.get(&TransferId(row.id)).filter(|part| part.stage != Stage::Opening);
        let file = part.and_then(|part| disk.files.get(&part.key));
        if let Some(file) = file.filter(|file| file.outline.is_some())
            && row.state == DownloadState::Active
            && row.b3.is_some()
            && row.bytes_done > file.verified_bytes()
        {
            self.violation(host, &format!("{} bytes count, and {} do", row.bytes_done, file.verified_bytes()));
        }
    }

    /// What is called done is there, whole, and what its hash says.
    fn watch_done(&self, host: HostId, row: &DownloadRow) {
        let path = row.path.as_ref().map(|path| Path::new(OsStr::from_bytes(path.as_bytes())));
        let finished = path.and_then(|path| self.hosts[host.0].disk.finished.get(path));
        let Some(&content) = finished else { self.violation(host, &format!("{row:?} is done, and not there")) };
        if row.size.is_some_and(|size| size != content.size) {
            self.violation(host, &format!("{row:?} is done, and is {content:?}"));
        }
        let right = row.b3.as_ref().is_none_or(|b3| *b3 == content.b3().to_string());
        if row.verified && !right {
            self.violation(host, &format!("{row:?} is verified, and is {content:?}"));
        }
        let wanted = self.hosts[host.0].disk.wanted.get(&TransferId(row.id));
        if wanted.is_some_and(|wanted| *wanted != content.b3() || !row.verified) {
            self.violation(host, &format!("{row:?} is done, and {wanted:?} was wanted"));
        }
    }
}
