//! What is asked of whom, case by case: a download is built as it would be at one moment, and the decision is looked at.

mod races;

use super::*;
use crate::content::Groups;
use crate::id::{ContentHash, ExchangeId, TransferId};
use crate::name::FileName;
use crate::node::contract::{PartSpec, Target};
use crate::node::download::part::{Known, Open, PartFile};
use crate::node::download::source::{Charge, Contact, Doubt, Origin};
use crate::node::download::state::Want;
use crate::node::limits::LOOK_INTERVAL;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

const MIB: u64 = GROUP_BYTES;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn start() -> Instant {
    Instant::from_ms(1_000_000)
}

fn addr(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 63_339))
}

fn name() -> FileName {
    FileName::from_bytes(b"a.ogg").unwrap()
}

/// A source that speaks `p1`, of which nothing else is known.
fn fresh(n: u8) -> Source {
    Source { p1: true, contact: Contact::Over, ..Source::new(addr(n), Rc::new(name()), None) }
}

/// One that has delivered, at so many bytes a second.
fn proven(n: u8, speed: u64) -> Source {
    Source { bytes: 1, speed: Some(speed), ..fresh(n) }
}

fn failed(failures: u32, source: Source) -> Source {
    Source { failures, ..source }
}

/// It was asked for this at the start; so many bytes have come in each second since, the last ones at `progressed`.
fn asked(task: Task, per_second: u64, span: Duration, source: Source) -> Source {
    let mut fetch = Fetch::new(start(), ExchangeId::Outbound(1), task, false, Rc::new(name()));
    let received = per_second * span.as_secs();
    (fetch.received, fetch.counted) = (received, received);
    if per_second > 0 {
        fetch.progressed = start() + span;
    }
    let mut source = Source { received, standing: Standing::Busy(fetch), ..source };
    source.rate.start(start(), 0);
    source
}

fn groups(task: Range<u64>) -> Task {
    Task::groups(task)
}

/// A download of so many groups, some of which are there, whose size is proved.
fn proved(count: u64, there: &[u64], sources: Vec<Source>) -> Download {
    let mut content = Content::new(count * MIB, addr(1), false);
    content.verified = Groups::none(count);
    assert!(there.iter().all(|group| content.verified.insert(*group)));
    with_part(Known::Proved(content), sources)
}

fn with_part(known: Known, sources: Vec<Source>) -> Download {
    let target = Target::Suggested { directory: "/nowhere".into(), name: name() };
    let spec = PartSpec { target, token: 1, filesystem: None };
    let mut download = Download::new(name(), spec, Want::Content(ContentHash([7; 32])), None, sources);
    download.change_part(start(), TransferId(1), |_| PartFile::Open(Open::new(start(), 0, known)));
    download
}

fn ask(source: usize, run: Range<u64>) -> NextStep {
    NextStep::Do(Step::Ask { source, task: groups(run) })
}

fn relieve(source: usize) -> NextStep {
    NextStep::Do(Step::DropSlow { source })
}

/// The run that the first source would get of ten groups or more, beside another source with a task.
fn run(count: u64, there: &[u64], speed: Option<u64>, other: Option<Range<u64>>) -> Option<Range<u64>> {
    let first = Source { speed, ..fresh(1) };
    let other = other.map(|run| asked(groups(run), MIB, secs(1), fresh(2)));
    let download = proved(count, there, [first].into_iter().chain(other).collect());
    download.free_groups(start() + secs(1), download.content()?, 0)
}

#[test]
fn a_run_is_as_long_as_suits_the_source() {
    assert_eq!(run(100, &[], None, None), Some(0..2), "nobody knows how fast it is");
    assert_eq!(run(100, &[], Some(MIB), None), Some(0..4), "4 s");
    assert_eq!(run(100, &[], Some(1), None), Some(0..1), "one at least");
    assert_eq!(run(100, &[], Some(100 * MIB), None), Some(0..64), "64 at most");
    assert_eq!(run(10, &[], Some(100 * MIB), None), Some(0..10));
    assert_eq!(run(10, &[], Some(100 * MIB), Some(0..2)), Some(2..6), "half of the 8 that are free");
    assert_eq!(run(11, &[], Some(100 * MIB), Some(0..2)), Some(2..7), "rounded up");
    assert_eq!(run(3, &[], Some(100 * MIB), Some(0..2)), Some(2..3));
}

