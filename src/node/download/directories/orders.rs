//! What users order of directories: each order is for all of it.

use super::state::{Directory, Stage, Summary};
use super::tally::Doing;
use crate::control::{EventKind, PeerSource, Problem, RawText};
use crate::id::{ClientId, ContentHash, TransferId};
use crate::name::FileName;
use crate::node::contract::{Action, DiskOutcome};
use crate::node::cx::{Cx, Step};
use crate::node::download::DownloadMachine;
use crate::node::download::directory_request::DirectoryRequest;
use crate::node::download::orders::Command;
use crate::node::download::state::NamedPlace;
use crate::node::network::Net;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

impl DownloadMachine {
    /// What a name of a peer that ends in `/` stands for.
    pub(in crate::node::download) fn read_directory(
        &mut self,
        net: &mut Net,
        peer: SocketAddr,
        name: &RawText,
    ) -> Result<DirectoryRequest, Problem> {
        let no_name = || Problem::NoFileName { name: name.clone() };
        let name = FileName::of_directory(name.as_bytes()).ok_or_else(no_name)?;
        net.network.learn_peer(net.cx, peer, PeerSource::User);
        Ok(DirectoryRequest { name, peer: Some(peer), others: Vec::new(), manifest: None, text: None })
    }

    /// What a manifest stands for that the client has given.
    pub(in crate::node::download) fn read_given_manifest(
        &mut self,
        client: ClientId,
        (b3, name): (&str, &RawText),
    ) -> Result<DirectoryRequest, Problem> {
        let no_name = || Problem::NoFileName { name: name.clone() };
        let name = FileName::of_directory(name.as_bytes()).ok_or_else(no_name)?;
        let b3 = ContentHash::from_hex(b3.as_bytes()).ok_or(Problem::NotAHash)?;
        let text = self.directories.given.finish(client, b3)?;
        Ok(DirectoryRequest { name, peer: None, others: Vec::new(), manifest: Some(b3), text: Some(text) })
    }

    /// Begins the download of a directory, or finds the one that is there.
    pub(in crate::node::download) fn begin_directory(
        &mut self,
        net: &mut Net,
        request: DirectoryRequest,
        output: Option<&Path>,
    ) -> Result<TransferId, Problem> {
        let DirectoryRequest { name, peer, others, manifest, text } = request;
        let base = output.map_or_else(|| net.cx.config.download_directory.clone(), Path::to_path_buf);
        if let Some(id) = self.directories.same((&name, peer, manifest), &others, &base) {
            self.add_to_directory(net.cx, id, peer.into_iter().chain(others), text);
            return Ok(id);
        }
        self.make_room_for_directory(net.cx)?;
        let id = self.downloads.next_id().ok_or(Problem::NoIdLeft)?;
        let mut directory = Directory::new(name, peer, base);
        (directory.others, directory.wanted) = (others, manifest);
        // Its first notice follows the answer.
        directory.notified = Some((net.cx.now, directory.state()));
        self.directories.insert(id, directory);
        self.log_event(net.cx, id, EventKind::Begun);
        match text {
            Some(text) => self.keep_manifest(net.cx, id, text),
            None => self.remember_directory(net.cx, id),
        }
        if output.is_some() {
            self.probe_directory(net.cx, id);
        }
        Ok(id)
    }

    fn probe_directory(&mut self, cx: &mut Cx, id: TransferId) {
        let Some(directory) = self.directories.get_mut(id) else { return };
        directory.named_place = NamedPlace::Probing;
        cx.out.act(Action::ProbeTarget { download: id, spec: directory.spec(), b3: None, size: None });
    }

