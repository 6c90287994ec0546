//! Rules of the source that a test checks: which module may import which, without cycles; how long files and functions may
//! be; where time is read; what is public; and that the manuals agree with the programs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "tidy/cycles.rs"]
mod cycles;
#[path = "tidy/manuals.rs"]
mod manuals;
#[path = "tidy/readme.rs"]
mod readme;
#[path = "tidy/sentences.rs"]
mod sentences;
#[path = "tidy/ways.rs"]
mod ways;

use cycles::Modules;
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 450;
const FUNCTION_LINES_MAX: usize = 70;

/// Which module may import which, as architecture.md says.
const ARROWS: &[(&str, &[&str])] = &[
    ("bin", &["daemon", "ctl"]),
    ("daemon", &["driver", "node", "bootstrap", "control", "store"]),
    ("ctl", &["control"]),
    ("driver", &["node", "bootstrap", "store", "library", "wire", "timer", "control"]),
    ("node", &["library", "wire", "timer", "control"]),
    ("bootstrap", &["wire", "timer"]),
    ("store", &["library"]),
    ("wire", &[]),
    ("timer", &[]),
    ("control", &[]),
    ("library", &[]),
];

/// Which machine of the node may call which; `cx` is open to all. In this order calls go down.
const MACHINES: &[(&str, &[&str])] = &[
    ("network", &[]),
    ("share", &[]),
    ("search", &["network", "share"]),
    ("upload", &["share"]),
    ("download", &["network", "search"]),
    ("wish", &["network", "share", "search", "download"]),
    ("control", &["network", "share", "search", "upload", "download", "wish"]),
];

/// Modules that all others may import. They import only each other.
const VOCABULARY: &[&str] = &[
    "time", "id", "name", "network", "audience", "fault", "lines", "link", "content", "part", "suggest", "left_out",
    "aligned",
];

/// What shows results, values and bars to users; and `usage`, which reads the sentences of the parser.
const WORD_RESULTS: &[&str] =
    &["src/ctl/rows", "src/ctl/text.rs", "src/ctl/progress.rs", "src/ctl/top/view", "src/ctl/usage.rs"];

/// A source file.
struct Source {
    /// Relative to the package.
    path: PathBuf,
    text: String,
}

impl Source {
    /// The top-level module that it belongs to; `lib` for the crate itself.
    fn module(&self) -> &str {
        let first = self.path.iter().nth(1).and_then(|part| part.to_str()).unwrap();
        first.trim_end_matches(".rs")
    }

    fn is_tests(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.components().any(|part| part.as_os_str() == "tests")
    }

