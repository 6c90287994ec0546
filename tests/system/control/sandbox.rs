//! The sandbox that the daemon makes for itself (pyrated(8), SANDBOX).

use crate::harness::{Daemon, LIMIT, Setup, fetch, fetch_reset, free_port, not_tested, pyratectl, until};
use serde_json::{Value, json};
use std::fs;

/// A peer in its sandbox; `None` where the kernel has none.
fn sandboxed(setup: Setup) -> Option<Daemon> {
    let daemon = setup.set("sandbox", "true").start();
    if daemon.status()["sandbox"]["state"] == "on" {
        return Some(daemon);
    }
    not_tested("what the sandbox restricts", "this kernel lacks Landlock, or has an old one");
    None
}

/// Downloads a file to a path; returns the exit code and what the user reads.
fn save(daemon: &Daemon, from: &Daemon, path: &std::path::Path) -> (i32, String) {
    let run = pyratectl(daemon, ["download", &format!("{}/file", from.listen()), "-o", &path.display().to_string()]);
    (run.code, run.stderr)
}

#[test]
fn a_peer_in_its_sandbox_shares_downloads_and_reloads() {
    let Some(mut peer) = sandboxed(Setup::peer().shares("own", "mine")) else { return };
    peer.await_log("sandbox on (Landlock ABI");
    let source = Setup::peer().shares("file", "content").start();
    let id = peer.begin_download(source.listen(), "file");
    peer.await_download(id, "done");
    let id = source.begin_download(peer.listen(), "own");
    source.await_download(id, "done");
    // Found anew, by editors that write another file and rename it.
    let config = peer.home().join("pyrated.toml");
    fs::rename(&config, config.with_extension("old")).expect("a file");
    peer.reconfigure("max_peers", "7");
    let report = peer.call("reload", Value::Null);
    assert_eq!(report["changed"][0]["key"], "max_peers", "{report}");
    for task in fs::read_dir(format!("/proc/{}/task", peer.pid())).expect("its threads") {
        let status = fs::read_to_string(task.expect("a thread").path().join("status")).expect("its status");
        assert!(status.contains("NoNewPrivs:\t1"), "each thread was made after the process was restricted: {status}");
    }
}

#[test]
fn links_out_of_the_sandbox_are_left_out_unless_it_allows_to_read_there() {
    let directories = [(); 2].map(|()| tempfile::tempdir().expect("a scratch directory"));
    let [inside, outside] = directories.each_ref().map(|directory| directory.path());
    let readable = format!("['{}']", inside.display());
    let setup = Setup::peer().set("follow_symlinks", "true").set("sandbox_readable", &readable).shares("a", "a");
    for (name, directory) in [("inside", inside), ("outside", outside)] {
        fs::write(directory.join("file"), name).expect("it can be written");
        std::os::unix::fs::symlink(directory, setup.share().join(name)).expect("a link");
        std::os::unix::fs::symlink(directory.join("file"), setup.share().join(format!("{name}-file"))).expect("a link");
    }
    let Some(peer) = sandboxed(setup) else { return };
    assert_eq!(fetch(peer.listen(), b"inside/file"), b"inside");
    let shown = pyratectl(&peer, ["files", "--left-out", "--terse"]);
    let expected =
        "name\treason\ninside-file\tshared_already\noutside\toutside_sandbox\noutside-file\toutside_sandbox\n";
    assert_eq!(shown.stdout, expected);
    let shown = pyratectl(&peer, ["files", "--left-out"]);
    assert!(shown.stderr.contains("name the directories in 'sandbox_readable', and restart pyrated"), "{shown:?}");
}

#[test]
fn further_shares_can_be_read_in_the_sandbox() {
    let music = tempfile::tempdir().expect("a scratch directory");
    fs::write(music.path().join("song"), "la la").expect("it can be written");
    let tables = format!("[{{ path = '{}', name = 'music' }}]", music.path().display());
    let Some(peer) = sandboxed(Setup::peer().set("share", &tables)) else { return };
    assert_eq!(fetch(peer.listen(), b"music/song"), b"la la");
}

#[test]
fn a_download_outside_of_the_sandbox_is_refused_and_says_what_to_change() {
    // Not in the home, where the log is.
    let directories = [(); 2].map(|()| tempfile::tempdir().expect("a scratch directory"));
    let [inside, outside] = directories.each_ref().map(|directory| directory.path());
    let setup = Setup::peer().set("sandbox_writable", &format!("['{}']", inside.display()));
    let Some(peer) = sandboxed(setup) else { return };
    let source = Setup::peer().shares("file", "content").start();
    assert_eq!(save(&peer, &source, &inside.join("saved")).0, 0);
    assert_eq!(fs::read_to_string(inside.join("saved")).expect("the file"), "content");
    let (code, said) = save(&peer, &source, &outside.join("saved"));
    assert!(code == 17 && said.contains("outside of the sandbox of pyrated"), "{code} {said}");
    assert!(said.contains("name the directory in `sandbox_writable` and restart pyrated"), "{said}");
    assert_eq!(fs::read_dir(outside).expect("a directory").count(), 0);
}

