//! The sentences that a source file makes for users.

/// What holds texts for those who run or change the program (the log, assertions, attributes of lints), and the help for the
/// command line, which stands in attributes.
const FOR_OTHERS: [&str; 7] = ["log::", "assert", "panic!(", "unreachable!(", "reason = ", "note = ", "error_code("];

/// What makes an error of a call from a text, whatever stands in it.
const ERRORS: [&str; 2] = ["CallError::new(", "CallError {"];

/// The lines, with their numbers, that make an error of a call, or have a text of two words or more that is not
/// [`FOR_OTHERS`]. Tests at the end of the file are left out.
pub(crate) fn made_in(code: &str) -> Vec<(usize, &str)> {
    let lines: Vec<&str> = code.lines().collect();
    let end = lines.windows(2).position(|pair| pair == ["#[cfg(test)]", "mod tests {"]).unwrap_or(lines.len());
    let indent = |line: &str| line.len() - line.trim_start().len();
    let is_made = |at: &usize| {
        let line = lines[*at];
        // rustfmt puts an argument on a line of its own below the call, further to the right.
        let call = lines[..*at].iter().rev().find(|before| !before.is_empty() && indent(before) < indent(line));
        let is_for_others =
            FOR_OTHERS.iter().any(|others| line.contains(others) || call.is_some_and(|it| it.contains(others)));
        let makes = |error: &&str| line.contains(*error) && !line.ends_with("-> CallError {");
        ERRORS.iter().any(makes) || has_sentence(line) && !is_for_others
    };
    (0..end)
        .filter(|at| !lines[*at].trim_start().starts_with("//"))
        .filter(is_made)
        .map(|at| (at + 1, lines[at]))
        .collect()
}

/// Whether a text in this line, or one that begins in it, has two words with a blank between them.
fn has_sentence(line: &str) -> bool {
    // Texts are between quotes; a quote as a character or behind a backslash is none.
    let line = line.replace("'\"'", "").replace("\\\"", "");
    let is_word = |word: &str| word.trim_matches(|c: char| !c.is_alphabetic()).len() > 1;
    let has_words =
        |text: &str| text.split(' ').collect::<Vec<_>>().windows(2).any(|pair| pair.iter().all(|word| is_word(word)));
    line.split('"').skip(1).step_by(2).any(has_words)
}

#[test]
fn sentences_are_told_from_what_is_not_for_users() {
    let code = r##"
fn f() -> Option<String> {
    // "a comment is none"
    log::warn!("the disk is full");
    assert!(
        x > 0,
        "the node counts from one"
    );
    let b3 = format!("b3={b3}");
    Err(CallError::new(code, text))?;
    let why = "no such file";
    match c {
        '"' => Some("it says \"no\" again".to_owned()),
        _ => Some(format!(
            "{files} files are too many: \
             cancel some"
        )),
    }
}
#[derive(Error)]
enum Fault {
    #[error("the reader went away")]
    Gone,
}
#[cfg(test)]
mod tests {
    const TEXT: &str = "this is a test";
}
"##;
    let numbers: Vec<_> = made_in(code).into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, [10, 11, 13, 15, 22]);
}
