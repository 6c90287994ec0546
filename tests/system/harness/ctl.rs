//! Running `pyratectl`.

use super::{Daemon, clean_command};
use serde_json::Value;
use std::ffi::OsStr;

/// How a run of `pyratectl` ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Standard output as one JSON document.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("one JSON document: {error}: {self:?}"))
    }
}

/// Runs `pyratectl --socket … ARGUMENTS` against a daemon, to its end.
pub(crate) fn pyratectl<S: AsRef<OsStr>>(daemon: &Daemon, arguments: impl IntoIterator<Item = S>) -> Outcome {
    let output = clean_command(env!("CARGO_BIN_EXE_pyratectl"), daemon.home())
        .arg("--socket")
        .arg(daemon.socket())
        .args(arguments)
        .output()
        .expect("pyratectl can be run");
    Outcome {
        code: output.status.code().expect("pyratectl exits"),
        stdout: String::from_utf8(output.stdout).expect("its output is text"),
        stderr: String::from_utf8(output.stderr).expect("its notices are text"),
    }
}
