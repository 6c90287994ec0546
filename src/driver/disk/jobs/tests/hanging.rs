//! Jobs that hang, and all that goes on meanwhile.

use super::*;
use crate::aligned::Aligned;
use crate::driver::shared_files::{Left, LeftFiles, OpenedId, Reader, Reads};
use crate::name::FileName;
use crate::store::ShareRoot;

/// What goes on without a job that hangs goes on without those that wait for it as well.
#[test]
fn a_job_that_hangs_is_given_up_with_those_that_wait_for_the_same_share_until_it_ends() {
    let mut rig = Loop::new();
    rig.jobs.hire_for_shares(2).unwrap();
    let (go, waits) = mpsc::channel::<()>();
    let scan = |jobs: &mut Jobs, share: &str, key: fn(Arc<Path>) -> Key, name, work: Box<dyn FnOnce() + Send>| {
        let share = Path::new(share).into();
        let done = move |outcome: Result<(), DiskFault>| {
            Done::Written(name, Arc::new(StateContent::Text(Vec::new())), outcome)
        };
        let place = (Lane::Scan, key(Arc::clone(&share)));
        jobs.submit_on(Some(&share), place, done, Err(DiskFault::NoAnswer), || {
            work();
            Ok(())
        });
    };
    assert!(rig.jobs.next_deadline().is_none());
    scan(&mut rig.jobs, "/hangs", Key::Scan, "hangs", Box::new(move || waits.recv().unwrap()));
    scan(&mut rig.jobs, "/hangs", Key::Hash, "waits", Box::new(|| unreachable!("it was given up")));
    scan(&mut rig.jobs, "/works", Key::Scan, "works", Box::new(|| {}));
    assert_eq!(ended(&mut rig), ("works", Ok(())));
    rig.jobs.give_up_overdue();
    assert!(rig.jobs.poll().is_none(), "it may be slow");
    until_overdue(&mut rig);
    assert!(rig.jobs.next_deadline().is_none());
    assert_eq!(ended(&mut rig), ("hangs", Err(DiskFault::NoAnswer)));
    assert_eq!(ended(&mut rig), ("waits", Err(DiskFault::NoAnswer)));
    scan(&mut rig.jobs, "/hangs", Key::Hash, "late", Box::new(|| unreachable!("it was given up")));
    assert_eq!(ended(&mut rig), ("late", Err(DiskFault::NoAnswer)));
    scan(&mut rig.jobs, "/works", Key::Hash, "works", Box::new(|| {}));
    assert_eq!(ended(&mut rig), ("works", Ok(())));
    go.send(()).unwrap();
    while rig.jobs.running.values().count() > 0 {
        assert!(rig.jobs.poll().is_none(), "its real result is dropped");
    }
    scan(&mut rig.jobs, "/hangs", Key::Scan, "answers", Box::new(|| {}));
    assert_eq!(ended(&mut rig), ("answers", Ok(())));
}

#[test]
fn what_jobs_hold_that_hang_is_counted_until_it_is_closed() {
    let mut rig = Loop::new();
    rig.jobs.hire_for_shares(2).unwrap();
    let (go, waits) = mpsc::channel::<()>();
    let share: Arc<Path> = Path::new("/hangs").into();
    let walk = |jobs: &mut Jobs, share: &Arc<Path>, work: Box<dyn FnOnce() + Send>| {
        let done = |walk| Done::ScanStepped(OfScan { number: 1, share: 0 }, walk);
        let place = (Lane::Scan, Key::Scan(Arc::clone(share)));
        jobs.submit_on(Some(share), place, done, Err(DiskFault::Internal), || {
            work();
            Err(DiskFault::Missing)
        });
    };
    walk(&mut rig.jobs, &share, Box::new(move || waits.recv().unwrap()));
    rig.jobs.drop_beside(&share, ());
    assert_eq!(rig.jobs.descriptors_of_hung(), 0, "that is in the reserve");
    until_overdue(&mut rig);
    assert!(matches!(rig.wait(), Done::ScanStepped(_, Err(DiskFault::NoAnswer))));
    assert_eq!(rig.jobs.descriptors_of_hung(), 3 + 3, "what is to be dropped waits for it");
    walk(&mut rig.jobs, &Path::new("/works").into(), Box::new(|| {}));
    assert!(matches!(rig.wait(), Done::ScanStepped(_, Err(DiskFault::Missing))));
    assert_eq!(rig.jobs.descriptors_of_hung(), 3 + 3);
    go.send(()).unwrap();
    while !rig.jobs.running.is_empty() {
        assert!(rig.jobs.poll().is_none());
    }
    assert_eq!(rig.jobs.descriptors_of_hung(), 0);
}

