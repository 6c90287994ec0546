//! Progress: what is there is never more than the whole, whatever sources send or claim.

use super::*;
use crate::control::{Notice, SourceState};

/// Bytes and size of download 1, in its row.
fn progress_of(rig: &mut Rig) -> (u64, Option<u64>) {
    let row = row(rig, 1);
    (row.bytes_done, row.size)
}

#[test]
fn a_stream_of_another_content_that_is_longer_leaves_no_progress() {
    let mut rig = with_relayed_content(3 * MIB);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let refused = fetch(&mut rig);
    rig.fail(refused.exchange, DialFault::Reset);
    // A peer of the base protocol, which tells no size and has another file of that name.
    found(&mut rig, 5, &listed("a", None));
    open(&mut rig);
    let stream = fetch(&mut rig);
    progress(&mut rig, &stream, 2 * MIB);
    assert_eq!(progress_of(&mut rig), (2 * MIB, Some(3 * MIB)));
    progress(&mut rig, &stream, 9 * MIB);
    assert_eq!(progress_of(&mut rig), (9 * MIB, None), "the claim of another source does not hold for this stream");
    send(&mut rig, &stream, 10 * MIB);
    assert_eq!(progress_of(&mut rig), (10 * MIB, Some(10 * MIB)));
    check_as(&mut rig, ContentHash([1; 32]), 10 * MIB, Vec::new());
    assert_eq!(progress_of(&mut rig), (0, Some(3 * MIB)));
    let blamed = &row(&mut rig, 1).shares[1];
    assert_eq!((blamed.state, blamed.bytes), (SourceState::Corrupt, 0));
    order(&mut rig, Request::Pause { ids: "1".into() });
    assert_eq!(progress_of(&mut rig), (0, Some(3 * MIB)));
    for notice in rig.notices() {
        let Notice::Download { download: row } = notice else { continue };
        assert!(row.size.is_none_or(|size| row.bytes_done <= size), "{row:?}");
    }
}

#[test]
fn bytes_of_an_earlier_stream_beyond_the_size_of_this_one_do_not_count() {
    let mut rig = with_relayed_hit(None, 1);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let refused = fetch(&mut rig);
    rig.fail(refused.exchange, DialFault::Reset);
    found(&mut rig, 2, &listed("dir/a.txt", Some(10 * MIB)));
    open(&mut rig);
    let long = fetch(&mut rig);
    progress(&mut rig, &long, 8 * MIB);
    assert_eq!(progress_of(&mut rig), (8 * MIB, Some(10 * MIB)));
    rig.fail(long.exchange, DialFault::TimedOut);
    found(&mut rig, 3, &listed("dir/a.txt", Some(3 * MIB)));
    open(&mut rig);
    let short = fetches(&mut rig).into_iter().find(|fetch| fetch.to == peer(3)).unwrap();
    progress(&mut rig, &short, MIB);
    assert_eq!(progress_of(&mut rig), (MIB, Some(3 * MIB)));
    send(&mut rig, &short, 3 * MIB);
    assert_eq!(progress_of(&mut rig), (3 * MIB, Some(3 * MIB)));
    check(&mut rig, 3 * MIB);
    commit(&mut rig, "/downloads/a.txt");
    assert_eq!(progress_of(&mut rig), (3 * MIB, Some(3 * MIB)));
}

#[test]
fn bytes_of_a_stream_do_not_count_without_its_part_file() {
    let mut rig = with_relayed_hit(Some(100), 1);
    download(&mut rig, hits("1"));
    open(&mut rig);
    let stream = fetch(&mut rig);
    progress(&mut rig, &stream, 60);
    rig.fail(stream.exchange, DialFault::Disk(DiskFault::Exists));
    assert_eq!((state(&mut rig, 1), dropped(&mut rig)), (DownloadState::Failed, 1));
    assert_eq!(progress_of(&mut rig), (60, Some(100)), "how far it had come");
    order(&mut rig, Request::Retry { ids: "1".into() });
    open(&mut rig);
    assert_eq!(progress_of(&mut rig), (0, Some(100)));
}

/// Hit 1: `a`, of so many bytes and the hash `B3`, told by a peer of which nothing is known.
fn with_relayed_content(size: u64) -> Rig {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    let query = searching(&mut rig);
    let response = SearchResponse { id: query, responder: peer(1), file: of_content("a", size, B3) };
    rig.request(addr("10.0.9.9:50000"), Message::SearchResponse(response));
    rig.orders.clear();
    rig
}
