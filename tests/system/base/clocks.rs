//! A machine that is suspended, and a wall clock that is set. The clocks of one daemon are moved by a library that is loaded into
//! it: those of the machine are everybody's.

use crate::harness::{Daemon, Framing, LIMIT, Setup, ask, clean_command, not_tested, until};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const HOUR_S: u64 = 3_600;

/// Adds the numbers of a file, in seconds, to what CLOCK_BOOTTIME and CLOCK_REALTIME show. CLOCK_MONOTONIC, and so the timeouts
/// of the system, stay as they are, as on a machine that was suspended.
const MOVED_CLOCKS: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    long outcome = syscall(SYS_clock_gettime, clock, time);
    if (outcome != 0 || (clock != CLOCK_BOOTTIME && clock != CLOCK_REALTIME)) return (int)outcome;
    char text[64] = "";
    long boot = 0, wall = 0;
    int file = open(getenv("MOVED_CLOCKS"), O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        if (read(file, text, sizeof text - 1) > 0) sscanf(text, "%ld %ld", &boot, &wall);
        close(file);
    }
    time->tv_sec += clock == CLOCK_BOOTTIME ? boot : wall;
    return 0;
}
"#;

/// The clocks of a daemon, and how far they are ahead of those of the machine.
struct Clocks {
    file: PathBuf,
}

impl Clocks {
    /// `None` where no such library can be made; that is said aloud.
    fn of(setup: Setup) -> Option<(Self, Setup)> {
        let home = setup.home();
        let (source, library, file) = (home.join("clocks.c"), home.join("clocks.so"), home.join("clocks"));
        fs::write(&source, MOVED_CLOCKS).expect("a fresh file");
        let mut compiler = clean_command("cc", home);
        let made = compiler.args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
        if !made.is_ok_and(|status| status.success()) {
            not_tested("a suspended machine", "it takes cc(1)");
            return None;
        }
        let clocks = Self { file };
        clocks.set(0, 0);
        let variables = [format!("LD_PRELOAD={}", library.display()), format!("MOVED_CLOCKS={}", clocks.path())];
        let setup = setup.after(&["env", &variables[0], &variables[1]]);
        Some((clocks, setup))
    }

    fn path(&self) -> std::path::Display<'_> {
        self.file.display()
    }

    fn set(&self, boot_s: u64, wall_s: u64) {
        let next: &Path = &self.file.with_extension("next");
        fs::write(next, format!("{boot_s} {wall_s}")).expect("a file of its own");
        fs::rename(next, &self.file).expect("in the same directory");
    }
}

/// Whether a date is about what the wall clock shows that is so many seconds ahead.
fn is_about_now(date: &Value, ahead_s: u64) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() + ahead_s;
    date.as_u64().expect("a date").abs_diff(now) < 10 * 60
}

fn last_ok(daemon: &Daemon) -> Value {
    daemon.status()["bootstraps"][0]["last_ok"].clone()
}

#[test]
fn what_was_due_in_a_suspended_machine_is_done_when_it_resumes_and_dates_are_those_of_the_wall_clock() {
    let Some((clocks, setup)) = Clocks::of(Setup::peer()) else { return };
    let bootstrap = Setup::bootstrap().start();
    let other = Setup::peer().joins(&[bootstrap.bootstrap_addr()]).start();
    let daemon = setup.joins(&[bootstrap.bootstrap_addr()]).start();
    daemon.await_neighbour(other.listen());
    daemon.search_until("nothing", |_| true);
    let seen = || daemon.call("peers", Value::Null)[0]["last_seen"].clone();
    until("the other peer has answered", LIMIT, || seen().is_u64());

    clocks.set(8 * HOUR_S, 8 * HOUR_S);
    until("the keepalive is sent that was due", LIMIT, || is_about_now(&last_ok(&daemon), 8 * HOUR_S));
    daemon.search_until("nothing", |_| true);
    until("the other peer has answered again", LIMIT, || is_about_now(&seen(), 8 * HOUR_S));

    // The wall clock alone is found to be two hours early, and set back. No lease is the shorter or longer for it.
    clocks.set(8 * HOUR_S, 6 * HOUR_S);
    assert!(is_about_now(&last_ok(&daemon), 6 * HOUR_S) && is_about_now(&seen(), 6 * HOUR_S));
    assert_eq!(daemon.status()["bootstraps"][0]["state"], "registered");
    assert!(daemon.status()["uptime_s"].as_u64() >= Some(8 * HOUR_S));
}

/// Ten minutes, of which a suspended machine counts all.
#[test]
fn a_registration_expires_in_a_suspended_machine_and_not_by_the_wall_clock() {
    let Some((clocks, setup)) = Clocks::of(Setup::bootstrap()) else { return };
    let bootstrap = setup.start();
    let to = bootstrap.bootstrap_addr();
    ask(to, b"0:5000", Framing::Fin);
    let listed = || ask(to, b"1:3", Framing::Fin).bytes;
    until("it is registered", LIMIT, || listed() == b"127.0.0.1,5000\n");
    clocks.set(9 * 60, 0);
    assert_eq!(listed(), b"127.0.0.1,5000\n", "a minute is left");
    clocks.set(9 * 60, 24 * HOUR_S);
    assert_eq!(listed(), b"127.0.0.1,5000\n", "no lease is the shorter for a wall clock that is set");
    clocks.set(11 * 60, 24 * HOUR_S);
    until("it has expired", LIMIT, || listed().is_empty());
}
