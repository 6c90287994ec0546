//! Senders that make a daemon work for them without end: the searches of others are answered as if they were not there.

use crate::harness::{
    Fake, LIMIT, OldBootstrap, Reading, Setup, Stopwatch, Unaccepting, ask_from, connect_from, pause, until,
};
use serde_json::{Value, json};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// A flood of searches, by one or more senders.
#[derive(Default)]
struct Flood {
    sent: AtomicU32,
    over: AtomicBool,
}

impl Flood {
    /// Sends searches on a stream, so many a second, until it is over.
    fn send(&self, mut stream: TcpStream, per_second: u32, search: impl Fn(u32) -> String) {
        let (watch, mut sent) = (Stopwatch::start(), 0);
        while !self.over.load(Ordering::SeqCst) {
            while f64::from(sent) < watch.elapsed().as_secs_f64() * f64::from(per_second) {
                sent += 1;
                self.sent.fetch_add(1, Ordering::SeqCst);
                if stream.write_all(search(sent).as_bytes()).is_err() {
                    return;
                }
            }
            pause(Duration::from_millis(20));
        }
    }
}

/// 45 searches a second from one address, whose requesters are endpoints of a listener that accepts nobody.
#[test]
fn forged_requesters_that_never_accept_do_not_keep_others_from_being_answered() {
    let peer = Setup::peer().shares("song.txt", "la").start();
    let to = peer.listen();
    let black_hole = Unaccepting::new();
    let forged = |n: u32| SocketAddr::from(([127, 1, (n >> 8) as u8, n as u8], black_hole.port()));
    let stream = || connect_from(Ipv4Addr::new(127, 0, 66, 6), to).expect("it accepts");
    // As many as such a sender sends in nine seconds are there already.
    let mut early = stream();
    for n in 0..400 {
        early
            .write_all(format!("6:early{n}:song:{}:{}:0\n", forged(n).ip(), forged(n).port()).as_bytes())
            .expect("sent");
    }
    until("most of them wait or are dropped", LIMIT, || {
        let status = peer.status();
        let count = |value: &Value| value.as_u64().unwrap_or(0);
        count(&status["commands_queued"]) + count(&status["limited"]["stranger_answers_dropped"]) > 250
    });
    let flood = Flood::default();
    let requester = Fake::serve_at(SocketAddr::from(([127, 0, 77, 7], 0)), Reading::Whole, drop);
    let answered = std::thread::scope(|scope| {
        scope.spawn(|| {
            flood.send(stream(), 45, |n| {
                let to = forged(1_000 + n);
                format!("6:late{n}:song:{}:{}:0\n", to.ip(), to.port())
            });
        });
        let watch = Stopwatch::start();
        for turn in 0..30 {
            let search = format!("6:honest{turn}:song.txt:127.0.77.7:{}:0", requester.addr.port());
            ask_from(Ipv4Addr::new(127, 0, 77, 7), to, search.as_bytes());
        }
        let answered = || requester.heard_beginning("7:honest").len();
        while answered() < 30 && watch.elapsed() < Duration::from_secs(5) {
            pause(Duration::from_millis(20));
        }
        flood.over.store(true, Ordering::SeqCst);
        answered()
    });
    assert_eq!(answered, 30, "{}", peer.status());
}

/// A requester that no list names and that has not answered yet.
#[test]
fn connecting_to_a_requester_that_is_not_proven_is_given_up_after_three_seconds() {
    let peer = Setup::peer().shares("song.txt", "la").start();
    let black_hole = Unaccepting::new();
    let requester = SocketAddr::from(([127, 1, 0, 1], black_hole.port()));
    let watch = Stopwatch::start();
    let search = format!("6:forged:song:{}:{}:0", requester.ip(), requester.port());
    ask_from(Ipv4Addr::new(127, 0, 66, 6), peer.listen(), search.as_bytes());
    until("it is given up", LIMIT, || peer.peers_that(|row| row["state"] == "failing").contains(&requester));
    assert!(watch.elapsed() < Duration::from_secs(6), "{:?}", watch.elapsed());
}

/// Sixteen users behind one neighbour that send 680 searches a second: the neighbour's own user finds what it would find
/// without them, and so do others that send little.
#[test]
fn users_behind_a_neighbour_do_not_use_up_what_the_neighbour_may_send() {
    let names: Vec<String> = (0..20).map(|n| format!("rare{n}.txt")).collect();
    let setup = names.iter().fold(Setup::peer(), |setup, name| setup.shares(name, "la"));
    let far = setup.start();
    let bootstrap = OldBootstrap::listing(&[far.listen()]);
    let near = Setup::peer().joins(&[bootstrap.addr()]).start();
    near.await_neighbour(far.listen());
    let to = near.listen();
    let flood = Flood::default();
    let listening = |user| {
        let address = Ipv4Addr::new(127, 0, 77, user);
        (address, Fake::serve_at(SocketAddr::new(address.into(), 0), Reading::Whole, drop))
    };
    let requesters: Vec<_> = (1..=10).map(listening).collect();
    let (found, answered) = std::thread::scope(|scope| {
        for user in 1..=16u8 {
            let (flood, stream) = (&flood, connect_from(Ipv4Addr::new(127, 0, 66, user), to).expect("it accepts"));
            scope.spawn(move || {
                flood.send(stream, 43, |n| format!("6:u{user}/{n}:nothing:127.0.66.{user}:5000:3\n"));
            });
        }
        until("they have sent far too many", LIMIT, || flood.sent.load(Ordering::SeqCst) > 2_000);
        let mut control = near.control();
        for ((own, other), (address, user)) in names[..10].iter().zip(&names[10..]).zip(&requesters) {
            control.call("search", json!({ "text": own, "ttl": 1 })).expect("it begins");
            let search = format!("6:for {other}:{other}:{address}:{}:3", user.addr.port());
            ask_from(*address, to, search.as_bytes());
        }
        let found = || near.pages("hits", "hits").len();
        let answered = || requesters.iter().filter(|(_, user)| !user.heard_beginning("7:for").is_empty()).count();
        let watch = Stopwatch::start();
        while (found(), answered()) != (10, 10) && watch.elapsed() < Duration::from_secs(5) {
            pause(Duration::from_millis(50));
        }
        flood.over.store(true, Ordering::SeqCst);
        (found(), answered())
    });
    let limited = |daemon: &crate::harness::Daemon| daemon.status()["limited"].to_string();
    assert_eq!((found, answered), (10, 10), "near: {}; far: {}", limited(&near), limited(&far));
}
