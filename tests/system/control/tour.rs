//! What the README shows of the programs is what they print.

use crate::harness::not_tested;
use std::process::Command;

#[test]
fn the_tour_of_the_readme_is_what_the_programs_say() {
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_pyratectl")).parent().expect("a directory");
    let tour = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/tour");
    if Command::new("bash").arg("-n").arg(tour).status().is_err() {
        return not_tested("the tour of the README", "it takes bash(1)");
    }
    let run = Command::new("bash").args([tour, "--check"]).env("PYRATE_BIN", programs).output().expect("it runs");
    let said = [run.stdout, run.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(run.status.success(), "{said}");
}
