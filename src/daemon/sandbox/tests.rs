use super::*;
use crate::daemon::shares::NamedShare;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::thread;

/// A home with directories, and a configuration of them.
struct Home {
    directory: tempfile::TempDir,
    config: Config,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        for name in ["share", "downloads", "further", "elsewhere", "logs"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("share/file"), "shared").unwrap();
        fs::write(at("elsewhere/file"), "secret").unwrap();
        let config = Config {
            sandbox: true,
            sandbox_writable: vec![at("further")],
            bootstrap_addr: Some("b.example".to_owned()),
            local_directory: at("share"),
            download_directory: Some(at("downloads")),
            state_directory: Some(at("state")),
            control_socket: Some(at("run/control.sock")),
            log_file: LogPlace::File(at("logs/log")),
            listen_port: 0,
            ..Config::default()
        };
        Self { directory, config }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn rules(&self) -> Rules {
        Rules::of(&self.config, &[self.at("etc/pyrated.toml")])
    }

    fn uses(&self, path: &str) -> Vec<Use> {
        let path = self.at(path);
        self.rules().places.iter().filter(|place| place.path == path).map(|place| place.used).collect()
    }

    /// Enters the sandbox in a thread of its own, and looks what that can do.
    fn inside<T: Send>(&self, look: impl FnOnce(&Sandbox) -> T + Send) -> Option<T> {
        let enter = || {
            let sandbox = Sandbox::enter(&self.config, &Origins::default(), &[], &Probed::default()).unwrap();
            (sandbox.reply().state == SandboxState::On).then(|| look(&sandbox))
        };
        let seen = thread::scope(|scope| scope.spawn(enter).join().unwrap());
        if seen.is_none() {
            println!("NOT TESTED: what the sandbox restricts: this kernel lacks Landlock, or has an old one");
        }
        seen
    }
}

fn is_denied<T>(outcome: io::Result<T>) -> bool {
    outcome.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

#[test]
fn the_rules_follow_from_the_configuration() {
    let home = Home::new();
    assert_eq!(home.uses("share"), [Use::Read]);
    assert_eq!(home.uses("downloads"), [Use::Write]);
    assert_eq!(home.uses("further"), [Use::Write]);
    assert_eq!(home.uses("state"), [Use::Write]);
    assert_eq!(home.uses("run"), [Use::Socket]);
    assert_eq!(home.uses("logs"), [Use::Log]);
    assert_eq!(home.uses("etc"), [Use::Configuration]);
    assert_eq!(home.uses("elsewhere"), []);
    let readable = Config { sandbox_readable: vec![home.at("elsewhere")], ..home.config.clone() };
    let uses_elsewhere = |config: &Config| {
        let places = Rules::of(config, &[]).places;
        places.iter().filter(|place| place.path == home.at("elsewhere")).map(|place| place.used).collect::<Vec<_>>()
    };
    assert_eq!(uses_elsewhere(&readable), [], "nothing leads there");
    assert_eq!(uses_elsewhere(&Config { follow_symlinks: true, ..readable }), [Use::Read]);
    assert_eq!((home.rules().bind, home.rules().connects), (None, true));
}

#[test]
fn a_share_whose_disk_hangs_at_the_start_stays_out_of_reach() {
    let mut home = Home::new();
    let music = |path| NamedShare { path, name: "music".to_owned(), ..NamedShare::default() };
    home.config.share = vec![music(home.at("elsewhere"))];
    let hung = Probed::with_hung(&home.at("elsewhere"));
    let enter = || {
        let sandbox = Sandbox::enter(&home.config, &Origins::default(), &[], &hung).unwrap();
        let is_denied = is_denied(fs::read(home.at("elsewhere/file")));
        (sandbox.reply().state == SandboxState::On).then_some((sandbox.hung.clone(), is_denied))
    };
    let seen = thread::scope(|scope| scope.spawn(enter).join().unwrap());
    assert!(seen.is_none_or(|seen| seen == (vec![home.at("elsewhere")], true)));
}

#[test]
fn a_share_without_another_directory_for_downloads_is_written_to() {
    let mut home = Home::new();
    home.config.download_directory = None;
    assert_eq!(home.uses("share"), [Use::Read, Use::Write]);
}

#[test]
fn a_bootstrap_node_alone_has_no_directories_of_a_peer_and_one_port() {
    let mut home = Home::new();
    home.config.peer = false;
    home.config.bootstrap_serve = Some("0.0.0.0:21168".parse().unwrap());
    assert_eq!([home.uses("share"), home.uses("downloads"), home.uses("further")], [const { Vec::new() }; 3]);
    assert_eq!((home.rules().bind, home.rules().connects), (Some(vec![21168]), false));
    home.config.bootstrap_verify = true;
    assert!(home.rules().connects, "it dials those who register");
}

#[test]
fn a_device_as_a_log_opens_no_directory() {
    let mut home = Home::new();
    home.config.log_file = LogPlace::File("/dev/null".into());
    let places = home.rules().places;
    assert!(
        places.contains(&Allowed::new("/dev/null", Use::Log, "log"))
            && !places.iter().any(|at| at.path == Path::new("/dev"))
    );
}

#[test]
fn a_log_that_is_a_link_can_be_written_where_the_link_leads() {
    let home = Home::new();
    fs::create_dir_all(home.at("logs")).unwrap();
    std::os::unix::fs::symlink(home.at("elsewhere/file"), home.at("logs/log")).unwrap();
    assert_eq!((home.uses("logs"), home.uses("elsewhere")), (vec![Use::Log], vec![Use::Log]));
}

#[test]
fn without_being_asked_for_it_restricts_nothing() {
    let mut home = Home::new();
    home.config.sandbox = false;
    let sandbox = Sandbox::enter(&home.config, &Origins::default(), &[], &Probed::default()).unwrap();
    assert_eq!(sandbox.reply(), SandboxReply::default());
    assert!(!home.at("state").exists() && sandbox.covers_downloads(&home.at("elsewhere"), &Probed::default()));
}

#[test]
fn a_bad_configuration_is_told_and_creates_nothing() {
    let mut home = Home::new();
    home.config.download_directory = Some(home.at("missing"));
    let fault = Sandbox::enter(&home.config, &Origins::default(), &[], &Probed::default()).unwrap_err();
    assert!(fault.to_string().contains("download_directory") && !home.at("state").exists(), "{fault}");
}

#[test]
fn inside_only_named_directories_are_within_reach() {
    let home = Home::new();
    home.inside(|_| {
        assert_eq!(fs::read_to_string(home.at("share/file")).unwrap(), "shared");
        for writable in ["downloads", "further", "state"] {
            fs::write(home.at(writable).join("new"), "").unwrap();
            fs::rename(home.at(writable).join("new"), home.at(writable).join("renamed")).unwrap();
            fs::remove_file(home.at(writable).join("renamed")).unwrap();
        }
        fs::OpenOptions::new().append(true).create(true).open(home.at("logs/log")).unwrap();
        std::os::unix::net::UnixListener::bind(home.at("run/control.sock")).unwrap();
        fs::remove_file(home.at("run/control.sock")).unwrap();
        assert!(is_denied(fs::read(home.at("elsewhere/file"))), "other files are not read");
        assert!(is_denied(fs::read_dir(home.at("elsewhere"))));
        for fixed in ["share", "elsewhere", "run"] {
            assert!(is_denied(fs::write(home.at(fixed).join("new"), "")), "{fixed}");
        }
        assert!(is_denied(fs::remove_file(home.at("share/file"))));
        assert!(is_denied(std::process::Command::new("/bin/true").status()), "no program is run");
        thread::scope(|scope| scope.spawn(|| assert!(is_denied(fs::read(home.at("elsewhere/file"))))).join().unwrap());
    });
}

#[test]
fn inside_host_names_are_looked_up_and_peers_connected_to() {
    let home = Home::new();
    home.inside(|_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        TcpStream::connect(("localhost", listener.local_addr().unwrap().port())).unwrap();
    });
}

