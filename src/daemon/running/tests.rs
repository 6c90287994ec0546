use super::*;
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;

fn joined() -> Config {
    Config { bootstrap_addr: Some("b.example".to_owned()), ..Config::default() }
}

fn rows(report: &ReloadReply) -> (Vec<&str>, Vec<&str>) {
    let changed = report.changed.iter().map(|changed| changed.key.as_str()).collect();
    (changed, report.waiting.iter().map(|waiting| waiting.key.as_str()).collect())
}

fn addr(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn what_waits_is_what_differs_from_what_runs() {
    let mut running = Running::new(joined());
    let next = Config { local_directory: PathBuf::from("/b"), max_peers: 9, ..joined() };
    let report = running.apply(&next);
    assert_eq!(rows(&report), (vec!["max_peers"], vec!["local_directory", "download_directory"]));
    let (was, is) = (&report.changed[0].was, &report.changed[0].in_force);
    assert_eq!((was, is), (&json!(8), &json!(9)));
    assert_eq!(report.waiting[0].in_force, json!("~/pyrate-files"));
    assert_eq!(report.waiting[0].next_start, json!("/b"));
    // Downloads go where they went: the other directory is not shared.
    assert_eq!(running.config().node().download_directory, PathBuf::from("~/pyrate-files"));
    // The second reload compares with what runs, too.
    assert_eq!(rows(&running.apply(&next)), (vec![], vec!["local_directory", "download_directory"]));
    assert_eq!(rows(&running.apply(&Config { max_peers: 9, ..joined() })), (vec![], vec![]));
}

#[test]
fn a_node_alone_that_joins_others_keeps_its_listeners_until_the_next_start() {
    let mut running = Running::new(Config::default());
    let report = running.apply(&joined());
    assert_eq!(rows(&report), (vec!["bootstrap_addr"], vec!["listen_addr", "bootstrap_serve"]));
    assert_eq!(report.waiting[1].next_start, json!("off"));
    assert_eq!(running.config().links(), joined().links());
    assert_eq!(running.config().listen(), addr("127.0.0.1:63339"));
    assert_eq!(rows(&running.apply(&Config::default())), (vec!["bootstrap_addr"], vec![]));
    assert_eq!(running.config().links(), Config::default().links());
}

#[test]
fn nobody_registers_where_nobody_serves() {
    let serving = |serve: &str| Config { bootstrap_serve: addr(serve), ..Config::default() };
    let mut running = Running::new(serving("127.0.0.1:7000"));
    let report = running.apply(&serving("127.0.0.1:7001"));
    assert_eq!(rows(&report), (vec![], vec!["bootstrap_serve"]));
    assert_eq!(running.config().links(), serving("127.0.0.1:7000").links());
}

#[test]
fn a_node_that_loses_its_bootstrap_nodes_does_not_register_with_itself() {
    let mut running = Running::new(joined());
    for _ in 0..2 {
        let report = running.apply(&Config::default());
        assert!(rows(&report).1.contains(&"bootstrap_serve"), "{report:?}");
        let row = report.waiting.iter().find(|row| row.key == "bootstrap_serve").unwrap();
        assert_eq!((&row.in_force, &row.next_start), (&json!("off"), &json!("127.0.0.1:21168")));
        assert_eq!(running.reload(report).node.bootstraps, []);
    }
    assert_eq!(rows(&running.apply(&joined())), (vec!["bootstrap_addr"], vec![]));
    assert_eq!(running.config().links(), joined().links());
}

#[test]
fn a_node_alone_whose_bootstrap_node_gave_way_to_another_does_not_say_that_it_serves() {
    let mut running = Running::new(Config::default());
    running.on_bound(&Facts { listen: addr("127.0.0.1:63339"), bootstrap: None, control: None });
    let report = running.apply(&joined());
    assert!(report.waiting.iter().all(|row| row.key != "bootstrap_serve"), "{report:?}");
    assert_eq!(rows(&running.apply(&Config::default())), (vec!["bootstrap_addr"], vec![]));
}

#[test]
fn a_peer_stays_one_until_the_next_start() {
    let mut running = Running::new(joined());
    let report = running.apply(&Config { peer: false, ..joined() });
    assert!(rows(&report).1.contains(&"peer"));
    assert_eq!(running.config().links(), joined().links());
}

#[test]
fn a_port_that_the_system_picked_waits_neither_as_zero_nor_as_itself() {
    let on = |port| Config { listen_port: port, bootstrap_serve: addr("127.0.0.1:0"), ..joined() };
    let mut running = Running::new(on(0));
    running.on_bound(&Facts { listen: addr("0.0.0.0:4000"), bootstrap: addr("127.0.0.1:5000"), control: None });
    let bound = Config { bootstrap_serve: addr("127.0.0.1:5000"), ..on(4000) };
    for same in [on(0), bound] {
        assert_eq!(rows(&running.apply(&same)), (vec![], vec![]));
    }
    let report = running.apply(&on(4001));
    assert_eq!(rows(&report), (vec![], vec!["listen_port"]));
    assert_eq!(report.waiting[0].in_force, json!(4000));
}

#[test]
fn a_log_level_that_was_set_meanwhile_is_what_runs() {
    let mut running = Running::new(joined());
    running.set_log_level(log::LevelFilter::Debug);
    let report = running.apply(&joined());
    assert_eq!(rows(&report), (vec!["log_level"], vec![]));
    assert_eq!(report.changed[0].was, json!("debug"));
}
