//! Disks that fail: one download is paused with its cause, the others continue, and it resumes automatically.

use super::*;
use crate::control::ExitCode;
use crate::id::FilesystemId;
use crate::node::contract::{PartSpec, RecordState};

/// Takes the part files ordered.
fn specs(rig: &mut Rig) -> Vec<(TransferId, PartSpec)> {
    rig.take(|order| match order {
        Action::OpenPart { download, spec, .. } => Some((*download, spec.clone())),
        _ => None,
    })
}

/// Answers the one part file ordered with a fault.
fn refuse_part(rig: &mut Rig, fault: DiskFault) {
    let [(download, _)] = opened(rig)[..] else { panic!("one part file") };
    rig.handle(Event::PartOpened { download, outcome: Err(fault) });
}

#[test]
fn a_disk_fault_pauses_a_download_in_any_state() {
    for (fault, code) in [
        (DiskFault::Full, ExitCode::DiskFull),
        (DiskFault::ReadOnly, ExitCode::FileIo),
        (DiskFault::Missing, ExitCode::FileIo),
        (DiskFault::Other(5), ExitCode::FileIo),
    ] {
        let paused = |rig: &mut Rig| {
            let row = row(rig, 1);
            assert_eq!((row.state, row.error.unwrap().code), (DownloadState::Paused, code as i32));
        };
        let mut rig = with_content(4 * MIB, 2);
        download(&mut rig, hits("1"));
        refuse_part(&mut rig, fault);
        paused(&mut rig);

        let mut rig = begun(4 * MIB, 2);
        let writing = fetches(&mut rig);
        aborted(&mut rig);
        rig.fail(writing[0].exchange, DialFault::Disk(fault));
        paused(&mut rig);
        assert_eq!(
            (aborted(&mut rig), closed(&mut rig)),
            (vec![writing[1].exchange], 1),
            "another source does not help"
        );

        let mut rig = begun(4 * MIB, 2);
        bring_everything(&mut rig);
        rig.orders.clear();
        rig.handle(Event::PartChecked { download: TransferId(1), outcome: Err(fault) });
        paused(&mut rig);

        let mut rig = begun(4 * MIB, 2);
        bring_everything(&mut rig);
        check(&mut rig, 4 * MIB);
        let download = committing(&mut rig);
        rig.handle(Event::PartCommitted { download, outcome: Err(fault) });
        paused(&mut rig);
        assert_eq!((dropped(&mut rig), forgotten(&mut rig).len()), (0, 0), "nothing is lost");

        let mut rig = with_content(MIB, 1);
        super::download(&mut rig, hits("1"));
        open(&mut rig);
        rig.handle(Event::PartFailed { download: TransferId(1), fault });
        paused(&mut rig);
    }
}

#[test]
fn a_download_resumes_automatically_when_there_is_room_again() {
    let mut rig = begun(4 * MIB, 1);
    let writing = fetch(&mut rig);
    rig.fail(writing.exchange, DialFault::Disk(DiskFault::Full));
    let told = row(&mut rig, 1).error.unwrap();
    assert!(told.message.contains("resumes automatically"), "{told}");
    let mut waits = Vec::new();
    for _ in 0..4 {
        let mut waited = 0;
        rig.orders.clear();
        while rig.orders.iter().all(|order| !matches!(order, Action::OpenPart { .. })) {
            rig.pass(Duration::from_secs(1));
            waited += 1;
        }
        waits.push(waited);
        assert_eq!(state(&mut rig, 1), DownloadState::Paused, "until it is known that it can go on");
        refuse_part(&mut rig, DiskFault::Full);
        assert_eq!(row(&mut rig, 1).error.unwrap().code, ExitCode::DiskFull as i32);
    }
    assert_eq!(waits, [15, 30, 60, 60]);
    rig.pass(Duration::from_secs(60));
    open_resumed(&mut rig, 4 * MIB, [3]);
    let row = row(&mut rig, 1);
    assert_eq!((row.state, row.error), (DownloadState::Active, None));
    bring_everything(&mut rig);
    check(&mut rig, 4 * MIB);
    commit(&mut rig, "/downloads/a.txt");
}

