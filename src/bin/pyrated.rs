//! `pyrated`, the daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    pyrate::daemon::main()
}
