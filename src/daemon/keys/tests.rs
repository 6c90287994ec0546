//! What users read of the keys is what the table says: in the manual, the sample and the README.

use super::super::fault::{EXIT_CONFIG, EXIT_IN_USE, EXIT_OTHER};
use super::*;
use std::collections::BTreeSet;

const MANUAL: &str = include_str!("../../../contrib/man/pyrated.toml.5");
const SAMPLE: &str = include_str!("../../../contrib/pyrated.toml");
const README: &str = include_str!("../../../README.md");

/// What a key is set to by this line of a file, alone; `None` if it sets no key.
fn set_by(line: &str) -> Option<(&'static Key, Config)> {
    let (name, value) = line.split_once(" = ")?;
    let key = KEYS.iter().find(|key| key.name == name)?;
    let value = DeValue::parse(value).unwrap_or_else(|error| panic!("{line}: {error}"));
    // Every value differs from the one that is set.
    let mut config = Config::default();
    (key.set_toml)(&mut config, value.get_ref()).unwrap_or_else(|fault| panic!("{line}: {}", fault.message));
    Some((key, config))
}

/// The meaning of a key as a sentence.
fn sentence(key: &Key) -> String {
    let (first, rest) = key.meaning.split_at(1);
    format!("{}{rest}.", first.to_uppercase())
}

fn fail_if_any(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// What follows the tag of a key in the manual, as the table has it.
fn manual_entry(key: &Key) -> String {
    let roff = |text: &str| text.replace('\\', "\\e").replace('-', "\\-").replace('~', "\\(ti");
    let mut entry = format!("{}\n", roff(&sentence(key)));
    if !key.unset.is_empty() {
        entry += &format!("Default: {}.\n", roff(key.unset));
    }
    if key.in_force_from == InForceFrom::NextStart {
        entry += "A change is in force from the next start.\n";
    }
    entry
}

/// The entries of the manual: what sets the key, and what is said of it.
fn manual_entries() -> Vec<(String, &'static str)> {
    let keys = MANUAL.split_once("\n.SH KEYS\n").unwrap().1.split_once("\n.SH FILES\n").unwrap().0;
    let entries = keys.split("\n.TP\n.B ").skip(1).map(|entry| entry.split_once('\n').unwrap());
    entries.map(|(tag, rest)| (tag.replace("\\(dq", "\"").replace("\\(ti", "~").replace("\\-", "-"), rest)).collect()
}

#[test]
fn the_manual_has_each_key_with_its_default_its_meaning_and_its_range() {
    let (mut complaints, mut seen) = (Vec::new(), BTreeSet::new());
    for (line, text) in manual_entries() {
        let Some((key, config)) = set_by(&line) else {
            complaints.push(format!("pyrated.toml(5) has an entry of no key: {line}"));
            continue;
        };
        assert!(seen.insert(key.name), "pyrated.toml(5) has {} twice", key.name);
        if config != Config::default() {
            complaints.push(format!("pyrated.toml(5): this is not the default: {line}"));
        }
        if !format!("{text}\n").starts_with(&manual_entry(key)) {
            complaints.push(format!("pyrated.toml(5): the entry of {} has to begin:\n{}", key.name, manual_entry(key)));
        }
        // Out of each range that there is.
        for word in ["-1", "0s"] {
            let refused = (key.set_word)(&mut Config::default(), word).err().unwrap_or_default();
            let range = refused.split_once(" from ").and_then(|(_, rest)| rest.split_once(", not "));
            if let Some((range, _)) = range.filter(|(range, _)| !text.contains(range)) {
                complaints.push(format!("pyrated.toml(5): the entry of {} lacks: {range}", key.name));
            }
        }
    }
    let missing = KEYS.iter().filter(|key| !seen.contains(key.name));
    complaints.extend(missing.map(|key| format!("pyrated.toml(5) lacks {}:\n{}", key.name, manual_entry(key))));
    fail_if_any(&complaints);
}

#[test]
fn the_examples_of_the_manual_are_configurations() {
    let examples = MANUAL.split_once("\n.SH EXAMPLES\n").unwrap().1;
    let blocks = examples.split("\n.nf\n").skip(1).map(|rest| rest.split_once("\n.fi\n").unwrap().0);
    let mut count = 0;
    for block in blocks {
        count += 1;
        for line in block.replace("\\(dq", "\"").replace("\\-", "-").lines() {
            assert!(set_by(line).is_some(), "{line}");
        }
    }
    assert_eq!(count, 3);
}

const FROM_NEXT_START: &str = "From the next start.";

/// What the sample has to say of a key.
fn sample_comment(key: &Key) -> Vec<String> {
    let empty = Some(key.unset).filter(|unset| !unset.is_empty() && *unset != "none");
    [Some(sentence(key)), empty.map(|unset| format!("Empty: {unset}"))].into_iter().flatten().collect()
}

#[test]
fn the_sample_has_each_key_with_its_default_and_its_meaning() {
    let (mut complaints, mut seen, mut comment) = (Vec::new(), BTreeSet::new(), String::new());
    let mut all = Config::default();
    for line in SAMPLE.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            comment += &format!("{text} ");
            continue;
        }
        // Without a blank after the # it is a setting that is taken out; without a # it is one for the service.
        let (setting, is_set) = line.strip_prefix('#').map_or((line, true), |setting| (setting, false));
        if !setting.is_empty() {
            let Some((key, config)) = set_by(setting) else {
                complaints.push(format!("the sample has an unknown key: {line}"));
                continue;
            };
            assert!(seen.insert(key.name), "the sample has {} twice", key.name);
            if !is_set && config != Config::default() {
                complaints.push(format!("the sample: this is not the default: {line}"));
            }
            if !is_set {
                (key.copy)(&mut all, &config);
            }
            let default = is_set.then(|| format!("Without this line: {}.", (key.show)(&Config::default())));
            let wanted: Vec<String> = sample_comment(key).into_iter().chain(default).collect();
            complaints.extend(
                wanted
                    .iter()
                    .filter(|text| !comment.contains(*text))
                    .map(|text| format!("the sample: above {} has to stand: # {text}", key.name)),
            );
            if comment.contains(FROM_NEXT_START) != (key.in_force_from == InForceFrom::NextStart) {
                complaints.push(format!("the sample, {}: it has to say \"{FROM_NEXT_START}\", or must not", key.name));
            }
        }
        comment.clear();
    }
    let missing = KEYS.iter().filter(|key| !seen.contains(key.name));
    complaints.extend(missing.map(|key| format!("the sample lacks {}: # {}", key.name, sentence(key))));
    fail_if_any(&complaints);
    assert_eq!(all, Config::default());
}

