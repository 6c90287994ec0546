//! Shares that are for some addresses: what other addresses get, and what a reload does to what is being sent.

use crate::harness::{
    Answer, Daemon, End, Fake, Framing, LIMIT, Reading, Setup, ask_from, await_hashed, connect_from, deliver, lines,
    pyratectl, read_to_end, run_pyrated, until,
};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

/// The share `home` is for this address.
const AT_HOME: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

const ELSEWHERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A peer with the share `home` beside that for all, which have these files.
fn setup(files: &[(&str, &[u8])]) -> Setup {
    let mut setup = Setup::peer();
    let home = setup.home().join("at home");
    std::fs::create_dir(&home).unwrap();
    for (name, content) in files {
        match name.strip_prefix("home/") {
            Some(name) => {
                let path = home.join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            }
            None => setup = setup.shares(name, content),
        }
    }
    let table = table(&setup, &format!("[\"{AT_HOME}\"]"));
    setup.set("share", &table)
}

fn table(setup: &Setup, audience: &str) -> String {
    format!("[{{ path = '{}', name = 'home', audience = {audience} }}]", setup.home().join("at home").display())
}

fn listed(from: Ipv4Addr, peer: SocketAddr) -> Vec<String> {
    let Answer { bytes, end, .. } = ask_from(from, peer, b"5:p1");
    assert_eq!(end, End::Fin);
    let name = |line: Vec<u8>| String::from_utf8(line).unwrap().split('\t').next().unwrap().to_owned();
    lines(&bytes).into_iter().map(name).collect()
}

/// What a peer sends to this address, whatever that asks for of this name.
fn told(from: Ipv4Addr, peer: SocketAddr, name: &str) -> Vec<(Vec<u8>, End)> {
    let requests = ["4:", "8:0:1:", "8:0:99999:", "9:", "4:/", "9:./"];
    let told = requests.iter().map(|request| {
        let Answer { bytes, end, .. } = ask_from(from, peer, format!("{request}{name}").as_bytes());
        (bytes, end)
    });
    told.collect()
}

#[test]
fn for_others_a_share_does_not_exist() {
    let files: [(&str, &[u8]); 4] =
        [("home/letter", b"dear"), ("home/d/e/x", b"x"), ("public letter", b"all"), ("z", b"z")];
    let peer = setup(&files).start();
    await_hashed(&peer);
    let to = peer.listen();
    assert_eq!(listed(AT_HOME, to), ["home/d/e/x", "home/letter", "public letter", "z"]);
    assert_eq!(listed(ELSEWHERE, to), ["public letter", "z"]);
    assert_eq!(ask_from(AT_HOME, to, b"4:home/letter").bytes, b"dear");
    assert_eq!(ask_from(AT_HOME, to, b"8:1:2:home/letter").bytes, b"ea");
    for name in ["home/letter", "home/d/e/x", "home/", "home/d/", "home/d/e/"] {
        let nothing = told(ELSEWHERE, to, &name.replacen("home", "nope", 1));
        assert_eq!(told(ELSEWHERE, to, name), nothing, "{name}");
        // Now the manifests are made.
        assert_ne!(told(AT_HOME, to, name), nothing, "{name}");
        assert_eq!(told(ELSEWHERE, to, name), nothing, "{name}");
    }

    let hear = |address: Ipv4Addr| Fake::serve_at(SocketAddr::from((address, 0)), Reading::Whole, drop);
    let (at_home, elsewhere) = (hear(AT_HOME), hear(ELSEWHERE));
    // Hits go to whom the search names, wherever it comes from.
    for (id, of) in [("q1", &elsewhere), ("q2", &at_home)] {
        deliver(to, format!("6:{id}:letter:{}:{}:0", of.addr.ip(), of.addr.port()).as_bytes(), Framing::Fin);
    }
    until("both are answered", LIMIT, || !at_home.heard().is_empty() && !elsewhere.heard().is_empty());
    assert!(at_home.heard_beginning("7:q2:")[0].ends_with(":home/letter"));
    assert!(elsewhere.heard_beginning("7:q1:")[0].ends_with(":public letter"));

    let shown = pyratectl(&peer, ["files"]).stdout;
    assert!(shown.lines().next().unwrap().ends_with("AUDIENCE"), "{shown}");
    assert!(shown.lines().any(|line| line.starts_with("home/letter ") && line.ends_with(" 127.0.0.2")), "{shown}");
    assert!(shown.lines().any(|line| line.starts_with("z ") && line.ends_with(" all")), "{shown}");
    let rows = pyratectl(&peer, ["files", "--json"]).json();
    assert_eq!((&rows[1]["audience"], &rows[3]["audience"]), (&json!(["127.0.0.2"]), &json!(["all"])));
}

