//! Shares that a reload adds, removes or changes, while peers fetch from them.

use crate::harness::{
    Answer, Daemon, End, Framing, LIMIT, Setup, ask, ask_from, await_hashed, connect_from, fetch, fetch_reset, lines,
    pyratectl, read_to_end, until,
};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;

const AT_HOME: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

const ELSEWHERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Makes a directory in the home of a daemon, with a file in it.
fn directory(home: &Path, name: &str, file: &str, content: impl AsRef<[u8]>) {
    let path = home.join(name);
    std::fs::create_dir_all(&path).expect("a directory");
    std::fs::write(path.join(file), content).expect("a file");
}

fn table(home: &Path, (directory, name): (&str, &str), more: &str) -> String {
    format!("{{ path = '{}', name = '{name}'{more} }}", home.join(directory).display())
}

fn listed_from(from: Ipv4Addr, peer: SocketAddr) -> Vec<String> {
    let Answer { bytes, end, .. } = ask_from(from, peer, b"5:");
    assert_eq!(end, End::Fin);
    lines(&bytes).into_iter().map(|line| String::from_utf8(line).expect("UTF-8")).collect()
}

fn await_listed(peer: &Daemon, from: Ipv4Addr, names: &[&str]) {
    until(&format!("{names:?} are shared"), LIMIT, || listed_from(from, peer.listen()) == names);
}

/// Reloads with these shares, and gives what changed and what waits.
fn reshare(peer: &mut Daemon, tables: &[String]) -> (Vec<Value>, Vec<Value>) {
    peer.reconfigure("share", &format!("[{}]", tables.join(", ")));
    let report = peer.call("reload", Value::Null);
    let keys = |rows: &Value| rows.as_array().expect("rows").iter().map(|row| row["key"].clone()).collect();
    (keys(&report["changed"]), keys(&report["waiting"]))
}

/// A response of which a part has come.
fn begin(from: Ipv4Addr, peer: SocketAddr, request: &str) -> TcpStream {
    let mut stream = connect_from(from, peer).expect("the node accepts");
    stream.write_all(format!("{request}\n").as_bytes()).expect("it reads");
    stream.read_exact(&mut [0; 1]).expect("a byte");
    stream
}

fn assert_broken_off(streams: impl IntoIterator<Item = TcpStream>) {
    for mut stream in streams {
        let (bytes, end) = read_to_end(&mut stream);
        assert!(end == End::Reset, "{} bytes, {end:?}", bytes.len());
    }
}

#[test]
fn shares_come_and_go_and_change_with_a_reload() {
    let large = vec![7; 3 << 20];
    let setup = Setup::peer().shares("a", &large).shares("music/of the main share", "x").set("upload_limit", "65536");
    let home = setup.home().to_owned();
    directory(&home, "data/music", "song", &large);
    directory(&home, "data/films", "film", "a film");
    std::os::unix::fs::symlink("../../share/a", home.join("data/films/link")).expect("a link");
    let music = table(&home, ("data/music", "music"), "");
    let mut peer = setup.set("share", &format!("[{music}]")).start();
    await_hashed(&peer);
    assert_eq!(listed_from(ELSEWHERE, peer.listen()), ["a", "music/song"]);
    let kept = begin(ELSEWHERE, peer.listen(), "4:a");

    // One more. What goes on goes on, also that of another share.
    let of_music = ["4:music/song", "8:5:3000000:music/song"].map(|request| begin(ELSEWHERE, peer.listen(), request));
    let films = table(&home, ("data/films", "films"), "");
    assert_eq!(reshare(&mut peer, &[music.clone(), films.clone()]), (vec![json!("share")], vec![]));
    await_listed(&peer, ELSEWHERE, &["a", "films/film", "music/song"]);
    peer.await_log("share is ");
    assert_eq!(pyratectl(&peer, ["uploads", "--terse"]).stdout.lines().count(), 4, "a title and three uploads");

    // The name of a share changes, and links of another are followed.
    let films = table(&home, ("data/films", "films"), ", follow_symlinks = true");
    let songs = table(&home, ("data/music", "songs"), "");
    assert_eq!(reshare(&mut peer, &[songs, films.clone()]), (vec![json!("share")], vec![]));
    assert!(fetch_reset(peer.listen(), b"music/song"), "from the reply of the reload on");
    assert_broken_off(of_music);
    // What the main share has under the name is of the main share now.
    await_listed(&peer, ELSEWHERE, &["a", "films/film", "music/of the main share", "songs/song"]);
    let left_out = |peer: &Daemon| pyratectl(peer, ["files", "--left-out", "--terse"]).stdout;
    until("the link is looked at", LIMIT, || left_out(&peer).contains("films/link\tshared_already"));
    until("no hash is lost", LIMIT, || peer.status()["unhashed_files"] == 0);

    // All are gone, with what was left out of them.
    let of_songs = begin(ELSEWHERE, peer.listen(), "4:songs/song");
    assert_eq!(reshare(&mut peer, &[]), (vec![json!("share")], vec![]));
    assert_broken_off([of_songs]);
    for name in ["songs/song", "films/film", "none"] {
        assert!(fetch_reset(peer.listen(), name.as_bytes()), "{name}");
    }
    await_listed(&peer, ELSEWHERE, &["a", "music/of the main share"]);
    assert_eq!(left_out(&peer), "name\treason\n");
    until("the status says so", LIMIT, || peer.status()["shared_files"] == 2);
    peer.reconfigure("upload_limit", "0");
    peer.call("reload", Value::Null);
    let (bytes, end) = read_to_end(&mut { kept });
    assert_eq!((bytes.len(), end), (large.len() - 1, End::Fin));
}

