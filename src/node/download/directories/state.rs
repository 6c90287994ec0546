//! One directory: what it is, what is done for it, and what is known of its records.

use super::plan::{LeftOut, Plan, Planned};
use super::tally::{Doing, Tally};
use super::trees::Trees;
use crate::content::ManifestEntry;
use crate::control::{CallError, DownloadState, Problem};
use crate::id::{ContentHash, ExchangeId, TransferId};
use crate::link::LINK_PEERS_MAX;
use crate::name::FileName;
use crate::node::contract::{PartSpec, RecordState, Target};
use crate::node::download::state::{Download, NamedPlace, Recorded};
use crate::node::limits::PENDING_ASKS_MAX;
use crate::time::Instant;
use crate::timer::TimerId;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Debug)]
pub(in crate::node::download) struct Directory {
    /// In the share of the peer; ends in `/`.
    pub(super) name: FileName,
    /// Who is asked what is beneath it; `None` where the user has given the manifest.
    pub(super) peer: Option<SocketAddr>,
    /// Further peers that a link names, or that have the directory as a search has found. They may have its files.
    pub(super) others: Vec<SocketAddr>,
    pub(super) attempt: Attempt,
    /// The hash that its manifest must have: that of a link, or of the manifest that the user has given.
    pub(super) wanted: Option<ContentHash>,
    /// All of it is saved in this directory, under this name.
    pub(super) base: PathBuf,
    pub(super) root: FileName,
    pub(super) named_place: NamedPlace,
    stage: Stage,
    /// Its files, by their names in the share of the peer.
    pub(super) members: BTreeMap<FileName, TransferId>,
    pub(super) tally: Tally,
    /// Where peers have files of it.
    pub(super) trees: Trees,
    /// Members that wait; those that nobody can be asked for are searched for.
    pub(super) awaiting: BTreeSet<TransferId>,
    /// The one of them that was looked at last.
    pub(super) looked_at: Option<TransferId>,
    /// Of the last list.
    pub(super) left_out: LeftOut,
    pub(super) pending: Pending,
    /// `None` as long as the peer has sent no manifest, or if files of it have changed since they became members.
    pub(super) described: Option<Described>,
    /// Directories of the last manifest that are still to be made. The last is next.
    pub(super) to_make: Vec<FileName>,
    /// Orders to make directories that were not answered.
    pub(super) making: u32,
    /// All files of a list are members, and all its directories are made.
    pub(super) is_listed: bool,
    /// Times in a row that it had to wait; and how many members were done the last time.
    pub(super) waits: u32,
    pub(super) done_before: u64,
    pub(in crate::node::download) recorded: Recorded,
    /// Its manifest is being written. A record that names this manifest is written after it.
    pub(super) is_keeping: bool,
    /// When those who follow it were last told how it stands, and in which state it was.
    pub(super) notified: Option<(Instant, DownloadState)>,
}

/// What is done for a directory, changed by `set_stage` alone.
#[derive(Debug)]
pub(super) enum Stage {
    Queued,
    Listing {
        exchange: ExchangeId,
        plan: Plan,
    },
    /// The manifest that the user has given is read.
    Reading,
    /// The peer is asked for the manifest.
    Describing {
        exchange: ExchangeId,
        asked: Asked,
    },
    Planning {
        plan: Box<Plan>,
        entries: std::vec::IntoIter<ManifestEntry>,
    },
    /// The last is next.
    Adding(Vec<Planned>),
    Making,
    Fetching,
    Waiting {
        until: Instant,
        timer: TimerId,
        why: Problem,
    },
    Paused,
    Done(Summary),
    Failed {
        why: Problem,
    },
    Cancelled(Summary),
}

/// What the peer is asked for on the way to a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Whether it speaks `p1`.
    Contact,
    /// Hash and size.
    Info,
    Manifest,
}

/// Asking all peers of a directory once.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    /// Further peers that were not asked yet.
    pub(super) peers_left: usize,
    /// Why the last of those that may give the manifest later does not give it now.
    pub(super) may_come: Option<Problem>,
    /// What the peer that was asked last does not share yet.
    pub(super) lacking: Lacking,
}