#[test]
fn what_the_sample_sets_is_what_a_service_needs() {
    let set = SAMPLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let set: Vec<_> = set.map(|line| set_by(line).expect(line)).collect();
    for (key, config) in &set {
        assert!(!(key.same)(config, &Config::default()), "{} is at its default", key.name);
    }
    assert_eq!(set.iter().map(|(key, _)| key.name).collect::<Vec<_>>(), ["local_directory", "sandbox"]);
}

#[test]
fn the_rows_of_the_readme_are_rows_of_the_table() {
    let row = |key: &Key| {
        let default = if key.default.is_empty() { key.unset.to_owned() } else { format!("`{}`", key.default) };
        format!("| `{}` | {} | {default} |", key.name, key.meaning)
    };
    let table = README.split_once("| key | meaning | default |\n|---|---|---|\n").expect("a table of keys").1;
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert!(!rows.is_empty());
    let stale = rows.iter().filter(|found| !KEYS.iter().any(|key| row(key) == **found));
    fail_if_any(&stale.map(|row| format!("README.md has a row of no key: {row}")).collect::<Vec<_>>());
}

#[test]
fn the_help_has_each_exit_code() {
    let help = Options::from_args(&["pyrated"], &["--help"]).unwrap_err().output;
    let codes = help.split_once("\nError codes:\n").unwrap().1.lines();
    let codes: BTreeSet<u8> = codes.map(|line| line.trim().split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(codes, BTreeSet::from([0, EXIT_OTHER, EXIT_IN_USE, EXIT_CONFIG]));
}
