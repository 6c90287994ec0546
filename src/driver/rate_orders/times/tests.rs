use super::*;

fn rate(when: &str, download: u64) -> TimedRate {
    TimedRate { when: when.to_owned(), download: Some(download), upload: None }
}

fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

fn epoch_s(utc: &str) -> u64 {
    u64::try_from(format!("{utc}Z").parse::<Timestamp>().unwrap().as_second()).unwrap()
}

/// Each in turn at this time: the limit that holds if one does, and until when, in UTC, another one holds.
fn held(times: &RateTimes, utc: &str) -> (Option<u64>, Option<String>) {
    let holding = times.down(epoch_s(utc));
    let until = holding.until_s.map(|s| Timestamp::from_second(s as i64).unwrap().to_string());
    (holding.timed.map(|(limit, _)| limit), until.map(|until| until.trim_end_matches('Z').to_owned()))
}

fn assert_held(times: &RateTimes, cases: &[(&str, Option<u64>, &str)]) {
    for (utc, limit, until) in cases {
        assert_eq!(held(times, utc), (*limit, Some((*until).to_owned())), "{utc}");
    }
}

#[test]
fn the_first_that_sets_a_direction_holds_and_the_week_begins_again() {
    let mut rates = vec![rate("Fri 12:00-14:00", 3), rate("Mon-Fri 08:00-18:00", 1), rate("Sun 22:00-02:00", 7)];
    rates.insert(0, TimedRate { when: "00:00-24:00".to_owned(), download: None, upload: Some(9) });
    let times = RateTimes::new(rates, TimeZone::UTC);
    assert_held(
        &times,
        &[
            ("2026-11-26T07:59:59", None, "2026-11-26T08:00:00"),
            ("2026-11-26T08:00:00", Some(1), "2026-11-26T18:00:00"),
            ("2026-11-27T11:00:00", Some(1), "2026-11-27T12:00:00"),
            ("2026-11-27T12:00:00", Some(3), "2026-11-27T14:00:00"),
            ("2026-11-27T18:00:00", None, "2026-11-29T22:00:00"),
            ("2026-11-29T23:59:59", Some(7), "2026-11-30T02:00:00"),
            ("2026-11-30T01:59:00", Some(7), "2026-11-30T02:00:00"),
            ("2026-11-30T02:00:00", None, "2026-11-30T08:00:00"),
        ],
    );
    let always = times.up(epoch_s("2026-11-26T07:59:59"));
    assert_eq!(always, Holding { timed: Some((9, "00:00-24:00".to_owned())), until_s: None, then: None });
    let next = times.down(epoch_s("2026-11-27T11:00:00"));
    assert_eq!(next.then, Some(3));
}

#[test]
fn times_are_those_of_the_clocks_on_the_wall_when_daylight_saving_begins_and_ends() {
    let times = RateTimes::new(vec![rate("08:00-18:00", 1), rate("Sun 02:15-02:45", 2)], berlin());
    assert_held(
        &times,
        &[
            // Before it begins, 08:00 is 07:00 UTC. On 29 March 2026 the clock goes from 02:00 to 03:00: 02:15 does not come.
            ("2026-03-28T06:59:00", None, "2026-03-28T07:00:00"),
            ("2026-03-28T17:00:00", None, "2026-03-29T06:00:00"),
            ("2026-03-29T06:00:00", Some(1), "2026-03-29T16:00:00"),
            // On 25 October it goes from 03:00 back to 02:00: 02:15 comes twice.
            ("2026-10-24T16:00:00", None, "2026-10-25T00:15:00"),
            ("2026-10-25T00:15:00", Some(2), "2026-10-25T00:45:00"),
            ("2026-10-25T00:45:00", None, "2026-10-25T01:15:00"),
            ("2026-10-25T01:15:00", Some(2), "2026-10-25T01:45:00"),
            ("2026-10-25T01:45:00", None, "2026-10-25T07:00:00"),
            ("2026-10-25T07:00:00", Some(1), "2026-10-25T17:00:00"),
        ],
    );
}

#[test]
fn a_time_that_the_change_begins_or_ends_in_is_longer_or_shorter() {
    let times = RateTimes::new(vec![rate("Sat 22:00-02:30", 1)], berlin());
    // The clock shows 03:00 when 02:00 would have come.
    assert_held(&times, &[("2026-03-28T21:00:00", Some(1), "2026-03-29T01:00:00")]);
    // 02:30 comes, and an hour earlier by the clock it holds once more.
    assert_held(
        &times,
        &[
            ("2026-10-24T20:00:00", Some(1), "2026-10-25T00:30:00"),
            ("2026-10-25T00:30:00", None, "2026-10-25T01:00:00"),
            ("2026-10-25T01:00:00", Some(1), "2026-10-25T01:30:00"),
        ],
    );
}

#[test]
fn what_never_changes_has_no_end() {
    let times = RateTimes::new(vec![rate("Mon-Sun", 1)], berlin());
    for utc in ["1970-01-01T00:00:00", "2026-03-29T00:30:00", "9999-12-30T00:00:00"] {
        assert_eq!(held(&times, utc), (Some(1), None), "{utc}");
    }
    assert_eq!(times.down(u64::MAX).timed, Some((1, "Mon-Sun".to_owned())));
    let week = RateTimes::new(vec![rate("Mon-Fri", 1)], berlin());
    week.down(u64::MAX);
    assert!(RateTimes::none().is_empty() && RateTimes::none().down(0) == Holding::default());
    assert!(Week::new(std::iter::empty()).parts.capacity() < 10, "a plan without times takes no memory");
}
