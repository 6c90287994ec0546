//! The default places of the control socket and the state directory. Pure: the environment is a
//! parameter, and nothing is looked up on disk.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Name of the control socket inside its directory.
const SOCKET_FILE: &str = "control.sock";

/// Where the unit of the system-wide daemon puts its socket.
const SYSTEM_SOCKET: &str = "/run/pyrate/control.sock";

/// The configuration of the daemon, in a directory for those of all programs.
const CONFIGURATION_FILE: &str = "pyrate/pyrated.toml";

/// The variable that overrides `control_socket`, for the daemon and for its clients.
pub(crate) const SOCKET_VARIABLE: &str = "PYRATE_CONTROL_SOCKET";

/// The daemon's state directory: systemd's `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/pyrate`, else
/// `~/.local/state/pyrate`. `None` if the environment does not even name a home.
pub(crate) fn default_state_directory(env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    first_directory(&env, "STATE_DIRECTORY").or_else(|| user_state_directory(&env))
}

/// Where the daemon puts its control socket: `control.sock` in systemd's `$RUNTIME_DIRECTORY`, else in
/// `$XDG_RUNTIME_DIR/pyrate`, else in the state directory. `None` if the environment names none of them.
pub(crate) fn default_socket_for_daemon(env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let directory = first_directory(&env, "RUNTIME_DIRECTORY")
        .or_else(|| absolute(&env, "XDG_RUNTIME_DIR").map(|path| path.join("pyrate")))
        .or_else(|| default_state_directory(&env))?;
    Some(directory.join(SOCKET_FILE))
}

/// Where a client looks for a daemon, in this order: `$PYRATE_CONTROL_SOCKET` alone if it is set; else a daemon of
/// this user, by `$XDG_RUNTIME_DIR` and by its state directory; else the daemon of the system.
pub(crate) fn default_sockets_for_client(env: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    sockets_for_client(&env, [None, None])
}

