//! Ids as users type them: `7`, `2,4-6`, `all`, and unique prefixes.

use super::{CallError, ExitCode};
use crate::name::Escaped;
use std::borrow::Borrow;

/// Reads ids of hits or downloads against those that are `known`: a list, separated by commas, of an id, the unique
/// beginning of an id (an exact id wins), a range `4-6` of which at least one must be known, or `all`.
///
/// Returns them in the order typed, ranges and `all` ascending, none twice; never an empty list.
///
/// # Errors
///
/// [`ExitCode::Usage`] when the text is none of these or a prefix fits several; [`ExitCode::NotFound`] when nothing
/// known fits a part of it.
pub fn parse_ids<K>(text: &str, known: K) -> Result<Vec<u32>, CallError>
where
    K: IntoIterator,
    K::Item: Borrow<u32>,
{
    let mut known: Vec<u32> = known.into_iter().map(|id| *id.borrow()).collect();
    known.sort_unstable();
    known.dedup();
    let mut chosen = Vec::new();
    for part in text.split(',') {
        chosen.extend(match_part(part.trim(), &known)?);
    }
    let mut seen = std::collections::BTreeSet::new();
    chosen.retain(|id| seen.insert(*id));
    Ok(chosen)
}

/// The ids that one part between commas stands for; at least one. `known` is sorted.
fn match_part(part: &str, known: &[u32]) -> Result<Vec<u32>, CallError> {
    let shown = Escaped(part.as_bytes());
    if part == "all" {
        // Of downloads, `all` means those that are not over (Request::Cancel): there may be others.
        let none = "'all' stands for nothing here: no hit is remembered, or no download is unfinished";
        return if known.is_empty() { Err(not_found(none)) } else { Ok(known.to_vec()) };
    }
    if let Some((first, last)) = part.split_once('-') {
        let (Some(first), Some(last)) = (number(first), number(last)) else { return Err(malformed(part)) };
        if first > last {
            return Err(CallError::new(ExitCode::Usage, format!("the range {shown} is empty")));
        }
        let from = known.partition_point(|&id| id < first);
        let to = known.partition_point(|&id| id <= last);
        return if from == to { Err(not_found(format!("no such ids: {shown}"))) } else { Ok(known[from..to].to_vec()) };
    }
    let Some(id) = number(part) else { return Err(malformed(part)) };
    if known.binary_search(&id).is_ok() {
        return Ok(vec![id]);
    }
    let fits: Vec<u32> = known.iter().copied().filter(|id| id.to_string().starts_with(part)).collect();
    match fits[..] {
        [] => Err(not_found(format!("no such id: {shown}"))),
        [_] => Ok(fits),
        [first, second, ..] => Err(CallError::new(
            ExitCode::Usage,
            format!("{shown} is the beginning of {} ids ({first}, {second}…); type one whole", fits.len()),
        )),
    }
}

/// A decimal number without sign; `None` for everything else.
fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn not_found(message: impl Into<String>) -> CallError {
    CallError::new(ExitCode::NotFound, message)
}

fn malformed(part: &str) -> CallError {
    let part: String = part.chars().take(40).collect();
    let message = format!("not an id: '{}'; ids are numbers, as 7 or 2,4-6, or all", Escaped(part.as_bytes()));
    CallError::new(ExitCode::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str, known: &[u32]) -> i32 {
        parse_ids(text, known).unwrap_err().code
    }

    #[test]
    fn lists_ranges_and_all_come_out_in_the_order_typed_without_repeats() {
        let known = [9, 2, 4, 5, 6];
        assert_eq!(parse_ids("2,4-6", known).unwrap(), [2, 4, 5, 6]);
        assert_eq!(parse_ids("9, 5-7 ,5,2", known).unwrap(), [9, 5, 6, 2]);
        assert_eq!(parse_ids("all", known).unwrap(), [2, 4, 5, 6, 9]);
        assert_eq!(parse_ids("6,all", known).unwrap(), [6, 2, 4, 5, 9]);
        assert_eq!(parse_ids("0-4294967295", known).unwrap().len(), 5);
    }

    #[test]
    fn an_exact_id_wins_over_a_longer_one_and_a_prefix_must_be_unique() {
        assert_eq!(parse_ids("1", [1, 12, 13]).unwrap(), [1]);
        assert_eq!(parse_ids("2", [1, 12, 23]).unwrap(), [23]);
        let error = parse_ids("1", [12, 13]).unwrap_err();
        assert_eq!(error.code, ExitCode::Usage as i32);
        assert!(error.message.contains("12, 13"));
    }

    #[test]
    fn what_is_not_there_is_not_found_and_what_is_no_id_is_a_usage_error() {
        for text in ["7", "2,7", "7-8", "all"] {
            let known: &[u32] = if text == "all" { &[] } else { &[2, 4] };
            assert_eq!(code(text, known), ExitCode::NotFound as i32, "{text}");
        }
        // True also when downloads are remembered, all of them over.
        assert!(parse_ids("all", [0u32; 0]).unwrap_err().message.contains("no download is unfinished"));
        for text in ["", ",", "2,", "x", "-3", "3-", "4-2", "+2", "2-4-6", "99999999999", "a\x1b[31m", "ALL"] {
            assert_eq!(code(text, &[2, 4]), ExitCode::Usage as i32, "{text}");
        }
        assert!(!parse_ids("a\x1b[31m", [2]).unwrap_err().message.contains('\x1b'));
    }
}
