//! When a download is tried again whose sources cannot be asked.

use super::*;

/// How long the download waits from now on, if it waits.
fn wait(rig: &mut Rig) -> Option<u64> {
    let row = row(rig, 1);
    (row.state == DownloadState::Retrying).then(|| row.retry_in_s.expect("it says when"))
}

/// Searches reach the neighbours, and nobody answers. Says whether there were any.
fn lose_searches(rig: &mut Rig) -> bool {
    let dials = rig.dials();
    for (exchange, _, messages) in &dials {
        assert!(messages.iter().all(|message| matches!(message, Message::Search(_))), "{messages:?}");
        rig.deliver(*exchange);
    }
    !dials.is_empty()
}

/// Lets whatever is asked end in this way for an hour; each wait that follows.
fn waits(rig: &mut Rig, fault: DialFault) -> Vec<u64> {
    let mut waits = Vec::new();
    for _ in 0..3_600 {
        open(rig);
        let asked = metadata(rig).into_iter().map(|(exchange, ..)| exchange);
        let asked = asked.chain(identifying(rig).into_iter().map(|(exchange, _)| exchange));
        let asked: Vec<_> = asked.chain(fetches(rig).into_iter().map(|fetch| fetch.exchange)).collect();
        let failed = !asked.is_empty();
        asked.into_iter().for_each(|exchange| rig.fail(exchange, fault));
        waits.extend(wait(rig).filter(|_| failed));
        lose_searches(rig);
        rig.pass(Duration::from_secs(1));
    }
    waits
}

#[test]
fn every_wait_is_from_5_to_60_seconds() {
    for (sources, least) in [(1, 5), (2, 0)] {
        for fault in [DialFault::TimedOut, DialFault::Refused, DialFault::Reset] {
            let mut rig = with_content(3 * MIB, sources);
            download(&mut rig, hits("1"));
            let waits = waits(&mut rig, fault);
            assert!(!waits.is_empty(), "{fault}");
            // One of several may have waited for some time when the last of them fails.
            assert!(waits.iter().all(|wait| (least..=60).contains(wait)), "{fault}, {sources} sources: {waits:?}");
        }
    }
}

/// While a source sends, the next search is minutes away.
#[test]
fn a_download_without_a_source_to_ask_does_not_wait_for_a_search_that_is_minutes_away() {
    let mut rig = begun(3 * MIB, 1);
    let lost = fetch(&mut rig);
    rig.fail(lost.exchange, DialFault::TimedOut);
    rig.pass(Duration::from_secs(61));
    lose_searches(&mut rig);
    open_resumed(&mut rig, 3 * MIB, [2]);
    let slow = fetch(&mut rig);
    for second in 0.. {
        progress(&mut rig, &slow, 1_000 + second);
        rig.pass(Duration::from_secs(1));
        if lose_searches(&mut rig) && second > 300 {
            break;
        }
    }
    rig.fail(slow.exchange, DialFault::Corrupt);
    identify_as(&mut rig, B3);
    let wait = wait(&mut rig).expect("nobody is left");
    assert!((5..=60).contains(&wait), "{wait} s");
}

/// It is named by its download, which asks it for as long as the user lets it.
#[test]
fn a_mistyped_peer_is_removed_while_its_download_continues() {
    for fault in [DialFault::TimedOut, DialFault::Refused, DialFault::Reset] {
        let mut rig = Rig::among(vec![], &[]);
        download(&mut rig, vec![file(peer(7), "a")]);
        let mut peers = Vec::new();
        for _ in 0..31 * 12 {
            open(&mut rig);
            let asked = fetches(&mut rig).into_iter().map(|fetch| fetch.exchange);
            let asked = asked.chain(identifying(&mut rig).into_iter().map(|(exchange, _)| exchange));
            let asked: Vec<_> = asked.chain(rig.dials().into_iter().map(|(exchange, ..)| exchange)).collect();
            asked.into_iter().for_each(|exchange| rig.fail(exchange, fault));
            rig.pass(Duration::from_secs(5));
            let Ok(Reply::Peers(rows)) = rig.call(Request::Peers) else { panic!("peers") };
            peers.push(rows.len());
        }
        assert_eq!((peers.first(), peers.last()), (Some(&1), Some(&0)), "{fault}");
        assert_ne!(state(&mut rig, 1), DownloadState::Cancelled);
    }
}
