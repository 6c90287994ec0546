//! Files of directories without a peer: whose turn it is to be searched for, and who is asked for what was not searched for.

use super::given_manifests::*;
use super::recalling::restarted;
use super::*;
use crate::content::Manifest;
use crate::fault::RefusalReason;
use crate::node::contract::{PartSpec, RecordKind, RecordState};
use crate::node::tests::newcomers::settled;
use std::collections::BTreeSet;

/// Those files of which this peer is a source.
fn offered(rig: &mut Rig, n: u8) -> usize {
    files(rig).iter().filter(|row| row.sources.contains(&peer(n))).count()
}

/// A search has found the first file of the directory at this peer. What that has to be done for is not done yet.
fn find_first(rig: &mut Rig, n: u8) {
    let found = Answer { file: of_content("in/1", 1, content(1)), responder: peer(n), from: peer(n) };
    rig.on_source_found(TransferId(2), &found);
}

/// The requests for files of this size, as their members have it.
fn asked(rig: &mut Rig, size: u64) -> Vec<ExchangeId> {
    open(rig);
    let row = files(rig).into_iter().find(|row| row.size == Some(size)).unwrap();
    rig.take(|order| match order {
        Action::Fetch { exchange, download, .. } | Action::FetchMetadata { exchange, download, .. } => {
            (download.0 == row.id).then_some(*exchange)
        }
        _ => None,
    })
}

fn refuse(rig: &mut Rig, exchange: ExchangeId) {
    rig.fail(exchange, DialFault::Declined(RefusalReason::NoSuchFile));
}

#[test]
fn the_same_hit_after_a_refusal_has_nobody_asked_again() {
    let sizes: Vec<u64> = (1..=40).collect();
    let mut rig = begun_by(&manifest(&sizes), &[1]);
    let (query, _) = searches(&mut rig).remove(0);
    let sourced = |rig: &mut Rig| files(rig).iter().filter(|row| row.sources == [peer(2)]).count();
    let hit = |rig: &mut Rig| {
        rig.hit(&query, peer(2), of_content("x/y/in/1", 1, content(1)));
        rig.settle();
    };
    hit(&mut rig);
    let first = asked(&mut rig, 1).remove(0);
    refuse(&mut rig, first);
    let offered = sourced(&mut rig);
    for _ in 0..3 {
        hit(&mut rig);
        assert_eq!(asked(&mut rig, 1), [], "it has said no");
    }
    assert_eq!(sourced(&mut rig), offered, "no hit that was made up has it offered to further files");
    // When it is found by the next search, it may have the file by then.
    let all = |rig: &mut Rig| {
        rig.pass(Duration::from_secs(200));
        searches(rig)
    };
    let (query, _) = all(&mut rig).into_iter().find(|(_, text)| *text == search_for(1)).unwrap();
    rig.hit(&query, peer(2), of_content("x/y/in/1", 1, content(1)));
    rig.settle();
    assert_eq!(asked(&mut rig, 1).len(), 1);
}

#[test]
fn what_nobody_gives_is_searched_for_in_its_turn_alone() {
    let mut rig = begun_by(&manifest(&[1]), &[1]);
    let (query, _) = searches(&mut rig).remove(0);
    rig.hit(&query, peer(2), of_content("in/1", 1, content(1)));
    rig.settle();
    let exchange = asked(&mut rig, 1).remove(0);
    refuse(&mut rig, exchange);
    let waits = |rig: &mut Rig| {
        let (file, directory) = (files(rig).remove(0), row(rig, 1));
        assert_eq!((file.state, directory.state), (DownloadState::Retrying, DownloadState::Retrying));
        // The timer of a file does not say when its turn comes.
        assert_eq!((file.retry_in_s, directory.retry_in_s), (None, None));
    };
    waits(&mut rig);
    let mut texts = Vec::new();
    for _ in 0..120 {
        rig.pass(Duration::from_secs(60));
        let mut sent = searches(&mut rig);
        // Each neighbour gets it.
        sent.dedup_by(|(id, _), (before, _)| id == before);
        texts.extend(sent.into_iter().map(|(_, text)| text));
    }
    assert!((20..=30).contains(&texts.len()), "{} in two hours", texts.len());
    assert!(texts.iter().all(|text| *text == search_for(1)), "{texts:?}");
    assert_eq!(asked(&mut rig, 1), []);
    waits(&mut rig);
}

