//! Where `pyratectl` looks for the daemon: what the configuration says, the usual places, and what is told of them.

use super::fake::{Fake, Talk, finish};
use serde_json::json;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

fn no_peers(talk: &mut Talk) {
    talk.answer("peers", json!([]));
}

/// Writes a user's configuration.
fn configure(directory: &Path, text: &str) {
    let directory = directory.join("pyrate");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("pyrated.toml"), text).unwrap();
}

#[test]
fn the_socket_of_the_configuration_is_found() {
    for (directory, variable) in [(".config", None), ("own", Some("own"))] {
        let fake = Fake::new();
        let text = format!("listen_port = 5\ncontrol_socket = {:?}\n", fake.socket().to_str().unwrap());
        configure(&fake.directory().join(directory), &text);
        let mut command = fake.command(&["--json", "peers"]);
        command.envs(variable.map(|name| ("XDG_CONFIG_HOME", fake.directory().join(name))));
        fake.run_command(command, no_peers).gives(0, "[]\n");
    }
}

#[test]
fn a_home_that_a_socket_begins_with_is_expanded() {
    let fake = Fake::new();
    configure(&fake.directory().join(".config"), "control_socket = '~/control.sock'");
    let command = fake.command(&["--json", "peers"]);
    fake.run_command(command, no_peers).gives(0, "[]\n");

    let fake = Fake::new();
    let mut command = fake.command(&["--json", "peers"]);
    command.env("PYRATE_CONTROL_SOCKET", "~/control.sock");
    fake.run_command(command, no_peers).gives(0, "[]\n");
}

#[test]
fn what_the_user_says_comes_before_the_configuration() {
    let fake = Fake::new();
    let other = fake.directory().join("other.sock");
    let _other = UnixListener::bind(&other).unwrap();
    configure(&fake.directory().join(".config"), &format!("control_socket = {:?}", other.to_str().unwrap()));
    let command = fake.command_here(&["--json", "peers"]);
    fake.run_command(command, no_peers).gives(0, "[]\n");
}

#[test]
fn a_daemon_at_the_usual_place_is_found_though_the_configuration_names_another() {
    let fake = Fake::new();
    configure(&fake.directory().join(".config"), "control_socket = '/nowhere/control.sock'");
    fs::create_dir(fake.directory().join("state")).unwrap();
    std::os::unix::fs::symlink(fake.directory(), fake.directory().join("state/pyrate")).unwrap();
    let mut command = fake.command(&["--json", "peers"]);
    command.env("XDG_STATE_HOME", fake.directory().join("state"));
    fake.run_command(command, no_peers).gives(0, "[]\n");
}

/// Runs where no daemon is, with this configuration.
fn run_alone_with(prepare: impl FnOnce(&Path, &mut Command)) -> super::fake::Run {
    let fake = Fake::new();
    let mut command = fake.command(&["peers"]);
    prepare(fake.directory(), &mut command);
    finish(command.spawn().unwrap())
}

#[test]
fn all_places_tried_are_named_in_their_order() {
    let run = run_alone_with(|home, command| {
        configure(&home.join(".config"), "control_socket = '/nowhere/x.sock'");
        command.env("XDG_RUNTIME_DIR", home.join("run"));
    });
    run.says(69, "no daemon answers at /nowhere/x.sock (no such socket), ");
    let places =
        ["/nowhere/x.sock", "run/pyrate/control.sock", ".local/state/pyrate/control.sock", " /run/pyrate/control.sock"];
    let found = places.map(|place| run.err.find(place).unwrap_or_else(|| panic!("{place}: {run:?}")));
    assert!(found.is_sorted(), "{run:?}");
    assert!(!run.err.contains("ignored"), "{run:?}");
}

#[test]
fn a_configuration_that_cannot_be_read_is_passed_over_and_named() {
    for (text, why) in [
        ("listen_port = 5\ncontrol_socket = \n", "line 2: "),
        ("control_socket = 5", "control_socket is not a string"),
        ("control_socket = 'run/x.sock'", "control_socket is a relative path"),
        ("control_socket = '~ann/x.sock'", "control_socket is a relative path"),
        ("\u{1b} = 5", "line 1: "),
    ] {
        let run = run_alone_with(|home, _| configure(&home.join(".config"), text));
        run.says(69, ".config/pyrate/pyrated.toml is ignored: ");
        run.says(69, why);
        run.says(69, ".local/state/pyrate/control.sock (no such socket)");
        assert!(run.err.lines().count() == 1 && !run.err.contains('\u{1b}'), "{run:?}");
    }
    run_alone_with(|home, _| configure(&home.join(".config"), "control_socket = ''")).says(69, "no daemon answers");
    // Nothing that stands under the name holds us up.
    run_alone_with(|home, _| {
        configure(&home.join(".config"), "");
        fs::remove_file(home.join(".config/pyrate/pyrated.toml")).unwrap();
        nix::unistd::mkfifo(&home.join(".config/pyrate/pyrated.toml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    })
    .says(69, "pyrated.toml is ignored: not a regular file");
    // Whoever names a socket is not told of files.
    for by_option in [true, false] {
        let named = run_alone_with(|home, command| {
            configure(&home.join(".config"), "=");
            if by_option {
                command.args(["--socket", "x.sock"])
            } else {
                command.env("PYRATE_CONTROL_SOCKET", "x.sock")
            };
        });
        named.says(69, "no daemon answers at x.sock (no such socket); start");
        assert!(!named.err.contains("ignored"), "{named:?}");
    }
}
