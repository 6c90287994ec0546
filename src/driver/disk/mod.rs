//! Files: the share and its hashes, part files, state files, and the jobs that block on a disk.
//!
//! | file | what others may call |
//! |---|---|
//! | here | hashing, records, part files that exchanges write to, jobs of others |
//! | `scanning` | scans of the share |
//! | `sharing` | reading shared files for peers |
//! | `commits` | the final names of part files |
//! | `part_orders` | orders for part files |
//! | `watching` | the watched directory |
//! | `kept_manifests` | manifests that users have given, in the state directory |
//! | `upkeep` | deadlines, and the results of jobs |
//!
//! Each calls only those above it. Beneath them are `job`, `jobs` and `workers` (threads), `state_files` with `state_content`, `records` with
//! `record_form`, `registry_file`, and `places` (state across restarts), `opened`, `looking`, `walk`, `hashing` with `hash_work`, and `metadata` (the
//! share), `part_files`, `removals` and `orphans` (part files).

mod commits;
mod event_form;
mod hash_work;
mod hashing;
mod job;
mod jobs;
mod kept_manifests;
mod looking;
mod metadata;
mod named;
mod opened;
mod orphans;
mod part_files;
mod part_orders;
mod places;
mod record_form;
mod records;
mod registry_file;
mod removals;
mod scanning;
mod sharing;
mod state_content;
mod state_files;
mod upkeep;
mod walk;
mod watching;
mod wish_form;
mod workers;

pub(crate) use metadata::{Metadata, Unsent};
pub(crate) use part_files::PartOrder;
pub(crate) use places::was_in_use;

use super::StartFault;
use super::clock::Clock;
use super::cx::Cx;
use super::histogram::Histogram;
use super::host::ReloadJob;
use super::interface::Interface;
use super::open_parts::OpenParts;
use crate::bootstrap::{Bootstrap, decode_snapshot};
use crate::fault::ResolveFault;
use crate::id::TransferId;
use crate::library::ScannedFile;
use crate::node::contract::{BootstrapAddr, DownloadRecord, ShareNamed, WishRecord};
use crate::node::{Remembered, RememberedPeers};
use crate::store::{FollowedLinks, HashCache, ShareRoot, StateDirectory};
use crate::time::{Instant, WallClock};
use commits::Commits;
use hashing::Hashing;
use job::{Done, Key, Lane};
use jobs::Jobs;
use kept_manifests::KeptManifests;
use looking::Looking;
use metadata::MetadataBodies;
use mio::Waker;
use named::Named;
use opened::OpenedFiles;
use orphans::Orphans;
use part_files::PartFiles;
use places::Places;
use records::Records;
use registry_file::RegistryFile;
use scanning::Scan;
use state_content::StateContent;
use state_files::StateFiles;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use watching::Watch;

const SYNC_DELAY: Duration = Duration::from_secs(2);

pub(crate) struct Disk {
    jobs: Jobs,
    state: StateFiles,
    records: Records,
    places: Places,
    share_path: Arc<Path>,
    share: Arc<ShareRoot>,
    /// The links of the share, if they are followed.
    links: Option<Arc<FollowedLinks>>,
    named: Arc<[Named]>,
    opened: OpenedFiles,
    looking: Looking,
    scan: Scan,
    hashing: Hashing,
    metadata: MetadataBodies,
    parts: PartFiles,
    commits: Commits,
    orphans: Orphans,
    watch: Option<Watch>,
    manifests: KeptManifests,
    /// When verified groups are synced.
    sync_at: Option<Instant>,
    registry: RegistryFile,
    /// Reloads so far.
    reloads: u64,
}

/// Where the share is.
pub(crate) struct SharePlace {
    pub(crate) path: PathBuf,
    pub(crate) follow_symlinks: bool,
    pub(crate) named: Vec<ShareNamed>,
    /// Shares that are walked through at once, and hashed.
    pub(crate) at_work_max: usize,
}

impl Disk {
    /// Opens the files of the state directory. Returns what the node needs of them.
    /// Errors: If a thread cannot be created, or the log of downloads not be opened.
    pub(crate) fn open(
        state: Option<StateDirectory>,
        share: SharePlace,
        cache: HashCache,
        waker: &Arc<Waker>,
        clock: Clock,
    ) -> Result<(Self, Remembered), StartFault> {
        let peers = state_files::decode_peers(&state_files::read(state.as_ref(), state_files::PEERS_FILE));
        let opened = records::open(state.as_ref());
        let what = || "the state file of downloads".to_owned();
        let (records, remembered) = opened.map_err(|error| StartFault::Io { what: what(), error })?;
        let SharePlace { path, follow_symlinks, named, at_work_max } = share;
        let named: Arc<[_]> = named.into_iter().map(Named::new).collect();
        let links = follow_symlinks.then(Arc::default);
        let mut disk = Self {
            jobs: Jobs::start(waker, clock, (1 + named.len(), at_work_max))?,
            records,
            places: Places::open(state.as_ref()),
            state: StateFiles::new(state),
            share: Arc::new(ShareRoot::at(&path).following(links.clone()).with(Named::roots(&named))),
            share_path: path.into(),
            links,
            named,
            opened: OpenedFiles::default(),
            looking: Looking::default(),
            scan: Scan::new(at_work_max),
            hashing: Hashing::new(cache, at_work_max),
            metadata: MetadataBodies::default(),
            parts: PartFiles::default(),
            commits: Commits::default(),
            orphans: Orphans::default(),
            watch: None,
            manifests: KeptManifests::default(),
            sync_at: None,
            registry: RegistryFile::default(),
            reloads: 0,
        };
        disk.remove_unneeded_manifests(&remembered.downloads);
        Ok((disk, Remembered { peers, ..remembered }))
    }

