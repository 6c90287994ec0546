//! A peer answers: downloads, lists, searches and hits, in every framing (PROTOCOL, codes 4–7).

use crate::harness::{
    Dice, End, Fake, Framing, LIMIT, OldBootstrap, Setup, ask, call_back_stream, deliver, fetch, fetch_reset, lines,
    read_to_end, reset, until, wait_for,
};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

#[test]
fn a_file_in_every_framing() {
    let mut dice = Dice::new();
    let content = dice.bytes(300_000);
    let peer = Setup::peer().shares("sub/dir/file.bin", &content).shares("empty", "").start();
    let to = peer.listen();
    for framing in Framing::ALL {
        let whole = ask(to, b"4:sub/dir/file.bin", framing);
        assert!(whole.bytes == content && whole.end == End::Fin, "whole in {framing:?}");
        let empty = ask(to, b"4:empty", framing);
        assert_eq!((empty.bytes.len(), empty.end), (0, End::Fin), "an empty file ends in FIN in {framing:?}");
        let missing = ask(to, b"4:missing", framing);
        assert_eq!((missing.bytes.len(), missing.end), (0, End::Reset), "a missing one in RST in {framing:?}");
    }
}

#[test]
fn the_log_names_each_file_that_is_refused() {
    let peer = Setup::peer().shares("at hand", "x").start();
    let is_logged = |said: &str, name: &str| {
        let has_both = |log: String| log.lines().any(|line| line.contains(said) && line.ends_with(name));
        until(&format!("the log says {said} {name}"), LIMIT, || has_both(peer.log()));
    };
    for (request, said, name) in [
        (&b"4:of old\xff"[..], "refused: no such file", "name=\"of old\\xff\""),
        (b"8:0:1:in part", "refused: no such file", "name=\"in part\""),
        (b"8:0:2:at hand", "refused: the range is not inside the file", "name=\"at hand\""),
        (b"9:by hash", "refused: no such file", "name=\"by hash\""),
    ] {
        ask(peer.listen(), request, Framing::Fin);
        is_logged(said, name);
    }
    std::fs::remove_file(peer.share().join("at hand")).expect("it was there");
    ask(peer.listen(), b"4:at hand", Framing::Fin);
    is_logged("refused: no such file", "name=\"at hand\"");
}

#[test]
fn a_list_in_every_framing() {
    let peer = Setup::peer().shares("b", "22").shares("a/c", "333").shares("z empty", "").start();
    let to = peer.listen();
    let plain: BTreeSet<Vec<u8>> = [&b"b"[..], b"a/c", b"z empty"].map(<[u8]>::to_vec).into();
    for framing in Framing::ALL {
        for request in [&b"5:"[..], b"5:whatever"] {
            let answer = ask(to, request, framing);
            assert_eq!(answer.end, End::Fin);
            assert_eq!(lines(&answer.bytes).into_iter().collect::<BTreeSet<_>>(), plain, "{framing:?}");
        }
        let answer = ask(to, b"5:p1", framing);
        assert_eq!(answer.end, End::Fin);
        for line in lines(&answer.bytes) {
            let text = String::from_utf8(line).expect("these names are text");
            let (name, attributes) = text.split_once('\t').expect("attributes follow a tab");
            let size = attributes.split('\t').find_map(|pair| pair.strip_prefix("size=")).expect("the size is told");
            assert_eq!(
                size,
                match name {
                    "b" => "2",
                    "a/c" => "3",
                    _ => "0",
                },
                "{text}"
            );
        }
        assert_eq!(lines(&answer.bytes).len(), 3);
    }
}

#[test]
fn an_empty_share_has_an_empty_list() {
    let peer = Setup::peer().start();
    let answer = ask(peer.listen(), b"5:", Framing::Fin);
    assert_eq!((answer.bytes.len(), answer.end), (0, End::Fin));
}

#[test]
fn a_search_in_every_framing() {
    let peer = Setup::peer().shares("music/Song.mp3", "la").start();
    for (turn, framing) in Framing::ALL.into_iter().enumerate() {
        let ear = Fake::ear();
        let search = format!("6:query {turn}:music/Song.mp3:127.0.0.1:{}:0", ear.addr.port());
        let _open = deliver(peer.listen(), search.as_bytes(), framing);
        let hit = format!("7:query {turn}:127.0.0.1:{}:music/Song.mp3", peer.listen().port());
        until("the hit comes", LIMIT, || !ear.heard().is_empty());
        assert_eq!(ear.heard(), [hit.into_bytes()], "one bare hit in {framing:?}");
    }
}

