//! Ids as users type them: `7`, `2,4-6`, `all`, and where it does no harm, unique prefixes.

use super::Problem;
use std::collections::{BTreeMap, BTreeSet};

/// Which ids a part of the text may stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdForm {
    /// Whole ids only: for what stops or removes something.
    Whole,
    /// Also the beginning of exactly one id: for what only looks, fetches or retries.
    Beginnings,
}

/// Reads ids of hits or downloads against those that are `known`: a list, separated by commas, of an id, a range `4-6`
/// of which at least one must be known, or `all`; with [`IdForm::Beginnings`] also the unique beginning of an id (a whole
/// id is preferred).
///
/// Returns them in the order typed, ranges and `all` ascending, none twice. Where no id is known, `all` is allowed
/// and gives none.
///
/// # Errors
///
/// When the text is none of these, a beginning fits several, or nothing known fits a part of it.
pub(crate) fn parse_ids(text: &str, form: IdForm, known: impl IntoIterator<Item = u32>) -> Result<Vec<u32>, Problem> {
    let known = KnownIds::from_iter(known);
    parse(text, form, &known.0, || known.0.clone())
}

/// As [`parse_ids`], where `all` stands for other ids than those that are known.
pub(crate) fn parse_ids_with_all(
    text: &str,
    form: IdForm,
    known: &KnownIds,
    all: impl IntoIterator<Item = u32>,
) -> Result<Vec<u32>, Problem> {
    parse(text, form, &known.0, || KnownIds::from_iter(all).0)
}

/// As [`parse_ids_with_all`], for what fetches files. Of ids that are directories, only those are chosen that are named alone: a
/// range and `all` stand for files, and a directory holds files that have ids too.
///
/// # Errors
///
/// As [`parse_ids`], and when nothing is left but directories in ranges.
pub(crate) fn parse_ids_of_files(
    text: &str,
    known: &KnownIds,
    all: impl IntoIterator<Item = u32>,
    is_directory: impl Fn(u32) -> bool,
) -> Result<Vec<u32>, Problem> {
    let chosen = parse_ids_with_all(text, IdForm::Beginnings, known, all)?;
    let Some(directory) = chosen.iter().copied().find(|id| is_directory(*id)) else { return Ok(chosen) };
    let alone = |part: &&str| !part.contains('-') && part.trim() != "all";
    let mut named: BTreeSet<u32> = BTreeSet::new();
    for part in text.split(',').filter(alone) {
        named.extend(match_part(part.trim(), IdForm::Beginnings, &known.0)?);
    }
    let kept: Vec<u32> = chosen.into_iter().filter(|id| named.contains(id) || !is_directory(*id)).collect();
    if kept.is_empty() { Err(Problem::DirectoriesInRange { id: directory }) } else { Ok(kept) }
}

/// The ids that are known, to read several texts by: there may be a million.
pub(crate) struct KnownIds(Vec<u32>);

impl FromIterator<u32> for KnownIds {
    fn from_iter<T: IntoIterator<Item = u32>>(ids: T) -> Self {
        let mut ids = Vec::from_iter(ids);
        // The stable sort merges what is ascending already.
        ids.sort();
        ids.dedup();
        Self(ids)
    }
}

/// Takes time for each part and for each id chosen, however often the parts name the same ids: a line of two thousand times
/// `all` must not stop the daemon.
fn parse(text: &str, form: IdForm, known: &[u32], all: impl FnOnce() -> Vec<u32>) -> Result<Vec<u32>, Problem> {
    let (mut chosen, mut spans) = (Vec::new(), BTreeMap::new());
    let mut all = Some(all);
    for part in text.split(',') {
        let part = part.trim();
        if part == "all" {
            let all = all.take().map(|all| all()).unwrap_or_default();
            neighbours(&all, known).for_each(|ids| choose(ids, &mut spans, &mut chosen));
            continue;
        }
        choose(match_part(part, form, known)?, &mut spans, &mut chosen);
    }
    Ok(chosen)
}

impl Problem {
    /// The same where the ids are those of hits.
    pub(crate) fn of_hits(self) -> Self {
        match self {
            Self::NoSuchId { part } | Self::NoIdInRange { part } => Self::NoSuchHit { part },
            other => other,
        }
    }

    /// The same where the ids are those of downloads.
    pub(crate) fn of_downloads(self) -> Self {
        match self {
            Self::NoSuchId { part } | Self::NoIdInRange { part } => Self::NoSuchDownload { part },
            other => other,
        }
    }

    /// The same where the ids are those of wishes.
    pub(crate) fn of_wishes(self) -> Self {
        match self {
            Self::NoSuchId { part } | Self::NoIdInRange { part } => Self::NoSuchWishId { part },
            other => other,
        }
    }
}

