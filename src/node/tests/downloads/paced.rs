//! Our own limit makes every source slow: none of them is blamed.

use super::*;
use crate::control::SourceState;
use std::collections::{BTreeMap, BTreeSet};

const LIMIT: u64 = 2 << 10;

const TICK: Duration = Duration::from_millis(250);

/// What a fetch brings.
#[derive(Debug)]
struct Coming {
    download: TransferId,
    groups: Range<u64>,
    received: u64,
}

/// The loop below a node: sources that send as fast as they are read, and a limit that all share.
struct Paced {
    rig: Rig,
    sizes: BTreeMap<TransferId, u64>,
    coming: BTreeMap<ExchangeId, Coming>,
    /// All bytes that were read.
    read: u64,
    done: usize,
    /// Downloads at once.
    most: usize,
}

impl Paced {
    /// Carries out what is ordered, until nothing is.
    fn settle(&mut self) {
        loop {
            let orders = std::mem::take(&mut self.rig.orders);
            if orders.is_empty() {
                return;
            }
            orders.into_iter().for_each(|order| self.perform(order));
        }
    }

    fn perform(&mut self, order: Action) {
        let rig = &mut self.rig;
        match order {
            Action::OpenPart { download, size, .. } => {
                self.sizes.insert(download, size.unwrap());
                rig.handle(Event::PartOpened { download, outcome: ready("/downloads/a") });
            }
            Action::FetchMetadata { exchange, download, b3, .. } => {
                let response = Response::Metadata { b3: b3.unwrap(), size: self.sizes[&download] };
                rig.succeed(exchange, response);
            }
            Action::Fetch { exchange, download, portion: Portion::Groups(groups), .. } => {
                self.coming.insert(exchange, Coming { download, groups, received: 0 });
                let downloads: BTreeSet<_> = self.coming.values().map(|coming| coming.download).collect();
                self.most = self.most.max(downloads.len());
            }
            Action::Trim { exchange, groups_end } => {
                let groups = &mut self.coming.get_mut(&exchange).unwrap().groups;
                groups.end = groups.end.min(groups_end);
            }
            Action::CheckPart { download, .. } => {
                let (size, bad) = (self.sizes[&download], Vec::new());
                let b3 = ContentHash([download.0 as u8; 32]);
                rig.handle(Event::PartChecked { download, outcome: Ok(CheckedPart { b3, size, bad }) });
            }
            Action::CommitPart { download } => {
                let outcome = Ok(CommittedPart { path: "/downloads/a".into(), already: false });
                rig.handle(Event::PartCommitted { download, outcome });
                self.done += 1;
            }
            // One that has brought everything may be.
            Action::Abort { exchange } => assert!(!self.coming.contains_key(&exchange), "{:?}", self.coming),
            Action::Fetch { portion, .. } => panic!("{portion:?} is asked for"),
            _ => {}
        }
    }

    /// A moment passes, in which each fetch gets its share of the limit.
    fn tick(&mut self) {
        self.rig.pass(TICK);
        self.settle();
        let share = LIMIT / 4 / self.coming.len().max(1) as u64;
        for exchange in self.coming.keys().copied().collect::<Vec<_>>() {
            let Some(coming) = self.coming.get_mut(&exchange) else { continue };
            let size = self.sizes[&coming.download];
            let first = coming.groups.start * MIB;
            let before = coming.received;
            coming.received = (before + share).min((coming.groups.end * MIB).min(size) - first);
            self.read += coming.received - before;
            let (received, end) = (coming.received, coming.groups.end);
            self.rig.handle(Event::FetchProgress { exchange, bytes: received });
            self.rig.handle(Event::FetchHeld { exchange, by_disk: false });
            for group in coming.groups.clone() {
                let whole = ((group + 1) * MIB).min(size) - first;
                if (before + 1..=received).contains(&whole) {
                    self.rig.handle(Event::GroupVerified { exchange, group });
                }
            }
            if received == (end * MIB).min(size) - first {
                self.coming.remove(&exchange);
                self.rig.succeed(exchange, Response::File { bytes: received });
            }
            self.settle();
        }
    }

