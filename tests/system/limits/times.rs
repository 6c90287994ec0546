//! `[[limit]]`: rate limits for times of the week, in the time zone of the daemon.

use crate::harness::{Setup, pyratectl};

fn limited(zone: &str) -> Setup {
    let setup = Setup::peer().set("limit", "[{ when = '00:00-12:00', download_limit = '1MiB' }]");
    setup.after(&["env", &format!("TZ={zone}")])
}

#[test]
fn the_times_are_those_of_the_time_zone_of_the_daemon() {
    let peer = limited("Asia/Tokyo").start();
    let limits = pyratectl(&peer, ["--json", "limit"]).json();
    let until = limits["down"]["until"].as_u64().unwrap_or_else(|| panic!("{limits}"));
    // Midnight and noon there.
    assert_eq!(until % (12 * 3600), 3 * 3600, "{limits}");
}

#[test]
fn a_check_says_that_tz_names_no_time_zone() {
    let checked = limited("Nowhere/Nope").command().arg("--check").output().expect("pyrated can be run");
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(0), "{said}");
    let remark = said.lines().find(|line| line.contains(": limit: TZ names no time zone: "));
    assert!(remark.is_some_and(|line| line.ends_with("; the times of [[limit]] are those of UTC")), "{said}");
}
