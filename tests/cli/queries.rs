//! Commands that a call and its pages answer, in each form.

use super::fake::{Fake, Talk, forms, hit, raw_argument, run, with};
use super::status::status;
use pyrate::control::{ChangedKey, RawText, ReloadReply, WaitingKey};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};

/// Later than any test runs, so that its age is 0 s.
pub(crate) const LATER_S: u64 = 4_102_444_800;

#[test]
fn peers_are_a_table() {
    fn script(talk: &mut Talk) {
        talk.answer(
            "peers",
            json!([
                {"addr": "192.0.2.1:63339", "source": "bootstrap", "state": "alive", "last_seen": LATER_S, "p1": true,
                 "neighbour": true},
                {"addr": "[2001:db8::1]:5", "source": "user", "state": "new", "last_seen": null, "p1": false,
                 "neighbour": false},
            ]),
        );
    }
    let [text, terse, json] = forms(&["peers"], script);
    text.gives(
        0,
        "ADDRESS          SOURCE     STATE  LAST SEEN  P1   SEARCHED\n\
         192.0.2.1:63339  bootstrap  alive  0 s ago    yes  yes\n\
         [2001:db8::1]:5  user       new    -          no   no\n",
    );
    terse.gives(
        0,
        "addr\tsource\tstate\tlast_seen\tp1\tneighbour\n\
         192.0.2.1:63339\tbootstrap\talive\t4102444800\ttrue\ttrue\n\
         [2001:db8::1]:5\tuser\tnew\t-\tfalse\tfalse\n",
    );
    assert_eq!(json.json()[1]["last_seen"], Value::Null);
    let [text, terse, json] = forms(&["peers"], |talk| drop(talk.answer("peers", json!([]))));
    text.gives(0, "");
    text.says(0, "no peer is known; `pyratectl bootstrap` shows whether a bootstrap node has answered\n");
    terse.gives(0, "addr\tsource\tstate\tlast_seen\tp1\tneighbour\n");
    assert_eq!((terse.err.as_str(), json.err.as_str()), ("", ""));
    json.gives(0, "[]\n");
}

/// A hash in hex.
fn b3() -> String {
    "0123456789abcdef".repeat(4)
}

fn three_hits(talk: &mut Talk) {
    assert_eq!(talk.expect("hits")["after"], 0);
    let evil = "a\u{1b}[31m\t\n\\\u{202e}txt";
    talk.reply(json!({"hits": [hit(1, evil, Some(0), &["192.0.2.1:5", "192.0.2.2:5"])], "next": 1}));
    assert_eq!(talk.expect("hits")["after"], 1);
    let raw = json!({"text": "caf\u{fffd}", "hex": "636166e9"});
    let names = json!({"name": raw, "names": [raw, "old/caf\u{e9}", "b"], "b3": b3()});
    talk.reply(json!({"hits": [with(hit(12, "", None, &[]), names)], "next": 12}));
    assert_eq!(talk.expect("hits")["after"], 12);
    let last = with(
        hit(13, "日本 ✓", Some(1 << 40), &["[::1]:5"]),
        json!({"names": ["日本 ✓", "c"], "b3": b3(), "search": 3}),
    );
    talk.reply(json!({"hits": [last], "next": null}));
}

#[test]
fn hits_are_a_row_a_content_and_their_names_cannot_touch_the_terminal() {
    let [text, terse, json] = forms(&["hits"], three_hits);
    text.gives(
        0,
        "ID  NAME                           SIZE  SOURCES  HASH\n \
          1  a\\x1b[31m\\t\\n\\\\\\u{202e}txt      0 B        2  unverified\n\
         12  caf\\xe9 (+2 names)                -        0  012345678…\n\
         13  日本 ✓ (+1 name)            1.0 TiB        1  012345678…\n",
    );
    // The mark explains itself.
    assert_eq!(text.err, "unverified: no source gave a hash, so that what is downloaded cannot be checked\n");
    terse.gives(
        0,
        &format!(
            "id\tname\tsize\tb3\tsources\tnames\tfiles\tbytes\n\
             1\ta\\x1b[31m\\t\\n\\\\\\u{{202e}}txt\t0\t-\t192.0.2.1:5 192.0.2.2:5\ta\\x1b[31m\\t\\n\\\\\\u{{202e}}txt\t-\t-\n\
             12\tcaf\\xe9\t-\t{0}\t-\tcaf\\xe9\\nold/café\\nb\t-\t-\n\
             13\t日本 ✓\t1099511627776\t{0}\t[::1]:5\t日本 ✓\\nc\t-\t-\n",
            b3()
        ),
    );
    assert_eq!((terse.err.as_str(), json.err.as_str()), ("", ""));
    assert!(!json.out.contains(['\u{1b}', '\u{202e}']), "{json:?}");
    assert_eq!(json.json()[0]["name"], "a\u{1b}[31m\t\n\\\u{202e}txt");
    assert_eq!(json.json()[1]["name"]["hex"], "636166e9");
    assert_eq!(json.json()[1]["names"][1], "old/café");
    assert_eq!(json.json()[1]["size"], Value::Null);
    assert_eq!(json.json().as_array().unwrap().len(), 3);
}

