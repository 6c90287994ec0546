//! Rate limits are kept, by all transfers of a direction together: within 5 % over ten seconds (pyrated.toml(5),
//! `upload_limit`).
//!
//! What came is counted where it arrives, against the clock on the wall. The clock also counts what stops the whole machine, so
//! that a span may be off; a limit that is not kept is off in each.

use crate::harness::{
    Daemon, Dice, Fake, LIMIT, Manners, P1Peer, Reading, Setup, Stopwatch, assert_verified, await_hashed, begin_hit,
    find_content, pause, share_of, side_by_side, start_among, until,
};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// A measurement lasts so long.
const SPAN: Duration = Duration::from_secs(10);

/// Before it, transfers begin and buffers fill.
const LEAD: Duration = Duration::from_secs(1);

/// How exact a limit is.
const TOLERANCE: f64 = 0.05;

/// One measurement, with daemons of its own.
type Case<'a> = dyn Fn() + Sync + 'a;

/// So many spans are measured until one is as it should be.
const SPANS_MAX: usize = 3;

fn off(per_second: f64, limit: u64) -> f64 {
    (per_second / limit as f64 - 1.0).abs()
}

fn assert_near(what: &str, per_second: f64, limit: u64, tolerance: f64) {
    let off = off(per_second, limit);
    assert!(off <= tolerance, "{what}: {per_second:.0} bytes a second for {limit}, off by {:.1} %", off * 100.0);
}

/// Measures until all rates together are near the limit. Returns these rates. In no span there is a second's worth more than the limit:
/// a machine that stood explains less than the limit, but not that.
fn assert_kept(what: &str, limit: u64, span: Duration, measure: impl Fn(Duration) -> Vec<f64>) -> Vec<f64> {
    let tolerance = if span < SPAN { 0.1 } else { TOLERANCE };
    let most = limit as f64 * (1.0 + 1.0 / span.as_secs_f64());
    let mut others = Vec::new();
    loop {
        let rates = measure(span);
        let sum = rates.iter().sum();
        assert!(sum <= most, "{what}: {rates:.0?} bytes a second, more than {limit}");
        if off(sum, limit) <= tolerance {
            return rates;
        }
        others.push(rates);
        assert!(others.len() < SPANS_MAX, "{what}: {others:.0?} bytes a second for {limit}");
    }
}

/// Clients that fetch a file by code 4, and count what comes.
struct Readers {
    counts: Vec<Arc<AtomicU64>>,
    over: Arc<AtomicBool>,
}

impl Readers {
    fn begin(from: SocketAddr, name: &str, number: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let reader = |_| {
            let (count, over) = (Arc::new(AtomicU64::new(0)), Arc::clone(&over));
            let (counted, message) = (Arc::clone(&count), format!("4:{name}\n"));
            thread::spawn(move || {
                let mut stream = TcpStream::connect(from).expect("it accepts");
                stream.write_all(message.as_bytes()).expect("it reads");
                let mut part = vec![0; 64 << 10];
                while !over.load(Ordering::SeqCst) {
                    match stream.read(&mut part) {
                        Ok(bytes @ 1..) => drop(counted.fetch_add(bytes as u64, Ordering::SeqCst)),
                        _ => return,
                    }
                }
            });
            count
        };
        Self { counts: (0..number).map(reader).collect(), over }
    }

    fn counts(&self) -> Vec<u64> {
        self.counts.iter().map(|count| count.load(Ordering::SeqCst)).collect()
    }

