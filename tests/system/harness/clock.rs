//! Waiting for states. The only sleeps of the suite stand here.

use std::thread;
use std::time::{Duration, Instant};

/// How long a state may take to come about on a busy machine. Far above what it takes on an idle one.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Between two looks at a state.
const STEP: Duration = Duration::from_millis(10);

/// Wall time since a point.
#[derive(Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Looks until there is something to see; fails the test after `limit`.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let watch = Stopwatch::start();
    loop {
        if let Some(seen) = probe() {
            return seen;
        }
        assert!(watch.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        thread::sleep(STEP);
    }
}

/// Looks until it is so; fails the test after `limit`.
pub(crate) fn until(what: &str, limit: Duration, mut probe: impl FnMut() -> bool) {
    wait_for(what, limit, || probe().then_some(()));
}

/// Fails the test if it ceases to be so within `time`: for what must *not* happen, which no state announces.
pub(crate) fn holds(what: &str, time: Duration, mut probe: impl FnMut() -> bool) {
    let watch = Stopwatch::start();
    while watch.elapsed() < time {
        assert!(probe(), "did not last: {what}");
        thread::sleep(STEP);
    }
}

/// Lets time pass where time itself is tested: between the bytes of a slow sender, or over a span that is measured.
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}

/// Runs one test for several cases at once: most of it is waiting.
pub(crate) fn side_by_side<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    let test = &test;
    thread::scope(|scope| {
        let running: Vec<_> = cases.into_iter().map(|case| scope.spawn(move || test(case))).collect();
        for case in running {
            if let Err(panic) = case.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}