#[test]
fn a_hit_that_is_named_is_shown_with_all_names_and_sources() {
    let [text, terse, json] = forms(&["hits", "13,12", "1"], three_hits);
    text.gives(
        0,
        &format!(
            "13  日本 ✓\n    Size    1.0 TiB\n    Hash    {0}\n    Search  3\n    Name    日本 ✓\n            c\n    \
             Source  [::1]:5\n\n\
             12  caf\\xe9\n    Size    -\n    Hash    {0}\n    Name    caf\\xe9\n            old/café\n            b\n\n\
             1  a\\x1b[31m\\t\\n\\\\\\u{{202e}}txt\n    Size    0 B\n    \
             Hash    none given by its sources: a download of it is unverified\n    \
             Name    a\\x1b[31m\\t\\n\\\\\\u{{202e}}txt\n    Source  192.0.2.1:5\n            192.0.2.2:5\n",
            b3()
        ),
    );
    assert_eq!(text.err, "");
    assert_eq!(terse.out.lines().map(|line| &line[..2]).collect::<Vec<_>>(), ["id", "13", "12", "1\t"]);
    assert_eq!(json.json()[1]["names"].as_array().unwrap().len(), 3);
    let none = run(&["hits", "7", "--json"], three_hits);
    none.says(3, "no such id: 7");
    assert_eq!(none.json()["error"]["code"], 3);
}

#[test]
fn hits_that_all_have_a_hash_need_no_explanation() {
    let script = |talk: &mut Talk| {
        let rows = [with(hit(1, "a", None, &[]), json!({"b3": b3()}))];
        talk.answer("hits", json!({"hits": rows, "next": null}));
    };
    assert_eq!(run(&["hits"], script).err, "");
}

#[test]
fn no_hits_remembered_is_code_3() {
    let [text, terse, json] = forms(&["hits"], |talk| drop(talk.answer("hits", json!({"hits": [], "next": null}))));
    text.gives(3, "");
    text.says(3, "no hit is remembered; `pyratectl search` looks for some\n");
    terse.gives(3, "id\tname\tsize\tb3\tsources\tnames\tfiles\tbytes\n");
    json.gives(3, "[]\n");
}

#[test]
fn a_daemon_that_repeats_its_page_is_not_asked_forever() {
    let run = run(&["hits", "--terse"], |talk| {
        talk.answer("hits", json!({"hits": [hit(4, "a", None, &[])], "next": 4}));
        talk.answer("hits", json!({"hits": [hit(5, "b", None, &[])], "next": 4}));
        talk.until_hangup();
    });
    assert_eq!(run.out.lines().count(), 3);
}

#[test]
fn files_are_paged_by_name() {
    fn script(talk: &mut Talk) {
        assert_eq!(talk.expect("files"), json!({"after": null}));
        let raw = json!({"text": "\u{fffd}", "hex": "ff"});
        talk.reply(json!({"files": [{"name": "a/b", "size": 3, "b3": null}, {"name": raw, "size": 9, "b3": b3()}],
            "next": raw}));
        assert_eq!(talk.expect("files"), json!({"after": raw}));
        talk.reply(json!({"files": [], "next": null}));
    }
    let [text, terse, json] = forms(&["files"], script);
    text.gives(0, "NAME  SIZE  HASH\na/b    3 B  -\n\\xff   9 B  012345678…\n");
    terse.gives(0, &format!("name\tsize\tb3\na/b\t3\t-\n\\xff\t9\t{}\n", b3()));
    assert_eq!(json.json()[0], json!({"name": "a/b", "size": 3, "b3": null}));
}