#[test]
fn a_bootstrap_node_connects_to_nobody_and_listens_nowhere_else() {
    let mut home = Home::new();
    let [own, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    home.config.peer = false;
    home.config.bootstrap_serve = Some(own);
    home.inside(|_| {
        let _listener = TcpListener::bind(own).unwrap();
        assert!(is_denied(TcpListener::bind(other)));
        assert!(is_denied(TcpStream::connect(own)));
    });
}

#[test]
fn what_lies_outside_is_known() {
    let home = Home::new();
    std::os::unix::fs::symlink(home.at("elsewhere"), home.at("downloads/link")).unwrap();
    home.inside(|sandbox| {
        assert!(sandbox.covers_downloads(&home.at("downloads/not/made/yet"), &Probed::default()));
        assert!(
            !sandbox.covers_downloads(&home.at("downloads/link"), &Probed::default())
                && !sandbox.covers_downloads(&home.at("logs"), &Probed::default())
        );
        let hung = Probed::with_hung(&home.at("downloads/link"));
        assert!(sandbox.covers_downloads(&home.at("downloads/link/below"), &hung), "a link that hangs is not followed");
        assert!(
            !sandbox.covers_downloads(&home.at("downloads2"), &Probed::default())
                && !sandbox.covers_downloads(&home.at("share"), &Probed::default())
        );
        let log = |path| LogPlace::File(home.at(path));
        assert!(
            sandbox.covers_log(&LogPlace::Stderr, &Probed::default())
                && sandbox.covers_log(&log("logs/other"), &Probed::default())
        );
        assert!(!sandbox.covers_log(&log("elsewhere/log"), &Probed::default()));
    });
}

#[test]
fn what_an_old_kernel_cannot_restrict_is_named() {
    assert_eq!(unknown_to(3), ["TCP", "ioctl on devices", "signals and abstract sockets"]);
    assert!(unknown_to(6).is_empty());
}

#[test]
fn the_log_says_what_each_directory_is_for() {
    let mut home = Home::new();
    home.config.sandbox_readable = vec![home.at("elsewhere")];
    home.config.follow_symlinks = true;
    home.config.watch_directory = Some(home.at("logs"));
    let allowed = |home: &Home| {
        let places = home.rules().places;
        let said = Sandbox { places, network: "no TCP", ..Sandbox::default() }.allowed();
        said.replace(&format!("{}/", home.directory.path().display()), "/")
    };
    assert_eq!(
        allowed(&home),
        "reads configuration /etc, share /share, what links in the share lead to /elsewhere, and what host names need; writes \
         downloads /downloads, downloads /further, watched directory /logs, state /state, log /logs, control socket /run; no TCP"
    );
    let config = Config { peer: false, log_file: LogPlace::Stderr, ..home.config.clone() };
    let places = Rules::of(&config, &[]).places;
    let said = Sandbox { places, network: "no TCP", ..Sandbox::default() }.allowed();
    assert!(said.starts_with("reads what host names need; writes state "), "{said}");
}
