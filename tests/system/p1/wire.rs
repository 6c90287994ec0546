//! The rows of part 2, byte for byte: ranges, metadata, lists and hits with attributes, searches by hash.

use crate::harness::{
    Answer, Daemon, Dice, End, Fake, Framing, GROUP, LIMIT, Setup, ask, await_hashed, chaining_values, content_hash,
    deliver, lines, merged, metadata, metadata_of, start_hashed, until,
};
use std::collections::BTreeSet;
use std::fs::File;
use std::time::Duration;

fn assert_refused(answer: &Answer, what: &str) {
    assert_eq!((answer.bytes.len(), answer.end), (0, End::Reset), "{what} is refused");
}

/// A metadata request is refused by one line that says why (PROTOCOL, Refusals).
fn assert_refused_for(reason: &str, peer: &Daemon, name: &str) {
    for framing in [Framing::Fin, Framing::Newline] {
        let answer = ask(peer.listen(), format!("9:{name}").as_bytes(), framing);
        let said = String::from_utf8_lossy(&answer.bytes).into_owned();
        assert_eq!((said, answer.end), (format!("refused={reason}\n"), End::Fin), "metadata of {name}");
    }
}

/// A daemon that shares a file of this size in a directory, with its content.
fn sharing(size: usize) -> (Daemon, Vec<u8>) {
    let content = Dice::new().bytes(size);
    (start_hashed(Setup::peer().shares("dir/a: file.bin", &content).shares("fence", "")), content)
}

#[test]
fn a_range_in_every_framing() {
    let size = 2 * GROUP + 12_345;
    let (peer, content) = sharing(size);
    let ranges = [
        (0, size),
        (0, 1),
        (size - 1, 1),
        (size - 3, 3),
        (GROUP - 1, 2),
        (GROUP, GROUP),
        (2 * GROUP, 12_345),
        (777, 1_000_000),
        (0, 0),
        (5, 0),
        (size, 0),
    ];
    for framing in Framing::ALL {
        for (offset, length) in ranges {
            if framing == Framing::Silence && length < 1_000_000 {
                // One wait of 400 ms or two for this framing, not eleven.
                continue;
            }
            let answer = ask(peer.listen(), format!("8:{offset}:{length}:dir/a: file.bin").as_bytes(), framing);
            assert_eq!(answer.end, End::Fin, "{offset} {length} in {framing:?}");
            assert!(answer.bytes == content[offset..offset + length], "{offset} {length} in {framing:?}");
        }
    }
    let empty = ask(peer.listen(), b"8:0:0:fence", Framing::Fin);
    assert_eq!((empty.bytes.len(), empty.end), (0, End::Fin), "nothing of an empty file");
    // Leading zeros are digits too.
    assert_eq!(ask(peer.listen(), b"8:007:03:dir/a: file.bin", Framing::Fin).bytes, content[7..10]);
}

#[test]
fn a_range_that_is_not_wholly_inside_is_refused() {
    let size = 3_000;
    let (peer, _) = sharing(size);
    for framing in [Framing::Fin, Framing::Newline, Framing::Bytewise] {
        for (offset, length) in [(size, 1), (0, size + 1), (size - 1, 2), (size + 1, 0), (size + 1, 1)] {
            let text = format!("8:{offset}:{length}:dir/a: file.bin");
            assert_refused(&ask(peer.listen(), text.as_bytes(), framing), &text);
        }
    }
    let most = u64::MAX;
    let larger = "18446744073709551616";
    for text in [
        format!("8:{most}:1:dir/a: file.bin"),
        format!("8:1:{most}:dir/a: file.bin"),
        format!("8:{most}:{most}:dir/a: file.bin"),
        format!("8:{most}:0:dir/a: file.bin"),
        format!("8:{larger}:1:dir/a: file.bin"),
        format!("8:0:{larger}:dir/a: file.bin"),
        format!("8:0:{}:dir/a: file.bin", "9".repeat(200)),
        "8:0:1:fence".into(),
        "8:1:0:fence".into(),
    ] {
        assert_refused(&ask(peer.listen(), text.as_bytes(), Framing::Fin), &text);
    }
    assert_eq!(peer.status()["uploads_active"], 0);
}

