//! A source is asked which protocol it speaks before it is asked for a file, in a form that base programs survive.

use super::*;
use crate::control::{Notice, SourceState};
use crate::fault::{OtherProgram, RefusalReason};

/// A download of a file of peer 1, of which nothing is known, in an open part file.
fn of_unknown_peer() -> Rig {
    let mut rig = Rig::among(Vec::new(), &[]);
    rig.resets_first_contacts = false;
    download(&mut rig, vec![file(peer(1), "dir/a.txt")]);
    open(&mut rig);
    rig
}

#[test]
fn a_first_contact_is_a_search_for_zeros_with_ttl_0() {
    let mut rig = of_unknown_peer();
    let (_, to, message) = rig.dial();
    let Message::FirstContact { id, requester } = message else { panic!("{message:?}") };
    assert!(id.is_p1());
    assert_eq!((to, requester), (peer(1), us()));
    assert!(fetches(&mut rig).is_empty() && metadata(&mut rig).is_empty(), "nothing is asked for before the answer");
}

#[test]
fn a_node_without_an_address_of_its_own_asks_as_well() {
    let config = NodeConfig { bootstraps: Vec::new(), local_addrs: Vec::new(), ..config() };
    let mut rig = Rig::remembering(config, Vec::new());
    rig.resets_first_contacts = false;
    download(&mut rig, vec![file(peer(1), "a")]);
    open(&mut rig);
    contact(&mut rig);
}

#[test]
fn a_peer_that_answers_a_first_contact_is_asked_for_metadata() {
    let mut rig = of_unknown_peer();
    let asked = contact(&mut rig);
    rig.succeed(asked, Response::SpeaksP1);
    let asked = metadata(&mut rig);
    assert_eq!(asked[0].1, peer(1));
    assert!(fetches(&mut rig).is_empty());
    // A typing error ends at once, with the reason.
    rig.fail(asked[0].0, DialFault::Declined(RefusalReason::NoSuchFile));
    let failed = row(&mut rig, 1);
    assert_eq!(failed.state, DownloadState::Failed);
    assert!(failed.error.unwrap().message.starts_with("no such file at 10.0.1.1:63339; if it is a directory"));
}

#[test]
fn a_peer_that_closes_without_an_answer_is_a_base_peer_also_for_the_next_download() {
    let mut rig = of_unknown_peer();
    let asked = contact(&mut rig);
    rig.deliver(asked);
    assert!(fetch(&mut rig).may_call_back);

    download(&mut rig, vec![file(peer(1), "b.txt")]);
    open(&mut rig);
    assert!(contacts(&mut rig).is_empty());
    assert!(fetch(&mut rig).may_call_back);

    // Another program may be there by then.
    rig.pass(Duration::from_secs(10 * 60));
    rig.orders.clear();
    download(&mut rig, vec![file(peer(1), "c.txt")]);
    open(&mut rig);
    contact(&mut rig);
}

#[test]
fn a_silent_peer_is_asked_for_the_file_after_a_moment() {
    let mut rig = of_unknown_peer();
    contact(&mut rig);
    rig.pass(Duration::from_millis(1_900));
    assert!(fetches(&mut rig).is_empty());
    assert_eq!(state(&mut rig, 1), DownloadState::Active);
    rig.pass(Duration::from_millis(200));
    assert!(fetch(&mut rig).may_call_back);
}

#[test]
fn two_downloads_wait_for_one_answer() {
    let mut rig = of_unknown_peer();
    download(&mut rig, vec![file(peer(1), "b.txt")]);
    open(&mut rig);
    let asked = contact(&mut rig);
    rig.succeed(asked, Response::SpeaksP1);
    assert_eq!(metadata(&mut rig).len(), 2);
}

#[test]
fn a_file_waits_for_the_answer_that_a_directory_of_its_peer_waits_for() {
    let begun = || {
        let mut rig = Rig::among(vec![peer(1)], &[]);
        rig.resets_first_contacts = false;
        rig.orders.clear();
        download(&mut rig, vec![file(peer(1), "d/"), file(peer(1), "f")]);
        let asked = contact(&mut rig);
        open(&mut rig);
        assert!(contacts(&mut rig).is_empty() && fetches(&mut rig).is_empty(), "it is asked once");
        (rig, asked)
    };
    let (mut rig, asked) = begun();
    rig.succeed(asked, Response::SpeaksP1);
    assert_eq!(metadata(&mut rig).len(), 1, "the file is verified");
    let (mut rig, asked) = begun();
    rig.deliver(asked);
    assert!(fetch(&mut rig).may_call_back);
    let (mut rig, asked) = begun();
    rig.fail(asked, DialFault::Refused);
    assert!(fetches(&mut rig).is_empty());
    assert_eq!(state(&mut rig, 2), DownloadState::Retrying);
    let (mut rig, _) = begun();
    rig.pass(Duration::from_millis(2_100));
    assert!(fetch(&mut rig).may_call_back);
}

