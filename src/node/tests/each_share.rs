//! What is known of each share.

use super::rig::{Rig, config, scanned as file};
use crate::audience::{Audience, Audiences};
use crate::control::{RawText, Reply, Request, ShareRow, ShareState};
use crate::fault::DiskFault;
use crate::library::{FoundFiles, ScanReport};
use crate::name::FileName;
use crate::node::contract::{Event, NodeConfig, ShareNamed};

type Outcome = Result<u64, DiskFault>;

fn named(name: &str) -> FileName {
    FileName::from_bytes(name.as_bytes()).unwrap()
}

fn further(name: &str, path: Option<&str>) -> ShareNamed {
    ShareNamed { name: named(name), path: path.map(Into::into), follow_symlinks: false }
}

/// A scan that has found so many files of 10 bytes in each share.
fn scanned(rig: &mut Rig, shares: &[(&str, Outcome)]) {
    let found = |files| FoundFiles { files, bytes: u128::from(files) * 10 };
    let name = |name: &str| (!name.is_empty()).then(|| named(name));
    let shares: Vec<_> = shares.iter().map(|(share, outcome)| (name(share), outcome.map(found))).collect();
    let failed = shares.iter().find(|(name, _)| name.is_none()).and_then(|(_, outcome)| outcome.err());
    rig.call(Request::Rescan).unwrap();
    let files_of = |(name, outcome): &(Option<FileName>, Result<FoundFiles, DiskFault>)| {
        let above = name.as_ref().map_or_else(String::new, |name| format!("{name}/"));
        (0..outcome.map_or(0, |found| found.files)).map(move |number| file(&format!("{above}{number}"), 10))
    };
    rig.handle(Event::Scanned { files: shares.iter().flat_map(files_of).collect() });
    rig.handle(Event::ScanEnded { report: ScanReport { failed, shares, ..ScanReport::default() } });
}

fn page(rig: &mut Rig, after: Option<&str>) -> (Vec<ShareRow>, Option<RawText>) {
    match rig.call(Request::Shares { after: after.map(RawText::new) }) {
        Ok(Reply::Shares(reply)) => (reply.shares, reply.next),
        other => panic!("{other:?}"),
    }
}

fn states(rig: &mut Rig) -> Vec<(String, ShareState, Option<u64>)> {
    let text = |row: &ShareRow| String::from_utf8_lossy(row.name.as_bytes()).into_owned();
    page(rig, None).0.iter().map(|row| (text(row), row.state, row.bytes)).collect()
}

fn is(name: &str, state: ShareState, bytes: Option<u64>) -> (String, ShareState, Option<u64>) {
    (name.to_owned(), state, bytes)
}

#[test]
fn a_share_keeps_what_was_found_there_until_another_directory_has_its_name() {
    let audience = Audience::of(["10.0.0.0/8"]).unwrap();
    let audiences = Audiences::new(Audience::all(), [("b", audience), ("a", Audience::all())]);
    let shares = vec![further("b", Some("/b")), further("a", Some("/a")), further("c", None)];
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), audiences, shares, ..config() });
    let before = ["", "a", "b"].map(|name| is(name, ShareState::Scanning, None));
    assert_eq!(states(&mut rig)[..3], before);
    assert_eq!(states(&mut rig)[3], is("c", ShareState::Waiting, None));
    rig.scan(&[]);
    scanned(&mut rig, &[("", Ok(1)), ("a", Ok(2)), ("b", Err(DiskFault::Missing))]);
    let main = is("", ShareState::Shared, Some(10));
    assert_eq!(
        states(&mut rig)[..3],
        [main.clone(), is("a", ShareState::Shared, Some(20)), is("b", ShareState::Unreadable, None)]
    );
    let rows = page(&mut rig, None).0;
    assert_eq!(
        (&rows[1].audience[..], &rows[2].audience[..]),
        (&["all".to_owned()][..], &["10.0.0.0/8".to_owned()][..])
    );
    let Ok(Reply::Status(status)) = rig.call(Request::Status) else { panic!("status") };
    assert_eq!(status.share_error, rows[2].error);
    assert!(rows[2].error.as_ref().is_some_and(|error| error.message.contains("'/b'")), "{rows:?}");

    scanned(&mut rig, &[("", Err(DiskFault::Denied)), ("a", Err(DiskFault::Missing)), ("b", Ok(3))]);
    let kept = [
        is("", ShareState::Unreadable, Some(10)),
        is("a", ShareState::Unreadable, Some(20)),
        is("b", ShareState::Shared, Some(30)),
    ];
    assert_eq!(states(&mut rig)[..3], kept);
    let Ok(Reply::Status(status)) = rig.call(Request::Status) else { panic!("status") };
    let error = status.share_error.expect("two cannot be read").message;
    assert!(error.contains("permission denied"), "local_directory comes first: {error}");

    let shares = vec![further("b", Some("/b")), further("a", Some("/other"))];
    let config = NodeConfig { shares, ..rig.node.config().clone() };
    rig.handle(Event::Reconfigure(Box::new(config)));
    assert_eq!(states(&mut rig)[1..], [is("a", ShareState::Scanning, None), is("b", ShareState::Shared, Some(30))]);
}

#[test]
fn files_of_other_shares_are_none_of_local_directory() {
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), shares: vec![further("a", Some("/a"))], ..config() });
    rig.scan(&[("a/0", 10)]);
    let told = |rig: &mut Rig| {
        let Ok(Reply::Status(status)) = rig.call(Request::Status) else { panic!("status") };
        status.share_error.map_or_else(String::new, |error| error.message)
    };
    scanned(&mut rig, &[("", Err(DiskFault::Missing)), ("a", Ok(1))]);
    assert!(told(&mut rig).ends_with("nothing is shared until it can be read"), "{}", told(&mut rig));
    scanned(&mut rig, &[("", Ok(2)), ("a", Ok(1))]);
    assert_eq!(told(&mut rig), "");
    scanned(&mut rig, &[("", Err(DiskFault::Missing)), ("a", Ok(1))]);
    assert!(told(&mut rig).ends_with("files found before stay listed"), "{}", told(&mut rig));
}

#[test]
fn many_shares_come_in_pages() {
    let names: Vec<String> = (0..400).map(|number| format!("{number:03}{}", "x".repeat(200))).collect();
    let shares = names.iter().map(|name| further(name, Some("/a/rather/long/path/of/a/share"))).collect();
    let mut rig = Rig::new(NodeConfig { bootstraps: Vec::new(), shares, ..config() });
    let (mut told, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let (rows, next) = page(&mut rig, after.as_deref());
        told.extend(rows.iter().map(|row| String::from_utf8_lossy(row.name.as_bytes()).into_owned()));
        pages += 1;
        let Some(next) = next else { break };
        after = Some(String::from_utf8_lossy(next.as_bytes()).into_owned());
    }
    assert!(pages > 1, "{pages}");
    assert_eq!((told[0].as_str(), &told[1..]), ("", &names[..]));
}
