//! Looking at shared files, and opening and reading them for peers.

use super::Disk;
use super::job::{Done, Key, Lane};
use super::metadata::{Metadata, Unsent};
use super::named::Named;
use crate::control::LimitedReply;
use crate::driver::clock::wall_ns;
use crate::driver::cx::Cx;
use crate::driver::net::Permit;
use crate::driver::shared_files::{ReadOrder, Reader};
use crate::fault::DiskFault;
use crate::id::{ContentHash, ExchangeId};
use crate::library::{FileMeta, RECENT_MAX, ScannedFile};
use crate::name::FileName;
use crate::network::Network;
use crate::node::contract::{ShareChanges, ShareNamed};
use crate::store::ShareRoot;
use crate::time::Instant;
use crate::wire::encode_metadata;
use log::warn;
use std::sync::Arc;

impl Disk {
    /// Looks at files that may have changed, of which the node hears in one event.
    pub(crate) fn look_at(&mut self, names: Vec<FileName>) {
        self.looking.begin(names, &self.share, self.hashing.volumes(), &mut self.jobs);
    }

    /// Shares other directories beside the one without a name from now on. A scan that is running is over: the node orders another
    /// one. What a job opens or hashes of what was replaced is of no use any more.
    pub(crate) fn share_others(&mut self, shares: &[ShareNamed], changes: &ShareChanges, cx: &mut Cx) {
        self.named = shares.iter().map(|share| Named::kept(share.clone(), &self.named)).collect();
        if let Err(fault) = self.jobs.hire_for_shares(1 + self.named.len()) {
            warn!("no worker for the new shares, which wait for those of other shares: {fault}");
        }
        let root = ShareRoot::at(&self.share_path).following(self.links.clone());
        self.share = Arc::new(root.with(Named::roots(&self.named)));
        self.end_walk();
        self.opened.forget(|name| changes.replace(name.as_bytes()), cx.now);
        self.hashing.forget(&changes.replaced, cx);
    }

    /// An open file of this name and identity that has not changed, for an exchange.
    pub(crate) fn opened_file(&mut self, name: &FileName, expected: &FileMeta, exchange: ExchangeId) -> Option<Reader> {
        self.opened.get(name, expected, exchange)
    }

    pub(crate) fn is_opening(&self, name: &FileName) -> bool {
        self.opened.is_opening(name)
    }

    /// Opens a file, which [`Output::SharedOpened`] reports.
    pub(crate) fn open_shared(&mut self, name: &FileName, permit: Permit) {
        self.opened.open(name.clone(), Arc::clone(&self.share), permit, &mut self.jobs);
    }

    /// Nobody waits any more for the opening of a file. Returns whether its descriptor is free now: not if a job has begun.
    pub(crate) fn withdraw_opening(&mut self, name: &FileName) -> bool {
        self.opened.withdraw(name, &mut self.jobs)
    }

    /// The file that was just opened, for an exchange: as it was scanned or, if it may be changed, one that was not modified for
    /// [`RECENT_MAX`].
    pub(crate) fn just_opened(
        &mut self,
        name: &FileName,
        expected: &FileMeta,
        may_be_changed: bool,
        exchange: ExchangeId,
    ) -> Result<Reader, DiskFault> {
        let file = self.opened.file(name).ok_or(DiskFault::Missing)?;
        let quiet = || file.quiet(self.hashing.volumes(), wall_ns());
        if file.meta() != expected && !(may_be_changed && quiet() >= RECENT_MAX) {
            return Err(DiskFault::Changed);
        }
        self.opened.reader(name, exchange).ok_or(DiskFault::Missing)
    }

    /// Submits a read that an exchange waits for, which [`Output::SharedRead`] reports.
    pub(crate) fn read_shared(&mut self, order: ReadOrder) {
        let ReadOrder { ordered, used, file, at, count, buffer: mut bytes } = order;
        let done = move |outcome| Done::SharedRead(used, ordered, outcome);
        let place = (Lane::Share, Key::ReadShared(used.exchange));
        self.jobs.submit_on(self.opened.share_of(used.file), place, done, Err(DiskFault::Internal), move || {
            bytes.resize(count);
            file.read(&mut bytes, at).map(|()| bytes)
        });
    }

    /// Closes files that nobody reads any more. `keeps_idle`: whether some stay open for the next readers.
    pub(crate) fn tend_shared(&mut self, keeps_idle: bool, now: Instant) {
        self.opened.tend(keeps_idle, now, &mut self.jobs);
    }

    /// Whether open files are about to give their descriptors back.
    pub(crate) fn gives_descriptors_back(&mut self, now: Instant) -> bool {
        self.opened.gives_back(now)
    }

    /// The metadata of a file, requested by a network: here, or coming, which [`Output::MetadataRead`] reports.
    pub(crate) fn metadata_body(
        &mut self,
        file: &ScannedFile,
        b3: ContentHash,
        network: Network,
        limited: &mut LimitedReply,
    ) -> Result<Metadata, Unsent> {
        let metadata = self.metadata.body(file, b3, network, limited)?;
        if let Metadata::ToRead = metadata {
            let (cache, volumes, meta) = (self.hashing.cache(), Arc::clone(self.hashing.volumes()), file.meta);
            let done = move |bytes| Done::MetadataRead(b3, bytes);
            self.jobs.submit((Lane::State, Key::Metadata(b3)), done, None, move || {
                let (known, chain) = cache.lock(&volumes).chain(&meta)?;
                (known == b3).then(|| encode_metadata(meta.size, b3, &chain))
            });
        }
        Ok(metadata)
    }

    /// Nobody waits any more for metadata that a job reads.
    pub(crate) fn withdraw_metadata(&mut self, b3: ContentHash) {
        self.jobs.withdraw(&Key::Metadata(b3));
        self.metadata.forget(b3);
    }
}
