//! The ways through the code that architecture.md lists: the files are there, and so many as it says.

use super::{none, package, read};
use std::collections::BTreeSet;

/// The most files that one may have to open to follow a way, by what it begins with.
const FILES_MAX: [(&str, usize); 2] = [("A search that arrives", 13), ("`pyratectl download 3`", 30)];

/// The files in the table below a line: what stands in backticks in its last column.
fn files(table: &str) -> BTreeSet<&str> {
    let rows = table.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let columns = rows.skip(2).filter_map(|row| row.trim_end_matches('|').rsplit('|').next());
    columns.flat_map(|column| column.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn the_ways_through_the_code_pass_the_files_that_the_architecture_lists() {
    let text = read("contrib/doc/architecture.md");
    let mut complaints = Vec::new();
    for (way, files_max) in FILES_MAX {
        let begin = text.lines().find(|line| line.starts_with(way) && line.ends_with(" files:"));
        let Some(begin) = begin else { panic!("architecture.md has no table of '{way}'") };
        let found = files(&text[text.find(begin).unwrap()..]);
        let exists = |file: &&str| {
            ["src/{}.rs", "src/{}/mod.rs"].iter().any(|form| package().join(form.replace("{}", file)).is_file())
        };
        complaints.extend(found.iter().filter(|file| !exists(file)).map(|file| format!("{way}: no file {file}")));
        let count = found.len();
        if !begin.ends_with(&format!(" passes {count} files:")) || count > files_max {
            complaints.push(format!("{way}: the table has {count} files: {begin}"));
        }
    }
    none(complaints);
}
