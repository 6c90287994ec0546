//! `check_invariants` fails on actions that are ordered too early: each test puts one into the queue.

use super::*;
use crate::control::CallId;
use crate::id::ClientId;
use crate::node::contract::RecordState;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the checks say of these actions.
fn objection(mut rig: Rig, actions: impl IntoIterator<Item = Action>) -> String {
    rig.node.check_invariants();
    actions.into_iter().for_each(|action| rig.node.cx.out.act(action));
    noticed(rig)
}

fn noticed(rig: Rig) -> String {
    let noticed = catch_unwind(AssertUnwindSafe(|| rig.node.check_invariants())).expect_err("nothing was noticed");
    // It would be noticed again.
    std::mem::forget(rig);
    *noticed.downcast::<String>().unwrap()
}

/// A node with a new download, whose record is not on the disk.
fn unrecorded() -> Rig {
    let mut rig = with_content(4 * MIB, 1);
    rig.remembers = false;
    let request = Request::Download { what: hits("1"), output: None };
    rig.handle(Event::Call { client: CLIENT, call: CallId::Number(1), request });
    rig
}

fn part_file_order(rig: &mut Rig) -> Action {
    let mut orders = rig.take(|order| match order {
        Action::RememberDownload { record, .. } => Some(DownloadRecord::clone(record)),
        _ => None,
    });
    let DownloadRecord { id: download, spec, b3, size, .. } = orders.remove(0);
    Action::OpenPart { download, spec, b3, size }
}

#[test]
fn an_answer_that_leaves_before_its_record_is_on_the_disk_is_noticed() {
    let mut rig = unrecorded();
    let reply = Action::Reply { client: ClientId(1), call: CallId::Number(1), outcome: Ok(Reply::Done {}) };
    rig.node.cx.out.reply(reply, [(TransferId(1), 1)].into());
    assert_eq!(noticed(rig), "no answer leaves before the record of TransferId(1) is on the disk");
}

#[test]
fn a_part_file_that_is_made_before_its_record_is_on_the_disk_is_noticed() {
    let mut rig = unrecorded();
    let order = part_file_order(&mut rig);
    let expected = "no part file of TransferId(1) is made before its record is on the disk";
    assert_eq!(objection(rig, [order]), expected);
}

#[test]
fn a_commit_before_the_check_is_answered_is_noticed() {
    let expected = "the part file of TransferId(1) is checked before it is committed";
    let commit = || Action::CommitPart { download: TransferId(1) };
    assert_eq!(objection(begun(4 * MIB, 1), [commit()]), expected);
    let mut rig = begun(4 * MIB, 1);
    bring_everything(&mut rig);
    assert_eq!(objection(rig, [Action::CheckPart { download: TransferId(1), original: None }, commit()]), expected);
}

#[test]
fn a_fetch_into_a_part_file_that_is_being_checked_is_noticed() {
    let mut rig = begun(4 * MIB, 1);
    bring_everything(&mut rig);
    let fetch = Action::FetchMetadata {
        exchange: ExchangeId::Outbound(99),
        download: TransferId(1),
        to: peer(1),
        name: name("a.txt"),
        b3: None,
    };
    let expected = "no fetch writes to the part file of TransferId(1) once something else is done with it";
    assert_eq!(objection(rig, [Action::CheckPart { download: TransferId(1), original: None }, fetch]), expected);
}

#[test]
fn a_part_file_removed_before_the_end_of_its_download_is_on_the_disk_is_noticed() {
    let mut rig = begun(4 * MIB, 1);
    order(&mut rig, Request::Pause { ids: "1".into() });
    let mut record = remembered(&mut rig).remove(0);
    record.state = RecordState::Dropped;
    let drop = Action::DropPart { download: TransferId(1), spec: record.spec.clone() };
    let remember = Action::RememberDownload { record: Box::new(record), revision: 99 };
    let expected = "the end of TransferId(1) is remembered before its part file goes";
    assert_eq!(objection(rig, [drop, remember]), expected);
}
