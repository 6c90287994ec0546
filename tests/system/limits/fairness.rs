//! Upload slots are shared fairly among addresses, whichever message asks for them.

use crate::harness::{
    Daemon, End, LARGE, LIMIT, Setup, await_hashed, await_queued, connect_from, content_hash, finish, has_begun,
    read_to_end, until,
};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};

const GREEDY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const MODEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const THIRD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);

fn workers(count: u32) -> Daemon {
    let peer = Setup::peer().set("max_workers", &count.to_string()).shares_large().start();
    await_hashed(&peer);
    peer
}

/// Asks for something large, as code 4 or as code 8.
fn request(from: Ipv4Addr, peer: &Daemon, by_range: bool) -> TcpStream {
    let message = if by_range { format!("8:0:{LARGE}:large.bin") } else { "4:large.bin".to_owned() };
    crate::harness::request(from, peer, &message)
}

/// One address holds every worker and asks for more; another that comes last is served before the rest of the first.
#[test]
fn who_holds_less_comes_first() {
    for by_range in [false, true] {
        let peer = workers(2);
        let mut greedy: Vec<TcpStream> = (0..2).map(|_| request(GREEDY, &peer, by_range)).collect();
        until("both workers are taken", LIMIT, || greedy.iter().all(has_begun));
        for turn in 1..=4 {
            greedy.push(request(GREEDY, &peer, by_range));
            await_queued(&peer, turn);
        }
        let modest = request(MODEST, &peer, !by_range);
        await_queued(&peer, 5);
        finish(greedy.remove(0));
        until("the modest one has its turn", LIMIT, || has_begun(&modest));
        assert_eq!(greedy.iter().filter(|stream| has_begun(stream)).count(), 1, "and the greedy one worker");
        finish(modest);
        for stream in greedy {
            finish(stream);
        }
    }
}

/// Three addresses that all want much take turns.
#[test]
fn addresses_take_turns() {
    let peer = workers(1);
    let first = request(GREEDY, &peer, false);
    until("the worker is taken", LIMIT, || has_begun(&first));
    let mut waiting: Vec<(Ipv4Addr, TcpStream)> = Vec::new();
    for from in [GREEDY, GREEDY, MODEST, MODEST, THIRD, THIRD] {
        waiting.push((from, request(from, &peer, waiting.len().is_multiple_of(2))));
        await_queued(&peer, waiting.len());
    }
    finish(first);
    let mut order = Vec::new();
    while !waiting.is_empty() {
        until("the next has begun", LIMIT, || waiting.iter().any(|(_, stream)| has_begun(stream)));
        let begun: Vec<usize> = (0..waiting.len()).filter(|&place| has_begun(&waiting[place].1)).collect();
        assert_eq!(begun.len(), 1, "one at a time");
        let (from, stream) = waiting.remove(begun[0]);
        order.push(from);
        finish(stream);
    }
    for turns in order.chunks(3) {
        let mut seen = turns.to_vec();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 3, "each once in three turns: {order:?}");
    }
}

/// Metadata are small, and asked for before anything else: they wait for no upload that only waits for its reader.
#[test]
fn a_busy_daemon_names_the_hash_in_its_list() {
    let peer = workers(1);
    let first = request(GREEDY, &peer, true);
    until("the worker is taken", LIMIT, || has_begun(&first));
    let mut list = connect_from(MODEST, peer.listen()).expect("it accepts");
    list.write_all(b"5:p1\n").expect("it reads");
    finish(first);
    let (lines, end) = read_to_end(&mut list);
    assert_eq!(end, End::Fin);
    assert!(String::from_utf8_lossy(&lines).contains(&format!("small.txt\tsize=5\tb3={}", content_hash(b"small"))));
}
