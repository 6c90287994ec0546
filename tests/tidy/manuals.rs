//! The manual pages say what the programs say of themselves, and name no page that does not exist. What they say of the keys
//! of the configuration is compared in `src/daemon/keys/tests.rs`.

use super::{none, package, read};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The arguments of a macro.
fn arguments(line: &str) -> Vec<String> {
    let (mut found, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => found.push(std::mem::take(&mut word)),
            _ => word.push(c),
        }
    }
    found.push(word);
    found.retain(|word| !word.is_empty());
    found
}

/// The text of a page of man(7) without its markup, as one line.
fn plain(page: &str) -> String {
    let mut words = Vec::new();
    for line in page.lines() {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        match name {
            ".BR" | ".RB" | ".IR" | ".RI" | ".BI" | ".IB" => words.push(arguments(rest).concat()),
            ".B" | ".I" | ".SH" | ".SS" => words.push(arguments(rest).join(" ")),
            _ if line.starts_with('.') => {}
            _ => words.push(line.to_owned()),
        }
    }
    let mut text = words.join(" ");
    for (escape, shown) in [
        ("\\-", "-"),
        ("\\(ti", "~"),
        ("\\(dq", "\""),
        ("\\(aq", "'"),
        ("\\fB", ""),
        ("\\fI", ""),
        ("\\fR", ""),
        ("\\fP", ""),
        ("\\&", ""),
        ("\\ ", " "),
        ("\\e", "\\"),
    ] {
        text = text.replace(escape, shown);
    }
    text
}

fn help() -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_pyrated")).arg("--help").output().unwrap();
    String::from_utf8(run.stdout).unwrap()
}