    fn check_rows(&mut self) {
        let Ok(Reply::Downloads(reply)) = self.rig.call(Request::Downloads { after: 0 }) else { panic!("downloads") };
        let rates: u64 = reply.downloads.iter().filter_map(|row| row.rate).sum();
        assert!(rates <= LIMIT, "{rates} bytes a second are shown");
        for row in &reply.downloads {
            assert!(row.state != DownloadState::Retrying, "{row:?}");
            for share in &row.shares {
                let fine = matches!(share.state, SourceState::Idle | SourceState::Active);
                assert!(fine && share.error.is_none(), "{row:?}");
            }
        }
    }
}

#[test]
fn no_source_is_blamed_for_a_limit_that_all_share_and_nothing_is_fetched_twice() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), download_limit: LIMIT, ..config() });
    rig.learn_peer(peer(1), crate::control::PeerSource::Hit);
    let query = searching(&mut rig);
    let content = |n: u8| ContentHash([n; 32]);
    (1..=4).for_each(|n| rig.hit(&query, peer(n), of_content("large", 3 * MIB, content(1))));
    (5..=9).for_each(|n| rig.hit(&query, peer(n), of_content("small", 100_000, content(n - 3))));
    rig.orders.clear();
    let (sizes, coming) = (BTreeMap::new(), BTreeMap::new());
    let mut paced = Paced { rig, sizes, coming, read: 0, done: 0, most: 0 };
    // The first has all of the limit at the beginning, and two sources at work when the others join it.
    download(&mut paced.rig, hits("1"));
    paced.settle();
    while paced.coming.len() < 2 {
        paced.tick();
    }
    download(&mut paced.rig, hits("2-6"));
    paced.settle();
    let size = 3 * MIB + 5 * 100_000;
    for tick in 0.. {
        assert!(paced.read <= size, "{} of {size} bytes, {} downloads done", paced.read, paced.done);
        if paced.done == 6 {
            break;
        }
        paced.tick();
        if tick % 40 == 0 {
            paced.check_rows();
        }
    }
    assert_eq!(paced.read, size, "nothing comes twice");
    assert_eq!(paced.most, 3, "no more share the limit than can each get 546 bytes a second");
}

fn hold(rig: &mut Rig, fetch: &Fetch) {
    rig.handle(Event::FetchHeld { exchange: fetch.exchange, by_disk: false });
}

/// Two sources of the last missing group: one is slow, and the other has nothing to do.
#[test]
fn a_source_slowed_by_our_limit_is_judged_by_its_rate_since() {
    let mut rig = begun(2 * MIB, 2);
    let slow = fetch(&mut rig);
    let mut bytes = 0;
    let mut trickle = |rig: &mut Rig, held: bool, ms: u64| {
        for _ in 0..ms / 250 {
            rig.pass(TICK);
            bytes += 100;
            progress(rig, &slow, bytes);
            if held {
                hold(rig, &slow);
            }
        }
        fetches(rig)
    };
    assert_eq!(trickle(&mut rig, true, 60_000), []);
    assert_eq!(trickle(&mut rig, false, 4_000), [], "its rate is still that of the limit");
    let twice = trickle(&mut rig, false, 3_000);
    assert_eq!(twice.len(), 1, "it is slow by itself: another fetches the same");
}

#[test]
fn a_source_that_gives_up_sending_because_we_read_slowly_has_not_failed() {
    let mut rig = begun(2 * MIB, 1);
    let held = fetch(&mut rig);
    progress(&mut rig, &held, 1_000);
    for _ in 0..240 {
        rig.pass(TICK);
        hold(&mut rig, &held);
    }
    rig.fail(held.exchange, DialFault::Reset);
    let again = fetch(&mut rig);
    assert_eq!((again.to, again.groups()), (held.to, 0..1));
    assert_eq!(row(&mut rig, 1).shares[0].error, None);
}
