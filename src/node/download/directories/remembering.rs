//! What is remembered of directories, and how a restart takes it up.

use super::state::{Described, Directory, Stage, Summary};
use super::tally::Tally;
use crate::control::Problem;
use crate::id::TransferId;
use crate::name::FileName;
use crate::node::contract::{Action, DownloadRecord, PartSpec, RecordKind, RecordState, SourceRecord, Target};
use crate::node::cx::Cx;
use crate::node::download::DownloadMachine;
use crate::node::download::state::{Download, Recorded};
use crate::node::network::canonical;
use std::collections::BTreeMap;
use std::net::SocketAddr;

impl DownloadMachine {
    pub(super) fn remember_directory(&mut self, cx: &mut Cx, id: TransferId) {
        let revision = self.next_revision();
        let Some(directory) = self.directories.get_mut(id).filter(|row| !row.is_keeping) else { return };
        let (state, error) = directory.state_to_record();
        directory.recorded.revision = revision;
        directory.recorded.state = Some((state, error.clone()));
        let record = DownloadRecord {
            id,
            spec: directory.spec(),
            name: directory.name.clone(),
            size: directory.described.map(|described| described.bytes),
            b3: directory.wanted.or(directory.described.map(|described| described.b3)),
            // One that is from nobody is that of a link, or was given by the user.
            learnt_from: directory.described.filter(|_| directory.wanted.is_none()).and(directory.peer),
            state,
            error,
            bytes_done: 0,
            sources: directory.peers().map(|peer| source(peer, &directory.name)).collect(),
            place: i64::from(id.0),
            events: cx.event_log.of(id),
            // What was left out is in no record: the next run asks for the list again.
            kind: RecordKind::Directory {
                files: (directory.is_listed && directory.left_out.count == 0).then(|| directory.files()),
                is_given: directory.is_searched_for(),
                pending: directory.pending.lacking.files(),
            },
        };
        cx.event_log.on_record_ordered(id, revision);
        cx.out.act(Action::RememberDownload { record: Box::new(record), revision });
    }

    /// Takes up the directories that an earlier run left, before their members. How many members each had.
    pub(in crate::node::download) fn recall_directories(
        &mut self,
        records: &[DownloadRecord],
    ) -> BTreeMap<TransferId, Option<u64>> {
        let mut files = BTreeMap::new();
        for record in records {
            if let RecordKind::Directory { files: listed, is_given, pending: files_pending } = record.kind
                && let Some(mut directory) = Directory::recalled(record, is_given)
            {
                directory.pending.lacking.files = files_pending;
                self.directories.insert(record.id, directory);
                files.insert(record.id, listed);
            }
        }
        files
    }

    /// How a member of an earlier run is taken up: what was ordered of its directory holds for it, too. Without its directory
    /// it is a download of its own.
    pub(in crate::node::download) fn align_member(&self, record: &mut DownloadRecord) {
        let RecordKind::Member { of } = record.kind else { return };
        let Some(directory) = self.directories.get(of) else {
            record.kind = RecordKind::File;
            if matches!(record.state, RecordState::Done { .. }) {
                record.state = RecordState::Dropped;
            }
            return;
        };
        record.state = match (record.state, directory.stage()) {
            (RecordState::Waiting, Stage::Paused) => RecordState::Paused,
            (RecordState::Paused, stage) if !matches!(stage, Stage::Paused) => RecordState::Waiting,
            (state, _) => state,
        };
    }

    /// A download was taken up as a member.
    pub(in crate::node::download) fn recall_member(&mut self, of: TransferId, member: TransferId) {
        let Some(row) = self.downloads.get(member) else { return };
        let Some(directory) = self.directories.get_mut(of) else { return };
        directory.tally.add(&Tally::of(row.life()));
        directory.members.insert(row.name.clone(), member);
    }

    /// All members are there: the directories go on.
    pub(in crate::node::download) fn resume_directories(
        &mut self,
        cx: &mut Cx,
        files: BTreeMap<TransferId, Option<u64>>,
    ) {
        for (id, listed) in files {
            let Some(directory) = self.directories.get_mut(id) else { continue };
            directory.is_listed = listed.is_some_and(|files| directory.files() >= files);
            let members: Vec<TransferId> = directory.members.values().copied().collect();
            // Also of one that goes on later, when a user says so.
            directory.name_others();
            match directory.stage() {
                Stage::Queued if directory.is_listed => {
                    directory.replace_stage(Stage::Fetching);
                    self.directories.resume_offers(id);
                }
                Stage::Cancelled(_) => {
                    for member in members {
                        self.cancel_download(cx, member);
                        self.release_cancelled(cx, member);
                    }
                }
                _ => {}
            }
            self.directories.mark_dirty(id);
        }
    }
}

fn source(addr: SocketAddr, name: &FileName) -> SourceRecord {
    SourceRecord { addr, names: vec![name.clone()], p1: false, is_chosen: true }
}

impl Directory {
    fn recalled(record: &DownloadRecord, is_given: bool) -> Option<Self> {
        let PartSpec { target: Target::Within { directory: base, .. }, .. } = &record.spec else { return None };
        let mut peers = record.sources.iter().map(|source| canonical(source.addr));
        let peer = if is_given { None } else { peers.next() };
        let has_manifest = is_given && record.b3.is_some();
        if peer.is_none() && !has_manifest {
            return None;
        }
        let mut directory = Self::new(record.name.clone(), peer, base.clone());
        directory.others = peers.collect();
        directory.wanted = record.b3.filter(|_| record.learnt_from.is_none());
        let described = record.b3.zip(record.size);
        directory.described = described.map(|(b3, bytes)| Described { b3, files: 0, bytes });
        directory.recorded = Recorded::recalled(record.state, record.error.clone());
        let why = record.error.clone().map_or(Problem::Unknown, |error| Problem::Recalled { error });
        directory.replace_stage(match record.state {
            RecordState::Waiting | RecordState::Done { .. } => Stage::Queued,
            RecordState::Paused => Stage::Paused,
            RecordState::Failed { .. } => Stage::Failed { why },
            RecordState::Dropped => Stage::Cancelled(Summary::default()),
        });
        Some(directory)
    }
}

impl Download {
    /// Of which record it is.
    pub(in crate::node::download) fn record_kind(&self) -> RecordKind {
        self.directory.map_or(RecordKind::File, |of| RecordKind::Member { of })
    }
}