#[test]
fn retry_and_resume_try_a_download_paused_by_the_disk_at_once() {
    for order in [|ids| Request::Resume { ids }, |ids| Request::Retry { ids }] {
        let mut rig = with_content(4 * MIB, 1);
        download(&mut rig, hits("1"));
        refuse_part(&mut rig, DiskFault::ReadOnly);
        rig.call(order("1".to_string())).unwrap();
        rig.call(order("1".to_string())).unwrap();
        assert_eq!(state(&mut rig, 1), DownloadState::Paused);
        open(&mut rig);
        assert_eq!(state(&mut rig, 1), DownloadState::Active);
        assert_eq!(metadata(&mut rig).len(), 1);
    }
}

/// Gives orders for the first download.
fn give(rig: &mut Rig, orders: &[&str]) {
    for order in orders {
        let ids = "1".into();
        let request = match *order {
            "pause" => Request::Pause { ids },
            "cancel" => Request::Cancel { ids },
            "retry" => Request::Retry { ids },
            "resume" => Request::Resume { ids },
            other => panic!("{other}"),
        };
        rig.call(request).unwrap();
    }
}

/// A user who has made room, and says so, does not wait for the next attempt because the disk was asked just before.
#[test]
fn an_order_that_comes_while_the_disk_is_asked_has_it_asked_again() {
    for orders in [&["resume"][..], &["retry"], &["pause", "resume"]] {
        let mut rig = with_content(4 * MIB, 1);
        download(&mut rig, hits("1"));
        refuse_part(&mut rig, DiskFault::Full);
        give(&mut rig, &["resume"]);
        give(&mut rig, orders);
        refuse_part(&mut rig, DiskFault::Full);
        open(&mut rig);
        assert_eq!(state(&mut rig, 1), DownloadState::Active);
    }
    // Once more, however many orders came: the disk stays full.
    let mut rig = with_content(4 * MIB, 1);
    download(&mut rig, hits("1"));
    refuse_part(&mut rig, DiskFault::Full);
    give(&mut rig, &["resume", "resume", "resume"]);
    (0..2).for_each(|_| refuse_part(&mut rig, DiskFault::Full));
    assert!(opened(&mut rig).is_empty());
    assert_eq!(row(&mut rig, 1).error.unwrap().code, ExitCode::DiskFull as i32);
}

#[test]
fn an_order_that_came_before_the_disk_was_asked_is_not_carried_out_after_its_fault() {
    let mut rig = begun(4 * MIB, 1);
    bring_everything(&mut rig);
    give(&mut rig, &["resume"]);
    check(&mut rig, 4 * MIB);
    let download = committing(&mut rig);
    rig.handle(Event::PartCommitted { download, outcome: Err(DiskFault::Full) });
    assert!(opened(&mut rig).is_empty(), "the next attempt is made when it is due");
}

/// A download that is about to get its final name is not stopped; if it does not get it, the order is carried out.
#[test]
fn an_order_that_comes_during_the_commit_is_carried_out_if_that_fails() {
    let finish_again = |rig: &mut Rig| {
        open_resumed(rig, 4 * MIB, [0, 1, 2, 3]);
        check(rig, 4 * MIB);
        commit(rig, "/downloads/a.txt");
    };
    for (orders, after_full, after_exists) in [
        (&["pause"][..], DownloadState::Paused, DownloadState::Paused),
        (&["cancel"], DownloadState::Cancelled, DownloadState::Cancelled),
        (&["cancel", "pause", "resume", "retry"], DownloadState::Cancelled, DownloadState::Cancelled),
        (&["pause", "retry"], DownloadState::Paused, DownloadState::Paused),
        (&["retry"], DownloadState::Active, DownloadState::Failed),
        (&["pause", "resume"], DownloadState::Active, DownloadState::Failed),
    ] {
        for (fault, then) in [(DiskFault::Full, after_full), (DiskFault::Exists, after_exists)] {
            let mut rig = begun(4 * MIB, 1);
            bring_everything(&mut rig);
            check(&mut rig, 4 * MIB);
            let download = committing(&mut rig);
            give(&mut rig, orders);
            assert_eq!(state(&mut rig, 1), DownloadState::Verifying);
            rig.orders.clear();
            rig.handle(Event::PartCommitted { download, outcome: Err(fault) });
            if then == DownloadState::Active {
                finish_again(&mut rig);
                continue;
            }
            assert_eq!(state(&mut rig, 1), then, "{orders:?}, {fault:?}");
            let error = row(&mut rig, 1).error;
            assert_eq!(error.is_some(), then == DownloadState::Failed, "an order is no error: {error:?}");
            rig.pass(Duration::from_secs(120));
            assert!(opened(&mut rig).is_empty(), "{orders:?}: it stays so");
        }
    }
}