    pub(in crate::node::download) fn on_directory_probed(
        &mut self,
        cx: &mut Cx,
        id: TransferId,
        outcome: DiskOutcome<PathBuf>,
    ) {
        let Some(directory) = self.directories.get_mut(id) else { return };
        if directory.named_place != NamedPlace::Probing {
            return;
        }
        let bad = outcome.err().filter(|fault| fault.rules_out_path());
        directory.named_place = if bad.is_some() { NamedPlace::Bad } else { NamedPlace::Good };
        if directory.is_over() {
            return;
        }
        if let Some(fault) = bad {
            let why = Problem::CannotSave { place: directory.path(), fault };
            return self.set_stage(cx, id, Stage::Failed { why });
        }
        self.directories.mark_dirty(id);
        self.tell_directory(cx, id);
    }

    /// Whether an order makes sense for a directory as it stands.
    pub(in crate::node::download) fn may_order(&self, command: Command, id: TransferId) -> bool {
        let Some(directory) = self.directories.get(id) else { return false };
        let has = |doing| directory.tally.count(doing) > 0;
        let is_stopped = matches!(directory.stage(), Stage::Paused) || has(Doing::Blocked);
        match command {
            Command::Pause | Command::Cancel => !directory.is_over(),
            Command::Resume => is_stopped && !directory.is_over(),
            Command::Forget => self.directory_may_be_forgotten(id),
            Command::Retry => {
                let is_failed = matches!(directory.stage(), Stage::Failed { .. } | Stage::Waiting { .. });
                is_failed || !directory.is_over() && (has(Doing::Waiting) || has(Doing::Blocked))
            }
        }
    }

    /// Executes an order for a directory. Returns the members for which the same is to be ordered.
    pub(in crate::node::download) fn order_directory(
        &mut self,
        cx: &mut Cx,
        command: Command,
        id: TransferId,
    ) -> Vec<TransferId> {
        let Some(directory) = self.directories.get_mut(id) else { return Vec::new() };
        if command == Command::Forget {
            self.forget_directory_record(cx, id);
            return Vec::new();
        }
        let is_over = directory.is_over();
        let resumed = if directory.is_listed { Stage::Fetching } else { Stage::Queued };
        let stage = match (command, directory.stage()) {
            (_, Stage::Done(_) | Stage::Cancelled(_)) => return Vec::new(),
            (Command::Pause | Command::Resume, Stage::Failed { .. }) => return Vec::new(),
            (Command::Forget, _) | (Command::Pause, Stage::Paused) => None,
            (Command::Pause, _) => Some(Stage::Paused),
            (Command::Resume, Stage::Paused) => Some(resumed),
            // Its files are paused as well.
            (Command::Retry, Stage::Paused) => return Vec::new(),
            (Command::Retry, Stage::Failed { .. } | Stage::Waiting { .. }) => {
                directory.waits = 0;
                Some(Stage::Queued)
            }
            (Command::Resume | Command::Retry, _) => None,
            (Command::Cancel, _) => Some(Stage::Cancelled(Summary { verified: false, ..self.summary(cx, id) })),
        };
        let Some(directory) = self.directories.get(id) else { return Vec::new() };
        let members = directory.members.values().copied().collect();
        let is_bad = directory.named_place == NamedPlace::Bad;
        if let Some(stage) = stage {
            self.set_stage(cx, id, stage);
        }
        if command == Command::Retry && is_over && is_bad {
            self.probe_directory(cx, id);
        }
        members
    }

    /// A new directory cannot be remembered, and nobody was told yet that it is accepted.
    pub(in crate::node::download) fn withdraw_directory(&mut self, cx: &mut Cx, id: TransferId) {
        self.drop_kept_manifest(cx, id);
        self.directories.remove(id);
        cx.out.then(Step::DownloadOver { id });
        cx.withdraw_events(id);
        cx.out.act(Action::ForgetDownload { download: id });
    }

    /// A new directory cannot be remembered, and its call was answered.
    pub(in crate::node::download) fn fail_directory(&mut self, cx: &mut Cx, id: TransferId, why: Problem) {
        self.set_stage(cx, id, Stage::Failed { why });
    }
}
