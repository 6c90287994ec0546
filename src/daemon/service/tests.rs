use super::*;
use std::path::Path;

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