#[test]
fn a_run_has_only_groups_that_are_missing_and_that_nobody_was_asked_for() {
    assert_eq!(run(10, &[0, 1], Some(100 * MIB), None), Some(2..10));
    assert_eq!(run(10, &[4], Some(100 * MIB), None), Some(0..4));
    assert_eq!(run(10, &[9], Some(100 * MIB), None), Some(0..9));
    assert_eq!(run(10, &[], Some(100 * MIB), Some(3..5)), Some(0..3));
    assert_eq!(run(10, &[2], Some(100 * MIB), Some(0..2)), Some(3..7));
    assert_eq!(run(10, &[0, 1, 2, 3], Some(100 * MIB), Some(4..10)), None);
    assert_eq!(run(4, &[0, 1, 2, 3], None, None), None);
    assert_eq!(run(4, &[0, 1, 2], None, None), Some(3..4));
}

#[test]
fn the_measured_speed_comes_before_that_of_earlier_fetches() {
    let busy = asked(groups(0..1), 8 * MIB, secs(4), Source { speed: Some(1), ..fresh(1) });
    let download = proved(100, &[], vec![busy]);
    let content = download.content().unwrap();
    assert_eq!(download.free_groups(start() + secs(4), content, 0), Some(1..33));
}

#[test]
fn others_are_relied_on_until_one_has_failed_less_often() {
    let relied = |of: u32, others: Vec<Source>| {
        let download = proved(4, &[], [failed(of, fresh(1))].into_iter().chain(others).collect());
        download.is_relied_on(&download.sources[0])
    };
    assert!(relied(2, vec![fresh(2)]), "twice is no habit");
    assert!(!relied(3, vec![fresh(2)]));
    assert!(!relied(4, vec![failed(3, fresh(2))]));
    assert!(relied(3, vec![failed(3, fresh(2))]), "no better");
    assert!(relied(3, vec![]));
    assert!(relied(3, vec![asked(groups(0..1), 0, secs(1), fresh(2))]), "that one is busy");
}

/// Whom the second source replaces, which is idle, if it replaces the first. So long after the first was asked.
fn replaces(holder: Source, idle: Source, after: Duration) -> bool {
    let download = proved(100, &[], vec![holder, idle]);
    download.make_room(start() + after, 1) == Some(Step::DropSlow { source: 0 })
}

#[test]
fn a_source_that_brings_nothing_gives_way() {
    let silent = |failures| failed(failures, asked(groups(0..4), 0, secs(2), fresh(1)));
    assert!(replaces(silent(0), proven(2, 1), secs(2)), "to one that has delivered");
    assert!(!replaces(silent(0), proven(2, 1), Duration::from_millis(1_999)));
    assert!(replaces(silent(0), fresh(2), secs(2)), "to one that has failed no more often");
    assert!(replaces(silent(1), failed(1, fresh(2)), secs(2)));
    assert!(!replaces(silent(0), failed(1, fresh(2)), secs(2)));
    assert!(replaces(silent(0), failed(1, proven(2, 1)), secs(2)));
    let has_delivered = asked(groups(0..4), 0, secs(2), proven(1, MIB));
    assert!(!replaces(has_delivered, fresh(2), secs(2)), "one that has delivered has more time");
}

#[test]
fn a_slow_one_gives_way_to_one_that_is_twice_as_fast_or_unknown() {
    let slow = |span| asked(groups(0..4), 1_000, span, proven(1, 1_000));
    assert!(replaces(slow(secs(10)), proven(2, 2_002), secs(10)));
    assert!(!replaces(slow(secs(10)), proven(2, 2_001), secs(10)), "no more than twice");
    assert!(!replaces(slow(secs(9)), proven(2, 9_000), secs(9)), "not before 10 s");
    assert!(replaces(slow(secs(30)), fresh(2), secs(30)));
    assert!(!replaces(slow(secs(29)), fresh(2), secs(29)), "not before 30 s");
    assert!(!replaces(slow(secs(59)), failed(1, fresh(2)), secs(59)), "longer the more often it has failed");
    assert!(replaces(slow(secs(60)), failed(1, fresh(2)), secs(60)));
    assert!(!replaces(slow(secs(119)), failed(2, fresh(2)), secs(119)));
    assert!(replaces(slow(secs(120)), failed(2, fresh(2)), secs(120)));
}

