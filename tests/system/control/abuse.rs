//! Control clients that take more than their part: the others are answered all the same.

use crate::harness::{Daemon, Fake, LIMIT, Reading, Setup, Stopwatch, until};
use serde_json::json;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const STATUS: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n";

/// Whether a further client finds a place and an answer.
fn is_answered(peer: &Daemon) -> bool {
    let mut control = peer.control();
    control.try_send_raw(STATUS).is_ok() && control.line().is_ok_and(|line| line["result"]["version"].is_string())
}

#[test]
fn idle_clients_give_way_to_another() {
    let peer = Setup::peer().start();
    let mut idle: Vec<_> = (0..64).map(|_| peer.control()).collect();
    // Of those that found a place each has made one call.
    for control in &mut idle {
        let _ = control.try_send_raw(STATUS);
    }
    until("the next one is answered", LIMIT, || is_answered(&peer));
    for turn in 0..10 {
        assert!(is_answered(&peer), "turn {turn}");
    }
    // The one that gave way is told why.
    let told = idle.iter_mut().any(|control| {
        let lines = std::iter::from_fn(|| control.line().ok()).take(2);
        lines.into_iter().any(|line| line["error"]["message"].as_str().is_some_and(|text| text.contains("idle")))
    });
    assert!(told);
}

#[test]
fn blank_lines_without_end_leave_the_loop_to_others() {
    let peer = Setup::peer().start();
    let over = AtomicBool::new(false);
    let answered = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut control = peer.control();
                let blank = [b'\n'; 1 << 16];
                while !over.load(Ordering::SeqCst) {
                    if control.try_send_raw(&blank).is_err() {
                        return;
                    }
                }
            });
        }
        let (watch, mut answered) = (Stopwatch::start(), 0);
        while watch.elapsed() < Duration::from_secs(2) {
            peer.status();
            answered += 1;
        }
        over.store(true, Ordering::SeqCst);
        answered
    });
    assert!(answered >= 20, "{answered} calls of others in 2 s");
}

#[test]
fn one_line_that_names_everything_two_thousand_times_does_not_stop_the_daemon() {
    const FILES: usize = 90_000;
    let crowd = Fake::serve(Reading::Whole, |mut visit| {
        let mut list = String::new();
        (0..FILES).for_each(|n| writeln!(list, "f{n}").expect("a string takes all"));
        let _ = visit.stream.write_all(list.as_bytes());
    });
    let peer = Setup::peer().start();
    let mut control = peer.control();
    control.call("list", json!({ "peer": crowd.addr })).expect("a listing begins");
    control.notice("the list is there", |notice| (notice["event"] == "search_done").then_some(()));
    for part in ["all", "1-90000"] {
        let ids = vec![part; 2_000].join(",");
        let watch = Stopwatch::start();
        let refused = peer.control().call("download", json!({ "what": [{ "hits": ids }] }));
        assert!(refused.is_err(), "so many cannot be unfinished");
        assert!(watch.ran() < Duration::from_secs(2), "{part}: {:?}", watch.ran());
    }
    assert!(peer.proc_status("VmHWM") < 200 << 10, "{} KiB at most", peer.proc_status("VmHWM"));
}
