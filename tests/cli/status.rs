//! `status`, in each form.

use super::fake::{Talk, forms, run, with};
use super::queries::LATER_S;
use super::queue::limits;
use serde_json::{Value, json};

pub(crate) fn status() -> Value {
    json!({
        "version": "0.1.0", "uptime_s": 7260, "listen": "0.0.0.0:63339", "advertise": "192.0.2.9:63339",
        "bootstraps": [
            {"addr": "boot.example:21168", "state": "registered", "last_ok": LATER_S, "retry_in_s": null, "error": null},
            {"addr": "10.0.0.1:1", "state": "waiting", "last_ok": null, "retry_in_s": 90, "error": "connection refused"},
        ],
        "peers": 4, "shared_files": 1, "shared_bytes": 1536, "share_error": null, "left_out": {}, "watch": null, "scanning": true, "unhashed_files": 1,
        "downloads_active": 1, "downloads_queued": 2, "wishes": 3, "orphaned_parts": 2, "orphaned_bytes": 2048, "uploads_active": 0, "download_limit": 0, "upload_limit": 0, "limits": null, "commands_queued": 0, "bytes_down": 5_000_000_000u64,
        "bytes_up": 0, "refused": 3,
        "limited": limited(),
        "turns": {"count": 5_000, "p50_us": 80, "p99_us": 1_250, "p999_us": 4_100, "max_us": 5_200_000},
        "job_waits": {"count": 0, "p50_us": 0, "p99_us": 0, "p999_us": 0, "max_us": 0},
        "sandbox": {"state": "off", "abi": null},
        "registry": {"listen": "0.0.0.0:21168", "count": 12},
    })
}

/// What met limits, each counter with a number of its own.
fn limited() -> Value {
    json!({"searches_dropped": 1, "searches_refused": 2, "forwards_dropped": 3, "searches_ended_early": 28, "answers_dropped": 4, "answers_refused": 5, "stranger_answers_dropped": 6, "requests_dropped": 7, "call_backs_dropped": 8, "hits_unasked": 9, "announcements_refused": 22, "answers_cut": 27, "peers_displaced": 10, "hits_over_share": 11, "hits_dropped": 12, "hits_displaced": 13, "sources_displaced": 14, "sources_silent": 15, "sources_corrupt": 16, "downloads_crawling": 17, "connections_displaced": 18, "connections_refused": 19, "streams_displaced": 20, "metadata_refused": 21, "responses_displaced": 23, "registrations_displaced": 24, "registrations_refused": 25, "neighbours_replaced": 26, "records_displaced": 29, "log_lines_lost": 30})
}

#[test]
fn status_shows_the_node_at_a_glance() {
    let [text, terse, json] = forms(&["status"], |talk| {
        assert_eq!(talk.answer("status", status()), Value::Null);
    });
    text.gives(
        0,
        "Pyrate     0.1.0, up 2 h 1 min\n\
         Listening  0.0.0.0:63339, known to others as 192.0.2.9:63339\n\
         Bootstrap  boot.example:21168 registered, last answer 0 s ago\n\
         Bootstrap  10.0.0.1:1 waiting: connection refused, next attempt in 1 min 30 s\n\
         Serving    bootstrap node on 0.0.0.0:21168, 12 peers registered\n\
         Peers      4\n\
         Sharing    1 file, 1.5 KiB, scanning, 1 still to be hashed\n\
         Downloads  1 active, 2 waiting, 4.7 GiB received\n\
         Orphans    2 part files of no download here, 2.0 KiB; the log names them\n\
         Wishes     3\n\
         Uploads    0 active, 0 B sent\n\
         Refused    3 messages\n",
    );
    terse.gives(
        0,
        "version\tuptime_s\tlisten\tadvertise\tbootstraps\tpeers\tshared_files\tshared_bytes\tscanning\t\
         downloads_active\tdownloads_queued\tuploads_active\tcommands_queued\tbytes_down\tbytes_up\trefused\tunhashed_files\t\
         share_error\torphaned_parts\torphaned_bytes\tsandbox\tregistry\tleft_out\tdownload_limit\tupload_limit\twatch\twishes\n\
         0.1.0\t7260\t0.0.0.0:63339\t192.0.2.9:63339\tboot.example:21168=registered 10.0.0.1:1=waiting\t4\t1\t1536\t\
         true\t1\t2\t0\t0\t5000000000\t0\t3\t1\t-\t2\t2048\toff\t0.0.0.0:21168=12\t0\t0\t0\t-\t3\n",
    );
    assert_eq!(json.json(), status());
}

#[test]
fn a_verbose_status_shows_what_met_limits_and_the_times_of_the_loop() {
    for command in ["-v", "--verbose"] {
        let [text, terse, json] = forms(&["status", command], |talk| {
            let one_limit = json!({"limited": {"searches_dropped": 12, "hits_unasked": 0}});
            assert_eq!(talk.answer("status", with(status(), one_limit)), Value::Null);
        });
        let lines = "Limited    searches dropped 12\n\
             Turns      5000, p50 80 us, p99 1.2 ms, p99.9 4.1 ms, longest 5.2 s\n\
             Job waits  0, p50 0 us, p99 0 us, p99.9 0 us, longest 0 us\n";
        assert!(text.out.ends_with(&format!("Refused    3 messages\n{lines}")), "{text:?}");
        assert!(terse.out.starts_with("version\t"), "{terse:?}");
        assert_eq!(json.json()["turns"]["max_us"], 5_200_000);
    }
}

