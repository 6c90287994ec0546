//! Requests for the manifests of shared directories (PROTOCOL, part 2, Directories): the codes 9 and 8 with a name that ends in `/`.

use super::UploadMachine;
use super::accounting::Wanted;
use crate::fault::Refusal;
use crate::id::ExchangeId;
use crate::name::FileName;
use crate::node::contract::Action;
use crate::node::cx::Cx;
use crate::node::cx::exchanges::{Command, Rank};
use crate::node::share::ShareMachine;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Range;

/// Requests that wait until the manifest is made: each holds a connection, which bounds them.
#[derive(Default)]
pub(super) struct ManifestRequests {
    waiting: BTreeMap<FileName, BTreeSet<ExchangeId>>,
}

impl ManifestRequests {
    /// Removes a request that waits. Returns the directory if one did.
    pub(super) fn withdraw(&mut self, exchange: ExchangeId) -> Option<FileName> {
        let (name, waiting) = self.waiting.iter_mut().find(|(_, waiting)| waiting.contains(&exchange))?;
        let name = name.clone();
        waiting.remove(&exchange);
        if waiting.is_empty() {
            self.waiting.remove(&name);
        }
        Some(name)
    }
}

impl UploadMachine {
    pub(in crate::node) fn on_manifest_request(
        &mut self,
        cx: &mut Cx,
        share: &mut ShareMachine,
        exchange: ExchangeId,
        from: SocketAddr,
        name: FileName,
        range: Option<(u64, u64)>,
    ) {
        let made = if range.is_some() { share.manifest_as_told(from, &name) } else { share.manifest(from, &name) };
        let is_made = made.is_some();
        if !is_made && let Err(refusal) = share.make_manifest(cx, from, &name, from) {
            return self.refuse(cx, exchange, refusal);
        }
        self.uploads.wanted.insert(exchange, (cx.now, Wanted::Manifest { to: from, name: name.clone(), range }));
        if is_made {
            self.submit_manifest(cx, exchange);
        } else {
            self.manifests.waiting.entry(name).or_default().insert(exchange);
        }
    }

    /// The manifest of a directory is made, or cannot be: all who wait for it are answered.
    pub(in crate::node) fn on_manifest_made(&mut self, cx: &mut Cx, name: &FileName, outcome: Result<(), Refusal>) {
        for exchange in self.manifests.waiting.remove(name).unwrap_or_default() {
            match outcome {
                Ok(()) => self.submit_manifest(cx, exchange),
                Err(refusal) => self.refuse(cx, exchange, refusal),
            }
        }
    }

    /// Whether a request waits for the manifest of a directory.
    pub(in crate::node) fn awaits_manifest(&self, name: &FileName) -> bool {
        self.manifests.waiting.contains_key(name)
    }

    /// The node leaves: nothing is made any more.
    pub(in crate::node) fn refuse_manifests(&mut self, cx: &mut Cx) {
        for exchange in std::mem::take(&mut self.manifests.waiting).into_values().flatten() {
            self.refuse(cx, exchange, Refusal::Leaving);
        }
    }

    fn submit_manifest(&mut self, cx: &mut Cx, exchange: ExchangeId) {
        let Some((_, Wanted::Manifest { to, .. })) = self.uploads.wanted.get(&exchange) else { return };
        if cx.submit(exchange, Command::Respond, Rank::asked(*to)).is_err() {
            self.drop_request(cx, exchange);
        }
    }
}

/// The action that gives a requester a manifest.
pub(super) fn send_manifest(
    cx: &Cx,
    share: &mut ShareMachine,
    exchange: ExchangeId,
    (to, name): (SocketAddr, &FileName),
    range: Option<(u64, u64)>,
) -> Result<Action, Refusal> {
    if !share.library().seen_by(to).admits(name.as_bytes()) {
        return Err(Refusal::NoSuchFile);
    }
    // It may have given way to others while the request waited for a worker.
    let manifest = share.manifest_as_told(to, name).ok_or(Refusal::Busy)?;
    let inside = |(offset, length): (u64, u64)| -> Option<Range<usize>> {
        let end = offset.checked_add(length).and_then(|end| usize::try_from(end).ok())?;
        (end <= manifest.text.len()).then_some(usize::try_from(offset).ok()?..end)
    };
    let range = range.map(|range| inside(range).ok_or(Refusal::OutsideFile)).transpose()?;
    let pending = if range.is_none() { share.pending_beneath(cx, name) } else { 0 };
    Ok(Action::SendManifest { exchange, manifest, range, pending })
}
