//! What a misspelt word was likely meant to be.

/// The candidate that `word` is most likely a misspelling of: the nearest by [`distance`] of those at most a third of the word's length
/// away (one edit in words of three to five characters), the earlier one of equals. Without such, the only candidate that begins
/// with the word.
pub(crate) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters: Vec<char> = word.chars().collect();
    let edits_max = letters.len() / 3;
    let (mut nearest, mut begun) = (None, Vec::new());
    for candidate in candidates {
        let other: Vec<char> = candidate.chars().collect();
        if letters.len().abs_diff(other.len()) <= edits_max {
            let edits = distance(&letters, &other);
            if edits <= edits_max && nearest.is_none_or(|(least, _)| edits < least) {
                nearest = Some((edits, candidate));
            }
        }
        if letters.len() >= 2 && candidate.starts_with(word) {
            begun.push(candidate);
        }
    }
    match (nearest, &begun[..]) {
        (Some((_, candidate)), _) | (None, &[candidate]) => Some(candidate),
        _ => None,
    }
}

/// The least number of edits between two words: a character added, removed or replaced, or two neighbours swapped.
fn distance(a: &[char], b: &[char]) -> usize {
    // Rows of the table of distances between beginnings of the words: the last but one, the last, and the next.
    let (mut before, mut last) = (Vec::new(), (0..=b.len()).collect::<Vec<_>>());
    for i in 0..a.len() {
        let mut next = vec![i + 1];
        for j in 0..b.len() {
            let replaced = last[j] + usize::from(a[i] != b[j]);
            let mut edits = replaced.min(last[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                edits = edits.min(before[j - 1] + 1);
            }
            next.push(edits);
        }
        before = std::mem::replace(&mut last, next);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edits(a: &str, b: &str) -> usize {
        distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>())
    }

    #[test]
    fn each_edit_counts_once() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("pause", "pause", 0),
            ("dowload", "download", 1),
            ("pausse", "pause", 1),
            ("pauze", "pause", 1),
            ("relaod", "reload", 1),
            ("ab", "ba", 1),
            ("kitten", "sitting", 3),
            ("é", "e", 1),
        ] {
            assert_eq!((edits(a, b), edits(b, a)), (expected, expected), "{a} {b}");
        }
    }

    #[test]
    fn the_nearest_word_is_meant_and_a_far_one_is_not() {
        let words = ["download", "downloads", "list", "listen_port", "log_file", "log_level", "pause", "rescan"];
        for (word, expected) in [
            ("dowload", Some("download")),
            ("donwloads", Some("downloads")),
            ("listen-port", Some("listen_port")),
            ("log_levle", Some("log_level")),
            ("lst", Some("list")),
            ("pause", Some("pause")),
            ("pa", Some("pause")),
            ("res", Some("rescan")),
            ("log", None),
            ("xy", None),
            ("x", None),
            ("", None),
            ("upload", None),
            ("frobnicate", None),
        ] {
            assert_eq!(closest(word, words), expected, "{word}");
        }
        assert_eq!(closest("lost", ["last", "list"]), Some("last"), "the earlier one of equals");
        assert_eq!(closest("a", []), None);
    }
}