/// The ids in runs of those that are neighbours among the known ones, such as the rows of one list.
fn neighbours<'a>(ids: &'a [u32], known: &'a [u32]) -> impl Iterator<Item = &'a [u32]> {
    let mut rest = ids;
    std::iter::from_fn(move || {
        let first = *rest.first()?;
        let from = known.partition_point(|id| *id < first);
        let alike = rest.iter().zip(&known[from..]).take_while(|(id, other)| id == other).count();
        let (run, others) = rest.split_at(alike.max(1));
        rest = others;
        Some(run)
    })
}

/// Adds those of these ids, which are neighbours, that are not chosen yet. `spans` has the first and the last id of each run that
/// is: none of them overlap.
fn choose(ids: &[u32], spans: &mut BTreeMap<u32, u32>, chosen: &mut Vec<u32>) {
    let (Some(&first), Some(&last)) = (ids.first(), ids.last()) else { return };
    let (mut from, mut to, mut left) = (first, last, ids);
    let before = spans.range(..first).next_back().filter(|(_, end)| **end >= first).map(|(begin, _)| *begin);
    let begins: Vec<u32> = before.into_iter().chain(spans.range(first..=last).map(|(begin, _)| *begin)).collect();
    for begin in begins {
        let Some(end) = spans.remove(&begin) else { continue };
        let unchosen = left.partition_point(|id| *id < begin);
        chosen.extend(&left[..unchosen]);
        left = &left[left.partition_point(|id| *id <= end)..];
        (from, to) = (from.min(begin), to.max(end));
    }
    chosen.extend(left);
    spans.insert(from, to);
}

/// The ids that one part between commas stands for; at least one, and all that are known between the first and the last.
fn match_part<'a>(part: &str, form: IdForm, known: &'a [u32]) -> Result<&'a [u32], Problem> {
    if let Some((first, last)) = part.split_once('-') {
        let (Some(first), Some(last)) = (number(first), number(last)) else { return Err(malformed(part)) };
        if first > last {
            return Err(Problem::EmptyRange { part: part.to_owned() });
        }
        let ids = between(known, first.into(), last.into());
        return if ids.is_empty() { Err(Problem::NoIdInRange { part: part.to_owned() }) } else { Ok(ids) };
    }
    let Some(id) = number(part) else { return Err(malformed(part)) };
    let whole = between(known, id.into(), id.into());
    if !whole.is_empty() {
        return Ok(whole);
    }
    let fits = beginning_with(id, known);
    let count: usize = fits.iter().map(|ids| ids.len()).sum();
    let (part, examples) = (part.to_owned(), fits.iter().copied().flatten().take(2).copied().collect());
    match (form, count) {
        (_, 0) => Err(Problem::NoSuchId { part }),
        (IdForm::Beginnings, 1) => Ok(fits.into_iter().find(|ids| !ids.is_empty()).unwrap_or_default()),
        (IdForm::Beginnings, _) => Err(Problem::AmbiguousId { part, count, examples }),
        (IdForm::Whole, _) => Err(Problem::NotWhole { part, examples }),
    }
}

/// The ids from one to another, both included.
fn between(known: &[u32], first: u64, last: u64) -> &[u32] {
    let from = known.partition_point(|&id| u64::from(id) < first);
    let to = known.partition_point(|&id| u64::from(id) <= last);
    &known[from..to]
}

/// The longer ids whose decimal form begins with this one's, by their length.
fn beginning_with(id: u32, known: &[u32]) -> Vec<&[u32]> {
    let mut fits = Vec::new();
    let mut scale = 10;
    while id > 0 && u64::from(id) * scale <= u64::from(u32::MAX) {
        fits.push(between(known, u64::from(id) * scale, u64::from(id) * scale + scale - 1));
        scale *= 10;
    }
    fits
}

/// A decimal number without sign; `None` for everything else.
fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn malformed(part: &str) -> Problem {
    Problem::NotAnId { part: part.chars().take(40).collect() }
}

#[cfg(test)]
mod tests {
    use super::IdForm::{Beginnings, Whole};
    use super::*;
    use crate::control::{CallError, ExitCode};

    fn code(text: &str, form: IdForm, known: &[u32]) -> i32 {
        CallError::from(parse_ids(text, form, known.iter().copied()).unwrap_err()).code
    }

    #[test]
    fn lists_ranges_and_all_come_out_in_the_order_typed_without_repeats() {
        let known = [9, 2, 4, 5, 6];
        for form in [Whole, Beginnings] {
            assert_eq!(parse_ids("2,4-6", form, known).unwrap(), [2, 4, 5, 6]);
            assert_eq!(parse_ids("9, 5-7 ,5,2", form, known).unwrap(), [9, 5, 6, 2]);
            assert_eq!(parse_ids("all", form, known).unwrap(), [2, 4, 5, 6, 9]);
            assert_eq!(parse_ids("6,all", form, known).unwrap(), [6, 2, 4, 5, 9]);
            assert_eq!(parse_ids("0-4294967295", form, known).unwrap().len(), 5);
        }
    }

