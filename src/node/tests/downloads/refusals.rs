//! What the reasons of refusals lead to.

use super::*;
use crate::control::ExitCode;
use crate::fault::RefusalReason;

/// A download by name of a peer that speaks `p1`, which was asked for the metadata.
fn asked_for(typed: &str) -> (Rig, ExchangeId) {
    let mut rig = with_hit(Some(5), 1);
    download(&mut rig, vec![file(peer(1), typed)]);
    open(&mut rig);
    let asked = metadata(&mut rig);
    let [(exchange, _, None)] = asked[..] else { panic!("{asked:?}") };
    (rig, exchange)
}

#[test]
fn a_mistyped_name_fails_at_once_and_names_the_peer() {
    let (mut rig, exchange) = asked_for("dir/aa.txt");
    rig.fail(exchange, DialFault::Declined(RefusalReason::NoSuchFile));
    let row = row(&mut rig, 1);
    assert_eq!(row.state, DownloadState::Failed);
    let error = row.error.unwrap();
    let told = "no such file at 10.0.1.1:63339; if it is a directory, name it 10.0.1.1:63339/dir/aa.txt/";
    assert_eq!((error.code, error.message.as_str()), (ExitCode::NotFound as i32, told));
}

#[test]
fn a_source_that_is_busy_or_has_not_hashed_the_file_is_asked_again_after_5_to_60_seconds() {
    for reason in [RefusalReason::Busy, RefusalReason::NotHashed, RefusalReason::Changed, RefusalReason::Leaving] {
        let (mut rig, mut exchange) = asked_for("dir/a.txt");
        for _ in 0..5 {
            rig.fail(exchange, DialFault::Declined(reason));
            let row = row(&mut rig, 1);
            assert_eq!(row.state, DownloadState::Retrying, "{reason}");
            assert!((5..=60).contains(&row.retry_in_s.unwrap()), "{:?}", row.retry_in_s);
            assert!(row.error.unwrap().message.contains(&reason.to_string()));
            rig.pass(Duration::from_secs(60));
            open(&mut rig);
            (exchange, _, _) = metadata(&mut rig)[0];
        }
        rig.succeed(exchange, Response::Metadata { b3: B3, size: 5 });
        assert_eq!(fetch(&mut rig).groups(), 0..1, "{reason}");
    }
}

#[test]
fn a_source_that_resets_a_range_is_asked_why_and_is_busy_if_it_made_us_wait() {
    let mut rig = begun(4 * MIB, 1);
    for _ in 0..20 {
        let groups = fetch(&mut rig);
        rig.pass(Duration::from_secs(50));
        rig.fail(groups.exchange, DialFault::Reset);
        let exchange = inquiry(&mut rig);
        rig.succeed(exchange, Response::FileInfo { b3: B3, size: 4 * MIB, pending: 0 });
        let row = row(&mut rig, 1);
        assert_eq!(row.state, DownloadState::Retrying);
        assert!(row.error.unwrap().message.contains("busy"));
        rig.pass(Duration::from_secs(60));
        for (download, _) in opened(&mut rig) {
            let mut held = Groups::none(4);
            held.insert(3);
            let resumed = Some((4 * MIB, held));
            let part = OpenedPart::Ready { path: "/downloads/a.txt".into(), resumed, filesystem: None };
            rig.handle(Event::PartOpened { download, outcome: Ok(part) });
        }
    }
    assert!(fetch(&mut rig).groups().start < 3, "it is asked for as long as it takes");
}

#[test]
fn a_source_whose_file_is_gone_or_has_changed_is_not_asked_for_that_name_again() {
    for says in [Err(DialFault::Declined(RefusalReason::NoSuchFile)), Ok(ContentHash([9; 32]))] {
        let mut rig = begun(4 * MIB, 1);
        let groups = fetch(&mut rig);
        rig.fail(groups.exchange, DialFault::Reset);
        let exchange = inquiry(&mut rig);
        match says {
            Ok(b3) => rig.succeed(exchange, Response::FileInfo { b3, size: 5, pending: 0 }),
            Err(fault) => rig.fail(exchange, fault),
        }
        let share = row(&mut rig, 1).shares.remove(0);
        assert_eq!(share.state, crate::control::SourceState::Refused);
        let error = String::from_utf8(share.error.unwrap().into_bytes()).unwrap();
        assert!(error == "no such file" || error == "it has another content under this name", "{error}");
        assert!(fetches(&mut rig).is_empty());
    }
}

#[test]
fn a_source_that_delivered_and_refuses_without_a_reason_is_asked_again() {
    let mut rig = begun(4 * MIB, 1);
    let groups = fetch(&mut rig);
    rig.fail(groups.exchange, DialFault::Reset);
    let exchange = inquiry(&mut rig);
    rig.fail(exchange, DialFault::Reset);
    assert_eq!(state(&mut rig, 1), DownloadState::Retrying, "it has brought something: it is asked again");
}