    /// Lines with their numbers, comments blanked out.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.text.lines().enumerate().map(|(i, line)| (i + 1, line));
        numbered.map(|(i, line)| (i, if line.trim_start().starts_with("//") { "" } else { line }))
    }
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a directory whose names end in `.rs`, by path. `fuzz` is a workspace of its own.
fn sources(directory: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut left = vec![package().join(directory)];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("fuzz") {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source { path: path.strip_prefix(package()).unwrap().to_owned(), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty());
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(package().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Fails with all complaints, if there are any.
fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The modules that a line of code names after `crate::` or, in programs, after `pyrate::`.
fn modules_named(line: &str) -> Vec<&str> {
    let mut named = Vec::new();
    for root in ["crate::", "pyrate::"] {
        for (at, _) in line.match_indices(root) {
            let before = line[..at].chars().next_back();
            // `"pyrate::` begins the target of a log line, not a path.
            if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '"')) {
                continue;
            }
            let rest = &line[at + root.len()..];
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
            named.push(if rest.starts_with('{') { "{" } else { &rest[..end] });
        }
    }
    named
}

#[test]
fn imports_run_along_the_arrows() {
    let mut complaints = Vec::new();
    for source in sources("src") {
        let module = source.module();
        let arrows = ARROWS.iter().find(|(from, _)| *from == module).map(|(_, to)| *to);
        if module == "lib" {
            continue;
        }
        if arrows.is_none() && !VOCABULARY.contains(&module) {
            complaints.push(format!("{}: ARROWS lacks the module {module}", source.path.display()));
            continue;
        }
        for (number, line) in source.code() {
            for target in modules_named(line) {
                let allowed = VOCABULARY.contains(&target) || arrows.is_some_and(|to| to.contains(&target));
                if target != module && !allowed {
                    complaints.push(format!("{}:{number}: {module} may not import {target}", source.path.display()));
                }
            }
        }
    }
    none(complaints);
}

#[test]
fn the_machines_of_the_node_call_each_other_as_the_table_says() {
    let mut complaints = Vec::new();
    for source in sources("src/node").iter().filter(|source| !source.is_tests()) {
        let folder = source.path.iter().nth(2).and_then(|part| part.to_str()).unwrap();
        let allowed = match MACHINES.iter().find(|(machine, _)| *machine == folder) {
            Some((_, allowed)) => *allowed,
            None if folder == "cx" => &[],
            None => continue,
        };
        for (number, line) in source.code() {
            let named = MACHINES.iter().map(|(machine, _)| *machine).filter(|machine| *machine != folder);
            // The `super` of a machine's `mod.rs` is the node.
            let is_head = source.path.ends_with("mod.rs") && source.path.iter().count() == 4;
            let named = named.filter(|machine| {
                line.contains(&format!("node::{machine}::")) || is_head && line.contains(&format!("super::{machine}::"))
            });
            for machine in named.filter(|machine| !allowed.contains(machine)) {
                complaints.push(format!("{}:{number}: {folder} may not use {machine}", source.path.display()));
            }
        }
    }
    none(complaints);
}

#[test]
fn all_modules_are_internal() {
    let text = read("src/lib.rs");
    let lines: Vec<&str> = text.lines().collect();
    let shown = lines.windows(2).filter(|pair| pair[1].starts_with("pub mod ") && pair[0] != "#[doc(hidden)]");
    none(shown.map(|pair| format!("src/lib.rs: '{}' is in the public documentation", pair[1])).collect());
}

#[test]
fn files_do_not_import_each_other_in_a_circle() {
    let mut modules = Modules::default();
    for source in sources("src").iter().filter(|source| !source.is_tests() && source.module() != "bin") {
        modules.add(&source.path, &source.text);
    }
    let cycles = modules.cycles();
    none(cycles.iter().map(|(folder, members)| format!("{folder}: a cycle of {}", members.join(" "))).collect());
}

#[test]
fn the_node_and_the_client_leave_what_users_are_told_to_the_wording() {
    let mut complaints = Vec::new();
    for (directory, wording) in [("src/node", "src/control/wording.rs"), ("src/ctl", "src/ctl/wording.rs")] {
        let (file, folder) = (Path::new(wording), Path::new(wording).with_extension(""));
        let words = |path: &Path| {
            path == file || path.starts_with(&folder) || WORD_RESULTS.iter().any(|words| path.starts_with(words))
        };
        for source in sources(directory).iter().filter(|source| !source.is_tests() && !words(&source.path)) {
            for (number, line) in sentences::made_in(&source.text) {
                let path = source.path.display();
                complaints.push(format!("{path}:{number}: {wording} words what users read: {}", line.trim()));
            }
        }
    }
    none(complaints);
}

#[test]
fn names_and_peers_are_fields_of_log_lines() {
    let mut complaints = Vec::new();
    for source in sources("src/node").into_iter().chain(sources("src/driver")).filter(|source| !source.is_tests()) {
        for (number, call) in log_calls(&source.text) {
            let of_others = ["{}", "{name", "{peer", "{from", "{to}"].iter().find(|part| call.contains(*part));
            complaints.extend(of_others.map(|part| format!("{}:{number}: {part} in {call}", source.path.display())));
        }
    }
    none(complaints);
}

#[test]
fn the_arrows_are_those_of_the_architecture() {
    let text = read("contrib/doc/architecture.md").split_whitespace().collect::<Vec<_>>().join(" ");
    let arrows = ARROWS.iter().filter(|(_, to)| !to.is_empty());
    let missing = arrows.map(|(from, to)| format!("{from} → {}.", to.join(", "))).filter(|arrow| !text.contains(arrow));
    none(missing.collect());
}

#[test]
fn files_and_functions_stay_short() {
    let mut complaints = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        let lines: Vec<&str> = source.text.lines().collect();
        let path = source.path.display();
        if lines.len() > FILE_LINES_MAX {
            complaints.push(format!("{path}: {} lines", lines.len()));
        }
        for (start, line) in lines.iter().enumerate() {
            let Some(name) = function_name(line) else { continue };
            let length = function_length(&lines[start..]);
            if length > FUNCTION_LINES_MAX {
                complaints.push(format!("{path}:{}: {name} has {length} lines", start + 1));
            }
        }
    }
    none(complaints);
}

/// The name of the function that begins in this line, if one does.
fn function_name(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let known = |word: &str| matches!(word, "const" | "async" | "extern" | "unsafe") || word.starts_with("pub");
    if words.by_ref().find(|word| !known(word))? != "fn" {
        return None;
    }
    words.next()?.split(['(', '<']).next()
}

