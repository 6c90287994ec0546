use super::*;
use crate::daemon::load::tests::Desk;
use crate::daemon::shares::NamedShare;
use crate::daemon::value::LogPlace;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

/// What makes a configuration another one.
type Change<'c> = &'c dyn Fn(&mut Config);

/// A scratch directory, and a configuration that is good there.
struct Scratch {
    directory: tempfile::TempDir,
    config: Config,
}

impl Scratch {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        std::fs::create_dir(at("share")).unwrap();
        std::fs::write(at("file"), "").unwrap();
        symlink("loop", at("loop")).unwrap();
        let config = Config {
            bootstrap_addr: Some("b.example".to_owned()),
            local_directory: at("share"),
            state_directory: Some(at("state")),
            control_socket: Some(at("control")),
            listen_port: 0,
            ..Config::default()
        };
        Self { directory, config }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn check(&self, change: impl FnOnce(&mut Config)) -> Result<Vec<String>, Fault> {
        let mut config = self.config.clone();
        change(&mut config);
        check_start(&config, &Origins::default(), &Probed::default())
    }

    /// The only fault of a change, which is one of the configuration.
    fn fault(&self, change: impl FnOnce(&mut Config)) -> String {
        let fault = self.check(change).unwrap_err();
        assert_eq!(fault.exit_code(), 78, "{fault}");
        let Fault::Config(faults) = fault else { panic!("{fault}") };
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults[0].to_string()
    }
}

#[test]
fn a_good_configuration_is_good_and_leaves_no_trace() {
    let scratch = Scratch::new();
    assert_eq!(scratch.check(|_| ()).unwrap(), Vec::<String>::new());
    assert!(!scratch.at("state").exists() && !scratch.at("control").exists());
}

#[test]
fn a_directory_that_is_missing_is_refused_unless_it_was_in_use() {
    let scratch = Scratch::new();
    let missing = scratch.at("missing");
    let share = |config: &mut Config| config.local_directory = scratch.at("missing");
    let downloads = |config: &mut Config| config.download_directory = Some(scratch.at("missing"));
    let message = format!("{}: no such directory; create it", missing.display());
    assert!(scratch.fault(share).starts_with(&format!("local_directory: {message}")));
    assert!(scratch.fault(downloads).starts_with(&format!("download_directory: {message}")));
    std::fs::create_dir(scratch.at("state")).unwrap();
    let filesystem = crate::id::FilesystemId { kind: 1, number: 1 }.to_string();
    let place = serde_json::json!([{ "path": missing, "filesystem": filesystem, "mount_point": "/" }]);
    std::fs::write(scratch.at("state/places"), place.to_string()).unwrap();
    for (remarks, waits) in [(scratch.check(share), "nothing is shared"), (scratch.check(downloads), "wait")] {
        let remarks = remarks.unwrap();
        assert!(remarks.len() == 1 && remarks[0].contains("no such directory any more"), "{remarks:?}");
        assert!(remarks[0].contains(waits), "{remarks:?}");
    }
    assert!(!missing.exists());
}

#[test]
fn what_can_be_no_directory_is_refused() {
    let scratch = Scratch::new();
    for bad in ["file", "file/below", "loop", &"n".repeat(256)] {
        let share = scratch.fault(|config| config.local_directory = scratch.at(bad));
        assert!(share.contains("local_directory") && share.ends_with("name a directory"), "{share}");
        let downloads = scratch.fault(|config| config.download_directory = Some(scratch.at(bad)));
        assert!(downloads.contains("download_directory"), "{downloads}");
        let state = scratch.fault(|config| config.state_directory = Some(scratch.at(bad)));
        assert!(state.contains("state_directory"), "{state}");
    }
    // A bootstrap node alone uses none of the first two.
    scratch.check(|config| (config.peer, config.local_directory) = (false, scratch.at("file"))).unwrap();
}