#[test]
fn the_user_may_pause_or_cancel_a_download_paused_by_the_disk() {
    let mut rig = with_content(4 * MIB, 1);
    download(&mut rig, hits("1"));
    refuse_part(&mut rig, DiskFault::Denied);
    order(&mut rig, Request::Pause { ids: "1".into() });
    assert_eq!(row(&mut rig, 1).error, None);
    rig.pass(Duration::from_secs(600));
    assert!(opened(&mut rig).is_empty(), "the disk is not tried for a download that the user has stopped");
    order(&mut rig, Request::Cancel { ids: "1".into() });
    assert_eq!((dropped(&mut rig), forgotten(&mut rig).len()), (1, 1));
}

#[test]
fn a_download_paused_by_the_disk_gives_its_place_to_others() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), max_downloads: 1, ..config() });
    download(&mut rig, vec![file(peer(1), "a"), file(peer(1), "b")]);
    refuse_part(&mut rig, DiskFault::Full);
    assert_eq!(opened(&mut rig)[0].0, TransferId(2));
    rig.handle(Event::PartOpened { download: TransferId(2), outcome: ready("/downloads/b") });
    let other = fetch(&mut rig);
    // The disk has room again, but all places are taken.
    rig.pass(Duration::from_secs(15));
    open(&mut rig);
    assert_eq!((state(&mut rig, 1), closed(&mut rig)), (DownloadState::Queued, 1));
    assert_eq!(row(&mut rig, 1).error, None, "the disk takes it");
    send(&mut rig, &other, 5);
    check(&mut rig, 5);
    commit(&mut rig, "/downloads/b");
    assert_eq!(opened(&mut rig)[0].0, TransferId(1));
}

#[test]
fn a_download_whose_file_is_there_is_done_though_all_places_are_taken() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), max_downloads: 1, ..config() });
    download(&mut rig, vec![file(peer(1), "a"), file(peer(1), "b")]);
    refuse_part(&mut rig, DiskFault::NotMounted);
    rig.handle(Event::PartOpened { download: TransferId(2), outcome: ready("/downloads/b") });
    rig.call(Request::Resume { ids: "1".into() }).unwrap();
    let there = OpenedPart::AlreadyThere { path: "/downloads/a".into() };
    rig.handle(Event::PartOpened { download: TransferId(1), outcome: Ok(there) });
    let row = row(&mut rig, 1);
    assert_eq!((row.state, row.error), (DownloadState::Done, None));
}

#[test]
fn a_taken_final_name_fails_a_download_and_verified_groups_are_kept() {
    let mut rig = begun(2 * MIB, 1);
    bring_everything(&mut rig);
    check(&mut rig, 2 * MIB);
    let id = committing(&mut rig);
    rig.orders.clear();
    rig.handle(Event::PartCommitted { download: id, outcome: Err(DiskFault::Exists) });
    let failed = row(&mut rig, 1);
    assert_eq!((failed.state, failed.error.unwrap().code), (DownloadState::Failed, ExitCode::Exists as i32));
    assert!(failed.verified, "it was checked, and has no place");
    assert_eq!((dropped(&mut rig), forgotten(&mut rig).len()), (0, 0));
    assert_eq!(remembered(&mut rig)[0].state, RecordState::Failed { keeps_part: true });
    // The user has moved the other file away.
    order(&mut rig, Request::Retry { ids: "1".into() });
    open_resumed(&mut rig, 2 * MIB, [0, 1]);
    check(&mut rig, 2 * MIB);
    commit(&mut rig, "/downloads/a.txt");
    assert_eq!(state(&mut rig, 1), DownloadState::Done);

    // A download that has not begun has nothing to keep; a cancel removes what is kept.
    let mut rig = with_content(2 * MIB, 1);
    download(&mut rig, hits("1"));
    refuse_part(&mut rig, DiskFault::Exists);
    assert_eq!((state(&mut rig, 1), forgotten(&mut rig).len()), (DownloadState::Failed, 0));
    assert_eq!(remembered(&mut rig).pop().unwrap().state, RecordState::Failed { keeps_part: false });
    let mut rig = begun(2 * MIB, 1);
    bring_everything(&mut rig);
    check(&mut rig, 2 * MIB);
    let id = committing(&mut rig);
    rig.handle(Event::PartCommitted { download: id, outcome: Err(DiskFault::Exists) });
    order(&mut rig, Request::Cancel { ids: "1".into() });
    assert_eq!((state(&mut rig, 1), dropped(&mut rig)), (DownloadState::Cancelled, 1));
}