/// The entries of a section of a help text: the names, and what is said of them.
fn entries(help: &str, section: &str) -> Vec<(Vec<String>, String)> {
    let mut found: Vec<(Vec<String>, String)> = Vec::new();
    for line in help.lines().skip_while(|line| *line != section).skip(1).take_while(|line| !line.is_empty()) {
        let is_name = |word: &&str| word.starts_with('-') || word.parse::<u8>().is_ok();
        if line.starts_with("  ") && !line.starts_with("   ") {
            let names: Vec<&str> = line.split_whitespace().take_while(is_name).collect();
            let text = line.split_whitespace().skip(names.len()).collect::<Vec<_>>().join(" ");
            found.push((names.iter().map(|name| name.trim_end_matches(',').to_owned()).collect(), text));
        } else if let Some((_, text)) = found.last_mut() {
            *text =
                [text.as_str(), line.trim()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        }
    }
    found
}

/// A text of the help as the beginning of a sentence of the manual.
fn sentence(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    first.to_uppercase() + &rest.replace('`', "")
}

#[test]
fn the_manual_of_the_daemon_has_its_options_as_its_help_has_them() {
    let (page, help) = (read("contrib/man/pyrated.8"), help());
    let text = plain(&page);
    let words: BTreeSet<&str> = text.split([' ', ',', '.']).collect();
    let keys: Vec<String> = pyrate::daemon::KEYS.iter().map(|key| key.option_name()).collect();
    let options = entries(&help, "Options:");
    assert_eq!(options.len(), keys.len() + 5, "{options:?}");
    let mut complaints = Vec::new();
    for (names, meaning) in options {
        let missing = names.iter().filter(|name| !words.contains(name.as_str()));
        complaints.extend(missing.map(|name| format!("pyrated(8) lacks {name}")));
        // What is said of keys is in pyrated.toml(5).
        if !names.iter().any(|name| keys.contains(name)) && !text.contains(&sentence(&meaning)) {
            complaints.push(format!("pyrated(8) lacks, for {names:?}: {}", sentence(&meaning)));
        }
    }
    let known: BTreeSet<String> = entries(&help, "Options:").into_iter().flat_map(|(names, _)| names).collect();
    let section = page.split_once("\n.SH OPTIONS\n").unwrap().1.split_once("\n.SH ").unwrap().0;
    let named = plain(section);
    let stale = named.split([' ', ',', '.']).filter(|word| word.starts_with("--") && !known.contains(*word));
    complaints.extend(stale.map(|word| format!("pyrated(8) has an option that there is not: {word}")));
    none(complaints);
}

#[test]
fn the_pages_use_the_macros_of_one_package() {
    // groff reports others as warnings, and leaves their words out.
    const MAN: &[&str] = &[
        "B", "BI", "BR", "I", "IB", "IP", "IR", "PP", "RB", "RE", "RI", "RS", "SH", "SS", "TH", "TP", "br", "fi", "nf",
        "nh",
    ];
    const MDOC: &[&str] = &[
        "Ar", "Bd", "Bl", "Cm", "Dd", "Dq", "Dt", "Dv", "Ed", "El", "Ev", "Fl", "Ic", "It", "Nd", "Nm", "Op", "Os",
        "Pa", "Pc", "Po", "Pp", "Pq", "Ql", "Sh", "Ss", "Sx", "Xc", "Xr",
    ];
    let mut complaints = Vec::new();
    for page in ["pyrate.7", "pyratectl.1", "pyrated.8", "pyrated.toml.5"] {
        let text = read(&format!("contrib/man/{page}"));
        let known = if text.lines().any(|line| line.starts_with(".TH ")) { MAN } else { MDOC };
        for (number, line) in text.lines().enumerate() {
            let name = line.strip_prefix('.').and_then(|rest| rest.split(' ').next());
            let unknown = name.filter(|name| !name.starts_with('\\') && !known.contains(name));
            complaints.extend(unknown.map(|name| format!("contrib/man/{page}:{}: no macro .{name}", number + 1)));
        }
    }
    none(complaints);
}

#[test]
fn the_manual_of_the_daemon_has_its_exit_codes_as_its_help_has_them() {
    let page = read("contrib/man/pyrated.8");
    let section = page.split_once("\n.SH EXIT STATUS\n").unwrap().1.split_once("\n.SH ").unwrap().0;
    let described: Vec<(&str, String)> = section
        .split(".TP\n.B ")
        .skip(1)
        .map(|entry| entry.split_once('\n').map(|(code, text)| (code, plain(text))).unwrap())
        .collect();
    let codes = entries(&help(), "Error codes:");
    let mut complaints = Vec::new();
    for (names, meaning) in &codes {
        let found = described.iter().find(|(code, _)| names[..] == [*code]);
        if !found.is_some_and(|(_, text)| text.starts_with(&sentence(meaning))) {
            complaints.push(format!("pyrated(8), EXIT STATUS lacks, for {names:?}: {}", sentence(meaning)));
        }
    }
    let stale = described.iter().filter(|(code, _)| !codes.iter().any(|(names, _)| names[..] == [*code]));
    complaints.extend(stale.map(|(code, _)| format!("pyrated(8) has an exit code that --help has not: {code}")));
    none(complaints);
}

#[test]
fn the_manual_of_the_protocol_has_all_its_forms() {
    let (protocol, text) = (read("contrib/doc/protocol.md").replace('…', "..."), plain(&read("contrib/man/pyrate.7")));
    let specified = protocol.split_once("\n## Limits and abuse\n").unwrap().0;
    let rows = specified.lines().filter(|line| line.starts_with('|'));
    // Between backticks.
    let forms: BTreeSet<&str> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    assert!(forms.contains("6:ID:FileString:RequestingIP:RequestingPort:TTL") && forms.contains("not_hashed"));
    let missing = forms.iter().filter(|form| !text.contains(**form));
    none(missing.map(|form| format!("pyrate(7) lacks `{form}`")).collect());
}

/// The files below a directory that may name manual pages.
fn texts_below(directory: &str) -> Vec<PathBuf> {
    let (mut found, mut left) = (Vec::new(), vec![package().join(directory)]);
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found
}

/// Our pages that a line names, as `NAME.SECTION`: `NAME(1)`, roff's `.BR NAME (1)` and mdoc's `.Xr NAME 1`.
fn pages_named(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices('(') {
        let section = line[at + 1..].split(')').next().unwrap_or_default();
        let before = line[..at].strip_suffix(' ').unwrap_or(&line[..at]);
        let name = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '.').next().unwrap_or_default();
        found.push((name, section));
    }
    let words: Vec<&str> = line.split(' ').collect();
    found.extend(words.windows(3).filter(|words| words[0] == ".Xr").map(|words| (words[1], words[2])));
    let ours = found.into_iter().filter(|(name, section)| {
        name.starts_with("pyrate") && section.len() == 1 && section.bytes().all(|b| b.is_ascii_digit())
    });
    ours.map(|(name, section)| format!("{name}.{section}")).collect()
}

#[test]
fn every_page_that_is_named_exists_and_is_named_as_its_file() {
    let pages: BTreeSet<String> = fs::read_dir(package().join("contrib/man"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut complaints = Vec::new();
    for page in &pages {
        let (name, section) = page.rsplit_once('.').unwrap();
        let text = read(&format!("contrib/man/{page}"));
        let title = format!("{} {section}", name.to_uppercase());
        let heads = [format!(".TH {title} "), format!(".Dt {title}")];
        if !text.lines().any(|line| heads.iter().any(|head| line.starts_with(head))) {
            complaints.push(format!("contrib/man/{page}: its title is another one"));
        }
        // Each page leads to all others.
        let see = text.to_uppercase().rfind("SEE ALSO").map_or("", |at| &text[at..]);
        let linked: BTreeSet<String> = see.lines().flat_map(pages_named).collect();
        let missing = pages.iter().filter(|other| *other != page && !linked.contains(*other));
        complaints.extend(missing.map(|other| format!("contrib/man/{page}: SEE ALSO lacks {other}")));
    }
    let files = ["src", "tests", "contrib", "systemd", ".ci"].into_iter().flat_map(texts_below);
    for path in files.chain([package().join("README.md")]) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (number, line) in text.lines().enumerate() {
            let unknown = pages_named(line).into_iter().filter(|page| !pages.contains(page));
            complaints.extend(unknown.map(|page| {
                format!("{}:{}: there is no page {page}", path.strip_prefix(package()).unwrap().display(), number + 1)
            }));
        }
    }
    none(complaints);
}