#[test]
fn a_start_does_without_a_disk_that_does_not_answer_unless_it_needs_that() {
    let scratch = Scratch::new();
    // Not there, which only a look would find.
    let hung = scratch.at("hung");
    let check = |change: Change<'_>| {
        let mut config = scratch.config.clone();
        change(&mut config);
        check_start(&config, &Origins::default(), &Probed::with_hung(&hung))
    };
    let share = |path: PathBuf| NamedShare { path, name: "music".to_owned(), ..NamedShare::default() };
    let does_without: [(&str, Change<'_>); 4] = [
        ("share: ", &|config| config.share = vec![share(scratch.at("hung"))]),
        ("share: ", &|config| config.share = vec![share(scratch.at("hung/below"))]),
        ("download_directory: ", &|config| config.download_directory = Some(scratch.at("hung"))),
        ("watch_directory: ", &|config| config.watch_directory = Some(scratch.at("hung"))),
    ];
    for (key, change) in does_without {
        let remarks = check(change).unwrap();
        assert_eq!(remarks.len(), 1, "{remarks:?}");
        assert!(remarks[0].starts_with(key) && remarks[0].contains(": the disk does not answer; "), "{remarks:?}");
    }
    let needs: [(&str, Change<'_>); 4] = [
        ("local_directory", &|config| config.local_directory = scratch.at("hung")),
        ("state_directory", &|config| config.state_directory = Some(scratch.at("hung/state"))),
        ("control_socket", &|config| config.control_socket = Some(scratch.at("hung/socket"))),
        ("log_file", &|config| config.log_file = LogPlace::File(scratch.at("hung/log"))),
    ];
    for (key, change) in needs {
        let fault = check(change).unwrap_err();
        assert!(matches!(fault, Fault::NoAnswer(_)) && fault.exit_code() == 1, "{fault:?}");
        let told = fault.to_string();
        assert!(told.starts_with(&format!("{key}: {}", hung.display())), "{told}");
        assert!(told.ends_with(": the disk does not answer; wait until it does, or name another path"), "{told}");
    }
    let fault = check(&|config| {
        (config.local_directory, config.state_directory) = (scratch.at("hung"), Some(scratch.at("file")))
    });
    assert_eq!(fault.unwrap_err().exit_code(), 78, "waiting would not mend that");
    let fault = check(&|config| {
        (config.download_directory, config.watch_directory) = (Some(hung.clone()), Some(scratch.at("hung/watch")));
    });
    assert!(fault.unwrap_err().to_string().contains("downloads are saved there"), "that is known by the paths alone");
}

#[test]
fn the_state_directory_is_not_a_share() {
    let scratch = Scratch::new();
    symlink("share", scratch.at("link")).unwrap();
    let fault = scratch.fault(|config| config.state_directory = Some(scratch.at("link")));
    assert!(fault.contains("state directory"), "{fault}");
    scratch.check(|config| config.state_directory = Some(scratch.at("share/inside"))).unwrap();
}

#[test]
fn a_socket_needs_a_short_path_and_a_free_name() {
    let scratch = Scratch::new();
    let longest = 107 - scratch.at("").as_os_str().len();
    scratch.check(|config| config.control_socket = Some(scratch.at(&"s".repeat(longest)))).unwrap();
    let fault = scratch.fault(|config| config.control_socket = Some(scratch.at(&"s".repeat(longest + 1))));
    assert!(fault.contains("108 bytes, where the path of a socket may have 107"), "{fault}");
    let fault = scratch.fault(|config| config.control_socket = Some(scratch.at("file")));
    assert!(fault.contains("not a socket"), "{fault}");
    let fault = scratch.fault(|config| config.control_socket = Some(scratch.at("file/socket")));
    assert!(fault.starts_with("control_socket: "), "{fault}");
    scratch.check(|config| config.control_socket = Some(scratch.at("new/socket"))).unwrap();
}

#[test]
fn a_log_is_a_file_in_a_directory_that_is_there() {
    let scratch = Scratch::new();
    let log = |path: &str| LogPlace::File(scratch.at(path));
    for good in ["file", "new"] {
        scratch.check(|config| config.log_file = log(good)).unwrap();
    }
    for bad in ["share", "missing/log", "loop"] {
        let fault = scratch.fault(|config| config.log_file = log(bad));
        assert!(fault.starts_with("log_file: "), "{fault}");
    }
    assert!(!scratch.at("new").exists());
}

#[test]
fn all_faults_are_told_at_once() {
    let scratch = Scratch::new();
    let fault = scratch.check(|config| {
        (config.local_directory, config.control_socket) = (scratch.at("file"), Some(scratch.at("file")));
        config.listen_addr = Some([192, 0, 2, 1].into());
    });
    let Err(Fault::Config(faults)) = fault else { panic!("{fault:?}") };
    let keys: Vec<String> = faults.iter().map(|fault| fault.place.to_string()).collect();
    assert_eq!(keys, ["local_directory", "control_socket", "listen_addr"]);
}

#[test]
fn an_address_that_this_machine_lacks_may_come_and_one_in_use_is_no_matter() {
    let scratch = Scratch::new();
    let fault = scratch.check(|config| config.listen_addr = Some([192, 0, 2, 1].into())).unwrap_err();
    assert!(matches!(fault, Fault::NoSuchAddress(_)) && fault.exit_code() == 1, "{fault}");
    assert!(fault.to_string().starts_with("listen_addr: 192.0.2.1 is no address of this machine"), "{fault}");
    let fault = scratch.check(|config| config.bootstrap_serve = Some(([192, 0, 2, 1], 5).into())).unwrap_err();
    assert!(fault.to_string().starts_with("bootstrap_serve: "), "{fault}");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    scratch.check(|config| config.bootstrap_serve = taken.local_addr().ok()).unwrap();
}

#[test]
fn two_listeners_need_two_ports() {
    let scratch = Scratch::new();
    let both = |listen: &'static str, serve: &'static str| {
        move |config: &mut Config| {
            let listen: SocketAddr = listen.parse().unwrap();
            (config.listen_addr, config.listen_port) = (Some(listen.ip()), listen.port());
            config.bootstrap_serve = Some(serve.parse().unwrap());
        }
    };
    for (listen, serve) in [("127.0.0.1:7000", "127.0.0.1:7000"), ("0.0.0.0:7000", "127.0.0.1:7000")] {
        let fault = scratch.fault(both(listen, serve));
        assert!(fault.contains("listen_port: ") && fault.contains("our own bootstrap node"), "{fault}");
    }
    for metrics in ["127.0.0.1:7000", "0.0.0.0:8000"] {
        let fault = scratch.fault(|config| {
            both("127.0.0.1:7000", "127.0.0.1:8000")(config);
            config.metrics_listen = Some(metrics.parse().unwrap());
        });
        assert!(fault.contains("metrics_listen: ") && fault.contains("is taken by our own"), "{fault}");
    }
    for (listen, serve) in [("127.0.0.1:7000", "127.0.0.2:7000"), ("127.0.0.1:0", "127.0.0.1:0")] {
        scratch.check(both(listen, serve)).unwrap();
    }
}

#[test]
fn each_share_has_a_name_and_a_directory_of_its_own() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.at("music")).unwrap();
    std::fs::create_dir(scratch.at("films")).unwrap();
    let of =
        |path: &str, name: &str| NamedShare { path: scratch.at(path), name: name.to_owned(), ..NamedShare::default() };
    scratch.check(|config| config.share = vec![of("music", "m"), of("films", "f")]).unwrap();
    let fault = scratch.fault(|config| config.share = vec![of("music", "m"), of("films", "m")]);
    assert_eq!(fault, "share: two shares have the name m; give each a name of its own");
    for (one, other) in [("music", "music"), ("music", "share"), ("music", "music/../music")] {
        let fault = scratch.fault(|config| config.share = vec![of(one, "m"), of(other, "f")]);
        assert!(fault.contains("one is inside of the other; nothing is shared twice"), "{fault}");
    }
    std::fs::write(scratch.at("share/m"), "").unwrap();
    let remarks = scratch.check(|config| config.share = vec![of("music", "m")]).unwrap();
    assert!(
        remarks[0].contains("it is in local_directory; it is not shared, since the share m has this name"),
        "{remarks:?}"
    );
}

