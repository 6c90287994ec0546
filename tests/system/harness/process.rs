//! What every process of a test needs: a port of its own, a clean environment, and a limit to its time.

use super::{LIMIT, Stopwatch};
use socket2::{Domain, Socket, Type};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A port that nobody listens on, below those that the system hands to outgoing connections.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (std::process::id().wrapping_mul(131).wrapping_add(turn) % 22_000) as u16;
        if is_free(SocketAddr::from(([127, 0, 0, 1], port))) {
            return port;
        }
    }
}

/// Whether nobody listens there. It listens nowhere itself: a process that another thread forks at this moment would hold the
/// socket until it runs its program.
fn is_free(addr: SocketAddr) -> bool {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("SO_REUSEADDR");
    socket.bind(&addr.into()).is_ok()
}

/// A command that sees nothing of the environment of whoever runs the tests but the search path. Root may run the daemon by it,
/// since root runs the tests in containers.
pub(crate) fn clean_command(program: &str, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", home);
    command.env("PYRATE_ALLOW_ROOT", "true").stdin(Stdio::null());
    command
}

/// Runs `pyrated` with these arguments to its end; gives its exit code and standard error.
pub(crate) fn run_pyrated<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> (Option<i32>, String) {
    let mut child = clean_command(env!("CARGO_BIN_EXE_pyrated"), Path::new("/nonexistent"))
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("pyrated can be run");
    let watch = Stopwatch::start();
    while child.try_wait().expect("our own child").is_none() {
        if watch.ran() > LIMIT {
            let _ = child.kill();
            let _ = child.wait();
            panic!("pyrated did not end");
        }
        super::pause(Duration::from_millis(10));
    }
    let output = child.wait_with_output().expect("our own child");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}
