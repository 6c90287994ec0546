//! Contents that the own share has already.

use super::*;
use crate::library::ScannedFile;
use crate::node::contract::HashedFile;

const SIZE: u64 = 20 * MIB - 5;

/// Shares a file of the content.
fn share(rig: &mut Rig) {
    rig.handle(Event::Call { client: CLIENT, call: crate::control::CallId::Number(900), request: Request::Rescan });
    rig.scan(&[("own/b.txt", SIZE), ("other", SIZE)]);
    rig.handle(Event::Hashed { files: vec![HashedFile { file: scanned("own/b.txt", SIZE), outcome: Ok(B3) }] });
    rig.orders.clear();
}

fn asks_nobody(rig: &Rig) -> bool {
    let asks = |order: &Action| {
        matches!(
            order,
            Action::Dial { .. } | Action::Stream { .. } | Action::Fetch { .. } | Action::FetchMetadata { .. }
        )
    };
    !rig.orders.iter().any(asks)
}

/// The checks ordered, with their originals.
fn copies(rig: &mut Rig) -> Vec<Option<ScannedFile>> {
    rig.take(|order| match order {
        Action::CheckPart { original, .. } => Some(original.as_deref().cloned()),
        _ => None,
    })
}

/// Hit 1 is of a content that is shared here, and its download has begun.
fn copying() -> Rig {
    let mut rig = with_content(SIZE, 2);
    share(&mut rig);
    download(&mut rig, hits("1"));
    open(&mut rig);
    assert_eq!(copies(&mut rig), [Some(scanned("own/b.txt", SIZE))]);
    assert!(asks_nobody(&rig));
    rig
}

fn checked(rig: &mut Rig, outcome: Result<CheckedPart, DiskFault>) {
    rig.handle(Event::PartChecked { download: TransferId(1), outcome });
}

fn is_fetched(rig: &mut Rig) {
    let shown = row(rig, 1);
    assert_eq!((shown.state, shown.copied_from, shown.bytes_done), (DownloadState::Active, None, 0));
    outline(rig, SIZE);
    let proof = fetch(rig);
    bring(rig, &proof);
    bring_everything(rig);
    assert_eq!(copies(rig), [None], "it is not copied again");
    checked(rig, Ok(CheckedPart { b3: B3, size: SIZE, bad: Vec::new() }));
    commit(rig, "/downloads/a.txt");
    assert_eq!((row(rig, 1).state, row(rig, 1).copied_from), (DownloadState::Done, None));
}

#[test]
fn a_content_that_is_shared_is_copied_and_checked_and_nobody_is_asked() {
    let mut rig = copying();
    let shown = row(&mut rig, 1);
    assert_eq!((shown.state, shown.bytes_done, shown.size), (DownloadState::Verifying, 0, Some(SIZE)));
    checked(&mut rig, Ok(CheckedPart { b3: B3, size: SIZE, bad: Vec::new() }));
    commit(&mut rig, "/downloads/a.txt");
    let done = row(&mut rig, 1);
    assert_eq!((done.state, done.verified, done.already), (DownloadState::Done, true, false));
    assert_eq!(done.copied_from, Some(Box::new(RawText::new("own/b.txt"))));
    let Ok(Reply::EventLog(log)) = rig.call(Request::EventLog { since: Some(0) }) else { panic!("the log") };
    assert_eq!(log.events.last().unwrap().copied_from, Some(RawText::new("own/b.txt")));
    assert_eq!((done.bytes_done, done.shares.iter().map(|share| share.bytes).sum()), (SIZE, 0));
    assert!(asks_nobody(&rig));
}

#[test]
fn a_content_of_a_share_that_is_not_for_all_is_fetched_as_if_it_were_not_there() {
    use crate::audience::{Audience, Audiences};
    let mut rig = with_content(SIZE, 2);
    share(&mut rig);
    let audiences = Audiences::new(Audience::all(), [("own", Audience::of(["0.0.0.0/0", "::/0"]).unwrap())]);
    let config = NodeConfig { audiences, ..rig.node.config().clone() };
    rig.handle(Event::Reconfigure(Box::new(config)));
    download(&mut rig, hits("1"));
    open(&mut rig);
    assert!(copies(&mut rig).is_empty() && !asks_nobody(&rig));
    is_fetched(&mut rig);
}

#[test]
fn a_copy_of_another_content_is_fetched_instead() {
    let mut rig = copying();
    checked(&mut rig, Ok(CheckedPart { b3: ContentHash([8; 32]), size: SIZE, bad: Vec::new() }));
    is_fetched(&mut rig);
}

#[test]
fn what_cannot_be_copied_is_fetched_instead() {
    let mut rig = copying();
    checked(&mut rig, Err(DiskFault::Changed));
    is_fetched(&mut rig);
}

#[test]
fn a_name_whose_hash_shows_that_it_is_shared_is_copied() {
    let mut rig = Rig::among(vec![peer(1)], &[]);
    share(&mut rig);
    hear_of(&mut rig, 1);
    download(&mut rig, vec![file(peer(1), "a")]);
    open(&mut rig);
    assert!(copies(&mut rig).is_empty(), "its hash is not known yet");
    outline(&mut rig, SIZE);
    assert_eq!(dropped(&mut rig), 1, "the part file begins again");
    open(&mut rig);
    assert_eq!(copies(&mut rig), [Some(scanned("own/b.txt", SIZE))]);
    assert!(fetches(&mut rig).is_empty());
    checked(&mut rig, Ok(CheckedPart { b3: B3, size: SIZE, bad: Vec::new() }));
    commit(&mut rig, "/downloads/a");
    assert!(row(&mut rig, 1).verified);
}

#[test]
fn what_has_verified_groups_goes_on_as_it_began() {
    let mut rig = with_content(SIZE, 1);
    share(&mut rig);
    download(&mut rig, hits("1"));
    open_resumed(&mut rig, SIZE, [0]);
    assert!(copies(&mut rig).is_empty());
    assert_eq!(row(&mut rig, 1).bytes_done, MIB);
}