#[test]
fn metadata_and_useful_streams_do_not_give_way() {
    let at = secs(60);
    for task in [Task::Metadata, Task::Identify, Task::File(Portion::Stream { size_max: None })] {
        assert!(!replaces(asked(task.clone(), 0, at, fresh(1)), proven(2, MIB), at), "{task:?}");
    }
    let whole = |rate| asked(Task::File(Portion::Whole), rate, at, Source { size: Some(100 * MIB), ..fresh(1) });
    assert!(replaces(whole(100), proven(2, MIB), at), "it would take days");
    assert!(!replaces(whole(MIB), proven(2, 100 * MIB), at), "it would begin from the start");
}

#[test]
fn without_an_exchange_left_room_is_made_and_nothing_else_begun() {
    let silent = asked(groups(0..2), 0, secs(2), fresh(1));
    let download = proved(100, &[], vec![silent, proven(2, MIB)]);
    assert_eq!(download.next_step(start() + secs(2), 0), relieve(0));
    assert_eq!(download.next_step(start() + secs(2), 1), ask(1, 2..6));
    let download = proved(100, &[], vec![asked(groups(0..2), MIB, secs(1), proven(1, MIB)), proven(2, MIB)]);
    assert_eq!(download.next_step(start() + secs(1), 0), NextStep::Working);
}