/// Of several sources the one that speaks `p1` is found, before a stream of another begins.
#[test]
fn all_sources_are_asked_some_at_a_time_and_the_one_that_speaks_p1_is_asked_first() {
    let mut rig = with_relayed_hit(Some(3_000), 6);
    rig.resets_first_contacts = false;
    download(&mut rig, hits("1"));
    open(&mut rig);
    let asked = contacts(&mut rig);
    assert_eq!(asked.iter().map(|(_, to)| *to).collect::<Vec<_>>(), [peer(1), peer(2), peer(3), peer(4)]);
    rig.deliver(asked[0].0);
    assert_eq!(contacts(&mut rig).iter().map(|(_, to)| *to).collect::<Vec<_>>(), [peer(5)]);
    assert!(fetches(&mut rig).is_empty());
    rig.succeed(asked[2].0, Response::SpeaksP1);
    assert_eq!(metadata(&mut rig)[0].1, peer(3));
}

#[test]
fn a_peer_out_of_reach_is_not_asked_for_the_file_and_is_asked_again_later() {
    let mut rig = of_unknown_peer();
    let asked = contact(&mut rig);
    rig.fail(asked, DialFault::Refused);
    assert!(fetches(&mut rig).is_empty());
    let waits = row(&mut rig, 1);
    assert_eq!(waits.state, DownloadState::Retrying);
    assert!(waits.error.unwrap().message.contains("10.0.1.1:63339: connection refused"));
    rig.pass(Duration::from_secs(61));
    open(&mut rig);
    contact(&mut rig);
}

#[test]
fn a_server_of_another_kind_is_no_source() {
    let mut rig = of_unknown_peer();
    let asked = contact(&mut rig);
    rig.notices();
    rig.fail(asked, DialFault::NotAPeer(OtherProgram::Ssh));
    wait_for_the_search(&mut rig);
    let states: Vec<_> = rig.notices().into_iter().filter_map(state_of).collect();
    assert_eq!(states, [DownloadState::Failed], "there is nobody to ask: it is never told that it waits for others");
    let failed = row(&mut rig, 1);
    assert_eq!((failed.state, failed.shares[0].state), (DownloadState::Failed, SourceState::Refused));
    assert!(failed.error.unwrap().message.contains("an SSH server"));
}

/// What a notice says of a download.
fn state_of(notice: Notice) -> Option<DownloadState> {
    match notice {
        Notice::Download { download } => Some(download.state),
        _ => None,
    }
}

/// A base program may have taken over the address of a `p1` node. It gets no more messages of part 2, unless it answers as a
/// `p1` node does.
#[test]
fn a_refusal_of_code_9_without_a_reason_takes_p1_back() {
    for answer in [Response::Delivered, Response::SpeaksP1] {
        let speaks_p1 = answer == Response::SpeaksP1;
        let mut rig = with_content(3 * MIB, 1);
        rig.resets_first_contacts = false;
        download(&mut rig, hits("1"));
        open(&mut rig);
        let asked = metadata(&mut rig);
        rig.fail(asked[0].0, DialFault::Reset);
        let asked = contact(&mut rig);
        rig.succeed(asked, answer);
        assert_eq!(fetch(&mut rig).may_call_back, !speaks_p1);
    }
}

#[test]
fn a_range_refused_without_a_reason_twice_takes_p1_back() {
    let mut rig = begun(3 * MIB, 1);
    rig.resets_first_contacts = false;
    let ranges = fetch(&mut rig);
    rig.fail(ranges.exchange, DialFault::Reset);
    let asked_why = inquiry(&mut rig);
    rig.fail(asked_why, DialFault::Reset);
    rig.orders.clear();
    rig.pass(Duration::from_secs(61));
    open(&mut rig);
    contact(&mut rig);
    assert!(fetches(&mut rig).is_empty() && metadata(&mut rig).is_empty());
}
