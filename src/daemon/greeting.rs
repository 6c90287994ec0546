//! What the daemon says of itself after the start: in the log, and to the service manager.

use super::config::Config;
use super::load::Sources;
use crate::control::paths;
use crate::driver::Facts;
use crate::name::Escaped;
use std::ffi::OsString;

/// The command that reaches this daemon: `pyratectl` finds sockets in the default places by itself.
pub(super) fn client_command(sources: &Sources, facts: &Facts) -> String {
    let usual = paths::default_sockets_for_client(|name| sources.variable(name).map(OsString::from));
    match &facts.control {
        Some(path) if !usual.contains(path) => format!("pyratectl --socket {}", Escaped::path(path)),
        _ => "pyratectl".to_owned(),
    }
}

/// The log lines after the start: for a node without configuration, three lines that say what to type next.
pub(super) fn announcement(config: &Config, facts: &Facts, client: &str) -> Vec<String> {
    let share = Escaped::path(&config.local_directory);
    if config.on_this_machine_alone() {
        let bootstrap = match (facts.bootstrap, config.serve()) {
            (Some(own), _) => format!("bootstrap node on {own}"),
            (None, Some(there)) => format!("registered with the bootstrap node that runs already on {there}"),
            (None, None) => "no bootstrap node".to_owned(),
        };
        let peer = facts.listen.map_or_else(|| "none".to_owned(), |addr| addr.to_string());
        return vec![
            format!(
                "no bootstrap node is configured: this machine is the whole network, with a peer on {peer}, {bootstrap}"
            ),
            format!("sharing {share}: put files there and type `{client} rescan`, then `{client} files`"),
            format!("type `{client} status` for an overview; bootstrap_addr in the configuration joins other machines"),
        ];
    }
    let mut lines = Vec::new();
    lines.extend(facts.bootstrap.map(|addr| format!("bootstrap node on {addr}")));
    lines.extend(facts.listen.map(|addr| format!("peer on {addr}, sharing {share}")));
    lines.extend(facts.control.as_ref().map(|path| format!("control socket {}", Escaped::path(path))));
    lines
}

/// One line for `systemctl status`.
pub(super) fn status(config: &Config, facts: &Facts) -> String {
    let share = Escaped::path(&config.local_directory);
    let peer = facts.listen.map(|addr| format!("peer on {addr} sharing {share}"));
    let bootstrap = facts.bootstrap.map(|addr| format!("bootstrap node on {addr}"));
    peer.into_iter().chain(bootstrap).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn facts(bootstrap: Option<&str>) -> Facts {
        Facts {
            listen: Some("127.0.0.1:63339".parse().unwrap()),
            bootstrap: bootstrap.map(|addr| addr.parse().unwrap()),
            control: Some(PathBuf::from("/run/user/7/pyrate/control.sock")),
            metrics: None,
        }
    }

    #[test]
    fn a_newcomer_is_told_in_three_lines_what_to_type() {
        let config = Config { local_directory: PathBuf::from("/home/ann/pyrate-files"), ..Config::default() };
        let lines = announcement(&config, &facts(Some("127.0.0.1:21168")), "pyratectl");
        assert_eq!(lines.len(), 3);
        assert!(lines[0].contains("127.0.0.1:63339") && lines[0].contains("bootstrap node on 127.0.0.1:21168"));
        assert!(lines[1].contains("/home/ann/pyrate-files") && lines[2].contains("`pyratectl status`"));
        let second = announcement(&config, &facts(None), "pyratectl");
        assert!(second[0].contains("runs already on 127.0.0.1:21168"), "{}", second[0]);
    }

    #[test]
    fn the_client_is_called_with_a_socket_only_where_it_would_not_look() {
        let mut sources = Sources::default();
        sources.environment.insert("XDG_RUNTIME_DIR".into(), "/run/user/7".into());
        assert_eq!(client_command(&sources, &facts(None)), "pyratectl");
        let elsewhere = Facts { control: Some(Path::new("/tmp/x.sock").to_owned()), ..facts(None) };
        assert_eq!(client_command(&sources, &elsewhere), "pyratectl --socket /tmp/x.sock");
    }

    #[test]
    fn a_configured_node_says_where_it_is_bound() {
        let config = Config { bootstrap_addr: Some("b.example".to_owned()), ..Config::default() };
        let lines = announcement(&config, &facts(None), "pyratectl");
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("peer on 127.0.0.1:63339"));
        assert!(status(&config, &facts(Some("0.0.0.0:1"))).ends_with("bootstrap node on 0.0.0.0:1"));
    }
}