/// Changes the audience of `home`.
fn reload(peer: &mut Daemon, audience: &str) -> Value {
    let path = peer.home().join("at home");
    let table = format!("[{{ path = '{}', name = 'home', audience = {audience} }}]", path.display());
    peer.reconfigure("share", &table);
    peer.call("reload", Value::Null)
}

#[test]
fn a_reload_breaks_off_what_is_not_for_its_requester_any_more_and_nothing_else() {
    let large = vec![7; 3 << 20];
    let files: [(&str, &[u8]); 2] = [("home/large", &large), ("large", &large)];
    let mut peer = setup(&files).set("upload_limit", "65536").start();
    let begin = |request: &str| {
        let mut stream = connect_from(AT_HOME, peer.listen()).unwrap();
        stream.write_all(format!("{request}\n").as_bytes()).unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
        stream
    };
    let lost = ["4:home/large", "8:5:3000000:home/large"].map(begin);
    let kept = begin("4:large");
    peer.reconfigure("upload_limit", "0");
    let report = reload(&mut peer, "['127.0.0.3']");
    let changed: Vec<&Value> = report["changed"].as_array().unwrap().iter().map(|row| &row["key"]).collect();
    assert_eq!((changed, &report["waiting"]), (vec![&json!("share"), &json!("upload_limit")], &json!([])), "{report}");
    for mut stream in lost {
        let (bytes, end) = read_to_end(&mut stream);
        assert!(end == End::Reset && bytes.len() < 3_000_000 - 1, "{} bytes, {end:?}", bytes.len());
    }
    let (bytes, end) = read_to_end(&mut { kept });
    assert_eq!((bytes.len(), end), (large.len() - 1, End::Fin));
    assert_eq!(listed(AT_HOME, peer.listen()), ["large"]);
    let report = reload(&mut peer, "\"all\"");
    assert_eq!(report["waiting"], json!([]), "{report}");
    assert_eq!(listed(ELSEWHERE, peer.listen()), ["home/large", "large"]);
    assert!(!pyratectl(&peer, ["files"]).stdout.contains("AUDIENCE"));
}

#[test]
fn the_share_without_a_name_has_an_audience_too() {
    let files: [(&str, &[u8]); 3] = [("home/a", b"a"), ("letter", b"dear"), ("zz", b"zz")];
    let setup = setup(&files);
    let for_all = table(&setup, "\"all\"");
    let mut peer = setup.set("share", &for_all).set("audience", &format!("['{AT_HOME}/32', 'fd00::/8']")).start();
    assert_eq!(listed(AT_HOME, peer.listen()), ["home/a", "letter", "zz"]);
    assert_eq!(listed(ELSEWHERE, peer.listen()), ["home/a"]);
    let asker = Setup::peer().start();
    let of = |name: &str| format!("{}/{name}", peer.listen());
    assert_eq!(pyratectl(&asker, ["download", &of("home/a")]).code, 0);
    assert_eq!(pyratectl(&asker, ["download", &of("letter")]).code, pyratectl(&asker, ["download", &of("none")]).code);
    peer.reconfigure("audience", "'all'");
    let report = peer.call("reload", Value::Null);
    assert_eq!(report["changed"], json!([{"key": "audience", "was": ["127.0.0.2", "fd00::/8"], "in_force": "all"}]));
    assert_eq!(pyratectl(&asker, ["download", &format!("{}/letter", peer.listen())]).code, 0);
}

#[test]
fn a_bad_audience_is_refused_with_what_to_write_instead() {
    for (audience, problem) in [
        ("[]", "an empty list is for nobody"),
        ("['10.1.0.0/8']", "has bits set beyond its prefix; the range is \"10.0.0.0/8\""),
        ("['fd00::/129']", "a number of bits from 0 to 128"),
        ("['friend.example']", "names are not looked up"),
        ("['::ffff:10.0.0.0/104']", "write \"10.0.0.0/8\""),
        ("'10.0.0.0/8'", "expected \"all\" or a list"),
    ] {
        for key in ["audience", "share"] {
            let setup = setup(&[]);
            let value = if key == "share" { table(&setup, audience) } else { audience.to_owned() };
            let setup = setup.set(key, &value);
            let config = setup.write_config().display().to_string();
            let (code, said) = run_pyrated(["--config", &config, "--check"]);
            assert_eq!(code, Some(78), "{said}");
            assert!(said.contains(&format!(": {key}: ")) && said.contains(problem), "{audience}: {said}");
        }
    }
}