/// Those that opened or read files for peers would take the places of others.
#[test]
fn what_is_opened_and_read_for_peers_is_given_up_and_the_end_of_a_read_is_heard_of() {
    let mut rig = Loop::new();
    let (go, waits) = mpsc::channel::<()>();
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("a"), "a").unwrap();
    let name = FileName::from_bytes(b"a").unwrap();
    let file = Arc::new(ShareRoot::open(scratch.path()).unwrap().open_file(&name).unwrap());
    let used = |number| Left { file: OpenedId(number), exchange: ExchangeId::Inbound(number) };
    let share: Arc<Path> = Path::new("/hangs").into();
    let read = |jobs: &mut Jobs, number, work: Box<dyn FnOnce() + Send>| {
        let (reader, mut reads) = (Reader::new(&file, used(number), &LeftFiles::default()), Reads::default());
        let ordered = reads.order(&reader, 0, 1, Default::default());
        let done = move |outcome| Done::SharedRead(used(number), ordered, outcome);
        let place = (Lane::Share, Key::ReadShared(ExchangeId::Inbound(number)));
        jobs.submit_on(Some(&share), place, done, Err(DiskFault::Internal), || {
            work();
            Ok(Aligned::zeroed(1))
        });
    };
    let given_up = |rig: &mut Loop| match rig.wait() {
        Done::SharedRead(used, _, Err(DiskFault::NoAnswer)) => used.file.0,
        Done::SharedOpened(_, Err(DiskFault::NoAnswer)) => 0,
        _ => panic!("it was given up"),
    };
    read(&mut rig.jobs, 1, Box::new(move || waits.recv().unwrap()));
    read(&mut rig.jobs, 2, Box::new(|| unreachable!("it was given up")));
    let (opened, place) = (name.clone(), (Lane::Share, Key::OpenShared(name)));
    let done = move |outcome| Done::SharedOpened(opened.clone(), outcome);
    rig.jobs.submit_on(Some(&share), place, done, Err(DiskFault::Internal), || unreachable!("it was given up"));
    until_overdue(&mut rig);
    assert_eq!([given_up(&mut rig), given_up(&mut rig), given_up(&mut rig)], [1, 2, 0]);
    let waits = rig.jobs.waits().reply();
    assert_eq!(waits.count, 3, "they have waited");
    assert!(waits.max_us >= ANSWER_MAX.as_micros() as u64 / 2, "{waits:?}");
    read(&mut rig.jobs, 3, Box::new(|| unreachable!("it is given up at once")));
    assert_eq!(given_up(&mut rig), 3);
    assert!(rig.jobs.next_deadline().is_none() && rig.jobs.poll().is_none());
    go.send(()).unwrap();
    assert!(matches!(rig.wait(), Done::SharedLeft(left) if left == used(1)), "the job has the file until then");
    assert_eq!(rig.jobs.waits().reply().count, 4, "each is counted once");
    read(&mut rig.jobs, 4, Box::new(|| {}));
    assert!(matches!(rig.wait(), Done::SharedRead(left, _, Ok(_)) if left == used(4)));
}

