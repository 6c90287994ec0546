//! Times of the week as users write them: `Mon-Fri 08:00-18:00, Sat, Sun 10:00-24:00`.

use crate::name::Escaped;
use crate::suggest::closest;

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// Minutes of a week.
pub(crate) const WEEK: u16 = 7 * DAY;

/// Longest text that is read, in bytes.
const TEXT_BYTES_MAX: usize = 500;

/// As they are written, from the first of the week on; each may also be written out.
const DAYS: [(&str, &str); 7] = [
    ("mon", "monday"),
    ("tue", "tuesday"),
    ("wed", "wednesday"),
    ("thu", "thursday"),
    ("fri", "friday"),
    ("sat", "saturday"),
    ("sun", "sunday"),
];

/// What is expected, for messages.
const EXPECTED: &str = "expected days and times as in \"Mon-Fri 08:00-18:00, Sat\"";

/// Which minutes of the week are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WeekTimes {
    /// Where each span begins, in minutes since Monday 00:00, and how long it is. The last may run into the next week.
    spans: Vec<(u16, u16)>,
}

impl WeekTimes {
    /// Days are those of the times that follow them; days that no time follows are meant from 00:00 to 24:00, and times that no
    /// day precedes, on every day. A time over midnight belongs to the day on which it begins.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("{EXPECTED}, of at most {TEXT_BYTES_MAX} bytes, not {}", text.len()));
        }
        if text.split(',').any(is_torn) {
            return Err(format!("{EXPECTED}, not \"{}\"; write ranges without blanks around -", shown(text)));
        }
        let (mut spans, mut days, mut has_times) = (Vec::new(), [false; 7], true);
        let mut named = false;
        for word in text.split([',', ' ', '\t']).filter(|word| !word.is_empty()) {
            if word.starts_with(|c: char| c.is_ascii_digit()) {
                let (from, minutes) = time_range(word)?;
                let on = if named { days } else { [true; 7] };
                spans.extend(starts(on).map(|day| (day + from, minutes)));
                has_times = true;
            } else {
                // The days of a new part.
                if has_times {
                    days = [false; 7];
                }
                (named, has_times) = (true, false);
                add_days(word, &mut days)?;
            }
        }
        if !has_times {
            spans.extend(starts(days).map(|day| (day, DAY)));
        }
        if spans.is_empty() { Err(format!("{EXPECTED}, not \"{}\"", shown(text))) } else { Ok(Self { spans }) }
    }

    /// The last time and the day that follows it without a comma, which is meant as a whole day: whoever wrote it may mean that
    /// time on that day.
    pub(crate) fn day_behind_time(text: &str) -> Option<(&str, &str)> {
        let time = text.split([',', ' ', '\t']).rfind(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
        let end = text.rfind(time)? + time.len();
        Some((time, text[end..].split(',').next()?.split_ascii_whitespace().next()?))
    }

    /// The minutes of the week that are meant, some of them perhaps more than once.
    pub(super) fn minutes(&self) -> impl Iterator<Item = u16> + '_ {
        self.spans.iter().flat_map(|&(from, minutes)| (from..from + minutes).map(|minute| minute % WEEK))
    }
}

/// Whether a range has blanks in it.
fn is_torn(part: &str) -> bool {
    let words = || part.split_ascii_whitespace();
    words().count() > 1 && words().any(|word| word.starts_with('-') || word.ends_with('-'))
}

/// When these days begin.
fn starts(days: [bool; 7]) -> impl Iterator<Item = u16> {
    (0..WEEK).step_by(usize::from(DAY)).zip(days).filter(|(_, is_meant)| *is_meant).map(|(start, _)| start)
}

fn shown(text: &str) -> Escaped<'_> {
    Escaped(text.as_bytes())
}

/// A day, or a range of days, which may run into the next week.
fn add_days(word: &str, days: &mut [bool; 7]) -> Result<(), String> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let (first, last) = (day(first, word)?, day(last, word)?);
    let count = (last + 7 - first) % 7;
    (first..=first + count).for_each(|day| days[day % 7] = true);
    Ok(())
}

fn day(name: &str, word: &str) -> Result<usize, String> {
    let lower = name.to_ascii_lowercase();
    let is_named = |(short, long): &(&str, &str)| lower == *short || lower == *long;
    DAYS.iter().position(is_named).ok_or_else(|| {
        let meant = closest(&lower, DAYS.iter().flat_map(|(short, long)| [*short, *long]));
        let advice = meant.map_or_else(
            || "days are Mon, Tue, Wed, Thu, Fri, Sat and Sun".to_owned(),
            |day| format!("did you mean {}{}?", day[..1].to_ascii_uppercase(), &day[1..]),
        );
        format!("{EXPECTED}, but \"{}\" is neither a day nor a time; {advice}", shown(word))
    })
}