#[test]
fn what_is_no_range_or_names_no_file_is_refused() {
    let (peer, content) = sharing(100);
    for text in [
        "8:",
        "8:0",
        "8:0:1",
        "8:0:1:",
        "8::1:dir/a: file.bin",
        "8:0::dir/a: file.bin",
        "8:-1:1:dir/a: file.bin",
        "8:+1:1:dir/a: file.bin",
        "8: 1:1:dir/a: file.bin",
        "8:0x1:1:dir/a: file.bin",
        "8:1.0:1:dir/a: file.bin",
        "8:0:1:missing",
        "8:0:0:missing",
        "8:0:1:dir",
        "8:0:1:../state",
        "8:0:1:a: file.bin",
        "8:0:1:dir/a: file.bin\tsize=100",
        "9:",
    ] {
        assert_refused(&ask(peer.listen(), text.as_bytes(), Framing::Fin), text);
        assert_refused(&ask(peer.listen(), text.as_bytes(), Framing::Newline), text);
    }
    for name in ["missing", "dir", "dir/../dir/a: file.bin"] {
        assert_refused_for("no_such_file", &peer, name);
    }
    assert_eq!(ask(peer.listen(), b"8:0:100:dir/a: file.bin", Framing::Fin).bytes, content, "it serves on");
}

#[test]
fn metadata_prove_themselves_in_every_framing() {
    let mut dice = Dice::new();
    let sizes = [0, 1, 1_000, GROUP - 1, GROUP, GROUP + 1, 2 * GROUP, 3 * GROUP, 4 * GROUP - 1, 6 * GROUP + 7];
    let files: Vec<(String, Vec<u8>)> =
        sizes.iter().map(|size| (format!("of {size} bytes"), dice.bytes(*size))).collect();
    let setup = files.iter().fold(Setup::peer(), |setup, (name, content)| setup.shares(name, content));
    let peer = start_hashed(setup);
    for (name, content) in &files {
        for framing in [Framing::Fin, Framing::Newline, Framing::Bytewise] {
            let answer = ask(peer.listen(), format!("9:{name}").as_bytes(), framing);
            assert_eq!(answer.end, End::Fin, "{name} in {framing:?}");
            assert_told(&answer.bytes, content);
        }
    }
    let (name, content) = &files[9];
    assert_told(&ask(peer.listen(), format!("9:{name}").as_bytes(), Framing::Silence).bytes, content);
}

/// Fails unless these are the metadata of this content.
fn assert_told(told: &[u8], content: &[u8]) {
    let expected = metadata(content);
    assert!(told == expected, "{:?}", String::from_utf8_lossy(&told[..told.len().min(120)]));
    let values = chaining_values(content);
    assert_eq!(told, metadata_of(content.len() as u64, &content_hash(content), &values));
    match values.len() {
        0 => assert!(content.len() <= GROUP && told.ends_with(b"\n"), "one group carries none"),
        _ => assert_eq!(merged(&values), content_hash(content), "the values give the hash"),
    }
}

/// The lines of a list, as text.
fn list(peer: &Daemon, request: &str, framing: Framing) -> BTreeSet<String> {
    let answer = ask(peer.listen(), request.as_bytes(), framing);
    assert_eq!(answer.end, End::Fin);
    lines(&answer.bytes).into_iter().map(|line| String::from_utf8(line).expect("text")).collect()
}

