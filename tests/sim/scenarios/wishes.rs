//! Wishes: what they cost a network, and when they are fulfilled.

use super::events::read;
use super::helpers::{minutes, network, seconds};
use super::seeds;
use crate::content::{Content, fresh_content};
use crate::host::HostId;
use crate::world::World;
use pyrate::control::{EventKind, EventRow, RawText, Reply, Request, WishRow};
use pyrate::id::QueryId;
use pyrate::wire::Message;
use std::collections::BTreeMap;
use std::time::Duration;

/// What all wishes of a node may send in an hour, and at once before that (`node/limits/wishes`).
const ASKS_PER_HOUR: usize = 240;
const ASKS_BURST: usize = 8;

impl World {
    fn wish(&mut self, id: HostId, text: &str, download: bool) -> u32 {
        match self.ask(id, Request::Wish { text: RawText::new(text), download, limit: None }) {
            Ok(Reply::Wish(row)) => row.id,
            other => self.violation(id, &format!("a wish was answered with {other:?}")),
        }
    }

    fn wish_row(&mut self, id: HostId, wish: u32) -> WishRow {
        match self.ask(id, Request::Wishes { after: wish - 1 }) {
            Ok(Reply::Wishes(reply)) if reply.wishes.first().is_some_and(|row| row.id == wish) => {
                reply.wishes[0].clone()
            }
            other => self.violation(id, &format!("wishes were answered with {other:?}")),
        }
    }

    /// Lets time pass until a wish has found so much.
    #[track_caller]
    fn await_found(&mut self, id: HostId, wish: u32, found: u64, span: Duration) {
        let until = self.now + span;
        while self.wish_row(id, wish).found < found {
            assert!(self.now < until, "wish {wish} has not found {found} contents within {span:?}");
            self.run_for(seconds(5));
        }
    }

    /// The messages of searches that were sent, by query.
    fn searches_sent(&self) -> BTreeMap<QueryId, usize> {
        let mut copies = BTreeMap::new();
        for sent in &self.traffic {
            if let Message::Search(search) = &sent.message {
                *copies.entry(search.id.clone()).or_default() += 1;
            }
        }
        copies
    }
}

/// A network of so many nodes, and the messages that one search of all of it takes there.
fn flood(seed: u64, peers: usize) -> (World, Vec<HostId>, usize) {
    let (mut world, _, nodes) = network(seed, peers);
    world.let_them_meet();
    world.record = true;
    let (_, rings) = world.search(nodes[3], "nobody has this");
    assert_eq!(rings.last(), Some(&7), "over the whole network");
    let flood = world.searches_sent().into_values().max().unwrap();
    assert!(flood > peers, "each node gets a copy at least: {flood}");
    println!("a flood of {peers} nodes takes {flood} messages");
    world.traffic.clear();
    (world, nodes, flood)
}

#[test]
fn a_thousand_wishes_cost_less_in_an_hour_than_one_search_of_the_whole_network() {
    for seed in seeds(&[1]) {
        flood(seed, 300);
        let (mut world, nodes, flood) = flood(seed, 200);
        world.share(nodes[150], "papers/wished for.pdf", Content { id: 1, size: 5_000 });
        for n in 0..999 {
            world.wish(nodes[3], &format!("nobody has number {n}"), false);
        }
        let last = world.wish(nodes[3], "wished for", false);
        world.run_for(minutes(60));
        let sent = world.searches_sent();
        assert!(sent.values().all(|copies| *copies == 1), "nobody sends one on");
        let of_searches = |message: &Message| matches!(message, Message::Search(_) | Message::SearchResponse(_));
        let (wishes, messages) = (sent.len(), world.traffic.iter().filter(|sent| of_searches(&sent.message)).count());
        println!("a flood takes {flood} messages; a thousand wishes {wishes} in an hour, {messages} with all answers");
        assert!((ASKS_PER_HOUR * 9 / 10..=ASKS_PER_HOUR + ASKS_BURST).contains(&wishes), "{wishes}");
        assert!(messages * 4 < flood, "{messages} are too many beside {flood}");
        assert_eq!(world.wish_row(nodes[3], last).found, 0, "its turn comes within four hours");
        assert!(world.wish_row(nodes[3], last).next_ask.is_some());
    }
}

#[test]
fn what_appears_later_is_found_within_a_round() {
    for seed in seeds(&[1, 2]) {
        let (mut world, bootstrap, nodes) = network(seed, 60);
        world.let_them_meet();
        let wishes = ["some rare song", "another one", "third thing"].map(|text| world.wish(nodes[0], text, false));
        // Each peer is asked once, then again in rounds.
        let round = Duration::from_secs(3 * 60 * 3_600 / ASKS_PER_HOUR as u64);
        world.run_for(round);
        world.share(nodes[40], "music/some rare song.ogg", Content { id: 1, size: 5_000 });
        world.await_found(nodes[0], wishes[0], 1, round + minutes(2));

        // A peer that comes with a file is asked as soon as it is known, before the round goes on.
        let newcomer = world.add_node(&[bootstrap]);
        world.hosts[newcomer.0].disk.share("music/another one.ogg", Content { id: 2, size: 5_000 });
        world.start(newcomer);
        world.await_found(nodes[0], wishes[1], 1, minutes(5));

        // Few peers and few wishes are asked every five minutes.
        let (mut world, _, nodes) = network(seed, 4);
        let wish = world.wish(nodes[0], "some rare song", true);
        world.run_for(minutes(20));
        world.share(nodes[2], "music/some rare song.ogg", Content { id: 1, size: 5_000 });
        world.await_found(nodes[0], wish, 1, minutes(6));
        world.run_until("it is downloaded", minutes(2), |world| {
            world.hosts[nodes[0].0].disk.has_finished(Content { id: 1, size: 5_000 })
        });
        assert_eq!(world.wish_row(nodes[0], wish).begun, 1);
    }
}

#[test]
fn over_crashes_each_content_is_reported_once() {
    for seed in seeds(&[1, 2]) {
        let (mut world, _, nodes) = network(seed, 3);
        let asker = nodes[0];
        world.wish(asker, "song", false);
        let (mut seen, mut shared): (BTreeMap<u64, EventRow>, usize) = Default::default();
        for crash in 0..100 {
            if crash % 5 == 0 {
                let content = fresh_content(&mut world.random);
                world.share(nodes[1 + crash % 2], &format!("song {crash}"), content);
                shared += 1;
            }
            // The peers are asked in the first seconds after a start.
            let span = Duration::from_millis(3_000 + world.random.below(5_000));
            world.run_for(span);
            if world.random.chance(500) {
                let since = seen.keys().last().copied().unwrap_or(0) + 1;
                read(&mut world, asker, &mut seen, since);
            }
            world.crash(asker);
            world.start(asker);
        }
        world.run_for(minutes(6));
        let since = seen.keys().last().copied().unwrap_or(0) + 1;
        read(&mut world, asker, &mut seen, since);
        assert!(seen.values().all(|event| event.event == EventKind::Wish && event.wish == Some(1)));
        let mut names: Vec<_> = seen.values().map(|event| event.name.as_bytes().to_vec()).collect();
        names.sort();
        names.dedup();
        assert_eq!((names.len(), seen.len()), (shared, shared));
    }
}
