//! The end of a download, when there are fewer groups to ask for than sources.

use super::*;

fn steal(victim: usize, thief: usize, groups: Range<u64>) -> NextStep {
    NextStep::Do(Step::Steal { victim, thief, groups })
}

/// What the second source takes of the eleven groups that the first is still to bring.
fn stolen(theirs: u64, ours: Option<u64>) -> Option<Range<u64>> {
    let victim = asked(groups(0..11), theirs, secs(4), proven(1, theirs));
    let thief = Source { speed: ours, ..proven(2, 1) };
    match proved(11, &[], vec![victim, thief]).steal(start() + secs(4), 0, 1) {
        Some(Step::Steal { victim: 0, thief: 1, groups }) => Some(groups),
        None => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_thief_takes_as_much_as_it_is_fast() {
    assert_eq!(stolen(MIB, Some(MIB)), Some(6..11), "half of the ten that are not begun");
    assert_eq!(stolen(MIB, Some(4 * MIB)), Some(3..11));
    assert_eq!(stolen(4 * MIB, Some(MIB)), Some(9..11));
    assert_eq!(stolen(100 * MIB, Some(MIB)), None, "nothing is worth it");
    assert_eq!(stolen(MIB, None), Some(6..11), "half, if nobody knows");
    assert_eq!(stolen(MIB, Some(0)), Some(6..11));
}

#[test]
fn a_faster_thief_takes_one_group_at_least() {
    let victim = asked(groups(0..2), MIB, secs(4), proven(1, MIB));
    let download = proved(2, &[], vec![victim, proven(2, MIB + 1)]);
    let step = download.steal(start() + secs(4), 0, 1);
    assert_eq!(step, Some(Step::Steal { victim: 0, thief: 1, groups: 1..2 }));
    let victim = asked(groups(0..2), MIB, secs(4), proven(1, MIB));
    let download = proved(2, &[], vec![victim, proven(2, MIB)]);
    assert_eq!(download.steal(start() + secs(4), 0, 1), None);
}

#[test]
fn at_the_end_the_idle_take_from_whoever_would_be_last() {
    let slow = asked(groups(0..8), MIB / 4, secs(4), proven(1, MIB / 4));
    let slower = asked(groups(8..16), MIB / 8, secs(4), proven(2, MIB / 8));
    let download = proved(16, &[], vec![slow, slower, proven(3, MIB / 4)]);
    let step = download.next_step(start() + secs(4), 9);
    assert_eq!(step, steal(1, 2, 12..16));
    // Whoever is done in less than half a second is left alone.
    let last_two = |speed| {
        let holder = asked(groups(0..2), speed, secs(4), proven(1, speed));
        proved(2, &[], vec![holder, proven(2, 100 * MIB)]).next_step(start() + secs(4), 9)
    };
    assert_eq!(last_two(8 * MIB), NextStep::Working);
    assert_eq!(last_two(4 * MIB), steal(0, 1, 1..2));
    let stalled = asked(groups(0..2), 0, secs(0), proven(1, MIB));
    let download = proved(2, &[], vec![stalled, proven(2, MIB)]);
    assert_eq!(download.next_step(start() + secs(10), 9), relieve(0));
    assert_ne!(download.next_step(start() + Duration::from_millis(9_999), 9), relieve(0));
}

#[test]
fn of_those_that_are_idle_the_proven_one_takes() {
    let slow = || asked(groups(0..9), MIB / 8, secs(4), proven(1, MIB / 8));
    let first = |thieves: Vec<Source>| {
        let sources = [slow()].into_iter().chain(thieves).collect();
        proved(9, &[], sources).next_step(start() + secs(4), 9)
    };
    assert_eq!(first(vec![fresh(2)]), steal(0, 1, 5..9));
    assert_eq!(first(vec![fresh(2), proven(3, MIB / 8)]), steal(0, 2, 5..9));
    assert_eq!(first(vec![failed(1, proven(2, MIB)), proven(3, MIB / 8)]), steal(0, 2, 5..9));
    assert_eq!(first(vec![Source { p1: false, ..proven(2, MIB) }]), NextStep::Working, "it sends no ranges");
}

#[test]
fn of_two_that_have_brought_nothing_neither_helps_the_other_while_a_third_one_delivers() {
    let at = secs(4);
    let slow = |source| asked(groups(0..9), MIB / 8, at, source);
    let soon_done = || asked(groups(9..11), 8 * MIB, at, proven(9, 8 * MIB));
    let step = |sources| proved(11, &[], sources).next_step(start() + at, 9);
    assert_eq!(step(vec![slow(fresh(1)), fresh(2), soon_done()]), NextStep::Working);
    assert_eq!(step(vec![slow(fresh(1)), proven(2, MIB / 8), soon_done()]), steal(0, 1, 5..9));
    assert_eq!(step(vec![slow(proven(1, MIB / 8)), fresh(2), soon_done()]), steal(0, 1, 5..9));
    let nobody_delivers = asked(groups(9..11), 8 * MIB, at, fresh(9));
    assert_eq!(step(vec![slow(fresh(1)), fresh(2), nobody_delivers]), steal(0, 1, 5..9));
}

#[test]
fn nothing_is_taken_from_one_that_has_brought_all() {
    let emptied = asked(groups(4..4), 0, secs(0), fresh(1));
    let step = proved(4, &[0], vec![emptied, asked(groups(1..4), 8 * MIB, secs(1), fresh(2)), fresh(3)]);
    assert_eq!(step.next_step(start() + secs(1), 9), NextStep::Working);
}

#[test]
fn the_last_group_of_a_slow_source_is_fetched_by_a_fast_one_as_well() {
    let at = secs(4);
    let last = |rate| asked(groups(0..1), rate, at, proven(1, rate));
    // In flight counts: what has come of the group is not awaited any more.
    let step = |holder: Source, thief| proved(1, &[], vec![holder, thief]).next_step(start() + at, 9);
    assert_eq!(step(last(10_000), proven(2, MIB)), ask(1, 0..1));
    assert_eq!(step(last(MIB), proven(2, MIB)), NextStep::Working, "it is not slow");
    // It takes more than twice as long as the other would, and half a second more.
    assert_eq!(step(last(419_430), proven(2, MIB)), NextStep::Working, "2,500 ms");
    assert_eq!(step(last(419_262), proven(2, MIB)), ask(1, 0..1), "2,501 ms");
    assert_eq!(step(last(190_650), fresh(2)), NextStep::Working, "5,500 ms, and one of unknown speed may need 2,500");
    assert_eq!(step(last(190_580), fresh(2)), ask(1, 0..1));
    let early = asked(groups(0..1), 10_000, Duration::from_millis(999), proven(1, 10_000));
    let download = proved(1, &[], vec![early, proven(2, MIB)]);
    assert_eq!(download.next_step(start() + Duration::from_millis(999), 9), NextStep::Working, "it has just begun");
    // Two have it, and are slow: one of them makes room, later.
    let two = |at: Duration| {
        let (one, two) =
            (asked(groups(0..1), 1_000, at, proven(1, 1_000)), asked(groups(0..1), 1_000, at, proven(2, 1_000)));
        proved(1, &[], vec![one, two, proven(3, MIB)]).next_step(start() + at, 9)
    };
    assert_eq!(two(secs(9)), NextStep::Working);
    assert_eq!(two(secs(10)), relieve(0));
}

#[test]
fn those_that_have_brought_nothing_do_not_keep_one_that_has_from_a_group() {
    let at = secs(4);
    let silent = |n| asked(groups(0..1), 0, secs(0), Source { speed: Some(1), ..fresh(n) });
    let download = proved(1, &[], vec![silent(1), silent(2), proven(3, MIB)]);
    assert_eq!(download.next_step(start() + at, 9), ask(2, 0..1));
    let download = proved(1, &[], vec![silent(1), silent(2), fresh(3)]);
    assert_eq!(download.next_step(start() + at, 9), NextStep::Working, "it has to wait as they do");
}

#[test]
fn what_is_in_flight_is_not_still_to_come() {
    let mut source = asked(groups(0..1), 1_000, secs(4), proven(1, 1_000));
    source.fetch_mut().unwrap().counted = 0;
    source.fetch_mut().unwrap().resumed = MIB - 5_000;
    let download = proved(1, &[], vec![source]);
    assert_eq!(download.finish_ms(start() + secs(4), download.content().unwrap(), 0), 1_000);
    assert_eq!(download.finish_ms(start(), download.content().unwrap(), 0), 1_000, "by its speed before");
    let unknown = proved(1, &[], vec![asked(groups(0..1), 0, secs(0), fresh(1))]);
    assert_eq!(unknown.finish_ms(start(), unknown.content().unwrap(), 0), u64::MAX);
    let idle = proved(1, &[], vec![fresh(1)]);
    assert_eq!(idle.finish_ms(start(), idle.content().unwrap(), 0), 0);
    let behind = proved(9, &[], vec![asked(groups(7..9), MIB, secs(4), proven(1, MIB))]);
    assert_eq!(
        behind.finish_ms(start() + secs(4), behind.content().unwrap(), 0),
        2_000,
        "two groups, wherever they are"
    );
}