/// The same, with the `control_socket` that each of the [`configuration_files`] which are there names: that of the
/// first, which a daemon of this user reads, comes before the usual places of such a daemon; that of the second, which
/// only the daemon of the system reads then, before its usual place.
pub(crate) fn sockets_for_client(
    env: impl Fn(&str) -> Option<OsString>,
    configured: [Option<PathBuf>; 2],
) -> Vec<PathBuf> {
    if let Some(path) = env(SOCKET_VARIABLE).filter(|value| !value.is_empty()) {
        return vec![expanded(&env, Path::new(&path)).unwrap_or_else(|| path.into())];
    }
    let [first, second] = configured;
    let runtime = absolute(&env, "XDG_RUNTIME_DIR").map(|path| path.join("pyrate").join(SOCKET_FILE));
    let state = user_state_directory(&env).map(|path| path.join(SOCKET_FILE));
    let mut places: Vec<PathBuf> = Vec::new();
    for place in [first, runtime, state, second, Some(SYSTEM_SOCKET.into())].into_iter().flatten() {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// The configuration files of the daemon, of which it reads the first that is there: that of its user, below
/// `$XDG_CONFIG_HOME` or `~/.config`, and that of the system.
pub(crate) fn configuration_files(env: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let own = absolute(&env, "XDG_CONFIG_HOME").or_else(|| Some(absolute(&env, "HOME")?.join(".config")));
    own.into_iter().chain(["/etc".into()]).map(|directory| directory.join(CONFIGURATION_FILE)).collect()
}

/// A path with the home directory for a leading `~`; `None` if there is one and no home.
pub(crate) fn expanded(env: impl Fn(&str) -> Option<OsString>, path: &Path) -> Option<PathBuf> {
    match path.strip_prefix("~") {
        Ok(rest) => absolute(&env, "HOME").map(|home| home.join(rest)),
        Err(_) => Some(path.into()),
    }
}

fn user_state_directory(env: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    absolute(env, "XDG_STATE_HOME")
        .or_else(|| absolute(env, "HOME").map(|home| home.join(".local/state")))
        .map(|path| path.join("pyrate"))
}

/// The value of a variable that names a directory. Relative paths mean nothing here, as the XDG specification says.
fn absolute(env: &impl Fn(&str) -> Option<OsString>, variable: &str) -> Option<PathBuf> {
    env(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The first of the directories that systemd names in a variable, separated by `:`.
fn first_directory(env: &impl Fn(&str) -> Option<OsString>, variable: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let value = env(variable)?.into_vec();
    let first = value.split(|&b| b == b':').next()?;
    let path = Path::new(std::ffi::OsStr::from_bytes(first));
    path.is_absolute().then(|| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
    }

    #[test]
    fn systemd_comes_before_xdg_and_xdg_before_home() {
        for (pairs, socket, state) in [
            (
                &[("RUNTIME_DIRECTORY", "/run/a:/run/b"), ("STATE_DIRECTORY", "/var/lib/a"), ("HOME", "/h")][..],
                "/run/a/control.sock",
                "/var/lib/a",
            ),
            (
                &[("XDG_RUNTIME_DIR", "/run/user/7"), ("XDG_STATE_HOME", "/s"), ("HOME", "/h")],
                "/run/user/7/pyrate/control.sock",
                "/s/pyrate",
            ),
            (
                &[("XDG_RUNTIME_DIR", "relative"), ("XDG_STATE_HOME", ""), ("HOME", "/h")],
                "/h/.local/state/pyrate/control.sock",
                "/h/.local/state/pyrate",
            ),
        ] {
            assert_eq!(default_socket_for_daemon(env(pairs)).unwrap(), Path::new(socket));
            assert_eq!(default_state_directory(env(pairs)).unwrap(), Path::new(state));
        }
        assert_eq!(default_socket_for_daemon(env(&[])), None);
    }

    #[test]
    fn a_client_looks_where_a_daemon_of_the_same_user_would_be_and_then_for_the_systems() {
        let user = env(&[("XDG_RUNTIME_DIR", "/run/user/7"), ("HOME", "/h")]);
        let tried = default_sockets_for_client(&user);
        assert!(tried.contains(&default_socket_for_daemon(&user).unwrap()));
        assert_eq!(tried[1], Path::new("/h/.local/state/pyrate/control.sock"));
        assert_eq!(tried[2], Path::new("/run/pyrate/control.sock"));
        assert_eq!(default_sockets_for_client(env(&[])), [Path::new("/run/pyrate/control.sock")]);
        let told = env(&[("PYRATE_CONTROL_SOCKET", "x.sock"), ("HOME", "/h")]);
        assert_eq!(default_sockets_for_client(told), [Path::new("x.sock")]);
        let told = env(&[("PYRATE_CONTROL_SOCKET", "~/x.sock"), ("HOME", "/h")]);
        assert_eq!(default_sockets_for_client(told), [Path::new("/h/x.sock")]);
    }

    #[test]
    fn a_socket_that_a_configuration_names_comes_before_the_usual_places_of_who_reads_it() {
        let user = env(&[("XDG_RUNTIME_DIR", "/run/user/7"), ("HOME", "/h")]);
        assert_eq!(
            sockets_for_client(&user, [Some("/a".into()), Some("/b".into())]),
            [
                "/a",
                "/run/user/7/pyrate/control.sock",
                "/h/.local/state/pyrate/control.sock",
                "/b",
                "/run/pyrate/control.sock"
            ]
            .map(Path::new)
        );
        let usual = sockets_for_client(&user, [Some("/run/pyrate/control.sock".into()), None]);
        assert_eq!((usual.len(), usual[0].as_path()), (3, Path::new("/run/pyrate/control.sock")));
        let told = env(&[("PYRATE_CONTROL_SOCKET", "x.sock"), ("HOME", "/h")]);
        assert_eq!(sockets_for_client(told, [Some("/a".into()), None]), [Path::new("x.sock")]);
    }

    #[test]
    fn the_configuration_of_a_user_comes_before_that_of_the_system() {
        let system = "/etc/pyrate/pyrated.toml";
        for (pairs, files) in [
            (&[("XDG_CONFIG_HOME", "/c"), ("HOME", "/h")][..], &["/c/pyrate/pyrated.toml", system][..]),
            (&[("XDG_CONFIG_HOME", "c"), ("HOME", "/h")], &["/h/.config/pyrate/pyrated.toml", system]),
            (&[], &[system]),
        ] {
            assert_eq!(configuration_files(env(pairs)), files.iter().map(Path::new).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_tilde_is_the_home_directory_only_where_it_stands_alone() {
        let user = env(&[("HOME", "/h")]);
        for (path, meant) in [("~/x", "/h/x"), ("~", "/h"), ("~ann/x", "~ann/x"), ("/a/~", "/a/~")] {
            assert_eq!(expanded(&user, Path::new(path)).unwrap(), Path::new(meant));
        }
        assert_eq!(expanded(env(&[]), Path::new("~/x")), None);
    }
}
