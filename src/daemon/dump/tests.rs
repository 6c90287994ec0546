use super::super::load::tests::Desk;
use super::*;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// The lines that set a value, without their comments.
fn values(dump: &str) -> Vec<&str> {
    let lines = dump.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(" # ").expect("an origin").0).collect()
}

/// The configuration that a dump of this one gives when it is the configuration file.
fn read_back(loaded: &Loaded) -> Loaded {
    let mut copy = Desk::new();
    copy.file(loaded.dump());
    copy.sources.load().unwrap()
}

#[test]
fn a_dump_reads_back_to_the_same() {
    let mut desk = Desk::new();
    desk.options(&["--bootstraps", "[2001:db8::1]:3 c.example:4", "--log-file", "~/\"quoted\" # \\ é.log"]);
    desk.file("[[limit]]\nwhen = 'Mon-Fri 08:00-18:00, Sat'\nupload_limit = '1MiB'\n[[limit]]\nwhen = 'Sun'\ndownload_limit = 7\n");
    desk.set("PYRATE_KEEPALIVE_REFRESH", "90").set("PYRATE_UPLOAD_LIMIT", "1.5MiB");
    let loaded = desk.sources.load().unwrap();
    let config = &loaded.config;
    assert_eq!(config.limit.len(), 2);
    assert_eq!((config.keepalive_refresh, config.upload_limit), (Duration::from_secs(90), 1_572_864));
    let copy = read_back(&loaded);
    assert_eq!(copy.config, Config { bootstrap_serve: config.bootstrap_serve, ..config.resolved() });
    assert_eq!(values(&copy.dump()), values(&loaded.dump()));
    // What was not set stays unset, but for what is in force in its place.
    let alone = Desk::new().sources.load().unwrap();
    assert_eq!(
        read_back(&alone).config,
        Config {
            listen_addr: Some(IpAddr::from([127, 0, 0, 1])),
            download_directory: Some(alone.config.local_directory.clone()),
            ..alone.config.clone()
        }
    );
    assert!(alone.dump().contains(" in force without being set: a bootstrap node at 127.0.0.1:21168\n"));
}

#[test]
fn each_value_is_shown_with_its_origin() {
    let mut desk = Desk::new();
    let file = desk.file("# mine\nmax_peers = 1\nmax_ttl = 2\nmax_downloads = 5\n\nadvertise_addr = ''\n");
    desk.set("PYRATE_MAX_TTL", "3").set("PYRATE_UPLOAD_LIMIT", "1KiB").set("XDG_RUNTIME_DIR", "/run/user/7");
    desk.options(&["--upload-limit", "2KiB", "--control-socket", ""]);
    let dump = desk.sources.load().unwrap().dump();
    let file = file.display();
    for line in [
        format!("max_peers = 1 # {file}:2"),
        "max_ttl = 3 # environment variable PYRATE_MAX_TTL".to_owned(),
        // Given, though it is the default.
        format!("max_downloads = 5 # {file}:4"),
        "upload_limit = 2048 # option --upload-limit".to_owned(),
        "download_limit = 0 # default".to_owned(),
        format!("advertise_addr = \"\" # default: the one that reaches the bootstrap node; unset by {file}:6"),
        "bootstrap_addr = \"\" # default: none".to_owned(),
        "control_socket = \"/run/user/7/pyrate/control.sock\" # default: in $RUNTIME_DIRECTORY or $XDG_RUNTIME_DIR"
            .to_owned(),
    ] {
        assert!(dump.lines().any(|found| found == line), "{line} is not in {dump}");
    }
    assert_eq!(values(&dump).len(), KEYS.len());
    assert!(dump.starts_with(&format!(
        "# The configuration in force, with the origin of each value. The configuration file is {file}.\n"
    )));
}

#[test]
fn a_path_with_control_characters_makes_no_line_of_its_own() {
    let mut desk = Desk::new();
    let odd = tempfile::tempdir().unwrap();
    let path = odd.path().join("a\nmax_ttl = 9\u{7f}.toml");
    std::fs::write(&path, "max_peers = 1\n").unwrap();
    desk.options(&["--config", path.to_str().unwrap()]);
    let loaded = desk.sources.load().unwrap();
    assert_eq!(loaded.file.as_deref(), Some(Path::new(&path)));
    assert_eq!((read_back(&loaded).config.max_peers, read_back(&loaded).config.max_ttl), (1, 7));
}