    #[test]
    fn ids_that_are_named_again_and_again_are_looked_at_once() {
        let known: Vec<u32> = (1..=100_000).collect();
        for part in ["all", "1-100000", "1-99999,all"] {
            let text = vec![part; 2_000].join(",");
            assert_eq!(parse_ids(&text, Whole, known.iter().copied()).unwrap(), known);
        }
        assert_eq!(parse_ids("5-7,1-6,9,2-10", Whole, 1..=10).unwrap(), [5, 6, 7, 1, 2, 3, 4, 9, 8, 10]);
    }

    #[test]
    fn ids_are_taken_in_runs_of_neighbours() {
        let known: Vec<u32> = (1..=9).chain(20..=29).collect();
        let runs = |ids: &[u32]| neighbours(ids, &known).map(<[u32]>::to_vec).collect::<Vec<_>>();
        assert_eq!(runs(&[2, 3, 4, 6, 9, 20, 21]), [vec![2, 3, 4], vec![6], vec![9, 20, 21]]);
        assert_eq!((runs(&known).len(), runs(&[]).len()), (1, 0));
    }

    #[test]
    fn an_exact_id_wins_over_a_longer_one_and_a_beginning_must_be_unique() {
        assert_eq!(parse_ids("1", Beginnings, [1, 12, 13]).unwrap(), [1]);
        assert_eq!(parse_ids("2", Beginnings, [1, 12, 23]).unwrap(), [23]);
        assert_eq!(parse_ids("42", Beginnings, [1, 4_200_000_000]).unwrap(), [4_200_000_000]);
        let error = CallError::from(parse_ids("1", Beginnings, [12, 13]).unwrap_err());
        assert_eq!(error.code, ExitCode::Usage as i32);
        assert!(error.message.contains("12, 13"));
    }

    #[test]
    fn whole_ids_are_never_taken_for_the_beginning_of_others() {
        for known in [&[1, 12, 23][..], &[1, 20, 21, 200]] {
            let error = CallError::from(parse_ids("2", Whole, known.iter().copied()).unwrap_err());
            assert_eq!(error.code, ExitCode::NotFound as i32);
            assert!(error.message.contains("type whole ids, as 2"), "{}", error.message);
            assert_eq!(code("1,2", Whole, known), ExitCode::NotFound as i32);
        }
        assert_eq!(parse_ids("2", Whole, [2, 23]).unwrap(), [2]);
    }

    #[test]
    fn ranges_and_all_stand_for_files() {
        let (known, last) = (KnownIds::from_iter([1, 2, 3, 4, 5, 60]), [3, 4, 5]);
        let parse = |text| parse_ids_of_files(text, &known, last, |id| matches!(id, 3 | 60));
        for (text, chosen) in [
            ("1-5", &[1, 2, 4, 5][..]),
            ("all", &[4, 5]),
            ("3", &[3]),
            ("6", &[60]),
            ("3,1-4", &[3, 1, 2, 4]),
            ("1-4, 3", &[1, 2, 3, 4]),
            ("all,60", &[4, 5, 60]),
            ("2", &[2]),
        ] {
            assert_eq!(parse(text).unwrap(), chosen, "{text}");
        }
        assert_eq!(parse("3-3"), Err(Problem::DirectoriesInRange { id: 3 }));
        assert_eq!(parse("7"), Err(Problem::NoSuchId { part: "7".into() }));
    }

    #[test]
    fn all_may_stand_for_some_of_those_that_are_known() {
        let ids =
            |text, all: &[u32]| parse_ids_with_all(text, Whole, &KnownIds::from_iter([1, 2, 3]), all.iter().copied());
        assert_eq!(ids("all", &[2, 3]).unwrap(), [2, 3]);
        assert_eq!(ids("1,all", &[2]).unwrap(), [1, 2]);
        assert_eq!((ids("all", &[]).unwrap(), ids("all, all", &[]).unwrap()), (vec![], vec![]));
        assert_eq!(ids("all,3", &[]).unwrap(), [3], "what is named besides counts");
        assert_eq!((ids("2,all", &[1, 3]).unwrap(), ids("2,all", &[1, 2, 3]).unwrap()), (vec![2, 1, 3], vec![2, 1, 3]));
        assert_eq!(ids("all,7", &[]), Err(Problem::NoSuchId { part: "7".to_owned() }));
    }

    #[test]
    fn what_is_not_there_is_not_found_and_what_is_no_id_is_a_usage_error() {
        for form in [Whole, Beginnings] {
            for text in ["7", "2,7", "7-8"] {
                assert_eq!(code(text, form, &[2, 4]), ExitCode::NotFound as i32, "{text}");
            }
            for text in ["", ",", "2,", "x", "-3", "3-", "4-2", "+2", "2-4-6", "99999999999", "a\x1b[31m", "ALL"] {
                assert_eq!(code(text, form, &[2, 4]), ExitCode::Usage as i32, "{text}");
            }
            assert!(!parse_ids("a\x1b[31m", form, [2]).unwrap_err().to_string().contains('\x1b'));
        }
    }
}
