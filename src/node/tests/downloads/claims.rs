//! Claims of the size of a content cost no verified groups.

use super::*;
use crate::control::SourceState;

/// The sizes that are to be taken without metadata.
fn sizes_taken(rig: &mut Rig) -> Vec<u64> {
    rig.take(|order| match order {
        Action::SetOutline { size, .. } => Some(*size),
        _ => None,
    })
}

/// Download 1, whose source claims so many bytes, with these groups of 5 MiB, but for the last one, there already.
fn resumed(claimed: u64, held: impl IntoIterator<Item = u64>) -> Rig {
    let mut rig = with_content(claimed, 1);
    download(&mut rig, hits("1"));
    open_resumed(&mut rig, 5 * MIB, held);
    rig
}

fn shares(rig: &mut Rig) -> Vec<SourceState> {
    row(rig, 1).shares.iter().map(|share| share.state).collect()
}

#[test]
fn a_false_claim_of_one_group_costs_its_source_and_no_verified_group() {
    for claimed in [0, 1, 5, 1_024, MIB] {
        let mut rig = resumed(claimed, 0..4);
        assert_eq!((sizes_taken(&mut rig), row(&mut rig, 1).bytes_done), (vec![], 4 * MIB), "{claimed}");
        // It is asked for metadata like any other, and what it sends contradicts what is there.
        let asked = metadata(&mut rig);
        lie(&mut rig, asked[0].0);
        // It may have been another file for a moment: it is asked once more, when nobody else is there.
        assert_eq!((shares(&mut rig), state(&mut rig, 1)), (vec![SourceState::Waiting], DownloadState::Retrying));
        hear_of(&mut rig, 2);
        found(&mut rig, 2, &of_content("b", 5 * MIB, B3));
        open_resumed(&mut rig, 5 * MIB, 0..4);
        assert_eq!(row(&mut rig, 1).bytes_done, 4 * MIB);
        assert_eq!(outline(&mut rig, 5 * MIB), peer(2));
        let proof = fetch(&mut rig);
        bring(&mut rig, &proof);
        check(&mut rig, 5 * MIB);
        assert_eq!((dropped(&mut rig), sizes_taken(&mut rig)), (0, vec![]));
    }
}

#[test]
fn verified_groups_stay_under_an_outline_of_another_size_and_after_it_is_disproved() {
    for claimed in [3 * MIB + 1, 4 * MIB, 5 * MIB - 1, 9 * MIB] {
        let mut rig = resumed(5 * MIB, [0, 2]);
        hear_of(&mut rig, 2);
        found(&mut rig, 2, &of_content("b", 5 * MIB, B3));
        assert_eq!(outline(&mut rig, claimed), peer(1));
        assert_eq!((row(&mut rig, 1).size, row(&mut rig, 1).bytes_done), (Some(claimed), 2 * MIB));
        let proof = fetch(&mut rig);
        let last = group_count(claimed) - 1;
        assert_eq!((proof.to, proof.groups()), (peer(1), last..last + 1));
        rig.fail(proof.exchange, DialFault::Corrupt);
        identify_as(&mut rig, B3);
        assert_eq!((shares(&mut rig)[0], row(&mut rig, 1).bytes_done), (SourceState::Corrupt, 2 * MIB));
        assert_eq!(outline(&mut rig, 5 * MIB), peer(2));
        assert_eq!((row(&mut rig, 1).size, row(&mut rig, 1).bytes_done), (Some(5 * MIB), 2 * MIB));
        let asked = bring_everything(&mut rig);
        assert!(asked.iter().all(|n| *n == 2), "{asked:?}");
        check(&mut rig, 5 * MIB);
        assert_eq!(dropped(&mut rig), 0);
    }
}

#[test]
fn a_source_is_asked_for_its_size_when_that_of_a_hit_is_disproved() {
    let mut rig = with_content(5, 1);
    download(&mut rig, hits("1"));
    open(&mut rig);
    assert_eq!(sizes_taken(&mut rig), [5]);
    let in_vain = fetch(&mut rig);
    rig.fail(in_vain.exchange, DialFault::Corrupt);
    let asked = inquiry(&mut rig);
    rig.succeed(asked, Response::FileInfo { b3: B3, size: 3 * MIB, pending: 0 });
    open(&mut rig);
    assert_eq!(outline(&mut rig, 3 * MIB), peer(1));
    let proof = fetch(&mut rig);
    bring(&mut rig, &proof);
    bring_everything(&mut rig);
    check(&mut rig, 3 * MIB);
    assert_eq!(shares(&mut rig), [SourceState::Idle]);

    // Who tells another size each time, and sends wrong bytes of each, is left out.
    let mut rig = with_content(5, 1);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let mut asked = 0;
    while let Some(in_vain) = fetches(&mut rig).first() {
        asked += 1;
        rig.fail(in_vain.exchange, DialFault::Corrupt);
        let inquiry = inquiry(&mut rig);
        rig.succeed(inquiry, Response::FileInfo { b3: B3, size: 5 + asked, pending: 0 });
        open(&mut rig);
    }
    assert!((2..20).contains(&asked), "{asked}");
}

#[test]
fn a_claimed_size_without_room_pauses_a_download_only_if_all_sources_claim_as_much() {
    let mut rig = with_content(5 * MIB, 2);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let asked = metadata(&mut rig);
    rig.fail(asked[0].0, DialFault::Disk(DiskFault::Full));
    assert_eq!(outline(&mut rig, 5 * MIB), peer(2));
    assert_eq!(shares(&mut rig)[0], SourceState::Waiting);
    // Where all claim as much, the disk is full.
    let mut rig = with_content(5 * MIB, 2);
    download(&mut rig, hits("1"));
    open(&mut rig);
    for _ in 0..2 {
        assert_eq!(state(&mut rig, 1), DownloadState::Active);
        let asked = metadata(&mut rig);
        rig.fail(asked[0].0, DialFault::Disk(DiskFault::Full));
    }
    assert_eq!(state(&mut rig, 1), DownloadState::Paused);
}
