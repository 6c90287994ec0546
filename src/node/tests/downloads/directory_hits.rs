//! Hits that are directories: downloads and links of them.

use super::*;
use crate::control::{HitDirectory, HitRow, Linkable, Notice};
use crate::fault::RefusalReason;

/// A search that has found two files in a directory of each of these peers, as the rows 1 and 2, and 3 for the directory.
fn found(peers: &[u8]) -> Rig {
    let mut rig = Rig::among(peers.iter().map(|n| peer(*n)).collect(), &[]);
    peers.iter().for_each(|n| hear_of(&mut rig, *n));
    rig.orders.clear();
    rig.search("live");
    let dials = rig.dials();
    let Some((_, _, messages)) = dials.first() else { panic!("no search is sent") };
    let [Message::Search(search)] = &messages[..] else { panic!("{messages:?}") };
    let id = search.id.clone();
    dials.iter().for_each(|(exchange, ..)| rig.deliver(*exchange));
    for n in peers {
        for (name, content) in [("music/live/a", 1), ("music/live/b", 2)] {
            rig.hit(&id, peer(*n), of_content(name, 5, ContentHash([content; 32])));
        }
    }
    rig
}

fn shown(rig: &mut Rig, ids: &str) -> Vec<(String, bool)> {
    let reply = download(rig, vec![Selector::Hits(ids.into())]);
    let rows = reply.downloads.iter();
    rows.map(|row| (String::from_utf8_lossy(row.name.as_bytes()).into_owned(), row.directory.is_some())).collect()
}

#[test]
fn a_directory_is_reported_when_its_second_file_comes_and_with_each_that_follows() {
    let mut rig = found(&[1, 2]);
    let told: Vec<HitRow> = rig
        .notices()
        .into_iter()
        .filter_map(|notice| match notice {
            Notice::Hit { hit, .. } => Some(hit),
            _ => None,
        })
        .collect();
    let ids: Vec<(u32, usize)> = told.iter().map(|hit| (hit.id, hit.sources.len())).collect();
    assert_eq!(ids, [(1, 1), (2, 1), (3, 1), (1, 2), (3, 1), (2, 2), (3, 2)]);
    let row = rig.hits(None).pop().unwrap();
    assert_eq!((row.id, row.name.as_bytes(), row.size, row.b3), (3, &b"music/live/"[..], None, None));
    assert_eq!(row.directory, Some(HitDirectory { files: 2, bytes: Some(10) }));
    assert_eq!(row.sources, [peer(1), peer(2)]);
}

#[test]
fn its_id_begins_one_download_and_all_and_ranges_stand_for_the_files() {
    let directory = || vec![("music/live/".to_owned(), true)];
    let files = ["music/live/a", "music/live/b"].map(|name| (name.to_owned(), false));
    let mut rig = found(&[1]);
    assert_eq!(shown(&mut rig, "3"), directory());
    let dialled: Vec<SocketAddr> = rig.dials().into_iter().map(|(_, to, _)| to).collect();
    assert_eq!(dialled, [peer(1)], "the peer is asked what is beneath it");
    assert_eq!(shown(&mut rig, "3"), directory(), "the one that is there");
    assert_eq!(shown(&mut found(&[1]), "all"), files);
    assert_eq!(shown(&mut found(&[1]), "1-3"), files);
    assert_eq!(shown(&mut found(&[1]), "2-3,3").len(), 2);
    let request = Request::Download { what: vec![Selector::Hits("3-9".into())], output: None };
    let refused = rig.call(request).unwrap_err();
    assert_eq!(refused.code, crate::control::ExitCode::Usage as i32, "{refused:?}");
}

#[test]
fn a_link_to_it_is_that_to_the_directory_of_its_first_peer() {
    for (named, asked) in [(None, 1), (Some(peer(2)), 2), (Some(peer(9)), 1)] {
        let mut rig = found(&[1, 2]);
        rig.orders.clear();
        rig.begin_call(Request::Link { what: Linkable::Hit { id: 3, peer: named } });
        let (exchange, to, message) = rig.dial();
        assert_eq!(to, peer(asked));
        let exchange = match message {
            Message::FirstContact { .. } => {
                rig.succeed(exchange, Response::Delivered);
                rig.dial().0
            }
            _ => exchange,
        };
        rig.fail(exchange, DialFault::Declined(RefusalReason::NoSuchFile));
        let refused = rig.take(|order| match order {
            Action::Reply { outcome: Err(error), .. } => Some(error.message.clone()),
            _ => None,
        });
        assert!(refused[0].contains("music/live/"), "{refused:?}");
    }
}
