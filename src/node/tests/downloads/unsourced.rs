//! Downloads by hash without a known source: they search until one is found.

use super::recalling::restarted;
use super::*;
use crate::control::ExitCode;
use crate::node::contract::PartSpec;

fn by_hash(rig: &mut Rig, output: Option<&str>) -> DownloadRow {
    let what = vec![Selector::Content(B3.to_string())];
    match rig.call(Request::Download { what, output: output.map(RawText::new) }) {
        Ok(Reply::Downloads(reply)) => reply.downloads[0].clone(),
        other => panic!("{other:?}"),
    }
}

/// The searches ordered: the IDs, each for the content, and whether nothing else was searched for.
fn searches(rig: &mut Rig) -> Vec<QueryId> {
    let searches = rig.dials().into_iter().flat_map(|(_, _, messages)| messages);
    let ids = searches.map(|message| match message {
        Message::Search(search) => {
            assert_eq!(*search.text, *format!("b3={B3}").as_bytes());
            search.id
        }
        other => panic!("{other:?}"),
    });
    ids.collect()
}

#[test]
fn a_content_that_no_hit_has_is_searched_for() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let row_1 = by_hash(&mut rig, None);
    assert_eq!((row_1.state, row_1.sources.len(), row_1.b3), (DownloadState::Retrying, 0, Some(B3.to_string())));
    let error = row_1.error.unwrap();
    assert_eq!(error.code, ExitCode::NoSource as i32);
    assert!(error.message.contains("asked 1 neighbour"), "{error}");
    assert!(opened(&mut rig).is_empty(), "its final name is not known");
    let query = searches(&mut rig).remove(0);
    assert_eq!(by_hash(&mut rig, None).id, 1);
    rig.hit(&query, peer(2), of_content("dir/.x.iso", 2 * MIB, B3));
    let found = row(&mut rig, 1);
    assert_eq!((found.state, found.error, found.name), (DownloadState::Active, None, RawText::new("dir/.x.iso")));
    let expected = Target::Suggested { directory: "/downloads".into(), name: name("_.x.iso") };
    assert_eq!(opened(&mut rig), [(TransferId(1), expected.clone())]);
    let record = remembered(&mut rig).pop().unwrap();
    assert_eq!((record.name, record.spec.target, record.sources.len()), (name("dir/.x.iso"), expected, 1));
    // A second source has another name, which changes nothing.
    rig.hit(&query, peer(3), of_content("other", 2 * MIB, B3));
    assert_eq!(row(&mut rig, 1).name, RawText::new("dir/.x.iso"));
    rig.handle(Event::PartOpened { download: TransferId(1), outcome: ready("/downloads/_.x.iso") });
    outline(&mut rig, 2 * MIB);
    bring_everything(&mut rig);
    check(&mut rig, 2 * MIB);
    commit(&mut rig, "/downloads/_.x.iso");
    assert!(row(&mut rig, 1).verified);
}

#[test]
fn a_content_without_a_hit_is_searched_for_without_end() {
    let mut rig = Rig::among(Vec::new(), &[]);
    let error = by_hash(&mut rig, None).error.unwrap();
    assert!(error.message.contains("no neighbour to ask"), "{error}");
    assert!(searches(&mut rig).is_empty());
    // A neighbour appears.
    rig.learn_peer(peer(1), crate::control::PeerSource::Bootstrap);
    rig.pass(Duration::from_secs(10));
    assert_eq!(searches(&mut rig).len(), 1);
    let mut in_an_hour = 0;
    for _ in 0..360 {
        rig.pass(Duration::from_secs(10));
        for (exchange, ..) in rig.dials() {
            in_an_hour += 1;
            rig.deliver(exchange);
        }
        assert_eq!(state(&mut rig, 1), DownloadState::Retrying);
    }
    assert!((12..=20).contains(&in_an_hour), "{in_an_hour} searches");
    assert!(opened(&mut rig).is_empty());
    let answer = order(&mut rig, Request::Retry { ids: "1".into() }).downloads.remove(0);
    assert_eq!(answer.state, DownloadState::Retrying, "the answer shows what the order has led to");
    assert!(answer.error.is_some_and(|error| error.message.contains("asked 1 neighbour")));
    assert_eq!(searches(&mut rig).len(), 1, "the user asks for one");
    order(&mut rig, Request::Pause { ids: "1".into() });
    rig.pass(Duration::from_secs(3_600));
    assert!(searches(&mut rig).is_empty());
    order(&mut rig, Request::Resume { ids: "1".into() });
    assert_eq!((state(&mut rig, 1), searches(&mut rig).len()), (DownloadState::Retrying, 1), "it is time for the next");
    order(&mut rig, Request::Cancel { ids: "1".into() });
    rig.pass(Duration::from_secs(3_600));
    assert!(searches(&mut rig).is_empty());
}