#[test]
fn no_command_is_status_and_unknown_is_a_dash() {
    let bootstrap_only = |talk: &mut Talk| {
        let nothing = json!({"listen": null, "advertise": null, "bootstraps": [], "scanning": false, "refused": 0,
            "unhashed_files": 0, "orphaned_parts": 0, "share_error": {"code": 17, "message": "not\u{7}there"}});
        let mut answer = with(status(), nothing);
        // An earlier version does not tell of its registry.
        answer.as_object_mut().expect("an object").remove("registry");
        talk.answer("status", answer);
    };
    let text = run(&[], bootstrap_only);
    assert!(text.out.contains("\n           not\\x07there\n") && !text.out.contains("Orphans"), "{text:?}");
    assert!(!text.out.contains("hashed") && !text.out.contains("scanning"), "{text:?}");
    assert!(
        text.out.contains("Listening  no, this is a bootstrap node only\nBootstrap  none configured\n"),
        "{text:?}"
    );
    let terse = run(&["--terse"], bootstrap_only);
    assert!(
        terse.out.ends_with(
            "0.1.0\t7260\t-\t-\t-\t4\t1\t1536\tfalse\t1\t2\t0\t0\t5000000000\t0\t0\t0\tnot\\x07there\t0\t2048\toff\t-\t0\t0\t0\t-\t3\n"
        ),
        "{terse:?}"
    );
    assert_eq!(run(&["--json"], bootstrap_only).json()["listen"], Value::Null);
}

#[test]
fn a_sandbox_that_was_asked_for_is_shown_with_what_the_kernel_makes_of_it() {
    let [text, terse, json] = forms(&["status"], |talk| {
        let sandbox = json!({"sandbox": {"state": "on", "abi": 7}});
        assert_eq!(talk.answer("status", with(status(), sandbox)), Value::Null);
    });
    assert!(text.out.contains("Sandbox    on, Landlock ABI 7\n"), "{text:?}");
    assert!(terse.out.ends_with("\t2048\ton\t0.0.0.0:21168=12\t0\t0\t0\t-\t3\n"), "{terse:?}");
    assert_eq!(json.json()["sandbox"], json!({"state": "on", "abi": 7}));
    let text = run(&[], |talk| {
        let sandbox = json!({"sandbox": {"state": "unavailable", "abi": null}});
        talk.answer("status", with(status(), sandbox));
    });
    assert!(
        text.out.contains("Sandbox    unavailable: this kernel has no Landlock, or it is not enabled\n"),
        "{text:?}"
    );
}

#[test]
fn a_bootstrap_node_alone_shows_what_it_serves_and_no_link_that_is_missing() {
    let text = run(&["status"], |talk| {
        let alone = json!({"listen": null, "advertise": null, "bootstraps": [],
            "registry": {"listen": "[2001:db8::1]:21168", "count": 1}});
        talk.answer("status", with(status(), alone));
    });
    let lines = "Listening  no, this is a bootstrap node only\n\
         Serving    bootstrap node on [2001:db8::1]:21168, 1 peer registered\n\
         Peers      4\n";
    assert!(text.out.contains(lines), "{text:?}");
}

#[test]
fn the_watched_directory_is_shown_with_what_became_of_its_files() {
    let watch = json!({"directory": "/srv/in\u{1b}", "added": 1, "failed": 2, "error": "Permission denied"});
    let script = move |talk: &mut Talk| drop(talk.answer("status", with(status(), json!({ "watch": watch }))));
    let text = run(&["status"], script.clone());
    let line = "\nWatching   /srv/in\\x1b, 1 file added, 2 set aside: Permission denied\nUploads";
    assert!(text.out.contains(line), "{text:?}");
    assert!(run(&["status", "--terse"], script).out.ends_with("\t0\t/srv/in\\x1b\t3\n"));
}

#[test]
fn limits_are_shown_where_there_are_some() {
    let text = run(&["status"], |talk| drop(talk.answer("status", with(status(), json!({"download_limit": 5 << 20})))));
    assert!(text.out.contains("\nLimits     down 5.0 MiB/s, up no limit\n"), "{text:?}");
    let terse =
        run(&["status", "--terse"], |talk| drop(talk.answer("status", with(status(), json!({"upload_limit": 7})))));
    assert!(terse.out.ends_with("\t0\t7\t-\t3\n"), "{terse:?}");
}

#[test]
fn limits_that_depend_on_the_time_say_why_and_until_when() {
    let text = run(&["status"], |talk| {
        let limits = with(
            limits(0, 0),
            json!({"up": {"in_force": 1 << 20, "configured": 1 << 20, "until_restart": false,
            "when": "Mon-Fri 08:00-18:00", "until": 4_102_444_800u64, "then": 0}}),
        );
        drop(talk.answer("status", with(status(), json!({"upload_limit": 1 << 20, "limits": limits}))));
    });
    let lines = "\nLimits     down no limit\n           \
         up 1.0 MiB/s until 2100-01-01 00:00 (Mon-Fri 08:00-18:00), then no limit\n";
    assert!(text.out.contains(lines), "{text:?}");
}
