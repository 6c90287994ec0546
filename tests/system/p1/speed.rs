//! Several limited sources bring what their limits add up to, and a slow one holds up nobody.

use crate::harness::{
    Daemon, Dice, GROUP, Manners, P1Peer, Setup, Stopwatch, assert_verified, await_hashed, begin_hit, find_content,
    share_of, start_among, start_hashed,
};
use std::net::SocketAddr;
use std::path::Path;

/// Bytes a second of each source.
const LIMIT_EACH: u64 = 1 << 20;

/// Daemons that share one file, each limited; the file is on the disk once.
fn limited_sources(count: usize, content: &[u8], scratch: &Path) -> Vec<Daemon> {
    let file = scratch.join("file.bin");
    std::fs::write(&file, content).expect("it can be written");
    let prepare = |_| {
        let setup = Setup::peer().set("upload_limit", &LIMIT_EACH.to_string());
        std::fs::hard_link(&file, setup.share().join("file.bin")).expect("the same filesystem");
        setup
    };
    // A new link changes the file for all who share it: so all are made before the first daemon looks.
    let setups: Vec<Setup> = (0..count).map(prepare).collect();
    let sources: Vec<Daemon> = setups.into_iter().map(Setup::start).collect();
    sources.iter().for_each(await_hashed);
    sources
}

/// The rate of a download from so many limited sources is the sum of their limits.
fn rates_add_up(count: usize) {
    // The last group alone proves the size, and only one source is asked for it: it is small, so that the rate of all is
    // what is measured.
    let size = count * 4 * GROUP + 12_345;
    let content = Dice::new().bytes(size);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let sources = limited_sources(count, &content, scratch.path());
    let addrs: Vec<SocketAddr> = sources.iter().map(Daemon::listen).collect();
    let (_bootstrap, asker) = start_among(Setup::peer().set("max_peers", "16"), &addrs);
    let row = find_content(&asker, "file", &content, count);
    let watch = Stopwatch::start();
    let done = asker.await_download(begin_hit(&asker, &row), "done");
    let took = watch.elapsed().as_secs_f64();
    assert_verified(&done, &content);
    let ratio = size as f64 / took / (count as f64 * LIMIT_EACH as f64);
    println!("{count} sources: {ratio:.3} of the sum of their limits, in {took:.2} s");
    assert!((0.85..=1.15).contains(&ratio), "{count} sources: {ratio:.3} of the sum of their limits: {done}");
    for addr in addrs {
        let bytes = share_of(&done, addr)["bytes"].as_u64().expect("a number");
        assert!(bytes > 0, "{addr} took part: {done}");
    }
}

#[test]
fn two_sources_bring_twice_as_much() {
    rates_add_up(2);
}

#[test]
fn four_sources_bring_four_times_as_much() {
    rates_add_up(4);
}

#[test]
fn eight_sources_bring_eight_times_as_much() {
    rates_add_up(8);
}

/// A slow source would need half a minute for what it was given at first: the fast one takes it over.
#[test]
fn a_slow_source_loses_its_ranges_to_a_fast_one() {
    const FAST: usize = 4 << 20;
    let content = Dice::new().bytes(12 * GROUP);
    let fast = start_hashed(Setup::peer().shares("file.bin", &content).set("upload_limit", &FAST.to_string()));
    let slow = P1Peer::sharing("file.bin", &content, Manners { rate: Some(64 << 10), ..Manners::default() });
    let (_bootstrap, asker) = start_among(Setup::peer(), &[fast.listen(), slow.addr]);
    let row = find_content(&asker, "file", &content, 2);
    let watch = Stopwatch::start();
    let done = asker.await_download(begin_hit(&asker, &row), "done");
    let took = watch.elapsed().as_secs_f64();
    assert_verified(&done, &content);
    assert!(!slow.asked("8:").is_empty(), "the slow one was asked for something, too: {done}");
    let alone = content.len() as f64 / FAST as f64;
    assert!(took < 2.0 * alone + 2.0, "{took:.2} s, where the fast one alone takes {alone:.2} s: {done}");
}

/// The same the other way round: the slow one alone knows the outline, and the fast one comes in by and by.
#[test]
fn ranges_follow_the_speed_of_their_source() {
    let content = Dice::new().bytes(16 * GROUP);
    let manners = |rate| Manners { rate: Some(rate), ..Manners::default() };
    let fast = P1Peer::sharing("file.bin", &content, manners(6 << 20));
    let slow = P1Peer::sharing("file.bin", &content, manners(1 << 20));
    let (_bootstrap, asker) = start_among(Setup::peer(), &[fast.addr, slow.addr]);
    let done = asker.await_download(begin_hit(&asker, &find_content(&asker, "file", &content, 2)), "done");
    assert_verified(&done, &content);
    let bytes = |source: &P1Peer| share_of(&done, source.addr)["bytes"].as_u64().expect("a number");
    assert!(bytes(&fast) > 2 * bytes(&slow), "{done}");
}