#[test]
fn a_hit_in_every_framing() {
    let ear = Fake::ear();
    let bootstrap = OldBootstrap::listing(&[ear.addr]);
    let peer = Setup::peer().joins(&[bootstrap.addr()]).start();
    peer.await_neighbour(ear.addr);
    let mut control = peer.control();
    let begun = control.call("search", serde_json::json!({ "text": "thing" })).expect("a search begins");
    until("the search goes out", LIMIT, || !ear.heard_beginning("6:p1-").is_empty());
    let id = ear.heard_beginning("6:")[0].split(':').nth(1).expect("an ID").to_owned();
    let (mut expected, mut kept_open) = (BTreeSet::new(), Vec::new());
    for (framing, port) in Framing::ALL.into_iter().zip(50_001..) {
        let hit = format!("7:{id}:127.0.0.1:{port}:a thing: {framing:?}");
        kept_open.push(deliver(peer.listen(), hit.as_bytes(), framing));
        expected.insert((format!("a thing: {framing:?}"), format!("127.0.0.1:{port}")));
    }
    until("every hit is remembered", LIMIT, || {
        let page = control.call("hits", serde_json::json!({ "search": begun["search"] })).expect("hits");
        let rows = page["hits"].as_array().expect("rows").iter().map(|row| {
            assert!(row["size"].is_null() && row["b3"].is_null(), "a base peer says neither: {row}");
            (row["name"].as_str().expect("text").into(), row["sources"][0].as_str().expect("one").into())
        });
        rows.collect::<BTreeSet<(String, String)>>() == expected
    });
}

#[test]
fn names_of_every_kind_are_served() {
    let names: [&[u8]; 8] = [
        b"with spaces in it.txt",
        "naïve ✓ 文件.txt".as_bytes(),
        b"colon:in:it:",
        b"caf\xe9.txt",
        b"-dash",
        b"quote\"'\\",
        b"trailing space ",
        "deep/er/and deeper/x".as_bytes(),
    ];
    let mut setup = Setup::peer();
    for name in names {
        setup = setup.shares(name, name);
    }
    let peer = setup.start();
    for name in names {
        assert_eq!(fetch(peer.listen(), name), name);
        assert_eq!(ask(peer.listen(), &[b"4:", name].concat(), Framing::Newline).bytes, name);
    }
    let listed: BTreeSet<Vec<u8>> = lines(&ask(peer.listen(), b"5:", Framing::Fin).bytes).into_iter().collect();
    assert_eq!(listed, names.map(<[u8]>::to_vec).into());
}

#[test]
fn only_whole_names_are_served() {
    let peer = Setup::peer().shares("dir/file.txt", "x").start();
    for wrong in
        [&b"file.txt"[..], b"dir", b"dir/", b"dir/file.tx", b"DIR/FILE.TXT", b"dir//file.txt", b"./dir/file.txt"]
    {
        assert!(fetch_reset(peer.listen(), wrong), "{}", String::from_utf8_lossy(wrong));
    }
}