#[test]
fn a_file_that_is_being_written_is_shown_as_such() {
    let [text, terse, json] = forms(&["files"], |talk| {
        talk.answer("files", json!({"files": [row_of_growing()], "next": null}));
    });
    text.gives(0, "NAME   SIZE  HASH\na.iso   3 B  being written\n");
    terse.gives(0, "name\tsize\tb3\na.iso\t3\t-\n");
    assert_eq!(json.json()[0], row_of_growing());
}

fn row_of_growing() -> Value {
    json!({"name": "a.iso", "size": 3, "b3": null, "being_written": true})
}

#[test]
fn files_of_shares_with_an_audience_are_shown_with_it() {
    let [text, terse, json] = forms(&["files"], |talk| {
        let [first, second] = rows_with_audience();
        talk.answer("files", json!({"files": [first], "next": "a"}));
        talk.answer("files", json!({"files": [second], "next": null}));
    });
    text.gives(0, "NAME  SIZE  HASH  AUDIENCE\na      3 B  -     all\nhome/b   3 B  -     10.0.0.0/8 fd00::/8\n");
    terse.gives(0, "name\tsize\tb3\na\t3\t-\nhome/b\t3\t-\n");
    assert_eq!(json.json(), json!(rows_with_audience()));
}

fn rows_with_audience() -> [Value; 2] {
    let row = |name: &str, audience: &[&str]| json!({"name": name, "size": 3, "b3": null, "audience": audience});
    [row("a", &["all"]), row("home/b", &["10.0.0.0/8", "fd00::/8"])]
}

#[test]
fn people_are_told_that_there_is_nothing_to_show() {
    let [text, terse, json] = forms(&["files"], |talk| drop(talk.answer("files", json!({"files": [], "next": null}))));
    text.gives(0, "");
    text.says(0, "no file is shared; put files into the shared directory, then `pyratectl rescan`\n");
    let alone = |talk: &mut Talk| {
        talk.answer("files", json!({"files": [], "next": null}));
        let mut status = status();
        status["listen"] = Value::Null;
        talk.answer("status", status);
    };
    let told =
        "this daemon is a bootstrap node alone, and shares nothing; peer = true in its configuration makes it a peer\n";
    run(&["files"], alone).says(0, told);
    let nothing = |talk: &mut Talk| drop(talk.answer("downloads", json!({"downloads": [], "next": null})));
    run(&["downloads"], nothing).says(0, "no download is remembered; `pyratectl download` begins one\n");
    // Programs see it.
    terse.gives(0, "name\tsize\tb3\n");
    json.gives(0, "[]\n");
    assert_eq!((terse.err.as_str(), json.err.as_str()), ("", ""));
}

#[test]
fn bootstrap_shows_links_and_all_pages_of_the_registry() {
    fn script(talk: &mut Talk) {
        let links =
            json!([{"addr": "b:1", "state": "registering", "last_ok": null, "retry_in_s": null, "error": null}]);
        let row = |addr: &str| json!({"addr": addr, "expires_in_s": 599});
        assert_eq!(talk.expect("bootstrap"), json!({"after": null}));
        talk.reply(json!({"links": links, "registry": {"peers": [row("10.0.0.1:5")], "count": 2,
            "next": "10.0.0.1:5"}}));
        assert_eq!(talk.expect("bootstrap"), json!({"after": "10.0.0.1:5"}));
        talk.reply(json!({"links": links, "registry": {"peers": [row("[::1]:5")], "count": 2}}));
    }
    let [text, terse, json] = forms(&["bootstrap"], script);
    text.gives(
        0,
        "BOOTSTRAP  STATE        LAST ANSWER  NEXT ATTEMPT  REMARK\n\
         b:1        registering  -            -             -\n\n\
         Registry of this node: 2 peers\n\
         PEER        EXPIRES\n\
         10.0.0.1:5  in 9 min 59 s\n\
         [::1]:5     in 9 min 59 s\n",
    );
    terse.gives(
        0,
        "kind\taddr\tstate\tlast_ok\tretry_in_s\terror\texpires_in_s\n\
         link\tb:1\tregistering\t-\t-\t-\t-\n\
         peer\t10.0.0.1:5\t-\t-\t-\t-\t599\n\
         peer\t[::1]:5\t-\t-\t-\t-\t599\n",
    );
    let json = json.json();
    assert_eq!(json["registry"]["peers"].as_array().unwrap().len(), 2);
    assert_eq!(json["registry"].as_object().unwrap().keys().collect::<Vec<_>>(), ["count", "peers"]);

    let checked = |talk: &mut Talk| {
        let rows = json!([{"addr": "10.0.0.1:5", "expires_in_s": 599, "answered": true}]);
        let registry = json!({"peers": rows, "count": 1, "checks": {"answered": 1, "silent": 0}});
        drop(talk.answer("bootstrap", json!({"links": [], "registry": registry})));
    };
    run(&["bootstrap"], checked).gives(
        0,
        "No bootstrap node is configured.\n\n\
         Registry of this node: 1 peer, 1 answered, 0 did not\n\
         PEER        EXPIRES\n\
         10.0.0.1:5  in 9 min 59 s\n",
    );
    let json = run(&["bootstrap", "--json"], checked).json();
    assert_eq!(json["registry"]["peers"][0]["answered"], true);
    assert_eq!(json["registry"]["checks"], json!({"answered": 1, "silent": 0}));

    let alone = |talk: &mut Talk| drop(talk.answer("bootstrap", json!({"links": [], "registry": null})));
    run(&["bootstrap"], alone).gives(0, "No bootstrap node is configured.\n");
    run(&["bootstrap", "--json"], alone).gives(0, "{\"links\":[],\"registry\":null}\n");
}