/// When a range of times begins, and how many minutes it is long.
fn time_range(word: &str) -> Result<(u16, u16), String> {
    let expected =
        || format!("expected a range of times as in \"08:00-18:00\", to 24:00 at most, not \"{}\"", shown(word));
    let (from, to) = word.split_once('-').ok_or_else(expected)?;
    let (from, to) = (minute(from).filter(|&from| from < DAY).ok_or_else(expected)?, minute(to).ok_or_else(expected)?);
    if from == to {
        return Err(format!("\"{}\" begins and ends at the same time; a whole day is 00:00-24:00", shown(word)));
    }
    Ok((from, (to + DAY - from - 1) % DAY + 1))
}

/// A time of day, in minutes; one or two digits of hours and two of minutes.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
    let (hours, minutes): (u16, u16) = match (hours.len(), minutes.len()) {
        (1..=2, 2) => (number(hours)?, number(minutes)?),
        _ => return None,
    };
    (minutes < 60).then(|| hours * 60 + minutes).filter(|&minute| minute <= DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(text: &str) -> Vec<(u16, u16)> {
        WeekTimes::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).spans
    }

    #[test]
    fn days_belong_to_the_times_that_follow_them() {
        let at = |day: u16, hour: u16| day * DAY + hour * 60;
        for (text, expected) in [
            ("Mon-Fri 08:00-18:00", (0..5).map(|day| (at(day, 8), 600)).collect::<Vec<_>>()),
            ("22:00-6:30", (0..7).map(|day| (at(day, 22), 510)).collect()),
            ("Sat, Sunday", vec![(at(5, 0), DAY), (at(6, 0), DAY)]),
            ("Sat,Sun 10:00-12:00", vec![(at(5, 10), 120), (at(6, 10), 120)]),
            ("Mon 08:00-12:00, 13:00-18:00", vec![(at(0, 8), 240), (at(0, 13), 300)]),
            ("mon 08:00-09:00,TUE 00:00-24:00,Wed", vec![(at(0, 8), 60), (at(1, 0), DAY), (at(2, 0), DAY)]),
            ("Sat-Mon 23:00-24:00", vec![(at(0, 23), 60), (at(5, 23), 60), (at(6, 23), 60)]),
            ("Sun 23:00-01:00", vec![(at(6, 23), 120)]),
        ] {
            assert_eq!(spans(text), expected, "{text}");
        }
        let over: Vec<u16> = WeekTimes::parse("Sun 23:59-00:01").unwrap().minutes().collect();
        assert_eq!(over, [WEEK - 1, 0], "the week begins again");
    }

    #[test]
    fn a_whole_day_that_stands_behind_a_time_is_found() {
        for (text, found) in [
            ("18:00-08:00 Mon", Some(("18:00-08:00", "Mon"))),
            ("Tue 08:00-09:00, 18:00-20:00\t Mon-Wed, Fri", Some(("18:00-20:00", "Mon-Wed"))),
            ("08:00-09:00 Mon 08:00-09:00 Tue", Some(("08:00-09:00", "Tue"))),
            ("18:00-08:00, Mon", None),
            ("18:00-08:00 Mon 10:00-12:00", None),
            ("Mon 18:00-08:00", None),
            ("Mon Tue", None),
        ] {
            assert_eq!(WeekTimes::day_behind_time(text), found, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_is() {
        for (text, part) in [
            ("", "expected days and times as in"),
            (" , ", "expected days and times as in"),
            ("Mno 08:00-18:00", "but \"Mno\" is neither a day nor a time; did you mean Mon?"),
            ("workdays", "days are Mon, Tue,"),
            ("Mon-Fry", "but \"Mon-Fry\" is neither a day nor a time; did you mean Fri?"),
            ("Mon-", "but \"Mon-\" is neither a day nor a time"),
            ("Mon - Fri", "not \"Mon - Fri\"; write ranges without blanks around -"),
            ("Sat, Mon 08:00- 18:00", "write ranges without blanks around -"),
            ("Mon 08:00", "expected a range of times as in \"08:00-18:00\", to 24:00 at most, not \"08:00\""),
            ("8-18", "not \"8-18\""),
            ("08:00-24:01", "not \"08:00-24:01\""),
            ("24:00-02:00", "not \"24:00-02:00\""),
            ("08:60-09:00", "not \"08:60-09:00\""),
            ("08:0+-09:00", "not \"08:0+-09:00\""),
            ("08:00-08:00", "begins and ends at the same time; a whole day is 00:00-24:00"),
            (&"Mon,".repeat(200), "of at most 500 bytes, not 800"),
        ] {
            let error = WeekTimes::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
