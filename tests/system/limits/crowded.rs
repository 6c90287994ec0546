//! One honest source among many that lie, stall or claim: none of them takes back what is verified, keeps it from being
//! asked, or holds it up for long.

use crate::harness::{
    Daemon, Dice, GROUP, LIMIT, Manners, OldBootstrap, P1Peer, Setup, Stopwatch, Vice, assert_verified, begin_hit,
    chaining_values, content_hash, find_content, metadata_of, pause, share_of, start_among, until,
};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// As many sources as one download may have.
const PLACES: usize = 64;

/// Peers that share this content as this name, each with manners of its own, and a daemon that has all of them for
/// neighbours.
fn among(peers: &[P1Peer]) -> (OldBootstrap, Daemon) {
    let addrs: Vec<SocketAddr> = peers.iter().map(|peer| peer.addr).collect();
    start_among(Setup::peer().set("max_peers", "80"), &addrs)
}

/// Who sends nothing of any answer.
fn stalling(content: &[u8], metadata_too: bool) -> P1Peer {
    let metadata = if metadata_too { Vice::Stalls(0) } else { Vice::None };
    let manners = Manners { ranges: Vice::Stalls(0), files: Vice::Stalls(0), metadata, ..Manners::default() };
    P1Peer::sharing("film.bin", content, manners)
}

/// Half of them give metadata, and stall then.
#[test]
fn sources_that_stall_do_not_hold_up_an_honest_one() {
    let count = std::env::var("PYRATE_STALLING").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let mib = if count > 30 { 40 } else { 8 };
    let content = Dice::new().bytes(mib * GROUP);
    let mut peers: Vec<P1Peer> = (0..count).map(|n| stalling(&content, n % 2 == 0)).collect();
    peers.push(P1Peer::sharing("film.bin", &content, Manners::default()));
    let (_bootstrap, asker) = among(&peers);
    let row = find_content(&asker, "film", &content, count + 1);
    let watch = Stopwatch::start();
    let id = begin_hit(&asker, &row);
    let limit = LIMIT * 3;
    until("it is done", limit, || asker.download(id)["state"] == "done");
    println!("{count} that stall, {mib} MiB: {:?}", watch.elapsed());
    assert!(watch.elapsed() < Duration::from_secs(25), "{:?}", watch.elapsed());
    assert_verified(&asker.download(id), &content);
}

/// The honest one comes when all places are taken by liars that were found out, and the user finds it.
#[test]
fn liars_with_all_places_do_not_keep_an_honest_source_out() {
    let content = Dice::new().bytes(2 * GROUP + 5);
    let liar = || {
        let manners = Manners { ranges: Vice::Corrupts(7), files: Vice::Corrupts(7), ..Manners::default() };
        P1Peer::sharing("film.bin", &content, manners)
    };
    let mut peers: Vec<P1Peer> = (0..PLACES).map(|_| liar()).collect();
    peers.push(P1Peer::sharing("unrelated.bin", b"unrelated", Manners::default()));
    let (_bootstrap, asker) = among(&peers);
    let id = begin_hit(&asker, &find_content(&asker, "film", &content, PLACES));
    let corrupt = |row: &Value| {
        let shares = row["shares"].as_array().expect("shares");
        shares.iter().filter(|share| share["state"] == "corrupt").count()
    };
    // Each of them is asked at least once; some may be asked once more.
    until("they are found out", LIMIT * 2, || corrupt(&asker.download(id)) > PLACES / 2);
    let row = asker.download(id);
    assert!(row["state"] == "retrying" || row["state"] == "active", "{row}");
    let honest = peers.last().expect("one is honest");
    honest.add("honest.bin", &content);
    let hits = asker.search_until("honest", |rows| !rows.is_empty());
    let watch = Stopwatch::start();
    assert_eq!(begin_hit(&asker, &hits[0]), id, "it is the same download");
    let done = asker.await_download(id, "done");
    println!("an honest source among {PLACES} liars: {:?}", watch.elapsed());
    assert_verified(&done, &content);
    assert!(share_of(&done, honest.addr)["bytes"].as_u64() > Some(0), "{done}");
    assert!(asker.status()["limited"]["sources_displaced"].as_u64() > Some(0));
}

/// The honest source serves no ranges and dies in the middle: what it has brought is verified, and its size is not yet
/// proved. Then others claim other sizes of the same hash.
#[test]
fn claims_of_another_size_take_back_nothing() {
    let content = Dice::new().bytes(5 * GROUP - 9_999);
    let (hash, values) = (content_hash(&content), chaining_values(&content));
    let manners = Manners {
        ranges: Vice::Refuses,
        files: Vice::Dies(4 * GROUP + 100_000),
        rate: Some(40 << 20),
        ..Manners::default()
    };
    let mut peers = vec![P1Peer::sharing("film.bin", &content, manners)];
    let claims: [(u64, Vec<[u8; 32]>); 3] =
        [(5, Vec::new()), (2 * GROUP as u64, Vec::new()), (5 * GROUP as u64 - 1, values)];
    for (size, values) in claims {
        let metadata = Vice::Says(metadata_of(size, &hash, &values));
        let manners = Manners { claims: Some(size), metadata, ranges: Vice::Pads, ..Manners::default() };
        peers.push(P1Peer::sharing("unrelated.bin", b"unrelated", manners));
    }
    let (_bootstrap, asker) = among(&peers);
    let id = begin_hit(&asker, &find_content(&asker, "film", &content, 1));
    asker.await_bytes(id, 4 * GROUP as u64);
    peers[1..].iter().for_each(|liar| liar.add("liar.bin", &content));
    let mut least = u64::MAX;
    let asked = |peer: &P1Peer| !peer.asked("9:").is_empty() || !peer.asked("8:").is_empty();
    until("all that claim another size were asked", LIMIT * 2, || {
        // As a user would; each search is one for the content.
        asker.search_until(&format!("b3={hash}"), |rows| !rows.is_empty()).iter().for_each(|row| {
            if row["b3"] == hash.as_str() {
                assert_eq!(begin_hit(&asker, row), id);
            }
        });
        for _ in 0..20 {
            let row = asker.download(id);
            least = least.min(row["bytes_done"].as_u64().expect("a number"));
            assert_ne!(row["state"], "failed", "{row}");
            pause(Duration::from_millis(5));
        }
        peers[1..].iter().all(asked)
    });
    assert!(least >= 4 * GROUP as u64, "{least} bytes of {} are left", 4 * GROUP);
    peers[0].change(|manners| *manners = Manners::default());
    asker.call("retry", json!({ "ids": id.to_string() }));
    assert_verified(&asker.await_download(id, "done"), &content);
}
