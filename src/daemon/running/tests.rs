use super::*;
use crate::audience::Audience;
use crate::daemon::probe::Probed;
use crate::daemon::sandbox::Sandbox;
use crate::daemon::share_waits::waiting_shares;
use crate::daemon::shares::NamedShare;
use crate::node::contract::BootstrapAddr;
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
fn the_audience_of_what_is_shared_next_is_not_that_of_what_is_shared_now() {
    let of = |ranges: &[&str]| Audience::of(ranges).unwrap_or_default();
    let main = |path: &str, follow_symlinks, ranges: &[&str]| Config {
        local_directory: path.into(),
        download_directory: Some("/d".into()),
        follow_symlinks,
        audience: of(ranges),
        ..joined()
    };
    let mut running = Running::new(main("/private", true, &["10.0.0.0/8"]));
    for next in [main("/public", true, &[]), main("/private", false, &[])] {
        let report = running.apply(&next);
        assert!(rows(&report).1.contains(&"audience"), "{report:?}");
        assert_eq!(running.config().audience, of(&["10.0.0.0/8"]), "the next start puts it in force");
    }
    running.apply(&main("/public", true, &["10.1.0.0/16", "::1"]));
    assert_eq!(running.config().audience, of(&["10.1.0.0/16"]), "nobody gains, and who loses it loses it at once");
    running.apply(&main("/private", true, &["::1"]));
    assert_eq!(running.config().audience, of(&["::1"]), "the same as now, for others");
}

fn share(path: &str, name: &str, audience: &[&str]) -> NamedShare {
    let audience = Audience::of(audience).unwrap_or_default();
    NamedShare { path: path.into(), name: name.to_owned(), audience, ..NamedShare::default() }
}

fn with(share: &[NamedShare]) -> Config {
    Config { share: share.to_vec(), ..joined() }
}

#[test]
fn shares_are_added_removed_and_changed_at_once_with_their_audiences() {
    let before = [share("/a", "a", &["10.0.0.0/8"]), share("/b", "b", &["10.0.0.0/8"])];
    let mut running = Running::new(with(&before));
    let renamed = share("/b", "c", &["10.0.0.0/8"]);
    for next in [
        vec![share("/a", "a", &["::1"]), before[1].clone()],
        vec![share("/c", "a", &[]), renamed.clone(), share("/new", "new", &["::1"])],
        vec![NamedShare { follow_symlinks: true, ..renamed }],
        vec![],
        before.to_vec(),
    ] {
        let report = running.apply(&with(&next));
        assert_eq!(rows(&report), (vec!["share"], vec![]), "{next:?}");
        assert_eq!(running.config().share, next);
        let node = running.reload(RateTimes::none(), ReloadReply::default()).node;
        assert_eq!(node.shares, next.iter().filter_map(NamedShare::place).collect::<Vec<_>>());
        for NamedShare { name, audience, .. } in &next {
            assert_eq!(node.audiences.of(format!("{name}/x").as_bytes()), audience, "{name}");
        }
    }
}

#[test]
fn a_share_that_cannot_be_read_yet_waits_with_its_name_and_the_others_do_not() {
    let before = [share("/a", "a", &["10.0.0.0/8"]), share("/b", "b", &[])];
    let mut running = Running::new(with(&before));
    // The next main share is inside of another new one, and the present one in that of the same name.
    let public = share("/share/public", "a", &[]);
    let next = Config { local_directory: "/public".into(), ..with(&[public.clone(), before[1].clone()]) };
    let mut in_force = with(&before);
    in_force.local_directory = "/share".into();
    let shares = waiting_shares(&next, &in_force, &Sandbox::default(), &Probed::default());
    assert_eq!(shares.iter().map(|waiting| &waiting.share).collect::<Vec<_>>(), [&public]);
    let said = "share a: /share/public and /share, which is local_directory until the next start, are the same, or one is inside of \
                the other; nothing is shared under this name until then";
    for _ in 0..2 {
        let report = running.apply_within(&next, Later { shares: shares.clone(), ..Later::default() });
        assert!(rows(&report).1.contains(&"share"), "{report:?}");
        assert_eq!(report.remarks, [said]);
        assert_eq!(running.config().share, before[1..], "what had its name is not shared any more");
        let node = running.reload(RateTimes::none(), ReloadReply::default()).node;
        let places: Vec<_> = node.shares.iter().map(|share| (share.name.to_string(), share.path.clone())).collect();
        assert_eq!(places, [("b".to_owned(), Some("/b".into())), ("a".to_owned(), None)]);
    }
    assert_eq!(
        waiting_shares(
            &Config { local_directory: "/share".into(), ..next },
            &in_force,
            &Sandbox::default(),
            &Probed::default()
        ),
        []
    );
    let no_peer = Config { peer: false, ..with(&[before[0].clone(), public.clone()]) };
    let waiting = waiting_shares(&no_peer, &in_force, &Sandbox::default(), &Probed::default());
    assert!(waiting.len() == 1 && waiting[0].remark().contains("peer is false from the next start on"), "{waiting:?}");
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
        assert_eq!(running.reload(RateTimes::none(), report).node.bootstraps, []);
    }
    assert_eq!(rows(&running.apply(&joined())), (vec!["bootstrap_addr"], vec![]));
    assert_eq!(running.config().links(), joined().links());
}