#[test]
fn what_is_wrong_with_a_share_of_several_names_its_line() {
    let scratch = Scratch::new();
    for directory in ["music", "films", "share/taken"] {
        std::fs::create_dir(scratch.at(directory)).unwrap();
    }
    let head = format!(
        "local_directory = '{}'\nstate_directory = '{}'\nbootstrap_addr = 'b.example'\nlisten_port = 0\n\n[[share]]\nname = 'm'\n\
         path = '{}'\n\n",
        scratch.at("share").display(),
        scratch.at("state").display(),
        scratch.at("music").display(),
    );
    let mut desk = Desk::new();
    let mut told = |second: &str, path: &str, options: &[&str]| {
        let file = desk.file(format!("{head}[[share]]\n{second}\npath = '{path}'\n")).display().to_string();
        let told = match desk.options(options).sources.load() {
            Ok(loaded) => match check_start(&loaded.config, &loaded.origins, &Probed::default()) {
                Ok(remarks) => remarks.concat(),
                Err(fault) => fault.to_string(),
            },
            Err(faults) => faults[0].to_string(),
        };
        told.replace(&file, "FILE")
    };
    let at = |path: &str| scratch.at(path).display().to_string();
    for (second, path, beginning) in [
        ("name = 'f'", at("films"), ""),
        ("name = 'f'", at("none"), "FILE:12: share: /"),
        ("name = 'f'", at("file"), "FILE:12: share: /"),
        ("name = 'f'", at("share"), "FILE:12: share: /"),
        ("name = 'm'", at("films"), "FILE:11: share: two shares have the name m"),
        ("name = 'taken'", at("films"), "FILE:11: share: /"),
    ] {
        let told = told(second, &path, &[]);
        assert!(told.starts_with(beginning) && told.is_empty() == beginning.is_empty(), "{second}, {path}: {told}");
    }
    let word = format!("[{{ name = 'f', path = '{}' }}]", at("none"));
    assert!(told("name = 'f'", &at("none"), &["--share", &word]).starts_with("option --share: /"));
    desk.sources.environment.remove(std::ffi::OsStr::new("HOME"));
    let path = desk.file(format!("control_socket = '/run/socket'\n{head}[[share]]\nname = 'f'\npath = '~/f'\n"));
    desk.options(&["--config", path.to_str().unwrap()]);
    let faults = desk.sources.load().unwrap_err();
    assert!(faults[0].to_string().contains("toml:13: share: ~ cannot be expanded"), "{faults:?}");
}

