//! The README's commands run as they stand there, and what it shows of the programs is what they print.

use crate::harness::not_tested;
use std::process::Command;

/// The exit code of `contrib/tour` where this machine does not permit it.
const IMPOSSIBLE: i32 = 77;

#[test]
fn the_commands_of_the_readme_run_and_print_what_it_shows() {
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_pyratectl")).parent().expect("a directory");
    let tour = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/tour");
    let subject = "the commands of the README";
    let Ok(run) = Command::new("bash").args([tour, "--check"]).env("PYRATE_BIN", programs).output() else {
        return not_tested(subject, "bash(1) is not installed");
    };
    let said = [run.stdout, run.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if run.status.code() == Some(IMPOSSIBLE) {
        return not_tested(subject, said.lines().last().unwrap_or_default());
    }
    assert!(run.status.success(), "{said}");
}
