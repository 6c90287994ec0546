//! Looking at files of the shares: a job for each share, and one answer for all of them.

use super::job::{Done, Key, Lane};
use super::jobs::Jobs;
use crate::driver::clock::wall_ns;
use crate::fault::DiskFault;
use crate::name::FileName;
use crate::node::contract::LookedAt;
use crate::store::{ShareRoot, Volumes};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The order that jobs carry out.
#[derive(Default)]
pub(super) struct Looking {
    /// Orders so far.
    order: u64,
    /// Jobs of it that have not ended.
    jobs: usize,
    found: Vec<LookedAt>,
}

impl Looking {
    /// Begins an order, of which [`Looking::on_looked_at`] has the answer. An earlier one has none any more.
    pub(super) fn begin(
        &mut self,
        names: Vec<FileName>,
        share: &Arc<ShareRoot>,
        volumes: &Arc<Volumes>,
        jobs: &mut Jobs,
    ) {
        let mut by_share: BTreeMap<Arc<Path>, Vec<FileName>> = BTreeMap::new();
        for name in names {
            by_share.entry(Arc::clone(share.directory_of(&name))).or_default().push(name);
        }
        *self = Self { order: self.order + 1, jobs: by_share.len(), found: Vec::new() };
        for (directory, names) in by_share {
            let unknown = |name: &FileName| LookedAt { name: name.clone(), found: Err(DiskFault::NoAnswer) };
            let lost = names.iter().map(unknown).collect();
            let (order, share, volumes) = (self.order, Arc::clone(share), Arc::clone(volumes));
            let place = (Lane::Share, Key::LookAt(Arc::clone(&directory)));
            jobs.submit_on(
                Some(&directory),
                place,
                move |found| Done::LookedAt(order, found),
                lost,
                move || {
                    let wall_ns = wall_ns();
                    let look = |name: FileName| LookedAt { found: share.look(&name, &volumes, wall_ns), name };
                    names.into_iter().map(look).collect()
                },
            );
        }
    }

    /// A job has ended. Returns what all have found, if it was the last one.
    pub(super) fn on_looked_at(&mut self, order: u64, found: Vec<LookedAt>) -> Option<Vec<LookedAt>> {
        if order != self.order {
            return None;
        }
        self.found.extend(found);
        self.jobs = self.jobs.saturating_sub(1);
        (self.jobs == 0).then(|| std::mem::take(&mut self.found))
    }
}
