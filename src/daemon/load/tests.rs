use super::super::limit_times::TimedLimit;
use super::*;
use argh::FromArgs;
use std::net::IpAddr;

/// Sources with a home directory of their own, in which no file stands.
pub(in crate::daemon) struct Desk {
    home: tempfile::TempDir,
    pub(in crate::daemon) sources: Sources,
}

impl Desk {
    pub(in crate::daemon) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut desk = Self { home, sources: Sources::default() };
        let path = desk.home.path().to_owned();
        desk.set("HOME", path.to_str().unwrap());
        desk
    }

    pub(in crate::daemon) fn set(&mut self, variable: &str, value: &str) -> &mut Self {
        self.sources.environment.insert(variable.into(), value.into());
        self
    }

    pub(in crate::daemon) fn options(&mut self, words: &[&str]) -> &mut Self {
        self.sources.options = Options::from_args(&["pyrated"], words).unwrap();
        self
    }

    /// Writes the user's own file.
    pub(in crate::daemon) fn file(&mut self, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home.path().join(".config/pyrate/pyrated.toml");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn config(&self) -> Config {
        self.sources.load().unwrap().config
    }

    fn faults(&self) -> Vec<String> {
        self.sources.load().unwrap_err().iter().map(ConfigFault::to_string).collect()
    }
}

#[test]
fn an_option_beats_the_environment_which_beats_the_file() {
    let mut desk = Desk::new();
    assert_eq!(desk.config().max_peers, 8);
    desk.file("max_peers = 1\nmax_ttl = 1\nmax_downloads = 1\n");
    desk.set("PYRATE_MAX_PEERS", "2").set("PYRATE_MAX_TTL", "2");
    desk.options(&["--max-peers", "3"]);
    let config = desk.config();
    assert_eq!((config.max_peers, config.max_ttl, config.max_downloads), (3, 2, 1));
}

#[test]
fn every_key_can_be_set_in_the_file_the_environment_and_by_option() {
    for key in KEYS {
        let word = match key.name {
            "bootstrap_addr" => "b.example",
            "bootstraps" => "a.example:1,[2001:db8::1]:2",
            "listen_addr" | "advertise_addr" => "192.0.2.1",
            "keepalive_refresh" | "filemonitor_refresh" => "61",
            "local_directory" | "download_directory" | "watch_directory" | "log_file" | "control_socket"
            | "state_directory" => "/some/where",
            "log_format" => "json",
            "log_level" => "trace",
            "bootstrap_serve" => "[::1]:5",
            "peer" => "false",
            "bootstrap_verify" | "sandbox" | "allow_root" | "hand_over" | "follow_symlinks" => "true",
            "limit" => "[{ when = '22:00-06:00', upload_limit = 0 }]",
            "audience" => "192.0.2.0/24,fd00::/8",
            "share" => "[{ path = \"/some/where\", name = \"else\", follow_symlinks = true }]",
            "sandbox_writable" | "sandbox_readable" => "/some/where:/else/where",
            _ => "77",
        };
        let mut by_option = Desk::new();
        by_option.options(&[&key.option_name(), word]);
        let mut by_variable = Desk::new();
        by_variable.set(&key.variable_name(), word);
        let shown = (key.show)(&by_option.config());
        assert_ne!(shown, (key.show)(&Desk::new().config()), "{} did nothing", key.name);
        assert_eq!(shown, (key.show)(&by_variable.config()));
        let mut by_file = Desk::new();
        by_file.file(format!("{} = {shown}", key.name));
        assert_eq!(shown, (key.show)(&by_file.config()));
    }
}

#[test]
fn the_defaults_of_the_table_are_the_defaults_in_force() {
    for key in KEYS {
        let mut config = Config::default();
        let before = (key.show)(&config);
        (key.set_word)(&mut config, key.default).unwrap();
        assert_eq!((key.show)(&config), before, "{}", key.name);
        assert!(!key.default.is_empty() || !key.unset.is_empty(), "{} says nothing of its default", key.name);
    }
}

