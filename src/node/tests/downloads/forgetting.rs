//! Downloads that are over leave the list when a user wants it, and no file goes with them.

use super::recalling::{record, restarted};
use super::*;
use crate::control::{CallError, CallId, ExitCode, ForgottenReply};
use crate::node::contract::RecordState;

const NO_PART: RecordState = RecordState::Failed { keeps_part: false };

/// Downloads that an earlier run has left in these states, numbered from 1.
fn left(states: &[RecordState]) -> Rig {
    let records: Vec<_> = (1..).zip(states).map(|(id, state)| record(id, None, *state)).collect();
    let config = NodeConfig { bootstraps: Vec::new(), ..config() };
    let mut rig = restarted(config, records, states.len() as u32);
    rig.orders.clear();
    rig
}

fn forget(rig: &mut Rig, ids: &str) -> Result<Vec<u32>, CallError> {
    match rig.call(Request::ForgetDownloads { ids: ids.into() }) {
        Ok(Reply::Forgotten(ForgottenReply { forgotten })) => Ok(forgotten),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    }
}

fn ids(rig: &mut Rig) -> Vec<u32> {
    let Ok(Reply::Downloads(reply)) = rig.call(Request::Downloads { after: 0 }) else { panic!("downloads") };
    reply.downloads.iter().map(|row| row.id).collect()
}

#[test]
fn what_is_over_leaves_the_list_and_the_records_and_all_means_that() {
    let mut rig = left(&[NO_PART, RecordState::Paused, NO_PART, NO_PART]);
    assert_eq!(forget(&mut rig, "4"), Ok(vec![4]));
    assert_eq!(forgotten(&mut rig), [TransferId(4)]);
    let recorded = remembered(&mut rig).pop().unwrap().state;
    assert_eq!(recorded, RecordState::Dropped, "the next run forgets it, if the record cannot be removed yet");
    rig.call(Request::Cancel { ids: "2".into() }).unwrap();
    rig.orders.clear();
    assert_eq!(forget(&mut rig, "all"), Ok(vec![1, 2, 3]));
    assert_eq!((ids(&mut rig), dropped(&mut rig)), (vec![], 0));
    assert_eq!(forget(&mut rig, "all"), Ok(vec![]), "nothing is left to do");
    let missing = forget(&mut rig, "4").unwrap_err();
    assert_eq!(missing.code, ExitCode::NotFound as i32);
    let told = "no such id: 4; `pyratectl downloads` shows those that are, `pyratectl history` those that are over";
    assert!(missing.message.starts_with(told), "{missing}");
}

#[test]
fn what_is_not_over_or_keeps_data_is_refused_and_then_nothing_is_forgotten() {
    let mut rig = left(&[NO_PART, RecordState::Paused, RecordState::Failed { keeps_part: true }]);
    for (named, told) in [("1-2", "2 is paused; `pyratectl cancel 2` ends"), ("1,3", "3 has failed and keeps its data")]
    {
        let refused = forget(&mut rig, named).unwrap_err();
        assert!(refused.code == ExitCode::Unfinished as i32 && refused.message.contains(told), "{refused}");
    }
    assert_eq!(ids(&mut rig), [1, 2, 3]);
    assert_eq!(forget(&mut rig, "all"), Ok(vec![1]), "the others stay");
    rig.call(Request::Cancel { ids: "all".into() }).unwrap();
    rig.call(Request::Cancel { ids: "3".into() }).unwrap();
    assert_eq!(forget(&mut rig, "2,3"), Ok(vec![2, 3]));
}

/// Orders the first download to be forgotten, and takes the revision that this waits for.
fn begin(rig: &mut Rig) -> u64 {
    rig.remembers = false;
    let request = Request::ForgetDownloads { ids: "1".into() };
    rig.handle(Event::Call { client: CLIENT, call: CallId::Number(9_000), request });
    let revisions = rig.take(|order| match order {
        Action::RememberDownload { revision, .. } => Some(*revision),
        _ => None,
    });
    assert_eq!((revisions.len(), forgotten(rig)), (1, vec![TransferId(1)]));
    assert_eq!(answer(rig), None, "it is not on the disk yet");
    revisions[0]
}

fn answer(rig: &mut Rig) -> Option<Result<Reply, CallError>> {
    let mut answers = rig.take(|order| match order {
        Action::Reply { call: CallId::Number(9_000), outcome, .. } => Some(outcome.clone()),
        _ => None,
    });
    answers.pop()
}

fn recorded(rig: &mut Rig, revision: u64, outcome: Result<(), DiskFault>) {
    rig.handle(Event::Recorded { download: TransferId(1), revision, outcome });
}

#[test]
fn the_answer_and_the_end_of_the_row_wait_for_the_disk() {
    let mut rig = left(&[NO_PART]);
    let revision = begin(&mut rig);
    assert_eq!(ids(&mut rig), [1]);
    recorded(&mut rig, revision, Ok(()));
    assert_eq!(answer(&mut rig), Some(Ok(Reply::Forgotten(ForgottenReply { forgotten: vec![1] }))));
    assert_eq!(ids(&mut rig), [0; 0]);
}

#[test]
fn a_disk_that_cannot_be_written_is_told_and_the_row_stays() {
    let mut rig = left(&[NO_PART]);
    let revision = begin(&mut rig);
    recorded(&mut rig, revision, Err(DiskFault::Full));
    let error = answer(&mut rig).unwrap().unwrap_err();
    assert_eq!(error.code, ExitCode::DiskFull as i32, "{error}");
    assert!(row(&mut rig, 1).not_remembered.is_some());
    recorded(&mut rig, revision, Ok(()));
    rig.remembers = true;
    assert_eq!(forget(&mut rig, "1"), Ok(vec![1]));
}

#[test]
fn one_that_is_tried_again_meanwhile_stays() {
    let mut rig = left(&[NO_PART]);
    let revision = begin(&mut rig);
    rig.handle(Event::Call {
        client: CLIENT,
        call: CallId::Number(9_001),
        request: Request::Retry { ids: "1".into() },
    });
    recorded(&mut rig, revision, Ok(()));
    assert_eq!(answer(&mut rig), Some(Ok(Reply::Forgotten(ForgottenReply { forgotten: vec![] }))));
    assert_eq!(ids(&mut rig), [1]);
}
