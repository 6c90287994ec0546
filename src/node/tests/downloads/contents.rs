//! Downloads of a content from sources that speak `p1`: metadata, ranges, the check at the end.

use super::*;
use crate::control::{ExitCode, Notice, SourceState};

#[test]
fn a_content_comes_from_all_its_sources_at_once_and_is_checked() {
    let mut rig = with_content(20 * MIB - 5, 3);
    let reply = download(&mut rig, hits("1"));
    assert_eq!(reply.downloads[0].b3, Some(B3.to_string()));
    let ordered = rig.take(|order| match order {
        Action::OpenPart { b3, size, .. } => Some((*b3, *size)),
        _ => None,
    });
    assert_eq!(ordered, [(Some(B3), Some(20 * MIB - 5))]);
    rig.handle(Event::PartOpened { download: TransferId(1), outcome: ready("/downloads/a.txt") });
    let asked = metadata(&mut rig);
    assert_eq!(asked.iter().map(|(_, to, b3)| (*to, *b3)).collect::<Vec<_>>(), [(peer(1), Some(B3))]);
    rig.succeed(asked[0].0, Response::Metadata { b3: B3, size: 20 * MIB - 5 });

    let proof = fetch(&mut rig);
    assert_eq!((proof.to, proof.groups()), (peer(1), 19..20), "the last group proves the size, alone");
    bring(&mut rig, &proof);
    let first: Vec<_> = fetches(&mut rig);
    let asked: Vec<_> = first.iter().map(|fetch| (fetch.to, fetch.groups())).collect();
    assert_eq!(asked, [(peer(2), 0..2), (peer(3), 2..4), (peer(1), 4..6)], "who waits goes first");
    assert!(row(&mut rig, 1).shares.iter().all(|share| share.state == SourceState::Active));
    assert_eq!(row(&mut rig, 1).bytes_done, MIB - 5, "what is verified counts");
    for fetch in &first {
        bring(&mut rig, fetch);
    }
    let asked = bring_everything(&mut rig);
    assert!([1, 2, 3].iter().all(|n| asked.contains(n)), "{asked:?}");
    assert_eq!(state(&mut rig, 1), DownloadState::Verifying);
    assert!(!row(&mut rig, 1).verified, "not before it was read once more");
    check(&mut rig, 20 * MIB - 5);
    commit(&mut rig, "/downloads/a.txt");
    let done = row(&mut rig, 1);
    assert_eq!((done.state, done.verified, done.already), (DownloadState::Done, true, false));
    assert_eq!((done.bytes_done, done.size), (20 * MIB - 5, Some(20 * MIB - 5)));
    assert_eq!(done.shares.iter().map(|share| share.bytes).sum::<u64>(), 20 * MIB - 5);
    assert_eq!(forgotten(&mut rig), [TransferId(1)]);
    assert_eq!(dropped(&mut rig), 0);
}

#[test]
fn one_source_alone_gives_everything_in_ranges_that_grow_with_its_speed() {
    let mut rig = begun(200 * MIB, 1);
    let mut sizes = Vec::new();
    while let [fetch] = &fetches(&mut rig)[..] {
        sizes.push(fetch.groups().end - fetch.groups().start);
        for at in fetch.groups() {
            rig.pass(Duration::from_millis(100));
            group(&mut rig, fetch, at);
        }
        send(&mut rig, fetch, (fetch.groups().end - fetch.groups().start) * MIB);
    }
    assert_eq!(sizes.iter().sum::<u64>(), 199);
    assert_eq!(sizes[0], 2, "nothing is known of it yet");
    assert!((30..=40).contains(&sizes[3]), "four seconds at 10 groups a second: {sizes:?}");
    check(&mut rig, 200 * MIB);
}

/// As after a fetch that was broken off while its groups were on their way to the disk.
#[test]
fn a_group_that_is_written_when_its_fetch_is_over_is_not_asked_for_again() {
    let written = |rig: &mut Rig, b3, group| {
        rig.handle(Event::GroupWritten { download: TransferId(1), b3, group, from: peer(1) });
        row(rig, 1).bytes_done / MIB
    };
    let mut rig = begun(4 * MIB, 1);
    let only = fetch(&mut rig);
    assert_eq!(only.groups(), 0..2, "the last one is there");
    assert_eq!(written(&mut rig, ContentHash([9; 32]), 2), 1, "this is of another content");
    assert_eq!((written(&mut rig, B3, 2), written(&mut rig, B3, 2)), (2, 2));
    let shares = |rig: &mut Rig| row(rig, 1).shares.iter().map(|share| share.bytes).sum::<u64>();
    assert_eq!(shares(&mut rig), 2 * MIB, "its source has brought it");
    bring(&mut rig, &only);
    assert_eq!(shares(&mut rig), 4 * MIB);
    check(&mut rig, 4 * MIB);

    let mut rig = begun(4 * MIB, 1);
    let needless = fetch(&mut rig);
    (0..3).for_each(|group| _ = written(&mut rig, B3, group));
    assert!(aborted(&mut rig).contains(&needless.exchange));
    check(&mut rig, 4 * MIB);
}

