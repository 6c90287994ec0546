mod hanging;

use super::super::state_content::StateContent;
use super::super::walk::OfScan;
use super::*;
use crate::fault::DiskFault;
use crate::id::ExchangeId;
use mio::{Events, Poll, Token};
use std::sync::{Mutex, mpsc};
use std::thread;

struct Loop {
    poll: Poll,
    jobs: Jobs,
}

impl Loop {
    fn new() -> Self {
        let poll = Poll::new().unwrap();
        let jobs =
            Jobs::start(&Arc::new(Waker::new(poll.registry(), Token(0)).unwrap()), Clock::start(), (1, 8)).unwrap();
        Self { poll, jobs }
    }

    fn wait(&mut self) -> Done {
        let mut events = Events::with_capacity(4);
        loop {
            if let Some(done) = self.jobs.poll() {
                return done;
            }
            self.poll.poll(&mut events, None).unwrap();
        }
    }

    /// Takes all results until no job runs, or those that run hang. Returns how many there were.
    fn wait_until_idle(&mut self) -> usize {
        let mut results = 0;
        while self.jobs.running.values().any(|job| !job.is_overdue && job.since + ANSWER_MAX > self.jobs.clock().fine())
        {
            results += usize::from(self.jobs.poll().is_some());
            thread::yield_now();
        }
        results
    }

    /// Submits a job that writes a state file; its bytes identify it in the result.
    fn write(&mut self, lane: Lane, file: &'static str, bytes: &'static [u8], work: impl FnOnce() + Send + 'static) {
        let done = move |outcome| Done::Written(file, Arc::new(StateContent::Text(bytes.into())), outcome);
        let work = move || {
            work();
            Ok(())
        };
        self.jobs.submit((lane, Key::File(file)), done, Err(DiskFault::Other(0)), work);
    }
}

/// Submits a job for a share, named by its result.
fn submit(
    jobs: &mut Jobs,
    (lane, key): (Lane, Key),
    share: &str,
    name: &'static str,
    work: impl FnOnce() + Send + 'static,
) {
    let done =
        move |outcome: Result<(), DiskFault>| Done::Written(name, Arc::new(StateContent::Text(Vec::new())), outcome);
    jobs.submit_on(Some(&Path::new(share).into()), (lane, key), done, Err(DiskFault::NoAnswer), || {
        work();
        Ok(())
    });
}

fn ended(rig: &mut Loop) -> (&'static str, Result<(), DiskFault>) {
    let Done::Written(name, _, outcome) = rig.wait() else { panic!("it was submitted") };
    (name, outcome)
}

/// Waits until all that run are overdue: on a busy machine they did not begin at the same time.
fn until_overdue(rig: &mut Loop) {
    let hanging = rig.jobs.running.values().filter(|job| job.lane.replaces_hung() && !job.is_overdue);
    let last = hanging.map(|job| job.since).max().unwrap();
    let wait = (last + ANSWER_MAX).saturating_sub(rig.jobs.clock().fine());
    thread::sleep(wait + Duration::from_millis(2));
    rig.jobs.give_up_overdue();
}

#[test]
fn a_lookup_wakes_the_loop() {
    let mut rig = Loop::new();
    let host = BootstrapAddr { host: "localhost".into(), port: 1 };
    let (asked, looked_up) = (host.clone(), host.clone());
    let done = move |outcome| Done::Resolved(asked.clone(), outcome);
    let lost = Err(ResolveFault::Lost);
    rig.jobs
        .submit((Lane::Names, Key::Host(host.clone())), done, lost, move || resolve(&looked_up, &Interface::default()));
    let Done::Resolved(asked, Ok(addresses)) = rig.wait() else { panic!("localhost was not found") };
    assert_eq!(asked, host);
    assert!(addresses.iter().all(IpAddr::is_loopback));
}