#[test]
fn faults_name_file_line_and_key() {
    let mut desk = Desk::new();
    let path = desk.file("listen_port = 63339\n\nlisten_prt = 1\nbootstrap_port = 0\npeer = \"yes\"\nmax_ttl = 256\n");
    let at = |line: usize, rest: &str| format!("{}:{line}: {rest}", path.display());
    assert_eq!(
        desk.faults(),
        [
            at(3, "unknown key \"listen_prt\"; did you mean \"listen_port\"?"),
            at(4, "bootstrap_port: expected a number from 1 to 65535, not \"0\""),
            at(5, "peer: expected true or false, not a value of type string"),
            at(6, "max_ttl: expected a number from 1 to 255, not \"256\""),
        ]
    );
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_its_line() {
    let mut desk = Desk::new();
    let path = desk.file("peer = true\nlisten_port = = 3\n");
    assert!(desk.faults()[0].starts_with(&format!("{}:2: ", path.display())), "{:?}", desk.faults());
    for (text, line, told) in [
        ("peer = true\n\npeer = false\n", 3, "\"peer\": it is set in line 1 already; remove one of the two"),
        (
            "upload_limit = 1\n[[limit]]\nwhen = 'Mon'\n[[limit]]\nwhen = 'Sat'\nupload_limit = 2\nwhen = 'Sun'\n",
            7,
            "\"when\": it is set in line 5 already; remove one of the two",
        ),
        ("limit = [{ when = 'Mon', when = 'Sat' }]\n", 1, "\"when\": it is set already; remove one of the two"),
    ] {
        desk.file(text);
        assert_eq!(desk.faults(), [format!("{}:{line}: duplicate key {told}", path.display())]);
    }
    desk.file(b"peer = true\n# \xff\n");
    assert_eq!(desk.faults(), [format!("{}:2: not UTF-8", path.display())]);
    desk.file("[peer]\nx = 1\n");
    assert!(desk.faults()[0].contains("peer: expected true or false"), "{:?}", desk.faults());
}

#[test]
fn faults_outside_the_file_name_the_variable_or_the_option() {
    let mut desk = Desk::new();
    desk.set("PYRATE_LISTEN_PORT", "65536").options(&["--keepalive-refresh", "11m"]);
    assert_eq!(
        desk.faults(),
        [
            "environment variable PYRATE_LISTEN_PORT: expected a number from 0 to 65535, not \"65536\"",
            "option --keepalive-refresh: expected a time from 100ms to 10m, not \"11m\"",
        ]
    );
}

#[test]
fn a_named_file_must_be_there_and_be_a_file() {
    let mut desk = Desk::new();
    let home = desk.home.path().to_owned();
    nix::unistd::mkfifo(&home.join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    for (path, problem) in [
        (home.join("missing"), "no such file; "),
        (home.join("fifo/below"), "no such file; "),
        (home.clone(), "a directory; "),
        (home.join("fifo"), "not a regular file, "),
        ("/dev/zero".into(), "not a regular file, "),
    ] {
        desk.options(&["--config", path.to_str().unwrap()]);
        let faults = desk.faults();
        assert!(faults[0].starts_with(&format!("{}: {problem}", path.display())), "{faults:?}");
    }
}

#[test]
fn the_null_device_is_no_configuration_file_at_all() {
    let mut desk = Desk::new();
    desk.file("max_peers = 1");
    std::os::unix::fs::symlink("/dev/null", desk.home.path().join("none")).unwrap();
    for path in ["/dev/null", desk.home.path().join("none").to_str().unwrap()] {
        desk.options(&["--config", path]);
        let loaded = desk.sources.load().unwrap();
        assert_eq!((loaded.file, loaded.config.max_peers), (None, 8));
    }
}

#[test]
fn the_file_in_xdg_config_home_is_found_before_the_one_in_home() {
    let mut desk = Desk::new();
    desk.file("max_peers = 1");
    let other = tempfile::tempdir().unwrap();
    fs::create_dir(other.path().join("pyrate")).unwrap();
    fs::write(other.path().join("pyrate/pyrated.toml"), "max_peers = 2").unwrap();
    desk.set("XDG_CONFIG_HOME", other.path().to_str().unwrap());
    let loaded = desk.sources.load().unwrap();
    assert_eq!(loaded.config.max_peers, 2);
    assert_eq!(loaded.file, Some(other.path().join("pyrate/pyrated.toml")));
}

#[test]
fn an_empty_value_unsets_what_a_place_below_set() {
    let mut desk = Desk::new();
    desk.file("bootstrap_addr = \"b.example\"\nbootstrap_serve = \"127.0.0.1:9\"\n");
    desk.options(&["--bootstrap-addr", "", "--bootstrap-serve", "off"]);
    assert!(desk.config().on_this_machine_alone());
}

#[test]
fn an_unknown_key_is_answered_with_the_one_that_was_likely_meant() {
    let mut desk = Desk::new();
    let path = desk.file("listen_prot = 1\nlisten-addr = 1\nMAX_PEERS = 1\nfrobnicate = 1\n[network]\nmax_ttl = 1\n");
    let at = |line: usize, rest: &str| format!("{}:{line}: unknown key {rest}", path.display());
    assert_eq!(
        desk.faults(),
        [
            at(1, "\"listen_prot\"; did you mean \"listen_port\"?"),
            at(2, "\"listen-addr\"; did you mean \"listen_addr\"?"),
            at(3, "\"MAX_PEERS\"; did you mean \"max_peers\"?"),
            at(4, "\"frobnicate\"; pyrated.toml(5) lists all keys"),
            at(5, "\"network\"; keys stand in no [section] or table"),
        ]
    );
    desk.file("\"a\\u001Bb\" = 1\n");
    assert!(desk.faults()[0].contains("unknown key \"a\\x1bb\""), "{:?}", desk.faults());
}

#[test]
fn hosts_and_ports_are_told_apart() {
    let mut desk = Desk::new();
    for bad in ["2001:db8::1:3", "b.example", "b.example:0", ":3", "b example:3x", "[b.example:3"] {
        desk.options(&["--bootstraps", bad]);
        assert_eq!(desk.faults().len(), 1, "{bad}");
    }
    for bad in ["b.example:21168", "two words", "b\u{1b}[31m", "-\n"] {
        desk.options(&["--bootstrap-addr", bad]);
        assert_eq!(desk.faults().len(), 1, "{bad}");
        assert!(!desk.faults()[0].contains('\u{1b}'));
    }
    desk.options(&["--listen-addr", "localhost"]);
    assert_eq!(desk.config().listen_addr, Some(IpAddr::from([127, 0, 0, 1])));
    desk.options(&["--bootstrap-addr", "[2001:db8::1]"]);
    assert_eq!(desk.config().bootstrap_addr.as_deref(), Some("2001:db8::1"));
    for word in ["b.example:7000", "192.0.2.1:7000", "[2001:db8::1]:7000"] {
        desk.options(&["--bootstrap-addr", word]);
        let expected = format!(
            "option --bootstrap-addr: expected a host name or IP address alone, not \"{word}\"; its port is bootstrap_port"
        );
        assert_eq!(desk.faults(), [expected]);
    }
}

#[test]
fn other_forms_of_addresses_are_refused_with_what_an_address_looks_like() {
    for form in ["1.2.3", "127.1", "010.0.0.1", "0x7f.1", "2130706433", "10.0.0.256"] {
        for (key, value) in [
            ("bootstrap_addr", format!("'{form}'")),
            ("bootstraps", format!("['b.example:1', '{form}:21168']")),
            ("listen_addr", format!("'{form}'")),
            ("advertise_addr", format!("'{form}'")),
            ("bootstrap_serve", format!("'{form}:21168'")),
        ] {
            let mut desk = Desk::new();
            desk.file(format!("{key} = {value}\n"));
            let from_file = desk.faults();
            desk.file("");
            let word = value.trim_matches(['[', ']']).replace(['\'', ' '], "");
            let option = format!("--{}", key.replace('_', "-"));
            desk.options(&[&option, &word]);
            for faults in [from_file, desk.faults()] {
                let told = faults.len() == 1 && faults[0].contains(form);
                let shows = ["192.0.2.7", "0.0.0.0:21168"].iter().any(|example| faults[0].contains(example));
                assert!(told && shows, "{key} {form}: {faults:?}");
            }
        }
    }
}

#[test]
fn metrics_are_for_this_machine_unless_another_address_is_named() {
    let mut desk = Desk::new();
    for (value, addr) in [
        ("21169", Some("127.0.0.1:21169")),
        ("'21169'", Some("127.0.0.1:21169")),
        ("'0.0.0.0:21169'", Some("0.0.0.0:21169")),
        ("'[::1]:7'", Some("[::1]:7")),
        ("'off'", None),
        ("''", None),
    ] {
        desk.file(format!("metrics_listen = {value}\n"));
        assert_eq!(desk.config().metrics_listen, addr.map(|addr| addr.parse().unwrap()), "{value}");
    }
    for bad in ["0", "65536", "-1", "'0.0.0.0'", "'localhost:7'", "'127.0.0.1:0'", "true", "[]"] {
        desk.file(format!("metrics_listen = {bad}\n"));
        let faults = desk.faults();
        assert!(faults.len() == 1 && faults[0].contains("metrics_listen"), "{bad}: {faults:?}");
    }
}

#[test]
fn a_variable_that_is_no_key_is_remarked_upon() {
    let mut desk = Desk::new();
    desk.set("PYRATE_LISTEN_PRT", "1").set("PYRATE_LISTEN_PORT", "").set("PYRATE_FROB", "1");
    let loaded = desk.sources.load().unwrap();
    let told = [
        "environment variable PYRATE_FROB is no key; pyrated.toml(5) lists all keys",
        "environment variable PYRATE_LISTEN_PRT is no key; did you mean PYRATE_LISTEN_PORT?",
    ];
    assert_eq!(loaded.remarks, told);
    assert_eq!(loaded.config.listen_port, 63339);
}

#[test]
fn numbers_beyond_all_ranges_are_refused_in_order() {
    let mut desk = Desk::new();
    desk.file("listen_port = 99999999999999999999999999\n");
    assert!(desk.faults()[0].contains("listen_port"), "{:?}", desk.faults());
    desk.file("keepalive_refresh = -1\n");
    assert!(desk.faults()[0].contains("keepalive_refresh"), "{:?}", desk.faults());
    desk.file("upload_limit = -1\n");
    assert!(desk.faults()[0].contains("upload_limit"), "{:?}", desk.faults());
}

#[test]
fn limits_by_the_time_of_the_week_are_tables_of_the_file() {
    let mut desk = Desk::new();
    desk.file(
        "upload_limit = '4MiB'\n\n[[limit]]\nwhen = 'Mon-Fri 08:00-18:00'\nupload_limit = '1MiB'\n\n\
         [[limit]]\nwhen = 'Sat'\ndownload_limit = 0\n",
    );
    let entry =
        |when: &str, upload_limit, download_limit| TimedLimit { when: when.to_owned(), upload_limit, download_limit };
    let expected = [entry("Mon-Fri 08:00-18:00", Some(1 << 20), None), entry("Sat", None, Some(0))];
    assert_eq!(desk.config().limit, expected);
    desk.options(&["--limit", ""]);
    assert_eq!(desk.config().limit, [], "unset by an option");
}

#[test]
fn faults_in_a_table_name_its_line_and_what_was_likely_meant() {
    let fault = |table: &str| {
        let mut desk = Desk::new();
        let path = desk.file(format!("peer = true\n\n[[limit]]\n{table}")).display().to_string();
        let faults = desk.faults();
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults[0].strip_prefix(&format!("{path}:")).expect("the file").to_owned()
    };
    let when = "when = 'Sat'";
    for (table, expected) in [
        (
            format!("{when}\nupload_limt = 1\n"),
            "5: limit: unknown key \"upload_limt\" in a [[limit]]; did you mean \"upload_limit\"?",
        ),
        (
            format!("{when}\nlisten_port = 1\n"),
            "5: limit: unknown key \"listen_port\" in a [[limit]]; it has when, download_limit, upload_limit; as a key of the whole file it stands above the first [[limit]]",
        ),
        (
            format!("{when}\nxyz = 1\n"),
            "5: limit: unknown key \"xyz\" in a [[limit]]; it has when, download_limit, upload_limit",
        ),
        (
            "upload_limit = 1\nwhen = 'Mon-Fir'\n".to_owned(),
            "5: limit: when: expected days and times as in \"Mon-Fri 08:00-18:00, Sat\", but \"Mon-Fir\" is neither a day nor a time; did you mean Fri?",
        ),
        (
            format!("{when}\nupload_limit = 'fast'\n"),
            "5: limit: upload_limit: expected a size as in \"10MiB\", not \"fast\"",
        ),
        (format!("{when}\nupload_limit = -1\n"), "5: limit: upload_limit: expected a size as in \"10MiB\", not \"-1\""),
        (format!("{when}\n"), "3: limit: a [[limit]] lacks upload_limit or download_limit"),
        ("upload_limit = 1\n".to_owned(), "3: limit: a [[limit]] lacks when, as in when = \"Mon-Fri 08:00-18:00\""),
        ("when = 8\nupload_limit = 1\n".to_owned(), "4: limit: when: expected a string, not a value of type integer"),
        (
            format!("{when}\nupload_limit = 1\n").repeat(33).replace("1\nwhen", "1\n[[limit]]\nwhen"),
            "99: limit: at most 32 tables [[limit]], not 33",
        ),
    ] {
        assert_eq!(fault(&table), expected, "{table}");
    }
    let mut desk = Desk::new();
    let path = desk.file("limit = [\n  { when = 'Sat', upload_limit = 1 },\n  3,\n]\n").display().to_string();
    let expected = format!("{path}:3: limit: expected tables, each begun by [[limit]], not a value of type integer");
    assert_eq!(desk.faults(), [expected]);
    let path = desk.file("[limit]\nwhen = 'Sat'\n").display().to_string();
    assert_eq!(
        desk.faults(),
        [format!("{path}:1: limit: expected tables, each begun by [[limit]], not a value of type table")]
    );
    desk.file("");
    for (word, part) in
        [("Sat", "expected tables as in [{ when = ... }], not \"Sat\""), ("[3]", "not a value of type integer")]
    {
        let faults = desk.options(&["--limit", word]).faults();
        assert!(faults[0].starts_with("option --limit: ") && faults[0].contains(part), "{faults:?}");
    }
}