/// Over 4 GiB: a sparse file costs no disk, but every byte of it crosses the wire.
#[test]
fn a_file_of_more_than_4_gib_comes_whole() {
    const TAIL: u64 = 12_345;
    const SIZE: u64 = (4 << 30) + TAIL;
    let setup = Setup::peer();
    let file = std::fs::File::create(setup.share().join("huge.img")).expect("a fresh file");
    file.set_len(SIZE).expect("a sparse file");
    let marks = [0, (2 << 30) - 3, (4 << 30) - 2, SIZE - 5];
    for mark in marks {
        file.write_all_at(b"HELLO", mark).expect("a mark");
    }
    let peer = setup.start();
    let listed = ask(peer.listen(), b"5:p1", Framing::Fin);
    assert!(String::from_utf8_lossy(&listed.bytes).starts_with(&format!("huge.img\tsize={SIZE}")));
    let mut stream = TcpStream::connect(peer.listen()).expect("it accepts");
    stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
    stream.write_all(b"4:huge.img").expect("it reads");
    stream.shutdown(Shutdown::Write).expect("a half-close");
    let (mut at, mut found) = (0u64, Vec::new());
    let (mut part, zeroes) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => count,
            // A read with a timeout ends so when the test is stopped and continued (signal(7)).
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => panic!("the file does not come: {error}"),
        };
        // Compared at once, which is fast; only what is not all zero is looked at.
        if part[..count] != zeroes[..count] {
            let marked = (at..).zip(&part[..count]).filter(|(_, byte)| **byte != 0);
            found.extend(marked.map(|(offset, byte)| (offset, *byte)));
        }
        at += count as u64;
    }
    assert_eq!(at, SIZE);
    let expected: Vec<(u64, u8)> = marks.iter().flat_map(|mark| (*mark..).zip(*b"HELLO")).collect();
    assert_eq!(found, expected);
    until("the bytes are counted", LIMIT, || peer.status()["bytes_up"] == SIZE);
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_ends_in_rst() {
    let peer = Setup::peer().shares("shrinks", vec![7; 64 << 20]).start();
    let mut stream = TcpStream::connect(peer.listen()).expect("it accepts");
    stream.write_all(b"4:shrinks\n").expect("it reads");
    let mut first = [0; 1000];
    stream.read_exact(&mut first).expect("it begins");
    // The sender is now stuck behind full socket buffers, far from the end.
    let file = std::fs::OpenOptions::new().write(true).open(peer.share().join("shrinks")).expect("the file");
    file.set_len(1 << 20).expect("it shrinks");
    let (_, end) = read_to_end(&mut stream);
    assert_eq!(end, End::Reset, "a truncated file must not look whole");
    until("the upload is over", LIMIT, || peer.status()["uploads_active"] == 0);
}

/// Overwrites a file in place and restores its modification time, as taggers and `rsync --inplace -t` do.
fn overwrite(path: &Path, content: &[u8]) {
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("the file");
    let before = file.metadata().and_then(|found| found.modified()).expect("a time");
    file.write_all_at(content, 0).expect("it can be written");
    file.set_modified(before).expect("the time is restored");
}

#[test]
fn a_file_overwritten_while_it_is_sent_ends_in_rst() {
    const SIZE: usize = 64 << 20;
    for request in [&b"4:changes\n"[..], format!("8:0:{SIZE}:changes\n").as_bytes()] {
        let peer = Setup::peer().shares("changes", vec![7; SIZE]).start();
        let mut stream = TcpStream::connect(peer.listen()).expect("it accepts");
        stream.write_all(request).expect("it reads");
        stream.read_exact(&mut [0; 1000]).expect("it begins");
        // The sender is now stuck behind full socket buffers, far from the end.
        overwrite(&peer.share().join("changes"), &vec![8; SIZE]);
        let (bytes, end) = read_to_end(&mut stream);
        assert_eq!(end, End::Reset, "a mixture must not look whole");
        assert!(bytes.iter().all(|&byte| byte == 7), "and no byte of the other content is sent");
        until("the upload is over", LIMIT, || peer.status()["uploads_active"] == 0);
    }
}

#[test]
fn what_waits_in_the_socket_is_not_changed_by_a_write_to_the_file() {
    const SIZE: usize = 48 << 10;
    let peer = Setup::peer().shares("changes", vec![7; SIZE]).start();
    let mut stream = TcpStream::connect(peer.listen()).expect("it accepts");
    stream.write_all(b"4:changes\n").expect("it reads");
    let mut got = vec![0; 1000];
    stream.read_exact(&mut got).expect("it begins");
    until("all of it is handed to the system", LIMIT, || peer.status()["bytes_up"] == SIZE);
    overwrite(&peer.share().join("changes"), &[8; SIZE]);
    let (rest, end) = read_to_end(&mut stream);
    got.extend(rest);
    assert!(got == vec![7; SIZE] && end == End::Fin, "the file is what it was when it was opened");
}