#[test]
fn lists_tell_size_and_hash_to_p1_alone() {
    let (peer, content) = sharing(1_500_000);
    let hash = content_hash(&content);
    let plain: BTreeSet<String> = ["dir/a: file.bin", "fence"].map(str::to_owned).into();
    let told: BTreeSet<String> = [
        format!("dir/a: file.bin\tsize=1500000\tb3={hash}"),
        "fence\tsize=0\tb3=af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262".to_owned(),
    ]
    .into();
    for framing in Framing::ALL {
        assert_eq!(list(&peer, "5:", framing), plain, "{framing:?}");
        assert_eq!(list(&peer, "5:p1", framing), told, "{framing:?}");
    }
    for nearly in ["5:p", "5:p2", "5:P1", "5:whatever"] {
        assert_eq!(list(&peer, nearly, Framing::Fin), plain, "{nearly}");
    }
}

/// A file so large that its hash takes a while: it is served by ranges, and says that its hash is not known.
#[test]
fn a_file_not_hashed_yet_is_served_without_hash_and_holds_up_no_other() {
    let setup = Setup::peer().shares("small.txt", "small");
    let file = File::create(setup.share().join("large.bin")).expect("a fresh file");
    file.set_len(1 << 40).expect("a sparse file");
    let peer = setup.start();
    let small = format!("small.txt\tsize=5\tb3={}", content_hash(b"small"));
    until("the small one is hashed", LIMIT, || list(&peer, "5:p1", Framing::Fin).contains(&small));
    assert_eq!(peer.status()["unhashed_files"], 1);
    assert!(list(&peer, "5:p1", Framing::Fin).contains("large.bin\tsize=1099511627776"), "the size alone");
    assert_refused_for("not_hashed", &peer, "large.bin");
    let range = ask(peer.listen(), b"8:1099511627000:776:large.bin", Framing::Fin);
    assert_eq!((range.bytes, range.end), (vec![0; 776], End::Fin));
    std::fs::remove_file(peer.share().join("large.bin")).expect("it can be removed");
    peer.rescan();
    until("nothing is left to hash", LIMIT, || peer.status()["unhashed_files"] == 0);
    peer.add_file("later.txt", "later");
    peer.rescan();
    await_hashed(&peer);
    assert_told(&ask(peer.listen(), b"9:later.txt", Framing::Fin).bytes, b"later");
}

#[test]
fn a_file_that_changed_has_the_hash_of_what_it_is_now() {
    let (peer, _) = sharing(50);
    peer.add_file("dir/a: file.bin", "something else");
    // Before the daemon looks again, it must not pass the new content off as the old.
    assert_refused(&ask(peer.listen(), b"8:0:50:dir/a: file.bin", Framing::Fin), "the range of a changed file");
    assert_refused_for("changed", &peer, "dir/a: file.bin");
    peer.rescan();
    await_hashed(&peer);
    assert_told(&ask(peer.listen(), b"9:dir/a: file.bin", Framing::Fin).bytes, b"something else");
    assert_eq!(ask(peer.listen(), b"8:10:4:dir/a: file.bin", Framing::Fin).bytes, b"else");
}

/// Searches with an ID; gives what the requester heard, connection by connection.
fn hits(peer: &Daemon, id: &str, text: &str, framing: Framing) -> Vec<String> {
    let ear = Fake::ear();
    let search = format!("6:{id}:{text}:127.0.0.1:{}:0", ear.addr.port());
    let _open = deliver(peer.listen(), search.as_bytes(), framing);
    // What is answered later can only come after: with it, everything that came before is here.
    let fence = format!("6:fence:fence:127.0.0.1:{}:0", ear.addr.port());
    until(&format!("the hits for {text} come"), LIMIT, || !ear.heard().is_empty());
    deliver(peer.listen(), fence.as_bytes(), Framing::Fin);
    until("the fence comes", LIMIT, || !ear.heard_beginning("7:fence:").is_empty());
    ear.heard_beginning("").into_iter().filter(|text| !text.starts_with("7:fence:")).collect()
}