pub(super) fn metrics() -> Value {
    let spans = json!({"count": 3, "sum_us": 500_000, "less_than": [{"us": 64, "count": 1}]});
    json!({
        "status": status(), "started": LATER_S, "downloads": {"active": 2}, "refusals": {"malformed": 3}, "bytes_sent": 9, "turns": spans,
        "job_waits": spans, "jobs_waiting": {"pyrate-share": 0}, "connections": 4, "descriptors": 5, "descriptors_max": 6,
        "cpu_us": 7, "resident_bytes": null, "registry": {"peers": 8, "checks": {"answered": 1, "silent": 2}},
    })
}

#[test]
fn metrics_are_text_for_a_monitoring_system_or_one_document() {
    let [text, terse, json] = forms(&["metrics"], |talk| {
        assert_eq!(talk.answer("metrics", metrics()), Value::Null);
    });
    for sample in [
        "pyrate_build_info{version=\"0.1.0\"} 1\n",
        "pyrate_downloads{state=\"active\"} 2\n",
        "pyrate_limited_total{limit=\"searches_refused\"} 2\n",
        "pyrate_turn_duration_seconds_sum 0.5\n",
    ] {
        assert!(text.out.contains(&format!("\n{sample}")), "{sample}: {text:?}");
    }
    assert_eq!((text.code, &terse.out), (0, &text.out));
    assert_eq!(json.json()["refusals"], json!({"malformed": 3}));
}

pub(super) fn reloaded() -> ReloadReply {
    ReloadReply {
        file: Some(RawText::new("/etc/pyrate/pyrated.toml")),
        changed: vec![ChangedKey { key: "max_peers".into(), was: json!(8), in_force: json!(20) }],
        waiting: vec![WaitingKey { key: "log_file".into(), in_force: Value::Null, next_start: json!("/a\u{1b}b") }],
        remarks: vec!["look at\nthis".into()],
    }
}

#[test]
fn a_reload_shows_what_changed_and_what_waits() {
    let script = |talk: &mut Talk| assert_eq!(talk.answer("reload", json!(reloaded())), Value::Null);
    let [text, terse, json] = forms(&["reload"], script);
    text.gives(
        0,
        "KEY        WAS  IN FORCE  NEXT START\n\
         max_peers  8    20        20\n\
         log_file   -    -         /a\\x1bb\n",
    );
    text.says(0, "look at\\nthis\nin force only after a restart of the daemon: log_file\n");
    terse.gives(0, "key\twas\tin_force\tnext_start\nmax_peers\t8\t20\t20\nlog_file\t-\t-\t/a\\x1bb\n");
    assert_eq!(json.json()["waiting"][0]["next_start"], "/a\u{1b}b");
    // A daemon that says nothing of it has reloaded all the same.
    let nothing = |talk: &mut Talk| drop(talk.answer("reload", json!({})));
    let [text, ..] = forms(&["reload"], nothing);
    text.gives(0, "");
    text.says(0, "reloaded; no value in force has changed\n");
}

