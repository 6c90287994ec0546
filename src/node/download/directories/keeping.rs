//! Directories whose manifest the user has given: no peer is asked for it, and it is kept in the state directory, from where it is
//! read when the members are made, also by the next run.

use super::state::{Described, Directory, Stage};
use crate::content::{Manifest, ManifestText};
use crate::control::Problem;
use crate::id::{ClientId, TransferId};
use crate::node::contract::{Action, DiskOutcome, ManifestOrder};
use crate::node::cx::Cx;
use crate::node::download::DownloadMachine;
use crate::node::network::Net;
use std::net::SocketAddr;

impl DownloadMachine {
    /// Takes a part of a manifest that an order of the same client is to name.
    pub(in crate::node) fn call_give_manifest(
        &mut self,
        client: ClientId,
        after: u64,
        part: &[u8],
    ) -> Result<(), Problem> {
        self.directories.given.take_part(client, after, part)
    }

    pub(in crate::node) fn on_manifest_given(&mut self, client: ClientId, manifest: ManifestText) {
        self.directories.given.take_whole(client, manifest);
    }

    /// A client is gone.
    pub(in crate::node) fn forget_given(&mut self, client: ClientId) {
        self.directories.given.forget(client);
    }

    /// Has the manifest of a directory kept. No record is written meanwhile: the next run finds both, or what it would have found
    /// before.
    pub(super) fn keep_manifest(&mut self, cx: &mut Cx, id: TransferId, manifest: ManifestText) {
        // The order is answered when a record with a later revision is on the disk.
        let revision = self.next_revision();
        let Some(directory) = self.directories.get_mut(id) else { return };
        directory.recorded.revision = revision;
        directory.is_keeping = true;
        directory.described = Some(Described { b3: manifest.b3, files: manifest.files, bytes: manifest.bytes });
        let order = ManifestOrder::Keep { download: id, text: manifest.text };
        cx.out.act(Action::Manifest { b3: manifest.b3, order });
    }

    pub(in crate::node) fn on_manifest_kept(&mut self, cx: &mut Cx, id: TransferId, outcome: DiskOutcome<()>) {
        let Some(directory) = self.directories.get_mut(id) else { return };
        directory.is_keeping = false;
        let (revision, was_accepted) = (directory.recorded.revision, directory.recorded.accepted);
        self.directories.mark_dirty(id);
        match outcome {
            Ok(()) => self.use_kept_manifest(cx, id),
            Err(fault) => {
                self.on_recorded(cx, id, revision, Err(fault));
                if was_accepted {
                    // What has changed meanwhile was not recorded.
                    self.remember_directory(cx, id);
                }
            }
        }
    }

    /// The manifest is on the disk: it is read in place of asking peers, unless the files are known already.
    fn use_kept_manifest(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(directory) = self.directories.get_mut(id) else { return };
        directory.leave_peers();
        let awaits_peer = matches!(directory.stage(), Stage::Describing { .. } | Stage::Waiting { .. });
        let is_done = matches!(directory.stage(), Stage::Done(_));
        self.remember_directory(cx, id);
        if awaits_peer {
            self.set_stage(cx, id, Stage::Queued);
        }
        if is_done {
            cx.out.act(Action::ForgetDownload { download: id });
            self.drop_kept_manifest(cx, id);
        }
    }

    /// What else is known of a directory that was ordered again: further peers, or its manifest, which is used where the peers
    /// have not given it.
    pub(super) fn add_to_directory(
        &mut self,
        cx: &mut Cx,
        id: TransferId,
        peers: impl IntoIterator<Item = SocketAddr>,
        text: Option<ManifestText>,
    ) {
        let Some(directory) = self.directories.get_mut(id) else { return };
        let others = directory.others.len();
        directory.add_peers(peers);
        let lacks_manifest = directory.peer.is_some() && !directory.is_listed && !directory.is_keeping;
        match text.filter(|_| lacks_manifest) {
            Some(text) => self.keep_manifest(cx, id, text),
            None if directory.others.len() > others => self.remember_directory(cx, id),
            None => {}
        }
        self.directories.resume_offers(id);
    }

    pub(super) fn read_kept_manifest(&mut self, net: &mut Net, id: TransferId) {
        let Some(b3) = self.directories.get(id).and_then(|row| row.wanted) else { return };
        net.cx.out.act(Action::Manifest { b3, order: ManifestOrder::Read { download: id } });
        self.set_stage(net.cx, id, Stage::Reading);
    }

    pub(in crate::node) fn on_manifest_read(
        &mut self,
        net: &mut Net,
        id: TransferId,
        outcome: DiskOutcome<Box<Manifest>>,
    ) {
        if !self.directories.get(id).is_some_and(|row| matches!(row.stage(), Stage::Reading)) {
            return;
        }
        match outcome {
            Ok(manifest) => self.on_manifest(net, id, *manifest),
            Err(fault) => self.fail_or_wait(net, id, Problem::ManifestNotRead { fault }),
        }
    }

    /// The next run needs the manifest of a directory no more, unless another directory has the same.
    pub(super) fn drop_kept_manifest(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(b3) = self.directories.get(id).and_then(Directory::kept_manifest) else { return };
        let is_needed = |row: &Directory| row.kept_manifest() == Some(b3) && row.needs_kept_manifest();
        if !self.directories.iter().any(|(other, row)| other != id && is_needed(row)) {
            cx.out.act(Action::Manifest { b3, order: ManifestOrder::Drop });
        }
    }
}