#[test]
fn sources_that_delivered_come_first_then_those_that_failed_less_then_the_fastest() {
    let first = |sources: Vec<Source>| match proved(100, &[], sources).next_step(start(), 9) {
        NextStep::Do(Step::Ask { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    assert_eq!(first(vec![fresh(1), proven(2, 1)]), 1);
    assert_eq!(first(vec![failed(1, proven(1, MIB)), proven(2, 1)]), 1);
    assert_eq!(first(vec![proven(1, 1), proven(2, 2)]), 1);
    assert_eq!(first(vec![proven(1, 2), proven(2, 2)]), 0);
    assert_eq!(first(vec![failed(2, fresh(1)), failed(1, fresh(2))]), 1);
}

#[test]
fn few_are_tried_at_once_while_others_deliver_and_these_bring_nothing() {
    let delivers = || asked(groups(0..2), MIB, secs(2), proven(1, MIB));
    let silent = |n: u8| asked(groups(u64::from(n) * 2..u64::from(n) * 2 + 2), 0, secs(2), fresh(n));
    let brings = |n: u8| {
        let run = u64::from(n) * 2..u64::from(n) * 2 + 2;
        asked(groups(run), MIB, secs(2), fresh(n))
    };
    let may = |sources: Vec<Source>, after| proved(100, &[], sources).may_explore(start() + after);
    let with = |tried: Vec<Source>| [delivers()].into_iter().chain(tried).collect::<Vec<_>>();
    assert!(may(with((2..6).map(brings).collect()), secs(2)), "none of them is silent");
    let failing: Vec<_> = (2..6).map(brings).chain((6..10).map(|n| failed(1, fresh(n)))).collect();
    assert!(!may(with(failing), secs(2)), "four are tried, four have failed");
    let three: Vec<_> = (2..5).map(brings).chain((6..10).map(|n| failed(1, fresh(n)))).collect();
    assert!(may(with(three), secs(2)), "three are tried");
    let three: Vec<_> = (2..6).map(brings).chain((6..9).map(|n| failed(1, fresh(n)))).collect();
    assert!(may(with(three), secs(2)), "three have failed");
    let nobody: Vec<_> = (2..6).map(brings).chain((6..10).map(|n| failed(1, fresh(n)))).collect();
    assert!(may(nobody, secs(2)), "nobody delivers");
    let silent: Vec<_> = (2..6).map(silent).collect();
    assert!(may(with(silent), secs(2)), "whoever brings nothing does not count as tried");
}

#[test]
fn a_source_is_silent_that_brings_nothing_or_as_good_as_nothing() {
    let is_silent = |per_second, span, after| {
        let download = proved(9, &[], vec![asked(groups(0..2), per_second, span, fresh(1))]);
        let fetch = download.sources[0].fetch().unwrap();
        download.is_silent(start() + after, 0, fetch)
    };
    assert!(is_silent(0, secs(0), secs(2)));
    assert!(!is_silent(0, secs(0), Duration::from_millis(1_999)), "others would not have begun either");
    assert!(!is_silent(2_048, secs(4), secs(4)));
    assert!(is_silent(2_047, secs(4), secs(4)), "as good as nothing");
    assert!(is_silent(MIB, secs(4), secs(6)), "nothing for 2 s");
    assert!(!is_silent(MIB, secs(4), Duration::from_millis(5_999)));
}

#[test]
fn a_try_does_not_count_any_more_after_a_second_without_use() {
    let little = |per_second, span, after| {
        let source = asked(groups(0..2), per_second, span, fresh(1));
        has_brought_little(start() + after, source.fetch().unwrap())
    };
    assert!(little(0, secs(0), secs(1)));
    assert!(!little(0, secs(0), Duration::from_millis(999)));
    assert!(!little(2_048, secs(4), secs(4)));
    assert!(little(2_047, secs(4), secs(4)));
    assert!(little(MIB, secs(4), secs(5)));
}

/// Whether the first source is relieved of what it alone does.
fn relieved(holder: Source, other: Source, after: Duration) -> bool {
    let download = proved(100, &[], vec![holder, other]);
    let fetch = download.sources[0].fetch().unwrap();
    download.relieve(start() + after, 0, fetch) == Some(Step::DropSlow { source: 0 })
}

#[test]
fn a_source_that_is_stuck_or_slow_is_dropped_where_another_could_do_it() {
    let busy = || asked(groups(9..10), MIB, secs(4), fresh(2));
    let stuck = || asked(groups(0..1), 0, secs(0), fresh(1));
    assert!(relieved(stuck(), fresh(2), secs(10)));
    assert!(!relieved(stuck(), busy(), secs(10)), "nobody is idle");
    assert!(!relieved(stuck(), failed(1, fresh(2)), Duration::from_millis(9_999)));
    let slow = |rate, at| asked(groups(0..1), rate, at, fresh(1));
    assert!(relieved(slow(16_383, secs(10)), fresh(2), secs(10)));
    assert!(!relieved(slow(16_384, secs(10)), fresh(2), secs(10)));
    assert!(!relieved(slow(1_000, secs(9)), fresh(2), secs(9)));
    assert!(relieved(slow(1_000, secs(10)), proven(2, 2_002), secs(10)));
    assert!(!relieved(slow(1_000, secs(10)), proven(2, 2_001), secs(10)));
    assert!(!relieved(slow(1_000, secs(19)), failed(1, fresh(2)), secs(19)));
    assert!(relieved(slow(1_000, secs(20)), failed(1, fresh(2)), secs(20)));
}

#[test]
fn a_stream_is_slow_that_would_take_more_than_ten_minutes() {
    let size = 600 * 20_000;
    let stream = |rate: u64, at| {
        let source = Source { size: Some(size + rate * 30), ..fresh(1) };
        asked(Task::File(Portion::Whole), rate, at, source)
    };
    assert!(relieved(stream(19_999, secs(30)), fresh(2), secs(30)));
    assert!(!relieved(stream(20_000, secs(30)), fresh(2), secs(30)));
    assert!(!relieved(stream(100, secs(29)), fresh(2), secs(29)), "not before 30 s");
}

#[test]
fn a_base_source_is_asked_for_all_only_where_nobody_helps() {
    let base = || Source { p1: false, ..fresh(2) };
    let whole = |source| NextStep::Do(Step::Ask { source, task: Task::File(Portion::Whole) });
    let next = |first, at| proved(100, &[], vec![first, base()]).next_step(start() + at, 9);
    let helper = |rate, at| asked(groups(0..100), rate, at, proven(1, MIB));
    assert_eq!(next(helper(MIB, secs(4)), secs(4)), NextStep::Working);
    assert_eq!(next(helper(0, secs(0)), secs(10)), whole(1), "it is stalled");
    assert_eq!(next(failed(3, helper(MIB, secs(4))), secs(4)), whole(1), "it fails each time");
    assert_eq!(next(failed(2, helper(MIB, secs(4))), secs(4)), NextStep::Working);
    assert_eq!(next(helper(16_383, secs(30)), secs(30)), whole(1), "it is slow");
    assert_eq!(next(helper(16_383, secs(29)), secs(29)), NextStep::Working, "it may become faster");
    let streams = asked(Task::File(Portion::Whole), 0, secs(0), Source { p1: false, ..fresh(1) });
    assert_eq!(next(streams, secs(10)), relieve(0));
    let none = proved(100, &[], vec![helper(0, secs(0)), base()]);
    assert_eq!(none.next_step(start() + secs(10), 0), NextStep::Working, "there is no room for it");
}

#[test]
fn of_those_that_stream_the_first_that_failed_least_is_asked() {
    let base = |n| Source { p1: false, ..fresh(n) };
    let best = |sources| proved(9, &[], sources).best_streamer();
    assert_eq!(best(vec![base(1), base(2)]), Some(0));
    assert_eq!(best(vec![failed(1, base(1)), base(2)]), Some(1));
    assert_eq!(best(vec![asked(groups(0..1), 0, secs(0), base(1)), base(2)]), Some(1));
    assert_eq!(best(vec![]), None);
}

#[test]
fn what_is_whole_is_checked_and_doubts_come_before_requests() {
    let doubt = || Doubt { task: Task::Metadata, name: Rc::new(name()), charge: Charge::OtherByHit };
    let doubted = || Source { doubt: Some(doubt()), ..fresh(2) };
    assert_eq!(proved(2, &[0, 1], vec![doubted()]).next_step(start(), 9), NextStep::Do(Step::Check));
    let identify = NextStep::Do(Step::Ask { source: 1, task: Task::Identify });
    assert_eq!(proved(2, &[], vec![fresh(1), doubted()]).next_step(start(), 9), identify);
    let due = Source { p1: false, contact: Contact::Due, ..fresh(1) };
    assert_eq!(
        proved(2, &[], vec![due, doubted()]).next_step(start(), 9),
        NextStep::Do(Step::MakeContact { source: 0 })
    );
    let busy = Source { standing: Standing::Refused, ..doubted() };
    assert_eq!(proved(2, &[], vec![fresh(1), busy]).next_step(start(), 9), ask(0, 0..2));
}

#[test]
fn nothing_but_the_last_group_is_asked_for_until_the_size_is_proved() {
    let mut content = Content::new(3 * MIB, addr(1), false);
    content.verified = Groups::none(3);
    let download = with_part(Known::Outline(content), vec![fresh(1)]);
    assert_eq!(download.next_step(start(), 9), ask(0, 2..3));
}

#[test]
fn where_nobody_can_be_asked_it_rests_until_the_first_can() {
    let resting = |n, until| Source { standing: Standing::Resting { until: start() + until }, ..fresh(n) };
    let download = proved(2, &[], vec![resting(1, secs(9)), resting(2, secs(5))]);
    assert_eq!(download.next_step(start(), 9), NextStep::Rest(start() + secs(5)));
    assert_eq!(download.look_again_at(start()), Some(start() + secs(5)));
    let refused = Source { standing: Standing::Refused, ..fresh(1) };
    let download = proved(2, &[], vec![refused]);
    assert_eq!((download.next_step(start(), 9), download.look_again_at(start())), (NextStep::NoSources, None));
    let mut download = proved(2, &[], vec![fresh(1), resting(2, secs(900))]);
    assert_eq!(download.look_again_at(start()), Some(start() + LOOK_INTERVAL));
    download.seek.next = Some(start() + Duration::from_millis(1));
    assert_eq!(download.look_again_at(start()), Some(start() + Duration::from_millis(1)));
    let reserve = Source { standing: Standing::Reserve, origin: Origin::Name, ..fresh(1) };
    assert_eq!(proved(2, &[], vec![reserve]).next_step(start(), 9), NextStep::NoSources);
}