/// It may hold an open file, and closing that may wait for the disk.
#[test]
fn a_job_that_waits_with_open_files_and_is_given_up_is_dropped_by_a_worker() {
    let mut rig = Loop::new();
    let (go, waits) = mpsc::channel::<()>();
    let (told, dropped) = mpsc::channel();
    let share: Arc<Path> = Path::new("/hangs").into();
    submit(&mut rig.jobs, (Lane::Scan, Key::Scan(Arc::clone(&share))), "/hangs", "scan", move || waits.recv().unwrap());
    let held = Told(told);
    submit(&mut rig.jobs, (Lane::Scan, Key::Hash(share)), "/hangs", "hash", move || drop(held));
    until_overdue(&mut rig);
    assert_eq!([ended(&mut rig).0, ended(&mut rig).0], ["scan", "hash"]);
    assert!(dropped.try_recv().is_err());
    go.send(()).unwrap();
    while !rig.jobs.running.is_empty() {
        assert!(rig.jobs.poll().is_none());
    }
    assert_ne!(dropped.recv().unwrap(), thread::current().id());
}

#[test]
fn more_shares_may_hang_than_there_are_workers() {
    const HANGING: usize = SHARE_WORKERS_MAX + 1;
    let mut rig = Loop::new();
    rig.jobs.hire_for_shares(HANGING + 1).unwrap();
    let (go, waits) = mpsc::channel::<()>();
    let waits = Arc::new(Mutex::new(waits));
    for lane in [Lane::Share, Lane::Scan] {
        for share in 0..HANGING {
            let waits = Arc::clone(&waits);
            let path = format!("/{share}");
            let key = Key::Scan(Path::new(&format!("{lane:?} {share}")).into());
            submit(&mut rig.jobs, (lane, key), &path, "hangs", move || waits.lock().unwrap().recv().unwrap());
        }
        let key = Key::Scan(Path::new(&format!("{lane:?} works")).into());
        submit(&mut rig.jobs, (lane, key), "/works", "works", || {});
    }
    assert!(rig.jobs.poll().is_none(), "all workers hang");
    until_overdue(&mut rig);
    let mut all: Vec<_> = (0..2 * SHARE_WORKERS_MAX + 2).map(|_| ended(&mut rig)).collect();
    all.sort_by_key(|(name, _)| *name);
    assert!(all[2 * SHARE_WORKERS_MAX..].iter().all(|row| *row == ("works", Ok(()))), "{all:?}");
    (0..2 * HANGING).for_each(|_| go.send(()).unwrap());
    assert_eq!([ended(&mut rig), ended(&mut rig)], [("hangs", Ok(())); 2], "those that had waited");
}

/// Two workers of a lane write to part files.
#[test]
fn filesystems_with_part_files_that_hang_hold_up_no_other() {
    let mut rig = Loop::new();
    let (go, waits) = mpsc::channel::<()>();
    let waits = Arc::new(Mutex::new(waits));
    let hanging = ["/hangs", "/hangs too", "/hangs as well"];
    for (download, directory) in (1..).zip(hanging.into_iter().chain(["/works"])) {
        rig.jobs.set_device(TransferId(download), Some(Device::Directory(Path::new(directory).into())));
    }
    let lanes = [Lane::Parts, Lane::Open, Lane::Sync];
    for (at, lane) in (0..).zip(lanes) {
        for download in 1..=4 {
            let done = move |()| Done::PartClosed(TransferId(download));
            let waits = (download != 4).then(|| Arc::clone(&waits));
            let work = move || waits.into_iter().for_each(|waits| waits.lock().unwrap().recv().unwrap());
            rig.jobs.submit((lane, Key::Write(TransferId(download), at)), done, (), work);
        }
    }
    let mut works = 0;
    while works < lanes.len() {
        assert!(rig.jobs.next_deadline().is_some(), "there is a thread for each filesystem by then");
        until_overdue(&mut rig);
        works += rig.wait_until_idle();
    }
    hanging.iter().flat_map(|_| lanes).for_each(|_| go.send(()).unwrap());
    let mut ended = 0;
    while ended < lanes.len() * hanging.len() {
        ended += usize::from(matches!(rig.wait(), Done::PartClosed(_)));
    }
    assert!(!rig.jobs.is_syncing(), "none was given up");
}

