//! What a test cannot check on this machine, told past the capture of what tests print: nobody would read it there.

use std::io::Write;

/// Says that `what` is not tested here, and what it would take. `.ci/run` lists these lines at its end.
pub(crate) fn not_tested(what: &str, takes: &str) {
    // One write, since other tests print at the same time. A closed standard error is no reason to fail.
    let line = format!("\nNOT TESTED: {what}: {takes}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}
