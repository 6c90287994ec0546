//! Files of directories without a peer: whose turn it is to be searched for, and who is asked for what was not searched for.

use super::given_manifests::*;
use super::*;
use crate::fault::RefusalReason;

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