#[test]
fn hits_tell_size_and_hash_to_p1_alone() {
    let (peer, content) = sharing(4_321);
    let port = peer.listen().port();
    let bare = |id: &str| [format!("7:{id}:127.0.0.1:{port}:dir/a: file.bin")];
    let told = format!("dir/a: file.bin\tsize=4321\tb3={}", content_hash(&content));
    for framing in Framing::ALL {
        let id = format!("p1-{:016x}", framing as u64);
        let heard = hits(&peer, &id, "a: file", framing);
        // One message may end as in part 1.
        let heard: Vec<&str> = heard.iter().map(|text| text.trim_end_matches('\n')).collect();
        assert_eq!(heard, [format!("7:{id}:127.0.0.1:{port}:{told}")], "{framing:?}");
        assert_eq!(hits(&peer, "base", "a: file", framing), bare("base"), "{framing:?}");
    }
    for nearly in [
        "p1-",
        "p1-0123",
        "p1-0123456789abcde",
        "p1-0123456789abcdef0",
        "p1-0123456789abcdeg",
        "P1-0123456789abcdef",
        "p2-0123456789abcdef",
    ] {
        assert_eq!(hits(&peer, nearly, "a: file", Framing::Fin), bare(nearly));
    }
}

#[test]
fn many_hits_come_to_p1_as_one_stream_and_to_others_as_the_best_alone() {
    let setup = (0..60).fold(Setup::peer(), |setup, turn| setup.shares(format!("tune {turn:02}.ogg"), [turn as u8]));
    let peer = start_hashed(setup.shares("deep/tune", "exact").shares("fence", ""));
    let heard = hits(&peer, "p1-00000000000000aa", "tune", Framing::Fin);
    assert_eq!(heard.len(), 1, "one connection");
    let stream = lines(heard[0].as_bytes());
    assert_eq!(stream.len(), 50);
    let names: BTreeSet<&[u8]> = stream.iter().filter_map(|line| line.split(|&b| b == b':').nth(4)).collect();
    assert_eq!(names.len(), 50, "each once");
    assert!(
        stream[0]
            .starts_with(format!("7:p1-00000000000000aa:127.0.0.1:{}:deep/tune\t", peer.listen().port()).as_bytes())
    );
    assert!(stream.iter().all(|line| String::from_utf8_lossy(line).contains("\tb3=")));
    assert_eq!(
        hits(&peer, "base", "tune", Framing::Fin),
        [format!("7:base:127.0.0.1:{}:deep/tune", peer.listen().port())]
    );
}

#[test]
fn a_search_by_hash_finds_the_content_under_any_name() {
    let content = Dice::new().bytes(1_234_567);
    let hash = content_hash(&content);
    let setup = Setup::peer().shares("one name", &content).shares("deep/another", &content).shares("fence", "other");
    let peer = start_hashed(setup);
    let text = format!("b3={hash}");
    let heard = hits(&peer, "p1-00000000000000bb", &text, Framing::Fin);
    let told: BTreeSet<String> = heard.concat().lines().map(str::to_owned).collect();
    let line = |name: &str| {
        format!("7:p1-00000000000000bb:127.0.0.1:{}:{name}\tsize=1234567\tb3={hash}", peer.listen().port())
    };
    assert_eq!(told, [line("one name"), line("deep/another")].into());
    let bare = hits(&peer, "base", &text, Framing::Fin);
    assert_eq!(bare.len(), 1);
    assert!(bare[0].ends_with(":one name") || bare[0].ends_with(":deep/another"), "{bare:?}");
    let ear = Fake::ear();
    for (turn, unknown) in
        [content_hash(b"nobody has this"), hash[..63].to_owned(), format!("{hash}0")].iter().enumerate()
    {
        let search = format!("6:p1-{turn:016x}:b3={unknown}:127.0.0.1:{}:0", ear.addr.port());
        deliver(peer.listen(), search.as_bytes(), Framing::Fin);
    }
    deliver(peer.listen(), format!("6:fence:fence:127.0.0.1:{}:0", ear.addr.port()).as_bytes(), Framing::Fin);
    until("the fence comes", LIMIT, || !ear.heard_beginning("7:fence:").is_empty());
    crate::harness::holds("nothing else is heard", Duration::from_millis(100), || ear.heard().len() == 1);
}