/// The first reload waits for the disk of its configuration.
#[test]
fn a_reload_that_hangs_is_given_up_and_the_next_one_runs() {
    let mut rig = Loop::new();
    let (go, waits) = mpsc::channel::<()>();
    let mut reload = |number, work: Box<dyn FnOnce() + Send>| {
        rig.jobs.submit((Lane::Reload, Key::Configuration(number)), |()| Done::ConfigurationRead, (), work);
    };
    reload(1, Box::new(move || waits.recv().unwrap()));
    until_overdue(&mut rig);
    assert!(matches!(rig.wait(), Done::ConfigurationRead));
    let (ran, runs) = mpsc::channel();
    rig.jobs.submit(
        (Lane::Reload, Key::Configuration(2)),
        |()| Done::ConfigurationRead,
        (),
        move || ran.send(()).unwrap(),
    );
    assert!(matches!(rig.wait(), Done::ConfigurationRead));
    runs.try_recv().unwrap();
    go.send(()).unwrap();
    while !rig.jobs.running.is_empty() {
        assert!(rig.jobs.poll().is_none(), "its real result is dropped");
    }
}

/// More hang than there may be threads.
#[test]
fn a_reload_is_given_up_at_once_while_all_threads_hang() {
    let mut rig = Loop::new();
    let (go, waits) = mpsc::channel::<()>();
    let waits = Arc::new(Mutex::new(waits));
    let reload = |jobs: &mut Jobs, number: u64| {
        let waits = Arc::clone(&waits);
        let work = move || waits.lock().unwrap().recv().unwrap();
        jobs.submit((Lane::Reload, Key::Configuration(number)), |()| Done::ConfigurationRead, (), work);
    };
    rig.jobs.hire(Lane::Reload, THREADS_MAX).unwrap();
    (0..THREADS_MAX as u64).for_each(|number| reload(&mut rig.jobs, number));
    while rig.jobs.next_deadline().is_some() {
        until_overdue(&mut rig);
    }
    (0..THREADS_MAX).for_each(|_| assert!(matches!(rig.jobs.poll(), Some(Done::ConfigurationRead))));
    reload(&mut rig.jobs, u64::MAX);
    assert!(matches!(rig.jobs.poll(), Some(Done::ConfigurationRead)), "there is no thread for it");
    (0..THREADS_MAX).for_each(|_| go.send(()).unwrap());
}

#[test]
fn a_job_that_panics_has_another_fault_than_one_that_hangs() {
    let mut rig = Loop::new();
    rig.jobs.hire_for_shares(2).unwrap();
    let (go, waits) = mpsc::channel::<()>();
    let mut scan = |share: &str, number, work: Box<dyn FnOnce() + Send>| {
        let share = Path::new(share).into();
        let done = move |walk| Done::ScanStepped(OfScan { number, share: 0 }, walk);
        let place = (Lane::Scan, Key::Scan(Arc::clone(&share)));
        rig.jobs.submit_on(Some(&share), place, done, Err(DiskFault::Internal), || {
            work();
            Err(DiskFault::Missing)
        });
    };
    scan("/panics", 1, Box::new(|| panic!("on purpose")));
    scan("/hangs", 2, Box::new(move || waits.recv().unwrap()));
    let failed =
        |done| if let Done::ScanStepped(of, Err(fault)) = done { (of.number, fault) } else { panic!("it failed") };
    assert_eq!(failed(rig.wait()), (1, DiskFault::Internal));
    until_overdue(&mut rig);
    assert_eq!(failed(rig.wait()), (2, DiskFault::NoAnswer));
    go.send(()).unwrap();
}