/// Lines of the function that begins in the first line: rustfmt puts its last brace under its first letter.
fn function_length(lines: &[&str]) -> usize {
    let indent = &lines[0][..lines[0].len() - lines[0].trim_start().len()];
    let last = lines.iter().position(|line| {
        line.strip_prefix(indent).is_some_and(|rest| {
            rest == "}" || (!rest.starts_with([' ', ')']) && (rest.ends_with('}') || rest.ends_with(';')))
        })
    });
    last.map_or(lines.len(), |last| last + 1)
}

#[test]
fn the_measure_of_functions_measures() {
    let text = "    pub(crate) fn a<T>(x: T)\n    where\n        T: Copy,\n    {\n        b();\n    }\n    fn c() {}\n    fn d();\n";
    let lines: Vec<&str> = text.lines().collect();
    let names: Vec<_> = lines.iter().filter_map(|line| function_name(line)).collect();
    assert_eq!(names, ["a", "c", "d"]);
    assert_eq!([function_length(&lines), function_length(&lines[6..]), function_length(&lines[7..])], [6, 1, 1]);
    assert_eq!(function_name("let f: fn(u8) = g;"), None);
}

#[test]
fn each_program_reads_time_in_one_place() {
    let mut complaints = Vec::new();
    // Each program has one clock: the client shares no module with the loop.
    let clocks = ["src/driver/clock.rs", "src/ctl/clock.rs"].map(Path::new);
    for source in sources("src").iter().filter(|source| !clocks.contains(&source.path.as_path())) {
        for (number, line) in source.code() {
            if line.contains("Instant::now") || line.contains("SystemTime::now") {
                complaints.push(format!("{}:{number}: asks the operating system for the time", source.path.display()));
            }
        }
    }
    none(complaints);
}

/// Where what is shared may be looked up without regard to its audience: for calls of users and for the share itself. Whatever
/// answers a peer names that peer, and what our own downloads and wishes find is for anybody: sources notice what is not fetched.
const LOOKED_UP_FOR_OWNER: &[&str] = &["src/node/control", "src/node/share", "src/node/upload/shown.rs"];

#[test]
fn whatever_answers_peers_looks_files_up_for_them() {
    let mut complaints = Vec::new();
    let may = |source: &Source| LOOKED_UP_FOR_OWNER.iter().any(|path| source.path.starts_with(path));
    let defines = |source: &Source| ["audience", "library"].contains(&source.module());
    for source in sources("src").iter().filter(|source| !source.is_tests() && !may(source) && !defines(source)) {
        for (number, line) in source.code() {
            if line.contains("Requester::Owner") && !line.trim_start().starts_with("use ") {
                complaints.push(format!("{}:{number}: looks something up for its owner", source.path.display()));
            }
        }
    }
    none(complaints);
}

#[test]
fn every_module_says_what_it_is() {
    let heads =
        |source: &Source| source.is_tests() && source.path.starts_with("src") || source.text.starts_with("//! ");
    let all = sources("src").into_iter().chain(sources("tests"));
    none(all.filter(|source| !heads(source)).map(|source| format!("{}: no head", source.path.display())).collect());
}

/// The calls of macros that log, with the numbers of their lines. Tests at the end of a file are left out.
fn log_calls(text: &str) -> Vec<(usize, &str)> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let starts = ["error!(", "warn!(", "info!(", "debug!(", "trace!(", "log!("].iter();
    let mut calls: Vec<_> = starts.flat_map(|name| text.match_indices(name)).map(|(at, _)| at).collect();
    calls.retain(|at| !text[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    calls.sort_unstable();
    let call = |at: usize| {
        let end = text[at..].find(");\n").or_else(|| text[at..].find("),\n")).unwrap_or(text.len() - at);
        (text[..at].matches('\n').count() + 1, &text[at..at + end])
    };
    calls.into_iter().map(call).collect()
}

#[test]
fn the_log_shows_no_type_of_the_program() {
    let is_debug = |call: &str| call.contains(":?") || call.contains(":#?") || call.contains(":debug");
    let mut complaints = Vec::new();
    for source in sources("src").iter().filter(|source| !source.is_tests()) {
        for (number, call) in log_calls(&source.text).iter().filter(|(_, call)| is_debug(call)) {
            complaints.push(format!("{}:{number}: logs by Debug: {call}", source.path.display()));
        }
    }
    none(complaints);
    let calls =
        log_calls("fn f() {\n    log::debug!(\n        x:? = y;\n        \"z\"\n    );\n    info!(\"a\");\n}\n");
    assert_eq!(calls.iter().map(|(at, call)| (*at, is_debug(call))).collect::<Vec<_>>(), [(2, true), (6, false)]);
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimplemented", "!(")];
    let mut complaints = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        for (number, line) in source.text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                complaints.push(format!("{}:{}: {}", source.path.display(), number + 1, line.trim()));
            }
        }
    }
    none(complaints);
}