#[test]
fn places_that_were_made_up_give_way() {
    let sizes: Vec<u64> = (1..=40).collect();
    let mut rig = begun_by(&manifest(&sizes), &[1]);
    let (query, _) = searches(&mut rig).remove(0);
    for n in 10..30 {
        rig.hit(&query, peer(n), of_content("made/up/in/1", 1, content(1)));
    }
    rig.hit(&query, peer(2), of_content("x/in/1", 1, content(1)));
    rig.settle();
    assert_eq!(offered(&mut rig, 2), 9);
}

#[test]
fn who_was_found_while_files_were_added_or_paused_is_offered_afterwards() {
    let sizes: Vec<u64> = (1..=200).collect();
    let manifest = manifest(&sizes);
    let mut rig = Rig::among(vec![peer(1)], &[]);
    begin_by(&mut rig, &manifest);
    let outcome = Ok(Box::new(Manifest::parse(&manifest.text).unwrap()));
    rig.node.handle(rig.now, Event::ManifestRead { download: TransferId(1), outcome });
    let is_added = |rig: &Rig, id: u32| rig.node.download.row(&rig.node.cx, TransferId(id)).is_some();
    while !is_added(&rig, 2) {
        rig.node.work(rig.now);
    }
    assert!(!is_added(&rig, 201), "others are to be added");
    find_first(&mut rig, 2);
    rig.settle();
    assert_eq!(offered(&mut rig, 2), 9);

    find_first(&mut rig, 3);
    rig.node.handle(
        rig.now,
        Event::Call {
            client: CLIENT,
            call: crate::control::CallId::Number(900),
            request: Request::Pause { ids: "1".into() },
        },
    );
    rig.settle();
    answers(&mut rig);
    assert_eq!(offered(&mut rig, 3), 1);
    rig.call(Request::Resume { ids: "1".into() }).unwrap();
    assert_eq!(offered(&mut rig, 3), 9);
}

#[test]
fn searches_go_on_however_many_files_wait() {
    let sizes: Vec<u64> = (1..=150).collect();
    let mut rig = begun_by(&manifest(&sizes), &[1]);
    let mut texts = Vec::new();
    for second in 0..40 * 60 {
        rig.pass(Duration::from_secs(1));
        let sent = searches(&mut rig);
        // Some at once after a pause; one after the other as long as there are more.
        let most = if (1..100).contains(&second) { 1 } else { 8 };
        assert!(sent.len() <= most, "{} in second {second}", sent.len());
        texts.extend(sent.into_iter().map(|(_, text)| (second, text)));
    }
    let late: BTreeSet<&String> = texts.iter().filter(|(at, _)| *at >= 30 * 60).map(|(_, text)| text).collect();
    assert_eq!(late.len(), 150, "each is searched for every few minutes");
}

#[test]
fn newcomers_are_asked_for_what_nobody_had() {
    let mut rig = settled(vec![peer(1)]);
    let manifest = manifest(&[1]);
    rig.orders.clear();
    begin_by(&mut rig, &manifest);
    take_up(&mut rig, &manifest);
    let (mut searched, mut newcomers_at) = (Vec::new(), None);
    for second in 0..30 * 60 {
        rig.pass(Duration::from_secs(1));
        for (exchange, _, messages) in rig.dials() {
            match &messages[0] {
                Message::Search(_) => {
                    searched.push(second);
                    rig.deliver(exchange);
                }
                Message::RequestPeerList { .. } => {
                    let is_late = second > 15 * 60 && searched.last().is_some_and(|last| second - last > 20);
                    let mut peers = vec![peer(1), us()];
                    if is_late && newcomers_at.is_none() {
                        newcomers_at = Some(second);
                    }
                    peers.extend(newcomers_at.map(|_| peer(7)));
                    rig.succeed(exchange, plain_list(peers));
                }
                _ => rig.deliver(exchange),
            }
        }
    }
    let at = newcomers_at.unwrap();
    let next = searched.iter().find(|second| **second >= at).unwrap();
    assert!(next - at <= 2, "newcomers at {at}: {searched:?}");
}