#[test]
fn a_content_found_later_is_saved_to_the_path_that_the_user_named() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    by_hash(&mut rig, Some("/tmp/here"));
    let query = searches(&mut rig).remove(0);
    rig.hit(&query, peer(2), of_content("x.iso", 2 * MIB, B3));
    let expected = Target::Exact { path: "/tmp/here".into(), name: name("x.iso") };
    assert_eq!(opened(&mut rig), [(TransferId(1), expected)], "or its own name, if that is a directory");
}

#[test]
fn a_hit_named_by_the_user_gives_a_content_its_name_and_source() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    by_hash(&mut rig, None);
    rig.orders.clear();
    let query = searching(&mut rig);
    rig.hit(&query, peer(2), of_content("a", 2 * MIB, B3));
    assert_eq!(download(&mut rig, hits("1")).downloads[0].id, 1);
    let found = row(&mut rig, 1);
    assert_eq!((found.state, found.name, found.size), (DownloadState::Active, RawText::new("a"), Some(2 * MIB)));
}

#[test]
fn searches_for_a_content_continue_after_a_restart() {
    let hash = crate::node::download::name_of_hash(B3).unwrap();
    let record = {
        let mut rig = Rig::among(Vec::new(), &[]);
        by_hash(&mut rig, None);
        remembered(&mut rig).pop().unwrap()
    };
    let target = Target::Suggested { directory: "/downloads".into(), name: hash.clone() };
    assert_eq!((&record.name, &record.spec), (&hash, &PartSpec { target, ..record.spec.clone() }));
    let mut rig = restarted(NodeConfig { bootstraps: Vec::new(), ..config() }, vec![record], 1);
    rig.learn_peer(peer(1), crate::control::PeerSource::Bootstrap);
    rig.pass(Duration::from_secs(10));
    assert!(opened(&mut rig).is_empty());
    let query = searches(&mut rig).pop().unwrap();
    rig.hit(&query, peer(2), of_content("a", 2 * MIB, B3));
    let expected = Target::Suggested { directory: "/downloads".into(), name: name("a") };
    assert_eq!(opened(&mut rig), [(TransferId(1), expected)]);
}

/// Also if downloads in progress have all places.
#[test]
fn downloads_that_begin_together_search_one_after_another() {
    let mut rig = Rig::remembering(NodeConfig { bootstraps: Vec::new(), max_downloads: 1, ..config() }, vec![peer(1)]);
    download(&mut rig, vec![file(peer(9), "busy")]);
    rig.orders.clear();
    let content = |n: u8| Selector::Content(ContentHash([n; 32]).to_string());
    let begun = download(&mut rig, (1..=50).map(content).collect());
    assert!(begun.downloads.iter().all(|row| row.state == DownloadState::Retrying));
    // Each asks both neighbours.
    let mut searches = vec![take_searches(&mut rig)];
    for _ in 0..50 {
        rig.pass(Duration::from_millis(100));
        searches.push(take_searches(&mut rig));
    }
    assert_eq!((searches[0], searches[..=10].iter().sum::<usize>()), (2, 2 * 11));
    assert_eq!(searches.iter().sum::<usize>(), 2 * 50, "each once by then");
}

/// Delivers the searches that are ordered; returns how many there were.
fn take_searches(rig: &mut Rig) -> usize {
    let dials = rig.dials();
    dials.iter().for_each(|(exchange, ..)| rig.deliver(*exchange));
    dials.len()
}