#[test]
fn a_node_alone_whose_bootstrap_node_gave_way_to_another_does_not_say_that_it_serves() {
    let mut running = Running::new(Config::default());
    running.on_bound(&Facts { listen: addr("127.0.0.1:63339"), bootstrap: None, control: None, metrics: None });
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
    running.on_bound(&Facts {
        listen: addr("0.0.0.0:4000"),
        bootstrap: addr("127.0.0.1:5000"),
        control: None,
        metrics: None,
    });
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

#[test]
fn a_bootstrap_node_alone_has_no_use_for_the_keys_of_peers() {
    let alone = || Config { peer: false, ..Config::default() };
    let bootstraps = || vec![BootstrapAddr { host: "b.example".to_owned(), port: 1 }];
    let mut running = Running::new(alone());
    for _ in 0..2 {
        let next = Config { bootstraps: bootstraps(), bootstrap_port: 5, max_peers: 9, ..alone() };
        let report = running.apply(&next);
        assert_eq!(rows(&report), (vec![], vec![]));
        let told = ["without effect on a bootstrap node alone: bootstraps, max_peers"];
        assert_eq!(report.remarks[..1], told);
        assert_eq!(report.remarks[1..], ["without effect without bootstrap_addr: bootstrap_port"]);
    }
    // A peer will have a use for them.
    let report = running.apply(&Config { bootstraps: bootstraps(), ..Config::default() });
    assert_eq!(rows(&report), (vec![], vec!["bootstraps", "bootstrap_serve", "peer"]));
    assert_eq!((&report.waiting[0].in_force, &report.waiting[0].next_start), (&json!(null), &json!(["b.example:1"])));
    assert!(report.remarks.is_empty());
}

#[test]
fn what_nobody_would_use_does_not_count() {
    let mut running = Running::new(joined());
    let report = running.apply(&Config { bootstrap_verify: true, ..joined() });
    assert_eq!(rows(&report), (vec![], vec![]));
    assert!(report.remarks[0].contains("bootstrap_verify"), "{report:?}");
    let further = |port| {
        let bootstraps = vec![BootstrapAddr { host: "b.example".to_owned(), port: 1 }];
        Config { bootstraps, bootstrap_port: port, ..Config::default() }
    };
    let mut running = Running::new(further(5));
    let report = running.apply(&further(6));
    assert_eq!(rows(&report), (vec![], vec![]));
    assert!(report.remarks[0].contains("bootstrap_port"), "{report:?}");
    let report = running.apply(&Config { bootstrap_addr: Some("b.example".to_owned()), ..further(6) });
    assert_eq!(rows(&report), (vec!["bootstrap_addr", "bootstrap_port"], vec![]));
}

#[test]
fn the_same_value_in_another_spelling_is_no_change() {
    for (key, spellings) in [
        ("bootstrap_addr", &["b.example", "B.Example"][..]),
        ("bootstrap_addr", &["2001:db8::1", "[2001:DB8:0::1]"]),
        ("bootstraps", &["b.example:1,[2001:db8::1]:2", "B.example:1 [2001:DB8:0::1]:2,b.example:1"]),
        ("listen_addr", &["127.0.0.1", "localhost"]),
        ("listen_addr", &["2001:db8::1", "2001:DB8:0::1"]),
        ("listen_port", &["77", "077"]),
        ("advertise_addr", &["2001:db8::1", "2001:DB8:0::1"]),
        ("keepalive_refresh", &["60s", "1m", "60", "60000ms"]),
        ("filemonitor_refresh", &["1h", "60m", "3600"]),
        ("local_directory", &["/a/b", "/a/b/", "//a/b", "/a//./b", "/a/b/."]),
        ("download_directory", &["/a/b", "/a/b/", "//a/b", "/a//./b", "/a/b/."]),
        ("download_directory", &["", "/the/share/"]),
        ("log_file", &["/a/b", "//a/b", "/a//./b"]),
        ("log_level", &["info", "INFO"]),
        ("upload_limit", &["10MiB", "10240KiB", "10485760", "10 MiB"]),
        ("limit", &["[{ when = 'Sat', upload_limit = '1KiB' }]", "[{upload_limit=1024,when='Sat'}]"]),
        ("download_limit", &["1kB", "1000", "1000B"]),
        ("control_socket", &["/a/b", "//a/b", "/a//./b"]),
        ("state_directory", &["/a/b", "/a/b/", "//a/b", "/a//./b", "/a/b/."]),
        ("bootstrap_serve", &["[2001:db8::1]:5", "[2001:DB8:0::1]:5"]),
    ] {
        let set = |text: &str| {
            let mut config = Config { local_directory: PathBuf::from("/the/share"), ..joined() };
            let key = KEYS.iter().find(|found| found.name == key).unwrap();
            (key.set_word)(&mut config, text).unwrap();
            config.settle_paths(None).unwrap();
            config
        };
        let mut running = Running::new(set(spellings[0]));
        for spelling in spellings {
            assert_eq!(rows(&running.apply(&set(spelling))), (vec![], vec![]), "{key} = {spelling}");
        }
    }
}
