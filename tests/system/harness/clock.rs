//! Waiting for states. The only sleeps of the suite stand here.

use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// How long a state may take to come about on a busy machine. Far above what it takes on an idle one.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Between two looks at a state.
const STEP: Duration = Duration::from_millis(10);

/// Time since a point.
#[derive(Clone, Copy)]
pub(crate) struct Stopwatch {
    started: Instant,
    stood: Duration,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), stood: stood_still() }
    }

    /// What a clock on the wall shows: for what takes at least so long.
    pub(crate) fn elapsed(self) -> Duration {
        self.started.elapsed()
    }

    /// The same without the time in which the whole machine stood still: for what takes at most so long.
    pub(crate) fn ran(self) -> Duration {
        let stood = stood_still().saturating_sub(self.stood);
        self.elapsed().saturating_sub(stood)
    }
}

/// The machine stood still if a thread that only sleeps wakes so much too late.
const STILL_MIN: Duration = Duration::from_millis(20);

/// How much too late a thread wakes that slept for [`STEP`]; nothing if that is usual.
fn too_late(slept_at: Instant, now: Instant) -> Duration {
    let late = (now - slept_at).saturating_sub(STEP);
    if late < STILL_MIN { Duration::ZERO } else { late }
}

/// How long the machine has stood still, in all, since this was first asked for: a virtual machine whose host gives its processors to
/// others is not slow, but stops.
fn stood_still() -> Duration {
    /// When the thread began to sleep, and how much too late it woke before, in all.
    static SLEEPER: OnceLock<Mutex<(Instant, Duration)>> = OnceLock::new();
    let sleeper = SLEEPER.get_or_init(|| {
        thread::spawn(|| {
            let sleeper = SLEEPER.wait();
            loop {
                thread::sleep(STEP);
                let (mut sleeper, now) = (sleeper.lock().expect("nothing panics"), Instant::now());
                *sleeper = (now, sleeper.1 + too_late(sleeper.0, now));
            }
        });
        Mutex::new((Instant::now(), Duration::ZERO))
    });
    let (slept_at, before) = *sleeper.lock().expect("nothing panics");
    // It may not have woken yet.
    before + too_late(slept_at, Instant::now())
}

/// Looks until there is something to see; fails the test after `limit`.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let watch = Stopwatch::start();
    loop {
        if let Some(seen) = probe() {
            return seen;
        }
        assert!(watch.ran() < limit, "waited {limit:?} in vain for: {what}");
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