#[test]
fn without_a_free_descriptor_a_download_tries_again_soon() {
    let mut rig = with_content(4 * MIB, 1);
    download(&mut rig, hits("1"));
    refuse_part(&mut rig, DiskFault::NoDescriptor);
    let waiting = row(&mut rig, 1);
    assert_eq!(waiting.state, DownloadState::Retrying);
    rig.pass(Duration::from_secs(waiting.retry_in_s.unwrap()));
    open(&mut rig);
    assert_eq!(metadata(&mut rig).len(), 1);
}

/// A forged hit may claim any size: if others claim another one, nothing is allocated until the size is proved.
#[test]
fn a_size_that_nobody_else_claims_does_not_fill_the_disk() {
    let mut rig = with_content(u64::MAX, 1);
    download(&mut rig, hits("1"));
    found(&mut rig, 2, &of_content("a.txt", 4 * MIB, B3));
    hear_of(&mut rig, 2);
    refuse_part(&mut rig, DiskFault::Full);
    open(&mut rig);
    outline(&mut rig, 4 * MIB);
    bring_everything(&mut rig);
    check(&mut rig, 4 * MIB);
    commit(&mut rig, "/downloads/a.txt");
    assert_eq!((row(&mut rig, 1).state, row(&mut rig, 1).size), (DownloadState::Done, Some(4 * MIB)));
}

#[test]
fn a_part_file_is_remembered_with_its_filesystem_and_not_begun_on_another() {
    let filesystem = Some(FilesystemId { kind: 0xef53, number: 7 });
    let mut rig = with_content(4 * MIB, 1);
    download(&mut rig, hits("1"));
    let (id, spec) = specs(&mut rig).remove(0);
    assert_eq!(spec.filesystem, None);
    remembered(&mut rig);
    let part = OpenedPart::Ready { path: "/downloads/a.txt".into(), resumed: None, filesystem };
    rig.handle(Event::PartOpened { download: id, outcome: Ok(part) });
    assert_eq!(remembered(&mut rig)[0].spec.filesystem, filesystem);
    rig.handle(Event::PartFailed { download: id, fault: DiskFault::Other(5) });
    rig.pass(Duration::from_secs(15));
    let (id, spec) = specs(&mut rig).remove(0);
    assert_eq!(spec.filesystem, filesystem);
    rig.handle(Event::PartOpened { download: id, outcome: Err(DiskFault::NotMounted) });
    let row = row(&mut rig, 1);
    let message = row.error.unwrap().message;
    assert_eq!(row.state, DownloadState::Paused);
    assert!(message.contains("not mounted") && message.contains("when it is there"), "{message}");
    // It waits for its filesystem, unless the user orders a new start.
    rig.pass(Duration::from_secs(30));
    assert_eq!(specs(&mut rig).remove(0).1.filesystem, filesystem);
    rig.handle(Event::PartOpened { download: id, outcome: Err(DiskFault::EmptyMountPoint) });
    order(&mut rig, Request::Resume { ids: "1".into() });
    assert_eq!(specs(&mut rig).remove(0).1.filesystem, filesystem, "not where nothing seems to be mounted");
    rig.handle(Event::PartOpened { download: id, outcome: Err(DiskFault::NotMounted) });
    order(&mut rig, Request::Resume { ids: "1".into() });
    assert_eq!(specs(&mut rig).remove(0).1.filesystem, None);
}