#[test]
fn another_directory_under_the_name_of_a_share_is_for_its_own_audience_alone() {
    let old = vec![b'o'; 3 << 20];
    let setup = Setup::peer().set("upload_limit", "65536");
    let home = setup.home().to_owned();
    directory(&home, "private", "letter", &old);
    directory(&home, "private", "only there", "x");
    directory(&home, "public", "letter", "new");
    let private = table(&home, ("private", "d"), &format!(", audience = ['{AT_HOME}']"));
    let public = table(&home, ("public", "d"), "");
    let mut peer = setup.set("share", &format!("[{private}]")).start();
    let to = peer.listen();
    assert_eq!(listed_from(AT_HOME, to), ["d/letter", "d/only there"]);
    // The old file is open, and may be read for whoever asks for this name.
    let reader = begin(AT_HOME, to, "4:d/letter");
    let asking = std::thread::spawn(move || {
        let mut answers = Vec::new();
        loop {
            let Answer { bytes, end, .. } = ask(to, b"4:d/letter", Framing::Fin);
            assert!(bytes.is_empty() || bytes == b"new", "{} bytes of the private file", bytes.len());
            let names = listed_from(ELSEWHERE, to);
            assert!(names.is_empty() || names == ["d/letter"], "{names:?}");
            answers.push(end);
            if bytes == b"new" {
                return answers;
            }
        }
    });
    peer.reconfigure("upload_limit", "0");
    assert_eq!(reshare(&mut peer, &[public]), (vec![json!("share"), json!("upload_limit")], vec![]));
    assert_broken_off([reader]);
    let answers = asking.join().expect("only the public file was seen");
    assert_eq!(answers.last(), Some(&End::Fin));
    assert!(answers.contains(&End::Reset), "it was not there before");
    await_listed(&peer, AT_HOME, &["d/letter"]);
    assert!(fetch_reset(to, b"d/only there"));
}

#[test]
fn a_share_that_overlaps_with_the_main_share_of_this_run_waits_with_its_name() {
    let setup = Setup::peer().shares("sub/letter", "private").shares("open/x", "of the main share");
    let home = setup.home().to_owned();
    directory(&home, "public", "a", "a");
    directory(&home, "more", "b", "b");
    let mut peer = setup.set("audience", &format!("['{AT_HOME}']")).start();
    // The main share of this run becomes a share for all, from the next start on.
    peer.reconfigure("local_directory", &format!("'{}'", home.join("public").display()));
    peer.reconfigure("download_directory", &format!("'{}'", peer.downloads_directory().display()));
    peer.reconfigure("audience", "'all'");
    let tables = [table(&home, ("share/sub", "open"), ""), table(&home, ("more", "more"), "")];
    let (changed, waiting) = reshare(&mut peer, &tables);
    assert!(changed.contains(&json!("share")) && !changed.contains(&json!("audience")), "{changed:?}");
    assert_eq!(waiting, ["local_directory", "audience", "share"].map(|key| json!(key)));
    let told = pyratectl(&peer, ["reload"]).stderr;
    let why = "share/sub and ";
    assert!(
        told.contains("share open: ") && told.contains(why) && told.contains("local_directory until the next start"),
        "{told}"
    );
    peer.await_log("nothing is shared under this name until then");
    // Nor is what the main share has under its name.
    await_listed(&peer, AT_HOME, &["more/b", "sub/letter"]);
    await_listed(&peer, ELSEWHERE, &["more/b"]);
    let left_out = pyratectl(&peer, ["files", "--left-out", "--terse"]).stdout;
    assert!(left_out.lines().any(|line| line == "open\tname_taken"), "{left_out}");
    let shares = pyratectl(&peer, ["shares", "--terse"]).stdout;
    assert!(shares.lines().any(|line| line == "open\t-\t-\twaiting\t-\t-\t-"), "{shares}");
    peer.stop();
    peer.start_again();
    await_listed(&peer, ELSEWHERE, &["a", "more/b", "open/letter"]);
    assert_eq!(fetch(peer.listen(), b"open/letter"), b"private");
}

#[test]
fn a_scan_of_a_share_that_is_removed_ends() {
    let setup = Setup::peer().shares("a", "a");
    let home = setup.home().to_owned();
    for at in 0..100 {
        let directory = home.join(format!("many/{at}"));
        std::fs::create_dir_all(&directory).expect("a directory");
        (0..200).for_each(|file| std::fs::write(directory.join(file.to_string()), "x").expect("a file"));
    }
    let many = table(&home, ("many", "many"), "");
    let mut peer = setup.set("share", &format!("[{many}]")).start_scanning();
    for tables in [&[][..], &[many]] {
        assert_eq!(reshare(&mut peer, tables), (vec![json!("share")], vec![]));
        let of_many = tables.len() * 20_000;
        until("all that is there is shared", LIMIT * 2, || {
            let status = peer.status();
            status["scanning"] == false && status["shared_files"] == of_many + 1
        });
    }
    assert_eq!(reshare(&mut peer, &[]), (vec![json!("share")], vec![]));
    assert_eq!(listed_from(ELSEWHERE, peer.listen()), ["a"], "from the reply of the reload on");
}