/// What a peer has beneath a directory and does not share yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lacking {
    /// Files that are not in its manifest, as it has said.
    pub(super) files: u64,
    /// It had no manifest yet, so that its list was taken.
    pub(super) lacks_manifest: bool,
}

/// What was lacking when the files became members, and how often the peer was asked again because of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pending {
    pub(super) lacking: Lacking,
    pub(super) asks: u32,
}

impl Lacking {
    /// Files, at least.
    pub(super) fn files(self) -> u64 {
        self.files.max(u64::from(self.lacks_manifest))
    }
}

/// What the last manifest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Described {
    /// Of the manifest itself.
    pub(super) b3: ContentHash,
    pub(super) files: u64,
    /// Of all files together.
    pub(super) bytes: u64,
}

/// What is shown of a directory that has no members any more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Summary {
    pub(super) files: u64,
    pub(super) files_done: u64,
    pub(super) bytes_done: u64,
    pub(super) size: Option<u64>,
    /// Files that the peer still did not share.
    pub(super) pending: u64,
    pub(super) verified: bool,
    pub(super) already: bool,
    pub(super) sources: Vec<SocketAddr>,
}

impl Stage {
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Failed { .. } | Self::Cancelled(_))
    }
}

impl Directory {
    pub(super) fn new(name: FileName, peer: Option<SocketAddr>, base: PathBuf) -> Self {
        let root = root_of(&name);
        Self {
            name,
            peer,
            others: Vec::new(),
            attempt: Attempt::default(),
            wanted: None,
            base,
            root,
            named_place: NamedPlace::Good,
            stage: Stage::Queued,
            members: BTreeMap::new(),
            tally: Tally::default(),
            trees: Trees::default(),
            awaiting: BTreeSet::new(),
            looked_at: None,
            left_out: LeftOut::default(),
            pending: Pending::default(),
            described: None,
            to_make: Vec::new(),
            making: 0,
            is_listed: false,
            waits: 0,
            done_before: 0,
            recorded: Recorded::default(),
            is_keeping: false,
            notified: None,
        }
    }

    pub(super) fn stage(&self) -> &Stage {
        &self.stage
    }

    pub(super) fn is_over(&self) -> bool {
        self.stage.is_over()
    }

    /// Whether its members may be fetched, so that peers may be offered to them.
    pub(super) fn has_members_fetched(&self) -> bool {
        matches!(self.stage, Stage::Fetching | Stage::Waiting { .. })
    }

    /// Called by `set_stage` alone, and where an earlier run is taken up.
    pub(super) fn replace_stage(&mut self, stage: Stage) -> Stage {
        std::mem::replace(&mut self.stage, stage)
    }

    /// Has the next of its peers asked. Says whether one was left.
    pub(super) fn turn_to_next_peer(&mut self) -> bool {
        // Without a hash of the manifest, what one peer has is not completed by what another has.
        let is_bound = self.wanted.is_none() && !self.members.is_empty();
        let Some(peer) = self.peer.as_mut().filter(|_| !is_bound) else { return false };
        if self.attempt.peers_left == 0 || self.others.is_empty() {
            return false;
        }
        self.attempt.peers_left -= 1;
        let next = self.others.remove(0);
        self.others.push(std::mem::replace(peer, next));
        true
    }

    /// Whether the peer is asked again, once all other files are there, for what it did not share yet.
    pub(super) fn awaits_more(&self) -> bool {
        self.peer.is_some() && self.pending.lacking.files() > 0 && self.pending.asks < PENDING_ASKS_MAX
    }

    /// Whether all files that are known are there.
    pub(super) fn has_all(&self) -> bool {
        self.is_listed && self.left_out.count == 0 && self.tally.count(Doing::Done) == self.files()
    }

    /// Whoever has ordered it has named these.
    pub(super) fn peers(&self) -> impl Iterator<Item = SocketAddr> {
        self.peer.iter().chain(&self.others).copied()
    }

    /// Takes peers that may have all of it under the same name, beside the one that is asked what is beneath it.
    pub(super) fn add_peers(&mut self, peers: impl IntoIterator<Item = SocketAddr>) {
        for peer in peers {
            if self.peers().all(|known| known != peer) && self.peers().count() < LINK_PEERS_MAX {
                self.others.push(peer);
            }
        }
        self.name_others();
    }