    /// Bytes a second that each gets.
    fn measure(&self, span: Duration) -> Vec<f64> {
        let (before, watch) = (self.counts(), Stopwatch::start());
        pause(span);
        let (after, took) = (self.counts(), watch.elapsed().as_secs_f64());
        before.iter().zip(&after).map(|(before, after)| (after - before) as f64 / took).collect()
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// A daemon that shares a file larger than any of these tests sends.
fn source(upload_limit: u64) -> Daemon {
    let source = Setup::peer().set("upload_limit", &upload_limit.to_string()).start_scanning();
    let file = std::fs::File::create(source.share().join("endless.bin")).expect("a fresh file");
    file.set_len(1 << 30).expect("it can be sparse");
    source.rescan();
    source
}

/// Measures an upload limit with so many readers, each of whom is to get an equal share.
fn upload(limit: u64, readers: usize) {
    let source = source(limit);
    let readers = Readers::begin(source.listen(), "endless.bin", readers);
    until("all are served", LIMIT, || readers.counts().iter().all(|count| *count > 0));
    pause(LEAD);
    for rate in &assert_kept("uploads", limit, SPAN, |span| readers.measure(span)) {
        assert_near("the share of one", *rate, limit / readers.counts.len() as u64, 0.2);
    }
}

#[test]
fn uploads_keep_to_their_limit_and_share_it() {
    let cases: [&Case; 3] = [&|| upload(3 * MIB, 1), &|| upload(4 * MIB, 4), &|| upload(64 << 10, 2)];
    side_by_side(cases, |case| case());
}

/// Bytes a second that a daemon takes in.
fn measure_download(asker: &Daemon, span: Duration) -> Vec<f64> {
    let received = || asker.status()["bytes_down"].as_u64().expect("a number");
    let (watch, before) = (Stopwatch::start(), received());
    pause(span);
    vec![(received() - before) as f64 / watch.elapsed().as_secs_f64()]
}

/// A base peer whose files never end, and that sends as fast as it is let.
fn endless() -> Fake {
    Fake::serve(Reading::Whole, |mut visit| {
        let part = vec![7; 64 << 10];
        while visit.stream.write_all(&part).is_ok() {}
    })
}

/// Measures a download limit with so many downloads.
fn download(limit: u64, number: usize) {
    let source = endless();
    let asker = Setup::peer().set("download_limit", &limit.to_string()).start();
    let ids: Vec<u64> = (0..number).map(|turn| asker.begin_download(source.addr, &format!("file {turn}"))).collect();
    until("all of them come", LIMIT, || ids.iter().all(|id| asker.download(*id)["bytes_done"].as_u64() > Some(0)));
    pause(LEAD);
    assert_kept(&format!("{number} downloads"), limit, SPAN, |span| measure_download(&asker, span));
    let got: Vec<u64> = ids.iter().map(|id| asker.download(*id)["bytes_done"].as_u64().expect("a number")).collect();
    let (least, most) = (got.iter().min().expect("some"), got.iter().max().expect("some"));
    assert!(*most as f64 <= *least as f64 * 1.25, "each gets its share: {got:?}");
    until("the rate shown is near", LIMIT, || {
        let told = asker.download(ids[0])["rate"].as_u64().expect("a rate") * number as u64;
        off(told as f64, limit) <= 0.25
    });
}

/// Measures a download limit with the ranges of one content from two sources.
fn download_in_ranges() {
    let limit = 2 * MIB;
    let content = Dice::new().bytes(70 * MIB as usize);
    let sources = [(); 2].map(|()| Setup::peer().shares("file.bin", &content).start());
    sources.iter().for_each(await_hashed);
    let listed = crate::harness::OldBootstrap::listing(&sources.each_ref().map(Daemon::listen));
    let asker = Setup::peer().joins(&[listed.addr()]).set("download_limit", &limit.to_string()).start();
    sources.iter().for_each(|source| asker.await_neighbour(source.listen()));
    let id = asker.begin_content("file.bin", 2);
    until("both send", LIMIT, || {
        let row = asker.download(id);
        row["shares"].as_array().is_some_and(|shares| shares.iter().all(|share| share["state"] == "active"))
    });
    pause(LEAD);
    assert_kept("two sources", limit, SPAN, |span| measure_download(&asker, span));
}

#[test]
fn downloads_keep_to_their_limit_and_share_it() {
    let cases: [&Case; 4] =
        [&|| download(3 * MIB, 1), &|| download(4 * MIB, 3), &|| download(64 << 10, 2), &download_in_ranges];
    side_by_side(cases, |case| case());
}

/// As on a busy machine, where the daemon gets no processor for a while, three tenths of the time in all.
#[test]
fn a_daemon_that_comes_late_again_and_again_keeps_to_its_limit() {
    let limit = 2 * MIB;
    let up = || {
        let source = source(limit);
        let readers = Readers::begin(source.listen(), "endless.bin", 2);
        until("both are served", LIMIT, || readers.counts().iter().all(|count| *count > 0));
        while_it_stops_often(&source, || {
            pause(LEAD);
            assert_kept("uploads", limit, SPAN, |span| readers.measure(span));
        });
    };
    let down = || {
        let source = endless();
        let asker = Setup::peer().set("download_limit", &limit.to_string()).start();
        let id = asker.begin_download(source.addr, "file");
        until("it comes", LIMIT, || asker.download(id)["bytes_done"].as_u64() > Some(0));
        while_it_stops_often(&asker, || {
            pause(LEAD);
            assert_kept("a download", limit, SPAN, |span| measure_download(&asker, span));
        });
    };
    let cases: [&Case; 2] = [&up, &down];
    side_by_side(cases, |case| case());
}

fn while_it_stops_often(daemon: &Daemon, work: impl FnOnce()) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                daemon.signal(Signal::SIGSTOP);
                pause(Duration::from_millis(200));
                daemon.signal(Signal::SIGCONT);
                pause(Duration::from_millis(450));
            }
        });
        let _end = Raise(&over);
        work();
    });
}

/// Ends the stops also when a measurement fails.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_new_limit_is_in_force_while_transfers_run() {
    let mut source = source(MIB);
    let readers = Readers::begin(source.listen(), "endless.bin", 2);
    until("both are served", LIMIT, || readers.counts().iter().all(|count| *count > 0));
    for (limit, span) in [(MIB, Duration::from_secs(4)), (3 * MIB, SPAN), (512 << 10, Duration::from_secs(5))] {
        source.reconfigure("upload_limit", &limit.to_string());
        source.call("reload", Value::Null);
        pause(LEAD);
        assert_kept("after a reload", limit, span, |span| readers.measure(span));
    }
    source.reconfigure("upload_limit", "0");
    source.call("reload", Value::Null);
    until("nothing holds them back", LIMIT, || readers.counts().iter().sum::<u64>() > 200 * MIB);
}

/// Each of them would send the whole in a moment, and under the limit it takes longer than a source has to prove a size.
#[test]
fn a_source_is_not_given_up_for_the_slowness_of_our_own_limit() {
    let content = Dice::new().bytes(300_000);
    let sources = [(); 2].map(|()| P1Peer::sharing("file.bin", &content, Manners::default()));
    let setup = Setup::peer().set("download_limit", "65536");
    let (_bootstrap, asker) = start_among(setup, &sources.each_ref().map(|source| source.addr));
    let id = begin_hit(&asker, &find_content(&asker, "file", &content, 2));
    let done = asker.await_download(id, "done");
    assert_verified(&done, &content);
    assert!(sources.each_ref().map(|source| share_of(&done, source.addr)["error"].is_null()) == [true; 2], "{done}");
    let asked: Vec<String> = sources.iter().flat_map(|source| source.asked("8:")).collect();
    assert_eq!(asked, [format!("8:0:{}:file.bin", content.len())], "one is enough");
}