    /// Gives a bootstrap node the registrations of an earlier run.
    pub(crate) fn restore(&mut self, bootstrap: &mut Bootstrap, now: Instant) {
        let saved = state_files::read(self.state.directory(), state_files::REGISTRY_FILE);
        bootstrap.restore(now, decode_snapshot(&saved));
        self.registry.note_saved(bootstrap);
    }

    /// How long jobs waited before they ran, or were given up.
    pub(crate) fn job_waits(&self) -> &Histogram {
        self.jobs.waits()
    }

    /// How many jobs wait for a worker, by the name of its thread.
    pub(crate) fn jobs_waiting(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.jobs.waiting_by_thread()
    }

    /// Whether a slice of something waits.
    pub(crate) fn has_work(&self) -> bool {
        self.has_scanned() || self.registry.is_copying()
    }

    /// Whether there is something that a stop waits for.
    pub(crate) fn is_syncing(&self) -> bool {
        self.registry.is_copying() || self.jobs.is_syncing()
    }

    /// Descriptors that jobs hold which hang, beyond those with a permit.
    pub(crate) fn descriptors_of_hung(&self) -> usize {
        self.jobs.descriptors_of_hung()
    }

    pub(crate) fn open_parts(&mut self) -> &mut OpenParts {
        &mut self.parts.open
    }

    pub(crate) fn hash_files(&mut self, files: Vec<ScannedFile>) {
        self.hashing.take(files, &self.share, &mut self.jobs);
    }

    pub(crate) fn remember_download(&mut self, record: &DownloadRecord, revision: u64, cx: &mut Cx) {
        self.records.remember(record, revision, cx);
    }

    pub(crate) fn remember_wish(
        &mut self,
        wish: TransferId,
        record: Option<Box<WishRecord>>,
        revision: u64,
        cx: &mut Cx,
    ) {
        self.records.remember_wish(wish, record.as_deref(), revision, cx);
    }

    pub(crate) fn forget_events(&mut self, download: TransferId, up_to: u64, cx: &mut Cx) {
        self.records.forget_events(download, up_to, cx);
    }

    pub(crate) fn keep_events_from(&mut self, first: u64, now: Instant) {
        self.records.keep_events_from(first, now);
    }

    pub(crate) fn has_writes(&self) -> bool {
        self.parts.open.has_writes()
    }

    pub(crate) fn has_changed_records(&self, now: Instant) -> bool {
        self.records.has_changes(now)
    }

    pub(crate) fn maintain_records(&mut self) {
        self.records.maintain(&mut self.jobs);
    }

    pub(crate) fn remember_peers(&mut self, peers: &RememberedPeers) {
        self.state.save(state_files::PEERS_FILE, StateContent::Text(state_files::encode_peers(peers)), &mut self.jobs);
    }

    pub(crate) fn watch_registry(&mut self, bootstrap: &Bootstrap, cx: &Cx) {
        if self.state.directory().is_some() {
            self.registry.watch(bootstrap, cx.now);
        }
    }

    /// Copies a slice of the registry, and has it written after the last one. Returns whether there are more.
    pub(crate) fn save_registry(&mut self, bootstrap: &Bootstrap, wall: WallClock, now: Instant) -> bool {
        self.registry.begin_if_due(bootstrap, now);
        if let Some(leases) = self.registry.copy_slice(bootstrap) {
            self.state.save(state_files::REGISTRY_FILE, StateContent::Registry(leases, wall), &mut self.jobs);
        }
        self.registry.is_copying()
    }

    /// The daemon leaves: what the registry has is to be written by the slices that follow, if it has changed.
    pub(crate) fn save_registry_last(&mut self, bootstrap: &Bootstrap) {
        if self.state.directory().is_some() {
            self.registry.begin_last(bootstrap);
        }
    }

    pub(crate) fn resolve(&mut self, host: BootstrapAddr, interface: &Interface) {
        let (key, asked, interface) = (Key::Host(host.clone()), host.clone(), interface.clone());
        let done = move |outcome| Done::Resolved(asked.clone(), outcome);
        let lost = Err(ResolveFault::Lost);
        let work = move || jobs::resolve(&host, &interface);
        self.jobs.submit((Lane::Names, key), done, lost, work);
    }

    pub(crate) fn read_configuration(&mut self, job: ReloadJob) {
        self.reloads += 1;
        self.jobs.submit((Lane::Reload, Key::Configuration(self.reloads)), |()| Done::ConfigurationRead, (), job);
    }

    fn arm_sync(&mut self, cx: &Cx) {
        self.sync_at.get_or_insert(cx.now + SYNC_DELAY);
    }
}