#[test]
fn a_size_that_was_proved_stays_so_though_its_last_group_is_damaged() {
    let mut rig = begun(4 * MIB, 2);
    bring_everything(&mut rig);
    check_as(&mut rig, B3, 4 * MIB, vec![0, 3]);
    let asked: Vec<_> = fetches(&mut rig).iter().map(Fetch::groups).collect();
    assert_eq!(asked, [0..1, 3..4], "no group has to come first");
    assert_eq!(row(&mut rig, 1).size, Some(4 * MIB));
}

#[test]
fn a_content_of_one_group_needs_no_metadata() {
    for size in [1, MIB] {
        let mut rig = with_content(size, 2);
        download(&mut rig, hits("1"));
        open(&mut rig);
        assert!(metadata(&mut rig).is_empty());
        let outlines = rig.take(|order| match order {
            Action::SetOutline { b3, size, .. } => Some((*b3, *size)),
            _ => None,
        });
        assert_eq!(outlines, [(B3, size)]);
        let only = fetch(&mut rig);
        assert_eq!((only.to, only.groups()), (peer(1), 0..1));
        bring(&mut rig, &only);
        check(&mut rig, size);
        commit(&mut rig, "/downloads/a.txt");
        assert!(row(&mut rig, 1).verified);
    }
}

#[test]
fn an_empty_content_is_there_at_once_and_still_checked() {
    let nothing = ContentHash(*blake3::hash(b"").as_bytes());
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let query = searching(&mut rig);
    rig.hit(&query, peer(1), of_content("dir/a.txt", 0, nothing));
    download(&mut rig, hits("1"));
    open(&mut rig);
    assert!(fetches(&mut rig).is_empty());
    check_as(&mut rig, nothing, 0, Vec::new());
    commit(&mut rig, "/downloads/a.txt");
    assert_eq!(row(&mut rig, 1).bytes_done, 0);

    // Another hash is of another content, whatever its hits say.
    let mut rig = with_content(0, 1);
    download(&mut rig, hits("1"));
    open(&mut rig);
    assert_eq!(outline(&mut rig, 9), peer(1));
    assert_eq!(fetch(&mut rig).groups(), 0..1);
}

#[test]
fn a_content_that_is_there_already_ends_at_once() {
    let mut rig = with_content(5 * MIB, 1);
    download(&mut rig, hits("1"));
    opened(&mut rig);
    let there = OpenedPart::AlreadyThere { path: "/downloads/a.txt".into() };
    rig.handle(Event::PartOpened { download: TransferId(1), outcome: Ok(there) });
    let done = row(&mut rig, 1);
    assert_eq!((done.state, done.already, done.verified), (DownloadState::Done, true, true));
    assert_eq!(done.bytes_done, 5 * MIB);
    assert_eq!(forgotten(&mut rig), [TransferId(1)]);
}

/// Opens the part file of download 1, and returns the content that a file there is compared with.
fn open_at(rig: &mut Rig, outcome: Result<OpenedPart, DiskFault>) -> Option<ContentHash> {
    let wanted = rig.take(|order| match order {
        Action::OpenPart { b3, .. } => Some(*b3),
        _ => None,
    });
    rig.handle(Event::PartOpened { download: TransferId(1), outcome });
    wanted[0]
}

/// The download of a name that a file here has, at the hash of the content.
fn named_as_one_here() -> Rig {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    hear_of(&mut rig, 1);
    download(&mut rig, vec![file(peer(1), "a.txt")]);
    assert_eq!(open_at(&mut rig, ready("/downloads/a (1).txt")), None, "nothing is known of it but its name");
    outline(&mut rig, 5 * MIB);
    rig
}

#[test]
fn a_name_whose_content_is_there_already_ends_when_its_hash_is_known() {
    let mut rig = named_as_one_here();
    let there = OpenedPart::AlreadyThere { path: "/downloads/a.txt".into() };
    assert_eq!(open_at(&mut rig, Ok(there)), Some(B3));
    let done = row(&mut rig, 1);
    assert_eq!((done.state, done.already, done.verified), (DownloadState::Done, true, true));
    assert_eq!((done.bytes_done, fetches(&mut rig).len()), (5 * MIB, 0));
}

#[test]
fn a_name_that_another_content_has_is_compared_once() {
    let mut rig = named_as_one_here();
    assert_eq!(open_at(&mut rig, ready("/downloads/a (1).txt")), Some(B3));
    outline(&mut rig, 5 * MIB);
    assert!(opened(&mut rig).is_empty());
    assert_eq!(fetches(&mut rig).len(), 1, "it is fetched");
}

#[test]
fn the_same_content_at_the_final_name_is_not_replaced() {
    let mut rig = with_content(MIB, 1);
    download(&mut rig, hits("1"));
    open(&mut rig);
    bring_everything(&mut rig);
    check(&mut rig, MIB);
    let download = committing(&mut rig);
    let outcome = Ok(CommittedPart { path: "/downloads/a.txt".into(), already: true });
    rig.handle(Event::PartCommitted { download, outcome });
    assert!(row(&mut rig, 1).already);
}

