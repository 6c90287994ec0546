//! Each block of commands in the README is run by something: by `contrib/tour`, or by the scripts that its mark names.

use super::{none, read};

/// The first words of a command, without what gives it rights.
fn beginning(line: &str) -> String {
    let words = line.split_whitespace().skip_while(|word| *word == "sudo");
    words.take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn each_block_of_the_readme_is_run_by_a_test() {
    let readme = read("README.md");
    let tour = read("contrib/tour");
    let mut complaints = Vec::new();
    let mut mark: Option<&str> = None;
    let mut continues = false;
    for (number, line) in readme.lines().enumerate() {
        let mut complain = |what: String| complaints.push(format!("README.md:{}: {what}", number + 1));
        if let Some(inner) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
            mark = Some(inner).filter(|inner| *inner != "end");
            continue;
        }
        let Some(command) = line.strip_prefix("    ") else { continue };
        match mark.and_then(|mark| mark.split_once(": ")) {
            Some(("tour", name)) if tour.contains(&format!("block {name}\n")) => {}
            Some(("typed", name)) if tour.contains(&format!("block_of typed {name})")) => {}
            Some(("run by", scripts)) => {
                let runs = scripts.split(' ').any(|script| read(script).contains(&beginning(command)));
                if !runs && !continues {
                    complain(format!("{scripts}: nothing runs '{}'", beginning(command)));
                }
            }
            other => complain(format!("nothing runs this block ({other:?})")),
        }
        continues = command.ends_with('\\');
    }
    none(complaints);
}