#[test]
fn at_whatever_moment_a_file_is_overwritten_fin_follows_one_state_of_it_alone() {
    const SIZE: usize = 12 << 20;
    const STEPS: usize = 16;
    // The last ones are read to within a few bytes of the end, or to the end but for FIN.
    let cuts: Vec<usize> = (0..STEPS).map(|step| SIZE / STEPS * step).chain([SIZE - 3, SIZE]).collect();
    let mut setup = Setup::peer();
    for cut in &cuts {
        setup = setup.shares(cut.to_string(), vec![7; SIZE]);
    }
    let peer = setup.start();
    let ends = cuts.iter().enumerate().map(|(turn, &cut)| {
        let request = if turn.is_multiple_of(2) { format!("4:{cut}\n") } else { format!("8:0:{SIZE}:{cut}\n") };
        let mut stream = TcpStream::connect(peer.listen()).expect("it accepts");
        stream.write_all(request.as_bytes()).expect("it reads");
        // As fast as it comes, so that the system makes the buffers large.
        let mut got = vec![0; cut];
        stream.read_exact(&mut got).expect("it comes");
        overwrite(&peer.share().join(cut.to_string()), &[8; SIZE]);
        let (rest, end) = read_to_end(&mut stream);
        got.extend(rest);
        assert!(got.iter().all(|&byte| byte == 7), "overwritten after {cut} bytes: {end:?}");
        assert!(end == End::Reset || got.len() == SIZE, "overwritten after {cut} bytes: {} came", got.len());
        end
    });
    let ends = ends.collect::<Vec<_>>();
    assert!(ends.contains(&End::Reset) && ends.contains(&End::Fin), "both were seen: {ends:?}");
}

/// Reads a little of a large file, and goes away.
fn read_a_little(mut stream: TcpStream, request: &[u8]) {
    stream.write_all(request).expect("it reads");
    stream.read_exact(&mut vec![0; LITTLE]).expect("it begins");
    reset(stream);
}

const LITTLE: usize = 64 << 10;

#[test]
fn what_went_out_before_the_reader_left_counts_in_every_form_of_upload() {
    const SIZE: usize = 64 << 20;
    let peer = Setup::peer().shares("large", vec![7; SIZE]).start();
    let mut listener = peer.control();
    listener.call("events", serde_json::Value::Null).expect("it listens");
    let mut ended = || {
        let whole = |notice: &Value| (notice["event"] == "upload_ended").then(|| notice.clone());
        let notice = listener.notice("an upload ended", whole);
        assert_eq!(notice["name"], "large");
        (notice["bytes"].as_u64().expect("a number"), notice["error"].as_str().expect("it broke off").to_owned())
    };
    let gone = "the reader went away".to_owned();
    let connect = || TcpStream::connect(peer.listen()).expect("it accepts");
    let counted = |since: u64| {
        wait_for("the upload is over and counted", LIMIT, || {
            let status = peer.status();
            let sent = status["bytes_up"].as_u64().expect("a number") - since;
            (status["uploads_active"] == 0 && sent >= LITTLE as u64).then_some(sent)
        })
    };
    read_a_little(connect(), b"4:large\n");
    let file = counted(0);
    assert_eq!(ended(), (file, gone.clone()), "the event says the same");
    read_a_little(call_back_stream(peer.listen(), "large", Duration::ZERO), b"");
    let called_back = counted(file);
    assert_eq!(ended(), (0, "the requester closed the connection, and is called back".to_owned()));
    assert_eq!(ended(), (called_back, gone));
    read_a_little(connect(), format!("8:0:{SIZE}:large\n").as_bytes());
    counted(file + called_back);
}

#[test]
fn a_slow_reader_gets_everything() {
    let mut dice = Dice::new();
    let content = dice.bytes(8 << 20);
    let peer = Setup::peer().shares("slow", &content).start();
    let mut stream = TcpStream::connect(peer.listen()).expect("it accepts");
    stream.write_all(b"4:slow\n").expect("it reads");
    let mut got = vec![0; 100_000];
    for part in got.chunks_mut(10_000) {
        stream.read_exact(part).expect("it comes");
        crate::harness::pause(Duration::from_millis(30));
    }
    let (rest, end) = read_to_end(&mut stream);
    got.extend(rest);
    assert!(got == content && end == End::Fin);
}

#[test]
fn many_readers_at_once_each_get_their_file() {
    let mut dice = Dice::new();
    let files: Vec<(String, Vec<u8>)> = (0..20).map(|turn| (format!("file {turn}"), dice.bytes(500_000))).collect();
    let mut setup = Setup::peer();
    for (name, content) in &files {
        setup = setup.shares(name, content);
    }
    let peer = setup.start();
    let to = peer.listen();
    let readers: Vec<_> = files
        .into_iter()
        .map(|(name, content)| std::thread::spawn(move || fetch(to, name.as_bytes()) == content))
        .collect();
    assert!(readers.into_iter().all(|reader| reader.join().expect("it ends")));
}