#[test]
fn with_an_interface_listeners_are_at_its_addresses_and_bootstrap_nodes_named_without_a_name_server() {
    let scratch = Scratch::new();
    let bound = |change: fn(&mut Config)| {
        move |config: &mut Config| {
            (config.interface, config.bootstrap_addr) = (Some("lo".to_owned()), Some("192.0.2.1".to_owned()));
            change(config);
        }
    };
    scratch.check(bound(|_| ())).unwrap();
    scratch.check(bound(|config| config.listen_addr = Some([127, 0, 0, 9].into()))).unwrap();
    let fault = scratch.fault(bound(|config| config.bootstrap_addr = Some("b.invalid".to_owned())));
    assert!(fault.starts_with("bootstrap_addr: b.invalid: cannot look up the host: with `interface`"), "{fault}");
    let fault = scratch.fault(bound(|config| config.interface = Some("missing".to_owned())));
    assert!(fault.starts_with("interface: this machine has no network interface missing; "), "{fault}");
}

#[test]
fn peers_cannot_put_links_into_the_watched_directory() {
    let scratch = Scratch::new();
    std::fs::create_dir_all(scratch.at("downloads/watched")).unwrap();
    std::fs::create_dir(scratch.at("watched")).unwrap();
    symlink(scratch.at("downloads/watched"), scratch.at("link")).unwrap();
    let watch = |downloads: Option<&str>, watched: &str| {
        let (downloads, watched) = (downloads.map(|path| scratch.at(path)), scratch.at(watched));
        move |config: &mut Config| (config.download_directory, config.watch_directory) = (downloads, Some(watched))
    };
    for watched in ["downloads", "downloads/watched", "link"] {
        let fault = scratch.fault(watch(Some("downloads"), watched));
        assert!(fault.starts_with("watch_directory: ") && fault.contains("downloads are saved there"), "{fault}");
    }
    // Without a directory of their own, downloads are saved in the share.
    assert!(scratch.fault(watch(None, "share")).contains("downloads are saved there"));
    for (downloads, watched) in [(Some("downloads/watched"), "downloads"), (Some("downloads"), "watched")] {
        assert_eq!(scratch.check(watch(downloads, watched)).unwrap(), Vec::<String>::new(), "{watched}");
    }
}

#[test]
fn a_day_behind_its_time_is_remarked_with_its_line() {
    let scratch = Scratch::new();
    let mut desk = Desk::new();
    let file = desk.file(
        "[[limit]]\nwhen = 'Mon 18:00-08:00'\nupload_limit = 1\n\n[[limit]]\nupload_limit = 1\nwhen = '18:00-08:00 Mon'\n",
    );
    let loaded = desk.sources.load().unwrap();
    let config = Config { limit: loaded.config.limit, ..scratch.config.clone() };
    let place = file.display();
    let expected = format!(
        "{place}:7: limit: when: Mon is meant from 00:00 to 24:00, since days stand before their times; write \"Mon 18:00-08:00\" \
         if that is meant, else put a comma before Mon"
    );
    assert_eq!(check_start(&config, &loaded.origins, &Probed::default()).unwrap(), [expected]);
}
