//! Looking at files of the shares: a job for each share, and one answer for all of them.

use super::job::{Done, Key, Lane};
use super::jobs::Jobs;
use crate::driver::clock::wall_ns;
use crate::fault::DiskFault;
use crate::library::RecentFile;
use crate::name::FileName;
use crate::node::contract::LookedAt;
use crate::store::{ShareRoot, Volumes};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A job that has looked at files for this long ends, far before it would be given up. The node asks again for the others.
const LOOK_MAX: Duration = Duration::from_secs(5);

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
            let lost = look_while(names.clone(), || false, |_| Err(DiskFault::Internal));
            let (order, share, volumes, clock) = (self.order, Arc::clone(share), Arc::clone(volumes), jobs.clock());
            let place = (Lane::Share, Key::LookAt(Arc::clone(&directory)));
            jobs.submit_on(
                Some(&directory),
                place,
                move |found| Done::LookedAt(order, found),
                lost,
                move || {
                    let (began, wall_ns) = (clock.fine(), wall_ns());
                    let look = |name: &FileName| share.look(name, &volumes, wall_ns);
                    look_while(names, || clock.within(began, LOOK_MAX), look)
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

/// Looks at the first file, and at others as long as it may. The rest has no answer.
fn look_while(
    names: Vec<FileName>,
    goes_on: impl Fn() -> bool,
    look: impl Fn(&FileName) -> Result<RecentFile, DiskFault>,
) -> Vec<LookedAt> {
    let look_at = |(at, name)| {
        let found = if at == 0 || goes_on() { look(&name) } else { Err(DiskFault::NoAnswer) };
        LookedAt { name, found }
    };
    names.into_iter().enumerate().map(look_at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::clock::Clock;
    use mio::{Poll, Token, Waker};
    use std::cell::Cell;

    #[test]
    fn what_jobs_of_an_earlier_order_find_is_in_no_answer() {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let mut jobs = Jobs::start(&waker, Clock::start(), (1, 8)).unwrap();
        let (share, volumes) = (Arc::new(ShareRoot::at(Path::new("/nowhere"))), Arc::default());
        let name = |text: &str| FileName::from_bytes(text.as_bytes()).unwrap();
        let found = |text: &str| vec![LookedAt { name: name(text), found: Err(DiskFault::Missing) }];
        let mut looking = Looking::default();
        looking.begin(vec![name("a")], &share, &volumes, &mut jobs);
        looking.begin(vec![name("b")], &share, &volumes, &mut jobs);
        assert!(looking.on_looked_at(1, found("a")).is_none());
        let all = looking.on_looked_at(2, found("b")).unwrap();
        assert_eq!(all.iter().map(|row| &row.name).collect::<Vec<_>>(), [&name("b")]);
    }

    #[test]
    fn files_that_there_is_no_time_for_have_no_answer() {
        let names = || ["a", "b", "c"].map(|name| FileName::from_bytes(name.as_bytes()).unwrap()).to_vec();
        let found = |calls_max: u32| {
            let left = Cell::new(calls_max);
            let goes_on = || left.replace(left.get().saturating_sub(1)) > 0;
            look_while(names(), goes_on, |_| Err(DiskFault::Missing)).into_iter().map(|row| row.found.unwrap_err())
        };
        let all = |calls_max| found(calls_max).collect::<Vec<_>>();
        let (missing, no_answer) = (DiskFault::Missing, DiskFault::NoAnswer);
        assert_eq!(all(0), [missing, no_answer, no_answer], "each job gets on");
        assert_eq!(all(1), [missing, missing, no_answer]);
        assert_eq!(all(9), [missing; 3]);
    }
}