#[test]
fn further_sources_of_files_are_searched_for_so_many_times_a_minute() {
    let sizes: Vec<u64> = (1..=300).collect();
    let config = NodeConfig { bootstraps: Vec::new(), max_downloads: 300, ..config() };
    let (mut rig, manifest) = (Rig::remembering(config, vec![peer(1)]), manifest(&sizes));
    begin_by(&mut rig, &manifest);
    take_up(&mut rig, &manifest);
    searches(&mut rig);
    // The files have their ids in the order of their paths.
    let mut paths: Vec<String> = sizes.iter().map(|size| format!("in/{size}")).collect();
    paths.sort();
    for (id, path) in (2..).zip(paths) {
        let size = path[3..].parse().unwrap();
        let found = Answer { file: of_content(&path, size, content(size)), responder: peer(2), from: peer(2) };
        rig.on_source_found(TransferId(id), &found);
    }
    rig.settle();
    let mut sent = BTreeSet::new();
    for minute in 1..=3 {
        for _ in 0..60 {
            rig.pass(Duration::from_secs(1));
            open(&mut rig);
            metadata(&mut rig).into_iter().for_each(|(exchange, ..)| rig.fail(exchange, DialFault::Refused));
            sent.extend(searches(&mut rig).into_iter().map(|(id, _)| format!("{id:?}")));
        }
        assert!((16..=16 + 60 * minute).contains(&sent.len()), "{} in {minute} minutes", sent.len());
    }
}

/// The record of a file of a directory, to which no source is known.
fn member(of_directory: &DownloadRecord, id: u32, size: u64) -> DownloadRecord {
    let path = name(&format!("d/in/{size}"));
    let target = Target::Within { directory: "/downloads".into(), path: path.clone(), executable: false };
    DownloadRecord {
        id: TransferId(id),
        spec: PartSpec { target, token: id, filesystem: None },
        name: path,
        size: Some(size),
        b3: Some(content(size)),
        kind: RecordKind::Member { of: TransferId(1) },
        sources: Vec::new(),
        ..of_directory.clone()
    }
}

fn kind_of(files: u64) -> RecordKind {
    RecordKind::Directory { files: Some(files), is_given: true, pending: 0 }
}

/// The last record of directory 1.
fn last_of_directory(rig: &mut Rig) -> DownloadRecord {
    remembered(rig).into_iter().rfind(|record| record.id == TransferId(1)).unwrap()
}

#[test]
fn files_without_a_source_are_searched_for_after_a_restart() {
    let (config, manifest) = (NodeConfig { bootstraps: Vec::new(), ..config() }, manifest(&[1, 2]));
    let of_directory = record(&manifest, Some(2));
    let records = vec![member(&of_directory, 2, 1), member(&of_directory, 3, 2), of_directory];
    let mut rig = restarted(config, records, 3);
    rig.learn_peer(peer(1), crate::control::PeerSource::Bootstrap);
    rig.pass(Duration::from_secs(15));
    assert_eq!(read(&mut rig), [], "all files are members");
    let texts: BTreeSet<String> = searches(&mut rig).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, BTreeSet::from([search_for(1), search_for(2)]));
}

/// The link to the directory of a manifest that a client gives, at these peers.
fn link(manifest: &crate::content::ManifestText, peers: &[u8]) -> Vec<Selector> {
    let link = format!("pyrate:b3={}&name=d%2F", manifest.b3);
    vec![Selector::Link(peers.iter().fold(link, |text, n| format!("{text}&peer={}", peer(*n))))]
}

#[test]
fn a_manifest_that_is_given_takes_the_place_of_a_peer_that_does_not_give_it() {
    let (mut rig, manifest) = (Rig::among(vec![peer(1)], &[]), manifest(&[5, 6]));
    [1, 2].iter().for_each(|n| hear_of(&mut rig, *n));
    rig.orders.clear();
    download(&mut rig, link(&manifest, &[2]));
    let (exchange, to, _) = rig.dial();
    assert_eq!(to, peer(2));
    rig.fail(exchange, DialFault::Refused);
    assert_eq!(state(&mut rig, 1), DownloadState::Retrying);
    order_directory(&mut rig, &manifest);
    assert_eq!(kept(&mut rig), [(TransferId(1), manifest.text.clone())]);
    assert_eq!(answers(&mut rig), [], "until it is kept");
    remembered(&mut rig);
    rig.handle(Event::ManifestKept { download: TransferId(1), outcome: Ok(()) });
    assert_eq!(answers(&mut rig).remove(0).unwrap().downloads[0].id, 1);
    let record = remembered(&mut rig).pop().unwrap();
    let peers: Vec<SocketAddr> = record.sources.iter().map(|source| source.addr).collect();
    assert_eq!(
        (record.kind, peers),
        (RecordKind::Directory { files: None, is_given: true, pending: 0 }, vec![peer(2)]),
        "the next run reads the manifest, too"
    );
    take_up(&mut rig, &manifest);
    assert_eq!(row(&mut rig, 1).directory.unwrap().files, 2);
    assert_eq!(offered(&mut rig, 2), 2, "the peer of the link may have the files");
}