    /// Has the further peers offered as sources of the files.
    pub(super) fn name_others(&mut self) {
        self.others.iter().for_each(|peer| self.trees.add_named(*peer, &self.name));
    }

    /// The manifest that the user has given is kept: no peer is asked for it.
    pub(super) fn leave_peers(&mut self) {
        if let Some(peer) = self.peer.take() {
            self.others.insert(0, peer);
        }
        self.name_others();
    }

    /// Whether no peer is asked what is beneath it, so that its files are searched for.
    pub(super) fn is_searched_for(&self) -> bool {
        self.peer.is_none()
    }

    /// Whether a member waits for its turn to be searched for, if it waits.
    pub(super) fn awaits_turn(&self, member: &Download) -> bool {
        self.is_searched_for() && member.has_nobody_to_ask()
    }

    /// The hash of the manifest that is kept for it.
    pub(super) fn kept_manifest(&self) -> Option<ContentHash> {
        self.wanted.filter(|_| self.is_searched_for())
    }

    pub(super) fn plan_mut(&mut self, of: ExchangeId) -> Option<&mut Plan> {
        match &mut self.stage {
            Stage::Listing { exchange, plan } if *exchange == of => Some(plan),
            _ => None,
        }
    }

    pub(super) fn planning_mut(&mut self) -> Option<(&mut Box<Plan>, &mut std::vec::IntoIter<ManifestEntry>)> {
        if let Stage::Planning { plan, entries } = &mut self.stage { Some((plan, entries)) } else { None }
    }

    pub(super) fn adding_mut(&mut self) -> Option<&mut Vec<Planned>> {
        if let Stage::Adding(files) = &mut self.stage { Some(files) } else { None }
    }

    /// Where it is saved.
    pub(super) fn spec(&self) -> PartSpec {
        let target = Target::Within { directory: self.base.clone(), path: self.root.clone(), executable: false };
        PartSpec { target, token: 0, filesystem: None }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.spec().target.path()
    }

    pub(super) fn files(&self) -> u64 {
        self.members.len() as u64
    }

    /// Whether the next run is to find the manifest that is kept for it.
    pub(super) fn needs_kept_manifest(&self) -> bool {
        !matches!(self.stage, Stage::Done(_) | Stage::Cancelled(_))
    }

    /// How it stands, as users see it.
    pub(super) fn state(&self) -> DownloadState {
        let has = |doing| self.tally.count(doing) > 0;
        match &self.stage {
            Stage::Done(_) => DownloadState::Done,
            Stage::Failed { .. } => DownloadState::Failed,
            Stage::Cancelled(_) => DownloadState::Cancelled,
            Stage::Paused => DownloadState::Paused,
            _ if has(Doing::Active) => DownloadState::Active,
            Stage::Queued => DownloadState::Queued,
            Stage::Reading | Stage::Describing { .. } | Stage::Planning { .. } => DownloadState::Active,
            Stage::Listing { .. } | Stage::Adding(_) | Stage::Making => DownloadState::Active,
            _ if has(Doing::Queued) => DownloadState::Queued,
            Stage::Waiting { .. } => DownloadState::Retrying,
            Stage::Fetching if has(Doing::Waiting) => DownloadState::Retrying,
            Stage::Fetching if has(Doing::Blocked) => DownloadState::Paused,
            Stage::Fetching => DownloadState::Active,
        }
    }

    /// What the next run is to know.
    pub(super) fn state_to_record(&self) -> (RecordState, Option<CallError>) {
        match &self.stage {
            Stage::Done(_) | Stage::Cancelled(_) => (RecordState::Dropped, None),
            Stage::Failed { why } => (RecordState::Failed { keeps_part: false }, Some(why.clone().into())),
            Stage::Paused => (RecordState::Paused, None),
            _ => (RecordState::Waiting, None),
        }
    }

    pub(super) fn has_news(&self) -> bool {
        self.recorded.state.as_ref() != Some(&self.state_to_record())
    }
}

/// The name under which a directory is saved.
fn root_of(name: &FileName) -> FileName {
    let bytes = name.as_bytes();
    let trimmed = bytes.strip_suffix(b"/").unwrap_or(bytes);
    FileName::from_bytes(trimmed).unwrap_or_else(|| name.clone()).safe_component()
}
