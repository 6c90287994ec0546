//! The rates of several limited sources add up.

use crate::harness::{
    Daemon, Dice, GROUP, Setup, Stopwatch, assert_verified, await_hashed, begin_hit, find_content, share_of,
    start_among,
};
use std::net::SocketAddr;
use std::path::Path;

const SOURCES: usize = 8;

/// Bytes a second of each source.
const LIMIT_EACH: u64 = 1 << 20;

/// Daemons that share one file, each limited; the file is on the disk once.
fn limited_sources(content: &[u8], scratch: &Path) -> Vec<Daemon> {
    let file = scratch.join("file.bin");
    std::fs::write(&file, content).expect("it can be written");
    let prepare = |_| {
        let setup = Setup::peer().set("upload_limit", &LIMIT_EACH.to_string());
        std::fs::hard_link(&file, setup.share().join("file.bin")).expect("the same filesystem");
        setup
    };
    // A new link changes the file for all who share it: so all are made before the first daemon looks.
    let setups: Vec<Setup> = (0..SOURCES).map(prepare).collect();
    let sources: Vec<Daemon> = setups.into_iter().map(Setup::start).collect();
    sources.iter().for_each(await_hashed);
    sources
}

#[test]
fn the_rate_from_eight_limited_sources_is_the_sum_of_their_limits() {
    // The last group alone proves the size, and only one source is asked for it: it is small, so that the rate of all is
    // what is measured.
    let size = SOURCES * 4 * GROUP + 12_345;
    let content = Dice::new().bytes(size);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let sources = limited_sources(&content, scratch.path());
    let addrs: Vec<SocketAddr> = sources.iter().map(Daemon::listen).collect();
    let (_bootstrap, asker) = start_among(Setup::peer().set("max_peers", "16"), &addrs);
    let row = find_content(&asker, "file", &content, SOURCES);
    let watch = Stopwatch::start();
    let done = asker.await_download(begin_hit(&asker, &row), "done");
    let (took, ran) = (watch.elapsed(), watch.ran());
    assert_verified(&done, &content);
    let [most, ratio] = [ran, took].map(|took| size as f64 / took.as_secs_f64() / (SOURCES as f64 * LIMIT_EACH as f64));
    println!("{ratio:.3} of the sum of the limits, in {took:.2?}");
    assert!(most >= 0.85 && ratio <= 1.15, "{ratio:.3} of the sum of the limits: {done}");
    for addr in addrs {
        let bytes = share_of(&done, addr)["bytes"].as_u64().expect("a number");
        assert!(bytes > 0, "{addr} took part: {done}");
    }
}