#[test]
fn a_manifest_that_cannot_be_kept_leaves_the_directory_to_its_peers() {
    let (mut rig, manifest) = (Rig::among(vec![peer(1)], &[]), manifest(&[5]));
    hear_of(&mut rig, 2);
    rig.orders.clear();
    download(&mut rig, link(&manifest, &[2]));
    let (exchange, ..) = rig.dial();
    rig.fail(exchange, DialFault::Refused);
    order_directory(&mut rig, &manifest);
    remembered(&mut rig);
    rig.begin_call(Request::Pause { ids: "1".into() });
    assert_eq!(remembered(&mut rig), [], "while the manifest is written");
    rig.handle(Event::ManifestKept { download: TransferId(1), outcome: Err(DiskFault::Full) });
    let answered = answers(&mut rig).remove(0).unwrap().downloads.remove(0);
    assert!(answered.not_remembered.is_some(), "{answered:?}");
    assert_eq!(remembered(&mut rig).pop().unwrap().state, RecordState::Paused, "a restart does not resume it");
    rig.call(Request::Resume { ids: "1".into() }).unwrap();
    rig.pass(Duration::from_secs(20));
    assert_eq!(rig.dial().1, peer(2), "it is asked again");
}

#[test]
fn the_peers_of_a_link_are_taken_for_the_directory_of_a_manifest() {
    let sizes: Vec<u64> = (1..=20).collect();
    let manifest = manifest(&sizes);
    let mut rig = begun_by(&manifest, &[1]);
    assert_eq!(download(&mut rig, link(&manifest, &[2, 3])).downloads[0].id, 1);
    rig.settle();
    assert_eq!([2, 3].map(|n| offered(&mut rig, n)), [8, 8]);
    // So they are by the next run.
    let of_directory = last_of_directory(&mut rig);
    assert_eq!(of_directory.sources.len(), 2);
    let config = NodeConfig { bootstraps: Vec::new(), ..config() };
    let members = (2..).zip(1..=2).map(|(id, size)| member(&of_directory, id, size));
    let records = members.chain([DownloadRecord { kind: kind_of(2), ..of_directory.clone() }]).collect();
    let mut rig = restarted(config.clone(), records, 3);
    rig.settle();
    assert_eq!((read(&mut rig).len(), [2, 3].map(|n| offered(&mut rig, n))), (0, [2, 2]));
    let mut rig = restarted(config, vec![of_directory], 1);
    take_up(&mut rig, &manifest);
    rig.settle();
    assert_eq!([2, 3].map(|n| offered(&mut rig, n)), [8, 8], "the manifest is read, and no peer is asked for it");
    // Those of another link to the same, for a directory of a link.
    let mut rig = Rig::among(vec![peer(1)], &[]);
    [1, 2].iter().for_each(|n| hear_of(&mut rig, *n));
    rig.orders.clear();
    download(&mut rig, link(&manifest, &[1]));
    let (exchange, ..) = rig.dial();
    remembered(&mut rig);
    assert_eq!(download(&mut rig, link(&manifest, &[2])).downloads[0].id, 1);
    assert_eq!(remembered(&mut rig).pop().unwrap().sources.len(), 2);
    rig.fail(exchange, DialFault::Refused);
    rig.pass(Duration::from_secs(20));
    let asked: BTreeSet<SocketAddr> = rig.dials().into_iter().map(|(_, to, _)| to).collect();
    assert!(asked.contains(&peer(1)), "{asked:?}");
}