#[test]
fn one_job_of_a_key_runs_at_a_time_and_the_newest_waiting_one_next() {
    let mut rig = Loop::new();
    let (go, waits) = mpsc::channel();
    rig.write(Lane::State, "peers", b"1", move || waits.recv().unwrap());
    rig.write(Lane::State, "peers", b"2", || unreachable!("a newer one replaces it"));
    rig.write(Lane::Sync, "places", b"3", || {});
    rig.write(Lane::State, "peers", b"4", || {});
    let mut written = Vec::new();
    for _ in 0..3 {
        let Done::Written(_, content, Ok(())) = rig.wait() else { panic!("it was written") };
        written.extend_from_slice(&content.encoded());
        if written.ends_with(b"3") {
            go.send(()).unwrap();
        }
    }
    assert_eq!(written, *b"314");
    assert!(!rig.jobs.is_syncing() && rig.jobs.poll().is_none());
    assert_eq!(rig.jobs.waits().reply().count, 3, "of those that ran");
}

/// A directory of downloads that hangs holds up no other, and its own part files are written in order.
#[test]
fn each_device_with_part_files_has_one_worker_of_a_lane() {
    let mut rig = Loop::new();
    for (download, directory) in [(1, "/hangs"), (2, "/hangs"), (3, "/works")] {
        rig.jobs.set_device(TransferId(download), Some(Device::Directory(Path::new(directory).into())));
    }
    let (go, waits) = mpsc::channel::<()>();
    let mut write = |download, number, work: Box<dyn FnOnce() + Send>| {
        let done = move |()| Done::PartClosed(TransferId(10 * download + number as u32));
        rig.jobs.submit((Lane::Parts, Key::Write(TransferId(download), number)), done, (), work);
    };
    write(1, 1, Box::new(move || waits.recv().unwrap()));
    write(1, 2, Box::new(|| {}));
    write(2, 1, Box::new(|| {}));
    write(3, 1, Box::new(|| {}));
    write(3, 2, Box::new(|| {}));
    let mut ended = Vec::new();
    for _ in 0..5 {
        let Done::PartClosed(TransferId(which)) = rig.wait() else { panic!("it was submitted") };
        ended.push(which);
        if which == 32 {
            go.send(()).unwrap();
        }
    }
    assert_eq!(ended, [31, 32, 11, 12, 21]);
}

/// Shares that hang hold up no other, as long as there is a worker for each.
#[test]
fn each_share_has_one_worker_and_further_ones_come_with_further_shares() {
    let mut rig = Loop::new();
    let (go, waits) = mpsc::channel::<()>();
    let waits = Arc::new(Mutex::new(waits));
    let mut submitted = 0;
    let mut read = |jobs: &mut Jobs, share: &str, hangs: bool| {
        submitted += 1;
        let (share, waits, which) = (Path::new(share).into(), hangs.then(|| Arc::clone(&waits)), submitted);
        let done = move |()| Done::PartClosed(TransferId(which));
        let place = (Lane::Share, Key::ReadShared(ExchangeId::Inbound(which.into())));
        jobs.submit_on(Some(&share), place, done, (), move || {
            waits.into_iter().for_each(|waits| waits.lock().unwrap().recv().unwrap());
        });
    };
    let ended = |rig: &mut Loop| {
        let Done::PartClosed(TransferId(which)) = rig.wait() else { panic!("it was submitted") };
        which
    };
    rig.jobs.hire_for_shares(3).unwrap();
    read(&mut rig.jobs, "/hangs", true);
    read(&mut rig.jobs, "/hangs", false);
    read(&mut rig.jobs, "/hangs too", true);
    read(&mut rig.jobs, "/works", false);
    assert_eq!(ended(&mut rig), 4);
    rig.jobs.hire_for_shares(1).unwrap();
    assert_eq!(rig.jobs.workers[&Lane::Share].count, 3, "both that run may be of shares that were replaced");
    rig.jobs.hire_for_shares(usize::MAX / 2).unwrap();
    assert_eq!(rig.jobs.workers[&Lane::Share].count, SHARE_WORKERS_MAX);
    go.send(()).unwrap();
    go.send(()).unwrap();
    let mut rest = [ended(&mut rig), ended(&mut rig), ended(&mut rig)];
    rest.sort_unstable();
    assert_eq!(rest, [1, 2, 3]);
}

/// Tells in which thread it is dropped.
struct Told(mpsc::Sender<thread::ThreadId>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send(thread::current().id());
    }
}

