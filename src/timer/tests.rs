use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

fn ms(ms: u64) -> Instant {
    Instant::from_ms(ms)
}

fn fired(wheel: &mut TimerWheel<&'static str>, now: u64) -> Vec<&'static str> {
    std::iter::from_fn(|| wheel.expire(ms(now))).collect()
}

#[test]
fn deadlines_fire_on_time_over_a_simulated_day() {
    let mut wheel = TimerWheel::new(ms(1_700_000_000_000));
    let start = 1_700_000_000_000;
    wheel.insert(ms(start + 300_000), "keepalive");
    let silence = wheel.insert(ms(start + 400), "silence");
    wheel.insert(ms(start + 10_000), "message deadline");
    assert_eq!(wheel.next_deadline(), Some(ms(start + 400)));

    // A byte arrives: the silence timer restarts.
    assert_eq!(wheel.cancel(silence), Some("silence"));
    assert_eq!(wheel.cancel(silence), None);
    wheel.insert(ms(start + 700), "silence");
    assert_eq!(fired(&mut wheel, start + 699), [] as [&str; 0]);
    assert_eq!(fired(&mut wheel, start + 700), ["silence"]);
    assert_eq!(wheel.next_deadline(), Some(ms(start + 10_000)));

    // The machine slept for a day.
    assert_eq!(fired(&mut wheel, start + 86_400_000), ["message deadline", "keepalive"]);
    assert_eq!(wheel.len(), 0);
    assert_eq!(wheel.next_deadline(), None);
}

#[test]
fn ties_fire_in_the_order_of_insertion_however_they_came_there() {
    let mut wheel = TimerWheel::new(ms(0));
    wheel.insert(ms(5000), "from afar");
    fired(&mut wheel, 4500);
    wheel.insert(ms(5000), "from nearby");
    fired(&mut wheel, 4999);
    wheel.insert(ms(5000), "at the last moment");
    assert_eq!(fired(&mut wheel, 5000), ["from afar", "from nearby", "at the last moment"]);
}

#[test]
fn deadlines_in_the_past_fire_at_once_and_the_latest_possible_one_is_accepted() {
    let mut wheel = TimerWheel::new(ms(1000));
    wheel.insert(ms(u64::MAX), "never");
    wheel.insert(ms(7), "long ago");
    assert_eq!(wheel.next_deadline(), Some(ms(1000)));
    assert_eq!(wheel.expire(ms(1000)), Some("long ago"));
    assert_eq!(wheel.next_deadline(), Some(ms(u64::MAX)));
    assert_eq!(wheel.expire(ms(u64::MAX - 1)), None);
    assert_eq!(wheel.expire(ms(u64::MAX)), Some("never"));
}

#[test]
fn a_handler_may_insert_while_the_wheel_is_drained() {
    let mut wheel = TimerWheel::new(ms(0));
    wheel.insert(ms(10), "first");
    wheel.insert(ms(500), "third");
    assert_eq!(wheel.expire(ms(1000)), Some("first"));
    wheel.insert(ms(200), "second");
    wheel.insert(ms(1000), "fourth");
    wheel.insert(ms(1001), "later");
    assert_eq!(fired(&mut wheel, 1000), ["second", "third", "fourth"]);
    assert_eq!(wheel.len(), 1);
}

#[test]
fn a_stale_id_never_cancels_the_entry_that_took_its_place() {
    let mut wheel = TimerWheel::new(ms(0));
    let old = wheel.insert(ms(1), "old");
    assert_eq!(wheel.expire(ms(1)), Some("old"));
    let new = wheel.insert(ms(2), "new");
    assert_eq!(old.place, new.place);
    assert_eq!(wheel.cancel(old), None);
    assert_eq!(wheel.cancel(new), Some("new"));
}

#[test]
fn the_earliest_is_exact_in_a_crowded_far_slot() {
    let mut wheel = TimerWheel::new(ms(0));
    let ids: Vec<_> =
        [9_500, 9_200, 9_900, 9_100].into_iter().map(|at| (at, wheel.insert(ms(at), "deadline"))).collect();
    assert_eq!(wheel.next_deadline(), Some(ms(9_100)));
    for (cancelled, then) in [(9_100, 9_200), (9_500, 9_200), (9_200, 9_900)] {
        wheel.cancel(ids.iter().find(|(at, _)| *at == cancelled).unwrap().1);
        assert_eq!(wheel.next_deadline(), Some(ms(then)));
    }
}

#[test]
fn freed_entries_are_reused() {
    let mut wheel = TimerWheel::new(ms(0));
    for at in 0..10_000 {
        wheel.insert(ms(at), "tick");
        assert_eq!(wheel.expire(ms(at)), Some("tick"));
    }
    assert_eq!(wheel.entries.len(), 1);
}

/// A step of a test.
#[derive(Debug, Clone)]
enum Step {
    /// Insert at now plus this many ms, or before now.
    Insert(i64),
    /// Cancel one of the ids ever given, stale ones included.
    Cancel(usize),
    /// Let this time pass, and expire at most this many.
    Pass(u64, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let span = prop_oneof![0..3i64, 0..70i64, 0..5_000i64, -100..700_000i64, 0..=i64::MAX / 4];
    let jump = prop_oneof![0..2u64, 0..100u64, 0..10_000u64, 0..1_000_000u64, 0..=u64::MAX / 64];
    prop_oneof![
        4 => span.prop_map(Step::Insert),
        2 => any::<prop::sample::Index>().prop_map(|i| Step::Cancel(i.index(1000))),
        3 => (jump, prop_oneof![Just(usize::MAX), 0..4usize]).prop_map(|(jump, most)| Step::Pass(jump, most)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// The wheel against a sorted map from (deadline, order of insertion) to key.
    #[test]
    fn the_wheel_is_a_sorted_map(start in 0..u64::MAX / 2, steps in prop::collection::vec(step(), 0..120)) {
        let mut now = start;
        let mut wheel = TimerWheel::new(ms(start));
        let mut model = BTreeMap::new();
        let mut ids = Vec::new();
        for step in steps {
            match step {
                Step::Insert(span) => {
                    let at = now.saturating_add_signed(span);
                    let order = ids.len();
                    // A deadline in the past counts as the time up to which the wheel has fired.
                    let counts_as = at.max(wheel.elapsed_ms);
                    ids.push((wheel.insert(ms(at), order), counts_as));
                    model.insert((counts_as, order), order);
                }
                Step::Cancel(index) if !ids.is_empty() => {
                    let order = index % ids.len();
                    let (id, at) = ids[order];
                    prop_assert_eq!(wheel.cancel(id), model.remove(&(at, order)));
                }
                Step::Cancel(_) => prop_assert_eq!(wheel.len(), 0),
                Step::Pass(span, most) => {
                    now = (ms(now) + Duration::from_millis(span)).as_ms();
                    for _ in 0..most {
                        let due = model.first_key_value().filter(|((at, _), _)| *at <= now).map(|(&key, _)| key);
                        prop_assert_eq!(wheel.expire(ms(now)), due.and_then(|key| model.remove(&key)));
                        if due.is_none() {
                            break;
                        }
                    }
                }
            }
            prop_assert_eq!(wheel.len(), model.len());
            prop_assert_eq!(wheel.next_deadline(), model.keys().next().map(|&(at, _)| ms(at)));
        }
        let rest: Vec<_> = std::iter::from_fn(|| wheel.expire(ms(u64::MAX))).collect();
        prop_assert_eq!(rest, model.into_values().collect::<Vec<_>>());
    }
}