#[test]
fn what_a_reload_names_outside_of_the_sandbox_waits_for_a_restart() {
    let Some(mut peer) = sandboxed(Setup::peer()) else { return };
    let directory = tempfile::tempdir().expect("a scratch directory");
    let outside = directory.path();
    peer.reconfigure("download_directory", &format!("'{}'", outside.display()));
    peer.reconfigure("log_file", &format!("'{}'", outside.join("log").display()));
    let report = peer.call("reload", Value::Null);
    let keys: Vec<&str> =
        report["waiting"].as_array().expect("keys").iter().filter_map(|row| row["key"].as_str()).collect();
    assert_eq!((keys, &report["changed"]), (vec!["download_directory", "log_file"], &json!([])), "{report}");
    assert!(report["remarks"].to_string().contains("outside of the sandbox"), "{report}");
    peer.await_log("download_directory stays");
    let source = Setup::peer().shares("file", "content").start();
    let id = peer.begin_download(source.listen(), "file");
    peer.await_download(id, "done");
    peer.stop();
    peer.start_again();
    let status = peer.status();
    assert_eq!((&status["sandbox"]["state"], outside.join("log").exists()), (&json!("on"), true), "{status}");
}

#[test]
fn a_share_outside_of_the_sandbox_waits_for_a_restart_and_the_others_do_not() {
    // Not in the home, where the configuration is.
    let [music, films] = [("song", "la la"), ("film", "a film")].map(|(file, content)| {
        let directory = tempfile::tempdir().expect("a scratch directory");
        fs::write(directory.path().join(file), content).expect("it can be written");
        directory
    });
    let table = |path: &std::path::Path, name: &str| format!("{{ path = '{}', name = '{name}' }}", path.display());
    let setup = Setup::peer().shares("a", "a").shares("films/of the main share", "x");
    let Some(mut peer) = sandboxed(setup.set("share", &format!("[{}]", table(music.path(), "music")))) else { return };
    peer.reconfigure("share", &format!("[{}, {}]", table(music.path(), "songs"), table(films.path(), "films")));
    let report = peer.call("reload", Value::Null);
    assert_eq!((&report["changed"][0]["key"], &report["waiting"][0]["key"]), (&json!("share"), &json!("share")));
    assert_eq!(report["changed"][0]["in_force"].as_array().map(Vec::len), Some(1), "{report}");
    assert_eq!(report["waiting"][0]["next_start"].as_array().map(Vec::len), Some(2), "{report}");
    let said =
        format!("share films: {} lies outside of the sandbox, which the next start extends", films.path().display());
    assert!(report["remarks"].to_string().contains(&said), "{report}");
    peer.await_log(&said);
    peer.await_log("share stays ");
    until("the other one is scanned", LIMIT, || peer.status()["shared_files"] == 2);
    assert_eq!(fetch(peer.listen(), b"songs/song"), b"la la");
    for name in ["music/song", "films/film", "films/of the main share"] {
        assert!(fetch_reset(peer.listen(), name.as_bytes()), "{name}");
    }
    peer.stop();
    peer.start_again();
    until("all are scanned", LIMIT, || peer.status()["shared_files"] == 3);
    assert_eq!(fetch(peer.listen(), b"films/film"), b"a film");
    peer.reconfigure("share", "[]");
    let report = peer.call("reload", Value::Null);
    assert_eq!((&report["changed"][0]["key"], &report["waiting"]), (&json!("share"), &json!([])), "{report}");
    assert!(fetch_reset(peer.listen(), b"films/film"));
}

#[test]
fn another_port_of_a_bootstrap_node_in_its_sandbox_waits_for_a_restart() {
    let Some(mut node) = sandboxed(Setup::bootstrap()) else { return };
    node.reconfigure("bootstrap_serve", &format!("'127.0.0.1:{}'", free_port()));
    let report = node.call("reload", Value::Null);
    assert_eq!(report["waiting"][0]["key"], "bootstrap_serve", "the sandbox denies that port until then: {report}");
}

#[test]
fn a_kernel_without_landlock_is_named_and_the_daemon_runs() {
    for error in ["ENOSYS", "EOPNOTSUPP"] {
        let fault = format!("landlock_create_ruleset:error={error}");
        let Some(setup) = Setup::peer().injecting("a kernel without Landlock", None, &[&fault]) else { return };
        let peer = setup.set("sandbox", "true").start();
        assert_eq!(peer.status()["sandbox"], json!({"state": "unavailable", "abi": null}));
        peer.await_log("sandbox unavailable: this kernel has no Landlock");
        let source = Setup::peer().shares("file", "content").start();
        let id = peer.begin_download(source.listen(), "file");
        until("it is done", LIMIT, || peer.download(id)["state"] == "done");
    }
}