#[test]
fn orders_are_silent_unless_a_program_asks() {
    fn level(talk: &mut Talk) {
        assert_eq!(talk.answer("log_level", json!({})), json!({"level": "debug"}));
    }
    fn stop(talk: &mut Talk) {
        talk.answer("stop", json!({}));
        talk.notice(json!({"event": "leaving"}));
    }
    for (command, script) in [(&["log-level", "debug"][..], level as fn(&mut Talk)), (&["stop"], stop)] {
        let [text, terse, json] = forms(command, script);
        text.gives(0, "");
        terse.gives(0, "");
        json.gives(0, "{}\n");
    }
}

#[test]
fn stop_waits_until_the_daemon_has_closed_the_connection() {
    run(&["stop", "--timeout", "300ms"], |talk| {
        talk.answer("stop", json!({}));
        talk.notice(json!({"event": "leaving"}));
        talk.until_hangup();
    })
    .says(2, "has not stopped within 300ms");
}

#[test]
fn events_are_a_line_each_as_they_come_and_end_with_the_daemon() {
    let fake = Fake::new();
    let daemon = fake.serve(|talk| {
        talk.answer("events", json!({}));
        talk.notice(json!({"event": "peer_up", "addr": "[::1]:5"}));
        let lost = json!({"addr": "[::1]:6", "state": "corrupt", "bytes": 7, "rate": null, "error": "wrong bytes"});
        talk.notice(json!({"event": "source_lost", "download": 3, "source": lost}));
        talk.notice(json!({"event": "hashed", "files": 12}));
        talk.notice(json!({"event": "moon", "phase": "new\u{9b}"}));
        talk.notice(json!({"event": "leaving"}));
    });
    let run = super::fake::finish(fake.command_here(&["events"]).spawn().unwrap());
    super::fake::wait_for(daemon);
    run.gives(
        0,
        "{\"event\":\"peer_up\",\"addr\":\"[::1]:5\"}\n\
         {\"event\":\"source_lost\",\"download\":3,\"source\":{\"addr\":\"[::1]:6\",\"state\":\"corrupt\",\"bytes\":7,\
         \"rate\":null,\"error\":\"wrong bytes\"}}\n\
         {\"event\":\"hashed\",\"files\":12}\n\
         {\"event\":\"moon\",\"phase\":\"new\\u009b\"}\n{\"event\":\"leaving\"}\n",
    );
}

#[test]
fn events_end_well_when_interrupted_or_when_nobody_reads_them() {
    for interrupt in [true, false] {
        let fake = Fake::new();
        let daemon = fake.serve(move |talk| {
            talk.answer("events", json!({}));
            talk.notice(json!({"event": "leaving"}));
            if !interrupt {
                talk.notices_until_hangup(&json!({"event": "peer_down", "addr": "[::1]:5"}));
            }
            // A client that left bytes unread resets the connection.
            talk.until_gone();
        });
        let mut child = fake.command_here(&["events"]).spawn().unwrap();
        let mut first = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut first).unwrap();
        assert_eq!(first, "{\"event\":\"leaving\"}\n");
        if interrupt {
            let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        }
        drop(lines);
        let run = super::fake::finish(child);
        super::fake::wait_for(daemon);
        assert_eq!((run.code, run.err.as_str()), (0, ""));
    }
}

#[test]
fn a_reader_that_wants_only_the_beginning_is_no_error() {
    let fake = Fake::new();
    let daemon = fake.serve(|talk| {
        let rows: Vec<Value> = (1..2500).map(|id| hit(id, &"x".repeat(100), None, &[])).collect();
        talk.answer("hits", json!({"hits": rows, "next": null}));
    });
    let mut child = fake.command_here(&["hits", "--terse"]).spawn().unwrap();
    drop(child.stdout.take());
    let run = super::fake::finish(child);
    super::fake::wait_for(daemon);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
}

#[test]
fn a_socket_path_may_have_any_bytes() {
    let fake = Fake::new();
    let mut command = fake.command(&["--json", "--socket"]);
    let path = fake.directory().join(raw_argument(b"s\xff"));
    std::os::unix::fs::symlink(fake.socket(), &path).unwrap();
    command.arg(&path).arg("peers");
    fake.run_command(command, |talk| drop(talk.answer("peers", json!([])))).gives(0, "[]\n");
}
