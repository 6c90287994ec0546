use super::*;
use serde_json::json;

fn report(is_starting: bool, uploads: u64, up: u64) -> Report {
    let status = json!({
        "version": "0.1.0", "uptime_s": 1, "listen": "0.0.0.0:63339", "advertise": null, "bootstraps": [], "peers": 1,
        "shared_files": 0, "shared_bytes": 0, "scanning": is_starting, "unhashed_files": 0, "downloads_active": 0,
        "downloads_queued": 0, "uploads_active": uploads, "commands_queued": 0, "bytes_down": 0, "bytes_up": 0, "refused": 0,
    });
    Report { is_starting, status: serde_json::from_value(status).unwrap(), registered: None, up, down: 0 }
}

/// A service manager, and the daemon's view of it.
fn pair(directory: &tempfile::TempDir) -> (UnixDatagram, Supervisor) {
    let path = directory.path().join("notify");
    let ears = UnixDatagram::bind(&path).unwrap();
    ears.set_nonblocking(true).unwrap();
    let mut supervisor = Supervisor::of_environment(Some(path.as_os_str()));
    supervisor.bound("peer".to_owned());
    (ears, supervisor)
}

fn heard(ears: &UnixDatagram) -> Option<String> {
    let mut bytes = [0; 4096];
    ears.recv(&mut bytes).ok().map(|length| String::from_utf8(bytes[..length].to_vec()).unwrap())
}

#[test]
fn only_the_stream_that_is_named_is_the_journal() {
    assert!(!stderr_is_journal(None));
    assert!(!stderr_is_journal(Some(OsStr::new("nonsense"))));
    assert!(!stderr_is_journal(Some(OsStr::new("1:1"))));
    let stat = fstat(io::stderr()).unwrap();
    assert!(stderr_is_journal(Some(OsStr::new(&format!("{}:{}", stat.st_dev, stat.st_ino)))));
}

#[test]
fn a_long_start_is_extended_and_is_over_once() {
    let directory = tempfile::tempdir().unwrap();
    let (ears, mut supervisor) = pair(&directory);
    // A reload does not end the start.
    supervisor.reloading();
    supervisor.reloaded();
    assert_eq!(heard(&ears), None);
    for _ in 0..2 {
        supervisor.report(&report(true, 0, 0));
        let extended = "EXTEND_TIMEOUT_USEC=60000000\nSTATUS=peer; scanning the share; 1 peer\n";
        assert_eq!(heard(&ears).unwrap(), extended);
    }
    supervisor.report(&report(false, 0, 0));
    assert_eq!(heard(&ears).unwrap(), "READY=1\nSTATUS=peer; 1 peer\n");
    supervisor.reloading();
    assert!(heard(&ears).unwrap().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    supervisor.reloaded();
    assert_eq!(heard(&ears).unwrap(), "READY=1\nSTATUS=peer; 1 peer\n");
}

#[test]
fn a_status_is_told_again_only_when_it_has_changed() {
    let directory = tempfile::tempdir().unwrap();
    let (ears, mut supervisor) = pair(&directory);
    supervisor.report(&report(false, 0, 0));
    assert!(heard(&ears).unwrap().starts_with("READY=1\n"));
    supervisor.report(&report(false, 0, 0));
    assert_eq!(heard(&ears), None);
    supervisor.report(&report(false, 2, 3 << 20));
    assert_eq!(heard(&ears).unwrap(), "STATUS=peer; 1 peer; uploading 2 files at 3.0 MiB/s\n");
    supervisor.report(&report(false, 0, 0));
    assert_eq!(heard(&ears).unwrap(), "STATUS=peer; 1 peer\n");
}

#[test]
fn a_status_that_could_not_be_told_is_told_later() {
    let directory = tempfile::tempdir().unwrap();
    let (ears, mut supervisor) = pair(&directory);
    supervisor.report(&report(false, 0, 0));
    while supervisor.tell(&[NotifyState::Watchdog], None) {}
    assert!(supervisor.is_deaf);
    supervisor.report(&report(false, 1, 0));
    while heard(&ears).is_some() {}
    supervisor.report(&report(false, 1, 0));
    assert_eq!(heard(&ears).unwrap(), "STATUS=peer; 1 peer; uploading 1 file at 0 B/s\n");
}

#[test]
fn a_socket_without_a_path_is_reached_too() {
    let name = format!("pyrate-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let ears = UnixDatagram::bind_addr(&address).unwrap();
    Supervisor::of_environment(Some(OsStr::new(&format!("@{name}")))).alive();
    assert_eq!(heard(&ears).unwrap(), "WATCHDOG=1\n");
}

#[test]
fn nobody_is_told_anything_who_has_not_asked() {
    let mut supervisor = Supervisor::of_environment(None);
    assert_eq!(supervisor.wants(), None);
    assert!(!supervisor.tell(&[NotifyState::Ready], None));
}