#[test]
fn groups_that_the_disk_lost_are_fetched_again_and_no_source_is_blamed() {
    let mut rig = begun(6 * MIB, 2);
    bring_everything(&mut rig);
    check_as(&mut rig, ContentHash([1; 32]), 6 * MIB, vec![1, 4]);
    assert_eq!(row(&mut rig, 1).bytes_done, 4 * MIB);
    let mut again: Vec<_> = fetches(&mut rig);
    again.sort_by_key(|fetch| fetch.groups().start);
    assert_eq!(again.iter().map(Fetch::groups).collect::<Vec<_>>(), [1..2, 4..5]);
    for fetch in &again {
        bring(&mut rig, fetch);
    }
    check(&mut rig, 6 * MIB);
    commit(&mut rig, "/downloads/a.txt");
    let done = row(&mut rig, 1);
    assert!(done.verified && done.shares.iter().all(|share| share.state == SourceState::Idle));

    // A disk that never keeps what it is given is a fault like any other.
    let mut rig = begun(2 * MIB, 1);
    for _ in 0..3 {
        bring_everything(&mut rig);
        check_as(&mut rig, ContentHash([1; 32]), 2 * MIB, vec![0]);
    }
    bring_everything(&mut rig);
    check_as(&mut rig, ContentHash([1; 32]), 2 * MIB, vec![0]);
    let paused = row(&mut rig, 1);
    assert_eq!((paused.state, paused.error.unwrap().code), (DownloadState::Paused, ExitCode::FileIo as i32));
}

#[test]
fn a_download_by_name_becomes_one_of_a_content_when_a_source_sends_its_hash() {
    // Two peers that speak `p1`, and had not hashed the file when they were asked.
    let mut rig = with_hit(Some(3 * MIB), 2);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let asked = metadata(&mut rig);
    assert_eq!((asked[0].1, asked[0].2), (peer(1), None));
    rig.orders.clear();
    rig.succeed(asked[0].0, Response::Metadata { b3: B3, size: 3 * MIB });
    let learnt = remembered(&mut rig);
    assert_eq!((learnt[0].b3, learnt[0].size), (Some(B3), Some(3 * MIB)));
    let proof = fetch(&mut rig);
    bring(&mut rig, &proof);
    let asked = bring_everything(&mut rig);
    assert_eq!(asked, [2, 1], "the other is a source of the content as well");
    check(&mut rig, 3 * MIB);
    commit(&mut rig, "/downloads/a.txt");
    assert!(row(&mut rig, 1).verified);
}

#[test]
fn a_source_that_has_not_hashed_its_file_sends_it_as_a_stream() {
    let mut rig = with_hit(Some(3 * MIB), 1);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let asked = metadata(&mut rig);
    rig.fail(asked[0].0, DialFault::Reset);
    let stream = fetch(&mut rig);
    assert_eq!(stream.portion, Portion::Stream { size_max: Some(3 * MIB) });
    send(&mut rig, &stream, 3 * MIB);
    check(&mut rig, 3 * MIB);
    commit(&mut rig, "/downloads/a.txt");
    let done = row(&mut rig, 1);
    assert_eq!((done.verified, done.b3), (false, Some(B3.to_string())), "its hash is told, but nobody vouches for it");
}

#[test]
fn progress_is_reported_twice_a_second_with_rate_and_remaining_time() {
    let mut rig = begun(100 * MIB, 1);
    let mut fetch = fetch(&mut rig);
    rig.orders.clear();
    for at in 0..20 {
        if at == fetch.groups().end {
            send(&mut rig, &fetch, (fetch.groups().end - fetch.groups().start) * MIB);
            let next = fetches(&mut rig);
            fetch = next[0].clone();
        }
        rig.pass(Duration::from_millis(100));
        group(&mut rig, &fetch, at);
    }
    let told = rig.notices().into_iter().filter(|notice| matches!(notice, Notice::Download { .. })).count();
    assert!((4..=5).contains(&told), "{told}");
    let row = row(&mut rig, 1);
    assert_eq!(row.rate, Some(21 * MIB / 2));
    assert_eq!(row.bytes_done, 21 * MIB);
    assert_eq!(row.eta_s, Some(8));
    assert_eq!(row.shares[0].bytes, 21 * MIB);
}

/// As soon as it is settled, and not only when the share is scanned the next time.
#[test]
fn what_is_saved_in_the_share_is_examined_to_be_shared() {
    for (saved, expected) in
        [("/share/sub/a.txt", Some("sub/a.txt")), ("/share/.a.txt", None), ("/downloads/a.txt", None)]
    {
        let mut rig = with_content(MIB, 1);
        download(&mut rig, hits("1"));
        open(&mut rig);
        bring_everything(&mut rig);
        check(&mut rig, MIB);
        commit(&mut rig, saved);
        rig.pass(Duration::from_secs(3));
        let looked = rig.take(|order| match order {
            Action::LookAt { names } => Some(names.clone()),
            _ => None,
        });
        assert_eq!(looked.concat(), expected.map(name).into_iter().collect::<Vec<_>>());
    }
}