#[test]
fn what_nobody_wants_is_dropped_by_a_worker() {
    let mut rig = Loop::new();
    let (told, dropped) = mpsc::channel();
    let share = Path::new("/share").into();
    rig.jobs.drop_beside(&share, Told(told.clone()));
    assert_ne!(dropped.recv().unwrap(), thread::current().id());
    while !rig.jobs.running.is_empty() {
        assert!(rig.jobs.poll().is_none(), "nobody hears of it");
    }
    let (go, waits) = mpsc::channel::<()>();
    submit(&mut rig.jobs, (Lane::Scan, Key::Scan(Arc::clone(&share))), "/share", "hangs", move || {
        waits.recv().unwrap()
    });
    rig.jobs.drop_beside(&share, Told(told));
    rig.jobs.end();
    assert!(dropped.try_recv().is_err(), "nor does the last turn wait for it");
    go.send(()).unwrap();
}

/// A walk of a share has open directories.
#[test]
fn the_late_result_of_a_job_that_was_given_up_is_dropped_by_a_worker() {
    let mut rig = Loop::new();
    let (go, waits) = mpsc::channel::<()>();
    let key = (Lane::Scan, Key::Scan(Path::new("/hangs").into()));
    submit(&mut rig.jobs, key, "/hangs", "hangs", move || waits.recv().unwrap());
    until_overdue(&mut rig);
    assert_eq!(ended(&mut rig), ("hangs", Err(DiskFault::NoAnswer)));
    go.send(()).unwrap();
    while !rig.jobs.running.is_empty() {
        assert!(rig.jobs.poll().is_none());
    }
    assert_eq!(rig.jobs.dropped, 1);
}

#[test]
fn jobs_of_a_lane_run_in_order_of_submission_whatever_they_wait_for() {
    let mut rig = Loop::new();
    let (go, waits) = mpsc::channel::<()>();
    let key = |number| (Lane::Share, Key::ReadShared(ExchangeId::Inbound(number)));
    submit(&mut rig.jobs, key(0), "/b", "first", move || waits.recv().unwrap());
    for (number, share) in [(1, "/c"), (2, "/a"), (3, "/b"), (4, "/a")] {
        let name = ["", "1", "2", "3", "4"][number as usize];
        submit(&mut rig.jobs, key(number), share, name, || {});
    }
    go.send(()).unwrap();
    let names: Vec<_> = (0..5).map(|_| ended(&mut rig).0).collect();
    assert_eq!(names, ["first", "1", "2", "3", "4"]);
}

#[test]
fn a_job_that_panics_is_reported_as_lost_and_the_next_one_runs() {
    let mut rig = Loop::new();
    rig.write(Lane::State, "peers", b"1", || panic!("on purpose"));
    rig.write(Lane::State, "peers", b"2", || {});
    assert!(matches!(rig.wait(), Done::Written(_, content, Err(DiskFault::Other(0))) if *content.encoded() == *b"1"));
    assert!(matches!(rig.wait(), Done::Written(_, content, Ok(())) if *content.encoded() == *b"2"));
    assert!(!rig.jobs.is_syncing());
}

/// A log that is rotated is opened again by a reload.
#[test]
fn a_reload_waits_for_no_name_server() {
    let mut rig = Loop::new();
    let (go, waits) = mpsc::channel::<()>();
    let waits = Arc::new(Mutex::new(waits));
    for host in ["one.invalid", "another.invalid"] {
        let (host, waits) = (BootstrapAddr { host: host.into(), port: 1 }, Arc::clone(&waits));
        let done = |()| Done::HashesClosed;
        rig.jobs.submit((Lane::Names, Key::Host(host)), done, (), move || waits.lock().unwrap().recv().unwrap());
    }
    rig.jobs.submit((Lane::Reload, Key::Configuration(1)), |()| Done::ConfigurationRead, (), || {});
    assert!(matches!(rig.wait(), Done::ConfigurationRead));
    (0..2).for_each(|_| go.send(()).unwrap());
    assert!(matches!((rig.wait(), rig.wait()), (Done::HashesClosed, Done::HashesClosed)));
}
